"""The table of all runs, its filters and its order; all of them live in the URL."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd
import streamlit as st

from genrecore.config.run import Part
from genrecore.data import splits
from genrecore.reporting.columns import Column
from genrecore.store.run import Run
from genrecore.ui.parts import readers
from genrecore.ui.parts.choices import (
    choose,
    choose_many,
    choose_one,
    choose_text,
    chosen,
    chosen_many,
)
from genrecore.ui.parts.live import STATES, state_word
from genrecore.ui.parts.readers import RunRow
from genrecore.ui.parts.tables import show_table, shown_marks
from genrecore.ui.runs.actions import TICKED, UNTICKED, actions_on_several
from genrecore.ui.runs.alerts import toasts
from genrecore.words import plural, thousands

_MANY = 300  # runs from which on the table is looked at less often
_TALLEST = 372  # pixels of the table: the open run below it stays in sight
_FILTERS = ("find", "state", "model", "dataset")
_SORTS = {
    "": "Newest first",
    "oldest": "Oldest first",
    "best": "Best validation",
    "left": "Time left",
    "state": "State",
    "model": "Model",
}
_STATE_ORDER = ("running", "preparing", "starting", "stopping", "stalled", "queued", "lost",
                "failed", "stopped", "done")  # fmt: skip
_SORT_KEYS: Mapping[str, Callable[[RunRow], Any]] = {  # what is not known comes last
    "best": lambda row: (math.isnan(row.best), -row.best),
    "left": lambda row: (math.isnan(row.left_s), row.left_s),
    "state": lambda row: _STATE_ORDER.index(row.state),
    "model": lambda row: (row.model, row.dataset),
}


def table_tick_s(n: int) -> float:
    """How often a table of so many runs is looked at while one of them works."""
    return 4.0 if n < _MANY else 8.0


def filtered(
    rows: Iterable[RunRow],
    query: str = "",
    states: Sequence[str] = (),
    models: Sequence[str] = (),
    datasets: Sequence[str] = (),
    sort: str = "",
) -> list[RunRow]:
    """The rows that fit a filter, in order; an empty filter leaves all.

    Args:
        rows: The newest first.
        query: All its words must occur in id, title, split, warning or plan; case does not matter.
        states: States to keep.
        models: Names to keep.
        datasets: Names to keep.
        sort: A key of `_SORTS`.
    """

    def fits(row: RunRow) -> bool:
        split = f"{row.split} {splits.title(Part(name=row.split))}"
        text = f"{row.run_id} {row.title} {split} {row.badge} {row.plan}".lower()
        return (
            (not states or row.state in states)
            and (not models or row.model in models)
            and (not datasets or row.dataset in datasets)
            and all(word in text for word in query.lower().split())
        )

    fitting = [row for row in rows if fits(row)]
    if sort == "oldest":
        return fitting[::-1]
    return sorted(fitting, key=_SORT_KEYS[sort]) if sort in _SORT_KEYS else fitting


def run_filters(rows: Sequence[RunRow]) -> None:
    """The line above the table: words to find, states, models, datasets, order."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="run_filters"):
        with st.container(width=260):
            choose_text("Find runs", "find", "Find a run by any word", icon=":material/search:")
        n = sum(bool(chosen_many(name)) for name in _FILTERS[1:])
        with st.popover(
            f"Filter ({n})" if n else "Filter", icon=":material/filter_list:", key="run_filter"
        ):
            present = {row.state for row in rows} | set(chosen_many("state"))
            states = {state: state_word(state) for state in STATES if state in present}
            choose_many("State", states, "state", placeholder="Any")
            for name, label in (("model", "Model"), ("dataset", "Dataset")):
                values = {getattr(row, name) for row in rows} | set(chosen_many(name))
                choose_many(label, sorted(values), name, placeholder="Any")
        with st.container(width=190):
            choose_one("Order", _SORTS, "sort", hide_label=True)
        if any(chosen(name) for name in _FILTERS) and st.button(
            "Show all", icon=":material/filter_list_off:", type="tertiary", key="run_filter_off"
        ):
            for name in _FILTERS:
                choose(name, "")
            st.rerun()


