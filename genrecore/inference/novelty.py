"""How far a recording lies from everything a run learned from, by the run's embedding. No torch.

Distances are Mahalanobis distances to the nearest genre's mean, with one covariance for all genres:
Lee, Lee, Lee & Shin (2018), A simple unified framework for detecting out-of-distribution samples
and adversarial attacks, NeurIPS, section 2.1, on the layer before the last one. Ours shrinks the
covariance halfway to a multiple of the identity, because there are often fewer clips than numbers
in an embedding. On runs of 100 clips of GTZAN this tells noise and speech from held-out music far
better than the energy score (Liu, Wang, Owens & Li 2020) and the nearest clip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import solve_triangular

from genrecore.evaluation.embeddings import Embedding

MARGIN = 1.2
"""How many times as far as nearly all validation clips a recording must lie to be called unlike the
training music: a run chooses its epoch by those clips, so others lie a little farther."""

NEARLY_ALL = 0.99
"""Of the validation clips; of fewer than a hundred it is all of them."""

LEAST_CLIPS = 8
"""With fewer validation clips nothing is said."""

_SHRUNK = 0.5


@dataclass(frozen=True)
class NoveltyDetector:
    """What lies near to a run.

    Attributes:
        means: Of each genre's training clips, (genres, n).
        ground: What the shrunk covariance holds in every direction.
        away: Training clips from their genre's mean, (clips, n), where they are fewer than the
            numbers of an embedding; else None.
        factor: Lower Cholesky factor of the shrunk covariance, (n, n), or of what takes its place
            where there is `away`, (clips, clips).
        limit: The distance from which on a recording counts as unlike; nan where too few validation
            clips tell.
        n_clips: Validation clips that it was set by.
    """

    means: np.ndarray
    ground: float
    away: np.ndarray | None
    factor: np.ndarray
    limit: float
    n_clips: int

    def distances(self, vectors: np.ndarray) -> np.ndarray:
        """Distances (clips,) of embeddings (clips, n), 1 for a typical training clip or so."""
        nearest = np.full(len(vectors), np.inf)
        for mean in self.means:
            nearest = np.minimum(nearest, self._squared(vectors.astype(np.float64) - mean))
        return np.sqrt(np.maximum(nearest, 0.0) / vectors.shape[1])

    def _squared(self, from_mean: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis lengths (clips,) of (clips, n)."""
        if self.away is None:
            return np.square(_solved(self.factor, from_mean.T)).sum(axis=0)
        # The inverse of a multiple of the identity plus a few directions (Woodbury's identity).
        among = np.square(_solved(self.factor, self.away @ from_mean.T)).sum(axis=0)
        return (np.square(from_mean).sum(axis=1) - among) / self.ground

    def is_unlike(self, vector: np.ndarray) -> bool:
        """Whether an embedding (n,) lies beyond the limit; False where there is none."""
        return bool(self.distances(vector[None])[0] > self.limit)


def _solved(lower: np.ndarray, given: np.ndarray) -> np.ndarray:
    solved: np.ndarray = solve_triangular(lower, given, lower=True, check_finite=False)
    return solved


def fit(embedding: Embedding) -> NoveltyDetector:
    """What a run's training clips say is near, and its validation clips how far that reaches."""
    split = embedding.clips["split"].to_numpy(dtype=object)
    genre = embedding.clips["genre"].to_numpy(dtype=object)
    train = embedding.values[split == "train"].astype(np.float64)
    labels = genre[split == "train"]
    means = np.stack([train[labels == name].mean(axis=0) for name in sorted(set(labels))])
    away = train - means[np.searchsorted(sorted(set(labels)), labels)]
    n_train, n = away.shape
    ground = max((1 - _SHRUNK) * float(np.square(away).sum()) / n_train / n, 1e-12)
    # Factors, not axes: with thousands of clips and of numbers these take a minute.
    if n_train < n:
        inner = away @ away.T + np.eye(n_train) * (n_train * ground / _SHRUNK)
        made = NoveltyDetector(means, ground, away, np.linalg.cholesky(inner), float("nan"), 0)
    else:
        shrunk = away.T @ away * (_SHRUNK / n_train) + np.eye(n) * ground
        made = NoveltyDetector(means, ground, None, np.linalg.cholesky(shrunk), float("nan"), 0)
    held = embedding.values[split == "valid"]
    if len(held) < LEAST_CLIPS:
        return made
    limit = MARGIN * float(np.quantile(made.distances(held), NEARLY_ALL, method="higher"))
    return replace(made, limit=limit, n_clips=len(held))
