"""What can be done to one run: stop with its countdown, resume, continue, clone, delete; and the
card that a failed run gets."""

from __future__ import annotations

import time
from typing import Any

import streamlit as st

from genrecore.jobs import actions as jobs
from genrecore.jobs import advice as advices
from genrecore.store import run as runs
from genrecore.store.run import Run
from genrecore.store.status import stop_request
from genrecore.ui.parts.choices import choose
from genrecore.ui.parts.frame import act, announce, plain, sentences
from genrecore.ui.parts.live import STATES, again, sentence
from genrecore.ui.runs.queue import queue_buttons
from genrecore.ui.runs.table import ENDED, deleted_just_now


def run_actions(run: Run) -> None:
    """The buttons of a run, those that its state allows."""
    state, run_id = run.state, run.run_id
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if state in runs.LIVE and state != "stopping":
            _stop(run)
        if state == "queued":
            if st.button("Take out of the queue", icon=":material/close:", key=f"stop_{run_id}"):
                act(lambda: jobs.stop(run))
            queue_buttons(run)
        if state in ENDED and st.button(
            "Resume",
            icon=":material/play_arrow:",
            type="secondary" if state == "failed" else "primary",
            key=f"resume_{run_id}",
            help="It goes on from its last checkpoint exactly as if it had not ended, or starts "
            "over where it has none.",
        ):
            act(lambda: jobs.resume(run))
        if state == "done" and (run.folder / "resume.pt").exists():
            _continue(run)
        _clone(run)
        if state not in runs.LIVE and st.button(
            "Delete",
            icon=":material/delete:",
            type="tertiary",
            key=f"delete_{run_id}",
            help="It goes to the bin, from where it can be restored.",
        ):
            with sentences():
                said = jobs.delete(run)
                deleted_just_now([run_id])
                choose("run", "")
                announce(said, ":material/delete:")
                st.rerun()


def _stop(run: Run) -> None:
    if st.button(
        "Stop",
        icon=":material/stop_circle:",
        key=f"stop_{run.run_id}",
        help="It finishes its step and keeps a checkpoint; it can be resumed.",
    ):
        act(lambda: jobs.stop(run))
    if run.status.get("best_epoch") and st.button(
        "Stop and keep the best",
        icon=":material/workspace_premium:",
        key=f"keep_{run.run_id}",
        help="It finishes its step, its best epoch so far is tested, and it is done.",
    ):
        act(lambda: jobs.stop(run, keep_best=True))


def _continue(run: Run) -> None:
    done = len(run.history)
    with st.popover("Continue", icon=":material/fast_forward:", key=f"continue_{run.run_id}"):
        epochs = st.number_input(
            "Epochs in all",
            min_value=done + 1,
            max_value=5000,
            value=min(5000, done + max(1, run.config.training.epochs // 2)),
            key=f"epochs_{run.run_id}",
            help=f"It has {done}. A new run goes on from there; this one stays as it is.",
        )
        if st.button("Go on", type="primary", key=f"go_on_{run.run_id}"):
            with sentences():
                _open(jobs.continue_(run, int(epochs)), "continues it and is in the queue")


def _clone(run: Run) -> None:
    with st.popover("Clone", icon=":material/content_copy:", key=f"clone_{run.run_id}"):
        seed = run.config.seed
        if st.button(
            "The same again",
            key=f"clone_same_{run.run_id}",
            width="stretch",
            help="A new run with exactly these settings is queued.",
        ):
            queue_changed(run, {})
        if st.button(
            f"With seed {seed + 1}",
            key=f"clone_seed_{run.run_id}",
            width="stretch",
            help="The same settings with other initial weights and another order of examples: "
            "shows how much chance there is in a score.",
        ):
            queue_changed(run, {"seed": seed + 1})
        again(run, "With edits, in the form")


def queue_changed(run: Run, changes: dict[str, Any]) -> None:
    """Queues a clone of the run with these changes and opens it."""
    with sentences(), st.spinner("Checking the settings …"):
        _open(jobs.clone(run, changes), "is in the queue")


def _open(new: Run, words: str) -> None:
    choose("run", new.run_id)
    announce(f"{new.title} {words}.")
    st.rerun()


def stopping(run: Run) -> None:
    """While a run stops: what it does, and a countdown to when it is ended by force."""
    by = run.stop_by
    if run.state != "stopping" or by is None:
        return
    request, now = stop_request(run.folder), time.time()
    left_s = max(0.0, by - now)
    if left_s > 0:
        then = (
            "its best epoch so far is tested" if request.get("keep_best") else "keeps a checkpoint"
        )
        words = (
            f"It finishes its step, and {then}; if that takes longer, it is ended by force in "
            f"{left_s:.0f} s."
        )
        silent_s = now - float(run.status.get("heartbeat") or now)
        if silent_s > 5:
            words += f" Its last sign of life was {silent_s:.0f} s ago."
    else:
        words = "Its time is up: it is being ended by force, and keeps its last checkpoint."
    whole_s = max(1.0, by - float(request.get("at") or now))
    st.progress(min(1.0, left_s / whole_s), text=words)


def failure_card(run: Run) -> None:
    """Why a run failed or was lost, where in the program, and what to try."""
    if run.state not in ("failed", "lost"):
        return
    with st.container(border=True, gap="small", key="failure"):
        st.error(
            plain(sentence(run.reason) or "It did not say why."),
            icon=":material/error:",
            title=plain(STATES[run.state][3]),
        )
        trace = run.status.get("traceback") if run.state == "failed" else None
        if trace:
            with st.expander("Where in the program", icon=":material/code:", key="trace"):
                st.code(str(trace), language="text")
        given = advices.advice(run)
        if not given:
            st.caption(
                "The log below may say more. Resume tries once more from the last checkpoint."
            )
            return
        st.markdown("**What to try**")
        changes: dict[str, Any] = {}
        places: list[int] = []
        for place, one in enumerate(given):
            if not one.changes:
                st.markdown(f":material/lightbulb: {plain(one.words)}")
                continue
            ticked = st.checkbox(
                plain(one.words),
                value=not places,
                key=f"advice_{run.run_id}_{place}",
                help=", ".join(f"{name} = {value}" for name, value in one.changes.items()),
            )
            places.append(place)
            if ticked:
                changes |= one.changes
        if places and st.button(
            "Queue the changed run",
            type="primary",
            icon=":material/play_arrow:",
            key=f"advised_{run.run_id}",
            disabled=not changes,
            help="A new run with these changes; this one stays as it is.",
        ):
            queue_changed(run, changes)
