"""Loss and accuracy over the epochs, of one run or of several over one another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from genrecore.reporting.plots.chart import Chart, axis, label, legend_below_title, look
from genrecore.reporting.plots.palette import RunStyle

_MEASURES = {
    "loss": ("Loss", "Cross-entropy (nats)", ".3f"),
    "accuracy": ("Accuracy", "Share recognised", ".1%"),
}
_SPLITS = {"train": "training", "valid": "validation"}


def learning_curves(
    curves: pd.DataFrame,
    measure: str,
    styles: Mapping[str, RunStyle],
    best_epochs: Mapping[str, int] | None = None,
    smoothing: float = 0.0,
    logarithmic: bool = False,
    epochs: tuple[int, int] | None = None,
) -> Chart:
    """Loss or accuracy against the epoch; validation is drawn solid with markers, training dotted.

    Args:
        curves: `run_id, title, epoch, split (train|valid), loss, accuracy`.
        measure: "loss" or "accuracy".
        styles: Of each run in `curves`.
        best_epochs: The epoch each run keeps; it gets a ring.
        smoothing: Weight of what came before in an exponential moving average, 0 … 0.99; what was
            measured stays to be seen, faintly.
        logarithmic: Whether the measure is drawn on a logarithmic scale.
        epochs: First and last epoch shown; all by default.
    """
    name, unit, number = _MEASURES[measure]
    titles = curves.drop_duplicates("run_id").set_index("run_id")["title"]
    several = len(titles) > 1
    traces: list[dict[str, Any]] = []
    for run_id, title in titles.items():
        style = styles[str(run_id)]
        of_run = curves[curves["run_id"] == run_id]
        for split, word in _SPLITS.items():
            part = of_run[of_run["split"] == split].dropna(subset=[measure])
            if part.empty:
                continue
            solid = split == "valid"
            if smoothing:
                traces.append(_as_measured(part, measure, style, f"{title}, {word}, as measured"))
            traces.append(
                {
                    "type": "scatter",
                    "x": part["epoch"].tolist(),
                    "y": smoothed(part[measure], smoothing).tolist(),
                    "name": label(f"{title}, {word}" if several else word.capitalize()),
                    "legendgroup": str(run_id),
                    "mode": "lines+markers" if solid or len(part) == 1 else "lines",
                    "line": {
                        "color": style.colour,
                        "width": 2.4 if solid else 1.6,
                        "dash": "solid" if solid else "dot",
                    },
                    "marker": {
                        "symbol": style.marker if solid else f"{style.marker}-open",
                        "size": 7,
                        "maxdisplayed": 24,
                        "color": style.colour,
                    },
                    "opacity": 1.0 if solid else 0.8,
                    "showlegend": not several or solid,
                    "hovertemplate": f"{label(title)}<br>epoch %{{x}}, {word}: %{{y:{number}}}"
                    "<extra></extra>",
                }
            )
        traces += _ring(of_run, measure, style, (best_epochs or {}).get(str(run_id)))
    height = axis(unit, tickformat=".0%" if measure == "accuracy" else "~g")
    if logarithmic:
        height |= {"type": "log", "tickformat": "~g" if measure == "loss" else ".2~%"}
        height |= {"dtick": "D2"} if measure == "loss" else {}
    else:
        height |= {"rangemode": "tozero" if measure == "loss" else "normal"}
    if epochs is not None:
        height |= _fitted(curves, measure, epochs, logarithmic)
    top = 76 + 20 * max(0, len(titles) - 2 if several else 0)
    figure = _built(traces, name, 330, top, curves["epoch"], epochs, height)
    table = _wide(curves, measure, several)
    shares = tuple(str(name) for name in table.columns[1:]) if measure == "accuracy" else ()
    return Chart(figure, _in_words(curves, measure, titles), table, shares)


def _built(
    traces: list[dict[str, Any]],
    title: str,
    height: int,
    top: int,
    epoch: pd.Series,
    epochs: tuple[int, int] | None,
    upward: dict[str, Any],
    showlegend: bool | None = None,
) -> go.Figure:
    """A figure over the epochs. Built at one go, since Plotly checks a figure at every change, and
    a live chart is built at every epoch."""
    layout = look(title, height)
    layout |= {"margin": layout["margin"] | {"t": top}, "legend": legend_below_title()}
    layout |= {"hovermode": "closest", "showlegend": showlegend}
    layout |= {"xaxis": _epoch_axis(epoch.max() if len(epoch) else 1, epochs), "yaxis": upward}
    return go.Figure({"data": traces, "layout": layout})


def _as_measured(part: pd.DataFrame, measure: str, style: RunStyle, name: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": part["epoch"].tolist(),
        "y": part[measure].tolist(),
        "name": label(name),
        "mode": "lines",
        "line": {"color": style.colour, "width": 1},
        "opacity": 0.3,
        "showlegend": False,
        "hoverinfo": "skip",
    }


def over_epochs(
    history: pd.DataFrame,
    columns: Mapping[str, str],
    title: str,
    unit: str,
    style: RunStyle,
    epochs: tuple[int, int] | None = None,
    number: str = ",.3~g",
) -> Chart:
    """What was measured in each epoch of one run: learning rate, speed, memory.

    Args:
        history: One row an epoch, with `epoch` and the columns.
        columns: Names in the history and what to call them.
        title: Written above.
        unit: Of the vertical axis.
        style: Of the run; a second line is dashed.
        epochs: First and last epoch shown; all by default.
        number: How a number is written, in d3's format.
    """
    traces: list[dict[str, Any]] = []
    words = []
    for dash, (column, name) in zip(("solid", "dash", "dot"), columns.items(), strict=False):
        part = history.dropna(subset=[column]) if column in history else history[:0]
        if part.empty:
            continue
        traces.append(
            {
                "type": "scatter",
                "x": part["epoch"].tolist(),
                "y": part[column].tolist(),
                "name": label(name),
                "mode": "lines+markers" if len(part) == 1 else "lines",
                "line": {"color": style.colour, "width": 2, "dash": dash},
                "hovertemplate": f"epoch %{{x}}, {label(name)}: %{{y:{number}}}<extra></extra>",
            }
        )
        first, last = part.iloc[0], part.iloc[-1]
        words.append(
            f"{name} from {first[column]:.3g} in epoch {first['epoch']:.0f} to {last[column]:.3g} "
            f"in epoch {last['epoch']:.0f}"
        )
    several = len(traces) > 1
    upward = axis(unit, tickformat="~g", rangemode="tozero")
    top = 76 if several else 46
    epoch = history["epoch"] if len(history) else pd.Series(dtype=float)
    figure = _built(traces, title, 250, top, epoch, epochs, upward, showlegend=several)
    present = [column for column in columns if column in history]
    table = history[["epoch", *present]].rename(columns={"epoch": "Epoch", **dict(columns)})
    drawn = "; ".join(words) or "no epoch yet"
    return Chart(figure, f"Line chart of {title} over the epochs. {drawn}.", table)


def smoothed(values: pd.Series, weight: float) -> pd.Series:
    """An exponential moving average that starts unbiased: each value counts `weight` times as much
    as the next one. A weight of 0 leaves the values as they are."""
    return values.ewm(alpha=1 - weight, adjust=True).mean() if weight else values


def _epoch_axis(last: float, epochs: tuple[int, int] | None) -> dict[str, Any]:
    low, high = epochs or (1, max(float(last), 2))
    about = {"range": [low - 0.5, high + 0.5], "dtick": _tick(high - low + 1), "showgrid": False}
    return axis("Epoch", tick0=0, **about) if epochs else axis("Epoch", **about)


def _fitted(
    curves: pd.DataFrame, measure: str, epochs: tuple[int, int], logarithmic: bool
) -> dict[str, Any]:
    """The vertical range of what is shown: Plotly alone fits it to all epochs."""
    shown = curves[curves["epoch"].between(*epochs)][measure].dropna()
    shown = shown[shown > 0] if logarithmic else shown
    if shown.empty:
        return {}
    low, high = float(shown.min()), float(shown.max())
    if logarithmic:
        low, high = math.log10(low), math.log10(high)
    room = 0.06 * (high - low) or 0.05 * abs(high) or 0.1
    return {"range": [low - room, high + room]}


def _ring(
    of_run: pd.DataFrame, measure: str, style: RunStyle, epoch: int | None
) -> list[dict[str, Any]]:
    here = of_run[(of_run["epoch"] == epoch) & (of_run["split"] == "valid")]
    if epoch is None or here.empty:
        return []
    line = {"width": 2, "color": style.colour}
    return [
        {
            "type": "scatter",
            "x": [epoch],
            "y": [float(here[measure].iloc[0])],
            "mode": "markers",
            "marker": {"symbol": "circle-open", "size": 16, "color": style.colour, "line": line},
            "showlegend": False,
            "hoverinfo": "skip",
        }
    ]


def _tick(epochs: float) -> int:
    """1, 2, 5, 10, 20, 50 …: the least with which no more than twelve epochs are named."""
    for step in (step * 10**power for power in range(6) for step in (1, 2, 5)):
        if epochs / step <= 12:
            return step
    return 10**6


def _wide(curves: pd.DataFrame, measure: str, several: bool) -> pd.DataFrame:
    named = curves.assign(
        column=[
            f"{title}, {_SPLITS[split]}" if several else _SPLITS[split].capitalize()
            for title, split in zip(curves["title"], curves["split"], strict=True)
        ]
    )
    named = named.drop_duplicates(["epoch", "column"])
    wide = named.pivot(index="epoch", columns="column", values=measure)
    wide = wide[[name for name in named["column"].unique() if wide[name].notna().any()]]
    return wide.rename_axis(index="Epoch", columns=None).reset_index()


def _in_words(curves: pd.DataFrame, measure: str, titles: pd.Series) -> str:
    parts = []
    for run_id, title in titles.items():
        valid = curves[(curves["run_id"] == run_id) & (curves["split"] == "valid")]
        valid = valid.dropna(subset=[measure])
        if valid.empty:
            continue
        first, last = valid.iloc[0], valid.iloc[-1]
        parts.append(
            f"{title}: validation {measure} from {first[measure]:.3g} in epoch {first['epoch']:.0f}"
            f" to {last[measure]:.3g} in epoch {last['epoch']:.0f}"
        )
    drawn = "; ".join(parts) or "no epoch yet"
    return f"Line chart of {measure} over the epochs. {drawn}."
