"""Run folders that an earlier version wrote: listed, compared, resumed, continued, at work."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from opened import open_page, words

from genrecore.evaluation import comparison
from genrecore.inference.ensemble import load
from genrecore.jobs import actions
from genrecore.store.progress import Phase
from genrecore.store.run import Run
from genrecore.store.runs import all_runs, find_run
from genrecore.training import lifecycle

OLD = ROOT / "tests" / "store" / "old_runs"
NETWORK, CLASSICAL, STOPPED = "9df4", "8030", "c77b"
PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))


@pytest.fixture
def old(nobody_starts: Path) -> Path:
    """A store with copies of the three folders; nobody starts runs in it."""
    shutil.copytree(OLD, nobody_starts, dirs_exist_ok=True)
    return nobody_starts


def test_they_are_listed_with_their_states_and_read_in_full(old: Path) -> None:
    states = {run.run_id[-4:]: run.state for run in all_runs(old)}
    assert states == {NETWORK: "done", CLASSICAL: "done", STOPPED: "stopped"}
    for run in all_runs(old):
        assert run.status["phase"] in (Phase.TRAINING, Phase.EMBEDDING)
        assert run.config.dataset.name == "demo"
        assert 0 < run.worked_s < 10
        assert len(run.history) == run.status["epoch"]
        assert run.clips is not None
        assert run.environment["versions"]["genrecore"]
        assert (run.predictions is not None) == (run.state == "done")
        assert (run.segments is not None) == (run.state == "done")
        assert run.weights.exists() == (run.state == "done" or run.run_id.endswith(STOPPED))


def test_the_finished_ones_are_compared(old: Path) -> None:
    both = [find_run(NETWORK), find_run(CLASSICAL)]
    compared = comparison.compare(both)
    assert len(compared.runs) == 2
    assert compared.table["accuracy"].between(0.0, 1.0).all()
    assert (compared.table["train_s"] > 0).all()


@pytest.mark.slow
def test_the_stopped_one_goes_on_to_its_end(old: Path) -> None:
    run = find_run(STOPPED)
    done_before = len(run.history)
    assert "goes on" in actions.resume(run)
    assert lifecycle.execute(Run(run.folder)) == "done", Run(run.folder).reason
    resumed = Run(run.folder)
    assert done_before < len(resumed.history) == 60
    assert resumed.predictions is not None


def test_a_finished_one_is_continued_and_cloned(old: Path) -> None:
    run = find_run(NETWORK)
    n_epochs = len(run.history)
    longer = actions.continue_(run, n_epochs + 2)
    assert lifecycle.execute(longer) == "done", Run(longer.folder).reason
    assert len(Run(longer.folder).history) == n_epochs + 2
    again = actions.clone(run, {"seed": 5})
    assert again.origin == {"parent": run.run_id, "how": "cloned"}


def test_both_models_classify_what_they_were_tested_on(old: Path) -> None:
    again = actions.clone(find_run(NETWORK), {})
    assert lifecycle.execute(again) == "done"  # the demo music is made anew where it was deleted
    clips = Run(again.folder).clips
    test = clips[clips["split"] == "test"].set_index("clip_id")
    for part in (NETWORK, CLASSICAL):
        run = find_run(part)
        stored = run.predictions.set_index("clip_id")
        clip_id = next(name for name in stored.index if name in test.index)
        (prediction,) = load([run]).classify(test["path"][clip_id]).predictions
        expected = stored.loc[clip_id, [f"p_{genre}" for genre in prediction.genres]]
        np.testing.assert_allclose(prediction.uncalibrated, expected.astype(float), atol=1e-4)


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_on_them(name: str, old: Path) -> None:
    app = open_page(name)
    assert app.title[0].value == name.capitalize()
    assert not app.error, words(app)
