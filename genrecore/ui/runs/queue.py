"""The queue: in which order waiting runs start, and whether any starts at all."""

from __future__ import annotations

from functools import partial

import streamlit as st

from genrecore import words
from genrecore.jobs import actions as jobs
from genrecore.store.run import Run, store_dir
from genrecore.ui.parts import readers
from genrecore.ui.parts.frame import act, plain, section
from genrecore.ui.parts.readers import RunRow

_SHOWN = 8  # rows with buttons; the others wait in the table
_PRIORITIES = {10: "High", 0: "Normal", -10: "Low"}
_WAYS = {
    "first": (":material/vertical_align_top:", "To the head of the queue"),
    "up": (":material/arrow_upward:", "One place earlier"),
    "down": (":material/arrow_downward:", "One place later"),
    "last": (":material/vertical_align_bottom:", "To the end of the queue"),
}


def run_queue() -> None:
    """The waiting runs in the order in which they start, and what changes that order; nothing
    where no run waits or works."""
    rows = readers.run_rows()
    n_at_work = sum(row.is_live for row in rows)
    waiting = [row for row in rows if row.state == "queued"]
    paused = jobs.paused()
    if not (waiting or paused or n_at_work):
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        with st.container(width="content"):
            section("Queue")
        st.space("stretch")
        _pausing(bool(paused), n_at_work)
    if paused:
        when = words.moment(float(paused.get("at", 0.0)))
        st.info(
            f"The queue is paused since {when}: waiting runs do not start.",
            icon=":material/pause_circle:",
        )
    if not waiting:
        st.caption("No run waits." if paused else "No run waits: the next one starts at once.")
        return
    _list(waiting, n_at_work, bool(paused))


def _pausing(paused: bool, n_at_work: int) -> None:
    if paused:
        if st.button("Resume the queue", icon=":material/play_arrow:", key="queue_resume"):
            act(jobs.unpause)
        return
    with st.popover("Pause", icon=":material/pause:", key="queue_pause"):
        if st.button(
            "After the running ones" if n_at_work else "Start no run",
            key="queue_pause_after",
            icon=":material/pause:",
            width="stretch",
            help="Running ones finish; no other run starts until you resume.",
        ):
            act(jobs.pause)
        if n_at_work and st.button(
            "Now",
            key="queue_pause_now",
            icon=":material/pause_circle:",
            width="stretch",
            help="Running ones save a checkpoint and wait at the head of the queue.",
        ):
            act(lambda: jobs.pause(now=True))


def _list(waiting: list[RunRow], n_at_work: int, paused: bool) -> None:
    by_id = {row.run_id: row for row in waiting}
    order = [run for run in jobs.queued(store_dir()) if run.run_id in by_id]
    for place, run in enumerate(order[:_SHOWN]):
        _line(place, run, by_id[run.run_id], len(order))
    if len(order) > _SHOWN:
        st.caption(f"… and {len(order) - _SHOWN:,} more behind them; open one to move it.")


def _line(place: int, run: Run, row: RunRow, n: int) -> None:
    with st.container(
        horizontal=True, vertical_alignment="center", gap="xsmall", key=f"queue_{row.run_id}"
    ):
        st.markdown(f":gray[{place + 1}]", width=22)
        st.markdown(
            f"{plain(row.title)} :gray[· {words.plural(row.n_epochs, 'epoch')}]", width="content"
        )
        st.space("stretch")
        with st.container(
            horizontal=True, vertical_alignment="center", gap="xsmall", width="content"
        ):
            queue_buttons(run, place, n)


def queue_buttons(run: Run, place: int | None = None, n: int = 0) -> None:
    """What changes when a waiting run starts.

    Args:
        run: A queued run.
        place: Its place in the queue, from 0, where it is known.
        n: How many wait.
    """
    known = place is not None
    own = "" if known else "run_"  # the same run may stand in the queue and be open below
    if n != 1:
        priority = int(run.queue.get("priority", 0))
        names = dict(sorted({**{priority: f"Priority {priority}"}, **_PRIORITIES}.items()))
        key = f"{own}priority_{run.run_id}_{priority}"
        picked = st.selectbox(
            "Priority",
            sorted(names, reverse=True),
            index=sorted(names, reverse=True).index(priority),
            format_func=names.__getitem__,
            key=key,
            label_visibility="collapsed",
            width=100,
            help="Higher ones start earlier.",
        )
        if picked != priority:
            act(lambda: jobs.prioritise(run, int(picked)))
        for way, (icon, help_) in _WAYS.items():
            at_end = (place == 0 and way in ("first", "up")) or (
                known and place == n - 1 and way in ("down", "last")
            )
            if st.button(
                "", icon=icon, key=f"{own}{way}_{run.run_id}", help=help_, disabled=at_end,
                type="tertiary",
            ):  # fmt: skip
                act(partial(jobs.move, run, way))
    if known and st.button(
        "", icon=":material/close:", key=f"cancel_{run.run_id}", type="tertiary",
        help="Take it out of the queue",
    ):  # fmt: skip
        act(lambda: jobs.stop(run))
