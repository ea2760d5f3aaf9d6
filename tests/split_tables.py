"""Clip tables that the tests of splits share."""

from __future__ import annotations

import importlib.resources
from typing import Any

import numpy as np
import pandas as pd

from genrecore.data import splits
from genrecore.data.clips import clip_table


def clips(seed: int = 0, n_genres: int = 7, n_artists: int = 11) -> pd.DataFrame:
    """Genres of uneven artists, some clips without one, one artist in two genres."""
    rng = np.random.default_rng(seed)
    rows = []
    for genre in range(n_genres):
        clip = 0
        for artist in range(n_artists):
            for _ in range(int(rng.integers(1, 6))):
                rows.append(
                    {
                        "clip_id": f"g{genre}.{clip:05d}",
                        "path": f"/music/g{genre}/{clip}.wav",
                        "genre": f"g{genre}",
                        "artist": None if artist == 3 else f"artist {genre}.{artist}",
                        "album": None if artist == 4 else f"album {genre}.{artist}.{clip % 2}",
                        "split": ("train", "test", "valid", "train")[clip % 4],
                    }
                )
                clip += 1
        rows.append(rows[-1] | {"clip_id": f"g{genre}.{clip:05d}", "artist": "everywhere"})
    return clip_table(rows)


def apply_split(
    clips: pd.DataFrame,
    name: str,
    options: dict[str, Any] | None = None,
    seed: int = 0,
    fold: int = 0,
) -> pd.DataFrame:
    """The clip table split by the scheme of this name."""
    return splits.apply(clips, splits.SPLITS.choose(name, options or {}), seed, fold)


def gtzan() -> pd.DataFrame:
    """A clip table of GTZAN's 1 000 names and artists, from the packaged facts."""
    table = importlib.resources.files("genrecore.data") / "tables" / "gtzan_annotations.csv"
    with importlib.resources.as_file(table) as path:
        facts = pd.read_csv(path, dtype="string")
    genre = facts["clip_id"].str.split(".").str[0]
    return clip_table(facts.assign(genre=genre, path="x").to_dict("records"))
