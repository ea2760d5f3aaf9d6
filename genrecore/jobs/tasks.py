"""Tasks: commands other than training that run as processes, each with a folder in the cache.

Preparing a dataset, a download, an audit, a search. They have the same lock, status, log and stop
request as a run.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from genrecore.errors import GenrecoreError, describe
from genrecore.jobs import access
from genrecore.jobs.access import work
from genrecore.jobs.spawn import TASK, spawn
from genrecore.store.files import Unreadable, cache_dir, in_a_sentence, new_folder
from genrecore.store.locks import LOCK, is_locked, take_lock
from genrecore.store.records import JobStatus
from genrecore.store.run import Run
from genrecore.store.status import FINAL, LOG, Status, ask_to_stop, read_status, stop_asked


@dataclass(frozen=True)
class Task:
    """A task's folder; each instance is a snapshot."""

    folder: Path

    @property
    def task_id(self) -> str:
        """The folder's name."""
        return self.folder.name

    @cached_property
    def status(self) -> dict[str, Any]:
        """`state, reason, phase, done, total, …`

        Raises:
            Unreadable: The file is damaged.
        """
        return read_status(self.folder, JobStatus)

    @property
    def title(self) -> str:
        """What it does, in words."""
        return str(self.status.get("title", self.task_id))

    @cached_property
    def state(self) -> str:
        """starting, running, stopping, lost, done, stopped or failed."""
        alive = is_locked(self.folder / LOCK)  # before the status is read, as in `Run.state`
        written = str(self.status.get("state", "starting"))
        if written in FINAL:
            return written
        if not alive:
            return "lost"
        return "stopping" if stop_asked(self.folder) else written

    def log(self, last_bytes: int = 20_000) -> str:
        """The end of its output."""
        return Run(self.folder).log(last_bytes)


def tasks_dir() -> Path:
    """The folder of all tasks."""
    return cache_dir() / "tasks"


def tasks() -> list[Task]:
    """Every task whose status can be read, the newest first."""
    listed = []
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(tasks_dir()), reverse=True):
            task = Task(tasks_dir() / name)
            with contextlib.suppress(Unreadable):
                if not name.startswith(".") and task.status:
                    listed.append(task)
    return listed


@work("start a task")
def start_task(arguments: list[str], title: str) -> Task:
    """Starts `genrecore` with these arguments as a task, in a process of its own."""
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    folder = tasks_dir() / name
    try:
        with new_folder(folder) as hidden:
            Status(hidden, JobStatus).move("starting", title=title, arguments=arguments)
            lock = take_lock(hidden / LOCK)
            if lock is None:
                raise GenrecoreError(f"Another process has locked {hidden.name}, which is new.")
    except OSError as error:
        raise GenrecoreError(f"The task cannot be started: {describe(error)}") from None
    try:
        with open(folder / LOG, "ab") as log:
            command = [sys.executable, "-m", "genrecore", *arguments]
            spawn(command, log, [lock], {TASK: str(folder), access.BY: access.visitor().name})
    finally:
        os.close(lock)
    return Task(folder)


@in_a_sentence("The task cannot be stopped")
@work("stop a task")
def stop_task(task: Task) -> None:
    """Asks a task to stop at the next safe point."""
    ask_to_stop(task.folder)
