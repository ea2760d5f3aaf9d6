"""The 57 descriptors of GTZAN's published table, computed from any wave.

librosa is the reference for these; it is not imported, because its first calls compile for seconds
and because each of its functions makes the spectrum anew. Here everything shares one spectrum.
"""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np
import scipy.fft

from genrecore.audio.descriptor_names import N_MFCC
from genrecore.audio.effects import HOP_LENGTH, N_FFT, separate, stft
from genrecore.audio.spectra import AMIN, chroma_filters, mel_filters
from genrecore.errors import AudioError

N_MELS = 128
N_CHROMA = 12
TOP_DB = 80.0
ROLLOFF = 0.85
TUNING_STEP = 0.01
"""Of a semitone: as finely as the tuning of a clip is estimated."""


def descriptors(wave: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """The 57 numbers called `DESCRIPTORS`, shape (57,) float64, of a mono wave (n_samples,).

    Mean and population variance over frames of 2 048 samples every 512, or over samples for
    `harmony` and `perceptr` (the harmonic and the percussive wave); centroid, bandwidth and rolloff
    in Hz, tempo in beats per minute (0 where nothing begins), MFCC in dB. Of a wave within [-1, 1]
    every number is finite, as librosa's are: silence and a single impulse divide by nothing.

    Equal to the published table, which was made at 22 050 Hz with a librosa before 0.10: that
    reflected the wave at its ends, where 0.10 and later put zeros, and left the last
    n_samples % 512 samples of the harmonic and the percussive wave at 0. Both are done here; on
    clips of 30 s they move variances by up to 3 % and, rarely, the tempo to another multiple.

    Keeps no state but filters that depend on the sample rate and on the clip's tuning, so threads
    may call it side by side. Nearly all of its time is spent in numpy and scipy with the
    interpreter's lock released; on top of that, numpy's matrix products may use threads of their
    own unless OMP_NUM_THREADS is 1. Needs about 100 MB for 30 s at 22 050 Hz.

    Raises:
        AudioError: Not one channel of at least one floating-point sample, or a sample that is NaN
            or infinite.
    """
    wave = _checked(wave)
    # Beyond both ends the wave is reflected: zeros would be heard as a blow.
    spectrum = stft(np.pad(wave, N_FFT // 2, mode="reflect"))
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    magnitude = np.sqrt(power)
    filters = np.concatenate(
        [_mel(sample_rate_hz), _chroma(sample_rate_hz, _tuning(power, sample_rate_hz))], axis=1
    )
    bands = power @ filters
    mel, chroma = bands[:, :N_MELS], bands[:, N_MELS:]
    parts = separate(wave, spectrum)
    for part in parts:
        part[len(wave) - len(wave) % HOP_LENGTH :] = 0.0
    decibels = _decibels(mel)
    hz = np.fft.rfftfreq(N_FFT, 1.0 / sample_rate_hz)
    series = (
        _over_loudest(chroma),
        _rms(wave),
        *_centroid_and_bandwidth(magnitude, hz),
        _rolloff(magnitude, hz),
        _zero_crossing_rate(wave),
        *parts,
    )
    numbers = [
        number
        for values in series
        for number in (values.mean(dtype=np.float64), values.var(dtype=np.float64))
    ]
    numbers.append(_tempo_bpm(_onset_strength(decibels), sample_rate_hz))
    mfcc = decibels.astype(np.float64) @ _cosines()
    return np.concatenate([numbers, np.stack([mfcc.mean(axis=0), mfcc.var(axis=0)], axis=1).flat])


def _checked(wave: np.ndarray) -> np.ndarray:
    """The wave as float32."""
    if wave.ndim != 1 or not len(wave) or not np.issubdtype(wave.dtype, np.floating):
        raise AudioError(
            f"Descriptors need one channel of floating-point samples, at least one; "
            f"found shape {wave.shape} of {wave.dtype}."
        )
    wave = np.ascontiguousarray(wave, np.float32)
    if not np.isfinite(wave.sum(dtype=np.float64)):
        raise AudioError("The wave holds samples that are not numbers (NaN or infinity).")
    return wave


# Frame by frame, from the wave.


def _rms(wave: np.ndarray) -> np.ndarray:
    """Root mean square of each frame (frames,)."""
    padded = np.pad(wave, N_FFT // 2, mode="reflect")
    return np.sqrt(_frame_sums(np.square(padded)) / N_FFT)


def _zero_crossing_rate(wave: np.ndarray) -> np.ndarray:
    """Share of each frame's samples (frames,) that lie on the other side of 0 than the one before.

    As librosa: 0 and what is within 1e-10 of it counts as positive, and so does no frame's first
    sample; the wave's first and last sample go on beyond its ends.
    """
    negative = np.pad(wave < -1e-10, N_FFT // 2, mode="edge")
    crossing = np.zeros(len(negative), np.float32)
    np.not_equal(negative[1:], negative[:-1], out=crossing[1:], casting="unsafe")
    sums = _frame_sums(crossing)
    return (sums - crossing[::HOP_LENGTH][: len(sums)]) / N_FFT


def _frame_sums(padded: np.ndarray) -> np.ndarray:
    """Sums over each frame (frames,) of a padded wave, from sums over hops."""
    n_hops = len(padded) // HOP_LENGTH
    hops = padded[: n_hops * HOP_LENGTH].reshape(n_hops, HOP_LENGTH).sum(axis=1, dtype=np.float64)
    return np.lib.stride_tricks.sliding_window_view(hops, N_FFT // HOP_LENGTH).sum(axis=1)


# Frame by frame, from magnitude or power (frames, bins).


def _centroid_and_bandwidth(magnitude: np.ndarray, hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (frames,) in Hz of the frequency, weighted by magnitude.

    Both are 0 in a silent frame.
    """
    # In float64: the bandwidth of a tone is a small difference of large squares.
    moments = magnitude.astype(np.float64) @ np.stack([np.ones_like(hz), hz, hz**2], axis=1)
    total = np.where(moments[:, 0] > 0.0, moments[:, 0], 1.0)
    mean, square = moments[:, 1] / total, moments[:, 2] / total
    return mean, np.sqrt(np.maximum(square - mean**2, 0.0))


def _rolloff(magnitude: np.ndarray, hz: np.ndarray) -> np.ndarray:
    """The frequency (frames,) in Hz below which 85 % of the magnitudes' sum lies."""
    below = np.cumsum(magnitude, axis=1)
    return hz[np.count_nonzero(below < np.float32(ROLLOFF) * below[:, -1:], axis=1)]


def _tuning(power: np.ndarray, sample_rate_hz: int) -> float:
    """How far a clip's pitches lie above the nearest semitones (of A = 440 Hz), −0.5 to 0.5.

    The fullest hundredth of a semitone among the spectrum's peaks between 150 and 4 000 Hz that
    reach a tenth of their frame's greatest power and are not below the median of such peaks. The
    peaks are interpolated by parabolas. 0 where there are none.

    Source: librosa.estimate_tuning and piptrack, version 0.11.
    """
    hz = np.fft.rfftfreq(N_FFT, 1.0 / sample_rate_hz)
    first, end = np.searchsorted(hz, [150.0, min(4000.0, sample_rate_hz / 2)])
    first = max(int(first), 1)
    band = power[:, first - 1 : end + 1]
    inside = band[:, 1:-1]
    is_peak = inside > 0.1 * power.max(axis=1, keepdims=True)
    is_peak &= inside > band[:, :-2]
    is_peak &= inside >= band[:, 2:]
    frame, bin_index = np.nonzero(is_peak)
    if not len(frame):
        return 0.0
    before, peak, after = (band[frame, bin_index + k].astype(np.float64) for k in range(3))
    curvature, slope = before + after - 2.0 * peak, (after - before) / 2.0
    shift = np.zeros_like(slope)
    np.divide(-slope, curvature, out=shift, where=np.abs(slope) < np.abs(curvature))
    height = peak + 0.5 * slope * shift
    high = height >= np.median(height)
    pitch_hz = (first + bin_index[high] + shift[high]) * (sample_rate_hz / N_FFT)
    residual = np.mod(N_CHROMA * np.log2(pitch_hz / 440.0), 1.0)
    residual[residual >= 0.5] -= 1.0
    edges = np.linspace(-0.5, 0.5, round(1.0 / TUNING_STEP) + 1)
    counts, _ = np.histogram(residual, edges)
    return float(edges[np.argmax(counts)])


def _over_loudest(chroma: np.ndarray) -> np.ndarray:
    """Chroma (frames, 12) over its greatest value in each frame; a silent frame stays 0."""
    loudest = chroma.max(axis=1, keepdims=True)
    return chroma / np.where(loudest >= np.finfo(np.float32).tiny, loudest, np.float32(1.0))


def _decibels(mel: np.ndarray) -> np.ndarray:
    """Decibels, at most 80 below the loudest, as spectral.power_to_db."""
    decibels = 10.0 * np.log10(np.maximum(mel, np.float32(AMIN)))
    return np.maximum(decibels, decibels.max() - np.float32(TOP_DB))


# Filters: columns to multiply spectra (frames, bins) with.


@cache
def _mel(sample_rate_hz: int) -> np.ndarray:
    """Mel filters (1025, 128), float32."""
    return mel_filters(sample_rate_hz, N_FFT, N_MELS).numpy().T


@cache
def _cosines() -> np.ndarray:
    """The discrete cosine transform of 128 bands to 20 MFCC, (128, 20), orthonormal."""
    return scipy.fft.dct(np.eye(N_MELS), axis=1, norm="ortho")[:, :N_MFCC]


@lru_cache(maxsize=256)
def _chroma(sample_rate_hz: int, tuning: float) -> np.ndarray:
    """Chroma filters (1025, 12) float32, from C; there are a hundred tunings."""
    return chroma_filters(sample_rate_hz, N_FFT, tuning).numpy().T


# Tempo.


def _onset_strength(decibels: np.ndarray) -> np.ndarray:
    """How much begins in each frame (frames,): the median band's rise in dB since the last one.

    Source: librosa.onset.onset_strength, version 0.11, as its beat_track calls it; later by half a
    window, so that an onset stands where the first frame centred on it does.
    """
    rise = np.median(np.maximum(np.diff(decibels, axis=0), 0.0), axis=1)
    return np.pad(rise, (1 + N_FFT // (2 * HOP_LENGTH), 0))[: len(decibels)]


def _tempo_bpm(onsets: np.ndarray, sample_rate_hz: int) -> float:
    """Beats per minute: the lag at which onsets best repeat, preferring 120, below 320.

    The mean over frames of the autocorrelation of 8 s around each, scaled to 1 at lag 0. The mean
    is taken of the power spectra, so that only one transform has to go back.

    Source: Ellis, "Beat tracking by dynamic programming", 2007; librosa.feature.tempo, version
    0.11, which is what librosa.beat.beat_track returns.
    """
    n_lags = int(8.0 * sample_rate_hz / HOP_LENGTH)
    if not onsets.any():
        return 0.0
    padded = np.pad(onsets.astype(np.float32), n_lags // 2, mode="linear_ramp")
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n_lags) / n_lags)
    around = np.lib.stride_tricks.sliding_window_view(padded, n_lags)[: len(onsets)]
    around = around * window.astype(np.float32)
    energy = np.einsum("ij,ij->i", around, around)
    around /= np.sqrt(np.where(energy > 0.0, energy, np.float32(1.0)))[:, None]
    n_fft = scipy.fft.next_fast_len(2 * n_lags - 1, real=True)
    spectrum = scipy.fft.rfft(around, n_fft, axis=1)
    density = np.square(np.abs(spectrum)).mean(axis=0, dtype=np.float64)
    similarity = scipy.fft.irfft(density, n_fft)[1:n_lags]
    bpm = 60.0 * sample_rate_hz / (HOP_LENGTH * np.arange(1.0, n_lags))
    prior = -0.5 * np.log2(bpm / 120.0) ** 2
    score = np.log1p(1e6 * np.maximum(similarity, 0.0)) + prior
    return float(bpm[np.argmax(np.where(bpm < 320.0, score, -np.inf))])


def beat_times(wave: np.ndarray, sample_rate_hz: int) -> tuple[float, np.ndarray]:
    """Tempo in beats per minute and the times of the beats (n,) in s, of a wave (n_samples,).

    (0.0, nothing) where no beat is heard. The first call in a new environment compiles for up to a
    minute, because librosa does; it is imported here and not before.

    Source: Ellis (2007), Beat tracking by dynamic programming, as librosa.beat.beat_track.
    """
    import librosa

    tempo, times_s = librosa.beat.beat_track(y=wave, sr=sample_rate_hz, units="time")
    times_s = np.asarray(times_s, dtype=float)
    return (float(np.asarray(tempo).reshape(-1)[0]) if len(times_s) else 0.0), times_s
