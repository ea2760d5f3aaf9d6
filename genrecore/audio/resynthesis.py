"""Hearing what a network is given: sound from a log-mel spectrogram, and from a part of an image.

What a spectrogram leaves out (the phases, and which of a band's frequencies sounded) is guessed, so
a poor sound says how much was left out. A part of an image is heard with the clip's own phases.
"""

from __future__ import annotations

import numpy as np
import torch
import torchaudio
from scipy.ndimage import gaussian_filter
from torch import Tensor

from genrecore.audio.spectra import AMIN, full_precision
from genrecore.errors import GenrecoreError

N_ITERATIONS = 16
"""Of Griffin and Lim's; sixteen more lower the error of the spectrum by less than a tenth."""

_N_UPDATES = 20
_TINY = 1e-20
_BLUR = 1.0  # rows and columns by which a mask's edges are blurred: hard ones ring
_MOST_GAIN = 20.0  # by which what is masked may become louder


def from_log_mel(
    db: Tensor, filters: Tensor, n_fft: int, hop_length: int, n_samples: int
) -> Tensor:
    """A wave (n_samples,), float32, whose log-mel spectrogram comes close to db (n_mels, frames).

    Frames are centred on multiples of the hop, as `spectra.power_spectrogram` makes them: there
    are 1 + n_samples // hop_length. The same spectrogram always gives the same wave.

    Hundreds of small transforms: where other work keeps the cores busy, torch's threads wait for
    one another, and one thread alone is ten times as fast.

    Args:
        db: Mel energies in dB against a power of 1.
        filters: Those that made it, (n_mels, n_fft // 2 + 1).
        n_fft: Samples under one window.
        hop_length: Samples from one frame to the next.
        n_samples: Length of the wave.

    Source: Griffin & Lim (1984) with the momentum of Perraudin, Balazs & Søndergaard (2013), as
    torchaudio.functional.griffinlim, which begins here with phases of zero.

    Raises:
        GenrecoreError: Windows that leave gaps between them.
    """
    if hop_length > n_fft // 2:
        raise GenrecoreError(
            f"A hop of {hop_length} samples leaves gaps between windows of {n_fft}, so no sound "
            f"can be made of it; take a hop of at most {n_fft // 2}."
        )
    with full_precision(db), torch.inference_mode():
        power = power_from_mel(10.0 ** (db.float() / 10.0), filters)
        wave = torchaudio.functional.griffinlim(
            power[None],
            torch.hann_window(n_fft, dtype=torch.float32, device=db.device),
            n_fft,
            hop_length,
            n_fft,
            power=2.0,
            n_iter=N_ITERATIONS,
            momentum=0.99,
            length=n_samples,
            rand_init=False,
        )
    return wave[0]


def power_from_mel(mel: Tensor, filters: Tensor) -> Tensor:
    """Powers (bins, frames), none negative, whose mel energies come close to mel (n_mels, frames).

    There are more bins than bands, so many spectra have the same energies; this one is smooth.
    Source: Lee & Seung (2001), multiplicative updates of a least-squares fit. Negative values of a
    pseudo-inverse set to zero, which is usual, fit the energies worse: 0.7 dB off against 0.3 dB
    with 128 bands of rock music.
    """
    mel = mel.clamp(min=AMIN)
    # Every band's mean power, faded from band to band by triangles of height 1.
    triangles = filters / filters.amax(dim=1, keepdim=True)
    power = triangles.T @ (mel / filters.sum(dim=1, keepdim=True))
    target = filters.T @ mel
    for _ in range(_N_UPDATES):
        power = power * target / (filters.T @ (filters @ power)).clamp(min=_TINY)
    return power


def strongest(relevance: np.ndarray, share: float) -> np.ndarray:
    """A mask (rows, columns) float in 0 … 1 of the points that speak most for a genre.

    Args:
        relevance: (rows, columns); what speaks against the genre is negative and never kept.
        share: Of the image that is kept, 0 … 1.
    """
    positive = np.maximum(relevance, 0.0)
    blur = [_BLUR if n > 4 else 0.0 for n in positive.shape]
    smooth = np.asarray(gaussian_filter(positive, blur))  # single points are no sound
    n_kept = max(1, round(share * positive.size))
    least = np.sort(smooth, axis=None)[-n_kept]
    mask = ((smooth >= least) & (smooth > 0)).astype(np.float64)
    return np.asarray(gaussian_filter(mask, blur))


def kept_and_rest(
    wave: np.ndarray,
    sample_rate_hz: int,
    mask: np.ndarray,
    times_s: np.ndarray,
    centres_hz: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a mask keeps of a mono wave (n_samples,), and the rest in two ways, all float32.

    The clip's own spectrum is masked, and keeps its phases. The first rest is silent where the mask
    is, so that it and what is kept add up to the wave. But a hole is unlike any music, and a
    network may take it for a sign of its own: in the second rest each frequency has there what it
    has in the median elsewhere.

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
    samples = torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))

    def sound(spectrum: Tensor) -> np.ndarray:
        return torch.istft(spectrum, n_fft, hop, window=window, length=len(wave)).numpy()

    with torch.no_grad():
        spectrum = torch.stft(
            samples, n_fft, hop, window=window, pad_mode="constant", return_complex=True
        )
        frames_s = np.arange(spectrum.shape[1]) * hop / sample_rate_hz
        if centres_hz is None:
            mask, centres_hz = mask.max(axis=0, keepdims=True), np.zeros(1)
        over_time = np.stack([np.interp(frames_s, times_s, row) for row in mask])
        bins_hz = np.arange(spectrum.shape[0]) * sample_rate_hz / n_fft
        position = np.interp(bins_hz, centres_hz, np.arange(len(centres_hz)))
        low = np.floor(position).astype(int)
        high = np.minimum(low + 1, len(centres_hz) - 1)
        share = (position - low)[:, None]
        grid = torch.from_numpy(
            ((1 - share) * over_time[low] + share * over_time[high]).astype(np.float32)
        )
        level = spectrum.abs()
        elsewhere = torch.where(grid < 0.5, level, torch.nan).nanmedian(dim=1, keepdim=True).values
        usual = elsewhere.nan_to_num() / level.clamp(min=_TINY)
        masked = sound(spectrum * grid)
        turned_down = sound(spectrum * ((1 - grid) + grid * usual.clamp(max=_MOST_GAIN)))
    return masked, (wave - masked).astype(np.float32), turned_down
