"""Runs or systems compared on their test clips: scores, pairs, genres, confusions, curves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import pandas as pd

from genrecore.data import splits
from genrecore.errors import GenrecoreError
from genrecore.evaluation import differences, metrics, pairwise, selective, verdicts
from genrecore.evaluation.clustered import NOTHING, Interval
from genrecore.evaluation.curves import read_curves
from genrecore.evaluation.metrics import METRICS
from genrecore.evaluation.pairwise import Side
from genrecore.evaluation.same_clips import same_clips
from genrecore.evaluation.scores import read_test_predictions, score_columns, score_row
from genrecore.evaluation.selective import with_confidence
from genrecore.store.run import MARKS, Run
from genrecore.words import listed, plural, thousands


@dataclass(frozen=True)
class Comparison:
    """Runs, or systems of several runs, compared on their test clips.

    A run's key is its id, a system's its signature; tables name it `run_id`.

    Attributes:
        runs: The compared runs; of a system all its runs.
        titles: Title by key.
        table: One row a key, with the columns of a leaderboard; `n_runs`; `seed_low, seed_high`:
            the lowest and the highest accuracy of its runs.
        notes: Sentences to read first: differing test clips, datasets or splits, leaks.
        pairs: One row a pair: `run_a, run_b, title_a, title_b, n_clips`; how many clips both, only
            a, only b, neither recognised (`both, only_a, only_b, neither`, of systems the mean over
            their runs); `difference, low, high, error`: a minus b as shares, 95 % interval and
            standard error; `p` of the hypothesis that they are equally good, and `p_holm`,
            adjusted for all pairs; of two runs `p_mcnemar` (mid-p), which takes all clips for
            independent; `verdict, better, resolved, sentence` as `verdicts.judge` says; what
            `selective.judge_areas` adds.
        per_genre: `run_id, title, genre, n_clips, recall, recall_low, recall_high, precision, f1`.
        confusions: Labelled × predicted counts by key; of systems the sum over their runs.
        calibration: `run_id, title` and the columns of `metrics.reliability`.
        risk_coverage: `run_id, title` and the columns of `selective.risk_coverage`.
        areas: `run_id, title`, `area, area_low, area_high` under that curve with its 95 % interval,
            and the same of the `normalised` one.
        dependence: As `differences.dependence`.
        curves: As `curves.read_curves`, of each run; `run_id` is the run's, `key` the system's.
        shared: The clips that all were tested on, sorted.
        n_tested: How many clips any of them was tested on.
        band: Smaller differences (a share) make no difference in practice.
    """

    runs: list[Run]
    titles: dict[str, str]
    table: pd.DataFrame
    notes: list[str]
    pairs: pd.DataFrame
    per_genre: pd.DataFrame
    confusions: dict[str, pd.DataFrame]
    calibration: pd.DataFrame
    risk_coverage: pd.DataFrame
    areas: pd.DataFrame
    dependence: pd.DataFrame
    curves: pd.DataFrame
    shared: list[str]
    n_tested: int
    band: float

    @property
    def differ(self) -> bool:
        """Whether they were tested on different clips."""
        return len(self.shared) < self.n_tested

    @property
    def headline(self) -> str:
        """The outcome in a sentence, without statistics."""
        order = self.table.sort_values("accuracy", ascending=False, kind="stable")["run_id"]
        of_runs = set(self.titles) <= {run.run_id for run in self.runs}
        titles = [self.titles[str(key)] for key in order]
        return verdicts.headline(titles, self.pairs, "runs" if of_runs else "systems")

    @property
    def can_ask(self) -> bool:
        """Whether some pairs that share clips were not compared; `on_shared` compares them."""
        return bool(((self.pairs["n_clips"] > 0) & self.pairs["difference"].isna()).any())


def compare(runs: list[Run], band: float = verdicts.BAND, on_shared: bool = False) -> Comparison:
    """Compares two or more tested runs.

    Args:
        runs: The runs.
        band: Smaller differences (a share) make no difference in practice.
        on_shared: Whether runs that were tested on different clips are compared on the clips that
            all share; otherwise such pairs are not compared, and their sentence says so.

    Raises:
        GenrecoreError: Fewer than two runs, the same run twice, or a run without test predictions.
    """
    if len(runs) < 2:
        raise GenrecoreError(f"A comparison needs at least two runs; found {len(runs)}.")
    if len({run.run_id for run in runs}) < len(runs):
        raise GenrecoreError("A run cannot be compared with itself; name each run once.")
    same = same_clips(runs)
    sides = [
        Side(
            run.run_id,
            title,
            (run,),
            (same.named(with_confidence(read_test_predictions(run), run), run),),
        )
        for run, title in zip(runs, distinct([run.title for run in runs]), strict=True)
    ]
    return compare_sides(sides, band, on_shared, same.notes)


def distinct(titles: Sequence[str]) -> list[str]:
    """The titles, made distinct: the second `cnn` becomes `cnn (2)`."""
    counts: Counter[str] = Counter()
    names = []
    for title in titles:
        counts[title] += 1
        names.append(title if counts[title] == 1 else f"{title} ({counts[title]})")
    return names


def compare_sides(
    sides: Sequence[Side],
    band: float = verdicts.BAND,
    on_shared: bool = False,
    notes: Sequence[str] = (),
) -> Comparison:
    """Compares two or more runs or systems.

    Args:
        sides: The runs or systems; their titles are distinct, and clips that are the same have
            one name in all tests (`same_clips`).
        band: As for `compare`.
        on_shared: As for `compare`.
        notes: Sentences that come before the other notes.
    """
    shared = frozenset.intersection(*(side.clips for side in sides))
    tested = frozenset().union(*(side.clips for side in sides))
    notes = [*notes, *_notes(sides, shared, on_shared)]
    is_cut = on_shared and bool(shared) and shared != tested
    if is_cut:
        sides = [side.on(shared) for side in sides]
    pairs = pairwise.judge_pairs(sides, band, on_shared)
    confusions = {side.key: metrics.confusion(*_pooled(side)) for side in sides}
    rows = [
        _side_row(side, interval, is_cut)
        for side, interval in zip(sides, pairs.accuracies, strict=True)
    ]
    more = ["n_runs", "seed_low", "seed_high"]
    return Comparison(
        runs=[run for side in sides for run in side.runs],
        titles={side.key: side.title for side in sides},
        table=pd.DataFrame(rows, columns=[*score_columns(), *more]),
        notes=notes,
        pairs=pairs.table,
        per_genre=_joined(_per_genre(side) for side in sides),
        confusions=confusions,
        calibration=_joined(_titled(side, metrics.reliability(*_pooled(side))) for side in sides),
        risk_coverage=_joined(_titled(side, _risk_coverage(side)) for side in sides),
        areas=_joined(_titled(side, _areas(side)) for side in sides),
        dependence=differences.dependence(sides),
        curves=_joined(
            read_curves(run).assign(key=side.key) for side in sides for run in side.runs
        ),
        shared=sorted(shared),
        n_tested=len(shared) if is_cut else len(tested),
        band=band,
    )


def _joined(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(list(tables), ignore_index=True)


def _titled(side: Side, table: pd.DataFrame) -> pd.DataFrame:
    table = table.copy()
    table.insert(0, "run_id", side.key)
    table.insert(1, "title", side.title)
    return table


def _side_row(side: Side, interval: Interval, is_cut: bool) -> dict[str, Any]:
    """A row of `Comparison.table`; `is_cut` says that the tests were cut to the shared clips."""
    rows = [score_row(run) for run in side.runs]
    row = rows[0]
    if is_cut or len(side.tests) > 1 or len(side.runs) > 1:
        tests = [metrics.scores(table) for table in side.tests]
        row |= {name: _mean(test[name] for test in tests) for name in METRICS}
        row |= {name: _mean(r[name] for r in rows) for name in ("train_s", "n_parameters")}
        best_epochs = {r["best_epoch"] for r in rows}
        row |= {
            "accuracy_low": interval.low,
            "accuracy_high": interval.high,
            "n_clips": len(side.clips),
            # A mean of epochs would mean nothing.
            "best_epoch": best_epochs.pop() if len(best_epochs) == 1 else None,
            "n_epochs": max((r["n_epochs"] or 0) for r in rows) or None,
            "created": max(r["created"] for r in rows),
            "marks": ", ".join(mark for mark in MARKS if any(mark in r["marks"] for r in rows)),
            "badge": "; ".join(_warnings(side).values()),
            "split": _in_short(r["split"] for r in rows),
            "split_title": _in_short(r["split_title"] for r in rows),
        }
        each = [test["accuracy"] for test in tests]
    else:
        each = [row["accuracy"]]
    return row | {
        "run_id": side.key,
        "title": side.title,
        "n_runs": len(side.tests),
        "seed_low": min(each, default=nan),
        "seed_high": max(each, default=nan),
    }


def _mean(values: Iterable[Any]) -> float:
    measured = [float(value) for value in values if value is not None and value == value]
    return sum(measured) / len(measured) if measured else nan


def _in_short(texts: Iterable[str]) -> str:
    distinct = list(dict.fromkeys(texts))
    return distinct[0] if len(distinct) == 1 else f"{distinct[0]} and {len(distinct) - 1} more"


def _pooled(side: Side) -> tuple[pd.DataFrame, list[str]]:
    """All tests of a side in one table, and their genres."""
    genres = list(dict.fromkeys(name for test in side.tests for name in metrics.genres_in(test)))
    table = side.tests[0] if len(side.tests) == 1 else pd.concat(side.tests, ignore_index=True)
    columns = [f"p_{genre}" for genre in genres]
    if set(columns) - set(side.tests[0].columns):  # a run without that genre gives it 0
        table = table.assign(**table[columns].where(table[columns].notna(), 0.0))
    return table, genres


def _per_genre(side: Side) -> pd.DataFrame:
    """`Comparison.per_genre` of one side."""
    table = metrics.per_genre(*_pooled(side))
    if len(side.tests) > 1:  # each clip counts once
        recalls = pairwise.recalls(side)
        table = table.drop(columns=recalls.columns).merge(
            recalls, left_on="genre", right_index=True, how="left"
        )
        table["n_clips"] = table["n_clips"].fillna(0).astype(int)
    columns = ["genre", "n_clips", "recall", "recall_low", "recall_high", "precision", "f1"]
    return _titled(side, table[columns])


def _risk_coverage(side: Side) -> pd.DataFrame:
    if not side.clips:
        return pd.DataFrame(columns=["coverage", "accuracy", "low", "high", "confidence"])
    clips = pd.Index(sorted(side.clips))
    confidence = side.matrix(clips, of="confidence")
    return selective.risk_coverage(side.matrix(clips), confidence, side.groups(clips))


def _areas(side: Side) -> pd.DataFrame:
    clips, row = pd.Index(sorted(side.clips)), dict[str, float]()
    for name in ("area", "normalised"):
        value = NOTHING
        if side.clips:
            value = selective.area(side.matrix(clips, of=name), side.groups(clips))
        row |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
    return pd.DataFrame([row])


_MOST_NAMES = 4  # in a note


def _notes(sides: Sequence[Side], shared: frozenset[str], on_shared: bool) -> list[str]:
    """Sentences to read before the numbers, the most serious first."""
    notes = []
    datasets = sorted({side.dataset for side in sides})
    if len(datasets) > 1:
        what = f", which share {plural(len(shared), 'test clip')}" if shared else ""
        notes.append(f"These runs come from different datasets: {', '.join(datasets)}{what}.")
    n_tested = len(frozenset().union(*(side.clips for side in sides)))
    if n_tested > len(shared):
        notes.append(_note_on_clips(len(shared), n_tested, on_shared))
    not_shared = {side.title: len(side.clips - shared) for side in sides}
    if any(not_shared.values()):
        counts = [f"{title} {thousands(n)}" for title, n in not_shared.items() if n]
        notes.append(f"Test clips that are not shared by all: {listed(counts, most=_MOST_NAMES)}.")
    notes += [
        f"{side.title}: {text}; {MARKS[mark]}."
        for side in sides
        for mark, text in _warnings(side).items()
    ]
    schemes = {side.runs[0].config.split.name: side.runs[0].config.split for side in sides}
    if len(schemes) > 1:
        named = sorted(splits.title(part) for part in schemes.values())
        notes.append(f"These runs were split differently: {', '.join(named)}.")
    elif len({_training_data(side) for side in sides}) > 1:
        notes.append(
            "These runs learned from different clips: options, seed or fold of their splits differ."
        )
    for side in sides:
        n = sum(_n_without_prediction(table) for table in side.tests)
        if n:
            notes.append(
                f"{side.title} gave {plural(n, 'clip')} probabilities that are not numbers; they "
                "count as not recognised."
            )
    return notes + _notes_on_labels(sides, shared) + _notes_on_genres(sides)


def _note_on_clips(n_shared: int, n_tested: int, on_shared: bool) -> str:
    shared, tested = thousands(n_shared), plural(n_tested, "test clip")
    if not n_shared:
        return f"No clip was tested by all of them ({tested} in all)."
    if on_shared:
        return (
            f"{shared} of {tested} were tested by all; as you asked, everything here is about "
            "these alone."
        )
    return (
        f"Not all were tested on the same clips: {shared} of {thousands(n_tested)} are shared by "
        "all. Each run's scores are on its own clips; pairs tested on different clips are compared "
        "only if you ask for the shared clips alone."
    )


def _warnings(side: Side) -> dict[str, str]:
    """The warnings about the runs of a side, by mark; of several runs the first, and how many."""
    warnings = {}
    for mark in MARKS:
        texts = [run.warnings[mark] for run in side.runs if mark in run.warnings]
        if len(side.runs) > 1 and texts:
            marked = f"{len(texts)} of its {len(side.runs)} runs are marked"
            warnings[mark] = f"{marked} (the first: {texts[0]})"
        elif texts:
            warnings[mark] = texts[0]
    return warnings


def _training_data(side: Side) -> frozenset[tuple[str, int, int]]:
    """The settings that decide which clips the runs of a side learned from."""
    configs = [run.config for run in side.runs]
    return frozenset(
        (str(sorted(config.split.options.items())), config.split_seed, config.fold)
        for config in configs
    )


def _n_without_prediction(table: pd.DataFrame) -> int:
    columns = [f"p_{genre}" for genre in metrics.genres_in(table)]
    return int((metrics.predicted_index(table[columns].to_numpy(dtype=float)) < 0).sum())


def _notes_on_labels(sides: Sequence[Side], shared: frozenset[str]) -> list[str]:
    """A sentence about clips that runs label otherwise with genres that both have."""
    if not shared:
        return []
    clips = pd.Index(sorted(shared))
    labels = [side.genres(clips) for side in sides]
    common = frozenset.intersection(*(frozenset(genres) for genres in labels))
    of_clips = map(set, zip(*labels, strict=True))
    n = sum(len(of_clip) > 1 and common.issuperset(of_clip) for of_clip in of_clips)
    if not n:
        return []
    return [
        f"{thousands(n)} of {plural(len(clips), 'shared clip')} are labelled otherwise in another "
        "run: each run is judged by its own labels."
    ]


def _notes_on_genres(sides: Sequence[Side]) -> list[str]:
    notes = []
    genres = [frozenset(metrics.genres_in(side.tests[0])) for side in sides if side.tests]
    if len(set(genres)) > 1:
        not_in_all = sorted(frozenset().union(*genres) - frozenset.intersection(*genres))
        notes.append(f"Not all of these runs have these genres: {', '.join(not_in_all)}.")
    counts: dict[str, int] = {}
    for table in (table for side in sides for table in side.tests):
        for genre, n in table["genre"].value_counts().items():
            counts[str(genre)] = max(counts.get(str(genre), 0), int(n))
    absent = sorted(frozenset().union(*genres) - set(counts))
    single = sorted(genre for genre, n in counts.items() if n == 1)
    if absent:
        notes.append(f"No test clip is labelled {listed(absent, 'or')}: its recall is unknown.")
    if single:
        notes.append(f"There is only one test clip of {listed(single)}: its recall says little.")
    return notes
