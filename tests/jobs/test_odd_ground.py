"""The queue on odd ground: clocks that disagree, a host that is renamed, a disk without locks or
room. Real processes; what the system says is changed for them where the system cannot be."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from commands import genrecore, refused
from conftest import silent_for, wait_for
from test_queue import RUNNER, is_running, runners

from genrecore import __version__
from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError
from genrecore.experiments import plan
from genrecore.jobs import actions, runner, slots
from genrecore.jobs.spawn import PROGRAM, spawn
from genrecore.store.files import read_json, write_json
from genrecore.store.locks import NoLocks, is_locked, take_lock
from genrecore.store.processes import identity
from genrecore.store.run import Run
from genrecore.store.runs import create_run
from genrecore.store.status import Status

Tiny = Callable[..., RunConfig]
processes = pytest.mark.xdist_group("processes")  # one at a time: they share two cores
ODD_SYSTEM = str(Path(__file__).with_name("odd_system"))
DAY_S = 86_400


def odd(monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
    """Processes that are started from now on see such a system, and an honest one elsewhere."""
    path = os.environ.get("PYTHONPATH", "")
    if ODD_SYSTEM not in path:
        monkeypatch.setenv("PYTHONPATH", f"{ODD_SYSTEM}{os.pathsep}{path}")
    for name in ("ODD_CLOCK_S", "ODD_HOST", "ODD_LOCKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(f"ODD_{name.upper()}", str(value))


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A genrecore command in a process of its own, on the system that `odd` has set."""
    words = [sys.executable, "-m", "genrecore", *arguments]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def deaf(store: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A queued run that, once it works, neither stops when asked nor at TERM."""
    monkeypatch.setattr(actions, "RUNNER", (*RUNNER, "--deaf"))
    run = create_run(tiny(), store)
    (run.folder / "steps").write_text("100000")
    return run


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.slow
@processes
@pytest.mark.parametrize(
    ("clock_of_run", "clock_of_stop"),
    [(DAY_S, -DAY_S), pytest.param(-DAY_S, DAY_S, marks=pytest.mark.long)],
)
def test_clocks_a_day_apart_neither_stall_a_run_nor_let_it_outlive_its_stop(
    clock_of_run: int, clock_of_stop: int, deaf: Run, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd(monkeypatch, clock_s=clock_of_run)
    actions.ensure_runner(store)
    wait_for(lambda: is_running(deaf))
    pid = Run(deaf.folder).status["pid"]
    odd(monkeypatch, clock_s=clock_of_stop)
    assert '"running"' in command("runs", "list", "--json").stdout
    stopped = command("runs", "stop", deaf.run_id, "--within", "0.5")
    assert stopped.returncode == 0, stopped.stderr
    asked = Run(deaf.folder)
    assert asked.state == "stopping"
    assert asked.stop_left_s is not None
    assert asked.stop_left_s <= 0.5
    wait_for(lambda: Run(deaf.folder).state == "stopped", most_s=10)
    assert "by force" in Run(deaf.folder).reason
    assert is_gone(pid)


@pytest.mark.slow
@processes
def test_a_run_is_ended_by_force_after_its_machine_was_renamed(
    deaf: Run, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd(monkeypatch, host="laptop.home")
    actions.ensure_runner(store)
    wait_for(lambda: is_running(deaf))
    assert Run(deaf.folder).status["host"] == "laptop.home"
    pid = Run(deaf.folder).status["pid"]
    for process in runners(store):
        process.kill()
    wait_for(lambda: not is_locked(store / actions.RUNNER_LOCK))
    odd(monkeypatch, host="laptop.office")
    actions.stop(deaf, within_s=0.3)
    wait_for(lambda: Run(deaf.folder).state == "stopped", most_s=10)
    assert is_gone(pid)


# A disk that is full, read-only or gone


def filled(disk: Path, left_bytes: int = 0) -> Path:
    """Fills a file system but for so many bytes; returns the file that takes the room."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), open(filler, "wb") as stream:
        while True:
            stream.write(bytes(4096))
            stream.flush()
    with open(filler, "r+b") as stream:
        stream.truncate(stream.seek(0, os.SEEK_END) - left_bytes)
    return filler


@pytest.mark.slow
@processes
def test_a_queue_that_stood_for_want_of_room_goes_on_by_itself(
    small_disk: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "RUNNER", RUNNER)
    waiting = [create_run(tiny(), small_disk) for _ in range(2)]
    filler = filled(small_disk)
    actions.ensure_runner(small_disk)
    wait_for(lambda: is_locked(small_disk / actions.RUNNER_LOCK))
    time.sleep(1.0)  # three times as long as it waits between two tries
    assert [Run(run.folder).state for run in waiting] == ["queued", "queued"]
    assert is_locked(small_disk / actions.RUNNER_LOCK)  # it is there when there is room
    filler.unlink()
    wait_for(lambda: [Run(run.folder).state for run in waiting] == ["done", "done"])
    wait_for(lambda: not is_locked(small_disk / actions.RUNNER_LOCK))


def every_action(run: Run, store: Path, tiny: Tiny) -> dict[str, Callable[[], object]]:
    return {
        "submit": lambda: create_run(tiny(), store),
        "stop": lambda: actions.stop(run),
        "pause": lambda: actions.pause(store),
        "pause at once": lambda: actions.pause(store, now=True),
        "move": lambda: actions.move(run, "first"),
        "prioritise": lambda: actions.prioritise(run, 3),
        "annotate": lambda: actions.annotate(run, name="x"),
        "unpause": lambda: actions.unpause(store),
        "resume": lambda: actions.resume(run),
        "clone": lambda: actions.clone(run, {}),
        "runner": lambda: actions.ensure_runner(store),
        "share": lambda: slots.share_cpu(2, store),
        "delete": lambda: actions.delete(run),
        "restore": lambda: actions.restore(run.run_id, store),
        "empty": lambda: actions.empty_bin(store),
    }


def outcome(action: Callable[[], object]) -> str:
    """What a person reads of an action; any other error than one for people is raised."""
    try:
        action()
    except GenrecoreError as error:
        return str(error)
    return "Done."


@pytest.mark.parametrize("trouble", ["full", "read-only", "removed"])
def test_every_action_ends_in_a_sentence_and_leaves_nothing_half_made(
    trouble: str, small_disk: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "RUNNER", (sys.executable, "-c", ""))
    run = create_run(tiny(), small_disk)
    if trouble == "full":
        filled(small_disk)
    elif trouble == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    else:
        shutil.rmtree(run.folder)
    for name, action in every_action(run, small_disk, tiny).items():
        sentence = outcome(action)
        assert sentence.endswith("."), name
        assert "Errno" not in sentence, name
    left = sorted(path.name for path in small_disk.iterdir())
    assert not [name for name in left if name.startswith(".new-")]
    if trouble == "removed":  # no ghost comes back
        assert run.run_id not in left


def test_a_run_at_work_can_be_asked_to_stop_on_a_full_disk(
    small_disk: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "RUNNER", (sys.executable, "-c", ""))
    run = create_run(tiny(), small_disk)
    lock = take_lock(run.folder / "lock")
    assert lock is not None
    Status(run.folder).move("running", **identity())
    filled(small_disk)
    assert "stops" in actions.stop(run)
    assert Run(run.folder).state == "stopping"
    assert Run(run.folder).stop_left_s == pytest.approx(60, abs=5)  # s, as by default
    os.close(lock)


def test_what_a_killed_process_left_half_made_is_removed_after_an_hour(store: Path) -> None:
    for name in (".new-old-1-2", ".new-fresh-3-4"):
        (store / name).mkdir()
        (store / name / "config.json").write_text("{}")
    past = time.time() - 3_700
    os.utime(store / ".new-old-1-2", (past, past))
    runner.work(store)
    assert [path.name for path in store.glob(".new-*")] == [".new-fresh-3-4"]


# A disk without file locks


def take_locks_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on the system has no locks, here and in processes that are started then."""

    def refuse(descriptor: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    odd(monkeypatch, locks=1)


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called, it takes the system's locks away."""
    return lambda: take_locks_away(monkeypatch)


def test_without_locks_a_new_run_is_refused_and_leaves_nothing(
    store: Path, own_cache: Path, tiny: Tiny, without_locks: Callable[[], None]
) -> None:
    stopped = create_run(tiny(), store)
    actions.stop(stopped)
    without_locks()
    for action in (
        lambda: create_run(tiny(), store),
        lambda: actions.resume(stopped),
        lambda: actions.start_task(["datasets", "list"], "A task"),
        lambda: plan.write(tiny(), "A plan", {}, store),
    ):
        with pytest.raises(NoLocks, match=r"cannot be locked \(No locks available"):
            action()
    actions.ensure_runner(store)  # as pages do
    assert not [path.name for path in store.rglob("*") if path.name.startswith(".new-")]
    assert actions.tasks() == []
    refused(genrecore("train", "--background", "--epochs", "1"), 1, "cannot be locked")


def test_without_locks_states_tell_the_living_from_the_dead(
    store: Path, tiny: Tiny, without_locks: Callable[[], None]
) -> None:
    dead, living, elsewhere, gone, done = (create_run(tiny(), store) for _ in range(5))
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    Status(living.folder).move("running", **identity(process.pid))
    Status(dead.folder).move("running", **(identity(process.pid) | {"start_ticks": 1}))
    Status(done.folder).move("done")
    for run in (elsewhere, gone):
        Status(run.folder).move("running", **(identity() | {"boot_id": "another"}))
        values = read_json(run.folder / "status.json")
        values["clock"]["boot_id"] = "another"
        write_json(run.folder / "status.json", values)
    silent_for(gone, 100)
    without_locks()
    runs = (dead, living, elsewhere, gone, done)
    assert [Run(run.folder).state for run in runs] == [
        "lost", "running", "running", "lost", "done",
    ]  # fmt: skip
    with pytest.raises(GenrecoreError, match="at work"):
        actions.delete(living)
    with pytest.raises(GenrecoreError, match="is lost"):
        actions.stop(dead)
    assert "finishes its step" in actions.stop(living)
    process.kill()
    process.wait()
    assert Run(living.folder).state == "lost"
    for run in (done, dead):
        assert "in the bin" in actions.delete(run)


# Ends before the beginning


@processes
@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9, most likely because memory"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "ended by signal 11, without a word"),
        ("print('no such library'); os.abort()", "ended by signal 6; it said: no such library"),
        ("sys.exit(7)", "with exit code 7, without a word"),
    ],
)
def test_a_run_that_dies_at_the_start_three_times_names_the_signal(
    ending: str, reason: str, store: Path, tiny: Tiny
) -> None:
    run = create_run(tiny(), store)
    program = f"import os, signal, sys; {ending}; "
    runner.work(store, [sys.executable, "-u", "-c", program])
    failed = Run(run.folder)
    assert failed.state == "failed"
    assert failed.reason.startswith("Its process died 3 times before it began")
    assert reason in failed.reason


def test_a_process_takes_no_file_of_the_folder_it_is_started_in_for_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "queue.py").write_text("raise SystemExit('a file of the user was run')\n")
    monkeypatch.chdir(tmp_path)
    with open(tmp_path / "log.txt", "w") as log:
        process = spawn([*PROGRAM, "--version"], log, [], {})
    assert process.wait(timeout=60) == 0
    assert (tmp_path / "log.txt").read_text() == f"{__version__}\n"
