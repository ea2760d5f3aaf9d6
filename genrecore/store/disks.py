"""What a folder's disk offers to runs and caches: room, file locks, its clock; what is wrong."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genrecore.errors import describe
from genrecore.store.clocks import disk_time
from genrecore.store.files import leftovers
from genrecore.words import plural, seconds

LEAST_FREE_BYTES = 2**20
"""A run that starts with less room fails at once, so none is started."""
_FEW_BYTES = 10**9
_CLOCKS_APART_S = 5.0
_HELD, _FREE, _NO_LOCKS = 3, 0, 4
_TRY = f"""
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit({_HELD})
    except OSError:
        sys.exit({_NO_LOCKS})
"""


@dataclass(frozen=True)
class Disk:
    """What was found about a folder, which need not be there yet.

    Attributes:
        folder: It, or the nearest one above it that is there.
        free_bytes: Room for it.
        locks: Whether two processes keep each other out; None where that cannot be tried.
        clock_ahead_s: How far its clock is ahead of this machine's.
        n_leftovers: Hidden folders of processes that were killed; the next runner removes them.
        problems: What keeps runs from working, in sentences.
        remarks: What is odd and does no harm.
    """

    folder: Path
    free_bytes: int
    locks: bool | None = None
    clock_ahead_s: float = 0.0
    n_leftovers: int = 0
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The facts as JSON holds them."""
        return {
            "free_gb": round(self.free_bytes / 1e9, 1),
            "locks": self.locks,
            "clock_ahead_s": round(self.clock_ahead_s, 1),
            "leftovers": self.n_leftovers,
            "problem": " ".join(self.problems),
            "remarks": self.remarks,
        }


def examine(folder: Path) -> Disk:
    """Tries what runs need of a folder's disk: to write there, and that a second process cannot
    take a lock that a first one holds."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free_bytes = shutil.disk_usage(existing).free
    problems, remarks = [], []
    if free_bytes < _FEW_BYTES:
        left = f"{free_bytes / 1e9:.1f} GB"
        problems.append(f"The disk of {existing} has only {left} left.")
    locks, ahead_s = None, 0.0
    try:
        with tempfile.NamedTemporaryFile(dir=existing, prefix=".doctor-") as file:
            file.write(bytes(4096))
            file.flush()
            locks = _locks_work(Path(file.name))
        ahead_s = disk_time(existing) - time.time()
    except OSError as error:
        reason = describe(error).rstrip(".").removesuffix(f" ({error.filename})")
        problems.append(f"The folder {existing} cannot be written: {reason}.")
    if locks is False:
        problems.append(
            f"Files in {existing} cannot be locked, so runs cannot be queued there; choose a "
            "folder on a local disk with GENRECORE_RUNS or GENRECORE_CACHE."
        )
    if abs(ahead_s) > _CLOCKS_APART_S:
        way = "ahead of" if ahead_s > 0 else "behind"
        remarks.append(
            f"The clock of the disk of {existing} is {seconds(abs(ahead_s))} {way} this machine's: "
            "the times that pages show are off by that."
        )
    n = len(leftovers(existing))
    if n:
        remarks.append(
            f"In {existing} {plural(n, 'hidden folder')} (.new-…) of processes that were killed "
            f"{'is' if n == 1 else 'are'} left; the next runner removes them."
        )
    return Disk(existing, free_bytes, locks, ahead_s, n, problems, remarks)


def is_full(store: Path) -> bool:
    """Whether no run starts for want of room."""
    try:
        return shutil.disk_usage(store).free < LEAST_FREE_BYTES
    except OSError:
        return False


def has_room(store: Path) -> bool:
    """Whether files can be written into the store, and a run has room to start; it is tried."""
    try:
        with tempfile.TemporaryFile(dir=store) as file:
            file.write(bytes(4096))
    except OSError:
        return False
    return not is_full(store)


def _locks_work(path: Path) -> bool:
    """Whether a second process is kept out by a lock, and let in once it is released."""

    def tried() -> int:
        command = [sys.executable, "-c", _TRY, str(path)]
        return subprocess.run(command, capture_output=True, check=False).returncode

    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        while_held = tried()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return while_held == _HELD and tried() == _FREE
