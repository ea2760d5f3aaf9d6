"""The 57 descriptors against the published table, librosa and signals with known answers."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
import scipy.ndimage
import soundfile

from genrecore.audio import effects
from genrecore.audio.descriptor_names import DESCRIPTORS
from genrecore.audio.descriptors import descriptors
from genrecore.errors import AudioError

# One worker compiles librosa's functions, which takes half a minute where no cache has them.
pytestmark = pytest.mark.xdist_group("page_datasets")

RATE_HZ = 22_050
N_SAMPLES = 100_001  # 4.5 s; the last hop is not complete
GENERATOR = np.random.default_rng(7)


def tone(hz: float, amplitude: float = 0.5) -> np.ndarray:
    phase = 2 * np.pi * hz * np.arange(N_SAMPLES) / RATE_HZ
    return (amplitude * np.sin(phase)).astype(np.float32)


def clicks(bpm: float) -> np.ndarray:
    """Short bursts of noise in silence."""
    wave = np.zeros(3 * N_SAMPLES, np.float32)
    burst = GENERATOR.uniform(-0.5, 0.5, 300).astype(np.float32)
    for start in np.arange(0.0, len(wave) - len(burst), 60 / bpm * RATE_HZ):
        wave[round(start) : round(start) + len(burst)] = burst
    return wave


def impulse() -> np.ndarray:
    wave = np.zeros(N_SAMPLES, np.float32)
    wave[N_SAMPLES // 2] = 1.0
    return wave


SIGNALS = {
    "tone": tone(1234.5),
    "clicks": clicks(100),
    "noise": (0.1 * GENERATOR.standard_normal(N_SAMPLES)).astype(np.float32),
    "music": sum(tone(hz, 0.2) for hz in (220, 277.2, 330))
    * (1 + np.sin(np.arange(N_SAMPLES) / 9000)).astype(np.float32),
    "silence": np.zeros(N_SAMPLES, np.float32),
    "impulse": impulse(),
}
SHORT = {"short": tone(440)[:1100]}  # half a window


def reflected_stft(wave: np.ndarray) -> np.ndarray:
    """The spectrum that descriptors are computed from."""
    return effects.stft(np.pad(wave, effects.N_FFT // 2, mode="reflect"))


def named(wave: np.ndarray) -> dict[str, float]:
    return dict(zip(DESCRIPTORS, descriptors(wave, RATE_HZ), strict=True))


def librosas(wave: np.ndarray) -> dict[str, np.ndarray]:
    """Series by those of librosa's functions that compile nothing, reflected as the table's were.

    `test_everything_equals_librosas` has the others.
    """
    options = {"y": wave, "sr": RATE_HZ, "pad_mode": "reflect"}
    feature = librosa.feature
    series = {
        "rms": feature.rms(y=wave, pad_mode="reflect"),
        "spectral_centroid": feature.spectral_centroid(**options),
        "spectral_bandwidth": feature.spectral_bandwidth(**options),
        "rolloff": feature.spectral_rolloff(**options),
    }
    mfcc = feature.mfcc(**options, n_mfcc=20)
    return series | {f"mfcc{number}": values for number, values in enumerate(mfcc, 1)}


@pytest.mark.slow
@pytest.mark.parametrize("name", SIGNALS | SHORT)
def test_what_librosa_computes_of_one_spectrum_is_the_same(name: str) -> None:
    wave = (SIGNALS | SHORT)[name]
    computed = named(wave)
    for series, values in librosas(wave).items():
        mean, spread = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
        # Both are float32 inside; of a mean near 0, and of a series that hardly varies, what is
        # left is the rounding of the values themselves (Hz, dB), which reach 1e4. Our spectrum is
        # rounded to float32 from the start: 140 dB below a tone that widens its band by a hertz.
        size = float(np.abs(values).max()) + 1e-6
        least = 1.0 if series == "spectral_bandwidth" else 1e-5 * size
        assert computed[f"{series}_mean"] == pytest.approx(mean, rel=1e-4, abs=least), series
        found_spread = np.sqrt(computed[f"{series}_var"])
        assert found_spread == pytest.approx(spread, rel=1e-3, abs=1e-4 * size), series


@pytest.mark.parametrize("shape", [(100, 130), (1293, 3), (33, 14), (16, 31), (1, 1), (2, 300)])
@pytest.mark.parametrize("axis", [0, 1])
def test_running_medians_are_those_of_every_window(shape: tuple[int, int], axis: int) -> None:
    window, mirrored = [1, 1], [(0, 0), (0, 0)]
    window[axis], mirrored[axis] = 31, (15, 15)
    for values in (
        GENERATOR.standard_normal(shape).astype(np.float32),
        GENERATOR.integers(0, 4, shape).astype(np.float64),  # ties
    ):
        medians = effects.running_median(values, axis)
        padded = np.pad(values, mirrored, mode="symmetric")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 31, axis=axis)
        np.testing.assert_array_equal(medians, np.median(windows, axis=-1))
        if shape[axis] > 31:  # scipy 1.17 errs on axes far shorter than the window
            scipys = scipy.ndimage.median_filter(values, size=window, mode="reflect")
            np.testing.assert_array_equal(medians, scipys)


@pytest.mark.parametrize("name", SIGNALS)
def test_spectrum_and_mask_are_librosas(name: str) -> None:
    wave = SIGNALS[name]
    spectrum = reflected_stft(wave)
    expected = librosa.stft(wave, pad_mode="reflect").T
    # float32, added up in another order.
    np.testing.assert_allclose(spectrum, expected, atol=1e-6 * max(1.0, np.abs(expected).max()))
    magnitude = np.abs(spectrum)
    harmonic, percussive = librosa.decompose.hpss(magnitude.T, mask=True)
    mask = effects.harmonic_mask(magnitude)
    np.testing.assert_allclose(mask, harmonic.T, atol=1e-6)  # float32
    np.testing.assert_allclose(1 - mask, percussive.T, atol=1e-6)


@pytest.mark.parametrize("name", SIGNALS)
def test_the_spectrum_gives_the_wave_back(name: str) -> None:
    wave = SIGNALS[name]
    back = effects.istft(reflected_stft(wave), len(wave))
    # At its end the window is small, and what is divided by its square has the rounding of that.
    np.testing.assert_allclose(back[:-512], wave[:-512], atol=1e-6)
    np.testing.assert_allclose(back, wave, atol=1e-5)


def test_a_tone_is_harmonic_and_a_click_percussive() -> None:
    for wave, where in ((SIGNALS["tone"], 0), (SIGNALS["clicks"], 1)):
        parts = effects.separate(wave, reflected_stft(wave))
        np.testing.assert_allclose(parts[0] + parts[1], wave, atol=1e-6)  # float32
        inside = slice(20_000, -20_000)
        assert parts[where][inside].var() > 0.98 * wave[inside].var()


def test_a_tone_has_the_numbers_of_a_tone() -> None:
    values = named(tone(1000, 0.5))
    assert values["rms_mean"] == pytest.approx(0.5 / np.sqrt(2), rel=1e-3)  # not whole periods
    assert values["spectral_centroid_mean"] == pytest.approx(1000, rel=0.02)  # the edges spread
    assert values["rolloff_mean"] == pytest.approx(1000, rel=0.02)
    assert values["zero_crossing_rate_mean"] == pytest.approx(2 * 1000 / RATE_HZ, rel=0.01)
    assert values["harmony_var"] > 100 * values["perceptr_var"]


@pytest.mark.parametrize("cents", [-40, -15, 0, 30])
def test_chroma_follows_the_tuning_of_the_clip(cents: int) -> None:
    from genrecore.audio.descriptors import _chroma, _tuning

    spectrum = reflected_stft(tone(880 * 2 ** (cents / 1200)))
    power = np.square(np.abs(spectrum))
    tuning = _tuning(power, RATE_HZ)
    assert tuning == pytest.approx(cents / 100, abs=0.03)  # parabolas err by a cent or two
    expected = librosa.filters.chroma(sr=RATE_HZ, n_fft=2048, tuning=tuning)
    np.testing.assert_allclose(_chroma(RATE_HZ, tuning).T, expected, atol=1e-6)  # float32
    chroma = power @ _chroma(RATE_HZ, tuning)
    assert (chroma[5:-5].argmax(axis=1) == 9).all()  # A


@pytest.mark.parametrize("bpm", [80, 100, 150])
def test_the_tempo_of_clicks_is_theirs(bpm: int) -> None:
    # Lags are whole frames of 23 ms: 2.6 bpm apart at 120.
    assert named(clicks(bpm))["tempo"] == pytest.approx(bpm, rel=0.03)


def test_silence_is_zero_but_for_its_level() -> None:
    values = named(SIGNALS["silence"])
    # −100 dB in each of 128 bands.
    assert values.pop("mfcc1_mean") == pytest.approx(-100 * np.sqrt(128))
    assert all(abs(value) < 1e-9 for value in values.values())  # cosines of float64


@pytest.mark.parametrize("n_samples", [1, 2, 511, 512, 1025, 3000])
def test_every_number_is_finite_however_little_there_is(n_samples: int) -> None:
    edge = np.zeros(n_samples, np.float32)
    edge[-1] = 1.0
    for wave in (edge, np.full(n_samples, 1e-20), GENERATOR.uniform(-1, 1, n_samples)):
        for rate_hz in (8_000, 44_100):
            assert np.isfinite(descriptors(wave, rate_hz)).all()


def test_twice_as_loud_changes_level_and_nothing_else() -> None:
    quiet, loud = named(SIGNALS["music"]), named(2 * SIGNALS["music"])
    for name in DESCRIPTORS:
        if name == "mfcc1_mean":
            expected = quiet[name] + 20 * np.log10(2) * np.sqrt(128)  # dB
        elif name.startswith(("rms", "harmony", "perceptr")):
            expected = quiet[name] * (4 if name.endswith("var") else 2)
        else:
            expected = quiet[name]
        # A power of two changes no rounding but that of logarithms.
        assert loud[name] == pytest.approx(expected, rel=1e-4, abs=1e-5), name


def test_threads_get_what_one_after_the_other_gets() -> None:
    waves = [*SIGNALS.values()]
    alone = [descriptors(wave, RATE_HZ) for wave in waves]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda wave: descriptors(wave, RATE_HZ), waves))
    np.testing.assert_array_equal(alone, together)


def test_the_wave_stays_and_its_layout_does_not_matter() -> None:
    wave = SIGNALS["music"].copy()
    wide = np.stack([wave, wave], axis=1).astype(np.float64)[:, 0]
    np.testing.assert_array_equal(descriptors(wide, RATE_HZ), descriptors(wave, RATE_HZ))
    np.testing.assert_array_equal(wave, SIGNALS["music"])


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (np.zeros((2, 500), np.float32), r"shape \(2, 500\) of float32"),
        (np.zeros(500, np.int16), "int16"),
        (np.zeros(0, np.float32), r"shape \(0,\)"),
        (np.array([0.0, np.nan]), "not numbers"),
        (np.array([0.0, np.inf]), "not numbers"),
    ],
)
def test_what_is_no_wave_is_refused(wave: np.ndarray, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        descriptors(wave, RATE_HZ)


def _against_the_published_table(real_data: Path, paths: list[Path]) -> None:
    published = pd.read_csv(real_data / "gtzan/features_30_sec.csv").set_index("filename")
    assert tuple(published.columns[1:-1]) == DESCRIPTORS
    for path in paths:
        wave, rate_hz = soundfile.read(path, dtype="float32")
        values = descriptors(wave, rate_hz)
        expected = published.loc[path.name, list(DESCRIPTORS)].to_numpy(np.float64)
        size = np.abs(expected)
        for name in ("harmony", "perceptr"):  # means of nothing but noise around 0
            size[DESCRIPTORS.index(f"{name}_mean")] = np.sqrt(
                expected[DESCRIPTORS.index(f"{name}_var")]
            )
        # float32 in another order; largest where the mean of an MFCC is a thousandth of its terms.
        np.testing.assert_array_less(np.abs(values - expected) / size, 2e-4, err_msg=path.name)
        # Lags are whole frames: another one would be 1 % off or more.
        assert values[DESCRIPTORS.index("tempo")] == pytest.approx(
            expected[DESCRIPTORS.index("tempo")]
        )


@pytest.mark.slow
def test_the_published_table_comes_out(real_data: Path) -> None:
    paths = sorted((real_data / "gtzan/genres_original").glob("*/*.wav"))
    _against_the_published_table(real_data, paths[3::13])


@pytest.mark.long
def test_the_whole_published_table_comes_out(real_data: Path) -> None:
    paths = sorted((real_data / "gtzan/genres_original").glob("*/*.wav"))
    assert len(paths) == 100
    _against_the_published_table(real_data, paths)


_WITH_LIBROSA = """
import sys, numpy as np, librosa
rows = []
for wave in np.load(sys.argv[1]).values():
    options = {"y": wave, "sr": 22050, "pad_mode": "reflect"}
    harmonic, percussive = librosa.effects.hpss(wave, pad_mode="reflect")
    for part in (harmonic, percussive):
        part[len(wave) // 512 * 512:] = 0
    onsets = librosa.onset.onset_strength(**options, aggregate=np.median)
    tempo, _ = librosa.beat.beat_track(onset_envelope=onsets, sr=22050)
    series = [librosa.feature.chroma_stft(**options), librosa.feature.zero_crossing_rate(wave),
              harmonic, percussive]
    rows.append([number for values in series for number in
                 (values.mean(dtype=float), values.var(dtype=float))] + [np.atleast_1d(tempo)[0]])
np.save(sys.argv[2], rows)
"""


@pytest.mark.long
def test_everything_equals_librosas(tmp_path: Path) -> None:
    """What needs librosa to compile: half a minute, in a process and a cache of its own."""
    np.savez(tmp_path / "waves.npz", **SIGNALS)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", _WITH_LIBROSA, tmp_path / "waves.npz", tmp_path / "rows.npy"]
    subprocess.run(command, env=environment, check=True)
    names = [
        f"{series}_{statistic}"
        for series in ("chroma_stft", "zero_crossing_rate", "harmony", "perceptr")
        for statistic in ("mean", "var")
    ]
    for (signal, wave), row in zip(SIGNALS.items(), np.load(tmp_path / "rows.npy"), strict=True):
        values = named(wave)
        assert values["tempo"] == pytest.approx(row[-1]), signal
        for name, expected in zip(names, row, strict=False):
            # float32 in another order; against the wave where a part of it is next to nothing.
            least = 1e-6 * np.abs(wave).max()
            assert values[name] == pytest.approx(expected, rel=1e-3, abs=least), (signal, name)
