"""How pages and commands queue, stop, resume, copy and delete runs; the state is on disk.

Runs are queued as run folders (`genrecore.store.run`); the runner starts them. Other work that
takes long (preparing a dataset, a download, an audit) is a task (`genrecore.jobs.tasks`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genrecore.config.run import RunConfig, with_values
from genrecore.errors import GenrecoreError, UsageError, describe
from genrecore.jobs import queue
from genrecore.jobs.access import work
from genrecore.jobs.advice import fails_again
from genrecore.jobs.queue import move, pause, paused, prioritise, queued
from genrecore.jobs.slurm import profiles
from genrecore.jobs.slurm.executor import cancel
from genrecore.jobs.spawn import TASK, spawn
from genrecore.jobs.tasks import Task, start_task, stop_task, tasks
from genrecore.store import own_files, settings
from genrecore.store.about import checked_about, write_about
from genrecore.store.faults import EPOCHS, HISTORY, STEPS
from genrecore.store.files import Unreadable, in_a_sentence, is_regular_file, write_json
from genrecore.store.locks import LOCK, NoLocks, held, is_locked, lock_state, take_lock
from genrecore.store.processes import ENDED
from genrecore.store.run import Run, store_dir
from genrecore.store.runs import (
    create_run,
    each_readable,
    fault,
    find_folder,
    run_folders,
    summaries,
)
from genrecore.store.status import FINAL, STOP, STOP_WITHIN_S, Status, ask_to_stop
from genrecore.words import listed, plural

__all__ = [
    "TASK", "Task", "annotate", "clone", "continue_", "damaged_files", "delete", "deleted",
    "empty_bin",
    "ensure_runner", "move", "pause", "paused", "prioritise", "queued", "repair", "repair_file",
    "restore", "resume",
    "start_task", "stop", "stop_task", "submit", "tasks", "unpause",
]  # fmt: skip

RUNNER_LOCK = ".runner.lock"
RUNNER = (sys.executable, "-m", "genrecore.jobs.runner")
_BIN = ".bin"
_EXITS_WITHIN_S = 10.0  # a process with torch and a GPU takes seconds from its last word to its end


@in_a_sentence("The run cannot be queued")
@work("queue")
def submit(
    config: RunConfig,
    store: Path | None = None,
    priority: int = 0,
    plan: str = "",
    origin: Mapping[str, str] | None = None,
    files: Sequence[Path] = (),
    on: str = "",
) -> Run:
    """Queues a resolved configuration, as `create_run` does, and starts a runner for it.

    `plan` is the id of the plan that the run belongs to; `on`, as `slurm:NAME`, where it is carried
    out, on this machine where it is empty.

    Raises:
        UsageError: The run would fail: its split is impossible or leaks, files or genres are
            missing (`genrecore.training.check`), or there is no such place. Nothing is queued.
        GenrecoreError: The store cannot be written.
    """
    from genrecore.training.check import check

    check(config).refuse()
    if on:
        profiles.find(on, store or store_dir())
    origin = dict(origin or {}) | ({"plan": plan} if plan else {})
    run = create_run(config, store, priority, origin, files, on)
    if not config.rehearsal:  # nobody wants its short clips again
        settings.keep_dataset(run.folder.parent, config.dataset)
    ensure_runner(run.folder.parent)
    return run


def ensure_runner(store: Path | None = None) -> None:
    """Starts a runner for the store unless one is at work or there is nothing to do.

    There is something to do while a process works on a run, and while a run waits in a queue that
    is not paused.
    """
    store = store or store_dir()
    if is_locked(store / RUNNER_LOCK):
        return
    at_rest = FINAL | {"queued"} if paused(store) else FINAL
    unfinished = (
        Run.summarised(kept)
        for kept in summaries(store, quick=True)
        if kept.fault is None and kept.values["course"]["state"] not in FINAL
    )
    states = each_readable(unfinished, lambda run: run.state)
    if not any(
        (run.status["state"] in ("queued", "starting") and os.access(run.folder, os.W_OK))
        or run.alive
        or state in ("requeued", "stalled", "unknown")
        for run, state in states
        if state not in at_rest
    ):
        return
    # Without locks or where nothing can be written there is no queue; `doctor` says which.
    with contextlib.suppress(OSError, NoLocks):
        own_files.clear_the_way(store)
        # Taken here and inherited, so that no other process starts a second runner meanwhile.
        lock = take_lock(store / RUNNER_LOCK, patience_s=0.0)
        if lock is None:
            return
        try:
            with open(store / ".runner.log", "ab") as log:
                spawn([*RUNNER, str(store)], log, [lock], {})
        finally:
            os.close(lock)


@in_a_sentence("The queue cannot be resumed")
@work("resume the queue")
def unpause(store: Path | None = None) -> str:
    """Lets runs start again; returns a sentence."""
    store = store or store_dir()
    queue.unpause(store)
    ensure_runner(store)
    return "Waiting runs start again, one after the other."


@in_a_sentence("The run cannot be stopped")
@work("stop")
def stop(
    run: Run,
    keep_best: bool = False,
    reason: str = "",
    within_s: float = STOP_WITHIN_S,
) -> str:
    """Asks a run to stop; returns what will happen, as a sentence.

    A queued run is cancelled at once; a run at work finishes its step, writes a checkpoint and
    ends. If it does not do so within `within_s`, it is ended by force and keeps its last
    checkpoint.

    Args:
        run: The run.
        keep_best: Whether the best epoch so far is tested and the run counts as done.
        reason: A word for why, for example `pruned`.
        within_s: Time it has for its last step.

    Raises:
        GenrecoreError: The run has ended already, or is lost.
    """
    with _unless_at_work(run) as acquired:
        written = Run(run.folder).status.get("state", "queued")
        if written in FINAL:
            raise GenrecoreError(f"The run {run.run_id} has ended already: {written}.")
        if acquired and written == "queued":
            _cancel_job(run)
            Status(run.folder).move("stopped", reason or "cancelled", finished_at=time.time())
            return f"The run {run.run_id} was waiting and is cancelled."
        if acquired:
            raise GenrecoreError(f"The run {run.run_id} is lost: no process works on it.")
    ask_to_stop(run.folder, within_s=within_s, keep_best=keep_best, reason=reason)
    ensure_runner(run.folder.parent)  # it ends the run by force if that is needed
    if keep_best:
        return f"The run {run.run_id} finishes its step, and its best epoch so far is tested."
    return f"The run {run.run_id} finishes its step, keeps a checkpoint and stops."


@in_a_sentence("The run cannot be resumed")
@work("resume")
def resume(run: Run, on: str | None = None) -> str:
    """Queues a stopped, failed or lost run again; returns a sentence.

    It goes on from its last checkpoint, exactly as if it had not ended; without a checkpoint it
    starts over.

    Args:
        run: The run.
        on: Where it goes on, as of `submit`; by default where it was.

    Raises:
        UsageError: There is no such place.
        GenrecoreError: The run is at work, queued or done, or would fail again.
    """
    if on:
        profiles.find(on, run.folder.parent)
    again = fails_again(run)
    if again:
        raise GenrecoreError(f"The run {run.run_id} would fail again: {again}")
    with _hold(run) as acquired:
        if not acquired and _is_over(run):
            raise GenrecoreError(_at_work(run))
        state = _written(run) if acquired else Run(run.folder).state
        if not acquired or state in ("queued", "done"):
            advice = "; continue it for more epochs instead" if state == "done" else ""
            raise GenrecoreError(f"The run {run.run_id} cannot be resumed: it is {state}{advice}.")
        (run.folder / STOP).unlink(missing_ok=True)
        (run.folder / ENDED).unlink(missing_ok=True)
        _cancel_job(run)
        if on is not None:
            write_json(run.folder / "queue.json", run.queue | {"on": on})
        has_checkpoint = (run.folder / "resume.pt").exists()
        status = Status(run.folder)
        for name in ("traceback", "finished_at", "notes"):
            status.values.pop(name, None)
        status.move(
            "queued",
            "It goes on from its last checkpoint." if has_checkpoint else "It starts over.",
            starts=0,
        )
    ensure_runner(run.folder.parent)
    if has_checkpoint:
        return f"The run {run.run_id} is queued and goes on from its last checkpoint."
    return f"The run {run.run_id} is queued; it has no checkpoint, so it starts over."


@work("continue")
def continue_(run: Run, epochs: int, on: str | None = None) -> Run:
    """A new run that trains a finished one on, from its last epoch to `epochs` in all, where the
    finished one was carried out unless `on` says otherwise.

    The finished run stays as it is. The new one has no early stopping if that ended the old one,
    and keeps the last learning rate if the schedule (one cycle, cosine) has run to its end.

    Raises:
        GenrecoreError: The run is not done, has that many epochs already, or has no checkpoint.
    """
    state, config = run.state, run.config
    done = len(run.history)
    if state != "done":
        advice = "; resume it instead" if state in ("stopped", "failed", "lost") else ""
        raise GenrecoreError(f"The run {run.run_id} is {state}, not done{advice}.")
    if not (run.folder / "resume.pt").exists():
        why = "" if config.training.epochs > 1 and done > 1 else "; it was fitted in one call"
        raise GenrecoreError(
            f"The run {run.run_id} cannot be continued: it has no checkpoint{why}."
        )
    if epochs <= done:
        raise GenrecoreError(
            f"The run {run.run_id} has {done} epochs already; give a larger number than {epochs}."
        )
    _ = run.epoch_predictions, run.step_losses  # nothing damaged is copied
    changes: dict[str, Any] = {"training.epochs": epochs}
    if done < config.training.epochs:
        changes["training.patience"] = 0
    if config.training.schedule in ("one_cycle", "cosine"):
        last = float(run.history["lr"].iloc[-1])
        changes |= {"training.schedule": "constant", "training.lr": max(last, 1e-7)}
    return submit(
        with_values(config, changes),
        run.folder.parent,
        origin={"parent": run.run_id, "how": "continued"},
        on=_place(run) if on is None else on,
        files=[run.folder / name for name in ("resume.pt", HISTORY, EPOCHS, STEPS)],
    )


@work("clone")
def clone(run: Run, changes: Mapping[str, Any], on: str | None = None) -> Run:
    """Queues a new run with the settings of another one, except `changes` by dotted field, where
    that one was carried out unless `on` says otherwise.

    Raises:
        UsageError: A field does not exist, or a value is out of range, or as `submit`.
    """
    from genrecore.training.check import with_best_split
    from genrecore.training.resolve import resolve

    config = resolve(with_best_split(with_values(run.config, dict(changes)))).config
    origin = {"parent": run.run_id, "how": "cloned"}
    on = _place(run) if on is None else on
    return submit(config, run.folder.parent, origin=origin, on=on)


def another_seed(runs: Sequence[Run], on: str | None = None) -> list[Run]:
    """Queues what a system trained with its first seed (one run, or one of each fold) once more,
    with a seed that it has not had.

    Args:
        runs: The runs of one system.
        on: As of `clone`.

    Raises:
        UsageError: As `clone`.
    """
    seed = max(run.config.seed for run in runs) + 1
    first = (runs[0].config.seed, runs[0].config.split_seed)
    again = [run for run in runs if (run.config.seed, run.config.split_seed) == first]
    return [clone(run, {"seed": seed}, on) for run in again]


@in_a_sentence("What is said of the run cannot be kept")
@work("describe")
def annotate(
    run: Run,
    *,
    name: str | None = None,
    note: str | None = None,
    tags: Iterable[str] | None = None,
    starred: bool | None = None,
) -> str:
    """Writes about a run, in any state; what is None stays as it is. Returns a sentence.

    Args:
        run: The run.
        name: One line of up to 80 characters; an empty one gives back the name made for it.
        note: Plain text.
        tags: All tags it shall have: words without blanks and commas.
        starred: Whether it is marked.

    Raises:
        UsageError: A text is too long, a name has several lines, or a tag is not a word.
        GenrecoreError: The run's folder cannot be written.
    """
    old = Run(run.folder).about
    new = checked_about(
        old.name if name is None else name,
        old.note if note is None else note,
        old.tags if tags is None else tags,
        old.starred if starred is None else starred,
    )
    if new != old:
        write_about(run.folder, new)
    parts = [f"has the name {new.name!r}" if new.name else "has the name made for it"]
    parts += [f"the tags {', '.join(new.tags)}"] if new.tags else []
    parts += ["a note"] if new.note else []
    parts += ["a star"] if new.starred else []
    return f"The run {run.run_id} {listed(parts)}."


@in_a_sentence("The run cannot be deleted")
@work("delete")
def delete(run: Run) -> str:
    """Moves a run to the store's bin, from which `restore` brings it back; returns a sentence.

    Raises:
        GenrecoreError: The run is at work.
    """
    with _unless_at_work(run) as acquired:
        if not acquired:
            raise GenrecoreError(_at_work(run))
        if fault(run.folder) is None and _written(run) == "queued":
            with contextlib.suppress(OSError):  # a full disk: what is deleted makes room
                _cancel_job(run)
                Status(run.folder).move("stopped", "cancelled", finished_at=time.time())
        bin_ = run.folder.parent / _BIN
        try:
            bin_.mkdir(exist_ok=True)
            shutil.rmtree(bin_ / run.run_id, ignore_errors=True)  # it was there, and imported again
            run.folder.rename(bin_ / run.run_id)
        except OSError as error:
            reason = describe(error)
            raise GenrecoreError(f"The run {run.run_id} cannot be deleted: {reason}") from None
    return f"The run {run.run_id} is in the bin and can be restored from there."


@work("repair")
def repair(run: Run) -> str:
    """Mends a run that cannot be read, as far as its other files allow; returns what was done.

    A copy of each damaged file is kept in the run's folder `damaged/`.

    Raises:
        GenrecoreError: The run is at work, its folder cannot be written, or a file cannot be
            mended; what could be is.
    """
    from genrecore.jobs.repair import DAMAGED, first_fault, mend, visible_folder

    error = first_fault(run)
    if error is None:
        return f"The run {run.run_id} can be read; nothing is to be mended."
    try:
        with _unless_at_work(run) as acquired:
            if not acquired:
                raise GenrecoreError(_at_work(run))
            run = Run(visible_folder(run.folder))
            sentences = mend(run)
    except OSError as problem:
        reason = describe(problem)
        raise GenrecoreError(f"The run {run.run_id} cannot be mended: {reason}") from None
    ensure_runner(run.folder.parent)
    copies = f"The damaged files are kept in its folder {DAMAGED}." if sentences else ""
    return " ".join([f"The run {run.run_id} can be read again.", *sentences, copies]).strip()


def damaged_files(store: Path | None = None) -> list[Unreadable]:
    """What is damaged of the store's own files: settings, judgements, locks."""
    from genrecore.jobs.repair import store_faults

    return store_faults(store or store_dir())


