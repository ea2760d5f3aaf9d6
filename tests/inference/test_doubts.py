"""Doubts: noise, speech and silence are told from music, the unlike from the like, and copies."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from commands import command, genrecore
from conftest import TINY, trained
from sounds import RATE_HZ, noises, sentences
from test_service import served

from genrecore.audio import decode
from genrecore.audio.content import kind_of
from genrecore.config.run import RunConfig, with_values
from genrecore.errors import AudioError
from genrecore.evaluation.embeddings import Embedding
from genrecore.inference import doubts, known_recordings, novelty
from genrecore.inference.doubts import DoubtFinder, prepare
from genrecore.inference.ensemble import Ensemble
from genrecore.inference.ensemble import load as load_ensemble
from genrecore.inference.loaded import LoadedRun
from genrecore.inference.loaded import load as load_run
from genrecore.inference.service import ServiceLimits
from genrecore.store.files import cache_dir, read_json, write_json
from genrecore.store.run import Run
from genrecore.training import embedding
from genrecore.training.resolve import resolve

pytestmark = pytest.mark.xdist_group("doubt")  # one worker trains the run that the tests ask


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on three genres of demo music."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRECORE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        config = with_values(RunConfig(), TINY | {"dataset.n_clips": 15, "training.epochs": 2})
        return trained(resolve(config).config, tmp_path_factory.mktemp("doubt") / "runs")


def _wav(wave: np.ndarray) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, wave, RATE_HZ, format="WAV")
    return stream.getvalue()


def _flagged(loaded: LoadedRun, detector: novelty.NoveltyDetector, wave: np.ndarray) -> bool:
    """Whether a recording is refused or doubted, as a visitor meets it."""
    try:
        prediction = loaded.classify(_wav(wave))
    except AudioError as error:
        return "is silent" in str(error)
    found_doubts = doubts.sound_doubts(prediction.wave, prediction.sample_rate_hz)
    found_doubts += doubts.novelty_doubts(loaded.embed(prediction.wave), detector)
    return any(doubt.kind != doubts.HELD_OUT for doubt in found_doubts)


def _held_out(run: Run) -> list[np.ndarray]:
    assert run.clips is not None
    paths = run.clips.loc[run.clips["split"] == "test", "path"]
    return [decode.decode(path, RATE_HZ, middle_s=30.0).wave for path in paths]


def _shares(run: Run, n: int) -> dict[str, float]:
    """The share that is flagged of n noises, n sentences, silences and the run's test clips."""
    loaded = load_run(run)
    detector = novelty.fit(embedding.embed(run))
    quiet = [10 ** (db / 20) * noises(1)[0] for db in (-55, -65, -75, -100)]
    waves = {
        "noise": noises(n),
        "speech": sentences(n),
        "silence": [np.zeros(2 * RATE_HZ, np.float32), *quiet],
        "music": _held_out(run),
    }
    return {
        name: float(np.mean([_flagged(loaded, detector, wave) for wave in recordings]))
        for name, recordings in waves.items()
    }


@pytest.mark.slow
def test_noise_speech_and_silence_are_doubted_and_held_out_clips_are_not(heard: Run) -> None:
    shares = _shares(heard, 10)
    assert min(shares[name] for name in ("noise", "speech", "silence")) >= 0.95
    assert shares["music"] <= 0.1


@pytest.mark.long
def test_fifty_noises_and_sentences_on_real_music(real_data: Path, tmp_path: Path) -> None:
    values = {
        "dataset": "gtzan",
        "dataset.folder": str(real_data / "gtzan"),
        "split": "stratified",
        "model": "cnn",
        "training.epochs": 8,
        "allow_leaks": True,
    }
    run = trained(resolve(with_values(RunConfig(), values)).config, tmp_path / "runs")
    assert run.state == "done", run.reason
    shares = _shares(run, 50)
    assert min(shares[name] for name in ("noise", "speech", "silence")) >= 0.95
    assert shares["music"] <= 0.1


