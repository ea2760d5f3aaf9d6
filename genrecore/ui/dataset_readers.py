"""What the page Datasets reads: clip tables, splits, audits, sound. Nothing here imports torch."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from genrecore import audio, datasets, jobfolder, jobs, runs, splits
from genrecore.audit import Audit, audit
from genrecore.config import Part
from genrecore.datasets import DATASETS, demo
from genrecore.datasets.demo import DemoOptions
from genrecore.datasets.tables import read_table
from genrecore.errors import GenrecoreError, UsageError
from genrecore.jobs import Task

SAMPLE_RATE_HZ = 22_050
MOST_HEARD_S = 60.0
"""Of a longer clip the middle is played: whole albums do not belong into a page."""

_MOST_ENTRIES = 5_000
_MOST_TASKS = 200


@dataclass(frozen=True)
class Chosen:
    """A dataset with the options that differ from its defaults."""

    name: str
    options: Mapping[str, Any]

    @property
    def part(self) -> Part:
        """As a configuration holds it."""
        return Part(name=self.name, options=dict(self.options))

    @property
    def key(self) -> str:
        """Text that names this choice."""
        return json.dumps([self.name, dict(self.options)], sort_keys=True)

    @property
    def words(self) -> list[str]:
        """The options as words of a command."""
        said: list[str] = []
        for key, value in self.options.items():
            if key == "folder":
                said += ["--folder", str(value)]
            else:
                said += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
        return said


@dataclass(frozen=True)
class Dataset:
    """A clip table as a loader gave it. It is shared between visitors: never changed."""

    clips: pd.DataFrame
    left_out: tuple[Mapping[str, str], ...]
    notes: tuple[str, ...]
    stamp: str

    @property
    def medium(self) -> str:
        """`audio`, `image` or `table`."""
        return str(self.clips["medium"].iloc[0])


def is_made(chosen: Chosen) -> bool:
    """Whether reading the dataset only reads; demo music has to be made first."""
    if chosen.name != "demo":
        return True
    options: DemoOptions = DATASETS["demo"].read_options(chosen.options, "dataset")
    return (demo.demo_folder(options) / "clips.csv").is_file()


def check_folder(chosen: Chosen) -> None:
    """Refuses a folder that is not there.

    Raises:
        UsageError: What is missing, in a sentence.
    """
    given = str(chosen.options.get("folder") or "")
    if not Path(given).expanduser().exists():
        raise UsageError(
            f"There is nothing at {given} on the machine that runs this dashboard; "
            "give the path as that machine knows it."
        )


def read(chosen: Chosen) -> Dataset:
    """The dataset's clip table, read anew when its folders have changed.

    Raises:
        GenrecoreError: What the loader found wrong, in a sentence.
    """
    return _read(chosen.key, _stamp(chosen))


@st.cache_resource(max_entries=4, show_spinner="Reading the dataset …")
def _read(key: str, stamp: str) -> Dataset:
    # A resource, not data: a table of 100 000 rows would be copied at every click.
    name, options = json.loads(key)
    table = datasets.load(name, options)
    left_out, notes = table.attrs.get("left_out", []), table.attrs.get("notes", [])
    return Dataset(table, tuple(left_out), tuple(map(str, notes)), stamp)


def _stamp(chosen: Chosen) -> str:
    """When the folder, its folders and theirs were last changed, and the lists that lie there."""
    given = chosen.options.get("folder")
    if given is None:
        return ""
    top = Path(str(given)).expanduser()
    seen: list[tuple[str, int]] = []
    try:
        seen.append((str(top), top.stat().st_mtime_ns))
        inner = [entry for entry in _entries(top) if _counts(entry)]
        deeper = [
            entry
            for folder in inner
            if folder.is_dir()
            for entry in _entries(Path(folder.path))
            if _counts(entry)
        ]
        seen += [(entry.path, entry.stat().st_mtime_ns) for entry in [*inner, *deeper]]
    except OSError as error:
        return jobfolder.in_words(error)
    return str(hash(tuple(sorted(seen))))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as found:
        return list(itertools.islice(found, _MOST_ENTRIES))


def _counts(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(".csv") or entry.is_dir()


@dataclass(frozen=True)
class Dealt:
    """A split of a dataset in numbers."""

    counts: pd.DataFrame
    says: str
    notes: tuple[str, ...]
    verdict: Audit


@dataclass(frozen=True)
class SplitChoice:
    """A split scheme with its options that differ from the defaults."""

    name: str
    options: Mapping[str, Any]
    seed: int = 0
    fold: int = 0

    @property
    def words(self) -> list[str]:
        """As words of a command."""
        said = ["--split", self.name]
        if self.fold:
            said += ["--fold", str(self.fold)]
        if self.seed:
            said += ["--split-seed", str(self.seed)]
        for key, value in self.options.items():
            said += [
                "--set",
                f"split.{key}={value if isinstance(value, str) else json.dumps(value)}",
            ]
        return said


def dealt(chosen: Chosen, data: Dataset, split: SplitChoice) -> Dealt:
    """The split applied to the dataset, and what its clip table alone says of leaks.

    Raises:
        GenrecoreError: The clips cannot be split this way, and why.
    """
    what = [split.name, dict(split.options), split.seed, split.fold]
    return _dealt(chosen.key, data.stamp, json.dumps(what, sort_keys=True), data)


@st.cache_resource(max_entries=16, show_spinner="Dealing out the clips …")
def _dealt(key: str, stamp: str, split: str, _data: Dataset) -> Dealt:
    name, options, seed, fold = json.loads(split)
    table = splits.apply(_data.clips, name, options, seed=seed, fold=fold)
    return Dealt(
        splits.counts(table),
        splits.describe(name, options, fold),
        tuple(splits.notes(table)),
        audit(table),
    )


def prepare_words(chosen: Chosen) -> list[str]:
    """The command after `genrecore` that decodes this dataset."""
    return ["datasets", "prepare", chosen.name, *chosen.words, "--json"]


def audit_words(chosen: Chosen, split: SplitChoice | None) -> list[str]:
    """The command after `genrecore` that audits this dataset, and its split where one is given."""
    return [
        "datasets",
        "audit",
        chosen.name,
        *chosen.words,
        *(split.words if split else []),
        "--json",
    ]


def latest(arguments: Sequence[str]) -> Task | None:
    """The newest task of exactly these arguments."""
    return next(_tasks_of(arguments), None)


def latest_done(arguments: Sequence[str]) -> Task | None:
    """The newest of them that went well."""
    return next((task for task in _tasks_of(arguments) if task.state == "done"), None)


def _tasks_of(arguments: Sequence[str]) -> Iterator[Task]:
    wanted = list(arguments)
    for task in jobs.tasks()[:_MOST_TASKS]:
        if task.status.get("arguments") == wanted:
            yield task


def is_working(task: Task | None) -> bool:
    """Whether there is something to watch."""
    return task is not None and task.state in runs.LIVE


def answer(task: Task) -> dict[str, Any]:
    """The JSON document that the task's command printed; empty where there is none."""
    file = task.folder / jobfolder.LOG
    try:
        return _answer(str(file), file.stat().st_mtime_ns)
    except OSError:
        return {}


