"""Encoders in a folder as the Hugging Face Hub has them, read by the package `transformers`.

The folder holds the network's `config.json`, the `preprocessor_config.json` of what prepares its
input, and weights as safetensors. Only architectures of `FAMILIES` are read, by the package's own
classes: no program code in such a folder is ever run, and no pickle is opened.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genrecore.errors import GenrecoreError, describe, optional_package
from genrecore.models.encoders.registered import (
    ENCODER_KINDS,
    Encoder,
    EncoderCard,
    EncoderKind,
    rights,
)
from genrecore.store.files import read_json
from genrecore.words import listed


@dataclass(frozen=True)
class Family:
    """Networks of one architecture.

    Attributes:
        model: Their class in `transformers`.
        extractor: The class of what prepares their input.
        window_s: How many seconds they take at a time, as their extractor says.
        part: The attribute of the network that hears; empty where that is all of it.
    """

    model: str
    extractor: str
    window_s: Callable[[Any], float]
    part: str = ""


_ANY_LENGTH_S = 5.0
"""The window of networks that take any length; those that learned from music were trained on it."""

_CLAP = ("ClapFeatureExtractor", lambda extractor: extractor.max_length_s)
_WAVES = ("Wav2Vec2FeatureExtractor", lambda extractor: _ANY_LENGTH_S)
FAMILIES: Mapping[str, Family] = {
    "audio-spectrogram-transformer": Family(
        "ASTModel", "ASTFeatureExtractor", lambda extractor: extractor.max_length / 100
    ),
    "clap": Family("ClapModel", *_CLAP, part="audio_model"),
    "clap_audio_model": Family("ClapAudioModel", *_CLAP),
    "hubert": Family("HubertModel", *_WAVES),
    "wav2vec2": Family("Wav2Vec2Model", *_WAVES),
    "whisper": Family(
        "WhisperModel",
        "WhisperFeatureExtractor",
        lambda extractor: extractor.chunk_length,
        part="encoder",
    ),
}
"""By the `model_type` in their `config.json`."""

_SETTINGS = ("config.json", "preprocessor_config.json", "processor_config.json")
_CODE = ("auto_map", "attn_implementation", "_attn_implementation", "quantization_config")
"""Settings that make the package run code of the folder, of the Hub or of further packages."""
FILES = (*_SETTINGS, "model*.safetensors", "model.safetensors.index.json")


class HuggingFaceEncoder(Encoder):
    """Waves → the mean over the tokens of each patch, of the network's output (the layer `last`) or
    of what one of its layers makes (`1` is the first).

    The network's own extractor prepares the input, on the CPU.
    """

    def __init__(self, network: nn.Module, extractor: Any, window_s: float) -> None:
        super().__init__()
        self.network, self.extractor = network, extractor
        self.sample_rate_hz = int(extractor.sampling_rate)
        self.patch_samples = round(window_s * self.sample_rate_hz)
        modules: list[Any] = list(network.modules())
        for module in modules:  # CLAP's fusion joins views of what is longer than its window
            if hasattr(module, "enable_fusion"):
                module.enable_fusion = False

    def embeddings(self, waves: Tensor, layers: tuple[str, ...], hop_samples: int) -> Tensor:
        patches = waves.unfold(1, self.patch_samples, hop_samples)
        made = self.network(**self.prepared(patches.flatten(0, 1)), output_hidden_states=True)
        states = [
            made.last_hidden_state if layer == "last" else made.hidden_states[int(layer)]
            for layer in layers
        ]
        values = torch.cat([_mean_token(state).float() for state in states], dim=1)
        return values.unflatten(0, patches.shape[:2])

    def prepared(self, patches: Tensor) -> dict[str, Tensor]:
        """What the network takes for patches (patches, n_samples)."""
        with torch.device("cpu"):
            waves = torch.zeros(patches.shape) if patches.is_meta else patches.detach().float()
            made = self.extractor(
                list(waves.cpu().numpy()), sampling_rate=self.sample_rate_hz, return_tensors="pt"
            )
        inputs = {name: tensor.to(patches.device) for name, tensor in made.items()}
        if "is_longer" in inputs:  # CLAP's, which no patch is; its views are all the same then
            return {"input_features": inputs["input_features"][:, :1]}
        return inputs

    def layers(self) -> dict[str, int]:
        """Each layer and the numbers of its embedding, found by sending a patch through."""
        noise = torch.randn(1, self.patch_samples, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            made = self.network(**self.prepared(0.1 * noise), output_hidden_states=True)
        states = {"last": made.last_hidden_state}
        states |= {str(k): state for k, state in enumerate(made.hidden_states) if k}
        return {name: _mean_token(state).shape[1] for name, state in states.items()}


def _mean_token(values: Tensor) -> Tensor:
    """(patches, numbers) of tokens (patches, tokens, numbers), or of CLAP's maps (patches, numbers,
    height, width)."""
    return values.mean(dim=1) if values.dim() == 3 else values.flatten(2).mean(dim=2)


def _find(path: Path, name: str) -> list[tuple[EncoderCard, Callable[[Path], object]]]:
    """The network in a folder.

    Raises:
        GenrecoreError: It is of no family that is read, wants program code of its own to be run,
            has its weights as a pickle, or a file of it is damaged.
    """
    if not any(path.glob("model*.safetensors")):
        suffixes = (".bin", ".pt", ".pth", ".ckpt")
        pickled = next((file.name for file in path.iterdir() if file.suffix in suffixes), "")
        raise GenrecoreError(
            f"{path.name} holds its weights as a pickle ({pickled}), which can run any program "
            "code when it is opened; expected model.safetensors."
            if pickled
            else f"{path.name} holds no weights; expected model.safetensors."
        )
    encoder = _read(path)
    header = _header(path / "README.md")
    key = "license_name" if header.get("license") == "other" else "license"
    licence = str(header.get(key) or "unknown")[:200]
    datasets = _texts(header.get("datasets"))
    window_s = encoder.patch_samples / encoder.sample_rate_hz
    with _in_a_sentence(path.name):
        card = EncoderCard(
            name=name,
            title=path.name[:200],
            kind="huggingface",
            licence=licence,
            **rights(licence),
            sample_rate_hz=encoder.sample_rate_hz,
            patch_s=window_s,
            hop_s=window_s,
            layers=encoder.layers(),
            n_parameters=sum(parameter.numel() for parameter in encoder.parameters()),
            trained_on=", ".join(datasets)[:1000] or "unknown",
            heard=tuple(dataset.rsplit("/", 1)[-1].lower() for dataset in datasets),
        )
    return [(card, partial(_write, path))]


def _header(readme: Path) -> dict[str, Any]:
    """What the header of a model card in the Hub's form says; empty where there is none."""
    with contextlib.suppress(Exception):  # of a parser of YAML
        from huggingface_hub import metadata_load

        return metadata_load(readme) or {}
    return {}


