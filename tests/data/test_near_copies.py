"""Fingerprints: copies are found whatever was done to them, and nothing else is."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from genrecore.audio.fingerprint import HOP_S, fingerprint, is_usable
from genrecore.data.audit.near_copies import COLUMNS, near_copies
from genrecore.data.datasets import synthesis

RATE_HZ = 22_050
SECONDS = 11.0

Waves = dict[str, np.ndarray]

pytestmark = pytest.mark.xdist_group("near copies")  # one worker makes and reads the music


@pytest.fixture(scope="module")
def music() -> Waves:
    """Ten pieces of four artists; two of the artists play the same genre."""
    waves = {}
    for genre, number in ((0, 0), (0, 1), (3, 0), (5, 2)):
        artist = synthesis.make_artist(genre, number, seed=7)
        for clip in range(2 + (number == 0)):
            wave = synthesis.make_clip(artist, genre, clip, 7, SECONDS)
            waves[f"{genre}.{number}.{clip}"] = (wave / 32_768).astype(np.float32)
    return waves


@pytest.fixture(scope="module")
def real_music(real_data: Path) -> Waves:
    """9 s of two clips of each of five of GTZAN's genres."""
    folders = sorted((real_data / "gtzan" / "genres_original").iterdir())[1::2]
    paths = [path for folder in folders for path in sorted(folder.glob("*.wav"))[:2]]
    return {path.stem: soundfile.read(path, 9 * RATE_HZ, dtype="float32")[0] for path in paths}


def cut(wave: np.ndarray, start_s: float, end_s: float | None = None) -> np.ndarray:
    return wave[round(start_s * RATE_HZ) : None if end_s is None else round(end_s * RATE_HZ)]


def as_mp3(wave: np.ndarray) -> np.ndarray:
    """Through mp3 at 64 kbit/s and back."""
    file = io.BytesIO()
    soundfile.write(
        # At 22 050 Hz the level 0.6 of 0 to 1 stands for 64 of 160 kbit/s.
        file, wave, RATE_HZ, format="MP3", bitrate_mode="CONSTANT", compression_level=0.6
    )  # fmt: skip
    n_bits = 8 * len(file.getvalue())
    assert 62_000 < n_bits / (len(wave) / RATE_HZ) < 68_000  # bit/s; the tag adds some
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0]


def as_16_khz(wave: np.ndarray) -> np.ndarray:
    return soxr.resample(soxr.resample(wave, RATE_HZ, 16_000), 16_000, RATE_HZ)


def louder(wave: np.ndarray) -> np.ndarray:
    return wave * 10 ** (6 / 20)  # in floating point: nothing is cut off


def quieter(wave: np.ndarray) -> np.ndarray:
    return np.rint(wave * 10 ** (-6 / 20) * 32_768) / 32_768


CHANGES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "mp3 at 64 kbit/s": (as_mp3, 0.0),
    "+6 dB": (louder, 0.0),
    "+6 dB cut off at full scale": (lambda wave: np.clip(louder(wave), -1, 1), 0.0),
    "-6 dB": (quieter, 0.0),
    "2 s cut": (lambda wave: cut(wave, 2.003), 2.003),
    "resampled": (as_16_khz, 0.0),
    "noise 30 dB below": (
        lambda wave: wave + 0.03 * wave.std() * np.random.default_rng(7).standard_normal(len(wave)),
        0.0,
    ),
    "all of these": (lambda wave: as_mp3(quieter(as_16_khz(cut(wave, 3.333)))), 3.333),
}


def check_found(waves: Waves, change: str) -> None:
    """Every changed clip is paired with its original at the right offset, and with nothing else."""
    changed, offset_s = CHANGES[change]
    prints = {name: fingerprint(wave, RATE_HZ) for name, wave in waves.items()}
    prints |= {f"{name} again": fingerprint(changed(wave), RATE_HZ) for name, wave in waves.items()}
    pairs = near_copies(prints)
    assert set(zip(pairs["clip_a"], pairs["clip_b"], strict=True)) == {
        (name, f"{name} again") for name in waves
    }
    # Encoders shift by a few frames of 11.6 ms.
    np.testing.assert_allclose(pairs["offset_s"], offset_s, atol=0.06)
    assert pairs["similarity"].between(0.5, 1).all()
    least_s = min(len(wave) for wave in waves.values()) / RATE_HZ - offset_s
    assert (pairs["overlap_s"] > 0.7 * least_s).all()


# The first, the last, which is several at once, and one that moves the clip.
DAILY = ("mp3 at 64 kbit/s", "2 s cut", "all of these")


