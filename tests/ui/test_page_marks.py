"""Wherever a run is shown stands what must be known of it: a leak, unknown artists, a rehearsal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_runs import fake_run
from opened import open_page, words

from genrecore.store.run import Run
from genrecore.ui.overview import view as overview
from genrecore.ui.parts.frame import plain
from genrecore.ui.runs import table as runs_table

MARKS = ("leak", "artists unknown", "rehearsal", "")


@pytest.fixture
def runs(store: Path) -> list[Run]:
    """A run with each of the three marks, and one without."""
    about = ({"n_shared": 14}, {"n_unknown": 60}, {"rehearsal": 10}, {})
    return [
        fake_run(store, np.arange(90) < 80 - 10 * k, np.arange(90), seed=k, **values)
        for k, values in enumerate(about)
    ]


def test_a_title_bears_the_mark_so_no_legend_and_no_sentence_lacks_it(runs: list[Run]) -> None:
    endings = [run.title.partition(run.run_id[-4:])[2] for run in runs]
    assert endings == [" (leak)", " (artists unknown)", " (rehearsal)", ""]


def test_the_leaderboard_marks_chart_and_table(runs: list[Run]) -> None:
    app = open_page("overview")
    (table,) = [frame.value for frame in app.dataframe if "marks" in frame.value]
    assert [list(cell) for cell in table["marks"]] == [
        ["Leak"], ["Artists unknown"], ["Rehearsal"], []
    ]  # fmt: skip
    (chart,) = app.get("plotly_chart")
    assert "(leak) 88.9 %" in chart.proto.alt
    assert "(artists unknown) 77.8 %" in chart.proto.alt
    assert chart.proto.spec.count("-open") == 3  # hollow, without colour, too


def test_runs_list_and_page_say_it(runs: list[Run]) -> None:
    app = open_page("runs", run=runs[1].run_id)
    (table,) = [frame.value for frame in app.dataframe if "starred" in frame.value]
    assert sorted(list(cell) for cell in table["marks"]) == [
        [], ["Artists unknown"], ["Leak"], ["Rehearsal"]
    ]  # fmt: skip
    badges = [text.value for text in app.markdown if "orange-badge" in text.value]
    assert any(plain("Artists unknown: 60 of 270 clips") in badge for badge in badges)


@pytest.mark.parametrize(
    ("which", "name"),
    [
        *((0, "errors"), (1, "runs"), (2, "errors")),
        *(pytest.param(n, page, marks=pytest.mark.long)
          for n, page in ((0, "runs"), (1, "errors"), (2, "runs"))),
    ],
)  # fmt: skip
def test_the_pages_of_a_run_wear_its_badge(runs: list[Run], name: str, which: int) -> None:
    text = words(open_page(name, run=runs[which].run_id))
    assert runs[which].badge in text


@pytest.mark.slow
def test_compare_warns_of_each_in_its_own_words(runs: list[Run]) -> None:
    app = open_page("compare", runs=",".join(run.run_id for run in runs), view="scores")
    text = words(app)
    assert "Leak: 14 clips shared with training; its accuracy is too high." in text
    assert "Artists unknown: 60 of 270 clips; its accuracy may be too high." in text
    assert "Rehearsal: 10 clips a genre; its accuracy is not for comparison." in text
    assert text.count("its accuracy") == 3
    (table,) = [frame.value for frame in app.dataframe if "marks" in frame.value]
    assert [list(cell) for cell in table["marks"]] == [
        ["Leak"], ["Artists unknown"], ["Rehearsal"], []
    ]  # fmt: skip


def test_long_lists_of_runs_are_paged(runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "_PAGE_RUNS", 2)
    app = open_page("overview")
    best = list(app.dataframe[-1].value["run_id"])
    assert len(best) == 2
    assert f"the runs 1 to 2 of {len(runs)}" in " ".join(text.value for text in app.caption)
    app = open_page("overview", page="2")
    others = list(app.dataframe[-1].value["run_id"])
    assert {*best, *others} == {run.run_id for run in runs}
    monkeypatch.setattr(runs_table, "_PAGE_RUNS", 1)
    newest_first = sorted((run.run_id for run in runs), reverse=True)
    for page, run_id in enumerate(newest_first, 1):
        app = open_page("runs", page=str(page))
        assert list(app.dataframe[0].value["run_id"]) == [run_id]
