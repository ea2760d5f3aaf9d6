"""Log-mel spectrograms: the image most genre classifiers look at."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from genrecore.errors import GenrecoreError
from genrecore.features.registered import FEATURES
from genrecore.registry import Options
from genrecore.spectral import (
    MelScale,
    full_precision,
    mel_filters,
    power_spectrogram,
    power_to_db,
)


class LogMelOptions(Options):
    """How a log-mel spectrogram is made."""

    n_fft: int = Field(
        2048,
        title="FFT length",
        description="Samples under one window; longer separates pitches better and times worse",
        ge=64,
        le=16384,
    )
    hop_length: int = Field(
        512,
        title="Hop length",
        description="Samples from one frame to the next",
        ge=16,
        le=16384,
    )
    n_mels: int = Field(
        128, title="Mel bands", description="Rows of the image, from low to high", ge=1, le=512
    )
    fmin_hz: float = Field(
        0.0, title="Lowest frequency (Hz)", description="Where the first band begins", ge=0, le=20e3
    )
    fmax_hz: float = Field(
        0.0,
        title="Highest frequency (Hz)",
        description="Where the last band ends; 0 is half the sample rate",
        ge=0,
        le=96e3,
    )
    mel_scale: MelScale = Field(
        "slaney",
        title="Mel scale",
        description="slaney is linear below 1 kHz (librosa's default), htk is logarithmic",
    )
    top_db: float = Field(
        80.0,
        title="Dynamic range (dB)",
        description="How far below the segment's loudest point the image reaches; 0 is unlimited",
        ge=0,
        le=200,
    )
    frames: int = Field(
        0,
        title="Frames",
        description="Columns the image is resized to; 0 keeps one column for every hop",
        ge=0,
        le=8192,
    )


@FEATURES.register(
    "log_mel",
    title="Log-mel spectrogram",
    source="as librosa.feature.melspectrogram and librosa.power_to_db, version 0.11",
    options=LogMelOptions,
    kind="image",
    needs="wave",
)
class LogMel(nn.Module):
    """Log-mel energies in dB, shape (batch, 1, bins, frames), of wave (batch, 1, n_samples).

    frames is 1 + n_samples // hop_length, or the option's number; resizing is bilinear in time,
    averaging over all columns that fall into one when the image shrinks.

    Raises:
        GenrecoreError: A highest frequency above half the sample rate or not above the lowest,
            more mel bands than the FFT can fill, or a segment of fewer than n_fft // 2 + 1 samples.
    """

    filters: Tensor
    resize: Tensor | None

    def __init__(self, options: LogMelOptions, sample_rate_hz: int, n_samples: int) -> None:
        super().__init__()
        _check(options, sample_rate_hz, n_samples)
        self.options = options
        n_frames = 1 + n_samples // options.hop_length
        filters = _filters(options, sample_rate_hz, options.n_mels)
        resize = _resize_matrix(n_frames, options.frames) if options.frames else None
        # Both follow from the options, so they stay out of the saved weights.
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("resize", resize, persistent=False)
        self.output_shape = (1, options.n_mels, options.frames or n_frames)

    def forward(self, wave: Tensor) -> Tensor:
        power = power_spectrogram(wave.squeeze(1), self.options.n_fft, self.options.hop_length)
        with full_precision(power):
            decibels = power_to_db(self.filters @ power, self.options.top_db)
            if self.resize is not None:
                decibels = decibels @ self.resize
        return decibels.unsqueeze(1)


def _check(options: LogMelOptions, sample_rate_hz: int, n_samples: int) -> None:
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
    least = options.n_fft // 2 + 1
    if n_samples < least:
        raise GenrecoreError(
            f"A segment has {n_samples} samples, but an n_fft of {options.n_fft} needs "
            f"at least {least}; take longer segments or a smaller n_fft."
        )
    if _has_empty_band(options, sample_rate_hz, options.n_mels):
        fewer = range(options.n_mels - 1, 0, -1)
        works = (n for n in fewer if not _has_empty_band(options, sample_rate_hz, n))
        largest = next(works, None)
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


def _filters(options: LogMelOptions, sample_rate_hz: int, n_mels: int) -> Tensor:
    return mel_filters(
        sample_rate_hz,
        options.n_fft,
        n_mels,
        options.fmin_hz,
        options.fmax_hz,
        options.mel_scale,
    )


def _has_empty_band(options: LogMelOptions, sample_rate_hz: int, n_mels: int) -> bool:
    return bool((_filters(options, sample_rate_hz, n_mels).amax(dim=1) == 0).any())


def _resize_matrix(n_frames: int, frames: int) -> Tensor:
    """Weights (n_frames, frames) that resize a row bilinearly, each column summing to 1.

    torch's own antialiased resizing applied to the identity: the same weights as a matrix product,
    which every device has.
    """
    identity = torch.eye(n_frames, dtype=torch.float32, device="cpu")
    return nn.functional.interpolate(
        identity[None, None],
        size=(n_frames, frames),
        mode="bilinear",
        align_corners=False,
        antialias=True,
    )[0, 0]
