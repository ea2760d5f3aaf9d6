"""Risk–coverage: how right a run is on the clips that it is surest of.

Confidence is the highest calibrated probability. The risk–coverage curve (El-Yaniv & Wiener 2010,
On the foundations of noise-free selective classification, JMLR 11) is drawn as accuracy against the
share of clips that is answered. Its area is the mean of the error over all shares (Geifman &
El-Yaniv 2017, Selective classification for deep neural networks, NeurIPS). An accurate run has a
small one anyway; the normalised area says how much a run knows of its mistakes: 0 where they are
all on the clips it is least sure of, 1 where they may be anywhere (Cattelan & Silva 2024, How to
fix a broken confidence estimator, UAI).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isnan, log, nan
from typing import Any

import numpy as np
import pandas as pd

from genrecore.evaluation import clustered, metrics, verdicts
from genrecore.evaluation.calibration import calibrate
from genrecore.evaluation.clustered import NOTHING, Interval
from genrecore.evaluation.scores import read_test_predictions
from genrecore.store.run import Run
from genrecore.words import decimals, p_value, percent, points, signed_points

_LEVEL = 0.05
_MOST_POINTS = 100  # of a curve, and confidences that are tried
_STEPS = 1e6  # of confidences: finer differences are those of machines


def with_confidence(predictions: pd.DataFrame, run: Run) -> pd.DataFrame:
    """Predictions of a run with the `confidence` of each: the highest calibrated probability."""
    _, proba = metrics.as_arrays(predictions, metrics.genres_in(predictions))
    return predictions.assign(confidence=highest(calibrate(run).apply(proba)))


def highest(proba: np.ndarray) -> np.ndarray:
    """The confidence (clips,) of probabilities (clips, genres); 0 where one is no number."""
    return np.floor(np.nan_to_num(proba.max(axis=1)) * _STEPS) / _STEPS


def outcomes(table: pd.DataFrame) -> pd.DataFrame:
    """`predicted, confidence, right, group` of each row of a predictions table; `confidence` is a
    column of it, or else its highest probability."""
    genres = metrics.genres_in(table)
    genre_index, proba = metrics.as_arrays(table, genres)
    best = metrics.predicted_index(proba)
    confidence = table["confidence"].to_numpy() if "confidence" in table else highest(proba)
    _, group = np.unique(clustered.artist_groups(table), return_inverse=True)
    return pd.DataFrame(
        {
            "predicted": np.where(best < 0, None, np.array(genres, dtype=object)[best]),
            "confidence": np.where(best < 0, 0.0, confidence),
            "right": best == genre_index,
            "group": group,
        }
    )


def outcomes_by_clip(table: pd.DataFrame) -> pd.DataFrame:
    """`right, confidence, area, normalised` of the clips of a table of test predictions, by
    clip_id; the last two as `area_parts` gives them."""
    rows = outcomes(table)
    columns = {name: rows[name].to_numpy() for name in ("right", "confidence")}
    columns["area"], columns["normalised"] = area_parts(**columns)
    return pd.DataFrame(columns, pd.Index(table["clip_id"], dtype=object))


def answered_from(confidence: np.ndarray) -> np.ndarray:
    """The share of clips at which each clip is answered, (clips,): that of the clips which are at
    least as sure. Equally sure ones are answered together."""
    ordered = np.sort(confidence)
    return (len(ordered) - np.searchsorted(ordered, confidence, "left")) / max(1, len(ordered))


def risk_coverage(right: np.ndarray, confidence: np.ndarray, groups: np.ndarray) -> pd.DataFrame:
    """The curve, the surest clips first: `coverage` (share answered), `accuracy, low, high` (with
    its 95 % interval), `confidence` from which on clips are answered (nan of several tests).

    Args:
        right: Whether each test recognises each clip, (tests, clips) or (clips,); nan where it
            lacks the clip.
        confidence: Of the same shape.
        groups: The artist of each clip, (clips,).
    """
    right, confidence = np.atleast_2d(right).astype(float), np.atleast_2d(confidence)
    tested = ~np.isnan(right)
    share = np.full(right.shape, nan)
    for row, has, values in zip(share, tested, confidence, strict=True):
        row[has] = answered_from(values[has])
    shares, rows = np.unique(share[tested]), []
    # From where on every test answers something.
    first = np.nanmin(share, axis=1).max() if len(shares) else 0.0
    for limit in thinned(shares[shares >= first]):
        answered = share <= limit
        part = clustered.accuracy(np.where(answered, right, nan), groups)
        least = float(confidence[answered].min()) if len(right) == 1 else nan
        coverage = float(answered.sum() / tested.sum())
        rows.append((coverage, part.value, part.low, part.high, least))
    return pd.DataFrame(rows, columns=["coverage", "accuracy", "low", "high", "confidence"])


def thinned(values: np.ndarray) -> np.ndarray:
    """Values, `_MOST_POINTS` of them at most, the first and the last included."""
    if len(values) <= _MOST_POINTS:
        return values
    return values[np.linspace(0, len(values) - 1, _MOST_POINTS).round().astype(int)]


def area_parts(right: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each clip's part of the area under the risk–coverage curve, and of the normalised one, such
    that their means are the areas, and their variance is that of the means, (clips,) each.

    A clip counts by its own error and by how it moves the others' places: the parts are the values
    of the areas' influence functions (Hampel 1974, The influence curve and its role in robust
    estimation). Equally sure clips stand in the mean of all their orders. The normalised parts are
    nan where all clips are right, or none.
    """
    n = len(right)
    if not n:
        return np.zeros(0), np.zeros(0)
    wrong = 1.0 - np.asarray(right, dtype=float)
    _, block = np.unique(-np.asarray(confidence), return_inverse=True)
    order, place = np.argsort(block, kind="stable"), np.arange(1, n + 1)
    sizes = np.bincount(block)

    def mean_in_block(ordered: np.ndarray) -> np.ndarray:
        return (np.bincount(block[order], ordered) / sizes)[block]

    after = np.cumsum((1 / place)[::-1])[::-1]  # the sum of 1 / k from each place on
    of_others = np.cumsum((mean_in_block(wrong[order])[order] / place)[::-1])[::-1]
    error = float(wrong.mean())
    parts = wrong * mean_in_block(after) + error - mean_in_block(of_others)
    n_right = n - round(n * error)
    behind = place[n_right:]
    best = float(((behind - n_right) / behind).sum() / n)
    if not 0 < n_right < n:
        return parts, np.full(n, nan)
    slope = -log(n_right / n)  # of the best area over the error
    normalised = (float(parts.mean()) - best) / (error - best)
    moved = parts - parts.mean() - (slope + normalised * (1 - slope)) * (wrong - error)
    return parts, normalised + moved / (error - best)


