"""Searches: plans whose runs Optuna chooses, at random or by the scores of earlier ones (TPE).

A trial is a run like any other, queued through `jobs`. Only validation scores count; the test clips
take no part. The trials are in the plan's folder in `study.log`, which Optuna's dashboard opens.
The driver of a search holds the plan's lock. A driver that was killed and started again continues
the same study and finds the runs of its trials.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from genrecore.config.dotted import in_words, name_of
from genrecore.config.run import RunConfig, signature
from genrecore.data.splits import SPLITS
from genrecore.errors import GenrecoreError, UsageError, first_line
from genrecore.evaluation.metrics import noun, watched
from genrecore.experiments import plan as plans
from genrecore.experiments.draft import without_defaults
from genrecore.experiments.plan import PRUNED, Plan
from genrecore.experiments.results import score
from genrecore.experiments.values import Range, Ranges, applied
from genrecore.jobs import actions as jobs
from genrecore.store.files import Unreadable, open_regular, write_json
from genrecore.store.locks import LOCK, held
from genrecore.store.progress import Phase, Report, Stopped, silent
from genrecore.store.run import Run
from genrecore.store.runs import find_same
from genrecore.store.status import STOP, stop_asked

if TYPE_CHECKING:
    import optuna

T = TypeVar("T")
_LOOK_EVERY_S = 0.3
# Scores on other music or other clips are not comparable, and a seed must not be chosen by luck.
_NOT_SEARCHED = ("dataset", "genres", "split", "split_seed", "fold", "seed", "device", "processes",
                 "allow_leaks", "rehearsal", "standardise_on")  # fmt: skip
_STUDY, _OLD_STUDY = "study.log", "study.db"  # the latter of earlier versions
_NOT_SEARCHED_IN = ("training.watch", "training.choose_epoch", "training.ties")


@dataclass(frozen=True)
class Strategy:
    """How a search chooses.

    Attributes:
        sampler: `random`, or `tpe` (tree-structured Parzen estimators, Bergstra 2011).
        pruner: `none`, `median` (a run ends when its score is below the median of earlier trials
            at the same epoch) or `hyperband` (Li 2018).
        seed: Seed of the sampler.
    """

    sampler: Literal["random", "tpe"] = "tpe"
    n_trials: int = 20
    pruner: Literal["none", "median", "hyperband"] = "none"
    seed: int = 0


def may_vary(dotted: str) -> bool:
    """Whether a search may choose a field: scores of all its values must be comparable."""
    return dotted.partition(".")[0] not in _NOT_SEARCHED and dotted not in _NOT_SEARCHED_IN


def check(base: RunConfig, ranges: Ranges, strategy: Strategy) -> RunConfig:
    """Refuses what cannot be searched or trained; returns the base without defaults, with the best
    split in the place of `auto`. Imports torch.

    Raises:
        UsageError: It cannot be searched, or its runs would fail.
    """
    from genrecore.training import check as checks

    if not ranges:
        raise UsageError("A search needs a setting to vary, e.g. --lr 1e-5..1e-2:log.")
    if strategy.n_trials < 1:
        raise UsageError(f"A search needs at least one trial; found {strategy.n_trials}.")
    for dotted in ranges:
        if not may_vary(dotted):
            raise UsageError(
                f"A search does not vary {dotted}: the scores would not be comparable. Give it one "
                "value, or make a plan of every combination."
            )
    base = checks.with_best_split(base)
    if not SPLITS[base.split.name].facts.validates:
        raise UsageError(
            f"A search judges by validation clips, and the split {base.split.name} has none; "
            "choose another split."
        )
    tried = {
        dotted: values.ends if isinstance(values, Range) else list(values)
        for dotted, values in ranges.items()
    }
    models = tried.get("model", [base.model.name])
    for dotted, values in tried.items():
        candidates = models[:1] if dotted == "model" else models
        for value in values:  # an option must fit at least one of several models
            refusals = []
            for model in candidates:
                refusals.append(_refusal(base, {"model": model, dotted: value}))
                if not refusals[-1]:
                    break
            if all(refusals):
                raise UsageError(f"{in_words({dotted: value})}: {refusals[0]}")
    base = without_defaults(base)
    checks.check(base).refuse()
    return base


def typical(base: RunConfig, ranges: Ranges) -> RunConfig:
    """A configuration in the middle of the ranges, to estimate the time of a trial."""
    middle = {
        dotted: values.middle if isinstance(values, Range) else values[len(values) // 2]
        for dotted, values in ranges.items()
    }
    for dotted in [*middle]:  # it may be an option of another model
        if dotted.startswith("model.") and _refusal(base, middle):
            del middle[dotted]
    return applied(base, middle)


def _refusal(base: RunConfig, changes: Mapping[str, Any]) -> str:
    """Why these values cannot be trained; empty if they can."""
    from genrecore.training.resolve import resolve

    try:
        resolve(applied(base, changes))
    except UsageError as error:
        return str(error)
    return ""


def create(
    base: RunConfig,
    ranges: Ranges,
    strategy: Strategy,
    store: Path | None = None,
    title: str = "",
    on: Sequence[str] = (),
) -> Plan:
    """Writes the plan of a search, which `start` or `drive` then carries out; its trials are dealt
    to the places `on`, as of `Plan.on`. Imports torch.

    Raises:
        UsageError: As `check`, or there is no such place.
        GenrecoreError: The store cannot be written.
    """
    base = check(base, ranges, strategy)
    kind = {"random": "Random search", "tpe": "TPE search"}[strategy.sampler]
    model = "" if "model" in ranges else f" · {base.model.name}"
    varied = ", ".join(map(name_of, ranges))
    written = {
        dotted: asdict(values) if isinstance(values, Range) else list(values)
        for dotted, values in ranges.items()
    }
    facts = {"search": {**asdict(strategy), "ranges": written}}
    title = title or f"{kind}: {varied}{model} · {base.dataset.name}"
    plan = plans.write(base, title, facts, store, on=on)
    _study(plan, _storage(plan))
    return plan


def strategy_of(plan: Plan) -> Strategy:
    """The strategy of a search."""
    return _known(Strategy, plan.search)


def ranges_of(plan: Plan) -> dict[str, Range | list[Any]]:
    """The ranges of a search."""
    return {
        dotted: _known(Range, values) if isinstance(values, dict) else list(values)
        for dotted, values in plan.search["ranges"].items()
    }


def _known(kind: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass from the values that it knows; other versions write others."""
    names = [field.name for field in fields(kind) if field.name in values]  # type: ignore[arg-type]
    return kind(**{name: values[name] for name in names})


