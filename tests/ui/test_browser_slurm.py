"""From an empty page Settings to runs on the nodes of a real cluster, in a real browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from browsing import Dashboard, folders, go
from conftest import TINY, wait_for
from playwright.sync_api import Page, expect
from slurm_cluster import ON_SLURM, SlurmCluster
from test_slurm import HERE
from test_slurm_plans import N_RUNS, check_plan

from genrecore.jobs import actions as jobs
from genrecore.jobs.slurm import profiles
from genrecore.store.locks import take_lock
from genrecore.store.run import Run
from genrecore.store.runs import all_runs

pytestmark = [*ON_SLURM, pytest.mark.browser, pytest.mark.long]
N_EPOCHS = 400  # so many that a page can be looked at meanwhile


@pytest.fixture
def near_cluster(
    slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Dashboard]:
    """A server with a store of its own on a machine that has Slurm's commands."""
    (tmp_path / "runs").mkdir()
    for name, folder in folders(tmp_path).items():
        monkeypatch.setenv(name, folder)
    served = Dashboard(tmp_path)
    yield served
    served.kill()
    for run in all_runs(tmp_path / "runs"):
        if run.is_active:
            jobs.stop(run, within_s=1.0)
    runner = take_lock(tmp_path / "runs" / jobs.RUNNER_LOCK, patience_s=60)  # it has ended
    assert runner is not None
    os.close(runner)


def form(page: str, query: dict[str, str], fields: dict[str, object]) -> str:
    """The address of a form that is filled with these values."""
    query = dict(query)
    for name, value in fields.items():
        part = {"dataset": "demo", "feature": "log_mel", "model": "cnn"}
        first, _, rest = name.partition(".")
        query[f"{part[first]}.{rest}" if first in part and rest else name] = str(value)
    return f"{page}?{urlencode(query)}"


def test_runs_are_sent_from_the_form_to_nodes_and_seen_at_work(
    near_cluster: Dashboard, slurm: SlurmCluster, page: Page, tmp_path: Path
) -> None:
    store = tmp_path / "runs"
    go(page, near_cluster, "settings")
    page.get_by_role("button", name="Suggest one").click()
    expect(page.get_by_role("textbox", name="Partition")).to_have_value("debug")
    page.get_by_role("button", name="Keep", exact=True).click()
    expect(page.get_by_text("Partition debug: 2 of 2 GPUs idle")).to_be_visible()
    (profile,) = profiles.profiles(store).values()
    assert (profile.place, profile.gpus) == ("slurm:default", "1")
    go(page, near_cluster, "settings")
    page.get_by_test_id("stNumberInput").locator("input").fill("1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Set", exact=True)).to_be_enabled()
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.get_by_text("Schedulers are asked every 1 s").first).to_be_visible()

    for seed in range(2):
        fields = {"training.epochs": N_EPOCHS, "training.patience": 0, "seed": seed}
        go(page, near_cluster, form("train", {"place": "slurm:default"}, TINY | fields))
        if seed == 0:
            page.get_by_role("button", name="Check default with the cluster").click()
            expect(page.get_by_text("The cluster would take it. Job")).to_be_visible()
        page.get_by_role("button", name="Train", exact=True).click()
        expect(page.get_by_text("slurm:default", exact=False).first).to_be_visible()
        wait_for(lambda n=seed + 1: len(all_runs(store)) == n)

    runs = sorted(all_runs(store), key=lambda run: float(run.queue["queued_at"]))
    nodes = set()
    for run in runs:
        go(page, near_cluster, f"runs?run={run.run_id}")
        wait_for(lambda run=run: Run(run.folder).state == "running", most_s=90)
        wait_for(lambda run=run: Run(run.folder).job["node"])  # a scheduler is asked once a second
        job = Run(run.folder).job
        nodes.add(job["node"])
        expect(page.get_by_text(f"Running on {job['node']}")).to_be_visible()
        expect(page.get_by_text(f"slurm:default, job {job['id']} on {job['node']}")).to_be_visible()
    assert nodes == {"n1", "n2"}
    assert set(slurm.jobs()) == {int(Run(run.folder).job["id"]) for run in runs}

    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text("Stopped on request.")).to_be_visible(timeout=60_000)
    assert Run(runs[1].folder).state == "stopped"
    wait_for(lambda: Run(runs[0].folder).state == "done", most_s=180)
    assert Run(runs[0].folder).is_tested


def test_twenty_runs_of_a_plan_are_sent_from_its_form(
    near_cluster: Dashboard, slurm: SlurmCluster, page: Page, tmp_path: Path
) -> None:
    store = tmp_path / "runs"
    profiles.set_poll_s(1, store)
    profiles.keep(profiles.checked({"name": "here", **HERE}), store)
    query = {"view": "new", "values.seed": f"0..{N_RUNS - 1}", "place": "slurm:here"}
    go(page, near_cluster, form("plans", query, TINY))
    button = page.get_by_role("button", name=f"Queue {N_RUNS} runs")
    button.click(timeout=90_000)  # a new server imports everything first
    expect(page.get_by_text(f"of {N_RUNS} runs have ended")).to_be_visible()
    check_plan(store, slurm)
