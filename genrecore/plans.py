"""Plans: every combination of the values given for some settings is a run, queued all at once.

A plan is a folder of the store, `.plans/<plan id>/`, written before its first run is queued:

| file | what |
|---|---|
| `plan.json` | title, base configuration, what varies, the runs wanted, the combinations left out |
| `study.db` | of a search: its trials, as Optuna keeps them (`genrecore.search`) |
| `trials.json` | of a search: the same for readers, rewritten whenever a trial changes |
| `lock`, `stop` | held by whoever queues its runs; present when its end was asked for |

How far it is, is read from its runs: those that were queued for it, and those that were there
already with the same configuration. Importing this imports no torch; drafting a plan does.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import secrets
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from genrecore import config as configuration
from genrecore import jobfolder, jobs, leaklab, runs, splits
from genrecore.config import RunConfig
from genrecore.errors import GenrecoreError, UsageError
from genrecore.runs import Run

MOST_RUNS = 2000
STOPPED = "its plan was stopped"
PRUNED = "pruned"
"""Reasons of runs that a plan, or a search, ended."""

Grid = Mapping[str, Sequence[Any]]
"""Values by dotted field; each combination is a run."""

# What repeats a system varies slowest, so that every system has one result before any has two.
_REPEATS = ("split_seed", "fold", "seed")


@dataclass(frozen=True)
class Draft:
    """What a plan will be; nothing is written yet.

    Attributes:
        base: What all its runs start from.
        grids: What varies; one, or several for tables that are no full product.
        changes: What each run changes in the base.
        configs: The runs, resolved, no two alike.
        left_out: A sentence for each combination that cannot be trained, or that is there twice.
    """

    base: RunConfig
    grids: Sequence[Grid]
    changes: Sequence[Mapping[str, Any]]
    configs: Sequence[RunConfig]
    left_out: Sequence[str]


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


@dataclass(frozen=True)
class Plan:
    """A plan's folder; each instance is a snapshot of the moment it was read."""

    folder: Path

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
        return jobfolder.read_json(self.folder / "plan.json")

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
        return configuration.read(self.facts.get("base", {}), f"the plan {self.plan_id}")

    @property
    def varied(self) -> list[str]:
        """The dotted fields that vary."""
        if self.search:
            return list(self.search["ranges"])
        return list(dict.fromkeys(key for grid in self.facts.get("grids", []) for key in grid))

    @cached_property
    def own_runs(self) -> list[Run]:
        """The runs that were queued for it, the oldest first."""
        return [run for run in reversed(runs.all_runs(self.store)) if run.plan == self.plan_id]

    @cached_property
    def members(self) -> list[Member]:
        """The runs it wants, in the order in which they are queued; of a search, those it tried."""
        if self.search:
            return self._tried()
        own: dict[str, Run] = {}
        for run in self.own_runs:
            key = configuration.signature(run.config)
            own[key] = max(run, own.get(key, run), key=_counts)
        found = []
        for wanted in self.facts.get("runs", []):
            config = configuration.read(wanted["config"], f"the plan {self.plan_id}")
            mine = own.get(configuration.signature(config))
            there = mine or self._elsewhere(str(wanted["reuses"]))
            found.append(Member(wanted["changes"], config, there))
        return found

    def _tried(self) -> list[Member]:
        """A search's trials that have a run, and runs that no trial is known of yet."""
        listed = jobfolder.read_json(self.folder / "trials.json").get("trials", [])
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
        return jobfolder.is_locked(self.folder / jobfolder.LOCK)

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
        return "stopped" if jobfolder.stop_asked(self.folder) else "incomplete"

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
        took = [took_s(one.run) for one in self.done if one.run]
        if not took and left:
            took = [took_s(run) + s for run, s in zip(live, left, strict=False)]
        if not took or self.state != "running":
            return None
        over = len(self.done) + (len(self.ended) if self.search else 0)
        n_waiting = (self.n_runs - over if self.search else len(self.active)) - len(left)
        rest_s = sum(left) + max(0, n_waiting) * statistics.median(took)
        return rest_s / max(1, len(live))


def took_s(run: Run) -> float:
    """Seconds for which a run has worked, its process's start and every part of it included."""
    total, since = 0.0, None
    for entry in run.status.get("states", []):
        if entry["state"] in runs.LIVE:
            since = entry["at"] if since is None else since
        elif since is not None:
            total, since = total + entry["at"] - since, None
    if since is not None:
        total += max(0.0, float(run.status.get("heartbeat") or since) - since)
    return total


def _counts(run: Run) -> tuple[int, str]:
    """Which run of several of one configuration counts, the largest: a finished one, one that works
    or waits, else the newest."""
    live = run.state in runs.LIVE or run.state == "queued"
    return (2 if run.state == "done" else 1 if live else 0, run.run_id)


