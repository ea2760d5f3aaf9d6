"""Runs as single files: out of one store, into another, and whatever else a file may be."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from commands import command, genrecore, refused
from fake_runs import fake_run
from opened import open_page, words
from untrained_runs import untrained_run

from genrecore.config.run import Part
from genrecore.errors import GenrecoreError, UsageError
from genrecore.evaluation.scores import run_scores
from genrecore.inference.loaded import load
from genrecore.jobs.sharing import import_run, missing_encoder, packed
from genrecore.store import runs
from genrecore.store.files import write_json
from genrecore.store.run import Run

NO_RUN = r"is no run that was shared|holds a damaged run"


@pytest.fixture
def run(store: Path) -> Run:
    return untrained_run(store, temperature=2.0)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def changed(content: bytes, **entries: bytes | None) -> bytes:
    """The file with other entries (`__` stands for a dot), or without those that are None."""
    changes = {
        name.replace("__", ".").replace("_run", "-run"): value for name, value in entries.items()
    }
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        for name in {*old.namelist(), *changes}:
            value = changes.get(name, old.read(name) if name in old.namelist() else None)
            if value is not None:
                new.writestr(name, value)
    return made.getvalue()


def test_a_shared_run_is_the_same_elsewhere(run: Run, elsewhere: Path) -> None:
    copy = import_run(packed(run), elsewhere)
    assert copy.run_id == run.run_id
    assert copy.state == "done"
    assert copy.config == run.config
    wave = 0.1 * np.random.default_rng(3).standard_normal(22_050 * 4)
    first, second = (load(each).classify(wave, sample_rate_hz=22_050).proba for each in (run, copy))
    np.testing.assert_array_equal(first, second)
    assert not (copy.folder / "resume.pt").exists()


def test_scores_and_badges_go_along(store: Path, elsewhere: Path) -> None:
    leaky = fake_run(store, np.arange(30) % 3 > 0, n_shared=4)
    (leaky.folder / "weights.safetensors").write_bytes(b"none are read here")
    copy = import_run(packed(leaky), elsewhere)
    assert run_scores(copy) == run_scores(leaky)
    assert copy.warnings == leaky.warnings
    assert copy.leak


@pytest.mark.slow
def test_commands_and_the_page_share_and_import(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.genrecore"
    assert "Written to" in command("runs", "share", run.run_id, str(file))
    refused(genrecore("runs", "import", str(file)), 2, f"The run {run.run_id} is here already")
    app = open_page("runs", run=run.run_id)
    assert "Share" in {button.proto.label for button in app.get("download_button")}
    command("runs", "delete", run.run_id)
    assert json.loads(command("runs", "import", str(file), "--json"))["run"] == run.run_id
    command("runs", "delete", run.run_id)
    app = open_page("runs")
    app.file_uploader(key="shared_run").upload("mine.genrecore", file.read_bytes()).run()
    app.button(key="import_run").click().run()
    assert app.query_params["run"] == run.run_id
    assert "is here" in str([toast.value for toast in app.toast]) or run.title in words(app)
    assert [each.run_id for each in runs.all_runs(run.folder.parent)] == [run.run_id]


@pytest.mark.parametrize("damage", ["words", "half", "nothing", "other zip", "a way out", "queued"])
def test_what_is_no_shared_run_is_one_sentence_and_leaves_nothing(
    run: Run, elsewhere: Path, damage: str
) -> None:
    good = packed(run)
    content = {
        "words": b"These are words.",
        "half": good[: len(good) // 2],
        "nothing": b"",
        "other zip": changed(good, genrecore_run__json=None),
        "a way out": changed(good, genrecore_run__json=b'{"run": "../../out"}'),
        "queued": changed(good, status__json=b'{"state": "queued", "states": []}'),
    }[damage]
    with pytest.raises(GenrecoreError, match=NO_RUN) as caught:
        import_run(content, elsewhere)
    assert "\n" not in str(caught.value)
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("name", ["status.json", "config.json", "predictions.parquet"])
def test_a_damaged_file_in_it_is_named(run: Run, elsewhere: Path, name: str) -> None:
    content = changed(packed(run), **{name.replace(".", "__"): b"{]"})
    with pytest.raises(GenrecoreError, match=f"holds a damaged run.*{name}|no run that was shared"):
        import_run(content, elsewhere)
    assert not list(elsewhere.iterdir())


def test_foreign_entries_are_left_and_a_run_at_work_is_not_shared(
    run: Run, elsewhere: Path, store: Path, tiny
) -> None:
    content = changed(packed(run), evil__sh=b"#!/bin/sh", lock=b"")
    assert not (import_run(content, elsewhere).folder / "evil.sh").exists()
    queued = runs.create_run(tiny(), store)
    with pytest.raises(GenrecoreError, match="is queued; a finished run can be shared"):
        packed(queued)
    with pytest.raises(UsageError, match="is here already"):
        import_run(content, elsewhere)


def test_an_imported_head_says_which_encoder_it_needs(run: Run, own_cache: Path) -> None:
    options = {"sha256": "0" * 64}
    config = run.config.model_copy(update={"feature": Part(name="encoder", options=options)})
    write_json(run.folder / "config.json", config.model_dump())
    assert "genrecore encoders fetch musicnn" in missing_encoder(Run(run.folder))
    assert not missing_encoder(run)
