"""What a run folder keeps of each epoch: its line of `history.jsonl`, its row of `epochs.u8`, and
the losses of its steps in `steps.f32`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from genrecore.store import generations
from genrecore.store.faults import EPOCHS, HISTORY, STEPS
from genrecore.store.files import MOST_BYTES
from genrecore.store.records import check_history

FILES = (HISTORY, EPOCHS, STEPS)


def add_epoch(
    folder: Path, row: Mapping[str, Any], predicted: np.ndarray, losses: np.ndarray, n_steps: int
) -> None:
    """Appends an epoch.

    Losses of steps are left out where some before them are missing, as in a run of an earlier
    version that goes on, and where the file would become too large for its readers.

    Args:
        folder: The run's.
        row: A line of the history.
        predicted: Genre of each validation clip, (clips,) uint8.
        losses: Of its steps, (steps,) float32; none of a model that is fitted in one call.
        n_steps: Steps of every epoch.
    """
    generations.check(folder)
    with open(folder / EPOCHS, "ab") as stream:
        stream.write(predicted.tobytes())
    path, n_before = folder / STEPS, (row["epoch"] - 1) * n_steps
    n_bytes = path.stat().st_size if path.exists() else 0
    is_whole = n_bytes == losses.itemsize * n_before and len(losses) == n_steps
    if is_whole and n_steps and n_bytes + losses.nbytes <= MOST_BYTES:
        with open(path, "ab") as stream:
            stream.write(losses.tobytes())
    with open(folder / HISTORY, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")


def cut(folder: Path, n_epochs: int, n_valid: int, n_steps: int | None) -> None:
    """Leaves the first epochs: those after a checkpoint come again.

    Args:
        folder: The run's.
        n_epochs: How many are left.
        n_valid: Validation clips.
        n_steps: Steps of every epoch; None where an epoch before had other ones.
    """
    generations.check(folder)
    history, predicted, losses = (folder / name for name in FILES)
    if history.exists():
        lines = check_history(history)[:n_epochs]
        os.truncate(history, sum(len(line) + 1 for line in lines))
    if predicted.exists():
        os.truncate(predicted, n_epochs * n_valid)
    n_bytes = 4 * n_epochs * (n_steps or 0)
    if n_bytes and losses.exists() and losses.stat().st_size >= n_bytes:
        os.truncate(losses, n_bytes)
    else:
        losses.unlink(missing_ok=True)
