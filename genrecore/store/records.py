"""What the JSON files of a run folder may hold, and the one reader of them.

A run folder may be damaged, edited by hand or copied from elsewhere, and other versions write other
keys. So a file is read through its model here: keys that a model names have the type and range that
the program relies on; others are kept as they are. What does not fit is `Unreadable`, and then the
whole run is. The tables of a folder are in `tables`; caches are no records: what does not fit there
is computed again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from genrecore.config.run import RunConfig
from genrecore.store.files import Unreadable, parsed_json, read_bytes
from genrecore.words import thousands


def _file_name(text: str) -> str:
    if "/" in text or "\0" in text or text in (".", "..") or len(os.fsencode(text)) > 255:
        raise ValueError("expected the name of a folder")
    return text


MOST_PRIORITY = 1_000_000_000
MOST_EPOCHS = 50_000
"""Lines of a history; a configuration has 5000 epochs at most, and a run may be continued."""

Count = Annotated[int, Field(ge=0, le=2**53)]
EpochCount = Annotated[int, Field(ge=0, le=MOST_EPOCHS)]
Moment = Annotated[float, Field(ge=0, le=9e9, allow_inf_nan=False)]
"""Seconds since 1970, to the year 2255: tables of times reach no further."""
Duration = Annotated[float, Field(ge=0, le=9e9, allow_inf_nan=False)]
Number = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False)]
FileName = Annotated[str, AfterValidator(_file_name)]
"""Of a folder beside others: no path, and not longer than file systems allow."""


class Record(BaseModel):
    """A JSON object; numbers are no text, and true is no number."""

    model_config = ConfigDict(extra="allow", strict=True)


class Clock(Record):
    """A moment by the clock that counts from the start of a machine (`clocks.stamp`)."""

    boot_id: str
    monotonic_s: Number


class Process(Record):
    """`process.json`, and a part of a status: what tells a process from every other."""

    pid: Annotated[int, Field(ge=1, le=2**31)] | None = None
    start_ticks: Count | None = None
    pid_namespace: str | None = None
    create_time: Moment | None = None
    boot_id: str | None = None
    host: str | None = None


class StateEntry(Record):
    """A state that a run entered."""

    state: str
    reason: str = ""
    at: Moment
    generation: Count | None = None


class SkippedClip(Record):
    """A clip that could not be used."""

    clip_id: str
    reason: str


class JobStatus(Process):
    """`status.json` of a job: a run or a task."""

    state: str
    reason: str = ""
    states: list[StateEntry] = []
    phase: str = ""
    done: Count | None = None
    total: Count | None = None
    time_left_s: Duration | None = None
    heartbeat: Moment | None = None
    clock: Clock | None = None
    started_at: Moment | None = None
    finished_at: Moment | None = None
    traceback: str | None = None
    title: str = ""
    arguments: list[str] = []


class RunStatus(JobStatus):
    """`status.json` of a run."""

    state: Literal["queued", "starting", "preparing", "running", "done", "stopped", "failed"]
    starts: Count = 0
    skipped: list[SkippedClip] | None = None
    notes: list[str] = []
    n_parameters: Count | None = None
    epoch: EpochCount | None = None
    n_epochs: EpochCount | None = None
    best_epoch: EpochCount | None = None
    best_valid_accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    median_step_s: Duration | None = None
    samples_per_s: Annotated[float, Field(ge=0)] | None = None


class Queue(Record):
    """`queue.json`: priority, position among runs of one priority, and where the run is carried
    out: `slurm:` and a profile's name; on this machine where it is empty."""

    priority: Annotated[int, Field(ge=-MOST_PRIORITY, le=MOST_PRIORITY)] = 0
    position: Number = 0.0
    queued_at: Moment = 0.0
    on: str = ""


class JobFile(Record):
    """`job.json`: the job that a scheduler has for the run, and what it last said of it.

    `host` is the login node that is asked, empty for this machine; `id` is empty until the
    scheduler has named it. `word` and `code` are the scheduler's own state and reason, `reason` is
    that reason as a sentence. `never`: it can never start as it is. `releases`: how often it was
    released after a node had failed to start it.
    """

    on: str = ""
    host: str = ""
    id: str = ""
    generation: Count = 0
    submitted_at: Moment = 0.0
    state: Literal["submitting", "waiting", "running", "ended"] = "submitting"
    word: str = ""
    code: str = ""
    reason: str = ""
    never: bool = False
    starts_at: Moment | None = None
    node: str = ""
    restarts: Count = 0
    releases: Count = 0
    gone_since: Moment | None = None


