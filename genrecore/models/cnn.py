"""The base CNN of Liu, Vetshchaizer & Yip's study of hybrid architectures."""

from __future__ import annotations

from pydantic import Field
from torch import nn

from genrecore.models.registered import MODELS, check_image
from genrecore.registry import Options


class CnnOptions(Options):
    """What can be chosen about the base CNN."""

    width: int = Field(
        24,
        title="Base filters",
        description="Filters of the first convolution; each following one has twice as many",
        ge=2,
        le=128,
    )
    dropout: float = Field(
        0.2,
        title="Dropout",
        description="Share of values left out before each dense layer while training",
        ge=0,
        le=0.9,
    )
    batch_norm: bool = Field(
        True,
        title="Batch normalisation",
        description="Normalise after every convolution",
    )


@MODELS.register(
    "cnn",
    title="Base CNN (Liu)",
    source="Liu, Vetshchaizer & Yip, Music Genre Classification using CNN-Hybrid Architectures, "
    "sections 3.1 and 3.1.1; loosely after Dong (2018)",
    options=CnnOptions,
    accepts=frozenset({"image"}),
)
def cnn(shape: tuple[int, ...], n_genres: int, options: CnnOptions) -> nn.Module:
    """A plain CNN from images (batch, channels, bins, frames) to logits (batch, n_genres).

    Kept from the paper: ReLU, filters that increase while kernels decrease (7, 5, 3, 3), mostly
    convolution, and dense layers at the end. The paper prints no layer sizes, only "~300,000
    parameters" in all; ours are chosen to meet that (288 000 for 1 × 128 × 128 and 8 genres).

    Ours differs in this: the first convolution moves in steps of two (a third of the time on a
    CPU); the last map is averaged to 4 bands × 1 frame, so that the dense layers know low from high
    but not early from late, and any image of 32 × 32 or more fits; and there is batch normalisation
    by default, which the paper mentions only for its recurrent network: with it the training loss
    after ten epochs on 70 real clips was about a sixth of that without.

    Raises:
        GenrecoreError: An image below 32 × 32.
    """
    check_image("cnn", shape, least=32)
    w = options.width
    n_bands = 4
    return nn.Sequential(
        *_convolution(shape[0], w, kernel=7, stride=2, options=options),
        nn.MaxPool2d(2),
        *_convolution(w, 2 * w, kernel=5, stride=1, options=options),
        nn.MaxPool2d(2),
        *_convolution(2 * w, 4 * w, kernel=3, stride=1, options=options),
        nn.MaxPool2d(2),
        *_convolution(4 * w, 8 * w, kernel=3, stride=1, options=options),
        nn.AdaptiveAvgPool2d((n_bands, 1)),
        nn.Flatten(),
        nn.Dropout(options.dropout),
        nn.Linear(8 * w * n_bands, 64),
        nn.ReLU(inplace=True),
        nn.Dropout(options.dropout),
        nn.Linear(64, n_genres),
    )


def _convolution(
    n_in: int, n_out: int, kernel: int, stride: int, options: CnnOptions
) -> list[nn.Module]:
    """Convolution, batch normalisation if wanted, ReLU; the image keeps its size / stride."""
    layers: list[nn.Module] = [
        # Batch normalisation takes the mean away, so that a bias before it would learn nothing.
        nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=not options.batch_norm)
    ]
    if options.batch_norm:
        layers.append(nn.BatchNorm2d(n_out))
    layers.append(nn.ReLU(inplace=True))
    return layers
