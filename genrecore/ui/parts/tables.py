"""Tables of results on a page: titles, formats and help from the catalogue of columns."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from genrecore.reporting.columns import PAIRS, Column, find_column, for_sheets, written
from genrecore.store.run import MARKS
from genrecore.ui.parts.choices import choose
from genrecore.words import DASH, decimals, seconds

_NUMBERS: Mapping[str, str | None] = {
    "share": "%.1f %%", "points": None, "size": "%.1f", "number": "%.3f", "decimal": "%.1f",
    "p": None, "count": "%,d", "length": "%.1f s",
}  # fmt: skip
# Formats that Streamlit lacks: a minus instead of a hyphen, and `< 0.0001`.
_STYLES: Mapping[str, Callable[[float], str]] = {
    "points": partial(decimals, sign=True), "p": partial(written, format="p"),
}  # fmt: skip
_TIMES: Mapping[str, str] = {"moment": "D MMM, HH:mm", "date": "D MMM YYYY, HH:mm"}
_CHIPS = dict(zip(map(str.capitalize, MARKS), ("red", "orange", "orange", "gray"), strict=True))
_BLANKS = {"s": 9, "min": 7, "h": 5}
_IN_HUNDREDTHS = ("share", "points", "size")
_TALLEST = 460  # pixels; longer tables scroll
_ROW, _HEAD = 35, 38


def show_table(
    rows: pd.DataFrame,
    columns: Sequence[str] = (),
    special: Mapping[str, Column | str] | None = None,
    tallest: int = _TALLEST,
    from_catalogue: bool = True,
    **settings: Any,
) -> None:
    """Shows a table with the catalogue's titles and formats.

    Args:
        rows: A column that the catalogue lacks is shown as it is, under its own name.
        columns: Those to show, in this order; by default all. The others stay in the data.
        special: Columns, or only titles, that count before the catalogue's.
        tallest: In pixels; a longer table scrolls.
        from_catalogue: Whether the other columns are looked up, or are titled already.
        **settings: What else `st.dataframe` takes.
    """
    special = special or {}
    texts: dict[str, Any] = {}
    heads = {str(name): _column(str(name), special, from_catalogue) for name in rows.columns}
    configs = {}
    for name, column in heads.items():
        if column.upper:
            texts[name] = [column.written(row, name) for row in rows.to_dict("records")]
        elif column.format == "seconds":
            texts[name] = [_duration(value) for value in rows[name]]
        elif column.format == "marks":
            texts[name] = [_chips(marks) for marks in rows[name]]
        elif column.format in _IN_HUNDREDTHS:
            texts[name] = 100 * rows[name].astype(float)
        elif column.is_text:  # a table on a page can be saved as CSV, and its cells be copied
            texts[name] = for_sheets(rows[[name]]).to_numpy()[:, 0]
        configs[name] = _config(column)
    cells: Any = rows.assign(**texts).reset_index(drop=True)
    styles = {
        name: _STYLES[column.format]
        for name, column in heads.items()
        if column.format in _STYLES and not column.upper
    }
    if styles:  # a click on the head still sorts the numbers
        cells = cells.style.format(styles, na_rep=DASH)
    st.dataframe(
        cells,
        hide_index=True,
        placeholder="–",
        height=min(_HEAD + _ROW * max(1, len(rows)), tallest),
        column_order=list(columns) or None,
        column_config=configs,
        **settings,
    )


def wrapped_table(
    rows: pd.DataFrame,
    columns: Sequence[str] = (),
    special: Mapping[str, Column | str] | None = None,
    from_catalogue: bool = True,
) -> None:
    """A table of sentences: every cell is seen whole, over several lines where it is long.

    Nobody can sort it or pick from it. Arguments as of `show_table`.
    """
    names = list(columns) or list(map(str, rows.columns))
    heads = {name: _column(name, special or {}, from_catalogue) for name in names}
    cells = [
        [plain(heads[name].written(row, name).replace(" %", "\u00a0%")) for name in names]
        for row in rows.to_dict("records")
    ]
    titles = [plain(heads[name].title) for name in names]
    st.table(pd.DataFrame(cells, columns=titles), hide_index=True)


def _column(name: str, special: Mapping[str, Column | str], from_catalogue: bool) -> Column:
    column = special.get(name) or (find_column(name) if from_catalogue else None) or name
    return Column(column) if isinstance(column, str) else column


def plain(text: object) -> str:
    """Text that a user brought (a file name, a log line), so that no character is markup."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!~|<>$:&^=])", r"\\\1", str(text)).replace("\n", " ")


