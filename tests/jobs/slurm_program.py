"""A program that does in a cluster's job what a training does, by its own parts, in no time.

`python slurm_program.py train --run FOLDER` takes the place of `genrecore` in a profile's command.
It makes a step each 20 ms, for ten steps or as many as the file `steps` in the folder says, and
adds a line `generation step process` to `writes` for each, which the tests check. With a file
`deaf` there it neither looks for a stop nor obeys a signal but KILL, as a hung kernel would.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from genrecore.jobs.slurm import inside
from genrecore.store import generations
from genrecore.store.generations import Replaced
from genrecore.store.processes import identity
from genrecore.store.progress import Ended, Stopped
from genrecore.store.run import Run
from genrecore.store.status import Status
from genrecore.training.progress import RunProgress, signals_ask_to_stop


def main() -> None:
    """As `genrecore train --run FOLDER` in a job."""
    run = Run(Path(sys.argv[-1]))
    inside.begin(run)
    if (run.folder / "deaf").exists():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        Status(run.folder).move("running", **identity())
        while True:
            time.sleep(1)
    state = work(run)
    if state != "replaced":
        inside.end(run, state)


def work(run: Run) -> str:
    """Makes the steps that are left; returns the state that the run is in then."""
    folder = run.folder
    progress = RunProgress(run)
    try:
        with signals_ask_to_stop(folder):
            try:
                progress.status.move("running", **identity())
                done = folder / "writes"
                lines = done.read_text().splitlines() if done.exists() else []
                step = len(lines)
                while step < n_steps(folder):
                    step += 1
                    time.sleep(0.02)
                    progress.report("training", step, n_steps(folder))
                    generations.check(folder)
                    with open(done, "a") as stream:
                        stream.write(f"{generations.own(folder)} {step} {os.getpid()}\n")
                progress.end("done", "")
            except (Ended, Stopped):
                progress.stop()
            progress.forget_stop()
        return str(progress.status.values["state"])
    except Replaced:
        return "replaced"


def n_steps(folder: Path) -> int:
    """How many steps are wanted; a test may change it meanwhile."""
    path = folder / "steps"
    return int(path.read_text() or 0) if path.exists() else 10


if __name__ == "__main__":
    main()
