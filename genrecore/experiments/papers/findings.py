"""Our runs beside what a study prints: values, intervals, verdicts, the gap between protocols."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isnan, nan, sqrt
from typing import Any

import numpy as np
import pandas as pd

from genrecore.data.clips import genres_of
from genrecore.evaluation import clustered, metrics
from genrecore.evaluation.clustered import NOTHING, Interval
from genrecore.evaluation.same_clips import same_clips
from genrecore.evaluation.scores import with_artists
from genrecore.experiments.papers.printed import MEASURES, SHARES, Printed, epochs_in_words
from genrecore.experiments.papers.recipes import RunsOfStudy
from genrecore.experiments.papers.study import PROTOCOLS, Study
from genrecore.store.run import Run
from genrecore.store.runs import each_readable

VERDICTS = ("reproduced", "above", "below", "another measure", "not run", "rehearsal")
_ACCURACIES = ("test_accuracy", "valid_accuracy", "accuracy")


@dataclass(frozen=True)
class Ours:
    """A result of our runs of one system.

    Attributes:
        value: The accuracy over the runs, the median of times, else the mean; nan without any.
        low: Lower end of its 95 % interval; for numbers other than
            accuracies the smallest of the runs.
        high: Upper end, or the largest.
        error: Standard error; nan without an interval.
        n_runs: Number of runs.
        shows: What was measured, for people.
        freedom: Degrees of freedom of the standard error.
        split: Of an accuracy, `valid` or `test`: the clips that it is of.
    """

    value: float
    low: float
    high: float
    error: float
    n_runs: int
    shows: str
    freedom: float = inf
    split: str = ""


@dataclass(frozen=True)
class Cell:
    """A printed number beside ours under a protocol.

    `verdict` is one of `VERDICTS`, or empty where the two are not compared.
    """

    printed: Printed
    protocol: str
    ours: Ours
    verdict: str


@dataclass(frozen=True)
class ProtocolGap:
    """A row or choice under both protocols.

    Attributes:
        printed: What the study prints, as a share; nan where it prints nothing.
        published: Ours, measured as the study did.
        honest: Ours, on test clips that no choice used.
    """

    system: str
    title: str
    printed: float
    published: Ours
    honest: Ours

    @property
    def difference(self) -> Interval:
        """As published minus honest; the clips differ, so the two errors are independent."""
        value = self.published.value - self.honest.value
        parts = [(ours.error, ours.freedom) for ours in (self.published, self.honest)]
        return clustered.independent(value, parts)


def runs_of(study: Study, runs: RunsOfStudy, system: str, protocol: str) -> list[Run]:
    """The finished runs of a row; of a choice, for each seed the run that it chooses.

    As published, a choice uses the clips that the study used; under the honest protocol, the
    validation clips. Seeds that some of its rows lack are left out.
    """
    return list(_by_row(study, runs, system, protocol).values())


def _by_row(
    study: Study, runs: RunsOfStudy, system: str, protocol: str
) -> dict[tuple[int, str], Run]:
    """The same by seed and row."""
    rows = {row: _readable(runs.done.get((row, protocol), {})) for row in study.rows_of(system)}
    choice = study.choice(system)
    split = choice.by if choice and protocol == "published" else "valid"
    chosen = {}
    for seed in sorted(set.intersection(*(set(by_seed) for by_seed in rows.values()))):
        row = max(rows, key=lambda row: _accuracy(rows[row][seed], split)) if choice else system
        chosen[seed, row] = rows[row][seed]
    return chosen


def _readable(by_seed: Mapping[int, Run]) -> dict[int, Run]:
    """Without runs that only reading their tables finds damaged."""
    seeds = {run.run_id: seed for seed, run in by_seed.items()}
    runs = each_readable(by_seed.values(), lambda run: run.tables)
    return {seeds[run.run_id]: run for run, _ in runs}


def _accuracy(run: Run, split: str) -> float:
    predictions = run.predictions
    return nan if predictions is None else metrics.scores(predictions, split=split)["accuracy"]


def measure(
    runs: Sequence[Run],
    quantity: str,
    protocol: str,
    genre: str = "",
    epochs: tuple[int, int] | None = None,
) -> Ours:
    """A quantity over the runs of one system.

    The honest protocol measures accuracies on test clips, whatever clips the study took. What is of
    epochs is measured on validation clips: a run predicts no others during training.

    Args:
        runs: The runs.
        quantity: A key of `MEASURES`.
        protocol: A key of `PROTOCOLS`.
        genre: The genre of a recall.
        epochs: The first and the last epoch of which the mean is taken.
    """
    if epochs is not None:
        return _during_training(runs, epochs)
    if quantity in SHARES and quantity != "train_accuracy":
        split = "valid" if quantity == "valid_accuracy" and protocol == "published" else "test"
        accuracy, n_runs = _accuracy_of_all(runs, split, genre)
        shows = f"{'validation' if split == 'valid' else 'test'} accuracy"
        shows = f"test recall of {genre}" if quantity == "recall" else shows
        ends = accuracy.low, accuracy.high, accuracy.error
        return Ours(accuracy.value, *ends, n_runs, shows, accuracy.freedom, split)
    values = [value for run in runs if not isnan(value := _number(run, quantity))]
    if not values:
        return Ours(nan, nan, nan, nan, 0, MEASURES[quantity])
    middle = statistics.median(values) if quantity == "minutes" else statistics.fmean(values)
    return Ours(middle, min(values), max(values), nan, len(values), MEASURES[quantity])


def _during_training(runs: Sequence[Run], epochs: tuple[int, int]) -> Ours:
    """The mean accuracy of epochs on the validation clips, of runs that reached the last one."""
    first, last = epochs
    tables, same = [], same_clips(runs)
    for run in runs:
        clips, predicted = run.clips, run.epoch_predictions
        if clips is None or len(predicted) < last:
            continue
        table = clips.loc[clips["split"] == "valid", ["clip_id", "genre"]].reset_index(drop=True)
        genres = np.array(genres_of(clips), dtype=object)
        right = genres[predicted[first - 1 : last]] == table["genre"].to_numpy()
        table = with_artists(table.assign(right=right.mean(axis=0)), run)
        tables.append(same.named(table, run))
    shows = f"validation accuracy in {epochs_in_words(epochs)}"
    accuracy = _interval([table.set_index("clip_id")["right"] for table in tables], tables)
    ends = accuracy.low, accuracy.high, accuracy.error
    return Ours(accuracy.value, *ends, len(tables), shows, accuracy.freedom, "valid")


def _number(run: Run, quantity: str) -> float:
    if quantity == "minutes":
        return run.worked_s / 60
    if quantity == "parameters":
        return float(run.status.get("n_parameters") or nan)
    best_epoch = float(run.status.get("best_epoch") or nan)
    history = run.history
    if quantity == "best_epoch" or "train_accuracy" not in history:
        return best_epoch if quantity == "best_epoch" else nan
    return float(history.loc[history["epoch"] == best_epoch, "train_accuracy"].mean())


def _accuracy_of_all(runs: Sequence[Run], split: str, genre: str) -> tuple[Interval, int]:
    """The mean accuracy of runs with its interval, on clips of a genre only where one is named."""
    tables, same = [], same_clips(runs)
    for run in runs:
        if run.predictions is None:
            continue
        table = with_artists(run.predictions[run.predictions["split"] == split], run)
        table = same.named(table, run)
        if genre:
            table = table[table["genre"].map(letters) == letters(genre)]
        if len(table):
            tables.append(table)
    return interval(tables), len(tables)


def letters(genre: str) -> str:
    """A genre's name as studies may write it otherwise: its small letters and digits alone."""
    return "".join(letter for letter in str(genre).lower() if letter.isalnum())


