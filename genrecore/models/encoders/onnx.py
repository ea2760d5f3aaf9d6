"""Encoders in an ONNX file, of which a JSON file beside it with the same name says what they are.

onnxruntime computes them on the CPU; they cannot be trained on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from genrecore.config.registry import explain
from genrecore.errors import GenrecoreError, describe, optional_package
from genrecore.models.encoders.registered import (
    ENCODER_KINDS,
    Encoder,
    EncoderCard,
    EncoderKind,
    rights,
)
from genrecore.store.files import parsed_json, read_bytes
from genrecore.words import listed

_FILE = "model.onnx"
_SAID = ("hop_s", "layers", "licence", "patch_s", "sample_rate_hz", "trained_on")
"""What the JSON file must say; else it may hold what else an `EncoderCard` has."""


class OnnxEncoder(Encoder):
    """Waves → an output of the graph, whose one input takes patches (patches, n_samples), float32,
    and whose outputs are (patches, numbers)."""

    def __init__(self, content: bytes, patch_samples: int, n_parameters: int) -> None:
        super().__init__()
        self.patch_samples, self.n_parameters = patch_samples, n_parameters
        runtime = optional_package("onnxruntime", "onnx", "Running an ONNX file")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # what fails is raised as well
        providers = ["CPUExecutionProvider"]
        self.session = runtime.InferenceSession(content, options, providers=providers)

    def embeddings(self, waves: Tensor, layers: tuple[str, ...], hop_samples: int) -> Tensor:
        patches = waves.unfold(1, self.patch_samples, hop_samples)
        inputs = patches.flatten(0, 1).detach().float().cpu().contiguous().numpy()
        arrays = self.session.run(layers, {self.session.get_inputs()[0].name: inputs})
        values = torch.cat([torch.from_numpy(array).float() for array in arrays], dim=-1)
        return values.to(waves.device).unflatten(0, patches.shape[:2])


def _find(path: Path, name: str) -> list[tuple[EncoderCard, Callable[[Path], object]]]:
    """The encoder in a file.

    Raises:
        GenrecoreError: The JSON file is missing or lacks something, or the graph cannot be read or
            computes other shapes than that says.
    """
    card = _card(path.with_suffix(".json"), name, path.stem)
    encoder = _read(path, card)
    for n_patches in (1, 2):
        _try(path.name, encoder, card, n_patches)
    counted = card.model_copy(update={"n_parameters": encoder.n_parameters})
    return [(counted, lambda folder: shutil.copyfile(path, folder / _FILE))]


def _card(path: Path, name: str, title: str) -> EncoderCard:
    """What a JSON file says of an encoder.

    Raises:
        GenrecoreError: There is none, or it lacks something or says something that cannot be.
    """
    try:
        values = parsed_json(read_bytes(path))
    except FileNotFoundError:
        raise GenrecoreError(
            f"There is no {path.name} beside {title}.onnx; expected a JSON file that says at least "
            f"{listed(_SAID)}."
        ) from None
    except ValueError as error:
        raise GenrecoreError(f"{path.name} cannot be read: {error}.") from None
    if missing := [key for key in _SAID if not isinstance(values, dict) or key not in values]:
        raise GenrecoreError(f"{path.name} does not say {listed(missing)}.")
    ours = {"name": name, "kind": "onnx", "tags": (), "genre_tags": (), "sha256": "", "source": ""}
    try:
        given = {"title": title[:200], **rights(str(values["licence"])), **values, **ours}
        return EncoderCard.model_validate(given)
    except ValidationError as error:
        raise GenrecoreError(f"{path.name}: {explain(error, EncoderCard)}") from None


def _read(path: Path, card: EncoderCard) -> OnnxEncoder:
    """The encoder in a file.

    Raises:
        GenrecoreError: A package is missing, the file is damaged, holds NaN, or refers to data in
            other files.
    """
    onnx = optional_package("onnx", "onnx", "Reading an ONNX file")
    content = path.read_bytes()
    try:
        tensors = list(_tensors(onnx.load_from_string(content), onnx.TensorProto))
    except Exception as error:  # protobuf's own
        raise GenrecoreError(f"{path.name} is no ONNX file: {describe(error)}") from None
    n_parameters = 0
    for tensor in tensors:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise GenrecoreError(
                f"{path.name} has the values of {tensor.name} in another file; save it as one file."
            )
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype.kind not in "OUS" and bool((values != values).any()):
            raise GenrecoreError(f"The weights of the encoder {card.name} hold NaN: {tensor.name}.")
        n_parameters += 0 if values.dtype.kind in "biu" else values.size
    try:
        return OnnxEncoder(content, card.patch_samples, n_parameters)
    except GenrecoreError:
        raise
    except Exception as error:  # onnxruntime's own, in many classes
        raise GenrecoreError(f"{path.name} cannot be run: {describe(error)}") from None


def _tensors(message: Any, kind: type) -> Iterator[Any]:
    """The tensors anywhere in a message of protobuf."""
    if isinstance(message, kind):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in [value] if hasattr(value, "ListFields") else value:
                yield from _tensors(each, kind)


def _try(name: str, encoder: OnnxEncoder, card: EncoderCard, n_patches: int) -> None:
    """
    Raises:
        GenrecoreError: An output for so many patches is not what the card says.
    """
    generator = torch.Generator().manual_seed(0)
    waves = 0.1 * torch.randn(n_patches, card.patch_samples, generator=generator)
    for layer, width in card.layers.items():
        try:
            values = encoder.embeddings(waves, (layer,), card.patch_samples)
        except Exception as error:  # onnxruntime's own, in many classes
            outputs = listed([output.name for output in encoder.session.get_outputs()])
            raise GenrecoreError(
                f"The output {layer} of {name} cannot be computed for waves of the shape "
                f"{tuple(waves.shape)}; its outputs are: {outputs}. {describe(error)}"
            ) from None
        shape = (n_patches, *values.shape[2:])
        if shape != (n_patches, width):
            raise GenrecoreError(
                f"The output {layer} of {name} has the shape {shape} for {n_patches} patches, but "
                f"its JSON file says {(n_patches, width)}."
            )
        if not bool(values.isfinite().all()):
            raise GenrecoreError(f"The output {layer} of {name} holds NaN or infinity for noise.")


ENCODER_KINDS.register("onnx", title="ONNX")(
    EncoderKind(
        expects="an .onnx file with a .json file beside it",
        files=(_FILE,),
        takes=lambda path: path.suffix == ".onnx",
        find=_find,
        read=lambda folder, card: _read(folder / _FILE, card),
    )
)
