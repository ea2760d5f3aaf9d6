"""The page Models, opened through `app.py`: every card, its links, and a real measurement."""

from __future__ import annotations

import shlex
from pathlib import Path

import pandas as pd
import pytest
from conftest import wait_for
from opened import again, metrics, open_page, words
from streamlit.testing.v1 import AppTest

from genrecore.config.command import train_command
from genrecore.config.run import PARTS, RunConfig, differences, with_values
from genrecore.experiments import papers
from genrecore.jobs import actions as jobs
from genrecore.models import MODELS
from genrecore.reporting.plots import models as model_plots
from genrecore.training import card as cards
from genrecore.training import model_inputs
from genrecore.training.resolve import resolve
from genrecore.ui.parts.tasks import latest
from genrecore.words import short_number

pytestmark = pytest.mark.xdist_group("page_models")  # one worker takes the models apart


def commands(app: AppTest) -> list[str]:
    """The page's commands on one line each."""
    return [block.value.replace(" \\\n  ", " ") for block in app.code]


@pytest.fixture(scope="module")
def page() -> AppTest:
    """The page, opened once; tests choose another model in its address."""
    return open_page("models")


# A network for each shape of input and a classical model; the others wait for the long tests.
DAILY = {"cnn", "mlp", "rescnn_1d2d", "alexnet", "knn"}
some_models = pytest.mark.parametrize(
    "name", [n if n in DAILY else pytest.param(n, marks=pytest.mark.long) for n in MODELS]
)


@pytest.mark.slow
@some_models
def test_every_model_has_its_card(name: str, page: AppTest) -> None:
    app = again(page, model=name)
    assert not app.error
    card, text = cards.model_card(name, papers.model_config(name)), words(app)
    assert app.header[0].value == card.title
    assert card.idea in text
    assert app.selectbox(key="choice_model").value == name
    assert card.command in commands(app)
    if card.classical:
        assert metrics(app) == {}
        assert "depends on what it learns from" in text
        return
    assert metrics(app)["Parameters"] == short_number(card.n_parameters)
    assert metrics(app)["Multiply–adds"] == short_number(card.n_multiply_adds)
    outline = app.dataframe[0].value
    assert outline["Parameters"].sum() == card.n_parameters
    for size in card.published:
        assert size.percent in str(app.table[0].value["Difference"].to_list())
    n_alike = sum(not size.reason for size in cards.sizes(card.config))
    assert len(app.get("plotly_chart")) == (n_alike > 1)


def test_without_an_address_the_first_model_is_shown_and_the_others_beside_it() -> None:
    app = open_page("models")
    assert app.header[0].value == next(iter(MODELS.values())).title
    beside = app.dataframe[-1].value
    assert {"cnn", "resnet18", "vgg16"} <= set(beside["name"])
    assert beside["n_multiply_adds"].is_monotonic_increasing


def test_an_unknown_model_or_input_in_the_address_is_one_sentence() -> None:
    app = open_page("models", model="resnet<b>19", input="nobody")
    (warned,) = app.warning
    assert warned.value.replace("\\", "").startswith("There is no model called resnet<b>19;")
    assert app.header[0].value == next(iter(MODELS.values())).title
    assert not app.error


@pytest.mark.slow
def test_another_input_changes_the_figures_and_the_commands() -> None:
    app = open_page("models", model="cnn", input="belton_mel")
    assert app.selectbox(key="choice_input").value == "belton_mel"
    assert "256 mel bands × 1,320 frames" in words(app)
    assert "genrecore train --preset belton_mel --model cnn" in commands(app)
    assert "genrecore models show cnn --preset belton_mel" in commands(app)
    app.selectbox(key="choice_input").select("default").run()
    assert app.query_params["input"] == "default"
    assert "128 mel bands × 130 frames" in words(app)
    # What does not fit the next model gives way to that one's own.
    app = open_page("models", model="mlp", input="belton_mel")
    assert app.selectbox(key="choice_input").value == model_inputs.preset_of("mlp")
    assert not app.error


