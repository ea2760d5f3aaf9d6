"""Several runs asked at once, one file or many: each file is decoded once for runs that want the
same rate and length, and segments of many files go through a network together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from genrecore.data.datasets import DATASETS
from genrecore.data.parallel import in_order
from genrecore.errors import GenrecoreError, UsageError, describe
from genrecore.inference import loaded as inference
from genrecore.inference.loaded import Excerpt, LoadedRun, Prediction, by_genre
from genrecore.store.progress import Phase, Report, silent
from genrecore.store.run import Run
from genrecore.training import cores

Source = str | Path | bytes | BinaryIO


@dataclass(frozen=True)
class EnsemblePrediction:
    """What the runs say of one file.

    Attributes:
        name: What the file is called.
        predictions: One a run, in their order; empty where there is a problem.
        average: Mean of the calibrated probabilities, (genres,); None where the runs tell other
            genres apart, or there is one alone.
        problem: Why the file cannot be used; empty where it can.
    """

    name: str
    predictions: tuple[Prediction, ...] = ()
    average: np.ndarray | None = None
    problem: str = ""

    @property
    def agreement(self) -> str:
        """In words how far the runs agree; empty for one run."""
        if len(self.predictions) < 2:
            return ""
        sayers: dict[str, list[str]] = {}
        for prediction in self.predictions:
            sayers.setdefault(prediction.genre, []).append(prediction.run_id)
        n = len(self.predictions)
        if len(sayers) == 1:
            (genre,) = sayers
            return f"{'Both' if n == 2 else f'All {n}'} runs say {genre}."
        first, *others = sorted(sayers, key=lambda genre: -len(sayers[genre]))
        if len(sayers[first]) == 1:
            listed = ", ".join(f"{v.run_id} says {v.genre}" for v in self.predictions)
            return f"No two runs agree: {listed}." if n > 2 else f"The runs disagree: {listed}."
        rest = ", ".join(f"{', '.join(sayers[g])}: {g}" for g in others)
        return f"{len(sayers[first])} of {n} runs say {first}; {rest}."

    def as_dict(self) -> dict[str, Any]:
        """For JSON: one run's verdict, or every run's under `runs` with their average."""
        if len(self.predictions) == 1:
            return {**self.predictions[0].as_dict(), "run": self.predictions[0].run_id}
        made: dict[str, Any] = {
            "name": self.name,
            "agreement": self.agreement,
            "runs": [
                {"run": prediction.run_id, **prediction.as_dict()}
                for prediction in self.predictions
            ],
        }
        if self.average is not None:
            genres = self.predictions[0].genres
            made["genre"] = genres[int(self.average.argmax())]
            made["proba"] = by_genre(genres, self.average)
        return made


class Ensemble:
    """Loaded runs that are asked together.

    Attributes:
        loaded: The runs.
        genres: What all of them tell apart; None where they differ, and nothing is averaged.
        note: Why nothing is averaged; empty where it is, or for one run.
        caution: That runs know music alone that was made up, in a sentence; else empty.
    """

    def __init__(self, loaded: Sequence[LoadedRun]) -> None:
        """
        Raises:
            UsageError: No run, one twice, or some that judge pictures beside some that judge audio.
        """
        self.loaded = list(loaded)
        ids = [one.run.run_id for one in self.loaded]
        if not ids:
            raise UsageError("No run is named; classifying takes one at least.")
        twice = next((name for name in ids if ids.count(name) > 1), None)
        if twice:
            raise UsageError(f"The run {twice} is named twice; once is enough.")
        media = {one.medium: one.run.run_id for one in self.loaded}
        if len(media) > 1:
            raise UsageError(
                f"The run {media['image']} judges pictures and the run {media['wave']} recordings; "
                "ask them one after the other."
            )
        alike = all(one.genres == self.loaded[0].genres for one in self.loaded)
        self.genres = self.loaded[0].genres if alike else None
        self.note = (
            "" if alike else "The runs tell different genres apart, so they are not averaged."
        )
        self.caution = _caution(self.loaded)

    def classify(
        self,
        source: Source,
        name: str | None = None,
        start_s: float | None = None,
        length_s: float | None = None,
    ) -> EnsemblePrediction:
        """What each run says of one file; arguments as of `LoadedRun.classify`.

        Raises:
            AudioError: The file cannot be used; the sentence says why.
        """
        (answer,) = self.predict([self.read_excerpts(source, name, start_s, length_s)])
        return answer

    def classify_many(
        self, sources: Sequence[Source], names: Sequence[str] = (), report: Report = silent
    ) -> Iterator[EnsemblePrediction]:
        """What each run says of each file, in order; a file that cannot be used has a `problem`.

        A core takes a few files at a time, from decoding to the verdict: threads that share a
        network wait for one another. A bounded number is in memory, however many there are.

        Args:
            sources: Paths, files' bytes or open files.
            names: What to call them; by default paths' last parts.
            report: Told of the files.
        """
        names = names or [_name_of(source) for source in sources]
        n_cores, n_files = torch.get_num_threads(), len(sources)
        size = max(1, min(self._files_a_batch(), math.ceil(n_files / n_cores)))
        groups = [range(first, min(first + size, n_files)) for first in range(0, n_files, size)]
        n_threads = max(1, n_cores // max(1, len(groups)))

        def read(place: int) -> list[Excerpt] | EnsemblePrediction:
            try:
                return self.read_excerpts(sources[place], names[place])
            except (GenrecoreError, OSError) as error:
                return EnsemblePrediction(names[place], problem=describe(error))

        def answers(places: range) -> list[EnsemblePrediction]:
            with cores.using(n_threads, later=n_cores):
                found = [read(place) for place in places]
                judged = iter(self.predict([one for one in found if isinstance(one, list)]))
            return [next(judged) if isinstance(one, list) else one for one in found]

        n_done = 0
        report(Phase.CLASSIFYING, n_done, n_files)
        for some in in_order(answers, groups):
            n_done += len(some)
            yield from some
            report(Phase.CLASSIFYING, n_done, n_files)

    def _files_a_batch(self) -> int:
        """Files of a training clip's length whose segments fill a batch of every run's."""
        return min(one.batch_size // one.n_segments_a_clip for one in self.loaded)

    def predict(self, files: list[list[Excerpt]]) -> list[EnsemblePrediction]:
        """Answers on files, of each of which `read` gave the excerpts."""
        if not files:
            return []
        of_runs = [
            one.predict([excerpts[k] for excerpts in files]) for k, one in enumerate(self.loaded)
        ]
        answers = []
        for predictions in zip(*of_runs, strict=True):
            average = None
            if self.genres and len(predictions) > 1:
                average = np.mean([prediction.proba for prediction in predictions], axis=0)
            answers.append(EnsemblePrediction(predictions[0].name, predictions, average))
        return answers

    def read_excerpts(
        self,
        source: Source,
        name: str | None = None,
        start_s: float | None = None,
        length_s: float | None = None,
    ) -> list[Excerpt]:
        """What `predict` takes of a file: an excerpt for each run; runs of one rate and length
        share theirs. Arguments and errors as of `classify`."""
        made: dict[Any, Excerpt] = {}
        excerpts = []
        for one in self.loaded:
            wanted = (
                one.classifier.given_shape
                if one.medium == "image"
                else (one.config.audio.sample_rate_hz, one.config.audio.clip_s)
            )
            if wanted not in made:
                made[wanted] = one.read_excerpt(source, name, start_s, length_s)
            excerpts.append(made[wanted])
        return excerpts


def _caution(loaded: Sequence[LoadedRun]) -> str:
    made_up = [one.run.run_id for one in loaded if DATASETS[one.config.dataset.name].facts.made_up]
    if not made_up:
        return ""
    return (
        f"Trained on music that genrecore makes itself: {', '.join(made_up)}. Real music belongs "
        "to none of its genres, whatever the verdict."
    )


def load(names: Sequence[str | Path | Run]) -> Ensemble:
    """The runs of these ids, folders or `Run`s as a panel.

    Raises:
        UsageError: As `Panel` and `inference.load`.
        GenrecoreError: As `inference.load`.
    """
    return Ensemble([inference.load(name) for name in names])


def _name_of(source: Source) -> str:
    return Path(source).name if isinstance(source, (str, Path)) else "clip"
