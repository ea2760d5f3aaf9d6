"""Datasets that several tests look at: demo music, and noise and tables in GTZAN's form."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from streamlit.testing.v1 import AppTest

from genrecore.data.datasets.tables import DESCRIPTORS

OPTIONS = {"n_genres": 3, "n_clips": 10, "n_artists": 5, "clip_s": 3.0}
DEMO = {"dataset": "demo"} | {f"demo.{key}": str(value) for key, value in OPTIONS.items()}


def noise_as_gtzan(folder: Path) -> Path:
    """A folder in GTZAN's form with 2 genres × 4 clips of noise; one pair is the same sound."""
    rng = np.random.default_rng(5)
    inner = folder / "genres_original"
    for genre in ("blues", "metal"):
        (inner / genre).mkdir(parents=True)
        for number in range(4):
            wave = 0.3 * rng.standard_normal(22_051)
            soundfile.write(inner / genre / f"{genre}.{number:05}.wav", wave, 11_025)
    shutil.copy(inner / "blues/blues.00001.wav", inner / "metal/metal.00003.wav")
    return folder


def dealt_clips(app: AppTest) -> dict[str, int]:
    """Clips of each genre in the three parts together, from the numbers behind the chart."""
    (table,) = [frame.value for frame in app.dataframe if "training" in frame.value]
    return {str(genre): int(n) for genre, n in zip(table["Genre"], table["all"], strict=True)}


def gtzan_tables(folder: Path, n_clips: int = 7, n_parts: int = 10) -> None:
    """features_30_sec.csv and features_3_sec.csv with three genres whose numbers differ."""
    generator = np.random.default_rng(0)
    whole, parts = [], []
    for k, genre in enumerate(("blues", "jazz", "metal")):
        for n in range(n_clips):
            rows = generator.normal(3.0 * k, 1.0, (n_parts, len(DESCRIPTORS)))
            name = f"{genre}.{n:05d}"
            whole.append([f"{name}.wav", 661_794, *rows.mean(0), genre])
            parts += [[f"{name}.{i}.wav", 66_149, *row, genre] for i, row in enumerate(rows)]
    columns = ["filename", "length", *DESCRIPTORS, "label"]
    pd.DataFrame(whole, columns=columns).to_csv(folder / "features_30_sec.csv", index=False)
    pd.DataFrame(parts, columns=columns).to_csv(folder / "features_3_sec.csv", index=False)
