"""The page Errors, opened through `app.py`: every list, a clip in full, judgements."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from commands import command
from conftest import TINY, trained
from opened import again, open_page, players, words
from streamlit.testing.v1 import AppTest

from genrecore.config.run import RunConfig, with_values
from genrecore.evaluation import label_reviews, metrics, mistakes, related_clips
from genrecore.evaluation.calibration import calibrate
from genrecore.inference import probes
from genrecore.inference.probes import PROBES
from genrecore.store.run import Run
from genrecore.training.resolve import resolve
from genrecore.ui.parts import tasks

Tiny = Callable[..., RunConfig]

pytestmark = pytest.mark.xdist_group("page_errors")  # one worker trains the runs


@pytest.fixture(scope="module")
def trained_runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Two runs of one epoch: they get a lot wrong, and not the same."""
    store = tmp_path_factory.mktemp("errors") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRECORE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setenv("GENRECORE_RUNS", str(store))
        config = with_values(with_values(RunConfig(), TINY), {"training.epochs": 1})
        return [
            trained(resolve(with_values(config, {"seed": seed})).config, store) for seed in (0, 1)
        ]


@pytest.fixture
def two(trained_runs: list[Run], store: Path) -> tuple[Run, Run]:
    """The same two in a store of this test's own."""
    a, b = (Run(shutil.copytree(run.folder, store / run.run_id)) for run in trained_runs)
    return a, b


def listed(app: AppTest) -> pd.DataFrame:
    """The list of clips: the first table with clips in it."""
    return next(table.value for table in app.dataframe if "clip_id" in table.value)


def test_without_a_tested_run_it_says_what_to_do(store: Path) -> None:
    assert "There are no mistakes to hear yet." in words(open_page("errors"))


@pytest.mark.slow
def test_a_cell_lists_its_clips_and_plays_one(two: tuple[Run, Run]) -> None:
    run = two[0]
    genres = metrics.genres_in(run.predictions)
    matrix = metrics.confusion(run.predictions[run.predictions["split"] == "test"], genres)
    app = open_page("errors", run=run.run_id)
    for labelled in genres:
        for predicted in genres:
            if matrix.loc[labelled, predicted]:
                app = again(app, labelled=labelled, predicted=predicted, clip="")
                assert len(listed(app)) == matrix.loc[labelled, predicted]
                assert f"--cell {labelled},{predicted}" in app.code[-1].value.replace(" \\\n ", "")
                heard = players(app)[0]
                segments = run.segments[run.segments["clip_id"] == heard["name"]]
                assert len(heard["lanes"][0]["starts"]) == len(segments)
                titles = [sound["title"] for sound in heard["sounds"]]
                recognised = matrix.loc[predicted, predicted] if predicted in genres else 0
                assert len(titles) == 1 + bool(labelled != predicted and recognised)
                assert all(title.endswith(f"the surest {predicted}") for title in titles[1:])
                assert not app.error
    other = [(a, b) for a in genres for b in genres if not matrix.loc[a, b]]
    if other:
        app = again(app, labelled=other[0][0], predicted=other[0][1])
        assert "There is no such clip." in words(app)


