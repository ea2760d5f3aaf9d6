"""Reading tables of descriptors with the columns published for GTZAN."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from genrecore.audio.descriptor_names import DESCRIPTORS
from genrecore.errors import GenrecoreError, first_line
from genrecore.store.files import open_named

# <genre>.<five digits>, the part's number (in a table with several rows a clip), the extension of
# the file it was computed from.
_NAME = r"^(?P<clip_id>(?P<genre>.+)\.\d{5})(?:\.(?P<part>\d{1,6}))?(?:\.[A-Za-z]\w*)?$"


def read_table(path: Path) -> pd.DataFrame:
    """Rows of a table of descriptors, in the file's order.

    Columns: `clip_id` (text, `blues.00000`), `part` (int64, 0 in a table of one row a clip), then
    the 57 `DESCRIPTORS` (float64) in the published order. The published columns `filename` (it
    names clip and part: `blues.00000.wav`, `blues.00000.3.wav`), `length` (samples, no descriptor)
    and `label` need not stand in this order; other columns are ignored.

    Raises:
        GenrecoreError: The file is not there or no CSV, has no rows or lacks columns; a name that
            matches no clip or occurs twice, a label that contradicts it, a value that is missing,
            not a number, NaN or infinite (named by row and column; the header is row 1).
    """
    table = _read(path)
    missing = [name for name in ("filename", *DESCRIPTORS) if name not in table.columns]
    if missing:
        listed = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if missing[5:] else "")
        raise GenrecoreError(
            f"The table {path.name} lacks the column{'s' if missing[1:] else ''} {listed}; "
            f"expected filename and the {len(DESCRIPTORS)} descriptors of GTZAN's "
            "features_30_sec.csv."
        )
    if table.empty:
        raise GenrecoreError(f"The table {path.name} has no rows below its header.")
    names = table["filename"].astype("string")
    parts = names.str.extract(_NAME)
    _refuse(
        path,
        parts["clip_id"].isna(),
        lambda row: (
            f"names {names.iloc[row]!r}, which is no clip; expected names like "
            "blues.00000.wav or blues.00000.0.wav"
        ),
    )
    if "label" in table.columns:
        label = table["label"].astype("string")
        _refuse(
            path,
            label.notna() & (label != parts["genre"]),
            lambda row: (
                f"labels {names.iloc[row]} as {label.iloc[row]!r}; expected "
                f"{parts['genre'].iloc[row]!r}, as its name says"
            ),
        )
    rows = pd.DataFrame(
        {"clip_id": parts["clip_id"], "part": parts["part"].fillna("0").astype("int64")}
    )
    _refuse(
        path,
        rows.duplicated(["clip_id", "part"]),
        lambda row: f"names {names.iloc[row]} a second time; expected one row each",
    )
    return pd.concat([rows, _values(path, table, names)], axis=1)


def genre_of(clip_ids: pd.Series) -> pd.Series:
    """The genres that identifiers like `blues.00000` begin with."""
    return clip_ids.str.replace(r"\.\d{5}$", "", regex=True)


def _read(path: Path) -> pd.DataFrame:
    try:
        with open_named(path) as stream:
            dtype = {"filename": "string", "label": "string"}
            return pd.read_csv(stream, index_col=False, dtype=dtype)
    except pd.errors.EmptyDataError:
        raise GenrecoreError(f"The table {path.name} is empty.") from None
    except (OSError, ValueError) as error:  # pandas' parser errors and wrong encodings are values
        raise GenrecoreError(
            f"The table {path.name} cannot be read as CSV: {first_line(error)}."
        ) from None


def _values(path: Path, table: pd.DataFrame, names: pd.Series) -> pd.DataFrame:
    """The descriptors as float64; refuses the first cell that is no number."""
    columns = list(DESCRIPTORS)
    values = table[columns].apply(pd.to_numeric, errors="coerce").astype("float64")
    bad = ~np.isfinite(values.to_numpy())
    if bad.any():
        row, column = np.argwhere(bad)[0].tolist()
        cell = table[columns[column]].iloc[[row]]
        content = "no value (empty or NaN)" if cell.isna().any() else repr(str(cell.iloc[0]))
        more = f" ({int(bad.sum())} such cells in all)" if bad.sum() > 1 else ""
        raise GenrecoreError(
            f"The table {path.name} has {content} in row {row + 2} ({names.iloc[row]}), column "
            f"{columns[column]}; expected a finite number{more}."
        )
    return values


def _refuse(path: Path, wrong: pd.Series, problem: Callable[[int], str]) -> None:
    """Refuses the first row where `wrong` holds, saying `problem(row)`."""
    if wrong.any():
        row = int(np.argmax(wrong.to_numpy(dtype=bool)))
        raise GenrecoreError(f"Row {row + 2} of the table {path.name} {problem(row)}.")
