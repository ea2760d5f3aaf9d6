"""The duplicated CNN of Liu, Vetshchaizer & Yip: parallel routes of convolution and pooling."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from genrecore.config.registry import Options
from genrecore.models.cnn import (
    LIU,
    LIU_LEAST,
    LIU_NOTES,
    LIU_RECIPE,
    N_BANDS,
    convolution,
    dense_layers,
)
from genrecore.models.registered import MODELS, check_image

ROUTES_NOTE = (
    "Its text asks for parallel routes with varying numbers of convolutions and distinct poolings; "
    "the four here pool by maximum, by a convolution with a step, by average and by a dense layer, "
    "the four that it tells of Yang & Zhang (2019)."
)
_N_ROWS = 16
"""Rows to which the dense route averages: as many as an image of 32 bins has after the first
convolution."""


class DcnnOptions(Options):
    """What can be chosen about the duplicated CNN."""

    width: int = Field(
        16,
        title="Base filters",
        description="Filters of the first convolution, which all routes share; each following one "
        "has twice as many, up to eight times as many",
        ge=2,
        le=128,
    )
    depth: int = Field(
        3,
        title="Convolutions of the longest route",
        description="The one with max pooling; the route with convolutions for pooling has one "
        "fewer, the one with average pooling two fewer, but at least one",
        ge=1,
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
    "dcnn",
    title="Duplicated CNN (after Liu)",
    source=f"{LIU}, section 3.1.2; after Yang & Zhang (2019), Music Genre Classification Using "
    "Duplicated Convolutional Layers in Neural Networks",
    options=DcnnOptions,
    accepts=frozenset({"image"}),
    least=(1, LIU_LEAST, LIU_LEAST),
    year=2019,
    idea="Parallel routes, each with a pooling of its own, keep what one route after many layers "
    "would have lost.",
    preset="liu_mel",
    recipe=LIU_RECIPE,
    published=(),
    notes=(*LIU_NOTES, ROUTES_NOTE),
)
def dcnn(shape: tuple[int, ...], n_genres: int, options: DcnnOptions) -> nn.Module:
    """From images (batch, channels, bins, frames) to logits (batch, n_genres); see `Routes`.

    Every route ends with 4 bands × 1 frame; their maps are concatenated and flattened for dense
    layers of 64 and n_genres, as the base CNN has them. The study prints no size for this network;
    ours has 271 000 parameters for 1 × 128 × 128 and 8 genres, so that it compares with the base
    CNN of 288 000.

    Raises:
        GenrecoreError: An image below 32 × 32.
    """
    check_image("dcnn", shape, least=LIU_LEAST)
    routes = Routes(shape[0], options, frames_per_step=16, n_steps=1)
    return nn.Sequential(
        routes,
        nn.Flatten(),
        *dense_layers(routes.n_filters * N_BANDS, n_genres, options.dropout),
    )


class Routes(nn.Module):
    """Four routes side by side, from images (batch, channels, bins, frames) to maps
    (batch, n_filters, 4, steps).

    The first convolution (7 × 7, step 2) is shared. After it each route pools three times, in its
    own way, with a convolution (5 × 5, then 3 × 3) after each of the first poolings: as many as
    `depth` where the maximum is taken, one fewer where a convolution with a step does the pooling,
    two fewer where the average is taken. The fourth route has a dense layer over all the filters
    and bands of each step.

    Attributes:
        n_filters: Filters of all routes together.
        n_convolutions: Of each route by its name, with those that pool left out.
    """

    def __init__(
        self,
        n_channels: int,
        options: DcnnOptions,
        frames_per_step: int,
        n_steps: int,
        normalise_last: bool = True,
    ) -> None:
        """
        Args:
            n_channels: Of the image.
            options: Width, depth and batch normalisation.
            frames_per_step: Frames of the image to a step, a power of two from 2 to 16.
            n_steps: To which the routes are pooled in the end.
            normalise_last: As `cnn.convolutions`, for the last convolution of each route.
        """
        super().__init__()
        width, wanted = options.width, (N_BANDS, n_steps)
        self.first = nn.Sequential(
            *convolution(n_channels, width, 7, options.batch_norm, stride=(2, 2))
        )
        # Time is pooled as early as possible, which is cheapest.
        in_time = [2 if frames_per_step >= 4 * 2**k else 1 for k in range(3)]
        self.n_convolutions = {
            "max": options.depth,
            "convolution": max(options.depth - 1, 1),
            "average": max(options.depth - 2, 1),
            "dense": 0,
        }
        last: dict[str, nn.Module] = {
            "max": nn.AdaptiveMaxPool2d(wanted),
            "convolution": nn.AdaptiveAvgPool2d(wanted),
            "average": nn.AdaptiveAvgPool2d(wanted),
        }
        self.routes = nn.ModuleDict()
        self.n_filters = 0
        for name, end in last.items():
            layers: list[nn.Module] = []
            n_in = width
            n_convolutions = self.n_convolutions[name]
            for k in range(max(n_convolutions, 3)):
                if k < 3:
                    layers.append(_pooling(name, n_in, (2, in_time[k])))
                if k < n_convolutions:
                    n_out = width * 2 ** min(k + 1, 3)
                    batch_norm = options.batch_norm and (normalise_last or k < n_convolutions - 1)
                    layers += convolution(n_in, n_out, 5 if k == 0 else 3, batch_norm)
                    n_in = n_out
            self.routes[name] = Route(*layers, end)
            self.n_filters += n_in
        self.routes["dense"] = Route(
            nn.AvgPool2d((1, frames_per_step // 2)),
            nn.AdaptiveAvgPool2d((_N_ROWS, n_steps)),
            nn.Conv2d(width, 2 * width * N_BANDS, (_N_ROWS, 1)),
            nn.ReLU(inplace=True),
            nn.Flatten(2),
            nn.Unflatten(1, (2 * width, N_BANDS)),
        )
        self.n_filters += 2 * width

    def forward(self, image: Tensor) -> Tensor:
        """Maps (batch, n_filters, 4, steps)."""
        first = self.first(image)
        return torch.cat([route(first) for route in self.routes.values()], dim=1)


class Route(nn.Sequential):
    """The layers of one route."""


def _pooling(name: str, n_filters: int, size: tuple[int, int]) -> nn.Module:
    if name == "convolution":
        return nn.Conv2d(n_filters, n_filters, size, size, bias=False)
    return nn.MaxPool2d(size) if name == "max" else nn.AvgPool2d(size)
