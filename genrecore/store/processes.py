"""Which processes belong to a job, so that no signal ever reaches a stranger's."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Any

import psutil

from genrecore.store.clocks import boot_id
from genrecore.store.files import Unreadable
from genrecore.store.records import Process, read_record
from genrecore.store.status import STATUS

LEADER = "process.json"  # the `identity` of the process that leads a job's process group
ENDED = "ended.json"  # how its process ended, where somebody saw it


def identity(pid: int | None = None) -> dict[str, Any]:
    """What tells a process, by default this one, from every other. Neither a new name of the host
    nor a clock that is set changes it.

    `pid`, `start_ticks` since the start of the machine, `boot_id` of that start, `pid_namespace`
    (containers of one machine count their processes apart). For people, and where the system does
    not tell these: `create_time` in seconds since 1970, which moves with the clock, and `host`.
    """
    process = psutil.Process(pid)
    return {
        "pid": process.pid,
        "start_ticks": _start_ticks(process.pid),
        "create_time": process.create_time(),
        "boot_id": boot_id(),
        "pid_namespace": _pid_namespace(),
        "host": socket.gethostname(),
    }


def is_same_process(status: dict[str, Any]) -> bool:
    """Whether the process that wrote this status lives on this machine; signal nothing else."""
    with contextlib.suppress(psutil.Error):
        return _owns_pid(status, if_gone=False) and _lives(psutil.Process(int(status["pid"])))
    return False


def living_processes(folder: Path) -> list[psutil.Process]:
    """The living processes of a job with all descendants: its process group, where one of our own
    processes leads it, and the one that writes the status. Never a stranger with the same pid.
    """
    processes: dict[int, psutil.Process] = {}
    leader, writer = _identity_in(folder / LEADER), _identity_in(folder / STATUS)
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


def _identity_in(path: Path) -> dict[str, Any]:
    """The identity in a file; empty where there is none, or where it is damaged: no signal then."""
    try:
        return read_record(path, Process)
    except Unreadable:
        return {}


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _owns_pid(owner: dict[str, Any], if_gone: bool) -> bool:
    """Whether the pid of this `identity` is still its own, a zombie's too; `if_gone` where no
    process has it any more."""
    is_same_host = owner.get("host") == socket.gethostname()
    namespace = owner.get("pid_namespace")  # None in what earlier versions wrote
    if owner.get("boot_id") != boot_id() and not ("boot_id" not in owner and is_same_host):
        return False
    if namespace not in (None, _pid_namespace()):
        return False
    try:
        process = psutil.Process(int(owner["pid"]))
        if owner.get("start_ticks") is not None:
            return bool(owner["start_ticks"] == _start_ticks(process.pid))
        return abs(process.create_time() - float(owner["create_time"])) < 0.01
    except psutil.NoSuchProcess:
        return if_gone and (namespace is not None or is_same_host)
    except (psutil.Error, KeyError, TypeError, ValueError, OverflowError):
        return False


def _start_ticks(pid: int) -> int | None:
    """When a process started, in ticks since the start of the machine; None where the system does
    not tell."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        return int(stat.rpartition(")")[2].split()[19])  # its name may hold blanks
    except (OSError, ValueError, IndexError):
        return None


def _pid_namespace() -> str | None:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None
