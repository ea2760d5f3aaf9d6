"""A pretrained encoder that is trained on, with a linear layer above it."""

from __future__ import annotations

from typing import Self

from pydantic import Field
from torch import Tensor, nn

from genrecore.errors import GenrecoreError
from genrecore.models.encoders import Encoder
from genrecore.models.encoders.files import blank, load
from genrecore.models.encoders.options import EncoderOptions
from genrecore.models.registered import MODELS
from genrecore.words import thousands


class TunedEncoderOptions(EncoderOptions):
    """Which encoder, and how it begins."""

    pretrained: bool = Field(
        True,
        title="Pretrained weights",
        description="Start from them, or from random ones to see what they are worth",
    )

    def without_weights(self) -> Self:
        """The same network, with nothing read from elsewhere: trained weights follow."""
        return self.model_copy(update={"pretrained": False})


@MODELS.register(
    "tuned_encoder",
    title="Encoder, trained on",
    source="the encoder's own, with a linear layer above the mean of its embeddings",
    options=TunedEncoderOptions,
    accepts=frozenset({"wave"}),
    least=(1, 47_616),
    year=2019,
    idea="A pretrained network is a better start than random numbers: all of it learns on.",
    preset="musicnn_waves",
    recipe={"training.lr": 1e-4},
    notes=("Its statistics of batch normalisation go on learning, too.",),
)
class TunedEncoder(nn.Module):
    """Waves (batch, 1, n_samples) → logits (batch, genres): a linear layer above the mean of the
    encoder's embeddings.

    Raises:
        GenrecoreError: The encoder has no such layer, cannot be trained, or takes other waves.
        UsageError: There is no such encoder, or its weights are not here or are others.
    """

    def __init__(self, shape: tuple[int, ...], n_genres: int, options: TunedEncoderOptions) -> None:
        super().__init__()
        card = options.card()
        self.layers, self.hop_samples = options.layers_of(card), card.hop_samples(options.hop_s)
        if shape[1] < card.patch_samples:
            raise GenrecoreError(
                f"The model tuned_encoder needs {thousands(card.patch_samples)} samples, a patch "
                f"of the encoder {card.name}, but the feature makes {thousands(shape[1])}; take "
                "longer segments."
            )
        self.head = nn.Linear(card.width(self.layers), n_genres)
        encoder = blank(card)
        if options.pretrained and not self.head.weight.is_meta:
            encoder = load(options.encoder, options.sha256)
        self.encoder: Encoder = encoder.only(self.layers).requires_grad_(True)

    def forward(self, waves: Tensor) -> Tensor:
        embeddings = self.encoder.embeddings(waves[:, 0], self.layers, self.hop_samples)
        return self.head(embeddings.mean(dim=1))
