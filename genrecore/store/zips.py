"""Zip archives opened without trusting what they say about themselves."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from genrecore.errors import GenrecoreError
from genrecore.store.files import open_named
from genrecore.words import size, thousands

_LARGEST_ENTRY = 500  # bytes of an entry in a zip's directory, on average: names have 50 or so
_LEAST_DIRECTORY = 2**20
_MOST_TENSORS = 100_000


class TooManyEntries(zipfile.BadZipFile):
    """A zip lists more than its reader takes."""


def bounded_zip(stream: BinaryIO, most: int) -> zipfile.ZipFile:
    """The zip in an open file, of at most so many entries; they are counted before zipfile makes
    an object of each.

    Raises:
        TooManyEntries: It lists more.
        zipfile.BadZipFile: It is damaged, or no zip.
    """
    bounded: Any = _BoundedDirectory(stream, most)
    archive = zipfile.ZipFile(bounded)
    bounded.is_read = True
    return archive


def refuse_packed(path: Path) -> None:
    """Refuses a zip whose entries unpack to more than the file has, as torch never writes them.
    What is no zip is left to its reader.

    Raises:
        GenrecoreError: It is such a zip, or no regular file.
        zipfile.BadZipFile: It is damaged.
    """
    with open_named(path) as stream:
        if stream.read(2) != b"PK":
            return
        entries = bounded_zip(stream, _MOST_TENSORS).infolist()
        n_bytes = stream.seek(0, 2)
        is_packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if is_packed or sum(entry.file_size for entry in entries) > n_bytes:
            raise GenrecoreError(
                f"{path} is packed: it would take more memory than its {size(n_bytes)}; torch "
                "writes such files unpacked."
            )


class _BoundedDirectory:
    """A zip as zipfile reads it, which takes its directory in one piece: the entries in it are
    counted, since other numbers may lie."""

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self.stream, self.most, self.is_read = stream, most, False
        self.largest = max(_LEAST_DIRECTORY, most * _LARGEST_ENTRY)

    def read(self, n_bytes: int = -1) -> bytes:
        """Reads at most so many bytes, all of them if that is less than 0."""
        if self.is_read:
            return self.stream.read(n_bytes)
        most = self.largest + 1
        block = self.stream.read(most if n_bytes < 0 else min(n_bytes, most))
        if len(block) > self.largest or _n_entries(block, self.most) > self.most:
            raise TooManyEntries(f"it lists more than {thousands(self.most)} entries")
        return block

    def __getattr__(self, name: str) -> Any:
        """Everything else is the stream's."""
        return getattr(self.stream, name)


def _n_entries(directory: bytes, most: int) -> int:
    """Entries in a zip's directory, counted no further than beyond `most`."""
    n = place = 0
    while n <= most and directory.startswith(b"PK\x01\x02", place) and place + 46 <= len(directory):
        place += 46 + sum(struct.unpack_from("<3H", directory, place + 28))
        n += 1
    return n
