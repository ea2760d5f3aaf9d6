"""The clip table: one row a clip, the contract between datasets and everything after them.

Columns, in this order:

| column | meaning |
|---|---|
| `clip_id` | the dataset's own identifier, text, unique, the same in every medium |
| `path` | absolute path of the file |
| `medium` | `audio`, `image`, `table`, `vector` or `sequence` |
| `genre` | the label |
| `artist` | text, or missing where it is not known |
| `album` | text, or missing |
| `duration_s` | seconds, or NaN where the loader does not know it |
| `split` | `train`, `valid`, `test`, or missing before a split scheme has been applied |
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from genrecore.errors import GenrecoreError
from genrecore.store.tables import MOST_GENRES

COLUMNS = ("clip_id", "path", "medium", "genre", "artist", "album", "duration_s", "split")
SPLITS = ("train", "valid", "test")


class UnfitGenresError(GenrecoreError):
    """Some `genres` stand in the way of what is asked for; the others do not."""

    def __init__(self, message: str, genres: Iterable[str]) -> None:
        super().__init__(message)
        self.genres = tuple(sorted(map(str, genres)))


def clip_table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A clip table from rows, sorted by genre and clip_id, absent columns filled as missing."""
    table = pd.DataFrame(list(rows), columns=list(COLUMNS))
    table["duration_s"] = table["duration_s"].astype("float64")
    for column in ("clip_id", "path", "medium", "genre", "artist", "album", "split"):
        table[column] = table[column].astype("string")
    table["medium"] = table["medium"].fillna("audio")
    return table.sort_values(["genre", "clip_id"], ignore_index=True)


def same_names(names: pd.Series) -> pd.Series:
    """One text for all spellings of an artist or album that differ in case, spaces and the form of
    Unicode only; missing where there is no name. Same index."""
    return names.astype("string").map(_one_name, na_action="ignore").astype("string")


def _one_name(name: str) -> str | None:
    return " ".join(unicodedata.normalize("NFC", name).casefold().split()) or None


def genres_of(clips: pd.DataFrame) -> list[str]:
    """The genres, sorted by name: the order of every logit, column and matrix."""
    return sorted(clips["genre"].dropna().unique().tolist())


LEAST_PER_GENRE = 3
"""Clips that a genre needs: one for training, one for validation, one for the test."""


def check_table(clips: pd.DataFrame, dataset: str) -> None:
    """Refuses a table from which no genres left out or merged make one to learn from.

    Raises:
        GenrecoreError: No clips, one genre only, or a clip_id that occurs twice.
    """
    if clips.empty:
        raise GenrecoreError(f"The dataset {dataset} has no clips: nothing to train on.")
    if not clips["clip_id"].is_unique:
        twice = clips.loc[clips["clip_id"].duplicated(), "clip_id"].iloc[0]
        raise GenrecoreError(f"The dataset {dataset} names the clip {twice!r} twice.")
    counts = clips["genre"].value_counts()
    if len(counts) < 2:
        raise GenrecoreError(
            f"The dataset {dataset} has one genre only ({counts.index[0]}); "
            "a classifier needs at least two."
        )


def check(clips: pd.DataFrame, dataset: str, least_per_genre: int = LEAST_PER_GENRE) -> None:
    """Refuses a table that no classifier can learn from, once genres are left out and merged.

    Raises:
        UnfitGenresError: Genres with fewer than `least_per_genre` clips, or too many genres.
        GenrecoreError: As `check_table`.
    """
    check_table(clips, dataset)
    counts = clips["genre"].value_counts()
    if len(counts) > MOST_GENRES:
        raise UnfitGenresError(
            f"The dataset {dataset} has {len(counts)} genres; a run takes at most {MOST_GENRES}. "
            "Leave some out, or merge them.",
            counts.index[MOST_GENRES:],
        )
    small = counts[counts < least_per_genre].sort_index()
    if len(small):
        named = ", ".join(f"{genre} ({n})" for genre, n in small.items())
        raise UnfitGenresError(
            f"The dataset {dataset} has too few clips in {named}; training, validation and test "
            f"need at least {least_per_genre} clips of every genre.",
            small.index,
        )
