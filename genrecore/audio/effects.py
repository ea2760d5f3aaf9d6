"""Changes of a wave's tempo, pitch, parts and bands: time stretch, pitch shift, percussion, filter.

One implementation for arrays and for tensors on any device. On the CPU numpy and scipy do the
work, one example a thread: their threads never wait for one another, as torch's do after every
step, which costs a multiple where other processes want a core. Only running medians and resampling
are done in different ways on the CPU and elsewhere. librosa is the reference of the tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import bottleneck
import numpy as np
import scipy.fft
import soxr
import torch
from torch import Tensor
from torch.nn import functional

from genrecore.audio.spectra import full_precision

N_FFT = 2048
HOP_LENGTH = 512
N_MEDIAN = 31
"""Frames or bins under a running median."""

_SILENT = 1e-18
"""A magnitude (−360 dB) added to all others, so that silence has a phase."""

_FRAMES_AT_ONCE = 128
"""Frames that the phase vocoder works on at once on the CPU: what stays in a core's cache."""

_IN_WINDOWS = 2**27
"""Numbers in the windows of running medians at once on other devices than the CPU: half a GiB."""

_SPARE = 8192
"""Zeros behind a wave changed through its spectrum, so that its end and its start stay apart."""


def time_stretch(waves: Tensor, rates: Sequence[float]) -> list[Tensor]:
    """Each wave of (batch, n) `rate` times as fast at the same pitch, (round(n / rate),).

    As librosa.effects.time_stretch at its defaults, without its loop over the frames.
    """
    return _each(_stretched, waves, rates)


def pitch_shift(waves: Tensor, semitones: Sequence[float]) -> Tensor:
    """Waves (batch, n), each so many semitones higher at the same tempo.

    As librosa.effects.pitch_shift: stretched in time, then resampled to the old length.
    """
    return torch.stack(_each(_shifted, waves, semitones))


def percussive(waves: Tensor) -> Tensor:
    """The percussive component (batch, n) of waves (batch, n): their blows without their tones.

    Source: Fitzgerald (2010), as librosa.effects.percussive at its defaults.
    """
    return torch.stack(_each(_percussive, waves, [None] * len(waves)))


def fitted(wave: Any, n_samples: int) -> Any:
    """A wave (n,) cut to n_samples, or with zeros behind it."""
    return _with_zeros(wave[:n_samples], 0, max(0, n_samples - len(wave)))


