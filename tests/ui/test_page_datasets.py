"""The page Datasets, opened through `app.py`, over demo music and over folders that are broken."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from commands import command
from dataset_samples import DEMO, OPTIONS, dealt_clips, noise_as_gtzan
from opened import again, metrics, open_page, players, words
from sample_files import silent_wav
from streamlit.testing.v1 import AppTest
from untrained_runs import untrained_run

from genrecore.config.command import train_command
from genrecore.config.run import Genres, RunConfig
from genrecore.data import datasets
from genrecore.data.datasets.remembered import remembered_options
from genrecore.training.resolve import resolve
from genrecore.ui.datasets.choice import DatasetChoice, SplitChoice, address, config_of
from genrecore.ui.parts import choices

pytestmark = pytest.mark.xdist_group("page_datasets")  # one worker makes the music


@pytest.fixture
def music() -> pd.DataFrame:
    """The clip table of the demo music that DEMO opens; it is made once."""
    return datasets.load("demo", OPTIONS)


@pytest.fixture
def gtzan(tmp_path: Path) -> Path:
    return noise_as_gtzan(tmp_path / "music")


def test_music_that_is_not_made_yet_is_offered_to_be_made(own_cache: Path) -> None:
    app = open_page("datasets", **DEMO)
    assert "has not been made yet" in words(app)
    assert not app.metric
    assert not app.button(key="prepare").disabled


def test_facts_are_those_of_the_clip_table(music: pd.DataFrame) -> None:
    facts = metrics(open_page("datasets", **DEMO))
    assert facts == {
        "Clips": str(len(music)),
        "Genres": "3",
        "Artists": str(music["artist"].nunique()),
        "Minutes": f"{music['duration_s'].sum() / 60:.1f}",
        "Left out": "–",  # nobody has tried to decode them yet
    }


def test_options_are_fields_and_live_in_the_address(music: pd.DataFrame) -> None:
    app = open_page("datasets", **DEMO)
    field = next(widget for widget in app.number_input if widget.label == "Clips a genre")
    assert field.value == 10
    field.set_value(11).run()
    assert app.query_params["demo.n_clips"] == "11"
    assert "has not been made yet" in words(app)


def number(app: AppTest, label: str) -> Any:
    return next(field for field in app.number_input if field.label == label)


def test_a_choice_is_not_lost_when_the_browser_asks_with_an_older_address(
    music: pd.DataFrame,
) -> None:
    app = open_page("datasets", **DEMO)
    number(app, "Clips a genre").set_value(11).run()
    app.query_params["demo.n_clips"] = "10"  # the browser has not heard of 11 yet
    number(app, "Artists a genre").set_value(6).run()
    assert app.query_params["demo.n_clips"] == "11"
    assert app.query_params["demo.n_artists"] == "6"
    assert number(app, "Clips a genre").value == 11
    number(app, "Clips a genre").set_value(12).run()
    app.query_params["demo.n_clips"] = "11"  # and now of 11, but not of 12
    app.run()
    assert number(app, "Clips a genre").value == 12


def test_an_address_that_is_very_late_keeps_a_choice_made_before(
    music: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page("datasets", **DEMO)
    number(app, "Clips a genre").set_value(11).run()
    monkeypatch.setattr(choices, "_LATE_S", 0.0)  # as if the machine were loaded
    app.query_params["demo.n_clips"] = "10"
    number(app, "Artists a genre").set_value(6).run()
    assert (app.query_params["demo.n_clips"], app.query_params["demo.n_artists"]) == ("11", "6")
    assert number(app, "Clips a genre").value == 11
    app.query_params["demo.n_clips"] = "10"  # Back, and then another choice
    app.run()
    number(app, "Artists a genre").set_value(7).run()
    assert (app.query_params["demo.n_clips"], app.query_params["demo.n_artists"]) == ("10", "7")


def test_who_goes_back_later_gets_what_was_there(
    music: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page("datasets", **DEMO)
    number(app, "Clips a genre").set_value(11).run()
    monkeypatch.setattr(choices, "_LATE_S", 0.0)  # as if it were later
    app.query_params["demo.n_clips"] = "10"
    app.run()
    assert app.query_params["demo.n_clips"] == "10"
    assert number(app, "Clips a genre").value == 10


def test_an_option_in_the_address_that_is_out_of_range_is_passed_over(music: pd.DataFrame) -> None:
    app = open_page("datasets", **(DEMO | {"demo.n_genres": "3", "demo.seed": "-7"}))
    assert next(w for w in app.number_input if w.label == "Seed").value == 0
    assert metrics(app)["Genres"] == "3"


@pytest.mark.parametrize(
    ("query", "n_charts"),
    [
        ({"view": "clips"}, 3),
        ({"view": "clips", "by": "artist"}, 2),
        ({"view": "split"}, 2),
        ({"view": "audit"}, 0),
    ],
)
def test_every_view_draws_its_charts_with_alternative_texts(
    query: dict[str, str], n_charts: int, music: pd.DataFrame
) -> None:
    app = open_page("datasets", **query, **DEMO)
    charts = app.get("plotly_chart")
    assert len(charts) == n_charts
    assert all(len(chart.proto.alt) > 40 for chart in charts)


def test_the_split_view_says_that_artists_cross_or_do_not(music: pd.DataFrame) -> None:
    leaky = open_page("datasets", view="split", split="stratified", **DEMO)
    assert "artist" in leaky.error[0].value
    clean = open_page("datasets", view="split", split="by_artist", **DEMO)
    assert not clean.error
    assert "No artist or album of a training clip is in validation" in clean.success[0].value


def test_a_folder_without_artists_wears_no_green_seal(tmp_path: Path) -> None:
    for genre in ("blues", "rock"):
        (tmp_path / genre).mkdir()
        for number in range(5):
            noise = np.random.default_rng(number).normal(size=4_000) / 10
            soundfile.write(tmp_path / genre / f"{number}.wav", noise, 8_000)
    app = open_page("datasets", dataset="folder", view="split", split="by_artist",
                    **{"folder.folder": str(tmp_path)})  # fmt: skip
    assert not app.success
    assert not app.error
    assert any("None of the 10 clips has an artist" in box.value for box in app.warning)


def test_a_split_that_cannot_be_made_says_why_in_a_sentence(music: pd.DataFrame) -> None:
    app = open_page("datasets", view="split", split="official", **DEMO)
    assert "has no split of its own" in app.error[0].value.replace("\\", "")


def test_listening_follows_the_clip_in_the_address(music: pd.DataFrame) -> None:
    clip_id = str(music["clip_id"].iloc[17])
    app = open_page("datasets", view="listen", clip=clip_id, **DEMO)
    assert f"**{clip_id}**" in words(app)
    assert len(players(app)) == 1
    (spectrogram,) = app.get("plotly_chart")
    assert "ecibel" in spectrogram.proto.alt or "pectrogram" in spectrogram.proto.alt


def test_finding_a_clip_by_its_name_narrows_the_list(music: pd.DataFrame) -> None:
    app = open_page("datasets", view="listen", **DEMO)
    clip_id = str(music["clip_id"].iloc[7])
    app.text_input(key="find_clip").set_value(clip_id.upper()).run()
    assert app.dataframe[0].value["clip_id"].to_list() == [clip_id]
    app.text_input(key="find_clip").set_value("no such clip").run()
    assert "No clip matches." in words(app)


def test_a_dataset_that_needs_a_folder_says_how_to_get_it(own_cache: Path) -> None:
    app = open_page("datasets", dataset="gtzan")
    assert "needs to know where its files lie" in words(app)
    assert not app.metric
    fma = open_page("datasets", dataset="fma_small")
    assert any("genrecore datasets download fma_small" in block.value for block in fma.code)


def test_a_folder_that_is_wrong_is_said_in_one_sentence(own_cache: Path, tmp_path: Path) -> None:
    app = open_page("datasets", dataset="gtzan")
    folder = next(widget for widget in app.text_input if widget.label == "Folder")
    folder.set_value(str(tmp_path / "absent")).run()
    assert "There is nothing at" in app.error[0].value
    (tmp_path / "blank").mkdir()
    folder = next(widget for widget in app.text_input if widget.label == "Folder")
    folder.set_value(str(tmp_path / "blank")).run()
    assert len(app.error) == 1
    assert "is empty" in app.error[0].value
    assert remembered_options() == {}


def test_an_accepted_folder_can_be_remembered(own_cache: Path, gtzan: Path) -> None:
    app = open_page("datasets", dataset="gtzan", **{"gtzan.folder": str(gtzan)})
    assert "8 clips of 2 genres were found" in words(app)
    app.button(key="remember").click().run()
    assert remembered_options()["gtzan"] == {"folder": str(gtzan)}
    later = open_page("datasets", dataset="gtzan")
    assert metrics(later)["Clips"] == "8"
    assert "This folder is remembered." in words(later)


@pytest.mark.slow
def test_pages_open_with_the_dataset_that_was_prepared_last(own_cache: Path, gtzan: Path) -> None:
    command("datasets", "prepare", "gtzan", "--folder", str(gtzan))
    pages = {"datasets": {}, "sound": {}, "train": {}, "plans": {"view": "new"}, "leaks": {}}
    for name, query in (pages | {"classify": {"from": "dataset"}}).items():
        if name == "classify":
            untrained_run(own_cache.parent / "runs")
        app = open_page(name, **query)
        assert app.selectbox(key="choice_dataset").value == "gtzan", name
        assert app.text_input(key="field_gtzan.folder").value == str(gtzan), name
        if name == "datasets":
            again(app, view="split")  # which Train proposes as well
            assert app.selectbox(key="choice_split").value == "stratified"
            assert next(link.proto.label for link in app.get("page_link")) == "Train on it"
            # Streamlit's link to the page that is open does nothing: this is a button.
            next(button for button in app.button if button.label == "Audit it").click().run()
            assert app.query_params["view"] == "audit"
            assert app.button(key="audit_start").label == "Audit"
        # Another choice holds against it, the music of the defaults as well.
        app.selectbox(key="choice_dataset").select("demo").run()
        assert app.selectbox(key="choice_dataset").value == "demo", name
    command("datasets", "prepare", "demo", *(f"--set={key}={n}" for key, n in OPTIONS.items()))
    app = open_page("train")
    assert app.selectbox(key="choice_dataset").value == "demo"
    assert app.number_input(key="field_demo.n_clips").value == OPTIONS["n_clips"]
    # A link that names the music means that of the defaults.
    assert open_page("train", dataset="demo").number_input(key="field_demo.n_clips").value == 40
    command("datasets", "prepare", "gtzan")  # in the folder that is remembered
    shutil.rmtree(gtzan)
    assert open_page("sound").selectbox(key="choice_dataset").value == "demo"


def test_a_view_that_comes_back_shows_what_is_chosen(own_cache: Path, gtzan: Path) -> None:
    def view() -> list[object]:
        return [group.proto for group in app.get("button_group") if group.label == "Show"]

    app = open_page("datasets", dataset="gtzan", **{"gtzan.folder": str(gtzan), "view": "split"})
    app.query_params["gtzan.folder"] = ""
    app.run()
    assert not view()
    app.query_params["gtzan.folder"] = str(gtzan)
    app.run()
    (group,) = view()
    assert group.set_value  # the browser has forgotten it meanwhile and must be told
    assert "Which clips train the model" in words(app)


def test_a_clip_added_to_the_folder_is_seen(own_cache: Path, gtzan: Path) -> None:
    app = open_page("datasets", dataset="gtzan", **{"gtzan.folder": str(gtzan)})
    assert metrics(app)["Clips"] == "8"
    folder = gtzan / "genres_original" / "blues"
    shutil.copy(folder / "blues.00000.wav", folder / "blues.00031.wav")
    app.run()
    assert metrics(app)["Clips"] == "9"


@pytest.mark.slow
def test_genres_left_out_and_merged_count_in_split_audit_and_training(
    music: pd.DataFrame,
) -> None:
    first, second, third = sorted(music["genre"].unique())
    query = {"split": "by_artist", "by_artist.n_folds": "3", "fold": "2", "split_seed": "7"}
    query |= {"genres.merge": f'"One, two" = {first}, {third}'}
    app = open_page("datasets", view="split", **query, **DEMO)
    assert f"{first} (10 clips) and {third} (10 clips) are merged into One, two" in words(app)
    assert dealt_clips(app) == {"One, two": 20, second: 10}
    app = open_page("datasets", view="audit", audit="split", **query, **DEMO)
    command = next(block.value for block in app.code if "datasets audit" in block.value)
    assert f"""--set 'genres.merge="One, two" = {first}, {third}'""" in command

    # Train opens on the very same: every choice is a field of its form.
    chosen = DatasetChoice("demo", OPTIONS)
    merged = Genres(merge=query["genres.merge"])
    choice = SplitChoice("by_artist", {"n_folds": 3}, seed=7, fold=2, genres=merged)
    link = address(chosen, choice)
    app.switch_page("pages/train.py")  # as the link does it, in the same session
    for key, value in link.items():
        app.query_params[key] = value
    train = app.run()
    config = resolve(config_of(chosen, choice)).config
    command = train.code[-1].value.replace(" \\\n  ", " ")  # it goes over several lines
    assert command == shlex.join(train_command(config))


def test_a_genre_that_is_not_there_is_a_sentence_with_those_that_are(music: pd.DataFrame) -> None:
    app = open_page("datasets", view="split", **{"genres.leave_out": "Skiffle"}, **DEMO)
    error = app.error[0].value.replace("\\", "")
    assert "'Skiffle', to be left out, is not in the dataset" in error
    assert all(genre in error for genre in music["genre"].unique())
    app = open_page("datasets", view="audit", audit="split", **{"genres.merge": "a ="}, **DEMO)
    assert "genres.merge is 'a ='" in app.error[0].value.replace("\\", "")


def test_no_two_fields_share_a_name_in_the_address() -> None:
    from genrecore.ui.parts import forms

    of_parts = [
        f"{name}.{key}"
        for registry in forms.REGISTRIES.values()
        for name, entry in registry.items()
        for key in entry.options.model_fields
    ]
    of_groups = [
        f"{group}.{key}"
        for group, info in RunConfig.model_fields.items()
        for key in getattr(info.annotation, "model_fields", {})
    ]
    names = [*of_parts, *of_groups]
    assert len(names) == len(set(names)) > 20


def test_a_clip_of_a_table_is_shown_as_its_descriptors(own_cache: Path, real_data: Path) -> None:
    app = open_page(
        "datasets",
        dataset="gtzan",
        view="listen",
        clip="disco.00017",
        **{"gtzan.folder": str(real_data / "gtzan"), "gtzan.form": "table_30s"},
    )
    assert metrics(app)["Clips"] == "1,000"
    assert "**disco.00017**" in words(app)
    tables = [frame.value for frame in app.dataframe]
    assert [len(table) for table in tables if "Descriptor" in table] == [57]
    assert not players(app)


def test_a_picture_is_shown_and_one_that_is_none_is_said(own_cache: Path, tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(7)
    for genre in ("dub", "waltz"):
        (tmp_path / "pictures" / genre).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 256, (23, 31, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / genre / f"{number}.png")
    query = {"dataset": "folder", "folder.folder": str(tmp_path / "pictures"), "view": "listen"}
    app = open_page("datasets", **query)
    assert len(app.get("image")) == 1
    (tmp_path / "pictures" / "dub" / "0.png").write_bytes(b"no picture")
    app = open_page("datasets", **query)
    assert "0.png is not an image that can be read." in words(app)


@pytest.mark.slow
def test_genres_that_look_alike_are_merged_by_a_click(tmp_path: Path, own_cache: Path) -> None:
    for genre, n in (("Rock", 4), ("ROCK ", 3), ("Jazz", 4)):
        for number in range(n):
            silent_wav(tmp_path / "music" / genre / f"{number}.wav", 2_205)
    (tmp_path / "music" / "@eaDir").mkdir()
    (tmp_path / "music" / "Jazz" / "score.pdf").write_bytes(b"")
    folder = {"dataset": "folder", "folder.folder": str(tmp_path / "music")}
    app = open_page("datasets", **folder)
    assert "'Rock' (4 clips) and 'ROCK ' (3 clips) differ in case, spaces" in words(app)
    assert "1 file of other kinds ignored: 1 .pdf." in words(app)
    assert "1 hidden or system entry ignored: @eaDir." in words(app)
    merge = 'Rock = "ROCK ", Rock'
    assert f"--merge {shlex.quote(merge)}" in "".join(code.value for code in app.code)
    app.button(key="merge_look_alikes").click().run()
    assert not app.exception
    assert (app.query_params["genres.merge"], app.query_params["view"]) == (merge, "split")
    assert not any("differ in case" in warning.value for warning in app.warning)
    app = open_page("train", **folder)
    assert "'Rock' (4 clips) and 'ROCK ' (3 clips) differ in case" in words(app)
    app.button(key="remedy_caution_0_train_0").click().run()
    assert not app.exception
    assert app.query_params["genres.merge"] == merge
    assert not any("differ in case" in warning.value for warning in app.warning)
