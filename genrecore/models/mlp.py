"""Multi-layer perceptrons on vectors of descriptors."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator
from torch import nn

from genrecore.config.registry import Options
from genrecore.models.registered import MODELS

_BELTON = "Belton, COMP47650 Deep Learning Project, University College Dublin"
_QIN = "Qin, Zhuo & Ren, Research of RNNs: LSTM, CNNs: ResNet-18, and MNNs, UMass Amherst"


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
    source=f"{_QIN}, section 3.4.2: 57-64-128-10, LeakyReLU (the default); {_BELTON}, section 4.2: "
    "one hidden layer of 32 or 100, or 128 and 64, ReLU; after Rumelhart, Hinton & Williams (1986)",
    options=MlpOptions,
    accepts=frozenset({"vector"}),
    least=(1,),
    year=1986,
    idea="Layers of weighted sums, each followed by a bend, learned together by passing the error "
    "back through them.",
    preset="qin_table",
    recipe={"training.optimiser": "adam", "training.lr": 8e-5, "training.output": "log_sigmoid"},
    published=(),
    notes=(
        "Qin names neither the optimiser nor batch size or epochs; Adam is taken.",
        "Qin's log-sigmoid comes after the network, before the loss; it is the training's output.",
        "Belton's Figure 2 has seven variants, all with the activation relu: hidden 32, hidden 100 "
        "and hidden 128, 64, each with a batch size of 32 and of 8 at a learning rate of 0.001, "
        "and hidden 32 with a batch size of 8 at 0.0001.",
        "Belton's best is hidden 100 with a batch size of 8 at 0.001, 49.5 % of the validation "
        "clips; each was trained for at most 300 epochs on the input belton_table, with the epoch "
        "of the best validation accuracy, and an optimiser that is not named for them.",
    ),
)
def mlp(shape: tuple[int, ...], n_genres: int, options: MlpOptions) -> nn.Module:
    """A perceptron from vectors (batch, features) to logits (batch, n_genres).

    Weights start as torch's linear layers do, uniformly within ± 1/√inputs, which Belton names. The
    studies' last functions are not part of the network: Belton's logarithm of the softmax belongs
    to the loss, and Qin's log-sigmoid is chosen by `training.output`.
    """
    layers: list[nn.Module] = []
    n_in = shape[0]
    for n_out in (int(part) for part in options.hidden.split(",")):
        layers += [nn.Linear(n_in, n_out)]
        layers += [nn.ReLU() if options.activation == "relu" else nn.LeakyReLU(0.01)]
        layers += [nn.Dropout(options.dropout)] if options.dropout else []
        n_in = n_out
    return nn.Sequential(*layers, nn.Linear(n_in, n_genres))
