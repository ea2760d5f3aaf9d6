"""What a plotting function returns, and the look that all figures share."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

GREY = "#8b90a0"  # readable on white and on near-black


@dataclass(frozen=True)
class Chart:
    """A figure, what it shows in words, and its numbers."""

    figure: go.Figure
    alt: str
    table: pd.DataFrame
    shares: tuple[str, ...] = ()  # columns of the table that are shares, to be read as percent


def label(text: object) -> str:
    """The text as Plotly should show it: names are never read as markup."""
    return html.escape(str(text), quote=False)


def percent(share: float) -> str:
    """A share as text: 0.8125 is 81.2 %; what was not measured is a dash."""
    if pd.isna(share):
        return "–"
    # Halves go up, as in the browser's own tables; Python alone would say 81.2 of 81.25.
    return f"{math.floor(1000 * share + 0.5) / 10:.1f} %"


def laid_out(figure: go.Figure, title: str, height: int, **layout: Any) -> go.Figure:
    """The figure in the common look: title top left, see-through ground, quiet grid."""
    figure.update_layout(look(title, height) | layout)
    figure.update_xaxes(_AXIS)
    figure.update_yaxes(_AXIS)
    return figure


_AXIS: dict[str, Any] = {
    "automargin": True,
    "zeroline": False,
    "title": {"font": {"size": 12}, "standoff": 8},
}


def look(title: str, height: int) -> dict[str, Any]:
    """The common look as a layout, for a figure that is built at one go."""
    return {
        "title": {
            "text": title,
            "x": 0,
            "xanchor": "left",
            "y": 0.98,
            "yanchor": "top",
            "font": {"size": 15},
        },
        "height": height,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 16, "t": 46, "b": 8},
        "hoverlabel": {"namelength": -1},
        "dragmode": False,
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": GREY, "activecolor": GREY},
    }


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis in the common look, for a figure that is built at one go."""
    return _AXIS | {"title": {"text": title}} | more


def legend_below_title(**more: Any) -> dict[str, Any]:
    """A horizontal legend between title and plot, where it covers nothing."""
    return {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"} | more


def with_legend(figure: go.Figure, n_entries: int, height: int) -> go.Figure:
    """The figure with its legend: of a few entries below the title, of many below the plot, the
    figure being so much higher that the plot keeps its size in a window of 800 pixels."""
    few = n_entries <= 6
    rows = math.ceil(n_entries / 2)
    if few:
        figure.update_layout(
            legend=legend_below_title(tracegroupgap=0),
            margin_t=50 + 22 * rows,
            height=height + 22 * rows,
        )
        return figure
    below = {"orientation": "h", "x": 0, "xanchor": "left", "yanchor": "bottom", "y": 0,
             "tracegroupgap": 0}  # fmt: skip
    figure.update_layout(
        legend=below | {"yref": "container", "font": {"size": 11}},
        margin_b=66 + 20 * rows,
        height=height + 20 * rows,
    )
    figure.update_xaxes(automargin=False)  # the room below is there already
    return figure
