"""The registry of models, filled by the modules beside this one, and what their builders share."""

from __future__ import annotations

from dataclasses import dataclass

from genrecore.config.registry import Registry
from genrecore.errors import GenrecoreError

MODELS = Registry("model")
"""Models. The thing is `build(shape, n_genres, options) -> nn.Module`; the module maps
(batch, *shape) to logits (batch, n_genres). Shapes by kind: `image` (channels, bins, frames),
`sequence` (steps, features), `vector` (features,), `wave` (channels, samples); of the pair
`wave+image` the shape is a tuple of the two, and the module takes a tuple of two tensors. A network
with auxiliary heads has `training_logits(input)`, a list of (weight, logits) whose losses are
summed. The thing of a classical model is `build(options, seed) -> estimator` of scikit-learn.

Facts:
    accepts: Frozenset of the kinds a model takes.
    least: The smallest shape it takes; below it, the builder says so in one sentence.
    year: In which it was published.
    idea: What it brought, in one sentence.
    preset: The input of its study, a name in `features.PRESETS`; absent where it has none.
    recipe: Dotted values of a configuration with which its study trained it; may be empty.
    published: Tuple of `Published`, the sizes that studies print.
    notes: Sentences on what a study leaves open or gets wrong, and on what is chosen here.
    classical: True for what scikit-learn fits; absent for networks.
"""


@dataclass(frozen=True)
class Published:
    """The size that a study prints for a model.

    Attributes:
        study: Who prints it, and where.
        n_parameters: What is printed.
        shape: The input for which it is compared.
        n_genres: The outputs for which it is compared.
        why: Why ours differs, as a sentence; empty where it differs by 3 % or less.
    """

    study: str
    n_parameters: int
    shape: tuple[int, ...]
    n_genres: int
    why: str = ""


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
