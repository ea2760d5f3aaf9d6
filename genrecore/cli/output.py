"""What commands print: tables, JSON, progress bars with time left, one sentence on failure."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from rich import progress as bars
from rich.console import Console
from rich.table import Table
from typer import Option

from genrecore.jobs import actions as jobs
from genrecore.store.progress import Phase, Report, Stopped, phase_text
from genrecore.store.status import Status, stop_asked

JSON = Annotated[bool, Option("--json", help="Print JSON for scripts instead of text.")]

out = Console(highlight=False, soft_wrap=True, markup=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


def print_json(value: Any) -> None:
    """One JSON document on standard output; not-a-number becomes null."""
    sys.stdout.write(json.dumps(plain(value), indent=1, ensure_ascii=False) + "\n")


def plain(value: Any) -> Any:
    """The value as JSON can hold it; not-a-number and missing values become None."""
    if isinstance(value, pd.DataFrame):
        return plain(value.to_dict(orient="records"))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is pd.NA or isinstance(value, Path):
        return None if value is pd.NA else str(value)
    return value


def print_table(rows: Sequence[Mapping[str, Any]], empty: str = "Nothing yet.") -> None:
    """Rows as a table that fits the terminal; a sentence where there are none."""
    if not rows:
        out.print(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(rows[0]):
        table.add_column(column, overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    wide = out if out.is_terminal else Console(highlight=False, width=160, markup=False)
    wide.print(table)


def answer(as_json: bool, facts: Any, sentence: str) -> None:
    """The answer of a command: JSON for scripts, else a sentence."""
    if as_json:
        print_json(facts)
    else:
        out.print(sentence)


def print_rows(as_json: bool, rows: Sequence[Mapping[str, Any]], empty: str = "") -> None:
    """Rows as JSON for scripts, else as a table; `empty` is said where there are none."""
    if as_json:
        print_json(rows)
    else:
        print_table(rows, empty)


@contextlib.contextmanager
def reporting(quiet: bool = False) -> Iterator[Report]:
    """A report that shows what is going on: a bar on a terminal, else a line now and then.

    Run as a task, it also keeps the task's status and obeys its stop request.
    """
    folder = os.environ.get(jobs.TASK)
    status = Status(Path(folder)) if folder else None
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TextColumn("left:"),
        bars.TimeRemainingColumn(),
    )
    terminal = err.is_terminal and not quiet
    with bars.Progress(*columns, console=err, disable=not terminal, transient=True) as bar:
        task = bar.add_task(Phase.STARTING.text, total=None)
        phase_now, printed_at = "", 0.0

        def report(phase: str, done: int, total: int) -> None:
            nonlocal phase_now, printed_at
            if status is not None:
                status.beat(phase=phase, done=done, total=total)
                if stop_asked(status.folder):
                    raise Stopped
            if terminal:
                if phase != phase_now:
                    bar.reset(task, description=phase_text(phase), total=total or None)
                bar.update(task, completed=done, total=total or None)
            elif not quiet and (phase != phase_now or time.monotonic() - printed_at > 10):
                counts = f" {done}/{total}" if total and done else ""
                err.print(f"{phase_text(phase)} …{counts}")
                printed_at = time.monotonic()
            phase_now = phase

        yield report
