"""What several runs say of one clip, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from genrecore.reporting.plots.chart import Chart, label, laid_out, percent
from genrecore.reporting.plots.palette import genre_colours

_MOST = 12  # genres that are shown


def panel_verdict(
    genres: Sequence[str], titles: Sequence[str], proba: np.ndarray, average: np.ndarray
) -> Chart:
    """Bars of every run's probabilities in columns of their own, the average first; genres stand in
    the order of the average.

    Args:
        genres: Of all the runs.
        titles: Of the runs.
        proba: (runs, genres).
        average: (genres,).
    """
    order = np.argsort(-average, kind="stable")[:_MOST]
    names = [genres[k] for k in order]
    colours = genre_colours(genres)
    columns = [("Average", average), *zip(titles, proba, strict=True)]
    figure = make_subplots(
        rows=1,
        cols=len(columns),
        shared_yaxes=True,
        horizontal_spacing=0.02,
        subplot_titles=[_broken(title) for title, _ in columns],
    )
    for k, (title, values) in enumerate(columns, start=1):
        figure.add_trace(
            go.Bar(
                x=[float(values[place]) for place in order],
                y=[label(name) for name in names],
                orientation="h",
                marker={"color": [colours[name] for name in names], "cornerradius": 3},
                text=[f"{100 * values[place]:.0f} %" for place in order],
                textposition="outside",
                cliponaxis=False,
                hovertemplate=f"{label(title)}<br>%{{y}}: %{{x:.1%}}<extra></extra>",
                showlegend=False,
            ),
            row=1,
            col=k,
        )
    laid_out(figure, "Verdicts side by side", 130 + 28 * len(names), bargap=0.3)
    figure.update_layout(margin_t=86)
    figure.update_xaxes(range=[0, 1.35], tickvals=[0, 0.5, 1], tickformat=".0%")
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category")
    figure.update_annotations(font_size=12, yshift=4)
    best = [
        f"{title} says {genres[int(values.argmax())]} with {percent(values.max())}"
        for title, values in columns[1:]
    ]
    table = pd.DataFrame({"Genre": names} | {title: values[order] for title, values in columns})
    return Chart(
        figure,
        f"Bars of the probability of each genre by run. {'; '.join(best)}. "
        f"On average {names[0]} with {percent(average[order[0]])}.",
        table,
        tuple(title for title, _ in columns),
    )


def _broken(title: str) -> str:
    """A run's title over several lines: columns are narrow."""
    return "<br>".join(label(part) for part in title.split(" · "))
