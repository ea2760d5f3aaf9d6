"""Reviews of labels by listeners: right, wrong or unclear, in one CSV file of the store.

Each review adds a line to `annotations.csv`, so nothing is lost and any program can read it; a name
that a spreadsheet would take for a formula stands behind an apostrophe. Of several reviews of a
clip, the last one counts.

A review is of the content that was heard, where its digest is known: other music under the same
name has not been reviewed, and a clip that was moved or renamed has. Without a digest, as from the
command line and from earlier versions, a review is of the clip of that name.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from genrecore.errors import GenrecoreError, UsageError, describe, first_line
from genrecore.store.files import Unreadable, read_bytes, write_text
from genrecore.store.locks import held
from genrecore.store.run import store_dir
from genrecore.words import from_sheet_text, sheet_text

FILE = "annotations.csv"
JUDGEMENTS = ("right", "wrong", "unclear")
_COLUMNS_BEFORE = ("dataset", "clip_id", "genre", "judgement", "note", "at")  # without digests
COLUMNS = (*_COLUMNS_BEFORE, "content")
_LOCK = ".annotations.lock"
_MOST_COLUMNS = 100


def add(
    dataset: str,
    clip_id: str,
    genre: str,
    judgement: str,
    note: str = "",
    store: Path | None = None,
    content: str = "",
) -> None:
    """Adds a review of a clip's label.

    Args:
        dataset: Name of the dataset.
        clip_id: The clip.
        genre: The label that is reviewed.
        judgement: One of `JUDGEMENTS`, or an empty text, which withdraws an earlier review.
        note: Any text; it becomes one line.
        store: Folder of the runs.
        content: The digest of the clip's file, as a run's clip table has it, where it is known.

    Raises:
        UsageError: An unknown judgement.
        GenrecoreError: The file cannot be read or written.
    """
    if judgement and judgement not in JUDGEMENTS:
        raise UsageError(f"A label is {', '.join(JUDGEMENTS)}; found {judgement!r}.")
    path = (store or store_dir()) / FILE
    texts = map(sheet_text, (dataset, clip_id, genre, judgement, " ".join(note.split())))
    line = _csv([(*texts, f"{time.time():.3f}", content)])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with held(path.with_name(_LOCK), patience_s=5.0) as acquired:
            if not acquired:
                raise GenrecoreError("Another process is writing annotations; try again.")
            before = _content(path)
            if before.startswith(_csv([_COLUMNS_BEFORE]).encode()):
                rows = list(csv.reader(io.StringIO(before.decode(), newline="")))
                write_text(path, _csv([COLUMNS, *((*row, "") for row in rows[1:])]))
            with open(path, "a", encoding="utf-8") as stream:
                stream.write(("" if before else _csv([COLUMNS])) + line)
    except (OSError, ValueError, csv.Error) as error:
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
    missing = [name for name in _COLUMNS_BEFORE if name not in table]
    if missing:
        raise Unreadable(path, "", f"it lacks the columns {', '.join(missing)}", "store")
    for name in ("dataset", "clip_id", "genre", "note"):
        table[name] = table[name].map(from_sheet_text)
    table["at"] = pd.to_numeric(table["at"], errors="coerce")
    table["content"] = table["content"].fillna("") if "content" in table else ""
    last = table[_is_last(table)]
    reviews = last[last["judgement"].isin(JUDGEMENTS)]
    return reviews[reviews["dataset"] == dataset] if dataset else reviews


def of_clips(reviews: pd.DataFrame, clips: pd.DataFrame) -> dict[str, str]:
    """The judgement of each clip that was reviewed, by `clip_id`.

    Args:
        reviews: Of one dataset, from `read`.
        clips: The clips: `clip_id, genre, content`, the last one missing where it is not known.
    """
    of_content: dict[tuple[str, str], str] = {}
    of_name, of_any = dict[str, str](), dict[str, str]()
    names = ["clip_id", "genre", "content"]
    for clip_id, genre, content, judgement in reviews[[*names, "judgement"]].to_numpy().tolist():
        if content:
            of_content[content, genre] = judgement
        else:
            of_name[clip_id] = judgement
        of_any[clip_id] = judgement
    judgements: dict[str, str] = {}
    for clip_id, genre, content in clips[names].astype(object).to_numpy().tolist():
        is_known = isinstance(content, str) and bool(content)
        by_name = of_name if is_known else of_any
        judgement = of_content.get((content, genre)) if is_known else None
        if judgement := judgement or by_name.get(clip_id):
            judgements[clip_id] = judgement
    return judgements


def _is_last(table: pd.DataFrame) -> pd.Series:
    """Whether no later line is about the same content or, where one of the two has no digest, about
    the clip of that name."""
    at = pd.Series(np.arange(len(table)), table.index)
    by_name = table["content"] == ""
    clip = [table["dataset"], table["clip_id"]]
    last = at.groupby(clip).transform("max")
    last_by_name = at.where(by_name, -1).groupby(clip).transform("max")
    is_later = table.duplicated(["dataset", "content", "genre"], keep="last")
    return (by_name & (at == last)) | (~by_name & ~is_later & (at > last_by_name))


def _csv(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _content(path: Path) -> bytes:
    """Of the file; empty where there is none."""
    try:
        return read_bytes(path, noun="store")
    except FileNotFoundError:
        return b""
