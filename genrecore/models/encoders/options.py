"""Which embeddings of which encoder: the options of every part that is one."""

from __future__ import annotations

from pydantic import Field

from genrecore.config.registry import Options
from genrecore.config.training import zero_means
from genrecore.errors import GenrecoreError
from genrecore.models.encoders.files import card_of
from genrecore.models.encoders.registered import EncoderCard
from genrecore.words import thousands


class EncoderOptions(Options):
    """Which embeddings are taken."""

    encoder: str = Field(
        "musicnn",
        title="Encoder",
        description="Its name, as genrecore encoders list shows it",
        max_length=64,
        json_schema_extra={"registry": "encoder"},
    )
    layer: str = Field(
        "",
        title="Layer",
        description="Whose values are the embedding, several joined by +; empty is the first that "
        "its card names",
        max_length=200,
    )
    hop_s: float = Field(
        0.0,
        title="Hop (s)",
        description="From one patch of sound to the next",
        ge=0,
        le=600,
        json_schema_extra=zero_means("the encoder's own, its patches side by side"),
    )
    sha256: str = Field(
        "",
        title="Checksum of its weights",
        description="Filled in when a run is made, so that it never meets other weights",
        pattern="^([0-9a-f]{64})?$",
    )

    def card(self) -> EncoderCard:
        """Of the encoder.

        Raises:
            UsageError: There is none of this name.
        """
        return card_of(self.encoder, self.sha256)

    def layers_of(self, card: EncoderCard) -> tuple[str, ...]:
        """The layers that are taken.

        Raises:
            GenrecoreError: There is none of this name.
        """
        layer = self.layer or card.first_layer
        layers = (layer,) if layer in card.layers else tuple(layer.split("+"))
        for layer in layers:
            if layer not in card.layers:
                raise GenrecoreError(
                    f"The encoder {card.name} has no layer {layer!r}; there are: "
                    f"{', '.join(card.layers)}."
                )
        return layers

    def check_waves(self, card: EncoderCard, sample_rate_hz: int, n_samples: int) -> None:
        """
        Raises:
            GenrecoreError: It takes no waves of this rate or this length.
        """
        if sample_rate_hz != card.sample_rate_hz:
            raise GenrecoreError(
                f"The encoder {card.name} takes audio at {thousands(card.sample_rate_hz)} Hz, but "
                f"the sample rate is {thousands(sample_rate_hz)} Hz; set audio.sample_rate_hz to "
                f"{card.sample_rate_hz}."
            )
        if n_samples < card.patch_samples:
            raise GenrecoreError(
                f"The encoder {card.name} listens to {card.patch_s:.3g} s at a time, but a segment "
                f"lasts {n_samples / sample_rate_hz:.3g} s; take longer segments."
            )
