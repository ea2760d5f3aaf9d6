"""What changes a wave's tempo, pitch and parts: time stretch, resampling, percussive component.

On the CPU numpy, scipy and soxr do it, an example a thread: their threads never wait for one
another, as torch's do after every step, which costs a multiple where other processes want a core.
On other devices torch does it. librosa is the reference that both are tested against.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import scipy.fft
import soxr
import torch
from torch import Tensor
from torch.nn import functional

from genrecore.audio import hpss
from genrecore.audio.hpss import HOP_LENGTH, N_FFT, N_MEDIAN
from genrecore.audio.spectra import full_precision

_SILENT = 1e-18
"""A magnitude (−360 dB) added to all others, so that silence has a phase."""

_FRAMES_AT_ONCE = 128
"""Frames that the phase vocoder works on at once on the CPU: what stays in a core's cache."""

_IN_WINDOWS = 2**27
"""Numbers in the windows of running medians at once on other devices than the CPU: half a GiB."""

_SPARE = 8192
"""Zeros behind a wave changed through its spectrum, so that its end and its start stay apart."""


@dataclass(frozen=True)
class _Tools:
    """What the effects are made of, for waves (n,) that are arrays or tensors alike."""

    stft: Callable[[Any], Any]
    istft: Callable[[Any, int], Any]
    harmonic_mask: Callable[[Any], Any]
    resample: Callable[[Any, float], Any]
    fitted: Callable[[Any, int], Any]


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


def fitted(wave: Tensor, n_samples: int) -> Tensor:
    """A wave (n,) cut to n_samples, or with zeros behind it."""
    return functional.pad(wave[:n_samples], (0, max(0, n_samples - len(wave))))


def _each(of: Callable[[_Tools, Any, Any], Any], waves: Tensor, numbers: Sequence[Any]) -> list:
    """What `of` makes of every wave and its number, float32."""
    with full_precision(waves):
        waves = waves.float()
        if waves.device.type != "cpu":
            return [of(_TENSORS, *one) for one in zip(waves, numbers, strict=True)]
        n_threads = max(1, min(len(waves), torch.get_num_threads()))
        with ThreadPoolExecutor(n_threads) as pool:
            made = list(pool.map(partial(of, _ARRAYS), waves.numpy(), numbers))
        return [torch.from_numpy(one) for one in made]


def _stretched(tools: _Tools, wave: Any, rate: float) -> Any:
    return tools.istft(phase_vocoder(tools.stft(wave), rate), round(len(wave) / rate))


def _shifted(tools: _Tools, wave: Any, semitones: float) -> Any:
    rate = 2.0 ** (-semitones / 12.0)
    return tools.fitted(tools.resample(_stretched(tools, wave, rate), rate), len(wave))


def _percussive(tools: _Tools, wave: Any, _: None) -> Any:
    spectrum = tools.stft(wave)
    return tools.istft(spectrum * (1.0 - tools.harmonic_mask(abs(spectrum))), len(wave))


def phase_vocoder(spectrum: Any, rate: float) -> Any:
    """Spectrum (ceil(frames / rate), bins) that passes by `rate` times as fast as (frames, bins).

    An array makes an array and a tensor a tensor. Source: Flanagan & Golden (1966), as
    librosa.phase_vocoder: magnitudes are interpolated between neighbouring frames, and every
    point's phase goes on from frame to frame by as much as it does there in the original. Ours
    adds no phases up: where one frame after the other is read, they are the original's own, and
    only where a frame is skipped or read twice does what follows turn.
    """
    xp: Any = np if isinstance(spectrum, np.ndarray) else torch
    places = np.arange(0, len(spectrum), rate)
    frames = np.append(places.astype(np.int64), len(spectrum))
    shares = xp.asarray((places % 1.0).astype(np.float32)[:, None], device=spectrum.device)
    spectrum = xp.concatenate([spectrum, xp.zeros_like(spectrum[:2])])
    turn = xp.ones_like(spectrum[:1])
    few = _FRAMES_AT_ONCE if str(spectrum.device) == "cpu" else len(places)
    stretched = []
    for start in range(0, len(places), few):
        # The frames of this block and the first of the next; of the originals those that they need.
        mine = frames[start : start + few + 1]
        first, last = mine[0], max(mine[-1], mine[-2] + 1)
        magnitude, phase = _polar(spectrum[first : last + 1])
        current = mine - first
        leaps = np.flatnonzero(np.diff(mine) != 1)
        _, turns = _polar(phase[current[leaps] + 1] * phase[current[leaps + 1]].conj())
        turns = xp.cumprod(xp.concatenate([turn, turns]), 0)
        turn = turns[-1:]
        share, current = shares[start : start + few], current[:-1]
        strength = (1.0 - share) * magnitude[current] + share * magnitude[current + 1]
        n_turns = np.searchsorted(leaps, np.arange(len(current)))
        stretched.append(phase[current] * strength * turns[n_turns])
    return xp.concatenate(stretched)


