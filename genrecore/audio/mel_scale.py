"""The mel scale in questions a person asks: which bands answer a tone, how many lie in a range."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from genrecore.audio.spectra import MelScale, from_mel, mel_edges, to_mel

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
        """The bands, counted from 0, that a tone reaches: two, but one at either end and on a
        band's middle, and none beyond."""
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
