"""What the page Datasets reads: clip tables, splits, audits, sound. This imports no torch."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from genrecore.audio import decode as audio
from genrecore.data import cached_results as answers
from genrecore.data import datasets, splits
from genrecore.data import genres as relabel
from genrecore.data.audit import Audit, audit
from genrecore.data.datasets import DATASETS, demo
from genrecore.data.datasets.demo import DemoOptions
from genrecore.data.datasets.tables import read_table
from genrecore.errors import GenrecoreError, UsageError, describe
from genrecore.ui.datasets.choice import Chosen, SplitChoice, config_of

SAMPLE_RATE_HZ = 22_050
MOST_HEARD_S = 60.0
"""Of a longer clip the middle is played: whole albums do not belong into a page."""

_MOST_ENTRIES = 5_000


@dataclass(frozen=True)
class Dataset:
    """A clip table as a loader gave it. It is shared between visitors: never changed.

    Attributes:
        clips: The table.
        left_out: `clip_id, reason` of what the loader left out.
        notes: What else it has to say, in sentences.
        stamp: Changes with the folders.
        digest: Changes with the table, as `answers.stamp`.
    """

    clips: pd.DataFrame
    left_out: tuple[Mapping[str, str], ...]
    notes: tuple[str, ...]
    stamp: str
    digest: str

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
    return Dataset(table, tuple(left_out), tuple(map(str, notes)), stamp, answers.stamp(table))


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
        return describe(error)
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
    """A split of a dataset in numbers.

    Attributes:
        counts: Clips by genre and part.
        lengths: `split, duration_s` of each clip.
        says: What the split does, in a sentence.
        notes: What else there is to say.
        verdict: What the clip table alone says of leaks.
    """

    counts: pd.DataFrame
    lengths: pd.DataFrame
    says: str
    notes: tuple[str, ...]
    verdict: Audit


def dealt(
    chosen: Chosen, data: Dataset, split: SplitChoice, unreadable: Collection[str] = ()
) -> Dealt:
    """The split applied to the dataset, and what its clip table alone says of leaks.

    Args:
        chosen: Names the dataset.
        data: The dataset.
        split: The split, and which genres it deals.
        unreadable: Clips that are left out of it, as a run leaves them out.

    Raises:
        GenrecoreError: The clips cannot be split this way, or the genres are not there, and why.
    """
    return _dealt(chosen.key, data.stamp, split.key, tuple(sorted(unreadable)), data, split)


@st.cache_resource(max_entries=16, show_spinner="Dealing out the clips …")
def _dealt(
    key: str,
    stamp: str,
    split_key: str,
    unreadable: tuple[str, ...],
    _data: Dataset,
    _split: SplitChoice,
) -> Dealt:
    table, changes = relabel.apply(_data.clips, _split.genres.leave_out, _split.genres.merge)
    if unreadable:
        table = table[~table["clip_id"].isin(unreadable)].reset_index(drop=True)
    table = splits.apply(table, _split.name, _split.options, seed=_split.seed, fold=_split.fold)
    return Dealt(
        splits.counts(table),
        table[["split", "duration_s"]].astype({"split": "category"}),
        splits.describe(_split.name, _split.options, _split.fold),
        (*changes, *splits.notes(table)),
        audit(table),
    )


@dataclass(frozen=True)
class Prepared:
    """What the last preparation found.

    Attributes:
        n_clips: Usable clips.
        skipped: `clip_id, reason` of the others.
        at: When, in seconds since the epoch.
    """

    n_clips: int
    skipped: tuple[Mapping[str, str], ...]
    at: float


def prepared(chosen: Chosen) -> Prepared | None:
    """The last preparation of this dataset, from here or from a shell."""
    answer = answers.newest("prepare", config_of(chosen))
    if answer is None:
        return None
    try:
        skipped = tuple(answer.document["skipped"])
        return Prepared(int(answer.document["n_clips"]), skipped, answer.at)
    except (KeyError, TypeError, ValueError):  # of another version
        return None


@dataclass(frozen=True)
class Audited:
    """The last audit of a choice, when it was made, and whether the clips were those of now."""

    found: Audit
    at: float
    current: bool


def audited(chosen: Chosen, data: Dataset, split: SplitChoice | None) -> Audited | None:
    """The last audit of this dataset or of this split of it, from here or from a shell.

    Raises:
        GenrecoreError: The genres cannot be read.
    """
    answer = answers.newest("audit", config_of(chosen, split), with_split=split is not None)
    if answer is None:
        return None
    try:
        found = Audit.from_dict(answer.document)
        return Audited(found, answer.at, answer.stamp == data.digest)
    except (KeyError, TypeError, ValueError):  # of another version
        return None


@dataclass(frozen=True)
class Sound:
    """A decoded clip: wave (n_samples,) float32, and the same as a wav file; `key` names it."""

    wave: np.ndarray
    wav: bytes
    duration_s: float
    start_s: float
    key: str


def sound(path: str) -> Sound:
    """A clip as it is heard, mono at 22 050 Hz.

    Raises:
        AudioError: The file cannot be played, and why.
    """
    return _sound(path, _changed(path))


@st.cache_resource(max_entries=24, show_spinner=False)
def _sound(path: str, changed: int) -> Sound:
    found = audio.decode(path, SAMPLE_RATE_HZ, middle_s=MOST_HEARD_S, least_s=0.0, most_s=None)
    wav = audio.to_wav_bytes(found.wave, SAMPLE_RATE_HZ)
    return Sound(found.wave, wav, found.duration_s, found.start_s, f"{path}|{changed}")


def spectrogram(heard: Sound) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A log-mel spectrogram to look at, as `inference.mel_picture`. The first one loads torch."""
    return _spectrogram(heard.key, heard)


@st.cache_resource(max_entries=24, show_spinner=False)
def _spectrogram(key: str, _heard: Sound) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from genrecore.inference import loaded as inference  # torch

    return inference.mel_picture(_heard.wave, SAMPLE_RATE_HZ)


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
        raise GenrecoreError(f"{Path(path).name}: {describe(error)}") from None
