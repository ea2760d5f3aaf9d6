"""Folders of datasets, remembered in the cache folder once they were given."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genrecore.config.run import Part
from genrecore.store.files import cache_dir, read_json, write_json


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
    """The part with the remembered folder filled in where it gives none."""
    folder = remembered_options().get(part.name, {}).get("folder")
    if folder is None or "folder" in part.options:
        return part
    return Part(name=part.name, options={**part.options, "folder": folder})
