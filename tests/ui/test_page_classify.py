"""The page Classify: uploads, several runs, doubts, reasons, and everything that can be wrong."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from commands import command
from conftest import TINY, trained
from opened import again, open_page, players, words
from sounds import falling_tone, noises
from streamlit.testing.v1 import AppTest

from genrecore.config.run import RunConfig, with_values
from genrecore.data import uploads
from genrecore.evaluation.related_clips import EXACT
from genrecore.inference import ensemble as panel
from genrecore.inference import explain
from genrecore.inference import loaded as inference
from genrecore.inference.explain import Explainer
from genrecore.store.files import read_json, write_json
from genrecore.store.run import Run
from genrecore.training.resolve import resolve
from genrecore.ui.classify import predictions
from genrecore.ui.classify.doubts import about_diagram
from genrecore.words import percent

pytestmark = pytest.mark.xdist_group("pages")  # one worker trains the runs that all tests look at


@pytest.fixture(scope="module")
def trained_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Two runs on the same genres, and one on other ones."""
    store = tmp_path_factory.mktemp("classify") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRECORE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        config = resolve(with_values(RunConfig(), TINY)).config
        fewer = {"seed": 2, "genres.leave_out": "techno", "training.epochs": 1}
        return {
            "first": trained(config, store),
            "second": trained(with_values(config, {"seed": 5}), store),
            "other": trained(resolve(with_values(config, fewer)).config, store),
        }


@pytest.fixture
def runs(trained_runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Run]]:
    """The runs, in the store that the page reads; no uploads are left over."""
    monkeypatch.setenv("GENRECORE_RUNS", str(trained_runs["first"].folder.parent))
    yield trained_runs
    uploads.clear_clips()


def upload(app: AppTest, *files: tuple[str, bytes]) -> AppTest:
    """The page after an upload."""
    app.file_uploader[0].set_value([(name, content, "audio/wav") for name, content in files]).run()
    assert not app.exception, app.exception[0].message
    return app


def headline(app: AppTest) -> str:
    """The prediction in words."""
    return next(str(text.value) for text in app.markdown if str(text.value).startswith("## "))


@pytest.mark.slow
def test_an_uploaded_clip_gets_player_timeline_prediction_and_reasons(runs: dict[str, Run]) -> None:
    run = runs["first"]
    app = upload(open_page("classify", run=run.run_id), ("tone.wav", falling_tone(3.7)))
    expected = inference.load(run).classify(falling_tone(3.7))
    expected_text = f"{expected.genre} :gray[with {percent(expected.proba.max())}"
    assert expected_text in headline(app)
    heard, why = players(app)
    assert heard["name"] == "tone.wav"
    (sound,) = heard["sounds"]
    assert sound["duration_s"] == pytest.approx(len(expected.wave) / 22_050, abs=1e-3)
    assert heard["part"] is None
    segment, *strong = heard["marks"]["stretches"]  # what the map of the page highlights
    assert heard["marks"]["title"].startswith("highlighted for ")
    assert segment[:2] == [why["sounds"][0]["start_s"], why["sounds"][0]["start_s"] + 1.0]
    assert max(strength for _, _, strength in strong) == 1.0
    assert heard["lanes"][0]["starts"] == expected.segments["start_s"].round(3).to_list()
    titles = [sound["title"] for sound in why["sounds"]]
    assert titles == ["The whole segment", "Highlighted", "The rest"]
    assert why["aligned"]
    assert len(app.get("plotly_chart")) == 2  # probabilities and the reasons
    assert "Support for" in [box.label for box in app.selectbox]


