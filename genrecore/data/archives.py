"""Zip and tar archives unpacked without trusting them.

Nothing leaves the target folder, nothing but plain files and folders is made, what comes out is
bounded while it is written (sizes in headers are only claims), and the target appears complete or
not at all.
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
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

from genrecore import words
from genrecore.errors import GenrecoreError
from genrecore.store.progress import Phase, Report, silent

GIB = 2**30


@dataclass(frozen=True)
class ArchiveLimits:
    """What an archive may unpack to.

    Attributes:
        n_files: Files and folders.
        total_bytes: Of all files together.
        ratio: Of what comes out to the archive's own size.
    """

    n_files: int
    total_bytes: int
    ratio: float


UPLOAD = ArchiveLimits(n_files=20_000, total_bytes=20 * GIB, ratio=100.0)
"""For archives of strangers: twenty times GTZAN. Music hardly shrinks, tables by ten, silence and
flat images by a hundred at most; a bomb of deflate alone reaches 1 000."""

PUBLISHED = ArchiveLimits(n_files=500_000, total_bytes=1_500 * GIB, ratio=100.0)
"""For archives whose checksum was published: FMA-full is 106 574 files, 879 GiB."""

SMALL = 16 * 2**20
"""The ratio does not matter for what unpacks to less: a few text files may shrink by any factor."""

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
    """The folder `target` with the archive's files, made in one go: a stop leaves nothing.

    Args:
        archive: A zip, or a tar that may be packed with gzip, bzip2 or xz; the content decides.
        target: A folder that is not there yet.
        report: Called with files so far and in all; may raise `Stopped`.
        limits: What it may unpack to.
        unwrap: Whether a single folder that holds everything becomes the target itself.

    Raises:
        GenrecoreError: Not such an archive, damaged or encrypted; a path that leaves the folder, a
            link or a device in it; too many files, too much data or too little of it packed; the
            target is there already or cannot be written.
    """
    if target.exists():
        raise GenrecoreError(f"There is something at {target} already; nothing was unpacked.")
    temporary: Path | None = None
    try:
        with open(archive, "rb") as raw:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
            _Unpacking(archive, raw, temporary, report, limits).run()
        found = temporary
        if unwrap:
            inside = list(temporary.iterdir())
            found = inside[0] if len(inside) == 1 and inside[0].is_dir() else temporary
        found.chmod(0o755)  # mkdtemp's folders are closed to everybody else
        found.rename(target)
    except FileNotFoundError as error:
        raise GenrecoreError(f"There is no file {error.filename or archive}.") from None
    except _DAMAGE as error:
        what = str(error).strip().split("\n")[0].rstrip(".")
        raise GenrecoreError(
            f"{archive.name} is damaged and cannot be unpacked: {what or type(error).__name__}."
        ) from None
    except OSError as error:
        raise GenrecoreError(
            f"{archive.name} could not be unpacked into {target.parent}: {error.strerror or error}."
        ) from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
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
    """One archive on its way into a folder, with the count of what came out so far."""

    def __init__(
        self, archive: Path, raw: IO[bytes], folder: Path, report: Report, limits: ArchiveLimits
    ) -> None:
        self.name, self.raw, self.folder = archive.name, raw, folder
        self.report, self.limits = report, limits
        self.packed_bytes = os.fstat(raw.fileno()).st_size
        self.n_entries = self.n_files = self.n_files_total = self.n_bytes = 0

    def run(self) -> None:
        """Unpacks everything."""
        start = self.raw.read(6)
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
                content = None if entry.is_dir() else self._open(archive, entry)
                self._make(entry.filename, content)

    def _open(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> IO[bytes]:
        try:
            return archive.open(entry)
        except NotImplementedError:
            self._refuse("is packed by a method that is not supported; use deflate")

    def _tar(self, start: bytes) -> None:
        unpacked = next((open_(self.raw) for magic, open_ in _PACKERS if start[:3] == magic), None)
        bounded: Any = _Bounded(unpacked or self.raw, self)
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
        """Makes a file with this content, or a folder where there is none."""
        path = self._path(name)
        try:
            (path if content is None else path.parent).mkdir(parents=True, exist_ok=True)
            if content is None:
                return
            if path == self.folder:
                self._refuse("holds a file without a name")
            # Nothing is followed or overwritten; bits of mode and owner are not taken over.
            with content, open(path, "xb") as file:
                while block := content.read(_BLOCK):
                    self.n_bytes += len(block)
                    self._check_amount(self.n_entries, self.n_bytes)
                    file.write(block)
                    self.report(Phase.UNPACKING, self.n_files, self.n_files_total)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            shown = _shown(path.relative_to(self.folder).as_posix())
            self._refuse(f"holds {shown} twice, or as a file and as a folder")
        self.n_files += 1
        self.report(Phase.UNPACKING, self.n_files, self.n_files_total)

    def _path(self, name: str) -> Path:
        """Where an entry goes: inside the folder, or refused."""
        self.n_entries += 1
        self._check_amount(self.n_entries, self.n_bytes)
        parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
        absolute = name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":")
        if absolute or ".." in parts:
            self._refuse(f"holds the path {_shown(name)}, which leads out of its folder")
        if "\0" in name or len(name) > _LONGEST_PATH:
            self._refuse(f"holds a path that no file can have ({_shown(name)})")
        return self.folder.joinpath(*parts)

    def _check_amount(self, n_entries: int, n_bytes: int) -> None:
        """Refuses what is beyond the limits, claimed or already there."""
        limits = self.limits
        if n_entries > limits.n_files:
            self._refuse(f"holds more than {limits.n_files:,} files, the most that are unpacked")
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
        what = "a link" if link else "neither a file nor a folder"
        self._refuse(f"holds {_shown(name)}, which is {what}; only plain files are unpacked")

    def _refuse(self, what: str) -> NoReturn:
        raise GenrecoreError(f"The archive {self.name} {what}.")


class _Bounded:
    """The unpacked bytes of a tar: counted as they pass, and never a huge header at once.

    tarfile's own filter for archives of strangers (`data`) bounds neither, and lets links through.
    """

    def __init__(self, stream: IO[bytes], unpacking: _Unpacking) -> None:
        self.stream, self.unpacking = stream, unpacking

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes."""
        if not 0 <= size <= _LARGEST_HEADER:
            raise tarfile.ReadError("a header claims to be larger than any name")
        block = self.stream.read(size)
        self.unpacking.check_ratio(self.stream.tell())
        return block

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to a position, which unpacks what lies before it."""
        position = self.stream.seek(offset, whence)
        self.unpacking.check_ratio(position)
        return position

    def tell(self) -> int:
        """Bytes unpacked so far."""
        return self.stream.tell()


_PACKERS: tuple[tuple[bytes, Callable[[IO[bytes]], Any]], ...] = (
    (b"\x1f\x8b\x08", lambda raw: gzip.GzipFile(fileobj=raw)),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7z", lzma.LZMAFile),
)


def _shown(name: str) -> str:
    return repr(name if len(name) <= 80 else f"{name[:77]}…")
