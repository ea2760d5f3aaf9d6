"""Classical models: fitted, reported, stored and used like the networks beside them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from commands import command, genrecore
from conftest import TINY, trained
from opened import metrics as numbers
from opened import open_page, words
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from genrecore.config.command import train_command
from genrecore.config.run import RunConfig, signature, with_values
from genrecore.data.datasets.tables import DESCRIPTORS, read_table
from genrecore.errors import UsageError
from genrecore.evaluation import comparison, metrics
from genrecore.experiments.estimates import Estimator
from genrecore.inference import loaded as inference
from genrecore.models import MODELS
from genrecore.models import fitted as estimators
from genrecore.store import runs
from genrecore.store.progress import Phase, Stopped
from genrecore.store.run import Run
from genrecore.training import lifecycle
from genrecore.training.resolve import resolve
from genrecore.training.weights import load_classifier

NAMES = [name for name in MODELS if MODELS[name].facts.classical]
# Trees that vote, trees that add up, and no trees; the others wait for the long tests.
DAILY = {"random_forest", "gradient_boosting", "svm"}
some = pytest.mark.parametrize(
    "name", [n if n in DAILY else pytest.param(n, marks=pytest.mark.long) for n in NAMES]
)
GENRES = ("blues", "jazz", "metal")
N_CLIPS = 13
# Small where they can be: a forest of two portions, boosting that finds anything in few clips.
SMALL: dict[str, dict[str, object]] = {
    "random_forest": {"model__n_trees": 31},
    "gradient_boosting": {"model__iterations": 13, "model__min_leaf": 3},
}
Tiny = Callable[..., RunConfig]

pytestmark = pytest.mark.xdist_group("baselines")  # scikit-learn is imported by one worker


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """GTZAN's two tables with three genres that overlap: a guess is right in a third."""
    random = np.random.default_rng(7)
    whole, parts = [], []
    centres = random.normal(0.0, 0.35, (len(GENRES), len(DESCRIPTORS)))
    for centre, genre in zip(centres, GENRES, strict=True):
        for n in range(N_CLIPS):
            rows = 40.0 + 9.0 * (centre + random.normal(0.0, 1.0, len(DESCRIPTORS)))
            rows = rows + random.normal(0.0, 0.5, (10, len(DESCRIPTORS)))
            name = f"{genre}.{n:05d}"
            whole.append([f"{name}.wav", 661_794, *rows.mean(0), genre])
            parts += [[f"{name}.{i}.wav", 66_149, *row, genre] for i, row in enumerate(rows)]
    columns = ["filename", "length", *DESCRIPTORS, "label"]
    pd.DataFrame(whole, columns=columns).to_csv(tmp_path / "features_30_sec.csv", index=False)
    pd.DataFrame(parts, columns=columns).to_csv(tmp_path / "features_3_sec.csv", index=False)
    return tmp_path


def on_table(tiny: Tiny, folder: Path, name: str, **values: object) -> RunConfig:
    defaults: dict[str, object] = {
        "dataset": "gtzan", "dataset__folder": str(folder), "dataset__form": "table_30s",
        "split": "stratified", "split__n_folds": 4, "allow_leaks": True,
        "feature": "descriptors", "model": name, **SMALL.get(name, {}),
    }  # fmt: skip
    return tiny(**(defaults | values))


