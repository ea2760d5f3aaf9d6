"""The right-hand side of Train: what a run will be, on what it will run, and the button."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import streamlit as st

from genrecore.config import run as configuration
from genrecore.config.command import dataset_words, train_command
from genrecore.config.run import RunConfig
from genrecore.data.datasets import check_folder
from genrecore.errors import GenrecoreError
from genrecore.jobs import actions as jobs
from genrecore.jobs.actions import Task
from genrecore.store import run as runs
from genrecore.store.run import Run
from genrecore.training import hardware
from genrecore.training.resolve import resolve
from genrecore.ui.parts import readers
from genrecore.ui.parts.choices import chosen
from genrecore.ui.parts.frame import command, link_to, plain
from genrecore.ui.parts.live import live, task_list


def base_configuration(run_id: str) -> RunConfig:
    """The configuration the form starts from: a run's, or the defaults."""
    run = readers.find(run_id) if run_id else None
    return run.config if run else RunConfig()


def panel(values: dict[str, Any], base: RunConfig) -> None:
    """Checks the values, shows what they make, and offers to prepare and to train."""
    try:
        check_folder(values["dataset"], {"folder": values.get("dataset.folder")})
        config = resolve(configuration.with_values(base, values)).config
        chosen = hardware.choose(config.device, config.training.precision)
    except GenrecoreError as error:
        st.error(plain(error), icon=":material/error:")
        st.button("Train", type="primary", width="stretch", disabled=True, key="train")
        _tasks()
        return
    with st.container(border=True, gap="small"):
        st.caption("Runs on")
        st.markdown(f"**{plain(chosen.name)}**, in **{plain(chosen.precision)}**")
        st.caption(plain(f"Precision is {chosen.reason}"))
    _changed(config)
    if st.button(
        "Train",
        type="primary",
        icon=":material/play_arrow:",
        width="stretch",
        key="train",
        help="Puts the run into the queue; it starts as soon as a place is free.",
    ):
        _submit(config)
    if st.button(
        "Prepare now",
        icon=":material/download:",
        width="stretch",
        key="prepare",
        help="Makes or reads the dataset without training. A run does this by itself, too.",
    ):
        _prepare(config)
    _queued()
    command(train_command(config))
    _tasks()


def _parent() -> Run | None:
    """The run whose settings the form was opened with."""
    return readers.find(chosen("from")) if chosen("from") else None


def _changed(config: RunConfig) -> None:
    """What differs from the run that the form was opened with: setting, there, here."""
    parent = _parent()
    if parent is None:
        return
    here = configuration.differences(config, parent.config)
    there = configuration.differences(parent.config, config)
    with st.container(border=True, gap="small"):
        st.markdown(f"**Changed against {plain(parent.title)}**")
        if not here:
            st.caption("Nothing yet: it would be the same run again.")
            return
        rows = [
            {
                "Setting": name.replace(".options.", "."),
                "There": _said(there.get(name)),
                "Here": _said(value),
            }
            for name, value in here.items()
        ]
        st.dataframe(pd.DataFrame(rows), hide_index=True, key="changed")


def _said(value: Any) -> str:
    if value is None:
        return "default"
    return value if isinstance(value, str) else json.dumps(value)


def _submit(config: RunConfig) -> None:
    parent = _parent()
    origin = {"parent": parent.run_id, "how": "cloned"} if parent else None
    try:
        run = jobs.submit(config, origin=origin)
    except GenrecoreError as error:
        st.error(plain(error), icon=":material/error:")
        return
    st.session_state["submitted"] = run.run_id
    st.toast(f"{plain(run.title)} is in the queue.", icon=":material/check_circle:")


def _queued() -> None:
    run = readers.find(st.session_state.get("submitted", ""))
    if run is None:
        return
    with st.container(border=True, gap="small"):
        st.markdown(f"**{plain(run.title)}** is in the queue.")
        link_to("runs", "Watch it", ":material/monitoring:", {"run": run.run_id})


def _prepare(config: RunConfig) -> None:
    try:
        task = jobs.start_task(prepare_command(config), f"Preparing {config.dataset.name}")
        st.session_state["prepared"] = task.task_id
    except GenrecoreError as error:
        st.error(plain(error), icon=":material/error:")


def prepare_command(config: RunConfig) -> list[str]:
    """The command line after `genrecore` that prepares this configuration's dataset."""
    words = ["datasets", "prepare", config.dataset.name]
    words += ["--sample-rate-hz", str(config.audio.sample_rate_hz)]
    return [*words, "--clip-s", f"{config.audio.clip_s:g}", *dataset_words(config.dataset)]


def _tasks() -> None:
    shown = _shown_tasks()
    if shown:
        working = any(task.state in runs.LIVE for task in shown)
        live(lambda: task_list(_shown_tasks()), while_true=working)


def _shown_tasks() -> list[Task]:
    """Preparations at work, and the one that this visitor started last."""
    mine = st.session_state.get("prepared")
    return [
        task
        for task in jobs.tasks()[:20]
        if "prepare" in task.status.get("arguments", [])
        and (task.task_id == mine or task.state in runs.LIVE)
    ]
