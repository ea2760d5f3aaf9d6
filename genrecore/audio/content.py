"""Whether a recording is music at all: nearly silent, like noise, or like speech.

Statistics of the signal that need no trained model. Their thresholds were set on music (100 clips
of GTZAN, the demo music) and on generated noises and sentences of a speech synthesiser; the tests
measure them on others.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import scipy.fft

NEARLY_SILENT_DB = -55.0
"""Mean level below which a clip is nearly silent; the quietest of 100 clips of GTZAN has −31."""

QUIET_DB = -60.0
"""A half second below this is a pause."""

MOSTLY = 0.75
"""From this share of pauses on a recording is mostly silence."""

# Flatness and movement of GTZAN and of the demo music: at most 0.90, at least 2.4 dB. Noises of ten
# kinds: at least 0.89, and those below 0.95 move by 1.0 dB (hums and narrow bands in hiss).
_FLAT_ALONE, _FLAT, _STEADY_DB = 0.94, 0.86, 2.0
# White, pink and brown noise, also from mp3: flatness 0.96 to 0.99, movement 0.9 to 1.0 dB. 1 500
# windows of GTZAN: never both above 0.855 and below 2 dB. Noise 10 dB below music: 0.79, 2.7 dB.
_FLAT_WINDOW, _STEADY_WINDOW_DB = 0.9, 1.5
# Modulation at 2 to 8 Hz, of parts of 5 s and more: 1.2 to 2.9 in sentences. What beats as fast as
# syllables, a drum or a siren, has no voice or one that neither pauses nor glides. In shorter parts
# music reaches 1.2: of 1 000 parts of GTZAN of 2 s these thresholds take 2 for speech, of 597 parts
# of 5 s 2 (a voice alone). Of sentences of 2 s they miss three in ten, of 3 s one, of 5 s none.
_SYLLABLES, _SYLLABLES_BRIEF, _BRIEF_S = 1.15, 1.3, 4.0
_VOICED, _GLIDING = (0.4, 0.96), 0.35
_TINY = 1e-14


@dataclass(frozen=True)
class Kind:
    """Properties of a recording."""

    name: str  # `silent`, `mostly silent`, `noise`, `speech`, or empty where it may be music
    level_db: float  # mean level in dB of full scale
    silent: float  # share of half seconds that are pauses
    flatness: float  # of the spectrum within third octaves, 0 … 1; 1 is noise of any colour
    movement_db: float  # how much the level of a third octave moves from frame to frame
    syllables: float  # energy of the bands' modulation at 2 to 8 Hz, of their squared mean


def kind_of(wave: np.ndarray, sample_rate_hz: int) -> Kind:
    """What a mono wave (n_samples,) float32 in [-1, 1] is like; 30 s take about 60 ms.

    Sources: spectral flatness and the modulation energy around 4 Hz, the rate of syllables, as in
    Scheirer & Slaney (1997), Construction and evaluation of a robust multifeature speech/music
    discriminator, ICASSP; ours takes thresholds instead of a trained classifier, and asks for a
    voice whose pitch glides instead of counting zero crossings.
    """
    level_db = _decibels(wave)
    n_half = max(1, sample_rate_hz // 2)
    halves = [wave[at : at + n_half] for at in range(0, max(1, len(wave) - n_half + 1), n_half)]
    silent = float(np.mean([_decibels(half) < QUIET_DB for half in halves]))
    flatness, movement_db = flat_and_still(wave, sample_rate_hz)
    syllables = syllable_energy(wave, sample_rate_hz)
    is_brief = len(wave) < _BRIEF_S * sample_rate_hz
    least_syllables = _SYLLABLES_BRIEF if is_brief else _SYLLABLES
    if level_db < NEARLY_SILENT_DB:
        name = "silent"
    elif silent >= MOSTLY:
        name = "mostly silent"
    elif flatness >= _FLAT_ALONE or (flatness >= _FLAT and movement_db < _STEADY_DB):
        name = "noise"
    elif syllables >= least_syllables and _has_a_speaking_voice(wave, sample_rate_hz):
        name = "speech"
    else:
        name = ""
    return Kind(name, level_db, silent, flatness, movement_db, syllables)


def flat_and_still(wave: np.ndarray, sample_rate_hz: int) -> tuple[float, float]:
    """Spectral flatness within third octaves above 500 Hz, 0 … 1, and how much their level moves in
    dB from frame to frame of 93 ms; (0, inf) of a wave too short to say.

    The mean over windows of 2 s, of which silent ones do not count; bands count by their amplitude
    in the first, alike in the second.
    """
    windows = _windows(wave, sample_rate_hz)
    if windows.shape[1] < 8 or not len(audible := _audible(windows)):
        return 0.0, float("inf")
    flatness, movement_db, amplitude = _third_octaves(audible, sample_rate_hz)
    shares = amplitude / amplitude.sum(axis=0)
    mean_flatness = (flatness * shares).sum(axis=0).mean()
    return float(mean_flatness), float(np.median(movement_db, axis=0).mean())


def noise_share(wave: np.ndarray, sample_rate_hz: int) -> float:
    """Share of a wave's windows of 2 s that hold constant noise; 0 of a shorter wave.

    Their mean spectrum is flat within third octaves above 500 Hz (near 1 for noise of any colour,
    far below for tones) and its level stands still (for music it moves by several dB).
    """
    windows = _windows(wave, sample_rate_hz)
    if windows.shape[1] < int(2.0 * sample_rate_hz) // windows.shape[2]:
        return 0.0
    flatness, movement_db, _ = _third_octaves(_audible(windows), sample_rate_hz)
    is_noise = (np.median(flatness, axis=0) > _FLAT_WINDOW) & (
        np.median(movement_db, axis=0) < _STEADY_WINDOW_DB
    )
    return float(is_noise.sum() / len(windows))


def _windows(wave: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Windows of 2 s, or one of a shorter wave: (windows, frames, samples of a frame of 93 ms)."""
    n_fft = 2 ** round(np.log2(0.093 * sample_rate_hz))
    n_frames = max(1, min(int(2.0 * sample_rate_hz), len(wave)) // n_fft)
    n_windows = len(wave) // (n_frames * n_fft)
    return wave[: n_windows * n_frames * n_fft].reshape(n_windows, n_frames, n_fft)


def _audible(windows: np.ndarray) -> np.ndarray:
    return windows[np.square(windows).mean(axis=(1, 2)) > 10 ** (QUIET_DB / 10)]


def _third_octaves(
    windows: np.ndarray, sample_rate_hz: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flatness (geometric over arithmetic mean), movement in dB and amplitude of each third octave
    above 500 Hz in each window: three of (bands, windows)."""
    n_fft = windows.shape[2]
    spectrum = scipy.fft.rfft(windows * np.hanning(n_fft).astype(np.float32), axis=2)
    power = spectrum.real**2 + spectrum.imag**2 + _TINY
    top_hz = min(8_000.0, 0.45 * sample_rate_hz)
    edges_hz = 500.0 * 2.0 ** (np.arange(int(3 * np.log2(top_hz / 500.0)) + 1) / 3)
    edges = np.rint(edges_hz / sample_rate_hz * n_fft).astype(int)
    mean = power.mean(axis=1)
    flatness, movement_db, amplitude = [], [], []
    for low, high in itertools.pairwise(edges):
        band = mean[:, low:high]
        flatness.append(np.exp(np.log(band).mean(axis=1)) / band.mean(axis=1))
        movement_db.append((10 * np.log10(power[:, :, low:high].mean(axis=2))).std(axis=1))
        amplitude.append(np.sqrt(band.mean(axis=1)))
    return np.array(flatness), np.array(movement_db), np.array(amplitude)


def syllable_energy(wave: np.ndarray, sample_rate_hz: int) -> float:
    """Energy of the modulation of twenty bands at 2 to 8 Hz, of their squared mean; nan of a wave
    shorter than a second."""
    hop = round(0.0125 * sample_rate_hz)
    rate_hz = sample_rate_hz / hop
    if len(wave) < sample_rate_hz:
        return float("nan")
    frames = np.lib.stride_tricks.sliding_window_view(wave, 2 * hop)[::hop]
    n_fft = 2 ** int(np.ceil(np.log2(2 * hop)))
    spectrum = scipy.fft.rfft(frames * np.hanning(2 * hop).astype(np.float32), n_fft, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    edges_hz = np.geomspace(150.0, min(6_000.0, 0.45 * sample_rate_hz), 21)
    edges = np.searchsorted(scipy.fft.rfftfreq(n_fft, 1 / sample_rate_hz), edges_hz)
    bands = [
        power[:, low : max(high, low + 1)].sum(axis=1) for low, high in itertools.pairwise(edges)
    ]
    amplitude = np.sqrt(np.stack(bands, axis=1))
    amplitude /= amplitude.mean(axis=0) + 1e-9
    n_window = min(int(2.0 * rate_hz), len(amplitude))
    window = np.hanning(n_window)[:, None]
    rates_hz = scipy.fft.rfftfreq(n_window, 1 / rate_hz)
    in_band = (rates_hz >= 2.0) & (rates_hz < 8.0)
    energies = []
    for at in range(0, len(amplitude) - n_window + 1, max(1, n_window // 2)):
        segment = amplitude[at : at + n_window]
        moved = np.abs(scipy.fft.rfft((segment - segment.mean(axis=0)) * window, axis=0)) ** 2
        # Twice for the negative frequencies, 8 / 3 for what the window takes away.
        energies.append(moved[in_band].sum(axis=0).mean() * 2 * 8 / 3 / n_window**2)
    return float(np.mean(energies))


def _has_a_speaking_voice(wave: np.ndarray, sample_rate_hz: int) -> bool:
    """Whether most of what sounds, but not all, has a pitch between 70 and 400 Hz that glides."""
    hop, n = round(0.0125 * sample_rate_hz), round(0.04 * sample_rate_hz)
    frames = np.lib.stride_tricks.sliding_window_view(wave, n)[::hop]
    window = np.hanning(n).astype(np.float32)
    n_fft = 2 ** int(np.ceil(np.log2(2 * n)))
    likeness = scipy.fft.irfft(np.abs(scipy.fft.rfft(frames * window, n_fft, axis=1)) ** 2, axis=1)
    own = scipy.fft.irfft(np.abs(scipy.fft.rfft(window, n_fft)) ** 2)
    lags = slice(int(sample_rate_hz / 400), int(sample_rate_hz / 70))
    likeness = likeness[:, lags] / (likeness[:, :1] + 1e-9) / (own[lags] / own[0])
    power = np.square(frames).mean(axis=1)
    sounds = power > 0.01 * np.percentile(power, 95)
    voiced = (likeness.max(axis=1) > 0.6) & sounds
    share = float(voiced[sounds].mean()) if sounds.any() else 0.0
    semitones = 12 * np.log2(sample_rate_hz / (likeness.argmax(axis=1) + lags.start))
    step = np.abs(np.diff(semitones))
    goes_on = voiced[1:] & voiced[:-1] & (step < 2.0)
    gliding = float((step[goes_on] > 0.08).mean()) if goes_on.sum() > 5 else 0.0
    return _VOICED[0] <= share <= _VOICED[1] and gliding >= _GLIDING


def _decibels(wave: np.ndarray) -> float:
    power = float(np.mean(np.square(wave), dtype=np.float64)) if len(wave) else 0.0
    return 10 * np.log10(max(power, 1e-12))
