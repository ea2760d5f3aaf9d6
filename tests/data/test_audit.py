"""The audit: every planted fault is found, sound data has none, and leaks refuse the split."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from commands import command, genrecore
from split_tables import apply_split

from genrecore.data import corpus, datasets
from genrecore.data.audit import KINDS, SEVERITIES, Audit, audit, identical
from genrecore.data.clips import clip_table
from genrecore.data.datasets import synthesis
from genrecore.store.files import cache_dir
from genrecore.store.progress import Stopped

RATE_HZ = 22_050
SECONDS = 7.0


@pytest.fixture(scope="module")
def music() -> dict[str, np.ndarray]:
    """Seven pieces, int16: name to wave."""
    waves = {}
    for genre, number, n_clips in ((0, 0, 3), (5, 1, 4)):
        artist = synthesis.make_artist(genre, number, seed=7)
        for clip in range(n_clips):
            waves[f"g{genre}.{clip}"] = synthesis.make_clip(artist, genre, clip, 7, SECONDS)
    return waves


def written(folder: Path, waves: dict[str, np.ndarray]) -> pd.DataFrame:
    """A clip table of waves (int16 or float) written as wav files; every clip its own artist."""
    rows = []
    for name, wave in waves.items():
        path = folder / f"{name}.wav"
        soundfile.write(path, wave, RATE_HZ, "PCM_16")
        rows.append(
            {
                "clip_id": name,
                "path": str(path),
                "genre": name.split(".")[0],
                "artist": f"artist of {name}",
                "duration_s": len(wave) / RATE_HZ,
            }
        )
    return clip_table(rows)


def built(clips: pd.DataFrame) -> corpus.Corpus:
    return corpus.build(clips, RATE_HZ, 30.0)


def kinds(result: Audit) -> dict[str, list[str]]:
    """Clips (or nothing) by kind of finding."""
    return {
        str(kind): [" ".join(filter(None, pair)) for pair in rows]
        for kind, rows in result.findings.groupby("kind")[["clip_id", "other_clip_id"]].apply(
            lambda part: part.to_numpy().tolist()
        ).items()
    }  # fmt: skip


def table(
    *clips: tuple[str, str | None, str | None], albums: list[str | None] | None = None
) -> pd.DataFrame:
    """A clip table of (genre, artist, split)."""
    return clip_table(
        {
            "clip_id": f"clip{i:02d}",
            "path": f"/nowhere/{i}",
            "genre": genre,
            "artist": artist,
            "album": albums[i] if albums else None,
            "split": split,
        }
        for i, (genre, artist, split) in enumerate(clips)
    )


# Sound


def test_sound_music_has_no_findings(tmp_path: Path, music: dict[str, np.ndarray]) -> None:
    clips = written(tmp_path, music)
    result = audit(clips, built(clips))
    assert result.findings.empty
    assert not result.refused
    assert result.n_clips == 7


def test_planted_faults_are_found_each_as_what_it_is(
    tmp_path: Path, music: dict[str, np.ndarray]
) -> None:
    generator = np.random.default_rng(7)
    loud = music["g0.0"] / np.abs(music["g0.0"].astype(float)).max()
    faults = {
        "g0.silent": np.zeros(99_999),
        "g0.quiet": music["g0.1"] / 32_768 * 10 ** (-55 / 20),
        "g0.clipped": np.clip(2 * loud, -1, 1),
        "g0.noise": 0.1 * generator.standard_normal(99_999),
        "g0.half_noise": np.concatenate([loud, 0.1 * generator.standard_normal(len(loud))]),
        "g0.brief": loud[:9_999],
    }
    clips = written(tmp_path, music | faults)
    (tmp_path / "g0.truncated.wav").write_bytes((tmp_path / "g0.2.wav").read_bytes()[:99_999])
    (tmp_path / "g0.text.wav").write_bytes(b"These are words, not music.\n" * 99)
    more = [
        {"clip_id": name, "path": str(tmp_path / f"{name}.wav"), "genre": "g0", "artist": name}
        for name in ("g0.truncated", "g0.text")
    ]
    clips = clip_table([*clips.to_dict(orient="records"), *more])
    result = kinds(audit(clips, built(clips)))
    del result["imbalance"]  # all faults were planted in one genre
    near = set(result.pop("near_copy"))  # what they were made of is still there
    assert near == {"g0.0 g0.clipped", "g0.0 g0.half_noise", "g0.1 g0.quiet",
                    "g0.clipped g0.half_noise"}  # fmt: skip
    assert result == {
        "silent": ["g0.silent"],
        "near_silent": ["g0.quiet"],
        "clipped": ["g0.clipped"],
        "constant_noise": ["g0.noise", "g0.half_noise"],
        "too_short": ["g0.brief"],
        "short": ["g0.brief"],
        "truncated": ["g0.truncated"],
        "unreadable": ["g0.text"],
    }


def test_exact_and_near_copies_are_found_and_cross_the_split(
    tmp_path: Path, music: dict[str, np.ndarray]
) -> None:
    clips = written(tmp_path, music | {"g0.same": music["g5.0"]})
    compressed = io.BytesIO()
    soundfile.write(compressed, music["g5.1"][44_444:], RATE_HZ, format="MP3",
                    bitrate_mode="CONSTANT", compression_level=0.6)  # fmt: skip
    (tmp_path / "again.mp3").write_bytes(compressed.getvalue())
    again = {"clip_id": "g5.again", "path": str(tmp_path / "again.mp3"), "genre": "g5"}
    clips = clip_table([*clips.to_dict(orient="records"), again])
    training = clips["clip_id"].isin(["g5.0", "g5.1", "g0.0", "g0.1", "g5.3"])
    clips["split"] = np.where(training, "train", "test")
    result = audit(clips, built(clips))

    assert kinds(result)["exact_copy"] == ["g0.same g5.0"]
    (sentence,) = result.findings.loc[result.findings["kind"] == "exact_copy", "sentence"]
    assert sentence == "g0.same and g5.0 are identical, but labelled g0 and g5."
    near = result.findings[result.findings["kind"] == "near_copy"]
    assert near[["clip_id", "other_clip_id"]].to_numpy().tolist() == [["g5.1", "g5.again"]]
    assert "share 5.0 s of the same recording, 2.0 s apart" in near["sentence"].iloc[0]
    assert result.refused
    assert result.n_crossing_clips == result.n_crossing_test_clips == 2
    assert dict(zip(result.crossings["kind"], result.crossings["n_clips"], strict=True)) == {
        "copy_crosses": 1,
        "near_copy_crosses": 1,
    }
    # The same clips on one side: copies are told, the split is not refused.
    clips.loc[clips["clip_id"].isin(["g5.0", "g5.1"]), "split"] = "test"
    result = audit(clips, built(clips))
    assert (result.counts["exact_copy"], result.counts["near_copy"]) == (1, 1)
    assert not result.refused


def test_rates_are_told_from_the_headers(tmp_path: Path, music: dict[str, np.ndarray]) -> None:
    clips = written(tmp_path, music)
    soundfile.write(tmp_path / "g0.1.wav", music["g0.1"][::3], 7_350)
    soundfile.write(tmp_path / "g5.1.wav", music["g5.1"], 44_100)
    result = audit(clips, headers=True)
    rates = result.findings[result.findings["kind"] == "sample_rate"]
    assert rates[["clip_id", "severity"]].to_numpy().tolist() == [
        ["g0.1", "warning"],
        ["g5.1", "note"],
    ]
    (tmp_path / "g0.2.wav").unlink()
    assert kinds(audit(clips, headers=True))["unreadable"] == ["g0.2"]


def test_an_interrupted_audit_goes_on_and_a_damaged_cache_is_measured_again(
    tmp_path: Path, music: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENRECORE_CACHE", str(tmp_path / "cache"))
    clips = written(tmp_path, music)
    music_corpus = built(clips)

    def stop(phase: str, done: int, total: int) -> None:
        if done == 3:
            raise Stopped

    with pytest.raises(Stopped):
        audit(clips, music_corpus, stop)
    whole = audit(clips, music_corpus)
    (stored,) = (cache_dir() / "fingerprints" / music_corpus.key).glob("*.npz")
    stored.write_bytes(stored.read_bytes()[:999])
    pd.testing.assert_frame_equal(audit(clips, music_corpus).findings, whole.findings)
    assert stored.stat().st_size > 999


# Tables and images


def test_identical_rows_and_pixels_are_paired_with_the_first() -> None:
    rows = np.random.default_rng(7).standard_normal((9, 5))
    rows[0, 2], rows[4], rows[7], rows[8] = 0.0, rows[0], rows[0], rows[2]
    rows[4, 2] = -0.0
    result = identical([f"row{i}" for i in range(9)], rows)
    assert result.to_numpy().tolist() == [["row0", "row4"], ["row0", "row7"], ["row2", "row8"]]

    pixels = np.arange(60, dtype=np.uint8)
    images = [pixels.reshape(5, 4, 3), pixels.reshape(4, 5, 3), pixels.reshape(5, 4, 3).copy()]
    assert identical(["a", "b", "c"], images).to_numpy().tolist() == [["a", "c"]]


def test_the_published_table_gives_away_its_14_exact_copies(real_data: Path) -> None:
    published = pd.read_csv(real_data / "gtzan" / "features_30_sec.csv")
    names = published["filename"].str.removesuffix(".wav").tolist()
    numbers = published.drop(columns=["filename", "length", "label"]).to_numpy(dtype=float)
    listed = pd.read_csv(real_data / "gtzan_annotations.csv").dropna(subset="exact_copy_of")
    pairs = identical(names, numbers)
    assert len(pairs) == 14
    assert set(map(frozenset, pairs.to_numpy().tolist())) == set(
        map(frozenset, listed[["clip_id", "exact_copy_of"]].to_numpy().tolist())
    )


def test_a_corpus_of_rows_is_searched_for_identical_ones(real_data: Path) -> None:
    arguments = ("datasets", "audit", "gtzan", "--folder", str(real_data / "gtzan"))
    text = command(*arguments, "--set", "form=table_30s", "--json")
    assert json.loads(text)["counts"]["exact_copy"] == 14


# The split


def test_a_crossing_artist_is_found_and_refuses_the_split() -> None:
    result = audit(
        table(
            ("a", "Ann", "train"), ("a", " Ann", "test"), ("a", "Bob", "valid"),
            ("a", "Cy", "train"), ("a", "Dan", "test"), ("a", "Eve", "valid"),
        )
    )  # fmt: skip
    assert kinds(result) == {"artist_crosses": ["clip00 clip01"]}
    assert result.refused
    assert result.reason == (
        "The split leaks: 1 of 2 test clips share an artist, an album or a recording with "
        "training clips (1 artist)."
    )
    assert (result.n_crossing_clips, result.n_crossing_test_clips) == (1, 1)
    assert result.findings["sentence"].tolist() == [
        "The artist Ann is on both sides: 1 clip in training, 1 in test."
    ]


def test_what_validation_and_test_share_is_told_but_refuses_nothing() -> None:
    result = audit(table(("a", "Ann", "valid"), ("a", "Ann", "test"), ("a", "Bob", "train")))
    (row,) = result.crossings.itertuples()
    assert (row.between, row.n_groups, row.n_clips, row.leak) == ("valid–test", 1, 1, False)
    assert not result.refused
    assert result.n_crossing_clips == 0


def test_unknown_artists_and_clips_in_no_part_cross_nothing() -> None:
    result = audit(
        table(("a", None, "train"), ("a", "  ", "test"), ("a", "Ann", "train"), ("a", "Ann", None))
    )
    assert not result.refused
    assert sorted(kinds(result)) == ["artist_unknown", "unused"]


def test_albums_cross_by_artist_and_title_and_compilations_are_noted() -> None:
    result = audit(
        table(
            ("a", None, "train"), ("a", None, "test"),
            ("a", "Ann", "train"), ("a", "Bob", "test"),
            albums=["Live", "Live", "Greatest Hits", "Greatest Hits"],
        )
    )  # fmt: skip
    assert set(kinds(result)) == {"album_crosses", "shared_album", "artist_unknown"}
    assert result.crossings["kind"].tolist() == ["album_crosses"]
    assert result.n_crossing_clips == 1


def test_genres_that_are_tested_but_not_trained_and_the_reverse_are_told() -> None:
    result = audit(
        table(("a", "A", "train"), ("b", "B", "test"), ("c", "C", "train"), ("c", "D", "test"))
    )
    assert result.findings.loc[0, ["kind", "severity"]].tolist() == ["unseen_genre", "problem"]
    assert "a has 1 clip in the training part and none in the test part" in " ".join(
        result.findings["sentence"]
    )


@pytest.mark.slow
def test_the_split_by_artist_of_the_demo_passes_and_the_split_by_clip_is_refused() -> None:
    clips = datasets.load("demo", {"n_genres": 3, "n_clips": 20, "clip_s": 2.0, "n_artists": 5})
    assert not audit(apply_split(clips, "by_artist")).refused
    result = audit(apply_split(clips, "stratified"))
    assert result.refused
    assert 0 < result.n_crossing_test_clips <= result.n_crossing_clips <= 24


# The table


def test_sizes_of_genres_and_spellings_of_artists_are_told() -> None:
    clips = [("a", f"A{i}", None) for i in range(11)] + [("b", "B", None), ("b", "b ", None)]
    clips += [("c", "Sun  Ra", None), ("c", "sun ra", None), ("c", "C", None)]
    result = audit(table(*clips))
    sentences = " ".join(result.findings["sentence"])
    assert "a, has 11 clips and the smallest, b, 2, a ratio of 5.5" in sentences
    assert "'B' and 'b' differ in case or spaces only" in sentences
    assert "'Sun  Ra' and 'sun ra' differ in case or spaces only" in sentences
    assert result.counts == {
        "imbalance": 1, "artist_spelling": 2, "single_artist": 1, "few_artists": 1
    }  # fmt: skip


def test_two_spellings_of_an_artist_are_one_for_split_and_audit() -> None:
    artists = ["The Band", "the  band ", "A", "B", "C", "D"]
    clips = table(*[(genre, artist, None) for genre in "xy" for artist in artists])
    for fold in range(3):
        dealt = apply_split(clips, "by_artist", {"n_folds": 3}, seed=0, fold=fold)
        same = dealt[dealt["artist"].str.casefold().str.contains("band")]
        assert same["split"].nunique() == 1
        assert not audit(dealt).refused
        apart = dealt.copy()
        apart.loc[same.index[0], "split"] = "test"
        apart.loc[same.index[1], "split"] = "train"
        result = audit(apart)
        assert result.refused
        assert "The artist The Band is on both sides" in " ".join(result.findings["sentence"])


def test_a_table_without_artists_says_that_crossings_cannot_be_seen() -> None:
    result = audit(table(("a", None, "train"), ("a", None, "test")))
    assert result.findings["sentence"].tolist() == [
        "No clip has an artist, so artists that cross a split cannot be seen."
    ]


def test_what_a_loader_leaves_out_is_told() -> None:
    clips = table(("a", "A", None), ("b", "B", None))
    clips.attrs["left_out"] = [{"clip_id": "98565", "reason": "98565 lasts 1.6 s (Defferrard)."}]
    assert kinds(audit(clips))["left_out"] == ["98565"]


def test_an_audit_survives_json() -> None:
    clips = [("a", f"artist {i % 433}", ("train", "test")[i % 2]) for i in range(999)]
    result = audit(table(*clips, ("b", None, "test")))
    stored = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    again = Audit.from_dict(stored)
    assert again.counts == result.counts
    assert again.counts["artist_crosses"] == 433
    assert (again.findings["kind"] == "artist_crosses").sum() == 300  # what a file keeps
    assert again.as_dict() == stored
    pd.testing.assert_frame_equal(again.crossings, result.crossings)
    small = audit(table(("a", "Ann", "train"), ("a", "Ann", "test")))
    again = Audit.from_dict(json.loads(json.dumps(small.as_dict())))
    pd.testing.assert_frame_equal(again.findings, small.findings)


def test_every_finding_has_a_known_kind_and_severity_and_the_worst_come_first() -> None:
    clips = [("a", "Ann", "train"), ("a", "Ann", "test"), ("b", "B", "test"), ("a", None, None)]
    result = audit(table(*clips)).findings
    assert set(result["kind"]) <= set(KINDS)
    ranks = result["severity"].map(SEVERITIES.index).tolist()
    assert ranks == sorted(ranks)
    assert ranks[0] == 0


@pytest.mark.slow
def test_106_574_clips_are_audited_without_looking_at_each_pair() -> None:
    n, generator = 106_574, np.random.default_rng(7)
    clips = pd.DataFrame(
        {
            "clip_id": [f"{i:06d}" for i in range(n)],
            "path": "/nowhere",
            "medium": "audio",
            "genre": generator.choice([f"genre {i}" for i in range(16)], n),
            "artist": generator.integers(0, 16_341, n).astype(str),
            "album": generator.integers(0, 14_854, n).astype(str),
            "duration_s": 270.0,
            "split": generator.choice(["train", "valid", "test"], n, p=[0.8, 0.1, 0.1]),
        }
    )
    result = audit(clips)  # 11 thousand million pairs would take hours
    assert result.refused


# Real clips and the command


@pytest.mark.slow
def test_the_real_clips_have_four_genres_of_a_single_artist_and_no_copies(real_data: Path) -> None:
    text = command(
        "datasets", "audit", "gtzan", "--folder", str(real_data / "gtzan"), "--headers", "--json"
    )
    result = Audit.from_dict(json.loads(text))
    assert result.counts == {"single_artist": 4, "artist_unknown": 1}
    single = result.findings.loc[result.findings["kind"] == "single_artist", "sentence"].tolist()
    assert [sentence.split(" has a single artist (")[0] for sentence in single] == [
        "blues", "classical", "reggae", "rock",
    ]  # fmt: skip
    assert all(sentence.endswith("artist-grouped folds are impossible.") for sentence in single)


@pytest.mark.slow
def test_the_command_says_what_is_refused_and_ends_well() -> None:
    arguments = ["datasets", "audit", "demo", "--table-only", "--set", "n_genres=3"]
    arguments += ["--set", "n_clips=20", "--set", "clip_s=2.0", "--set", "n_artists=5"]
    text = command(*arguments, "--split", "stratified")
    assert "REFUSED. The split leaks: " in text
    assert "Artists on both sides of the split" in text
    assert re.search(r"… and \d more; --all prints them\.", text)
    assert "more; --all" not in command(*arguments, "--split", "stratified", "--all")
    text = command(*arguments, "--split", "by_artist")
    assert "KEPT APART. No artist or album of a training clip is in validation or test." in text
    # No recording was compared, so nothing is said to have been found apart.
    assert "What crosses the split: artists and albums." in text
    assert genrecore(*arguments, "--split", "by_moonlight").returncode == 2
