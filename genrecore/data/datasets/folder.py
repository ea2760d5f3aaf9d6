"""The dataset `folder`: a folder of yours with one folder a genre, of audio, images or arrays."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

import pandas as pd
from pydantic import Field

from genrecore.audio.decode import FORMATS
from genrecore.config.registry import Options
from genrecore.data.arrays import ARRAY_FORMATS, array_shape
from genrecore.data.clips import clip_table
from genrecore.data.datasets.gtzan import with_known_artists
from genrecore.data.datasets.gtzan_forms import IMAGES
from genrecore.data.datasets.reading import ArrayName, ImageSize, TimeAxis
from genrecore.data.datasets.registered import DATASETS, durations_s, given_folder
from genrecore.data.folders import Walk, ending_of, entries_of, is_cover, kinds_in_words
from genrecore.errors import GenrecoreError
from genrecore.store import allowed
from genrecore.store.allowed import expanded
from genrecore.store.files import is_regular_file
from genrecore.store.progress import Phase, Report
from genrecore.words import listed, plural

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
    # The loader refuses both. Without a name it would be the folder that the process works in.
    if not options.folder.strip() or not allowed.may_be_named(options.folder):
        return "audio"
    return first_medium(Walk(expanded(options.folder)), options.array)


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
    do), that one is taken. Hidden files and what systems write are ignored, as pictures of albums
    beside music are; a folder reached twice by links counts once. `attrs["left_out"]` and
    `attrs["notes"]` name what cannot be a clip.

    Raises:
        UsageError: No folder given.
        GenrecoreError: No such folder, no genre folders with clips, files of several kinds, or the
            folders of FMA or GTZAN, which other datasets read.
    """
    top = _inner(given_folder("folder", options.folder, _EXPECTED))
    real_top = os.path.realpath(top)
    left_out: list[dict[str, str]] = []
    outside: list[str] = []
    covers: list[str] = []
    linked: list[str] = []
    media: dict[str, str] = {}  # by clip_id
    walk = Walk(top)
    for path in walk:
        report(Phase.FINDING_CLIPS, len(media), 0)
        name = path.removeprefix(f"{top}/")
        medium = medium_of(path)
        if medium is None:
            walk.others[ending_of(name)] += 1
        elif "/" not in name:
            outside.append(name)
        elif reason := _unusable(path, name):
            text = name.encode(errors="backslashreplace").decode()
            left_out.append({"clip_id": text, "reason": reason})
        else:
            media[name] = medium
            if leads_out(path, real_top):
                linked.append(name)
    if "audio" in media.values():  # pictures of albums lie beside music
        covers = [name for name, medium in media.items() if medium == "image" and is_cover(name)]
        for name in covers:
            del media[name]
    _refuse_published(top, media)
    if not media:
        instead = f" It holds {kinds_in_words(walk.others)}." if walk.others else ""
        raise GenrecoreError(
            f"There are no clips in {top}: expected {_EXPECTED} "
            f"({', '.join((*FORMATS, *IMAGE_FORMATS, *ARRAY_FORMATS))}).{instead}"
        )
    refuse_mixed(media, str(top))
    empty = _without_clips(top, media)
    rows: list[dict[str, object]] = [
        {"clip_id": name, "path": f"{top}/{name}", "genre": name.split("/")[0]} for name in media
    ]
    table = own_clips(rows, options.array, report)
    table.attrs = {
        "left_out": left_out,
        "notes": [
            *table.attrs["notes"],
            *(
                f"{plural(len(names), noun)} {remark}; the first is {names[0]!r}."
                for names, noun, remark in (
                    (empty, "folder", "without clips, so no genre"),
                    (outside, "file", "outside every genre folder left out"),
                    (covers, "album picture", "beside the music ignored"),
                    (linked, "file", "reached through links that lead out of the folder"),
                )
                if names
            ),
            *walk.notes,
        ],
    }
    return table


def _without_clips(top: Path, media: Collection[str]) -> list[str]:
    """The folders that would be genres if they held clips."""
    genres = {name.split("/")[0] for name in media}
    try:
        return [entry.name for entry in entries_of(str(top))[0] if entry.name not in genres]
    except OSError:
        return []


_FMA_TRACK = re.compile(r"(?:.*/)?(\d{3})/\1\d{3}\.mp3")


def _refuse_published(top: Path, media: Collection[str]) -> None:
    """Refuses the folders of FMA, which are no genres, and those of GTZAN's forms."""
    named = re.search(r"fma_(small|medium|large|full)", str(top))
    if media and all(map(_FMA_TRACK.fullmatch, media)):
        name = named.group() if named else "fma_small"
        raise GenrecoreError(
            f"The folders in {top} are numbered as FMA's (000 to 155) and are no genres: use the "
            f"dataset {name} (--dataset {name}), whose table says the genre of each track."
        )
    forms = sorted({name.split("/")[0] for name in media} & {"genres_original", IMAGES})
    if forms:
        raise GenrecoreError(
            f"The folder {top} holds {listed(forms)}, as GTZAN is published, and no genres: use "
            "the dataset gtzan (--dataset gtzan), or name the folder of the genres."
        )


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


def _inner(top: Path) -> Path:
    """The folder itself, or the single folder inside it if that one holds the genre folders."""
    with contextlib.suppress(OSError):  # the walk says so
        folders, others = entries_of(str(top))
        if len(folders) == 1 and not any(medium_of(entry.name) for entry in others):
            deeper, inside = entries_of(folders[0].path)
            if len(deeper) > 1 and not any(medium_of(entry.name) for entry in inside):
                return Path(folders[0].path)
    return top


def _unusable(path: str, name: str) -> str:
    """Why a file with the right extension cannot be a clip; empty where it can."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "Its name is not text in UTF-8; rename it."
    if not is_regular_file(path):
        return f"{name} is a link that leads nowhere, or no regular file."
    return ""
