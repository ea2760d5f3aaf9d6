"""The command `genrecore`: its subcommands, its exit codes, and its status when it is a task."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option
from typer.core import TyperGroup

from genrecore import __version__
from genrecore.cli import streams
from genrecore.cli.output import err
from genrecore.errors import UsageError, describe
from genrecore.jobs.spawn import TASK
from genrecore.store.locks import inherited_locks
from genrecore.store.processes import identity
from genrecore.store.progress import Stopped
from genrecore.store.records import JobStatus
from genrecore.store.status import Status
from genrecore.training import distributed, hardware

_FILES = {
    "demo": "serve",
    "dashboard": "serve",
    "doctor": "doctor",
    "list": "models",
    "datasets": "datasets",
    "train": "train",
    "runs": "runs",
    "queue": "runs",
    "cluster": "cluster",
    "compare": "compare",
    "views": "compare",
    "thresholds": "unsure",
    "strangers": "unsure",
    "errors": "errors",
    "annotate": "errors",
    "classify": "classify",
    "tag": "encoders",
    "similar": "similar",
    "encoders": "encoders",
    "sweep": "plans",
    "plans": "plans",
    "papers": "papers",
    "records": "records",
    "leaklab": "leaklab",
    "probe": "probe",
    "embed": "probe",
    "hear": "probe",
    "models": "models",
    "export": "export",
    "serve": "serve",
    "cache": "cache",
}
"""The file of each command, in the order in which help lists the commands."""


_DECODE = frozenset({"classify", "tag", "similar", "datasets", "hear", "probe", "embed"})
"""Commands that decode, and start no programs that have something to say."""


class CommandsByName(TyperGroup):
    """Imports a command's file only when it is called, so `runs list` needs no torch."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of all commands."""
        return list(_FILES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name, or None."""
        if cmd_name not in _FILES:
            return None
        module = importlib.import_module(f"genrecore.cli.{_FILES[cmd_name]}")
        return typer.main.get_group(module.commands).commands[cmd_name]


app = typer.Typer(
    name="genrecore",
    cls=CommandsByName,
    help="Train, watch, compare and hear music genre classifiers. "
    "Start with 'genrecore demo', or open the dashboard with 'genrecore dashboard'.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_given: bool) -> None:
    if is_given:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """Runs the command: exit code 0 done, 2 wrong usage, 1 failed with one clear sentence, 141 if
    whoever read the output has gone, as `head` does."""
    streams.write_anywhere()
    hardware.share_cores()
    # Held until this process ends; of several processes, torchrun holds them.
    locks = [] if distributed.by_torchrun() else inherited_locks()
    folder = os.environ.get(TASK)
    status = Status(Path(folder), JobStatus) if folder else None
    if status is not None:
        status.move("running", **identity())
    code, sentence, state, trace = 0, "", "done", ""
    try:
        with contextlib.ExitStack() as surroundings:
            if not _DECODE.isdisjoint(sys.argv[1:2]):
                surroundings.enter_context(streams.without_libraries())
            if "--json" in sys.argv:
                surroundings.enter_context(streams.alone())
            app(prog_name="genrecore")
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else 0 if exit_.code is None else 1
        if isinstance(exit_.__context__, BrokenPipeError):  # which typer takes for a failure
            code = streams.PIPE_CLOSED
        state = "done" if code in (0, streams.PIPE_CLOSED) else "failed"
    except Stopped:
        code, sentence, state = 1, "Stopped on request.", "stopped"
    except KeyboardInterrupt:
        code, sentence, state = 130, "Interrupted.", "stopped"
    except Exception as error:
        if isinstance(error, BrokenPipeError) and not streams.is_read():
            code = streams.PIPE_CLOSED
        else:
            code, state = (2 if isinstance(error, UsageError) else 1), "failed"
            sentence, trace = describe(error), traceback.format_exc()
            if "--debug" in sys.argv:
                err.print(trace)
    if sentence:
        err.print(sentence)
    if status is not None:
        with contextlib.suppress(OSError):
            status.move(state, sentence, finished_at=time.time(), traceback=trace)
    for lock in locks:
        os.close(lock)
    code = streams.ended(code)
    sys.exit(code)
