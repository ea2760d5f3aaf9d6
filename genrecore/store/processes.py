"""Which processes belong to a job, so that no signal ever reaches a stranger's."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Any

import psutil

from genrecore.store.files import read_json
from genrecore.store.status import STATUS

LEADER = "process.json"  # the `identity` of the process that leads a job's process group
ENDED = "ended.json"  # how its process ended, where somebody saw it


def identity(pid: int | None = None) -> dict[str, Any]:
    """What tells a process, by default this one, from every other: pid, create time, boot, host."""
    process = psutil.Process(pid)
    return {
        "pid": process.pid,
        "create_time": process.create_time(),
        "boot_id": boot_id(),
        "host": socket.gethostname(),
    }


def boot_id() -> str:
    """A text that changes with every start of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return str(int(psutil.boot_time()))


def is_same_process(status: dict[str, Any]) -> bool:
    """Whether the process that wrote this status lives on this host; signal nothing else."""
    with contextlib.suppress(psutil.Error):
        return _owns_pid(status, if_gone=False) and _lives(psutil.Process(int(status["pid"])))
    return False


def living_processes(folder: Path) -> list[psutil.Process]:
    """The living processes of a job with all descendants: its process group, where one of our own
    processes leads it, and the one that writes the status. Never a stranger with the same pid.
    """
    processes: dict[int, psutil.Process] = {}
    leader, writer = read_json(folder / LEADER), read_json(folder / STATUS)
    for process_identity in (leader, writer):
        if is_same_process(process_identity):
            with contextlib.suppress(psutil.Error):
                parent = psutil.Process(int(process_identity["pid"]))
                for process in (parent, *parent.children(recursive=True)):
                    processes[process.pid] = process
    # The system gives no process the number of a group that still has members: the group is ours
    # unless another process has its leader's number.
    if _owns_pid(leader, if_gone=True):
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if os.getpgid(process.pid) == leader["pid"]:
                    processes[process.pid] = process
    return [item for item in processes.values() if item.pid != os.getpid() and _lives(item)]


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _owns_pid(owner: dict[str, Any], if_gone: bool) -> bool:
    """Whether the pid of this `identity` is still its own, a zombie's too; `if_gone` where no
    process has it any more."""
    if owner.get("host") != socket.gethostname() or owner.get("boot_id") != boot_id():
        return False
    try:
        created = psutil.Process(int(owner["pid"])).create_time()
        return abs(created - float(owner["create_time"])) < 0.01
    except psutil.NoSuchProcess:
        return if_gone
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False
