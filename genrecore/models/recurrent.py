"""Recurrent layers that are fast on the meta device and run in bfloat16 only where they can."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


class GruLayer(nn.GRU):
    """torch's GRU, batch first; see `_on_shapes`."""

    def forward(self, steps: Tensor, state: Any = None) -> Any:
        """(batch, steps, directions · units) and (layers · directions, batch, units)."""
        if steps.device.type == "meta":
            return _on_shapes(self, steps)
        return super().forward(steps, state)  # type: ignore[has-type]


class LstmLayer(nn.LSTM):
    """torch's LSTM, batch first; see `_on_shapes`."""

    def forward(self, steps: Tensor, state: Any = None) -> Any:
        """(batch, steps, directions · units) and twice (layers · directions, batch, units)."""
        if steps.device.type == "meta":
            output, last = _on_shapes(self, steps)
            return output, (last, last)
        if steps.device.type == "cpu" and torch.is_autocast_enabled("cpu") and not _in_bfloat16():
            with torch.autocast("cpu", enabled=False):
                return super().forward(steps.float(), state)  # type: ignore[has-type]
        output, state = super().forward(steps, state)  # type: ignore[has-type]
        if torch.compiler.is_compiling():  # torch 2.11 tells exporters of an axis too many
            state = tuple(part.reshape(part.shape[0], -1, self.hidden_size) for part in state)
        return output, state


@functools.cache
def _in_bfloat16() -> bool:
    """Whether this processor has torch's LSTM in bfloat16; those without AVX-512 have not."""
    layer = nn.LSTM(1, 1)
    try:
        with torch.enable_grad(), torch.autocast("cpu", torch.bfloat16):
            layer(torch.zeros(1, 1, 1))
    except RuntimeError:  # oneDNN: "could not create a primitive descriptor"
        return False
    return True


def _on_shapes(layer: nn.RNNBase, steps: Tensor) -> tuple[Tensor, Tensor]:
    """What comes out of a layer on the meta device, which holds shapes and no numbers.

    There torch goes from step to step as well, in Python: of 1 293 frames that takes three layers
    nine seconds, each time that a configuration is checked. Here all steps are one matrix product,
    with the same shapes, multiply-adds and paths of the gradient.
    """
    last = []
    for k in range(layer.num_layers):
        directions = []
        for direction in ("", "_reverse")[: 2 if layer.bidirectional else 1]:
            weights = [
                getattr(layer, f"{part}_l{k}{direction}")
                for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            ]
            of_input = linear(steps, weights[0], weights[2])[..., : layer.hidden_size]
            of_state = linear(of_input, weights[1], weights[3])[..., : layer.hidden_size]
            directions.append(of_state)
            last.append(of_state[:, -1])
        steps = torch.cat(directions, dim=2)
    return steps, torch.stack(last)
