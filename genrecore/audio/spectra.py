"""Short-time spectra on any device: filters, power spectrograms, decibels, cosine transform.

Everything here is float32 and batched. librosa is the reference these functions are tested
against; it is not imported, because its import and first call take seconds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from genrecore.audio.mel_scale import MelBank, MelScale

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
    may be empty (all zero); callers that need every band check for that.

    Source: Slaney, "Auditory Toolbox" (1998) for the scale that is linear below 1 kHz and for
    filters of equal area (`norm="slaney"`); O'Shaughnessy (1987) as in HTK for `scale="htk"`.
    Computed in float64, returned in float32.
    """
    bank = MelBank(n_mels, fmin_hz, fmax_hz or sample_rate_hz / 2, scale)
    weights = bank.weights(np.fft.rfftfreq(n_fft, 1.0 / sample_rate_hz))
    if norm == "slaney":
        weights *= (2.0 / (bank.edges_hz[2:] - bank.edges_hz[:-2]))[:, None]
    return torch.from_numpy(weights.astype(np.float32))


def chroma_filters(sample_rate_hz: int, n_fft: int, tuning: float = 0.0) -> Tensor:
    """Weights of the power bins in the pitch classes C … B, shape (12, n_fft // 2 + 1), float32.

    Gaussian bumps around every pitch class, at least a semitone wide, each bin's weights of length
    1, times a broad hump over the octaves around 440 Hz; `tuning` is in semitones above 440 Hz.

    Source: Ellis, "Chroma feature analysis and synthesis" (2007), as librosa.filters.chroma.
    Computed in float64.
    """
    bins_hz = np.arange(1, n_fft) * (sample_rate_hz / n_fft)
    semitones = 12.0 * np.log2(bins_hz / (440.0 / 16.0 * 2.0 ** (tuning / 12.0)))  # above an A
    semitones = np.concatenate([[semitones[0] - 18.0], semitones])  # 0 Hz: a place of its own
    width = np.append(np.maximum(np.diff(semitones), 1.0), 1.0)
    distance = (semitones - np.arange(12.0)[:, None] + 126.0) % 12.0 - 6.0
    weights = np.exp(-2.0 * (distance / width) ** 2)
    weights /= np.linalg.norm(weights, axis=0)
    weights *= np.exp(-0.5 * ((semitones / 12.0 - 5.0) / 2.0) ** 2)
    from_c = np.roll(weights, -3, axis=0)[:, : n_fft // 2 + 1]
    return torch.from_numpy(from_c.astype(np.float32))


def cosines(n_kept: int, n: int) -> Tensor:
    """The first rows of the orthonormal cosine transform DCT-II, shape (n_kept, n), float32."""
    order, position = np.arange(n_kept)[:, None], np.arange(n) + 0.5
    rows = np.sqrt(2.0 / n) * np.cos(np.pi / n * order * position)
    rows[0] /= np.sqrt(2.0)
    return torch.from_numpy(rows.astype(np.float32))


def n_frames(n_samples: int, n_fft: int, hop_length: int) -> int:
    """Frames of n_samples, centred on multiples of the hop: for an even n_fft 1 + n // hop."""
    return 1 + (n_samples + 2 * (n_fft // 2) - n_fft) // hop_length


def power_spectrogram(wave: Tensor, n_fft: int, hop_length: int) -> Tensor:
    """Squared magnitudes, shape (batch, n_fft // 2 + 1, n_frames), of wave (batch, n).

    Periodic Hann window of n_fft samples, frames centred on multiples of the hop, zeros beyond
    both ends: what librosa.feature.melspectrogram does since version 0.10.
    """
    window = _hann(n_fft, wave.device)
    with full_precision(wave):
        power = _empty(wave, n_fft // 2 + 1, n_fft, hop_length)
        for position, z in _spectra(wave, window, hop_length):
            power[position] = (z.real.square() + z.imag.square()).transpose(1, 2)
    return power


class FilterBank(nn.Module):
    """Filters over the power bins of waves: (batch, n) → (batch, n_filters, n_frames), float32.

    Equal to `filters @ power_spectrogram(wave)` but for the order of float32 sums, and several
    times as fast: the filters are multiplied with the squared real and imaginary parts as they lie
    in memory, and neighbouring filters only with the bins that they reach.
    """

    window: Tensor
    weights: Tensor

    def __init__(self, filters: Tensor, n_fft: int, hop_length: int) -> None:
        """
        Args:
            filters: Weights (n_filters, n_fft // 2 + 1).
            n_fft: Samples under one window.
            hop_length: Samples from one frame to the next.
        """
        super().__init__()
        self.hop_length = hop_length
        self.blocks: list[tuple[int, int, int]] = []
        weights = []
        for block in filters.split(_FILTERS_AT_ONCE):
            reached = (block != 0).any(dim=0).nonzero()[:, 0].tolist() or [0]
            first, last = reached[0], reached[-1] + 1
            self.blocks.append((2 * first, 2 * last, len(block)))
            twice = block[:, first:last].repeat_interleave(2, dim=1)  # one each for re² and im²
            weights.append(twice.T.flatten())
        window = torch.hann_window(n_fft, periodic=True, dtype=torch.float32, device="cpu")
        # Both follow from the arguments, so they stay out of the saved weights.
        self.register_buffer("weights", torch.cat(weights), persistent=False)
        self.register_buffer("window", window, persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        sizes = [(last - first) * n for first, last, n in self.blocks]
        parts = [
            (first, last, flat.view(last - first, n))
            for (first, last, n), flat in zip(self.blocks, self.weights.split(sizes), strict=True)
        ]
        n_filters = sum(n for _, _, n in self.blocks)
        with full_precision(wave):
            power = _empty(wave, n_filters, len(self.window), self.hop_length)
            for position, spectrum in _spectra(wave, self.window, self.hop_length):
                squares = torch.view_as_real(spectrum).flatten(-2).square()
                bands = [squares[..., first:last] @ weight for first, last, weight in parts]
                power[position] = torch.cat(bands, dim=-1).transpose(1, 2)
        return power


_FILTERS_AT_ONCE = 16
"""More multiply zeros, fewer leave the processor's vector units half empty; 16 measured fastest."""

_VALUES_AT_ONCE = {"cpu": 2**19}
"""Windowed samples in memory at once: on the CPU what stays in its cache, elsewhere 1 GiB."""


def _hann(n_fft: int, device: torch.device) -> Tensor:
    """The periodic Hann window, shape (n_fft,), float32."""
    if torch.compiler.is_compiling():  # an exported graph holds it: ONNX exporters cannot make one
        turns = np.arange(n_fft) / n_fft
        return torch.tensor((0.5 - 0.5 * np.cos(2.0 * np.pi * turns)).tolist(), device=device)
    return torch.hann_window(n_fft, periodic=True, dtype=torch.float32, device=device)


def _empty(wave: Tensor, n_rows: int, n_fft: int, hop_length: int) -> Tensor:
    n = n_frames(wave.shape[1], n_fft, hop_length)
    return torch.empty(wave.shape[0], n_rows, n, dtype=torch.float32, device=wave.device)


def _spectra(
    wave: Tensor, window: Tensor, hop_length: int
) -> Iterator[tuple[tuple[slice, slice, slice], Tensor]]:
    """Spectra of wave (batch, n), a few examples and of those a few frames at a time: complex
    (examples, frames, bins), each with its place in a tensor (batch, rows, n_frames)."""
    n_fft = len(window)
    padded = nn.functional.pad(wave.float(), (n_fft // 2, n_fft // 2))
    frames = padded.unfold(-1, n_fft, hop_length)  # a view (batch, n_frames, n_fft)
    batch, n = frames.shape[:2]
    if torch.compiler.is_compiling():  # an exported graph has no loops
        yield (slice(None), slice(None), slice(None)), torch.fft.rfft(frames * window)
        return
    at_once = max(1, _VALUES_AT_ONCE.get(wave.device.type, 2**28) // n_fft)
    examples_at_once = max(1, at_once // n)
    for first in range(0, batch, examples_at_once):
        examples = slice(first, first + examples_at_once)
        for begin in range(0, n, at_once):
            few = slice(begin, begin + at_once)
            yield (examples, slice(None), few), torch.fft.rfft(frames[examples, few] * window)


def power_to_db(power: Tensor, top_db: float | None = 80.0) -> Tensor:
    """Decibels against a power of 1, same shape, at most `top_db` below each example's maximum.

    The first axis of `power` (batch, …) is the batch: every example has a maximum of its own, so
    that a batch equals its items. `top_db` of 0 or None leaves the floor at −100 dB.
    """
    with full_precision(power):
        decibels = power.float().clamp(min=AMIN).log10_().mul_(10.0)
        if top_db:
            loudest = decibels.flatten(1).amax(dim=1)
            decibels.clamp_(min=(loudest - top_db).reshape(-1, *[1] * (power.ndim - 1)))
        return decibels


def full_precision(tensor: Tensor) -> contextlib.AbstractContextManager[object]:
    """A context in which autocast leaves float32 alone, on the tensor's device.

    bfloat16 keeps 8 bits: 1 dB steps at the top of a spectrogram, which is heard and learned.
    """
    kind = tensor.device.type
    if torch.amp.is_autocast_available(kind):
        return torch.autocast(kind, enabled=False)
    return contextlib.nullcontext()  # the meta device computes shapes only


def log_mel_image(
    wave: np.ndarray, sample_rate_hz: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A log-mel spectrogram to look at: (dB (bins, frames), times_s (frames,), centre_hz (bins,)).

    128 bands; at most about 1,500 frames, so that long clips stay light.
    """
    n_fft, n_mels = 2048, 128
    hop = max(512, len(wave) // 1500)
    with torch.inference_mode():
        power = power_spectrogram(torch.from_numpy(wave)[None], n_fft, hop)
        filters = mel_filters(sample_rate_hz, n_fft, n_mels, 0.0, sample_rate_hz / 2)
        decibels = power_to_db(filters @ power, 80.0)[0]
        frequencies = torch.linspace(0.0, sample_rate_hz / 2, n_fft // 2 + 1)
        centres = (filters * frequencies).sum(1) / filters.sum(1)
    times = np.arange(decibels.shape[1]) * hop / sample_rate_hz
    return decibels.numpy(), times, centres.numpy()
