"""Acoustic fingerprints: bits that name a recording, whatever was done to its file.

Sub-fingerprints after Haitsma & Kalker, A highly robust audio fingerprinting system, ISMIR 2002: 32
bits every 11.6 ms, the signs of how the energy differences between 33 neighbouring bands change
from one frame to the next. Gain cancels, lossy coding and resampling turn few of the signs, and a
cut only shifts them. Ours differs in three ways: frames that hold too little (silence, steady
tones) are marked and match nothing; bits are compared by their correlation instead of their error
rate, and of very many frames a sample is indexed that their own content chooses (both in
`data.audit.near_copies`).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import scipy.fft

VERSION = 1
"""Raised whenever the same wave would get another fingerprint, so that stored ones are not read."""

_RATE_HZ = Fraction(11_025, 2)  # all that matters lies below 2 kHz
_N_WINDOW = 2048  # 0.37 s; neighbouring frames overlap by 31/32, so that half a hop changes little
_HOP = 64
HOP_S = float(_HOP / _RATE_HZ)
WINDOW_S = float(_N_WINDOW / _RATE_HZ)
SHORTEST_S = 1.9
"""Shortest stretch of changing sound by which a clip can be recognised, in seconds: a cut of 2 s is
found wherever it was made."""

SHORTEST = int((SHORTEST_S - WINDOW_S) / HOP_S)
"""The frames of that stretch: the first and the last reach half a window beyond their middle."""

_BANDS_HZ = (300.0, 2000.0)
_BINS = np.rint(np.geomspace(*_BANDS_HZ, 34) / float(_RATE_HZ) * _N_WINDOW).astype(int)
# A frame says nothing below this energy (−80 dBFS of white noise), this share of the clip's
# loudest frame, or this relative change: music changes by 0.02 to 0.5, noise by 0.05, a steady
# chord by 1e-6 and a hum of 50 Hz by 6e-4 (only rounding is left there, the same in every clip).
_LEAST_ENERGY, _LEAST_SHARE, _LEAST_CHANGE = 1e-3, 1e-6, 3e-3


def fingerprint(wave: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """The fingerprint (n_frames,) uint32 of a mono wave (n_samples,): one value every 11.6 ms.

    Bit m of a frame is set where the energy of band m less that of band m + 1 has grown since the
    frame before. A value of 0 marks a frame that says nothing. A wave of less than 0.4 s has none.
    The sample rate may be any; 30 s take about 40 ms and 10 kB.
    """
    energies = _band_energies(wave, sample_rate_hz)
    if len(energies) < 2:
        return np.zeros(0, np.uint32)
    change = np.diff(energies[:, :-1] - energies[:, 1:], axis=0)
    bits = np.packbits(change > 0, axis=1, bitorder="little")
    values = np.ascontiguousarray(bits).view("<u4")[:, 0].astype(np.uint32)
    total = energies.sum(axis=1)
    energy = np.maximum(total[1:], total[:-1])
    says = (energy > max(_LEAST_ENERGY, _LEAST_SHARE * float(energy.max()))) & (
        np.abs(change).sum(axis=1) > _LEAST_CHANGE * energy
    )
    values[~says] = 0
    return values


def is_usable(print_: np.ndarray) -> bool:
    """Whether a clip with this fingerprint can be recognised at all."""
    return int(np.count_nonzero(print_)) >= SHORTEST


def _band_energies(wave: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Energies (n_frames, 33) float32 in bands spaced evenly in pitch from 300 Hz to 2 kHz."""
    from scipy import signal  # half a second that every other command and run does without

    ratio = _RATE_HZ / sample_rate_hz
    low = signal.resample_poly(
        wave.astype(np.float32, copy=False), ratio.numerator, ratio.denominator
    )
    if len(low) < _N_WINDOW:
        return np.zeros((0, len(_BINS) - 1), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(low, _N_WINDOW)[::_HOP]
    window = signal.get_window("hann", _N_WINDOW).astype(np.float32)
    energies = np.empty((len(frames), len(_BINS) - 1), np.float32)
    for first in range(0, len(frames), 256):  # the spectra of a long clip would fill the memory
        block = slice(first, first + 256)
        spectrum = scipy.fft.rfft(frames[block] * window, axis=1)[:, _BINS[0] : _BINS[-1]]
        power = spectrum.real**2 + spectrum.imag**2
        energies[block] = np.add.reduceat(power, _BINS[:-1] - _BINS[0], axis=1)
    return energies
