"""Stored embeddings of a run's clips, their nearest neighbours, and a map of them; no torch.

A run's embedding lies in the cache in a folder of its own: `clips.parquet` and `values.npy` in the
same order, `what.json` with the key of the corpus, and `map.parquet` once the clips were projected
onto a plane.

PCA is linear: distances on the map are shares of true ones. t-SNE keeps only which clips are near
each other: neither the sizes of groups nor the distances between them mean anything (van der Maaten
& Hinton 2008, Visualizing data using t-SNE, JMLR 9; Wattenberg, Viégas & Johnson 2016, How to use
t-SNE effectively, Distill).
"""

from __future__ import annotations

import io
import json
import shutil
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from genrecore.errors import GenrecoreError
from genrecore.store.files import (
    cache_dir,
    digest,
    open_named,
    read_json,
    write_bytes,
    write_json,
    write_text,
)
from genrecore.store.locks import make_once
from genrecore.store.progress import Phase, Report, silent
from genrecore.store.run import Run
from genrecore.store.tables import read_parquet

MAX_ON_MAP = 1500
"""Clips on a map: test clips first, then validation clips, then training clips drawn at random."""

_FORMAT = 1
_BLOCK = 4096  # clips
_CLIPS, _VALUES, _WHAT = "clips.parquet", "values.npy", "what.json"
_MAP, _MAP_FACTS = "map.parquet", "map.json"
_COLUMNS, _AXES = ("clip_id", "genre", "split"), ("pca_x", "pca_y", "tsne_x", "tsne_y")
_N_COMPONENTS = 50  # principal components that t-SNE starts from, as its authors did
_PERPLEXITY = 30.0


@dataclass(frozen=True)
class Embedding:
    """The embedding of a run's clips.

    Attributes:
        clips: `clip_id, genre, split`, and what else is known, one row a clip.
        values: Vectors of the same clips, (clips, n) float32.
    """

    clips: pd.DataFrame
    values: np.ndarray

    def nearest(
        self,
        vector: np.ndarray,
        n: int = 5,
        split: str | None = "train",
        but: tuple[str, ...] = (),
    ) -> pd.DataFrame:
        """The nearest clips: `clip_id, genre, split, distance`, the nearest first.

        Distances are cosine distances around the mean of the training clips, 0 (the same direction)
        to 2 (the opposite one), since activations have no unit, but comparable directions.

        Args:
            vector: An embedding, (n,).
            n: How many clips.
            split: Only clips of this split; None takes all.
            but: Clips to leave out.

        Raises:
            GenrecoreError: The vector has another length, so it is another run's.
        """
        if vector.shape != self.values.shape[1:]:
            raise GenrecoreError(
                f"This embedding has {self.values.shape[1]} numbers a clip, but the vector has "
                f"{len(vector)}: it is another run's."
            )
        selected = ~self.clips["clip_id"].isin(but).to_numpy(dtype=bool)
        if split is not None:
            selected &= self._is_in(split)
        direction = _directions((vector - self._centre)[None])[0].astype(np.float32)
        cosine = np.clip(self._clip_directions @ direction, -1.0, 1.0)
        distance = np.where(selected, 1.0 - cosine, np.inf)
        n = min(n, int(selected.sum()))
        order = np.argpartition(distance, n - 1)[:n] if n else np.zeros(0, int)
        order = order[np.lexsort((order, distance[order]))]
        rows = self.clips.iloc[order].reset_index(drop=True)
        return rows.assign(distance=distance[order].astype(float))

    def distances(self, vectors: np.ndarray, to: np.ndarray) -> np.ndarray:
        """Distances as in `nearest`, (vectors, clips), of vectors (vectors, n) to some clips.

        Args:
            vectors: Embeddings.
            to: Which clips, (clips,) bool.
        """
        return (
            1.0
            - _directions(vectors - self._centre) @ _directions(self.values[to] - self._centre).T
        )

    def _is_in(self, split: str) -> np.ndarray:
        return self.clips["split"].eq(split).fillna(False).to_numpy(dtype=bool)

    @cached_property
    def _centre(self) -> np.ndarray:
        train = self._is_in("train")
        rows = self.values[train] if train.any() else self.values
        centre: np.ndarray = rows.mean(axis=0, dtype=np.float64)
        return centre

    @cached_property
    def _clip_directions(self) -> np.ndarray:
        """(clips, n) float32: what a search through many clips goes over, block by block so that
        it needs no more memory than they do."""
        directions = np.empty_like(self.values, dtype=np.float32)
        for first in range(0, len(directions), _BLOCK):
            rows = self.values[first : first + _BLOCK]
            directions[first : first + _BLOCK] = _directions(rows - self._centre)
        return directions


def _directions(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)


def folder(run: Run) -> Path:
    """The cache folder of a run's embedding, whether it exists or not.

    Raises:
        GenrecoreError: The run has no weights.
    """
    try:
        stat = run.weights.stat()
    except OSError:
        raise GenrecoreError(
            f"The run {run.run_id} has no weights yet (it is {run.state}), so it has no embedding."
        ) from None
    key = digest([_FORMAT, run.run_id, stat.st_size, stat.st_mtime_ns])
    return cache_dir() / "embeddings" / key


