"""Images that come with a dataset.

Their front end takes the shape of one image instead of a sample rate and a length.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from genrecore.audio.axes import Axes, Rows
from genrecore.config.registry import Options
from genrecore.features.registered import FEATURES


class DatasetImageOptions(Options):
    """How an image becomes numbers."""

    colour: Literal["colour", "grey"] = Field(
        "colour",
        title="Colour",
        description="colour keeps red, green and blue as three channels; grey makes one of them",
    )
    order: Literal["red green blue", "blue green red"] = Field(
        "red green blue",
        title="Order of the colours",
        description="red first, as published weights expect, or blue first, as OpenCV (Belton); "
        "of grey images it makes none",
    )
    scale: Literal["0 to 1", "0 to 255"] = Field(
        "0 to 1",
        title="Scale",
        description="0 to 1 divides by 255 (Belton); 0 to 255 leaves the numbers as they are",
    )


@FEATURES.register(
    "image",
    title="The dataset's own images",
    source="Belton, section 4.3.3 (divided by 255); Qin, Zhuo & Ren (standardised per channel: "
    "the standardisation z_score)",
    options=DatasetImageOptions,
    kind="image",
    needs=("image",),
    typical_shape=(3, 288, 432),
)
class DatasetImage(nn.Module):
    """Images (batch, 3, height, width) uint8 as (batch, 3 or 1, height, width) float32.

    Grey is the luminance of ITU-R BT.601, as Pillow's. The standardisation follows after it.
    """

    weights: Tensor

    def __init__(self, options: DatasetImageOptions, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.options = options
        grey = options.colour == "grey"
        # In the memory of this module only: it follows from nothing that is learned.
        self.register_buffer("weights", torch.tensor([0.299, 0.587, 0.114]), persistent=False)
        self.output_shape = (1 if grey else shape[0], *shape[1:])

    def axes(self) -> tuple[Axes, ...]:
        """Rows and columns of pixels, since the files do not say which frequencies they show."""
        names = [f"row {row + 1}" for row in range(self.output_shape[1])]
        return (Axes("Image", "", Rows("Row", names, {}, ""), "points"),)

    def forward(self, image: Tensor) -> Tensor:
        values = image.float()
        if self.options.scale == "0 to 1":
            values = values / 255.0
        if self.options.colour == "grey":
            values = (values * self.weights[:, None, None]).sum(1, keepdim=True)
        elif self.options.order == "blue green red":
            values = values.flip(1)
        return values
