"""The door through which pages and commands start, stop and list work; the state is on disk.

Runs are queued as run folders (`genrecore.runs`); the runner starts them. Everything else that
takes long (preparing a dataset, a download, an audit) is a task: a command run as a process with a
folder of its own in the cache, with the same lock, status, log and stop request.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from genrecore import config as configuration
from genrecore import distributed, jobfolder, runs
from genrecore.config import Part, RunConfig
from genrecore.errors import GenrecoreError
from genrecore.runs import Run

TASK = "GENRECORE_TASK"  # tells a command that it runs as the task in this folder
RUNNER_LOCK = ".runner.lock"


def submit(config: RunConfig, store: Path | None = None) -> Run:
    """Queues a resolved configuration and sees to it that somebody starts it."""
    run = runs.create(config, store)
    ensure_runner(run.folder.parent)
    return run


def queued(store: Path) -> list[Run]:
    """Runs that wait for a slot, the next one first."""

    def place(run: Run) -> tuple[float, float, str]:
        queue = jobfolder.read_json(run.folder / "queue.json")
        return (-float(queue.get("priority", 0)), float(queue.get("position", 0)), run.run_id)

    waiting = [run for run in runs.all_runs(store) if run.status.get("state") == "queued"]
    return sorted(waiting, key=place)


def ensure_runner(store: Path | None = None) -> None:
    """Starts a runner for the store unless one is at work or nothing waits."""
    store = store or runs.store_dir()
    everything = runs.all_runs(store)
    unfinished = any(run.status.get("state") in ("queued", "starting") for run in everything)
    if unfinished and not jobfolder.is_locked(store / RUNNER_LOCK):
        with open(store / ".runner.log", "ab") as log:
            spawn([sys.executable, "-m", "genrecore.runner", str(store)], log, [], {})


def stop(run: Run) -> str:
    """Asks a run to stop and returns what will happen, as a sentence.

    A queued run is cancelled at once; a living one finishes its step, writes a checkpoint and ends.

    Raises:
        GenrecoreError: The run is over.
    """
    with jobfolder.held(run.folder / jobfolder.LOCK, patience_s=0.2) as mine:
        fresh = Run(run.folder)
        written = fresh.status.get("state", "queued")
        if written in jobfolder.FINAL:
            raise GenrecoreError(f"The run {run.run_id} is over already: {written}.")
        if mine and written == "queued":
            jobfolder.Status(run.folder).move("stopped", "cancelled", finished_at=time.time())
            return f"The run {run.run_id} was waiting and is cancelled."
        if mine:
            raise GenrecoreError(f"The run {run.run_id} is lost: no process works on it.")
    jobfolder.ask_to_stop(run.folder)
    return f"The run {run.run_id} finishes its step, keeps a checkpoint and stops."


def command_of(config: RunConfig) -> str:
    """The shell command that queues this configuration."""
    words = ["genrecore", "train", "--background"]
    parts = {"dataset", "split", "feature", "standardise", "model"}
    for key, value in configuration.differences(config).items():
        first, _, rest = key.partition(".")
        if first == "augment":
            words += ["--augment", ",".join(part["name"] for part in value)]
            for part in value:
                for option, given in part["options"].items():
                    text = given if isinstance(given, str) else json.dumps(given)
                    words += ["--set", f"augment.{part['name']}.{option}={text}"]
        elif first in parts and rest == "name":
            words += [f"--{first}", str(value)]
        elif first in parts:
            text = value if isinstance(value, str) else json.dumps(value)
            words += ["--set", f"{first}.{rest.removeprefix('options.')}={text}"]
        else:
            flag = f"--{(rest or first).replace('_', '-')}"
            words += [flag] if value is True else [flag, str(value)]
    return shlex.join(words)


def words_of(dataset: Part) -> list[str]:
    """A dataset's options as words of the commands under `genrecore datasets`."""
    words: list[str] = []
    for key, value in dataset.options.items():
        if key == "folder":
            words += ["--folder", str(value)]
        else:
            words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return words


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
        """`state, reason, phase, done, total, …`"""
        return jobfolder.read_json(self.folder / jobfolder.STATUS)

    @property
    def title(self) -> str:
        """What it does, in words."""
        return str(self.status.get("title", self.task_id))

    @cached_property
    def state(self) -> str:
        """starting, running, stopping, lost, done, stopped or failed."""
        alive = jobfolder.is_locked(self.folder / jobfolder.LOCK)
        written = str(self.status.get("state", "starting"))
        if written in jobfolder.FINAL:
            return written
        if not alive:
            return "lost"
        return "stopping" if jobfolder.stop_asked(self.folder) else written

    def log(self, last_bytes: int = 20_000) -> str:
        """The end of its output."""
        return Run(self.folder).log(last_bytes)