def read(run: Run) -> Embedding | None:
    """A run's embedding, or None if it was not computed yet."""
    try:
        path = folder(run)
        with open_named(path / _VALUES) as stream:
            values = np.load(stream, allow_pickle=False)
        clips = read_parquet(path / _CLIPS)
        if clips is None or not {*_COLUMNS} <= {*clips}:
            return None
        return Embedding(clips, values) if values.shape[:1] == (len(clips),) else None
    except (GenrecoreError, OSError, ValueError, EOFError):
        return None


def keep(run: Run, embedding: Embedding, corpus_key: str) -> Embedding:
    """Stores a run's embedding with the key of the corpus that it was computed from."""

    def fill(partial: Path) -> None:
        embedding.clips.to_parquet(partial / _CLIPS, index=False)
        np.save(partial / _VALUES, embedding.values)
        facts = {"run": run.run_id, "made": time.time(), "corpus": corpus_key}
        write_json(partial / _WHAT, facts)

    path = folder(run)
    if path.is_dir() and read(run) is None:  # damaged
        shutil.rmtree(path, ignore_errors=True)
    make_once(path, fill)
    return embedding


def corpus_key(run: Run) -> str:
    """The key of the corpus that a run's embedding was computed from; empty where none is kept."""
    try:
        return str(read_json(folder(run) / _WHAT).get("corpus", ""))
    except GenrecoreError:
        return ""


def note_corpus(run: Run, key: str) -> None:
    """Keeps the key of the run's corpus beside its embedding, if there is one."""
    path = folder(run) / _WHAT
    if path.parent.is_dir():
        write_json(path, read_json(path) | {"corpus": key})


@dataclass(frozen=True)
class Projection:
    """A run's clips on two planes.

    Attributes:
        points: `clip_id, genre, split, pca_x, pca_y, tsne_x, tsne_y`, one row a clip.
        explained: Shares of the variance along the two axes of PCA.
        n_left_out: Training clips beyond `MAX_ON_MAP`.
    """

    points: pd.DataFrame
    explained: tuple[float, float]
    n_left_out: int


def project(run: Run, report: Report = silent) -> Projection:
    """The map of a run's clips, from the cache or computed now from its embedding.

    Raises:
        GenrecoreError: The run's embedding was not computed yet.
    """
    stored = read_map(run)
    if stored is not None:
        return stored
    embedding = read(run)
    if embedding is None:
        raise GenrecoreError(
            f"The embedding of the run {run.run_id} was not computed yet: genrecore embed "
            f"{run.run_id}."
        )
    chosen = _choose(embedding.clips["split"])
    report(Phase.MAPPING, 0, 0)
    pca, tsne, explained = _planes(embedding.values[chosen].astype(np.float64))
    points = embedding.clips.iloc[chosen].reset_index(drop=True)
    points = points.assign(pca_x=pca[:, 0], pca_y=pca[:, 1], tsne_x=tsne[:, 0], tsne_y=tsne[:, 1])
    clip_map = Projection(points, explained, len(embedding.clips) - len(points))
    content = io.BytesIO()
    points.to_parquet(content, index=False)
    facts = {"explained": list(explained), "n_left_out": clip_map.n_left_out}
    write_text(
        folder(run) / _MAP_FACTS, json.dumps(facts)
    )  # first: readers look for the other file
    write_bytes(folder(run) / _MAP, content.getbuffer())
    return clip_map


def read_map(run: Run) -> Projection | None:
    """The map of a run's clips, or None if it was not computed yet."""
    try:
        path = folder(run)
        points, facts = read_parquet(path / _MAP), read_json(path / _MAP_FACTS)
        if points is None or not {*_COLUMNS, *_AXES} <= {*points}:
            return None
        first, second = map(float, facts["explained"])
        return Projection(points, (first, second), int(facts["n_left_out"]))
    except (GenrecoreError, OSError, ValueError, TypeError, KeyError):
        return None


def _choose(split: pd.Series) -> np.ndarray:
    """Indices of the clips on the map, in their order."""
    random = np.random.default_rng(0)
    rank = split.map({"test": 0, "valid": 1}).fillna(2).to_numpy(dtype=int)
    order = np.lexsort((random.random(len(rank)), rank))
    return np.sort(order[:MAX_ON_MAP])


def _planes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """((clips, 2) by PCA, (clips, 2) by t-SNE, shares of variance) of (clips, n)."""
    from sklearn.decomposition import PCA  # a slow import that only tasks need
    from sklearn.manifold import TSNE

    n_components = min(_N_COMPONENTS, *values.shape)
    pca = PCA(n_components, svd_solver="randomized", random_state=0)
    components = pca.fit_transform(values)
    shares = np.nan_to_num([*pca.explained_variance_ratio_, 0.0])
    plane = np.pad(components, ((0, 0), (0, max(0, 2 - n_components))))[:, :2]
    perplexity = min(_PERPLEXITY, (len(values) - 1) / 3)
    start = plane / max(float(plane[:, 0].std()), 1e-12) * 1e-4
    tsne = TSNE(2, perplexity=perplexity, init=start, random_state=0)
    return plane, tsne.fit_transform(components), (float(shares[0]), float(shares[1]))
