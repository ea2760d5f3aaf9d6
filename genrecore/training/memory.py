"""Memory: how much a process uses, and what to say when it was not enough."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING

import psutil

from genrecore.errors import GenrecoreError

if TYPE_CHECKING:
    from genrecore.training.hardware import Hardware


def in_use(device: str) -> dict[str, float]:
    """`memory_mb` of this process, and `device_memory_mb`, the most that a GPU has held for it."""
    used = {"memory_mb": round(psutil.Process().memory_info().rss / 2**20, 1)}
    if device.startswith("cuda"):
        import torch

        used["device_memory_mb"] = round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return used


def ran_out(error: BaseException) -> bool:
    """Whether an error of any library says that there was not enough memory."""
    import torch

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error)
    # torch's allocator on the CPU, and oneDNN's.
    return isinstance(error, RuntimeError) and (
        "not enough memory" in text
        or "can't allocate memory" in text
        or "could not create a memory" in text
    )


def largest_that_fits(attempt: Callable[[int], None], size: int, device: str) -> int:
    """The largest of size/2, size/4, … with which `attempt` does not run out of memory, or 0."""
    while size > 1:
        size //= 2
        _free(device)
        try:
            attempt(size)
        except Exception as error:
            if not ran_out(error):
                return 0
            continue
        return size
    return 0


def too_large(batch_size: int, fitting: int, hardware: Hardware) -> GenrecoreError:
    """What to tell the user about a batch that did not fit."""
    if hardware.device.startswith("cuda"):
        import torch

        total = torch.cuda.mem_get_info(hardware.device)[1]
        holds_not = f"The {total / 2**30:.0f} GiB of {hardware.name} do not hold"
    else:
        holds_not = "The memory that this process may use does not hold"
    if not fitting:
        return GenrecoreError(
            f"{holds_not} even a small batch of this network and input; take shorter segments, "
            "fewer bands or a smaller model."
        )
    return GenrecoreError(
        f"{holds_not} a batch of {batch_size}; {fitting} fits, so take a batch size of {fitting}."
    )


def _free(device: str) -> None:
    gc.collect()
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
