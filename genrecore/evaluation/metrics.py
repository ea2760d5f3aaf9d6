"""Scores from stored predictions: computed when they are read, nan where nothing was measured.

The predictions table has one row a clip: `clip_id, split, genre, p_<genre>…`. Where it has a column
`artist`, intervals take clips of one artist for alike (`clustered`); else they are Wilson's.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import Literal

import numpy as np
import pandas as pd
from pydantic.fields import FieldInfo

from genrecore.config.registry import Entry, Options, Registry
from genrecore.errors import GenrecoreError, UsageError
from genrecore.evaluation import clustered
from genrecore.evaluation.significance import wilson
from genrecore.words import decimals, percent, uncapitalised


@dataclass(frozen=True)
class MetricFacts:
    """What tables, forms, commands and reports need to know about a metric.

    Attributes:
        format: `share` (written as a percentage) or `number` (three decimals).
        higher_is_better: Which direction is better.
        may_choose_epoch: Whether training computes it on the validation clips after every epoch,
            so that it may choose the epoch (`training.watch`).
    """

    format: Literal["share", "number"] = "number"
    higher_is_better: bool = True
    may_choose_epoch: bool = False

    def written(self, value: float) -> str:
        """A value as people read it."""
        return percent(value) if self.format == "share" else decimals(value, 3)


Metric = Entry[MetricFacts]

METRICS = Registry("metric", MetricFacts)
"""Metrics by name: functions `f(genre_index (n,), proba (n, k)) -> float`.

`genre_index` is the column of the labelled genre in `proba`. The predicted genre is the most
probable one, the first of equals. A clip with a probability that is no number has no prediction: it
counts as not recognised, and metrics of the probabilities themselves (log loss, calibration) are
nan. The first sentence of a function's docstring is its help in forms and tables.
"""

NO_PREDICTION = "no prediction"
"""Column of a confusion matrix of the clips whose probabilities are not numbers; stored files and
the output of commands use this name."""


def noun(metric: Metric) -> str:
    """A metric's title inside a sentence: `top-2 accuracy`."""
    return uncapitalised(metric.title)


def help_on(metric: Metric) -> str:
    """What a metric measures, in a sentence."""
    return " ".join((metric.thing.__doc__ or "").partition("\n\n")[0].split())


def watchable() -> dict[str, Metric]:
    """The metrics that may choose the epoch, by name, and the validation loss."""
    chosen = {name: entry for name, entry in METRICS.items() if entry.facts.may_choose_epoch}
    return {LOSS.name: LOSS} | chosen


def watched(name: str) -> Metric:
    """The metric that chooses the epoch (`training.watch`).

    Raises:
        UsageError: It is none of `watchable`.
    """
    metrics = watchable()
    if name not in metrics:
        raise UsageError(
            f"The metric that chooses the epoch is one of {', '.join(metrics)}; found {name!r}."
        )
    return metrics[name]


def choices(info: FieldInfo) -> tuple[str, ...]:
    """The metrics that a configuration's field may name; empty if it names no metric."""
    extra = info.json_schema_extra
    is_metric = isinstance(extra, dict) and extra.get("registry") == METRICS.noun
    return tuple(watchable()) if is_metric else ()


@METRICS.register(
    "accuracy",
    title="Accuracy",
    format="share",
    may_choose_epoch=True,
)
def accuracy(genre_index: np.ndarray, proba: np.ndarray) -> float:
    """The share of clips whose most probable genre is the labelled one."""
    return float((predicted_index(proba) == genre_index).mean()) if len(genre_index) else nan


@METRICS.register(
    "macro_f1",
    title="Macro-F1",
    source="van Rijsbergen (1979), Information retrieval; averaged over genres",
    may_choose_epoch=True,
)
def macro_f1(genre_index: np.ndarray, proba: np.ndarray) -> float:
    """F1, the harmonic mean of precision and recall, averaged over the genres.

    Genres count that are labelled or predicted at least once, as in scikit-learn's
    `f1_score(average="macro")`.
    """
    return _mean(_f1(_counts(genre_index, predicted_index(proba), proba.shape[1])))


@METRICS.register(
    "balanced_accuracy",
    title="Balanced accuracy",
    source="Brodersen et al. (2010), The balanced accuracy and its posterior distribution",
    format="share",
    may_choose_epoch=True,
)
def balanced_accuracy(genre_index: np.ndarray, proba: np.ndarray) -> float:
    """Recall averaged over the genres that are labelled at least once."""
    counts = _counts(genre_index, predicted_index(proba), proba.shape[1])
    return _mean(_ratio(np.diag(counts), counts.sum(axis=1)))


