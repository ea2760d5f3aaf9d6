"""Plans: every combination of the values of some settings is a run, queued all at once.

A plan is a folder of the store, `.plans/<plan id>/`, written before its first run is queued:

| file | what |
|---|---|
| `plan.json` | title, base configuration, what varies, the runs, the combinations left out |
| `study.db` | of a search: its trials, as Optuna keeps them (`genrecore.experiments.search`) |
| `trials.json` | of a search: the same for readers, rewritten whenever a trial changes |
| `lock`, `stop` | held by whoever queues its runs; present when a stop was asked for |

How far it is, is read from its runs: those queued for it, and those that were there before with
the same configuration.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from genrecore.config import run as configuration
from genrecore.config.dotted import value_of
from genrecore.config.run import RunConfig, signature
from genrecore.errors import GenrecoreError, describe
from genrecore.experiments.draft import Draft
from genrecore.jobs import actions as jobs
from genrecore.jobs import slots
from genrecore.store import run as runs
from genrecore.store.files import new_folder, read_json, write_json
from genrecore.store.locks import LOCK, held, is_locked
from genrecore.store.run import Run
from genrecore.store.status import STOP, ask_to_stop, stop_asked
from genrecore.training import hardware
from genrecore.words import plural

STOPPED = "its plan was stopped"
PRUNED = "pruned"
"""Reasons of runs that a plan, or a search, ended."""


@dataclass(frozen=True)
class Member:
    """One run that a plan needs.

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
        """The run's state, or `missing`."""
        return self.run.state if self.run else "missing"


class RunsProgress:
    """How far several runs are that belong together."""

    @property
    def members(self) -> Sequence[Member]:
        """The runs, in the order in which they are queued."""
        raise NotImplementedError

    @property
    def n_runs(self) -> int:
        """How many runs there are in all."""
        return len(self.members)

    @property
    def n_over(self) -> int:
        """Runs that nothing is left to do for."""
        return len(self.done)

    @cached_property
    def done(self) -> list[Member]:
        """Those that are trained and tested."""
        return [member for member in self.members if member.state == "done"]

    @cached_property
    def active(self) -> list[Member]:
        """Those that work or wait."""
        return [member for member in self.members if member.run and member.run.is_active]

    @cached_property
    def ended(self) -> list[Member]:
        """Those that ended without a result: stopped, pruned, failed or lost."""
        others = ("done", "missing", "queued", *runs.LIVE)
        return [member for member in self.members if member.state not in others]

    @property
    def share(self) -> float:
        """How far they are, from 0 to 1; a run at work counts in part."""
        at_work = 0.0
        for member in self.active:
            status = member.run.status if member.run else {}
            if status.get("total"):
                at_work += min(1.0, float(status.get("done") or 0) / float(status["total"]))
        return min(1.0, (self.n_over + at_work) / max(1, self.n_runs))

    @property
    def left_s(self) -> float | None:
        """Seconds until they are through; None while nothing is known.

        Runs that wait are expected to take as long as the median run that is done.
        """
        live = [member.run for member in self.active if member.run and member.state != "queued"]
        left = [float(run.status["time_left_s"]) for run in live if run.status.get("time_left_s")]
        worked = [member.run.worked_s for member in self.done if member.run]
        if not worked and left:
            worked = [run.worked_s + rest_s for run, rest_s in zip(live, left, strict=False)]
        if not worked or not self._n_to_come:
            return None
        n_waiting = max(0, self._n_to_come - len(left))
        return (sum(left) + n_waiting * statistics.median(worked)) / max(1, len(live))

    @property
    def _n_to_come(self) -> int:
        """Runs that work, wait, or will be asked for."""
        return len(self.active)

    def stop_runs(self, plan_id: str = "") -> tuple[int, int]:
        """Takes waiting runs out of the queue and asks those at work to stop.

        Args:
            plan_id: Only runs that were queued for this plan.

        Returns:
            How many waited, and how many worked.
        """
        active = [member.run for member in self.active if member.run]
        n_waiting = n_working = 0
        # Those at work last: otherwise a waiting one takes the free slot.
        for run in sorted(active, key=lambda run: run.state != "queued"):
            waits = run.state == "queued"
            if run.state == "stopping" or (plan_id and run.plan != plan_id):
                continue
            with contextlib.suppress(GenrecoreError):  # it ended by itself meanwhile
                jobs.stop(run, reason=STOPPED)
                n_waiting, n_working = n_waiting + waits, n_working + (not waits)
        return n_waiting, n_working


