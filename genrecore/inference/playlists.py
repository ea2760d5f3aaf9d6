"""Playlists and folders of a classified library, one a genre; the recordings stay as they are."""

from __future__ import annotations

import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrecore.audio.decode import digest
from genrecore.errors import GenrecoreError, UsageError
from genrecore.inference.library_results import answer_of, timing
from genrecore.store.files import open_named, output_folder, write_bytes
from genrecore.words import plural

_HEAD = b"#EXTM3U\n# Made by genrecore\n"
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')  # of any file system's files
_LONGEST_NAME = 200  # bytes; file systems take 255
_MOST_ALIKE = 10_000  # recordings of one name in one genre


def playlists(
    results: Iterable[dict[str, Any]], folder: Path | None = None
) -> tuple[dict[str, bytes], int]:
    """Playlists in M3U8, `<genre>.m3u8` → content, of the results of a library.

    Args:
        results: As of `library_results.read_results`.
        folder: Paths are relative to it; by default absolute.

    Returns:
        The playlists, and how many recordings have a line break in their path, which no playlist
        can hold.
    """
    entries: dict[str, list[bytes]] = defaultdict(list)
    base = os.path.realpath(folder) if folder else ""
    n_left_out = 0
    for result in results:
        path, genre = result["path"], answer_of(result)
        if not genre:
            continue
        if "\n" in path or "\r" in path:
            n_left_out += 1
            continue
        if folder:  # links in both would lead `..` elsewhere
            real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
            path = os.path.relpath(real, base)
            path = f"./{path}" if path.startswith("#") else path
        title = os.path.splitext(os.path.basename(path))[0]
        seconds = round(timing(result, "duration_s") or -1)
        entries[genre].append(os.fsencode(f"#EXTINF:{seconds},{title}\n{path}\n"))
    names = _file_names(sorted(entries))
    return {f"{names[genre]}.m3u8": _HEAD + b"".join(entries[genre]) for genre in names}, n_left_out


def write_playlists(
    results: Iterable[dict[str, Any]], folder: Path, relative: bool = False
) -> tuple[list[Path], int]:
    """Writes a playlist a genre into a folder, in the place of those of an earlier call.

    Args:
        results: As of `library_results.read_results`.
        folder: Made where it is missing.
        relative: Whether paths are relative to the folder.

    Returns:
        The files, and how many recordings are left out as of `playlists`.

    Raises:
        GenrecoreError: A playlist of somebody else has such a name, or the folder cannot be
            written.
    """
    with output_folder(folder, "playlists") as target:
        contents, n_left_out = playlists(results, target if relative else None)
        earlier = {path.name for path in target.glob("*.m3u8") if _is_ours(path)}
        for name in contents.keys() - earlier:
            if os.path.lexists(target / name):
                raise GenrecoreError(
                    f"{target / name} is there already, and not from here; name another folder."
                )
        for name in sorted(contents):
            write_bytes(target / name, contents[name])
        for name in earlier - contents.keys():
            write_bytes(target / name, _HEAD)  # its recordings have other genres now
    return [target / name for name in sorted(contents)], n_left_out


@dataclass
class TreeCounts:
    """What became of the recordings of a tree: put there now, there before, gone meanwhile."""

    n_new: int = 0
    n_kept: int = 0
    n_gone: int = 0

    @property
    def sentence(self) -> str:
        """In words, without the folder."""
        gone = f"; {plural(self.n_gone, 'file')} had gone" if self.n_gone else ""
        return f"{plural(self.n_new, 'new file')}, {plural(self.n_kept, 'file')} kept{gone}"


def check_tree(folder: Path, sources: Iterable[str | Path]) -> None:
    """Refuses a folder for a tree that lies in a source, or is one.

    Raises:
        UsageError: It does.
    """
    real = Path(os.path.realpath(folder))
    for source in sources:
        if real.is_relative_to(os.path.realpath(source)):
            raise UsageError(
                f"{folder} lies in {source}, which stays as it is; name a folder elsewhere."
            )


def write_tree(
    results: Iterable[dict[str, Any]], folder: Path, sources: Iterable[str | Path], link: bool
) -> TreeCounts:
    """Copies or links each recording to `FOLDER/<genre>/<name>`. What is there already stays: the
    same recording is not put there again, another of the same name gets a number.

    Args:
        results: As of `library_results.read_results`.
        folder: Made where it is missing.
        sources: The library, in which the folder must not lie.
        link: Whether symbolic links are made instead of copies.

    Raises:
        UsageError: The folder lies in a source.
        GenrecoreError: It cannot be written, or is full.
    """
    check_tree(folder, sources)
    genres = defaultdict(list)
    for result in results:
        if genre := answer_of(result):
            genres[genre].append((result["path"], result["digest"]))
    counts = TreeCounts()
    with output_folder(folder, "links" if link else "copies") as target:
        for genre, name in _file_names(sorted(genres)).items():
            place = target / name
            place.mkdir(exist_ok=True)
            for path, content in genres[genre]:
                if not os.path.isfile(path):
                    counts.n_gone += 1
                elif _put(Path(path), content, place, link):
                    counts.n_new += 1
                else:
                    counts.n_kept += 1
    return counts


def _put(path: Path, content: str, place: Path, link: bool) -> bool:
    """Copies or links a file into a folder under a free name; False where it is there already."""
    for n in range(1, _MOST_ALIKE):
        name = path.name if n == 1 else f"{path.stem} ({n}){path.suffix}"
        final = place / name
        if not os.path.lexists(final):
            break
        if link:
            is_same = final.is_symlink() and os.readlink(final) == str(path)
        else:
            is_file = final.is_file() and not final.is_symlink()
            is_same = is_file and final.stat().st_size == path.stat().st_size
            is_same = is_same and digest(final) == content
        if is_same:
            return False
    if link:
        final.symlink_to(path)
        return True
    part = place / f".{os.getpid()}.part"
    try:
        shutil.copy2(path, part)
        part.rename(final)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return True


def _is_ours(path: Path) -> bool:
    try:
        with open_named(path) as stream:
            return stream.read(len(_HEAD)) == _HEAD
    except GenrecoreError:
        return False


def _file_names(genres: Iterable[str]) -> dict[str, str]:
    """A name for a file or folder of each genre, for any file system; no two are alike in small
    letters."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for genre in genres:
        base = _NOT_IN_NAMES.sub("_", genre).strip(". ").encode(errors="replace")
        name = first = base[:_LONGEST_NAME].decode(errors="ignore") or "_"
        n = 1
        while name.casefold() in taken:
            n += 1
            name = f"{first} ({n})"
        taken.add(name.casefold())
        names[genre] = name
    return names
