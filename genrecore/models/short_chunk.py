"""The short-chunk CNN with residual connections of Won's study of music tagging."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from genrecore.config.registry import Options
from genrecore.errors import GenrecoreError
from genrecore.models.registered import MODELS


class ShortChunkOptions(Options):
    """What can be chosen about the short-chunk ResNet."""

    width: int = Field(
        128,
        title="Base filters",
        description="Filters of the first two blocks; twice as many in the following ones, four "
        "times in the last",
        ge=2,
        le=512,
    )
    n_blocks: int = Field(
        7,
        title="Blocks",
        description="Each halves bins and frames; smaller images need fewer",
        ge=3,
        le=9,
    )
    dropout: float = Field(
        0.5,
        title="Dropout",
        description="Share of values left out before the last layer while training",
        ge=0,
        le=0.9,
    )


@MODELS.register(
    "short_chunk_resnet",
    title="Short-chunk ResNet (Won)",
    source="Won, Ferraro, Bogdanov & Serra, Evaluation of CNN-based Automatic Music Tagging "
    "Models, Sound and Music Computing 2020, and the code published with it",
    options=ShortChunkOptions,
    accepts=frozenset({"image"}),
    least=(1, 64, 64),
    year=2020,
    idea="Small kernels with shortcuts on a few seconds of sound, and the largest value of each "
    "map: what stands out anywhere in them counts.",
    preset="won_mel",
    recipe={
        "segments.excerpts": "random",
        "training.optimiser": "adam",
        "training.lr": 1e-4,
        "training.weight_decay": 1e-4,
        "training.batch_size": 16,
        "training.epochs": 80,
        "training.watch": "loss",
    },
    published=(),
    notes=(
        "The study tells 50 tags apart that may all hold; here a clip has one genre.",
        "Its 80 epochs of Adam are followed by stages of SGD with momentum at 0.001, 0.0001 and "
        "0.00001, to 200 epochs in all; the recipe here ends before them.",
    ),
)
def short_chunk_resnet(
    shape: tuple[int, ...], n_genres: int, options: ShortChunkOptions
) -> nn.Module:
    """From images (batch, channels, bins, frames) to logits (batch, n_genres).

    As published: seven residual blocks of two 3 × 3 convolutions, which halve bins and frames
    (128, 128, four times 256, 512 filters; the shortcut is a 3 × 3 convolution, too); the maximum
    of each map; a dense layer of its size; dropout of a half; 12 million parameters.

    Ours differs in this: one genre a clip instead of 50 tags that may all hold, so the loss takes
    the softmax, not a sigmoid each; decibels are standardised before the network instead of in
    its first layer; any number of blocks; and convolutions before a batch normalisation have no
    bias, which would learn nothing.

    Training needs batches of two segments or more.

    Raises:
        GenrecoreError: An image so small that the last block has nothing left to look at.
    """
    n_in, n_bins, n_frames = shape
    least = 2 ** (options.n_blocks - 1)
    if min(n_bins, n_frames) < least:
        raise GenrecoreError(
            f"The model short_chunk_resnet with {options.n_blocks} blocks needs images of at least "
            f"{least} bins × {least} frames, but the feature makes {n_bins} × {n_frames}; take "
            "more bands, longer segments, a shorter hop, or fewer blocks."
        )
    w = options.width
    filters = [w] * 2 + [2 * w] * (options.n_blocks - 3) + [4 * w]
    return nn.Sequential(
        *(_Block(before, n) for before, n in zip([n_in, *filters], filters, strict=False)),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * w, 4 * w, bias=False),
        nn.BatchNorm1d(4 * w),
        nn.ReLU(inplace=True),
        nn.Dropout(options.dropout),
        nn.Linear(4 * w, n_genres),
    )


class _Block(nn.Module):
    """Two convolutions beside a third, from (batch, n_in, bins, frames) to (batch, n_out, half the
    bins, half the frames), rounded up."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.way = nn.Sequential(
            *_convolution(n_in, n_out, stride=2),
            nn.ReLU(inplace=True),
            *_convolution(n_out, n_out, stride=1),
        )
        self.shortcut = nn.Sequential(*_convolution(n_in, n_out, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(self.way(x) + self.shortcut(x))


def _convolution(n_in: int, n_out: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out)]
