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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrecore.config import run as configuration
from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError, UsageError
from genrecore.evaluation.metrics import noun, watched
from genrecore.experiments import estimates
from genrecore.experiments import plan as plans
from genrecore.experiments import results as plan_results
from genrecore.experiments import values as plan_values
from genrecore.experiments.plan import PRUNED, Plan
from genrecore.experiments.search_ranges import Range, Ranges, Way, check, ranges_of, way_of
from genrecore.jobs import actions as jobs
from genrecore.store import run as runs
from genrecore.store.files import read_json, write_json
from genrecore.store.locks import LOCK, held
from genrecore.store.progress import Phase, Report, Stopped, silent
from genrecore.store.run import Run
from genrecore.store.status import STOP, stop_asked

if TYPE_CHECKING:
    import optuna

SAMPLERS = ("random", "tpe")
PRUNERS = ("none", "median", "hyperband")
_LOOK_EVERY_S = 0.3


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
    named = ", ".join(plan_values.name_of(dotted) for dotted in ranges)
    written = {
        dotted: {"low": given.low, "high": given.high, "log": given.log, "whole": given.whole}
        if isinstance(given, Range)
        else list(given)
        for dotted, given in ranges.items()
    }
    facts = {"search": {**way.__dict__, "ranges": written}}
    model = "" if "model" in ranges else f" · {base.model.name}"
    words = title or f"{kind}: {named}{model} · {base.dataset.name}"
    plan = plans.write(base, words, facts, store)
    _study(plan)
    return plan


def start(plan: Plan) -> jobs.Task:
    """Drives a search in a process of its own, as a task.

    Raises:
        GenrecoreError: It is at work or over, or the task cannot be started.
    """
    if plan.is_driven:
        raise GenrecoreError(f"The search {plan.plan_id} is at work already.")
    unstop(plan)
    return jobs.start_task(["plans", "drive", str(plan.folder)], f"Search: {plan.title}")


def what_went_wrong(plan: Plan) -> str:
    """Why the task that drove a search last ended early, as a sentence; empty where it did not."""
    for task in jobs.tasks():
        if task.status.get("arguments") == ["plans", "drive", str(plan.folder)]:
            if task.state == "lost":
                return "Its process was killed, or the machine went down."
            return str(task.status.get("reason", "")) if task.state == "failed" else ""
    return ""


def unstop(plan: Plan) -> None:
    """Withdraws the request to stop a search."""
    (plan.folder / STOP).unlink(missing_ok=True)


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
    with held(plan.folder / LOCK, patience_s=1.0) as mine:
        if not mine:
            raise GenrecoreError(f"The search {plan.plan_id} is at work already.")
        driver = _Driver(plan)
        while driver.look():
            best = driver.best_words()
            try:
                phase = Phase.SEARCHING.on(best) if best else Phase.SEARCHING
                report(phase, driver.n_over, driver.way.n_trials)
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
        self.n_slots = estimates.n_slots([self.base], plan.store)
        self._written = ""
        self._adopt()

    @property
    def n_over(self) -> int:
        """Trials that have ended, in whatever way."""
        return sum(trial.state.is_finished() for trial in self._counted())

    def best_words(self) -> str:
        """`best validation accuracy 81.0 %`, or nothing yet."""
        from optuna.trial import TrialState

        values = [
            trial.value
            for trial in self._counted()
            if trial.state == TrialState.COMPLETE and trial.value is not None
        ]
        if not values:
            return ""
        metric = watched(self.watch)
        best = max(values) if metric.facts.higher_is_better else min(values)
        return f"best validation {noun(metric)} {metric.facts.written(best)}"

    def look(self) -> bool:
        """One look at everything; returns whether anything is left to do."""
        for trial in self._counted():
            if not trial.state.is_finished():
                self._follow(trial)
        asked = stop_asked(self.plan.folder)
        while not asked and self._wants_more():
            self._ask()
        if asked:
            plans.stop_runs(Plan(self.plan.folder))  # one may have been queued just meanwhile
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

        from genrecore.training.resolve import resolve

        # A sampler of its own for each trial: after a restart the draws go on, not over.
        self.study.sampler = _sampler(self.way, len(self.study.get_trials(deepcopy=False)))
        trial = self.study.ask(_distributions(self.ranges))
        try:
            config = resolve(plan_values.applied(self.base, trial.params)).config
        except UsageError as error:
            trial.set_user_attr("reason", str(error))
            self.study.tell(trial, state=TrialState.FAIL)
            return
        there = runs.find_same([config], self.plan.store)[0]
        run = there or jobs.submit(config, self.plan.store, plan=self.plan.plan_id)
        trial.set_user_attr("run", run.run_id)

    def _adopt(self) -> None:
        """Trials that a killed driver left between asking and queueing: given the run that was
        queued for them, or failed."""
        from optuna.trial import Trial, TrialState

        from genrecore.training.resolve import resolve

        taken = {t.user_attrs.get("run") for t in self._counted()}
        for frozen in self._counted():
            if frozen.state.is_finished() or "run" in frozen.user_attrs:
                continue
            trial = Trial(self.study, frozen._trial_id)
            config = resolve(plan_values.applied(self.base, frozen.params)).config
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

        value = plan_results.score(run, self.watch)
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
            write_json(self.plan.folder / "trials.json", {"trials": listed})
            self._written = repr(listed)


def trials(plan: Plan) -> list[dict[str, Any]]:
    """The trials of a search as its driver last wrote them: `number, params, run, state, reason`,
    with Optuna's states (running, complete, pruned, fail)."""
    return list(read_json(plan.folder / "trials.json").get("trials", []))


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
        direction="maximize"
        if watched(plan.base.training.watch).facts.higher_is_better
        else "minimize",
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
