"""The table of all runs: filters, order, what is done to several of them at once, and the bin."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from genrecore.errors import GenrecoreError
from genrecore.jobs import actions as jobs
from genrecore.store.run import Run
from genrecore.ui.parts import readers, run_rows
from genrecore.ui.parts.choices import (
    choose,
    choose_many,
    choose_one,
    choose_text,
    chosen,
    chosen_many,
)
from genrecore.ui.parts.frame import act, in_percent, plain, share_column
from genrecore.ui.parts.live import STATES, state_word
from genrecore.ui.parts.run_rows import Row
from genrecore.ui.runs.alerts import toasts

_MANY = 300  # runs from which on the table is looked at less often
_TICKED, _UNDO, _ROUND = "_ticked", "_undo", "_table_round"
_FILTERS = ("find", "state", "model", "dataset")
ENDED = ("stopped", "failed", "lost")


def table_tick_s(n: int) -> float:
    """How often a table of so many runs is looked at while one of them works."""
    return 4.0 if n < _MANY else 8.0


def run_filters(found: Sequence[Row]) -> None:
    """The line above the table: words to find, states, models, data, order; all in the URL."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="run_filters"):
        with st.container(width=260):
            choose_text("Find runs", "find", "Find a run by any word", icon=":material/search:")
        n = sum(bool(chosen_many(name)) for name in _FILTERS[1:])
        with st.popover(
            f"Filter ({n})" if n else "Filter", icon=":material/filter_list:", key="run_filter"
        ):
            present = {row.state for row in found} | set(chosen_many("state"))
            states = [state for state in STATES if state in present]
            choose_many("State", states, "state", words=state_word, placeholder="Any")
            for name, label in (("model", "Model"), ("dataset", "Dataset")):
                values = {getattr(row, name) for row in found} | set(chosen_many(name))
                choose_many(label, sorted(values), name, placeholder="Any")
        with st.container(width=190):
            choose_one(
                "Order",
                list(run_rows.SORTS),
                "sort",
                words=run_rows.SORTS.__getitem__,
                hide_label=True,
            )  # fmt: skip
        if any(chosen(name) for name in _FILTERS) and st.button(
            "Show all", icon=":material/filter_list_off:", type="tertiary", key="run_filter_off"
        ):
            for name in _FILTERS:
                choose(name, "")
            st.rerun()


def shown_rows(found: Sequence[Row]) -> list[Row]:
    """The rows that the filters in the URL leave, in the order that it asks for."""
    return run_rows.chosen_rows(
        found,
        chosen("find"),
        chosen_many("state"),
        chosen_many("model"),
        chosen_many("dataset"),
        chosen("sort"),
    )


def run_list() -> None:
    """The runs as a table; a click on a run opens it, ticked runs can be acted on."""
    found = run_rows.rows()
    toasts(found)
    shown = shown_rows(found)
    if not shown:
        st.info(
            f"None of the {len(found):,} runs fits these filters.", icon=":material/filter_list:"
        )
        return
    ids = [row.run_id for row in shown]
    ticked = [run_id for run_id in st.session_state.get(_TICKED, []) if run_id in ids]
    opened = chosen("run") or found[0].run_id
    # Places in a table mean other runs once the table is another one, so it gets a key of its own.
    key = f"runs_{hash(tuple(ids))}_{st.session_state.get(_ROUND, 0)}"

    def pick() -> None:
        selection = st.session_state[key]["selection"]
        st.session_state[_TICKED] = [ids[place] for place in selection["rows"]]
        cells = selection.get("cells") or []
        if cells and ids[cells[0][0]] != opened:
            choose("run", ids[cells[0][0]])
            st.session_state["_picked"] = True

    table = run_rows.table(shown)
    table["state"] = table["state"].map(state_word)
    table.insert(0, "opened", ["→" if run_id == opened else "" for run_id in ids])
    hidden = ["run_id", *([] if any(row.badge for row in shown) else ["badge"])]
    st.dataframe(
        in_percent(table.drop(columns=hidden), ["best"]),
        key=key,
        hide_index=True,
        height=min(38 + 35 * len(table), 372),
        on_select=pick,
        selection_mode=["multi-row", "single-cell"],
        placeholder="–",
        selection_default={"selection": {"rows": [ids.index(run_id) for run_id in ticked]}},
        column_order=[
            "opened",
            "state",
            "model",
            "dataset",
            "epochs",
            "best",
            "left_s",
            "split",
            "badge",
            "created",
        ],
        alt=f"Table of {len(ids)} runs; the run {opened} is open below.",
        column_config={
            "opened": st.column_config.TextColumn("", width=30, help="The run that is open below."),
            "state": st.column_config.TextColumn("State", width=104),
            "model": "Model",
            "dataset": "Dataset",
            "split": "Split",
            "badge": st.column_config.TextColumn("Warning", width=112),
            "epochs": st.column_config.TextColumn("Epoch", width=96),
            "best": share_column("Best"),
            "left_s": st.column_config.NumberColumn("Time left", format="duration", width=96),
            "created": st.column_config.DatetimeColumn("Queued", format="D MMM, HH:mm"),
        },
    )
    if st.session_state.pop("_picked", False):
        st.rerun()
    _below(found, [row for row in shown if row.run_id in ticked], len(shown))


