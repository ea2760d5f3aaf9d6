"""The page Compare opened through `app.py`: what it lets choose, what it says, what it bears."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import pandas as pd
import pytest
from commands import command
from fake_runs import draw_right, fake_run
from opened import again, open_page, words
from streamlit.testing.v1 import AppTest

from genrecore.evaluation import comparison, systems, training_sizes
from genrecore.evaluation.scores import run_scores
from genrecore.store import views
from genrecore.store.files import write_json
from genrecore.store.run import Run
from genrecore.store.runs import all_runs
from genrecore.ui.parts.frame import plain

pytestmark = pytest.mark.xdist_group("compare")
ARTISTS = np.arange(90) // 2
VIEWS = ("verdicts", "scores", "unsure", "curves", "sizes", "genres", "confusions", "cost", "ranks")
VIEWS += ("settings",)


@pytest.fixture(scope="module")
def seven_runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Seven runs: two systems with three seeds on the same clips, and one run on other clips."""
    folder = tmp_path_factory.mktemp("compare") / "runs"
    folder.mkdir()
    runs = [
        fake_run(
            folder, draw_right(share, 90, 10 * k + seed), ARTISTS, seed=seed, n_epochs=3, **values
        )
        for k, (share, values) in enumerate(
            [(0.8, {"model": "cnn"}), (0.4, {"model": "mlp", "split": "stratified"})]
        )
        for seed in range(3)
    ]
    runs.append(fake_run(folder, draw_right(0.6, 90, 99), first=30, model="crnn", dataset="gtzan"))
    return runs


