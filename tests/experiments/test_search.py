"""Searches: real tiny runs chosen by Optuna, judged by validation, pruned, and taken up again."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from commands import genrecore, refused
from conftest import TINY, wait_for
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from genrecore.config import run as configuration
from genrecore.config.run import RunConfig, with_values
from genrecore.errors import GenrecoreError, UsageError
from genrecore.experiments import plan as plans
from genrecore.experiments import results as plan_results
from genrecore.experiments import search as searching
from genrecore.experiments.draft import sweep_command
from genrecore.experiments.plan import Plan
from genrecore.experiments.search import Driver, Strategy, check
from genrecore.experiments.values import Range, read_range
from genrecore.jobs import actions as jobs
from genrecore.jobs import slots
from genrecore.store import runs
from genrecore.store.locks import LOCK, held, take_lock
from genrecore.store.run import Run
from genrecore.store.status import ask_to_stop
from genrecore.training import lifecycle

pytestmark = pytest.mark.xdist_group("search")

Tiny = Callable[..., RunConfig]
BASE = with_values(RunConfig(), TINY)


def carry_out(run: Run, at_every_epoch: Callable[[], object] = lambda: None) -> Run:
    """A queued run carried out in this process; the driver may look whenever an epoch is over."""
    lock = take_lock(run.folder / LOCK)
    assert lock is not None
    seen = 0

    def show(phase: str, done: int, total: int) -> None:
        nonlocal seen
        if len(Run(run.folder).history) > seen:
            seen += 1
            at_every_epoch()

    lifecycle.execute(run, show)
    os.close(lock)
    return Run(run.folder)


def finish(driver: Driver) -> Plan:
    """Carries out whatever a search asks for, until nothing is left."""
    while driver.step():
        for run in jobs.queued(driver.plan.store):
            carry_out(run, driver.step)
    return Plan(driver.plan.folder)


def study_of(plan: Plan) -> optuna.Study:
    """The study as anybody else opens it, by its file and the plan's id."""
    journal = JournalStorage(JournalFileBackend(str(plan.folder / "study.log")))
    return optuna.load_study(study_name=plan.plan_id, storage=journal)


@pytest.mark.parametrize(
    ("text", "kind", "meant"),
    [
        ("1e-5..1e-2:log", float, Range(1e-5, 1e-2, log=True)),
        ("0..0.5", float, Range(0, 0.5)),
        ("0..1", float, Range(0, 1)),
        ("2..6", int, Range(2, 6, whole=True)),
        ("4..64:log", int, Range(4, 64, log=True, whole=True)),
        ("2..6", None, Range(2, 6, whole=True)),
        ("8,16", int, [8, 16]),
        ("adam,sgd", None, ["adam", "sgd"]),
    ],
)
def test_ranges_are_read_as_they_are_meant(text: str, kind: Any, meant: object) -> None:
    assert read_range(text, kind) == meant


