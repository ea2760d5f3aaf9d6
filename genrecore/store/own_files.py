"""What a store holds beside run folders, and what lies in the place of something else there.

Settings and judgements are written by people; the others are locks, logs and caches, which are made
anew. Each is read so that a damaged one stops nothing; `damaged` says which are.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from genrecore.store.files import Unreadable, is_regular_file

DAMAGED = ".damaged"
"""The folder of a store for what was moved aside."""

FOLDERS = (".plans", ".bin", ".slots")
REMADE = (".runner.lock", ".runner.log", ".queue.lock", ".annotations.lock", ".summaries",
          ".audit.jsonl", ".audit.1.jsonl")  # fmt: skip
FILES = ("settings.json", "annotations.csv", "paused", *REMADE)
NAMES = (*FILES, *FOLDERS)


def damaged(store: Path) -> list[Unreadable]:
    """What is no file, or no folder, though it should be one."""
    wrong = [name for name in FILES if _exists(store / name) and not _is_file(store / name)]
    faults = [Unreadable(store / name, "", "it is no regular file", "store") for name in wrong]
    no_folders = [name for name in FOLDERS if _exists(store / name) and not (store / name).is_dir()]
    return faults + [
        Unreadable(store / name, "", "it is no folder", "store") for name in no_folders
    ]


def clear_the_way(store: Path) -> None:
    """Moves aside what lies in the place of locks and logs, without which no run starts."""
    slots = store / ".slots"
    with contextlib.suppress(OSError):
        if _exists(slots) and not slots.is_dir():
            move_aside(slots, store)
        locks = slots.iterdir() if slots.is_dir() else ()
        for path in (*locks, *(store / name for name in REMADE)):
            if _exists(path) and not _is_file(path):
                move_aside(path, store)


def move_aside(path: Path, store: Path) -> Path:
    """Moves something of the store into its folder `.damaged`, beside earlier ones; returns where
    it is now."""
    kept = store / DAMAGED
    kept.mkdir(exist_ok=True)
    names = (path.name if n == 1 else f"{path.name}.{n}" for n in range(1, 10_000))
    aside = next(kept / name for name in names if not _exists(kept / name))
    path.rename(aside)
    return aside


def _exists(path: Path) -> bool:
    return os.path.lexists(path)


def _is_file(path: Path) -> bool:
    return is_regular_file(str(path))
