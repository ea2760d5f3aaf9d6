"""Augmentations made for photographs, on spectrograms (batch, channels, bins, frames).

Hong, Comparison Among AlexNet, GoogLeNet and ResNet-18 in Automatic Music Genre Classification,
section 2.3, lists flipping, rotating, cutting, scaling, translation and AlexNet's principal
components of colour as usual and gives no numbers: the ranges here are ours. Each class says what
it means for a spectrogram, where the axes are time and frequency, not left and up. Where an image
is moved or turned, what comes in from outside is as quiet as the example's quietest point; of
colours, it has that of the example's darkest point.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor
from torch.nn import functional

from genrecore.audio.spectra import full_precision
from genrecore.augment.registered import AUGMENTATIONS, AugmentOptions, Configured

_HONG = "Hong, section 2.3"
_ALEXNET = "Krizhevsky, Sutskever & Hinton (2012), ImageNet classification with deep convolutional"


class FlipOptions(AugmentOptions):
    """The axis of a flip."""

    axis: Literal["time", "frequency"] = Field(
        "time",
        title="Axis",
        description="time plays backwards (a photograph's usual flip), frequency turns low to high",
    )


@AUGMENTATIONS.register("flip", title="Flip", source=_HONG, options=FlipOptions, on="image")
class Flip(Configured[FlipOptions]):
    """The image mirrored. In time the music is played backwards: notes swell and break off. In
    frequency bass becomes treble, which no music sounds like."""

    def draw(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.empty(n, 0)

    def apply(self, x: Tensor, parameters: Tensor) -> Tensor:
        return x.float().flip(-1 if self.options.axis == "time" else -2)


class CropOptions(AugmentOptions):
    """How much a crop leaves."""

    smallest: float = Field(
        0.8,
        title="Smallest",
        description="The least that is left of each side, as a share of it",
        gt=0.0,
        lt=1.0,
    )


@AUGMENTATIONS.register(
    "crop",
    title="Crop",
    source=f"{_HONG}; torchvision's RandomResizedCrop",
    options=CropOptions,
    on="image",
)
class Crop(Configured[CropOptions]):
    """A random part of the image enlarged to its old size.

    Shorter in time is slower music; narrower in frequency stretches the distances between pitches
    and moves them. torchvision draws area and aspect ratio; ours draws each side by itself, because
    seconds and bands have no ratio.
    """

    def draw(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        smallest = self.options.smallest
        sides = smallest + (1.0 - smallest) * torch.rand(n, 2, generator=generator)
        offsets = (1.0 - sides) * (2.0 * torch.rand(n, 2, generator=generator) - 1.0)
        return torch.cat([sides, offsets], dim=1)

    def apply(self, x: Tensor, parameters: Tensor) -> Tensor:
        """`parameters` holds the sides in time and frequency, then the middle's offsets (±1)."""
        zeros = torch.zeros(len(parameters))
        across, up, middle, height = parameters.unbind(1)
        return _resampled(x, [[across, zeros, middle], [zeros, up, height]])


class RotationOptions(AugmentOptions):
    """The range of angles."""

    range_degrees: float = Field(
        10.0,
        title="Range (degrees)",
        description="Turned by up to so much, either way",
        gt=0.0,
        le=180.0,
    )


