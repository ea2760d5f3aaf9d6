"""Confusion matrices, all on one scale: the share of a genre's clips, 0 to 100 %."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from genrecore.plots.chart import Chart, label, laid_out


def confusion(matrix: pd.DataFrame, title: str) -> Chart:
    """A confusion matrix: rows are the labels, columns what was predicted.

    Args:
        matrix: Counts of clips, labelled × predicted, both indexed by genre. A cell's shade is its
            share of the row (0 … 1, the same scale in every matrix), its text the count.
        title: Written above.
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
    table = matrix.rename_axis(index="Labelled ↓ predicted →", columns=None).reset_index()
    return Chart(figure, _in_words(matrix, title), table)


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
