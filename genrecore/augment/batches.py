"""Augmentations that mix the examples of a batch, features and targets alike."""

from __future__ import annotations

import scipy.special
import torch
from pydantic import Field
from torch import Tensor

from genrecore.audio.spectra import full_precision
from genrecore.augment.registered import AUGMENTATIONS, AugmentOptions, Configured


class MixupOptions(AugmentOptions):
    """How many examples are mixed, and how strongly."""

    p: float = Field(
        1.0,
        title="Probability",
        description="Share of the examples that are mixed with another of their batch",
        ge=0.0,
        le=1.0,
    )
    alpha: float = Field(
        0.2,
        title="Alpha",
        description="Both parameters of the Beta distribution of the weights: small mixes a little "
        "of the other example in, 1 makes every weight alike",
        gt=0.0,
        le=10.0,
    )


@AUGMENTATIONS.register(
    "mixup",
    title="Mixup",
    source="Zhang, Cisse, Dauphin & Lopez-Paz (2018), mixup: beyond empirical risk minimization",
    options=MixupOptions,
    on="batch",
)
class Mixup(Configured[MixupOptions]):
    """Every example becomes a weighted mean of itself and another one of its batch, and so does
    its target.

    As the source; its code draws one weight a batch, ours one an example.
    """

    def draw(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        partner = torch.randperm(n, generator=generator)
        quantile = torch.rand(n, generator=generator, dtype=torch.float64)
        alpha = self.options.alpha
        weight = torch.from_numpy(scipy.special.betaincinv(alpha, alpha, quantile.numpy()))
        return torch.stack([partner.double(), weight], dim=1)

    def only(self, parameters: Tensor, picked: Tensor) -> Tensor:
        weight = torch.where(picked, parameters[:, 1], 1.0)
        return torch.stack([parameters[:, 0], weight], dim=1)

    def apply(self, x: Tensor, parameters: Tensor) -> Tensor:
        """`parameters` holds each example's partner and the weight of the example itself."""
        with full_precision(x):
            partner = parameters[:, 0].long().to(x.device)
            weight = parameters[:, 1].float().reshape(-1, *[1] * (x.ndim - 1)).to(x.device)
            return weight * x.float() + (1.0 - weight) * x.float()[partner]
