"""The parts of the page Models: a model's card, and all models beside it. Imports torch."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from genrecore.config import run as configuration
from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError
from genrecore.features import PRESETS
from genrecore.jobs.actions import start_task
from genrecore.models import MODELS
from genrecore.reporting.feature_charts import spaced
from genrecore.reporting.plots import models as drawn
from genrecore.training import card as cards
from genrecore.training import latency, model_inputs
from genrecore.training.card import Card, counted
from genrecore.training.latency import Latency
from genrecore.training.reaches import Field
from genrecore.ui.datasets.tasks import is_working, latest, watch
from genrecore.ui.parts.choices import choose, choose_one, chosen
from genrecore.ui.parts.forms import REGISTRIES
from genrecore.ui.parts.frame import (
    chart,
    command,
    empty,
    link_to,
    pair,
    plain,
    section,
    sentences,
    share_column,
)
from genrecore.ui.parts.readers import when

_DEFAULT = "default"


@dataclass(frozen=True)
class Chosen:
    """A card, the input for which it was asked (empty: the first choice), and its time."""

    card: Card
    preset: str
    config: RunConfig | None
    known: Latency | None


def choose_card() -> Chosen | None:
    """The model and the input of the address; None where it cannot take that input."""
    names = list(MODELS)
    asked = chosen("model")
    left, right = pair("choice", left=1, right=1)
    with left:
        name = choose_one("Model", names, "model", words=lambda one: MODELS[one].title)
    if asked and asked not in names:
        st.warning(
            f"There is no model called {plain(asked)}; {plain(MODELS[name].title)} is shown.",
            icon=":material/search_off:",
        )
    own = model_inputs.preset_of(name)
    others = [one for one in model_inputs.presets_for(name) if one != own]
    inputs = [own, _DEFAULT, *others] if own else [_DEFAULT, *others]
    with right:
        picked = choose_one(
            "Input for which sizes are given",
            inputs,
            "input",
            words=lambda one: _input_title(one, own),
            help="Multiply–adds and receptive fields depend on it, and of some models the "
            "parameters, too.",
        )
    preset = "" if picked == inputs[0] else picked
    config = None
    if preset == _DEFAULT:
        config = model_inputs.plain_config(name)
    elif preset:
        values = PRESETS[preset].thing | {"model": name}
        config = configuration.with_values(RunConfig(), values)
    try:
        with st.spinner("Taking the model apart …"):
            return Chosen(cards.card(name, config), preset, config, latency.newest(name, config))
    except GenrecoreError as error:
        st.error(plain(error), icon=":material/error:")
        return None


def _input_title(name: str, own: str) -> str:
    if name == _DEFAULT:
        return "The default settings of Train"
    return f"Its study's · {PRESETS[name].title}" if name == own else PRESETS[name].title


def headline(picked: Chosen) -> None:
    """What the model brought, and its figures."""
    card, known = picked.card, picked.known
    section(card.title)
    if card.idea:
        st.markdown(plain(card.idea))
    year = f"{card.year}. " if card.year else ""
    takes = " or ".join(cards.KINDS.get(kind, kind) for kind in card.accepts)
    st.caption(plain(f"{year}{card.source}. It takes {takes}."))
    if card.classical:
        return
    numbers = st.container(horizontal=True, gap="small")  # wraps where the page is narrow
    of = f"for {card.input.words}, {card.input.n_genres} genres"
    n_frozen = (card.n_parameters or 0) - (card.n_trainable or 0)
    _number(
        numbers,
        "Parameters",
        counted(card.n_parameters),
        f"{counted(n_frozen)} frozen" if n_frozen else "all trainable",
        f"{spaced(card.n_parameters or 0)} numbers that training finds, {of}.",
    )
    _number(
        numbers,
        "Multiply–adds",
        counted(card.n_multiply_adds),
        f"a clip: {counted(card.n_multiply_adds_clip)}",
        f"{spaced(card.n_multiply_adds or 0)} for one example, {of}, and below for a clip of 30 s. "
        "Convolutions and matrix products of the network are counted; what the feature costs is "
        "not.",
    )
    times = [field.time_in_words for field in card.fields]
    ranges = [_hertz(field) for field in card.fields if field.high_hz is not None]
    _number(
        numbers,
        "Receptive field",
        times[0] if times else "all",
        *([f"and {times[1]}"] if times[1:] else ranges or ["" if times else "of the input"]),
        "How much of the sound one unit of its convolutions sees at most, and from which to which "
        "frequency around 1 kHz.",
    )
    _number(
        numbers,
        "On disk",
        cards.size(card.n_bytes or 0),
        "float32",
        "Of a trained run's weights; while it trains, gradients and what the optimiser keeps take "
        "two to three times as much memory again.",
    )
    _number(
        numbers,
        "Time for a clip",
        latency.in_ms(known.median_ms) if known else "–",
        known.device if known else "not measured",
        "From 30 s of sound to the verdict, on this machine.",
    )


def _number(place: DeltaGenerator, *words: str) -> None:
    name, value, below, about = words
    place.metric(
        name,
        value,
        border=True,
        width=140,
        height="stretch",
        help=about,
        delta=below or None,
        delta_color="off",
        delta_arrow="off",
    )


def _hertz(field: Field) -> str:
    return f"{spaced(field.low_hz or 0.0)} to {spaced(field.high_hz or 0.0)} Hz"


def described(picked: Chosen) -> None:
    """The figures in sentences, and what else there is to know."""
    card = picked.card
    section("In words")
    st.caption(plain(f"For {card.input.words}; {card.input.n_genres} genres."))
    said = [*cards.sizes_in_words(card), *card.sees]
    st.markdown("\n".join(f"- {plain(one)}" for one in said))
    if card.notes:
        with st.expander("What studies leave open, and what is chosen here"):
            st.markdown("\n".join(f"- {plain(note)}" for note in card.notes))
    words = ["genrecore", "models", "show", card.name]
    command([*words, *(["--preset", picked.preset] if picked.preset else [])])


def measuring(picked: Chosen) -> None:
    """How long a clip takes here: the last measurement, and a button for a new one."""
    card, known = picked.card, picked.known
    if card.classical:  # it depends on what the model has learned from
        return
    section("Time on this machine")
    words = measure_words(card.name, picked.preset)
    if known is not None:
        st.markdown(plain(known.sentence))
        st.caption(f"Measured on {when(known.at)}.")
    else:
        st.caption("Nobody has measured it here yet. It takes a few seconds.")
    if st.button(
        "Measure again" if known else "Measure",
        icon=":material/timer:",
        key="measure",
        disabled=is_working(latest(words)),
        help="Builds the network with random weights and classifies 30 s of noise several times.",
    ):
        with sentences():
            start_task(words, f"Measuring {card.name}")
            st.rerun()
    watch(words)


def measure_words(name: str, preset: str) -> list[str]:
    """The command line after `genrecore` that measures a model on an input."""
    return ["models", "measure", name, *(["--preset", preset] if preset else []), "--json"]


def training(picked: Chosen) -> None:
    """Where to train it, filled in, and the same as a command."""
    section("Train it")
    card = picked.card
    link_to("train", "Train this model", ":material/model_training:", address(picked))
    command(card.command)


def address(picked: Chosen) -> dict[str, str]:
    """What the page Train opens with: model, input and, on its study's input, the recipe."""
    name = picked.card.name
    preset = picked.preset or model_inputs.preset_of(name)
    preset = "" if preset == _DEFAULT else preset
    values = dict(PRESETS[preset].thing) if preset else {}
    values = {"feature": model_inputs.default_feature(name)} | values | {"model": name}
    if not picked.preset:
        values |= model_inputs.recipe_of(name)
    query = {"preset": preset} if preset else {}
    for dotted, value in values.items():
        part, _, option = dotted.partition(".")
        known = part in REGISTRIES and option
        query[f"{values.get(part)}.{option}" if known else dotted] = str(value)
    return query


