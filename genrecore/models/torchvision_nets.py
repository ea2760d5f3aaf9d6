"""Networks of torchvision, with the input and output layers that spectrograms need.

torchvision itself is imported when a network is built: it takes seconds.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import nn

from genrecore.errors import GenrecoreError
from genrecore.models.registered import MODELS, check_image
from genrecore.registry import Options


class ResNet18Options(Options):
    """What can be chosen about a ResNet-18."""

    pretrained: bool = Field(
        False,
        title="ImageNet weights",
        description="Start from weights learned on photographs (a download of 45 MB) "
        "instead of random ones",
    )


@MODELS.register(
    "resnet18",
    title="ResNet-18",
    source="He, Zhang, Ren & Sun (2016), Deep Residual Learning for Image Recognition; "
    "torchvision's network",
    options=ResNet18Options,
    accepts=frozenset({"image"}),
)
def resnet18(shape: tuple[int, ...], n_genres: int, options: ResNet18Options) -> nn.Module:
    """ResNet-18 from images (batch, 1 or 3, bins, frames) to logits (batch, n_genres).

    Eighteen layers, about 11.2 million parameters. Ours differs from the published network in the
    last layer (one output a genre) and, for one channel, in the first: there pretrained weights are
    summed over red, green and blue, which equals feeding the same image to all three.

    Raises:
        GenrecoreError: An image below 32 × 32 or of neither 1 nor 3 channels, or ImageNet weights
            that are neither on disk nor within reach.
    """
    from torchvision.models import ResNet18_Weights, resnet18

    check_image("resnet18", shape, least=32)
    n_channels = shape[0]
    if n_channels not in (1, 3):
        raise GenrecoreError(
            f"The model resnet18 takes 1 or 3 channels, but the feature makes {n_channels}."
        )
    network = resnet18(weights=None)
    # On the meta device there are shapes only, nothing to load (and nothing to download for).
    pretrained = options.pretrained and network.fc.weight.device.type != "meta"
    if pretrained:
        network.load_state_dict(_imagenet_weights(ResNet18_Weights.IMAGENET1K_V1))
    if n_channels == 1:
        of_rgb = network.conv1
        network.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
        if pretrained:
            with torch.no_grad():
                network.conv1.weight.copy_(of_rgb.weight.sum(dim=1, keepdim=True))
        else:  # as torchvision starts all its convolutions
            nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.fc = nn.Linear(network.fc.in_features, n_genres)
    return network


def _imagenet_weights(weights: Any) -> dict[str, torch.Tensor]:
    """The state dict of a torchvision weights enum, from torch hub's folder or the network.

    Raises:
        GenrecoreError: It is not there and cannot be downloaded, or the file cannot be read.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / weights.url.rsplit("/", 1)[-1]
    try:
        return weights.get_state_dict(progress=False, check_hash=True)
    # OSError: no network, no right to write; the others: a half-written or foreign file.
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        if file.exists():
            raise GenrecoreError(
                f"The ImageNet weights in {file} cannot be read; delete the file, or replace it by "
                f"the one at {weights.url}."
            ) from error
        raise GenrecoreError(
            f"The ImageNet weights could not be downloaded from {weights.url}; without network, "
            f"fetch the file elsewhere and put it into {folder}, or train without pretrained "
            "weights."
        ) from error
