"""Pairs of runs: who is better, who is right where, which mistakes differ; genres by model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from genrecore.reporting.plots.chart import (
    GREY,
    Chart,
    label,
    laid_out,
    legend_below_title,
    percent,
)
from genrecore.reporting.plots.palette import CORAL

# Orange and blue stand out from each other to everybody; between them the ground shines through.
_LESS, _MORE, _NONE = "216,84,48", "79,143,224", "139,144,160"
_DIVERGING = [
    [0.0, f"rgba({_LESS},1)"],
    [0.5, f"rgba({_NONE},0.12)"],
    [1.0, f"rgba({_MORE},1)"],
]
_MARKS = {"better": "▲", "equivalent": "=", "cannot be told apart": "?"}


def pair_matrix(pairs: pd.DataFrame, titles: Sequence[str]) -> Chart:
    """Every run against every other: the difference in points, row minus column, with the verdict.

    Args:
        pairs: `Comparison.pairs`.
        titles: In the order of the rows and columns.
    """
    place = {title: k for k, title in enumerate(titles)}
    n = len(titles)
    gap, words = np.full((n, n), np.nan), np.full((n, n), "", dtype=object)
    for _, pair in pairs.iterrows():
        row, column = place[str(pair["title_a"])], place[str(pair["title_b"])]
        known = pd.notna(pair["difference"])
        for i, j, sign in ((row, column, 1), (column, row, -1)):
            gap[i, j] = sign * pair["difference"]
            mark = _MARKS[pair["verdict"]] if known else "–"
            if pair["verdict"] == "better" and (pair["better"] == "a") != (sign == 1):
                mark = "▼"
            words[i, j] = f"{mark} {100 * gap[i, j]:+.1f}".replace("-", "−") if known else "–"
    numbers = [f"{k + 1}" for k in range(n)]
    rows = [f"{label(title)}  {k}" for k, title in zip(numbers, titles, strict=True)]
    most = float(np.nanmax(np.abs(gap))) if np.isfinite(gap).any() else 0.1
    figure = go.Figure(_shades(gap, numbers, rows, most, words.tolist()))
    small = n > 8
    _write(figure, numbers, rows, [[w.split(" ")[0] for w in r] for r in words] if small else words)
    laid_out(figure, "Each run against the others, in points", 130 + max(30, 44 - n) * n)
    figure.update_xaxes(title="Against number", showgrid=False, type="category", side="bottom")
    figure.update_yaxes(showgrid=False, autorange="reversed", type="category")
    shown = pairs[["title_a", "title_b", "n_clips", "difference", "low", "high", "p_holm",
                   "verdict"]].rename(
        columns={"title_a": "A", "title_b": "B", "n_clips": "Clips", "difference": "A − B",
                 "low": "from", "high": "to", "p_holm": "p for all pairs", "verdict": "Verdict"}
    )  # fmt: skip
    counts = pairs["verdict"].value_counts()
    said = ", ".join(f"{count} {word}" for word, count in counts.items())
    return Chart(
        figure,
        f"Matrix of differences in accuracy between {n} runs; of {len(pairs)} pairs {said}.",
        shown,
        ("A − B", "from", "to"),
    )


def agreement(pair: Mapping[str, Any]) -> Chart:
    """Who is right on how many clips: both, only A, only B, neither.

    Args:
        pair: A row of `Comparison.pairs`.
    """
    a, b = str(pair["title_a"]), str(pair["title_b"])
    counts = np.array([[pair["both"], pair["only_a"]], [pair["only_b"], pair["neither"]]], float)
    total = max(1.0, counts.sum())
    x, y = ["B right", "B wrong"], ["A right", "A wrong"]
    names = [["both right", "only A right"], ["only B right", "both wrong"]]
    text = [
        [f"<b>{number(counts[i, j])}</b><br>{names[i][j]}" for j in range(2)] for i in range(2)
    ]  # of systems with several seeds the counts are means
    figure = go.Figure(
        go.Heatmap(
            z=(counts / total).tolist(),
            x=x,
            y=y,
            zmin=0,
            zmax=1,
            xgap=3,
            ygap=3,
            showscale=False,
            colorscale=[[0.0, f"rgba({_MORE},0.06)"], [1.0, f"rgba({_MORE},0.85)"]],
            customdata=names,
            hovertemplate="%{customdata}: %{z:.1%} of the clips<extra></extra>",
        )
    )
    _write(figure, x, y, text, 14)
    laid_out(figure, "Who is right where", 300)
    figure.update_xaxes(title=f"B: {label(b)}", showgrid=False, type="category")
    figure.update_yaxes(
        title=f"A: {label(a)}", showgrid=False, autorange="reversed", type="category"
    )
    table = pd.DataFrame(
        {"Clips on which": [f"{name}" for row in names for name in row], "Clips": counts.ravel(),
         "Share": counts.ravel() / total}
    )  # fmt: skip
    listed = ", ".join(
        f"{row['Clips on which']} {number(row['Clips'])}" for _, row in table.iterrows()
    )
    return Chart(figure, f"Agreement of A, {a}, and B, {b}: {listed} clips.", table, ("Share",))


def number(count: float) -> str:
    """A number of clips; of a mean over seeds with one decimal."""
    return f"{count:.0f}" if float(count).is_integer() else f"{count:.1f}"


def difference(matrix: pd.DataFrame, a: str, b: str, recall: bool = True) -> Chart:
    """The confusions of A minus those of B, blue where A has more of them.

    Args:
        matrix: As `differences.difference` makes it.
        a: Title of A.
        b: Title of B.
        recall: Whether its values are shares of the labelled genre, not counts.
    """
    values = matrix.to_numpy(dtype=float)
    x, y = [label(name) for name in matrix.columns], [label(name) for name in matrix.index]
    scale = 100 if recall else 1
    text = [
        [f"{scale * v:+.0f}".replace("-", "−") if abs(round(scale * v)) >= 1 else "" for v in row]
        for row in np.nan_to_num(values)
    ]
    most = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    unit = "points of the genre" if recall else "clips"
    hover = [
        [f"{scale * v:+.1f} {unit}".replace("-", "−") for v in row] for row in np.nan_to_num(values)
    ]
    figure = go.Figure(_shades(values, x, y, max(most, 1e-9), hover))
    _write(figure, x, y, text)
    laid_out(figure, f"Confusions of A minus B, in {unit}", 120 + 34 * max(len(x), 4))
    figure.update_xaxes(title="Predicted", showgrid=False, tickangle=-45, type="category")
    figure.update_yaxes(title="Labelled", showgrid=False, autorange="reversed", type="category")
    table = matrix.rename_axis(index="Labelled ↓ predicted →", columns=None).reset_index()
    words = "no cell differs"
    if np.nan_to_num(values).any():
        row, column = divmod(int(np.nan_to_num(np.abs(values)).argmax()), values.shape[1])
        words = (
            f"most at labelled {matrix.index[row]}, predicted {matrix.columns[column]}: "
            f"{hover[row][column]}"
        )
    shares = tuple(str(name) for name in matrix.columns) if recall else ()
    return Chart(figure, f"Confusions of {a} minus those of {b}; {words}.", table, shares)


def dependence(table: pd.DataFrame) -> Chart:
    """From the worst to the best recall of each genre, those that depend most on the model on top.

    Args:
        table: As `differences.dependence` makes it.
    """
    names = [f"{label(row['genre'])} ({row['n_clips']})" for _, row in table.iterrows()]
    figure = go.Figure()
    for word, colour, width, symbol in (
        ("strong", CORAL, 8, "circle"), ("not shown", GREY, 4, "circle-open")
    ):  # fmt: skip
        part = table[table["dependence"] == word]
        title = "depends on the model" if word == "strong" else "not shown to depend on it"
        mine = [names[k] for k in part.index]
        line_x: list[Any] = []
        line_y: list[Any] = []
        for name, (_, row) in zip(mine, part.iterrows(), strict=True):
            line_x += [row["lowest"], row["highest"], None]
            line_y += [name, name, None]
        figure.add_scatter(
            x=line_x,
            y=line_y,
            mode="lines",
            line={"color": colour, "width": width},
            opacity=0.6,
            hoverinfo="skip",
            showlegend=False,
        )
        for end, who in (("lowest", "worst"), ("highest", "best")):
            figure.add_scatter(
                x=part[end].tolist(),
                y=mine,
                mode="markers",
                name=title,
                legendgroup=word,
                showlegend=end == "lowest" and len(part) > 0,
                marker={"size": 11, "color": colour, "symbol": symbol, "line": {"width": 2}},
                customdata=part[[who, "p_holm", "effect"]].to_numpy().tolist(),
                hovertemplate=f"%{{y}}: {who} recall %{{x:.1%}}<br>%{{customdata[0]}}"
                "<br>p = %{customdata[1]:.2g} for all genres<extra></extra>",
            )
    laid_out(
        figure, "How much each genre depends on the model", 130 + 34 * max(1, len(table)),
        legend=legend_below_title(),
    )  # fmt: skip
    figure.update_layout(margin_t=76)
    figure.update_xaxes(title="Recall, worst to best run", tickformat=".0%", range=[-0.03, 1.03])
    figure.update_yaxes(
        showgrid=False, type="category", categoryorder="array", categoryarray=names[::-1]
    )
    shown = table.rename(
        columns={"genre": "Genre", "n_clips": "Clips", "lowest": "Lowest recall",
                 "highest": "Highest recall", "worst": "Worst", "best": "Best", "spread": "Spread",
                 "effect": "Effect (0–1)", "p": "p", "p_holm": "p for all genres",
                 "dependence": "Depends on the model"}
    )  # fmt: skip
    listed = "; ".join(
        f"{row['genre']} {percent(row['lowest'])} to {percent(row['highest'])}, {row['dependence']}"
        for _, row in table.iterrows()
    )
    return Chart(
        figure,
        f"Range of recalls over the runs for each genre, widest first: {listed}.",
        shown,
        ("Lowest recall", "Highest recall", "Spread"),
    )


def recall_map(table: pd.DataFrame) -> Chart:
    """Recall of each genre (columns) by each run (rows) as shades: legible for many runs.

    Args:
        table: `run_id, title, genre, n_clips, recall, recall_low, recall_high`; more is ignored.
    """
    titles = list(dict.fromkeys(table["title"]))
    wide = table.pivot(index="title", columns="genre", values="recall").loc[titles]
    x, y = [label(name) for name in wide.columns], [label(name) for name in wide.index]
    values = wide.to_numpy(dtype=float)
    figure = go.Figure(
        go.Heatmap(
            z=values.tolist(),
            x=x,
            y=y,
            zmin=0,
            zmax=1,
            xgap=2,
            ygap=2,
            text=[["" if np.isnan(v) else f"{100 * v:.0f}" for v in row] for row in values],
            texttemplate="%{text}",
            colorbar={"title": {"text": "Recall", "font": {"size": 11}}, "tickformat": ".0%",
                      "thickness": 10, "outlinewidth": 0, "tickfont": {"size": 11}},
            hovertemplate="%{y}<br>%{x}: recall %{z:.1%}<extra></extra>",
        )
    )  # fmt: skip
    laid_out(figure, "Recall of each genre, in per cent", 120 + 30 * max(3, len(titles)))
    figure.update_xaxes(showgrid=False, tickangle=-45, type="category")
    figure.update_yaxes(showgrid=False, autorange="reversed", type="category")
    shown = wide.rename_axis(index="Run", columns=None).reset_index()
    return Chart(
        figure,
        f"Recall of {len(x)} genres by {len(titles)} runs, from {percent(np.nanmin(values))} to "
        f"{percent(np.nanmax(values))}.",
        shown,
        tuple(str(name) for name in wide.columns),
    )


def _shades(values: np.ndarray, x: list[str], y: list[str], most: float, hover: Any) -> go.Heatmap:
    return go.Heatmap(
        z=values.tolist(),
        x=x,
        y=y,
        zmin=-most,
        zmax=most,
        colorscale=_DIVERGING,
        showscale=False,
        xgap=2,
        ygap=2,
        customdata=hover,
        hoverongaps=False,
        hovertemplate="%{y} and %{x}: %{customdata}<extra></extra>",
    )


def _write(figure: go.Figure, x: list[str], y: list[str], text: Any, size: int = 12) -> None:
    """Texts over cells, in the ink of the page: a heatmap's own would be for an opaque ground."""
    figure.add_scatter(
        x=[name for _ in y for name in x],
        y=[name for name in y for _ in x],
        text=[words for row in text for words in row],
        mode="text",
        textfont={"size": size},
        hoverinfo="skip",
        showlegend=False,
    )
