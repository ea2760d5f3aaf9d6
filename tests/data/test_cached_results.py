"""What commands found is kept under what was asked, however that was written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import command

from genrecore.config.run import RunConfig, with_values
from genrecore.data import cached_results, datasets

DEMO = ["--set", "n_genres=3", "--set", "n_clips=10", "--set", "clip_s=2.0", "--set", "n_artists=5"]
OPTIONS = {"n_genres": 3, "n_clips": 10, "clip_s": 2.0, "n_artists": 5}


def configured(**values: object) -> RunConfig:
    dotted = {f"dataset.{key}": value for key, value in OPTIONS.items()}
    return with_values(RunConfig(), dotted | {k.replace("__", "."): v for k, v in values.items()})


@pytest.fixture(autouse=True)
def _no_answers_yet() -> None:
    for file in cached_results._folder().glob("*.json"):
        file.unlink()


@pytest.mark.slow
def test_an_audit_is_kept_as_it_was_printed_and_read_by_its_subject() -> None:
    printed = command(
        "datasets", "audit", "demo", *DEMO, "--split", "stratified", "--table-only", "--json"
    )
    stored = cached_results.newest("audit", configured(split="stratified"), with_split=True)
    assert stored is not None
    assert stored.document == json.loads(printed)
    assert stored.stamp == cached_results.stamp(datasets.load("demo", OPTIONS))
    others = (
        (configured(split="stratified"), False),
        (configured(split="by_artist"), True),
        (configured(split="stratified", fold=1), True),
        (configured(split="stratified", split_seed=1), True),
        (configured(split="stratified", split__n_folds=4), True),
        (configured(split="stratified", dataset__seed=1), True),
        (configured(split="stratified", genres__leave_out="waltz"), True),
    )
    assert all(cached_results.newest("audit", *subject) is None for subject in others)
    assert cached_results.newest("prepare", configured()) is None


@pytest.mark.slow
def test_the_newest_of_several_ways_to_find_out_counts() -> None:
    command("datasets", "prepare", "demo", *DEMO)
    first = cached_results.newest("prepare", configured())
    command("datasets", "prepare", "demo", *DEMO, "--clip-s", "1")
    second = cached_results.newest("prepare", configured())
    assert first is not None
    assert second is not None
    assert (first.document["minutes"], second.document["minutes"]) == (1.0, 0.5)
    assert first.at < second.at
    assert (
        len(list(cached_results._folder().iterdir())) == 2
    )  # one file for each way, none left over


def test_the_same_question_written_otherwise_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def about(**values: object) -> dict[str, object]:
        return cached_results.subject(
            with_values(RunConfig(dataset={"name": "gtzan"}), values), True
        )  # type: ignore[arg-type]

    monkeypatch.setenv("HOME", str(tmp_path))
    home = about(**{"dataset.folder": str(tmp_path / "music")})
    assert about(**{"dataset.folder": "~/music"}) == home
    assert about(**{"dataset.folder": "~/music", "dataset.form": "audio"}) == home
    assert about(**{"dataset.folder": "~/music", "split.n_folds": 5}) == home
    assert about(**{"dataset.folder": "~/music", "split.n_folds": 6}) != home
    assert about(**{"genres.leave_out": "b,a"}) == about(**{"genres.leave_out": "a, b"})
    # A split of the dataset's own draws nothing, so its seed says nothing.
    assert about(split="official", split_seed=3) == about(split="official")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: os.remove(folder / "dub/0.wav"),
        lambda folder: os.rename(folder / "dub/0.wav", folder / "dub/9.wav"),
        lambda folder: soundfile.write(folder / "dub/0.wav", np.zeros(9_001), 8_000),
    ],
)
def test_the_stamp_changes_with_the_files(tmp_path: Path, change: Callable[[Path], None]) -> None:
    for genre in ("dub", "waltz"):
        (tmp_path / genre).mkdir()
        for number in range(4):
            soundfile.write(tmp_path / genre / f"{number}.wav", np.zeros(7_001), 8_000)
    options = {"folder": str(tmp_path)}
    before = cached_results.stamp(datasets.load("folder", options))
    assert cached_results.stamp(datasets.load("folder", options)) == before
    change(tmp_path)
    assert cached_results.stamp(datasets.load("folder", options)) != before


@pytest.mark.slow
def test_an_option_without_a_dot_is_the_datasets_own() -> None:
    command("datasets", "audit", "demo", *DEMO, "--set", "seed=5", "--table-only")
    assert cached_results.newest("audit", configured(dataset__seed=5)) is not None
    assert cached_results.newest("audit", configured()) is None
