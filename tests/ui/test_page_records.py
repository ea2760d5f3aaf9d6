"""The page Records: the published table alone, and with runs of ours set against it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fake_runs import fake_run
from opened import open_page, words

from genrecore.evaluation.published import published_results
from genrecore.evaluation.records import record_tables
from genrecore.reporting.plots import run_styles
from genrecore.reporting.plots.chart import GREY
from genrecore.reporting.plots.palette import INK
from genrecore.reporting.plots.records import records as records_chart
from genrecore.store.runs import all_runs

GENRES = [f"genre {k}" for k in range(10)]
FILTERED = {"dataset": "gtzan", "split": "fault_filtered", "genres": GENRES}


def test_an_empty_store_shows_the_published_results_and_what_to_do(store: Path) -> None:
    app = open_page("records")
    text = words(app)
    assert "None of your runs was tested on this split." in text
    (link,) = [link for link in app.get("page_link") if link.proto.label == "Train on this split"]
    assert "split=fault_filtered" in link.proto.query_string
    assert [header.value for header in app.header] == ["GTZAN, fault-filtered", "Random splits"]
    shown = [frame.value for frame in app.dataframe if "source" in frame.value]
    systems = [name for frame in shown for name in frame["title"]]
    assert sorted(systems) == sorted(
        result.title for result in published_results() if result.dataset == "gtzan"
    )
    assert app.code[-1].value == "genrecore records --dataset gtzan"


def test_runs_are_judged_the_suspicious_first(store: Path) -> None:
    clips = np.arange(290)
    fake_run(store, clips < 250, clips, **FILTERED)
    fake_run(store, clips < 280, clips, model="resnet18", n_shared=9, **FILTERED)
    fake_run(store, np.ones(29, bool), model="crnn", **FILTERED)
    app = open_page("records")
    (suspicious,) = [error.value.replace("\\", "") for error in app.error]
    assert suspicious.startswith("Suspicious: resnet18 · gtzan (leak), 96.6 %")
    told = [info.value.replace("\\", "") for info in app.info]
    assert "cannot be told apart from the record, MATPAC++ with 87.6 %" in told[0]
    assert "crnn · gtzan was tested on 29 of 290 clips: on part of the clips" in told[1]
    marks = next(frame.value for frame in app.dataframe if "marks" in frame.value)
    assert list(marks["verdict"]) == ["suspicious", "cannot be told apart", "not comparable"]


def test_other_datasets_have_a_page_of_their_own(store: Path) -> None:
    for dataset in ("fma_small", "fma_medium"):
        app = open_page("records", dataset=dataset)
        assert [header.value for header in app.header] == ["The dataset's own"]


def test_ours_have_their_colours_and_random_splits_are_grey(store: Path) -> None:
    clips = np.arange(1000)
    fake_run(store, clips[:290] < 250, **FILTERED)
    fake_run(store, clips < 800, n_shared=5, **(FILTERED | {"split": "stratified"}))
    filtered, drawn = record_tables(all_runs(store), "gtzan")
    keys = [own.key for table in (filtered, drawn) for own in table.own]
    styles = run_styles(keys)
    for table, colour in ((filtered, INK["light"]), (drawn, GREY)):
        chart = records_chart(table, styles)
        *published, mine = chart.figure.data[1:]  # the first is the line at the record
        assert {trace.marker.color for trace in published} == {colour}
        style = styles[table.own[0].key]
        assert mine.marker.color == style.colour
        assert mine.marker.symbol.endswith("-open") == (table is drawn)  # it has a leak
        n_points = sum(len(trace.x) for trace in published)
        assert n_points == len(table.published) == len(chart.table) - 1
        assert list(chart.table["Accuracy"]) == sorted(chart.table["Accuracy"], reverse=True)
        assert f"{table.own[0].title} (yours)" in chart.alt
