"""How long runs will take: judged by earlier runs like them, else by a few measured steps.

Earlier runs are those of the store with the same model, feature, segments and augmentation on the
same device. Where there is none, what `genrecore.training.timing` measured on this machine counts.
Nothing here imports torch.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from genrecore.config.run import RunConfig
from genrecore.data import clips as clip_tables
from genrecore.data import genres as relabel
from genrecore.data import splits
from genrecore.data.datasets import DATASETS
from genrecore.data.segments import Segmenter
from genrecore.data.splits import SPLITS
from genrecore.errors import GenrecoreError
from genrecore.jobs import slots
from genrecore.store import run as runs
from genrecore.store.run import Run
from genrecore.training import hardware, step_times

_MOST_LIKE = 5  # earlier runs that an estimate looks at
_MOST_READ = 400  # newest runs of the store among which they are looked for


@dataclass(frozen=True)
class Counts:
    """Segments of a dataset in each part of its split."""

    n_train: int
    n_valid: int
    n_test: int


@dataclass(frozen=True)
class Estimate:
    """How long one run may take.

    Attributes:
        seconds: nan where nothing is known.
        source: `runs`, `steps`, or empty where nothing is known.
    """

    seconds: float
    source: str


@dataclass(frozen=True)
class PlanEstimate:
    """How long several runs may take.

    Attributes:
        seconds: Until the last one is through, of those for which something is known.
        n_runs: How many runs.
        n_at_once: How many of them run at the same time.
        n_by_runs: Those judged by earlier runs.
        n_by_steps: Those judged by measured steps.
        early: Whether some may stop before their last epoch.
    """

    seconds: float
    n_runs: int
    n_at_once: int
    n_by_runs: int
    n_by_steps: int
    early: bool

    @property
    def n_unknown(self) -> int:
        """Runs of which nothing is known."""
        return self.n_runs - self.n_by_runs - self.n_by_steps

    def sentence(self, duration: str) -> str:
        """All of it for people.

        Args:
            duration: `seconds` in words.
        """
        if not self.n_runs:
            return "There is nothing left to train."
        if self.n_unknown == self.n_runs:
            return "How long they take is not known: no such run has been trained or measured here."
        by_steps = "a few training steps on random numbers, measured on this machine"
        how = "judged by earlier runs like these"
        if self.n_by_steps:
            how = f"judged by {by_steps}"
            if self.n_by_runs:
                how = (
                    f"{self.n_by_runs} of them judged by earlier runs like these, "
                    f"{self.n_by_steps} by {by_steps}"
                )
            how += "; decoding a dataset for the first time is not counted"
        most = "At most about" if self.early else "About"
        words = f"{most} {duration}, {how}."
        if self.n_unknown:
            one = self.n_unknown == 1
            words += (
                f" {self.n_unknown} more {'run is' if one else 'runs are'} not counted: nothing "
                f"is known of {'it' if one else 'them'}."
            )
        return words


def n_slots(configs: Sequence[RunConfig], store: Path | None = None) -> int:
    """How many runs of these work at the same time on this machine."""
    gpus = hardware.accelerators()
    if gpus and any(config.device in ("auto", "cuda") for config in configs):
        return len(gpus)
    return slots.n_on_cpu(store or runs.store_dir())


class Known:
    """What is known about how long runs take: earlier runs, read once, and measured steps."""

    def __init__(self, earlier: Iterable[Run]) -> None:
        """Takes runs of the store, the newest first."""
        self._runs: list[tuple[Run, RunConfig]] = []
        for run, _ in zip(earlier, range(_MOST_READ), strict=False):
            try:
                self._runs.append((run, run.config))
            except GenrecoreError:  # written by another version: it tells nothing
                continue
        self._paces: dict[str, tuple[float, float, int] | None] = {}
        self._counts: dict[str, Counts | None] = {}
        self._clips: dict[str, pd.DataFrame] = {}

    def tell(self, config: RunConfig, clips: pd.DataFrame) -> None:
        """Takes note of the clip table of a configuration's dataset."""
        self._clips[_dataset(config)] = clips
        self._counts.clear()

    def unread(self, configs: Iterable[RunConfig]) -> list[RunConfig]:
        """One configuration of each dataset whose clips nobody has counted yet."""
        return list({_dataset(c): c for c in configs if self.counts(c) is None}.values())

    def unmeasured(self, configs: Iterable[RunConfig]) -> list[RunConfig]:
        """One configuration of each sort that no earlier run and no measured step tells of."""
        return list(
            {
                f"{step_times.cost_key(c)} {c.training.batch_size}": c
                for c in configs
                if self._paced(c) is None and step_times.read(c) is None
            }.values()
        )

    def of_all(self, configs: Sequence[RunConfig]) -> PlanEstimate:
        """How long these runs, resolved, may take together."""
        each = [self.of(config) for config in configs]
        n_at_once = n_slots(configs)
        total_s = sum(one.seconds for one in each if one.source)
        longest_s = max((one.seconds for one in each if one.source), default=0.0)
        return PlanEstimate(
            seconds=max(total_s / n_at_once, longest_s),
            n_runs=len(configs),
            n_at_once=n_at_once,
            n_by_runs=sum(one.source == "runs" for one in each),
            n_by_steps=sum(one.source == "steps" for one in each),
            early=any(config.training.patience for config in configs),
        )

    def of(self, config: RunConfig) -> Estimate:
        """How long one run, resolved, may take."""
        counts = self.counts(config)
        if counts is None or not counts.n_train:
            return Estimate(math.nan, "")
        n_epochs = config.training.epochs
        pace = self._paced(config)
        if pace is not None:
            segment_s, rest_s, most_epochs = pace
            n_epochs = min(n_epochs, most_epochs) if most_epochs else n_epochs
            return Estimate(rest_s + n_epochs * counts.n_train * segment_s, "runs")
        found = step_times.read(config)
        if found is None:
            return Estimate(math.nan, "")
        n_examples = counts.n_train * found.n_copies
        n_each = n_examples + counts.n_valid
        epoch_s = n_examples * found.train_s + counts.n_valid * found.predict_s
        features_s = (n_each + counts.n_test) * found.feature_s
        if not found.cached:
            epoch_s += n_each * found.feature_s
        tested_s = (counts.n_valid + counts.n_test) * found.predict_s
        return Estimate(found.start_s + features_s + n_epochs * epoch_s + tested_s, "steps")

    def _paced(self, config: RunConfig) -> tuple[float, float, int] | None:
        key = f"{step_times.cost_key(config)} {config.training.batch_size}"
        if key not in self._paces:
            self._paces[key] = self._pace(config)
        return self._paces[key]

    def _pace(self, config: RunConfig) -> tuple[float, float, int] | None:
        """Seconds an epoch takes a training segment, what a run takes besides, and the one epoch
        of what is fitted at one go (else 0)."""
        like = [
            (run, theirs)
            for run, theirs in self._runs
            if step_times.cost_key(theirs) == step_times.cost_key(config)
            and run.status.get("state") == "done"
            and _device(run) == step_times.device_for(config)
        ]
        # Larger batches are faster; those with the nearest size tell most.
        size = config.training.batch_size
        like.sort(key=lambda one: abs(math.log(one[1].training.batch_size / size)))
        nearest = [one for one in like if one[1].training.batch_size == size] or like
        paces: list[float] = []
        rests: list[float] = []
        most_epochs = 0
        for run, theirs in nearest[:_MOST_LIKE]:
            counts = self.counts(theirs)
            history = run.history
            if counts is None or not counts.n_train or "seconds" not in history:
                continue
            paces.append(float(history["seconds"].median()) / counts.n_train)
            rests.append(max(0.0, run.worked_s - float(history["seconds"].sum())))
            if run.n_epochs < theirs.training.epochs:
                most_epochs = run.n_epochs
        # Decoding and features are made once: of the rest, the least counts.
        return (statistics.median(paces), min(rests), most_epochs) if paces else None

    def counts(self, config: RunConfig) -> Counts | None:
        """Segments in each part of a configuration's split, or None where nobody has counted."""
        what = {
            "dataset",
            "genres",
            "rehearsal",
            "split",
            "split_seed",
            "fold",
            "audio",
            "segments",
        }
        key = json.dumps(config.model_dump(include=what), sort_keys=True)
        if key not in self._counts:
            table, told = self._clips_of(config), self._clips.get(_dataset(config))
            if table is None and told is not None:
                table, _ = relabel.apply(told, config.genres.leave_out, config.genres.merge)
            self._counts[key] = _counts(config, table)
        return self._counts[key]

    def _clips_of(self, config: RunConfig) -> pd.DataFrame | None:
        """The clip table of an earlier run on the same music; its split is filled, so that where a
        split is given with the data, only a run on that split tells it."""
        given = config.split.name in ("official", "manifest")
        for run, theirs in self._runs:
            alike = theirs.dataset == config.dataset and theirs.genres == config.genres
            alike = alike and theirs.rehearsal == config.rehearsal
            if alike and (not given or theirs.split == config.split):
                found = run.clips
                if found is not None:
                    return found
        return None