def tasks_dir() -> Path:
    """The folder of all tasks."""
    return jobfolder.cache_dir() / "tasks"


def tasks() -> list[Task]:
    """Every task, the newest first."""
    with contextlib.suppress(OSError):
        names = sorted(os.listdir(tasks_dir()), reverse=True)
        return [Task(tasks_dir() / name) for name in names if not name.startswith(".")]
    return []


def start_task(arguments: list[str], title: str) -> Task:
    """Starts a genrecore command as a task in a process of its own.

    Args:
        arguments: The command line after `genrecore`.
        title: What it does, for people.
    """
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    folder = tasks_dir() / name
    hidden = tasks_dir() / f".new-{name}"
    try:
        hidden.mkdir(parents=True)
        jobfolder.Status(hidden).move("starting", title=title, arguments=arguments)
        (hidden / jobfolder.LOCK).touch()
        hidden.rename(folder)
    except OSError as error:
        raise GenrecoreError(f"The task cannot be started: {jobfolder.in_words(error)}") from None
    lock = jobfolder.take_lock(folder / jobfolder.LOCK)
    if lock is None:
        raise GenrecoreError(f"The task {name} is at work already.")
    try:
        with open(folder / jobfolder.LOG, "ab") as log:
            command = [sys.executable, "-m", "genrecore", *arguments]
            spawn(command, log, [lock], {TASK: str(folder)})
    finally:
        os.close(lock)
    return Task(folder)


def stop_task(task: Task) -> None:
    """Asks a task to stop at the next safe point."""
    jobfolder.ask_to_stop(task.folder)


def spawn_run(run: Run, log: Any, devices: list[str], locks: list[int]) -> subprocess.Popen[bytes]:
    """The process that carries a run out, or torchrun with as many as the run asks for.

    Args:
        run: Whose lock is among `locks`.
        log: Where output goes.
        devices: Those of the slots among `locks`.
        locks: Held until the process ends.
    """
    words = ["train", "--run", str(run.folder)]
    n_processes = run.config.processes
    extra = {"GENRECORE_DEVICE": devices[0], "GENRECORE_RUNS": str(run.folder.parent)}
    if n_processes == 1:
        return spawn([sys.executable, "-m", "genrecore", *words], log, locks, extra)
    extra |= distributed.environment(n_processes, devices)
    return spawn(distributed.torchrun(n_processes, words), log, locks, extra)


_children: list[subprocess.Popen[bytes]] = []


def spawn(
    command: list[str], log: Any, locks: list[int], extra: dict[str, str]
) -> subprocess.Popen[bytes]:
    """A process in a session of its own that holds the given locks until it ends.

    It outlives whoever started it: no pipe and no terminal connects them.
    """
    _children[:] = [child for child in _children if child.poll() is None]  # no zombies
    environment = os.environ | extra | {"PYTHONUNBUFFERED": "1"}
    environment.pop(jobfolder.INHERITED, None)
    for name in distributed.NAMES:  # what this process is to others is nothing to its children
        environment.pop(name, None)
    if TASK not in extra:
        environment.pop(TASK, None)
    if locks:
        environment[jobfolder.INHERITED] = ",".join(map(str, locks))
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
