"""Files that readers may poll: written under a temporary name, then renamed; and bounded reading.

What is read may have been cut, edited or copied from elsewhere. So only regular files are read, of
a bounded size, opened in a way that waits for nobody; and JSON is not nested without end.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, cast

import platformdirs

from genrecore.errors import GenrecoreError, describe
from genrecore.store.clocks import disk_time
from genrecore.words import thousands, visible_line

MOST_BYTES = 32 * 2**20
"""Of a file that is read as text: the longest history has a few MiB."""

_LEFT_AFTER_S = 3600.0
_PACKAGE = Path(__file__).resolve().parents[1]
_IN_WHEEL = _PACKAGE / "dashboard"  # where pyproject.toml puts app.py and pages/

MOST_NESTED = 32
"""Lists and objects inside one another in JSON; configurations have five."""


class Unreadable(GenrecoreError):
    """A file in the folder of a run, a plan or a task that is not what its reader expects.

    Attributes:
        path: The file.
        place: Where in it: a key, a line, a column; may be empty.
        reason: What was expected and found, without a full stop.
        noun: What the folder is: a run, a plan, a task, or the store.
    """

    def __init__(self, path: str | Path, place: str, reason: str, noun: str = "run") -> None:
        self.path, self.noun = Path(path), noun
        self.place, self.reason = visible_line(place), visible_line(reason.rstrip("."))
        where = f"{self.file}, at {self.place}" if place else self.file
        whole = f"The {noun} {self.name} cannot be read: {where}"
        if noun == "store":  # goes on without the file
            whole = f"The store's file cannot be read: {where}"
        super().__init__(f"{whole}: {self.reason}.")

    @property
    def folder(self) -> Path:
        """The folder that holds the file."""
        return self.path.parent

    @property
    def name(self) -> str:
        """The folder's name: the id of the run. What cannot be shown of it is escaped."""
        return visible_line(self.folder.name)

    @property
    def file(self) -> str:
        """The file's name."""
        return visible_line(self.path.name)


def checkout() -> Path | None:
    """The top of the checkout that this package is part of; None of one installed from a wheel."""
    return None if _IN_WHEEL.is_dir() else _PACKAGE.parent


def app_dir() -> Path:
    """The folder of the dashboard's `app.py`, `pages/` and `.streamlit/`."""
    return checkout() or _IN_WHEEL


def cache_dir() -> Path:
    """Folder of corpora, features, tasks and uploads: `GENRECORE_CACHE` or the user's cache."""
    chosen = os.environ.get("GENRECORE_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return platformdirs.user_cache_path("genrecore")


def digest(value: Any) -> str:
    """Sixteen hex digits that name a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """The SHA-256 checksum of a file, 64 hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_regular_file(path: str) -> bool:
    """Whether there is a regular file, behind links too. Files of the kernel look like regular
    ones, but reading them may never end, so they are none."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError):  # a NUL in the name
        return False
    return stat.S_ISREG(facts.st_mode) and facts.st_dev not in _kernel_devices()


@cache
def _kernel_devices() -> frozenset[int]:
    return frozenset(os.stat(path).st_dev for path in ("/proc", "/sys") if os.path.isdir(path))


def _descriptor(path: str | Path, noun: str) -> tuple[int, int]:
    """An open descriptor of a regular file, and its size in bytes."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(str(path)) from None
    except (OSError, ValueError) as error:  # a NUL in the name
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Unreadable(path, "", reason, noun) from None
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode) or facts.st_dev in _kernel_devices():
        os.close(descriptor)
        raise Unreadable(path, "", "it is no regular file", noun)
    return descriptor, facts.st_size


def open_regular(path: str | Path, noun: str = "run") -> BinaryIO:
    """A regular file, also one behind a link, opened for reading without waiting.

    Raises:
        FileNotFoundError: There is nothing.
        Unreadable: It is something else, or may not be read.
    """
    return os.fdopen(_descriptor(path, noun)[0], "rb", buffering=0)


def open_named(path: str | Path, name: str = "") -> BinaryIO:
    """A regular file that somebody named, opened as by `open_regular`.

    Args:
        path: The file.
        name: What sentences call it; by default its path.

    Raises:
        GenrecoreError: There is none, it is something else, or it may not be read.
    """
    try:
        return io.BufferedReader(cast(io.RawIOBase, open_regular(Path(path))))
    except FileNotFoundError:
        raise GenrecoreError(f"There is no file {path}.") from None
    except Unreadable as error:
        raise GenrecoreError(f"{name or path} cannot be read: {error.reason}.") from None