@pytest.mark.slow
def test_the_explanation_shown_first_is_one_that_explains_or_the_page_says_that_none_does(
    runs: dict[str, Run],
) -> None:
    app = upload(open_page("classify", run=runs["first"].run_id), ("tone.wav", falling_tone(3.7)))
    loaded = inference.load(runs["first"])
    prediction, explainer = loaded.classify(falling_tone(3.7)), Explainer(loaded)
    segment = int(prediction.segments[f"p_{prediction.genre}"].to_numpy().argmax())
    deletions = {}
    for method in explainer.methods:
        explanation = explainer.explain(prediction.wave, prediction.genre, method, segment)
        deletions[method] = explain.delete(loaded, prediction.wave, explanation, 0.2)
    explaining = [m for m, deletion in deletions.items() if deletion and deletion.explains]
    (shown,) = [box.value for box in app.selectbox if box.label == "Method"]
    headlines = [str(text.value).replace("\\", "") for text in app.markdown]
    deletion = deletions[shown]
    assert deletion is not None
    if explaining:
        assert shown == explaining[0]
        assert deletion.sentence in headlines
    else:
        assert "**No method explains it; the one whose map comes closest is shown.**" in headlines
        assert f"**{deletion.sentence}**" in headlines
    # Chosen by hand, a map that explains nothing is not shown as if it did.
    for method, deletion in deletions.items():
        if deletion and not deletion.explains:
            next(box for box in app.selectbox if box.label == "Method").set_value(method).run()
            assert f"**{deletion.sentence}**" in [
                str(text.value).replace("\\", "") for text in app.markdown
            ]


@pytest.mark.slow
def test_every_view_opens_and_the_address_names_clip_and_view(runs: dict[str, Run]) -> None:
    app = upload(open_page("classify", run=runs["first"].run_id), ("tone.wav", falling_tone(2.9)))
    heard = app.query_params["heard"]
    for view, sentences in (
        ("trust", "How far to trust it"),
        ("sound", ""),
        ("like", "among the nearest."),
    ):
        # Another visitor with the same address, long after the first one is gone.
        copy = open_page("classify", run=runs["first"].run_id, heard=heard, view=view)
        assert sentences in words(copy)
        assert "tone.wav" in words(copy)
        assert headline(copy) == headline(app)


@pytest.mark.slow
def test_clips_like_an_upload_are_found_by_an_encoder_and_copies_are_marked(
    runs: dict[str, Run], musicnn: None
) -> None:
    run = runs["first"]
    assert run.clips is not None
    clip = run.clips[run.clips["split"] == "train"].iloc[7]
    query = {"run": run.run_id, "view": "like"}
    app = open_page("classify", **query)
    app = upload(app, ("mine.wav", Path(clip["path"]).read_bytes()))
    command("similar", "--in", "demo", *(f"--set={k}={v}" for k, v in
            run.config.dataset.options.items()))  # fmt: skip
    app = again(app, like_run="musicnn")
    assert "among the nearest." in words(app)
    first, *_ = app.selectbox(key="choice_near").options
    assert first == f"{clip['clip_id']} · {clip['genre']} · distance 0.000 · {EXACT}"
    assert clip["clip_id"] in [heard["name"] for heard in players(app)]
    app = again(app, like_run=run.run_id, near="")
    (copy,) = [text for text in app.selectbox(key="choice_near").options if EXACT in text]
    assert copy.startswith(f"{clip['clip_id']} · ")


def test_the_diagram_says_that_a_temperature_was_fitted_only_where_one_was() -> None:
    as_is = "Probabilities of the validation clips, as the network gives them."
    assert about_diagram({"a": False, "b": False}) == as_is
    assert "with the temperature. It was fitted to these very clips" in about_diagram({"a": True})
    assert "with the temperature of b. It was" in about_diagram({"a": False, "b": True})


@pytest.mark.slow
def test_several_runs_stand_side_by_side_with_their_average(runs: dict[str, Run]) -> None:
    pair = [runs["first"], runs["second"]]
    app = open_page("classify", runs=",".join(run.run_id for run in pair))
    app = upload(app, ("tone.wav", falling_tone(3.1)))
    answer = panel.load(pair).classify(falling_tone(3.1), "tone.wav")
    assert answer.average is not None
    genre = answer.predictions[0].genres[int(answer.average.argmax())]
    assert f"## {genre} :gray[with {percent(answer.average.max())} on average" in headline(app)
    sentences = answer.agreement
    for run in pair:
        sentences = sentences.replace(run.run_id, run.title)
    assert sentences in words(app)


