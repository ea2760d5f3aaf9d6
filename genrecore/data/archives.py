"""Zip and tar archives unpacked without trusting them.

Nothing is written outside the target folder and only plain files and folders are made. What an
archive holds is looked through and bounded before anything is written; sizes are bounded again
while files are written, since headers only claim them.
"""

from __future__ import annotations

import bz2
import io
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, NoReturn, Protocol, Self

from genrecore import words
from genrecore.errors import GenrecoreError, describe, first_line
from genrecore.store.files import new_folder, open_named
from genrecore.store.progress import Phase, Report, silent
from genrecore.store.zips import TooManyEntries, bounded_zip

GIB = 2**30


@dataclass(frozen=True)
class ArchiveLimits:
    """The most that an archive may unpack to."""

    n_files: int  # files and folders, also those that only stand in the paths of others
    total_bytes: int
    ratio: float  # unpacked bytes to the archive's own size


UPLOAD = ArchiveLimits(n_files=20_000, total_bytes=20 * GIB, ratio=100.0)
"""For archives of strangers: twenty times GTZAN. Music hardly shrinks, tables shrink tenfold,
silence and flat images a hundredfold at most; a bomb made by deflate alone reaches 1,000."""

PUBLISHED = ArchiveLimits(n_files=500_000, total_bytes=1_500 * GIB, ratio=100.0)
"""For archives whose checksum was published: FMA-full is 106,574 files, 879 GiB."""

SMALL = 16 * 2**20
"""The ratio is not checked below this size: a few text files may shrink by any factor."""

_BLOCK, _PACKED_BLOCK = 2**20, 2**14
_NO_ARCHIVE = "is neither a zip nor a tar archive, or damaged at its beginning"
_LONGEST_PATH, _LONGEST_NAME = 1_000, 255  # bytes; file systems and players take no more
_DEEPEST = 32  # names inside one another
_LARGEST_HEADER = 4 * 2**20  # a tar header may hold long names, and claim to hold terabytes
_XZ_MEMORY = 2**27  # bytes; `xz -9` needs half of it
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)  # take little memory


def extract(
    archive: Path,
    target: Path,
    report: Report = silent,
    limits: ArchiveLimits = UPLOAD,
    unwrap: bool = False,
) -> Path:
    """Unpacks an archive into the new folder `target`, which appears complete or not at all.

    Args:
        archive: A zip, or a tar that may be packed with gzip, bzip2 or xz; the content decides.
        target: A folder that does not exist yet.
        report: Called with the files so far and in all; may raise `Stopped`.
        limits: The most it may unpack to.
        unwrap: Whether a single folder that holds everything becomes the target itself.

    Raises:
        GenrecoreError: Not such an archive, damaged or encrypted; a path that leaves the folder, a
            link or a device in it; too many files or folders, too deep, too much data or
            suspiciously well packed data; the target exists or cannot be written.
    """
    if target.exists():
        raise GenrecoreError(f"There is something at {target} already; nothing was unpacked.")
    try:
        with open_named(archive) as raw:
            unpacking = _Unpacking(archive, raw, target, report, limits)
            unpacking.look_through()
            with new_folder(target) as folder:
                unpacking.write(folder)
                inside = list(folder.iterdir())
                if unwrap and len(inside) == 1 and inside[0].is_dir():
                    only = inside[0].rename(folder.with_name(f"{folder.name}-only"))
                    folder.rmdir()
                    only.rename(folder)
    except _DAMAGE as error:
        raise GenrecoreError(
            f"{archive.name} is damaged and cannot be unpacked: "
            f"{first_line(error) or type(error).__name__}."
        ) from None
    except OSError as error:
        raise GenrecoreError(
            f"{archive.name} could not be unpacked into {target.parent}: {describe(error)}"
        ) from None
    return target


# What the standard library raises over damaged archives.
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,  # UnicodeError among them
    RecursionError,  # headers of a tar that belong to headers without end
)


