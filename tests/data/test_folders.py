"""Folders as they are: rubbish of systems, kinds that are not read, names that look alike."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from sample_files import silent_wav

from genrecore.config.run import RunConfig, with_values
from genrecore.data import datasets, prepare
from genrecore.data import genres as relabel
from genrecore.data.audit import audit
from genrecore.data.clips import clip_table, genres_of, same_names
from genrecore.data.folders import Walk, is_of_system, kinds_in_words
from genrecore.errors import GenrecoreError, UsageError

RUBBISH = (
    "@eaDir", "#recycle", "#snapshot", "System Volume Information", "$RECYCLE.BIN", "lost+found",
    ".Trash-1000", "__MACOSX", "@Recycle", "LOST.DIR", ".AppleDouble",
)  # fmt: skip
RUBBISH_FILES = ("Thumbs.db", "desktop.ini", ".DS_Store", "._a.wav", "a.wav:Zone.Identifier")


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Two genres of three clips each."""
    for genre in ("jazz", "rock"):
        for n in range(3):
            silent_wav(tmp_path / "music" / genre / f"{n}.wav", 4_411)
    return tmp_path / "music"


def test_what_systems_write_is_no_genre_and_no_clip(music: Path) -> None:
    clean = datasets.load("folder", {"folder": str(music)})
    assert clean.attrs["notes"] == []
    for name in RUBBISH:
        silent_wav(music / name / "x.wav")
        silent_wav(music / "rock" / name / "y.wav")
    for name in RUBBISH_FILES:
        (music / "jazz" / name).write_bytes(b"")
    table = datasets.load("folder", {"folder": str(music)})
    pd.testing.assert_frame_equal(table, clean)
    (note,) = table.attrs["notes"]
    n = 2 * len(RUBBISH) + len(RUBBISH_FILES)
    assert note.startswith(f"{n} hidden or system entries ignored: ")
    assert not any(map(is_of_system, ("rock", "eaDir", "recycle", "R&B", "lost and found")))


def test_kinds_that_are_not_read_are_counted_by_their_names(music: Path) -> None:
    for name in ("a.mid", "b.MID", "c.mid", "score.pdf", "README", "d.pdf"):
        (music / "rock" / name).write_bytes(b"")
    (note,) = datasets.load("folder", {"folder": str(music)}).attrs["notes"]
    assert note == "6 files of other kinds ignored: 3 .mid, 2 .pdf and 1 file without an ending."
    assert kinds_in_words(Counter({".mid": 1_200})) == "1,200 .mid"
    walk = Walk(music, (".wav",))
    assert [os.path.relpath(path, music) for path in walk] == [
        f"{genre}/{n}.wav" for genre in ("jazz", "rock") for n in range(3)
    ]
    assert walk.notes == [note]


def test_a_folder_of_other_kinds_alone_is_no_genre_and_is_named(music: Path) -> None:
    (music / "classical").mkdir()
    (music / "classical" / "a.mid").write_bytes(b"")
    assert datasets.load("folder", {"folder": str(music)}).attrs["notes"] == [
        "1 folder without clips, so no genre; the first is 'classical'.",
        "1 file of other kinds ignored: 1 .mid.",
    ]


def test_artists_compare_composed_too() -> None:
    names = pd.Series([unicodedata.normalize(form, "Björk  X ") for form in ("NFC", "NFD")])
    assert same_names(names).nunique() == 1


def test_a_folder_without_clips_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "song.mid").write_bytes(b"")
    with pytest.raises(GenrecoreError, match=r"It holds 1 \.mid"):
        datasets.load("folder", {"folder": str(tmp_path)})