@pytest.mark.slow
def test_runs_of_other_genres_are_shown_and_not_averaged(runs: dict[str, Run]) -> None:
    run_ids = f"{runs['first'].run_id},{runs['other'].run_id}"
    app = upload(open_page("classify", runs=run_ids), ("tone.wav", falling_tone(3.1)))
    assert "The runs have different genres, so they are not averaged." in words(app)
    assert "on average" not in words(app)
    assert len(app.get("plotly_chart")) == 3  # the bars of each, and the reasons


def test_bad_uploads_are_named_in_one_sentence_and_good_ones_go_on(runs: dict[str, Run]) -> None:
    half = falling_tone(3.9)[:80_000]
    app = upload(
        open_page("classify", run=runs["first"].run_id),
        ("noise.wav", b"this is no sound at all"),
        ("half.wav", half),
        ("good.wav", falling_tone(2.9)),
    )
    sentences = [str(error.value).replace("\\", "") for error in app.error]
    assert len(sentences) == 1
    assert "noise.wav is not an audio file" in sentences[0]
    table = next(frame.value for frame in app.dataframe if "Clip" in frame.value)
    assert table["Clip"].tolist() == ["half.wav", "good.wav"]
    assert table["Damage"].notna().tolist() == [True, False]
    assert players(app)[0]["name"] == "half.wav"  # what is there of it
    (warning,) = [str(box.value) for box in app.warning if "half" in str(box.value)]
    assert "is truncated" in warning


def test_the_name_of_an_uploaded_file_is_never_markup_or_a_path(runs: dict[str, Run]) -> None:
    name = "../../**loud** <img src=x> :red[x] [a](http:b).wav"
    app = upload(open_page("classify", run=runs["first"].run_id), (name, falling_tone(2.9)))
    expected_text = next(str(text.value) for text in app.markdown if "loud" in str(text.value))
    assert r"\*\*loud\*\*" in expected_text
    assert r"\<img" in expected_text
    assert r"\:red\[x\]" in expected_text
    assert ".." not in expected_text


@pytest.mark.slow
def test_twenty_five_files_are_a_table_and_the_same_file_is_classified_once(
    runs: dict[str, Run],
) -> None:
    files = [(f"clip {k}.wav", falling_tone(1.2 + 0.05 * k)) for k in range(24)]
    app = open_page("classify", run=runs["first"].run_id)
    app = upload(app, *files, ("the first again.wav", files[0][1]))
    table = next(frame.value for frame in app.dataframe if "Clip" in frame.value)
    assert table["Clip"].tolist() == [name for name, _ in files]
    loaded = inference.load(runs["first"])
    for k in (0, 23):
        expected = loaded.classify(files[k][1])
        assert table["Genre"][k] == expected.genre
        # float32 sums in batches of other sizes
        assert table["Probability"][k] == pytest.approx(100 * expected.proba.max(), abs=1e-3)
    assert "the first again.wav is the same file as clip 0.wav; it is classified once." in words(
        app
    )


@pytest.mark.slow
def test_noise_is_doubted_and_a_training_clip_is_known(runs: dict[str, Run]) -> None:
    run = runs["first"]
    stream = io.BytesIO()
    soundfile.write(stream, noises(1, 3.0)[0], 22_050, format="WAV")
    app = upload(open_page("classify", run=run.run_id), ("hiss.wav", stream.getvalue()))
    assert "This is like noise" in words(app)
    assert f"genrecore makes itself: {run.title}. Real music belongs to none" in words(app)
    assert run.clips is not None
    row = run.clips[run.clips["split"] == "train"].iloc[0]
    app = upload(app, ("mine.wav", Path(row["path"]).read_bytes()))
    assert f"it is {row['clip_id']}" in words(app)
    assert "A right answer proves nothing." in words(app)
    assert "genrecore makes itself" not in words(app)


