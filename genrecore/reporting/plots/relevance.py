"""Where in a clip the evidence for a genre lies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from genrecore.audio.axes import Rows
from genrecore.reporting.plots.chart import Chart, label, laid_out
from genrecore.reporting.plots.pictures import picture

# Lighter where there is more of it; on greys it can be told from the picture in any kind of sight.
_GREYS = [[0.0, "#0b0d14"], [1.0, "#e9ebf2"]]
_GLOW = [
    [0.0, "rgba(236,115,80,0)"],
    [0.25, "rgba(236,115,80,0.12)"],
    [0.6, "rgba(240,120,60,0.6)"],
    [1.0, "rgba(255,196,60,0.92)"],
]
_FOR, _AGAINST = "#d85430", "#606ccc"


def over_picture(
    relevance: np.ndarray,
    shown: np.ndarray,
    times_s: np.ndarray,
    rows: Rows,
    unit: str,
    genre: str,
    method: str,
) -> Chart:
    """A picture in greys, and over it in orange what speaks for a genre.

    Args:
        relevance: (rows, columns); what is negative is not drawn.
        shown: (rows, columns), the picture.
        times_s: The middle of each column.
        rows: What the rows are.
        unit: Of the picture.
        genre: The genre.
        method: What people call it.
    """
    positive = np.maximum(relevance, 0.0)
    top = float(np.quantile(positive, 0.998)) or float(positive.max()) or 1.0
    share = np.minimum(positive / top, 1.0)
    title = f"Support for {genre}, by {method}"
    base = picture(shown, times_s, rows, title, unit, height=340)
    over = picture(share, times_s, rows, title, "", height=340)
    base.figure.data[0].update(colorscale=_GREYS, showscale=False, hoverinfo="skip")
    base.figure.data[0].update(hovertemplate=None)
    glow = over.figure.data[0]
    glow.update(
        colorscale=_GLOW,
        zmin=0.0,
        zmax=1.0,
        colorbar={
            "title": {"text": "evidence", "font": {"size": 11}},
            "thickness": 10,
            "outlinewidth": 0,
            "tickvals": [0.03, 1.0],
            "ticktext": ["little", "most"],
            "tickfont": {"size": 11},
        },
        hovertemplate="%{x:.2f} s, %{y}: %{z:.0%} of the strongest<extra></extra>",
    )
    base.figure.add_trace(glow)
    row, column = divmod(int(positive.argmax()), positive.shape[1])
    alt = (
        f"{title}: over the picture, evidence is strongest at {times_s[column]:.2f} seconds, "
        f"{rows.names[row]}."
    )
    return Chart(base.figure, alt, over.table)


def over_time(relevance: np.ndarray, times_s: np.ndarray, genre: str, method: str) -> Chart:
    """Bars over time: up for what speaks for a genre, down for what speaks against it.

    Args:
        relevance: (columns,).
        times_s: The middle of each column.
        genre: The genre.
        method: What people call it.
    """
    largest = float(np.abs(relevance).max()) or 1.0
    values = (relevance / largest).round(4)
    figure = go.Figure(
        go.Bar(
            x=np.round(times_s, 3).tolist(),
            y=values.tolist(),
            marker={"color": [_FOR if value >= 0 else _AGAINST for value in values]},
            hovertemplate="%{x:.2f} s: %{y:.2f}<extra></extra>",
        )
    )
    title = f"Support for {genre}, by {method}"
    laid_out(figure, label(title), 260, bargap=0.05)
    figure.update_xaxes(title="Time (s)", showgrid=False)
    figure.update_yaxes(title="Evidence (for: up)", range=[-1.05, 1.05])
    best = float(times_s[int(values.argmax())])
    return Chart(
        figure,
        f"{title}: evidence over time is strongest at {best:.2f} seconds.",
        pd.DataFrame({"Time (s)": times_s.round(3), "Evidence": values}),
    )
