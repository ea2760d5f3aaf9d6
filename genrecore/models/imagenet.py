"""Published weights of torchvision's networks: fetched or given as a file, checked, filled in."""

from __future__ import annotations

import hashlib
import http.client
import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from genrecore.errors import GenrecoreError
from genrecore.store.files import file_sha256, is_regular_file
from genrecore.store.web import open_url
from genrecore.store.zips import refuse_packed
from genrecore.words import size

# torchvision ends a file's name with the first digits of its checksum: resnet18-f37072fd.pth
_MOST_BYTES, _BLOCK = 2**32, 2**20
_IN_NAME = re.compile(r"-([0-9a-f]{8})\.pth$")


def fetched(weights: Any) -> Path:
    """The file of a torchvision weights enum in torch hub's folder, downloaded unless it is there.

    Raises:
        GenrecoreError: It is not there and cannot be downloaded.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / weights.url.rsplit("/", 1)[-1]
    if file.exists():
        return file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _fetch(weights.url, file)
    # OSError: no network, no right to write; ValueError: another file; the last: cut off.
    except (OSError, ValueError, GenrecoreError, http.client.HTTPException) as error:
        why = str(getattr(error, "reason", error)).rstrip(".") or type(error).__name__
        raise GenrecoreError(
            f"The ImageNet weights could not be downloaded from {weights.url} ({why}); without "
            f"network, fetch the file elsewhere and put it into {folder}, or train without "
            "pretrained weights."
        ) from error
    return file


def _fetch(url: str, file: Path) -> None:
    """Fetches a file whose name has the first digits of its checksum; never half of it."""
    part, digest, n_bytes = file.with_name(f".{file.name}.{os.getpid()}"), hashlib.sha256(), 0
    try:
        with open_url(url) as response, open(part, "wb") as stream:
            announced = response.headers.get("Content-Length", "")
            while block := response.read(_BLOCK):
                n_bytes += len(block)
                if n_bytes > _MOST_BYTES:
                    raise ValueError(f"it sends more than {size(_MOST_BYTES)}")
                digest.update(block)
                stream.write(block)
        if announced.isdecimal() and n_bytes < int(announced):
            raise http.client.IncompleteRead(b"", int(announced) - n_bytes)
        named = _IN_NAME.search(file.name)
        if named and not digest.hexdigest().startswith(named[1]):
            raise ValueError(f"its SHA-256 is {digest.hexdigest()}, its name says {named[1]}…")
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


def read(file: Path, sha256: str = "", source: str = "") -> dict[str, Tensor]:
    """The tensors of a state dict in a .pth, .pt or .safetensors file; nothing in it can run.

    Args:
        file: Where it is.
        sha256: 64 hexadecimal digits; not compared where empty. The eight digits in a name like
            resnet18-f37072fd.pth are compared in any case.
        source: The address where the right file is found, where that is known.

    Raises:
        GenrecoreError: There is no such file, its checksum differs, or it is cut off, of another
            format, or holds more than tensors.
    """
    advice = (
        f"delete it, or replace it by the one at {source}"
        if source
        else "take a whole one, a .pth or .safetensors file of a state dict"
    )
    if not is_regular_file(str(file)):
        raise GenrecoreError(f"There is no file of weights at {file}.")
    try:
        refuse_packed(file)
        problem = _wrong_checksum(file, sha256)
        state = None if problem else _load(file)
    except GenrecoreError:
        raise
    except pickle.UnpicklingError as error:
        raise GenrecoreError(
            f"The weights in {file} cannot be read, for the file holds other things than tensors, "
            f"which might run a program and are not loaded; {advice}."
        ) from error
    except OSError as error:
        raise GenrecoreError(
            f"The weights in {file} cannot be read: {error.strerror or error}."
        ) from error
    # What else torch raises at a broken file is whatever its bytes happen to mean.
    except Exception as error:
        raise GenrecoreError(
            f"The weights in {file} cannot be read, for the file is cut off or of another format; "
            f"{advice}."
        ) from error
    if problem:
        raise GenrecoreError(f"The weights in {file} cannot be read, for {problem}; {advice}.")
    if not (isinstance(state, Mapping) and all(isinstance(key, str) for key in state)):
        raise GenrecoreError(f"{file} holds no state dict (tensors by their names); {advice}.")
    return dict(state)


def fill(
    network: nn.Module, tensors: Mapping[str, Tensor], but: tuple[str, ...], title: str, file: Path
) -> None:
    """Copies the tensors of a whole state dict into a network.

    Args:
        network: Of the published shape, but for the parts left out.
        tensors: By their names, as torchvision names them.
        but: Names of the parts that keep the weights they have, whatever the tensors say.
        title: The network's, for the sentence.
        file: Where the tensors come from, for the sentence.

    Raises:
        GenrecoreError: They are another network's.
    """
    kept = tuple(f"{part}." for part in but)
    wanted = {name: tensor for name, tensor in tensors.items() if not name.startswith(kept)}
    try:
        mismatch = network.load_state_dict(wanted, strict=False)
    except RuntimeError as error:  # tensors of other sizes, or no tensors
        raise GenrecoreError(
            f"The weights in {file} are not those of {title}: the same names, but other sizes."
        ) from error
    missing = [name for name in mismatch.missing_keys if not name.startswith(kept)]
    if missing or mismatch.unexpected_keys:
        example = (
            f"{missing[0]} is missing" if missing else f"{mismatch.unexpected_keys[0]} is too many"
        )
        raise GenrecoreError(
            f"The weights in {file} are not those of {title}: of its tensors {len(missing)} are "
            f"missing, and {len(mismatch.unexpected_keys)} are too many, for instance {example}."
        )


def _load(file: Path) -> Any:
    if file.suffix == ".safetensors":
        return load_file(file)
    return torch.load(file, map_location="cpu", weights_only=True)


def _wrong_checksum(file: Path, sha256: str) -> str:
    """What is wrong with a file's checksum, as half a sentence; empty where nothing is."""
    named = _IN_NAME.search(file.name)
    if not (sha256 or named):
        return ""
    digest = file_sha256(file)
    if sha256 and digest != sha256:
        return f"their SHA-256 checksum is {digest}, not {sha256} as given"
    if named and not digest.startswith(named[1]):
        return (
            f"their SHA-256 checksum begins with {digest[:8]}, not with {named[1]} as the file's "
            "name says"
        )
    return ""
