"""What our runs say beside what a study prints: values, intervals, verdicts, the gap.

Nothing here imports torch.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan, sqrt
from typing import Any

import numpy as np
import pandas as pd

from genrecore.data import clips as clip_tables
from genrecore.evaluation import metrics
from genrecore.evaluation.bootstrap import NOTHING, Interval
from genrecore.experiments.papers.printed import MEASURES, SHARES, Printed
from genrecore.experiments.papers.reading import PROTOCOLS, Study
from genrecore.experiments.papers.running import Found
from genrecore.store.run import Run

VERDICTS = ("reproduced", "above", "below", "not run", "rehearsal")
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
class Gap:
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


def runs_of(study: Study, there: Found, system: str, protocol: str) -> list[Run]:
    """The finished runs of a row; of a choice, for each seed the run that it chooses.

    As published a choice looks at the clips at which the study looked, honestly at the validation
    clips. Seeds that not all of its rows have are left out.
    """
    choice = next((one for one in study.choices if one.name == system), None)
    if choice is None:
        return there.of(system, protocol)
    by = choice.by if protocol == "published" else "valid"
    rows = [there.done.get((row, protocol), {}) for row in choice.among]
    seeds = sorted(set.intersection(*(set(row) for row in rows))) if rows else []
    return [max((row[seed] for row in rows), key=lambda run: _accuracy(run, by)) for seed in seeds]


def chosen_rows(study: Study, there: Found, system: str, protocol: str) -> list[str]:
    """Which row a choice took for each seed."""
    picked = {run.run_id for run in runs_of(study, there, system, protocol)}
    return [
        row
        for row in study.rows_of(system)
        for run in there.of(row, protocol)
        if run.run_id in picked
    ]


def _accuracy(run: Run, split: str) -> float:
    table = run.predictions
    return nan if table is None else metrics.scores(table, split=split)["accuracy"]


def measure(runs: Sequence[Run], what: str, protocol: str, genre: str = "") -> Ours:
    """What these runs have measured of one thing.

    The honest protocol measures accuracies on test clips whatever the study measured them on.

    Args:
        runs: Of one system.
        what: A key of `reading.MEASURES`.
        protocol: A key of `PROTOCOLS`.
        genre: Of a recall.
    """
    if what in SHARES and what != "train_accuracy":
        split = "valid" if what == "valid_accuracy" and protocol == "published" else "test"
        found, n_runs = _share(runs, split, genre)
        shows = f"{'validation' if split == 'valid' else 'test'} accuracy"
        shows = f"test recall of {genre}" if what == "recall" else shows
        return Ours(found.value, found.low, found.high, found.error, n_runs, shows)
    values = [one for one in (_number(run, what) for run in runs) if one == one]
    if not values:
        return Ours(nan, nan, nan, nan, 0, MEASURES[what])
    middle = statistics.median(values) if what == "minutes" else statistics.fmean(values)
    return Ours(middle, min(values), max(values), nan, len(values), MEASURES[what])


def _number(run: Run, what: str) -> float:
    if what == "minutes":
        return run.worked_s / 60
    if what == "parameters":
        return float(run.status.get("n_parameters") or nan)
    best = run.status.get("best_epoch")
    if what == "best_epoch" or best is None:
        return float(best if best is not None else nan)
    history = run.history
    at = history[history["epoch"] == best] if "train_accuracy" in history else history[:0]
    return float(at["train_accuracy"].iloc[0]) if len(at) else nan


def _share(runs: Sequence[Run], split: str, genre: str) -> tuple[Interval, int]:
    tables = []
    artists: dict[str, str] = {}
    for run in runs:
        table, clips = run.predictions, run.clips
        if table is None:
            continue
        part = table[table["split"] == split]
        if genre:
            part = part[part["genre"].map(_plain) == _plain(genre)]
        if part.empty:
            continue
        genre_index, proba = metrics.as_arrays(part, metrics.genres_in(table))
        tables.append(pd.Series(proba.argmax(axis=1) == genre_index, index=part["clip_id"]))
        if clips is not None:
            known = clips.dropna(subset=["artist"])
            artists |= dict(
                zip(known["clip_id"], clip_tables.same_names(known["artist"]), strict=True)
            )
    return interval(tables, artists), len(tables)


def _plain(genre: str) -> str:
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
    _, member = np.unique([artists.get(c, f"\0{c}") for c in clips], return_inverse=True)
    n_groups = int(member.max()) + 1
    group = dict(zip(clips, member, strict=True))
    sums, sizes = [], []
    for rows in right:
        of_clip = np.array([group[clip] for clip in rows.index])
        weights = rows.to_numpy(dtype=float)
        sums.append(np.bincount(of_clip, weights=weights, minlength=n_groups))
        sizes.append(np.bincount(of_clip, minlength=n_groups).astype(float))
    right_of, size_of = np.stack(sums, axis=1), np.stack(sizes, axis=1)  # (groups, runs)
    value = float((right_of.sum(axis=0) / size_of.sum(axis=0)).mean())
    generator, n = np.random.default_rng(0), len(right)
    draws = []
    for _ in range(_N_RESAMPLES // _AT_ONCE):
        drawn = generator.integers(0, n_groups, (_AT_ONCE, n_groups))
        drawn += np.arange(_AT_ONCE)[:, None] * n_groups
        counts = np.bincount(drawn.ravel(), minlength=_AT_ONCE * n_groups)
        counts = counts.reshape(_AT_ONCE, n_groups).astype(float)
        with np.errstate(invalid="ignore"):
            shares = (counts @ right_of) / (counts @ size_of)  # (resamples, runs)
        mean = np.nanmean(shares, axis=1)
        if n > 1:  # as `resampling`: few runs spread their mean too little
            picked = generator.integers(0, n, shares.shape)
            deviation = np.nanmean(np.take_along_axis(shares, picked, axis=1), axis=1) - mean
            mean = mean + sqrt(n / (n - 1)) * deviation
        draws.append(mean)
    all_draws = np.concatenate(draws)
    low, high = np.nanpercentile(all_draws, [2.5, 97.5])
    return Interval(value, float(low), float(high), float(np.nanstd(all_draws, ddof=1)))


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
    if printed.measure not in SHARES or ours.error != ours.error or theirs != theirs:
        return ""
    at = study.measured.get(printed.measure)
    if at is None:
        near = ours.low <= theirs <= ours.high
    else:
        own = sqrt(theirs * (1 - theirs) / at.n_clips)
        near = abs(ours.value - theirs) <= _Z * sqrt(ours.error**2 + own**2)
    if near:
        return "reproduced"
    return "above" if ours.value > theirs else "below"


def cells(study: Study, there: Found, rehearsal: bool = False) -> list[Cell]:
    """Every printed number that a system has, with ours under each protocol."""
    known: dict[tuple[str, ...], Ours] = {}
    found = []
    for printed in study.printed:
        if not printed.measure or not printed.system:
            continue
        for protocol in PROTOCOLS:
            key = (printed.system, printed.measure, protocol, printed.genre)
            if key not in known:
                runs = runs_of(study, there, printed.system, protocol)
                known[key] = measure(runs, printed.measure, protocol, printed.genre)
            word = verdict(study, printed, known[key], rehearsal)
            found.append(Cell(printed, protocol, known[key], "" if printed.missing else word))
    return found


def gaps(study: Study, there: Found, all_cells: Sequence[Cell]) -> list[Gap]:
    """Systems that were run under both protocols, in the order of the study.

    Of several printed accuracies of a system the one on test clips counts, else the first; a system
    without one is measured on test clips.

    Args:
        study: The study.
        there: Its runs.
        all_cells: What `cells` gave for them.
    """
    wanted = ("test_accuracy", "valid_accuracy", "accuracy")
    accuracies = [
        one
        for one in all_cells
        if one.printed.measure in wanted and not one.printed.missing and one.ours.n_runs
    ]
    by_system: dict[tuple[str, str], Cell] = {}
    for cell in sorted(accuracies, key=lambda one: wanted.index(one.printed.measure)):
        by_system.setdefault((cell.printed.system, cell.protocol), cell)
    found = []
    for system, title in study.systems.items():
        printed, honest = (by_system.get((system, one)) for one in PROTOCOLS)
        if printed is not None and honest is not None:
            found.append(Gap(system, title, printed.printed.value, printed.ours, honest.ours))
            continue
        runs = {one: runs_of(study, there, system, one) for one in PROTOCOLS}
        if all(runs.values()):
            both = (measure(runs[one], "test_accuracy", one) for one in PROTOCOLS)
            found.append(Gap(system, title, nan, *both))
    return found


def rows_table(study: Study, there: Found) -> pd.DataFrame:
    """A row a system and protocol; accuracy is of test clips, nan where nothing was run.

    Columns: `system, title, protocol, runs, accuracy, low, high, valid_accuracy, best_epoch,
    minutes, badge, chosen`.
    """
    rows: list[dict[str, Any]] = []
    choices = {one.name: one.by for one in study.choices}
    for name, title in study.systems.items():
        for protocol in PROTOCOLS:
            runs = runs_of(study, there, name, protocol)
            test = measure(runs, "test_accuracy", protocol)
            valid = measure(runs, "valid_accuracy", "published")
            badge = next((run.badge for run in runs if run.badge), "")
            flattered = runs and protocol == "published" and choices.get(name) == "test"
            by_test = "Leak: chosen by the tested clips" if flattered else ""
            chosen = chosen_rows(study, there, name, protocol) if name in choices else []
            rows.append(
                {
                    "system": name,
                    "title": title,
                    "protocol": protocol,
                    "runs": len(runs),
                    "accuracy": test.value,
                    "low": test.low,
                    "high": test.high,
                    "valid_accuracy": valid.value,
                    "best_epoch": measure(runs, "best_epoch", protocol).value,
                    "minutes": measure(runs, "minutes", protocol).value,
                    "badge": "; ".join(part for part in (badge, by_test) if part),
                    "chosen": ", ".join(
                        f"{chosen.count(row)} × {row}" for row in dict.fromkeys(chosen)
                    ),
                }
            )
    return pd.DataFrame(rows)


def devices_of(study: Study, there: Found) -> str:
    """On what our runs were trained, for people."""
    names = {
        str(run.environment.get("device_name") or run.environment.get("device") or "")
        for by_seed in there.done.values()
        for run in by_seed.values()
    }
    return ", ".join(sorted(name for name in names if name))
