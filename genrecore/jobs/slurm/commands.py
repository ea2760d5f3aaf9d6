"""Slurm's commands, called on this machine or on a login node through OpenSSH.

Only what every cluster has is used: `sbatch`, `squeue`, `scontrol`, `scancel`, `sinfo`. `sacct`
needs a database that many small clusters lack.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrecore.errors import GenrecoreError
from genrecore.jobs.slurm import states
from genrecore.training.distributed import NAMES

SSH = "GENRECORE_SSH"
"""The environment variable with the command that takes the place of `ssh`, options and all."""
_PATIENCE_S = 20.0
_NO_ANSWER = re.compile(
    "unable to contact slurm controller|socket timed out|connection refused|connection timed out"
    "|zero bytes were transmitted|in standby mode|communication connection failure"
    "|slurm_persist_conn|unable to establish controller",
    re.IGNORECASE,
)
_PRIVATE = ("GENRECORE_LOCK_FDS", "GENRECORE_DEVICE", "GENRECORE_TASK", "GENRECORE_BY", *NAMES)


class NoAnswer(GenrecoreError):
    """The scheduler cannot be reached now, or did not answer in time: nothing is known."""


class Refused(GenrecoreError):
    """The scheduler refused something; the text is its own."""


@dataclass(frozen=True)
class Job:
    """What the scheduler says of a job.

    Attributes:
        id: Its number.
        word: Slurm's state, for example `PENDING`.
        code: Why it waits or how it ended, for example `Priority`.
        starts_at: Seconds since 1970 at which it started or is expected to; None if unknown.
        nodes: Where it runs.
        comment: As it was submitted.
        restarts: How often it was started again.
        signal: That ended it; 0 if none did.
    """

    id: str
    word: str
    code: str = ""
    starts_at: float | None = None
    nodes: str = ""
    comment: str = ""
    restarts: int = 0
    signal: int = 0


@dataclass(frozen=True)
class Login:
    """The machine on which Slurm's commands are called.

    Attributes:
        host: As ssh takes it; this machine where it is empty.
    """

    host: str = ""

    def call(self, *words: str, content: str = "", patience_s: float = _PATIENCE_S) -> str:
        """The output of a command, its errors after it.

        Args:
            words: The command and its arguments.
            content: Its input.
            patience_s: How long to wait.

        Raises:
            NoAnswer: The machine or the scheduler did not answer, or has no such command.
            Refused: The command ended with an error.
        """
        command = [*_ssh(), self.host, "--", shlex.join(words)] if self.host else list(words)
        environment = {name: value for name, value in os.environ.items() if name not in _PRIVATE}
        try:
            done = subprocess.run(
                command,
                input=content,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=patience_s,
                env=environment,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            raise NoAnswer(f"{self} did not answer {words[0]} in {patience_s:.0f} s.") from None
        except OSError:
            raise NoAnswer(f"{command[0]} is not installed on this machine.") from None
        if done.returncode:
            text = _plain(done.stderr) or f"{words[0]} ended with exit code {done.returncode}."
            through_ssh = self.host and done.returncode in (127, 255)  # no command, no connection
            if through_ssh or _NO_ANSWER.search(text):
                raise NoAnswer(text)
            raise Refused(text)
        return f"{done.stdout}\n{done.stderr}".strip()

    def jobs(self) -> dict[str, Job]:
        """All jobs of this user that the scheduler remembers, by their comments, in one call. Those
        that ended are among them for a few minutes.

        Raises:
            NoAnswer: As `call`.
            Refused: As `call`.
        """
        text = self.call("squeue", "--me", "--states=all", "--json")
        try:
            answer = json.loads(text[: text.rindex("}") + 1])
            jobs = [_job(entry) for entry in answer["jobs"]]
            errors = [_text(error.get("error")) for error in answer.get("errors", [])]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            raise NoAnswer(f"squeue on {self} answered what is no list of jobs.") from None
        if errors:  # it ends with 0 and an empty list where the controller does not answer
            raise NoAnswer(f"squeue on {self}: {'; '.join(errors)}")
        # Not by their ids: a controller that was killed may give the same id again.
        return {job.comment: job for job in jobs}

    def submit(self, script: str) -> str:
        """Hands a batch script to the scheduler; returns the job's id. Errors as `call`."""
        answer = self.call("sbatch", "--parsable", content=script)
        number = re.search(r"^(\d+)(;.*)?$", answer, re.MULTILINE)
        if number is None:
            raise NoAnswer(f"sbatch on {self} said: {answer}")
        return number[1]

    def test(self, script: str) -> str:
        """When the scheduler would start this script, in its own words, without submitting it.
        Errors as `call`."""
        return _plain(self.call("sbatch", "--test-only", content=script))

    def __str__(self) -> str:
        return self.host or "this machine"


def _ssh() -> list[str]:
    options = {"BatchMode": "yes", "ConnectTimeout": "10"}
    # Short, since a socket's path may have 100 bytes, and for this user's eyes alone.
    sockets = Path(tempfile.gettempdir(), f"genrecore-{os.getuid()}")
    sockets.mkdir(mode=0o700, exist_ok=True)
    if sockets.stat().st_uid == os.getuid():
        options |= {"ControlMaster": "auto", "ControlPersist": "10m"}
        options["ControlPath"] = f"{sockets}/%C"
    settings = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return [*shlex.split(os.environ.get(SSH, "ssh")), *settings]


def _plain(text: str) -> str:
    """The lines of an error without the command's name before each."""
    lines = [re.sub(r"^\w+: (error: )?", "", line.strip()) for line in text.splitlines()]
    return "; ".join(line for line in lines if line)


def _job(entry: Mapping[str, Any]) -> Job:
    """A job from squeue's JSON, whose form changed between versions."""
    starts_at = _number(entry.get("start_time"))
    code, description = _text(entry.get("state_reason")), entry.get("state_description")
    return Job(
        id=str(entry["job_id"]),
        word=_state(entry["job_state"]),
        code=states.LAUNCH_FAILED
        if description == states.LAUNCH_FAILED
        else ""
        if code == "None"
        else code,
        starts_at=starts_at or None,
        nodes=str(entry.get("nodes") or ""),
        comment=_text(entry.get("comment")),
        restarts=int(_number(entry.get("restart_cnt"))),
        signal=_signal(entry.get("exit_code")),
    )


def _state(value: Any) -> str:
    """A job's state. Newer versions give a list, as CANCELLED and COMPLETING while processes of the
    job still live; older versions say COMPLETING alone."""
    more = value[1:] if isinstance(value, list) else []
    return next((word for word in more if states.kind(word) != "ended"), _text(value))


def _text(value: Any) -> str:
    """A word; newer versions give a list."""
    return str((value[0] if value else "") if isinstance(value, list) else value or "")


def _number(value: Any) -> float:
    """A number; newer versions give an object with `set` and `number`."""
    if isinstance(value, Mapping):
        value = value.get("number") if value.get("set") else 0
    return float(value or 0)


def _signal(value: Any) -> int:
    """The signal in an exit code, which older versions give as the raw status of `wait`."""
    if isinstance(value, Mapping):
        signal = value.get("signal") or {}
        return int(_number(signal.get("signal_id", signal.get("id"))))
    return int(value or 0) & 0x7F
