"""A system with another clock, another host name or without file locks, as Python sees it.

Python imports this at its start in processes that have this folder in `PYTHONPATH`. `ODD_CLOCK_S`
shifts the clock that people set, `ODD_HOST` names the host, and with `ODD_LOCKS` no file can be
locked, as on network disks without a lock service.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time

_shift_s = float(os.environ.get("ODD_CLOCK_S", "0"))
if _shift_s:
    _clock = time.time
    time.time = lambda: _clock() + _shift_s
if "ODD_HOST" in os.environ:
    socket.gethostname = lambda: os.environ["ODD_HOST"]


def _no_locks(descriptor: object, operation: int) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


if "ODD_LOCKS" in os.environ:
    fcntl.flock = _no_locks
