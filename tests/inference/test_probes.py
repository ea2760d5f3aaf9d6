"""Probes: what each does to a wave, and that a trick loses by them while music does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from commands import command, genrecore, refused
from conftest import trained
from fake_runs import draw_right, fake_run

from genrecore.config.run import RunConfig, with_values
from genrecore.errors import GenrecoreError, UsageError
from genrecore.evaluation import mistakes
from genrecore.inference import probes
from genrecore.inference.probes import PROBES, change
from genrecore.store import runs
from genrecore.store.progress import Stopped
from genrecore.store.run import Run
from genrecore.training.resolve import resolve

Tiny = Callable[..., RunConfig]
RATE_HZ = 22_050
N = 3 * RATE_HZ + 7


def tones(*frequencies_hz: float, n: int = N, rate_hz: int = RATE_HZ) -> np.ndarray:
    t = np.arange(n) / rate_hz
    waves = [0.1 * np.sin(2 * np.pi * f * t) for f in frequencies_hz]
    return np.sum(waves, axis=0).astype(np.float32)


def level_db(wave: np.ndarray, frequency_hz: float, rate_hz: int = RATE_HZ) -> float:
    """Of a tone, over the middle of the wave, where no filter settles."""
    middle = wave[len(wave) // 4 : -len(wave) // 4]
    t = np.arange(len(middle)) / rate_hz
    window = np.hanning(len(middle))
    amplitude = np.abs(np.sum(middle * window * np.exp(-2j * np.pi * frequency_hz * t)))
    return float(20 * np.log10(2 * amplitude / window.sum() + 1e-12))


def strongest_hz(wave: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return float(spectrum.argmax() * RATE_HZ / len(wave))


@pytest.mark.parametrize("name", list(PROBES))
@pytest.mark.parametrize("n", [N, 1501])
def test_a_probe_keeps_length_and_kind_and_stays_finite(name: str, n: int) -> None:
    for wave in (np.zeros(n, np.float32), tones(440.0, n=n)):
        before = wave.copy()
        changed = change(name, wave, RATE_HZ, 3)
        assert changed.shape == wave.shape
        assert changed.dtype == np.float32
        assert np.isfinite(changed).all()
        assert np.array_equal(wave, before)
        assert np.array_equal(changed, change(name, wave, RATE_HZ, 3))
    assert PROBES[name].facts.reveals


def test_gains_and_filters_do_what_they_say() -> None:
    wave = tones(50.0, 100.0, 1000.0, 5000.0, 8000.0)
    before = {f: level_db(wave, f) for f in (50.0, 100.0, 1000.0, 5000.0, 8000.0)}

    def changed(name: str, frequency_hz: float) -> float:
        return level_db(change(name, wave, RATE_HZ, 0), frequency_hz) - before[frequency_hz]

    assert changed("quieter", 1000.0) == pytest.approx(-10.0, abs=0.01)
    assert changed("louder", 5000.0) == pytest.approx(6.0, abs=0.01)
    assert changed("bass", 100.0) == pytest.approx(9.0, abs=0.1)
    assert changed("bass", 5000.0) == pytest.approx(0.0, abs=0.1)
    assert changed("treble", 5000.0) == pytest.approx(-9.0, abs=0.1)
    assert changed("treble", 100.0) == pytest.approx(0.0, abs=0.1)
    assert changed("low_pass", 8000.0) < -40  # 48 dB an octave
    assert changed("low_pass", 1000.0) == pytest.approx(0.0, abs=0.1)
    assert changed("high_pass", 50.0) < -80
    assert changed("high_pass", 1000.0) == pytest.approx(0.0, abs=0.1)


def test_pitch_and_tempo_change_by_what_they_say() -> None:
    wave = tones(440.0)
    # Bins lie 0.33 Hz apart.
    assert strongest_hz(change("higher", wave, RATE_HZ, 0)) == pytest.approx(
        440 * 2 ** (1 / 12), abs=1.0
    )
    assert strongest_hz(change("lower", wave, RATE_HZ, 0)) == pytest.approx(
        440 / 2 ** (1 / 12), abs=1.0
    )
    beats = np.zeros(N, np.float32)
    beats[RATE_HZ // 2 :: RATE_HZ // 2][:4] = 0.9  # a click every half second, four of them
    for name, factor in (("slower", 0.94), ("faster", 1.06)):
        assert strongest_hz(change(name, wave, RATE_HZ, 0)) == pytest.approx(440, abs=1.0)
        changed = np.abs(change(name, beats, RATE_HZ, 0))[: round(N / max(1.0, factor))]
        loud = np.flatnonzero(changed > changed.max() / 3)
        starts = loud[np.flatnonzero(np.diff(loud, prepend=-(10**6)) > RATE_HZ // 4)]
        # The phase vocoder moves blows by less than one of its windows of 2 048 samples.
        assert np.diff(starts) == pytest.approx(RATE_HZ / 2 / factor, abs=700)
    shorter = change("faster", wave, RATE_HZ, 0)
    assert np.abs(shorter[-RATE_HZ // 10 :]).max() > 0.05  # it begins again, no silence


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 44_100])
def test_mp3_has_64_kbit_and_neither_shifts_nor_silences(
    rate_hz: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 4
    random = np.random.default_rng(1)
    n = seconds * rate_hz
    wave = tones(330.0, 1200.0, n=n, rate_hz=rate_hz)
    wave += (0.05 * random.standard_normal(n)).astype(np.float32)
    sizes: list[int] = []
    write = soundfile.write

    def measured(file: object, *arguments: object, **options: object) -> None:
        write(file, *arguments, **options)
        sizes.append(file.tell())  # type: ignore[attr-defined]

    monkeypatch.setattr(soundfile, "write", measured)
    for gain in (1.0, 8.0):  # beyond full scale too
        loud = (gain * wave).astype(np.float32)
        decoded = probes.mp3(loud, rate_hz, 0)
        assert len(decoded) == n
        inside = slice(n // 4, -n // 4)
        error = decoded[inside] - loud[inside]
        # Tones far above the coding noise: what is left of the noise is less than 10 dB below.
        assert np.sum(error**2) < 0.2 * np.sum(loud[inside] ** 2)
        assert np.abs(error).max() > 1e-4 * gain
    kbit = 8 * sizes[0] / seconds / 1000
    assert kbit == pytest.approx(64, rel=0.05)  # headers, and whole frames


def test_noise_lies_20_db_below_the_clip() -> None:
    wave = tones(440.0)
    noise = change("noise", wave, RATE_HZ, 5) - wave
    ratio = 10 * np.log10(np.mean(wave**2) / np.mean(noise**2))
    assert ratio == pytest.approx(20.0, abs=0.2)  # 66 157 draws: 0.05 dB
    assert not np.array_equal(noise, change("noise", wave, RATE_HZ, 6) - wave)


def folder_of(top: Path, of_level: bool) -> Path:
    """Two genres of tones with octaves: told apart by their level, or by their pitch alone."""
    random = np.random.default_rng(11)
    rate_hz, seconds = 16_000, 2.0
    t = np.arange(int(rate_hz * seconds)) / rate_hz
    for k, genre in enumerate(("a", "b")):
        (top / genre).mkdir(parents=True)
        for n in range(40):
            pitch = 6 * (random.integers(0, 2) if of_level else k)
            decibels = -24 + 10 * (k if of_level else random.random())
            first = 261.63 * 2 ** (pitch / 12)
            weights = random.uniform(0.4, 1.0, 3)
            wave = sum(
                w * np.sin(2 * np.pi * first * 2**octave * t + random.uniform(0, 6))
                for octave, w in enumerate(weights)
            )
            wave = wave * (1 + 0.3 * np.sin(2 * np.pi * random.uniform(1, 5) * t))
            wave = wave / np.sqrt(np.mean(wave**2)) * 10 ** (decibels / 20)
            wave = wave + 1e-4 * random.standard_normal(len(t))
            soundfile.write(top / genre / f"{n:03d}.wav", wave, rate_hz, "PCM_16")
    return top


def on_folder(folder: Path, **values: object) -> RunConfig:
    defaults = {
        "dataset": "folder", "dataset.folder": str(folder), "split": "stratified",
        "allow_leaks": True, "audio.sample_rate_hz": 16_000, "audio.clip_s": 2.0,
        "segments.segment_s": 1.0, "model.width": 4, "training.epochs": 5,
        "training.batch_size": 9, "training.precision": "float32", "device": "cpu",
    }  # fmt: skip
    dotted = {key.replace("__", "."): value for key, value in values.items()}
    return resolve(with_values(RunConfig(), defaults | dotted)).config


@pytest.mark.slow
def test_a_run_that_hears_the_level_loses_accuracy_and_one_that_does_not_holds(
    store: Path, tmp_path: Path
) -> None:
    trick = trained(
        on_folder(folder_of(tmp_path / "level", True), feature__n_mels=33, feature__n_fft=1024),
        store,
    )
    music = trained(on_folder(folder_of(tmp_path / "pitch", False), feature="chroma"), store)
    for run in (trick, music):
        assert run.state == "done", run.reason
    of_trick = probes.probe(trick, ["quieter", "louder"])
    of_music = probes.probe(music, ["quieter", "louder"])
    # Both are good at it; only one of them at what was meant.
    assert min(of_trick.accuracy, of_music.accuracy) >= 0.9
    on_trick = of_trick.table.set_index("probe")
    assert on_trick.loc["quieter", "accuracy"] <= 0.6  # every b is as loud as an a
    assert on_trick.loc["quieter", "high"] < 0
    assert on_trick.loc["quieter", "word"] == probes.LOSES
    assert "the level of the recording" in of_trick.summary
    on_music = of_music.table.set_index("probe")
    assert (on_music["difference"] == 0).all()
    assert (on_music["n_broken"] + on_music["n_mended"] == 0).all()
    assert "lowers the accuracy" in of_music.summary
    broken = probes.broken(trick, "quieter")
    assert len(broken) == on_trick.loc["quieter", "n_broken"] > 0
    assert probes.broken(trick, "mp3") == []


@pytest.mark.slow
def test_a_probe_is_stored_read_printed_and_repeated(store: Path, tiny: Tiny) -> None:
    run = trained(tiny(training__epochs=1), store)
    assert probes.read(run) is None
    refused(genrecore("probe", run.run_id, "--stored"), 1, "has not been probed yet")
    refused(genrecore("probe", run.run_id, "--only", "reverb"), 2, "quieter", "mp3")
    data = json.loads(command("probe", run.run_id, "--only", "quieter, mp3", "--json"))
    assert [row["probe"] for row in data["probes"]] == ["quieter", "mp3"]
    clips = mistakes.clip_predictions(run)
    assert data["n_clips"] == len(clips)
    assert data["accuracy"] == clips["right"].mean()  # unchanged, they are judged as in the test
    assert data["note"] == ""
    rows = pd.read_parquet(run.folder / probes.FILE)
    proba = rows[rows["probe"] == probes.UNCHANGED].set_index("clip_id").filter(like="p_")
    stored = clips.set_index("clip_id").filter(like="p_").loc[proba.index]
    assert np.allclose(proba, stored, atol=1e-5)  # other batches: float32 sums in another order

    command("probe", run.run_id, "--only", "noise")
    text = command("probe", run.run_id, "--stored")
    assert all(name in text for name in ("quieter", "mp3", "noise"))
    again = pd.read_parquet(run.folder / probes.FILE)
    assert len(again) == 4 * len(clips)
    pd.testing.assert_frame_equal(again[again["probe"] == "mp3"].reset_index(drop=True),
                                  rows[rows["probe"] == "mp3"].reset_index(drop=True))  # fmt: skip


def test_a_stop_keeps_the_probes_that_are_done(store: Path, tiny: Tiny) -> None:
    run = trained(tiny(training__epochs=1), store)

    def stops(phase: str, done: int, total: int) -> None:
        if "noise" in phase.lower():
            raise Stopped

    with pytest.raises(Stopped):
        probes.probe(run, ["quieter", "noise", "mp3"], stops)
    results = probes.read(run)
    assert results is not None
    assert results.table["probe"].tolist() == ["quieter"]


def by_hand(run: Run, before: np.ndarray, **after: np.ndarray) -> None:
    """Writes what a run said before and after, as `probe` does."""
    table = run.predictions
    assert table is not None
    parts = []
    for name, right in {probes.UNCHANGED: before, **after}.items():
        part = table[["clip_id", "genre"]].assign(probe=name)
        own = (table["genre"] == "rock").to_numpy()
        proba = np.where(right[:, None], np.stack([~own, own], 1), np.stack([own, ~own], 1))
        part[["p_jazz", "p_rock"]] = proba.astype(float)
        parts.append(part)
    pd.concat(parts).to_parquet(run.folder / probes.FILE)


def test_differences_and_verdicts_by_hand(store: Path) -> None:
    n = 400
    run = fake_run(store, draw_right(0.7, n, 1), np.arange(n) // 2)
    path = run.folder / "predictions.parquet"
    table = pd.read_parquet(path)
    table["genre"] = np.where(np.arange(n) % 2, "rock", "jazz")
    table.to_parquet(path)
    run = Run(run.folder)
    before = np.arange(n) % 10 < 8  # 80 %
    worse = before & (np.arange(n) % 10 > 1)  # 60 %
    shaken = before.copy()
    shaken[:10] = ~shaken[:10]  # eight broken, two mended
    shaken[[18, 19, 28, 29, 38]] = True
    by_hand(run, before, quieter=worse, louder=before.copy(), mp3=shaken)
    results = probes.read(run)
    assert results is not None
    assert results.accuracy == pytest.approx(0.8)
    rows = results.table.set_index("probe")
    assert rows.loc["quieter", "difference"] == pytest.approx(-0.2)
    assert rows.loc["quieter", ["n_broken", "n_mended"]].tolist() == [80, 0]
    assert -0.3 < rows.loc["quieter", "low"] < -0.2 < rows.loc["quieter", "high"] < -0.1
    assert rows.loc["quieter", "word"] == probes.LOSES
    assert rows.loc["louder", "word"] == probes.HOLDS
    assert rows.loc["louder", "low"] <= 0 <= rows.loc["louder", "high"]
    gap = rows.loc["mp3"]
    assert gap["difference"] == pytest.approx(shaken.mean() - before.mean())
    assert gap["low"] < gap["difference"] < 0 < gap["high"]
    assert gap[["n_broken", "n_mended"]].tolist() == [8, 7]
    assert gap["word"] == probes.OPEN
    assert "these clips resolve about" in gap["sentence"]
    assert "60.0 %, 20.0 points below" in rows.loc["quieter", "sentence"]
    assert results.summary.startswith(
        "1 of 3 probes lowers the accuracy, most of all “10 dB quieter”"
    )
    assert "1 remains undecided." in results.summary
    assert len(probes.broken(run, "quieter")) == 80


def test_intervals_resample_whole_artists(store: Path) -> None:
    """Ten clips an artist that fall together say less than a hundred that fall alone."""
    n = 200
    artist = np.arange(n) // 10
    alone = fake_run(store, draw_right(0.7, n, 1))
    together = fake_run(store, draw_right(0.7, n, 1), artist)
    before = np.ones(n, bool)
    widths = []
    for run in (alone, together):
        path = run.folder / "predictions.parquet"
        table = pd.read_parquet(path)
        table.assign(genre=np.where(np.arange(n) % 2, "rock", "jazz")).to_parquet(path)
        by_hand(Run(run.folder), before, quieter=artist % 5 != 0)
        results = probes.read(Run(run.folder))
        assert results is not None
        row = results.table.iloc[0]
        widths.append(row["high"] - row["low"])
    assert widths[1] > 2 * widths[0]


def test_what_cannot_be_probed_says_why(store: Path, tiny: Tiny, tmp_path: Path) -> None:
    waiting = runs.create_run(RunConfig(), store)
    assert "has been tested" in probes.why_not(waiting)
    with pytest.raises(GenrecoreError, match="has been tested"):
        probes.probe(waiting)
    run = trained(tiny(training__epochs=1), store)
    assert probes.why_not(run) == ""
    with pytest.raises(UsageError, match="no probe called"):
        probes.probe(run, ["reverb"])
    clips = run.clips
    assert clips is not None
    clips.assign(medium="image").to_parquet(run.folder / "clips.parquet")
    assert "own images: there is no sound" in probes.why_not(Run(run.folder))
    clips.assign(medium="table").to_parquet(run.folder / "clips.parquet")
    refused(genrecore("probe", run.run_id), 1, "own tables: there is no sound")
