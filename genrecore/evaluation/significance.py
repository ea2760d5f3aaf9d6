"""Intervals of proportions, and tests whether two accuracies differ."""

from __future__ import annotations

from math import nan, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike


def wilson(
    successes: float, n: float, confidence: float = 0.95, quantile: float | None = None
) -> tuple[float, float]:
    """Lower and upper end of the score interval of a proportion; (nan, nan) when n is 0.

    `quantile` takes the place of that of the normal distribution.

    Source: Wilson (1927), without continuity correction. By hand, because scipy's needs 2 ms a
    call, and every genre of every compared run has an interval.
    """
    if n == 0:
        return nan, nan
    z = NormalDist().inv_cdf(0.5 + confidence / 2) if quantile is None else quantile
    share = successes / n
    centre = share + z * z / (2 * n)
    reach = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    width = 1 + z * z / n
    # At 0 and n the ends are 0 and 1 exactly; rounding would leave 1e-17.
    low = 0.0 if successes == 0 else (centre - reach) / width
    high = 1.0 if successes == n else (centre + reach) / width
    return low, high


def mcnemar_mid_p(only_a: int, only_b: int) -> float:
    """Two-sided mid-p value of the hypothesis that systems A and B are right equally often.

    `only_a` counts the clips that A alone gets right, `only_b` those that B alone does. 1 when the
    systems never differ. The test takes clips for independent, which those of one artist are not.

    Source: Fagerland, Lydersen & Laake (2013), The McNemar test for binary matched-pairs data:
    mid-p and asymptotic are better than exact conditional.
    """
    from scipy.stats import binom

    n, fewer = only_a + only_b, min(only_a, only_b)
    if n == 0:
        return 1.0
    probability = float(binom.pmf(fewer, n, 0.5))
    if only_a == only_b:
        return 1.0 - probability / 2
    return 2 * float(binom.cdf(fewer, n, 0.5)) - probability


def mcnemar_exact_p(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value of the same hypothesis, larger than `mcnemar_mid_p`: the binomial
    test with only the clips on which the systems differ. 1 when they never differ."""
    from scipy.stats import binomtest

    n = only_a + only_b
    return float(binomtest(only_a, n).pvalue) if n else 1.0


def paired_difference(
    right_a: ArrayLike, right_b: ArrayLike, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Accuracy of A minus accuracy of B on the same clips, and the ends of its interval.

    `right_a` and `right_b` (n,) say whether each clip is recognised. Three nan when n is 0.

    Source: Newcombe (1998), Improved confidence intervals for the difference between binomial
    proportions based on paired data, method 10: Wilson's intervals joined by the correlation.

    Raises:
        ValueError: The two do not have the same length.
    """
    a, b = np.asarray(right_a, dtype=bool), np.asarray(right_b, dtype=bool)
    if a.shape != b.shape:
        raise ValueError(f"right_a has the shape {a.shape}, right_b has {b.shape}")
    n = a.size
    if n == 0:
        return nan, nan, nan
    both, only_a = int((a & b).sum()), int((a & ~b).sum())
    only_b, neither = int((~a & b).sum()), int((~a & ~b).sum())
    share_a, share_b = (both + only_a) / n, (both + only_b) / n
    low_a, high_a = wilson(both + only_a, n, confidence)
    low_b, high_b = wilson(both + only_b, n, confidence)

    correlation = 0.0
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if margins:
        surplus = float(both * neither - only_a * only_b)
        if surplus > 0:  # Newcombe's correction, only towards 0
            surplus = max(surplus - n / 2, 0.0)
        correlation = surplus / sqrt(margins)

    def joined(first: float, second: float) -> float:
        return sqrt(max(0.0, first**2 - 2 * correlation * first * second + second**2))

    difference = (only_a - only_b) / n
    low = difference - joined(share_a - low_a, high_b - share_b)
    high = difference + joined(high_a - share_a, share_b - low_b)
    return difference, max(-1.0, low), min(1.0, high)
