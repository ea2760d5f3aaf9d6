"""Standardisers: fitted once on the training split, kept in the state dict as float32 buffers.

One pair of numbers a channel for images (channels, bins, frames) and waves (channels, n_samples),
one a feature for vectors (features,) and for sequences (steps, features), over everything else. A
wave has as many axes as a sequence, so standardisers are told the kind; a pair has one each.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from genrecore.config.registry import Options
from genrecore.features.moments import (
    by_channel,
    channel_axis,
    moments,
    never_zero,
    per_channel,
    refuse_nothing,
)
from genrecore.features.registered import STANDARDISERS


@STANDARDISERS.register("none", title="None")
class AsItIs(nn.Module):
    """The features as they come, same shape."""

    def __init__(self, options: Options, shape: tuple[int, ...], kind: str) -> None:
        super().__init__()

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Nothing to fit."""

    def forward(self, x: Tensor) -> Tensor:
        return x


@STANDARDISERS.register("z_score", title="Zero mean, unit standard deviation")
class ZScore(nn.Module):
    """(x - mean) / standard deviation, same shape; both per channel, over the training features."""

    mean: Tensor
    standard_deviation: Tensor

    def __init__(self, options: Options, shape: tuple[int, ...], kind: str) -> None:
        super().__init__()
        self.channels = channel_axis(kind)
        size = per_channel(shape, self.channels)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("standard_deviation", torch.ones(size))

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Sets mean and (population) standard deviation from batches (batch, *shape), read once.

        Raises:
            GenrecoreError: No batch came.
        """
        pieces = by_channel(batches, self.channels)
        mean, variance = moments(pieces, lambda deviations: deviations.square().sum(dim=1))
        self.mean.copy_(mean.reshape(self.mean.shape))
        self.standard_deviation.copy_(never_zero(variance.sqrt()).reshape(self.mean.shape))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean).div_(self.standard_deviation)  # in place: images are large


@STANDARDISERS.register("min_max", title="Scaled to 0 … 1")
class MinMax(nn.Module):
    """(x - minimum) / (maximum - minimum), same shape; per channel, over the training features.

    What was never seen in training can lie outside 0 … 1; it is not cut off.
    """

    minimum: Tensor
    maximum: Tensor

    def __init__(self, options: Options, shape: tuple[int, ...], kind: str) -> None:
        super().__init__()
        self.channels = channel_axis(kind)
        size = per_channel(shape, self.channels)
        self.register_buffer("minimum", torch.zeros(size))
        self.register_buffer("maximum", torch.ones(size))

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Sets minimum and maximum from batches (batch, *shape), read once.

        Raises:
            GenrecoreError: No batch came.
        """
        n, low, high = 0, torch.zeros(()), torch.zeros(())
        for values in by_channel(batches, self.channels):
            low_here, high_here = values.aminmax(dim=1)
            low = low_here if n == 0 else torch.minimum(low, low_here)
            high = high_here if n == 0 else torch.maximum(high, high_here)
            n += values.shape[1]
        refuse_nothing(n)
        self.minimum.copy_(low.reshape(self.minimum.shape))
        self.maximum.copy_(high.reshape(self.maximum.shape))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.minimum).div_(never_zero(self.maximum - self.minimum))
