"""The forms in which GTZAN is published: its clips, images of them, tables of descriptors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from genrecore.data.datasets.registered import given_folder
from genrecore.data.datasets.tables import genre_of, read_table
from genrecore.errors import GenrecoreError

TABLES = {"table_30s": "features_30_sec.csv", "table_3s": "features_3_sec.csv"}
IMAGES = "images_original"

Form = Literal["audio", "images", "table_30s", "table_3s"]


def medium_of_form(options: Any) -> str:
    """`audio`, `image` or `table`, of a dataset's options with a `form`."""
    return {"audio": "audio", "images": "image"}.get(options.form, "table")


def image_rows(folder_option: str) -> list[dict[str, object]]:
    """Images of clips: `images_original/blues/blues00000.png` is `blues.00000`. The dot may be in
    the name, and the genres' folders may lie in the folder itself."""
    expected = f"a folder that holds {IMAGES}/<genre>/<genre>NNNNN.png, or the genres' folders"
    folder = given_folder("gtzan", folder_option, expected)
    rows = _images_in(folder)
    if not rows:
        folder = _in_folder(
            folder_option,
            IMAGES,
            expected,
            f"the form images of the dataset gtzan needs {expected}",
        )
        rows = _images_in(folder)
    if not rows:
        raise GenrecoreError(
            f"There are no images in {folder}: expected files like blues/blues00000.png or "
            "blues/blues.00000.png."
        )
    return rows


def _images_in(folder: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for path in sorted(folder.glob("*/*.png")):
        genre, number = path.parent.name, path.stem[-5:]
        named = path.stem in (f"{genre}{number}", f"{genre}.{number}")
        if named and len(number) == 5 and number.isdecimal():
            row = {"clip_id": f"{genre}.{number}", "path": str(path), "genre": genre}
            rows.append({**row, "medium": "image"})
    return rows


def table_rows(folder_option: str, name: str) -> list[dict[str, object]]:
    """One row of a clip table for every clip that the table of this name has rows for."""
    file = _in_folder(
        folder_option,
        name,
        f"a folder that holds {name}",
        "this form of the dataset gtzan needs that table",
    )
    clip_ids = read_table(file)["clip_id"].drop_duplicates()
    return [
        {"clip_id": clip_id, "path": str(file), "genre": genre, "medium": "table"}
        for clip_id, genre in zip(clip_ids, genre_of(clip_ids), strict=True)
    ]


def _in_folder(folder_option: str, name: str, expected: str, advice: str) -> Path:
    """The file or folder of this name in the given folder, or beside it."""
    folder = given_folder("gtzan", folder_option, expected)
    # The mirrored copy unpacks into a folder Data.
    for parent in (folder, folder / "Data", folder.parent):
        if (parent / name).exists():
            return parent / name
    raise GenrecoreError(f"The folder {folder} holds no {name}; {advice}.")
