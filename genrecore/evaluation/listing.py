"""The runs of a store as lists show them: a row a run, made of its summary.

Neither torch nor pandas is imported, save once for each tested run whose scores nobody kept.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from genrecore.errors import GenrecoreError
from genrecore.store.files import Unreadable
from genrecore.store.run import (
    AT_REST,
    LIVE,
    WAITING,
    Run,
    marked,
    place_in_words,
    store_dir,
)
from genrecore.store.runs import summaries
from genrecore.store.scores import ACCURACY, read_scores
from genrecore.store.status import FINAL
from genrecore.store.summaries import Summary

_SCHEDULED = frozenset({"waiting there", "requeued", "unknown"})  # as only a scheduler knows
_TO_THE_END = LIVE - {"stopping"}  # states in which a run goes on to its last epoch
_WHOLE = re.compile(r"\d{1,3}|(seed|fold)=\d+")  # words of a query that must be whole words


@dataclass(frozen=True)
class RunRow:
    """A run in lists.

    Attributes:
        fold: Counted from 0; people count from 1.
        best: Of the validation accuracies, a share; nan where there is none.
        n_clips: Of the test; 0 where it was not tested.
        accuracy: On the test clips, a share; so are the ends of its interval.
        left_s: Seconds that a live run still needs, or nan.
        on: Where it is carried out, as `Queue.on`; empty for this machine.
        job: The number of its job on a cluster; so are `node` and, of a run that waits or of which
            nothing is known, `why`.
        never: Whether its job can never start.
        created: When it was queued, in seconds since 1970.
    """

    run_id: str
    name: str
    title: str
    state: str
    model: str
    dataset: str
    split: str
    seed: int
    fold: int
    marks: str
    badge: str
    epoch: int
    n_epochs: int
    best: float
    n_clips: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    left_s: float
    on: str
    job: str
    node: str
    why: str
    never: bool
    created: float
    plan: str
    note: str
    tags: tuple[str, ...]
    starred: bool

    @property
    def place(self) -> str:
        """Where on a cluster it is carried out, in words; empty for this machine."""
        return place_in_words(self.on, self.job, self.node)

    @property
    def is_live(self) -> bool:
        """Whether a process works on it."""
        return self.state in LIVE

    @property
    def is_active(self) -> bool:
        """Whether it works or waits."""
        return self.is_live or self.state in WAITING

    @cached_property
    def _text(self) -> str:
        star = "starred" if self.starred else ""
        parts = (self.run_id, self.name, self.state, self.model, self.dataset, self.split,
                 self.marks, self.badge, self.plan, self.note, self.on, self.job, self.node,
                 *self.tags, star)  # fmt: skip
        return " ".join(parts).casefold()

    @cached_property
    def _words(self) -> frozenset[str]:
        numbers = (self.seed, self.fold + 1, self.epoch, self.n_epochs)
        named = (f"seed={self.seed}", f"fold={self.fold + 1}")
        return frozenset([*map(str, numbers), *named, *re.split(r"[\W_]+", self._text)])

    def matches(self, query: str, more: str = "") -> bool:
        """Whether all words of a query occur in what lists show of the run (id, name, state, model,
        dataset, split, seed, fold, epochs, warnings, plan, note and tags) or in `more`.

        Case does not matter. A part of a word is enough; not of a seed or fold (`seed 3`), nor of a
        number of up to three digits, which would be a part of nearly every id.
        """
        text = f"{self._text} {more.casefold()}"
        words = re.sub(r"\b(seed|fold)[ :=]+(\d+)", r"\1=\2", query.casefold()).split()
        return all(
            word in self._words if _WHOLE.fullmatch(word) else word in text for word in words
        )


@dataclass(frozen=True)
class Listing:
    """The runs of a store as one look found them, the newest first.

    Attributes:
        rows: A row for each readable run.
        unreadable: Why each of the others cannot be read.
    """

    rows: list[RunRow]
    unreadable: list[Unreadable]
    _summaries: list[Summary]

    @cached_property
    def runs(self) -> list[Run]:
        """The run of each row."""
        return [Run.summarised(summary) for summary in self._summaries]

    @property
    def active(self) -> list[Run]:
        """The runs that work or wait."""
        return [run for run, row in zip(self.runs, self.rows, strict=True) if row.is_active]


def look(store: Path | None = None, quick: bool = False) -> Listing:
    """All runs of the store as they are now; `quick` as of `summaries`."""
    listing = Listing([], [], [])
    for summary in summaries(store, quick):
        try:
            row = summary.fault or _row(summary)
        except Unreadable as error:
            row = error
        if isinstance(row, Unreadable):
            listing.unreadable.append(row)
        else:
            listing.rows.append(row)
            listing._summaries.append(summary)
    return listing


def run_rows(store: Path | None = None) -> list[RunRow]:
    """A row for each readable run, the newest first."""
    return look(store).rows


def unreadable(store: Path | None = None) -> list[Unreadable]:
    """Why each of the other runs cannot be read."""
    return look(store).unreadable


def read_row(run: Run) -> RunRow:
    """The row of a run, with the state in its file.

    Raises:
        Unreadable: Its predictions cannot be read.
    """
    if run.summary is None:
        return _row_as_written(run)
    return run.summary.derived("row", lambda: _row_as_written(run))


def _row(summary: Summary) -> RunRow:
    row = read_row(Run.summarised(summary))
    if row.state in (FINAL if row.on else AT_REST):
        return row
    run = _as_it_is(summary, row.state)
    state = run.state
    values: dict[str, Any] = {"state": state}
    if state not in _TO_THE_END:
        values["left_s"] = math.nan
    if row.on and state in _SCHEDULED:
        values["why"] = run.reason
    return replace(row, **values)


def _as_it_is(summary: Summary, written: str) -> Run:
    """The run of a summary as it is now: a process that dies writes nothing. What is queued for a
    cluster has no process; what its files say is in the summary."""
    run = Run(summary.folder)
    if written == "queued":
        job = summary.derived("job", lambda: Run(summary.folder).job)
        vars(run).update(status=summary.rest["status"], alive=False, job=job)
    return run


def run_ids(store: Path | None = None) -> list[str]:
    """The names of the store's folders, the newest run first."""
    try:
        names = os.listdir(store or store_dir())
    except OSError:
        return []
    return sorted((name for name in names if not name.startswith(".")), reverse=True)


