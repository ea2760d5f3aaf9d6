"""A clip's probabilities, pooled from those of its segments."""

from __future__ import annotations

import numpy as np
import pandas as pd

from genrecore.evaluation import metrics
from genrecore.store.run import Run

POOLINGS = {
    "probabilities": "summed probabilities",
    "logits": "mean logits",
    "majority": "majority of the segments",
}
"""Ways to pool the predictions of a clip's segments, with their names inside a sentence."""


def clip_proba(segments: pd.DataFrame, pooling: str = "probabilities") -> pd.DataFrame:
    """A clip's probabilities from its segments'; index `clip_id, split, genre`, in segment order.

    Args:
        segments: `clip_id, split, genre, p_<genre>…`, one row a segment.
        pooling: A key of `POOLINGS`.
    """
    columns = [name for name in segments.columns if name.startswith("p_")]
    keys = segments[["clip_id", "split", "genre"]]
    clip_of, _ = pd.factorize(pd.MultiIndex.from_frame(keys))
    clips = pd.MultiIndex.from_frame(keys[~keys.duplicated()])
    values = pool_segments(segments[columns].to_numpy(), clip_of, len(clips), pooling)
    return pd.DataFrame(values, columns=columns, index=clips)


def pool_segments(
    values: np.ndarray, clip_of: np.ndarray, n_clips: int, pooling: str
) -> np.ndarray:
    """Probabilities of clips (clips, genres) from their segments', in the type of the latter.

    `probabilities` is their mean. `logits` is the softmax of the mean logits, computed from
    the probabilities alone: a segment's logits are their logarithms up to a constant, which the
    softmax ignores. `majority` is each genre's share of the segments that are most probably of it;
    of genres with equally many, the one with the higher mean probability comes first.

    Args:
        values: Probabilities (segments, genres).
        clip_of: Index of each segment's clip, (segments,).
        n_clips: How many clips there are.
        pooling: A key of `POOLINGS`.
    """
    dtype = values.dtype
    if pooling == "logits":
        # The smallest normal float32: the logarithm of 0 is infinite.
        values = np.log(np.maximum(values, np.finfo(np.float32).tiny))
    elif pooling == "majority":
        votes = np.eye(values.shape[1], dtype=values.dtype)[values.argmax(axis=1)]
        values = values * 1e-6 + votes * (1 - 1e-6)
    counts = np.bincount(clip_of, minlength=n_clips)[:, None]
    sums = [np.bincount(clip_of, column, n_clips) for column in values.T]
    means = np.stack(sums, axis=1) / counts
    if pooling == "logits":
        raised = np.exp(means - means.max(axis=1, keepdims=True))
        means = raised / raised.sum(axis=1, keepdims=True)
    return means.astype(dtype)


def accuracy_by_pooling(run: Run) -> dict[str, float]:
    """Test accuracy by each of the `POOLINGS`; empty where every clip is one segment."""
    table = run.segments
    if table is None:
        return {}
    test = table[table["split"] == "test"]
    if test["clip_id"].is_unique:
        return {}
    return {
        name: metrics.scores(clip_proba(test, name).reset_index())["accuracy"] for name in POOLINGS
    }
