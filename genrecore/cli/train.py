"""`genrecore train`: one run, from the settings to the test."""

from __future__ import annotations

import contextlib
import gc
import os
import shlex
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer
from typer import Option

from genrecore.cli.flags import with_flags
from genrecore.cli.options import (
    BackgroundOption,
    ConfigOption,
    FolderOption,
    JsonOption,
    OnOption,
    PresetOption,
    SetOption,
    settings,
)
from genrecore.cli.output import answer, err, out, print_json, reporting
from genrecore.cli.runs import print_result, run_facts
from genrecore.config.command import train_command
from genrecore.config.run import RunConfig, with_values
from genrecore.errors import GenrecoreError, UsageError
from genrecore.jobs import actions, alerts, places, slots
from genrecore.jobs.slurm import inside
from genrecore.jobs.spawn import spawn_run
from genrecore.store.about import About, checked_about, write_about
from genrecore.store.generations import JOB
from genrecore.store.locks import LOCK, take_lock
from genrecore.store.progress import Ended, Phase, Report
from genrecore.store.run import Run
from genrecore.store.runs import create_held_run, find_run
from genrecore.store.settings import keep_dataset
from genrecore.store.status import FINAL, LOG, ask_to_stop, stop_asked
from genrecore.training import distributed
from genrecore.training.progress import signals_ask_to_stop

commands = typer.Typer(rich_markup_mode=None)


