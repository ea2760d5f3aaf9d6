"""Plans: which runs they make, how they are queued and stopped, and how long they take."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import genrecore, refused
from conftest import TINY, trained

from genrecore.config import run as configuration
from genrecore.config.run import RunConfig, with_values
from genrecore.errors import UsageError
from genrecore.experiments import papers
from genrecore.experiments import plan as plans
from genrecore.experiments import results as plan_results
from genrecore.experiments.draft import draft, spread, sweep_command
from genrecore.experiments.estimates import Estimator
from genrecore.experiments.papers.recipes import sweep_values, sweeps
from genrecore.experiments.plan import Plan
from genrecore.experiments.values import read_values
from genrecore.jobs import actions as jobs
from genrecore.store import runs
from genrecore.store.locks import LOCK, take_lock
from genrecore.store.run import Run
from genrecore.training import lifecycle, step_times, timing

pytestmark = pytest.mark.xdist_group("plans")

Tiny = Callable[..., RunConfig]
BASE = with_values(RunConfig(), TINY)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A tiny run, trained for real."""
    from genrecore.training.resolve import resolve

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRECORE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        config = resolve(with_values(BASE, {"training.epochs": 3})).config
        return trained(config, tmp_path_factory.mktemp("plans"))


def carry_out(run: Run) -> Run:
    """A queued run carried out in this process."""
    lock = take_lock(run.folder / LOCK)
    assert lock is not None
    lifecycle.execute(run)
    os.close(lock)
    return Run(run.folder)


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("cnn, crnn", None, ["cnn", "crnn"]),
        ("1e-3,0.0001", float, [1e-3, 1e-4]),
        ("0..3", int, [0, 1, 2, 3]),
        ("7", int, [7]),
        ("true,false", bool, [True, False]),
        ("3,3,5", int, [3, 5]),
        ("noise,shift", str, ["noise,shift"]),
        ("noise,shift|mixup", str, ["noise,shift", "mixup"]),
        ('["128, 64", "32"]', None, ["128, 64", "32"]),
        ("1980", str, ["1980"]),
    ],
)
def test_values_are_read_as_they_are_meant(text: str, kind: object, values: list[object]) -> None:
    assert read_values(text, kind) == values


@pytest.mark.parametrize("text", ["", " , ", "1e-5..1e-2", "4..0", "[1, 2", "0..99999"])
def test_what_is_no_list_of_values_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        read_values(text)


def test_every_combination_is_a_run_and_every_system_has_one_before_any_has_two() -> None:
    grid = {"training.lr": [1e-3, 1e-4], "seed": [0, 1, 2], "model": ["cnn", "crnn"]}
    drafted = draft(BASE, [grid])
    assert len({configuration.signature(config) for config in drafted.configs}) == 2 * 3 * 2
    assert [config.seed for config in drafted.configs] == [0] * 4 + [1] * 4 + [2] * 4
    assert not drafted.left_out
    for change, config in zip(drafted.changes, drafted.configs, strict=True):
        assert config.model.name == change["model"]
        assert config.training.lr == change["training.lr"]
        assert config.training.batch_size == 7


def test_combinations_that_do_not_fit_are_named_once_with_what_they_share() -> None:
    drafted = draft(BASE, [{"model": ["cnn", "mlp"], "seed": [0, 1], "model.width": [3, 5]}])
    assert len(drafted.configs) == 4
    (sentence,) = drafted.left_out  # the perceptron has no width
    assert sentence.startswith("model mlp (4 combinations):")
    twice = draft(BASE, [{"seed": [1]}, {"seed": [1, 2]}])
    assert len(twice.configs) == 2
    assert twice.left_out == ["seed 1: It is the same as another run of the plan."]


def test_a_plan_that_makes_no_run_is_refused() -> None:
    with pytest.raises(UsageError, match="None of the 2 combinations"):
        draft(BASE, [{"model": ["mlp", "knn"]}])
    with pytest.raises(UsageError, match="most"):
        draft(BASE, [{"seed": list(range(100)), "split_seed": list(range(100))}])


