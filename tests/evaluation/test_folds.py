"""Folds as one result: pooled when all are there, refused with what is missing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import TINY, trained
from fake_runs import draw_right, fake_run

from genrecore.config.run import RunConfig, with_values
from genrecore.errors import GenrecoreError
from genrecore.evaluation import metrics
from genrecore.evaluation.folds import fold_sets, pool_folds
from genrecore.store import runs
from genrecore.store.run import Run

VALUES = TINY | {"split.n_folds": 3, "training.epochs": 1, "dataset.n_clips": 7}


@pytest.fixture(scope="module")
def trained_folds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Run]]:
    """Three folds of one small system, trained for real."""
    from genrecore.training.resolve import resolve

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRECORE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        store = tmp_path_factory.mktemp("folds")
        config = resolve(with_values(RunConfig(), VALUES)).config
        yield [trained(with_values(config, {"fold": k}), store) for k in range(3)]


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Three folds of seven clips each, of which each knows all clips."""
    store, right = tmp_path_factory.mktemp("folds"), draw_right(0.6, 21, 4)
    runs = []
    for fold, clips in enumerate(np.arange(21).reshape(3, 7)):
        runs.append(fake_run(store, right[clips], clips=clips, fold=fold, split__n_folds=3))
    everything = pd.concat([run.clips.assign(fold=k) for k, run in enumerate(runs)])
    for fold, run in enumerate(runs):
        split = np.where(everything["fold"] == fold, "test", "train")
        table = everything.drop(columns="fold").assign(split=split)
        table.to_parquet(run.folder / "clips.parquet", index=False)
    return [Run(run.folder) for run in runs]


@pytest.fixture
def copies(folds: list[Run], tmp_path: Path) -> list[Run]:
    """The three folds in a store of this test's own."""
    return [_copy(run, tmp_path) for run in folds]


def _copy(run: Run, store: Path, name: str = "", **config: object) -> Run:
    """A copy of a run's folder, with some values of its configuration replaced."""
    folder = store / (name or run.run_id)
    shutil.copytree(run.folder, folder)
    if config:
        changed = with_values(run.config, {k.replace("__", "."): v for k, v in config.items()})
        (folder / "config.json").write_text(changed.model_dump_json())
    return Run(folder)


def _rewrite(run: Run, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Run:
    path = run.folder / name
    change(pd.read_parquet(path)).to_parquet(path, index=False)
    return Run(run.folder)


@pytest.mark.slow
def test_pooled_folds_test_every_clip_exactly_once(trained_folds: list[Run]) -> None:
    folds = trained_folds
    pooled = pool_folds(reversed(folds))
    clips = folds[0].clips
    assert clips is not None
    assert pooled.predictions["clip_id"].is_unique
    assert set(pooled.predictions["clip_id"]) == set(clips["clip_id"])
    assert set(pooled.predictions["split"]) == {"test"}
    assert [run.config.fold for run in pooled.runs] == [0, 1, 2]
    for fold, run in enumerate(folds):
        own = run.predictions
        assert own is not None
        expected = own[own["split"] == "test"].sort_values(["genre", "clip_id"], ignore_index=True)
        own = pooled.predictions[pooled.folds == fold].reset_index(drop=True)
        own = own.drop(columns=["artist", "confidence"])
        pd.testing.assert_frame_equal(own, expected)


def test_pooled_scores_are_those_of_all_clips_together(folds: list[Run]) -> None:
    pooled = pool_folds(folds)
    assert pooled.scores == metrics.scores(pooled.predictions)
    assert pooled.scores["n_clips"] == 21
    tables = [run.predictions for run in folds]
    parts = [metrics.scores(table) for table in tables if table is not None]
    n_right = sum(part["accuracy"] * part["n_clips"] for part in parts)
    assert pooled.scores["accuracy"] == pytest.approx(n_right / 21)
    narrow = pooled.scores["accuracy_high"] - pooled.scores["accuracy_low"]
    assert all(narrow < part["accuracy_high"] - part["accuracy_low"] for part in parts)
    assert pooled.genres == sorted(pooled.genres)
    assert "3 folds" in pooled.title


def test_missing_folds_are_named(folds: list[Run]) -> None:
    with pytest.raises(GenrecoreError, match="Of 3 folds 1 is missing: fold 2; train it first"):
        pool_folds([folds[0], folds[2]])
    with pytest.raises(GenrecoreError, match="2 are missing: folds 1 and 3; train them first"):
        pool_folds([folds[1]])
    with pytest.raises(GenrecoreError, match="no runs to pool"):
        pool_folds([])


def test_runs_that_do_not_belong_together_are_refused(copies: list[Run], tmp_path: Path) -> None:
    twice = _copy(copies[2], tmp_path, "again")
    with pytest.raises(GenrecoreError, match="Fold 3 has two runs"):
        pool_folds([*copies, twice])
    wider = _copy(copies[2], tmp_path, "wider", model__width=5)
    with pytest.raises(GenrecoreError, match="belong to 2 systems"):
        pool_folds([*copies[:2], wider])
    dealt = _copy(copies[2], tmp_path, "dealt", split_seed=7)
    with pytest.raises(GenrecoreError, match="have the split seeds 0, 7"):
        pool_folds([*copies[:2], dealt])
    alone = _copy(copies[0], tmp_path, "alone", split="ratio_8_1_1")
    with pytest.raises(GenrecoreError, match="ratio_8_1_1 has one fold only"):
        pool_folds([alone])


def test_a_fold_that_is_not_done_is_named(copies: list[Run]) -> None:
    path = copies[1].folder / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"state": "stopped"}))
    with pytest.raises(GenrecoreError, match=r"these are not: fold 2 \(stopped\)"):
        pool_folds([Run(run.folder) for run in copies])
    [sets] = fold_sets(Run(run.folder) for run in copies)
    assert sets.missing == [1]


