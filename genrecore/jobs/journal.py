"""Who did what in a store, by page, command or Python: `.audit.jsonl`, one line an action."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

from genrecore.errors import GenrecoreError
from genrecore.store.files import parsed_json, read_bytes
from genrecore.store.records import Moment, Record

FILE, OLDER = ".audit.jsonl", ".audit.1.jsonl"
_MOST_BYTES = 5_000_000  # then it becomes the older one, and what that held is gone
_LONGEST_LINE = 4096  # so that one write appends it whole


class JournalEntry(Record):
    """A line."""

    at: Moment
    who: str
    action: str
    run: str


def record(store: Path, who: str, action: str, run: str = "") -> None:
    """Adds a line `{"at": seconds since 1970, "who", "action", "run"}`; a store that cannot be
    written is none the worse for it."""
    entry = {"at": round(time.time(), 3), "who": who[:200], "action": action, "run": run[:200]}
    line = f"{json.dumps(entry, ensure_ascii=False)}\n".encode(errors="replace")[:_LONGEST_LINE]
    path = store / FILE
    with contextlib.suppress(OSError):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > _MOST_BYTES:
                path.replace(store / OLDER)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


def entries(store: Path, most: int = 1000) -> list[dict[str, object]]:
    """The newest lines, the newest first; lines that are none are left out."""
    lines: list[str] = []
    for name in (OLDER, FILE):
        with contextlib.suppress(OSError, GenrecoreError):
            lines += read_bytes(store / name).decode(errors="replace").splitlines()
    read = []
    for line in filter(None, reversed(lines)):
        with contextlib.suppress(ValueError, RecursionError):
            entry = parsed_json(line.encode())
            JournalEntry.model_validate(entry)
            read.append(entry)
        if len(read) >= most:
            break
    return read
