"""Split schemes: who is tested, what never crosses, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import split_tables
from hypothesis import given, settings
from hypothesis import strategies as st
from split_tables import apply_split

from genrecore.data import datasets, splits
from genrecore.data.clips import UnfitGenresError, clip_table
from genrecore.data.splits import SPLITS
from genrecore.errors import GenrecoreError, UsageError

FOLDS = [name for name, entry in SPLITS.items() if entry.facts.folds]
SEEDED = [name for name, entry in SPLITS.items() if entry.facts.seeded]


def _small() -> pd.DataFrame:
    """25 clips written out: one artist in two genres, one clip without an artist's name."""
    rows = []
    for genre, sizes in (("folk", "32211"), ("jazz", "22111"), ("rock", "41112")):
        artists = [number for number, size in enumerate(sizes) for _ in range(int(size))]
        for clip, number in enumerate(artists):
            artist = "shared" if number == 1 and genre != "rock" else f"{genre} {number}"
            unknown = genre == "rock" and number == 4
            row = {"path": "x", "genre": genre, "artist": None if unknown else artist}
            rows.append(row | {"clip_id": f"{genre}.{clip:05d}"})
    return clip_table(rows)


@pytest.mark.parametrize(
    ("scheme", "n_folds", "seed", "fold", "expected"),
    [
        ("stratified", 3, 0, 0, ".tvvt..tvtv.tv.ttttv.vv.."),
        ("stratified", 3, 7, 2, ".ttv.tv.vttvv..vv.tt.tvv."),
        ("stratified", 5, 0, 1, "..vtt.v..v....t.t..t.v.v."),
        ("by_artist", 3, 0, 0, "vvvtt..t.vvtt..tvvvv.t..t"),
        ("by_artist", 3, 7, 2, "...vvttvt..vvvtt....vtvtt"),
        ("by_artist", 5, 0, 1, "ttt..vv.......vt....vt.v."),
    ],
)
def test_the_first_schemes_deal_as_they_always_did(
    scheme: str, n_folds: int, seed: int, fold: int, expected: str
) -> None:
    # Old runs name their clips' parts by scheme, seed and fold alone: these never change.
    split = apply_split(_small(), scheme, {"n_folds": n_folds}, seed, fold)["split"]
    assert "".join(split.map({"train": ".", "valid": "v", "test": "t"})) == expected


@pytest.mark.parametrize("scheme", FOLDS)
@pytest.mark.parametrize("n_folds", [3, 5, 7])
def test_every_clip_is_tested_once_and_validated_once_over_the_folds(
    scheme: str, n_folds: int
) -> None:
    clips = split_tables.clips()
    folds = [apply_split(clips, scheme, {"n_folds": n_folds}, 3, k) for k in range(n_folds)]
    for split in ("test", "valid"):
        times = sum((fold["split"] == split).astype(int) for fold in folds)
        assert (times == 1).all()
    for k, fold in enumerate(folds):
        following = folds[(k + 1) % n_folds]
        assert ((fold["split"] == "valid") == (following["split"] == "test")).all()


@pytest.mark.parametrize("scheme", FOLDS)
def test_every_genre_is_in_train_valid_and_test_of_every_fold(scheme: str) -> None:
    for seed in range(2):
        for fold in range(5):
            table = apply_split(split_tables.clips(seed), scheme, {}, seed, fold)
            counts = splits.counts(table)
            assert counts.shape == (7, 3)
            assert list(counts.columns) == ["train", "valid", "test"]
            assert (counts.to_numpy() > 0).all()
            assert counts.to_numpy().sum() == len(table)


def test_clips_of_one_artist_never_cross_the_split() -> None:
    for seed in range(9):
        table = apply_split(split_tables.clips(seed), "by_artist", {}, seed, seed % 5)
        with_artist = table.dropna(subset=["artist"])
        assert (with_artist.groupby("artist")["split"].nunique() == 1).all()


def test_the_split_by_clip_lets_artists_cross() -> None:
    table = apply_split(split_tables.clips(), "stratified")
    assert (table.dropna(subset=["artist"]).groupby("artist")["split"].nunique() > 1).any()


def test_clips_without_an_artist_are_dealt_out_one_by_one() -> None:
    clips = split_tables.clips()
    clips["artist"] = pd.NA
    counts = splits.counts(apply_split(clips, "by_artist"))
    n = counts.sum(axis=1)
    assert ((counts["test"] - n / 5).abs() < 1).all()


