"""Arrays that come with a dataset: vectors, and sequences of them, which may be images too.

Their front ends take the shape of one array instead of a sample rate and a length.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from genrecore.audio.axes import Axes, Rows
from genrecore.config.registry import Options
from genrecore.features.registered import FEATURES


def _axes(title: str, n_numbers: int) -> tuple[Axes, ...]:
    names = [f"number {k + 1}" for k in range(n_numbers)]
    return (Axes(title, "", Rows("Number", names, {}, "numbers"), "steps", is_level=False),)


@FEATURES.register(
    "own_vector",
    title="Your own vectors",
    source="arrays of one dimension that your dataset holds",
    kind="vector",
    needs=("vector",),
    cached=False,
    typical_shape=(64,),
)
class OwnVector(nn.Module):
    """Vectors (batch, 1, numbers) as (batch, numbers), as they are."""

    n_rows = 1

    def __init__(self, options: Options, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.output_shape = shape

    def axes(self) -> tuple[Axes, ...]:
        """The numbers by their place: the files do not say what they are."""
        return _axes("Vector", self.output_shape[0])

    def forward(self, rows: Tensor) -> Tensor:
        return rows[:, 0].float()


class OwnSequenceOptions(Options):
    """How sequences become inputs of one length."""

    n_steps: int | None = Field(
        None,
        title="Steps of a segment",
        description="Longer sequences are cut into segments as recordings are, shorter ones repeat "
        "their last step; empty takes as many as half of the clips have",
        ge=1,
        le=100_000,
    )


@FEATURES.register(
    "own_sequence",
    title="Your own sequences",
    source="arrays of two dimensions that your dataset holds",
    options=OwnSequenceOptions,
    kind="sequence",
    needs=("sequence",),
    cached=False,
    typical_shape=(100, 64),
)
class OwnSequence(nn.Module):
    """Segments (batch, steps, numbers) of sequences, as they are."""

    def __init__(self, options: OwnSequenceOptions, shape: tuple[int, ...]) -> None:
        """
        Args:
            options: The length of a segment.
            shape: Steps of a usual sequence, and the numbers of a step.
        """
        super().__init__()
        self.n_rows = options.n_steps or shape[0]
        self.output_shape: tuple[int, ...] = (self.n_rows, shape[1])

    def axes(self) -> tuple[Axes, ...]:
        """The numbers of a step by their place: the files do not say what they are."""
        return _axes("Sequence", self.output_shape[-1])

    def forward(self, rows: Tensor) -> Tensor:
        return rows.float()


@FEATURES.register(
    "own_sequence_moments",
    title="Your own sequences: mean and deviation",
    source="arrays of two dimensions that your dataset holds",
    options=OwnSequenceOptions,
    kind="vector",
    needs=("sequence",),
    cached=False,
    typical_shape=(100, 64),
)
class OwnSequenceMoments(OwnSequence):
    """Mean and standard deviation over the steps of segments (batch, steps, numbers): vectors
    (batch, 2 × numbers), the means first."""

    def __init__(self, options: OwnSequenceOptions, shape: tuple[int, ...]) -> None:
        super().__init__(options, shape)
        self.output_shape = (2 * shape[1],)

    def forward(self, rows: Tensor) -> Tensor:
        rows = rows.float()
        return torch.cat([rows.mean(1), rows.std(1, correction=0)], dim=1)


@FEATURES.register(
    "own_sequence_image",
    title="Your own sequences as images",
    source="arrays of two dimensions that your dataset holds, such as spectrograms of your own",
    options=OwnSequenceOptions,
    kind="image",
    needs=("sequence",),
    cached=False,
    typical_shape=(128, 128),
)
class OwnSequenceImage(OwnSequence):
    """Segments of sequences as images (batch, 1, numbers, steps): a row for every number of a step,
    a column for every step."""

    def __init__(self, options: OwnSequenceOptions, shape: tuple[int, ...]) -> None:
        super().__init__(options, shape)
        self.output_shape = (1, shape[1], self.n_rows)

    def axes(self) -> tuple[Axes, ...]:
        """The numbers of a step by their place over the steps."""
        return _axes("Sequence", self.output_shape[1])

    def forward(self, rows: Tensor) -> Tensor:
        return rows.float().transpose(1, 2)[:, None]
