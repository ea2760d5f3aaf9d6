"""What keeps a cluster from carrying out runs, found before a run is: `genrecore cluster doctor`.

A probe job of a second says what no command on the login node can: whether a node sees the store,
what its clock shows, whether locks reach it, and which Python, torch and GPUs it has.
"""

from __future__ import annotations

import contextlib
import platform
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrecore.jobs.slurm import states
from genrecore.jobs.slurm.check import check_profile
from genrecore.jobs.slurm.commands import Login, NoAnswer, Refused
from genrecore.jobs.slurm.partitions import named_partitions, partition_words, partitions
from genrecore.jobs.slurm.profiles import Profile
from genrecore.jobs.slurm.script import probe_script
from genrecore.store.files import read_json, write_json
from genrecore.store.locks import NoLocks, lock_state, take_lock
from genrecore.store.run import Run
from genrecore.words import listed

COMMANDS = ("sbatch", "squeue", "scontrol", "scancel", "sinfo")
PROBES, ANSWER, LOCK = ".probes", "answer.json", "lock"
_MOST_SKEW_S = 60.0
_NOT_SHARED = (
    "No node wrote into the store: is it on a file system that all nodes share? If it lies "
    "elsewhere there, set the profile's field store."
)


@dataclass(frozen=True)
class ClusterFinding:
    """One thing that was looked at.

    Attributes:
        what: Its name.
        ok: Whether runs can be carried out as it is.
        sentence: What was found and, where it is not right, what to do.
    """

    what: str
    ok: bool
    sentence: str


def examine(profile: Profile, store: Path, patience_s: float = 60.0) -> Iterator[ClusterFinding]:
    """Looks at a cluster through a profile; each finding as soon as it is made. Nothing that
    depends on what is missing is looked at.

    Args:
        profile: The profile.
        store: The folder of the runs, where the probe's answer is written.
        patience_s: How long the probe job may wait and run.
    """
    try:
        yield from _commands(profile.login)
        yield from _partition(profile)
        yield from _probe(profile, store, patience_s)
    except (NoAnswer, Refused) as error:
        yield ClusterFinding("scheduler", False, f"{error} Ask the site whether Slurm is up.")


def answer(folder: Path) -> None:
    """Writes what a node sees into the folder of a probe; called by the probe job."""
    import torch

    devices = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    facts = {
        "host": socket.gethostname(),
        "time": time.time(),
        "lock_is_seen": lock_state(folder / LOCK),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gpus": devices,
    }
    write_json(folder / ANSWER, facts)


def _commands(login: Login) -> Iterator[ClusterFinding]:
    missing = []
    for name in COMMANDS:
        if login.host:
            with contextlib.suppress(Refused):
                login.call("sh", "-c", f"command -v {name}")
                continue
            missing.append(name)
        elif shutil.which(name) is None:
            missing.append(name)
    if missing:
        sentence = f"{listed(missing)} not found on {login}; install Slurm's client commands there."
        yield ClusterFinding("commands", False, sentence)
        raise NoAnswer(f"Without {missing[0]} nothing more can be found out.")
    yield ClusterFinding("commands", True, login.call("sbatch", "--version"))


def _partition(profile: Profile) -> Iterator[ClusterFinding]:
    known = partitions(profile.login)
    named = named_partitions(profile.partition, known)
    lacks_gpu = bool(named and profile.n_gpus and not any(each.n_gpus for each in named))
    sentence = partition_words(profile.partition, known)
    if lacks_gpu:
        sentence += " The profile asks for GPUs (field gpus): choose another partition."
    is_up = any(partition.n_up for partition in named)
    yield ClusterFinding("partition", is_up and not lacks_gpu, sentence)


def _probe(profile: Profile, store: Path, patience_s: float) -> Iterator[ClusterFinding]:
    folder = store / PROBES / secrets.token_hex(4)
    folder.mkdir(parents=True)
    try:
        yield from _probed(profile, folder, patience_s)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _probed(profile: Profile, folder: Path, patience_s: float) -> Iterator[ClusterFinding]:
    login, comment = profile.login, f"genrecore probe {folder.name}"
    script = probe_script(folder, profile, comment)
    check = check_profile(profile, folder.parent.parent)
    if not check.accepted:
        yield ClusterFinding("profile", False, check.sentence)
        return
    yield ClusterFinding("profile", True, check.says)
    try:
        lock = take_lock(folder / LOCK)
    except NoLocks:
        lock = None
    began, job_id = time.time(), login.submit(script)
    facts: dict[str, Any] = {}
    while not facts and time.time() - began < patience_s:
        time.sleep(0.5)
        facts = read_json(folder / ANSWER)
    login.call("scancel", job_id)
    if not facts:
        job = login.jobs().get(comment)
        word = job.word if job else "gone"
        why = states.sentence(job.code, job.word, job_id) if job else ""
        *_, log = ["", *Run(folder).log(300).strip().splitlines()]
        hint = f"It said: {log}" if log else _NOT_SHARED
        sentence = f"A job of a second did not answer in {patience_s:.0f} s (it is {word}). "
        yield ClusterFinding("probe", False, f"{sentence}{why} {hint}")
        return
    yield ClusterFinding(
        "probe", True, f"Answered from {facts['host']} after {time.time() - began:.0f} s."
    )
    yield _clock(facts, folder)
    yield _locks(facts, lock is not None)
    yield _software(facts, profile)


def _clock(facts: dict[str, Any], folder: Path) -> ClusterFinding:
    skew_s = float(facts["time"]) - (folder / ANSWER).stat().st_mtime
    here_s = time.time() - (folder / ANSWER).stat().st_mtime
    worst_s = max(abs(skew_s), abs(min(here_s, 0.0)))
    if worst_s > _MOST_SKEW_S:
        return ClusterFinding(
            "clock", False, f"Clocks differ by {worst_s:.0f} s: ask the site to set them."
        )
    return ClusterFinding("clock", True, f"The clocks of node and disk differ by {worst_s:.0f} s.")


def _locks(facts: dict[str, Any], held_here: bool) -> ClusterFinding:
    if held_here and facts["lock_is_seen"]:
        return ClusterFinding("locks", True, "A lock that is held here is seen on the node.")
    sentence = "Locks of one machine are not seen on another; generations keep runs apart."
    return ClusterFinding("locks", True, sentence)


def _software(facts: dict[str, Any], profile: Profile) -> ClusterFinding:
    gpus = [str(name) for name in facts["gpus"]]
    sentence = f"Python {facts['python']}, torch {facts['torch']}, "
    sentence += f"GPUs: {listed(gpus)}." if gpus else "no GPU that torch can use."
    lacks_gpu = profile.n_gpus > 0 and not gpus
    if lacks_gpu:
        sentence += (
            " The profile asks for one: is torch there built for CUDA, is the driver new enough?"
        )
    return ClusterFinding("software", not lacks_gpu, sentence)
