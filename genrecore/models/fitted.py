"""What scikit-learn fits, as the last part of a classifier; and the file it is kept in.

scikit-learn and skops are imported where they are needed: together they take three seconds.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import lzma
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genrecore.errors import GenrecoreError, describe
from genrecore.models import MODELS
from genrecore.models.estimator_checks import check
from genrecore.store.files import open_named
from genrecore.store.zips import bounded_zip
from genrecore.words import size

TRUSTED = (
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)
"""What a file may hold beside numbers, text and scikit-learn's public estimators. Types say nothing
of contents: trees whose nodes point anywhere are refused by `estimator_checks`."""

_ABOUT = "genrecore.json"
_MOST_ENTRIES = 200_000  # a thousand trees have some thousands
_LARGEST_TEXT = 2**25  # bytes of JSON, which takes ten times as much in memory
_ALWAYS_BYTES, _MOST_BYTES, _MOST_RATIO = 2**26, 2**33, 50  # of all arrays together
_BLOCK = 2**20
_HAIR = np.float32(1e-6)  # more than float32 rounds a probability by, less than anybody reads


class Fitted(nn.Module):
    """Standardised vectors (batch, features) → logarithms of probabilities (batch, genres), float32
    on the vectors' device, so that a softmax gives the probabilities; computed on the processor.

    Attributes:
        estimator: scikit-learn's, with genres 0, 1, … as classes; None until it is fitted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.estimator: Any = None

    def forward(self, vectors: Tensor) -> Tensor:
        values = vectors.detach().cpu().double().numpy()
        return torch.from_numpy(log_proba(self.estimator, values)).to(vectors.device)


def log_proba(estimator: Any, vectors: np.ndarray) -> np.ndarray:
    """Logarithms of probabilities (batch, genres), float32, of vectors (batch, features).

    Of a calibrated machine, the most probable genre is the one that the machine itself decides for:
    where the calibration has another first, the two exchange their probabilities.
    """
    proba = estimator.predict_proba(vectors)
    logs = np.log(np.maximum(proba, np.finfo(np.float32).tiny)).astype(np.float32)
    calibrated = getattr(estimator, "calibrated_classifiers_", None)
    return _led_by(calibrated[0].estimator.predict(vectors), logs) if calibrated else logs


