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

LEADER = "process.json"  # whose process group a job is; see `identity`
ENDED = "ended.json"  # how its process ended, where somebody saw it


def identity(pid: int | None = None) -> dict[str, Any]:
    """A process, by default this one: pid, create time, boot and host; they guard signals and
    nothing else."""
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
    if status.get("host") != socket.gethostname() or status.get("boot_id") != boot_id():
        return False
    try:
        process = psutil.Process(int(status["pid"]))
        return (
            abs(process.create_time() - float(status["create_time"])) < 0.01
            and process.status() != psutil.STATUS_ZOMBIE
        )
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False


def living_processes(folder: Path) -> list[psutil.Process]:
    """The living processes of a job: its group's where a process of our own leads one, else the
    one that writes the status; with all descendants. Never a stranger that has the pid by now.
    """
    found: dict[int, psutil.Process] = {}
    leader, writer = read_json(folder / LEADER), read_json(folder / STATUS)
    for known in (leader, writer):
        if is_same_process(known):
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(int(known["pid"]))
                for one in (process, *process.children(recursive=True)):
                    found[one.pid] = one
    if _may_lead(leader):
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if os.getpgid(process.pid) == leader["pid"]:
                    found[process.pid] = process
    return [one for one in found.values() if one.pid != os.getpid() and _lives(one)]


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _may_lead(leader: dict[str, Any]) -> bool:
    """Whether a group of this process's number can only be its own.

    The system gives no process the number of a group that still has members: it is ours if the
    process is the same, a zombie or gone, and a stranger's if another one has the number.
    """
    if leader.get("host") != socket.gethostname() or leader.get("boot_id") != boot_id():
        return False
    try:
        born = psutil.Process(int(leader["pid"])).create_time()
        return abs(born - float(leader["create_time"])) < 0.01
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False
