"""What changes a wave's tempo, pitch and parts: time stretch, resampling, percussive component.

float32 torch on any device; on the CPU, resampling and running medians are left to soxr and numpy,
which are faster there. librosa is the reference these functions are tested against.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import numpy as np
import scipy.fft
import soxr
import torch
from torch import Tensor
from torch.nn import functional

from genrecore import hpss
from genrecore.hpss import HOP_LENGTH, N_FFT, N_MEDIAN
from genrecore.spectral import full_precision

T = TypeVar("T")

_SILENT = 1e-18
"""A magnitude (−360 dB) added to all others, so that silence has a phase."""

_POINTS_AT_ONCE = {"cpu": 2**18}
"""Points of a spectrum at once: on the CPU what stays in its cache, elsewhere a GiB of them."""

_IN_WINDOWS = 2**27
"""Numbers in the windows of running medians at once on other devices than the CPU: half a GiB."""

_SPARE = 8192
"""Zeros behind a wave changed through its spectrum, so that its end and its start stay apart."""


def stft(waves: Tensor) -> Tensor:
    """Spectra (batch, 1 + n // 512, 1025), complex64, of waves (batch, n): frames come first.

    Periodic Hann window of 2048 samples, frames centred on multiples of 512, zeros beyond both
    ends: what librosa's effects do at their defaults.
    """
    with full_precision(waves):
        spectra = torch.stft(
            waves.float(),
            N_FFT,
            HOP_LENGTH,
            window=_window(waves.device),
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
    return spectra.transpose(1, 2)


def istft(spectra: Tensor, n_samples: int) -> Tensor:
    """The waves (batch, n_samples) whose `stft` comes closest to spectra (batch, frames, 1025).

    Source: Griffin & Lim (1984): windowed frames added up, over the sum of the squared window.
    """
    window = _window(spectra.device)
    hops = (-1, N_FFT // HOP_LENGTH, HOP_LENGTH)
    frames = torch.fft.irfft(spectra, N_FFT) * window
    n_frames = frames.shape[1]
    total = _added_up(frames.unflatten(2, hops[1:]), n_frames)
    weight = _added_up((window * window).view(1, *hops).expand(1, n_frames, -1, -1), n_frames)
    total /= weight.clamp(min=torch.finfo(torch.float32).tiny)
    return fitted(total[:, N_FFT // 2 :], n_samples)


def fitted(waves: Tensor, n_samples: int) -> Tensor:
    """Waves (…, n) cut to n_samples, or with zeros behind them."""
    return functional.pad(waves[..., :n_samples], (0, max(0, n_samples - waves.shape[-1])))


def time_stretch(wave: Tensor, rate: float) -> Tensor:
    """The wave (round(n / rate),) that is `rate` times as fast as wave (n,), at the same pitch.

    As librosa.effects.time_stretch at its defaults, without its loop over the frames.
    """
    with full_precision(wave):
        stretched = phase_vocoder(stft(wave[None])[0], rate)
        return istft(stretched[None], round(len(wave) / rate))[0]


def phase_vocoder(spectrum: Tensor, rate: float) -> Tensor:
    """Spectrum (ceil(frames / rate), bins) that passes by `rate` times as fast as (frames, bins).

    Source: Flanagan & Golden (1966), as librosa.phase_vocoder: magnitudes are interpolated between
    neighbouring frames, and every point's phase goes on from frame to frame by as much as it does
    there in the original. Ours adds no phases up: where one frame after the other is read, they
    are the original's own, and only where a frame is skipped or read twice does what follows turn.
    """
    places = np.arange(0, len(spectrum), rate)
    frames = np.append(places.astype(np.int64), len(spectrum))
    shares = torch.from_numpy((places % 1.0).astype(np.float32)).to(spectrum.device)[:, None]
    spectrum = functional.pad(spectrum, (0, 0, 0, 2))
    stretched = spectrum.new_empty(len(places), spectrum.shape[1])
    turn = spectrum.new_ones(1, spectrum.shape[1])
    few = max(1, _POINTS_AT_ONCE.get(spectrum.device.type, 2**27) // spectrum.shape[1])
    for start in range(0, len(places), few):
        # The frames of this block and the first of the next; of the originals those that they need.
        mine = frames[start : start + few + 1]
        first, last = mine[0], max(mine[-1], mine[-2] + 1)
        magnitude, phase = _polar(spectrum[first : last + 1])
        current = torch.from_numpy(mine - first).to(spectrum.device)
        leaps = torch.from_numpy(np.flatnonzero(np.diff(mine) != 1)).to(spectrum.device)
        _, turns = _polar(phase[current[leaps] + 1] * phase[current[leaps + 1]].conj())
        turns = torch.cat([turn, turns]).cumprod(0)
        turn = turns[-1:]
        n_turns = torch.searchsorted(leaps, torch.arange(len(mine) - 1, device=spectrum.device))
        current = current[:-1]
        strength = magnitude.index_select(0, current).lerp(
            magnitude.index_select(0, current + 1), shares[start : start + few]
        )
        torch.mul(
            phase.index_select(0, current).mul_(strength.to(phase.dtype)),
            turns.index_select(0, n_turns),
            out=stretched[start : start + few],
        )
    return stretched


def _polar(points: Tensor) -> tuple[Tensor, Tensor]:
    """Magnitudes, and phases as complex numbers of magnitude 1; the phase of silence is 1."""
    squares = torch.view_as_real(points).square()  # several times as fast as abs()
    magnitude = (squares[..., 0] + squares[..., 1]).sqrt_()
    return magnitude, (points + _SILENT) * (magnitude + _SILENT).reciprocal_().to(points.dtype)


def resample(wave: Tensor, ratio: float) -> Tensor:
    """The same sound at `ratio` times the sample rate, (ceil(n * ratio),), of wave (n,).

    On the CPU soxr's HQ filter, which librosa takes too; elsewhere by the spectrum of the whole
    wave. They differ in the last tenth below half of the lower sample rate, where soxr fades.
    """
    n_samples = math.ceil(len(wave) * ratio)
    if wave.device.type != "cpu":
        return fitted(_resampled_by_spectrum(wave, ratio), n_samples)
    made = soxr.resample(wave.float().numpy(), 1.0 / ratio, 1.0, "HQ")
    return fitted(torch.from_numpy(made), n_samples)


def _resampled_by_spectrum(wave: Tensor, ratio: float) -> Tensor:
    # Of a thousand lengths the one whose multiple is nearest to a whole number of samples.
    lengths = len(wave) + _SPARE + np.arange(1000)
    n_before = int(lengths[np.argmin(np.abs(lengths * ratio - np.rint(lengths * ratio)))])
    n_after = round(n_before * ratio)
    with full_precision(wave):
        spectrum = torch.fft.rfft(wave.float(), n_before)
        return torch.fft.irfft(spectrum, n_after) * (n_after / n_before)


def pitch_shift(waves: Tensor, semitones: Sequence[float]) -> Tensor:
    """Waves (batch, n), each so many semitones higher at the same tempo.

    As librosa.effects.pitch_shift: stretched in time, then resampled to the old length.
    """
    rates = [2.0 ** (-steps / 12.0) for steps in semitones]
    stretched = ((time_stretch(*one), one[1]) for one in zip(waves, rates, strict=True))
    shifted = _in_threads(lambda one: resample(*one), stretched, waves.device)
    return torch.stack([fitted(one, waves.shape[-1]) for one in shifted])


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


def percussive(waves: Tensor) -> Tensor:
    """The percussive component (batch, n) of waves (batch, n): their blows without their tones.

    Source: Fitzgerald (2010), as librosa.effects.percussive at its defaults.
    """
    made = []
    with full_precision(waves):
        for few in waves.split(torch.get_num_threads()):
            spectra = stft(few)
            masks = _in_threads(_harmonic_mask, (_polar(one)[0] for one in spectra), waves.device)
            spectra = spectra * (1.0 - torch.stack(masks)).to(spectra.dtype)
            made.append(istft(spectra, waves.shape[-1]))
    return torch.cat(made)


def _in_threads(
    of: Callable[[T], Tensor], items: Iterable[T], device: torch.device
) -> list[Tensor]:
    """What `of` makes of the items: on the CPU, where it is numpy's or soxr's work, in threads."""
    n_threads = torch.get_num_threads() if device.type == "cpu" else 1
    if n_threads == 1:
        return [of(item) for item in items]
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(of, items))


def _harmonic_mask(magnitude: Tensor) -> Tensor:
    """`hpss.harmonic_mask` on the magnitude's device."""
    if magnitude.device.type == "cpu":
        return torch.from_numpy(hpss.harmonic_mask(magnitude.numpy()))
    return _harmonic_mask_by_windows(magnitude)


def _harmonic_mask_by_windows(magnitude: Tensor) -> Tensor:
    along_time, along_frequency = (running_median(magnitude, axis) for axis in (0, 1))
    ratio = along_frequency / along_time
    return torch.nan_to_num(1.0 / (1.0 + ratio * ratio), nan=0.5)  # 0 / 0: half to each


def running_median(values: Tensor, axis: int) -> Tensor:
    """Medians of 31 neighbours along one axis of (rows, columns), mirrored at its ends.

    The same numbers as `hpss.running_median`; this one sorts every window by itself, in as many
    threads as the device has.
    """
    rows = values.movedim(axis, -1)
    n = rows.shape[-1]
    mirrored = np.pad(np.arange(n), N_MEDIAN // 2, mode="symmetric")
    windows = rows[:, torch.from_numpy(mirrored).to(rows.device)].unfold(-1, N_MEDIAN, 1)
    few = max(1, _IN_WINDOWS // (n * N_MEDIAN))
    return torch.cat([part.median(-1).values for part in windows.split(few)]).movedim(-1, axis)


def _added_up(frames: Tensor, n_frames: int) -> Tensor:
    """Frames (batch, n_frames, hops, 512) added up at their places: (batch, samples)."""
    n_hops = frames.shape[2]
    total = frames.new_zeros(len(frames), n_frames + n_hops - 1, HOP_LENGTH)
    for hop in range(n_hops):
        total[:, hop : hop + n_frames] += frames[:, :, hop]
    return total.flatten(1)


@lru_cache(maxsize=8)
def _window(device: torch.device) -> Tensor:
    """Periodic Hann window, float32, on a device."""
    return torch.hann_window(N_FFT, periodic=True, dtype=torch.float32, device=device)
