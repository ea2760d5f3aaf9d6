"""The view of accuracy by training clips a genre, and how to make such a curve."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from genrecore import words
from genrecore.config.run import PARTS
from genrecore.evaluation import training_sizes
from genrecore.evaluation.comparison import Comparison
from genrecore.evaluation.training_sizes import FIELD, SizeCurves
from genrecore.experiments.draft import sweep_command
from genrecore.reporting import plots
from genrecore.store.run import Run
from genrecore.ui.compare.choice import Selection
from genrecore.ui.parts import readers
from genrecore.ui.parts.cache import cached_by_files, in_runs
from genrecore.ui.parts.fitting import address_of
from genrecore.ui.parts.frame import chart, command, empty, link_to, plain, section

_SEEDS = "0..4"


def show_sizes(compared: Comparison, selection: Selection) -> None:
    """A line for each compared system, over all its numbers of training clips in the store."""
    section(
        "How many labelled clips does it need?",
        "Each system that is compared, with every number of training clips a genre that was "
        "tested. Seeds are repeated draws of them; all validation and test clips stay, and "
        "validation still chooses the epoch. A draw has as many clips of each genre, unless there "
        "are fewer; all of them may be uneven.",
    )
    keys = training_sizes.members_by_curve(selection.members)
    tested = readers.tested(readers.look().runs)
    curves = training_sizes.find_curves(tested, of=keys)
    runs = [run for curve in curves for run in curve.runs]
    drawn = {curve.signature for curve in curves}
    if runs:
        measured = _measured(runs)
        for note in measured.notes:
            st.caption(plain(note))
        for sentence in measured.sentences:
            st.info(plain(sentence), icon=":material/stacked_line_chart:")
        styles = {curve: selection.styles[key] for curve, key in keys.items()}
        chart(plots.size_curves(measured.table, styles), "sizes")
    without = [key for curve, key in keys.items() if curve not in drawn]
    if not without:
        return
    if runs:
        titles = words.listed([selection.titles[key] for key in without], most=4)
        st.caption(plain(f"With one number of training clips only, and so not drawn: {titles}."))
    else:
        empty(
            "There is no curve yet.",
            "It takes the same system with two or more numbers of training clips a genre, best "
            "with five seeds each.",
        )
    _offer(selection.members[without[0]])


def _offer(runs: Sequence[Run]) -> None:
    """The plan that makes the curve of a system, as a filled form and as a command."""
    config = runs[0].config.model_copy(update={FIELD: 0, "seed": 0})
    sizes = training_sizes.usual_sizes(training_sizes.n_training_clips(runs))
    varied = {FIELD: sizes, "seed": _SEEDS}
    query = {part: getattr(config, part).name for part in PARTS} | address_of(config)
    query |= {"view": "new", "vary": FIELD}
    query |= {f"values.{name}": text for name, text in varied.items()}
    link_to("plans", f"Plan a curve of {runs[0].facts.model}", ":material/grid_view:", query)
    command(sweep_command(config, varied))


@cached_by_files(
    in_runs("predictions.parquet", "clips.parquet"),
    spinner="Measuring curves …",
    max_entries=16,
    shared=True,
)
def _measured(runs: Sequence[Run]) -> SizeCurves:
    return training_sizes.measure(training_sizes.find_curves(runs))