def n_not_begun(plan: Plan) -> int:
    """Trials that a search has not begun yet."""
    begun = [trial for trial in plan.trials if trial["run"] or trial["state"] != "running"]
    listed = {trial["run"] for trial in begun}
    unlisted = [run for run in plan.own_runs if run.run_id not in listed]
    return max(0, plan.n_runs - len(begun) - len(unlisted))


def start(plan: Plan) -> jobs.Task:
    """Drives a search in a process of its own, as a task.

    Raises:
        GenrecoreError: It is driven already, or the task cannot be started.
    """
    if plan.is_driven:
        raise GenrecoreError(f"The search {plan.plan_id} is at work already.")
    withdraw_stop(plan)
    return jobs.start_task(_drive_arguments(plan), f"Search: {plan.title}")


def _drive_arguments(plan: Plan) -> list[str]:
    return ["plans", "drive", str(plan.folder)]


def problem(plan: Plan) -> str:
    """Why the last task that drove a search ended early, as a sentence; empty if it did not."""
    for task in jobs.tasks():
        if task.status.get("arguments") == _drive_arguments(plan):
            if task.state == "lost":
                return "Its process was killed, or the machine went down."
            return str(task.status.get("reason", "")) if task.state == "failed" else ""
    return ""


def withdraw_stop(plan: Plan) -> None:
    """Withdraws the request to stop a search."""
    (plan.folder / STOP).unlink(missing_ok=True)


def drive(plan: Plan, report: Report = silent) -> Plan:
    """Carries out the trials of a search, as many at a time as the machine trains, until all are
    over or a stop is asked for. Can be killed at any moment and called again.

    Raises:
        GenrecoreError: Another process drives it, or a run cannot be queued.
    """
    if not plan.search:
        raise GenrecoreError(f"The plan {plan.plan_id} is not a search: it names all its runs.")
    with held(plan.folder / LOCK, patience_s=1.0) as acquired:
        if not acquired:
            raise GenrecoreError(f"The search {plan.plan_id} is at work already.")
        driver = Driver(plan)
        while driver.step():
            try:
                best = driver.best_so_far()
                phase = Phase.SEARCHING.on(best) if best else Phase.SEARCHING
                report(phase, driver.n_over, driver.strategy.n_trials)
            except Stopped:
                plans.stop(Plan(plan.folder))
                driver.step()
                raise
            time.sleep(_LOOK_EVERY_S)
    return Plan(plan.folder)


