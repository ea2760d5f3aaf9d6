"""Sound of a part of a picture: the clip's own spectrum, masked, with the clip's own phase."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

_SOFT = 1.0  # rows and columns by which a mask's edges are blurred: hard ones ring


def strongest(relevance: np.ndarray, share: float) -> np.ndarray:
    """A mask (rows, columns) float in 0 … 1 of the places that speak most for a genre.

    Args:
        relevance: (rows, columns); what speaks against the genre is negative and never kept.
        share: Of the picture that is kept, 0 … 1.
    """
    positive = np.maximum(relevance, 0.0)
    n_kept = max(1, round(share * positive.size))
    least = np.sort(positive, axis=None)[-n_kept]
    chosen = ((positive >= least) & (positive > 0)).astype(np.float64)
    blur = [_SOFT if n > 4 else 0.0 for n in chosen.shape]
    return np.asarray(gaussian_filter(chosen, blur))


def split(
    wave: np.ndarray,
    sample_rate_hz: int,
    mask: np.ndarray,
    times_s: np.ndarray,
    centres_hz: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """(what the mask keeps, the rest) of a mono wave (n_samples,), float32; their sum is the wave.

    Args:
        wave: The clip.
        sample_rate_hz: Of the wave.
        mask: (rows, columns) in 0 … 1.
        times_s: The middle of each column in the wave, rising.
        centres_hz: The middle of each row, rising; None where a row is no frequency, so that a
            column is kept or not as a whole.
    """
    n_fft = 2 ** round(np.log2(0.093 * sample_rate_hz))
    hop = n_fft // 4
    window = torch.hann_window(n_fft)
    given = torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))
    with torch.no_grad():
        spectrum = torch.stft(
            given, n_fft, hop, window=window, pad_mode="constant", return_complex=True
        )
        frames_s = np.arange(spectrum.shape[1]) * hop / sample_rate_hz
        if centres_hz is None:
            mask, centres_hz = mask.max(axis=0, keepdims=True), np.zeros(1)
        over_time = np.stack([np.interp(frames_s, times_s, row) for row in mask])
        bins_hz = np.arange(spectrum.shape[0]) * sample_rate_hz / n_fft
        place = np.interp(bins_hz, centres_hz, np.arange(len(centres_hz)))
        low = np.floor(place).astype(int)
        high = np.minimum(low + 1, len(centres_hz) - 1)
        part = (place - low)[:, None]
        grid = (1 - part) * over_time[low] + part * over_time[high]
        kept = torch.istft(
            spectrum * torch.from_numpy(grid.astype(np.float32)),
            n_fft,
            hop,
            window=window,
            length=len(wave),
        ).numpy()
    return kept, (wave - kept).astype(np.float32)
