"""Searches: plans whose runs Optuna chooses, at random or by what earlier ones scored (TPE).

A trial is a run like any other, queued through `jobs`. What a search maximises is the best
validation score; the test clips are never looked at. Trials are kept in `study.db` in the plan's
folder, a study that Optuna's own dashboard opens. Whoever drives a search holds the plan's lock;
killed and started anew, it goes on with the same study: a trial under way is adopted by its run.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genrecore import config as configuration
from genrecore import estimates, jobfolder, jobs, leaklab, plans
from genrecore.config import RunConfig
from genrecore.errors import GenrecoreError, UsageError
from genrecore.plans import PRUNED, Plan
from genrecore.progress import Report, Stopped, silent
from genrecore.runs import Run

if TYPE_CHECKING:
    import optuna

SAMPLERS = ("random", "tpe")
PRUNERS = ("none", "median", "hyperband")
_LOOK_EVERY_S = 0.3
# Scores on other music, or on other clips of it, do not compare; and a lucky seed is no setting.
_NOT_SEARCHED = ("dataset", "genres", "split", "split_seed", "fold", "seed", "device", "processes",
                 "allow_leaks")  # fmt: skip
_NOT_SEARCHED_IN = ("training.watch", "training.choose_epoch")
_WITHOUT_VALIDATION = ("ratio_8_2", "qin")


@dataclass(frozen=True)
class Range:
    """Every number between two, both included.

    Attributes:
        low: The smallest.
        high: The largest.
        log: Whether each factor of ten gets as many trials.
        whole: Whether only whole numbers count.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @property
    def words(self) -> str:
        """As it is typed."""
        return f"{self.low:g}..{self.high:g}{':log' if self.log else ''}"


Ranges = Mapping[str, Range | Sequence[Any]]
"""By dotted field a range, or a list of which one is taken."""


@dataclass(frozen=True)
class Way:
    """How a search chooses.

    Attributes:
        sampler: `random`, or `tpe` (tree-structured Parzen estimators, Bergstra 2011).
        n_trials: How many runs it tries.
        pruner: `none`, `median` (ended where the score is below the median of earlier trials at
            the same epoch) or `hyperband` (Li 2018).
        seed: Of the sampler.
    """

    sampler: Literal["random", "tpe"] = "tpe"
    n_trials: int = 20
    pruner: Literal["none", "median", "hyperband"] = "none"
    seed: int = 0


def read_range(text: str, kind: Any = None) -> Range | list[Any]:
    """A range (`1e-5..1e-2:log`, `2..6`) or a list of values, as `plans.read_values` reads one.

    Args:
        text: As typed.
        kind: The field's type; whole numbers are searched only where it holds whole numbers.

    Raises:
        UsageError: What is wrong with it.
    """
    given = text.strip()
    if ".." not in given or given[:1] in "[|" or kind is str:
        return plans.read_values(given, kind)
    span, _, way = given.partition(":")
    low_text, _, high_text = span.partition("..")
    try:
        low, high = float(low_text), float(high_text)
    except ValueError:
        low = high = math.nan
    if not low < high or not math.isfinite(low + high) or way.strip() not in ("", "log"):
        raise UsageError(
            f"{given} is no range; a range is low..high with numbers, the lower one first, e.g. "
            "2..6, or 1e-5..1e-2:log for one in factors."
        )
    if way and low <= 0:
        raise UsageError(f"{given} begins at {low:g}; a logarithmic range begins above 0.")
    whole = kind is int or (kind is None and low_text.strip().isdecimal() and low.is_integer())
    if whole and not (low.is_integer() and high.is_integer()):
        raise UsageError(f"{given} has fractions, but the field takes whole numbers.")
    return Range(low, high, bool(way), whole)


def read_all(base: RunConfig, texts: Mapping[str, Any]) -> tuple[RunConfig, dict[str, Any]]:
    """Base and ranges of what was typed: one value goes into the base, others are searched.

    Raises:
        UsageError: As `read_range`.
    """
    models = [one.strip() for one in str(texts.get("model", "")).split(",") if one.strip()]
    single: dict[str, Any] = {}
    ranges: dict[str, Any] = {}
    for dotted, text in texts.items():
        try:
            kind = plans.kind_of(dotted, base, models)
            given = read_range(text, kind) if isinstance(text, str) else [text]
        except UsageError as error:
            raise UsageError(f"{dotted}: {error}") from None
        if isinstance(given, list) and len(given) == 1:
            single[dotted] = given[0]
        else:
            ranges[dotted] = given
    return configuration.with_values(base, single), ranges