class _Scan:
    """The runs of a store by the plan they were queued for, read once for several plans."""

    def __init__(self, store: Path) -> None:
        self._store = store

    @cached_property
    def by_plan(self) -> dict[str, list[Run]]:
        """The oldest first."""
        by_plan: dict[str, list[Run]] = {}
        for run in reversed(runs.all_runs(self._store)):
            if run.plan:
                by_plan.setdefault(run.plan, []).append(run)
        return by_plan


@dataclass(frozen=True)
class Plan(RunsProgress):
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
        """For people: what varies."""
        return str(self.facts.get("title") or self.plan_id)

    @property
    def source(self) -> str:
        """The table of a paper that it repeats; may be empty."""
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
        """The runs it needs, in the order in which they are queued; of a search, those it tried."""
        if self.search:
            return self._tried()
        own: dict[str, Run] = {}
        for run in self.own_runs:
            key = signature(run.config)
            own[key] = max(run, own.get(key, run), key=runs.precedence)
        members = []
        for entry in self.facts.get("runs", []):
            config = configuration.read_config(entry["config"], f"the plan {self.plan_id}")
            own_run = own.get(signature(config))
            counting = own_run or self._earlier_run(str(entry["reuses"]))
            members.append(Member(entry["changes"], config, counting))
        return members

    def _tried(self) -> list[Member]:
        """A search's trials that have a run, and runs that no trial is known of yet."""
        trials = read_json(self.folder / "trials.json").get("trials", [])
        listed = [self._earlier_run(str(trial.get("run", ""))) for trial in trials]
        known = {run.run_id for run in listed if run}
        unlisted = [run for run in self.own_runs if run.run_id not in known]
        return [
            Member({key: value_of(run.config, key) for key in self.varied}, run.config, run)
            for run in (*listed, *unlisted)
            if run is not None
        ]

    def _earlier_run(self, run_id: str) -> Run | None:
        """A run that was there before, unless it has been deleted since."""
        exists = run_id and (self.store / run_id / "config.json").is_file()
        return Run(self.store / run_id) if exists else None

    @property
    def n_runs(self) -> int:
        """How many it takes in all."""
        return int(self.search["n_trials"]) if self.search else len(self.members)

    @property
    def n_over(self) -> int:
        """Runs that nothing is left to do for; a search does not repeat those without a result."""
        return len(self.done) + (len(self.ended) if self.search else 0)

    @property
    def left_s(self) -> float | None:
        """Seconds until it is through; None while nothing is known, or nothing goes on."""
        return super().left_s if self.state == "running" else None

    @property
    def _n_to_come(self) -> int:
        return self.n_runs - self.n_over if self.search else len(self.active)

    @property
    def is_driven(self) -> bool:
        """Whether a process chooses further runs of a search."""
        return is_locked(self.folder / LOCK)

    @property
    def state(self) -> str:
        """`running`, `done`, `stopped` (somebody stopped it) or `incomplete` (runs are missing)."""
        if self.active or self.is_driven:
            return "running"
        if self.n_over >= self.n_runs:
            return "done"
        return "stopped" if stop_asked(self.folder) else "incomplete"


def n_at_once(configs: Sequence[RunConfig], store: Path | None = None) -> int:
    """How many of these runs work at the same time on this machine."""
    gpus = hardware.accelerators()
    if gpus and any(config.device in ("auto", "cuda") for config in configs):
        return len(gpus)
    return slots.n_on_cpu(store or runs.store_dir())