@pytest.fixture
def full(seven_runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    monkeypatch.setenv("GENRECORE_RUNS", str(seven_runs[0].folder.parent))
    return [Run(run.folder) for run in seven_runs]


def picked(*runs: Run) -> str:
    return ",".join(run.run_id for run in runs)


@pytest.mark.slow
def test_every_view_opens_for_runs_and_for_systems(full: list[Run]) -> None:
    app = open_page("compare", runs=picked(full[0], full[3]))
    for view in VIEWS:
        assert not again(app, view=view).error
    again(app, of="systems", all="on", dataset="demo")
    for view in VIEWS:
        assert not again(app, view=view).error
    assert "genrecore compare" in app.code[-1].value
    assert "--systems" in app.code[-1].value


@pytest.mark.slow
def test_the_verdict_comes_first_and_is_that_of_the_comparison(full: list[Run]) -> None:
    app = open_page("compare", runs=picked(full[3], full[0]))
    expected = comparison.compare([full[0], full[3]]).pairs["sentence"].item()
    assert app.info[0].value.replace("\\", "") == expected
    assert "is better" in expected
    assert "split differently" in words(app)
    headline = comparison.compare([full[0], full[3]]).headline
    assert app.header[0].value.replace("\\", "") == headline
    assert "is better than" in headline


def address(app: AppTest) -> dict[str, str]:
    """The page's query as the browser shows it: what is chosen, and what is shown by default."""
    values = {name: app.query_params[name] for name in app.query_params}
    chosen = {name: v[0] if isinstance(v, list) else v for name, v in values.items()}
    return {**app.session_state["_pins"], **chosen}


@pytest.mark.slow
def test_an_address_names_what_is_shown_and_means_the_same_tomorrow(store: Path) -> None:
    runs = [fake_run(store, draw_right(0.5 + k / 10, 90, k), seed=k) for k in range(3)]
    shown = {"compare": {"runs": picked(runs[2], runs[1])}, "errors": {"run": runs[2].run_id}}
    pages = {name: open_page(name) for name in shown}
    for name, values in shown.items():
        assert address(pages[name]).items() >= values.items(), name
    better = fake_run(store, draw_right(1.0, 90, 9), seed=9)
    for name, app in pages.items():
        link = address(app)
        assert address(open_page(name, **link)) == link
        assert better.run_id in str(address(open_page(name))), name
    # Nobody has chosen yet: the filter still decides, and the address follows.
    app = pages["compare"]
    other = [fake_run(store, draw_right(0.4, 90, k), dataset="gtzan", seed=k) for k in range(2)]
    app.run()
    app.selectbox(key="choice_dataset").set_value("gtzan").run()
    assert set(address(app)["runs"].split(",")) == {run.run_id for run in other}
    app.multiselect(key="choice_runs").set_value([runs[0].run_id, runs[1].run_id]).run()
    app.selectbox(key="choice_dataset").set_value("").run()
    assert address(app)["runs"] == picked(runs[0], runs[1])


@pytest.mark.slow
def test_without_other_sizes_the_view_offers_the_plan_of_a_curve(store: Path) -> None:
    runs = [
        fake_run(store, draw_right(0.6, 90, k), ARTISTS, n_train=3, model=name, seed=4)
        for k, name in enumerate(("cnn", "crnn"))
    ]
    app = open_page("compare", runs=picked(*runs), view="sizes")
    assert "There is no curve yet" in words(app)
    line = app.code[0].value.replace("\\\n", "")
    sweep = shlex.split(line)
    assert sweep[:2] == ["genrecore", "sweep"]
    assert sweep[sweep.index("--clips-per-genre") + 1] == "1,2,all"
    assert sweep[sweep.index("--seed") + 1] == "0..4"
    (link,) = [x.proto for x in app.get("page_link") if x.proto.label.startswith("Plan a curve")]
    query = dict(parse_qsl(link.query_string))
    form = open_page("plans", **query)
    assert form.button(key="queue").label == "Queue 14 runs"  # one is there already
    assert sorted(shlex.split(form.code[-1].value.replace("\\\n", ""))) == sorted(sweep)


@pytest.mark.slow
def test_a_curve_is_drawn_with_all_sizes_of_the_compared_systems(store: Path) -> None:
    few, whole = (
        [fake_run(store, draw_right(share, 90, 10 * size + seed), ARTISTS, seed=seed,
                  n_train=size or 30, clips_per_genre=size) for seed in (0, 1)]
        for size, share in ((2, 0.3), (0, 0.9))
    )  # fmt: skip
    other = fake_run(store, draw_right(0.5, 90, 5), ARTISTS, model="crnn", n_train=30)
    app = open_page("compare", runs=picked(whole[0], other), view="sizes")
    text = words(app)
    curves = training_sizes.find_curves([*few, *whole])
    (sentence,) = training_sizes.measure(curves).sentences
    assert sentence.endswith("not flat yet.")
    assert sentence in text
    assert "and so not drawn: crnn" in text
    assert "There is no curve yet" not in text


def test_two_runs_opens_with_a_partner_that_shares_clips(store: Path) -> None:
    run = fake_run(store, draw_right(0.9, 90, 1))
    partner = fake_run(store, draw_right(0.6, 90, 2), seed=1)
    fake_run(store, draw_right(0.6, 90, 2), dataset="gtzan", seed=2)
    fake_run(store, draw_right(0.6, 90, 2), first=500, seed=3)  # the newest, of other clips
    app = open_page("errors", run=run.run_id, view="against")
    assert "share no test clips" not in words(app)
    assert address(app)["against"] == partner.run_id


@pytest.mark.slow
def test_views_are_saved_opened_renamed_and_deleted(full: list[Run]) -> None:
    store = full[0].folder.parent
    app = open_page("compare", runs=picked(full[0], full[3]), band="4")
    app.text_input[0].set_value("Networks: [a](b)")
    save = next(button for button in app.button if button.label == "Save this view")
    save.click().run()
    assert not app.exception
    (view,) = views.saved(store)
    assert view == views.SavedView("Networks: [a](b)", (full[0].run_id, full[3].run_id), band=4.0)
    app = open_page("compare", all="on", of="systems", shared="on")
    app.button(key=f"open_{view.name}").click().run()
    assert app.header[0].value.replace("\\", "") == comparison.compare([full[0], full[3]]).headline
    opened = address(app)
    assert (opened["runs"], opened["band"]) == (picked(full[0], full[3]), "4")
    assert not {"all", "of", "shared"} & set(opened)
    app.text_input(key=f"name_{view.name}").set_value("Old").run()
    app.button(key=f"rename_{view.name}").click().run()
    assert [view.name for view in views.saved(store)] == ["Old"]
    app.button(key="delete_Old").click().run()
    assert views.saved(store) == []
    app = open_page("compare", of="systems", all="on", dataset="demo")
    app.text_input[0].set_value("Systems")
    next(button for button in app.button if button.label == "Save this view").click().run()
    (view,) = views.saved(store)
    assert view.systems
    assert len(view.runs) == 2
    views.delete(store, "Systems")


@pytest.mark.slow
def test_systems_of_a_saved_view_keep_the_runs_that_they_had(store: Path) -> None:
    def add(seed: int) -> None:
        for number, model in enumerate(("cnn", "mlp")):
            right = draw_right(0.8 - 0.3 * number, 90, 10 * number + seed)
            fake_run(store, right, ARTISTS, seed=seed, n_epochs=3, model=model)

    def seeds(app: AppTest) -> set[str]:
        titles = app.multiselect(key="choice_systems").options
        return {title.rpartition(" · ")[2] for title in titles}

    add(0)
    add(1)
    app = open_page("compare", of="systems", all="on")
    app.text_input[0].set_value("Two seeds")
    next(button for button in app.button if button.label == "Save this view").click().run()
    (view,) = views.saved(store)
    assert sorted(map(len, view.members)) == [2, 2]
    before = json.loads(command("compare", "--view", "Two seeds", "--json"))["runs"]
    add(2)
    app = open_page("compare", of="systems")
    assert seeds(app) == {"3 seeds"}
    app.button(key="open_Two seeds").click().run()
    assert seeds(app) == {"2 seeds"}
    assert address(app)["only"].count(",") == 3
    assert any("2 later runs are not in this view" in text.value for text in app.caption)
    assert json.loads(command("compare", "--view", "Two seeds", "--json"))["runs"] == before
    line = next(code.value for code in app.code if "--only" in code.value).replace("\\\n", "")
    assert json.loads(command(*shlex.split(line)[1:], "--json"))["runs"] == before
    assert seeds(open_page("compare", **address(app))) == {"2 seeds"}, "an address that was sent"
    app.button(key="add_later").click().run()
    assert not app.exception
    assert seeds(app) == {"3 seeds"}
    assert not any("not in this view" in text.value for text in app.caption)


def test_systems_are_offered_with_their_seeds_and_pooled(full: list[Run]) -> None:
    app = open_page("compare", of="systems")
    offered = app.multiselect(key="choice_systems")
    assert "cnn · demo · 3 seeds" in offered.options
    assert len(offered.value) == 2  # the two best of the dataset with most runs
    assert "over 3 seeds each" in app.info[0].value
    again(app, view="scores")
    table = app.dataframe[-1].value if len(app.dataframe) == 1 else app.dataframe[1].value
    assert table["n_runs"].tolist() == [3, 3]


@pytest.mark.slow
def test_systems_with_one_seed_are_told_what_seeds_do_and_get_another(
    nobody_starts: Path,
) -> None:
    for seed in (0, 1):
        fake_run(nobody_starts, draw_right(0.9 - seed / 10, 90, seed), ARTISTS, seed=seed)
    single = fake_run(nobody_starts, draw_right(0.3, 90, 7), ARTISTS, model="crnn")
    app = open_page("compare", of="systems", all="on")
    assert "for crnn · demo has one seed" in app.info[0].value
    captions = [text.value for text in app.caption]
    assert any("Seeds alone moved the accuracy of 1 system by" in text for text in captions)
    app.button(key="another_seed").click().run()
    assert [text.value for text in app.success] == ["1 run queued."]
    (queued,) = [run for run in all_runs(nobody_starts) if run.state == "queued"]
    assert queued.config.seed == 1
    assert systems.signature(queued) == systems.signature(single)


@pytest.mark.slow
def test_the_filter_narrows_what_is_offered_but_not_what_was_picked(full: list[Run]) -> None:
    app = open_page("compare", runs=picked(full[0], full[6]), dataset="demo", models="mlp")
    box = app.multiselect(key="choice_runs")
    assert set(box.value) == {full[0].run_id, full[6].run_id}
    assert len(box.options) == 5  # three of mlp and the two picked
    again(app, all="on")
    assert "Of" in app.info[0].value or "On 90 clips" in words(app)
    assert app.code[-1].value.count("demo-mlp") == 3


def test_a_run_that_is_not_there_is_told(full: list[Run]) -> None:
    app = open_page("compare", runs=f"{picked(*full[:2])},20200101-nobody")
    assert "There is no tested run 20200101-nobody." in words(app)


def test_the_band_is_adjusted_and_lives_in_the_address(full: list[Run]) -> None:
    app = open_page("compare", runs=picked(full[0], full[1]), band="20")
    assert "equivalent" in app.info[0].value
    assert "--band 20" in app.code[-1].value
    app.number_input(key="choice_band").set_value(1.0).run()
    assert "band" not in app.query_params
    assert "cannot be told apart" in app.info[0].value
    again(app, band="nonsense")
    assert "cannot be told apart" in app.info[0].value


@pytest.mark.slow
def test_other_clips_are_compared_only_after_the_question(store: Path) -> None:
    a = fake_run(store, draw_right(0.8, 90, 1))
    b = fake_run(store, draw_right(0.6, 90, 2), first=60, seed=1)
    app = open_page("compare", runs=picked(a, b))
    assert "compared on those alone only if you ask" in app.info[0].value
    assert "30 of 150 are shared" in words(app)
    app.toggle(key="choice_shared").set_value(True).run()
    assert "On 30 clips" in app.info[0].value
    assert app.query_params["shared"] == ["on"] or app.query_params["shared"] == "on"
    assert app.dataframe[0].value["Clip"].tolist() == comparison.compare([a, b]).shared


def test_a_leak_and_spoilt_numbers_are_warned_of(store: Path) -> None:
    a, b = (fake_run(store, draw_right(0.7, 60, k), seed=k) for k in range(2))
    write_json(a.folder / "audit.json", {"refused": True, "n_crossing_test_clips": 5})
    path = b.folder / "predictions.parquet"
    table = pd.read_parquet(path)
    table.loc[0, "p_jazz"] = np.nan
    table.to_parquet(path, index=False)
    app = open_page("compare", runs=picked(a, b))
    text = words(app)
    assert "Leak: 5 clips shared with training; its accuracy is too high" in text
    assert "1 clip probabilities that are not numbers" in text
    for view in ("scores", "confusions"):
        assert not again(app, view=view).error
    links = [link.proto for link in app.get("page_link") if a.run_id in link.proto.query_string]
    assert [link.label for link in links] == [plain(a.title)]  # from its matrix to its clips


@pytest.mark.slow
def test_too_many_for_figures_are_all_listed(store: Path) -> None:
    first = fake_run(store, draw_right(0.7, 30, 1), n_epochs=2)
    copied(first, 24)
    app = open_page("compare", all="on")
    text = words(app)
    assert "25 runs are chosen" in text
    assert "the 20 most accurate" in text
    assert len(app.dataframe[0].value) == 25
    assert "Of 190 pairs" in app.info[0].value


@pytest.mark.long
def test_a_thousand_runs_chosen_are_borne(store: Path) -> None:
    app = open_page("compare")  # before they are there: this is about no other page
    run = fake_run(store, draw_right(0.7, 30, 1), n_epochs=2)
    run_scores(run)  # copied as well: a store that was looked at before
    copied(run, 999)
    again(app, all="on")
    assert "1,000 runs are chosen" in words(app)
    assert len(app.dataframe[0].value) == 1000
    for values in ({"view": "scores"}, {"of": "systems", "view": "verdicts"}):
        assert not again(app, **values).error


def copied(run: Run, n: int) -> None:
    for k in range(n):
        shutil.copytree(run.folder, run.folder.parent / f"20200101-{k:06d}-demo-cnn-{k:04x}")


def test_what_was_not_measured_is_told_and_can_be(full: list[Run]) -> None:
    app = open_page("compare", runs=picked(*full[:2]), view="cost", cost="latency_ms")
    assert "not measured yet" in words(app)
    assert app.button(key="measure_costs").label == "Measure the missing 2"
    table = app.dataframe[-1].value
    assert table["latency_ms"].isna().all()
    assert (table["n_parameters"] > 0).all()


@pytest.mark.slow
def test_ranks_take_two_folds_and_say_what_is_missing(store: Path) -> None:
    runs = [
        fake_run(store, draw_right(share, 30, fold), first=30 * fold, model=model, fold=fold,
             split__n_folds=3)
        for model, share in (("cnn", 0.9), ("mlp", 0.4)) for fold in range(3)
    ]  # fmt: skip
    app = open_page("compare", of="systems", view="ranks")
    text = words(app)
    assert "Friedman's test" in text
    assert set(app.dataframe[-1].value["block"]) == {
        f"demo, By artist, fold {fold} of 3" for fold in (1, 2, 3)
    }
    shutil.rmtree(runs[-1].folder)
    shutil.rmtree(runs[-2].folder)
    text = words(again(app))
    assert "There is nothing to rank yet" in text
    assert "Left out" in text
    assert (
        len(systems.group_runs(Run(run.folder) for run in runs if os.path.exists(run.folder))) == 2
    )


def test_other_music_under_the_same_names_is_said_and_not_compared(store: Path) -> None:
    a = fake_run(store, draw_right(0.8, 30, 1), ARTISTS[:30])
    other = [f"{number:032x}" for number in range(30)]
    b = fake_run(store, draw_right(0.6, 30, 2), ARTISTS[:30], contents=other, seed=1)
    said = words(open_page("compare", runs=picked(a, b)))
    assert "30 of 30 clips hold other audio under the same name in another run" in said
    assert "No clip was tested by all of them" in said


@pytest.mark.slow
def test_who_knows_what_it_does_not_know_is_said_of_every_pair(full: list[Run]) -> None:
    pair = full[0], full[3]
    app = open_page("compare", runs=picked(*pair), view="unsure")
    compared = comparison.compare(list(pair))
    assert compared.pairs["area_sentence"][0] in [
        str(box.value).replace("\\", "") for box in app.info
    ]
    shown = app.dataframe[-1].value
    assert shown["area"].tolist() == pytest.approx((100 * compared.areas["area"]).tolist())
    data = json.loads(command("compare", *(run.run_id for run in pair), "--json"))
    assert data["areas"][0]["area"] == pytest.approx(compared.areas["area"][0])
    assert data["pairs"][0]["area_low"] == pytest.approx(compared.pairs["area_low"][0])
    assert {"coverage", "accuracy", "low", "high"} <= set(data["risk_coverage"][0])
    assert compared.pairs["area_sentence"][0] in command("compare", *(r.run_id for r in pair))
