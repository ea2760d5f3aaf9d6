"""Slots: how many runs work at the same time. Each GPU takes one; the CPU one, or as many as set.

A slot is a lock in the store, held by the process that works in it.
"""

from __future__ import annotations

import os
from pathlib import Path

from genrecore.errors import UsageError
from genrecore.store import settings
from genrecore.store.locks import take_lock
from genrecore.store.run import Run
from genrecore.training import hardware

MOST_ON_CPU = 64


def names(store: Path) -> list[str]:
    """Every slot: GPUs as devices are called, then `cpu`, `cpu-2`, …"""
    return [*hardware.accelerators(), *_on_cpu(store)]


def device_of(slot: str) -> str:
    """The device that a slot is on."""
    return "cpu" if slot.startswith("cpu") else slot


def n_on_cpu(store: Path) -> int:
    """How many runs share the CPU."""
    found = settings.read(store).get("cpu_slots", 1)
    return found if isinstance(found, int) and 1 <= found <= MOST_ON_CPU else 1


def share_cpu(n: int, store: Path) -> str:
    """Sets how many runs may share the CPU and says so in a sentence; running ones go on.

    Raises:
        UsageError: It is not between 1 and `MOST_ON_CPU`.
        GenrecoreError: The store cannot be written.
    """
    if not 1 <= n <= MOST_ON_CPU:
        raise UsageError(f"The CPU takes between 1 and {MOST_ON_CPU} runs at a time, not {n}.")
    settings.change(store, "The number of slots", cpu_slots=None if n == 1 else n)
    return f"The CPU takes {n} run{'s' if n > 1 else ''} at a time."


def wanted(run: Run) -> list[str]:
    """The slots a run can use, the best first; the CPU's where its processes find too few GPUs."""
    device, n, store = run.config.device, run.config.processes, run.folder.parent
    found = [device]
    if device == "auto":
        found = hardware.accelerators()
    elif device == "cuda":
        found = [name for name in hardware.accelerators() if name.startswith("cuda")][:n]
    if device == "cpu" or len(found) < n:
        return _on_cpu(store)
    return found


def take(run: Run) -> tuple[list[str], list[int]] | None:
    """Devices for a run and the descriptors of its slots' locks, or None while none is free.

    A run of several processes takes a GPU for each, or one slot of the CPU.
    """
    store, places = run.folder.parent, wanted(run)
    n = run.config.processes if device_of(places[0]) != "cpu" else 1
    taken: dict[str, int] = {}
    for place in places:
        lock = take_lock(_lock(store, place), patience_s=0.0)
        if lock is not None:
            taken[place] = lock
        if len(taken) == n:
            return [device_of(one) for one in taken], list(taken.values())
    for lock in taken.values():
        os.close(lock)
    return None


def _on_cpu(store: Path) -> list[str]:
    return ["cpu", *(f"cpu-{k}" for k in range(2, n_on_cpu(store) + 1))]


def _lock(store: Path, slot: str) -> Path:
    return store / ".slots" / f"{slot.replace(':', '-')}.lock"
