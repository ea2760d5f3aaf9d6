"""Several processes that train one network: the one place that knows of ranks.

The processes are started by torchrun, here or on several machines. Every process holds the whole
network, takes its share of each batch, and torch's DistributedDataParallel averages the gradients,
so that a step is the step of the whole batch. What a share alone decides is another matter: batch
normalisation on a CPU sees the process's own share (on GPUs the whole batch), and dropout and
augmentation draw other numbers.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Team:
    """The processes of a run; one by default, for which nothing here does anything.

    Attributes:
        rank: Of this process, 0 for the one that writes the run folder.
        size: How many there are.
        local_rank: Of this process on its machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process writes the run folder."""
        return self.rank == 0

    def share(self, index: Tensor) -> Tensor:
        """This process's part of a batch's indices."""
        return index[self.rank :: self.size]

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place; on the device the processes talk through."""
        if self.size > 1:
            torch.distributed.all_reduce(values)
        return values

    def any(self, flag: bool, device: str) -> bool:
        """Whether any process says yes; all must ask."""
        if self.size == 1:
            return flag
        return bool(self.total(torch.tensor(float(flag), device=device)))

    def told(self, value: Any) -> Any:
        """What the leader has, for everyone."""
        if self.size == 1:
            return value
        box = [value if self.leads else None]
        torch.distributed.broadcast_object_list(box, src=0)
        return box[0]

    def wrapped(self, module: nn.Module, device: str) -> nn.Module:
        """The module with its gradients averaged over all processes."""
        if self.size == 1:
            return module
        on_gpu = device.startswith("cuda")
        if on_gpu:
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return nn.parallel.DistributedDataParallel(
            module, device_ids=[torch.device(device).index] if on_gpu else None
        )


def asked() -> bool:
    """Whether torchrun started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


@contextlib.contextmanager
def joined() -> Any:
    """The team that torchrun's environment names; alone where there is none."""
    if not asked():
        yield Team()
        return
    end_with_parent()
    team = Team(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(team.local_rank)
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    try:
        yield team
    finally:
        torch.distributed.destroy_process_group()


def end_with_parent() -> None:
    """Asks the kernel (Linux) to end this process when the one that started it is gone."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG
