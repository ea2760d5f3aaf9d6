"""A classifier's file: `weights.safetensors`, or `model.skops` where scikit-learn fitted it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from genrecore.config import run as configuration
from genrecore.errors import GenrecoreError, describe
from genrecore.models import fitted
from genrecore.models.fitted import Fitted
from genrecore.store import generations
from genrecore.store.files import open_named, write_bytes
from genrecore.training.classifier import Classifier
from genrecore.training.parts import ResolvedConfig
from genrecore.words import size

_LARGEST_HEADER = 2**24  # bytes; ten thousand tensors take one million


def weights_name(classifier: Classifier) -> str:
    """The name of the file, in a run's folder, for the classifier at the chosen epoch."""
    return "model.skops" if isinstance(classifier.network, Fitted) else "weights.safetensors"


def save_classifier(
    classifier: Classifier, path: Path, weights: Mapping[str, Tensor] | None = None
) -> None:
    """Writes the state dict (or `weights` in its place) with genres and configuration as metadata;
    never half a file. Equal weights and metadata make equal bytes."""
    state = classifier.state_dict() if weights is None else weights
    tensors = {name: tensor.detach().contiguous() for name, tensor in state.items()}
    metadata = {
        "genres": json.dumps(classifier.genres),
        "config": classifier.config.model_dump_json(),
        "shape": json.dumps(classifier.given_shape),
    }
    if isinstance(classifier.network, Fitted):
        generations.check(path.parent)
        fitted.write(path, classifier.network.estimator, tensors, metadata)
        return
    content = _sorted_header(save(tensors, metadata))
    write_bytes(path, content, partial(generations.check, path.parent))


def _sorted_header(content: bytes) -> bytes:
    """The content of a safetensors file with its metadata sorted by name: the library writes them
    in an order that differs from process to process."""
    n_header = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + n_header])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight
    return len(text).to_bytes(8, "little") + text + content[8 + n_header :]


def load_classifier(path: Path) -> Classifier:
    """The classifier in a file, in evaluation mode, on the CPU.

    Raises:
        GenrecoreError: The file is missing, cut off, of another kind, or of another architecture;
            or a `model.skops` that holds more than a model is made of.
    """
    if path.suffix == ".skops":
        classifier = _built(fitted.read_metadata(path), path)
        _fill(classifier, _read_estimator(classifier, path), path)
    else:
        metadata, tensors = _read_tensors(path)
        with torch.device("meta"):  # what belongs together is known before it takes memory
            shapes = {name: tensor.to("meta") for name, tensor in tensors.items()}
            _fill(_built(metadata, path), shapes, path)
        classifier = _built(metadata, path)
        _fill(classifier, tensors, path)
    return classifier.eval()


def _fill(classifier: Classifier, tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        classifier.load_state_dict(tensors)
    except RuntimeError as error:
        raise GenrecoreError(
            f"The weights in {path} do not belong to the model {classifier.config.model.name}: "
            f"{describe(error)}"
        ) from None


def _built(metadata: Mapping[str, str], path: Path) -> Classifier:
    """The classifier that the metadata describe, its weights not loaded yet."""
    try:
        values, genres = json.loads(metadata["config"]), list(json.loads(metadata["genres"]))
        shape = tuple(json.loads(metadata.get("shape", "[]")))
    except (KeyError, ValueError, TypeError):
        raise GenrecoreError(
            f"{path} holds no genres and configuration: another program's file."
        ) from None
    config = configuration.read_config(values, str(path))
    return Classifier(ResolvedConfig(config), genres, shape, pretrained=False)


def _read_tensors(path: Path) -> tuple[Mapping[str, str], dict[str, Tensor]]:
    if not path.exists():
        raise GenrecoreError(f"There are no weights at {path}.")
    with open_named(path) as file:  # the library bounds tensors by the file, but not its header
        n_header = int.from_bytes(file.read(8), "little")
    if n_header > _LARGEST_HEADER:
        raise GenrecoreError(
            f"{path} is not a readable safetensors file: its header claims {size(n_header)}."
        )
    try:
        with safe_open(path, framework="pt") as stream:
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            return stream.metadata() or {}, tensors
    except (SafetensorError, OSError) as error:
        raise GenrecoreError(f"{path} is not a readable safetensors file: {error}.") from None


def _read_estimator(classifier: Classifier, path: Path) -> Mapping[str, Tensor]:
    """Puts the estimator of a `model.skops` in its place; returns the other tensors."""
    model, network = classifier.config.model.name, classifier.network
    if not isinstance(network, Fitted):
        raise GenrecoreError(f"{path} says it is of the model {model}, which is kept otherwise.")
    (n_features,) = classifier.feature.output_shape  # type: ignore[misc]
    network.estimator, tensors = fitted.read(path, model, len(classifier.genres), n_features)
    return tensors
