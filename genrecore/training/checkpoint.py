"""The files a network run is resumed from: `resume.pt` and its best weights, and when to write."""

from __future__ import annotations

import io
import math
import os
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genrecore.errors import GenrecoreError
from genrecore.store import generations
from genrecore.store.files import open_named, write_bytes
from genrecore.store.zips import refuse_packed
from genrecore.training.classifier import Classifier
from genrecore.training.weights import save_classifier

_LEAST_BETWEEN_CHECKPOINTS_S = 30.0
_CHECKPOINT_SHARE = 0.05  # of the run's time, at most
_LEAST_BETWEEN_BEST_S = 2.0  # between two writes of the best weights


class Checkpoints:
    """The files of one run, each written as often as a small share of its time allows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._saved_at, self._save_cost_s = time.perf_counter(), 0.0
        self._best_written_at, self._best_waits = -math.inf, False

    def due(self) -> bool:
        """Whether enough time has passed since the last checkpoint."""
        apart_s = max(_LEAST_BETWEEN_CHECKPOINTS_S, self._save_cost_s / _CHECKPOINT_SHARE)
        return time.perf_counter() - self._saved_at > apart_s

    def write(self, state: Mapping[str, Any]) -> None:
        """Writes `resume.pt`: tensors, numbers and text, nothing that a pickle could hide in."""
        began = time.perf_counter()
        buffer = io.BytesIO()  # so that a full disk is the operating system's clear error
        torch.save(dict(state), buffer)
        is_newest = partial(generations.check, self._folder)
        write_bytes(self._folder / "resume.pt", buffer.getbuffer(), is_newest)
        self._saved_at = time.perf_counter()
        self._save_cost_s = self._saved_at - began

    def best_is_new(self, waits: bool = True) -> None:
        """Says that the best weights are others than those in the folder."""
        self._best_waits = waits

    def write_best(
        self, classifier: Classifier, weights: Mapping[str, Tensor], now: bool = False
    ) -> None:
        """Writes the best weights where they are new: at once, or when the last write is a while
        ago, since epochs may be short."""
        late = time.perf_counter() - self._best_written_at > _LEAST_BETWEEN_BEST_S
        if self._best_waits and (now or late):
            save_classifier(classifier, self._folder / "weights.safetensors", weights)
            self._best_written_at, self._best_waits = time.perf_counter(), False


def read_checkpoint(folder: Path) -> dict[str, Any] | None:
    """What is in a run's `resume.pt`; None where there is none.

    Raises:
        GenrecoreError: It cannot be read.
    """
    path = folder / "resume.pt"
    if not os.path.lexists(path):
        return None
    try:
        with open_named(path, path.name) as stream:
            refuse_packed(path)
            return dict(torch.load(stream, weights_only=True, map_location="cpu"))
    except GenrecoreError:
        raise
    except Exception as error:
        raise GenrecoreError(f"{path.name} cannot be read, start a new run: {error}") from error


def check_checkpoint(state: Mapping[str, Any], classifier: Classifier) -> None:
    """
    Raises:
        GenrecoreError: The checkpoint is of another model or of other genres.
    """
    own = {"model": classifier.config.model.name, "genres": classifier.genres}
    for key, expected in own.items():
        stored = state.get(key, expected)  # earlier versions wrote neither
        if stored != expected:
            verb = "are" if isinstance(stored, list) else "is"
            raise GenrecoreError(
                f"The checkpoint belongs to another run: its {key} {verb} {_text(stored)} where "
                f"this run has {_text(expected)}; start a new run."
            )


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
