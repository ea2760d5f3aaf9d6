"""The map of a run's clips, and its accuracy under probes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from genrecore.reporting.plots.chart import (
    GREY,
    Chart,
    draw,
    label,
    legend_below_title,
    named,
    names_axis,
    ring,
    whiskers,
)
from genrecore.reporting.plots.palette import BLUE, RUST, genre_colours
from genrecore.words import percent, signed_points

MARKS = {
    "right": ("Recognised", "circle", 8, 0.85),
    "wrong": ("Taken for another genre", "x", 9, 1.0),
    "learned": ("Learned from", "circle-open", 6, 0.55),
}
"""Whether a clip was recognised: name, symbol, size in pixels, opacity."""

_PICKED = "#ec7350"
_ON_LABEL, _LABEL_GROUND = "#22252f", "rgba(245,246,250,0.86)"  # readable in both themes
_LABEL = (0.12, 0.06)  # shares of width and height that a genre's name takes


def clip_map(points: pd.DataFrame, title: str, axes: tuple[str, str], picked: str = "") -> Chart:
    """Clips as points: colour and a name beside its clips show the genre, the shape whether the run
    recognised it. A click selects a point with the clip's id as its data.

    Args:
        points: `clip_id, genre, split, predicted` (missing where the run learned from it), `mark`
            (a key of `MARKS`), `x`, `y`.
        title: Heading of the chart.
        axes: Titles of the axes.
        picked: A clip that is ringed.
    """
    colours = genre_colours(points["genre"])
    traces: list[dict[str, Any]] = []
    for mark, (name, symbol, size, opacity) in MARKS.items():
        rows = points[points["mark"] == mark]
        if rows.empty:
            continue
        legend_entry = {  # in no genre's colour
            "type": "scatter",
            "x": [None],
            "y": [None],
            "mode": "markers",
            "name": name,
            "marker": {"symbol": symbol, "size": 9, "color": GREY},
            "hoverinfo": "skip",
        }
        predicted = rows["predicted"].fillna("").astype(str)
        lines = [
            f"{label(clip)}<br>labelled {label(genre)}"
            + (f", taken for {label(taken_for)}" if mark == "wrong" else "")
            + (", in training" if mark == "learned" else "")
            for clip, genre, taken_for in zip(
                rows["clip_id"], rows["genre"], predicted, strict=True
            )
        ]
        clips = {
            "type": "scatter",
            "x": rows["x"].tolist(),
            "y": rows["y"].tolist(),
            "mode": "markers",
            "marker": {
                "symbol": symbol,
                "size": size,
                "color": [colours[genre] for genre in rows["genre"]],
                "opacity": opacity,
            },
            **_same_when_selected(opacity),
            "customdata": rows[["clip_id"]].to_numpy().tolist(),
            "text": lines,
            "hovertemplate": "%{text}<br>click to hear it<extra></extra>",
            "showlegend": False,
        }
        traces += [legend_entry, clips]
    chosen = points[points["clip_id"] == picked]
    if len(chosen):
        mark = ring(chosen["x"].tolist(), chosen["y"].tolist(), _PICKED, 3, name="Picked")
        mark["marker"] |= {"size": 20}
        traces.append(mark | {"showlegend": True})
    x, y = ({"title": name, "showticklabels": False, "showgrid": True} for name in axes)
    click = {"legend": legend_below_title(), "clickmode": "event+select"}
    figure = draw(traces, label(title), 560, x, y, 78, **click)
    _name_genres(figure, points, colours)
    titles = {"clip_id": "Clip", "genre": "Labelled", "split": "Split", "predicted": "Taken for"}
    table = named(points, titles | {"x": "x", "y": "y"})
    return Chart(figure, _map_in_words(points, title), table)


def _same_when_selected(opacity: float) -> dict[str, Any]:
    """Keeps the look of points when one of them is clicked; Plotly would fade the others."""
    return {name: {"marker": {"opacity": opacity}} for name in ("selected", "unselected")}


def _name_genres(figure: go.Figure, points: pd.DataFrame, colours: Mapping[str, str]) -> None:
    """Each genre's name above the middle of its clips, moved up where it would cover another."""
    grouped = points.groupby("genre")
    middles = grouped[["x", "y"]].median()
    width = float(np.ptp(points["x"])) or 1.0
    height = float(np.ptp(points["y"])) or 1.0
    labels: list[tuple[float, float]] = []  # (x, y) of those placed already
    for genre, (x, y) in middles.sort_values("y").iterrows():
        near = [label_y for label_x, label_y in labels if abs(label_x - x) < _LABEL[0] * width]
        for label_y in sorted(near):
            if abs(y - label_y) < _LABEL[1] * height:
                y = label_y + _LABEL[1] * height
        labels.append((x, y))
        figure.add_annotation(
            x=float(x),
            y=float(y),
            yshift=20,
            text=f"<b>{label(genre)}</b>",
            showarrow=False,
            font={"size": 12, "color": _ON_LABEL},
            bgcolor=_LABEL_GROUND,
            bordercolor=colours[str(genre)],
            borderwidth=2,
            borderpad=1,
        )


