"""The page Models: a model's card, and all models beside it."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from genrecore import words
from genrecore.config import run as configuration
from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError
from genrecore.experiments import papers
from genrecore.features import PRESETS
from genrecore.models import MODELS
from genrecore.reporting.columns import Column
from genrecore.reporting.plots import models as plots
from genrecore.training import card as cards
from genrecore.training import model_inputs, timing
from genrecore.training.card import Card
from genrecore.training.timing import Latency
from genrecore.ui.parts.choices import choose_one, chosen
from genrecore.ui.parts.fitting import address_of
from genrecore.ui.parts.frame import (
    chart,
    command,
    empty,
    link_to,
    pair,
    plain,
    section,
    tiles,
)
from genrecore.ui.parts.tables import show_table, table_to_open
from genrecore.ui.parts.tasks import task_panel

_DEFAULT = "default"


@dataclass(frozen=True)
class ModelChoice:
    """A model's card, its input (a preset's name; empty for the first choice), and its latency."""

    card: Card
    preset: str
    config: RunConfig
    latency: Latency | None


def choose_card() -> ModelChoice | None:
    """The model and the input of the URL; None where the model cannot take that input."""
    name_in_url = chosen("model")
    left, right = pair("choice", left=1, right=1)
    with left:
        name = choose_one("Model", MODELS.titles, "model")
    if name_in_url and name_in_url not in MODELS:
        st.warning(
            f"There is no model called {plain(name_in_url)}; {plain(MODELS[name].title)} is shown.",
            icon=":material/search_off:",
        )
    own = model_inputs.preset_of(name)
    others = [preset for preset in model_inputs.presets_for(name) if preset != own]
    inputs = [own, _DEFAULT, *others] if own else [_DEFAULT, *others]

    def title(preset: str) -> str:
        if preset == _DEFAULT:
            return "The default settings of Train"
        return ("Its study's · " if preset == own else "") + PRESETS[preset].title

    with right:
        picked = choose_one(
            "Input for which sizes are given",
            {preset: title(preset) for preset in inputs},
            "input",
            help="Multiply–adds and receptive fields depend on it; for some models also the "
            "parameters.",
        )
    preset = "" if picked == inputs[0] else picked
    try:
        with st.spinner("Building the model …"):
            if preset == _DEFAULT:
                config = model_inputs.plain_config(name)
            elif preset:
                values = PRESETS[preset].thing | {"model": name}
                config = configuration.with_values(RunConfig(), values)
            else:
                config = papers.model_config(name)
            return ModelChoice(
                cards.model_card(name, config), preset, config, timing.newest_latency(name, config)
            )
    except GenrecoreError as error:
        st.error(plain(error), icon=":material/error:")
        return None


def show_headline(choice: ModelChoice) -> None:
    """The model's idea, and its figures."""
    card, measured = choice.card, choice.latency
    section(card.title)
    if card.idea:
        st.markdown(plain(card.idea))
    year = f"{card.year}. " if card.year else ""
    takes = words.listed([cards.KINDS.get(kind, kind) for kind in card.accepts], "or")
    st.caption(plain(f"{year}{card.source}. It takes {takes}."))
    if card.classical:
        return
    n_frozen = (card.n_parameters or 0) - (card.n_trainable or 0)
    of = f"for {card.input.words}, {words.plural(card.input.n_genres, 'genre')}"
    times = [field.time_in_words for field in card.fields]
    ranges = [
        f"{words.thousands(field.low_hz or 0.0)} to {words.thousands(field.high_hz)} Hz"
        for field in card.fields
        if field.high_hz is not None
    ]
    second = f"and {times[1]}" if times[1:] else next(iter(ranges), "")
    numbers = [
        (
            "Parameters",
            words.short_number(card.n_parameters),
            f"{words.short_number(n_frozen)} frozen" if n_frozen else "all trainable",
            f"{words.plural(card.n_parameters or 0, 'number')} that training finds, {of}.",
        ),
        (
            "Multiply–adds",
            words.short_number(card.n_multiply_adds),
            f"a clip: {words.short_number(card.n_multiply_adds_clip)}",
            f"{words.thousands(card.n_multiply_adds or 0)} for one example, {of}; below, for a "
            "clip of 30 s. Convolutions and matrix products of the network count; the feature "
            "does not.",
        ),
        (
            "Receptive field",
            times[0] if times else "all",
            second if times else "of the input",
            "How much of the sound one unit of its convolutions sees at most, and which "
            "frequencies around 1 kHz.",
        ),
        (
            "On disk",
            words.size(card.n_bytes or 0),
            "float32",
            "Of a trained run's weights; training needs two to three times as much memory again "
            "for gradients and the optimiser.",
        ),
        (
            "Time for a clip",
            words.milliseconds(measured.median_ms) if measured else words.DASH,
            measured.device if measured else "not measured",
            "From 30 s of sound to the prediction, on this machine.",
        ),
    ]
    tiles(numbers, "model")


