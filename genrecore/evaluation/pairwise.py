"""Every pair of runs or systems: counts, intervals, adjusted tests and verdicts.

A side of a pair is a run, or a system with several runs. Two runs are tested by McNemar's mid-p;
where a side has several seeds, by the pigeonhole bootstrap over clips and seeds (`bootstrap`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from genrecore.data import clips as clip_tables
from genrecore.evaluation import metrics, significance, verdicts
from genrecore.evaluation.bootstrap import NOTHING, Interval, Resamples
from genrecore.store.run import Run
from genrecore.words import plural, thousands


@dataclass(frozen=True)
class Side:
    """A run, or the runs of a system, in a comparison.

    Attributes:
        key: The run's id or the system's signature.
        title: Its name in tables and sentences.
        runs: All its runs; the first one stands for the others.
        tests: Tables of test predictions, one for each run or for all folds of a seed.
    """

    key: str
    title: str
    runs: tuple[Run, ...]
    tests: tuple[pd.DataFrame, ...]

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        return self.runs[0].config.dataset.name

    @cached_property
    def right(self) -> tuple[pd.Series, ...]:
        """Whether each clip was recognised, by clip_id; one series for each test."""
        return tuple(_right(table) for table in self.tests)

    @cached_property
    def sets(self) -> tuple[frozenset[str], ...]:
        """The clips of each test."""
        return tuple(frozenset(rows.index) for rows in self.right)

    @cached_property
    def clips(self) -> frozenset[str]:
        """The clips of all its tests together."""
        return frozenset().union(*self.sets)

    @cached_property
    def is_level(self) -> bool:
        """Whether all its tests are on the same clips."""
        return len(set(self.sets)) == 1

    def genres(self, clips: pd.Index) -> np.ndarray:
        """The labelled genre of each of these clips, (clips,) of text."""
        labels = pd.concat([table.set_index("clip_id")["genre"] for table in self.tests])
        return labels[~labels.index.duplicated()].reindex(clips).to_numpy(dtype=object)

    def on(self, clips: frozenset[str]) -> Side:
        """The same side with only these clips; tests on none of them are left out."""
        cut = [table[table["clip_id"].isin(clips)].reset_index(drop=True) for table in self.tests]
        return Side(self.key, self.title, self.runs, tuple(table for table in cut if len(table)))

    def matrix(self, clips: pd.Index, tests: Sequence[int] | None = None) -> np.ndarray:
        """Whether each test recognises each clip, (tests, clips): bool, or float with nan where a
        test lacks clips.

        Args:
            clips: Ids of the clips.
            tests: Indices of the tests; all by default.
        """
        tests = range(len(self.right)) if tests is None else tests
        if all(len(self.sets[k]) == len(clips) for k in tests):
            return np.stack([self.right[k].loc[clips].to_numpy(dtype=bool) for k in tests])
        return np.stack([self.right[k].astype(float).reindex(clips).to_numpy() for k in tests])


def _right(table: pd.DataFrame) -> pd.Series:
    genre_index, proba = metrics.as_arrays(table, metrics.genres_in(table))
    right = metrics.predicted_index(proba) == genre_index
    return pd.Series(right, index=pd.Index(table["clip_id"].astype(object)))


@dataclass(frozen=True)
class Pairs:
    """The verdicts on all pairs of sides.

    Attributes:
        table: A row a pair; see `comparison.Comparison.pairs`.
        accuracies: Accuracy of each side over all its tests, artists (and seeds) resampled.
    """

    table: pd.DataFrame
    accuracies: list[Interval]


def judge_pairs(
    sides: Sequence[Side], artists: pd.Series, band: float, on_shared: bool = False
) -> Pairs:
    """Compares every side with every other.

    Args:
        sides: At least one.
        artists: The artist of each clip, from `artists_of`.
        band: Smaller differences (a share) make no difference in practice.
        on_shared: Whether sides tested on different clips are compared on those they share.
    """
    is_level = all(side.is_level for side in sides) and len({side.clips for side in sides}) == 1
    clips = sides[0].right[0].index if is_level else pd.Index([])
    resamples, right = None, []
    if is_level and len(clips):
        right = [side.matrix(clips) for side in sides]
        resamples = Resamples(right, clip_groups(clips, artists))
    rows: list[dict[str, Any]] = []
    for (k, a), (m, b) in itertools.combinations(enumerate(sides), 2):
        row: dict[str, Any] = {
            "run_a": a.key, "run_b": b.key, "title_a": a.title, "title_b": b.title
        }  # fmt: skip
        if resamples is not None and a.dataset == b.dataset:
            row |= _statistics(right[k], right[m], resamples, k, m)
        else:
            row |= _statistics_of_uneven(a, b, artists, on_shared)
        rows.append(row)
    adjusted = verdicts.holm([row["p"] for row in rows])
    n_pairs = sum(not np.isnan(p) for p in adjusted)
    for row, p in zip(rows, adjusted, strict=True):
        refused = row.pop("refused", "")
        verdict = verdicts.judge(
            row["title_a"], row["title_b"], row["n_clips"], row["difference"],
            (row["low"], row["high"]), row["error"], p, n_pairs, band, row["seeds"],
            p_alone=row["p"],
        )  # fmt: skip
        row |= {"p_holm": p, "verdict": verdict.word, "better": verdict.better}
        row |= {"resolved": verdict.resolved, "sentence": refused or verdict.sentence}
    if resamples is not None:
        accuracies = [resamples.accuracy(k) for k in range(len(sides))]
    else:
        accuracies = [_accuracy(side, artists) for side in sides]
    return Pairs(pd.DataFrame(rows), accuracies)


def _accuracy(side: Side, artists: pd.Series) -> Interval:
    if not side.clips:
        return NOTHING
    clips = pd.Index(sorted(side.clips))
    return Resamples([side.matrix(clips)], clip_groups(clips, artists)).accuracy(0)


_NOT_COMPARED: dict[str, Any] = {
    "n_clips": 0, "both": 0, "only_a": 0, "only_b": 0, "neither": 0, "difference": nan,
    "low": nan, "high": nan, "error": nan, "p": nan, "p_exact": nan, "seeds": "",
}  # fmt: skip


def _statistics_of_uneven(a: Side, b: Side, artists: pd.Series, on_shared: bool) -> dict[str, Any]:
    """As `_statistics`, for sides that were not all tested on the same clips."""
    if a.dataset != b.dataset or not a.clips & b.clips:
        return dict(_NOT_COMPARED)
    common = set(a.sets) & set(b.sets)
    if common and not on_shared:
        tests = [[k for k, clips in enumerate(side.sets) if clips in common] for side in (a, b)]
        clips = pd.Index(sorted(frozenset().union(*common)))
    elif on_shared:
        tests = [list(range(len(side.sets))) for side in (a, b)]
        clips = pd.Index(sorted(a.clips & b.clips))
    else:
        n = len(a.clips & b.clips)
        return _NOT_COMPARED | {
            "n_clips": n,
            "refused": f"{a.title} was tested on {plural(len(a.clips), 'clip')} and {b.title} on "
            f"{thousands(len(b.clips))}, {thousands(n)} of them the same: they are compared on "
            "those alone only if you ask for it.",
        }
    right_a, right_b = a.matrix(clips, tests[0]), b.matrix(clips, tests[1])
    resamples = Resamples([right_a, right_b], clip_groups(clips, artists))
    return _statistics(right_a, right_b, resamples, 0, 1)


def _statistics(
    right_a: np.ndarray, right_b: np.ndarray, resamples: Resamples, i: int, j: int
) -> dict[str, Any]:
    """Counts, interval and test of a pair: whether each test of A and of B recognises each clip,
    (tests, clips), and their indices in the resamples."""
    gap = resamples.difference(i, j)
    if len(right_a) == len(right_b) == 1:
        a, b = right_a[0].astype(bool), right_b[0].astype(bool)
        only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
        both, neither = int((a & b).sum()), int((~a & ~b).sum())
        counts: dict[str, Any] = {
            "both": both, "only_a": only_a, "only_b": only_b, "neither": neither
        }  # fmt: skip
        p = significance.mcnemar_mid_p(only_a, only_b)
        exact = significance.mcnemar_exact_p(only_a, only_b)
        gap = at_least_newcombe(gap, a, b)
        seeds = ""
    else:
        a, b = _over_tests(right_a), _over_tests(right_b)
        counts = {
            "both": float((a * b).sum()), "only_a": float((a * (1 - b)).sum()),
            "only_b": float(((1 - a) * b).sum()), "neither": float(((1 - a) * (1 - b)).sum()),
        }  # fmt: skip
        p, exact = resamples.p(i, j), nan
        if not counts["only_a"] and not counts["only_b"]:
            gap = at_least_newcombe(gap, a > 0, b > 0)
        n, m = len(right_a), len(right_b)
        seeds = f"over {n} seeds each" if n == m else f"over {n} and {m} seeds"
    values = {"difference": gap.value, "low": gap.low, "high": gap.high, "error": gap.error}
    tests = {"p": p, "p_exact": exact, "seeds": seeds}
    return {"n_clips": right_a.shape[1], **counts, **values, **tests}


def _over_tests(right: np.ndarray) -> np.ndarray:
    """The share of tests that recognise each clip, (clips,); 0 for a clip without a test."""
    n_tests = (~np.isnan(right.astype(float))).sum(axis=0)
    return np.asarray(np.nansum(right, axis=0) / np.maximum(n_tests, 1), dtype=float)


def at_least_newcombe(gap: Interval, right_a: np.ndarray, right_b: np.ndarray) -> Interval:
    """The interval of a difference, made at least as wide as Newcombe's.

    Where two runs never disagree, every resample says that they are equal, however few the clips
    are; Newcombe's interval is wide for few clips.
    """
    _, low, high = significance.paired_difference(right_a, right_b)
    low, high = min(gap.low, low), max(gap.high, high)
    return Interval(gap.value, low, high, max(gap.error, (high - low) / (2 * 1.96)))


def recalls(side: Side, artists: pd.Series) -> pd.DataFrame:
    """`n_clips, recall, recall_low, recall_high` by genre: each clip counts once, and the 95 %
    interval resamples artists and tests.

    Args:
        side: A side with several tests.
        artists: The artist of each clip.
    """
    clips = pd.Index(sorted(side.clips))
    genre_of = side.genres(clips)
    right, groups = side.matrix(clips).astype(float), clip_groups(clips, artists)
    rows = {}
    for genre in sorted(set(genre_of)):
        in_genre = genre_of == genre
        rows_right = right[:, in_genre]
        rows_right = rows_right[~np.isnan(rows_right).all(axis=1)]
        recall = Resamples([rows_right], groups[in_genre], n_resamples=2000).accuracy(0)
        low, high = max(0.0, recall.low), min(1.0, recall.high)
        rows[genre] = (int(in_genre.sum()), recall.value, low, high)
    columns = ["n_clips", "recall", "recall_low", "recall_high"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def clip_groups(clips: pd.Index, artists: pd.Series) -> np.ndarray:
    """The artist of each clip, or the clip itself where the artist is unknown."""
    names = artists.reindex(clips).to_numpy(dtype=object)
    own = [f"\0{clip}" for clip in clips]
    return np.where(pd.isna(names), np.array(own, dtype=object), names).astype(str)


def artists_of(sides: Sequence[Side]) -> pd.Series:
    """The artist of each tested clip, by clip_id; clips of unknown artists are missing."""
    missing = set().union(*(side.clips for side in sides))
    tables = []
    for run in (run for side in sides for run in side.runs):
        if not missing:
            break
        table = run.clips
        if table is None or "artist" not in table:
            continue
        tables.append(table.loc[table["clip_id"].isin(missing), ["clip_id", "artist"]].dropna())
        missing -= set(tables[-1]["clip_id"])
    if not tables:
        return pd.Series(dtype=object)
    joined = pd.concat(tables).drop_duplicates("clip_id")
    return clip_tables.same_names(joined.set_index("clip_id")["artist"])
