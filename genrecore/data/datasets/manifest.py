"""The dataset `manifest`: a CSV of yours that lists files with their genres."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pandas as pd
from pydantic import Field

from genrecore.config.registry import Options
from genrecore.data.clips import clip_table
from genrecore.data.datasets.folder import medium_of, refuse_mixed
from genrecore.data.datasets.headers import durations_s
from genrecore.data.datasets.registered import DATASETS
from genrecore.errors import GenrecoreError, UsageError
from genrecore.store.progress import Phase, Report

COLUMNS = ("path", "genre", "artist", "album", "split")
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "learn"), "train"),
    **dict.fromkeys(("valid", "validation", "validate", "val", "dev", "development"), "valid"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""Words for the parts of a split, in small letters, and the part each means."""

_EXPECTED = (
    "a CSV with the columns path and genre, and artist, album or split where they are known; paths "
    "are relative to its folder"
)


class ManifestOptions(Options):
    """Which list it is."""

    folder: str = Field(
        "",
        title="Manifest (CSV)",
        description="CSV file with the columns path, genre and maybe artist, album, split; or a "
        "folder that holds it as manifest.csv",
        max_length=4_096,
    )


def _first_medium(options: ManifestOptions) -> str:
    """What the first file listed is: enough, since mixtures are refused."""
    try:
        for _, cells in _rows(_file(options.folder)):
            return medium_of(cells["path"]) or "audio"
    except GenrecoreError:
        pass  # the loader says what is wrong
    return "audio"


@DATASETS.register(
    "manifest",
    title="Your list of files (CSV)",
    source="yours",
    options=ManifestOptions,
    needs_folder=True,
    medium=_first_medium,
)
def manifest(options: ManifestOptions, report: Report) -> pd.DataFrame:
    """Clip table of the files that a CSV lists, audio or images.

    `clip_id` is the path as listed, without detours. Rows without a part in the column `split` stay
    without one. Other columns are passed over; comma, semicolon and tab separate. Sentences name
    rows as a spreadsheet shows them: the header is row 1.

    Raises:
        UsageError: No file given.
        GenrecoreError: No such file, no CSV, columns missing; a row without genre, with an absolute
            path or one that leaves the folder, an absent file, one listed twice or of another kind
            than audio and images, an unknown part; audio next to images.
    """
    file = _file(options.folder)
    base = str(file.parent)
    rows: list[dict[str, object]] = []
    media: dict[str, str] = {}
    seen: dict[str, int] = {}
    for number, cells in _rows(file):
        report(Phase.READING_LIST, len(rows), 0)
        path = cells["path"]
        if not path:
            _refuse(file, number, "has no path")
        if not cells["genre"]:
            _refuse(file, number, f"has no genre for {path!r}")
        name = os.path.normpath(path)
        if os.path.isabs(path) or path[1:3] == ":\\" or name.split("/")[0] == "..":
            _refuse(
                file, number, f"has the path {path!r}, which leads out of the manifest's folder"
            )
        if name in seen:
            _refuse(file, number, f"lists {path!r} again, after row {seen[name]}")
        seen[name] = number
        medium = medium_of(name)
        if medium is None:
            _refuse(file, number, f"lists {path!r}, which is neither audio nor an image by name")
        if "\0" in name or not os.path.isfile(f"{base}/{name}"):
            _refuse(file, number, f"lists {path!r}, but there is no such file in {base}")
        split = cells["split"].lower()
        if split and split not in SPLIT_WORDS:
            _refuse(
                file, number, f"has the split {cells['split']!r}; expected train, valid or test"
            )
        media[name] = medium
        rows.append(
            {
                "clip_id": name,
                "path": f"{base}/{name}",
                "medium": medium,
                "genre": cells["genre"],
                "artist": cells["artist"] or None,
                "album": cells["album"] or None,
                "split": SPLIT_WORDS.get(split),
            }
        )
    if not rows:
        raise GenrecoreError(f"The manifest {file} lists no files; expected {_EXPECTED}.")
    refuse_mixed(media, f"the manifest {file.name}")
    if rows[0]["medium"] == "audio":
        seconds = durations_s([str(row["path"]) for row in rows], report)
        for row, duration_s in zip(rows, seconds, strict=True):
            row["duration_s"] = duration_s
    return clip_table(rows)


def _refuse(file: Path, number: int, what: str) -> NoReturn:
    raise GenrecoreError(f"Row {number} of the manifest {file.name} {what}.")


def _file(given: str) -> Path:
    if not given.strip():
        raise UsageError(f"The dataset manifest needs its option 'folder': {_EXPECTED}.")
    file = Path(given).expanduser().absolute()
    if file.is_dir():
        file = file / "manifest.csv"
    if not file.is_file():
        raise GenrecoreError(f"There is no manifest {file}; expected {_EXPECTED}.")
    return file


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Row number (the header is 1) and cells without surrounding blanks; empty rows are skipped."""
    try:
        with open(file, encoding="utf-8-sig", newline="") as stream:
            first = stream.readline()
            separator = max(",;\t", key=first.count)
            stream.seek(0)
            reader = csv.reader(stream, delimiter=separator, strict=True)
            header = [cell.strip().lower() for cell in next(reader, [])]
            missing = [name for name in ("path", "genre") if name not in header]
            if missing:
                raise GenrecoreError(
                    f"The manifest {file.name} lacks the column{'s' if missing[1:] else ''} "
                    f"{' and '.join(missing)}; expected {_EXPECTED}."
                )
            twice = next((name for name in COLUMNS if header.count(name) > 1), None)
            if twice is not None:
                raise GenrecoreError(f"The manifest {file.name} has the column {twice} twice.")
            places = {name: header.index(name) for name in COLUMNS if name in header}
            for number, cells in enumerate(reader, 2):
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) > len(header):
                    _refuse(
                        file,
                        number,
                        f"has {len(cells)} cells, the header {len(header)}; put quotes around text "
                        "that holds the separator",
                    )
                filled = cells + [""] * (len(header) - len(cells))
                yield (
                    number,
                    {
                        # Blanks and line breaks may belong to a file's name, not to the rest.
                        name: filled[places[name]].strip(" " if name == "path" else None)
                        if name in places
                        else ""
                        for name in COLUMNS
                    },
                )
    except UnicodeDecodeError:
        raise GenrecoreError(
            f"The manifest {file.name} is not text in UTF-8; save it as 'CSV UTF-8'."
        ) from None
    except csv.Error as error:
        raise GenrecoreError(f"The manifest {file.name} cannot be read as CSV: {error}.") from None
    except OSError as error:
        raise GenrecoreError(
            f"The manifest {file} cannot be read: {error.strerror or error}."
        ) from None
