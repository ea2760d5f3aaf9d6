"""Published accuracies by dataset and split, and the systems of a store set against them.

A system is set against the results of its own dataset and split alone, and only where it was tested
on all of the clips. Nobody prints which clips a system recognised, so the comparison is one of two
proportions without pairing (`METHOD`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isnan

import pandas as pd

from genrecore.config.run import Genres, Part
from genrecore.data import splits
from genrecore.data.datasets import DATASETS
from genrecore.errors import UsageError
from genrecore.evaluation import clustered, pairwise, systems
from genrecore.evaluation.clustered import NOTHING, Interval
from genrecore.evaluation.preference import by_preference
from genrecore.evaluation.published import (
    RANDOM,
    PublishedResult,
    datasets_with_records,
    published_results,
)
from genrecore.evaluation.same_clips import same_clips
from genrecore.evaluation.systems import System
from genrecore.evaluation.verdicts import OPEN
from genrecore.store.run import MARKS, Run
from genrecore.store.runs import each_readable
from genrecore.words import beside, listed, out_of, percent, plural, points, signed_points

SUSPICIOUS, BELOW, NOT_COMPARABLE = "suspicious", "below", "not comparable"
"""Verdicts on a system of ours, besides `verdicts.OPEN`."""

METHOD = (
    "A published accuracy has Wilson's interval for its test clips, widened by its printed spread, "
    "which is taken as the standard deviation over seeds; sources rarely say what it is. Which "
    "clips a published system recognised is not known, so the test is unpaired and approximate. On "
    "the same clips it is conservative: a paired test could tell smaller differences apart."
)
"""The comparison in sentences."""

MOST_SYSTEMS = 20
"""Systems of ours that are set against the records of a split, those that are proposed first."""

_OFFICIAL = {"benito": "official"}  # a study's name for the same split
_FEW = 3  # published results
_NEARLY_ALL = 0.99  # one of GTZAN's clips, and six of FMA-small's, cannot be read


@dataclass(frozen=True)
class OwnResult:
    """A system of the store, set against the published results of its split.

    Attributes:
        key: The system's signature.
        title: Its name, with the marks of its runs.
        runs: Its tested runs.
        accuracy: Over its tests.
        n_clips: Test clips, over all its tests.
        verdict: `SUSPICIOUS`, `OPEN`, `BELOW` or `NOT_COMPARABLE`; against the best published one.
        sentence: The verdict with its numbers.
        gaps: Ours minus each published result, in the order of the table; none where it is not
            comparable.
    """

    key: str
    title: str
    runs: tuple[Run, ...]
    accuracy: Interval
    n_clips: int
    verdict: str
    sentence: str
    gaps: tuple[Interval, ...] = ()

    @property
    def warnings(self) -> Mapping[str, str]:
        """What must be known of its runs, by mark: of each mark the first run's words."""
        texts = {mark: text for run in reversed(self.runs) for mark, text in run.warnings.items()}
        return {mark: texts[mark] for mark in MARKS if mark in texts}

    @property
    def n_seeds(self) -> int:
        """Its seeds."""
        return System(self.key, self.runs).n_seeds


