"""One network trained by several processes: as one process would, and it can be stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import genrecore
from conftest import trained, wait_for, wait_for_epoch

from genrecore.config.command import train_command
from genrecore.config.run import RunConfig
from genrecore.jobs import actions as jobs
from genrecore.store import runs
from genrecore.store.run import Run

Tiny = Callable[..., RunConfig]

pytestmark = pytest.mark.xdist_group("processes")


@pytest.fixture
def shared(tiny: Tiny) -> Callable[..., RunConfig]:
    """Without what a share alone decides: batch statistics and dropout. 54 segments in batches
    of 9 leave no remainder."""

    def make(**values: object) -> RunConfig:
        alone = {"model__batch_norm": False, "model__dropout": 0.0, "training__batch_size": 9}
        return tiny(**(alone | values))

    return make


def agree(single: Run, several: Run) -> None:
    assert several.state == "done", several.log()
    columns = [name for name in single.predictions if name.startswith("p_")]
    together = single.predictions.merge(several.predictions, on="clip_id", suffixes=("", "_2"))
    assert len(together) == len(single.predictions)
    # The mean of two shares' gradients rounds otherwise than the batch's own (float32), and Adam
    # divides by their size: after twelve steps probabilities differ in the fourth digit at most.
    np.testing.assert_allclose(
        together[columns], together[[f"{name}_2" for name in columns]], atol=1e-3
    )
    assert len(single.step_losses) == len(several.step_losses) == 6 * len(single.history)
    # As the history's: the same steps of weights that differ that little.
    np.testing.assert_allclose(single.step_losses, several.step_losses, rtol=1e-3)
    for name in ("train_loss", "valid_loss", "lr"):
        np.testing.assert_allclose(single.history[name], several.history[name], rtol=1e-3)


@pytest.mark.slow
def test_two_processes_train_as_one(store: Path, shared: Tiny) -> None:
    single = trained(shared(), store)
    several = shared(processes=2)
    assert Run(single.folder).config != several
    run = runs.create_run(several, store)
    result = genrecore("train", "--run", str(run.folder))
    assert result.returncode == 0, result.stderr + run.log()
    agree(single, Run(run.folder))
    assert not Run(run.folder).alive
    assert len(runs.all_runs(store)) == 2


@pytest.mark.long
def test_two_machines_meet_at_an_address_and_train_as_one(store: Path, shared: Tiny) -> None:
    single = trained(shared(), store)
    flags = command_flags(shared())
    address = f"127.0.0.1:{free_port()}"
    arguments = [
        *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", address, "--rdzv-id", "tiny"),
        *("--local-addr", "127.0.0.1", "-m", "genrecore", "train", *flags),
    ]
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    machines = [
        subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    messages = [machine.communicate(timeout=120)[1] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], messages
    (run,) = [run for run in runs.all_runs(store) if run.run_id != single.run_id]
    agree(single, run)


@pytest.mark.long
def test_a_run_of_two_processes_stops_together(store: Path, shared: Tiny) -> None:
    run = jobs.submit(shared(processes=2, training__epochs=4000), store)
    wait_for_epoch(run, 2, most_s=60)
    jobs.stop(run)
    wait_for(lambda: Run(run.folder).state == "stopped" and not Run(run.folder).alive, 40)
    stopped = Run(run.folder)
    assert (run.folder / "resume.pt").exists()
    epochs = stopped.history["epoch"].to_list()
    assert epochs == list(range(1, len(epochs) + 1))


def command_flags(config: RunConfig) -> list[str]:

    arguments = train_command(config)
    return [argument for argument in arguments[2:] if argument != "--background"]


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