def _below(found: Sequence[Row], ticked: Sequence[Row], n_shown: int) -> None:
    if ticked:
        _actions(ticked)
        return
    n_at_work = sum(row.is_live for row in found)
    n_waiting = sum(row.state == "queued" for row in found)
    of_all = f"{n_shown:,} of {len(found):,} runs" if n_shown < len(found) else _runs(len(found))
    parts = [of_all]
    parts += [f"{n_at_work} at work"] if n_at_work else []
    parts += [f"{n_waiting} waiting"] if n_waiting else []
    st.caption(
        " · ".join(parts) + ". Click on a run to open it below; tick runs to act on several."
    )


def _actions(ticked: Sequence[Row]) -> None:
    """What can be done to the ticked runs, each with the number of runs that it would reach."""
    able: dict[str, list[str]] = {
        "stop": [row.run_id for row in ticked if row.state == "queued" or row.is_live],
        "resume": [row.run_id for row in ticked if row.state in ENDED],
        "clone": [row.run_id for row in ticked],
        "delete": [row.run_id for row in ticked if not row.is_live],
    }
    looks = {
        "stop": ("Stop", ":material/stop_circle:", "They keep a checkpoint; waiting ones are "
                 "cancelled."),
        "resume": ("Resume", ":material/play_arrow:", "Stopped, failed and lost runs go on from "
                   "their last checkpoint."),
        "clone": ("Clone", ":material/content_copy:", "The same settings are queued again."),
        "delete": ("Delete", ":material/delete:", "They go to the bin, from where they can be "
                   "restored. Runs at work must be stopped first."),
    }  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{_runs(len(ticked))} ticked**", width="content")
        for name, (words, icon, help_) in looks.items():
            n = len(able[name])
            pressed = st.button(
                f"{words} {n}" if 0 < n < len(ticked) else words,
                icon=icon,
                key=f"rows_{name}",
                disabled=not n,
                help=help_,
            )
            if pressed:
                _to_all(name, able[name])
        if st.button("Untick", type="tertiary", key="rows_untick"):
            _untick()
            st.rerun()


def _untick() -> None:
    st.session_state[_TICKED] = []
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1


def _to_all(name: str, run_ids: Sequence[str]) -> None:
    """Does one thing to several runs; says for how many it was done, and why not for the others."""
    deeds: dict[str, tuple[Callable[[Run], object], str]] = {
        "stop": (jobs.stop, "asked to stop"),
        "resume": (jobs.resume, "queued again"),
        "clone": (lambda run: jobs.clone(run, {}), "cloned and queued"),
        "delete": (jobs.delete, "in the bin"),
    }
    deed, words = deeds[name]
    done, problems = [], []
    with st.spinner("Working …", show_time=True):
        for run in filter(None, map(readers.find, run_ids)):
            try:
                deed(run)
                done.append(run.run_id)
            except GenrecoreError as error:
                problems.append(str(error))
    for problem in problems[:3]:
        st.error(plain(problem), icon=":material/error:")
    if name == "delete" and done:
        st.session_state[_UNDO] = done
    if not problems:
        _untick()
        act(lambda: f"{_runs(len(done))} {words}.")


def _runs(n: int) -> str:
    return f"{n:,} run{'s' if n != 1 else ''}"


def deleted_just_now(run_ids: Sequence[str]) -> None:
    """Remembers what Undo would bring back."""
    st.session_state[_UNDO] = list(run_ids)


def run_bin() -> None:
    """After a deletion: Undo. Below it what lies in the bin, to be restored or removed."""
    lying = jobs.deleted()
    undo = [run.run_id for run in lying if run.run_id in st.session_state.get(_UNDO, [])]
    if undo:
        with st.container(
            border=True, horizontal=True, vertical_alignment="center", key="bin_undo"
        ):
            st.markdown(f":material/delete: {_runs(len(undo))} moved to the bin.", width="content")
            if st.button("Undo", icon=":material/undo:", key="undo"):
                _restore(undo)
            if st.button("Fine", type="tertiary", key="undo_no"):
                del st.session_state[_UNDO]
                st.rerun()
    if not lying:
        return
    with st.expander(f"Bin ({len(lying)})", icon=":material/delete:", key="bin"):
        ids = [run.run_id for run in lying]
        picked = st.multiselect(
            "Deleted runs", ids, key="bin_picked", placeholder="All", format_func=str
        )
        with st.container(horizontal=True, vertical_alignment="center"):
            n = len(picked or ids)
            if st.button(f"Restore {_runs(n)}", icon=":material/undo:", key="bin_restore"):
                _restore(picked or ids)
            with st.popover("Empty the bin", icon=":material/delete_forever:", key="bin_empty"):
                st.markdown(f"{_runs(len(ids))} are removed for good, weights and all.")
                if st.button("Remove for good", type="primary", key="bin_empty_yes"):
                    act(jobs.empty_bin)


def _restore(run_ids: Sequence[str]) -> None:
    def all_of_them() -> str:
        for run_id in run_ids:
            jobs.restore(run_id)
        return f"{_runs(len(run_ids))} restored."

    st.session_state.pop(_UNDO, None)
    act(all_of_them)


def opened_run(found: Sequence[Row]) -> Run | None:
    """The run that the URL names; else the first of the table, or the newest where the table is
    empty."""
    run = readers.find(chosen("run"))
    if run is not None:
        return run
    first = next(iter(shown_rows(found) or found), None)
    return readers.find(first.run_id) if first else None
