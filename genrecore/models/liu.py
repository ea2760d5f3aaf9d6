"""The four networks of Liu, Vetshchaizer & Yip, with the layers that their Figure 1 prints."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from genrecore.config.registry import Options
from genrecore.models.cnn import LIU, LIU_RECIPE
from genrecore.models.recurrent import GruLayer
from genrecore.models.registered import MODELS, Published, check_image

_Stages = tuple[tuple[int, int], ...]
_STAGES: _Stages = ((4, 11), (8, 7), (16, 3), (32, 3))
"""Filters and kernel of the CRNN's convolutions in Figure 1.3; the CNN's are the first three."""
_LEAST_CNN, _LEAST_CRNN, _LEAST_ROUTES, _LEAST_PADDED = 38, 78, 32, 16
_NOTES = (
    "The study bears no date; the latest work that it cites is of 2019.",
    "The layers are those of its Figure 1, in the report that its text links to.",
    "The figure prints no strides and no activations: convolutions move by one, and the text's "
    "ReLU follows every convolution and dense layer.",
    "Initial weights are not printed; here they are He's (2015), made for ReLU.",
    "The figure's images are of 128 × 128 in three colours; any number of channels fits here.",
)
_UNPADDED = (
    "The figure prints no padding; there is none by default, without which the CNN of Figure 1.1 "
    "would have 556 128 parameters instead of the printed ~300,000."
)
_PADDED = (
    "The figure prints no padding; zeros keep the size of the maps, without which the outputs of "
    "the routes could not be concatenated."
)
_RECURRENT = (
    "The figure prints no units of its two GRUs; 296 make the ~1,000,000 parameters of the CRNN.",
    "The study does not print what the dense layers see of the GRUs; here it is the last step. "
    "Section 3.1.3 has GRUs, section 3.1.4 long short-term memory; the figure has GRUs.",
    "Section 3.1.3 has batch normalisation at the end of the CNN module; the figure does not print "
    "it. Here it is on by default.",
)


def _dropout(share: float, where: str) -> Any:
    return Field(
        share,
        title=f"Dropout after {where}",
        description="Share of values left out while training",
        ge=0,
        le=0.9,
    )


class _MapOptions(Options):
    map_dropout: float = _dropout(0.5, "poolings")
    dropout: float = _dropout(0.5, "the dense layers")
    padding: bool = Field(
        False,
        title="Padding",
        description="Zeros around every image and map, so that convolutions keep their size",
    )


class LiuCnnOptions(_MapOptions):
    """What can be chosen about the study's CNN."""

    fourth: bool = Field(
        False,
        title="Fourth convolution",
        description="32 filters of 3 × 3, with pooling and dropout, as Figure 1.3 has them for the "
        "CRNN; with it and padding the network has 298 624 parameters",
    )


class LiuDcnnOptions(Options):
    """What can be chosen about the study's duplicated CNN."""

    map_dropout: float = _dropout(0.2, "the first convolution")
    dropout: float = _dropout(0.3, "the dense layer")


class _TwoGruOptions(Options):
    batch_norm: bool = Field(
        True,
        title="Batch normalisation",
        description="At the end of the convolutions, as section 3.1.3 has it",
    )
    gru_dropout: float = _dropout(0.5, "each GRU")
    hidden: int = Field(
        296, title="Recurrent units", description="Of each of the two GRUs", ge=1, le=2048
    )


class LiuCrnnOptions(_TwoGruOptions, _MapOptions):
    """What can be chosen about the study's convolutional recurrent network."""


class LiuDcrnnOptions(_TwoGruOptions, LiuDcnnOptions):
    """What can be chosen about the study's duplicated convolutional recurrent network."""

    dropout: float = _dropout(0.2, "the dense layers")


def _facts(least: int, *notes: str, **others: Any) -> dict[str, Any]:
    """What the four registrations share."""
    return {
        "accepts": frozenset({"image"}),
        "least": (1, least, least),
        "year": 2019,
        "preset": "liu_rgb",
        "notes": (*_NOTES, *notes),
        "recipe": LIU_RECIPE,
    } | others