def test_a_walk_ends_in_circles_and_says_what_is_closed(
    music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (music / "rock" / "up").symlink_to(music)
    (music / "self").symlink_to("self")
    scan = os.scandir

    def refuse(path: str) -> object:  # root may look into every folder
        if str(path).endswith("jazz"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    walk = Walk(music, (".wav",))
    assert [os.path.relpath(path, music) for path in walk] == [f"rock/{n}.wav" for n in range(3)]
    assert f"The folder {music}/jazz cannot be looked into." in walk.notes


def test_pictures_of_albums_beside_music_are_ignored_and_others_refused(music: Path) -> None:
    for name in ("cover.jpg", "Folder.JPG", "AlbumArt_{1}_Large.jpg", "sub/front.png"):
        (music / "rock" / name).parent.mkdir(exist_ok=True)
        (music / "rock" / name).write_bytes(b"")
    table = datasets.load("folder", {"folder": str(music)})
    assert set(table["medium"]) == {"audio"}
    (note,) = table.attrs["notes"]
    assert note.startswith("4 album pictures beside the music ignored; the first is ")
    (music / "rock" / "0.png").write_bytes(b"")
    with pytest.raises(GenrecoreError, match=r"next to images \(1, e.g. 'rock/0.png'\)"):
        datasets.load("folder", {"folder": str(music)})


def test_folders_of_fma_and_gtzan_are_recognised(tmp_path: Path) -> None:
    for track in (2, 5, 140, 1_082, 155_066):
        path = tmp_path / "plain" / f"{track // 1000:03d}" / f"{track:06d}.mp3"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    with pytest.raises(GenrecoreError, match=r"use the dataset fma_small \(--dataset fma_small\)"):
        datasets.load("folder", {"folder": str(tmp_path / "plain")})
    (tmp_path / "plain").rename(tmp_path / "fma_large")
    with pytest.raises(GenrecoreError, match="use the dataset fma_large"):
        datasets.load("folder", {"folder": str(tmp_path / "fma_large")})
    silent_wav(tmp_path / "gtzan" / "genres_original" / "blues" / "blues.00000.wav")
    (tmp_path / "gtzan" / "images_original" / "blues").mkdir(parents=True)
    (tmp_path / "gtzan" / "images_original" / "blues" / "blues00000.png").write_bytes(b"")
    with pytest.raises(GenrecoreError, match="use the dataset gtzan"):
        datasets.load("folder", {"folder": str(tmp_path / "gtzan")})


# Genres


def _clips(**sizes: int) -> pd.DataFrame:
    return clip_table(
        {"clip_id": f"{genre}/{n}.wav", "path": "x", "genre": genre}
        for genre, size in sizes.items()
        for n in range(size)
    )


LOOK_ALIKES = {"Rock": 5, "rock": 3, "ROCK ": 1, "Hip-Hop": 4, "hip hop": 2, "HipHop": 2, "Jazz": 4}


def test_genres_that_look_alike_are_named_and_one_text_merges_them() -> None:
    groups = relabel.look_alikes(LOOK_ALIKES)
    assert groups == [["Hip-Hop", "HipHop", "hip hop"], ["Rock", "rock", "ROCK "]]
    text = relabel.merge_of(groups)
    assert text == 'Hip-Hop = Hip-Hop, HipHop, hip hop; Rock = "ROCK ", Rock, rock'
    table, _ = relabel.apply(_clips(**LOOK_ALIKES), "", text)
    assert table["genre"].value_counts().to_dict() == {"Rock": 9, "Hip-Hop": 8, "Jazz": 4}
    assert relabel.look_alikes(table["genre"].value_counts().to_dict()) == []
    assert relabel.canonical("", text) == ("", text)


def test_a_merge_of_look_alikes_goes_on_from_one_that_was_asked_for() -> None:
    text = relabel.merge_of([["Rock", "ROCK "]], "Rock = Rock, rock")
    assert text == 'Rock = "ROCK ", Rock, rock'


@pytest.mark.parametrize(
    "name", ["R&B", "RnB", "Pop-Folk", "Rock2", "C", "C++", "電子", "!!!", "?"]
)
def test_other_names_do_not_look_alike(name: str) -> None:
    assert relabel.look_alikes({name: 1, "R'n'B!": 1, "Popfolk 2": 1, "Rock": 1, "...": 1}) == []


def test_a_genre_with_spaces_or_commas_can_be_named() -> None:
    clips = _clips(**{"ROCK ": 3, "Rock": 3, "Folk, World": 3, "Jazz": 3})
    table, _ = relabel.apply(clips, '"Folk, World"', 'Rock = Rock, "ROCK "')
    assert table["genre"].value_counts().to_dict() == {"Rock": 6, "Jazz": 3}
    with pytest.raises(UsageError, match='there are: "Folk, World", Jazz, "ROCK ", Rock'):
        relabel.apply(clips, "Folk", "")


def test_names_compare_composed_whatever_the_disk_and_the_keyboard_write(music: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Café") for form in ("NFC", "NFD"))
    for n, genre in enumerate((composed, decomposed)):
        silent_wav(music / genre / f"{n}.wav")
    table = datasets.load("folder", {"folder": str(music)})
    assert genres_of(table) == [composed, "jazz", "rock"]
    assert table.attrs["notes"] == [
        f"{composed}: the same name in two forms of Unicode (composed and decomposed), which "
        "count as one genre."
    ]
    for spelling in (composed, decomposed):
        left, _ = relabel.apply(table, spelling, "")
        assert genres_of(left) == ["jazz", "rock"]
        merged, _ = relabel.apply(table, "", f"{spelling} = {spelling}, jazz")
        assert genres_of(merged) == [composed, "rock"]


def test_folders_of_systems_may_be_left_out_although_they_are_no_genres() -> None:
    clips = _clips(rock=3, jazz=3)
    table, notes = relabel.apply(clips, "@eaDir, #recycle", "")
    assert (len(table), notes) == (6, [])
    with pytest.raises(UsageError, match="'Metal', to be left out, is not in the dataset; there"):
        relabel.apply(clips, "@eaDir, Metal", "")


@pytest.mark.parametrize(
    "genres", [{"genres.leave_out": "solo"}, {"genres.merge": "rock = rock, solo"}]
)
def test_sizes_are_checked_once_genres_are_left_out_and_merged(
    genres: dict[str, str], music: Path
) -> None:
    silent_wav(music / "solo" / "only.wav", 4_411)
    config = with_values(RunConfig(), {"dataset": "folder", "dataset.folder": str(music)} | genres)
    table, _ = prepare.taking_part(datasets.load("folder", {"folder": str(music)}), config)
    assert genres_of(table) == ["jazz", "rock"]


def test_more_genres_than_a_run_takes_can_be_left_out(tmp_path: Path) -> None:
    for n in range(259):
        silent_wav(tmp_path / f"genre {n:03d}" / "x.wav", 1)
    clips = datasets.load("folder", {"folder": str(tmp_path)})
    names = genres_of(clips)
    assert len(names) == 259
    config = with_values(RunConfig(), {"genres.leave_out": ", ".join(names[:3])})
    assert len(prepare.taking_part(clips, config, least_per_genre=1)[0]) == 256
    with pytest.raises(GenrecoreError, match="has 259 genres; a run takes at most 256"):
        prepare.taking_part(clips, RunConfig(), least_per_genre=1)


def test_the_audit_names_look_alikes_and_what_the_loader_ignored(music: Path) -> None:
    (music / "rock" / "a.mid").write_bytes(b"")
    silent_wav(music / "ROCK " / "a.wav")
    clips = datasets.load("folder", {"folder": str(music)})
    findings = audit(clips).findings
    (alike,) = findings.loc[findings["kind"] == "genre_spelling", "sentence"]
    assert alike == (
        "'rock' (3 clips) and 'ROCK ' (1 clip) differ in case, spaces or hyphens only and count as "
        "2 genres; merge them if they are one."
    )
    (remark,) = findings.loc[findings["kind"] == "remark", "sentence"]
    assert remark == "1 file of other kinds ignored: 1 .mid."


# A manifest


@pytest.mark.parametrize(("listed", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_manifest_finds_files_in_the_other_form_of_unicode(
    listed: str, on_disk: str, tmp_path: Path
) -> None:
    names = ["Café/Ünder.wav", "Café/b.wav", "ö/é.wav"]
    for name in names[:2]:
        silent_wav(tmp_path / unicodedata.normalize(on_disk, name))
    # One name in both forms, as copies from one system to another have it.
    silent_wav(
        tmp_path / unicodedata.normalize(on_disk, "ö") / unicodedata.normalize(listed, "é.wav")
    )
    rows = [f"{unicodedata.normalize(listed, name)},{'xy'[n % 2]}" for n, name in enumerate(names)]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,genre", *rows]))
    table = datasets.load("manifest", {"folder": str(tmp_path)})
    assert all(map(os.path.exists, table["path"]))
    assert {unicodedata.normalize("NFC", name) for name in table["clip_id"]} == set(names)
    (tmp_path / "manifest.csv").write_text("path,genre\nCafé/none.wav,x\n")
    with pytest.raises(GenrecoreError, match="there is no such file"):
        datasets.load("manifest", {"folder": str(tmp_path)})
