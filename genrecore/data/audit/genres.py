"""What the clip table says by itself: sizes of genres, artists, lengths."""

from __future__ import annotations

import numpy as np
import pandas as pd

from genrecore.data.audit.crossings import known
from genrecore.data.audit.findings import Finding
from genrecore.data.clips import same_names
from genrecore.words import plural

UNEVEN = 2.0
"""From which ratio of the largest to the smallest genre on accuracy says little by itself."""

VERY_UNEVEN = 5.0


def findings(clips: pd.DataFrame) -> list[Finding]:
    """Everything about genres, artists and lengths; about parts where the clips have a split."""
    found = _sizes(clips) + _artists(clips) + _lengths(clips)
    return found + (_parts(clips) if clips["split"].notna().any() else [])


def _sizes(clips: pd.DataFrame) -> list[Finding]:
    sizes = clips["genre"].value_counts().sort_index()
    if len(sizes) < 2:
        return []
    ratio = float(sizes.max() / sizes.min())
    if ratio < UNEVEN:
        return []
    sentence = (
        f"The largest genre, {sizes.idxmax()}, has {sizes.max()} clips and the smallest, "
        f"{sizes.idxmin()}, {sizes.min()}, a ratio of {ratio:.1f}: look at the macro F1, not at "
        "the accuracy alone."
    )
    return [("imbalance", "warning" if ratio >= VERY_UNEVEN else "note", "", "", ratio, sentence)]


def _artists(clips: pd.DataFrame) -> list[Finding]:
    artist = known(clips["artist"])
    missing = artist.isna()
    if missing.all():
        sentence = "No clip has an artist, so artists that cross a split cannot be seen."
        return [("artist_unknown", "warning", "", "", float(len(clips)), sentence)]
    found: list[Finding] = []
    if missing.any():
        n = int(missing.sum())
        sentence = (
            f"{plural(n, 'clip')} of {len(clips)} {'has' if n == 1 else 'have'} no artist; "
            "whether the artist of such a clip crosses the split cannot be seen."
        )
        found.append(("artist_unknown", "note", "", "", float(n), sentence))

    genre = clips["genre"].reset_index(drop=True)
    table = pd.DataFrame({"genre": genre, "artist": artist, "key": same_names(artist)})
    by_genre = table.groupby("genre")["key"]
    n_known, n_missing = by_genre.nunique(), missing.groupby(genre).sum()
    for name in n_known.index[(n_known == 1) & (n_missing == 0)]:
        only = table.loc[table["genre"] == name, "artist"].iloc[0]
        sentence = (
            f"{name} has a single artist ({only}): training and test cannot both have {name} "
            "without sharing that artist, so artist-grouped folds are impossible."
        )
        found.append(("single_artist", "warning", "", "", 1.0, sentence))
    for name in n_known.index[(n_known + n_missing == 2)]:
        sentence = (
            f"{name} has only two artists: too few for training, validation and test to have one "
            "each, so artist-grouped folds with a validation part are impossible."
        )
        found.append(("few_artists", "warning", "", "", 2.0, sentence))

    names = pd.Series(artist.dropna().unique())
    same = same_names(names)
    for _, variants in names[same.duplicated(keep=False)].groupby(same, sort=True):
        listed = " and ".join(repr(str(name)) for name in variants)
        sentence = f"{listed} differ in case or spaces only and count as one artist."
        found.append(("artist_spelling", "warning", "", "", float(len(variants)), sentence))
    return found


def _lengths(clips: pd.DataFrame) -> list[Finding]:
    seconds = clips["duration_s"].to_numpy(dtype=float, na_value=np.nan)
    if np.isnan(seconds).all():
        return []
    middle = float(np.nanmedian(seconds))
    rows = np.flatnonzero(seconds < middle / 2)  # NaN compares as False
    return [
        (
            "short",
            "note",
            str(clips["clip_id"].iloc[row]),
            "",
            float(seconds[row]),
            f"{clips['clip_id'].iloc[row]} lasts {seconds[row]:.1f} s, less than half of the "
            f"median of {middle:.1f} s.",
        )
        for row in rows.tolist()
    ]


def _parts(clips: pd.DataFrame) -> list[Finding]:
    found: list[Finding] = []
    sizes = pd.crosstab(clips["genre"], clips["split"]).reindex(
        columns=["train", "valid", "test"], fill_value=0
    )
    for name, row in sizes.iterrows():
        if row["test"] and not row["train"]:
            sentence = (
                f"{name} has {plural(row['test'], 'clip')} in the test part and none in the "
                "training part: nothing can be right about it."
            )
            found.append(("unseen_genre", "problem", "", "", float(row["test"]), sentence))
        elif row["train"] and not row["test"]:
            sentence = (
                f"{name} has {plural(row['train'], 'clip')} in the training part and none in the "
                "test part: what was learned about it is not tested."
            )
            found.append(("untested_genre", "warning", "", "", float(row["train"]), sentence))
    n_unused = int(clips["split"].isna().sum())
    if n_unused:
        sentence = f"{plural(n_unused, 'clip')} of {len(clips)} stand in no part of the split."
        if n_unused == 1:
            sentence = sentence.replace("stand", "stands")
        found.append(("unused", "note", "", "", float(n_unused), sentence))
    return found
