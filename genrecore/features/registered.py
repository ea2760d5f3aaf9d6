"""The registries of features and standardisers, filled by the modules beside this one."""

from genrecore.config.registry import Registry

FEATURES = Registry("feature")
"""Features. Facts: `kind` (what comes out: "image", "sequence", "vector", "wave", or the pair
"wave+image"), `needs` (what goes in: "wave", or the "image" or "table" that a dataset ships; a
tuple where it may be either), `cached` (False: as large as the waves it comes from, so it is
computed whenever it is needed), and of a pair `cached_half`: the feature, and the attribute of this
one, that makes its picture, which is kept.

The thing is an nn.Module class, for waves `F(options, sample_rate_hz, n_samples)`, else
`F(options, shape)` with the shape of one picture or row (the fact `typical_shape` is one). It has
the attribute `output_shape` (without the batch) and `forward(input (batch, …)) -> (batch, *shape)`;
of a pair, `output_shape` is a tuple of two shapes and `forward` gives a tuple of two tensors.
"""

STANDARDISERS = Registry("standardiser")
"""Standardisers: nn.Module classes `S(options, shape, kind)` with `fit(batches)` and `forward(x)`,
which keeps the shape. `kind` is the feature's; of a pair each tensor has a standardiser of its own,
with its shape and its part of the kind.
"""
