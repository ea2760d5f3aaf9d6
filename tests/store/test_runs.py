"""Run folders and the queue: locks, states, the runner, stops and kills of real processes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from conftest import silent_for, trained, wait_for, wait_for_epoch

from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError, UsageError
from genrecore.jobs import actions, local
from genrecore.store.files import read_json, write_json
from genrecore.store.locks import is_locked, take_lock
from genrecore.store.processes import identity, is_same_process
from genrecore.store.run import Run
from genrecore.store.runs import create_held_run, create_run, find_run
from genrecore.store.status import Status, ask_to_stop, silent_s, stop_left_s

Tiny = Callable[..., RunConfig]
processes = pytest.mark.xdist_group("processes")  # one at a time: they share two cores

HOLD = """
import sys, time
from genrecore.store.locks import take_lock
assert take_lock(__import__("pathlib").Path(sys.argv[1])) is not None
print("held", flush=True)
time.sleep(60)
"""


def test_a_lock_ends_with_the_process_that_held_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    assert not is_locked(lock)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert is_locked(lock)
        assert take_lock(lock, patience_s=0.1) is None
    finally:
        holder.kill()
    # Not yet waited for, so it is a zombie now; a zombie holds nothing.
    wait_for(lambda: not is_locked(lock), most_s=5)
    holder.wait()


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write_json(path, {"n": 1})
    with pytest.raises(TypeError):
        write_json(path, {"n": object()})
    assert read_json(path) == {"n": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["status.json"]


def test_states_are_derived_from_lock_heartbeat_and_stop(store: Path, tiny: Tiny) -> None:
    run, lock = create_held_run(tiny(), store)
    assert Run(run.folder).state == "queued"
    Status(run.folder).move("running")
    assert Run(run.folder).state == "running"
    silent_for(run, 31)
    assert Run(run.folder).state == "stalled"
    Status(run.folder).update(median_step_s=60.0)
    silent_for(run, 31)
    assert Run(run.folder).state == "running"  # a step may take a minute where steps do
    ask_to_stop(run.folder)
    assert Run(run.folder).state == "stopping"
    os.close(lock)
    assert Run(run.folder).state == "lost"
    assert "left no message" in Run(run.folder).reason
    Status(run.folder).move("stopped")
    assert Run(run.folder).state == "stopped"


def test_an_unfinished_line_of_history_is_not_read(store: Path, tiny: Tiny) -> None:
    run = create_run(tiny(), store)
    line = '{"epoch": 1, "train_loss": 1.0, "train_accuracy": 0.5}\n'
    (run.folder / "history.jsonl").write_text(line + line.replace("1,", "2,", 1) + '{"epo')
    assert Run(run.folder).history["epoch"].tolist() == [1, 2]


def test_runs_are_found_by_any_unambiguous_part(store: Path, tiny: Tiny) -> None:
    first, second = create_run(tiny(), store), create_run(tiny(model="resnet18"), store)
    assert find_run("resnet18", store) == second
    assert find_run(first.run_id[-4:], store) == first
    assert find_run("latest", store).run_id == max(first.run_id, second.run_id)
    with pytest.raises(UsageError, match="could be any of 2"):
        find_run("demo", store)
    with pytest.raises(UsageError, match="There is no run 'nope'"):
        find_run("nope", store)


def test_a_store_that_cannot_be_written_is_one_sentence(tmp_path: Path, tiny: Tiny) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(GenrecoreError, match="cannot take a new run"):
        create_run(tiny(), blocked)


def test_a_process_with_a_reused_pid_is_not_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    own = identity()
    assert is_same_process(own)
    assert not is_same_process(own | {"start_ticks": own["start_ticks"] - 1})
    assert not is_same_process(own | {"boot_id": "another"})  # another machine, on a shared disk
    assert not is_same_process(own | {"pid_namespace": "pid:[1]"})  # another container
    assert not is_same_process({})
    monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
    assert is_same_process(own)


def test_processes_that_earlier_versions_noted_are_known_by_their_create_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    earlier = {key: identity()[key] for key in ("pid", "create_time", "boot_id", "host")}
    by_host = {key: earlier[key] for key in ("pid", "create_time", "host")}
    for noted in (earlier, by_host):
        assert is_same_process(noted)
        assert not is_same_process(noted | {"create_time": earlier["create_time"] - 5})
    monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
    assert is_same_process(earlier)
    assert not is_same_process(by_host)


@pytest.mark.parametrize("shift_s", [86_400.0, -86_400.0])
def test_a_clock_that_is_set_does_not_change_which_process_it_is(
    shift_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start of the machine, to which the system adds the ticks, moves with the clock."""
    own = identity()
    start = psutil.boot_time()
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: start + shift_s)
    assert psutil.Process().create_time() == pytest.approx(own["create_time"] + shift_s, abs=1.1)
    assert is_same_process(own)


