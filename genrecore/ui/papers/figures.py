"""The page Papers: a study's figures redrawn from our runs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from genrecore import words
from genrecore.augment import AUGMENTATIONS
from genrecore.config.run import RunConfig
from genrecore.data import prepare, splits
from genrecore.errors import AudioError
from genrecore.evaluation import metrics
from genrecore.evaluation.scores import read_test_predictions
from genrecore.experiments import papers
from genrecore.experiments.papers import ProtocolGap, findings
from genrecore.experiments.papers.study import PrintedFigure
from genrecore.features import FEATURES
from genrecore.reporting import feature_charts, plots
from genrecore.reporting.plots import papers as paper_plots
from genrecore.reporting.plots.datasets import parts_of_split
from genrecore.reporting.plots.palette import run_styles
from genrecore.store.run import Run
from genrecore.training import card as cards
from genrecore.training import optimisation
from genrecore.ui.datasets.choice import DatasetChoice
from genrecore.ui.datasets.listening import cut, read_image, source_of
from genrecore.ui.datasets.opening import open_dataset
from genrecore.ui.models.cards import layer_table
from genrecore.ui.papers.numbers import Results
from genrecore.ui.papers.view import in_section
from genrecore.ui.parts.choices import choose_one
from genrecore.ui.parts.frame import (
    capital,
    chart,
    empty,
    in_pairs,
    pair,
    plain,
    section,
    sentences,
)
from genrecore.ui.parts.player import SoundExcerpt, player
from genrecore.ui.sound.augment import changed_wave
from genrecore.ui.sound.features import compute

_MOST_SYSTEMS = 6  # in a figure of genres
_SHOWN_S = 30.0
_SIZES = ("frames", "fit", "bins")  # options that only suit a network
_CURVES = {"train": "training", "valid": "validation", "both": "training and validation"}


@dataclass(frozen=True)
class _Music:
    """What a row is trained on: its configuration, and its clips, with their split where that is
    drawn; and the genre of the clip that a figure shows."""

    config: RunConfig
    clips: pd.DataFrame
    genre: str


@dataclass(frozen=True)
class _Drawing:
    """A printed figure, our results, and the first run of each of its systems by name."""

    figure: PrintedFigure
    results: Results
    protocol: str
    runs: dict[str, Run]

    def title(self, system: str) -> str:
        """Of a system in the study's words."""
        return self.results.study.title_of(system)


def show(results: Results) -> None:
    """One figure of the study, drawn from our runs."""
    figures = {figure.place: figure for figure in results.study.figures}
    if not any(figure.draws for figure in figures.values()):
        empty(
            "There is no figure of results to redraw.",
            "The study prints its results in tables; they stand under Numbers.",
        )
        for figure in results.study.figures:
            _show_text(figure)
        return
    titles = {name: f"{name}: {_caption(figure)}" for name, figure in figures.items()}
    left, right = pair("figure", left=2, right=1)
    with left:
        name = choose_one("Figure", titles, "figure")
    with right:
        protocols = {key: title.capitalize() for key, title in papers.PROTOCOLS.items()}
        protocol = choose_one("Runs", protocols, "protocol", radio=True)
    section(titles[name])
    _show_text(figures[name])
    if not figures[name].draws:
        st.caption("It shows no result, no sound and no network that could be drawn anew.")
    elif figures[name].draws == "layers":
        _draw_layers(figures[name], results)
    elif figures[name].draws == "rates":
        _draw_rates(figures[name], results)
    elif figures[name].draws in _MUSIC_DRAWERS:
        _draw_music(figures[name], results, protocol)
    else:
        _draw(figures[name], results, protocol)


def _caption(figure: PrintedFigure) -> str:
    """The caption without the figure's own name."""
    text = re.sub(r"^Fig(ure|\.) \d+[:.] ", "", figure.caption)
    letter = figure.place[-3:]
    if letter in ("(a)", "(b)", "(c)"):
        text = text.partition(letter)[2].partition("(")[0]
    return capital(text.strip().rstrip("."))


def _show_text(figure: PrintedFigure) -> None:
    """Quotations about the figure, and a note on the numbers that the study does not print."""
    for quotation in figure.said:
        st.markdown(f"“{plain(quotation.words)}” :gray[({in_section(quotation.section)})]")
    st.caption(f"Not printed, and not reconstructed here: {plain(figure.not_printed)}")


