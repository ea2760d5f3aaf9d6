"""Short-time spectra on any device: mel filters, power spectrograms, decibels.

Everything here is float32 and batched. librosa is the reference these functions are tested
against; it is not imported, because its import and first call take seconds.
"""

from __future__ import annotations

import contextlib
from typing import Literal

import numpy as np
import torch
from torch import Tensor

MelScale = Literal["slaney", "htk"]

AMIN = 1e-10
"""The smallest power that is told from silence (librosa's `amin`): −100 dB."""


def mel_filters(
    sample_rate_hz: int,
    n_fft: int,
    n_mels: int,
    fmin_hz: float = 0.0,
    fmax_hz: float = 0.0,
    scale: MelScale = "slaney",
    norm: Literal["slaney"] | None = "slaney",
) -> Tensor:
    """Triangular mel filters over power bins, shape (n_mels, n_fft // 2 + 1), float32.

    `fmax_hz` of 0 means the Nyquist frequency. A filter narrower than the distance of two bins
    may come out empty (all zero); who needs every band checks for that.

    Source: Slaney, "Auditory Toolbox" (1998) for the scale that is linear below 1 kHz and for
    filters of equal area (`norm="slaney"`); O'Shaughnessy (1987) as in HTK for `scale="htk"`.
    Computed in float64, returned in float32.
    """
    top_hz = fmax_hz or sample_rate_hz / 2
    bins_hz = np.linspace(0.0, sample_rate_hz / 2, n_fft // 2 + 1)
    low, high = _to_mel(np.array([fmin_hz, top_hz]), scale)
    edges_hz = _to_hz(np.linspace(low, high, n_mels + 2), scale)
    width_hz = np.diff(edges_hz)
    ramps = edges_hz[:, None] - bins_hz[None, :]
    rising = -ramps[:-2] / width_hz[:-1, None]
    falling = ramps[2:] / width_hz[1:, None]
    weights = np.maximum(0.0, np.minimum(rising, falling))
    if norm == "slaney":
        weights *= (2.0 / (edges_hz[2:] - edges_hz[:-2]))[:, None]
    return torch.from_numpy(weights.astype(np.float32))


def power_spectrogram(wave: Tensor, n_fft: int, hop_length: int) -> Tensor:
    """Squared magnitudes, shape (batch, n_fft // 2 + 1, 1 + n // hop_length), of wave (batch, n).

    Periodic Hann window of n_fft samples, frames centred on multiples of the hop, zeros beyond
    both ends: what librosa.feature.melspectrogram does since version 0.10.
    """
    with full_precision(wave):
        window = torch.hann_window(n_fft, periodic=True, dtype=torch.float32, device=wave.device)
        spectrum = torch.stft(
            wave.float(),
            n_fft,
            hop_length,
            window=window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        return spectrum.real.square() + spectrum.imag.square()


def power_to_db(power: Tensor, top_db: float | None = 80.0) -> Tensor:
    """Decibels against a power of 1, same shape, at most `top_db` below each example's maximum.

    The first axis of `power` (batch, …) is the batch: every example has a maximum of its own, so
    that a batch equals its items. `top_db` of 0 or None leaves the floor at −100 dB.
    """
    with full_precision(power):
        decibels = 10.0 * torch.log10(power.float().clamp(min=AMIN))
        if top_db:
            loudest = decibels.flatten(1).amax(dim=1)
            floor = (loudest - top_db).reshape(-1, *[1] * (power.ndim - 1))
            decibels = torch.maximum(decibels, floor)
        return decibels


def full_precision(tensor: Tensor) -> contextlib.AbstractContextManager[object]:
    """A context in which autocast leaves float32 alone, on the tensor's device.

    bfloat16 keeps 8 bits: 1 dB steps at the top of a spectrogram, which is heard and learned.
    """
    kind = tensor.device.type
    if torch.amp.is_autocast_available(kind):
        return torch.autocast(kind, enabled=False)
    return contextlib.nullcontext()  # the meta device computes shapes only


# Slaney's scale: 3 mel per 200 Hz up to 1 kHz (15 mel), then 27 mel per factor of 6.4.
_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def _to_mel(hz: np.ndarray, scale: MelScale) -> np.ndarray:
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hz / 700.0)
    above = _BREAK_MEL + np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz < _BREAK_HZ, hz / _HZ_PER_MEL, above)


def _to_hz(mel: np.ndarray, scale: MelScale) -> np.ndarray:
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    above = _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(mel, _BREAK_MEL) - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * _HZ_PER_MEL, above)
