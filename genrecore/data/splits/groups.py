"""Groups of clips that must stay together (artists, albums), and how they are assigned to parts."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pydantic import Field
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from genrecore.data.clips import UnfitGenresError, same_names
from genrecore.data.splits.registered import refuse_small
from genrecore.errors import GenrecoreError
from genrecore.words import thousands

NOUNS = {"artist": "artists", "album": "albums", "both": "groups of artists and albums"}

ALBUMS = Field(
    False,
    title="Albums too",
    description="Keep clips of one album together as well, across artists",
)
"""The option of schemes by artist that keeps albums together too."""


def in_groups(clips: pd.DataFrame, by: str) -> pd.DataFrame:
    """`clip_id, genre, group`, sorted by clip_id, with the index of `clips`.

    `by` is `artist`, `album`, or `both`: then clips that share the artist or the album, directly
    or through other clips, are one group. A clip whose artist (or album) is not known counts as
    one of its own. Spellings that differ in case and spaces only are one artist. Albums of the same
    title count as one.

    Raises:
        GenrecoreError: Albums are asked for and no clip names one.
    """
    clips = clips.sort_values("clip_id")
    if by == "both":
        group: np.ndarray | pd.Series = _connected(_keys(clips, "artist"), _keys(clips, "album"))
    else:
        group = _keys(clips, by)
    return clips[["clip_id", "genre"]].assign(group=group)


def _keys(clips: pd.DataFrame, column: str) -> pd.Series:
    """A key for each artist (or album); a clip without one gets a key of its own."""
    names = same_names(clips[column])
    if column == "album" and names.isna().all():
        raise GenrecoreError(
            f"None of the {thousands(len(clips))} clips names its album, so albums cannot be kept "
            "together."
        )
    return names.fillna("\0" + clips["clip_id"].astype("string"))


def _connected(artist: pd.Series, album: pd.Series) -> np.ndarray:
    """Number of each clip's connected component (n,) in the graph of artists and albums."""
    artists, n_artists = pd.factorize(artist)[0], artist.nunique()
    albums, n_albums = pd.factorize(album)[0], album.nunique()
    n = n_artists + n_albums
    edges = coo_array((np.ones(len(artists), dtype=bool), (artists, n_artists + albums)), (n, n))
    return connected_components(edges, directed=False)[1][artists]


def assign(
    table: pd.DataFrame, shares: np.ndarray, rng: np.random.Generator, by: str, *, part: str
) -> pd.Series:
    """The part 0 … len(shares) - 1 of every row of `in_groups`' table; no group crosses.

    The groups of each genre, largest first and equals in random order, go one after the other to
    the part that has fewest clips of that genre for its share, the group counted in (of equals,
    fewest clips at all). Groups of several genres come before all others and keep to one part.
    Where shares differ, a genre's last groups go to the parts still without that genre.

    Args:
        table: `clip_id, genre, group`.
        shares: Relative size of each part, all above 0.
        rng: Draws the order of equal groups.
        by: `artist`, `album` or `both`, for the sentences.
        part: What parts are called there: `folds` (equal shares) or `parts`.

    Raises:
        GenrecoreError: A genre with so few groups that a part would be without it.
    """
    n_parts = len(shares)
    refuse_small(table.groupby("genre")["group"].nunique(), n_parts, NOUNS[by], part)
    sizes = table.groupby(["group", "genre"]).size().unstack(fill_value=0)  # group × genre
    sizes = sizes.iloc[rng.permutation(len(sizes))]
    order = pd.DataFrame(
        {
            "wide": -(sizes > 0).sum(axis=1),
            "genre": sizes.to_numpy().argmax(axis=1),
            "size": -sizes.sum(axis=1),
        }
    ).sort_values(["wide", "genre", "size"], kind="stable")
    loads = np.zeros((n_parts, sizes.shape[1]), dtype=int)  # clips, part × genre
    waiting = (sizes > 0).sum(axis=0).to_numpy()  # groups of each genre without a part
    home = {}
    by_name = dict(zip(sizes.index, sizes.to_numpy(), strict=True))
    for group in order.index:
        size = by_name[group]
        fill = (loads[:, size > 0].sum(axis=1) + size.sum()) / shares
        choices: list[int] = list(range(n_parts))
        if part == "parts":
            empty = loads == 0
            urgent = (empty & ((waiting <= empty.sum(axis=0)) & (size > 0))).sum(axis=1)
            choices = np.flatnonzero(urgent == urgent.max()).tolist()
        home[group] = min(choices, key=lambda k: (fill[k], loads[k].sum() / shares[k]))
        loads[home[group]] += size
        waiting = waiting - (size > 0)

    bare = [str(genre) for genre, load in zip(sizes.columns, loads.T, strict=True) if 0 in load]
    if bare:
        fewer = "fewer folds" if part == "folds" else "other shares"
        raise UnfitGenresError(
            f"{NOUNS[by].capitalize()} of several genres leave one of {n_parts} parts without "
            f"{', '.join(bare)}; another split seed or {fewer} may help.",
            bare,
        )
    return table["group"].map(home)