@pytest.mark.long
@pytest.mark.parametrize("sample_rate_hz", [16_000, 22_050, 44_100])
def test_no_real_clip_is_taken_for_noise_or_speech(real_data: Path, sample_rate_hz: int) -> None:
    clips = sorted((real_data / "gtzan" / "genres_original").glob("*/*.wav"))
    names = [
        kind_of(decode.decode(path, sample_rate_hz).wave, sample_rate_hz).name for path in clips
    ]
    assert names.count("") >= 0.98 * len(names)  # a rapper alone, or an applause, may be one


@pytest.mark.parametrize(
    ("clip", "start_s"),
    [("blues.00003", 18), ("hiphop.00003", 15), ("hiphop.00006", 9), ("pop.00005", 6),
     ("reggae.00002", 6), ("reggae.00004", 0)],
)  # fmt: skip
def test_two_seconds_of_rap_or_song_are_not_speech(
    real_data: Path, clip: str, start_s: int
) -> None:
    path = real_data / "gtzan" / "genres_original" / clip.split(".")[0] / f"{clip}.wav"
    wave = decode.decode(path, RATE_HZ).wave[start_s * RATE_HZ :]
    for seconds in (2, 3, 5):
        assert kind_of(wave[: seconds * RATE_HZ], RATE_HZ).name == "", seconds


def test_what_beats_like_syllables_is_not_speech() -> None:
    t = np.arange(5 * RATE_HZ) / RATE_HZ
    beeps = np.sin(2 * np.pi * 300 * t) * (np.sin(2 * np.pi * 4 * t) > 0)
    generator = np.random.default_rng(2)
    drums = generator.standard_normal(len(t)) * np.exp(-30 * (t % 0.25))
    rich = sum(np.sin(2 * np.pi * 200 * k * t) / k for k in range(1, 30))
    chopped = rich * (t % 0.25 < 0.07)  # a pitch that stands still
    kinds = [
        kind_of((0.5 * wave / np.abs(wave).max()).astype(np.float32), RATE_HZ)
        for wave in (beeps, drums, chopped)
    ]
    assert [kind.name for kind in kinds] == ["", "", ""]
    assert kinds[2].syllables > 1.15, "as lively as speech"


def test_a_second_of_music_in_a_minute_of_silence_is_mostly_silent() -> None:
    wave = np.zeros(60 * RATE_HZ, np.float32)
    t = np.arange(RATE_HZ) / RATE_HZ
    wave[:RATE_HZ] = 0.9 * np.sin(2 * np.pi * 440 * t)
    (doubt,) = doubts.sound_doubts(wave, RATE_HZ)
    assert doubt.kind == doubts.SILENT
    assert "98 % of this recording" in doubt.sentence