@in_a_sentence("The file cannot be moved aside")
@work("repair a file of the store")
def repair_file(name: str, store: Path | None = None) -> str:
    """Moves a damaged file of the store aside, and keeps what is good of settings; returns what was
    done.

    Raises:
        UsageError: The store has no such damaged file.
        GenrecoreError: The store cannot be written.
    """
    from genrecore.jobs.repair import mend_store_file

    faults = {error.file: error for error in damaged_files(store)}
    if name not in faults:
        there = f"damaged are: {', '.join(faults)}" if faults else "none is damaged"
        raise UsageError(f"No file {name} of the store is damaged; {there}.")
    return mend_store_file(faults[name])


def deleted(store: Path | None = None) -> list[Run]:
    """The runs in the bin, readable or not, the newest first."""
    return [Run(folder) for folder in run_folders((store or store_dir()) / _BIN)]


@in_a_sentence("The run cannot be restored")
@work("restore")
def restore(run_id: str, store: Path | None = None) -> Run:
    """Brings a run back from the bin.

    Raises:
        UsageError: No run in the bin matches, or several do.
        GenrecoreError: The store has a run of that name.
    """
    store = store or store_dir()
    run = find_folder(run_id, store / _BIN)
    try:
        run.folder.rename(store / run.run_id)
    except OSError as error:
        reason = describe(error)
        raise GenrecoreError(f"The run {run.run_id} cannot be restored: {reason}") from None
    return Run(store / run.run_id)


