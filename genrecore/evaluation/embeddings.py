"""Embeddings as they are kept: one folder in the cache a run and its weights. No torch here.

`clips.parquet` and `values.npy`, in the same order; `what.json` names the corpus, too;
`map.parquet` where the clips were put on a map (`genrecore.evaluation.projection`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from genrecore.errors import GenrecoreError
from genrecore.store.files import cache_dir, digest, read_json, write_json
from genrecore.store.locks import make_once
from genrecore.store.run import Run

_FORMAT = 1
_CLIPS, _VALUES, _WHAT = "clips.parquet", "values.npy", "what.json"


@dataclass(frozen=True)
class Embedding:
    """Where a run puts its clips.

    Attributes:
        clips: `clip_id, genre, split`, one row a clip.
        values: Of the same clips, (clips, n) float32.
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
        """The clips that lie nearest: `clip_id, genre, split, distance`, the nearest first.

        Distances are cosine distances about the mean of the training clips, 0 (the same direction)
        to 2 (the opposite one): activations have no unit, but their directions compare.

        Args:
            vector: An embedding, (n,).
            n: How many clips.
            split: Of which part of the split; None is all.
            but: Clips that do not count.

        Raises:
            GenrecoreError: The vector is another run's: it has another length.
        """
        if vector.shape != self.values.shape[1:]:
            raise GenrecoreError(
                f"This embedding has {self.values.shape[1]} numbers a clip, but "
                f"{len(vector)} were given: another run's."
            )
        wanted = ~self.clips["clip_id"].isin(but).to_numpy(dtype=bool)
        if split is not None:
            wanted &= self.clips["split"].eq(split).to_numpy(dtype=bool)
        distance = self.distances(vector[None], wanted)[0]
        order = np.argsort(distance, kind="stable")[:n]
        rows = self.clips[wanted].iloc[order].reset_index(drop=True)
        return rows.assign(distance=distance[order])

    def distances(self, vectors: np.ndarray, to: np.ndarray) -> np.ndarray:
        """Distances as in `nearest`, (vectors, clips), of vectors (vectors, n) to some clips.

        Args:
            vectors: Embeddings.
            to: Which clips, (clips,) bool.
        """
        train = self.clips["split"].eq("train").to_numpy(dtype=bool)
        middle = self.values[train if train.any() else slice(None)].mean(axis=0, dtype=np.float64)
        return 1.0 - _directions(vectors - middle) @ _directions(self.values[to] - middle).T


def _directions(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)


def folder(run: Run) -> Path:
    """Where a run's embedding is kept, whether it is there or not.

    Raises:
        GenrecoreError: The run has no weights.
    """
    try:
        stat = run.weights.stat()
    except OSError:
        raise GenrecoreError(
            f"The run {run.run_id} has no weights yet (it is {run.state}), so it puts clips "
            "nowhere."
        ) from None
    what = [_FORMAT, run.run_id, stat.st_size, stat.st_mtime_ns]
    return cache_dir() / "embeddings" / digest(what)


def read(run: Run) -> Embedding | None:
    """A run's embedding, or None where it was not computed yet."""
    try:
        place = folder(run)
        return Embedding(
            pd.read_parquet(place / _CLIPS), np.load(place / _VALUES, allow_pickle=False)
        )
    except (GenrecoreError, OSError, ValueError):
        return None


def keep(run: Run, made: Embedding, corpus_key: str) -> Embedding:
    """Keeps a run's embedding, made of the corpus of that key, and returns it."""

    def fill(partial: Path) -> None:
        made.clips.to_parquet(partial / _CLIPS, index=False)
        np.save(partial / _VALUES, made.values)
        what = {"run": run.run_id, "made": time.time(), "corpus": corpus_key}
        write_json(partial / _WHAT, what)

    make_once(folder(run), fill)
    return made


def corpus_key(run: Run) -> str:
    """The key of the corpus that a run's embedding was made of; empty where none is kept."""
    try:
        return str(read_json(folder(run) / _WHAT).get("corpus", ""))
    except GenrecoreError:
        return ""


def note_corpus(run: Run, key: str) -> None:
    """Keeps the key of the run's corpus beside its embedding, where that is kept."""
    what = folder(run) / _WHAT
    if what.parent.is_dir():
        write_json(what, read_json(what) | {"corpus": key})
