"""Front end, standardiser and network as one module with one state dict; and what fits what.

Training and inference call the same `forward`, so no second preprocessing can drift.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from genrecore import augment
from genrecore.augment import AUGMENTATIONS
from genrecore.config import run as configuration
from genrecore.config.registry import Registry
from genrecore.config.run import Genres, Part, RunConfig
from genrecore.data import datasets
from genrecore.data import genres as relabel
from genrecore.data import splits as split_schemes
from genrecore.data.datasets import DATASETS
from genrecore.data.datasets.known import with_known_folder
from genrecore.data.segments import Segmenter
from genrecore.data.splits import SPLITS
from genrecore.errors import GenrecoreError, UsageError, describe
from genrecore.evaluation.metrics import watched
from genrecore.features import FEATURES, STANDARDISERS
from genrecore.models import MODELS
from genrecore.models import fitted as estimators
from genrecore.models.fitted import Fitted

Features = Tensor | tuple[Tensor, ...]
"""What a front end makes: (batch, …), or a pair of them."""


class Classifier(nn.Module):
    """wave (batch, 1, samples), or a dataset's own pictures (batch, 3, height, width) or rows
    (batch, rows, descriptors) → logits (batch, genres), genres sorted by name.

    Attributes:
        feature: The front end, wave → features.
        standardise: Fitted on the training split only.
        network: features → logits; `Fitted` where scikit-learn makes them.
    """

    def __init__(
        self,
        config: RunConfig,
        genres: list[str],
        shape: tuple[int, ...] = (),
        pretrained: bool = True,
    ) -> None:
        """Builds what a resolved configuration names.

        Args:
            config: The configuration.
            genres: Sorted names; their order is the order of the logits.
            shape: Of one picture or row, where the feature takes those; else not needed.
            pretrained: Whether a model that asks for published weights gets them; not needed
                where trained weights are loaded right after.
        """
        super().__init__()
        self.config, self.genres = config, list(genres)
        feature = FEATURES[config.feature.name]
        # The dataset is asked only where the feature leaves it open: it may be gone by now.
        if takes(config.feature.name, "wave") and medium_of(config.dataset) == "wave":
            rate = config.audio.sample_rate_hz
            given: tuple[Any, ...] = (rate, Segmenter.from_config(config).n_samples)
        else:
            given = (tuple(shape),)
        self.given_shape = tuple(shape)
        self.feature: nn.Module = feature.thing(
            feature.read_options(config.feature.options, "feature"), *given
        )
        made: tuple[Any, ...] = tuple(self.feature.output_shape)
        kind: str = feature.facts.kind
        self.standardise: nn.Module = (
            nn.ModuleList(
                _standardiser(config, one, its)
                for one, its in zip(made, kind.split("+"), strict=True)
            )
            if _is_pair(made)
            else _standardiser(config, made, kind)
        )
        model = MODELS[config.model.name]
        options = model.read_options(config.model.options, "model")
        if not pretrained and hasattr(options, "without_weights"):
            options = options.without_weights()
        self.network: nn.Module = (
            Fitted() if is_classical(config) else model.thing(made, len(genres), options)
        )

    def forward(self, given: Tensor) -> Tensor:
        """Logits (batch, genres) of what the front end takes, e.g. waves (batch, 1, samples)."""
        return self.logits(self.feature(given))

    def logits(self, features: Features) -> Tensor:
        """Logits (batch, genres) of features as the front end makes them."""
        return self._output(self.network(self.standardised(features)))

    def fit_standardisation(self, batches: Callable[[], Iterable[Features]]) -> None:
        """Fits the standardisation to features of the training split.

        Args:
            batches: Gives them anew each time it is called; a pair is read once for either part.
        """
        if isinstance(self.standardise, nn.ModuleList):
            for k, one in enumerate(self.standardise):
                one.fit(batch[k] for batch in batches())  # type: ignore[operator]
        else:
            self.standardise.fit(batches())  # type: ignore[operator]

    def standardised(self, features: Features) -> Features:
        """Features as the network sees them."""
        if isinstance(features, tuple):
            modules = self.standardise
            assert isinstance(modules, nn.ModuleList)
            return tuple(one(part) for one, part in zip(modules, features, strict=True))
        return self.standardise(features)

    def training_logits(self, features: Features) -> list[tuple[float, Tensor]]:
        """`heads` of features as the front end makes them."""
        return self.heads(self.standardised(features))

    def heads(self, standardised: Features) -> list[tuple[float, Tensor]]:
        """(weight, logits) pairs whose weighted losses are summed, the main one first; only that
        one unless the network has auxiliary heads."""
        own = getattr(self.network, "training_logits", None)
        if own is None:
            return [(1.0, self._output(self.network(standardised)))]
        return [(weight, self._output(logits)) for weight, logits in own(standardised)]

    def _output(self, logits: Tensor) -> Tensor:
        """What the loss and the softmax of the probabilities take for logits."""
        output = "logits" if is_classical(self.config) else self.config.training.output
        if output == "log_sigmoid":
            return functional.logsigmoid(logits.float())
        return logits.float().softmax(1) if output == "softmax" else logits

    def n_parameters(self) -> int:
        """Trainable numbers."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


