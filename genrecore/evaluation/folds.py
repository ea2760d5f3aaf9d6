"""Runs of all folds as one result: every clip is tested once, by a run not trained on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from genrecore.config.run import system_signature
from genrecore.data import splits
from genrecore.errors import GenrecoreError
from genrecore.evaluation import metrics
from genrecore.evaluation.same_clips import SameClips, same_clips
from genrecore.evaluation.scores import read_test_predictions
from genrecore.evaluation.selective import with_confidence
from genrecore.store.run import Run
from genrecore.words import listed, plural


@dataclass(frozen=True)
class PooledFolds:
    """The test predictions of all folds (a run each) in one table, each clip once, sorted by genre
    and clip_id; `folds` says in which fold each row was tested."""

    runs: list[Run]
    predictions: pd.DataFrame
    folds: pd.Series

    @property
    def system(self) -> str:
        """The signature of the system that all the runs belong to."""
        return system_signature(self.runs[0].config)

    @property
    def title(self) -> str:
        """A short name for legends."""
        config = self.runs[0].config
        return f"{config.model.name} · {config.dataset.name} · {len(self.runs)} folds"

    @property
    def genres(self) -> list[str]:
        """Sorted names."""
        return metrics.genres_in(self.predictions)

    @cached_property
    def scores(self) -> dict[str, float]:
        """As `metrics.scores`, over all clips: one result with one interval, not a mean of folds.

        The interval counts every clip once. It ignores that the folds' models share training clips
        (Bengio & Grandvalet 2004: no estimator of that variance is unbiased).
        """
        return metrics.scores(self.predictions)


@dataclass(frozen=True)
class FoldSet:
    """The finished folds of one system at one split seed and one seed: the newest run of each fold,
    by fold, and how many folds the split has."""

    runs: dict[int, Run]
    n_folds: int
    split_seed: int
    seed: int
    system: str

    @property
    def missing(self) -> list[int]:
        """Folds without a finished run."""
        return [fold for fold in range(self.n_folds) if fold not in self.runs]

    @property
    def complete(self) -> bool:
        """Whether the folds can be pooled."""
        return not self.missing

    @property
    def sentence(self) -> str:
        """How many folds are done, and which are missing."""
        if self.complete:
            return f"All {self.n_folds} folds are done."
        return (
            f"{len(self.runs)} of {self.n_folds} folds are done; "
            f"missing: {_fold_names(self.missing)}."
        )


def pool_folds(runs: Iterable[Run], same: SameClips | None = None) -> PooledFolds:
    """The test predictions of all folds of one system as one result over all clips.

    Args:
        runs: One finished run of each fold, in any order, of one system and one split seed.
        same: Names the clips of these runs, and of others that they are compared with.

    Raises:
        GenrecoreError: No runs, several systems or split seeds, a split of one fold, a fold that
            is missing, present twice or not done, or runs whose clips or genres differ; the
            sentence says which.
    """
    runs = list(runs)
    if not runs:
        raise GenrecoreError("There are no runs to pool.")
    _check_one_system(runs)
    split = runs[0].config.split
    n_folds = splits.n_folds(split.choose_from(splits.SPLITS))
    if n_folds == 1:
        raise GenrecoreError(
            f"The split {split.name} has one fold only: each of its runs is a whole result and is "
            "not pooled."
        )
    by_fold = _by_fold(runs, n_folds)
    same = same or same_clips(by_fold.values())
    tables = {
        fold: same.named(with_confidence(read_test_predictions(run), run), run)
        for fold, run in by_fold.items()
    }
    _check_genres(by_fold, tables)
    joined = pd.concat(
        [table.assign(fold=fold) for fold, table in tables.items()], ignore_index=True
    )
    joined = joined.sort_values(["genre", "clip_id"], ignore_index=True)
    _check_clips(by_fold, joined, same)
    return PooledFolds(list(by_fold.values()), joined.drop(columns="fold"), joined["fold"])


def fold_sets(runs: Iterable[Run]) -> list[FoldSet]:
    """The sets of folds among these runs, complete and incomplete, in the order of the runs.

    A set is one system at one split seed and one seed. Runs that are not done, or whose split has
    only one fold, are in no set. Of several finished runs of a fold, the newest counts.
    """
    sets: dict[tuple[str, int, int], dict[int, Run]] = {}
    n_folds: dict[tuple[str, int, int], int] = {}
    for run in runs:
        try:
            config = run.config
            split = config.split.choose_from(splits.SPLITS)
            n = splits.n_folds(split)
        except GenrecoreError:  # of another version: it belongs to no system here
            continue
        if n == 1 or not _is_done(run):
            continue
        key = (system_signature(config), config.split_seed, config.seed)
        n_folds[key] = n
        by_fold = sets.setdefault(key, {})
        if config.fold not in by_fold or run.created > by_fold[config.fold].created:
            by_fold[config.fold] = run
    return [
        FoldSet(dict(sorted(by_fold.items())), n_folds[key], key[1], key[2], key[0])
        for key, by_fold in sets.items()
    ]


def _is_done(run: Run) -> bool:
    return run.state == "done" and (run.folder / "predictions.parquet").exists()


def _check_one_system(runs: list[Run]) -> None:
    systems = {system_signature(run.config) for run in runs}
    if len(systems) > 1:
        raise GenrecoreError(
            f"These runs belong to {len(systems)} systems (they differ in more than fold and "
            "seed); only folds of one system are pooled."
        )
    seeds = sorted({run.config.split_seed for run in runs})
    if len(seeds) > 1:
        raise GenrecoreError(
            f"These runs have the split seeds {', '.join(map(str, seeds))}, so clips would be "
            "tested twice or never; pool runs of one split seed."
        )


def _by_fold(runs: list[Run], n_folds: int) -> dict[int, Run]:
    by_fold: dict[int, Run] = {}
    for run in sorted(runs, key=lambda run: run.config.fold):
        fold = run.config.fold
        if fold in by_fold:
            raise GenrecoreError(
                f"Fold {fold + 1} has two runs ({by_fold[fold].run_id} and {run.run_id}); choose "
                "one."
            )
        by_fold[fold] = run
    unfinished = [run for run in by_fold.values() if not _is_done(run)]
    if unfinished:
        names = ", ".join(f"fold {run.config.fold + 1} ({run.state})" for run in unfinished)
        raise GenrecoreError(f"Folds are pooled when all are done; these are not: {names}.")
    missing = [fold for fold in range(n_folds) if fold not in by_fold]
    if missing:
        verb, them = ("is", "it") if len(missing) == 1 else ("are", "them")
        raise GenrecoreError(
            f"Of {n_folds} folds {len(missing)} {verb} missing: {_fold_names(missing)}; train "
            f"{them} first."
        )
    return by_fold


_CHANGED = "the dataset changed between them; train the folds on the same data."


def _check_genres(by_fold: dict[int, Run], tables: dict[int, pd.DataFrame]) -> None:
    first = metrics.genres_in(next(iter(tables.values())))
    for fold, table in tables.items():
        if metrics.genres_in(table) != first:
            raise GenrecoreError(
                f"Fold {fold + 1} ({by_fold[fold].run_id}) has other genres than the folds before: "
                f"{_CHANGED}"
            )


def _check_clips(by_fold: dict[int, Run], tested: pd.DataFrame, same: SameClips) -> None:
    """Raises an error unless each clip of every run is tested exactly once."""
    twice = tested["clip_id"][tested["clip_id"].duplicated()]
    if len(twice):
        raise GenrecoreError(
            f"{plural(twice.nunique(), 'clip')} were tested by several folds (the first is "
            f"{twice.iloc[0]}): {_CHANGED}"
        )
    tested_ids = set(tested["clip_id"])
    for fold, run in by_fold.items():
        table = run.clips
        if table is None:
            continue
        used = same.named(table[table["split"].notna()], run)
        never = sorted(set(used["clip_id"]) - tested_ids)
        if never:
            raise GenrecoreError(
                f"{plural(len(never), 'clip')} of fold {fold + 1} were tested by no fold (the "
                f"first is {never[0]}): {_CHANGED}"
            )


def _fold_names(folds: list[int]) -> str:
    return f"{'fold' if len(folds) == 1 else 'folds'} {listed([str(fold + 1) for fold in folds])}"
