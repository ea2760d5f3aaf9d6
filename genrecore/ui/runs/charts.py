"""A run epoch by epoch: its curves, and which genres it confuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan

import numpy as np
import pandas as pd
import streamlit as st

from genrecore.data.clips import genres_of
from genrecore.evaluation import metrics
from genrecore.evaluation.curves import read_curves, steps_an_epoch
from genrecore.evaluation.scores import with_artists
from genrecore.reporting import plots
from genrecore.reporting.plots import Chart
from genrecore.store.faults import STEPS
from genrecore.store.run import Run
from genrecore.ui.parts import readers
from genrecore.ui.parts.cache import cached_by_files, in_runs
from genrecore.ui.parts.choices import (
    bound,
    choose,
    choose_flag,
    choose_number,
    choose_one,
    chosen,
)
from genrecore.ui.parts.frame import chart, in_ink, ink, pair, sentences
from genrecore.words import percent, thousands

_LOSS_OVER = {"epoch": "Epochs", "step": "Steps"}
_LEAST_ZOOM = 3  # epochs from which on a part of them can be shown


def run_curves(run: Run) -> None:
    """Loss, accuracy and learning rate so far; a drag over a chart zooms in on those epochs."""
    history = readers.history(run)
    if history.empty:
        st.caption("The first point appears after the first epoch.")
        return
    n = int(history["epoch"].max())
    best = int(run.status.get("best_epoch") or 0)
    is_classical = "lr" not in history
    smoothing, logarithmic, by_step, epochs = 0.0, False, False, None
    if not is_classical:
        with st.container(
            horizontal=True, vertical_alignment="center", gap="medium", key="run_scale"
        ):
            with st.container(width=230):
                smoothing = choose_number(
                    "Smoothing",
                    "smooth",
                    0.0,
                    0.95,
                    0.05,
                    help="An exponential moving average: this share of each point comes from the "
                    "points before it. The measured values stay visible, faintly.",
                )
            logarithmic = choose_flag("Logarithmic loss", "log_loss")
            if (run.folder / STEPS).exists():
                by_step = choose_one("Loss over", _LOSS_OVER, "over", radio=True) == "step"
            epochs = _zoom(n) if n >= _LEAST_ZOOM else None

    def zoom(low: float, high: float) -> None:
        first, last = max(1, round(low)), min(n, round(high))
        if first < last:
            choose("epochs", _range_text(first, last, n))

    for column, measure in zip(pair("curves"), ("accuracy", "loss"), strict=True):
        with column:
            if by_step and measure == "loss":
                steps = _steps_of(run, epochs)
                shown = _step_chart(run, ink(), smoothing, logarithmic, steps)
                chart(shown, f"steps_{run.run_id}", is_live=True)
                continue
            log = logarithmic and measure == "loss"
            chart(
                _curve(run, measure, best, ink(), smoothing, log, epochs),
                f"{measure}_{run.run_id}",
                on_range=zoom if n >= _LEAST_ZOOM and not is_classical else None,
                is_live=True,
            )
    if is_classical:
        st.caption(
            "This model is fitted in one call, so there is one point each: hollow for the segments "
            "it was fitted to, filled for the whole validation clips."
        )
        return
    segments = "augmented segments" if run.config.augment else "segments"
    st.caption(
        "Lines with markers are validation, dotted lines training; a ring marks the best epoch. "
        f"Training is measured on {segments} while they are learned, validation on whole clips."
        + (" The loss by step is that of training." if by_step else "")
    )
    figure = over_epochs(run, {"lr": "Learning rate"}, "Learning rate", "Step size", ink(), epochs)
    chart(figure, f"lr_{run.run_id}", is_live=True)


def _zoom(n: int) -> tuple[int, int] | None:
    """The epochs to show of the `n` that are done, from the URL; None for all of them."""

    def parse(text: str) -> tuple[int, int]:
        first, _, last = text.partition("-")
        low, high = int(first or 1), min(int(last or n), n)
        if not 1 <= low < high:
            raise ValueError(text)
        return low, high

    with st.container(width=300):
        low, high = bound(
            st.slider,
            "Epochs shown",
            1,
            n,
            name="epochs",
            key=f"choice_epochs_{n}",
            default=(1, n),
            parse=parse,
            to_text=lambda epochs: _range_text(*epochs, n),
            help="Or drag over a chart. The range stays as new epochs come.",
        )
    return None if (low, high) == (1, n) else (low, high)


def _range_text(low: int, high: int, most: int) -> str:
    """A range of epochs as the URL has it; without an end it reaches to the newest epoch."""
    return "" if low <= 1 and high >= most else f"{low}-" if high >= most else f"{low}-{high}"


@cached_by_files(in_runs("history.jsonl"), max_entries=32, shared=True)
def _curve(
    run: Run,
    measure: str,
    best: int,
    colour: str,
    smoothing: float,
    logarithmic: bool,
    epochs: tuple[int, int] | None,
) -> Chart:
    curve = plots.learning_curves(
        read_curves(run),
        measure,
        readers.styles(),
        {run.run_id: best},
        smoothing,
        logarithmic,
        epochs,
    )
    curve.figure.layout.dragmode = "select"
    curve.figure.layout.selectdirection = "h"
    return in_ink(curve, colour)


def _steps_of(run: Run, epochs: tuple[int, int] | None) -> tuple[int, int] | None:
    """How many steps come before these epochs and before their end; None for all of them."""
    n_steps = steps_an_epoch(run)
    if epochs is None or isnan(n_steps):
        return None
    return int((epochs[0] - 1) * n_steps), int(epochs[1] * n_steps)


@cached_by_files(in_runs("steps.f32"), max_entries=32, shared=True)
def _step_chart(
    run: Run,
    colour: str,
    smoothing: float,
    logarithmic: bool,
    steps: tuple[int, int] | None,
) -> Chart:
    start, end = steps or (0, None)
    figure = plots.losses_by_step(
        {run.title: run.step_losses[start:end]},
        {run.title: readers.styles()[run.run_id]},
        first_step=start + 1,
        smoothing=smoothing,
        logarithmic=logarithmic,
    )
    return in_ink(figure, colour)


@cached_by_files(in_runs("history.jsonl"), max_entries=32, shared=True)
def over_epochs(
    run: Run,
    columns: Mapping[str, str],
    title: str,
    unit: str,
    colour: str,
    epochs: tuple[int, int] | None = None,
) -> Chart:
    """Columns of a run's history over its epochs.

    Args:
        run: The run.
        columns: Their names in the legend, by column.
        title: Written above.
        unit: Of the vertical axis.
        colour: Of its text.
        epochs: The first and the last one shown; by default all.
    """
    style = readers.styles()[run.run_id]
    return in_ink(plots.over_epochs(run.history, columns, title, unit, style, epochs), colour)


@dataclass(frozen=True)
class Validation:
    """The validation clips as each epoch predicted them.

    Attributes:
        clips: `clip_id, genre` of the validation clips, in clip-table order.
        genres: Sorted genres of all clips.
        predicted: Index into `genres`, (epochs, clips) uint8.
    """

    clips: pd.DataFrame
    genres: list[str]
    predicted: np.ndarray

    def predictions(self, epoch: int) -> pd.DataFrame:
        """The predictions of an epoch, counted from 1: `clip_id, genre`; `p_<genre>…`, 0 or 1."""
        one_hot = np.eye(len(self.genres))[self.predicted[epoch - 1]]
        table = pd.DataFrame(one_hot, columns=[f"p_{genre}" for genre in self.genres])
        return self.clips.join(table)


@cached_by_files(in_runs("epochs.u8", "clips.parquet"), max_entries=8, shared=True)
def validation(run: Run) -> Validation | None:
    """How the run's epochs predicted its validation clips; None where it has none yet."""
    table, predicted = run.clips, run.epoch_predictions
    if table is None or not len(predicted):
        return None
    clips = table.loc[table["split"] == "valid", ["clip_id", "genre"]].reset_index(drop=True)
    return Validation(clips, genres_of(table), predicted)


