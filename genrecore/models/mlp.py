"""Multi-layer perceptrons on vectors of descriptors."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator
from torch import nn

from genrecore.models.registered import MODELS
from genrecore.registry import Options


class MlpOptions(Options):
    """Layers of a multi-layer perceptron."""

    hidden: str = Field(
        "64, 128",
        title="Hidden layers",
        description="Neurons of each hidden layer, with commas between",
        max_length=100,
    )
    activation: Literal["relu", "leaky_relu"] = Field(
        "leaky_relu",
        title="Activation",
        description="ReLU (Belton) or LeakyReLU with slope 0.01 (Qin)",
    )
    dropout: float = Field(
        0.0,
        title="Dropout",
        description="Share of values left out after each hidden layer while training",
        ge=0,
        le=0.9,
    )

    @field_validator("hidden")
    @classmethod
    def _are_sizes(cls, text: str) -> str:
        parts = [part.strip() for part in text.split(",")]
        if not all(part.isdigit() and 1 <= int(part) <= 8192 for part in parts):
            raise ValueError("expected one or more layer sizes from 1 to 8192, e.g. 128, 64")
        return ", ".join(parts)


@MODELS.register(
    "mlp",
    title="Multi-layer perceptron",
    source="Belton, section 4.2: one hidden layer of 32 or 100, or 128 and 64, ReLU; "
    "Qin, Zhuo & Ren: 57-64-128-10, LeakyReLU (the default)",
    options=MlpOptions,
    accepts=frozenset({"vector"}),
)
def mlp(shape: tuple[int, ...], n_genres: int, options: MlpOptions) -> nn.Module:
    """A perceptron from vectors (batch, features) to logits (batch, n_genres).

    Weights start as torch's linear layers do, uniformly within ± 1/√inputs, which Belton names. The
    logarithm of the softmax that both studies put last is part of the loss here.
    """
    layers: list[nn.Module] = []
    n_in = shape[0]
    for n_out in (int(part) for part in options.hidden.split(",")):
        layers += [nn.Linear(n_in, n_out)]
        layers += [nn.ReLU() if options.activation == "relu" else nn.LeakyReLU(0.01)]
        layers += [nn.Dropout(options.dropout)] if options.dropout else []
        n_in = n_out
    return nn.Sequential(*layers, nn.Linear(n_in, n_genres))
