"""Statistics of features in float64, batch by batch, as standardisers are fitted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from genrecore.errors import GenrecoreError

LEAST_SPREAD = 1e-6
"""A spread below this is rounding, not variation (float32 dB values differ by 1e-5 or not at all):
such a channel is shifted, not scaled."""

_VALUES_AT_ONCE = 2**24  # 128 MiB in float64


def channel_axis(kind: str) -> int:
    """Which axis of a shape holds the channels: the last of a sequence's two, else the first."""
    return 1 if kind == "sequence" else 0


def per_channel(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """The shape of one number a channel that broadcasts over `shape`: (channels, 1, 1)."""
    return tuple(size if i == axis else 1 for i, size in enumerate(shape))


def by_channel(batches: Iterable[Tensor], axis: int) -> Iterator[Tensor]:
    """Values (channels, everything else) in float64, of batches (batch, *shape) whose `axis` of
    shape holds the channels; a few examples at a time."""
    for batch in batches:
        n_values = max(1, batch[:1].numel())
        for chunk in batch.detach().split(max(1, _VALUES_AT_ONCE // n_values)):
            values = chunk.movedim(1 + axis, 0).flatten(1)
            if values.device.type == "mps":  # has no float64
                values = values.cpu()
            yield values.to(torch.float64)


def moments(
    pieces: Iterable[Tensor], products: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Mean (channels,) and the mean of `products` of the deviations from it.

    Pieces are merged by Chan, Golub & LeVeque's (1979) update of mean and sum of squared
    deviations, which does not cancel as a sum of squares would.

    Args:
        pieces: Values (channels, n), read once.
        products: Of deviations (channels, n), summed over n: their squares (channels,), or all
            their products (channels, channels).

    Raises:
        GenrecoreError: No piece came.
    """
    n, mean, total = 0, torch.zeros(()), torch.zeros(())
    for values in pieces:
        n_here = values.shape[1]
        mean_here = values.mean(dim=1)
        total_here = products(values - mean_here[:, None])
        if n == 0:
            n, mean, total = n_here, mean_here, total_here
            continue
        step = mean_here - mean
        share = n_here / (n + n_here)
        mean = mean + step * share
        total = total + total_here + products(step[:, None]) * (n * share)
        n += n_here
    refuse_nothing(n)
    return mean, total / n


def never_zero(spread: Tensor) -> Tensor:
    """The spread, or 1 where there is none."""
    return torch.where(spread > LEAST_SPREAD, spread, torch.ones_like(spread))


def refuse_nothing(n: int) -> None:
    """Refuses to make statistics of n = 0 values.

    Raises:
        GenrecoreError: There are none.
    """
    if n == 0:
        raise GenrecoreError(
            "The standardiser got no training features; it needs at least one training clip."
        )
