"""Plans: each combination of the values of some settings is a run, all queued at once.

A plan is a folder of the store, `.plans/<plan id>/`, written before its first run is queued:

| file | content |
|---|---|
| `plan.json` | title, base configuration, what varies, the runs, the combinations left out |
| `study.log` | of a search: its trials, as Optuna keeps them (`genrecore.experiments.search`) |
| `trials.json` | of a search: its trials as JSON, rewritten whenever one changes |
| `lock`, `stop` | held by the process that queues its runs; present when a stop was asked for |

Its progress is that of its runs: those queued for it, and earlier ones of the same configuration.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from genrecore.config.dotted import is_field, value_of
from genrecore.config.run import RunConfig, read_config, signature
from genrecore.errors import GenrecoreError, describe
from genrecore.experiments.draft import MOST_RUNS, Draft
from genrecore.jobs import actions as jobs
from genrecore.jobs import slots
from genrecore.jobs.advice import fails_again
from genrecore.jobs.slurm import profiles
from genrecore.store.files import (
    Unreadable,
    in_a_sentence,
    is_regular_file,
    new_folder,
    write_json,
)
from genrecore.store.locks import LOCK, held, is_locked
from genrecore.store.records import Count, FileName, Moment, Number, Record, read_record
from genrecore.store.run import LIVE, WAITING, Run, store_dir
from genrecore.store.runs import (
    all_runs,
    check_name,
    each_readable,
    find_by_id,
    find_same,
    precedence,
)
from genrecore.store.status import STOP, ask_to_stop, stop_asked
from genrecore.training import hardware
from genrecore.words import plural, visible_line

STOPPED = "its plan was stopped"
PRUNED = "pruned"
LISTED = ("plan.json", "trials.json", "study.log", "study.db")
"""Files that a folder of a plan may have; one is enough to be listed."""
"""Reasons of runs that were ended by a plan or a search."""


@dataclass(frozen=True)
class Member:
    """A run that a plan needs: its changes to the base by dotted field, its configuration, and the
    run itself, None until it is queued."""

    changes: Mapping[str, Any]
    config: RunConfig
    run: Run | None

    @property
    def state(self) -> str:
        """The run's state, or `missing`."""
        return self.run.state if self.run else "missing"


class RunsProgress:
    """The progress of runs that belong together."""

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
        """Runs that need nothing more."""
        return len(self.done)

    @cached_property
    def done(self) -> list[Member]:
        """Runs that are trained and tested."""
        return [member for member in self.members if member.state == "done"]

    @cached_property
    def active(self) -> list[Member]:
        """Runs at work or queued."""
        return [member for member in self.members if member.run and member.run.is_active]

    @cached_property
    def ended(self) -> list[Member]:
        """Runs that ended without a result: stopped, pruned, failed or lost."""
        others = {"done", "missing", *WAITING, *LIVE}
        return [member for member in self.members if member.state not in others]

    @property
    def goes_on(self) -> bool:
        """Whether any of them is at work or queued."""
        return bool(self.active)

    @property
    def share(self) -> float:
        """The share of the work that is done, 0 to 1; a run at work counts in part."""
        at_work = 0.0
        for member in self.active:
            status = member.run.status if member.run else {}
            if status.get("total"):
                at_work += min(1.0, float(status.get("done") or 0) / float(status["total"]))
        return min(1.0, (self.n_over + at_work) / max(1, self.n_runs))

    @property
    def left_s(self) -> float | None:
        """Seconds until the last one ends, if each waiting run takes as long as the median of those
        that are done; None while that is unknown."""
        live = [member.run for member in self.active if member.run and member.state in LIVE]
        rest_s = [float(run.status["time_left_s"]) for run in live if run.status.get("time_left_s")]
        worked_s = [member.run.worked_s for member in self.done if member.run]
        if not worked_s and rest_s:
            worked_s = [run.worked_s + rest for run, rest in zip(live, rest_s, strict=False)]
        if not worked_s or not self._n_to_come:
            return None
        n_waiting = max(0, self._n_to_come - len(rest_s))
        return (sum(rest_s) + n_waiting * statistics.median(worked_s)) / max(1, len(live))

    @property
    def _n_to_come(self) -> int:
        """Runs that are at work, queued, or still to be queued."""
        return len(self.active)

    def stop_runs(self, plan_id: str = "") -> tuple[int, int]:
        """Takes waiting runs out of the queue and asks those at work to stop.

        Args:
            plan_id: Only runs that were queued for this plan.

        Returns:
            How many were queued, and how many were at work.
        """
        active = [member.run for member in self.active if member.run]
        stopped: list[str] = []
        # Runs at work last: otherwise a queued one would take the free slot.
        for run in sorted(active, key=lambda run: run.state not in WAITING):
            if run.state != "stopping" and plan_id in ("", run.plan):
                with contextlib.suppress(GenrecoreError):  # it has ended meanwhile
                    jobs.stop(run, reason=STOPPED)
                    stopped.append(run.state)
        n_waiting = sum(state in WAITING for state in stopped)
        return n_waiting, len(stopped) - n_waiting


