"""Runs and tasks as they go: state, phase, progress, time left, stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from genrecore import comparison, jobs, plots, runs
from genrecore.jobs import Task
from genrecore.runs import Run
from genrecore.ui import readers
from genrecore.ui.choices import choose, chosen
from genrecore.ui.frame import (
    chart,
    go_to,
    in_percent,
    link_to,
    pair,
    plain,
    section,
    sentences,
    share_column,
)

TICK_S = 2.0

# State: word, icon, colour of the badge, what it means.
STATES = {
    "queued": ("Queued", ":material/schedule:", "gray", "It waits for a free place to run."),
    "starting": ("Starting", ":material/rocket_launch:", "blue", "Its process is being started."),
    "preparing": ("Preparing", ":material/tune:", "blue", "The data is being made ready."),
    "running": ("Running", ":material/play_circle:", "blue", "It is training."),
    "stopping": (
        "Stopping",
        ":material/pause_circle:",
        "orange",
        "It was asked to stop; it finishes its step and saves what it has.",
    ),
    "stalled": (
        "Stalled",
        ":material/hourglass_disabled:",
        "orange",
        "Its process lives but has not reported for a while.",
    ),
    "lost": ("Lost", ":material/heart_broken:", "red", "Its process is gone."),
    "failed": ("Failed", ":material/error:", "red", "It ended with an error."),
    "stopped": ("Stopped", ":material/stop_circle:", "gray", "It was stopped."),
    "done": ("Done", ":material/check_circle:", "green", "It has been trained and tested."),
}
_SIGNS = {
    "queued": "○",
    "stopping": "◐",
    "stalled": "◐",
    "lost": "✕",
    "failed": "✕",
    "stopped": "■",
    "done": "✓",
}


def state_word(state: str) -> str:
    """The state as a person reads it, with a sign before it."""
    return f"{_SIGNS.get(state, '●')} {STATES.get(state, (state.capitalize(),))[0]}"


def live(function: Callable[[], Any], while_true: bool, idle_s: float | None = None) -> None:
    """Calls the function, and again every two seconds as long as there is something to watch.

    Args:
        function: Draws a part of the page.
        while_true: Whether there is something to watch.
        idle_s: How often to look when there is nothing; by default never.
    """
    st.fragment(function, run_every=TICK_S if while_true else idle_s)()


def is_live(run: Run) -> bool:
    """Whether the run works or waits for work."""
    return run.state in runs.LIVE or run.state == "queued"


def badge(state: str) -> None:
    """The state as a badge: word, icon and colour."""
    word, icon, colour, _ = STATES.get(state, (state, None, "gray", ""))
    st.badge(word, icon=icon, color=colour)  # type: ignore[arg-type]


def leak_badge(run: Run) -> None:
    """In red what is wrong with the run's split; nothing where nothing leaks."""
    if run.badge:
        st.badge(plain(run.badge), icon=":material/warning:", color="red")


