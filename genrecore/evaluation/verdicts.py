"""What may be said of a difference: better, equivalent, or that the two cannot be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np

BAND = 0.01
"""Differences smaller than this share make no difference in practice, unless told otherwise."""

BETTER, EQUIVALENT, OPEN = "better", "equivalent", "cannot be told apart"
NOT_COMPARED = "not compared"
"""For want of clips that both were tested on."""

# Power 80 % at a two-sided level of 5 %: 1.96 + 0.84 standard errors.
_RESOLVED_ERRORS = 2.802


@dataclass(frozen=True)
class Verdict:
    """Of A against B.

    Attributes:
        word: `BETTER`, `EQUIVALENT`, `OPEN` or `NOT_COMPARED`.
        better: "a" or "b" where one is better, else empty.
        resolved: The smallest true difference that this test set would have shown four times in
            five, a share.
        sentence: All of it in plain words.
    """

    word: str
    better: str
    resolved: float
    sentence: str


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number, in the order given; nan stays nan and does not count.

    Source: Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    given = np.asarray(p_values, dtype=float)
    adjusted = np.full(given.shape, np.nan)
    known = np.flatnonzero(~np.isnan(given))
    order = known[np.argsort(given[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(given[order] * factors))
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
    leaves 0 out and the adjusted p is below the level: the interval knows that clips of one artist
    are alike, the test is exact for few clips. Everything else is open.

    Args:
        a: Name of the first system.
        b: Name of the second.
        n_clips: Clips that both were tested on.
        difference: Accuracy of a minus that of b, a share.
        interval: The ends of its 95 % interval.
        error: Its standard error.
        p: Of the test that they are equally good, adjusted for the number of pairs.
        n_pairs: How many pairs p is adjusted for.
        band: Half the width of what counts as equal in practice, a share.
        seeds: Over how many seeds, in words, where seeds were resampled as well.
        level: Of the test.
    """
    if not n_clips or isnan(difference):
        words = f"{a} and {b} share no test clips: they cannot be compared."
        return Verdict(NOT_COMPARED, "", float("nan"), words)
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
    side = "above" if difference >= 0 else "below"
    many = f", adjusted for {n_pairs} pairs" if n_pairs > 1 else ""
    on = f"On {n_clips} clip{'s' if n_clips != 1 else ''}{f', {seeds},' if seeds else ''}"
    sentence = (
        f"{on} {a} is {points(abs(difference))} {side} {b} "
        f"(95 %: {signed(low)} to {signed(high)}; {in_words(p)}{many}): {verdict}"
    )
    if word == BETTER:
        return Verdict(word, better, resolved, f"{sentence}.")
    about = f"about {points(resolved)}" if resolved > 0 else "any size"
    ending = f"; this test set resolves differences of {about}."
    return Verdict(word, better, resolved, sentence + ending)


def in_words(p: float) -> str:
    """A p-value as people write it: `p = 0.14`, `p < 0.0001`."""
    return f"p = {p:.2g}" if p >= 0.0001 else "p < 0.0001"


def points(share: float) -> str:
    """A share in percentage points, in words: `3.1 points`."""
    text = f"{100 * share:.1f}"
    return f"{text} point{'' if text == '1.0' else 's'}"


def signed(share: float) -> str:
    """A difference of shares in points, with a sign that is no hyphen: `−0.9`."""
    return f"{100 * share:+.1f}".replace("-", "−")
