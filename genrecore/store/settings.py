"""`settings.json` in the store: what a user sets once for all its runs."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from genrecore.config.run import Part
from genrecore.errors import GenrecoreError, describe
from genrecore.store.files import Unreadable, read_bytes, read_json
from genrecore.store.own_files import move_aside
from genrecore.store.records import Record, read_record

FILE = "settings.json"


class SettingsFile(Record):
    """`settings.json`. Those who use a setting check it further."""

    dataset: dict[str, Any] | None = None
    views: list[dict[str, Any]] | None = None
    cpu_slots: int | None = None
    webhook: str | None = None
    read: list[str] | Literal["*"] | None = None
    work: list[str] | Literal["*"] | None = None
    folders: list[str] | None = None
    cluster: dict[str, Any] | None = None


def fault(store: Path) -> Unreadable | None:
    """What is wrong with the settings; None where nothing is."""
    try:
        read_record(store / FILE, SettingsFile, "store")
    except Unreadable as error:
        return error
    return None


def read(store: Path) -> dict[str, Any]:
    """The settings; empty where nothing is set."""
    return read_json(store / FILE)


def last_dataset(store: Path) -> Part | None:
    """The dataset prepared or trained on last; None where there is none, or its folder is gone."""
    try:
        part = Part.model_validate(read(store).get("dataset"))
    except ValidationError:
        return None
    folder = part.options.get("folder")
    return None if folder and not os.path.exists(str(folder)) else part


def keep_dataset(store: Path, part: Part) -> None:
    """Keeps the dataset as the last one, with which pages open."""
    if part != last_dataset(store) and fault(store) is None:
        with contextlib.suppress(GenrecoreError):  # nothing depends on it
            change(store, "The dataset", dataset=part.model_dump(mode="json"))


def _set_damaged_aside(path: Path) -> None:
    """Moves a file that holds no settings aside, before it is written anew."""
    with contextlib.suppress(OSError):
        if os.path.lexists(path) and not read_json(path) and not _is_empty(path):
            move_aside(path, path.parent)


def _is_empty(path: Path) -> bool:
    try:
        return read_bytes(path).strip() in (b"", b"{}")
    except GenrecoreError:
        return False


def change(store: Path, noun: str, **values: Any) -> None:
    """Sets values, or forgets those that are None. Only the owner may read the file.

    Raises:
        GenrecoreError: The store cannot be written; the sentence begins with `noun`.
    """
    path = store / FILE
    _set_damaged_aside(path)
    settings = {key: value for key, value in (read(store) | values).items() if value is not None}
    try:
        store.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=True)
        hidden = path.with_name(f".{FILE}.{os.getpid()}")
        with open(os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            json.dump(settings, stream, indent=1)
        os.replace(hidden, path)
    except OSError as error:
        raise GenrecoreError(f"{noun} cannot be kept: {describe(error)}") from None
