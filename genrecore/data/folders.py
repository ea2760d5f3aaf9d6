"""Folders as they are: the files that can be read, what else lies there, and what systems leave.

A walk follows links, each real folder once, and passes over what operating systems, network disks
and music players write beside files. What it passes over is counted, and said in sentences.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from genrecore.words import listed, plural, thousands

_SYSTEM = frozenset(
    {
        # Synology, QNAP, NetApp and other network disks
        "@eadir", "@tmp", "@recycle", "@recently-snapshot", "@__thumb", "@sharesnap", "#recycle",
        "#snapshot", "~snapshot", "network trash folder", "aquota.user", "aquota.group",
        # Windows
        "system volume information", "$recycle.bin", "$extend", "recycler", "recycled",
        "found.000", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "autorun.inf",
        "indexervolumeguid", "wpsettings.dat", "pagefile.sys", "hiberfil.sys", "swapfile.sys",
        # macOS and Linux; what begins with a dot is not listed
        "__macosx", "icon\r", "temporary items", "thevolumesettingsfolder", "desktop db",
        "desktop df", "lost+found", "lost.dir",
    }
)  # fmt: skip
_SYSTEM_ENDINGS = ("@synoeastream", "@synoresource", ":zone.identifier")
_COVER = re.compile(
    r"(cover|folder|front|back|album ?art|artwork|booklet|inlay|inside|disc|cd|thumb|poster|fanart)"
    r"([ _.({-].*|\d*|small|large)",
    re.IGNORECASE,
)
_MOST_NAMES = 4


def is_of_system(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or written by systems beside files of
    people: `.DS_Store`, `@eaDir`, `Thumbs.db`."""
    small = name.lower()
    return name.startswith(".") or small in _SYSTEM or small.endswith(_SYSTEM_ENDINGS)


def is_cover(name: str) -> bool:
    """Whether an image of this name beside music is the picture of an album: `cover.jpg`,
    `AlbumArt_{…}_Large.jpg`."""
    return _COVER.fullmatch(os.path.splitext(os.path.basename(name))[0]) is not None


def ending_of(name: str) -> str:
    """The ending of a file's name in small letters, `.mid`; empty where it has none."""
    return os.path.splitext(name)[1].lower()


def kinds_in_words(counts: Mapping[str, int]) -> str:
    """Numbers of files by their endings, the most frequent first: `3 .mid, 2 .pdf and 1 file
    without an ending`."""
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    named = [
        f"{thousands(n)} {ending}" if ending else f"{plural(n, 'file')} without an ending"
        for ending, n in order
    ]
    return listed(named, most=12)


@dataclass
class Walk:
    """The files below a folder whose names end in one of `endings`, as paths in the order of their
    names; what else lies there is known once all were taken.

    Links are followed and come last, so that a file is named by its own path and not by that of a
    link to it; every real folder is looked at once, since links may lead in circles.

    Attributes:
        top: The folder.
        endings: Of the files to find, in small letters; empty for all.
        others: Numbers of files of other kinds, by their endings (`ending_of`).
        of_system: Names of what was passed over, as `is_of_system` says, with their numbers.
        closed: Folders that cannot be looked into.
    """

    top: str | Path
    endings: Sequence[str] = ()
    others: Counter[str] = field(default_factory=Counter)
    of_system: Counter[str] = field(default_factory=Counter)
    closed: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[str]:
        visited: set[tuple[int, int]] = set()
        waiting, links = [os.fspath(self.top)], deque[str]()
        endings = tuple(self.endings)
        while waiting or links:
            folder = waiting.pop() if waiting else links.popleft()
            try:
                facts = os.stat(folder)
            except OSError:  # it went meanwhile
                continue
            if (facts.st_dev, facts.st_ino) in visited:
                continue
            visited.add((facts.st_dev, facts.st_ino))
            folders, files = self._entries(folder)
            for file in files:
                if not endings or file.name.lower().endswith(endings):
                    yield file.path
                else:
                    self.others[ending_of(file.name)] += 1
            links.extend(entry.path for entry in folders if entry.is_symlink())
            waiting += [entry.path for entry in reversed(folders) if not entry.is_symlink()]

    def _entries(self, folder: str) -> tuple[list[os.DirEntry[str]], list[os.DirEntry[str]]]:
        try:
            return entries_of(folder, self.of_system)
        except OSError:
            self.closed.append(folder)
            return [], []

    @property
    def notes(self) -> list[str]:
        """What was passed over, in sentences."""
        notes = []
        if self.others:
            n = self.others.total()
            notes.append(
                f"{plural(n, 'file')} of other kinds ignored: {kinds_in_words(self.others)}."
            )
        if self.of_system:
            n, names = self.of_system.total(), [name for name, _ in self.of_system.most_common()]
            notes.append(
                f"{plural(n, 'hidden or system entry', 'hidden or system entries')} ignored: "
                f"{listed(names, most=_MOST_NAMES)}."
            )
        if self.closed:
            n, first = len(self.closed), self.closed[0]
            notes.append(
                f"{thousands(n)} folders cannot be looked into; the first is {first}."
                if n > 1
                else f"The folder {first} cannot be looked into."
            )
        return notes


def as_on_disk(path: str) -> str:
    """The path as the disk writes it: names that it has in another form of Unicode (composed or
    decomposed) are replaced; the path itself where nothing is there."""
    if os.path.lexists(path) or path.isascii():
        return path
    for form in ("NFC", "NFD"):
        if os.path.lexists(other := unicodedata.normalize(form, path)):
            return other
    parent, name = os.path.split(path)
    if not name:
        return path
    parent, wanted = as_on_disk(parent), unicodedata.normalize("NFC", name)
    try:
        entries = sorted(os.listdir(parent))
    except OSError:
        return path
    same = (entry for entry in entries if unicodedata.normalize("NFC", entry) == wanted)
    return os.path.join(parent, next(same, name))


def entries_of(
    folder: str, of_system: Counter[str] | None = None
) -> tuple[list[os.DirEntry[str]], list[os.DirEntry[str]]]:
    """The folders and the other entries of a folder, by name, without those of systems, which
    `of_system` counts by name.

    Raises:
        OSError: The folder cannot be looked into.
    """
    folders: list[os.DirEntry[str]] = []
    files: list[os.DirEntry[str]] = []
    with os.scandir(folder) as entries:
        in_order = sorted(entries, key=lambda entry: entry.name)
    for entry in in_order:
        if is_of_system(entry.name):
            if of_system is not None:
                of_system[entry.name] += 1
            continue
        try:
            is_folder = entry.is_dir()
        except OSError:  # a link that leads to itself
            is_folder = False
        (folders if is_folder else files).append(entry)
    return folders, files
