"""The input of a model, as its study or a configuration gives it, and the command that trains on
it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from genrecore.audio.axes import size_in_words
from genrecore.config import run as configuration
from genrecore.config.command import settings_words
from genrecore.config.run import RunConfig
from genrecore.errors import UsageError
from genrecore.features import FEATURES, PRESETS
from genrecore.models import MODELS
from genrecore.training.parts import ResolvedConfig, fits, takes
from genrecore.training.resolve import resolve

CLIP_S = 30.0
"""Clips of GTZAN and FMA last so long; costs of a clip are of one."""


@dataclass(frozen=True)
class Input:
    """The input for which a card's figures hold.

    Attributes:
        preset: The study whose input it is, a name in `PRESETS`; empty for any other.
        kind: The kind of the feature.
        shape: Of one example; of a pair, both shapes.
        words: A description for people.
        n_genres: Outputs.
        n_segments: Examples of a clip of `CLIP_S` seconds.
    """

    preset: str
    kind: str
    shape: Any
    words: str
    n_genres: int
    n_segments: int


def study_config(name: str) -> RunConfig:
    """A model on the input of its study and with its recipe; where it has none, on the first
    feature that it accepts.

    Raises:
        UsageError: There is no such model.
    """
    preset = preset_of(name)
    values = dict(PRESETS[preset].thing) if preset else {"feature": default_feature(name)}
    return configuration.with_values(RunConfig(), values | {"model": name} | recipe_of(name))


def plain_config(name: str) -> RunConfig:
    """A model on the first feature that it accepts, everything else as it is by default.

    Raises:
        UsageError: There is no such model.
    """
    return configuration.with_values(RunConfig(), {"feature": default_feature(name), "model": name})


def preset_of(name: str) -> str:
    """The input of a model's study, a name in `PRESETS`; empty where it has none."""
    preset = MODELS[name].facts.preset
    return preset if preset in PRESETS else ""


def recipe_of(name: str) -> dict[str, Any]:
    """Dotted values with which a model's study trained it; may be empty."""
    return dict(MODELS[name].facts.recipe)


def presets_for(name: str) -> list[str]:
    """The studies' inputs of a kind that a model accepts, its own study's first."""
    fitting = []
    for preset, entry in PRESETS.items():
        feature = entry.thing.get("feature", RunConfig().feature.name)
        if not fits(feature, name):
            fitting.append(preset)
    return sorted(fitting, key=lambda preset: preset != preset_of(name))


def default_feature(name: str) -> str:
    """The first feature of sound that a model accepts.

    Raises:
        UsageError: There is none.
    """
    for feature in FEATURES:
        if not fits(feature, name) and takes(feature, "wave"):
            return feature
    raise UsageError(f"There is no feature that the model {name} accepts.")


def n_genres(config: RunConfig) -> int:
    """Outputs that a model gets: GTZAN has ten genres, FMA-small eight, the demo as many as it is
    told to make; eight where only the files could tell."""
    dataset = ResolvedConfig(config).dataset
    n = dataset.facts.n_genres
    return (n(dataset.options) if callable(n) else n) or 8


def front_end(config: RunConfig) -> tuple[RunConfig, nn.Module, str]:
    """The configuration resolved, its feature, and the feature's kind.

    Raises:
        UsageError: As `resolve`.
    """
    resolved = resolve(config, with_weights=False)
    feature = resolved.front_end(resolved.typical_shape)
    return resolved.config, feature, resolved.feature.facts.kind


def described(config: RunConfig, feature: Any, kind: str) -> Input:
    """What `front_end` found, as an `Input`."""
    rate, resolved = config.audio.sample_rate_hz, ResolvedConfig(config)
    shapes = feature.output_shape if "+" in kind else (feature.output_shape,)
    sizes = (size_in_words(*part) for part in zip(feature.axes(), shapes, strict=True))
    words = f"{resolved.feature.entry.title.partition(' (')[0]}: {'; '.join(sizes)}"
    n_segments = 1  # a dataset's own images and rows: one a clip
    if resolved.medium == "wave":
        seconds = config.segments.segment_s
        n_clip = round(min(CLIP_S, config.audio.clip_s) * rate)
        n_segments = len(resolved.segmenter.starts(n_clip))
        words += f", of {seconds:.4g} s of sound"
    return Input(
        preset_like(config), kind, feature.output_shape, words, n_genres(config), n_segments
    )


def preset_like(config: RunConfig) -> str:
    """The preset that makes a configuration's input, of several alike the one of its model's study;
    empty where none does."""
    for name in presets_for(config.model.name):
        if _made_of(config) == _made_of(configuration.with_values(config, PRESETS[name].thing)):
            return name
    return ""


def _made_of(config: RunConfig) -> tuple[Any, ...]:
    """What decides an input, with all options filled in."""
    resolved = ResolvedConfig(config)
    feature = resolved.feature.options
    if resolved.medium != "wave":  # nothing is decoded or cut
        return config.feature.name, feature, config.standardise, config.dataset
    return config.feature.name, feature, config.standardise, config.audio, config.segments


def command_for(config: RunConfig) -> list[str]:
    """The command that trains this configuration, by its preset where it has one."""
    preset = preset_like(config)
    if preset:  # which says all of this
        own = ["audio", "segments", "feature", "standardise"]
        own += ["dataset"] if "dataset" in PRESETS[preset].thing else []
        config = config.model_copy(update={name: getattr(RunConfig(), name) for name in own})
    words = settings_words(config)
    if "--model" not in words:  # the default model
        words = ["--model", config.model.name, *words]
    return ["genrecore", "train", *(["--preset", preset] if preset else []), *words]
