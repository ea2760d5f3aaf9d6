"""Confusion matrices, all on one scale: the share of a genre's clips, 0 to 100 %."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from genrecore.plots.chart import Chart, label, laid_out

_FRAME = "#ec7350"  # stands out from every shade in both themes


def confusion(
    matrix: pd.DataFrame, title: str, picked: tuple[str, str] | None = None, targets: bool = False
) -> Chart:
    """A confusion matrix: rows are the labels, columns what was predicted.

    Args:
        matrix: Counts of clips, labelled × predicted, both indexed by genre. A cell's shade is its
            share of the row (0 … 1, the same scale in every matrix), its text the count.
        title: Written above.
        picked: Labelled and predicted genre of a cell that is framed.
        targets: Whether a click on a cell selects a point with (labelled, predicted) as its data.
            A heatmap itself reports no clicks.
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
            text=[[str(n) if n else "" for n in row] for row in matrix.to_numpy().tolist()],
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
