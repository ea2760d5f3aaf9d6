"""Search by example: the nearest clips, copies of a recording, folders that grow, odd files."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from commands import command, genrecore, refused
from dataset_samples import OPTIONS
from untrained_runs import untrained_run

from genrecore.data import datasets
from genrecore.errors import GenrecoreError
from genrecore.evaluation.related_clips import EXACT, NEAR
from genrecore.inference import loaded
from genrecore.inference.clip_embeddings import Embedder, by_encoder, by_run, embed_clips, kept
from genrecore.inference.similar import folder_clips, similar
from genrecore.store import cache
from genrecore.store.progress import Phase, Stopped

pytestmark = [pytest.mark.usefixtures("musicnn"), pytest.mark.xdist_group("similar")]


@pytest.fixture
def clips() -> pd.DataFrame:
    return datasets.load("demo", OPTIONS).iloc[::2].reset_index(drop=True)


def write_noise(path: Path, seed: int) -> None:
    noise = 0.1 * np.random.default_rng(seed).standard_normal(40_001 + seed)
    soundfile.write(path, noise, 16_000)


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """A folder that is no dataset: four songs, one of them further down, a text, and no sound."""
    folder = tmp_path / "music"
    (folder / "deep").mkdir(parents=True)
    for k, name in enumerate(("song 0.wav", "song 1.wav", "song 2.wav", "deep/song.wav")):
        write_noise(folder / name, k)
    (folder / "notes.txt").write_text("read me")
    (folder / "broken.mp3").write_bytes(b"this is no sound at all")
    return folder


@pytest.fixture
def new_cache(own_cache: Path, fetched_encoders: Path) -> Path:
    """A cache folder with the encoder in it and nothing else."""
    shutil.copytree(fetched_encoders / "musicnn", own_cache / "encoders/musicnn")
    return own_cache


def counting(embedder: Embedder) -> tuple[Embedder, list[int]]:
    """The same embedder, with a list that gets the length of every wave that it hears."""
    heard: list[int] = []

    def hear(wave: np.ndarray) -> np.ndarray:
        heard.append(len(wave))
        return embedder.hear(wave)

    return dataclasses.replace(embedder, hear=hear), heard


@pytest.mark.slow
def test_a_recording_finds_itself_and_its_copies_first(clips: pd.DataFrame, tmp_path: Path) -> None:
    embedder = by_encoder()
    embedding, skipped = embed_clips(clips, embedder)
    assert not skipped
    clip = clips.iloc[13]
    nearest = similar(clip["path"], embedding, embedder, 4)
    assert nearest["clip_id"].iloc[0] == clip["clip_id"]
    assert nearest["distance"].iloc[0] == pytest.approx(0.0, abs=1e-6)
    assert nearest["distance"].is_monotonic_increasing
    assert nearest["how"].tolist() == [EXACT, "", "", ""]
    wave, rate = soundfile.read(clip["path"])
    soundfile.write(tmp_path / "copy.ogg", 0.4 * wave, rate)
    of_copy = similar(tmp_path / "copy.ogg", embedding, embedder, 3)
    assert of_copy[["clip_id", "how"]].iloc[0].tolist() == [clip["clip_id"], NEAR]
    others = similar(clip["path"], embedding, embedder, 3, but=(clip["clip_id"],))
    assert others["clip_id"].tolist() == nearest["clip_id"].tolist()[1:]
    # Bytes and waves are recordings as well.
    of_wave = similar(Path(clip["path"]).read_bytes(), embedding, embedder, 1)
    assert of_wave["clip_id"].tolist() == [clip["clip_id"]]


def test_only_what_is_new_in_a_folder_is_heard(new_cache: Path, music: Path) -> None:
    embedder, heard = counting(by_encoder())
    table, notes = folder_clips(music)
    assert table["clip_id"].tolist() == [
        "broken.mp3", "deep/song.wav", "song 0.wav", "song 1.wav", "song 2.wav",
    ]  # fmt: skip
    assert notes == ["1 file of other kinds ignored: 1 .txt."]
    assert kept(table, embedder) is None
    first, skipped = embed_clips(table, embedder)
    assert [item["clip_id"] for item in skipped] == ["broken.mp3"]
    assert "is not an audio file" in skipped[0]["reason"]
    assert len(heard) == len(first.clips) == 4
    stored = kept(table, embedder)
    assert stored is not None
    assert np.array_equal(stored.values, first.values)
    (music / "song 0.wav").rename(music / "moved.wav")
    write_noise(music / "new.wav", 9)
    for file in (new_cache / "embeddings").glob("*/vectors"):
        with open(file, "ab") as stream:  # a process died while it wrote
            stream.write(b"half")
    grown, _ = folder_clips(music)
    assert kept(grown, embedder) is None
    second, _ = embed_clips(grown, embedder)
    assert heard[4:] == [40_010]
    assert np.array_equal(second.values[second.clips["clip_id"] == "moved.wav"], first.values[1:2])
    assert {entry.about for entry in cache.entries("embeddings")} == {
        f"{embedder.title}: embeddings of recordings"
    }


@pytest.mark.slow
def test_what_was_heard_before_a_stop_stays(new_cache: Path, tmp_path: Path) -> None:
    embedder, heard = counting(by_encoder())
    (tmp_path / "songs").mkdir()
    for k in range(9):
        write_noise(tmp_path / f"songs/{k}.wav", k)
    some, _ = folder_clips(tmp_path / "songs")

    def stop(phase: str, done: int, total: int) -> None:
        if phase == Phase.EMBEDDING and done == 3:
            raise Stopped

    with pytest.raises(Stopped):
        embed_clips(some, embedder, stop)
    n_before = len(heard)
    rest, _ = embed_clips(some, embedder)
    assert len(rest.clips) == 9
    assert len(heard) - n_before == 9 - 3


def test_a_run_is_an_embedder_too(store: Path, clips: pd.DataFrame) -> None:
    run = untrained_run(store, **{"audio.clip_s": 3.0})
    embedder = by_run(loaded.load(run))
    some = clips.head(6)
    embedding, _ = embed_clips(some, embedder)
    wave = embedder.wave(Path(some["path"].iloc[2]))
    assert np.allclose(embedding.values[2], loaded.load(run).embed(wave), atol=1e-6)
    nearest = similar(some["path"].iloc[2], embedding, embedder, 1)
    assert nearest["clip_id"].tolist() == [some["clip_id"].iloc[2]]
    said = json.loads(
        command("similar", str(some["path"].iloc[2]), "--in", "demo", "--run", run.run_id, "--json",
                *(f"--set={key}={value}" for key, value in OPTIONS.items()), "--n", "2")
    )  # fmt: skip
    assert said["clips"][0]["clip_id"] == some["clip_id"].iloc[2]


def test_the_command_searches_folders_and_says_what_it_cannot_use(music: Path) -> None:
    song = str(music / "song 1.wav")
    result = genrecore("similar", song, "--in", str(music), "--n", "2")
    assert result.returncode == 0
    assert "broken.mp3 is not an audio file" in result.stderr
    assert "The nearest of 4 clips by musicnn" in result.stdout
    assert EXACT in result.stdout
    ready = command("similar", "--in", str(music))
    assert "The embeddings of 4 clips by musicnn (Million Song Dataset) are ready." in ready
    refused(genrecore("similar", song, "--in", "nowhere"), 2, "no folder nowhere", "gtzan")
    refused(genrecore("similar", "gone.wav", "--in", str(music)), 1, "gone.wav")
    (music / "deep/empty").mkdir()
    refused(genrecore("similar", song, "--in", str(music / "deep/empty")), 1, "There are no clips")


def test_where_nothing_can_be_used_the_first_reason_is_said(music: Path) -> None:
    table, _ = folder_clips(music)
    with pytest.raises(GenrecoreError, match=r"None of these clips .* broken.mp3 is not an audio"):
        embed_clips(table.head(1), by_encoder())
    gone = table.assign(path=str(music / "gone.wav"))
    with pytest.raises(GenrecoreError, match="None of these clips"):
        embed_clips(gone, by_encoder())
