"""The registries of features and standardisers, filled by the modules beside this one."""

from genrecore.registry import Registry

FEATURES = Registry("feature")
"""Features. Facts: `kind` (what comes out: "image"), `needs` (what goes in: "wave").

The thing is an nn.Module class `F(options, sample_rate_hz, n_samples)` with the attribute
`output_shape` (without the batch) and `forward(wave (batch, 1, n_samples)) -> (batch, *shape)`.
"""

STANDARDISERS = Registry("standardiser")
"""Standardisers: nn.Module classes `S(options, shape)` with `fit(batches)` and `forward(x)`."""
