"""What scikit-learn fits, as the last part of a classifier; and the file it is kept in.

scikit-learn and skops are imported where they are needed: together they take three seconds.
"""

from __future__ import annotations

import importlib.metadata
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genrecore.errors import GenrecoreError, describe
from genrecore.models import MODELS
from genrecore.models.estimator_checks import check

TRUSTED = (
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)
"""What a file may hold beside numbers, text and scikit-learn's public estimators. Types say nothing
of contents: trees whose nodes point anywhere are refused by `estimator_checks`."""

_ABOUT = "genrecore.json"
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
    try:
        with zipfile.ZipFile(path) as archive:
            if _ABOUT not in archive.namelist():
                raise GenrecoreError(
                    f"{path} holds no genres and configuration: another program's file."
                )
            about = json.loads(archive.read(_ABOUT))
    except FileNotFoundError:
        raise GenrecoreError(f"There are no weights at {path}.") from None
    except (zipfile.BadZipFile, OSError, ValueError, EOFError) as error:
        raise GenrecoreError(f"{path} is not a readable skops file: {describe(error)}") from None
    if not isinstance(about, dict) or not all(isinstance(text, str) for text in about.values()):
        raise GenrecoreError(f"{path} holds no genres and configuration: another program's file.")
    return about


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
