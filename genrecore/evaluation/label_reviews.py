"""Reviews of labels by listeners: right, wrong or unclear, in one CSV file of the store.

Each review adds a line to `annotations.csv`, so nothing is lost and any program can read it; a name
that a spreadsheet would take for a formula stands behind an apostrophe. Of several reviews of a
clip, the last one counts.
"""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path

import pandas as pd

from genrecore.errors import GenrecoreError, UsageError, describe, first_line
from genrecore.store.files import Unreadable, read_bytes
from genrecore.store.locks import held
from genrecore.store.run import store_dir
from genrecore.words import from_sheet_text, sheet_text

FILE = "annotations.csv"
JUDGEMENTS = ("right", "wrong", "unclear")
COLUMNS = ("dataset", "clip_id", "genre", "judgement", "note", "at")
_LOCK = ".annotations.lock"
_MOST_COLUMNS = 100


def add(
    dataset: str,
    clip_id: str,
    genre: str,
    judgement: str,
    note: str = "",
    store: Path | None = None,
) -> None:
    """Adds a review of a clip's label.

    Args:
        dataset: Name of the dataset.
        clip_id: The clip.
        genre: The label that is reviewed.
        judgement: One of `JUDGEMENTS`, or an empty text, which withdraws an earlier review.
        note: Any text; it becomes one line.
        store: Folder of the runs.

    Raises:
        UsageError: An unknown judgement.
        GenrecoreError: The file cannot be read or written.
    """
    if judgement and judgement not in JUDGEMENTS:
        raise UsageError(f"A label is {', '.join(JUDGEMENTS)}; found {judgement!r}.")
    path = (store or store_dir()) / FILE
    line = io.StringIO()
    texts = map(sheet_text, (dataset, clip_id, genre, judgement, " ".join(note.split())))
    csv.writer(line, lineterminator="\n").writerow((*texts, f"{time.time():.3f}"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with held(path.with_name(_LOCK), patience_s=5.0) as acquired:
            if not acquired:
                raise GenrecoreError("Another process is writing annotations; try again.")
            is_new = not _content(path)
            with open(path, "a", encoding="utf-8") as stream:
                stream.write((",".join(COLUMNS) + "\n" if is_new else "") + line.getvalue())
    except OSError as error:
        raise GenrecoreError(f"The review cannot be kept: {describe(error)}") from None


def read(store: Path | None = None, dataset: str = "") -> pd.DataFrame:
    """The last review of each clip, in the order in which they were made; columns `COLUMNS`.

    Args:
        store: Folder of the runs.
        dataset: Only reviews of this dataset; empty for all.

    Raises:
        Unreadable: The file cannot be read, or is not such a table.
    """
    path = (store or store_dir()) / FILE
    content = _content(path)
    if not content:
        return pd.DataFrame(columns=list(COLUMNS))
    if content.partition(b"\n")[0].count(b",") > _MOST_COLUMNS:
        raise Unreadable(path, "line 1", f"it has more than {_MOST_COLUMNS} columns", "store")
    try:
        table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
    except ValueError as error:
        raise Unreadable(path, "", f"it is no table: {first_line(error)}", "store") from None
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise Unreadable(path, "", f"it lacks the columns {', '.join(missing)}", "store")
    for name in ("dataset", "clip_id", "genre", "note"):
        table[name] = table[name].map(from_sheet_text)
    table["at"] = pd.to_numeric(table["at"], errors="coerce")
    last = table.drop_duplicates(["dataset", "clip_id"], keep="last")
    reviews = last[last["judgement"].isin(JUDGEMENTS)]
    return reviews[reviews["dataset"] == dataset] if dataset else reviews


def _content(path: Path) -> bytes:
    """Of the file; empty where there is none."""
    try:
        return read_bytes(path, noun="store")
    except FileNotFoundError:
        return b""
