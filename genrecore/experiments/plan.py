"""Plans: every combination of the values given for some settings is a run, queued all at once.

A plan is a folder of the store, `.plans/<plan id>/`, written before its first run is queued:

| file | what |
|---|---|
| `plan.json` | title, base configuration, what varies, the runs wanted, the combinations left out |
| `study.db` | of a search: its trials, as Optuna keeps them (`genrecore.experiments.search`) |
| `trials.json` | of a search: the same for readers, rewritten whenever a trial changes |
| `lock`, `stop` | held by whoever queues its runs; present when its end was asked for |

How far it is, is read from its runs: those that were queued for it, and those that were there
already with the same configuration. Importing this imports no torch; drafting a plan does.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from genrecore.config import run as configuration
from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError, describe
from genrecore.experiments.draft import Draft, title_of
from genrecore.experiments.values import value_of
from genrecore.jobs import actions as jobs
from genrecore.store import run as runs
from genrecore.store.files import new_folder, read_json, write_json
from genrecore.store.locks import LOCK, held, is_locked
from genrecore.store.run import Run
from genrecore.store.status import STOP, ask_to_stop, stop_asked

STOPPED = "its plan was stopped"
PRUNED = "pruned"
"""Reasons of runs that a plan, or a search, ended."""


@dataclass(frozen=True)
class Member:
    """One run that a plan wants.

    Attributes:
        changes: What it changes in the base, by dotted field.
        config: What is trained.
        run: The run that counts, or None as long as nothing was queued for it.
    """

    changes: Mapping[str, Any]
    config: RunConfig
    run: Run | None

    @property
    def state(self) -> str:
        """The run's, or `missing`."""
        return self.run.state if self.run else "missing"


class _Scan:
    """The runs of a store by the plan they were queued for, read once for several plans."""

    def __init__(self, store: Path) -> None:
        self._store = store

    @cached_property
    def by_plan(self) -> dict[str, list[Run]]:
        """The oldest first."""
        found: dict[str, list[Run]] = {}
        for run in reversed(runs.all_runs(self._store)):
            if run.plan:
                found.setdefault(run.plan, []).append(run)
        return found


