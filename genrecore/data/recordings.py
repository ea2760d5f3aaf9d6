"""Clips that were uploaded to be classified: kept in the cache by their content, until cleared.

`uploads/<digest>.clip` is a file as it came; `uploads/<id>.clips` says which files were given
together, and what they were called. Names are never paths.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from genrecore.errors import GenrecoreError, describe
from genrecore.store.files import cache_dir, digest, write_bytes, write_text

_LONGEST_NAME = 200
_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Recording:
    """A kept file.

    Attributes:
        digest: Names its content, 16 hexadecimal digits.
        name: What its owner calls it, for display only.
    """

    digest: str
    name: str

    @property
    def path(self) -> Path:
        """Where it lies; it may have been cleared away."""
        return _store() / f"{self.digest}.clip"


def keep(files: Iterable[tuple[str, bytes]]) -> str:
    """Keeps files (name, content) that were given together; returns the id of the set.

    Equal contents are kept once; the same set has the same id.

    Raises:
        GenrecoreError: They cannot be written.
    """
    kept: list[Recording] = []
    try:
        _store().mkdir(parents=True, exist_ok=True)
        for name, content in files:
            one = Recording(hashlib.sha256(content).hexdigest()[:16], _shown(name))
            if not one.path.exists():
                write_bytes(one.path, content)
            kept.append(one)
        names = [[one.digest, one.name] for one in kept]
        set_id = digest(names)
        write_text(_store() / f"{set_id}.clips", json.dumps(names, ensure_ascii=False))
    except OSError as error:
        raise GenrecoreError(f"The clips cannot be kept: {describe(error)}") from None
    return set_id


def kept(set_id: str) -> list[Recording]:
    """The files of a set that are still there; empty where there is no such set."""
    if not _ID.fullmatch(set_id):  # it comes out of an address
        return []
    try:
        given = json.loads((_store() / f"{set_id}.clips").read_text(encoding="utf-8"))
        found = [Recording(str(digest), str(name)) for digest, name in given]
    except (OSError, ValueError, TypeError):
        return []
    return [one for one in found if _ID.fullmatch(one.digest) and one.path.is_file()]


def clear() -> int:
    """Removes every kept file and set; returns how many files there were."""
    n = 0
    for path in [*_store().glob("*.clip"), *_store().glob("*.clips")]:
        with contextlib.suppress(OSError):
            path.unlink()
            n += path.suffix == ".clip"
    return n


def n_kept() -> int:
    """How many files are kept."""
    return sum(1 for _ in _store().glob("*.clip"))


def _store() -> Path:
    return cache_dir() / "uploads"


def _shown(name: str) -> str:
    """The last part of a name, without what cannot be printed."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(letter for letter in last if letter.isprintable())[-_LONGEST_NAME:] or "clip"
