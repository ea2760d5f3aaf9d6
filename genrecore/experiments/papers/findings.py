"""What our runs say beside what a study prints: values, intervals, verdicts, the gap between both
protocols."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan, sqrt
from typing import Any

import numpy as np
import pandas as pd

from genrecore.data import clips as clip_tables
from genrecore.evaluation import metrics
from genrecore.evaluation.bootstrap import NOTHING, Interval
from genrecore.experiments.papers.printed import MEASURES, SHARES, Printed
from genrecore.experiments.papers.runs import RunsOfStudy
from genrecore.experiments.papers.study import PROTOCOLS, Study
from genrecore.store.run import Run

VERDICTS = ("reproduced", "above", "below", "not run", "rehearsal")
_ACCURACIES = ("test_accuracy", "valid_accuracy", "accuracy")
_N_RESAMPLES = 2_000
_AT_ONCE = 250  # resamples: their counts take a few megabytes
_Z = 1.96


@dataclass(frozen=True)
class Ours:
    """What runs of one system have measured.

    Attributes:
        value: The mean over the runs (of a time the median); nan where nothing was measured.
        low: Lower end of its 95 % interval, clips of one artist and runs drawn together; of epochs
            and minutes the least of the runs.
        high: Upper end, or the most.
        error: Standard error; nan for what has no interval.
        n_runs: Runs that it is of.
        shows: What it measures, in words.
    """

    value: float
    low: float
    high: float
    error: float
    n_runs: int
    shows: str


@dataclass(frozen=True)
class Cell:
    """A printed number with ours beside it.

    Attributes:
        printed: The number.
        protocol: Under which ours was measured.
        ours: Ours.
        verdict: One of `VERDICTS`, or empty where the two are not compared.
    """

    printed: Printed
    protocol: str
    ours: Ours
    verdict: str


@dataclass(frozen=True)
class ProtocolGap:
    """A system under both protocols.

    Attributes:
        system: A row or choice.
        title: For people.
        printed: What the study prints, as a share; nan where it prints nothing.
        published: Ours, measured as the study did.
        honest: Ours, on test clips that took no part in any choice.
    """

    system: str
    title: str
    printed: float
    published: Ours
    honest: Ours

    @property
    def difference(self) -> Interval:
        """As published minus honest; the two are of different clips, so errors add up."""
        value = self.published.value - self.honest.value
        error = sqrt(self.published.error**2 + self.honest.error**2)
        return Interval(value, value - _Z * error, value + _Z * error, error)


def runs_of(study: Study, runs: RunsOfStudy, system: str, protocol: str) -> list[Run]:
    """The finished runs of a row; of a choice, for each seed the run that it chooses.

    As published, a choice looks at the clips at which the study looked; honestly, at the validation
    clips. Seeds that not all of its rows have are left out.
    """
    choice = next((choice for choice in study.choices if choice.name == system), None)
    if choice is None:
        return runs.of_row(system, protocol)
    split = choice.by if protocol == "published" else "valid"
    rows = [runs.done.get((row, protocol), {}) for row in choice.among]
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in rows))) if rows else []
    return [
        max((by_seed[seed] for by_seed in rows), key=lambda run: _accuracy(run, split))
        for seed in seeds
    ]


def chosen_rows(study: Study, runs: RunsOfStudy, system: str, protocol: str) -> list[str]:
    """Which row a choice took for each seed."""
    chosen = {run.run_id for run in runs_of(study, runs, system, protocol)}
    return [
        row
        for row in study.rows_of(system)
        for run in runs.of_row(row, protocol)
        if run.run_id in chosen
    ]


def _accuracy(run: Run, split: str) -> float:
    predictions = run.predictions
    return nan if predictions is None else metrics.scores(predictions, split=split)["accuracy"]


def measure(runs: Sequence[Run], what: str, protocol: str, genre: str = "") -> Ours:
    """What these runs have measured of one thing.

    The honest protocol measures accuracies on test clips whatever the study measured them on.

    Args:
        runs: Of one system.
        what: A key of `MEASURES`.
        protocol: A key of `PROTOCOLS`.
        genre: Of a recall.
    """
    if what in SHARES and what != "train_accuracy":
        split = "valid" if what == "valid_accuracy" and protocol == "published" else "test"
        accuracy, n_runs = _accuracy_of_all(runs, split, genre)
        shows = f"{'validation' if split == 'valid' else 'test'} accuracy"
        shows = f"test recall of {genre}" if what == "recall" else shows
        return Ours(accuracy.value, accuracy.low, accuracy.high, accuracy.error, n_runs, shows)
    values = [value for run in runs if not isnan(value := _number(run, what))]
    if not values:
        return Ours(nan, nan, nan, nan, 0, MEASURES[what])
    middle = statistics.median(values) if what == "minutes" else statistics.fmean(values)
    return Ours(middle, min(values), max(values), nan, len(values), MEASURES[what])


def _number(run: Run, what: str) -> float:
    if what == "minutes":
        return run.worked_s / 60
    if what == "parameters":
        return float(run.status.get("n_parameters") or nan)
    best_epoch = run.status.get("best_epoch")
    if what == "best_epoch" or best_epoch is None:
        return nan if best_epoch is None else float(best_epoch)
    history = run.history
    if "train_accuracy" not in history:
        return nan
    best = history.loc[history["epoch"] == best_epoch, "train_accuracy"]
    return float(best.iloc[0]) if len(best) else nan


def _accuracy_of_all(runs: Sequence[Run], split: str, genre: str) -> tuple[Interval, int]:
    """The mean accuracy of runs with its interval, on clips of a genre only where one is named."""
    right: list[pd.Series] = []
    artists: dict[str, str] = {}
    for run in runs:
        predictions, clips = run.predictions, run.clips
        if predictions is None:
            continue
        table = predictions[predictions["split"] == split]
        if genre:
            table = table[table["genre"].map(_letters) == _letters(genre)]
        if table.empty:
            continue
        labels, proba = metrics.as_arrays(table, metrics.genres_in(predictions))
        right.append(pd.Series(proba.argmax(axis=1) == labels, index=table["clip_id"]))
        if clips is not None:
            known = clips.dropna(subset=["artist"])
            names = clip_tables.same_names(known["artist"])
            artists |= dict(zip(known["clip_id"], names, strict=True))
    return interval(right, artists), len(right)


def _letters(genre: str) -> str:
    return "".join(letter for letter in str(genre).lower() if letter.isalnum())


def interval(right: Sequence[pd.Series], artists: Mapping[str, str]) -> Interval:
    """The mean accuracy of runs of one system and its 95 % interval.

    The pigeonhole bootstrap of `evaluation.bootstrap` (artists and runs are drawn, each for
    itself), for runs that need not have been tested on the same clips.

    Args:
        right: For each run whether it is right, by clip_id.
        artists: The artist of each clip where one is known; other clips stand for themselves.
    """
    if not right:
        return NOTHING
    clips = sorted(set().union(*(set(rows.index) for rows in right)))
    _, member = np.unique([artists.get(clip, f"\0{clip}") for clip in clips], return_inverse=True)
    n_groups = int(member.max()) + 1
    group = dict(zip(clips, member, strict=True))
    sums, sizes = [], []
    for rows in right:
        groups = np.array([group[clip] for clip in rows.index])
        sums.append(np.bincount(groups, weights=rows.to_numpy(dtype=float), minlength=n_groups))
        sizes.append(np.bincount(groups, minlength=n_groups).astype(float))
    n_right, n_tested = np.stack(sums, axis=1), np.stack(sizes, axis=1)  # (groups, runs)
    value = float((n_right.sum(axis=0) / n_tested.sum(axis=0)).mean())
    generator, n = np.random.default_rng(0), len(right)
    draws = []
    for _ in range(_N_RESAMPLES // _AT_ONCE):
        drawn = generator.integers(0, n_groups, (_AT_ONCE, n_groups))
        drawn += np.arange(_AT_ONCE)[:, None] * n_groups
        counts = np.bincount(drawn.ravel(), minlength=_AT_ONCE * n_groups)
        counts = counts.reshape(_AT_ONCE, n_groups).astype(float)
        with np.errstate(invalid="ignore"):
            shares = (counts @ n_right) / (counts @ n_tested)  # (resamples, runs)
        mean = np.nanmean(shares, axis=1)
        if n > 1:  # as in `evaluation.bootstrap`: few runs spread their mean too little
            picked = generator.integers(0, n, shares.shape)
            deviation = np.nanmean(np.take_along_axis(shares, picked, axis=1), axis=1) - mean
            mean = mean + sqrt(n / (n - 1)) * deviation
        draws.append(mean)
    means = np.concatenate(draws)
    low, high = np.nanpercentile(means, [2.5, 97.5])
    return Interval(value, float(low), float(high), float(np.nanstd(means, ddof=1)))


def verdict(study: Study, printed: Printed, ours: Ours, rehearsal: bool) -> str:
    """Whether ours agrees with a printed number.

    `reproduced` where the two differ by no more than chance explains: 1.96 standard errors of the
    difference, of which the printed number has its own, the binomial one of the clips that it was
    measured on; where it is not said how many these are, where it lies within our interval.
    Numbers other than shares of clips, and those of training clips, have no verdict.
    """
    if not ours.n_runs:
        return "not run"
    if rehearsal:
        return "rehearsal"
    theirs = printed.value
    if printed.measure not in SHARES or isnan(ours.error) or isnan(theirs):
        return ""
    measured = study.measured.get(printed.measure)
    if measured is None:
        agrees = ours.low <= theirs <= ours.high
    else:
        error = sqrt(theirs * (1 - theirs) / measured.n_clips)
        agrees = abs(ours.value - theirs) <= _Z * sqrt(ours.error**2 + error**2)
    if agrees:
        return "reproduced"
    return "above" if ours.value > theirs else "below"


def cells(study: Study, runs: RunsOfStudy, rehearsal: bool = False) -> list[Cell]:
    """Every printed number that a system has, with ours under each protocol."""
    measured: dict[tuple[str, ...], Ours] = {}
    all_cells = []
    for printed in study.numbers:
        if not printed.measure or not printed.system:
            continue
        for protocol in PROTOCOLS:
            key = (printed.system, printed.measure, protocol, printed.genre)
            if key not in measured:
                of_system = runs_of(study, runs, printed.system, protocol)
                measured[key] = measure(of_system, printed.measure, protocol, printed.genre)
            word = verdict(study, printed, measured[key], rehearsal)
            all_cells.append(
                Cell(printed, protocol, measured[key], "" if printed.missing else word)
            )
    return all_cells


def gaps(study: Study, runs: RunsOfStudy, all_cells: Sequence[Cell]) -> list[ProtocolGap]:
    """Systems that were run under both protocols, in the order of the study.

    Of several printed accuracies of a system the one on test clips counts, else the first; a system
    without one is measured on test clips.

    Args:
        study: The study.
        runs: Its runs.
        all_cells: What `cells` returned for them.
    """
    accuracies = [
        cell
        for cell in all_cells
        if cell.printed.measure in _ACCURACIES and not cell.printed.missing and cell.ours.n_runs
    ]
    by_system: dict[tuple[str, str], Cell] = {}
    for cell in sorted(accuracies, key=lambda cell: _ACCURACIES.index(cell.printed.measure)):
        by_system.setdefault((cell.printed.system, cell.protocol), cell)
    both = []
    for system, title in study.systems.items():
        published, honest = (by_system.get((system, protocol)) for protocol in PROTOCOLS)
        if published is not None and honest is not None:
            printed = published.printed.value
            both.append(ProtocolGap(system, title, printed, published.ours, honest.ours))
            continue
        of_system = {name: runs_of(study, runs, system, name) for name in PROTOCOLS}
        if all(of_system.values()):
            ours = [measure(of_system[name], "test_accuracy", name) for name in PROTOCOLS]
            both.append(ProtocolGap(system, title, nan, *ours))
    return both


def rows_table(study: Study, runs: RunsOfStudy) -> pd.DataFrame:
    """A row a system and protocol; accuracy is of test clips, nan where nothing was run.

    Columns: `system, title, protocol, runs, accuracy, low, high, valid_accuracy, best_epoch,
    minutes, badge, chosen`.
    """
    rows: list[dict[str, Any]] = []
    choices = {choice.name: choice.by for choice in study.choices}
    for system, title in study.systems.items():
        for protocol in PROTOCOLS:
            of_system = runs_of(study, runs, system, protocol)
            test = measure(of_system, "test_accuracy", protocol)
            badges = [next((run.badge for run in of_system if run.badge), "")]
            if of_system and protocol == "published" and choices.get(system) == "test":
                badges.append("Leak: chosen by the tested clips")
            chosen = chosen_rows(study, runs, system, protocol) if system in choices else []
            rows.append(
                {
                    "system": system,
                    "title": title,
                    "protocol": protocol,
                    "runs": len(of_system),
                    "accuracy": test.value,
                    "low": test.low,
                    "high": test.high,
                    "valid_accuracy": measure(of_system, "valid_accuracy", "published").value,
                    "best_epoch": measure(of_system, "best_epoch", protocol).value,
                    "minutes": measure(of_system, "minutes", protocol).value,
                    "badge": "; ".join(filter(None, badges)),
                    "chosen": ", ".join(
                        f"{chosen.count(row)} × {row}" for row in dict.fromkeys(chosen)
                    ),
                }
            )
    return pd.DataFrame(rows)


def devices(runs: RunsOfStudy) -> str:
    """On what our runs were trained, for people."""
    names = {
        str(run.environment.get("device_name") or run.environment.get("device") or "")
        for by_seed in runs.done.values()
        for run in by_seed.values()
    }
    return ", ".join(sorted(filter(None, names)))
