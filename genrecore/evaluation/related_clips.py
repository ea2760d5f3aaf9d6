"""Copies of a clip's recording, and other clips of its artist."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from genrecore.data import clips as clip_tables
from genrecore.data.datasets import DATASETS
from genrecore.store.run import Run

EXACT, NEAR, PUBLISHED = (
    "the same samples",
    "the same recording, by its fingerprint",
    "an exact copy by the published list of faults",
)


def copies(run: Run, clip_id: str) -> pd.DataFrame:
    """Other clips that hold the same recording: `clip_id, how`, in clip-table order.

    From the run's audit (identical samples, acoustic fingerprints; at most 300 findings of a kind)
    and from published lists of the dataset's copies. Copies of copies count.
    """
    pairs = list(_pairs(run))
    hows: dict[str, str] = {}
    waiting = [clip_id]
    while waiting:
        current = waiting.pop()
        for a, b, how in pairs:
            copy = b if a == current else a if b == current else ""
            if copy and copy != clip_id and copy not in hows:
                hows[copy] = how if current == clip_id else f"{how}, by way of {current}"
                waiting.append(copy)
    table = run.clips
    clip_ids = [] if table is None else table["clip_id"].tolist()
    rows = [name for name in clip_ids if name in hows]
    return pd.DataFrame({"clip_id": rows, "how": [hows[name] for name in rows]})


def _pairs(run: Run) -> Iterator[tuple[str, str, str]]:
    """(clip, clip, how) of clips that hold the same recording."""
    by_kind = {"exact_copy": EXACT, "near_copy": NEAR}
    for finding in run.audit.get("findings", []):
        if finding.get("kind") in by_kind and finding.get("other_clip_id"):
            how = by_kind[finding["kind"]]
            yield str(finding["clip_id"]), str(finding["other_clip_id"]), how
    dataset = run.config.dataset.name  # which may not be registered any more
    known_copies = DATASETS[dataset].facts.known_copies if dataset in DATASETS else None
    if known_copies is not None:
        for clip_id, original in known_copies().items():
            yield str(clip_id), str(original), PUBLISHED


def same_artist(clips: pd.DataFrame, clip_id: str) -> pd.DataFrame:
    """Other clips of the same artist, in any spelling of case; none where the artist is unknown."""
    if "artist" not in clips:
        return clips.iloc[:0]
    artists = clip_tables.same_names(clips["artist"])
    own = artists[clips["clip_id"] == clip_id].dropna()
    if own.empty:
        return clips.iloc[:0]
    same = artists.eq(own.iloc[0]).fillna(False).astype(bool)
    return clips[same & (clips["clip_id"] != clip_id)]
