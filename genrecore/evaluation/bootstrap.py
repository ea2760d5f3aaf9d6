"""Bootstrap intervals of accuracies and their differences; clips of one artist drawn together.

Clips of one artist are not independent: a system that knows the artist's sound is right or wrong on
all of them. So whole groups are drawn with replacement (Davison & Hinkley, Bootstrap Methods and
their Application, 1997, section 3.8), and intervals are percentile ones (section 5.3). Where a
system was trained with several seeds, seeds are drawn as well, independently of the clips: the
pigeonhole bootstrap of crossed factors (Owen 2007, The pigeonhole bootstrap, Annals of Applied
Statistics 1 (2), 386-411).

A few seeds say little about how much seeds differ, and no bootstrap accounts for that. So where
seeds are drawn, intervals are widened by the ratio of Student's t to the normal distribution, with
Satterthwaite's degrees of freedom of a sum of variances (1946, An approximate distribution of
estimates of variance components, Biometrics Bulletin 2 (6)), as for readers and cases in diagnostic
studies (Hillis, Obuchowski & Berbaum 2011, Academic Radiology 18 (2)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from statistics import NormalDist

import numpy as np

N_RESAMPLES = 10_000
_BATCH = 1_000  # resamples at a time: their counts take a few megabytes


@dataclass(frozen=True)
class Interval:
    """An estimate, its 95 % interval and its standard error, all shares."""

    value: float
    low: float
    high: float
    error: float


NOTHING = Interval(*[float("nan")] * 4)


class Resamples:
    """Accuracies of several systems on the same clips, over the same resamples of clips.

    Attributes:
        values: Accuracy of each system, (systems,).
        draws: The same in each resample, (resamples, systems).
        n_groups: How many groups of clips were drawn from.
    """

    def __init__(
        self,
        right: Sequence[np.ndarray],
        groups: np.ndarray,
        n_resamples: int = N_RESAMPLES,
        seed: int = 0,
    ) -> None:
        """Draws the resamples.

        Args:
            right: For each system whether each of its runs (seeds) is right on each clip,
                (runs, clips) bool; of one run (1, clips). As float, nan is a clip that the run was
                not tested on; then a system's accuracy is that over all its tests.
            groups: Each clip's group (its artist, or the clip itself), (clips,).
            n_resamples: How many resamples.
            seed: Seed of the draws: the same comparison gives the same numbers.

        Raises:
            ValueError: A system has another number of clips.
        """
        generator = np.random.default_rng(seed)
        _, member = np.unique(groups, return_inverse=True)
        self.n_groups = n_groups = int(member.max()) + 1 if len(member) else 0
        sums, sizes, owner = [], [], []
        everything = np.bincount(member, minlength=n_groups).astype(float)
        for system, rows in enumerate(right):
            if rows.ndim != 2 or rows.shape[1] != len(groups):
                raise ValueError(f"system {system}: shape {rows.shape} for {len(groups)} clips")
            for row in rows:
                tested = ~np.isnan(row)
                sums.append(np.bincount(member, np.where(tested, row, 0.0), n_groups))
                complete = bool(tested.all())
                sizes.append(everything if complete else np.bincount(member, tested, n_groups))
                owner.append(system)
        self._runs = [np.flatnonzero(np.array(owner) == system) for system in range(len(right))]
        # Where all runs were tested on all clips, one column of sizes serves all.
        shared = all(size is everything for size in sizes)
        table = np.stack([*sums, *([everything] if shared else sizes)], axis=1)
        whole = table.sum(axis=0)[None]
        self.values = self._mean_of_runs(whole)[0]
        self._of_runs = (whole[0, : len(owner)] / whole[0, len(owner) :]).astype(float)
        draws = []
        for first in range(0, n_resamples, _BATCH):
            n = min(_BATCH, n_resamples - first)
            sampled = generator.integers(0, n_groups, (n, n_groups))
            sampled += np.arange(n)[:, None] * n_groups
            counts = np.bincount(sampled.ravel(), minlength=n * n_groups).reshape(n, n_groups)
            draws.append(self._mean_of_runs(counts.astype(float) @ table, generator))
        self.draws = np.concatenate(draws)

    def accuracy(self, system: int, confidence: float = 0.95) -> Interval:
        """Accuracy of one system."""
        return self._interval(
            float(self.values[system]), self.draws[:, system], [system], confidence
        )

    def difference(self, a: int, b: int, confidence: float = 0.95) -> Interval:
        """Accuracy of system a minus that of system b."""
        value = float(self.values[a] - self.values[b])
        return self._interval(value, self.draws[:, a] - self.draws[:, b], [a, b], confidence)

    def p(self, a: int, b: int) -> float:
        """Two-sided p-value of the hypothesis that two systems, at least one of them with several
        seeds, are equally good: Student's t of the difference over its standard error."""
        from scipy import stats

        draws = self.draws[:, a] - self.draws[:, b]
        error, value = float(draws.std(ddof=1)), float(self.values[a] - self.values[b])
        if error == 0:
            return 1.0 if value == 0 else 0.0
        return float(2 * stats.t.sf(abs(value) / error, self.freedom([a, b], error)))

    def freedom(self, systems: Sequence[int], error: float) -> float:
        """Satterthwaite's degrees of freedom of a standard error: the number of seeds and of groups
        of clips, each less one, combined; infinite where no system has several runs."""
        seeds, below = 0.0, 0.0
        for system in systems:
            values = self._of_runs[self._runs[system]]
            if len(values) > 1:
                part = float(values.var(ddof=1)) / len(values)
                seeds, below = seeds + part, below + part**2 / (len(values) - 1)
        if seeds == 0:
            return inf
        clips = max(0.0, error**2 - seeds)
        below += clips**2 / max(1, self.n_groups - 1)
        return (seeds + clips) ** 2 / below

    def _interval(
        self, value: float, draws: np.ndarray, systems: Sequence[int], confidence: float
    ) -> Interval:
        tail = 50 * (1 - confidence)
        low, high = (float(end) for end in np.percentile(draws, [tail, 100 - tail]))
        error = float(draws.std(ddof=1))
        freedom = self.freedom(systems, error)
        if freedom != inf:
            wider = _student(freedom, confidence) / NormalDist().inv_cdf(0.5 + confidence / 2)
            low, high = value + wider * (low - value), value + wider * (high - value)
        return Interval(value, low, high, error)

    def _mean_of_runs(
        self, sampled: np.ndarray, generator: np.random.Generator | None = None
    ) -> np.ndarray:
        """The accuracy over each system's runs, or over runs drawn from them, (resamples, systems).

        Drawing from n runs gives their mean a variance that is too small by (n - 1) / n, which
        matters for three seeds; so the deviation from the plain mean is widened accordingly.

        Args:
            sampled: Sums of right clips of each run, then numbers of clips of each or of all,
                (resamples, runs + sizes).
            generator: Draws runs; without it every run counts once.
        """
        n_runs = sum(len(runs) for runs in self._runs)
        right, n_clips = sampled[:, :n_runs], sampled[:, n_runs:]
        n_clips = np.broadcast_to(n_clips, right.shape)
        means = []
        for runs in self._runs:
            own_right, sizes, n = right[:, runs], n_clips[:, runs], len(runs)
            mean = _ratio(own_right, sizes)
            if generator is not None and n > 1:
                picks = generator.integers(0, n, own_right.shape)
                redrawn = _ratio(
                    np.take_along_axis(own_right, picks, axis=1),
                    np.take_along_axis(sizes, picks, axis=1),
                )
                mean = mean + np.sqrt(n / (n - 1)) * (redrawn - mean)
            means.append(mean)
        return np.stack(means, axis=1)


def accuracy(right: np.ndarray, groups: np.ndarray, n_resamples: int = N_RESAMPLES) -> Interval:
    """Accuracy of one run; `right` (clips,) bool, `groups` (clips,). All nan without clips."""
    if not len(right):
        return NOTHING
    return Resamples([right[None]], groups, n_resamples).accuracy(0)


def _ratio(right: np.ndarray, n_clips: np.ndarray) -> np.ndarray:
    """The share of right clips, (resamples,); 0 in a resample without clips of these runs."""
    return right.sum(axis=1) / np.maximum(n_clips.sum(axis=1), 1)


def _student(freedom: float, confidence: float) -> float:
    from scipy import stats

    return float(stats.t.ppf(0.5 + confidence / 2, max(1.0, freedom)))
