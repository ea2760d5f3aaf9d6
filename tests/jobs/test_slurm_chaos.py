"""Runs on a real Slurm while processes, daemons, nodes and the dashboard die: none is lost or done
twice."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from browsing import Dashboard, go
from conftest import wait_for
from opened import open_page
from playwright.sync_api import Page, expect
from slurm_cluster import ON_SLURM, SlurmCluster
from test_slurm import at_rest, check_once, quick, runners, state, writes

from genrecore.jobs import actions
from genrecore.store.run import Run
from genrecore.store.runs import all_runs

__all__ = ["quick"]
pytestmark = [*ON_SLURM, pytest.mark.browser]


def kill(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)


class Chaos:
    """What may go wrong, one thing at a time, and what must hold all the time."""

    def __init__(
        self, store: Path, slurm: SlurmCluster, served: Dashboard, page: Page, seed: int
    ) -> None:
        self.store, self.slurm, self.random = store, slurm, random.Random(seed)
        self.served, self.page = served, page
        self.done = dict.fromkeys(
            ("trainer", "runner", "node", "daemon", "requeue", "controller", "dashboard"), 0
        )

    def strike(self) -> None:
        """Lets something die, or comes back with it; everything once before anything again."""
        new = [way for way, n in self.done.items() if not n]
        way = self.random.choice(new or [*self.done, "trainer", "runner"])
        getattr(self, way)()
        self.done[way] += 1

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

    def daemon(self) -> None:
        """A node's slurmd dies and comes back; its jobs live on, and nobody notices."""
        name = self.random.choice(self.slurm.names)
        self.slurm.kill_node(name)
        time.sleep(self.random.uniform(1, 6))
        self.slurm.start_node(name)

    def dashboard(self) -> None:
        """The server dies, and the runner with it. Pages can be drawn meanwhile, and one that is
        opened on the next server starts a runner."""
        self.served.kill()
        open_page("runs")
        self.runner()
        self.served.start()
        self.look()

    def look(self) -> None:
        """The page Runs, which starts a runner where it is needed."""
        go(self.page, self.served, "runs")
        heading = self.page.get_by_role("heading", name="Runs", exact=True)
        expect(heading).to_be_visible(timeout=90_000)  # a new server imports everything first
        wait_for(lambda: runners(self.store) or at_rest(self.store))

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


Torment = Callable[[float, int], Chaos]


@pytest.fixture
def torment(
    quick: Callable[..., Run], store: Path, slurm: SlurmCluster, page: Page
) -> Iterator[Torment]:
    """`torment(300, seed)` lets things die for that long, then lets all runs come to their end."""
    served = Dashboard(store.parent)
    yield lambda most_s, seed: _torment(quick, Chaos(store, slurm, served, page, seed), most_s)
    served.kill()


def _torment(quick: Callable[..., Run], chaos: Chaos, most_s: float) -> Chaos:
    store, made = chaos.store, [quick(400) for _ in range(4)]
    chaos.look()
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


def test_nothing_is_lost_or_done_twice_for_half_a_minute(torment: Torment) -> None:
    torment(30, 1)


@pytest.mark.long
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_nothing_is_lost_or_done_twice_for_five_minutes(torment: Torment, seed: int) -> None:
    chaos = torment(300, seed)
    assert all(chaos.done.values()), chaos.done
