"""Runs of all folds as one result: every clip is tested once, by the run that did not know it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from genrecore.config.run import system_signature
from genrecore.data import splits
from genrecore.errors import GenrecoreError
from genrecore.evaluation import metrics
from genrecore.store.run import Run


@dataclass(frozen=True)
class Pooled:
    """The test predictions of all folds, concatenated.

    Attributes:
        runs: One run a fold, in the order of folds.
        predictions: A predictions table (`clip_id, split, genre, p_<genre>…`), split `test`
            throughout, each clip once, sorted by genre and clip_id.
        folds: The fold by which each row of `predictions` was tested, aligned with it.
    """

    runs: list[Run]
    predictions: pd.DataFrame
    folds: pd.Series

    @property
    def system(self) -> str:
        """The signature of the system that all the runs are of."""
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

        The interval counts every clip once; that the folds' models share training clips is not in
        it (Bengio & Grandvalet 2004: no estimator of that variance is unbiased).
        """
        return metrics.scores(self.predictions)


@dataclass(frozen=True)
class FoldSet:
    """What there is of one system's folds, at one split seed and one seed.

    Attributes:
        runs: The newest finished run of each fold, by fold.
        n_folds: How many folds the split has.
        split_seed: Who lands where.
        seed: The seed of all the runs.
        system: The signature of the system.
    """

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
        """How far the set is."""
        if self.complete:
            return f"All {self.n_folds} folds are done."
        return (
            f"{len(self.runs)} of {self.n_folds} folds are done; "
            f"missing: {_listed(self.missing, 'fold')}."
        )

    def pool(self) -> Pooled:
        """One result over all clips.

        Raises:
            GenrecoreError: Folds are missing, or the runs do not fit together.
        """
        if not self.complete:
            raise GenrecoreError(f"The folds cannot be pooled yet: {self.sentence}")
        return pool(list(self.runs.values()))


def pool(runs: Iterable[Run]) -> Pooled:
    """The test predictions of all folds of one system as one result over all clips.

    Args:
        runs: One finished run of each fold, in any order, of one system and one split seed.

    Raises:
        GenrecoreError: No runs, several systems or split seeds, a split of one fold, a fold that
            is missing, there twice or not done, or runs whose clips or genres differ; the sentence
            says which.
    """
    given = list(runs)
    if not given:
        raise GenrecoreError("There are no runs to pool.")
    _check_one_system(given)
    config = given[0].config
    n_folds = splits.n_folds(config.split.name, config.split.options)
    if n_folds == 1:
        raise GenrecoreError(
            f"The split {config.split.name} has one fold only: its runs are each a whole result "
            "and are not pooled."
        )
    by_fold = _by_fold(given, n_folds)
    tables = {fold: _tested(run) for fold, run in by_fold.items()}
    _check_columns(by_fold, tables)
    joined = pd.concat(
        [table.assign(fold=fold) for fold, table in tables.items()], ignore_index=True
    )
    joined = joined.sort_values(["genre", "clip_id"], ignore_index=True)
    _check_clips(by_fold, joined)
    return Pooled(list(by_fold.values()), joined.drop(columns="fold"), joined["fold"])


def pools(all_runs: Iterable[Run]) -> list[FoldSet]:
    """The sets of folds among these runs, complete and incomplete, in the order of the runs.

    A set is one system at one split seed and one seed. Runs that are not done, or whose split has
    one fold, are in none. Of several finished runs of a fold the newest counts.
    """
    found: dict[tuple[str, int, int], dict[int, Run]] = {}
    numbers: dict[tuple[str, int, int], int] = {}
    for run in all_runs:
        try:
            config = run.config
            n_folds = splits.n_folds(config.split.name, config.split.options)
        except GenrecoreError:  # written by another version: it belongs to nothing we know
            continue
        if n_folds == 1 or not _done(run):
            continue
        key = (system_signature(config), config.split_seed, config.seed)
        numbers[key] = n_folds
        others = found.setdefault(key, {})
        if config.fold not in others or run.created > others[config.fold].created:
            others[config.fold] = run
    return [
        FoldSet(dict(sorted(members.items())), numbers[key], key[1], key[2], key[0])
        for key, members in found.items()
    ]


