"""The file of a library's results: JSON lines to work on, and the tables that are made of them.

The first line says what made the others, which are only appended; the last line of a path counts.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from genrecore.errors import GenrecoreError, UsageError, describe
from genrecore.store.files import is_regular_file, open_named
from genrecore.store.locks import NoLocks, take_lock
from genrecore.words import NOT_SURE, listed, percent, sheet_text

FORMS = ("csv", "jsonl", "parquet")
"""What the results are written as: a table, JSON lines, a table for programs."""

MARK = "genrecore_library"  # the first key of a working file
VERSION = 1
_ROWS = 1_000  # of a Parquet file that are in memory at a time


def read_results(out: str | Path) -> Iterator[dict[str, Any]]:
    """The results in a file of `library.classify_library`, by path: those of `--json`, or `error`.

    Raises:
        GenrecoreError: There is no such file, or it is none.
    """
    with _opened(out) as lines:
        yield from lines.standing()


def table(out: str | Path) -> pd.DataFrame:
    """The results in a file of `library.classify_library` as a table, a row a recording, as its
    CSV; errors as of `read_results`."""
    with _opened(out) as lines:
        return pd.DataFrame(map(row, lines.standing()), columns=[*_columns(lines)])


@contextlib.contextmanager
def _opened(out: str | Path) -> Iterator[WorkingFile]:
    out = Path(os.path.abspath(out))
    beside = working_file(out, "csv")
    working = beside if beside.exists() else out
    with open_named(working) as stream:
        lines = WorkingFile(working, stream)
        if not lines.header:
            raise GenrecoreError(f"{working} holds no results of a library.")
        yield lines


def working_file(out: Path, form: str) -> Path:
    """The file in which is kept what is done."""
    return out if form == "jsonl" else out.with_name(f"{out.name}.jsonl")


def row(result: dict[str, Any]) -> dict[str, Any]:
    """A result as a row of a table: `path, genre, proba, p_<genre>…`; of several runs these are the
    average, and each run's genre stands in `genre_<run>`."""
    cells: dict[str, Any] = {"path": _writable(result["path"])}
    cells["genre"] = result.get("genre")
    proba = result.get("proba", {})
    if "answer" in result:
        cells["answer"] = result["answer"] or NOT_SURE
    cells["proba"] = proba.get(cells["genre"])
    for run in result.get("runs", []):
        cells[f"genre_{run['run']}"] = run["genre"]
    cells |= {f"p_{genre}": p for genre, p in proba.items()}
    cells |= {name: timing(result, name) for name in ("duration_s", "start_s", "judged_s")}
    cells["doubts"] = ", ".join(doubt["kind"] for doubt in result.get("doubts", []))
    cells["warning"] = result.get("warning", "")
    cells["error"] = _writable(result.get("error", ""))
    return cells


def answer_of(result: dict[str, Any]) -> str | None:
    """The genre that a result names; None where it is not sure, or names none."""
    return result["answer"] if "answer" in result else result.get("genre")


def timing(result: dict[str, Any], name: str) -> float | None:
    """`duration_s`, `start_s` or `judged_s` of a result; of several runs that of the first."""
    timed = result if name in result else next(iter(result.get("runs", [])), {})
    return timed.get(name)


def form_of(out: Path, form: str) -> str:
    form = form or out.suffix.lower().lstrip(".")
    if form not in FORMS:
        raise UsageError(
            f"{out.name} does not say what to write; end it in {listed(FORMS, 'or')}, or say so "
            "with --as."
        )
    if out.is_dir():
        raise UsageError(f"{out} is a folder; name a file, such as {out / 'genres'}.{form}.")
    if not out.parent.is_dir():
        raise UsageError(f"There is no folder {out.parent} for {out.name}.")
    if out.exists() and not is_regular_file(str(out)):
        raise UsageError(f"{out} is no regular file; name another one.")
    return form