def _counts(config: RunConfig, clips: pd.DataFrame | None) -> Counts | None:
    """Segments in each part: of a clip table, or by the shares of the split where the demo music
    has not been made yet."""
    if clips is None:
        return _counts_of_demo(config)
    try:
        table = splits.apply(
            clips, config.split.name, config.split.options, config.split_seed, config.fold
        )
    except GenrecoreError:
        return None
    if config.rehearsal:
        table = relabel.fewer(table, config.rehearsal)
    each = table["duration_s"].map(lambda s: _n_segments(s, config))
    if (table["medium"] != "audio").any():
        each = pd.Series(1, index=table.index)
    n = each.groupby(table["split"]).sum()
    n_train = int(n.get("train", 0))
    if config.segments.excerpts == "random":
        n_train = int((table["split"] == "train").sum())
    return Counts(n_train, int(n.get("valid", 0)), int(n.get("test", 0)))


def _n_segments(duration_s: Any, config: RunConfig) -> int:
    known_s = config.audio.clip_s if pd.isna(duration_s) else float(duration_s)
    n_clip = round(min(known_s, config.audio.clip_s) * config.audio.sample_rate_hz)
    return len(Segmenter.from_config(config).starts(n_clip))


def _counts_of_demo(config: RunConfig) -> Counts | None:
    if config.dataset.name != "demo":
        return None
    options = DATASETS["demo"].read_options(config.dataset.options, "dataset")
    n_a_genre = min(options.n_clips, config.rehearsal or options.n_clips)
    n_clips = options.n_genres * n_a_genre
    if options.form == "audio" and config.segments.excerpts == "all":
        n_clips *= _n_segments(options.clip_s, config)
    train, valid, test = _shares(config)
    return Counts(round(train * n_clips), round(valid * n_clips), round(test * n_clips))


def _shares(config: RunConfig) -> tuple[float, float, float]:
    """About which shares of the clips train, validate and test."""
    entry = SPLITS[config.split.name]
    options = entry.read_options(config.split.options, "split")
    if entry.facts.folds:
        part = 1 / options.n_folds
        return 1 - 2 * part, part, part
    given = {name: float(getattr(options, name, 0.0)) for name in clip_tables.SPLITS}
    total = sum(given.values())
    if not total:
        return 0.8, 0.1, 0.1
    return given["train"] / total, given["valid"] / total, given["test"] / total


def _device(run: Run) -> str:
    found = str(run.environment.get("device", ""))
    return "cuda:0" if found.startswith("cuda") else found


def _dataset(config: RunConfig) -> str:
    return config.dataset.model_dump_json()
