"""The queue: in which order waiting runs start, and whether any starts at all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import streamlit as st

from genrecore import words
from genrecore.evaluation.listing import RunRow
from genrecore.jobs import actions as jobs
from genrecore.jobs.access import visitor
from genrecore.jobs.queue import on_clusters
from genrecore.store.disks import is_full
from genrecore.store.run import Run, store_dir
from genrecore.ui.parts.frame import act, plain, section, work_button

_SHOWN = 8  # rows with buttons; the others wait in the table
_PRIORITIES = {10: "High", 0: "Normal", -10: "Low"}
_WAYS = {
    "first": ("vertical_align_top", "To the head of the queue"),
    "up": ("arrow_upward", "One place earlier"),
    "down": ("arrow_downward", "One place later"),
    "last": ("vertical_align_bottom", "To the end of the queue"),
}


def run_queue(rows: Sequence[RunRow]) -> None:
    """The waiting runs in the order in which they start, with buttons that change it; nothing where
    no run waits or works."""
    n_at_work = sum(row.is_live for row in rows)
    paused, there = jobs.paused(), on_clusters(row.state for row in rows)
    waiting = jobs.queued(store_dir()) if any(row.state == "queued" for row in rows) else []
    if not (waiting or paused or n_at_work):
        return
    if not (waiting or paused):
        with st.expander(
            "Queue of this machine: no run waits", icon=":material/low_priority:", key="queue_empty"
        ):
            st.caption("The next run starts as soon as a place is free.")
            _pause_buttons(False, n_at_work, there)
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        with st.container(width="content"):
            section("Queue")
        st.space("stretch")
        _pause_buttons(bool(paused), n_at_work, there)
    if paused:
        when = words.moment(float(paused.get("at", 0.0)))
        st.info(
            f"The queue is paused since {when}: waiting runs do not start. {there}",
            icon=":material/pause_circle:",
        )
    elif waiting and is_full(store_dir()):
        st.warning(
            "The disk of the runs is full: waiting runs start by themselves when there is room.",
            icon=":material/hard_drive:",
        )
    if not waiting:
        st.caption("No run waits.")
    for position, run in enumerate(waiting[:_SHOWN]):
        _line(position, run, len(waiting))
    if len(waiting) > _SHOWN:
        more = words.thousands(len(waiting) - _SHOWN)
        st.caption(f"… and {more} more behind them; open one to move it.")


def _pause_buttons(paused: bool, n_at_work: int, there: str) -> None:
    if paused:
        if work_button("Resume the queue", icon=":material/play_arrow:", key="queue_resume"):
            act(jobs.unpause)
        return
    with st.popover("Pause", icon=":material/pause:", key="queue_pause"):
        if work_button(
            "After the running ones" if n_at_work else "Start no run",
            key="queue_pause_after",
            icon=":material/pause:",
            width="stretch",
            help="Running ones finish; no other run starts until you resume.",
        ):
            act(jobs.pause)
        if n_at_work and work_button(
            "Now",
            key="queue_pause_now",
            icon=":material/pause_circle:",
            width="stretch",
            help="Running ones save a checkpoint and wait at the head of the queue.",
        ):
            act(lambda: jobs.pause(now=True))
        if there:
            st.caption(there)


def _line(position: int, run: Run, n: int) -> None:
    with st.container(
        horizontal=True, vertical_alignment="center", gap="xsmall", key=f"queue_{run.run_id}"
    ):
        st.markdown(f":gray[{position + 1}]", width=22)
        epochs = words.plural(run.n_epochs, "epoch")
        where = f" · {plain(run.place)}" if run.place else ""
        st.markdown(f"{plain(run.title)} :gray[· {epochs}{where}]", width="content")
        st.space("stretch")
        with st.container(
            horizontal=True, vertical_alignment="center", gap="xsmall", width="content"
        ):
            queue_buttons(run, position, n)
            if _icon_button("close", f"cancel_{run.run_id}", "Take it out of the queue"):
                act(lambda: jobs.stop(run))


def queue_buttons(run: Run, position: int | None = None, n: int = 0) -> None:
    """Priority and place in the queue of a waiting run.

    Args:
        run: A queued run.
        position: In the queue, from 0, where it is known.
        n: How many wait.
    """
    if n == 1:
        return
    own = "run_" if position is None else ""  # a run may stand in the queue and be open below
    priority = int(run.queue.get("priority", 0))
    names = {priority: f"Priority {priority}", **_PRIORITIES}
    priorities = sorted(names, reverse=True)
    picked = st.selectbox(
        "Priority",
        priorities,
        index=priorities.index(priority),
        format_func=names.__getitem__,
        key=f"{own}priority_{run.run_id}_{priority}",
        label_visibility="collapsed",
        width=100,
        disabled=not visitor().may_work,
        help="Higher ones start earlier.",
    )
    if picked != priority:
        act(lambda: jobs.prioritise(run, int(picked)))
    for way, (icon, help) in _WAYS.items():
        at_end = position == (0 if way in ("first", "up") else n - 1)
        if _icon_button(icon, f"{own}{way}_{run.run_id}", help, at_end):
            act(partial(jobs.move, run, way))


def _icon_button(icon: str, key: str, help: str, disabled: bool = False) -> bool:
    return work_button(
        "", icon=f":material/{icon}:", key=key, help=help, disabled=disabled, type="tertiary"
    )