def _is_pair(shape: tuple[Any, ...]) -> bool:
    return isinstance(shape[0], tuple)


def _standardiser(config: RunConfig, shape: tuple[int, ...], kind: str) -> nn.Module:
    entry = STANDARDISERS[config.standardise.name]
    options = entry.read_options(config.standardise.options, "standardisation")
    made: nn.Module = entry.thing(options, shape, kind)
    return made


def fits(feature: str, model: str) -> str:
    """Why this model cannot take this feature, as a sentence; empty where it can."""
    kind, accepts = FEATURES[feature].facts.kind, MODELS[model].facts.accepts
    if kind in accepts:
        return ""
    listed = ", ".join(sorted(accepts))
    return f"The model {model} takes {listed}; the feature {feature} makes {kind}."


def is_classical(config: RunConfig) -> bool:
    """Whether scikit-learn fits the model, at one go; else it is a network, trained in epochs."""
    return MODELS[config.model.name].facts.classical


def resolve(config: RunConfig) -> RunConfig:
    """The configuration checked through and through, its options reduced to what differs from
    their defaults (so that equal systems have equal signatures).

    Raises:
        UsageError: An unknown name, option or value, a model that does not take the feature, or
            an input too small for the network.
    """
    leave_out, merge = relabel.canonical(config.genres.leave_out, config.genres.merge)
    config = config.model_copy(
        update={
            "dataset": _checked(DATASETS, with_known_folder(config.dataset), "dataset"),
            "split": _checked(SPLITS, config.split, "split"),
            "feature": _checked(FEATURES, config.feature, "feature"),
            "standardise": _checked(STANDARDISERS, config.standardise, "standardisation"),
            "model": _checked(MODELS, config.model, "model"),
            "augment": _augmentations(config),
            "genres": Genres(leave_out=leave_out, merge=merge),
        }
    )
    watched(config.training.watch)
    n_folds = split_schemes.n_folds(config.split.name, config.split.options)
    if config.fold >= n_folds:
        raise UsageError(
            f"There is no fold {config.fold}: the split {config.split.name} has "
            + (f"{n_folds} folds, 0 to {n_folds - 1}." if n_folds > 1 else "one fold only, 0.")
        )
    reason = fits(config.feature.name, config.model.name)
    if reason:
        able = [name for name in MODELS if not fits(config.feature.name, name)]
        raise UsageError(f"{reason} Models that take it: {', '.join(able) or 'none'}.")
    medium = medium_of(config.dataset)
    if not takes(config.feature.name, medium):
        able = [name for name in FEATURES if takes(name, medium)]
        needs = _needs(config.feature.name)
        raise UsageError(
            f"The dataset {config.dataset.name}, as chosen, gives {_GIVES[medium]}; the feature "
            f"{config.feature.name} takes {' or '.join(_GIVES[one] for one in needs)}. Features "
            f"for what it gives: {', '.join(able) or 'none yet'}."
        )
    _check_augmentations(config, medium)
    if is_classical(config):
        _check_fitted_once(config, medium)
    if config.standardise_on == "all" and not config.allow_leaks:
        words = "Statistics of all clips let training know something of the test clips; take those"
        raise UsageError(f"{words} of the training clips, or allow leaks: the run is then marked.")
    if medium == "wave" and config.segments.segment_s == 0:
        whole = config.segments.model_copy(update={"segment_s": config.audio.clip_s})
        config = config.model_copy(update={"segments": whole})
    if medium == "wave" and config.segments.segment_s > config.audio.clip_s:
        raise UsageError(
            f"A segment of {config.segments.segment_s:g} s is longer than the "
            f"{config.audio.clip_s:g} s taken from each clip."
        )
    own = MODELS[config.model.name].read_options(config.model.options, "model")
    weights = str(getattr(own, "weights_file", ""))
    if weights and not Path(weights).expanduser().is_file():  # better now than when its turn comes
        raise UsageError(f"There is no file of weights at {Path(weights).expanduser().absolute()}.")
    _try(config)
    return config


