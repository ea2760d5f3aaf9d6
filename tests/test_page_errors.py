"""The page Errors, opened through `app.py`: every list, a clip in full, judgements."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from conftest import trained
from opened import again, open_page, words
from streamlit.testing.v1 import AppTest

from genrecore import judgements, metrics, mistakes
from genrecore.config import RunConfig
from genrecore.runs import Run

Tiny = Callable[..., RunConfig]


@pytest.fixture
def two(store: Path, tiny: Tiny) -> tuple[Run, Run]:
    """Two runs of one epoch: they get a lot wrong, and not the same."""
    a, b = (trained(tiny(training__epochs=1, seed=seed), store) for seed in (0, 1))
    return a, b


def shown(app: AppTest) -> pd.DataFrame:
    """The list of clips: the first table with clips in it."""
    return next(table.value for table in app.dataframe if "clip_id" in table.value)


def test_without_a_tested_run_it_says_what_to_do(store: Path) -> None:
    assert "There are no mistakes to hear yet." in words(open_page("errors"))


def test_a_cell_lists_its_clips_and_plays_one(two: tuple[Run, Run]) -> None:
    run = two[0]
    genres = metrics.genres_in(run.predictions)
    matrix = metrics.confusion(run.predictions[run.predictions["split"] == "test"], genres)
    app = open_page("errors", run=run.run_id)
    for labelled in genres:
        for predicted in genres:
            if matrix.loc[labelled, predicted]:
                app = again(app, labelled=labelled, predicted=predicted, clip="")
                assert len(shown(app)) == matrix.loc[labelled, predicted]
                assert f"--cell {labelled},{predicted}" in app.code[-1].value.replace(" \\\n ", "")
                assert len(app.get("audio")) >= 1
                assert not app.error
    other = [(a, b) for a in genres for b in genres if not matrix.loc[a, b]]
    if other:
        app = again(app, labelled=other[0][0], predicted=other[0][1])
        assert "There is no such clip." in words(app)


def test_without_a_choice_it_shows_the_most_frequent_mistake(two: tuple[Run, Run]) -> None:
    app = open_page("errors", run=two[0].run_id)
    labelled, predicted = (
        app.selectbox(key=f"choice_{k}").value for k in ("labelled", "predicted")
    )
    table = mistakes.verdicts(two[0])
    wrong = table[~table["right"]]
    counts = wrong.groupby(["genre", "predicted"]).size()
    assert counts[(labelled, predicted)] == counts.max()


def test_every_list_is_what_the_module_says(two: tuple[Run, Run]) -> None:
    a, b = two
    first, second = mistakes.verdicts(a), mistakes.verdicts(b)
    app = open_page("errors", run=a.run_id, view="mistakes")
    for order in mistakes.ORDERS:
        app = again(app, order=order)
        assert shown(app)["clip_id"].tolist() == mistakes.ordered(first, order)["clip_id"].tolist()
    joined = mistakes.contingency(first, second)
    app = again(app, view="against", against=b.run_id)
    for who, n in joined["who"].value_counts().items():
        app = again(app, who=str(who))
        assert len(shown(app)) == n
        assert f"({n})" in str(app.selectbox(key="choice_who").options)
    app = again(app, view="differ")
    expected = mistakes.disagreement([first, second])
    assert shown(app)["clip_id"].tolist() == expected["clip_id"].tolist()
    app = again(app, view="labels")
    expected = mistakes.suspects([first, second])
    assert shown(app)["clip_id"].tolist() == expected["clip_id"].tolist()


def test_one_run_is_told_what_takes_more(store: Path, tiny: Tiny) -> None:
    run = trained(tiny(training__epochs=1), store)
    for view in ("against", "differ"):
        assert "One run is not enough here." in words(
            open_page("errors", run=run.run_id, view=view)
        )
    assert len(shown(open_page("errors", run=run.run_id, view="labels")))


def test_a_judgement_is_kept_and_taken_back(two: tuple[Run, Run], store: Path) -> None:
    app = open_page("errors", run=two[0].run_id, view="labels")
    clip = shown(app)["clip_id"].iloc[0]
    app.button(key="judge_wrong").click().run()
    kept = judgements.read(store)
    assert kept[["dataset", "clip_id", "judgement"]].values.tolist() == [["demo", clip, "wrong"]]
    assert shown(app)["judgement"].iloc[0] == "wrong"
    assert app.get("download_button")
    app.button(key="judge_wrong").click().run()
    assert judgements.read(store).empty


def test_where_the_music_is_gone_the_numbers_stay(two: tuple[Run, Run]) -> None:
    run = two[0]
    clips = run.clips
    assert clips is not None
    clips["path"] = clips["path"] + ".gone"
    clips.to_parquet(run.folder / "clips.parquet")
    app = open_page("errors", run=run.run_id, view="mistakes")
    assert len(shown(app))
    assert any("No such file" in warning.value for warning in app.warning)
    assert not app.get("audio")
    (run.folder / "clips.parquet").unlink()
    app = open_page("errors", run=run.run_id, view="mistakes")
    assert len(shown(app))
    assert any("table of clips is gone" in error.value for error in app.error)


def test_runs_on_other_genres_are_one_sentence(two: tuple[Run, Run], store: Path) -> None:
    a, b = two
    table = pd.read_parquet(b.folder / "predictions.parquet")
    genres = metrics.genres_in(table)
    renamed = {f"p_{genre}": f"p_{genre}x" for genre in genres}
    table = table.rename(columns=renamed).assign(genre=table["genre"] + "x")
    table.to_parquet(b.folder / "predictions.parquet")
    shutil.rmtree(store / ".cache", ignore_errors=True)
    app = open_page("errors", run=a.run_id, view="differ")
    assert any("different genres" in error.value for error in app.error)
