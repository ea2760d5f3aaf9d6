"""Processes that outlive whoever starts them, and hold the locks they are given until they end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import psutil

from genrecore.jobs import slots
from genrecore.store.files import write_json
from genrecore.store.locks import INHERITED
from genrecore.store.processes import ENDED, LEADER, identity
from genrecore.store.run import Run
from genrecore.training import distributed

TASK = "GENRECORE_TASK"  # tells a command that it runs as the task in this folder


PROGRAM = (sys.executable, "-m", "genrecore")


def spawn_run(
    run: Run,
    log: Any,
    devices: list[str],
    locks: list[int],
    program: Sequence[str] = PROGRAM,
) -> subprocess.Popen[bytes]:
    """The process that carries a run out, or torchrun with as many as the run asks for.

    Args:
        run: Whose lock is among `locks`.
        log: Where output goes.
        devices: Those of the slots among `locks`.
        locks: Held until the process ends.
        program: What understands `train --run FOLDER`, where it is one process.
    """
    words = ["train", "--run", str(run.folder)]
    n_processes = run.config.processes
    extra = {"GENRECORE_DEVICE": devices[0], "GENRECORE_RUNS": str(run.folder.parent)}
    sharing = slots.n_on_cpu(run.folder.parent)
    if devices[0] == "cpu" and sharing > 1:  # more threads than cores would wait for one another
        n_threads = max(1, (os.cpu_count() or 1) // sharing)
        extra["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", str(n_threads))
    command = [*program, *words]
    if n_processes > 1:
        extra |= distributed.environment(n_processes, devices)
        command = distributed.torchrun(n_processes, words)
    (run.folder / ENDED).unlink(missing_ok=True)
    child = spawn(command, log, locks, extra)
    with contextlib.suppress(psutil.Error, OSError):  # it may be over already
        write_json(run.folder / LEADER, identity(child.pid))
    return child


_children: list[subprocess.Popen[bytes]] = []


def spawn(
    command: list[str], log: Any, locks: list[int], extra: dict[str, str]
) -> subprocess.Popen[bytes]:
    """A process in a session of its own that holds the given locks until it ends.

    It outlives whoever started it: no pipe and no terminal connects them.
    """
    _children[:] = [child for child in _children if child.poll() is None]  # no zombies
    environment = os.environ | extra | {"PYTHONUNBUFFERED": "1"}
    environment.pop(INHERITED, None)
    for name in distributed.NAMES:  # what this process is to others is nothing to its children
        environment.pop(name, None)
    if TASK not in extra:
        environment.pop(TASK, None)
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
