"""Clip tables kept in memory, read again once the dataset's files have changed."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from genrecore.data.datasets.registered import DATASETS, load
from genrecore.errors import GenrecoreError
from genrecore.store import allowed
from genrecore.store.allowed import expanded
from genrecore.store.files import cache_dir

_MOST_ENTRIES = 5_000
Stamp = tuple[Any, ...]


def files_of(options: Mapping[str, Any]) -> Iterator[Path]:
    """A dataset's folder, two levels of its folders, and the lists (CSV) there."""
    folder = str(options.get("folder") or "")
    if not folder or not allowed.may_be_named(folder):
        return
    top = expanded(folder)
    yield top
    for entry in _entries(top):
        yield entry
        yield from _entries(entry)


def stamp_of(name: str, options: Mapping[str, Any]) -> Stamp:
    """What changes, and can be compared, when the dataset or its files are others."""
    times = tuple(_changed(path) for path in files_of(options))
    # Of the datasets that genrecore makes, and what this visitor may see of the others.
    where = str(cache_dir()), allowed.folders()
    return name, json.dumps(dict(options), sort_keys=True, default=str), where, times


def known_table(stamp: Stamp) -> pd.DataFrame | None:
    """The clip table of a dataset by its stamp; several callers share it: never change it.

    Nothing is made: of a dataset that its loader makes, it is the table that it will have, or None
    where that cannot be said.

    Raises:
        UsageError: No such dataset, or an option that does not fit.
        GenrecoreError: The files are not there, or cannot be learned from.
    """
    table = _table(stamp)
    if isinstance(table, GenrecoreError):
        raise table
    return table


@lru_cache(maxsize=4)
def _table(stamp: Stamp) -> pd.DataFrame | GenrecoreError | None:
    name, options, *_ = stamp
    try:
        choice = DATASETS.choose(name, json.loads(options))
        if choice.facts.expected is not None:
            return choice.facts.expected(choice.options)
        if choice.facts.is_made is not None:
            return None
        return load(name, json.loads(options))
    except GenrecoreError as error:
        return error


def _entries(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            first = itertools.islice(entries, _MOST_ENTRIES)
            return [Path(e.path) for e in first if e.name.endswith(".csv") or e.is_dir()]
    except OSError:  # a file, or one that may not be read: the loader says so
        return []


def _changed(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size
