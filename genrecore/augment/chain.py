"""Applies several augmentations in turn, each to examples picked by its probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from genrecore.augment.registered import AugmentationFacts
from genrecore.config.registry import Choice

STAGES = ("wave", "image", "batch")


class Chain:
    """The augmentations of one stage in their order.

    Whether an example is changed, and how, is drawn for all examples, changed or not. So the
    changes of one example do not depend on which others were picked.
    """

    def __init__(
        self, parts: Sequence[Choice[AugmentationFacts]], on: str, sample_rate_hz: int
    ) -> None:
        """
        Args:
            parts: Augmentations of any stage.
            on: The stage whose augmentations are kept: `wave`, `image` or `batch`.
            sample_rate_hz: Of the waves.
        """
        self.steps: list[tuple[float, Any]] = []
        for part in parts:
            if part.facts.on == on and part.options.p > 0:
                self.steps.append((part.options.p, part.thing(part.options, sample_rate_hz)))

    def __bool__(self) -> bool:
        return bool(self.steps)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """x (batch, …) with the picked examples changed; x itself stays as it was."""
        n, fresh = len(x), False
        for p, step in self.steps:
            picked = torch.rand(n, generator=generator) < p
            parameters = step.draw(n, tuple(x.shape[1:]), generator)
            rows = picked.nonzero()[:, 0]
            if len(rows) == n:
                x, fresh = step.apply(x, parameters), True
            elif len(rows):
                device_rows = rows.to(x.device)
                x = x if fresh else x.clone()
                x[device_rows], fresh = step.apply(x[device_rows], parameters[rows]), True
        return x

    def mixed(
        self, x: Tensor | tuple[Tensor, ...], targets: Tensor, generator: torch.Generator
    ) -> tuple[Any, Tensor]:
        """Features (batch, …), or a pair of them, and soft targets (batch, genres), mixed alike."""
        parts = x if isinstance(x, tuple) else (x,)
        for p, step in self.steps:
            picked = torch.rand(len(targets), generator=generator) < p
            parameters = step.draw(len(targets), tuple(parts[0].shape[1:]), generator)
            parameters = step.only(parameters, picked)
            parts = tuple(step.apply(part, parameters) for part in parts)
            targets = step.apply(targets, parameters)
        return parts if isinstance(x, tuple) else parts[0], targets
