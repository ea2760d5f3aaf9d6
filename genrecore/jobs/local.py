"""Runs on this machine: each a process of its own that holds the run's lock and its slots."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from genrecore.jobs import slots
from genrecore.jobs.executors import Force
from genrecore.jobs.spawn import spawn_run
from genrecore.store.disks import has_room
from genrecore.store.files import Unreadable, write_json
from genrecore.store.locks import LOCK, held, is_locked, take_lock
from genrecore.store.own_files import clear_the_way
from genrecore.store.processes import ENDED, living_processes
from genrecore.store.run import Run
from genrecore.store.runs import fault
from genrecore.store.status import FINAL, LOG, Status

_MOST_STARTS = 3


class Local:
    """The slots of this machine (`genrecore.jobs.slots`)."""

    def __init__(self, store: Path, program: Sequence[str]) -> None:
        self.store, self.program = store, program
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self._busy: set[str] = set()

    def states(self, runs: Sequence[Run]) -> None:
        """Notes how children ended."""
        self._busy = set()
        self._note_ends()

    def settle(self, run: Run) -> None:
        """Mends a run whose process died before it began."""
        if run.status["state"] == "starting" and run.run_id not in self.children:
            mend_false_start(run)

    def lives(self, run: Run) -> bool:
        """Whether a process holds its lock, or is about to."""
        return run.status["state"] != "queued" and is_locked(run.folder / LOCK)

    def submit(self, run: Run) -> bool:
        """Starts a run if its slots are free; else they count as busy for the runs behind, even
        if they become free a moment later: no run overtakes another."""
        usable = set(slots.usable(run))
        unreadable = None if usable <= self._busy else fault(run.folder)
        if unreadable is not None:
            raise unreadable
        taken = None if usable <= self._busy else self._take_slots(run)
        if taken is None:
            self._busy |= usable
            return False
        devices, slot_locks = taken
        try:
            if not has_room(self.store):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            lock = take_lock(run.folder / LOCK, patience_s=0.1)
            if lock is None:
                return False
            try:
                status = Status(run.folder)
                if status.values.get("state") != "queued":
                    return False
                status.move("starting", starts=status.values.get("starts", 0) + 1)
                with open(run.folder / LOG, "ab") as log:
                    child = spawn_run(run, log, devices, [lock, *slot_locks], self.program)
                self.children[run.run_id] = child
                return True
            finally:
                os.close(lock)
        finally:
            for slot_lock in slot_locks:
                os.close(slot_lock)

    def stop(self, run: Run, force: Force) -> None:
        """Signals its processes; one that was only asked to stop sees that by itself."""
        if force != "ask":
            number = signal.SIGTERM if force == "terminate" else signal.SIGKILL
            for process in living_processes(run.folder):
                with contextlib.suppress(psutil.Error):
                    process.send_signal(number)

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
            folder = self.store / run_id
            with contextlib.suppress(OSError, Unreadable):
                if code != 0 and Run(folder).status.get("state") not in (*FINAL, "queued"):
                    how = {"signal": -code} if code < 0 else {"code": code}
                    write_json(folder / ENDED, how | {"at": time.time()})


def mend_false_start(run: Run) -> None:
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
