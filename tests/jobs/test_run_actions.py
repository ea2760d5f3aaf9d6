"""What is done with runs that are there: resume, continue, clone, delete and their like."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from commands import command, genrecore, refused
from conftest import MEASURED, trained
from safetensors.torch import load_file

from genrecore.config.command import settings_words
from genrecore.config.run import RunConfig, differences, signature
from genrecore.errors import GenrecoreError, UsageError
from genrecore.jobs import actions
from genrecore.store.locks import LOCK, take_lock
from genrecore.store.progress import Ended, Phase, Stopped
from genrecore.store.run import Run
from genrecore.store.runs import all_runs, create_held_run
from genrecore.store.settings import last_dataset
from genrecore.store.status import Status, ask_to_stop
from genrecore.training import lifecycle

Tiny = Callable[..., RunConfig]
processes = pytest.mark.xdist_group("processes")  # one at a time: they share two cores


@pytest.fixture
def paused(store: Path) -> Path:
    """A store whose queue is paused, so that what is queued there waits for this process."""
    actions.pause(store)
    return store


def carried_out(run: Run, stop_at: tuple[str, int] | None = None, **wishes: object) -> Run:
    """Carries a run out here; asks for a stop when a phase comes to a step."""

    def watch(phase: str, done: int, total: int) -> None:
        if stop_at is not None and phase == stop_at[0] and done >= stop_at[1]:
            ask_to_stop(run.folder, **wishes)
            time.sleep(0.021)  # so that it is looked for at this very step

    lock = take_lock(run.folder / LOCK)
    assert lock is not None
    try:
        lifecycle.execute(run, watch)
    finally:
        os.close(lock)
    return Run(run.folder)


def alike(a: Run, b: Run) -> None:
    """Both runs learned the same: history, every epoch's predictions, steps' losses, weights."""
    history_a, history_b = (run.history.drop(columns=MEASURED, errors="ignore") for run in (a, b))
    assert history_a.to_dict("records") == history_b.to_dict("records")
    for name in ("epochs.u8", "steps.f32"):
        assert (a.folder / name).read_bytes() == (b.folder / name).read_bytes()
    for name in ("weights.safetensors", "last.safetensors"):
        weights, expected = (load_file(run.folder / name) for run in (a, b))
        assert weights.keys() == expected.keys()
        assert all(torch.equal(weights[key], expected[key]) for key in weights)


@pytest.fixture
def exiting(paused: Path, tiny: Tiny) -> Iterator[Callable[[float], Run]]:
    """`exiting(2)`: a run that is stopped, whose process needs so many seconds to exit."""
    program = "import sys, time\nprint(flush=True)\ntime.sleep(float(sys.argv[1]))"
    processes = []

    def make(seconds: float) -> Run:
        run, lock = create_held_run(tiny(), paused)
        Status(run.folder).move("stopped", "Stopped on request.", finished_at=time.time())
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(seconds)], pass_fds=[lock], stdout=subprocess.PIPE
        )
        processes.append(process)
        os.close(lock)
        assert process.stdout is not None
        process.stdout.readline()
        return Run(run.folder)

    yield make
    for process in processes:
        process.kill()
        process.communicate()


def test_a_run_whose_process_is_exiting_is_resumed_and_deleted_when_it_has(
    exiting: Callable[[float], Run],
) -> None:
    assert "is queued" in actions.resume(exiting(1.5))
    gone = exiting(1.5)
    actions.delete(gone)
    assert not gone.folder.exists()


def test_a_process_that_does_not_exit_is_named(
    exiting: Callable[[float], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "_EXITS_WITHIN_S", 0.1)
    run = exiting(600)
    for action in (actions.resume, actions.delete):
        with pytest.raises(GenrecoreError, match="has ended, but its process has not exited yet"):
            action(run)
    assert Run(run.folder).state == "stopped"


def test_a_rehearsal_is_not_what_pages_open_with(paused: Path, tiny: Tiny) -> None:
    actions.submit(tiny(rehearsal=10), paused)
    command("train", "--set", "rehearsal=10", *settings_words(tiny()), "--split", "by_artist")
    assert last_dataset(paused) is None
    actions.submit(tiny(), paused)
    assert last_dataset(paused) == tiny().dataset


@pytest.mark.slow
def test_a_stopped_run_is_resumed_where_it_was(paused: Path, tiny: Tiny) -> None:
    whole = trained(tiny(training__epochs=3), paused)
    run = actions.submit(tiny(training__epochs=3), paused)
    stopped = carried_out(run, (Phase.TRAINING, 4))
    assert (stopped.state, stopped.reason) == ("stopped", "Stopped on request.")
    assert "goes on from its last checkpoint" in actions.resume(stopped)
    assert Run(run.folder).state == "queued"
    with pytest.raises(GenrecoreError, match="cannot be resumed: it is queued"):
        actions.resume(Run(run.folder))
    again = carried_out(run)
    assert again.state == "done"
    alike(again, whole)
    assert [entry["state"] for entry in again.status["states"]] == [
        "queued", "preparing", "running", "stopped", "queued", "preparing", "running", "done",
    ]  # fmt: skip
    with pytest.raises(GenrecoreError, match="done; continue it for more epochs instead"):
        actions.resume(again)


@pytest.mark.parametrize(
    "n_reports", [9, 10, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 11, 12))]
)
def test_a_stop_around_an_epochs_end_changes_nothing(
    paused: Path, tiny: Tiny, n_reports: int
) -> None:
    config = tiny(training__epochs=2)
    whole = trained(config, paused)
    run = actions.submit(config, paused)
    reports = []

    def watch(phase: str, done: int, _total: int) -> None:
        reports.extend([done] if phase == Phase.TRAINING else [])
        if len(reports) == n_reports:  # at once: a request is looked for every few steps only
            raise Stopped

    lock = take_lock(run.folder / LOCK)
    assert lock is not None
    assert lifecycle.execute(run, watch) == "stopped"
    os.close(lock)
    # Eight steps, a validation of one batch, then the second epoch.
    assert reports[-1] == [*range(8), 8, 8, 9, 10][n_reports - 1]
    actions.resume(Run(run.folder))
    alike(carried_out(run), whole)


def test_a_failed_run_without_a_checkpoint_starts_over(
    paused: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = actions.submit(tiny(), paused)
    (run.folder / "clips.parquet").mkdir()  # where a file is to be
    failed = carried_out(run)
    assert failed.state == "failed"
    assert "Traceback" in failed.status["traceback"]
    (run.folder / "clips.parquet").rmdir()
    assert "starts over" in actions.resume(failed)
    assert "traceback" not in Run(run.folder).status
    assert carried_out(run).state == "done"


def test_a_stop_that_keeps_the_best_tests_the_best_epoch_so_far(paused: Path, tiny: Tiny) -> None:
    run = actions.submit(tiny(training__epochs=50), paused)
    n_steps = 3  # of the tiny set's epoch at least
    done = carried_out(run, (Phase.TRAINING, 4 * n_steps), keep_best=True)
    assert done.state == "done", done.reason
    assert "as asked" in done.reason
    assert 1 <= len(done.history) < 50
    assert done.predictions is not None
    assert set(done.predictions["split"]) == {"valid", "test"}
    assert not (run.folder / "stop").exists()


def test_before_the_first_epoch_there_is_no_best_to_keep(paused: Path, tiny: Tiny) -> None:
    run = actions.submit(tiny(), paused)
    assert carried_out(run, (Phase.TRAINING, 0), keep_best=True).state == "stopped"


def test_a_wish_to_keep_the_best_lets_the_test_go_on(paused: Path, tiny: Tiny) -> None:
    run = actions.submit(tiny(), paused)
    assert carried_out(run, (Phase.TESTING, 0), keep_best=True).state == "done"


def test_why_a_run_was_stopped_is_kept(paused: Path, tiny: Tiny) -> None:
    run = actions.submit(tiny(), paused)
    assert carried_out(run, (Phase.TRAINING, 1), reason="pruned").reason == "pruned"


def test_what_is_told_to_end_leaves_its_last_checkpoint_alone(paused: Path, tiny: Tiny) -> None:
    run = actions.submit(tiny(training__epochs=3), paused)
    stopped = carried_out(run, (Phase.TRAINING, 2))
    checkpoint = (run.folder / "resume.pt").read_bytes()
    actions.resume(stopped)

    def end(phase: str, done: int, total: int) -> None:
        if phase == Phase.TRAINING and done > 5:
            raise Ended

    lock = take_lock(run.folder / LOCK)
    assert lifecycle.execute(run, end) == "stopped"
    assert lock is not None
    os.close(lock)
    assert "before its step was finished" in Run(run.folder).reason
    assert (run.folder / "resume.pt").read_bytes() == checkpoint


@pytest.mark.slow
def test_a_run_is_continued_as_if_it_had_been_longer_from_the_start(
    paused: Path, tiny: Tiny
) -> None:
    short, whole = (trained(tiny(training__epochs=n), paused) for n in (2, 4))
    more = actions.continue_(short, 4)
    assert more.origin == {"parent": short.run_id, "how": "continued"}
    assert signature(more.config) == signature(whole.config)
    done = carried_out(more)
    assert done.state == "done", done.reason
    alike(done, whole)
    assert len(Run(short.folder).history) == 2  # the parent stays as it was


@pytest.mark.slow
def test_continuing_ends_what_had_an_end(paused: Path, tiny: Tiny) -> None:
    cosine = trained(tiny(training__schedule="cosine", training__lr_low=1e-5), paused)
    more = actions.continue_(cosine, 3)
    assert more.config.training.schedule == "constant"
    assert more.config.training.lr == cosine.history["lr"].iloc[-1]
    done = carried_out(more)
    assert done.history["lr"].iloc[-1] == cosine.history["lr"].iloc[-1]

    impatient = trained(tiny(training__epochs=30, training__patience=1, training__lr=0.05), paused)
    assert len(impatient.history) < 30
    more = actions.continue_(impatient, len(impatient.history) + 2)
    assert more.config.training.patience == 0
    assert len(carried_out(more).history) == len(impatient.history) + 2


def test_what_cannot_be_continued_says_why(paused: Path, tiny: Tiny) -> None:
    waiting = actions.submit(tiny(), paused)
    with pytest.raises(GenrecoreError, match="is queued, not done"):
        actions.continue_(waiting, 9)
    done = trained(tiny(), paused)
    with pytest.raises(GenrecoreError, match="has 2 epochs already; give a larger number than 2"):
        actions.continue_(done, 2)
    (done.folder / "resume.pt").unlink()
    with pytest.raises(GenrecoreError, match="has no checkpoint"):
        actions.continue_(done, 9)


def test_a_clone_differs_in_what_was_asked_for(paused: Path, tiny: Tiny) -> None:
    run = trained(tiny(), paused)
    cloned = actions.clone(run, {"training.lr": "0.01", "seed": 4})
    assert cloned.origin == {"parent": run.run_id, "how": "cloned"}
    assert differences(cloned.config, run.config) == {"training.lr": 0.01, "seed": 4}
    with pytest.raises(UsageError, match=r"training\.speed"):
        actions.clone(run, {"training.speed": 4})


def test_deleted_runs_come_back(paused: Path, tiny: Tiny) -> None:
    run, untouched = actions.submit(tiny(), paused), actions.submit(tiny(), paused)
    assert "can be restored" in actions.delete(run)
    assert [listed.run_id for listed in all_runs(paused)] == [untouched.run_id]
    assert [listed.run_id for listed in actions.queued(paused)] == [untouched.run_id]
    assert [listed.run_id for listed in actions.deleted(paused)] == [run.run_id]
    back = actions.restore(run.run_id[-4:], paused)
    assert (back.state, back.reason) == ("stopped", "cancelled")
    with pytest.raises(UsageError, match="There is no run"):
        actions.restore(run.run_id, paused)

    actions.delete(back)
    shutil.copytree(untouched.folder, paused / run.run_id)
    with pytest.raises(GenrecoreError, match="cannot be restored"):
        actions.restore(run.run_id, paused)
    assert actions.empty_bin(paused) == "1 run removed for good."
    assert actions.deleted(paused) == []


def test_a_run_at_work_is_not_deleted(paused: Path, tiny: Tiny) -> None:
    run, lock = create_held_run(tiny(), paused)
    with pytest.raises(GenrecoreError, match="is at work; stop it first"):
        actions.delete(run)
    os.close(lock)


def test_the_commands_say_what_they_do(paused: Path, tiny: Tiny) -> None:
    a, b = actions.submit(tiny(), paused), actions.submit(tiny(model="crnn"), paused)
    assert "The queue is paused" in command("queue", "list")
    assert "number 1 of 2" in command("queue", "move", b.run_id, "first")
    listed = json.loads(command("queue", "list", "--json"))
    assert [row["run"] for row in listed["runs"]] == [b.run_id, a.run_id]
    assert "priority 7" in command("queue", "move", a.run_id, "--priority", "7")
    assert json.loads(command("queue", "list", "--json"))["runs"][0]["priority"] == 7
    assert "is cancelled" in command("queue", "cancel", b.run_id)
    refused(genrecore("queue", "cancel", b.run_id), 2, "is not queued, it is stopped")
    assert "starts over" in command("runs", "resume", b.run_id)
    output = command("runs", "clone", a.run_id, "--set", "training.lr=0.002", "--set", "seed=3")
    assert "training.lr: 0.001 → 0.002" in output
    assert "seed: 0 → 3" in output
    refused(genrecore("runs", "continue", a.run_id, "--epochs", "9"), 1, "is queued, not done")
    assert "in the bin" in command("runs", "delete", b.run_id)
    assert b.run_id in command("runs", "restore")
    assert "is back" in command("runs", "restore", b.run_id)
    assert json.loads(command("queue", "pause", "--json"))["message"].startswith("The queue is")
    for run in actions.queued(paused):
        actions.stop(run)
    assert "start again" in command("queue", "resume")
    assert command("queue", "list").strip() == "No run waits."