class SchedulerFile(Record):
    """`.scheduler.json` of a store: when each cluster's scheduler answered last (by host, an empty
    one for this machine's), and why it did not answer the last time."""

    answered: dict[str, Moment] = {}
    faults: dict[str, str] = {}


class GenerationFile(Record):
    """`generation.json`: the newest process of the run (`genrecore.store.generations`)."""

    generation: Count = 0
    announced: Count = 0
    starts: Count = 0
    token: str = ""


class Origin(Record):
    """`origin.json`: the run it was made from, and the plan it belongs to."""

    parent: FileName = ""
    how: str = ""
    plan: FileName = ""


class SongFile(Record):
    """`song.json`: the id of the uploads that the run classifies once it is done."""

    clips: FileName = ""


class EndedFile(Record):
    """`ended.json`: how its process ended, where somebody saw it."""

    signal: Annotated[int, Field(ge=1, le=255)] | None = None
    code: Annotated[int, Field(ge=-(2**31), le=2**31)] | None = None
    at: Moment | None = None


class Environment(Record):
    """`environment.json`: what a run ran on."""

    device: str = ""
    device_name: str = ""
    precision: str = ""
    precision_reason: str = ""
    n_threads: Count | None = None
    versions: dict[str, str] = {}
    host: str = ""
    platform: str = ""


class Epoch(Record):
    """A line of `history.jsonl`: all its values are numbers; losses may be nan."""

    __pydantic_extra__: dict[str, float | None]

    epoch: Annotated[int, Field(ge=1, le=MOST_EPOCHS)]
    train_loss: float | None
    train_accuracy: float | None
    best: bool | None = None
    lr: Number | None = None
    seconds: Duration | None = None
    memory_mb: Duration | None = None
    samples_per_s: Annotated[float, Field(ge=0)] | None = None


class AuditFinding(Record):
    """A fault of the data."""

    kind: str
    severity: str = ""
    clip_id: str = ""
    other_clip_id: str = ""
    value: float | None = None
    sentence: str = ""


class AuditCrossing(Record):
    """What two parts of the split share."""

    kind: str = ""
    between: str = ""
    n_groups: Count = 0
    n_clips: Count = 0
    leak: bool = False
    sentence: str


class SplitAnswer(Record):
    """Whether the split keeps artists, albums and copies apart (`separation`)."""

    answer: Literal["kept apart", "crosses", "cannot be known"]
    sentence: str
    n_clips: Count = 0
    n_unknown: Count = 0
    n_shared: Count = 0


class AuditFile(Record):
    """`audit.json`: what the audit of data and split found."""

    n_clips: Count = 0
    refused: bool = False
    reason: str = ""
    n_crossing_clips: Count = 0
    n_crossing_test_clips: Count = 0
    counts: dict[str, Count] = {}
    crossings: list[AuditCrossing] = []
    findings: list[AuditFinding] = []
    checked: list[str] = []
    separation: SplitAnswer | None = None
    encoder: str = ""
    encoder_heard: Literal["", "yes", "no", "unknown"] = ""


RECORDS: dict[str, type[Record]] = {
    "status.json": RunStatus,
    "queue.json": Queue,
    "job.json": JobFile,
    "generation.json": GenerationFile,
    "origin.json": Origin,
    "song.json": SongFile,
    "environment.json": Environment,
    "process.json": Process,
    "ended.json": EndedFile,
    "audit.json": AuditFile,
}
"""The JSON files of a run folder beside `config.json`, `about.json` and caches."""

_EPOCHS = TypeAdapter(list[Epoch])


def read_config_record(path: Path) -> RunConfig:
    """The configuration in a run's `config.json`.

    Raises:
        Unreadable: It is missing, or another version wrote it.
    """
    try:
        content = read_bytes(path)
    except FileNotFoundError:
        raise Unreadable(path, "", "it is missing") from None
    values = _parsed(path, content, "run")
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise _misfit(path, error, "run") from None


