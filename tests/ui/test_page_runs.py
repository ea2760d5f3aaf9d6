"""The page Runs: the table, what is done to runs, the queue, one run's views; and its readers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from conftest import TINY, trained
from opened import again, open_page, words
from streamlit.testing.v1 import AppTest

from genrecore.config.run import RunConfig, with_values
from genrecore.evaluation.listing import RunRow, run_rows, unreadable
from genrecore.evaluation.scores import run_scores
from genrecore.jobs import actions as jobs
from genrecore.store import runs, settings
from genrecore.store.locks import take_lock
from genrecore.store.run import LIVE, Run
from genrecore.store.status import Status, ask_to_stop, stop_request
from genrecore.training.resolve import resolve
from genrecore.ui.runs.table import filtered

pytestmark = pytest.mark.xdist_group("page_runs")  # one worker trains the run that tests copy


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that is done."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRECORE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        config = resolve(with_values(RunConfig(), {**TINY, "training.epochs": 4})).config
        return trained(config, tmp_path_factory.mktemp("template"))


@pytest.fixture
def no_runner(store: Path) -> Iterator[None]:
    """Nobody starts what is queued: the runner's lock is held here."""
    lock = take_lock(store / jobs.RUNNER_LOCK)
    assert lock is not None
    yield
    os.close(lock)


@pytest.fixture
def make(template: Run, store: Path, no_runner: None) -> Iterator[object]:
    """`make("failed", reason)`: a run in such a state; live ones are held by this process."""
    locks: list[int] = []

    def make_run(state: str, reason: str = "", **values: object) -> Run:
        if state == "done":
            name = f"20260101-{len(list(store.iterdir())):06d}-demo-cnn-{len(locks):04x}"
            shutil.copytree(template.folder, store / name)
            return Run(store / name)
        settings = {key: values.pop(key) for key in list(values) if "." in key}
        run, lock = runs.create_held_run(with_values(template.config, settings), store)
        if state not in ("queued",):
            for name in ("clips.parquet", "history.jsonl", "epochs.u8"):
                shutil.copyfile(template.folder / name, run.folder / name)
            Status(run.folder).move(
                "running" if state == "lost" else state,
                reason,
                **{"epoch": 4, "n_epochs": 9, "best_epoch": 2, "best_valid_accuracy": 0.5} | values,
            )
        if state in LIVE:
            locks.append(lock)
        else:
            os.close(lock)
        return Run(run.folder)

    yield make_run
    for lock in locks:
        os.close(lock)


def keys(app: AppTest) -> set[str]:
    return {str(button.key) for button in app.button}


def opened(app: AppTest) -> str:
    """The run in the address."""
    value = app.query_params["run"]
    return value if isinstance(value, str) else value[0]


def table_of(app: AppTest) -> pd.DataFrame:
    return app.dataframe[0].value


# The table


def test_rows_say_what_runs_say_and_follow_every_change(make, store: Path) -> None:
    done, live = make("done"), make("running", time_left_s=61.0)
    lost, waiting = make("lost"), make("queued")
    rows = {row.run_id: row for row in run_rows()}
    assert {run_id: row.state for run_id, row in rows.items()} == {
        done.run_id: "done",
        live.run_id: "running",
        lost.run_id: "lost",
        waiting.run_id: "queued",
    }
    row = rows[live.run_id]
    assert (row.epoch, row.n_epochs, row.best, row.left_s) == (4, 9, 0.5, 61.0)
    assert rows[lost.run_id].left_s != rows[lost.run_id].left_s  # nobody knows
    ask_to_stop(live.folder)  # nothing in its status changed
    assert {r.run_id: r.state for r in run_rows()}[live.run_id] == "stopping"
    Status(live.folder).move("done", epoch=9)
    row = {r.run_id: r for r in run_rows()}[live.run_id]
    assert (row.state, row.epoch) == ("done", 9)
    shutil.rmtree(done.folder)
    assert done.run_id not in {r.run_id for r in run_rows()}
    (lost.folder / "config.json").write_text("{}x")
    assert lost.run_id not in {r.run_id for r in run_rows()}
    assert [error.name for error in unreadable()] == [lost.run_id]


