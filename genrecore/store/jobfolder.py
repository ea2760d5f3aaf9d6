"""A job's folder: lock, status, stop request and log; the ground under runs and tasks alike.

A job lives while its `lock` is held (an flock that the kernel drops with the last process that
inherited it), so nothing here trusts a stored process id. Whatever a reader may poll is written
to a temporary name and renamed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from genrecore.errors import GenrecoreError
from genrecore.store.progress import Report, silent

LOCK, STATUS, STOP, LOG = "lock", "status.json", "stop", "log.txt"
LEADER = "process.json"  # whose process group a job is; see `identity`
ENDED = "ended.json"  # how its process ended, where somebody saw it
STOP_WITHIN_S = 60.0  # a step takes no longer; after that a job is ended by force
FINAL = frozenset({"done", "stopped", "failed"})
INHERITED = "GENRECORE_LOCK_FDS"  # descriptors of locks that a process was born holding


def cache_dir() -> Path:
    """Folder of corpora, features, tasks and uploads: `GENRECORE_CACHE` or the user's cache."""
    given = os.environ.get("GENRECORE_CACHE")
    if given:
        return Path(given).expanduser().absolute()
    if platform.system() == "Darwin":
        return Path.home() / "Library" / "Caches" / "genrecore"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "genrecore"


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Writes under a temporary name and renames, so that a reader sees the old file or the new."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """`write_text` of indented JSON."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file, or an empty one where there is no readable file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def take_lock(path: Path, patience_s: float = 1.0) -> int | None:
    """An open descriptor that holds the lock at `path`, or None when somebody else holds it.

    The short patience covers probes, which hold a shared lock for an instant.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    until = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
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
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def held(path: Path, patience_s: float = 1.0) -> Iterator[bool]:
    """Holds the lock at `path` inside the block; yields whether it was obtained."""
    descriptor = take_lock(path, patience_s)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def make_once(
    final: Path, make: Callable[[Path], object], report: Report = silent, resume: bool = False
) -> Path:
    """The folder `final`, made by `make(partial folder)` unless it is there: by one process only.

    Others wait meanwhile. The folder gets its name when it is complete.

    Args:
        final: The folder, in a store of folders like it.
        make: Fills an empty folder, or goes on with a partial one if `resume`.
        report: Told while waiting.
        resume: Whether what an interrupted process left is kept.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(f"{final.name}.partial")
    while not final.is_dir():
        with held(final.with_name(f"{final.name}.lock"), patience_s=0.0) as mine:
            if mine and not final.is_dir():
                if not resume:
                    shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(exist_ok=True)
                make(partial)
                partial.rename(final)
            elif not mine:
                report("Waiting for another process that prepares the same", 0, 0)
                time.sleep(0.3)
    return final


def inherited_locks() -> list[int]:
    """Descriptors of the locks this process was started with; children do not inherit them on."""
    descriptors = [int(part) for part in os.environ.pop(INHERITED, "").split(",") if part]
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return descriptors


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


def processes(folder: Path) -> list[psutil.Process]:
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


class Status:
    """The status file of a job, kept by the one process that works in the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.values = read_json(folder / STATUS)
        self._written = 0.0

    def update(self, **values: Any) -> None:
        """Writes the changed values and a fresh heartbeat."""
        self.values |= values | {"heartbeat": time.time()}
        write_json(self.folder / STATUS, self.values)
        self._written = time.monotonic()

    def beat(self, **values: Any) -> None:
        """Like `update`, but written at most three times a second: cheap enough for every step."""
        self.values |= values  # an `update` in between takes them along
        if time.monotonic() - self._written > 0.3:
            self.update()

    def move(self, state: str, reason: str = "", **values: Any) -> None:
        """Enters a state and adds it to the history of states."""
        entry = {"state": state, "reason": reason, "at": time.time()}
        self.update(
            state=state,
            reason=reason,
            states=[*self.values.get("states", []), entry],
            **values,
        )


def ask_to_stop(folder: Path, **wishes: Any) -> None:
    """Leaves the request to stop; the working loop finishes its step and sees it.

    Args:
        folder: The job's.
        wishes: `within_s` until it is ended by force; `reason`, a word for why; `keep_best`: the
            best epoch so far is tested; `requeue`: it waits and goes on later. A later request
            replaces an earlier one, but its time counts from the first.
    """
    at = stop_request(folder).get("at", time.time())
    write_json(folder / STOP, {"at": at, "within_s": STOP_WITHIN_S} | wishes)


def stop_asked(folder: Path) -> bool:
    """Whether a stop was asked for."""
    return (folder / STOP).exists()


def stop_request(folder: Path) -> dict[str, Any]:
    """When a stop was asked for and how; empty where none was."""
    request = read_json(folder / STOP)
    if not request and stop_asked(folder):  # an empty file says it as well
        with contextlib.suppress(OSError):
            return {"at": (folder / STOP).stat().st_mtime, "within_s": STOP_WITHIN_S}
    return request


def in_words(error: BaseException) -> str:
    """The one sentence a person needs about an error of any kind."""
    if isinstance(error, GenrecoreError):
        return str(error)
    if "No space left on device" in str(error):  # some libraries hide the number in the text
        return "The disk is full."
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        words = {28: "The disk is full", 122: "The disk quota is used up"}
        return f"{words.get(error.errno or 0, error.strerror)}{where}."
    text = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
