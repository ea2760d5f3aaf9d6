"""Intervals and tests of accuracies, where clips of one artist and runs of one system are alike.

A system that knows an artist's sound is right or wrong on all of the artist's clips, so clips of
one artist say less than as many clips of different artists. The variance of a mean over clips is
therefore summed over artists, not over clips: the cluster-robust variance, with the correction CR2
for few clusters (Bell & McCaffrey 2002, Bias reduction in standard errors for linear regression
with multi-stage samples, Survey Methodology 28 (2)). Of a mean, it divides the sum of an artist's
residuals by √(1 − the artist's share of the clips). Student's t takes the place of the normal
distribution. Its degrees of freedom count few or very unequal artists for what they are worth: the
quantile is that of the mean over its standard error where an artist's clips are as alike as they
look (McCaffrey & Bell 2006, Improved hypothesis testing for coefficients in generalized estimating
equations with small samples of clusters, Statistics in Medicine 25 (23)). Theirs is the saddlepoint
approximation for clips that are not alike, ours the exact distribution, with the intra-class
correlation estimated by analysis of variance (Donner & Koval 1980, The estimation of intraclass
correlation in the analysis of family data, Biometrics 36 (1)).

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
    "McCaffrey 2002, McCaffrey & Bell 2006)."
)
"""The method in a sentence, with its sources."""

LEAST_FREEDOM = 2.0
"""With fewer degrees of freedom of the artists no method holds: there are too few to tell."""


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
        of_artists: The degrees of freedom that the artists alone give, whoever is right: those of
            the variance where clips of one artist are not alike (Imbens & Kolesár 2016, Robust
            standard errors in small samples, Review of Economics and Statistics 98 (4), section 3).
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
_QUANTILES = 1.9601, 12.7062  # of Student's t with 16,000 degrees of freedom and with 1
_ANGLES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_ANGLES, _WEIGHTS = np.pi / 4 * (_ANGLES + 1), _WEIGHTS / 2  # of a mean over a right angle


def _as_table(right: np.ndarray, groups: np.ndarray) -> np.ndarray:
    table = np.atleast_2d(np.asarray(right, dtype=float))
    if table.ndim != 2 or table.shape[1] != len(groups):
        raise ValueError(f"right has the shape {table.shape} for {len(groups)} clips")
    return table


def _variance(sides: Sequence[np.ndarray], groups: np.ndarray) -> _Variance:
    """The variance of the mean of one table, or of the difference of the means of two, (runs,
    clips) each."""
    _, member = np.unique(groups, return_inverse=True)
    parts, weights = np.zeros(len(member)), np.zeros(len(member))  # of the clips
    for sign, table in zip((1, -1), sides, strict=False):
        tested = ~np.isnan(table)
        n_tests = tested.sum()
        parts += sign * np.where(tested, table - np.nanmean(table), 0.0).sum(axis=0) / n_tests
        weights += tested.sum(axis=0) / (n_tests * len(sides))
    _, artists = np.unique(member[weights > 0], return_inverse=True)
    sizes, shares = np.bincount(artists), np.bincount(artists, weights[weights > 0])
    residuals = np.bincount(artists, parts[weights > 0])
    if len(shares) < 2:
        return _Variance(0.0, 0.0, 0.0, len(shares), 1.0)
    of_clips = float((residuals**2 / (1 - shares)).sum())
    paired = shares**2 / (1 - shares)
    squares = float((shares**2).sum())
    of_artists = float(1 / (squares + paired.sum() ** 2 - (paired**2).sum()))
    freedom = of_artists  # Student's t itself, where artists are equal
    if np.ptp(shares) > _TINY:
        alike = likeness(sizes, residuals, (parts**2).sum())
        freedom = float(student_freedom(shares, sizes * (1 - alike) + sizes**2 * alike))
    total, below = of_clips, of_clips**2 / freedom
    for table in sides:
        if len(table) > 1:
            of_seeds, of_their_clips = _seeds(table, member)
            if of_seeds > of_their_clips:  # what adds nothing takes no freedom
                total += of_seeds - of_their_clips
                below += of_seeds**2 / (len(table) - 1)
    if total < _TINY**2:
        total = 0.0
    else:
        # Few artists may look alike by chance, which makes the seeds seem to be all there is.
        freedom = max(1.0, min(freedom, total**2 / below))
    return _Variance(total, freedom, of_artists, len(shares), 1 / squares)


def likeness(sizes: np.ndarray, sums: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """The intra-class correlation of artists' clips, 0 to 1, by analysis of variance.

    Args:
        sizes: Each artist's clips, (…, artists).
        sums: The sum of what is measured of each artist's clips, in all 0, (…, artists).
        squares: The sum of its squares over all clips, (…).
    """
    n_clips, n_artists = sizes.sum(axis=-1), sizes.shape[-1]
    between = (sums**2 / sizes).sum(axis=-1)
    within = np.maximum(squares - between, 0.0) / np.maximum(n_clips - n_artists, 1)
    between, size = between / (n_artists - 1), n_clips - (sizes**2).sum(axis=-1) / n_clips
    total = between + (size / (n_artists - 1) - 1) * within
    return np.clip((between - within) / np.maximum(total, _TINY**2), 0.0, 1.0)


def student_freedom(shares: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """The degrees of freedom with which Student's t has the 95 % quantile of a mean over its
    standard error CR2, where artists' sums are independent and normal, (…).

    The mean exceeds q standard errors where mean² − q² CR2, a quadratic form of the sums with one
    positive eigenvalue, is positive. Its characteristic function, the determinant of a diagonal
    matrix plus one of rank 2, is inverted along the branch cut that belongs to this eigenvalue,
    which leaves an integral over a right angle (for any eigenvalues: Imhof 1961, Computing the
    distribution of quadratic forms in normal variables, Biometrika 48 (3/4)). Equal artists give
    Student's t itself.

    Args:
        shares: Each artist's share of the clips, (…, artists).
        variances: The variance of each artist's sum, in any unit, (…, artists).
    """
    from scipy import special

    # CR2 is Σ scale (sum − share mean)² = Σ scale sum² − 2 mean Σ weight sum + square mean².
    scale = 1 / (1 - shares)
    weight = shares * scale
    square = (shares * weight).sum(axis=-1)[..., None]
    variances = (variances / variances.sum(axis=-1, keepdims=True))[..., None, :]
    scale, weight = scale[..., None, :], weight[..., None, :]

    def factors(at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        diagonal = 1 + at[..., None] * variances * scale
        a, b, c = ((variances * weight**k / diagonal).sum(axis=-1) for k in range(3))
        of_rank_2 = 1 - 2 * at * b + at * square * a + at**2 * (b**2 - a * c)
        return np.log(diagonal).sum(axis=-1), of_rank_2, at * a

    def tail(log_cut: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The logarithm of how often the mean exceeds q, over that wanted, and q²."""
        cut = np.exp(log_cut)[..., None]
        _, of_rank_2, of_mean = factors(cut)
        q_square = of_mean / of_rank_2
        diagonal, of_rank_2, of_mean = factors(cut / np.cos(_ANGLES) ** 2)
        root = np.sqrt(np.maximum(of_mean / q_square - of_rank_2, _TINY**2))
        share = (np.exp(-diagonal / 2) * np.tan(_ANGLES) / root) @ _WEIGHTS
        return np.log(np.maximum(share, _TINY) / 0.05), q_square[..., 0]

    before, cut = (np.full(shares.shape[:-1], np.log(square)) for square in (4.0, 8.0))
    value_before, _ = tail(before)
    for _ in range(12):  # the secant method
        value, q_square = tail(cut)
        with np.errstate(invalid="ignore", divide="ignore"):
            step = np.nan_to_num(value * (cut - before) / (value_before - value)).clip(-2, 2)
        if (abs(step) < _TINY).all():
            break
        before, value_before, cut = cut, value, cut + step
    return special.stdtridf(0.975, np.clip(np.sqrt(q_square), *_QUANTILES))


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
    artists, clip_ids = (predictions[name].to_numpy(dtype=object) for name in ("artist", "clip_id"))
    return np.where(pd.isna(artists), "\0" + clip_ids, artists).astype(str)


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