def _led_by(decided: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """The same numbers in each row with the largest at `decided` (batch,), by a hair at least."""
    rows, first = np.arange(len(logs)), logs.argmax(axis=1)
    led = logs.copy()
    led[rows, first], led[rows, decided] = logs[rows, decided], logs[rows, first]
    others = led.copy()
    others[rows, decided] = -np.inf
    led[rows, decided] = np.maximum(led[rows, decided], others.max(axis=1) + _HAIR)
    return led


def write(
    path: Path, estimator: Any, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Writes what `read` reads, a zip archive in skops' format; never half a file.

    Args:
        path: Of the file.
        estimator: A fitted estimator of a model in `MODELS`.
        tensors: The state of front end and standardisation, by name.
        metadata: Text that can be read before anything is built: `genres`, `config`, `shape`.
    """
    import skops.io

    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
    about = {**metadata, "scikit-learn": importlib.metadata.version("scikit-learn")}
    temporary = path.with_name(f".{path.name}.new")
    kept = {"estimator": estimator, "tensors": arrays}
    skops.io.dump(kept, temporary, compression=zipfile.ZIP_DEFLATED, compresslevel=1)
    with zipfile.ZipFile(temporary, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_ABOUT, json.dumps(about))
    temporary.rename(path)


def read_metadata(path: Path) -> dict[str, str]:
    """The text in a file of `write`; nothing else is read.

    Raises:
        GenrecoreError: The file is missing, cut off, no skops file, or another program's.
    """
    if not path.exists():
        raise GenrecoreError(f"There are no weights at {path}.")
    try:
        with open_named(path) as stream, bounded_zip(stream, _MOST_ENTRIES) as archive:
            if _ABOUT not in archive.namelist():
                raise GenrecoreError(
                    f"{path} holds no genres and configuration: another program's file."
                )
            about = _json(archive, _ABOUT)
    except _NO_ZIP as error:
        raise GenrecoreError(f"{path} is not a readable skops file: {describe(error)}") from None
    if not isinstance(about, dict) or not all(isinstance(text, str) for text in about.values()):
        raise GenrecoreError(f"{path} holds no genres and configuration: another program's file.")
    return about


_NO_ZIP = (
    zipfile.BadZipFile, OSError, ValueError, EOFError, KeyError, NotImplementedError,
    RuntimeError, struct.error, zlib.error, lzma.LZMAError,
)  # fmt: skip


def _json(archive: zipfile.ZipFile, name: str) -> Any:
    """What the JSON of this name holds.

    Raises:
        ValueError: It is too large, or no JSON.
    """
    with archive.open(name) as stream:
        content = stream.read(_LARGEST_TEXT + 1)
    if len(content) > _LARGEST_TEXT:
        raise ValueError(f"{name} is larger than {size(_LARGEST_TEXT)}")
    return json.loads(content)


def check_size(path: Path) -> None:
    """Refuses a skops file that takes much more memory than it has bytes. What unpacks is counted
    in blocks, as often as it would be loaded, and no more is unpacked.

    Raises:
        GenrecoreError: It is such a file, or damaged.
    """
    try:
        with open_named(path) as stream, bounded_zip(stream, _MOST_ENTRIES) as archive:
            most = max(_ALWAYS_BYTES, min(_MOST_BYTES, _MOST_RATIO * stream.seek(0, os.SEEK_END)))
            n_bytes, sizes = 0, dict[str, int]()
            for name in _referenced(_json(archive, "schema.json")):
                if name not in sizes:
                    sizes[name] = _array_bytes(archive, name, most - n_bytes)
                n_bytes += sizes[name]
                if n_bytes > most:
                    raise GenrecoreError(
                        f"{path} unpacks to more than {size(most)}, as only a file made to do "
                        "harm does."
                    )
    except _NO_ZIP as error:
        raise GenrecoreError(f"{path} is not a readable skops file: {describe(error)}") from None


def _referenced(schema: Any) -> Iterator[str]:
    """The names of the entries that loading this schema reads, each as often as it is read."""
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            name = node.get("file")
            if isinstance(name, str):
                yield name
        if isinstance(node, (dict, list)):
            waiting += node.values() if isinstance(node, dict) else node


def _array_bytes(archive: zipfile.ZipFile, name: str, most: int) -> int:
    """Bytes that an array takes, or `most` + 1 where that is less.

    Raises:
        ValueError: It is no array that NumPy saved, or has other bytes than its header says.
    """
    with archive.open(name) as stream:
        header = stream.read(_BLOCK)
        start = io.BytesIO(header)
        read_header = _HEADERS[np.lib.format.read_magic(start)]
        shape, _, dtype = read_header(start)
        expected = math.prod(shape) * dtype.itemsize
        n_bytes = len(header) - start.tell()
        while n_bytes <= min(expected, most) and (block := stream.read(_BLOCK)):
            n_bytes += len(block)
    if n_bytes > most:
        return most + 1
    if dtype.hasobject or n_bytes != expected:
        raise ValueError(f"{name} does not hold the numbers that its header promises")
    return n_bytes


_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read(path: Path, model: str, n_genres: int, n_features: int) -> tuple[Any, dict[str, Tensor]]:
    """(estimator, tensors) in a file of `write`, if it is this model's and all in it is trusted.

    Args:
        path: Of the file.
        model: A classical model's name.
        n_genres: How many genres it must tell apart.
        n_features: Of the vectors that it must take.

    Raises:
        GenrecoreError: The file is missing, cut off or another program's; it was written with
            another scikit-learn, holds a type that is not trusted, or what it holds does not
            belong together.
    """
    theirs = read_metadata(path).get("scikit-learn", "?")
    ours = importlib.metadata.version("scikit-learn")
    if theirs.split(".")[:2] != ours.split(".")[:2]:
        raise GenrecoreError(
            f"{path} was written with scikit-learn {theirs}, and this is {ours}, which need not "
            f"read it as it was meant; install that version or train the run again."
        )
    check_size(path)
    import skops.io

    try:
        foreign = set(skops.io.get_untrusted_types(file=path)) - set(TRUSTED)
        if foreign:
            raise GenrecoreError(
                f"{path} holds {', '.join(sorted(foreign))}, which no model here is made of, so it "
                "is not loaded."
            )
        kept = skops.io.load(path, trusted=list(TRUSTED))
        tensors = {name: torch.from_numpy(array) for name, array in kept["tensors"].items()}
        entry = MODELS[model]
        like = entry.thing(entry.options(), seed=0)
        check(kept["estimator"], like, n_genres, n_features)
    except GenrecoreError:
        raise
    except Exception as error:  # a file can be wrong in as many ways as there are bytes
        raise GenrecoreError(
            f"{path} does not hold what the model {model} is made of: {describe(error)}"
        ) from None
    return kept["estimator"], tensors
