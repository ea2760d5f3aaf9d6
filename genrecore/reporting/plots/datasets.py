"""Clips, lengths and artists of a dataset, and its splits; all from clip tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from genrecore.data.clips import SPLITS, genres_of
from genrecore.reporting.plots.chart import (
    Chart,
    draw,
    label,
    legend_below_title,
    names_axis,
    pattern,
)
from genrecore.reporting.plots.palette import genre_colours
from genrecore.words import decimals, thousands

MAX_BARS = 40
"""Genres drawn; the table of numbers has them all."""

MAX_ARTISTS = 20
"""Artists drawn; the table of numbers has them all."""

ARTIST_COLOUR = "#75608f"  # an artist has no colour of their own
_LENGTH_COLOUR = "#7a6cc0"
_N_BINS = 24
_MIN_BIN_S = 0.1  # finer differences are those of encoders, not of music
# Colour and pattern say the same twice, so that print and any eye can follow.
_PART_LOOKS = {
    "train": ("training", "#606ccc", ""),
    "valid": ("validation", "#ec7350", "/"),
    "test": ("test", "#00a86c", "x"),
}

_CLIPS_AXIS = {"title": "Clips", "rangemode": "tozero"}
# By column of a clip table: title, noun, plural, and how many are drawn.
_GROUPS = {
    "genre": ("Genre", "genre", "genres", MAX_BARS),
    "artist": ("Artist", "artist", "artists", MAX_ARTISTS),
    "split": ("Part", "part of the split", "parts", MAX_BARS),
}


def clips_per_genre(clips: pd.DataFrame) -> Chart:
    """How many clips each genre has, the largest on top.

    Args:
        clips: A clip table.
    """
    counts = clips["genre"].value_counts()
    table = pd.DataFrame({"Genre": counts.index.astype(str), "Clips": counts.to_numpy(dtype=int)})
    table = _largest_first(table, "Clips", "Genre")
    total = int(table["Clips"].sum())
    alt = f"Clips of each genre, {total} in all: {_first_rows(table, 'Clips')}."
    return Chart(_bars(table, "Clips", "Clips of each genre"), alt, table)


def artists_per_genre(clips: pd.DataFrame) -> Chart:
    """How many artists each genre has; the table also counts clips of unknown artists.

    Args:
        clips: A clip table.
    """
    grouped = clips.groupby("genre", sort=True)["artist"]
    table = pd.DataFrame(
        {
            "Artists": grouped.nunique(),
            "Clips": grouped.size(),
            "Clips without an artist": grouped.size() - grouped.count(),
        }
    )
    table.insert(0, "Genre", table.index.astype(str))
    table = _largest_first(table, "Artists", "Genre")
    alt = f"Known artists of each genre: {_first_rows(table, 'Artists')}."
    return Chart(_bars(table, "Artists", "Artists of each genre"), alt, table)


def clips_per_artist(clips: pd.DataFrame) -> Chart:
    """How many clips the artists with most of them have; the table has every artist.

    Args:
        clips: A clip table.
    """
    with_artist = clips[clips["artist"].notna()]
    grouped = with_artist.groupby("artist", sort=True)
    table = pd.DataFrame(
        {
            "Artist": list(grouped.groups),
            "Clips": grouped.size().to_numpy(dtype=int),
            "Genres": grouped["genre"].agg(lambda names: ", ".join(sorted(set(names)))).to_list(),
        }
    )
    table = _largest_first(table, "Clips", "Artist")
    n_unknown = len(clips) - len(with_artist)
    unknown = f" {n_unknown} clips are of unknown artists." if n_unknown else ""
    first = _first_rows(table, "Clips", "Artist", "artists")
    alt = f"Clips of each artist, {len(table)} artists in all: {first}.{unknown}"
    colours = [ARTIST_COLOUR] * len(table)
    figure = _bars(table, "Clips", "Clips of each artist", "Artist", colours, MAX_ARTISTS)
    return Chart(figure, alt, table)


def minutes(clips: pd.DataFrame, by: str) -> Chart:
    """Minutes of music of each genre, artist or split; the table also has lengths of clips.

    The group with most clips is on top, as in the chart of clips beside it; splits keep their own
    order.

    Args:
        clips: A clip table, or its columns `duration_s` and `by`; unknown lengths are left out.
        by: `genre`, `artist` or `split`.
    """
    with_length = clips[clips["duration_s"].notna() & clips[by].notna()]
    grouped = with_length.groupby(by, sort=True, observed=True)["duration_s"]
    title, noun, nouns, most = _GROUPS[by]
    table = pd.DataFrame(
        {
            title: [str(name) for name in grouped.groups],
            "Minutes": (grouped.sum() / 60).round(1).to_numpy(),
            "Clips": grouped.size().to_numpy(dtype=int),
            "Shortest (s)": grouped.min().round(2).to_numpy(),
            "Median (s)": grouped.median().round(2).to_numpy(),
            "Longest (s)": grouped.max().round(2).to_numpy(),
        }
    )
    if by == "split":
        table = table.set_index(title).reindex([p for p in SPLITS if p in grouped.groups])
        looks = [_PART_LOOKS[part] for part in table.index]
        table.insert(0, title, [name for name, *_ in looks])
        table = table.reset_index(drop=True)
        colours, patterns = [look[1] for look in looks], [look[2] for look in looks]
    else:
        table = _largest_first(table, "Clips", title)
        colours = _colours_of(table[title]) if by == "genre" else [ARTIST_COLOUR] * len(table)
        patterns = [""] * len(table)
    figure = _bars(table, "Minutes", f"Minutes of each {noun}", title, colours, most)
    spread = ["Clips", "Shortest (s)", "Median (s)", "Longest (s)"]
    figure.update_traces(
        customdata=table[spread].head(most).to_numpy().tolist(),
        hovertemplate="%{y}: %{x:,} minutes in %{customdata[0]:,} clips of %{customdata[1]} to "
        "%{customdata[3]} s, median %{customdata[2]} s<extra></extra>",
        marker_pattern=pattern(patterns[:most]),
    )
    alt = f"Minutes of music of each {noun}: {_first_rows(table, 'Minutes', title, nouns)}."
    return Chart(figure, alt, table)


def durations(clips: pd.DataFrame) -> Chart:
    """How long the clips are: a histogram of the lengths that are known.

    Args:
        clips: A clip table.
    """
    lengths_s = clips["duration_s"].dropna().to_numpy(dtype=float)
    counts, edges = _histogram(lengths_s)
    centre = (edges[:-1] + edges[1:]) / 2
    bars = {
        "type": "bar",
        "x": centre.round(4).tolist(),
        "y": counts.tolist(),
        "width": (np.diff(edges) * 0.94).round(5).tolist(),
        "marker": {"color": _LENGTH_COLOUR, "cornerradius": 2},
        "customdata": np.column_stack([edges[:-1], edges[1:]]).round(2).tolist(),
        "hovertemplate": "%{customdata[0]} to %{customdata[1]} s: %{y:,} clips<extra></extra>",
        "showlegend": False,
    }
    along, upward = {"title": "Length (s)", "showgrid": False}, _CLIPS_AXIS
    figure = draw([bars], "Length of the clips", 320, along, upward)
    table = pd.DataFrame(
        {"From (s)": edges[:-1].round(3), "To (s)": edges[1:].round(3), "Clips": counts}
    )
    n_unknown = len(clips) - len(lengths_s)
    summary = "none of the lengths is known"
    if len(lengths_s):
        summary = (
            f"from {lengths_s.min():.2f} to {lengths_s.max():.2f} seconds, "
            f"half of them below {np.median(lengths_s):.2f} seconds"
        )
    unknown = f"; {n_unknown} clips have no known length" if n_unknown else ""
    alt = f"Histogram of the lengths of {len(lengths_s)} clips: {summary}{unknown}."
    return Chart(figure, alt, table)


def parts_of_split(counts: pd.DataFrame, title: str) -> Chart:
    """Clips of each genre in training, validation and test, side by side.

    As Figure 1 of Belton et al., who show how uneven an unstratified split is.

    Args:
        counts: Rows genres, columns `train, valid, test`; from `splits.counts`.
        title: Title of the split scheme.
    """
    order = counts.sum(axis=1).sort_values(ascending=False, kind="stable").index[:MAX_BARS]
    largest = counts.loc[sorted(order)]
    totals = counts[list(SPLITS)].sum()
    bars = [
        {
            "type": "bar",
            "x": [label(genre) for genre in largest.index],
            "y": largest[part].tolist(),
            "name": f"{name} ({thousands(totals[part])})",
            "marker": {"color": colour, "cornerradius": 2, "pattern": pattern(shape)},
            "text": largest[part].tolist() if len(largest) <= 10 else None,
            "textposition": "outside",
            "cliponaxis": False,
            "hovertemplate": f"%{{x}}, {name}: %{{y:,}} clips<extra></extra>",
        }
        for part, (name, colour, shape) in _PART_LOOKS.items()
    ]
    group = {"legend": legend_below_title(), "barmode": "group", "bargroupgap": 0.06}
    heading = f"Clips of each genre and part: {label(title)}"
    along = {"showgrid": False, "type": "category"}
    figure = draw(bars, heading, 400, along, _CLIPS_AXIS, 84, bargap=0.26, **group)
    table = counts[list(SPLITS)].rename(columns={part: _PART_LOOKS[part][0] for part in SPLITS})
    table = table.assign(all=table.sum(axis=1))
    table.insert(0, "Genre", table.index.astype(str))
    sums = ", ".join(f"{int(totals[part])} {_PART_LOOKS[part][0]}" for part in SPLITS)
    rows = ", ".join(
        f"{genre} {' / '.join(str(int(row[part])) for part in SPLITS)}"
        for genre, row in largest.head(12).iterrows()
    )
    alt = f"Bars of the clips of each genre in training, validation and test under {title}: "
    return Chart(figure, f"{alt}{sums} clips in all. {rows}.", table.reset_index(drop=True))


def _largest_first(table: pd.DataFrame, column: str, group: str) -> pd.DataFrame:
    return table.sort_values([column, group], ascending=[False, True], ignore_index=True)


def _bars(
    table: pd.DataFrame,
    column: str,
    title: str,
    group: str = "Genre",
    colours: list[str] | None = None,
    most: int = MAX_BARS,
) -> go.Figure:
    """Horizontal bars, the first row on top, numbers at their ends; genres in their colours."""
    rows = table.head(most)
    colours = _colours_of(table[group]) if colours is None else colours
    highest = float(rows[column].max()) if len(rows) else 0.0
    bars = {
        "type": "bar",
        "x": rows[column].tolist(),
        "y": [label(name) for name in rows[group]],
        "orientation": "h",
        "marker": {"color": colours[: len(rows)], "cornerradius": 3},
        "text": [_number(value) for value in rows[column]],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertemplate": f"%{{y}}: %{{x:,}} {column.lower()}<extra></extra>",
    }
    if len(table) > len(rows):
        title += f" (the {most} largest of {len(table)})"
    unit = {"Artists": "Known artists"}.get(column, column)
    along: dict[str, Any] = {"title": unit, "range": [0, 1.14 * (highest or 1)], "tickformat": ","}
    if highest <= 5 and column != "Minutes":
        along["dtick"] = 1  # there are no half clips
    return draw([bars], title, max(200, 96 + 24 * len(rows)), along, names_axis(), bargap=0.28)


def _number(value: float) -> str:
    return thousands(value) if float(value).is_integer() else decimals(value)


def _colours_of(genres: pd.Series) -> list[str]:
    colours = genre_colours(genres_of(pd.DataFrame({"genre": genres})))
    return [colours[genre] for genre in genres]


def _histogram(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts and edges; values that hardly differ share one bar instead of showing rounding."""
    if not len(values):
        return np.zeros(0, int), np.zeros(1)
    low, high = float(values.min()), float(values.max())
    if high - low < 0.05:
        middle = (low + high) / 2
        return np.array([len(values)]), np.array([max(0.0, middle - 0.5), middle + 0.5])
    n_bins = int(np.clip(np.ceil((high - low) / _MIN_BIN_S), 1, _N_BINS))
    return np.histogram(
        values, bins=n_bins, range=(low, low + max(high - low, n_bins * _MIN_BIN_S))
    )


def _first_rows(
    table: pd.DataFrame, column: str, group: str = "Genre", nouns: str = "genres"
) -> str:
    rows = zip(table[group].head(12), table[column].head(12), strict=True)
    text = ", ".join(f"{name} {value}" for name, value in rows)
    return text + (f" and {len(table) - 12} {nouns} more" if len(table) > 12 else "")