@pytest.mark.slow
def test_it_says_where_segments_are_raw_beside_a_calibrated_clip(two: tuple[Run, Run]) -> None:
    run, sentence = two[0], "those of the clip are calibrated"
    assert sentence not in words(open_page("errors", run=run.run_id))  # too few clips for it
    table = run.predictions
    valid = table[table["split"] == "valid"]
    copies = [valid.assign(clip_id=valid["clip_id"] + f" {k}") for k in range(40 // len(valid) + 1)]
    surer = pd.concat(copies)
    columns = [name for name in surer if name.startswith("p_")]
    surer[columns] = surer[columns] ** 9  # too sure
    surer[columns] = surer[columns].div(surer[columns].sum(axis=1), axis=0)
    tests = table[table["split"] == "test"]
    pd.concat([tests, surer]).to_parquet(run.folder / "predictions.parquet")
    assert calibrate(Run(run.folder)).temperature != 1.0
    assert sentence in words(open_page("errors", run=run.run_id))


def test_without_a_choice_it_shows_the_most_frequent_mistake(two: tuple[Run, Run]) -> None:
    app = open_page("errors", run=two[0].run_id)
    labelled, predicted = (
        app.selectbox(key=f"choice_{k}").value for k in ("labelled", "predicted")
    )
    table = mistakes.clip_predictions(two[0])
    wrong = table[~table["right"]]
    counts = wrong.groupby(["genre", "predicted"]).size()
    assert counts[(labelled, predicted)] == counts.max()


@pytest.mark.slow
def test_every_list_is_what_the_module_says(two: tuple[Run, Run]) -> None:
    a, b = two
    first, second = mistakes.clip_predictions(a), mistakes.clip_predictions(b)
    app = open_page("errors", run=a.run_id, view="mistakes")
    for order in mistakes.ORDERS:
        app = again(app, order=order)
        assert (
            listed(app)["clip_id"].tolist() == mistakes.sort_clips(first, order)["clip_id"].tolist()
        )
    joined = mistakes.contingency(first, second)
    app = again(app, view="against", against=b.run_id)
    for who, n in joined["who"].value_counts().items():
        app = again(app, who=str(who))
        assert len(listed(app)) == n
        assert f"({n})" in str(app.selectbox(key="choice_who").options)
    app = again(app, view="differ")
    expected = mistakes.disagreement([first, second])
    assert listed(app)["clip_id"].tolist() == expected["clip_id"].tolist()
    app = again(app, view="labels")
    expected = mistakes.suspects([first, second])
    assert listed(app)["clip_id"].tolist() == expected["clip_id"].tolist()


def test_one_run_is_told_what_takes_more(two: tuple[Run, Run]) -> None:
    run, other = two
    shutil.rmtree(other.folder)
    for view in ("against", "differ"):
        assert "One run is not enough here." in words(
            open_page("errors", run=run.run_id, view=view)
        )
    assert len(listed(open_page("errors", run=run.run_id, view="labels")))


@pytest.mark.slow
def test_a_judgement_is_kept_and_taken_back(two: tuple[Run, Run], store: Path) -> None:
    app = open_page("errors", run=two[0].run_id, view="labels")
    clip = listed(app)["clip_id"].iloc[0]
    app.button(key="judge_wrong").click().run()
    judgements = label_reviews.read(store)
    assert judgements[["dataset", "clip_id", "judgement"]].values.tolist() == [
        ["demo", clip, "wrong"]
    ]
    assert listed(app)["judgement"].iloc[0] == "wrong"
    assert app.get("download_button")
    clips = two[0].clips
    assert clips is not None
    heard = clips["clip_id"] == clip
    assert judgements["content"].tolist() == clips.loc[heard, "content"].tolist()
    for content, expected in (("0" * 32, []), (judgements["content"].iloc[0], ["wrong"])):
        # The other run was trained on other music of that name, or on the same.
        clips.assign(content=clips["content"].mask(heard, content)).to_parquet(
            two[1].folder / "clips.parquet"
        )
        os.utime(two[1].folder / "predictions.parquet")
        rows = listed(open_page("errors", run=two[1].run_id, view="labels"))
        shown = rows.get("judgement", pd.Series(dtype=object))  # without any, there is no column
        assert shown.dropna().tolist() == expected
    app.button(key="judge_wrong").click().run()
    assert label_reviews.read(store).empty


def test_where_the_music_is_gone_the_numbers_stay(two: tuple[Run, Run]) -> None:
    run = two[0]
    clips = run.clips
    assert clips is not None
    clips["path"] = clips["path"] + ".gone"
    clips.to_parquet(run.folder / "clips.parquet")
    app = open_page("errors", run=run.run_id, view="mistakes")
    assert len(listed(app))
    assert "is not there any more. The numbers stay" in words(app)
    assert not players(app)
    assert len(app.get("plotly_chart")) == 2  # the prediction, of the clip and over time
    (run.folder / "clips.parquet").unlink()
    app = open_page("errors", run=run.run_id, view="mistakes")
    assert len(listed(app))
    assert "table of clips is gone" in words(app)
    assert len(app.get("plotly_chart")) == 2
    assert not app.error


@pytest.mark.slow
def test_a_clip_without_a_prediction_has_a_cell_and_a_sentence(two: tuple[Run, Run]) -> None:
    run = two[0]
    path = run.folder / "predictions.parquet"
    table = pd.read_parquet(path)
    genres = metrics.genres_in(table)
    position = int(table["split"].eq("test").to_numpy().argmax())
    table.loc[table.index[position], f"p_{genres[0]}"] = float("nan")
    table.to_parquet(path)
    clip, genre = table["clip_id"].iloc[position], table["genre"].iloc[position]
    query = {"run": run.run_id, "labelled": genre, "predicted": metrics.NO_PREDICTION}
    app = open_page("errors", **query)
    assert listed(app)["clip_id"].tolist() == [clip]
    assert "have no prediction" in words(app)
    assert "its probabilities are not numbers" in words(app)
    assert not again(app, view="against", who="neither").error
    for view in ("mistakes", "differ", "labels"):
        app = again(app, view=view, labelled="", predicted="")
        assert not app.error
        assert clip in set(listed(app)["clip_id"])  # of its label the other run says something


def test_copies_and_other_clips_of_the_artist_are_linked(two: tuple[Run, Run]) -> None:
    run = two[0]
    clips = run.clips
    assert clips is not None
    test = clips[clips["split"] == "test"]["clip_id"].tolist()
    train = clips[clips["split"] == "train"]["clip_id"].tolist()
    audit = json.loads((run.folder / "audit.json").read_text())
    audit["findings"] = [
        {"kind": "near_copy", "clip_id": test[0], "other_clip_id": train[0], "sentence": ""},
        {"kind": "exact_copy", "clip_id": train[5], "other_clip_id": train[0], "sentence": ""},
    ]
    (run.folder / "audit.json").write_text(json.dumps(audit))
    found = related_clips.copies(run, test[0])
    assert found["clip_id"].tolist() == [train[0], train[5]]
    assert found["how"].tolist() == [
        related_clips.NEAR,
        f"{related_clips.EXACT}, by way of {train[0]}",
    ]
    assert related_clips.copies(run, train[1]).empty
    app = open_page("errors", run=run.run_id, view="mistakes", order="uncertain", clip=test[0])
    labels = [str(expander.label).replace("\\", "") for expander in app.expander]
    assert any(label.startswith("2 copies of this recording, 2 of them in") for label in labels)
    same = related_clips.same_artist(clips, test[0])
    assert len(same) > 0
    assert any(label.startswith(f"{len(same)} other clip") for label in labels)
    assert app.selectbox(key="copy").options == [train[0], train[5]]
    # A copy, a clip of the artist and one that lies near play beside the clip itself.
    assert len(players(app)) == 4


def test_copies_that_are_published_are_known(two: tuple[Run, Run]) -> None:
    run = two[0]
    clips = run.clips
    assert clips is not None
    names = clips["clip_id"].tolist()
    renamed = {names[0]: "disco.00098", names[1]: "disco.00099"}
    clips["clip_id"] = clips["clip_id"].replace(renamed)
    clips.to_parquet(run.folder / "clips.parquet")
    config = json.loads((run.folder / "config.json").read_text())
    config["dataset"] = {"name": "gtzan", "options": {}}
    (run.folder / "config.json").write_text(json.dumps(config))
    found = related_clips.copies(Run(run.folder), "disco.00099")
    assert found.to_dict("records") == [{"clip_id": "disco.00098", "how": related_clips.PUBLISHED}]
    config["dataset"] = {"name": "not registered any more", "options": {}}
    (run.folder / "config.json").write_text(json.dumps(config))
    assert related_clips.copies(Run(run.folder), "disco.00099").empty


@pytest.mark.slow
def test_the_folds_of_a_split_judge_all_labels_together(store: Path, tiny: Tiny) -> None:
    folds = [
        trained(tiny(training__epochs=1, split="by_artist", split__n_folds=3, fold=fold), store)
        for fold in range(3)
    ]
    tested = pd.concat([mistakes.clip_predictions(run) for run in folds])
    app = open_page("errors", run=folds[0].run_id, view="labels")
    table = listed(app)
    assert sorted(table["clip_id"]) == sorted(tested["clip_id"])
    assert len(table) == 30
    assert (table["n_runs"] == 1).all()
    assert set(app.multiselect(key="choice_with").value) == {run.run_id for run in folds[1:]}


@pytest.mark.slow
def test_probes_are_asked_for_shown_and_lead_to_the_clips_they_break(
    two: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = two[0]
    app = open_page("errors", run=run.run_id, view="probes")
    assert "This run has not been probed yet." in words(app)
    started: list[list[str]] = []
    monkeypatch.setattr(tasks, "start_task", lambda words, title: started.append(words))
    app.button(key="probe_start").click().run()
    assert started == [["probe", run.run_id]]

    found = probes.probe(run, ["quieter", "noise"])
    app = again(app)
    assert f"Make the {len(PROBES) - 2} other probes" in app.button(key="probe_start").label
    app.button(key="probe_start").click().run()
    assert started[1][:3] == ["probe", run.run_id, "--only"]
    assert "noise" not in started[1][3]
    assert found.summary in words(app)
    for name in ("quieter", "noise"):
        app = again(app, probe=name)
        broken = probes.broken(run, name)
        assert found.table.set_index("probe").loc[name, "sentence"] in words(app)
        if broken:
            assert sorted(listed(app)["clip_id"]) == sorted(broken)
            titles = [sound["title"] for sound in players(app)[0]["sounds"]]
            assert titles == ["This clip", PROBES[name].title]
        else:
            assert "There is no such clip." in words(app)
    clips = run.clips
    assert clips is not None
    clips.assign(medium="image").to_parquet(run.folder / "clips.parquet")
    app = open_page("errors", run=run.run_id, view="probes")
    assert "there is no sound to change" in words(app)


@pytest.mark.slow
def test_the_map_is_asked_for_and_shows_every_clip(
    two: tuple[Run, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = two[0]
    app = open_page("errors", run=run.run_id, view="map")
    assert "The map has not been drawn yet." in words(app)
    started: list[list[str]] = []
    monkeypatch.setattr(tasks, "start_task", lambda words, title: started.append(words))
    app.button(key="map_start").click().run()
    assert started == [["embed", run.run_id]]

    out = tmp_path / "points.parquet"
    said = json.loads(command("embed", run.run_id, "--out", str(out), "--json"))
    assert said["n_clips"] == said["n_on_map"] == 30
    table = pd.read_parquet(out)
    assert table[["pca_x", "pca_y", "tsne_x", "tsne_y", "e0"]].notna().all().all()
    # The two components are the embedding's own: their spread is the share that is said.
    values = table.filter(regex=r"^e\d+$").to_numpy(dtype=float)
    spread = ((values - values.mean(axis=0)) ** 2).sum()
    assert (table["pca_x"] ** 2).sum() / spread == pytest.approx(said["pca_share"][0], rel=1e-3)

    found = mistakes.clip_predictions(run)
    app = again(app)
    assert sorted(listed(app)["clip_id"]) == sorted(found["clip_id"])
    app = again(app, map="pca", shown="all", clip="")
    assert len(listed(app)) == 30
    assert "it shows" in words(app)
    clips = run.clips
    assert clips is not None
    learned = clips.loc[clips["split"] == "train", "clip_id"].iloc[0]
    app = again(app, clip=learned)
    assert app.selectbox(key="choice_clip").value == learned
    assert "the run learned from this clip" in words(app)
    assert "of the 5 nearest clips" in words(app)
    assert learned not in app.selectbox(key="nearest").options


@pytest.mark.slow
def test_what_sounds_like_a_clip_by_an_encoder_can_be_played(
    two: tuple[Run, Run], musicnn: None
) -> None:
    run = two[0]
    clip = mistakes.sort_clips(mistakes.clip_predictions(run), "uncertain").iloc[0]
    query = {"run": run.run_id, "view": "mistakes", "order": "uncertain", "like": "musicnn_mtt"}
    app = open_page("errors", clip=clip["clip_id"], **query)
    assert "This encoder has not heard the clips of the dataset yet." in words(app)
    arguments = ["similar", "--in", "demo", "--encoder", "musicnn_mtt"]
    arguments += [f"--set={key}={v}" for key, v in run.config.dataset.options.items()]
    command(*arguments)
    app = again(app)
    options = app.selectbox(key="nearest").options
    assert len(options) == 5
    assert clip["clip_id"] not in options
    assert options[0] in [heard["name"] for heard in players(app)]
    assert f"labelled {clip['genre']}." in words(app).partition("of the 5 nearest clips")[2]


def test_runs_on_other_genres_are_one_sentence(two: tuple[Run, Run], store: Path) -> None:
    a, b = two
    table = pd.read_parquet(b.folder / "predictions.parquet")
    genres = metrics.genres_in(table)
    renamed = {f"p_{genre}": f"p_{genre}x" for genre in genres}
    table = table.rename(columns=renamed).assign(genre=table["genre"] + "x")
    table.to_parquet(b.folder / "predictions.parquet")
    shutil.rmtree(store / ".cache", ignore_errors=True)
    app = open_page("errors", run=a.run_id, view="differ")
    assert any("different genres" in error.value for error in app.error)