@in_a_sentence("The bin cannot be emptied")
@work("empty the bin")
def empty_bin(store: Path | None = None) -> str:
    """Deletes the runs in the bin for good; returns a sentence."""
    in_bin = deleted(store)
    for run in in_bin:
        shutil.rmtree(run.folder, ignore_errors=True)
    return f"{plural(len(in_bin), 'run')} removed for good."


@contextlib.contextmanager
def _unless_at_work(run: Run) -> Iterator[bool]:
    """Yields whether no process works on a run, and holds its lock meanwhile; in a store without
    locks what is known of its process has to do, and a damaged lock holds nobody off."""
    if fault(run.folder) is not None and not is_regular_file(str(run.folder / LOCK)):
        yield True
        return
    if lock_state(run.folder / LOCK) is None:
        yield not Run(run.folder).alive
        return
    on_another_node = fault(run.folder) is None and bool(run.job) and Run(run.folder).alive
    with _hold(run) as acquired:
        yield acquired and not on_another_node


@contextlib.contextmanager
def _hold(run: Run) -> Iterator[bool]:
    """Holds the lock of a run on which no process works, and yields whether it could. A process
    that has written the run's last state and only has to exit is waited for."""
    with held(run.folder / LOCK, patience_s=0.2) as acquired:
        if acquired:
            yield True
            return
    with held(run.folder / LOCK, patience_s=_EXITS_WITHIN_S if _is_over(run) else 0.0) as acquired:
        yield acquired


def _is_over(run: Run) -> bool:
    return fault(run.folder) is None and Run(run.folder).status.get("state") in FINAL


def _at_work(run: Run) -> str:
    if _is_over(run):
        return f"The run {run.run_id} has ended, but its process has not exited yet."
    return f"The run {run.run_id} is at work; stop it first."


def _place(run: Run) -> str:
    """Where a run like this one is carried out; here where its profile is forgotten."""
    place = str(run.queue.get("on", ""))
    return place if place.removeprefix("slurm:") in profiles.profiles(run.folder.parent) else ""


def _cancel_job(run: Run) -> None:
    """Has a cluster's scheduler forget the run's job, if it has one."""
    if Run(run.folder).job:
        cancel(run)


def _written(run: Run) -> str:
    """The state in the file: while this process holds the lock, `Run.state` takes it for alive."""
    state = str(Run(run.folder).status.get("state", "queued"))
    return state if state in (*FINAL, "queued") else "lost"
