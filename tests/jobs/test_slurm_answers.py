"""What squeue of several versions says of a job."""

from __future__ import annotations

import pytest

from genrecore.jobs.slurm import states
from genrecore.jobs.slurm.commands import _job


@pytest.mark.parametrize(
    ("job_state", "word", "kind"),
    [
        ("COMPLETING", "COMPLETING", "running"),  # as 22.05 says it
        (["CANCELLED", "COMPLETING"], "COMPLETING", "running"),  # as 24.11 says the same
        (["CANCELLED"], "CANCELLED", "ended"),
        (["NODE_FAIL", "REQUEUED"], "REQUEUED", "waiting"),
        (["PENDING", "LAUNCH_FAILED"], "PENDING", "waiting"),
        (["RUNNING"], "RUNNING", "running"),
        ([], "", "ended"),
    ],
)
def test_a_job_whose_processes_still_live_has_not_ended(
    job_state: str | list[str], word: str, kind: str
) -> None:
    job = _job({"job_id": 7, "job_state": job_state})
    assert job.word == word
    assert states.kind(job.word) == kind
