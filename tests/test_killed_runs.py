"""A run whose process is killed within an epoch goes on from its checkpoint as if it had not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import MEASURED, trained, wait_for

from genrecore import classifier, jobs, lifecycle, runs
from genrecore.config import RunConfig
from genrecore.progress import Stopped
from genrecore.runs import Run

pytestmark = pytest.mark.xdist_group("processes")  # one at a time: they share two cores
N_STEPS = 66
"""Steps of an epoch: 18 training clips of 11 segments, 3 at a time."""


def weights(run: Run, name: str) -> dict[str, torch.Tensor]:
    return classifier.load(run.folder / name).state_dict()


def stopped_at(step: int, config: RunConfig, store: Path) -> Run:
    """A run that was stopped, and so has a checkpoint, after so many steps in all."""
    run, lock = runs.create_held(config, store)

    def stop(phase: str, done: int, total: int) -> None:
        if phase == "Training" and done == step:
            raise Stopped

    assert lifecycle.execute(run, stop) == "stopped"
    os.close(lock)
    return Run(run.folder)


def killed_within_an_epoch(run: Run, after: int) -> Run:
    """The run, whose process was killed between two steps of an epoch later than `after`."""

    until = time.monotonic() + 60
    while True:
        assert time.monotonic() < until, "it came to no such step in time"
        told = Run(run.folder).status
        assert told["state"] != "done", "it came to its end before it could be killed"
        step = int(told.get("done", 0)) - int(told.get("epoch", 0)) * N_STEPS
        just_told = time.time() - told.get("heartbeat", 0) < 0.03  # s; an epoch takes 0.2
        if just_told and told.get("epoch", 0) > after and 0 < step < 0.7 * N_STEPS:
            os.kill(told["pid"], signal.SIGKILL)
            wait_for(lambda: not Run(run.folder).alive)
            return Run(run.folder)
        time.sleep(0.002)


def test_a_run_killed_within_an_epoch_gives_what_an_uninterrupted_one_gives(
    store: Path, tiny: Callable[..., RunConfig]
) -> None:
    config = tiny(
        segments__overlap=0.8, training__batch_size=3, training__epochs=8,
        training__schedule="one_cycle",
    )  # fmt: skip
    whole = trained(config, store)
    assert whole.state == "done"
    run = stopped_at(N_STEPS + 20, config, store)
    assert len(run.history) == 1
    jobs.resume(run)
    lost = killed_within_an_epoch(run, after=2)
    assert lost.state == "lost"
    done = int(lost.status["done"])
    assert len(lost.history) * N_STEPS < done < (len(lost.history) + 1) * N_STEPS
    # Of what it wrote since the checkpoint nothing may be left twice.
    checkpoint = torch.load(run.folder / "resume.pt", weights_only=True)
    assert (checkpoint["epoch"], checkpoint["step"]) == (1, 20)
    jobs.resume(lost)
    wait_for(lambda: Run(run.folder).state == "done", most_s=60)
    again = Run(run.folder)
    pd.testing.assert_frame_equal(
        again.history.drop(columns=MEASURED), whole.history.drop(columns=MEASURED)
    )
    assert (again.folder / "epochs.u8").read_bytes() == (whole.folder / "epochs.u8").read_bytes()
    for name in ("weights.safetensors", "last.safetensors"):
        ours, theirs = weights(again, name), weights(whole, name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    pd.testing.assert_frame_equal(again.predictions, whole.predictions)