def read_record(
    path: str | Path, record: type[Record], noun: str = "run", *, needed: bool = False
) -> dict[str, Any]:
    """The values in a JSON file of a run folder; empty where there is no file.

    Args:
        path: The file.
        record: What it may hold.
        noun: What the folder is.
        needed: Whether the file has to be there.

    Raises:
        Unreadable: It does not fit.
    """
    try:
        content = read_bytes(path, noun=noun)
    except FileNotFoundError:
        if needed:
            raise Unreadable(path, "", "it is missing", noun) from None
        return {}
    values = _parsed(path, content, noun)
    try:
        record.model_validate_json(content)
    except ValidationError as error:
        raise _misfit(path, error, noun) from None
    return values


def check_history(path: str | Path) -> list[bytes]:
    """The lines of a history, one an epoch; an unfinished last line is left out.

    Raises:
        Unreadable: A line is none of an epoch.
    """
    try:
        content = read_bytes(path)
    except FileNotFoundError:
        return []
    lines = content.split(b"\n")[:-1]
    if len(lines) > MOST_EPOCHS:
        expected = (
            f"it has {thousands(len(lines))} lines; expected at most {thousands(MOST_EPOCHS)}"
        )
        raise Unreadable(path, "", expected)
    try:
        fits = len(_EPOCHS.validate_json(b"[" + b",".join(lines) + b"]")) == len(lines)
    except ValidationError:
        fits = False
    if not fits:
        _read_lines(path, lines)
    return lines


def read_history(path: str | Path) -> list[dict[str, Any]]:
    """The epochs in a history.

    Raises:
        Unreadable: As `check_history`.
    """
    return _read_lines(path, check_history(path))


def _read_lines(path: str | Path, lines: Sequence[bytes]) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(_parsed(path, line, "run"))
            Epoch.model_validate_json(line)
        except Unreadable as fault:
            raise Unreadable(path, f"line {number}", fault.reason) from None
        except ValidationError as error:
            misfit = _misfit(path, error, "run")
            place = f"line {number}, {misfit.place}" if misfit.place else f"line {number}"
            raise Unreadable(path, place, misfit.reason) from None
    return rows


def _parsed(path: str | Path, content: bytes, noun: str) -> dict[str, Any]:
    """The object in JSON."""
    try:
        values = parsed_json(content)
    except ValueError as error:
        raise Unreadable(path, "", str(error), noun) from None
    if not isinstance(values, dict):
        raise Unreadable(path, "", f"expected an object, found {_shown(values)}", noun)
    return values


def _misfit(path: str | Path, error: ValidationError, noun: str) -> Unreadable:
    """The first thing that does not fit, for people."""
    item = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in item["loc"] if part not in _UNIONS)
    found = _shown(item.get("input"))
    expected = _EXPECTED.get(item["type"])
    if item["type"] == "json_invalid":
        reason = item["msg"].removeprefix("Invalid JSON: ")
        return Unreadable(path, place, f"it is not JSON: {reason}", noun)
    if item["type"] == "too_long":
        most = thousands(item["ctx"]["max_length"])
        return Unreadable(path, place, f"expected at most {most} entries", noun)
    if item["type"] == "too_long":
        most = thousands(item["ctx"]["max_length"])
        return Unreadable(path, place, f"expected at most {most} entries", noun)
    if item["type"] == "missing":
        return Unreadable(path, place, "it is missing", noun)
    if item["type"] == "extra_forbidden":
        return Unreadable(path, place, "there is no such field in this version", noun)
    if expected is None:
        message = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        expected = message if message.startswith("expected ") else f"expected {message}"
    return Unreadable(path, place, f"{expected}, found {found}", noun)


_UNIONS = frozenset({"float", "int", "none", "str", "bool"})
_EXPECTED = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "expected a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "expected a number"),
    "finite_number": "expected a finite number",
    "string_type": "expected text",
    "bool_type": "expected true or false",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "expected an object"),
}


def _shown(value: Any) -> str:
    """A value as a sentence quotes it."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "a list"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int) and abs(value) > 10**20:
        return "a number of many digits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