def draft(base: RunConfig, grids: Sequence[Grid]) -> Draft:
    """Every combination, resolved; those that cannot be trained are left out and named.

    Imports torch.

    Raises:
        UsageError: There are no values or too many combinations, or none of them can be trained.
    """
    from genrecore import classifier

    n = sum(math.prod(len(values) for values in grid.values()) for grid in grids)
    if n > MOST_RUNS:
        raise UsageError(
            f"The plan has {n:,} combinations, and {MOST_RUNS:,} are the most; take fewer values, "
            "or let a search try some of them."
        )
    if n == 0:
        raise UsageError("A setting that varies needs at least one value.")
    changes: list[dict[str, Any]] = []
    configs: list[RunConfig] = []
    refused: dict[str, list[dict[str, Any]]] = {}
    seen: set[str] = set()
    resolved: dict[str, RunConfig | str] = {}
    for change in itertools.chain.from_iterable(map(_combinations, grids)):
        try:
            made = configuration.with_values(base, dict(change))
        except UsageError as error:
            refused.setdefault(str(error), []).append(change)
            continue
        # The seed decides nothing that could be refused.
        key = configuration.signature(made.model_copy(update={"seed": 0}))
        if key not in resolved:
            try:
                resolved[key] = classifier.resolve(made)
            except UsageError as error:
                resolved[key] = str(error)
        config = resolved[key]
        if isinstance(config, str):
            refused.setdefault(config, []).append(change)
            continue
        config = config.model_copy(update={"seed": made.seed})
        signature = configuration.signature(config)
        if signature in seen:
            refused.setdefault("It is the same as another run of the plan.", []).append(change)
            continue
        seen.add(signature)
        changes.append(change)
        configs.append(config)
    left_out = [_alike(found, reason) for reason, found in refused.items()]
    if not configs:
        raise UsageError(f"None of the {n} combinations can be trained. {left_out[0]}")
    return Draft(base, list(grids), changes, configs, left_out)


def _alike(refused: Sequence[Mapping[str, Any]], reason: str) -> str:
    """One sentence for combinations that are refused for the same reason: what they share."""
    first, n = refused[0], len(refused)
    shared = {key: v for key, v in first.items() if all(one.get(key) == v for one in refused)}
    return f"{in_words(shared)}{f' ({n} combinations)' if n > 1 else ''}: {reason}"


def _combinations(grid: Grid) -> Iterator[dict[str, Any]]:
    keys = [key for key in _REPEATS if key in grid] + [key for key in grid if key not in _REPEATS]
    for values in itertools.product(*(grid[key] for key in keys)):
        yield dict(zip(keys, values, strict=True))


def in_words(changes: Mapping[str, Any]) -> str:
    """`model cnn, learning rate 0.001`, for people; `the base` where nothing varies."""
    said = [f"{name_of(key)} {shown(value)}" for key, value in changes.items()]
    return ", ".join(said) or "the base"


def name_of(dotted: str) -> str:
    """A dotted field in words: `training.lr` is the learning rate."""
    first, _, rest = dotted.partition(".")
    field: Any = RunConfig.model_fields.get(first)
    inside = getattr(getattr(field, "annotation", None), "model_fields", {})
    if rest and rest in inside and first not in ("dataset", "split", "feature", "model"):
        field = inside[rest]
    elif rest:
        return f"{first} {rest.removeprefix('options.').replace('_', ' ')}"
    return str(field.title or dotted).lower() if field else dotted


