"""What a model needs of its data is found before a run is queued, and is what the run meets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import genrecore
from conftest import trained
from PIL import Image
from sample_files import silent_wav

from genrecore.config.run import RunConfig, with_values
from genrecore.errors import UsageError
from genrecore.jobs import actions
from genrecore.store.run import all_runs
from genrecore.training.check import check

Tiny = Callable[..., RunConfig]


def descriptors(tiny: Tiny, model: str, **values: object) -> RunConfig:
    """A classical model on the tiny music: 18 training clips of 3 genres, 54 segments."""
    return tiny(model=model, feature="descriptors", split="stratified", allow_leaks=True, **values)


def folder_of(tmp_path: Path, files: int, write: Callable[[Path, int], None]) -> dict[str, Any]:
    for genre in ("dub", "waltz"):
        (tmp_path / "own" / genre).mkdir(parents=True)
        for number in range(files):
            write(tmp_path / "own" / genre / str(number), number)
    return {"dataset": "folder", "dataset.folder": str(tmp_path / "own"), "split": "ratio_8_1_1"}


def pictures(height: int, width: int) -> Callable[[Path, int], None]:
    def write(path: Path, number: int) -> None:
        noise = np.random.default_rng([number, *path.parent.name.encode()])
        pixels = noise.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(path.with_suffix(".png"))

    return write


def test_more_neighbours_than_training_segments_are_refused_before_the_run(
    tiny: Tiny, nobody_starts: Path
) -> None:
    config = descriptors(tiny, "knn")
    assert not check(config).problem
    most = with_values(config, {"model.k": 54})
    assert not check(most).problem
    one_more = check(with_values(config, {"model.k": 55}))
    assert one_more.problem == (
        "55 neighbours are asked for, but there are 54 training segments; ask for 54 or fewer."
    )
    assert [dict(remedy.changes) for remedy in one_more.remedies] == [
        {"model": "knn", "model.k": 54}
    ]
    with pytest.raises(UsageError, match="ask for 54 or fewer"):
        actions.submit(one_more.config)
    assert not all_runs(nobody_starts)
    run = trained(one_more.config, nobody_starts)
    assert (run.state, run.reason) == ("failed", one_more.problem)
    assert trained(most, nobody_starts).state == "done"


def test_the_command_names_the_number_of_neighbours_that_works(store: Path) -> None:
    asked = ["train", "--model", "knn", "--feature", "descriptors", "--set", "model.k=999"]
    asked += ["--set", "dataset.n_clips=10", "--set", "dataset.n_artists=5"]
    ended = genrecore(*asked, "--background")
    assert ended.returncode == 2
    assert "999 neighbours are asked for, but there are" in ended.stderr
    assert "--set model.k=144" in ended.stderr.rpartition("genrecore train")[2]
    assert not all_runs(store)


@pytest.mark.parametrize("model", ["random_forest", "gradient_boosting"])
def test_trees_that_cannot_ask_a_question_are_said(model: str, tiny: Tiny, store: Path) -> None:
    useless = descriptors(tiny, model, model__min_leaf=28)
    (caution,) = check(useless).cautions
    assert "needs 56 training segments, and there are 54" in caution.sentence
    run = trained(useless, store)
    assert run.state == "done"
    assert caution.sentence in run.status["notes"]
    assert run.predictions is not None
    proba = run.predictions.filter(regex="^p_").to_numpy(float)
    assert np.ptp(proba, axis=0).max() < 1e-6, "every clip has the same prediction"
    (remedy,) = caution.remedies
    assert not check(with_values(useless, dict(remedy.changes))).cautions
    assert not check(with_values(useless, {"model.min_leaf": 27})).cautions


def test_pictures_too_small_for_the_network_are_found_by_their_headers(
    tmp_path: Path, store: Path
) -> None:
    values = folder_of(tmp_path, 5, pictures(20, 24)) | {"feature": "image", "model": "cnn"}
    config = with_values(RunConfig(), values | {"training.epochs": 1, "device": "cpu"})
    result = check(config)
    assert "but the feature makes 20 × 24" in result.problem
    run = trained(config, store)
    assert (run.state, run.reason) == ("failed", result.problem)
    (remedy,) = result.remedies
    assert remedy.changes["dataset.image_size"] == "288x432"
    smaller = with_values(config, {"dataset.image_size": "64x64", "training.batch_size": 4})
    assert not check(smaller).problem
    assert trained(smaller, store).state == "done"


def test_pictures_and_arrays_of_different_sizes_are_found_by_their_headers(tmp_path: Path) -> None:
    def of_growing_width(path: Path, number: int) -> None:
        pictures(64, 64 + number)(path, number)

    images = folder_of(tmp_path, 5, of_growing_width) | {"feature": "image"}
    assert "has 65 × 64 pixels" in check(with_values(RunConfig(), images)).problem

    def vectors(path: Path, number: int) -> None:
        np.save(path, np.ones(7 + number))

    values = folder_of(tmp_path / "vectors", 5, vectors)
    values |= {"feature": "own_vector", "model": "mlp"}
    assert "8 numbers, the arrays before it 7" in check(with_values(RunConfig(), values)).problem


def test_early_stopping_without_validation_clips_is_said(tiny: Tiny) -> None:
    config = tiny(split="ratio_8_2", allow_leaks=True, training__patience=3)
    (caution,) = check(config).cautions
    assert "needs validation clips" in caution.sentence
    (remedy,) = caution.remedies
    assert not check(with_values(config, dict(remedy.changes))).cautions
    assert not check(tiny(training__patience=3)).cautions


def test_segments_longer_than_all_clips_are_said(tmp_path: Path) -> None:
    def seconds(path: Path, number: int) -> None:
        silent_wav(path.with_suffix(".wav"), 22_050 + number)

    values = folder_of(tmp_path, 5, seconds)
    (caution,) = check(with_values(RunConfig(), values)).cautions
    assert "shorter than a segment of 3 s, the longest lasts 1 s" in caution.sentence
    assert dict(caution.remedies[0].changes) == {"segments.segment_s": 1.0}
    assert not check(with_values(RunConfig(), values | {"segments.segment_s": 1.0})).cautions
