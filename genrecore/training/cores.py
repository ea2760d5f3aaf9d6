"""How many threads torch uses, and batches whose parts run on one core each.

torch's threads wait for one another after every layer, and long where another process (a browser, a
second run) wants a core; parts of a batch with a core each wait once, at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def using(n_threads: int, later: int | None = None) -> Iterator[None]:
    """Inside, torch uses this many threads for the calls of this thread.

    Args:
        n_threads: Inside.
        later: Afterwards; by default as many as before. torch gives a new thread the number that
            any thread set last, so a thread of a pool should name the number for all of them.
    """
    later = torch.get_num_threads() if later is None else later
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(later)


def pieces(n: int, largest: int) -> list[range]:
    """0 … n - 1 in equal ranges: at least one for each of torch's threads, none above `largest`."""
    n_threads = torch.get_num_threads()
    n_pieces = min(n, n_threads * math.ceil(n / (n_threads * largest)))
    return [range(k * n // n_pieces, (k + 1) * n // n_pieces) for k in range(n_pieces)]


def side_by_side(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`work(item)` of every item, in order, in parallel, each on a share of torch's threads.

    Inference mode, like every state that torch keeps per thread, must be entered inside `work`.
    """
    n_threads = torch.get_num_threads()
    if n_threads == 1 or len(items) < 2:
        return [work(item) for item in items]

    def worked(item: T) -> R:
        with using(max(1, n_threads // len(items))):
            return work(item)

    try:
        with ThreadPoolExecutor(n_threads, thread_name_prefix="torch") as pool:
            return list(pool.map(worked, items))
    finally:
        torch.set_num_threads(n_threads)  # of threads that begin later, too
