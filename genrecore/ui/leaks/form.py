"""The form of a leak experiment: a plan with two splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from genrecore.config.run import Genres, RunConfig, signature
from genrecore.data.datasets.loaded import Stamp, known_table, stamp_of
from genrecore.data.splits import SPLITS
from genrecore.errors import GenrecoreError, UsageError
from genrecore.experiments import leaks
from genrecore.experiments.leaks import CLEAN
from genrecore.store.run import Run
from genrecore.training.check import problems_of
from genrecore.ui.datasets.choice import choose_dataset
from genrecore.ui.parts import fields, forms
from genrecore.ui.parts.cache import cached_by_files, no_files
from genrecore.ui.parts.frame import pair, section
from genrecore.ui.plans.panel import plan_panel
from genrecore.ui.plans.progress import open_entry
from genrecore.words import thousands


def new_experiment(runs: Sequence[Run]) -> None:
    """The form, and beside it the runs that it makes; `runs` are all of the store."""
    left, right = pair("experiment", left=5, right=3)
    with left:
        section(
            "1 · Data",
            "Music by artists with several clips each. More folds leave more clips to learn from, "
            "and take longer.",
        )
        dataset = choose_dataset()
        values: dict[str, Any] = {"dataset": dataset.name}
        values |= {f"dataset.{key}": value for key, value in dataset.options.items()}
        for key, info in fields.grid(Genres.model_fields):
            values[f"genres.{key}"] = fields.field(f"genres.{key}", info, "")
        n_folds = int(fields.options(SPLITS, CLEAN, {}, only=("n_folds",))["n_folds"])
        values |= forms.model_and_training(RunConfig(), values)
    with right:
        section("This experiment")
        with forms.checked("Queue the runs", "queue"):
            config = forms.configuration(values)
            plan = leaks.draft(config, n_folds)
            first = plan.configs[0]
            _check_clips(plan.configs, n_folds)

            def start(new: Sequence[RunConfig], on: list[str]) -> None:
                if new:
                    leaks.start(config, n_folds, on=on)
                open_entry("experiment", signature(first))

            plan_panel(
                plan.configs,
                runs,
                start,
                leaks.leaklab_command(first, n_folds),
                headline=f"**{2 * n_folds} runs**: {n_folds} folds by artist and {n_folds} by clip",
                nothing_new="Open the experiment",
                measurable=False,
            )


def _check_clips(configs: Sequence[RunConfig], n_folds: int) -> None:
    """Refuses clips that cannot answer the question, and runs that would fail.

    Raises:
        GenrecoreError: Why.
    """
    dataset = configs[0].dataset
    stamp = stamp_of(dataset.name, dataset.options)
    clips = known_table(stamp)
    if clips is None:  # nobody knows before they are made
        return
    problem = _problem(stamp, [run.model_dump_json() for run in configs], n_folds)
    if problem:
        raise UsageError(problem)
    n_unknown = int(clips["artist"].isna().sum())
    if n_unknown:
        st.caption(
            f"{thousands(n_unknown)} of {thousands(len(clips))} clips name no artist. Each "
            "counts as an artist of its own, so the gap may come out too small."
        )


@cached_by_files(no_files)
def _problem(stamp: Stamp, configs: Sequence[str], n_folds: int) -> str:
    """Why the dataset of this stamp cannot answer, or one of these configurations, as JSON, would
    fail with it; empty where nothing speaks against it. Runs are checked again when they are
    queued."""
    experiment = [RunConfig.model_validate_json(text) for text in configs]
    dataset = experiment[0].dataset
    clips = known_table(stamp_of(dataset.name, dataset.options))
    try:
        if clips is not None:
            leaks.check(experiment[0], clips, n_folds)
    except GenrecoreError as error:
        return str(error)
    return next(filter(None, problems_of(experiment)), "")