def filtered_rows(rows: Sequence[RunRow]) -> list[RunRow]:
    """The rows that fit the filters in the URL, in the order that it names."""
    return filtered(
        rows,
        chosen("find"),
        chosen_many("state"),
        chosen_many("model"),
        chosen_many("dataset"),
        chosen("sort"),
    )


def run_list() -> None:
    """The runs as a table; a click on a run opens it, ticked runs can be acted on."""
    rows = readers.run_rows()
    toasts(rows)
    listed = filtered_rows(rows)
    if not listed:
        st.info(
            f"None of the {plural(len(rows), 'run')} fits these filters.",
            icon=":material/filter_list:",
        )
        return
    ids = [row.run_id for row in listed]
    ticked = [row for row in listed if row.run_id in st.session_state.get(TICKED, [])]
    opened = chosen("run") or rows[0].run_id
    # Rows of another table mean other runs, so it gets a key of its own.
    key = f"runs_{hash(tuple(ids))}_{st.session_state.get(UNTICKED, 0)}"

    def pick() -> None:
        selection = st.session_state[key]["selection"]
        st.session_state[TICKED] = [ids[row] for row in selection["rows"]]
        cells = selection.get("cells") or []
        if cells and ids[cells[0][0]] != opened:
            choose("run", ids[cells[0][0]])
            st.session_state["_run_picked"] = True

    table = _table(listed, opened)
    columns = [
        "opened",
        "state",
        "marks",
        "model",
        "dataset",
        "epochs",
        "best",
        "left_s",
        "split",
        "created",
    ]
    show_table(
        table,
        shown_marks(columns, table),
        {"opened": Column("", help="The run that is open below.", width=30)},
        _TALLEST,
        key=key,
        on_select=pick,
        selection_mode=["multi-row", "single-cell"],
        selection_default={"selection": {"rows": [ids.index(row.run_id) for row in ticked]}},
        alt=f"Table of {plural(len(ids), 'run')}; the run {opened} is open below.",
    )  # fmt: skip
    if st.session_state.pop("_run_picked", False):
        st.rerun()
    if ticked:
        actions_on_several(ticked)
    else:
        _summary(rows, len(listed))


def _table(rows: Sequence[RunRow], opened: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "opened": ["→" if row.run_id == opened else "" for row in rows],
            "state": [state_word(row.state) for row in rows],
            "model": [row.model for row in rows],
            "dataset": [row.dataset for row in rows],
            "split": [splits.title(Part(name=row.split)) for row in rows],
            "marks": [row.marks for row in rows],
            "badge": [row.badge for row in rows],
            # Blanks before the number let a click on the column's head sort by it.
            "epochs": [f"{row.epoch:>4} of {row.n_epochs}" for row in rows],
            "best": [row.best for row in rows],
            "left_s": [row.left_s for row in rows],
            "created": [
                datetime.fromtimestamp(row.created) if row.created else None for row in rows
            ],
        }
    )


def _summary(rows: Sequence[RunRow], n_shown: int) -> None:
    n_live = sum(row.is_live for row in rows)
    n_waiting = sum(row.state == "queued" for row in rows)
    runs = plural(len(rows), "run")
    parts = [f"{thousands(n_shown)} of {runs}" if n_shown < len(rows) else runs]
    parts += [f"{n_live} running"] if n_live else []
    parts += [f"{n_waiting} waiting"] if n_waiting else []
    st.caption(
        " · ".join(parts) + ". Click on a run to open it below; tick runs to act on several."
    )


def opened_run(rows: Sequence[RunRow]) -> Run | None:
    """The run that the URL names; else the first of the table, or the newest where the table is
    empty."""
    run = readers.find(chosen("run"))
    if run is not None:
        return run
    first = next(iter(filtered_rows(rows) or rows), None)
    return readers.find(first.run_id) if first else None
