"""Slots: how many runs work at the same time. Each GPU takes one; the CPU one, or as many as set.

A slot is a lock in the store, held by the process that uses it.
"""

from __future__ import annotations

import os
from pathlib import Path

from genrecore.errors import UsageError
from genrecore.store import settings
from genrecore.store.locks import take_lock
from genrecore.store.run import Run
from genrecore.training import hardware
from genrecore.words import plural

MOST_ON_CPU = 64


def names(store: Path) -> list[str]:
    """Every slot: GPUs by the names of their devices, then `cpu`, `cpu-2`, …"""
    return [*hardware.accelerators(), *_on_cpu(store)]


def device_of(slot: str) -> str:
    """The device that a slot is on."""
    return "cpu" if slot.startswith("cpu") else slot


def n_on_cpu(store: Path) -> int:
    """How many runs share the CPU."""
    n = settings.read(store).get("cpu_slots", 1)
    return n if isinstance(n, int) and 1 <= n <= MOST_ON_CPU else 1


def share_cpu(n: int, store: Path) -> str:
    """Sets how many runs may share the CPU; returns a sentence. Runs at work go on.

    Raises:
        UsageError: It is not between 1 and `MOST_ON_CPU`.
        GenrecoreError: The store cannot be written.
    """
    if not 1 <= n <= MOST_ON_CPU:
        raise UsageError(f"The CPU takes between 1 and {MOST_ON_CPU} runs at a time, not {n}.")
    settings.change(store, "The number of slots", cpu_slots=None if n == 1 else n)
    return f"The CPU takes {plural(n, 'run')} at a time."


def usable(run: Run) -> list[str]:
    """The slots a run can use, the best first; those of the CPU where it lacks GPUs."""
    device, n = run.config.device, run.config.processes
    slots = [device]
    if device == "auto":
        slots = hardware.accelerators()
    elif device == "cuda":
        slots = [name for name in hardware.accelerators() if name.startswith("cuda")][:n]
    if device == "cpu" or len(slots) < n:
        return _on_cpu(run.folder.parent)
    return slots


def take(run: Run) -> tuple[list[str], list[int]] | None:
    """Devices for a run and the descriptors of its slots' locks, or None if too few are free.

    A run of several processes takes a GPU for each, or one slot of the CPU.
    """
    slots = usable(run)
    n = run.config.processes if device_of(slots[0]) != "cpu" else 1
    locks: dict[str, int] = {}
    folder = run.folder.parent / ".slots"
    folder.mkdir(exist_ok=True)
    for slot in slots:
        path = folder / f"{slot.replace(':', '-')}.lock"
        lock = take_lock(path, patience_s=0.0)
        if lock is not None:
            locks[slot] = lock
        if len(locks) == n:
            return [device_of(slot) for slot in locks], list(locks.values())
    for lock in locks.values():
        os.close(lock)
    return None


def _on_cpu(store: Path) -> list[str]:
    return ["cpu", *(f"cpu-{k}" for k in range(2, n_on_cpu(store) + 1))]
