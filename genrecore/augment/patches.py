"""Patches: training sees a random part of an image, the test the mean of ten."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor, nn

from genrecore.augment.registered import AUGMENTATIONS, AugmentOptions, Configured


class PatchOptions(AugmentOptions):
    """The size of patches, and whether they are reflected."""

    p: float = Field(
        1.0,
        title="Probability",
        description="Always 1: a network takes images of one size",
        ge=1.0,
        le=1.0,
    )
    share: float = Field(
        0.875,
        title="Side",
        description="Of a patch, as a share of the image's length and height; AlexNet's is 224 of "
        "256",
        ge=0.1,
        lt=1.0,
    )
    reflections: bool = Field(
        True,
        title="Reflections",
        description="Half of the patches, and five of the ten, are played backwards",
    )


@AUGMENTATIONS.register(
    "patches",
    title="Patches",
    source="Hong, section 2.3; Krizhevsky, Sutskever & Hinton (2012), ImageNet classification with "
    "deep convolutional neural networks, section 4.1",
    options=PatchOptions,
    on="image",
    last=True,
    patches=True,
)
class Patches(Configured[PatchOptions]):
    """A patch from anywhere in the image, half of them reflected in time; the network is as small
    as a patch.

    As the source, a tested image is seen ten times: the patches in its four corners and the middle,
    and their reflections, whose probabilities are averaged. So in training a network sees less than
    all of a clip's bands, moved up and down, which for music is another key.
    """

    def patch_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of patches of images of this shape (channels, bins, frames)."""
        return (shape[0], *(max(1, round(self.options.share * side)) for side in shape[1:]))

    def draw(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.rand(n, 3, generator=generator)

    def apply(self, x: Tensor, parameters: Tensor) -> Tensor:
        """`parameters` holds the lowest band and the first frame as shares of what is left over,
        and whether the patch is reflected: where it is below ½."""
        _, height, width = self.patch_shape(tuple(x.shape[1:]))
        spare = torch.tensor([x.shape[2] - height + 1, x.shape[3] - width + 1])
        corners = (parameters[:, :2].double() * spare).long().tolist()
        patches = torch.stack(
            [
                image[:, low : low + height, first : first + width]
                for image, (low, first) in zip(x.float(), corners, strict=True)
            ]
        )
        if not self.options.reflections:
            return patches
        is_reflected = (parameters[:, 2] < 0.5).to(x.device)[:, None, None, None]
        return torch.where(is_reflected, patches.flip(3), patches)

    def tested_on_patches(self, network: nn.Module, shape: tuple[int, ...]) -> nn.Module:
        """A network of patches as one of images of this shape."""
        return TenPatches(network, self.patch_shape(shape), self.options.reflections)


class TenPatches(nn.Module):
    """Logits (batch, genres) of images: the logarithms of the mean probabilities of their patches.

    In training it takes patches as they are, and the middle of what is larger. The middle patch
    comes last, so that it is what hooks on the layers see last.

    Attributes:
        network: It takes patches.
    """

    def __init__(self, network: nn.Module, shape: tuple[int, ...], reflections: bool) -> None:
        super().__init__()
        self.network, self.shape, self.reflections = network, shape, reflections

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            return self.network(self._middle(images))
        outputs = [self.network(patch).float().log_softmax(1) for patch in self._patches(images)]
        return torch.stack(outputs).logsumexp(0) - math.log(len(outputs))

    def training_logits(self, images: Tensor) -> list[tuple[float, Tensor]]:
        """(weight, logits) of the network's heads."""
        own = getattr(self.network, "training_logits", None)
        middle = self._middle(images)
        return [(1.0, self.network(middle))] if own is None else own(middle)

    def _middle(self, images: Tensor) -> Tensor:
        _, height, width = self.shape
        low, first = (images.shape[2] - height) // 2, (images.shape[3] - width) // 2
        return images[:, :, low : low + height, first : first + width]

    def _patches(self, images: Tensor) -> list[Tensor]:
        _, height, width = self.shape
        patches = [
            images[:, :, rows, columns]
            for rows in (slice(None, height), slice(-height, None))
            for columns in (slice(None, width), slice(-width, None))
        ]
        patches.append(self._middle(images))
        return [patch.flip(3) for patch in patches] + patches if self.reflections else patches