@pytest.mark.slow
def test_without_embeddings_the_page_offers_to_compute_them(
    runs: dict[str, Run],
) -> None:
    copy = runs["first"].folder.with_name("copied-run")
    shutil.copytree(runs["first"].folder, copy)
    try:
        app = upload(open_page("classify", run="copied-run"), ("tone.wav", falling_tone(2.9)))
        assert "or is one of them, is not known: that takes the embeddings of its clips." in words(
            app
        )
        keys = [button.key for button in app.button if button.label == "Compute embeddings"]
        assert keys == ["doubt_start"]
        app = again(app, view="like")
        assert "The embeddings of this run's clips have not been computed yet." in words(app)
        keys = [button.key for button in app.button if button.label == "Compute embeddings"]
        assert keys == ["embed_start"]
    finally:
        shutil.rmtree(copy)
    app = upload(open_page("classify", run=runs["first"].run_id), ("tone.wav", falling_tone(2.9)))
    assert "that takes the embeddings" not in words(app)


def test_uploads_are_kept_until_they_are_cleared(runs: dict[str, Run]) -> None:
    app = upload(open_page("classify", run=runs["first"].run_id), ("tone.wav", falling_tone(2.9)))
    assert uploads.n_kept_clips() == 1
    heard = app.query_params["heard"]
    app.button(key="clear").click().run()
    assert uploads.n_kept_clips() == 0
    assert "cleared away" in words(open_page("classify", heard=heard))


@pytest.mark.slow
def test_a_run_that_is_deleted_while_the_page_is_open_is_said_to_be_gone(
    runs: dict[str, Run],
) -> None:
    gone = runs["first"].folder.with_name("gone-run")
    shutil.copytree(runs["first"].folder, gone)
    app = upload(open_page("classify", run="gone-run"), ("tone.wav", falling_tone(2.9)))
    assert headline(app)
    shutil.rmtree(gone)
    app = again(app)
    assert "The run gone-run is not there any more" in words(app)
    assert not app.error


@pytest.mark.slow
def test_a_part_of_a_long_clip_is_classified_as_the_address_says(runs: dict[str, Run]) -> None:
    app = upload(open_page("classify", run=runs["first"].run_id), ("long.wav", falling_tone(20.0)))
    assert "Seconds 8.5 to 11.5 of 20.0 were classified" in words(app)
    app = again(app, start="2", length="5")
    assert "Seconds 2.0 to 7.0 of 20.0 were classified" in words(app)
    expected = inference.load(runs["first"]).classify(falling_tone(20.0), start_s=2.0, length_s=5.0)
    assert percent(expected.proba.max()) in headline(app)
    assert len(expected.segments) == 5
    # The whole song plays, its segments all have predictions, and the part is marked.
    whole = inference.load(runs["first"]).classify(falling_tone(20.0), start_s=0.0, length_s=20.0)
    assert f"The whole would be {whole.genre} with {percent(whole.proba.max())}." in words(app)
    song = players(app)[0]
    assert (song["sounds"][0]["start_s"], song["sounds"][0]["duration_s"]) == (0.0, 20.0)
    assert song["lanes"][0]["starts"] == whole.segments["start_s"].to_list()
    assert song["part"] == song["strip"]["part"] == [2.0, 7.0]
    assert (song["strip"]["total_s"], len(song["strip"]["outline"])) == (20.0, 2 * 800)


def test_where_a_whole_song_takes_long_its_part_is_classified_or_plays_alone(
    runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "_MOST_WAIT_S", 0.0)
    app = upload(open_page("classify", run=runs["first"].run_id), ("slow.wav", falling_tone(14.0)))
    song = players(app)[0]
    assert (song["sounds"][0]["duration_s"], song["part"]) == (14.0, [5.5, 8.5])
    assert song["lanes"][0]["starts"] == [5.5, 6.5, 7.5]
    assert "The whole would be" not in words(app)
    monkeypatch.setattr(predictions, "MOST_PLAYED_S", 13.0)
    song = players(again(app))[0]
    assert (song["sounds"][0]["start_s"], song["sounds"][0]["duration_s"]) == (5.5, 3.0)
    assert (song["sounds"][0]["total_s"], song["part"]) == (14.0, None)
    assert (song["strip"]["total_s"], song["strip"]["part"]) == (14.0, [5.5, 8.5])
    assert "Seconds 5.5 to 8.5 of 14.0 were classified, and this is what plays" in words(app)


