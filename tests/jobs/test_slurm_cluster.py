"""The cluster that other tests use does what clusters do: jobs outlive daemons and are requeued."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from conftest import wait_for
from slurm_cluster import ON_SLURM, LoginNode, SlurmCluster
from test_odd_ground import is_gone

pytestmark = ON_SLURM
KEEP = """
import sys
sys.path += sys.argv[1:]
from slurm_cluster import Keeper
keeper = Keeper()
print(keeper.process.pid, keeper.start("sleep", "600").pid, flush=True)
sys.stdin.read()
"""


def submit(cluster: SlurmCluster, *words: str | Path) -> int:
    """The number of a job on one GPU, which needs no folder for its output."""
    return int(cluster.run("sbatch", "--parsable", "--gres=gpu:1", "--output=/dev/null", *words))


def state(cluster: SlurmCluster, job_id: int) -> str:
    return str(cluster.jobs()[job_id]["job_state"])


def sleeping(cluster: SlurmCluster) -> set[int]:
    """The processes of jobs that run for long."""
    return {process.pid for process in cluster.job_processes() if process.name() == "sleep"}


def sleeper(cluster: SlurmCluster, *words: str | Path) -> int:
    """The number of a job that runs for long."""
    before = sleeping(cluster)
    job_id = submit(cluster, *words, "--wrap", "exec sleep 600")
    wait_for(lambda: state(cluster, job_id) == "RUNNING" and sleeping(cluster) - before)
    return job_id


def test_each_node_has_a_job_and_a_third_one_waits(slurm: SlurmCluster) -> None:
    assert slurm.node_states() == {"n1": "idle", "n2": "idle"}
    first, second = sleeper(slurm), sleeper(slurm)
    third = submit(slurm, "--wrap", "true")
    jobs = slurm.jobs()
    assert {jobs[first]["nodes"], jobs[second]["nodes"]} == {"n1", "n2"}
    assert slurm.node_states() == {"n1": "mixed", "n2": "mixed"}
    assert jobs[third]["job_state"] == "PENDING"
    slurm.run("scancel", str(first))
    wait_for(lambda: state(slurm, third) == "COMPLETED")


def test_a_job_of_a_node_that_is_set_down_waits_while_its_process_lives(
    slurm: SlurmCluster,
) -> None:
    job_id = sleeper(slurm)
    node = slurm.jobs()[job_id]["nodes"]
    processes = sleeping(slurm)
    assert len(processes) == 1
    slurm.kill_node(node)
    assert state(slurm, job_id) == "RUNNING"
    slurm.set_node_down(node)
    job = slurm.jobs()[job_id]
    assert (job["job_state"], job["restart_cnt"]) == ("PENDING", 1)
    assert slurm.node_states()[node] == "down"
    assert sleeping(slurm) == processes
    slurm.restore()
    assert slurm.node_states()[node] == "idle"
    assert not sleeping(slurm)


def test_a_node_that_comes_back_finds_its_jobs(slurm: SlurmCluster) -> None:
    job_id = sleeper(slurm)
    node, processes = slurm.jobs()[job_id]["nodes"], sleeping(slurm)
    slurm.kill_node(node)
    slurm.start_node(node)
    slurm.run("scancel", str(job_id))  # which its slurmd carries out
    wait_for(lambda: state(slurm, job_id) == "CANCELLED")
    wait_for(lambda: not sleeping(slurm) & processes)


def test_jobs_outlive_their_controller(slurm: SlurmCluster) -> None:
    job_id = sleeper(slurm)
    processes = sleeping(slurm)
    slurm.save(job_id)
    slurm.kill_controller()
    slurm.start_controller()
    assert state(slurm, job_id) == "RUNNING"
    assert sleeping(slurm) == processes


@pytest.mark.long
def test_a_requeued_job_runs_again_within_seconds(slurm: SlurmCluster) -> None:
    job_id = sleeper(slurm)
    slurm.run("scontrol", "requeue", str(job_id))
    wait_for(lambda: state(slurm, job_id) == "PENDING" and not sleeping(slurm))
    wait_for(lambda: state(slurm, job_id) == "RUNNING" and sleeping(slurm))
    assert slurm.jobs()[job_id]["restart_cnt"] == 1


@pytest.mark.long
def test_a_job_with_more_priority_takes_the_place_of_a_spare_one(slurm: SlurmCluster) -> None:
    spare = [sleeper(slurm, "--partition=spare") for _ in range(2)]
    sleeper(slurm)
    jobs = slurm.jobs()
    assert sorted(jobs[job_id]["job_state"] for job_id in spare) == ["PENDING", "RUNNING"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--partition=short", "--time=5"], "PartitionTimeLimit"),
        (["--partition=single", "--nodes=2"], "PartitionNodeLimit"),
    ],
)
def test_what_a_partition_does_not_allow_waits_for_ever(
    slurm: SlurmCluster, words: list[str], reason: str
) -> None:
    job_id = submit(slurm, *words, "--wrap", "true")
    wait_for(lambda: reason in slurm.run("squeue", f"--job={job_id}", "--noheader", "--format=%r"))


def test_calls_are_recorded_with_their_words(slurm: SlurmCluster) -> None:
    before = len(slurm.calls())
    subprocess.run(["sinfo", "--noheader"], check=True, capture_output=True)
    words = ["sbatch", "--parsable", "--output=/dev/null", "--wrap", "true\nfalse"]
    subprocess.run(words, check=True, capture_output=True)
    first, second = slurm.calls()[before:]
    assert (first.command, first.words) == ("sinfo", "--noheader")
    assert (second.command, second.words) == ("sbatch", " ".join(words[1:]).replace("\n", " "))
    assert first.time_s <= second.time_s


def test_the_login_node_knows_the_cluster(login_node: LoginNode) -> None:
    words = ["ssh", "-F", str(login_node.config), "login", "sinfo --noheader --format=%D"]
    assert "SLURM_CONF" not in os.environ
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=30)
    assert set(done.stdout.split()) == {"2"}


def test_nothing_outlives_the_cluster(slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    cluster = SlurmCluster(tmp_path / "other", nodes=1)
    try:
        submit(cluster, "--wrap", "setsid sleep 600 & exec sleep 600")
        wait_for(lambda: len(sleeping(cluster)) == 2)
        cluster.kill_node("n1")
        processes = psutil.Process(cluster._keeper.process.pid).children(recursive=True)
        assert {"munged", "slurmctld", "slurmstepd", "sleep"} <= {p.name() for p in processes}
    finally:
        cluster.stop()
    assert not [process for process in processes if process.is_running()]
    assert set(slurm_cluster.node_states().values()) == {"idle"}


def test_nothing_outlives_whoever_is_killed() -> None:
    folder = Path(__file__).parent
    with subprocess.Popen(
        [sys.executable, "-c", KEEP, str(folder), str(folder.parent)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as starter:  # fmt: skip
        assert starter.stdout is not None
        started = [int(pid) for pid in starter.stdout.readline().split()]
        assert not any(is_gone(pid) for pid in started)
        starter.kill()
    wait_for(lambda: all(is_gone(pid) for pid in started))


@pytest.mark.long
def test_a_job_is_warned_before_its_time_ends_and_killed_then(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    script = f"trap 'date >{tmp_path}/warned' USR1; trap '' TERM; while true; do sleep 0.1; done"
    words = ["--partition=short", "--time=1", "--signal=B:USR1@20", "--wrap", script]
    job_id = submit(slurm, *words)
    wait_for((tmp_path / "warned").exists, most_s=90)
    assert state(slurm, job_id) == "RUNNING"
    wait_for(lambda: state(slurm, job_id) == "TIMEOUT", most_s=120)
    assert not slurm.job_processes()


@pytest.mark.long
def test_accounts_remember_jobs_and_are_required(accounted_slurm: SlurmCluster) -> None:
    job_id = submit(accounted_slurm, "--account=music", "--wrap", "false")
    words = ["sacct", "--allocations", "--noheader", "--parsable2", f"--jobs={job_id}",
             "--format=State,Account"]  # fmt: skip
    wait_for(lambda: accounted_slurm.run(*words).strip() == "FAILED|music")
    for word, reason in (("--account=nobody", "Invalid account"), ("--qos=best", "Invalid qos")):
        refused = subprocess.run(
            ["sbatch", word, "--wrap", "true"], capture_output=True, text=True, check=False
        )
        assert refused.returncode == 1
        assert reason in refused.stderr