@pytest.mark.parametrize(
    "change", [c if c in DAILY else pytest.param(c, marks=pytest.mark.long) for c in CHANGES]
)
def test_a_changed_copy_is_found_and_nothing_else(music: Waves, change: str) -> None:
    check_found(music, change)


@pytest.mark.parametrize(
    "change",
    [
        "+6 dB cut off at full scale",
        *(pytest.param(c, marks=pytest.mark.long) for c in ("mp3 at 64 kbit/s", "2 s cut")),
    ],
)
def test_a_changed_copy_of_real_music_is_found_and_nothing_else(
    real_music: Waves, change: str
) -> None:
    check_found(real_music, change)


@pytest.mark.slow
def test_one_recording_has_the_copies_that_it_has_among_all_pairs(music: Waves) -> None:
    prints = {name: fingerprint(wave, RATE_HZ) for name, wave in music.items()}
    prints |= {f"{name} again": fingerprint(as_mp3(wave), RATE_HZ) for name, wave in music.items()}
    name = "0.0.0"
    pairs = near_copies(prints)
    expected = pairs[pairs["clip_a"] == name].reset_index(drop=True)
    assert expected["clip_b"].tolist() == [f"{name} again"]
    others = {key: print_ for key, print_ in prints.items() if key != name}
    first_pairs = near_copies({name: prints[name], **others}, only_first=True)
    assert first_pairs.equals(expected)


@pytest.mark.parametrize("seconds", [2.0, 2.5, 3.0])
def test_short_cuts_are_found_in_the_clips_they_are_from(real_music: Waves, seconds: float) -> None:
    generator = np.random.default_rng(7)
    prints = {name: fingerprint(wave, RATE_HZ) for name, wave in real_music.items()}
    for name, wave in real_music.items():
        start_s = generator.uniform(0, len(wave) / RATE_HZ - seconds)
        part = fingerprint(as_mp3(cut(wave, start_s, start_s + seconds)), RATE_HZ)
        pairs = near_copies({"a cut": part, **prints}, only_first=True)
        assert pairs["clip_b"].tolist() == [name]
        assert pairs["overlap_s"][0] == pytest.approx(seconds, abs=0.1)  # mp3 adds up to 0.1 s


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_the_sample_rate_of_the_wave_hardly_matters(music: Waves, rate_hz: int) -> None:
    wave = music["0.0.0"]
    resampled = fingerprint(soxr.resample(wave, RATE_HZ, rate_hz), rate_hz)
    (row,) = near_copies({"a": fingerprint(wave, RATE_HZ), "b": resampled}).itertuples()
    assert row.similarity > 0.95
    assert abs(row.offset_s) < HOP_S


def test_the_offset_says_how_much_later_the_sound_comes_in_the_first_clip(music: Waves) -> None:
    wave = fingerprint(music["3.0.0"], RATE_HZ)
    later = fingerprint(cut(music["3.0.0"], 3.0), RATE_HZ)
    (row,) = near_copies({"whole": wave, "cut": later}).itertuples()
    assert row.offset_s == pytest.approx(3.0, abs=HOP_S)
    (row,) = near_copies({"cut": later, "whole": wave}).itertuples()
    assert row.offset_s == pytest.approx(-3.0, abs=HOP_S)
    assert row.overlap_s == pytest.approx(SECONDS - 3.0, abs=0.1)


def test_clips_that_share_seven_seconds_are_found_and_three_are_too_few(music: Waves) -> None:
    one, two = music["3.0.0"], music["5.2.0"]

    def shared(seconds: float) -> list[float]:
        medley = np.concatenate([cut(one, 0, 5), cut(two, 2, 2 + seconds), cut(one, 5)])
        prints = {"two": fingerprint(two, RATE_HZ), "medley": fingerprint(medley, RATE_HZ)}
        return near_copies(prints)["overlap_s"].tolist()

    assert shared(7.0) == [pytest.approx(7.0, abs=1.0)]  # windows of 2 s reach over the edges
    assert shared(3.0) == []


def test_a_copy_with_a_piece_cut_out_of_its_middle_is_found(music: Waves) -> None:
    wave = music["0.1.1"]
    spliced = np.concatenate([cut(wave, 0, 4), cut(wave, 6)])
    pairs = near_copies({"a": fingerprint(wave, RATE_HZ), "b": fingerprint(spliced, RATE_HZ)})
    assert len(pairs) == 1


def sines(*frequencies_hz: float, gain: float = 0.2) -> np.ndarray:
    time_s = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ
    waves = sum(np.sin(2 * np.pi * hz * time_s) for hz in frequencies_hz)
    return np.rint(gain * np.asarray(waves) * 32_767) / 32_768


