"""The runner: a stateless reconciler between the queue on disk and the device slots.

It is single by a lock, reads the run folders, gives the next queued run a free slot and a process
of its own, and ends when nothing is left. Nothing is lost when it is killed: whoever looks next
starts another one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

from genrecore import hardware, jobfolder, jobs, runs
from genrecore.runs import Run

_TICK_S = 0.2
_MOST_STARTS = 3


def slots() -> list[str]:
    """Devices that take one run each."""
    return [*hardware.accelerators(), "cpu"]


def slot_lock(store: Path, device: str) -> Path:
    """The file whose lock is a device's slot."""
    return store / ".slots" / f"{device.replace(':', '-')}.lock"


def take_slots(run: Run) -> tuple[list[str], list[int]] | None:
    """Devices for a run and the descriptors of their locks, or None while they are not free.

    A run of several processes takes a GPU for each, or the CPU where there are too few.
    """
    store, n = run.folder.parent, run.config.processes
    devices = wanted(run)
    if n > 1 and len(devices) < n:
        devices = ["cpu"]
    n = min(n, len(devices)) if devices[0] != "cpu" else 1
    taken: dict[str, int] = {}
    for device in devices:
        slot = jobfolder.take_lock(slot_lock(store, device), patience_s=0.0)
        if slot is not None:
            taken[device] = slot
        if len(taken) == (n if run.config.processes > 1 else 1):
            return list(taken), list(taken.values())
    for slot in taken.values():
        os.close(slot)
    return None


def wanted(run: Run) -> list[str]:
    """The slots a run can use, the best first."""
    device = run.config.device
    if device == "auto":
        return hardware.accelerators() or ["cpu"]
    if device == "cuda":
        found = [name for name in slots() if name.startswith("cuda")]
        return found[: run.config.processes] or ["cpu"]
    return [device]


def work(store: Path) -> None:
    """Starts queued runs until none is left, unless another runner is at it."""
    while True:
        with jobfolder.held(store / jobs.RUNNER_LOCK, patience_s=0.3) as mine:
            if not mine:
                return
            while _reconcile(store):
                time.sleep(_TICK_S)
        # Something may have been queued between the last look and the release.
        if not jobs.queued(store):
            return


def _reconcile(store: Path) -> bool:
    """One look at everything; returns whether anything is left to do."""
    _mend_false_starts(store)
    for run in jobs.queued(store):
        try:
            taken = take_slots(run)
        except Exception as error:  # an unreadable configuration must not stop the others
            _fail(run, jobfolder.in_words(error))
            continue
        if taken is not None:
            devices, held = taken
            try:
                _start(run, devices, held)
            finally:
                for slot in held:
                    os.close(slot)
    unfinished = ("queued", "starting")
    return any(run.status.get("state") in unfinished for run in runs.all_runs(store))


def _start(run: Run, devices: list[str], held: list[int]) -> None:
    lock = jobfolder.take_lock(run.folder / jobfolder.LOCK, patience_s=0.1)
    if lock is None:
        return
    try:
        status = jobfolder.Status(run.folder)
        if status.values.get("state") != "queued":
            return
        status.move("starting", starts=int(status.values.get("starts", 0)) + 1)
        with open(run.folder / jobfolder.LOG, "ab") as log:
            jobs.spawn_run(run, log, devices, [lock, *held])
    finally:
        os.close(lock)


def _mend_false_starts(store: Path) -> None:
    """Runs whose process died before its first word are queued again, three times at most."""
    for run in runs.all_runs(store):
        if run.status.get("state") != "starting":
            continue
        with jobfolder.held(run.folder / jobfolder.LOCK, patience_s=0.0) as mine:
            status = jobfolder.Status(run.folder)
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
        jobfolder.held(run.folder / jobfolder.LOCK, patience_s=0.0) as mine,
        contextlib.suppress(OSError),
    ):
        if mine:
            jobfolder.Status(run.folder).move("failed", reason, finished_at=time.time())


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is not meant for it
    work(Path(sys.argv[1]))
