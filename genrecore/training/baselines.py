"""Classical models: fitted in one call by scikit-learn, reported like a training run.

A baseline has one epoch. It learns from the training segments (and their fixed copies, where the
configuration asks for some), standardised as for a network, and fills the same files.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from genrecore.config.demand import TrainingSet
from genrecore.errors import GenrecoreError
from genrecore.models.fitted import Fitted
from genrecore.store.progress import Phase
from genrecore.training import histories
from genrecore.training.classifier import Classifier, tensors_of
from genrecore.training.epochs import PooledClips, prediction_tables
from genrecore.training.examples import Examples
from genrecore.training.hardware import Hardware
from genrecore.training.progress import RunProgress
from genrecore.words import listed, plural

_AT_ONCE = 256  # segments that are classified between two reports
_CALIBRATION_FOLDS = 5
_REPORT_EVERY_S = 0.1


def suited(hardware: Hardware) -> Hardware:
    """The hardware as a classical model uses it: features on the same device, in float32."""
    return dataclasses.replace(
        hardware,
        precision="float32",
        channels_last=False,
        reason="float32 features; scikit-learn computes on the processor in a precision of its "
        "own.",
    )


class Baseline:
    """One run of a classical model: `fit`, then `predict`, as a `Trainer`. A stopped one starts
    over."""

    def __init__(
        self, classifier: Classifier, network: Fitted, examples: Examples, progress: RunProgress
    ) -> None:
        """
        Args:
            classifier: Its standardisation is fitted.
            network: The classifier's, still without an estimator.
            examples: What it learns from.
            progress: Of the run.
        """
        self.classifier, self.network, self.examples = classifier, network, examples
        self.config, self.progress = classifier.config, progress
        self.train, self.valid = examples.trained_on(), examples.in_split("valid")

    def fit(self) -> str:
        """Fits the estimator and writes the one row of the histories; returns an empty text, since
        it never ends early.

        Raises:
            Stopped: A stop was asked for.
            GenrecoreError: Too few training segments for this model.
        """
        model = self.classifier.resolved.model
        self.progress.show(epoch=0, n_epochs=1)
        vectors, labels = self._training_set()
        shortage = model.options.shortage(self._learned_from(labels))
        if shortage and shortage.trains:
            self.progress.note(shortage.sentence)
        elif shortage:
            raise GenrecoreError(shortage.sentence)
        began = time.perf_counter()
        estimator = model.thing(model.options, self.config.seed)
        self._fit_in_portions(estimator, vectors.double().numpy(), labels)
        fit_s = time.perf_counter() - began
        logs = self._logs(vectors)
        row = {
            "epoch": 1,
            "train_loss": -float(logs[torch.arange(len(labels)), torch.from_numpy(labels)].mean()),
            "train_accuracy": float((logs.argmax(1).numpy() == labels).mean()),
            "samples_per_s": len(labels) / max(fit_s, 1e-9),
        }
        predicted = np.zeros(0, np.uint8)
        if len(self.valid):
            valid = PooledClips(self.examples.segments, self.valid, self.classifier.genres)
            proba = self._proba(self.valid, Phase.VALIDATING)
            clips = valid.pooled(proba, self.config.segments.pooling)
            row |= valid.scores(clips)
            predicted = clips.argmax(1).astype(np.uint8)
        row |= {"seconds": time.perf_counter() - began, "best": True}
        histories.add_epoch(self.progress.folder, row, predicted, np.zeros(0, np.float32), 0)
        self.progress.status.update(
            epoch=1,
            best_epoch=1,
            samples_per_s=row["samples_per_s"],
            **({"best_valid_accuracy": row["valid_accuracy"]} if len(self.valid) else {}),
        )
        return ""

    def predict(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """(predictions, segments) of validation and test."""
        index = torch.cat([self.valid, self.examples.in_split("test")])
        proba = self._proba(index, Phase.TESTING)
        genres, pooling = self.classifier.genres, self.config.segments.pooling
        return prediction_tables(self.examples.segments, index, genres, proba, pooling)

    def _training_set(self) -> tuple[Tensor, np.ndarray]:
        """Standardised vectors (segments, features) on the CPU, and the genre of each."""
        generator = torch.Generator().manual_seed(self.config.seed)  # fixed copies draw nothing
        vectors, labels = [], []
        for index in self._batches(self.train, Phase.READING_SEGMENTS, self.examples.most):
            features, targets = self.examples.training(index, generator)
            with torch.no_grad():
                (standardised,) = tensors_of(self.classifier.standardised(features))
            vectors.append(standardised.float().cpu())
            labels.append(targets.argmax(1).cpu())
        return torch.cat(vectors), torch.cat(labels).numpy()

    def _fit_in_portions(self, estimator: Any, vectors: np.ndarray, labels: np.ndarray) -> None:
        """Fits the estimator, a forest some trees at a time, and reports how far it is; then it is
        the network's."""
        options = estimator.get_params()
        if "cv" in options:
            estimator.set_params(cv=self._calibration_folds(labels))
        facts = self.classifier.resolved.model.facts
        grows = facts.grows
        total, portion = (options[grows], facts.portion) if grows else (1, 1)
        tuned, values = facts.tuned
        if tuned and not getattr(self.classifier.resolved.model.options, tuned):
            if len(self.valid):
                self._choose(estimator, tuned, values, vectors, labels)
                return
            self.progress.note(f"Without validation clips, {tuned} is {options[tuned]:g}.")
        began = time.perf_counter()
        for done in range(0, total, portion):
            report = functools.partial(self.progress.report, Phase.TRAINING, done, total)
            report()
            if grows:
                estimator.set_params(**{grows: min(done + portion, total), "warm_start": done > 0})
            self._fit_in_thread(estimator, vectors, labels, report)
            pace_s = (time.perf_counter() - began) / (done + portion)
            self.progress.show(
                time_left_s=pace_s * max(0, total - done - portion),
                median_step_s=pace_s * portion,
            )
        self.progress.report(Phase.TRAINING, total, total)
        # What is kept must not depend on this machine, nor a sum on which thread is first.
        reset = {"n_jobs": None, "cv": None, "warm_start": False}
        estimator.set_params(**{name: value for name, value in reset.items() if name in options})
        self.network.estimator = estimator

    def _choose(
        self,
        estimator: Any,
        name: str,
        values: Sequence[float],
        vectors: np.ndarray,
        labels: np.ndarray,
    ) -> None:
        """Fits the estimator with each value of a parameter; the one with the lowest loss of the
        validation clips is the network's, the first of several."""
        from sklearn.base import clone

        best, least = estimator, math.inf
        valid = PooledClips(self.examples.segments, self.valid, self.classifier.genres)
        for done, value in enumerate(values):
            report = functools.partial(self.progress.report, Phase.TRAINING, done, len(values))
            candidate = clone(estimator).set_params(**{name: value})
            self._fit_in_thread(candidate, vectors, labels, report)
            self.network.estimator = candidate
            proba = self._proba(self.valid, Phase.VALIDATING)
            loss = valid.scores(valid.pooled(proba, self.config.segments.pooling))["valid_loss"]
            if loss < least:
                best, least = candidate, loss
        self.network.estimator = best
        self.progress.note(
            f"{name} = {best.get_params()[name]:g} has the lowest loss of the "
            f"{plural(valid.n, 'validation clip')}, of {listed([f'{v:g}' for v in values])}."
        )

    def _fit_in_thread(
        self, estimator: Any, vectors: np.ndarray, labels: np.ndarray, report: Callable[[], None]
    ) -> None:
        """Fits in a thread, so that the run can report that it lives and see a stop.

        Nothing can end the thread: after a stop it goes on until the process ends.
        """
        raised: list[BaseException] = []

        def fit() -> None:
            try:
                # Not more threads than the run was given, and none that spin beside other runs.
                with threadpool_limits(n_threads):
                    self._fit_once(estimator, vectors, labels)
            except BaseException as error:
                raised.append(error)

        # Products of a linear model are so small that several threads only wait for one another.
        is_linear = type(estimator).__name__ == "LogisticRegression"
        n_threads = 1 if is_linear else torch.get_num_threads()
        thread = threading.Thread(target=fit, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(_REPORT_EVERY_S)
            report()
        if raised:
            raise raised[0]

    def _fit_once(self, estimator: Any, vectors: np.ndarray, labels: np.ndarray) -> None:
        import joblib
        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings(record=True) as caught, joblib.parallel_config("threading"):
            warnings.simplefilter("always", ConvergenceWarning)
            estimator.fit(vectors, labels)
        if any(issubclass(warning.category, ConvergenceWarning) for warning in caught):
            self.progress.note(
                f"The model {self.config.model.name} had not converged when its iterations ended; "
                "standardise the features, or choose a smaller C."
            )

    def _clips(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The number of each training segment's clip, and of each clip's genre."""
        rows = self.train.numpy() % len(self.examples.segments)
        clip_of, names = pd.factorize(self.examples.segments["clip_id"].iloc[rows])
        genre_of = np.zeros(len(names), dtype=np.int64)
        genre_of[clip_of] = labels
        return clip_of, genre_of

    def _learned_from(self, labels: np.ndarray) -> TrainingSet:
        n_clips = np.bincount(self._clips(labels)[1]).tolist()
        return TrainingSet(len(labels), dict(zip(self.classifier.genres, n_clips, strict=False)))

    def _calibration_folds(self, labels: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Indices (trained on, held out) of each fold; all segments of a clip are on one side."""
        from sklearn.model_selection import StratifiedKFold

        clip_of, genre_of = self._clips(labels)
        n_folds = min(_CALIBRATION_FOLDS, int(np.bincount(genre_of).min()))
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=self.config.seed)
        return [
            (np.flatnonzero(np.isin(clip_of, rest)), np.flatnonzero(np.isin(clip_of, held_out)))
            for rest, held_out in folds.split(genre_of, genre_of)
        ]

    def _logs(self, vectors: Tensor) -> Tensor:
        """Logarithms of probabilities (segments, genres) of standardised vectors."""
        parts = self._batches(torch.arange(len(vectors)), Phase.CLASSIFYING_SEGMENTS, _AT_ONCE)
        return torch.cat([self.network(vectors[part]) for part in parts])

    @torch.no_grad()
    def _proba(self, index: Tensor, phase: str) -> np.ndarray:
        """Probabilities (segments, genres) float32."""
        self.classifier.eval()
        size = min(_AT_ONCE, self.examples.most)
        return np.concatenate(
            [
                self.classifier.logits(self.examples.features(part)).softmax(1).cpu().numpy()
                for part in self._batches(index, phase, size)
            ]
        )

    def _batches(self, index: Tensor, phase: str, size: int) -> Iterator[Tensor]:
        for n_done, part in enumerate(index.split(size)):
            self.progress.report(phase, n_done * size, len(index))
            yield part
