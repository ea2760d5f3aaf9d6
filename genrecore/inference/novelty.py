"""Out-of-distribution detection: how far a recording lies from everything a run learned from.

Distances are Mahalanobis distances to the nearest genre's mean, with one covariance for all genres:
Lee, Lee, Lee & Shin (2018), A simple unified framework for detecting out-of-distribution samples
and adversarial attacks, NeurIPS, section 2.1, on the layer before the last one. Ours shrinks the
covariance halfway to a multiple of the identity, because there are often fewer clips than numbers
in an embedding. On runs of 100 clips of GTZAN this tells noise and speech from held-out music far
better than the energy score (Liu, Wang, Owens & Li 2020) and the nearest clip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import nan

import numpy as np
from scipy.linalg import solve_triangular

from genrecore.evaluation.embeddings import Embedding

MARGIN = 1.2
"""How many times as far as nearly all validation clips a recording must lie to be called unlike the
training music: a run chooses its epoch by those clips, so others lie a little farther."""

NEARLY_ALL = 0.99
"""Of the validation clips; of fewer than a hundred it is all of them."""

LEAST_CLIPS = 8
"""With fewer validation clips nothing is called unlike."""

_SHRINKAGE = 0.5


@dataclass(frozen=True)
class NoveltyDetector:
    """The distribution of a run's training clips, and the distance that is usual.

    Attributes:
        means: Of each genre's training clips, (genres, n).
        variance: What the shrunk covariance adds in every direction.
        deviations: Of training clips from their genre's mean, (clips, n), where there are fewer
            clips than numbers in an embedding; else None.
        factor: Lower Cholesky factor of the shrunk covariance, (n, n), or of the matrix that takes
            its place where there are `deviations`, (clips, clips).
        limit: The distance from which on a recording is unlike the training clips; nan with too few
            validation clips.
        n_clips: Validation clips that set the limit.
    """

    means: np.ndarray
    variance: float
    deviations: np.ndarray | None
    factor: np.ndarray
    limit: float = nan
    n_clips: int = 0

    def distances(self, vectors: np.ndarray) -> np.ndarray:
        """Distances (clips,) of embeddings (clips, n); about 1 for a typical training clip."""
        squares = [self._squares(vectors.astype(np.float64) - mean) for mean in self.means]
        return np.sqrt(np.maximum(np.min(squares, axis=0), 0.0) / vectors.shape[1])

    def is_unlike(self, vector: np.ndarray) -> bool:
        """Whether an embedding (n,) lies beyond the limit; False where there is none."""
        return bool(self.distances(vector[None])[0] > self.limit)

    def _squares(self, deviations: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis lengths (clips,) of (clips, n)."""
        if self.deviations is None:
            return self._solved_squares(deviations)
        # The inverse of a multiple of the identity plus a few directions (Woodbury's identity).
        inside = self._solved_squares(deviations @ self.deviations.T)
        return (np.square(deviations).sum(axis=1) - inside) / self.variance

    def _solved_squares(self, rows: np.ndarray) -> np.ndarray:
        solved = solve_triangular(self.factor, rows.T, lower=True, check_finite=False)
        return np.square(solved).sum(axis=0)


def fit(embedding: Embedding) -> NoveltyDetector:
    """The detector of a run, from the embeddings of its training and validation clips."""
    split = embedding.clips["split"].to_numpy(dtype=object)
    train = embedding.values[split == "train"].astype(np.float64)
    genres, member = np.unique(
        embedding.clips["genre"].to_numpy(dtype=str)[split == "train"], return_inverse=True
    )
    means = np.stack([train[member == k].mean(axis=0) for k in range(len(genres))])
    deviations = train - means[member]
    n_train, n = deviations.shape
    mean_variance = float(np.square(deviations).sum()) / n_train / n
    variance = max((1 - _SHRINKAGE) * mean_variance, 1e-12)
    # Cholesky factors, not eigenvectors: with thousands of clips and numbers these take a minute.
    if n_train < n:
        inner = deviations @ deviations.T + np.eye(n_train) * (n_train * variance / _SHRINKAGE)
        detector = NoveltyDetector(means, variance, deviations, np.linalg.cholesky(inner))
    else:
        shrunk = deviations.T @ deviations * (_SHRINKAGE / n_train) + np.eye(n) * variance
        detector = NoveltyDetector(means, variance, None, np.linalg.cholesky(shrunk))
    valid = embedding.values[split == "valid"]
    if len(valid) < LEAST_CLIPS:
        return detector
    limit = MARGIN * float(np.quantile(detector.distances(valid), NEARLY_ALL, method="higher"))
    return replace(detector, limit=limit, n_clips=len(valid))