def interval(tables: Sequence[pd.DataFrame]) -> Interval:
    """The accuracy of runs of one system, whose test clips may differ, and its 95 % interval.

    Args:
        tables: The predictions of each run, as `with_artists` completes them, with the same names
            for the same clips (`same_clips`).
    """
    if not tables:
        return NOTHING
    right = []
    for table in tables:
        labels, proba = metrics.as_arrays(table, metrics.genres_in(table))
        right.append(pd.Series(proba.argmax(axis=1) == labels, index=table["clip_id"]))
    return _interval(right, tables)


def _interval(right: Sequence[pd.Series], tables: Sequence[pd.DataFrame]) -> Interval:
    """The same of the share of each clip that is right, by `clip_id`."""
    if not tables:
        return NOTHING
    joined = pd.concat(right, axis=1).astype(float)  # (clips, runs), nan where a run did not test
    clips = pd.concat(tables).drop_duplicates("clip_id").set_index("clip_id").loc[joined.index]
    return clustered.accuracy(joined.to_numpy().T, clustered.artist_groups(clips.reset_index()))


def is_alike(study: Study, printed: Printed, ours: Ours, protocol: str) -> bool:
    """Whether ours is measured on clips of the same kind as a printed accuracy."""
    wanted = {"valid_accuracy": "valid", "test_accuracy": "test", "recall": "test"}
    if ours.split != wanted.get(printed.measure, ours.split):
        return False
    groups = {study.row(row).group for row in study.rows_of(printed.system)}
    return protocol == "published" or (
        printed.measure in wanted and all(map(study.same_split, groups))
    )


