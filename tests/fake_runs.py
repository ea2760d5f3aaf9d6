"""Finished run folders without a network: their predictions say who is right on which clip."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow.parquet import write_table

from genrecore.config.run import RunConfig, with_values
from genrecore.store import runs
from genrecore.store.files import write_json
from genrecore.store.progress import Phase
from genrecore.store.run import Run
from genrecore.store.separation import judge
from genrecore.store.status import Status

GENRES = ["blues", "jazz", "rock"]


def fake_run(
    store: Path,
    right: np.ndarray,
    artists: np.ndarray | None = None,
    first: int = 0,
    genres: list[str] = GENRES,
    n_epochs: int = 0,
    clips: np.ndarray | None = None,
    n_unknown: int = 0,
    n_shared: int = 0,
    contents: list[str] | None = None,
    n_train: int = 0,
    **values: object,
) -> Run:
    """A finished run whose test says of each clip whether it was right.

    Args:
        store: Folder of the runs.
        right: (n,) bool.
        artists: Of the clips; unknown by default.
        first: Number of the first clip, in its id; the k-th clip has genre k mod number of genres.
        genres: Sorted names.
        n_epochs: Of a history of made-up curves; none by default.
        clips: Numbers of the clips instead of those from `first`.
        n_unknown: How many clips of its split the audit found to have no artist.
        n_shared: How many test clips it found to share an artist with training.
        contents: Digests of the clips; by default clips of one number hold the same in all runs
            on a dataset.
        n_train: Training clips of each genre in its clip table.
        values: Of its configuration; `__` stands for a dot.
    """
    dotted = {name.replace("__", "."): value for name, value in values.items()}
    run, lock = runs.create_held_run(with_values(RunConfig(), dotted), store)
    n, k = len(right), len(genres)
    numbers = first + np.arange(n) if clips is None else clips
    labelled = (numbers - first if clips is None else numbers) % k
    predicted = np.where(right, labelled, (labelled + 1) % k)
    proba = np.full((n, k), 0.2 / (k - 1))
    proba[np.arange(n), predicted] = 0.8
    ids = [f"clip {number:04}" for number in numbers]
    table = {"clip_id": ids, "genre": [genres[k] for k in labelled], "split": ["test"] * n}
    columns = {f"p_{genre}": proba[:, column] for column, genre in enumerate(genres)}
    write_table(pa.table(table | columns), run.folder / "predictions.parquet")
    music = f"{zlib.crc32(run.config.dataset.name.encode()):08x}"
    table["artist"] = [None] * n if artists is None else artists.astype(str).tolist()
    by_number = [f"{music}{number:024x}" for number in numbers]
    table["content"] = list(contents or by_number)
    for number, genre in enumerate(genres * n_train):
        digest = f"{music}{'f' * 16}{number:08x}"
        row = (f"learned {number:04}", genre, "train", None, digest)
        for column, value in zip(table.values(), row, strict=True):
            column.append(value)
    types = pa.schema([(name, pa.string()) for name in table])
    write_table(pa.table(table, types), run.folder / "clips.parquet")
    leak = f"The split leaks: {n_shared} of {n} test clips share an artist." if n_shared else ""
    separation = judge(leak, 3 * n, n_unknown, n_shared)
    write_json(run.folder / "audit.json", {"separation": separation.as_dict()})
    status = Status(run.folder)
    facts: dict[str, object] = {"n_parameters": 10_000 * (1 + len(run.config.model.name))}
    if n_epochs:
        rows = [
            {"epoch": e, "train_loss": 2 / e, "train_accuracy": 1 - 0.8 / e, "lr": 0.01 / e,
             "valid_loss": 2.2 / e, "valid_accuracy": 0.9 - 0.8 / e, "seconds": 60.0}
            for e in range(1, n_epochs + 1)
        ]  # fmt: skip
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (run.folder / "history.jsonl").write_text(lines)
        facts |= {"epoch": n_epochs, "n_epochs": n_epochs, "best_epoch": n_epochs - 1}
        facts |= {"phase": Phase.TESTING, "done": 25 * n_epochs, "total": 25 * n_epochs}
    status.values["states"] = [{"state": "running", "reason": "", "at": 1.0}]
    status.move("done", started_at=1.0, finished_at=61.0, **facts)
    status.values["states"][-1]["at"] = 61.0
    status.update()
    os.close(lock)
    return Run(run.folder)


def draw_right(share: float, n: int, seed: int) -> np.ndarray:
    """Which of n clips are right, drawn at random with this share."""
    return np.random.default_rng(seed).random(n) < share
