"""Ranks of several systems over several datasets or folds, and whether they differ.

Source: Demšar (2006), Statistical comparisons of classifiers over multiple data sets, JMLR 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np


@dataclass(frozen=True)
class Ranks:
    """Systems over blocks (datasets or folds).

    Attributes:
        mean: Mean rank of each system, 1 the best, ties shared, (systems,).
        p: p-value of Friedman's test that all are equally good, as by Iman & Davenport (1980).
        critical: Mean ranks that differ by less cannot be told apart (Nemenyi, 5 %).
        groups: Groups of systems that cannot be told apart, the best first; no group contains
            another.
    """

    mean: np.ndarray
    p: float
    critical: float
    groups: list[list[int]]


def friedman(scores: np.ndarray) -> Ranks:
    """Ranks of the systems by a score where higher is better.

    Args:
        scores: (blocks, systems), every system on every block.

    Raises:
        ValueError: Fewer than two blocks or systems, or a missing score.
    """
    from scipy import stats

    scores = np.asarray(scores, dtype=float)
    if scores.ndim != 2 or min(scores.shape) < 2:
        raise ValueError(f"two blocks and two systems at least; found shape {scores.shape}")
    if np.isnan(scores).any():
        raise ValueError("every system needs a score on every block")
    n, k = scores.shape
    ranks = stats.rankdata(-scores, axis=1)
    mean = ranks.mean(axis=0)
    # With ties: Conover (1999), Practical Nonparametric Statistics, section 5.8.
    spread = (ranks**2).sum()
    centre = n * k * (k + 1) ** 2 / 4
    between = (ranks.sum(axis=0) ** 2).sum() / n
    if np.isclose(spread, between):  # every block ranks alike
        p = 1.0 if np.isclose(between, centre) else 0.0
    else:
        f = (n - 1) * (between - centre) / (spread - between)
        p = float(stats.f.sf(f, k - 1, (k - 1) * (n - 1)))
    critical = float(stats.studentized_range.ppf(0.95, k, np.inf)) / sqrt(2)
    critical *= sqrt(k * (k + 1) / (6 * n))
    return Ranks(mean, p, critical, _groups(mean, critical))


def _groups(mean: np.ndarray, critical: float) -> list[list[int]]:
    order = [int(k) for k in np.argsort(mean, kind="stable")]
    groups: list[list[int]] = []
    for start, first in enumerate(order):
        group = [k for k in order[start:] if mean[k] - mean[first] < critical]
        if len(group) > 1 and not any(set(group) <= set(larger) for larger in groups):
            groups.append(group)
    return groups
