"""The doctor of clusters finds on a real Slurm what keeps runs from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import command, genrecore, refused
from opened import open_page, words
from slurm_cluster import ON_SLURM, SlurmCluster

from genrecore.jobs.slurm import profiles
from genrecore.jobs.slurm.doctor import examine

pytestmark = ON_SLURM


def findings(runs: Path, patience_s: float = 60, **values: object) -> dict[str, tuple[bool, str]]:
    profile = profiles.checked({"name": "tried", **values})
    return {one.what: (one.ok, one.sentence) for one in examine(profile, runs, patience_s)}


def test_a_cluster_that_can_carry_out_runs(slurm: SlurmCluster, store: Path) -> None:
    profiles.keep(profiles.checked({"name": "cpu", "cpus": 1}), store)
    shown = command("cluster", "doctor", "cpu", "--json")
    found = {one["what"]: one for one in json.loads(shown)}
    assert [*found] == ["commands", "partition", "profile", "probe", "clock", "locks", "software"]
    assert all(one["ok"] for one in found.values())
    assert "is seen on the node" in found["locks"]["sentence"]
    assert "Python 3." in found["software"]["sentence"]
    assert not [*(store / ".probes").iterdir()]


def test_the_page_settings_examines_it_too(slurm: SlurmCluster, store: Path) -> None:
    profiles.keep(profiles.checked({"name": "cpu", "cpus": 1}), store)
    app = open_page("settings")
    app.button(key="profile_examine_cpu").click().run(timeout=120)
    assert not app.exception
    assert "Runs can be carried out there." in words(app)
    assert "is seen on the node" in words(app)


def test_a_profile_that_asks_for_a_gpu_where_torch_sees_none(
    slurm: SlurmCluster, store: Path
) -> None:
    ok, sentence = findings(store, gpus="1")["software"]
    assert (ok, "is the driver new enough?" in sentence) == (False, True)


def test_a_profile_may_name_several_partitions(slurm: SlurmCluster, store: Path) -> None:
    ok, sentence = findings(store, patience_s=0.1, partition="debug,short")["partition"]
    assert ok
    assert "Partition debug: 2 of 2 GPUs idle" in sentence
    assert "Partition short: 2 of 2 GPUs idle" in sentence


def test_a_partition_that_is_not_there(slurm: SlurmCluster, store: Path) -> None:
    found = findings(store, partition="nope")
    assert found["partition"][0] is False
    assert "debug" in found["partition"][1]
    assert found["profile"][0] is False
    assert "partition" in found["profile"][1]
    assert "probe" not in found


def test_a_store_that_nodes_do_not_see(slurm: SlurmCluster, store: Path, tmp_path: Path) -> None:
    found = findings(store, patience_s=5, store=str(tmp_path / "elsewhere"))
    assert found["probe"][0] is False
    assert "the profile's field store" in found["probe"][1]


def test_a_node_without_the_package_says_so(slurm: SlurmCluster, store: Path) -> None:
    found = findings(store, patience_s=10, command="python3 -m no_such_package")
    assert "No module named" in found["probe"][1]


def test_a_machine_without_slurm(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(store))
    assert findings(store)["commands"] == (
        False,
        "sbatch, squeue, scontrol, scancel and sinfo not found on this machine; install Slurm's "
        "client commands there.",
    )


def test_a_profile_that_is_not_there_is_a_sentence(store: Path) -> None:
    refused(genrecore("cluster", "doctor", "gone"), 2, "no such profile")
