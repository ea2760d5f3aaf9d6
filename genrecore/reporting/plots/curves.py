"""Loss, accuracy and learning rate over epochs, steps or time, of one run or of several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from genrecore.reporting.plots.chart import (
    TOP,
    Chart,
    draw,
    label,
    legend_below_title,
    ring,
    see_through,
    with_legend,
)
from genrecore.reporting.plots.palette import RunStyle, run_styles

MEASURES = {
    "loss": ("Loss", "Cross-entropy (nats)", ".3f"),
    "accuracy": ("Accuracy", "Share recognised", ".1%"),
    "lr": ("Learning rate", "Step size", ".3~g"),
}
"""Title, unit and format (d3's) of each measure."""

OVER = {"epoch": "Epoch", "step": "Steps", "seconds": "Minutes of training"}
"""Titles of the horizontal axes."""

MOST_STEPS = 2000
"""Points of a line of `losses_by_step`."""

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
        styles: Style of each run in `curves`.
        best_epochs: The epoch each run keeps; it gets a ring.
        smoothing: Weight of the values before in an exponential moving average, 0 … 0.99; the
            measured values stay visible, faintly.
        logarithmic: Whether the measure is drawn on a logarithmic scale.
        epochs: First and last epoch shown; all by default.
    """
    name, _, number = MEASURES[measure]
    titles = curves.drop_duplicates("run_id").set_index("run_id")["title"]
    several = len(titles) > 1
    traces: list[dict[str, Any]] = []
    for run_id, title in titles.items():
        style = styles[str(run_id)]
        rows = curves[curves["run_id"] == run_id]
        for split, noun in _SPLITS.items():
            part = rows[rows["split"] == split].dropna(subset=[measure])
            if part.empty:
                continue
            is_valid = split == "valid"
            x, values = part["epoch"].tolist(), part[measure]
            if smoothing:
                faint = {"width": 1, "color": style.colour}
                traces.append(
                    _line(x, values, f"{title}, {noun}, as measured", faint)
                    | {"opacity": 0.3, "showlegend": False, "hoverinfo": "skip"}
                )
            line_name = f"{title}, {noun}" if several else noun.capitalize()
            symbol = style.marker if is_valid else f"{style.marker}-open"
            stroke = _stroke(style, is_valid, 2.4, 1.6)
            traces.append(
                _line(x, smoothed(values, smoothing), line_name, stroke)
                | _marked(style, symbol, 24, with_markers=is_valid or len(part) == 1)
                | {
                    "legendgroup": str(run_id),
                    "opacity": 1.0 if is_valid else 0.8,
                    "showlegend": not several or is_valid,
                    "hovertemplate": _hover(title, f", {noun}", number),
                }
            )
        best = (best_epochs or {}).get(str(run_id))
        at_best = rows[(rows["epoch"] == best) & (rows["split"] == "valid")]
        if best is not None and len(at_best):
            traces.append(ring([best], [float(at_best[measure].iloc[0])], style.colour, 2))
    upward = _measure_axis(measure)
    if logarithmic:
        upward |= {"type": "log", "tickformat": "~g" if measure == "loss" else ".2~%"}
        upward |= {"dtick": "D2"} if measure == "loss" else {}
    else:
        upward |= {"rangemode": "tozero" if measure == "loss" else "normal"}
        # Around a single value, Plotly would draw an axis up to twice of it.
        upward |= {"minallowed": -0.05, "maxallowed": 1.05} if measure == "accuracy" else {}
    if epochs is not None:
        upward |= _fitted_range(curves, measure, epochs, logarithmic)
    top = 76 + 20 * max(0, len(titles) - 2 if several else 0)
    figure = _over_epochs(traces, name, 330, top, curves["epoch"], epochs, upward)
    table = _by_epoch(curves, measure, several)
    valid = curves[curves["split"] == "valid"].dropna(subset=[measure])
    changes = "; ".join(
        f"{title}: validation {measure} {_change(valid[valid['run_id'] == run_id], measure)}"
        for run_id, title in titles.items()
        if (valid["run_id"] == run_id).any()
    )
    alt = f"Line chart of {measure} over the epochs. {changes or 'no epoch yet'}."
    return Chart(figure, alt, table, _shares(table, measure))


def _measure_axis(measure: str) -> dict[str, Any]:
    tick_format = ".0%" if measure == "accuracy" else "~g"
    return {"title": _small(MEASURES[measure][1]), "tickformat": tick_format}


def _small(title: str) -> dict[str, Any]:
    """A small title of an axis, since these charts are low."""
    return {"text": title, "font": {"size": 12}, "standoff": 8}


def _line(x: Sequence[Any], y: pd.Series, name: str, line: dict[str, Any]) -> dict[str, Any]:
    return {"type": "scatter", "x": x, "y": y.tolist(), "name": label(name), "mode": "lines",
            "line": line}  # fmt: skip


def _stroke(style: RunStyle, solid: bool, thick: float, thin: float) -> dict[str, Any]:
    width, dash = (thick, "solid") if solid else (thin, "dot")
    return {"color": style.colour, "width": width, "dash": dash}


def _marked(style: RunStyle, symbol: str, most: int, with_markers: bool) -> dict[str, Any]:
    """Mode and markers of a line, at most so many of them."""
    marker = {"symbol": symbol, "size": 7, "maxdisplayed": most, "color": style.colour}
    return {"mode": "lines+markers" if with_markers else "lines", "marker": marker}


def _hover(title: object, split: str, number: str, epoch: str = "x") -> str:
    return f"{label(title)}<br>epoch %{{{epoch}}}{split}: %{{y:{number}}}<extra></extra>"


def _shares(table: pd.DataFrame, measure: str) -> tuple[str, ...]:
    """The columns of a table of `_by_epoch` that are shares."""
    return tuple(str(name) for name in table.columns[1:]) if measure == "accuracy" else ()


def _change(rows: pd.DataFrame, measure: str) -> str:
    first, last = rows.iloc[0], rows.iloc[-1]
    return (
        f"from {first[measure]:.3g} in epoch {first['epoch']:.0f} to {last[measure]:.3g} "
        f"in epoch {last['epoch']:.0f}"
    )


def _over_epochs(
    traces: list[dict[str, Any]],
    title: str,
    height: int,
    top: int,
    epoch: pd.Series,
    epochs: tuple[int, int] | None,
    upward: dict[str, Any],
    showlegend: bool | None = None,
) -> go.Figure:
    low, high = epochs or (1, max(float(epoch.max()) if len(epoch) else 1.0, 2))
    along = {"title": _small("Epoch"), "range": [low - 0.5, high + 0.5], "showgrid": False}
    along |= {"dtick": _tick(high - low + 1)} | ({"tick0": 0} if epochs else {})
    legend = {"legend": legend_below_title(), "showlegend": showlegend}
    return draw(traces, title, height, along, upward, top, hovermode="closest", **legend)


def over_epochs(
    history: pd.DataFrame,
    columns: Mapping[str, str],
    title: str,
    unit: str,
    style: RunStyle,
    epochs: tuple[int, int] | None = None,
    number: str = ",.3~g",
) -> Chart:
    """A measurement of each epoch of one run: learning rate, speed, memory.

    Args:
        history: One row an epoch, with `epoch` and the columns.
        columns: Names in the history, with their titles.
        title: Heading of the chart.
        unit: Title of the vertical axis.
        style: Style of the run; a second line is dashed.
        epochs: First and last epoch shown; all by default.
        number: Format of the numbers (d3's).
    """
    traces: list[dict[str, Any]] = []
    changes = []
    for dash, (column, name) in zip(("solid", "dash", "dot"), columns.items(), strict=False):
        part = history.dropna(subset=[column]) if column in history else history[:0]
        if part.empty:
            continue
        line = {"color": style.colour, "width": 2, "dash": dash}
        traces.append(
            _line(part["epoch"].tolist(), part[column], name, line)
            | {
                "mode": "lines+markers" if len(part) == 1 else "lines",
                "hovertemplate": f"epoch %{{x}}, {label(name)}: %{{y:{number}}}<extra></extra>",
            }
        )
        changes.append(f"{name} {_change(part, column)}")
    several = len(traces) > 1
    upward = {"title": _small(unit), "tickformat": "~g", "rangemode": "tozero"}
    epoch = history["epoch"] if len(history) else pd.Series(dtype=float)
    top = 76 if several else TOP
    figure = _over_epochs(traces, title, 250, top, epoch, epochs, upward, showlegend=several)
    present = [column for column in columns if column in history]
    table = history[["epoch", *present]].rename(columns={"epoch": "Epoch", **dict(columns)})
    alt = f"Line chart of {title} over the epochs. {'; '.join(changes) or 'no epoch yet'}."
    return Chart(figure, alt, table)


def smoothed(values: pd.Series, weight: float) -> pd.Series:
    """An exponential moving average that starts unbiased: each value counts `weight` times as much
    as the next one. A weight of 0 leaves the values as they are."""
    return values.ewm(alpha=1 - weight, adjust=True).mean() if weight else values


def _fitted_range(
    curves: pd.DataFrame, measure: str, epochs: tuple[int, int], logarithmic: bool
) -> dict[str, Any]:
    """The vertical range of the shown epochs: Plotly alone fits it to all epochs."""
    values = curves[curves["epoch"].between(*epochs)][measure].dropna()
    values = values[values > 0] if logarithmic else values
    if values.empty:
        return {}
    low, high = float(values.min()), float(values.max())
    if logarithmic:
        low, high = math.log10(low), math.log10(high)
    room = 0.06 * (high - low) or 0.05 * abs(high) or 0.1
    return {"range": [low - room, high + room]}


def _tick(epochs: float) -> int:
    """1, 2, 5, 10, 20, 50 …: the least step that labels no more than twelve epochs."""
    steps = (step * 10**power for power in range(6) for step in (1, 2, 5))
    return next((step for step in steps if epochs / step <= 12), 10**6)


def _by_epoch(curves: pd.DataFrame, measure: str, several: bool) -> pd.DataFrame:
    """One row an epoch, one column a split, or a title and split."""
    columns = [
        f"{title}, {_SPLITS[split]}" if several else _SPLITS[split].capitalize()
        for title, split in zip(curves["title"], curves["split"], strict=True)
    ]
    columns_of = curves.assign(column=columns).drop_duplicates(["epoch", "column"])
    wide = columns_of.pivot(index="epoch", columns="column", values=measure)
    wide = wide[[name for name in columns_of["column"].unique() if wide[name].notna().any()]]
    return wide.rename_axis(index="Epoch", columns=None).reset_index()


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
    solid. Systems with several runs are drawn as their mean, in a band from lowest to highest.

    Args:
        curves: `run_id, title, epoch, split (train|valid), loss, accuracy, lr, step, seconds`; of
            systems from `curves.curve_band`.
        measure: `loss`, `accuracy` or `lr`.
        styles: Style of each run.
        over: A key of `OVER`.
        training: Whether the training curve is drawn beside that of validation.
        best_epochs: The epoch each run keeps; it gets a ring.
        legend: Whether it is drawn; charts above one another need it once.
    """
    name, _, number = MEASURES[measure]
    splits = ("train",) if measure == "lr" else ("train", "valid") if training else ("valid",)
    titles = curves.drop_duplicates("run_id").set_index("run_id")["title"]
    traces: list[dict[str, Any]] = []
    solid_curves: dict[str, pd.DataFrame] = {}  # by title
    left_out = []
    for run_id, title in titles.items():
        rows = curves[curves["run_id"] == run_id]
        style, group = styles[str(run_id)], {"legendgroup": str(run_id)}
        n_before = len(traces)
        for split in splits:
            part = rows[rows["split"] == split].dropna(subset=[measure, over])
            if part.empty:
                continue
            solid = split == "valid" or measure == "lr"
            along = part[over] / 60 if over == "seconds" else part[over]
            if solid:
                solid_curves[str(title)] = part
                traces += _band(part, along, measure, style, str(run_id))
            split_name = "" if measure == "lr" else f", {_SPLITS[split]}"
            traces.append(
                _line(along.tolist(), part[measure], str(title), _stroke(style, solid, 2.2, 1.4))
                | group
                | _marked(style, style.marker, 12, with_markers=solid)
                | {
                    "opacity": 1.0 if solid else 0.7,
                    "showlegend": solid,
                    "customdata": part["epoch"].tolist(),
                    "hovertemplate": _hover(title, split_name, number, "customdata"),
                }
            )
            best = (best_epochs or {}).get(str(run_id))
            if solid and best is not None and best == best and measure != "lr":
                at_best = part["epoch"] == best
                x, y = along[at_best].tolist(), part.loc[at_best, measure].tolist()
                traces.append(ring(x, y, style.colour, 2.5) | group)
        if len(traces) == n_before:
            left_out.append(str(title))
    x_axis = {"title": _small(OVER[over]), "showgrid": False, "rangemode": "tozero"}
    x_axis |= {"tickformat": "d"} if over != "seconds" else {}
    y_axis = _measure_axis(measure) | ({"rangemode": "tozero"} if measure != "accuracy" else {})
    figure = draw(traces, name, 340, x_axis, y_axis, hovermode="closest", showlegend=legend)
    if legend:
        with_legend(figure, len(solid_curves), 340)
    changes = "; ".join(
        f"{title}: from {part[measure].iloc[0]:.3g} to {part[measure].iloc[-1]:.3g} "
        f"in epoch {part['epoch'].iloc[-1]:.0f}"
        for title, part in solid_curves.items()
    )
    alt = f"{name} of {len(solid_curves)} runs over {OVER[over].lower()}. "
    alt += f"{changes or 'Nothing to draw'}."
    if left_out:
        alt += f" Without such a curve: {', '.join(left_out)}."
    table = pd.DataFrame({"Epoch": []})
    if solid_curves:
        columns = {title: part.set_index("epoch")[measure] for title, part in solid_curves.items()}
        table = pd.DataFrame(columns).rename_axis(index="Epoch").reset_index()
    return Chart(figure, alt, table, tuple(solid_curves) if measure == "accuracy" else ())


def _band(
    part: pd.DataFrame, along: pd.Series, measure: str, style: RunStyle, group: str
) -> list[dict[str, Any]]:
    """The area from the lowest to the highest run of a system; nothing of a single run."""
    low, high = f"{measure}_low", f"{measure}_high"
    if low not in part or not (part[high] > part[low]).any():
        return []
    band = {
        "type": "scatter",
        "x": [*along, *along[::-1]],
        "y": [*part[high], *part[low][::-1]],
        "fill": "toself",
        "fillcolor": see_through(style.colour, 0.18),
        "line": {"width": 0},
        "mode": "lines",
        "hoverinfo": "skip",
        "showlegend": False,
        "legendgroup": group,
    }
    return [band]


def study_curves(table: pd.DataFrame, measure: str, title: str, of: Sequence[str] = ()) -> Chart:
    """Loss or accuracy of the systems of a study over the epochs; validation solid, training
    dotted.

    Args:
        table: `system, title, epoch, split (train|valid), loss, accuracy`, one run a system.
        measure: `loss` or `accuracy`.
        title: Heading of the chart.
        of: Systems whose order gives the colours, where the table has not all of them.
    """
    name, _, number = MEASURES[measure]
    systems = table.drop_duplicates("system").set_index("system")["title"]
    styles = run_styles([*of, *(str(system) for system in systems.index if system not in of)])
    splits = [split for split in _SPLITS if split in set(table["split"])]
    has_both = len(splits) > 1
    traces: list[dict[str, Any]] = []
    changes = []
    for system, system_title in systems.items():
        for split in splits:
            is_part = (table["system"] == system) & (table["split"] == split)
            part = table[is_part].dropna(subset=[measure])
            if part.empty:
                continue
            noun, style = _SPLITS[split], styles[str(system)]
            dotted = has_both and split == "train"
            line_name = f"{system_title}, {noun}" if has_both else str(system_title)
            stroke = _stroke(style, not dotted, 2.2, 1.6)
            with_markers = len(part) == 1 or not dotted
            traces.append(
                _line(part["epoch"].tolist(), part[measure], line_name, stroke)
                | _marked(style, style.marker, 14, with_markers)
                | {
                    "legendgroup": str(system),
                    "hovertemplate": _hover(system_title, f", {noun}", number),
                }
            )
            changes.append(f"{system_title}, {noun}: {_change(part, measure)}")
    n_lines = -(-len(systems) * len(splits) // 2)  # of the legend, as a narrow page breaks it
    tick = _tick(float(table["epoch"].max()) if len(table) else 1.0)
    figure = draw(
        traces,
        label(title),
        310 + 18 * n_lines,
        {"title": _small("Epoch"), "showgrid": False, "tick0": 0, "dtick": tick},
        _measure_axis(measure),
        56 + 18 * n_lines,
        hovermode="closest",
        legend=legend_below_title(),
    )
    wide = _by_epoch(table, measure, several=True)
    alt = f"{title}: {name.lower()} over the epochs. {'; '.join(changes) or 'no epoch yet'}."
    return Chart(figure, alt, wide, _shares(wide, measure))


def losses_by_step(
    losses: Mapping[str, np.ndarray],
    styles: Mapping[str, RunStyle],
    title: str = "Loss by step",
    first_step: int = 1,
    smoothing: float = 0.0,
    logarithmic: bool = False,
) -> Chart:
    """The training loss of every step (mini-batch). Of more than `MOST_STEPS` steps, successive
    ones become their mean; the horizontal axis says how many.

    Args:
        losses: Of each run by its title, (steps,), in nats.
        styles: Of each run by its title.
        title: Heading of the chart.
        first_step: The number of the first of these steps.
        smoothing: As of `learning_curves`.
        logarithmic: Whether the loss is drawn on a logarithmic scale.
    """
    traces: list[dict[str, Any]] = []
    n_together = max([1, *(-(-len(values) // MOST_STEPS) for values in losses.values())])
    columns = {run: _means(values, n_together, first_step) for run, values in losses.items()}
    for run, points in columns.items():
        x, colour = points.index.tolist(), styles[run].colour
        if smoothing:
            faint = {"width": 1, "color": colour}
            traces.append(
                _line(x, points, f"{run}, as measured", faint)
                | {"opacity": 0.3, "showlegend": False, "hoverinfo": "skip"}
            )
        traces.append(
            _line(x, smoothed(points, smoothing), run, {"width": 1.3, "color": colour})
            | {"hovertemplate": f"{label(run)}<br>step %{{x}}: %{{y:.3f}}<extra></extra>"}
        )
    said = f", means of {n_together} steps" if n_together > 1 else ""
    along = {"title": _small(f"Step{said}"), "showgrid": False, "tickformat": ",d"}
    upward = _measure_axis("loss")
    upward |= {"type": "log", "dtick": "D2"} if logarithmic else {"rangemode": "tozero"}
    several = len(columns) > 1
    figure = draw(traces, label(title), 330, along, upward, hovermode="closest", showlegend=several)
    if several:
        with_legend(figure, len(columns), 330)
    changes = "; ".join(
        f"{run}: from {points.iloc[0]:.3g} to {points.iloc[-1]:.3g}"
        for run, points in columns.items()
        if len(points)
    )
    alt = f"{title}: training loss over the steps{said}. {changes or 'No step yet'}."
    return Chart(figure, alt, pd.DataFrame(columns).rename_axis(index="Step").reset_index())


def _means(values: np.ndarray, n_together: int, first_step: int) -> pd.Series:
    """Means of so many successive values, by the number of their last step."""
    starts = np.arange(0, len(values), n_together)
    ends = np.minimum(starts + n_together, len(values))
    sums = np.add.reduceat(values.astype(float), starts) if len(values) else np.zeros(0)
    return pd.Series(sums / (ends - starts), index=ends + first_step - 1)
