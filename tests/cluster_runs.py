"""Run folders as the executor of clusters leaves them, without a cluster."""

from __future__ import annotations

import time
from pathlib import Path

from genrecore.config.run import RunConfig
from genrecore.jobs.slurm import profiles, states
from genrecore.jobs.slurm.profiles import Profile
from genrecore.jobs.slurm.script import script
from genrecore.store.files import write_json, write_text
from genrecore.store.records import JobFile
from genrecore.store.run import JOB, SCHEDULER, SCRIPT, Run
from genrecore.store.runs import create_run


def keep_profile(store: Path, name: str = "gpu", **values: object) -> Profile:
    """A profile of the store."""
    profile = profiles.checked({"name": name, "partition": "debug", "gpus": "1"} | values)
    profiles.keep(profile, store)
    return profile


def cluster_run(
    config: RunConfig, store: Path, word: str = "PENDING", code: str = "", **values: object
) -> Run:
    """A queued run with a job that is in this state of Slurm, for this reason."""
    run = create_run(config, store, on="slurm:gpu")
    kind = states.kind(word)
    facts = {"id": "7", "host": "", "on": "slurm:gpu", "submitted_at": time.time()}
    facts |= {"state": kind, "word": word, "code": code}
    facts |= {"reason": states.sentence(code, word, "7")}
    facts |= {"never": kind == "waiting" and states.never_starts(code)} | values
    write_text(run.folder / SCRIPT, script(run, Profile(name="gpu", partition="debug"), 1))
    write_json(run.folder / JOB, JobFile.model_validate(facts).model_dump())
    answers(store)
    return Run(run.folder)


def answers(store: Path, seconds_ago: float = 0.0, fault: str = "") -> None:
    """The scheduler answered last so long ago, and why it does not now."""
    faults = {"": fault} if fault else {}
    write_json(store / SCHEDULER, {"answered": {"": time.time() - seconds_ago}, "faults": faults})
