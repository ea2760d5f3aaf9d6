"""The queue: order, pause, adoption, and ends of every kind, with real processes."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from commands import command, genrecore, refused
from conftest import silent_for, wait_for

from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError, UsageError
from genrecore.jobs import actions, alerts, runner, slots
from genrecore.jobs.local import Local
from genrecore.store.files import read_json, write_json
from genrecore.store.locks import is_locked
from genrecore.store.processes import LEADER, identity, living_processes
from genrecore.store.run import Run
from genrecore.store.runs import all_runs, create_run
from genrecore.store.status import STATUS

Tiny = Callable[..., RunConfig]
processes = pytest.mark.xdist_group("processes")  # one at a time: they share two cores
RUNNER = (sys.executable, str(Path(__file__).with_name("queue_runner.py")))


def states(store: Path) -> dict[str, str]:
    return {run.run_id: run.state for run in all_runs(store)}


def names(listed: list[Run]) -> list[str]:
    return [run.run_id for run in listed]


@pytest.fixture
def quick(store: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """`quick(steps=10)`: a queued run that the small program carries out once there is a runner."""
    monkeypatch.setattr(actions, "RUNNER", RUNNER)
    config = tiny()

    def make(steps: int = 10) -> Run:
        run = create_run(config, store)
        (run.folder / "steps").write_text(str(steps))
        return run

    return make


def is_running(run: Run) -> bool:
    return Run(run.folder).state == "running"


# Order and pause, without processes


@pytest.mark.slow
def test_runs_are_moved_in_the_order_in_which_they_start(store: Path, tiny: Tiny) -> None:
    a, b, c, d = (create_run(tiny(), store) for _ in range(4))
    assert names(actions.queued(store)) == names([a, b, c, d])
    assert "number 1 of 4" in actions.move(Run(d.folder), "first")
    actions.move(Run(a.folder), "down")
    actions.move(Run(c.folder), "up")
    assert names(actions.queued(store)) == names([d, b, c, a])
    actions.move(Run(d.folder), "last")
    assert names(actions.queued(store)) == names([b, c, a, d])
    actions.prioritise(Run(a.folder), 5)
    assert names(actions.queued(store)) == names([a, b, c, d])
    actions.move(Run(a.folder), "down")  # past one of lower priority: it takes that one's
    assert names(actions.queued(store)) == names([b, a, c, d])
    for _ in range(200):  # numbers between two neighbours run out and are dealt anew
        actions.move(Run(a.folder), "down")
        actions.move(Run(a.folder), "up")
    assert names(actions.queued(store)) == names([b, a, c, d])
    actions.stop(Run(a.folder))
    with pytest.raises(GenrecoreError, match="is not in the queue: it is stopped"):
        actions.move(Run(a.folder), "up")
    with pytest.raises(UsageError, match="first, up, down or last"):
        actions.move(Run(b.folder), "sideways")


def test_places_run_out_and_are_dealt_anew(store: Path, tiny: Tiny) -> None:
    a, b, c = (create_run(tiny(), store) for _ in range(3))
    for run, position in ((a, 1.0), (b, 1.0 + 2**-52), (c, 2.0)):
        write_json(run.folder / "queue.json", {"priority": 3, "position": position})
    actions.move(Run(c.folder), "up")
    assert names(actions.queued(store)) == names([a, c, b])
    assert [run.queue["priority"] for run in actions.queued(store)] == [3, 3, 3]


@pytest.mark.slow
def test_nothing_starts_while_the_queue_is_paused(quick: Callable[..., Run], store: Path) -> None:
    actions.pause(store)
    assert actions.paused(store)["at"] <= time.time()
    run = quick()
    actions.ensure_runner(store)
    assert not is_locked(store / actions.RUNNER_LOCK)  # nobody waits in vain
    runner.work(store)  # and one that is there goes away
    assert Run(run.folder).state == "queued"
    actions.unpause(store)
    wait_for(lambda: Run(run.folder).state == "done")


@pytest.mark.slow
@processes
def test_ten_runs_on_one_slot_end_in_their_order(quick: Callable[..., Run], store: Path) -> None:
    queued = [quick(2) for _ in range(10)]
    actions.move(Run(queued[9].folder), "first")
    actions.ensure_runner(store)
    actions.ensure_runner(store)  # a second one goes away at once
    wait_for(lambda: set(states(store).values()) == {"done"})
    ended = sorted(queued, key=lambda run: Run(run.folder).status["finished_at"])
    assert names(ended) == names([queued[9], *queued[:9]])


@pytest.mark.slow
@processes
def test_pausing_at_once_has_runs_wait_and_go_on(quick: Callable[..., Run], store: Path) -> None:
    first, second = quick(1000), quick(1)
    actions.ensure_runner(store)
    wait_for(lambda: is_running(first))
    assert "wait as well" in actions.pause(store, now=True)
    wait_for(lambda: Run(first.folder).state == "queued")
    before = int((first.folder / "done-steps").read_text())
    (first.folder / "steps").write_text(str(before + 1))
    actions.unpause(store)
    wait_for(lambda: set(states(store).values()) == {"done"})
    assert len((first.folder / "begun").read_text().split()) == 2
    assert Run(first.folder).status["finished_at"] < Run(second.folder).status["finished_at"]


# Ends of every kind


@pytest.mark.slow
@processes
def test_a_run_that_does_not_stop_in_time_is_ended_by_force(
    quick: Callable[..., Run], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "RUNNER", (*RUNNER, "--deaf"))
    run, successor = quick(100_000), quick(1)
    monkeypatch.setattr(actions, "RUNNER", (*RUNNER, "--deaf"))
    actions.ensure_runner(store)
    wait_for(lambda: is_running(run))
    pid = Run(run.folder).status["pid"]
    actions.stop(run, within_s=0.3)
    now = Run(run.folder)
    assert now.state == "stopping"
    assert now.stop_left_s == pytest.approx(0.3, abs=0.3)  # s; some time has passed
    wait_for(lambda: Run(run.folder).state == "stopped")
    assert "by force" in Run(run.folder).reason
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    wait_for(lambda: Run(successor.folder).state == "done")  # the slot is free again


@pytest.mark.slow
@processes
def test_a_run_killed_by_the_system_says_that_memory_is_the_likely_cause(
    quick: Callable[..., Run], store: Path
) -> None:
    run, waiting = quick(100_000), quick(1)
    actions.ensure_runner(store)
    wait_for(lambda: is_running(run))
    os.kill(Run(run.folder).status["pid"], signal.SIGKILL)
    wait_for(lambda: (run.folder / "ended.json").exists())
    lost = Run(run.folder)
    assert lost.state == "lost"
    assert "killed by signal 9" in lost.reason
    assert "memory ran out" in lost.reason
    wait_for(lambda: Run(waiting.folder).state == "done")  # it takes the slot
    (run.folder / "steps").write_text("1")
    actions.resume(lost)
    wait_for(lambda: Run(run.folder).state == "done")


@pytest.mark.slow
@processes
def test_a_killed_runner_is_replaced_and_living_runs_are_adopted(
    quick: Callable[..., Run], store: Path
) -> None:
    first, second = quick(200), quick(1)
    actions.ensure_runner(store)
    wait_for(lambda: is_running(first))
    for process in runners(store):
        process.kill()
    wait_for(lambda: not is_locked(store / actions.RUNNER_LOCK))
    assert is_running(first)
    actions.ensure_runner(store)  # as a page or a command does
    wait_for(lambda: set(states(store).values()) == {"done"})
    for run in (first, second):
        assert len((run.folder / "begun").read_text().split()) == 1


def runners(store: Path) -> list[psutil.Process]:
    """Runner processes of this store."""
    processes_of_store = []
    for process in psutil.process_iter(["cmdline"]):
        arguments = process.info["cmdline"] or [""]
        if arguments[-1] == str(store) and "queue_runner.py" in " ".join(arguments):
            processes_of_store.append(process)
    return processes_of_store


@processes
def test_a_stranger_with_the_same_pid_is_never_ended(quick: Callable[..., Run]) -> None:
    run = quick()
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        forged = identity(stranger.pid)
        wrong = forged | {"create_time": forged["create_time"] - 1, "start_ticks": None}
        later = forged | {"start_ticks": forged["start_ticks"] + 1}
        container = forged | {"pid_namespace": "pid:[1]"}
        earlier_version = {key: wrong[key] for key in ("pid", "create_time", "boot_id", "host")}
        for forged_identity in (
            later, container, earlier_version, forged | {"boot_id": "another"},
        ):  # fmt: skip
            for name in (LEADER, STATUS):
                write_json(run.folder / name, forged_identity | {"state": "running"})
            assert living_processes(run.folder) == []
            Local(run.folder.parent, ()).stop(run, "kill")
        assert stranger.poll() is None
        write_json(run.folder / LEADER, forged)
        assert [process.pid for process in living_processes(run.folder)] == [stranger.pid]
    finally:
        stranger.kill()
        stranger.wait()


@processes
def test_the_group_of_a_leader_that_is_gone_is_still_found(quick: Callable[..., Run]) -> None:
    run = quick()
    leader = subprocess.Popen(
        ["sh", "-c", "sleep 60 & echo $!; read wait"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert leader.stdout is not None
    child = psutil.Process(int(leader.stdout.readline()))
    write_json(run.folder / LEADER, identity(leader.pid))
    assert {process.pid for process in living_processes(run.folder)} == {leader.pid, child.pid}
    leader.kill()
    leader.wait()
    assert {process.pid for process in living_processes(run.folder)} == {child.pid}
    Local(run.folder.parent, ()).stop(run, "kill")
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


@pytest.mark.slow
@processes
def test_a_stopped_process_stalls_and_runs_on(quick: Callable[..., Run], store: Path) -> None:
    run = quick(100_000)
    actions.ensure_runner(store)
    wait_for(lambda: is_running(run))
    process = psutil.Process(Run(run.folder).status["pid"])
    process.suspend()
    silent_for(run, 31)  # instead of waiting half a minute
    assert Run(run.folder).state == "stalled"
    process.resume()
    wait_for(lambda: is_running(run))
    actions.stop(run)
    wait_for(lambda: Run(run.folder).state == "stopped")


@pytest.mark.slow
@processes
def test_the_runner_posts_what_becomes_of_a_run(quick: Callable[..., Run], store: Path) -> None:
    heard: list[dict[str, object]] = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        alerts.set_webhook(f"http://127.0.0.1:{server.server_port}/hook", store)
        done, killed = quick(2), quick(100_000)
        actions.ensure_runner(store)
        wait_for(lambda: is_running(killed))
        for process in living_processes(killed.folder):
            process.kill()
        wait_for(lambda: len(heard) == 2)
        wait_for(lambda: not is_locked(store / actions.RUNNER_LOCK))
    finally:
        server.shutdown()
        server.server_close()
    assert {(process["run"], process["state"]) for process in heard} == {
        (done.run_id, "done"),
        (killed.run_id, "lost"),
    }


@pytest.mark.slow
@processes
def test_the_cpu_takes_as_many_runs_as_is_set(quick: Callable[..., Run], store: Path) -> None:
    write_json(store / "settings.json", {"webhook": ""})
    assert "1 on the CPU" in command("queue", "slots")
    assert slots.names(store)[-1] == "cpu"
    assert "2 on the CPU" in command("queue", "slots", "2")
    assert json.loads(command("queue", "slots", "--json"))["slots"][-2:] == ["cpu", "cpu-2"]
    refused(genrecore("queue", "slots", "65"), 2, "takes between 1 and 64 runs")
    queued_runs = [quick(steps=60) for _ in range(2)] + [quick(steps=5)]
    actions.ensure_runner(store)
    wait_for(lambda: is_running(queued_runs[0]) and is_running(queued_runs[1]))
    assert Run(queued_runs[2].folder).state == "queued"
    wait_for(lambda: {Run(run.folder).state for run in queued_runs} == {"done"})
    assert not any((run.folder / "twice").exists() for run in queued_runs)
    assert read_json(store / "settings.json") == {"webhook": "", "cpu_slots": 2}
    slots.share_cpu(1, store)
    assert slots.names(store)[-1] == "cpu"
    (store / "settings.json").write_text('{"cpu_slots": "many"}')
    assert slots.n_on_cpu(store) == 1
