"""How accuracy grows with the training clips a genre: systems that differ in their number alone.

A point of a curve is a system (`systems`): its runs with several seeds are repeated draws of the
training clips as well as repeated trainings, all tested on the same clips, and its interval counts
artists and seeds (`clustered`). A step between two points is a paired difference on the clips that
both were tested on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log2

import numpy as np
import pandas as pd

from genrecore.config.dotted import text_of
from genrecore.config.run import system_signature
from genrecore.evaluation import pairwise, systems
from genrecore.evaluation.clustered import NOTHING, Interval
from genrecore.evaluation.pairwise import Side
from genrecore.evaluation.same_clips import same_clips
from genrecore.evaluation.systems import System
from genrecore.store.run import Run
from genrecore.store.runs import each_readable
from genrecore.words import listed, points, signed_points, thousands

FIELD = "clips_per_genre"
"""The field of a configuration in which the systems of a curve differ."""

COLUMNS = ("curve", "title", "size", "n_clips", "accuracy", "low", "high", "n_runs",
           "gain", "gain_low", "gain_high")  # fmt: skip


@dataclass(frozen=True)
class SizeCurve:
    """A system at two or more numbers of training clips a genre.

    Attributes:
        signature: Of the system, whatever that number.
        systems: By the number of clips that was asked for, the fewest first; 0, all clips, last.
    """

    signature: str
    systems: Mapping[int, System]

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs of all sizes."""
        return tuple(run for system in self.systems.values() for run in system.runs)


@dataclass(frozen=True)
class SizeCurves:
    """Measured curves.

    Attributes:
        table: A row a point: `curve`, the signature; `title`; `size`, what was asked for, as text;
            `n_clips`, how many training clips a genre there were (median over genres and runs);
            `accuracy, low, high` on the test clips with its 95 % interval; `n_runs`; `gain,
            gain_low, gain_high`, the difference to the point before, of fewer clips, with its
            interval, all as shares.
        sentences: A reading of each curve.
        notes: What to read first.
    """

    table: pd.DataFrame
    sentences: tuple[str, ...]
    notes: tuple[str, ...]


def signature(system: System) -> str:
    """The signature of a system, whatever the number of training clips."""
    run = system.runs[0]

    def read() -> str:
        return system_signature(run.config.model_copy(update={FIELD: 0}))

    return read() if run.summary is None else run.summary.derived("system of any size", read)


def find_curves(runs: Iterable[Run], of: Collection[str] | None = None) -> list[SizeCurve]:
    """The curves that tested runs form, in the order of the runs.

    Args:
        runs: Any runs.
        of: Only curves with these signatures; all by default.
    """
    by_size: dict[str, dict[int, System]] = {}
    for system in systems.group_runs(runs):
        key = signature(system)
        if of is None or key in of:
            by_size.setdefault(key, {})[system.config.clips_per_genre] = system
    return [
        SizeCurve(key, dict(sorted(sizes.items(), key=lambda item: (item[0] == 0, item[0]))))
        for key, sizes in by_size.items()
        if len(sizes) > 1
    ]


def members_by_curve(members: Mapping[str, Sequence[Run]]) -> dict[str, str]:
    """The first of some runs or systems on each curve, by the curve's signature; one that has no
    other sizes counts as well.

    Args:
        members: The runs of each, by its key.
    """
    keys: dict[str, str] = {}
    for key, runs in members.items():
        keys.setdefault(signature(System(key, tuple(runs))), key)
    return keys


@dataclass(frozen=True)
class _Point:
    size: int
    n_clips: int
    side: Side
    accuracy: Interval
    gain: Interval = NOTHING


def measure(curves: Sequence[SizeCurve]) -> SizeCurves:
    """Accuracies, steps and a reading of each curve.

    Args:
        curves: From `find_curves`.
    """
    titles = systems.titles([System(c.signature, c.runs) for c in curves], but={FIELD})
    same = same_clips(run for curve in curves for run in curve.runs)
    notes, rows, sentences = list(same.notes), [], []
    for curve in curves:
        title, drawn = titles[curve.signature], list[_Point]()
        for size, system in curve.systems.items():
            side, own_notes = systems.side(system, f"{title}, {_clips(size)}", same)
            notes += own_notes
            n_clips = n_training_clips(system.runs)
            if n_clips:
                gain = pairwise.difference(side, drawn[-1].side) if drawn else NOTHING
                drawn.append(_Point(size, n_clips, side, pairwise.accuracy(side), gain))
        rows += [
            (
                *(curve.signature, title, text_of(point.size, FIELD), point.n_clips),
                *(point.accuracy.value, point.accuracy.low, point.accuracy.high),
                *(len(point.side.runs), point.gain.value, point.gain.low, point.gain.high),
            )
            for point in drawn
        ]
        if sentence := _reading(title, drawn):
            sentences.append(sentence)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return SizeCurves(table, tuple(sentences), tuple(notes))


def n_training_clips(runs: Iterable[Run]) -> int:
    """How many training clips a genre there were: the median over genres, then over runs; 0 where
    no run says it."""
    medians = []
    for _, clips in each_readable(list(runs), lambda run: run.clips):
        trained = None if clips is None else clips[clips["split"].eq("train").fillna(False)]
        if trained is not None and len(trained):
            medians.append(float(trained["genre"].value_counts().median()))
    return round(float(np.median(medians))) if medians else 0


def usual_sizes(n_clips: int) -> str:
    """Numbers of training clips a genre for a curve, as a plan takes them: `1,2,5,10,all`.

    Args:
        n_clips: How many there are; a curve needs no other numbers from there on.
    """
    steps = [step * 10**power for power in range(6) for step in (1, 2, 5)]
    return ",".join([*(str(n) for n in steps if n < n_clips), text_of(0, FIELD)])


def _clips(size: int) -> str:
    return f"{thousands(size)} clips a genre" if size else "all clips"


def _reading(title: str, drawn: Sequence[_Point]) -> str:
    """What a doubling of the clips gave on average, and whether the last step tells the curve from
    a flat one; empty where no point has more clips than another."""
    fewer = [point for point in drawn if point.n_clips < drawn[-1].n_clips]
    if not fewer:
        return ""
    first, before, last = fewer[0], fewer[-1], drawn[-1]
    start = f"{title}, {thousands(first.n_clips)} to {thousands(last.n_clips)} clips a genre: "
    whole = pairwise.difference(last.side, first.side)
    step = pairwise.difference(last.side, before.side)
    if np.isnan(step.value) or np.isnan(whole.value):
        return f"{start}tested on different clips, so that its points cannot be compared."
    if not step.holds:
        return f"{start}there are too few artists among the test clips to read it."
    n_doublings = log2(last.n_clips / first.n_clips)
    average = _points(*(part / n_doublings for part in (whole.value, whole.low, whole.high)))
    text = f"{start}twice as many gave {average} on average"
    if first is before:
        text += ": "
    else:
        text += f"; the last step, from {thousands(before.n_clips)}, gave "
        text += f"{_points(step.value, step.low, step.high)}: "
    single = [_clips(p.size) for p in (before, last) if len(p.side.tests) == 1]
    if step.low <= 0 <= step.high:
        return f"{text}it cannot be told from flat."
    if single:
        verb = "has" if len(single) == 1 else "have"
        return (
            f"{text}it cannot be told from flat, for {listed(single)} {verb} one seed: another "
            "may say otherwise."
        )
    return text + ("not flat yet." if step.low > 0 else "more clips made it worse.")


def _points(value: float, low: float, high: float) -> str:
    return f"{points(value, sign=True)} (95 %: {signed_points(low)} to {signed_points(high)})"
