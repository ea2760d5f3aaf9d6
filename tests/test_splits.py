"""Split schemes: who is tested, what never crosses, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genrecore import datasets, splits
from genrecore.clips import clip_table
from genrecore.errors import GenrecoreError, UsageError


def _clips(seed: int = 0, n_genres: int = 7, n_artists: int = 11) -> pd.DataFrame:
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
                    }
                )
                clip += 1
        rows.append(rows[-1] | {"clip_id": f"g{genre}.{clip:05d}", "artist": "everywhere"})
    return clip_table(rows)


@pytest.mark.parametrize("scheme", list(splits.SPLITS))
@pytest.mark.parametrize("n_folds", [3, 5, 7])
def test_every_clip_is_tested_once_and_validated_once_over_the_folds(
    scheme: str, n_folds: int
) -> None:
    clips = _clips()
    folds = [splits.apply(clips, scheme, {"n_folds": n_folds}, 3, k) for k in range(n_folds)]
    for split in ("test", "valid"):
        times = sum((fold["split"] == split).astype(int) for fold in folds)
        assert (times == 1).all()
    for k, fold in enumerate(folds):
        following = folds[(k + 1) % n_folds]
        assert ((fold["split"] == "valid") == (following["split"] == "test")).all()


@pytest.mark.parametrize("scheme", list(splits.SPLITS))
def test_every_genre_is_in_train_valid_and_test_of_every_fold(scheme: str) -> None:
    for seed in range(3):
        for fold in range(5):
            table = splits.apply(_clips(seed), scheme, {}, seed, fold)
            found = splits.counts(table)
            assert found.shape == (7, 3)
            assert list(found.columns) == ["train", "valid", "test"]
            assert (found.to_numpy() > 0).all()
            assert found.to_numpy().sum() == len(table)


def test_clips_of_one_artist_never_cross_the_split() -> None:
    for seed in range(20):
        table = splits.apply(_clips(seed), "by_artist", {}, seed, seed % 5)
        known = table.dropna(subset=["artist"])
        assert (known.groupby("artist")["split"].nunique() == 1).all()


def test_the_split_by_clip_lets_artists_cross() -> None:
    table = splits.apply(_clips(), "stratified", {}, 0, 0)
    assert (table.dropna(subset=["artist"]).groupby("artist")["split"].nunique() > 1).any()


def test_clips_without_an_artist_are_dealt_out_one_by_one() -> None:
    clips = _clips()
    clips["artist"] = pd.NA
    found = splits.counts(splits.apply(clips, "by_artist", {}, 0, 0))
    n = found.sum(axis=1)
    assert ((found["test"] - n / 5).abs() < 1).all()


def test_parts_are_as_even_as_the_clips_allow() -> None:
    clips = _clips()
    for fold in range(5):
        found = splits.counts(splits.apply(clips, "stratified", {}, 1, fold))
        assert ((found["test"] - found.sum(axis=1) / 5).abs() < 1).all()
        assert abs(found["test"].sum() - len(clips) / 5) < 1
        found = splits.counts(splits.apply(clips, "by_artist", {}, 1, fold))
        # No artist has more than five clips in a genre, so no part is further from the mean.
        assert ((found["test"] - found.sum(axis=1) / 5).abs() <= 5).all()


@pytest.mark.parametrize("scheme", list(splits.SPLITS))
def test_the_split_depends_on_the_seed_and_not_on_the_order_of_rows(scheme: str) -> None:
    clips = _clips()
    table = splits.apply(clips, scheme, {}, 5, 2)
    assert table["split"].equals(splits.apply(clips, scheme, {}, 5, 2)["split"])
    assert not table["split"].equals(splits.apply(clips, scheme, {}, 6, 2)["split"])
    mixed = clips.sample(frac=1, random_state=4)
    again = splits.apply(mixed, scheme, {}, 5, 2)
    assert again.index.equals(mixed.index)
    assert again["split"].sort_index().equals(table["split"])


def test_apply_leaves_the_table_it_was_given_alone() -> None:
    clips = _clips()
    splits.apply(clips, "stratified", {}, 0, 0)
    assert clips["split"].isna().all()


def test_the_demo_splits_by_artist() -> None:
    options = {"n_genres": 3, "n_clips": 6, "clip_s": 2.0, "n_artists": 5, "seed": 7}
    clips = datasets.load("demo", options)
    table = splits.apply(clips, "by_artist", {}, 0, 4)
    assert (splits.counts(table).to_numpy() > 0).all()
    assert (table.groupby("artist")["split"].nunique() == 1).all()


def test_genres_with_too_few_artists_are_named(real_data: Path) -> None:
    clips = datasets.load("gtzan", {"folder": str(real_data / "gtzan")})
    with pytest.raises(GenrecoreError) as caught:
        splits.apply(clips, "by_artist", {"n_folds": 3}, 0, 0)
    for genre in ("blues (1)", "classical (1)", "reggae (1)", "rock (1)"):
        assert genre in str(caught.value)
    assert "split by clip" in str(caught.value)
    found = splits.counts(splits.apply(clips, "stratified", {}, 0, 0))
    assert found.to_numpy().tolist() == [[6, 2, 2]] * 10


def test_genres_with_fewer_clips_than_folds_are_named_with_what_would_do() -> None:
    clips = _clips()
    rare = clips[(clips["genre"] != "g2") | (clips.groupby("genre").cumcount() < 4)]
    with pytest.raises(GenrecoreError, match=r"too few clips in g2 \(4\).*at most 4 folds"):
        splits.apply(rare, "stratified", {}, 0, 0)
    assert len(splits.apply(rare, "stratified", {"n_folds": 4}, 0, 0)) == len(rare)


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
            splits.apply(table, "by_artist", {"n_folds": 3}, seed, 0)


@pytest.mark.parametrize(
    ("name", "options", "fold", "message"),
    [
        ("by_composer", {}, 0, "stratified, by_artist"),
        ("stratified", {"n_folds": 2}, 0, "n_folds"),
        ("stratified", {}, 5, "no fold 5; with 5 folds there are 0 to 4"),
        ("by_artist", {}, -1, "no fold -1"),
    ],
)
def test_wrong_requests_are_refused_with_the_choices(
    name: str, options: dict[str, int], fold: int, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        splits.apply(_clips(), name, options, 0, fold)
