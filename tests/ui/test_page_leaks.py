"""The page Leaks, opened through `app.py`, and the experiments behind it, over real tiny runs."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from commands import genrecore
from conftest import TINY, trained
from opened import open_page, words

from genrecore.config import run as configuration
from genrecore.config.run import RunConfig, with_values
from genrecore.data import datasets
from genrecore.errors import GenrecoreError
from genrecore.evaluation import metrics
from genrecore.experiments import leaks as leaklab
from genrecore.experiments.estimates import Estimator
from genrecore.experiments.leaks import LeakExperiment, leak_gap
from genrecore.reporting.plots import leaks as leak_charts
from genrecore.store import runs
from genrecore.store.progress import Phase
from genrecore.store.status import Status
from genrecore.ui.parts.frame import plain

pytestmark = pytest.mark.xdist_group("page_leaks")  # one worker trains the runs

N_FOLDS = 3
# The page leaves the length taken from each clip to the command; these are no longer than 3 s.
VALUES = {key: value for key, value in TINY.items() if key != "audio.clip_s"}
VALUES |= {"training.epochs": 1}
# The same as the form has it in the address.
FORM = {
    key.replace("dataset.", "demo.").replace("feature.", "log_mel.").replace("model.", "cnn."): str(
        value
    )
    for key, value in VALUES.items()
} | {"dataset": "demo", "by_artist.n_folds": str(N_FOLDS), "view": "new"}


@pytest.fixture(scope="module")
def plan() -> list[RunConfig]:
    """The configurations of one small experiment."""
    return list(leaklab.draft(with_values(RunConfig(), VALUES), N_FOLDS).configs)


@pytest.fixture(scope="module")
def finished(
    plan: list[RunConfig], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LeakExperiment]:
    """The same, trained for real."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRECORE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        store = tmp_path_factory.mktemp("laboratory")
        for config in plan:
            assert trained(config, store).state == "done"
        (experiment,) = leaklab.experiments(runs.all_runs(store))
        yield experiment


@pytest.fixture
def done(finished: LeakExperiment, monkeypatch: pytest.MonkeyPatch) -> LeakExperiment:
    """The trained experiment, in the store that pages and commands read. Nothing is added to it."""
    monkeypatch.setenv("GENRECORE_RUNS", str(finished.runs[0].folder.parent))
    return finished


@pytest.fixture
def copied(finished: LeakExperiment, store: Path) -> Path:
    """A store of this test's own with copies of the trained runs."""
    for run in finished.runs:
        shutil.copytree(run.folder, store / run.run_id)
    return store


def test_an_empty_store_explains_itself_and_offers_the_form(store: Path) -> None:
    app = open_page("leaks")
    assert "A split leaks when an artist" in words(app)
    assert app.button(key="queue").label == "Queue 10 runs"
    # There are none, so nothing is said.
    assert "estimated from similar earlier runs" not in words(app)
    assert app.code[-1].value == "genrecore leaklab --n-folds 5"


@pytest.mark.slow
def test_queueing_makes_the_runs_of_the_plan_and_stopping_cancels_them(
    store: Path, plan: list[RunConfig], nobody_starts: Path
) -> None:
    app = open_page("leaks", **FORM)
    app.button(key="queue").click().run()
    assert not app.exception
    queued = runs.all_runs(store)
    signatures = sorted(configuration.signature(config) for config in plan)
    assert sorted(configuration.signature(run.config) for run in queued) == signatures
    for run in queued:
        assert run.state == "queued"
        assert run.config.allow_leaks == (run.config.split.name == "stratified")
    assert app.query_params["experiment"] == configuration.signature(plan[0])
    assert "0 of 6 runs have ended" in words(app)
    assert "Waiting for a free place" in words(app)

    app.button(key="stop_runs").click().run()
    assert not app.exception
    assert {(run.state, run.reason) for run in runs.all_runs(store)} == {
        ("stopped", "its plan was stopped")
    }
    assert "6 of 6 runs have no result." in words(app)
    app.button(key="go_on").click().run()
    assert not app.exception
    assert [run.state for run in runs.all_runs(store)].count("queued") == 6


