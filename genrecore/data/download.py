"""Files fetched over HTTP: resumed where they broke off, checked, and named only when complete."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from genrecore import __version__, words
from genrecore.data import archives
from genrecore.errors import GenrecoreError, describe
from genrecore.store.locks import held
from genrecore.store.progress import Phase, Report, silent
from genrecore.store.web import open_url

ATTEMPTS = 5
"""Connections in a row that may fail without bringing at least `PROGRESS` bytes."""

PROGRESS = 2**20
_MIB = 2**20
_BLOCK = 2**18


@dataclass(frozen=True)
class Archive:
    """A published archive; it unpacks to a folder with the file's name without its extension."""

    name: str
    url: str
    size: int | None  # bytes; None where only a rounded figure was published
    sha1: str  # 40 hexadecimal digits
    most_bytes: int | None = None  # where the size is not known exactly
    hosts: tuple[str, ...] = ()  # to which its server may redirect, over https

    @property
    def folder(self) -> str:
        """Name of the folder it unpacks to."""
        return self.name.split(".")[0]


def obtain(archive: Archive, folder: Path, report: Report = silent, keep: bool = False) -> Path:
    """Downloads, checks and unpacks an archive below `folder` unless its unpacked folder exists.

    `keep` leaves the archive beside the unpacked folder. After a `Stopped` raised by `report`, the
    next call resumes the download.

    Raises:
        GenrecoreError: It cannot be fetched, is not what was published, or cannot be unpacked.
    """
    unpacked = folder / archive.folder
    if unpacked.is_dir():
        return unpacked
    file = fetch(
        archive.url, folder / archive.name, archive.size, archive.sha1, report,
        most_bytes=archive.most_bytes, hosts=archive.hosts,
    )  # fmt: skip
    archives.extract(file, unpacked, report, archives.PUBLISHED, unwrap=True)
    if not keep:
        file.unlink()
    return unpacked