def _done(run: Run) -> bool:
    return run.state == "done" and (run.folder / "predictions.parquet").exists()


def _check_one_system(runs: list[Run]) -> None:
    systems = {system_signature(run.config) for run in runs}
    if len(systems) > 1:
        raise GenrecoreError(
            f"These runs are of {len(systems)} systems (they differ in more than fold and seed); "
            "only folds of one system are pooled."
        )
    seeds = sorted({run.config.split_seed for run in runs})
    if len(seeds) > 1:
        raise GenrecoreError(
            f"These runs have the split seeds {', '.join(map(str, seeds))}, so that clips would be "
            "tested twice or never; pool runs of one split seed."
        )


def _by_fold(runs: list[Run], n_folds: int) -> dict[int, Run]:
    by_fold: dict[int, Run] = {}
    for run in sorted(runs, key=lambda run: run.config.fold):
        fold = run.config.fold
        if fold in by_fold:
            raise GenrecoreError(
                f"Fold {fold} is there twice ({by_fold[fold].run_id} and {run.run_id}); "
                "choose one run a fold."
            )
        by_fold[fold] = run
    unfinished = [run for run in by_fold.values() if not _done(run)]
    if unfinished:
        named = ", ".join(f"fold {run.config.fold} ({run.state})" for run in unfinished)
        raise GenrecoreError(f"Folds are pooled when all are done; these are not: {named}.")
    missing = [fold for fold in range(n_folds) if fold not in by_fold]
    if missing:
        raise GenrecoreError(
            f"Of {n_folds} folds {len(missing)} {'is' if len(missing) == 1 else 'are'} missing: "
            f"{_listed(missing, 'fold')}; train {'it' if len(missing) == 1 else 'them'} first."
        )
    return by_fold


def _tested(run: Run) -> pd.DataFrame:
    table = run.predictions
    if table is None:
        raise GenrecoreError(f"The run {run.run_id} has no test predictions (it is {run.state}).")
    return table[table["split"] == "test"]


def _check_columns(by_fold: dict[int, Run], tables: dict[int, pd.DataFrame]) -> None:
    first = metrics.genres_in(next(iter(tables.values())))
    for fold, table in tables.items():
        if metrics.genres_in(table) != first:
            raise GenrecoreError(
                f"Fold {fold} ({by_fold[fold].run_id}) knows other genres than the folds before: "
                "the dataset changed between them; train the folds on the same data."
            )


def _check_clips(by_fold: dict[int, Run], tested: pd.DataFrame) -> None:
    """Each clip of every run's clip table is tested exactly once."""
    twice = tested["clip_id"][tested["clip_id"].duplicated()]
    if len(twice):
        raise GenrecoreError(
            f"{_clips(twice.nunique())} were tested by several folds (the first is "
            f"{twice.iloc[0]}): the dataset changed between them; train the folds on the same data."
        )
    known = set(tested["clip_id"])
    for fold, run in by_fold.items():
        table = run.clips
        if table is None:
            continue
        never = sorted(set(table.loc[table["split"].notna(), "clip_id"]) - known)
        if never:
            raise GenrecoreError(
                f"{_clips(len(never))} of fold {fold} were tested by no fold (the first is "
                f"{never[0]}): the dataset changed between them; train the folds on the same data."
            )


def _clips(n: int) -> str:
    return f"{n} clip" if n == 1 else f"{n} clips"


def _listed(numbers: list[int], what: str) -> str:
    texts = [str(number) for number in numbers]
    if len(texts) == 1:
        return f"{what} {texts[0]}"
    return f"{what}s {', '.join(texts[:-1])} and {texts[-1]}"