@pytest.mark.slow
def test_runs_that_are_done_are_not_trained_again(done: LeakExperiment) -> None:
    app = open_page("leaks", **FORM)
    assert "6 of them are there already" in words(app)
    app.button(key="queue").click().run()
    assert not app.exception
    assert app.query_params["experiment"] == done.key
    assert len(runs.all_runs()) == 6


def test_a_lost_fold_alone_is_queued_anew(
    copied: Path, finished: LeakExperiment, nobody_starts: Path
) -> None:
    gone = finished.leaky[1]
    Status(copied / gone.run_id).move("failed", "The disk is full.")
    app = open_page("leaks")
    assert "By clip, fold 2: The disk is full." in app.error[0].value.replace("\\", "")
    assert app.button(key="go_on").label == "Queue the missing run"
    app.button(key="go_on").click().run()
    (new,) = [run for run in runs.all_runs() if run.state == "queued"]
    assert configuration.signature(new.config) == configuration.signature(gone.config)
    assert "5 of 6 runs have ended" in words(app)
    assert "judged by" not in words(app)


def test_a_finished_experiment_says_what_the_command_says(done: LeakExperiment) -> None:
    app = open_page("leaks")
    gap = leak_gap(done.runs)
    assert f"## {gap.headline}" in words(app)
    by_hand = {
        name: sum(
            metrics.scores(run.predictions)["accuracy"] * metrics.scores(run.predictions)["n_clips"]
            for run in side.values()
        )
        / 30
        for name, side in (("leaky", done.leaky), ("clean", done.clean))
    }
    assert gap.leaky == pytest.approx(by_hand["leaky"])
    assert gap.clean == pytest.approx(by_hand["clean"])
    assert f"By clip {100 * by_hand['leaky']:.1f} %" in words(app)

    line = shlex.join(leaklab.leaklab_command(done.config, N_FOLDS))
    result = genrecore(*line.split()[1:], "--json")
    assert result.returncode == 0, result.stderr
    printed = json.loads(result.stdout)
    assert set(printed["runs"]) == {run.run_id for run in done.runs}  # none was trained again
    assert printed["difference"] == gap.difference
    assert (printed["low"], printed["high"]) == (gap.low, gap.high)


def test_every_fold_is_listed_with_its_accuracy_its_badge_and_the_way_to_its_run(
    done: LeakExperiment,
) -> None:
    app = open_page("leaks")
    table = app.dataframe[-1].value.set_index("run_id")
    assert len(table) == 6
    for run in done.runs:
        row = table.loc[run.run_id]
        assert row["run"] == f"runs?run={run.run_id}"
        assert row["accuracy"] == pytest.approx(100 * metrics.scores(run.predictions)["accuracy"])
        assert row["badge"] == run.badge
    assert done.leaky[0].badge.startswith("Leak: ")
    assert plain(done.leaky[0].badge) in "\n".join(str(text.value) for text in app.markdown)
    assert not any(run.badge for run in done.clean.values())


def test_the_figures_show_the_numbers_of_the_gap(done: LeakExperiment) -> None:
    gap = leak_gap(done.runs)
    charts = [leak_charts.accuracies(gap), leak_charts.genres(gap)]
    accuracies = charts[0].table
    assert accuracies["Share"].to_list() == [gap.leaky, gap.clean, gap.difference]
    assert accuracies["from"].to_list() == [gap.leaky_low, gap.clean_low, gap.low]
    bar = next(trace for trace in charts[0].figure.data if trace.type == "bar")
    assert bar.base[0] + bar.x[0] == pytest.approx(gap.leaky)
    genres = charts[1].table
    assert genres["Gap"].is_monotonic_decreasing
    assert set(genres["Genre"]) == set(gap.per_genre["genre"])
    assert (genres["By clip"] * genres["Clips"]).sum() == pytest.approx(30 * gap.leaky)
    for chart in charts:
        assert chart.figure.layout.title.text
        assert len(chart.alt) > 40
    assert len(open_page("leaks").get("plotly_chart")) == 2


