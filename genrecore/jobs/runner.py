"""The runner: a stateless reconciler between the queue on disk and the device slots.

A lock makes it the only one of its store. It starts the next queued run in a free slot, in a
process of its own; ends runs that did not stop in time; notes how a process ended that could not
do so itself; and ends when nothing is left to do. If it is killed, nothing is lost: any page or
command starts another one, which recognises runs at work by the locks they hold.

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
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from genrecore.errors import describe
from genrecore.jobs import alerts, slots
from genrecore.jobs.actions import RUNNER_LOCK
from genrecore.jobs.queue import in_order, paused
from genrecore.jobs.queue import queued as queued_runs
from genrecore.jobs.spawn import PROGRAM, spawn_run
from genrecore.store.disks import has_room
from genrecore.store.faults import stamps
from genrecore.store.files import Unreadable, leftovers, write_json
from genrecore.store.locks import LOCK, held, inherited_locks, is_locked, take_lock
from genrecore.store.own_files import clear_the_way
from genrecore.store.processes import ENDED, living_processes
from genrecore.store.run import Run
from genrecore.store.runs import each_readable, fault
from genrecore.store.status import FINAL, LOG, STATUS, STOP, Status, stop_asked, stop_within_s
from genrecore.store.summaries import Stamps

_TICK_S = 0.2
_MOST_STARTS = 3
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
                time.sleep(_TICK_S)
        finally:
            os.close(lock)
            lock = None
        # A run may have been queued between the last step and the release.
        if paused(store) or all(run.run_id in runner.left_alone for run in queued_runs(store)):
            return


class _Runner:
    """Its child processes, the runs it has signalled, and its snapshots of runs."""

    def __init__(self, store: Path, program: Sequence[str]) -> None:
        self.store, self.program = store, program
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.asked: dict[str, float] = {}  # when a run's request to stop was seen, and
        self.ended_by_force: dict[str, float] = {}  # when it was sent TERM, by `time.monotonic`
        self.snapshots: dict[str, tuple[tuple[int, int], Run]] = {}
        self.watched: set[str] = set()  # runs that were alive since alerts were last posted
        self.watched_at = -math.inf
        self.left_alone: dict[str, Stamps] = {}  # runs that nothing can be done with, and as what
        self.waits_until = -math.inf  # before that nothing is started, by `time.monotonic`
        clear_the_way(store)
        for path in leftovers(store):
            shutil.rmtree(path, ignore_errors=True)

    def step(self) -> bool:
        """Starts and ends what is due; returns whether anything is left to do."""
        self._note_ends()
        unfinished = [run for run in self._unfinished() if not self._is_left_alone(run)]
        states = {run.run_id: run.status["state"] for run in unfinished}
        starting = [run for run in unfinished if states[run.run_id] == "starting"]
        for run in starting:
            if run.run_id not in self.children:  # else how it ended is noted first
                self._guarded(run, _mend_false_start)
        queued = [run for run in unfinished if states[run.run_id] == "queued"]
        waiting = [] if paused(self.store) else in_order([Run(run.folder) for run in queued])
        busy: set[str] = set()
        for run in waiting:  # read anew, since the order changes without the status
            if time.monotonic() < self.waits_until:
                break
            self._guarded(run, lambda run: self._start_if_free(run, busy))
        at_work = [run for run in unfinished if states[run.run_id] != "queued"]
        living = [run for run in at_work if is_locked(run.folder / LOCK)]
        for run in living:
            if stop_asked(run.folder):
                self._guarded(run, self._end_by_force_if_late)
            else:
                self.asked.pop(run.run_id, None)
        waiting = [run for run in waiting if run.run_id not in self.left_alone]
        remaining = bool(waiting or living or starting or self.children)
        self._post_alerts({run.run_id for run in living}, at_once=not remaining)
        return remaining

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
        if self.left_alone.get(run.run_id) != stamps(run.folder):
            self.left_alone.pop(run.run_id, None)
        return run.run_id in self.left_alone

    def _post_alerts(self, living: set[str], at_once: bool) -> None:
        """Posts alerts about living runs, and once more about those that have ended since."""
        self.watched |= living
        if time.monotonic() - self.watched_at < _WATCH_EVERY_S and not at_once:
            return
        for run_id in self.watched:
            alerts.post_new(Run(self.store / run_id))
        self.watched, self.watched_at = living | set(self.children), time.monotonic()

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

    def _start_if_free(self, run: Run, busy: set[str]) -> None:
        """Starts a run if its slots are free; else they count as `busy` for the runs behind, even
        if they become free a moment later: no run overtakes another."""
        usable = set(slots.usable(run))
        unreadable = None if usable <= busy else fault(run.folder)
        if unreadable is not None:
            raise unreadable
        taken = None if usable <= busy else self._take_slots(run)
        if taken is None:
            busy |= usable
            return
        devices, slot_locks = taken
        try:
            if not has_room(self.store):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            lock = take_lock(run.folder / LOCK, patience_s=0.1)
            if lock is None:
                return
            try:
                status = Status(run.folder)
                if status.values.get("state") != "queued":
                    return
                status.move("starting", starts=status.values.get("starts", 0) + 1)
                with open(run.folder / LOG, "ab") as log:
                    child = spawn_run(run, log, devices, [lock, *slot_locks], self.program)
                self.children[run.run_id] = child
                self.watched.add(run.run_id)
            finally:
                os.close(lock)
        finally:
            for slot_lock in slot_locks:
                os.close(slot_lock)

    def _take_slots(self, run: Run) -> tuple[list[str], list[int]] | None:
        """As `slots.take`, also where something else lies in the place of a lock."""
        try:
            return slots.take(run)
        except (FileExistsError, IsADirectoryError, FileNotFoundError, NotADirectoryError):
            clear_the_way(self.store)
            return slots.take(run)

    def _note_ends(self) -> None:
        """Notes the signal or exit code of a child that wrote no final state."""
        for run_id, child in list(self.children.items()):
            code = child.poll()
            if code is None:
                continue
            del self.children[run_id]
            self.asked.pop(run_id, None)
            self.ended_by_force.pop(run_id, None)
            folder = self.store / run_id
            with contextlib.suppress(OSError, Unreadable):
                if code != 0 and Run(folder).status.get("state") not in (*FINAL, "queued"):
                    how = {"signal": -code} if code < 0 else {"code": code}
                    write_json(folder / ENDED, how | {"at": time.time()})

    def _end_by_force_if_late(self, run: Run) -> None:
        """Ends a run that did not stop in time when asked to: TERM, later KILL. Whatever the
        clocks say, it has no longer than its time from when the request was seen here."""
        now = time.monotonic()
        left_s, seen = run.stop_left_s, self.asked.setdefault(run.run_id, now)
        if left_s is None or min(left_s, seen + stop_within_s(run.folder) - now) > 0:
            return
        if run.run_id not in self.ended_by_force:
            self.ended_by_force[run.run_id] = now
            _signal(run, signal.SIGTERM)
        elif now - self.ended_by_force[run.run_id] > _KILL_AFTER_S:
            _signal(run, signal.SIGKILL)
            with held(run.folder / LOCK, patience_s=5.0) as acquired:
                status = Status(run.folder)
                if acquired and status.values.get("state") not in FINAL:
                    status.move("stopped", _FORCED, finished_at=time.time(), time_left_s=None)
                    (run.folder / STOP).unlink(missing_ok=True)


def _signal(run: Run, number: int) -> None:
    for process in living_processes(run.folder):
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def _mend_false_start(run: Run) -> None:
    """Queues a run again whose process died before it wrote a status, three times at most."""
    with held(run.folder / LOCK, patience_s=0.0) as acquired:
        status = Status(run.folder)
        if not acquired or status.values.get("state") != "starting":
            return
        if status.values.get("starts", 0) < _MOST_STARTS:
            status.move("queued", "its process died before it began")
        else:
            status.move("failed", _false_starts(run), finished_at=time.time())


def _false_starts(run: Run) -> str:
    """Why a run whose process died again and again before it began failed, in a sentence."""
    times = f"Its process died {_MOST_STARTS} times before it began"
    ended = Run(run.folder).ended
    log = run.log(2_000).strip().splitlines()
    if ended.get("signal") == signal.SIGKILL:
        return f"{times}, killed by signal 9, most likely because memory ran out."
    how = f"{times}, ended by signal {ended['signal']}" if "signal" in ended else times
    if not log and "code" in ended:
        return f"{times} with exit code {ended['code']}, without a word."
    return f"{how}; it said: {log[-1]}" if log else f"{how}, without a word."


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
