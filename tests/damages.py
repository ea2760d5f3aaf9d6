"""Ways in which a file of a run folder can be damaged, each with where its reader has to see it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Damage(NamedTuple):
    """A damage.

    Attributes:
        file: Of the run folder.
        damage: Does it to the file.
        place: Where the reader finds the fault.
    """

    file: str
    damage: Callable[[Path], None]
    place: str


def to_text(text: str | bytes) -> Callable[[Path], None]:
    """The file's content becomes this."""
    return lambda path: _replace(path, text.encode() if isinstance(text, str) else text)


def cut(path: Path) -> None:
    """The second half is gone."""
    _replace(path, path.read_bytes()[: path.stat().st_size // 2])


def with_value(place: str, value: Any) -> Callable[[Path], None]:
    """A value in the JSON becomes another one: `states.0.at`."""

    def change(path: Path) -> None:
        values = json.loads(path.read_text()) if path.exists() else {}
        inner: Any = values
        *parents, last = [int(part) if part.isdigit() else part for part in place.split(".")]
        for part in parents:
            inner = inner[part]
        inner[last] = value
        _replace(path, json.dumps(values).encode())

    return change


def with_line(number: int, text: str) -> Callable[[Path], None]:
    """A line becomes another one."""

    def change(path: Path) -> None:
        lines = path.read_text().splitlines(keepends=True)
        lines[number - 1] = text + "\n"
        _replace(path, "".join(lines).encode())

    return change


def to_fifo(path: Path) -> None:
    """A named pipe that nobody writes to lies in its place."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def to_device(path: Path) -> None:
    """A link to a device without an end lies in its place."""
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def to_kernel_file(path: Path) -> None:
    """A link to a file of the kernel lies in its place."""
    path.unlink(missing_ok=True)
    path.symlink_to("/proc/self/status")


def to_folder(path: Path) -> None:
    """A folder lies in its place."""
    path.unlink(missing_ok=True)
    path.mkdir()


def gone(path: Path) -> None:
    """The file is missing."""
    path.unlink()


def _replace(path: Path, content: bytes) -> None:
    """Written beside and renamed, so that no stamp is the same by chance."""
    beside = path.with_name(".beside")
    beside.write_bytes(content)
    beside.rename(path)


NESTED = '{"a":' * 3000 + "1" + "}" * 3000
JSON_FILES = ("status.json", "queue.json", "origin.json", "song.json", "environment.json",
              "process.json", "ended.json", "audit.json", "job.json",
              "generation.json")  # fmt: skip
HUGE = 10**400
EPOCH = '{"epoch": 1, "train_loss": 1, "train_accuracy": 1}'

DAMAGES = [
    *(Damage(name, to_text('"x"'), "") for name in JSON_FILES),
    *(Damage(name, to_text("[1, 2]"), "") for name in JSON_FILES),
    *(Damage(name, to_text(NESTED), "") for name in JSON_FILES),
    *(Damage(name, to_text(b"\xff\xfe{"), "") for name in (*JSON_FILES, "config.json")),
    *(Damage(name, to_folder, "") for name in (*JSON_FILES, "config.json", "log.txt", "lock")),
    *(Damage(name, to_fifo, "") for name in ("status.json", "log.txt", "lock", "epochs.u8",
                                         "steps.f32")),
    *(Damage(name, to_device, "") for name in ("queue.json", "clips.parquet", "history.jsonl")),
    Damage("config.json", to_kernel_file, ""),
    Damage("config.json", gone, ""),
    Damage("config.json", cut, ""),
    Damage("config.json", with_value("seed", "x"), "seed"),
    Damage("config.json", with_value("training.lr", [1]), "training.lr"),
    Damage("config.json", with_value("another", 1), "another"),
    Damage("status.json", gone, ""),
    Damage("status.json", cut, ""),
    Damage("status.json", with_value("state", ["queued"]), "state"),
    Damage("status.json", with_value("state", "flying"), "state"),
    Damage("status.json", with_value("starts", "x"), "starts"),
    Damage("status.json", with_value("starts", -1), "starts"),
    Damage("status.json", with_value("starts", True), "starts"),
    Damage("status.json", with_value("epoch", "4"), "epoch"),
    Damage("status.json", with_value("epoch", HUGE), "epoch"),
    Damage("status.json", with_value("best_epoch", 1.5), "best_epoch"),
    Damage("status.json", with_value("heartbeat", "today"), "heartbeat"),
    Damage("status.json", with_value("finished_at", float("inf")), "finished_at"),
    Damage("status.json", with_value("started_at", -5.0), "started_at"),
    Damage("status.json", with_value("states.0.at", "x"), "states.0.at"),
    Damage("status.json", with_value("states.0", "x"), "states.0"),
    Damage("status.json", with_value("states", {"a": 1}), "states"),
    Damage("status.json", with_value("phase", 7), "phase"),
    Damage("status.json", with_value("best_valid_accuracy", 7), "best_valid_accuracy"),
    Damage("status.json", with_value("notes", [1]), "notes.0"),
    Damage("status.json", with_value("skipped", [{}]), "skipped.0.clip_id"),
    Damage("status.json", with_value("pid", "7"), "pid"),
    Damage("queue.json", with_value("priority", "x"), "priority"),
    Damage("queue.json", with_value("priority", HUGE), "priority"),
    Damage("queue.json", with_value("position", [1]), "position"),
    Damage("queue.json", with_value("queued_at", "x"), "queued_at"),
    Damage("queue.json", to_text('{"position": 1e400}'), "position"),
    Damage("queue.json", with_value("on", ["slurm:x"]), "on"),
    Damage("job.json", with_value("state", "flying"), "state"),
    Damage("job.json", with_value("submitted_at", "x"), "submitted_at"),
    Damage("job.json", with_value("restarts", -1), "restarts"),
    Damage("generation.json", with_value("generation", "x"), "generation"),
    Damage("generation.json", with_value("token", 7), "token"),
    Damage("origin.json", with_value("parent", "../../x"), "parent"),
    Damage("origin.json", with_value("plan", 7), "plan"),
    Damage("song.json", with_value("clips", "a/b"), "clips"),
    Damage("environment.json", with_value("versions", {"torch": 2}), "versions.torch"),
    Damage("process.json", with_value("create_time", "x"), "create_time"),
    Damage("ended.json", with_value("signal", "9"), "signal"),
    Damage("audit.json", with_value("n_clips", "30"), "n_clips"),
    Damage("audit.json", with_value("counts", {"unused": "3"}), "counts.unused"),
    Damage("audit.json", with_value("separation", {"answer": "x"}), "separation.answer"),
    Damage("audit.json", with_value("crossings", [{"kind": "x"}]), "crossings.0.sentence"),
    Damage("history.jsonl", with_line(2, "{broken"), "line 2"),
    Damage("history.jsonl", with_line(1, '{"epoch": "1"}'), "line 1, epoch"),
    Damage("history.jsonl", with_line(3, '{"epoch": 3, "train_loss": "x"}'), "line 3, train_loss"),
    Damage("history.jsonl", with_line(2, '{"epoch": 2}, {"epoch": 3}'), "line 2"),
    Damage("history.jsonl", with_line(2, NESTED), "line 2"),
    *(Damage(name, to_text('{"x": "a\\u0000b"}'), "") for name in ("status.json", "audit.json")),
    Damage("config.json", with_value("dataset.options", {"folder": "\0"}), ""),
    Damage("config.json", with_value("model.options", {"\ud800": 1}), ""),
    Damage("origin.json", with_value("parent", "\udcff"), ""),
    Damage("origin.json", with_value("parent", ".."), "parent"),
    Damage("song.json", with_value("clips", "."), "clips"),
    Damage("status.json", with_value("epoch", 10**15), "epoch"),
    Damage("history.jsonl", with_line(1, EPOCH[:28] + "}"), "line 1, train_accuracy"),
    Damage("history.jsonl", with_line(1, EPOCH.replace("1", "1" + "0" * 15, 1)), "line 1, epoch"),
    Damage("history.jsonl", to_text((EPOCH + "\n") * 50_001), ""),
    Damage("clips.parquet", cut, ""),
    Damage("predictions.parquet", cut, ""),
    Damage("segments.parquet", to_text("x"), ""),
    Damage("predictions.parquet", to_text(b"PAR1\xff\xff\xff\xffPAR1"), ""),
]  # fmt: skip
"""Damages that a look at a folder finds, each with the place that its reader names."""

NAMES = [f"{damage.file}-{number}" for number, damage in enumerate(DAMAGES)]
FIRST = {damage.file: n for n, damage in reversed(list(enumerate(DAMAGES)))}
SOME = [
    pytest.param(
        damage,
        id=name,
        marks=() if n % 4 == 0 or n == FIRST[damage.file] else pytest.mark.long,
    )
    for n, (damage, name) in enumerate(zip(DAMAGES, NAMES, strict=True))
]
"""The first of each file and every fourth; that commands name each is tested in one store."""
