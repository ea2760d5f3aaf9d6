"""Runs on a real Slurm of two nodes: sent, watched, stopped, requeued, and carried out once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from cluster_runs import cluster_run
from conftest import MEASURED, ROOT, wait_for
from slurm_cluster import ON_SLURM, LoginNode, SlurmCluster

from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError, UsageError
from genrecore.jobs import actions
from genrecore.jobs.slurm import profiles
from genrecore.jobs.slurm.commands import SSH, Login
from genrecore.jobs.slurm.executor import Slurm
from genrecore.jobs.slurm.partitions import partitions
from genrecore.jobs.slurm.states import LAUNCH_FAILED
from genrecore.store.files import read_json, write_json, write_text
from genrecore.store.locks import is_locked
from genrecore.store.run import Run
from genrecore.store.runs import all_runs, create_run
from genrecore.store.status import TIME_OVER, Status

Tiny = Callable[..., RunConfig]
pytestmark = ON_SLURM
PROGRAM = f"{sys.executable} {Path(__file__).with_name('slurm_program.py')}"
HERE = {"gpus": "1", "cpus": 1, "time": "5", "command": PROGRAM}


@pytest.fixture
def quick(slurm: SlurmCluster, store: Path, tiny: Tiny) -> Iterator[Callable[..., Run]]:
    """`quick(steps=10, place="slurm:here")`: a run that the small program carries out there."""
    profiles.set_poll_s(1, store)
    profiles.keep(profiles.checked({"name": "here", **HERE}), store)
    config = tiny()

    def make(steps: int = 10, place: str = "slurm:here") -> Run:
        run = create_run(config, store, on=place)
        (run.folder / "steps").write_text(str(steps))
        return run

    yield make
    for run in all_runs(store):
        if run.is_active:
            actions.stop(run)
    wait_for(lambda: not is_locked(store / actions.RUNNER_LOCK) or at_rest(store), 30)
    for process in runners(store):
        process.kill()


def runners(store: Path) -> list[psutil.Process]:
    """The runners of a store."""
    wanted = [*actions.RUNNER[1:], str(store)]
    found = psutil.process_iter(["cmdline"])
    return [process for process in found if (process.info["cmdline"] or [])[1:] == wanted]


def at_rest(store: Path) -> bool:
    return not any(Run(run.folder).is_active for run in all_runs(store))


def state(run: Run) -> str:
    return Run(run.folder).state


def wait_for_state(run: Run, *states: str, most_s: float = 60) -> None:
    try:
        wait_for(lambda: state(run) in states, most_s)
    except AssertionError:
        now = Run(run.folder)
        raise AssertionError(f"{now.state}: {now.reason} {now.job} {now.log()}") from None


def writes(run: Run) -> list[tuple[int, int]]:
    """(generation, step) of each line that the program wrote."""
    lines = (run.folder / "writes").read_text().splitlines()
    return [(int(line.split()[0]), int(line.split()[1])) for line in lines]


def finish(run: Run) -> None:
    """Lets a run make a few steps more."""
    write_text(run.folder / "steps", str(len(writes(run)) + 20))


def give_its_node_up(run: Run, slurm: SlurmCluster) -> None:
    """Lets the run be carried out elsewhere, while its process works on; checks it to its end."""
    wait_for(lambda: Run(run.folder).job.get("node"))
    node = Run(run.folder).job["node"]
    slurm.kill_node(node)
    slurm.set_node_down(node)
    wait_for(lambda: is_taken_over(run), 60)
    finish(run)
    wait_for_state(run, "done")
    check_once(run)
    slurm.restore()


def is_taken_over(run: Run) -> bool:
    """Whether a second process has written."""
    return len({generation for generation, _ in writes(run)}) == 2


def check_once(run: Run) -> None:
    """Every step was made once, by processes of rising generations."""
    lines = writes(run)
    assert [step for _, step in lines] == list(range(1, len(lines) + 1))
    assert [generation for generation, _ in lines] == sorted(g for g, _ in lines)
    stamps = [entry["generation"] for entry in Run(run.folder).status["states"]
              if entry.get("generation")]  # fmt: skip
    assert stamps == sorted(stamps)


def test_a_plan_of_runs_is_done_on_both_nodes(
    quick: Callable[..., Run], store: Path, slurm: SlurmCluster
) -> None:
    made = [quick() for _ in range(6)]
    actions.ensure_runner(store)
    for run in made:
        wait_for_state(run, "done")
        check_once(run)
    assert {Run(run.folder).job["node"] for run in made} <= {"n1", "n2", ""}
    script = (made[0].folder / "job.sh").read_text()
    assert f"train --run {made[0].folder}" in script
    assert "#SBATCH --gpus-per-node=1" in script
    wait_for(lambda: not is_locked(store / actions.RUNNER_LOCK))  # nothing is left to do
    n_calls = len([call for call in slurm.calls() if call.command == "squeue"])
    time.sleep(3)
    assert len([call for call in slurm.calls() if call.command == "squeue"]) == n_calls


def test_a_run_that_waits_there_says_why_and_is_cancelled(
    quick: Callable[..., Run], store: Path, slurm: SlurmCluster
) -> None:
    busy, waiting = [quick(100_000) for _ in range(2)], quick()
    actions.ensure_runner(store)
    for run in busy:
        wait_for_state(run, "running")
    wait_for_state(waiting, "waiting there")
    wait_for(lambda: bool(Run(waiting.folder).reason))
    assert Run(waiting.folder).reason in (
        "It is next when what it asks for becomes free.",
        "Jobs with a higher priority are before it.",
    )
    # A run says itself that it runs; where, its runner hears from the scheduler a second later.
    wait_for(lambda: {Run(run.folder).job["node"] for run in busy} == {"n1", "n2"})
    job_id = int(Run(waiting.folder).job["id"])
    assert "is cancelled" in actions.stop(Run(waiting.folder))
    assert state(waiting) == "stopped"
    assert slurm.jobs()[job_id]["job_state"] == "CANCELLED"
    for run in busy:
        actions.stop(Run(run.folder))
    for run in busy:
        wait_for_state(run, "stopped")
        check_once(run)
    n_before = len(writes(busy[0]))
    (busy[0].folder / "steps").write_text(str(n_before + 5))
    actions.resume(Run(busy[0].folder))
    wait_for_state(busy[0], "done")
    check_once(busy[0])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"partition": "nope"}, ["field partition", "Invalid partition name specified"]),
        ({"memory": "900G"}, ["field memory", "Requested node configuration is not available"]),
        ({"gpus": "a100:1"}, ["Requested node configuration is not available"]),
        ({"flags": ["--no-such-flag"]}, ["unrecognized option"]),
    ],
)
def test_a_refusal_fails_the_run_in_the_words_of_sbatch(
    quick: Callable[..., Run], store: Path, values: dict[str, object], words: list[str]
) -> None:
    profiles.keep(profiles.checked({"name": "odd", **HERE, **values}), store)
    odd, good = quick(place="slurm:odd"), quick()
    actions.ensure_runner(store)
    wait_for_state(odd, "failed")
    assert all(word in Run(odd.folder).reason for word in words), Run(odd.folder).reason
    wait_for_state(good, "done")


def test_a_job_that_can_never_start_says_so(quick: Callable[..., Run], store: Path) -> None:
    profile = {"name": "long", **HERE, "partition": "short", "time": "30"}
    profiles.keep(profiles.checked(profile), store)
    run = quick(place="slurm:long")
    actions.ensure_runner(store)
    wait_for(lambda: Run(run.folder).job.get("never"), 30)
    expected = "It can never start: its time is longer than the partition allows (field time)."
    assert (state(run), Run(run.folder).reason) == ("waiting there", expected)


@pytest.mark.parametrize("failures", [1, pytest.param(4, marks=pytest.mark.long)])
def test_a_job_that_nodes_fail_to_start_is_released_three_times(
    quick: Callable[..., Run], store: Path, slurm: SlurmCluster, failures: int
) -> None:
    slurm.let_jobs_start(times_to_fail=failures)
    run = quick()
    actions.ensure_runner(store)

    def has_begun_or_is_held_for_good() -> bool:
        for name, word in slurm.node_states().items():
            if word == "drained":
                slurm.resume_node(name)
        now = Run(run.folder)
        held = now.job.get("code") == LAUNCH_FAILED and now.job["restarts"] == 4
        return held or now.state == "done"

    wait_for(has_begun_or_is_held_for_good, 120)
    job = Run(run.folder).job
    assert job["releases"] == min(3, failures)
    if failures == 4:
        assert f"scontrol release {job['id']} on the cluster" in Run(run.folder).reason
        time.sleep(3)  # the scheduler is asked some times more
        assert Run(run.folder).job["code"] == LAUNCH_FAILED
        slurm.run("scontrol", "release", job["id"])
    wait_for_state(run, "done")
    check_once(run)


def test_a_runner_that_died_while_it_submitted_finds_the_job_by_its_tag(
    quick: Callable[..., Run], store: Path, slurm: SlurmCluster
) -> None:
    run = quick(100)
    Slurm(store).submit(Run(run.folder))
    job = Run(run.folder).job
    write_json(run.folder / "job.json", job | {"id": "", "state": "submitting"})
    actions.ensure_runner(store)
    wait_for_state(run, "done")
    assert int(job["id"]) == max(slurm.jobs())  # no other was submitted
    check_once(run)


def test_a_job_that_nobody_knows_any_more_is_submitted_anew_and_the_old_one_writes_nothing(
    quick: Callable[..., Run], store: Path, slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old job is held meanwhile, and starts when the new one has begun."""
    run = quick(100_000)
    profiles.keep(profiles.checked({"name": "here", **HERE, "flags": ["--hold"]}), store)
    Slurm(store).submit(Run(run.folder))
    old = Run(run.folder).job["id"]
    profiles.keep(profiles.checked({"name": "here", **HERE}), store)
    (run.folder / "job.json").unlink()
    actions.ensure_runner(store)
    wait_for_state(run, "running")
    slurm.run("scontrol", "release", old)
    wait_for(lambda: slurm.jobs()[int(old)]["job_state"] == "FAILED", 30)
    finish(run)
    wait_for_state(run, "done")
    check_once(run)
    assert "A newer job carries out the run" in Run(run.folder).log()


