"""What all pictures of sound share: the analysis window, and the size and channels they get."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from genrecore.config.registry import Options
from genrecore.errors import GenrecoreError


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


class PictureOptions(Options):
    """Which size and how many channels a picture has."""

    frames: int = Field(
        0,
        title="Frames",
        description="Columns the image is brought to; 0 keeps one column for every hop",
        ge=0,
        le=8192,
    )
    fit: Literal["resize", "pad"] = Field(
        "resize",
        title="How the frames are reached",
        description="resize squeezes or stretches time; pad adds silence at the end, or cuts off "
        "what is beyond",
    )
    bins: int = Field(
        0,
        title="Rows",
        description="Rows the image is resized to; 0 keeps those that were computed",
        ge=0,
        le=8192,
    )
    channels: Literal[1, 3] = Field(
        1,
        title="Channels",
        description="3 is the same picture three times, as networks trained on colour pictures "
        "expect; those here take 1 as well",
    )


class Picture(nn.Module):
    """Brings a spectrogram to the size and the channels of its options.

    Resizing is bilinear, averaging over all rows or columns that fall into one when the picture
    shrinks. Padding is silence, not zeros: 0 dB is a loud sound.

    Attributes:
        output_shape: (channels, bins, frames).
    """

    columns: Tensor | None
    rows: Tensor | None

    def __init__(self, options: PictureOptions, n_rows: int, n_frames: int) -> None:
        super().__init__()
        frames = options.frames or n_frames
        self.n_added = frames - n_frames if options.fit == "pad" else 0
        columns = _resize_matrix(n_frames, options.frames) if options.fit == "resize" else None
        rows = _resize_matrix(n_rows, options.bins)
        # Both follow from the options, so they stay out of the saved weights.
        self.register_buffer("columns", columns, persistent=False)
        self.register_buffer("rows", None if rows is None else rows.T, persistent=False)
        self.output_shape = (options.channels, options.bins or n_rows, frames)

    def with_silence(self, power: Tensor) -> Tensor:
        """Power (batch, rows, n_frames) with columns of silence at the end where the options ask
        for more, or cut. What follows (decibels, cosine transform) makes of these columns what it
        makes of any silence."""
        return nn.functional.pad(power, (0, self.n_added)) if self.n_added else power

    def forward(self, values: Tensor) -> Tensor:
        """Pictures (batch, *output_shape) of values (batch, rows, frames); channels are copies
        that share their memory."""
        if self.columns is not None:
            values = values @ self.columns
        if self.rows is not None:
            values = self.rows @ values
        return values.unsqueeze(1).expand(-1, self.output_shape[0], -1, -1)


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


def _resize_matrix(n: int, wanted: int) -> Tensor | None:
    """Weights (n, wanted) that resize a row bilinearly, each column summing to 1; none for a
    wanted size of 0.

    torch's own antialiased resizing applied to the identity: the same weights as a matrix product,
    which every device has.
    """
    if not wanted:
        return None
    identity = torch.eye(n, dtype=torch.float32, device="cpu")
    return nn.functional.interpolate(
        identity[None, None],
        size=(n, wanted),
        mode="bilinear",
        align_corners=False,
        antialias=True,
    )[0, 0]
