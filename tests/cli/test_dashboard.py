"""`genrecore dashboard` as a process: its port, and what is left when it is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from commands import genrecore, refused
from conftest import ROOT, TINY, trained, wait_for, wait_for_epoch

from genrecore.cli import serve
from genrecore.config.run import RunConfig
from genrecore.store.run import Run
from genrecore.store.runs import create_run

pytestmark = pytest.mark.xdist_group("processes")  # one at a time: they share two cores


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of this machine on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("command", ["dashboard", "demo"])
def test_a_taken_port_that_was_asked_for_is_wrong_usage(
    command: str, store: Path, taken: int
) -> None:
    result = genrecore(command, "--port", str(taken))
    refused(result, 2, f"port {taken}: another program listens there", "--port 0")
    assert result.stdout == ""


@pytest.mark.slow
def test_the_demonstration_looks_for_a_port_when_it_serves(
    store: Path, tiny: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in (0, 1):
        trained(tiny(seed=seed), store)
    runs = tuple((str(seed), TINY | {"seed": seed}) for seed in (0, 1))
    monkeypatch.setattr(serve, "DEMO_RUNS", runs)
    served, print_comparison = [], serve.print_comparison
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    monkeypatch.setattr(serve, "_DASHBOARD_PORT", port)

    def become(program: str, words: list[str], environment: object) -> None:
        served.extend(words)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execve", become)
    with contextlib.ExitStack() as stack:

        def another_program_starts(*arguments: Any) -> None:
            print_comparison(*arguments)
            stack.enter_context(socket.create_server(("127.0.0.1", port)))

        monkeypatch.setattr(serve, "print_comparison", another_program_starts)
        result = genrecore("demo")
    assert result.returncode == 0, result.stderr
    assert f"Port {port} is taken by another program" in result.stdout + result.stderr
    assert 0 < int(served[served.index("--server.port") + 1]) != port


@pytest.mark.slow
def test_killed_it_leaves_no_server_and_the_runs_go_on(
    store: Path, tiny: Callable[..., RunConfig], taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The usual port is taken: the next free one is, and a sentence says so.
    run = create_run(tiny(training__epochs=5000), store)
    program = (
        "import genrecore.cli.serve as serve; "
        f"serve._DASHBOARD_PORT = {taken}; from genrecore.cli import main; main()"
    )
    dashboard = subprocess.Popen(
        [sys.executable, "-c", program, "dashboard"],
        cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert dashboard.stdout is not None
        assert f"Port {taken} is taken" in dashboard.stdout.readline()
        assert f"Runs are kept in {store} " in dashboard.stdout.readline()
        assert dashboard.stdout.readline() == "\n"
        port = int(dashboard.stdout.readline().split()[1].rpartition(":")[2])
        assert port != taken
        wait_for(lambda: answers(port))
        wait_for_epoch(run)
        children = psutil.Process(dashboard.pid).children(recursive=True)
        of_the_queue = [child for child in children if "genrecore.jobs.runner" in child.cmdline()]
        assert len(of_the_queue) == 1
        dashboard.send_signal(signal.SIGKILL)
        dashboard.wait(timeout=20)
        assert not answers(port)
        with socket.create_server(("127.0.0.1", port)):
            pass  # nobody listens there any more
        epoch = int(Run(run.folder).status["epoch"])
        wait_for_epoch(run, epoch + 1)
        left = {child for child in children if child.is_running()}
        assert of_the_queue[0] in left
        assert not [child for child in left if "streamlit" in child.cmdline()]
    finally:
        if dashboard.poll() is None:
            dashboard.kill()
            dashboard.wait()
