"""Archives that were uploaded: taken once, trusted in nothing, usable or not there at all."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import command
from sample_files import zipped

from genrecore.data import datasets, uploads
from genrecore.errors import GenrecoreError
from genrecore.store.locks import is_locked
from genrecore.store.progress import Stopped


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where uploads go, nothing there yet."""
    monkeypatch.setenv("GENRECORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "uploads"


def tone(hz: float) -> bytes:
    stream = io.BytesIO()
    wave = 0.3 * np.sin(2 * np.pi * hz * np.arange(8_013) / 8_000)
    soundfile.write(stream, wave, 8_000, format="WAV")
    return stream.getvalue()


MUSIC = {
    f"my music/{genre}/{n}.wav": tone(200 + 50 * n) for genre in ("dub", "ska") for n in (1, 2, 3)
}


def stored_names(store: Path) -> list[str]:
    """What lies in the store, locks aside."""
    names = store.iterdir() if store.is_dir() else ()
    return sorted(path.name for path in names if not path.name.endswith(".lock"))


def test_what_is_unpacked_is_a_dataset_and_is_unpacked_once(tmp_path: Path, store: Path) -> None:
    folder = uploads.unpack(zipped(tmp_path / "songs.zip", MUSIC))
    table = datasets.load("folder", {"folder": str(folder)})
    assert table["genre"].value_counts().to_dict() == {"dub": 3, "ska": 3}
    assert table["clip_id"].iloc[0] == "dub/1.wav"  # the folder around the genres is no genre
    (folder / "seen").touch()
    again = tmp_path / "the same under another name.zip"
    (tmp_path / "songs.zip").rename(again)
    assert uploads.unpack(again) == folder
    assert (folder / "seen").exists()
    assert stored_names(store) == [folder.name]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (MUSIC | {"../../outside.wav": b""}, "which leads out of its folder"),
        ({"dub/notes.txt": b"no music"}, "songs.zip cannot be used: there are no clips in songs"),
        ({"dub/1.wav": tone(300)}, "cannot be used: the dataset folder has one genre only"),
        (MUSIC | {"my music/ska/1.png": b"?"}, "next to images"),
        ({}, "holds no files"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_and_leaves_nothing(
    files: dict[str, bytes], message: str, tmp_path: Path, store: Path
) -> None:
    archive = zipped(tmp_path / "songs.zip", files)
    with pytest.raises(GenrecoreError, match=message) as caught:
        uploads.unpack(archive)
    assert "\n" not in str(caught.value)
    assert str(store) not in str(caught.value)  # a place nobody has heard of
    assert stored_names(store) == []
    assert not (tmp_path / "outside.wav").exists()


def test_a_stop_at_any_time_leaves_nothing(tmp_path: Path, store: Path) -> None:
    archive = zipped(tmp_path / "songs.zip", MUSIC)
    phases: list[str] = []
    uploads.unpack(archive, lambda phase, done, total: phases.append(phase))
    (final,) = stored_names(store)
    (store / final).rename(tmp_path / "elsewhere")
    assert len(set(phases)) > 2  # reading, unpacking, looking at it
    for last in sorted(set(phases)):

        def report(phase: str, done: int, total: int, last: str = last) -> None:
            if phase == last:
                raise Stopped

        with pytest.raises(Stopped):
            uploads.unpack(archive, report)
        assert stored_names(store) == []


@pytest.mark.parametrize(
    ("name", "file_name"),
    [
        ("songs.zip", "songs.zip"),
        ("../../etc/passwd.zip", "passwd.zip"),
        ("C:\\music\\my songs.zip", "my songs.zip"),
        ("..", "archive"),
        ("bad\n\x00name\ud800.zip", "badname.zip"),
        ("ü" * 300 + ".zip", "ü" * 98 + ".zip"),
    ],
)
def test_an_upload_is_stored_under_a_name_that_leads_nowhere(
    name: str, file_name: str, store: Path
) -> None:
    path = uploads.receive(io.BytesIO(b"content"), name)
    assert path.name == file_name
    assert path.parent.parent == store
    assert path.read_bytes() == b"content"
    assert uploads.unpacked_folder(path).parent == store
    uploads.discard(path)
    assert stored_names(store) == []


def test_a_store_that_cannot_be_written_is_one_sentence(store: Path) -> None:
    store.parent.mkdir()
    store.write_bytes(b"in the way")
    with pytest.raises(GenrecoreError, match=r"^songs.zip cannot be stored: Not a directory"):
        uploads.receive(io.BytesIO(b"content"), "songs.zip")


def test_the_command_unpacks_and_names_the_next_one(tmp_path: Path, store: Path) -> None:
    archive = zipped(tmp_path / "songs.zip", MUSIC)
    message = command("datasets", "unpack", str(archive))
    (name,) = stored_names(store)
    assert f"genrecore datasets prepare folder --folder {store / name}" in message
    assert archive.exists()
    received = uploads.receive(io.BytesIO(archive.read_bytes()), "songs.zip")
    answer = json.loads(command("datasets", "unpack", str(received), "--remove", "--json"))
    assert answer == {"archive": "songs.zip", "folder": str(store / name)}
    assert stored_names(store) == [name]


@pytest.mark.slow
def test_two_at_once_make_one(tmp_path: Path, store: Path) -> None:
    archive = zipped(tmp_path / "songs.zip", MUSIC)
    program = "import sys; from genrecore.data import uploads; from pathlib import Path; print("
    program += "uploads.unpack(Path(sys.argv[1])))"
    command = [sys.executable, "-c", program, str(archive)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    folders = {process.communicate(timeout=60)[0].strip() for process in both}
    assert folders == {str(store / name) for name in stored_names(store)}
    assert len(folders) == 1
    assert not is_locked(store / f"{stored_names(store)[0]}.lock")
