"""Checks a configuration through and through before anything is started with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch

from genrecore import augment
from genrecore.augment import AUGMENTATIONS
from genrecore.config.registry import Choice
from genrecore.config.run import Genres, Part, RunConfig
from genrecore.data import genres, splits
from genrecore.data.datasets.remembered import with_remembered_folder
from genrecore.errors import GenrecoreError, UsageError, describe
from genrecore.evaluation.metrics import watched
from genrecore.features import FEATURES
from genrecore.models import MODELS
from genrecore.models.encoders.files import check_present
from genrecore.models.encoders.options import EncoderOptions
from genrecore.models.fitted import Fitted
from genrecore.store import allowed
from genrecore.store.allowed import expanded
from genrecore.store.files import is_regular_file
from genrecore.training.classifier import Classifier, Features
from genrecore.training.parts import MEDIA, ResolvedConfig, augments, fits, takes
from genrecore.training.sources import copies_of

_STAGES = ("variants", "wave", "image", "batch")


def resolve(config: RunConfig, with_weights: bool = True) -> ResolvedConfig:
    """The configuration with its parts parsed, after every check that needs no audio. The options
    in its `config` are reduced to what differs from their defaults, so that equal systems have
    equal signatures.

    Args:
        config: What is asked for.
        with_weights: Whether the weights of a pretrained encoder must be here; not where a model is
            only described.

    Raises:
        UsageError: An unknown name, option or value, a model that does not take the feature, an
            input too small for the network, or an encoder without its weights.
    """
    resolved = ResolvedConfig(_canonical(config))
    if with_weights:
        _check_encoder(resolved)
    watched(config.training.watch)
    _check_fold(resolved)
    _check_inputs(resolved)
    _check_augmentations(resolved)
    if resolved.model.facts.classical:
        _check_classical(resolved)
    _check_statistics(resolved)
    _check_loss(resolved)
    _check_segments(resolved)
    _check_encoder_waves(resolved)
    _check_weights_file(resolved)
    check_network(resolved, resolved.typical_shape)
    return resolved


def _canonical(config: RunConfig) -> RunConfig:
    """The same configuration in the one form that equal systems have in common."""
    named = config.model_copy(
        update={
            "dataset": with_remembered_folder(config.dataset),
            "augment": _without_presets(config.augment),
        }
    )
    parsed = ResolvedConfig(named)
    leave_out, merge = genres.canonical(config.genres.leave_out, config.genres.merge)
    segments = config.segments
    parts = {
        name: _canonical_part(getattr(parsed, name))
        for name in ("dataset", "split", "feature", "standardise", "model")
    }
    # In the order in which they work: copies, waves, images, batches.
    augmentations = sorted(
        parsed.augment, key=lambda choice: (_STAGES.index(choice.facts.on), choice.facts.last)
    )
    if parsed.medium == "wave" and segments.segment_s == 0:
        segments = segments.model_copy(update={"segment_s": config.audio.clip_s})
    return config.model_copy(
        update={
            **parts,
            "augment": tuple(_canonical_part(choice) for choice in augmentations),
            "genres": Genres(leave_out=leave_out, merge=merge),
            "segments": segments,
        }
    )


def _canonical_part(choice: Choice[Any]) -> Part:
    options = choice.options.model_dump(mode="json", exclude_defaults=True)
    if isinstance(choice.options, EncoderOptions) and not choice.options.sha256:
        options |= {"sha256": sha} if (sha := choice.options.card().sha256) else {}
    return Part(name=choice.name, options=options)


def _without_presets(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Augmentations with those of a preset in the place of its name."""
    single = [each for part in parts for each in augment.PRESETS.get(part.name, (part,))]
    names = [part.name for part in single]
    double = next((name for name in names if names.count(name) > 1), None)
    if double:
        raise UsageError(f"The augmentation {double} is named twice; once is enough.")
    return tuple(single)


def _check_fold(resolved: ResolvedConfig) -> None:
    config = resolved.config
    n_folds = splits.n_folds(resolved.split)
    if config.fold >= n_folds:
        raise UsageError(
            f"There is no fold {config.fold}: the split {config.split.name} has "
            + (
                f"{n_folds} folds, counted from 0 to {n_folds - 1}."
                if n_folds > 1
                else "one fold only, 0."
            )
        )


