"""Schemes of k folds: by clip, by artist, by album."""

from __future__ import annotations

import numpy as np
import pandas as pd

from genrecore.data.splits.groups import ALBUMS, assign, in_groups
from genrecore.data.splits.registered import (
    ARTIST_FILTER,
    SPLITS,
    USUAL,
    FoldOptions,
    as_fold,
    check_fold,
    refuse_small,
)


class ArtistFoldOptions(FoldOptions):
    """The number of parts, and whether albums stay together as well."""

    albums: bool = ALBUMS


@SPLITS.register(
    "stratified",
    title="By clip",
    source=USUAL,
    options=FoldOptions,
    folds=True,
    says="By clip: every genre is divided evenly, and clips of one artist may stand on both sides",
)
def stratified(clips: pd.DataFrame, options: FoldOptions, seed: int, fold: int) -> pd.Series:
    """The split of every clip, aligned with `clips.index`; artists may cross.

    The clips of each genre are shuffled and assigned in turn, so the parts of a genre differ by
    one clip at most, and so do the parts as a whole.

    Raises:
        UsageError: A fold that does not exist.
        GenrecoreError: A genre with fewer clips than parts.
    """
    check_fold(fold, options.n_folds)
    refuse_small(clips["genre"].value_counts(), options.n_folds, "clips")
    rng = np.random.default_rng([seed, 1])
    shuffled = [
        members.index[rng.permutation(len(members))]
        for _, members in clips.sort_values("clip_id").groupby("genre", sort=True)
    ]
    # Assigned across genres, so that the next genre continues where this one ended.
    part = pd.Series(0, index=clips.index)
    part[np.concatenate(shuffled)] = np.arange(len(clips)) % options.n_folds
    return as_fold(part, fold, options.n_folds)


@SPLITS.register(
    "by_artist",
    title="By artist",
    source=ARTIST_FILTER,
    options=ArtistFoldOptions,
    folds=True,
    keeps=("artist",),
    says="By artist: clips of one artist stay on one side",
    says_albums="By artist and album: clips that share either stay on one side",
)
def by_artist(clips: pd.DataFrame, options: ArtistFoldOptions, seed: int, fold: int) -> pd.Series:
    """The split of every clip, aligned with `clips.index`; no artist crosses.

    Artists are assigned to parts as `groups.assign` says. A clip of an unknown artist counts as an
    artist of its own: two such clips may be by the same artist and still cross. Copies may cross
    too: the clip table does not know them, the audit does. With `albums`, clips joined by artist or
    album, directly or through others, are one group.

    Raises:
        UsageError: A fold that does not exist.
        GenrecoreError: A genre with so few artists that a part would be without it.
    """
    return _grouped(clips, "both" if options.albums else "artist", options.n_folds, seed, fold)


@SPLITS.register(
    "by_album",
    title="By album",
    source="Flexer & Schnitzer, Album and artist effects for audio similarity at the scale of the "
    "web, SMC 2009 (the album filter)",
    options=FoldOptions,
    folds=True,
    keeps=("album",),
    says="By album: clips of one album stay on one side, an artist's albums may stand on both",
)
def by_album(clips: pd.DataFrame, options: FoldOptions, seed: int, fold: int) -> pd.Series:
    """The split of every clip, aligned with `clips.index`; no album crosses.

    As `by_artist` with albums instead of artists: an artist with several albums may stand on both
    sides.

    Raises:
        UsageError: A fold that does not exist.
        GenrecoreError: No clip names its album, or a genre with so few albums that a part would
            be without it.
    """
    return _grouped(clips, "album", options.n_folds, seed, fold)


def _grouped(clips: pd.DataFrame, by: str, n_folds: int, seed: int, fold: int) -> pd.Series:
    check_fold(fold, n_folds)
    rng = np.random.default_rng([seed, 2])
    part = assign(in_groups(clips, by), np.ones(n_folds), rng, by, part="folds")
    return as_fold(part.reindex(clips.index), fold, n_folds)