class StoreRuns:
    """The readable runs of a store, read once, when somebody asks."""

    def __init__(self, store: Path) -> None:
        self._store = store

    @cached_property
    def by_id(self) -> dict[str, Run]:
        """Each run, the oldest first."""
        return {run.run_id: run for run in reversed(all_runs(self._store))}

    @cached_property
    def by_plan(self) -> dict[str, list[Run]]:
        """The runs by the plan they were queued for, the oldest first."""
        by_plan: dict[str, list[Run]] = {}
        for run, plan_id in each_readable(self.by_id.values(), lambda run: run.plan):
            if plan_id:
                by_plan.setdefault(plan_id, []).append(run)
        return by_plan


_OF_A_STUDY = ("row", "protocol")
"""What distinguishes the runs of a study's plan, beside settings (`papers.StudyRun`)."""


def _field(dotted: str) -> str:
    if dotted not in _OF_A_STUDY and not is_field(dotted):
        raise ValueError("expected the name of a setting")
    return dotted


DottedField = Annotated[str, AfterValidator(_field)]


class PlannedRun(Record):
    """A run in `plan.json`."""

    changes: dict[DottedField, Any]
    config: dict[str, Any]
    reuses: FileName = ""


class SearchedRange(Record):
    """The numbers that a search chooses from (`values.Range`)."""

    low: Number
    high: Number
    log: bool = False
    whole: bool = False


class SearchFacts(Record):
    """How a search chooses its runs (`search.Strategy`), in `plan.json`."""

    sampler: Literal["random", "tpe"] = "tpe"
    n_trials: Annotated[int, Field(ge=1, le=10**6)]
    pruner: Literal["none", "median", "hyperband"] = "none"
    seed: Count = 0
    ranges: dict[DottedField, SearchedRange | list[Any]]


class TrialEntry(Record):
    """A trial in `trials.json`; its state is Optuna's: running, complete, pruned, fail."""

    number: Count
    params: dict[str, Any]
    run: FileName
    state: str
    reason: str


class TrialsFile(Record):
    """`trials.json`."""

    trials: list[TrialEntry] = Field(default_factory=list)


class PlanFile(Record):
    """`plan.json`."""

    title: str = ""
    source: str = ""
    made_at: Moment = 0.0
    base: dict[str, Any] = Field(default_factory=dict)
    grids: list[dict[DottedField, list[Any]]] = Field(default_factory=list)
    runs: Annotated[list[PlannedRun], Field(max_length=MOST_RUNS)] = Field(default_factory=list)
    left_out: list[str] = Field(default_factory=list)
    on: list[str] = Field(default_factory=list)
    search: SearchFacts | None = None


