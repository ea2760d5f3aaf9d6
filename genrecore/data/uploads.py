"""Uploads of visitors, kept in the cache folder by content: archives, and clips to classify.

An archive is unpacked once and checked as the dataset `folder` before its folder gets its name, so
that a folder in `uploads` can always be trained on. `uploads/<digest>.clip` is a clip as it was
uploaded; `uploads/<id>.clips` lists clips uploaded together by their names, which are never paths.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from genrecore.data import archives, datasets
from genrecore.errors import GenrecoreError, describe
from genrecore.store.files import (
    cache_dir,
    digest,
    in_a_sentence,
    open_named,
    parsed_json,
    read_bytes,
    write_bytes,
    write_text,
)
from genrecore.store.locks import make_once
from genrecore.store.progress import Phase, Report, silent
from genrecore.words import uncapitalised

_INCOMING = ".incoming"
_BLOCK = 2**20
_LONGEST_NAME = 200  # bytes; file systems take 255
_LONGEST_SHOWN = 200  # characters
_ID = re.compile(r"[0-9a-f]{16}")


def receive(stream: IO[bytes], name: str) -> Path:
    """Stores an archive as it comes, to be unpacked by a task and then removed; returns its path.

    Args:
        stream: Its content; read from the beginning to the end.
        name: Its owner's name for it, for messages.

    Raises:
        GenrecoreError: It cannot be written.
    """
    folder = _store() / f"{_digest(stream)}{_INCOMING}"
    path = folder / _file_name(name)
    part = path.with_name(f".{path.name}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream.seek(0)
        with open(part, "wb") as file:
            shutil.copyfileobj(stream, file, _BLOCK)
        part.rename(path)
    except OSError as error:
        discard(path)
        raise GenrecoreError(f"{name} cannot be stored: {describe(error)}") from None
    return path


def unpacked_folder(received: Path) -> Path:
    """The folder that an archive stored by `receive` is unpacked to."""
    return _store() / received.parent.name.removesuffix(_INCOMING)


def discard(received: Path) -> None:
    """Removes a stored archive, and its folder where it was alone there."""
    for path in (received, received.with_name(f".{received.name}.part")):
        with contextlib.suppress(OSError):
            path.unlink()
    if received.parent.name.endswith(_INCOMING):
        with contextlib.suppress(OSError):
            received.parent.rmdir()


def unpack(archive: Path, report: Report = silent) -> Path:
    """Unpacks an archive into a folder for the dataset `folder`, once for equal contents.

    Args:
        archive: A zip or tar of genre folders with audio files or images.
        report: Called with the progress; may raise `Stopped`, which leaves nothing.

    Raises:
        GenrecoreError: The archive is refused (`archives.extract`), or a model cannot learn from
            its content; nothing is left then.
    """
    try:
        with open_named(archive) as stream:
            final = _store() / _digest(stream, report, archive.stat().st_size)
    except OSError as error:
        raise GenrecoreError(f"{archive} cannot be read: {describe(error)}") from None

    def make(partial: Path) -> None:
        partial.rmdir()  # `extract` makes it with everything in it, or not at all
        archives.extract(archive, partial, report)
        try:
            datasets.load("folder", {"folder": str(partial)}, report)
        except BaseException as error:  # a stop, too
            shutil.rmtree(partial, ignore_errors=True)
            if not isinstance(error, GenrecoreError):
                raise
            why = str(error).replace(str(partial), archive.name)
            raise GenrecoreError(f"{archive.name} cannot be used: {uncapitalised(why)}") from None

    return make_once(final, make, report)


@contextlib.contextmanager
def folder_of(files: Iterable[tuple[str, IO[bytes]]], name: str) -> Iterator[Path]:
    """A folder of this name that holds files (name, content), until the end of the block.

    Raises:
        GenrecoreError: They cannot be written.
    """
    with contextlib.ExitStack() as stack:
        with in_a_sentence("The files cannot be stored"):
            _store().mkdir(parents=True, exist_ok=True)
            outer = stack.enter_context(tempfile.TemporaryDirectory(dir=_store()))
            folder = Path(outer, _file_name(name))
            folder.mkdir()
            for file_name, content in files:
                with open(folder / _file_name(file_name), "wb") as file:
                    shutil.copyfileobj(content, file, _BLOCK)
        yield folder


@dataclass(frozen=True)
class UploadedClip:
    """A kept file of a visitor."""

    digest: str  # of its content, 16 hexadecimal digits
    name: str  # for display only

    @property
    def path(self) -> Path:
        """The stored file; it may have been cleared away."""
        return _store() / f"{self.digest}.clip"


def keep_clips(files: Iterable[tuple[str, bytes]]) -> str:
    """Keeps files (name, content) that were given together; returns the id of the set.

    Equal contents are kept once; the same set has the same id.

    Raises:
        GenrecoreError: They cannot be written.
    """
    clips: list[UploadedClip] = []
    try:
        _store().mkdir(parents=True, exist_ok=True)
        for name, content in files:
            clip = UploadedClip(
                hashlib.sha256(content).hexdigest()[:16],
                _printable(name)[-_LONGEST_SHOWN:] or "clip",
            )
            if not clip.path.exists():
                write_bytes(clip.path, content)
            clips.append(clip)
        names = [[clip.digest, clip.name] for clip in clips]
        set_id = digest(names)
        write_text(_store() / f"{set_id}.clips", json.dumps(names, ensure_ascii=False))
    except OSError as error:
        raise GenrecoreError(f"The clips cannot be kept: {describe(error)}") from None
    return set_id


def kept_clips(set_id: str) -> list[UploadedClip]:
    """The files of a set that are still there; empty where there is no such set."""
    if not _ID.fullmatch(set_id):  # it comes out of an address
        return []
    try:
        names = parsed_json(read_bytes(_store() / f"{set_id}.clips"))
        clips = [UploadedClip(str(digest), _printable(str(name))) for digest, name in names]
    except (GenrecoreError, OSError, ValueError, TypeError):
        return []
    return [clip for clip in clips if _ID.fullmatch(clip.digest) and clip.path.is_file()]


def clear_clips() -> int:
    """Removes every kept file and set; returns how many files there were."""
    n = 0
    for path in [*_store().glob("*.clip"), *_store().glob("*.clips")]:
        with contextlib.suppress(OSError):
            path.unlink()
            n += path.suffix == ".clip"
    return n


def n_kept_clips() -> int:
    """How many files are kept."""
    return sum(1 for _ in _store().glob("*.clip"))


def _store() -> Path:
    return cache_dir() / "uploads"


def _digest(stream: IO[bytes], report: Report = silent, n_bytes: int = 0) -> str:
    """Sixteen hex digits of the stream's content, from its beginning."""
    content, done = hashlib.sha256(), 0
    stream.seek(0)
    while block := stream.read(_BLOCK):
        content.update(block)
        done += len(block)
        report(Phase.READING_ARCHIVE, done // _BLOCK, n_bytes // _BLOCK)
    return content.hexdigest()[:16]


def _file_name(name: str) -> str:
    """The name as a file can have it, with its extension."""
    printable = _printable(name).strip(". ")
    return printable.encode(errors="replace")[-_LONGEST_NAME:].decode(errors="ignore") or "archive"


def _printable(name: str) -> str:
    """The last part of a path, without characters that cannot be printed."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(letter for letter in last if letter.isprintable())
