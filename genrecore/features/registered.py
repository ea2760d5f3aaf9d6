"""The registries of features and standardisers, filled by the modules beside this one."""

from __future__ import annotations

from dataclasses import dataclass

from genrecore.config.registry import NoFacts, Registry


@dataclass(frozen=True)
class FeatureFacts:
    """Facts about a feature.

    Attributes:
        kind: What comes out: `image`, `sequence`, `vector`, `wave`, or the pair `wave+image`.
        needs: What goes in: `wave`, or the `image`, `table`, `vector` or `sequence` that a dataset
            ships; several where it may be any of them.
        cached: Whether it is computed once and kept; not where it is as large as its waves.
        cached_half: Of a pair, the feature that makes its image, which is kept; the attribute of
            the pair that holds it has the same name.
        typical_shape: Of one image, row, vector or sequence, where it is not made of waves alone.
    """

    kind: str
    needs: tuple[str, ...]
    cached: bool = True
    cached_half: str = ""
    typical_shape: tuple[int, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind of each part: two of a pair."""
        return tuple(self.kind.split("+"))


FEATURES = Registry("feature", FeatureFacts)
"""Features. The thing is an nn.Module class: of waves `F(options, sample_rate_hz, n_samples)`, else
`F(options, shape)` with the shape of one image or row. It has the attribute `output_shape` (without
the batch), `forward(input (batch, …)) -> (batch, *shape)`, and `axes() -> tuple of Axes`: what rows
and columns are (`genrecore.audio.axes`). Of a pair, `output_shape` is a tuple of two
shapes, `forward` gives a tuple of two tensors, and there are two `Axes`; else there is one.
"""

STANDARDISERS = Registry("standardiser", NoFacts)
"""Standardisers: nn.Module classes `S(options, shape, kind)` with `fit(batches)` and `forward(x)`,
which keeps the shape. `kind` is the feature's; of a pair each tensor has a standardiser of its own,
with its shape and its part of the kind.
"""
