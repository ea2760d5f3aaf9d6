"""Embeddings of a pretrained encoder: of a segment as one vector, or of each patch of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from genrecore.audio.axes import Axes, Rows
from genrecore.audio.spectra import full_precision
from genrecore.features.registered import FEATURES
from genrecore.models.encoders import Encoder
from genrecore.models.encoders.files import load
from genrecore.models.encoders.options import EncoderOptions

_SOURCE = (
    "the encoder's own; for the idea, Hamel, Davies, Yoshii & Goto, Transfer learning in MIR, 2013"
)

_LOADING = threading.Lock()
"""One thread reads a network, the others wait for it."""


class EncoderVectorOptions(EncoderOptions):
    """Which embeddings are taken, and how those of a segment become one vector."""

    pooling: Literal["mean", "max", "mean_deviation"] = Field(
        "mean",
        title="Pooling over time",
        description="Mean or maximum of the patches' embeddings; or mean and standard deviation",
    )


class _Embeddings(nn.Module):
    """Embeddings (batch, steps, numbers) of waves (batch, 1, n_samples).

    The encoder's weights stay out of the state dict: a run names them by their checksum. They are
    read when the first wave comes, and are never trained.
    """

    def __init__(self, options: EncoderOptions, sample_rate_hz: int, n_samples: int) -> None:
        super().__init__()
        self.options, self.card = options, options.card()
        self.sample_rate_hz, self.n_samples = sample_rate_hz, n_samples
        options.check_waves(self.card, sample_rate_hz, n_samples)
        self.layers = options.layers_of(self.card)
        self.hop_samples = self.card.hop_samples(options.hop_s)
        self.n_steps = self.card.n_steps(n_samples, self.hop_samples)
        self._loaded: list[Encoder] = []  # in a list, so that it is no submodule
        self._device = torch.device("cpu")

    @property
    def width(self) -> int:
        """Numbers of one embedding."""
        return self.card.width(self.layers)

    def encoder(self) -> Encoder:
        """The network, read where this is the first call."""
        with _LOADING:
            if not self._loaded:
                network = load(self.options.encoder, self.options.sha256)
                self._loaded.append(network.to(self._device))
        return self._loaded[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Takes the encoder along to another device."""
        self._device = fn(torch.empty(0, device=self._device)).device
        for network in self._loaded:
            network.to(self._device)
        return super()._apply(fn, recurse)

    def steps(self, waves: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (batch, steps, numbers), and how many of each wave's steps hold sound only.

        Zeros behind the last sample that is none are padding: patches that reach into them do not
        count, and a sound shorter than a patch is repeated, as musicnn's authors did.
        """
        mono = waves[:, 0].float()
        if mono.is_meta:
            return mono.new_empty(len(mono), self.n_steps, self.width), mono.new_ones(len(mono))
        positions = torch.arange(1, mono.shape[1] + 1, device=mono.device)
        ends = torch.where(mono != 0, positions, 0).amax(dim=1)
        short = (ends < self.card.patch_samples) & (ends > 0)
        if torch.compiler.is_exporting() or bool(short.any()):
            repeated = mono.gather(1, (positions - 1) % ends.clamp(min=1)[:, None])
            repeated = repeated.masked_fill(positions > self.card.patch_samples, 0.0)
            mono = torch.where(short[:, None], repeated, mono)
            ends = torch.where(short, self.card.patch_samples, ends)
        with full_precision(mono):
            embeddings = self.encoder().embeddings(mono, self.layers, self.hop_samples)
        counts = 1 + (ends - self.card.patch_samples).clamp(min=0) // self.hop_samples
        return embeddings, counts.clamp(max=self.n_steps)

    def _axes(self, n_numbers: int, columns: str) -> tuple[Axes, ...]:
        names = tuple(f"number {k + 1}" for k in range(n_numbers))
        ticks = {str(k): float(k) for k in range(0, n_numbers, max(1, n_numbers // 5))}
        rows = Rows("Number", names, ticks, "numbers")
        duration_s = self.n_samples / self.sample_rate_hz
        return (Axes("Embeddings", "", rows, columns, duration_s, is_level=False),)


@FEATURES.register(
    "encoder",
    title="Embedding of an encoder",
    source=_SOURCE,
    options=EncoderVectorOptions,
    kind="vector",
    needs=("wave",),
)
class EncoderVector(_Embeddings):
    """Vectors (batch, numbers), float32, of waves (batch, 1, n_samples): the embeddings of the
    patches of a segment, pooled over time.

    Raises:
        GenrecoreError: Another sample rate than the encoder's, a segment shorter than a patch, or
            no such layer.
        UsageError: No such encoder; with the first wave, its weights are not here or are others.
    """

    def __init__(self, options: EncoderVectorOptions, sample_rate_hz: int, n_samples: int) -> None:
        super().__init__(options, sample_rate_hz, n_samples)
        self.pooling = options.pooling
        self.output_shape = (self.width * (2 if self.pooling == "mean_deviation" else 1),)

    def axes(self) -> tuple[Axes, ...]:
        """Numbers of the embedding."""
        return self._axes(self.output_shape[0], "steps")

    def forward(self, waves: Tensor) -> Tensor:
        values, counts = self.steps(waves)
        counted = (torch.arange(values.shape[1], device=values.device) < counts[:, None])[..., None]
        if self.pooling == "max":
            return values.masked_fill(~counted, -torch.inf).amax(dim=1)
        n = counts[:, None].to(values.dtype)
        mean = (values * counted).sum(dim=1) / n
        if self.pooling == "mean":
            return mean
        variance = ((values - mean[:, None]).square() * counted).sum(dim=1) / n
        return torch.cat([mean, variance.sqrt()], dim=1)


@FEATURES.register(
    "encoder_sequence",
    title="Embeddings of an encoder over time",
    source=_SOURCE,
    options=EncoderOptions,
    kind="sequence",
    needs=("wave",),
)
class EncoderSequence(_Embeddings):
    """Sequences (batch, steps, numbers), float32, of waves (batch, 1, n_samples): the embedding of
    each patch of a segment. Behind the end of the sound its last one is repeated.

    Raises:
        GenrecoreError, UsageError: As `EncoderVector`.
    """

    def __init__(self, options: EncoderOptions, sample_rate_hz: int, n_samples: int) -> None:
        super().__init__(options, sample_rate_hz, n_samples)
        self.output_shape = (self.n_steps, self.width)

    def axes(self) -> tuple[Axes, ...]:
        """Numbers of the embedding over the patches."""
        return self._axes(self.width, "patches")

    def forward(self, waves: Tensor) -> Tensor:
        values, counts = self.steps(waves)
        steps = torch.arange(values.shape[1], device=values.device)
        last = torch.minimum(steps, counts.long()[:, None] - 1)
        return values.gather(1, last[..., None].expand_as(values))