class Driver:
    """The trials of one search and the runs that carry them out."""

    def __init__(self, plan: Plan) -> None:
        """
        Raises:
            Unreadable: The study is damaged.
        """
        self.plan, self.strategy, self.ranges = plan, strategy_of(plan), ranges_of(plan)
        self.base = plan.base
        self.watch = self.base.training.watch
        self.n_slots = _n_at_once(plan)
        self._written: list[dict[str, Any]] = []
        with _opening(plan):
            self._storage = _storage(plan)
            self.study = _study(plan, self._storage)
            self._study_id = self._storage.get_study_id_from_name(plan.plan_id)
            self._adopt_runs()

    @property
    def n_over(self) -> int:
        """Trials that have ended, in any state."""
        return sum(trial.state.is_finished() for trial in self._tried())

    def best_so_far(self) -> str:
        """`best validation accuracy 81.0 %`; empty before the first score."""
        try:
            best = self.study.best_value
        except ValueError:  # no trial is complete
            return ""
        metric = watched(self.watch)
        return f"best validation {noun(metric)} {metric.facts.written(best)}"

    def step(self) -> bool:
        """Follows the runs at work and queues further ones; returns whether anything is left."""
        for trial in self._tried():
            if not trial.state.is_finished():
                self._follow(trial)
        stopping = stop_asked(self.plan.folder)
        while not stopping and self._n_at_work < self.n_slots and self._n_left:
            self._ask()
        if stopping:  # a run may have been queued meanwhile
            Plan(self.plan.folder).stop_runs(self.plan.plan_id)
        self._write()
        return self._n_at_work > 0 or (not stopping and self._n_left > 0)

    def _tried(self) -> list[optuna.trial.FrozenTrial]:
        """All trials but those for which a killed driver had not queued a run."""
        trials = self.study.get_trials(deepcopy=False)
        return [trial for trial in trials if not trial.user_attrs.get("never_begun")]

    @property
    def _n_at_work(self) -> int:
        return len(self._tried()) - self.n_over

    @property
    def _n_left(self) -> int:
        """Trials that have not begun."""
        return max(0, self.strategy.n_trials - len(self._tried()))

    def _trial(self, frozen: optuna.trial.FrozenTrial) -> optuna.Trial:
        """The trial to report to; an earlier driver may have begun it."""
        from optuna.trial import Trial

        trial_id = self._storage.get_trial_id_from_study_id_trial_number(
            self._study_id, frozen.number
        )
        return Trial(self.study, trial_id)

    def _ask(self) -> None:
        """Begins a new trial and queues its run."""
        # A sampler seeded by the trial's number: a restarted driver continues the draws.
        n_asked = len(self.study.get_trials(deepcopy=False))
        self.study.sampler = _sampler(self.strategy, n_asked)
        trial = self.study.ask(_distributions(self.ranges))
        try:
            config = self._config(trial.params)
            run = find_same([config], self.plan.store)[0]
            on = self.plan.place_of(n_asked)
            run = run or jobs.submit(config, self.plan.store, plan=self.plan.plan_id, on=on)
        except UsageError as error:
            self._fail(trial, str(error))
            return
        trial.set_user_attr("run", run.run_id)

    def _config(self, params: Mapping[str, Any]) -> RunConfig:
        from genrecore.training.resolve import resolve

        return resolve(applied(self.base, params)).config

    def _fail(self, trial: optuna.Trial, reason: str) -> None:
        from optuna.trial import TrialState

        trial.set_user_attr("reason", reason)
        self.study.tell(trial, state=TrialState.FAIL)

    def _adopt_runs(self) -> None:
        """Finds the runs of trials whose driver was killed before it noted them; trials for which
        no run was queued fail."""
        noted = {trial.user_attrs.get("run") for trial in self._tried()}
        for frozen in self._tried():
            if frozen.state.is_finished() or "run" in frozen.user_attrs:
                continue
            trial, key = self._trial(frozen), signature(self._config(frozen.params))
            free = (run for run in self.plan.own_runs if run.run_id not in noted)
            run = next((run for run in free if signature(run.config) == key), None)
            if run is not None:
                trial.set_user_attr("run", run.run_id)
            else:
                trial.set_user_attr("never_begun", True)
                self._fail(trial, "the search was ended before its run was queued")

    def _follow(self, frozen: optuna.trial.FrozenTrial) -> None:
        """Reports the epochs of a trial's run, prunes the run, or records its end."""
        trial = self._trial(frozen)
        run = Run(self.plan.store / str(frozen.user_attrs["run"]))
        if not (run.folder / "config.json").is_file():
            self._fail(trial, "its run was deleted")
            return
        state = run.state  # read before the history, which is complete once the run has ended
        column = f"valid_{self.watch}"
        prune = PRUNED in frozen.user_attrs
        reported = set(frozen.intermediate_values)
        for row in run.history.to_dict("records"):
            epoch, value = int(row["epoch"]), row.get(column, math.nan)
            if epoch not in reported and not math.isnan(value):
                trial.report(float(value), epoch)
                prune = prune or trial.should_prune()
        if state in ("done", "stopped", "failed", "lost"):
            self._end(trial, run, state)
        elif prune and state != "stopping" and run.plan == self.plan.plan_id:
            trial.set_user_attr(
                PRUNED, True
            )  # first, so that a driver that is killed here asks again
            with contextlib.suppress(GenrecoreError):  # it ended meanwhile; the next step sees it
                jobs.stop(run, reason=PRUNED)

    def _end(self, trial: optuna.Trial, run: Run, state: str) -> None:
        from optuna.trial import TrialState

        value = score(run, self.watch)
        if state == "done" and not math.isnan(value):
            self.study.tell(trial, value)
        elif state == "stopped" and trial.user_attrs.get(PRUNED):
            trial.set_user_attr("reason", PRUNED)
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            reason = "it has no validation clips" if state == "done" else run.reason
            self._fail(trial, f"{state}: {reason}")

    def _write(self) -> None:
        """Writes `trials.json`."""
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
        if listed != self._written:
            write_json(self.plan.folder / "trials.json", {"trials": listed})
            self._written = listed


