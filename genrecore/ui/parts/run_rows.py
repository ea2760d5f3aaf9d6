"""What the table of runs shows, read so that a thousand runs cost a few milliseconds.

`config.json` never changes, and a run that is over changes nothing any more: both are read once
a process and kept, keyed by path and time of change. Of the others the state is derived anew at
every look, since a process that dies writes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError
from genrecore.reporting import plots
from genrecore.reporting.plots import RunStyle
from genrecore.store import run as runs
from genrecore.store.run import Run
from genrecore.store.status import FINAL, STATUS

_ON = runs.LIVE - {"stopping"}  # states that go on to the end of the run
_REST = frozenset({*FINAL, "queued"})  # states that are as they are written


@dataclass(frozen=True)
class Row:
    """What the table says of one run; `best` is a share, `left_s` seconds, either may be nan."""

    run_id: str
    title: str
    state: str
    model: str
    dataset: str
    split: str
    badge: str
    epoch: int
    n_epochs: int
    best: float
    left_s: float
    created: float
    plan: str

    @property
    def is_live(self) -> bool:
        """Whether a process works on it."""
        return self.state in runs.LIVE


Changed = tuple[int, int, int]  # a status file is replaced by another one: time, inode, size

_configs: dict[str, RunConfig] = {}
_rows: dict[str, tuple[Changed, Row, dict[str, Any]]] = {}


def listed() -> list[Path]:
    """The folders of all runs of the store, the newest first, readable or not."""
    return [Path(place) for place in _places() if os.path.isfile(f"{place}/config.json")]


def _places() -> list[str]:
    store = str(runs.store_dir())
    try:
        names = sorted(os.listdir(store), reverse=True)
    except OSError:
        return []
    return [f"{store}/{name}" for name in names if not name.startswith(".")]


def opened(folder: Path) -> Run | str:
    """A fresh snapshot of the run in a folder, its configuration known; or why it cannot be
    read."""
    run, known = Run(folder), _configs.get(str(folder))
    if known is None:
        try:
            _configs[str(folder)] = run.config
        except GenrecoreError as error:
            return str(error)
    else:
        vars(run)["config"] = known  # where a cached property keeps its value
    return run


def rows() -> list[Row]:
    """A row for each readable run, the newest first."""
    places = _places()
    found = [row for row in map(_row, places) if row is not None]
    if len(_configs) > 2 * len(places) + 100:  # stores that nobody looks at, runs that are gone
        _forget(places)
    return found


def _forget(places: Sequence[str]) -> None:
    kept = set(places)
    for place in [place for place in _configs if place not in kept]:
        _configs.pop(place, None)
        _rows.pop(place, None)


def _row(place: str) -> Row | None:
    try:
        found = os.stat(f"{place}/{STATUS}")
        changed = (found.st_mtime_ns, found.st_ino, found.st_size)
    except OSError:
        changed = (0, 0, 0)
    known = _rows.get(place)
    if known is not None and known[0] == changed:
        _, row, status = known
        if status.get("state", "queued") in _REST:
            return row
        run = Run(Path(place))
        vars(run)["status"] = status
        if run.state == row.state:
            return row
        if run.state != "lost":
            left_s = row.left_s if run.state in _ON else float("nan")
            return replace(row, state=run.state, left_s=left_s)
        # It may have ended well since the status was looked at.
    if not os.path.isfile(f"{place}/config.json"):
        return None
    fresh = opened(Path(place))
    if isinstance(fresh, str):
        return None
    row = _read(fresh)
    _rows[place] = (changed, row, fresh.status)
    return row


def _read(run: Run) -> Row:
    state, status, config = run.state, run.status, run.config
    best, left_s = status.get("best_valid_accuracy"), status.get("time_left_s")
    return Row(
        run_id=run.run_id,
        title=run.title,
        state=state,
        model=config.model.name,
        dataset=config.dataset.name,
        split=config.split.name,
        badge=run.badge if state != "queued" else "",
        epoch=int(status.get("epoch") or 0),
        n_epochs=run.n_epochs,
        best=float("nan") if best is None else float(best),
        left_s=float(left_s) if left_s is not None and state in _ON else float("nan"),
        created=run.created,
        plan=run.plan,
    )


def problems() -> list[str]:
    """A sentence for each run folder that cannot be read."""
    found = [opened(folder) for folder in listed()]
    return [words for words in found if isinstance(words, str)]


SORTS = {
    "": "Newest first",
    "oldest": "Oldest first",
    "best": "Best validation",
    "left": "Time left",
    "state": "State",
    "model": "Model",
}
_ORDER = {
    state: place
    for place, state in enumerate(
        ("running", "preparing", "starting", "stopping", "stalled", "queued", "lost", "failed",
         "stopped", "done")
    )
}  # fmt: skip


def chosen_rows(
    found: Iterable[Row],
    words: str = "",
    states: Sequence[str] = (),
    models: Sequence[str] = (),
    datasets: Sequence[str] = (),
    sort: str = "",
) -> list[Row]:
    """The rows that a filter leaves, in the order asked for; an empty filter leaves all.

    Args:
        found: Rows, the newest first.
        words: All of them must occur in id, title, split, warning or plan; case does not matter.
        states: States to keep.
        models: Names to keep.
        datasets: Names to keep.
        sort: A key of `SORTS`.
    """
    wanted = words.lower().split()

    def fits(row: Row) -> bool:
        if (
            (states and row.state not in states)
            or (models and row.model not in models)
            or (datasets and row.dataset not in datasets)
        ):
            return False
        if not wanted:
            return True
        said = f"{row.run_id} {row.title} {row.split} {row.badge} {row.plan}".lower()
        return all(word in said for word in wanted)

    kept = [row for row in found if fits(row)]
    if sort == "oldest":
        return kept[::-1]
    if sort == "best":
        return sorted(kept, key=lambda row: -row.best if row.best == row.best else 2.0)
    if sort == "left":
        return sorted(kept, key=lambda row: row.left_s if row.left_s == row.left_s else 1e12)
    if sort == "state":
        return sorted(kept, key=lambda row: _ORDER.get(row.state, len(_ORDER)))
    if sort == "model":
        return sorted(kept, key=lambda row: (row.model, row.dataset))
    return kept


def table(shown: Sequence[Row]) -> pd.DataFrame:
    """One line a row: `run_id, state, model, dataset, split, badge, epochs, best, left_s,
    created`."""
    return pd.DataFrame(
        {
            "run_id": [row.run_id for row in shown],
            "state": [row.state for row in shown],
            "model": [row.model for row in shown],
            "dataset": [row.dataset for row in shown],
            "split": [row.split for row in shown],
            "badge": [row.badge for row in shown],
            # Blanks before the number let a click on the column's head sort by it.
            "epochs": [f"{row.epoch:>4} of {row.n_epochs}" for row in shown],
            "best": [row.best for row in shown],
            "left_s": [row.left_s for row in shown],
            "created": [
                datetime.fromtimestamp(row.created) if row.created else None for row in shown
            ],
        }
    )


def styles() -> dict[str, RunStyle]:
    """The style of every run in the store."""
    return _styles(tuple(os.path.basename(place) for place in _places()))


@lru_cache(maxsize=4)
def _styles(run_ids: tuple[str, ...]) -> dict[str, RunStyle]:
    return plots.run_styles(run_ids)