def run_header(run: Run, with_stop: bool = True) -> None:
    """Title, state, stop button and progress of a run."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{plain(run.title)}**", width="content")
        badge(run.state)
        leak_badge(run)
        st.space("stretch")
        if with_stop:
            _stop_button(run)
    if run.state in runs.LIVE:
        at = readers.progress(run.status, run.state)
        left = readers.time_left(run)
        words = f"{at.words} · about {left} left" if left else at.words
        st.progress(at.share, text=plain(words))
    meaning = STATES.get(run.state, ("", "", "", ""))[3]
    if run.state in ("failed", "lost"):
        _what_went_wrong(run)
    elif run.state not in ("running", "preparing"):
        st.caption(plain(f"{meaning} {_sentence(run.reason)}".strip()))


def _sentence(text: str) -> str:
    text = text.strip()
    return text if not text else text[:1].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def _what_went_wrong(run: Run) -> None:
    st.error(
        plain(_sentence(run.reason) or "It did not say why."),
        icon=":material/error:",
        title=plain(STATES[run.state][3]),
    )
    trace = run.status.get("traceback")
    if trace:
        with st.expander("Where in the program", icon=":material/code:"):
            st.code(str(trace), language="text")


def _stop_button(run: Run) -> None:
    if run.state in ("starting", "preparing", "running", "stalled", "queued"):
        words = "Take out of the queue" if run.state == "queued" else "Stop"
        if st.button(words, icon=":material/stop_circle:", key=f"stop_{run.run_id}"):
            with sentences():
                st.toast(plain(jobs.stop(run)), icon=":material/stop_circle:")
                st.rerun()


def run_card(run: Run) -> None:
    """A run in a frame, with a button that opens it."""
    with st.container(border=True, gap="small"):
        run_header(run, with_stop=False)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(_in_short(run))
            st.space("stretch")
            if st.button(
                "Watch", icon=":material/monitoring:", type="tertiary", key=f"watch_{run.run_id}"
            ):
                go_to("runs", {"run": run.run_id})


def _in_short(run: Run) -> str:
    best = run.status.get("best_valid_accuracy")
    parts = [f"Epoch {readers.epochs_in_words(run)}"]
    if best is not None:
        parts.append(f"best validation accuracy {100 * float(best):.1f} %")
    return " · ".join(parts)


def run_details(run: Run) -> None:
    """The numbers of a run as it stands: epoch, best score, speed, time."""
    status = run.status
    best = status.get("best_valid_accuracy")
    speed = status.get("samples_per_s")
    at = status.get("best_epoch")
    columns = st.columns(4, gap="small")
    columns[0].metric("Epochs", readers.epochs_in_words(run), border=True, height="stretch")
    columns[1].metric(
        "Best validation",
        "–" if best is None else f"{100 * float(best):.1f} %",
        border=True,
        height="stretch",
        help="Accuracy on the validation clips; the epoch that reaches it is the one tested.",
        delta=f"in epoch {at}" if at else None,
        delta_color="off",
        delta_arrow="off",
    )
    columns[2].metric(
        "Speed",
        "–" if not speed else f"{float(speed):,.0f} /s",
        border=True,
        height="stretch",
        help="Segments trained on in a second.",
    )
    columns[3].metric("Time", readers.took(run), border=True, height="stretch")


def task_list(tasks: Sequence[Task]) -> None:
    """Tasks (preparing, downloading, …) with their progress; those that end badly say why."""
    for task in tasks:
        with st.container(border=True, gap="small"):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.markdown(f"**{plain(task.title)}**", width="content")
                badge(task.state)
                st.space("stretch")
                if task.state in runs.LIVE and st.button(
                    "Stop", icon=":material/stop_circle:", key=f"stop_task_{task.task_id}"
                ):
                    jobs.stop_task(task)
                    st.rerun()
            status = task.status
            if task.state in runs.LIVE or task.state == "queued":
                at = readers.progress(status, task.state)
                st.progress(at.share, text=plain(at.words))
            words = status.get("reason") or status.get("message")
            if words or task.state == "done":
                st.caption(plain(words or "Ready: a run on it starts to train at once."))


def running_now(drawn: Sequence[Run]) -> None:
    """A card for each run that works or waits.

    When one begins or ends the whole page is drawn anew, since its other parts change as well.

    Args:
        drawn: The runs that worked or waited when the page was drawn.
    """
    active = readers.active(readers.all_runs())
    if {run.run_id for run in active} != {run.run_id for run in drawn}:
        st.rerun()
    if active:
        section("Running now")
    for run in active[:6]:
        run_card(run)
    if len(active) > 6:
        st.caption(f"… and {len(active) - 6} more, under Runs.")


def run_list() -> None:
    """All runs as a table; a click on a row picks the run."""
    found = readers.all_runs()
    table = readers.run_table(found)
    table["state"] = table["state"].map(state_word)
    hidden = ["run_id", "title", *([] if table["badge"].any() else ["badge"])]
    ids = table["run_id"].to_list()
    picked = chosen("run") if chosen("run") in ids else ids[0]
    key = f"run_list_{len(ids)}_{picked}"

    def pick() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        if rows:
            choose("run", ids[rows[0]])
            st.session_state["_picked"] = True

    st.dataframe(
        in_percent(table.drop(columns=hidden), ["best"]),
        key=key,
        hide_index=True,
        height=min(38 + 35 * len(table), 360),
        on_select=pick,
        selection_mode="single-row",
        placeholder="–",
        selection_default={"selection": {"rows": [ids.index(picked)]}},
        column_config={
            "state": "State",
            "model": "Model",
            "dataset": "Dataset",
            "split": "Split",
            "badge": "Warning",
            "epochs": "Epochs",
            "best": share_column("Best validation accuracy"),
            "left": "Time left",
            "created": st.column_config.DatetimeColumn("Queued", format="D MMM YYYY, HH:mm"),
        },
    )
    if st.session_state.pop("_picked", False):
        st.rerun()


def stage(run: Run) -> tuple[bool, bool]:
    """What decides the parts of a run's page: whether it is live, whether it has begun."""
    return is_live(run), bool(run.environment)


def run_live(run_id: str, drawn: tuple[bool, bool]) -> None:
    """A run as it goes: state, progress, numbers, curves, the end of the log.

    Args:
        run_id: The run.
        drawn: Its stage when the page was drawn; at another stage the page is drawn anew.
    """
    run = readers.find(run_id)
    if run is None or stage(run) != drawn:
        st.rerun()
    run_header(run)
    run_details(run)
    history = readers.history(run)
    if len(history):
        curves = comparison.curves(run)
        best = {run.run_id: int(run.status.get("best_epoch") or 0)}
        styles = readers.styles()
        left, right = pair("curves")
        for column, measure in ((left, "accuracy"), (right, "loss")):
            with column:
                chart(
                    plots.learning_curves(curves, measure, styles, best),
                    f"{measure}_{run.run_id}",
                )
        st.caption(
            "Validation is drawn with markers, training dotted; a ring marks the best epoch. "
            "Training is measured on segments while they are learned from, as augmented; "
            "validation on whole clips."
            if "lr" in history
            else "It was fitted at one go, so there is one point each: hollow of the segments it "
            "was fitted to, filled of the whole clips of validation."
        )
    with st.expander("Log", icon=":material/notes:", expanded=run.state in ("failed", "lost")):
        log = run.log(6000) or "Nothing has been written yet."
        st.code(log, language="text", height=260 if log.count("\n") > 10 else "content")


def again(run: Run, words: str = "Train again with changes") -> None:
    """A link to the form, filled with the run's settings."""
    link_to("train", words, ":material/replay:", {"from": run.run_id})
