"""Schemes of k folds: by clip, by artist, by album."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pydantic import Field

from genrecore.data.splits.groups import assign, in_groups
from genrecore.data.splits.registered import SPLITS, FoldOptions, as_fold, check_fold, refuse_small


class ArtistFoldOptions(FoldOptions):
    """Into how many parts, and whether albums stay together too."""

    albums: bool = Field(
        False,
        title="Albums too",
        description="Keep clips of one album together as well, across artists",
    )


@SPLITS.register(
    "stratified",
    title="By clip",
    source="usual practice: clips of one artist, even of one recording, may stand on both sides",
    options=FoldOptions,
    folds=True,
    seeded=True,
    keeps=(),
    says="By clip: every genre is divided evenly, and clips of one artist may stand on both sides",
)
def stratified(clips: pd.DataFrame, options: FoldOptions, seed: int, fold: int) -> pd.Series:
    """`train`, `valid` or `test` for every clip, aligned with `clips.index`; artists may cross.

    The clips of each genre are shuffled and assigned in turn, so the parts of a genre differ by
    one clip at most, and so do the parts as a whole.

    Raises:
        UsageError: A fold that does not exist.
        GenrecoreError: A genre with fewer clips than parts.
    """
    check_fold(fold, options.n_folds)
    refuse_small(clips["genre"].value_counts(), options.n_folds, "clips")
    rng = np.random.default_rng([seed, 1])
    part = pd.Series(0, index=clips.index)
    turn = 0
    for _, members in clips.sort_values("clip_id").groupby("genre", sort=True):
        part[members.index[rng.permutation(len(members))]] = (
            turn + np.arange(len(members))
        ) % options.n_folds
        turn += len(members)  # the next genre goes on where this one ended
    return as_fold(part, fold, options.n_folds)


@SPLITS.register(
    "by_artist",
    title="By artist",
    source="Pampalk, Flexer & Widmer, Improvements of audio-based music similarity and genre "
    "classification, ISMIR 2005 (the artist filter)",
    options=ArtistFoldOptions,
    folds=True,
    seeded=True,
    keeps=("artist",),
    says="By artist: clips of one artist stay on one side",
    says_albums="By artist and album: clips that share either stay on one side",
)
def by_artist(clips: pd.DataFrame, options: ArtistFoldOptions, seed: int, fold: int) -> pd.Series:
    """`train`, `valid` or `test` for every clip, aligned with `clips.index`; no artist crosses.

    The artists of each genre, largest first and equals in random order, go one after the other to
    the part that has fewest clips of that genre (of equals, fewest clips at all). Artists of
    several genres come before all others and keep to one part. A clip whose artist is not known
    counts as an artist of its own: two such clips may be by the same artist and still cross.
    Copies are not kept together beyond that: the clip table does not know them, the audit does.
    With `albums`, clips joined by artist or album, directly or through others, are one group.

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
    seeded=True,
    keeps=("album",),
    says="By album: clips of one album stay on one side, an artist's albums may stand on both",
)
def by_album(clips: pd.DataFrame, options: FoldOptions, seed: int, fold: int) -> pd.Series:
    """`train`, `valid` or `test` for every clip, aligned with `clips.index`; no album crosses.

    As `by_artist`, with albums in the place of artists: an artist with several albums may stand
    on both sides. A clip whose album is not known counts as an album of its own.

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
