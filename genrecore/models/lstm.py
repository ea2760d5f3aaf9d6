"""The LSTM of Qin, Zhuo & Ren on descriptors over time, or on the frames of an image."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from genrecore.config.registry import Options
from genrecore.errors import GenrecoreError
from genrecore.models import recurrent
from genrecore.models.registered import MODELS

_LEAST_STEPS = 2


class LstmOptions(Options):
    """Layers of an LSTM."""

    hidden: int = Field(
        128,
        title="Units",
        description="Of each layer and direction; Qin's list of layers has 128, Qin's results 64",
        ge=1,
        le=2048,
    )
    n_layers: int = Field(3, title="Layers", description="One on top of another", ge=1, le=8)
    bidirectional: bool = Field(
        False,
        title="Both directions",
        description="Go through time forwards and, with as many units more, backwards",
    )
    dropout: float = Field(
        0.0,
        title="Dropout",
        description="Share of values left out after each layer while training",
        ge=0,
        le=0.9,
    )


@MODELS.register(
    "lstm",
    title="LSTM",
    source="Qin, Zhuo & Ren, Research of RNNs: LSTM, CNNs: ResNet-18, and MNNs, UMass Amherst, "
    "section 3.4.3; after Hochreiter & Schmidhuber (1997), Long Short-Term Memory",
    options=LstmOptions,
    accepts=frozenset({"sequence", "image"}),
    least=(_LEAST_STEPS, 1),
    year=1997,
    idea="Gates decide at each step what a memory keeps, so that what was heard long ago can still "
    "count.",
    preset="qin_sequence",
    recipe={"training.optimiser": "adam", "training.lr": 8e-5, "training.output": "log_sigmoid"},
    published=(),
    notes=(
        "The study prints 128 units a layer where it lists the layers and 64 where it gives its "
        "results; 128 is the default here.",
        "It names neither its optimiser nor batch size or epochs; Adam is taken.",
        "Its log-sigmoid comes after the network, before the loss; it is the training's output.",
        "Images are read frame by frame, each with all its bins; the study has sequences of "
        "descriptors only.",
    ),
)
def lstm(shape: tuple[int, ...], n_genres: int, options: LstmOptions) -> nn.Module:
    """From sequences (batch, steps, features), or images (batch, channels, bins, frames) whose
    frames are the steps, to logits (batch, n_genres); see `Lstm`.

    By default Qin's nn.LSTM(57, 128, 3) and nn.Linear(128, 10): 361 226 parameters for 57
    descriptors and 10 genres.

    Raises:
        GenrecoreError: A single step, at which nothing could be remembered.
    """
    is_image = len(shape) == 3
    n_steps, n_features = (shape[2], shape[0] * shape[1]) if is_image else shape
    if n_steps < _LEAST_STEPS:
        raise GenrecoreError(
            f"The model lstm needs at least {_LEAST_STEPS} steps to go from one to the next, but "
            f"the feature makes {n_steps}; take more steps, longer segments or a shorter hop."
        )
    return Lstm(n_features, n_genres, options)


class Lstm(nn.Module):
    """Layers of LSTMs, and a dense layer on the last layer's output at the last step.

    Backwards the last step is the first one in time.

    Attributes:
        recurrent: The LSTMs.
    """

    def __init__(self, n_features: int, n_genres: int, options: LstmOptions) -> None:
        super().__init__()
        self.recurrent = recurrent.LstmLayer(
            n_features,
            options.hidden,
            options.n_layers,
            batch_first=True,
            dropout=options.dropout if options.n_layers > 1 else 0.0,  # between layers
            bidirectional=options.bidirectional,
        )
        self.n_directions = 2 if options.bidirectional else 1
        self.dropout = nn.Dropout(options.dropout)
        self.output = nn.Linear(self.n_directions * options.hidden, n_genres)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, n_genres) of sequences (batch, steps, features) or images
        (batch, channels, bins, frames)."""
        steps = x.permute(0, 3, 1, 2).flatten(2) if x.ndim == 4 else x
        _, (last, _) = self.recurrent(steps)  # (layers · directions, batch, hidden)
        summary = last[-self.n_directions :].transpose(0, 1).flatten(1)
        return self.output(self.dropout(summary))
