"""The recurrent networks of Liu, Vetshchaizer & Yip: a CNN, then a GRU over time."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from genrecore.config.registry import Options
from genrecore.models.cnn import (
    LIU,
    LIU_LEAST,
    LIU_NOTES,
    LIU_RECIPE,
    N_BANDS,
    CnnOptions,
    convolutions,
)
from genrecore.models.dcnn import ROUTES_NOTE, DcnnOptions, Routes
from genrecore.models.recurrent import GruLayer
from genrecore.models.registered import MODELS, Published, check_image

_READOUT_NOTE = (
    "The study does not print whether its output layer sees the recurrent layer's last step or all "
    "of them; here it sees their average."
)


class _GruOptions(Options):
    frames_per_step: Literal[2, 4, 8, 16] = Field(
        4,
        title="Frames to a step",
        description="How many of the image's frames the convolutions pool to one step of the "
        "recurrent layers; fewer keep the order of time finer, and take longer",
    )
    hidden: int = Field(
        256,
        title="Recurrent units",
        description="Of each recurrent layer and direction",
        ge=1,
        le=2048,
    )
    n_layers: int = Field(
        1, title="Recurrent layers", description="One on top of another", ge=1, le=8
    )
    bidirectional: bool = Field(
        False,
        title="Both directions",
        description="Go through time forwards and, with as many units more, backwards",
    )


class CrnnOptions(_GruOptions, CnnOptions):
    """What can be chosen about the convolutional recurrent network."""


class DcrnnOptions(_GruOptions, DcnnOptions):
    """What can be chosen about the duplicated convolutional recurrent network."""

    hidden: int = Field(
        208,
        title="Recurrent units",
        description="Of each recurrent layer and direction",
        ge=1,
        le=2048,
    )


@MODELS.register(
    "crnn",
    title="Convolutional recurrent network (after Liu)",
    source=f"{LIU}, section 3.1.3; compare Choi, Fazekas, Sandler & Cho (2017), Convolutional "
    "Recurrent Neural Networks for Music Classification",
    options=CrnnOptions,
    accepts=frozenset({"image"}),
    least=(1, LIU_LEAST, LIU_LEAST),
    year=2019,
    idea="Convolutions say what sounds at each moment; a recurrent layer reads it in the order of "
    "time.",
    preset="liu_mel",
    recipe=LIU_RECIPE,
    published=(Published(f"{LIU}, section 4.2", 1_000_000, (1, 128, 128), 8),),
    notes=(*LIU_NOTES, _READOUT_NOTE),
)
def crnn(shape: tuple[int, ...], n_genres: int, options: CrnnOptions) -> nn.Module:
    """From images (batch, channels, bins, frames) to logits (batch, n_genres); see `OverTime`.

    The convolutions are the base CNN's with the same filters, but they pool time less: 32 steps of
    128 frames, where the base CNN would have 8. Their maps are averaged to 4 bands and batch
    normalised, as the paper has it at the end of its CNN module; the last convolution is not
    normalised before. One layer of 256 GRUs makes it
    1 028 000 parameters for 1 × 128 × 128 and 8 genres; the paper prints ~1,000,000 and no sizes.

    Raises:
        GenrecoreError: An image below 32 × 32.
    """
    check_image("crnn", shape, least=LIU_LEAST)
    layers, n_filters = convolutions(shape[0], options, options.frames_per_step, False)
    maps = nn.Sequential(
        *layers,
        nn.AdaptiveAvgPool2d((N_BANDS, _n_steps(shape[2], options))),
        nn.BatchNorm2d(n_filters),
    )
    return OverTime(maps, n_filters * N_BANDS, n_genres, options, options.dropout)


@MODELS.register(
    "dcrnn",
    title="Duplicated convolutional recurrent network (after Liu)",
    source=f"{LIU}, section 3.1.4",
    options=DcrnnOptions,
    accepts=frozenset({"image"}),
    least=(1, LIU_LEAST, LIU_LEAST),
    year=2019,
    idea="The parallel routes of the duplicated CNN, read by a recurrent layer in the order of "
    "time.",
    preset="liu_mel",
    recipe={
        "training.optimiser": "adam",
        "training.batch_size": 64,
        "training.epochs": 50,
        "training.schedule": "constant",
        "training.lr": 1e-3,
    },
    published=(),
    notes=(
        *LIU_NOTES,
        ROUTES_NOTE,
        _READOUT_NOTE,
        "The study's final figures for this network are those without cyclic learning rates, which "
        "made it worse; it does not print the constant rate, and 0.001 is taken.",
    ),
)
def dcrnn(shape: tuple[int, ...], n_genres: int, options: DcrnnOptions) -> nn.Module:
    """From images (batch, channels, bins, frames) to logits (batch, n_genres); see `OverTime`.

    The routes are the duplicated CNN's (`dcnn.Routes`), but they pool time less: 32 steps of 128
    frames. The study prints no size for this network; ours has 967 000 parameters for 1 × 128 × 128
    and 8 genres, so that it compares with `crnn`.

    Raises:
        GenrecoreError: An image below 32 × 32.
    """
    check_image("dcrnn", shape, least=LIU_LEAST)
    n_steps = _n_steps(shape[2], options)
    routes = Routes(shape[0], options, options.frames_per_step, n_steps, normalise_last=False)
    maps = nn.Sequential(routes, nn.BatchNorm2d(routes.n_filters))
    return OverTime(maps, routes.n_filters * N_BANDS, n_genres, options, options.dropout)


def _n_steps(n_frames: int, options: _GruOptions) -> int:
    """Steps of the maps: the first convolution rounds up, poolings round down."""
    return (n_frames + 1) // 2 // (options.frames_per_step // 2)


class OverTime(nn.Module):
    """A GRU that reads maps (batch, filters, bands, steps) in the order of their steps.

    At each step it takes the filters of all bands; the output layer sees the average of what it
    says at all steps. An excerpt of music has no end that would tell more than its other moments,
    and so the gradient reaches every step without passing through all the later ones. On a toy of
    rising, falling and jumping tones both learned equally fast, but of 96 unseen examples the
    average told all in eight runs of eight, the last step alone 91 to 100 %.

    Attributes:
        maps: Images to maps.
        recurrent: The GRU.
    """

    def __init__(
        self, maps: nn.Module, n_features: int, n_genres: int, options: _GruOptions, dropout: float
    ) -> None:
        super().__init__()
        self.maps = maps
        self.recurrent = GruLayer(
            n_features,
            options.hidden,
            options.n_layers,
            batch_first=True,
            bidirectional=options.bidirectional,
        )
        self.dropout = nn.Dropout(dropout)
        n_out = options.hidden * (2 if options.bidirectional else 1)
        self.output = nn.Linear(n_out, n_genres)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (batch, n_genres) of images (batch, channels, bins, frames)."""
        maps = self.maps(image)
        steps = maps.permute(0, 3, 2, 1).flatten(2)  # (batch, steps, bands · filters)
        outputs, _ = self.recurrent(steps)
        return self.output(self.dropout(outputs.mean(dim=1)))