@METRICS.register(
    "top_2",
    title="Top-2 accuracy",
    source="Russakovsky et al. (2015), ImageNet large scale visual recognition challenge",
    format="share",
    may_choose_epoch=True,
)
def top_2(genre_index: np.ndarray, proba: np.ndarray) -> float:
    """The share of clips whose labelled genre is among the two most probable."""
    if not len(genre_index):
        return nan
    first_two = np.argsort(-proba, axis=1, kind="stable")[:, :2]
    right = (first_two == genre_index[:, None]).any(axis=1)
    return float((right & (predicted_index(proba) >= 0)).mean())


@METRICS.register(
    "log_loss",
    title="Log loss",
    source="Good (1952), Rational decisions",
    higher_is_better=False,
)
def log_loss(genre_index: np.ndarray, proba: np.ndarray) -> float:
    """The mean of -log(probability of the labelled genre), in nats.

    Rows are scaled to sum to 1, and probabilities kept above the spacing of float64 at 1 (so a
    certain mistake costs 36), as scikit-learn does.
    """
    if not len(genre_index):
        return nan
    wide = proba.astype(np.float64)
    wide /= wide.sum(axis=1, keepdims=True)
    of_label = wide[np.arange(len(wide)), genre_index]
    return float(-np.log(np.maximum(of_label, np.finfo(np.float64).eps)).mean())


def validation_loss(genre_index: np.ndarray, proba: np.ndarray) -> float:
    """The cross-entropy of the validation clips, in nats, as training watches it."""
    of_label = proba[np.arange(len(proba)), genre_index]
    # Clamped where a probability has rounded to 0, whose logarithm no average survives.
    return float(-np.log(np.maximum(of_label, 1e-12)).mean())


LOSS = Metric(
    "loss",
    validation_loss,
    "Loss",
    "Good (1952), Rational decisions",
    Options,
    MetricFacts(higher_is_better=False, may_choose_epoch=True),
)
"""No score of the test, but it may choose the epoch like the metrics that say so."""


@METRICS.register(
    "calibration_error",
    title="Calibration error",
    source="Naeini et al. (2015), Obtaining well calibrated probabilities; Guo et al. (2017)",
    format="share",
    higher_is_better=False,
)
def calibration_error(genre_index: np.ndarray, proba: np.ndarray) -> float:
    """The mean distance between certainty and accuracy (expected calibration error), a share.

    Predictions are put into ten bins of equal width by the probability of the predicted genre,
    (0, 0.1], …, (0.9, 1]; the mean is over the bins, weighted by their clips.

    Source: Naeini, Cooper & Hauskrecht (2015), Obtaining well calibrated probabilities using
    Bayesian binning, AAAI; for several classes as Guo, Pleiss, Sun & Weinberger (2017), On
    calibration of modern neural networks, section 2.
    """
    if not len(genre_index) or not np.isfinite(proba).all():
        return nan
    n_clips, certainty, right = _bins(genre_index, proba)
    return float(np.abs(right - certainty).sum() / n_clips.sum())


N_BINS = 10
"""Of the calibration error and its curve."""