def test_folds_of_data_that_changed_in_between_are_refused(copies: list[Run]) -> None:
    first, second, third = copies
    table = first.predictions
    assert table is not None
    strange = table[table["split"] == "test"].head(2)

    def lose(table: pd.DataFrame) -> pd.DataFrame:
        return table.drop(table.index[table["split"] == "test"][:2])

    shorter = _rewrite(second, "predictions.parquet", lose)
    with pytest.raises(GenrecoreError, match="2 clips of fold 1 were tested by no fold"):
        pool_folds([first, shorter, third])
    more = _rewrite(second, "predictions.parquet", lambda table: pd.concat([table, strange]))
    with pytest.raises(GenrecoreError, match="2 clips were tested by several folds"):
        pool_folds([first, more, third])

    def rename(table: pd.DataFrame) -> pd.DataFrame:
        last = str(table.columns[-1])
        genre = table["genre"].replace({last.removeprefix("p_"): "x"})
        return table.rename(columns={last: "p_x"}).assign(genre=genre)

    renamed = _rewrite(third, "predictions.parquet", rename)
    with pytest.raises(GenrecoreError, match=r"Fold 3 .* has other genres"):
        pool_folds([first, second, renamed])


def test_clips_in_no_split_need_no_test(copies: list[Run]) -> None:
    def put_out(table: pd.DataFrame) -> pd.DataFrame:
        last = table.iloc[[-1]].assign(clip_id="in none", split=pd.NA)
        return pd.concat([table, last], ignore_index=True)

    changed = [_rewrite(run, "clips.parquet", put_out) for run in copies]
    assert pool_folds(changed).scores["n_clips"] == 21


def test_sets_of_folds_are_found_among_all_runs(copies: list[Run], tmp_path: Path) -> None:
    _copy(copies[1], tmp_path, "other-seed", seed=9)
    _copy(copies[1], tmp_path, "one-fold", split="ratio_8_1_1")
    newer = _copy(copies[0], tmp_path, "newer")
    queue = newer.folder / "queue.json"
    later = json.loads(queue.read_text())["queued_at"] + 60
    queue.write_text(json.dumps({"queued_at": later}))
    broken = _copy(copies[0], tmp_path, "broken")
    (broken.folder / "config.json").write_text('{"written": "by another version"}')
    os.makedirs(tmp_path / "no-run")

    sets = fold_sets(runs.all_runs(tmp_path))
    whole = next(fold_set for fold_set in sets if fold_set.seed == 0)
    part = next(fold_set for fold_set in sets if fold_set.seed == 9)
    assert len(sets) == 2
    assert whole.complete
    assert whole.sentence == "All 3 folds are done."
    assert list(whole.runs) == [0, 1, 2]
    assert whole.runs[0].run_id == "newer"
    assert whole.system == part.system
    assert pool_folds(whole.runs.values()).scores["n_clips"] == 21
    assert not part.complete
    assert part.sentence == "1 of 3 folds are done; missing: folds 1 and 3."


def test_probabilities_are_left_as_the_runs_wrote_them(folds: list[Run]) -> None:
    pooled = pool_folds(folds)
    columns = [f"p_{genre}" for genre in pooled.genres]
    pooled_proba = pooled.predictions.set_index("clip_id")[columns].sort_index()
    written = [run.predictions for run in folds]
    own = pd.concat([table.set_index("clip_id")[columns] for table in written if table is not None])
    pd.testing.assert_frame_equal(pooled_proba, own.sort_index())
    assert len(pooled.folds) == len(pooled_proba)
