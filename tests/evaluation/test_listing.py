"""The list of runs: cheap, as the files are now, and not spoilt by one damaged folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import command, genrecore
from fake_runs import fake_run

from genrecore.evaluation.listing import run_rows, unreadable
from genrecore.evaluation.metrics import METRICS
from genrecore.evaluation.scores import run_scores
from genrecore.jobs import actions
from genrecore.store.run import Run
from genrecore.store.scores import read_scores


@pytest.fixture
def two_runs(store: Path) -> list[Run]:
    return [
        fake_run(store, np.arange(90) < 60 + 10 * k, np.arange(90), seed=3 + k) for k in range(2)
    ]


def test_a_row_has_the_scores_of_the_run_and_follows_them(two_runs: list[Run]) -> None:
    rows = {row.run_id: row for row in run_rows()}
    for run in two_runs:
        scores, row = run_scores(run), rows[run.run_id]
        assert (row.accuracy, row.accuracy_low, row.accuracy_high) == (
            scores["accuracy"], scores["accuracy_low"], scores["accuracy_high"],
        )  # fmt: skip
        assert (row.seed, row.fold, row.name) == (run.config.seed, 0, run.name)
    first, second = two_runs
    table = (second.folder / "predictions.parquet").read_bytes()
    (first.folder / "predictions.parquet").write_bytes(table)
    rows = {row.run_id: row for row in run_rows()}
    assert rows[first.run_id].accuracy == rows[second.run_id].accuracy


def test_kept_scores_serve_until_the_metrics_or_the_predictions_change(two_runs: list[Run]) -> None:
    run = two_runs[0]
    assert read_scores(run) is None
    scores = run_scores(run)
    assert read_scores(run) == read_scores(run, sorted(METRICS)) == scores
    assert read_scores(run, ["a new one"]) is None
    assert read_scores(run) is not None  # the accuracy stays what it was
    for text in ("{", '{"key": 7}', '{"key": [3], "scores": []}', "[]"):
        (run.folder / "scores.json").write_text(text)
        assert read_scores(run) is None


def test_damaged_files_cost_their_own_row_no_other(two_runs: list[Run]) -> None:
    first, second = two_runs
    (first.folder / "predictions.parquet").write_bytes(b"PAR1 no more")
    (first.folder / "about.json").write_text('{"name": {}, "tags": {"a": 1}}')
    assert [row.run_id for row in run_rows()] == [second.run_id]
    assert run_rows()[0].accuracy > 0
    assert f"{first.run_id} cannot be read: predictions.parquet" in str(unreadable()[0])
    (first.folder / "config.json").write_text("{")
    assert [row.run_id for row in run_rows()] == [second.run_id]
    assert f"{first.run_id} cannot be read: config.json" in str(unreadable()[0])
    listed = genrecore("runs", "list", "--json")
    assert listed.returncode == 0
    assert [row["run"] for row in json.loads(listed.stdout)] == [second.run_id]
    assert first.run_id in listed.stderr


def test_the_command_lists_what_is_asked_for(two_runs: list[Run]) -> None:
    first, second = two_runs
    actions.annotate(first, name="wide CNN", tags=["a", "b"], starred=True)
    actions.annotate(second, tags=["b"])

    def listed(*options: str) -> list[str]:
        rows = json.loads(command("runs", "list", "--json", *options))
        return sorted(row["run"] for row in rows)

    both = sorted(run.run_id for run in two_runs)
    assert listed() == listed("--tag", "b") == listed("--find", "done cnn") == both
    for options in (["--tag", "b", "--tag", "a"], ["--starred"], ["--find", "WIDE"],
                    ["--find", "seed 3"]):  # fmt: skip
        assert listed(*options) == [first.run_id]
    assert listed("--find", "seed 4") == [second.run_id]
    row = json.loads(command("runs", "list", "--json", "--starred"))[0]
    expected = {"name": "wide CNN", "tags": ["a", "b"], "starred": True, "seed": 3, "fold": 0}
    assert {key: row[key] for key in expected} == expected
    assert row["test accuracy"] == run_scores(first)["accuracy"]
    assert "★ wide CNN" in command("runs", "list")
    assert "No run fits" in command("runs", "list", "--tag", "nobody")