@pytest.mark.slow
def test_an_address_opens_its_experiment_and_the_list_leads_to_others(
    copied: Path, finished: LeakExperiment, nobody_starts: Path
) -> None:
    newer = leaklab.start(with_values(finished.config, {"seed": 7}), 4).members
    first = open_page("leaks")
    assert "0 of 8 runs have ended" in words(first)
    older = open_page("leaks", experiment=finished.key)
    assert leak_gap(finished.runs).headline in words(older)
    rows = older.dataframe[-1].value
    titles = json.loads(older.dataframe[-1].proto.columns)
    assert titles["interval"]["label"] == "95 % interval"
    assert rows["state"].to_list() == ["0 of 8 runs", "6 of 6 runs"]
    assert "seed 7" in rows["title"][0]
    unknown = open_page("leaks", experiment="0123456789")
    assert "There is no experiment 0123456789" in words(unknown)
    assert "0 of 8 runs have ended" in words(unknown)
    assert len(newer) == 8
    # One is stopped, and the same is trained in another way: it is not trained twice.
    stopped = newer[0].run
    assert stopped is not None
    Status(stopped.folder).move("stopped")
    twin = runs.create_run(stopped.config)
    again = leaklab.start(with_values(finished.config, {"seed": 7}), 4).members
    assert {member.run.run_id for member in again if member.run} == {
        twin.run_id,
        *(member.run.run_id for member in newer[1:] if member.run),
    }
    assert runs.find_run(stopped.run_id).state == "stopped"


def test_the_run_at_work_is_shown_with_its_epoch_and_the_time_left(
    copied: Path, finished: LeakExperiment
) -> None:
    for run in finished.leaky.values():
        shutil.rmtree(copied / run.run_id)
    run, lock = runs.create_held_run(finished.leaky[0].config, copied)
    try:
        runs.create_run(finished.leaky[2].config, copied)
        status = Status(run.folder)
        status.move("running", phase=Phase.TRAINING, done=5, total=10, epoch=1, time_left_s=240.0)
        app = open_page("leaks")
        text = words(app)
        assert "3 of 6 runs have ended · about 4 min 0" in text  # the tiny ones take seconds
        assert "Running: By clip, fold 1" in text
        assert "Epoch 1 of 1" in text
        assert "1 of 6 runs has no result." in text
        (experiment,) = leaklab.experiments(runs.all_runs())
        took = [run.worked_s for run in finished.clean.values()]
        assert experiment.left_s == pytest.approx(240 + sorted(took)[1])
    finally:
        os.close(lock)


@pytest.mark.slow
def test_earlier_runs_tell_how_long_new_ones_take(done: LeakExperiment) -> None:
    earlier = runs.all_runs()
    estimator = Estimator(earlier)
    short = estimator.estimate(done.config)
    long = estimator.estimate(with_values(done.config, {"training.epochs": 101}))
    wider = with_values(done.config, {"model.width": 5})
    assert short.source == long.source == "runs"
    epoch_s = earlier[0].history["seconds"].median()  # every fold trains on 10 of 30 clips
    assert long.seconds - short.seconds == pytest.approx(100 * epoch_s)
    assert estimator.estimate(wider).source != "runs"
    assert "estimated from similar earlier runs" in words(
        open_page("leaks", **(FORM | {"training.epochs": "9"}))
    )
    assert "estimated from similar earlier runs" not in words(
        open_page("leaks", **(FORM | {"cnn.width": "5"}))
    )


def test_only_runs_on_both_splits_are_an_experiment(copied: Path, finished: LeakExperiment) -> None:
    ordinary = runs.create_run(with_values(finished.config, {"seed": 3}), copied)
    (experiment,) = leaklab.experiments(runs.all_runs(copied))
    assert experiment.key == finished.key
    assert ordinary.run_id not in {run.run_id for run in experiment.runs}
    assert experiment.complete
    # A newer copy that waits does not take the place of a result.
    runs.create_run(finished.config, copied)
    (experiment,) = leaklab.experiments(runs.all_runs(copied))
    assert experiment.complete


