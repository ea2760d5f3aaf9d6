"""Zip and tar archives unpacked without trusting them.

Nothing is written outside the target folder and only plain files and folders are made. Sizes are
bounded while files are written, since headers only claim them.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

from genrecore import words
from genrecore.errors import GenrecoreError, describe, first_line
from genrecore.store.files import new_folder
from genrecore.store.progress import Phase, Report, silent

GIB = 2**30


@dataclass(frozen=True)
class ArchiveLimits:
    """The most that an archive may unpack to."""

    n_files: int  # files and folders
    total_bytes: int
    ratio: float  # unpacked bytes to the archive's own size


UPLOAD = ArchiveLimits(n_files=20_000, total_bytes=20 * GIB, ratio=100.0)
"""For archives of strangers: twenty times GTZAN. Music hardly shrinks, tables shrink tenfold,
silence and flat images a hundredfold at most; a bomb made by deflate alone reaches 1,000."""

PUBLISHED = ArchiveLimits(n_files=500_000, total_bytes=1_500 * GIB, ratio=100.0)
"""For archives whose checksum was published: FMA-full is 106,574 files, 879 GiB."""

SMALL = 16 * 2**20
"""The ratio is not checked below this size: a few text files may shrink by any factor."""

_BLOCK = 2**20
_LONGEST_PATH = 1_000  # characters; beyond, file systems and players give up anyway
_LARGEST_HEADER = 4 * 2**20  # a tar header may hold long names, and claim to hold terabytes


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
            link or a device in it; too many files, too much data or suspiciously well packed data;
            the target exists or cannot be written.
    """
    if target.exists():
        raise GenrecoreError(f"There is something at {target} already; nothing was unpacked.")
    try:
        with open(archive, "rb") as raw, new_folder(target) as folder:
            _Unpacking(archive, raw, folder, report, limits).run()
            inside = list(folder.iterdir())
            if unwrap and len(inside) == 1 and inside[0].is_dir():
                only = inside[0].rename(folder.with_name(f"{folder.name}-only"))
                folder.rmdir()
                only.rename(folder)
    except FileNotFoundError as error:
        raise GenrecoreError(f"There is no file {error.filename or archive}.") from None
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


# What the standard library raises over damaged archives (gzip's is an OSError, hence first).
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,  # UnicodeError among them
)


