"""What commands found out about datasets, kept so that a page shows it whoever asked.

A result is the JSON document that the command prints. It lies in the cache folder under what it
is about (dataset, genres, split) and how it was found out (audio settings, flags), one file each.
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
from genrecore.store.files import cache_dir, digest, read_json, write_json

Kind = Literal["prepare", "audit"]


@dataclass(frozen=True)
class CachedResult:
    """What a command found.

    Attributes:
        document: The JSON that it prints.
        at: When, in seconds since the epoch.
        stamp: `stamp` of the clip table that it was found in; empty where that is not known.
    """

    document: Mapping[str, Any]
    at: float
    stamp: str = ""


def keep(
    kind: Kind,
    config: RunConfig,
    document: Mapping[str, Any],
    with_split: bool = False,
    clips: pd.DataFrame | None = None,
    **how: bool,
) -> None:
    """Stores a result in place of the last one of the same question.

    Args:
        kind: The command.
        config: What it was asked about.
        document: Plain JSON.
        with_split: Whether the split was part of the question.
        clips: The clip table as the dataset gave it.
        how: Flags of the command that change what it looks at.
    """
    where = digest({"audio": config.audio.model_dump(), **how})
    place = _folder() / f"{kind}-{digest(subject(config, with_split))}-{where}.json"
    with contextlib.suppress(OSError):  # it was printed; only the page does without
        place.parent.mkdir(parents=True, exist_ok=True)
        found = {"at": time.time(), "stamp": "" if clips is None else stamp(clips)}
        write_json(place, found | {"document": document})


def newest(kind: Kind, config: RunConfig, with_split: bool = False) -> CachedResult | None:
    """The last result about these clips, with any audio settings and flags."""
    found = [
        CachedResult(stored["document"], float(stored["at"]), str(stored["stamp"]))
        for place in _folder().glob(f"{kind}-{digest(subject(config, with_split))}-*.json")
        if "document" in (stored := read_json(place))
    ]
    return max(found, key=lambda result: result.at, default=None)


def subject(config: RunConfig, with_split: bool) -> dict[str, Any]:
    """What a result is about, the same however it was written: defaults filled, paths absolute.

    Raises:
        UsageError: An option that does not exist or is out of range, or genres that cannot be read.
    """
    options = DATASETS[config.dataset.name].read_options(config.dataset.options, "dataset")
    values = options.model_dump(mode="json")
    if values.get("folder"):
        values["folder"] = str(Path(values["folder"]).expanduser().absolute())
    genres = canonical(config.genres.leave_out, config.genres.merge)
    about = {"dataset": config.dataset.name, "options": values, "genres": genres}
    if with_split:
        scheme = SPLITS[config.split.name]
        chosen = scheme.read_options(config.split.options, "split").model_dump(mode="json")
        seed = config.split_seed if scheme.facts.seeded else 0
        about["split"] = [config.split.name, chosen, config.fold, seed]
    return about


def stamp(clips: pd.DataFrame) -> str:
    """Sixteen hex digits that change with any cell of a clip table: its files are others now."""
    rows = pd.util.hash_pandas_object(clips, index=False).to_numpy(np.uint64)
    return hashlib.sha256(rows.tobytes()).hexdigest()[:16]


def _folder() -> Path:
    return cache_dir() / "answers"