def stamp_of(path: str) -> str:
    """Changes whenever the file at a path does; empty where there is none."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return ""
    return f"{facts.st_size}-{facts.st_mtime_ns}-{facts.st_ctime_ns}"


@contextlib.contextmanager
def held(working: Path, out: Path, header: dict[str, Any]) -> Iterator[WorkingFile]:
    """The working file, opened to be continued by this process alone."""
    try:
        lock = take_lock(working)
        if lock is None:
            raise GenrecoreError(f"Another process writes {out}; wait for it or name another file.")
        try:
            with open_named(working) as stream, open(working, "ab", buffering=0) as end:
                lines = WorkingFile(working, stream)
                lines.begin(end, header, out)
                yield lines
        finally:
            os.close(lock)
    except NoLocks:
        raise GenrecoreError(
            f"{out} lies on a disk without file locks; name a file on a local one."
        ) from None
    except OSError as error:
        raise GenrecoreError(
            f"{out} cannot be written: {describe(error)} What is done is kept; the same command "
            "goes on with it."
        ) from None


class WorkingFile:
    """The lines of a working file, by path and by content; results stay on the disk."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self._path, self._stream = path, stream
        self._places: dict[str, tuple[int, int, str]] = {}  # start, length, stamp of the last line
        self._contents: dict[str, tuple[int, int]] = {}
        self._n_lines, self._end = 0, 0
        self._appended: io.FileIO | None = None
        self.header: dict[str, Any] = {}
        for line in stream:
            if not line.endswith(b"\n"):  # cut off
                break
            self._take(line)

    def _take(self, line: bytes) -> None:
        start, self._end = self._end, self._end + len(line)
        try:
            result = json.loads(line)
            if not self.header and MARK not in result:
                raise ValueError
            if not self.header:
                self.header = result
                return
            path, digest, stamp = result["path"], result["digest"], result["stamp"]
        except (ValueError, TypeError, KeyError, RecursionError):
            if not self.header:
                raise UsageError(
                    f"{self._path} is there already and holds something else; name another file."
                ) from None
            return  # damaged: its file is classified again
        self._n_lines += 1
        self._places[path] = (start, len(line), stamp)
        if digest and "error" not in result:
            self._contents[digest] = (start, len(line))

    def begin(self, end: io.FileIO, header: dict[str, Any], out: Path) -> None:
        """Goes on behind the last whole line, or writes the first.

        Args:
            end: The file, open for appending.
            header: What makes the lines to come.
            out: The file of results, for sentences.

        Raises:
            UsageError: Something else made the lines that are there.
        """
        mark = f'{{"{MARK}"'.encode()
        if not self.header and not mark.startswith(self._read(0, len(mark))):
            raise UsageError(
                f"{self._path} is there already and holds something else; name another file."
            )
        self._appended = end
        end.truncate(self._end)
        if not self.header:
            self._take(self._write(header))
        for name in (MARK, "runs", "settings"):
            if self.header.get(name) != header[name]:
                raise UsageError(
                    f"{out} was made {_maker(self.header)}; now it would be {_maker(header)}. "
                    f"Name another file, or remove {listed(_names(self._path, out))} to begin anew."
                )

    def is_done(self, path: str) -> bool:
        """Whether the file at a path has a line and has not changed since."""
        place = self._places.get(path)
        return place is not None and place[2] != "" and place[2] == stamp_of(path)

    def same_content(self, digest: str) -> dict[str, Any] | None:
        """The result of a file of this content."""
        place = self._contents.get(digest) if digest else None
        return json.loads(self._read(*place)) if place else None

    def append(self, result: dict[str, Any]) -> None:
        """Writes a line at once; what fails leaves no part of it."""
        self._take(self._write(result))

    def standing(self) -> Iterator[dict[str, Any]]:
        """The last result of each path, by path; not of what was moved elsewhere since."""
        for path, (start, length, _) in sorted(self._places.items()):
            result = json.loads(self._read(start, length))
            place = self._contents.get(result["digest"])
            is_elsewhere = place is not None and place[0] > start
            if not (is_elsewhere and not os.path.lexists(path)):
                yield result

    def write(self, out: Path, form: str) -> None:
        """Makes the file of results of the lines."""
        if form != "jsonl":
            with _replacing(out) as temporary:
                (_write_csv if form == "csv" else _write_parquet)(temporary, self)
            return
        n_standing = sum(1 for _ in self.standing())
        if n_standing < self._n_lines:  # else it is that file already
            with _replacing(out) as temporary, open(temporary, "wb") as stream:
                stream.write(_encoded(self.header))
                stream.writelines(map(_encoded, self.standing()))

    def _read(self, start: int, length: int) -> bytes:
        return os.pread(self._stream.fileno(), length, start)

    def _write(self, value: dict[str, Any]) -> bytes:
        if self._appended is None:
            raise GenrecoreError(f"{self._path} is open for reading only.")
        line = _encoded(value)
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[self._appended.write(rest) :]
        except OSError:
            self._appended.truncate(self._end)
            raise
        return line


def _encoded(value: dict[str, Any]) -> bytes:
    """A line of JSON in UTF-8; a name that is no text is escaped."""
    try:
        return f"{json.dumps(value, ensure_ascii=False)}\n".encode()
    except UnicodeEncodeError:
        return f"{json.dumps(value)}\n".encode()


def _writable(text: str) -> str:
    """A text of which a name that is no text is escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _maker(header: dict[str, Any]) -> str:
    runs = [f"{run['run']} (weights {run['weights'][:8]})" for run in header["runs"]]
    settings = header["settings"]
    part = "whole files" if settings.get("whole") else "the middle of each"
    doubts = "with" if settings["doubts"] else "without"
    precision = settings.get("precision")
    wanted = f", for a precision of {percent(precision)}" if precision else ""
    return f"by {listed(runs)}, of {part}, {doubts} doubts{wanted}"


def _names(working: Path, out: Path) -> list[str]:
    return list(dict.fromkeys([out.name, working.name]))


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A file to write that takes the path's place once it is whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _columns(lines: WorkingFile) -> dict[str, Any]:
    """The columns of the table and their kinds, as the header says them."""
    runs = [run["run"] for run in lines.header["runs"]]
    several = [f"genre_{run}" for run in runs] if len(runs) > 1 else []
    genres = [f"p_{genre}" for genre in lines.header["genres"] or []]
    answer = ["answer"] if lines.header["settings"].get("precision") else []
    text, number = pa.string(), pa.float64()
    return {
        **dict.fromkeys(["path", "genre", *answer], text),
        "proba": number,
        **dict.fromkeys(several, text),
        **dict.fromkeys([*genres, "duration_s", "start_s", "judged_s"], number),
        **dict.fromkeys(["doubts", "warning", "error"], text),
    }


def _write_csv(path: Path, lines: WorkingFile) -> None:
    names = list(_columns(lines))
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([sheet_text(name) for name in names])
        for result in lines.standing():
            cells = row(result)
            writer.writerow([_cell(cells.get(name)) for name in names])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6f}"
    return "" if value is None else sheet_text(str(value))


def _write_parquet(path: Path, lines: WorkingFile) -> None:
    schema = pa.schema(_columns(lines).items())
    rows: list[dict[str, Any]] = []
    with parquet.ParquetWriter(path, schema) as writer:
        for result in lines.standing():
            rows.append(row(result))
            if len(rows) == _ROWS:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows.clear()
        writer.write_table(pa.Table.from_pylist(rows, schema))
