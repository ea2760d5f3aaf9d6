"""How long runs will take: as long as the last run like them, else by a few measured steps.

A run is like another one if it has the same model, feature, segments and augmentation and was
trained on the same device. Where there is none, what `genrecore.training.timing` measured on this
machine counts; else the time is not known. Nothing here imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from genrecore.config.run import RunConfig
from genrecore.data import clips as clip_tables
from genrecore.data import genres, splits
from genrecore.data.datasets import DATASETS
from genrecore.data.segments import Segmenter
from genrecore.data.splits import SPLITS
from genrecore.errors import GenrecoreError
from genrecore.experiments.plan import n_at_once
from genrecore.store.run import Run
from genrecore.training import step_times
from genrecore.training.step_times import cost_key, device_for
from genrecore.words import seconds

_MOST_READ = 400  # newest runs of the store among which one like a planned run is looked for
_COUNTED = {"dataset", "genres", "rehearsal", "split", "split_seed", "fold", "audio", "segments"}


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
        n_runs: How many runs there are.
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

    @property
    def sentence(self) -> str:
        """All of it for people."""
        if not self.n_runs:
            return "There is nothing left to train."
        if self.n_unknown == self.n_runs:
            return "How long they take is not known: no such run has been trained or measured here."
        by_steps = "a few training steps on random numbers, measured on this machine"
        how = "judged by earlier runs like these"
        if self.n_by_runs and self.n_by_steps:
            how = f"{self.n_by_runs} of them {how}, {self.n_by_steps} by {by_steps}"
        elif self.n_by_steps:
            how = f"judged by {by_steps}"
        if self.n_by_steps:
            how += "; decoding a dataset for the first time is not counted"
        text = f"{'At most about' if self.early else 'About'} {seconds(self.seconds)}, {how}."
        if self.n_unknown == 1:
            text += " 1 more run is not counted: nothing is known of it."
        elif self.n_unknown:
            text += f" {self.n_unknown} more runs are not counted: nothing is known of them."
        return text


class Estimator:
    """Judges how long runs take by earlier runs, read once, and by measured steps."""

    def __init__(self, earlier: Iterable[Run]) -> None:
        """Takes runs of the store, the newest first."""
        self._runs: list[tuple[Run, RunConfig]] = []
        for run, _ in zip(earlier, range(_MOST_READ), strict=False):
            try:
                self._runs.append((run, run.config))
            except GenrecoreError:  # written by another version: it tells nothing
                continue
        self._like: dict[tuple[str, int], tuple[Run, RunConfig] | None] = {}
        self._counts: dict[str, Counts | None] = {}
        self._clips: dict[str, pd.DataFrame] = {}

    def add_clips(self, config: RunConfig, clips: pd.DataFrame) -> None:
        """Takes note of the clip table of a configuration's dataset."""
        self._clips[_dataset(config)] = clips
        self._counts.clear()

    def uncounted(self, configs: Iterable[RunConfig]) -> list[RunConfig]:
        """One configuration of each dataset whose clips nobody has counted yet."""
        return list({_dataset(c): c for c in configs if self.counts(c) is None}.values())

    def unmeasured(self, configs: Iterable[RunConfig]) -> list[RunConfig]:
        """One configuration of each kind without an earlier run and without measured steps."""
        unknown = [c for c in configs if self._run_like(c) is None and step_times.read(c) is None]
        return list({_kind(config): config for config in unknown}.values())

    def total(self, configs: Sequence[RunConfig]) -> PlanEstimate:
        """How long these runs, resolved, may take together."""
        estimates = [self.estimate(config) for config in configs]
        known_s = [estimate.seconds for estimate in estimates if estimate.source]
        n = n_at_once(configs)
        return PlanEstimate(
            seconds=max(sum(known_s) / n, max(known_s, default=0.0)),
            n_runs=len(configs),
            n_at_once=n,
            n_by_runs=sum(estimate.source == "runs" for estimate in estimates),
            n_by_steps=sum(estimate.source == "steps" for estimate in estimates),
            early=any(config.training.patience for config in configs),
        )

    def estimate(self, config: RunConfig) -> Estimate:
        """How long one run, resolved, may take."""
        counts = self.counts(config)
        if counts is None or not counts.n_train:
            return Estimate(math.nan, "")
        by_run = self._by_run(config, counts)
        if by_run is not None:
            return Estimate(by_run, "runs")
        times = step_times.read(config)
        if times is None:
            return Estimate(math.nan, "")
        n_examples = counts.n_train * times.n_copies
        n_each = n_examples + counts.n_valid
        epoch_s = n_examples * times.train_s + counts.n_valid * times.predict_s
        if not times.cached:
            epoch_s += n_each * times.feature_s
        features_s = (n_each + counts.n_test) * times.feature_s
        tested_s = (counts.n_valid + counts.n_test) * times.predict_s
        total_s = times.start_s + features_s + config.training.epochs * epoch_s + tested_s
        return Estimate(total_s, "steps")

    def _by_run(self, config: RunConfig, counts: Counts) -> float | None:
        """Seconds as the last run like it took: its epochs for each segment, and all the rest."""
        like = self._run_like(config)
        if like is None:
            return None
        run, run_config = like
        run_counts, epochs_s = self.counts(run_config), run.history["seconds"]
        if run_counts is None or not run_counts.n_train:
            return None
        n_epochs = config.training.epochs
        if run.n_epochs < run_config.training.epochs:  # it is fitted in a single step
            n_epochs = min(n_epochs, run.n_epochs)
        rest_s = max(0.0, run.worked_s - float(epochs_s.sum()))
        epoch_s = float(epochs_s.median()) * counts.n_train / run_counts.n_train
        return rest_s + n_epochs * epoch_s

    def _run_like(self, config: RunConfig) -> tuple[Run, RunConfig] | None:
        """The last run like this one; larger batches are faster, so the nearest size counts."""
        kind = _kind(config)
        if kind not in self._like:
            like = [
                (run, other)
                for run, other in self._runs
                if _kind(other)[0] == kind[0]
                and run.state == "done"
                and _trained_on(run) == device_for(config)
                and "seconds" in run.history
            ]
            size = math.log(config.training.batch_size)
            self._like[kind] = min(
                like,
                key=lambda pair: abs(math.log(pair[1].training.batch_size) - size),
                default=None,
            )
        return self._like[kind]

    def counts(self, config: RunConfig) -> Counts | None:
        """Segments in each part of a configuration's split, or None where nobody has counted."""
        key = config.model_dump_json(include=_COUNTED)
        if key not in self._counts:
            clips = self._clips_like(config)
            if clips is None and _dataset(config) in self._clips:
                table = self._clips[_dataset(config)]
                clips, _ = genres.apply(table, config.genres.leave_out, config.genres.merge)
            self._counts[key] = _counts_of_demo(config) if clips is None else _counts(config, clips)
        return self._counts[key]

    def _clips_like(self, config: RunConfig) -> pd.DataFrame | None:
        """The clip table of an earlier run on the same music.

        Its split is filled in: where a split is given with the data, only a run on that split
        tells it.
        """
        same_split = config.split.name in ("official", "manifest")
        for run, other in self._runs:
            if (
                other.dataset == config.dataset
                and other.genres == config.genres
                and other.rehearsal == config.rehearsal
                and (not same_split or other.split == config.split)
                and (clips := run.clips) is not None
            ):
                return clips
        return None


