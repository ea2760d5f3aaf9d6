"""The page Plans, opened through `app.py`, and what Train says of the run it was opened with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commands import genrecore
from conftest import TINY, trained, wait_for
from opened import again, open_page, words

from genrecore.config import run as configuration
from genrecore.config.run import RunConfig, with_values
from genrecore.evaluation import metrics
from genrecore.experiments import draft as plan_drafts
from genrecore.experiments import plan as plans
from genrecore.experiments import search
from genrecore.experiments.plan import Plan
from genrecore.experiments.search import Strategy
from genrecore.jobs import actions as jobs
from genrecore.store import runs
from genrecore.store.files import read_json, write_json
from genrecore.store.run import Run
from genrecore.store.status import Status
from genrecore.ui.parts.frame import plain

pytestmark = pytest.mark.xdist_group("page_plans")

# The page leaves the length taken from each clip alone; these are no longer than 3 s.
VALUES = {key: value for key, value in TINY.items() if key != "audio.clip_s"}
BASE = with_values(RunConfig(), VALUES)
FORM = {
    key.replace("dataset.", "demo.").replace("feature.", "log_mel.").replace("model.", "cnn."): str(
        value
    )
    for key, value in VALUES.items()
} | {"dataset": "demo", "view": "new"}
VARIED = {"values.seed": "0,1", "vary": "training.lr", "values.training.lr": "1e-2,1e-3"}
GRID = {"seed": [0, 1], "training.lr": [1e-2, 1e-3]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """The runs of one small plan, trained for real."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRECORE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        store = tmp_path_factory.mktemp("plans")
        return [trained(config, store) for config in plan_drafts.draft(BASE, [GRID]).configs]


@pytest.fixture
def copied(finished: list[Run], nobody_starts: Path) -> Path:
    """A store of this test's own with copies of the trained runs."""
    for run in finished:
        shutil.copytree(run.folder, nobody_starts / run.run_id)
    return nobody_starts


@pytest.mark.slow
def test_an_empty_store_explains_itself_and_offers_the_form(store: Path, own_cache: Path) -> None:
    app = open_page("plans")
    assert "A plan trains many runs at once" in words(app)
    assert app.button(key="queue").label == "Queue 1 run"
    assert "is unknown" in words(app)
    assert app.code[-1].value == "genrecore sweep"


@pytest.mark.slow
def test_the_number_of_runs_and_their_time_are_said_before_they_are_queued(
    copied: Path, finished: list[Run]
) -> None:
    app = open_page("plans", **FORM, **VARIED | {"values.seed": "0..2"})
    text = words(app)
    assert "**6 runs**" in text
    assert "4 of them are there already" in text
    assert "About " in text
    assert "from similar earlier runs" in text
    assert app.button(key="queue").label == "Queue 2 runs"
    line = app.code[-1].value.replace("\\\n", "")
    assert "--seed 0..2" in line
    assert "--lr 1e-2,1e-3" in line
    assert len(runs.all_runs(copied)) == 4  # nothing is queued yet


def test_queueing_opens_the_plan_and_stopping_and_going_on_work(nobody_starts: Path) -> None:
    app = open_page("plans", **FORM, **VARIED)
    app.button(key="queue").click().run()
    assert not app.exception, app.exception[0].message
    plan = plans.find_plan("latest")
    assert app.query_params["plan"] in ([plan.plan_id], plan.plan_id)
    signatures = [
        configuration.signature(config) for config in plan_drafts.draft(BASE, [GRID]).configs
    ]
    assert [configuration.signature(r.config) for r in jobs.queued(nobody_starts)] == signatures
    assert "0 of 4 runs have ended" in words(app)
    assert "Waiting for a free place" in words(app)

    app.button(key="stop_runs").click().run()
    assert not app.exception
    assert {run.reason for run in runs.all_runs(nobody_starts)} == {plans.STOPPED}
    assert "4 of 4 runs have no result" in words(app)
    app.button(key="go_on").click().run()
    assert not app.exception
    assert [run.state for run in runs.all_runs(nobody_starts)] == ["queued"] * 4

    run_page = open_page("runs", run=runs.all_runs(nobody_starts)[0].run_id)
    (link,) = [link.proto for link in run_page.get("page_link") if link.proto.label == "Its plan"]
    assert plan.plan_id in link.query_string