def row(run_id: str, **values: object) -> RunRow:
    nan = float("nan")
    base: dict[str, object] = {
        "run_id": run_id, "name": run_id, "title": run_id, "state": "done", "model": "cnn",
        "dataset": "demo", "seed": 0, "fold": 0, "accuracy": nan, "accuracy_low": nan,
        "accuracy_high": nan, "n_clips": 0, "note": "", "tags": (), "starred": False,
        "split": "by_artist", "marks": "", "badge": "", "epoch": 1, "n_epochs": 2, "best": nan,
        "left_s": nan, "created": 1.0, "plan": "", "on": "", "job": "", "node": "", "why": "",
        "never": False,
    }  # fmt: skip
    return RunRow(**(base | values))  # type: ignore[arg-type]


def test_filters_and_orders_of_the_table() -> None:
    rows = [
        row("c", best=0.7, state="running", left_s=90.0, name="Zoë", tags=("wide", "old")),
        row("b", model="resnet18", badge="Leak: 3 clips", accuracy=0.5, note="Too *loud*."),
        row("a", best=0.9, dataset="gtzan", state="failed", left_s=30.0, accuracy=0.6, seed=3,
            fold=12, starred=True, tags=("wide",)),
    ]  # fmt: skip

    def ids(**query: object) -> str:
        return "".join(r.run_id for r in filtered(rows, **query))  # type: ignore[arg-type]

    assert ids() == "cba"
    assert ids(sort="oldest") == "abc"
    assert ids(sort="best") == "acb"  # what has no score comes last
    assert ids(sort="left") == "acb"
    assert ids(sort="state") == "cab"
    assert ids(query="LEAK clips") == "b"
    assert ids(query="leak nothing") == ""
    assert ids(query="failed") == ids(query="seed 3") == ids(query="fold 13") == "a"
    assert ids(query="ZOË") == ids(query="old wide") == "c"
    assert ids(query="*loud*") == "b"
    assert ids(query="3") == "ba"  # a word of its own: clips of the one, seed of the other
    assert ids(query="1") == "cba"
    assert ids(query="2") == "cba"
    assert ids(query="fold 1") == "cb"  # people count from 1
    assert ids(query="20") == ""
    assert ids(query="wide by_artist") == ids(query="wide by artist") == "ca"
    assert ids(tags=["wide", "old"]) == "c"
    assert ids(starred=True) == "a"
    assert ids(sort="starred") == "acb"
    assert ids(sort="test") == "abc"
    assert ids(sort="name") == "abc"
    assert ids(states=["done", "failed"]) == "ba"
    assert ids(models=["cnn"], datasets=["demo"]) == "c"


def test_filters_live_in_the_address_and_a_filter_that_leaves_nothing_says_so(make) -> None:
    make("failed", "The disk is full."), make("done")
    app = open_page("runs", state="failed")
    assert len(table_of(app)) == 1
    assert "1 of 2 runs" in words(app)
    app = again(app, find="no-such-word")
    assert "None of the 2 runs fits" in words(app)
    app.button(key="run_filter_off").click().run()
    assert len(table_of(app)) == 2
    assert "state" not in app.query_params


def test_columns_are_chosen_ordered_and_remembered(make, store: Path) -> None:
    make("done")
    app = open_page("runs")
    shown = list(app.dataframe[0].proto.column_order)
    assert shown == ["starred", "name", "state", "accuracy", "best", "seed", "epochs"]
    app.multiselect(key="choice_columns").set_value(["split", "name", "accuracy_low"]).run()
    assert list(app.dataframe[0].proto.column_order) == ["split", "name", "accuracy_low"]
    low, high = (
        f"{100 * run_rows()[0].__dict__[f'accuracy_{end}']:.1f}" for end in ("low", "high")
    )
    assert low in table_of(app)["accuracy_low"][0]
    assert high in table_of(app)["accuracy_low"][0]
    app = open_page("runs")  # another visit
    assert list(app.dataframe[0].proto.column_order) == ["split", "name", "accuracy_low"]
    app = open_page("runs", columns="name,nonsense,model")  # an address comes first, keeps nothing
    assert list(app.dataframe[0].proto.column_order) == ["name", "model"]
    app = open_page("runs")
    app.button(key="run_columns_usual").click().run()
    assert list(app.dataframe[0].proto.column_order) == shown
    assert "run_columns" not in settings.read(store)


