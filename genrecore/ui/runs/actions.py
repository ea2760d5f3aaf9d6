"""Actions on one run or several: stop, resume, continue, clone, delete and restore."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import streamlit as st

from genrecore.errors import GenrecoreError
from genrecore.evaluation.listing import RunRow
from genrecore.jobs import actions as jobs
from genrecore.jobs.advice import advice, fails_again
from genrecore.store.run import LIVE, WAITING, Run
from genrecore.store.status import silent_s, stop_request, stop_within_s
from genrecore.ui.parts import readers
from genrecore.ui.parts.choices import choose
from genrecore.ui.parts.frame import (
    act,
    announce,
    capitalised,
    go_to,
    plain,
    sentences,
    work_button,
)
from genrecore.ui.parts.live import again, state_meaning
from genrecore.ui.parts.places import choose_place_of
from genrecore.ui.runs.queue import queue_buttons
from genrecore.ui.runs.sharing import share_button
from genrecore.words import plural

ENDED = ("stopped", "failed", "lost")
TICKED = "_ticked"  # in the session: ids of the runs that are ticked in the table
UNTICKED = "_unticked"  # in the session: how often all of them were unticked
_UNDO = "_undo"  # in the session: ids of the runs that Undo would bring back


def run_actions(run: Run) -> None:
    """The buttons of a run, those that its state allows."""
    state, run_id = run.state, run.run_id
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        if state in LIVE and state != "stopping":
            _stop(run)
        if state in WAITING:
            if work_button("Take out of the queue", icon=":material/close:", key=f"stop_{run_id}"):
                act(lambda: jobs.stop(run))
            if state == "queued":
                queue_buttons(run)
        if state in ENDED and not fails_again(run):
            _resume(run)
        if state == "done" and (run.folder / "resume.pt").exists():
            _continue(run)
        _clone(run)
        if state == "done":
            share_button(run)
        if state not in LIVE and work_button(
            "Delete",
            icon=":material/delete:",
            type="tertiary",
            key=f"delete_{run_id}",
            help="It goes to the bin, from where it can be restored.",
        ):
            act(lambda: _delete(run))


def _delete(run: Run) -> str:
    sentence = jobs.delete(run)
    st.session_state[_UNDO] = [run.run_id]
    choose("run", "")
    return sentence


def _stop(run: Run) -> None:
    if work_button(
        "Stop",
        icon=":material/stop_circle:",
        key=f"stop_{run.run_id}",
        help="It finishes its step and saves a checkpoint; it can be resumed.",
    ):
        act(lambda: jobs.stop(run))
    if run.status.get("best_epoch") and work_button(
        "Stop and keep the best",
        icon=":material/workspace_premium:",
        key=f"keep_{run.run_id}",
        help="It finishes its step, its best epoch so far is tested, and it is done.",
    ):
        act(lambda: jobs.stop(run, keep_best=True))


def _resume(run: Run) -> None:
    on = choose_place_of(run)
    if work_button(
        "Resume",
        icon=":material/play_arrow:",
        type="secondary" if run.state == "failed" else "primary",
        key=f"resume_{run.run_id}",
        help="It goes on from its last checkpoint exactly as if it had not ended, or starts over "
        "where it has none.",
    ):
        act(lambda: jobs.resume(run, on))


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
        if work_button("Continue in a new run", type="primary", key=f"go_on_{run.run_id}"):
            with sentences():
                _open(jobs.continue_(run, int(epochs)), "continues it and is in the queue")


def _clone(run: Run) -> None:
    with st.popover("Clone", icon=":material/content_copy:", key=f"clone_{run.run_id}"):
        seed = run.config.seed
        if work_button(
            "With the same settings",
            key=f"clone_same_{run.run_id}",
            width="stretch",
            help="A new run with exactly these settings is queued.",
        ):
            _queue_changed(run, {})
        if work_button(
            f"With seed {seed + 1}",
            key=f"clone_seed_{run.run_id}",
            width="stretch",
            help="The same settings with other initial weights and another order of examples: it "
            "shows how much of a score is chance.",
        ):
            _queue_changed(run, {"seed": seed + 1})
        again(run, "With other settings, in the form")


def _queue_changed(run: Run, changes: dict[str, Any]) -> None:
    """Queues a clone of the run with these changes and opens it."""
    with sentences(), st.spinner("Checking the settings …"):
        _open(jobs.clone(run, changes), "is in the queue")


def _open(new: Run, news: str) -> None:
    choose("run", new.run_id)
    announce(f"{new.title} {news}.")
    st.rerun()


def stopping(run: Run) -> None:
    """What a stopping run does, and a countdown to when it is ended by force."""
    left_s = run.stop_left_s
    if run.state != "stopping" or left_s is None:
        return
    text = "Its time is up: it is being ended by force, and keeps its last checkpoint."
    if left_s > 0:
        keeps_best = stop_request(run.folder).get("keep_best")
        then = "tests its best epoch so far" if keeps_best else "saves a checkpoint"
        text = (
            f"It finishes its step and {then}; if that takes longer, it is ended by force in "
            f"{left_s:.0f} s."
        )
        silence_s = silent_s(run.folder, run.status)
        if silence_s > 5:
            text += f" Its last sign of life was {silence_s:.0f} s ago."
    whole_s = max(1.0, stop_within_s(run.folder))
    st.progress(min(1.0, max(0.0, left_s / whole_s)), text=text)


def failure_card(run: Run) -> None:
    """Why a run failed or was lost, the place in the program, and what to try."""
    if run.state not in ("failed", "lost"):
        return
    with st.container(border=True, gap="small", key="failure"):
        st.error(
            plain(capitalised(run.reason) or "It gave no reason."),
            icon=":material/error:",
            title=plain(state_meaning(run.state)),
        )
        trace = run.status.get("traceback") if run.state == "failed" else None
        if trace:
            with st.expander("Where in the program", icon=":material/code:", key="trace"):
                st.code(str(trace), language="text")
        _advice(run)


def _advice(run: Run) -> None:
    """What to try: the first change is ticked, and all ticked ones are tried in a new run."""
    suggestions, again = advice(run), fails_again(run)
    if again:
        then = "; change one of these" if suggestions else ""
        st.caption(f"Its settings and its data decide this: going on would end the same way{then}.")
    elif not suggestions:
        st.caption("The log below may say more. Resume tries again from the last checkpoint.")
    if not suggestions:
        return
    st.markdown("**What to try**")
    changes: dict[str, Any] = {}
    is_first = True
    for n, suggestion in enumerate(suggestions):
        if not suggestion.changes:
            st.markdown(f":material/lightbulb: {plain(suggestion.sentence)}")
            continue
        ticked = st.checkbox(
            plain(suggestion.sentence),
            value=is_first,
            key=f"advice_{run.run_id}_{n}",
            help=", ".join(f"{name} = {value}" for name, value in suggestion.changes.items()),
        )
        changes |= suggestion.changes if ticked else {}
        is_first = False
    if not is_first and work_button(
        "Queue the changed run",
        type="primary",
        icon=":material/play_arrow:",
        key=f"advised_{run.run_id}",
        disabled=not changes,
        help="A new run with these changes; this one stays as it is.",
    ):
        _queue_changed(run, changes)


class _OnSeveral(NamedTuple):
    """An action on several runs: which of them it can act on, and what toasts say afterwards."""

    icon: str
    help: str
    suits: Callable[[RunRow], bool]
    action: Callable[[Run], object]
    outcome: str


_ON_SEVERAL = {
    "stop": _OnSeveral(
        ":material/stop_circle:",
        "Running ones save a checkpoint; waiting ones are cancelled.",
        lambda row: row.is_active,
        jobs.stop,
        "asked to stop",
    ),
    "resume": _OnSeveral(
        ":material/play_arrow:",
        "Stopped, failed and lost runs go on from their last checkpoint.",
        lambda row: row.state in ENDED,
        jobs.resume,
        "queued again",
    ),
    "clone": _OnSeveral(
        ":material/content_copy:",
        "The same settings are queued again.",
        lambda row: True,
        lambda run: jobs.clone(run, {}),
        "cloned and queued",
    ),
    "delete": _OnSeveral(
        ":material/delete:",
        "They go to the bin, from where they can be restored. Running ones must be stopped first.",
        lambda row: not row.is_live,
        jobs.delete,
        "now in the bin",
    ),
}


def actions_on_several(ticked: Sequence[RunRow]) -> None:
    """Buttons for the ticked runs, each with the number of runs it would act on."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{plural(len(ticked), 'run')} ticked**", width="content")
        done = [row.run_id for row in ticked if not math.isnan(row.accuracy)]
        if st.button(
            f"Compare {len(done)}" if 1 < len(done) < len(ticked) else "Compare",
            icon=":material/balance:",
            key="rows_compare",
            disabled=len(done) < 2,
            help="Two or more runs that were tested, on the same clips.",
        ):
            go_to("compare", {"runs": ",".join(done)})
        for name, entry in _ON_SEVERAL.items():
            run_ids = [row.run_id for row in ticked if entry.suits(row)]
            label = name.capitalize()
            if work_button(
                f"{label} {len(run_ids)}" if 0 < len(run_ids) < len(ticked) else label,
                icon=entry.icon,
                key=f"rows_{name}",
                disabled=not run_ids,
                help=entry.help,
            ):
                _act_on(name, run_ids)
        if st.button("Untick", type="tertiary", key="rows_untick"):
            _untick()
            st.rerun()