def vectors_of(run: Run, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (clips, 57) float32 of a run's split in clip-table order, and their genres."""
    assert run.clips is not None
    clips = run.clips[run.clips["split"] == split]
    table = read_table(Path(clips["path"].iloc[0])).set_index("clip_id").loc[clips["clip_id"]]
    genre = clips["genre"].map({genre: k for k, genre in enumerate(GENRES)})
    return table[list(DESCRIPTORS)].to_numpy(np.float32), genre.to_numpy()


def proba_of(run: Run, split: str) -> np.ndarray:
    assert run.predictions is not None
    part = run.predictions[run.predictions["split"] == split]
    return part[[f"p_{genre}" for genre in GENRES]].to_numpy()


@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_fills_the_files_of_a_run(
    store: Path, tiny: Tiny, tables: Path, name: str
) -> None:
    run = trained(on_table(tiny, tables, name), store)
    assert run.state == "done", run.reason
    files = {path.name for path in run.folder.iterdir()}
    assert {"model.skops", "predictions.parquet", "segments.parquet", "clips.parquet"} <= files
    assert not {"weights.safetensors", "last.safetensors", "resume.pt"} & files
    assert run.weights == run.folder / "model.skops"

    assert run.clips is not None
    assert run.predictions is not None
    judged = run.clips[run.clips["split"].isin(["valid", "test"])]
    assert set(run.predictions["clip_id"]) == set(judged["clip_id"])
    for table in (run.predictions, run.segments):
        assert table is not None
        proba = table[[f"p_{genre}" for genre in GENRES]].to_numpy(float)
        assert (proba >= 0).all()
        np.testing.assert_allclose(proba.sum(1), 1.0, atol=1e-6)  # float32

    assert len(run.history) == 1
    row = run.history.iloc[0]
    valid, genre = proba_of(run, "valid"), vectors_of(run, "valid")[1]
    assert row["epoch"] == 1
    assert row["valid_accuracy"] == (valid.argmax(1) == genre).mean()
    loss = metrics.log_loss(genre, valid.astype(float))
    # Ours keeps probabilities above 1e-12, the metric above 2e-16: nearest neighbours give zeros.
    assert row["valid_loss"] == pytest.approx(loss, rel=0.35 if name == "knn" else 1e-5)
    assert row["train_accuracy"] > 0.5
    assert run.epoch_predictions.tolist() == [valid.argmax(1).tolist()]
    assert run.status["best_epoch"] == run.status["epoch"] == run.n_epochs == 1
    assert "n_parameters" not in run.status
    assert run.environment["versions"]["scikit-learn"]


@pytest.mark.slow
@some
def test_the_same_seed_gives_the_same_predictions_whatever_the_threads(
    store: Path, tiny: Tiny, tables: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trained(on_table(tiny, tables, name, seed=3), store)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    second = trained(on_table(tiny, tables, name, seed=3), store)
    assert first.state == second.state == "done"
    pd.testing.assert_frame_equal(first.predictions, second.predictions)


@pytest.mark.parametrize("form", [pytest.param("table_30s", marks=pytest.mark.long), "table_3s"])
@some
def test_what_is_loaded_predicts_exactly_what_was_stored(
    store: Path, tiny: Tiny, tables: Path, name: str, form: str
) -> None:
    run = trained(on_table(tiny, tables, name, dataset__form=form), store)
    assert run.segments is not None
    loaded = load_classifier(run.weights)
    assert loaded.genres == list(GENRES)
    assert loaded.config == run.config
    file = "features_30_sec.csv" if form == "table_30s" else "features_3_sec.csv"
    table = read_table(tables / file).set_index(["clip_id", "part"])
    parts = zip(run.segments["clip_id"], run.segments["start_s"].astype(int), strict=True)
    rows = table.loc[list(parts), list(DESCRIPTORS)].to_numpy(np.float32)
    with torch.inference_mode():
        vectors = torch.tensor(rows)[:, None]
        proba = torch.cat([loaded(part).softmax(1) for part in vectors.split(7)]).numpy()
    stored = run.segments[[f"p_{genre}" for genre in GENRES]].to_numpy()
    if name == "logistic_regression":  # a matrix product of float64 in batches of another size
        np.testing.assert_allclose(proba, stored, rtol=1e-6)
    else:
        assert np.array_equal(proba, stored)


DIRECT: dict[str, Callable[[], Any]] = {
    "knn": lambda: KNeighborsClassifier(3),
    "logistic_regression": lambda: LogisticRegression(max_iter=1000),
    "random_forest": lambda: RandomForestClassifier(31, random_state=5),
    "gradient_boosting": lambda: HistGradientBoostingClassifier(
        max_iter=13, min_samples_leaf=3, max_features=0.3, random_state=5
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(DIRECT))
def test_a_baseline_is_what_scikit_learn_gives_on_the_same_vectors(
    store: Path, tiny: Tiny, tables: Path, name: str
) -> None:
    # Grown in portions here and at once there: the very same trees.
    run = trained(on_table(tiny, tables, name, seed=5), store)
    standardise = load_classifier(run.weights).standardise
    (train, genre), (test, _) = vectors_of(run, "train"), vectors_of(run, "test")
    x, x_test = (standardise(torch.tensor(part)).double().numpy() for part in (train, test))
    direct = DIRECT[name]().fit(x, genre)
    # Rounded to float32 by way of a logarithm.
    np.testing.assert_allclose(proba_of(run, "test"), direct.predict_proba(x_test), atol=1e-6)


@pytest.mark.parametrize("name", ["knn", "logistic_regression", "svm"])
def test_the_standardisation_is_that_of_the_training_clips(
    store: Path, tiny: Tiny, tables: Path, name: str
) -> None:
    run = trained(on_table(tiny, tables, name), store)
    (train, genre), (test, _) = vectors_of(run, "train"), vectors_of(run, "test")
    inner = SVC(C=10.0) if name == "svm" else DIRECT[name]()
    pipeline = make_pipeline(StandardScaler(), inner).fit(train.astype(float), genre)
    scaler, ours = pipeline[0], load_classifier(run.weights).standardise
    # float32 against float64
    np.testing.assert_allclose(ours.mean.numpy(), scaler.mean_, rtol=1e-5)
    np.testing.assert_allclose(ours.standard_deviation.numpy(), scaler.scale_, rtol=1e-5)
    assert np.array_equal(proba_of(run, "test").argmax(1), pipeline.predict(test.astype(float)))


def test_the_svm_decides_itself_and_the_calibration_only_says_how_surely() -> None:
    random = np.random.default_rng(7)
    genre = np.repeat(np.arange(7), 30)
    x = random.normal(0, 1, (7, 5))[genre] + random.normal(0, 1.1, (210, 5))
    x_new = random.normal(0, 1.5, (333, 5))
    machine = CalibratedClassifierCV(SVC(C=10.0), ensemble=False, cv=5).fit(x, genre)
    own = SVC(C=10.0).fit(x, genre).predict(x_new)
    calibrated = machine.predict_proba(x_new)
    differs = calibrated.argmax(1) != own
    assert differs.any()  # else there would be nothing to see here
    proba = torch.from_numpy(estimators.log_proba(machine, x_new)).softmax(1).numpy()
    assert np.array_equal(proba.argmax(1), own)
    # The same probabilities, two of them exchanged where the two disagree; float32, and a hair.
    np.testing.assert_allclose(np.sort(proba), np.sort(calibrated), atol=3e-6)
    np.testing.assert_allclose(proba[~differs], calibrated[~differs], atol=3e-6)


def test_a_decision_leads_where_float32_cannot_tell_two_probabilities_apart() -> None:
    logs = np.log(np.array([[0.4, 0.4, 0.2], [0.1, 0.3, 0.6]], dtype=np.float32))
    led = torch.from_numpy(estimators._led_by(np.array([1, 0]), logs)).softmax(1).numpy()
    assert led.argmax(1).tolist() == [1, 0]
    np.testing.assert_allclose(led, [[0.4, 0.4, 0.2], [0.6, 0.3, 0.1]], atol=1e-6)


def test_the_calibration_never_holds_out_a_part_of_a_clip_it_learns_from(
    store: Path, tiny: Tiny, tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[Any] = []
    fit = CalibratedClassifierCV.fit

    def watched(self: Any, x: Any, y: Any) -> Any:
        fits.append((self.cv, len(x)))
        return fit(self, x, y)

    monkeypatch.setattr(CalibratedClassifierCV, "fit", watched)
    run = trained(on_table(tiny, tables, "svm", dataset__form="table_3s"), store)
    assert run.state == "done", run.reason
    assert run.clips is not None
    ((folds, n),) = fits
    n_clips = int((run.clips["split"] == "train").sum())
    assert n == 10 * n_clips
    clip_of = np.repeat(np.arange(n_clips), 10)  # rows come clip by clip
    for rest, held_out in folds:
        assert not set(clip_of[rest]) & set(clip_of[held_out])
    assert sorted(np.concatenate([held_out for _, held_out in folds])) == list(range(n))


def test_too_few_clips_are_refused_in_one_sentence(store: Path, tiny: Tiny, tables: Path) -> None:
    run = trained(on_table(tiny, tables, "knn", model__k=999), store)
    assert run.state == "failed"
    assert "999 neighbours are asked for" in run.reason
    table = pd.read_csv(tables / "features_30_sec.csv")
    table[table.groupby("label").cumcount() < 3].to_csv(tables / "features_30_sec.csv", index=False)
    run = trained(on_table(tiny, tables, "svm", split__n_folds=3), store)
    assert run.state == "failed"
    assert "two training clips of each genre" in run.reason


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"augment": "mixup"}, "mixup draws anew in every epoch, but the model knn is fitted in"),
        ({"augment": "noise"}, "fixed copies: pitch_variants, tempo_variants"),
        ({"segments.excerpts": "random"}, "let it train on all segments"),
        ({"processes": 2}, "fitted by one process"),
        (
            {"feature": "log_mel"},
            "the feature log_mel makes images. Features for knn: descriptors",
        ),
        ({"model.k": 0}, "greater than or equal to 1"),
    ],
)
def test_what_a_baseline_cannot_do_is_refused_in_one_sentence(
    values: dict[str, object], message: str
) -> None:
    config = with_values(RunConfig(), {"feature": "descriptors", "model": "knn"})
    resolve(config)
    with pytest.raises(UsageError, match=message) as caught:
        resolve(with_values(config, values))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_copies_of_other_pitch_are_learned_from_too(store: Path, tiny: Tiny) -> None:
    values = {"dataset__n_genres": 2, "dataset__n_clips": 5, "segments__segment_s": 1.5}
    config = tiny(**values, feature="descriptors", model="knn", augment="pitch_variants")
    run = trained(config, store)
    assert run.state == "done", run.reason
    assert run.clips is not None
    n_segments = 2 * int((run.clips["split"] == "train").sum())
    estimator = load_classifier(run.weights).network.estimator
    assert estimator.n_samples_fit_ == 3 * n_segments  # as they are, a semitone lower and higher