def test_rows_show_names_and_test_accuracies_that_the_run_has(make) -> None:
    run, other = make("done"), make("failed", "The disk is full.")
    jobs.annotate(run, name="<b>*mine*</b>", tags=["t"])
    table = table_of(open_page("runs"))
    assert list(table["name"]) == [other.made_name, "<b>*mine*</b>"]
    shown = table["accuracy"][1]
    assert shown == pytest.approx(100 * run_scores(run)["accuracy"])
    assert pd.isna(table["accuracy"][0])
    jobs.annotate(run, name="other")  # seen at once, although nothing else changed
    assert list(table_of(open_page("runs"))["name"]) == [other.made_name, "other"]


@pytest.mark.slow
def test_two_ticked_runs_that_were_tested_are_compared(make) -> None:
    first, second, failed = make("done"), make("done"), make("failed")
    app = open_page("runs")
    app.session_state["_ticked"] = [first.run_id, failed.run_id]
    app.run()
    assert app.button(key="rows_compare").disabled
    app.session_state["_ticked"] = [first.run_id, second.run_id, failed.run_id]
    app.run()
    assert app.button(key="rows_compare").label == "Compare 2"
    app.button(key="rows_compare").click().run()
    assert not app.exception
    assert app.title[0].value == "Compare"
    listed = app.query_params["runs"]
    assert sorted((listed if isinstance(listed, str) else listed[0]).split(",")) == [
        first.run_id,
        second.run_id,
    ]


def test_the_best_runs_come_first_when_asked_for(make) -> None:
    make("running", best_valid_accuracy=0.25), make("running", best_valid_accuracy=0.75)
    app = open_page("runs", sort="best")
    assert table_of(app)["best"].to_list() == [75.0, 25.0]


# What is done to a run


@pytest.mark.slow
def test_each_state_offers_what_it_allows(make) -> None:
    offered = {
        "running": {"stop", "keep"},
        "stopped": {"resume", "delete"},
        "failed": {"resume", "delete"},
        "lost": {"resume", "delete"},
        "done": {"delete"},
        "queued": {"stop", "delete"},
    }
    deeds = {"stop", "keep", "resume", "delete"}
    for state, able in offered.items():
        run = make(state)
        offered_keys = keys(open_page("runs", run=run.run_id))
        assert {deed for deed in deeds if f"{deed}_{run.run_id}" in offered_keys} == able, state
        assert f"clone_same_{run.run_id}" in offered_keys


def test_stop_and_keep_the_best_asks_for_it_and_counts_down(make) -> None:
    run = make("running")
    app = open_page("runs", run=run.run_id)
    app.button(key=f"keep_{run.run_id}").click().run()
    assert stop_request(run.folder)["keep_best"]
    now = Run(run.folder)
    assert now.state == "stopping"
    assert now.stop_left_s is not None
    assert "it is ended by force in" in words(app)
    assert not {f"stop_{run.run_id}", f"keep_{run.run_id}"} & keys(app)
    ask_to_stop(run.folder, within_s=-1.0)
    assert "Its time is up" in words(again(app))


def test_resume_queues_the_run_again(make) -> None:
    run = make("stopped", "Stopped on request.")
    app = open_page("runs", run=run.run_id)
    app.button(key=f"resume_{run.run_id}").click().run()
    assert Run(run.folder).state == "queued"
    assert any("is queued" in toast.value for toast in app.toast)


@pytest.mark.slow
def test_a_done_run_is_continued_for_more_epochs_by_a_new_run(make) -> None:
    run = make("done")
    app = open_page("runs", run=run.run_id)
    app.number_input(key=f"epochs_{run.run_id}").set_value(11).run()
    app.button(key=f"go_on_{run.run_id}").click().run()
    (new,) = [r for r in runs.all_runs() if r.run_id != run.run_id]
    assert new.config.training.epochs == 11
    assert new.origin["parent"] == run.run_id
    assert opened(app) == new.run_id
    back = f"Continues {run.run_id[-4:]}"
    next(button for button in app.button if button.label == back).click().run()
    assert opened(app) == run.run_id