@AUGMENTATIONS.register(
    "rotation", title="Rotation", source=_HONG, options=RotationOptions, on="image"
)
class Rotation(Configured[RotationOptions]):
    """The image turned about its middle, one frame as wide as one band is high.

    Steady tones become rising or falling ones, and blows reach the bands one after another: no
    music sounds like it, and Belton, section 4.3.5, leaves it out for that.
    """

    def draw(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return (2.0 * torch.rand(n, 1, generator=generator) - 1.0) * self.options.range_degrees

    def apply(self, x: Tensor, parameters: Tensor) -> Tensor:
        """`parameters` holds degrees."""
        n_bins, n_frames = x.shape[-2:]
        angle = parameters[:, 0] * (math.pi / 180.0)
        zeros, cosine, sine = torch.zeros_like(angle), angle.cos(), angle.sin()
        ratio = n_bins / n_frames
        return _resampled(x, [[cosine, -ratio * sine, zeros], [sine / ratio, cosine, zeros]])


class ScalingOptions(AugmentOptions):
    """The range of sizes."""

    smallest: float = Field(
        0.8, title="Smallest", description="1 is the size of the original", ge=0.1, le=10.0
    )
    largest: float = Field(
        1.25, title="Largest", description="1 is the size of the original", ge=0.1, le=10.0
    )

    @field_validator("largest")
    @classmethod
    def _in_order(cls, value: float, info: ValidationInfo) -> float:
        if value < info.data.get("smallest", value):
            raise ValueError(f"must not lie below smallest, {info.data['smallest']:g}")
        return value


@AUGMENTATIONS.register(
    "scaling", title="Scaling", source=_HONG, options=ScalingOptions, on="image"
)
class Scaling(Configured[ScalingOptions]):
    """The image enlarged or reduced about its middle, both sides alike.

    Larger is slower music with wider intervals, its ends and outer bands cut off; smaller is faster
    music with narrower ones, silence all around.
    """

    def draw(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        lowest, highest = math.log(self.options.smallest), math.log(self.options.largest)
        return (lowest + (highest - lowest) * torch.rand(n, 1, generator=generator)).exp()

    def apply(self, x: Tensor, parameters: Tensor) -> Tensor:
        """`parameters` holds factors."""
        reach = 1.0 / parameters[:, 0]
        zeros = torch.zeros_like(reach)
        return _resampled(x, [[reach, zeros, zeros], [zeros, reach, zeros]])


class TranslationOptions(AugmentOptions):
    """The range of shifts in time and frequency."""

    time: float = Field(
        0.1, title="In time", description="As a share of the image's length", ge=0.0, le=1.0
    )
    frequency: float = Field(
        0.05, title="In frequency", description="As a share of the image's height", ge=0.0, le=1.0
    )


@AUGMENTATIONS.register(
    "translation", title="Translation", source=_HONG, options=TranslationOptions, on="image"
)
class Translation(Configured[TranslationOptions]):
    """The image moved earlier or later and up or down.

    In time it is the same music, begun elsewhere. Up or down, where bands are logarithmic, it is
    the same music in another key, with another timbre.
    """

    def draw(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        range_ = torch.tensor([self.options.time, self.options.frequency])
        return (2.0 * torch.rand(n, 2, generator=generator) - 1.0) * range_

    def apply(self, x: Tensor, parameters: Tensor) -> Tensor:
        """`parameters` holds shares of length and height, to the right and to higher bins."""
        ones, zeros = torch.ones(len(parameters)), torch.zeros(len(parameters))
        later, higher = (-2.0 * parameters).unbind(1)
        return _resampled(x, [[ones, zeros, later], [zeros, ones, higher]])


class ColourOptions(AugmentOptions):
    """The strength of a change of colours."""

    strength: float = Field(
        0.1,
        title="Strength",
        description="Standard deviation of what is added along each principal component, in the "
        "component's own standard deviations",
        gt=0.0,
        le=10.0,
    )


@AUGMENTATIONS.register(
    "colour_pca",
    title="Principal components of colour",
    source=f"{_HONG}; {_ALEXNET} neural networks, section 4.1",
    options=ColourOptions,
    on="image",
)
class ColourPca(Configured[ColourOptions]):
    """A random amount added along each principal component of the channels, the same for all
    points of an example.

    On rendered spectrograms it changes their colours. With one channel, as most features have, one
    number is added everywhere: a random brightness, for a feature in dB a random gain. The source
    takes the components of the whole training set and multiplies by their variance; ours takes each
    example's own, and multiplies by their standard deviation (as fb.resnet.torch does), so that the
    strength means the same in any unit.
    """

    def draw(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.randn(n, shape[0], generator=generator) * self.options.strength

    def apply(self, x: Tensor, parameters: Tensor) -> Tensor:
        """`parameters` holds the amounts, a column a channel."""
        with full_precision(x):
            points = x.float().flatten(2)
            points = points - points.mean(dim=2, keepdim=True)
            covariance = points @ points.mT / points.shape[2]
            variances, components = torch.linalg.eigh(covariance)
            # A component may point either way; its largest part is made positive on every device.
            largest = components.gather(1, components.abs().argmax(dim=1, keepdim=True))
            components = components * torch.where(largest < 0, -1.0, 1.0)
            amounts = parameters.to(x.device) * variances.clamp(min=0.0).sqrt()
            return x.float() + (components @ amounts[:, :, None])[..., None]


def _resampled(x: Tensor, matrix: list[list[Tensor]]) -> Tensor:
    """Images whose point (across, up) is the old one's matrix · (across, up, 1), bilinearly.

    Both run from −1 to 1; `matrix` holds two rows of three tensors (batch,).
    """
    with full_precision(x):
        theta = torch.stack([torch.stack(row, dim=1) for row in matrix], dim=1).to(x.device)
        grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
        points = x.float().flatten(2)
        darkest = points.sum(dim=1, keepdim=True).argmin(dim=2, keepdim=True)
        quietest = points.gather(2, darkest.expand(-1, x.shape[1], -1))[..., None]
        above = functional.grid_sample(x.float() - quietest, grid, align_corners=False)
        return above + quietest
