"""What else there is of a clip: copies of its recording, and other clips of its artist."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from genrecore.data import clips as clip_tables
from genrecore.data.datasets import gtzan
from genrecore.store.files import read_json
from genrecore.store.run import Run

EXACT, NEAR, PUBLISHED = (
    "the same samples",
    "the same recording, by its fingerprint",
    "an exact copy by the published list of faults",
)


def copies(run: Run, clip_id: str) -> pd.DataFrame:
    """Other clips that hold the same recording: `clip_id, how`, in clip-table order.

    What the run's audit found (identical samples, acoustic fingerprints) and, for GTZAN, the copies
    that Sturm lists. Copies of copies count. An audit keeps 300 findings of a kind.
    """
    edges = list(_pairs(run))
    found: dict[str, str] = {}
    waiting = [clip_id]
    while waiting:
        here = waiting.pop()
        for a, b, how in edges:
            other = b if a == here else a if b == here else ""
            if other and other != clip_id and other not in found:
                found[other] = how if here == clip_id else f"{how}, by way of {here}"
                waiting.append(other)
    table = run.clips
    known = [] if table is None else table["clip_id"].tolist()
    rows = [name for name in known if name in found]
    return pd.DataFrame({"clip_id": rows, "how": [found[name] for name in rows]})


def _pairs(run: Run) -> Iterator[tuple[str, str, str]]:
    """(clip, clip, how) that hold the same recording."""
    audit = read_json(run.folder / "audit.json")
    hows = {"exact_copy": EXACT, "near_copy": NEAR}
    for finding in audit.get("findings", []):
        if finding.get("kind") in hows and finding.get("other_clip_id"):
            yield (
                str(finding["clip_id"]),
                str(finding["other_clip_id"]),
                hows[finding["kind"]],
            )
    if run.config.dataset.name == "gtzan":
        listed = gtzan.known_facts()["exact_copy_of"].dropna()
        for clip_id, original in listed.items():
            yield str(clip_id), str(original), PUBLISHED


def same_artist(clips: pd.DataFrame, clip_id: str) -> pd.DataFrame:
    """Other clips of the same artist, spelled in whatever case; none where nobody knows it."""
    if "artist" not in clips:
        return clips.iloc[:0]
    artists = clip_tables.same_names(clips["artist"])
    mine = artists[clips["clip_id"] == clip_id].dropna()
    if mine.empty:
        return clips.iloc[:0]
    same = artists.eq(mine.iloc[0]).fillna(False).astype(bool)
    return clips[same & (clips["clip_id"] != clip_id)]