@dataclass(frozen=True)
class _Entry:
    """A file or a folder in an archive."""

    name: str
    kind: str  # file, folder, link or special
    size: int  # bytes, as its header claims
    open: Callable[[], IO[bytes] | None]


class _Unpacking:
    """Looks through one archive, then unpacks it, and counts what it holds and what comes out."""

    def __init__(
        self, archive: Path, raw: BinaryIO, target: Path, report: Report, limits: ArchiveLimits
    ) -> None:
        self.name, self.raw, self.target = archive.name, raw, target
        self.report, self.limits = report, limits
        self.packed_bytes = os.fstat(raw.fileno()).st_size
        self.kinds: dict[str, str] = {}  # `file` or `folder`, by path
        self.n_files = 0

    def look_through(self) -> None:
        """Refuses what must not be unpacked, before anything is written."""
        claimed, most = 0, self.limits.n_files
        for n_entries, entry in enumerate(self._entries(), 1):
            self.report(Phase.READING_ARCHIVE, *self.progress())
            if entry.kind not in ("file", "folder"):
                self._refuse_special(entry.name, entry.kind == "link")
            path = self._path(entry.name)
            if entry.kind == "file" and not path:
                self.refuse("holds a file without a name")
            for n in range(path.count("/"), 0, -1):
                self._take(path.rsplit("/", n)[0], "folder")
            if path:
                self._take(path, entry.kind)
            if max(n_entries, len(self.kinds)) > most:
                self.refuse_number()
            claimed += entry.size
            self._check_amount(claimed)
            self.n_files += entry.kind == "file"
        if not self.n_files:
            self.refuse("holds no files")
        free = shutil.disk_usage(_existing(self.target)).free
        if claimed > free:
            self.refuse(
                f"unpacks to {words.size(claimed)}, but only {words.size(free)} are free at "
                f"{self.target.parent}"
            )

    def write(self, folder: Path) -> None:
        """Unpacks everything into a folder that is there."""
        n_done = n_bytes = 0
        for entry in self._entries():
            path = folder / self._path(entry.name)
            content = entry.open()
            (path if content is None else path.parent).mkdir(parents=True, exist_ok=True)
            if content is None:
                continue
            # Follows and overwrites nothing, and takes over no mode or owner.
            with content, open(path, "xb") as file:
                while block := content.read(_BLOCK):
                    n_bytes += len(block)
                    self._check_amount(n_bytes)
                    file.write(block)
                    self.report(Phase.UNPACKING, n_done, self.n_files)
            n_done += 1
            self.report(Phase.UNPACKING, n_done, self.n_files)

    def progress(self) -> tuple[int, int]:
        """How much of the archive is read, and its size, in MiB."""
        return self.raw.tell() // _BLOCK, self.packed_bytes // _BLOCK

    def _entries(self) -> Iterator[_Entry]:
        """Everything in the archive, in its order; read anew at each call."""
        self.raw.seek(0)
        start = self.raw.read(3)
        self.raw.seek(0)
        # Not is_zipfile(), which also believes in a zip at the end of a tar.
        return self._of_zip() if start.startswith(b"PK") else self._of_tar(start)

    def _of_zip(self) -> Iterator[_Entry]:
        try:
            archive = bounded_zip(self.raw, self.limits.n_files)
        except TooManyEntries:
            self.refuse_number()
        with archive:
            for info in archive.infolist():
                if info.flag_bits & 0x1:
                    self.refuse("is encrypted; unpack it yourself and give the folder")
                if info.compress_type not in _METHODS:
                    self.refuse("is packed by a method that is not supported; use deflate")
                kind = _KINDS.get(stat.S_IFMT(info.external_attr >> 16), "special")
                kind = "folder" if kind == "file" and info.is_dir() else kind
                opened = partial(archive.open, info) if kind == "file" else _nothing
                yield _Entry(info.filename, kind, info.file_size, opened)

    def _of_tar(self, start: bytes) -> Iterator[_Entry]:
        unpacked: BinaryIO = self.raw
        if start in _DECOMPRESSORS:
            unpacked = io.BufferedReader(_Unpacked(self.raw, _DECOMPRESSORS[start]), 2**16)
        bounded: Any = _Bounded(unpacked, self)
        try:
            archive = tarfile.open(  # noqa: SIM115  closed below
                fileobj=bounded, mode="r:", tarinfo=_Header
            )
        except lzma.LZMAError as error:
            if "Memory" in str(error):
                most = words.size(_XZ_MEMORY)
                self.refuse(f"takes more than {most} of memory to unpack; pack it with less")
            self.refuse(_NO_ARCHIVE)
        except (tarfile.ReadError, EOFError, OSError, zlib.error):
            self.refuse(_NO_ARCHIVE)
        with archive:
            while (info := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # it would keep them all
                is_link = info.issym() or info.islnk()
                kind = "file" if info.isreg() and not info.issparse() else "special"
                kind = "folder" if info.isdir() else "link" if is_link else kind
                opened = partial(archive.extractfile, info) if kind == "file" else _nothing
                bounded.most_read = None  # of a file's content, not of headers
                yield _Entry(info.name, kind, info.size, opened)
                bounded.most_read = _LARGEST_HEADER
            bounded.most_read = None  # of what is no header any more
            while block := bounded.read(_BLOCK):
                if block.strip(b"\0"):
                    raise tarfile.ReadError("something follows its end")

    def _path(self, name: str) -> str:
        """The path of an entry, relative to the folder, refused unless it lies inside."""
        parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
        absolute = name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":")
        if absolute or ".." in parts:
            self.refuse(f"holds the path {_quoted(name)}, which leads out of its folder")
        lengths = [len(os.fsencode(part)) for part in parts]
        if "\0" in name or sum(lengths) > _LONGEST_PATH or max(lengths, default=0) > _LONGEST_NAME:
            self.refuse(f"holds a path that no file can have ({_quoted(name)})")
        if len(parts) > _DEEPEST:
            self.refuse(
                f"holds {_quoted(name)}, a path of {len(parts)} names; at most {_DEEPEST} inside "
                "one another are unpacked"
            )
        return "/".join(parts)

    def _take(self, path: str, kind: str) -> None:
        """Notes that a file or a folder takes this path."""
        before = self.kinds.setdefault(path, "")
        if before and "file" in (before, kind):
            self.refuse(f"holds {_quoted(path)} twice, or as a file and as a folder")
        self.kinds[path] = kind

    def refuse_number(self) -> NoReturn:
        """Refuses an archive for the number of what it holds."""
        most = words.thousands(self.limits.n_files)
        self.refuse(f"holds more than {most} files and folders, the most that are unpacked")

    def _check_amount(self, n_bytes: int) -> None:
        """Refuses bytes beyond the limits, claimed or unpacked."""
        if n_bytes > self.limits.total_bytes:
            most = words.size(self.limits.total_bytes)
            self.refuse(f"unpacks to more than {most}, the most that is unpacked")
        self.check_ratio(n_bytes)

    def check_ratio(self, n_bytes: int) -> None:
        """Refuses more bytes than a packed archive of this size can honestly hold."""
        if n_bytes > max(SMALL, self.limits.ratio * self.packed_bytes):
            self.refuse(
                f"unpacks to more than {self.limits.ratio:g} times its own size "
                f"({words.size(self.packed_bytes)}), as only archives made to do harm do"
            )

    def _refuse_special(self, name: str, link: bool) -> NoReturn:
        kind = "a link" if link else "neither a file nor a folder"
        self.refuse(f"holds {_quoted(name)}, which is {kind}; only plain files are unpacked")

    def refuse(self, problem: str) -> NoReturn:
        """Raises the error that this archive is refused."""
        raise GenrecoreError(f"The archive {self.name} {problem}.")


