"""Results of commands about datasets, kept in the cache folder so that pages show them too.

A result is the JSON document that the command prints, in one file for each subject (dataset,
genres, split) and method (audio settings, flags).
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from genrecore.config.run import RunConfig
from genrecore.data.datasets import DATASETS
from genrecore.data.genres import canonical
from genrecore.data.splits import SPLITS
from genrecore.store.allowed import expanded
from genrecore.store.files import cache_dir, digest, read_json, write_json

Kind = Literal["prepare", "audit", "labels"]


@dataclass(frozen=True)
class CachedResult:
    """The JSON that a command printed, and when."""

    document: Mapping[str, Any]
    at: float  # seconds since the epoch
    stamp: str = ""  # of its clip table; empty where that is not known


def keep(
    kind: Kind,
    config: RunConfig,
    document: Mapping[str, Any],
    with_split: bool = False,
    clips: pd.DataFrame | None = None,
    **flags: bool | str,
) -> None:
    """Stores a result instead of the last one with the same subject and method.

    Args:
        kind: The command.
        config: Its subject.
        document: Plain JSON.
        with_split: Whether the split is part of the subject.
        clips: The clip table as the dataset gave it.
        flags: Flags of the command that change what it examines.
    """
    method = digest({"audio": config.audio.model_dump(), **flags})
    path = _folder() / f"{kind}-{digest(subject(config, with_split))}-{method}.json"
    result = {"at": time.time(), "stamp": "" if clips is None else stamp(clips)}
    with contextlib.suppress(OSError):  # it was printed; only the page lacks it
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, result | {"document": document})


def newest(kind: Kind, config: RunConfig, with_split: bool = False) -> CachedResult | None:
    """The last result about these clips, with any audio settings and flags."""
    results = [
        CachedResult(stored["document"], float(stored["at"]), str(stored["stamp"]))
        for path in _folder().glob(f"{kind}-{digest(subject(config, with_split))}-*.json")
        if "document" in (stored := read_json(path))
    ]
    return max(results, key=lambda result: result.at, default=None)


def subject(config: RunConfig, with_split: bool) -> dict[str, Any]:
    """The subject of a result, the same for all spellings: defaults filled, paths absolute.

    Raises:
        UsageError: An option that does not exist or is out of range, or genres that cannot be read.
    """
    dataset = config.dataset.choose_from(DATASETS)
    values = dataset.options.model_dump(mode="json")
    if values.get("folder"):
        values["folder"] = str(expanded(values["folder"]).absolute())
    genres = canonical(config.genres.leave_out, config.genres.merge)
    about: dict[str, Any] = {"dataset": dataset.name, "options": values, "genres": genres}
    if with_split:
        split = config.split.choose_from(SPLITS)
        seed = config.split_seed if split.facts.seeded else 0
        about["split"] = [split.name, split.options.model_dump(mode="json"), config.fold, seed]
    return about


def stamp(clips: pd.DataFrame) -> str:
    """Sixteen hex digits that change with any cell of a clip table."""
    rows = pd.util.hash_pandas_object(clips, index=False).to_numpy(np.uint64)
    return hashlib.sha256(rows.tobytes()).hexdigest()[:16]


def _folder() -> Path:
    return cache_dir() / "answers"
