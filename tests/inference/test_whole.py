"""Recordings of any length: windows through the network, sections, and memory that stays."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from commands import command, genrecore, refused
from conftest import trained
from test_audio import noise, write
from test_ensemble import image_run
from test_service import ServiceLimits, served
from untrained_runs import GENRES, untrained_run

from genrecore.audio import decode
from genrecore.config.run import RunConfig
from genrecore.errors import AudioError, UsageError
from genrecore.inference import library, library_results
from genrecore.inference.ensemble import load as load_ensemble
from genrecore.inference.loaded import load as load_run
from genrecore.inference.sections import sections
from genrecore.store.progress import Stopped
from genrecore.store.run import Run

PROBA = [f"p_{genre}" for genre in GENRES]


@pytest.mark.parametrize("overlap", [0.0, 0.5])
@pytest.mark.parametrize("seconds", [1.0, 63.2, 64.49, 65.51, 131.77])
def test_windows_are_those_of_the_recording_in_one_piece(
    seconds: float, overlap: float, store: Path, tmp_path: Path
) -> None:
    """64 segments of a second go through the network at a time."""
    loaded = load_run(untrained_run(store, temperature=2.0, segments__overlap=overlap))
    # At the run's rate: resampled blocks may be a sample shorter in all.
    path = write(tmp_path / "long.wav", noise(seconds, 22_050), 22_050)
    whole = loaded.classify_whole(path)
    piece = loaded.classify(path, start_s=0.0, length_s=1_000.0)
    assert whole.segments[["start_s", "end_s"]].equals(piece.segments[["start_s", "end_s"]])
    # The same float32 arithmetic in batches of another size: rounding only.
    np.testing.assert_allclose(whole.segments[PROBA], piece.segments[PROBA], atol=2e-5)
    np.testing.assert_allclose(whole.proba, piece.proba, atol=2e-5)
    assert (whole.duration_s, whole.start_s) == (piece.duration_s, 0.0)
    values = whole.as_dict()
    assert values["judged_s"] == whole.duration_s == pytest.approx(seconds, abs=1e-3)
    assert values["sections"][0]["start_s"] == 0.0
    assert values["sections"][-1]["end_s"] == pytest.approx(seconds, abs=1e-3)


def table(genres: list[int], step_s: float = 3.0, sure: float = 0.7) -> pd.DataFrame:
    """Windows of which each is most probably of this genre of five."""
    proba = np.full((len(genres), len(GENRES)), (1 - sure) / (len(GENRES) - 1))
    proba[np.arange(len(genres)), genres] = sure
    starts = step_s * np.arange(len(genres))
    windows = pd.DataFrame({"start_s": starts, "end_s": starts + step_s})
    return windows.assign(**dict(zip(PROBA, proba.T, strict=True)))


def test_sections_change_where_the_genre_does_and_not_at_an_odd_window() -> None:
    course = [0] * 40 + [2] * 30 + [1] * 50
    course[10] = course[55] = 4
    found = sections(table(course))
    assert found["genre"].tolist() == [GENRES[0], GENRES[2], GENRES[1]]
    assert found["start_s"].tolist() == [0.0, 120.0, 210.0]
    assert found["end_s"].tolist() == [120.0, 210.0, 360.0]
    assert found["proba"].iloc[2] == pytest.approx(0.7)
    (single,) = sections(table([3])).to_dict("records")
    assert single == {"start_s": 0.0, "end_s": 3.0, "genre": GENRES[3], "proba": 0.7}
    # Windows that overlap by half: a change lies in the middle between their centres.
    overlapping = table(course[:70], 1.5)
    overlapping["end_s"] += 1.5
    assert sections(overlapping)["start_s"].tolist() == [0.0, 60.75]


def test_sections_of_uncertain_windows_are_close_to_the_true_ones() -> None:
    generator = np.random.default_rng(7)
    lengths, errors, n_found = [40, 25, 60, 33], [], []
    truth = np.repeat([0, 3, 1, 4], lengths)
    edges = 3.0 * np.cumsum([0, *lengths])[1:-1]
    for _ in range(40):
        drawn = [k if generator.random() < 0.6 else generator.integers(5) for k in truth]
        found = sections(table(drawn, sure=0.6))
        n_found.append(len(found))
        if len(found) == 4:
            errors += np.abs(found["start_s"].to_numpy()[1:] - edges).tolist()
    assert np.mean(np.array(n_found) == 4) > 0.9
    assert np.median(errors) <= 3.0  # a window


@pytest.mark.slow
def test_sections_of_a_mix_of_demo_music_are_its_pieces(
    store: Path, tiny: Callable[..., RunConfig], tmp_path: Path
) -> None:
    run = trained(tiny(training__epochs=12, dataset__n_clips=16), store)
    loaded = load_run(run)
    clips = run.clips.set_index("clip_id")
    waves, edges, names = [], [0.0], []
    for genre in (loaded.genres[1], loaded.genres[0], loaded.genres[2]):
        paths = clips.loc[clips["genre"] == genre, "path"].tolist()
        pieces = [soundfile.read(path, dtype="float32")[0] for path in paths]
        rate = soundfile.info(paths[0]).samplerate
        waves += pieces
        edges.append(edges[-1] + sum(map(len, pieces)) / rate)
        names.append(genre)
    path = write(tmp_path / "mix.flac", np.concatenate(waves), rate)
    whole = loaded.classify_whole(path)
    assert whole.sections is not None
    assert whole.sections["genre"].tolist() == names
    # Within a clip of 3 s, whose windows of 1 s need not all be right.
    np.testing.assert_allclose(whole.sections["start_s"], edges[:-1], atol=3.0)


def test_what_has_no_length_or_no_second_is_refused(store: Path, tmp_path: Path) -> None:
    loaded = load_run(untrained_run(store))
    path = write(tmp_path / "short.wav", noise(0.9, 8_000), 8_000)
    with pytest.raises(AudioError, match=r"short\.wav lasts 0\.90 s; at least 1 s are needed"):
        loaded.classify_whole(path)
    with pytest.raises(UsageError, match="only recordings are classified whole"):
        load_run(image_run(store)).classify_whole(path)

    def stop(phase: str, done: int, total: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        loaded.classify_whole(write(tmp_path / "a.wav", noise(2.0, 8_000), 8_000), report=stop)


@pytest.fixture
def two(store: Path) -> list[Run]:
    return [untrained_run(store), untrained_run(store, seed=9, audio__sample_rate_hz=16_000)]


@pytest.mark.slow
def test_the_command_prints_sections_and_writes_the_timeline(
    two: list[Run], tmp_path: Path
) -> None:
    path = write(tmp_path / "long.mp3", noise(70.0, 44_100), 44_100)
    (tmp_path / "bad.wav").write_text("words")
    runs = [word for run in two for word in ("--run", run.run_id)]
    expected = load_ensemble(two).classify_whole(path)
    first = expected.predictions[0]
    result = genrecore("classify", str(tmp_path), "--whole", *runs, "--json")
    data = json.loads(result.stdout)
    assert [failure["name"] for failure in data["failures"]] == ["bad.wav"]
    (clip,) = data["clips"]
    assert clip["genre"] == GENRES[int(expected.average.argmax())]
    assert [row["start_s"] for row in clip["runs"][0]["timeline"]] == first.segments[
        "start_s"
    ].tolist()
    text = command("classify", str(path), "--whole", "--run", two[0].run_id)
    assert first.sections is not None
    for section in first.sections.itertuples():
        assert f"{section.genre} " in text
    printed = command("classify", str(path), "--whole", *runs, "--csv")
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert len(rows) == sum(len(prediction.segments) for prediction in expected.predictions)
    assert list(rows[0]) == ["path", "run", "start_s", "end_s", *PROBA]
    np.testing.assert_allclose(
        [[float(row[name]) for name in PROBA] for row in rows[: len(first.segments)]],
        first.segments[PROBA], atol=2e-5,
    )  # fmt: skip
    for flags in (["--doubts"], ["--precision", "0.9"]):
        refused(genrecore("classify", str(path), "--whole", *flags), 2, "not both")


def test_a_library_of_whole_recordings_keeps_their_sections(two: list[Run], tmp_path: Path) -> None:
    path = write(tmp_path / "long.wav", noise(70.0, 8_000), 8_000)
    ensemble = load_ensemble(two[:1])
    library.classify_library(ensemble, [path], tmp_path / "out.jsonl", whole=True)
    (result,) = library_results.read_results(tmp_path / "out.jsonl")
    assert result["sections"] == ensemble.classify_whole(path).as_dict()["sections"]
    assert result["judged_s"] == 70.0
    assert "timeline" not in result
    with pytest.raises(UsageError, match=r"of whole files, .* of the middle of each"):
        library.classify_library(ensemble, [path], tmp_path / "out.jsonl")


def test_the_service_classifies_whole_recordings_while_it_may(two: list[Run]) -> None:
    content = decode.to_wav_bytes(noise(70.0, 8_000)[:, 0], 8_000)
    ensemble = load_ensemble(two[:1])
    with served(ensemble, ServiceLimits()) as server:
        answer = server.post(content, params={"whole": "true", "name": "long.wav"}).json()
        expected = ensemble.classify_whole(content, "long.wav").as_dict()
        assert answer["sections"] == expected["sections"]
        assert len(answer["timeline"]) == len(expected["timeline"]) == 70
        assert "timeline" not in server.post(content).json()
        for more in ({"start_s": 1}, {"doubts": "true"}, {"precision": 0.9}):
            answer = server.post(content, params={"whole": "true", **more})
            assert answer.status_code == 400
            assert "goes with neither start_s" in answer.json()["error"]


MEASURE = """
import sys
from pathlib import Path
from genrecore.inference.loaded import load
def mib():
    lines = Path("/proc/self/status").read_text().splitlines()
    sizes = [line.split() for line in lines if line.startswith(("VmHWM", "VmRSS"))]
    return {name: int(kib) / 1024 for name, kib, _ in sizes}
