"""What datasets ship ready-made: images and tables, from file to trained run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import trained
from dataset_samples import gtzan_tables
from PIL import Image

from genrecore.config.run import RunConfig
from genrecore.data import corpus_images as provided
from genrecore.data import prepare
from genrecore.data.clips import clip_table
from genrecore.data.datasets.tables import DESCRIPTORS
from genrecore.errors import GenrecoreError, UsageError
from genrecore.features import FEATURES
from genrecore.features import cache as feature_cache
from genrecore.inference import loaded as inference
from genrecore.training.resolve import resolve
from genrecore.training.weights import load_classifier

Tiny = Callable[..., RunConfig]
GENERATOR = np.random.default_rng(7)


def _image_clips(folder: Path, *arrays: np.ndarray, mode: str | None = None) -> pd.DataFrame:
    rows = []
    for index, array in enumerate(arrays):
        path = folder / f"p{index}.png"
        image = Image.fromarray(array)
        (image.convert(mode) if mode else image).save(path)
        rows.append({"clip_id": path.stem, "path": str(path), "genre": "x", "medium": "image"})
    return clip_table(rows)


def test_images_of_every_mode_become_red_green_blue(tmp_path: Path) -> None:
    colour = GENERATOR.integers(0, 256, (11, 13, 3), dtype=np.uint8)
    grey = GENERATOR.integers(0, 256, (11, 13), dtype=np.uint8)
    alpha = np.dstack([colour, np.full((11, 13), 255, np.uint8)])
    deep = grey.astype(np.uint16) * 257  # 16 bits of the same brightness
    corpus = provided.build_images(_image_clips(tmp_path, colour, grey, alpha, deep))
    assert corpus.shape == (3, 11, 13)
    assert np.array_equal(corpus.values[0], colour.transpose(2, 0, 1))
    assert np.array_equal(corpus.values[1], np.stack([grey] * 3))
    assert np.array_equal(corpus.values[2], corpus.values[0])
    assert np.array_equal(corpus.values[3], corpus.values[1])
    palette = provided.build_images(_image_clips(tmp_path, grey, mode="P"))
    assert np.array_equal(palette.values[0], corpus.values[1])


def test_an_image_that_cannot_be_read_is_left_out_with_its_reason(tmp_path: Path) -> None:
    table = _image_clips(tmp_path, *GENERATOR.integers(0, 256, (3, 9, 7, 3), dtype=np.uint8))
    Path(table["path"].iloc[1]).write_bytes(b"no image")
    corpus = provided.build_images(table)
    assert corpus.index["clip_id"].tolist() == ["p0", "p2"]
    assert [line["clip_id"] for line in corpus.skipped] == ["p1"]
    assert "cannot be read as an image" in corpus.skipped[0]["reason"]


def test_images_of_different_sizes_are_refused_with_both(tmp_path: Path) -> None:
    table = _image_clips(tmp_path, np.zeros((9, 7, 3), np.uint8), np.zeros((9, 8, 3), np.uint8))
    with pytest.raises(GenrecoreError, match=r"8 × 9 .* 7 × 9; .*image_size"):
        provided.build_images(table)


def test_images_of_any_size_are_resized_where_that_is_asked_for(
    store: Path, tiny: Tiny, tmp_path: Path
) -> None:
    for genre, grey in (("dark", 40), ("light", 210)):
        (tmp_path / genre).mkdir()
        for k in range(4):
            image = Image.new("L", (33 + 7 * k, 41 + k), grey + k)
            image.save(tmp_path / genre / f"{k}.png")
    values = {
        "dataset": "folder", "dataset__folder": str(tmp_path), "split": "stratified",
        "split__n_folds": 3, "feature": "image", "model": "cnn",
    }  # fmt: skip
    with pytest.raises(GenrecoreError, match="image_size"):
        prepare.decode(resolve(tiny(**values)).config)
    with pytest.raises(UsageError, match="height x width in pixels, such as 288x432"):
        resolve(tiny(**values, dataset__image_size="128"))
    run = trained(tiny(**values, dataset__image_size="32 × 37"), store)
    assert run.config.dataset.options["image_size"] == "32x37"
    assert load_classifier(run.weights).given_shape == (3, 32, 37)
    predicted = run.predictions.set_index("clip_id")["p_light"]
    for clip_id, p_light in predicted.items():  # what is classified is resized as in training
        prediction = inference.load(run).classify(tmp_path / clip_id)
        assert prediction.uncalibrated[1] == pytest.approx(p_light, abs=1e-6)


def test_grey_is_the_luminance_and_colour_stays() -> None:
    image = torch.tensor([[[[255]], [[0]], [[0]]]], dtype=torch.uint8)
    grey, colour = (
        choice.thing(choice.options, (3, 1, 1))
        for choice in (
            FEATURES.choose("image", {"colour": "grey"}),
            FEATURES.choose("image", {"scale": "0 to 255"}),
        )
    )
    assert grey(image).item() == pytest.approx(0.299)
    assert colour(image).flatten().tolist() == [255.0, 0.0, 0.0]
    assert grey.output_shape == (1, 1, 1)


def _of_tables(tiny: Tiny, folder: Path, form: str, **values: object) -> RunConfig:
    return tiny(
        dataset="gtzan", dataset__folder=str(folder), dataset__form=form,
        split="stratified", split__n_folds=3, allow_leaks=True,
        feature="descriptors", model="mlp", **values,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("form", "n_segments"), [("table_30s", 1), ("table_3s", 10)])
def test_a_run_on_a_table_learns_and_knows_its_clips(
    store: Path, tiny: Tiny, tmp_path: Path, form: str, n_segments: int
) -> None:
    gtzan_tables(tmp_path)
    run = trained(_of_tables(tiny, tmp_path, form, training__epochs=60), store)
    assert run.state == "done", run.reason
    assert run.history["train_accuracy"].iloc[-1] > 0.9  # the genres lie three sigma apart
    assert len(run.segments) == n_segments * len(run.predictions)
    assert set(run.predictions["clip_id"]) <= set(run.clips["clip_id"])
    net = load_classifier(run.folder / "weights.safetensors")
    assert net.given_shape == (57,)
    with pytest.raises(GenrecoreError, match="own tables, not on audio"):
        inference.load(run)


def test_the_rows_of_a_clip_are_one_sequence_in_order(tmp_path: Path, tiny: Tiny) -> None:
    from genrecore.data import prepare

    gtzan_tables(tmp_path)
    config = _of_tables(tiny, tmp_path, "table_3s")
    prepared = prepare.decode(config)
    feature = FEATURES.choose("descriptor_sequence", {"n_steps": 12})
    front = feature.thing(feature.options, prepared.corpus.shape)
    features = feature_cache.compute(prepared.corpus, config, front)
    assert features.rows.shape == (21, 12, 57)
    source = pd.read_csv(tmp_path / "features_3_sec.csv")
    clip = features.segments["clip_id"].iloc[4]
    rows = source[source["filename"].str.startswith(f"{clip}.")][list(DESCRIPTORS)].to_numpy()
    np.testing.assert_allclose(features.rows[4, :10], rows, rtol=1e-6)  # float32
    assert torch.equal(features.rows[4, 10], features.rows[4, 9])  # ten rows, twelve steps
    assert torch.equal(features.rows[4, 11], features.rows[4, 9])


def test_a_feature_that_does_not_take_what_the_dataset_gives_is_refused(
    tiny: Tiny, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="gives audio; the feature image takes images"):
        tiny(feature="image")
    with pytest.raises(UsageError, match=r"gives images; .* Features for what it gives: image"):
        tiny(dataset="gtzan", dataset__folder=str(tmp_path), dataset__form="images")


def test_a_run_on_the_datasets_own_images(store: Path, tiny: Tiny, tmp_path: Path) -> None:
    for k, genre in enumerate(("blues", "jazz", "metal")):
        (tmp_path / "images_original" / genre).mkdir(parents=True)
        for n in range(6):
            noise = GENERATOR.integers(0, 60, (40, 50, 4), dtype=np.uint8)
            noise[10 * k : 10 * k + 10] += 150
            path = tmp_path / "images_original" / genre / f"{genre}{n:05d}.png"
            Image.fromarray(noise).save(path)
    config = tiny(
        dataset="gtzan", dataset__folder=str(tmp_path), dataset__form="images",
        split="stratified", split__n_folds=3, allow_leaks=True, feature="image", model__width=3,
    )  # fmt: skip
    run = trained(config, store)
    assert run.state == "done", run.reason
    assert load_classifier(run.folder / "weights.safetensors").given_shape == (3, 40, 50)


def test_a_folder_of_images_and_a_list_of_them_are_known_as_images(
    store: Path, tiny: Tiny, tmp_path: Path
) -> None:
    lines = ["path,genre"]
    for k, genre in enumerate(("low", "mid", "high")):
        (tmp_path / "mine" / genre).mkdir(parents=True)
        for n in range(5):
            noise = GENERATOR.integers(0, 60, (33, 40, 3), dtype=np.uint8)
            noise[9 * k : 9 * k + 9] += 150
            Image.fromarray(noise).save(tmp_path / "mine" / genre / f"{n}.png")
            lines.append(f"mine/{genre}/{n}.png,{genre}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    for name, path in (("folder", tmp_path / "mine"), ("manifest", tmp_path / "list.csv")):
        config = tiny(
            dataset=name, dataset__folder=str(path), split="stratified", feature="image",
            model__width=3,
        )  # fmt: skip
        run = trained(config, store)
        assert run.state == "done", run.reason
        assert sorted(run.config.dataset.options) == ["folder"]
