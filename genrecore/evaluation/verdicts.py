"""The verdict on a difference: better, equivalent, or the two cannot be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

import numpy as np
import pandas as pd

from genrecore.evaluation.clustered import Interval
from genrecore.words import beside, decimals, listed, p_value, plural, points, signed_points

BAND = 0.01
"""By default, differences smaller than this share make no difference in practice."""

BETTER, EQUIVALENT, OPEN = "better", "equivalent", "cannot be told apart"
NOT_COMPARED = "not compared"
"""The verdict on two that share no test clips."""

_LEVEL = 0.05
_MOST_NAMES = 4  # in a headline


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


def resolvable(gap: Interval) -> float:
    """The smallest difference that would be found in four of five such test sets (5 %, two-sided),
    from the standard error of a difference and its degrees of freedom."""
    from scipy import stats

    if not gap.freedom > 0:
        return nan
    return float(gap.error * stats.t.ppf([0.975, 0.8], gap.freedom).sum())


def judge(
    a: str,
    b: str,
    n_clips: int,
    gap: Interval,
    p: float = nan,
    n_pairs: int = 1,
    band: float = BAND,
    seeds: str = "",
    single: Sequence[str] = (),
) -> Verdict:
    """The verdict on a pair.

    Equivalent means that the whole interval lies within the band (Schuirmann 1987, two one-sided
    tests, with a 95 % interval in place of 90 %: on the safe side). Better means that p, adjusted
    for the number of pairs, is below 5 %. Everything else is open; so are pairs with too few
    artists to tell, and of systems those with one seed.

    Args:
        a: Name of the first run or system.
        b: Name of the second.
        n_clips: Clips that both were tested on.
        gap: Accuracy of a minus that of b.
        p: `gap.p`, adjusted for the number of pairs; by default not adjusted.
        n_pairs: How many pairs p is adjusted for.
        band: Smaller differences (a share) make no difference in practice.
        seeds: How many seeds there are (`over 3 seeds each`); empty where there is one each.
        single: Names of those that are systems and have one seed.
    """
    if not n_clips or isnan(gap.value):
        sentence = f"{a} and {b} share no test clips: they cannot be compared."
        return Verdict(NOT_COMPARED, "", nan, sentence)
    p = gap.p if isnan(p) else p
    word, better, verdict = OPEN, "", OPEN
    is_equivalent = -band <= gap.low and gap.high <= band
    if not gap.holds:
        verdict = "too few artists to tell"
    elif single and (is_equivalent or p < _LEVEL):
        have = "has" if len(single) == 1 else "have"
        verdict += f", for {listed(list(single))} {have} one seed: another may say otherwise"
    elif is_equivalent:
        word, verdict = (
            EQUIVALENT,
            f"equivalent, for a difference below {points(band)} counts as none",
        )
    elif p < _LEVEL:
        word, better = BETTER, "a" if gap.value > 0 else "b"
        verdict = f"{a if gap.value > 0 else b} is better"
        if not seeds:
            verdict += ", as far as these two trainings go"
    resolved = resolvable(gap)
    test = p_value(p)
    if word == OPEN and gap.p < _LEVEL <= p:
        adjusted = p_value(p).removeprefix("p = ")
        test = f"{p_value(gap.p)} alone; with {n_pairs} pairs compared it is {adjusted}"
    elif n_pairs > 1:
        test += f", adjusted for {n_pairs} pairs"
    sentence = (
        f"On {plural(n_clips, 'clip')}{f', {seeds},' if seeds else ''} {a} is "
        f"{beside(gap.value, b)} (95 %: {signed_points(gap.low)} to "
        f"{signed_points(gap.high)}; {test}): {verdict}"
    )
    if word == BETTER:
        return Verdict(word, better, resolved, f"{sentence}.")
    about = f"about {points(resolved)}" if resolved > 0 else "any size"
    ending = f"; this test set resolves differences of {about}."
    return Verdict(word, better, resolved, sentence + ending)


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
    rest = f"; {listed(left, most=_MOST_NAMES)} {_verb(left)} tested on other clips" if left else ""
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
        f"No clear winner among {these}: {best} is better than "
        f"{listed(beaten, most=_MOST_NAMES)}, but not clearly "
        f"better than {listed(same, 'or', _MOST_NAMES)}{rest}."
    )


def _verb(names: Sequence[str]) -> str:
    return "was" if len(names) == 1 else "were"