class _Unpacking:
    """Unpacks one archive into a folder and counts what has come out so far."""

    def __init__(
        self, archive: Path, raw: IO[bytes], folder: Path, report: Report, limits: ArchiveLimits
    ) -> None:
        self.name, self.raw, self.folder = archive.name, raw, folder
        self.report, self.limits = report, limits
        self.packed_bytes = os.fstat(raw.fileno()).st_size
        self.n_entries = self.n_files = self.n_files_total = self.n_bytes = 0

    def run(self) -> None:
        """Unpacks everything."""
        start = self.raw.read(3)
        self.raw.seek(0)
        # Not is_zipfile(), which also believes in a zip at the end of a tar.
        if start.startswith(b"PK"):
            self._zip()
        else:
            self._tar(start)
        if not self.n_files:
            self._refuse("holds no files")

    def _zip(self) -> None:
        with zipfile.ZipFile(self.raw) as archive:
            entries = archive.infolist()
            claimed = sum(entry.file_size for entry in entries)
            self._check_amount(len(entries), claimed)
            free = shutil.disk_usage(self.folder).free
            if claimed > free:
                self._refuse(
                    f"unpacks to {words.size(claimed)}, but only {words.size(free)} are free at "
                    f"{self.folder.parent}"
                )
            self.n_files_total = sum(not entry.is_dir() for entry in entries)
            for entry in entries:
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    self._refuse_special(entry.filename, kind == stat.S_IFLNK)
                if entry.flag_bits & 0x1:
                    self._refuse("is encrypted; unpack it yourself and give the folder")
                try:
                    content = None if entry.is_dir() else archive.open(entry)
                except NotImplementedError:
                    self._refuse("is packed by a method that is not supported; use deflate")
                self._make(entry.filename, content)

    def _tar(self, start: bytes) -> None:
        unpacked: Any = self.raw
        if start == b"\x1f\x8b\x08":
            unpacked = gzip.GzipFile(fileobj=self.raw)
        elif start == b"BZh":
            unpacked = bz2.BZ2File(self.raw)
        elif start == b"\xfd7z":
            unpacked = lzma.LZMAFile(self.raw)  # noqa: SIM115
        bounded: Any = _Bounded(unpacked, self)
        try:
            archive = tarfile.open(fileobj=bounded, mode="r:")  # noqa: SIM115  closed below
        except (tarfile.ReadError, EOFError, zlib.error, lzma.LZMAError):
            self._refuse("is neither a zip nor a tar archive, or damaged at its beginning")
        with archive:
            for entry in archive:
                if not (entry.isreg() or entry.isdir()):
                    self._refuse_special(entry.name, entry.issym() or entry.islnk())
                self._check_amount(self.n_entries, self.n_bytes + entry.size)
                self._make(entry.name, archive.extractfile(entry))

    def _make(self, name: str, content: IO[bytes] | None) -> None:
        """Makes a file with this content, or a folder without any."""
        path = self._path(name)
        try:
            (path if content is None else path.parent).mkdir(parents=True, exist_ok=True)
            if content is None:
                return
            if path == self.folder:
                self._refuse("holds a file without a name")
            # Follows and overwrites nothing, and takes over no mode or owner.
            with content, open(path, "xb") as file:
                while block := content.read(_BLOCK):
                    self.n_bytes += len(block)
                    self._check_amount(self.n_entries, self.n_bytes)
                    file.write(block)
                    self.report(Phase.UNPACKING, self.n_files, self.n_files_total)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            entry_name = _quoted(path.relative_to(self.folder).as_posix())
            self._refuse(f"holds {entry_name} twice, or as a file and as a folder")
        self.n_files += 1
        self.report(Phase.UNPACKING, self.n_files, self.n_files_total)

    def _path(self, name: str) -> Path:
        """The path of an entry, refused unless it lies inside the folder."""
        self.n_entries += 1
        self._check_amount(self.n_entries, self.n_bytes)
        parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
        absolute = name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":")
        if absolute or ".." in parts:
            self._refuse(f"holds the path {_quoted(name)}, which leads out of its folder")
        if "\0" in name or len(name) > _LONGEST_PATH:
            self._refuse(f"holds a path that no file can have ({_quoted(name)})")
        return self.folder.joinpath(*parts)

    def _check_amount(self, n_entries: int, n_bytes: int) -> None:
        """Refuses amounts beyond the limits, claimed or unpacked."""
        limits = self.limits
        if n_entries > limits.n_files:
            most = words.thousands(limits.n_files)
            self._refuse(f"holds more than {most} files, the most that are unpacked")
        if n_bytes > limits.total_bytes:
            most = words.size(limits.total_bytes)
            self._refuse(f"unpacks to more than {most}, the most that is unpacked")
        self.check_ratio(n_bytes)

    def check_ratio(self, n_bytes: int) -> None:
        """Refuses more bytes than a packed archive of this size can honestly hold."""
        if n_bytes > max(SMALL, self.limits.ratio * self.packed_bytes):
            self._refuse(
                f"unpacks to more than {self.limits.ratio:g} times its own size "
                f"({words.size(self.packed_bytes)}), as only archives made to do harm do"
            )

    def _refuse_special(self, name: str, link: bool) -> NoReturn:
        kind = "a link" if link else "neither a file nor a folder"
        self._refuse(f"holds {_quoted(name)}, which is {kind}; only plain files are unpacked")

    def _refuse(self, problem: str) -> NoReturn:
        raise GenrecoreError(f"The archive {self.name} {problem}.")


class _Bounded:
    """The unpacked bytes of a tar, counted as they pass, with headers of bounded size.

    tarfile's own filter for untrusted archives (`data`) bounds neither, lets links within the
    folder through and unpacks absolute paths after cutting off their beginning.
    """

    def __init__(self, stream: IO[bytes], unpacking: _Unpacking) -> None:
        self.stream, self.unpacking = stream, unpacking

    def read(self, size: int = -1) -> bytes:
        """Reads at most `size` bytes."""
        if not 0 <= size <= _LARGEST_HEADER:
            raise tarfile.ReadError("a header claims to be larger than any name")
        block = self.stream.read(size)
        self.unpacking.check_ratio(self.stream.tell())
        return block

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to a position, unpacking everything before it."""
        position = self.stream.seek(offset, whence)
        self.unpacking.check_ratio(position)
        return position

    def tell(self) -> int:
        """The number of bytes unpacked so far."""
        return self.stream.tell()


def _quoted(name: str) -> str:
    return repr(name if len(name) <= 80 else f"{name[:77]}…")
