"""The runner: a stateless reconciler between the queue on disk and the device slots.

It is single by a lock, reads the run folders, gives the next queued run a free slot and a process
of its own, ends what was asked to stop and did not in time, writes down how a process ended that
could not say so itself, and goes when nothing is left. Nothing is lost when it is killed: whoever
looks next starts another one, which finds living runs by the locks they hold.
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
from genrecore.jobs import actions as jobs
from genrecore.jobs import alerts, slots
from genrecore.jobs import queue as queueing
from genrecore.jobs import spawn as spawning
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


def work(store: Path, program: Sequence[str] = spawning.PROGRAM, lock: int | None = None) -> None:
    """Starts queued runs and sees running ones to their end, unless another runner is at it.

    Args:
        store: The folder of the runs.
        program: What carries out a run, told `train --run FOLDER`.
        lock: The descriptor of the runner's lock, where it is held already.
    """
    while True:
        if lock is None:
            lock = take_lock(store / jobs.RUNNER_LOCK, patience_s=0.3)
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
        if jobs.paused(store) or not jobs.queued(store):
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
        found = self._unfinished()
        _mend_false_starts([run for run in found if run.status.get("state") == "starting"])
        held_back = bool(jobs.paused(self.store))
        left, living = False, set()
        waiting = [Run(run.folder) for run in found if run.status.get("state") == "queued"]
        busy: set[str] = set()
        for run in queueing.in_order(waiting):  # read anew: their places change by themselves
            left = left or not held_back
            if not held_back:
                self._start_if_free(run, busy)
        for run in found:
            if run.status.get("state") == "queued":
                continue
            alive = is_locked(run.folder / LOCK)
            left = left or alive or run.status.get("state") == "starting"
            living |= {run.run_id} if alive else set()
            if alive and stop_asked(run.folder):
                self._see_to_the_end(run)
        left = left or bool(self.children)
        self._tell_news(living, at_once=not left)
        return left

    def _tell_news(self, living: set[str], at_once: bool) -> None:
        """Has alerts posted of runs that live, and once more of those that have ended since."""
        self.watched |= living
        if time.monotonic() - self.watched_at < _WATCH_EVERY_S and not at_once:
            return
        for run_id in self.watched:
            alerts.look(Run(self.store / run_id))
        self.watched, self.watched_at = living | set(self.children), time.monotonic()

    def _unfinished(self) -> list[Run]:
        """Runs that wait or have not said how they ended; a status is read when it has changed."""
        seen: dict[str, tuple[tuple[int, int], Run]] = {}
        with contextlib.suppress(OSError), os.scandir(self.store) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                with contextlib.suppress(OSError):
                    at = os.stat(os.path.join(entry.path, STATUS))
                    stamp = (at.st_mtime_ns, at.st_ino)
                    known = self.read.get(entry.name)
                    if known is None or known[0] != stamp:
                        known = (stamp, Run(Path(entry.path)))
                    seen[entry.name] = known
        self.read = seen
        everything = [run for _, run in seen.values()]
        return [run for run in everything if run.status.get("state") not in FINAL]

    def _start_if_free(self, run: Run, busy: set[str]) -> None:
        """Starts a run where it finds its slots; else they become `busy` for all behind it, even
        if they are free a moment later: nobody overtakes."""
        try:
            mine = set(slots.wanted(run))
            taken = None if mine <= busy else slots.take(run)
        except Exception as error:  # an unreadable configuration must not stop the others
            _fail(run, describe(error))
            return
        if taken is None:
            busy |= mine
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
                    child = spawning.spawn_run(run, log, devices, [lock, *held], self.program)
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
            said = Run(folder).status.get("state")
            if code != 0 and said not in (*FINAL, "queued"):
                how = {"signal": -code} if code < 0 else {"code": code}
                with contextlib.suppress(OSError):
                    write_json(folder / ENDED, how | {"at": time.time()})

    def _see_to_the_end(self, run: Run) -> None:
        """Ends a run by force that was asked to stop and did not in time: TERM, later KILL."""
        by = run.stop_by
        late_s = time.time() - by if by is not None else -1.0
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
    with (
        held(run.folder / LOCK, patience_s=0.0) as mine,
        contextlib.suppress(OSError),
    ):
        if mine:
            Status(run.folder).move("failed", reason, finished_at=time.time())


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is not meant for it
    work(Path(sys.argv[1]), lock=next(iter(inherited_locks()), None))
