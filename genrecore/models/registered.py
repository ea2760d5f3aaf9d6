"""The registry of models, filled by the modules beside this one, and what their builders share."""

from __future__ import annotations

from genrecore.errors import GenrecoreError
from genrecore.registry import Registry

MODELS = Registry("model")
"""Models. Facts: `accepts`, the frozenset of kinds ("image", …) a model takes.

The thing is `build(shape, n_genres, options) -> nn.Module` with shape (channels, bins, frames);
the module maps (batch, *shape) to logits (batch, n_genres).
"""


def check_image(name: str, shape: tuple[int, ...], least: int) -> None:
    """Refuses an image that the convolutions would shrink to nothing.

    Raises:
        GenrecoreError: Fewer than `least` bins or frames.
    """
    _, bins, frames = shape
    if min(bins, frames) < least:
        raise GenrecoreError(
            f"The model {name} needs images of at least {least} bins × {least} frames, "
            f"but the feature makes {bins} × {frames}; take more bands, longer segments or a "
            "shorter hop."
        )