def music(folder: Path, artists: dict[str, list[str]] | None = None) -> dict[str, str]:
    """The address of a dataset of 6 clips a genre; with artists as a list of files."""
    rows = ["path,genre,artist"]
    for genre in artists or ("dub", "waltz"):
        (folder / genre).mkdir(parents=True)
        for number in range(6):
            path = folder / genre / f"{number}.wav"
            soundfile.write(path, [0.1, -0.1] * 4000 + [number / 10] * 999, 8000)
            rows.append(f"{genre}/{number}.wav,{genre},{artists[genre][number] if artists else ''}")
    if artists is None:
        return {"dataset": "folder", "folder.folder": str(folder), "view": "new"}
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    return {"dataset": "manifest", "manifest.folder": str(folder / "clips.csv"), "view": "new"}


@pytest.mark.parametrize(
    ("artists", "reason"),
    [
        (None, "No artist is known of the 12 clips"),
        (
            {"dub": ["Ann"] * 6, "waltz": ["Bob", "Cy", "Di"] * 2},
            "too few artists in dub (1) to keep artists apart: 3 folds need 3 artists a genre",
        ),
        (
            {g: [f"{g} {n}" for n in range(6)] for g in ("dub", "waltz")},
            "No two of the 12 clips are known to be by one artist",
        ),
    ],
    ids=["no artists", "one artist", "a clip an artist"],
)
def test_clips_that_cannot_answer_are_refused_with_the_reason(
    artists: dict[str, list[str]] | None, reason: str, store: Path, tmp_path: Path
) -> None:
    app = open_page("leaks", **music(tmp_path / "music", artists), **{"by_artist.n_folds": "3"})
    assert reason in app.error[0].value.replace("\\", "")
    assert app.button(key="queue").disabled


@pytest.mark.slow
def test_a_genre_with_one_artist_can_be_left_out(store: Path, tmp_path: Path) -> None:
    bands = ["Bob", "Cy", "Di"] * 2
    artists = {"dub": ["Ann"] * 6, "march": [f"{band} B." for band in bands], "waltz": bands}
    address = music(tmp_path / "music", artists) | {"by_artist.n_folds": "3"}
    assert "leave these genres out" in open_page("leaks", **address).error[0].value
    app = open_page("leaks", **address, **{"genres.leave_out": "dub"})
    assert not app.error
    assert app.button(key="queue").label == "Queue 6 runs"
    assert "--leave-out dub" in app.code[-1].value


def test_a_dataset_without_its_folder_and_too_many_folds_are_said_in_a_sentence(
    store: Path, tmp_path: Path
) -> None:
    assert "needs the folder" in open_page("leaks", dataset="gtzan").error[0].value
    absent = {"dataset": "gtzan", "gtzan.folder": str(tmp_path / "absent")}
    assert "There is nothing at" in open_page("leaks", **absent).error[0].value
    app = open_page(
        "leaks", **{"demo.n_clips": "211", "by_artist.n_folds": "9"}
    )  # nobody has made these
    assert "9 folds need 9 artists a genre; choose at most 8 folds" in app.error[0].value


def test_the_command_refuses_before_anything_is_trained(store: Path, tmp_path: Path) -> None:
    address = music(tmp_path / "music")
    result = genrecore("leaklab", "--dataset=folder", f"--set=dataset.folder={tmp_path / 'music'}")
    assert result.returncode == 1
    assert "No artist is known" in result.stderr.replace("\n", " ")
    assert runs.all_runs(store) == []
    clips = datasets.load("folder", {"folder": address["folder.folder"]})
    with pytest.raises(GenrecoreError, match="No artist is known"):
        leaklab.check(RunConfig(), clips)
