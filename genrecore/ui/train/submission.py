"""The panel beside the form of a run: what it will be, the buttons, its device, the command."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from genrecore import words
from genrecore.config.command import train_command
from genrecore.config.run import RunConfig, differences
from genrecore.data.splits import SPLITS
from genrecore.errors import GenrecoreError
from genrecore.evaluation.listing import Listing
from genrecore.jobs.actions import annotate, submit
from genrecore.jobs.places import ELSEWHERE, on_words
from genrecore.store.about import MOST_NAME
from genrecore.store.run import Run
from genrecore.training import hardware
from genrecore.training.parts import setting_title
from genrecore.training.resolve import resolve
from genrecore.ui.datasets.choice import prepare_words
from genrecore.ui.parts import forms
from genrecore.ui.parts.encoders import show_encoder
from genrecore.ui.parts.fitting import RED, show_check
from genrecore.ui.parts.frame import announce, command, go_to, plain, sentences
from genrecore.ui.parts.places import choose_place, link_to_clusters
from genrecore.ui.parts.tasks import task_button, watch
from genrecore.ui.plans.panel import estimator_for

_HOW = {"runs": "by similar earlier runs", "steps": "by training steps measured here"}


def run_panel(values: Mapping[str, Any], parent: Run | None, listing: Listing) -> None:
    """Checks the form, shows the run that it makes, and offers to train and to prepare.

    Args:
        values: Dotted values of the form.
        parent: The run whose settings the form was opened with.
        listing: All runs of the store.
    """
    encoder = st.container(gap="small")
    place = choose_place(str(parent.queue.get("on", "")) if parent else "")
    name = st.text_input(
        "Name",
        max_chars=MOST_NAME,
        key="run_name",
        placeholder="Made from the settings",
        help="Lists, charts and reports show it, and commands find the run by it. You can change "
        "it later.",
    ).strip()
    with st.container(key="train_bar", gap="small"):
        config = _start_part(values, parent, listing, encoder, place, name)
    if config is None:
        return
    if not place:
        device = hardware.choose(config.device, config.training.precision)
        on = f"Runs on {device.name}, in {device.precision}. Precision is {device.reason}"
        st.caption(plain(on))
    link_to_clusters()
    if parent:
        _changes(config, parent)
    _prepare(config)
    named = ["--name", name] if name else []
    command([*train_command(config, background=not place), *named, *on_words([place])])


def _start_part(
    values: Mapping[str, Any],
    parent: Run | None,
    listing: Listing,
    encoder: DeltaGenerator,
    place: str,
    name: str,
) -> RunConfig | None:
    """What stays in view: the run in a line, its time, its check and the button, which sends it to
    `place` under a name; None where the form is refused. What there is to know of its encoder goes
    into a container of its own."""
    with forms.checked("Train", "train"):
        config = forms.configuration(values, parent.config if parent else None)
        leaks = config.standardise_on == "all" and not config.allow_leaks
        if leaks:
            st.error(
                "Statistics of all clips let training know something of the test clips.",
                icon=":material/block:",
            )
            config = config.model_copy(update={"allow_leaks": True})
        with encoder:
            show_encoder(config)
        config = resolve(config).config
        split = SPLITS[config.split.name].title
        st.markdown(f"**{plain(f'{config.dataset.name} · {split} · {config.model.name}')}**")
        done = " ".join(row.run_id for row in listing.rows if row.state == "done")
        time_taken = _time(config.model_dump_json(), done, listing.runs)
        st.caption(f"{time_taken} {ELSEWHERE if place else ''}".strip())
        accepted = show_check(config, "Train" + (RED if leaks else ""), "train")
        if accepted is None:
            return None
        config, label = accepted
        if forms.start_button(
            label, "train", "Puts the run into the queue; it starts as soon as a place is free."
        ):
            with sentences():
                origin = {"parent": parent.run_id, "how": "cloned"} if parent else None
                run = submit(config, origin=origin, on=place)
                if name:
                    annotate(run, name=name)
                announce(f"{Run(run.folder).title} is in the queue.")
                go_to("runs", {"run": run.run_id})
        return config
    return None


@st.cache_data(show_spinner=False, max_entries=64)
def _time(config: str, done: str, _runs: Sequence[Run]) -> str:
    """How long a run of this configuration may take, as long as these runs are those done."""
    run_config = RunConfig.model_validate_json(config)
    with suppress(GenrecoreError):  # the check says what is wrong
        estimate = estimator_for([run_config], _runs).estimate(run_config)
        if estimate.source:
            at_most = "At most about" if run_config.training.patience else "About"
            return f"{at_most} {words.seconds(estimate.seconds)}, {_HOW[estimate.source]}."
    return "How long it takes is not known: no run like this yet."


def _changes(config: RunConfig, parent: Run) -> None:
    """What differs from the run that the form was opened with."""
    here = differences(config, parent.config)
    in_parent = differences(parent.config, config)

    def text(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value)

    with st.container(border=True, gap="small"):
        st.markdown(f"**Changed against {plain(parent.title)}**")
        if not here:
            st.caption("Nothing yet: it would be the same run again.")
        for name, value in here.items():
            title = setting_title(config, name)
            there = text(in_parent.get(name, "default"))
            st.markdown(f"{plain(title)}: {plain(there)} → **{plain(text(value))}**")


def _prepare(config: RunConfig) -> None:
    """The button that prepares the dataset, and its progress."""
    arguments = prepare_words(config.dataset, config.audio)
    task_button(
        "Prepare now",
        arguments,
        f"Preparing {config.dataset.name}",
        "prepare",
        ":material/download:",
        "secondary",
        help="Makes or reads the dataset without training. A run does this by itself, too.",
        width="stretch",
    )
    watch(arguments[:3])  # also one with other settings