def test_a_requeued_run_whose_old_process_lives_is_carried_out_once(
    quick: Callable[..., Run], store: Path, slurm: SlurmCluster
) -> None:
    run = quick(100_000)
    actions.ensure_runner(store)
    wait_for_state(run, "running")
    give_its_node_up(run, slurm)


def test_a_run_in_a_store_whose_locks_hold_for_one_node_is_carried_out_once(
    quick: Callable[..., Run], store: Path, slurm: SlurmCluster
) -> None:
    """Each process sees a lock, a clock and a table of processes of its own."""
    hidden = (
        "lock=$(mktemp); boot=$(mktemp); cat /proc/sys/kernel/random/uuid > $boot; "
        "mount --bind $lock $0/lock && mount --bind $boot /proc/sys/kernel/random/boot_id && "
    )
    command = f"unshare --mount bash -c '{hidden} exec {PROGRAM} train --run $0'"
    is_apart = subprocess.run(["unshare", "--mount", "true"]).returncode == 0
    if not is_apart:
        command = PROGRAM  # this user may not; the locks are shared then
    lines = ['folder=$(dirname "$(realpath lock)")']
    profile = {"name": "apart", **HERE, "lines": lines, "command": f"{command} $folder #"}
    profiles.keep(profiles.checked(profile), store)
    run = quick(100_000, place="slurm:apart")
    actions.ensure_runner(store)
    wait_for_state(run, "running")
    assert is_locked(run.folder / "lock") != is_apart
    give_its_node_up(run, slurm)