@dataclass(frozen=True)
class Plan:
    """A plan's folder; each instance is a snapshot of the moment it was read."""

    folder: Path
    scan: _Scan | None = field(default=None, repr=False, compare=False)

    @property
    def plan_id(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def store(self) -> Path:
        """The folder of its runs."""
        return self.folder.parent.parent

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What `plan.json` says."""
        return read_json(self.folder / "plan.json")

    @property
    def title(self) -> str:
        """What it varies, in words."""
        return str(self.facts.get("title") or self.plan_id)

    @property
    def source(self) -> str:
        """The table of a study that it repeats; may be empty."""
        return str(self.facts.get("source", ""))

    @property
    def made_at(self) -> float:
        """Seconds since the epoch."""
        return float(self.facts.get("made_at", 0.0))

    @property
    def left_out(self) -> list[str]:
        """A sentence for each combination without a run."""
        return list(self.facts.get("left_out", []))

    @property
    def search(self) -> dict[str, Any]:
        """How a search chooses its runs; empty for a plan that names all of them."""
        return dict(self.facts.get("search") or {})

    @cached_property
    def base(self) -> RunConfig:
        """What its runs start from."""
        return configuration.read_config(self.facts.get("base", {}), f"the plan {self.plan_id}")

    @property
    def problem(self) -> str:
        """Why it cannot be read, as a sentence; empty where it can."""
        try:
            _ = self.base, self.members
        except GenrecoreError as error:
            return f"The plan {self.plan_id} cannot be read: {error}"
        return ""

    @property
    def varied(self) -> list[str]:
        """The dotted fields that vary."""
        if self.search:
            return list(self.search["ranges"])
        return list(dict.fromkeys(key for grid in self.facts.get("grids", []) for key in grid))

    @cached_property
    def own_runs(self) -> list[Run]:
        """The runs that were queued for it, the oldest first."""
        return (self.scan or _Scan(self.store)).by_plan.get(self.plan_id, [])

    @cached_property
    def members(self) -> list[Member]:
        """The runs it wants, in the order in which they are queued; of a search, those it tried."""
        if self.search:
            return self._tried()
        own: dict[str, Run] = {}
        for run in self.own_runs:
            key = configuration.signature(run.config)
            own[key] = max(run, own.get(key, run), key=runs.precedence)
        found = []
        for wanted in self.facts.get("runs", []):
            config = configuration.read_config(wanted["config"], f"the plan {self.plan_id}")
            mine = own.get(configuration.signature(config))
            there = mine or self._elsewhere(str(wanted["reuses"]))
            found.append(Member(wanted["changes"], config, there))
        return found

    def _tried(self) -> list[Member]:
        """A search's trials that have a run, and runs that no trial is known of yet."""
        listed = read_json(self.folder / "trials.json").get("trials", [])
        found = [self._elsewhere(str(trial.get("run", ""))) for trial in listed]
        known = {run.run_id for run in found if run}
        unlisted = [run for run in self.own_runs if run.run_id not in known]
        return [
            Member({key: value_of(run.config, key) for key in self.varied}, run.config, run)
            for run in (*found, *unlisted)
            if run is not None
        ]

    def _elsewhere(self, run_id: str) -> Run | None:
        """A run that was there before the plan, unless it has been deleted since."""
        there = run_id and (self.store / run_id / "config.json").is_file()
        return Run(self.store / run_id) if there else None

    @property
    def n_runs(self) -> int:
        """How many it takes in all."""
        return int(self.search["n_trials"]) if self.search else len(self.members)

    @cached_property
    def done(self) -> list[Member]:
        """Those that are trained and tested."""
        return [one for one in self.members if one.state == "done"]

    @cached_property
    def active(self) -> list[Member]:
        """Those that work or wait."""
        return [one for one in self.members if one.state in runs.LIVE or one.state == "queued"]

    @cached_property
    def ended(self) -> list[Member]:
        """Those that ended without a result: stopped, pruned, failed or lost."""
        others = ("done", "missing", "queued", *runs.LIVE)
        return [one for one in self.members if one.state not in others]

    @property
    def is_driven(self) -> bool:
        """Whether a process chooses further runs of a search."""
        return is_locked(self.folder / LOCK)

    @property
    def state(self) -> str:
        """`running`, `done`, `stopped` (somebody stopped it) or `incomplete` (runs are missing)."""
        if self.active or self.is_driven:
            return "running"
        if self.search:
            over = len(self.done) + len(self.ended) >= self.n_runs
        else:
            over = len(self.done) == self.n_runs
        if over:
            return "done"
        return "stopped" if stop_asked(self.folder) else "incomplete"

    @property
    def share(self) -> float:
        """How far it is, 0 … 1, runs at work in part."""
        at_work = 0.0
        for one in self.active:
            status = one.run.status if one.run else {}
            if status.get("total"):
                at_work += min(1.0, float(status.get("done") or 0) / float(status["total"]))
        over = len(self.done) + (len(self.ended) if self.search else 0)
        return min(1.0, (over + at_work) / max(1, self.n_runs))

    @property
    def left_s(self) -> float | None:
        """Seconds until it is through, judged by its own runs; None while nothing is known."""
        live = [one.run for one in self.active if one.run and one.run.state != "queued"]
        left = [float(run.status["time_left_s"]) for run in live if run.status.get("time_left_s")]
        took = [one.run.worked_s for one in self.done if one.run]
        if not took and left:
            took = [run.worked_s + s for run, s in zip(live, left, strict=False)]
        if not took or self.state != "running":
            return None
        over = len(self.done) + (len(self.ended) if self.search else 0)
        n_waiting = (self.n_runs - over if self.search else len(self.active)) - len(left)
        rest_s = sum(left) + max(0, n_waiting) * statistics.median(took)
        return rest_s / max(1, len(live))


def start(
    made: Draft, store: Path | None = None, title: str = "", source: str = "", again: bool = False
) -> Plan:
    """Writes a plan and queues its runs.

    Args:
        made: What `draft` gave.
        store: The folder of runs.
        title: By default what varies.
        source: The table of a study that it repeats.
        again: Whether to train also what is done, or at work, with the same configuration.

    Raises:
        GenrecoreError: The store cannot be written.
    """
    there = [None] * len(made.configs) if again else runs.find_same(made.configs, store)
    listed = [
        {
            "changes": dict(change),
            "config": config.model_dump(),
            "reuses": run.run_id if run else "",
        }
        for change, config, run in zip(made.changes, made.configs, there, strict=True)
    ]
    facts = {
        "grids": [{key: list(values) for key, values in grid.items()} for grid in made.grids],
        "runs": listed,
        "left_out": list(made.left_out),
    }
    plan = write(made.base, title or title_of(made), facts, store, source)
    queue_missing(plan)
    return Plan(plan.folder)


def write(
    base: RunConfig,
    title: str,
    facts: Mapping[str, Any],
    store: Path | None = None,
    source: str = "",
) -> Plan:
    """The folder of a new plan, complete before it can be seen under its name.

    Raises:
        GenrecoreError: The store cannot be written.
    """
    folder = (store or runs.store_dir()) / ".plans"
    kind = "search" if "search" in facts else "plan"
    plan_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{kind}-{secrets.token_hex(2)}"
    said = {"title": title, "source": source, "made_at": time.time(), "base": base.model_dump()}
    try:
        with new_folder(folder / plan_id) as hidden:
            write_json(hidden / "plan.json", {**said, **facts})
            (hidden / LOCK).touch()
    except OSError as error:
        raise GenrecoreError(f"The store cannot take a new plan: {describe(error)}") from None
    return Plan(folder / plan_id)


def queue_missing(plan: Plan) -> list[Run]:
    """Queues what nobody has done or works on: new runs, and those that were stopped, failed or
    lost, which go on from their checkpoint.

    Raises:
        GenrecoreError: It is a search, or the store cannot be written.
    """
    if plan.search:
        raise GenrecoreError(
            f"The plan {plan.plan_id} is a search, which chooses its runs itself; let it go on "
            f"with: genrecore plans resume {plan.plan_id}"
        )
    queued = []
    with held(plan.folder / LOCK, patience_s=60.0) as mine:
        if not mine:
            raise GenrecoreError(f"Somebody else is queueing the plan {plan.plan_id}.")
        (plan.folder / STOP).unlink(missing_ok=True)
        for one in Plan(plan.folder).members:
            if stop_asked(plan.folder):
                break
            if one.run is None:
                queued.append(jobs.submit(one.config, plan.store, plan=plan.plan_id))
            elif one.state in ("stopped", "failed", "lost"):
                jobs.resume(one.run)
                queued.append(Run(one.run.folder))
    return queued


def stop(plan: Plan) -> str:
    """Takes the waiting runs of a plan out of the queue and asks those at work to stop; says so.

    Runs that were there before the plan are left alone.

    Raises:
        GenrecoreError: The plan is over.
    """
    if plan.state not in ("running", "incomplete"):
        raise GenrecoreError(f"The plan {plan.plan_id} is over already: {plan.state}.")
    ask_to_stop(plan.folder)
    n_waiting, n_working = stop_runs(plan)
    return (
        f"The plan is stopped: {_n_runs(n_waiting)} taken out of the queue, "
        f"{_n_runs(n_working)} asked to stop; what is done stays."
    )


def stop_runs(plan: Plan) -> tuple[int, int]:
    """Cancels the waiting runs that were queued for a plan and asks those at work to stop; returns
    how many of either."""
    own = [one.run for one in plan.active if one.run and one.run.plan == plan.plan_id]
    n_waiting = n_working = 0
    # Those at work last: otherwise a waiting one takes the free place.
    for run in sorted(own, key=lambda one: one.state != "queued"):
        waiting = run.state == "queued"
        if run.state == "stopping":
            continue
        with contextlib.suppress(GenrecoreError):  # it ended by itself in between
            jobs.stop(run, reason=STOPPED)
            n_waiting, n_working = n_waiting + waiting, n_working + (not waiting)
    return n_waiting, n_working


def _n_runs(n: int) -> str:
    return f"{n} run{'s' if n != 1 else ''}"


def all_plans(store: Path | None = None) -> list[Plan]:
    """Every plan of the store, the newest first."""
    folder = (store or runs.store_dir()) / ".plans"
    try:
        names = sorted(os.listdir(folder), reverse=True)
    except OSError:
        return []
    scan = _Scan(folder.parent)
    return [
        Plan(folder / name, scan)
        for name in names
        if not name.startswith(".") and (folder / name / "plan.json").is_file()
    ]


def find(name: str, store: Path | None = None) -> Plan:
    """The plan of this id, of an unambiguous part of it, or the `latest`.

    Raises:
        UsageError: There is none, or there are several.
    """
    return runs.find_by_id(name, all_plans(store), "plan", store or runs.store_dir())
