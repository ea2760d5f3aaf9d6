"""A dataset in figures: clips, lengths, artists, and the parts of a split, all from clip tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from genrecore.data.clips import SPLITS, genres_of
from genrecore.reporting.plots.chart import Chart, label, laid_out, legend_below_title
from genrecore.reporting.plots.palette import genre_colours

MOST_BARS = 40
"""Genres drawn; the table of numbers has them all."""

MOST_ARTISTS = 20
"""Artists drawn; the table of numbers has them all."""

ARTIST_COLOUR = "#75608f"  # an artist has no colour of their own
_LENGTH_COLOUR = "#7a6cc0"
_N_BINS = 24
_LEAST_BIN_S = 0.1  # finer differences are those of encoders, not of music
# Colour and pattern say the same twice, so that print and any eye can follow.
_PART_LOOKS = {
    "train": ("training", "#606ccc", ""),
    "valid": ("validation", "#ec7350", "/"),
    "test": ("test", "#00a86c", "x"),
}

_PATTERN = {"fillmode": "overlay", "solidity": 0.25, "size": 6}
# By column of a clip table: a group's name, its word, the word for several, how many are drawn.
_GROUPS = {
    "genre": ("Genre", "genre", "genres", MOST_BARS),
    "artist": ("Artist", "artist", "artists", MOST_ARTISTS),
    "split": ("Part", "part of the split", "parts", MOST_BARS),
}


def clips_per_genre(clips: pd.DataFrame) -> Chart:
    """How many clips each genre has, the largest on top.

    Args:
        clips: A clip table.
    """
    counts = clips["genre"].value_counts()
    table = pd.DataFrame({"Genre": counts.index.astype(str), "Clips": counts.to_numpy(dtype=int)})
    table = table.sort_values(["Clips", "Genre"], ascending=[False, True], ignore_index=True)
    total = int(table["Clips"].sum())
    alt = f"Clips of each genre, {total} in all: {_listed(table, 'Clips')}."
    return Chart(_bars(table, "Clips", "Clips of each genre"), alt, table)


def artists_per_genre(clips: pd.DataFrame) -> Chart:
    """How many artists each genre has, and in the table how many clips are by nobody known.

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
    table = table.sort_values(["Artists", "Genre"], ascending=[False, True], ignore_index=True)
    alt = f"Known artists of each genre: {_listed(table, 'Artists')}."
    return Chart(_bars(table, "Artists", "Artists of each genre"), alt, table)


def clips_per_artist(clips: pd.DataFrame) -> Chart:
    """How many clips the artists with most of them have; the table has every artist.

    Args:
        clips: A clip table.
    """
    known = clips[clips["artist"].notna()]
    grouped = known.groupby("artist", sort=True)
    table = pd.DataFrame(
        {
            "Artist": list(grouped.groups),
            "Clips": grouped.size().to_numpy(dtype=int),
            "Genres": grouped["genre"].agg(lambda names: ", ".join(sorted(set(names)))).to_list(),
        }
    ).sort_values(["Clips", "Artist"], ascending=[False, True], ignore_index=True)
    n_without = len(clips) - len(known)
    without = f" {n_without} clips are by nobody known." if n_without else ""
    listed = _listed(table, "Clips", "Artist", "artists")
    alt = f"Clips of each artist, {len(table)} artists in all: {listed}.{without}"
    colours = [ARTIST_COLOUR] * len(table)
    figure = _bars(table, "Clips", "Clips of each artist", "Artist", colours, MOST_ARTISTS)
    return Chart(figure, alt, table)


def minutes(clips: pd.DataFrame, by: str) -> Chart:
    """How much music each genre, artist or part is; the table also has the lengths of its clips.

    Groups are in the order of the bars of clips beside it: the one with most clips on top, parts
    in their own order.

    Args:
        clips: A clip table, or its columns `duration_s` and `by`; unknown lengths are left out.
        by: `genre`, `artist` or `split`.
    """
    known = clips[clips["duration_s"].notna() & clips[by].notna()]
    grouped = known.groupby(by, sort=True, observed=True)["duration_s"]
    title, words, many, most = _GROUPS[by]
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
        table = table.sort_values(["Clips", title], ascending=[False, True], ignore_index=True)
        colours = _colours_of(table[title]) if by == "genre" else [ARTIST_COLOUR] * len(table)
        patterns = [""] * len(table)
    figure = _bars(table, "Minutes", f"Minutes of each {words}", title, colours, most)
    spread = ["Clips", "Shortest (s)", "Median (s)", "Longest (s)"]
    figure.update_traces(
        customdata=table[spread].head(most).to_numpy().tolist(),
        hovertemplate="%{y}: %{x:,} minutes in %{customdata[0]:,} clips of %{customdata[1]} to "
        "%{customdata[3]} s, median %{customdata[2]} s<extra></extra>",
        marker_pattern={"shape": patterns[:most], **_PATTERN},
    )
    alt = f"Minutes of music of each {words}: {_listed(table, 'Minutes', title, many)}."
    return Chart(figure, alt, table)


