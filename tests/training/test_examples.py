"""What the trainer draws: cached or computed, changed in training only, and pooled to clips."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import MEASURED, trained
from safetensors.torch import load_file

from genrecore.audio.effects import time_stretch
from genrecore.config import run as configuration
from genrecore.config.command import train_command
from genrecore.config.run import RunConfig
from genrecore.data import prepare
from genrecore.data.prepare import Prepared
from genrecore.errors import GenrecoreError, UsageError
from genrecore.evaluation.pooling import clip_proba
from genrecore.features import cache as feature_cache
from genrecore.features.log_mel import LogMel, LogMelOptions
from genrecore.inference import loaded as inference
from genrecore.store import cache, runs
from genrecore.store.progress import Phase, Stopped
from genrecore.store.run import Run
from genrecore.training import hardware, lifecycle, sources
from genrecore.training.classifier import Classifier
from genrecore.training.examples import Examples
from genrecore.training.parts import ResolvedConfig
from genrecore.training.resolve import resolve

Tiny = Callable[..., RunConfig]


def examples_of(config: RunConfig) -> tuple[Examples, Prepared, torch.nn.Module]:
    prepared = prepare.with_split(prepare.decode(config), config)
    resolved = ResolvedConfig(config)
    feature = Classifier(resolved, prepared.genres).feature
    chosen = hardware.choose("cpu", "float32")
    return (
        Examples(prepared.corpus, resolved, feature, prepared.clips, prepared.genres, chosen),
        prepared,
        feature,
    )


def numbers(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_augmentation_training_sees_the_features_as_they_are(tiny: Tiny) -> None:
    examples, _, _ = examples_of(tiny())
    index = examples.trained_on()
    assert torch.equal(index, examples.in_split("train"))
    features, targets = examples.training(index[:9], numbers(0))
    assert torch.equal(features, examples.features(index[:9]))
    assert torch.equal(targets.argmax(1), examples.labels[index[:9]])
    assert not examples.changes


@pytest.mark.parametrize("names", ["gain", "time_mask", "gain,time_mask"])
def test_augmentation_changes_training_and_nothing_else(tiny: Tiny, names: str) -> None:
    values = {f"augment.{name}.p": 1.0 for name in names.split(",")}
    plain, _, _ = examples_of(tiny())
    examples, _, _ = examples_of(tiny(augment=names, **values))
    assert examples.changes
    index = examples.trained_on()[:9]
    as_they_are = plain.features(index)
    # Batches of another size round differently in the last bits.
    torch.testing.assert_close(examples.features(index), as_they_are, atol=1e-3, rtol=0)
    first, _ = examples.training(index, numbers(1))
    again, _ = examples.training(index, numbers(1))
    second, _ = examples.training(index, numbers(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    changed = (first - as_they_are).abs().flatten(1).amax(1) > 0.01
    assert changed.all()
    torch.testing.assert_close(examples.features(index), as_they_are, atol=1e-3, rtol=0)


def test_colours_are_the_same_from_the_cache_and_computed_and_share_its_rows(
    tiny: Tiny, store: Path
) -> None:
    examples_of(tiny())
    rows = sorted(cache.cache_dir().glob("features/*/rows.f32"))
    config = tiny(feature__colours="viridis")
    examples, _, feature = examples_of(config)
    assert sorted(cache.cache_dir().glob("features/*/rows.f32")) == rows
    index = examples.trained_on()[:9]
    cached, _ = examples.training(index, numbers(0))
    assert cached.shape[1] == 3
    assert examples.n_numbers == cached[0].numel()
    inputs = sources.Inputs(
        prepare.decode(config).corpus, ResolvedConfig(config), feature, examples.segments, "cpu"
    )
    computed = feature(inputs.read(index))
    # Rounding of another batch may move a value over the edge of one of 256 colours.
    assert ((cached - computed).abs().amax(1) > 1e-6).float().mean() < 0.01
    classifier = Classifier(ResolvedConfig(config), ["a", "b"])
    batch, _ = examples.batch(index, numbers(0), classifier)
    assert torch.equal(batch, classifier.standardised(cached))


def test_a_random_excerpt_is_drawn_inside_each_clip_anew(tiny: Tiny) -> None:
    config = tiny(segments__excerpts="random")
    examples, prepared, feature = examples_of(config)
    index = examples.trained_on()
    train = prepared.clips[prepared.clips["split"] == "train"]
    assert examples.segments["clip_id"].iloc[index.numpy()].tolist() == train["clip_id"].tolist()
    first, _ = examples.training(index, numbers(1))
    second, _ = examples.training(index, numbers(2))
    assert not torch.equal(first, second)
    # Every excerpt is a segment of its own clip: it is found there again, to the sample.
    wave = torch.from_numpy(prepared.corpus.wave(train["clip_id"].iloc[3]))
    n_segment = round(config.segments.segment_s * config.audio.sample_rate_hz)
    starts = torch.arange(0, len(wave) - n_segment + 1)
    u = torch.rand(len(index), generator=numbers(1), dtype=torch.float64)[3]
    start = int((u * len(starts)).long())
    expected = feature(wave[start : start + n_segment][None, None])
    torch.testing.assert_close(first[3:4], expected, atol=1e-3, rtol=0)  # rounding of batches
    # All of validation and test is looked at, as ever.
    assert len(examples.in_split("test")) == 3 * (prepared.clips["split"] == "test").sum()


@pytest.mark.slow
def test_variants_multiply_the_training_set_and_only_that(tiny: Tiny, store: Path) -> None:
    config = tiny(augment="pitch_variants,tempo_variants")
    examples, _, _ = examples_of(config)
    n = len(examples.in_split("train"))
    index = examples.trained_on()
    assert len(index) == 5 * n
    labels = examples.targets(index).argmax(1).reshape(5, n)
    assert (labels == labels[0]).all()
    copies, _ = examples.training(index.reshape(5, n)[:, 0], numbers(0))
    assert len({copy.numpy().tobytes() for copy in copies}) == 5
    assert torch.equal(copies[:1], examples.features(index[:1]))
    # Under an online augmentation they are computed instead of read, and are the same copies.
    fresh, _, _ = examples_of(
        configuration.with_values(
            config, {"augment": "pitch_variants,tempo_variants,gain", "augment.gain.p": 1e-9}
        )
    )
    computed, _ = fresh.training(index.reshape(5, n)[:, 0], numbers(0))
    torch.testing.assert_close(computed, copies, atol=1e-3, rtol=0)  # rounding of batches


@pytest.mark.slow
def test_whole_copies_are_drawn_from_their_first_to_their_last_second(
    tiny: Tiny, store: Path
) -> None:
    values = {"augment.tempo_variants.whole": True, "feature.frames": 37, "feature.channels": 3}
    config = tiny(augment="tempo_variants", **values)
    examples, prepared, feature = examples_of(config)
    n = len(examples.in_split("train"))
    index = examples.trained_on().reshape(3, n)[:, 1]  # a segment and its two copies
    copies, _ = examples.training(index, numbers(0))
    segment = examples.segments.loc[[int(index[0])]]
    read = feature_cache.reader(prepared.corpus, config, feature)
    wave = read(*(torch.tensor(segment[name].to_numpy()) for name in ("start", "n_samples")))[0, 0]
    options = LogMelOptions(**config.feature.options)
    for copy, factor in zip(copies[1:], (0.93, 1.07), strict=True):
        (stretched,) = time_stretch(wave[None], [factor])
        front_end = LogMel(options, config.audio.sample_rate_hz, len(stretched))
        expected = front_end(stretched[None, None])[0]
        torch.testing.assert_close(copy, expected, atol=1e-3, rtol=0)  # rounding of batches
    # Under an online augmentation they are computed instead of read, and are the same copies.
    online = {"augment": "tempo_variants,gain", "augment.gain.p": 1e-9}
    fresh, _, _ = examples_of(configuration.with_values(config, online | values))
    computed, _ = fresh.training(index, numbers(0))
    torch.testing.assert_close(computed, copies, atol=1e-3, rtol=0)
    assert trained(config, store).state == "done"
    for feature in ("log_mel", "waveform+stft"):
        unfit = {"feature": feature, "model": "cnn" if feature == "log_mel" else "rescnn_1d2d"}
        with pytest.raises(UsageError, match="need a feature of one size at any length"):
            tiny(augment="tempo_variants", **unfit, **{"augment.tempo_variants.whole": True})


def test_mixup_mixes_features_and_targets_alike(tiny: Tiny) -> None:
    examples, prepared, _ = examples_of(tiny(augment="mixup", **{"augment.mixup.p": 1.0}))
    index = examples.trained_on()[::5][:8]
    plain = examples.features(index)
    mixed, targets = examples.training(index, numbers(3))
    torch.testing.assert_close(targets.sum(1), torch.ones(8))
    assert (targets.amax(1) < 1).any()
    assert targets.shape == (8, len(prepared.genres))
    # Every mixed example lies on the line between two of the batch.
    for row in mixed:
        weights = torch.linalg.lstsq(plain.flatten(1).T, row.flatten()[:, None]).solution[:, 0]
        assert (weights.abs() > 0.01).sum() <= 2
        assert float(weights.sum()) == pytest.approx(1, abs=1e-3)  # float32 least squares


@pytest.mark.parametrize("steps", [pytest.param(3, marks=pytest.mark.long), 9])
def test_a_stopped_run_with_random_examples_goes_on_as_if_it_had_not(
    store: Path, tiny: Tiny, steps: int
) -> None:
    config = tiny(
        augment="noise,time_mask,mixup", segments__excerpts="random", training__batch_size=4
    )
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
    pd.testing.assert_frame_equal(
        whole.history.drop(columns=MEASURED), Run(run.folder).history.drop(columns=MEASURED)
    )
    pd.testing.assert_frame_equal(whole.predictions, Run(run.folder).predictions)
    first = whole.history["train_loss"]
    assert first.nunique() == len(first)


def segments(*rows: tuple[str, list[float]]) -> pd.DataFrame:
    table = pd.DataFrame([proba for _, proba in rows], columns=["p_a", "p_b", "p_c"])
    return table.assign(clip_id=[name for name, _ in rows], split="test", genre="a")


def test_segments_are_pooled_in_three_ways() -> None:
    table = segments(
        ("x", [0.98, 0.01, 0.01]), ("x", [0.3, 0.6, 0.1]), ("x", [0.3, 0.6, 0.1]),
        ("y", [0.0, 0.5, 0.5]),
    )  # fmt: skip
    summed = clip_proba(table)
    assert summed.loc["x"].to_numpy()[0] == pytest.approx([1.58 / 3, 1.21 / 3, 0.21 / 3])
    votes = clip_proba(table, "majority").loc["x"].to_numpy()[0]
    assert votes == pytest.approx([1 / 3, 2 / 3, 0], abs=2e-6)  # a millionth breaks ties
    product = np.array([0.98 * 0.09, 0.01 * 0.36, 0.01 * 0.01]) ** (1 / 3)
    logits = clip_proba(table, "logits")
    assert logits.loc["x"].to_numpy()[0] == pytest.approx(product / product.sum())
    assert logits.loc["y"].to_numpy()[0] == pytest.approx([0, 0.5, 0.5], abs=1e-12)
    tied = segments(("z", [0.5, 0.4, 0.1]), ("z", [0.1, 0.9, 0.0]))
    assert clip_proba(tied, "majority").to_numpy().argmax() == 1


@pytest.mark.parametrize("pooling", ["logits", "majority"])
def test_a_run_pools_as_configured_and_so_does_the_loaded_one(
    store: Path, tiny: Tiny, pooling: str
) -> None:
    run = trained(tiny(segments__pooling=pooling), store)
    pooled = clip_proba(run.segments, pooling).reset_index()
    pd.testing.assert_frame_equal(pooled, run.predictions)
    clip = run.clips.set_index("clip_id").loc[run.predictions["clip_id"].iloc[0]]
    prediction = inference.load(run).classify(clip["path"])
    columns = [name for name in run.predictions if name.startswith("p_")]
    # The same float32 arithmetic in batches of another size: rounding only.
    np.testing.assert_allclose(
        prediction.proba, run.predictions.loc[0, columns].to_numpy(float), atol=2e-5
    )


def test_a_whole_clip_is_one_segment(store: Path, tiny: Tiny) -> None:
    config = tiny(segments__segment_s=0)
    assert config.segments.segment_s == config.audio.clip_s == 3.0
    examples, prepared, _ = examples_of(config)
    assert len(examples.segments) == len(prepared.clips)


def test_rows_of_the_cache_are_the_same_from_any_number_of_threads(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny()
    prepared, front_end = prepare.decode(config), ResolvedConfig(config).front_end()
    monkeypatch.setattr(feature_cache, "_BATCH", 10)  # so that there are many batches
    rows = []
    for n_threads in (1, 2, 7):
        monkeypatch.setenv("GENRECORE_CACHE", str(tmp_path / f"{n_threads} threads"))
        reports: list[tuple[int, int]] = []
        with hardware.torch_threads(n_threads):
            features = feature_cache.compute(
                prepared.corpus,
                config,
                front_end,
                lambda phase, n_done, n, said=reports: said.append((n_done, n)),  # type: ignore[misc]
            )
            assert torch.get_num_threads() == n_threads
        n = len(features.segments)
        assert n > 7 * 10
        assert reports == sorted(reports)
        assert (reports[0], reports[-1]) == ((0, n), (n, n))
        rows.append(features.rows)
    for others in rows[1:]:  # float32 sums in batches of another size
        torch.testing.assert_close(others, rows[0], rtol=1e-4, atol=1e-4)


def test_a_feature_that_is_no_number_is_named_with_its_clip(tiny: Tiny) -> None:
    config = tiny()
    prepared = prepare.decode(config)

    class Broken(torch.nn.Module):
        output_shape = (1, 2, 3)

        def forward(self, wave: torch.Tensor) -> torch.Tensor:
            features = torch.zeros(len(wave), 1, 2, 3)
            features[1, 0, 1, 1] = torch.nan
            return features

    first = prepared.clips["clip_id"].iloc[0]
    with pytest.raises(GenrecoreError, match=f"log_mel of the clip {first}.*from 1 s on"):
        feature_cache.compute(prepared.corpus, config, Broken())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"augment": "nois"}, "no augmentation called 'nois'; there are: "),
        ({"augment": "noise,noise"}, "noise is named twice"),
        ({"augment": "noise", "augment.noise.p": 1.5}, "p: input should be less than or equal"),
        ({"augment": "noise", "augment.gain.p": 0.5}, "not chosen; chosen: noise"),
        ({"segments.segment_s": 0.1}, "at least 0.25 s"),
        ({"segments.segment_s": 40.0}, "longer than the 30 s"),
    ],
)
def test_what_cannot_be_augmented_or_cut_is_one_sentence(
    values: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match="(?i)" + message):
        resolve(configuration.with_values(RunConfig(), values))


def test_augmentations_are_ordered_and_their_defaults_leave_the_signature(tiny: Tiny) -> None:
    config = tiny(augment="mixup, time_mask, percussive, noise")
    assert [part.name for part in config.augment] == ["noise", "percussive", "time_mask", "mixup"]
    spelled = configuration.with_values(config, {"augment.noise.p": 0.5})
    assert configuration.signature(resolve(spelled).config) == configuration.signature(config)
    restored = configuration.read_config(json.loads(config.model_dump_json()))
    assert configuration.signature(restored) == configuration.signature(config)
    changed = configuration.with_values(config, {"augment.noise.p": 0.25})
    assert configuration.signature(resolve(changed).config) != configuration.signature(config)


def test_the_command_of_a_run_names_its_augmentations(tiny: Tiny) -> None:

    config = tiny(augment="noise,roll", **{"augment.noise.p": 0.25})
    command = shlex.join(train_command(config))
    assert "--augment noise,roll" in command
    assert "--set augment.noise.p=0.25" in command


@pytest.mark.slow
def test_the_accuracy_of_all_three_poolings_is_shown_for_a_tested_run(
    store: Path, tiny: Tiny
) -> None:
    from commands import genrecore

    run = trained(tiny(), store)
    test = run.segments[run.segments["split"] == "test"]
    facts = json.loads(genrecore("runs", "show", run.run_id, "--json").stdout)
    accuracies = facts["accuracy_by_pooling"]
    assert list(accuracies) == ["probabilities", "logits", "majority"]
    assert accuracies["probabilities"] == facts["scores"]["accuracy"]
    labels = test.groupby("clip_id")["genre"].first()
    votes = test.filter(regex="^p_").idxmax(axis=1).str[2:].groupby(test["clip_id"])
    clear = votes.agg(lambda names: names.value_counts().iloc[0] > names.size / 2)
    right = votes.agg(lambda names: names.mode().iloc[0]) == labels
    undecided = (~clear).sum() / len(labels)  # these go by their mean probability
    assert abs(accuracies["majority"] - (right & clear).mean()) <= undecided
    assert "mean logits" in genrecore("runs", "show", run.run_id).stdout
    whole = trained(tiny(segments__segment_s=0), store)
    facts = json.loads(genrecore("runs", "show", whole.run_id, "--json").stdout)
    assert facts["accuracy_by_pooling"] == {}


def test_the_augmentations_of_a_study_replace_its_name(tiny: Tiny) -> None:
    config = tiny(augment="belton,mixup")
    names = [part.name for part in config.augment]
    assert names == ["noise", "shift", "pitch", "speed", "percussive", "mixup"]
    assert all(part.options == {"p": 0.25} for part in config.augment[:-1])


@pytest.mark.slow
def test_a_preset_fills_in_what_flags_leave_open(store: Path) -> None:
    from commands import genrecore, refused

    small = ["--set", "dataset.n_genres=2", "--set", "dataset.n_clips=5", "--set", "n_artists=5"]
    arguments = [
        "train",
        "--preset",
        "benito_2d_segmented",
        "--epochs",
        "1",
        "--set",
        "dataset.clip_s=3",
    ]
    result = genrecore(
        *arguments,
        *[argument.replace("n_artists", "dataset.n_artists") for argument in small],
        "--json",
    )
    run = runs.find_run(json.loads(result.stdout)["run"], store)
    assert run.config.audio.sample_rate_hz == 44_100
    assert (run.config.segments.segment_s, run.config.segments.overlap) == (3.0, 0.5)
    assert run.config.feature.name == "stft"
    assert run.config.training.epochs == 1
    refused(genrecore("train", "--preset", "beltom"), 2, "beltom", "belton_mel")


def test_channels_that_are_copies_are_kept_once(tiny: Tiny) -> None:
    one_channel, _, _ = examples_of(tiny())
    three_channels, _, feature = examples_of(tiny(feature__channels=3))
    index = three_channels.trained_on()[:5]
    features = three_channels.features(index)
    assert features.shape == (5, *feature.output_shape)
    assert torch.equal(features, one_channel.features(index).expand(-1, 3, -1, -1))
    changed, _ = examples_of(tiny(feature__channels=3, augment="time_mask"))[0].training(
        index, numbers(0)
    )
    assert changed.shape == features.shape
    assert not [entry for entry in cache.entries("features") if "(3 × 33 × 44)" in entry.about]


@pytest.mark.parametrize("channels", [1, 3])
def test_of_a_pair_the_image_is_cached_and_the_wave_is_read(tiny: Tiny, channels: int) -> None:
    values = {"feature": "waveform+stft", "feature.channels": channels, "model": "rescnn_1d2d"}
    config = tiny(**values)
    examples, _, feature = examples_of(config)
    index = torch.cat([examples.in_split("valid")[:3], examples.in_split("train")[-3:]])
    wave, image = examples.features(index)
    fresh, _, _ = examples_of(tiny(**values, augment="gain", **{"augment.gain.p": 0.0}))
    computed = fresh.features(index)  # where waves are changed the whole pair is computed
    assert torch.equal(wave, computed[0])
    # The same transform in batches of another size: single bits of float32.
    torch.testing.assert_close(image, computed[1], rtol=1e-5, atol=1e-5)
    assert image.shape[1:] == feature.output_shape[1]
    (training_wave, training_image), _ = examples.training(index, numbers(0))
    assert torch.equal(training_wave, wave)
    assert torch.equal(training_image, image)


def test_rows_of_a_large_file_are_fetched_and_are_the_same(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(augment="pitch_variants")
    small, _, _ = examples_of(config)
    monkeypatch.setattr(feature_cache, "_LARGE", 0)
    large, _, _ = examples_of(config)
    index = small.trained_on()[torch.tensor([160, 3, 0, 77, 161])]
    expected, _ = small.training(index, numbers(0))
    fetched, _ = large.training(index, numbers(0))
    assert torch.equal(fetched, expected)


@pytest.mark.parametrize("pooling", ["probabilities", "majority"])
def test_the_validation_loss_is_of_clips(store: Path, tiny: Tiny, pooling: str) -> None:
    run = trained(tiny(segments__pooling=pooling, training__epochs=1), store)
    valid = run.predictions[run.predictions["split"] == "valid"]
    chances = [row[f"p_{row['genre']}"] for _, row in valid.iterrows()]
    loss = -np.log(np.maximum(chances, 1e-12)).mean()
    # The stored predictions are in float32, in batches of another size.
    assert run.history["valid_loss"].iloc[0] == pytest.approx(loss, rel=1e-3)


IMAGE: dict[str, object] = {}
COLOURS: dict[str, object] = {"feature.channels": 3, "model": "cnn", "model.width": 4}
PAIR: dict[str, object] = {"feature": "waveform+stft", "model": "rescnn_1d2d", "model.maps": 4}


@pytest.mark.parametrize(
    ("values", "precision"),
    [
        pytest.param(IMAGE, "bfloat16", id="one channel-bfloat16"),
        pytest.param(PAIR, "float32", id="pair-float32"),
        pytest.param(IMAGE, "float32", id="one channel-float32", marks=pytest.mark.long),
        pytest.param(COLOURS, "float32", id="three channels-float32", marks=pytest.mark.long),
        pytest.param(COLOURS, "bfloat16", id="three channels-bfloat16", marks=pytest.mark.long),
        pytest.param(PAIR, "bfloat16", id="pair-bfloat16", marks=pytest.mark.long),
    ],
)
def test_a_large_batch_that_is_made_row_by_row_is_the_same_to_the_network(
    store: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, object], precision: str
) -> None:
    few = {"dataset.n_genres": 3, "dataset.n_clips": 5, "dataset.clip_s": 1.0, "device": "cpu"}
    few |= {"audio.clip_s": 1.0, "segments.segment_s": 1.0, "feature.n_fft": 512}
    few |= {"training.precision": precision, "training.epochs": 1, "training.batch_size": 4}
    config = resolve(configuration.with_values(RunConfig(), few | values)).config
    finished = []
    for large in (10**9, 1):
        monkeypatch.setattr(sources, "_LARGE", large)
        finished.append(trained(config, store))
    whole, by_rows = (run.history.drop(columns=MEASURED).to_dict("records") for run in finished)
    assert whole == by_rows
    weights, expected = (load_file(run.folder / "last.safetensors") for run in finished)
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