@dataclass(frozen=True)
class Plan(RunsProgress):
    """A plan's folder; each instance is a snapshot of the moment it was read.

    Plans that are read together share `store_runs`.
    """

    folder: Path
    store_runs: StoreRuns | None = field(default=None, repr=False, compare=False)

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
        """The content of `plan.json`."""
        check_name(self.folder / "plan.json", "plan")
        for path in (self.folder / LOCK, self.folder / STOP):
            if os.path.lexists(path) and not is_regular_file(str(path)):
                raise Unreadable(path, "", "it is no regular file", "plan")
        return read_record(self.folder / "plan.json", PlanFile, "plan", needed=True)

    @property
    def title(self) -> str:
        """What varies, for people."""
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
    def on(self) -> list[str]:
        """The places to which its runs are dealt in turn, as `Queue.on` names them; empty where all
        are carried out on this machine."""
        return list(self.facts.get("on", []))

    def place_of(self, number: int) -> str:
        """Where the run of this number, from 0, is carried out."""
        return self.on[number % len(self.on)] if self.on else ""

    @property
    def left_out(self) -> list[str]:
        """Sentences on the combinations without a run, with the reasons."""
        return list(self.facts.get("left_out", []))

    @property
    def search(self) -> dict[str, Any]:
        """How a search chooses its runs; empty for a plan that names all of them."""
        return dict(self.facts.get("search") or {})

    @cached_property
    def base(self) -> RunConfig:
        """What its runs start from."""
        return read_config(self.facts.get("base", {}), f"the plan {self.plan_id}")

    @property
    def problem(self) -> str:
        """Why it cannot be read, as a sentence; empty if it can."""
        try:
            _ = self.base, self.members
        except Unreadable as error:
            return str(error)
        except GenrecoreError as error:
            return f"The plan {self.plan_id} cannot be read: {error}"
        return ""

    @cached_property
    def trials(self) -> list[dict[str, Any]]:
        """Of a search: `number, params, run, state, reason` of each trial, as its driver last wrote
        them."""
        written = read_record(self.folder / "trials.json", TrialsFile, "plan")
        return list(written.get("trials", []))

    @property
    def varied(self) -> list[str]:
        """The dotted fields that vary."""
        if self.search:
            return list(self.search["ranges"])
        return list(dict.fromkeys(key for grid in self.facts.get("grids", []) for key in grid))

    @cached_property
    def own_runs(self) -> list[Run]:
        """The runs that were queued for it, the oldest first."""
        return self._runs.by_plan.get(self.plan_id, [])

    @cached_property
    def _runs(self) -> StoreRuns:
        return self.store_runs or StoreRuns(self.store)

    @cached_property
    def members(self) -> list[Member]:
        """The runs that it needs, in the order of the queue; of a search, those of its trials."""
        if self.search:
            return self._tried()
        own: dict[str, Run] = {}
        for run in self.own_runs:
            key = signature(run.config)
            own[key] = max(run, own.get(key, run), key=precedence)
        members = []
        for entry in self.facts.get("runs", []):
            config = read_config(entry["config"], f"the plan {self.plan_id}")
            # What it reuses may have been deleted, or cannot be read any more.
            counted = own.get(signature(config)) or self._runs.by_id.get(str(entry["reuses"]))
            members.append(Member(entry["changes"], config, counted))
        return members

    def _tried(self) -> list[Member]:
        """The runs of a search's trials, also those that `trials.json` does not list yet."""
        listed = [self._runs.by_id.get(trial["run"]) for trial in self.trials]
        listed_ids = {run.run_id for run in listed if run}
        unlisted = [run for run in self.own_runs if run.run_id not in listed_ids]
        return [
            Member({key: value_of(run.config, key) for key in self.varied}, run.config, run)
            for run in (*listed, *unlisted)
            if run is not None
        ]

    @property
    def n_runs(self) -> int:
        """How many runs it has in all."""
        return int(self.search["n_trials"]) if self.search else len(self.members)

    @property
    def n_over(self) -> int:
        """Runs that need nothing more; a search does not repeat those without a result."""
        return len(self.done) + (len(self.ended) if self.search else 0)

    @property
    def left_s(self) -> float | None:
        """Seconds until the last run ends; None while that is unknown or nothing runs."""
        return super().left_s if self.state == "running" else None

    @property
    def _n_to_come(self) -> int:
        return self.n_runs - self.n_over if self.search else len(self.active)

    @property
    def is_driven(self) -> bool:
        """Whether a process chooses further runs of a search."""
        return is_locked(self.folder / LOCK)

    @property
    def goes_on(self) -> bool:
        """Whether a run is at work or queued, or a search is being driven."""
        return bool(self.active) or self.is_driven

    @property
    def state(self) -> str:
        """`running`, `done`, `stopped` on request, or `incomplete`: runs are missing."""
        if self.goes_on:
            return "running"
        if self.n_over >= self.n_runs:
            return "done"
        return "stopped" if stop_asked(self.folder) else "incomplete"


def n_at_once(
    configs: Sequence[RunConfig], store: Path | None = None, on: Sequence[str] = ()
) -> int:
    """How many of these runs can train at the same time on this machine; or in the places `on`, of
    which a cluster gets as many as may wait there."""
    store = store or store_dir()
    known = profiles.profiles(store)
    ahead = [known[name].ahead for place in set(on) if (name := profiles.name_of(place)) in known]
    if on and "" not in on:
        return max(1, sum(ahead))
    gpus = hardware.accelerators()
    if gpus and any(config.device in ("auto", "cuda") for config in configs):
        return len(gpus) + sum(ahead)
    return slots.n_on_cpu(store) + sum(ahead)


def start(
    draft: Draft,
    store: Path | None = None,
    title: str = "",
    source: str = "",
    again: bool = False,
    facts: Mapping[str, Any] | None = None,
    on: Sequence[str] = (),
) -> Plan:
    """Writes a plan and queues its runs.

    Args:
        draft: The runs to train.
        store: The folder of runs.
        title: By default what varies.
        source: The table of a study that it repeats.
        again: Whether to train configurations again that are done or at work.
        facts: Further entries of `plan.json`.
        on: As `Plan.on`.

    Runs that would fail are left out.

    Raises:
        UsageError: All would fail, or there is no such place; nothing is written.
        GenrecoreError: The store cannot be written.
    """
    same = [None] * len(draft.configs) if again else find_same(draft.configs, store)
    existing = dict(zip(map(signature, draft.configs), same, strict=True))
    draft = draft.trainable(same)
    same = [existing[signature(config)] for config in draft.configs]
    content = {
        "grids": [{key: list(values) for key, values in grid.items()} for grid in draft.grids],
        "runs": [
            {
                "changes": dict(change),
                "config": config.model_dump(),
                "reuses": run.run_id if run else "",
            }
            for change, config, run in zip(draft.changes, draft.configs, same, strict=True)
        ],
        "left_out": [*draft.left_out, *draft.refused],
        **(facts or {}),
    }
    plan = write(draft.base, title or draft.title, content, store, source, on)
    queue_missing(plan)
    return Plan(plan.folder)


