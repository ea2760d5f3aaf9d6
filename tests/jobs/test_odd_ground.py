"""The queue on odd ground: clocks that disagree, a host that is renamed, a disk without locks or
room. Real processes; what the system says is changed for them where the system cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from conftest import wait_for
from test_queue import RUNNER, is_running, runners

from genrecore.config.run import RunConfig
from genrecore.jobs import actions
from genrecore.store.locks import is_locked
from genrecore.store.run import Run, create_run

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


@processes
@pytest.mark.parametrize(("clock_of_run", "clock_of_stop"), [(DAY_S, -DAY_S), (-DAY_S, DAY_S)])
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
