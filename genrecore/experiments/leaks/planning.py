"""Experiments: planned as configurations, queued as runs, and found again in the store."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from genrecore.config import run as configuration
from genrecore.config.command import settings_words
from genrecore.config.run import Part, RunConfig
from genrecore.data import clips as clip_tables
from genrecore.data import genres as relabel
from genrecore.data import splits
from genrecore.data.splits import SPLITS
from genrecore.errors import GenrecoreError
from genrecore.experiments.leaks.pairing import CLEAN, LEAKY
from genrecore.jobs import actions as jobs
from genrecore.store import run as runs
from genrecore.store.run import Run

_FEWEST_FOLDS = 3  # one to train on, one to validate, one to test
_MOST_LIKE = 5  # earlier runs that an estimate looks at


@dataclass(frozen=True)
class Experiment:
    """The runs of one system on the leaky and on the clean folds of the same clips.

    Attributes:
        config: The clean configuration, fold 0.
        n_folds: Of either split.
        leaky: By fold the run that counts: a finished one, else one that works or waits, else the
            newest. Folds that were never queued are absent.
        clean: The same for the clean folds.
    """

    config: RunConfig
    n_folds: int
    leaky: Mapping[int, Run]
    clean: Mapping[int, Run]

    @property
    def key(self) -> str:
        """Ten hex digits that name the experiment."""
        return configuration.signature(self.config)

    @property
    def runs(self) -> list[Run]:
        """All of them, the clean folds first, as they are queued."""
        return [side[fold] for side in (self.clean, self.leaky) for fold in sorted(side)]

    @property
    def n_runs(self) -> int:
        """How many it takes."""
        return 2 * self.n_folds

    @cached_property
    def done(self) -> list[Run]:
        """Those that are done."""
        return [run for run in self.runs if run.state == "done"]

    @cached_property
    def active(self) -> list[Run]:
        """Those that work or wait."""
        return [run for run in self.runs if run.is_active]

    @cached_property
    def ended(self) -> list[Run]:
        """Those that ended without a result: stopped, failed or lost."""
        return [run for run in self.runs if run not in self.done and run not in self.active]

    @property
    def n_missing(self) -> int:
        """Folds that nobody has done or works on."""
        return self.n_runs - len(self.done) - len(self.active)

    @property
    def complete(self) -> bool:
        """Whether every fold of both splits is done."""
        return len(self.done) == self.n_runs

    @property
    def title(self) -> str:
        """Model, data and folds, in short."""
        return f"{self.config.model.name} · {self.config.dataset.name} · {self.n_folds} folds"

    @property
    def left_s(self) -> float | None:
        """Seconds until the runs that work or wait are done, or None while nothing is known.

        Those that wait are expected to take as long as the typical run before them.
        """
        live = [run for run in self.active if run.state != "queued"]
        left = [float(run.status["time_left_s"]) for run in live if run.status.get("time_left_s")]
        took = [run.worked_s for run in self.done]
        if not took and left:
            took = [run.worked_s + s for run, s in zip(live, left, strict=False)]
        if not took or not self.active:
            return None
        n_waiting = len(self.active) - len(left)
        return (sum(left) + n_waiting * statistics.median(took)) / max(1, len(live))

    def again(self) -> Experiment:
        """The same runs as they are now; runs that came since are not looked for."""
        leaky, clean = (
            {fold: Run(run.folder) for fold, run in side.items()}
            for side in (self.leaky, self.clean)
        )
        return replace(self, leaky=leaky, clean=clean)


def plan(config: RunConfig, n_folds: int = 5) -> list[RunConfig]:
    """Every fold of the clean and of the leaky split, resolved. Imports torch.

    The clean folds come first: where they are refused, nobody has waited for the leaky ones.

    Raises:
        UsageError: What `resolve` refuses, or a number of folds out of range.
    """
    from genrecore.training.resolve import resolve

    first = resolve(_dealt(config, CLEAN, n_folds, 0)).config
    return [_dealt(first, name, n_folds, k) for name in (CLEAN, LEAKY) for k in range(n_folds)]


def _dealt(config: RunConfig, name: str, n_folds: int, fold: int) -> RunConfig:
    """The configuration on one fold of one of the two splits; resolved where it was before."""
    given = config.split.options if config.split.name == name else {}
    read = SPLITS[name].read_options({**given, "n_folds": n_folds}, "split")
    split = Part(name=name, options=read.model_dump(mode="json", exclude_defaults=True))
    return config.model_copy(update={"split": split, "fold": fold, "allow_leaks": name == LEAKY})


def check(config: RunConfig, clips: pd.DataFrame, n_folds: int = 5) -> int:
    """The number of clips that take part; refuses an experiment that they cannot answer.

    Args:
        config: What is to be trained; its genres and split seed are looked at.
        clips: The dataset's clip table.
        n_folds: Of either split.

    Raises:
        GenrecoreError: No artist is known, none has two clips, or a genre has too few of them.
    """
    table, _ = relabel.apply(clips, config.genres.leave_out, config.genres.merge)
    artists = clip_tables.same_names(table["artist"])
    if artists.isna().all():
        raise GenrecoreError(
            f"None of the {len(table)} clips names its artist, so nobody can tell who would be on "
            "both sides; give the artists in a list of files (CSV) with a column artist."
        )
    if not artists.dropna().duplicated().any():
        raise GenrecoreError(
            f"No two of the {len(table)} clips are known to be by one artist, so a split by clip "
            "shares none; the experiment needs artists with several clips."
        )
    # A clip whose artist is not known counts as an artist of its own, as in the split.
    found = artists.fillna("\0" + table["clip_id"]).groupby(table["genre"]).nunique()
    few = found[found < n_folds].sort_index()
    if len(few):
        named = ", ".join(f"{genre} ({n})" for genre, n in few.items())
        least = int(few.min())
        fewer = f"choose at most {least} folds or " if least >= _FEWEST_FOLDS else ""
        raise GenrecoreError(
            f"There are too few artists in {named} to keep artists apart: {n_folds} folds need "
            f"{n_folds} artists a genre; {fewer}leave these genres out."
        )
    for name in (CLEAN, LEAKY):
        split = _dealt(config, name, n_folds, 0).split
        splits.apply(table, name, split.options, seed=config.split_seed, fold=0)
    return len(table)


def submit(planned: Sequence[RunConfig], store: Path | None = None) -> list[Run]:
    """A run for each configuration: one that is there, or else a new one in the queue.

    Raises:
        GenrecoreError: The store cannot be written.
    """
    there = runs.find_same(planned, store)
    return [run or jobs.submit(config, store) for run, config in zip(there, planned, strict=True)]


def experiments(all_runs: Iterable[Run]) -> list[Experiment]:
    """The experiments among these runs, in whatever state, the one with the newest run first.

    Runs of one system, seed and split seed on folds of both splits are an experiment, whoever
    queued them.
    """
    sides: dict[str, dict[str, dict[int, Run]]] = {LEAKY: {}, CLEAN: {}}
    firsts: dict[str, RunConfig] = {}
    for run in all_runs:
        try:
            config = run.config
        except GenrecoreError:  # written by another version: it belongs to nothing we know
            continue
        name = config.split.name
        if name not in sides or config.allow_leaks != (name == LEAKY):
            continue
        first = config.model_copy(update={"fold": 0})
        key = configuration.signature(first)
        firsts[key] = first
        folds = sides[name].setdefault(key, {})
        folds[config.fold] = max(run, folds.get(config.fold, run), key=runs.precedence)
    found = []
    for key, clean in sides[CLEAN].items():
        first = firsts[key]
        n_folds = splits.n_folds(CLEAN, first.split.options)
        leaky = sides[LEAKY].get(configuration.signature(_dealt(first, LEAKY, n_folds, 0)))
        if leaky:
            found.append(Experiment(first, n_folds, leaky, clean))
    # Ids begin with the time.
    return sorted(found, key=lambda one: max(run.run_id for run in one.runs), reverse=True)


def command_of(config: RunConfig, n_folds: int) -> list[str]:
    """The command that carries the experiment out.

    Args:
        config: Any planned configuration of the clean split.
        n_folds: Of either split.
    """
    options = {key: value for key, value in config.split.options.items() if key != "n_folds"}
    split = Part(name=config.split.name, options=options)
    rest = config.model_copy(update={"split": split, "fold": 0})
    return ["genrecore", "leaklab", *settings_words(rest), "--n-folds", str(n_folds)]


def run_s(config: RunConfig, n_clips: int, n_folds: int, earlier: Iterable[Run]) -> float | None:
    """Seconds that one run of an experiment may take, judged by earlier runs like it.

    Like it are finished runs of the same model, feature and segments on the same data; the five
    newest count, and of what a run takes besides its epochs the least, since decoding is done once.

    Args:
        config: A planned configuration.
        n_clips: Of the dataset.
        n_folds: Of either split.
        earlier: Runs, the newest first.

    Returns:
        Seconds, or None where there is no such run.
    """
    pace: list[float] = []
    rest: list[float] = []
    n_epochs = config.training.epochs
    for run in earlier:
        if len(pace) == _MOST_LIKE:
            break
        if not _like(run, config) or run.state != "done":
            continue
        history, clips = run.history, run.clips
        n_train = 0 if clips is None else int((clips["split"] == "train").sum())
        if n_train and "seconds" in history:
            pace.append(float(history["seconds"].median()) / n_train)
            rest.append(max(0.0, run.worked_s - float(history["seconds"].sum())))
            if run.n_epochs < run.config.training.epochs:  # fitted at one go
                n_epochs = run.n_epochs
    if not pace:
        return None
    n_train_here = n_clips * (n_folds - 2) / n_folds
    return min(rest) + n_epochs * n_train_here * statistics.median(pace)


def _like(run: Run, config: RunConfig) -> bool:
    """Whether an epoch of the two takes the same time a clip."""
    try:
        mine = run.config
    except GenrecoreError:
        return False
    return _costly(mine) == _costly(config)


def _costly(config: RunConfig) -> dict[str, Any]:
    free = {"split", "allow_leaks", "fold", "split_seed", "seed", "device", "training"}
    recipe = config.training.model_dump(include={"batch_size", "precision"})
    return config.model_dump(exclude=free) | recipe