def show_sizes(choice: ModelChoice) -> None:
    """The sizes in sentences, and the choices that studies leave open."""
    card = choice.card
    section("In words")
    st.caption(plain(f"{card.input.words}; {words.plural(card.input.n_genres, 'genre')}."))
    sentences = [*cards.sizes_in_words(card), *card.sees]
    st.markdown("\n".join(f"- {plain(sentence)}" for sentence in sentences))
    if card.notes:
        with st.expander("What studies leave open, and what is chosen here"):
            st.markdown("\n".join(f"- {plain(note)}" for note in card.notes))
    preset = ["--preset", choice.preset] if choice.preset else []
    command(["genrecore", "models", "show", card.name, *preset])


def show_latency(choice: ModelChoice) -> None:
    """How long a clip takes here: the last measurement, and a button for a new one."""
    card, measured = choice.card, choice.latency
    if card.classical:  # it depends on what the model has learned from
        return
    section("Time on this machine")
    if measured is not None:
        st.markdown(plain(measured.sentence))
        st.caption(f"Measured on {words.moment(measured.at)}.")
    else:
        st.caption("Nobody has measured it here yet. It takes a few seconds.")
    preset = ["--preset", choice.preset] if choice.preset else []
    arguments = ["models", "measure", card.name, *preset, "--json"]
    task_panel(
        "Measure again" if measured else "Measure",
        arguments,
        f"Measuring {card.name}",
        "measure",
        ":material/timer:",
        "secondary",
        help="Builds the network with random weights and classifies 30 s of noise several times.",
    )


def link_to_training(choice: ModelChoice) -> None:
    """The link to the form, filled in, and the same as a command."""
    section("Train it")
    link_to("train", "Train this model", ":material/model_training:", address(choice))
    of_study = None if choice.preset else papers.row_of_model(choice.card.name)
    if of_study is None:
        command(choice.card.command)
        return
    study, row = of_study
    which = plain(f"the row {row} of {study.authors} ({study.title_of(row)})")
    command(choice.card.command, f"As a command, {which}, with artists kept apart")
    rows = ["--rows", row, "--protocol", "published"]
    command(["genrecore", "papers", "run", study.name, *rows], "The same row as it was published")


def address(choice: ModelChoice) -> dict[str, str]:
    """The URL of the page Train, filled in as the card's command has it."""
    config = choice.card.config
    query = {"feature": config.feature.name, "model": config.model.name}
    preset = "" if choice.preset == _DEFAULT else choice.preset or choice.card.input.preset
    query |= {"preset": preset} if preset else {}
    return query | address_of(config)


def show_published(choice: ModelChoice) -> None:
    """The sizes that studies print, beside ours."""
    card = choice.card
    if card.classical:
        return
    section("Printed and counted", "Parameters as studies print them, and ours for the same input.")
    if not card.published:
        empty("No study prints a size.", "There is nothing to compare ours with.")
        return
    rows = [
        {
            "Study": plain(size.study),
            "Printed": words.thousands(size.n_printed),
            "Ours": words.thousands(size.n_ours),
            "Difference": size.percent,
            "For": f"{cards.shape_in_words(size.shape)}, {words.plural(size.n_genres, 'output')}",
        }
        for size in card.published
    ]
    st.table(pd.DataFrame(rows), hide_index=True)
    for size in card.published:
        if size.why:
            st.caption(plain(f"{size.study}: {size.why}"))


def layer_table(card: Card) -> None:
    """The network's layers from its input to its output."""
    total = max(1, card.n_parameters or 1)
    rows = [
        {
            "Layer": layer.name,
            "What it is": layer.what,
            "Output": cards.shape_in_words(layer.shape) or "only in training",
            "Parameters": layer.n_parameters,
            "Share": layer.n_parameters / total,
        }
        for layer in card.layers
    ]
    special = {"Parameters": Column("Parameters", "count"), "Share": Column("Share", "share")}
    show_table(pd.DataFrame(rows), special=special, tallest=2000)


def show_layers(choice: ModelChoice) -> None:
    """The layer table, where the model has layers."""
    if choice.card.layers:
        section("Layers", "Those with parameters, and those that pool, from input to output.")
        layer_table(choice.card)


def show_others(choice: ModelChoice) -> None:
    """All networks that take this input; a click opens the card of one."""
    card = choice.card
    if card.classical:  # it has no size before it is trained
        return
    section(
        "Beside the others",
        "Every network that takes the same kind of input, on this very input. A click on a row "
        "opens its card.",
    )
    with st.spinner("Building the other models …"):
        sizes = cards.sizes(card.config)
    for size in sizes:
        if size.reason:
            st.caption(plain(size.reason))
    table = pd.DataFrame([vars(size) for size in sizes if not size.reason])
    if len(table) == 1:
        empty("No other network takes this input.", "There is nothing to compare it with.")
        return
    chart(plots.sizes(table, card.name), "sizes")
    table = table.sort_values("n_multiply_adds", ignore_index=True)
    exact = {"n_parameters": "Parameters", "n_multiply_adds": "Multiply–adds"}
    special: dict[str, Column | str] = {k: Column(v, "count") for k, v in exact.items()}
    special |= {"name": Column("Model", width=150), "title": "In full"}
    columns = ["name", *exact, "title"]
    table_to_open(table, table["name"].to_list(), card.name, "model", columns, special)
