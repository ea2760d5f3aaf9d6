"""Runs as jobs of Slurm clusters: submitted, watched by one call for all, found again by their tag.

The run folder is the record: `job.json` holds the job's id and what the scheduler said last, since
a scheduler forgets jobs minutes after their end.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genrecore.errors import GenrecoreError
from genrecore.jobs.executors import Force
from genrecore.jobs.slurm import states
from genrecore.jobs.slurm.commands import Job, Login, NoAnswer, Refused
from genrecore.jobs.slurm.profiles import Profile, find, poll_s
from genrecore.jobs.slurm.script import script, tag
from genrecore.store import generations
from genrecore.store.faults import stamps_of
from genrecore.store.files import Unreadable, write_json, write_text
from genrecore.store.locks import LOCK, held
from genrecore.store.records import JobFile
from genrecore.store.run import JOB, SCHEDULER, SCRIPT, Run, scheduler
from genrecore.store.runs import fault
from genrecore.store.status import FINAL, Status, stop_asked

GONE_AFTER_S = 120.0  # unknown to a scheduler that answers; lists may miss a job for a moment
_MOST_STARTS = 3  # of a job that fails before the run begins, and of one that nodes fail to start


class Slurm:
    """The clusters of a store's profiles."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self._known: dict[str, dict[str, Job]] = {}  # by host and tag, as the schedulers told it
        self._told_at: dict[str, float] = {}
        self._settled: dict[str, float | None] = {}  # by run: the answer that was noted of it
        self._jobs: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {}  # by run, as of a time
        self._n_ahead: dict[str, int] = {}  # jobs that wait there, by profile
        self._lost: set[tuple[str, int]] = set()  # runs whose job ended and who are lost for good
        self._full: set[str] = set()  # profiles that take no more until schedulers are asked again

    def states(self, runs: Sequence[Run]) -> None:
        """Asks each scheduler that has one of these runs for all its jobs, unless that was done
        just now. Jobs of an earlier runner are found by their tags."""
        self._jobs = {run.run_id: self._jobs.get(run.run_id, ((), {})) for run in runs}
        jobs = [job for run in runs if (job := self._job(run))]
        self._n_ahead = {}
        for job in jobs:
            if job["state"] in ("submitting", "waiting"):
                self._n_ahead[job["on"]] = self._n_ahead.get(job["on"], 0) + 1
        for host in {job["host"] for job in jobs if job["state"] != "ended"}:
            last = scheduler(self.store)
            asked_at = max(last["answered"].get(host, 0.0), self._told_at.get(host, 0.0))
            if abs(time.time() - asked_at) < poll_s(self.store):
                continue
            self._told_at[host] = time.time()
            self._full.clear()
            try:
                self._known[host] = Login(host).jobs()
            except GenrecoreError as error:
                last["faults"][host] = str(error)
                self._known.pop(host, None)
            else:
                last["answered"][host] = time.time()
                last["faults"].pop(host, None)
            with contextlib.suppress(OSError):
                write_json(self.store / SCHEDULER, last)

    def settle(self, run: Run) -> None:
        """Writes what the scheduler said of its job, and what follows for the run."""
        job = self._job(run)
        if not job:
            return
        if job["state"] == "ended":
            self._follow(run, job)
            return
        known, told_at = self._known.get(job["host"]), self._told_at.get(job["host"])
        if known is None or self._settled.get(run.run_id) == told_at:
            return
        self._settled[run.run_id] = told_at
        answer = known.get(tag(run.run_id, job["generation"]))
        if answer is not None:
            self._note(run, job, answer)
        elif self._told_at[job["host"]] > job["submitted_at"]:
            self._note_absence(run, job)
        if (now := self._job(run)).get("state") == "ended":
            self._follow(run, now)

    def lives(self, run: Run) -> bool:
        """Whether the scheduler has a job for it that has not ended."""
        job = self._job(run)
        return bool(job) and job["state"] != "ended"

    def _job(self, run: Run) -> dict[str, Any]:
        """The run's job; read again only when its file changed."""
        stamp, job = stamps_of(run.folder, JOB)[0], self._jobs.get(run.run_id)
        if job is None or job[0] != stamp:
            job = stamp, _job_of(run) if stamp else {}
            self._jobs[run.run_id] = job
        return job[1]

    def submit(self, run: Run) -> bool:
        """Writes the batch script into the run's folder and hands it to `sbatch`."""
        unreadable = fault(run.folder)
        if unreadable is not None:
            raise unreadable
        place = str(run.queue["on"])
        profile = find(place, self.store)
        if place in self._full or self._n_ahead.get(place, 0) >= profile.ahead:
            return False
        with held(run.folder / LOCK, patience_s=0.1) as acquired:
            if not acquired or Status(run.folder).values.get("state") != "queued":
                return False
            return self._hand_over(run, profile)

    def stop(self, run: Run, force: Force) -> None:
        """Signals its job; where the scheduler does not answer, the job ends before it writes."""
        job = _job_of(run)
        if not job or not job["id"]:
            return
        login = Login(job["host"])
        with contextlib.suppress(NoAnswer, Refused):
            if force == "ask":
                if job["state"] == "running":
                    login.call("scancel", "--batch", "--signal=USR1", job["id"])
            elif force == "terminate":
                login.call("scancel", job["id"])
            else:
                generations.announce(run.folder)
                login.call("scancel", "--full", "--signal=KILL", job["id"])

    def _hand_over(self, run: Run, profile: Profile) -> bool:
        generation = generations.announce(run.folder)
        text = script(run, profile, generation)
        write_text(run.folder / SCRIPT, text)
        job = JobFile(
            on=profile.place,
            host=profile.host,
            generation=generation,
            submitted_at=time.time(),
        ).model_dump()
        write_json(run.folder / JOB, job)  # before: whatever happens now, the tag is looked for
        try:
            job |= {"id": profile.login.submit(text), "state": "waiting"}
        except NoAnswer:
            return True  # it may have been taken
        except Refused as error:
            (run.folder / JOB).unlink()
            if states.is_full(str(error)):
                self._full.add(profile.place)
                return False
            where = states.field_words(states.field(str(error)))
            raise GenrecoreError(f"The cluster refused the job{where}: {error}") from None
        self._n_ahead[profile.place] = self._n_ahead.get(profile.place, 0) + 1
        write_json(run.folder / JOB, job)
        return True

    def _note(self, run: Run, job: dict[str, Any], answer: Job) -> None:
        """Writes what the scheduler says of a job, where that is something new."""
        values: dict[str, Any] = {
            "id": answer.id,
            "state": states.kind(answer.word),
            "word": answer.word,
            "code": answer.code,
            "reason": states.sentence(answer.code, answer.word, answer.id),
            "never": states.kind(answer.word) == "waiting" and states.never_starts(answer.code),
            "starts_at": answer.starts_at,
            "node": answer.nodes,
            "restarts": answer.restarts,
            "gone_since": None,
        }
        if values["state"] == "ended" and answer.signal:
            values["reason"] += f" It was ended by signal {answer.signal}."
        is_released = answer.code == states.LAUNCH_FAILED and job["releases"] < _MOST_STARTS
        values["releases"] = job["releases"] + is_released
        if any(job[key] != value for key, value in values.items()):
            write_json(run.folder / JOB, job | values)
        if is_released:
            with contextlib.suppress(NoAnswer, Refused):
                Login(job["host"]).call("scontrol", "release", answer.id)

    def _note_absence(self, run: Run, job: dict[str, Any]) -> None:
        """A job counts as gone after minutes in which the scheduler knew nothing of it."""
        since = job["gone_since"] or time.time()
        if job["gone_since"] is None:
            write_json(run.folder / JOB, job | {"gone_since": since})
        elif time.time() - since > GONE_AFTER_S:
            reason = "The scheduler knows nothing of it any more."
            write_json(run.folder / JOB, job | {"state": "ended", "word": "", "reason": reason})

    def _follow(self, run: Run, job: dict[str, Any]) -> None:
        """Has a run go on, stop or fail whose job has ended; what a process still writes counts
        more than what the scheduler said."""
        if (run.run_id, job["generation"]) in self._lost or Run(run.folder).alive:
            return
        with held(run.folder / LOCK, patience_s=0.0) as acquired:
            status = Status(run.folder)
            state, began = status.values.get("state"), generations.read(run.folder)["starts"] > 0
            if not acquired or state in FINAL:
                return
            by_cluster = job["word"] in states.BY_THE_CLUSTER
            asked = stop_asked(run.folder)
            if job["word"] == "CANCELLED" or asked:
                reason = "Stopped on request." if asked else "Its job was cancelled on the cluster."
                status.move("stopped", reason, finished_at=time.time(), time_left_s=None)
            elif state == "queued" and not began:
                self._mend_false_start(run, job, status)
            elif state == "queued" or by_cluster:
                self._go_on(run, job, status)
            else:  # its job's state and reason say how
                self._lost.add((run.run_id, job["generation"]))

    def _mend_false_start(self, run: Run, job: dict[str, Any], status: Status) -> None:
        starts = int(status.values.get("starts", 0)) + 1
        if starts < _MOST_STARTS:
            (run.folder / JOB).unlink(missing_ok=True)
            status.move("queued", "Its job ended before it began.", starts=starts)
            return
        *_, log = [job["reason"], *run.log(2_000).strip().splitlines()]
        reason = f"Its job ended {_MOST_STARTS} times before it began; it said: {log}"
        status.move("failed", reason, finished_at=time.time())

    def _go_on(self, run: Run, job: dict[str, Any], status: Status) -> None:
        ended = f"Its job ended ({job['word'] or 'unknown'})"
        with contextlib.suppress(GenrecoreError):
            if find(job["on"], self.store).requeue:
                (run.folder / JOB).unlink(missing_ok=True)
                status.move("queued", f"{ended}; it goes on from its last checkpoint.", starts=0)
                return
        reason = f"{ended}; resume goes on from its last checkpoint."
        status.move("stopped", reason, finished_at=time.time(), time_left_s=None)


def cancel(run: Run) -> None:
    """Has the scheduler forget a job that waits for it; where it does not answer, the job ends as
    soon as it begins."""
    job = _job_of(run)
    generations.announce(run.folder)
    (run.folder / JOB).unlink(missing_ok=True)
    if job and job["id"]:
        with contextlib.suppress(NoAnswer, Refused):
            Login(job["host"]).call("scancel", job["id"], patience_s=10.0)


def _job_of(run: Run) -> dict[str, Any]:
    """The run's job as its folder has it now; empty where there is none."""
    try:
        return Run(run.folder).job
    except Unreadable:
        return {}
