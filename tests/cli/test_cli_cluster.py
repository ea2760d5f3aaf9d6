"""`genrecore cluster`, and `--on` of the commands that queue runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cluster_runs import answers, cluster_run, keep_profile
from commands import command, genrecore, refused
from conftest import TINY, trained
from fake_runs import fake_run

from genrecore.config.run import RunConfig, with_values
from genrecore.experiments import leaks, papers, search
from genrecore.experiments.papers import Music
from genrecore.experiments.plan import Plan, all_plans, queue_missing
from genrecore.experiments.search import Driver, Strategy
from genrecore.experiments.values import Range
from genrecore.jobs import actions as jobs
from genrecore.store.files import read_json
from genrecore.store.run import Run
from genrecore.store.runs import all_runs, create_run
from genrecore.store.status import Status

Tiny = Callable[..., RunConfig]
FLAGS = [
    word
    for name, value in TINY.items()
    if name.startswith(("dataset.", "feature.", "model.", "audio."))
    for word in ("--set", f"{name}={value}")
] + ["--segment-s", "1", "--epochs", "2", "--device", "cpu"]


def by_age(store: Path) -> list[Run]:
    """The runs of the store, the one that was queued first before the others."""
    return sorted(all_runs(store), key=lambda run: float(run.queue["queued_at"]))


def places(store: Path) -> list[str]:
    """Where the runs of the store are sent, the first one first."""
    return [str(read_json(run.folder / "queue.json")["on"]) for run in by_age(store)]


def test_profiles_are_added_listed_replaced_and_removed(store: Path) -> None:
    assert "No profile yet" in command("cluster", "profiles")
    command(
        "cluster", "profiles", "add", "gpu-short", "--partition", "short", "--gpus", "a100:2",
        "--time", "0:30:00", "--line", "module load cuda", "--line", ". venv/bin/activate",
        "--flag=--exclusive", "--no-requeue", "--warn", "60",
    )  # fmt: skip
    text = command("cluster", "profiles")
    assert "slurm:gpu-short" in text
    assert "partition short, 2 a100 GPUs, at most 30 min 00 s" in text
    (values,) = json.loads(command("cluster", "profiles", "list", "--json"))
    assert values["place"] == "slurm:gpu-short"
    assert values["lines"] == ["module load cuda", ". venv/bin/activate"]
    assert (values["flags"], values["requeue"], values["warn_s"]) == (["--exclusive"], False, 60)
    command("cluster", "profiles", "add", "gpu-short", "--partition", "long")
    (values,) = json.loads(command("cluster", "profiles", "--json"))
    assert (values["partition"], values["gpus"]) == ("long", "")
    assert "forgotten" in command("cluster", "profiles", "remove", "gpu-short")
    refused(genrecore("cluster", "profiles", "remove", "gpu-short"), 2, "there is none yet")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--gpus", "many"], "field gpus cannot be 'many': expected a number, or a kind"),
        (["--memory", "lots"], "field memory cannot be 'lots': expected a number with its unit"),
        (["--partition", "a b"], "field partition cannot be 'a b': expected one word"),
        (["--time", "soon"], "field time cannot be 'soon': expected minutes, H:MM:SS"),
        (["--nodes", "0"], "field nodes cannot be 0: Input should be greater than or equal to 1"),
        (["--flag", "exclusive"], "Each flag of a profile begins with a dash"),
    ],
)
def test_what_no_profile_can_be_is_one_sentence(
    store: Path, flags: list[str], sentence: str
) -> None:
    refused(genrecore("cluster", "profiles", "add", "x", *flags), 2, sentence)
    assert json.loads(command("cluster", "profiles", "--json")) == []


def test_the_time_between_polls_is_kept_and_has_limits(store: Path) -> None:
    assert json.loads(command("cluster", "poll", "--json")) == {"seconds": 30.0}
    assert "every 45 s" in command("cluster", "poll", "45")
    assert json.loads(command("cluster", "poll", "--json")) == {"seconds": 45.0}
    refused(genrecore("cluster", "poll", "0.5"), 2, "every 1 to 3,600 seconds, not 0.5")


def test_without_slurm_a_question_to_the_scheduler_is_one_sentence(
    store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    keep_profile(store)
    refused(genrecore("cluster", "partitions"), 1, "sinfo is not installed on this machine.")
    refused(genrecore("cluster", "profiles", "suggest"), 1, "sinfo is not installed")
    refused(genrecore("cluster", "check", "gpu"), 1, "sbatch is not installed on this machine.")
    refused(genrecore("cluster", "check", "cpu"), 2, "no such profile; there are: slurm:gpu.")


def test_train_on_a_cluster_is_queued_for_it(nobody_starts: Path) -> None:
    refused(genrecore("train", *FLAGS, "--on", "slurm:gpu"), 2, "there is none yet")
    assert all_runs(nobody_starts) == []
    keep_profile(nobody_starts)
    facts = json.loads(command("train", *FLAGS, "--on", "slurm:gpu", "--json"))
    assert (facts["state"], facts["on"]) == ("queued", "slurm:gpu")
    assert places(nobody_starts) == ["slurm:gpu"]
    command("train", *FLAGS, "--on", "local", "--background")
    assert places(nobody_starts) == ["slurm:gpu", ""]
    result = genrecore("train", "--run", str(nobody_starts / facts["run"]), "--on", "local")
    refused(result, 2, "--run uses the settings in its folder")


@pytest.mark.slow
def test_a_plan_deals_its_runs_over_places_and_keeps_them(nobody_starts: Path) -> None:
    for name in ("gpu", "cpu"):
        keep_profile(nobody_starts, name)
    on = ["--on", "slurm:gpu", "--on", "local", "--on", "slurm:cpu"]
    refused(genrecore("sweep", *FLAGS, "--seed", "0..4", "--on", "slurm:no"), 2, "no such profile")
    text = command("sweep", *FLAGS, "--seed", "0..4", *on, "--background")
    assert "on a cluster it depends on its GPUs" in text
    assert places(nobody_starts) == ["slurm:gpu", "", "slurm:cpu", "slurm:gpu", ""]
    (plan,) = all_plans(nobody_starts)
    (facts,) = json.loads(command("plans", "list", "--json"))
    assert facts["on"] == ["slurm:gpu", "", "slurm:cpu"]
    # A deleted run is queued again at the place whose turn it is (the second), a stopped one
    # where it was.
    lost, stopped = by_age(nobody_starts)[:2]
    jobs.delete(lost)
    jobs.stop(stopped)
    queue_missing(Plan(plan.folder))
    assert places(nobody_starts) == ["", "slurm:cpu", "slurm:gpu", "", ""]


@pytest.mark.slow
def test_trials_of_a_search_and_runs_of_leaks_and_papers_go_to_their_places(
    nobody_starts: Path, tiny: Tiny
) -> None:
    keep_profile(nobody_starts, ahead=3)
    base, ranges = tiny(), {"training.lr": Range(1e-4, 1e-2, log=True)}
    plan = search.create(base, ranges, Strategy("random", 7), on=["slurm:gpu"])
    driver = Driver(plan)
    driver.step()
    assert places(nobody_starts) == ["slurm:gpu"] * 3  # as many as may wait there
    jobs.stop(by_age(nobody_starts)[0])
    Driver(Plan(plan.folder)).step()
    assert places(nobody_starts) == ["slurm:gpu"] * 4
    n = len(all_runs(nobody_starts))
    leaks.start(base, 3, on=["slurm:gpu", ""])
    assert places(nobody_starts)[n:] == ["slurm:gpu", ""] * 3
    jobs.delete(by_age(nobody_starts)[-2])
    leaks.start(base, 3)  # as the button that queues what is missing
    assert places(nobody_starts)[n:] == ["slurm:gpu", "", "slurm:gpu", "", "", "slurm:gpu"]
    n = len(all_runs(nobody_starts))
    study = papers.study("liu")
    music = Music("demo", {}, 0.1)
    rows = papers.study_runs(study, [study.rows[0].name], ["published"], 1, music)
    papers.start(study, rows, music, on=["slurm:gpu"])
    assert places(nobody_starts)[n:] == ["slurm:gpu"]


def test_copies_of_a_run_go_where_it_was_unless_told_otherwise(
    nobody_starts: Path, tiny: Tiny
) -> None:
    keep_profile(nobody_starts)
    run = create_run(tiny(), nobody_starts, on="slurm:gpu")
    command("runs", "clone", run.run_id, "--set", "seed=5")
    command("runs", "clone", run.run_id, "--set", "seed=6", "--on", "local")
    assert places(nobody_starts) == ["slurm:gpu", "slurm:gpu", ""]
    Status(run.folder).move("stopped")
    refused(genrecore("runs", "resume", run.run_id, "--on", "slurm:x"), 2, "no such profile")
    command("runs", "resume", run.run_id, "--on", "local")
    assert places(nobody_starts) == ["", "slurm:gpu", ""]
    assert Run(run.folder).state == "queued"
    done = trained(tiny(), nobody_starts)
    command("runs", "continue", done.run_id, "--epochs", "3", "--on", "slurm:gpu")
    assert places(nobody_starts)[-1] == "slurm:gpu"
    fake = fake_run(nobody_starts, np.array([True, False]))
    (again,) = jobs.another_seed([fake], on="slurm:gpu")
    assert again.queue["on"] == "slurm:gpu"


def test_lists_say_where_a_run_is_and_why_it_waits(nobody_starts: Path, tiny: Tiny) -> None:
    soon = time.time() + 3600
    waits = cluster_run(tiny(), nobody_starts, code="Priority", starts_at=soon)
    never = cluster_run(tiny(seed=1), nobody_starts, code="PartitionTimeLimit")
    begins = cluster_run(tiny(seed=2), nobody_starts, "RUNNING", node="n2")
    again = cluster_run(tiny(seed=3), nobody_starts, code="BeginTime", restarts=1)
    rows = {row["run"]: row for row in json.loads(command("runs", "list", "--json"))}
    states = [rows[run.run_id]["state"] for run in (waits, never, begins, again)]
    assert states == ["waiting there", "waiting there", "starting", "requeued"]
    assert rows[waits.run_id]["why"] == "Jobs with a higher priority are before it."
    assert (rows[never.run_id]["can never start"], rows[waits.run_id]["can never start"]) == (
        True,
        False,
    )
    assert (rows[begins.run_id]["job"], rows[begins.run_id]["node"]) == ("7", "n2")
    text = command("runs", "list", "--find", "n2")
    assert begins.run_id in text
    assert "slurm:gpu, job 7 on n2" in " ".join(text.split())
    text = command("runs", "show", waits.run_id)
    assert "waiting there. Jobs with a higher priority" in text
    assert "Place: slurm:gpu, job 7. The scheduler expects it to start at" in text
    text = command("runs", "show", never.run_id)
    assert "It can never start: its time is longer than the partition allows (field time)." in text
    answers(nobody_starts, 600, "Unable to contact slurm controller")
    for run in (waits, never):
        path = run.folder / "job.json"
        path.write_text(json.dumps(read_json(path) | {"submitted_at": time.time() - 600}))
    text = command("runs", "show", waits.run_id)
    assert "unknown. The scheduler has not answered since" in text
    assert "Unable to contact slurm controller" in text
    facts = json.loads(command("runs", "show", waits.run_id, "--json"))
    assert (facts["on"], facts["job"]["id"], facts["state"]) == ("slurm:gpu", "7", "unknown")


def test_what_waits_there_counts_as_waiting_and_can_be_stopped(
    nobody_starts: Path, tiny: Tiny
) -> None:
    keep_profile(nobody_starts)
    config = with_values(tiny(), {"seed": 0})
    plan_id = "p"
    run = cluster_run(config, nobody_starts)
    (run.folder / "origin.json").write_text(json.dumps({"plan": plan_id}))
    experiment = leaks.LeakExperiment(config, 3, {}, {0: Run(run.folder)})
    assert (len(experiment.active), len(experiment.ended)) == (1, 0)
    assert experiment.stop_runs() == (1, 0)
    assert Run(run.folder).state == "stopped"
