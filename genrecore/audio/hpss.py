"""Harmonic and percussive parts of a wave, by running medians over its spectrogram.

Tones are lines along time, blows lines along frequency. A running median along time keeps the
first and wipes out the second, one along frequency does the opposite; comparing the two gives a
mask. numpy and scipy on one core; librosa's `effects.hpss` is what this is tested against.

Source: Fitzgerald, "Harmonic/percussive separation using median filtering", DAFx 2010, with soft
masks of power 2 and a median of 31 frames or bins, as librosa's defaults.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
import scipy.fft

N_FFT = 2048
HOP_LENGTH = 512
N_MEDIAN = 31
"""Frames or bins under a running median: a power of two less one."""

_AT_ONCE = 2**18  # numbers in the running median: what is compared stays in the cache


def stft(wave: np.ndarray, padding: Literal["reflect", "constant"] = "reflect") -> np.ndarray:
    """Spectrum of a wave (n_samples,) float32: shape (1 + n_samples // 512, 1025), complex64.

    Periodic Hann window of 2 048 samples, frames centred on multiples of 512. Beyond both ends
    stands the wave reflected, as zeros would be heard as a blow; or zeros, as in librosa's effects.
    Frames come first, other than in librosa.
    """
    padded = np.pad(wave, N_FFT // 2, mode=padding)
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP_LENGTH]
    return scipy.fft.rfft(frames * _window(), axis=1)


def istft(spectrum: np.ndarray, n_samples: int) -> np.ndarray:
    """The wave (n_samples,) float32 whose `stft` comes closest to a spectrum (frames, 1025).

    Source: Griffin & Lim, 1984: windowed frames added up, over the sum of the squared window.
    """
    window = _window()
    frames = scipy.fft.irfft(spectrum, N_FFT, axis=1)
    frames *= window
    inside = slice(N_FFT // 2, N_FFT // 2 + n_samples)
    return _added_up(frames)[inside] / _added_up(np.broadcast_to(window**2, frames.shape))[inside]


def harmonic_mask(magnitude: np.ndarray) -> np.ndarray:
    """How much of each point is harmonic, 0 to 1, float32, for a magnitude (frames, bins).

    What is not harmonic is percussive: the percussive mask is 1 minus this. Where both medians
    are 0, each gets half.
    """
    along_time = running_median(magnitude, axis=0)
    along_frequency = running_median(magnitude, axis=1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.divide(along_frequency, along_time, out=along_time)
        ratio *= ratio
        ratio += 1.0
        mask = np.divide(1.0, ratio, out=ratio)
    mask[np.isnan(mask)] = 0.5  # 0 / 0
    return mask


def separate(wave: np.ndarray, spectrum: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Harmonic and percussive wave, each (n_samples,) float32; they add up to the wave.

    Args:
        wave: Mono, (n_samples,) float32.
        spectrum: Its `stft`.
    """
    harmonic = istft(spectrum * harmonic_mask(np.abs(spectrum)), len(wave))
    return harmonic, wave - harmonic


def running_median(values: np.ndarray, axis: int) -> np.ndarray:
    """Medians of 31 neighbours along one axis of an array with two, mirrored at its ends.

    Exactly scipy.ndimage.median_filter with mode="reflect", many times as fast because neighbouring
    windows share their sorting. The 16 windows that hold the same 16 rows sort them once; half of
    those windows hold the 8 rows before as well, the other half the 8 rows after; and so on with
    4, 2 and 1. After each merging only the ranks that can still become the median are kept. All of
    it is elementwise minima and maxima of long runs, which releases the lock.

    Args:
        values: Finite numbers, shape (rows, columns).
        axis: Along which the window runs.
    """
    medians = np.empty_like(values)
    rows, target = (values, medians) if axis == 0 else (values.T, medians.T)
    n_rows, n_columns = rows.shape
    n_core = (N_MEDIAN + 1) // 2
    n_groups = -(-n_rows // n_core)
    mirrored = np.pad(np.arange(n_rows), N_MEDIAN // 2, mode="symmetric")
    # Blocks of n_core rows; the windows of group g are those that hold all of block g + 1.
    places = np.arange(-1, (n_groups + 2) * n_core - 1).reshape(n_groups + 2, n_core)
    source = mirrored.take(places, mode="clip").T[:, None]
    columns_at_once = max(1, _AT_ONCE // source.size)
    for first in range(0, n_columns, columns_at_once):
        some = slice(first, first + columns_at_once)
        # (place in the block, 1, block, column): each comparison is one long run in memory.
        blocks = rows[:, some].take(source, axis=0)
        found = np.empty((n_groups, n_core, blocks.shape[-1]), values.dtype)
        _medians(blocks, found)
        target[:, some] = found.reshape(n_groups * n_core, -1)[:n_rows]
    return medians


def _medians(rows: np.ndarray, out: np.ndarray) -> None:
    """Fills out (groups, windows, columns) from rows (n_core, 1, groups + 2, columns)."""
    n_core, n_groups = len(rows), len(out)
    levels = {1: rows}  # by the number of rows sorted together: (part of the block, rank, …)
    while (length := max(levels)) < n_core:
        levels[2 * length] = _merged(levels[length])

    def neighbours(first_row: int, n: int) -> np.ndarray:
        block, part = divmod(first_row // n, n_core // n)
        return levels[n][part][:, block : block + n_groups]

    def descend(core: np.ndarray, start: int, end: int, window: int) -> None:
        n = len(core) // 2
        if n == 0:
            out[:, window] = core[0]
            return
        descend(_middle(core, neighbours(start - n, n)), start - n, end, window)
        descend(_middle(core, neighbours(end, n)), start, end + n, window + n)

    descend(levels[n_core][0][:, 1 : n_groups + 1], n_core, 2 * n_core, 0)


def _merged(parts: np.ndarray) -> np.ndarray:
    """Neighbouring sorted parts (n, k, …) merged into sorted ones (n / 2, 2 k, …)."""
    n, k, *rest = parts.shape
    halves = np.empty((n // 2, 2, k, *rest), parts.dtype)
    np.minimum(parts[0::2], parts[1::2, ::-1], out=halves[:, 0])
    np.maximum(parts[0::2], parts[1::2, ::-1], out=halves[:, 1])
    return _in_order(halves.reshape(n, k, *rest)).reshape(n // 2, 2 * k, *rest)


def _middle(core: np.ndarray, more: np.ndarray) -> np.ndarray:
    """The k middle ranks, sorted, of 2 k sorted rows and k sorted rows."""
    k = len(more)
    kept = np.minimum(core[k:], more[::-1])
    np.maximum(kept, core[:k], out=kept)
    return _in_order(kept[None])[0]


def _in_order(parts: np.ndarray) -> np.ndarray:
    """Sorts parts (n, k, …) that each rise and then fall, or the reverse, along axis 1.

    Source: Batcher, "Sorting networks and their applications", 1968.
    """
    n, k, *rest = parts.shape
    half = k // 2
    while half:
        pairs = parts.reshape(-1, 2, half, *rest)
        parts = np.empty_like(pairs)
        np.minimum(pairs[:, 0], pairs[:, 1], out=parts[:, 0])
        np.maximum(pairs[:, 0], pairs[:, 1], out=parts[:, 1])
        half //= 2
    return parts.reshape(n, k, *rest)


def _added_up(frames: np.ndarray) -> np.ndarray:
    """Frames (n, 2048) added up at their places: (samples,) with half a window before the wave."""
    n_hops = N_FFT // HOP_LENGTH
    total = np.zeros((len(frames) + n_hops - 1, HOP_LENGTH), np.float32)
    for hop in range(n_hops):
        columns = slice(hop * HOP_LENGTH, (hop + 1) * HOP_LENGTH)
        total[hop : hop + len(frames)] += frames[:, columns]
    return total.reshape(-1)


@cache
def _window() -> np.ndarray:
    """Periodic Hann window, float32."""
    phase = 2.0 * np.pi * np.arange(N_FFT) / N_FFT
    return (0.5 - 0.5 * np.cos(phase)).astype(np.float32)
