"""The catalogue of columns: title, format and help of each column of a table.

The report, the pages and the commands take titles, formats and help from here, so that a number
has one name and one spelling everywhere. The columns of metrics come from their registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from genrecore.evaluation.metrics import METRICS, Metric, help_on
from genrecore.words import (
    DASH,
    decimals,
    p_value,
    percent,
    seconds,
    sheet_text,
    signed_points,
    thousands,
)

Format = Literal[
    "text", "count", "number", "decimal", "share", "points", "size", "p", "seconds", "length",
    "moment", "date", "link", "flag", "marks",
]  # fmt: skip
"""`number` has three decimals, `decimal` one; `share` is 0 … 1 and written as per cent, `points` a
difference of shares with its sign, `size` the same without it; `seconds` is a duration, `length`
that of a clip; `moment` and `date` are times of day, the latter with its year; `marks` are words
with commas between them."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its heading.
        format: How its values are written; of an interval, how its ends are.
        help: A sentence about what it means.
        upper: Of an interval the name of the upper end; the column itself holds the lower one.
        width: On a page, in pixels or a size's name of Streamlit.
        pinned: Whether it stays in sight when a wide table scrolls on a page.
    """

    title: str
    format: Format = "text"
    help: str = ""
    upper: str = ""
    width: Any = None
    pinned: bool = False

    @property
    def is_text(self) -> bool:
        """Whether it is aligned to the left."""
        return self.format == "text"

    def written(self, row: Mapping[Any, Any], name: str) -> str:
        """The text of this column, called `name` in the data, in a row."""
        value = row[name]
        if not self.upper or pd.isna(value):
            return written(value, self.format)
        return f"{written(value, self.format)} to {written(row[self.upper], self.format)}"


def written(value: Any, format: Format) -> str:
    """A value as people read it; a dash where nothing was measured."""
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return DASH
    match format:
        case "share":
            return percent(float(value))
        case "points":
            return signed_points(float(value))
        case "size":
            return decimals(100 * float(value))
        case "number":
            return decimals(float(value), 3)
        case "decimal":
            return decimals(float(value))
        case "count":  # of systems with several seeds a count may be a mean
            return thousands(value) if float(value).is_integer() else decimals(float(value))
        case "p":
            return p_value(float(value)).removeprefix("p ").removeprefix("= ")
        case "seconds":
            return seconds(float(value))
        case "flag":
            return "yes" if value else "no"
    return str(value)


def for_sheets(table: pd.DataFrame) -> pd.DataFrame:
    """The table with names that no spreadsheet takes for formulas, its heads too."""

    def safe(column: pd.Series) -> pd.Series:
        if column.dtype.kind in "biufcmM":  # numbers and times
            return column
        return column.map(lambda cell: sheet_text(cell) if isinstance(cell, str) else cell)

    return table.apply(safe).rename(columns=lambda name: sheet_text(str(name)))


def csv_text(table: pd.DataFrame) -> str:
    """A table as CSV: every column with all digits, and names as `for_sheets` writes them."""
    return str(for_sheets(table).to_csv(index=False))


def format_of(values: pd.Series) -> Format:
    """How a column that no catalogue knows is written: whole numbers as counts."""
    if pd.api.types.is_bool_dtype(values):
        return "flag"
    if not pd.api.types.is_numeric_dtype(values):
        return "text"
    return "count" if pd.api.types.is_integer_dtype(values) else "number"


COLUMNS: Mapping[str, Column] = {
    # Runs and systems.
    "title": Column("Run"),
    "run": Column("Run", "link"),
    "run_id": Column("Folder"),
    "name": Column("Name"),
    "starred": Column("★", help="Click on it to mark the run, or to take the mark away."),
    "tags": Column("Tags"),
    "state": Column("State", width=104),
    "model": Column("Model"),
    "dataset": Column("Dataset"),
    "split": Column("Split"),
    "split_title": Column("Split"),
    "fold": Column("Fold, from 0", "count"),
    "seed": Column("Seed", "count"),
    "split_seed": Column("Split seed", "count"),
    "marks": Column(
        "Marks", "marks",
        "Leak: training knew something of the test clips. Artists unknown: nobody can tell whether "
        "an artist is on both sides of the split. Encoder's music unknown: nobody can tell whether "
        "the encoder was trained on test clips. Rehearsal: only a few clips took part. The run's "
        "page says more.",
        width=190,
    ),
    "badge": Column("Warning"),
    "created": Column("Queued", "moment"),
    "note": Column("Note"),
    "reason": Column("Reason"),
    "audit": Column("Audit"),
    "n_train": Column("Training clips", "count"),
    "n_valid": Column("Validation clips", "count"),
    "n_test": Column("Test clips", "count"),
    "choose_epoch": Column("Epoch kept"),
    # Scores.
    "n_runs": Column("Tests", "count", "Seeds, or sets of folds, that are averaged."),
    "n_clips": Column("Test clips", "count"),
    "accuracy_low": Column(
        "95 % interval", "share",
        "Clips of one artist count as alike, and several seeds are covered; where no artist is "
        "known, Wilson's interval, which takes clips for independent.",
        "accuracy_high",
    ),
    "seed_low": Column("Worst to best test", "share", upper="seed_high"),
    "recall": Column("Recall", "share", "The share of the genre's clips that is recognised."),
    "recall_low": Column("95 % interval", "share", upper="recall_high"),
    "precision": Column("Precision", "share", "The share of right predictions of the genre."),
    "f1": Column("F1", "number", "The harmonic mean of precision and recall."),
    # Training and cost.
    "epochs": Column("Epoch", width=96),
    "n_epochs": Column("Epochs", "count"),
    "best_epoch": Column("Best epoch", "count", "Chosen on the validation clips, and tested."),
    "best": Column("Best", "share", "Best accuracy on the validation clips so far."),
    "left_s": Column("Time left", "seconds", width=96),
    "train_s": Column("Training time", "seconds", "Without the time in which it was stopped."),
    "n_parameters": Column("Parameters", "count"),
    "n_multiply_adds": Column(
        "Multiply–adds, 30 s", "count", "Of a clip of 30 s, in the network alone."
    ),
    "latency_ms": Column("Latency, 30 s, ms", "decimal", "Of a clip of 30 s."),
    "device": Column("Trained on"),
    "measured_on": Column("Latency measured on"),
    # Clips.
    "clip_id": Column("Clip"),
    "genre": Column("Genre"),
    "artist": Column("Artist"),
    "album": Column("Album"),
    "duration_s": Column("Length", "length"),
    "predicted": Column("Predicted"),
    "certainty": Column("Certainty", "share"),
    "label_proba": Column("For the label", "share"),
    "distance": Column("Distance", "number"),
    # Two runs or systems on the same clips.
    "title_a": Column("A"),
    "title_b": Column("B"),
    "both": Column("Both right", "count"),
    "neither": Column("Both wrong", "count"),
    "only_a": Column("Only A right", "count"),
    "only_b": Column("Only B right", "count"),
    "difference": Column("A − B, points", "points"),
    "low": Column("95 % interval", "points", upper="high"),
    "p": Column("p", "p", "Clips of one artist, and seeds, count as alike."),
    "p_mcnemar": Column("p, McNemar", "p", "Mid-p; it takes all clips for independent."),
    "p_holm": Column("p, all pairs", "p", "Adjusted for the number of pairs (Holm)."),
    "verdict": Column("Verdict"),
    "resolved": Column(
        "Resolves, points", "size",
        "The smallest true difference that these clips would show four times in five.",
    ),
    # Answers that may be "not sure".
    "area": Column(
        "Mean error", "share",
        "Of the clips answered, the surest first, averaged over all shares: the area under the "
        "risk–coverage curve (AURC). Less is better.",
    ),
    "area_low": Column("95 % interval", "share", upper="area_high"),
    "normalised": Column(
        "Normalised", "number",
        "0: all mistakes are on the clips that it is least sure of; 1: they may be anywhere. It "
        "says what a run knows of its mistakes, however many they are.",
    ),
    "normalised_low": Column("Normalised, 95 %", "number", upper="normalised_high"),
    "threshold": Column("Answered from", "share", "The least calibrated probability of an answer."),
    "coverage": Column("Answered", "share", "Of the test clips that are predicted as the genre."),
    "coverage_low": Column("Answered, 95 %", "share", upper="coverage_high"),
    "reached": Column("Of these right", "share", "Of the test clips that are answered."),
    "reached_low": Column("Right, 95 %", "share", upper="reached_high"),
    # How much a genre depends on the model.
    "lowest": Column("Lowest recall", "share"),
    "worst": Column("of"),
    "highest": Column("Highest recall", "share"),
    "dependence": Column("Depends on the model"),
}  # fmt: skip


def find_column(name: str) -> Column | None:
    """The column of this name in the data: the catalogue's or a metric's, None where unknown."""
    if name in METRICS:
        return metric_column(METRICS[name])
    return COLUMNS.get(name)


def metric_column(metric: Metric) -> Column:
    """The column with the values of a metric."""
    return Column(metric.title, metric.facts.format, help_on(metric))


def _columns(names: str, **special: Column) -> dict[str, Column]:
    return {name: special.get(name) or COLUMNS[name] for name in names.split()}


def score_columns() -> dict[str, Column]:
    """Columns of `Comparison.table`, with those of all metrics registered by now."""
    metrics = {name: metric_column(metric) for name, metric in METRICS.items()}
    accuracy = {"accuracy": metrics.pop("accuracy")}
    first, second = _columns("title n_runs n_clips"), _columns("accuracy_low seed_low")
    return first | accuracy | second | metrics | _columns("badge")


COSTS = _columns(
    "title best_epoch n_epochs n_parameters n_multiply_adds train_s latency_ms device measured_on"
)
PAIRS = _columns(
    "title_a title_b n_clips both only_a only_b neither difference low p p_mcnemar p_holm verdict "
    "resolved",
    n_clips=Column("Shared clips", "count"),
)
GENRES = _columns("title genre n_clips recall recall_low precision f1")
AREAS = _columns("title area area_low normalised normalised_low")
THRESHOLDS = _columns(
    "genre n_valid threshold lowest n_test coverage coverage_low reached reached_low",
    n_valid=Column("Validation clips", "count", "That are predicted as the genre."),
    n_test=Column("Test clips", "count", "That are predicted as the genre."),
    lowest=Column(
        "Lowest possible",
        "share",
        "The lowest threshold that the validation clips do not speak against.",
    ),
)
DEPENDENCE = _columns(
    "genre n_clips lowest worst highest best p_holm dependence",
    best=COLUMNS["worst"],
    p_holm=Column("p, all genres", "p", "Cochran's Q, adjusted for the number of genres."),
)
RECORDS = _columns(
    "title split accuracy accuracy_low spread n_test pretraining source protocol parameters_m kind "
    "note",
    title=Column("System", width=200),
    split=Column("Split", width=110),
    accuracy=Column("Accuracy", "share", width=80),
    accuracy_low=Column(
        "95 % interval", "share",
        "For the test clips and the printed spread; none where the number of clips is not known.",
        "accuracy_high", 130,
    ),
    spread=Column("±, points", "size", "The spread over seeds, as printed.", width=76),
    n_test=Column("Clips", "count", "Of the test; none where it is not known.", width=64),
    pretraining=Column("Pretrained on", width=180),
    source=Column("Source", width=220),
    protocol=Column("Trained here", width=180),
    parameters_m=Column("Parameters, millions", "decimal"),
    kind=Column("Who measured", "text", "Printed by its authors, reproduced, or independent."),
)  # fmt: skip
OWN_RESULTS = _columns(
    "title marks accuracy accuracy_low n_seeds n_clips verdict",
    title=Column("Yours"),
    accuracy=Column("Accuracy", "share"),
    n_seeds=Column("Seeds", "count"),
)
PROTOCOL = _columns(
    "title run_id dataset split fold seed split_seed n_train n_valid n_test choose_epoch audit"
)