def durations(clips: pd.DataFrame) -> Chart:
    """How long the clips are: a histogram of the lengths that are known.

    Args:
        clips: A clip table.
    """
    known = clips["duration_s"].dropna().to_numpy(dtype=float)
    counts, edges = _histogram(known)
    middle = (edges[:-1] + edges[1:]) / 2
    figure = go.Figure(
        go.Bar(
            x=middle.round(4).tolist(),
            y=counts.tolist(),
            width=(np.diff(edges) * 0.94).round(5).tolist(),
            marker={"color": _LENGTH_COLOUR, "cornerradius": 2},
            customdata=np.column_stack([edges[:-1], edges[1:]]).round(2).tolist(),
            hovertemplate="%{customdata[0]} to %{customdata[1]} s: %{y:,} clips<extra></extra>",
            showlegend=False,
        )
    )
    laid_out(figure, "Length of the clips", 320)
    figure.update_xaxes(title="Length (s)", showgrid=False)
    figure.update_yaxes(title="Clips", rangemode="tozero")
    table = pd.DataFrame(
        {"From (s)": edges[:-1].round(3), "To (s)": edges[1:].round(3), "Clips": counts}
    )
    n_unknown = len(clips) - len(known)
    words = "none of the lengths is known"
    if len(known):
        words = (
            f"from {known.min():.2f} to {known.max():.2f} seconds, "
            f"half of them below {np.median(known):.2f} seconds"
        )
    unknown = f"; {n_unknown} clips have no known length" if n_unknown else ""
    return Chart(
        figure, f"Histogram of the lengths of {len(known)} clips: {words}{unknown}.", table
    )


def parts_of_split(counts: pd.DataFrame, title: str) -> Chart:
    """Clips of each genre in training, validation and test, side by side.

    As Figure 1 of Belton et al., who show how uneven an unstratified split is.

    Args:
        counts: Rows genres, columns `train, valid, test`; as `splits.counts` gives it.
        title: What the scheme is called.
    """
    order = counts.sum(axis=1).sort_values(ascending=False, kind="stable").index[:MOST_BARS]
    shown = counts.loc[sorted(order)]
    figure = go.Figure()
    totals = counts[list(SPLITS)].sum()
    for part in SPLITS:
        name, colour, pattern = _PART_LOOKS[part]
        figure.add_bar(
            x=[label(genre) for genre in shown.index],
            y=shown[part].tolist(),
            name=f"{name} ({int(totals[part]):,})".replace(",", " "),
            marker={
                "color": colour,
                "cornerradius": 2,
                "pattern": {"shape": pattern, **_PATTERN},
            },
            text=shown[part].tolist() if len(shown) <= 10 else None,
            textposition="outside",
            cliponaxis=False,
            hovertemplate=f"%{{x}}, {name}: %{{y:,}} clips<extra></extra>",
        )
    laid_out(
        figure,
        f"Clips of each genre and part: {label(title)}",
        400,
        legend=legend_below_title(),
        barmode="group",
        bargap=0.26,
        bargroupgap=0.06,
    )
    figure.update_layout(margin_t=84)
    figure.update_xaxes(showgrid=False, type="category")
    figure.update_yaxes(title="Clips", rangemode="tozero")
    table = counts[list(SPLITS)].rename(columns={part: _PART_LOOKS[part][0] for part in SPLITS})
    table = table.assign(all=table.sum(axis=1))
    said = ", ".join(f"{int(totals[part])} {_PART_LOOKS[part][0]}" for part in SPLITS)
    table.insert(0, "Genre", table.index.astype(str))
    uneven = ", ".join(
        f"{genre} {' / '.join(str(int(row[part])) for part in SPLITS)}"
        for genre, row in shown.head(12).iterrows()
    )
    return Chart(
        figure,
        f"Bars of the clips of each genre in training, validation and test under {title}: "
        f"{said} clips in all. {uneven}.",
        table.reset_index(drop=True),
    )


def _bars(
    table: pd.DataFrame,
    column: str,
    title: str,
    group: str = "Genre",
    colours: list[str] | None = None,
    most: int = MOST_BARS,
) -> go.Figure:
    """Horizontal bars, the first row on top, numbers at their ends; genres in their colours."""
    shown = table.head(most)
    colours = _colours_of(table[group]) if colours is None else colours
    highest = float(shown[column].max()) if len(shown) else 0.0
    figure = go.Figure(
        go.Bar(
            x=shown[column].tolist(),
            y=[label(name) for name in shown[group]],
            orientation="h",
            marker={"color": colours[: len(shown)], "cornerradius": 3},
            text=[f"{value:,}".replace(",", " ") for value in shown[column]],
            textposition="outside",
            cliponaxis=False,
            hovertemplate=f"%{{y}}: %{{x:,}} {column.lower()}<extra></extra>",
        )
    )
    if len(table) > len(shown):
        title += f" (the {most} largest of {len(table)})"
    laid_out(figure, title, _height(len(shown)), bargap=0.28)
    unit = {"Artists": "Known artists"}.get(column, column)
    figure.update_xaxes(title=unit, range=[0, 1.14 * (highest or 1)], tickformat=",")
    if highest <= 5 and column != "Minutes":
        figure.update_xaxes(dtick=1)  # there are no half clips
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category")
    return figure


def _colours_of(genres: pd.Series) -> list[str]:
    colours = genre_colours(genres_of(pd.DataFrame({"genre": genres})))
    return [colours[genre] for genre in genres]


def _height(n_rows: int) -> int:
    return max(200, 96 + 24 * n_rows)


def _histogram(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts and edges; values that hardly differ share one bar instead of showing rounding."""
    if not len(values):
        return np.zeros(0, int), np.zeros(1)
    low, high = float(values.min()), float(values.max())
    if high - low < 0.05:
        middle = (low + high) / 2
        return np.array([len(values)]), np.array([max(0.0, middle - 0.5), middle + 0.5])
    n_bins = int(np.clip(np.ceil((high - low) / _LEAST_BIN_S), 1, _N_BINS))
    return np.histogram(
        values, bins=n_bins, range=(low, low + max(high - low, n_bins * _LEAST_BIN_S))
    )


def _listed(table: pd.DataFrame, column: str, group: str = "Genre", many: str = "genres") -> str:
    said = ", ".join(
        f"{name} {value}"
        for name, value in zip(table[group].head(12), table[column].head(12), strict=True)
    )
    return said + (f" and {len(table) - 12} {many} more" if len(table) > 12 else "")
