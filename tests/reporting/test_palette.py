"""Colours that are read: contrast of texts with what lies behind them, in both themes."""

from __future__ import annotations

import tomllib
from itertools import pairwise

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from conftest import ROOT

from genrecore.reporting import plots
from genrecore.reporting.plots.chart import Chart, in_theme
from genrecore.reporting.plots.palette import INK, OPPOSITES, SHADES, contrast, on_shade, rgb

READABLE = 4.5  # WCAG 2.2, success criterion 1.4.3
THEMES = ("light", "dark")
with open(ROOT / ".streamlit" / "config.toml", "rb") as stream:
    THEME = tomllib.load(stream)["theme"]


def test_contrast_is_that_of_wcag() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast(rgb("#767676"), (255, 255, 255)) == pytest.approx(4.54, abs=0.005)
    assert contrast(rgb("#ff0000"), (255, 255, 255)) == pytest.approx(3.998, abs=0.005)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("scale", [SHADES, OPPOSITES])
def test_a_cells_number_is_readable_on_every_shade(scale: dict[str, list[str]], theme: str) -> None:
    shades = scale[theme]
    for k, (low, high) in enumerate(pairwise(shades)):
        for part in np.linspace(0, 1, 251):
            shade = (1 - part) * np.array(rgb(low)) + part * np.array(rgb(high))
            text = on_shade((k + part) / (len(shades) - 1), shades)
            assert contrast(rgb(text), shade) >= READABLE


@pytest.mark.parametrize("theme", THEMES)
def test_texts_of_page_and_charts_are_readable_in_each_theme(theme: str) -> None:
    colours = THEME[theme]
    grounds = [colours["backgroundColor"], colours["secondaryBackgroundColor"]]
    texts = [colours[name] for name in ("textColor", "linkColor", "grayTextColor", "codeTextColor")]
    for ground in grounds:
        for text in (*texts, INK[theme]):
            assert contrast(rgb(text), rgb(ground)) >= READABLE, (text, ground)
    primary = rgb(colours["primaryColor"])
    assert contrast(primary, (255, 255, 255)) >= READABLE  # buttons and chips are labelled in white
    assert contrast(primary, rgb(colours["backgroundColor"])) >= 3  # WCAG 2.2, 1.4.11
    assert tuple(colours["chartSequentialColors"]) == SHADES[theme]


MATRIX = pd.DataFrame(
    [[5, 5, 0], [1, 8, 1], [0, 0, 10]], index=["dub", "march", "waltz"],
    columns=["dub", "march", "waltz"],
)  # fmt: skip


def colours_of(figure: go.Figure) -> list[tuple[str, str]]:
    """Each written cell's text and the shade under it."""
    cells, texts = figure.data[:2]
    low, high = cells.zmin, cells.zmax
    shades = [shade for _, shade in cells.colorscale]
    written = zip(np.ravel(cells.z), texts.text, texts.textfont.color, strict=True)
    return [
        (colour, on_shade((float(value) - low) / (high - low), shades))
        for value, text, colour in written
        if text
    ]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(
    "chart",
    [
        plots.confusion(MATRIX, "cnn"),
        plots.difference((MATRIX - MATRIX.T) / 10, "A", "B"),
    ],
)
def test_a_matrix_writes_on_the_shades_of_its_theme(chart: Chart, theme: str) -> None:
    figure = go.Figure(chart.figure)
    in_theme(figure, theme)
    scale = [shade for _, shade in figure.data[0].colorscale]
    assert scale in ([*SHADES[theme]], [*OPPOSITES[theme]])
    colours = colours_of(figure)
    assert len(colours) > 2
    assert all(text == best for text, best in colours)