def _check_inputs(resolved: ResolvedConfig) -> None:
    """Dataset, feature and model must fit one another."""
    feature, model, medium = resolved.feature, resolved.model, resolved.medium
    reason = fits(feature.name, model.name)
    if reason:
        models = [name for name in MODELS if not fits(feature.name, name)]
        features = [n for n in FEATURES if takes(n, medium) and not fits(n, model.name)]
        raise UsageError(
            f"{reason} Features for {model.name}: {', '.join(features) or 'none'}; models for "
            f"{feature.name}: {', '.join(models) or 'none'}."
        )
    if not takes(feature.name, medium):
        able = [name for name in FEATURES if takes(name, medium)]
        needs = " or ".join(MEDIA[need] for need in feature.facts.needs)
        raise UsageError(
            f"The dataset {resolved.dataset.name}, as chosen, gives {MEDIA[medium]}; the feature "
            f"{feature.name} takes {needs}. Features for what it gives: "
            f"{', '.join(able) or 'none yet'}."
        )


def _check_augmentations(resolved: ResolvedConfig) -> None:
    for augmentation in resolved.augment:
        reason = augments(augmentation.facts.on, resolved.medium, resolved.feature.name)
        if reason:
            raise UsageError(f"The augmentation {augmentation.name} {reason}.")
        if augmentation.facts.patches and resolved.feature.facts.kind != "image":
            raise UsageError(
                f"The augmentation {augmentation.name} takes an image alone; the feature "
                f"{resolved.feature.name} is a {resolved.feature.facts.kind}."
            )
        if augmentation.facts.patches and resolved.standardise.name == "pca_whitening":
            raise UsageError(
                f"The augmentation {augmentation.name} leaves out rows, but pca_whitening needs "
                "all of them; take the standardisation z_score or min_max."
            )
    _check_lengths(resolved)


def _check_lengths(resolved: ResolvedConfig) -> None:
    """Copies of another length must become features of the same size as their segments."""
    lengths = {copy.n_samples for copy in copies_of(resolved)} - {resolved.segmenter.n_samples}
    if not lengths:
        return
    try:
        with torch.device("meta"):
            shapes = [resolved.front_end(n_samples=n).output_shape for n in (0, *sorted(lengths))]
    except GenrecoreError:  # which `check_network` explains
        return
    if any(shape != shapes[0] for shape in shapes):
        raise UsageError(
            f"Whole copies of another tempo need a feature of one size at any length; "
            f"{resolved.feature.name} makes {shapes[0]} of a segment and {shapes[1]} of a copy. "
            "Set its frames (feature.frames), or leave whole out."
        )


def _check_classical(resolved: ResolvedConfig) -> None:
    """Refuses what draws anew in every epoch: a classical model has none."""
    name, config = resolved.model.name, resolved.config
    copies = [key for key, entry in AUGMENTATIONS.items() if entry.facts.on == "variants"]
    for augmentation in resolved.augment:
        if augmentation.name not in copies:
            raise UsageError(
                f"The augmentation {augmentation.name} draws anew in every epoch, but the model "
                f"{name} is fitted in one call; it can learn from fixed copies: "
                f"{', '.join(copies)}."
            )
    if config.segments.excerpts == "random" and resolved.medium == "wave":
        raise UsageError(
            f"Random excerpts are drawn anew in every epoch, but the model {name} is fitted in one "
            "call; let it train on all segments."
        )
    if config.processes > 1:
        raise UsageError(
            f"The model {name} is fitted by one process, but {config.processes} are asked for."
        )


def _check_statistics(resolved: ResolvedConfig) -> None:
    if resolved.config.standardise_on == "all" and not resolved.config.allow_leaks:
        raise UsageError(
            "Statistics of all clips let training know something of the test clips; take those of "
            "the training clips, or allow leaks: the run is then marked."
        )


