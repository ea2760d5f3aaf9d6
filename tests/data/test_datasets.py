"""Datasets: the demo music, GTZAN in all its forms, and what the door refuses."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from sample_files import silent_wav

from genrecore.config.run import Part, RunConfig, with_values
from genrecore.data import clips, datasets, prepare
from genrecore.data.datasets.demo import DemoOptions, demo_folder
from genrecore.data.datasets.gtzan import GtzanOptions, gtzan, published_facts
from genrecore.data.datasets.remembered import remember, with_remembered_folder
from genrecore.data.datasets.tables import DESCRIPTORS, read_table
from genrecore.errors import GenrecoreError, UsageError
from genrecore.store.progress import Phase, Stopped, silent
from genrecore.store.run import store_dir
from genrecore.store.settings import keep_dataset

TINY = {"n_genres": 3, "n_clips": 6, "clip_s": 2.0, "n_artists": 5, "seed": 7}


def _samples(table: pd.DataFrame) -> dict[str, np.ndarray]:
    return {row.clip_id: soundfile.read(row.path, dtype="int16")[0] for row in table.itertuples()}


def test_the_folder_that_was_used_last_need_not_be_given_again(
    tmp_path: Path, own_cache: Path
) -> None:
    prepared, trained_on = (str(tmp_path / name) for name in ("prepared", "trained on"))
    (tmp_path / "trained on").mkdir()
    bare = Part(name="folder")
    assert with_remembered_folder(bare) == bare
    remember("folder", {"folder": prepared})
    assert with_remembered_folder(bare).options == {"folder": prepared}
    keep_dataset(store_dir(), Part(name="folder", options={"folder": trained_on}))
    assert with_remembered_folder(bare).options == {"folder": trained_on}
    given = Part(name="folder", options={"folder": "elsewhere"})
    assert with_remembered_folder(given) == given
    assert with_remembered_folder(Part(name="gtzan")) == Part(name="gtzan")


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


@pytest.mark.slow
def test_demo_music_is_the_same_for_the_same_seed_and_different_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = []
    for folder, seed in (("one", 7), ("two", 7), ("three", 8)):
        monkeypatch.setenv("GENRECORE_CACHE", str(tmp_path / folder))
        versions.append(_samples(datasets.load("demo", TINY | {"seed": seed})))
    first, again, different = versions
    assert all(np.array_equal(first[clip_id], again[clip_id]) for clip_id in first)
    assert not any(np.array_equal(first[clip_id], different[clip_id]) for clip_id in first)


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


def test_demo_reports_every_clip_and_says_nothing_the_second_time(own_cache: Path) -> None:
    progress: list[tuple[str, int, int]] = []
    datasets.load("demo", TINY, lambda *report: progress.append(report))
    assert progress == [(Phase.MAKING_DEMO, done, 18) for done in range(19)]
    datasets.load("demo", TINY, lambda *report: progress.append(report))
    assert len(progress) == 19


@pytest.mark.slow
def test_a_stop_while_the_demo_is_made_leaves_nothing_behind(own_cache: Path) -> None:
    def stop_at_four(phase: str, done: int, total: int) -> None:
        if done == 4:
            raise Stopped

    with pytest.raises(Stopped):
        datasets.load("demo", TINY, stop_at_four)
    assert list((own_cache / "datasets").iterdir()) == []
    assert len(datasets.load("demo", TINY)) == 18


@pytest.mark.slow
def test_two_first_uses_at_once_end_with_one_whole_dataset(own_cache: Path) -> None:
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
    assert list((own_cache / "datasets").iterdir()) == [demo_folder(DemoOptions(**TINY))]
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
    with pytest.raises(UsageError, match="there are: demo"):
        datasets.load("gztan", {})


@pytest.mark.parametrize("name", datasets.DATASETS)
def test_every_dataset_of_yours_asks_for_its_folder(name: str, tmp_path: Path) -> None:
    entry = datasets.DATASETS[name]
    assert ("folder" in entry.options.model_fields) == entry.facts.needs_folder
    if not entry.facts.needs_folder:
        return
    for nothing in ("", " "):
        with pytest.raises(UsageError, match=f"dataset {name} needs its option 'folder'"):
            datasets.load(name, {"folder": nothing})
    with pytest.raises(GenrecoreError, match=str(tmp_path / "nowhere")):
        datasets.load(name, {"folder": str(tmp_path / "nowhere")})


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
    facts = published_facts()
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
            silent_wav(tmp_path / "genres_original" / genre / f"{genre}.{number:05d}.wav")
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


def test_one_genre_is_refused_and_a_genre_with_one_clip_only_where_it_is_trained_on(
    tmp_path: Path,
) -> None:
    for number in range(4):
        silent_wav(tmp_path / "genres_original" / "blues" / f"blues.{number:05d}.wav")
    with pytest.raises(GenrecoreError, match=r"one genre only \(blues\)"):
        datasets.load("gtzan", {"folder": str(tmp_path)})
    silent_wav(tmp_path / "genres_original" / "rock" / "rock.00000.wav")
    table = datasets.load("gtzan", {"folder": str(tmp_path)})
    config = with_values(RunConfig(), {"dataset": "gtzan", "dataset.folder": str(tmp_path)})
    with pytest.raises(GenrecoreError, match=r"too few clips in rock \(1\)"):
        prepare.taking_part(table, config)
    for number in range(4):
        silent_wav(tmp_path / "genres_original" / "jazz" / f"jazz.{number:05d}.wav")
    table = datasets.load("gtzan", {"folder": str(tmp_path)})
    without = with_values(config, {"genres.leave_out": "rock"})
    assert set(prepare.taking_part(table, without)[0]["genre"]) == {"blues", "jazz"}
    merged = with_values(config, {"genres.merge": "loud = blues, rock"})
    assert set(prepare.taking_part(table, merged)[0]["genre"]) == {"jazz", "loud"}


# GTZAN's tables of descriptors


def _descriptors(names: list[str], **columns: object) -> pd.DataFrame:
    generator = np.random.default_rng(7)
    values = pd.DataFrame(
        generator.normal(size=(len(names), len(DESCRIPTORS))), columns=list(DESCRIPTORS)
    )
    values.insert(0, "filename", names)
    values.insert(1, "length", 661_794)
    values["label"] = [name.split(".")[0] for name in names]
    return values.assign(**columns)


def test_the_published_table_has_57_descriptors_of_a_thousand_clips(real_data: Path) -> None:
    path = real_data / "gtzan" / "features_30_sec.csv"
    table = read_table(path)
    assert len(DESCRIPTORS) == 57
    assert table.columns.tolist() == ["clip_id", "part", *DESCRIPTORS]
    assert list(DESCRIPTORS) == list(pd.read_csv(path, nrows=0).columns[2:-1])
    assert table["clip_id"].tolist() == published_facts().index.tolist()
    assert (table["part"] == 0).all()
    assert {str(dtype) for dtype in table.dtypes[2:]} == {"float64"}


def test_the_identical_rows_of_the_published_table_are_the_known_exact_copies(
    real_data: Path,
) -> None:
    table = read_table(real_data / "gtzan" / "features_30_sec.csv")
    alike = table[table.duplicated(list(DESCRIPTORS), keep=False)]
    pairs = alike.groupby(list(DESCRIPTORS))["clip_id"].agg(frozenset)
    copies = published_facts()["exact_copy_of"].dropna()
    assert set(pairs) == {frozenset(pair) for pair in copies.items()}
    assert len(pairs) == 14


def test_gtzans_table_gives_a_thousand_clips_where_a_hundred_have_audio(real_data: Path) -> None:
    audio = datasets.load("gtzan", {"folder": str(real_data / "gtzan")})
    table = datasets.load("gtzan", {"folder": str(real_data / "gtzan"), "form": "table_30s"})
    assert (len(audio), len(table)) == (100, 1_000)
    assert tuple(table.columns) == clips.COLUMNS
    assert set(table["medium"]) == {"table"}
    assert set(table["path"]) == {str(real_data / "gtzan" / "features_30_sec.csv")}
    both = table.set_index("clip_id").loc[audio["clip_id"]]
    assert both["genre"].tolist() == audio["genre"].tolist()
    assert both["artist"].fillna("").tolist() == audio["artist"].fillna("").tolist()
    assert table["artist"].isna().sum() == 81
    inside = {"folder": str(real_data / "gtzan" / "genres_original"), "form": "table_30s"}
    assert datasets.load("gtzan", inside).equals(table)


def test_the_fault_filtered_split_covers_the_table(real_data: Path) -> None:
    table = datasets.load("gtzan", {"folder": str(real_data / "gtzan"), "form": "table_30s"})
    split = table["clip_id"].map(published_facts()["filtered_split"])
    assert split.value_counts().to_dict() == {"train": 443, "test": 290, "valid": 197}


def test_ten_rows_a_clip_are_one_clip_with_parts_in_the_files_order(tmp_path: Path) -> None:
    names = [f"{g}.{n:05d}.{part}.wav" for g in ("a", "b") for n in range(3) for part in (1, 0, 9)]
    _descriptors(names).to_csv(tmp_path / "features_3_sec.csv", index=False)
    table = datasets.load("gtzan", {"folder": str(tmp_path), "form": "table_3s"})
    assert table["clip_id"].tolist() == [f"{g}.{n:05d}" for g in ("a", "b") for n in range(3)]
    read = read_table(tmp_path / "features_3_sec.csv")
    assert read["part"].tolist() == [1, 0, 9] * 6
    assert read["clip_id"].iloc[4] == "a.00001"


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    table = _descriptors(["a.00000.wav", "a.00001.au", "b.00000"])
    table.to_csv(tmp_path / "straight.csv", index=False)
    table[table.columns[::-1]].assign(more=1).to_csv(tmp_path / "turned.csv", index=False)
    assert read_table(tmp_path / "turned.csv").equals(read_table(tmp_path / "straight.csv"))


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("", r"no value \(empty or NaN\) in row 4 \(a.00002.wav\), column tempo"),
        ("nan", r"no value \(empty or NaN\) in row 4"),
        ("inf", r"'inf' in row 4 \(a.00002.wav\), column tempo"),
        ("-inf", "'-inf' in row 4"),
        ("fast", "'fast' in row 4"),
    ],
)
def test_a_cell_that_is_no_number_is_named_by_row_and_column(
    cell: str, message: str, tmp_path: Path
) -> None:
    names = [f"a.{n:05d}.wav" for n in range(5)]
    _descriptors(names, tempo=["120", "99.5", cell, "3", "7"]).to_csv(tmp_path / "t.csv")
    with pytest.raises(GenrecoreError, match=message):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("names", "labels", "message"),
    [
        (["a.00000.wav", "cover.png"], None, "Row 3 .* 'cover.png', which is no clip"),
        (["a.00000.wav", "a.0001.wav"], None, "which is no clip"),
        (["a.00000.0.wav", "a.00001.0.wav", "a.00000.0.wav"], None, "Row 4 .* a second time"),
        (["a.00000.wav", "b.00000.wav"], ["a", "a"], "labels b.00000.wav as 'a'; expected 'b'"),
    ],
)
def test_a_row_that_matches_no_clip_is_refused(
    names: list[str], labels: list[str] | None, message: str, tmp_path: Path
) -> None:
    table = _descriptors(names) if labels is None else _descriptors(names, label=labels)
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(GenrecoreError, match=message):
        read_table(tmp_path / "t.csv")


def test_a_file_that_is_no_table_of_descriptors_is_refused(tmp_path: Path) -> None:
    def message(content: bytes) -> str:
        (tmp_path / "t.csv").write_bytes(content)
        with pytest.raises(GenrecoreError) as caught:
            read_table(tmp_path / "t.csv")
        return str(caught.value)

    whole = _descriptors(["a.00000.wav"])
    assert "lacks the column tempo" in message(whole.drop(columns="tempo").to_csv().encode())
    assert "spectral_centroid_mean, spectral_centroid_var and 51 more" in message(
        b"filename,chroma_stft_mean\n"
    )
    assert "no rows" in message(whole.iloc[:0].to_csv().encode())
    assert "is empty" in message(b"")
    assert "cannot be read as CSV" in message(b"\xff\xfe\x00,\xff")
    assert "There is no file" in str(_missing(tmp_path / "nothing.csv"))


def _missing(path: Path) -> GenrecoreError:
    with pytest.raises(GenrecoreError) as caught:
        read_table(path)
    return caught.value


# GTZAN's images


def test_gtzans_images_carry_the_clips_own_identifiers(tmp_path: Path) -> None:
    for genre in ("blues", "hip hop"):
        for number in range(3):
            path = tmp_path / "images_original" / genre / f"{genre}{number:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"a loader reads no images")
    (tmp_path / "images_original" / "blues" / "blues1.png").write_bytes(b"no clip")
    table = datasets.load("gtzan", {"folder": str(tmp_path), "form": "images"})
    assert table["clip_id"].tolist() == [
        f"{g}.{n:05d}" for g in ("blues", "hip hop") for n in range(3)
    ]
    assert set(table["medium"]) == {"image"}
    assert table["artist"].notna().tolist() == [True] * 3 + [False] * 3
    for folder in (tmp_path / "images_original", tmp_path / "genres_original"):
        folder.mkdir(exist_ok=True)
        again = gtzan(GtzanOptions(folder=str(folder), form="images"), silent)
        assert again.equals(table)
    # The dot in the name, and a folder of the genres' folders under any name.
    (tmp_path / "images_original").rename(tmp_path / "pictures")
    (tmp_path / "pictures" / "blues" / "blues00001.png").rename(
        tmp_path / "pictures" / "blues" / "blues.00001.png"
    )
    again = gtzan(GtzanOptions(folder=str(tmp_path / "pictures"), form="images"), silent)
    assert again.drop(columns="path").equals(table.drop(columns="path"))


def test_a_form_that_the_folder_does_not_hold_is_refused(tmp_path: Path) -> None:
    (tmp_path / "genres_original").mkdir()
    with pytest.raises(GenrecoreError, match="holds no images_original"):
        datasets.load("gtzan", {"folder": str(tmp_path), "form": "images"})
    with pytest.raises(GenrecoreError, match=r"holds no features_3_sec\.csv"):
        datasets.load("gtzan", {"folder": str(tmp_path), "form": "table_3s"})
    (tmp_path / "images_original").mkdir()
    with pytest.raises(GenrecoreError, match="There are no images"):
        datasets.load("gtzan", {"folder": str(tmp_path), "form": "images"})
    with pytest.raises(UsageError, match="form"):
        datasets.load("gtzan", {"folder": str(tmp_path), "form": "midi"})
