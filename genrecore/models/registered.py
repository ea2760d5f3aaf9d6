"""The registry of models, filled by the modules beside this one, and what their builders share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from genrecore.config.registry import Registry
from genrecore.errors import GenrecoreError


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


@dataclass(frozen=True)
class ModelFacts:
    """What there is to know of a model.

    Attributes:
        accepts: The kinds of features it takes.
        least: The smallest shape it takes, of a pair both; below it, the builder says so.
        year: In which it was published.
        idea: What it brought, in one sentence.
        preset: The input of its study, a name in `features.PRESETS`; empty where it has none.
        recipe: Dotted values of a configuration with which its study trained it; may be empty.
        published: The sizes that studies print.
        notes: Sentences on what a study leaves open or gets wrong, and on what is chosen here.
        classical: Whether scikit-learn fits it; then it is no network.
        grows: The parameter of a classical model that counts the parts it is fitted in, e.g. its
            trees; empty where it is fitted in one call.
        portion: How many such parts are fitted between two reports of progress.
        tuned: The parameter of a classical model whose value validation clips choose, unless its
            option sets it; and the values it is chosen from, in order.
    """

    accepts: frozenset[str]
    least: tuple[Any, ...] = ()
    year: int | None = None
    idea: str = ""
    preset: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    published: tuple[Published, ...] = ()
    notes: tuple[str, ...] = ()
    classical: bool = False
    grows: str = ""
    portion: int = 1
    tuned: tuple[str, tuple[float, ...]] = ("", ())


MODELS = Registry("model", ModelFacts)
"""Models. The thing is `build(shape, n_genres, options) -> nn.Module`; the module maps
(batch, *shape) to logits (batch, n_genres). Shapes by kind: `image` (channels, bins, frames),
`sequence` (steps, features), `vector` (features,), `wave` (channels, samples); of the pair
`wave+image` the shape is a tuple of the two, and the module takes a tuple of two tensors. A network
with auxiliary heads has `training_logits(input)`, a list of (weight, logits) whose losses are
summed. The thing of a classical model is `build(options, seed) -> estimator` of scikit-learn.
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
