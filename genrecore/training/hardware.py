"""Which device and precision a run uses, and why; how torch's threads share the cores.

Device and precision are decided from capabilities, not timings.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from genrecore import words
from genrecore.data.parallel import torch_threads as torch_threads
from genrecore.errors import UsageError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
R = TypeVar("R")

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's mallopt


@dataclass(frozen=True)
class Hardware:
    """A chosen device and precision, with the reason as a sentence."""

    device: str
    precision: str  # "float32", "bfloat16" or "float16"
    channels_last: bool
    reason: str
    name: str
    n_threads: int

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which forward passes run."""
        if self.precision == "float32":
            return nullcontext()
        import torch

        return torch.autocast(self.device.split(":")[0], dtype=getattr(torch, self.precision))

    def prepare(self, module: torch.nn.Module) -> torch.nn.Module:
        """The module on the device, in the memory format that suits it."""
        import torch

        module = module.to(self.device)
        if self.channels_last:
            module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return module

    def synchronize(self) -> None:
        """Waits for what was launched."""
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.synchronize(self.device)


def share_cores() -> None:
    """Lets other processes have a core while torch's threads wait for one another.

    By default they spin for milliseconds. That is fine on an idle machine; with one busy process
    beside it on two cores, a step of ResNet-18 fell from 99 to 9 images/s, and to 75 with this
    (docs/explanations/performance.md). Takes effect if called before torch is imported; a value
    that is set already stays.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def keep_memory() -> None:
    """Has the C library keep what large tensors leave behind for the next ones (Linux).

    By default it hands blocks of megabytes back to the system, which clears every page of them
    anew for the next step; with this, steps on large images take about three quarters of the
    processor time (docs/explanations/performance.md). What this process once needed it keeps to
    its end.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, -1)


def accelerators() -> list[str]:
    """Accelerators of this machine, without importing torch: `cuda:0`, …, or `mps`."""
    gpus = Path("/proc/driver/nvidia/gpus")
    if gpus.is_dir():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        n = len(list(gpus.iterdir()))
        if visible is not None:
            n = min(n, len([part for part in visible.split(",") if part.strip() not in ("", "-1")]))
        return [f"cuda:{index}" for index in range(n)]
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return ["mps"]
    return []


def devices() -> list[str]:
    """Devices torch can use here, the fastest first; always ends with `cpu`."""
    import torch

    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        gpus.append("mps")
    return [*gpus, "cpu"]


@lru_cache(maxsize=1)
def cpu_flags() -> frozenset[str]:
    """The processor's feature flags (Linux on x86), else empty."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    return frozenset()


def choose(device: str = "auto", precision: str = "auto") -> Hardware:
    """The hardware a run with these settings will use.

    `GENRECORE_DEVICE` (set for queued runs by whoever gave them a slot) decides what `auto` means.

    Raises:
        UsageError: The device is not there; names those that are.
    """
    import torch

    available = devices()
    if device == "auto":
        device = os.environ.get("GENRECORE_DEVICE") or available[0]
    if device == "cuda":
        device = "cuda:0"
    if device not in available:
        raise UsageError(f"There is no device {device!r} here; there are: {', '.join(available)}.")
    n_threads = torch.get_num_threads()
    if device.startswith("cuda"):
        name = torch.cuda.get_device_name(device)
        has_units = torch.cuda.get_device_capability(device) >= (8, 0)
        reason = f"{name} has {'' if has_units else 'no '}bfloat16 matrix units"
    elif device == "mps":
        name, has_units = "Apple GPU", False
        reason = "bfloat16 is not reliable on Apple GPUs"
    else:
        name, has_units = f"CPU, {words.plural(n_threads, 'thread')}", "amx_bf16" in cpu_flags()
        units = "bfloat16 matrix units (AMX)" if has_units else "no bfloat16 matrix units"
        reason = f"this processor has {units}"
    if precision == "auto":
        precision = "bfloat16" if has_units else "float32"
    else:
        reason = "it was asked for"
    return Hardware(
        device=device,
        precision=precision,
        channels_last=precision != "float32",
        reason=f"{precision}, because {reason}.",
        name=name,
        n_threads=n_threads,
    )


def split_batch(n: int, largest: int) -> list[range]:
    """0 … n - 1 in equal ranges: at least one for each of torch's threads, none above `largest`."""
    import torch

    n_threads = torch.get_num_threads()
    n_ranges = min(n, n_threads * math.ceil(n / (n_threads * largest)))
    return [range(k * n // n_ranges, (k + 1) * n // n_ranges) for k in range(n_ranges)]


def map_on_cores(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`function(item)` of every item, in order, in parallel, each on a share of torch's threads.

    torch's threads wait for one another after every layer, and long where another process wants a
    core; parts of a batch with a core each wait once, at the end. Inference mode, like every state
    that torch keeps per thread, must be entered inside `function`.
    """
    import torch

    n_threads = torch.get_num_threads()
    if n_threads == 1 or len(items) < 2:
        return [function(item) for item in items]

    def call(item: T) -> R:
        with torch_threads(max(1, n_threads // len(items))):
            return function(item)

    try:
        with ThreadPoolExecutor(n_threads, thread_name_prefix="torch") as pool:
            return list(pool.map(call, items))
    finally:
        torch.set_num_threads(n_threads)  # of threads that begin later, too
