"""Sound from a log-mel spectrogram: what a network is given, to be heard.

What the picture leaves out (the phases, and which of a band's frequencies sounded) is guessed, so
a poor sound says how much was left out.
"""

from __future__ import annotations

import torch
import torchaudio
from torch import Tensor

from genrecore.audio.spectra import AMIN, full_precision
from genrecore.errors import GenrecoreError
from genrecore.training import cores

N_ITERATIONS = 16
"""Of Griffin and Lim's; sixteen more lower the error of the spectrum by less than a tenth."""

_N_UPDATES = 20
_TINY = 1e-20


def from_log_mel(
    db: Tensor, filters: Tensor, n_fft: int, hop_length: int, n_samples: int
) -> Tensor:
    """A wave (n_samples,), float32, whose log-mel spectrogram comes close to db (n_mels, frames).

    Frames are centred on multiples of the hop, as `spectral.power_spectrogram` makes them: there
    are 1 + n_samples // hop_length. The same picture always gives the same wave.

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
    # Hundreds of small transforms: where other work keeps the cores busy, threads that wait for one
    # another take ten times as long as one alone.
    with full_precision(db), torch.inference_mode(), cores.using(1):
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
    wanted = filters.T @ mel
    for _ in range(_N_UPDATES):
        power = power * wanted / (filters.T @ (filters @ power)).clamp(min=_TINY)
    return power