@pytest.mark.slow
def test_every_table_of_a_study_makes_the_runs_of_its_rows() -> None:
    counts = {}
    for name, (study, sweep) in sweeps().items():
        drafted = draft(with_values(RunConfig(), sweep_values(name)), study.grids(sweep))
        assert not drafted.left_out, name
        assert study.citation
        assert sweep.source
        assert sweep.published
        counts[name] = len(drafted.configs)
        rows = [row for names in sweep.rows for row in names]
        expected = {
            configuration.signature(run.config)
            for run in papers.study_runs(study, rows, ["published"])
        }
        assert {configuration.signature(config) for config in drafted.configs} == expected, name
    # Four networks by four batch sizes, two schedules, four optimisers; four and five rates, four
    # batch sizes and an optimiser, a grid of three units by three rates; and the seven rows of
    # Belton's Figure 2, those by gradient descent and two with momentum.
    assert counts == {
        "liu_batch_sizes": 16,
        "liu_cyclic": 8,
        "liu_optimisers": 16,
        "qin_resnet18_rates": 4,
        "qin_mlp_rates": 5,
        "qin_mlp_batches": 5,
        "qin_lstm_grid": 9,
        "belton_mlp": 7,
        "belton_optimisers": 9,
    }


def test_the_runs_of_a_plan_are_queued_in_its_order_and_know_it(nobody_starts: Path) -> None:
    drafted = draft(BASE, [{"seed": [0, 1], "training.lr": [1e-2, 1e-3]}])
    plan = plans.start(drafted)
    waiting = jobs.queued(nobody_starts)
    assert [run.plan for run in waiting] == [plan.plan_id] * 4
    expected_signatures = [configuration.signature(config) for config in drafted.configs]
    assert [configuration.signature(run.config) for run in waiting] == expected_signatures
    assert [member.run.run_id for member in plan.members if member.run] == [
        r.run_id for r in waiting
    ]
    assert (plan.state, plan.share, plan.n_runs) == ("running", 0.0, 4)
    assert plans.find_plan("latest").plan_id == plan.plan_id
    assert not plans.queue_missing(plan)  # nothing is queued twice


@pytest.mark.slow
def test_stopping_a_plan_cancels_what_waits_and_going_on_queues_the_same_runs(
    nobody_starts: Path,
) -> None:
    plan = plans.start(draft(BASE, [{"seed": [0, 1, 2]}]))
    done = carry_out(plan.members[0].run)  # type: ignore[arg-type]
    sentence = plans.stop(Plan(plan.folder))
    assert "2 runs taken out of the queue" in sentence
    stopped = Plan(plan.folder)
    assert stopped.state == "stopped"
    assert [member.state for member in stopped.members] == ["done", "stopped", "stopped"]
    assert {member.run.reason for member in stopped.ended if member.run} == {plans.STOPPED}

    again = plans.queue_missing(stopped)
    assert len(again) == 2
    assert len(runs.all_runs(nobody_starts)) == 3  # the same folders, not new ones
    for run in again:
        carry_out(run)
    over = Plan(plan.folder)
    assert (over.state, over.share, len(over.done)) == ("done", 1.0, 3)
    assert done.run_id in {member.run.run_id for member in over.done if member.run}
    with pytest.raises(Exception, match="ended already"):
        plans.stop(over)


@pytest.mark.slow
def test_a_run_that_is_there_is_not_trained_twice_unless_asked(
    nobody_starts: Path, earlier: Run
) -> None:
    shutil.copytree(earlier.folder, nobody_starts / earlier.run_id)
    drafted = draft(with_values(BASE, {"training.epochs": 3}), [{"seed": [0, 1]}])
    plan = plans.start(drafted)
    assert [member.state for member in plan.members] == ["done", "queued"]
    assert [row["note"] for row in plan_results.table(plan)] == ["there already", ""]
    best = plan_results.best(plan)
    assert best is not None
    assert best.run is not None
    assert best.run.run_id == earlier.run_id
    plans.stop(plan)
    assert Run(nobody_starts / earlier.run_id).state == "done"  # it was there before: left alone

    assert [member.state for member in plans.start(drafted, again=True).members] == [
        "queued",
        "queued",
    ]
    shutil.rmtree(nobody_starts / earlier.run_id)
    gone = Plan(plan.folder)
    assert gone.members[0].state == "missing"
    assert len(plans.queue_missing(gone)) == 2


