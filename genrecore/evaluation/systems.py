"""Systems: runs that differ only in seed, split seed and fold, pooled and compared as one.

A system's result is the mean over its tests. A test is a run on its own test clips; where a split
has folds, all folds of one seed are one test over all clips, once all are done. Comparisons of
systems take clips of one artist for alike, and cover the luck of seeds (`clustered`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan, nan, sqrt

import numpy as np
import pandas as pd

from genrecore.config import run as configuration
from genrecore.config.dotted import zero_of
from genrecore.config.run import RunConfig, system_signature
from genrecore.data import splits
from genrecore.errors import GenrecoreError
from genrecore.evaluation import comparison, verdicts
from genrecore.evaluation.comparison import Comparison
from genrecore.evaluation.folds import FoldSet, fold_sets, pool_folds
from genrecore.evaluation.pairwise import Side
from genrecore.evaluation.ranks import Ranks, friedman
from genrecore.evaluation.same_clips import SameClips, collection_titles, place, same_clips
from genrecore.evaluation.scores import read_test_predictions, run_scores
from genrecore.evaluation.selective import with_confidence
from genrecore.store.run import Run, marked
from genrecore.store.runs import each_readable, fault
from genrecore.words import listed

_MAX_SETTINGS = 2  # in a title, of those that tell systems apart


@dataclass(frozen=True)
class System:
    """The tested runs of one system, sorted by split seed, seed and fold; of several runs that
    agree in all three only the newest."""

    signature: str
    runs: tuple[Run, ...]

    @property
    def config(self) -> RunConfig:
        """The configuration of its first run."""
        return self.runs[0].config

    @cached_property
    def folds(self) -> list[FoldSet]:
        """Its sets of folds, complete or not; none where the split has one fold."""
        return fold_sets(self.runs)

    @cached_property
    def tests(self) -> list[tuple[str, tuple[Run, ...]]]:
        """The name and the runs of each test. Incomplete sets of folds are not pooled: each of
        their runs is a test of its own."""
        complete = [folds for folds in self.folds if folds.complete]
        tests = [
            (f"{folds.n_folds} folds, {_seeds(folds.seed, folds.split_seed)}",
             tuple(folds.runs.values()))
            for folds in complete
        ]  # fmt: skip
        pooled = {run.run_id for _, runs in tests for run in runs}
        return tests + [(_test_name(run), (run,)) for run in self.runs if run.run_id not in pooled]

    @property
    def marks(self) -> set[str]:
        """The marks that any of its runs bears (`Run.warnings`)."""
        return {mark for run in self.runs for mark in run.warnings}

    @property
    def n_seeds(self) -> int:
        """How many different seeds (or pairs of seed and split seed) its runs have."""
        return len({(run.facts.seed, run.facts.split_seed) for run in self.runs})

    @property
    def notes(self) -> list[str]:
        """A sentence where folds are missing; a single fold of a seed asks for no others."""
        begun = [folds for folds in self.folds if not folds.complete and len(folds.runs) > 1]
        if not begun:
            return []
        sets = "; ".join(
            f"{_seeds(folds.seed, folds.split_seed)}, {folds.sentence[:-1]}" for folds in begun
        )
        return [f"{sets}; these folds are not pooled, each is a test of its own."]


def _seeds(seed: int, split_seed: int) -> str:
    return f"seed {seed}" + (f", split seed {split_seed}" if split_seed else "")


def _test_name(run: Run) -> str:
    config = run.config
    fold = f", fold {config.fold + 1}" if config.fold else ""
    return _seeds(config.seed, config.split_seed) + fold


def group_runs(runs: Iterable[Run]) -> list[System]:
    """The systems that tested runs belong to, in the order of the runs.

    Runs without test predictions belong to none. Of runs that do not even differ in seed or fold
    the newest counts: the same result twice is not twice as certain.
    """
    systems: dict[str, dict[tuple[int, int, int], Run]] = {}
    tested = [run for run in runs if run.is_tested]
    for run, (facts, created) in each_readable(tested, lambda run: (run.facts, run.created)):
        key = (facts.split_seed, facts.seed, facts.fold)
        members = systems.setdefault(signature(run), {})
        if key not in members or created > members[key].created:
            members[key] = run
    return [
        System(name, tuple(members[key] for key in sorted(members)))
        for name, members in systems.items()
    ]


def without_later(runs: Sequence[Run], only: Collection[str]) -> list[Run]:
    """The runs without those that a system has got beside its runs in `only`, by their ids; systems
    that have none there keep all."""
    limited = {signature(run) for run in runs if run.run_id in only}
    return [run for run in runs if run.run_id in only or signature(run) not in limited]


def signature(run: Run) -> str:
    """The signature of the system that a run belongs to."""
    return run.facts.system


def titles(systems: Sequence[System], but: Collection[str] = ()) -> dict[str, str]:
    """A short name of each system by its signature, all different: model, data, the settings that
    tell systems of one model and dataset apart, save those in `but`, and the marks of its runs."""
    names = _names(systems, but)
    return {s.signature: marked(names[s.signature], s.marks) for s in systems}


def _names(systems: Sequence[System], but: Collection[str] = ()) -> dict[str, str]:
    """As `titles`, without marks."""
    by_stem: dict[str, list[System]] = {}
    for system in systems:
        facts = system.runs[0].facts
        stem = f"{facts.model} · {facts.dataset}"
        by_stem.setdefault(stem, []).append(system)
    names = {}
    for stem, members in by_stem.items():
        settings = _distinguishing(members, but) if len(members) > 1 else {}
        for system in members:
            own = settings.get(system.signature, "")
            names[system.signature] = f"{stem} · {own}" if own else stem
    return names


def _distinguishing(members: Sequence[System], but: Collection[str]) -> dict[str, str]:
    """The settings that tell systems of one model and dataset apart, all texts different."""
    defaults = configuration.flat(RunConfig())
    position = {key: n for n, key in enumerate(defaults)}
    changed = {system.signature: _changed_settings(system) for system in members}
    keys = sorted(  # in the order of the fields, an option behind the name of its part
        {key: None for values in changed.values() for key in values},
        key=lambda key: position.get(key, position.get(f"{key.partition('.')[0]}.name", 0)),
    )
    settings = {
        name: {key: values.get(key, defaults.get(key)) for key in keys}
        for name, values in changed.items()
    }
    keys = [
        key
        for key in keys
        if key not in but and len({str(values[key]) for values in settings.values()}) > 1
    ]
    texts = {}
    for name, values in settings.items():
        parts = [f"{key.rpartition('.')[2]} {_short(values[key], key)}" for key in keys]
        texts[name] = ", ".join(parts[:_MAX_SETTINGS])
    counts = Counter(texts.values())
    return {
        name: f"{text}, {name[:4]}" if counts[text] > 1 else text for name, text in texts.items()
    }


def _changed_settings(system: System) -> dict[str, object]:
    """Those of its settings that are not the defaults, by their dotted fields."""
    run = system.runs[0]
    if run.summary is None:
        values = run.config.model_dump(mode="json", exclude_defaults=True)
    else:  # a thousand systems are not worth a thousand configurations
        values = run.summary.rest["config"]
    flat = configuration.flat_values(values)
    return {key: value for key, value in flat.items() if key not in configuration.NOT_SYSTEM}


def _short(value: object, key: str) -> str:
    if value == 0 and value is not False and (zero := zero_of(key)):
        return zero
    if isinstance(value, (list, tuple)):
        names = [str(part["name"]) if isinstance(part, dict) else str(part) for part in value]
        return "+".join(names) or "none"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def compare(
    systems: Sequence[System], band: float = verdicts.BAND, on_shared: bool = False
) -> Comparison:
    """Two or more systems, compared. A note names systems with one
    seed: what another seed would give is not known.

    Args:
        systems: As `group_runs` finds them.
        band: Smaller differences (a share) make no difference in practice.
        on_shared: As for `comparison.compare`.

    Raises:
        GenrecoreError: Fewer than two systems, or one twice.
    """
    if len(systems) < 2:
        raise GenrecoreError(f"A comparison needs at least two systems; found {len(systems)}.")
    if len({system.signature for system in systems}) < len(systems):
        raise GenrecoreError("A system cannot be compared with itself; name each once.")
    sides: list[Side] = []
    notes: list[str] = []
    systems = [_readable(system, notes) for system in systems]
    names = titles(systems)
    same = same_clips(run for system in systems for run in system.runs)
    notes += same.notes
    for system in systems:
        own_side, own_notes = side(system, names[system.signature], same)
        sides.append(own_side)
        notes += own_notes
    single = [titled.title for titled in sides if len(titled.tests) == 1]
    if single:
        verb = "these have" if len(single) > 1 else "it has"
        notes.append(
            f"What another seed would give is not known of {listed(single, most=4)}: {verb} one "
            "seed."
        )
    return comparison.compare_sides(sides, band, on_shared, notes)


def _readable(system: System, notes: list[str]) -> System:
    """The system without runs that turn out to be unreadable; adds why to the notes.

    Raises:
        Unreadable: None of its runs can be read.
    """
    readable = [run for run, _ in each_readable(system.runs, lambda run: run.tables)]
    faults = [error for run in system.runs if (error := fault(run.folder)) is not None]
    if faults and not readable:
        raise faults[0].with_traceback(None)
    notes += map(str, faults)
    return System(system.signature, tuple(readable)) if faults else system


def seed_spread(systems: Iterable[System], accuracies: Mapping[str, float]) -> tuple[float, int]:
    """By how much seeds alone move the accuracy: the standard deviation over seeds on the same
    clips, a share, pooled over all systems with several; and how many these are.

    Args:
        systems: Any systems, those with one seed included.
        accuracies: The test accuracy of each run, by its id.
    """
    squares, freedom, n_systems = 0.0, 0, 0
    for system in systems:
        by_test: dict[tuple[int, int], list[float]] = {}
        for run in system.runs:
            accuracy = accuracies.get(run.run_id, nan)
            if not isnan(accuracy):
                by_test.setdefault((run.config.split_seed, run.config.fold), []).append(accuracy)
        several = [values for values in by_test.values() if len(values) > 1]
        n_systems += bool(several)
        squares += sum(float(np.var(values)) * len(values) for values in several)
        freedom += sum(len(values) - 1 for values in several)
    return (sqrt(squares / freedom) if freedom else nan), n_systems


def side(system: System, title: str, same: SameClips) -> tuple[Side, list[str]]:
    """A system as a side of a comparison, and sentences about folds that are missing or do not fit
    together. `same` names the clips of all sides' runs."""
    tests, notes = [], [f"{title}: {note}" for note in system.notes]
    for name, runs in system.tests:
        if len(runs) == 1:
            tests.append(
                same.named(with_confidence(read_test_predictions(runs[0]), runs[0]), runs[0])
            )
            continue
        try:
            tests.append(pool_folds(runs, same).predictions)
        except GenrecoreError as error:
            notes.append(f"{title}, {name}, not pooled: {error}")
            tests += [
                same.named(with_confidence(read_test_predictions(run), run), run) for run in runs
            ]
    return Side(system.signature, title, system.runs, tuple(tests)), notes