def _draw_layers(figure: PrintedFigure, results: Results) -> None:
    """The layers of each network on the study's own input, which needs no run."""
    for row in figure.systems:
        config = papers.config_of(results.study, row, "published")
        card = cards.model_card(config.model.name, config)
        st.caption(plain(f"{results.study.title_of(row)}, on {card.input.words}"))
        layer_table(card)


def _draw_rates(figure: PrintedFigure, results: Results) -> None:
    """The learning rate over the epochs of a row, which needs no run."""
    tables = []
    for row in figure.systems:
        lr = optimisation.rates(papers.config_of(results.study, row, "published").training)
        title = results.study.title_of(row)
        table = pd.DataFrame({"epoch": range(1, len(lr) + 1), "lr": lr})
        tables.append(table.assign(system=row, title=title, split="train"))
    table = pd.concat(tables, ignore_index=True)
    chart(plots.study_curves(table, "lr", "Learning rate at the start of every epoch"), "rates")


def _draw(figure: PrintedFigure, results: Results, protocol: str) -> None:
    study = results.study
    by_system = {
        name: findings.runs_of(study, results.runs, name, protocol) for name in figure.systems
    }
    runs = {name: runs[0] for name, runs in by_system.items() if runs}
    missing = words.listed([study.title_of(name) for name in figure.systems if name not in runs])
    if not runs:
        empty(
            "None of its systems has been run under this protocol.",
            f"Run it queues them: {plain(missing)}.",
        )
        return
    if missing:
        st.caption(f"Not run yet: {plain(missing)}.")
    _DRAWERS[figure.draws](_Drawing(figure, results, protocol, runs))
    rehearsal = ", rehearsals" if results.rehearsal else ""
    st.caption(f"Drawn from our runs with seed 0, {papers.PROTOCOLS[protocol]}{rehearsal}.")


def _draw_curves(drawing: _Drawing) -> None:
    figure, parts = drawing.figure, []
    for name, run in drawing.runs.items():
        for split in ("train", "valid"):
            columns = {f"{split}_loss": "loss", f"{split}_accuracy": "accuracy"}
            if figure.split in (split, "both") and f"{split}_loss" in run.history:
                part = run.history[["epoch", *columns]].rename(columns=columns)
                parts.append(part.assign(system=name, title=drawing.title(name), split=split))
    if not parts:
        empty("These runs have no such curve.", "Their split has no validation clips.")
        return
    table = pd.concat(parts, ignore_index=True)
    # A figure of loss and accuracy has a panel for each system.
    panels = [*drawing.runs] if figure.measure == "both" else [""]
    measures = ("loss", "accuracy") if figure.measure == "both" else (figure.measure,)
    for system, measure in in_pairs(list(itertools.product(panels, measures)), "curves"):
        shown = table[table["system"] == system] if system else table
        title = f"{measure} in {_CURVES[figure.split]}"
        title = f"{drawing.title(system)}: {title}" if system else capital(title)
        if len(shown):
            curves = plots.study_curves(shown, measure, title, figure.systems)
            chart(curves, f"curves_{system}_{measure}")


def _draw_steps(drawing: _Drawing) -> None:
    """The training loss by step; by epoch where no run has kept that."""
    titles = {name: drawing.title(name) for name in drawing.runs}
    losses = {titles[name]: run.step_losses for name, run in drawing.runs.items()}
    losses = {title: values for title, values in losses.items() if len(values)}
    without = words.listed([title for title in titles.values() if title not in losses])
    if without:
        st.caption(
            f"Trained by an earlier version, which kept the loss by epoch only: {plain(without)}."
        )
    if not losses:
        _draw_curves(drawing)
        return
    styles = run_styles(list(drawing.figure.systems))
    of_titles = {titles[name]: styles[name] for name in titles}
    chart(plots.losses_by_step(losses, of_titles, "Loss in training by step"), "steps")


def _draw_genres(drawing: _Drawing) -> None:
    tables = []
    for name, run in list(drawing.runs.items())[:_MOST_SYSTEMS]:
        if run.predictions is not None:
            test = read_test_predictions(run)
            table = metrics.per_genre(test, metrics.genres_in(test))
            tables.append(table.assign(run_id=name, title=drawing.title(name)))
    table = pd.concat(tables, ignore_index=True).drop(columns="precision")
    chart(plots.per_genre(table, run_styles(list(drawing.results.study.systems))), "genres")


