"""What lies in the cache folder: how much room it takes, and how to make that room again.

Everything there is made anew when it is needed, except uploads; what preparing and auditing found
comes back when they run again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from genrecore.errors import GenrecoreError, UsageError, describe
from genrecore.store.files import cache_dir, read_json, write_json
from genrecore.store.locks import held

KINDS = {
    "features": "Features of segments, one row a segment",
    "embeddings": "Embeddings of clips",
    "corpora": "Decoded audio, images and tables",
    "fingerprints": "Measurements and acoustic fingerprints of clips",
    "datasets": "Music that genrecore made itself",
    "answers": "What preparing and auditing datasets found",
    "uploads": "Archives and clips that were uploaded",
}
"""The folders of the cache, and what they hold."""

_TITLE = "title.json"


@dataclass(frozen=True)
class CacheEntry:
    """One thing in the cache.

    Attributes:
        kind: A key of `KINDS`.
        name: The name of its file or folder.
        about: What it is, where it has a title.
        n_bytes: Room it takes on the disk.
        made: When it was last changed, seconds since 1970.
    """

    kind: str
    name: str
    about: str
    n_bytes: int
    made: float


def write_title(folder: Path, about: str) -> None:
    """Says in a folder of the cache what it is, for the list of what is there."""
    write_json(folder / _TITLE, {"about": about})


def entries(kind: str = "") -> list[CacheEntry]:
    """Everything in the cache, or of one kind; the largest first.

    Raises:
        UsageError: There is no such kind.
    """
    listed = []
    for name in _kinds(kind):
        with contextlib.suppress(OSError):
            for item in os.scandir(cache_dir() / name):
                if not item.name.startswith(".") and not item.name.endswith(".lock"):
                    path, made = Path(item.path), item.stat().st_mtime
                    listed.append(CacheEntry(name, item.name, _about(path), n_bytes_of(path), made))
    return sorted(listed, key=lambda entry: -entry.n_bytes)


def clear(kind: str = "", name: str = "") -> int:
    """Removes what `entries(kind)` lists, or the one of that name; returns the bytes set free.

    What another process is making at this moment stays. A run that has a file of the cache open
    keeps it to its end.

    Raises:
        UsageError: There is no such kind.
        GenrecoreError: Something cannot be removed, or nothing has that name.
    """
    chosen = [entry for entry in entries(kind) if name in ("", entry.name)]
    if name and not chosen:
        raise GenrecoreError(f"There is nothing called {name} in the cache.")
    freed = 0
    for entry in chosen:
        path = cache_dir() / entry.kind / entry.name
        lock = path.with_name(f"{entry.name.removesuffix('.partial')}.lock")
        with held(lock, patience_s=0.0) as mine:
            if mine:
                _remove(path)
                freed += entry.n_bytes
    return freed


def n_bytes_of(path: Path) -> int:
    """Room that a file or everything below a folder takes on the disk."""
    if not path.is_dir():
        return path.stat().st_blocks * 512
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):  # gone meanwhile
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
    return total


def _kinds(kind: str) -> list[str]:
    if kind and kind not in KINDS:
        raise UsageError(f"The cache holds no {kind!r}; it holds: {', '.join(KINDS)}.")
    return [kind] if kind else list(KINDS)


def _about(path: Path) -> str:
    if path.name.endswith(".partial"):
        return "unfinished"
    return str(read_json(path / _TITLE).get("about", ""))


def _remove(path: Path) -> None:
    # Renamed first: nobody may open what is half gone.
    gone = path.with_name(f".gone-{path.name}")
    try:
        path.rename(gone)
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    except OSError as error:
        raise GenrecoreError(f"{path.name} cannot be removed: {describe(error)}") from None