@pytest.mark.parametrize("text", ["0..1:log", "5..2", "a..b", "1..2:ln", "..", "1..inf"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        read_range(text, float)


@pytest.mark.parametrize(
    ("changes", "ranges", "message"),
    [
        ({}, {}, "needs a setting"),
        ({}, {"seed": [0, 1]}, "would not be comparable"),
        ({}, {"split": ["by_artist", "stratified"]}, "would not be comparable"),
        ({"split": "ratio_8_2"}, {"training.lr": Range(0.1, 0.2)}, "validation"),
        ({}, {"training.lr": Range(0.1, 20.0)}, "less than or equal to 10"),
        ({}, {"model": ["cnn", "mlp"]}, "model mlp"),
        ({}, {"model.n_trees": [3, 4]}, "n_trees"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    changes: dict[str, Any], ranges: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        check(with_values(BASE, changes), ranges, Strategy())


def test_an_option_of_one_of_several_models_may_be_searched() -> None:
    both = {"model": ["cnn", "crnn"], "model.hidden": [8, 16]}  # only the second one has it
    assert check(BASE, both, Strategy()).training == BASE.training


@pytest.mark.parametrize("sampler", [pytest.param("random", marks=pytest.mark.long), "tpe"])
def test_a_search_tries_runs_inside_its_ranges_and_scores_them_by_validation(
    sampler: Any, nobody_starts: Path
) -> None:
    ranges = {"training.lr": Range(1e-3, 1e-1, log=True), "model.width": Range(2, 4, whole=True)}
    plan = searching.create(BASE, ranges, Strategy(sampler, n_trials=3))
    done = finish(Driver(plan))
    assert (done.state, len(done.done), done.n_runs) == ("done", 3, 3)
    trials = study_of(plan).get_trials()
    assert len(trials) == 3
    for trial, written in zip(trials, Plan(plan.folder).trials, strict=True):
        run = runs.find_run(trial.user_attrs["run"])
        assert run.plan == plan.plan_id
        assert 1e-3 <= run.config.training.lr <= 1e-1
        assert run.config.model.options["width"] in (2, 3, 4)
        assert run.config.training.lr == trial.params["training.lr"]
        assert trial.value == run.history["valid_accuracy"].max()
        by_epoch = dict(zip(run.history["epoch"], run.history["valid_accuracy"], strict=True))
        assert trial.intermediate_values == by_epoch
        assert (written["run"], written["state"]) == (run.run_id, "complete")
    assert len({trial.params["training.lr"] for trial in trials}) == 3
    best = plan_results.best(done)
    assert best is not None
    assert best.run is not None
    assert plan_results.score(best.run) == study_of(plan).best_value


def test_test_predictions_are_not_looked_at(nobody_starts: Path) -> None:
    plan = searching.create(BASE, {"training.lr": [1e-2, 1e-3]}, Strategy("random", n_trials=1))
    driver = Driver(plan)
    driver.step()
    (queued,) = jobs.queued(nobody_starts)
    run = carry_out(queued)
    for name in ("predictions.parquet", "segments.parquet"):
        (run.folder / name).unlink()
    assert not driver.step()
    assert study_of(plan).best_value == run.history["valid_accuracy"].max()


@pytest.mark.slow
def test_a_hopeless_run_is_pruned_and_says_so(nobody_starts: Path) -> None:
    base = with_values(BASE, {"training.epochs": 6, "training.watch": "loss"})
    # At a rate of 1 the first epochs throw the weights far off: losses of 18 against about 1.
    rates = [0.003, 0.002, 0.001, 1.0]
    plan = searching.create(base, {"training.lr": rates}, Strategy("random", 5, "median", seed=1))
    tried = [trial.params["training.lr"] for trial in _dry(plan)]
    assert 1.0 not in tried[:2]  # two others first, which make the median
    assert 1.0 in tried
    done = finish(Driver(plan))
    assert done.state == "done"
    hopeless = [member for member in done.members if member.changes["training.lr"] == 1.0]
    assert hopeless
    for member in hopeless:
        assert member.run is not None
        assert (member.run.state, member.run.reason) == ("stopped", "pruned")
        assert 0 < len(member.run.history) < 6
        assert (member.run.folder / "resume.pt").exists()
        assert not (member.run.folder / "predictions.parquet").exists()
    states = {trial.params["training.lr"]: trial.state.name for trial in study_of(plan).trials}
    assert states[1.0] == "PRUNED"
    assert "COMPLETE" in states.values()
    assert "pruned" in plan_results.summary(done)
    assert "pruned" in genrecore("plans", "show", "latest").stdout
    best = plan_results.best(done)
    assert best is not None
    assert best.changes["training.lr"] != 1.0


def _dry(plan: Plan) -> list[optuna.trial.Trial]:
    """What the search will draw at random, in a study of its own in memory."""
    study = optuna.create_study()
    trials = []
    for number in range(plan.n_runs):
        study.sampler = searching._sampler(searching.strategy_of(plan), number)
        ranges = searching.ranges_of(plan)
        trials.append(study.ask(searching._distributions(ranges)))
    return trials


def test_a_run_that_fails_or_is_stopped_by_hand_counts_as_failed_with_its_reason(
    nobody_starts: Path,
) -> None:
    plan = searching.create(BASE, {"training.lr": [1e-2, 1e-3]}, Strategy("random", n_trials=1))
    driver = Driver(plan)
    driver.step()
    jobs.stop(jobs.queued(nobody_starts)[0])
    assert not driver.step()
    (trial,) = Plan(plan.folder).trials
    assert (trial["state"], trial["reason"]) == ("fail", "stopped: cancelled")
    assert not Plan(plan.folder).done


@pytest.mark.slow
def test_the_same_settings_are_trained_once_and_scored_as_often_as_they_are_drawn(
    nobody_starts: Path,
) -> None:
    plan = searching.create(BASE, {"model.width": [3, 4]}, Strategy("random", n_trials=6))
    finish(Driver(plan))
    assert len(study_of(plan).trials) == 6
    widths = {run.config.model.options["width"] for run in runs.all_runs(nobody_starts)}
    assert len(runs.all_runs(nobody_starts)) == len(widths) <= 2


@pytest.mark.slow
def test_a_search_over_two_slots_asks_for_two_runs_at_a_time(nobody_starts: Path) -> None:
    slots.share_cpu(2, nobody_starts)
    plan = searching.create(BASE, {"training.lr": Range(1e-3, 1e-1)}, Strategy("tpe", n_trials=3))
    driver = Driver(plan)
    driver.step()
    first, second = jobs.queued(nobody_starts)
    driver.step()
    assert len(jobs.queued(nobody_starts)) == 2  # no more than work at a time
    carry_out(second, driver.step)  # the later one ends first
    driver.step()
    assert {run.run_id for run in jobs.queued(nobody_starts)} > {first.run_id}
    assert len(jobs.queued(nobody_starts)) == 2
    done = finish(driver)
    assert (done.state, done.n_runs) == ("done", 3)
    assert len({trial.params["training.lr"] for trial in study_of(plan).get_trials()}) == 3


@pytest.mark.slow
def test_a_driver_that_comes_back_adopts_what_was_under_way(nobody_starts: Path) -> None:
    plan = searching.create(
        BASE, {"training.lr": Range(1e-3, 1e-1)}, Strategy("random", n_trials=3)
    )
    driver = Driver(plan)
    driver.step()
    (first,) = jobs.queued(nobody_starts)
    del driver  # killed while the first trial's run waits

    driver = Driver(plan)
    driver.step()
    assert [run.run_id for run in jobs.queued(nobody_starts)] == [first.run_id]
    carry_out(first, driver.step)
    # Killed after asking and before queueing: that trial was never begun, and is not counted.
    study = study_of(plan)
    study.ask(searching._distributions(searching.ranges_of(plan)))
    # And once after queueing, before the trial knew its run.
    new_trial = study.ask(searching._distributions(searching.ranges_of(plan)))
    config = configuration.with_values(plan.base, dict(new_trial.params))
    orphan = jobs.submit(config, nobody_starts, plan=plan.plan_id)

    done = finish(Driver(plan))
    assert done.state == "done"
    trials = study_of(plan).get_trials()
    begun = [trial for trial in trials if not trial.user_attrs.get("never_begun")]
    assert [trial.state.name for trial in begun] == ["COMPLETE"] * 3
    assert [trial.state.name for trial in trials if trial not in begun] == ["FAIL"]
    assert trials[new_trial.number].user_attrs["run"] == orphan.run_id
    assert len({trial.user_attrs["run"] for trial in begun}) == 3
    assert len(runs.all_runs(nobody_starts)) == 3
    # After each restart the draws went on, not over.
    assert len({trial.params["training.lr"] for trial in begun}) == 3


def test_only_one_drives_a_search_and_a_stopped_one_asks_for_nothing_more(
    nobody_starts: Path,
) -> None:
    plan = searching.create(BASE, {"model.width": [3, 4]}, Strategy("random", n_trials=5))
    with held(plan.folder / LOCK), pytest.raises(GenrecoreError, match="work"):
        searching.drive(plan)
    driver = Driver(plan)
    driver.step()
    assert "1 run taken out" in plans.stop(Plan(plan.folder))
    assert not driver.step()
    assert len(runs.all_runs(nobody_starts)) == 1
    stopped = Plan(plan.folder)
    assert stopped.state == "stopped"
    assert searching.n_not_begun(stopped) == 4
    with pytest.raises(GenrecoreError, match="search"):
        plans.queue_missing(stopped)


def test_a_run_that_was_queued_while_the_search_was_stopped_is_taken_back(
    nobody_starts: Path,
) -> None:
    plan = searching.create(BASE, {"model.width": [3, 4]}, Strategy("random", n_trials=5))
    driver = Driver(plan)
    driver.step()
    ask_to_stop(plan.folder)  # after the driver had looked whether it was
    driver.step()
    assert not driver.step()
    (run,) = runs.all_runs(nobody_starts)
    assert (run.state, run.reason) == ("stopped", plans.STOPPED)


@pytest.mark.slow
def test_a_search_from_the_command_line_says_what_it_tries(store: Path) -> None:
    arguments = sweep_command(BASE, {"training.lr": "1e-4..1e-2:log"})[1:]
    result = genrecore(*arguments, "--search", "tpe", "--trials", "7", "--dry-run", "--json")
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)
    assert facts["ranges"] == {"training.lr": "0.0001..0.01:log"}
    assert facts["estimate"]["n_runs"] == 7
    assert not plans.all_plans(store)
    refused(genrecore("sweep", "--search", "tpe", "--seed", "0,1"), 2, "would not be comparable")
    refused(genrecore("sweep", "--search", "tpe", "--lr", "2..1"), 2, "training.lr", "lower one")


@pytest.mark.long
def test_a_search_goes_on_after_its_driver_was_killed(store: Path) -> None:
    base = with_values(BASE, {"training.epochs": 4})
    plan = searching.create(
        base, {"training.lr": Range(1e-3, 1e-1)}, Strategy("random", n_trials=3)
    )
    task = searching.start(plan)
    wait_for(lambda: any(run.status.get("epoch") for run in runs.all_runs(store)), 240)
    os.kill(int(jobs.Task(task.folder).status["pid"]), signal.SIGKILL)
    wait_for(lambda: not Plan(plan.folder).is_driven)
    (first,) = runs.all_runs(store)
    wait_for(lambda: Run(first.folder).state == "done", 120)  # the run does not care
    assert Plan(plan.folder).state == "incomplete"

    searching.start(plan)
    wait_for(lambda: Plan(plan.folder).state == "done", 240)
    wait_for(lambda: all(t["state"] == "complete" for t in Plan(plan.folder).trials))
    trials = Plan(plan.folder).trials
    assert len(trials) == len(runs.all_runs(store)) == 3
    assert trials[0]["run"] == first.run_id
    assert all(
        member.run and member.run.status.get("starts") == 1 for member in Plan(plan.folder).done
    )
