"""Every pair of runs or systems: counts, intervals, adjusted tests and verdicts.

A side of a pair is a run, or a system with several runs. Intervals and tests take clips of one
artist, and runs of one system, for alike (`clustered`).
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

from genrecore.evaluation import clustered, selective, significance, verdicts
from genrecore.evaluation.clustered import NOTHING, Interval
from genrecore.store.run import Run
from genrecore.words import plural, thousands


@dataclass(frozen=True)
class Side:
    """A run, or the runs of a system, in a comparison.

    Attributes:
        key: The run's id or the system's signature.
        title: Its name in tables and sentences.
        runs: All its runs; the first one stands for the others.
        tests: Tables of test predictions, one for each run or for all folds of a seed; `clip_id` is
            the name that all sides have in common for the same clip (`same_clips`).
    """

    key: str
    title: str
    runs: tuple[Run, ...]
    tests: tuple[pd.DataFrame, ...]

    @property
    def is_system(self) -> bool:
        """Whether it stands for all seeds of a system, rather than for one training."""
        return self.key != self.runs[0].run_id

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        return self.runs[0].config.dataset.name

    @cached_property
    def right(self) -> tuple[pd.Series, ...]:
        """Whether each clip was recognised, by clip_id; one series for each test."""
        return tuple(table["right"] for table in self.outcomes)

    @cached_property
    def outcomes(self) -> tuple[pd.DataFrame, ...]:
        """`right, confidence, area, normalised` by clip_id, a table for each test; the last two as
        `selective.area_parts` says."""
        return tuple(selective.outcomes_by_clip(table) for table in self.tests)

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
        return self._known["genre"].loc[clips].to_numpy()

    def groups(self, clips: pd.Index) -> np.ndarray:
        """The group of each of these clips: its artist, or the clip itself, (clips,)."""
        return self._known["group"].loc[clips].to_numpy(dtype=str)

    @cached_property
    def _known(self) -> pd.DataFrame:
        """`genre, group` by clip_id."""
        rows = pd.concat(self.tests).drop_duplicates("clip_id")
        columns = {"genre": rows["genre"].to_numpy(), "group": clustered.artist_groups(rows)}
        return pd.DataFrame(columns, pd.Index(rows["clip_id"], dtype=object), dtype=object)

    def on(self, clips: frozenset[str]) -> Side:
        """The same side with only these clips; tests on none of them are left out."""
        cut = [table[table["clip_id"].isin(clips)].reset_index(drop=True) for table in self.tests]
        return Side(self.key, self.title, self.runs, tuple(table for table in cut if len(table)))

    def matrix(
        self, clips: pd.Index, tests: Sequence[int] | None = None, of: str = "right"
    ) -> np.ndarray:
        """Whether each test recognises each clip, (tests, clips): bool, or float with nan where a
        test lacks clips.

        Args:
            clips: Ids of the clips.
            tests: Indices of the tests; all by default.
            of: A column of `outcomes`.
        """
        tests = range(len(self.outcomes)) if tests is None else tests
        columns = [self.outcomes[k][of] for k in tests]
        if all(len(column) == len(clips) for column in columns):
            return np.stack([column.loc[clips].to_numpy() for column in columns])
        return np.stack([column.astype(float).reindex(clips).to_numpy() for column in columns])


@dataclass(frozen=True)
class Pairs:
    """The verdicts on all pairs of sides.

    Attributes:
        table: A row a pair; see `comparison.Comparison.pairs`.
        accuracies: Accuracy of each side over all its tests.
    """

    table: pd.DataFrame
    accuracies: list[Interval]


def judge_pairs(sides: Sequence[Side], band: float, on_shared: bool = False) -> Pairs:
    """Compares every side with every other.

    Args:
        sides: At least one.
        band: Smaller differences (a share) make no difference in practice.
        on_shared: Whether sides tested on different clips are compared on those they share.
    """
    is_level = all(side.is_level for side in sides) and len({side.clips for side in sides}) == 1
    clips = sides[0].right[0].index if is_level else pd.Index([])
    values: list[_Matrices] = []
    groups = np.array([])
    if is_level and len(clips):
        values = [_matrices(side, clips) for side in sides]
        groups = sides[0].groups(clips)
    rows: list[dict[str, Any]] = []
    for (k, a), (m, b) in itertools.combinations(enumerate(sides), 2):
        row: dict[str, Any] = {
            "run_a": a.key, "run_b": b.key, "title_a": a.title, "title_b": b.title
        }  # fmt: skip
        if values:
            row |= _statistics(values[k], values[m], groups)
        else:
            row |= _statistics_of_uneven(a, b, on_shared)
        row["single"] = [side.title for side in (a, b) if side.is_system and len(side.tests) == 1]
        rows.append(row)
    selective.judge_areas(rows)
    adjusted = verdicts.holm([row["p"] for row in rows])
    n_pairs = sum(not np.isnan(p) for p in adjusted)
    for row, p in zip(rows, adjusted, strict=True):
        refused = row.pop("refused", "")
        verdict = verdicts.judge(
            row["title_a"], row["title_b"], row["n_clips"], row.pop("gap"), p, n_pairs, band,
            row["seeds"], row.pop("single"),
        )  # fmt: skip
        row |= {"p_holm": p, "verdict": verdict.word, "better": verdict.better}
        row |= {"resolved": verdict.resolved, "sentence": refused or verdict.sentence}
    return Pairs(pd.DataFrame(rows), [accuracy(side) for side in sides])


def accuracy(side: Side) -> Interval:
    """The accuracy of a side over all its tests."""
    if not side.clips:
        return NOTHING
    clips = pd.Index(sorted(side.clips))
    return clustered.accuracy(side.matrix(clips), side.groups(clips))


def difference(a: Side, b: Side) -> Interval:
    """The accuracy of A minus that of B over all their tests, on the clips that both were tested
    on; all nan where there are none."""
    shared = a.clips & b.clips
    if not shared:
        return NOTHING
    clips = pd.Index(sorted(shared))
    return clustered.difference(a.matrix(clips), b.matrix(clips), a.groups(clips))


_NOT_COMPARED: dict[str, Any] = {
    "n_clips": 0, "both": 0, "only_a": 0, "only_b": 0, "neither": 0, "gap": NOTHING,
    "difference": nan, "low": nan, "high": nan, "error": nan, "p": nan, "p_mcnemar": nan,
    "seeds": "", "area": NOTHING, "normalised": NOTHING,
}  # fmt: skip

_Matrices = dict[str, np.ndarray]


def _matrices(side: Side, clips: pd.Index, tests: Sequence[int] | None = None) -> _Matrices:
    return {name: side.matrix(clips, tests, name) for name in ("right", "area", "normalised")}


def _statistics_of_uneven(a: Side, b: Side, on_shared: bool) -> dict[str, Any]:
    """As `_statistics`, for sides that were not all tested on the same clips."""
    if not a.clips & b.clips:
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
    values_a, values_b = _matrices(a, clips, tests[0]), _matrices(b, clips, tests[1])
    return _statistics(values_a, values_b, a.groups(clips))


def _statistics(of_a: _Matrices, of_b: _Matrices, groups: np.ndarray) -> dict[str, Any]:
    """Counts, interval and test of a pair: whether each test of A and of B recognises each clip,
    (tests, clips), and the artist of each clip."""
    gaps = {name: clustered.difference(of_a[name], of_b[name], groups) for name in of_a}
    gap, right_a, right_b = gaps.pop("right"), of_a["right"], of_b["right"]
    a, b = _over_tests(right_a), _over_tests(right_b)
    counts: dict[str, Any] = {
        "both": float((a * b).sum()), "only_a": float((a * (1 - b)).sum()),
        "only_b": float(((1 - a) * b).sum()), "neither": float(((1 - a) * (1 - b)).sum()),
    }  # fmt: skip
    mcnemar, seeds, n, m = nan, "", len(right_a), len(right_b)
    if n == m == 1:
        counts = {name: round(count) for name, count in counts.items()}
        mcnemar = significance.mcnemar_mid_p(counts["only_a"], counts["only_b"])
    else:
        seeds = f"over {n} seeds each" if n == m else f"over {n} and {m} seeds"
    tests = {"p": gap.p, "p_mcnemar": mcnemar, "seeds": seeds}
    ends = {"low": gap.low, "high": gap.high, "error": gap.error}
    return {
        "n_clips": right_a.shape[1], **counts, "gap": gap, "difference": gap.value, **ends,
        **tests, **gaps,
    }  # fmt: skip


def _over_tests(right: np.ndarray) -> np.ndarray:
    """The share of tests that recognise each clip, (clips,); 0 for a clip without a test."""
    n_tests = (~np.isnan(right.astype(float))).sum(axis=0)
    return np.asarray(np.nansum(right, axis=0) / np.maximum(n_tests, 1), dtype=float)


def recalls(side: Side) -> pd.DataFrame:
    """`n_clips, recall, recall_low, recall_high` by genre; each clip counts once.

    Args:
        side: A system with several tests.
    """
    clips = pd.Index(sorted(side.clips))
    genre_of = side.genres(clips)
    right, groups = side.matrix(clips).astype(float), side.groups(clips)
    rows = {}
    for genre in sorted(set(genre_of)):
        in_genre = genre_of == genre
        rows_right = right[:, in_genre]
        rows_right = rows_right[~np.isnan(rows_right).all(axis=1)]
        recall = clustered.accuracy(rows_right, groups[in_genre])
        rows[genre] = (int(in_genre.sum()), recall.value, recall.low, recall.high)
    columns = ["n_clips", "recall", "recall_low", "recall_high"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)