def test_a_run_trained_on_images_asks_for_images(
    runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = tmp_path / "runs"
    folder = store / runs["first"].run_id
    shutil.copytree(runs["first"].folder, folder)
    config = read_json(folder / "config.json")
    config["dataset"] = {"name": "gtzan", "options": {"folder": "/nowhere", "form": "images"}}
    config["feature"] = {"name": "image"}
    (folder / "clips.parquet").unlink(missing_ok=True)
    write_json(folder / "config.json", config)
    monkeypatch.setenv("GENRECORE_RUNS", str(store))
    app = open_page("classify", run=folder.name)
    assert "How they were made of sound is not known" in re.sub(r"\s+", " ", words(app))
    assert app.file_uploader[0].label == "Images"


@pytest.mark.slow
def test_a_run_trained_on_arrays_classifies_an_array(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    for k, genre in enumerate(("high", "low")):
        (tmp_path / "music" / genre).mkdir(parents=True)
        for n in range(6):
            np.save(tmp_path / "music" / genre / f"{n}.npy", rng.normal(9.0 * k, 1.0, 7))
    values = {
        "dataset": "folder", "dataset.folder": str(tmp_path / "music"), "split": "stratified",
        "split.n_folds": 3, "feature": "own_vector", "model": "svm",
    }  # fmt: skip
    config = resolve(with_values(with_values(RunConfig(), TINY), values)).config
    monkeypatch.setenv("GENRECORE_RUNS", str(tmp_path / "runs"))
    run = trained(config, tmp_path / "runs")
    app = upload(
        open_page("classify", run=run.run_id),
        ("mine.npy", (tmp_path / "music" / "low" / "3.npy").read_bytes()),
    )
    assert headline(app).startswith("## low ")
    assert not app.get("audio")
    stream = io.BytesIO()
    np.save(stream, np.zeros(8))
    app = upload(open_page("classify", run=run.run_id), ("long.npy", stream.getvalue()))
    assert "long.npy has the size 8; the run" in words(app)
    for page in ("datasets", "sound"):
        at = {"dataset": "folder", "folder.folder": str(tmp_path / "music")}
        app = open_page(page, **at, **({"view": "listen"} if page == "datasets" else {}))
        assert any(frame.value.shape == (7, 1) for frame in app.dataframe), page


@pytest.mark.slow
def test_a_wanted_precision_makes_the_page_answer_not_sure(
    runs: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENRECORE_RUNS", str(tmp_path / "runs"))
    first, store = runs["first"], tmp_path / "runs"
    run, other = (
        Run(shutil.copytree(first.folder, store / f"{first.run_id[:-4]}000{k}")) for k in range(2)
    )
    clips = [(f"{n}.wav", falling_tone(3.7 + n / 10)) for n in range(2)]
    app = upload(open_page("classify", run=run.run_id, precision="0.87"), *clips)
    assert headline(app).startswith("## Not sure :gray[– ")
    table = next(frame.value for frame in app.dataframe if "Answer" in frame.value)
    assert table["Answer"].tolist() == ["not sure", "not sure"]
    assert "Never answered" in words(app)
    again(app, precision="always")
    assert not headline(app).startswith("## Not sure")
    # With enough validation clips that are right it answers.
    predictions = pd.read_parquet(run.folder / "predictions.parquet")
    genres = [name for name in predictions.columns if name.startswith("p_")]
    sure = predictions.iloc[[0] * 90].reset_index(drop=True).assign(split="valid")
    best = np.arange(90) % len(genres)
    sure[genres] = np.where(np.eye(len(genres))[best] > 0, 0.34, 0.66 / (len(genres) - 1))
    sure["genre"] = [genres[k].removeprefix("p_") for k in best]
    sure["clip_id"] = [f"valid {n}" for n in range(90)]
    sure.to_parquet(other.folder / "predictions.parquet")
    app = upload(open_page("classify", run=other.run_id, precision="0.9"), clips[0])
    assert not headline(app).startswith("## Not sure")
