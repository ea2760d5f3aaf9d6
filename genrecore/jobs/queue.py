"""The order in which queued runs start, and whether they do; kept in the run folders and one file.

`queue.json` of each run holds its priority and position, the file `paused` of the store holds
everything back. Nothing central can be lost or disagree.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from genrecore.errors import GenrecoreError, UsageError
from genrecore.store import run as runs
from genrecore.store.files import read_json, write_json
from genrecore.store.locks import held
from genrecore.store.run import Run
from genrecore.store.status import ask_to_stop

PAUSED = "paused"
WAYS = ("first", "up", "down", "last")
_LOCK = ".queue.lock"

Place = tuple[float, float]  # minus the priority, position: the smaller starts earlier


def queued(store: Path) -> list[Run]:
    """Runs that wait for a slot, the next one first."""
    return in_order([run for run in runs.all_runs(store) if run.status.get("state") == "queued"])


def in_order(waiting: list[Run]) -> list[Run]:
    """The same runs, the one to start next first."""
    return sorted(waiting, key=lambda run: (*_place(run), run.run_id))


def move(run: Run, to: str) -> str:
    """Moves a queued run in the order, past others of another priority too; returns a sentence.

    Args:
        run: The run.
        to: `first`, `up` (by one), `down` (by one) or `last`.

    Raises:
        UsageError: There is no such way to move.
        GenrecoreError: The run does not wait.
    """
    if to not in WAYS:
        raise UsageError(f"A run moves {', '.join(WAYS[:-1])} or {WAYS[-1]}; found {to!r}.")
    with _changing(run):
        order = queued(run.folder.parent)
        at = [one.run_id for one in order].index(run.run_id)
        others = order[:at] + order[at + 1 :]
        wanted = {"first": 0, "up": max(0, at - 1), "down": at + 1, "last": len(others)}[to]
        wanted = min(wanted, len(others))
        before = _place(others[wanted - 1]) if wanted else None
        after = _place(others[wanted]) if wanted < len(others) else None
        new = _between(before, after, _place(run))
        if new is None:  # numbers have no room between the two: all get new ones
            places = [_place(one)[0] for one in others]
            others.insert(wanted, run)
            places.insert(wanted, places[wanted - 1])
            for n, (one, priority) in enumerate(zip(others, places, strict=True)):
                _write(one, (priority, float(n)))
        else:
            _write(run, new)
    return f"The run {run.run_id} is number {wanted + 1} of {len(order)} that wait."


def prioritise(run: Run, priority: int) -> str:
    """Gives a queued run a priority: of two, the higher starts first; returns a sentence.

    Raises:
        GenrecoreError: The run does not wait.
    """
    with _changing(run):
        _write(run, (-float(priority), _place(run)[1]))
    return f"The run {run.run_id} has priority {priority}."


def paused(store: Path | None = None) -> dict[str, float]:
    """`{"at": seconds since 1970}` while no run is started, else empty."""
    path = (store or runs.store_dir()) / PAUSED
    said = read_json(path)
    if said or not path.exists():
        return said
    with contextlib.suppress(OSError):  # an empty file says it as well
        return {"at": path.stat().st_mtime}
    return {}


def pause(store: Path | None = None, now: bool = False) -> str:
    """Starts no further run until `unpause`; returns a sentence.

    Args:
        store: The folder of the runs.
        now: Runs at work keep a checkpoint and wait as well; otherwise they go on to their end.
    """
    store = store or runs.store_dir()
    store.mkdir(parents=True, exist_ok=True)
    write_json(store / PAUSED, {"at": time.time()})
    at_work = [run for run in runs.all_runs(store) if run.state in runs.LIVE]
    if not at_work:
        return "The queue is paused: no run starts until it is resumed."
    one = len(at_work) == 1
    them = "run" if one else f"{len(at_work)} runs"
    if not now:
        return f"No further run starts; the {them} at work {'goes' if one else 'go'} on."
    for run in at_work:
        if run.state != "stopping":
            ask_to_stop(run.folder, requeue=True)
    words = "keeps a checkpoint and waits" if one else "keep a checkpoint and wait"
    return f"The queue is paused; the {them} at work {words} as well."


def unpause(store: Path | None = None) -> None:
    """Lets runs start again."""
    ((store or runs.store_dir()) / PAUSED).unlink(missing_ok=True)


def _place(run: Run) -> Place:
    return (-float(run.queue.get("priority", 0)), float(run.queue.get("position", 0)))


def _write(run: Run, place: Place) -> None:
    path = run.folder / "queue.json"
    queue = read_json(path)
    write_json(path, queue | {"priority": int(-place[0]), "position": place[1]})


def _between(before: Place | None, after: Place | None, own: Place) -> Place | None:
    """A place between two others, with the priority of one of them; None if numbers run out."""
    if before is None:
        return own if after is None else (after[0], after[1] - 1.0)
    if after is None or before[0] != after[0]:
        return before[0], before[1] + 1.0
    middle = (before[1] + after[1]) / 2
    return (before[0], middle) if before[1] < middle < after[1] else None


@contextlib.contextmanager
def _changing(run: Run) -> Iterator[None]:
    """Only one process at a time changes the order, and only of a run that waits."""
    with held(run.folder.parent / _LOCK, patience_s=5.0) as mine:
        if not mine:
            raise GenrecoreError("Another process changes the queue just now; try again.")
        state = Run(run.folder).status.get("state")
        if state != "queued":
            raise GenrecoreError(f"The run {run.run_id} does not wait in the queue: it is {state}.")
        yield
