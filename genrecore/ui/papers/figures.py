"""The page Papers: a study's figures redrawn from our runs."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from genrecore import words
from genrecore.data import splits
from genrecore.evaluation import metrics
from genrecore.experiments import papers
from genrecore.experiments.papers import ProtocolGap, findings
from genrecore.experiments.papers.study import PrintedFigure
from genrecore.reporting import plots
from genrecore.reporting.plots import papers as paper_plots
from genrecore.reporting.plots.datasets import parts_of_split
from genrecore.reporting.plots.palette import run_styles
from genrecore.store.run import Run
from genrecore.training import card as cards
from genrecore.ui.models.cards import layer_table
from genrecore.ui.papers import sound
from genrecore.ui.papers.numbers import Results
from genrecore.ui.papers.view import where
from genrecore.ui.parts.choices import choose_one
from genrecore.ui.parts.frame import chart, empty, pair, plain, section

_MOST_SYSTEMS = 6  # in a figure of genres


def show(results: Results) -> None:
    """One figure of the study, drawn from our runs."""
    figures = {figure.place: figure for figure in results.study.figures if figure.draws}
    if not figures:
        empty(
            "There is no figure of results to redraw.",
            "The study prints its results in tables; they stand under Numbers.",
        )
        for figure in results.study.figures:
            _show_text(figure)
        return
    titles = {place: _short_caption(figure) for place, figure in figures.items()}
    left, right = pair("figure", left=2, right=1)
    with left:
        place = choose_one(
            "Figure", list(figures), "figure", words=lambda place: f"{place}: {titles[place]}"
        )
    with right:
        protocols = {key: title.capitalize() for key, title in papers.PROTOCOLS.items()}
        protocol = choose_one("Runs", protocols, "protocol", radio=True)
    section(f"{place}: {titles[place]}")
    _show_text(figures[place])
    _draw(figures[place], results, protocol)


def _short_caption(figure: PrintedFigure) -> str:
    """The caption without the figure's own name."""
    text = figure.caption
    if text.startswith("Figure"):
        text = text.partition(":")[2] or text.partition(". ")[2]
    letter = figure.place[-3:]
    if letter in ("(a)", "(b)", "(c)"):
        text = text.partition(letter)[2].partition("(")[0]
    text = text.strip().rstrip(".")
    return text[:1].upper() + text[1:]


def _show_text(figure: PrintedFigure) -> None:
    """What the study says about the figure, and what it does not print."""
    for one in figure.said:
        st.markdown(f"“{plain(one.words)}” :gray[({where(one.section)})]")
    st.caption(f"Not printed, and not reconstructed here: {plain(figure.not_printed)}")


def _draw(figure: PrintedFigure, results: Results, protocol: str) -> None:
    study = results.study
    if figure.draws == "layers":  # of the study's own input: that needs no run
        row = figure.systems[0]
        config = papers.config_of(study, row, "published")
        card = cards.card(config.model.name, config)
        st.caption(plain(f"{study.title_of(row)}, on {card.input.words}"))
        layer_table(card)
        return
    runs = {
        name: found[0]
        for name in figure.systems
        if (found := findings.runs_of(study, results.there, name, protocol))
    }
    missing = words.listed([study.title_of(name) for name in figure.systems if name not in runs])
    if not runs:
        empty(
            "None of its systems has been run under this protocol.",
            f"Run it queues them: {plain(missing)}.",
        )
        return
    first = next(iter(runs.values()))
    if missing and figure.draws != "sound":
        st.caption(f"Not run yet: {plain(missing)}.")
    if figure.draws == "curves":
        _draw_curves(figure, results, runs)
    elif figure.draws == "genres":
        _draw_genres(results, runs)
    elif figure.draws == "systems":
        _draw_systems(results, list(runs), protocol)
    elif figure.draws == "balance":
        if first.clips is not None:
            title = f"split {first.config.split.name}"
            chart(parts_of_split(splits.counts(first.clips), title), "balance")
    elif figure.draws == "sound":
        sound.three_ways(first)
        return
    else:
        sound.augmented(first)
        return
    rehearsal = ", rehearsals" if results.rehearsal else ""
    st.caption(f"Drawn from our runs with seed 0, {papers.PROTOCOLS[protocol]}{rehearsal}.")


def _draw_curves(figure: PrintedFigure, results: Results, runs: dict[str, Run]) -> None:
    parts = []
    for name, run in runs.items():
        history = run.history
        for split in ("train", "valid"):
            if figure.split not in (split, "both") or f"{split}_loss" not in history:
                continue
            columns = {f"{split}_loss": "loss", f"{split}_accuracy": "accuracy"}
            part = history[["epoch", *columns]].rename(columns=columns)
            title = results.study.title_of(name)
            parts.append(part.assign(system=name, title=title, split=split))
    if not parts:
        empty("These runs have no such curve.", "Their split has no validation clips.")
        return
    table = pd.concat(parts, ignore_index=True)
    titles = {"train": "training", "valid": "validation", "both": "training and validation"}
    for measure in ("loss", "accuracy") if figure.measure == "both" else (figure.measure,):
        title = f"{measure.capitalize()} in {titles[figure.split]}"
        chart(plots.study_curves(table, measure, title), f"curves_{measure}")


def _draw_genres(results: Results, runs: dict[str, Run]) -> None:
    tables = []
    for name, run in list(runs.items())[:_MOST_SYSTEMS]:
        if run.predictions is not None:
            test = run.predictions[run.predictions["split"] == "test"]
            table = metrics.per_genre(test, metrics.genres_in(test))
            tables.append(table.assign(run_id=name, title=results.study.title_of(name)))
    table = pd.concat(tables, ignore_index=True).drop(columns="precision")
    chart(plots.per_genre(table, run_styles(list(results.study.systems))), "genres")


def _draw_systems(results: Results, names: list[str], protocol: str) -> None:
    gaps = []
    nothing = findings.measure([], "test_accuracy", protocol)
    for name in names:
        runs = findings.runs_of(results.study, results.there, name, protocol)
        ours = findings.measure(runs, "valid_accuracy", protocol)
        sides = (ours, nothing) if protocol == "published" else (nothing, ours)
        gaps.append(ProtocolGap(name, results.study.title_of(name), float("nan"), *sides))
    shows = gaps[0].published.shows if protocol == "published" else gaps[0].honest.shows
    chart(paper_plots.gaps(gaps, shows.capitalize()), "systems")
