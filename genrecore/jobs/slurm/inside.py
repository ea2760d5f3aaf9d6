"""What a run does differently inside a job of a cluster."""

from __future__ import annotations

import os
import subprocess
import time

from genrecore.errors import GenrecoreError
from genrecore.jobs.slurm.script import REQUEUES
from genrecore.store import generations
from genrecore.store.generations import JOB, Replaced
from genrecore.store.locks import LOCK, take_lock
from genrecore.store.run import Run
from genrecore.store.status import TIME_OVER, Status
from genrecore.training import hardware

_PATIENCE_S = 60.0
"""For the lock of a replaced process, which ends at its next write; a node that is gone may hold
it for ever, and then the generation alone keeps two from writing."""


def is_job() -> bool:
    """Whether this process was started by a batch script of ours."""
    return bool(os.environ.get(JOB))


def begin(run: Run) -> tuple[list[str], list[int]]:
    """Makes this process the run's newest; returns its devices and the lock it holds, if any.

    Raises:
        GenrecoreError: The run is over, or a newer job was submitted for it.
    """
    state = run.status.get("state")
    if state in ("done", "failed"):
        raise GenrecoreError(f"The run {run.run_id} is {state} already.")
    try:
        generations.start(run.folder)
    except Replaced:
        raise GenrecoreError(f"A newer job carries out the run {run.run_id}.") from None
    lock = take_lock(run.folder / LOCK, patience_s=_PATIENCE_S)
    accelerators = [name for name in hardware.accelerators() if name.startswith("cuda")]
    return accelerators or ["cpu"], [] if lock is None else [lock]


def end(run: Run, state: str) -> None:
    """Where the job's time was over, has Slurm queue the job again; where it cannot, the run is
    stopped, to be resumed by hand."""
    status = Run(run.folder).status
    if state != "queued" or status.get("reason") != TIME_OVER:
        return
    problem = "its profile says that it does not queue itself again"
    if os.environ.get(REQUEUES):
        command = ["scontrol", "requeue", os.environ.get("SLURM_JOB_ID", "")]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired) as error:
            problem = str(error)
        else:
            if done.returncode == 0:
                return
            problem = done.stderr.strip()
    reason = f"The time of its job was over ({problem}); resume goes on from its last checkpoint."
    Status(run.folder).move("stopped", reason, finished_at=time.time(), time_left_s=None)
