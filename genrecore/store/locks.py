"""File locks that the kernel drops when the last process that inherited them ends (flock)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from genrecore.errors import GenrecoreError, describe
from genrecore.store.progress import Phase, Report, silent

LOCK = "lock"  # of a job's folder, held while the job lives
INHERITED = "GENRECORE_LOCK_FDS"  # descriptors of locks that a process was born holding


_HELD = (errno.EWOULDBLOCK, errno.EACCES, errno.EINTR)  # what a lock of somebody else says


class NoLocks(GenrecoreError):
    """A folder lies on a file system without file locks."""

    def __init__(self, folder: Path, error: OSError) -> None:
        super().__init__(
            f"Files in {folder} cannot be locked ({describe(error).rstrip('.')}), so nothing keeps "
            "two processes from doing the same work; choose folders on a local disk with "
            "GENRECORE_RUNS and GENRECORE_CACHE."
        )


def take_lock(path: Path, patience_s: float = 1.0) -> int | None:
    """An open descriptor that holds the lock at `path`, or None when somebody else holds it.

    The short patience covers probes, which hold a shared lock for an instant. The folder must be
    there: that of a run which is gone must not come back.

    Raises:
        NoLocks: The file system has no locks.
        OSError: There is no such folder, or it cannot be written.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    until = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _HELD:
                os.close(descriptor)
                raise NoLocks(path.parent, error) from None
            if time.monotonic() >= until:
                os.close(descriptor)
                return None
            time.sleep(0.02)
            continue
        # The file may have been deleted (with its folder) and made again in between.
        with contextlib.suppress(OSError):
            if os.fstat(descriptor).st_ino == os.stat(path).st_ino:
                return descriptor
        os.close(descriptor)
        return None


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock at `path`."""
    return lock_state(path) is True


def lock_state(path: Path) -> bool | None:
    """Whether a living process holds the lock at `path`; None where nobody can, for the file
    system has no locks."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return True if error.errno in _HELD else None
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def held(path: Path, patience_s: float = 1.0) -> Iterator[bool]:
    """Holds the lock at `path` inside the block; yields whether it was obtained. Errors as of
    `take_lock`."""
    descriptor = take_lock(path, patience_s)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def make_once(
    final: Path, make: Callable[[Path], object], report: Report = silent, resume: bool = False
) -> Path:
    """The folder `final`, made by `make(partial folder)` unless it exists: by one process only, for
    which others wait. The folder gets its name when it is complete. With `resume`, `make` goes on
    with what an interrupted process left."""
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(f"{final.name}.partial")
    while not final.is_dir():
        with held(final.with_name(f"{final.name}.lock"), patience_s=0.0) as acquired:
            if acquired and not final.is_dir():
                if not resume:
                    shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(exist_ok=True)
                make(partial)
                partial.rename(final)
            elif not acquired:
                report(Phase.WAITING, 0, 0)
                time.sleep(0.3)
    return final


def inherited_locks() -> list[int]:
    """Descriptors of the locks this process was started with; children do not inherit them on."""
    descriptors = [int(part) for part in os.environ.pop(INHERITED, "").split(",") if part]
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return descriptors