def address_of(name: str) -> dict[str, str]:
    """The address of the form to which the model's card links."""
    from genrecore.ui.models.cards import ModelChoice, address

    config = papers.model_config(name)
    return address(ModelChoice(cards.model_card(name, config), "", config, None))


@pytest.mark.parametrize(
    "name", ["cnn", "knn", "mlp", pytest.param("efficientnet_b0", marks=pytest.mark.long)]
)
def test_the_link_opens_the_form_with_input_and_recipe(name: str, real_data: Path) -> None:
    (link,) = open_page("models", model=name).get("page_link")
    assert link.proto.label == "Train this model"
    config = resolve(papers.model_config(name)).config
    query = address_of(name)
    if config.dataset.name == "gtzan":
        folder = str(real_data / "gtzan")
        query |= {"gtzan.folder": folder}
        config = with_values(config, {"dataset.folder": folder})
    app = open_page("train", **query)
    assert not app.error
    filled_in = shlex.split(commands(app)[-1])
    assert filled_in == train_command(config), differences(config)


@some_models
def test_the_address_of_the_form_holds_the_whole_recipe(name: str) -> None:
    config = resolve(papers.model_config(name)).config
    of_options = {getattr(config, part).name: part for part in PARTS}
    of_options |= {part.name: f"augment.{part.name}" for part in config.augment}
    values = {}
    for key, text in address_of(name).items():
        first, dot, rest = key.partition(".")
        if key != "preset":
            values[f"{of_options.get(first, first)}.{rest}" if dot else key] = text
    assert resolve(with_values(RunConfig(), values)).config == config
    assert (config.dataset.name == "demo") == (papers.row_of_model(name) is None)


@pytest.mark.slow
def test_measuring_is_a_task_whose_result_the_page_shows(store: Path) -> None:
    app = open_page("models", model="mlp")
    assert metrics(app)["Time for a clip"] == "–"
    assert "Nobody has measured it here" in words(app)
    app.button(key="measure").click().run()
    assert not app.exception
    task = latest(["models", "measure", "mlp", "--json"])
    assert task is not None
    wait_for(lambda: jobs.Task(task.folder).state not in ("starting", "running"), 90)
    assert jobs.Task(task.folder).state == "done", task.log()
    app = open_page("models", model="mlp")
    assert "ms" in metrics(app)["Time for a clip"]
    assert "from a clip's rows of the table to its prediction" in words(app)
    assert "Measured on" in words(app)
    # Of another input nothing is known yet.
    assert metrics(again(app, model="mlp", input="default"))["Time for a clip"] == "–"


def test_the_chart_marks_the_chosen_model_by_more_than_colour() -> None:
    table = pd.DataFrame(
        {
            "name": ["small", "middle", "large", "twin"],
            "title": ["A", "B & <b>", "C", "D"],
            "n_parameters": [12_000, 3_000_000, 140_000_000, 3_010_000],
            "n_multiply_adds": [9_000, 2_000_000_000, 15_000_000_000, 2_010_000_000],
        }
    )
    chart = model_plots.sizes(table, "large")
    (points,) = chart.figure.data
    assert list(points.text) == ["small", "middle", "twin", "<b>large</b>"]  # it lies on top
    assert len(set(points.marker.symbol)) == len(set(points.marker.size)) == 2
    assert points.customdata[1] == "B &amp; &lt;b&gt;"
    assert points.textposition[1] != points.textposition[2]  # two points in one place
    for axis, values in (("xaxis", "n_parameters"), ("yaxis", "n_multiply_adds")):
        low, high = chart.figure.layout[axis].range
        assert 10**low < table[values].min() < table[values].max() < 10**high
    assert "C has 140,000,000 and 15,000,000,000" in chart.alt
    assert set(chart.table["Parameters"]) == set(table["n_parameters"])
