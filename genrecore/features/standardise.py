"""Standardisers: fitted once on the training split, kept in the state dict as float32 buffers.

One pair of numbers a channel for images (channels, bins, frames), one a feature for vectors
(features,) and for sequences (steps, features), over everything else.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from genrecore.errors import GenrecoreError
from genrecore.features.registered import STANDARDISERS
from genrecore.registry import Options

LEAST_SPREAD = 1e-6
"""A spread below this is rounding, not variation (float32 dB values differ by 1e-5 or not at all):
such a channel is shifted, not scaled."""


@STANDARDISERS.register("none", title="None")
class AsItIs(nn.Module):
    """The features as they come, same shape."""

    def __init__(self, options: Options, shape: tuple[int, ...]) -> None:
        super().__init__()

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Looks at nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return x


@STANDARDISERS.register("z_score", title="Zero mean, unit standard deviation")
class ZScore(nn.Module):
    """(x - mean) / standard deviation, same shape; both per channel, over the training features."""

    mean: Tensor
    standard_deviation: Tensor

    def __init__(self, options: Options, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(_per_channel(shape)))
        self.register_buffer("standard_deviation", torch.ones(_per_channel(shape)))

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Sets mean and (population) standard deviation from batches (batch, *shape), read once.

        Batches are merged in float64 by Chan, Golub & LeVeque's (1979) update of mean and sum of
        squared deviations, which does not cancel as a sum of squares would.

        Raises:
            GenrecoreError: No batch came.
        """
        n, mean, squares = 0, torch.zeros(()), torch.zeros(())
        for batch in batches:
            values = _channels_first(batch)
            n_here = values.shape[1]
            mean_here = values.mean(dim=1)
            squares_here = (values - mean_here[:, None]).square().sum(dim=1)
            if n == 0:
                n, mean, squares = n_here, mean_here, squares_here
                continue
            step = mean_here - mean
            total = n + n_here
            mean = mean + step * (n_here / total)
            squares = squares + squares_here + step.square() * (n * n_here / total)
            n = total
        _refuse_nothing(n)
        spread = (squares / n).sqrt()
        self.mean.copy_(mean.reshape(self.mean.shape))
        self.standard_deviation.copy_(_never_zero(spread).reshape(self.mean.shape))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.standard_deviation


@STANDARDISERS.register("min_max", title="Scaled to 0 … 1")
class MinMax(nn.Module):
    """(x - minimum) / (maximum - minimum), same shape; per channel, over the training features.

    What was never seen in training can lie outside 0 … 1; it is not cut off.
    """

    minimum: Tensor
    maximum: Tensor

    def __init__(self, options: Options, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("minimum", torch.zeros(_per_channel(shape)))
        self.register_buffer("maximum", torch.ones(_per_channel(shape)))

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Sets minimum and maximum from batches (batch, *shape), read once.

        Raises:
            GenrecoreError: No batch came.
        """
        n, low, high = 0, torch.zeros(()), torch.zeros(())
        for batch in batches:
            values = _channels_first(batch)
            low_here, high_here = values.aminmax(dim=1)
            low = low_here if n == 0 else torch.minimum(low, low_here)
            high = high_here if n == 0 else torch.maximum(high, high_here)
            n += values.shape[1]
        _refuse_nothing(n)
        self.minimum.copy_(low.reshape(self.minimum.shape))
        self.maximum.copy_(high.reshape(self.maximum.shape))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.minimum) / _never_zero(self.maximum - self.minimum)


def _per_channel(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one number a channel that broadcasts over `shape`: (channels, 1, 1)."""
    return (1, shape[1]) if len(shape) == 2 else (shape[0], *[1] * (len(shape) - 1))


def _channels_first(batch: Tensor) -> Tensor:
    """Values (channels, everything else) in float64, from (batch, channels, …) or a sequence
    (batch, steps, channels)."""
    values = batch.detach().movedim(-1 if batch.ndim == 3 else 1, 0).flatten(1)
    if values.device.type == "mps":  # has no float64
        values = values.cpu()
    return values.to(torch.float64)


def _never_zero(spread: Tensor) -> Tensor:
    return torch.where(spread > LEAST_SPREAD, spread, torch.ones_like(spread))


def _refuse_nothing(n: int) -> None:
    if n == 0:
        raise GenrecoreError(
            "The standardiser got no training features; it needs at least one training clip."
        )
