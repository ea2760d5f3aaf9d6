"""Work on many items in several threads; only work that releases the interpreter's lock gains."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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


def in_order(
    work: Callable[[T], R],
    items: Sequence[T],
    report: Report = silent,
    phase: Phase = Phase.READING_FILES,
    n_before: int = 0,
    n_total: int | None = None,
) -> Iterator[R]:
    """`work(item)` of every item in order, by one thread a core, with few results in memory.

    Args:
        work: Called with each item in one of the threads.
        items: The items.
        report: Called before each result; may raise `Stopped`, which drops what has not begun.
        phase: Passed on to `report`.
        n_before: How many items were done by earlier calls.
        n_total: How many there are in all; by default `n_before` and these.
    """
    n_threads = n_cores()
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
