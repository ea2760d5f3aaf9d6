"""Matrices as shades: confusions, their differences, recalls, pairs of runs, agreement."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from genrecore.reporting.plots.chart import (
    Chart,
    colour_bar,
    draw,
    label,
    lay_out_subplots,
    named,
    names_axis,
    with_hover_in_words,
)
from genrecore.reporting.plots.palette import INK, OPPOSITES, SHADES, on_shade, scale
from genrecore.words import decimals, percent, signed_points

_FRAME = "#ec7350"  # stands out from every shade in both themes
_MARKS = {"better": "▲", "equivalent": "=", "cannot be told apart": "?"}
_CORNER = "Labelled ↓ predicted →"
_SLANTED = {"showgrid": False, "tickangle": -45, "type": "category"}
_PREDICTED = {"title": "Predicted"} | _SLANTED


def confusion(
    matrix: pd.DataFrame,
    title: str,
    picked: tuple[str, str] | None = None,
    targets: bool = False,
    percents: bool = False,
) -> Chart:
    """A confusion matrix: rows are the labels, columns the predictions.

    Args:
        matrix: Counts of clips, labelled × predicted, both indexed by genre. A cell's shade is its
            share of the row (0 … 1, the same scale in every matrix), its text the count.
        title: Heading of the chart.
        picked: Labelled and predicted genre of a cell that is framed.
        targets: Whether a click on a cell selects a point with (labelled, predicted) as its data.
            A heat map itself reports no clicks.
        percents: Whether a cell's text is its share of the row, in per cent, not the count.
    """
    shares = _shares(matrix)
    cells = _cells(
        shares.round(4),
        _texts(shares if percents else matrix, percents),
        customdata=matrix.to_numpy().tolist(),
        colorbar=colour_bar("Share of<br>the genre", tickformat=".0%"),
        hovertemplate="labelled %{y}, predicted %{x}<br>%{customdata} clips,"
        " %{z:.1%} of the genre<extra></extra>",
    )
    figure = draw(cells, label(title), _height(matrix), _PREDICTED, names_axis(title="Labelled"))
    if targets:
        _add_targets(figure, matrix)
    if picked is not None and picked[0] in matrix.index and picked[1] in matrix.columns:
        row, column = list(matrix.index).index(picked[0]), list(matrix.columns).index(picked[1])
        box = {"x0": column - 0.5, "x1": column + 0.5, "y0": row - 0.5, "y1": row + 0.5}
        figure.add_shape(type="rect", line={"width": 3, "color": _FRAME}, **box)
    return Chart(figure, _confusion_in_words(matrix, title), _with_labels(matrix))


def _shares(matrix: pd.DataFrame) -> pd.DataFrame:
    totals = matrix.sum(axis=1)
    return matrix.div(totals.where(totals > 0), axis=0)


def _texts(values: pd.DataFrame, percents: bool) -> list[list[str]]:
    rows = np.nan_to_num(values.to_numpy(dtype=float)) * (100 if percents else 1)
    return [[f"{n:.0f}" if n >= 0.5 else "" for n in row] for row in rows.tolist()]


def _shades(matrix: pd.DataFrame, gap: int = 2, **more: Any) -> dict[str, Any]:
    return {
        "type": "heatmap",
        "z": matrix.to_numpy(dtype=float, na_value=float("nan")).tolist(),
        "x": [label(name) for name in matrix.columns],
        "y": [label(name) for name in matrix.index],
        "xgap": gap,
        "ygap": gap,
    } | more


def _height(matrix: pd.DataFrame) -> int:
    return 120 + 34 * max(len(matrix.columns), 4)


def _with_labels(matrix: pd.DataFrame) -> pd.DataFrame:
    return matrix.rename_axis(index=_CORNER, columns=None).reset_index()


def confusions(
    matrices: Mapping[str, pd.DataFrame], percents: bool = True, across: int = 4
) -> Chart:
    """Many small confusion matrices side by side on one colour scale; rows are the labels.

    Args:
        matrices: Labelled × predicted counts by title.
        percents: Whether a cell is its share of the row; else the count, on a scale that reaches
            to the greatest count of all matrices.
        across: How many in a row.
    """
    n_rows = math.ceil(len(matrices) / across)
    height = 96 + 236 * n_rows
    figure = make_subplots(
        rows=n_rows,
        cols=across,
        subplot_titles=[label(_shortened(title)) for title in matrices],
        horizontal_spacing=0.025,
        vertical_spacing=min(0.5, 52 / height),
        shared_xaxes=True,
        shared_yaxes="all",
    )
    unit = "%{z:.1%} of the genre" if percents else "%{z} clips"
    for k, (title, matrix) in enumerate(matrices.items()):
        hover = f"{label(title)}<br>labelled %{{y}}, predicted %{{x}}<br>{unit}<extra></extra>"
        shades = _shades(
            _shares(matrix) if percents else matrix, 1, coloraxis="coloraxis", hovertemplate=hover
        )
        figure.add_trace(with_hover_in_words(shades), row=k // across + 1, col=k % across + 1)
    lay_out_subplots(
        figure, f"Confusions, {'share of the genre' if percents else 'clips'}", height, 72
    )
    scale = {
        "title": {"text": "Share of<br>the genre" if percents else "Clips"},
        "tickformat": ".0%" if percents else "d",
        "thickness": 10,
        "outlinewidth": 0,
        "len": min(1.0, 300 / height),
        "y": 1,
        "yanchor": "top",
    }
    highest = 1 if percents else max(int(matrix.to_numpy().max()) for matrix in matrices.values())
    figure.update_layout(coloraxis={"cmin": 0, "cmax": highest, "colorbar": scale})
    figure.update_xaxes(showgrid=False, tickangle=-60, tickfont_size=10, type="category")
    figure.update_yaxes(names_axis(tickfont={"size": 10}))
    figure.update_annotations(font_size=11)
    right = "; ".join(
        f"{title}: {int(np.trace(matrix.to_numpy()))} of {int(matrix.to_numpy().sum())} right"
        for title, matrix in matrices.items()
    )
    table = pd.concat(
        [_with_labels(matrix).assign(Run=title) for title, matrix in matrices.items()],
        ignore_index=True,
    )
    columns = ["Run", *(name for name in table.columns if name != "Run")]
    return Chart(figure, f"{len(matrices)} confusion matrices. {right}.", table[columns])


def _shortened(title: str, longest: int = 26) -> str:
    """A title short enough to stand above a small matrix."""
    return title if len(title) <= longest else f"{title[: longest - 7]}…{title[-6:]}"


def _add_targets(figure: go.Figure, matrix: pd.DataFrame) -> None:
    cells = [(row, column) for row in matrix.index for column in matrix.columns]
    counts = matrix.to_numpy().ravel().tolist()
    shares = [share for line in figure.data[0].z for share in line]
    figure.update_traces({"hoverinfo": "skip", "hovertemplate": None}, selector=0)
    unseen = {"marker": {"opacity": 0}}
    figure.add_scatter(
        x=[label(column) for _, column in cells],
        y=[label(row) for row, _ in cells],
        mode="markers",
        marker={"size": 22, "opacity": 0, "symbol": "square"},
        selected=unseen,
        unselected=unseen,
        customdata=[
            [str(row), str(column), n, percent(share)]
            for (row, column), n, share in zip(cells, counts, shares, strict=True)
        ],
        hovertemplate="labelled %{y}, predicted %{x}<br>%{customdata[2]} clips,"
        " %{customdata[3]} of the genre<br>click to hear them<extra></extra>",
        showlegend=False,
    )
    figure.update_layout(hoverdistance=-1, clickmode="event+select", dragmode=False)


def _confusion_in_words(matrix: pd.DataFrame, title: str) -> str:
    counts = matrix.to_numpy(dtype=int)
    right = int(np.trace(counts))
    text = f"Confusion matrix, {title}: {right} of {int(counts.sum())} clips are right."
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    if wrong.any():
        row, column = divmod(int(wrong.argmax()), wrong.shape[1])
        text += (
            f" The most frequent mistake: {matrix.index[row]} taken for "
            f"{matrix.columns[column]}, {wrong[row, column]} clips."
        )
    return text


def recall_map(table: pd.DataFrame) -> Chart:
    """Recall of each genre (columns) by each run (rows) as shades: legible for many runs.

    Args:
        table: `run_id, title, genre, n_clips, recall, recall_low, recall_high`; more is ignored.
    """
    titles = list(dict.fromkeys(table["title"]))
    wide = table.pivot(index="title", columns="genre", values="recall").loc[titles]
    values = wide.to_numpy(dtype=float)
    cells = _cells(
        wide,
        [["" if np.isnan(v) else f"{100 * v:.0f}" for v in row] for row in values],
        colorbar=colour_bar("Recall", tickformat=".0%"),
        hovertemplate="%{y}<br>%{x}: recall %{z:.1%}<extra></extra>",
    )
    heading, height = "Recall of each genre, in per cent", 120 + 30 * max(3, len(titles))
    figure = draw(cells, heading, height, _SLANTED, names_axis())
    low, high = percent(np.nanmin(values)), percent(np.nanmax(values))
    alt = f"Recall of {wide.shape[1]} genres by {len(titles)} runs, from {low} to {high}."
    numbers = wide.rename_axis(index="Run", columns=None).reset_index()
    return Chart(figure, alt, numbers, tuple(str(name) for name in wide.columns))


def pair_matrix(pairs: pd.DataFrame, titles: Sequence[str]) -> Chart:
    """Every run against every other: the difference in points, row minus column, with the verdict.

    Only a difference that is real has a colour.

    Args:
        pairs: `Comparison.pairs`.
        titles: In the order of the rows and columns.
    """
    index = {title: k for k, title in enumerate(titles)}
    n = len(titles)
    gap, texts = np.full((n, n), np.nan), np.full((n, n), "", dtype=object)
    shown = gap.copy()
    for pair in pairs.to_dict("records"):
        row, column = index[str(pair["title_a"])], index[str(pair["title_b"])]
        is_compared = pd.notna(pair["difference"])
        for i, j, sign in ((row, column, 1), (column, row, -1)):
            gap[i, j] = sign * pair["difference"]
            shown[i, j] = gap[i, j] if pair["verdict"] == "better" else 0 * gap[i, j]
            mark = _MARKS[pair["verdict"]] if is_compared else "–"
            if pair["verdict"] == "better" and (pair["better"] == "a") != (sign == 1):
                mark = "▼"
            texts[i, j] = f"{mark} {signed_points(gap[i, j])}" if is_compared else "–"
    numbers = [f"{k + 1}" for k in range(n)]
    rows = [f"{label(title)}  {k}" for k, title in zip(numbers, titles, strict=True)]
    most = float(np.nanmax(np.abs(gap))) if np.isfinite(gap).any() else 0.1
    marks = [[text.split(" ")[0] for text in row] for row in texts]
    cells = pd.DataFrame(shown, rows, numbers)
    figure = draw(
        _diverging(cells, most, marks if n > 8 else texts, texts.tolist()),
        "Each run against the others, in points",
        130 + max(30, 44 - n) * n,
        {"title": "Against number", "showgrid": False, "type": "category", "side": "bottom"},
        names_axis(),
    )
    heads = {"title_a": "A", "title_b": "B", "n_clips": "Clips", "difference": "A − B"}
    heads |= {"low": "from", "high": "to", "p_holm": "p for all pairs", "verdict": "Verdict"}
    counts = ", ".join(f"{count} {word}" for word, count in pairs["verdict"].value_counts().items())
    alt = f"Matrix of differences in accuracy between {n} runs; of {len(pairs)} pairs {counts}."
    return Chart(figure, alt, named(pairs, heads), ("A − B", "from", "to"))


def agreement(pair: Mapping[str, Any]) -> Chart:
    """Who is right on how many clips: both, only A, only B, neither.

    Args:
        pair: A row of `Comparison.pairs`.
    """
    a, b = str(pair["title_a"]), str(pair["title_b"])
    counts = np.array([[pair["both"], pair["only_a"]], [pair["only_b"], pair["neither"]]], float)
    shares = counts / max(1.0, counts.sum())
    x, y = ["B right", "B wrong"], ["A right", "A wrong"]
    names = [["both right", "only A right"], ["only B right", "both wrong"]]
    texts = [[f"<b>{number(counts[i, j])}</b><br>{names[i][j]}" for j in (0, 1)] for i in (0, 1)]
    cells = _cells(
        pd.DataFrame(shares, index=y, columns=x),
        texts,
        size=14,
        showscale=False,
        customdata=names,
        hovertemplate="%{customdata}: %{z:.1%} of the clips<extra></extra>",
    )
    columns = {"title": f"B: {label(b)}", "showgrid": False, "type": "category"}
    rows = names_axis(title=f"A: {label(a)}")
    figure = draw(cells, "Who is right where", 300, columns, rows)
    kinds = [name for row in names for name in row]
    table = pd.DataFrame(
        {"Clips on which": kinds, "Clips": counts.ravel(), "Share": shares.ravel()}
    )
    listed = ", ".join(f"{k} {number(n)}" for k, n in zip(kinds, counts.ravel(), strict=True))
    return Chart(
        figure, f"Agreement of A, {a}, and B, {b}: {listed} clips.", table, ("Share",), ("Clips",)
    )


def number(count: float) -> str:
    """A number of clips; a mean over seeds with one decimal."""
    return decimals(count, 0 if float(count).is_integer() else 1)


def difference(matrix: pd.DataFrame, a: str, b: str, recall: bool = True) -> Chart:
    """The confusions of A minus those of B, blue where A has more of them.

    Args:
        matrix: From `differences.difference`.
        a: Title of A.
        b: Title of B.
        recall: Whether its values are shares of the labelled genre, not counts.
    """
    values = matrix.to_numpy(dtype=float)
    changes = (100 if recall else 1) * np.nan_to_num(values)
    texts = [
        [decimals(v, 0, sign=True) if abs(round(v)) >= 1 else "" for v in row] for row in changes
    ]
    most = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    unit = "points of the genre" if recall else "clips"
    hover = [[f"{decimals(v, sign=True)} {unit}" for v in row] for row in changes]
    figure = draw(
        _diverging(matrix, max(most, 1e-9), texts, hover),
        f"Confusions of A minus B, in {unit}",
        _height(matrix),
        _PREDICTED,
        names_axis(title="Labelled"),
    )
    largest = "no cell differs"
    if changes.any():
        row, column = divmod(int(np.abs(changes).argmax()), values.shape[1])
        largest = (
            f"most at labelled {matrix.index[row]}, predicted {matrix.columns[column]}: "
            f"{hover[row][column]}"
        )
    shares = tuple(str(name) for name in matrix.columns) if recall else ()
    alt = f"Confusions of {a} minus those of {b}; {largest}."
    return Chart(figure, alt, _with_labels(matrix), shares)


def _diverging(matrix: pd.DataFrame, most: float, texts: Any, hover: Any) -> list[dict[str, Any]]:
    """Cells of values on both sides of 0; arguments as of `_cells`."""
    return _cells(
        matrix,
        texts,
        -most,
        most,
        OPPOSITES,
        showscale=False,
        customdata=hover,
        hoverongaps=False,
        hovertemplate="%{y} and %{x}: %{customdata}<extra></extra>",
    )


def _cells(
    matrix: pd.DataFrame,
    texts: Any,
    low: float = 0.0,
    high: float = 1.0,
    shades: Mapping[str, Sequence[str]] = SHADES,
    size: int = 12,
    **more: Any,
) -> list[dict[str, Any]]:
    """Shaded cells, and over each its text in black or white: Plotly's own texts are grey on light
    cells, and too faint on those half dark. A cell without a value shows the page.

    Args:
        matrix: The values.
        texts: Of the cells.
        low: The value of the first shade.
        high: The value of the last shade.
        shades: For each theme.
        size: Of the texts, in pixels.
        **more: What the heat map has besides.
    """
    values = matrix.to_numpy(dtype=float, na_value=float("nan")).ravel()
    looks: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for theme in shades:
        colours = [
            INK[theme]
            if math.isnan(value)
            else on_shade((value - low) / ((high - low) or 1.0), shades[theme])
            for value in values
        ]
        font = {"size": size, "color": colours}
        looks[theme] = {"colorscale": scale(shades[theme])}, {"textfont": font}
    x, y = [label(name) for name in matrix.columns], [label(name) for name in matrix.index]
    over: dict[str, Any] = {
        "type": "scatter",
        "x": [name for _ in y for name in x],
        "y": [name for name in y for _ in x],
        "text": [text for row in texts for text in row],
        "mode": "text",
        "hoverinfo": "skip",
        "showlegend": False,
    }
    below = _shades(matrix, zmin=low, zmax=high, **more)
    return [
        trace | light | {"meta": {"dark": dark}}
        for trace, light, dark in zip((below, over), looks["light"], looks["dark"], strict=True)
    ]
