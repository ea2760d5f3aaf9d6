"""Loss, accuracy and learning rate of several runs or systems over epochs, steps or time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from genrecore.reporting.plots.chart import Chart, axis, label, look, with_legend
from genrecore.reporting.plots.palette import RunStyle

_MEASURES = {
    "loss": ("Loss", "Cross-entropy (nats)", ".3f"),
    "accuracy": ("Accuracy", "Share recognised", ".1%"),
    "lr": ("Learning rate", "Step size", ".3~g"),
}
OVER = {"epoch": "Epoch", "step": "Steps", "seconds": "Minutes of training"}
"""What curves can be drawn over, and the title of that axis."""

_PARTS = {"train": "training", "valid": "validation"}


def overlaid_curves(
    curves: pd.DataFrame,
    measure: str,
    styles: Mapping[str, RunStyle],
    over: str = "epoch",
    training: bool = True,
    best_epochs: Mapping[str, float] | None = None,
    legend: bool = True,
) -> Chart:
    """Curves of several runs; validation solid with markers, training dotted; the learning rate
    solid. Of systems with several runs the mean, in a band from the least to the greatest.

    Args:
        curves: `run_id, title, epoch, split (train|valid), loss, accuracy, lr, step, seconds`; of
            systems as `systems.curve_band` makes it.
        measure: `loss`, `accuracy` or `lr`.
        styles: Of each run.
        over: A key of `OVER`.
        training: Whether the training curve is drawn beside that of validation.
        best_epochs: The epoch each run keeps; it gets a ring.
        legend: Whether it is drawn; charts above one another need it once.
    """
    name, unit, number = _MEASURES[measure]
    splits = ("train",) if measure == "lr" else ("train", "valid") if training else ("valid",)
    titles = curves.drop_duplicates("run_id").set_index("run_id")["title"]
    traces: list[dict[str, Any]] = []
    drawn: dict[str, pd.DataFrame] = {}
    left_out = []
    for run_id, title in titles.items():
        mine = curves[curves["run_id"] == run_id]
        before = len(traces)
        for split in splits:
            part = mine[mine["split"] == split].dropna(subset=[measure, over])
            if part.empty:
                continue
            solid = split == "valid" or measure == "lr"
            along = part[over] / 60 if over == "seconds" else part[over]
            style = styles[str(run_id)]
            if solid:
                drawn[str(title)] = part.assign(along=along)
                traces += _band(part, along, measure, style, str(run_id))
            what = "" if measure == "lr" else f", {_PARTS[split]}"
            traces.append(
                {
                    "type": "scatter",
                    "x": along.tolist(),
                    "y": part[measure].tolist(),
                    "name": label(title),
                    "legendgroup": str(run_id),
                    "mode": "lines+markers" if solid else "lines",
                    "line": {
                        "color": style.colour,
                        "width": 2.2 if solid else 1.4,
                        "dash": "solid" if solid else "dot",
                    },
                    "marker": {
                        "symbol": style.marker,
                        "size": 7,
                        "maxdisplayed": 12,
                        "color": style.colour,
                    },
                    "opacity": 1.0 if solid else 0.7,
                    "showlegend": solid,
                    "customdata": part["epoch"].tolist(),
                    "hovertemplate": f"{label(title)}<br>epoch %{{customdata}}{what}: "
                    f"%{{y:{number}}}<extra></extra>",
                }
            )
            best = (best_epochs or {}).get(str(run_id))
            if solid and best is not None and best == best and measure != "lr":
                at = part["epoch"] == best
                traces.append(_ring(along[at], part.loc[at, measure], style, str(run_id)))
        if len(traces) == before:
            left_out.append(str(title))
    layout = look(name, 340)
    layout |= {"hovermode": "closest", "showlegend": legend}
    whole = {"tickformat": "d"} if over != "seconds" else {}
    layout |= {"xaxis": axis(OVER[over], showgrid=False, rangemode="tozero", **whole)}
    floor = {"rangemode": "tozero"} if measure != "accuracy" else {}
    layout |= {"yaxis": axis(unit, tickformat=".0%" if measure == "accuracy" else "~g", **floor)}
    figure = go.Figure({"data": traces, "layout": layout})
    if legend:
        with_legend(figure, len(drawn), 340)
    shares = tuple(drawn) if measure == "accuracy" else ()
    alt = f"{name} of {len(drawn)} runs over {OVER[over].lower()}. {_in_words(drawn, measure)}"
    if left_out:
        alt += f" Without such a curve: {', '.join(left_out)}."
    return Chart(figure, alt, _wide(drawn, measure), shares)


def _band(
    part: pd.DataFrame, along: pd.Series, measure: str, style: RunStyle, group: str
) -> list[dict[str, Any]]:
    low, high = f"{measure}_low", f"{measure}_high"
    if low not in part or not (part[high] > part[low]).any():
        return []
    colour = style.colour.lstrip("#")
    red, green, blue = (int(colour[k : k + 2], 16) for k in (0, 2, 4))
    return [
        {
            "type": "scatter",
            "x": [*along, *along[::-1]],
            "y": [*part[high], *part[low][::-1]],
            "fill": "toself",
            "fillcolor": f"rgba({red},{green},{blue},0.18)",
            "line": {"width": 0},
            "mode": "lines",
            "hoverinfo": "skip",
            "legendgroup": group,
            "showlegend": False,
        }
    ]


def _ring(x: pd.Series, y: pd.Series, style: RunStyle, group: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": x.tolist(),
        "y": y.tolist(),
        "mode": "markers",
        "marker": {
            "symbol": "circle-open",
            "size": 16,
            "color": style.colour,
            "line": {"width": 2.5},
        },
        "hoverinfo": "skip",
        "legendgroup": group,
        "showlegend": False,
    }


def _wide(drawn: Mapping[str, pd.DataFrame], measure: str) -> pd.DataFrame:
    """A column a run, a row an epoch."""
    columns = {title: part.set_index("epoch")[measure] for title, part in drawn.items()}
    if not columns:
        return pd.DataFrame({"Epoch": []})
    return pd.DataFrame(columns).rename_axis(index="Epoch").reset_index()


def _in_words(drawn: Mapping[str, pd.DataFrame], measure: str) -> str:
    said = [
        f"{title}: from {part[measure].iloc[0]:.3g} to {part[measure].iloc[-1]:.3g} "
        f"in epoch {part['epoch'].iloc[-1]:.0f}"
        for title, part in drawn.items()
    ]
    return ("; ".join(said) or "Nothing to draw") + "."
