"""How long audio files are by their headers, several files at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import soundfile

from genrecore.store.progress import Phase, Report


def durations_s(paths: Sequence[Path | str], report: Report) -> list[float]:
    """Seconds of each file by its header, NaN where it cannot be read; nothing is decoded."""
    found: list[float] = []
    pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))
    try:
        for seconds in pool.map(_duration_s, paths):
            found.append(seconds)
            report(Phase.READING_HEADERS, len(found), len(paths))
    finally:
        # A stop does not wait for the headers that nobody will ask for.
        pool.shutdown(wait=True, cancel_futures=True)
    return found


def _duration_s(path: Path | str) -> float:
    try:
        return float(soundfile.info(os.fspath(path)).duration)
    except (soundfile.LibsndfileError, OSError, UnicodeError):
        return float("nan")