def test_while_the_controller_sleeps_nothing_is_lost_or_sent_twice(
    quick: Callable[..., Run], store: Path, slurm: SlurmCluster
) -> None:
    first = quick(100_000)
    actions.ensure_runner(store)
    wait_for_state(first, "running")
    slurm.save(int(Run(first.folder).job["id"]))
    slurm.kill_controller()
    second = quick()
    time.sleep(3)
    assert state(first) == "running"
    assert state(second) in ("queued", "waiting there")
    slurm.start_controller()
    finish(first)
    for run in (first, second):
        wait_for_state(run, "done", most_s=120)
        check_once(run)


def test_a_killed_process_is_lost_and_resumed(
    quick: Callable[..., Run], store: Path, slurm: SlurmCluster
) -> None:
    run = quick(100_000)
    actions.ensure_runner(store)
    wait_for((run.folder / "writes").exists)
    os.kill(Run(run.folder).status["pid"], signal.SIGKILL)
    wait_for_state(run, "lost")
    assert "ended" in Run(run.folder).reason
    finish(run)
    actions.resume(Run(run.folder))
    wait_for_state(run, "done")
    check_once(run)


def test_a_runner_is_started_for_a_run_whose_process_died_while_there_was_none(
    store: Path, tiny: Tiny
) -> None:
    run = cluster_run(tiny(), store, "RUNNING", node="n1")
    Status(run.folder).move("running")
    assert state(run) == "stalled"
    actions.ensure_runner(store)
    wait_for(lambda: runners(store), 10)
    for process in runners(store):
        process.kill()


