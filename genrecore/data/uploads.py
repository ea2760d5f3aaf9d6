"""Archives that were uploaded: unpacked once, in the cache, under a name made of their content.

What is unpacked is looked at as the dataset `folder` before it gets its name, so that a folder in
`uploads` is always one that can be trained on.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from pathlib import Path
from typing import IO

from genrecore.data import archives, datasets
from genrecore.errors import GenrecoreError, describe
from genrecore.store.files import cache_dir
from genrecore.store.locks import make_once
from genrecore.store.progress import Phase, Report, silent

_INCOMING = ".incoming"
_BLOCK = 2**20
_LONGEST_NAME = 200  # bytes; file systems take 255


def receive(stream: IO[bytes], name: str) -> Path:
    """The path of an archive stored as it came, to be unpacked by a task and then removed.

    Args:
        stream: Its content, from the beginning; it is left at its end.
        name: What its owner calls it; messages name it so.

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


def place_of(received: Path) -> Path:
    """Where an archive that `receive` stored is unpacked to."""
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
    """The folder with the archive's content, a dataset `folder`; made once for equal contents.

    Args:
        archive: A zip or tar of genre folders with audio files or pictures.
        report: Told about megabytes and files; may raise `Stopped`, which leaves nothing.

    Raises:
        GenrecoreError: The archive is none or not to be trusted (`archives.extract`), or what it
            holds cannot be learned from; nothing is left then.
    """
    try:
        with open(archive, "rb") as stream:
            final = _store() / _digest(stream, report, archive.stat().st_size)
    except OSError as error:
        raise GenrecoreError(f"{archive} cannot be read: {describe(error)}") from None

    def make(partial: Path) -> None:
        partial.rmdir()  # it comes back with everything in it, or not at all
        archives.extract(archive, partial, report)
        try:
            datasets.load("folder", {"folder": str(partial)}, report)
        except GenrecoreError as error:
            shutil.rmtree(partial, ignore_errors=True)
            said = str(error).replace(str(partial), archive.name)
            raise GenrecoreError(
                f"{archive.name} cannot be used: {said[:1].lower()}{said[1:]}"
            ) from None
        except BaseException:  # a stop
            shutil.rmtree(partial, ignore_errors=True)
            raise

    return make_once(final, make, report)


def _store() -> Path:
    return cache_dir() / "uploads"


def _digest(stream: IO[bytes], report: Report = silent, n_bytes: int = 0) -> str:
    """Sixteen hex digits of the stream's content, from its beginning."""
    digest, done = hashlib.sha256(), 0
    stream.seek(0)
    while block := stream.read(_BLOCK):
        digest.update(block)
        done += len(block)
        report(Phase.READING_ARCHIVE, done // _BLOCK, n_bytes // _BLOCK)
    return digest.hexdigest()[:16]


def _file_name(name: str) -> str:
    """The name as one that a file can have, its ending kept."""
    last = name.replace("\\", "/").rpartition("/")[2]
    shown = "".join(letter for letter in last if letter.isprintable()).strip(". ")
    return shown.encode(errors="replace")[-_LONGEST_NAME:].decode(errors="ignore") or "archive"
