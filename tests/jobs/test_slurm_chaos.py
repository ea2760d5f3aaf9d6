"""Runs on a real Slurm while processes, daemons and nodes die: none is lost or done twice."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from conftest import wait_for
from slurm_cluster import ON_SLURM, SlurmCluster
from test_slurm import check_once, quick, runners, state, writes

from genrecore.jobs import actions
from genrecore.store.run import Run
from genrecore.store.runs import all_runs

__all__ = ["quick"]
pytestmark = ON_SLURM


def kill(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)


class Chaos:
    """What may go wrong, one thing at a time, and what must hold all the time."""

    def __init__(self, store: Path, slurm: SlurmCluster, seed: int) -> None:
        self.store, self.slurm, self.random = store, slurm, random.Random(seed)
        self.done: dict[str, int] = {}

    def strike(self) -> None:
        """Lets something die, or comes back with it."""
        ways = (self.trainer, self.trainer, self.runner, self.runner, self.node, self.requeue,
                self.controller)  # fmt: skip
        way = self.random.choice(ways)
        way()
        self.done[way.__name__] = self.done.get(way.__name__, 0) + 1

    def trainer(self) -> None:
        live = [run for run in all_runs(self.store) if Run(run.folder).state == "running"]
        if live:
            kill(int(Run(self.random.choice(live).folder).status.get("pid") or 0))

    def runner(self) -> None:
        for process in runners(self.store):
            kill(process.pid)

    def node(self) -> None:
        """A node is given up while its processes live on, and comes back."""
        name = self.random.choice(self.slurm.names)
        self.slurm.kill_node(name)
        self.slurm.set_node_down(name)
        time.sleep(self.random.uniform(0, 4))
        self.slurm.start_node(name)
        self.slurm.resume_node(name)

    def requeue(self) -> None:
        jobs = self.slurm.jobs().values()
        running = [job["job_id"] for job in jobs if job["job_state"] == "RUNNING"]
        if running:
            with contextlib.suppress(Exception):  # it may just have ended
                self.slurm.run("scontrol", "requeue", str(self.random.choice(running)))

    def controller(self) -> None:
        for job_id, job in self.slurm.jobs().items():
            if job["job_state"] in ("RUNNING", "PENDING"):
                with contextlib.suppress(AssertionError):  # it may just have ended
                    self.slurm.save(job_id)
        self.slurm.kill_controller()
        time.sleep(self.random.uniform(0, 6))
        self.slurm.start_controller()

    def check(self) -> None:
        """No run is called running whose process is dead, and none is lost while nobody knows."""
        for run in all_runs(self.store):
            now = Run(run.folder)
            if now.state == "running" and now.job["state"] == "running":
                pid = int(now.status.get("pid") or 0)
                if not psutil.pid_exists(pid):  # it died between two looks
                    later = Run(run.folder)
                    assert later.state != "running" or later.status.get("pid") != pid

    def mend(self) -> None:
        """What people do: runs that are lost or were stopped by the cluster are resumed."""
        for run in all_runs(self.store):
            if Run(run.folder).state in ("lost", "stopped"):
                with contextlib.suppress(Exception):
                    actions.resume(Run(run.folder))
        actions.ensure_runner(self.store)


def torment(
    quick: Callable[..., Run], store: Path, slurm: SlurmCluster, most_s: float, seed: int
) -> Chaos:
    """Lets things die for that long, then lets all runs come to their end."""
    chaos, made = Chaos(store, slurm, seed), [quick(400) for _ in range(4)]
    until = time.monotonic() + most_s
    while time.monotonic() < until:
        actions.ensure_runner(store)
        chaos.check()
        if chaos.random.random() < 0.5:
            chaos.strike()
        chaos.mend()
        time.sleep(chaos.random.uniform(0.2, 2.0))
        if all(state(run) == "done" for run in made):
            made += [quick(400) for _ in range(4)]

    def is_over() -> bool:
        chaos.mend()
        return all(state(run) == "done" for run in made)

    wait_for(is_over, 300)
    assert {run.run_id for run in all_runs(store)} == {run.run_id for run in made}
    for run in made:
        assert len(writes(run)) == 400
        check_once(run)
    return chaos


def test_nothing_is_lost_or_done_twice_for_half_a_minute(
    quick: Callable[..., Run], store: Path, slurm: SlurmCluster
) -> None:
    torment(quick, store, slurm, 30, seed=1)


@pytest.mark.long
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_nothing_is_lost_or_done_twice_for_five_minutes(
    quick: Callable[..., Run], store: Path, slurm: SlurmCluster, seed: int
) -> None:
    chaos = torment(quick, store, slurm, 300, seed)
    assert set(chaos.done) == {"trainer", "runner", "node", "requeue", "controller"}