def _bins(genre_index: np.ndarray, proba: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clips, summed certainty and right predictions in each bin of certainty, (N_BINS,) each."""
    certainty = proba.max(axis=1)
    index = np.clip(np.ceil(certainty * N_BINS).astype(int) - 1, 0, N_BINS - 1)
    right = proba.argmax(axis=1) == genre_index
    n_clips = np.bincount(index, minlength=N_BINS)
    sums = [np.bincount(index, values, N_BINS) for values in (certainty, right)]
    return n_clips, sums[0], sums[1]


def reliability(predictions: pd.DataFrame, genres: list[str]) -> pd.DataFrame:
    """The reliability diagram as a table, a row a bin of certainty that holds clips.

    Columns: `low, high` (the bin is (low, high]), `n_clips, certainty` (their mean), `accuracy,
    accuracy_low, accuracy_high` (with its 95 % Wilson interval). All rows of the table count
    (choose the split before), except clips without a prediction.
    Source: DeGroot & Fienberg (1983), The comparison and evaluation of forecasters.
    """
    genre_index, proba = as_arrays(predictions, genres)
    has_prediction = predicted_index(proba) >= 0
    n_clips, certainty, right = _bins(genre_index[has_prediction], proba[has_prediction])
    rows = []
    for k in np.flatnonzero(n_clips):
        n, n_right = int(n_clips[k]), int(right[k])
        ends = wilson(n_right, n)
        rows.append((k / N_BINS, (k + 1) / N_BINS, n, certainty[k] / n, n_right / n, *ends))
    columns = ["low", "high", "n_clips", "certainty", "accuracy", "accuracy_low", "accuracy_high"]
    return pd.DataFrame(rows, columns=columns)


def predicted_index(proba: np.ndarray) -> np.ndarray:
    """The column of the most probable genre of each clip, the first of equals, (n,); -1 where a
    probability is no number.

    Args:
        proba: (n, k).
    """
    best = proba.argmax(axis=1)
    unknown = ~np.isfinite(proba.sum(axis=1))
    return np.where(unknown, -1, best) if unknown.any() else best


def genres_in(predictions: pd.DataFrame) -> list[str]:
    """The genres of a predictions table, in the order of its `p_<genre>` columns."""
    return [str(column)[2:] for column in predictions.columns if str(column).startswith("p_")]


def as_arrays(predictions: pd.DataFrame, genres: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """genre_index (n,) and proba (n, k) of a predictions table, as the metrics take them.

    Raises:
        GenrecoreError: A clip's label is none of the genres.
    """
    genre_index = pd.Index(genres).get_indexer(pd.Index(predictions["genre"]))
    if (genre_index < 0).any():
        unknown = predictions["genre"].iloc[int(np.argmin(genre_index))]
        raise GenrecoreError(
            f"The predictions hold a clip labelled {unknown!r}, but the genres are: "
            f"{', '.join(genres)}."
        )
    columns = [predictions[f"p_{genre}"].to_numpy(dtype=np.float64) for genre in genres]
    proba = np.stack(columns, axis=1) if columns else np.empty((len(predictions), 0))
    return genre_index, proba


def scores(
    predictions: pd.DataFrame, genres: list[str] | None = None, split: str = "test"
) -> dict[str, float]:
    """n_clips, every metric by name, and the ends of accuracy's 95 % interval, on one split.

    All but n_clips are nan where the split has no clips.
    """
    part = predictions[predictions["split"] == split]
    genre_index, proba = as_arrays(part, genres or genres_in(predictions))
    values = {name: entry.thing(genre_index, proba) for name, entry in METRICS.items()}
    right = predicted_index(proba) == genre_index
    ends = clustered.accuracy(right, clustered.artist_groups(part))
    accuracy = {"accuracy": values.pop("accuracy")}
    interval = accuracy | {"accuracy_low": ends.low, "accuracy_high": ends.high}
    return {"n_clips": len(part), **interval, **values}


def confusion(predictions: pd.DataFrame, genres: list[str]) -> pd.DataFrame:
    """Numbers of clips, labelled genre (rows) × predicted genre (columns), both in genres' order;
    a last column `NO_PREDICTION` only where there are such clips.

    All rows of the table count: choose the split before.
    """
    genre_index, proba = as_arrays(predictions, genres)
    counts = _counts(genre_index, predicted_index(proba), len(genres))
    columns = [*genres, NO_PREDICTION] if counts[:, -1].any() else genres
    return pd.DataFrame(
        counts[:, : len(columns)],
        index=pd.Index(genres, name="labelled"),
        columns=pd.Index(columns, name="predicted"),
    )


def per_genre(predictions: pd.DataFrame, genres: list[str]) -> pd.DataFrame:
    """A row a genre: genre, n_clips, recall, recall_low, recall_high, precision, f1.

    The recall's ends are those of its 95 % interval. nan where nothing was measured: recall of a
    genre without clips, precision of one never predicted, F1 of one that is neither.
    All rows of the table count: choose the split before.
    """
    counts = confusion(predictions, genres).to_numpy()
    right, n_clips = np.diag(counts), counts.sum(axis=1)
    genre_index, proba = as_arrays(predictions, genres)
    is_right = predicted_index(proba) == genre_index
    groups = clustered.artist_groups(predictions)
    ends = [
        clustered.accuracy(is_right[in_genre], groups[in_genre])
        for in_genre in (genre_index == k for k in range(len(genres)))
    ]
    return pd.DataFrame(
        {
            "genre": genres,
            "n_clips": n_clips,
            "recall": _ratio(right, n_clips),
            "recall_low": [interval.low for interval in ends],
            "recall_high": [interval.high for interval in ends],
            "precision": _ratio(right, counts.sum(axis=0)[: len(genres)]),
            "f1": _f1(counts),
        }
    )


def _counts(labelled: np.ndarray, predicted: np.ndarray, k: int) -> np.ndarray:
    """Clips (k, k + 1) by labelled (rows) and predicted (columns) genre; last, no prediction."""
    column = np.where(predicted < 0, k, predicted)
    return np.bincount(labelled * (k + 1) + column, minlength=k * (k + 1)).reshape(k, k + 1)


def _f1(counts: np.ndarray) -> np.ndarray:
    """2 · right / (labelled + predicted) for each genre, nan where it is neither."""
    predicted = counts.sum(axis=0)[: len(counts)]
    return _ratio(2 * np.diag(counts), counts.sum(axis=1) + predicted)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), nan), where=whole > 0)


def _mean(values: np.ndarray) -> float:
    """The mean of what was measured; nan when nothing was."""
    measured = values[~np.isnan(values)]
    return float(measured.mean()) if len(measured) else nan
