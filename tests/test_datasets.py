"""Datasets: the demo music and GTZAN's folders, and what the door refuses."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from genrecore import clips, datasets
from genrecore.datasets.demo import DemoOptions, demo_folder
from genrecore.datasets.gtzan import known_facts
from genrecore.errors import GenrecoreError, UsageError
from genrecore.progress import Stopped

TINY = {"n_genres": 3, "n_clips": 6, "clip_s": 2.0, "n_artists": 5, "seed": 7}


def _samples(table: pd.DataFrame) -> dict[str, np.ndarray]:
    return {row.clip_id: soundfile.read(row.path, dtype="int16")[0] for row in table.itertuples()}


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GENRECORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _wav(path: Path, n_samples: int = 2_205) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(n_samples), 22_050)


# Demo


def test_demo_is_a_clip_table_with_artists_of_one_genre_each() -> None:
    table = datasets.load("demo", TINY)
    assert tuple(table.columns) == clips.COLUMNS
    assert table["genre"].value_counts().tolist() == [6, 6, 6]
    assert table.groupby("genre")["artist"].nunique().tolist() == [5, 5, 5]
    assert (table.groupby("artist")["genre"].nunique() == 1).all()
    assert (table.groupby("album")["artist"].nunique() == 1).all()
    assert table["split"].isna().all()
    assert table["clip_id"].iloc[0] == f"{table['genre'].iloc[0]}.00000"
    assert all(Path(row.path).parent.name == row.genre for row in table.itertuples())


def test_demo_files_are_mono_16_bit_and_as_long_as_asked() -> None:
    for row in datasets.load("demo", TINY).itertuples():
        info = soundfile.info(row.path)
        assert (info.samplerate, info.channels, info.subtype) == (22_050, 1, "PCM_16")
        assert info.frames == 44_100
        assert row.duration_s == 2.0


def test_demo_music_is_the_same_for_the_same_seed_and_different_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for folder, seed in (("one", 7), ("two", 7), ("three", 8)):
        monkeypatch.setenv("GENRECORE_CACHE", str(tmp_path / folder))
        made.append(_samples(datasets.load("demo", TINY | {"seed": seed})))
    first, again, other = made
    assert all(np.array_equal(first[clip_id], again[clip_id]) for clip_id in first)
    assert not any(np.array_equal(first[clip_id], other[clip_id]) for clip_id in first)


def test_demo_music_is_loud_enough_unclipped_and_starts_and_ends_without_a_click() -> None:
    for clip_id, wave in _samples(datasets.load("demo", TINY)).items():
        peak = np.abs(wave.astype(int)).max()
        assert 0.85 < peak / 32_767 < 0.95, clip_id
        level_db = 20 * np.log10(np.sqrt(np.mean((wave / 32_767.0) ** 2)))
        assert -30 < level_db < -3, clip_id
        assert abs(int(wave[0])) < 40, clip_id
        assert abs(int(wave[-1])) < 40, clip_id


def test_every_genre_of_the_demo_can_be_played() -> None:
    table = datasets.load("demo", {"n_clips": 3, "clip_s": 1.0, "seed": 3})
    assert table["genre"].nunique() == 8
    assert all(np.abs(wave.astype(int)).max() > 0 for wave in _samples(table).values())


def test_a_longer_demo_begins_with_the_clips_of_a_shorter_one() -> None:
    short = _samples(datasets.load("demo", TINY | {"n_clips": 3}))
    long = _samples(datasets.load("demo", TINY))
    assert all(np.array_equal(wave, long[clip_id]) for clip_id, wave in short.items())


def test_demo_reports_every_clip_and_says_nothing_the_second_time(fresh_cache: Path) -> None:
    told: list[tuple[str, int, int]] = []
    datasets.load("demo", TINY, lambda *what: told.append(what))
    assert told == [("Making demo music", done, 18) for done in range(19)]
    datasets.load("demo", TINY, lambda *what: told.append(what))
    assert len(told) == 19


def test_a_stop_while_the_demo_is_made_leaves_nothing_behind(fresh_cache: Path) -> None:
    def stop_at_four(phase: str, done: int, total: int) -> None:
        if done == 4:
            raise Stopped

    with pytest.raises(Stopped):
        datasets.load("demo", TINY, stop_at_four)
    assert list((fresh_cache / "datasets").iterdir()) == []
    assert len(datasets.load("demo", TINY)) == 18


def test_two_first_uses_at_once_end_with_one_whole_dataset(fresh_cache: Path) -> None:
    tables, errors = [], []

    def use() -> None:
        try:
            tables.append(datasets.load("demo", TINY))
        except Exception as error:
            errors.append(error)

    users = [threading.Thread(target=use) for _ in range(2)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert errors == []
    assert len(tables) == 2
    assert all(table.equals(tables[0]) for table in tables)
    assert list((fresh_cache / "datasets").iterdir()) == [demo_folder(DemoOptions(**TINY))]
    assert all(Path(path).is_file() for path in tables[0]["path"])


def test_a_cache_that_is_a_file_is_refused_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("not a folder")
    monkeypatch.setenv("GENRECORE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(GenrecoreError, match="demo music could not be written"):
        datasets.load("demo", TINY)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_genres": 9}, "n_genres"),
        ({"n_artists": 4}, "n_artists"),
        ({"speed": 1}, "no field 'speed'; there are: n_genres, n_clips"),
    ],
)
def test_wrong_demo_options_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        datasets.load("demo", options)


def test_an_unknown_dataset_is_refused_with_the_choices() -> None:
    with pytest.raises(UsageError, match="demo, gtzan"):
        datasets.load("gztan", {})


# GTZAN


def test_gtzan_reads_the_real_clips_with_artists_and_durations(real_data: Path) -> None:
    table = datasets.load("gtzan", {"folder": str(real_data / "gtzan")})
    assert len(table) == 100
    assert table["genre"].value_counts().tolist() == [10] * 10
    assert table["duration_s"].between(29.9, 30.7).all()
    assert set(table.loc[table["genre"] == "blues", "artist"]) == {"John Lee Hooker"}
    inside = datasets.load("gtzan", {"folder": str(real_data / "gtzan" / "genres_original")})
    assert inside.equals(table)


def test_the_packaged_annotations_cover_a_thousand_clips() -> None:
    facts = known_facts()
    assert len(facts) == 1_000
    assert facts["artist"].isna().sum() == 81
    assert facts["filtered_split"].value_counts().to_dict() == {
        "train": 443,
        "test": 290,
        "valid": 197,
    }
    assert facts["exact_copy_of"].notna().sum() == 14
    assert facts["exact_copy_of"].dropna().isin(facts.index).all()


def test_gtzan_reads_the_original_layout_with_au_files(tmp_path: Path) -> None:
    for genre in ("blues", "rock"):
        for number in range(3):
            path = tmp_path / "genres" / genre / f"{genre}.{number:05d}.au"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.zeros(22_051), 22_050, format="AU", subtype="PCM_16")
    for folder in (tmp_path, tmp_path / "genres"):
        table = datasets.load("gtzan", {"folder": str(folder)})
        assert table["clip_id"].tolist() == [
            f"{g}.{n:05d}" for g in ("blues", "rock") for n in range(3)
        ]
        assert table["duration_s"].tolist() == [22_051 / 22_050] * 6


def test_gtzan_keeps_an_unreadable_clip_with_an_unknown_duration(tmp_path: Path) -> None:
    for genre in ("jazz", "pop"):
        for number in (53, 54, 55):
            _wav(tmp_path / "genres_original" / genre / f"{genre}.{number:05d}.wav")
    (tmp_path / "genres_original" / "jazz" / "jazz.00054.wav").write_bytes(b"\0" * 99)
    (tmp_path / "genres_original" / "jazz" / "cover.wav").write_bytes(b"no clip")
    table = datasets.load("gtzan", {"folder": str(tmp_path)})
    assert len(table) == 6
    assert table.loc[table["duration_s"].isna(), "clip_id"].tolist() == ["jazz.00054"]


def test_gtzan_folders_without_clips_are_refused_with_the_reason(tmp_path: Path) -> None:
    def refusal(folder: Path | str) -> str:
        with pytest.raises(GenrecoreError) as caught:
            datasets.load("gtzan", {"folder": str(folder)})
        return str(caught.value)

    assert "needs its option 'folder'" in refusal("")
    assert "found nothing at" in refusal(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    assert "found a file at" in refusal(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert "is empty" in refusal(tmp_path / "empty")
    assert "neither genres_original nor genres" in refusal(tmp_path)
    (tmp_path / "genres_original" / "blues").mkdir(parents=True)
    assert "There are no clips in" in refusal(tmp_path)


def test_one_genre_or_a_genre_with_one_clip_is_refused(tmp_path: Path) -> None:
    for number in range(4):
        _wav(tmp_path / "genres_original" / "blues" / f"blues.{number:05d}.wav")
    with pytest.raises(GenrecoreError, match=r"one genre only \(blues\)"):
        datasets.load("gtzan", {"folder": str(tmp_path)})
    _wav(tmp_path / "genres_original" / "rock" / "rock.00000.wav")
    with pytest.raises(GenrecoreError, match=r"too few clips in rock \(1\)"):
        datasets.load("gtzan", {"folder": str(tmp_path)})
