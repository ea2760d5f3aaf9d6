"""How long audio files are by their headers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import soundfile

from genrecore.data.parallel import in_order
from genrecore.store.progress import Phase, Report


def durations_s(paths: Sequence[Path | str], report: Report) -> list[float]:
    """Seconds of each file by its header, NaN where it cannot be read; nothing is decoded."""
    return list(in_order(_duration_s, paths, report, Phase.READING_HEADERS))


def _duration_s(path: Path | str) -> float:
    try:
        return float(soundfile.info(os.fspath(path)).duration)
    except (soundfile.LibsndfileError, OSError, UnicodeError):
        return float("nan")