def shown(value: Any) -> str:
    """A value as a person writes it."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def title_of(base: RunConfig, grids: Sequence[Grid]) -> str:
    """A plan in short: what varies how often, and on which data."""
    counts: dict[str, int] = {}
    for key in dict.fromkeys(key for grid in grids for key in grid):
        counts[key] = len({json.dumps(one) for grid in grids for one in grid.get(key, ())})
    said = [f"{n} × {name_of(key)}" for key, n in counts.items() if n > 1]
    if counts.get("model", 1) == 1:
        one = next((grid["model"][0] for grid in grids if grid.get("model")), base.model.name)
        said.insert(0, str(one))
    return " · ".join([", ".join(said), base.dataset.name])


def value_of(config: RunConfig, dotted: str) -> Any:
    """What a configuration has in a dotted field; None for an option left at its default."""
    value: Any = config
    for place, part in enumerate(dotted.split(".")):
        if isinstance(value, configuration.Part):
            return value.name if part == "name" else value.options.get(part)
        if isinstance(value, tuple):  # augmentations, by name
            rest = dotted.split(".")[place:]
            found = next((one for one in value if one.name == rest[0]), None)
            return found.options.get(rest[-1]) if found else None
        value = getattr(value, part)
    if isinstance(value, configuration.Part):
        return value.name
    if isinstance(value, tuple):
        return ",".join(one.name for one in value)
    return value


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
    there = [None] * len(made.configs) if again else leaklab.present(made.configs, store)
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
    plan = write(made.base, title or title_of(made.base, made.grids), facts, store, source)
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
    hidden = folder / f".new-{plan_id}"
    try:
        hidden.mkdir(parents=True)
        jobfolder.write_json(hidden / "plan.json", {**said, **facts})
        (hidden / jobfolder.LOCK).touch()
        hidden.rename(folder / plan_id)
    except OSError as error:
        raise GenrecoreError(
            f"The store cannot take a new plan: {jobfolder.in_words(error)}"
        ) from None
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
    with jobfolder.held(plan.folder / jobfolder.LOCK, patience_s=60.0) as mine:
        if not mine:
            raise GenrecoreError(f"Somebody else is queueing the plan {plan.plan_id}.")
        (plan.folder / jobfolder.STOP).unlink(missing_ok=True)
        for one in Plan(plan.folder).members:
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
    jobfolder.ask_to_stop(plan.folder)
    own = [one.run for one in plan.active if one.run and one.run.plan == plan.plan_id]
    n_waiting = n_working = 0
    # Those at work last: otherwise a waiting one takes the free place.
    for run in sorted(own, key=lambda one: one.state != "queued"):
        with contextlib.suppress(GenrecoreError):  # it ended by itself in between
            waiting = run.state == "queued"
            jobs.stop(run, reason=STOPPED)
            n_waiting, n_working = n_waiting + waiting, n_working + (not waiting)
    return (
        f"The plan is stopped: {_n_runs(n_waiting)} taken out of the queue, "
        f"{_n_runs(n_working)} asked to stop; what is done stays."
    )


def _n_runs(n: int) -> str:
    return f"{n} run{'s' if n != 1 else ''}"


def all_plans(store: Path | None = None) -> list[Plan]:
    """Every plan of the store, the newest first."""
    folder = (store or runs.store_dir()) / ".plans"
    try:
        names = sorted(os.listdir(folder), reverse=True)
    except OSError:
        return []
    return [
        Plan(folder / name)
        for name in names
        if not name.startswith(".") and (folder / name / "plan.json").is_file()
    ]


def find(name: str, store: Path | None = None) -> Plan:
    """The plan of this id, of an unambiguous part of it, or the `latest`.

    Raises:
        UsageError: There is none, or there are several.
    """
    found = all_plans(store)
    if name == "latest" and found:
        return found[0]
    exact = [plan for plan in found if plan.plan_id == name]
    matches = exact or [plan for plan in found if name and name in plan.plan_id]
    if len(matches) == 1:
        return matches[0]
    listed = ", ".join(plan.plan_id for plan in (matches or found)[:5]) or "none yet"
    if matches:
        raise UsageError(f"{name!r} could be any of {len(matches)} plans: {listed} …")
    raise UsageError(f"There is no plan {name!r} in {store or runs.store_dir()}; newest: {listed}.")


def score(run: Run, watch: str = "accuracy") -> float:
    """The best validation value of a run so far, by the metric that is watched; nan before its
    first epoch. The test clips are not looked at."""
    if watch == "accuracy" and run.status.get("best_valid_accuracy") is not None:
        return float(run.status["best_valid_accuracy"])
    column = f"valid_{watch}"
    if column not in run.history:
        return math.nan
    values = run.history[column].dropna()
    if values.empty:
        return math.nan
    return float(values.min() if watch == "loss" else values.max())


def best(plan: Plan, which: Literal["done", "members"] = "done") -> Member | None:
    """The member with the best validation score, or None before there is one."""
    watch = plan.base.training.watch
    scored = [
        (value, one)
        for one in getattr(plan, which)
        if one.run and not math.isnan(value := score(one.run, watch))
    ]
    if not scored:
        return None
    pick = min if watch == "loss" else max
    return pick(scored, key=lambda pair: pair[0])[1]


def in_short(plan: Plan) -> str:
    """How far a plan is, as a sentence."""
    words = f"{len(plan.done)} of {_n_runs(plan.n_runs)} done"
    for n, what in (
        (len(plan.active), "at work or waiting"),
        (sum(one.run is not None and one.run.reason == PRUNED for one in plan.ended), PRUNED),
        (
            sum(one.run is None or one.run.reason != PRUNED for one in plan.ended),
            "ended without a result",
        ),
    ):
        words += f", {n} {what}" if n else ""
    return f"{words}."


def table(plan: Plan) -> list[dict[str, Any]]:
    """A row a run: what it changes, its state and reason, epochs, and best validation score."""
    watch = plan.base.training.watch
    rows = []
    for one in plan.members:
        run = one.run
        rows.append(
            {
                **{key: one.changes.get(key) for key in plan.varied},
                "run": run.run_id if run else "",
                "state": one.state,
                "reason": run.reason if run else "",
                "epochs": f"{int(run.status.get('epoch') or 0)} of {run.n_epochs}" if run else "",
                "score": score(run, watch) if run else math.nan,
                "reused": bool(run and run.plan != plan.plan_id),
            }
        )
    return rows


def read_values(text: str, kind: Any = None) -> list[Any]:
    """The values that a text lists: commas between; `|` where values hold commas themselves; `0..4`
    is every whole number from 0 to 4; or a JSON list.

    Args:
        text: As typed.
        kind: The field's type, where it is known: free text is not cut at commas.

    Raises:
        UsageError: There is no value in it, or a range that is none.
    """
    text = text.strip()
    if text.startswith("["):
        try:
            listed = list(json.loads(text))
        except ValueError:
            raise UsageError(f"{text} is not a list in JSON, e.g. [1, 2].") from None
    elif "|" in text:
        listed = [_read(part, kind) for part in text.split("|") if part.strip()]
    elif kind is str:
        listed = [text]
    elif ".." in text and "," not in text:
        low, _, high = text.partition("..")
        if not (low.strip().isdecimal() and high.strip().isdecimal() and int(low) <= int(high)):
            raise UsageError(
                f"{text} is no range of whole numbers, e.g. 0..4; ranges of other numbers are for "
                "a search."
            )
        if int(high) - int(low) >= MOST_RUNS:
            raise UsageError(f"{text} has more than {MOST_RUNS:,} values; take fewer.")
        listed = list(range(int(low), int(high) + 1))
    else:
        listed = [_read(part, kind) for part in text.split(",") if part.strip()]
    if not listed:
        raise UsageError("There is no value given; list some with commas between.")
    unique = {json.dumps(value): value for value in listed}
    return list(unique.values())


def _read(text: str, kind: Any) -> Any:
    text = text.strip()
    if kind is str:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def read_all(base: RunConfig, texts: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The values of every field that was typed, by dotted field; `fold` may be `all`.

    Raises:
        UsageError: As `read_values`.
    """
    models = [one.strip() for one in str(texts.get("model", "")).split(",") if one.strip()]
    found: dict[str, list[Any]] = {}
    for dotted, text in texts.items():
        if not isinstance(text, str):
            found[dotted] = [text]
        elif dotted == "fold" and text.strip() == "all":
            found[dotted] = _all_folds(base, texts)
        else:
            try:
                found[dotted] = read_values(text, kind_of(dotted, base, models))
            except UsageError as error:
                raise UsageError(f"{dotted}: {error}") from None
    return found


