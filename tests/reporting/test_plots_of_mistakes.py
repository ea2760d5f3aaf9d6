"""The map of clips and the figure of probes: every number there, no name read as markup."""

from __future__ import annotations

import itertools

import pandas as pd

from genrecore.reporting.plots.mistakes import clip_map, probe_differences


def points() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "clip_id": ["a", "b", "c<i>", "d"],
            "genre": ["rock", "rock", "<b>jazz", "<b>jazz"],
            "split": ["test", "test", "test", "train"],
            "predicted": ["rock", "<b>jazz", "<b>jazz", None],
            "mark": ["right", "wrong", "right", "learned"],
            "x": [0.0, 1.0, 2.0, 3.0],
            "y": [0.0, 0.0, 0.01, 0.0],
        }
    )


def test_every_clip_is_a_point_that_knows_its_name() -> None:
    chart = clip_map(points(), "a map", ("left", "up"), picked="b")
    traces = [trace for trace in chart.figure.data if trace.customdata is not None]
    by_clip = {
        data[0]: (x, trace.marker.symbol)
        for trace in traces
        for data, x in zip(trace.customdata, trace.x, strict=True)
    }
    assert by_clip == {
        "a": (0.0, "circle"), "c<i>": (2.0, "circle"), "b": (1.0, "x"), "d": (3.0, "circle-open"),
    }  # fmt: skip
    texts = " ".join(text for trace in traces for text in trace.text)
    assert "<b>" not in texts
    assert "&lt;b&gt;jazz" in texts
    assert "taken for" in texts
    (ring,) = [trace for trace in chart.figure.data if trace.name == "Picked"]
    assert list(ring.x) == [1.0]
    names = {note.text: note for note in chart.figure.layout.annotations}
    assert set(names) == {"<b>rock</b>", "<b>&lt;b&gt;jazz</b>"}  # colour is not the only carrier
    assert "2 recognised, 1 taken for another genre, 1 learned from" in chart.alt
    assert chart.table["Clip"].tolist() == ["a", "b", "c<i>", "d"]


def test_names_of_genres_on_one_spot_stand_apart() -> None:
    rows = points().assign(x=0.5, y=[0.0, 0.0, 0.0, 1.0])
    rows.loc[3, "genre"] = "rock"
    rows["genre"] = ["rock", "jazz", "blues", "rock"]
    chart = clip_map(rows, "a map", ("", ""))
    heights = sorted(note.y for note in chart.figure.layout.annotations)
    assert min(b - a for a, b in itertools.pairwise(heights)) > 0.05


def test_a_probe_is_a_dot_with_its_interval_and_its_name() -> None:
    table = pd.DataFrame(
        {
            "probe": ["quieter", "mp3"], "title": ["10 dB quieter", "MP3"],
            "accuracy": [0.5, 0.79], "difference": [-0.3, -0.01], "low": [-0.4, -0.05],
            "high": [-0.2, 0.03], "p": [0.001, 1.0], "n_broken": [31, 3], "n_mended": [1, 2],
            "word": ["loses", "open"],
        }
    )  # fmt: skip
    chart = probe_differences(table, 0.8, 0.01, picked="mp3")
    dots = {trace.customdata[0][0]: trace for trace in chart.figure.data}
    assert set(dots) == {"quieter", "mp3"}
    assert dots["quieter"].marker.symbol != dots["mp3"].marker.symbol
    assert dots["quieter"].x[0] - dots["quieter"].error_x.arrayminus[0] == -0.4
    assert list(chart.figure.layout.yaxis.ticktext) == ["10 dB quieter", "<b>MP3</b>"]
    assert "10 dB quieter −30.0 (−40.0 to −20.0)" in chart.alt
    assert chart.table["Verdict"].tolist() == ["Lower", "Cannot be told"]
