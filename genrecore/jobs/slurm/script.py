"""The batch script of a run: what a node carries out, as one can read it in the run's folder."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from genrecore.jobs.slurm.profiles import Profile
from genrecore.store.generations import JOB
from genrecore.store.run import Run
from genrecore.store.status import LOG

TAG = "genrecore"
REQUEUES = "GENRECORE_REQUEUES"
"""The environment variable that says that a job may queue itself again."""
_NOT_WANTED = "SLURM_NTASKS SLURM_NPROCS SLURM_PROCID SLURM_LOCALID SLURM_NTASKS_PER_NODE"
"""Variables from which libraries conclude that Slurm started one process for each GPU."""


def tag(run_id: str, generation: int) -> str:
    """The comment by which a job of a run is found again."""
    return f"{TAG} {run_id} {generation}"


def script(run: Run, profile: Profile, generation: int) -> str:
    """The text of `job.sh`.

    Args:
        run: The run.
        profile: What it asks for.
        generation: The one that was announced for the job.
    """
    folder = _there(run.folder, profile)
    directives = [
        f"--job-name=genrecore-{run.run_id[-4:]}",
        f"--signal=B:USR1@{profile.warn_s}",
        "--requeue" if profile.requeue else "--no-requeue",
    ]
    variables = {JOB: str(generation), REQUEUES: "1" if profile.requeue else ""}
    arguments = f"train --run {shlex.quote(folder)}"
    comment = tag(run.run_id, generation)
    return _script(profile, folder, comment, directives, variables, arguments)


def probe_script(folder: Path, profile: Profile, comment: str) -> str:
    """The text of a job of a second that tells what a node sees.

    Args:
        folder: Of the probe, two levels below the store.
        profile: What is tried.
        comment: By which the job is found.
    """
    there = f"{_there(folder.parent, profile)}/{folder.name}"
    directives = ["--job-name=genrecore-probe", "--no-requeue"]
    arguments = f"cluster probe {shlex.quote(there)}"
    return _script(profile, there, comment, directives, {}, arguments)


def _script(
    profile: Profile,
    folder: str,
    comment: str,
    directives: list[str],
    variables: dict[str, str],
    arguments: str,
) -> str:
    common = [
        f"--comment={shlex.quote(comment)}",
        f"--chdir={shlex.quote(folder)}",
        f"--output={shlex.quote(f'{folder}/{LOG}')}",
        "--open-mode=append",
        "--ntasks-per-node=1",
    ]
    variables = variables | {"GENRECORE_RUNS": str(Path(folder).parent), "PYTHONUNBUFFERED": "1"}
    if not profile.host and "GENRECORE_CACHE" in os.environ:
        variables["GENRECORE_CACHE"] = os.environ["GENRECORE_CACHE"]
    return "\n".join(
        [
            "#!/bin/bash",
            *(f"#SBATCH {one}" for one in (*directives, *common, *profile.options())),
            "",
            *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
            'export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-1}}"',
            f"unset {_NOT_WANTED}",
            *profile.lines,
            f"exec {_command(profile)} {arguments}",
            "",
        ]
    )


def _command(profile: Profile) -> str:
    """What starts genrecore there: this Python where the commands are called here."""
    return profile.command or (
        "python -m genrecore" if profile.host else f"{shlex.quote(sys.executable)} -m genrecore"
    )


def _there(folder: Path, profile: Profile) -> str:
    """A folder of the store as the nodes see it."""
    return str(Path(profile.store or folder.parent) / folder.name)