def _row_as_written(run: Run) -> RunRow:
    facts = run.facts
    course = run.course if run.summary is None else run.summary.values["course"]
    state = str(course["state"])
    best, left_s = course["best_valid_accuracy"], course["time_left_s"]
    scores = _scores(run)
    accuracy, low, high = (float(scores.get(name, math.nan)) for name in ACCURACY)
    name = run.name  # made anew each time it is asked for
    job = run.job if run.queue.get("on") else {}
    return RunRow(
        run_id=run.run_id,
        name=name,
        title=marked(name, run.warnings),
        state=state,
        model=facts.model,
        dataset=facts.dataset,
        split=facts.split,
        seed=facts.seed,
        fold=facts.fold,
        marks=", ".join(run.warnings),
        badge=run.badge,
        epoch=int(course["epoch"] or 0),
        n_epochs=course["n_epochs"],
        best=math.nan if best is None else float(best),
        n_clips=scores.get("n_clips", 0),
        accuracy=accuracy,
        accuracy_low=low,
        accuracy_high=high,
        left_s=float(left_s) if left_s is not None and state in _TO_THE_END else math.nan,
        on=str(run.queue.get("on", "")),
        job=str(job.get("id", "")),
        node=str(job.get("node", "")),
        why="",
        never=bool(job.get("never")),
        created=run.created,
        plan=run.plan,
        note=run.note,
        tags=run.tags,
        starred=run.starred,
    )


def _scores(run: Run) -> dict[str, Any]:
    """Those of a tested run; of another one none."""
    if not run.is_tested:
        return {}
    scores = read_scores(run)
    try:
        if scores is None:
            from genrecore.evaluation.scores import run_scores

            scores = run_scores(run)
    except Unreadable:
        raise
    except GenrecoreError:  # no test predictions
        return {}
    return scores
