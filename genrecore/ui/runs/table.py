"""The table of all runs, its filters and its order; all of them live in the URL."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from genrecore.config.run import Part
from genrecore.data import splits
from genrecore.evaluation.listing import RunRow
from genrecore.jobs.actions import annotate
from genrecore.reporting.columns import COLUMNS, Column
from genrecore.store import settings
from genrecore.store.run import WAITING, store_dir
from genrecore.ui.parts import readers
from genrecore.ui.parts.choices import (
    choose,
    choose_flag,
    choose_many,
    choose_one,
    choose_page,
    choose_text,
    chosen,
    chosen_many,
)
from genrecore.ui.parts.frame import sentences
from genrecore.ui.parts.live import IDLE_S, STATES, live, state_word
from genrecore.ui.parts.tables import show_table, shown_marks
from genrecore.ui.runs.actions import TICKED, UNTICKED, actions_on_several
from genrecore.ui.runs.alerts import toasts
from genrecore.ui.runs.queue import run_queue
from genrecore.words import plural, thousands

_MANY = 300  # runs from which on the table is looked at less often
_PAGE_RUNS = 500
_TALLEST, _ALONE = 372, 460  # pixels of the table above an open run, and alone
_FILTERS = ("find", "state", "model", "dataset", "tag", "starred")
_SORTS = {
    "": "Newest first",
    "oldest": "Oldest first",
    "starred": "Starred first",
    "test": "Best test",
    "best": "Best validation",
    "name": "Name",
    "left": "Time left",
    "state": "State",
    "model": "Model",
}
_STATE_ORDER = ("running", "preparing", "starting", "stopping", "stalled", "unknown", "requeued",
                "waiting there", "queued", "lost", "failed", "stopped", "done")  # fmt: skip
_SORT_KEYS: Mapping[str, Callable[[RunRow], Any]] = {  # what is not known comes last
    "starred": lambda row: not row.starred,
    "test": lambda row: (math.isnan(row.accuracy), -row.accuracy),
    "name": lambda row: row.name.casefold(),
    "best": lambda row: (math.isnan(row.best), -row.best),
    "left": lambda row: (math.isnan(row.left_s), row.left_s),
    "state": lambda row: _STATE_ORDER.index(row.state),
    "model": lambda row: (row.model, row.dataset),
}
_COLUMNS = {
    "starred": Column("★", help=COLUMNS["starred"].help, width=34),
    "name": Column("Name", width=200),
    "state": Column("State", width=108),
    "place": Column("Place", help="Of runs on a cluster: profile, job and node.", width=190),
    "why": Column("Why it waits", help="What the cluster's scheduler says.", width=250),
    "marks": COLUMNS["marks"],
    "accuracy": Column("Test", "share", "Accuracy on the test clips.", width=64),
    "accuracy_low": Column("95 % interval", "share", upper="accuracy_high", width=112),
    "best": Column("Best valid.", "share", COLUMNS["best"].help, width=84),
    "seed": Column("Seed", "count", width=54),
    "fold": Column("Fold", "count", width=56),
    "model": Column("Model"),
    "dataset": Column("Dataset"),
    "split": Column("Split"),
    "epochs": Column("Epoch", width=88),
    "left_s": Column("Time left", "seconds", width=84),
    "tags": Column("Tags", width=120),
    "note": Column("Note"),
    "created": Column("Queued", "moment", width=104),
}
_ON_CLUSTERS = ("place", "why")
_USUAL = ("starred", "name", "state", *_ON_CLUSTERS, "marks", "accuracy", "best", "seed", "epochs")
"""As many as fit beside the menu of a page 1280 pixels wide, where no run is on a cluster."""
_KEPT = "run_columns"  # in the store's settings


def table_tick_s(n: int) -> float:
    """How often a table of so many runs is looked at while one of them works."""
    return 4.0 if n < _MANY else 8.0


def filtered(
    rows: Iterable[RunRow],
    query: str = "",
    states: Sequence[str] = (),
    models: Sequence[str] = (),
    datasets: Sequence[str] = (),
    tags: Sequence[str] = (),
    starred: bool = False,
    sort: str = "",
) -> list[RunRow]:
    """The rows that fit a filter, in order; an empty filter leaves all.

    Args:
        rows: The newest first.
        query: As `RunRow.matches` takes it.
        states: States to keep.
        models: Names to keep.
        datasets: Names to keep.
        tags: A row needs them all.
        starred: Whether only those with a star are kept.
        sort: A key of `_SORTS`.
    """
    rows = list(rows)
    titles = _split_titles(rows)
    fitting = [
        row
        for row in rows
        if (not states or row.state in states)
        and (not models or row.model in models)
        and (not datasets or row.dataset in datasets)
        and set(tags) <= set(row.tags)
        and (row.starred or not starred)
        and (not query or row.matches(query, titles[row.split]))
    ]
    if sort == "oldest":
        return fitting[::-1]
    return sorted(fitting, key=_SORT_KEYS[sort]) if sort in _SORT_KEYS else fitting


def _split_titles(rows: Iterable[RunRow]) -> dict[str, str]:
    return {name: splits.title(Part(name=name)) for name in {row.split for row in rows}}


def place_of_list(rows: Sequence[RunRow], is_folded: bool) -> DeltaGenerator:
    """Where the list stands: on the page, or folded above an open run."""
    if not is_folded:
        return st.container()
    return st.expander(f"All runs: {_counts(rows)}", icon=":material/list:", key="run_list")


def run_filters(rows: Sequence[RunRow]) -> None:
    """The line above the table: words to find, a filter, order, columns."""
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
            tags = {tag for row in rows for tag in row.tags} | set(chosen_many("tag"))
            if tags:
                choose_many("Tags", sorted(tags), "tag", placeholder="Any")
            choose_flag("Starred only", "starred")
        with st.container(width=170):
            choose_one("Order", _SORTS, "sort", hide_label=True)
        _choose_columns()
        if any(chosen(name) for name in _FILTERS) and st.button(
            "Show all", icon=":material/filter_list_off:", type="tertiary", key="run_filter_off"
        ):
            for name in _FILTERS:
                choose(name, "")
            st.rerun()


def _choose_columns() -> None:
    """The columns of the table, in the order of picking, kept in the address and the store."""

    def keep(columns: Sequence[str]) -> None:
        with sentences():
            settings.change(store_dir(), "The columns", **{_KEPT: list(columns) or None})

    with st.popover("Columns", icon=":material/view_column:", key="run_columns"):
        titles = {name: column.title for name, column in _COLUMNS.items()}
        titles["starred"] = "★ Star"
        choose_many("Columns, in this order", titles, "columns", default=_kept_columns(), keep=keep)
        if st.button("The usual ones", key="run_columns_usual", type="tertiary"):
            keep(())
            choose("columns", "")
            st.rerun()


def _kept_columns() -> list[str]:
    """The columns that were last chosen in this store, else the usual ones."""
    kept = settings.read(store_dir()).get(_KEPT)
    names = [name for name in kept if name in _COLUMNS] if isinstance(kept, list) else []
    return names or list(_USUAL)


def _shown_columns() -> list[str]:
    return [name for name in chosen_many("columns") if name in _COLUMNS] or _kept_columns()


def filtered_rows(rows: Sequence[RunRow]) -> list[RunRow]:
    """The rows that fit the filters in the URL, in the order that it names."""
    return filtered(
        rows,
        chosen("find"),
        chosen_many("state"),
        chosen_many("model"),
        chosen_many("dataset"),
        chosen_many("tag"),
        chosen("starred") == "on",
        chosen("sort"),
    )


def live_list(rows: Sequence[RunRow]) -> None:
    """`run_list`, looked at again and again; where runs begin or end to work, or come while others
    do, the whole page is drawn anew."""

    first, at_work, n = [rows], _at_work(rows), len(rows)  # the first look is at these

    def draw() -> None:
        fresh = first.pop() if first else readers.look().rows
        if _at_work(fresh) != at_work or bool(fresh) != bool(n):
            st.rerun()
        if fresh:
            run_list(fresh)

    tick_s = table_tick_s(n)
    live(draw, bool(at_work), max(IDLE_S, tick_s), tick_s)


def live_queue(rows: Sequence[RunRow]) -> None:
    """`run_queue`, looked at again and again."""
    first = [rows]
    live(lambda: run_queue(first.pop() if first else readers.look().rows), bool(_at_work(rows)))


def _at_work(rows: Sequence[RunRow]) -> set[str]:
    return {row.run_id for row in rows if row.is_active}


def run_list(rows: Sequence[RunRow]) -> None:
    """The runs as a table; a click on a run opens it, one on its star marks it, and ticked runs can
    be acted on."""
    toasts(rows)
    listed = filtered_rows(rows)
    if not listed:
        st.info(
            f"None of the {plural(len(rows), 'run')} fits these filters.",
            icon=":material/filter_list:",
        )
        return
    place = st.container()
    page = choose_page(-(-len(listed) // _PAGE_RUNS), "page")
    on_page = listed[(page - 1) * _PAGE_RUNS : page * _PAGE_RUNS]
    ids = [row.run_id for row in on_page]
    ticked_before = set(st.session_state.get(TICKED, []))
    ticked = [row for row in listed if row.run_id in ticked_before]
    opened = chosen("run")
    # Rows of another table mean other runs, so it gets a key of its own.
    key = f"runs_{hash(tuple(ids))}_{st.session_state.get(UNTICKED, 0)}"

    def pick() -> None:
        selection = st.session_state[key]["selection"]
        elsewhere = ticked_before - set(ids)
        st.session_state[TICKED] = [*elsewhere, *(ids[row] for row in selection["rows"])]
        for row, column in (selection.get("cells") or [])[:1]:
            if column == "starred":
                _switch_star(ids[row])
            elif ids[row] != opened:
                choose("run", ids[row])
                st.session_state["_run_picked"] = True

    # Above the table, since its toolbar covers what stands there, and this is no button.
    fitting = f"{thousands(len(listed))} of " if len(listed) < len(rows) else ""
    place.caption(
        f"{fitting}{_counts(rows)}. Click on a run to open it; tick runs to act on several."
    )
    table = _table(on_page, opened)
    ticked_rows = [number for number, run_id in enumerate(ids) if run_id in ticked_before]
    with place:
        show_table(
            table,
            shown_marks(_columns_with_words(table), table),
            _COLUMNS,
            _TALLEST if opened else _ALONE,
            key=key,
            on_select=pick,
            selection_mode=["multi-row", "single-cell"],
            selection_default={"selection": {"rows": ticked_rows}},
            alt=f"Table of {plural(len(ids), 'run')}"
            + (f"; the run {opened} is open." if opened in ids else "."),
        )
    if st.session_state.pop("_run_picked", False):
        st.rerun()
    if ticked:
        actions_on_several(ticked)


def _columns_with_words(table: pd.DataFrame) -> list[str]:
    """The columns to show, without those of clusters where no run says anything in them."""
    names = _shown_columns()
    return [name for name in names if name not in _ON_CLUSTERS or table[name].any()]


def _switch_star(run_id: str) -> None:
    """Marks a run, or takes the mark away; the table then forgets the click, so that the next one
    counts, too."""
    run = readers.find(run_id)
    if run is not None:
        with sentences():
            annotate(run, starred=not run.starred)
    st.session_state[UNTICKED] = st.session_state.get(UNTICKED, 0) + 1


def _table(rows: Sequence[RunRow], opened: str) -> pd.DataFrame:
    titles = _split_titles(rows)
    names = [field.name for field in fields(RunRow)]
    columns: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in names}
    columns |= {
        "starred": ["★" if row.starred else "☆" for row in rows],
        "name": [f"→ {row.name}" if row.run_id == opened else row.name for row in rows],
        "state": [state_word(row.state) for row in rows],
        "place": [row.place for row in rows],
        "split": [titles[row.split] for row in rows],
        "fold": [row.fold + 1 for row in rows],
        "tags": [", ".join(row.tags) for row in rows],
        "note": [" ".join(row.note.split()) for row in rows],
        # Blanks before the number let a click on the column's head sort by it.
        "epochs": [f"{row.epoch:>4} of {row.n_epochs}" for row in rows],
        "created": [datetime.fromtimestamp(row.created) if row.created else None for row in rows],
    }
    return pd.DataFrame(columns)


def _counts(rows: Sequence[RunRow]) -> str:
    """How many runs there are, run and wait: `12 runs · 1 running`."""
    counts = {
        "running": sum(row.is_live for row in rows),
        "waiting": sum(row.state in WAITING for row in rows),
    }
    return " · ".join(
        [plural(len(rows), "run"), *(f"{n} {name}" for name, n in counts.items() if n)]
    )
