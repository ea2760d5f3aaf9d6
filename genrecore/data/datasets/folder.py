"""The dataset `folder`: a folder of yours with one folder a genre, of audio, images or arrays."""

from __future__ import annotations

import contextlib
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
from pydantic import Field

from genrecore.audio.decode import FORMATS
from genrecore.config.registry import Options
from genrecore.data.arrays import ARRAY_FORMATS, array_shape
from genrecore.data.clips import clip_table
from genrecore.data.datasets.gtzan import with_known_artists
from genrecore.data.datasets.reading import ArrayName, ImageSize, TimeAxis
from genrecore.data.datasets.registered import DATASETS, durations_s, given_folder
from genrecore.errors import GenrecoreError
from genrecore.store import allowed
from genrecore.store.allowed import expanded
from genrecore.store.files import is_regular_file
from genrecore.store.progress import Phase, Report
from genrecore.words import plural

IMAGE_FORMATS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
"""Extensions of images."""

_EXPECTED = "a folder that holds one folder of audio files, of images or of arrays for each genre"
_FILES = {"audio": "audio files", "image": "images", "array": "arrays"}


class FolderOptions(Options):
    """The folder."""

    folder: str = Field(
        "",
        title="Folder",
        description="Folder that holds one folder for each genre, with audio files, images or "
        "arrays (.npy, .npz)",
        max_length=4_096,
    )
    image_size: ImageSize = ""
    array: ArrayName = ""
    time_axis: TimeAxis = "automatic"


def _first_medium(options: FolderOptions) -> str:
    if not allowed.may_be_named(options.folder):  # the loader says so
        return "audio"
    walk = os.walk(expanded(options.folder))
    paths = (f"{parent}/{name}" for parent, _, names in walk for name in names)
    return first_medium(paths, options.array)


@DATASETS.register(
    "folder",
    title="Your folder of genre folders",
    source="yours",
    options=FolderOptions,
    needs_folder=True,
    takes_zip=True,
    medium=_first_medium,
)
def folder(options: FolderOptions, report: Report) -> pd.DataFrame:
    """Clip table of the audio files, the images or the arrays in a folder of genre folders.

    A genre is named as its folder and includes the folders inside it. `clip_id` is the path
    relative to the folder. If the folder holds nothing but one folder of genre folders (as archives
    do), that one is taken. Hidden files are ignored; a folder reached twice by links counts once.
    `attrs["left_out"]` and `attrs["notes"]` name what cannot be a clip.

    Raises:
        UsageError: No folder given.
        GenrecoreError: No such folder, no genre folders with clips, or files of several kinds.
    """
    top = _inner(given_folder("folder", options.folder, _EXPECTED))
    real_top = os.path.realpath(top)
    left_out: list[dict[str, str]] = []
    outside: list[str] = []
    others: list[str] = []
    linked: list[str] = []
    media: dict[str, str] = {}  # by clip_id
    for path in _files(top):
        report(Phase.FINDING_CLIPS, len(media), 0)
        name = path.removeprefix(f"{top}/")
        medium = medium_of(path)
        if medium is None:
            others.append(name)
        elif "/" not in name:
            outside.append(name)
        elif reason := _unusable(path, name):
            text = name.encode(errors="backslashreplace").decode()
            left_out.append({"clip_id": text, "reason": reason})
        else:
            media[name] = medium
            if leads_out(path, real_top):
                linked.append(name)
    if not media:
        raise GenrecoreError(
            f"There are no clips in {top}: expected {_EXPECTED} "
            f"({', '.join((*FORMATS, *IMAGE_FORMATS, *ARRAY_FORMATS))})."
        )
    refuse_mixed(media, str(top))
    rows: list[dict[str, object]] = [
        {"clip_id": name, "path": f"{top}/{name}", "genre": name.split("/")[0]} for name in media
    ]
    table = own_clips(rows, options.array, report)
    table.attrs = {
        "left_out": left_out,
        "notes": [
            *table.attrs["notes"],
            *(
                f"{plural(len(names), 'file')} {remark}; the first is {names[0]!r}."
                for names, remark in (
                    (outside, "outside every genre folder left out"),
                    (others, "of other kinds ignored"),
                    (linked, "reached through links that lead out of the folder"),
                )
                if names
            ),
        ],
    }
    return table