def _draw_systems(drawing: _Drawing) -> None:
    study, protocol = drawing.results.study, drawing.protocol
    gaps, nothing = [], findings.measure([], "test_accuracy", protocol)
    for name in drawing.runs:
        runs = findings.runs_of(study, drawing.results.runs, name, protocol)
        ours = findings.measure(runs, "valid_accuracy", protocol)
        sides = (ours, nothing) if protocol == "published" else (nothing, ours)
        gaps.append(ProtocolGap(name, study.title_of(name), float("nan"), *sides))
    chart(paper_plots.gaps(gaps, ours.shows.capitalize()), "systems")


def _draw_music(figure: PrintedFigure, results: Results, protocol: str) -> None:
    """A figure of the clips alone: those of a run, or without one those of the dataset."""
    with sentences():
        music = _music(figure, results, protocol)
        if music is not None:
            _MUSIC_DRAWERS[figure.draws](music)


def _music(figure: PrintedFigure, results: Results, protocol: str) -> _Music | None:
    """The music of a figure's first system; None where the page has said how to get it.

    Raises:
        GenrecoreError: The clips cannot be split so.
    """
    study = results.study
    for run in findings.runs_of(study, results.runs, figure.systems[0], protocol):
        if run.clips is not None:
            return _Music(run.config, run.clips, figure.genre)
    row = study.rows_of(figure.systems[0])[0]
    config = papers.study_runs(study, [row], [protocol])[0].config
    data = open_dataset(DatasetChoice(config.dataset.name, config.dataset.options))
    if data is None:
        return None
    clips, _ = prepare.taking_part(data.clips, config)
    st.caption("Drawn from the dataset; no run is needed.")
    if figure.draws == "balance":
        clips = prepare.split_clips(clips, config)
    return _Music(config, clips, figure.genre)


def _draw_balance(music: _Music) -> None:
    title = splits.title(music.config.split)
    chart(parts_of_split(splits.counts(music.clips), title), "balance")


def _draw_sound(music: _Music) -> None:
    """Waveform, spectrum and mel spectrogram of one clip; of images the image of one."""
    clip = _clip(music)
    if clip["medium"] == "image":
        st.image(read_image(str(clip["path"])), caption=plain(clip["clip_id"]))
        return
    excerpt = _excerpt(music)
    if excerpt is None:
        return
    wave, rate = excerpt.wave, excerpt.sample_rate_hz
    player(excerpt, "figure", above_chart=True)
    chart(plots.waveform(wave, rate, title="(a) Raw audio signal"), "figure_wave")
    chart(paper_plots.spectrum(wave, rate, "(b) Magnitude of frequencies"), "figure_spectrum")
    values = music.config.feature.options
    values = {key: value for key, value in values.items() if key not in _SIZES}
    options = FEATURES.choose("log_mel", values).options
    output = compute("log_mel", options, excerpt)
    chart(feature_charts.charts(("image",), output.axes, output.parts)[0][0], "figure_mel")


def _draw_augmentations(music: _Music) -> None:
    """The waveforms of one clip before and after each of the row's augmentations."""
    excerpt = _excerpt(music)
    if excerpt is None:
        return
    waves = {"Original": excerpt.wave}
    for part in music.config.augment:
        choice = part.choose_from(AUGMENTATIONS)
        waves[choice.entry.title] = changed_wave(excerpt, part.name, choice.options)
    for title, wave in in_pairs(list(waves.items()), "waves"):
        chart(plots.waveform(wave, excerpt.sample_rate_hz, title=title), f"wave_{title}")


def _clip(music: _Music) -> pd.Series:
    """A clip of the figure's genre, or of the first genre there is."""
    of_genre = music.clips[music.clips["genre"].map(findings.letters) == music.genre]
    return (of_genre if len(of_genre) else music.clips).iloc[0]


def _excerpt(music: _Music) -> SoundExcerpt | None:
    """The sound of that clip."""
    clip = _clip(music)
    if clip["medium"] != "audio":
        empty("There is no sound.", "The study trained on images or tables.")
        return None
    try:
        excerpt = cut(source_of(clip), 0.0, _SHOWN_S, music.config.audio.sample_rate_hz)
    except AudioError as error:
        st.error(plain(error), icon=":material/error:")
        return None
    st.caption(f"The clip {plain(clip['clip_id'])} ({plain(clip['genre'])}).")
    return excerpt


_DRAWERS: Mapping[str, Callable[[_Drawing], None]] = {
    "curves": _draw_curves,
    "steps": _draw_steps,
    "genres": _draw_genres,
    "systems": _draw_systems,
}
_MUSIC_DRAWERS: Mapping[str, Callable[[_Music], None]] = {
    "balance": _draw_balance,
    "sound": _draw_sound,
    "augmentations": _draw_augmentations,
}