def test_a_deaf_run_is_ended_by_force(
    quick: Callable[..., Run], store: Path, slurm: SlurmCluster
) -> None:
    run = quick()
    (run.folder / "deaf").touch()
    actions.ensure_runner(store)
    wait_for_state(run, "running")
    wait_for(lambda: Run(run.folder).job["state"] == "running")
    before, pid = len(slurm.calls()), Run(run.folder).status["pid"]
    actions.stop(Run(run.folder), within_s=1)
    wait_for_state(run, "stopped")
    wait_for(lambda: not psutil.pid_exists(pid))
    words = [call.words for call in slurm.calls()[before:] if call.command == "scancel"]
    job_id = Run(run.folder).job["id"]
    assert words[:2] == [f"--batch --signal=USR1 {job_id}", job_id]
    actions.resume(Run(run.folder))
    (run.folder / "deaf").unlink()
    wait_for_state(run, "done")
    check_once(run)


def test_a_preempted_run_goes_on(quick: Callable[..., Run], store: Path) -> None:
    profiles.keep(profiles.checked({"name": "spare", **HERE, "partition": "spare"}), store)
    spare = [quick(100_000, place="slurm:spare") for _ in range(2)]
    actions.ensure_runner(store)
    for run in spare:
        wait_for_state(run, "running")
    urgent = quick(30)
    actions.ensure_runner(store)
    wait_for_state(urgent, "done")
    for run in spare:
        finish(run)
        wait_for_state(run, "done", most_s=120)
        check_once(run)
    assert any(len({generation for generation, _ in writes(run)}) > 1 for run in spare)


def test_not_more_jobs_than_wanted_wait_there(
    quick: Callable[..., Run], store: Path, slurm: SlurmCluster
) -> None:
    profiles.keep(profiles.checked({"name": "here", **HERE, "ahead": 2}), store)
    made = [quick() for _ in range(8)]
    actions.ensure_runner(store)
    most = 0
    while not at_rest(store):
        waiting = [job for job in slurm.jobs().values() if job["job_state"] == "PENDING"]
        most = max(most, len(waiting))
        time.sleep(0.2)
    assert 0 < most <= 2
    assert all(state(run) == "done" for run in made)