def test_parts_are_as_even_as_the_clips_allow() -> None:
    clips = split_tables.clips()
    for fold in range(5):
        counts = splits.counts(apply_split(clips, "stratified", {}, 1, fold))
        assert ((counts["test"] - counts.sum(axis=1) / 5).abs() < 1).all()
        assert abs(counts["test"].sum() - len(clips) / 5) < 1
        counts = splits.counts(apply_split(clips, "by_artist", {}, 1, fold))
        # No artist has more than five clips in a genre, so no part is further from the mean.
        assert ((counts["test"] - counts.sum(axis=1) / 5).abs() <= 5).all()


@pytest.mark.parametrize("scheme", SEEDED)
def test_the_split_depends_on_the_seed_and_not_on_the_order_of_rows(scheme: str) -> None:
    clips = split_tables.clips()
    fold = 2 if scheme in FOLDS else 0
    table = apply_split(clips, scheme, {}, 5, fold)
    assert table["split"].equals(apply_split(clips, scheme, {}, 5, fold)["split"])
    assert not table["split"].equals(apply_split(clips, scheme, {}, 6, fold)["split"])
    mixed = clips.sample(frac=1, random_state=4)
    again = apply_split(mixed, scheme, {}, 5, fold)
    assert again.index.equals(mixed.index)
    assert again["split"].sort_index().equals(table["split"])


def test_apply_leaves_the_table_it_was_given_alone() -> None:
    clips = split_tables.clips()
    before = clips.copy()
    for scheme in SPLITS:
        if scheme != "fault_filtered":
            apply_split(clips, scheme)
    pd.testing.assert_frame_equal(clips, before)


def test_the_demo_splits_by_artist() -> None:
    options = {"n_genres": 3, "n_clips": 6, "clip_s": 2.0, "n_artists": 5, "seed": 7}
    clips = datasets.load("demo", options)
    table = apply_split(clips, "by_artist", {}, 0, 4)
    assert (splits.counts(table).to_numpy() > 0).all()
    assert (table.groupby("artist")["split"].nunique() == 1).all()


def test_genres_with_too_few_artists_are_named(real_data: Path) -> None:
    clips = datasets.load("gtzan", {"folder": str(real_data / "gtzan")})
    with pytest.raises(UnfitGenresError) as caught:
        apply_split(clips, "by_artist", {"n_folds": 3})
    for genre in ("blues (1)", "classical (1)", "reggae (1)", "rock (1)"):
        assert genre in str(caught.value)
    assert caught.value.genres == ("blues", "classical", "reggae", "rock")
    assert "split by clip" not in str(caught.value)  # it leaks
    counts = splits.counts(apply_split(clips, "stratified"))
    assert counts.to_numpy().tolist() == [[6, 2, 2]] * 10


def test_genres_with_fewer_clips_than_folds_are_named_with_what_would_do() -> None:
    clips = split_tables.clips()
    rare = clips[(clips["genre"] != "g2") | (clips.groupby("genre").cumcount() < 4)]
    with pytest.raises(GenrecoreError, match=r"too few clips in g2 \(4\).*at most 4 folds"):
        apply_split(rare, "stratified")
    assert len(apply_split(rare, "stratified", {"n_folds": 4})) == len(rare)


def test_artists_of_several_genres_that_empty_a_part_are_refused() -> None:
    rows = [
        {"clip_id": f"{genre}.{n}", "path": "x", "genre": genre, "artist": f"artist {n}"}
        for genre, numbers in (("a", (0, 1, 2)), ("b", (2, 3, 4)), ("c", (0, 3, 4)))
        for n in numbers
    ]
    table = clip_table(rows)
    # Artists 3 and 4 must differ in b and in c, where 2 and 0 take different parts: impossible.
    for seed in range(9):
        with pytest.raises(GenrecoreError, match="several genres leave one of 3 parts without"):
            apply_split(table, "by_artist", {"n_folds": 3}, seed, 0)


