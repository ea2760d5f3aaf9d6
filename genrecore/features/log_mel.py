"""Log-mel spectrograms: the image most genre classifiers look at."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from genrecore.audio.axes import Axes, band_rows
from genrecore.audio.mel_scale import MelBank, MelScale
from genrecore.audio.spectra import (
    FilterBank,
    full_precision,
    mel_filters,
    power_to_db,
)
from genrecore.config.training import zero_means
from genrecore.errors import GenrecoreError
from genrecore.features.image import FftOptions, ImageOptions, SpectralImage, refuse_short
from genrecore.features.registered import FEATURES


class MelOptions(FftOptions):
    """How mel energies in decibels are made."""

    n_mels: int = Field(
        128, title="Mel bands", description="Rows of the image, from low to high", ge=1, le=512
    )
    fmin_hz: float = Field(
        0.0, title="Lowest frequency (Hz)", description="Where the first band begins", ge=0, le=20e3
    )
    fmax_hz: float = Field(
        0.0,
        title="Highest frequency (Hz)",
        description="Where the last band ends",
        ge=0,
        le=96e3,
        json_schema_extra=zero_means("half the sample rate"),
    )
    mel_scale: MelScale = Field(
        "slaney",
        title="Mel scale",
        description="slaney is linear below 1 kHz (librosa's default), htk is logarithmic",
    )
    top_db: float = Field(
        80.0,
        title="Dynamic range (dB)",
        description="How far below the segment's loudest point the image reaches",
        ge=0,
        le=200,
        json_schema_extra=zero_means("unlimited"),
    )

    def mel_bank(self, sample_rate_hz: int) -> MelBank:
        """The bands of these options."""
        top_hz = self.fmax_hz or sample_rate_hz / 2
        return MelBank(self.n_mels, self.fmin_hz, top_hz, self.mel_scale)


class LogMelOptions(ImageOptions, MelOptions):
    """How a log-mel spectrogram is made."""


@FEATURES.register(
    "log_mel",
    title="Log-mel spectrogram",
    source="as librosa.feature.melspectrogram and librosa.power_to_db, version 0.11",
    options=LogMelOptions,
    kind="image",
    needs=("wave",),
)
class LogMel(SpectralImage):
    """Log-mel energies in dB, shape (batch, channels, bins, frames), of wave (batch, 1, n_samples).

    frames is 1 + n_samples // hop_length, or the option's number. Columns of padding hold what
    silence there would give: the floor of the example's image.

    Raises:
        GenrecoreError: A highest frequency above half the sample rate or not above the lowest,
            more mel bands than the FFT can fill, or a segment of fewer than n_fft // 2 + 1 samples.
    """

    def __init__(self, options: LogMelOptions, sample_rate_hz: int, n_samples: int) -> None:
        super().__init__(options, sample_rate_hz, n_samples, options.n_mels)
        self.options = options
        self.bank = mel_bank(options, sample_rate_hz, n_samples)

    def axes(self) -> tuple[Axes, ...]:
        """Mel bands in Hz over time."""
        edges_hz = self.options.mel_bank(self.sample_rate_hz).edges_hz
        rows = band_rows("mel bands", edges_hz[:-2], edges_hz[1:-1], edges_hz[2:])
        return self.described(Axes("Log-mel spectrogram", "dB", rows))

    def values(self, wave: Tensor) -> Tensor:
        power = self.with_silence(self.bank(wave.squeeze(1)))
        with full_precision(power):
            return self.resized(power_to_db(power, self.options.top_db))

    def to_wave(self, image: Tensor) -> Tensor:
        """What an image (channels, bins, frames) sounds like, (n_samples,) float32; shorter where
        the image cuts the wave off.

        Uses the first channel, which must hold decibels: `values` has them also where the image is
        drawn in colours. A resized image is resized back.

        Raises:
            GenrecoreError: As `resynthesis.from_log_mel`.
        """
        from genrecore.audio.resynthesis import from_log_mel  # imports torchaudio

        options, db, n_samples = self.options, image[0].float(), self.n_samples
        size = (options.n_mels, db.shape[1] if self.columns is None else self.n_frames)
        if db.shape != size:
            db = functional.interpolate(
                db[None, None], size, mode="bilinear", align_corners=False, antialias=True
            )[0, 0]
        db = db[:, : self.n_frames]
        if db.shape[1] < self.n_frames:
            n_samples = (db.shape[1] - 1) * options.hop_length
        filters = _filters(options, self.sample_rate_hz, options.n_mels)
        with torch.inference_mode():
            return from_log_mel(db, filters, options.n_fft, options.hop_length, n_samples)


def mel_bank(options: MelOptions, sample_rate_hz: int, n_samples: int) -> FilterBank:
    """Waves (batch, n_samples) → mel energies (batch, n_mels, n_frames), none of them empty.

    Raises:
        GenrecoreError: As `LogMel`.
    """
    nyquist_hz = sample_rate_hz / 2
    if options.fmax_hz > nyquist_hz:
        raise GenrecoreError(
            f"The highest frequency fmax_hz is {options.fmax_hz:g} Hz, but audio at "
            f"{sample_rate_hz} Hz holds nothing above {nyquist_hz:g} Hz; give at most that, or 0."
        )
    top_hz = options.fmax_hz or nyquist_hz
    if options.fmin_hz >= top_hz:
        raise GenrecoreError(
            f"The lowest frequency fmin_hz is {options.fmin_hz:g} Hz; "
            f"it must lie below the highest, {top_hz:g} Hz."
        )
    refuse_short(n_samples, options.n_fft)
    filters = _filters(options, sample_rate_hz, options.n_mels)
    if _has_empty_band(filters):
        fewer = (_filters(options, sample_rate_hz, n) for n in range(options.n_mels - 1, 0, -1))
        largest = next((len(few) for few in fewer if not _has_empty_band(few)), None)
        range_hz = f"{options.fmin_hz:g} to {top_hz:g} Hz"
        choice = (
            f"the largest n_mels that works is {largest}, or take a larger n_fft"
            if largest
            else "take a larger n_fft or a wider range"
        )
        raise GenrecoreError(
            f"With n_fft {options.n_fft}, some of the {options.n_mels} mel bands from {range_hz} "
            f"would be empty; {choice}."
        )
    return FilterBank(filters, options.n_fft, options.hop_length)


def _filters(options: MelOptions, sample_rate_hz: int, n_mels: int) -> Tensor:
    return mel_filters(
        sample_rate_hz,
        options.n_fft,
        n_mels,
        options.fmin_hz,
        options.fmax_hz,
        options.mel_scale,
    )


def _has_empty_band(filters: Tensor) -> bool:
    return bool((filters.amax(dim=1) == 0).any())
