"""Pairs of what was tested on the same clips: counts, intervals, adjusted tests and verdicts.

A side of a pair is a run, or a system with several runs. Two runs are tested by McNemar's mid-p;
where a side has several seeds, by the pigeonhole bootstrap over clips and seeds (`resampling`).
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
from genrecore.evaluation import bootstrap as resampling
from genrecore.evaluation import metrics, significance, verdicts
from genrecore.evaluation.bootstrap import Interval, Resamples
from genrecore.store.run import Run


@dataclass(frozen=True)
class Side:
    """What is compared: a run, or the runs of a system.

    Attributes:
        key: The run's id or the system's signature.
        title: For people.
        runs: All its runs; the first one stands for the others.
        tests: A table of test predictions for each of its results, one of a run or of
            all its folds.
    """

    key: str
    title: str
    runs: tuple[Run, ...]
    tests: tuple[pd.DataFrame, ...]

    @property
    def dataset(self) -> str:
        """Its name."""
        return self.runs[0].config.dataset.name

    @cached_property
    def right(self) -> tuple[pd.Series, ...]:
        """For each test whether each clip was recognised, by clip_id."""
        return tuple(_right(table) for table in self.tests)

    @cached_property
    def sets(self) -> tuple[frozenset[str], ...]:
        """For each test the clips it was made on."""
        return tuple(frozenset(rows.index) for rows in self.right)

    @cached_property
    def clips(self) -> frozenset[str]:
        """Clips of any of its tests."""
        return frozenset().union(*self.sets)

    @cached_property
    def is_level(self) -> bool:
        """Whether all its tests were made on the same clips."""
        return len(set(self.sets)) == 1

    def on(self, clips: frozenset[str]) -> Side:
        """The same, tested on these clips alone; tests on none of them are left out."""
        cut = [table[table["clip_id"].isin(clips)].reset_index(drop=True) for table in self.tests]
        kept = tuple(table for table in cut if len(table))
        return Side(self.key, self.title, self.runs, kept)

    def matrix(self, clips: pd.Index, places: Sequence[int] | None = None) -> np.ndarray:
        """Who is right, (tests, clips): bool where all know all clips, else float with nan.

        Args:
            clips: Their ids.
            places: Of the tests; all by default.
        """
        places = range(len(self.right)) if places is None else places
        if all(len(self.sets[k]) == len(clips) for k in places):
            return np.stack([self.right[k].loc[clips].to_numpy(dtype=bool) for k in places])
        rows = [self.right[k].astype(float).reindex(clips).to_numpy() for k in places]
        return np.stack(rows)


def _right(table: pd.DataFrame) -> pd.Series:
    genre_index, proba = metrics.as_arrays(table, metrics.genres_in(table))
    right = metrics.verdicts(proba) == genre_index
    return pd.Series(right, index=pd.Index(table["clip_id"].astype(object)))


@dataclass(frozen=True)
class Pairs:
    """Sides judged against one another.

    Attributes:
        table: A row a pair; see `comparison.Comparison.pairs`.
        accuracies: Of each side, in their order: over all its tests, artists (and seeds) resampled.
    """

    table: pd.DataFrame
    accuracies: list[Interval]


def judged(
    sides: Sequence[Side], artists: pd.Series, band: float, on_shared: bool = False
) -> Pairs:
    """Every pair of the sides.

    Args:
        sides: At least one.
        artists: Of their clips, as `artists_of` finds them.
        band: Differences smaller than this share count as none in practice.
        on_shared: Whether sides tested on different clips are compared on those they share.
    """
    level = all(side.is_level for side in sides) and len({side.clips for side in sides}) == 1
    clips = sides[0].right[0].index if level else pd.Index([])
    drawn, right = None, []
    if level and len(clips):
        right = [side.matrix(clips) for side in sides]
        drawn = Resamples(right, _groups(clips, artists))
    rows: list[dict[str, Any]] = []
    for (k, a), (m, b) in itertools.combinations(enumerate(sides), 2):
        row: dict[str, Any] = {
            "run_a": a.key, "run_b": b.key, "title_a": a.title, "title_b": b.title
        }  # fmt: skip
        if drawn is not None and a.dataset == b.dataset:
            row |= _facts(right[k], right[m], drawn, k, m)
        else:
            row |= _apart(a, b, artists, on_shared)
        rows.append(row)
    adjusted = verdicts.holm([row["p"] for row in rows])
    n_pairs = sum(not np.isnan(p) for p in adjusted)
    for row, p in zip(rows, adjusted, strict=True):
        refused = row.pop("refused", "")
        said = verdicts.judge(
            row["title_a"], row["title_b"], row["n_clips"], row["difference"],
            (row["low"], row["high"]), row["error"], p, n_pairs, band, row["seeds"],
        )  # fmt: skip
        row |= {"p_holm": p, "verdict": said.word, "better": said.better}
        row |= {"resolved": said.resolved, "sentence": refused or said.sentence}
    accuracies = [_accuracy(side, k, drawn, artists) for k, side in enumerate(sides)]
    return Pairs(pd.DataFrame(rows), accuracies)


def _accuracy(side: Side, place: int, drawn: Resamples | None, artists: pd.Series) -> Interval:
    if not side.clips:
        return resampling.NOTHING
    if drawn is not None:
        return drawn.accuracy(place)
    clips = pd.Index(sorted(side.clips))
    return Resamples([side.matrix(clips)], _groups(clips, artists)).accuracy(0)


_NOTHING: dict[str, Any] = {
    "n_clips": 0, "both": 0, "only_a": 0, "only_b": 0, "neither": 0, "difference": nan,
    "low": nan, "high": nan, "error": nan, "p": nan, "p_exact": nan, "seeds": "",
}  # fmt: skip


def _apart(a: Side, b: Side, artists: pd.Series, on_shared: bool) -> dict[str, Any]:
    """A pair whose sides were not all tested on the same clips."""
    if a.dataset != b.dataset or not a.clips & b.clips:
        return dict(_NOTHING)
    common = set(a.sets) & set(b.sets)
    if common and not on_shared:
        mine = [[k for k, one in enumerate(side.sets) if one in common] for side in (a, b)]
        clips = pd.Index(sorted(frozenset().union(*common)))
    elif on_shared:
        mine = [list(range(len(side.sets))) for side in (a, b)]
        clips = pd.Index(sorted(a.clips & b.clips))
    else:
        n = len(a.clips & b.clips)
        return _NOTHING | {
            "n_clips": n,
            "refused": f"{a.title} was tested on {len(a.clips)} clips and {b.title} on "
            f"{len(b.clips)}, {n} of them the same: they are compared on those alone only if you "
            "ask for it.",
        }
    in_a, in_b = a.matrix(clips, mine[0]), b.matrix(clips, mine[1])
    return _facts(in_a, in_b, Resamples([in_a, in_b], _groups(clips, artists)), 0, 1)


def _facts(in_a: np.ndarray, in_b: np.ndarray, drawn: Resamples, i: int, j: int) -> dict[str, Any]:
    """Counts, interval and test of a pair.

    Args:
        in_a: Who of a's tests is right, (tests, clips).
        in_b: The same of b.
        drawn: Resamples that know both.
        i: The place of a in them.
        j: The place of b.
    """
    gap = drawn.difference(i, j)
    if len(in_a) == len(in_b) == 1:
        one, other = in_a[0].astype(bool), in_b[0].astype(bool)
        only_a, only_b = int((one & ~other).sum()), int((other & ~one).sum())
        both, neither = int((one & other).sum()), int((~one & ~other).sum())
        counts: dict[str, Any] = {
            "both": both, "only_a": only_a, "only_b": only_b, "neither": neither
        }  # fmt: skip
        p = significance.mcnemar_mid_p(only_a, only_b)
        exact = significance.mcnemar_exact_p(only_a, only_b)
        gap = _not_too_narrow(gap, one, other)
        seeds = ""
    else:
        a, b = _over_tests(in_a), _over_tests(in_b)
        counts = {
            "both": float((a * b).sum()), "only_a": float((a * (1 - b)).sum()),
            "only_b": float(((1 - a) * b).sum()), "neither": float(((1 - a) * (1 - b)).sum()),
        }  # fmt: skip
        p, exact = drawn.p(i, j), nan
        if not counts["only_a"] and not counts["only_b"]:
            gap = _not_too_narrow(gap, a > 0, b > 0)
        n, m = len(in_a), len(in_b)
        seeds = f"over {n} seeds each" if n == m else f"over {n} and {m} seeds"
    values = {"difference": gap.value, "low": gap.low, "high": gap.high, "error": gap.error}
    return {"n_clips": in_a.shape[1], **counts, **values, "p": p, "p_exact": exact,
            "seeds": seeds}  # fmt: skip


def _over_tests(right: np.ndarray) -> np.ndarray:
    """The share of tests that recognise each clip, (clips,); 0 where none was made on it."""
    n_tests = (~np.isnan(right.astype(float))).sum(axis=0)
    return np.asarray(np.nansum(right, axis=0) / np.maximum(n_tests, 1), dtype=float)


def _not_too_narrow(gap: Interval, in_a: np.ndarray, in_b: np.ndarray) -> Interval:
    """The interval, at least as wide as Newcombe's.

    Of few clips on which two runs never disagree every resample says that they are equal; that few
    clips say little only the other method knows.
    """
    _, low, high = significance.paired_difference(in_a, in_b)
    low, high = min(gap.low, low), max(gap.high, high)
    return Interval(gap.value, low, high, max(gap.error, (high - low) / (2 * 1.96)))


def recalls(side: Side, artists: pd.Series) -> pd.DataFrame:
    """Of each genre with clips `n_clips, recall, recall_low, recall_high` by `genre`: each clip
    counts once, and the 95 % interval is of artists and tests resampled.

    Args:
        side: With several tests.
        artists: Of its clips.
    """
    clips = pd.Index(sorted(side.clips))
    labels = pd.concat([table.set_index("clip_id")["genre"] for table in side.tests])
    genre_of = labels[~labels.index.duplicated()].reindex(clips).to_numpy(dtype=object)
    right, groups = side.matrix(clips).astype(float), _groups(clips, artists)
    rows = {}
    for genre in sorted(set(genre_of)):
        mine = genre_of == genre
        known = right[:, mine]
        known = known[~np.isnan(known).all(axis=1)]
        found = Resamples([known], groups[mine], n_resamples=2000).accuracy(0)
        low, high = max(0.0, found.low), min(1.0, found.high)
        rows[genre] = (int(mine.sum()), found.value, low, high)
    columns = ["n_clips", "recall", "recall_low", "recall_high"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def _groups(clips: pd.Index, artists: pd.Series) -> np.ndarray:
    """The artist of each clip, or the clip itself where nobody knows."""
    known = artists.reindex(clips).to_numpy(dtype=object)
    alone = [f"\0{clip}" for clip in clips]
    return np.where(pd.isna(known), np.array(alone, dtype=object), known).astype(str)


def artists_of(sides: Sequence[Side]) -> pd.Series:
    """The artist of each tested clip, by clip_id; missing where nobody knows."""
    wanted = set().union(*(side.clips for side in sides))
    tables = []
    for run in (run for side in sides for run in side.runs):
        if not wanted:
            break
        table = run.clips
        if table is None or "artist" not in table:
            continue
        tables.append(table.loc[table["clip_id"].isin(wanted), ["clip_id", "artist"]].dropna())
        wanted -= set(tables[-1]["clip_id"])
    if not tables:
        return pd.Series(dtype=object)
    joined = pd.concat(tables).drop_duplicates("clip_id")
    return clip_tables.same_names(joined.set_index("clip_id")["artist"])
