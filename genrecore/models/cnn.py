"""Our variant of the base CNN of Liu, Vetshchaizer & Yip; `liu.py` has the study's own networks.

What the four variants share stands here too: convolutions that keep the image's size, and
the recipe.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field
from torch import nn

from genrecore.config.registry import Options
from genrecore.models.registered import MODELS, Published, check_image

LIU = "Liu, Vetshchaizer & Yip, Music Genre Classification using CNN-Hybrid Architectures"
LIU_LEAST = 32
"""Bins and frames that the study's networks need here: three poolings and a step of two leave 2."""
LIU_RECIPE: dict[str, Any] = {
    "training.optimiser": "adam",
    "training.batch_size": 64,
    "training.epochs": 50,
    "training.schedule": "cyclic",
    "training.lr": 1e-3,
    "training.lr_low": 5e-4,
    "training.cycle_epochs": 8,
}
LIU_NOTES = (
    "The study bears no date; the latest work that it cites is of 2019.",
    "This is our own variant, with sizes of our choice; the network of the study's Figure 1 has "
    "the same name after liu_.",
)
N_BANDS = 4
"""Bands to which the last maps are averaged, so that any number of bins fits."""


class CnnOptions(Options):
    """What can be chosen about the base CNN."""

    width: int = Field(
        24,
        title="Base filters",
        description="Filters of the first convolution; each following one has twice as many, up to "
        "eight times as many",
        ge=2,
        le=128,
    )
    depth: int = Field(
        4,
        title="Convolutions",
        description="One after another; those after the fourth have no pooling before them",
        ge=2,
        le=8,
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
    title="Base CNN (after Liu)",
    source=f"{LIU}, sections 3.1 and 3.1.1; loosely after Dong (2018)",
    options=CnnOptions,
    accepts=frozenset({"image"}),
    least=(1, LIU_LEAST, LIU_LEAST),
    year=2019,
    idea="A plain stack of convolutions on a mel spectrogram, against which the study measures its "
    "other networks.",
    preset="liu_mel",
    recipe=LIU_RECIPE,
    published=(
        Published(
            f"{LIU}, section 4.2",
            300_000,
            (1, 128, 128),
            8,
            why="The study prints ~300,000, with one digit; this is a variant of its network.",
        ),
    ),
    notes=LIU_NOTES,
)
def cnn(shape: tuple[int, ...], n_genres: int, options: CnnOptions) -> nn.Module:
    """A plain CNN from images (batch, channels, bins, frames) to logits (batch, n_genres).

    Kept from the paper: ReLU, filters that increase while kernels decrease (7, 5, 3, 3), mostly
    convolution, and dense layers at the end. Of its sizes only the "~300,000 parameters" in all are
    kept; ours are chosen to meet that (288 000 for 1 × 128 × 128 and 8 genres).

    Ours differs in this: the first convolution moves in steps of two (a third of the time on a
    CPU); the last map is averaged to 4 bands × 1 frame, so that the dense layers know low from high
    but not early from late, and any image of 32 × 32 or more fits; and there is batch normalisation
    by default, which the paper mentions only for its recurrent network: with it the training loss
    after ten epochs on 70 real clips was about a sixth of that without.

    Raises:
        GenrecoreError: An image below 32 × 32.
    """
    check_image("cnn", shape, least=LIU_LEAST)
    layers, n_filters = convolutions(shape[0], options)
    return nn.Sequential(
        *layers,
        nn.AdaptiveAvgPool2d((N_BANDS, 1)),
        nn.Flatten(),
        *dense_layers(n_filters * N_BANDS, n_genres, options.dropout),
    )


def convolutions(
    n_channels: int, options: CnnOptions, frames_per_step: int = 16, normalise_last: bool = True
) -> tuple[list[nn.Module], int]:
    """The base CNN's convolutions with their poolings, and the filters of the last one.

    Args:
        n_channels: Of the image.
        options: Width, depth and batch normalisation.
        frames_per_step: Frames of the image to a step of the maps, a power of two from 2 to 16;
            they are pooled as early as possible, which is cheapest. Fewer than four convolutions
            pool less than 16.
        normalise_last: False where batch normalisation follows later, which would make the scale of
            one after the last convolution mean nothing.
    """
    layers: list[nn.Module] = []
    n_in, left = n_channels, frames_per_step
    for k in range(options.depth):
        n_out = options.width * 2 ** min(k, 3)
        in_time = 2 if left > 1 else 1
        batch_norm = options.batch_norm and (normalise_last or k < options.depth - 1)
        if k == 0:
            layers += convolution(n_in, n_out, 7, batch_norm, stride=(2, in_time))
        else:
            if k <= 3:
                layers.append(nn.MaxPool2d((2, in_time)))
            layers += convolution(n_in, n_out, 5 if k == 1 else 3, batch_norm)
        n_in, left = n_out, left // in_time
    return layers, n_in


def convolution(
    n_in: int,
    n_out: int,
    kernel: int,
    batch_norm: bool,
    stride: tuple[int, int] = (1, 1),
) -> list[nn.Module]:
    """Convolution, batch normalisation if wanted, ReLU; the image keeps its size / stride."""
    layers: list[nn.Module] = [
        # Batch normalisation takes the mean away, so that a bias before it would learn nothing.
        nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=not batch_norm)
    ]
    if batch_norm:
        layers.append(nn.BatchNorm2d(n_out))
    layers.append(nn.ReLU(inplace=True))
    return layers


def dense_layers(n_in: int, n_genres: int, dropout: float) -> list[nn.Module]:
    """Two dense layers, 64 and n_genres, with dropout before each."""
    return [
        nn.Dropout(dropout),
        nn.Linear(n_in, 64),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(64, n_genres),
    ]