def test_through_ssh_to_a_login_node(
    login_node: LoginNode, store: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SSH, f"ssh -F {login_node.config}")
    login = Login("login")
    assert [one.n_gpus for one in partitions(login) if one.is_default] == [2]
    profiles.set_poll_s(1, store)
    lines = [f"export PYTHONPATH={ROOT}"]
    profiles.keep(profiles.checked({"name": "far", **HERE, "host": "login", "lines": lines}), store)
    run = create_run(tiny(), store, on="slurm:far")
    actions.ensure_runner(store)
    wait_for_state(run, "done")
    check_once(run)


def test_a_host_that_does_not_answer_leaves_the_state_unknown(store: Path, tiny: Tiny) -> None:
    profiles.keep(profiles.checked({"name": "far", "host": "127.0.0.1"}), store)
    run = create_run(tiny(), store, on="slurm:far")
    executor = Slurm(store)
    executor.submit(Run(run.folder))
    job = Run(run.folder).job
    write_json(run.folder / "job.json", job | {"submitted_at": time.time() - 300})
    executor.states([Run(run.folder)])
    executor.settle(Run(run.folder))
    now = Run(run.folder)
    assert now.state == "unknown"
    assert now.reason.startswith("The scheduler has not answered since")


@pytest.mark.long
def test_a_run_longer_than_its_jobs_may_take_is_the_same_as_an_uninterrupted_one(
    slurm: SlurmCluster, store: Path, tiny: Tiny
) -> None:
    """Two and more jobs of a minute each, by the real trainer."""
    values = {"name": "minute", "partition": "short", "time": "1", "cpus": 1, "warn_s": 40}
    profiles.set_poll_s(1, store)
    profiles.keep(profiles.checked(values), store)
    config = tiny(training__epochs=120, training__patience=0)
    run, other = create_run(config, store, on="slurm:minute"), create_run(config, store)
    actions.ensure_runner(store)
    wait_for_state(run, "done", most_s=560)
    wait_for_state(other, "done", most_s=300)
    assert Run(run.folder).job["restarts"] >= 1
    assert TIME_OVER in [entry["reason"] for entry in Run(run.folder).status["states"]]
    ours, theirs = Run(run.folder), Run(other.folder)
    assert ours.history.drop(columns=MEASURED).equals(theirs.history.drop(columns=MEASURED))
    for name in ("last.safetensors", "epochs.u8", "steps.f32"):
        assert (run.folder / name).read_bytes() == (other.folder / name).read_bytes()


@pytest.mark.long
def test_a_run_is_spread_over_two_nodes_as_over_two_processes_here(
    slurm: SlurmCluster, store: Path, tiny: Tiny
) -> None:
    profiles.set_poll_s(1, store)
    values = {"name": "both", "nodes": 2, "gpus": "1", "cpus": 1, "time": "10"}
    profiles.keep(profiles.checked(values), store)
    config = tiny(processes=2, training__epochs=3)
    run = create_run(config, store, on="slurm:both")
    actions.ensure_runner(store)
    nodes = set()
    wait_for(lambda: nodes.add(Run(run.folder).job.get("node")) or state(run) == "done", 300)
    assert "n[1-2]" in nodes
    here = create_run(config, store)
    actions.ensure_runner(store)
    wait_for_state(here, "done", most_s=300)
    ours, theirs = Run(run.folder).history, Run(here.folder).history
    assert ours.drop(columns=MEASURED).equals(theirs.drop(columns=MEASURED))


