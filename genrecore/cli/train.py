"""`genrecore train`: one run, from the settings to the test."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from genrecore.cli.flags import with_flags
from genrecore.cli.output import JSON, err, out, print_json, reporting
from genrecore.cli.runs import print_result, run_facts
from genrecore.cli.options import CONFIG, PRESET, SET, settings
from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError, UsageError
from genrecore.jobs import actions as jobs
from genrecore.jobs import alerts
from genrecore.jobs import spawn as spawning
from genrecore.store import run as runs
from genrecore.store.locks import LOCK, take_lock
from genrecore.store.progress import Phase, Report
from genrecore.store.run import Run
from genrecore.store.status import FINAL, LOG, ask_to_stop, stop_asked
from genrecore.training import distributed

commands = typer.Typer(rich_markup_mode=None)


@commands.command()
@with_flags(RunConfig)
def train(
    values: dict[str, Any],
    config: CONFIG = None,
    set_: SET = None,
    preset: PRESET = "",
    background: Annotated[
        bool, Option("--background", help="Queue the run and return at once.")
    ] = False,
    run: Annotated[
        Path | None, Option(help="Carry out (or go on with) the run in this folder.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Train one model and test it: decode, split, train, choose the epoch, predict.

    Without flags: the base CNN on the built-in demo music. Settings come from the defaults, then
    from --config, then from --preset, then from flags. What a run writes is described in
    checkpoints/README.md.
    """
    if run is not None:
        if values or set_ or config or preset:
            raise UsageError("--run carries out what its folder says; it takes no other settings.")
        found = runs.find_run(str(run))
        if distributed.rank() > 0:
            _follow_leader(found.config)
        else:
            _carry_out(found, as_json)
        return
    from genrecore.training.resolve import resolve

    resolved = resolve(settings(config, values, set_, preset)).config
    if background:
        queued = jobs.submit(resolved)
        if as_json:
            print_json({"run": queued.run_id, "folder": str(queued.folder), "state": "queued"})
        else:
            out.print(f"Queued {queued.run_id}. Watch it: genrecore runs show {queued.run_id}")
        return
    if distributed.rank() > 0:
        _follow_leader(resolved)
        return
    made, lock = runs.create_held_run(resolved)
    try:
        _carry_out(made, as_json, lock)
    finally:
        os.close(lock)


def _carry_out(run: Run, as_json: bool, lock: int | None = None) -> None:
    """Executes a run in this process, holding its lock and a slot."""
    from genrecore.training import lifecycle

    # Whoever started this process gave it the locks, or holds them for it.
    born_held = "GENRECORE_DEVICE" in os.environ
    held: list[int] = []
    own_lock = None
    several = run.config.processes > 1 and not distributed.by_torchrun()
    try:
        if not born_held:
            if lock is None:
                lock = own_lock = take_lock(run.folder / LOCK)
                if lock is None:
                    raise GenrecoreError(f"Another process works on the run {run.run_id}.")
            if run.status.get("state") == "done":
                raise GenrecoreError(f"The run {run.run_id} is done already.")
            devices, held = _take_slots(run)
            os.environ["GENRECORE_DEVICE"] = devices[0]
        with reporting(quiet=as_json or born_held) as report:
            if not as_json:
                out.print(f"Run {run.run_id}")
            if several and lock is not None:
                state = _watched(run, devices, [lock, *held], report)
            else:
                with distributed.joined() as team:
                    state = lifecycle.execute(run, report, team)
    finally:
        if not born_held:
            os.environ.pop("GENRECORE_DEVICE", None)
        for descriptor in (*held, *([own_lock] if own_lock is not None else [])):
            os.close(descriptor)
        jobs.ensure_runner(run.folder.parent)
        alerts.look(Run(run.folder))  # no runner watched it
    finished = Run(run.folder)
    if as_json:
        print_json(run_facts(finished))
    elif state == "done":
        print_result(finished)
    if state == "failed":
        raise GenrecoreError(f"The run {run.run_id} failed: {finished.reason}")


def _watched(run: Run, devices: list[str], locks: list[int], report: Report) -> str:
    """Starts a run's processes and waits for them; Ctrl-C asks them to stop."""
    with open(run.folder / LOG, "ab") as log:
        child = spawning.spawn_run(run, log, devices, locks)
    while child.poll() is None:
        try:
            status = Run(run.folder).status
            done, total = int(status.get("done", 0)), int(status.get("total", 0))
            report(str(status.get("phase") or Phase.STARTING), done, total)
            time.sleep(0.2)
        except KeyboardInterrupt:
            ask_to_stop(run.folder)
    status = Run(run.folder).status
    state = str(status.get("state", "queued"))
    if state in FINAL:
        return state
    raise GenrecoreError(
        f"The processes of the run {run.run_id} ended with exit code {child.returncode} and left "
        f"no message; its log may say more: genrecore runs show {run.run_id} --log"
    )


def _follow_leader(config: RunConfig) -> None:
    """Trains along with the process that writes the run: this one keeps nothing."""
    from genrecore.training import lifecycle

    with tempfile.TemporaryDirectory(prefix="genrecore-") as folder:
        unseen, lock = runs.create_held_run(config, Path(folder))
        try:
            with distributed.joined() as team:
                state = lifecycle.execute(unseen, team=team)
            reason = Run(unseen.folder).reason
        finally:
            os.close(lock)
    if state == "failed":
        raise GenrecoreError(reason)


def _take_slots(run: Run) -> tuple[list[str], list[int]]:
    """Free devices for a run and their locks; waits for them while other runs train."""
    from genrecore.jobs import slots

    told = False
    while True:
        taken = slots.take(run)
        if taken is not None:
            return taken
        if stop_asked(run.folder):
            raise GenrecoreError(f"The run {run.run_id} was cancelled while it waited.")
        if not told:
            err.print("Waiting for a free device: another run trains. Ctrl-C gives up.")
            told = True
        time.sleep(0.3)