def test_scores_of_a_plan_are_those_of_validation(earlier: Run) -> None:
    history = earlier.history
    assert plan_results.score(earlier) == pytest.approx(history["valid_accuracy"].max())
    assert plan_results.score(earlier, "loss") == history["valid_loss"].min()
    assert plan_results.score(earlier, "macro_f1") == history["valid_macro_f1"].max()


def test_segments_are_counted_as_the_run_had_them(earlier: Run) -> None:
    assert earlier.segments is not None
    tested = earlier.segments["split"].value_counts()
    trained_on = int(
        next(
            line.split("training segments")[0].split()[-1]
            for line in earlier.log().splitlines()
            if "training segments" in line
        ).replace(",", "")
    )
    for estimator in (Estimator([earlier]), Estimator([])):  # its clips; the demo's options
        counts = estimator.counts(earlier.config)
        assert counts is not None
        assert counts.n_train == trained_on
        assert (counts.n_valid, counts.n_test) == (tested["valid"], tested["test"])


def test_an_estimate_grows_with_epochs_as_the_earlier_run_says(earlier: Run) -> None:
    estimator = Estimator([earlier])
    short, long_ = (
        estimator.estimate(with_values(earlier.config, {"training.epochs": n})) for n in (3, 1003)
    )
    assert short.source == long_.source == "runs"
    pace_s = earlier.history["seconds"].median()
    assert long_.seconds - short.seconds == pytest.approx(1000 * pace_s)
    # Three epochs at its own pace, and all that it took besides.
    assert short.seconds == pytest.approx(
        earlier.worked_s + 3 * pace_s - earlier.history["seconds"].sum()
    )
    assert estimator.estimate(with_values(earlier.config, {"model": "crnn"})).source == ""


@pytest.mark.slow
def test_without_earlier_runs_steps_are_measured_and_kept(
    own_cache: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "STEP_BUDGET_S", 0.1)
    config = tiny()
    estimator = Estimator([])
    assert estimator.unmeasured([config, with_values(config, {"seed": 3})]) == [
        with_values(config, {"seed": 3})
    ]
    assert estimator.estimate(config).source == ""
    times = timing.measure_steps(config)
    assert step_times.read(config) == times
    assert min(times.train_s, times.predict_s, times.feature_s) > 0
    assert estimator.unmeasured([config]) == []
    two_epochs, four_epochs = (
        estimator.estimate(config),
        estimator.estimate(with_values(config, {"training.epochs": 4})),
    )
    assert two_epochs.source == "steps"
    counts = estimator.counts(config)
    assert counts is not None
    epoch_s = counts.n_train * times.train_s + counts.n_valid * times.predict_s
    assert four_epochs.seconds - two_epochs.seconds == pytest.approx(2 * epoch_s)
    both = estimator.total([config, tiny(model="crnn")])
    assert (both.n_by_steps, both.n_unknown) == (1, 1)
    assert both.sentence.startswith("1 of 2 runs takes about ")
    assert both.sentence.endswith("; how long the other one takes is unknown.")


def test_changed_copies_and_uncached_features_are_counted(tiny: Tiny) -> None:
    copies = tiny(augment="pitch_variants,tempo_variants")
    assert timing.measure_steps(copies).n_copies == 5  # itself, and two of either
    assert timing.measure_steps(copies).cached
    assert not timing.measure_steps(tiny(augment="noise")).cached


