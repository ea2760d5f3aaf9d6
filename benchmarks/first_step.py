"""From pressing Train to the first optimiser step: the base CNN on the demo, caches warm.

What is timed is all that happens after the click: the configuration is resolved (the page's process
has torch loaded), queued, the runner starts, the run's process starts and prepares, and the status
file says that a step is done. Beside it a bare `import torch` in a process of its own: nothing that
trains can begin earlier. Both in turn, several times.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from genrecore.config.run import RunConfig
from genrecore.jobs import actions as jobs
from genrecore.store.progress import Phase
from genrecore.store.run import Run
from genrecore.training.resolve import resolve


def main() -> None:
    """Prints seconds of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="genrecore-first-step-") as folder:
        os.environ["GENRECORE_RUNS"] = folder
        to_first_step(Path(folder))  # fills the caches
        ours, bare = [], []
        for _ in range(rounds):
            bare.append(import_torch())
            ours.append(to_first_step(Path(folder)))
    for name, values in (("click to first step", ours), ("import torch", bare)):
        print(f"{name:20s} {statistics.median(values):.2f} s ({min(values):.2f}–{max(values):.2f})")
    ratios = [a / b for a, b in zip(ours, bare, strict=True)]
    print(f"ratio                {statistics.median(ratios):.2f}")


def to_first_step(store: Path) -> float:
    """Seconds from the click to the first step of a run, which is then stopped."""
    began = time.perf_counter()
    run = jobs.submit(resolve(RunConfig()).config, store)
    while True:
        now = Run(run.folder)
        if now.status.get("phase") == Phase.TRAINING and int(now.status.get("done", 0)) >= 1:
            break
        if now.state in ("failed", "lost", "done"):
            raise SystemExit(f"{now.state}: {now.reason}")
        time.sleep(0.01)
    took_s = time.perf_counter() - began
    jobs.stop(run)
    while Run(run.folder).alive:
        time.sleep(0.05)
    return took_s


def import_torch() -> float:
    """Seconds of a process that imports torch and ends."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
