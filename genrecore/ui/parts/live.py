"""Runs as they go: state, phase, progress, time left; and what draws a part of a page again."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from genrecore import words
from genrecore.jobs.tasks import Task
from genrecore.store.faults import with_note
from genrecore.store.files import Unreadable
from genrecore.store.progress import phase_text
from genrecore.store.run import LIVE, WAITING, Run
from genrecore.ui.parts.frame import capital, capitalised, go_to, link_to, plain, run_badges

TICK_S = 2.0
IDLE_S = 4.0
"""How often to look whether there is something to watch: so soon a run that was queued elsewhere is
on the page. A look takes about 50 ms."""

# State: word, sign in tables, icon, colour of the badge, what it means.
STATES = {
    "queued": ("Queued", "○", ":material/schedule:", "gray", "It waits for a free slot."),
    "waiting there": (
        "Waiting there",
        "○",
        ":material/cloud_queue:",
        "gray",
        "The cluster has its job, which has not started.",
    ),
    "requeued": (
        "Requeued",
        "◌",
        ":material/autorenew:",
        "violet",
        "Its job ended early and waits to start again; it goes on from its last checkpoint.",
    ),
    "starting": ("Starting", "●", ":material/rocket_launch:", "blue", "Its process is starting."),
    "preparing": ("Preparing", "●", ":material/tune:", "blue", "Its data is being prepared."),
    "running": ("Running", "●", ":material/play_circle:", "blue", "It is training."),
    "stopping": (
        "Stopping",
        "◐",
        ":material/pause_circle:",
        "orange",
        "It was asked to stop; it finishes its step and saves a checkpoint.",
    ),
    "stalled": (
        "Stalled",
        "◐",
        ":material/hourglass_disabled:",
        "orange",
        "Its process is alive but has not reported for a while.",
    ),
    "unknown": (
        "Unknown",
        "?",
        ":material/cloud_off:",
        "orange",
        "Nobody knows whether it still works: its scheduler does not answer.",
    ),
    "lost": ("Lost", "✕", ":material/heart_broken:", "red", "Its process is gone."),
    "failed": ("Failed", "✕", ":material/error:", "red", "It ended with an error."),
    "stopped": ("Stopped", "■", ":material/stop_circle:", "gray", "It was stopped."),
    "done": ("Done", "✓", ":material/check_circle:", "green", "It is trained and tested."),
}
_UNKNOWN = ("Unknown", "?", ":material/question_mark:", "gray", "")


def state_word(state: str) -> str:
    """The state as tables show it, with a sign before it."""
    word, sign, *_ = STATES.get(state, _UNKNOWN)
    return f"{sign} {word}"


def state_meaning(state: str) -> str:
    """What a state means, as a sentence."""
    return STATES.get(state, _UNKNOWN)[-1]


def badge(state: str, node: str = "") -> None:
    """The state as a badge: word, icon and colour; of a run that works on a cluster with its
    node."""
    word, _, icon, colour, _ = STATES.get(state, _UNKNOWN)
    on_node = f" on {plain(node)}" if node and state in ("preparing", "running") else ""
    st.badge(f"{word}{on_node}", icon=icon, color=colour)  # type: ignore[arg-type]


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

    @functools.wraps(function)
    def draw() -> None:
        try:
            function()
        except Unreadable as error:  # damaged meanwhile: the page as a whole does without it
            with_note(error)
            if error.noun == "run":
                st.rerun()
            st.error(plain(str(error)), icon=":material/error:")

    st.fragment(draw, run_every=tick_s if while_true else idle_s)()


def progress(status: Mapping[str, Any], state: str) -> tuple[float, str]:
    """How far a run or a task is: a share 0 … 1, and the words beside the bar."""
    if state == "done":
        return 1.0, "Finished"
    done, total = int(status.get("done") or 0), int(status.get("total") or 0)
    phase = capital(phase_text(str(status.get("phase") or "")))
    if not (phase and total):
        return 0.0, phase or "Waiting to start"
    share = min(1.0, done / total)
    return share, f"{phase}: {words.thousands(done)} of {words.thousands(total)}"


def time_left(run: Run | Task) -> str:
    """The time that a live run or task still needs; empty where nothing is known."""
    left_s = run.status.get("time_left_s")
    if left_s is None or run.state not in LIVE or run.state == "stopping":
        return ""
    return f"about {words.seconds(float(left_s))} left"


def run_progress(run: Run) -> None:
    """The bar of a live run, with phase and time left; nothing for any other."""
    if run.state in LIVE:
        share, text = progress(run.status, run.state)
        left = time_left(run)
        st.progress(share, text=plain(f"{text} · {left}" if left else text))


def meaning(run: Run) -> str:
    """What its state means, and why it is in it; a stopped run's reason says both."""
    if run.state == "stopped" and run.reason:
        return capitalised(run.reason)
    why = capitalised(run.reason)
    return " ".join(filter(None, (state_meaning(run.state), why, run.expected_start)))


def show_meaning(run: Run) -> None:
    """`meaning` below a run; in red where its job can never start, with what to do."""
    if run.state in WAITING and run.job.get("never"):
        then = "Take it out of the queue, change its profile on the page Settings, and resume it."
        st.error(plain(f"{run.reason} {then}"), icon=":material/block:")
    else:
        st.caption(plain(meaning(run)))


def run_title(run: Run) -> None:
    """Title, state and warning of a run."""
    st.markdown(f"**{plain(run.title)}**", width="content")
    badge(run.state, str(run.job.get("node", "")))
    run_badges(run)


def run_card(run: Run) -> None:
    """A run that works or waits, in a frame, with a button that opens it."""
    best = run.status.get("best_valid_accuracy")
    epochs = f"Epoch {epochs_of(run)}"
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            run_title(run)
        run_progress(run)
        if run.state not in ("running", "preparing"):
            show_meaning(run)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(
                epochs
                if best is None
                else f"{epochs} · best validation accuracy {words.percent(float(best))}"
            )
            st.space("stretch")
            if st.button(
                "Watch", icon=":material/monitoring:", type="tertiary", key=f"watch_{run.run_id}"
            ):
                go_to("runs", {"run": run.run_id})


def epochs_of(run: Run) -> str:
    """Epochs done of epochs planned."""
    return f"{int(run.status.get('epoch') or 0)} of {run.n_epochs}"


def again(run: Run, label: str = "Train again with changes") -> None:
    """A link to the form, filled with the run's settings."""
    link_to("train", label, ":material/replay:", {"from": run.run_id})
