"""Findings of the clip table alone: sizes of genres, artists, lengths."""

from __future__ import annotations

import numpy as np
import pandas as pd

from genrecore.data import genres as relabel
from genrecore.data.audit.crossings import stripped_names
from genrecore.data.audit.findings import Finding
from genrecore.data.clips import same_names
from genrecore.words import decimals, plural, thousands

UNEVEN = 2.0
"""Ratio of the largest to the smallest genre from which accuracy alone says little."""

VERY_UNEVEN = 5.0


def findings(clips: pd.DataFrame) -> list[Finding]:
    """Findings about genres, artists and lengths, and about the split where there is one."""
    parts = _parts(clips) if clips["split"].notna().any() else []
    return _names(clips) + _sizes(clips) + _artists(clips) + _lengths(clips) + parts


def _names(clips: pd.DataFrame) -> list[Finding]:
    counts = relabel.counted(clips)
    return [
        Finding(
            "genre_spelling",
            "warning",
            relabel.look_alike_sentence(group, counts),
            value=float(sum(counts[name] for name in group)),
        )
        for group in relabel.look_alikes(counts)
    ]


def _sizes(clips: pd.DataFrame) -> list[Finding]:
    sizes = clips["genre"].value_counts().sort_index()
    if len(sizes) < 2:
        return []
    ratio = float(sizes.max() / sizes.min())
    if ratio < UNEVEN:
        return []
    sentence = (
        f"The largest genre, {sizes.idxmax()}, has {thousands(sizes.max())} clips and the "
        f"smallest, {sizes.idxmin()}, {thousands(sizes.min())}, a ratio of {decimals(ratio)}: "
        "look at the macro-F1, not at the accuracy alone."
    )
    severity = "warning" if ratio >= VERY_UNEVEN else "note"
    return [Finding("imbalance", severity, sentence, value=ratio)]


def _artists(clips: pd.DataFrame) -> list[Finding]:
    artist = stripped_names(clips["artist"])
    missing = artist.isna()
    if missing.all():
        sentence = "No clip has an artist, so artists that cross a split cannot be seen."
        return [Finding("artist_unknown", "warning", sentence, value=float(len(clips)))]
    rows: list[Finding] = []
    if missing.any():
        n = int(missing.sum())
        sentence = (
            f"{plural(n, 'clip')} of {thousands(len(clips))} {'has' if n == 1 else 'have'} no "
            "artist; whether the artist of such a clip crosses the split cannot be seen."
        )
        rows.append(Finding("artist_unknown", "note", sentence, value=float(n)))

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
        rows.append(Finding("single_artist", "warning", sentence, value=1.0))
    for name in n_known.index[(n_known + n_missing == 2)]:
        sentence = (
            f"{name} has only two artists: too few for training, validation and test to have one "
            "each, so artist-grouped folds with a validation part are impossible."
        )
        rows.append(Finding("few_artists", "warning", sentence, value=2.0))

    names = pd.Series(artist.dropna().unique())
    same = same_names(names)
    for _, variants in names[same.duplicated(keep=False)].groupby(same, sort=True):
        listed = " and ".join(repr(str(name)) for name in variants)
        sentence = f"{listed} differ in case or spaces only and count as one artist."
        rows.append(Finding("artist_spelling", "warning", sentence, value=float(len(variants))))
    return rows


def _lengths(clips: pd.DataFrame) -> list[Finding]:
    seconds = clips["duration_s"].to_numpy(dtype=float, na_value=np.nan)
    if np.isnan(seconds).all():
        return []
    middle = float(np.nanmedian(seconds))
    rows = np.flatnonzero(seconds < middle / 2)  # NaN compares as False
    return [
        Finding(
            "short",
            "note",
            f"{clips['clip_id'].iloc[row]} lasts {decimals(seconds[row])} s, less than half of the "
            f"median of {decimals(middle)} s.",
            str(clips["clip_id"].iloc[row]),
            value=float(seconds[row]),
        )
        for row in rows.tolist()
    ]


def _parts(clips: pd.DataFrame) -> list[Finding]:
    rows: list[Finding] = []
    sizes = pd.crosstab(clips["genre"], clips["split"]).reindex(
        columns=["train", "valid", "test"], fill_value=0
    )
    for name, n in sizes.iterrows():
        if n["test"] and not n["train"]:
            sentence = (
                f"{name} has {plural(n['test'], 'clip')} in the test part and none in the "
                "training part, so none of them can be classified correctly."
            )
            rows.append(Finding("unseen_genre", "problem", sentence, value=float(n["test"])))
        elif n["train"] and not n["test"]:
            sentence = (
                f"{name} has {plural(n['train'], 'clip')} in the training part and none in the "
                "test part, so what was learned about it is not tested."
            )
            rows.append(Finding("untested_genre", "warning", sentence, value=float(n["train"])))
    n_unused = int(clips["split"].isna().sum())
    if n_unused:
        verb = "is" if n_unused == 1 else "are"
        sentence = (
            f"{plural(n_unused, 'clip')} of {thousands(len(clips))} {verb} in no part of the split."
        )
        rows.append(Finding("unused", "note", sentence, value=float(n_unused)))
    return rows
