"""Processes that outlive the one that starts them, and hold locks until they end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import psutil

from genrecore.jobs import slots
from genrecore.store.files import checkout, write_json
from genrecore.store.locks import INHERITED
from genrecore.store.processes import ENDED, LEADER, identity
from genrecore.store.run import Run
from genrecore.training import distributed

TASK = "GENRECORE_TASK"  # the environment variable with a task's folder, in its process
PROGRAM = (sys.executable, "-m", "genrecore")


def spawn_run(
    run: Run,
    log: Any,
    devices: list[str],
    locks: list[int],
    program: Sequence[str] = PROGRAM,
) -> subprocess.Popen[bytes]:
    """The process that carries out a run, or torchrun with as many as the run asks for.

    Args:
        run: The run; its lock is among `locks`.
        log: An open file for the output.
        devices: The devices of the slots among `locks`.
        locks: Descriptors of locks that the process holds until it ends.
        program: Takes `train --run FOLDER`; torchrun replaces it for several processes.
    """
    arguments = ["train", "--run", str(run.folder)]
    n_processes, sharing = run.config.processes, slots.n_on_cpu(run.folder.parent)
    extra = {"GENRECORE_DEVICE": devices[0], "GENRECORE_RUNS": str(run.folder.parent)}
    if devices[0] == "cpu" and sharing > 1:  # more threads than cores would wait for one another
        n_threads = max(1, (os.cpu_count() or 1) // sharing)
        extra["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", str(n_threads))
    command = [*program, *arguments]
    if n_processes > 1:
        extra |= distributed.environment(n_processes, devices)
        command = distributed.torchrun(n_processes, arguments)
    (run.folder / ENDED).unlink(missing_ok=True)
    child = spawn(command, log, locks, extra)
    with contextlib.suppress(psutil.Error, OSError):  # it may be over already
        write_json(run.folder / LEADER, identity(child.pid))
    return child


def own_modules() -> dict[str, str]:
    """The environment in which Python, started in any folder, finds this package and takes no file
    of that folder for a module."""
    names = {"PYTHONSAFEPATH": "1"}
    if top := checkout():
        before = os.environ.get("PYTHONPATH")
        names["PYTHONPATH"] = os.pathsep.join([str(top), *([before] if before else [])])
    return names


_children: list[subprocess.Popen[bytes]] = []


def spawn(
    command: list[str], log: Any, locks: list[int], extra: dict[str, str]
) -> subprocess.Popen[bytes]:
    """A process in a session of its own, without pipe or terminal, that holds these locks."""
    _children[:] = [child for child in _children if child.poll() is None]  # no zombies
    environment = os.environ | extra | own_modules() | {"PYTHONUNBUFFERED": "1"}
    for name in (INHERITED, *distributed.NAMES, *((TASK,) if TASK not in extra else ())):
        environment.pop(name, None)  # these concern this process alone
    if locks:
        environment[INHERITED] = ",".join(map(str, locks))
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        pass_fds=locks,
        start_new_session=True,
    )
    _children.append(child)
    return child
