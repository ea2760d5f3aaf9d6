"""Colour maps: the colours that a drawn spectrogram has, as matplotlib's tables have them."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

ColourMapName = Literal[
    "none",
    "viridis",
    "plasma",
    "inferno",
    "magma",
    "cividis",
    "gray",
    "gray_r",
    "hot",
    "jet",
    "turbo",
    "rainbow",
    "nipy_spectral",
    "coolwarm",
    "RdBu_r",
    "Spectral_r",
]


def colour_table(name: str) -> np.ndarray:
    """Red, green and blue from 0 to 1 of a colour map of matplotlib, (256, 3) float32, from the
    lowest value to the highest."""
    from matplotlib import colormaps  # a third of a second that few need

    return colormaps[name](np.arange(256))[:, :3].astype(np.float32)


class ColourMap(nn.Module):
    """Images (batch, 1, rows, columns) in any unit as red, green and blue from 0 to 1, (batch, 3,
    rows, columns).

    As matplotlib draws an image (and so `librosa.display.specshow`): its lowest value has the
    map's first colour, its highest the last, and what lies between is divided into 256 equal steps.
    An image of one value has the first colour everywhere.
    """

    table: Tensor

    def __init__(self, name: str) -> None:
        super().__init__()
        # It follows from the options, so it stays out of the saved weights.
        self.register_buffer("table", torch.from_numpy(colour_table(name)), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        values = image[:, 0].float()
        lowest, highest = values.amin(dim=(1, 2), keepdim=True), values.amax((1, 2), keepdim=True)
        span = highest - lowest
        levels = (values - lowest) / torch.where(span > 0, span, 1.0)
        steps = (levels * len(self.table)).long().clamp(0, len(self.table) - 1)
        return functional.embedding(steps, self.table).permute(0, 3, 1, 2)