@commands.command()
@with_flags(RunConfig, defaults={"split": "auto, the best split that the clips allow"})
def train(
    values: dict[str, Any],
    config: ConfigOption = None,
    set_: SetOption = None,
    preset: PresetOption = "",
    folder: FolderOption = None,
    background: BackgroundOption = False,
    on: OnOption = None,
    run: Annotated[
        Path | None, Option(help="Carry out, or go on with, the run in this folder.")
    ] = None,
    name: Annotated[
        str, Option(help="A name for the run, by which lists, charts and commands know it.")
    ] = "",
    note: Annotated[str, Option(help="A note on the run.")] = "",
    tag: Annotated[
        list[str] | None, Option(help="A tag for the run; may be given several times.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train one model and test it: decode, split, train, choose the epoch, predict.

    Without flags: the base CNN on the built-in demo music. Settings come from the defaults, then
    from --config, then from --preset, then from flags. What cannot work (a split that leaks, too
    few artists, missing files) is refused at once, with the command that works.
    checkpoints/README.md describes what a run writes. With --on slurm:NAME the run is queued for a
    cluster, and the command returns at once.
    """
    if run is not None:
        if values or set_ or config or preset or folder or name or note or tag or on:
            raise UsageError("--run uses the settings in its folder; it takes no others.")
        existing = find_run(str(run))
        if distributed.rank() > 0:
            _follow_leader(existing.config)
        else:
            _carry_out(existing, as_json)
        return
    from genrecore.training.check import AUTO, with_best_split
    from genrecore.training.resolve import resolve

    place = places.read_place(on) or ""
    background = background or bool(place)
    chosen = settings(config, values, set_, preset, AUTO, folder)
    resolved = resolve(with_best_split(chosen)).config
    _refuse(resolved, background)
    about = checked_about(name, note, tag or ())
    if background:
        queued = actions.submit(resolved, on=place)
        _write_about(queued, about)
        facts = {"run": queued.run_id, "folder": queued.folder, "state": "queued", "on": place}
        sentence = f"Queued {queued.run_id}. Watch it: genrecore runs show {queued.run_id}"
        answer(as_json, facts, sentence)
        return
    if distributed.rank() > 0:
        _follow_leader(resolved)
        return
    created, lock = create_held_run(resolved)
    if not resolved.rehearsal:
        keep_dataset(created.folder.parent, resolved.dataset)
    try:
        _write_about(created, about)
        _carry_out(created, as_json, lock)
    finally:
        os.close(lock)


def _write_about(run: Run, about: About) -> None:
    if about != About():
        write_about(run.folder, about)


def _refuse(config: RunConfig, background: bool) -> None:
    """Ends the command where a run would fail; says what else is wrong.

    Raises:
        UsageError: Why, and the commands that work.
    """
    from genrecore.training.check import Remedy, check

    def lines(problem: str, remedies: Sequence[Remedy]) -> str:
        text = [problem]
        for remedy in remedies:
            words = train_command(with_values(config, dict(remedy.changes)), background)
            text += [remedy.sentence, f"  {shlex.join(words)}"]
        return "\n".join(text)

    result = check(config)
    if result.problem:
        raise UsageError(lines(result.problem, result.remedies))
    for caution in result.cautions:
        err.print(f"Note: {lines(caution.sentence, caution.remedies)}")


def _import_lifecycle() -> ModuleType:
    """`genrecore.training.lifecycle`, imported without Python's garbage collector.

    It would look through all that torch makes while it loads, several times, and find nothing to
    free: a run's first step comes about 0.8 of 6 s earlier (docs/explanations/performance.md).
    """
    gc.disable()
    try:
        from genrecore.training import lifecycle
    finally:
        gc.freeze()
        gc.enable()
    return lifecycle


def _carry_out(run: Run, as_json: bool, lock: int | None = None) -> None:
    """Executes a run in this process, holding its lock and a slot."""
    lifecycle = _import_lifecycle()
    # The process that started this one gave it the locks, or holds them for it.
    born_held = "GENRECORE_DEVICE" in os.environ
    in_job = inside.is_job() and not distributed.by_torchrun()
    several = run.config.processes > 1 and not distributed.by_torchrun()
    with contextlib.ExitStack() as at_end:
        # No runner watches a run in the foreground. Called last, after its locks are released.
        if not in_job:
            at_end.callback(lambda: alerts.post_new(Run(run.folder)))
            at_end.callback(actions.ensure_runner, run.folder.parent)
        devices, locks = list[str](), list[int]()
        if in_job:
            devices, locks = inside.begin(run)
        elif not born_held:
            if lock is None:
                lock = take_lock(run.folder / LOCK)
                if lock is None:
                    raise GenrecoreError(f"Another process works on the run {run.run_id}.")
                at_end.callback(os.close, lock)
            if run.status.get("state") == "done":
                raise GenrecoreError(f"The run {run.run_id} is done already.")
            devices, slot_locks = _take_slots(run)
            for slot_lock in slot_locks:
                at_end.callback(os.close, slot_lock)
            os.environ["GENRECORE_DEVICE"] = devices[0]
            at_end.callback(os.environ.pop, "GENRECORE_DEVICE", None)
            locks = [lock, *slot_locks]
        report = at_end.enter_context(reporting(quiet=as_json or born_held or in_job))
        if not as_json:
            out.print(f"Run {run.run_id}")
        if several and devices:
            with signals_ask_to_stop(run.folder) if in_job else contextlib.nullcontext():
                state = _watch_processes(run, devices, locks, report)
        else:
            state = lifecycle.execute(run, report, at_end.enter_context(distributed.joined()))
        if in_job:
            inside.end(run, state)
    if state == "replaced":
        raise GenrecoreError(f"A newer process works on the run {run.run_id}; this one ends.")
    finished = Run(run.folder)
    if as_json:
        print_json(run_facts(finished))
    elif state == "done":
        print_result(finished)
    if state == "failed":
        raise GenrecoreError(f"The run {run.run_id} failed: {finished.reason}")


def _watch_processes(run: Run, devices: list[str], locks: list[int], report: Report) -> str:
    """Starts the processes of a run and waits for them; Ctrl-C asks them to stop."""
    with open(run.folder / LOG, "ab") as log:
        child = spawn_run(run, log, devices, locks)
    while child.poll() is None:
        try:
            status = Run(run.folder).status
            done, total = int(status.get("done", 0)), int(status.get("total", 0))
            report(str(status.get("phase") or Phase.STARTING), done, total)
            time.sleep(0.2)
        except KeyboardInterrupt:
            ask_to_stop(run.folder)
        except Ended:
            continue  # its processes were told as well
    state = str(Run(run.folder).status.get("state", "queued"))
    if state in (*FINAL, "queued"):
        return state
    raise GenrecoreError(
        f"The processes of the run {run.run_id} ended with exit code {child.returncode} and left "
        f"no message; its log may say more: genrecore runs show {run.run_id} --log"
    )


def _follow_leader(config: RunConfig) -> None:
    """Trains together with the process that writes the run; this one keeps nothing."""
    lifecycle = _import_lifecycle()
    os.environ.pop(JOB, None)  # a cluster's job writes the leader's run
    with tempfile.TemporaryDirectory(prefix="genrecore-") as folder:
        unseen, lock = create_held_run(config, Path(folder))
        try:
            with distributed.joined() as team:
                state = lifecycle.execute(unseen, team=team)
            reason = Run(unseen.folder).reason
        finally:
            os.close(lock)
    if state == "failed":
        raise GenrecoreError(reason)


def _take_slots(run: Run) -> tuple[list[str], list[int]]:
    """Free devices for a run and their locks; waits while other runs train."""
    devices_and_locks = slots.take(run)
    if devices_and_locks is None:
        err.print("Waiting for a free device: another run trains. Ctrl-C gives up.")
    while devices_and_locks is None:
        if stop_asked(run.folder):
            raise GenrecoreError(f"The run {run.run_id} was cancelled while it waited.")
        time.sleep(0.3)
        devices_and_locks = slots.take(run)
    return devices_and_locks