def _try(config: RunConfig) -> None:
    """Builds the classifier without memory and sends an empty input through.

    Raises:
        UsageError: The network cannot take it, or cannot be trained with such batches.
    """
    name = config.model.name
    try:
        with torch.device("meta"):
            typical = FEATURES[config.feature.name].facts.typical_shape
            trial = Classifier(config, ["a", "b"], typical, pretrained=False).eval()
            if isinstance(trial.network, Fitted):
                return
            made: tuple[Any, ...] = tuple(trial.feature.output_shape)  # type: ignore[arg-type]

            def nothing(n: int) -> Features:
                parts = made if _is_pair(made) else (made,)
                empty = tuple(torch.empty(n, *one) for one in parts)
                return empty if _is_pair(made) else empty[0]

            trial.network(nothing(2))
            if config.training.batch_size == 1:
                trial.train().heads(nothing(1))
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


def takes(feature: str, medium: str) -> bool:
    """Whether a feature is made of this medium: `wave`, `image` or `table`."""
    return medium in _needs(feature)


def _needs(feature: str) -> tuple[str, ...]:
    return FEATURES[feature].facts.needs


def _augmentations(config: RunConfig) -> tuple[Part, ...]:
    """Checked, those of a preset put in its place, and in the order in which they work: copies,
    waves, images, batches; what must be the last of its stage is."""
    wanted = [one for part in config.augment for one in augment.PRESETS.get(part.name, (part,))]
    names = [part.name for part in wanted]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UsageError(f"The augmentation {twice} is named twice; once is enough.")
    checked = [_checked(AUGMENTATIONS, part, "augmentation") for part in wanted]

    def place(part: Part) -> tuple[int, bool]:
        facts = AUGMENTATIONS[part.name].facts
        return _STAGES.index(facts.on), facts.last

    return tuple(sorted(checked, key=place))


def _check_augmentations(config: RunConfig, medium: str) -> None:
    for part in config.augment:
        reason = augments(AUGMENTATIONS[part.name].facts.on, medium, config.feature.name)
        if reason:
            raise UsageError(f"The augmentation {part.name} {reason}.")


def _check_fitted_once(config: RunConfig, medium: str) -> None:
    """Refuses what draws anew in every epoch: a classical model has none."""
    name = config.model.name
    copies = [one for one in AUGMENTATIONS if AUGMENTATIONS[one].facts.on == "variants"]
    for part in config.augment:
        if part.name not in copies:
            raise UsageError(
                f"The augmentation {part.name} draws anew in every epoch, but the model {name} is "
                f"fitted at one go; it can learn from fixed copies: {', '.join(copies)}."
            )
    if config.segments.excerpts == "random" and medium == "wave":
        raise UsageError(
            f"Random excerpts are drawn anew in every epoch, but the model {name} is fitted at one "
            "go; let it train on all segments."
        )
    if config.processes > 1:
        raise UsageError(
            f"The model {name} is fitted by one process, but {config.processes} are asked for."
        )


def augments(on: str, medium: str, feature: str) -> str:
    """Why an augmentation on this (`wave`, `image`, …) has nothing to change; empty where it has.

    Args:
        on: What it changes, as `AUGMENTATIONS` says.
        medium: What the dataset gives: `wave`, `image` or `table`.
        feature: The feature's name.
    """
    if on in ("wave", "variants") and medium != "wave":
        return f"changes waves, but the dataset, as chosen, gives {_GIVES[medium]}"
    kind = FEATURES[feature].facts.kind
    if on == "image" and "image" not in kind:
        return f"changes images, but the feature {feature} makes {kind}"
    return ""


