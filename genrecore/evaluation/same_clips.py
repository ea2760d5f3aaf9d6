"""Which clips of several runs are the same: those that hold the same content, whatever their names.

A run keeps digests of each clip in its clip table: of its file (`content`), and of the samples,
pixels or numbers that the run was given of it (`decoded`). Clips are the same where either agrees.
So other music under the same file names is never taken for the same clips, and a collection that
was moved, renamed, tagged anew or converted without loss is the same one. Runs of earlier versions
keep no digests, and runs on other forms of the clips (images of them, say) read other files: there
a clip is known by its name in its dataset, and a note says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import NamedTuple

import pandas as pd

from genrecore.store.run import Run
from genrecore.store.runs import each_readable
from genrecore.words import listed, out_of, plural

_MOST_TITLES = 4
_COLUMNS = ("clip_id", "medium", "content", "decoded")


@dataclass(frozen=True)
class SameClips:
    """Names under which the clips of some runs are compared: equal names, the same clip.

    Attributes:
        names: By the id of a run: the common names of those of its clips that have another name of
            their own, by `clip_id`.
        n_other: How many names stand for other content in another run.
        notes: Sentences to read before a comparison.
    """

    names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    n_other: int = 0
    notes: tuple[str, ...] = ()

    @property
    def warning(self) -> str:
        """The sentence about clips of other content, after a space; empty where there are none."""
        return f" {self.notes[0]}" if self.n_other else ""

    def named(self, table: pd.DataFrame, run: Run) -> pd.DataFrame:
        """A table of a run's clips with their common names in `clip_id`."""
        names = self.names.get(run.run_id)
        if not names:
            return table
        own = table["clip_id"]
        return table.assign(clip_id=own.map(names).fillna(own))


def same_clips(runs: Iterable[Run]) -> SameClips:
    """The common names of the clips of these runs. The first run's clips keep theirs."""
    known = _Known()
    names = {run.run_id: known.add(run) for run in {run.run_id: run for run in runs}.values()}
    return SameClips(names, len(known.other), tuple(known.notes()))


def collection_titles(runs: Iterable[Run]) -> dict[tuple[str, str], str]:
    """A title for the music that runs were trained on, by its `place`: the dataset's name and,
    where its places hold other music, the folder's name or the options. A collection that was moved
    is one. The first run of each place stands for it."""
    first: dict[tuple[str, str], Run] = {}
    for run in runs:
        first.setdefault(place(run), run)
    titles: dict[tuple[str, str], str] = {}
    for dataset in dict.fromkeys(dataset for dataset, _ in first):
        places = [here for here in first if here[0] == dataset]
        groups = _alike([first[here] for here in places]) if len(places) > 1 else [0]
        names: dict[int, str] = {}
        for here, group in zip(places, groups, strict=True):
            if group not in names:
                options = first[here].facts.dataset_options
                folder = str(options.get("folder", ""))
                name = f"{dataset} · {PurePath(folder).name or here[1] or 'by default'}"
                names[group] = f"{dataset} · {here[1]}" if name in names.values() else name
            titles[here] = names[group] if len(set(groups)) > 1 else dataset
    return titles


def place(run: Run) -> tuple[str, str]:
    """The dataset of a run, and its options as text: where its music is."""
    options = sorted(run.facts.dataset_options.items())
    return run.facts.dataset, ", ".join(f"{name} {value}" for name, value in options)


def _alike(runs: Sequence[Run]) -> list[int]:
    """For each run the index of the first with which it has clips in common, or its own."""
    readable = dict(each_readable(runs, _clips_of))
    same = same_clips(readable)
    ids: list[set[str]] = []
    for run in runs:
        names = same.names.get(run.run_id, {})
        ids.append({names.get(clip.name, clip.name) for clip in readable.get(run, ())})
    return [
        next(k for k in range(n + 1) if k == n or not ids[k].isdisjoint(own))
        for n, own in enumerate(ids)
    ]


class _Clip(NamedTuple):
    """A clip as a run knows it; digests are empty where it keeps none."""

    name: str
    medium: str
    content: str
    decoded: str

    @property
    def keys(self) -> list[tuple[str, str]]:
        """What it shares with the same clip in another run."""
        return [(self.medium, digest) for digest in (self.content, self.decoded) if digest]


