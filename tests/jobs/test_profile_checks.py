"""What a real cluster says of profiles before anything is queued."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cluster_runs import keep_profile
from commands import command, genrecore, refused
from slurm_cluster import ON_SLURM, SlurmCluster

from genrecore.jobs.slurm.partitions import minutes

pytestmark = ON_SLURM


@pytest.mark.parametrize(
    ("time", "expected"),
    [("30", 30), ("90:30", 90.5), ("1:00:00", 60), ("2-12", 3600), ("1-00:30:00", 1470),
     ("infinite", None), ("", None)],
)  # fmt: skip
def test_time_limits_are_read_as_slurm_writes_them(time: str, expected: float | None) -> None:
    assert minutes(time) == expected


def test_a_suggested_profile_is_accepted_and_nothing_is_submitted(
    slurm: SlurmCluster, store: Path
) -> None:
    text = command("cluster", "profiles", "suggest")
    assert "slurm:default: partition debug, 1 GPU" in text
    command("cluster", "profiles", "suggest", "--keep")
    before = len(slurm.jobs())
    text = command("cluster", "check", "default")
    assert text.startswith("slurm:default is accepted. Job ")
    assert "in partition debug" in text
    assert len(slurm.jobs()) == before


@pytest.mark.parametrize(
    ("values", "sentence", "field"),
    [
        ({"partition": "nope"}, "Invalid partition name specified", "partition"),
        ({"memory": "90G"}, "Requested node configuration is not available", "memory"),
        ({"gpus": "4"}, "Requested node configuration is not available", "gpus"),
        ({"cpus": 99}, "Requested node configuration is not available", "cpus"),
        ({"constraint": "fast"}, "Invalid feature specification", "constraint"),
        ({"flags": ["--nosuch"]}, "unrecognized option", "flags"),
        ({"partition": "short", "time": "2:00"}, "would wait for ever", "time"),
    ],
)
def test_a_refusal_is_slurms_own_sentence_with_the_field(
    slurm: SlurmCluster, store: Path, values: dict[str, object], sentence: str, field: str
) -> None:
    keep_profile(store, "x", **values)
    refused(genrecore("cluster", "check", "x"), 1, sentence, f"(the profile's field {field})")
    facts = json.loads(genrecore("cluster", "check", "x", "--json").stdout)
    assert (facts["accepted"], facts["field"]) == (False, field)


def test_partitions_are_listed_with_limits_and_what_is_idle(
    slurm: SlurmCluster, store: Path
) -> None:
    rows = {row["name"]: row for row in json.loads(command("cluster", "partitions", "--json"))}
    assert set(rows) == {"debug", "short", "single", "spare"}
    assert (rows["debug"]["n_gpus"], rows["debug"]["idle_gpus"]) == (2, 2)
    assert (rows["short"]["time"], rows["debug"]["is_default"]) == ("1:00", True)
    slurm.run("sbatch", "--gres=gpu:1", "--output=/dev/null", "--wrap", "exec sleep 600")
    slurm.run("sbatch", "--gres=gpu:1", "--output=/dev/null", "--wrap", "exec sleep 600")
    assert "debug (default)" in command("cluster", "partitions")
