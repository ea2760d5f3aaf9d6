"""When a run is not sure: its risk–coverage curve, thresholds for a wanted precision, strangers."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from genrecore.evaluation import selective
from genrecore.evaluation.selective import Curve
from genrecore.evaluation.thresholds import ENOUGH, TOO_FEW, Answers, select
from genrecore.inference import strangers
from genrecore.inference.strangers import Strangers
from genrecore.reporting import plots
from genrecore.reporting.columns import THRESHOLDS
from genrecore.store.run import Run
from genrecore.ui.parts import readers
from genrecore.ui.parts.cache import cached_by_files, in_runs
from genrecore.ui.parts.choices import choose_number
from genrecore.ui.parts.frame import chart, command, empty, link_to, plain, section
from genrecore.ui.parts.tables import show_table
from genrecore.ui.parts.tasks import task_button, watch

_USUAL, _STEP = 0.9, 0.01


def show_unsure(run: Run) -> None:
    """How right the run is where it may be not sure, what that takes, and what becomes of
    strangers."""
    section(
        "When it is not sure",
        "A run may leave out the clips that it is least sure of. Choose how many of its answers "
        "shall be right: the probability that an answer takes is fitted on the validation clips "
        "and checked on the test clips. Artists count, not clips.",
    )
    with st.container(width=330):
        precision = choose_number(
            "Wanted precision", "precision", 0.5, 0.99, _STEP, _USUAL, format="percent",
            help="Share of the answers that shall be right.",
        )  # fmt: skip
    answers, curve = _answers(run, precision), _curve(run)
    if len(curve.table):
        table = curve.table.assign(run_id=run.run_id, title=run.title)
        chart(plots.risk_coverage(table, readers.styles(), precision), "risk_coverage")
        st.caption(plain(curve.sentence))
    rows = answers.genres
    if not rows["n_valid"].sum() or (rows["why"] == TOO_FEW).all():
        empty("It is never sure enough.", plain(" ".join(answers.sentences)))
    else:
        for sentence in answers.sentences:
            st.markdown(plain(sentence))
    table = answers.table.fillna({"genre": "all"})
    show_table(table, list(THRESHOLDS), THRESHOLDS, tallest=2000)
    line = ["genrecore", "thresholds", run.run_id, "--precision", f"{precision:g}"]
    command(line)
    if (rows["why"] == ENOUGH).any():
        query = {"run": run.run_id, "precision": f"{precision:g}"}
        link_to("classify", "Classify so", ":material/graphic_eq:", query)
    _show_strangers(run, precision)


def _show_strangers(run: Run, precision: float) -> None:
    section(
        "Which genres swallow strangers?",
        "Noise, something like speech, near silence and music of none of its genres. The first "
        "share of a kind is called the genre, the second is answered so with the thresholds.",
    )
    if reason := strangers.why_not(run):
        st.caption(plain(reason))
        return
    result, arguments = _strangers(run, precision), ["strangers", run.run_id]
    if result is None:
        task_button(
            "Classify strangers",
            arguments,
            f"Strangers to {run.title}",
            "strangers",
            ":material/noise_aware:",
            "secondary",
        )
    watch(arguments)
    if result is not None:
        st.markdown(plain(result.sentence))
        show_table(pd.DataFrame(strangers.as_rows(result)), tallest=2000)
    command(["genrecore", *arguments])


@cached_by_files(in_runs("predictions.parquet", "clips.parquet"))
def _answers(run: Run, precision: float) -> Answers:
    return select([run], precision)


@cached_by_files(in_runs("predictions.parquet", "clips.parquet"))
def _curve(run: Run) -> Curve:
    return selective.curve(run)


@cached_by_files(in_runs("predictions.parquet", strangers.FILE))
def _strangers(run: Run, precision: float) -> Strangers | None:
    return strangers.read(run, precision)
