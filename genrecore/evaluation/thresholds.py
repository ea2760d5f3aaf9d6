"""Thresholds: from which confidence on a run's answers keep a promise, and are else "not sure".

A threshold promises a precision: of the clips answered as a genre, at least so many are right. It
is the lowest confidence that a sequence of tests on the validation clips accepts, from sure clips
to less sure ones (fixed-sequence testing with several starts: Angelopoulos, Bates, Candès, Jordan &
Lei 2025, Learn then test, Annals of Applied Statistics 19 (2), section 2.3). The test is
`clustered.least_accuracy`, so artists count, not clips. In nine of ten sets of validation clips the
promise holds. Genres with too few validation clips of their own are judged together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, isfinite, isnan, log, nan
from typing import Any

import numpy as np
import pandas as pd

from genrecore.errors import GenrecoreError, UsageError
from genrecore.evaluation import clustered, metrics
from genrecore.evaluation.calibration import calibrate
from genrecore.evaluation.clustered import NOTHING, Interval
from genrecore.evaluation.same_clips import same_clips
from genrecore.evaluation.scores import with_artists
from genrecore.evaluation.selective import (
    ends_of,
    highest,
    outcomes,
    thinned,
    with_confidence,
)
from genrecore.store.run import Run
from genrecore.words import listed, percent

CERTAINTY = 0.9
"""In so many of all sets of validation clips a threshold keeps its promise."""

ENOUGH, TOO_FEW, TOO_WRONG = "", "too few", "too wrong"
"""Why a genre has no threshold: too few validation clips to promise so much even if all were right,
or too many that are wrong."""


def check_precision(precision: float) -> float:
    """The precision, a share.

    Raises:
        UsageError: It cannot be promised.
    """
    if not 0.5 <= precision <= 0.999:
        raise UsageError(f"A precision is between 0.5 and 0.999; found {precision:g}.")
    return precision


@dataclass(frozen=True)
class Thresholds:
    """From which confidence on a prediction is an answer.

    Attributes:
        precision: The wanted precision, a share.
        of_genre: The confidence for each genre; None for one that is never answered.
    """

    precision: float
    of_genre: Mapping[str, float | None]

    def answer(self, genre: str, confidence: float) -> str | None:
        """The genre, or None where so much confidence is not enough for it."""
        threshold = self.of_genre.get(genre)
        return genre if threshold is not None and confidence >= threshold else None

    def judged(self, genres: Sequence[str], proba: np.ndarray) -> dict[str, Any]:
        """For JSON: the `answer`, None for "not sure", and the `threshold` of the likeliest genre,
        None where it is never answered.

        Args:
            genres: In the order of `proba`.
            proba: Calibrated probabilities, (genres,).
        """
        best = int(proba.argmax())
        genre = genres[best]
        answer = self.answer(genre, float(proba[best]))
        return {"answer": answer, "threshold": self.of_genre.get(genre)}

    def as_json(self) -> dict[str, Any]:
        """`precision, thresholds`, as bundles and ONNX files have them."""
        return {"precision": self.precision, "thresholds": dict(self.of_genre)}

    @classmethod
    def from_json(cls, values: Any) -> Thresholds:
        """What `as_json` wrote.

        Raises:
            ValueError: It did not write these values.
        """
        try:
            of_genre = {
                str(genre): None if value is None else float(value)
                for genre, value in values["thresholds"].items()
            }
            return cls(float(values["precision"]), of_genre)
        except (KeyError, TypeError, AttributeError):
            raise ValueError(f"found {values!r} in place of thresholds") from None


@dataclass(frozen=True)
class Answers:
    """A run's answers at a wanted precision: fitted on validation clips, checked on test clips.

    Attributes:
        precision: The wanted precision, a share.
        table: A row a genre, and a last one, whose genre is None, of one threshold for all genres.
            `n_valid, artists`: validation clips predicted as the genre, and artists (of equal size)
            that they are worth; `together`: whether it is judged together with others that have too
            few; `threshold` (nan: never answered) with `lowest`, the lowest one that the validation
            clips do not speak against; `promised`: the bound on those clips; `why`, as `TOO_FEW`;
            of the test clips `n_test` predicted as the genre, the share `coverage` of them that is
            answered, and of these the share `reached` that is right, with 95 % intervals
            (`_low, _high`).
        coverage: Of all test clips the share that is answered with the genres' thresholds.
        reached: Of these the share that is right.
    """

    precision: float
    table: pd.DataFrame
    coverage: Interval
    reached: Interval

    @property
    def genres(self) -> pd.DataFrame:
        """The table without its last row."""
        return self.table.iloc[:-1]

    @cached_property
    def thresholds(self) -> Thresholds:
        """What is needed to answer."""
        pairs = zip(self.genres["genre"], self.genres["threshold"], strict=True)
        return Thresholds(self.precision, {g: t if isfinite(t) else None for g, t in pairs})

    @property
    def sentences(self) -> list[str]:
        """What is promised, what came of it on the test clips, and which genres are never answered,
        for people."""
        rows = self.genres
        wanted = percent(self.precision)
        answered = rows[rows["threshold"].notna()]
        texts = []
        if len(answered) and isnan(self.coverage.value):
            texts.append(f"Whether it reaches {wanted} cannot be checked: it has no test clips.")
        elif len(answered):
            reached = "nothing"
            if isfinite(self.reached.value):
                reached = f"{percent(self.reached.value)} of these right ({ends_of(self.reached)})"
            texts.append(
                f"With a wanted precision of {wanted} it answers {percent(self.coverage.value)} of "
                f"its test clips ({ends_of(self.coverage)}), {reached}."
            )
            if self.reached.high < self.precision:
                texts.append(
                    "On the test clips the promise was not kept: they differ from the validation "
                    "clips, by which the epoch was chosen, too."
                )
        together = answered[answered["together"]]
        if len(together):
            texts.append(
                f"{_genres(together, len(rows))} too few validation clips for thresholds of their "
                "own: the promise is about all answers of these genres together."
            )
        few, wrong = (rows[rows["why"] == why] for why in (TOO_FEW, TOO_WRONG))
        if len(few):
            texts.append(
                f"{_genres(few, len(rows))} too few validation clips, even taken together: to "
                f"promise {wanted} takes right answers on clips of at least "
                f"{ceil(_needed(self.precision))} artists. Never answered."
            )
        if len(wrong):
            names = _genres(wrong, len(rows)).rpartition(" ")[0]
            how = ", judged together for want of clips," if wrong["together"].all() else ""
            texts.append(
                f"{names}{how} cannot be shown to be right in {wanted} of the answers, whatever "
                "the threshold: never answered."
            )
        return texts


def _genres(rows: pd.DataFrame, n_all: int) -> str:
    """`Rock has`, `Rock and pop have`, `All genres have`."""
    names = "all genres" if 1 < n_all == len(rows) else listed(list(rows["genre"]))
    return f"{names[:1].upper()}{names[1:]} {'has' if len(rows) == 1 else 'have'}"


def select(runs: Sequence[Run], precision: float) -> Answers:
    """The answers of a run, or of several runs whose probabilities are averaged.

    Raises:
        UsageError: The precision cannot be promised.
        GenrecoreError: A run has no predictions, or they differ in genres or clips.
    """
    return select_from(_predictions(runs), precision)


def _predictions(runs: Sequence[Run]) -> pd.DataFrame:
    """Predictions for validation and test clips with artists and confidences; of several runs
    averages of their calibrated probabilities."""
    tables, same = [], same_clips(runs)
    for run in runs:
        if run.predictions is None:
            raise GenrecoreError(f"The run {run.run_id} has no predictions (it is {run.state}).")
        table = with_confidence(with_artists(run.predictions, run), run)
        tables.append(same.named(table, run))
    first = tables[0]
    if len(tables) == 1:
        return first
    columns = [f"p_{genre}" for genre in metrics.genres_in(first)]
    keys, total = ["split", "clip_id"], np.zeros((len(first), len(columns)))
    clips = pd.MultiIndex.from_frame(first[keys])
    for run, table in zip(runs, tables, strict=True):
        own = table.set_index(pd.MultiIndex.from_frame(table[keys]))
        if list(columns) != [f"p_{genre}" for genre in metrics.genres_in(table)] or (
            set(own.index) != set(clips)
        ):
            raise GenrecoreError(
                "These runs differ in genres, validation or test clips: no precision can be "
                f"promised for their average.{same.warning}"
            )
        total = total + calibrate(run).apply(own.loc[clips, columns].to_numpy()) / len(runs)
    return first.assign(**dict(zip(columns, total.T, strict=True)), confidence=highest(total))


def select_from(predictions: pd.DataFrame, precision: float) -> Answers:
    """As `select`, from a table of predictions: `clip_id, split, genre, confidence, p_<genre>…` and
    `artist` where some are known."""
    check_precision(precision)
    parts = [predictions["split"] == split for split in ("valid", "test")]
    valid, test = (outcomes(predictions[part].reset_index(drop=True)) for part in parts)
    genres = metrics.genres_in(predictions)
    groups = valid["group"].to_numpy()
    artists = {
        genre: clustered.effective_groups(groups[valid["predicted"] == genre]) for genre in genres
    }
    small = [genre for genre in genres if artists[genre] < _needed(precision)]
    together = _fit(valid[valid["predicted"].isin(small)], precision)
    fits = {
        genre: together if genre in small else _fit(valid[valid["predicted"] == genre], precision)
        for genre in genres
    }
    every = valid[valid["predicted"].notna()]
    rows = [
        {"genre": genre, "n_valid": int((valid["predicted"] == genre).sum())}
        | {"artists": artists[genre], "together": genre in small and len(small) > 1}
        | fits[genre]
        | _checked(test, test["predicted"] == genre, fits[genre]["threshold"])
        for genre in genres
    ]
    overall = _fit(every, precision)
    rows.append(
        {"genre": None, "n_valid": len(every), "together": False}
        | {"artists": clustered.effective_groups(every["group"].to_numpy())}
        | overall
        | _checked(test, np.ones(len(test), bool), overall["threshold"])
    )
    limits = test["predicted"].map({genre: fit["threshold"] for genre, fit in fits.items()})
    is_answered = (test["confidence"] >= limits).to_numpy()
    return Answers(precision, pd.DataFrame(rows), *_shares(test, is_answered))


def _checked(test: pd.DataFrame, of_genre: Any, threshold: float) -> dict[str, Any]:
    """What a threshold gives on those test clips that are predicted as the genre."""
    part = test[of_genre]
    coverage, reached = _shares(part, (part["confidence"] >= threshold).to_numpy())
    values: dict[str, Any] = {"n_test": len(part)}
    for name, share in (("coverage", coverage), ("reached", reached)):
        values |= {name: share.value, f"{name}_low": share.low, f"{name}_high": share.high}
    return values


def _shares(part: pd.DataFrame, is_answered: np.ndarray) -> tuple[Interval, Interval]:
    """The share of clips that is answered, and of these the share that is right."""
    group, right = part["group"].to_numpy(), part["right"].to_numpy()
    return (
        clustered.accuracy(is_answered, group) if len(part) else NOTHING,
        clustered.accuracy(right[is_answered], group[is_answered])
        if is_answered.any()
        else NOTHING,
    )


def _needed(precision: float, n_starts: int = 1) -> float:
    """How many artists it takes, all clips of which are right, to show this precision."""
    return log((1 - CERTAINTY) / n_starts) / log(precision)


def _fit(answers: pd.DataFrame, precision: float) -> dict[str, Any]:
    """The threshold for these validation clips; see `Answers.table`."""
    answers = answers.sort_values("confidence", ascending=False, kind="stable")
    confidence, group = answers["confidence"].to_numpy(), answers["group"].to_numpy()
    right = answers["right"].to_numpy()
    ends = thinned(np.append(np.flatnonzero(np.diff(confidence)), len(answers) - 1)[: len(right)])
    squares = np.cumsum(2 * answers.groupby("group").cumcount().to_numpy() + 1)
    artists = ((ends + 1) ** 2 / squares[ends]) if len(ends) else np.zeros(0)
    n_starts = 1
    while _needed(precision, n_starts + 1) * 2**n_starts <= artists.max(initial=0.0):
        n_starts += 1
    certainty = 1 - (1 - CERTAINTY) / n_starts
    values = {"threshold": nan, "lowest": nan, "promised": nan, "why": TOO_WRONG}
    if artists.max(initial=0.0) < _needed(precision):
        values["why"] = TOO_FEW
    deepest = -1
    for k in range(n_starts):
        # What decides where a sequence starts are artists and confidences, never who is right.
        enough = np.flatnonzero(artists >= _needed(precision, n_starts) * 2**k)
        for at in range(enough[0] if len(enough) else len(ends), len(ends)):
            part = slice(ends[at] + 1)
            bound = clustered.least_accuracy(right[part], group[part], certainty)
            if bound < precision:
                break
            if at > deepest:
                deepest = at
                values |= {"threshold": float(confidence[ends[at]]), "promised": bound}
                values["why"] = ENOUGH
    for end in ends[::-1]:
        part = slice(end + 1)
        if clustered.accuracy(right[part], group[part], 2 * CERTAINTY - 1).high >= precision:
            values["lowest"] = float(confidence[end])
            break
    return values