@pytest.mark.slow
def test_a_clone_has_the_same_settings_or_the_next_seed(make) -> None:
    run = make("done")
    for deed, seed in (("same", 0), ("seed", 1)):
        app = open_page("runs", run=run.run_id)
        app.button(key=f"clone_{deed}_{run.run_id}").click().run()
        new = Run(run.folder.parent / opened(app))
        assert new.config == with_values(run.config, {"seed": seed})
        assert new.state == "queued"


@pytest.mark.slow
def test_deleting_goes_to_the_bin_and_undo_brings_back(make, store: Path) -> None:
    run, second = make("done"), make("stopped")
    app = open_page("runs", run=run.run_id)
    app.button(key=f"delete_{run.run_id}").click().run()
    assert [r.run_id for r in runs.all_runs()] == [second.run_id]
    assert [r.run_id for r in jobs.deleted()] == [run.run_id]
    assert "1 run moved to the bin" in words(app)
    app.button(key="undo").click().run()
    assert {r.run_id for r in runs.all_runs()} == {run.run_id, second.run_id}
    assert "undo" not in keys(app)


def test_the_bin_restores_and_is_emptied_for_good_and_shows_without_any_run(make) -> None:
    first, second = make("done"), make("done")
    jobs.delete(first), jobs.delete(second)
    app = open_page("runs")
    assert "There are no runs yet." in words(app)
    app.multiselect(key="bin_picked").set_value([second.run_id]).run()
    app.button(key="bin_restore").click().run()
    assert [run.run_id for run in runs.all_runs()] == [second.run_id]
    app.button(key="bin_empty_yes").click().run()
    assert jobs.deleted() == []
    assert not first.folder.exists()


@pytest.mark.slow
def test_several_runs_are_acted_on_and_each_action_reaches_those_that_it_can(make) -> None:
    live, ended, waiting = make("running"), make("stopped"), make("queued")
    app = open_page("runs")
    app.session_state["_ticked"] = [live.run_id, ended.run_id, waiting.run_id]
    app.run()
    labels = {button.key: button.label for button in app.button}
    assert labels["rows_stop"] == "Stop 2"
    assert labels["rows_resume"] == "Resume 1"
    assert labels["rows_clone"] == "Clone"
    assert labels["rows_delete"] == "Delete 2"
    app.button(key="rows_stop").click().run()
    assert Run(live.folder).state == "stopping"
    assert Run(waiting.folder).state == "stopped"
    assert Run(ended.folder).state == "stopped"
    assert any("2 runs asked to stop" in toast.value for toast in app.toast)
    assert "rows_stop" not in keys(app)  # nothing is ticked any more
    app.session_state["_ticked"] = [ended.run_id, waiting.run_id]
    app.run()
    app.button(key="rows_delete").click().run()
    assert [run.run_id for run in runs.all_runs()] == [live.run_id]
    app.button(key="undo").click().run()
    assert len(runs.all_runs()) == 3


# The queue


@pytest.mark.slow
def test_the_queue_is_shown_in_its_order_and_changed_on_the_page(make, store: Path) -> None:
    queued = [make("queued") for _ in range(3)]
    order = [run.run_id for run in jobs.queued(store)]
    assert order == [run.run_id for run in queued]
    app = open_page("runs")
    assert app.button(key=f"first_{order[0]}").disabled
    assert app.button(key=f"down_{order[2]}").disabled
    app.button(key=f"first_{order[2]}").click().run()
    app.button(key=f"down_{order[0]}").click().run()
    expected = [order[2], order[1], order[0]]
    assert [run.run_id for run in jobs.queued(store)] == expected
    app.selectbox(key=f"priority_{order[0]}_0").set_value(10).run()
    assert jobs.queued(store)[0].run_id == order[0]
    app.button(key=f"cancel_{order[1]}").click().run()
    assert Run(queued[1].folder).state == "stopped"


def test_the_queue_pauses_after_or_with_the_runs_at_work_and_goes_on(make, store: Path) -> None:
    live = make("running")
    make("queued")
    app = open_page("runs")
    app.button(key="queue_pause_after").click().run()
    assert jobs.paused(store)
    assert Run(live.folder).state == "running"
    assert "The queue is paused since" in words(app)
    app.button(key="queue_resume").click().run()
    assert not jobs.paused(store)
    app.button(key="queue_pause_now").click().run()
    assert stop_request(live.folder)["requeue"]
