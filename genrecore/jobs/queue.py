"""The order in which queued runs start, and pausing the queue.

Each run's `queue.json` holds its priority and position; while the store has a file `paused`, no
run starts. There is no central list that could get lost or disagree with the runs.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from genrecore.errors import GenrecoreError, UsageError
from genrecore.jobs.access import work
from genrecore.store.files import Unreadable, in_a_sentence, write_json, write_mark
from genrecore.store.locks import held
from genrecore.store.records import MOST_PRIORITY, Moment, Record, read_record
from genrecore.store.run import LIVE, WAITING, Run, store_dir
from genrecore.store.runs import all_runs, each_readable
from genrecore.store.status import ask_to_stop
from genrecore.words import plural, thousands

PAUSED = "paused"
WAYS = ("first", "up", "down", "last")
_LOCK = ".queue.lock"

Rank = tuple[float, float]  # minus the priority, position: the smaller starts earlier


def queued(store: Path) -> list[Run]:
    """The runs that wait for a slot, or to be handed to a cluster, the next one first."""
    waiting = each_readable(all_runs(store), _waits_here)
    return in_order([run for run, waits in waiting if waits])


def _waits_here(run: Run) -> bool:
    if run.status.get("state") != "queued":
        return False
    return not run.queue.get("on") or Run(run.folder).state == "queued"


def in_order(waiting: list[Run]) -> list[Run]:
    """The same runs, the next one to start first; those with an unreadable place are left out."""
    ranked = [(*rank, run.run_id, run) for run, rank in each_readable(waiting, _rank)]
    return [run for *_, run in sorted(ranked, key=lambda item: item[:3])]


@in_a_sentence("The run cannot be moved")
@work("move in the queue")
def move(run: Run, to: str) -> str:
    """Moves a queued run `first`, `up` by one, `down` by one or `last`, also past runs of another
    priority; returns a sentence.

    Raises:
        UsageError: An unknown direction.
        GenrecoreError: The run is not queued.
    """
    if to not in WAYS:
        raise UsageError(f"A run moves {', '.join(WAYS[:-1])} or {WAYS[-1]}; found {to!r}.")
    with _changing(run):
        order = queued(run.folder.parent)
        at = [waiting.run_id for waiting in order].index(run.run_id)
        others = order[:at] + order[at + 1 :]
        index = {"first": 0, "up": max(0, at - 1), "down": at + 1, "last": len(others)}[to]
        index = min(index, len(others))
        before = _rank(others[index - 1]) if index else None
        after = _rank(others[index]) if index < len(others) else None
        new = _between(before, after, _rank(run))
        if new is None:  # no number lies between the two: all get new positions
            priorities = [_rank(waiting)[0] for waiting in others]
            others.insert(index, run)
            priorities.insert(index, priorities[index - 1])
            for n, (waiting, priority) in enumerate(zip(others, priorities, strict=True)):
                _write(waiting, (priority, float(n)))
        else:
            _write(run, new)
    return f"The run {run.run_id} is number {index + 1} of {len(order)} in the queue."


@in_a_sentence("The priority cannot be set")
@work("prioritise")
def prioritise(run: Run, priority: int) -> str:
    """Sets the priority of a queued run; higher ones start first. Returns a sentence.

    Raises:
        UsageError: The number is too large.
        GenrecoreError: The run is not queued.
    """
    if abs(priority) > MOST_PRIORITY:
        expected = f"a whole number from −{thousands(MOST_PRIORITY)} to {thousands(MOST_PRIORITY)}"
        raise UsageError(f"A priority is {expected}; found {priority}.")
    with _changing(run):
        _write(run, (-float(priority), _rank(run)[1]))
    return f"The run {run.run_id} has priority {priority}."


class Pause(Record):
    """The file `paused`; an empty one, or one that holds anything else, pauses as well."""

    at: Moment


def paused(store: Path | None = None) -> dict[str, float]:
    """`{"at": seconds since 1970}` while the queue is paused, else empty."""
    path = (store or store_dir()) / PAUSED
    with contextlib.suppress(Unreadable):
        values = read_record(path, Pause)
        if values:
            return {"at": float(values["at"])}
    with contextlib.suppress(OSError):
        return {"at": path.stat().st_mtime}
    return {}


@in_a_sentence("The queue cannot be paused")
@work("pause the queue")
def pause(store: Path | None = None, now: bool = False) -> str:
    """Lets no further run start until `unpause`; returns a sentence.

    With `now`, runs at work write a checkpoint and wait as well; otherwise they go on to their end.
    Jobs that a cluster has already may start all the same.
    """
    store = store or store_dir()
    store.mkdir(parents=True, exist_ok=True)
    write_mark(store / PAUSED, {"at": time.time()})
    states = [*each_readable(all_runs(store), lambda run: run.state)]
    at_work = [run for run, state in states if state in LIVE]
    there = on_clusters(state for _, state in states)
    if not at_work:
        return f"The queue is paused: no run starts until it is resumed. {there}".strip()
    for run in at_work if now else []:
        if run.state != "stopping":
            ask_to_stop(run.folder, requeue=True)
    then = "save and wait as well" if now else "go on to the end"
    runs = plural(len(at_work), "run")
    return f"The queue is paused; {runs} at work will {then}. {there}".strip()


def on_clusters(states: Iterable[str]) -> str:
    """That a pause does not hold the jobs which clusters have already, as a sentence; empty where
    no run of these states is one."""
    n_there = sum(state in WAITING - {"queued"} for state in states)
    jobs = plural(n_there, "job")
    return f"{jobs} that a cluster has already may start all the same." if n_there else ""


@in_a_sentence("The queue cannot be resumed")
def unpause(store: Path | None = None) -> None:
    """Lets runs start again."""
    ((store or store_dir()) / PAUSED).unlink(missing_ok=True)


def _rank(run: Run) -> Rank:
    return (-float(run.queue.get("priority", 0)), float(run.queue.get("position", 0)))


def _write(run: Run, rank: Rank) -> None:
    values = Run(run.folder).queue | {"priority": int(-rank[0]), "position": rank[1]}
    write_json(run.folder / "queue.json", values)


def _between(before: Rank | None, after: Rank | None, own: Rank) -> Rank | None:
    """A rank between two others, with the priority of one of them; None if there is none."""
    if before is None:
        return own if after is None else (after[0], after[1] - 1.0)
    if after is None or before[0] != after[0]:
        return before[0], before[1] + 1.0
    middle = (before[1] + after[1]) / 2
    return (before[0], middle) if before[1] < middle < after[1] else None


@contextlib.contextmanager
def _changing(run: Run) -> Iterator[None]:
    """Inside, no other process changes the order. Raises an error if `run` is not queued."""
    with held(run.folder.parent / _LOCK, patience_s=5.0) as acquired:
        if not acquired:
            raise GenrecoreError("Another process is changing the queue; try again.")
        fresh = Run(run.folder)
        if not _waits_here(fresh):
            raise GenrecoreError(f"The run {run.run_id} is not in the queue: it is {fresh.state}.")
        yield
