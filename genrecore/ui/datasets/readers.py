"""What the page Datasets reads: clip tables, splits, preparations and audits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from genrecore.data import cached_results, datasets, splits
from genrecore.data import genres as relabel
from genrecore.data.audit import Audit
from genrecore.data.audit import audit as audit_clips
from genrecore.data.datasets import DATASETS
from genrecore.data.datasets.loaded import files_of
from genrecore.inference.label_doubts import LabelDoubts
from genrecore.ui.datasets.choice import DatasetChoice, SplitChoice, config_of
from genrecore.ui.parts.cache import cached_by_files, no_files


@dataclass(frozen=True)
class Dataset:
    """A clip table as a loader gave it, named by `key`. Visitors share it: never change it.

    Attributes:
        left_out: `clip_id, reason` of what the loader left out.
        notes: What else the loader says, in sentences.
    """

    clips: pd.DataFrame
    left_out: tuple[Mapping[str, str], ...]
    notes: tuple[str, ...]
    key: str

    @property
    def medium(self) -> str:
        """`audio`, `image`, `table`, `vector` or `sequence`."""
        return str(self.clips["medium"].iloc[0])


def is_made(dataset: DatasetChoice) -> bool:
    """Whether the dataset's files exist; demo music has to be made first."""
    choice = DATASETS.choose(dataset.name, dataset.options)
    return choice.facts.is_made is None or choice.facts.is_made(choice.options)


def _files_of(dataset: DatasetChoice) -> Iterator[Path]:
    return files_of(dataset.options)


@cached_by_files(_files_of, spinner="Reading the dataset …", max_entries=4, shared=True)
def read_dataset(dataset: DatasetChoice) -> Dataset:
    """The dataset's clip table, read again after its folders have changed.

    Raises:
        GenrecoreError: What the loader found wrong, in a sentence.
    """
    table = datasets.load(dataset.name, dataset.options)
    left_out, notes = table.attrs.get("left_out", []), table.attrs.get("notes", [])
    key = cached_results.stamp(table)
    return Dataset(table, tuple(left_out), tuple(map(str, notes)), key)


@dataclass(frozen=True)
class SplitPreview:
    """A split of a dataset in numbers.

    Attributes:
        counts: Clips by genre and split.
        lengths: `split, duration_s` of each clip.
        description: What the split does, in a sentence.
        leaks: Those that the clip table alone shows.
    """

    counts: pd.DataFrame
    lengths: pd.DataFrame
    description: str
    notes: tuple[str, ...]
    leaks: Audit


@cached_by_files(no_files, spinner="Splitting the clips …", max_entries=16, shared=True)
def split_preview(
    data: Dataset, split: SplitChoice, unreadable: tuple[str, ...] = ()
) -> SplitPreview:
    """The split applied to the dataset, without `unreadable` clips, as a run leaves them out.

    Raises:
        GenrecoreError: The clips cannot be split this way, or the genres are not there, and why.
    """
    table, changes = relabel.apply(data.clips, split.genres.leave_out, split.genres.merge)
    if unreadable:
        table = table[~table["clip_id"].isin(unreadable)].reset_index(drop=True)
    scheme = splits.SPLITS.choose(split.name, split.options)
    table = splits.apply(table, scheme, seed=split.seed, fold=split.fold)
    return SplitPreview(
        splits.counts(table),
        table[["split", "duration_s"]].astype({"split": "category"}),
        splits.describe(scheme, split.fold),
        (*changes, *splits.notes(table)),
        audit_clips(table),
    )


@dataclass(frozen=True)
class Preparation:
    """Usable clips, `clip_id, reason` of the others, and when, in seconds since 1970."""

    n_clips: int
    skipped: tuple[Mapping[str, str], ...]
    at: float


def preparation(dataset: DatasetChoice) -> Preparation | None:
    """The last preparation of this dataset, by a page or a command."""
    result = cached_results.newest("prepare", config_of(dataset))
    if result is None:
        return None
    try:
        skipped = tuple(result.document["skipped"])
        return Preparation(int(result.document["n_clips"]), skipped, result.at)
    except (KeyError, TypeError, ValueError):  # of another version
        return None


@dataclass(frozen=True)
class StoredAudit:
    """An audit, when it was made, and whether its clips are those of now."""

    audit: Audit
    at: float
    current: bool


def stored_audit(
    dataset: DatasetChoice, data: Dataset, split: SplitChoice | None
) -> StoredAudit | None:
    """The last audit of this dataset or of this split of it, by a page or a command.

    Raises:
        GenrecoreError: The genres cannot be read.
    """
    config = config_of(dataset, split)
    result = cached_results.newest("audit", config, with_split=split is not None)
    if result is None:
        return None
    try:
        audit = Audit.from_dict(result.document)
        return StoredAudit(audit, result.at, result.stamp == data.key)
    except (KeyError, TypeError, ValueError):  # of another version
        return None


@dataclass(frozen=True)
class StoredDoubts:
    """Doubtful labels, when they were found, and whether the clips are those of now."""

    doubts: LabelDoubts
    at: float
    current: bool


def stored_doubts(dataset: DatasetChoice, data: Dataset) -> StoredDoubts | None:
    """The last ranking of this dataset's labels, by a page or a command."""
    result = cached_results.newest("labels", config_of(dataset))
    if result is None:
        return None
    try:
        doubts = LabelDoubts.from_dict(result.document)
        return StoredDoubts(doubts, result.at, result.stamp == data.key)
    except (KeyError, TypeError, ValueError):  # of another version
        return None
