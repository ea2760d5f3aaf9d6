"""What lies in the cache folder, how much room it takes, and removing it.

Everything there is made anew when it is needed, except uploads; encoders must be fetched or added
again, and the results of preparing, of auditing and of whole libraries come back when they run
again.
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
    "encoders": "Weights of pretrained encoders",
    "embeddings": "Embeddings of clips",
    "corpora": "Decoded audio, images and tables",
    "fingerprints": "Measurements and acoustic fingerprints of clips",
    "datasets": "Generated demo music",
    "answers": "What preparing and auditing datasets found",
    "libraries": "Genres of whole libraries, as the page Classify keeps them",
    "uploads": "Archives and clips that were uploaded",
}
"""The folders of the cache, and what they hold."""

_TITLE = "title.json"


@dataclass(frozen=True)
class CacheEntry:
    """One file or folder in the cache."""

    kind: str  # a key of `KINDS`
    name: str
    about: str  # its title, where it has one
    n_bytes: int  # on the disk
    made: float  # when it was written last, in seconds since 1970


def write_title(folder: Path, about: str) -> None:
    """Gives a folder of the cache a title, for the list of what is there."""
    write_json(folder / _TITLE, {"about": about})


def entries(kind: str = "") -> list[CacheEntry]:
    """Everything in the cache, or of one kind; the largest first.

    Raises:
        UsageError: There is no such kind.
    """
    if kind and kind not in KINDS:
        raise UsageError(f"The cache holds no {kind!r}; it holds: {', '.join(KINDS)}.")
    listed = []
    for name in [kind] if kind else KINDS:
        with contextlib.suppress(OSError):
            for path in (cache_dir() / name).iterdir():
                if not path.name.startswith(".") and path.suffix != ".lock":
                    about = str(read_json(path / _TITLE).get("about", ""))
                    about = "unfinished" if path.suffix == ".partial" else about
                    modified = path.stat().st_mtime
                    listed.append(CacheEntry(name, path.name, about, n_bytes_of(path), modified))
    return sorted(listed, key=lambda entry: -entry.n_bytes)


def clear(kind: str = "", name: str = "") -> int:
    """Removes what `entries(kind)` lists, or the one of that name; returns the bytes set free.

    What another process is making at this moment stays, and a file that a run has open remains
    readable for it.

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
        with held(lock, patience_s=0.0) as acquired:
            if acquired:
                hidden = path.with_name(f".gone-{path.name}")
                try:  # hidden first: nobody may open what is half gone
                    path.rename(hidden)
                    shutil.rmtree(hidden) if hidden.is_dir() else hidden.unlink()
                except OSError as error:
                    reason = describe(error)
                    raise GenrecoreError(f"{path.name} cannot be removed: {reason}") from None
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
