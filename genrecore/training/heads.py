"""What a training step runs: a classifier's heads as they are, compiled, or shared by processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from genrecore.training.classifier import Classifier
from genrecore.training.distributed import Team
from genrecore.training.examples import Given

Heads = Callable[[Given], list[tuple[float, Tensor]]]
"""Standardised features → (weight, logits) pairs, as `Classifier.heads`."""


def build(
    classifier: Classifier, team: Team, device: str, compiled: bool, note: Callable[[str], None]
) -> Heads:
    """The heads of a classifier.

    Args:
        classifier: On the device.
        team: The processes that average their gradients.
        device: Where the classifier is.
        compiled: Whether torch compiles them at the first call.
        note: Told in a sentence where that cannot be; the heads then run as they are.
    """
    if team.size == 1 and not compiled:
        return classifier.heads
    module = team.wrapped(_Module(classifier), device)
    return _Compiled(module, note) if compiled else module


class _Module(nn.Module):
    """`Classifier.heads` as a module."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.network = classifier.network
        self._pairs = classifier.heads

    def forward(self, standardised: Given) -> list[tuple[float, Tensor]]:
        return self._pairs(standardised)


class _Compiled:
    """A module compiled at its first call; the module itself where that cannot be."""

    def __init__(self, module: nn.Module, note: Callable[[str], None]) -> None:
        self._module, self._note = module, note
        self._call: Callable[..., Any] = torch.compile(module)
        self._sure = False

    def __call__(self, features: Given) -> list[tuple[float, Tensor]]:
        if not self._sure:
            return self._first(features)
        pairs: list[tuple[float, Tensor]] = self._call(features)
        return pairs

    def _first(self, features: Given) -> list[tuple[float, Tensor]]:
        from torch._dynamo.exc import TorchDynamoException
        from torch._inductor.exc import InvalidCxxCompiler

        try:
            pairs: list[tuple[float, Tensor]] = self._call(features)
        except (TorchDynamoException, InvalidCxxCompiler) as error:
            first = str(error).strip().split("\n")[0]
            self._note(f"The network is not compiled and trains as it is: {first}")
            self._call = self._module
            pairs = self._call(features)
        self._sure = True
        return pairs
