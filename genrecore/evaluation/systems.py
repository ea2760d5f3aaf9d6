"""Systems: runs that differ in seed, split seed and fold only, pooled and compared as one.

A system's result is the mean over its tests. A test is a run with its own test clips; where a split
has folds, all folds of one seed are one test over all clips, once all are done. Between systems
both clips (by artist) and seeds are resampled: see `resampling` for the method and its sources.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from genrecore.config import run as configuration
from genrecore.config.run import RunConfig, system_signature
from genrecore.data import splits
from genrecore.errors import GenrecoreError
from genrecore.evaluation import comparison, ranks, verdicts
from genrecore.evaluation import folds as pooling
from genrecore.evaluation.comparison import Comparison
from genrecore.evaluation.pairwise import Side
from genrecore.evaluation.ranks import Ranks
from genrecore.store.run import Run

METHOD = (
    "Systems with several seeds are compared by resampling artists and, independently, seeds: the "
    "pigeonhole bootstrap (Owen 2007), with Student's t for the few seeds (Satterthwaite 1946)."
)
"""How, in a sentence, with the sources."""

_SETTINGS_NAMED = 2  # in a title, of those that tell systems apart


@dataclass(frozen=True)
class System:
    """The tested runs of one system by split seed, seed and fold; of several with the same ones
    the newest."""

    signature: str
    runs: tuple[Run, ...]

    @property
    def config(self) -> RunConfig:
        """Of its first run."""
        return self.runs[0].config

    @cached_property
    def folds(self) -> list[pooling.FoldSet]:
        """Its sets of folds, complete or not; none where the split has one fold."""
        return pooling.pools(self.runs)

    @cached_property
    def tests(self) -> list[tuple[str, tuple[Run, ...]]]:
        """What counts as one test: its name and runs. A set of folds of which some are missing is
        not pooled: each of its runs is a test of its own."""
        found: list[tuple[str, tuple[Run, ...]]] = []
        pooled: set[str] = set()
        for one in self.folds:
            if one.complete:
                found.append((f"{one.n_folds} folds, {_seeds(one)}", tuple(one.runs.values())))
                pooled |= {run.run_id for run in one.runs.values()}
        alone = [run for run in self.runs if run.run_id not in pooled]
        return found + [(_named(run), (run,)) for run in alone]

    @property
    def n_seeds(self) -> int:
        """How many different seeds (or pairs of seed and split seed) its runs have."""
        return len({(run.config.seed, run.config.split_seed) for run in self.runs})

    @property
    def notes(self) -> list[str]:
        """A sentence where folds are missing; a single fold of a seed asks for no others."""
        begun = [one for one in self.folds if not one.complete and len(one.runs) > 1]
        if not begun:
            return []
        said = "; ".join(f"{_seeds(one)}, {one.sentence[:-1]}" for one in begun)
        return [f"{said}; these folds are not pooled, each is a test of its own."]


def _seeds(one: pooling.FoldSet) -> str:
    return f"seed {one.seed}" + (f", split seed {one.split_seed}" if one.split_seed else "")


def _named(run: Run) -> str:
    words = f"seed {run.config.seed}"
    words += f", split seed {run.config.split_seed}" if run.config.split_seed else ""
    return words + (f", fold {run.config.fold}" if run.config.fold else "")


def of(runs: Iterable[Run]) -> list[System]:
    """The systems that tested runs belong to, in the order of the runs given.

    Runs without test predictions belong to none. Of runs that do not even differ in seed or fold
    the newest counts: the same result twice is not twice as sure.
    """
    found: dict[str, dict[tuple[int, int, int], Run]] = {}
    for run in runs:
        if not (run.folder / "predictions.parquet").exists():
            continue
        try:
            config = run.config
        except GenrecoreError:  # written by another version: it belongs to nothing we know
            continue
        place = (config.split_seed, config.seed, config.fold)
        members = found.setdefault(signature(run), {})
        if place not in members or run.created > members[place].created:
            members[place] = run
    return [
        System(name, tuple(run for _, run in sorted(members.items(), key=lambda item: item[0])))
        for name, members in found.items()
    ]


def signature(run: Run) -> str:
    """The signature of the system a run is of; a configuration never changes, so it is kept."""
    known = _signatures.get(run.folder)
    if known is None:
        if len(_signatures) > 20_000:
            _signatures.clear()
        known = _signatures[run.folder] = system_signature(run.config)
    return known


_signatures: dict[object, str] = {}


def titles(systems: Sequence[System]) -> dict[str, str]:
    """A short name of each system by its signature, all different: model, data, and where that
    names several, the settings that tell them apart."""
    alike: dict[str, list[System]] = {}
    for one in systems:
        alike.setdefault(f"{one.config.model.name} · {one.config.dataset.name}", []).append(one)
    found = {}
    for stem, members in alike.items():
        own = _apart(members) if len(members) > 1 else {members[0].signature: ""}
        for one in members:
            more = own[one.signature]
            found[one.signature] = f"{stem} · {more}" if more else stem
    return found


def _apart(members: Sequence[System]) -> dict[str, str]:
    """What tells systems of one model and dataset apart, in a few words each, all different."""
    flat = {one.signature: _flat(one) for one in members}
    keys = [
        key
        for key in dict.fromkeys(key for values in flat.values() for key in values)
        if len({str(values.get(key)) for values in flat.values()}) > 1
    ]
    said = {}
    for name, values in flat.items():
        named = [f"{key.rpartition('.')[2]} {_short(values.get(key))}" for key in keys]
        said[name] = ", ".join(named[:_SETTINGS_NAMED])
    counts = Counter(said.values())
    twice = {words for words, n in counts.items() if n > 1}
    return {
        name: f"{words}, {name[:4]}" if words in twice else words for name, words in said.items()
    }


def _flat(one: System) -> dict[str, object]:
    """The settings that make the system what it is, by their dotted fields; kept."""
    known = _settings.get(one.signature)
    if known is None:
        if len(_settings) > 20_000:
            _settings.clear()
        values = configuration.flat(one.config)
        known = {key: value for key, value in values.items() if key not in configuration.NOT_SYSTEM}
        _settings[one.signature] = known
    return known


_settings: dict[str, dict[str, object]] = {}


def _short(value: object) -> str:
    if isinstance(value, (list, tuple)):
        names = [str(one["name"]) if isinstance(one, dict) else str(one) for one in value]
        return "+".join(names) or "none"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def compare(
    systems: Sequence[System], band: float = verdicts.BAND, on_shared: bool = False
) -> Comparison:
    """Two or more systems, compared; see `METHOD`. A system with one seed is taken as it came out:
    what another seed would give is not known of it, and a note says so.

    Args:
        systems: As `of` finds them.
        band: Differences smaller than this share count as none in practice.
        on_shared: As for `comparison.compare`.

    Raises:
        GenrecoreError: Fewer than two systems, or one twice.
    """
    if len(systems) < 2:
        raise GenrecoreError(f"A comparison needs at least two systems; found {len(systems)}.")
    if len({one.signature for one in systems}) < len(systems):
        raise GenrecoreError("A system cannot be compared with itself; name each once.")
    names = titles(systems)
    sides, notes = [], []
    for one in systems:
        made, said = side(one, names[one.signature])
        sides.append(made)
        notes += said
    alone = [one.title for one in sides if len(one.tests) == 1]
    if alone:
        many = "these have" if len(alone) > 1 else "it has"
        notes.append(
            f"What another seed would give is not known of {', '.join(alone)}: {many} one seed."
        )
    return comparison.compare_sides(sides, band, on_shared, notes)


def side(system: System, title: str) -> tuple[Side, list[str]]:
    """A system as a side of a comparison, and what must be known of it, in sentences."""
    tests, notes = [], [f"{title}: {words}" for words in system.notes]
    for name, members in system.tests:
        if len(members) == 1:
            tests.append(comparison.test_predictions(members[0]))
            continue
        try:
            tests.append(pooling.pool(members).predictions)
        except GenrecoreError as error:
            notes.append(f"{title}, {name}, not pooled: {error}")
            tests += [comparison.test_predictions(run) for run in members]
    return Side(system.signature, title, system.runs, tuple(tests)), notes


@dataclass(frozen=True)
class Blocks:
    """Systems over several datasets or folds.

    Attributes:
        scores: Accuracy (mean over seeds), a row a block, a column a title.
        ranks: Of the columns; None with fewer than two blocks or systems.
        left_out: What was left out because not every system was tested there, in sentences.
    """

    scores: pd.DataFrame
    ranks: Ranks | None
    left_out: list[str]


def over_blocks(systems: Sequence[System]) -> Blocks:
    """Systems that are the same but for their data, ranked over datasets, splits and folds.

    A block is a dataset with its split, split seed and fold. The same system on other data is what
    agrees in everything but dataset, split and genres. Blocks count that every system was tested
    on. Folds of one dataset share training clips, so ranks over them look surer than they are
    (Demšar 2006, section 3.1.3); several datasets are the better blocks.
    """
    found: dict[str, dict[str, list[float]]] = {}
    stems: dict[str, System] = {}
    for one in systems:
        key = _without_data(one.config)
        stems.setdefault(key, one)
        for run in one.runs:
            block = _block(run)
            found.setdefault(key, {}).setdefault(block, []).append(
                float(comparison.scores(run)["accuracy"])
            )
    named = titles(list(stems.values()))
    datasets = {run.config.dataset.name for one in systems for run in one.runs}
    columns: dict[str, str] = {}
    for key, one in stems.items():
        title = named[one.signature]
        if len(datasets) > 1:
            model, _, rest = title.partition(" · ")
            title = " · ".join([model, *rest.split(" · ")[1:]])
        columns[key] = title if title not in columns.values() else f"{title}, {key[:4]}"
    every = list(dict.fromkeys(block for blocks in found.values() for block in blocks))
    complete = [block for block in every if all(block in blocks for blocks in found.values())]
    left_out = [
        f"{block}: tested by {sum(block in blocks for blocks in found.values())} of {len(found)}."
        for block in every
        if block not in complete
    ]
    scores = pd.DataFrame(
        {
            columns[key]: [float(np.mean(blocks[block])) for block in complete]
            for key, blocks in found.items()
        },
        index=pd.Index(complete, name="block"),
    )
    enough = min(scores.shape) >= 2
    return Blocks(scores, ranks.friedman(scores.to_numpy()) if enough else None, left_out)


def _without_data(config: RunConfig) -> str:
    plain = RunConfig()
    data = {"dataset": plain.dataset, "split": plain.split, "genres": plain.genres}
    return system_signature(config.model_copy(update=data))


def _block(run: Run) -> str:
    config = run.config
    words = f"{config.dataset.name}, {config.split.name}"
    words += f", split seed {config.split_seed}" if config.split_seed else ""
    n = splits.n_folds(config.split.name, config.split.options)
    return words + (f", fold {config.fold}" if n > 1 else "")


def curve_band(curves: pd.DataFrame) -> pd.DataFrame:
    """Curves of systems: `run_id, title, epoch, split, loss, accuracy, lr, step, seconds` as means
    over the runs of each `key` that reached the epoch, and `<measure>_low, <measure>_high`, the
    least and the greatest of them.

    Args:
        curves: As `Comparison.curves`, with the systems' titles.
    """
    measures = ["loss", "accuracy", "lr", "step", "seconds"]
    grouped = curves.groupby(["key", "split", "epoch"], sort=False)
    means = grouped[measures].mean()
    for name in ("loss", "accuracy", "lr"):
        means[f"{name}_low"] = grouped[name].min()
        means[f"{name}_high"] = grouped[name].max()
    means["title"] = grouped["title"].first()
    table = means.reset_index()
    order = {key: place for place, key in enumerate(dict.fromkeys(curves["key"]))}
    table = table.assign(place=table["key"].map(order)).sort_values(["place", "split", "epoch"])
    return table.drop(columns="place").rename(columns={"key": "run_id"}).reset_index(drop=True)
