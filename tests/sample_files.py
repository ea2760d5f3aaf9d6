"""Small files that several tests write: silent wav files and zip archives."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import soundfile


def silent_wav(path: Path, n_samples: int = 2_205) -> None:
    """Writes silence at 22 050 Hz, in folders that need not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(n_samples), 22_050)


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    """Writes a zip of these files; returns its path."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path
