"""Bars and dots with intervals: leaderboard, recall per genre, a verdict."""

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
from genrecore.reporting.plots.palette import RunStyle, genre_colours


def leaderboard(table: pd.DataFrame, styles: Mapping[str, RunStyle]) -> Chart:
    """Test accuracy of each run as a dot with its 95 % interval, the best on top.

    Args:
        table: `run_id, title, n_clips, accuracy, accuracy_low, accuracy_high`; where `n_runs` says
            that there are several, `seed_low, seed_high` are drawn as a broad band behind.
        styles: Of each run.
    """
    rows = table.sort_values("accuracy", ascending=False, kind="stable")
    names = _distinct([str(title) for title in rows["title"]])
    traces: list[dict[str, Any]] = []
    for name, row in zip(names, rows.to_dict("records"), strict=True):
        style = styles[row["run_id"]]
        traces.append(
            {
                "type": "scatter",
                "x": [row["accuracy"]],
                "y": [label(name)],
                "error_x": {
                    "type": "data",
                    "array": [row["accuracy_high"] - row["accuracy"]],
                    "arrayminus": [row["accuracy"] - row["accuracy_low"]],
                    "thickness": 2,
                    "width": 6,
                    "color": style.colour,
                },
                "mode": "markers+text",
                "text": [percent(row["accuracy"])],
                "textposition": "top center",
                "textfont": {"size": 12},
                "marker": {"size": 12, "color": style.colour, "symbol": style.marker},
                "showlegend": False,
                "hovertemplate": f"{label(name)}<br>{percent(row['accuracy'])} of "
                f"{row['n_clips']} clips<br>95 % interval {percent(row['accuracy_low'])} to "
                f"{percent(row['accuracy_high'])}<extra></extra>",
            }
        )
        traces += _seeds(row, label(name), style)
    figure = go.Figure({"data": traces})  # at one go: a store may hold a thousand runs
    laid_out(figure, "Test accuracy with 95 % intervals", 116 + 46 * len(rows))
    low = float(rows["accuracy_low"].min()) if len(rows) else 0.0
    figure.update_xaxes(
        title="Share of test clips recognised",
        tickformat=".0%",
        range=[max(0.0, np.floor(10 * low) / 10 - 0.02), 1.02],
    )
    figure.update_yaxes(
        showgrid=False, type="category", range=[len(rows) - 0.5, -0.8], tickfont_size=12
    )
    shown = pd.DataFrame(
        {
            "Run": rows["title"].to_list(),
            "Clips": rows["n_clips"].to_list(),
            "Accuracy": rows["accuracy"].to_list(),
            "from": rows["accuracy_low"].to_list(),
            "to": rows["accuracy_high"].to_list(),
        }
    )
    listed = "; ".join(
        f"{row['Run']} {percent(row['Accuracy'])} ({percent(row['from'])} to {percent(row['to'])})"
        for _, row in shown.iterrows()
    )
    return Chart(
        figure,
        f"Test accuracy of each run, best first: {listed}.",
        shown,
        ("Accuracy", "from", "to"),
    )


def _seeds(row: Mapping[Any, Any], name: str, style: RunStyle) -> list[dict[str, Any]]:
    """From the least to the most accurate run of a system."""
    if not row.get("n_runs", 1) > 1:
        return []
    return [
        {
            "type": "scatter",
            "x": [row["seed_low"], row["seed_high"]],
            "y": [name, name],
            "mode": "lines",
            "line": {"color": style.colour, "width": 14},
            "opacity": 0.25,
            "showlegend": False,
            "hovertemplate": f"{name}<br>its {row['n_runs']} tests: {percent(row['seed_low'])} to "
            f"{percent(row['seed_high'])}<extra></extra>",
        }
    ]


