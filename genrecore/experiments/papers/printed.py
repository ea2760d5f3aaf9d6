"""A number as a study prints it, what it measures, and its value."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict

from genrecore.errors import GenrecoreError

MEASURES = {
    "test_accuracy": "test accuracy",
    "valid_accuracy": "validation accuracy",
    "train_accuracy": "training accuracy",
    "accuracy": "accuracy, of which clips is not stated",
    "recall": "recall of a genre",
    "best_epoch": "epoch of the best validation accuracy",
    "minutes": "training time in minutes",
    "parameters": "trainable parameters",
    "": "",
}
"""What a printed number measures."""

SHARES = ("test_accuracy", "valid_accuracy", "train_accuracy", "accuracy", "recall")
"""Measures that are shares of clips."""


class Printed(BaseModel):
    """One printed number; `words` is the line or sentence that contains it, both quoted literally.

    Attributes:
        place: `Table 1` or `section 5`.
        measure: A key of `MEASURES`.
        system: A row or choice, or empty.
        genre: The genre of a recall.
        epochs: The first and the last epoch that an accuracy is of, where it is of a curve.
        bound: Whether the number is a bound that the accuracy is over or under.
        missing: Whether there is no result (an empty cell, a zero for not reported).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    section: str
    place: str
    words: str
    printed: str
    measure: str
    system: str
    genre: str = ""
    epochs: tuple[int, int] | None = None
    bound: Literal["", "over", "under"] = ""
    missing: bool = False

    @property
    def value(self) -> float:
        """The number: shares from 0 to 1; nan where there is none."""
        return float("nan") if self.missing else number(self.printed)

    @property
    def shown(self) -> str:
        """The printed number without marks of typesetting."""
        if self.missing:
            return "not reported" if self.printed.strip() else ""
        plain = re.sub(r"</?b>|\$|\\approx\s*", "", self.printed).strip()
        return f"{self.bound} {plain}".strip()

    @property
    def quantity(self) -> str:
        """What it measures, for people."""
        title = MEASURES[self.measure] + (f" ({self.genre})" if self.genre else "")
        return title + (f" in {epochs_in_words(self.epochs)}" if self.epochs else "")


def epochs_in_words(epochs: tuple[int, int]) -> str:
    """`epoch 9`, `epochs 7 to 50`."""
    first, last = epochs
    return f"epoch {first}" if first == last else f"epochs {first} to {last}"


def number(printed: str) -> float:
    """The value of a printed number: `87.5%` is 0.875, `≈ 62m` is 62 million, `<2` is 2.

    Raises:
        GenrecoreError: It holds no number.
    """
    plain = re.sub(r"</?b>|\$|\\approx|,|~|<|\s", "", printed)
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(%|m)?", plain)
    if match is None:
        raise GenrecoreError(f"{printed!r} is not a number.")
    factor = {"%": 0.01, "m": 1e6, None: 1.0}[match[2]]
    return round(float(match[1]) * factor, 10)
