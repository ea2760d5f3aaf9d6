"""Runs and tasks as they go: state, phase, progress, time left, stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from genrecore.jobs import actions as jobs
from genrecore.jobs.actions import Task
from genrecore.store import run as runs
from genrecore.store.run import Run
from genrecore.ui.parts import readers, run_rows
from genrecore.ui.parts.frame import go_to, link_to, plain, section
from genrecore.ui.runs.alerts import toasts

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


def live(
    function: Callable[[], Any],
    while_true: bool,
    idle_s: float | None = None,
    tick_s: float = TICK_S,
) -> None:
    """Calls the function, and again every few seconds as long as there is something to watch.

    Args:
        function: Draws a part of the page.
        while_true: Whether there is something to watch.
        idle_s: How often to look when there is nothing; by default never.
        tick_s: How often to look when there is something.
    """
    st.fragment(function, run_every=tick_s if while_true else idle_s)()


def is_live(run: Run) -> bool:
    """Whether the run works or waits for work."""
    return run.state in runs.LIVE or run.state == "queued"


def badge(state: str) -> None:
    """The state as a badge: word, icon and colour."""
    word, icon, colour, _ = STATES.get(state, (state, None, "gray", ""))
    st.badge(word, icon=icon, color=colour)  # type: ignore[arg-type]


def leak_badge(run: Run) -> None:
    """In red what training knew of the test clips, in orange that it is a rehearsal; nothing where
    neither is so."""
    if run.badge:
        colour = "red" if run.leak else "orange"
        st.badge(plain(run.badge), icon=":material/warning:", color=colour)  # type: ignore[arg-type]


def run_header(run: Run) -> None:
    """Title, state and progress of a run."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{plain(run.title)}**", width="content")
        badge(run.state)
        leak_badge(run)
    run_progress(run)
    if run.state in ("failed", "lost"):
        st.error(
            plain(sentence(run.reason) or "It did not say why."),
            icon=":material/error:",
            title=plain(STATES[run.state][3]),
        )
    elif run.state not in ("running", "preparing"):
        st.caption(plain(meaning(run)))


def run_progress(run: Run) -> None:
    """The bar of a live run, with phase and time left; nothing for any other."""
    if run.state in runs.LIVE:
        at = readers.progress(run.status, run.state)
        left = readers.time_left(run)
        words = f"{at.words} · about {left} left" if left else at.words
        st.progress(at.share, text=plain(words))


def meaning(run: Run) -> str:
    """What its state means, and why it is in it; a stopped run's reason says both."""
    if run.state == "stopped" and run.reason:
        return sentence(run.reason)
    return f"{STATES[run.state][3]} {sentence(run.reason)}".strip()


def sentence(text: str) -> str:
    """The text with a capital letter and a full stop."""
    text = text.strip()
    return text if not text else text[:1].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def run_card(run: Run) -> None:
    """A run in a frame, with a button that opens it."""
    with st.container(border=True, gap="small"):
        run_header(run)
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
    toasts(run_rows.rows())
    active = readers.active(readers.all_runs())
    if {run.run_id for run in active} != {run.run_id for run in drawn}:
        st.rerun()
    if active:
        section("Running now")
    for run in active[:6]:
        run_card(run)
    if len(active) > 6:
        st.caption(f"… and {len(active) - 6} more, under Runs.")


def again(run: Run, words: str = "Train again with changes") -> None:
    """A link to the form, filled with the run's settings."""
    link_to("train", words, ":material/replay:", {"from": run.run_id})