def test_silence_hum_and_steady_tones_say_nothing_and_match_nothing() -> None:
    generator = np.random.default_rng(7)
    n = round(SECONDS * RATE_HZ)
    mute = {
        "silence": np.zeros(n),
        "less silence": np.zeros(n - 999),
        "dither": np.rint(generator.standard_normal(n)) / 32_768,
        "more dither": np.rint(generator.standard_normal(n)) / 32_768,
        "tone": sines(440),
        "the same tone, quieter": sines(440, gain=0.1),
        "chord": sines(440, 550, 660),
        "hum": np.sign(sines(50)) * 0.3,
        "bass": sines(40),
    }
    prints = {name: fingerprint(wave, RATE_HZ) for name, wave in mute.items()}
    assert not [name for name, print_ in prints.items() if is_usable(print_)]
    assert near_copies(prints).empty


def test_noises_tremolos_and_clicks_of_equal_tempo_are_no_copies() -> None:
    generator = np.random.default_rng(7)
    time_s = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ
    waves = {f"noise {i}": 0.1 * generator.standard_normal(len(time_s)) for i in range(3)}
    for hz in (330, 440, 550):
        waves[f"tremolo {hz}"] = sines(hz) * (1 + 0.5 * np.sin(2 * np.pi * 5 * time_s))
    for i in range(3):  # every click is another burst of noise
        clicks = np.exp(-60 * (time_s % 0.5)) * generator.standard_normal(len(time_s))
        waves[f"clicks {i}"] = 0.3 * clicks
    prints = {name: fingerprint(wave, RATE_HZ) for name, wave in waves.items()}
    assert all(is_usable(print_) for print_ in prints.values())
    assert near_copies(prints).empty


def test_loops_match_their_copies_and_not_one_another(music: Waves) -> None:
    names = ("0.0.0", "0.0.1", "0.0.2", "0.1.0", "0.1.1")
    loops = {name: np.tile(cut(music[name], 3, 4.87), 7) for name in names}
    prints = {name: fingerprint(loop, RATE_HZ) for name, loop in loops.items()}
    assert near_copies(prints).empty
    prints["copy"] = fingerprint(as_mp3(loops["0.0.0"]), RATE_HZ)
    pairs = near_copies(prints)
    assert pairs[["clip_a", "clip_b"]].to_numpy().tolist() == [["0.0.0", "copy"]]


def test_a_family_of_many_copies_hangs_together(music: Waves) -> None:
    generator = np.random.default_rng(7)
    wave = music["5.2.1"]
    prints = {
        f"copy {i}": fingerprint(wave + 0.01 * generator.standard_normal(len(wave)), RATE_HZ)
        for i in range(21)
    }
    pairs = near_copies(prints)
    reached = {"copy 0"}
    for _ in range(21):
        touching = pairs[pairs["clip_a"].isin(reached) | pairs["clip_b"].isin(reached)]
        reached |= set(touching["clip_a"]) | set(touching["clip_b"])
    assert reached == set(prints)


@pytest.mark.slow
def test_a_jingle_shared_by_hundreds_of_clips_pairs_none() -> None:
    generator = np.random.default_rng(7)
    jingle = generator.integers(1, 2**32, 86, dtype=np.uint32)  # 1 s
    prints = {
        f"{i}": np.concatenate([jingle, generator.integers(1, 2**32, 777, dtype=np.uint32)])
        for i in range(153)
    }
    assert near_copies(prints).empty


def test_short_waves_and_empty_collections_find_nothing() -> None:
    assert len(fingerprint(np.zeros(0, np.float32), RATE_HZ)) == 0
    assert len(fingerprint(np.ones(2_047, np.float32), RATE_HZ)) == 0
    brief = fingerprint(np.random.default_rng(7).standard_normal(RATE_HZ // 2), RATE_HZ)
    assert not is_usable(brief)
    for prints in ({}, {"a": brief}, {"a": brief, "b": brief, "c": brief[:0]}):
        pairs = near_copies(prints)
        assert tuple(pairs.columns) == COLUMNS
        assert pairs.empty
    assert near_copies({"first": brief[:0], "b": brief, "c": brief}, only_first=True).empty


def test_a_fingerprint_is_32_bits_every_12_ms(music: Waves) -> None:
    print_ = fingerprint(music["0.0.0"], RATE_HZ)
    assert print_.dtype == np.uint32
    assert len(print_) * HOP_S == pytest.approx(SECONDS - 0.37, abs=0.03)  # less one window
    np.testing.assert_array_equal(print_, fingerprint(music["0.0.0"] / 2, RATE_HZ))
