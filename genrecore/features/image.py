"""Shared by all images of sound: the analysis window, size and channels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from genrecore.audio.axes import Axes, resized_positions
from genrecore.audio.spectra import n_frames
from genrecore.config.registry import Options
from genrecore.config.training import zero_means
from genrecore.errors import GenrecoreError
from genrecore.features.colours import ColourMap, ColourMapName


class FftOptions(Options):
    """How a wave is cut into frames."""

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


class ImageOptions(Options):
    """The size of an image and its number of channels."""

    frames: int = Field(
        0,
        title="Frames",
        description="Columns the image is brought to",
        ge=0,
        le=8192,
        json_schema_extra=zero_means("one for every hop"),
    )
    fit: Literal["resize", "pad", "zeros"] = Field(
        "resize",
        title="How the frames are reached",
        description="resize squeezes or stretches time; pad adds silence at the end, or cuts off "
        "what is beyond; zeros adds zeros, which in decibels are a loud sound (Belton)",
    )
    bins: int = Field(
        0,
        title="Rows",
        description="Rows the image is resized to",
        ge=0,
        le=8192,
        json_schema_extra=zero_means("as computed"),
    )
    channels: Literal[1, 3] = Field(
        1,
        title="Channels",
        description="3 is the same image three times, as networks trained on colour images "
        "expect; those here take 1 as well",
    )
    colours: ColourMapName = Field(
        "none",
        title="Colour map",
        description="Draws the image in colours of matplotlib, three channels red, green and blue "
        "from 0 to 1: its lowest value in the first colour, its highest in the last, in decibels "
        "from the dynamic range's bottom to the loudest point. librosa's specshow takes magma, or "
        "coolwarm where values lie on both sides of 0",
    )


class SpectralImage(nn.Module):
    """Base of features that turn a wave (batch, 1, n_samples) into an image, a column a frame.

    Columns are 1 + n_samples // hop_length, or the option's number. Resizing is bilinear and
    averages over all rows or columns that fall into one when the image shrinks. Padding is silence,
    not zeros, unless these are asked for: 0 dB is a loud sound. A colour map comes last.

    A subclass says in `values` what the image holds. What becomes of one channel, copies or
    colours, is made by `spread`, so one channel is all that a cache needs to keep.

    Attributes:
        output_shape: (channels, bins, frames).
    """

    columns: Tensor | None
    rows: Tensor | None

    def __init__(self, options: Any, sample_rate_hz: int, n_samples: int, n_rows: int) -> None:
        """
        Args:
            options: Both `FftOptions` and `ImageOptions`.
            sample_rate_hz: Of the wave.
            n_samples: Of the wave.
            n_rows: As they are computed, before they are resized.

        Raises:
            GenrecoreError: A segment of fewer than n_fft // 2 + 1 samples.
        """
        super().__init__()
        refuse_short(n_samples, options.n_fft)
        self.sample_rate_hz, self.n_samples = sample_rate_hz, n_samples
        self.n_frames = n_frames(n_samples, options.n_fft, options.hop_length)
        self._size = options
        frames = options.frames or self.n_frames
        pads = options.fit in ("pad", "zeros")
        self.n_added = frames - self.n_frames if pads else 0
        self.n_zeros = max(0, self.n_added) if options.fit == "zeros" else 0
        columns = None if pads else _resize_matrix(self.n_frames, options.frames)
        rows = _resize_matrix(n_rows, options.bins)
        # Both follow from the options, so they stay out of the saved weights.
        self.register_buffer("columns", columns, persistent=False)
        self.register_buffer("rows", None if rows is None else rows.T, persistent=False)
        self.colours = None if options.colours == "none" else ColourMap(options.colours)
        self.output_shape = (
            3 if self.colours else options.channels,
            options.bins or n_rows,
            frames,
        )

    def values(self, wave: Tensor) -> Tensor:
        """Waves (batch, 1, n_samples) as images (batch, 1, bins, frames) in the feature's unit."""
        raise NotImplementedError

    def spread(self, values: Tensor) -> Tensor:
        """Images (batch, *output_shape) of `values` (batch, 1, bins, frames): coloured, or copies
        that share their memory."""
        if self.colours is not None:
            return self.colours(values)
        return values.expand(-1, self.output_shape[0], -1, -1)

    def forward(self, wave: Tensor) -> Tensor:
        return self.spread(self.values(wave))

    def with_silence(self, power: Tensor) -> Tensor:
        """Power (batch, rows, n_frames) with columns of silence at the end where the options ask
        for more, or cut. What follows (decibels, cosine transform) makes of these columns what it
        makes of any silence."""
        n_added = self.n_added - self.n_zeros
        return nn.functional.pad(power, (0, n_added)) if n_added else power

    def resized(self, values: Tensor) -> Tensor:
        """Images (batch, 1, bins, frames) of values (batch, rows, frames)."""
        if self.columns is not None:
            values = values @ self.columns
        if self.rows is not None:
            values = self.rows @ values
        if self.n_zeros:
            values = nn.functional.pad(values, (0, self.n_zeros))
        return values.unsqueeze(1)

    def described(self, axes: Axes) -> tuple[Axes, ...]:
        """Axes of the image: those given, of the rows as computed, resized and with times.

        Columns of padding go on behind the end of the sound.
        """
        size, rate = self._size, self.sample_rate_hz
        columns = np.arange(self.output_shape[2])
        positions = (
            columns if self.columns is None else resized_positions(self.n_frames, len(columns))
        )
        sources = _sources(self.columns, len(columns))
        begins = sources[:, 0] * size.hop_length - size.n_fft / 2
        ends = sources[:, 1] * size.hop_length + size.n_fft / 2
        rows = axes.rows
        if rows is not None and self.rows is not None:
            rows = rows.resized(_sources(self.rows.T, self.output_shape[1]))
        return (
            replace(
                axes,
                rows=rows,
                columns="frames",
                colours=None if self.colours is None else self.colours.table.cpu().numpy(),
                duration_s=self.n_samples / rate,
                times_s=positions * size.hop_length / rate,
                windows_s=np.stack([begins, ends], axis=1) / rate,
            ),
        )


def refuse_short(n_samples: int, n_fft: int) -> None:
    """Refuses a segment of fewer than n_fft // 2 + 1 samples.

    Raises:
        GenrecoreError: With the least number of samples.
    """
    least = n_fft // 2 + 1
    if n_samples < least:
        raise GenrecoreError(
            f"A segment has {n_samples} samples, but an n_fft of {n_fft} needs "
            f"at least {least}; take longer segments or a smaller n_fft."
        )


def _resize_matrix(n: int, n_resized: int) -> Tensor | None:
    """Weights (n, n_resized) that resize a row bilinearly, each column summing to 1; none for a
    size of 0.

    torch's own antialiased resizing applied to the identity: the same weights as a matrix product,
    which every device has.
    """
    if not n_resized:
        return None
    identity = torch.eye(n, dtype=torch.float32, device="cpu")
    return nn.functional.interpolate(
        identity[None, None],
        size=(n, n_resized),
        mode="bilinear",
        align_corners=False,
        antialias=True,
    )[0, 0]


def _sources(weights: Tensor | None, n: int) -> np.ndarray:
    """The first and the last original that each of n resized rows or columns is made of, (n, 2)."""
    if weights is None:
        return np.repeat(np.arange(n)[:, None], 2, axis=1)
    used = weights.cpu().numpy() != 0
    return np.stack([used.argmax(axis=0), len(used) - 1 - used[::-1].argmax(axis=0)], axis=1)
