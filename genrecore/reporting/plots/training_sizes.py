"""Accuracy against the number of training clips a genre, a line a system."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from genrecore.reporting.plots.chart import (
    Chart,
    draw,
    label,
    named,
    quiet_line,
    see_through,
    with_legend,
)
from genrecore.reporting.plots.palette import RunStyle
from genrecore.words import percent, plural, thousands

_MOST_BANDS = 4  # intervals over one another that can be told apart
_NEAR = 0.06  # decades between two ticks whose labels would overlap


def size_curves(table: pd.DataFrame, styles: Mapping[str, RunStyle]) -> Chart:
    """Accuracy on the test clips by training clips a genre, on a logarithmic axis; with few systems
    the 95 % intervals as bands.

    Args:
        table: As `training_sizes.SizeCurves.table`.
        styles: Style of each curve, by its signature.
    """
    titles = table.drop_duplicates("curve").set_index("curve")["title"]
    traces: list[dict[str, Any]] = []
    ends = []
    for curve, title in titles.items():
        part, style = table[table["curve"] == curve], styles[str(curve)]
        x, low, high = (part[name].tolist() for name in ("n_clips", "low", "high"))
        group = {"legendgroup": str(curve)}
        if len(titles) <= _MOST_BANDS:
            area = quiet_line([*x, *x[::-1]], [*high, *low[::-1]], 0)
            filled = {"fill": "toself", "fillcolor": see_through(style.colour, 0.16)}
            traces.append(area | filled | group)
        traces.append(
            {
                "type": "scatter",
                "x": x,
                "y": part["accuracy"].tolist(),
                "mode": "lines+markers",
                "name": label(title),
                "line": {"color": style.colour, "width": 2.5},
                "marker": {"symbol": style.marker, "color": style.colour, "size": 9},
                "customdata": [
                    [
                        f"{plural(row['n_clips'], 'clip')} a genre"
                        + (" (all)" if row["size"] == "all" else ""),
                        *(percent(row[name]) for name in ("low", "high")),
                        plural(row["n_runs"], "run"),
                    ]
                    for row in part.to_dict("records")
                ],
                "hovertemplate": f"{label(title)}<br>%{{customdata[0]}}<br>%{{y:.1%}} "
                "(%{customdata[1]} to %{customdata[2]}), %{customdata[3]}<extra></extra>",
                "showlegend": True,
            }
            | group
        )
        ends.append(
            f"{title}: from {percent(part['accuracy'].iloc[0])} with {thousands(x[0])} to "
            f"{percent(part['accuracy'].iloc[-1])} with {thousands(x[-1])}"
        )
    ticks = _ticks(table)
    along = {"title": "Training clips a genre", "type": "log", "showgrid": False}
    along |= {"tickvals": list(ticks), "ticktext": list(ticks.values())}
    upward = {"title": "Accuracy on the test clips", "tickformat": ".0%"}
    figure = draw(traces, "Accuracy by training clips a genre", 400, along, upward)
    with_legend(figure, len(titles), 400)
    heads = {"title": "System", "size": "Asked for", "n_clips": "Clips a genre", "n_runs": "Runs"}
    heads |= {"accuracy": "Accuracy", "low": "from", "high": "to", "gain": "Step"}
    heads |= {"gain_low": "Step from", "gain_high": "Step to"}
    shares = ("Accuracy", "from", "to", "Step", "Step from", "Step to")
    alt = f"Accuracy by training clips a genre. {'; '.join(ends)} clips a genre."
    return Chart(figure, alt, named(table, heads), shares)


def _ticks(table: pd.DataFrame) -> dict[int, str]:
    """A label at each size; that of all clips says so, and of two close ones the larger stays."""
    whole = set(table.loc[table["size"] == "all", "n_clips"])
    ticks: dict[int, str] = {}
    for size in sorted(set(table["n_clips"]), reverse=True):
        if not ticks or math.log10(min(ticks) / size) > _NEAR:
            ticks[size] = f"all: {thousands(size)}" if size in whole else thousands(size)
    return ticks
