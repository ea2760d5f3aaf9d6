"""Mending run folders: a copy is kept, what other files say is used, nothing is made up."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import command, genrecore, refused
from conftest import ROOT
from damages import SOME, Damage, cut, gone, to_text, with_line, with_value

from genrecore.errors import GenrecoreError
from genrecore.jobs import actions
from genrecore.jobs.repair import first_fault
from genrecore.store.locks import take_lock
from genrecore.store.run import Run
from genrecore.store.runs import fault, find_folder, unreadable_runs

OLD_RUNS = {path.name[-4:]: path for path in (ROOT / "tests" / "store" / "old_runs").iterdir()}


@pytest.fixture
def copy(nobody_starts: Path) -> Callable[..., Run]:
    """`copy("9df4")`: a copy of a run of an earlier version: done (9df4), stopped (c77b)."""

    def make(name: str = "9df4") -> Run:
        folder = nobody_starts / OLD_RUNS[name].name
        shutil.copytree(OLD_RUNS[name], folder)
        return Run(folder)

    return make


@pytest.mark.parametrize("damage", SOME)
def test_every_damage_can_be_mended_and_leaves_a_copy(
    damage: Damage, copy: Callable[..., Run]
) -> None:
    run = copy()
    before = Run(run.folder).config
    path = run.folder / damage.file
    damage.damage(path)
    damaged = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
    sentence = actions.repair(find_folder(run.run_id))
    assert f"The run {run.run_id} can be read again. {damage.file}" in sentence
    mended = Run(run.folder)
    assert fault(mended.folder) is None
    assert first_fault(mended) is None
    assert mended.config == before
    if damaged:
        assert (run.folder / "damaged" / damage.file).read_bytes() == damaged
    has_test = damage.file != "predictions.parquet"
    assert mended.state == ("done" if has_test else "stopped")
    assert "nothing is to be mended" in actions.repair(mended)


def test_a_status_is_taken_from_what_lies_there(copy: Callable[..., Run]) -> None:
    done, stopped = copy("9df4"), copy("c77b")
    for run in (done, stopped):
        to_text("{")(run.folder / "status.json")
        actions.repair(run)
    again = Run(done.folder)
    assert (again.state, again.status["epoch"], again.status["best_epoch"]) == ("done", 4, 3)
    assert again.status["best_valid_accuracy"] == 0.5
    assert (Run(stopped.folder).state, Run(stopped.folder).status["epoch"]) == ("stopped", 37)
    assert "goes on from its last checkpoint" in actions.resume(Run(stopped.folder))
    (done.folder / "predictions.parquet").unlink()
    (done.folder / "resume.pt").unlink()
    gone(done.folder / "status.json")
    actions.repair(done)
    assert Run(done.folder).state == "failed"
    assert "resuming starts over" in Run(done.folder).reason


def test_good_values_stay(copy: Callable[..., Run]) -> None:
    run = copy()
    status = json.loads((run.folder / "status.json").read_text())
    status["states"][1] = {"state": "preparing"}
    (run.folder / "status.json").write_text(json.dumps(status | {"starts": "x", "later": 7}))
    (run.folder / "queue.json").write_text('{"priority": "x", "position": 5.5, "queued_at": 7.0}')
    with_line(2, "{broken")(run.folder / "history.jsonl")
    actions.repair(run)
    again = Run(run.folder)
    assert (again.status["later"], again.status["epoch"], len(again.status["states"])) == (7, 4, 3)
    assert again.queue == {"position": 5.5, "queued_at": 7.0}
    assert again.history["epoch"].tolist() == [1, 3, 4]
    kept = sorted(path.name for path in (run.folder / "damaged").iterdir())
    assert kept == ["history.jsonl", "queue.json", "status.json"]


def test_a_queued_run_waits_again(nobody_starts: Path, copy: Callable[..., Run]) -> None:
    run = copy("c77b")
    actions.resume(run)
    with_value("starts", "x")(run.folder / "status.json")
    assert actions.queued(nobody_starts) == []
    actions.repair(run)
    assert [waiting.run_id for waiting in actions.queued(nobody_starts)] == [run.run_id]


def test_tables_and_audits_are_not_made_up(copy: Callable[..., Run]) -> None:
    run = copy()
    with_value("n_clips", "30")(run.folder / "audit.json")
    table = pd.read_parquet(run.folder / "segments.parquet")
    table.assign(p_waltz=np.inf).to_parquet(run.folder / "segments.parquet")
    actions.repair(run)
    again = Run(run.folder)
    assert again.segments is None
    assert again.separation is not None
    assert again.separation.answer == "cannot be known"


def test_what_cannot_be_mended_is_said(copy: Callable[..., Run]) -> None:
    run = copy()
    cut(run.folder / "config.json")
    for name in ("weights.safetensors", "last.safetensors"):
        (run.folder / name).unlink()
    refused(genrecore("runs", "repair", run.run_id), 1, "config.json", "no weights hold")
    assert (run.folder / "damaged" / "config.json").exists()
    command("runs", "delete", run.run_id)
    assert unreadable_runs() == []
    assert json.loads(command("runs", "restore", "--json")) == [
        {"run": run.run_id, "state": "unreadable"}
    ]
    assert actions.restore(run.run_id).run_id == run.run_id


def test_a_name_that_cannot_be_shown_becomes_one_that_can(copy: Callable[..., Run]) -> None:
    run = copy()
    run.folder.rename(run.folder.with_name("a\x1b[2J\udcff"))
    assert "at the folder's name: expected a name" in genrecore("runs", "list").stderr
    [row] = json.loads(command("runs", "repair", "--json"))
    sentence = command("runs", "repair", row["run"])
    assert sentence.strip() == "The run a_[2J_ can be read again."
    assert Run(run.folder.with_name("a_[2J_")).state == "done"


def test_the_losses_before_a_bad_one_stay(copy: Callable[..., Run]) -> None:
    run = copy()
    path, good = run.folder / "steps.f32", np.array([2.5, 1.5], "<f4").tobytes()
    for bad in (b"\0\0\x80", np.array([np.nan, 1.0], "<f4").tobytes()):
        path.write_bytes(good + bad)
        assert "steps.f32 keeps the losses of 2 steps." in actions.repair(run)
        assert path.read_bytes() == good
    assert fault(run.folder) is None


def test_a_huge_file_is_moved_and_not_copied(copy: Callable[..., Run]) -> None:
    run = copy()
    for name in ("history.jsonl", "status.json", "epochs.u8"):
        os.truncate(run.folder / name, 2**40)
    actions.repair(run)
    assert fault(run.folder) is None
    assert (run.folder / "damaged" / "history.jsonl").stat().st_size == 2**40


def test_a_run_at_work_is_not_mended(copy: Callable[..., Run]) -> None:
    run = copy()
    with_value("priority", "x")(run.folder / "queue.json")
    lock = take_lock(run.folder / "lock")
    assert lock is not None
    with pytest.raises(GenrecoreError, match="is at work; stop it first"):
        actions.repair(run)
    os.close(lock)


def test_the_command_lists_and_mends(copy: Callable[..., Run]) -> None:
    run = copy()
    with_value("position", [1])(run.folder / "queue.json")
    [row] = json.loads(command("runs", "repair", "--json"))
    assert row == {
        "run": run.run_id, "file": "queue.json", "place": "position",
        "reason": "expected a number, found a list",
    }  # fmt: skip
    assert "can be read again" in command("runs", "repair", run.run_id[-4:])
    assert "All runs can be read." in command("runs", "repair")
