"""`genrecore demo`, `genrecore dashboard` and `genrecore serve`."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer import Option

from genrecore.cli.compare import print_comparison
from genrecore.cli.options import BEST, JsonOption, PrecisionOption, RunsOption, switch
from genrecore.cli.output import out, print_json, reporting
from genrecore.cli.runs import follow
from genrecore.config.run import RunConfig, with_values
from genrecore.errors import GenrecoreError, UsageError, describe
from genrecore.inference import guard
from genrecore.jobs import access
from genrecore.jobs.actions import ensure_runner, submit
from genrecore.jobs.spawn import own_modules
from genrecore.store.files import app_dir
from genrecore.store.run import store_dir
from genrecore.store.runs import find_same

commands = typer.Typer(rich_markup_mode=None)

_HOST, _DASHBOARD_PORT, _SERVICE_PORT = "127.0.0.1", 8501, 8600
_MOST_PORTS = 100  # so many above the usual one are tried before any free one is taken


def _port_option(usual: int) -> Any:
    return Option(
        help="Port to listen on; 0 takes a free one. An error where it is taken.",
        show_default=f"{usual}, or the next free one",
        min=0,
        max=65535,
    )


PortOption = Annotated[int | None, _port_option(_DASHBOARD_PORT)]
HostOption = Annotated[str, Option(help="Address to listen on; 0.0.0.0 is all.")]
AllowHostOption = Annotated[
    list[str] | None,
    Option(
        help="Another host name to answer to, which a proxy passes on or this machine has in its "
        "network; may be given several times.",
        show_default="127.0.0.1, localhost, ::1, and the address it listens on",
    ),
]
BasePathOption = Annotated[
    str, Option(help="Path below which a proxy serves it, such as /genres.", show_default="none")
]

# What the demonstration trains: the small network of the studies and the strong one, both on the
# built-in music, briefly.
DEMO_RUNS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("base CNN", {"model": "cnn", "training.epochs": 15}),
    ("ResNet-18", {"model": "resnet18", "training.epochs": 6}),
)


@commands.command()
def demo(
    no_serve: Annotated[bool, switch("no-serve", "Stop before the dashboard is served.")] = False,
    port: PortOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try everything on made-up music: two models are trained in background processes and compared,
    then the dashboard shows them."""
    from genrecore.data import prepare
    from genrecore.evaluation import comparison
    from genrecore.training.resolve import resolve

    if port is not None and not no_serve:
        _free_port(port)  # one that is taken is refused before anything is trained
    if not as_json:
        _say_where_runs_are_kept()
    configs = [resolve(with_values(RunConfig(), values)).config for _, values in DEMO_RUNS]
    with reporting(quiet=as_json) as report:
        prepare.decode(configs[0], report)
        same = find_same(configs, only_done=True)
        started = [run or submit(config) for config, run in zip(configs, same, strict=True)]
        titles = [title for title, _ in DEMO_RUNS]
        done = [
            follow(run, report, f"Training {title}")
            for title, run in zip(titles, started, strict=True)
        ]
    result = comparison.compare(done)
    if as_json:
        print_json({"runs": result.table, "notes": result.notes, "pairs": result.pairs})
    else:
        print_comparison(result)
    if not no_serve:
        _serve(_free_port(port))  # what was free minutes ago may be taken


@commands.command()
def dashboard(
    port: PortOption = None,
    host: HostOption = _HOST,
    allow_host: AllowHostOption = None,
    base_path: BasePathOption = "",
) -> None:
    """Serve the dashboard on this machine. Training goes on after it is closed. Beyond this machine
    only with a token in GENRECORE_TOKEN, or a login (docs/guides/class-server.md)."""
    allow_host = allow_host or []
    hosts = guard.own_hosts(host, allow_host)
    if guard.is_open_to_others(host, allow_host) and access.unguarded():
        raise UsageError(access.unguarded())
    port = _free_port(port, host)
    _say_where_runs_are_kept()
    _serve(port, host, hosts, _base_path(base_path))