@dataclass(frozen=True)
class RecordTable:
    """What is published of a dataset and split, and ours.

    Attributes:
        dataset: A name in `DATASETS`.
        split: A name in `SPLITS`, or `RANDOM`.
        published: At least one, the most accurate first.
        own: The same of ours, at most `MOST_SYSTEMS`; those that cannot be compared come last.
        n_more: Further systems of ours.
    """

    dataset: str
    split: str
    published: tuple[PublishedResult, ...]
    own: tuple[OwnResult, ...] = ()
    n_more: int = 0

    @property
    def is_random(self) -> bool:
        """Whether clips of one artist stand on both sides."""
        return self.split == RANDOM

    @property
    def title(self) -> str:
        """The split, for people."""
        return "Random splits" if self.is_random else splits.title(Part(name=self.split))

    @property
    def says(self) -> str:
        """What the split is, in a sentence."""
        if self.is_random:
            return (
                "Clips are drawn at random, so that clips of one artist, and copies, are on both "
                "sides: these accuracies are too high, and are compared with one another alone."
            )
        return f"{splits.SPLITS[self.split].facts.says}."

    @property
    def record(self) -> PublishedResult:
        """The best published result."""
        return self.published[0]

    @property
    def published_rows(self) -> pd.DataFrame:
        """A row a published result: its attributes, with `title` and `accuracy_low,
        accuracy_high`; what is not known is missing."""
        return pd.DataFrame(
            [
                asdict(result)
                | {"title": result.title, "n_test": result.n_test or None}
                | {"accuracy_low": result.interval.low, "accuracy_high": result.interval.high}
                for result in self.published
            ]
        )

    @property
    def own_rows(self) -> pd.DataFrame:
        """A row a system of ours: `title, marks, badge, accuracy, accuracy_low, accuracy_high,
        n_seeds, n_clips, verdict, sentence`."""
        columns = ["title", "marks", "badge", "accuracy", "accuracy_low", "accuracy_high",
                   "n_seeds", "n_clips", "verdict", "sentence"]  # fmt: skip
        rows = [
            (
                *(own.title, ", ".join(own.warnings), "; ".join(own.warnings.values())),
                *(own.accuracy.value, own.accuracy.low, own.accuracy.high),
                *(own.n_seeds, own.n_clips, own.verdict, own.sentence),
            )
            for own in self.own
        ]
        return pd.DataFrame(rows, columns=columns)

    @property
    def n_test(self) -> int:
        """Clips that everybody tests; 0 where they differ or are not known."""
        return 0 if self.is_random else max(result.n_test for result in self.published)


@dataclass(frozen=True)
class SystemScore:
    """What the test predictions of a system say.

    Attributes:
        accuracy: Over all its tests.
        n_clips: Its test clips.
        n_given: Clips of the dataset that each of its runs had at least.
    """

    accuracy: Interval
    n_clips: int
    n_given: int


def measure(runs: Sequence[Run]) -> SystemScore:
    """The result of the runs of one system; those that turn out to be unreadable are left out."""
    readable = [run for run, _ in each_readable(runs, lambda run: run.tables)]
    if not readable:
        return SystemScore(NOTHING, 0, 0)
    system = System(systems.signature(readable[0]), tuple(readable))
    side, _ = systems.side(system, system.signature, same_clips(readable))
    n_given = min(0 if run.clips is None else len(run.clips) for run in readable)
    return SystemScore(pairwise.accuracy(side), len(side.clips), n_given)


def record_tables(
    runs: Iterable[Run],
    dataset: str,
    measure: Callable[[Sequence[Run]], SystemScore] = measure,
) -> list[RecordTable]:
    """The published results of a dataset by split, random splits last, and ours among them.

    Args:
        runs: Of the store; those that were not tested, or on other music, are passed over.
        dataset: A name in `datasets_with_records`.
        measure: Gives the result of a system's runs; one that remembers saves reading them again.

    Raises:
        UsageError: Nothing is published of this dataset.
    """
    names = datasets_with_records()
    if dataset not in names:
        raise UsageError(
            f"There are no published results of the dataset {dataset!r}; there are some of "
            f"{listed(names)}."
        )
    by_split: dict[str, list[PublishedResult]] = {}
    for result in published_results():
        if result.dataset == dataset:
            by_split.setdefault(result.group, []).append(result)
    ranked = by_preference(run for run in runs if run.facts.dataset == dataset)
    tables = []
    for split in sorted(by_split, key=lambda split: split == RANDOM):
        published = sorted(by_split[split], key=lambda result: -result.accuracy)
        table = RecordTable(dataset, split, tuple(published))
        ours = systems.group_runs(run for run in ranked if split_group(run) == split)
        own = _own_results(ours[:MOST_SYSTEMS], table, measure)
        tables.append(replace(table, own=own, n_more=max(0, len(ours) - MOST_SYSTEMS)))
    return tables


def split_group(run: Run) -> str:
    """The split whose records a run may be set against: its scheme, or `RANDOM` where the scheme
    draws clips and keeps nothing together."""
    name = run.facts.split
    if name in splits.SPLITS:
        facts = splits.SPLITS[name].facts
        if facts.seeded and not facts.keeps:
            return RANDOM
    return _OFFICIAL.get(name, name)