ANYWHERE_IN_A_ROW: Any = ["single-row", "single-cell"]
"""The selection mode of a table in which a click on a row picks it: with `single-row` alone, only
one on the box before it does."""


def clicked_row(key: str) -> int | None:
    """The row that was clicked in the table of this key, if any; for what its `on_select` calls."""
    selection = st.session_state[key]["selection"]
    rows = [row for row, _ in selection.get("cells") or ()] or selection["rows"]
    return rows[0] if rows else None


def table_to_open(
    rows: pd.DataFrame,
    ids: Sequence[str],
    picked: str,
    name: str,
    columns: Sequence[str] = (),
    special: Mapping[str, Column | str] | None = None,
) -> None:
    """A table in which a click on a row opens its entry, by the URL.

    Args:
        rows: As for `show_table`.
        ids: Of the entry of each row.
        picked: The entry that is open.
        name: In the URL.
        columns: As for `show_table`.
        special: As for `show_table`.
    """
    key = f"rows_{name}_{len(ids)}_{picked}"  # another table needs another widget

    def pick() -> None:
        row = clicked_row(key)
        if row is not None:
            choose(name, ids[row])

    opened = [ids.index(picked)] if picked in ids else []
    show_table(
        rows,
        columns,
        special,
        key=key,
        on_select=pick,
        selection_mode=ANYWHERE_IN_A_ROW,
        selection_default={"selection": {"rows": opened}},
    )


def leaderboard_table(table: pd.DataFrame) -> None:
    """The leaderboard: scores and split of each run; its time and size stand in Compare."""
    columns = ["title", "marks", "accuracy", "accuracy_low", "macro_f1", "n_clips", "split_title"]
    show_table(table, shown_marks(columns, table))


def shown_marks(columns: Sequence[str], rows: pd.DataFrame) -> list[str]:
    """The columns, without that of the marks where no row has one."""
    return [name for name in columns if name != "marks" or rows["marks"].any()]


def pair_numbers(pairs: pd.DataFrame) -> None:
    """The numbers behind the verdicts on pairs, one click away."""
    with st.popover("Numbers", type="tertiary", icon=":material/table:", key="pairs_numbers"):
        show_table(pairs, list(PAIRS), PAIRS)


def _chips(marks: str) -> list[str]:
    return [mark.capitalize() for mark in marks.split(", ") if mark]


def _duration(value: float | None) -> str | None:
    """The duration with blanks before it, so that a click on the column's head sorts by it."""
    if value is None or math.isnan(value):
        return None
    text = seconds(value)
    number, unit, *_ = text.split()
    return " " * (_BLANKS[unit] - len(number.partition(".")[0])) + text


def _config(column: Column) -> Any:
    settings: dict[str, Any] = {
        "label": column.title,
        "help": column.help or None,
        "width": column.width,
        "pinned": column.pinned or None,
    }
    kinds = st.column_config
    if column.format == "link":
        return kinds.LinkColumn(**settings, display_text="Open")
    if column.format == "marks":
        return kinds.MultiselectColumn(
            **settings, options=list(_CHIPS), color=list(_CHIPS.values()), disabled=True
        )
    if column.format == "seconds":
        return kinds.TextColumn(**settings, alignment="right")
    if column.format == "flag":
        return kinds.CheckboxColumn(**settings)
    if column.format in _TIMES:
        return kinds.DatetimeColumn(**settings, format=_TIMES[column.format])
    if column.format in _NUMBERS and not column.upper:
        return kinds.NumberColumn(**settings, format=_NUMBERS[column.format])
    return kinds.TextColumn(**settings)
