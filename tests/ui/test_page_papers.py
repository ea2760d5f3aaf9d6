"""The page Papers, opened through `app.py`, over one real rehearsal."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from dataset_samples import gtzan_tables, noise_as_gtzan
from opened import again, open_page, tables, words
from rehearsed import rehearsals
from sample_files import silent_wav
from streamlit.testing.v1 import AppTest

from genrecore.data.datasets.remembered import remember
from genrecore.experiments import papers
from genrecore.experiments import plan as plans
from genrecore.experiments.papers import ProtocolGap, findings
from genrecore.reporting.plots import papers as paper_plots
from genrecore.store import runs

pytestmark = pytest.mark.xdist_group("papers")


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store with one row of each study, trained for real; nothing is added to it."""
    base = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRECORE_CACHE", str(base / "cache"))
        yield rehearsals(base / "rehearsals")


@pytest.fixture
def rehearsal_store(rehearsed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same as the store that pages read."""
    monkeypatch.setenv("GENRECORE_RUNS", str(rehearsed))
    return rehearsed


@pytest.mark.parametrize("name", ["belton", "benito"])
def test_each_study_says_what_it_prints_before_anything_is_run(name: str, store: Path) -> None:
    study = papers.study(name)
    app = open_page("papers", study=name)
    text = words(app)
    assert study.question in text
    assert "None of its rows has been run here." in text
    for remark in study.critique:
        assert remark.text.replace("$", "") in text
    cells = "\n".join(table.to_string() for table in tables(app))
    for number in study.numbers:
        if number.measure and number.system and not number.missing:
            assert number.shown in cells, number.words
    assert "○ not run" in cells
    if name == "benito":
        return
    app = again(app, view="recipe")
    marks = tables(app)[0]["Where from"]
    assert len(marks) == len(study.settings)
    assert marks.str.startswith(
        ("Stated in section", "Printed in", "From the", "Our choice bec")
    ).all()


@pytest.mark.slow
def test_a_rehearsal_is_shown_as_one_and_never_as_a_result(rehearsal_store: Path) -> None:
    app = open_page("papers", study="liu")
    text = words(app)
    assert "Rehearsals: fewer and shorter clips" in text
    table = next(t for t in tables(app) if "Ours, as published" in t and "Column" in t)
    ours = table[table["System"] == "CNN, cyclic rate"]
    accuracy = ours[ours["Column"].str.contains("Accuracy")]
    assert accuracy["Ours, as published"].str.endswith("◇ rehearsal").all()
    assert not any("reproduced" in text for text in table["Ours, as published"])
    assert "Printed, as published, and honest" in app.get("plotly_chart")[0].proto.spec
    systems = next(t for t in tables(app) if "Marks" in t)
    assert systems["Marks"].str.contains("Rehearsal: 10 clips a genre").all()
    real = again(app, ours="runs")
    assert "None of its rows has been run here." in words(real)


def test_figures_are_redrawn_and_say_what_is_missing(rehearsal_store: Path) -> None:
    app = open_page("papers", study="liu", view="figures", figure="Figure 7")
    assert "Not run yet: DCNN, cyclic rate" in words(app)
    assert "Not printed, and not reconstructed here: The curves." in words(app)
    assert "CNN, cyclic rate" in app.get("plotly_chart")[0].proto.spec
    app = again(app, figure="Figure 8")
    assert "struggles with high variance" in words(app)
    assert len(app.get("plotly_chart")) == 1
    app = again(app, figure="Figure 5")
    assert "None of its systems has been run under this protocol." in words(app)
    app = open_page("papers", study="hong", view="figures", figure="Figure 2")
    panels = [drawn.proto.spec for drawn in app.get("plotly_chart")]  # of the network that was run
    assert ["ResNet-18: loss in training" in spec for spec in panels] == [True, False]
    assert ["ResNet-18: accuracy in training" in spec for spec in panels] == [False, True]


def test_qins_cost_goes_by_step_and_by_epoch_where_a_run_kept_no_more(
    rehearsed: Path, store: Path
) -> None:
    (run,) = [run for run in runs.all_runs(rehearsed) if run.config.model.name == "lstm"]
    shutil.copytree(rehearsed, store, dirs_exist_ok=True)
    app = open_page("papers", study="qin", view="figures", figure="Figure 7")
    (drawn,) = app.get("plotly_chart")
    (line,) = json.loads(drawn.proto.spec)["data"]
    n_steps = int(run.status["total"])
    assert line["x"] == list(range(1, n_steps + 1))
    assert line["y"] == pytest.approx(run.step_losses.tolist())
    assert "Not run yet: LSTM, 128 units, rate 8e-5" in words(app)
    (store / run.run_id / "steps.f32").unlink()
    app = again(app)
    (drawn,) = app.get("plotly_chart")
    (line,) = json.loads(drawn.proto.spec)["data"]
    assert line["y"] == run.history["train_loss"].tolist()
    assert "which kept the loss by epoch only: LSTM, 64 units, rate 8e-5" in words(app)


def test_figures_without_results_need_no_run(store: Path, tmp_path: Path) -> None:
    app = open_page("papers", study="liu", view="figures", figure="Figure 1")
    assert [int(layers.value["Parameters"].sum()) for layers in app.dataframe] == [
        *(326_752, 12_587_932, 1_008_608, 2_181_324)
    ]
    app = again(app, figure="Figure 3")
    assert "the text has the equation" in words(app)
    app = again(app, figure="Figure 4")
    (drawn,) = app.get("plotly_chart")
    assert "Learning rate at the start of every epoch" in drawn.proto.spec


def test_the_sound_of_a_figure_is_of_its_genre(
    store: Path, own_cache: Path, real_data: Path, tmp_path: Path
) -> None:
    clip = real_data / "fma_small" / "000" / "000002.mp3"
    for track in (2, 5, 676, 182, 255, 256):  # three of hip-hop, three of rock
        copy = tmp_path / "fma_small" / "000" / f"{track:06}.mp3"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, copy)
    remember("fma_small", {"folder": str(tmp_path)})
    app = open_page("papers", study="liu", view="figures", figure="Figure 2")
    assert not app.exception
    assert "(Hip-Hop)" in words(app)
    assert len(app.get("plotly_chart")) == 3


@pytest.mark.slow
def test_missing_rows_are_queued_with_one_button(nobody_starts: Path) -> None:
    app = open_page(
        "papers",
        study="hong",
        view="run",
        on="demo",
        rows="alexnet,resnet18",
        run_protocol="honest",
    )
    text = words(app)
    assert "**2 runs**" in text
    assert "How long they take is unknown" in text
    assert app.code[-1].value.startswith("genrecore papers run hong")
    assert "--rows alexnet,resnet18" in app.code[-1].value
    app.button(key="queue").click().run()
    assert not app.exception
    queued = runs.all_runs(nobody_starts)
    assert {run.config.model.name for run in queued} == {"alexnet", "resnet18"}
    assert {run.config.rehearsal for run in queued} == {10}
    assert "2 runs in progress or waiting" in words(app)
    (plan,) = plans.all_plans(nobody_starts)
    assert plan.facts["paper"] == {"study": "hong", "rehearsal": True}
    assert plan.title.startswith("Rehearsal of Hong on demo, scale 0.1")
    assert "2 of them are there already" in words(app)


def test_without_the_dataset_it_says_what_to_download(store: Path, own_cache: Path) -> None:
    fma = words(open_page("papers", study="hong", view="run"))
    assert "needs to know where its files lie" in fma
    assert "Download 7." in fma
    gtzan = words(open_page("papers", study="qin", view="run"))
    assert "GTZAN has no licence that would let genrecore fetch it" in gtzan


def test_the_gap_is_drawn_with_all_its_numbers(rehearsal_store: Path) -> None:
    study = papers.study("liu")
    study_runs = papers.find_runs(study, True, rehearsal_store)
    (gap,) = papers.gaps(study, study_runs, papers.cells(study, study_runs, True))
    chart = paper_plots.gaps([gap], "Title")
    row = chart.table.iloc[0]
    for protocol, column in (("published", "As published"), ("honest", "Honest")):
        (run,) = study_runs.of_row("cnn_cyclic", protocol)
        assert row[column] == findings.measure([run], "test_accuracy", protocol).value
    assert row["Printed"] == 0.3663  # test accuracy counts before validation accuracy
    assert row["Gap"] == pytest.approx(row["As published"] - row["Honest"])
    assert len(chart.alt) > 40
    only = ProtocolGap(
        gap.system, gap.title, float("nan"), gap.published, findings.measure([], "", "honest")
    )
    assert (
        len(paper_plots.gaps([only], "Title").figure.data) == 1
    )  # nothing stands for what is missing


def test_a_store_with_a_deleted_run_still_opens(rehearsed: Path, store: Path) -> None:
    shutil.copytree(rehearsed / ".plans", store / ".plans")
    app = open_page("papers", study="liu")
    assert "None of its rows has been run here." in words(app)


def test_a_studys_plan_is_a_plan_like_any_other(rehearsal_store: Path) -> None:
    (plan,) = (plan for plan in plans.all_plans() if plan.facts["paper"]["study"] == "liu")
    app = open_page("plans", plan=plan.plan_id)
    assert "2 of 2 runs done." in words(app)
    assert f"After {plan.source}" in words(app)
    table = next(frame.value for frame in app.dataframe if "state" in frame.value)
    assert set(table["v_1"]) == set(papers.PROTOCOLS)


@pytest.mark.slow
def test_rows_whose_files_are_missing_are_left_out_with_the_reason(
    real_data: Path, nobody_starts: Path
) -> None:
    address = {"study": "qin", "view": "run", "gtzan.folder": str(real_data / "gtzan")}
    app = open_page("papers", **address)
    reasons = " ".join(box.value for box in app.warning).replace("\\", "")
    assert "holds no images_original" in reasons
    queue = app.button(key="queue")
    n = int(queue.label.removeprefix("Queue the ").removesuffix(" that can run"))
    assert 0 < n < 2 * len(papers.study("qin").rows)
    queue.click().run()
    assert not app.exception
    assert len(runs.all_runs(nobody_starts)) == n


def test_where_no_row_can_run_the_button_cannot_be_pressed(store: Path, tmp_path: Path) -> None:
    for genre in ("blues", "rock"):
        for number in range(4):
            silent_wav(tmp_path / "genres_original" / genre / f"{genre}.{number:05}.wav")
    app = open_page("papers", study="qin", view="run", **{"gtzan.folder": str(tmp_path)})
    assert "None of these runs can be trained" in app.error[0].value
    assert app.button(key="queue").disabled


@pytest.mark.slow
def test_figures_of_music_and_of_networks_are_drawn_without_a_run(
    store: Path, own_cache: Path, tmp_path: Path
) -> None:
    def page(study: str, figure: str) -> AppTest:
        return open_page("papers", study=study, view="figures", figure=figure)

    assert "GTZAN has no licence" in words(page("belton", "Figure 1"))
    folder = noise_as_gtzan(tmp_path / "music")
    gtzan_tables(folder)
    remember("gtzan", {"folder": str(folder)})
    app = page("belton", "Figure 1")
    assert "Drawn from the dataset; no run is needed." in words(app)
    assert len(app.get("plotly_chart")) == 1
    for figure, n in (("Figure 3", 3), ("Figure 4", 6)):
        app = page("belton", figure)
        assert not app.exception
        assert not app.error
        assert len(app.get("plotly_chart")) == n, figure
    for study, figure, n in (("qin", "Figure 3", 1), ("benito", "Fig. 2", 3)):
        app = page(study, figure)
        assert not app.exception
        assert not app.error
        assert len(app.dataframe) == n
        assert all("What it is" in frame.value for frame in app.dataframe), (study, figure)


def test_a_figure_is_headed_by_its_number_once(store: Path) -> None:
    for study, figure in (("benito", "Fig. 2"), ("hong", "Figure 1"), ("liu", "Figure 3")):
        app = open_page("papers", study=study, view="figures", figure=figure)
        assert f"{figure}: " in words(app)
        assert f"{figure}: {figure}" not in words(app)


def test_every_figure_is_drawn_or_says_what_it_would_show() -> None:
    for study in papers.studies():
        not_drawn = [figure.place for figure in study.figures if not figure.draws]
        assert not_drawn == (["Figure 3"] if study.name == "liu" else []), study.name
    without_run = {"sound", "balance", "augmentations", "layers", "rates"}
    drawn = {
        (study.name, figure.place): figure.draws in without_run
        for study in papers.studies()
        for figure in study.figures
    }
    assert drawn["hong", "Figure 1"]
    assert all(drawn["liu", f"Figure {n}"] for n in (1, 2, 4))
    assert all(drawn["qin", f"Figure {n}"] for n in (1, 2, 3, 4))
    assert all(drawn["benito", f"Fig. {n}"] for n in (1, 2))
