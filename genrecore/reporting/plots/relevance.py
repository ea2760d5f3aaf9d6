"""Which parts of a clip support a genre."""

from __future__ import annotations

import numpy as np
import pandas as pd

from genrecore.audio.axes import Rows
from genrecore.reporting.plots.chart import Chart, colour_bar, draw, label, set_time_axis
from genrecore.reporting.plots.images import image_chart

# Lighter where there is more of it; on greys it can be told from the image in any kind of sight.
_GREYS = [[0.0, "#0b0d14"], [1.0, "#e9ebf2"]]
_GLOW = [
    [0.0, "rgba(236,115,80,0)"],
    [0.25, "rgba(236,115,80,0.12)"],
    [0.6, "rgba(240,120,60,0.6)"],
    [1.0, "rgba(255,196,60,0.92)"],
]
_FOR, _AGAINST = "#d85430", "#606ccc"


def over_image(
    relevance: np.ndarray,
    image: np.ndarray,
    times_s: np.ndarray,
    rows: Rows,
    unit: str,
    genre: str,
    method: str,
    span_s: tuple[float, float],
) -> Chart:
    """An image in greys, and over it in orange the evidence for a genre.

    Args:
        relevance: (rows, columns); negative values are not drawn.
        image: (rows, columns).
        times_s: The middle of each column.
        rows: What the rows are.
        unit: Of the image.
        genre: The genre.
        method: Title of the method of explanation.
        span_s: Where the segment begins and ends.
    """
    positive = np.maximum(relevance, 0.0)
    top = float(np.quantile(positive, 0.998)) or float(positive.max()) or 1.0
    share = np.minimum(positive / top, 1.0)
    title = f"Highlighted for {genre}, by {method}"
    base = image_chart(image, times_s, rows, title, unit, span_s=span_s, height=340)
    over = image_chart(share, times_s, rows, title, "")
    base.figure.update_traces(
        colorscale=_GREYS, showscale=False, hoverinfo="skip", hovertemplate=None
    )
    glow = over.figure.data[0]
    glow.update(
        colorscale=_GLOW,
        zmin=0.0,
        zmax=1.0,
        colorbar=colour_bar("evidence", tickvals=[0.03, 1.0], ticktext=["little", "most"]),
        hovertemplate="%{x:.2f} s, %{y}: %{z:.2f} of the strongest<extra></extra>",
    )
    base.figure.add_trace(glow)
    row, column = divmod(int(positive.argmax()), positive.shape[1])
    alt = (
        f"{title}: over the image, evidence is strongest at {times_s[column]:.2f} seconds, "
        f"{rows.names[row]}."
    )
    return Chart(base.figure, alt, over.table)


def over_time(
    relevance: np.ndarray,
    times_s: np.ndarray,
    genre: str,
    method: str,
    span_s: tuple[float, float],
) -> Chart:
    """Bars over time: up for evidence for a genre, down for evidence against it.

    Args:
        relevance: (columns,).
        times_s: The middle of each column.
        genre: The genre.
        method: Title of the method of explanation.
        span_s: Where the segment begins and ends.
    """
    largest = float(np.abs(relevance).max()) or 1.0
    values = (relevance / largest).round(4)
    bars = {
        "type": "bar",
        "x": np.round(times_s, 3).tolist(),
        "y": values.tolist(),
        "marker": {"color": [_FOR if value >= 0 else _AGAINST for value in values]},
        "hovertemplate": "%{x:.2f} s: %{y:.2f}<extra></extra>",
    }
    title = f"Highlighted for {genre}, by {method}"
    along = {"title": "Time (s)", "showgrid": False}
    upward = {"title": "Evidence (for: up)", "range": [-1.05, 1.05]}
    figure = draw([bars], label(title), 260, along, upward, bargap=0.05)
    set_time_axis(figure, span_s)
    best = float(times_s[int(values.argmax())])
    return Chart(
        figure,
        f"{title}: evidence over time is strongest at {best:.2f} seconds.",
        pd.DataFrame({"Time (s)": times_s.round(3), "Evidence": values}),
    )
