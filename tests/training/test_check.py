"""What a run would meet is found before it is queued: splits, genres, files, copies, ways out."""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import trained
from sample_files import silent_wav

from genrecore.config.run import RunConfig, signature, with_values
from genrecore.data.datasets import fma
from genrecore.data.splits import SPLITS
from genrecore.errors import UsageError
from genrecore.training import check as checks
from genrecore.training.check import Check, Trial, check, with_best_split

Tiny = Callable[..., RunConfig]


def manifest(
    folder: Path,
    artists: Mapping[str, Sequence[str]],
    split: Callable[[str, int], str] = lambda genre, number: "",
) -> RunConfig:
    """Files of silence listed with these artists, one for each clip of a genre; `split` gives the
    part of the n-th clip of a genre."""
    rows = []
    for genre, names in artists.items():
        for number, artist in enumerate(names):
            path, part = f"{genre}/{number}.wav", split(genre, number)
            silent_wav(folder / path)
            rows.append({"path": path, "genre": genre, "artist": artist, "split": part})
    with open(folder / "manifest.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    values = {"dataset": "manifest", "dataset.folder": str(folder / "manifest.csv")}
    return with_values(RunConfig(), values)


def trial_of(config: RunConfig) -> Trial:
    trial = check(config).split
    assert trial is not None
    return trial


def outcomes(result: Check) -> dict[str, str]:
    return {name: trial.outcome for name, trial in result.splits.items()}


def changed(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    return with_values(config, dict(values))


def auto(config: RunConfig) -> RunConfig:
    return with_best_split(changed(config, {"split": "auto"}))


def test_the_demo_music_is_split_by_artist_before_it_is_made(own_cache: Path) -> None:
    result = check(RunConfig())
    assert not result.problem
    assert trial_of(RunConfig()).outcome == "works"
    assert signature(auto(RunConfig())) == signature(RunConfig())
    assert not own_cache.exists() or not list(own_cache.glob("datasets/*")), "music was made"


def test_every_scheme_is_tried(own_cache: Path) -> None:
    assert list(check(RunConfig()).splits) == list(SPLITS)


def test_a_split_that_leaks_is_refused_with_what_works(own_cache: Path) -> None:
    result = check(changed(RunConfig(), {"split": "stratified"}))
    assert "share an artist" in result.problem
    assert [dict(remedy.changes) for remedy in result.remedies] == [
        {"split": "by_artist", "fold": 0},
        {"allow_leaks": True},
    ]
    with pytest.raises(UsageError, match=r"split = by_artist, fold = 0; or allow_leaks = true\."):
        result.refuse()
    assert not check(changed(result.config, {"allow_leaks": True})).problem


def test_without_artists_it_is_by_clip_and_nobody_can_tell(tmp_path: Path) -> None:
    config = auto(manifest(tmp_path, {"dub": [""] * 6, "waltz": [""] * 6}))
    result = check(config)
    assert config.split.name == "stratified"
    assert trial_of(config).outcome == "cannot be known"
    assert not result.problem


def test_artists_that_are_known_and_enough_are_kept_apart(tmp_path: Path) -> None:
    artists = [f"artist {n % 5}" for n in range(10)]
    data = {"dub": [f"{name} of dub" for name in artists], "waltz": artists}
    config = auto(manifest(tmp_path, data))
    assert (config.split.name, config.split.options) == ("by_artist", {})
    assert trial_of(config).outcome == "works"


def test_few_artists_take_fewer_folds(tmp_path: Path) -> None:
    data = {genre: [f"{genre} {n % 3}" for n in range(9)] for genre in ("dub", "waltz")}
    config = auto(manifest(tmp_path, data))
    assert (config.split.name, config.split.options) == ("by_artist", {"n_folds": 3})
    five = check(changed(config, {"split": "by_artist", "split.n_folds": 5}))
    assert "5 folds need 5 artists" in five.problem
    assert dict(five.remedies[0].changes) == {
        "split": "by_artist",
        "fold": 0,
        "split.n_folds": 3,
    }


def test_where_each_genre_has_one_artist_only_the_red_badge_remains(tmp_path: Path) -> None:
    result = check(manifest(tmp_path, {"dub": ["a"] * 6, "waltz": ["b"] * 6, "polka": ["c"] * 6}))
    assert "works" not in outcomes(result).values()
    assert "cannot be known" not in outcomes(result).values()
    assert result.best_split is result.splits["stratified"]
    assert result.best_split.outcome == "crosses"
    assert [dict(remedy.changes) for remedy in result.remedies] == [
        {"split": "stratified", "fold": 0, "allow_leaks": True}
    ]
    by_clip = check(auto(result.config))
    assert by_clip.config.split.name == "stratified"
    assert not by_clip.config.allow_leaks, "a badge is confirmed by a person"
    assert "No split of these clips keeps them apart" in by_clip.problem


def test_genres_of_one_artist_may_be_left_out_instead(tmp_path: Path) -> None:
    many = [f"{n}" for n in range(6)]
    data = {"dub": ["a"] * 6, "polka": many, "waltz": [f"w{n}" for n in many]}
    result = check(manifest(tmp_path, data))
    assert {"genres.leave_out": "dub", "split": "by_artist", "fold": 0} in [
        {key: value for key, value in remedy.changes.items() if key != "split.n_folds"}
        for remedy in result.remedies
    ]


def test_a_genre_of_one_clip_can_be_left_out_or_merged(tmp_path: Path) -> None:
    config = manifest(tmp_path, {"dub": [""] * 6, "waltz": [""] * 6, "yodel": [""]})
    result = check(config)
    assert "too few clips in yodel (1)" in result.problem
    assert [dict(remedy.changes) for remedy in result.remedies] == [{"genres.leave_out": "yodel"}]
    assert not check(changed(config, {"genres.leave_out": "yodel"})).problem
    assert not check(changed(config, {"genres.merge": "other = dub, yodel"})).problem


def test_two_genres_of_which_one_is_too_small_have_no_way_out(tmp_path: Path) -> None:
    result = check(manifest(tmp_path, {"dub": [""] * 6, "yodel": [""]}))
    assert "too few clips in yodel (1)" in result.problem
    assert not result.remedies
    assert result.best_split is None


def test_a_genre_that_is_not_there_may_be_taken_back(own_cache: Path) -> None:
    result = check(changed(RunConfig(), {"genres.leave_out": "polka"}))
    assert "'polka', to be left out, is not in the dataset" in result.problem
    assert result.remedies[0].changes == {"genres.leave_out": "", "genres.merge": ""}


def test_genres_trained_but_not_tested_are_refused(tmp_path: Path) -> None:
    def split(genre: str, number: int) -> str:
        return "test" if genre != "polka" and number % 3 == 0 else "train"

    data = {genre: [""] * 6 for genre in ("dub", "waltz", "polka")}
    config = manifest(tmp_path, data, split)
    result = check(changed(config, {"split": "official"}))
    assert result.problem == "The split official leaves no test clips of polka."
    changes = [dict(remedy.changes) for remedy in result.remedies]
    assert changes[0] == {"split": "stratified", "fold": 0}
    assert {"genres.leave_out": "polka", "split": "official", "fold": 0} in changes


def test_a_model_that_needs_more_training_clips_than_the_split_leaves_is_refused(
    tmp_path: Path,
) -> None:
    names = [f"artist {n}" for n in range(6)]
    artists = {"jazz": names, "rock": [f"other {n}" for n in range(6)], "soul": ["x", "y", "z"]}
    config = changed(manifest(tmp_path, artists), {"split.n_folds": 3})
    assert not check(config).problem
    svm = changed(config, {"model": "svm", "feature": "descriptors"})
    assert check(svm).problem == (
        "The model svm needs two training clips of each genre for its probabilities, but there is "
        "only one of soul."
    )
    remedies = check(svm).remedies
    assert {"genres.leave_out": "soul"} in [dict(remedy.changes) for remedy in remedies]
    for remedy in remedies:
        assert not check(changed(svm, remedy.changes)).problem


def test_the_split_of_a_dataset_comes_first(tmp_path: Path) -> None:
    table = fma.tracks("small").groupby(["genre", "split"]).head(9)
    for track in table.index:
        path = tmp_path / "fma_small" / f"{track // 1000:03d}" / f"{track:06d}.mp3"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    values = {"dataset": "fma_small", "dataset.folder": str(tmp_path)}
    config = auto(with_values(RunConfig(), values))
    assert config.split.name == "official"
    assert not check(config).problem


@pytest.mark.slow
def test_a_split_of_ones_own_comes_first_unless_it_leaks(tmp_path: Path) -> None:
    def split(genre: str, number: int) -> str:
        return ("train", "train", "valid", "test", "train")[number % 5]

    apart = {genre: [f"{genre} {n}" for n in range(10)] for genre in ("dub", "waltz")}
    assert auto(manifest(tmp_path / "apart", apart, split)).split.name == "official"
    shared = {genre: [f"{genre} {n // 2}" for n in range(10)] for genre in ("dub", "waltz")}
    assert auto(manifest(tmp_path / "shared", shared, split)).split.name == "by_artist"


@pytest.mark.parametrize("split", ["by_artist", "stratified", "fault_filtered"])
def test_the_hundred_clips_of_gtzan_train_with_the_red_badge_only(
    split: str, real_data: Path
) -> None:
    values = {"dataset": "gtzan", "dataset.folder": str(real_data / "gtzan"), "split": split}
    result = check(with_values(RunConfig(), values))
    assert result.problem
    by_clip = [
        remedy
        for remedy in result.remedies
        if remedy.changes.get("split", split) == "stratified" and remedy.changes.get("allow_leaks")
    ]
    assert len(by_clip) == 1
    for remedy in result.remedies:
        assert not check(changed(result.config, remedy.changes)).problem
    assert auto(result.config).split.name == "stratified"


def test_what_is_missing_is_said_without_a_split(tmp_path: Path) -> None:
    result = check(
        with_values(RunConfig(), {"dataset": "gtzan", "dataset.folder": str(tmp_path / "absent")})
    )
    assert "found nothing at" in result.problem
    assert (result.splits, result.best_split, result.remedies) == ({}, None, [])


def test_a_file_that_goes_is_noticed(tmp_path: Path) -> None:
    for genre in ("dub", "waltz"):
        for number in range(4):
            silent_wav(tmp_path / genre / f"{number}.wav")
    values = {"dataset": "folder", "dataset.folder": str(tmp_path), "split": "ratio_8_1_1"}
    config = with_values(RunConfig(), values)
    assert not check(config).problem
    time.sleep(0.01)
    for number in range(2):
        (tmp_path / "dub" / f"{number}.wav").unlink()
    assert "too few clips in dub (2)" in check(config).problem


def test_the_second_look_computes_nothing(own_cache: Path) -> None:
    config = changed(RunConfig(), {"dataset.n_clips": 11})
    assert list(check(config).splits) == list(check(config).splits)
    before = checks._trial.cache_info().misses
    assert len(check(config).splits) == len(SPLITS)
    assert checks._trial.cache_info().misses == before


def test_a_rehearsal_is_tried_with_its_few_clips(own_cache: Path) -> None:
    config = changed(RunConfig(), {"rehearsal": 16})
    separation = trial_of(config).separation
    assert separation is not None
    assert separation.n_clips == 8 * 16


def test_copies_and_unusable_files_count_once_the_audio_was_audited(
    tmp_path: Path, own_cache: Path, store: Path, tiny: Tiny
) -> None:
    generator = np.random.default_rng(3)
    for genre in ("dub", "waltz"):
        (tmp_path / "music" / genre).mkdir(parents=True)
        for number in range(6):
            wave = generator.normal(0, 0.1, 22_050 * 3)
            soundfile.write(tmp_path / "music" / genre / f"{number}.wav", wave, 22_050)
    music = tmp_path / "music"
    for number in range(6, 9):  # four of one recording: some are on both sides
        shutil.copy(music / "dub" / "0.wav", music / "dub" / f"{number}.wav")
    (music / "waltz" / "broken.wav").write_bytes(b"RIFF")
    values = {"dataset": "folder", "dataset.folder": str(music), "split": "stratified"}
    config = tiny(**{key.replace(".", "__"): value for key, value in values.items()})
    before = trial_of(config)
    assert (before.outcome, before.copies_known) == ("cannot be known", False)
    run = trained(config, store)
    assert run.state == "failed"
    assert run.reason in run.log()
    assert "Traceback" not in run.log()  # the status has it, folded on the page
    after = trial_of(config)
    assert (after.outcome, after.copies_known) == ("crosses", True)
    assert "recording with exact copies" in check(config).problem
    n_clips = [trial.separation.n_clips for trial in (before, after) if trial.separation]
    assert n_clips == [16, 15]  # one cannot be read


def test_genres_that_look_alike_are_merged_by_a_remedy(tmp_path: Path) -> None:
    artists = [f"artist {n}" for n in range(9)]
    config = manifest(tmp_path, {"Jazz": artists, "Rock": artists, "rock": artists[:5]})
    caution = check(config).cautions[0]
    assert caution.sentence == (
        "'Rock' (9 clips) and 'rock' (5 clips) differ in case, spaces or hyphens only and count as "
        "2 genres; merge them if they are one."
    )
    (remedy,) = caution.remedies
    assert remedy.changes == {"genres.merge": "Rock = Rock, rock"}
    merged = changed(config, remedy.changes)
    assert not check(merged).problem
    assert not any("differ in case" in other.sentence for other in check(merged).cautions)
    # One clip of it stands in the way of a run; the first remedy is the merge.
    config = manifest(tmp_path / "small", {"Jazz": artists, "Rock": artists, "ROCK_": ["x"]})
    result = check(config)
    assert "too few clips in ROCK_ (1)" in result.problem
    assert result.remedies[0].changes == {"genres.merge": "Rock = ROCK_, Rock"}
    assert not check(changed(config, result.remedies[0].changes)).problem


def test_rows_of_a_manifest_without_a_split_are_left_out_by_a_remedy(tmp_path: Path) -> None:
    parts = ("train", "train", "valid", "test", "train", "test", "")
    artists = {genre: [f"{genre} {n}" for n in range(7)] for genre in ("a", "b")}
    config = manifest(tmp_path, artists, lambda genre, number: parts[number])
    result = check(with_values(config, {"split": "manifest"}))
    assert "2 of 14 clips have nothing" in result.problem
    ways = [dict(remedy.changes) for remedy in result.remedies]
    assert {"split": "manifest", "split.unnamed": "leave out"} in ways
