"""Chroma: how much of each of the twelve pitch classes sounds."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from genrecore.audio.axes import Axes, Rows
from genrecore.audio.spectra import FilterBank, chroma_filters, full_precision
from genrecore.config.training import zero_means
from genrecore.features.image import FftOptions, ImageOptions, SpectralImage
from genrecore.features.registered import FEATURES

_PITCHES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")


class _Tuned(FftOptions):
    tuning: float = Field(
        0.0,
        title="Tuning (semitones)",
        description="How far the music lies above a concert pitch of 440 Hz",
        ge=-0.5,
        le=0.5,
    )


class ChromaOptions(ImageOptions, _Tuned):
    """How a chromagram is made."""

    bins: int = Field(
        72,
        title="Rows",
        description="Rows the twelve pitch classes are stretched to, because networks for images "
        "need 32 rows or more",
        ge=0,
        le=8192,
        json_schema_extra=zero_means("twelve"),
    )


@FEATURES.register(
    "chroma",
    title="Chroma (pitch classes)",
    source="Ellis, Chroma feature analysis and synthesis, 2007; as librosa.feature.chroma_stft, "
    "version 0.11, with a fixed tuning",
    options=ChromaOptions,
    kind="image",
    needs=("wave",),
)
class Chroma(SpectralImage):
    """Power of the pitch classes C, C♯, … B from 0 to 1, the strongest of every frame being 1,
    shape (batch, channels, bins, frames), of wave (batch, 1, n_samples).

    librosa estimates the tuning from each excerpt unless it is given; here it is an option, 0
    unless set, so that two segments of one clip, and a batch and its items, are measured alike.
    A silent frame is 0 everywhere.

    Raises:
        GenrecoreError: A segment of fewer than n_fft // 2 + 1 samples.
    """

    def __init__(self, options: ChromaOptions, sample_rate_hz: int, n_samples: int) -> None:
        super().__init__(options, sample_rate_hz, n_samples, len(_PITCHES))
        filters = chroma_filters(sample_rate_hz, options.n_fft, options.tuning)
        self.bank = FilterBank(filters, options.n_fft, options.hop_length)

    def axes(self) -> tuple[Axes, ...]:
        """Pitch classes over time."""
        ticks = {pitch: float(row) for row, pitch in enumerate(_PITCHES)}
        rows = Rows("Pitch class", _PITCHES, ticks, "pitch classes")
        note = "1 is the pitch class that sounds strongest in a frame."
        return self.described(Axes("Chroma", "share", rows, silence="row_mean", note=note))

    def values(self, wave: Tensor) -> Tensor:
        power = self.with_silence(self.bank(wave.squeeze(1)))
        with full_precision(power):
            strongest = power.amax(dim=1, keepdim=True)
            audible = strongest >= torch.finfo(torch.float32).tiny
            return self.resized(power / torch.where(audible, strongest, 1.0))
