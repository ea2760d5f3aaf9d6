"""Augmentations of spectrograms (batch, channels, bins, frames) that know which axis is time."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from genrecore.augment.registered import AUGMENTATIONS, AugmentOptions, Configured

_PARK = "Park et al. (2019), SpecAugment: a simple data augmentation method for speech recognition"


class TimeMaskOptions(AugmentOptions):
    """The width and number of masks."""

    widest: float = Field(
        0.2,
        title="Widest",
        description="As a share of the image; a mask's width is anything from 0 to this",
        gt=0.0,
        le=1.0,
    )
    n_masks: int = Field(1, title="Masks", description="They may overlap", ge=1, le=20)


class FrequencyMaskOptions(TimeMaskOptions):
    """The height and number of masks."""

    widest: float = Field(
        0.3,
        title="Widest",
        description="As a share of the image; a mask's height is anything from 0 to this",
        gt=0.0,
        le=1.0,
    )


class _Mask(Configured[TimeMaskOptions]):
    axis: int

    def draw(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.rand(n, 2 * self.options.n_masks, generator=generator)

    def apply(self, x: Tensor, parameters: Tensor) -> Tensor:
        """`parameters` holds widths as shares of the widest, and starts as shares of the rest."""
        length = x.shape[self.axis]
        shares = parameters.double().unflatten(1, (-1, 2))
        widths = (shares[..., 0] * (round(self.options.widest * length) + 1)).long()
        starts = (shares[..., 1] * (length - widths + 1)).long()
        positions = torch.arange(length)
        inside = (positions >= starts[..., None]) & (positions < (starts + widths)[..., None])
        masked = inside.any(dim=1).to(x.device)  # (batch, length)
        masked = masked[:, None, None, :] if self.axis == -1 else masked[:, None, :, None]
        mean = x.float().mean(dim=(2, 3), keepdim=True)
        return torch.where(masked, mean, x.float())


@AUGMENTATIONS.register(
    "time_mask", title="Time mask", source=_PARK, options=TimeMaskOptions, on="image"
)
class TimeMask(_Mask):
    """Some frames replaced by the example's mean, of colours by its mean colour.

    As the source, whose features have a mean of zero and are masked with it. There the widest mask
    is a number of frames (100, and at most a share of the recording), here a share of the image.
    """

    axis = -1


@AUGMENTATIONS.register(
    "frequency_mask", title="Frequency mask", source=_PARK, options=FrequencyMaskOptions, on="image"
)
class FrequencyMask(_Mask):
    """Some neighbouring bands replaced by the example's mean, of colours by its mean colour.

    As the source, whose features have a mean of zero and are masked with it. There the widest mask
    is 27 of 80 mel bands, here a share of the image.
    """

    axis = -2


@AUGMENTATIONS.register(
    "roll_time", title="Roll in time", source="usual practice", options=AugmentOptions, on="image"
)
class RollTime(Configured[AugmentOptions]):
    """The image begins at a random frame; what stood before it is put at the end."""

    def draw(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.rand(n, 1, generator=generator)

    def apply(self, x: Tensor, parameters: Tensor) -> Tensor:
        """`parameters` holds shares of the length."""
        n_frames = x.shape[-1]
        starts = (parameters.double() * n_frames).long()
        sources = (torch.arange(n_frames) + starts).remainder(n_frames).to(x.device)
        return x.float().gather(-1, sources[:, None, None].expand(x.shape))