def _texts(value: object) -> list[str]:
    return [str(item) for item in (value if isinstance(value, list) else [value]) if item]


def _write(path: Path, folder: Path) -> None:
    for pattern in FILES:
        for file in path.glob(pattern):
            shutil.copyfile(file, folder / file.name)


def _read(folder: Path, with_weights: bool = True) -> HuggingFaceEncoder:
    """The network in a folder.

    Raises:
        GenrecoreError: As `_find`, or the package is missing.
    """
    transformers = optional_package("transformers", "encoders", f"Reading {folder.name}")
    settings = [read_json(folder / file) for file in _SETTINGS]
    text = json.dumps(settings)
    if wanted := next((key for key in _CODE if f'"{key}":' in text), ""):
        raise GenrecoreError(
            f"{folder.name} wants program code from elsewhere to be run ({wanted} in its "
            "settings), which is never done; take a model that the package transformers itself has."
        )
    model_type = settings[0].get("model_type")
    family = FAMILIES.get(str(model_type))
    if family is None:
        raise GenrecoreError(
            f"{folder.name} holds a model of the type {model_type!r}; those that can be read are: "
            f"{listed(sorted(FAMILIES))}."
        )
    with _in_a_sentence(folder.name), _quiet(transformers):
        cls = getattr(transformers, family.model)
        extractor = getattr(transformers, family.extractor).from_pretrained(
            folder, local_files_only=True
        )
        # Random masks and left out layers are drawn by NumPy and on no device, out of reach of a
        # run's seed.
        config = cls.config_class.from_pretrained(
            folder, mask_time_prob=0.0, mask_feature_prob=0.0, layerdrop=0.0, local_files_only=True
        )
        if with_weights:
            network, info = cls.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
            if missing := sorted(info["missing_keys"]):
                raise GenrecoreError(
                    f"The weights in {folder.name} lack {missing[0]} and {len(missing) - 1} others."
                )
        else:
            network = cls(config)
        part = getattr(network, family.part) if family.part else network
        return HuggingFaceEncoder(part, extractor, family.window_s(extractor))


@contextlib.contextmanager
def _in_a_sentence(name: str) -> Iterator[None]:
    """Whatever the package says of a damaged folder as one sentence."""
    try:
        yield
    except GenrecoreError:
        raise
    except Exception as error:
        raise GenrecoreError(f"{name} cannot be read by transformers: {describe(error)}") from None


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without the package's bars and notes on its own workings."""
    logging = transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before[0])
        if before[1]:
            logging.enable_progress_bar()


ENCODER_KINDS.register("huggingface", title="Hugging Face Hub")(
    EncoderKind(
        expects="a folder in the form of the Hugging Face Hub (config.json, model.safetensors)",
        files=FILES,
        takes=lambda path: (path / "config.json").is_file(),
        find=_find,
        read=lambda folder, card: _read(folder),
        blank=lambda folder, card: _read(folder, with_weights=False),
    )
)
