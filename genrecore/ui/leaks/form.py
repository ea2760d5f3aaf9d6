"""Setting an experiment of the leak laboratory up. Importing this imports torch."""

from __future__ import annotations

from typing import Any

import streamlit as st

from genrecore.config import run as configuration
from genrecore.config.run import Genres, RunConfig
from genrecore.data.datasets import DATASETS, check_folder
from genrecore.data.splits import SPLITS
from genrecore.errors import GenrecoreError, UsageError
from genrecore.experiments import leaks as leaklab
from genrecore.experiments.estimates import Estimator
from genrecore.experiments.leak_gap import CLEAN
from genrecore.store import run as runs
from genrecore.ui.datasets import readers as reading
from genrecore.ui.datasets.choice import DatasetChoice, choose_dataset
from genrecore.ui.leaks.view import open_experiment
from genrecore.ui.parts import fields, forms, readers
from genrecore.ui.parts.frame import command, plain, section


def choices() -> tuple[DatasetChoice, dict[str, Any], int]:
    """The dataset, the dotted values of the configuration, and the number of folds."""
    section("1 · Data", "Music by artists with several clips each.")
    picked = choose_dataset()
    values: dict[str, Any] = {
        f"genres.{key}": fields.field(f"genres.{key}", info, "")
        for key, info in fields.grid(Genres.model_fields)
    }
    section("2 · Model", "The system whose accuracy is put to the test.")
    values |= {"dataset": picked.name}
    values |= {f"dataset.{key}": value for key, value in picked.options.items()}
    values |= forms.model_part(RunConfig(), values)
    section("3 · Training", "More folds leave more clips to learn from, and take longer.")
    n_folds = fields.options(SPLITS, CLEAN, {}, only=("n_folds",))["n_folds"]
    values |= forms.training_part(RunConfig())
    return picked, values, int(n_folds)


def panel(picked: DatasetChoice, values: dict[str, Any], n_folds: int) -> None:
    """Checks the values, says what they make, and offers to queue it."""
    try:
        config = configuration.with_values(RunConfig(), values)
        check_folder(picked.name, picked.options)
        planned = leaklab.draft(config, n_folds).configs
        _check_clips(picked, planned[0], n_folds)
    except GenrecoreError as error:
        st.error(plain(error), icon=":material/error:")
        st.button("Queue the runs", type="primary", width="stretch", disabled=True, key="queue")
        return
    there = runs.find_same(planned)
    new = [c for c, run in zip(planned, there, strict=True) if run is None]
    n_new = len(new)
    with st.container(border=True, gap="small"):
        st.markdown(f"**{len(planned)} runs**: {n_folds} folds by artist and {n_folds} by clip.")
        if n_new < len(planned):
            n = len(planned) - n_new
            st.caption(f"{n} of them {'is' if n == 1 else 'are'} there already and not run again.")
        expected = _expected(picked, new)
        if expected:
            st.caption(expected)
        st.caption("They go on when you close this page.")
    if st.button(
        f"Queue {n_new} {'run' if n_new == 1 else 'runs'}" if n_new else "Open the experiment",
        type="primary",
        icon=":material/play_arrow:" if n_new else ":material/monitoring:",
        width="stretch",
        key="queue",
    ):
        try:
            if n_new:
                leaklab.start(config, n_folds)
        except GenrecoreError as error:
            st.error(plain(error), icon=":material/error:")
            return
        open_experiment(configuration.signature(planned[0]))
    command(leaklab.leaklab_command(planned[0], n_folds))


def _check_clips(picked: DatasetChoice, config: RunConfig, n_folds: int) -> int:
    """The number of clips, where they can answer the question; else the sentence that says why
    not."""
    if not reading.is_made(picked):
        options = DATASETS[picked.name].read_options(picked.options, "dataset")
        n_artists = min(options.n_artists, options.n_clips)
        if n_artists < n_folds:
            raise UsageError(
                f"The demo music has {n_artists} artists a genre, and {n_folds} folds need "
                f"{n_folds}; choose fewer folds or more artists."
            )
        return int(options.n_genres * options.n_clips)
    data = reading.read(picked)
    key = f"{picked.key} {config.genres} {config.split_seed}"
    n_clips, refused = _taking_part(key, data.key, n_folds, config, data)
    if refused:
        raise UsageError(refused)
    n_unknown = int(data.clips["artist"].isna().sum())
    if n_unknown:
        st.caption(
            f"{n_unknown:,} of {len(data.clips):,} clips name no artist; each counts as one of its "
            "own, so the gap may come out too small."
        )
    return n_clips


@st.cache_data(show_spinner="Looking at the artists …", max_entries=32)
def _taking_part(
    key: str, stamp: str, n_folds: int, _config: RunConfig, _data: reading.Dataset
) -> tuple[int, str]:
    """How many clips take part, or why there can be no experiment."""
    try:
        return leaklab.check(_config, _data.clips, n_folds), ""
    except GenrecoreError as error:
        return 0, str(error)


def _expected(picked: DatasetChoice, new: list[RunConfig]) -> str:
    """About how long the new runs take, where earlier runs or measured steps tell."""
    estimator = Estimator(readers.all_runs())
    if new and reading.is_made(picked):
        estimator.add_clips(new[0], reading.read(picked).clips)
    estimate = estimator.total(new)
    return estimate.sentence if estimate.n_unknown < len(new) else ""