def _check_loss(resolved: ResolvedConfig) -> None:
    """Refuses a likelihood of logits, which has no end."""
    training = resolved.config.training
    if training.loss == "likelihood" and training.output == "logits":
        raise UsageError(
            "The loss likelihood takes the output for logarithms of probabilities, but logits are "
            "none; give it the output log_sigmoid or softmax, or take the loss cross_entropy."
        )


def _check_segments(resolved: ResolvedConfig) -> None:
    segment_s, clip_s = resolved.config.segments.segment_s, resolved.config.audio.clip_s
    if resolved.medium == "wave" and segment_s > clip_s:
        raise UsageError(
            f"A segment of {segment_s:g} s is longer than the {clip_s:g} s taken from each clip."
        )


def _check_encoder(resolved: ResolvedConfig) -> None:
    """The weights of an encoder must be here now, not only when the run's turn comes."""
    for options in (resolved.feature.options, resolved.model.options):
        if isinstance(options, EncoderOptions) and getattr(options, "pretrained", True):
            check_present(options.encoder, options.sha256)


def _check_encoder_waves(resolved: ResolvedConfig) -> None:
    """A model that is an encoder sees waves without their sample rate."""
    options = resolved.model.options
    if isinstance(options, EncoderOptions):
        rate_hz, n_samples = resolved.config.audio.sample_rate_hz, resolved.segmenter.n_samples
        try:
            options.check_waves(options.card(), rate_hz, n_samples)
        except GenrecoreError as error:
            raise UsageError(str(error)) from None


def _check_weights_file(resolved: ResolvedConfig) -> None:
    """A file of weights must be there now, not only when the run's turn comes."""
    weights = str(getattr(resolved.model.options, "weights_file", ""))
    if not weights:
        return
    allowed.refuse_outside(weights)
    file = expanded(weights).absolute()
    if not is_regular_file(str(file)):
        raise UsageError(f"There is no file of weights at {file}.")


def check_network(resolved: ResolvedConfig, shape: tuple[int, ...]) -> None:
    """Builds the classifier without memory and sends an empty input through.

    Args:
        resolved: The configuration.
        shape: Of one image or row that the dataset gives; empty for waves.

    Raises:
        UsageError: The network cannot take it, or cannot be trained with such batches.
    """
    config = resolved.config
    parts = ("audio", "segments", "feature", "standardise", "model", "augment")
    _send_through(
        _Passage(
            config.model_dump_json(include=set(parts)),
            (resolved.feature.thing, resolved.standardise.thing, resolved.model.thing),
            config.training.batch_size == 1,
            tuple(shape),
            resolved,
        )
    )


@dataclass(frozen=True)
class _Passage:
    """Of an empty input through a network, by all that it depends on."""

    parts: str
    things: tuple[object, ...]
    alone: bool
    shape: tuple[int, ...]
    resolved: ResolvedConfig = field(compare=False)


@lru_cache(maxsize=500)
def _send_through(passage: _Passage) -> None:
    """What went through once does so again: pages ask anew whenever a field changes."""
    resolved, shape = passage.resolved, passage.shape
    name = resolved.model.name
    try:
        with torch.device("meta"):
            classifier = Classifier(resolved, ["a", "b"], shape, pretrained=False).eval()
            if isinstance(classifier.network, Fitted):
                return
            classifier.network(empty_input(classifier, 2))
            if resolved.config.training.batch_size == 1:
                classifier.train().heads(empty_input(classifier, 1))
    except GenrecoreError as error:
        raise UsageError(str(error)) from None
    except (RuntimeError, ValueError) as error:
        if "more than 1 value per channel" in str(error):
            raise UsageError(
                f"The model {name} normalises over a batch and cannot learn from batches of one; "
                "take a batch size of 2 or more."
            ) from None
        raise UsageError(
            f"The model {name} cannot take the input that these settings make: {describe(error)}"
        ) from None


def empty_input(classifier: Classifier, n: int) -> Features:
    """A batch of n examples, on the device that is the default now."""
    shape: tuple[Any, ...] = tuple(classifier.feature.output_shape)  # type: ignore[arg-type]
    if isinstance(shape[0], tuple):
        return tuple(torch.empty(n, *part) for part in shape)
    return torch.empty(n, *shape)
