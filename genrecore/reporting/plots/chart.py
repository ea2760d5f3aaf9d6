"""The `Chart` that every plotting function returns, and the look that all figures share."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from genrecore.reporting.columns import Format, format_of
from genrecore.reporting.plots.palette import INK, rgb
from genrecore.words import percent

GREY = "#8b90a0"  # stands out from white and from near-black
_AXIS = {"automargin": True, "zeroline": False}
TOP = 46  # pixels above the plot of a chart without a legend
BESIDE_TIME = (64, 88)
"""Pixels left and right of every plot over time, so that times stand under one another."""


@dataclass(frozen=True)
class Chart:
    """A figure, its alternative text, and the table of its numbers.

    Attributes:
        figure: The figure.
        alt: The alternative text.
        table: The numbers.
        shares: Columns of the table that are shares, to be read as per cent.
        counts: Columns that are counts although they hold gaps or means of several counts; those
            of whole numbers need not be named.
    """

    figure: go.Figure
    alt: str
    table: pd.DataFrame
    shares: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()

    def format_of(self, column: str) -> Format:
        """How the numbers of a column are written."""
        if column in self.shares:
            return "share"
        return "count" if column in self.counts else format_of(self.table[column])


def label(text: object) -> str:
    """The text as Plotly should show it: names are never read as markup."""
    return html.escape(str(text), quote=False)


def draw(
    traces: Iterable[Any],
    title: str,
    height: int,
    x: Mapping[str, Any],
    y: Mapping[str, Any],
    top: int = TOP,
    **layout: Any,
) -> go.Figure:
    """A figure in the common look.

    It is built in one call: Plotly checks a figure at every change, and a live chart is built at
    every epoch.

    Args:
        traces: As Plotly's or as dictionaries.
        title: Heading, with names in it written by `label`.
        height: In pixels.
        x: What the horizontal axis has besides: title, range, format.
        y: The same of the vertical axis.
        top: Room above the plot, in pixels: more where a legend stands there.
        **layout: What the layout has besides.
    """
    shown = [with_hover_in_words(trace) for trace in traces]
    axes = {"xaxis": _AXIS | _percents(x), "yaxis": _AXIS | _percents(y)}
    layout = _look(title, height, top) | layout | axes
    return go.Figure({"data": shown, "layout": layout})


PERCENTS = {f"{sign}{n}%": f"{sign}{n} %" for n in range(101) for sign in ("", "+", "−")}
"""Plotly writes `70%`; this has an axis or a colour bar write `70 %`, as everything else does."""


def _percents(axis: Mapping[str, Any]) -> dict[str, Any]:
    """The axis, its shares written as everywhere."""
    is_share = str(axis.get("tickformat", "")).endswith("%")
    return dict(axis) | ({"labelalias": PERCENTS} if is_share else {})


_HOVERED_SHARE = re.compile(r"%{([xyz]):\.1%}")


def with_hover_in_words(trace: Any) -> Any:
    """The trace (Plotly's or a dictionary), the share in its hover text written as everywhere:
    Plotly itself writes `70.4%`, and cannot be told otherwise."""
    template = str(trace["hovertemplate"]) if "hovertemplate" in trace else ""
    share = _HOVERED_SHARE.search(template)
    if share:
        trace["hovertext"] = _in_words(trace[share[1]])
        trace["hovertemplate"] = template.replace(share[0], "%{hovertext}")
    return trace


def _in_words(shares: Any) -> Any:
    is_row = isinstance(shares, (list, tuple, np.ndarray))
    return [_in_words(each) for each in shares] if is_row else percent(shares)


def lay_out_subplots(figure: go.Figure, title: str, height: int, top: int, **layout: Any) -> None:
    """Gives the common look to a figure that has several plots."""
    figure.update_layout(_look(title, height, top) | layout)
    figure.update_xaxes(_AXIS)
    figure.update_yaxes(_AXIS)


def _look(title: str, height: int, top: int) -> dict[str, Any]:
    """Title top left, transparent background, no zooming by a drag."""
    top_left = {"x": 0, "xanchor": "left", "y": 0.98, "yanchor": "top"}
    return {
        "title": {"text": title, "font": {"size": 15}, **top_left},
        "height": height,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 16, "t": top, "b": 8},
        "hoverlabel": {"namelength": -1},
        "dragmode": False,
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": GREY, "activecolor": GREY},
    }


def set_time_axis(figure: go.Figure, span_s: tuple[float, float]) -> None:
    """Gives a chart over time the edges that all of them have, and the waveform of a player."""
    left, right = BESIDE_TIME
    figure.update_layout(
        margin={"l": left, "r": right}, xaxis={"range": span_s}, yaxis={"automargin": False}
    )


def names_axis(names: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    """A vertical axis of names: in the order `names`, or as drawn, from the top."""
    order: dict[str, Any] = {"autorange": "reversed"}
    if names:
        order = {"categoryorder": "array", "categoryarray": list(names)}
    return {"showgrid": False, "type": "category"} | order | more


def whiskers(
    values: ArrayLike, lows: ArrayLike, highs: ArrayLike, colour: str, **more: Any
) -> dict[str, Any]:
    """Error bars from the lows to the highs."""
    value, low, high = (np.asarray(part, dtype=float) for part in (values, lows, highs))
    bars = {"array": (high - value).tolist(), "arrayminus": (value - low).tolist()}
    return {"type": "data", **bars, "thickness": 2, "width": 6, "color": colour} | more


def pattern(shape: str | Sequence[str], size: int = 6, solidity: float = 0.25) -> dict[str, Any]:
    """The pattern over a bar, which says the same as its colour."""
    return {"shape": shape, "fillmode": "overlay", "solidity": solidity, "size": size}


def colour_bar(title: str, **more: Any) -> dict[str, Any]:
    """The scale beside a heat map."""
    small = {"font": {"size": 11}}
    return {
        "title": {"text": title} | small, "thickness": 10, "outlinewidth": 0,
        "tickfont": {"size": 11},
    } | _percents(more)  # fmt: skip


def ring(x: Sequence[Any], y: Sequence[Any], colour: str, width: float, **more: Any) -> Any:
    """A ring around points, as a trace: around the best epoch, or a picked clip."""
    marker = {"symbol": "circle-open", "size": 16, "color": colour, "line": {"width": width}}
    return {"type": "scatter", "x": x, "y": y, "mode": "markers", "marker": marker,
            "showlegend": False, "hoverinfo": "skip"} | more  # fmt: skip


def quiet_line(
    x: Sequence[Any], y: Sequence[Any], width: float, colour: str = GREY, **more: Any
) -> dict[str, Any]:
    """A line, as a trace, that only guides the eye: without hover text and entry of the legend."""
    line = {"color": colour, "width": width}
    return {"type": "scatter", "x": x, "y": y, "mode": "lines", "line": line,
            "showlegend": False, "hoverinfo": "skip"} | more  # fmt: skip


def see_through(colour: str, alpha: float) -> str:
    """A colour `#rrggbb` with an opacity, 0 … 1."""
    red, green, blue = rgb(colour)
    return f"rgba({red},{green},{blue},{alpha})"


def in_theme(figure: go.Figure, theme: str) -> None:
    """Draws a figure's text, and the shades of its matrices, for a theme: `light` or `dark`.

    Figures are made for the light one; a trace holds what differs in the dark one in its `meta`.
    """
    figure.layout.font.color = INK[theme]
    for axis in (*figure.select_xaxes(), *figure.select_yaxes()):
        axis.tickfont.color = INK[theme]
        axis.title.font.color = INK[theme]
    for trace in figure.data:
        if theme == "dark" and trace.meta:
            trace.update(trace.meta["dark"])


def named(table: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """The columns of a table that have titles, under these titles and in their order."""
    return table[list(titles)].rename(columns=dict(titles)).reset_index(drop=True)


def legend_below_title(**more: Any) -> dict[str, Any]:
    """A horizontal legend between title and plot, where it covers nothing."""
    return {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"} | more


def with_legend(figure: go.Figure, n_entries: int, height: int) -> go.Figure:
    """The figure with its legend: of a few entries below the title, of many below the plot; the
    figure grows so much that the plot keeps its size in a window of 800 pixels."""
    rows = math.ceil(n_entries / 2)
    if n_entries <= 6:
        figure.update_layout(
            legend=legend_below_title(tracegroupgap=0),
            margin_t=50 + 22 * rows,
            height=height + 22 * rows,
        )
        return figure
    below = {"y": 0, "yref": "container", "tracegroupgap": 0, "font": {"size": 11}}
    figure.update_layout(
        legend=legend_below_title(**below), margin_b=66 + 20 * rows, height=height + 20 * rows
    )
    figure.update_xaxes(automargin=False)  # the room below is there already
    return figure
