"""The status of a job (a run or a task): state, progress, heartbeat, and requests to stop it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genrecore.store import clocks, generations
from genrecore.store.files import Unreadable, write_json, write_mark
from genrecore.store.progress import phase_code
from genrecore.store.records import (
    Clock,
    JobStatus,
    Moment,
    Number,
    Record,
    RunStatus,
    read_record,
)

STATUS, STOP, LOG = "status.json", "stop", "log.txt"
STOP_WITHIN_S = 60.0  # a step takes no longer; after that a job is ended by force
TIME_OVER = "The time of its job was nearly over; it goes on from its last checkpoint."
"""Why a run in a job of a cluster is queued again."""
FINAL = frozenset({"done", "stopped", "failed"})


def read_status(folder: Path, record: type[JobStatus] = RunStatus) -> dict[str, Any]:
    """The values in the status file of a run, or of another job; empty where there is none.

    Raises:
        Unreadable: It does not fit the record.
    """
    values = read_record(folder / STATUS, record)
    if "phase" in values:
        values["phase"] = phase_code(values["phase"])
    return values


class Status:
    """The status file of a job, kept by the one process that works in the folder."""

    def __init__(self, folder: Path, record: type[JobStatus] = RunStatus) -> None:
        """
        Raises:
            Unreadable: The file that is there does not fit the record.
        """
        self.folder = folder
        self.values = read_status(folder, record)
        self._written = 0.0

    def update(self, **values: Any) -> None:
        """Writes the changed values and a fresh heartbeat.

        Raises:
            Replaced: A newer process works on the run.
        """
        generations.check(self.folder)
        self.values |= values | {"heartbeat": time.time(), "clock": clocks.stamp()}
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
        generation = generations.own(self.folder)
        if generation is not None:
            entry["generation"] = generation
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
        wishes: `within_s` until it is ended by force; `reason`, a word; `keep_best`: the best epoch
            so far is tested; `requeue`: it waits and goes on later. A later request replaces an
            earlier one, but its time counts from the first.
    """
    first = stop_request(folder)
    when = {"at": first.get("at", time.time()), "clock": first.get("clock", clocks.stamp())}
    path = folder / STOP
    written = path.stat() if first else None
    write_mark(path, when | {"within_s": STOP_WITHIN_S} | wishes)
    if written:
        os.utime(path, ns=(written.st_atime_ns, written.st_mtime_ns))


def stop_asked(folder: Path) -> bool:
    """Whether a stop was asked for."""
    return (folder / STOP).exists()


class StopRequest(Record):
    """The file `stop`; an empty one, or one that holds anything else, asks for a stop as well."""

    at: Moment
    within_s: Number = STOP_WITHIN_S
    reason: str = ""
    keep_best: bool = False
    requeue: bool = False
    clock: Clock | None = None


def stop_request(folder: Path) -> dict[str, Any]:
    """When a stop was asked for and how; empty where none was."""
    with contextlib.suppress(Unreadable):
        request = read_record(folder / STOP, StopRequest)
        if request:
            return request
    with contextlib.suppress(OSError):
        return {"at": (folder / STOP).stat().st_mtime, "within_s": STOP_WITHIN_S}
    return {}


def stop_within_s(folder: Path) -> float:
    """Seconds that a job asked to stop has in all."""
    return float(stop_request(folder).get("within_s", STOP_WITHIN_S))


def stop_left_s(folder: Path) -> float | None:
    """Seconds until a job that was asked to stop is ended by force, less than 0 afterwards; None
    where nobody asked."""
    request = stop_request(folder)
    if not request:
        return None
    return stop_within_s(folder) - clocks.age_s(folder / STOP, request.get("clock"))


def silent_s(folder: Path, values: Mapping[str, Any]) -> float:
    """Seconds since a job wrote these values into its status file."""
    return clocks.age_s(folder / STATUS, values.get("clock"))
