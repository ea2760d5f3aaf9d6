"""The catalogue of columns: what a table's column is called, how it is written, what it means.

The report, the pages and the commands take titles, formats and help from here, so that a number
has one name and one spelling everywhere. The columns of metrics come from their registry.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from genrecore.evaluation.metrics import METRICS, help_on
from genrecore.words import DASH, decimals, p_value, percent, seconds, signed_points, thousands


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: Its name in the data; for an interval the name of the lower end.
        title: Its heading.
        format: `text`, `count`, `number` (three decimals), `share` (0 … 1, written as per cent),
            `points` (a difference of shares, with its sign), `size` (the same without a sign),
            `p` or `seconds`; of an interval that of its ends.
        upper: The name of an interval's upper end.
        help: A sentence about what it means.
    """

    key: str
    title: str
    format: str = "text"
    upper: str = ""
    help: str = ""

    @property
    def is_text(self) -> bool:
        """Whether it is aligned to the left."""
        return self.format == "text"

    def cell(self, row: Any) -> str:
        """The text of this column in a row (a mapping by name)."""
        value = row[self.key]
        if not self.upper or pd.isna(value):
            return written(value, self.format)
        return f"{written(value, self.format)} to {written(row[self.upper], self.format)}"


def written(value: Any, format: str) -> str:
    """A value as people read it; a dash where nothing was measured."""
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return DASH
    if format == "share":
        return percent(float(value))
    if format == "points":
        return signed_points(float(value))
    if format == "size":
        return decimals(100 * float(value))
    if format == "number":
        return decimals(float(value), 3)
    if format == "count":  # of systems with several seeds a count may be a mean
        return thousands(value) if float(value).is_integer() else decimals(float(value))
    if format == "p":
        return p_value(float(value)).removeprefix("p ").removeprefix("= ")
    if format == "seconds":
        return seconds(float(value))
    return str(value)


def find(columns: Iterable[Column], key: str) -> Column:
    """The column with this name in the data."""
    return next(column for column in columns if column.key == key)


def metric_columns() -> tuple[Column, ...]:
    """A column for each registered metric besides the accuracy."""
    return tuple(
        Column(name, metric.title, metric.facts.format, help=help_on(metric))
        for name, metric in METRICS.items()
        if name != "accuracy"
    )


def score_columns() -> tuple[Column, ...]:
    """Columns of `Comparison.table`, and of a leaderboard as far as it has them."""
    return (
        Column("title", "Run"),
        Column("n_runs", "Tests", "count", help="Seeds, or sets of folds, that are averaged."),
        Column("n_clips", "Test clips", "count"),
        Column("accuracy", "Accuracy", "share", help=help_on(METRICS["accuracy"])),
        Column("accuracy_low", "95 % interval", "share", "accuracy_high", "Wilson's interval."),
        Column(
            "artists_low", "95 %, by artist", "share", "artists_high",
            "Bootstrap: all clips of an artist are drawn together; seeds, where there are several, "
            "are drawn as well.",
        ),
        Column("seed_low", "Worst to best test", "share", "seed_high"),
        *metric_columns(),
        Column("badge", "Warning"),
    )  # fmt: skip


COSTS = (
    Column("title", "Run"),
    Column("best_epoch", "Epoch kept", "count", help="Chosen on the validation clips, and tested."),
    Column("n_epochs", "of", "count"),
    Column("n_parameters", "Parameters", "count"),
    Column(
        "n_multiply_adds", "Multiply–adds, 30 s", "count",
        help="Of a clip of 30 s, in products of the network.",
    ),
    Column("train_s", "Training", "seconds", help="Without the time in which it was stopped."),
    Column("latency_ms", "Latency, 30 s, ms", "number", help="Of a clip of 30 s."),
    Column("device", "Trained on"),
    Column("measured_on", "Latency measured on"),
)  # fmt: skip
PAIRS = (
    Column("title_a", "A"),
    Column("title_b", "B"),
    Column("n_clips", "Shared clips", "count"),
    Column("both", "Both right", "count"),
    Column("only_a", "Only A", "count"),
    Column("only_b", "Only B", "count"),
    Column("neither", "Both wrong", "count"),
    Column("difference", "A − B, points", "points"),
    Column("low", "95 % interval", "points", "high"),
    Column("p", "p", "p", help="McNemar's test, mid-p; of several seeds Student's t."),
    Column("p_exact", "p, exact", "p", help="McNemar's exact test."),
    Column("p_holm", "p, all pairs", "p", help="Adjusted for the number of pairs (Holm)."),
    Column("verdict", "Verdict"),
    Column(
        "resolved", "Resolves, points", "size",
        help="The smallest true difference that these clips would show four times in five.",
    ),
)  # fmt: skip
GENRES = (
    Column("title", "Run"),
    Column("genre", "Genre"),
    Column("n_clips", "Test clips", "count"),
    Column("recall", "Recall", "share", help="The share of the genre's clips that is recognised."),
    Column("recall_low", "95 % interval", "share", "recall_high"),
    Column("precision", "Precision", "share", help="The share of right predictions of the genre."),
    Column("f1", "F1", "number", help="The harmonic mean of precision and recall."),
)
DEPENDENCE = (
    Column("genre", "Genre"),
    Column("n_clips", "Test clips", "count"),
    Column("lowest", "Lowest recall", "share"),
    Column("worst", "of"),
    Column("highest", "Highest recall", "share"),
    Column("best", "of"),
    Column("p_holm", "p, all genres", "p", help="Cochran's Q, adjusted for the number of genres."),
    Column("dependence", "Depends on the model"),
)
PROTOCOL = (
    Column("title", "Run"),
    Column("run_id", "Folder"),
    Column("dataset", "Dataset"),
    Column("split", "Split"),
    Column("fold", "Fold", "count"),
    Column("seed", "Seed", "count"),
    Column("split_seed", "Split seed", "count"),
    Column("n_train", "Training clips", "count"),
    Column("n_valid", "Validation clips", "count"),
    Column("n_test", "Test clips", "count"),
    Column("choose_epoch", "Epoch kept"),
    Column("audit", "Audit"),
)
