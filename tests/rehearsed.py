"""Rehearsals of the studies, trained once for all tests of one worker."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from genrecore.experiments import papers
from genrecore.experiments.papers import Music
from genrecore.jobs import queue as queueing
from genrecore.store import runs
from genrecore.store.locks import LOCK, take_lock
from genrecore.store.run import Run

SMALL = {"n_genres": 2, "n_artists": 5}
ON_DEMO = Music("demo", SMALL, 0.02)
# The cheapest row of each study, for everyday.
ROWS = {
    "hong": "resnet18",
    "belton": "mlp_32_b32",
    "qin": "lstm_64",
    "liu": "cnn_cyclic",
    "benito": "2d_segmented",
}


def carry_out(store: Path, keep_weights: bool = True) -> list[Run]:
    """Trains in this process what waits in a store; the runs, the oldest first. All weights of all
    rows of the studies would take some 50 GB."""
    from genrecore.training import lifecycle

    done = []
    for run in reversed(runs.all_runs(store)):
        if run.state == "queued":
            lock = take_lock(run.folder / LOCK)
            assert lock is not None
            try:
                lifecycle.execute(Run(run.folder))
            finally:
                os.close(lock)
            if not keep_weights:
                for weights in (*run.folder.glob("*.safetensors"), run.folder / "resume.pt"):
                    weights.unlink(missing_ok=True)
        done.append(Run(run.folder))
    return done


@lru_cache
def rehearsals(store: Path) -> Path:
    """A store with one row of each study, Liu's under both protocols, trained for real."""
    store.mkdir()
    queueing.pause(store)
    for name, row in ROWS.items():
        study = papers.study(name)
        protocols = list(papers.PROTOCOLS) if name == "liu" else ["published"]
        papers.start(study, papers.study_runs(study, [row], protocols, 1, ON_DEMO), ON_DEMO, store)
    carry_out(store)
    return store