def typical(base: RunConfig, ranges: Ranges) -> RunConfig:
    """A configuration from the middle of the ranges, to judge how long a trial takes."""
    middle: dict[str, Any] = {}
    for dotted, given in ranges.items():
        if isinstance(given, Range):
            low, high = given.low, given.high
            value = math.sqrt(low * high) if given.log else (low + high) / 2
            middle[dotted] = round(value) if given.whole else value
        else:
            middle[dotted] = given[len(given) // 2]
    for dotted in [*middle]:  # an option of a model that is not in the middle
        if dotted.startswith("model.") and _refused(base, middle):
            del middle[dotted]
    return configuration.with_values(base, middle)


def range_words(given: Range | Sequence[Any]) -> str:
    """A range or a list as it is typed."""
    return given.words if isinstance(given, Range) else ", ".join(map(plans.shown, given))


def check(base: RunConfig, ranges: Ranges, way: Way) -> RunConfig:
    """The base, with what cannot be searched refused. Imports torch.

    Raises:
        UsageError: In one sentence, what.
    """
    if not ranges:
        raise UsageError("A search needs a setting to vary, e.g. --lr 1e-5..1e-2:log.")
    if way.n_trials < 1:
        raise UsageError(f"A search needs at least one trial; found {way.n_trials}.")
    for dotted in ranges:
        if dotted.partition(".")[0] in _NOT_SEARCHED or dotted in _NOT_SEARCHED_IN:
            raise UsageError(
                f"A search does not vary {dotted}: scores would not compare. Give it one value, or "
                "make a plan of every combination."
            )
    if base.split.name in _WITHOUT_VALIDATION:
        raise UsageError(
            f"A search judges by validation clips, and the split {base.split.name} has none; "
            "choose another split."
        )
    ends = {
        dotted: [_number(given, given.low), _number(given, given.high)]
        if isinstance(given, Range)
        else list(given)
        for dotted, given in ranges.items()
    }
    # Each value on its own, since an option may belong to one of several models only.
    for dotted, values in ends.items():
        models = ends.get("model", [base.model.name]) if dotted != "model" else [None]
        for value in values:
            refused = [
                _refused(base, ({"model": model} if model else {}) | {dotted: value})
                for model in models
            ]
            if all(refused):
                raise UsageError(f"{plans.in_words({dotted: value})}: {refused[0]}")
    return base


def _refused(base: RunConfig, changes: Mapping[str, Any]) -> str:
    """Why these values cannot be trained; empty where they can."""
    from genrecore import classifier

    try:
        classifier.resolve(configuration.with_values(base, dict(changes)))
    except UsageError as error:
        return str(error)
    return ""


def _number(given: Range, value: float) -> float | int:
    return int(value) if given.whole else value


def create(
    base: RunConfig, ranges: Ranges, way: Way, store: Path | None = None, title: str = ""
) -> Plan:
    """The plan of a search, with its empty study. Nobody drives it yet. Imports torch.

    Raises:
        UsageError: What `check` refuses.
        GenrecoreError: The store cannot be written.
    """
    base = check(base, ranges, way)
    kind = {"random": "Random search", "tpe": "TPE search"}[way.sampler]
    named = ", ".join(plans.name_of(dotted) for dotted in ranges)
    written = {
        dotted: {"low": given.low, "high": given.high, "log": given.log, "whole": given.whole}
        if isinstance(given, Range)
        else list(given)
        for dotted, given in ranges.items()
    }
    facts = {"search": {**way.__dict__, "ranges": written}}
    model = "" if "model" in ranges else f"{base.model.name} · "
    words = title or f"{model}{kind} over {named} · {base.dataset.name}"
    plan = plans.write(base, words, facts, store)
    _study(plan)
    return plan


def ranges_of(plan: Plan) -> dict[str, Range | list[Any]]:
    """What a search's plan says of its ranges."""
    return {
        dotted: Range(**given) if isinstance(given, dict) else list(given)
        for dotted, given in plan.search["ranges"].items()
    }


def way_of(plan: Plan) -> Way:
    """How a search's plan says it chooses."""
    return Way(**{key: value for key, value in plan.search.items() if key != "ranges"})


def start(plan: Plan) -> jobs.Task:
    """Drives a search in a process of its own, as a task.

    Raises:
        GenrecoreError: It is at work or over, or the task cannot be started.
    """
    if plan.is_driven:
        raise GenrecoreError(f"The search {plan.plan_id} is at work already.")
    unstop(plan)
    return jobs.start_task(["plans", "drive", str(plan.folder)], f"Search: {plan.title}")


def unstop(plan: Plan) -> None:
    """Withdraws the request to stop a search."""
    (plan.folder / jobfolder.STOP).unlink(missing_ok=True)


def drive(plan: Plan, report: Report = silent) -> Plan:
    """Tries runs until as many trials as planned are over, or a stop was asked for.

    As many runs are under way as the machine takes at the same time. Can be killed at any moment
    and called again.

    Args:
        plan: Of a search.
        report: Told of the trials that are over.

    Raises:
        GenrecoreError: Somebody else drives it, or a run cannot be queued.
    """
    if not plan.search:
        raise GenrecoreError(f"The plan {plan.plan_id} is no search: it names all its runs.")
    with jobfolder.held(plan.folder / jobfolder.LOCK, patience_s=1.0) as mine:
        if not mine:
            raise GenrecoreError(f"The search {plan.plan_id} is at work already.")
        driver = _Driver(plan)
        while driver.look():
            best = driver.best_words()
            try:
                report(f"Searching{best}", driver.n_over, driver.way.n_trials)
            except Stopped:
                plans.stop(Plan(plan.folder))
                driver.look()
                raise
            time.sleep(_LOOK_EVERY_S)
    return Plan(plan.folder)


class _Driver:
    """The trials of one search and the runs that carry them out."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.way, self.ranges = plan, way_of(plan), ranges_of(plan)
        self.base = plan.base
        self.watch = self.base.training.watch
        self.study = _study(plan)
        self.n_slots = estimates.n_slots([self.base])
        self._written = ""
        self._adopt()

    @property
    def n_over(self) -> int:
        """Trials that have ended, in whatever way."""
        return sum(trial.state.is_finished() for trial in self._counted())

    def best_words(self) -> str:
        """`: best validation accuracy 0.81`, or nothing yet."""
        from optuna.trial import TrialState

        values = [
            trial.value
            for trial in self._counted()
            if trial.state == TrialState.COMPLETE and trial.value is not None
        ]
        if not values:
            return ""
        best = min(values) if self.watch == "loss" else max(values)
        return f": best validation {self.watch.replace('_', ' ')} {best:.3f}"

    def look(self) -> bool:
        """One look at everything; returns whether anything is left to do."""
        for trial in self._counted():
            if not trial.state.is_finished():
                self._follow(trial)
        asked = jobfolder.stop_asked(self.plan.folder)
        while not asked and self._wants_more():
            self._ask()
        self._write()
        at_work = any(not trial.state.is_finished() for trial in self._counted())
        return at_work or (not asked and len(self._counted()) < self.way.n_trials)

    def _counted(self) -> list[optuna.trial.FrozenTrial]:
        """Trials but those that a killed driver left without a run: they were never tried."""
        trials = self.study.get_trials(deepcopy=False)
        return [trial for trial in trials if not trial.user_attrs.get("never_begun")]

    def _wants_more(self) -> bool:
        counted = self._counted()
        at_work = sum(not trial.state.is_finished() for trial in counted)
        return len(counted) < self.way.n_trials and at_work < self.n_slots

    def _ask(self) -> None:
        """A new trial and its run."""
        from optuna.trial import TrialState

        from genrecore import classifier

        # A sampler of its own for each trial: after a restart the draws go on, not over.
        self.study.sampler = _sampler(self.way, len(self.study.get_trials(deepcopy=False)))
        trial = self.study.ask(_distributions(self.ranges))
        try:
            config = classifier.resolve(configuration.with_values(self.base, dict(trial.params)))
        except UsageError as error:
            trial.set_user_attr("reason", str(error))
            self.study.tell(trial, state=TrialState.FAIL)
            return
        there = leaklab.present([config], self.plan.store)[0]
        run = there or jobs.submit(config, self.plan.store, plan=self.plan.plan_id)
        trial.set_user_attr("run", run.run_id)

    def _adopt(self) -> None:
        """Trials that a killed driver left between asking and queueing: given the run that was
        queued for them, or failed."""
        from optuna.trial import Trial, TrialState

        from genrecore import classifier

        taken = {t.user_attrs.get("run") for t in self._counted()}
        for frozen in self._counted():
            if frozen.state.is_finished() or "run" in frozen.user_attrs:
                continue
            trial = Trial(self.study, frozen._trial_id)
            config = classifier.resolve(configuration.with_values(self.base, dict(frozen.params)))
            wanted = configuration.signature(config)
            for run in self.plan.own_runs:
                if run.run_id not in taken and configuration.signature(run.config) == wanted:
                    trial.set_user_attr("run", run.run_id)
                    break
            else:
                trial.set_user_attr("never_begun", True)
                trial.set_user_attr("reason", "the search was ended before its run was queued")
                self.study.tell(trial, state=TrialState.FAIL)

    def _follow(self, frozen: optuna.trial.FrozenTrial) -> None:
        """Reports the epochs of a trial's run; prunes it or tells how it ended."""
        from optuna.trial import Trial, TrialState

        trial = Trial(self.study, frozen._trial_id)
        run = Run(self.plan.store / str(frozen.user_attrs["run"]))
        if not (run.folder / "config.json").is_file():
            trial.set_user_attr("reason", "its run was deleted")
            self.study.tell(trial, state=TrialState.FAIL)
            return
        state = run.state  # before the history: what is over says everything
        column = f"valid_{self.watch}"
        prune = PRUNED in frozen.user_attrs
        reported = set(frozen.intermediate_values)
        for row in run.history.to_dict("records"):
            epoch, value = int(row["epoch"]), row.get(column, math.nan)
            if epoch not in reported and not math.isnan(value):
                trial.report(float(value), epoch)
                prune = prune or trial.should_prune()
        if state in ("done", "stopped", "failed", "lost"):
            self._tell(trial, run, state)
        elif prune and state != "stopping" and run.plan == self.plan.plan_id:
            trial.set_user_attr(PRUNED, True)  # first: a driver killed here asks once more
            with contextlib.suppress(GenrecoreError):  # it ended in between: the next look says how
                jobs.stop(run, reason=PRUNED)

    def _tell(self, trial: optuna.Trial, run: Run, state: str) -> None:
        from optuna.trial import TrialState

        value = plans.score(run, self.watch)
        if state == "done" and not math.isnan(value):
            self.study.tell(trial, value)
        elif state == "stopped" and trial.user_attrs.get(PRUNED):
            trial.set_user_attr("reason", PRUNED)
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            reason = "it has no validation clips" if state == "done" else run.reason
            trial.set_user_attr("reason", f"{state}: {reason}")
            self.study.tell(trial, state=TrialState.FAIL)

    def _write(self) -> None:
        """`trials.json`: the study for readers without Optuna."""
        listed = [
            {
                "number": trial.number,
                "params": dict(trial.params),
                "run": str(trial.user_attrs.get("run", "")),
                "state": trial.state.name.lower(),
                "reason": str(trial.user_attrs.get("reason", "")),
            }
            for trial in self.study.get_trials(deepcopy=False)
        ]
        if repr(listed) != self._written:
            jobfolder.write_json(self.plan.folder / "trials.json", {"trials": listed})
            self._written = repr(listed)


def trials(plan: Plan) -> list[dict[str, Any]]:
    """The trials of a search as its driver last wrote them: `number, params, run, state, reason`,
    with Optuna's states (running, complete, pruned, fail)."""
    return list(jobfolder.read_json(plan.folder / "trials.json").get("trials", []))


def _study(plan: Plan) -> optuna.Study:
    """The study in the plan's folder, made if it is not there yet."""
    import optuna
    from optuna.storages import RDBStorage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    way = way_of(plan)
    storage = RDBStorage(
        f"sqlite:///{plan.folder / 'study.db'}",
        engine_kwargs={"connect_args": {"timeout": 30}},  # seconds, while a dashboard reads
    )
    return optuna.create_study(
        study_name=plan.plan_id,
        storage=storage,
        direction="minimize" if plan.base.training.watch == "loss" else "maximize",
        pruner=_pruner(way, plan.base.training.epochs),
        load_if_exists=True,
    )


def _sampler(way: Way, number: int) -> optuna.samplers.BaseSampler:
    from optuna.samplers import RandomSampler, TPESampler

    seed = way.seed * 1_000_003 + number
    if way.sampler == "random":
        return RandomSampler(seed=seed)
    # Optuna's ten random trials first are too many of a short search.
    return TPESampler(seed=seed, n_startup_trials=max(3, min(10, way.n_trials // 4)))


def _pruner(way: Way, n_epochs: int) -> optuna.pruners.BasePruner:
    from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

    if way.pruner == "median":
        # Three trials make a median; nobody is judged by the first tenth of the epochs.
        warm = max(1, n_epochs // 10)
        return MedianPruner(n_startup_trials=max(2, min(5, way.n_trials // 4)), n_warmup_steps=warm)
    if way.pruner == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=n_epochs, reduction_factor=3)
    return NopPruner()


def _distributions(ranges: Ranges) -> dict[str, Any]:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    found: dict[str, Any] = {}
    for dotted, given in ranges.items():
        if not isinstance(given, Range):
            found[dotted] = CategoricalDistribution(list(given))
        elif given.whole:
            found[dotted] = IntDistribution(int(given.low), int(given.high), log=given.log)
        else:
            found[dotted] = FloatDistribution(given.low, given.high, log=given.log)
    return found


def pruned(run: Run) -> bool:
    """Whether a search ended this run because others did better."""
    return run.state == "stopped" and run.reason == PRUNED


def left(plan: Plan) -> int:
    """Trials that a search has not begun yet."""
    begun = [trial for trial in trials(plan) if trial["run"] or trial["state"] != "running"]
    known = {trial["run"] for trial in begun}
    unlisted = [run for run in plan.own_runs if run.run_id not in known]
    return max(0, plan.n_runs - len(begun) - len(unlisted))
