"""What a model needs of its data is found before a run is queued, and is what the run meets."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from commands import genrecore
from conftest import trained
from PIL import Image
from sample_files import silent_wav

from genrecore.config.run import RunConfig, with_values
from genrecore.errors import UsageError
from genrecore.jobs import actions
from genrecore.store.runs import all_runs
from genrecore.training.check import check
from genrecore.training.memory_need import PERHAPS, SURE
from genrecore.training.resolve import resolve

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


@pytest.mark.slow
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


def test_the_command_says_what_is_of_little_use_and_queues_it(nobody_starts: Path) -> None:
    asked = ["train", "--model", "random_forest", "--feature", "descriptors", "--background"]
    asked += ["--set", "dataset.n_clips=10", "--set", "dataset.n_artists=5"]
    ended = genrecore(*asked, "--set", "model.min_leaf=100")
    assert ended.returncode == 0
    assert "Note: No tree can ask a question" in ended.stderr
    assert "--set model.min_leaf=36" in ended.stderr
    assert len(all_runs(nobody_starts)) == 1


def test_what_is_asked_of_another_machine_s_device_is_found_too(tiny: Tiny) -> None:
    config = descriptors(tiny, "knn", model__k=999).model_copy(update={"device": "cuda:63"})
    assert "999 neighbours" in check(config).problem


@pytest.mark.parametrize(
    "model", ["random_forest", pytest.param("gradient_boosting", marks=pytest.mark.long)]
)
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


@pytest.mark.slow
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


LARGE = {"model": "resnet18", "training.batch_size": 256, "segments.segment_s": 10.0}
LARGE |= {"dataset.n_clips": 100, "training.precision": "float32", "device": "cpu"}


def machine(monkeypatch: pytest.MonkeyPatch, free: float, total: float) -> None:
    """A machine with so many gigabytes of memory, and no control group that allows less."""
    memory = SimpleNamespace(available=round(free * 1e9), total=round(total * 1e9))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(total=0))


@pytest.mark.slow
def test_a_run_that_memory_cannot_hold_is_refused_with_a_batch_that_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine(monkeypatch, 4.0, 6.0)
    config = with_values(RunConfig(), LARGE)
    result = check(config)
    assert result.problem.startswith("Memory does not hold this run: it needs about ")
    assert "this machine has 6.0 GB, of which 4.0 GB are free now" in result.problem
    (remedy,) = result.remedies
    assert 1 <= remedy.changes["training.batch_size"] <= 64
    assert not check(with_values(config, dict(remedy.changes))).problem
    machine(monkeypatch, 99.0, 99.0)
    assert (check(config).problem, check(config).cautions) == ("", [])


def test_memory_that_other_programs_use_now_refuses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine(monkeypatch, 4.0, 99.0)
    config = with_values(RunConfig(), LARGE)
    assert not check(config).problem
    (caution,) = check(config).cautions
    assert caution.sentence.startswith("Memory may not hold this run")
    (remedy,) = caution.remedies
    assert not check(with_values(config, dict(remedy.changes))).cautions
    assert not check(with_values(config, {"training.batch_size": 2})).cautions


@pytest.mark.slow
def test_where_no_batch_fits_shorter_segments_are_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, 0.9, 0.9)
    values = LARGE | {"model": "crnn", "segments.segment_s": 30.0, "dataset.clip_s": 30.0}
    values["training.batch_size"] = 4
    result = check(with_values(RunConfig(), values))
    assert "Memory does not hold this run" in result.problem
    (remedy,) = result.remedies
    assert remedy.sentence == "Shorter segments."
    assert remedy.changes["segments.segment_s"] < 30.0


@pytest.mark.long
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"model": "resnet18", "segments.segment_s": 10.0, "training.batch_size": 32},
        {"model": "crnn", "segments.segment_s": 30.0, "dataset.clip_s": 30.0},
        {"model": "svm", "feature": "descriptors"},
    ],
)
def test_a_run_needs_as_much_memory_as_was_estimated(
    values: dict[str, Any], store: Path, tmp_path: Path
) -> None:
    few = {"dataset.n_genres": 4, "dataset.n_clips": 15, "dataset.n_artists": 5}
    few |= {"training.epochs": 1, "device": "cpu", "training.batch_size": 16}
    config = resolve(with_values(RunConfig(), few | values)).config
    (tmp_path / "config.json").write_text(config.model_dump_json())
    lines = [PEAK, str(tmp_path / "config.json")]
    ended = subprocess.run([sys.executable, "-c", *lines], capture_output=True, check=True)
    most, estimated = map(float, ended.stdout.split()[-2:])
    assert SURE < most / estimated < PERHAPS, f"{most / 1e6:.0f} of {estimated / 1e6:.0f} MB"


PEAK = """
import os, re, sys, threading, time
from pathlib import Path

from genrecore.config.run import read_config_file
from genrecore.store.runs import create_held_run
from genrecore.training import check as checks, lifecycle, needs
from genrecore.training.parts import ResolvedConfig

config, most = read_config_file(sys.argv[1]), 0

def watch():  # anonymous memory: what is mapped from files, the system may drop
    global most
    while True:
        status = Path("/proc/self/status").read_text()
        most = max(most, 1024 * int(re.search(r"RssAnon:\\s+(\\d+)", status)[1]))
        time.sleep(0.005)

threading.Thread(target=watch, daemon=True).start()
run, lock = create_held_run(config)
if lifecycle.execute(run) != "done":
    sys.exit(run.log())
result = checks.check(config)
resolved, sizes, parts = ResolvedConfig(config), checks._sizes(result._data), result.split.parts
n_rows = needs.n_training_rows(resolved, sizes, parts)
need = needs.estimated(resolved, sizes, parts, 4)
print(most, need.of_batch(min(config.training.batch_size, n_rows)))
"""
