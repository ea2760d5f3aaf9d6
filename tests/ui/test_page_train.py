"""The page Train offers what can work with these data, says why not of the rest, and refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from opened import open_page, words
from sample_files import silent_wav
from streamlit.testing.v1 import AppTest

from genrecore.models import MODELS
from genrecore.store.runs import all_runs

pytestmark = pytest.mark.xdist_group("pages")


def folder_of(path: Path, **n_clips: int) -> dict[str, str]:
    """The address of Train on a folder with so many clips of silence in each genre."""
    for genre, n in n_clips.items():
        for number in range(n):
            silent_wav(path / genre / f"{number}.wav")
    return {"dataset": "folder", "folder.folder": str(path)}


def split_box(app: AppTest) -> list[str]:
    return list(app.selectbox(key="choice_split").options)


@pytest.mark.slow
def test_the_demo_music_is_split_by_artist_and_green(store: Path) -> None:
    app = open_page("train")
    assert app.selectbox(key="choice_split").value == "by_artist"
    assert app.success[0].icon == ":material/verified:"
    assert app.button(key="train").label == "Train"
    offered = split_box(app)
    assert "By clip (leaks)" in offered
    assert not any("own" in title for title in offered)
    text = words(app)
    assert "**The dataset's own**: The dataset has no split of its own" in text


@pytest.mark.slow
def test_a_folder_without_artists_is_split_by_clip_and_amber(
    nobody_starts: Path, tmp_path: Path
) -> None:
    app = open_page("train", **folder_of(tmp_path, dub=6, waltz=6))
    assert app.selectbox(key="choice_split").value == "stratified"
    assert "nobody can tell" in app.warning[0].value
    app.button(key="train").click().run()
    assert not app.exception
    assert [run.config.split.name for run in all_runs(nobody_starts)] == ["stratified"]


def test_a_run_gets_the_name_that_was_typed(nobody_starts: Path) -> None:
    app = open_page("train")
    app.text_input(key="run_name").set_value(" wide *net* ").run()
    assert "--name 'wide *net*'" in app.code[-1].value
    app.button(key="train").click().run()
    (run,) = all_runs(nobody_starts)
    assert (run.about.name, run.title) == ("wide *net*", "wide *net*")
    assert "wide *net*" in words(app)


@pytest.mark.slow
def test_where_every_split_leaks_the_button_says_so_and_allows_it(
    real_data: Path, nobody_starts: Path
) -> None:
    app = open_page("train", dataset="gtzan", **{"gtzan.folder": str(real_data / "gtzan")})
    assert "The split leaks: 14 of 20 test clips" in app.error[0].value.replace("\\", "")
    assert "No split of these clips keeps them apart." in words(app)
    assert app.button(key="train").label == "Train with the red badge"
    assert "--allow-leaks" in app.code[-1].value
    assert split_box(app)[0] == "By clip (leaks)"
    assert "fault_filtered leaves no train clips of blues" in words(app)
    app.button(key="train").click().run()
    assert not app.exception
    (run,) = all_runs(nobody_starts)
    assert (run.config.split.name, run.config.allow_leaks) == ("stratified", True)


@pytest.mark.slow
def test_genres_in_the_way_of_a_split_are_left_out_with_one_click(
    real_data: Path, store: Path
) -> None:
    app = open_page("train", dataset="gtzan", **{"gtzan.folder": str(real_data / "gtzan")})
    app.button(key="remedy_split_by_artist_0").click().run()
    assert not app.exception
    assert app.selectbox(key="choice_split").value == "by_artist"
    assert not app.error
    assert app.button(key="train").label == "Train"
    assert "blues, classical, reggae, rock" in app.code[-1].value


@pytest.mark.slow
def test_a_split_in_the_address_that_cannot_be_made_is_refused_with_a_way_out(
    store: Path, tmp_path: Path
) -> None:
    address = folder_of(tmp_path, dub=6, waltz=6) | {"split": "official"}
    app = open_page("train", **address)
    assert "has no split of its own" in app.error[0].value.replace("\\", "")
    assert app.button(key="train").disabled
    app.button(key="remedy_train_0").click().run()
    assert app.selectbox(key="choice_split").value == "stratified"
    assert not app.button(key="train").disabled


@pytest.mark.slow
def test_a_genre_of_one_clip_is_left_out_with_one_click(store: Path, tmp_path: Path) -> None:
    app = open_page("train", **folder_of(tmp_path, dub=6, waltz=6, yodel=1))
    assert "too few clips in yodel" in app.error[0].value.replace("\\", "")
    app.button(key="remedy_train_0").click().run()
    assert not app.error
    assert "--leave-out yodel" in app.code[-1].value


@pytest.mark.slow
def test_few_artists_bring_fewer_folds(store: Path) -> None:
    app = open_page("train", **{"demo.n_clips": "12", "demo.n_artists": "5", "split_seed": "1"})
    assert app.selectbox(key="choice_split").value == "by_artist"
    assert not app.button(key="train").disabled


def test_a_model_that_cannot_take_the_feature_says_what_it_needs_and_switches(store: Path) -> None:
    app = open_page("train")
    unfit = [name for name, entry in MODELS.items() if "image" not in entry.facts.accepts]
    model = app.selectbox(key="choice_model")
    assert not {MODELS[name].title for name in unfit} & set(model.options)
    text = words(app)
    assert all(f"{MODELS[name].title}: needs" in text for name in unfit)
    assert "Multi-layer perceptron: needs Descriptors (57 numbers)." in text
    app.button(key="switch_mlp").click().run()
    assert not app.exception
    assert app.selectbox(key="choice_model").value == "mlp"
    assert app.selectbox(key="choice_feature").value == "descriptors"
    assert not app.button(key="train").disabled


@pytest.mark.slow
def test_more_neighbours_than_segments_are_refused_with_the_number_that_works(
    store: Path,
) -> None:
    query = {"demo.n_clips": "10", "demo.n_artists": "5", "feature": "descriptors", "model": "knn"}
    app = open_page("train", **query, **{"knn.k": "999"})
    assert app.button(key="train").disabled
    assert "999 neighbours are asked for, but there are 144" in app.error[0].value
    app.button(key="remedy_train_0").click().run()
    assert not app.exception
    assert app.query_params["knn.k"] == "144"
    assert not app.button(key="train").disabled
    assert not app.warning


def test_trees_that_cannot_ask_a_question_are_said_beside_the_button(store: Path) -> None:
    query = {"demo.n_clips": "10", "demo.n_artists": "5", "feature": "descriptors"}
    query |= {"model": "gradient_boosting", "gradient_boosting.min_leaf": "100"}
    app = open_page("train", **query)
    assert not app.button(key="train").disabled
    assert "No tree can ask a question" in app.warning[0].value
    app.button(key="remedy_caution_0_train_0").click().run()
    assert not app.warning


@pytest.mark.slow
def test_an_encoder_gets_its_weights_and_its_sample_rate_by_buttons(
    own_cache: Path, fetched_encoders: Path, request: pytest.FixtureRequest
) -> None:
    values = {"model": "linear_probe", "feature": "encoder"}
    app = open_page("train", **values)
    assert "The weights of the encoder musicnn are not here yet" in words(app)
    assert app.button(key="fetch_musicnn").label == "Fetch musicnn (29 MB, ISC licence)"
    assert "Licence: ISC. Trained on 200,000 songs" in words(app)
    assert app.button(key="train").disabled
    request.getfixturevalue("musicnn")
    app = open_page("train", **values)
    assert "takes audio at 16,000 Hz" in words(app)
    app.button(key="encoder_rate").click().run()
    assert not app.error
    assert not app.button(key="train").disabled
