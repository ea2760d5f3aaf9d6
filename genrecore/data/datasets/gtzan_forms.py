"""The forms in which GTZAN is published: its clips, pictures of them, tables of descriptors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from genrecore.data.datasets.tables import genre_of, read_table
from genrecore.errors import GenrecoreError, UsageError

TABLES = {"table_30s": "features_30_sec.csv", "table_3s": "features_3_sec.csv"}
IMAGES = "images_original"

Form = Literal["audio", "images", "table_30s", "table_3s"]


def medium_of_form(options: Any) -> str:
    """`audio`, `image` or `table`, of a dataset's options with a `form`."""
    return {"audio": "audio", "images": "image"}.get(options.form, "table")


def image_rows(given: str) -> list[dict[str, object]]:
    """Pictures named without the dot: `images_original/blues/blues00000.png` is `blues.00000`."""
    expected = f"a folder that holds {IMAGES}/<genre>/<genre>NNNNN.png"
    folder = folder_of(given, expected)
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


def table_rows(given: str, name: str) -> list[dict[str, object]]:
    """One row of a clip table for every clip that the table of this name has rows for."""
    folder = folder_of(given, f"a folder that holds {name}")
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


def folder_of(given: str, expected: str) -> Path:
    """The folder that an option names; refused with what was `expected` where it is none."""
    if not given.strip():
        raise UsageError(f"The dataset gtzan needs its option 'folder': {expected}.")
    folder = Path(given).expanduser().absolute()
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise GenrecoreError(f"The dataset gtzan found {found} at {folder}; it needs {expected}.")
    return folder
