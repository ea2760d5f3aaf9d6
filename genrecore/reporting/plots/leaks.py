"""The effect of a leak: accuracies with and without it and the gap, also by genre."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from genrecore.experiments.leaks import LeakGap
from genrecore.reporting.plots.bars import accuracy_dot, draw_genres
from genrecore.reporting.plots.chart import (
    GREY,
    Chart,
    draw,
    label,
    named,
    names_axis,
    pattern,
    whiskers,
)
from genrecore.reporting.plots.palette import BLUE, RUST, RunStyle
from genrecore.words import percent, points, signed_points

LOOKS = {
    "leaky": ("By clip: artists shared", RunStyle(RUST, "diamond", "/")),
    "clean": ("By artist: artists apart", RunStyle(BLUE, "circle", "")),
}
_GAP = "What the leak adds"


def accuracies(gap: LeakGap) -> Chart:
    """Both accuracies with their intervals, and the gap as a bar from the one to the other.

    The gap's interval is drawn where the bar would end, so that all three share one axis.

    Args:
        gap: Result of a leak experiment.
    """
    traces: list[dict[str, Any]] = []
    for side, (name, style) in LOOKS.items():
        value, low, high = (getattr(gap, f"{side}{end}") for end in ("", "_low", "_high"))
        traces.append(accuracy_dot(name, value, low, high, gap.n_clips, style))
    gap_points = points(gap.difference)
    ends = f"{signed_points(gap.low)} to {signed_points(gap.high)}"
    bar = {
        "type": "bar",
        "x": [gap.difference],
        "base": [gap.clean],
        "y": [_GAP],
        "orientation": "h",
        "width": 0.34,
        "marker": {"color": RUST, "opacity": 0.5, "cornerradius": 3},  # so that whiskers are seen
        "showlegend": False,
        "hovertemplate": f"{_GAP}<br>{gap_points}<br>95 % interval {ends}<extra></extra>",
    }
    # The whiskers of a bar that does not start at 0 would be misplaced: they get a point.
    end, low, high = (gap.clean + value for value in (gap.difference, gap.low, gap.high))
    point = {
        "type": "scatter",
        "x": [end],
        "y": [_GAP],
        "error_x": whiskers([end], [low], [high], GREY),
        "mode": "markers",
        "marker": {"size": 1, "color": GREY},
        "showlegend": False,
        "hoverinfo": "skip",
    }
    least = min(gap.clean_low, gap.leaky_low, gap.clean + min(0.0, gap.low))
    names = [*(name for name, _ in LOOKS.values()), _GAP]
    figure = draw(
        [*traces, bar, point],
        "The same clips split in two ways",
        310,
        {
            "title": "Share of clips recognised",
            "tickformat": ".0%",
            "range": [max(0.0, np.floor(10 * least) / 10 - 0.02), max(1.0, high) + 0.03],
        },
        names_axis(names, range=[2.95, -0.75], tickfont={"size": 13}),
    )
    figure.add_annotation(
        x=(gap.clean + gap.leaky) / 2,
        y=_GAP,
        text=f"{gap_points} ({ends})",
        yshift=-27,  # below the bar, where no line crosses it
        showarrow=False,
        font_size=13,
    )
    for row, value in enumerate((gap.leaky, gap.clean)):  # down to the bar between the two
        figure.add_shape(
            type="line",
            x0=value,
            x1=value,
            y0=row,
            y1=2,
            line={"color": GREY, "width": 1, "dash": "dot"},
            layer="below",
        )
    values = [gap.leaky, gap.clean, gap.difference]
    table = pd.DataFrame(
        {
            "What": names,
            "Clips": gap.n_clips,
            "Share": values,
            "from": [gap.leaky_low, gap.clean_low, gap.low],
            "to": [gap.leaky_high, gap.clean_high, gap.high],
        }
    )
    return Chart(
        figure,
        f"Accuracy by clip {percent(gap.leaky)} ({percent(gap.leaky_low)} to "
        f"{percent(gap.leaky_high)}), by artist {percent(gap.clean)} "
        f"({percent(gap.clean_low)} to {percent(gap.clean_high)}); the gap is {gap_points} "
        f"({ends}).",
        table,
        ("Share", "from", "to"),
    )


def genres(gap: LeakGap) -> Chart:
    """Both accuracies of each genre as bars with 95 % intervals, the largest gap first.

    Args:
        gap: Result of a leak experiment.
    """
    table = gap.per_genre.assign(difference=gap.per_genre["leaky"] - gap.per_genre["clean"])
    table = table.sort_values(["difference", "genre"], ascending=[False, True], ignore_index=True)
    bars = []
    for side, (name, style) in LOOKS.items():
        low, high = table[f"{side}_low"], table[f"{side}_high"]
        bars.append(
            {
                "type": "bar",
                "x": [label(genre) for genre in table["genre"]],
                "y": table[side].tolist(),
                "name": name,
                "marker": {
                    "color": style.colour,
                    "cornerradius": 3,
                    "pattern": pattern(style.pattern, 8, 0.15),
                },
                "error_y": whiskers(table[side], low, high, GREY, thickness=1.4),
                "customdata": [
                    [n, percent(least), percent(most)]
                    for n, least, most in zip(table["n_clips"], low, high, strict=True)
                ],
                "hovertemplate": f"%{{x}}, {name}<br>%{{y:.1%}} of %{{customdata[0]}} clips"
                "<br>95 % interval %{customdata[1]} to %{customdata[2]}<extra></extra>",
            }
        )
    title = "Accuracy of each genre, largest gap first"
    figure = draw_genres(bars, title, 380, 84)
    titles = {"genre": "Genre", "n_clips": "Clips", "leaky": "By clip", "clean": "By artist"}
    numbers = named(table, titles | {"difference": "Gap"})
    first, last = table.iloc[0], table.iloc[-1]
    alt = "Bars of the accuracy of each genre by clip and by artist. The gap is largest for "
    alt += f"{_both(first)} and smallest for {_both(last)}."
    return Chart(figure, alt, numbers, ("By clip", "By artist", "Gap"))


def _both(row: pd.Series) -> str:
    return f"{row['genre']} ({percent(row['leaky'])} and {percent(row['clean'])})"
