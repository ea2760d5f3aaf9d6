"""What lies in the cache folder: how much room it takes, and how to make that room again.

Everything there can be made anew from the datasets' own files, except what was uploaded; answers
come back when they are asked for again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from genrecore.errors import GenrecoreError, UsageError, describe
from genrecore.store.files import cache_dir, read_json
from genrecore.store.locks import held

KINDS = {
    "features": "Features of segments, one row a segment",
    "embeddings": "Where runs put their clips",
    "corpora": "Decoded audio, pictures and tables",
    "fingerprints": "Measurements and acoustic fingerprints of clips",
    "datasets": "Music that genrecore made itself",
    "answers": "What preparing and auditing datasets found",
    "uploads": "Archives and clips that were uploaded",
}
"""The folders of the cache, and what they hold."""


@dataclass(frozen=True)
class Cached:
    """One thing in the cache.

    Attributes:
        kind: A key of `KINDS`.
        name: Its folder's name.
        about: What it is, as far as it says so itself.
        n_bytes: Room it takes on the disk.
        made: When it was last changed, seconds since 1970.
    """

    kind: str
    name: str
    about: str
    n_bytes: int
    made: float


def entries(kind: str = "") -> list[Cached]:
    """Everything in the cache, or of one kind; the largest first.

    Raises:
        UsageError: There is no such kind.
    """
    found = []
    for one in _kinds(kind):
        folder = cache_dir() / one
        with contextlib.suppress(OSError):
            for item in os.scandir(folder):
                if not item.name.startswith(".") and not item.name.endswith(".lock"):
                    path = Path(item.path)
                    made = item.stat().st_mtime
                    found.append(Cached(one, item.name, _about(path), n_bytes_of(path), made))
    return sorted(found, key=lambda item: -item.n_bytes)


def clear(kind: str = "", name: str = "") -> int:
    """Removes what `entries(kind)` lists, or the one of that name; returns the bytes set free.

    What another process is making at this moment stays. A run that has a file of the cache open
    keeps it to its end.

    Raises:
        UsageError: There is no such kind.
        GenrecoreError: Something cannot be removed, or nothing has that name.
    """
    chosen = [item for item in entries(kind) if name in ("", item.name)]
    if name and not chosen:
        raise GenrecoreError(f"There is nothing called {name} in the cache.")
    freed = 0
    for item in chosen:
        path = cache_dir() / item.kind / item.name
        lock = path.with_name(f"{item.name.removesuffix('.partial')}.lock")
        with held(lock, patience_s=0.0) as mine:
            if mine:
                _remove(path)
                freed += item.n_bytes
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


def size(n_bytes: int) -> str:
    """`3.2 GB`, `12 MB`, `4 kB`."""
    for unit, name in ((10**9, "GB"), (10**6, "MB")):
        if n_bytes >= unit:
            return f"{n_bytes / unit:.{1 if n_bytes < 10 * unit else 0}f} {name}"
    return f"{n_bytes / 1000:.0f} kB"


def _kinds(kind: str) -> list[str]:
    if kind and kind not in KINDS:
        raise UsageError(f"The cache holds no {kind!r}; it holds: {', '.join(KINDS)}.")
    return [kind] if kind else list(KINDS)


def _about(path: Path) -> str:
    if path.name.endswith(".partial"):
        return "unfinished"
    what = read_json(path / "what.json").get("what", [])
    if len(what) >= 5:  # as the feature cache writes it
        rows = " × ".join(str(n) for n in what[4])
        copy = f", {what[5][-1]}" if len(what) > 5 else ""
        return f"{what[3]['name']} ({rows}){copy} of corpus {what[1]}"
    return ""


def _remove(path: Path) -> None:
    # Renamed first: nobody may open what is half gone.
    gone = path.with_name(f".gone-{path.name}")
    try:
        path.rename(gone)
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    except OSError as error:
        raise GenrecoreError(f"{path.name} cannot be removed: {describe(error)}") from None
