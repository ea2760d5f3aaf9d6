"""Fewer training clips: so many of each genre are drawn from the training part of a split.

Only training is thinned. Validation and test stay as the split makes them, so whatever the split
keeps apart (artists, albums) stays apart, and runs that learned from few clips and from all are
tested on the same ones.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from genrecore.data.splits.groups import in_groups
from genrecore.words import listed, out_of, plural, thousands

_MOST_GENRES = 4  # in a sentence


def draw_training(clips: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """The clip table (a copy, same order) with at most `n` training clips of each genre; the others
    take no part any more.

    Training clips are put in random order, then every artist's first clip comes before anybody's
    second, and the first `n` of a genre are kept: they are of as many artists as possible, and the
    draw of more clips holds that of fewer. A clip whose artist is not known counts as one of its
    own.

    Args:
        clips: A clip table with its split.
        n: Clips a genre, at least 1; a genre with fewer keeps all.
        seed: Of the random order.
    """
    trained = in_groups(clips[clips["split"].eq("train").fillna(False)], "artist")
    trained = trained.iloc[np.random.default_rng(seed).permutation(len(trained))]
    turn = trained.groupby(["genre", "group"]).cumcount().sort_values(kind="stable")
    kept = trained.loc[turn.index].groupby("genre").head(n).index
    return clips.assign(split=clips["split"].mask(clips.index.isin(trained.index.difference(kept))))


def draw_note(before: pd.DataFrame, after: pd.DataFrame, n: int) -> str:
    """How many training clips `draw_training` kept, and which genres had fewer than `n`."""
    n_before, trained = (before["split"] == "train").sum(), after[after["split"] == "train"]
    by_genre = trained["genre"].value_counts()
    fewer = [f"{genre} ({by_genre[genre]})" for genre in sorted(by_genre.index[by_genre < n])]
    artists = ""
    if trained["artist"].notna().all():
        artists = f", by {plural(in_groups(trained, 'artist')['group'].nunique(), 'artist')}"
    note = f"Of the training clips {out_of(len(trained), n_before)} are learned from{artists}: "
    note += f"{thousands(n)} of each genre"
    if fewer:
        note += f", or all where there are fewer: {listed(fewer, most=_MOST_GENRES)}"
    return f"{note}. All validation and test clips stay."
