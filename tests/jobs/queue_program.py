"""A program that does what a training does to a run folder, in a fraction of a second.

`python queue_program.py [--deaf] train --run FOLDER` takes the place of `genrecore` in the tests of
the queue. It checks from inside that it is alone: locks of its own say whether another process
works on the same run, or on another run of the same slot. `--deaf` neither looks for a stop nor
obeys TERM, as a hung kernel would.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from genrecore.jobs import slots
from genrecore.store.files import write_text
from genrecore.store.locks import take_lock
from genrecore.store.processes import identity
from genrecore.store.status import STOP, Status, stop_request


def main() -> None:
    """Works in the folder, a step each 20 ms, for ten steps or as many as `steps` there says."""
    deaf, folder = "--deaf" in sys.argv, Path(sys.argv[-1])
    places = [folder.parent / f".only-slot-{k}" for k in range(slots.n_on_cpu(folder.parent))]
    locks = (take_lock(path, patience_s=0.0) for path in places)
    alone = [
        take_lock(folder / ".only", patience_s=0.0),
        next((lock for lock in locks if lock is not None), None),
    ]
    status = Status(folder)
    if None in alone or status.values["state"] != "starting":
        (folder / "twice").write_text(f"{alone} {status.values}")
        return
    if deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(folder / "begun", "a") as begun:
        begun.write(f"{time.time()}\n")
    status.move("running", **identity())
    done = folder / "done-steps"
    n_done = int(done.read_text()) if done.exists() else 0
    steps = folder / "steps"
    n_steps = int(steps.read_text()) if steps.exists() else 10
    while n_done < n_steps:
        time.sleep(0.02)
        n_done += 1
        write_text(done, str(n_done))
        status.beat(epoch=n_done)
        request = {} if deaf else stop_request(folder)
        if request:
            status.move("queued" if request.get("requeue") else "stopped", "asked", starts=0)
            (folder / STOP).unlink(missing_ok=True)
            return
    status.move("done", finished_at=time.time())


if __name__ == "__main__":
    os.environ.pop("PYTHONUNBUFFERED", None)
    main()
