"""How many runs a plan makes and how long they take, and the buttons that measure and queue it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from genrecore.config.run import RunConfig
from genrecore.experiments.draft import Draft
from genrecore.experiments.estimates import Estimator
from genrecore.jobs.tasks import Task, start_task, tasks
from genrecore.store.run import LIVE, find_same
from genrecore.ui.datasets import readers as dataset_readers
from genrecore.ui.datasets.choice import DatasetChoice
from genrecore.ui.parts import readers
from genrecore.ui.parts.forms import start_button
from genrecore.ui.parts.frame import command, plain, sentences
from genrecore.ui.parts.live import live, task_list
from genrecore.words import plural

_MOST_LEFT_OUT = 4
_TASK = "measuring"  # in the session: the task that measures how long a plan takes


def plan_panel(
    plan: Draft,
    start: Callable[[Sequence[RunConfig]], None],
    words: list[str],
    headline: str = "",
    nothing_new: str = "Keep them as a plan",
    again: bool = False,
    measurable: bool = True,
) -> None:
    """The panel of a plan.

    Args:
        plan: The plan.
        start: Queues it; gets the runs that are not there yet.
        words: The same as a command.
        headline: In place of the number of runs.
        nothing_new: What the button says where every run is there already.
        again: Whether runs that are there are trained again.
        measurable: Whether the command can measure how long the runs take.
    """
    there = find_same(plan.configs)
    new = [config for config, run in zip(plan.configs, there, strict=True) if again or not run]
    n_there = len(plan.configs) - len(new)
    with st.container(border=True, gap="small"):
        st.markdown(headline or f"**{plural(len(plan.configs), 'run')}**")
        if n_there:
            verb = "is" if n_there == 1 else "are"
            st.caption(f"{n_there} of them {verb} there already and not trained again.")
        can_measure = bool(new) and show_estimate(new, measurable)
        st.caption("Closing this page stops nothing.")
        for sentence in plan.left_out[:_MOST_LEFT_OUT]:
            st.caption(f":material/block: Left out: {plain(sentence)}")
        if len(plan.left_out) > _MOST_LEFT_OUT:
            st.caption(f"… and {len(plan.left_out) - _MOST_LEFT_OUT} more reasons.")
    label = f"Queue {plural(len(new), 'run')}" if new else nothing_new
    buttons(label, lambda: start(new), words, can_measure)


def show_estimate(configs: Sequence[RunConfig], measurable: bool = True) -> bool:
    """Says how long runs take; returns whether measuring a few training steps would tell more."""
    estimator = Estimator(readers.all_runs())
    for config in estimator.uncounted(configs):
        dataset = DatasetChoice(config.dataset.name, dict(config.dataset.options))
        if dataset_readers.is_made(dataset):
            estimator.add_clips(config, dataset_readers.read(dataset).clips)
    can_measure = measurable and bool(estimator.unmeasured(configs))
    more = " You can measure a few training steps to find out." if can_measure else ""
    st.caption(plain(estimator.total(configs).sentence + more))
    return can_measure


def buttons(label: str, start: Callable[[], None], words: list[str], can_measure: bool) -> None:
    """The button that starts a plan, the one that measures it, and the command."""
    if start_button(label, "queue"):
        with sentences():
            start()
    if can_measure and st.button(
        "Measure how long it takes",
        icon=":material/timer:",
        width="stretch",
        key="measure",
        help="Takes a few training steps of each model on random numbers; nothing is queued.",
    ):
        task = start_task([*words[1:], "--dry-run"], "Measuring training steps")
        st.session_state[_TASK] = task.task_id
    command(words)


def measurement() -> None:
    """The measurement that this visitor started, while it works or where it failed."""
    started = _own_tasks()
    if started and started[0].state in LIVE:
        live(_show_measurement, while_true=True)
    elif started and started[0].state != "done":
        task_list(started)


def _show_measurement() -> None:
    """The measurement at work; when it ends the page is drawn anew, with its result."""
    started = _own_tasks()
    if not any(task.state in LIVE for task in started):
        st.rerun()
    task_list(started)


def _own_tasks() -> list[Task]:
    return [task for task in tasks()[:20] if task.task_id == st.session_state.get(_TASK)]
