"""A whole library on the page Classify: started, stopped, continued, looked through, taken away."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pandas as pd
import pytest
from conftest import wait_for
from opened import again, open_page, words
from streamlit.testing.v1 import AppTest
from test_audio import noise, write
from untrained_runs import untrained_run

from genrecore.inference import library, library_results
from genrecore.inference.ensemble import load as load_ensemble
from genrecore.jobs import access
from genrecore.jobs import actions as jobs
from genrecore.jobs.access import Visitor
from genrecore.store.run import LIVE
from genrecore.ui.classify.library import results_file

pytestmark = pytest.mark.xdist_group("pages")


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "my music"
    (folder / "deep").mkdir(parents=True)
    for n in range(5):
        write(folder / "deep" / f"{n}.wav", noise(1.5, 8_000, n), 8_000)
    (folder / "bad.wav").write_text("These are words.")
    return folder


def rows(app: AppTest) -> pd.DataFrame:
    """The table of recordings."""
    (shown,) = [table.value for table in app.dataframe if "path" in table.value]
    return shown


@pytest.mark.slow
def test_a_library_is_classified_by_a_task_and_shown_by_genre(
    store: Path, own_cache: Path, music: Path
) -> None:
    run = untrained_run(store)
    query = {"run": run.run_id, "from": "library", "library": str(music)}
    app = open_page("classify", **query)
    assert app.button(key="start_library").label == "Start"
    (line,) = [code.value for code in app.code if "--out" in code.value]
    assert line.startswith("genrecore classify")
    # What a job leaves that was killed after two recordings.
    out = results_file(music, [run])
    out.parent.mkdir(parents=True)
    library.classify_library(load_ensemble([run]), [music / "bad.wav", music / "deep/0.wav"], out)
    app = open_page("classify", **query)
    assert rows(app)["path"].tolist() == ["bad.wav", "deep/0.wav"]
    assert app.button(key="start_library").label == "Continue"
    app.button(key="start_library").click().run()
    assert not app.exception
    (task,) = jobs.tasks()
    assert task.title == "Classifying my music"
    wait_for(lambda: jobs.tasks()[0].state not in ("starting", "running"), 60.0)
    assert jobs.tasks()[0].state == "done", jobs.tasks()[0].log()
    app = open_page("classify", **query)
    expected = library_results.table(out)
    shown = rows(app)
    assert shown["path"].tolist() == ["bad.wav", *(f"deep/{n}.wav" for n in range(5))]
    genre = expected["genre"].dropna().iloc[0]
    n = int((expected["genre"] == genre).sum())
    app = again(app, **query, only=f"genre:{genre}")
    shown = rows(app)
    assert shown["genre"].tolist() == [genre] * n
    assert f"{genre} ({n})" in app.selectbox(key="choice_only").options
    app = again(app, **query, only="failed")
    shown = rows(app)
    assert "bad.wav is not an audio file" in shown["error"].iloc[0]
    # A recording that is picked is heard, and its prediction shown in full.
    heard = str(music / "deep" / "3.wav")
    app = again(app, **query, only="all", clip=heard)
    alone = load_ensemble([run]).classify(heard).predictions[0].genre
    assert any(str(text.value).startswith(f"## {alone}") for text in app.markdown)


@pytest.mark.long
def test_a_library_whose_task_is_killed_with_the_server_is_continued_without_loss(
    store: Path, own_cache: Path, music: Path, tmp_path: Path
) -> None:
    for n in range(5, 150):
        write(music / "deep" / f"{n}.wav", noise(1.5, 8_000, n), 8_000)
    run = untrained_run(store)
    query = {"run": run.run_id, "from": "library", "library": str(music)}
    open_page("classify", **query).button(key="start_library").click().run()
    working = results_file(music, [run])
    wait_for(lambda: working.exists() and working.read_bytes().count(b"\n") > 5, 60.0)
    (task,) = jobs.tasks()
    os.killpg(int(task.status["pid"]), signal.SIGKILL)  # and of the page nothing is left, either
    wait_for(lambda: jobs.tasks()[0].state not in LIVE, 60.0)
    n_done = len(list(library_results.read_results(working)))
    assert 4 <= n_done < 150
    app = open_page("classify", **query)
    assert len(rows(app)) == n_done
    app.button(key="start_library").click().run()
    wait_for(lambda: all(task.state not in LIVE for task in jobs.tasks()), 60.0)
    undisturbed = tmp_path / "undisturbed.jsonl"
    library.classify_library(load_ensemble([run]), [music], undisturbed)
    assert working.read_bytes() == undisturbed.read_bytes()


def test_only_folders_that_a_visitor_may_name_are_classified(
    store: Path, own_cache: Path, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = untrained_run(store)
    query = {"run": run.run_id, "from": "library"}
    for folder in ("relative", str(music / "nowhere"), str(music / "bad.wav")):
        assert f"There is no folder {folder}" in words(
            open_page("classify", **query, library=folder)
        )
    guest = Visitor("ann@example.org", is_from_outside=True)
    monkeypatch.setattr(access, "_source", lambda: guest)
    app = open_page("classify", **query, library=str(music))
    assert "can be opened over a network" in words(app)
    assert not [button for button in app.button if button.key == "start_library"]


def test_a_wanted_precision_is_that_of_the_whole_library(
    store: Path, own_cache: Path, music: Path
) -> None:
    run = untrained_run(store, temperature=2.0)
    query = {"run": run.run_id, "from": "library", "library": str(music), "precision": "0.8"}
    app = open_page("classify", **query)
    (line,) = [code.value for code in app.code if "--out" in code.value]
    assert "--precision 0.8" in line
    out = results_file(music, [run], 0.8)
    assert out != results_file(music, [run])
    out.parent.mkdir(parents=True)
    library.classify_library(load_ensemble([run], 0.8), [music], out)
    app = open_page("classify", **query)
    answers = {Path(r["path"]).name: r.get("answer") for r in library_results.read_results(out)}
    shown = rows(app).set_index("path")["answer"]
    assert len(shown) == 6
    for path, answer in shown.dropna().items():
        assert answer == (answers[Path(str(path)).name] or "not sure")
