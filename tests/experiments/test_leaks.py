"""A split that leaks is refused, or marked wherever its run appears; what it adds is measured."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from conftest import trained

from genrecore.config.command import train_command
from genrecore.config.run import RunConfig
from genrecore.data.audit import Audit
from genrecore.errors import GenrecoreError
from genrecore.evaluation import comparison
from genrecore.evaluation.scores import rank_runs
from genrecore.experiments import leaks as leaklab
from genrecore.experiments.leaks import CLEAN, LeakGap, leak_gap
from genrecore.store.files import read_json

Tiny = Callable[..., RunConfig]


def test_a_split_that_leaks_is_refused_before_training(store: Path, tiny: Tiny) -> None:
    run = trained(tiny(split="stratified", split__n_folds=3), store)
    assert run.state == "failed"
    assert "artist" in run.reason
    assert "allow leaks" in run.reason
    assert not (run.folder / "history.jsonl").exists()


def test_a_run_on_a_leaky_split_is_marked_everywhere(store: Path, tiny: Tiny) -> None:
    leaky = trained(tiny(split="stratified", split__n_folds=3, allow_leaks=True), store)
    clean = trained(tiny(split__n_folds=3), store)
    assert leaky.state == "done", leaky.reason
    audit = Audit.from_dict(read_json(leaky.folder / "audit.json"))
    assert audit.refused
    assert leaky.badge == f"Leak: {audit.n_crossing_test_clips} clips shared with training"
    assert clean.badge == ""
    board = rank_runs([leaky, clean]).set_index("run_id")
    assert board.loc[leaky.run_id, "badge"] == leaky.badge
    assert not board.loc[clean.run_id, "badge"]
    notes = comparison.compare([leaky, clean]).notes
    assert any(leaky.badge in note and "too high" in note for note in notes)
    assert "--allow-leaks" in shlex.join(train_command(leaky.config))


@pytest.mark.slow
def test_genres_left_out_and_merged_are_trained_so_and_said(store: Path, tiny: Tiny) -> None:
    names = sorted(trained(tiny(training__epochs=1), store).clips["genre"].unique())
    run = trained(tiny(dataset__n_genres=4, genres__merge=f"both = {names[0]}, {names[1]}"), store)
    assert run.state == "done", run.reason
    assert "both" in set(run.predictions["genre"])
    assert names[0] not in set(run.clips["genre"])
    assert any(names[0] in note and "both" in note for note in run.status["notes"])


@pytest.mark.slow
def test_the_leak_laboratory_pairs_every_clip_over_all_folds(store: Path, tiny: Tiny) -> None:
    planned = leaklab.draft(tiny(training__epochs=1), 3).configs
    assert len(planned) == 6
    done = [trained(config, store) for config in planned]
    gap = leak_gap(done)
    assert gap.n_clips == 30
    assert gap.n_artists == 15
    assert gap.per_genre["n_clips"].tolist() == [10, 10, 10]
    assert gap.difference == pytest.approx(gap.leaky - gap.clean)
    assert gap.low <= gap.difference <= gap.high
    by_hand = sum(
        (run.predictions.query("split == 'test'").filter(regex="^p_").idxmax(axis=1).str[2:]
         == run.predictions.query("split == 'test'")["genre"]).sum()
        for run in done if run.config.split.name == CLEAN
    )  # fmt: skip
    assert gap.clean == pytest.approx(by_hand / 30)
    with pytest.raises(GenrecoreError, match="finish every fold"):
        leak_gap(done[:-1])
    with pytest.raises(GenrecoreError, match="tested by several"):
        leak_gap([*done, done[0]])


@pytest.mark.parametrize(
    ("low", "high", "headline", "sentence"),
    [
        (0.02, 0.10, "the leak adds 6.0 points", "look better than it is"),
        (-0.10, -0.02, "the split by clip is 6.0 points below", "look worse, not better"),
        (-0.02, 0.14, "the two cannot be told apart (+6.0 points", "cannot be told apart"),
    ],
)
def test_the_gap_is_told_in_the_direction_that_its_numbers_have(
    low: float, high: float, headline: str, sentence: str
) -> None:
    difference = (low + high) / 2
    leaky, nothing = 0.7 + difference, pd.DataFrame()
    gap = LeakGap(leaky, 0, 1, 0.7, 0, 1, difference, low, high, 90, 40, nothing)
    assert headline in gap.headline
    assert sentence in gap.sentence


def test_clips_in_no_part_of_the_split_take_no_part(
    store: Path, tiny: Tiny, tmp_path: Path
) -> None:
    from genrecore.data.datasets import DATASETS

    config = tiny()
    dataset = config.dataset.choose_from(DATASETS)
    table = dataset.thing(dataset.options, lambda *_: None)
    rows = table[["path", "genre", "artist"]].assign(split="train")
    place = rows.groupby("genre").cumcount()
    rows.loc[place.isin([1, 2]), "split"] = "test"
    manifest = tmp_path / "clips.csv"
    rows["path"] = [f"{index}.wav" for index in range(len(rows))]
    for name, source in zip(rows["path"], table["path"], strict=True):
        (tmp_path / name).write_bytes(Path(source).read_bytes())
    rows.to_csv(manifest, index=False)
    named = {"dataset": "manifest", "dataset__folder": str(manifest), "split": "manifest"}
    run = trained(tiny(**named, allow_leaks=True), store)
    assert run.state == "done", run.reason
    assert len(run.predictions) == 6  # nothing to validate on, two test clips a genre
    assert run.status["best_epoch"] == 2  # then the last epoch counts
    assert "valid_accuracy" not in run.history