@st.cache_resource(max_entries=8, show_spinner=False)
def _answer(file: str, changed: int) -> dict[str, Any]:
    text = Path(file).read_text(encoding="utf-8", errors="replace")
    # A warning of a library may stand before it.
    start = 0 if text.startswith("{") else text.find("\n{") + 1
    try:
        found, _ = json.JSONDecoder().raw_decode(text, start)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def audited(task: Task) -> Audit | None:
    """The audit that a task found, or None where its answer cannot be read."""
    try:
        return Audit.from_dict(answer(task))
    except (KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True)
class Sound:
    """A decoded clip: wave (n_samples,) float32, and the same as a wav file."""

    wave: np.ndarray
    wav: bytes
    duration_s: float
    start_s: float


def sound(path: str) -> Sound:
    """A clip as it is heard, mono at 22 050 Hz.

    Raises:
        AudioError: The file cannot be played, and why.
    """
    return _sound(path, _changed(path))


@st.cache_resource(max_entries=16, show_spinner=False)
def _sound(path: str, changed: int) -> Sound:
    found = audio.decode(path, SAMPLE_RATE_HZ, middle_s=MOST_HEARD_S, least_s=0.0, most_s=None)
    wav = audio.to_wav_bytes(found.wave, SAMPLE_RATE_HZ)
    return Sound(found.wave, wav, found.duration_s, found.start_s)


def picture(path: str) -> np.ndarray:
    """A picture to look at, (height, width, 3) uint8.

    Raises:
        GenrecoreError: The file is no picture that can be read.
    """
    try:
        with Image.open(path) as opened:
            return np.asarray(opened.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError):
        raise GenrecoreError(f"{Path(path).name} is no picture that can be read.") from None


def table_rows(path: str, clip_id: str) -> pd.DataFrame:
    """What a table of descriptors says of one clip: a row a descriptor, a column a part."""
    table = _table(path, _changed(path))
    rows = table[table["clip_id"] == clip_id].drop(columns="clip_id").set_index("part")
    turned = rows.T
    turned.columns = [f"part {part}" for part in turned.columns]
    return turned.rename_axis("Descriptor").reset_index()


@st.cache_resource(max_entries=2, show_spinner=False)
def _table(path: str, changed: int) -> pd.DataFrame:
    return read_table(Path(path))


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError as error:
        raise GenrecoreError(f"{Path(path).name}: {jobfolder.in_words(error)}") from None
