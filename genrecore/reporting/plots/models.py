"""Models by their numbers of parameters and multiply–adds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from genrecore.reporting.plots.chart import GREY, Chart, draw, label, named
from genrecore.reporting.plots.palette import CORAL
from genrecore.words import thousands

_HEIGHT = 430
# The plot's size for which labels are kept apart: that of a window of 800 pixels.
_WIDE, _HIGH = 420.0, 330.0
_LETTER, _LINE, _GAP = 7.2, 15.0, 11.0


def sizes(table: pd.DataFrame, chosen: str) -> Chart:
    """Multiply–adds against parameters, both logarithmic, a labelled point for each model.

    Args:
        table: `name, title, n_parameters, n_multiply_adds`, a row a model.
        chosen: Name of the highlighted model.
    """
    table = table.sort_values("name", key=lambda names: names == chosen, kind="stable")  # on top
    x = [math.log10(max(1, n)) for n in table["n_parameters"]]
    y = [math.log10(max(1, n)) for n in table["n_multiply_adds"]]
    names = table["name"].to_list()
    spans = (_padded(x), _padded(y))
    points = {
        "x": table["n_parameters"].to_list(),
        "y": table["n_multiply_adds"].to_list(),
        "mode": "markers+text",
        "text": [f"<b>{label(name)}</b>" if name == chosen else label(name) for name in names],
        "textposition": _label_positions(x, y, names, spans, chosen),
        "textfont": {"size": 12},
        "marker": {
            "size": [15 if name == chosen else 9 for name in names],
            "symbol": ["diamond" if name == chosen else "circle" for name in names],
            "color": [CORAL if name == chosen else GREY for name in names],
        },
        "cliponaxis": False,
        "customdata": table["title"].map(label).to_list(),
        "hovertemplate": "%{customdata}<br>%{x:.3s} parameters<br>%{y:.3s} multiply–adds"
        "<extra></extra>",
        "showlegend": False,
    }
    decades = {"type": "log", "tickformat": "~s", "dtick": 1}
    along = decades | {"title": "Parameters", "range": spans[0], "showgrid": True}
    upward = decades | {"title": "Multiply–adds of one example", "range": spans[1]}
    title = "Parameters and multiply–adds on this input"
    figure = draw([points], title, _HEIGHT, along, upward)
    titles = {"title": "Model", "name": "Name", "n_parameters": "Parameters"}
    numbers = named(table, titles | {"n_multiply_adds": "Multiply–adds"})
    alt = f"Points of {len(numbers)} models by parameters and multiply–adds."
    for row in numbers[numbers["Name"] == chosen].to_dict("records"):
        alt += f" {row['Model']} has {thousands(row['Parameters'])} and "
        alt += f"{thousands(row['Multiply–adds'])}."
    return Chart(figure, alt, numbers)


def _padded(values: Sequence[float]) -> tuple[float, float]:
    """A range in powers of ten with room for labels, at least two powers wide."""
    low, high = min(values), max(values)
    more = max(0.18 * (high - low), 1.0 - 0.5 * (high - low))
    return low - more, high + more


def _label_positions(
    x: Sequence[float],
    y: Sequence[float],
    names: Sequence[str],
    spans: tuple[tuple[float, float], tuple[float, float]],
    chosen: str,
) -> list[str]:
    """The position of each label: beside, above or below its point, where it covers least."""
    points = [
        tuple(
            size * (value - low) / (high - low)
            for value, size, (low, high) in zip(pair, (_WIDE, _HIGH), spans, strict=True)
        )
        for pair in zip(x, y, strict=True)
    ]
    occupied = [(a - _GAP / 2, b - _GAP / 2, a + _GAP / 2, b + _GAP / 2) for a, b in points]
    positions = [""] * len(names)
    for k in sorted(range(len(names)), key=lambda k: names[k] != chosen):  # it chooses first
        (a, b), name = points[k], names[k]
        wide = _LETTER * len(name)
        boxes = {
            "middle right": (a + _GAP, b - _LINE / 2, a + _GAP + wide, b + _LINE / 2),
            "middle left": (a - _GAP - wide, b - _LINE / 2, a - _GAP, b + _LINE / 2),
            "top center": (a - wide / 2, b + 6, a + wide / 2, b + 6 + _LINE),
            "bottom center": (a - wide / 2, b - 6 - _LINE, a + wide / 2, b - 6),
            "top right": (a + 4, b + 4, a + 4 + wide, b + 4 + _LINE),
            "bottom right": (a + 4, b - 4 - _LINE, a + 4 + wide, b - 4),
            "top left": (a - 4 - wide, b + 4, a - 4, b + 4 + _LINE),
            "bottom left": (a - 4 - wide, b - 4 - _LINE, a - 4, b - 4),
        }
        costs = {position: _cost(box, occupied) for position, box in boxes.items()}
        best = min(costs, key=costs.__getitem__)
        positions[k] = best
        occupied.append(boxes[best])
    return positions


_Box = tuple[float, float, float, float]


def _cost(box: _Box, occupied: Sequence[_Box]) -> float:
    """The area of a label that would cover others, or lie outside the plot."""
    left, low, right, high = box
    inside = max(0.0, min(right, _WIDE) - max(left, 0.0)) * (
        max(0.0, min(high, _HIGH) - max(low, 0.0))
    )
    cost = (right - left) * (high - low) - inside
    for a, b, c, d in occupied:
        cost += max(0.0, min(right, c) - max(left, a)) * max(0.0, min(high, d) - max(low, b))
    return cost
