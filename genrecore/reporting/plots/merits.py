"""Accuracy against cost, calibration, the dependence of genres on the model, and ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from genrecore.evaluation import differences
from genrecore.evaluation.ranks import Ranks
from genrecore.reporting.plots.chart import (
    GREY,
    Chart,
    draw,
    label,
    legend_below_title,
    named,
    names_axis,
    quiet_line,
    see_through,
    whiskers,
    with_legend,
)
from genrecore.reporting.plots.palette import CORAL, RunStyle
from genrecore.words import p_value, percent, uncapitalised


def dependence(table: pd.DataFrame) -> Chart:
    """From the worst to the best recall of each genre, those that depend most on the model on top.

    Args:
        table: From `differences.dependence`.
    """
    names = [f"{label(row['genre'])} ({row['n_clips']})" for _, row in table.iterrows()]
    traces: list[dict[str, Any]] = []
    looks = (
        ("strong", "depends on the model", CORAL, 8, "circle"),
        ("not shown", "not shown to depend on it", GREY, 4, "circle-open"),
    )
    for word, title, colour, width, symbol in looks:
        part = table[table["dependence"] == word]
        rows = [names[k] for k in part.index]
        line_x: list[Any] = []
        line_y: list[Any] = []
        for name, (_, row) in zip(rows, part.iterrows(), strict=True):
            line_x += [row["lowest"], row["highest"], None]
            line_y += [name, name, None]
        traces.append(quiet_line(line_x, line_y, width, colour, opacity=0.6))
        for end, who in (("lowest", "worst"), ("highest", "best")):
            points = {
                "type": "scatter",
                "x": part[end].tolist(),
                "y": rows,
                "mode": "markers",
                "name": title,
                "legendgroup": word,
                "showlegend": end == "lowest" and len(part) > 0,
                "marker": {"size": 11, "color": colour, "symbol": symbol, "line": {"width": 2}},
                "customdata": [
                    [system, p_value(p)]
                    for system, p in zip(part[who], part["p_holm"], strict=True)
                ],
                "hovertemplate": f"%{{y}}: {who} recall %{{x:.1%}}<br>"
                "%{customdata[0]}<br>%{customdata[1]} for all genres<extra></extra>",
            }
            traces.append(points)
    heading, height = "How much each genre depends on the model", 130 + 34 * max(1, len(table))
    along = {"title": "Recall, worst to best run", "tickformat": ".0%", "range": [-0.03, 1.03]}
    rows_axis, legend = names_axis(names[::-1]), legend_below_title()
    figure = draw(traces, heading, height, along, rows_axis, 76, legend=legend)
    numbers = table.rename(
        columns={
            "n_clips": "Clips",
            "lowest": "Lowest recall",
            "highest": "Highest recall",
            "effect": "Effect (0–1)",
            "p_holm": "p for all genres",
            "dependence": "Depends on the model",
        }
        | {name: name.capitalize() for name in ("genre", "worst", "best", "spread")}
    )
    ranges = "; ".join(
        f"{row['genre']} {percent(row['lowest'])} to {percent(row['highest'])}, {row['dependence']}"
        for row in table.to_dict("records")
    )
    alt = f"Range of recalls over the runs for each genre, widest first: {ranges}."
    return Chart(figure, alt, numbers, ("Lowest recall", "Highest recall", "Spread"))


def cost(table: pd.DataFrame, column: str, name: str, styles: Mapping[str, RunStyle]) -> Chart:
    """Accuracy against a cost, with its interval, and the Pareto front: runs that no other run
    beats in one without being worse in the other.

    Args:
        table: `run_id, title, accuracy, accuracy_low, accuracy_high` and the cost.
        column: Column of the cost.
        name: Title of the cost, with its unit.
        styles: Style of each run.
    """
    front = differences.pareto(table["accuracy"].tolist(), table[column].tolist())
    line = table[front].sort_values([column, "accuracy"])
    steps = {"color": GREY, "width": 2, "dash": "dot", "shape": "hv"}
    x, y = line[column].tolist(), line["accuracy"].tolist()
    has_front = len(line) > 1
    front_line = quiet_line(x, y, 2, name="Pareto front", line=steps, showlegend=has_front)
    measured = table[table[column].notna()]
    traces = [front_line]
    for on_front, (k, row) in zip(front[table[column].notna()], measured.iterrows(), strict=True):
        style = styles[row["run_id"]]
        interval = _interval(measured.loc[[k]])
        traces.append(
            {
                "type": "scatter",
                "x": [row[column]],
                "y": [row["accuracy"]],
                "error_y": whiskers(*interval, style.colour, thickness=1.2, width=4),
                "mode": "markers",
                "name": label(row["title"]),
                "marker": {
                    "size": 13 if on_front else 9,
                    "color": style.colour,
                    "symbol": style.marker if on_front else f"{style.marker}-open",
                    "line": {"width": 2, "color": style.colour},
                },
                "hovertemplate": f"{label(row['title'])}<br>{label(name)}: %{{x:,.4~g}}"
                "<br>accuracy %{y:.1%}<extra></extra>",
            }
        )
    title = f"Accuracy against {uncapitalised(name)}"
    along = {"title": label(name), "type": "log", "tickformat": "~s"} | _decades(measured[column])
    upward = {"title": "Share of test clips recognised", "tickformat": ".0%"}
    figure = with_legend(draw(traces, title, 400, along, upward), len(measured) + 1, 400)
    titles = {"title": "Run", column: name, "accuracy": "Accuracy", "accuracy_low": "from"}
    numbers = named(table, titles | {"accuracy_high": "to"}).assign(**{"On the front": front})
    best = "; ".join(f"{row['title']} {percent(row['accuracy'])}" for _, row in line.iterrows())
    alt = f"Accuracy of {len(measured)} runs against {name}; on the Pareto front: {best or 'none'}."
    counts = (name,) if column.startswith("n_") else ()
    return Chart(figure, alt, numbers, ("Accuracy", "from", "to"), counts)


def calibration(table: pd.DataFrame, styles: Mapping[str, RunStyle]) -> Chart:
    """The share of right predictions by their certainty; on the diagonal both agree.

    Args:
        table: `run_id, title` and the columns of `metrics.reliability`.
        styles: Style of each run.
    """
    diagonal = {
        "type": "scatter",
        "x": [0, 1],
        "y": [0, 1],
        "mode": "lines",
        "line": {"color": GREY, "width": 1.5, "dash": "dot"},
        "name": "as sure as right",
        "hoverinfo": "skip",
    }
    traces: list[dict[str, Any]] = [diagonal]
    titles = table.drop_duplicates("run_id").set_index("run_id")["title"]
    for run_id, title in titles.items():
        part, style = table[table["run_id"] == run_id], styles[str(run_id)]
        bars = {"thickness": 1.2, "width": 3, "visible": len(titles) <= 3}
        sizes = _sizes(part["n_clips"])
        traces.append(
            {
                "type": "scatter",
                "x": part["certainty"].tolist(),
                "y": part["accuracy"].tolist(),
                "mode": "lines+markers",
                "name": label(title),
                "line": {"color": style.colour, "width": 2},
                "marker": {"symbol": style.marker, "color": style.colour, "size": sizes},
                "error_y": whiskers(*_interval(part), style.colour, **bars),
                "customdata": [
                    [n, percent(certainty)]
                    for n, certainty in zip(part["n_clips"], part["certainty"], strict=True)
                ],
                "hovertemplate": f"{label(title)}<br>%{{customdata[0]}} clips, mean certainty "
                "%{customdata[1]}<br>right: %{y:.1%}<extra></extra>",
            }
        )
    heading = "How right the predictions are, by how sure they were"
    along = {"title": "Probability of the predicted genre", "range": [0, 1.02]}
    upward = {"title": "Share of predictions that are right", "range": [-0.02, 1.04]}
    shares_axis = {"tickformat": ".0%"}
    figure = draw(traces, heading, 400, along | shares_axis, upward | shares_axis)
    with_legend(figure, len(titles) + 1, 400)
    heads = {"title": "Run", "low": "Bin from", "high": "Bin to", "n_clips": "Clips"}
    heads |= {"certainty": "Mean certainty", "accuracy": "Right"}
    numbers = named(table, heads | {"accuracy_low": "from", "accuracy_high": "to"})
    means = []
    for run_id, title in titles.items():
        part = table[table["run_id"] == run_id]
        n = max(1, int(part["n_clips"].sum()))
        certainty = float((part["certainty"] * part["n_clips"]).sum()) / n
        right = float((part["accuracy"] * part["n_clips"]).sum()) / n
        means.append(f"{title} is {percent(certainty)} sure and {percent(right)} right on average")
    shares = ("Bin from", "Bin to", "Mean certainty", "Right", "from", "to")
    return Chart(figure, f"Calibration curves. {'; '.join(means)}.", numbers, shares)


_MOST_BANDS = 3  # intervals over one another that can be told apart


def risk_coverage(
    table: pd.DataFrame, styles: Mapping[str, RunStyle], precision: float | None = None
) -> Chart:
    """The share of right answers by the share of clips that is answered, the surest first; with
    few runs the 95 % intervals as bands.

    Args:
        table: `run_id, title` and the columns of `selective.risk_coverage`.
        styles: Style of each run.
        precision: A wanted share, drawn as a line.
    """
    traces: list[dict[str, Any]] = []
    titles = table.drop_duplicates("run_id").set_index("run_id")["title"]
    for run_id, title in titles.items():
        part, style = table[table["run_id"] == run_id], styles[str(run_id)]
        if len(titles) <= _MOST_BANDS:
            traces.append(_band(part, style.colour))
        traces.append(
            {
                "type": "scatter",
                "x": part["coverage"].tolist(),
                "y": part["accuracy"].tolist(),
                "mode": "lines+markers",
                "name": label(title),
                "line": {"color": style.colour, "width": 2.5},
                "marker": {"symbol": style.marker, "size": 8, "maxdisplayed": 8},
                "customdata": [
                    [percent(row[name]) for name in ("coverage", "low", "high")]
                    for row in part.to_dict("records")
                ],
                "hovertemplate": f"{label(title)}<br>%{{customdata[0]}} answered"
                "<br>of these right: %{y:.1%} (%{customdata[1]} to %{customdata[2]})"
                "<extra></extra>",
                "showlegend": len(titles) > 1,
            }
        )
    if precision is not None:
        wanted = f"wanted: {percent(precision)}"
        dotted = {"color": GREY, "width": 2, "dash": "dot"}
        traces.append(
            quiet_line([0, 1], [precision] * 2, 2, line=dotted, name=wanted, showlegend=True)
        )
    low = float(table["accuracy"].min()) if len(table) else 0.0
    along = {"title": "Share of clips answered, the surest first", "range": [0, 1.02]}
    upward = {"title": "Share of answers that are right", "range": [max(0.0, low - 0.2), 1.02]}
    shares_axis = {"tickformat": ".0%"}
    heading = "How right the answers are, by how many clips are answered"
    figure = draw(traces, heading, 380, along | shares_axis, upward | shares_axis)
    with_legend(figure, len(titles) + (precision is not None), 380)
    heads = {"title": "Run", "coverage": "Answered", "accuracy": "Right", "low": "from"}
    numbers = named(table, heads | {"high": "to", "confidence": "Confidence from"})
    halves = []
    for run_id, title in titles.items():
        part = table[table["run_id"] == run_id]
        half = part.iloc[int((part["coverage"] - 0.5).abs().argmin())]
        halves.append(
            f"{title}: {percent(part['accuracy'].iloc[-1])} right where all are answered, "
            f"{percent(half['accuracy'])} where {percent(half['coverage'])} are"
        )
    shares = ("Answered", "Right", "from", "to")
    return Chart(figure, f"Risk–coverage curves. {'; '.join(halves)}.", numbers, shares)


def _band(part: pd.DataFrame, colour: str) -> dict[str, Any]:
    """The intervals of a curve as an area."""
    x, low, high = (part[name].tolist() for name in ("coverage", "low", "high"))
    return quiet_line([*x, *x[::-1]], [*high, *low[::-1]], 0) | {
        "fill": "toself",
        "fillcolor": see_through(colour, 0.16),
    }


def critical_difference(
    titles: Sequence[str], ranks: Ranks, n_blocks: int, blocks: str = "folds or datasets"
) -> Chart:
    """Mean ranks on a line, the best on the left; a bar joins those that cannot be told apart.

    Source: Demšar (2006), Figure 1.

    Args:
        titles: Titles of the systems, in the order of the ranks.
        ranks: From `ranks.friedman`.
        n_blocks: Number of blocks.
        blocks: What they are, in words.
    """
    order = sorted(range(len(titles)), key=lambda k: (ranks.mean[k], k))
    n = len(order)
    traces: list[dict[str, Any]] = []
    # One name a row, each joined to its mean rank on the line.
    for row, k in enumerate(order):
        rank, depth = float(ranks.mean[k]), -(row + 1.0)
        name = {
            "type": "scatter",
            "x": [n + 0.2],
            "y": [depth],
            "mode": "text",
            "text": [f"{label(titles[k])} ({rank:.2f})"],
            "textposition": "middle right",
            "hoverinfo": "skip",
            "showlegend": False,
            "cliponaxis": False,
        }
        traces += [quiet_line([rank, rank, n + 0.15], [0, depth, depth], 1), name]
    dots = {
        "type": "scatter",
        "x": [float(ranks.mean[k]) for k in order],
        "y": [0.0] * n,
        "mode": "markers",
        "marker": {"size": 10, "color": GREY},
        "text": [label(titles[k]) for k in order],
        "hovertemplate": "%{text}: mean rank %{x:.2f}<extra></extra>",
        "showlegend": False,
    }
    traces.append(dots)
    for level, group in enumerate(ranks.groups):
        x = [float(ranks.mean[group[0]]) - 0.03, float(ranks.mean[group[-1]]) + 0.03]
        hover = {"hoverinfo": None, "hovertemplate": "cannot be told apart<extra></extra>"}
        traces.append(quiet_line(x, [0.35 + 0.3 * level] * 2, 6, "#4f8fe0", **hover))
    top = 0.8 + 0.3 * len(ranks.groups)
    text = {"text": [f"critical difference {ranks.critical:.2f}", ""], "textposition": "top right"}
    x = [1, 1 + ranks.critical]
    traces.append(quiet_line(x, [top, top], 2, "#e39400", mode="lines+text", **text))
    right_end = max(n + 0.2, 1 + ranks.critical) * 1.75  # room for names right of the line
    figure = draw(
        traces,
        f"Mean ranks over {n_blocks} {blocks}",
        150 + 30 * n,
        {
            "title": "Mean rank (1 is best)",
            "range": [0.8, right_end],
            "tickvals": list(range(1, n + 1)),
            "showgrid": False,
        },
        {"visible": False, "range": [-n - 0.7, top + 0.7]},
    )
    numbers = pd.DataFrame(
        {"Run": [titles[k] for k in order], "Mean rank": [float(ranks.mean[k]) for k in order]}
    )
    joined = "; ".join(" and ".join(titles[k] for k in group) for group in ranks.groups)
    listed = ", ".join(f"{titles[k]} {ranks.mean[k]:.2f}" for k in order)
    alt = f"Mean ranks: {listed}. Critical difference {ranks.critical:.2f}; cannot be told apart: "
    return Chart(figure, f"{alt}{joined or 'none'}.", numbers)


def _interval(table: pd.DataFrame) -> tuple[pd.Series, pd.Series, pd.Series]:
    return table["accuracy"], table["accuracy_low"], table["accuracy_high"]


def _sizes(n_clips: pd.Series) -> list[float]:
    """Of markers: their area grows with the clips."""
    most = max(1, int(n_clips.max())) if len(n_clips) else 1
    return [4 + 9 * math.sqrt(n / most) for n in n_clips]


def _decades(values: pd.Series) -> dict[str, Any]:
    """Ticks that do not crowd: whole decades where there are several, else 2 and 5 as well."""
    positive = [float(v) for v in values if v > 0]
    if not positive:
        return {}
    low, high = math.log10(min(positive)), math.log10(max(positive))
    room = max(0.12, 0.08 * (high - low))
    return {"dtick": 1 if high - low > 2 else "D2", "range": [low - room, high + room]}