def own_clips(rows: list[dict[str, object]], array: str, report: Report) -> pd.DataFrame:
    """The clip table of rows of one medium, with the durations of audio by its headers, and the
    known artists of GTZAN's clips where the rows give none; `attrs["notes"]` says so. `array` is
    the name of the array in an `.npz`."""
    paths = [str(row["path"]) for row in rows]
    medium = first_medium(paths, array)
    seconds = durations_s(paths, report) if medium == "audio" else [float("nan")] * len(paths)
    return with_known_artists(
        clip_table(
            row | {"medium": medium, "duration_s": s} for row, s in zip(rows, seconds, strict=True)
        )
    )


def medium_of(path: str) -> str | None:
    """`audio`, `image` or `array` by a file's extension, None for others."""
    formats = {"audio": FORMATS, "image": IMAGE_FORMATS, "array": ARRAY_FORMATS}
    ending = os.path.splitext(path)[1].lower()
    return next((medium for medium, endings in formats.items() if ending in endings), None)


def first_medium(paths: Iterable[str], array: str) -> str:
    """The medium of the first file with a known extension; of arrays `vector` or `sequence`, as the
    first says that can be read. Mixtures are refused where all files are looked at."""
    medium = None
    for path in paths:
        medium = medium_of(path) or medium
        if medium in ("audio", "image"):
            return medium
        if medium:
            with contextlib.suppress(GenrecoreError):
                return ("vector", "sequence")[len(array_shape(path, array=array)) - 1]
    return "vector" if medium else "audio"  # the corpus or the loader says what is wrong


def leads_out(path: str, real_top: str) -> bool:
    """Whether a file lies elsewhere than below the folder (itself no link), through links."""
    return not os.path.realpath(path).startswith(f"{real_top.rstrip(os.sep)}{os.sep}")


def refuse_mixed(media: dict[str, str], where: str) -> None:
    """Refuses files of several kinds; `media` is `medium_of` by the files' names."""
    counts = Counter(media.values())
    if len(counts) > 1:
        first = {medium: next(n for n, m in media.items() if m == medium) for medium in counts}
        kinds = [f"{_FILES[m]} ({counts[m]}, e.g. {first[m]!r})" for m in _FILES if m in counts]
        raise GenrecoreError(
            f"There are {' next to '.join(kinds)} in {where}; a dataset is of one kind."
        )


def _visible(folder: str) -> tuple[list[os.DirEntry[str]], list[os.DirEntry[str]]]:
    """Visible folders and other entries of a folder, by name; none where it may not be read."""
    folders: list[os.DirEntry[str]] = []
    others: list[os.DirEntry[str]] = []
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except PermissionError:
        return [], []
    for entry in entries:
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            continue
        try:
            is_folder = entry.is_dir()
        except OSError:  # a link that leads to itself
            is_folder = False
        (folders if is_folder else others).append(entry)
    return folders, others


def _inner(top: Path) -> Path:
    """The folder itself, or the single folder inside it if that one holds the genre folders."""
    folders, others = _visible(str(top))
    if len(folders) != 1 or any(medium_of(entry.name) for entry in others):
        return top
    deeper, inside = _visible(folders[0].path)
    has_clips = any(medium_of(entry.name) for entry in inside)
    return Path(folders[0].path) if len(deeper) > 1 and not has_clips else top


def _files(top: Path) -> Iterator[str]:
    """Paths below `top`; every real folder once, since links may lead in circles.

    Links come last, so that a file is named by its own path and not by that of a link to it.
    """
    visited: set[tuple[int, int]] = set()
    waiting, links = [str(top)], deque[str]()
    while waiting or links:
        folder = waiting.pop() if waiting else links.popleft()
        facts = os.stat(folder)
        if (facts.st_dev, facts.st_ino) in visited:
            continue
        visited.add((facts.st_dev, facts.st_ino))
        folders, others = _visible(folder)
        yield from (entry.path for entry in others)
        links.extend(entry.path for entry in folders if entry.is_symlink())
        waiting += [entry.path for entry in reversed(folders) if not entry.is_symlink()]


def _unusable(path: str, name: str) -> str:
    """Why a file with the right extension cannot be a clip; empty where it can."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "Its name is not text in UTF-8; rename it."
    if not is_regular_file(path):
        return f"{name} is a link that leads nowhere, or no regular file."
    return ""