def _map_in_words(points: pd.DataFrame, title: str) -> str:
    counts = points["mark"].value_counts()
    parts = [
        f"{counts[mark]} {name.lower()}" for mark, (name, *_) in MARKS.items() if mark in counts
    ]
    spread = points.groupby("genre")[["x", "y"]].std().mean(axis=1)
    sentences = f"Map of clips, {title}: {', '.join(parts)}."
    if len(spread.dropna()) > 1:
        sentences += (
            f" The clips of {spread.idxmin()} lie closest together, those of {spread.idxmax()} "
            "are spread most."
        )
    return sentences


_OUTCOMES = {
    "loses": ("Lower", "triangle-left", RUST),
    "gains": ("Higher", "triangle-right", BLUE),
    "holds": ("No difference", "circle", GREY),
    "open": ("Cannot be told", "circle-open", GREY),
}


def probe_differences(table: pd.DataFrame, accuracy: float, band: float, picked: str = "") -> Chart:
    """Accuracy under each probe minus that of the unchanged clips, with 95 % intervals.

    A click on a dot selects a point with the probe's name as its data.

    Args:
        table: As `probes.Probed.table`.
        accuracy: Of the unchanged clips.
        band: Differences smaller than this count as none; drawn as a band about 0.
        picked: A probe whose name stands out.
    """
    names = [label(title) for title in table["title"]]
    traces: list[dict[str, Any]] = []
    for word, (outcome, symbol, colour) in _OUTCOMES.items():
        rows = table[table["word"] == word]
        if rows.empty:
            continue
        dots = {
            "type": "scatter",
            "x": rows["difference"].tolist(),
            "y": [label(title) for title in rows["title"]],
            "error_x": whiskers(rows["difference"], rows["low"], rows["high"], colour),
            "mode": "markers",
            "name": outcome,
            "marker": {"size": 13, "color": colour, "symbol": symbol, "opacity": 1.0},
            **_same_when_selected(1.0),
            "customdata": [
                [str(row["probe"]), signed_points(row["difference"]), percent(row["accuracy"]),
                 int(row["n_broken"]), int(row["n_mended"])]
                for _, row in rows.iterrows()
            ],
            "hovertemplate": "%{y}: %{customdata[1]} points, %{customdata[2]} are right<br>"
            "%{customdata[3]} clips lost, %{customdata[4]} won<br>"
            "click to hear those lost<extra></extra>",
        }  # fmt: skip
        traces.append(dots)
    ticks = [
        f"<b>{name}</b>" if probe == picked else name
        for name, probe in zip(names, table["probe"], strict=True)
    ]
    ends = {"range": [len(names) - 0.5, -0.5], "tickfont": {"size": 12}}
    unchanged = f"Difference to {percent(accuracy)} of the unchanged clips, with 95 % intervals"
    figure = draw(
        traces,
        "Accuracy under each probe",
        130 + 34 * len(names),
        {"title": unchanged, "tickformat": "+.0%"},
        names_axis(names, tickvals=names, ticktext=ticks, **ends),
        74,
        legend=legend_below_title(),
        clickmode="event+select",
    )
    figure.add_vrect(x0=-band, x1=band, fillcolor=GREY, opacity=0.18, line_width=0, layer="below")
    figure.add_vline(x=0, line={"width": 1, "color": GREY})
    titles = {"title": "Probe", "accuracy": "Accuracy", "difference": "Difference", "low": "from"}
    titles |= {"high": "to", "p": "p (adjusted)", "n_broken": "Clips lost", "n_mended": "Clips won"}
    numbers = named(table, titles).assign(Verdict=[_OUTCOMES[word][0] for word in table["word"]])
    changes = "; ".join(
        f"{row['title']} {signed_points(row['difference'])} ({signed_points(row['low'])} to "
        f"{signed_points(row['high'])})"
        for row in table.to_dict("records")
    )
    alt = f"Difference in accuracy under each probe in points, unchanged {percent(accuracy)}: "
    return Chart(figure, f"{alt}{changes}.", numbers, ("Accuracy", "Difference", "from", "to"))
