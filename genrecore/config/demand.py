"""What options ask of the data that a model learns from; said where the options are defined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class TrainingSet:
    """How much there is to learn from.

    Attributes:
        n_rows: Training segments, and their fixed copies.
        n_clips: Training clips of each genre.
    """

    n_rows: int
    n_clips: Mapping[str, int]


@dataclass(frozen=True)
class Shortage:
    """What options ask for and do not get.

    Attributes:
        sentence: What is asked for and what there is.
        changes: Values of the same options with which there is enough; may be empty.
        genres: Without these there is enough; may be empty.
        trains: Whether a model can be trained all the same, to little use.
    """

    sentence: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    genres: tuple[str, ...] = ()
    trains: bool = False