def published(picked: Chosen) -> None:
    """What studies print of its size, beside ours."""
    card = picked.card
    if card.classical:
        return
    section("Printed and counted", "Parameters as studies print them, and ours for the same input.")
    if not card.published:
        empty("No study prints a size.", "There is nothing to compare ours with.")
        return
    st.table(
        pd.DataFrame(
            {
                "Study": [plain(one.study) for one in card.published],
                "Printed": [spaced(one.n_printed) for one in card.published],
                "Ours": [spaced(one.n_ours) for one in card.published],
                "Difference": [one.percent for one in card.published],
                "For": [
                    f"{cards.shape_in_words(one.shape)}, {spaced(one.n_genres)} outputs"
                    for one in card.published
                ],
            }
        ),
        hide_index=True,
    )
    for one in card.published:
        if one.why:
            st.caption(plain(f"{one.study}: {one.why}"))


def layers(picked: Chosen) -> None:
    """The network from its input to its verdict."""
    card = picked.card
    if not card.layers:
        return
    section("Layers", "From the input to the verdict: what has parameters, and what pools.")
    total = max(1, card.n_parameters or 1)
    table = pd.DataFrame(
        {
            "Layer": [layer.name for layer in card.layers],
            "What it is": [layer.what for layer in card.layers],
            "What comes out": [
                cards.shape_in_words(layer.shape) or "only in training" for layer in card.layers
            ],
            "Parameters": [layer.n_parameters for layer in card.layers],
            "Share": [100 * layer.n_parameters / total for layer in card.layers],
        }
    )
    st.dataframe(
        table,
        hide_index=True,
        height=38 + 35 * len(table),
        column_config={
            "Parameters": st.column_config.NumberColumn(format="localized"),
            "Share": share_column(),
        },
    )


def beside(picked: Chosen) -> None:
    """All networks that take this kind of input, on this very input; a click opens one."""
    card = picked.card
    if card.classical:  # it has no size before it is trained
        return
    section(
        "Beside the others",
        "Every network that takes the same kind of input, on this very input. A click on a row "
        "opens its card.",
    )
    with st.spinner("Taking the other models apart …"):
        found = cards.sizes(card.config)
    for one in found:
        if one.reason:
            st.caption(plain(one.reason))
    table = pd.DataFrame([vars(one) for one in found if not one.reason])
    if len(table) == 1:
        empty("No other network takes this input.", "There is nothing to compare it with.")
        return
    chart(drawn.sizes(table, card.name), "sizes")
    _rows(table.sort_values("n_multiply_adds", ignore_index=True), card.name)


def _rows(table: pd.DataFrame, name: str) -> None:
    names = table["name"].to_list()
    key = f"beside_{len(names)}_{name}"

    def pick() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        if rows:
            choose("model", names[rows[0]])
            st.session_state["_picked_model"] = True

    st.dataframe(
        table.drop(columns="reason"),
        key=key,
        hide_index=True,
        height=38 + 35 * len(names),
        on_select=pick,
        selection_mode="single-row",
        selection_default={"selection": {"rows": [names.index(name)]}},
        column_order=["name", "n_parameters", "n_multiply_adds", "title"],
        column_config={
            "name": "Model",
            "title": "In full",
            "n_parameters": st.column_config.NumberColumn("Parameters", format="localized"),
            "n_multiply_adds": st.column_config.NumberColumn("Multiply–adds", format="localized"),
        },
    )
    if st.session_state.pop("_picked_model", False):
        st.rerun()