def test_a_finished_plan_names_its_best_by_validation_and_leads_to_compare(
    copied: Path, finished: list[Run]
) -> None:
    plans.start(plan_drafts.draft(BASE, [GRID | {"model": ["cnn", "mlp"]}]))
    app = open_page("plans")
    text = words(app)
    best = max(run.history["valid_accuracy"].max() for run in finished)
    assert "Best by validation" in text
    assert f"accuracy {100 * best:.1f} %" in text
    assert "4 of 4 runs done" in text
    (table,) = [element.value for element in app.dataframe if "score" in element.value]
    assert len(table) == 4
    assert table["score"].max() == pytest.approx(100 * best)
    assert set(table["note"]) == {"there already"}
    assert any("mlp" in block.value for block in app.markdown)  # left out, and why
    (tested,) = [element.value for element in app.dataframe if "Test accuracy" in element.value]
    by_rate: dict[str, list[float]] = {}
    for run in finished:
        accuracy = 100 * metrics.scores(run.predictions)["accuracy"]
        by_rate.setdefault(f"{run.config.training.lr:g}", []).append(accuracy)
    assert dict(zip(tested["Learning rate"], tested["Test accuracy"], strict=True)) == (
        pytest.approx({rate: sum(accuracies) / 2 for rate, accuracies in by_rate.items()})
    )


def test_failed_runs_of_a_plan_say_why_and_are_queued_again(copied: Path) -> None:
    plans.start(plan_drafts.draft(BASE, [GRID]))
    gone = runs.all_runs(copied)[0]
    Status(gone.folder).move("failed", "The disk is full.")
    app = open_page("plans")
    assert "The disk is full." in words(app)
    assert app.button(key="go_on").label == "Queue the missing run"
    app.button(key="go_on").click().run()
    assert Run(gone.folder).state == "queued"


def test_combinations_that_do_not_fit_are_named_and_wrong_values_refused(store: Path) -> None:
    app = open_page("plans", **FORM, models="cnn", vary="model.width,model.n_trees",
                    **{"values.model.width": "3,4", "values.model.n_trees": "5"})  # fmt: skip
    assert "n_trees" in app.error[0].value.replace("\\", "")
    assert app.button(key="queue").disabled
    again(app, vary="training.lr", **{"values.training.lr": "1e-2..1e-3"})
    assert "is not a range" in app.error[0].value.replace("\\", "")


def test_a_search_is_set_up_and_its_trials_are_shown(copied: Path, finished: list[Run]) -> None:
    app = open_page("plans", **FORM, way="tpe", trials="3", vary="training.lr",
                    **{"values.training.lr": "1e-3..1e-2:log"})  # fmt: skip
    assert "**3 runs**, chosen by the search" in words(app)
    assert app.button(key="queue").label == "Start 3 trials"
    assert "--search tpe" in app.code[-1].value
    # Nobody drives this one: its first trial was pruned, as its driver wrote it down.
    plan = search.create(BASE, {"training.lr": [1e-2, 1e-3]}, Strategy("random", n_trials=3))
    pruned = jobs.submit(finished[0].config, copied, plan=plan.plan_id)
    jobs.stop(pruned, reason=plans.PRUNED)
    trial = {"number": 0, "params": {"training.lr": 1e-2}, "run": pruned.run_id, "state": "pruned",
             "reason": "pruned"}  # fmt: skip
    unfit = trial | {"number": 1, "run": "", "state": "fail", "reason": "It does not fit."}
    write_json(plan.folder / "trials.json", {"trials": [trial, unfit]})
    app = open_page("plans", plan=plan.plan_id)
    text = words(app)
    assert "1 of 3 trials have not begun" in text
    assert "It does not fit." in text
    assert app.dataframe[0].value["state"].to_list() == ["⊘ Pruned"]
    assert app.button(key="go_on").label == "Let the search go on"