def verdict(study: Study, printed: Printed, ours: Ours, protocol: str, rehearsal: bool) -> str:
    """Whether ours agrees with a printed number.

    `reproduced` where the 95 % interval of the difference (`clustered.independent`) holds 0; the
    printed number has the binomial error of the clips that it was measured on. Where the study does
    not say how many these are, the number must lie within our interval. A bound is reproduced
    unless all of our interval lies on its other side. Accuracies on training clips, and numbers
    other than shares of clips, have no verdict.

    Like is compared with like only: validation clips with validation clips, test with test, under
    a split of the same kind; else ours is `another measure`. Where the study does not say which
    clips it measured, the protocol as published stands for it.
    """
    if not ours.n_runs:
        return "not run"
    if rehearsal:
        return "rehearsal"
    share = printed.value
    if printed.measure not in SHARES or isnan(ours.error) or isnan(share):
        return ""
    if not is_alike(study, printed, ours, protocol):
        return "another measure"
    if printed.bound:
        reaches = ours.high >= share if printed.bound == "over" else ours.low <= share
        missed = "below" if printed.bound == "over" else "above"
        return "reproduced" if reaches else missed
    measured = study.measured.get(printed.measure)
    if measured is None:
        agrees = ours.low <= share <= ours.high
    else:
        error = sqrt(share * (1 - share) / measured.n_clips)
        parts = [(ours.error, ours.freedom), (error, inf)]
        gap = clustered.independent(ours.value - share, parts)
        agrees = gap.low <= 0 <= gap.high
    if agrees:
        return "reproduced"
    return "above" if ours.value > share else "below"


def cells(study: Study, runs: RunsOfStudy, rehearsal: bool = False) -> list[Cell]:
    """Every printed number that a system has, with ours under each protocol."""
    measured: dict[tuple[Any, ...], Ours] = {}
    all_cells = []
    for printed in study.numbers:
        if not printed.measure or not printed.system:
            continue
        for protocol in PROTOCOLS:
            key = (printed.system, printed.measure, protocol, printed.genre, printed.epochs)
            if key not in measured:
                system_runs = runs_of(study, runs, printed.system, protocol)
                quantity, genre, epochs = printed.measure, printed.genre, printed.epochs
                measured[key] = measure(system_runs, quantity, protocol, genre, epochs)
            ours = measured[key]
            word = "" if printed.missing else verdict(study, printed, ours, protocol, rehearsal)
            all_cells.append(Cell(printed, protocol, ours, word))
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
        if cell.printed.measure in _ACCURACIES
        and cell.ours.n_runs
        and not (cell.printed.missing or cell.printed.epochs)
    ]
    by_system: dict[tuple[str, str], Cell] = {}
    for cell in sorted(accuracies, key=lambda cell: _ACCURACIES.index(cell.printed.measure)):
        by_system.setdefault((cell.printed.system, cell.protocol), cell)
    both = []
    for system, title in study.systems.items():
        pair = [by_system.get((system, protocol)) for protocol in PROTOCOLS]
        if pair[0] is not None and pair[1] is not None:
            printed, ours = pair[0].printed.value, [pair[0].ours, pair[1].ours]
        else:
            printed, ours = (
                nan,
                [
                    measure(runs_of(study, runs, system, protocol), "test_accuracy", protocol)
                    for protocol in PROTOCOLS
                ],
            )
        if ours[0].n_runs and ours[1].n_runs:
            both.append(ProtocolGap(system, title, printed, *ours))
    return both


def rows_table(study: Study, runs: RunsOfStudy) -> pd.DataFrame:
    """One row a system and protocol; accuracies on test clips, nan where nothing was run.

    Columns: `system, title, protocol, runs, accuracy, low, high, valid_accuracy, best_epoch,
    minutes, badge, chosen`.
    """
    rows: list[dict[str, Any]] = []
    for system, title in study.systems.items():
        choice = study.choice(system)
        for protocol in PROTOCOLS:
            by_row = _by_row(study, runs, system, protocol)
            system_runs = list(by_row.values())
            test = measure(system_runs, "test_accuracy", protocol)
            badges = [next((run.badge for run in system_runs if run.badge), "")]
            if system_runs and protocol == "published" and choice and choice.by == "test":
                badges.append("Leak: chosen by the tested clips")
            chosen = Counter(row for _, row in by_row) if choice else Counter()
            rows.append(
                {
                    "system": system,
                    "title": title,
                    "protocol": protocol,
                    "runs": len(system_runs),
                    "accuracy": test.value,
                    "low": test.low,
                    "high": test.high,
                    "valid_accuracy": measure(system_runs, "valid_accuracy", "published").value,
                    "best_epoch": measure(system_runs, "best_epoch", protocol).value,
                    "minutes": measure(system_runs, "minutes", protocol).value,
                    "badge": "; ".join(filter(None, badges)),
                    "chosen": ", ".join(
                        f"{chosen[row]} × {row}" for row in study.rows_of(system) if chosen[row]
                    ),
                }
            )
    return pd.DataFrame(rows)


def devices(runs: RunsOfStudy) -> str:
    """The devices on which our runs were trained, for people."""
    names = {
        str(run.environment.get("device_name") or run.environment.get("device") or "")
        for by_seed in runs.done.values()
        for run in by_seed.values()
    }
    return ", ".join(sorted(filter(None, names)))
