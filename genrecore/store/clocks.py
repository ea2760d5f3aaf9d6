"""How long ago a file was written, on machines whose clocks jump or disagree.

Two measures are taken, because each fails in its own case: the clock that counts from the start of
the machine, which nobody sets, where the same machine wrote the file; and the file's own time,
which the disk gives. The smaller counts, and what lies in the future does not.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import psutil

_ROUNDING_S = 1.0  # by which a file system may round its times


@cache
def boot_id() -> str:
    """A text that changes with every start of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return str(int(psutil.boot_time()))


def stamp() -> dict[str, Any]:
    """This moment, for `age_s`: which start of which machine, and seconds since then."""
    return {"boot_id": boot_id(), "monotonic_s": time.monotonic()}


def age_s(path: Path, stamped: Any) -> float:
    """Seconds since a file was written; 0 where its time and its stamp lie in the future.

    Args:
        path: The file.
        stamped: The `stamp` of the moment it was written; of another machine or missing, and the
            file's time alone counts, by the clock of its disk.
    """
    stamped = stamped if isinstance(stamped, Mapping) else {}
    ages, since = [], stamped.get("monotonic_s")
    if stamped.get("boot_id") == boot_id() and isinstance(since, (int, float)):
        ages.append(time.monotonic() - since)
    with contextlib.suppress(OSError):  # gone meanwhile
        ages.append(disk_time(path.parent) - path.stat().st_mtime)
    return max(0.0, min((age for age in ages if age > -_ROUNDING_S), default=0.0))


def disk_time(folder: Path) -> float:
    """What the clock of a folder's disk shows, in seconds since 1970: another machine's where it
    is shared; that of this one where nothing can be written there."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()