def write(
    base: RunConfig,
    title: str,
    facts: Mapping[str, Any],
    store: Path | None = None,
    source: str = "",
    on: Sequence[str] = (),
) -> Plan:
    """Writes the folder of a new plan; it appears under its name when it is complete.

    Raises:
        UsageError: There is no such place.
        GenrecoreError: The store cannot be written.
    """
    for place in filter(None, on):
        profiles.find(place, store or store_dir())
    kind = "search" if "search" in facts else "plan"
    plan_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{kind}-{secrets.token_hex(2)}"
    folder = (store or store_dir()) / ".plans" / plan_id
    head = {"title": title, "source": source, "made_at": time.time(), "base": base.model_dump()}
    head |= {"on": list(on)} if any(on) else {}
    try:
        with new_folder(folder) as hidden:
            write_json(hidden / "plan.json", {**head, **facts})
            with held(hidden / LOCK):  # refused where the store has no locks
                pass
    except OSError as error:
        raise GenrecoreError(f"The store cannot take a new plan: {describe(error)}") from None
    return Plan(folder)


@in_a_sentence("The plan cannot be queued")
def queue_missing(plan: Plan) -> list[Run]:
    """Queues the missing runs; stopped, failed and lost runs go on from their checkpoints, save
    those that would fail again. Members with the same configuration share a run.

    Raises:
        GenrecoreError: It is a search, a missing run would fail, or the store cannot be written.
    """
    if plan.search:
        raise GenrecoreError(
            f"The plan {plan.plan_id} is a search, which chooses its runs itself; continue it "
            f"with: genrecore plans resume {plan.plan_id}"
        )
    queued = []
    with held(plan.folder / LOCK, patience_s=60.0) as acquired:
        if not acquired:
            raise GenrecoreError(f"Another process is queueing the plan {plan.plan_id}.")
        (plan.folder / STOP).unlink(missing_ok=True)
        plan = Plan(plan.folder)
        members = plan.members
        numbers = itertools.count(len(plan.own_runs))
        for member in {signature(member.config): member for member in members}.values():
            if stop_asked(plan.folder):
                break
            if member.run is None:
                on = plan.place_of(next(numbers))
                queued.append(jobs.submit(member.config, plan.store, plan=plan.plan_id, on=on))
            elif member.state in ("stopped", "failed", "lost") and not fails_again(member.run):
                jobs.resume(member.run)
                queued.append(Run(member.run.folder))
    return queued


@in_a_sentence("The plan cannot be stopped")
def stop(plan: Plan) -> str:
    """Takes the plan's queued runs out of the queue and asks those at work to stop, but not earlier
    runs that it reuses. Returns a sentence with the numbers.

    Raises:
        GenrecoreError: The plan has ended.
    """
    if plan.state not in ("running", "incomplete"):
        raise GenrecoreError(f"The plan {plan.plan_id} has ended already: {plan.state}.")
    ask_to_stop(plan.folder)
    n_waiting, n_working = plan.stop_runs(plan.plan_id)
    return (
        f"The plan is stopped: {plural(n_waiting, 'run')} taken out of the queue, "
        f"{plural(n_working, 'run')} asked to stop; what is done stays."
    )


def all_plans(store: Path | None = None) -> list[Plan]:
    """Every plan of the store, the newest first."""
    folder = (store or store_dir()) / ".plans"
    try:
        names = sorted(os.listdir(folder), reverse=True)
    except OSError:
        return []
    store_runs = StoreRuns(folder.parent)
    return [
        Plan(folder / name, store_runs)
        for name in names
        if not name.startswith(".") and any(map(os.path.lexists, _files(folder / name)))
    ]


def _files(folder: Path) -> list[Path]:
    return [folder / name for name in LISTED]


def find_plan(name: str, store: Path | None = None) -> Plan:
    """The plan of this id, of an unambiguous part of it, or the `latest`.

    Raises:
        UsageError: There is none, or there are several.
    """
    plans = all_plans(store)
    shown = [plan for plan in plans if visible_line(plan.plan_id) == name != plan.plan_id]
    return shown[0] if shown else find_by_id(name, plans, "plan", store or store_dir())
