"""Several runs classify the same files: each file is decoded once for runs that want the same rate
and length, and segments of many files go through a network together."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genrecore.data.datasets import DATASETS
from genrecore.data.parallel import in_order
from genrecore.errors import AudioError, GenrecoreError, UsageError
from genrecore.evaluation.thresholds import Thresholds, select
from genrecore.inference import loaded as inference
from genrecore.inference.loaded import FILES, Excerpt, LoadedRun, Prediction, by_genre
from genrecore.inference.sources import File, Source, as_file, display_name, fault_of, is_array
from genrecore.store.progress import Phase, Report, silent
from genrecore.store.run import Run
from genrecore.training import hardware

_MOST_KEPT = 32  # precisions whose thresholds are kept


@dataclass(frozen=True)
class EnsemblePrediction:
    """The runs' predictions for one file.

    Attributes:
        name: What the file is called.
        predictions: One a run, in their order; empty where there is a problem.
        average: Mean of the calibrated probabilities, (genres,); None for a single run, or where
            the runs have different genres.
        problem: Why the file cannot be used; empty where it can.
        thresholds: From which confidence on the average is an answer; None where no precision is
            wanted.
    """

    name: str
    predictions: tuple[Prediction, ...] = ()
    average: np.ndarray | None = None
    problem: str = ""
    thresholds: Thresholds | None = None

    @property
    def answer(self) -> str | None:
        """The likeliest genre, of several runs on average; None for "not sure"."""
        first = self.predictions[0]
        if self.average is None:
            return first.answer
        genre = first.genres[int(self.average.argmax())]
        if self.thresholds is None:
            return genre
        return self.thresholds.answer(genre, float(self.average.max()))

    @property
    def warning(self) -> str:
        """A sentence where the file is damaged and only what can be decoded was classified."""
        return next((each.warning for each in self.predictions if each.warning), "")

    @property
    def agreement(self) -> str:
        """How far the runs agree, as a sentence; empty for one run."""
        n = len(self.predictions)
        if n < 2:
            return ""
        runs: dict[str, list[str]] = {}
        for prediction in self.predictions:
            runs.setdefault(prediction.genre, []).append(prediction.run_id)
        first, *others = sorted(runs, key=lambda genre: -len(runs[genre]))
        if not others:
            return f"{'Both' if n == 2 else f'All {n}'} runs say {first}."
        if len(runs[first]) == 1:
            each = ", ".join(f"{p.run_id} says {p.genre}" for p in self.predictions)
            return f"No two runs agree: {each}." if n > 2 else f"The runs disagree: {each}."
        rest = ", ".join(f"{', '.join(runs[genre])}: {genre}" for genre in others)
        return f"{len(runs[first])} of {n} runs say {first}; {rest}."

    def as_dict(self) -> dict[str, Any]:
        """For JSON: a single run's prediction, or every run's under `runs` with their average."""
        runs = [
            {**prediction.as_dict(), "run": prediction.run_id} for prediction in self.predictions
        ]
        if len(runs) == 1:
            return runs[0]
        values: dict[str, Any] = {"name": self.name, "agreement": self.agreement, "runs": runs}
        if self.predictions[0].medium == "wave":
            values["warning"] = self.warning
        if self.average is not None:
            genres = self.predictions[0].genres
            values["genre"] = genres[int(self.average.argmax())]
            values["proba"] = by_genre(genres, self.average)
            if self.thresholds is not None:
                values |= self.thresholds.judged(genres, self.average)
        return values


class Ensemble:
    """Loaded runs that classify the same files.

    Attributes:
        loaded: The runs.
        medium: What they classify, a key of `FILES`.
        genres: The genres of all runs; None where they differ, and nothing is averaged.
        note: Why nothing is averaged; empty where it is, or for one run.
        caution: A sentence about runs that were trained on generated music alone; else empty.
        precision: That is wanted of its answers; None for one that always answers.
        promises: What may be expected of answers at that precision, in sentences.
    """

    def __init__(self, loaded: Sequence[LoadedRun]) -> None:
        """
        Raises:
            UsageError: No run, one twice, or some that classify images and some recordings.
        """
        self.loaded = list(loaded)
        ids = [run.run.run_id for run in self.loaded]
        if not ids:
            raise UsageError("No run is named; classifying takes one at least.")
        twice = next((run_id for run_id in ids if ids.count(run_id) > 1), None)
        if twice:
            raise UsageError(f"The run {twice} is named twice; once is enough.")
        media = {run.medium: run.run.run_id for run in self.loaded}
        if len(media) > 1:
            (one, first), (other, second) = list(media.items())[:2]
            raise UsageError(
                f"The run {first} classifies {FILES[one].several} and the run {second} "
                f"{FILES[other].several}; use them one after the other."
            )
        self.medium = self.loaded[0].medium
        alike = all(run.genres == self.loaded[0].genres for run in self.loaded)
        self.genres = self.loaded[0].genres if alike else None
        self.note = "" if alike else "The runs have different genres, so they are not averaged."
        made_up = [
            run.run.run_id
            for run in self.loaded
            if (name := run.config.dataset.name) in DATASETS and DATASETS[name].facts.made_up
        ]
        self.precision: float | None = None
        self.promises: list[str] = []
        self._thresholds: list[Thresholds | None] = [None] * len(self.loaded)
        self._of_average: Thresholds | None = None
        self._wanting: dict[float, Ensemble] = {}
        self.caution = ""
        if made_up:
            self.caution = (
                f"Trained on music that genrecore makes itself: {', '.join(made_up)}. Real music "
                "belongs to none of its genres, whatever the prediction."
            )

    def wanting(self, precision: float | None) -> Ensemble:
        """The same runs, whose predictions are answers only where the share of right ones is so
        large; without a precision this one.

        Raises:
            UsageError: No such precision can be promised.
            GenrecoreError: A run has no predictions.
        """
        if precision is None:
            return self
        if precision not in self._wanting:
            runs = [loaded.run for loaded in self.loaded]
            of_runs = [select([run], precision) for run in runs]
            other = copy.copy(self)
            other.precision = precision
            other._thresholds = [answers.thresholds for answers in of_runs]
            other.promises = list(of_runs[0].sentences)
            if len(runs) > 1:
                other.promises = []
                for run, answers in zip(runs, of_runs, strict=True):
                    other.promises += [f"{run.run_id}: {text}" for text in answers.sentences]
            if len(runs) > 1 and self.genres:
                try:
                    average = select(runs, precision)
                    other._of_average = average.thresholds
                    other.promises += [f"On average: {text}" for text in average.sentences]
                except GenrecoreError as error:
                    other._of_average = Thresholds(precision, {})
                    other.promises.append(str(error))
            if len(self._wanting) >= _MOST_KEPT:
                self._wanting.clear()
            self._wanting[precision] = other
        return self._wanting[precision]

    def judged(self, result: EnsemblePrediction) -> EnsemblePrediction:
        """Predictions of these runs as answers at the precision that is wanted of them."""
        predictions = tuple(
            replace(prediction, thresholds=thresholds)
            for prediction, thresholds in zip(result.predictions, self._thresholds, strict=False)
        )
        return replace(result, predictions=predictions, thresholds=self._of_average)

    def classify(
        self,
        source: Source,
        name: str | None = None,
        start_s: float | None = None,
        length_s: float | None = None,
        sample_rate_hz: float | None = None,
    ) -> EnsemblePrediction:
        """Each run's prediction for one file; arguments and errors as for `LoadedRun.classify`."""
        name = display_name(source) if name is None else name
        with fault_of(name), as_file(source, self.medium, sample_rate_hz) as file:
            return self._predict([self._read(file, name, start_s, length_s)])[0]

    def classify_whole(
        self,
        source: Source,
        name: str | None = None,
        sample_rate_hz: float | None = None,
        report: Report = silent,
    ) -> EnsemblePrediction:
        """Each run's prediction for all of a recording, however long, with its sections, and
        whatever precision is wanted; arguments and errors as for `LoadedRun.classify_whole`."""
        name = display_name(source) if name is None else name
        with fault_of(name), as_file(source, self.medium, sample_rate_hz) as file:
            return self._together(
                tuple(run.predict_whole(file, name, report) for run in self.loaded)
            )

    def try_whole(self, path: Path, report: Report = silent) -> EnsemblePrediction:
        """As `classify_whole`; a file that cannot be used has a `problem`."""
        try:
            return self.classify_whole(path, report=report)
        except AudioError as error:
            return EnsemblePrediction(path.name, problem=str(error))

    def classify_many(
        self,
        sources: Sequence[Source],
        names: Sequence[str] = (),
        report: Report = silent,
        sample_rate_hz: float | None = None,
    ) -> Iterator[EnsemblePrediction]:
        """The predictions for each file, in order; a file that cannot be used has a `problem`,
        whatever it does to its reader.

        A core takes a few files at a time, from decoding to the prediction: threads that share a
        network wait for one another. However many files there are, only a few are in memory.

        Args:
            sources: As for `classify`.
            names: What to call them; by default paths' last parts.
            report: Called with the number of files that are done.
            sample_rate_hz: The rate of those that are arrays of samples.
        """
        names = names or [display_name(source) for source in sources]
        n_cores, n_files = torch.get_num_threads(), len(sources)
        files_a_batch = min(run.clips_a_batch for run in self.loaded)
        size = max(1, min(files_a_batch, math.ceil(n_files / n_cores)))
        batches = [range(first, min(first + size, n_files)) for first in range(0, n_files, size)]
        n_threads = max(1, n_cores // max(1, len(batches)))

        def read(n: int) -> list[Excerpt] | str:
            rate_hz = sample_rate_hz if is_array(sources[n]) else None
            try:
                with fault_of(names[n]), as_file(sources[n], self.medium, rate_hz) as file:
                    return self._read(file, names[n])
            except GenrecoreError as error:
                return str(error)

        def predict(files: list[list[Excerpt]]) -> list[EnsemblePrediction]:
            try:
                with fault_of(files[0][0].name if files else ""):
                    return self._predict(files)
            except GenrecoreError as error:
                if len(files) == 1:
                    return [EnsemblePrediction(files[0][0].name, problem=str(error))]
                return [prediction for file in files for prediction in predict([file])]

        def classified(batch: range) -> list[EnsemblePrediction]:
            with hardware.torch_threads(n_threads, later=n_cores):
                files = [read(n) for n in batch]
                predictions = iter(predict([file for file in files if isinstance(file, list)]))
            return [
                EnsemblePrediction(names[n], problem=file)
                if isinstance(file, str)
                else next(predictions)
                for n, file in zip(batch, files, strict=True)
            ]

        report(Phase.CLASSIFYING, 0, n_files)
        for batch, predictions in zip(batches, in_order(classified, batches), strict=True):
            yield from predictions
            report(Phase.CLASSIFYING, batch.stop, n_files)

    def _read(
        self,
        source: File,
        name: str,
        start_s: float | None = None,
        length_s: float | None = None,
    ) -> list[Excerpt]:
        """An excerpt of a file for each run; runs of one rate and length share theirs."""
        excerpts: dict[Any, Excerpt] = {}
        keys = [run.excerpt_key for run in self.loaded]
        for key, run in zip(keys, self.loaded, strict=True):
            if key not in excerpts:
                excerpts[key] = run.read_excerpt(source, name, start_s, length_s)
        return [excerpts[key] for key in keys]

    def _predict(self, files: list[list[Excerpt]]) -> list[EnsemblePrediction]:
        if not files:
            return []
        of_runs = [
            run.predict([excerpts[k] for excerpts in files]) for k, run in enumerate(self.loaded)
        ]
        of_files = zip(*of_runs, strict=True)
        return [self.judged(self._together(of_file)) for of_file in of_files]

    def _together(self, of_file: tuple[Prediction, ...]) -> EnsemblePrediction:
        average = None
        if self.genres and len(of_file) > 1:
            average = np.mean([prediction.proba for prediction in of_file], axis=0)
        return EnsemblePrediction(of_file[0].name, of_file, average)


def load(names: Sequence[str | Path | Run], precision: float | None = None) -> Ensemble:
    """The ensemble of these runs, named by id, by folder or as `Run`s, `wanting` this precision.

    Raises:
        UsageError: As for `Ensemble`, `Ensemble.wanting` and `loaded.load`.
        GenrecoreError: As for `Ensemble.wanting` and `loaded.load`.
    """
    return Ensemble([inference.load(name) for name in names]).wanting(precision)
