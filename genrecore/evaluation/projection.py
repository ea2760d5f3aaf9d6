"""A map of a run's clips: its embedding on a plane, by PCA and by t-SNE. No torch here.

PCA is linear: distances on it are shares of true ones. t-SNE keeps who is near whom and nothing
else: neither sizes of groups nor distances between them mean anything (van der Maaten & Hinton
2008, Visualizing data using t-SNE, JMLR 9; Wattenberg, Viégas & Johnson 2016, How to use t-SNE
effectively, Distill).
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from genrecore.errors import GenrecoreError
from genrecore.evaluation import embedding as embedding_store
from genrecore.store.files import write_bytes, write_text
from genrecore.store.progress import Phase, Report, silent
from genrecore.store.run import Run

MOST = 1500
"""Clips on a map; of more, all test clips come first, then validation, then training by chance."""

_FILE, _ABOUT = "map.parquet", "map.json"
_KEPT = 50  # components that t-SNE starts from, as its authors did
_PERPLEXITY = 30.0


@dataclass(frozen=True)
class Projection:
    """Clips on two planes.

    Attributes:
        points: `clip_id, genre, split, pca_x, pca_y, tsne_x, tsne_y`, one row a clip.
        explained: Shares of the variance that the two axes of PCA hold.
        n_left_out: Training clips for which there was no room.
    """

    points: pd.DataFrame
    explained: tuple[float, float]
    n_left_out: int


def project(run: Run, report: Report = silent) -> Projection:
    """The map of a run's clips, from the cache or made now from its embedding.

    Raises:
        GenrecoreError: The run's embedding was not computed yet.
    """
    kept = read(run)
    if kept is not None:
        return kept
    made = embedding_store.read(run)
    if made is None:
        raise GenrecoreError(
            f"The clips of the run {run.run_id} were not looked at yet: genrecore embed "
            f"{run.run_id}."
        )
    chosen = _chosen(made.clips["split"])
    report(Phase.MAPPING, 0, 0)
    pca, tsne, explained = _planes(made.values[chosen].astype(np.float64))
    points = made.clips.iloc[chosen].reset_index(drop=True)
    points = points.assign(pca_x=pca[:, 0], pca_y=pca[:, 1], tsne_x=tsne[:, 0], tsne_y=tsne[:, 1])
    drawn = Projection(points, explained, len(made.clips) - len(points))
    folder = embedding_store.folder(run)
    content = io.BytesIO()
    points.to_parquet(content, index=False)
    about = {"explained": list(explained), "n_left_out": drawn.n_left_out}
    write_text(folder / _ABOUT, json.dumps(about))  # before the file that is looked for
    write_bytes(folder / _FILE, content.getbuffer())
    return drawn


def read(run: Run) -> Projection | None:
    """The map of a run's clips, or None where it was not made yet."""
    try:
        folder = embedding_store.folder(run)
        points = pd.read_parquet(folder / _FILE)
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        first, second = about["explained"]
        return Projection(points, (first, second), int(about["n_left_out"]))
    except (GenrecoreError, OSError, ValueError, KeyError):
        return None


def _chosen(split: pd.Series) -> np.ndarray:
    """Places of the clips that are drawn, in their order."""
    random = np.random.default_rng(0)
    rank = split.map({"test": 0, "valid": 1}).fillna(2).to_numpy(dtype=int)
    order = np.lexsort((random.random(len(rank)), rank))
    return np.sort(order[:MOST])


def _planes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """((clips, 2) by PCA, (clips, 2) by t-SNE, shares of variance) of (clips, n)."""
    from sklearn.decomposition import PCA  # a second, and only tasks need it
    from sklearn.manifold import TSNE

    n_kept = min(_KEPT, *values.shape)
    turned = PCA(n_kept, svd_solver="randomized", random_state=0)
    components = turned.fit_transform(values)
    shares = np.nan_to_num([*turned.explained_variance_ratio_, 0.0])
    plane = np.pad(components, ((0, 0), (0, max(0, 2 - n_kept))))[:, :2]
    perplexity = min(_PERPLEXITY, (len(values) - 1) / 3)
    started = plane / max(float(plane[:, 0].std()), 1e-12) * 1e-4
    tsne = TSNE(2, perplexity=perplexity, init=started, random_state=0)
    return plane, tsne.fit_transform(components), (float(shares[0]), float(shares[1]))
