"""The verdict on a difference: better, equivalent, or the two cannot be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np

from genrecore.words import beside, p_value, plural, points, signed_points

BAND = 0.01
"""By default, differences smaller than this share make no difference in practice."""

BETTER, EQUIVALENT, OPEN = "better", "equivalent", "cannot be told apart"
NOT_COMPARED = "not compared"
"""The verdict on two that share no test clips."""

# Power 80 % at a two-sided level of 5 %: 1.96 + 0.84 standard errors.
_RESOLVED_ERRORS = 2.802


@dataclass(frozen=True)
class Verdict:
    """The outcome of comparing A with B.

    Attributes:
        word: `BETTER`, `EQUIVALENT`, `OPEN` or `NOT_COMPARED`.
        better: "a" or "b" where one is better, else empty.
        resolved: The smallest true difference that this test set would have shown four times in
            five, a share.
        sentence: The verdict with its numbers, for people.
    """

    word: str
    better: str
    resolved: float
    sentence: str


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number, in the same order; nan stays nan and does not count.

    Source: Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return [float(value) for value in adjusted]


def resolvable(error: float) -> float:
    """The smallest difference that would be found in four of five such test sets (5 %, two-sided).

    Args:
        error: Standard error of the difference.
    """
    return _RESOLVED_ERRORS * error


def judge(
    a: str,
    b: str,
    n_clips: int,
    difference: float,
    interval: tuple[float, float],
    error: float,
    p: float,
    n_pairs: int = 1,
    band: float = BAND,
    seeds: str = "",
    level: float = 0.05,
) -> Verdict:
    """The verdict on a pair, from an interval and a test that must agree before one is better.

    Equivalent means that the whole interval lies within the band (Schuirmann 1987, two one-sided
    tests, with a 95 % interval in place of 90 %: on the safe side). Better means that the interval
    excludes 0 and the adjusted p is below the level: the interval knows that clips of one artist
    are alike, the test is exact for few clips. Everything else is open.

    Args:
        a: Name of the first system.
        b: Name of the second.
        n_clips: Clips that both were tested on.
        difference: Accuracy of a minus that of b, a share.
        interval: The ends of its 95 % interval.
        error: Its standard error.
        p: p-value of the hypothesis that they are equally good, adjusted for the number of pairs.
        n_pairs: How many pairs p is adjusted for.
        band: Smaller differences (a share) make no difference in practice.
        seeds: How many seeds were resampled (`over 3 seeds each`); empty where none were.
        level: Level of the test.
    """
    if not n_clips or isnan(difference):
        sentence = f"{a} and {b} share no test clips: they cannot be compared."
        return Verdict(NOT_COMPARED, "", float("nan"), sentence)
    low, high = interval
    resolved = resolvable(error)
    if -band <= low and high <= band:
        word, better = EQUIVALENT, ""
        verdict = f"equivalent, for a difference below {points(band)} counts as none"
    elif p < level and (low > 0 or high < 0):
        word, better = BETTER, "a" if difference > 0 else "b"
        verdict = f"{a if difference > 0 else b} is better"
    else:
        word, better = OPEN, ""
        verdict = "cannot be told apart"
    adjusted = f", adjusted for {n_pairs} pairs" if n_pairs > 1 else ""
    sentence = (
        f"On {plural(n_clips, 'clip')}{f', {seeds},' if seeds else ''} {a} is "
        f"{beside(difference, b)} (95 %: {signed_points(low)} to "
        f"{signed_points(high)}; {p_value(p)}{adjusted}): {verdict}"
    )
    if word == BETTER:
        return Verdict(word, better, resolved, f"{sentence}.")
    about = f"about {points(resolved)}" if resolved > 0 else "any size"
    ending = f"; this test set resolves differences of {about}."
    return Verdict(word, better, resolved, sentence + ending)