def start(
    draft: Draft,
    store: Path | None = None,
    title: str = "",
    source: str = "",
    again: bool = False,
    facts: Mapping[str, Any] | None = None,
) -> Plan:
    """Writes a plan and queues its runs.

    Args:
        draft: What it trains.
        store: The folder of runs.
        title: By default what varies.
        source: The table of a paper that it repeats.
        again: Whether to train also what is done, or at work, with the same configuration.
        facts: What else `plan.json` is to say.

    Raises:
        GenrecoreError: The store cannot be written.
    """
    same = [None] * len(draft.configs) if again else runs.find_same(draft.configs, store)
    entries = [
        {
            "changes": dict(change),
            "config": config.model_dump(),
            "reuses": run.run_id if run else "",
        }
        for change, config, run in zip(draft.changes, draft.configs, same, strict=True)
    ]
    content = {
        "grids": [{key: list(values) for key, values in grid.items()} for grid in draft.grids],
        "runs": entries,
        "left_out": list(draft.left_out),
        **(facts or {}),
    }
    plan = write(draft.base, title or draft.title, content, store, source)
    queue_missing(plan)
    return Plan(plan.folder)


def write(
    base: RunConfig,
    title: str,
    facts: Mapping[str, Any],
    store: Path | None = None,
    source: str = "",
) -> Plan:
    """Makes the folder of a new plan, complete before it can be seen under its name.

    Raises:
        GenrecoreError: The store cannot be written.
    """
    kind = "search" if "search" in facts else "plan"
    plan_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{kind}-{secrets.token_hex(2)}"
    folder = (store or runs.store_dir()) / ".plans" / plan_id
    head = {"title": title, "source": source, "made_at": time.time(), "base": base.model_dump()}
    try:
        with new_folder(folder) as hidden:
            write_json(hidden / "plan.json", {**head, **facts})
            (hidden / LOCK).touch()
    except OSError as error:
        raise GenrecoreError(f"The store cannot take a new plan: {describe(error)}") from None
    return Plan(folder)


def queue_missing(plan: Plan) -> list[Run]:
    """Queues what nobody has done or works on.

    Runs that were stopped, failed or lost go on from their checkpoint; others are new.

    Raises:
        GenrecoreError: It is a search, or the store cannot be written.
    """
    if plan.search:
        raise GenrecoreError(
            f"The plan {plan.plan_id} is a search, which chooses its runs itself; let it go on "
            f"with: genrecore plans resume {plan.plan_id}"
        )
    queued = []
    with held(plan.folder / LOCK, patience_s=60.0) as locked:
        if not locked:
            raise GenrecoreError(f"Another process is queueing the plan {plan.plan_id}.")
        (plan.folder / STOP).unlink(missing_ok=True)
        for member in Plan(plan.folder).members:
            if stop_asked(plan.folder):
                break
            if member.run is None:
                queued.append(jobs.submit(member.config, plan.store, plan=plan.plan_id))
            elif member.state in ("stopped", "failed", "lost"):
                jobs.resume(member.run)
                queued.append(Run(member.run.folder))
    return queued


def stop(plan: Plan) -> str:
    """Takes the waiting runs of a plan out of the queue and asks those at work to stop.

    Runs that were there before the plan are left alone.

    Returns:
        A sentence that says how many.

    Raises:
        GenrecoreError: The plan is over.
    """
    if plan.state not in ("running", "incomplete"):
        raise GenrecoreError(f"The plan {plan.plan_id} is over already: {plan.state}.")
    ask_to_stop(plan.folder)
    n_waiting, n_working = plan.stop_runs(plan.plan_id)
    return (
        f"The plan is stopped: {plural(n_waiting, 'run')} taken out of the queue, "
        f"{plural(n_working, 'run')} asked to stop; what is done stays."
    )


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


def find_plan(name: str, store: Path | None = None) -> Plan:
    """The plan of this id, of an unambiguous part of it, or the `latest`.

    Raises:
        UsageError: There is none, or there are several.
    """
    return runs.find_by_id(name, all_plans(store), "plan", store or runs.store_dir())