def run_genres(run: Run) -> None:
    """Confusions and recall of each genre on the validation clips, by the epoch on the slider."""
    clips = validation(run)
    if clips is None:
        st.caption(
            "This run has no validation clips."
            if run.state == "done"
            else "The first epoch is not done yet."
        )
        return
    number = _choose_epoch(run, len(clips.predicted))
    predicted = np.array(clips.genres, dtype=object)[clips.predicted[number - 1]]
    n_right, n = int((predicted == clips.clips["genre"]).sum()), len(clips.clips)
    latest = ", the latest" if number == len(clips.predicted) else ""
    counts = f"{thousands(n_right)} of {thousands(n)} validation clips are recognised"
    st.caption(f"Epoch {number}{latest}: {counts} ({percent(n_right / n)}).")
    with sentences():
        for column, which in zip(pair("epoch"), ("confusion", "genres"), strict=True):
            with column:
                figure = _epoch_chart(run, number, which, ink())
                chart(figure, f"epoch_{which}_{run.run_id}", is_live=True)


def _choose_epoch(run: Run, n: int) -> int:
    """The epoch to show: the slider's, or the newest as long as nobody moved it."""
    if n == 1:
        return 1
    best = int(run.status.get("best_epoch") or 0)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        with st.container(width=420):
            number = bound(
                st.slider,
                "Epoch",
                1,
                n,
                name="epoch",
                key=f"choice_epoch_{n}",
                default=n,
                parse=lambda text: min(max(1, int(text)), n),
                help="At the right end it is the latest epoch, and follows as new ones come.",
            )
        if 1 <= best <= n and st.button(
            f"Best ({best})", key="epoch_best", type="tertiary", disabled=number == best
        ):
            choose("epoch", str(best))
            st.rerun(scope="fragment")
        if chosen("epoch") and st.button("Latest", key="epoch_newest", type="tertiary"):
            choose("epoch", "")
            st.rerun(scope="fragment")
    return number


@cached_by_files(in_runs("epochs.u8", "clips.parquet"), max_entries=32, shared=True)
def _epoch_chart(run: Run, number: int, which: str, colour: str) -> Chart:
    clips = validation(run)
    if clips is None:
        raise ValueError(f"{run.run_id} has predicted no validation clips.")
    predictions = clips.predictions(number)
    if which == "confusion":
        matrix = metrics.confusion(predictions, clips.genres)
        return in_ink(plots.confusion(matrix, f"Validation confusions, epoch {number}"), colour)
    scores = metrics.per_genre(with_artists(predictions, run), clips.genres)
    scores = scores.assign(run_id=run.run_id, title=f"Epoch {number}")
    return in_ink(plots.per_genre(scores, readers.styles()), colour)
