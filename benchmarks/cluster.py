"""What a runner costs while its runs wait in a cluster: a look, by processor time and system calls.

Fabricates stores of runs that each have a job (200 and 2,000 by default) and lets the runner look
at them as it does every two seconds, without a scheduler: `squeue` is one call however many there
are, and is counted apart. `opened` are the files that a look opens.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from genrecore.config.run import RunConfig
from genrecore.jobs.runner import _Runner
from genrecore.jobs.slurm.commands import Job
from genrecore.jobs.slurm.script import tag
from genrecore.store.files import write_json
from genrecore.store.records import JobFile
from genrecore.store.run import SCHEDULER, Run
from genrecore.store.runs import create_run


def fabricated(store: Path, number: int) -> list[Run]:
    """Runs that wait for a scheduler, which has answered just now."""
    made = []
    for k in range(number):
        run = create_run(RunConfig(), store, on="slurm:none")
        job = JobFile(on="slurm:none", id=str(k), generation=1, submitted_at=time.time())
        values = job.model_dump() | {"state": "waiting", "word": "PENDING", "code": "Priority"}
        write_json(run.folder / "job.json", values)
        made.append(run)
    write_json(store / SCHEDULER, {"answered": {"": time.time() + 3600}})
    return made


def main() -> None:
    """Prints a row for each number of runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[200, 2000])
    opened = [0]
    sys.addaudithook(lambda event, _: opened.__setitem__(0, opened[0] + (event == "open")))
    print("runs  look, ms  a run, µs  opened  after an answer, ms")
    for number in parser.parse_args().runs:
        with tempfile.TemporaryDirectory() as folder:
            store = Path(folder)
            made = fabricated(store, number)
            runner = _Runner(store, [])
            runner.step()
            times, before = [], opened[0]
            for _ in range(5):
                began = time.process_time()
                runner.step()
                times.append(time.process_time() - began)
            files = (opened[0] - before) // 5
            known = [Job(str(k), "PENDING", "Priority", comment=tag(run.run_id, 1))
                     for k, run in enumerate(made)]  # fmt: skip
            runner.slurm._known[""] = {job.comment: job for job in known}
            runner.slurm._told_at[""] = time.time()
            began = time.process_time()
            runner.step()
            answered = time.process_time() - began
            look = sorted(times)[2]
            print(f"{number:5} {look * 1e3:8.1f} {look / number * 1e6:10.0f} {files:7} "
                  f"{answered * 1e3:12.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
