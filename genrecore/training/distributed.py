"""Several processes that train one network; nothing else knows of ranks.

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
import shlex
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genrecore.errors import GenrecoreError
from genrecore.store.generations import JOB

if TYPE_CHECKING:
    from torch import Tensor, nn


NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""The environment in which torchrun starts a process."""


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
        """The sum over all processes, in place."""
        if self.size > 1:
            import torch

            torch.distributed.all_reduce(values)
        return values

    def any(self, flag: bool, device: str) -> bool:
        """Whether the flag is set in any process; all processes must call this."""
        if self.size == 1:
            return flag
        import torch

        return bool(self.total(torch.tensor(float(flag), device=device)))

    def broadcast(self, value: Any) -> Any:
        """Rank 0's value, in every process."""
        if self.size == 1:
            return value
        import torch

        box = [value if self.leads else None]
        torch.distributed.broadcast_object_list(box, src=0)
        return box[0]

    def wrapped(self, module: nn.Module, device: str) -> nn.Module:
        """The module with its gradients averaged over all processes."""
        if self.size == 1:
            return module
        import torch
        from torch import nn

        on_gpu = device.startswith("cuda")
        if on_gpu:
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return nn.parallel.DistributedDataParallel(
            module, device_ids=[torch.device(device).index] if on_gpu else None
        )


def by_torchrun() -> bool:
    """Whether torchrun started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def rank() -> int:
    """This process's rank; 0 where torchrun did not start it."""
    return int(os.environ["RANK"]) if by_torchrun() else 0


@contextlib.contextmanager
def joined() -> Iterator[Team]:
    """Joins the processes that torchrun started; a team of one where it did not."""
    if not by_torchrun():
        yield Team()
        return
    import torch

    _end_with_parent()
    team = Team(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(team.local_rank)
        os.environ["GENRECORE_DEVICE"] = f"cuda:{team.local_rank}"
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    try:
        yield team
    finally:
        torch.distributed.destroy_process_group()


def n_nodes() -> int:
    """On how many nodes of a cluster this run's processes are spread; 1 outside of its jobs."""
    return int(os.environ.get("SLURM_JOB_NUM_NODES", "1")) if os.environ.get(JOB) else 1


def torchrun(n_processes: int, arguments: list[str]) -> list[str]:
    """The command that starts a genrecore command in several processes of this machine, or of the
    nodes of a cluster's job: one torchrun on each, this first one leading.

    Raises:
        GenrecoreError: The processes cannot be shared out evenly among the nodes.
    """
    launcher, nodes = [sys.executable, "-m", "torch.distributed.run"], n_nodes()
    # Without the dashes torchrun takes --run for an abbreviation of an option of its own.
    program = ["-m", "--", "genrecore", *arguments]
    if nodes == 1:
        number = ["--nproc-per-node", str(n_processes), "--local-addr", "127.0.0.1"]
        return [*launcher, "--standalone", *number, *program]
    if n_processes % nodes:
        raise GenrecoreError(
            f"{n_processes} processes cannot be shared out evenly among {nodes} nodes; choose "
            f"{nodes} processes, or a multiple of that."
        )
    port = 20_000 + int(os.environ.get("SLURM_JOB_ID", "0")) % 10_000
    # A batch script runs on the first node of its job, so this machine is where the others meet.
    number = ["--nnodes", str(nodes), "--nproc-per-node", str(n_processes // nodes)]
    number += ["--master-addr", socket.gethostname(), "--master-port", str(port)]
    each = f"{shlex.join([*launcher, *number])} --node-rank $SLURM_NODEID {shlex.join(program)}"
    step = ["--nodes", str(nodes), "--ntasks", str(nodes), "--ntasks-per-node", "1"]
    if "SLURM_CPUS_PER_TASK" in os.environ:
        step += ["--cpus-per-task", os.environ["SLURM_CPUS_PER_TASK"]]
    return ["srun", "--kill-on-bad-exit", *step, "bash", "-c", f"exec {each}"]


def environment(n_processes: int, devices: list[str]) -> dict[str, str]:
    """What `torchrun` needs in its environment: devices, the loopback interface, shared cores. In a
    job of a cluster the scheduler has shared these out."""
    n_threads = max(1, (os.cpu_count() or 1) // n_processes)
    values = {"GENRECORE_DEVICE": devices[0]}
    if n_nodes() > 1:
        return values
    wanted = {"OMP_NUM_THREADS": str(n_threads)}
    if sys.platform == "linux":
        wanted |= {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
    if devices[0].startswith("cuda"):
        values["CUDA_VISIBLE_DEVICES"] = ",".join(device.partition(":")[2] for device in devices)
    return values | {key: value for key, value in wanted.items() if key not in os.environ}


def _end_with_parent() -> None:
    """Has the kernel (Linux) end this process with the one that started it.

    torchrun starts its processes in sessions of their own, so a kill of torchrun's group does not
    reach them, and they would go on writing the run.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG
