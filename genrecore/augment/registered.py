"""The registry of augmentations, filled by the modules beside this one, and what they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from genrecore.config.registry import Options, Registry

Chosen = TypeVar("Chosen", bound=Options)


@dataclass(frozen=True)
class AugmentationFacts:
    """Facts about an augmentation.

    Attributes:
        on: What it changes. `wave`: waves (batch, 1, n_samples), before the feature is computed;
            `image`: images (batch, channels, bins, frames) as the feature makes them, before they
            are standardised; `batch`: features of any kind together with their targets;
            `variants`: waves, once before training: changed copies join every training segment.
        last: Whether it must come after all others that change the same.
        patches: Whether it makes images smaller, so that the network must be: it has `patch_shape`
            and `tested_on_patches`.
    """

    on: Literal["wave", "image", "batch", "variants"]
    last: bool = False
    patches: bool = False


AUGMENTATIONS = Registry("augmentation", AugmentationFacts)
"""Augmentations. The thing is a class `A(options, sample_rate_hz)` with the methods of
`Augmentation`, `BatchMix` or `Variants`.
"""


class AugmentOptions(Options):
    """Options that all online augmentations share."""

    p: float = Field(
        0.5,
        title="Probability",
        description="Share of the examples that are changed, drawn anew for each one every epoch",
        ge=0.0,
        le=1.0,
    )


class Configured(Generic[Chosen]):
    """Base class that keeps the options and the sample rate of the waves."""

    def __init__(self, options: Chosen, sample_rate_hz: int) -> None:
        self.options = options
        self.sample_rate_hz = sample_rate_hz


class Augmentation(Protocol):
    """Random numbers are drawn on the CPU, a row an example, and applied on any device; so the
    same generator gives the same examples everywhere, and a batch equals its items."""

    def draw(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Random parameters (n, k) for n examples of this shape (without the batch)."""
        ...

    def apply(self, x: Tensor, parameters: Tensor) -> Tensor:
        """A new tensor: x (batch, …) changed by the rows of `parameters` (batch, k)."""
        ...


class BatchMix(Protocol):
    """Mixes the examples of a batch with one another; `Chain.mixed` applies it."""

    def draw(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Random parameters (n, k)."""
        ...

    def only(self, parameters: Tensor, picked: Tensor) -> Tensor:
        """The same parameters, but such that examples that are not picked (n,) stay themselves."""
        ...

    def apply(self, x: Tensor, parameters: Tensor) -> Tensor:
        """x (batch, …), features or targets, mixed as `parameters` says."""
        ...


class Variants(Protocol):
    """Changed copies of every training segment, made once and kept in the feature cache."""

    @property
    def labels(self) -> list[str]:
        """The name of each copy, e.g. `pitch +1`."""
        ...

    def n_samples(self, n_samples: int, k: int) -> int:
        """The length of copy k of a segment of n_samples."""
        ...

    def apply(self, x: Tensor, k: int) -> Tensor:
        """Copy k of waves (batch, 1, n_samples), of its own length."""
        ...
