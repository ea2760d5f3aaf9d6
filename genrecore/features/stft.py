"""Spectrograms with a row for every frequency of the FFT."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from genrecore.audio.axes import Axes, band_rows
from genrecore.audio.spectra import full_precision, power_spectrogram, power_to_db
from genrecore.config.training import zero_means
from genrecore.features.image import FftOptions, ImageOptions, SpectralImage
from genrecore.features.registered import FEATURES


class _Scaled(FftOptions):
    hop_length: int = Field(
        1024,
        title="Hop length",
        description="Samples from one frame to the next; 1024 is half the window (Benito)",
        ge=16,
        le=16384,
    )
    scale: Literal["magnitude", "power", "decibels"] = Field(
        "magnitude",
        title="Scale",
        description="The magnitude as it is (Benito), its square, or decibels as they are heard",
    )
    top_db: float = Field(
        80.0,
        title="Dynamic range (dB)",
        description="How far below the segment's loudest point decibels reach",
        ge=0,
        le=200,
        json_schema_extra=zero_means("unlimited"),
    )


class StftOptions(ImageOptions, _Scaled):
    """How a spectrogram is made."""


@FEATURES.register(
    "stft",
    title="Spectrogram (STFT)",
    source="Benito Calvino & Pacheco Garcia, section IV; as numpy.abs(librosa.stft), version 0.11",
    options=StftOptions,
    kind="image",
    needs=("wave",),
)
class Stft(SpectralImage):
    """Magnitudes, powers or dB, shape (batch, channels, bins, frames), of wave (batch, 1,
    n_samples); bins is n_fft // 2 + 1, from 0 Hz to half the sample rate.

    The study prints a window of 4048 samples, half overlapping, and images of 1025 × 977 from
    10⁶ samples. Those have n_fft 2048 and a hop of 1024, which are the defaults here: 4048 would
    give 2025 rows, and a hop of 2024, 495 columns.

    Raises:
        GenrecoreError: A segment of fewer than n_fft // 2 + 1 samples.
    """

    def __init__(self, options: StftOptions, sample_rate_hz: int, n_samples: int) -> None:
        super().__init__(options, sample_rate_hz, n_samples, options.n_fft // 2 + 1)
        self.options = options

    def axes(self) -> tuple[Axes, ...]:
        """Frequencies of the FFT over time."""
        options, rate = self.options, self.sample_rate_hz
        centre_hz = np.arange(options.n_fft // 2 + 1) * rate / options.n_fft
        half_hz = 0.5 * rate / options.n_fft
        rows = band_rows(
            "frequencies",
            np.maximum(centre_hz - half_hz, 0.0),
            centre_hz,
            np.minimum(centre_hz + half_hz, rate / 2),
        )
        if options.scale == "decibels":
            return self.described(Axes("Spectrogram", "dB", rows))
        note = (
            f"Dark, because the loudest points are thousands of times the others, and the "
            f"{options.scale} is taken as it is; decibels are nearer to hearing."
        )
        return self.described(Axes("Spectrogram", options.scale, rows, note=note))

    def values(self, wave: Tensor) -> Tensor:
        options = self.options
        power = power_spectrogram(wave.squeeze(1), options.n_fft, options.hop_length)
        power = self.with_silence(power)
        with full_precision(power):
            if options.scale == "magnitude":
                power = power.sqrt()
            elif options.scale == "decibels":
                power = power_to_db(power, options.top_db)
            return self.resized(power)
