"""Confusion matrices, all on one scale: the share of a genre's clips, 0 to 100 %."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from genrecore.reporting.plots.chart import Chart, label, laid_out

_FRAME = "#ec7350"  # stands out from every shade in both themes


def confusion(
    matrix: pd.DataFrame,
    title: str,
    picked: tuple[str, str] | None = None,
    targets: bool = False,
    percents: bool = False,
) -> Chart:
    """A confusion matrix: rows are the labels, columns what was predicted.

    Args:
        matrix: Counts of clips, labelled × predicted, both indexed by genre. A cell's shade is its
            share of the row (0 … 1, the same scale in every matrix), its text the count.
        title: Written above.
        picked: Labelled and predicted genre of a cell that is framed.
        targets: Whether a click on a cell selects a point with (labelled, predicted) as its data.
            A heatmap itself reports no clicks.
        percents: Whether a cell's text is its share of the row, in per cent, not the count.
    """
    totals = matrix.sum(axis=1)
    shares = matrix.div(totals.where(totals > 0), axis=0)
    genres = [label(name) for name in matrix.columns]
    figure = go.Figure(
        go.Heatmap(
            z=shares.round(4).to_numpy(dtype=float, na_value=float("nan")).tolist(),
            x=genres,
            y=[label(name) for name in matrix.index],
            customdata=matrix.to_numpy().tolist(),
            text=_texts(shares if percents else matrix, percents),
            texttemplate="%{text}",
            zmin=0,
            zmax=1,
            xgap=2,
            ygap=2,
            colorbar={
                "title": {"text": "Share of<br>the genre", "font": {"size": 11}},
                "tickformat": ".0%",
                "thickness": 10,
                "outlinewidth": 0,
                "tickfont": {"size": 11},
            },
            hovertemplate="labelled %{y}, predicted %{x}<br>%{customdata} clips,"
            " %{z:.1%} of the genre<extra></extra>",
        )
    )
    laid_out(figure, label(title), 120 + 34 * max(len(genres), 4))
    figure.update_xaxes(title="Predicted", showgrid=False, tickangle=-45, type="category")
    figure.update_yaxes(title="Labelled", showgrid=False, autorange="reversed", type="category")
    if targets:
        _add_targets(figure, matrix)
    if picked is not None and picked[0] in matrix.index and picked[1] in matrix.columns:
        row, column = list(matrix.index).index(picked[0]), list(matrix.columns).index(picked[1])
        place = {"x0": column - 0.5, "x1": column + 0.5, "y0": row - 0.5, "y1": row + 0.5}
        figure.add_shape(type="rect", line={"width": 3, "color": _FRAME}, **place)
    table = matrix.rename_axis(index="Labelled ↓ predicted →", columns=None).reset_index()
    return Chart(figure, _in_words(matrix, title), table)


def _texts(values: pd.DataFrame, percents: bool) -> list[list[str]]:
    scale = 100 if percents else 1
    rows = np.nan_to_num(values.to_numpy(dtype=float)) * scale
    return [[f"{n:.0f}" if n >= 0.5 else "" for n in row] for row in rows.tolist()]


def confusions(
    matrices: Mapping[str, pd.DataFrame], percents: bool = True, across: int = 4
) -> Chart:
    """Many confusion matrices, small, side by side on one colour scale; rows are the labels.

    Args:
        matrices: Labelled × predicted counts by what each is called.
        percents: Whether a cell is its share of the row; else the count, the scale reaching to the
            greatest of all matrices.
        across: How many beside one another.
    """
    n_rows = math.ceil(len(matrices) / across)
    height = 96 + 236 * n_rows
    figure = make_subplots(
        rows=n_rows,
        cols=across,
        subplot_titles=[label(_folded(title)) for title in matrices],
        horizontal_spacing=0.025,
        vertical_spacing=min(0.5, 52 / height),
        shared_xaxes=True,
        shared_yaxes="all",
    )
    tables = []
    for place, (title, matrix) in enumerate(matrices.items()):
        totals = matrix.sum(axis=1)
        values = matrix.div(totals.where(totals > 0), axis=0) if percents else matrix
        number = "%{z:.1%} of the genre" if percents else "%{z} clips"
        figure.add_heatmap(
            z=values.to_numpy(dtype=float, na_value=float("nan")).tolist(),
            x=[label(name) for name in matrix.columns],
            y=[label(name) for name in matrix.index],
            coloraxis="coloraxis",
            xgap=1,
            ygap=1,
            hovertemplate=f"{label(title)}<br>labelled %{{y}}, predicted %{{x}}<br>{number}"
            "<extra></extra>",
            row=place // across + 1,
            col=place % across + 1,
        )
        tables.append(
            matrix.rename_axis(index="Labelled ↓ predicted →", columns=None)
            .reset_index()
            .assign(Run=title)
        )
    laid_out(figure, f"Confusions, {'share of the genre' if percents else 'clips'}", height)
    figure.update_layout(
        margin_t=72,
        coloraxis={
            "cmin": 0,
            "cmax": 1 if percents else max(int(m.to_numpy().max()) for m in matrices.values()),
            "colorbar": {
                "title": {"text": "Share of<br>the genre" if percents else "Clips"},
                "tickformat": ".0%" if percents else "d",
                "thickness": 10,
                "outlinewidth": 0,
                "len": min(1.0, 300 / height),
                "y": 1,
                "yanchor": "top",
            },
        },
    )
    figure.update_xaxes(showgrid=False, tickangle=-60, tickfont_size=10, type="category")
    figure.update_yaxes(showgrid=False, autorange="reversed", tickfont_size=10, type="category")
    figure.update_annotations(font_size=11)
    table = pd.concat(tables, ignore_index=True)
    words = "; ".join(
        f"{title}: {int(np.trace(matrix.to_numpy()))} of {int(matrix.to_numpy().sum())} right"
        for title, matrix in matrices.items()
    )
    front = ["Run", *(name for name in table.columns if name != "Run")]
    return Chart(figure, f"{len(matrices)} confusion matrices. {words}.", table[front])


def _folded(title: str, most: int = 26) -> str:
    """A title short enough to stand above a small matrix."""
    return title if len(title) <= most else f"{title[: most - 7]}…{title[-6:]}"


def _add_targets(figure: go.Figure, matrix: pd.DataFrame) -> None:
    cells = [(row, column) for row in matrix.index for column in matrix.columns]
    counts = matrix.to_numpy().ravel().tolist()
    shares = [share for line in figure.data[0].z for share in line]
    figure.update_traces({"hoverinfo": "skip", "hovertemplate": None}, selector=0)
    figure.add_scatter(
        x=[label(column) for _, column in cells],
        y=[label(row) for row, _ in cells],
        mode="markers",
        marker={"size": 22, "opacity": 0, "symbol": "square"},
        selected={"marker": {"opacity": 0}},
        unselected={"marker": {"opacity": 0}},
        customdata=[
            [str(row), str(column), n, share]
            for (row, column), n, share in zip(cells, counts, shares, strict=True)
        ],
        hovertemplate="labelled %{y}, predicted %{x}<br>%{customdata[2]} clips,"
        " %{customdata[3]:.1%} of the genre<br>click to hear them<extra></extra>",
        showlegend=False,
    )
    figure.update_layout(hoverdistance=-1, clickmode="event+select", dragmode=False)


def _in_words(matrix: pd.DataFrame, title: str) -> str:
    counts = matrix.to_numpy(dtype=int)
    right = int(np.trace(counts))
    words = f"Confusion matrix, {title}: {right} of {int(counts.sum())} clips are right."
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    if wrong.any():
        row, column = divmod(int(wrong.argmax()), wrong.shape[1])
        words += (
            f" The most frequent mistake: {matrix.index[row]} taken for "
            f"{matrix.columns[column]}, {wrong[row, column]} clips."
        )
    return words
