"""From clips to predictions: corpus, features, the loop, resuming, and what is stored."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from conftest import MEASURED, ROOT, trained

from genrecore.audio import decode
from genrecore.config.run import RunConfig
from genrecore.data import clips, corpus, prepare
from genrecore.data.segments import Segmenter
from genrecore.errors import GenrecoreError, UsageError
from genrecore.evaluation import metrics
from genrecore.features import cache as feature_cache
from genrecore.inference import loaded as inference
from genrecore.store import runs
from genrecore.store.progress import Phase, Stopped
from genrecore.store.run import Run
from genrecore.training import lifecycle
from genrecore.training.classifier import Classifier
from genrecore.training.parts import ResolvedConfig
from genrecore.training.weights import load_classifier

Tiny = Callable[..., RunConfig]


def weights(run: Run, name: str = "weights.safetensors") -> dict[str, torch.Tensor]:
    return load_classifier(run.folder / name).state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(store: Path, tiny: Tiny) -> None:
    first, second = trained(tiny(seed=3), store), trained(tiny(seed=3), store)
    assert first.state == second.state == "done"
    assert same(weights(first), weights(second))
    for name in ("weights.safetensors", "last.safetensors"):  # to the byte, metadata included
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()
    pd.testing.assert_frame_equal(first.predictions, second.predictions)
    assert not same(weights(first), weights(trained(tiny(seed=4), store)))


@pytest.mark.parametrize(
    ("steps", "precision"),
    [
        *((1, "float32"), (4, "bfloat16"), (7, "float32")),
        *(pytest.param(n, p, marks=pytest.mark.long)
          for n, p in ((1, "bfloat16"), (4, "float32"), (7, "bfloat16"))),
    ],
)  # fmt: skip
def test_a_stopped_run_goes_on_as_if_it_had_not(
    store: Path, tiny: Tiny, steps: int, precision: str
) -> None:
    # 18 clips of 3 segments in batches of 7: eight steps an epoch, the last one short.
    config = tiny(training__epochs=2, training__schedule="one_cycle", training__precision=precision)
    whole = trained(config, store)
    run, lock = runs.create_held_run(config, store)
    n_calls = 0

    def stop_after(phase: str, done: int, total: int) -> None:
        nonlocal n_calls
        n_calls += phase == Phase.TRAINING
        if phase == Phase.TRAINING and n_calls > steps:
            raise Stopped

    assert lifecycle.execute(run, stop_after) == "stopped"
    assert lifecycle.execute(Run(run.folder)) == "done"
    os.close(lock)
    assert same(weights(whole), weights(run))
    assert same(weights(whole, "last.safetensors"), weights(run, "last.safetensors"))
    pd.testing.assert_frame_equal(whole.predictions, Run(run.folder).predictions)
    pd.testing.assert_frame_equal(
        whole.history.drop(columns=MEASURED), Run(run.folder).history.drop(columns=MEASURED)
    )
    assert np.array_equal(whole.epoch_predictions, Run(run.folder).epoch_predictions)
    losses = whole.step_losses
    assert np.array_equal(losses, Run(run.folder).step_losses)
    n_segments = np.array([7] * 7 + [5])  # of each step
    of_epochs = losses.reshape(2, 8).astype(float) @ n_segments / 54
    # Both are float64 means of the same float32 losses, added up in another order.
    np.testing.assert_allclose(whole.history["train_loss"], of_epochs, rtol=1e-12)


@pytest.mark.parametrize("colours", ["none", "gray_r"])
def test_a_saved_run_predicts_what_it_predicted(store: Path, tiny: Tiny, colours: str) -> None:
    run = trained(tiny(feature__colours=colours), store)
    loaded = inference.load(run)
    predicted = run.predictions.set_index("clip_id")
    columns = [f"p_{genre}" for genre in loaded.genres]
    paths = run.clips.set_index("clip_id")["path"]
    for clip_id, row in predicted.iterrows():
        prediction = loaded.classify(paths[clip_id])
        # The same float32 arithmetic in batches of another size: rounding only.
        np.testing.assert_allclose(prediction.proba, row[columns].to_numpy(float), atol=2e-6)
        stored = run.segments[run.segments["clip_id"] == clip_id]
        np.testing.assert_allclose(prediction.segments["start_s"], stored["start_s"], atol=1e-9)


def test_a_batch_equals_its_clips_one_by_one(store: Path, tiny: Tiny) -> None:
    net = load_classifier(trained(tiny(), store).folder / "weights.safetensors")
    generator = torch.Generator().manual_seed(1)
    waves = torch.rand(5, 1, 22_050, generator=generator) * 2 - 1
    together = net(waves)
    one_by_one = torch.cat([net(wave[None]) for wave in waves])
    # float32 sums in another order
    torch.testing.assert_close(together, one_by_one, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_the_chosen_epoch_is_the_best_on_validation(store: Path, tiny: Tiny) -> None:
    run = trained(tiny(training__epochs=5), store)
    history = run.history
    best = run.status["best_epoch"]
    assert history.set_index("epoch").loc[best, "valid_accuracy"] == history["valid_accuracy"].max()
    valid = run.predictions[run.predictions["split"] == "valid"]
    genre = np.array(metrics.genres_in(valid))[
        valid[[f"p_{g}" for g in metrics.genres_in(valid)]].to_numpy().argmax(1)
    ]
    assert (genre == valid["genre"].to_numpy()).mean() == pytest.approx(
        history["valid_accuracy"].max()
    )
    last = trained(tiny(training__epochs=5, training__choose_epoch="last"), store)
    assert last.status["best_epoch"] == 5
    assert same(weights(last), weights(last, "last.safetensors"))


def test_every_epochs_predictions_are_kept_in_clip_order(store: Path, tiny: Tiny) -> None:
    run = trained(tiny(training__epochs=3), store)
    valid = run.clips[run.clips["split"] == "valid"]
    order = sorted(run.clips["genre"].unique())
    labels = valid["genre"].map({genre: i for i, genre in enumerate(order)}).to_numpy()
    assert run.epoch_predictions.shape == (3, len(valid))
    accuracy = (run.epoch_predictions == labels).mean(axis=1)
    np.testing.assert_allclose(accuracy, run.history["valid_accuracy"])


def test_early_stopping_waits_for_its_patience(store: Path, tiny: Tiny) -> None:
    # At this rate nothing changes, so the first epoch stays the best but for its loss.
    config = tiny(training__epochs=50, training__patience=2, training__lr=1e-12)
    run = trained(config, store)
    assert run.state == "done"
    assert len(run.history) < 50
    assert len(run.history) - run.status["best_epoch"] == 2
    assert run.reason.endswith(
        f"validation accuracy had not improved since epoch {run.status['best_epoch']}, nor the "
        "loss at an equal accuracy"
    )


@pytest.mark.slow
def test_an_equal_accuracy_with_a_lower_loss_is_no_improvement_where_the_first_counts(
    store: Path, tiny: Tiny
) -> None:
    config = tiny(training__epochs=50, training__patience=2, training__lr=1e-12)
    by_loss = trained(config, store)
    accuracy, loss = by_loss.history["valid_accuracy"], by_loss.history["valid_loss"]
    assert accuracy.nunique() == 1
    assert loss[1] < loss[0]  # a tie at once, with a lower loss
    assert by_loss.status["best_epoch"] > 1
    ties_first = config.training.model_copy(update={"ties": "first"})
    run = trained(config.model_copy(update={"training": ties_first}), store)
    assert run.history["best"].tolist() == [True, False, False]
    assert run.status["best_epoch"] == 1
    assert run.reason == (
        "stopped early after epoch 3: validation accuracy had not improved since epoch 1"
    )


@pytest.mark.slow
def test_training_learns(store: Path, tiny: Tiny) -> None:
    run = trained(tiny(training__epochs=12, training__lr=3e-3), store)
    losses = run.history["train_loss"]
    assert losses.iloc[-1] < 0.7 * losses.iloc[0]
    assert run.history["train_accuracy"].iloc[-1] > 0.6  # a guess is right in a third


def test_statistics_are_fitted_on_the_training_clips_only(store: Path, tiny: Tiny) -> None:
    run = trained(tiny(), store)
    config = run.config
    prepared = prepare.with_split(prepare.decode(config), config)
    net = Classifier(ResolvedConfig(config), prepared.genres)
    features = feature_cache.compute(prepared.corpus, config, net.feature)
    train = set(prepared.clips.loc[prepared.clips["split"] == "train", "clip_id"])
    rows = features.rows[features.segments["clip_id"].isin(train).to_numpy().copy()]
    stored = weights(run)
    # Summed in float64 there and in float32 here.
    torch.testing.assert_close(
        stored["standardise.mean"].flatten()[0], rows.mean(), rtol=1e-4, atol=1e-3
    )


def test_a_configuration_that_fits_nothing_is_refused_with_the_choices(tiny: Tiny) -> None:
    for values, message in (
        ({"model": "cnnn"}, "There is no model called 'cnnn'; there are: cnn, "),
        ({"feature": "log_mell"}, "There is no feature called"),
        ({"dataset": "gtzann"}, "there are: demo, "),
        ({"split": "by_song"}, "there are:"),
        ({"model__dept": 3}, "no field 'dept'; there are: "),
        ({"segments__segment_s": 9.0}, "longer than the 3 s taken from each clip"),
        ({"feature__n_mels": 8}, "at least"),
        ({"feature__fmax_hz": 20_000}, "half|above|Nyquist|nothing"),
    ):
        with pytest.raises(UsageError, match=message):
            tiny(**values)


def _clip(folder: Path, name: str, seconds: float, hz: float, rate: int = 22_050) -> Path:
    time_s = np.arange(round(seconds * rate)) / rate
    path = folder / name
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * hz * time_s), rate)
    return path


def _table(paths: list[Path]) -> pd.DataFrame:
    return clips.clip_table(
        {"clip_id": path.stem, "path": str(path), "genre": "tone"} for path in paths
    )


def test_the_corpus_holds_what_the_decoder_gives(tmp_path: Path) -> None:
    paths = [_clip(tmp_path, f"c{i}.wav", 2.0 + i, 220.0 * (i + 1), 44_100) for i in range(5)]
    built = corpus.build(_table(paths), 22_050, 3.0)
    for path in paths:
        expected = decode.decode(path, 22_050, middle_s=3.0).wave
        # Half a step of 16 bits.
        np.testing.assert_allclose(built.wave(path.stem), expected, atol=0.51 / 32768)
    assert built.index["n_samples"].tolist() == [44_100, 66_150, 66_150, 66_150, 66_150]


def test_unusable_files_are_left_out_with_their_reason(tmp_path: Path) -> None:
    good = [_clip(tmp_path, f"good{i}.wav", 2.0, 330.0) for i in range(2)]
    bad = tmp_path / "bad.wav"
    bad.write_text("this is not music")
    gone = tmp_path / "gone.wav"
    built = corpus.build(_table([good[0], bad, gone, good[1]]), 22_050, 3.0)
    assert sorted(built.index["clip_id"]) == ["good0", "good1"]
    assert {line["clip_id"] for line in built.skipped} == {"bad", "gone"}
    assert all(line["reason"].endswith(".") for line in built.skipped)


def test_an_interrupted_build_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENRECORE_CACHE", str(tmp_path / "cache"))
    table = _table([_clip(tmp_path, f"c{i}.wav", 2.0, 200.0 + i) for i in range(9)])

    def stop_at_five(phase: str, done: int, total: int) -> None:
        if phase == Phase.DECODING and done == 5:
            raise Stopped

    with pytest.raises(Stopped):
        corpus.build(table, 22_050, 2.0, stop_at_five)
    (partial,) = (tmp_path / "cache" / "corpora").glob("*.partial")
    with open(partial / "samples.i16", "ab") as stream:
        stream.write(b"half a cl")  # what a killed process may leave
    progress: list[int] = []
    resumed = corpus.build(
        table, 22_050, 2.0,
        lambda phase, done, total: progress.append(done) if phase == Phase.DECODING else None,
    )  # fmt: skip
    assert progress[0] == 5
    monkeypatch.setenv("GENRECORE_CACHE", str(tmp_path / "another"))
    fresh = corpus.build(table, 22_050, 2.0)
    assert np.array_equal(resumed.samples, fresh.samples)
    pd.testing.assert_frame_equal(resumed.index, fresh.index)


def test_the_key_of_a_corpus_is_of_its_content_and_not_of_its_path(tmp_path: Path) -> None:
    path = _clip(tmp_path, "a.wav", 2.0, 440.0)
    first = corpus.build(_table([path]), 22_050, 2.0)
    (tmp_path / "elsewhere").mkdir()
    moved = path.rename(tmp_path / "elsewhere" / "a.wav")
    assert corpus.build(_table([moved]), 22_050, 2.0).key == first.key
    _clip(tmp_path / "elsewhere", "a.wav", 2.0, 441.0)
    assert corpus.build(_table([moved]), 22_050, 2.0).key != first.key
    assert corpus.build(_table([moved]), 16_000, 2.0).key != first.key


@pytest.mark.parametrize(
    ("n_samples", "overlap", "starts"),
    [
        (90, 0.0, [0, 30, 60]),
        (104, 0.0, [0, 30, 60]),  # the rest is less than half a step
        (107, 0.0, [0, 30, 60, 77]),  # more than half: the last one is moved back
        (30, 0.0, [0]),
        (11, 0.0, [0]),
        (60, 0.5, [0, 15, 30]),
    ],
)
def test_segments_cover_a_clip(n_samples: int, overlap: float, starts: list[int]) -> None:
    found_starts = Segmenter(30, overlap).starts(n_samples)
    assert found_starts.tolist() == starts
    assert (found_starts >= 0).all()
    assert (found_starts + 30 <= max(30, n_samples)).all()


def test_what_lies_past_a_short_clip_is_silence() -> None:
    samples = torch.arange(1, 8, dtype=torch.int16)
    waves = Segmenter(4).cut(samples, torch.tensor([0, 4]), torch.tensor([4, 3]))
    assert (waves * 32768).squeeze(1).tolist() == [[1, 2, 3, 4], [5, 6, 7, 0]]


def test_weights_that_do_not_belong_are_refused_in_one_sentence(
    store: Path, tiny: Tiny, tmp_path: Path
) -> None:
    good = trained(tiny(), store).folder / "weights.safetensors"
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(good.read_bytes()[:-100])
    pickled = tmp_path / "pickle.safetensors"
    torch.save({"a": torch.zeros(3)}, pickled)
    for path in (cut, pickled, tmp_path / "none.safetensors"):
        with pytest.raises(GenrecoreError) as caught:
            load_classifier(path)
        assert "\n" not in str(caught.value)


def test_two_datasets_folders_too_small_are_refused_before_training(
    store: Path, tmp_path: Path, tiny: Tiny
) -> None:
    for genre, n in (("blues", 4), ("jazz", 1)):
        (tmp_path / "genres_original" / genre).mkdir(parents=True)
        for i in range(n):
            _clip(tmp_path / "genres_original" / genre, f"{genre}.0000{i}.wav", 3.0, 200.0)
    run = trained(tiny(dataset="gtzan", dataset__folder=str(tmp_path)), store)
    assert run.state == "failed"
    assert "jazz" in run.reason
    assert not (run.folder / "history.jsonl").exists()


def test_a_run_of_a_model_that_is_gone_fails_with_its_name(store: Path, tiny: Tiny) -> None:
    run, lock = runs.create_held_run(tiny(), store)
    config = json.loads((run.folder / "config.json").read_text())
    (run.folder / "config.json").write_text(json.dumps(config | {"model": {"name": "gone"}}))
    assert lifecycle.execute(run) == "failed"
    os.close(lock)
    assert "gone" in Run(run.folder).reason


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_on_a_gpu_gives_what_the_processor_gives(store: Path, tiny: Tiny) -> None:
    on_gpu, on_cpu = trained(tiny(device="cuda"), store), trained(tiny(), store)
    assert on_gpu.environment["device"] == "cuda:0"
    columns = [name for name in on_cpu.predictions if name.startswith("p_")]
    # float32 with other sums: two epochs of a tiny network drift apart by this much at most.
    np.testing.assert_allclose(on_gpu.predictions[columns], on_cpu.predictions[columns], atol=0.05)


@pytest.mark.slow
def test_a_run_that_an_earlier_version_stopped_mid_epoch_is_resumed(store: Path) -> None:
    old = ROOT / "tests" / "store" / "old_runs" / "20261128-220801-demo-cnn-c77b"
    folder = store / old.name
    shutil.copytree(old, folder)
    before = Run(folder)
    assert before.state == "stopped"
    assert lifecycle.execute(before) == "done"
    run = Run(folder)
    assert run.history.head(len(before.history)).equals(before.history)
    assert run.history["epoch"].tolist() == list(range(1, run.config.training.epochs + 1))
    assert run.predictions is not None
