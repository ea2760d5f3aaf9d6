"""The dataset `manifest`: a CSV of yours that lists files with their genres."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pandas as pd
from pydantic import Field

from genrecore.config.registry import Options
from genrecore.data.datasets.folder import first_medium, medium_of, own_clips, refuse_mixed
from genrecore.data.datasets.reading import ArrayName, ImageSize, TimeAxis
from genrecore.data.datasets.registered import DATASETS
from genrecore.data.folders import as_on_disk
from genrecore.errors import GenrecoreError, UsageError, describe
from genrecore.store import allowed
from genrecore.store.allowed import expanded
from genrecore.store.files import cache_dir, is_regular_file, open_named
from genrecore.store.progress import Phase, Report

COLUMNS = ("path", "genre", "artist", "album", "split")
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "learn"), "train"),
    **dict.fromkeys(("valid", "validation", "validate", "val", "dev", "development"), "valid"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""Words for the parts of a split, in lower case, and the part each means."""

_EXPECTED = (
    "a CSV with the columns path and genre, and artist, album or split where they are known; paths "
    "are absolute or relative to its folder"
)


class ManifestOptions(Options):
    """The list of files."""

    folder: str = Field(
        "",
        title="Manifest (CSV)",
        description="CSV file with the columns path, genre and maybe artist, album, split; or a "
        "folder that holds it as manifest.csv",
        max_length=4_096,
    )
    image_size: ImageSize = ""
    array: ArrayName = ""
    time_axis: TimeAxis = "automatic"


def _first_medium(options: ManifestOptions) -> str:
    with contextlib.suppress(GenrecoreError):  # the loader says what is wrong
        file = _file(options.folder)
        paths = (_location(str(file.parent), cells["path"]) for _, cells in _rows(file))
        return first_medium(paths, options.array)
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
    """Clip table of the files that a CSV lists: audio, images or arrays.

    `clip_id` is the normalised path, relative where the file lies below the manifest's folder.
    Paths may lead anywhere, except in a manifest that was uploaded; nothing is written beside the
    files. Backslashes are understood as slashes. Rows with an empty column `split` keep a missing
    split. Other columns are ignored; comma, semicolon and tab separate. Messages count rows as a
    spreadsheet does: the header is row 1. `attrs["left_out"]` names files that are not there.

    Raises:
        UsageError: No file given.
        GenrecoreError: No such file, no CSV, columns missing; a row without genre, a file that is
            listed twice or of another kind than audio, images and arrays, an unknown part; files
            of several kinds; a path with a drive of Windows; or none of the files is there.
    """
    file = _file(options.folder)
    base = str(file.parent)
    uploaded = file.resolve().is_relative_to((cache_dir() / "uploads").resolve())
    rows: list[dict[str, object]] = []
    media: dict[str, str] = {}
    row_numbers: dict[str, int] = {}
    left_out: list[dict[str, str]] = []
    for number, cells in _rows(file):
        report(Phase.READING_LIST, len(rows), 0)
        path, split = cells["path"], cells["split"].lower()
        location = _location(base, path)
        name, medium = location.removeprefix(f"{base}/"), medium_of(location)
        if not path:
            problem = "has no path"
        elif not cells["genre"]:
            problem = f"has no genre for {path!r}"
        elif re.match(r"[A-Za-z]:[\\/]", path):
            problem = (
                f"has the path {path!r}, which begins with a drive of Windows; expected a path "
                "as this machine knows it, absolute or relative to the manifest"
            )
        elif uploaded and (os.path.isabs(name) or name.split("/")[0] == ".."):
            problem = f"has the path {path!r}, which leads out of the uploaded folder"
        elif name in row_numbers:
            problem = f"lists {path!r} again, after row {row_numbers[name]}"
        elif medium is None:
            problem = f"lists {path!r}, which is neither audio nor an image nor an array by name"
        elif split and split not in SPLIT_WORDS:
            problem = f"has the split {cells['split']!r}; expected train, valid or test"
        elif not is_regular_file(location):  # the fault of this file alone
            row_numbers[name] = number
            where = "" if os.path.isabs(path) else f" in {base}"
            reason = _sentence(file, number, f"lists {path!r}, but there is no such file{where}")
            left_out.append({"clip_id": name, "reason": reason})
            continue
        else:
            row_numbers[name], media[name] = number, medium
            rows.append(
                {
                    "clip_id": name,
                    "path": location,
                    "genre": cells["genre"],
                    "artist": cells["artist"] or None,
                    "album": cells["album"] or None,
                    "split": SPLIT_WORDS.get(split),
                }
            )
            continue
        _refuse(file, number, problem)
    if left_out and not rows:
        raise GenrecoreError(f"None of the {len(left_out)} files is there. {left_out[0]['reason']}")
    if not rows:
        raise GenrecoreError(f"The manifest {file} lists no files; expected {_EXPECTED}.")
    refuse_mixed(media, f"the manifest {file.name}")
    table = own_clips(rows, options.array, report)
    table.attrs["left_out"] = left_out
    return table


def _location(base: str, path: str) -> str:
    """Where a row's file lies; backslashes are slashes unless a file's name holds them, and names
    compare composed (NFC): a list may write them otherwise than the disk does."""
    location = ""
    for text in (path, path.replace("\\", "/")):
        location = as_on_disk(os.path.join(base, os.path.normpath(text)))
        allowed.refuse_outside(location)
        if os.path.lexists(location):
            break
    return location


def _refuse(file: Path, number: int, problem: str) -> NoReturn:
    raise GenrecoreError(_sentence(file, number, problem))


def _sentence(file: Path, number: int, problem: str) -> str:
    return f"Row {number} of the manifest {file.name} {problem}."


def _file(option: str) -> Path:
    if not option.strip():
        needed = "The dataset manifest needs its option 'folder' (--folder DIR)"
        raise UsageError(f"{needed}: {_EXPECTED}.")
    allowed.refuse_outside(option)
    file = expanded(option).absolute()
    if file.is_dir():
        file = file / "manifest.csv"
    if not is_regular_file(str(file)):
        raise GenrecoreError(f"There is no manifest {file}; expected {_EXPECTED}.")
    return file


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Row number (the header is 1) and stripped cells by column; empty rows are skipped."""
    try:
        with io.TextIOWrapper(open_named(file), encoding="utf-8-sig", newline="") as stream:
            separator = max(",;\t", key=stream.readline().count)
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
                row = dict(zip(header, cells, strict=False))  # a short row lacks its last cells
                # Line breaks may belong to a file's name, not to other cells.
                yield (
                    number,
                    {
                        name: row.get(name, "").strip(" " if name == "path" else None)
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
        raise GenrecoreError(f"The manifest {file} cannot be read: {describe(error)}") from None
