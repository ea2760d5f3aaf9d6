"""How many runs a plan makes and how long they take, and the buttons that measure and queue it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from genrecore.config.run import RunConfig
from genrecore.experiments.estimates import Estimator
from genrecore.jobs.places import ELSEWHERE, on_words
from genrecore.store.run import Run
from genrecore.store.runs import find_same
from genrecore.ui.datasets import readers as dataset_readers
from genrecore.ui.datasets.choice import DatasetChoice
from genrecore.ui.parts.forms import start_button
from genrecore.ui.parts.frame import command, plain, sentences
from genrecore.ui.parts.places import choose_places, link_to_clusters
from genrecore.ui.parts.tasks import task_button, watch
from genrecore.words import plural

_MOST_LEFT_OUT = 4


def plan_panel(
    configs: Sequence[RunConfig],
    runs: Sequence[Run],
    start: Callable[[Sequence[RunConfig], list[str]], None],
    command_words: list[str],
    left_out: Sequence[str] = (),
    headline: str = "",
    nothing_new: str = "Keep them as a plan",
    again: bool = False,
    measurable: bool = True,
    refused: Sequence[str] = (),
    red: str = "",
) -> None:
    """The panel of a plan.

    Args:
        configs: Of its runs, resolved.
        runs: All of the store.
        start: Queues it; gets the configurations that have no run yet, and the places to which
            their runs are dealt.
        command_words: The same as a command.
        left_out: Combinations without a run, in sentences.
        headline: Shown instead of the number of runs.
        nothing_new: On the button where every run exists already.
        again: Whether existing runs are trained again.
        measurable: Whether the command can measure how long the runs take.
        refused: Why further runs are left out because they would fail, in sentences.
        red: At the end of the button's label where its runs leak.
    """
    for sentence in refused:
        st.warning(plain(sentence), icon=":material/block:")
    existing = find_same(configs, among=runs)
    new = [config for config, run in zip(configs, existing, strict=True) if again or not run]
    n_existing = len(configs) - len(new)
    with st.container(border=True, gap="small"):
        st.markdown(headline or f"**{plural(len(configs), 'run')}**")
        if n_existing:
            verb = "is" if n_existing == 1 else "are"
            st.caption(f"{n_existing} of them {verb} there already and will not be trained again.")
        can_measure = bool(new) and show_estimate(new, runs, measurable)
        st.caption("Closing this page stops nothing.")
        for sentence in left_out[:_MOST_LEFT_OUT]:
            st.caption(f":material/block: Left out: {plain(sentence)}")
        if len(left_out) > _MOST_LEFT_OUT:
            st.caption(f"… and {len(left_out) - _MOST_LEFT_OUT} more reasons.")
    places = choose_places() if new else []
    if any(places):
        st.caption(ELSEWHERE)
    which = f"the {len(new)} that can run" if refused else plural(len(new), "run")
    label = f"Queue {which}{red}" if new else nothing_new
    buttons(label, lambda: start(new, places), command_words, can_measure, places)


def estimator_for(configs: Sequence[RunConfig], runs: Sequence[Run]) -> Estimator:
    """An estimator that knows these runs, the newest first, and the clips of these
    configurations."""
    estimator = Estimator(runs)
    for config in estimator.uncounted(configs):
        dataset = DatasetChoice(config.dataset.name, dict(config.dataset.options))
        if dataset_readers.is_made(dataset):
            estimator.add_clips(config, dataset_readers.read_dataset(dataset).clips)
    return estimator


def show_estimate(
    configs: Sequence[RunConfig], runs: Sequence[Run], measurable: bool = True
) -> bool:
    """Says how long runs take; returns whether measuring a few training steps would tell more."""
    estimator = estimator_for(configs, runs)
    can_measure = measurable and bool(estimator.unmeasured(configs))
    more = " You can measure a few training steps to find out." if can_measure else ""
    st.caption(plain(estimator.total(configs).sentence + more))
    return can_measure


def buttons(
    label: str,
    start: Callable[[], None],
    command_words: list[str],
    can_measure: bool,
    places: Sequence[str],
) -> None:
    """The button that starts a plan, the one that measures it, and the command, which sends its
    runs to these places."""
    if start_button(label, "queue"):
        with sentences():
            start()
    measure = [*command_words[1:], "--dry-run"]
    if can_measure:
        task_button(
            "Measure how long it takes",
            measure,
            "Measuring training steps",
            "measure",
            ":material/timer:",
            "secondary",
            help="Takes a few training steps of each model on random numbers; nothing is queued.",
            width="stretch",
        )
        watch(measure)
    link_to_clusters()
    command([*command_words, *on_words(places)])
