"""How loud a sound is, and its outline."""

from __future__ import annotations

import math

import numpy as np
from scipy.signal import lfilter

_BLOCK_S, _STEP_S = 0.4, 0.1
_SILENT_LUFS = -70.0  # blocks below it never count
_QUIET_LU = 10.0  # nor do blocks this far below the mean of the others
_OFFSET_DB = -0.691  # so that a full-scale sine of 997 Hz has −3.01 LUFS
# Analogue prototypes of the two filters of BS.1770: frequency (Hz), Q and gain (dB).
_SHELF = (1681.974450955533, 0.7071752369554196, 3.999843853973347)
_HIGH_PASS = (38.13547087602444, 0.5003270373238773)


def loudness_lufs(wave: np.ndarray, sample_rate_hz: int) -> float:
    """Integrated loudness of a mono wave (n_samples,), in LUFS; −inf for silence.

    Source: ITU-R BS.1770-4, its filters designed for any sample rate as in De Man (2014),
    "Evaluation of implementations of the EBU R128 loudness measurement". A wave shorter than a
    block of 0.4 s is one block.
    """
    filtered = np.asarray(wave, dtype=np.float64)
    for b, a in (_shelf(sample_rate_hz), _high_pass(sample_rate_hz)):
        filtered = lfilter(b, a, filtered)
    if not len(filtered):
        return -math.inf
    energy = np.concatenate([[0.0], np.cumsum(filtered**2)])
    n_block = min(len(filtered), round(_BLOCK_S * sample_rate_hz))
    starts = np.arange(0, len(filtered) - n_block + 1, max(1, round(_STEP_S * sample_rate_hz)))
    power = np.maximum(energy[starts + n_block] - energy[starts], 0.0) / n_block
    for _ in range(2):  # first without silence, then without what is quiet against the rest
        power = power[power > _power(_SILENT_LUFS)]
        if not len(power):
            return -math.inf
        power = power[power > power.mean() * 10 ** (-_QUIET_LU / 10)]
    return float(_OFFSET_DB + 10 * np.log10(power.mean()))


def envelope(wave: np.ndarray, n_most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lowest and the highest sample of each of at most `n_most` stretches of a wave
    (n_samples,), and the position of each stretch's first sample."""
    if not len(wave):
        return np.zeros(1), np.zeros(1), np.zeros(1, dtype=int)
    starts = np.linspace(0, len(wave), min(n_most, len(wave)) + 1).astype(int)[:-1]
    return np.minimum.reduceat(wave, starts), np.maximum.reduceat(wave, starts), starts


def _power(lufs: float) -> float:
    return float(10 ** ((lufs - _OFFSET_DB) / 10))


def _shelf(sample_rate_hz: int) -> tuple[list[float], list[float]]:
    """(b, a) of the high shelf, which stands for the head."""
    hz, q, gain_db = _SHELF
    k = math.tan(math.pi * hz / sample_rate_hz)
    high = 10 ** (gain_db / 20)
    middle = high**0.4996667741545416
    a0 = 1 + k / q + k * k
    b = [high + middle * k / q + k * k, 2 * (k * k - high), high - middle * k / q + k * k]
    return [value / a0 for value in b], [1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]


def _high_pass(sample_rate_hz: int) -> tuple[list[float], list[float]]:
    """(b, a) of the high-pass, which stands for the ear's dullness for low tones."""
    hz, q = _HIGH_PASS
    k = math.tan(math.pi * hz / sample_rate_hz)
    a0 = 1 + k / q + k * k
    return [1.0, -2.0, 1.0], [1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]
