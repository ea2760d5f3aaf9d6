"""Runs on clusters on the pages Runs and Train: states, reasons, places, scripts, choices."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import streamlit as st
from cluster_runs import answers, cluster_run, keep_profile
from opened import again, open_page, words
from streamlit.testing.v1 import AppTest

from genrecore.config.run import RunConfig
from genrecore.jobs import actions as jobs
from genrecore.store.run import Run
from genrecore.store.runs import all_runs, create_run
from genrecore.store.status import Status

Tiny = Callable[..., RunConfig]


@pytest.fixture(autouse=True)
def _no_slurm(nobody_starts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Slurm's commands, of which nobody has asked anything."""
    monkeypatch.setenv("PATH", str(tmp_path))
    st.cache_resource.clear()


def badges(app: AppTest) -> list[str]:
    """The words in the badges of a page."""
    texts = [str(element.value) for element in app.markdown]
    return [text for text in texts if "-badge[" in text]


def test_the_table_says_where_runs_are_and_why_they_wait(nobody_starts: Path, tiny: Tiny) -> None:
    create_run(tiny(), nobody_starts)
    shown = open_page("runs").dataframe[0].proto.column_order
    assert not {"place", "why"} & set(shown)
    waits = cluster_run(tiny(seed=1), nobody_starts, code="Priority")
    cluster_run(tiny(seed=2), nobody_starts, code="PartitionTimeLimit")
    cluster_run(tiny(seed=3), nobody_starts, "RUNNING", node="n2")
    cluster_run(tiny(seed=4), nobody_starts, code="BeginTime", restarts=1)
    cluster_run(tiny(seed=5), nobody_starts, host="far", submitted_at=time.time() - 900)
    app = open_page("runs", sort="state")
    assert {"place", "why"} < set(app.dataframe[0].proto.column_order)
    rows = app.dataframe[0].value[["state", "place", "why"]].to_numpy().tolist()
    silent = next(row for row in rows if row[0] == "? Unknown")
    assert silent[2].startswith("The scheduler has not answered since")
    never = "It can never start: its time is longer than the partition allows (field time)."
    rows.remove(silent)
    assert sorted(rows) == [
        ["○ Queued", "", ""],
        ["○ Waiting there", "slurm:gpu, job 7", never],
        ["○ Waiting there", "slurm:gpu, job 7", "Jobs with a higher priority are before it."],
        ["◌ Requeued", "slurm:gpu, job 7", "It may start again only after a short wait."],
        ["● Starting", "slurm:gpu, job 7 on n2", ""],
    ]
    assert "6 runs · 2 running · 4 waiting" in words(app)
    # What a cluster has is no longer in the queue of this machine.
    keys = {str(button.key) for button in app.button}
    assert f"cancel_{waits.run_id}" not in keys


def test_a_waiting_run_says_when_it_starts_and_shows_its_script(
    nobody_starts: Path, tiny: Tiny
) -> None:
    run = cluster_run(tiny(), nobody_starts, code="Priority", starts_at=time.time() + 3600)
    text = words(app := open_page("runs", run=run.run_id, view="log"))
    assert any("Waiting there" in badge for badge in badges(app))
    assert "slurm:gpu, job 7" in text
    assert "Jobs with a higher priority are before it." in text
    assert "The scheduler expects it to start at" in text
    assert f"#SBATCH --comment='genrecore {run.run_id} 1'" in "\n".join(
        str(code.value) for code in app.code
    )
    app.button(key=f"stop_{run.run_id}").click().run()
    assert Run(run.folder).state == "stopped"


@pytest.mark.slow
def test_a_run_is_resumed_where_one_chooses(nobody_starts: Path, tiny: Tiny) -> None:
    run = cluster_run(tiny(), nobody_starts, "COMPLETED")
    Status(run.folder).move("stopped")
    app = open_page("runs", run=run.run_id)
    assert not [box for box in app.selectbox if box.label == "Runs on"]  # there is no profile
    for name in ("gpu", "big"):
        keep_profile(nobody_starts, name)
    for place, on in (("", "slurm:gpu"), ("slurm:big", "slurm:big"), ("local", "")):
        app = again(app)
        (box,) = [box for box in app.selectbox if box.label == "Runs on"]
        if place:
            box.set_value(place).run()
        app.button(key=f"resume_{run.run_id}").click().run()
        assert (Run(run.folder).state, Run(run.folder).queue["on"]) == ("queued", on)
        jobs.stop(run)


