"""The dataset `gtzan`: clips of GTZAN in a folder of yours, artists from the packaged index."""

from __future__ import annotations

import importlib.resources
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import soundfile
from pydantic import Field

from genrecore.clips import clip_table
from genrecore.datasets.registered import DATASETS
from genrecore.errors import GenrecoreError, UsageError
from genrecore.progress import Report
from genrecore.registry import Options

LAYOUTS = (("genres_original", ".wav"), ("genres", ".au"))
"""Folder and file ending: the widely mirrored copy, and the original archive."""


class GtzanOptions(Options):
    """Where GTZAN lies."""

    folder: str = Field(
        "",
        title="Folder",
        description="Folder that holds genres_original (wav) or genres (au), or one of the two",
        max_length=4_096,
    )


@DATASETS.register(
    "gtzan",
    title="GTZAN",
    source="Tzanetakis & Cook, Musical genre classification of audio signals, IEEE Transactions "
    "on Speech and Audio Processing 10(5), 2002; artists after Sturm 2012, 2013",
    options=GtzanOptions,
    needs_folder=True,
)
def gtzan(options: GtzanOptions, report: Report) -> pd.DataFrame:
    """Clip table of GTZAN's clips that lie in the folder: all 1 000 of them or any part.

    `clip_id` is `blues.00000`; durations (seconds) come from the headers and are NaN where a header
    cannot be read. `jazz.00054` cannot be decoded in the widely mirrored copy, but can in others,
    so it stays in the table; building the corpus skips any unreadable file with a sentence. Artists
    come from Sturm's index (The GTZAN dataset, arXiv:1306.1461, 2013) and are missing for 81 clips.

    Raises:
        UsageError: No folder given.
        GenrecoreError: No such folder, none of the layouts, no clips in it.
    """
    folder, ending = _layout(options.folder)
    files = sorted(
        path
        for path in folder.glob(f"*/*{ending}")
        # Named <genre>.NNNNN: what else lies there is not a clip of GTZAN.
        if path.name[: -len(ending)].startswith(f"{path.parent.name}.")
    )
    if not files:
        raise GenrecoreError(
            f"There are no clips in {folder}: expected files like blues/blues.00000{ending}."
        )
    artists = known_facts()["artist"]
    rows = []
    phase = "Reading headers"
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for done, (path, duration_s) in enumerate(
            zip(files, pool.map(_duration_s, files), strict=True), 1
        ):
            clip_id = path.name[: -len(ending)]
            rows.append(
                {
                    "clip_id": clip_id,
                    "path": str(path),
                    "genre": path.parent.name,
                    "artist": artists.get(clip_id),
                    "duration_s": duration_s,
                }
            )
            report(phase, done, len(files))
    return clip_table(rows)


def known_facts() -> pd.DataFrame:
    """Facts about GTZAN's 1 000 clips: index `clip_id`, text columns `artist`, `filtered_split`
    and `exact_copy_of`, missing where there is nothing to say; sources beside the file."""
    place = importlib.resources.files("genrecore") / "data" / "gtzan_annotations.csv"
    with importlib.resources.as_file(place) as path:
        return pd.read_csv(path, dtype="string").set_index("clip_id")


def _layout(given: str) -> tuple[Path, str]:
    """The folder with one folder a genre in it, and the ending of its files."""
    expected = (
        "a folder that holds genres_original/<genre>/<genre>.NNNNN.wav or "
        "genres/<genre>/<genre>.NNNNN.au"
    )
    if not given.strip():
        raise UsageError(f"The dataset gtzan needs its option 'folder': {expected}.")
    folder = Path(given).expanduser().absolute()
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise GenrecoreError(f"The dataset gtzan found {found} at {folder}; it needs {expected}.")
    for name, ending in LAYOUTS:
        if (folder / name).is_dir():
            return folder / name, ending
    for name, ending in LAYOUTS:
        if folder.name == name:
            return folder, ending
    if not any(folder.iterdir()):
        raise GenrecoreError(f"The folder {folder} is empty; the dataset gtzan needs {expected}.")
    raise GenrecoreError(
        f"The folder {folder} holds neither genres_original nor genres; "
        f"the dataset gtzan needs {expected}."
    )


def _duration_s(path: Path) -> float:
    """Seconds by the header, NaN where it cannot be read."""
    try:
        return float(soundfile.info(str(path)).duration)
    except (soundfile.LibsndfileError, OSError):
        return float("nan")
