"""The verdict on a difference: better, equivalent, or the two cannot be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

import numpy as np
import pandas as pd

from genrecore.words import beside, decimals, listed, p_value, plural, points, signed_points

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
    p_alone: float = nan,
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
        p_alone: The same p-value before it was adjusted; nan where it was not.
    """
    if not n_clips or isnan(difference):
        sentence = f"{a} and {b} share no test clips: they cannot be compared."
        return Verdict(NOT_COMPARED, "", nan, sentence)
    low, high = interval
    resolved = resolvable(error)
    p_alone = p if isnan(p_alone) else p_alone
    if -band <= low and high <= band:
        word, better = EQUIVALENT, ""
        verdict = f"equivalent, for a difference below {points(band)} counts as none"
    elif p < level and (low > 0 or high < 0):
        word, better = BETTER, "a" if difference > 0 else "b"
        verdict = f"{a if difference > 0 else b} is better"
    else:
        word, better = OPEN, ""
        verdict = f"cannot be told apart{_why_open(low <= 0 <= high, p, p_alone, level)}"
    test = p_value(p)
    if word == OPEN and p_alone < level <= p:
        adjusted = p_value(p).removeprefix("p = ")
        test = f"{p_value(p_alone)} alone; with {n_pairs} pairs compared it is {adjusted}"
    elif n_pairs > 1:
        test += f", adjusted for {n_pairs} pairs"
    sentence = (
        f"On {plural(n_clips, 'clip')}{f', {seeds},' if seeds else ''} {a} is "
        f"{beside(difference, b)} (95 %: {signed_points(low)} to "
        f"{signed_points(high)}; {test}): {verdict}"
    )
    if word == BETTER:
        return Verdict(word, better, resolved, f"{sentence}.")
    about = f"about {points(resolved)}" if resolved > 0 else "any size"
    ending = f"; this test set resolves differences of {about}."
    return Verdict(word, better, resolved, sentence + ending)


def _why_open(covers_0: bool, p: float, p_alone: float, level: float) -> str:
    """Why two cannot be told apart where the interval or the test alone would tell them apart."""
    if covers_0 and p < level:
        return (
            ", because the interval, which takes clips of one artist for alike, includes no "
            "difference"
        )
    if not covers_0 and p_alone >= level:
        return ", because the test, which is exact for few clips, does not confirm the interval"
    return ""


def headline(titles: Sequence[str], pairs: pd.DataFrame, noun: str) -> str:
    """The outcome of a comparison in a sentence, without statistics.

    Args:
        titles: Of all that are compared, the most accurate first.
        pairs: A row a pair: `title_a, title_b, n_clips, difference, verdict, better`.
        noun: What is compared, in the plural: `runs`, `systems`.
    """
    best, others = titles[0], list(titles[1:])
    rows = {frozenset((row["title_a"], row["title_b"])): row for row in pairs.to_dict("records")}
    against = {other: rows[frozenset((best, other))] for other in others}
    compared = [other for other in others if against[other]["verdict"] != NOT_COMPARED]
    beaten = [other for other in compared if against[other]["verdict"] == BETTER]
    these = f"these {len(titles)} {noun}"
    counts = {row["n_clips"] for other, row in against.items() if other in compared}
    clips = f"these {plural(counts.pop(), 'clip')}" if len(counts) == 1 else "the clips they share"
    verdicts = [str(row["verdict"]) for row in rows.values()]
    if all(verdict == NOT_COMPARED for verdict in verdicts):
        return f"T{these[1:]} were tested on different clips: no winner can be named."
    left = [other for other in others if other not in compared]
    rest = f"; {listed(left)} {_verb(left)} tested on other clips" if left else ""
    if beaten and beaten == compared:
        gaps = sorted(abs(against[other]["difference"]) for other in beaten)
        by = points(gaps[0])
        if len(gaps) > 1 and points(gaps[-1]) != by:
            by = f"{decimals(100 * gaps[0])} to {points(gaps[-1])}"
        than = beaten[0] if len(beaten) == 1 else f"the other {len(beaten)}"
        return f"{best} is better than {than} on {clips}, by {by}{rest}."
    if all(verdict == EQUIVALENT for verdict in verdicts):
        both = f"{best} and {others[0]}" if len(others) == 1 else f"T{these[1:]}"
        return f"{both} are equally good on {clips}, as far as it matters in practice."
    if len(others) == 1:
        return f"No clear winner: {best} and {others[0]} cannot be told apart on {clips}."
    if not beaten:
        return f"No clear winner among {these}{rest}."
    same = [other for other in compared if other not in beaten]
    return (
        f"No clear winner among {these}: {best} is better than {listed(beaten)}, but not clearly "
        f"better than {listed(same, 'or')}{rest}."
    )


def _verb(names: Sequence[str]) -> str:
    return "was" if len(names) == 1 else "were"
