"""Stops, kills, full disks and power cuts, wherever a run stands: nothing is lost or half there."""

from __future__ import annotations

import contextlib
import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import trained
from test_run_actions import alike, carried_out

from genrecore.config.run import RunConfig
from genrecore.jobs import actions as jobs
from genrecore.store.locks import LOCK, take_lock
from genrecore.store.progress import Phase
from genrecore.store.run import Run
from genrecore.training import lifecycle

Tiny = Callable[..., RunConfig]
BASELINE: dict[str, object] = {
    "model": "random_forest",
    "model__n_trees": 40,
    "feature": "descriptors",
}
PHASES = {
    "corpus": (Phase.DECODING, 1),
    "features": (Phase.FEATURES, 0),
    "standardisation": (Phase.STANDARDISATION, 0),
    "training": (Phase.TRAINING, 4),
    "test": (Phase.TESTING, 0),
    "baseline": (Phase.TRAINING, 10),
}
SHORT = ("corpus", "training")
every_phase = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in SHORT else pytest.mark.long) for n in PHASES]
)


@pytest.fixture
def waiting(store: Path, own_cache: Path) -> Path:
    """A store whose queue is paused, and a cache without anything in it."""
    jobs.pause(store)
    return store


def settings_of(name: str, tiny: Tiny) -> RunConfig:
    return tiny(training__epochs=3) if name != "baseline" else tiny(**BASELINE)


def in_a_process(work: Callable[[], object]) -> int:
    """Does the work in a child of this process and returns its exit code; minus a signal."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


@pytest.mark.slow
@every_phase
def test_a_stop_is_obeyed_in_every_phase(name: str, waiting: Path, tiny: Tiny) -> None:
    run = jobs.submit(settings_of(name, tiny), waiting)
    stopped = carried_out(run, PHASES[name])
    assert (stopped.state, stopped.reason) == ("stopped", "Stopped on request.")
    assert not stopped.alive
    jobs.resume(stopped)
    assert carried_out(run).state == "done", Run(run.folder).reason


@pytest.mark.slow
@every_phase
def test_a_kill_in_any_phase_loses_nothing(name: str, waiting: Path, tiny: Tiny) -> None:
    config = settings_of(name, tiny)
    run = jobs.submit(config, waiting)
    phase, step = PHASES[name]

    def die(now: str, done: int, total: int) -> None:
        if now == phase and done >= step:
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        lock = take_lock(run.folder / LOCK)
        assert lock is not None
        lifecycle.execute(run, die)

    assert in_a_process(work) == -signal.SIGKILL, Run(run.folder).reason
    lost = Run(run.folder)
    assert lost.state == "lost"
    assert "left no message" in lost.reason  # no runner was there to see it
    jobs.resume(lost)
    done = carried_out(run)
    assert done.state == "done", done.reason
    if name != "baseline":
        alike(done, trained(config, waiting))


@pytest.mark.slow
def test_a_run_killed_within_an_epoch_goes_on_from_its_checkpoint(store: Path, tiny: Tiny) -> None:
    """What was written since the checkpoint is not there twice, and nothing is learned twice."""
    jobs.pause(store)
    config = tiny(training__epochs=6, training__schedule="one_cycle", training__batch_size=3)
    whole = trained(config, store)
    n_steps = int(whole.status["total"]) // 6
    run = jobs.submit(config, store)
    assert carried_out(run, (Phase.TRAINING, n_steps + 2)).state == "stopped"
    checkpoint = (run.folder / "resume.pt").read_bytes()
    jobs.resume(Run(run.folder))

    def die(phase: str, done: int, total: int) -> None:
        if phase == Phase.TRAINING and done == 3 * n_steps + 4:
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        lock = take_lock(run.folder / LOCK)
        assert lock is not None
        lifecycle.execute(run, die)

    assert in_a_process(work) == -signal.SIGKILL, Run(run.folder).reason
    lost = Run(run.folder)
    assert (lost.state, len(lost.history)) == ("lost", 3)
    assert (run.folder / "resume.pt").read_bytes() == checkpoint
    jobs.resume(lost)
    done = carried_out(run)
    assert done.state == "done", done.reason
    alike(done, whole)
    pd.testing.assert_frame_equal(done.predictions, whole.predictions)


def cut_at(n: int, run: Run) -> int:
    """Carries a run out in a process whose power fails before its n-th rename; its exit code."""

    def work() -> None:
        n_left = n

        def counted(rename: Callable[..., Any]) -> Callable[..., Any]:
            def maybe(*paths: Any, **options: Any) -> Any:
                nonlocal n_left
                n_left -= 1
                if n_left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return rename(*paths, **options)

            return maybe

        os.replace, os.rename = counted(os.replace), counted(os.rename)
        lock = take_lock(run.folder / LOCK)
        assert lock is not None
        assert lifecycle.execute(run) == "done", Run(run.folder).reason

    return in_a_process(work)


def readable(run: Run) -> None:
    """Everything a page reads of a run is whole or not there."""
    now = Run(run.folder)
    assert now.state in ("queued", "lost")
    assert len(now.epoch_predictions) >= len(now.history)
    for table in (now.clips, now.predictions, now.segments):
        assert table is None or len(table)
    assert now.config == run.config
    assert now.reason is not None


@pytest.mark.slow
@pytest.mark.parametrize("n", [4, 12])
def test_a_power_cut_leaves_what_can_be_read_and_gone_on_with(
    n: int, store: Path, tiny: Tiny
) -> None:
    jobs.pause(store)
    run = jobs.submit(tiny(), store)
    assert cut_at(n, run) == -signal.SIGKILL, Run(run.folder).reason
    readable(run)
    assert carried_out(run).state == "done"


@pytest.mark.long
def test_a_power_cut_at_any_write_leaves_what_can_be_read(store: Path, tiny: Tiny) -> None:
    jobs.pause(store)
    for n in range(1, 200):
        run = jobs.submit(tiny(), store)
        if cut_at(n, run) == 0:
            assert n > 10
            return
        readable(run)
        assert carried_out(run).state == "done"
    raise AssertionError("the run never came to its end")


@pytest.mark.slow
def test_a_full_disk_fails_a_run_that_goes_on_when_there_is_room(
    small_disk: Path, tiny: Tiny
) -> None:
    jobs.pause(small_disk)
    run = jobs.submit(tiny(training__epochs=3), small_disk)
    stopped = carried_out(run, (Phase.TRAINING, 10))
    assert stopped.state == "stopped"
    before = stopped.history
    assert len(before) == 1
    jobs.resume(stopped)
    with contextlib.suppress(OSError), open(small_disk / "filler", "wb") as filler:
        while True:
            filler.write(bytes(4096))
            filler.flush()
    with open(small_disk / "filler", "r+b") as filler:  # little room, but for status and log
        filler.truncate(filler.seek(0, os.SEEK_END) - 400 * 1024)
    failed = carried_out(run)
    assert failed.state == "failed"
    assert "disk is full" in failed.reason
    assert failed.history.head(len(before)).equals(before)
    assert (run.folder / "resume.pt").exists()

    (small_disk / "filler").unlink()
    jobs.resume(failed)
    done = carried_out(run)
    assert done.state == "done", done.reason
    assert len(done.history) == 3