@pytest.mark.parametrize("shift_s", [86_400.0, -86_400.0])
def test_how_long_a_job_is_silent_does_not_depend_on_the_clock(
    shift_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = time.time
    status = Status(tmp_path)
    status.update(state="running")
    silent_for(Run(tmp_path), 40)
    values = read_json(tmp_path / "status.json")
    monkeypatch.setattr(time, "time", lambda: clock() + shift_s)
    assert silent_s(tmp_path, values) == pytest.approx(40, abs=1)  # s; the file system's rounding
    status.update()
    assert silent_s(tmp_path, read_json(tmp_path / "status.json")) < 1
    # Written by another machine, whose clock is right; the disk tells the time, not this machine.
    there = values | {"clock": {"boot_id": "another", "monotonic_s": 7.0}}
    write_json(tmp_path / "status.json", there)
    silent_for(Run(tmp_path), 40)
    assert silent_s(tmp_path, there) == pytest.approx(40, abs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


def test_a_later_request_to_stop_counts_from_the_first(tmp_path: Path) -> None:
    ask_to_stop(tmp_path, within_s=60)
    request = read_json(tmp_path / "stop")
    request["clock"]["monotonic_s"] -= 50
    write_json(tmp_path / "stop", request)
    past = time.time() - 50
    os.utime(tmp_path / "stop", (past, past))
    ask_to_stop(tmp_path, within_s=70)
    assert stop_left_s(tmp_path) == pytest.approx(20, abs=1)


def test_a_waiting_run_is_cancelled_at_once(store: Path, tiny: Tiny) -> None:
    run = create_run(tiny(), store)
    assert "cancelled" in actions.stop(run)
    stopped = Run(run.folder)
    assert (stopped.state, stopped.reason) == ("stopped", "cancelled")
    with pytest.raises(GenrecoreError, match="ended already"):
        actions.stop(run)
    assert actions.queued(store) == []


def test_a_run_that_cannot_start_fails_after_three_tries(store: Path, tiny: Tiny) -> None:
    run = create_run(tiny(), store)
    for _ in range(3):
        status = Status(run.folder)
        status.move("starting", starts=int(status.values.get("starts", 0)) + 1)
        local.mend_false_start(Run(run.folder))
    failed = Run(run.folder)
    assert failed.state == "failed"
    assert "died 3 times" in failed.reason


@pytest.mark.long  # the tests of the queue kill a quick program's run, every time
@processes
def test_a_killed_trainer_is_lost_and_the_next_run_takes_its_slot(store: Path, tiny: Tiny) -> None:
    first, second = (actions.submit(tiny(seed=1, training__epochs=n), store) for n in (5000, 2))
    wait_for_epoch(first)
    assert Run(second.folder).state == "queued"  # the processor is one slot
    status = Run(first.folder).status
    assert is_same_process(status)
    os.kill(status["pid"], signal.SIGKILL)
    wait_for(lambda: Run(first.folder).state == "lost", most_s=30)
    lost = Run(first.folder)
    assert f"after epoch {len(lost.history)}" in lost.reason

    def second_is_done() -> bool:
        now = Run(second.folder)
        assert now.state not in ("failed", "lost"), now.reason
        return now.state == "done"

    wait_for(second_is_done, most_s=60)
    done = Run(second.folder)
    assert done.status["started_at"] > lost.status["heartbeat"]
    assert len({done.status["pid"], lost.status["pid"], os.getpid()}) == 3


@pytest.mark.long  # the browser test presses the page's Stop, every time
@processes
def test_a_stop_keeps_a_checkpoint_within_ten_seconds(store: Path, tiny: Tiny) -> None:
    run = actions.submit(tiny(training__epochs=5000), store)
    wait_for_epoch(run)
    pid = Run(run.folder).status["pid"]
    actions.stop(run)
    wait_for(lambda: Run(run.folder).state == "stopped", most_s=10)
    stopped = Run(run.folder)
    assert (stopped.folder / "resume.pt").stat().st_size > 1000
    assert (stopped.folder / "weights.safetensors").exists()
    assert not (stopped.folder / "stop").exists()
    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie")


@pytest.mark.long
@processes
def test_a_killed_runner_loses_nothing(store: Path, tiny: Tiny) -> None:
    first = actions.submit(tiny(training__epochs=400), store)
    second = actions.submit(tiny(seed=5), store)
    wait_for_epoch(first)
    workers = [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.info["cmdline"]
        and process.info["cmdline"][1:] == ["-m", "genrecore.jobs.runner", str(store)]
    ]
    assert len(workers) == 1
    workers[0].kill()
    assert Run(first.folder).state == "running"  # the run does not know
    actions.stop(first)
    # The finishing run starts another runner, which takes up what waits.
    wait_for(lambda: Run(second.folder).state == "done", most_s=60)
    assert Run(first.folder).state == "stopped"


@pytest.mark.slow
@processes
def test_a_task_has_status_log_and_stop(store: Path) -> None:
    command = ["datasets", "prepare", "demo", "--set", "n_genres=2", "--set", "n_clips=6",
             "--set", "n_artists=5", "--set", "clip_s=2"]  # fmt: skip
    task = actions.start_task(command, "Preparing the demo")
    wait_for(lambda: actions.Task(task.folder).state not in ("starting", "running"), most_s=60)
    done = actions.Task(task.folder)
    assert done.state == "done", done.log()
    assert "12 clips of 2 genres" in done.log()
    assert done.title == "Preparing the demo"
    assert task.task_id in [listed.task_id for listed in actions.tasks()]

    big = actions.start_task(["datasets", "prepare", "demo", "--set", "seed=77"], "A long one")
    wait_for(lambda: actions.Task(big.folder).status.get("total"))
    actions.stop_task(big)
    wait_for(lambda: actions.Task(big.folder).state == "stopped", most_s=10)


@pytest.mark.parametrize("name", ["resume.pt", "predictions.parquet"])
def test_a_full_disk_is_a_failure_that_says_so(store: Path, tiny: Tiny, name: str) -> None:
    from genrecore.training import lifecycle

    run, lock = create_held_run(tiny(), store)
    # The name it is written under first leads to where the kernel answers: no space left.
    temporary = f".{name}.{os.getpid()}-{threading.get_ident()}"
    (run.folder / temporary).symlink_to("/dev/full")

    assert lifecycle.execute(run) == "failed"
    os.close(lock)
    failed = Run(run.folder)
    assert "The disk is full" in failed.reason
    assert "Traceback" in failed.status["traceback"]
    assert len(failed.history) == 2  # what was written before is still there


def test_every_file_of_a_finished_run_is_there(store: Path, tiny: Tiny) -> None:
    run = trained(tiny(), store)
    assert run.state == "done", run.reason
    names = {path.name for path in run.folder.iterdir()}
    assert names >= {
        "config.json", "queue.json", "status.json", "history.jsonl", "epochs.u8", "steps.f32",
        "clips.parquet", "predictions.parquet", "segments.parquet", "weights.safetensors",
        "last.safetensors", "resume.pt", "environment.json", "lock",
    }  # fmt: skip
    assert not {name for name in names if name.startswith(".")}


def test_latest_is_no_run_that_a_wrong_clock_dated_in_the_future(store: Path) -> None:
    config = RunConfig()
    old, new = create_run(config, store), create_run(config, store)
    future = create_run(config, store)
    dated = {old: "20260101-000000-demo-cnn-0001", new: time.strftime("%Y%m%d-%H%M%S-demo-cnn-02")}
    for run, name in {**dated, future: "20991231-235959-demo-cnn-0003"}.items():
        run.folder.rename(store / name)
    assert find_run("latest", store).run_id == dated[new]
    shutil.rmtree(store / dated[new])
    shutil.rmtree(store / dated[old])
    assert find_run("latest", store).run_id.startswith("2099")  # there is no other
    (store / "20991231-235959-demo-cnn-0003").rename(store / "my best")
    assert find_run("latest", store).run_id == "my best"
