"""What a run would meet, found before it is queued: in seconds, without decoding any audio.

The dataset's clip table is read, genres are left out and merged, and the split is made, as a run
does. Artists and albums on both sides are in the table; files that cannot be used and copies are
known where these very files were decoded and audited before. What is found is kept in memory until
the dataset's files change, so that a form can ask after every click.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pandas as pd

from genrecore.config.dotted import text_of
from genrecore.config.run import Part, RunConfig, with_values
from genrecore.data import clips as clip_tables
from genrecore.data import corpus, genres, prepare, splits
from genrecore.data.audit import crossings, recordings
from genrecore.data.clips import UnfitGenresError
from genrecore.data.corpus import Corpus
from genrecore.data.datasets import DATASETS
from genrecore.data.datasets.loaded import Stamp, known_table, stamp_of
from genrecore.data.datasets.remembered import with_remembered_folder
from genrecore.data.sizes import Sizes, sizes, sizes_of
from genrecore.data.splits import SPLITS
from genrecore.errors import GenrecoreError, UsageError
from genrecore.store.separation import Answer, Separation
from genrecore.words import listed, uncapitalised

if TYPE_CHECKING:
    from genrecore.training.needs import Unmet

AUTO = "auto"
"""Stands for the best split that the clips allow, where a split is asked for by name."""

Outcome = Literal["works", "crosses", "cannot be known", "impossible"]
_OUTCOMES: Mapping[Answer, Outcome] = {
    Answer.KEPT_APART: "works",
    Answer.CANNOT_BE_KNOWN: "cannot be known",
    Answer.CROSSES: "crosses",
}
_RANKS: Sequence[Outcome] = ("works", "cannot be known", "crosses", "impossible")
_FEWEST_FOLDS = 3
_NOT_LOOKED_AT: dict[str, Any] = {
    "seed": True,
    "training": {"lr", "lr_low", "weight_decay", "epochs", "schedule", "label_smoothing"},
}
_ALLOW = MappingProxyType({"allow_leaks": True})
_MARKED = "the run is marked wherever it appears"


@dataclass(frozen=True)
class Remedy:
    """Changes with which a run is no longer refused.

    Attributes:
        sentence: What is changed, for people.
        changes: Values by dotted field, as `with_values` takes them.
    """

    sentence: str
    changes: Mapping[str, Any]

    @property
    def settings(self) -> str:
        """The changes as settings are written."""
        return ", ".join(f"{name} = {text_of(value)}" for name, value in self.changes.items())


@dataclass(frozen=True)
class Caution:
    """What is wrong with a run that can be trained, and what may be changed; each was tried."""

    sentence: str
    remedies: Sequence[Remedy]


@dataclass(frozen=True)
class Trial:
    """What a split would give on the clips of a run.

    Attributes:
        part: The scheme with its options.
        separation: Whether it keeps artists, albums and copies apart; None where it is impossible.
        reason: Why it is impossible, or why it has this answer, in a sentence.
        copies_known: Whether copies were looked for: the audio was decoded and audited before.
        unfit: Genres without which it is possible; empty where it is, or that does not help.
        n_train: Training clips by genre; empty where it is impossible.
        parts: `train`, `valid`, `test` or missing, by clip_id; None where it is impossible.
    """

    part: Part
    separation: Separation | None
    reason: str
    copies_known: bool = False
    unfit: tuple[str, ...] = ()
    n_train: Mapping[str, int] = field(default_factory=dict)
    parts: pd.Series | None = field(default=None, repr=False, compare=False)

    @property
    def outcome(self) -> Outcome:
        """One of the four outcomes."""
        return _OUTCOMES[self.separation.answer] if self.separation else "impossible"

    @property
    def title(self) -> str:
        """The scheme, for people, with the number of folds where it is not the usual one."""
        n_folds = self.part.options.get("n_folds")
        return SPLITS[self.part.name].title + (f", {n_folds} folds" if n_folds else "")

    @property
    def sentence(self) -> str:
        """Title and reason."""
        return f"{self.title}: {uncapitalised(self.reason)}"

    @property
    def changes(self) -> dict[str, Any]:
        """The dotted values that choose this split; one that crosses has to be allowed."""
        options = {f"split.{key}": value for key, value in self.part.options.items()}
        allow = _ALLOW if self.outcome == "crosses" else {}
        return {"split": self.part.name, "fold": 0, **options, **allow}


@dataclass(frozen=True)
class Check:
    """What a configuration would meet.

    Attributes:
        config: The configuration.
        split_problem: Why its clips or its split are refused, in a sentence; empty where they are
            not.
        split: What its own split gives; None where that is not known: the dataset cannot be read,
            or is not made yet.
        problem: Why a run with it is refused; empty where it is not. This and what follows is
            computed when it is first looked at.
        cautions: What else is wrong with a run that is not refused.
        splits: What every scheme gives on these clips, by name; empty where that is not known.
    """

    config: RunConfig
    split_problem: str = ""
    split: Trial | None = None
    _data: _Data | None = field(default=None, repr=False)

    @property
    def problem(self) -> str:
        refused = (need.sentence for need in self._unmet if not need.trains)
        return self.split_problem or next(refused, "")

    @property
    def cautions(self) -> list[Caution]:
        if self.problem:
            return []
        groups, counts = self._look_alikes
        return [
            Caution(
                genres.look_alike_sentence(group, counts), self._that_work([self._merged([group])])
            )
            for group in groups
        ] + [
            Caution(
                need.sentence,
                self._that_work([Remedy(need.sentence_of_changes, need.changes)])
                if need.changes
                else [],
            )
            for need in self._unmet
        ]

    @cached_property
    def _look_alikes(self) -> tuple[list[list[str]], Mapping[str, int]]:
        """As `genres.look_alikes`, and the numbers of clips."""
        table = _clips(self._data).table if self._data else None
        counts = {} if table is None else genres.counted(table)
        return genres.look_alikes(counts), counts

    def _merged(self, groups: Sequence[Sequence[str]]) -> Remedy:
        """Each group made one genre."""
        names = "; ".join(listed(list(map(repr, group))) for group in groups)
        merge = genres.merge_of(groups, self.config.genres.merge)
        return Remedy(f"Merge {names}.", {"genres.merge": merge})

    @cached_property
    def _unmet(self) -> Sequence[Unmet]:
        if self.split_problem or self.split is None or self._data is None:
            return ()
        return _unmet(self._data, self.split, self.config)

    @cached_property
    def splits(self) -> Mapping[str, Trial]:
        return {} if self._data is None else _all_trials(self._data, self.config)

    @property
    def best_split(self) -> Trial | None:
        """The best split of these clips; None where that is not known.

        Best is one that keeps artists apart, then one of which that cannot be known. Of equals, it
        is the one that the data were published with, then one by artist where artists are known,
        then one by clip.
        """
        return best_of(self.splits)

    @cached_property
    def remedies(self) -> list[Remedy]:
        """What may be changed so that the run is not refused, the best first; each was tried."""
        return self._that_work(self._remedies()) if self.problem and self._data else []

    def remedies_of(self, trial: Trial) -> list[Remedy]:
        """What may be changed so that a split is possible which is not; each was tried."""
        return self._that_work([self._without(trial.unfit, trial)]) if trial.unfit else []

    def _that_work(self, remedies: Iterable[Remedy]) -> list[Remedy]:
        return [
            remedy
            for remedy in remedies
            if not check(with_values(self.config, dict(remedy.changes))).problem
        ]

    def _remedies(self) -> Iterator[Remedy]:
        split, best, config = self.split, self.best_split, self.config
        if groups := self._look_alikes[0]:
            yield self._merged(groups)
        if best and best.outcome != "crosses":
            yield Remedy(best.sentence, best.changes)
        if split and split.outcome == "crosses":
            yield Remedy(f"Train although the split leaks; {_MARKED}.", _ALLOW)
        elif best and best.outcome == "crosses":
            yield Remedy(f"{best.title}, although it leaks; {_MARKED}.", best.changes)
        if split and split.outcome == "impossible" and split.part.name == "manifest":
            changes = {"split": "manifest", "split.unnamed": "leave out"}
            yield Remedy("Leave out the clips without a split.", changes)
        if split is None and self._data and (unfit := _clips(self._data).unfit):
            yield self._without(unfit)
        if split is None and (config.genres.leave_out or config.genres.merge):
            same = {"genres.leave_out": "", "genres.merge": ""}
            yield Remedy("Take the genres as they are.", same)
        for need in self._unmet:
            if need.changes:
                yield Remedy(need.sentence_of_changes, need.changes)
            if need.genres:
                yield self._without(need.genres)
        if split is not None:  # the fewest genres with which it, or one by artist, is possible
            candidates = [
                trial
                for name, trial in self.splits.items()
                if trial.unfit and (name == split.part.name or _by_artist(trial))
            ]
            if candidates:
                trial = min(candidates, key=lambda t: (len(t.unfit), not _by_artist(t)))
                yield self._without(trial.unfit, trial)

    def _without(self, unfit: Sequence[str], then: Trial | None = None) -> Remedy:
        """Genres left out, and a split that is possible then."""
        left_out = genres.also_left_out(self.config.genres.leave_out, unfit)
        sentence = f"Leave out {listed(tuple(unfit))}"
        sentence += f", then: {then.title}." if then else "."
        return Remedy(sentence, {"genres.leave_out": left_out, **(then.changes if then else {})})

    def refuse(self) -> None:
        """Raises the problem, if there is one.

        Raises:
            UsageError: What it is, and what may be changed.
        """
        if self.problem:
            ways = [remedy.settings for remedy in self.remedies]
            raise UsageError(self.problem + (f" This works: {'; or '.join(ways)}." if ways else ""))


def check(config: RunConfig) -> Check:
    """What a run with this configuration would meet; nothing is made or decoded.

    What `resolve` refuses (a model that cannot take the feature, say) is not asked again.
    """
    try:
        data = _data_of(config)
        clips = _clips(data)
    except GenrecoreError as error:
        return Check(config, str(error))
    if clips.table is None:  # the dataset is not made yet, and nobody knows what it will be
        return Check(config)
    if clips.problem:
        return Check(config, clips.problem, None, data)
    drawn = _Drawn.read(config, thinned=True)
    trial = _trial(data, _text(config.split), drawn, config.fold)
    problem = ""
    if trial.separation is None:
        problem = trial.reason
    elif trial.outcome == "crosses" and not config.allow_leaks:
        best = best_of(_all_trials(data, config))
        problem = leak_refusal(trial.reason, best is not None and best.outcome != "crosses")
    return Check(config, problem, trial, data)


def problems_of(configs: Iterable[RunConfig]) -> list[str]:
    """For each configuration why it is refused, empty where it is not; those that differ in
    training only are asked once."""
    problems: dict[str, str] = {}
    keys = []
    for config in configs:
        draws = config.clips_per_genre > 0  # by the seed
        exclude = {k: v for k, v in _NOT_LOOKED_AT.items() if k != "seed" or not draws}
        keys.append(config.model_dump_json(exclude=exclude))
        if keys[-1] not in problems:
            problems[keys[-1]] = check(config).problem
    return [problems[key] for key in keys]


def leak_refusal(leak: str, other_works: bool) -> str:
    """Why a split that leaks is refused, as sentences.

    Args:
        leak: What crosses.
        other_works: Whether another split of these clips does not leak.
    """
    if other_works:
        return f"{leak} Choose a split that keeps them apart, or allow leaks: {_MARKED}."
    return f"{leak} No split of these clips keeps them apart; allow leaks, and {_MARKED}."


def with_best_split(config: RunConfig) -> RunConfig:
    """The configuration with the best split of its clips in the place of `auto`; any other stays.

    Raises:
        UsageError: Options for `auto`, which has none.
    """
    if config.split.name != AUTO:
        return config
    if config.split.options:
        raise UsageError(
            f"The split {AUTO} has no options; found {', '.join(config.split.options)}. Name the "
            f"split: {', '.join(SPLITS)}."
        )
    default = RunConfig().split
    best = check(config.model_copy(update={"split": default})).best_split
    return config.model_copy(update={"split": best.part if best else default})


@dataclass(frozen=True)
class _Data:
    """What decides which clips there are and what is known of their audio."""

    stamp: Stamp
    genres: tuple[str, str]
    audio: tuple[int, float, bool]
    cached_at: tuple[int, ...]  # when a corpus and its copies were last kept


class _Clips(NamedTuple):
    """A dataset's clips with its genres changed; without the genres `unfit` there would be no
    problem."""

    table: pd.DataFrame | None
    problem: str = ""
    unfit: tuple[str, ...] = ()


def _data_of(config: RunConfig) -> _Data:
    dataset = with_remembered_folder(config.dataset)
    data = _Data(
        stamp_of(dataset.name, dataset.options),
        (config.genres.leave_out, config.genres.merge),
        (config.audio.sample_rate_hz, config.audio.clip_s, config.audio.accept_damaged),
        corpus.kept_at(),
    )
    kept = _corpus(data)
    if kept is None:
        return data
    return replace(data, cached_at=(*data.cached_at, recordings.kept_at(kept)))


@lru_cache(maxsize=16)
def _clips(data: _Data) -> _Clips:
    table = known_table(data.stamp)
    if table is None:
        return _Clips(None)
    try:
        table, _ = genres.apply(table, *data.genres)
        clip_tables.check(table, data.stamp[0])
    except GenrecoreError as error:
        return _Clips(table, str(error), _genres_in(error))
    return _Clips(table)


@lru_cache(maxsize=16)
def _corpus(data: _Data) -> Corpus | None:
    table = _clips(data).table
    return None if table is None else _kept_corpus(table, data)


def _kept_corpus(table: pd.DataFrame, data: _Data) -> Corpus | None:
    if set(table["medium"]) != {"audio"}:
        return None
    return corpus.kept(table, *data.audio)


def _all_trials(data: _Data, config: RunConfig) -> dict[str, Trial]:
    if _clips(data).problem:
        return {}
    # Of all training clips: which split is the best must not depend on a draw.
    drawn = _Drawn.read(config, thinned=False)
    return {name: _tried(data, name, drawn) for name in SPLITS}


def best_of(trials: Mapping[str, Trial]) -> Trial | None:
    """The best of some splits, as `Check.best_split` says; None where none is possible."""
    return min((t for t in trials.values() if t.separation), key=_rank, default=None)


def _rank(trial: Trial) -> tuple[int, bool, bool]:
    facts, separation = SPLITS[trial.part.name].facts, trial.separation
    known = separation is not None and separation.n_unknown < separation.n_clips
    by_artist = _by_artist(trial) and known
    return _RANKS.index(trial.outcome), not facts.published_with, not by_artist


def _by_artist(trial: Trial) -> bool:
    return "artist" in SPLITS[trial.part.name].facts.keeps


class _Drawn(NamedTuple):
    """The fields that decide, besides the split, which clips are in its parts."""

    rehearsal: int
    split_seed: int
    clips_per_genre: int = 0
    seed: int = 0

    @classmethod
    def read(cls, config: RunConfig, thinned: bool) -> _Drawn:
        """Those of a configuration; without `thinned` all training clips are learned from."""
        drawn = cls(config.rehearsal, config.split_seed)
        if thinned and config.clips_per_genre:
            drawn = drawn._replace(clips_per_genre=config.clips_per_genre, seed=config.seed)
        return drawn


@lru_cache(maxsize=512)
def _tried(data: _Data, name: str, drawn: _Drawn) -> Trial:
    """A scheme with its default options or, where those are impossible, with fewer folds."""
    entry = SPLITS.choose(name)
    parts = [Part(name=name)]
    if entry.facts.folds:
        fewer = range(splits.n_folds(entry) - 1, _FEWEST_FOLDS - 1, -1)
        parts += [Part(name=name, options={"n_folds": n}) for n in fewer]
    for part in parts:
        trial = _trial(data, _text(part), drawn, 0)
        if trial.separation:
            break
    return trial


def _text(part: Part) -> str:
    return part.model_dump_json()


@lru_cache(maxsize=512)
def _trial(data: _Data, part: str, drawn: _Drawn, fold: int) -> Trial:
    """A split applied to the clips that would take part."""
    table, scheme = _clips(data).table, Part.model_validate_json(part)
    if table is None:
        return Trial(scheme, None, "The dataset is not made yet.")
    dataset = Part(name=data.stamp[0])
    config = RunConfig(dataset=dataset, split=scheme, fold=fold, **drawn._asdict())
    kept = _corpus(data)
    try:
        if drawn.rehearsal:
            table, _ = prepare.taking_part(table, config)
            kept = _kept_corpus(table, data)
        if kept:
            table = prepare.usable(table, kept, config)
        split = prepare.split_clips(table, config)
    except GenrecoreError as error:
        return Trial(scheme, None, str(error), unfit=_genres_in(error))
    copies = recordings.kept_copies(kept) if kept else None
    shared = crossings.all_crossings(split, *(copies or recordings.NO_COPIES))
    separation = crossings.separation(shared, split, with_copies=copies is not None)
    trained = split.loc[split["split"] == "train", "genre"]
    return Trial(
        scheme,
        separation,
        separation.sentence if separation else "",
        copies is not None,
        n_train={genre: int((trained == genre).sum()) for genre in sorted(trained.unique())},
        parts=split.set_index("clip_id")["split"],
    )


def _unmet(data: _Data, trial: Trial, config: RunConfig) -> Sequence[Unmet]:
    """What the data do not give that the configuration needs; nothing where `resolve` refuses it,
    or nobody knows the sizes of the clips."""
    from genrecore.training import needs, parts  # torch

    if trial.parts is None:
        return ()
    try:
        resolved = parts.ResolvedConfig(config)
        if not parts.takes(resolved.feature.name, resolved.medium):
            return ()
        sizes = _sizes(data)
        if isinstance(sizes, str):
            return (needs.Unmet(sizes),)
        if sizes is None or sizes.counts.empty:
            return ()
        return needs.unmet(resolved, sizes, trial.parts, trial.n_train)
    except UsageError:
        return ()


@lru_cache(maxsize=16)
def _sizes(data: _Data) -> Sizes | str | None:
    """The sizes of the clips, or why they cannot be used; None of clips that are not made yet."""
    table, kept = _clips(data).table, _corpus(data)
    if kept is not None:
        return sizes_of(kept)
    dataset = DATASETS.choose(data.stamp[0], json.loads(data.stamp[1]))
    is_made = dataset.facts.is_made
    if table is None or table["medium"].nunique() != 1:
        return None
    if table["medium"].iloc[0] != "audio" and is_made and not is_made(dataset.options):
        return None
    try:
        return sizes(table, dataset.options, *data.audio[:2])
    except GenrecoreError as error:
        return str(error)


def _genres_in(error: GenrecoreError) -> tuple[str, ...]:
    """The genres without which there is no such error."""
    return error.genres if isinstance(error, UnfitGenresError) else ()