def _counts(config: RunConfig, clips: pd.DataFrame) -> Counts | None:
    """Segments in each part of a clip table; None where it cannot be split so."""
    split = config.split
    try:
        table = splits.apply(clips, split.name, split.options, config.split_seed, config.fold)
    except GenrecoreError:
        return None
    if config.rehearsal:
        table = genres.fewer(table, config.rehearsal)
    of_clip = table["duration_s"].map(lambda duration_s: _n_segments(duration_s, config))
    if (table["medium"] != "audio").any():
        of_clip = pd.Series(1, index=table.index)
    n = of_clip.groupby(table["split"]).sum()
    n_train = int(n.get("train", 0))
    if config.segments.excerpts == "random":
        n_train = int((table["split"] == "train").sum())
    return Counts(n_train, int(n.get("valid", 0)), int(n.get("test", 0)))


def _n_segments(duration_s: Any, config: RunConfig) -> int:
    known_s = config.audio.clip_s if pd.isna(duration_s) else float(duration_s)
    n_samples = round(min(known_s, config.audio.clip_s) * config.audio.sample_rate_hz)
    return len(Segmenter.from_config(config).starts(n_samples))


def _counts_of_demo(config: RunConfig) -> Counts | None:
    """Segments of the demo music by its options, before it has been made; None for other music."""
    if config.dataset.name != "demo":
        return None
    options = DATASETS["demo"].read_options(config.dataset.options, "dataset")
    n_clips = options.n_genres * min(options.n_clips, config.rehearsal or options.n_clips)
    if options.form == "audio" and config.segments.excerpts == "all":
        n_clips *= _n_segments(options.clip_s, config)
    return Counts(*(round(share * n_clips) for share in _shares(config)))


def _shares(config: RunConfig) -> tuple[float, float, float]:
    """About which shares of the clips are for training, validation and test."""
    entry = SPLITS[config.split.name]
    options = entry.read_options(config.split.options, "split")
    if entry.facts.folds:
        fold = 1 / options.n_folds
        return 1 - 2 * fold, fold, fold
    ratio = [float(getattr(options, name, 0.0)) for name in clip_tables.SPLITS]
    if not sum(ratio):
        return 0.8, 0.1, 0.1
    train, valid, test = (part / sum(ratio) for part in ratio)
    return train, valid, test


def _trained_on(run: Run) -> str:
    device = str(run.environment.get("device", ""))
    return "cuda:0" if device.startswith("cuda") else device


def _dataset(config: RunConfig) -> str:
    return config.dataset.model_dump_json()


def _kind(config: RunConfig) -> tuple[str, int]:
    """Equal for configurations whose steps take the same time here."""
    return cost_key(config), config.training.batch_size