def _own_results(
    ours: Sequence[System], table: RecordTable, measure: Callable[[Sequence[Run]], SystemScore]
) -> tuple[OwnResult, ...]:
    """Our systems against the table, those that cannot be compared last."""
    titles = systems.titles(ours)
    own = []
    for system in ours:
        measured = measure(system.runs)
        if not isnan(measured.accuracy.value):
            own.append(_own_result(system, titles[system.signature], measured, table))
    order = sorted(own, key=lambda r: (r.verdict == NOT_COMPARABLE, -r.accuracy.value))
    return tuple(order)


def _own_result(system: System, title: str, measured: SystemScore, table: RecordTable) -> OwnResult:
    accuracy = measured.accuracy
    result = OwnResult(
        system.signature, title, system.runs, accuracy, measured.n_clips, NOT_COMPARABLE, ""
    )
    if why_not := _why_not(system, measured, table):
        return replace(result, sentence=f"{title} {why_not}")
    gaps = tuple(difference(accuracy, other.interval) for other in table.published)
    if accuracy.low > table.record.accuracy or gaps[0].low > 0:
        verdict = SUSPICIOUS
    else:
        verdict = BELOW if gaps[0].high < 0 else OPEN
    result = replace(result, gaps=gaps, verdict=verdict)
    return replace(result, sentence=_sentence(result, table))


def difference(ours: Interval, published: Interval) -> Interval:
    """Ours minus a published accuracy, unpaired."""
    parts = [(ours.error, ours.freedom), (published.error, published.freedom)]
    return clustered.independent(ours.value - published.value, parts)


def _why_not(system: System, measured: SystemScore, table: RecordTable) -> str:
    """Why a system cannot be set against the published results, as the rest of a sentence that
    begins with its name; empty where it can."""
    if any(run.config.genres != Genres() for run in system.runs):
        return "leaves out or merges genres: not comparable."
    n_clips, whole, verb = measured.n_clips, table.n_test, "tested on"
    if not whole:  # test clips differ, so all clips of the dataset must have been there
        n_clips, whole, verb = measured.n_given, DATASETS[table.dataset].facts.n_clips, "given"
    if n_clips < _NEARLY_ALL * whole:
        return f"was {verb} {out_of(n_clips, whole)} clips: on part of the clips, not comparable."
    if not measured.accuracy.holds:
        return "was tested on too few artists to tell: not comparable."
    return ""


def _sentence(result: OwnResult, table: RecordTable) -> str:
    accuracy, gap, record = result.accuracy, result.gaps[0], table.record
    ours = (
        f"{result.title}, {percent(accuracy.value)} ({percent(accuracy.low)} to "
        f"{percent(accuracy.high)}, {plural(result.n_seeds, 'seed')}),"
    )
    best = f"{record.title} with {percent(record.accuracy)}"
    if result.verdict == SUSPICIOUS:
        leak = result.warnings.get("leak", "")
        few = " So few results are known here that they may be weak."
        return (
            f"Suspicious: {ours} is above every published result of this split: look for a leak "
            f"before believing it. {f'Its badge names one ({leak}). ' if leak else ''}The best "
            f"published result is {best}.{few if len(table.published) < _FEW else ''}"
        )
    interval = f"95 %: {signed_points(gap.low)} to {signed_points(gap.high)} points"
    if result.verdict == BELOW:
        return f"{ours} is {beside(gap.value, f'the record, {best}')} ({interval}).{_rest(result)}"
    return (
        f"{ours} cannot be told apart from the record, {best}: the difference is "
        f"{points(gap.value, sign=True)} ({interval}).{_rest(result)}"
    )


def _rest(result: OwnResult) -> str:
    """How the other published results compare, as a sentence after a blank; empty without any."""
    others = result.gaps[1:]
    n_above = sum(gap.low > 0 for gap in others)
    n_below = sum(gap.high < 0 for gap in others)
    counts = {
        "is above": n_above,
        "is below": n_below,
        "cannot be told apart from": len(others) - n_above - n_below,
    }
    parts = [f"{verb} {n}" for verb, n in counts.items() if n]
    if not parts:
        return ""
    return f" Of the {plural(len(others), 'other published result')} it {listed(parts)}."
