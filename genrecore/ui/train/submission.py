"""The panel beside the form of a run: its device, its changes, the buttons, the command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from genrecore.config.command import train_command
from genrecore.config.run import RunConfig, differences
from genrecore.jobs.actions import submit
from genrecore.store.run import Run
from genrecore.training import hardware
from genrecore.training.resolve import resolve
from genrecore.ui.datasets.choice import prepare_words
from genrecore.ui.parts import forms
from genrecore.ui.parts.fitting import RED, show_check
from genrecore.ui.parts.frame import announce, command, go_to, plain, sentences
from genrecore.ui.parts.tasks import task_button, watch


def run_panel(values: Mapping[str, Any], parent: Run | None) -> None:
    """Checks the form, shows the run that it makes, and offers to prepare and to train.

    Args:
        values: Dotted values of the form.
        parent: The run whose settings the form was opened with.
    """
    with forms.checked("Train", "train"):
        config = forms.configuration(values, parent.config if parent else None)
        leaks = config.standardise_on == "all" and not config.allow_leaks
        if leaks:
            st.error(
                "Statistics of all clips let training know something of the test clips.",
                icon=":material/block:",
            )
            config = config.model_copy(update={"allow_leaks": True})
        config = resolve(config).config
        accepted = show_check(config, "Train" + (RED if leaks else ""), "train")
        if accepted is None:
            return
        config, label = accepted
        device = hardware.choose(config.device, config.training.precision)
        with st.container(border=True, gap="small"):
            st.caption("Runs on")
            st.markdown(f"**{plain(device.name)}**, in **{plain(device.precision)}**")
            st.caption(plain(f"Precision is {device.reason}"))
        if parent:
            _changes(config, parent)
        _buttons(config, parent, label)
        command(train_command(config))


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
            return
        rows = [
            {
                "Setting": name.replace(".options.", "."),
                "There": text(in_parent.get(name, "default")),
                "Here": text(value),
            }
            for name, value in here.items()
        ]
        st.dataframe(pd.DataFrame(rows), hide_index=True, key="changed")


def _buttons(config: RunConfig, parent: Run | None, label: str) -> None:
    """Train, which leads to the run, and Prepare."""
    if forms.start_button(
        label, "train", "Puts the run into the queue; it starts as soon as a place is free."
    ):
        with sentences():
            origin = {"parent": parent.run_id, "how": "cloned"} if parent else None
            run = submit(config, origin=origin)
            announce(f"{run.title} is in the queue.")
            go_to("runs", {"run": run.run_id})
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
