"""Labels doubted before training: planted flips, folds by artist and by clip, and what is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import command, genrecore, refused
from dataset_samples import OPTIONS

from genrecore.data import datasets
from genrecore.errors import GenrecoreError
from genrecore.inference.label_doubts import LabelDoubts, doubt_labels

pytestmark = [pytest.mark.usefixtures("musicnn"), pytest.mark.xdist_group("label_doubts")]
MUSIC = {"n_genres": 5, "n_clips": 16, "n_artists": 5, "clip_s": 3.0}


@pytest.fixture
def clips(musicnn: None) -> pd.DataFrame:
    return datasets.load("demo", MUSIC)


def flipped(clips: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, set[str]]:
    """The clips with 5 % of their labels replaced at random, and which these are."""
    random = np.random.default_rng(seed)
    rows = random.choice(len(clips), len(clips) // 20, replace=False)
    genres, labels = sorted(clips["genre"].unique()), clips["genre"].tolist()
    for row in rows:
        labels[row] = random.choice([genre for genre in genres if genre != labels[row]])
    return clips.assign(genre=labels), set(clips["clip_id"].iloc[rows])


def recall(doubts: LabelDoubts, planted: set[str]) -> float:
    """Share of the planted labels in the first tenth."""
    first = set(doubts.clips["clip_id"].head(len(doubts.clips) // 10))
    return len(first & planted) / len(planted)


@pytest.mark.slow
@pytest.mark.parametrize("by", ["artist", "clip"])
def test_planted_flips_are_in_the_first_tenth(clips: pd.DataFrame, by: str) -> None:
    shares = []
    for seed in range(3):
        wrong, planted = flipped(clips, seed)
        doubts = doubt_labels(wrong if by == "artist" else wrong.assign(artist=pd.NA))
        assert f"dealt by {by}" in doubts.folds
        assert sorted(doubts.clips["clip_id"]) == sorted(clips["clip_id"])
        assert doubts.n_suspect > 0
        shares.append(recall(doubts, planted))
    assert np.mean(shares) >= 0.8


@pytest.mark.slow
def test_where_artists_cannot_be_kept_apart_it_says_so(clips: pd.DataFrame, tmp_path: Path) -> None:
    some = clips[clips["genre"].isin(sorted(clips["genre"].unique())[:2])].groupby("genre").head(7)
    some = some.reset_index(drop=True)
    doubts = doubt_labels(some.assign(artist="one"))
    assert "may be by the same artist (5 folds, dealt by clip; not by artist: " in doubts.folds
    (tmp_path / "noise.wav").write_bytes(b"this is no sound")
    rows = [
        {**some.iloc[0], "clip_id": "bad", "path": str(tmp_path / "noise.wav")},
        {**some.iloc[1], "clip_id": "rare", "genre": "rare"},
        {**some.iloc[1], "clip_id": "unknown", "artist": pd.NA},
    ]
    more = pd.concat([some, pd.DataFrame(rows).astype(some.dtypes)], ignore_index=True)
    doubts = doubt_labels(more)
    assert set(doubts.clips["clip_id"]) == {*some["clip_id"], "unknown"}
    assert doubts.notes == (
        "1 clip of genres with fewer than 3 clips is not judged.",
        "1 clip names no artist and counts as an artist of its own.",
    )
    assert [item["clip_id"] for item in doubts.skipped] == ["bad"]
    assert "is not an audio file" in doubts.skipped[0]["reason"]
    restored = LabelDoubts.from_dict(json.loads(json.dumps(doubts.as_dict())))
    pd.testing.assert_frame_equal(restored.clips, doubts.clips, check_dtype=False)
    assert restored.sentence == doubts.sentence


def test_what_cannot_be_judged_is_refused_in_a_sentence(clips: pd.DataFrame) -> None:
    with pytest.raises(GenrecoreError, match="these clips are of the medium image"):
        doubt_labels(clips.assign(medium="image"))
    with pytest.raises(GenrecoreError, match="one genre only"):
        doubt_labels(clips[clips["genre"] == clips["genre"].iloc[0]].head(4))


@pytest.mark.slow
def test_the_command_ranks_the_labels_and_keeps_the_list() -> None:
    words = ["datasets", "audit", "demo", *(f"--set={k}={v}" for k, v in OPTIONS.items())]
    document = json.loads(command(*words, "--labels", "--json"))
    assert document["dataset"] == "demo"
    assert document["encoder"] == "musicnn"
    assert len(document["clips"]) == 30
    assert set(document["clips"][0]) >= {"clip_id", "genre", "suggested", "suspect"}
    text = command(*words, "--labels", "--leave-out", document["clips"][0]["genre"])
    assert "of 20 labels are doubtful, going by linear probes on embeddings of musicnn." in text
    assert "… and 10 more; --all prints them." in text
    refused(genrecore(*words, "--labels", "--split", "stratified"), 2, "give it without --split")


def test_without_the_encoder_a_sentence_says_how_to_fetch_it(own_cache: Path) -> None:
    words = ["datasets", "audit", "demo", "--set=n_genres=2", "--set=n_clips=5", "--set=clip_s=1"]
    refused(genrecore(*words, "--labels"), 2, "genrecore encoders fetch musicnn")