def test_who_pauses_reads_that_jobs_of_a_cluster_are_not_held(
    nobody_starts: Path, tiny: Tiny
) -> None:
    create_run(tiny(), nobody_starts)
    cluster_run(tiny(seed=1), nobody_starts, code="Priority")
    cluster_run(tiny(seed=2), nobody_starts, code="BeginTime", restarts=1)
    expected = "2 jobs that a cluster has already may start all the same."
    app = open_page("runs")
    assert expected in words(app)
    app.button(key="queue_pause_after").click().run()
    assert f"waiting runs do not start. {expected}" in words(app)
    assert jobs.pause().endswith(f"until it is resumed. {expected}")


def test_a_job_that_can_never_start_says_so_in_red(nobody_starts: Path, tiny: Tiny) -> None:
    run = cluster_run(tiny(), nobody_starts, code="QOSMaxCpuPerJobLimit")
    for page in ("runs", "overview"):
        app = open_page(page, run=run.run_id)
        (error,) = [element.value.replace("\\", "") for element in app.error]
        assert "It can never start: it asks for more than a limit" in error
        assert "Take it out of the queue, change its profile on the page Settings" in error


def test_a_run_at_work_names_its_node_and_an_unknown_one_why(
    nobody_starts: Path, tiny: Tiny
) -> None:
    run = cluster_run(tiny(), nobody_starts, "RUNNING", node="n1")
    Status(run.folder).move("running", epoch=1)
    app = open_page("runs", run=run.run_id)  # its process is not on this machine: no lock, no beat
    assert any("Stalled" in badge for badge in badges(app))
    assert "slurm:gpu, job 7 on n1" in words(app)
    lost = cluster_run(tiny(seed=1), nobody_starts, submitted_at=time.time() - 900)
    answers(nobody_starts, 900, "Socket timed out")
    app = again(app, run=lost.run_id)
    assert any("Unknown" in badge for badge in badges(app))
    assert "Nobody knows whether it still works" in words(app)
    assert "Socket timed out" in words(app)


def test_without_a_profile_forms_only_lead_to_settings(nobody_starts: Path) -> None:
    app = open_page("train")
    assert "Runs on" not in {box.label for box in app.selectbox}
    assert any("settings" in str(link.proto) for link in app.get("page_link"))


@pytest.mark.slow
def test_a_form_sends_its_run_to_the_chosen_place(nobody_starts: Path) -> None:
    keep_profile(nobody_starts)
    app = open_page("train", **{"training.epochs": "1"})
    box = next(box for box in app.selectbox if box.label == "Runs on")
    assert box.value == "local"
    box.set_value("slurm:gpu").run()
    text = words(app)
    assert "slurm:gpu: partition debug, 1 GPU. What is idle is not known. sinfo is not" in text
    assert "on a cluster it depends on its GPUs" in text
    assert "--on slurm:gpu" in app.code[-1].value.replace(" \\\n ", "")
    app.button(key="check_gpu").click().run()
    assert "The cluster does not answer. sbatch is not installed" in words(app)
    app.button(key="train").click().run()
    (run,) = all_runs(nobody_starts)
    assert run.queue["on"] == "slurm:gpu"
    # The form that is filled with its settings is filled with its place as well.
    app = open_page("train", **{"from": run.run_id})
    assert next(box for box in app.selectbox if box.label == "Runs on").value == "slurm:gpu"


@pytest.mark.slow
@pytest.mark.parametrize("page", ["plans", "leaks", "papers"])
def test_plans_deal_their_runs_to_the_chosen_places(
    page: str, nobody_starts: Path, own_cache: Path
) -> None:
    keep_profile(nobody_starts)
    queries = {
        "plans": {"view": "new", "values.seed": "0..2"},
        "leaks": {"view": "new", "by_artist.n_folds": "3"},
        "papers": {"view": "run", "paper": "liu", "on": "demo", "scale": "0.1"},
    }
    app = open_page(page, place="slurm:gpu,local", **queries[page])
    assert "on a cluster it depends on its GPUs" in words(app)
    assert "--on slurm:gpu --on local" in " ".join(app.code[-1].value.replace("\\\n", "").split())
    app.button(key="queue").click().run()
    assert not app.exception
    runs = sorted(all_runs(nobody_starts), key=lambda run: float(run.queue["queued_at"]))
    assert len(runs) > 2
    places = [str(run.queue["on"]) for run in runs]
    assert places == (["slurm:gpu", ""] * len(places))[: len(places)]
    jobs.stop(runs[0])
