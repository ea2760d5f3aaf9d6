"""A library job that is killed whenever its file has a given size, and then goes on to its end.

python killed_library.py RUN FOLDER OUT BYTES…
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from genrecore.inference.ensemble import load
from genrecore.inference.library import classify_library
from genrecore.inference.library_results import working_file


def main() -> None:
    """Writes how many of the jobs were killed before they had ended by themselves."""
    run, folder, out = sys.argv[1:4]
    ensemble, n_killed = load([run]), 0
    working = working_file(Path(out), Path(out).suffix.lstrip("."))
    for n_bytes in sorted(map(int, sys.argv[4:])):
        job = os.fork()  # torch is loaded once for all
        if not job:
            classify_library(ensemble, [folder], out)
            os._exit(0)
        ended = 0
        while not ended and not (working.exists() and working.stat().st_size >= n_bytes):
            time.sleep(0.0002)
            ended = os.waitpid(job, os.WNOHANG)[0]
        if not ended:
            os.kill(job, signal.SIGKILL)
            os.waitpid(job, 0)
            n_killed += 1
    classify_library(ensemble, [folder], out)
    sys.stdout.write(f"{n_killed}\n")


if __name__ == "__main__":
    main()
