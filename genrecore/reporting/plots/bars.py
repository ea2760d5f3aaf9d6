"""Bars and dots with intervals: leaderboard, recall per genre, predictions of one clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from genrecore.evaluation.comparison import distinct
from genrecore.reporting.plots.chart import (
    GREY,
    PERCENTS,
    TOP,
    Chart,
    draw,
    label,
    lay_out_subplots,
    legend_below_title,
    named,
    names_axis,
    pattern,
    whiskers,
    with_hover_in_words,
)
from genrecore.reporting.plots.palette import RunStyle, genre_colours
from genrecore.words import percent, thousands

_MAX_GENRES = 12  # in charts of several runs side by side


def accuracy_dot(
    name: str,
    value: float,
    low: float,
    high: float,
    n_clips: int,
    style: RunStyle,
    warning: str = "",
) -> dict[str, Any]:
    """A dot with its 95 % interval and its number, on the row of its name; hollow where a warning
    belongs to it."""
    marker = {"size": 12, "color": style.colour, "symbol": style.marker}
    if warning:
        marker |= {"symbol": f"{style.marker}-open", "line": {"width": 2.5}}
    return {
        "type": "scatter",
        "x": [value],
        "y": [name],
        "error_x": whiskers([value], [low], [high], style.colour),
        "mode": "markers+text",
        "text": [percent(value)],
        "textposition": "top center",
        "textfont": {"size": 12},
        "marker": marker,
        "showlegend": False,
        "hovertemplate": f"{name}<br>{percent(value)} of {thousands(n_clips)} clips"
        f"<br>95 % interval {percent(low)} to {percent(high)}"
        f"{f'<br>{label(warning)}' if warning else ''}<extra></extra>",
    }


def leaderboard(table: pd.DataFrame, styles: Mapping[str, RunStyle]) -> Chart:
    """Test accuracy of each run as a dot with its 95 % interval, the best on top; a run with a
    warning has a hollow one.

    Args:
        table: `run_id, title, n_clips, accuracy, accuracy_low, accuracy_high`; where `n_runs` says
            that there are several, `seed_low, seed_high` are drawn as a broad band behind; where
            there is a `badge`, it is the warning.
        styles: Style of each run.
    """
    rows = table.sort_values("accuracy", ascending=False, kind="stable")
    names = distinct([str(title) for title in rows["title"]])  # of one name they would share a row
    traces: list[dict[str, Any]] = []
    for name, row in zip(names, rows.to_dict("records"), strict=True):
        style = styles[row["run_id"]]
        ends = row["accuracy"], row["accuracy_low"], row["accuracy_high"]
        warning = str(row.get("badge") or "")
        traces.append(accuracy_dot(label(name), *ends, row["n_clips"], style, warning))
        if row.get("n_runs", 1) > 1:
            traces.append(_seed_band(row, label(name), style))
    low = float(rows["accuracy_low"].min()) if len(rows) else 0.0
    figure = draw(
        traces,
        "Test accuracy with 95 % intervals",
        116 + 46 * len(rows),
        {
            "title": "Share of test clips recognised",
            "tickformat": ".0%",
            "range": [max(0.0, np.floor(10 * low) / 10 - 0.02), 1.02],
        },
        {
            "showgrid": False,
            "type": "category",
            "range": [len(rows) - 0.5, -0.8],
            "tickfont": {"size": 12},
        },
    )
    titles = {"title": "Run", "n_clips": "Clips", "accuracy": "Accuracy"}
    numbers = named(rows, titles | {"accuracy_low": "from", "accuracy_high": "to"})
    runs = "; ".join(
        f"{row['Run']} {percent(row['Accuracy'])} ({percent(row['from'])} to {percent(row['to'])})"
        for row in numbers.to_dict("records")
    )
    alt = f"Test accuracy of each run, best first: {runs}."
    return Chart(figure, alt, numbers, ("Accuracy", "from", "to"))


def _seed_band(row: Mapping[Any, Any], name: str, style: RunStyle) -> dict[str, Any]:
    """From the least to the most accurate test of a system."""
    low, high = row["seed_low"], row["seed_high"]
    return {
        "type": "scatter",
        "x": [low, high],
        "y": [name, name],
        "mode": "lines",
        "line": {"color": style.colour, "width": 14},
        "opacity": 0.25,
        "showlegend": False,
        "hovertemplate": f"{name}<br>its {row['n_runs']} tests: {percent(low)} to {percent(high)}"
        "<extra></extra>",
    }


def per_genre(table: pd.DataFrame, styles: Mapping[str, RunStyle]) -> Chart:
    """Recall of each genre as bars with 95 % intervals, the runs side by side.

    One run is drawn in the colours of the genres, several in the colours and patterns of the runs.

    Args:
        table: `run_id, title, genre, n_clips, recall, recall_low, recall_high, f1`.
        styles: Style of each run.
    """
    run_ids = list(dict.fromkeys(table["run_id"]))
    genres = sorted(table["genre"].unique())
    colours = genre_colours(genres)
    is_single = len(run_ids) == 1
    bars, extremes = [], []
    for run_id in run_ids:
        rows = table[table["run_id"] == run_id].set_index("genre").reindex(genres)
        style, title = styles[run_id], str(rows["title"].dropna().iloc[0])
        ends = rows["recall_low"], rows["recall_high"]
        bars.append(
            {
                "type": "bar",
                "x": [label(genre) for genre in genres],
                "y": rows["recall"].tolist(),
                "name": label(title),
                "marker": {
                    "color": [colours[genre] for genre in genres] if is_single else style.colour,
                    "pattern": pattern("" if is_single else style.pattern, 7, 0.22),
                    "cornerradius": 3,
                },
                "error_y": whiskers(rows["recall"], *ends, GREY, thickness=1.4, width=4),
                "customdata": [
                    [n, percent(low), percent(high), f1]
                    for n, low, high, f1 in zip(rows["n_clips"], *ends, rows["f1"], strict=True)
                ],
                "hovertemplate": f"{label(title)}<br>%{{x}}: recall %{{y:.1%}} of "
                "%{customdata[0]} clips"
                "<br>95 % interval %{customdata[1]} to %{customdata[2]}"
                "<br>F1 %{customdata[3]:.3f}<extra></extra>",
                "showlegend": not is_single,
            }
        )
        recall = rows["recall"].dropna()
        if len(recall):
            best, worst = recall.idxmax(), recall.idxmin()
            extremes.append(
                f"{title}: best {best} {percent(recall[best])}, "
                f"worst {worst} {percent(recall[worst])}"
            )
    top = TOP if is_single else 66 + 20 * len(run_ids) // 2
    figure = draw_genres(bars, "Recall of each genre with 95 % intervals", 360, top)
    titles = {"recall_low": "from", "recall_high": "to", "f1": "F1"}
    titles |= {name: name.capitalize() for name in ("genre", "recall", "precision")}
    numbers = table.rename(columns={"title": "Run", "n_clips": "Clips"} | titles)
    alt = f"Recall of each genre. {'; '.join(extremes)}."
    return Chart(figure, alt, numbers.drop(columns=["run_id"]), ("Recall", "from", "to"))


def draw_genres(bars: Sequence[Any], title: str, height: int, top: int) -> go.Figure:
    """A figure of bars of shares side by side, a group for each genre; arguments as of `draw`."""
    along = {"showgrid": False, "type": "category"}
    title_of_y = "Share of the genre's clips recognised"
    upward = {"title": title_of_y, "tickformat": ".0%", "range": [0, 1.03]}
    group = {"legend": legend_below_title(), "barmode": "group", "bargap": 0.28}
    return draw(bars, title, height, along, upward, top, bargroupgap=0.08, **group)


def probabilities(genres: Sequence[str], proba: Sequence[float]) -> Chart:
    """The probabilities of one clip as horizontal bars, the most probable genre on top.

    Args:
        genres: In the order of `proba`.
        proba: One probability a genre, 0 … 1.
    """
    order = np.argsort(-np.asarray(proba, dtype=float), kind="stable")
    names = [genres[i] for i in order]
    values = [float(proba[i]) for i in order]
    texts = [percent(value) for value in values]
    bars = _genre_bars(names, values, texts, genre_colours(genres))
    ticks = {"tickvals": [0, 0.25, 0.5, 0.75, 1], "tickangle": 0, "tickformat": ".0%"}
    along = {"title": "Probability", "range": [0, 1.14]} | ticks
    title, height = "Prediction for the whole clip", 90 + 30 * len(names)
    figure = draw([bars], title, height, along, names_axis(), bargap=0.3)
    first = ", ".join(f"{n} {percent(v)}" for n, v in zip(names[:3], values[:3], strict=True))
    alt = f"Bars of the probability of each genre: {first} and less for the others."
    table = pd.DataFrame({"Genre": names, "Probability": values})
    return Chart(figure, alt, table, ("Probability",))


def probabilities_side_by_side(
    genres: Sequence[str], titles: Sequence[str], proba: np.ndarray, average: np.ndarray
) -> Chart:
    """The probabilities of one clip by several runs in columns of their own, the average first;
    genres are in the order of the average.

    Args:
        genres: The genres of all the runs.
        titles: Titles of the runs.
        proba: (runs, genres).
        average: (genres,).
    """
    order = np.argsort(-average, kind="stable")[:_MAX_GENRES]
    names = [genres[k] for k in order]
    columns = [("Average", average), *zip(titles, proba, strict=True)]
    figure = make_subplots(
        rows=1,
        cols=len(columns),
        shared_yaxes=True,
        horizontal_spacing=0.02,
        # Columns are narrow: a title takes several lines.
        subplot_titles=["<br>".join(map(label, title.split(" · "))) for title, _ in columns],
    )
    for k, (title, values) in enumerate(columns, start=1):
        sorted_values = [float(values[i]) for i in order]
        texts = [f"{100 * value:.0f} %" for value in sorted_values]
        bars = _genre_bars(
            names, sorted_values, texts, genre_colours(genres), f"{label(title)}<br>"
        )
        bars = with_hover_in_words(bars)
        figure.add_trace(bars | {"showlegend": False}, row=1, col=k)
    height = 130 + 28 * len(names)
    lay_out_subplots(figure, "Predictions side by side", height, 86, bargap=0.3)
    figure.update_xaxes(
        range=[0, 1.35], tickvals=[0, 0.5, 1], tickformat=".0%", labelalias=PERCENTS
    )
    figure.update_yaxes(names_axis())
    figure.update_annotations(font_size=12, yshift=4)
    best = "; ".join(
        f"{title} says {genres[int(values.argmax())]} with {percent(values.max())}"
        for title, values in columns[1:]
    )
    table = pd.DataFrame({"Genre": names} | {title: values[order] for title, values in columns})
    alt = f"Bars of the probability of each genre by run. {best}. On average {names[0]} with "
    alt += f"{percent(average[order[0]])}."
    return Chart(figure, alt, table, tuple(title for title, _ in columns))


def _genre_bars(
    names: Sequence[str],
    values: Sequence[float],
    texts: Sequence[str],
    colours: Mapping[str, str],
    hover: str = "",
) -> dict[str, Any]:
    return {
        "type": "bar",
        "x": values,
        "y": [label(name) for name in names],
        "orientation": "h",
        "marker": {"color": [colours[name] for name in names], "cornerradius": 3},
        "text": texts,
        "textposition": "outside",
        "cliponaxis": False,
        "hovertemplate": f"{hover}%{{y}}: %{{x:.1%}}<extra></extra>",
    }
