"""Charts of clip tables: small, fast, and with numbers that add up."""

from __future__ import annotations

import numpy as np
import pandas as pd
from split_tables import apply_split

from genrecore.data import clips as clip_tables
from genrecore.data import splits
from genrecore.reporting.plots import datasets as plots


def large(n: int) -> pd.DataFrame:
    """A clip table of n rows in 17 genres by 9 001 artists, made without a loop over rows."""
    rng = np.random.default_rng(3)
    table = pd.DataFrame(
        {
            "clip_id": [f"{number:06}" for number in range(n)],
            "path": "/music/clip.mp3",
            "medium": "audio",
            "genre": [f"genre {number:02}" for number in rng.integers(0, 17, n)],
            "artist": [str(number) for number in rng.integers(0, 9_001, n)],
            "album": pd.NA,
            "duration_s": rng.uniform(25, 31, n),
            "split": pd.NA,
        }
    )
    kinds = dict.fromkeys(("clip_id", "path", "medium", "genre", "artist", "album"), "string")
    return table.astype(kinds | {"split": "string"})[list(clip_tables.COLUMNS)]


def test_charts_of_a_hundred_thousand_clips_stay_small() -> None:
    table = large(100_003)
    split_clips = apply_split(table, "stratified")
    charts = [
        plots.clips_per_genre(table),
        plots.artists_per_genre(table),
        plots.durations(table),
        plots.parts_of_split(splits.counts(split_clips), "By clip"),
    ]
    for chart in charts:
        assert len(chart.figure.to_json()) < 20_000
        assert chart.alt.endswith(".")
        assert len(chart.table)
    assert charts[0].table["Clips"].sum() == len(table)
    assert charts[2].table["Clips"].sum() == len(table)
    assert charts[3].table["all"].sum() == len(table)


def test_minutes_and_clips_of_artists_and_parts_add_up() -> None:
    table = large(2_003)
    table.loc[:99, "artist"] = pd.NA
    table.loc[50:149, "duration_s"] = np.nan
    clips = plots.clips_per_artist(table)
    assert clips.table["Clips"].sum() == 2_003 - 100
    assert "100 clips are of unknown artists" in clips.alt
    assert len(clips.figure.data[0].y) == plots.MAX_ARTISTS
    for by, group in (("genre", "Genre"), ("artist", "Artist")):
        chart = plots.minutes(table, by)
        with_length = table.dropna(subset=["duration_s", by])
        assert chart.table["Clips"].sum() == len(with_length)
        # Each row is rounded to a tenth of a minute.
        most_off = 0.05 * len(chart.table) + 1e-6
        assert abs(chart.table["Minutes"].sum() - with_length["duration_s"].sum() / 60) <= most_off
        row = chart.table.iloc[3]
        lengths_s = with_length.loc[with_length[by] == row[group], "duration_s"]
        assert row["Shortest (s)"] == round(lengths_s.min(), 2)
        assert row["Longest (s)"] == round(lengths_s.max(), 2)
    split_clips = apply_split(table, "stratified")
    chart = plots.minutes(
        split_clips[["split", "duration_s"]].astype({"split": "category"}), "split"
    )
    assert chart.table["Part"].to_list() == ["training", "validation", "test"]
    assert chart.table["Clips"].sum() == table["duration_s"].notna().sum()


def test_equal_lengths_are_one_bar_and_unknown_ones_are_said() -> None:
    table = large(71).assign(duration_s=30.0)
    table.loc[:6, "duration_s"] = np.nan
    chart = plots.durations(table)
    assert chart.table["Clips"].to_list() == [64]
    assert "7 clips have no known length" in chart.alt


def test_the_figure_of_a_split_has_a_title_units_and_all_three_parts() -> None:
    counts = pd.DataFrame(
        {"train": [5, 7], "valid": [0, 2], "test": [3, 1]}, index=["<b>blues</b>", "rock"]
    )
    chart = plots.parts_of_split(counts, "By hand")
    assert chart.figure.layout.title.text == "Clips of each genre and part: By hand"
    assert chart.figure.layout.yaxis.title.text == "Clips"
    names = [bar.name for bar in chart.figure.data]
    assert names == ["training (12)", "validation (2)", "test (4)"]
    assert list(chart.figure.data[0].x) == ["&lt;b&gt;blues&lt;/b&gt;", "rock"]
    assert len({bar.marker.pattern.shape for bar in chart.figure.data}) == 3