@pytest.mark.slow
def test_the_table_of_a_study_fills_the_form_in(store: Path, tmp_path: Path) -> None:
    app = open_page("plans", view="new")
    app.selectbox(key="table").select("liu_batch_sizes").run()
    assert not app.exception
    text = words(app)
    assert "Table 1" in text
    assert "35.49" in text
    assert "needs the folder" in text
    again(app, **{"fma_small.folder": str(tmp_path)})  # an empty folder, where no run could begin
    assert app.error
    assert app.button(key="queue").disabled
    again(app, dataset="demo", split="by_artist")
    assert "**16 runs**" in words(app)
    line = app.code[-1].value.replace("\\\n", "")
    assert "--model liu_cnn,liu_dcnn,liu_crnn,liu_dcrnn" in line
    assert "--batch-size 4,16,32,64" in line


@pytest.mark.slow
def test_what_is_not_known_can_be_measured_in_a_task(nobody_starts: Path, own_cache: Path) -> None:
    app = open_page("plans", **FORM, **VARIED)
    app.button(key="measure").click().run()
    assert not app.exception
    (task,) = jobs.tasks()
    assert task.status["arguments"][0] == "sweep"
    assert task.status["arguments"][-1] == "--dry-run"
    jobs.stop_task(task)


@pytest.mark.slow
def test_train_says_what_differs_from_the_run_it_was_opened_with(
    copied: Path, finished: list[Run]
) -> None:
    parent = finished[0]
    app = open_page("train", **{"from": parent.run_id})
    assert f"Changed against {plain(parent.title)}".replace("\\", "") in words(app)
    assert "Nothing yet" in words(app)
    again(app, **{"training.lr": "0.005", "cnn.width": "5", "seed": "4"})
    for change in (
        "Learning rate: 0.01 → **0.005**",
        "Model: Base filters: 3 → **5**",
        "Seed: 0 → **4**",
    ):
        assert change in words(app)
    app.button(key="train").click().run()
    assert not app.exception
    (queued,) = [run for run in runs.all_runs(copied) if run.state == "queued"]
    assert queued.origin == {"parent": parent.run_id, "how": "cloned"}
    assert json.loads((queued.folder / "config.json").read_text())["seed"] == 4


@pytest.mark.slow
def test_a_search_whose_driver_failed_says_why_and_a_plan_that_cannot_be_read_is_named(
    nobody_starts: Path, own_cache: Path
) -> None:
    plan = search.create(BASE, {"training.lr": [1e-2, 1e-3]}, Strategy("random", n_trials=3))
    (plan.folder / "study.log").write_text("This is no journal, so nobody can drive it.\n" * 50)
    task = search.start(plan)
    wait_for(lambda: jobs.Task(task.folder).state == "failed", 60)
    unreadable = plans.start(plan_drafts.draft(BASE, [{"seed": [0, 1]}]))
    stored = read_json(unreadable.folder / "plan.json")
    write_json(unreadable.folder / "plan.json", stored | {"base": {"no_such_field": 1}})
    app = open_page("plans")
    assert "The search ended:" in words(app)
    assert "study.log" in words(app)
    assert f"The plan {unreadable.plan_id} cannot be read" in words(app)
    assert "no_such_field" in genrecore("plans", "list").stderr


def test_an_unknown_plan_in_the_address_gives_the_newest_and_says_so(nobody_starts: Path) -> None:
    plan = plans.start(plan_drafts.draft(BASE, [{"seed": [0, 1]}]))
    app = open_page("plans", plan="no-such")
    assert "There is no plan no-such" in words(app)
    assert Plan(plan.folder).title in str(app.selectbox[0].options)


@pytest.mark.slow
def test_a_plan_on_clips_that_every_split_leaks_wears_the_red_badge(
    real_data: Path, nobody_starts: Path
) -> None:
    address = {"dataset": "gtzan", "gtzan.folder": str(real_data / "gtzan"), "values.seed": "0,1"}
    app = open_page("plans", view="new", **address)
    assert "The split leaks" in app.error[0].value
    button = app.button(key="queue")
    assert button.label == "Queue 2 runs with the red badge"
    assert not app.multiselect(key="choice_splits").options
    button.click().run()
    assert not app.exception
    assert {run.config.allow_leaks for run in runs.all_runs(nobody_starts)} == {True}
