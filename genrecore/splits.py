"""Split schemes: which clips a model learns from, is chosen by, and is tested on.

Every scheme deals the clips of each genre into `n_folds` parts. Fold k tests part k, validates on
part (k + 1) % n_folds and trains on the rest, so over all folds every clip is tested exactly once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from genrecore.clips import SPLITS as PARTS
from genrecore.clips import genres_of
from genrecore.errors import GenrecoreError, UsageError
from genrecore.registry import Options, Registry

SPLITS = Registry("split")
"""Split schemes. The thing is `scheme(clips, options, seed, fold) -> Series` of `train`, `valid`
and `test`, aligned with the clip table's index."""


class FoldOptions(Options):
    """Into how many parts the clips are dealt."""

    n_folds: int = Field(
        5,
        title="Folds",
        description="Parts of equal size: one to test, one to validate, the others to train",
        ge=3,
        le=20,
    )


def apply(
    clips: pd.DataFrame, name: str, options: Mapping[str, Any], seed: int, fold: int
) -> pd.DataFrame:
    """The clip table with its column `split` filled (a copy, same order).

    Args:
        clips: A clip table (`genrecore.clips`).
        name: A name in `SPLITS`.
        options: Values for the scheme's options.
        seed: Who lands where; the same seed gives the same parts for every fold.
        fold: Which part is tested, counted from 0.

    Raises:
        UsageError: No such scheme, a wrong option, or a fold that does not exist.
        GenrecoreError: A genre with too few clips or artists for this many parts.
    """
    entry = SPLITS[name]
    split = entry.thing(clips, entry.read_options(options, "split"), seed, fold)
    return clips.assign(split=split)


def counts(clips: pd.DataFrame) -> pd.DataFrame:
    """Clips of every genre (rows, sorted) in `train`, `valid` and `test` (columns)."""
    table = pd.crosstab(clips["genre"], clips["split"])
    return table.reindex(index=genres_of(clips), columns=list(PARTS), fill_value=0)


@SPLITS.register(
    "stratified",
    title="By clip",
    source="usual practice: clips of one artist, even of one recording, may stand on both sides",
    options=FoldOptions,
)
def stratified(clips: pd.DataFrame, options: FoldOptions, seed: int, fold: int) -> pd.Series:
    """`train`, `valid` or `test` for every clip, aligned with `clips.index`; artists may cross.

    The clips of each genre are shuffled and dealt out in turn, so the parts of a genre differ by
    one clip at most, and so do the parts as a whole.

    Raises:
        UsageError: A fold that does not exist.
        GenrecoreError: A genre with fewer clips than parts.
    """
    _check_fold(fold, options.n_folds)
    _refuse_small(clips["genre"].value_counts(), options.n_folds, "clips")
    rng = np.random.default_rng([seed, 1])
    part = pd.Series(0, index=clips.index)
    turn = 0
    for _, members in clips.sort_values("clip_id").groupby("genre", sort=True):
        part[members.index[rng.permutation(len(members))]] = (
            turn + np.arange(len(members))
        ) % options.n_folds
        turn += len(members)  # the next genre goes on where this one ended
    return _named(part, fold, options.n_folds)


@SPLITS.register(
    "by_artist",
    title="By artist",
    source="Pampalk, Flexer & Widmer, Improvements of audio-based music similarity and genre "
    "classification, ISMIR 2005 (the artist filter)",
    options=FoldOptions,
)
def by_artist(clips: pd.DataFrame, options: FoldOptions, seed: int, fold: int) -> pd.Series:
    """`train`, `valid` or `test` for every clip, aligned with `clips.index`; no artist crosses.

    The artists of each genre, largest first and equals in random order, go one after the other to
    the part that has fewest clips of that genre (of equals, fewest clips at all). Artists of
    several genres come before all others and keep to one part. A clip whose artist is not known
    counts as an artist of its own: two such clips may be by the same artist and still cross.

    Raises:
        UsageError: A fold that does not exist.
        GenrecoreError: A genre with so few artists that a part would be without it.
    """
    n_folds = options.n_folds
    _check_fold(fold, n_folds)
    table = clips[["clip_id", "genre"]].assign(artist=_artist_keys(clips)).sort_values("clip_id")
    _refuse_small(table.groupby("genre")["artist"].nunique(), n_folds, "artists")

    rng = np.random.default_rng([seed, 2])
    sizes = table.groupby(["artist", "genre"]).size().unstack(fill_value=0)  # artist × genre
    sizes = sizes.iloc[rng.permutation(len(sizes))]
    order = pd.DataFrame(
        {
            "wide": -(sizes > 0).sum(axis=1),
            "genre": sizes.to_numpy().argmax(axis=1),
            "size": -sizes.sum(axis=1),
        }
    ).sort_values(["wide", "genre", "size"], kind="stable")
    loads = np.zeros((n_folds, sizes.shape[1]), dtype=int)  # clips, part × genre
    home: dict[str, int] = {}
    by_name = dict(zip(sizes.index, sizes.to_numpy(), strict=True))
    for artist in order.index:
        size = by_name[artist]
        there = loads[:, size > 0].sum(axis=1)
        home[artist] = min(range(n_folds), key=lambda k: (there[k], loads[k].sum()))
        loads[home[artist]] += size

    empty = [str(genre) for genre, load in zip(sizes.columns, loads.T, strict=True) if 0 in load]
    if empty:
        raise GenrecoreError(
            f"Artists of several genres leave one of {n_folds} parts without {', '.join(empty)}; "
            "another split seed, fewer folds or the split by clip may help."
        )
    part = table["artist"].map(home).reindex(clips.index)
    return _named(part, fold, n_folds)


def _artist_keys(clips: pd.DataFrame) -> pd.Series:
    """One text an artist; a clip of an unknown artist gets one that no artist's name can equal."""
    known = clips["artist"].astype("string").str.strip()
    known = known.mask(known == "")
    return known.fillna("\0" + clips["clip_id"].astype("string"))


def _check_fold(fold: int, n_folds: int) -> None:
    if not 0 <= fold < n_folds:
        raise UsageError(
            f"There is no fold {fold}; with {n_folds} folds there are 0 to {n_folds - 1}."
        )


def _refuse_small(found: pd.Series, n_folds: int, what: str) -> None:
    """Refuses genres that cannot be in every part; `found` counts clips or artists by genre."""
    small = found[found < n_folds].sort_index()
    if small.empty:
        return
    named = ", ".join(f"{genre} ({n})" for genre, n in small.items())
    least = int(small.min())
    ways = [f"choose at most {least} folds"] if least >= 3 else []
    ways += ["split by clip"] if what == "artists" else []
    advice = f"; {' or '.join(ways)}" if ways else ""
    raise GenrecoreError(
        f"There are too few {what} in {named} for training, validation and test to have each "
        f"genre: {n_folds} folds need {n_folds} {what} a genre{advice}."
    )


def _named(part: pd.Series, fold: int, n_folds: int) -> pd.Series:
    """Parts 0 … n_folds - 1 as the splits of one fold."""
    number = part.to_numpy()
    names = np.full(len(number), "train", dtype=object)
    names[number == fold] = "test"
    names[number == (fold + 1) % n_folds] = "valid"
    return pd.Series(names, index=part.index, dtype="string", name="split")
