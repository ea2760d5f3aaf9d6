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
from genrecore.errors import GenrecoreError
from genrecore.store.locks import held
from genrecore.store.progress import Phase, Report, silent

ATTEMPTS = 5
"""Connections in a row that may fail without bringing at least `PROGRESS` bytes."""

PROGRESS = 2**20
_MIB = 2**20
_BLOCK = 2**18


@dataclass(frozen=True)
class Archive:
    """A published archive: the folder it unpacks to is named as the file without its ending.

    Attributes:
        name: File name.
        url: Address.
        size: Bytes, or None where only a rounded figure was published.
        sha1: 40 hexadecimal digits.
    """

    name: str
    url: str
    size: int | None
    sha1: str

    @property
    def folder(self) -> str:
        """Name of the folder it unpacks to."""
        return self.name.split(".")[0]


def obtain(
    archive: Archive,
    folder: Path,
    report: Report = silent,
    keep: bool = False,
    limits: archives.ArchiveLimits = archives.PUBLISHED,
) -> Path:
    """The unpacked archive in `folder`: downloaded, checked and unpacked unless it is there.

    Args:
        archive: What to fetch.
        folder: Where archive and unpacked folder go.
        report: Called with the progress; may raise `Stopped`, and the next call goes on.
        keep: Whether the archive stays beside the unpacked folder.
        limits: What it may unpack to.

    Raises:
        GenrecoreError: It cannot be fetched, is not what was published, or cannot be unpacked.
    """
    unpacked = folder / archive.folder
    if unpacked.is_dir():
        return unpacked
    file = fetch(archive.url, folder / archive.name, archive.size, archive.sha1, report)
    archives.extract(file, unpacked, report, limits, unwrap=True)
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
) -> Path:
    """The file `target` with the content of `url`, which must have this size and checksum.

    What arrives is kept in `<target>.part`, so that an interrupted download goes on where it broke
    off if the server can, and starts anew if not. A target that is there already is only checked.

    Args:
        url: An http or https address.
        target: Where the file goes; folders are made.
        size: Bytes, None where not known.
        sha1: 40 hexadecimal digits, None where not known.
        report: Called with the progress; may raise `Stopped`.
        pause_s: Seconds between one connection and the next.
        timeout_s: Seconds of silence after which a connection counts as broken.

    Raises:
        GenrecoreError: No network, a refusal by the server, a wrong length or checksum (what was
            fetched is removed then), a full disk, or another process that fetches the same.
    """
    if not url.startswith(("http://", "https://")):
        raise GenrecoreError(f"Only http and https addresses can be fetched, not {url}.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_file():
            _check(target, target, url, size, sha1, report, "delete it to fetch it again")
            return target
        lock = target.with_name(f".{target.name}.lock")
        with held(lock) as mine:
            if not mine:
                raise GenrecoreError(f"Another process is fetching {target} already.")
            try:
                part = target.with_name(f"{target.name}.part")
                _Download(url, target, part, size, report, pause_s, timeout_s).run()
                _check(part, target, url, size, sha1, report, "it was removed; fetch it again")
                os.replace(part, target)
            finally:
                lock.unlink(missing_ok=True)
    except OSError as error:
        what = error.strerror or str(error)
        raise GenrecoreError(f"{target} cannot be written: {what}.") from None
    return target


def _check(
    file: Path,
    target: Path,
    url: str,
    size: int | None,
    sha1: str | None,
    report: Report,
    advice: str,
) -> None:
    """Refuses a file of another size or checksum; a fetched one is removed."""
    found_size = file.stat().st_size
    if size is not None and found_size != size:
        problem = f"has {found_size:,} bytes; {size:,} were expected"
    else:
        found = _sha1(file, report) if sha1 else None
        if found == (sha1.lower() if sha1 else None):
            return
        problem = f"has the SHA-1 {found}; {sha1} was published"
    if file != target:
        file.unlink()
    raise GenrecoreError(f"{target.name} from {url} {problem}: {advice}.")


def _sha1(file: Path, report: Report) -> str:
    digest, done, total = hashlib.sha1(), 0, file.stat().st_size
    phase = Phase.CHECKING.on(file.name.removesuffix(".part"))
    with open(file, "rb") as stream:
        while block := stream.read(_MIB):
            digest.update(block)
            done += len(block)
            report(phase, done // _MIB, total // _MIB)
    return digest.hexdigest()


class _Again(Exception):
    """This connection failed in a way that the next one may not."""


# What a connection may fail with; a full disk is none of these.
_MAY_SUCCEED_AGAIN = (
    _Again,
    urllib.error.URLError,
    TimeoutError,
    ConnectionError,
    ssl.SSLError,
    http.client.HTTPException,
)


class _Download:
    """One file on its way, over as many connections as it takes."""

    def __init__(
        self,
        url: str,
        target: Path,
        part: Path,
        size: int | None,
        report: Report,
        pause_s: float,
        timeout_s: float,
    ) -> None:
        self.url, self.target, self.part, self.size = url, target, part, size
        self.report, self.pause_s, self.timeout_s = report, pause_s, timeout_s

    def run(self) -> None:
        """Leaves the whole file in `part`."""
        failures, reason, most = 0, "", self._have()
        while failures < ATTEMPTS:
            try:
                if self._connect(self._have()):
                    return
                reason = "the server broke off before the end"
            except _MAY_SUCCEED_AGAIN as error:
                reason = _reason(error)
            # A connection that brought something was worth it: long downloads break off often.
            failures = 0 if self._have() >= most + PROGRESS else failures + 1
            most = max(most, self._have())
            if failures < ATTEMPTS:
                self._wait()
        kept = (
            f" {self._have():,} bytes are kept and the next attempt goes on from there;"
            if self._have()
            else ""
        )
        raise GenrecoreError(
            f"{self.url} could not be fetched ({reason});{kept} without a network, fetch it "
            f"elsewhere and put it at {self.target}."
        )

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _wait(self) -> None:
        until = time.monotonic() + self.pause_s
        while time.monotonic() < until:
            self._tell(self._have(), self.size)
            time.sleep(min(0.1, self.pause_s))

    def _tell(self, done: int, total: int | None) -> None:
        self.report(Phase.FETCHING.on(self.target.name), done // _MIB, (total or 0) // _MIB)

    def _connect(self, have: int) -> bool:
        """Fetches what is missing over one connection; whether the file is complete then."""
        if self.size is not None and have > self.size:
            self.part.unlink()
            have = 0
        if have and have == self.size:
            return True
        self._tell(have, self.size)
        headers = {"User-Agent": f"genrecore/{__version__}", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        request = urllib.request.Request(self.url, headers=headers)
        try:
            response = urllib.request.urlopen(request, timeout=self.timeout_s)
        except urllib.error.HTTPError as error:
            with error:
                return self._answered(error, have)
        with response:
            offset, total = self._announced(response, have)
            return self._receive(response, offset, total)

    def _answered(self, error: urllib.error.HTTPError, have: int) -> bool:
        """What an error of the server means: start anew, try again, or give up."""
        if error.code == 416 and have:
            # "Not satisfiable": there is nothing after what we have. Whole, if so announced.
            total = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
            if total and int(total[1]) == have and self.size in (None, have):
                return True
            self.part.unlink()
            raise _Again("the server does not know the part that is missing")
        if error.code in (408, 425, 429) or error.code >= 500:
            raise _Again(f"the server answered {error.code} {error.reason}")
        raise GenrecoreError(
            f"The server answered {error.code} {error.reason} to {self.url}; fetch the file "
            f"elsewhere and put it at {self.target}."
        )

    def _announced(self, response: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
        """Where in the file the answer begins, and how long the file is by the server's word."""
        offset = 0
        given = response.headers.get("Content-Length", "")
        total = int(given) if given.isdecimal() else None
        if response.status == 206:
            pattern = r"bytes (\d+)-\d+/(\d+|\*)"
            found = re.fullmatch(pattern, response.headers.get("Content-Range", ""))
            if found is None or int(found[1]) != have:
                # Another part than the one asked for: nothing can be made of it.
                self.part.unlink(missing_ok=True)
                raise _Again("the server sent another part of the file than was asked for")
            offset = have
            total = int(found[2]) if found[2] != "*" else (total + have if total else None)
        if total is not None and self.size is not None and total != self.size:
            raise GenrecoreError(
                f"{self.url} announces {total:,} bytes; {self.size:,} were published, so it is not "
                "the same file and was not fetched."
            )
        expected = total if total is not None else self.size
        if expected is not None:
            free = shutil.disk_usage(self.target.parent).free
            if expected - offset > free:
                raise GenrecoreError(
                    f"{self.target.name} needs {words.size(expected - offset)}, but only "
                    f"{words.size(free)} are free at {self.target.parent}."
                )
        return offset, expected

    def _receive(self, response: http.client.HTTPResponse, offset: int, total: int | None) -> bool:
        """Appends what arrives; whether the file is complete then."""
        done = offset
        # A server that ignores the range sends everything: start anew.
        with open(self.part, "ab" if offset else "wb") as file:
            while block := response.read(_BLOCK):
                file.write(block)
                done += len(block)
                if total is not None and done > total:
                    break
                self._tell(done, total)
        if total is not None and done > total:
            self.part.unlink()
            raise GenrecoreError(
                f"{self.url} sent more than the {total:,} bytes it should have; what was fetched "
                "is removed."
            )
        return total is None or done == total


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