class _Known:
    """The clips of the runs so far, by their common names."""

    def __init__(self) -> None:
        self.datasets: dict[str, set[str]] = {}  # by common name
        self.media: dict[str, set[str]] = {}  # of which a digest is known, by common name
        self.names: dict[tuple[str, str], list[str]] = {}  # common names, by key
        self.own: set[tuple[str, str]] = set()  # dataset and own name
        self.several: set[str] = set()  # own names that several runs on a dataset have
        self.other: set[str] = set()  # of these, names of other content
        self.renamed: set[str] = set()  # common names of clips that a run calls otherwise
        self.undigested: dict[str, None] = {}  # titles of runs without digests
        self.forms: set[str] = set()  # media whose clips are known by name alone
        self.by_name = False
        self.last: tuple[str, list[_Clip], dict[str, str]] | None = None

    def add(self, run: Run) -> dict[str, str]:
        """Takes a run's clips in; returns the common names of those that have another one."""
        dataset, clips = run.facts.dataset, _clips_of(run)
        has_digests = all(clip.content or clip.decoded for clip in clips)
        if not has_digests:
            self.undigested[run.title] = None
        if self.last and self.last[:2] == (dataset, clips):
            self.several.update(clip.name for clip in clips)
            self.by_name |= not has_digests
            return self.last[2]
        self.last = dataset, clips, {}
        clips = sorted(clips)
        common: dict[str, str] = {}
        taken: set[str] = set()
        for choose in (self._by_digest_and_name, self._by_digest, self._by_name):
            for clip in clips:
                if clip.name not in common and (name := choose(clip, dataset, taken)):
                    common[clip.name] = name
                    taken.add(name)
        for clip in clips:
            self._take_in(clip, common[clip.name], dataset)
        names = {name: other for name, other in common.items() if name != other}
        self.last = *self.last[:2], names
        return names

    def _by_digest_and_name(self, clip: _Clip, dataset: str, taken: set[str]) -> str:
        return clip.name if any(clip.name in self.names.get(key, ()) for key in clip.keys) else ""

    def _by_digest(self, clip: _Clip, dataset: str, taken: set[str]) -> str:
        """The name in the runs before; copies in the order of their names."""
        names = (name for key in clip.keys for name in self.names.get(key, ()))
        name = next((name for name in names if name not in taken), "")
        if name:
            self.renamed.add(name)
        return name

    def _by_name(self, clip: _Clip, dataset: str, taken: set[str]) -> str:
        """The name of a clip whose content no run before has, as far as is known."""
        if clip.name not in self.datasets:
            return clip.name
        is_known = bool(clip.keys) and clip.medium in self.media[clip.name]
        if dataset in self.datasets[clip.name]:
            if not is_known and clip.name not in taken:
                if clip.keys and self.media[clip.name]:
                    self.forms |= {clip.medium, *self.media[clip.name]}
                else:
                    self.by_name = True
                return clip.name
            if is_known:
                self.other.add(clip.name)
        name = f"{clip.name} ({(clip.content or clip.decoded)[-8:] or dataset})"
        while name in taken or name in self.datasets:
            name += "'"
        return name

    def _take_in(self, clip: _Clip, name: str, dataset: str) -> None:
        if (dataset, clip.name) in self.own:
            self.several.add(clip.name)
        self.own.add((dataset, clip.name))
        self.datasets.setdefault(name, set()).add(dataset)
        media = self.media.setdefault(name, set())
        for key in clip.keys:
            media.add(clip.medium)
            names = self.names.setdefault(key, [])
            if name not in names:
                names.append(name)

    def notes(self) -> Iterator[str]:
        """What is known of the clips, in sentences."""
        media = {medium for of_clip in self.media.values() for medium in of_clip}
        audio = "audio" if media <= {"audio"} else "content"
        if self.other:
            n = len(self.other)
            yield (
                f"{out_of(n, len(self.several))} clips hold other {audio} under the same name in "
                f"another run: {'it is' if n == 1 else 'they are'} not compared as the same."
            )
        if self.renamed:
            n = len(self.renamed)
            yield (
                f"{plural(n, 'clip')} {'bears' if n == 1 else 'bear'} another name in another run "
                f"and {'holds' if n == 1 else 'hold'} the same {audio}: compared as the same."
            )
        if self.by_name:
            titles = list(self.undigested)
            yield (
                f"{listed(titles, most=_MOST_TITLES)} {'was' if len(titles) == 1 else 'were'} "
                "trained by an earlier version, which did not keep what the clips hold: clips of "
                "one name are taken for the same."
            )
        if self.forms:
            yield (
                f"These runs read the clips in several forms ({listed(sorted(self.forms))}): clips "
                "of one name are taken for the same."
            )


def _clips_of(run: Run) -> list[_Clip]:
    """A run's clips; none where they are not known."""
    table = run.clips
    if table is None:
        if run.predictions is None:
            return []
        table = run.predictions.drop_duplicates("clip_id")
    unknown = pd.Series(None, table.index, dtype=object)
    usual = {"medium": "audio"}
    columns = [table.get(name, unknown).fillna(usual.get(name, "")).tolist() for name in _COLUMNS]
    return [_Clip(*row) for row in zip(*columns, strict=True)]