def peaking(
    waves: Tensor, sample_rate_hz: int, middle_hz: Tensor, gain_db: Tensor, quality: float
) -> Tensor:
    """Waves (batch, n) with a band around middle_hz (batch,) raised by gain_db (batch,).

    Source: Bristow-Johnson, Cookbook formulae for audio equaliser biquad filter coefficients, the
    peaking filter. Ours multiplies the spectrum of the whole wave by the filter's response, which
    every device does at once, instead of running its recursion from sample to sample.
    """
    n_samples = waves.shape[-1]
    n_fft = scipy.fft.next_fast_len(n_samples + _SPARE, real=True)
    with full_precision(waves):
        # The bilinear transform of (s² + s A / Q + 1) / (s² + s / (A Q) + 1), in real numbers.
        half_angle = torch.arange(n_fft // 2 + 1, device=waves.device) * (torch.pi / n_fft)
        middle = (torch.pi / sample_rate_hz * middle_hz).tan().to(waves.device)[:, None]
        amplitude = (10.0 ** (gain_db / 40.0)).to(waves.device)[:, None]
        cosine, sine = half_angle.cos(), half_angle.sin() / middle
        outside, inside = cosine.square() - sine.square(), cosine * sine / quality
        divisor = outside.square() + (inside / amplitude).square()
        response = torch.complex(
            (outside.square() + inside.square()) / divisor,
            outside * inside * (amplitude - 1.0 / amplitude) / divisor,
        )
        spectra = torch.fft.rfft(waves.float(), n_fft)
        return torch.fft.irfft(spectra.mul_(response), n_fft)[:, :n_samples]


# Spectra: of a wave that is an array or a tensor, by the library of its kind.


def stft(padded: Any) -> Any:
    """Spectrum (frames, 1025), complex64, of a wave that is padded by 1 024 samples at both ends.

    Periodic Hann window of 2 048 samples, frames every 512. Frames come first, other than in
    librosa. An array makes an array and a tensor a tensor.
    """
    xp, fft = _libraries(padded)
    n_hops = N_FFT // HOP_LENGTH
    n_frames = len(padded) // HOP_LENGTH - n_hops + 1
    hops = padded[: (n_frames + n_hops - 1) * HOP_LENGTH].reshape(-1, HOP_LENGTH)
    frames = xp.concatenate([hops[k : k + n_frames] for k in range(n_hops)], 1)
    return fft.rfft(frames * _window(padded.device))


def istft(spectrum: Any, n_samples: int) -> Any:
    """The wave (n_samples,) float32 whose `stft` comes closest to a spectrum (frames, 1025).

    Source: Griffin & Lim, 1984: windowed frames added up, over the sum of the squared window.
    """
    xp, fft = _libraries(spectrum)
    window = _window(spectrum.device)
    frames = fft.irfft(spectrum, N_FFT)
    frames *= window
    inside = slice(N_FFT // 2, N_FFT // 2 + n_samples)
    weight = _added_up(xp.broadcast_to(window**2, frames.shape))
    return _added_up(frames)[inside] / weight[inside]


def harmonic_mask(magnitude: Any) -> Any:
    """How much of each point is harmonic, 0 to 1, float32, for a magnitude (frames, bins).

    Tones are lines along time, blows lines along frequency. A running median along time keeps the
    first and wipes out the second, one along frequency does the opposite. What is not harmonic is
    percussive: the percussive mask is 1 minus this. Where both medians are 0, each gets half.

    Source: Fitzgerald, "Harmonic/percussive separation using median filtering", DAFx 2010, with
    soft masks of power 2 and medians of 31, as librosa's defaults.
    """
    xp, _ = _libraries(magnitude)
    along_time, along_frequency = (running_median(magnitude, axis) for axis in (0, 1))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = along_frequency / along_time
        mask = 1.0 / (1.0 + ratio * ratio)
    return xp.nan_to_num(mask, nan=0.5)  # 0 / 0


def separate(wave: np.ndarray, spectrum: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Harmonic and percussive wave, each (n_samples,) float32; they add up to the wave.

    Args:
        wave: Mono, (n_samples,) float32.
        spectrum: Its `stft`.
    """
    harmonic = istft(spectrum * harmonic_mask(np.abs(spectrum)), len(wave))
    return harmonic, wave - harmonic


def running_median(values: Any, axis: int) -> Any:
    """Medians of 31 neighbours along one axis of an array with two, mirrored at its ends.

    As scipy.ndimage.median_filter with mode="reflect". bottleneck takes 52 ms for the spectrogram
    of 30 s, scipy 594 ms; torch has nothing better than to sort every window by itself.
    """
    n = values.shape[axis]
    mirrored = np.pad(np.arange(n), N_MEDIAN // 2, mode="symmetric")
    if isinstance(values, np.ndarray):
        medians = bottleneck.move_median(values.take(mirrored, axis), N_MEDIAN, axis=axis)
        return medians[N_MEDIAN - 1 :] if axis == 0 else medians[:, N_MEDIAN - 1 :]
    rows = values.movedim(axis, -1)
    windows = rows[:, torch.from_numpy(mirrored).to(rows.device)].unfold(-1, N_MEDIAN, 1)
    few = max(1, _IN_WINDOWS // (n * N_MEDIAN))
    return torch.cat([part.median(-1).values for part in windows.split(few)]).movedim(-1, axis)


def phase_vocoder(spectrum: Any, rate: float) -> Any:
    """Spectrum (ceil(frames / rate), bins) that passes by `rate` times as fast as (frames, bins).

    An array makes an array and a tensor a tensor. Source: Flanagan & Golden (1966), as
    librosa.phase_vocoder: magnitudes are interpolated between neighbouring frames, and every
    point's phase goes on from frame to frame by as much as it does there in the original. Ours
    adds no phases up: where one frame after the other is read, they are the original's own, and
    only where a frame is skipped or read twice does what follows turn.
    """
    xp, _ = _libraries(spectrum)
    positions = np.arange(0, len(spectrum), rate)
    frames = np.append(positions.astype(np.int64), len(spectrum))
    shares = xp.asarray((positions % 1.0).astype(np.float32)[:, None], device=spectrum.device)
    spectrum = xp.concatenate([spectrum, xp.zeros_like(spectrum[:2])])
    turn = xp.ones_like(spectrum[:1])
    few = _FRAMES_AT_ONCE if str(spectrum.device) == "cpu" else len(positions)
    stretched = []
    for start in range(0, len(positions), few):
        # The frames of this block and the first of the next; of the originals those that they need.
        needed = frames[start : start + few + 1]
        first, last = needed[0], max(needed[-1], needed[-2] + 1)
        magnitude, phase = _polar(spectrum[first : last + 1])
        current = needed - first
        leaps = np.flatnonzero(np.diff(needed) != 1)
        _, turns = _polar(phase[current[leaps] + 1] * phase[current[leaps + 1]].conj())
        turns = xp.cumprod(xp.concatenate([turn, turns]), 0)
        turn = turns[-1:]
        share, current = shares[start : start + few], current[:-1]
        strength = (1.0 - share) * magnitude[current] + share * magnitude[current + 1]
        n_turns = np.searchsorted(leaps, np.arange(len(current)))
        stretched.append(phase[current] * strength * turns[n_turns])
    return xp.concatenate(stretched)


def resample(wave: Any, ratio: float) -> Any:
    """A wave (n,) at `ratio` times its sample rate, (about n * ratio,).

    Arrays by soxr, as librosa. Tensors, where soxr cannot work, through the spectrum of the whole
    wave; the two differ in the last tenth below half of the lower sample rate, where soxr fades
    out.
    """
    if isinstance(wave, np.ndarray):
        return soxr.resample(wave, 1.0 / ratio, 1.0, "HQ")
    # Of a thousand lengths the one whose multiple is nearest to a whole number of samples.
    lengths = len(wave) + _SPARE + np.arange(1000)
    n_before = int(lengths[np.argmin(np.abs(lengths * ratio - np.rint(lengths * ratio)))])
    n_after = round(n_before * ratio)
    spectrum = torch.fft.rfft(wave, n_before)
    resampled = torch.fft.irfft(spectrum, n_after) * (n_after / n_before)
    return resampled[: math.ceil(len(wave) * ratio)]


def _each(effect: Callable[[Any, Any], Any], waves: Tensor, numbers: Sequence[Any]) -> list:
    """What the effect makes of every wave and its number, float32 tensors."""
    with full_precision(waves):
        waves = waves.float()
        if waves.device.type != "cpu":
            return [effect(wave, number) for wave, number in zip(waves, numbers, strict=True)]
        n_threads = max(1, min(len(waves), torch.get_num_threads()))
        with ThreadPoolExecutor(n_threads) as pool:
            return [torch.from_numpy(wave) for wave in pool.map(effect, waves.numpy(), numbers)]


def _stretched(wave: Any, rate: float) -> Any:
    return istft(phase_vocoder(_centred_stft(wave), rate), round(len(wave) / rate))


def _shifted(wave: Any, semitones: float) -> Any:
    rate = 2.0 ** (-semitones / 12.0)
    return fitted(resample(_stretched(wave, rate), rate), len(wave))


def _percussive(wave: Any, _: None) -> Any:
    spectrum = _centred_stft(wave)
    return istft(spectrum * (1.0 - harmonic_mask(abs(spectrum))), len(wave))


def _centred_stft(wave: Any) -> Any:
    """`stft` with zeros beyond both ends, as in librosa's effects: (1 + n // 512, 1025)."""
    return stft(_with_zeros(wave, N_FFT // 2, N_FFT // 2))


def _with_zeros(wave: Any, n_before: int, n_behind: int) -> Any:
    if isinstance(wave, np.ndarray):
        return np.pad(wave, (n_before, n_behind))
    return functional.pad(wave, (n_before, n_behind))


def _polar(points: Any) -> tuple[Any, Any]:
    """Magnitudes, and phases as complex numbers of magnitude 1; the phase of silence is 1."""
    magnitude = abs(points)
    return magnitude, (points + _SILENT) * (1.0 / (magnitude + _SILENT))


def _added_up(frames: Any) -> Any:
    """Frames (n, 2048) added up at their places: (samples,) with half a window before the wave."""
    xp, _ = _libraries(frames)
    n_hops = N_FFT // HOP_LENGTH
    shape = (len(frames) + n_hops - 1, HOP_LENGTH)
    total = xp.zeros(shape, dtype=frames.dtype, device=frames.device)
    for hop in range(n_hops):
        columns = slice(hop * HOP_LENGTH, (hop + 1) * HOP_LENGTH)
        total[hop : hop + len(frames)] += frames[:, columns]
    return total.reshape(-1)


def _libraries(values: Any) -> tuple[Any, Any]:
    """What works on arrays, or on tensors: numpy and scipy.fft, or torch and torch.fft."""
    return (np, scipy.fft) if isinstance(values, np.ndarray) else (torch, torch.fft)


@lru_cache(maxsize=8)
def _window(device: Any) -> Any:
    """Periodic Hann window, float32: an array for numpy's device, else a tensor."""
    phase = 2.0 * np.pi * np.arange(N_FFT) / N_FFT
    window = (0.5 - 0.5 * np.cos(phase)).astype(np.float32)
    return window if isinstance(device, str) else torch.from_numpy(window).to(device)