def area(parts: np.ndarray, groups: np.ndarray) -> Interval:
    """The area under the risk–coverage curve, or the normalised one, with its 95 % interval.

    Args:
        parts: As `area_parts` gives them, (tests, clips) or (clips,); nan where a test lacks one.
        groups: The artist of each clip, (clips,).
    """
    parts = np.atleast_2d(parts)
    mean = clustered.difference(parts, np.zeros((1, parts.shape[1])), groups)
    return replace(mean, low=max(0.0, mean.low))


def judge_areas(pairs: list[dict[str, Any]]) -> None:
    """Puts what the areas say of each pair in place of its `area` and `normalised`, those of A
    minus those of B: `area_difference, area_low, area_high, area_p` (as an accuracy's difference,
    but less is better), the same of `normalised`, and `area_sentence`. p is adjusted for all pairs
    (Holm).
    """
    for name in ("area", "normalised"):
        gaps: list[Interval] = [pair.pop(name) for pair in pairs]
        adjusted = verdicts.holm([gap.p for gap in gaps])
        for pair, gap, p in zip(pairs, gaps, adjusted, strict=True):
            pair |= {f"{name}_difference": gap.value, f"{name}_low": gap.low}
            pair |= {f"{name}_high": gap.high, f"{name}_p": p if gap.holds else nan}
    for pair in pairs:
        pair["area_sentence"] = _area_sentence(pair)


def _area_sentence(pair: Mapping[str, Any]) -> str:
    a, b, gap = pair["title_a"], pair["title_b"], pair["area_difference"]
    if isnan(gap):
        return f"{a} and {b} were not compared on the same clips."

    def better(name: str) -> str:
        if not pair[f"{name}_p"] < _LEVEL:
            return ""
        return str(a if pair[f"{name}_difference"] < 0 else b)

    size = points(abs(gap))
    beside = f"{size} {'less' if gap < 0 else 'more'} than" if size != points(0.0) else "as much as"
    sentence = (
        f"Over all shares of clips answered, the surest first, {a} errs {beside} {b} (95 %: "
        f"{signed_points(pair['area_low'])} to {signed_points(pair['area_high'])}; "
        f"{p_value(pair['area_p'])}): "
    )
    winner, knowing = better("area"), better("normalised")
    sentence += f"{winner} is better where both may be not sure" if winner else "no clear winner"
    if knowing:
        return f"{sentence}. {knowing} knows better what it does not know."
    return f"{sentence}. Which knows better what it does not know cannot be told."


@dataclass(frozen=True)
class Curve:
    """A run's risk–coverage curve on its test clips, as of `risk_coverage`; the `area` under it,
    and the normalised one."""

    table: pd.DataFrame
    area: Interval
    normalised: Interval

    @property
    def sentence(self) -> str:
        """The areas, for people."""
        text = (
            "Averaged over all shares of clips answered, the surest first, it errs on "
            f"{percent(self.area.value)} of them ({ends_of(self.area)})."
        )
        if isnan(self.normalised.value):
            return text
        return (
            f"{text} Normalised: {decimals(self.normalised.value, 2)} (95 %: "
            f"{decimals(self.normalised.low, 2)} to {decimals(self.normalised.high, 2)}); 0 would "
            "mean that it knows all its mistakes, 1 that it knows none."
        )


def curve(run: Run) -> Curve:
    """The curve of a tested run.

    Raises:
        GenrecoreError: It has no test predictions.
    """
    rows = outcomes(with_confidence(read_test_predictions(run), run))
    right, confidence, group = (rows[name].to_numpy() for name in ("right", "confidence", "group"))
    table = risk_coverage(right, confidence, group)
    if not len(rows):
        return Curve(table, NOTHING, NOTHING)
    return Curve(table, *(area(parts, group) for parts in area_parts(right, confidence)))


def ends_of(part: Interval) -> str:
    """`95 %: 40.0 % to 60.0 %`."""
    return f"95 %: {percent(part.low)} to {percent(part.high)}"
