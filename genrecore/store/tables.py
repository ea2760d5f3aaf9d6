"""The tables of a run folder: a quick look that needs no library, and reading with a check.

A look at the ends of a Parquet file says whether it was cut or is something else. Columns, types
and values are checked when a table is read.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from genrecore.errors import first_line
from genrecore.store.files import Unreadable, open_regular
from genrecore.words import thousands

if TYPE_CHECKING:  # pandas is imported when a table is read: listing runs needs none
    import pandas as pd

MOST_CELLS = 500_000_000
"""Rows times columns: a small file may unpack to any size."""

TABLES = ("clips.parquet", "predictions.parquet", "segments.parquet")
_MAGIC = b"PAR1"
_ENDS = 12  # bytes: the mark, the length of the footer, the mark again
_TEXTS = {
    "clips.parquet": ("clip_id", "genre", "split"),
    "predictions.parquet": ("clip_id", "genre", "split"),
    "segments.parquet": ("clip_id", "genre", "split"),
}
_MAY_BE_UNKNOWN = ("split", "path", "medium", "artist", "album")  # texts of clips


def look_at_table(path: Path) -> None:
    """
    Raises:
        Unreadable: There is a file, and it is no whole Parquet file.
    """
    try:
        file = open_regular(path)
    except FileNotFoundError:
        return
    with file:
        n_bytes = os.fstat(file.fileno()).st_size
        end = os.pread(file.fileno(), 8, max(0, n_bytes - 8))
        n_footer = int.from_bytes(end[:4], "little")
        starts = os.pread(file.fileno(), 4, 0) == _MAGIC
        if not starts or end[4:] != _MAGIC or n_footer + _ENDS > n_bytes:
            raise Unreadable(path, "", "it is no whole Parquet file")


def read_table(path: Path) -> pd.DataFrame | None:
    """A table of a run folder, or None where there is no file.

    Raises:
        Unreadable: It is no Parquet file, lacks columns, or holds other values than it should.
    """
    import pandas as pd
    from pyarrow import ArrowException, parquet

    try:
        file = open_regular(path)
    except FileNotFoundError:
        return None
    with file:
        try:
            facts = parquet.ParquetFile(file).metadata
            n_cells = facts.num_rows * facts.num_columns
            if n_cells > MOST_CELLS:
                raise Unreadable(path, "", f"it has {thousands(n_cells)} values")
            file.seek(0)
            table = pd.read_parquet(file)
        except (ArrowException, OSError, ValueError, TypeError, KeyError, MemoryError) as error:
            raise Unreadable(path, "", first_line(error) or type(error).__name__) from None
    _check(path, table)
    return table


def _check(path: Path, table: pd.DataFrame) -> None:
    for name in _TEXTS[path.name]:
        if name not in table:
            raise Unreadable(path, name, "there is no such column")
    if not all(isinstance(name, str) for name in table.columns) or not table.columns.is_unique:
        raise Unreadable(path, "", "its columns have no names of their own")
    is_clips = path.name == "clips.parquet"
    for name in ("clip_id", "genre", "split", *(_MAY_BE_UNKNOWN if is_clips else ())):
        if name in table:
            _check_texts(path, table[name], is_clips and name in _MAY_BE_UNKNOWN)
    parts = set(table["split"].dropna().unique())
    odd = sorted(parts - {"train", "valid", "test"})
    if odd:
        raise Unreadable(path, "split", f"expected train, valid or test, found {odd[0]!r}")
    if is_clips:
        _check_numbers(path, table, ["duration_s"] if "duration_s" in table else [], unknown=True)
        if table["clip_id"].duplicated().any():
            raise Unreadable(path, "clip_id", "a clip is there twice")
        return
    genres = [str(name).removeprefix("p_") for name in table.columns if name.startswith("p_")]
    if not genres:
        raise Unreadable(path, "", "it has no column of probabilities (p_<genre>)")
    unknown = sorted(set(table["genre"].unique()) - set(genres))
    if unknown:
        reason = f"expected one of {', '.join(genres)}, found {unknown[0]!r}"
        raise Unreadable(path, "genre", reason)
    # A clip without a number has no prediction.
    _check_numbers(path, table, [f"p_{genre}" for genre in genres], most=1.0, unknown=True)
    if path.name == "segments.parquet":
        if "start_s" not in table:
            raise Unreadable(path, "start_s", "there is no such column")
        _check_numbers(path, table, ["start_s"])
    elif table.duplicated(["clip_id", "split"]).any():
        raise Unreadable(path, "clip_id", "a clip is there twice")


def _check_texts(path: Path, column: pd.Series, unknown: bool) -> None:
    known = column.dropna()
    if not unknown and len(known) < len(column):
        raise Unreadable(path, str(column.name), "a row has no value")
    odd = [value for value in known.unique() if not isinstance(value, str)]
    if odd:
        raise Unreadable(path, str(column.name), f"expected text, found {odd[0]!r}")


def _check_numbers(
    path: Path, table: pd.DataFrame, names: list[str], most: float = 1e9, unknown: bool = False
) -> None:
    """Numbers from 0 to `most`; `unknown` where there may be none."""
    import numpy as np
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    for name in names:
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
