"""The runner: a stateless reconciler between the queue on disk and the device slots.

A lock makes it the only one. It reads the run folders, starts the next queued run in a free slot
and a process of its own, ends runs that did not stop in time, writes down how a process ended that
could not do so itself, and ends when nothing is left. Nothing is lost when it is killed: any page
or command starts another one, which finds living runs by the locks they hold.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from genrecore.errors import describe
from genrecore.jobs import alerts, slots
from genrecore.jobs.actions import RUNNER_LOCK
from genrecore.jobs.queue import in_order, paused
from genrecore.jobs.queue import queued as queued_runs
from genrecore.jobs.spawn import PROGRAM, spawn_run
from genrecore.store.files import write_json
from genrecore.store.locks import LOCK, held, inherited_locks, is_locked, take_lock
from genrecore.store.processes import ENDED, living_processes
from genrecore.store.run import Run
from genrecore.store.status import FINAL, LOG, STATUS, STOP, Status, stop_asked

_TICK_S = 0.2
_MOST_STARTS = 3
_WATCH_EVERY_S = 2.0
_KILL_AFTER_S = 10.0  # after TERM
_FORCED = (
    "It was asked to stop and did not finish its step in time, so it was ended by force; "
    "its last checkpoint is kept."
)


def work(store: Path, program: Sequence[str] = PROGRAM, lock: int | None = None) -> None:
    """Starts queued runs and watches them to their end, unless another runner is at work.

    Args:
        store: The folder of the runs.
        program: Carries out a run when called with `train --run FOLDER`.
        lock: The descriptor of the runner's lock, where it is held already.
    """
    while True:
        if lock is None:
            lock = take_lock(store / RUNNER_LOCK, patience_s=0.3)
        if lock is None:
            return
        try:
            runner = _Runner(store, program)
            while runner.look():
                time.sleep(_TICK_S)
        finally:
            os.close(lock)
            lock = None
        # Something may have been queued between the last look and the release.
        if paused(store) or not queued_runs(store):
            return


class _Runner:
    """One runner's memory: its children, whom it has signalled, and what it has read."""

    def __init__(self, store: Path, program: Sequence[str]) -> None:
        self.store, self.program = store, program
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.ended_by_force: set[str] = set()  # runs that were sent TERM
        self.read: dict[str, tuple[tuple[int, int], Run]] = {}
        self.watched: set[str] = set()  # runs that have lived since alerts were last looked for
        self.watched_at = -math.inf

    def look(self) -> bool:
        """One look at everything; returns whether anything is left to do."""
        self._note_ends()
        unfinished = self._unfinished()
        queued = [run for run in unfinished if run.status.get("state") == "queued"]
        starting = [run for run in unfinished if run.status.get("state") == "starting"]
        _mend_false_starts(starting)
        waiting = [] if paused(self.store) else [Run(run.folder) for run in queued]
        busy: set[str] = set()
        for run in in_order(waiting):  # read anew: the order changes while statuses do not
            self._start_if_free(run, busy)
        at_work = [run for run in unfinished if run.status.get("state") != "queued"]
        living = [run for run in at_work if is_locked(run.folder / LOCK)]
        for run in living:
            if stop_asked(run.folder):
                self._end_by_force_if_late(run)
        left = bool(waiting or living or starting or self.children)
        self._post_alerts({run.run_id for run in living}, at_once=not left)
        return left

    def _post_alerts(self, living: set[str], at_once: bool) -> None:
        """Posts alerts about runs that live, and once more about those that have ended since."""
        self.watched |= living
        if time.monotonic() - self.watched_at < _WATCH_EVERY_S and not at_once:
            return
        for run_id in self.watched:
            alerts.look(Run(self.store / run_id))
        self.watched, self.watched_at = living | set(self.children), time.monotonic()

    def _unfinished(self) -> list[Run]:
        """Runs that wait or have not said how they ended; a status is read when it has changed."""
        snapshots: dict[str, tuple[tuple[int, int], Run]] = {}
        with contextlib.suppress(OSError), os.scandir(self.store) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                with contextlib.suppress(OSError):
                    file = os.stat(os.path.join(entry.path, STATUS))
                    stamp = (file.st_mtime_ns, file.st_ino)
                    known = self.read.get(entry.name)
                    if known is None or known[0] != stamp:
                        known = (stamp, Run(Path(entry.path)))
                    snapshots[entry.name] = known
        self.read = snapshots
        everything = [run for _, run in snapshots.values()]
        return [run for run in everything if run.status.get("state") not in FINAL]

    def _start_if_free(self, run: Run, busy: set[str]) -> None:
        """Starts a run if its slots are free; else they are `busy` for all behind it, even if they
        are free a moment later: no run overtakes another."""
        try:
            wanted = set(slots.wanted(run))
            taken = None if wanted <= busy else slots.take(run)
        except Exception as error:  # an unreadable configuration must not stop the others
            _fail(run, describe(error))
            return
        if taken is None:
            busy |= wanted
            return
        devices, held = taken
        try:
            lock = take_lock(run.folder / LOCK, patience_s=0.1)
            if lock is None:
                return
            try:
                status = Status(run.folder)
                if status.values.get("state") != "queued":
                    return
                status.move("starting", starts=int(status.values.get("starts", 0)) + 1)
                with open(run.folder / LOG, "ab") as log:
                    child = spawn_run(run, log, devices, [lock, *held], self.program)
                self.children[run.run_id] = child
                self.watched.add(run.run_id)
            finally:
                os.close(lock)
        finally:
            for slot in held:
                os.close(slot)

    def _note_ends(self) -> None:
        """Writes down how a child ended that did not say so itself."""
        for run_id, child in list(self.children.items()):
            code = child.poll()
            if code is None:
                continue
            del self.children[run_id]
            self.ended_by_force.discard(run_id)
            folder = self.store / run_id
            if code != 0 and Run(folder).status.get("state") not in (*FINAL, "queued"):
                how = {"signal": -code} if code < 0 else {"code": code}
                with contextlib.suppress(OSError):
                    write_json(folder / ENDED, how | {"at": time.time()})

    def _end_by_force_if_late(self, run: Run) -> None:
        """Ends a run that was asked to stop and did not in time: TERM, later KILL."""
        late_s = time.time() - (run.stop_by or math.inf)
        if late_s < 0:
            return
        if run.run_id not in self.ended_by_force:
            self.ended_by_force.add(run.run_id)
            _signal(run, signal.SIGTERM)
        elif late_s > _KILL_AFTER_S:
            _signal(run, signal.SIGKILL)
            with held(run.folder / LOCK, patience_s=5.0) as mine:
                status = Status(run.folder)
                if mine and status.values.get("state") not in FINAL:
                    status.move("stopped", _FORCED, finished_at=time.time(), time_left_s=None)
                    (run.folder / STOP).unlink(missing_ok=True)


def _signal(run: Run, number: int) -> None:
    for process in living_processes(run.folder):
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def _mend_false_starts(starting: list[Run]) -> None:
    """Runs whose process died before its first word are queued again, three times at most."""
    for run in starting:
        with held(run.folder / LOCK, patience_s=0.0) as mine:
            status = Status(run.folder)
            if not mine or status.values.get("state") != "starting":
                continue
            if int(status.values.get("starts", 0)) < _MOST_STARTS:
                status.move("queued", "its process died before it began")
            else:
                log = run.log(2_000).strip().splitlines() or ["no output"]
                status.move(
                    "failed",
                    f"Its process died {_MOST_STARTS} times before it began; it said: {log[-1]}",
                    finished_at=time.time(),
                )


def _fail(run: Run, reason: str) -> None:
    with held(run.folder / LOCK, patience_s=0.0) as mine, contextlib.suppress(OSError):
        if mine:
            Status(run.folder).move("failed", reason, finished_at=time.time())


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the command
    work(Path(sys.argv[1]), lock=next(iter(inherited_locks()), None))