@dataclass(frozen=True)
class Blocks:
    """Systems over several datasets or folds.

    Attributes:
        scores: Accuracy (mean over seeds), a row a block, a column a title.
        ranks: Ranks of the columns; None with fewer than two blocks or systems.
        left_out: Blocks on which not every system was tested, in sentences.
    """

    scores: pd.DataFrame
    ranks: Ranks | None
    left_out: list[str]


def over_blocks(systems: Sequence[System]) -> Blocks:
    """Systems that are the same but for their data, ranked over datasets, splits and folds.

    A block is a dataset with its split, split seed and fold; folders that hold other music are
    several datasets. Systems that agree in everything but
    dataset, split and genres count as the same. Only blocks on which every system was tested
    count. Folds of one dataset share training clips, so ranks over them look more certain than
    they are (Demšar 2006, section 3.1.3); several datasets are the better blocks.
    """
    music = collection_titles(run for system in systems for run in system.runs)
    accuracies: dict[str, dict[str, list[float]]] = {}
    alike: dict[str, list[System]] = {}
    for system in systems:
        key = _signature_without_data(system.config)
        alike.setdefault(key, []).append(system)
        for run, measured in each_readable(system.runs, run_scores):
            by_block = accuracies.setdefault(key, {})
            block = _block(run, music[place(run)])
            by_block.setdefault(block, []).append(float(measured["accuracy"]))
    first = {key: members[0] for key, members in alike.items()}
    names = _names(list(first.values()))
    datasets = {run.config.dataset.name for system in systems for run in system.runs}
    columns: dict[str, str] = {}
    for key, system in first.items():
        title = names[system.signature]
        if len(datasets) > 1:
            model, _, rest = title.partition(" · ")
            title = " · ".join([model, *rest.split(" · ")[1:]])
        marks = {mark for other in alike[key] for mark in other.marks}
        title = marked(title, marks)
        columns[key] = title if title not in columns.values() else f"{title}, {key[:4]}"
    blocks = dict.fromkeys(block for by_block in accuracies.values() for block in by_block)
    n_tested = {
        block: sum(block in by_block for by_block in accuracies.values()) for block in blocks
    }
    complete = [block for block, n in n_tested.items() if n == len(accuracies)]
    left_out = [
        f"{block}: tested by {n} of {len(accuracies)}."
        for block, n in n_tested.items()
        if n < len(accuracies)
    ]
    scores = pd.DataFrame(
        {
            columns[key]: [float(np.mean(by_block[block])) for block in complete]
            for key, by_block in accuracies.items()
        },
        index=pd.Index(complete, name="block"),
    )
    can_rank = min(scores.shape) >= 2
    return Blocks(scores, friedman(scores.to_numpy()) if can_rank else None, left_out)


def _signature_without_data(config: RunConfig) -> str:
    defaults = RunConfig()
    data = {"dataset": defaults.dataset, "split": defaults.split, "genres": defaults.genres}
    return system_signature(config.model_copy(update=data))


def _block(run: Run, music: str) -> str:
    config = run.config
    name = f"{music}, {splits.title(config.split, config.fold)}"
    return name + (f", split seed {config.split_seed}" if config.split_seed else "")
