"""The queue beside damaged runs: the others end, and no runner is started in vain."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import wait_for
from damages import NESTED, Damage, to_fifo, to_folder, to_text, with_value
from test_queue import RUNNER, Tiny

from genrecore.jobs import actions, local, runner
from genrecore.store.locks import is_locked
from genrecore.store.run import Run
from genrecore.store.runs import create_run

pytestmark = pytest.mark.xdist_group("processes")  # one at a time: they share two cores
PROGRAM = [sys.executable, str(Path(__file__).with_name("queue_program.py"))]

UNREADABLE = [
    Damage("queue.json", with_value("priority", "x"), "priority"),
    Damage("queue.json", with_value("position", [1]), "position"),
    Damage("status.json", with_value("starts", "x"), "starts"),
    Damage("status.json", with_value("state", ["queued"]), "state"),
    Damage("queue.json", to_text(NESTED), ""),
    Damage("status.json", to_text(NESTED), ""),
    Damage("config.json", to_text("{"), ""),
    Damage("origin.json", to_text("7"), ""),
    Damage("log.txt", to_fifo, ""),
    Damage("lock", to_folder, ""),
]


@pytest.mark.slow
def test_a_good_run_ends_beside_runs_that_cannot_be_read(
    store: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "RUNNER", RUNNER)
    bad = []
    for damage in UNREADABLE:
        run = create_run(tiny(), store, priority=5)
        damage.damage(run.folder / damage.file)
        bad.append(run)
    good = create_run(tiny(), store)
    assert [run.run_id for run in actions.queued(store)] == [good.run_id]
    actions.ensure_runner(store)
    wait_for(lambda: Run(good.folder).state == "done", most_s=20)
    wait_for(lambda: not is_locked(store / actions.RUNNER_LOCK), most_s=10)
    assert not any((run.folder / "begun").exists() for run in bad)
    # Nothing is left to do, so no further runner starts.
    actions.ensure_runner(store)
    assert not is_locked(store / actions.RUNNER_LOCK)


@pytest.mark.slow
def test_a_mended_run_starts_at_the_next_look(
    store: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "RUNNER", RUNNER)
    run = create_run(tiny(), store)
    before = (run.folder / "queue.json").read_bytes()
    with_value("priority", "x")(run.folder / "queue.json")
    actions.ensure_runner(store)
    assert not is_locked(store / actions.RUNNER_LOCK)
    (run.folder / "queue.json").write_bytes(before)
    actions.ensure_runner(store)
    wait_for(lambda: Run(run.folder).state == "done", most_s=20)


@pytest.mark.parametrize("error", [ValueError("not this one"), OSError(28, "No space")])
def test_what_goes_wrong_with_a_run_fails_it_and_no_other(
    error: Exception, store: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = create_run(tiny(), store, priority=1), create_run(tiny(), store)
    spawn_run = local.spawn_run

    def spawn(run: Run, *arguments: object) -> object:
        if run.run_id == bad.run_id:
            raise error
        return spawn_run(run, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(local, "spawn_run", spawn)
    runner.work(store, PROGRAM)
    assert (Run(bad.folder).state, Run(good.folder).state) == ("failed", "done")
    assert ("not this one" if isinstance(error, ValueError) else "full") in Run(bad.folder).reason


def test_a_run_whose_failure_cannot_be_written_is_left_alone(
    store: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = create_run(tiny(), store, priority=1), create_run(tiny(), store)
    move: Callable[..., None] = runner.Status.move

    def fail(status: runner.Status, state: str, *arguments: object, **values: object) -> None:
        if status.folder == bad.folder:
            raise PermissionError(13, "Permission denied")
        move(status, state, *arguments, **values)

    monkeypatch.setattr(runner.Status, "move", fail)
    runner.work(store, PROGRAM)  # it ends
    assert (Run(bad.folder).state, Run(good.folder).state) == ("queued", "done")


IN_THE_WAY = {
    ".runner.lock": to_folder,
    ".runner.log": to_fifo,
    ".slots": to_text("x"),
    ".slots/cpu.lock": to_folder,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_THE_WAY)
def test_nothing_in_the_place_of_a_lock_or_log_stops_the_queue(
    name: str, store: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "RUNNER", RUNNER)
    run = create_run(tiny(), store)
    (store / name).parent.mkdir(exist_ok=True)
    IN_THE_WAY[name](store / name)
    actions.ensure_runner(store)
    wait_for(lambda: Run(run.folder).state == "done", most_s=20)
    wait_for(lambda: not is_locked(store / actions.RUNNER_LOCK), most_s=10)
    assert (store / ".damaged" / Path(name).name).exists()