@pytest.mark.parametrize(
    ("name", "options", "fold", "message"),
    [
        ("by_composer", {}, 0, "stratified, by_artist"),
        ("stratified", {"n_folds": 2}, 0, "n_folds"),
        ("stratified", {}, 5, "no fold 5; the 5 folds are counted from 0 to 4"),
        ("by_artist", {}, -1, "no fold -1"),
        ("ratio_8_1_1", {}, 1, "no fold 1; the split ratio_8_1_1 has fold 0 only"),
        ("official", {}, 4, "no fold 4; the split official has fold 0 only"),
        ("belton", {"n_folds": 5}, 0, "n_folds"),
        ("ratio_8_2", {"valid": 1}, 0, "valid.*train, test"),
        ("ratio_8_1_1", {"test": 0}, 0, "test.*greater than 0"),
    ],
)
def test_wrong_requests_are_refused_with_the_choices(
    name: str, options: dict[str, int], fold: int, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        apply_split(split_tables.clips(), name, options, 0, fold)


@pytest.mark.parametrize("scheme", list(SPLITS))
def test_every_scheme_is_deterministic_and_says_what_it_does(scheme: str) -> None:
    clips = split_tables.gtzan() if scheme == "fault_filtered" else split_tables.clips()
    for seed in (0, 1, 2**31):
        split = apply_split(clips, scheme, {}, seed, 0)["split"]
        assert split.dtype == "string"
        assert split.index.equals(clips.index)
        assert set(split.dropna()) in ({"train", "valid", "test"}, {"train", "test"})
        assert split.equals(apply_split(clips, scheme, {}, seed, 0)["split"])
        if scheme not in SEEDED:
            assert split.equals(apply_split(clips, scheme)["split"])
    assert SPLITS[scheme].title
    assert SPLITS[scheme].source
    sentence = splits.describe(SPLITS.choose(scheme))
    assert sentence.endswith(".")
    assert "{" not in sentence
    assert splits.n_folds(SPLITS.choose(scheme)) == (5 if scheme in FOLDS else 1)


def test_options_and_fold_are_in_the_sentence() -> None:
    assert splits.describe(SPLITS.choose("by_artist", {"n_folds": 7}), 2).endswith("; fold 3 of 7.")
    assert "share either" in splits.describe(SPLITS.choose("by_artist", {"albums": True}))
    assert "7 : 1.5 : 2 " in splits.describe(
        SPLITS.choose("ratio_8_1_1", {"train": 7, "valid": 1.5, "test": 2})
    )


def test_without_a_validation_share_there_is_no_validation() -> None:
    for scheme in ("ratio_8_1_1", "by_artist_ratio"):
        counts = splits.counts(apply_split(split_tables.clips(), scheme, {"valid": 0}))
        assert counts["valid"].sum() == 0
        assert (counts[["train", "test"]] > 0).all(axis=None)


def test_genres_too_small_for_the_ratio_are_named() -> None:
    clips = split_tables.clips()
    rare = clips[(clips["genre"] != "g2") | (clips.groupby("genre").cumcount() < 2)]
    with pytest.raises(GenrecoreError, match=r"too few clips in g2 \(2\).*3 parts need 3 clips"):
        apply_split(rare, "ratio_8_1_1")
    assert splits.counts(apply_split(rare, "ratio_8_2")).loc["g2"].tolist() == [1, 0, 1]
    one_artist = clips.assign(artist=clips["artist"].mask(clips["genre"] == "g5", "the same"))
    with pytest.raises(GenrecoreError, match=r"too few artists in g5 \(1\)"):
        apply_split(one_artist, "by_artist_ratio")


def test_albums_cannot_be_kept_together_where_none_is_known() -> None:
    clips = split_tables.clips()
    clips["album"] = pd.NA
    for scheme, options in (("by_album", {}), ("by_artist", {"albums": True})):
        with pytest.raises(GenrecoreError, match=f"None of the {len(clips)} clips names its album"):
            apply_split(clips, scheme, options)


def test_a_chain_of_artists_and_albums_stays_together() -> None:
    rows = [
        {"clip_id": f"{genre}.{n}", "path": "x", "genre": genre,
         "artist": f"{genre} {n}", "album": f"{genre} {n}"}
        for genre in ("a", "b") for n in range(9)
    ]  # fmt: skip
    # a.0 to a.3: each shares its artist or its album with the next one only.
    for n, artist, album in ((0, "p", "q"), (1, "p", "r"), (2, "s", "r"), (3, "s", "t")):
        rows[n] |= {"artist": artist, "album": album}
    clips = clip_table(rows)
    for seed in range(9):
        for scheme in ("by_artist", "by_artist_ratio"):
            split = apply_split(clips, scheme, {"albums": True}, seed, 0)["split"]
            assert split.head(4).nunique() == 1
    assert any(
        apply_split(clips, "by_artist", {}, seed, 0)["split"].head(4).nunique() > 1
        for seed in range(9)
    )


@st.composite
def _tables(draw: st.DrawFn) -> pd.DataFrame:
    """Up to 60 clips of three genres; artists and albums shared, crossing genres, unknown."""
    n = draw(st.integers(30, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_names = draw(st.integers(9, 90))

    def names(column: str) -> list[str | None]:
        return [None if k % 7 == 0 else f"{column} {k}" for k in rng.integers(0, n_names, n)]

    artists, albums, genres = names("artist"), names("album"), rng.integers(0, 3, n)
    return clip_table(
        {"clip_id": f"c{k:03d}", "path": "x", "genre": f"g{genres[k]}",
         "artist": artists[k], "album": albums[k]}
        for k in range(n)
    )  # fmt: skip


@pytest.mark.slow
@settings(max_examples=10, deadline=None, derandomize=True, database=None)
@given(clips=_tables(), seed=st.integers(0, 2**31), fold=st.integers(0, 2))
def test_groups_never_cross_whatever_the_table(clips: pd.DataFrame, seed: int, fold: int) -> None:
    cases = [
        ("by_artist", {"n_folds": 3}, fold, ["artist"]),
        ("by_artist", {"n_folds": 3, "albums": True}, fold, ["artist", "album"]),
        ("by_album", {"n_folds": 3}, fold, ["album"]),
        ("by_artist_ratio", {}, 0, ["artist"]),
        ("by_artist_ratio", {"albums": True, "valid": 3}, 0, ["artist", "album"]),
    ]
    for scheme, options, this, together in cases:
        try:
            table = apply_split(clips, scheme, options, seed, this)
        except GenrecoreError as error:
            message = str(error)  # too few groups, or groups of several genres: said, never dealt
            assert (
                "too few" in message or "several genres" in message or "names its album" in message
            )
            continue
        assert table["split"].isin(["train", "valid", "test"]).all()
        assert (splits.counts(table) > 0).all(axis=None)
        for column in together:
            assert (table.dropna(subset=[column]).groupby(column)["split"].nunique() == 1).all()


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(
    sizes=st.lists(st.integers(3, 40), min_size=2, max_size=5),
    shares=st.tuples(*[st.floats(0.1, 20)] * 3),
    seed=st.integers(0, 2**31),
)
def test_ratios_hold_within_one_clip_a_genre(
    sizes: list[int], shares: tuple[float, float, float], seed: int
) -> None:
    clips = clip_table(
        {"clip_id": f"g{genre}.{k}", "path": "x", "genre": f"g{genre}"}
        for genre, size in enumerate(sizes)
        for k in range(size)
    )
    options = dict(zip(("train", "valid", "test"), shares, strict=True))
    counts = splits.counts(apply_split(clips, "ratio_8_1_1", options, seed, 0))
    assert counts.sum(axis=1).tolist() == sizes
    assert (counts > 0).all(axis=None)
    for genre, size in enumerate(sizes):
        exact = np.array(shares) * size / sum(shares)
        if (exact >= 1).all():  # else a clip more goes to the part that would have none
            assert (abs(counts.loc[f"g{genre}"] - exact) < 1 + 1e-6).all()


@pytest.mark.slow
def test_a_hundred_thousand_clips_are_dealt() -> None:
    rng = np.random.default_rng(0)
    n = 106_574  # as many as FMA's full set
    genre = rng.integers(0, 16, n)
    clips = pd.DataFrame(
        {
            "clip_id": pd.Series(range(n)).astype("string").str.zfill(6),
            "genre": pd.Series(genre).map("g{}".format).astype("string"),
            "artist": pd.Series(genre * 1000 + rng.integers(0, 999, n)).astype("string"),
            "album": pd.Series(genre * 1000 + rng.integers(0, 999, n)).astype("string"),
        }
    )
    table = apply_split(clips, "by_artist")
    assert (table.groupby("artist")["split"].nunique() == 1).all()