@contextlib.contextmanager
def _opening(plan: Plan) -> Iterator[None]:
    """What a database raises that is damaged is of many kinds; here it is `Unreadable`."""
    path = _study_file(plan)
    with contextlib.suppress(FileNotFoundError):
        open_regular(path, "plan").close()
    try:
        yield
    except (GenrecoreError, OSError):
        raise
    except Exception as error:
        raise Unreadable(path, "", first_line(error.__cause__ or error), "plan") from None


def look_at_study(plan: Plan) -> None:
    """
    Raises:
        Unreadable: The study of a search is damaged.
    """
    if os.path.lexists(_study_file(plan)):
        with _opening(plan):
            _study(plan, _storage(plan)).get_trials(deepcopy=False)


def _study_file(plan: Plan) -> Path:
    old = plan.folder / _OLD_STUDY
    return old if os.path.lexists(old) else plan.folder / _STUDY


def _storage(plan: Plan) -> optuna.storages.BaseStorage:
    """A journal, to which lines are added under a lock that holds on shared file systems, too; an
    SQLite file of an earlier version is read and written as it is."""
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    path = _study_file(plan)
    if path.name == _OLD_STUDY:
        wait = {"connect_args": {"timeout": 30}}  # seconds, while a dashboard reads
        return RDBStorage(f"sqlite:///{path}", engine_kwargs=wait)
    return JournalStorage(JournalFileBackend(str(path)))


def _study(plan: Plan, storage: optuna.storages.BaseStorage) -> optuna.Study:
    """The study in the plan's folder, created if it is not there yet."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    larger_is_better = watched(plan.base.training.watch).facts.higher_is_better
    return optuna.create_study(
        study_name=plan.plan_id,
        storage=storage,
        direction="maximize" if larger_is_better else "minimize",
        pruner=_pruner(strategy_of(plan), plan.base.training.epochs),
        load_if_exists=True,
    )


def _sampler(strategy: Strategy, number: int) -> optuna.samplers.BaseSampler:
    from optuna.samplers import RandomSampler, TPESampler

    seed = strategy.seed * 1_000_003 + number
    if strategy.sampler == "random":
        return RandomSampler(seed=seed)
    return TPESampler(seed=seed, n_startup_trials=_n_random(strategy))


def _n_random(strategy: Strategy) -> int:
    """Trials before TPE learns; Optuna's own ten are too many for a short search."""
    return max(3, min(10, strategy.n_trials // 4))


def _n_at_once(plan: Plan) -> int:
    """Trials at work at a time. On a cluster TPE would draw blindly if it began all at once."""
    strategy = strategy_of(plan)
    n = plans.n_at_once([plan.base], plan.store, plan.on)
    return n if strategy.sampler == "random" or not any(plan.on) else min(n, _n_random(strategy))


def _pruner(strategy: Strategy, n_epochs: int) -> optuna.pruners.BasePruner:
    from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

    if strategy.pruner == "median":
        # A median needs two trials; the first tenth of the epochs does not count.
        n_startup = max(2, min(5, strategy.n_trials // 4))
        return MedianPruner(n_startup_trials=n_startup, n_warmup_steps=max(1, n_epochs // 10))
    if strategy.pruner == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=n_epochs, reduction_factor=3)
    return NopPruner()


def _distributions(ranges: Ranges) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    distributions: dict[str, Any] = {}
    for dotted, values in ranges.items():
        if not isinstance(values, Range):
            distributions[dotted] = CategoricalDistribution(list(values))
        else:
            low, high = values.ends
            kind: Any = IntDistribution if values.whole else FloatDistribution
            distributions[dotted] = kind(low, high, log=values.log)
    return distributions
