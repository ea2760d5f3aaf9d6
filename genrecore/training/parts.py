"""The parts of a run's configuration: registries, parsed options, and what fits what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from genrecore.augment import AUGMENTATIONS
from genrecore.augment.registered import AugmentationFacts
from genrecore.config.registry import Choice, Registry
from genrecore.config.run import RunConfig
from genrecore.data.datasets import DATASETS
from genrecore.data.datasets.registered import DatasetFacts
from genrecore.data.segments import Segmenter
from genrecore.data.splits import SPLITS
from genrecore.data.splits.registered import SplitFacts
from genrecore.features import FEATURES, STANDARDISERS
from genrecore.features.registered import FeatureFacts
from genrecore.models import MODELS
from genrecore.models.encoders import EncoderCard
from genrecore.models.encoders.options import EncoderOptions
from genrecore.models.registered import ModelFacts

REGISTRIES: Mapping[str, Registry[Any]] = {
    "dataset": DATASETS,
    "split": SPLITS,
    "feature": FEATURES,
    "standardise": STANDARDISERS,
    "model": MODELS,
}
"""Where each part of a `RunConfig` is registered that is one thing by name."""

MEDIA = {
    "wave": "audio",
    "image": "images",
    "table": "tables of descriptors",
    "vector": "arrays with one axis (vectors)",
    "sequence": "arrays with two axes (sequences)",
}
"""What a dataset may give a feature, in words."""


@dataclass(frozen=True)
class ResolvedConfig:
    """A configuration with the parsed options of its parts; `resolve` makes one of what is asked
    for, and what lies in a run folder is resolved already.

    A part is parsed when it is first read, so a run can be used where the dataset that it learned
    from is not registered any more.
    """

    config: RunConfig

    @cached_property
    def dataset(self) -> Choice[DatasetFacts]:
        return self.config.dataset.choose_from(DATASETS)

    @cached_property
    def split(self) -> Choice[SplitFacts]:
        return self.config.split.choose_from(SPLITS)

    @cached_property
    def feature(self) -> Choice[FeatureFacts]:
        return self.config.feature.choose_from(FEATURES)

    @cached_property
    def standardise(self) -> Choice[Any]:
        return self.config.standardise.choose_from(STANDARDISERS)

    @cached_property
    def model(self) -> Choice[ModelFacts]:
        return self.config.model.choose_from(MODELS)

    @cached_property
    def augment(self) -> tuple[Choice[AugmentationFacts], ...]:
        return tuple(part.choose_from(AUGMENTATIONS) for part in self.config.augment)

    @property
    def encoder(self) -> EncoderCard | None:
        """The card of the pretrained encoder that its feature or its model is; else None."""
        for options in (self.feature.options, self.model.options):
            if isinstance(options, EncoderOptions):
                return options.card()
        return None

    @property
    def patches(self) -> Any:
        """The augmentation that makes images smaller than the feature does; None without one."""
        part = next((part for part in self.augment if part.facts.patches), None)
        return part and part.thing(part.options, self.config.audio.sample_rate_hz)

    @cached_property
    def medium(self) -> str:
        """What the dataset gives a feature: a key of `MEDIA`."""
        medium = self.dataset.facts.medium
        if callable(medium):  # some datasets come in several forms
            medium = medium(self.dataset.options)
        return "wave" if medium == "audio" else medium

    @property
    def needed(self) -> str:
        """A medium that its feature is made of, waves where it can be; no file is looked at."""
        needs = self.feature.facts.needs
        return "wave" if "wave" in needs else needs[0]

    @property
    def typical_shape(self) -> tuple[int, ...]:
        """A shape of one image or row such as the dataset may give; empty for waves."""
        return () if self.medium == "wave" else self.feature.facts.typical_shape

    @property
    def segmenter(self) -> Segmenter:
        """How recordings are cut into segments."""
        return Segmenter.from_config(self.config)

    def front_end(self, shape: tuple[int, ...] = (), n_samples: int = 0) -> Any:
        """The module that computes the feature.

        Args:
            shape: Of one image or row that the dataset gives; empty for waves.
            n_samples: Of a wave; 0 is the length of a segment.
        """
        length = n_samples or self.segmenter.n_samples
        rate_and_length = (self.config.audio.sample_rate_hz, length)
        arguments = (shape,) if shape else rate_and_length
        return self.feature.thing(self.feature.options, *arguments)


def setting_title(config: RunConfig, dotted: str) -> str:
    """What the form calls a setting of a configuration, an option behind its part: `Epochs`,
    `Model: Width`."""
    first, _, option = dotted.partition(".options.")
    info, fields = RunConfig.model_fields[first.partition(".")[0]], RunConfig.model_fields
    if option:
        name, registry = getattr(config, first).name, REGISTRIES[first]
        options = registry[name].options.model_fields if name in registry else {}
        title = options[option].title if option in options else ""
        return f"{info.title}: {title or option.replace('_', ' ')}"
    for name in dotted.removesuffix(".name").split("."):
        info = fields[name]
        fields = getattr(info.annotation, "model_fields", {})
    return str(info.title or dotted)


def fits(feature: str, model: str) -> str:
    """Why a model cannot take a feature, as a sentence; empty where it can."""
    kind, accepts = FEATURES[feature].facts.kind, MODELS[model].facts.accepts
    if kind in accepts:
        return ""
    kinds = " or ".join(f"{name}s" for name in sorted(accepts))
    return f"The model {model} takes {kinds}; the feature {feature} makes {kind}s."


def feature_for(model: str, medium: str) -> str:
    """A feature that a model takes and that can be made of a medium; empty where there is none."""
    able = (name for name in FEATURES if takes(name, medium) and not fits(name, model))
    return next(able, "")


def takes(feature: str, medium: str) -> bool:
    """Whether a feature can be made of this medium, a key of `MEDIA`."""
    return medium in FEATURES[feature].facts.needs


def augments(on: str, medium: str, feature: str) -> str:
    """Why an augmentation has nothing to change, as the end of a sentence; empty where it has.

    Args:
        on: What it changes, as `AugmentationFacts.on` says.
        medium: What the dataset gives: a key of `MEDIA`.
        feature: The feature's name.
    """
    if on in ("wave", "variants") and medium != "wave":
        return f"changes waves, but the dataset, as chosen, gives {MEDIA[medium]}"
    kind = FEATURES[feature].facts.kind
    if on == "image" and "image" not in kind:
        return f"changes images, but the feature {feature} makes {kind}"
    return ""
