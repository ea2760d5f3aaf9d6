"""A model's card: what it is, how large it is, what it sees, what studies print of it.

A card is computed on shapes alone (`anatomy`), in milliseconds. How long a model takes is measured
on the machine itself (`timing`).
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from genrecore.config import run as configuration
from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError, UsageError, describe
from genrecore.models import MODELS, anatomy
from genrecore.models.anatomy import Anatomy, Layer
from genrecore.training.model_inputs import (
    CLIP_S,
    Input,
    command_for,
    described,
    front_end,
    n_genres,
    study_config,
)
from genrecore.training.receptive_fields import AXES, Field, in_sound
from genrecore.words import decimals, plural, short_number, size, thousands

KINDS = {
    "image": "images such as spectrograms",
    "sequence": "sequences of descriptors",
    "vector": "one row of descriptors",
    "wave": "the wave itself",
    "wave+image": "the wave together with a spectrogram",
}
"""What models accept, in words."""


@dataclass(frozen=True)
class Compared:
    """A printed number of parameters beside ours at the same input and outputs.

    Attributes:
        study: Who prints it, and where.
        shape: The input for which both numbers hold.
        n_genres: The outputs for which both hold.
        why: Why ours differs, where it does clearly.
    """

    study: str
    n_printed: int
    n_ours: int
    shape: Any
    n_genres: int
    why: str

    @property
    def difference(self) -> float:
        """Ours less theirs, as a share of theirs."""
        return self.n_ours / self.n_printed - 1.0

    @property
    def percent(self) -> str:
        """The difference for people: `+1.6 %`."""
        return f"{decimals(100 * self.difference, sign=True)} %"


@dataclass(frozen=True)
class Size:
    """A model beside others on the same input; `reason` says why it cannot take it."""

    name: str
    title: str
    n_parameters: int | None
    n_multiply_adds: int | None
    reason: str = ""


@dataclass(frozen=True)
class Card:
    """What there is to know of a model before it is trained.

    Attributes:
        name: As registered.
        title: For people.
        source: Who published it; how ours differs stands in its docstring.
        year: In which it was published; None where that is not known.
        idea: What it brought, in one sentence; may be empty.
        accepts: Kinds of features.
        classical: Whether scikit-learn fits it; then it has no layers, and its size depends on what
            it learns from.
        input: For what the figures hold.
        config: The resolved configuration of that input.
        n_parameters: All of them; None for a classical model.
        n_trainable: Those that training changes.
        n_multiply_adds: Of one example; as `Anatomy`.
        n_bytes: Of its weights in a file, as float32; less a header of some kilobytes.
        fields: What its convolutions see; empty where it has none.
        is_recurrent: Whether it goes from step to step.
        layers: Its outline.
        published: What studies print, beside ours.
        command: Trains it on this input; on its study's, with its study's recipe.
        notes: Sentences on what else there is to know.
    """

    name: str
    title: str
    source: str
    year: int | None
    idea: str
    accepts: tuple[str, ...]
    classical: bool
    input: Input
    config: RunConfig
    n_parameters: int | None
    n_trainable: int | None
    n_multiply_adds: int | None
    n_bytes: int | None
    fields: tuple[Field, ...]
    is_recurrent: bool
    layers: tuple[Layer, ...]
    published: tuple[Compared, ...]
    command: str
    notes: tuple[str, ...]

    @property
    def n_multiply_adds_clip(self) -> int | None:
        """Of all segments of a clip of `CLIP_S` seconds."""
        n = self.n_multiply_adds
        return None if n is None else n * self.input.n_segments

    @property
    def sees(self) -> tuple[str, ...]:
        """What its units see, in sentences."""
        if self.classical:
            return ()
        sentences = [field.sentence for field in self.fields]
        if self.is_recurrent:
            sentences.append(
                "Its recurrent layers go through the input step by step and know all of it."
            )
        return tuple(sentences) or (
            "It has no convolutions: its first layer sees the whole input.",
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        facts = dataclasses.asdict(self)
        for printed, compared in zip(facts["published"], self.published, strict=True):
            printed["difference"] = compared.difference
        return facts | {
            "n_multiply_adds_clip": self.n_multiply_adds_clip,
            "sees": list(self.sees),
            "config": configuration.differences(self.config),
        }


def shape_in_words(shape: Any) -> str:
    """`3 × 224 × 224`; of a pair, both."""
    if shape and isinstance(shape[0], tuple):
        return " and ".join(shape_in_words(part) for part in shape)
    return " × ".join(thousands(n) for n in shape)


def sizes_in_words(card: Card) -> list[str]:
    """Parameters, costs and room on the disk, in sentences."""
    if card.n_parameters is None or card.n_multiply_adds is None or card.n_bytes is None:
        return [
            "Its size depends on what it learns from, and it has no multiply–adds to be counted "
            "before it is trained."
        ]
    frozen = card.n_parameters - (card.n_trainable or 0)
    return [
        f"{thousands(card.n_parameters)} parameters"
        + (f", {thousands(frozen)} of them frozen." if frozen else ", all of them trainable."),
        f"{short_number(card.n_multiply_adds)} multiply–adds an example, in convolutions and "
        f"matrix products of the network; {short_number(card.n_multiply_adds_clip)} for a clip of "
        f"{CLIP_S:.0f} s ({plural(card.input.n_segments, 'segment')}).",
        f"{size(card.n_bytes)} of weights on the disk.",
    ]


def model_card(name: str, config: RunConfig | None = None) -> Card:
    """The card of a model, for the input of its study or of a configuration.

    Args:
        name: In `MODELS`.
        config: Names the input; its model may be another one. By default `study_config(name)`.

    Raises:
        UsageError: There is no such model, or it cannot take that input.
    """
    name = MODELS[name].name
    config = study_config(name) if config is None else config
    return _card(name, configuration.with_values(config, {"model": name}).model_dump_json())


def sizes(config: RunConfig) -> list[Size]:
    """Every network that accepts the kind of input of a configuration, all on that input."""
    config, feature, kind = front_end(config)
    rows = []
    for name, entry in MODELS.items():
        if kind not in entry.facts.accepts or entry.facts.classical:
            continue
        options = config.model.options if config.model.name == name else {}
        try:
            network = _anatomy(name, _key(options), feature.output_shape, kind, n_genres(config))
        except UsageError as error:
            rows.append(Size(name, entry.title, None, None, str(error)))
        else:
            rows.append(Size(name, entry.title, network.n_parameters, network.n_multiply_adds))
    return rows


@lru_cache(maxsize=256)
def _card(name: str, text: str) -> Card:
    entry = MODELS[name]
    config, feature, kind = front_end(configuration.read_config(json.loads(text)))
    classical = entry.facts.classical
    shown_input = described(config, feature, kind)
    network: Anatomy | None = None
    fields: tuple[Field, ...] = ()
    if not classical:
        options = _key(config.model.options)
        network = _anatomy(name, options, shown_input.shape, kind, shown_input.n_genres)
        fields = in_sound(network.reaches, feature, kind)
    return Card(
        name=name,
        title=entry.title,
        source=entry.source,
        year=entry.facts.year,
        idea=entry.facts.idea,
        accepts=tuple(sorted(entry.facts.accepts)),
        classical=classical,
        input=shown_input,
        config=config,
        n_parameters=network.n_parameters if network else None,
        n_trainable=network.n_trainable if network else None,
        n_multiply_adds=network.n_multiply_adds if network else None,
        n_bytes=network.n_bytes if network else None,
        fields=fields,
        is_recurrent=network.is_recurrent if network else False,
        layers=network.layers if network else (),
        published=_published(name),
        command=shlex.join(command_for(config)),
        notes=entry.facts.notes + _only_for_training(network),
    )


def _only_for_training(network: Anatomy | None) -> tuple[str, ...]:
    """A sentence where parts of a network only help its training."""
    if network is None:
        return ()
    n = sum(layer.n_parameters for layer in network.layers if not layer.shape)
    if not n:
        return ()
    return (
        f"{thousands(n)} of its {thousands(network.n_parameters)} parameters are of parts that "
        "only training uses.",
    )


@lru_cache(maxsize=512)
def _anatomy(name: str, options: str, shape: Any, kind: str, n_outputs: int) -> Anatomy:
    """The layers and costs of a network for this input.

    Raises:
        UsageError: It cannot take that shape.
    """
    axes = [AXES.get(part, ()) for part in kind.split("+")]
    try:
        with torch.device("meta"):
            model = MODELS.choose(name, json.loads(options))
            network = model.thing(shape, n_outputs, model.options)
        return anatomy.examine(network, shape, axes)
    except GenrecoreError as error:
        raise UsageError(str(error)) from None
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"The model {name} cannot take an input of {shape}: {describe(error)}"
        ) from None


def _key(options: Mapping[str, Any]) -> str:
    return json.dumps(dict(options), sort_keys=True)


def _published(name: str) -> tuple[Compared, ...]:
    """The numbers of parameters that studies print, beside ours."""
    facts = MODELS[name].facts
    rows = []
    for entry in facts.published:
        kind = _kind_of(entry.shape, facts.accepts)
        n_ours = _anatomy(name, _key({}), entry.shape, kind, entry.n_genres).n_parameters
        rows.append(
            Compared(
                entry.study, entry.n_parameters, n_ours, entry.shape, entry.n_genres, entry.why
            )
        )
    return tuple(rows)


def _kind_of(shape: Any, accepts: frozenset[str]) -> str:
    """The kind of a shape among those that a model accepts."""
    axes = {"vector": 1, "sequence": 2, "wave": 2, "image": 3}
    if isinstance(shape[0], tuple):
        return "wave+image"
    return next((kind for kind in sorted(accepts) if axes.get(kind) == len(shape)), "image")