@MODELS.register(
    "liu_cnn",
    title="CNN (Liu, Figure 1.1)",
    source=f"{LIU}, section 3.1.1 and Figure 1",
    options=LiuCnnOptions,
    idea="A plain stack of convolutions on a mel spectrogram, against which the study measures its "
    "other networks.",
    **_facts(
        _LEAST_CNN,
        _UNPADDED,
        "Section 3.1.3 says that the CRNN contains this CNN; in the figure it has a fourth "
        "convolution (32, 3 × 3), which this one lacks. The option fourth adds it.",
        published=(
            Published(
                f"{LIU}, section 4.2",
                300_000,
                (3, 128, 128),
                8,
                why="The study prints ~300,000, with one digit. The options fourth and padding "
                "together make 298 624, but Figure 1.1 prints three convolutions.",
            ),
        ),
    ),
)
def liu_cnn(shape: tuple[int, ...], n_genres: int, options: LiuCnnOptions) -> nn.Module:
    """From images (batch, channels, bins, frames) to logits (batch, n_genres).

    Convolutions of 4, 8 and 16 filters (11 × 11, 7 × 7, 3 × 3), each with max pooling and dropout;
    dense layers of 128, 128, 64, 32 and 16. For 3 × 128 × 128 and 8 genres the maps are 16 × 12 ×
    12, and 326 752 parameters are learned; 298 624 with a fourth convolution and padding.

    Raises:
        GenrecoreError: An image below 38 × 38, with padding below 16 × 16.
    """
    stages = _STAGES if options.fourth else _STAGES[:3]
    check_image("liu_cnn", shape, least=_LEAST_PADDED if options.padding else _LEAST_CNN)
    maps = _maps(shape[0], stages, options, options.map_dropout)
    n_maps = stages[-1][0] * _left(shape[1], stages, options) * _left(shape[2], stages, options)
    dense = _dense(n_maps, (128, 128, 64, 32, 16), n_genres, options.dropout)
    return nn.Sequential(maps, nn.Flatten(), *dense)


