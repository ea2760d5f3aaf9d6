"""A plan of twenty runs by command on a real Slurm of two nodes with one GPU each."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

import pytest
from commands import command
from conftest import ROOT, TINY, wait_for
from slurm_cluster import ON_SLURM, LoginNode, SlurmCluster
from test_slurm import HERE, at_rest, check_once, quick, runners, writes

from genrecore.jobs.slurm import profiles
from genrecore.jobs.slurm.commands import SSH
from genrecore.store.run import Run
from genrecore.store.runs import all_runs

__all__ = ["quick"]
pytestmark = [*ON_SLURM, pytest.mark.long]
N_RUNS = 20


def sweep(place: str) -> None:
    """Queues the plan by command."""
    values = [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]
    seeds = f"0..{N_RUNS - 1}"
    text = command("sweep", *values, "--seed", seeds, "--on", place, "--background")
    assert f"Queued {N_RUNS} runs" in text


def check_plan(store: Path, cluster: SlurmCluster) -> None:
    """Watches a plan to its end: both nodes carried it out, no more than two runs at a time, and
    each run once, in one go."""
    nodes: set[str] = set()

    def is_over() -> bool:
        nodes.update(job["nodes"] for job in cluster.jobs().values())
        return at_rest(store)

    wait_for(is_over, 400)
    runs = [Run(run.folder) for run in all_runs(store)]
    assert [run.state for run in runs] == ["done"] * N_RUNS, [run.reason for run in runs]
    assert {run.config.seed for run in runs} == set(range(N_RUNS))
    assert nodes - {""} == {"n1", "n2"}
    changes = []
    for run in runs:
        check_once(run)
        assert len(writes(run)) == 10
        assert len({generation for generation, _ in writes(run)}) == 1
        began, ended = (entry["at"] for entry in run.status["states"][-2:])
        changes += [(began, 1), (ended, -1)]
    assert max(accumulate(change for _, change in sorted(changes))) <= 2


@pytest.mark.usefixtures("quick")
def test_twenty_runs_are_sent_by_command(store: Path, slurm: SlurmCluster) -> None:
    sweep("slurm:here")
    check_plan(store, slurm)


def test_twenty_runs_are_sent_by_command_through_ssh(
    login_node: LoginNode,
    idle_cluster: SlurmCluster,
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(SSH, f"ssh -F {login_node.config}")
    profiles.set_poll_s(1, store)
    lines = [f"export PYTHONPATH={ROOT}"]
    profiles.keep(profiles.checked({"name": "far", **HERE, "host": "login", "lines": lines}), store)
    try:
        sweep("slurm:far")
        check_plan(store, idle_cluster)
    finally:
        for process in runners(store):
            process.kill()
