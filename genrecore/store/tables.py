"""The tables of a run folder: a quick look that needs no library, and reading with a check.

A look at the ends of a Parquet file says whether it was cut or is something else. Columns, types
and values are checked when a table is read.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genrecore.errors import first_line
from genrecore.store.files import Unreadable, open_regular
from genrecore.words import thousands

if TYPE_CHECKING:  # pandas is imported when a table is read: listing runs needs none
    import pandas as pd

MOST_CELLS = 500_000_000
"""Rows times columns: a small file may unpack to any size."""

MOST_GENRES = 256
"""As many as a byte counts: `epochs.u8` holds a genre in one."""

TABLES = ("clips.parquet", "predictions.parquet", "segments.parquet")
_MAGIC = b"PAR1"
_ENDS = 12  # bytes: the mark, the length of the footer, the mark again
_MAY_BE_UNKNOWN = ("path", "medium", "artist", "album", "content", "decoded")  # texts of clips


def look_at_table(path: str | Path) -> None:
    """
    Raises:
        Unreadable: There is a file, and it is no whole Parquet file.
    """
    try:
        file = open_regular(path)
    except FileNotFoundError:
        return
    with file:
        descriptor = file.fileno()
        n_bytes = os.fstat(descriptor).st_size
        end = os.pread(descriptor, 8, max(0, n_bytes - 8))
        n_footer = int.from_bytes(end[:4], "little")
        starts = os.pread(descriptor, 4, 0) == _MAGIC
        if not starts or end[4:] != _MAGIC or n_footer + _ENDS > n_bytes:
            raise Unreadable(path, "", "it is no whole Parquet file")


def read_table(path: Path) -> pd.DataFrame | None:
    """A table of a run folder, or None where there is no file. Columns of clips that it lacks and
    that may be unknown come without values.

    Raises:
        Unreadable: It is no Parquet file, lacks columns, or holds other values than it should.
    """
    table = read_parquet(path)
    if table is not None:
        (_check_clips if path.name == "clips.parquet" else check_predictions)(path, table)
        unique = ["clip_id"] if path.name == "clips.parquet" else ["clip_id", "split"]
        if path.name == "segments.parquet":
            _check_numbers(path, table, ["start_s"])
        elif table.duplicated(unique).any():
            raise Unreadable(path, "clip_id", "a clip is there twice")
    return table


def read_parquet(path: Path) -> pd.DataFrame | None:
    """Any table in a Parquet file, or None where there is no file.

    Raises:
        Unreadable: It is no Parquet file, or too large.
    """
    from pyarrow import parquet

    try:
        file = open_regular(path)
    except FileNotFoundError:
        return None
    with file:
        try:
            whole = parquet.ParquetFile(file)
            n_cells = whole.metadata.num_rows * whole.metadata.num_columns
            if n_cells > MOST_CELLS:
                raise Unreadable(path, "", f"it has {thousands(n_cells)} values")
            table = whole.read().to_pandas()
        except Unreadable:
            raise
        except Exception as error:  # what damaged files raise is of many kinds
            raise Unreadable(path, "", first_line(error) or type(error).__name__) from None
    if not all(isinstance(name, str) for name in table.columns) or not table.columns.is_unique:
        raise Unreadable(path, "", "its columns have no names of their own")
    return table


def _check_clips(path: Path, table: pd.DataFrame) -> None:
    _check_texts(path, table, ("clip_id", "genre"))
    _check_texts(path, table, ("split",), unknown=True)
    _check_texts(path, table, [name for name in _MAY_BE_UNKNOWN if name in table], unknown=True)
    _check_parts(path, table)
    _check_number_of_genres(path, table["genre"].nunique())
    _check_numbers(path, table, ["duration_s"] if "duration_s" in table else [], unknown=True)
    for name in (*_MAY_BE_UNKNOWN, "duration_s"):
        if name not in table:
            table[name] = math.nan if name == "duration_s" else None


def check_predictions(path: Path, table: pd.DataFrame) -> None:
    """
    Raises:
        Unreadable: A column of predictions is missing, or has other values than it should.
    """
    _check_texts(path, table, ("clip_id", "genre"))
    if "split" in table or path.name in TABLES:
        _check_texts(path, table, ("split",))
        _check_parts(path, table)
    genres = [name.removeprefix("p_") for name in table.columns if name.startswith("p_")]
    if not genres:
        raise Unreadable(path, "", "it has no column of probabilities (p_<genre>)")
    _check_number_of_genres(path, len(genres))
    unknown = sorted(set(table["genre"].unique()) - set(genres))
    if unknown:
        reason = f"expected one of {', '.join(genres)}, found {unknown[0]!r}"
        raise Unreadable(path, "genre", reason)
    # A clip without a number has no prediction.
    _check_numbers(path, table, [f"p_{genre}" for genre in genres], most=1.0, unknown=True)


def _check_number_of_genres(path: Path, n: int) -> None:
    if n > MOST_GENRES:
        raise Unreadable(path, "genre", f"it has {n} genres; expected at most {MOST_GENRES}")


def _check_parts(path: Path, table: pd.DataFrame) -> None:
    odd = sorted(set(table["split"].dropna().unique()) - {"train", "valid", "test"})
    if odd:
        raise Unreadable(path, "split", f"expected train, valid or test, found {odd[0]!r}")


def _check_texts(
    path: Path, table: pd.DataFrame, names: Sequence[str], unknown: bool = False
) -> None:
    """Texts; `unknown` where there may be none."""
    import pandas as pd

    for name in names:
        if name not in table:
            raise Unreadable(path, name, "there is no such column")
        column = table[name]
        if not unknown and column.isna().any():
            raise Unreadable(path, name, "a row has no value")
        is_text = isinstance(column.dtype, pd.StringDtype)
        odd = [] if is_text else [value for value in column.dropna() if not isinstance(value, str)]
        if odd:
            raise Unreadable(path, name, f"expected text, found {odd[0]!r}")


def _check_numbers(
    path: Path, table: pd.DataFrame, names: list[str], most: float = 1e9, unknown: bool = False
) -> None:
    """Numbers from 0 to `most`; `unknown` where there may be none."""
    import numpy as np
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    for name in names:
        if name not in table:
            raise Unreadable(path, name, "there is no such column")
        column = table[name]
        if unknown and column.isna().all():
            continue
        if not is_numeric_dtype(column.dtype) or is_bool_dtype(column.dtype):
            raise Unreadable(path, name, f"expected numbers, found {column.dtype}")
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        values = values[~np.isnan(values)] if unknown else values
        if not np.isfinite(values).all():
            raise Unreadable(path, name, "expected finite numbers")
        if len(values) and (values.min() < 0 or values.max() > most * (1 + 1e-4)):
            raise Unreadable(path, name, f"expected numbers from 0 to {most:g}")
