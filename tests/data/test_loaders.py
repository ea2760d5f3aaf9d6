"""Loaders of FMA, folders and manifests, and what each refuses."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from sample_files import silent_wav
from split_tables import apply_split
from test_audio import tone

from genrecore.config.run import RunConfig, with_values
from genrecore.data import clips, datasets, prepare
from genrecore.data.corpus import build, quantise
from genrecore.data.datasets import fma
from genrecore.data.datasets.gtzan import published_facts
from genrecore.errors import GenrecoreError
from genrecore.store.progress import silent


def message_of(name: str, **options: object) -> str:
    with pytest.raises(GenrecoreError) as caught:
        datasets.load(name, options)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


# FMA


def _tracks_csv(folder: Path, rows: list[dict[str, object]]) -> Path:
    """As published: three header rows, more columns than are read, line breaks in cells."""
    keys = [
        ("", ""),
        ("album", "id"),
        ("album", "information"),
        ("artist", "id"),
        ("set", "split"),
        ("set", "subset"),
        ("track", "genre_top"),
        ("track", "title"),
    ]
    path = folder / "fma_metadata" / "tracks.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(key for key, _ in keys)
        writer.writerow(key for _, key in keys)
        writer.writerow(["track_id", *[""] * (len(keys) - 1)])
        for row in rows:
            writer.writerow(
                [
                    row["track"],
                    row.get("album", 7),
                    '<p>Two lines,\n"quoted" – and ümlauts</p>',
                    row.get("artist", 1),
                    row.get("split", "training"),
                    row.get("subset", "small"),
                    row.get("genre", "Rock"),
                    "",
                ]
            )
    return path


def _mp3(folder: Path, *tracks: int) -> None:
    for track in tracks:
        path = folder / f"{track // 1000:03d}" / f"{track:06d}.mp3"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a loader decodes nothing")


def test_fma_smalls_packaged_split_has_the_official_counts() -> None:
    table = fma.tracks("small")
    assert table["split"].value_counts().to_dict() == {"train": 6_394, "valid": 800, "test": 800}
    assert table["genre"].nunique() == 8
    assert table["artist"].isna().sum() == 90
    assert not set(fma.UNUSABLE) & set(table.index)
    assert [unusable["clip_id"] for unusable in table.attrs["left_out"]] == [
        *("98565", "98567", "98569", "99134", "108925", "133297")
    ]
    assert all("mdeff/fma" in unusable["reason"] for unusable in table.attrs["left_out"])
    tracks = table.dropna(subset="artist")
    # The official split keeps artists apart.
    assert (tracks.groupby("artist")["split"].nunique() == 1).all()


def test_subsets_are_nested_and_tracks_without_a_genre_are_left_out(tmp_path: Path) -> None:
    path = _tracks_csv(
        tmp_path,
        [
            {"track": 2, "genre": "Hip-Hop", "artist": 1, "album": -1},
            {"track": 98565},
            {"track": 5, "subset": "medium", "split": "validation", "artist": ""},
            {"track": 20, "subset": "large", "split": "test", "artist": "54.0"},
            {"track": 30, "subset": "large", "genre": ""},
        ],
    )
    tables = {subset: fma.tracks(subset, path) for subset in fma.SUBSETS}
    assert {subset: table.index.tolist() for subset, table in tables.items()} == {
        "small": [2],
        "medium": [2, 5],
        "large": [2, 5, 20],
        "full": [2, 5, 20, 98565],  # whole tracks: nothing was cut wrongly
    }
    large = tables["large"]
    assert large["split"].tolist() == ["train", "valid", "test"]
    assert large["artist"].fillna("?").tolist() == ["1", "?", "54"]
    assert large["album"].fillna("?").tolist() == ["?", "7", "7"]
    assert large.attrs["notes"] == [
        "1 of 4 tracks have no top genre and are left out, as in Defferrard et al. 2017."
    ]
    assert tables["small"].attrs["notes"] == []


def test_metadata_without_any_top_genre_are_refused_with_a_sentence(tmp_path: Path) -> None:
    _tracks_csv(tmp_path, [{"track": track, "genre": ""} for track in (2, 3, 5)])
    _mp3(tmp_path / "fma_small", 2, 3, 5)
    said = message_of("fma_small", folder=str(tmp_path))
    assert said.startswith("None of the 3 tracks of fma_small in ")
    assert "has a top genre (column track, genre_top)" in said


def test_fma_clips_are_those_whose_files_are_there(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"track": track, "genre": genre, "artist": track}
        for genre, first in (("Rock", 2), ("Hip-Hop", 140_000))
        for track in range(first, first + 4)
    ]
    _tracks_csv(tmp_path, rows)
    _mp3(tmp_path / "fma_small", 2, 3, 4, 140_001, 140_002, 140_003, 98565, 151_000)
    (tmp_path / "fma_small" / "000" / "._00005.mp3").write_bytes(b"")
    (tmp_path / "fma_small" / "140" / "000005.mp3").write_bytes(b"")  # in the wrong folder
    (tmp_path / "fma_small" / "README.txt").write_bytes(b"")
    table = datasets.load("fma_small", {"folder": str(tmp_path)})
    assert tuple(table.columns) == clips.COLUMNS
    assert table["clip_id"].tolist() == ["140001", "140002", "140003", "2", "3", "4"]
    assert all(Path(path).is_file() for path in table["path"])
    assert table["album"].tolist() == ["7"] * 6
    assert {unusable["clip_id"] for unusable in table.attrs["left_out"]} == {
        str(track) for track in fma.UNUSABLE
    }
    (note,) = table.attrs["notes"]
    assert note.startswith("2 of the 8 tracks of fma_small are not in")
    assert note.endswith("the first is 000/000005.mp3.")
    inside = datasets.load("fma_small", {"folder": str(tmp_path / "fma_small")})
    assert inside.equals(table)


def test_a_smaller_subset_is_found_in_a_larger_one(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"track": 10 * n + k, "genre": genre, "subset": subset}
        for n, (genre, subset) in enumerate(
            [("A", "small"), ("B", "small"), ("C", "medium"), ("D", "large")]
        )
        for k in range(3)
    ]
    _tracks_csv(tmp_path, rows)
    _mp3(tmp_path / "fma_large", *(int(str(row["track"])) for row in rows))
    sizes = {
        name: len(datasets.load(f"fma_{name}", {"folder": str(tmp_path)}))
        for name in ("small", "medium", "large")
    }
    assert sizes == {"small": 6, "medium": 9, "large": 12}
    # Excerpts are not whole tracks.
    assert "holds none of the 12 tracks" in message_of("fma_full", folder=str(tmp_path))


def test_the_real_clip_of_fma_is_found_without_metadata(real_data: Path) -> None:
    options = fma.FmaOptions(folder=str(real_data))
    (row,) = fma.load_subset("small", options, silent).to_dict("records")
    assert (row["clip_id"], row["genre"], row["artist"]) == ("2", "Hip-Hop", "1")
    assert row["split"] == "train"
    assert row["path"] == str(real_data / "fma_small" / "000" / "000002.mp3")


def test_metadata_with_faults_is_refused_with_one_sentence(tmp_path: Path) -> None:
    path = _tracks_csv(tmp_path, [{"track": 2}])
    whole = path.read_text(encoding="utf-8")

    def message_for(old: str, new: str) -> str:
        path.write_text(whole.replace(old, new, 1), encoding="utf-8")
        return message_of("fma_medium", folder=str(tmp_path))

    assert "lacks the columns (set, split), (set, subset);" in message_for("set,set", "sat,sat")
    assert "lacks the column (track, genre_top);" in message_for("genre_top", "genre")
    assert "third row" in message_for("track_id", "id")
    assert "track 2 the split 'tarining'; expected" in message_for("training", "tarining")
    assert "cannot be read as FMA's tracks.csv" in message_for("\n2,", "\ntwo,")
    twice = whole + whole.split("track_id,,,,,,,", 1)[1].lstrip()
    assert "lists the track 2 twice" in message_for(whole, twice)
    path.write_text("track_id,split\n", encoding="utf-8")
    assert "three header rows" in message_of("fma_medium", folder=str(tmp_path))
    path.unlink()
    assert "needs fma_metadata/tracks.csv" in message_of("fma_medium", folder=str(tmp_path))


def test_fma_folders_without_audio_are_refused(tmp_path: Path) -> None:
    assert "needs its option 'folder'" in message_of("fma_small")
    assert "found nothing at" in message_of("fma_small", folder=str(tmp_path / "no"))
    assert "holds none of the 7,994 tracks" in message_of("fma_small", folder=str(tmp_path))


# A folder of one's own


@pytest.fixture
def own(tmp_path: Path) -> Path:
    for genre in ("rock 'n' roll", "Volksmusik für alle", "two\nlines"):
        for name in ("a.wav", "sub folder/b.WAV", "sub folder/c.wav"):
            silent_wav(tmp_path / "music" / genre / name, 4_411)
    return tmp_path / "music"


def test_genres_are_folders_and_names_may_hold_anything(own: Path) -> None:
    (own / "rock 'n' roll" / ".hidden.wav").write_bytes(b"")
    (own / "__MACOSX" / "rock").mkdir(parents=True)
    (own / "__MACOSX" / "rock" / "a.wav").write_bytes(b"")
    table = datasets.load("folder", {"folder": str(own)})
    assert table["genre"].value_counts().to_dict() == {
        "rock 'n' roll": 3,
        "Volksmusik für alle": 3,
        "two\nlines": 3,
    }
    assert "two\nlines/sub folder/b.WAV" in table["clip_id"].tolist()
    assert all(row.path == f"{own}/{row.clip_id}" for row in table.itertuples())
    assert table["duration_s"].tolist() == [4_411 / 22_050] * 9
    assert table.attrs["left_out"] == []
    assert table.attrs["notes"] == ["2 hidden or system entries ignored: __MACOSX and .hidden.wav."]


def test_links_that_lead_in_circles_or_nowhere_end(own: Path) -> None:
    (own / "rock 'n' roll" / "up").symlink_to(own)
    (own / "self").symlink_to("self")
    (own / "rock 'n' roll" / "again").symlink_to(own / "rock 'n' roll" / "sub folder")
    (own / "rock 'n' roll" / "gone.wav").symlink_to(own / "nowhere.wav")
    table = datasets.load("folder", {"folder": str(own)})
    assert len(table) == 9
    # By its own name, not by that of a link which comes first in the alphabet.
    assert "rock 'n' roll/sub folder/c.wav" in table["clip_id"].tolist()
    (unusable,) = table.attrs["left_out"]
    assert unusable["clip_id"] == "rock 'n' roll/gone.wav"
    assert "leads nowhere" in unusable["reason"]


def test_a_genre_may_be_a_link_to_a_folder_elsewhere(own: Path) -> None:
    silent_wav(own.parent / "elsewhere" / "a.wav")
    silent_wav(own.parent / "elsewhere" / "b.wav")
    silent_wav(own.parent / "elsewhere" / "c.wav")
    (own / "blues").symlink_to(own.parent / "elsewhere")
    table = datasets.load("folder", {"folder": str(own)})
    blues = table.loc[table["genre"] == "blues", "clip_id"].tolist()
    assert blues == ["blues/a.wav", "blues/b.wav", "blues/c.wav"]
    (note,) = table.attrs["notes"]
    assert note.startswith("3 files reached through links that lead out of the folder; the first")


def test_what_is_no_clip_of_a_genre_is_reported(own: Path) -> None:
    silent_wav(own / "loose.wav")
    (own / "two\nlines" / "notes.txt").write_text("")
    (own / "two\nlines" / "song.mid").write_text("")
    table = datasets.load("folder", {"folder": str(own)})
    assert len(table) == 9
    assert table.attrs["notes"] == [
        "1 file outside every genre folder left out; the first is 'loose.wav'.",
        "2 files of other kinds ignored: 1 .mid and 1 .txt.",
    ]


def test_a_name_that_is_not_text_is_left_out(own: Path) -> None:
    odd = bytes(own / "rock 'n' roll") + b"/\xff.wav"
    with open(odd, "wb") as file:
        file.write(b"")
    (unusable,) = datasets.load("folder", {"folder": str(own)}).attrs["left_out"]
    assert unusable["clip_id"] == "rock 'n' roll/\\udcff.wav"


def test_a_folder_in_a_folder_is_taken_as_archives_unpack_it(own: Path) -> None:
    outer = datasets.load("folder", {"folder": str(own.parent)})
    assert outer.equals(datasets.load("folder", {"folder": str(own)}))


def test_images_are_a_dataset_and_mixing_is_refused(tmp_path: Path) -> None:
    for genre in ("a", "b"):
        for number in range(3):
            path = tmp_path / genre / f"{number}.PNG"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"a loader reads no images")
    table = datasets.load("folder", {"folder": str(tmp_path)})
    assert set(table["medium"]) == {"image"}
    silent_wav(tmp_path / "b" / "0.wav")
    assert "audio files (1, e.g. 'b/0.wav') next to images (6, e.g. 'a/0.PNG')" in message_of(
        "folder", folder=str(tmp_path)
    )


def test_folders_without_clips_are_refused(tmp_path: Path) -> None:
    assert "needs its option 'folder'" in message_of("folder")
    assert "found nothing at" in message_of("folder", folder=str(tmp_path / "no"))
    silent_wav(tmp_path / "loose.wav")
    assert "There are no clips in" in message_of("folder", folder=str(tmp_path))


# A manifest


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    for number in range(6):
        silent_wav(tmp_path / "audio" / f"{number}, ä.wav", 3_001 + number)
    return tmp_path


def _manifest(folder: Path, *rows: str, header: str = "path;genre") -> Path:
    path = folder / "manifest.csv"
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8-sig")
    return path


def test_a_manifest_gives_genres_artists_and_parts_in_any_order(listed: Path) -> None:
    parts = ("Training", "val", "TEST", "dev", "train", "")
    path = _manifest(
        listed,
        *(
            f"{word};x; Artist {n % 2} ;{'ab'[n % 2]};./audio/../audio/{n}, ä.wav"
            for n, word in enumerate(parts)
        ),
        "",
        header="Split;comment;artist;genre; PATH",
    )
    table = datasets.load("manifest", {"folder": str(path)})
    assert table["clip_id"].tolist() == [f"audio/{n}, ä.wav" for n in (0, 2, 4, 1, 3, 5)]
    assert table["artist"].tolist() == ["Artist 0"] * 3 + ["Artist 1"] * 3
    assert table["album"].isna().all()
    assert table["split"].fillna("").tolist() == ["train", "test", "train", "valid", "valid", ""]
    assert table["duration_s"].iloc[1] == 3_003 / 22_050
    assert datasets.load("manifest", {"folder": str(listed)}).equals(table)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("audio/1, ä.wav;", "Row 3 of the manifest manifest.csv has no genre for 'audio/1, ä.wav'"),
        (";rock", "Row 3 of the manifest manifest.csv has no path"),
        ("./audio/0, ä.wav;rock", "lists './audio/0, ä.wav' again, after row 2"),
        ("audio;rock", "neither audio nor an image"),
        ("C:\\music\\a.wav;rock", "begins with a drive of Windows; expected a path as this"),
        ("audio/1, ä.wav;rock;more", "has 3 cells, the header 2"),
        ('audio/1, ä.wav;"rock', "cannot be read as CSV"),
    ],
)
def test_a_row_with_a_fault_is_named(row: str, message: str, listed: Path) -> None:
    _manifest(listed, "audio/0, ä.wav;rock", row)
    assert message in message_of("manifest", folder=str(listed))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("audio/9.wav", "lists 'audio/9.wav', but there is no such file in"),
        ("/etc/passwd.wav", "lists '/etc/passwd.wav', but there is no such file."),
        ("audio\\9.wav", "lists 'audio\\\\9.wav', but there is no such file in"),
        ("audio/../../a.wav", "no such file in"),
    ],
)
def test_a_file_that_is_not_there_costs_a_manifest_no_other(
    path: str, message: str, listed: Path
) -> None:
    rows = [f"audio/{n}, ä.wav;{'ab'[n % 2]}" for n in range(6)]
    _manifest(listed, *rows[:3], f"{path};a", *rows[3:])
    table = datasets.load("manifest", {"folder": str(listed)})
    assert len(table) == 6
    (absent,) = table.attrs["left_out"]
    assert absent["reason"].startswith("Row 5 of the manifest manifest.csv lists")
    assert message in absent["reason"]
    _manifest(listed, f"{path};a", f"{path};b")
    assert "again, after row 2" in message_of("manifest", folder=str(listed))
    _manifest(listed, f"{path};a", "gone.wav;b")
    said = message_of("manifest", folder=str(listed))
    assert said.startswith("None of the 2 files is there. Row 2 of the manifest")
    assert message in said


def test_absent_files_of_a_manifest_are_counted_with_the_unreadable_ones(listed: Path) -> None:
    for n in range(6):
        soundfile.write(listed / f"{n}.wav", tone(2.0 + n / 10, 22_050, 1), 22_050)
    (listed / "words.wav").write_text("These are words.")
    rows = [f"{n}.wav;{'ab'[n % 2]}" for n in range(6)]
    _manifest(listed, *rows, "gone.wav;a", "words.wav;b")
    config = with_values(RunConfig(), {"dataset": "manifest", "dataset.folder": str(listed)})
    prepared = prepare.decode(config)
    assert [item["clip_id"] for item in prepared.skipped] == ["gone.wav", "words.wav"]
    assert "2 of 8 clips cannot be used and are left out; the first is gone.wav: Row 8" in str(
        prepared.notes
    )
    (listed / "4.wav").unlink()
    with pytest.raises(GenrecoreError, match=r"too few clips in a \(2\)"):
        prepare.decode(config)


def test_a_manifest_names_files_anywhere_and_nothing_is_written_beside_them(
    tmp_path: Path, own_cache: Path
) -> None:
    music, lists = tmp_path / "music", tmp_path / "lists"
    for number in range(6):
        silent_wav(music / "rock" / f"{number}.wav", 3_001)
    lists.mkdir()
    silent_wav(lists / "own" / "6.wav", 3_001)
    manifest = _manifest(
        lists,
        *(f"{music}/rock/{n}.wav;{'ab'[n % 2]}" for n in range(3)),
        "../music/rock/3.wav;b",
        f"{music}/x/../rock/4.wav;a",
        "..\\music\\rock\\5.wav;b",
        f"{lists}/own/6.wav;a",
    )
    before = sorted([*music.rglob("*"), *lists.rglob("*")])
    table = datasets.load("manifest", {"folder": str(manifest)})
    assert table["clip_id"].tolist() == [
        f"{music}/rock/0.wav", f"{music}/rock/2.wav", f"{music}/rock/4.wav", "own/6.wav",
        "../music/rock/3.wav", "../music/rock/5.wav", f"{music}/rock/1.wav",
    ]  # fmt: skip
    assert table["duration_s"].tolist() == [3_001 / 22_050] * 7
    build(table, 22_050, 1.0)
    assert sorted([*music.rglob("*"), *lists.rglob("*")]) == before


def test_a_manifest_that_was_uploaded_stays_in_its_folder(own_cache: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, own_cache / "uploads" / "0123"):
        silent_wav(folder / "a.wav")
    for path in (f"{tmp_path}/a.wav", "../../../a.wav"):
        _manifest(own_cache / "uploads" / "0123", "a.wav;rock", f"{path};rock")
        said = message_of("manifest", folder=str(own_cache / "uploads" / "0123"))
        assert "leads out of the uploaded folder" in said


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux alone has /proc")
def test_files_of_the_kernel_are_no_clips(tmp_path: Path) -> None:
    for name in ("manifest", "folder"):
        (tmp_path / name / "rock").mkdir(parents=True)
        (tmp_path / name / "rock" / "a.wav").symlink_to("/proc/self/maps")
    _manifest(tmp_path / "manifest", "rock/a.wav;rock")
    assert "there is no such file" in message_of("manifest", folder=str(tmp_path / "manifest"))
    (tmp_path / "manifest.csv").symlink_to("/proc/self/maps")
    assert "There is no manifest" in message_of("manifest", folder=f"{tmp_path}/manifest.csv")
    for n in range(6):
        silent_wav(tmp_path / "folder" / "pr"[n % 2] / f"{n}.wav")
    table = datasets.load("folder", {"folder": str(tmp_path / "folder")})
    assert "no regular file" in table.attrs["left_out"][0]["reason"]


@pytest.mark.parametrize("name", ["{genre}.{n:05d}.wav", "x/my_{genre}{n:05d}.mp3.wav"])
def test_clips_of_gtzan_are_known_by_name_in_any_list_or_folder(name: str, tmp_path: Path) -> None:
    names = [(genre, n) for genre in ("blues", "classical", "hiphop") for n in (0, 1, 5, 30, 99)]
    for genre, n in names:
        silent_wav(tmp_path / genre / name.format(genre=genre, n=n))
    rows = [f"{genre}/{name.format(genre=genre, n=n)};{genre};" for genre, n in names]
    rows[0] += "Somebody"
    _manifest(tmp_path, *rows, header="path;genre;artist")
    published = published_facts()
    of_list = datasets.load("manifest", {"folder": str(tmp_path)})
    of_folder = datasets.load("folder", {"folder": str(tmp_path)})
    for table in (of_list, of_folder):
        artists = [published.loc[f"{genre}.{n:05d}", "artist"] for genre, n in names]
        if table is of_list:
            artists[0] = "Somebody"
        assert table["artist"].fillna("").tolist() == ["" if a is pd.NA else a for a in artists]
        n_filled = table["artist"].notna().sum() - (table is of_list)
        assert f"{n_filled} artists not given here are taken from its index" in str(table.attrs)
        split = apply_split(table, "fault_filtered", {}, 0, 0)["split"]
        parts = [published.loc[f"{genre}.{n:05d}", "filtered_split"] for genre, n in names]
        assert split.fillna("").tolist() == ["" if part is pd.NA else part for part in parts]
    silent_wav(tmp_path / "blues" / "blues.01000.wav")  # GTZAN ends at 00099
    strange = datasets.load("folder", {"folder": str(tmp_path)})
    assert strange["artist"].isna().all()
    with pytest.raises(GenrecoreError, match="1 of 16 clips are not in GTZAN by name"):
        apply_split(strange, "fault_filtered", {}, 0, 0)


def test_manifests_with_other_faults_are_refused(listed: Path) -> None:
    assert "needs its option 'folder'" in message_of("manifest")
    assert "There is no manifest" in message_of("manifest", folder=str(listed))
    _manifest(listed)
    assert "lists no files" in message_of("manifest", folder=str(listed))
    _manifest(listed, header="file;label")
    assert "lacks the columns path and genre" in message_of("manifest", folder=str(listed))
    _manifest(listed, header="path;genre;genre")
    assert "the column genre twice" in message_of("manifest", folder=str(listed))
    _manifest(listed, "audio/0, ä.wav;a;middle", header="path;genre;split")
    assert "has the split 'middle'; expected train" in message_of("manifest", folder=str(listed))
    (listed / "a.png").write_bytes(b"")
    _manifest(listed, "audio/0, ä.wav;a", "a.png;b")
    assert "next to images" in message_of("manifest", folder=str(listed))
    (listed / "manifest.csv").write_bytes("path,genre\nü,a\n".encode("latin-1"))
    assert "not text in UTF-8" in message_of("manifest", folder=str(listed))


def test_a_wave_longer_than_a_block_is_rounded_everywhere() -> None:
    """Steps of 16 bits, halves to the even one, cut at both ends."""
    steps = np.tile(np.array([-40_000, -32_768, -1.5, -0.5, 0.4, 0.5, 2.5, 32_767, 32_768]), 30_000)
    expected = [-32_768, -32_768, -2, 0, 0, 0, 2, 32_767, 32_767]
    samples = quantise((steps / 32_768).astype(np.float32))
    assert samples.dtype == np.int16
    np.testing.assert_array_equal(samples, np.tile(expected, 30_000))