def test_a_plans_command_makes_the_same_plan(nobody_starts: Path, earlier: Run, tiny: Tiny) -> None:
    shutil.copytree(earlier.folder, nobody_starts / earlier.run_id)
    texts = {"seed": "0..1", "training.lr": "1e-3,1e-2", "model.depth": "3,4"}
    arguments = sweep_command(tiny(), texts)
    result = genrecore(*arguments[1:], "--dry-run", "--json")
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)
    base, grids = spread(tiny(), [{}], texts)
    assert [run["changes"] for run in facts["runs"]] == list(draft(base, grids).changes)
    assert len(facts["runs"]) == 8
    assert facts["estimate"]["n_runs"] == 8
    assert not plans.all_plans()  # it was a dry run


def test_sweep_queues_lists_shows_and_stops(nobody_starts: Path, tiny: Tiny) -> None:
    arguments = sweep_command(tiny(), {"seed": "0,1"}, ["--background"])
    result = genrecore(*arguments[1:])
    assert result.returncode == 0, result.stderr
    assert "2 runs." in result.stdout
    assert "Queued 2 runs" in result.stdout
    listed = json.loads(genrecore("plans", "list", "--json").stdout)
    assert [(plan["n_runs"], plan["n_active"], plan["state"]) for plan in listed] == [
        (2, 2, "running")
    ]
    assert "seed" in genrecore("plans", "show", "latest").stdout
    assert "2 runs taken out" in genrecore("plans", "stop", "latest").stdout
    assert json.loads(genrecore("plans", "show", "latest", "--json").stdout)["state"] == "stopped"
    result = genrecore("plans", "resume", "latest", "--background")
    assert result.returncode == 0, result.stderr
    assert [run.state for run in runs.all_runs(nobody_starts)] == ["queued", "queued"]


@pytest.mark.parametrize(
    "arguments",
    ["sweep", "plans", "plans list", "plans show", "plans stop", "plans resume", "plans tables"],
)
def test_every_command_explains_itself(arguments: str) -> None:
    result = genrecore(*arguments.split(), "--help")
    assert result.returncode == 0
    assert f"Usage: genrecore {arguments}" in result.stdout


def test_tables_are_listed_with_what_the_studies_print(store: Path) -> None:
    listed = {
        table["name"]: table for table in json.loads(genrecore("plans", "tables", "--json").stdout)
    }
    assert set(listed) == set(sweeps())
    assert listed["liu_batch_sizes"]["grids"][0]["training.batch_size"] == [4, 16, 32, 64]
    assert listed["qin_resnet18_rates"]["grids"] == [{"training.lr": [6e-6, 8e-6, 1e-5, 3e-5]}]
    assert "Table 1" in genrecore("plans", "tables").stdout


@pytest.mark.slow
def test_wrong_sweeps_are_refused_in_one_sentence(store: Path) -> None:
    refused(genrecore("sweep", "--model", "cnn,resnet19", "--dry-run"), 0)  # the other one is left
    refused(genrecore("sweep", "--model", "resnet19,resnet20"), 2, "None of the 2", "resnet19")
    refused(genrecore("sweep", "--lr", "1e-5..1e-2"), 2, "training.lr", "a search")
    refused(genrecore("sweep", "--table", "no_such"), 2, "no_such", "liu_batch_sizes")
    refused(genrecore("plans", "show", "nothing"), 2, "nothing")
    assert not plans.all_plans(store)


@pytest.mark.long  # measures steps of three networks
def test_a_table_of_a_study_on_other_music_takes_a_split_that_this_has(store: Path) -> None:
    result = genrecore("sweep", "--table", "belton_mlp", "--dataset", "demo", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "7 runs." in result.stdout


@pytest.mark.long
def test_a_sweep_in_the_foreground_trains_everything(store: Path, tiny: Tiny) -> None:
    arguments = sweep_command(tiny(), {"seed": "0,1"}, ["--json"])
    result = genrecore(*arguments[1:])
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)
    assert (facts["state"], facts["n_done"]) == ("done", 2)
    assert all(run["score"] >= 0 for run in facts["runs"])
