"""PCA whitening: axes that vary together are turned until they do not, and scaled alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from genrecore.audio.spectra import full_precision
from genrecore.config.registry import Options
from genrecore.errors import GenrecoreError
from genrecore.features.moments import by_channel, channel_axis, moments, never_zero
from genrecore.features.registered import STANDARDISERS

MOST_AXES = 4096
"""Their products take 128 MiB in float64, and their eigenvectors about a minute."""

_ROUNDING = 1e-9
"""A variance below this, where axes have 1, is rounding: such a direction is not scaled."""


class WhiteningOptions(Options):
    """How far axes are made independent of one another."""

    axes: Literal["original", "components"] = Field(
        "original",
        title="Axes",
        description="original turns back after scaling, so that every row stays closest to what it "
        "was and images keep their order (ZCA); components leaves the principal components, "
        "largest first (PCA-sphering)",
    )
    variance: float = Field(
        1.0,
        title="Share of variance kept",
        description="The fewest principal components that hold this share stay, the others are set "
        "to zero",
        gt=0.0,
        le=1.0,
    )
    ridge: float = Field(
        1e-4,
        title="Ridge",
        description="Added to every component's variance (axes have 1) before scaling, so that "
        "what hardly varies is not blown up",
        ge=1e-8,
        le=1.0,
    )


@STANDARDISERS.register(
    "pca_whitening",
    title="PCA whitening",
    source="named by Qin, Zhuo & Ren, section 5, as future work (PCA-sphering); Kessy, Lewin & "
    "Strimmer, Optimal whitening and decorrelation, The American Statistician 72(4), 2018 "
    "(ZCA-cor and PCA-cor)",
    options=WhiteningOptions,
)
class Whitening(nn.Module):
    """W (x - mean) / standard deviation, same shape, W from the training features' correlations.

    The axes are the features of a vector, those of each step of a sequence, and all rows of each
    frame of an image, those of its channels together: times and steps are the examples, so what
    follows one another in time stays related. Axes are put on one scale first, because the
    descriptors' spreads differ by nine orders of magnitude.

    Raises:
        GenrecoreError: A wave, which has one axis, or more than 4096 axes.
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, options: WhiteningOptions, shape: tuple[int, ...], kind: str) -> None:
        super().__init__()
        if kind == "wave":
            raise GenrecoreError(
                "PCA whitening turns several axes into one another, but a wave has only one; take "
                "the standardisation z_score or min_max."
            )
        self.options = options
        self.is_image = kind == "image"
        self.features = channel_axis(kind)
        n_axes = shape[0] * shape[1] if self.is_image else shape[self.features]
        if n_axes > MOST_AXES:
            raise GenrecoreError(
                f"PCA whitening can turn {MOST_AXES} axes into one another, but there are {n_axes} "
                f"in features of shape {' × '.join(map(str, shape))}; take fewer rows or channels, "
                "or the standardisation z_score."
            )
        self.register_buffer("mean", torch.zeros(n_axes))
        self.register_buffer("matrix", torch.eye(n_axes))

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Sets mean and matrix from batches (batch, *shape), read once, computed in float64.

        Raises:
            GenrecoreError: No batch came.
        """
        flat = (self._flat(batch) for batch in batches)
        mean, covariance = moments(by_channel(flat, self.features), lambda x: x @ x.T)
        spread = never_zero(covariance.diagonal().sqrt())
        variances, directions = torch.linalg.eigh(covariance / spread / spread[:, None])
        variances, directions = variances.flip(0).clamp(min=0.0), directions.flip(1)
        # Either sign of a direction is right: take the one whose largest part is positive.
        largest = directions.abs().argmax(dim=0, keepdim=True)
        directions = directions * directions.gather(0, largest).sign()
        scale = (variances + self.options.ridge).rsqrt()
        scale = torch.where(variances > _ROUNDING, scale, torch.ones_like(scale))
        if self.options.variance < 1.0:
            before = variances.cumsum(0) - variances
            scale = scale * (before < self.options.variance * variances.sum())
        turned = scale[:, None] * directions.T
        if self.options.axes == "original":
            turned = directions @ turned
        self.mean.copy_(mean)
        self.matrix.copy_(turned / spread)

    def forward(self, x: Tensor) -> Tensor:
        flat = self._flat(x)
        with full_precision(x):
            if self.is_image:
                turned = self.matrix @ (flat - self.mean[:, None])
            else:
                turned = (flat - self.mean) @ self.matrix.T
        return turned.reshape(x.shape)

    def _flat(self, x: Tensor) -> Tensor:
        """Images (batch, channels, bins, frames) as (batch, channels · bins, frames)."""
        return x.flatten(1, 2) if self.is_image else x
