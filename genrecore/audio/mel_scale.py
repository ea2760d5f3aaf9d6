"""The mel scale: frequencies in mels, bands, and which of them a tone or a range reaches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

MelScale = Literal["slaney", "htk"]

_HIGH_HZ = 4000.0
_LOW_HZ = 100.0


@dataclass(frozen=True)
class MelBank:
    """Mel bands between two frequencies."""

    n_mels: int
    fmin_hz: float
    fmax_hz: float
    scale: MelScale

    @cached_property
    def edges_hz(self) -> np.ndarray:
        """(n_mels + 2,); band k, counted from 0, reaches from edge k to edge k + 2."""
        return mel_edges(self.n_mels, self.fmin_hz, self.fmax_hz, self.scale)

    def weights(self, hz: np.ndarray) -> np.ndarray:
        """How much each band takes of tones (n,), at most 1: (n_mels, n)."""
        width_hz = np.diff(self.edges_hz)[:, None]
        ramps = self.edges_hz[:, None] - hz[None, :]
        return np.maximum(0.0, np.minimum(-ramps[:-2] / width_hz[:-1], ramps[2:] / width_hz[1:]))

    def answering(self, tone_hz: float) -> list[int]:
        """The bands, counted from 0, that a tone reaches: at most two."""
        return np.flatnonzero(self.weights(np.array([tone_hz]))[:, 0]).tolist()

    def below(self, hz: np.ndarray) -> np.ndarray:
        """How many bands lie below frequencies, same shape: 0 at the lowest, `n_mels` at the
        highest."""
        low, high = to_mel(np.array([self.fmin_hz, self.fmax_hz]), self.scale)
        return self.n_mels * (to_mel(hz, self.scale) - low) / (high - low)

    def between(self, low_hz: float, high_hz: float) -> float:
        """How many bands lie between two frequencies."""
        low, high = self.below(np.array([low_hz, high_hz]))
        return float(high - low)


def octave_elsewhere(tone_hz: float, scale: MelScale) -> tuple[float, float]:
    """Another range (from, to) in Hz that has as many bands as the octave above a tone.

    It begins at 4 000 Hz for a tone below 1 000 Hz, else at 100 Hz.
    """
    begin_hz = _HIGH_HZ if tone_hz < 1000.0 else _LOW_HZ
    low, high, begin = to_mel(np.array([tone_hz, 2.0 * tone_hz, begin_hz]), scale)
    return begin_hz, float(from_mel(begin + high - low, scale))


# Slaney's scale: 3 mel per 200 Hz up to 1 kHz (15 mel), then 27 mel per factor of 6.4.
_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def mel_edges(n_mels: int, fmin_hz: float, fmax_hz: float, scale: MelScale) -> np.ndarray:
    """Edges of mel bands in Hz, (n_mels + 2,) float64: band k rises from edge k to edge k + 1 and
    falls to edge k + 2."""
    low, high = to_mel(np.array([fmin_hz, fmax_hz]), scale)
    return from_mel(np.linspace(low, high, n_mels + 2), scale)


def to_mel(hz: np.ndarray, scale: MelScale) -> np.ndarray:
    """Frequencies in Hz on a mel scale, same shape; 1 000 Hz is 15 mel on Slaney's, 1 000 on HTK's.

    Sources as `spectra.mel_filters`.
    """
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hz / 700.0)
    above = _BREAK_MEL + np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz < _BREAK_HZ, hz / _HZ_PER_MEL, above)


def from_mel(mel: np.ndarray, scale: MelScale) -> np.ndarray:
    """The inverse of `to_mel`: frequencies in Hz, same shape."""
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    above = _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(mel, _BREAK_MEL) - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * _HZ_PER_MEL, above)
