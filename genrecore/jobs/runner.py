"""The runner: a stateless reconciler between the queue on disk and the places where runs work.

A lock makes it the only one of its store. It hands the next queued run to its executor, this
machine or a cluster (`genrecore.jobs.executors`); ends runs that did not stop in time; has noted
how runs ended that could not do so themselves; and ends when nothing is left to do. If it is
killed, nothing is lost: any page or command starts another one, which recognises runs at work by
the locks they hold, or by the jobs that a scheduler has for them.

No run stands in the way of others: what goes wrong with one fails it, and one that cannot be read,
or whose failure cannot be written down, is left alone until its files change.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from genrecore.errors import describe
from genrecore.jobs import alerts
from genrecore.jobs.actions import RUNNER_LOCK
from genrecore.jobs.executors import Executor
from genrecore.jobs.local import Local
from genrecore.jobs.queue import in_order, paused
from genrecore.jobs.queue import queued as queued_runs
from genrecore.jobs.slurm.executor import Slurm
from genrecore.jobs.spawn import PROGRAM
from genrecore.store.disks import has_room
from genrecore.store.faults import stamps
from genrecore.store.files import Unreadable, leftovers
from genrecore.store.locks import LOCK, held, inherited_locks, take_lock
from genrecore.store.own_files import clear_the_way
from genrecore.store.run import Run
from genrecore.store.runs import each_readable
from genrecore.store.status import FINAL, STATUS, STOP, Status, stop_asked, stop_within_s
from genrecore.store.summaries import Stamps

_TICK_S, _TICK_AWAY_S = 0.2, 2.0  # where all runs are carried out elsewhere
_WATCH_EVERY_S = 2.0
_KILL_AFTER_S = 10.0  # after TERM
_AGAIN_AFTER_S = 3.0  # where nothing could be started, for reasons that are no run's own
_NO_PROCESSES = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
_FORCED = (
    "It was asked to stop and did not finish its step in time, so it was ended by force; "
    "its last checkpoint is kept."
)


def work(store: Path, program: Sequence[str] = PROGRAM, lock: int | None = None) -> None:
    """Starts queued runs and watches them to their end, unless another runner is at work.

    Args:
        store: The folder of the runs.
        program: Carries out a run when called with `train --run FOLDER`.
        lock: The descriptor of the runner's lock, if this process holds it already.
    """
    while True:
        if lock is None:
            lock = take_lock(store / RUNNER_LOCK, patience_s=0.3)
        if lock is None:
            return
        try:
            runner = _Runner(store, program)
            while runner.step():
                time.sleep(runner.tick_s)
        finally:
            os.close(lock)
            lock = None
        # A run may have been queued between the last step and the release.
        if paused(store) or all(run.run_id in runner.left_alone for run in queued_runs(store)):
            return


class _Runner:
    """The places where runs are carried out, the runs it has asked to stop, snapshots of runs."""

    def __init__(self, store: Path, program: Sequence[str]) -> None:
        self.store = store
        self.local, self.slurm = Local(store, program), Slurm(store)
        self.asked: dict[str, float] = {}  # when a run's request to stop was seen, and
        self.ended_by_force: dict[str, float] = {}  # when it was sent TERM, by `time.monotonic`
        self.snapshots: dict[str, tuple[tuple[int, int], Run]] = {}
        self.watched: set[str] = set()  # runs that were alive since alerts were last posted
        self.watched_at = -math.inf
        self.left_alone: dict[str, Stamps] = {}  # runs that nothing can be done with, and as what
        self.waits_until = -math.inf  # before that nothing is started, by `time.monotonic`
        self.tick_s = _TICK_S
        clear_the_way(store)
        for path in leftovers(store):
            shutil.rmtree(path, ignore_errors=True)

    def step(self) -> bool:
        """Starts and ends what is due; returns whether anything is left to do."""
        began = time.monotonic()
        unfinished = [run for run in self._unfinished() if not self._is_left_alone(run)]
        for executor, runs in self._by_place(unfinished).items():
            executor.states(runs)
            for run in runs:
                self._guarded(run, executor.settle)
        living = [run for run in unfinished if self._place(run).lives(run)]
        lives = {run.run_id for run in living}
        starting = [run for run in unfinished if run.status["state"] == "starting"]
        queued = [run for run in unfinished if run.status["state"] == "queued"]
        queued = [run for run in queued if run.run_id not in lives]
        waiting = [] if paused(self.store) else in_order([Run(run.folder) for run in queued])
        for run in waiting:  # read anew, since the order changes without the status
            if time.monotonic() < self.waits_until:
                break
            self._guarded(run, self._submit)
        stopping = [run for run in living if stop_asked(run.folder)]
        for seen in (self.asked, self.ended_by_force):
            for run_id in seen.keys() - {run.run_id for run in stopping}:
                del seen[run_id]
        for run in stopping:
            self._guarded(run, self._stop)
        waiting = [run for run in waiting if run.run_id not in self.left_alone]
        remaining = bool(waiting or living or starting or self.local.children)
        self._post_alerts(lives, at_once=not remaining)
        here = any(self._place(run) is self.local for run in (*waiting, *living, *starting))
        took_s = time.monotonic() - began
        self.tick_s = _TICK_S if here or not remaining else max(_TICK_AWAY_S, 10 * took_s)
        return remaining

    def _place(self, run: Run) -> Executor:
        """Where a run is carried out; where that cannot be read, this machine finds out why."""
        try:
            return self.slurm if run.queue.get("on") else self.local
        except Unreadable:
            return self.local

    def _by_place(self, runs: Sequence[Run]) -> dict[Executor, list[Run]]:
        places: dict[Executor, list[Run]] = {self.local: []}
        for run in runs:
            places.setdefault(self._place(run), []).append(run)
        return places

    def _submit(self, run: Run) -> None:
        if self._place(run).submit(run):
            self.watched.add(run.run_id)

    def _guarded(self, run: Run, action: Callable[[Run], None]) -> None:
        """Does something with a run; where that goes wrong, the run fails with the reason."""
        try:
            action(run)
        except Exception as error:
            if isinstance(error, OSError) and (
                error.errno in _NO_PROCESSES or not has_room(self.store)
            ):  # it is no run's fault: the queue waits until the disk or the machine has room
                self.waits_until = time.monotonic() + _AGAIN_AFTER_S
                return
            if isinstance(error, Unreadable) or not _fail(run, describe(error)):
                self.left_alone[run.run_id] = stamps(run.folder)

    def _is_left_alone(self, run: Run) -> bool:
        known = self.left_alone.get(run.run_id)
        if known is not None and known != stamps(run.folder):
            del self.left_alone[run.run_id]
        return run.run_id in self.left_alone

    def _post_alerts(self, living: set[str], at_once: bool) -> None:
        """Posts alerts about living runs, and once more about those that have ended since."""
        self.watched |= living
        if time.monotonic() - self.watched_at < _WATCH_EVERY_S and not at_once:
            return
        for run_id in self.watched:
            alerts.post_new(Run(self.store / run_id))
        self.watched, self.watched_at = living | set(self.local.children), time.monotonic()

    def _unfinished(self) -> list[Run]:
        """The runs without a final state; a status is read again only when its file changed."""
        snapshots: dict[str, tuple[tuple[int, int], Run]] = {}
        with contextlib.suppress(OSError), os.scandir(self.store) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                with contextlib.suppress(OSError):
                    file = os.stat(os.path.join(entry.path, STATUS))
                    stamp = (file.st_mtime_ns, file.st_ino)
                    snapshot = self.snapshots.get(entry.name)
                    if snapshot is None or snapshot[0] != stamp:
                        snapshot = (stamp, Run(Path(entry.path)))
                    snapshots[entry.name] = snapshot
        self.snapshots = snapshots
        everything = [run for _, run in snapshots.values()]
        states = each_readable(everything, lambda run: run.status.get("state", "done"))
        return [run for run, state in states if state not in FINAL]

    def _stop(self, run: Run) -> None:
        """Tells a run that it was asked to stop; ends one that did not stop in time: TERM, later
        KILL. Whatever the clocks say, it has no longer than its time from when the request was
        seen here."""
        place, now = self._place(run), time.monotonic()
        if run.run_id not in self.asked:
            place.stop(run, "ask")
        left_s, seen = run.stop_left_s, self.asked.setdefault(run.run_id, now)
        if left_s is None or min(left_s, seen + stop_within_s(run.folder) - now) > 0:
            return
        if run.run_id not in self.ended_by_force:
            self.ended_by_force[run.run_id] = now
            place.stop(run, "terminate")
        elif now - self.ended_by_force[run.run_id] > _KILL_AFTER_S:
            place.stop(run, "kill")
            with held(run.folder / LOCK, patience_s=5.0) as acquired:
                status = Status(run.folder)
                if acquired and status.values.get("state") not in FINAL:
                    status.move("stopped", _FORCED, finished_at=time.time(), time_left_s=None)
                    (run.folder / STOP).unlink(missing_ok=True)


def _fail(run: Run, reason: str) -> bool:
    """Writes that a run failed; returns whether that was possible."""
    try:
        with held(run.folder / LOCK, patience_s=0.0) as acquired:
            if acquired:
                Status(run.folder).move("failed", reason, finished_at=time.time())
            return acquired
    except (OSError, Unreadable):
        return False


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the command
    work(Path(sys.argv[1]), lock=next(iter(inherited_locks()), None))
