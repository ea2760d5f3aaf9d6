"""Intervals and tests of accuracies, where clips of one artist and runs of one system are alike.

A system that knows an artist's sound is right or wrong on all of the artist's clips, so clips of
one artist say less than as many clips of different artists. The variance of a mean over clips is
therefore summed over artists, not over clips: the cluster-robust variance, with the correction CR2
for few clusters (Bell & McCaffrey 2002, Bias reduction in standard errors for linear regression
with multi-stage samples, Survey Methodology 28 (2)). Of a mean, it divides the sum of an artist's
residuals by √(1 − the artist's share of the clips). Student's t takes the place of the normal
distribution, with the degrees of freedom of Imbens & Kolesár (2016, Robust standard errors in small
samples, Review of Economics and Statistics 98 (4), section 3), which count few or very unequal
artists for what they are worth (also Pustejovsky & Tipton 2018, Small-sample methods for
cluster-robust variance estimation, Journal of Business & Economic Statistics 36 (4)).

Where a system was trained with several seeds, the variance of the seeds' accuracies is added, less
the part of it that comes from the clips and is in the artists' variance already. The degrees of
freedom of the sum are Satterthwaite's (1946, An approximate distribution of estimates of variance
components, Biometrics Bulletin 2 (6)). With a single run the interval is about that very training.

An accuracy's interval is Wilson's score interval for as many independent clips as would have this
variance (the effective sample size, as for proportions in surveys: Franco, Little, Louis & Slud
2019, Comparative study of confidence intervals for proportions in complex sample surveys, Journal
of Survey Statistics and Methodology 7 (3)), so it has a width where all clips are right, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf, nan, sqrt

import numpy as np
import pandas as pd

from genrecore.evaluation.significance import wilson

METHOD = (
    "Clips of one artist are alike, and so are trainings with other seeds: intervals and p-values "
    "count artists and seeds, not clips (cluster-robust variance CR2 with Student's t; Bell & "
    "McCaffrey 2002, Imbens & Kolesár 2016)."
)
"""The method in a sentence, with its sources."""

LEAST_FREEDOM = 2.0
"""With fewer degrees of freedom no method holds: there are too few artists to tell."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval.

    Attributes:
        value: The estimate, a share.
        low: The lower end, a share.
        high: The upper end, a share.
        error: The standard error, a share.
        freedom: Degrees of freedom of the standard error.
        p: Two-sided p-value of the hypothesis that the estimate is 0; nan of an accuracy.
        of_artists: The degrees of freedom that the artists alone give.
    """

    value: float
    low: float
    high: float
    error: float
    freedom: float
    p: float = nan
    of_artists: float = inf

    @property
    def holds(self) -> bool:
        """Whether there are enough artists for the interval and the test."""
        return self.of_artists >= LEAST_FREEDOM


NOTHING = Interval(*[nan] * 5)


@dataclass(frozen=True)
class _Variance:
    """The variance of a mean or of a difference of two, and its degrees of freedom."""

    value: float
    freedom: float
    of_artists: float
    n_groups: int
    effective_groups: float


def accuracy(right: np.ndarray, groups: np.ndarray, confidence: float = 0.95) -> Interval:
    """Accuracy over all tests of a run or system; all nan without clips.

    Args:
        right: Whether each run (seed) is right on each clip, (runs, clips) bool; of one run
            (clips,). As float, nan is a clip that the run was not tested on.
        groups: Each clip's group (its artist, or the clip itself), (clips,).
        confidence: How often such intervals hold the true value.
    """
    table = _as_table(right, groups)
    n_clips = int((~np.isnan(table)).any(axis=0).sum())
    if not n_clips:
        return NOTHING
    value, variance = float(np.nanmean(table)), _variance([table], groups)
    if len(table) == 1 and variance.n_groups == n_clips:  # nothing is alike: Wilson's own
        low, high = wilson(value * n_clips, n_clips, confidence)
        return _accuracy(value, low, high, variance)
    n = _effective_clips(value, variance, _MOST_PER_CLIP * n_clips)
    low, high = wilson(value * n, n, quantile=_student(variance.freedom, confidence))
    return _accuracy(value, low, high, variance)


def least_accuracy(right: np.ndarray, groups: np.ndarray, certainty: float) -> float:
    """The lower bound of an accuracy; nan without clips.

    It is Clopper & Pearson's (1934) for the effective number of clips, which is that of the artists
    where all clips are right (Korn & Graubard 1998, Confidence intervals for proportions with small
    expected number of positive counts estimated from survey data, Survey Methodology 24 (2)). Near
    1 it holds where the lower end of Wilson's interval lies too high.

    Args:
        right: Whether each clip is recognised, (clips,).
        groups: As for `accuracy`.
        certainty: How often such bounds lie below the true value.
    """
    from scipy.special import betaincinv

    table, n_clips = _as_table(right, groups), len(groups)
    if not n_clips:
        return nan
    value, variance = float(table.mean()), _variance([table], groups)
    n = float(n_clips)
    if variance.n_groups < n_clips:
        n = _effective_clips(value, variance, n_clips)
        if 0 < value < 1:  # so many as degrees of freedom tell the variance from another
            one_sided = 2 * certainty - 1
            n *= (_student(inf, one_sided) / _student(variance.freedom, one_sided)) ** 2
    n_right = n * value
    return float(betaincinv(n_right, n - n_right + 1, 1 - certainty)) if n_right else 0.0


def effective_groups(groups: np.ndarray) -> float:
    """As many artists of equal size as these are worth (Kish 1965, Survey sampling, section 8.2);
    0 without clips."""
    n_clips = np.unique(groups, return_counts=True)[1]
    return float(n_clips.sum() ** 2 / (n_clips**2).sum()) if len(n_clips) else 0.0


def _effective_clips(value: float, variance: _Variance, most: float) -> float:
    """As many independent clips as would have this variance, `most` at most: one far below that of
    independent clips is chance, where artists are few."""
    spread = value * (1 - value)
    if variance.value > 0 and spread > 0:
        return min(spread / variance.value, most)
    return variance.effective_groups


def _accuracy(value: float, low: float, high: float, variance: _Variance) -> Interval:
    error = sqrt(variance.value)
    return Interval(value, low, high, error, variance.freedom, of_artists=variance.of_artists)


def difference(
    right_a: np.ndarray, right_b: np.ndarray, groups: np.ndarray, confidence: float = 0.95
) -> Interval:
    """Accuracy of A minus that of B on the same clips, and the test of the hypothesis that they are
    equally good; all nan without clips.

    Args:
        right_a: As for `accuracy`.
        right_b: The same of B.
        groups: As for `accuracy`.
        confidence: How often such intervals hold the true value.
    """
    a, b = _as_table(right_a, groups), _as_table(right_b, groups)
    if np.isnan(a).all() or np.isnan(b).all():
        return NOTHING
    value = float(np.nanmean(a) - np.nanmean(b))
    variance = _variance([a, b], groups)
    quantile = _student(variance.freedom, confidence)
    # Two that never disagree on n clips may still disagree on this share of all clips (Wilson).
    n_clips = int((~np.isnan(np.concatenate([a, b]))).any(axis=0).sum())
    reach = max(quantile * sqrt(variance.value), wilson(0, n_clips, quantile=quantile)[1])
    error = reach / quantile
    p = _two_sided(value / error, variance.freedom)
    ends = value - reach, value + reach
    return Interval(value, *ends, error, variance.freedom, p, variance.of_artists)


def independent(
    value: float, parts: Sequence[tuple[float, float]], confidence: float = 0.95
) -> Interval:
    """A difference of independent estimates with its interval, by Satterthwaite's rule.

    Args:
        value: The difference.
        parts: Standard error and degrees of freedom of each estimate.
        confidence: How often such intervals hold the true value.
    """
    total = sum(error**2 for error, _ in parts)
    below = sum(error**4 / freedom for error, freedom in parts)
    error, freedom = sqrt(total), total**2 / below if below > 0 else inf
    reach = _student(freedom, confidence) * error
    p = _two_sided(value / error, freedom) if error else nan
    return Interval(value, value - reach, value + reach, error, freedom, p)


_TINY = 1e-9
_MOST_PER_CLIP = 2  # independent clips that one clip may stand for


def _as_table(right: np.ndarray, groups: np.ndarray) -> np.ndarray:
    table = np.atleast_2d(np.asarray(right, dtype=float))
    if table.ndim != 2 or table.shape[1] != len(groups):
        raise ValueError(f"right has the shape {table.shape} for {len(groups)} clips")
    return table


def _variance(sides: Sequence[np.ndarray], groups: np.ndarray) -> _Variance:
    """The variance of the mean of one table, or of the difference of the means of two, (runs,
    clips) each."""
    _, member = np.unique(groups, return_inverse=True)
    residuals, shares = np.zeros(member.max() + 1), np.zeros(member.max() + 1)
    for sign, table in zip((1, -1), sides, strict=False):
        tested = ~np.isnan(table)
        n_tests = tested.sum()
        residual = np.where(tested, table - np.nanmean(table), 0.0).sum(axis=0) / n_tests
        residuals += sign * np.bincount(member, residual)
        shares += np.bincount(member, tested.sum(axis=0)) / (n_tests * len(sides))
    residuals, shares = residuals[shares > 0], shares[shares > 0]
    if len(shares) < 2:
        return _Variance(0.0, 0.0, 0.0, len(shares), 1.0)
    of_clips = float((residuals**2 / (1 - shares)).sum())
    paired = shares**2 / (1 - shares)
    squares = float((shares**2).sum())
    freedom = of_artists = float(1 / (squares + paired.sum() ** 2 - (paired**2).sum()))
    total, below = of_clips, of_clips**2 / freedom
    for table in sides:
        if len(table) > 1:
            of_seeds, of_their_clips = _seeds(table, member)
            total += max(0.0, of_seeds - of_their_clips)
            below += of_seeds**2 / (len(table) - 1)
    if total < _TINY**2:
        total = 0.0
    else:
        # Few artists may look alike by chance, which makes the seeds seem to be all there is.
        freedom = max(1.0, min(freedom, total**2 / below))
    return _Variance(total, freedom, of_artists, len(shares), 1 / squares)


def _seeds(table: np.ndarray, member: np.ndarray) -> tuple[float, float]:
    """The variance of the mean of the runs' accuracies, and the part of it that comes from the
    clips: how much runs differ within artists, beyond how they differ in all."""
    tested = ~np.isnan(table)
    means = np.nanmean(table, axis=1, keepdims=True)
    residuals = np.stack([np.bincount(member, row) for row in np.where(tested, table - means, 0.0)])
    n_tests = np.stack([np.bincount(member, row) for row in tested])
    shared = np.maximum((n_tests > 0).sum(axis=0), 1)  # runs that were tested on the artist
    several = shared > 1
    residuals -= np.where((n_tests > 0) & several, residuals.sum(axis=0) / shared, 0.0)
    of_groups = (residuals**2).sum(axis=0) * np.where(
        several, shared / np.maximum(shared - 1, 1), 1
    )
    share = n_tests.sum(axis=0) / n_tests.sum()
    of_clips = float((of_groups / np.maximum(1 - share, _TINY)).sum()) / float(n_tests.sum()) ** 2
    return float(means.var(ddof=1)) / len(table), of_clips


def artist_groups(predictions: pd.DataFrame) -> np.ndarray:
    """The group of each clip: its `artist`, or the clip itself where none is known, (clips,)."""
    if "artist" not in predictions:
        return np.arange(len(predictions)).astype(str)
    alone = "\0" + predictions["clip_id"].astype("string")
    return predictions["artist"].astype("string").fillna(alone).to_numpy(dtype=str)


# Of `scipy.special`, since a call of `scipy.stats` takes a hundred times as long.


@lru_cache(maxsize=1000)
def _student(freedom: float, confidence: float) -> float:
    """The quantile of Student's t to either side of an interval."""
    from scipy import special

    return float(special.stdtrit(max(freedom, 1.0), 0.5 + confidence / 2))


def _two_sided(t: float, freedom: float) -> float:
    """The p-value of Student's t."""
    from scipy import special

    return float(2 * special.stdtr(freedom, -abs(t)))