def _all_folds(base: RunConfig, texts: Mapping[str, Any]) -> list[int]:
    given = {key: text for key, text in texts.items() if key.partition(".")[0] == "split"}
    split = configuration.with_values(base, given).split
    return list(range(splits.n_folds(split.name, split.options)))


def kind_of(dotted: str, base: RunConfig, models: Iterable[str] = ()) -> Any:
    """The type of a dotted field: int, float, str for free text, or None where nobody knows.

    Imports torch where the field is a part's option.

    Args:
        dotted: The field.
        base: Says which parts are chosen.
        models: Those that a plan varies.
    """
    first, _, rest = dotted.partition(".")
    if first == "augment":
        return str if not rest else None
    if first in ("dataset", "split", "feature", "standardise", "model"):
        if rest in ("", "name"):
            return None
        return _option_kind(first, rest.removeprefix("options."), base, models)
    value: Any = RunConfig.model_fields.get(first)
    kind = getattr(value, "annotation", None)
    inside = getattr(kind, "model_fields", {})
    if rest:
        kind = getattr(inside.get(rest), "annotation", None)
    return kind if kind in (int, float, str, bool) else None


def _option_kind(part: str, option: str, base: RunConfig, models: Iterable[str]) -> Any:
    from genrecore.datasets import DATASETS
    from genrecore.features import FEATURES, STANDARDISERS
    from genrecore.models import MODELS
    from genrecore.splits import SPLITS

    registries: dict[str, Any] = {
        "dataset": DATASETS,
        "split": SPLITS,
        "feature": FEATURES,
        "standardise": STANDARDISERS,
        "model": MODELS,
    }
    names = [getattr(base, part).name, *(models if part == "model" else ())]
    for name in names:
        if name in registries[part]:
            info = registries[part][name].options.model_fields.get(option)
            if info is not None and info.annotation in (int, float, str, bool):
                return info.annotation
    return None