@commands.command()
def serve(
    run: RunsOption = BEST,
    host: HostOption = _HOST,
    port: Annotated[int | None, _port_option(_SERVICE_PORT)] = None,
    token: Annotated[
        str,
        Option(
            envvar="GENRECORE_TOKEN",
            show_envvar=True,
            help="Token that clients must send as 'Authorization: Bearer …'. Other users of this "
            "machine can see it when it is given as an option.",
        ),
    ] = "",
    most_mb: Annotated[float, Option(help="The largest upload, in MB.", min=0.001)] = 100.0,
    within_s: Annotated[float, Option(help="Seconds that an upload may take.", min=0.1)] = 60.0,
    per_minute: Annotated[
        int, Option(help="Requests that one client may send within a minute.", min=1)
    ] = 1200,
    precision: PrecisionOption = None,
    allow_host: AllowHostOption = None,
    base_path: BasePathOption = "",
) -> None:
    """Classify files over HTTP: POST /classify with a file as it is, or as multipart form; GET
    /healthz; GET /openapi.json describes both. Beyond this machine only with a token."""
    from genrecore.inference import ensemble as ensembles
    from genrecore.inference import service

    allow_host = allow_host or []
    hosts = guard.own_hosts(host, allow_host)
    if guard.is_open_to_others(host, allow_host) and not token:
        raise UsageError(
            "Others than this machine's users could reach the service, and it asks for no token; "
            "set one in the environment variable GENRECORE_TOKEN, or listen on 127.0.0.1 alone."
        )
    ensemble = ensembles.load(run)
    promises = ensemble.wanting(precision).promises
    limits = service.ServiceLimits(
        token,
        round(most_mb * 1e6),
        within_s,
        per_minute=per_minute,
        hosts=tuple(hosts),
        precision=precision,
        base_path=_base_path(base_path),
    )
    listening = _listening(host, port, _SERVICE_PORT)
    address = _url(host, listening.getsockname()[1], limits.base_path)
    ids = ", ".join(loaded.run.run_id for loaded in ensemble.loaded)
    out.print(f"Classifying with {ids}")
    for promise in promises:
        out.print(promise)
    out.print(f"{address}/classify  (Ctrl-C ends it)")
    sys.stdout.flush()
    server = service.Server(ensemble, limits)
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn passes on the signal that ended it
        server.run(sockets=[listening])


def _base_path(text: str) -> str:
    """The path as "/genres", or nothing.

    Raises:
        UsageError: It is no path.
    """
    path = text.strip("/")
    if not re.fullmatch(r"[\w.~/-]*", path, re.ASCII) or ".." in path or "//" in path:
        raise UsageError(f"{text!r} is no path to serve below; expected one like /genres.")
    return f"/{path}" if path else ""


def _listening(host: str, port: int | None, usual: int) -> socket.socket:
    """A socket that listens on this port; where none was asked for, on the usual one or the next
    that is free.

    Raises:
        UsageError: The port is taken, or the address is none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    candidates = [*range(usual, usual + _MOST_PORTS), 0] if port is None else [port]
    for candidate in candidates:
        try:
            listener = socket.create_server((host, candidate), family=family, backlog=128)
        except OSError as error:
            if port is None and error.errno == errno.EADDRINUSE:
                continue
            is_taken = error.errno == errno.EADDRINUSE
            reason = "another program listens there" if is_taken else describe(error).rstrip(".")
            raise UsageError(
                f"Cannot listen on {host}, port {candidate}: {reason}; --port 0 takes a free port."
            ) from None
        if candidate != candidates[0]:
            taken = listener.getsockname()[1]
            out.print(f"Port {usual} is taken by another program; {taken} is used.")
        # Else a response's body waits for the client's acknowledgement of its head (`ui.sockets`).
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    raise GenrecoreError("This machine has no free port.")


def _free_port(port: int | None, host: str = _HOST) -> int:
    """The port on which the dashboard will listen, as `_listening` chooses it."""
    with _listening(host, port, _DASHBOARD_PORT) as listener:
        return int(listener.getsockname()[1])


def _url(host: str, port: int, base_path: str) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{base_path}"


def _say_where_runs_are_kept() -> None:
    out.print(f"Runs are kept in {store_dir()} (GENRECORE_RUNS names another folder).")


def _serve(
    port: int, host: str = _HOST, hosts: Sequence[str] = guard.LOOPBACK, base_path: str = ""
) -> None:
    """Turns this process into the dashboard's server, so that no child outlives a signal to it."""
    out.print(f"\nDashboard: {_url(host, port, base_path)}  (Ctrl-C ends it; runs go on)")
    sys.stdout.flush()
    ensure_runner()
    environment = os.environ | own_modules() | {"GENRECORE_RUNS": str(store_dir())}
    command = [
        sys.executable, "-m", "streamlit", "run", str(app_dir() / "app.py"),
        "--server.address", host, "--server.port", str(port), "--server.headless", "true",
        "--server.baseUrlPath", base_path, "--browser.serverAddress", host,
        *(part for name in hosts for part in ("--server.allowedHosts", name)),
    ]  # fmt: skip
    os.execve(sys.executable, command, environment)
