"""Work on many items in several threads; only work that releases the interpreter's lock gains."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from genrecore.store.progress import Phase, Report, silent

T = TypeVar("T")
R = TypeVar("R")


def n_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def torch_threads(n_threads: int, later: int | None = None) -> Iterator[None]:
    """Inside, torch uses `n_threads` threads for the calls of this thread.

    Args:
        n_threads: Inside.
        later: Afterwards; by default as many as before. torch gives a new thread the number that
            any thread set last, so a thread of a pool should name the number for all of them.
    """
    import torch

    later = torch.get_num_threads() if later is None else later
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(later)


def in_order(
    work: Callable[[T], R],
    items: Sequence[T],
    report: Report = silent,
    phase: str = Phase.READING_FILES,
    n_before: int = 0,
    n_total: int | None = None,
    n_threads: int | None = None,
) -> Iterator[R]:
    """`work(item)` of every item in order, by several threads, with few results in memory.

    Args:
        work: Called with each item in one of the threads.
        items: The items.
        report: Called before each result; may raise `Stopped`, which drops what has not begun.
        phase: Passed on to `report`.
        n_before: How many items were done by earlier calls.
        n_total: How many there are in all; by default `n_before` and these.
        n_threads: How many threads; by default one a core.
    """
    n_threads = n_threads or n_cores()
    n_end = n_before + len(items)
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="data")
    waiting: deque[Future[R]] = deque()
    rest = iter(items)
    try:
        for n_done in range(n_before, n_end):
            n_free = 4 * n_threads + 1 - len(waiting)
            waiting.extend(pool.submit(work, item) for item in islice(rest, n_free))
            result = waiting.popleft().result()
            report(phase, n_done, n_total or n_end)
            yield result
        report(phase, n_end, n_total or n_end)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
