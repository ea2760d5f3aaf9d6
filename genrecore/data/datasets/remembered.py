"""Folders of datasets, which need not be given again once they were prepared or trained on."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genrecore.config.run import Part
from genrecore.store.files import cache_dir, read_json, write_json
from genrecore.store.run import store_dir
from genrecore.store.settings import last_dataset


def _file() -> Path:
    return cache_dir() / "datasets.json"


def remembered_options() -> dict[str, dict[str, Any]]:
    """The options with which each dataset was last prepared, by its name."""
    return read_json(_file())


def remember(name: str, options: Mapping[str, Any]) -> None:
    """Keeps a dataset's options for the next form or command."""
    with contextlib.suppress(OSError):  # nothing depends on it
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_json(_file(), remembered_options() | {name: dict(options)})


def with_remembered_folder(part: Part) -> Part:
    """The part with a folder filled in where it gives none: the one that was used last, else the
    one that was remembered."""
    if "folder" in part.options:
        return part
    last = last_dataset(store_dir())
    used = last.options if last and last.name == part.name else {}
    folder = used.get("folder") or remembered_options().get(part.name, {}).get("folder")
    if folder is None:
        return part
    return Part(name=part.name, options={**part.options, "folder": folder})
