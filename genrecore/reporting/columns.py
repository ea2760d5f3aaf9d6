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
class TableColumn:
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


def find(columns: Iterable[TableColumn], key: str) -> TableColumn:
    """The column with this name in the data."""
    return next(column for column in columns if column.key == key)


def metric_columns() -> tuple[TableColumn, ...]:
    """A column for each registered metric besides the accuracy."""
    return tuple(
        TableColumn(name, metric.title, metric.facts.format, help=help_on(metric))
        for name, metric in METRICS.items()
        if name != "accuracy"
    )


def score_columns() -> tuple[TableColumn, ...]:
    """Columns of `Comparison.table`, and of a leaderboard as far as it has them."""
    return (
        TableColumn("title", "Run"),
        TableColumn("n_runs", "Tests", "count", help="Seeds, or sets of folds, that are averaged."),
        TableColumn("n_clips", "Test clips", "count"),
        TableColumn("accuracy", "Accuracy", "share", help=help_on(METRICS["accuracy"])),
        TableColumn(
            "accuracy_low", "95 % interval", "share", "accuracy_high", "Wilson's interval."
        ),
        TableColumn(
            "artists_low", "95 %, by artist", "share", "artists_high",
            "Bootstrap: all clips of an artist are drawn together; seeds, where there are several, "
            "are drawn as well.",
        ),
        TableColumn("seed_low", "Worst to best test", "share", "seed_high"),
        *metric_columns(),
        TableColumn("badge", "Warning"),
    )  # fmt: skip


COSTS = (
    TableColumn("title", "Run"),
    TableColumn(
        "best_epoch", "Epoch kept", "count", help="Chosen on the validation clips, and tested."
    ),
    TableColumn("n_epochs", "of", "count"),
    TableColumn("n_parameters", "Parameters", "count"),
    TableColumn(
        "n_multiply_adds", "Multiply–adds, 30 s", "count",
        help="Of a clip of 30 s, in products of the network.",
    ),
    TableColumn("train_s", "Training", "seconds", help="Without the time in which it was stopped."),
    TableColumn("latency_ms", "Latency, 30 s, ms", "number", help="Of a clip of 30 s."),
    TableColumn("device", "Trained on"),
    TableColumn("measured_on", "Latency measured on"),
)  # fmt: skip
PAIRS = (
    TableColumn("title_a", "A"),
    TableColumn("title_b", "B"),
    TableColumn("n_clips", "Shared clips", "count"),
    TableColumn("both", "Both right", "count"),
    TableColumn("only_a", "Only A", "count"),
    TableColumn("only_b", "Only B", "count"),
    TableColumn("neither", "Both wrong", "count"),
    TableColumn("difference", "A − B, points", "points"),
    TableColumn("low", "95 % interval", "points", "high"),
    TableColumn("p", "p", "p", help="McNemar's test, mid-p; of several seeds Student's t."),
    TableColumn("p_exact", "p, exact", "p", help="McNemar's exact test."),
    TableColumn("p_holm", "p, all pairs", "p", help="Adjusted for the number of pairs (Holm)."),
    TableColumn("verdict", "Verdict"),
    TableColumn(
        "resolved", "Resolves, points", "size",
        help="The smallest true difference that these clips would show four times in five.",
    ),
)  # fmt: skip
GENRES = (
    TableColumn("title", "Run"),
    TableColumn("genre", "Genre"),
    TableColumn("n_clips", "Test clips", "count"),
    TableColumn(
        "recall", "Recall", "share", help="The share of the genre's clips that is recognised."
    ),
    TableColumn("recall_low", "95 % interval", "share", "recall_high"),
    TableColumn(
        "precision", "Precision", "share", help="The share of right predictions of the genre."
    ),
    TableColumn("f1", "F1", "number", help="The harmonic mean of precision and recall."),
)
DEPENDENCE = (
    TableColumn("genre", "Genre"),
    TableColumn("n_clips", "Test clips", "count"),
    TableColumn("lowest", "Lowest recall", "share"),
    TableColumn("worst", "of"),
    TableColumn("highest", "Highest recall", "share"),
    TableColumn("best", "of"),
    TableColumn(
        "p_holm", "p, all genres", "p", help="Cochran's Q, adjusted for the number of genres."
    ),
    TableColumn("dependence", "Depends on the model"),
)
PROTOCOL = (
    TableColumn("title", "Run"),
    TableColumn("run_id", "Folder"),
    TableColumn("dataset", "Dataset"),
    TableColumn("split", "Split"),
    TableColumn("fold", "Fold", "count"),
    TableColumn("seed", "Seed", "count"),
    TableColumn("split_seed", "Split seed", "count"),
    TableColumn("n_train", "Training clips", "count"),
    TableColumn("n_valid", "Validation clips", "count"),
    TableColumn("n_test", "Test clips", "count"),
    TableColumn("choose_epoch", "Epoch kept"),
    TableColumn("audit", "Audit"),
)