def fetch(
    url: str,
    target: Path,
    size: int | None = None,
    sha1: str | None = None,
    report: Report = silent,
    *,
    pause_s: float = 2.0,
    timeout_s: float = 30.0,
    most_bytes: int | None = None,
    hosts: tuple[str, ...] = (),
) -> Path:
    """Fetches `url` into the file `target`, which must have this size and SHA-1 where known.

    What has arrived is kept in `<target>.part`; an interrupted download resumes there if the server
    supports it and starts again if not. A target that exists already is only checked.

    Args:
        url: An http or https address.
        target: Where the file goes; missing folders are made.
        size: In bytes.
        sha1: 40 hexadecimal digits.
        report: Called with the progress; may raise `Stopped`.
        pause_s: Seconds between one connection and the next.
        timeout_s: Seconds of silence after which a connection counts as broken.
        most_bytes: The most that is fetched where the size is not known.
        hosts: To which the server may redirect, over https, besides itself.

    Raises:
        GenrecoreError: No network, a refusal by the server, a redirect to another host, a wrong
            length or checksum (the download is removed then), a full disk, or another process that
            fetches the same file.
    """
    if not url.startswith(("http://", "https://")):
        raise GenrecoreError(f"Only http and https addresses can be fetched, not {url}.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_file():
            if problem := _problem(target, size, sha1, report):
                raise GenrecoreError(
                    f"{target.name} from {url} {problem}: delete it to fetch it again."
                )
            return target
        lock = target.with_name(f".{target.name}.lock")
        with held(lock) as is_mine:
            if not is_mine:
                raise GenrecoreError(f"Another process is fetching {target} already.")
            try:
                download = _Download(
                    url, target, size, report, pause_s, timeout_s, most_bytes, hosts
                )
                download.run()
                if problem := _problem(download.part, size, sha1, report):
                    download.part.unlink()
                    raise GenrecoreError(
                        f"{target.name} from {url} {problem}: it was removed; fetch it again."
                    )
                os.replace(download.part, target)
            finally:
                lock.unlink(missing_ok=True)
    except OSError as error:
        raise GenrecoreError(f"{target} cannot be written: {describe(error)}") from None
    return target


def _problem(file: Path, size: int | None, sha1: str | None, report: Report) -> str:
    """How a file differs from the expected size and checksum, as half a sentence; or nothing."""
    n_bytes = file.stat().st_size
    if size is not None and n_bytes != size:
        return f"has {words.plural(n_bytes, 'byte')}; {words.thousands(size)} were expected"
    if not sha1:
        return ""
    digest = hashlib.sha1()
    phase = Phase.CHECKING.on(file.name.removesuffix(".part"))
    with open(file, "rb") as stream:
        while block := stream.read(_MIB):
            digest.update(block)
            report(phase, stream.tell() // _MIB, n_bytes // _MIB)
    if digest.hexdigest() == sha1.lower():
        return ""
    return f"has the SHA-1 {digest.hexdigest()}; {sha1} was published"


class _ConnectionFailed(Exception):
    """A connection failed in a way that the next one may not."""


@dataclass
class _Download:
    """One file, fetched over as many connections as it takes."""

    url: str
    target: Path
    size: int | None
    report: Report
    pause_s: float
    timeout_s: float
    most_bytes: int | None
    hosts: tuple[str, ...]

    @property
    def part(self) -> Path:
        """The file that grows."""
        return self.target.with_name(f"{self.target.name}.part")

    def run(self) -> None:
        """Leaves the whole file in `part`."""
        n_failures, reason, most = 0, "", self._n_bytes()
        while n_failures < ATTEMPTS:
            try:
                if self._connect(self._n_bytes()):
                    return
                reason = "the server broke off before the end"
            # A full disk is an OSError too, but none of these.
            except (
                _ConnectionFailed,
                urllib.error.URLError,
                TimeoutError,
                ConnectionError,
                ssl.SSLError,
                http.client.HTTPException,
            ) as error:
                reason = _reason(error)
            # Long downloads break off often: a connection that brought something is no failure.
            n_failures = 0 if self._n_bytes() >= most + PROGRESS else n_failures + 1
            most = max(most, self._n_bytes())
            if n_failures < ATTEMPTS:
                until = time.monotonic() + self.pause_s
                while time.monotonic() < until:
                    self._show(self._n_bytes(), self.size)
                    time.sleep(min(0.1, self.pause_s))
        n_bytes = self._n_bytes()
        resume_note = (
            f" {words.thousands(n_bytes)} bytes are kept and the next attempt resumes there;"
            if n_bytes
            else ""
        )
        raise GenrecoreError(
            f"{self.url} could not be fetched ({reason});{resume_note} without a network, fetch it "
            f"elsewhere and put it at {self.target}."
        )

    def _n_bytes(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _show(self, done: int, total: int | None) -> None:
        self.report(Phase.FETCHING.on(self.target.name), done // _MIB, (total or 0) // _MIB)

    def _connect(self, start: int) -> bool:
        """Fetches what is missing over one connection; whether the file is complete then."""
        if self.size is not None and start > self.size:
            self.part.unlink()
            start = 0
        if start and start == self.size:
            return True
        self._show(start, self.size)
        headers = {"User-Agent": f"genrecore/{__version__}", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        request = urllib.request.Request(self.url, headers=headers)
        try:
            with open_url(request, self.hosts, self.timeout_s) as response:
                if response.status != 206:
                    start = 0  # a server that ignores the range sends everything
                total = self._announced_size(response, start)
                return self._receive(response, start, total)
        except urllib.error.HTTPError as error:
            code, reason, content_range = error.code, error.reason, error.headers["Content-Range"]
            error.close()
        if code == 416 and start:
            # "Range not satisfiable": nothing follows what we have. So it may be complete.
            if content_range == f"bytes */{start}" and self.size in (None, start):
                return True
            self.part.unlink()
            raise _ConnectionFailed("the server does not know the part that is missing")
        if code in (408, 425, 429) or code >= 500:
            raise _ConnectionFailed(f"the server answered {code} {reason}")
        raise GenrecoreError(
            f"The server answered {code} {reason} to {self.url}; fetch the file elsewhere and put "
            f"it at {self.target}."
        )

    def _announced_size(self, response: http.client.HTTPResponse, start: int) -> int | None:
        """The size of the whole file in bytes, as the server announces it, else as published."""
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdecimal() else None
        if response.status == 206:
            header = response.headers.get("Content-Range", "")
            match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", header)
            if match is None or int(match[1]) != start:
                self.part.unlink(missing_ok=True)
                raise _ConnectionFailed("the server sent another part of the file than asked for")
            if match[2] != "*":
                total = int(match[2])
        if total is None:
            total = self.size
        elif self.size not in (None, total):
            raise GenrecoreError(
                f"{self.url} announces {words.thousands(total)} bytes; "
                f"{words.thousands(self.size)} were published, so it is not the same file and was "
                "not fetched."
            )
        self._refuse_more(total or start)
        free = shutil.disk_usage(self.target.parent).free
        if total is not None and total - start > free:
            raise GenrecoreError(
                f"{self.target.name} needs {words.size(total - start)}, but only "
                f"{words.size(free)} are free at {self.target.parent}."
            )
        return total

    def _refuse_more(self, n_bytes: int) -> None:
        """Refuses more than a file whose size is not known may have."""
        if self.size is None and self.most_bytes is not None and n_bytes > self.most_bytes:
            self.part.unlink(missing_ok=True)
            raise GenrecoreError(
                f"{self.url} has more than {words.size(self.most_bytes)}, the most that was "
                "published; what was fetched is removed."
            )

    def _receive(self, response: http.client.HTTPResponse, done: int, total: int | None) -> bool:
        """Appends what arrives; whether the file is complete then."""
        with open(self.part, "ab" if done else "wb") as file:
            while block := _read(response):
                file.write(block)
                done += len(block)
                self._refuse_more(done)
                if total is not None and done > total:
                    self.part.unlink()
                    raise GenrecoreError(
                        f"{self.url} sent more than the {words.thousands(total)} bytes it should "
                        "have; what was fetched is removed."
                    )
                self._show(done, total)
        return total is None or done == total


def _read(response: http.client.HTTPResponse) -> bytes:
    """The next block; another connection mends its errors, but not those of the disk."""
    try:
        return response.read(_BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise _ConnectionFailed(_reason(error)) from None


def _reason(error: object) -> str:
    """Why a connection failed, as half a sentence."""
    if isinstance(error, urllib.error.URLError):
        error = error.reason
    if isinstance(error, TimeoutError):
        return "the server fell silent"
    if isinstance(error, http.client.IncompleteRead):
        return "the server broke off before the end"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return (str(error) or type(error).__name__).rstrip(".")
