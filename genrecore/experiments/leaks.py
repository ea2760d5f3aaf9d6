"""Leak experiments: how much a split that shares artists raises a system's accuracy.

A leak experiment is a plan with two splits: the same configuration on every fold of a clean split
(by artist) and of a leaky one (by clip) of the same clips. Its runs count however they were
queued. Over all folds every clip is tested once in each split, so the gap between the
accuracies is a paired difference. Its interval counts artists, because clips of one artist are
not independent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from genrecore.config.command import settings_words
from genrecore.config.run import Part, RunConfig, signature
from genrecore.data import clips as clip_tables
from genrecore.data import genres, splits
from genrecore.data.splits import SPLITS
from genrecore.errors import GenrecoreError
from genrecore.evaluation import clustered, metrics
from genrecore.evaluation.same_clips import SameClips, same_clips
from genrecore.evaluation.scores import read_test_predictions
from genrecore.experiments.draft import Draft, Grid
from genrecore.experiments.plan import Member, Plan, RunsProgress, all_plans
from genrecore.experiments.plan import start as start_plan
from genrecore.store.files import Unreadable
from genrecore.store.run import Run
from genrecore.store.runs import each_readable, find_same, precedence
from genrecore.words import percent, plural, points, signed_points, thousands

LEAKY, CLEAN = "stratified", "by_artist"
"""The split by clip, which shares artists, and the split by artist, which does not."""
_FEWEST_FOLDS = 3  # one to train on, one to validate, one to test
_FACT = "leak_experiment"  # the entry of plan.json with the key of the experiment


@dataclass(frozen=True)
class LeakExperiment(RunsProgress):
    """The runs of one system on the leaky and on the clean folds of the same clips.

    Attributes:
        config: The clean configuration, fold 0.
        n_folds: Number of folds of each split.
        leaky: For each fold the run that counts by `precedence`; folds without a run are absent.
        clean: The same for the clean split.
    """

    config: RunConfig
    n_folds: int
    leaky: Mapping[int, Run]
    clean: Mapping[int, Run]

    @property
    def key(self) -> str:
        """Ten hex digits that name the experiment."""
        return signature(self.config)

    @cached_property
    def members(self) -> list[Member]:
        """A run for every fold of both splits, in the order of the queue."""
        by_split = {CLEAN: self.clean, LEAKY: self.leaky}
        return [
            Member(change, config, by_split[change["split"]].get(change["fold"]))
            for change, config in _folds(self.config, self.n_folds)
        ]

    @property
    def runs(self) -> list[Run]:
        """The runs that were queued, in the order of `members`."""
        return [member.run for member in self.members if member.run]

    @property
    def n_missing(self) -> int:
        """Folds without a run that is done, at work or queued."""
        return self.n_runs - len(self.done) - len(self.active)

    @property
    def complete(self) -> bool:
        """Whether every fold of both splits is done."""
        return len(self.done) == self.n_runs

    @property
    def title(self) -> str:
        """Model, data and folds."""
        return f"{self.config.model.name} · {self.config.dataset.name} · {self.n_folds} folds"

    def again(self) -> LeakExperiment:
        """The same runs, read again; runs queued since then are not included."""
        leaky, clean = (
            {fold: Run(run.folder) for fold, run in by_fold.items()}
            for by_fold in (self.leaky, self.clean)
        )
        return LeakExperiment(self.config, self.n_folds, leaky, clean)


def _folds(config: RunConfig, n_folds: int) -> list[tuple[dict[str, Any], RunConfig]]:
    """The changes and the configuration of each run of an experiment.

    The clean folds come first: if they fail, nobody has waited for the leaky ones.
    """
    return [
        ({"split": split, "fold": fold}, on_fold(config, split, n_folds, fold))
        for split in (CLEAN, LEAKY)
        for fold in range(n_folds)
    ]


def draft(config: RunConfig, n_folds: int = 5) -> Draft:
    """The plan of an experiment: every fold of the clean and of the leaky split, resolved.

    Imports torch.

    Raises:
        UsageError: The configuration or the number of folds is refused.
    """
    from genrecore.training.resolve import resolve

    base = resolve(on_fold(config, CLEAN, n_folds, 0)).config
    changes, configs = zip(*_folds(base, n_folds), strict=True)
    grid: Grid = {"split": [CLEAN, LEAKY], "fold": list(range(n_folds))}
    return Draft(base, [grid], changes, configs, [])


def on_fold(config: RunConfig, split: str, n_folds: int, fold: int) -> RunConfig:
    """The configuration on a fold of one of the two splits; a resolved one stays resolved."""
    options = config.split.options if config.split.name == split else {}
    chosen = SPLITS.choose(split, {**options, "n_folds": n_folds})
    part = Part(name=split, options=chosen.options.model_dump(mode="json", exclude_defaults=True))
    return config.model_copy(update={"split": part, "fold": fold, "allow_leaks": split == LEAKY})


def check(config: RunConfig, clips: pd.DataFrame, n_folds: int = 5) -> int:
    """Refuses an experiment for which the clips do not suffice; returns how many clips take part.

    Raises:
        GenrecoreError: No artist is known, none has two clips, or a genre has too few artists.
    """
    table, _ = genres.apply(clips, config.genres.leave_out, config.genres.merge)
    artists = clip_tables.same_names(table["artist"])
    if artists.isna().all():
        raise GenrecoreError(
            f"No artist is known of the {len(table)} clips, so shared artists cannot be found; "
            "list the files in a CSV with a column artist."
        )
    if not artists.dropna().duplicated().any():
        raise GenrecoreError(
            f"No two of the {len(table)} clips are known to be by one artist, so a split by clip "
            "shares no artist; the experiment needs artists with several clips."
        )
    # A clip of an unknown artist counts as an artist of its own, as in the split.
    n_artists = artists.fillna("\0" + table["clip_id"]).groupby(table["genre"]).nunique()
    few = n_artists[n_artists < n_folds].sort_index()
    if len(few):
        named = ", ".join(f"{genre} ({n})" for genre, n in few.items())
        least = int(few.min())
        fewer = f"choose at most {least} folds or " if least >= _FEWEST_FOLDS else ""
        raise GenrecoreError(
            f"There are too few artists in {named} to keep artists apart: {n_folds} folds need "
            f"{n_folds} artists a genre; {fewer}leave these genres out."
        )
    for name in (CLEAN, LEAKY):
        split = on_fold(config, name, n_folds, 0).split
        splits.apply(table, SPLITS.choose(name, split.options), config.split_seed, fold=0)
    return len(table)


def start(
    config: RunConfig,
    n_folds: int = 5,
    store: Path | None = None,
    on: Sequence[str] | None = None,
) -> Plan:
    """Queues the missing runs of an experiment, as a plan, dealt to the places `on`, as of
    `Plan.on`; by default to those of its earlier runs.

    Raises:
        UsageError: As `draft`, or a run would fail.
        GenrecoreError: The store cannot be written.
    """
    from genrecore.training.check import check as check_run

    drafted = draft(config, n_folds)
    key = signature(drafted.base)
    for plan in all_plans(store):
        if plan.facts.get(_FACT) != key:
            continue
        if len(plan.done) + len(plan.active) == plan.n_runs:
            return plan
        on = plan.on if on is None else on
    for config, run in zip(drafted.configs, find_same(drafted.configs, store), strict=True):
        if run is None:
            check_run(config).refuse()
    title = (
        f"Leak experiment: {drafted.base.model.name} · {drafted.base.dataset.name}, {n_folds} folds"
    )
    return start_plan(drafted, store, title, facts={_FACT: key}, on=on or ())


def experiments(all_runs: Iterable[Run]) -> list[LeakExperiment]:
    """The experiments among these runs, finished or not, the one with the newest run first.

    Runs of one system, seed and split seed on folds of both splits are an experiment.
    """
    runs: dict[str, list[tuple[_Folds, Run]]] = {LEAKY: [], CLEAN: []}
    for run, facts in each_readable(all_runs, lambda run: run.facts):
        if facts.split in runs:
            key = _Folds(facts.system, facts.model, facts.dataset, facts.seed, facts.split_seed)
            runs[facts.split].append((key, run))
    leaky_folds = {}
    for by_fold in _by_fold(runs[LEAKY]):
        config = _first_fold(by_fold)
        if config.allow_leaks:
            leaky_folds[signature(config)] = by_fold
    # Of the others not even the state need be read.
    alike = {key._replace(system="") for key, _ in runs[LEAKY]}
    complete = []
    for clean in _by_fold(
        (key, run) for key, run in runs[CLEAN] if key._replace(system="") in alike
    ):
        config = _first_fold(clean)
        n_folds = splits.n_folds(SPLITS.choose(CLEAN, config.split.options))
        leaky = leaky_folds.get(signature(on_fold(config, LEAKY, n_folds, 0)))
        if leaky and not config.allow_leaks:
            complete.append(LeakExperiment(config, n_folds, leaky, clean))
    # Ids begin with the time.
    return sorted(complete, key=lambda e: max(run.run_id for run in e.runs), reverse=True)


class _Folds(NamedTuple):
    """What the runs on the folds of one split share."""

    system: str
    model: str
    dataset: str
    seed: int
    split_seed: int


def _by_fold(runs: Iterable[tuple[_Folds, Run]]) -> list[dict[int, Run]]:
    """For each key the run of each fold that counts, of those that can be read."""
    counting: dict[_Folds, dict[int, Run]] = {}
    for key, run in runs:
        with contextlib.suppress(Unreadable):
            other = counting.get(key, {}).get(run.facts.fold, run)
            counts = max(run, other, key=precedence)
            counting.setdefault(key, {})[run.facts.fold] = counts
    return list(counting.values())


def _first_fold(by_fold: Mapping[int, Run]) -> RunConfig:
    return next(iter(by_fold.values())).config.model_copy(update={"fold": 0})


def leaklab_command(config: RunConfig, n_folds: int) -> list[str]:
    """The command that trains an experiment; `config` is its clean configuration, of any fold."""
    options = {key: value for key, value in config.split.options.items() if key != "n_folds"}
    split = Part(name=config.split.name, options=options)
    base = config.model_copy(update={"split": split, "fold": 0})
    return ["genrecore", "leaklab", *settings_words(base), "--n-folds", str(n_folds)]


@dataclass(frozen=True)
class LeakGap:
    """Accuracy on the leaky split minus accuracy on the clean one, as shares of all clips.

    `leaky` and `clean` are accuracies pooled over the folds. Intervals take clips of one artist for
    alike.

    Attributes:
        n_clips: Clips, each tested once in each split.
        n_artists: Artists; a clip of unknown artist counts as an artist of its own.
        per_genre: `genre, n_clips`, and `leaky, clean` with `_low` and `_high`.
    """

    leaky: float
    leaky_low: float
    leaky_high: float
    clean: float
    clean_low: float
    clean_high: float
    difference: float
    low: float
    high: float
    n_clips: int
    n_artists: int
    per_genre: pd.DataFrame

    @property
    def headline(self) -> str:
        """The gap in one line."""
        accuracies = f"By clip {percent(self.leaky)}, by artist {percent(self.clean)}: "
        ends = f"95 %: {signed_points(self.low)} to {signed_points(self.high)}"
        if self.low > 0:
            return f"{accuracies}the leak adds {points(self.difference)} ({ends})"
        if self.high < 0:
            return f"{accuracies}the split by clip is {points(-self.difference)} below ({ends})"
        return (
            f"{accuracies}the two cannot be told apart "
            f"({points(self.difference, sign=True)}, {ends})"
        )

    @property
    def sentence(self) -> str:
        """The gap in words."""
        finding = "The two splits cannot be told apart with these clips"
        if self.low > 0:
            finding = "The split by clip makes this system look better than it is"
        elif self.high < 0:
            finding = "The split by clip makes this system look worse, not better"
        return (
            f"{finding}: {percent(self.leaky)} of {thousands(self.n_clips)} clips when artists are "
            f"shared, {percent(self.clean)} when they are not, "
            f"{points(self.difference, sign=True)} (95 %: {signed_points(self.low)} to "
            f"{signed_points(self.high)}, {plural(self.n_artists, 'artist')})."
        )


def leak_gap(runs: Sequence[Run]) -> LeakGap:
    """The gap between the finished runs of a leak experiment.

    Raises:
        GenrecoreError: A clip is not tested exactly once in each split.
    """
    same = same_clips(runs)
    leaky, clean = (
        _tested([run for run in runs if run.config.split.name == split], same)
        for split in (LEAKY, CLEAN)
    )
    if set(leaky.index) != set(clean.index):
        raise GenrecoreError(
            f"The leaky folds test {len(leaky)} clips, the clean ones {len(clean)}, and they are "
            f"not the same; finish every fold of both.{same.warning}"
        )
    clean = clean.loc[leaky.index]
    groups = pd.Series(clustered.artist_groups(leaky.reset_index()), index=leaky.index)
    right = pd.DataFrame({"leaky": leaky["right"], "clean": clean["right"]}, dtype=float)
    difference = clustered.difference(
        right["leaky"].to_numpy(), right["clean"].to_numpy(), groups.to_numpy()
    )
    per_genre = [
        {"genre": genre, "n_clips": len(rows)} | _accuracies(rows, groups)
        for genre, rows in right.groupby(leaky["genre"])
    ]
    return LeakGap(
        **_accuracies(right, groups),
        difference=difference.value,
        low=difference.low,
        high=difference.high,
        n_clips=len(leaky),
        n_artists=int(groups.nunique()),
        per_genre=pd.DataFrame(per_genre),
    )


def _accuracies(right: pd.DataFrame, groups: pd.Series) -> dict[str, float]:
    """`leaky, leaky_low, leaky_high, clean, clean_low, clean_high`, of correctness by clip."""
    accuracies: dict[str, float] = {}
    for name, column in right.items():
        ends = clustered.accuracy(column.to_numpy(), groups[right.index].to_numpy())
        accuracies |= {f"{name}": ends.value, f"{name}_low": ends.low, f"{name}_high": ends.high}
    return accuracies


def _tested(runs: Sequence[Run], same: SameClips) -> pd.DataFrame:
    """`right, genre, artist` of the test clips of several folds, by the names of `same`."""
    tables = []
    for run in runs:
        table = same.named(read_test_predictions(run), run)
        labels, proba = metrics.as_arrays(table, metrics.genres_in(table))
        tables.append(table.assign(right=proba.argmax(1) == labels))
    if not tables:
        raise GenrecoreError("One of the two splits has no finished folds.")
    table = pd.concat(tables, ignore_index=True)
    if not table["clip_id"].is_unique:
        raise GenrecoreError("A clip is tested by several of these runs; give one run a fold.")
    return table.set_index("clip_id").sort_index()
