"""The dataset `gtzan` in its four published forms; artists from the packaged index."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import Field

from genrecore.clips import clip_table
from genrecore.datasets.headers import durations_s
from genrecore.datasets.registered import DATASETS
from genrecore.datasets.tables import genre_of, read_table
from genrecore.errors import GenrecoreError, UsageError
from genrecore.progress import Report
from genrecore.registry import Options

LAYOUTS = (("genres_original", ".wav"), ("genres", ".au"))
"""Folder and file ending: the widely mirrored copy, and the original archive."""

TABLES = {"table_30s": "features_30_sec.csv", "table_3s": "features_3_sec.csv"}
IMAGES = "images_original"
MIRROR = "https://www.kaggle.com/datasets/andradaolteanu/gtzan-dataset-music-genre-classification"

Form = Literal["audio", "images", "table_30s", "table_3s"]


class GtzanOptions(Options):
    """Where GTZAN lies, and which of its forms is meant."""

    folder: str = Field(
        "",
        title="Folder",
        description="Folder that holds genres_original (wav) or genres (au), or one of the two; "
        "for the other forms, images_original or the tables",
        max_length=4_096,
    )
    form: Form = Field(
        "audio",
        title="Form",
        description="The clips themselves, the published pictures of their spectrograms, or the "
        "published tables of 57 descriptors with one row a clip or ten",
    )


@DATASETS.register(
    "gtzan",
    title="GTZAN",
    source="Tzanetakis & Cook, Musical genre classification of audio signals, IEEE Transactions "
    "on Speech and Audio Processing 10(5), 2002; artists after Sturm 2012, 2013",
    options=GtzanOptions,
    needs_folder=True,
    medium=lambda options: {"audio": "audio", "images": "image"}.get(options.form, "table"),
)
def gtzan(options: GtzanOptions, report: Report) -> pd.DataFrame:
    """Clip table of what the folder holds of GTZAN in one form: all 1 000 clips or any part.

    `clip_id` is `blues.00000` in every form. Artists come from Sturm's index (The GTZAN dataset,
    arXiv:1306.1461, 2013) and are missing for 81 clips. Of `audio`, durations (seconds) come from
    the headers and are NaN where a header cannot be read. `jazz.00054` cannot be decoded in the
    widely mirrored copy, but can in others, so it stays in the table; building the corpus skips any
    unreadable file with a sentence. Of a table (`medium` is `table`), every clip it has rows for is
    one clip here, whether or not its audio is there; of `images` (`image`), every picture.

    Raises:
        UsageError: No folder given.
        GenrecoreError: No such folder, nothing of this form in it, a table with faults.
    """
    if options.form in TABLES:
        rows = _table_rows(options.folder, TABLES[options.form])
    elif options.form == "images":
        rows = _image_rows(options.folder)
    else:
        rows = _audio_rows(options.folder, report)
    artists = known_facts()["artist"]
    return clip_table(row | {"artist": artists.get(str(row["clip_id"]))} for row in rows)


def known_facts() -> pd.DataFrame:
    """Facts about GTZAN's 1 000 clips: index `clip_id`, text columns `artist`, `filtered_split`
    and `exact_copy_of`, missing where there is nothing to say; sources beside the file."""
    place = importlib.resources.files("genrecore") / "data" / "gtzan_annotations.csv"
    with importlib.resources.as_file(place) as path:
        return pd.read_csv(path, dtype="string").set_index("clip_id")


def _audio_rows(given: str, report: Report) -> list[dict[str, object]]:
    folder, ending = _layout(given)
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
    return [
        {
            "clip_id": path.name[: -len(ending)],
            "path": str(path),
            "genre": path.parent.name,
            "duration_s": duration_s,
        }
        for path, duration_s in zip(files, durations_s(files, report), strict=True)
    ]


def _image_rows(given: str) -> list[dict[str, object]]:
    """Pictures named without the dot: `images_original/blues/blues00000.png` is `blues.00000`."""
    expected = f"a folder that holds {IMAGES}/<genre>/<genre>NNNNN.png"
    folder = _folder(given, expected)
    for place in (folder / IMAGES, folder / "Data" / IMAGES, folder.parent / IMAGES, folder):
        if place.name == IMAGES and place.is_dir():
            break
    else:
        raise GenrecoreError(
            f"The folder {folder} holds no {IMAGES}; the form images of the dataset gtzan needs "
            f"{expected}."
        )
    rows: list[dict[str, object]] = []
    for path in sorted(place.glob("*/*.png")):
        genre, number = path.parent.name, path.stem[-5:]
        if path.stem == f"{genre}{number}" and len(number) == 5 and number.isdecimal():
            row = {"clip_id": f"{genre}.{number}", "path": str(path), "genre": genre}
            rows.append({**row, "medium": "image"})
    if not rows:
        raise GenrecoreError(
            f"There are no pictures in {place}: expected files like blues/blues00000.png."
        )
    return rows


def _table_rows(given: str, name: str) -> list[dict[str, object]]:
    folder = _folder(given, f"a folder that holds {name}")
    places = (folder / name, folder / "Data" / name, folder.parent / name)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise GenrecoreError(
            f"The folder {folder} holds no {name}; this form of the dataset gtzan needs that table."
        )
    clip_ids = read_table(found)["clip_id"].drop_duplicates()
    return [
        {"clip_id": clip_id, "path": str(found), "genre": genre, "medium": "table"}
        for clip_id, genre in zip(clip_ids, genre_of(clip_ids), strict=True)
    ]


def _folder(given: str, expected: str) -> Path:
    if not given.strip():
        raise UsageError(f"The dataset gtzan needs its option 'folder': {expected}.")
    folder = Path(given).expanduser().absolute()
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise GenrecoreError(f"The dataset gtzan found {found} at {folder}; it needs {expected}.")
    return folder


def _layout(given: str) -> tuple[Path, str]:
    """The folder with one folder a genre in it, and the ending of its files."""
    expected = (
        "a folder that holds genres_original/<genre>/<genre>.NNNNN.wav or "
        "genres/<genre>/<genre>.NNNNN.au"
    )
    folder = _folder(given, expected)
    for top in (folder, folder / "Data"):  # the mirrored copy unpacks into a folder Data
        for name, ending in LAYOUTS:
            if (top / name).is_dir():
                return top / name, ending
    for name, ending in LAYOUTS:
        if folder.name == name:
            return folder, ending
    if not any(folder.iterdir()):
        raise GenrecoreError(f"The folder {folder} is empty; the dataset gtzan needs {expected}.")
    raise GenrecoreError(
        f"The folder {folder} holds neither genres_original nor genres; "
        f"the dataset gtzan needs {expected}."
    )