@MODELS.register(
    "liu_dcnn",
    title="Duplicated CNN (Liu, Figure 1.2)",
    source=f"{LIU}, section 3.1.2 and Figure 1",
    options=LiuDcnnOptions,
    idea="Parallel routes, each with a pooling of its own, keep what one route after many layers "
    "would have lost.",
    **_facts(_LEAST_ROUTES, _PADDED),
)
def liu_dcnn(shape: tuple[int, ...], n_genres: int, options: LiuDcnnOptions) -> nn.Module:
    """From images (batch, channels, bins, frames) to logits (batch, n_genres); see `LiuRoutes`.

    The routes' maps, 24 × 64 × 64 for images of 128 × 128, go to a dense layer of 128.

    Raises:
        GenrecoreError: An image below 32 × 32.
    """
    check_image("liu_dcnn", shape, least=_LEAST_ROUTES)
    routes = LiuRoutes(shape[0], options.map_dropout)
    n_maps = routes.n_filters * (shape[1] // 2) * (shape[2] // 2)
    return nn.Sequential(routes, nn.Flatten(), *_dense(n_maps, (128,), n_genres, options.dropout))


@MODELS.register(
    "liu_crnn",
    title="Convolutional recurrent network (Liu, Figure 1.3)",
    source=f"{LIU}, section 3.1.3 and Figure 1",
    options=LiuCrnnOptions,
    idea="Convolutions say what sounds at each moment; recurrent layers read it in the order of "
    "time.",
    **_facts(
        _LEAST_CRNN,
        _UNPADDED,
        *_RECURRENT,
        "The figure prints the dropout after the poolings as 0.x; 0.5 is the CNN's.",
        published=(Published(f"{LIU}, section 4.2", 1_000_000, (3, 128, 128), 8),),
    ),
)
def liu_crnn(shape: tuple[int, ...], n_genres: int, options: LiuCrnnOptions) -> nn.Module:
    """From images (batch, channels, bins, frames) to logits (batch, n_genres); see `LiuRecurrent`.

    Convolutions of 4, 8, 16 and 32 filters (11 × 11, 7 × 7, 3 × 3, 3 × 3), each with max pooling;
    batch normalisation; two GRUs; dense layers of 128, 128, 64, 32 and 16. For 3 × 128 × 128 and 8
    genres the GRUs read 5 steps of 160, and 1 008 608 parameters are learned.

    Raises:
        GenrecoreError: An image below 78 × 78, with padding below 32 × 32, of which the GRUs would
            read a single step.
    """
    check_image("liu_crnn", shape, least=2 * _LEAST_PADDED if options.padding else _LEAST_CRNN)
    maps = _maps(shape[0], _STAGES, options, 0.0)
    n_filters = _STAGES[-1][0]
    n_features = n_filters * _left(shape[1], _STAGES, options)
    dense = _dense(options.hidden, (128, 128, 64, 32, 16), n_genres, options.dropout)
    return LiuRecurrent(maps, n_filters, n_features, options, dense)


@MODELS.register(
    "liu_dcrnn",
    title="Duplicated convolutional recurrent network (Liu, Figure 1.4)",
    source=f"{LIU}, section 3.1.4 and Figure 1",
    options=LiuDcrnnOptions,
    idea="The parallel routes of the duplicated CNN, read by recurrent layers in the order of "
    "time.",
    **_facts(
        _LEAST_ROUTES,
        _PADDED,
        *_RECURRENT,
        "The study's final figures for this network are those without cyclic learning rates, which "
        "made it worse; it does not print the constant rate, and 0.001 is taken.",
        recipe={
            "training.optimiser": "adam",
            "training.batch_size": 64,
            "training.epochs": 50,
            "training.schedule": "constant",
            "training.lr": 1e-3,
        },
    ),
)
def liu_dcrnn(shape: tuple[int, ...], n_genres: int, options: LiuDcrnnOptions) -> nn.Module:
    """From images (batch, channels, bins, frames) to logits (batch, n_genres); see `LiuRoutes` and
    `LiuRecurrent`.

    The GRUs read 64 steps of 1 536 of images of 128 × 128; dense layers of 64 and 32 follow.

    Raises:
        GenrecoreError: An image below 32 × 32.
    """
    check_image("liu_dcrnn", shape, least=_LEAST_ROUTES)
    routes = LiuRoutes(shape[0], options.map_dropout)
    dense = _dense(options.hidden, (64, 32), n_genres, options.dropout)
    n_features = routes.n_filters * (shape[1] // 2)
    return LiuRecurrent(routes, routes.n_filters, n_features, options, dense)


class LiuRoutes(nn.Module):
    """Four routes from images (batch, channels, bins, frames) to maps (batch, 24, bins / 2,
    frames / 2).

    They share a convolution (4, 11 × 11) with dropout. The first takes its maximum; the others
    share another convolution (4, 7 × 7), of which the second takes the average, and the third and
    the fourth the maximum and the average of a further convolution (8, 5 × 5) of their own.

    Attributes:
        n_filters: Of all routes together.
    """

    n_filters = 24

    def __init__(self, n_channels: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Sequential(*_convolution(n_channels, 4, 11, 5), nn.Dropout(dropout))
        self.second = nn.Sequential(*_convolution(4, 4, 7, 3))
        self.pool_max, self.pool_average = nn.MaxPool2d(2), nn.AvgPool2d(2)
        self.third = nn.Sequential(*_convolution(4, 8, 5, 2), nn.MaxPool2d(2))
        self.fourth = nn.Sequential(*_convolution(4, 8, 5, 2), nn.AvgPool2d(2))

    def forward(self, image: Tensor) -> Tensor:
        """Maps of the four routes, one after the other."""
        first = self.first(image)
        second = self.second(first)
        routes = [self.pool_max(first), self.pool_average(second)]
        return torch.cat([*routes, self.third(second), self.fourth(second)], dim=1)


class LiuRecurrent(nn.Module):
    """Two GRUs, each with dropout, that read maps (batch, filters, bands, steps), normalised over
    the batch, in the order of their steps, and dense layers on the last step."""

    def __init__(
        self,
        maps: nn.Module,
        n_filters: int,
        n_features: int,
        options: _TwoGruOptions,
        dense: list[nn.Module],
    ) -> None:
        super().__init__()
        self.maps = maps
        self.normalised = nn.BatchNorm2d(n_filters) if options.batch_norm else nn.Identity()
        self.recurrent = GruLayer(
            n_features, options.hidden, 2, batch_first=True, dropout=options.gru_dropout
        )
        self.dropout = nn.Dropout(options.gru_dropout)
        self.dense = nn.Sequential(*dense)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (batch, n_genres) of images (batch, channels, bins, frames)."""
        maps = self.normalised(self.maps(image))
        steps = maps.permute(0, 3, 2, 1).flatten(2)  # (batch, steps, bands · filters)
        outputs, _ = self.recurrent(steps)
        return self.dense(self.dropout(outputs[:, -1]))


def _convolution(n_in: int, n_out: int, kernel: int, padding: int = 0) -> list[nn.Module]:
    return [_initialised(nn.Conv2d(n_in, n_out, kernel, padding=padding)), nn.ReLU(inplace=True)]


def _initialised(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    """The layer with He's initial weights; with torch's own, whose spread shrinks with every ReLU,
    five dense layers in a row give every image the same logits."""
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _maps(
    n_channels: int, stages: _Stages, options: _MapOptions, first_dropout: float
) -> nn.Sequential:
    """Stages of convolution, max pooling (2, 2) and dropout."""
    layers: list[nn.Module] = []
    for k, (n_filters, kernel) in enumerate(stages):
        padding = kernel // 2 if options.padding else 0
        layers += [*_convolution(n_channels, n_filters, kernel, padding), nn.MaxPool2d(2)]
        share = options.map_dropout if k else first_dropout
        layers += [nn.Dropout(share)] if share else []
        n_channels = n_filters
    return nn.Sequential(*layers)


def _left(size: int, stages: _Stages, options: _MapOptions) -> int:
    """Of an axis, after all stages."""
    for _, kernel in stages:
        size = (size if options.padding else size - kernel + 1) // 2
    return size


def _dense(n_in: int, sizes: tuple[int, ...], n_genres: int, dropout: float) -> list[nn.Module]:
    """Dense layers with ReLU, dropout after the last, and the logits."""
    layers: list[nn.Module] = []
    for size in sizes:
        layers += [_initialised(nn.Linear(n_in, size)), nn.ReLU(inplace=True)]
        n_in = size
    return [*layers, nn.Dropout(dropout), nn.Linear(n_in, n_genres)]
