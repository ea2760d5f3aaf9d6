"""The registry of split schemes, and functions that several schemes use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from pydantic import Field

from genrecore.config.registry import Options, Registry
from genrecore.config.training import zero_means
from genrecore.data.clips import UnfitGenresError
from genrecore.errors import UsageError


@dataclass(frozen=True)
class SplitFacts:
    """Facts about a split scheme.

    Attributes:
        says: A sentence about it for `describe`, with the options' names in braces.
        says_albums: The same where albums are kept together as well.
        folds: Whether its options have `n_folds`; otherwise fold 0 is the only one.
        seeded: Whether the split seed matters.
        keeps: Columns whose known values never lie on both sides.
        validates: Whether it has validation clips.
        published_with: Whether it comes with one dataset and is no procedure for others.
    """

    says: str
    says_albums: str = ""
    folds: bool = False
    seeded: bool = True
    keeps: tuple[str, ...] = ()
    validates: bool = True
    published_with: bool = False


SPLITS = Registry("split", SplitFacts)
"""Split schemes. The thing is `scheme(clips, options, seed, fold) -> Series` of `train`, `valid`,
`test` or missing, aligned with the clip table's index.
"""


USUAL = "usual practice: clips of one artist, even of one recording, may stand on both sides"
ARTIST_FILTER = (
    "Pampalk, Flexer & Widmer, Improvements of audio-based music similarity and genre "
    "classification, ISMIR 2005 (the artist filter)"
)


class FoldOptions(Options):
    """The number of parts."""

    n_folds: int = Field(
        5,
        title="Folds",
        description="Parts of equal size: one to test, one to validate, the others to train",
        ge=3,
        le=20,
    )


_RELATIVE = "Relative to the other shares"


class TwoWayOptions(Options):
    """The ratio of training to test."""

    train: float = Field(8.0, title="Training share", description=_RELATIVE, gt=0, le=100)
    test: float = Field(2.0, title="Test share", description=_RELATIVE, gt=0, le=100)


class ThreeWayOptions(Options):
    """The ratio of training to validation to test."""

    train: float = Field(8.0, title="Training share", description=_RELATIVE, gt=0, le=100)
    valid: float = Field(
        1.0,
        title="Validation share",
        description=_RELATIVE,
        ge=0,
        le=100,
        json_schema_extra=zero_means("none: the last epoch is tested"),
    )
    test: float = Field(1.0, title="Test share", description=_RELATIVE, gt=0, le=100)


def check_fold(fold: int, n_folds: int) -> None:
    """Refuses a fold that does not exist."""
    if not 0 <= fold < n_folds:
        raise UsageError(
            f"There is no fold {fold}; the {n_folds} folds are counted from 0 to {n_folds - 1}."
        )


def refuse_small(numbers: pd.Series, n_parts: int, noun: str, part: str = "folds") -> None:
    """Refuses genres that cannot be in every part.

    Args:
        numbers: How many clips or artists each genre has.
        n_parts: How many parts there are.
        noun: What is counted, in the plural.
        part: What the parts are called (folds, parts).
    """
    small = numbers[numbers < n_parts].sort_index()
    if small.empty:
        return
    named = ", ".join(f"{genre} ({n})" for genre, n in small.items())
    least = int(small.min())
    advice = f"; choose at most {least} folds" if part == "folds" and least >= 3 else ""
    three = "training, validation and test" if n_parts > 2 else "training and test"
    raise UnfitGenresError(
        f"There are too few {noun} in {named} for {three} to have each "
        f"genre: {n_parts} {part} need {n_parts} {noun} a genre{advice}.",
        small.index,
    )


def as_fold(part: pd.Series, fold: int, n_folds: int) -> pd.Series:
    """Parts 0 … n_folds - 1 as the splits of one fold."""
    number = part.to_numpy()
    names = np.full(len(number), "train", dtype=object)
    names[number == fold] = "test"
    names[number == (fold + 1) % n_folds] = "valid"
    return as_split(names, part.index)


def as_split(names: np.ndarray, index: pd.Index) -> pd.Series:
    """`train`, `valid`, `test` or missing (n,) as the column `split`."""
    return pd.Series(names, index=index, dtype="string", name="split")