loaded = load(sys.argv[1])
loaded.classify_whole(sys.argv[2])
before = mib()["VmRSS:"]
Path("/proc/self/clear_refs").write_text("5")  # the largest from here on
n = len(loaded.classify_whole(sys.argv[3]).segments)
print(mib()["VmHWM:"] - before, n)
"""


@pytest.mark.long
@pytest.mark.parametrize("ending", ["wav", "mp3"])
def test_three_hours_take_no_more_memory_than_minutes(
    ending: str, store: Path, tmp_path: Path
) -> None:
    run = untrained_run(store)
    minute = noise(60.0, 22_050)[:, 0]
    short = write(tmp_path / f"short.{ending}", minute, 22_050)
    long = tmp_path / f"long.{ending}"
    if ending == "mp3":  # joined, as programs for mixes do: encoding hours takes minutes
        long.write_bytes(180 * short.read_bytes())
    else:
        with soundfile.SoundFile(long, "w", 22_050, 1) as file:
            for _ in range(180):
                file.write(minute)
    arguments = [sys.executable, "-c", MEASURE, str(run.folder), str(short), str(long)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=900)
    mib, n_windows = map(float, done.stdout.split())
    assert 10_799 <= n_windows < 10_830  # an encoder fills up the last frame of each part
    assert mib < 300.0