def _polar(points: Any) -> tuple[Any, Any]:
    """Magnitudes, and phases as complex numbers of magnitude 1; the phase of silence is 1."""
    magnitude = abs(points)
    return magnitude, (points + _SILENT) * (1.0 / (magnitude + _SILENT))


def _resampled_by_soxr(wave: np.ndarray, ratio: float) -> np.ndarray:
    """At `ratio` times the sample rate, with the filter that librosa takes too."""
    return soxr.resample(wave, 1.0 / ratio, 1.0, "HQ")


def _resampled_by_spectrum(wave: Tensor, ratio: float) -> Tensor:
    """The same through the spectrum of the whole wave, where soxr cannot work.

    They differ in the last tenth below half of the lower sample rate, where soxr fades out.
    """
    # Of a thousand lengths the one whose multiple is nearest to a whole number of samples.
    lengths = len(wave) + _SPARE + np.arange(1000)
    n_before = int(lengths[np.argmin(np.abs(lengths * ratio - np.rint(lengths * ratio)))])
    n_after = round(n_before * ratio)
    spectrum = torch.fft.rfft(wave, n_before)
    made = torch.fft.irfft(spectrum, n_after) * (n_after / n_before)
    return made[: math.ceil(len(wave) * ratio)]


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


def _stft(wave: Tensor) -> Tensor:
    """`hpss.stft` with zeros beyond both ends, as librosa has them, on any device."""
    spectrum = torch.stft(
        wave,
        N_FFT,
        HOP_LENGTH,
        window=_window(wave.device),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    return spectrum.T


def _istft(spectrum: Tensor, n_samples: int) -> Tensor:
    """`hpss.istft` on any device."""
    window = _window(spectrum.device)
    frames = torch.fft.irfft(spectrum, N_FFT) * window
    inside = slice(N_FFT // 2, N_FFT // 2 + n_samples)
    weight = _added_up((window * window).expand(len(frames), -1))
    return _added_up(frames)[inside] / weight[inside]


def _added_up(frames: Tensor) -> Tensor:
    """Frames (n, 2048) added up at their places: (samples,) with half a window before the wave."""
    total = frames.new_zeros(len(frames) + N_FFT // HOP_LENGTH - 1, HOP_LENGTH)
    for hop, part in enumerate(frames.split(HOP_LENGTH, dim=1)):
        total[hop : hop + len(frames)] += part
    return total.flatten()


@lru_cache(maxsize=8)
def _window(device: torch.device) -> Tensor:
    """Periodic Hann window, float32, on a device."""
    return torch.hann_window(N_FFT, periodic=True, dtype=torch.float32, device=device)


def _harmonic_mask(magnitude: Tensor) -> Tensor:
    """`hpss.harmonic_mask` on any device."""
    along_time, along_frequency = (_running_median(magnitude, axis) for axis in (0, 1))
    ratio = along_frequency / along_time
    return torch.nan_to_num(1.0 / (1.0 + ratio * ratio), nan=0.5)  # 0 / 0: half to each


def _running_median(values: Tensor, axis: int) -> Tensor:
    """`hpss.running_median` of 31 on any device; this one sorts every window by itself, in as many
    threads as a device has."""
    rows = values.movedim(axis, -1)
    n = rows.shape[-1]
    mirrored = np.pad(np.arange(n), N_MEDIAN // 2, mode="symmetric")
    windows = rows[:, torch.from_numpy(mirrored).to(rows.device)].unfold(-1, N_MEDIAN, 1)
    few = max(1, _IN_WINDOWS // (n * N_MEDIAN))
    return torch.cat([part.median(-1).values for part in windows.split(few)]).movedim(-1, axis)


def _fitted_array(wave: np.ndarray, n_samples: int) -> np.ndarray:
    return np.pad(wave[:n_samples], (0, max(0, n_samples - len(wave))))


_ARRAYS = _Tools(
    partial(hpss.stft, padding="constant"),
    hpss.istft,
    hpss.harmonic_mask,
    _resampled_by_soxr,
    _fitted_array,
)
_TENSORS = _Tools(_stft, _istft, _harmonic_mask, _resampled_by_spectrum, fitted)