def _untick() -> None:
    st.session_state[TICKED] = []
    st.session_state[UNTICKED] = st.session_state.get(UNTICKED, 0) + 1


def _act_on(name: str, run_ids: Sequence[str]) -> None:
    """Acts on several runs; says on how many, and why not on the others."""
    entry = _ON_SEVERAL[name]
    done, problems = [], []
    with st.spinner("Working …", show_time=True):
        for run in filter(None, map(readers.find, run_ids)):
            try:
                entry.action(run)
                done.append(run.run_id)
            except GenrecoreError as error:
                problems.append(str(error))
    for problem in problems[:3]:
        st.error(plain(problem), icon=":material/error:")
    if name == "delete" and done:
        st.session_state[_UNDO] = done
    if not problems:
        _untick()
        act(lambda: f"{plural(len(done), 'run')} {entry.outcome}.")


def run_bin() -> None:
    """Undo after a deletion; below it the runs in the bin, to be restored or removed."""
    deleted = [run.run_id for run in jobs.deleted()]
    undo = [run_id for run_id in deleted if run_id in st.session_state.get(_UNDO, [])]
    if undo:
        with st.container(
            border=True, horizontal=True, vertical_alignment="center", key="bin_undo"
        ):
            moved = f"{plural(len(undo), 'run')} moved to the bin."
            st.markdown(f":material/delete: {moved}", width="content")
            if work_button("Undo", icon=":material/undo:", key="undo"):
                _restore(undo)
            if st.button("Dismiss", type="tertiary", key="undo_no"):
                del st.session_state[_UNDO]
                st.rerun()
    if not deleted:
        return
    with st.expander(f"Bin ({len(deleted)})", icon=":material/delete:", key="bin"):
        picked = st.multiselect("Deleted runs", deleted, key="bin_picked", placeholder="All")
        picked = picked or deleted
        with st.container(horizontal=True, vertical_alignment="center"):
            label = f"Restore {plural(len(picked), 'run')}"
            if work_button(label, icon=":material/undo:", key="bin_restore"):
                _restore(picked)
            with st.popover("Empty the bin", icon=":material/delete_forever:", key="bin_empty"):
                runs = plural(len(deleted), "run")
                st.markdown(f"{runs}, weights and all, will be removed for good.")
                if work_button("Remove for good", type="primary", key="bin_empty_yes"):
                    act(jobs.empty_bin)


def _restore(run_ids: Sequence[str]) -> None:
    def restore_all() -> str:
        for run_id in run_ids:
            jobs.restore(run_id)
        return f"{plural(len(run_ids), 'run')} restored."

    st.session_state.pop(_UNDO, None)
    act(restore_all)