@pytest.mark.slow
@pytest.mark.parametrize("name", ["random_forest", "gradient_boosting"])
def test_a_stop_is_obeyed_between_portions_and_going_on_starts_over(
    store: Path, tiny: Tiny, tables: Path, name: str
) -> None:
    config = on_table(tiny, tables, name)
    whole = trained(config, store)
    run, lock = runs.create_held_run(config, store)
    progress: list[tuple[int, int]] = []

    def stop_at_the_second(phase: str, done: int, total: int) -> None:
        if phase == Phase.TRAINING:
            progress.append((done, total))
            if done:
                raise Stopped

    assert lifecycle.execute(run, stop_at_the_second) == "stopped"
    portion = MODELS[name].facts.portion
    total = 31 if name == "random_forest" else 13
    # While a portion is fitted it says so again and again.
    assert list(dict.fromkeys(progress)) == [(0, total), (portion, total)]
    assert not run.weights.exists()
    assert lifecycle.execute(Run(run.folder)) == "done"
    os.close(lock)
    pd.testing.assert_frame_equal(Run(run.folder).predictions, whole.predictions)
    assert len(Run(run.folder).history) == 1


# Faces


@pytest.mark.slow
def test_commands_train_show_and_train_the_same_again(
    store: Path, tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_flags = ["--dataset", "gtzan", "--set", "dataset.form=table_30s"]
    dataset_flags += ["--set", f"dataset.folder={tables}", "--split", "stratified", "--allow-leaks"]
    model_flags = ["--feature", "descriptors", "--model", "svm", "--set", "model.C=3.5"]
    output = command("train", *dataset_flags, *model_flags, "--device", "cpu")
    assert "Tested on" in output
    (run,) = runs.all_runs(store)
    assert run.config.model.options == {"C": 3.5}
    arguments = train_command(run.config)
    assert shlex.join(arguments) in command("runs", "show", run.run_id)
    in_foreground = [argument for argument in arguments[1:] if argument != "--background"]
    command(*in_foreground)
    newest, first = runs.all_runs(store)
    assert signature(newest.config) == signature(first.config)
    pd.testing.assert_frame_equal(newest.predictions, first.predictions)
    listed = command("list", "models")
    assert all(name in listed for name in NAMES)
    assert genrecore("classify", str(tables / "x.wav"), "--run", run.run_id).returncode != 0


def test_an_experiment_does_not_expect_a_baseline_to_take_epochs(
    store: Path, tiny: Tiny, tables: Path
) -> None:
    config = on_table(tiny, tables, "knn", training__epochs=5000)
    run = trained(config, store)
    estimate = Estimator([run]).estimate(run.config)
    took_s = run.status["finished_at"] - run.status["started_at"]
    assert estimate.source == "runs"
    assert estimate.seconds < 2 * took_s  # as many clips took this long


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """An SVM and a perceptron on the same tiny demo music, in a store of their own."""
    store = tmp_path_factory.mktemp("baselines") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRECORE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setenv("GENRECORE_RUNS", str(store))
        own = {
            key: value for key, value in TINY.items() if not key.startswith(("feature", "model"))
        }
        own |= {"segments.segment_s": 1.5, "feature": "descriptors"}
        configs = {name: with_values(RunConfig(), own | {"model": name}) for name in ("svm", "mlp")}
        trained_runs = {
            name: trained(resolve(config).config, store) for name, config in configs.items()
        }
    assert all(run.state == "done" for run in trained_runs.values())
    return trained_runs


@pytest.mark.slow
def test_a_recording_is_judged_as_its_stored_segments_were(heard: dict[str, Run]) -> None:
    run = heard["svm"]
    assert run.segments is not None
    assert run.clips is not None
    loaded = inference.load(run)
    clip = run.clips[run.clips["split"] == "test"].iloc[0]
    prediction = loaded.classify(clip["path"])
    stored = run.segments[run.segments["clip_id"] == clip["clip_id"]]
    columns = [f"p_{genre}" for genre in loaded.genres]
    # Descriptors of the same waves by the same code.
    np.testing.assert_allclose(prediction.segments[columns], stored[columns], atol=1e-6)
    assert prediction.proba.sum() == pytest.approx(1.0)


def test_a_baseline_stands_beside_a_network(heard: dict[str, Run]) -> None:
    both = list(heard.values())
    compared = comparison.compare(both)
    assert set(compared.table["model"]) == {"svm", "mlp"}
    assert len(compared.pairs) == 1
    assert set(compared.curves["title"]) == {run.title for run in both}


@pytest.mark.slow
def test_pages_show_a_baseline(heard: dict[str, Run], monkeypatch: pytest.MonkeyPatch) -> None:
    run, perceptron = heard["svm"], heard["mlp"]
    monkeypatch.setenv("GENRECORE_RUNS", str(run.folder.parent))
    app = open_page("runs", run=run.run_id)
    assert numbers(app)["Epochs"] == "1 of 1"
    assert run.title in words(app)
    assert "fitted in one call, so there is one point each" in words(app)
    assert set(open_page("overview").dataframe[-1].value["run_id"]) == {
        run.run_id,
        perceptron.run_id,
    }
    app = open_page("compare", runs=f"{run.run_id},{perceptron.run_id}", view="cost")
    assert not app.error
    table = next(frame.value for frame in app.dataframe if "n_parameters" in frame.value)
    assert table.set_index("title")["n_parameters"].isna().to_dict() == {
        run.title: True,
        perceptron.title: False,
    }
    app = open_page("classify", run=run.run_id)
    assert run.clips is not None
    path = Path(run.clips["path"].iloc[0])
    app.file_uploader[0].upload(path.name, path.read_bytes()).run()
    assert not app.exception
    assert not app.error
    headline = next(text.value for text in app.markdown if text.value.startswith("## "))
    assert headline.split()[1] in set(run.clips["genre"])


@pytest.mark.slow
def test_the_form_says_that_a_baseline_has_no_epochs(store: Path) -> None:
    app = open_page("train", feature="descriptors", model="knn")
    assert "fitted in one call, without epochs" in words(app)
    assert "--model knn" in app.code[-1].value