def read_bytes(path: str | Path, most: int = MOST_BYTES, noun: str = "run") -> bytes:
    """The content of a regular file of at most so many bytes.

    Raises:
        FileNotFoundError: There is nothing.
        Unreadable: It is no such file, or reading fails.
    """
    descriptor, n_bytes = _descriptor(path, noun)
    try:
        if n_bytes > most:
            expected = f"it has {thousands(n_bytes)} bytes; expected at most {thousands(most)}"
            raise Unreadable(path, "", expected, noun)
        content = os.read(descriptor, n_bytes + 1)
        while 0 < len(content) < n_bytes and (part := os.read(descriptor, n_bytes)):
            content += part  # a file system may give less at a time
        return content
    except OSError as error:
        raise Unreadable(path, "", error.strerror or str(error), noun) from None
    finally:
        os.close(descriptor)


_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")
_ODD_ESCAPE = re.compile(rb"\\u(0000|[dD][89a-fA-F])")
_ODD = re.compile("[\0\ud800-\udfff]")


def is_nested_deep(content: bytes) -> bool:
    """Whether JSON has more than `MOST_NESTED` lists and objects inside one another."""
    if content.count(b"{") + content.count(b"[") <= MOST_NESTED:
        return False
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", content)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MOST_NESTED:
            return True
    return False


def parsed_json(content: bytes, strict: bool = True) -> Any:
    """The value that JSON holds.

    Texts may hold what none can: halves of characters, which cannot be written, and zeros, which no
    path may have.

    Args:
        content: Of a file or a part of one.
        strict: Whether such texts are refused; else those characters are left out.

    Raises:
        ValueError: It is no JSON, or nested without end.
    """
    if is_nested_deep(content):
        raise ValueError(f"it has more than {MOST_NESTED} lists inside one another")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if _ODD_ESCAPE.search(content):
        cleaned = _without_odd(value)
        if strict and cleaned != value:
            raise ValueError("a text holds a zero or half a character")
        return cleaned
    return value


def _without_odd(value: Any) -> Any:
    """The value, characters that no text can hold left out."""
    if isinstance(value, str):
        return _ODD.sub("", value)
    if isinstance(value, dict):
        return {_ODD.sub("", key): _without_odd(item) for key, item in value.items()}
    return [_without_odd(item) for item in value] if isinstance(value, list) else value


@contextlib.contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """A hidden folder to fill, which becomes `final` at the end of the block.

    So nobody sees half of it. Nothing is left of it if the block fails.
    """
    hidden = final.with_name(f".new-{final.name}-{os.getpid()}-{threading.get_ident()}")
    try:
        hidden.mkdir(parents=True)
        yield hidden
        hidden.rename(final)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise


@contextlib.contextmanager
def in_a_sentence(refusal: str) -> Iterator[None]:
    """Turns an error of the disk inside, or in the function it decorates, into one for people:
    `REFUSAL: The disk is full.`"""
    try:
        yield
    except OSError as error:
        raise GenrecoreError(f"{refusal}: {describe(error)}") from None


def leftovers(folder: Path) -> list[Path]:
    """Hidden folders that `new_folder` made there and whose process ended before they were
    filled: those that nothing was put into for an hour."""
    with contextlib.suppress(OSError):
        now = disk_time(folder)
        return [
            path
            for path in folder.iterdir()
            if path.name.startswith(".new-") and now - path.stat().st_mtime > _LEFT_AFTER_S
        ]
    return []


@contextlib.contextmanager
def output_folder(folder: Path, content: str) -> Iterator[Path]:
    """A folder for files that somebody asked for, absolute and created where missing.

    Raises:
        GenrecoreError: It, or a file in it, cannot be written: "FOLDER cannot take the CONTENT".
    """
    target = folder.expanduser().absolute()
    try:
        target.mkdir(parents=True, exist_ok=True)
        yield target
    except OSError as error:
        raise GenrecoreError(f"{folder} cannot take the {content}: {describe(error)}") from None


def write_bytes(
    path: Path, content: bytes | memoryview, before: Callable[[], object] | None = None
) -> None:
    """Writes under a temporary name and renames, so that a reader sees the old file or the new.

    `before` is called before the renaming; where it raises an error, the old file stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        temporary.write_bytes(content)
        if before:
            before()
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode())


def write_mark(path: Path, value: Any) -> None:
    """`write_json` of a file that says something by being there: an empty one on a full disk."""
    try:
        write_json(path, value)
    except OSError:
        path.touch()


def write_json(path: Path, value: Any) -> None:
    """`write_text` of indented JSON."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file, or an empty one where there is no readable file.

    For caches and settings, which do without; the files of runs are read by `records`.
    """
    try:
        value = parsed_json(read_bytes(path), strict=False)
    except (OSError, GenrecoreError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def changed(path: Path) -> tuple[int, int]:
    """(time of change in ns, size) of a file; zeros where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size
