"""The dataset `folder`: a folder of yours with one folder a genre, of audio or of images."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from pydantic import Field

from genrecore.audio.decode import FORMATS
from genrecore.config.registry import Options
from genrecore.data.clips import clip_table
from genrecore.data.datasets.headers import durations_s
from genrecore.data.datasets.registered import DATASETS, given_folder
from genrecore.errors import GenrecoreError
from genrecore.store.progress import Phase, Report

IMAGE_FORMATS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
"""Extensions of images."""

_EXPECTED = "a folder that holds one folder of audio files or of images for each genre"


class FolderOptions(Options):
    """Where your music lies."""

    folder: str = Field(
        "",
        title="Folder",
        description="Folder that holds one folder for each genre, with audio files or images",
        max_length=4_096,
    )


def _first_medium(options: FolderOptions) -> str:
    """What the first file with a known extension is: enough, since mixtures are refused."""
    for _, _, names in os.walk(Path(options.folder).expanduser()):
        for name in names:
            if medium := medium_of(name):
                return medium
    return "audio"  # the loader says what is wrong


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
    """Clip table of the audio files, or of the images, in a folder of genre folders.

    A genre is named as its folder; folders inside it belong to it. `clip_id` is the path relative
    to the folder. Where the folder holds nothing but one folder of genre folders (as archives do),
    that one is taken. Hidden files are passed over; a folder reached twice by links counts once.
    `attrs["left_out"]` and `attrs["notes"]` name what cannot be a clip.

    Raises:
        UsageError: No folder given.
        GenrecoreError: No such folder, no genre folders with clips, or audio next to images.
    """
    top = _inner(given_folder("folder", options.folder, _EXPECTED))
    left_out: list[dict[str, str]] = []
    outside: list[str] = []
    others: list[str] = []
    clips: dict[str, str] = {}  # clip_id -> medium
    for path in _files(top):
        report(Phase.FINDING_CLIPS, len(clips), 0)
        name = path[len(str(top)) + 1 :]
        medium = medium_of(path)
        if medium is None:
            others.append(name)
        elif "/" not in name:
            outside.append(name)
        elif (reason := _unusable(path, name)) is not None:
            left_out.append({"clip_id": _as_text(name), "reason": reason})
        else:
            clips[name] = medium
    if not clips:
        raise GenrecoreError(
            f"There are no clips in {top}: expected {_EXPECTED} ({', '.join(FORMATS)} or "
            f"{', '.join(IMAGE_FORMATS)})."
        )
    refuse_mixed(clips, str(top))
    paths = [f"{top}/{name}" for name in clips]
    audio = next(iter(clips.values())) == "audio"
    seconds = durations_s(paths, report) if audio else [float("nan")] * len(paths)
    table = clip_table(
        {
            "clip_id": name,
            "path": path,
            "medium": clips[name],
            "genre": name.split("/")[0],
            "duration_s": duration_s,
        }
        for name, path, duration_s in zip(clips, paths, seconds, strict=True)
    )
    notes = [
        f"{len(names)} file{'s' if names[1:] else ''} {what}; the first is {names[0]!r}."
        for names, what in (
            (outside, "outside every genre folder left out"),
            (others, "of other kinds passed over"),
        )
        if names
    ]
    table.attrs = {"left_out": left_out, "notes": notes}
    return table


def medium_of(path: str) -> str | None:
    """`audio` or `image` by a file's extension, None for others."""
    ending = os.path.splitext(path)[1].lower()
    if ending in FORMATS:
        return "audio"
    return "image" if ending in IMAGE_FORMATS else None


def refuse_mixed(media: dict[str, str], where: str) -> None:
    """Refuses audio files next to images.

    Args:
        media: `audio` or `image` by name.
        where: What messages call the place.

    Raises:
        GenrecoreError: Both occur.
    """
    counts = Counter(media.values())
    if len(counts) > 1:
        first = {medium: next(n for n, m in media.items() if m == medium) for medium in counts}
        raise GenrecoreError(
            f"There are audio files ({counts['audio']}, e.g. {first['audio']!r}) next to images "
            f"({counts['image']}, e.g. {first['image']!r}) in {where}; a dataset is of one kind."
        )


def _visible(place: str) -> tuple[list[os.DirEntry[str]], list[os.DirEntry[str]]]:
    """Folders and others that a folder shows, by name; what may not be read is empty."""
    folders: list[os.DirEntry[str]] = []
    others: list[os.DirEntry[str]] = []
    try:
        entries = sorted(os.scandir(place), key=lambda entry: entry.name)
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
    """The folder itself, or the only one in it where that is what holds the genre folders."""
    folders, others = _visible(str(top))
    if len(folders) != 1 or any(medium_of(entry.name) for entry in others):
        return top
    deeper, inside = _visible(folders[0].path)
    has_clips = any(medium_of(entry.name) for entry in inside)
    return Path(folders[0].path) if len(deeper) > 1 and not has_clips else top


def _files(top: Path) -> Iterator[str]:
    """Paths below `top`, every real folder once: links may lead in circles.

    Links come last, so that a file is named by where it lies and not by a link to it.
    """
    seen: set[tuple[int, int]] = set()
    waiting, links = [str(top)], deque[str]()
    while waiting or links:
        place = waiting.pop() if waiting else links.popleft()
        facts = os.stat(place)
        if (facts.st_dev, facts.st_ino) in seen:
            continue
        seen.add((facts.st_dev, facts.st_ino))
        folders, others = _visible(place)
        yield from (entry.path for entry in others)
        links.extend(entry.path for entry in folders if entry.is_symlink())
        waiting += [entry.path for entry in reversed(folders) if not entry.is_symlink()]


def _as_text(name: str) -> str:
    """A file's name with bytes that are not UTF-8 spelt out."""
    return name.encode(errors="backslashreplace").decode()


def _unusable(path: str, name: str) -> str | None:
    """Why a file cannot be a clip although its name says so."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "Its name is not text in UTF-8; rename it."
    if not os.path.isfile(path):
        return f"{name} is a link that leads nowhere, or no regular file."
    return None
