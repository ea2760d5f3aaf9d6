"""How long runs will take, estimated from the last similar run, else from a few measured steps.

Runs are similar if they have the same model, feature, segments and augmentation and train on the
same device. Steps are measured by `genrecore.training.timing`. Nothing here imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import pandas as pd

from genrecore.config.run import RunConfig
from genrecore.data import genres, splits
from genrecore.data.datasets import DATASETS
from genrecore.data.segments import Segmenter
from genrecore.data.splits.drawn import draw_training
from genrecore.errors import GenrecoreError
from genrecore.experiments.plan import n_at_once
from genrecore.store.run import Run
from genrecore.store.runs import each_readable
from genrecore.training import step_times
from genrecore.training.step_times import cost_key, device_for
from genrecore.words import seconds

_MOST_READ = 400  # only so many of the newest runs are searched for similar ones
_COUNTED = {"dataset", "genres", "rehearsal", "clips_per_genre", "split", "split_seed"}
_COUNTED |= {"audio", "segments"}


class Counts(NamedTuple):
    """Segments in each part of a split."""

    n_train: int
    n_valid: int
    n_test: int


class Estimate(NamedTuple):
    """The time of one run; `source` is `runs`, `steps`, or empty if unknown."""

    seconds: float = math.nan
    source: str = ""


@dataclass(frozen=True)
class PlanEstimate:
    """How long several runs may take.

    Attributes:
        seconds: Until the last run ends, of those that can be estimated.
        n_by_runs: Runs estimated from earlier ones.
        n_by_steps: Runs estimated from measured steps.
        early: Whether some may stop before their last epoch (early stopping).
    """

    seconds: float
    n_runs: int
    n_at_once: int
    n_by_runs: int
    n_by_steps: int
    early: bool

    @property
    def n_unknown(self) -> int:
        """Runs that cannot be estimated."""
        return self.n_runs - self.n_by_runs - self.n_by_steps

    @property
    def sentence(self) -> str:
        """The estimate for people."""
        if not self.n_runs:
            return "There is nothing left to train."
        if self.n_unknown == self.n_runs:
            return "How long they take is unknown: no such run has been trained or measured here."
        by_steps = "a few training steps on random numbers, measured on this machine"
        how = "estimated from similar earlier runs"
        if self.n_by_runs and self.n_by_steps:
            how = f"{self.n_by_runs} of them {how}, {self.n_by_steps} from {by_steps}"
        elif self.n_by_steps:
            how = f"estimated from {by_steps}"
        if self.n_by_steps:
            how += "; decoding a dataset for the first time is not counted"
        time = f"{'at most about' if self.early else 'about'} {seconds(self.seconds)}"
        if not self.n_unknown:
            return f"{time[0].upper()}{time[1:]}, {how}."
        n = self.n_runs - self.n_unknown
        takes = f"{n} of {self.n_runs} runs take" if n > 1 else f"1 of {self.n_runs} runs takes"
        rest = f"the other {self.n_unknown} take" if self.n_unknown > 1 else "the other one takes"
        return f"{takes} {time}, {how}; how long {rest} is unknown."


class Estimator:
    """Estimates run times from runs of the store, the newest first, and from measured steps."""

    def __init__(self, earlier: Iterable[Run]) -> None:
        self._runs: list[Run] = []
        self._by_cost: dict[str, list[Run]] = {}
        recent = each_readable(islice(earlier, _MOST_READ), lambda run: cost_key(run.config))
        for run, key in recent:
            self._runs.append(run)
            self._by_cost.setdefault(key, []).append(run)
        self._like: dict[tuple[str, int], Run | None] = {}
        self._counts: dict[str, Counts | None] = {}
        self._clips: dict[str, pd.DataFrame] = {}

    def add_clips(self, config: RunConfig, clips: pd.DataFrame) -> None:
        """Adds the clip table of a configuration's dataset."""
        self._clips[config.dataset.model_dump_json()] = clips
        self._counts.clear()

    def uncounted(self, configs: Iterable[RunConfig]) -> list[RunConfig]:
        """One configuration of each dataset whose clip table is needed to count segments."""
        unknown = [config for config in configs if self.counts(config) is None]
        return list({config.dataset.model_dump_json(): config for config in unknown}.values())

    def unmeasured(self, configs: Iterable[RunConfig]) -> list[RunConfig]:
        """One configuration of each kind without an earlier run and without measured steps."""
        unknown = [c for c in configs if self._run_like(c) is None and step_times.read(c) is None]
        return list({(cost_key(c), c.training.batch_size): c for c in unknown}.values())

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
            return Estimate()
        run = self._run_like(config)
        run_counts = self.counts(run.config) if run else None
        if run and run_counts and run_counts.n_train:
            n_epochs = config.training.epochs
            if run.n_epochs < run.config.training.epochs:  # it is fitted in a single step
                n_epochs = min(n_epochs, run.n_epochs)
            epochs_s = run.history["seconds"]
            rest_s = max(0.0, run.worked_s - float(epochs_s.sum()))
            epoch_s = float(epochs_s.median()) * counts.n_train / run_counts.n_train
            return Estimate(rest_s + n_epochs * epoch_s, "runs")
        times = step_times.read(config)
        if times is None:
            return Estimate()
        n_examples = counts.n_train * times.n_copies
        n_each = n_examples + counts.n_valid
        epoch_s = n_examples * times.train_s + counts.n_valid * times.predict_s
        if not times.cached:
            epoch_s += n_each * times.feature_s
        features_s = (n_each + counts.n_test) * times.feature_s
        tested_s = (counts.n_valid + counts.n_test) * times.predict_s
        total_s = times.start_s + features_s + config.training.epochs * epoch_s + tested_s
        return Estimate(total_s, "steps")

    def _run_like(self, config: RunConfig) -> Run | None:
        """The last similar run with the nearest batch size, since larger batches are faster."""
        kind = cost_key(config), config.training.batch_size
        if kind not in self._like:
            size = math.log(config.training.batch_size)
            device = device_for(config)

            def fits(run: Run) -> bool:
                is_done = run.state == "done" and _trained_on(run) == device
                return is_done and "seconds" in run.history

            earlier = each_readable(self._by_cost.get(kind[0], []), fits)
            self._like[kind] = min(
                (run for run, does_fit in earlier if does_fit),
                key=lambda run: abs(math.log(run.config.training.batch_size) - size),
                default=None,
            )
        return self._like[kind]

    def counts(self, config: RunConfig) -> Counts | None:
        """Segments in each part of a configuration's split; None if they cannot be counted. Those
        of its first fold stand for the others, which are about as large."""
        key = config.model_dump_json(include=_COUNTED)
        if key not in self._counts:
            try:
                clips = self._clip_table(config)
                self._counts[key] = None if clips is None else _counts(config, clips)
            except GenrecoreError:  # the clips lack these genres or this split
                self._counts[key] = None
        return self._counts[key]

    def _clip_table(self, config: RunConfig) -> pd.DataFrame | None:
        """The clips of the configuration: of an earlier run on the same music, else of its dataset,
        else those that the dataset is expected to have."""
        published = splits.SPLITS[config.split.name].facts.published_with
        alike = (
            run
            for run in self._runs
            if (run.config.dataset, run.config.genres) == (config.dataset, config.genres)
            and run.config.rehearsal == config.rehearsal
            # A run's table has its own split filled in, which a published one reads.
            and (not published or run.config.split == config.split)
            and not (published and run.config.clips_per_genre)
        )
        for _, clips in each_readable(alike, lambda run: run.clips):
            if clips is not None:
                return clips
        key = config.dataset.model_dump_json()
        if key not in self._clips:
            dataset = config.dataset.choose_from(DATASETS)
            if dataset.facts.expected is None:
                return None
            self._clips[key] = dataset.facts.expected(dataset.options)
        return genres.apply(self._clips[key], config.genres.leave_out, config.genres.merge)[0]


def _counts(config: RunConfig, clips: pd.DataFrame) -> Counts:
    """Segments in each part of a clip table."""
    split = config.split.choose_from(splits.SPLITS)
    table = splits.apply(clips, split, config.split_seed, config.fold)
    if config.rehearsal:
        table = genres.fewer(table, config.rehearsal)
    if config.clips_per_genre:
        table = draw_training(table, config.clips_per_genre, config.seed)
    n = pd.Series(1, index=table.index)
    if (table["medium"] == "audio").all():
        segmenter, rate_hz = Segmenter.from_config(config), config.audio.sample_rate_hz
        lengths_s = table["duration_s"].fillna(config.audio.clip_s).clip(upper=config.audio.clip_s)
        by_length = {s: len(segmenter.starts(round(s * rate_hz))) for s in lengths_s.unique()}
        n = lengths_s.map(by_length)
    sums = n.groupby(table["split"]).sum()
    if config.segments.excerpts == "random":  # one excerpt of each training clip
        sums["train"] = int((table["split"] == "train").sum())
    return Counts(*(int(sums.get(part, 0)) for part in splits.PARTS))


def _trained_on(run: Run) -> str:
    device = str(run.environment.get("device", ""))
    return "cuda:0" if device.startswith("cuda") else device