_STAGES = ("variants", "wave", "image", "batch")
_GIVES = {"wave": "audio", "image": "pictures", "table": "tables of descriptors"}


def medium_of(dataset: Part) -> str:
    """What a dataset as chosen gives a feature: `wave`, `image` or `table`."""
    medium = datasets.medium_of(dataset)
    return "wave" if medium == "audio" else medium


def _checked(registry: Registry[Any], part: Part, what: str) -> Part:
    entry = registry[part.name]
    options = entry.read_options(part.options, what)
    return Part(name=part.name, options=options.model_dump(mode="json", exclude_defaults=True))


def full_options(config: RunConfig) -> dict[str, dict[str, Any]]:
    """Every option of every part with its value, defaults included, for people to read."""
    registries: Mapping[str, Registry[Any]] = {
        "dataset": DATASETS,
        "split": SPLITS,
        "feature": FEATURES,
        "standardise": STANDARDISERS,
        "model": MODELS,
    }
    return {
        name: registry[part.name].read_options(part.options, name).model_dump(mode="json")
        for name, registry in registries.items()
        for part in [getattr(config, name)]
    }


def file_of(config: RunConfig) -> str:
    """The name of a run's file for the classifier at the chosen epoch."""
    return "model.skops" if is_classical(config) else "weights.safetensors"


def save(classifier: Classifier, path: Path, weights: Mapping[str, Tensor] | None = None) -> None:
    """Writes the state dict (or `weights` in its place) with genres and configuration as metadata;
    never half a file."""
    state = classifier.state_dict() if weights is None else weights
    tensors = {name: t.detach().contiguous() for name, t in state.items()}
    metadata = {
        "genres": json.dumps(classifier.genres),
        "config": classifier.config.model_dump_json(),
        "shape": json.dumps(classifier.given_shape),
    }
    if isinstance(classifier.network, Fitted):
        estimators.write(path, classifier.network.estimator, tensors, metadata)
        return
    temporary = path.with_name(f".{path.name}.new")
    save_file(tensors, temporary, metadata)
    temporary.rename(path)


def load(path: Path) -> Classifier:
    """The classifier in a weights file (`file_of`), in evaluation mode, on the CPU.

    Raises:
        GenrecoreError: The file is missing, cut off, of another kind, or of another architecture;
            or a `model.skops` that holds more than a model is made of.
    """
    if path.suffix == ".skops":
        return _load_fitted(path)
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise GenrecoreError(f"There are no weights at {path}.") from None
    except (SafetensorError, OSError) as error:
        raise GenrecoreError(f"{path} is not a readable safetensors file: {error}.") from None
    classifier = _empty(metadata, path)
    _fill(classifier, tensors, path)
    return classifier.eval()


def _load_fitted(path: Path) -> Classifier:
    classifier = _empty(estimators.read_metadata(path), path)
    model, network = classifier.config.model.name, classifier.network
    if not isinstance(network, Fitted):
        raise GenrecoreError(f"{path} says it is of the model {model}, which is kept otherwise.")
    (n_features,) = classifier.feature.output_shape  # type: ignore[misc]
    network.estimator, tensors = estimators.read(path, model, len(classifier.genres), n_features)
    _fill(classifier, tensors, path)
    return classifier.eval()


def _empty(metadata: Mapping[str, str], path: Path) -> Classifier:
    """The classifier that a weights file is of, before anything is loaded into it."""
    try:
        given, genres = json.loads(metadata["config"]), list(json.loads(metadata["genres"]))
        shape = tuple(json.loads(metadata.get("shape", "[]")))
    except (KeyError, ValueError, TypeError):
        raise GenrecoreError(
            f"{path} holds no genres and configuration: another program's file."
        ) from None
    return Classifier(configuration.read(given, str(path)), genres, shape, pretrained=False)


def _fill(classifier: Classifier, tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        classifier.load_state_dict(tensors)
    except RuntimeError as error:
        raise GenrecoreError(
            f"The weights in {path} do not belong to the model {classifier.config.model.name}: "
            f"{describe(error)}"
        ) from None