_KINDS = {0: "file", stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}


def _nothing() -> None:
    """The content of what has none."""


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(parent for parent in (path, *path.parents) if parent.exists())


class _Decompressor(Protocol):
    """What bz2 and lzma offer alike."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gunzip:
    """zlib's decompressor as bz2 and lzma offer theirs."""

    def __init__(self) -> None:
        self._inner, self._rest = zlib.decompressobj(wbits=31), b""

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._rest

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        unpacked = self._inner.decompress(self._rest + data, max_length)
        self._rest = self._inner.unconsumed_tail
        return unpacked


_DECOMPRESSORS: dict[bytes, Callable[[], _Decompressor]] = {
    b"\x1f\x8b\x08": _Gunzip,
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7z": partial(lzma.LZMADecompressor, memlimit=_XZ_MEMORY),
}
"""By the first three bytes of a file. The classes of the standard library that read such files
bound no memory, and take a name in a gzip header byte by byte, however long it is."""


class _Unpacked(io.RawIOBase):
    """What a packed file unpacks to, from its beginning to its end, in bounded memory."""

    def __init__(self, raw: BinaryIO, make: Callable[[], _Decompressor]) -> None:
        self._raw, self._make, self._decompressor = raw, make, make()

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer; returns with how many bytes, 0 at the end."""
        while True:
            data = b""
            if self._decompressor.eof:  # zeros may follow, or another part
                data = self._decompressor.unused_data.lstrip(b"\0")
                data = data or self._raw.read(_PACKED_BLOCK).lstrip(b"\0")
                if not data:
                    return 0
                self._decompressor = self._make()
            elif self._decompressor.needs_input:
                data = self._raw.read(_PACKED_BLOCK)
            try:
                unpacked = self._decompressor.decompress(data, len(buffer))
            except OSError as error:  # bz2's word for damage
                raise tarfile.ReadError(str(error)) from None
            if unpacked:
                buffer[: len(unpacked)] = unpacked
                return len(unpacked)
            if not data and not self._decompressor.eof and self._decompressor.needs_input:
                raise EOFError("it ends before the end of what is packed")


class _Header(tarfile.TarInfo):
    """The header of a file in a tar. tarfile takes a damaged one for the end of the archive, and
    the files behind it would be missing without a word."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        """
        Raises:
            ReadError: There is neither a header nor the end of the archive.
        """
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None


class _Bounded:
    """The unpacked bytes of a tar, counted as they pass, with headers of bounded size.

    tarfile's own filter for untrusted archives (`data`) bounds neither, lets links within the
    folder through and unpacks absolute paths after cutting off their beginning.

    Attributes:
        most_read: How many bytes may still be read, as the headers of one entry; None for no bound.
    """

    def __init__(self, stream: BinaryIO, unpacking: _Unpacking) -> None:
        self.stream, self.unpacking, self.position = stream, unpacking, 0
        self.most_read: int | None = _LARGEST_HEADER

    def read(self, size: int = -1) -> bytes:
        """Reads at most `size` bytes."""
        if not 0 <= size <= _LARGEST_HEADER:
            raise tarfile.ReadError("a header claims to be larger than any name")
        block = self.stream.read(size)
        if self.most_read is not None:
            self.most_read -= len(block)
            if self.most_read < 0:
                raise tarfile.ReadError("the headers of a file are larger than any name")
        self.position += len(block)
        self.unpacking.check_ratio(self.position)
        return block

    def seek(self, offset: int) -> int:
        """Moves on to a position, unpacking everything before it."""
        self.unpacking.check_ratio(offset)
        if self.stream.seekable():
            self.position = self.stream.seek(offset)
        while self.position < offset:
            block = self.stream.read(min(_BLOCK, offset - self.position))
            if not block:
                break
            self.position += len(block)
            self.unpacking.report(Phase.READING_ARCHIVE, *self.unpacking.progress())
        return self.position

    def tell(self) -> int:
        """The number of bytes unpacked so far."""
        return self.position


def _quoted(name: str) -> str:
    return repr(name if len(name) <= 80 else f"{name[:77]}…")
