"""Bootstrap intervals of accuracies and their differences, clips of one artist drawn together.

Clips of one artist are not independent: a system that knows the artist's sound is right or wrong on
all of them. So whole groups are drawn with replacement (Davison & Hinkley, Bootstrap Methods and
their Application, 1997, section 3.8), and intervals are percentile ones (section 5.3). Where a
system was trained with several seeds, seeds are drawn as well, independently of the clips: the
pigeonhole bootstrap of crossed factors (Owen 2007, The pigeonhole bootstrap, Annals of Applied
Statistics 1 (2), 386-411).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

N_RESAMPLES = 10_000
_AT_ONCE = 1_000  # resamples: their counts take a few megabytes


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
    """

    def __init__(
        self,
        right: Sequence[np.ndarray],
        groups: np.ndarray,
        n_resamples: int = N_RESAMPLES,
        seed: int = 0,
    ) -> None:
        """Draws.

        Args:
            right: For each system whether each of its runs (seeds) is right on each clip,
                (runs, clips) bool; of one run (1, clips).
            groups: Each clip's group (its artist, or the clip itself), (clips,).
            n_resamples: How many.
            seed: Of the draws: the same comparison gives the same numbers.

        Raises:
            ValueError: A system knows another number of clips.
        """
        generator = np.random.default_rng(seed)
        _, member = np.unique(groups, return_inverse=True)
        n_groups = int(member.max()) + 1 if len(member) else 0
        sums, owner = [], []
        for place, rows in enumerate(right):
            if rows.ndim != 2 or rows.shape[1] != len(groups):
                raise ValueError(f"system {place}: shape {rows.shape} for {len(groups)} clips")
            for row in rows:
                sums.append(np.bincount(member, weights=row, minlength=n_groups))
                owner.append(place)
        sizes = np.bincount(member, minlength=n_groups).astype(float)
        self.owner = np.array(owner)
        table = np.stack([*sums, sizes], axis=1)  # (groups, runs + 1)
        self.values = _mean_of_runs(table.sum(axis=0)[None], self.owner)[0]
        draws = []
        for first in range(0, n_resamples, _AT_ONCE):
            n = min(_AT_ONCE, n_resamples - first)
            drawn = generator.integers(0, n_groups, (n, n_groups))
            drawn += np.arange(n)[:, None] * n_groups
            counts = np.bincount(drawn.ravel(), minlength=n * n_groups).reshape(n, n_groups)
            sampled = counts.astype(float) @ table
            draws.append(_mean_of_runs(sampled, self.owner, generator))
        self.draws = np.concatenate(draws)

    def accuracy(self, system: int, confidence: float = 0.95) -> Interval:
        """Of one system."""
        return _interval(float(self.values[system]), self.draws[:, system], confidence)

    def difference(self, a: int, b: int, confidence: float = 0.95) -> Interval:
        """Accuracy of system a minus that of system b."""
        value = float(self.values[a] - self.values[b])
        return _interval(value, self.draws[:, a] - self.draws[:, b], confidence)


def accuracy(right: np.ndarray, groups: np.ndarray, n_resamples: int = N_RESAMPLES) -> Interval:
    """Of one run; `right` (clips,) bool, `groups` (clips,). All nan without clips."""
    if not len(right):
        return NOTHING
    return Resamples([right[None]], groups, n_resamples).accuracy(0)


def _mean_of_runs(
    sampled: np.ndarray, owner: np.ndarray, generator: np.random.Generator | None = None
) -> np.ndarray:
    """(resamples, systems): the mean accuracy of each system's runs, or of runs drawn from them.

    Drawing from n runs spreads their mean too little by the factor (n - 1) / n in variance, which
    matters for three seeds; the deviation from the plain mean is widened by as much.

    Args:
        sampled: Sums of right clips of each run and, last, numbers of clips, (resamples, runs + 1).
        owner: Each run's system, (runs,).
        generator: Draws runs; without it all count once.
    """
    shares = sampled[:, :-1] / sampled[:, -1:]
    means = []
    for system in range(int(owner.max()) + 1):
        of_runs = shares[:, owner == system]
        n = of_runs.shape[1]
        mean = of_runs.mean(axis=1)
        if generator is not None and n > 1:
            drawn = generator.integers(0, n, of_runs.shape)
            deviation = np.take_along_axis(of_runs, drawn, axis=1).mean(axis=1) - mean
            mean = mean + np.sqrt(n / (n - 1)) * deviation
        means.append(mean)
    return np.stack(means, axis=1)


def _interval(value: float, draws: np.ndarray, confidence: float) -> Interval:
    tail = 50 * (1 - confidence)
    low, high = np.percentile(draws, [tail, 100 - tail])
    return Interval(value, float(low), float(high), float(draws.std(ddof=1)))