@pytest.mark.long
def test_where_the_cluster_keeps_accounts_the_states_are_the_same(
    accounted_slurm: SlurmCluster, store: Path, tiny: Tiny
) -> None:
    profiles.set_poll_s(1, store)
    profiles.keep(profiles.checked({"name": "here", **HERE}), store)
    profiles.keep(profiles.checked({"name": "odd", **HERE, "account": "nobody"}), store)
    good, odd = (create_run(tiny(), store, on=f"slurm:{name}") for name in ("here", "odd"))
    lost = create_run(tiny(), store, on="slurm:here")
    (lost.folder / "steps").write_text("100000")
    actions.ensure_runner(store)
    wait_for_state(good, "done")
    wait_for_state(odd, "failed")
    assert "Invalid account" in Run(odd.folder).reason
    assert "field account" in Run(odd.folder).reason
    wait_for_state(lost, "running")
    os.kill(Run(lost.folder).status["pid"], signal.SIGKILL)
    wait_for_state(lost, "lost")
    check_once(good)


@pytest.mark.long
def test_schedulers_are_asked_once_in_half_a_minute_however_many_runs_wait(
    slurm: SlurmCluster, store: Path, tiny: Tiny
) -> None:
    profiles.keep(profiles.checked({"name": "here", **HERE, "ahead": 5}), store)
    config = tiny()
    for number in range(200):
        run = create_run(config, store, on="slurm:here")
        (run.folder / "steps").write_text("100000" if number < 2 else "10")
    actions.ensure_runner(store)
    time.sleep(10)
    before = len(slurm.calls())
    time.sleep(65)
    calls = [call.command for call in slurm.calls()[before:]]
    assert calls.count("squeue") <= 3
    assert set(calls) <= {"squeue", "sbatch"}
    for process in runners(store):
        process.kill()


def test_profiles_are_checked(store: Path) -> None:
    for values, field in (
        ({"name": "a b"}, "name"),
        ({"name": "x", "time": "soon"}, "time"),
        ({"name": "x", "gpus": "many"}, "gpus"),
        ({"name": "x", "memory": "lots"}, "memory"),
        ({"name": "x", "partition": "a;rm"}, "partition"),
        ({"name": "x", "host": "-oProxyCommand=true"}, "host"),
        ({"name": "x", "nodes": 0}, "nodes"),
        ({"name": "x", "colour": "red"}, "colour"),
    ):
        with pytest.raises(UsageError, match=field):
            profiles.checked(values)
    with pytest.raises(UsageError, match="plain text"):
        profiles.checked({"name": "x", "lines": ["a\nb"]})
    with pytest.raises(UsageError, match="there is none yet"):
        profiles.find("slurm:x", store)
    profiles.keep(profiles.checked({"name": "x", "time": "1-00:00:00"}), store)
    with pytest.raises(UsageError, match="there are: slurm:x"):
        profiles.find("slurm:y", store)
    assert "forgotten" in profiles.remove("x", store)
    assert profiles.profiles(store) == {}


def test_settings_that_were_edited_by_hand_lose_no_profile(store: Path) -> None:
    for damaged in (7, "x", [7, "x"], {"a": 1}):
        write_json(store / "settings.json", {"cluster": {"profiles": damaged}})
        assert profiles.profiles(store) == {}
    odd = {"name": "odd", "time": "soon"}
    write_json(store / "settings.json", {"cluster": {"profiles": [odd]}})
    with pytest.raises(UsageError, match="field time cannot be 'soon'"):
        profiles.find("slurm:odd", store)
    profiles.keep(profiles.checked({"name": "good"}), store)
    assert list(profiles.profiles(store)) == ["good"]
    assert read_json(store / "settings.json")["cluster"]["profiles"] == [odd, {"name": "good"}]


def test_a_run_whose_profile_is_gone_fails_with_a_sentence(store: Path, tiny: Tiny) -> None:
    run = create_run(tiny(), store, on="slurm:gone")
    with pytest.raises(GenrecoreError, match="no such profile"):
        Slurm(store).submit(Run(run.folder))
