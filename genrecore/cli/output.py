"""What commands print: tables, JSON, progress bars with time left, one sentence on failure."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import progress as bars
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from genrecore.cli import streams
from genrecore.errors import GenrecoreError, describe
from genrecore.jobs.spawn import TASK
from genrecore.store.progress import Pace, Phase, Report, Stopped, phase_text
from genrecore.store.records import JobStatus
from genrecore.store.run import MARKS, Run
from genrecore.store.separation import Answer, Separation
from genrecore.store.status import Status, stop_asked
from genrecore.words import seconds, visible

if TYPE_CHECKING:
    import pandas as pd

    from genrecore.reporting.columns import Column

_MANY = 500  # rows of a table
_UNSEEN_IN_JSON = re.compile("[\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


class _Terminal(Console):
    """A console that shows texts of others as they are, and obeys no command in them."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Prints texts with what cannot be seen of them escaped."""
        shown = (visible(item) if isinstance(item, str) else item for item in objects)
        super().print(*shown, **options)


out = _Terminal(highlight=False, soft_wrap=True, markup=False)
err = _Terminal(highlight=False, soft_wrap=True, markup=False, stderr=True)


def print_json(value: Any) -> None:
    """One JSON document on standard output; not-a-number becomes null."""
    stream = streams.answers()
    is_unicode = (getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")
    text = json.dumps(plain(value), indent=1, ensure_ascii=not is_unicode)
    stream.write(_UNSEEN_IN_JSON.sub(lambda seen: json.dumps(seen.group())[1:-1], text) + "\n")
    stream.flush()


def plain(value: Any) -> Any:
    """The value in JSON's types: tables become lists of rows; not-a-number and NA become None."""
    if hasattr(value, "iterrows"):
        return plain(value.to_dict(orient="records"))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return None if type(value).__name__ == "NAType" else value


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def print_table(rows: Sequence[Mapping[str, Any]], empty: str = "Nothing yet.") -> None:
    """Rows as a table that fits the terminal; a sentence where there are none.

    A column for each key of any row; a cell is empty where a row has no such key or None. A `Text`
    has a colour.
    """
    if not rows:
        out.print(empty)
        return
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if len(rows) > _MANY:
        _print_at_once(rows, columns)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    wide = out if out.is_terminal else Console(highlight=False, markup=False, width=160)
    wide.print(table)


def _cell(value: Any) -> str | Text:
    return value if isinstance(value, Text) else "" if value is None else visible(str(value))


def _print_at_once(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """A long table, as wide as its texts: to fit one to the terminal takes 2 ms a row."""
    values = ([row.get(name) for name in columns] for row in rows)
    texts = [["" if cell is None else visible(str(cell)) for cell in row] for row in values]
    lines = [list(columns), *(list(map(" ".join, map(str.split, row))) for row in texts)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (set_cell_size(text, width) for text, width in zip(line, widths, strict=True))
        sys.stdout.write(" ".join(cells).rstrip() + "\n")


def print_columns(table: pd.DataFrame, columns: Mapping[str, Column]) -> None:
    """A table in columns of the catalogue, `reporting.columns`."""
    print_table(
        [
            {column.title: column.written(row, name) for name, column in columns.items()}
            for row in records(table)
        ]
    )


_ANSWERS = {
    Answer.CROSSES: ("REFUSED", "bold red"),
    Answer.CANNOT_BE_KNOWN: ("CANNOT BE KNOWN", "bold yellow"),
    Answer.KEPT_APART: ("KEPT APART", "green"),
}


def print_separation(separation: Separation) -> None:
    """Whether a split keeps artists, albums and copies apart, and why."""
    word, style = _ANSWERS[separation.answer]
    out.print(f"{word}. {separation.sentence}", style=style)


def print_caveats(run: Run) -> None:
    """What must be known of a run before its accuracy is read; nothing of most runs."""
    for mark, text in run.warnings.items():
        out.print(f"{text}; {MARKS[mark]}.", style="bold red" if mark == "leak" else "bold")


def answer(as_json: bool, facts: Any, sentence: str) -> None:
    """The answer of a command: JSON for scripts, else a sentence."""
    if as_json:
        print_json(facts)
    else:
        out.print(sentence)


def print_rows(as_json: bool, rows: Sequence[Mapping[str, Any]], empty: str = "") -> None:
    """Rows as JSON for scripts, else as a table; `empty` is printed where there are none."""
    if as_json:
        print_json(rows)
    else:
        print_table(rows, empty)


@contextlib.contextmanager
def writing(file: Path) -> Iterator[None]:
    """Turns errors inside into one that says that this file cannot be written."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise GenrecoreError(f"{file} cannot be written: {describe(error)}") from None


@contextlib.contextmanager
def reporting(quiet: bool = False) -> Iterator[Report]:
    """Shows progress: a bar on a terminal, else a line every ten seconds.

    In a task it also updates the task's status and obeys its stop request.
    """
    folder = os.environ.get(TASK)
    status = Status(Path(folder), JobStatus) if folder else None
    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TextColumn("left:"),
        bars.TimeRemainingColumn(),
    )
    terminal = err.is_terminal and not quiet
    with bars.Progress(*columns, console=err, disable=not terminal, transient=True) as bar:
        task = bar.add_task(Phase.STARTING.text, total=None)
        phase_now, printed_at, pace = "", 0.0, Pace()

        def report(phase: str, done: int, total: int) -> None:
            nonlocal phase_now, printed_at
            left_s = pace.left_s(phase, done, total, time.monotonic())
            if status is not None:
                status.beat(phase=phase, done=done, total=total, time_left_s=left_s)
                if stop_asked(status.folder):
                    raise Stopped
            if terminal:
                if phase != phase_now:
                    bar.reset(task, description=phase_text(phase), total=total or None)
                bar.update(task, completed=done, total=total or None)
            elif not quiet and (phase != phase_now or time.monotonic() - printed_at > 10):
                counts = f" {done}/{total}" if total and done else ""
                left = "" if left_s is None else f", about {seconds(left_s)} left"
                err.print(f"{phase_text(phase)} …{counts}{left}")
                printed_at = time.monotonic()
            phase_now = phase

        yield report