@pytest.mark.parametrize(("n_clips", "n"), [(60, 7), (12, 31)], ids=["many clips", "few clips"])
def test_distances_are_those_of_the_shrunk_covariance(n_clips: int, n: int) -> None:
    generator = np.random.default_rng(5)
    genre = np.array(["a", "b", "c"] * (n_clips // 3))
    values = generator.normal(size=(n_clips, n)) + 3.0 * (genre == "b")[:, None]
    split = np.where(np.arange(n_clips) % 6 < 3, "train", "valid")
    table = pd.DataFrame({"clip_id": range(n_clips), "genre": genre, "split": split})
    detector = novelty.fit(Embedding(table, values.astype(np.float32)))
    train = split == "train"
    means = [values[train & (genre == name)].mean(axis=0) for name in "abc"]
    away = np.concatenate(
        [values[train & (genre == name)] - mean for name, mean in zip("abc", means, strict=True)]
    )
    covariance = away.T @ away / len(away)
    shrunk = 0.5 * covariance + 0.5 * np.trace(covariance) / n * np.eye(n)
    vectors = generator.normal(size=(5, n))
    expected = [
        min(np.sqrt((x - m) @ np.linalg.inv(shrunk) @ (x - m) / n) for m in means) for x in vectors
    ]
    # float32 values against float64 ones
    np.testing.assert_allclose(detector.distances(vectors), expected, rtol=1e-4)
    valid_distances = detector.distances(values[split == "valid"].astype(np.float32))
    assert (
        detector.n_clips == (split == "valid").sum()
        if len(valid_distances) >= 8
        else np.isnan(detector.limit)
    )


def test_what_lies_far_away_is_unlike_and_few_clips_give_no_doubt() -> None:
    generator = np.random.default_rng(7)
    values = generator.normal(size=(90, 11)).astype(np.float32)
    split = np.array(["train", "train", "valid"] * 30)
    table = pd.DataFrame({"clip_id": range(90), "genre": ["a", "b"] * 45, "split": split})
    detector = novelty.fit(Embedding(table, values))
    assert not any(detector.is_unlike(value) for value in values[split == "valid"])
    far = np.full(11, 9.0, np.float32)
    assert detector.is_unlike(far)
    (doubt,) = doubts.novelty_doubts(far, detector)
    assert doubt.kind == doubts.UNLIKE
    few = table.assign(split=np.where(np.arange(90) < 5, "valid", "train"))
    assert doubts.novelty_doubts(far, novelty.fit(Embedding(few, values))) == []


def test_the_recording_of_a_clip_is_known_whatever_was_done_to_it(heard: Run) -> None:
    known = known_recordings.known_clips(heard)
    assert known is not None
    assert heard.clips is not None
    rows = heard.clips.groupby("split").first()
    for split, row in rows.iterrows():
        wave = decode.decode(row["path"], RATE_HZ).wave
        stream = io.BytesIO()
        soundfile.write(stream, 0.5 * wave[1000:], RATE_HZ, format="MP3")
        again = decode.decode(stream.getvalue(), RATE_HZ).wave
        copies = known_recordings.copies_of(again, RATE_HZ, known)
        assert copies["clip_id"].iloc[0] == row["clip_id"]
        learned = known_recordings.learned_from(heard, copies)
        (doubt,) = doubts.copy_doubts(copies, learned)
        assert doubt.kind == (doubts.LEARNED if split == "train" else doubts.HELD_OUT)
        assert row["clip_id"] in doubt.sentence
    noise = noises(1)[0]
    assert known_recordings.copies_of(noise, RATE_HZ, known).empty
    # Below 0.4 s there is no fingerprint.
    assert known_recordings.copies_of(noise[: RATE_HZ // 10], RATE_HZ, known).empty
    assert (
        doubts.copy_doubts(known_recordings.copies_of(noise, RATE_HZ, known), known.clips[:0]) == []
    )


def _doubts(
    finder: DoubtFinder, ensemble: Ensemble, source: bytes | str
) -> dict[str, tuple[str, ...]]:
    return {doubt.kind: doubt.runs for doubt in finder.doubts_about(ensemble.classify(source))}


@pytest.mark.slow
def test_a_finished_run_knows_its_clips_until_the_cache_is_cleared(
    heard: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensemble = load_ensemble([heard])
    finder = DoubtFinder(ensemble.loaded)
    assert finder.lacking == ()
    assert heard.clips is not None
    paths = heard.clips.groupby("split")["path"].first()
    run_ids = (heard.run_id,)
    assert _doubts(finder, ensemble, paths["train"]) == {doubts.LEARNED: run_ids}
    assert _doubts(finder, ensemble, paths["test"]) == {doubts.HELD_OUT: run_ids}
    hiss = _doubts(finder, ensemble, _wav(noises(1)[0]))
    assert hiss[doubts.NOISE] == ()

    full_cache = cache_dir()
    monkeypatch.setenv("GENRECORE_CACHE", str(tmp_path / "cache"))
    shutil.copytree(full_cache / "datasets", tmp_path / "cache" / "datasets")
    without_cache = DoubtFinder(ensemble.loaded)
    assert without_cache.lacking == (heard,)
    assert _doubts(without_cache, ensemble, paths["train"]) == {}
    prepare(heard)
    again = DoubtFinder(ensemble.loaded)
    assert again.lacking == ()
    assert _doubts(again, ensemble, paths["train"]) == {doubts.LEARNED: run_ids}
    # Fingerprints alone may be cleared, too.
    shutil.rmtree(tmp_path / "cache" / "fingerprints")
    assert DoubtFinder(ensemble.loaded).lacking == (heard,)
    prepare(heard)
    assert DoubtFinder(ensemble.loaded).lacking == ()


def test_finding_doubts_never_calls_the_network_that_other_threads_use(heard: Run) -> None:
    ensemble = load_ensemble([heard])
    finder = DoubtFinder(ensemble.loaded)
    answer = ensemble.classify(_wav(noises(1)[0]))
    calls: list[object] = []
    ensemble.loaded[0].classifier.network.register_forward_hook(
        lambda *arguments: calls.append(arguments)
    )
    assert finder.doubts_about(answer)
    assert not calls
    ensemble.classify(_wav(noises(1)[0]))
    assert calls
    vector = finder.vector(0, answer.predictions[0].wave)
    assert np.array_equal(vector, ensemble.loaded[0].embed(answer.predictions[0].wave))


@pytest.mark.slow
def test_command_and_service_report_the_same_doubts(
    heard: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENRECORE_RUNS", str(heard.folder.parent))
    assert heard.clips is not None
    learned = heard.clips.loc[heard.clips["split"] == "train", "path"].iloc[0]
    (tmp_path / "hiss.wav").write_bytes(_wav(noises(1)[0]))
    files = [str(tmp_path / "hiss.wav"), learned]
    ensemble = load_ensemble([heard])
    finder = DoubtFinder(ensemble.loaded)
    expected = [
        [
            json.loads(json.dumps(asdict(doubt)))
            for doubt in finder.doubts_about(ensemble.classify(path))
        ]
        for path in files
    ]
    assert all(expected)

    arguments = ("classify", *files, "--run", heard.run_id, "--doubts")
    data = json.loads(command(*arguments, "--json"))
    assert [clip["doubts"] for clip in data["clips"]] == expected
    table = list(csv.DictReader(io.StringIO(command(*arguments, "--csv"))))
    kinds = [", ".join(doubt["kind"] for doubt in file_doubts) for file_doubts in expected]
    assert [row["doubts"] for row in table] == kinds
    text = command(*arguments)
    for file_doubts in expected:
        for doubt in file_doubts:
            assert f"    {doubt['sentence']}" in text
    assert "doubts" not in json.loads(command(*arguments[:-1], "--json"))["clips"][0]

    with served(ensemble, ServiceLimits()) as server:
        for path, file_doubts in zip(files, expected, strict=True):
            content = Path(path).read_bytes()
            answer = server.post(content, params={"doubts": "true"}).json()
            assert answer["doubts"] == file_doubts
            assert "doubts" not in server.post(content).json()
        refused = server.post(params={"doubts": "perhaps"})
        assert refused.status_code == 400
        assert "expected true or false" in refused.json()["error"]


def test_the_command_reports_clips_that_cannot_be_compared_any_more(
    heard: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path / "runs" / heard.run_id
    shutil.copytree(heard.folder, moved)
    config = read_json(moved / "config.json")
    config["dataset"] = {"name": "folder", "options": {"folder": str(tmp_path / "nowhere")}}
    write_json(moved / "config.json", config)
    monkeypatch.setenv("GENRECORE_RUNS", str(moved.parent))
    monkeypatch.setenv("GENRECORE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "hiss.wav").write_bytes(_wav(noises(1)[0]))
    result = genrecore("classify", str(tmp_path / "hiss.wav"), "--run", heard.run_id, "--doubts")
    assert result.returncode == 0, result.stderr
    assert "cannot be compared" in result.stderr
    assert "This is like noise" in result.stdout
