"""Schemes of one fold by shares: by clip within each genre, or by artist."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from genrecore.data.splits.groups import ALBUMS, assign, in_groups
from genrecore.data.splits.registered import (
    ARTIST_FILTER,
    SPLITS,
    USUAL,
    ThreeWayOptions,
    TwoWayOptions,
    as_split,
    refuse_small,
)


class ArtistRatioOptions(ThreeWayOptions):
    """The ratio, and whether albums stay together as well."""

    albums: bool = ALBUMS


@SPLITS.register(
    "by_artist_ratio",
    title="By artist, by shares",
    source=ARTIST_FILTER,
    options=ArtistRatioOptions,
    keeps=("artist",),
    says="By artist, {train} : {valid} : {test} (training : validation : test) of every genre: "
    "clips of one artist stay on one side",
    says_albums="By artist and album, {train} : {valid} : {test} (training : validation : test) of "
    "every genre: clips that share either stay on one side",
)
def by_artist_ratio(
    clips: pd.DataFrame, options: ArtistRatioOptions, seed: int, fold: int
) -> pd.Series:
    """The split of every clip, aligned with `clips.index`; no artist crosses.

    As `by_artist`, with each part filled in proportion to its share; how near the shares are
    reached depends on the artists' sizes. Every part gets at least one artist of each genre.

    Raises:
        GenrecoreError: A genre with so few artists that a part would be without it.
    """
    by = "both" if options.albums else "artist"
    shares = {"train": options.train, "valid": options.valid, "test": options.test}
    names = [name for name, share in shares.items() if share > 0]
    weights = np.array([shares[name] for name in names])
    rng = np.random.default_rng([seed, 4])
    part = assign(in_groups(clips, by), weights, rng, by, part="parts").reindex(clips.index)
    return as_split(np.array(names, dtype=object)[part.to_numpy()], clips.index)


@SPLITS.register(
    "ratio_8_1_1",
    title="By clip, 8 : 1 : 1",
    source=USUAL,
    options=ThreeWayOptions,
    says="By clip, {train} : {valid} : {test} (training : validation : test) of every genre: "
    "clips of one artist may stand on both sides",
)
def ratio_8_1_1(clips: pd.DataFrame, options: ThreeWayOptions, seed: int, fold: int) -> pd.Series:
    """The split of every clip as by `by_ratio`; artists may cross."""
    shares = {"train": options.train, "valid": options.valid, "test": options.test}
    return by_ratio(clips, shares, seed)


@SPLITS.register(
    "ratio_8_2",
    title="By clip, 8 : 2, without validation",
    source=USUAL,
    options=TwoWayOptions,
    validates=False,
    says="By clip, {train} : {test} (training : test) of every genre, no validation, so that the "
    "last epoch is tested: clips of one artist may stand on both sides",
)
def ratio_8_2(clips: pd.DataFrame, options: TwoWayOptions, seed: int, fold: int) -> pd.Series:
    """The split of every clip as by `by_ratio`; without validation, the last epoch is tested."""
    return by_ratio(clips, {"train": options.train, "test": options.test}, seed)


def numbers_of(n: int, shares: np.ndarray) -> np.ndarray:
    """n divided into whole numbers in these shares, by largest remainders; none is 0."""
    exact = n * shares / shares.sum()
    numbers = np.floor(exact + 1e-9).astype(int)  # 0.1 + 0.2 is not quite 0.3
    n_left = n - int(numbers.sum())
    # Rounded, so that equal remainders are equal: then the first part (test) comes first.
    numbers[np.argsort(-np.round(exact - numbers, 9), kind="stable")[:n_left]] += 1
    for k in np.flatnonzero(numbers == 0):
        numbers[numbers.argmax()] -= 1
        numbers[k] = 1
    return numbers


def by_ratio(
    clips: pd.DataFrame,
    shares: Mapping[str, float],
    seed: int,
    numbers: Callable[[int, np.ndarray], np.ndarray] = numbers_of,
) -> pd.Series:
    """The split of every clip, aligned with `clips.index`, each genre in these shares.

    The clips of each genre are shuffled; the first are tested, the next validate, the others
    train. Each number is within one clip of its exact share, except that no part with a share
    stays without a genre. `numbers` may divide a genre's clips otherwise: it takes their number and
    the shares of test, validation and training, those above 0.

    Raises:
        GenrecoreError: A genre with fewer clips than parts.
    """
    parts = {name: shares[name] for name in ("test", "valid", "train") if shares.get(name, 0) > 0}
    refuse_small(clips["genre"].value_counts(), len(parts), "clips", "parts")
    rng = np.random.default_rng([seed, 3])
    split = pd.Series(pd.NA, index=clips.index, dtype="string", name="split")
    for _, members in clips.sort_values("clip_id").groupby("genre", sort=True):
        of_parts = numbers(len(members), np.array(list(parts.values())))
        split[members.index[rng.permutation(len(members))]] = np.repeat(list(parts), of_parts)
    return split
