"""The page Papers: the studies' figures redrawn from our runs. No torch, but for sound."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

import pandas as pd
import streamlit as st

from genrecore.data import splits
from genrecore.evaluation import metrics
from genrecore.experiments import papers
from genrecore.experiments.papers import Gap, findings
from genrecore.experiments.papers.reading import Figure
from genrecore.reporting import plots
from genrecore.reporting.plots import papers as drawn
from genrecore.reporting.plots.datasets import parts_of_split
from genrecore.reporting.plots.palette import run_styles
from genrecore.store.run import Run
from genrecore.ui.papers.numbers import Results
from genrecore.ui.papers.view import where
from genrecore.ui.parts.choices import choose_one
from genrecore.ui.parts.frame import chart, empty, pair, plain, section

_MOST_GENRES_SYSTEMS = 6


def show(results: Results) -> None:
    """One figure of the study, drawn from our runs."""
    study = results.study
    figures = {one.place: one for one in study.figures if one.draws}
    if not figures:
        empty(
            "There is no figure of results to redraw.",
            "The study prints its results in tables; they stand under Numbers.",
        )
        for one in study.figures:
            _said(one)
        return
    left, right = pair("figure", left=2, right=1)
    with left:
        place = choose_one(
            "Figure", list(figures), "figure", words=lambda one: f"{one}: {_short(figures[one])}"
        )
    with right:
        protocol = choose_one(
            "Runs",
            list(papers.PROTOCOLS),
            "protocol",
            words=lambda one: papers.PROTOCOLS[one].capitalize(),
            radio=True,
        )
    figure = figures[place]
    section(f"{place}: {_short(figure)}")
    _said(figure)
    _draw(figure, results, protocol)


def _short(figure: Figure) -> str:
    """The caption without the figure's own name."""
    words = figure.caption
    if words.startswith("Figure"):
        words = words.partition(":")[2] or words.partition(". ")[2]
    words = words.strip().rstrip(".")
    letter = figure.place[-3:]
    if letter in ("(a)", "(b)", "(c)"):
        words = words.partition(letter)[2].partition("(")[0].strip().rstrip(".")
    return words[:1].upper() + words[1:]


def _said(figure: Figure) -> None:
    """What the text says of it, and what it does not print."""
    for one in figure.said:
        st.markdown(f"“{plain(one.words)}” :gray[({where(one.section)})]")
    st.caption(f"Not printed, and not reconstructed here: {plain(figure.not_printed)}")


def _draw(figure: Figure, results: Results, protocol: str) -> None:
    chosen = {
        name: found[0]
        for name in figure.systems
        if (found := findings.runs_of(results.study, results.there, name, protocol))
    }
    missing = [results.study.title_of(name) for name in figure.systems if name not in chosen]
    if figure.draws == "layers":
        _layers(figure, results)
        return
    if not chosen:
        empty(
            "None of its systems has been run under this protocol.",
            f"Run it queues them: {plain(', '.join(missing))}.",
        )
        return
    if missing and figure.draws not in ("sound",):
        st.caption(f"Not run yet: {plain(', '.join(missing))}.")
    if figure.draws == "curves":
        _curves(figure, results, chosen)
    elif figure.draws == "genres":
        _genres(results, chosen)
    elif figure.draws == "systems":
        _accuracies(results, list(chosen), protocol)
    elif figure.draws == "balance":
        _balance(next(iter(chosen.values())))
    else:
        _sound(figure, next(iter(chosen.values())))
        return
    st.caption(
        f"Drawn from our runs with seed 0, {papers.PROTOCOLS[protocol]}"
        + (", rehearsals." if results.rehearsal else ".")
    )


def _curves(figure: Figure, results: Results, chosen: dict[str, Run]) -> None:
    parts = []
    for name, run in chosen.items():
        history = run.history
        for split in ("train", "valid"):
            if figure.split not in (split, "both") or f"{split}_loss" not in history:
                continue
            part = history[["epoch", f"{split}_loss", f"{split}_accuracy"]].copy()
            part.columns = pd.Index(["epoch", "loss", "accuracy"])
            title = results.study.title_of(name)
            parts.append(part.assign(system=name, title=title, split=split))
    if not parts:
        empty("These runs have no such curve.", "Their split has no validation clips.")
        return
    table = pd.concat(parts, ignore_index=True)
    named = ("loss", "accuracy") if figure.measure == "both" else (figure.measure,)
    words = {"train": "training", "valid": "validation", "both": "training and validation"}
    for measure in named:
        title = f"{measure.capitalize()} in {words[figure.split]}"
        chart(drawn.curves(table, measure, title), f"curves_{measure}")


def _genres(results: Results, chosen: dict[str, Run]) -> None:
    tables = []
    for name, run in list(chosen.items())[:_MOST_GENRES_SYSTEMS]:
        tested = run.predictions
        if tested is None:
            continue
        tested = tested[tested["split"] == "test"]
        table = metrics.per_genre(tested, metrics.genres_in(tested))
        tables.append(table.assign(run_id=name, title=results.study.title_of(name)))
    table = pd.concat(tables, ignore_index=True).drop(columns="precision")
    chart(plots.per_genre(table, run_styles(list(results.study.systems))), "genres")


def _accuracies(results: Results, names: Sequence[str], protocol: str) -> None:
    found = []
    for name in names:
        runs = findings.runs_of(results.study, results.there, name, protocol)
        ours = findings.measure(runs, "valid_accuracy", protocol)
        nothing = findings.measure([], "test_accuracy", protocol)
        sides = (ours, nothing) if protocol == "published" else (nothing, ours)
        found.append(Gap(name, results.study.title_of(name), nan, *sides))
    shows = found[0].published.shows if protocol == "published" else found[0].honest.shows
    chart(drawn.gaps(found, shows.capitalize()), "systems")


def _balance(run: Run) -> None:
    clips = run.clips
    if clips is None:
        return
    chart(parts_of_split(splits.counts(clips), f"split {run.config.split.name}"), "balance")


def _sound(figure: Figure, run: Run) -> None:
    with st.spinner("Loading torch …"):
        from genrecore.ui.papers import sound as papers_sound
    if figure.draws == "sound":
        papers_sound.three_ways(run)
    else:
        papers_sound.augmented(run)


def _layers(figure: Figure, results: Results) -> None:
    """The layers of the network on the study's own input: they need no run."""
    with st.spinner("Loading torch …"):
        from genrecore.ui.papers import sound as papers_sound
    papers_sound.layers(results.study, figure.systems[0])