def per_genre(table: pd.DataFrame, styles: Mapping[str, RunStyle]) -> Chart:
    """Recall of each genre as bars with 95 % intervals, the runs side by side.

    One run is drawn in the colours of the genres, several in the colours and patterns of the runs.

    Args:
        table: `run_id, title, genre, n_clips, recall, recall_low, recall_high, f1`.
        styles: Of each run.
    """
    run_ids = list(dict.fromkeys(table["run_id"]))
    genres = sorted(table["genre"].unique())
    colours = genre_colours(genres)
    figure = go.Figure()
    for run_id in run_ids:
        part = table[table["run_id"] == run_id].set_index("genre").reindex(genres)
        style, title = styles[run_id], str(part["title"].dropna().iloc[0])
        alone = len(run_ids) == 1
        figure.add_bar(
            x=[label(genre) for genre in genres],
            y=part["recall"].tolist(),
            name=label(title),
            marker={
                "color": [colours[genre] for genre in genres] if alone else style.colour,
                "pattern": {
                    "shape": "" if alone else style.pattern,
                    "fillmode": "overlay",
                    "solidity": 0.22,
                    "size": 7,
                },
                "cornerradius": 3,
            },
            error_y={
                "type": "data",
                "array": (part["recall_high"] - part["recall"]).tolist(),
                "arrayminus": (part["recall"] - part["recall_low"]).tolist(),
                "thickness": 1.4,
                "width": 4,
                "color": GREY,
            },
            customdata=part[["n_clips", "recall_low", "recall_high", "f1"]].to_numpy().tolist(),
            hovertemplate=f"{label(title)}<br>%{{x}}: recall %{{y:.1%}} of %{{customdata[0]}} clips"
            "<br>95 % interval %{customdata[1]:.1%} to %{customdata[2]:.1%}"
            "<br>F1 %{customdata[3]:.3f}<extra></extra>",
            showlegend=not alone,
        )
    laid_out(
        figure,
        "Recall of each genre with 95 % intervals",
        360,
        legend=legend_below_title(),
        barmode="group",
        bargap=0.28,
        bargroupgap=0.08,
    )
    figure.update_layout(margin_t=46 if len(run_ids) == 1 else 66 + 20 * len(run_ids) // 2)
    figure.update_xaxes(showgrid=False, type="category")
    figure.update_yaxes(
        title="Share of the genre's clips recognised", tickformat=".0%", range=[0, 1.03]
    )
    shown = table.rename(
        columns={
            "title": "Run",
            "genre": "Genre",
            "n_clips": "Clips",
            "recall": "Recall",
            "recall_low": "from",
            "recall_high": "to",
            "f1": "F1",
        }
    ).drop(columns=["run_id"])
    words = []
    for run_id in run_ids:
        part = table[table["run_id"] == run_id].dropna(subset=["recall"])
        if len(part):
            best, worst = part.loc[part["recall"].idxmax()], part.loc[part["recall"].idxmin()]
            words.append(
                f"{part['title'].iloc[0]}: best {best['genre']} {percent(best['recall'])}, "
                f"worst {worst['genre']} {percent(worst['recall'])}"
            )
    return Chart(
        figure, f"Recall of each genre. {'; '.join(words)}.", shown, ("Recall", "from", "to")
    )


def verdict(genres: Sequence[str], proba: Sequence[float]) -> Chart:
    """A verdict as horizontal bars, the most likely genre on top.

    Args:
        genres: In the order of `proba`.
        proba: One probability a genre, 0 … 1.
    """
    order = np.argsort(-np.asarray(proba, dtype=float), kind="stable")
    names = [genres[i] for i in order]
    values = [float(proba[i]) for i in order]
    colours = genre_colours(genres)
    figure = go.Figure(
        go.Bar(
            x=values,
            y=[label(name) for name in names],
            orientation="h",
            marker={"color": [colours[name] for name in names], "cornerradius": 3},
            text=[percent(value) for value in values],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.1%}<extra></extra>",
        )
    )
    laid_out(figure, "Verdict for the whole clip", 90 + 30 * len(names), bargap=0.3)
    figure.update_xaxes(
        title="Probability",
        tickformat=".0%",
        range=[0, 1.14],
        tickvals=[0, 0.25, 0.5, 0.75, 1],
        tickangle=0,
    )
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category")
    listed = ", ".join(f"{n} {percent(v)}" for n, v in zip(names[:3], values[:3], strict=True))
    return Chart(
        figure,
        f"Bars of the probability of each genre: {listed} and less for the others.",
        pd.DataFrame({"Genre": names, "Probability": values}),
        ("Probability",),
    )


def _distinct(names: list[str]) -> list[str]:
    """Names made distinct, since bars and dots of one name would share a row."""
    seen: dict[str, int] = {}
    distinct = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        distinct.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return distinct
