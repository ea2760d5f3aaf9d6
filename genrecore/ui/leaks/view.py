"""Leak experiments on their page: the progress of each, and its result."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from genrecore.config.run import differences
from genrecore.errors import GenrecoreError
from genrecore.experiments import leaks
from genrecore.experiments.leaks import CLEAN, LEAKY, LeakExperiment, LeakGap, leak_gap
from genrecore.experiments.plan import Member
from genrecore.reporting.columns import Column
from genrecore.reporting.plots import leaks as plots
from genrecore.store.run import Run
from genrecore.ui.parts import readers
from genrecore.ui.parts.cache import cached_by_files, in_runs
from genrecore.ui.parts.frame import (
    NO_BREAK,
    chart,
    command,
    link_to,
    plain,
    run_badges,
    section,
    sentences,
)
from genrecore.ui.parts.live import state_word
from genrecore.ui.parts.tables import show_table, shown_marks, table_to_open
from genrecore.ui.plans.progress import choose_entry, failures, follow, offer_missing
from genrecore.words import plural, signed_points, thousands

_SPLITS = {LEAKY: "By clip", CLEAN: "By artist"}
# Settings that stand in every title anyway, or are no part of an experiment.
_IN_EVERY_TITLE = ("dataset.name", "model.name", "training.epochs", "device")
_MOST_SETTINGS = 4


def explanation() -> None:
    """What a leak is and what an experiment does."""
    st.markdown(
        "A split leaks when an artist, or a copy of a recording, is on both sides of it: the model "
        "can then recognise the artist instead of the genre, and its accuracy is too high. An "
        "experiment trains the same system on two splits of the same clips: **by clip** (training "
        "and test share artists) and **by artist** (they do not). Over the folds, every clip is "
        "tested once with either split. The difference in accuracy is what the leak adds."
    )


def all_experiments(runs: Sequence[Run]) -> list[LeakExperiment]:
    """The experiments among all runs of the store, the newest first."""
    return leaks.experiments(runs)


def show(experiments: Sequence[LeakExperiment]) -> None:
    """The experiment that the URL names, and the list of all; `experiments` is not empty."""
    titles = _titles(experiments)
    key = choose_entry("experiment", titles)
    experiment = next(experiment for experiment in experiments if experiment.key == key)
    if experiment.goes_on:
        follow(experiment.again, _title, lambda: _stop(experiment))
    if experiment.n_missing:
        failures(experiment, _title)
        offer_missing(
            experiment.n_missing,
            experiment.n_runs,
            lambda: leaks.start(experiment.config, experiment.n_folds),
        )
    if experiment.complete:
        with sentences():
            _show_gap(experiment)
    section("Runs", "One for each fold of each split.")
    _show_runs(experiment)
    _show_links(experiment)
    if len(experiments) > 1:
        _show_all(experiments, titles, key)


def _title(member: Member) -> str:
    """The split and the fold of a run."""
    return f"{_SPLITS[member.config.split.name]}, fold {member.config.fold + 1}"


def _stop(experiment: LeakExperiment) -> str:
    n_waiting, n_working = experiment.again().stop_runs()
    return f"{plural(n_waiting + n_working, 'run')} stopped."


def _titles(experiments: Sequence[LeakExperiment]) -> dict[str, str]:
    """A title by key, with the settings that tell these experiments apart."""
    changed = [differences(experiment.config) for experiment in experiments]
    telling = [
        name
        for name in dict.fromkeys(name for settings in changed for name in settings)
        if name not in _IN_EVERY_TITLE
        and not name.startswith("split.")
        and len({json.dumps(settings.get(name)) for settings in changed}) > 1
    ]
    titles = {}
    for experiment, settings in zip(experiments, changed, strict=True):
        own = [
            f"{name.removesuffix('.name').rpartition('.')[2].replace('_', ' ')} {settings[name]}"
            for name in telling
            if name in settings
        ]
        own = own[:_MOST_SETTINGS] + ["…"] * (len(own) > _MOST_SETTINGS)
        n_epochs = max(run.n_epochs for run in experiment.runs)
        titles[experiment.key] = " · ".join([experiment.title, plural(n_epochs, "epoch"), *own])
    return titles


def _show_gap(experiment: LeakExperiment) -> None:
    """The gap in a sentence, both accuracies, and every genre."""
    gap = _gap(experiment.runs)
    st.space("small")
    st.markdown(f"## {plain(gap.headline.replace(' %', NO_BREAK + '%'))}")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown("By clip:", width="content")
        run_badges(experiment.leaky[0])
        clean = next(iter(experiment.clean.values())) if experiment.clean else None
        if clean is not None and clean.warnings:
            st.markdown("By artist:", width="content")
            run_badges(clean)
    chart(plots.accuracies(gap), "accuracies")
    st.caption(
        f"{thousands(gap.n_clips)} clips, each tested once with either split, by a model that did "
        f"not train on it. The intervals count {thousands(gap.n_artists)} artists rather than "
        "clips, because clips of one artist are alike."
    )
    chart(plots.genres(gap), "genres")


@cached_by_files(in_runs("predictions.parquet"), spinner="Computing the gap …", max_entries=500)
def _gap(runs: Sequence[Run]) -> LeakGap:
    return leak_gap(list(runs))


def _show_runs(experiment: LeakExperiment) -> None:
    """A row a run: state, accuracy, warning, and the link to it."""
    runs = experiment.runs
    table = pd.DataFrame(
        {
            "run_id": [run.run_id for run in runs],
            "split": [_SPLITS[run.config.split.name] for run in runs],
            "fold": [str(run.config.fold + 1) for run in runs],
            "state": [state_word(run.state) for run in runs],
            "marks": [", ".join(run.warnings) for run in runs],
            "badge": [run.badge for run in runs],
            "run": [f"runs?run={run.run_id}" for run in runs],
        }
    )
    scores = readers.leaderboard([run for run in runs if run.state == "done"])
    table = table.merge(
        scores[["run_id", "accuracy", "accuracy_low", "accuracy_high", "n_clips"]],
        on="run_id",
        how="left",
    )
    columns = ["split", "fold", "run", "state", "marks", "accuracy", "accuracy_low", "n_clips"]
    show_table(table, shown_marks(columns, table), {"fold": "Fold"})


def _show_links(experiment: LeakExperiment) -> None:
    dataset, genres = experiment.config.dataset, experiment.config.genres
    query = {f"{dataset.name}.{key}": str(value) for key, value in dataset.options.items()}
    query |= {f"genres.{key}": value for key, value in genres.model_dump().items() if value}
    query |= {"dataset": dataset.name, "view": "split", "split": LEAKY}
    label = "See which artists are on both sides"
    link_to("datasets", label, ":material/library_music:", query)
    with st.expander("As a command", icon=":material/terminal:"):
        command(leaks.leaklab_command(experiment.config, experiment.n_folds))


def _show_all(experiments: Sequence[LeakExperiment], titles: dict[str, str], opened: str) -> None:
    """All experiments, for comparing systems; a click on a row opens one."""
    section("All experiments", "What known artists change in each system. Pick a row to open.")
    gaps: list[LeakGap | None] = []
    for experiment in experiments:
        try:
            gaps.append(_gap(experiment.runs) if experiment.complete else None)
        except GenrecoreError:  # its own page says why
            gaps.append(None)
    rows = [
        {
            "title": titles[experiment.key],
            "state": f"{len(experiment.done)} of {experiment.n_runs} runs",
            "leaky": gap.leaky if gap else math.nan,
            "clean": gap.clean if gap else math.nan,
            "gap": gap.difference if gap else math.nan,
            "interval": f"{signed_points(gap.low)} to {signed_points(gap.high)}" if gap else "",
        }
        for experiment, gap in zip(experiments, gaps, strict=True)
    ]
    table_to_open(
        pd.DataFrame(rows),
        list(titles),
        opened,
        "experiment",
        special={
            "title": "System",
            "state": "Done",
            "leaky": Column("By clip", "share"),
            "clean": Column("By artist", "share"),
            "gap": Column("Gap (points)", "points"),
            "interval": "95 % interval",
        },
    )
