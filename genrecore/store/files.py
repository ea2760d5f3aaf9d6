"""Files that readers may poll: written under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
from pathlib import Path
from typing import Any


def cache_dir() -> Path:
    """Folder of corpora, features, tasks and uploads: `GENRECORE_CACHE` or the user's cache."""
    given = os.environ.get("GENRECORE_CACHE")
    if given:
        return Path(given).expanduser().absolute()
    if platform.system() == "Darwin":
        return Path.home() / "Library" / "Caches" / "genrecore"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "genrecore"


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Writes under a temporary name and renames, so that a reader sees the old file or the new."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """`write_text` of indented JSON."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file, or an empty one where there is no readable file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
