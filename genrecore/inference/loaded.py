"""A trained run in memory: an audio file in, probabilities of the genres out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import torch

from genrecore.audio import decode
from genrecore.data.corpus import dequantise, quantise
from genrecore.data.corpus_images import read_image, resize
from genrecore.data.segments import Segmenter
from genrecore.errors import AudioError, GenrecoreError
from genrecore.evaluation.calibration import Calibration, calibrate
from genrecore.evaluation.metrics import genres_in
from genrecore.evaluation.pooling import pool_segments
from genrecore.evaluation.scores import best_run
from genrecore.store.run import Run, find_run
from genrecore.training import embedding, hardware
from genrecore.training.classifier import Classifier
from genrecore.training.weights import load_classifier

Source = str | Path | bytes | BinaryIO

_BATCH = 64
_SAMPLES_AT_ONCE = 2**21  # of a batch: 64 segments of 1.5 s, four of 24 s; spectra are larger


@dataclass(frozen=True)
class Prediction:
    """A run's prediction for one clip.

    Attributes:
        name: The file's name, for display only.
        genres: Sorted names.
        proba: Calibrated probabilities, (genres,) float64, sum to 1.
        uncalibrated: Pooled over the segments, as in the run's stored predictions.
        segments: `start_s, end_s` in the file and `p_<genre>…`, uncalibrated, one row a segment.
        start_s: Where the classified excerpt starts in the file.
        duration_s: Length of the whole file; 0 for an image.
        wave: The classified excerpt, (samples,) float32 in [-1, 1]; empty for an image.
        sample_rate_hz: Its rate.
        seconds: Time that the network took.
        run_id: The run.
        temperature: With which the probabilities are calibrated.
        image: The classified image, (3, height, width) uint8; None for a recording.
    """

    name: str
    genres: list[str]
    proba: np.ndarray
    uncalibrated: np.ndarray
    segments: pd.DataFrame
    start_s: float
    duration_s: float
    wave: np.ndarray
    sample_rate_hz: int
    seconds: float
    run_id: str
    temperature: float
    image: np.ndarray | None = None

    @property
    def genre(self) -> str:
        """The most probable genre."""
        return self.genres[int(self.proba.argmax())]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: name, genre, probabilities, duration and excerpt."""
        values: dict[str, Any] = {
            "name": self.name,
            "genre": self.genre,
            "proba": by_genre(self.genres, self.proba),
            "uncalibrated": by_genre(self.genres, self.uncalibrated),
            "temperature": self.temperature,
        }
        if self.image is None:
            values["duration_s"] = self.duration_s
            values["start_s"] = self.start_s
            values["judged_s"] = len(self.wave) / self.sample_rate_hz
        return values


def by_genre(genres: list[str], proba: np.ndarray) -> dict[str, float]:
    """Probabilities (genres,) under the genres' names."""
    return dict(zip(genres, proba.tolist(), strict=True))


@dataclass(frozen=True)
class Excerpt:
    """The part of a file that is classified: `samples` (n,) int16 as in the corpus, or an `image`
    (3, height, width) uint8."""

    name: str
    samples: np.ndarray
    start_s: float
    duration_s: float
    image: np.ndarray | None = None


class LoadedRun:
    """A run's classifier in memory, in float32: the arithmetic of its stored predictions.

    Attributes:
        medium: What it classifies: `wave` or `image`.
        batch_size: Segments that go through the network at a time.
    """

    def __init__(self, run: Run, network: Classifier, calibration: Calibration) -> None:
        """
        Args:
            run: The run.
            network: Its classifier, in evaluation mode on the CPU.
            calibration: Its temperature.

        Raises:
            GenrecoreError: It classifies rows of a table.
        """
        # So most networks take a processor 0.4 to 0.9 of the time (docs/performance.md).
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.run, self.classifier, self.calibration = run, network, calibration
        self.config, self.genres = network.config, network.genres
        self.segmenter = Segmenter.from_config(network.config)
        if len(network.given_shape) == 1:
            raise GenrecoreError(
                f"The run {run.run_id} was trained on a dataset's own tables, not on audio, so it "
                "cannot classify a recording."
            )
        # By what it was built for: the dataset may be gone by now.
        self.medium = "image" if network.given_shape else "wave"
        self.batch_size = max(1, min(_BATCH, _SAMPLES_AT_ONCE // self.segmenter.n_samples))

    def classify(
        self,
        source: Source,
        name: str | None = None,
        start_s: float | None = None,
        length_s: float | None = None,
    ) -> Prediction:
        """The prediction for one file, decoded exactly as the training clips were.

        Args:
            source: A path, a file's bytes, or an open file; audio, or an image where the run was
                trained on images.
            name: What to call it; by default the path's last part.
            start_s: Where to start; by default the middle of the file is classified.
            length_s: How much to classify; by default as much as of a training clip.

        Raises:
            AudioError: The file cannot be used; the sentence says why.
        """
        return self.predict([self.read_excerpt(source, name, start_s, length_s)])[0]

    def read_excerpt(
        self,
        source: Source,
        name: str | None = None,
        start_s: float | None = None,
        length_s: float | None = None,
    ) -> Excerpt:
        """What `predict` takes of a file; arguments and errors as for `classify`."""
        name = display_name(source) if name is None else name
        if self.medium == "image":
            return Excerpt(name, np.zeros(0, np.int16), 0.0, 0.0, self._read_image(source, name))
        decoded = decode.decode(
            source,
            self.config.audio.sample_rate_hz,
            name=name,
            middle_s=length_s or self.config.audio.clip_s,
            start_s=start_s,
        )
        # The corpus holds 16 bits, so that is what the network was trained on.
        return Excerpt(name, quantise(decoded.wave), decoded.start_s, decoded.duration_s)

    def predict(self, excerpts: list[Excerpt]) -> list[Prediction]:
        """The prediction for each excerpt, their segments together in batches."""
        began = time.perf_counter()
        if self.medium == "image":
            starts, segments = self._predict_images(excerpts)
        else:
            starts, segments = self._predict_waves(excerpts)
        counts = [len(some) for some in starts]
        of_clip = np.repeat(np.arange(len(excerpts)), counts)
        clips = pool_segments(segments, of_clip, len(excerpts), self.config.segments.pooling)
        calibrated = self.calibration.apply(clips)
        parts = np.split(segments, np.cumsum(counts)[:-1])
        seconds = (time.perf_counter() - began) / len(excerpts)
        return [
            Prediction(
                name=excerpt.name,
                genres=self.genres,
                proba=calibrated[k],
                uncalibrated=clips[k],
                segments=self._timeline(excerpt, starts[k], parts[k]),
                start_s=excerpt.start_s,
                duration_s=excerpt.duration_s,
                wave=dequantise(excerpt.samples),
                sample_rate_hz=self.config.audio.sample_rate_hz,
                seconds=seconds,
                run_id=self.run.run_id,
                temperature=self.calibration.temperature,
                image=excerpt.image,
            )
            for k, excerpt in enumerate(excerpts)
        ]

    def embed(self, wave: np.ndarray) -> np.ndarray:
        """The embedding (n,) float32 of an excerpt, comparable with those of the run's clips.

        Args:
            wave: As in `Prediction.wave`: (samples,) in [-1, 1] at the run's sample rate.
        """
        batches = self.segmenter.batches(torch.from_numpy(quantise(wave)), _BATCH)
        with torch.inference_mode():
            vectors = [
                embedding.embed_features(self.classifier, self.classifier.feature(waves))
                for waves in batches
            ]
        return torch.cat(vectors).double().mean(dim=0).float().numpy()

    @property
    def clips_a_batch(self) -> int:
        """How many clips as long as in training fill a batch; 0 where one is more than that."""
        if self.medium == "image":
            return _BATCH
        n_samples = round(self.config.audio.clip_s * self.config.audio.sample_rate_hz)
        return self.batch_size // len(self.segmenter.starts(n_samples))

    def _predict_waves(self, excerpts: list[Excerpt]) -> tuple[list[np.ndarray], np.ndarray]:
        """Where each excerpt's segments start (segments,), in samples, and the probabilities of all
        segments (all segments, genres) float64."""
        n_samples = [len(excerpt.samples) for excerpt in excerpts]
        starts = [self.segmenter.starts(n) for n in n_samples]
        offsets = np.cumsum([0, *n_samples])
        flat = torch.from_numpy(np.concatenate([excerpt.samples for excerpt in excerpts]))
        first = torch.from_numpy(
            np.concatenate([some + offset for some, offset in zip(starts, offsets, strict=False)])
        )
        ends = torch.from_numpy(np.repeat(offsets[1:], [len(some) for some in starts]))
        lengths = (ends - first).clamp(max=self.segmenter.n_samples)

        @torch.inference_mode()
        def proba(batch: range) -> torch.Tensor:
            rows = slice(batch.start, batch.stop)
            return self.classifier(self.segmenter.cut(flat, first[rows], lengths[rows])).softmax(1)

        batches = hardware.map_on_cores(proba, hardware.split_batch(len(first), self.batch_size))
        return starts, torch.cat(batches).double().numpy()

    @torch.inference_mode()
    def _predict_images(self, excerpts: list[Excerpt]) -> tuple[list[np.ndarray], np.ndarray]:
        images = np.stack([excerpt.image for excerpt in excerpts if excerpt.image is not None])
        batches = torch.from_numpy(images).split(_BATCH)
        proba = torch.cat([self.classifier(batch).softmax(1) for batch in batches])
        return [np.zeros(1, np.int64)] * len(excerpts), proba.double().numpy()

    def _timeline(self, excerpt: Excerpt, starts: np.ndarray, proba: np.ndarray) -> pd.DataFrame:
        rate = self.config.audio.sample_rate_hz
        start_s = excerpt.start_s + starts / rate
        end_s = excerpt.start_s + len(excerpt.samples) / rate
        columns: dict[str, np.ndarray] = {
            "start_s": start_s,
            "end_s": np.minimum(start_s + self.config.segments.segment_s, end_s),
        }
        columns |= {f"p_{genre}": proba[:, k] for k, genre in enumerate(self.genres)}
        return pd.DataFrame(columns)

    def _read_image(self, source: Source, name: str) -> np.ndarray:
        _, height, width = self.classifier.given_shape
        size = f"{width} × {height} pixels"
        image = read_image(source, name)
        if isinstance(image, np.ndarray):
            if image.shape[1:] == (height, width):
                return image
            if self.config.dataset.options.get("image_size"):  # as its training images were
                return resize(image, (height, width))
            raise AudioError(
                f"{name} has {image.shape[2]} × {image.shape[1]} pixels; the run "
                f"{self.run.run_id} was trained on images of {size}."
            )
        try:
            decode.inspect(source, name)
        except AudioError:
            raise AudioError(image) from None
        raise AudioError(
            f"{name} is audio, but the run {self.run.run_id} was trained on images that came with "
            "its dataset, and how they were drawn is not known; give it such an image of "
            f"{size}, or take a run that was trained on audio."
        )


def load(run: str | Path | Run) -> LoadedRun:
    """The classifier of a run, named by id, by folder or as a `Run`; `best` is `best_run()`.

    Raises:
        UsageError: There is no such run.
        GenrecoreError: It has no weights yet, they cannot be read or are another run's, or it
            classifies rows of a table.
    """
    if not isinstance(run, Run):
        run = best_run() if run == "best" else find_run(str(run))
    if not run.weights.exists():
        raise GenrecoreError(
            f"The run {run.run_id} has no weights yet (it is {run.state}); "
            "a finished run can classify."
        )
    network = load_classifier(run.weights)
    if run.predictions is not None and genres_in(run.predictions) != network.genres:
        raise GenrecoreError(
            f"The file {run.weights.name} of the run {run.run_id} tells apart "
            f"{', '.join(network.genres)}, but the run was tested on "
            f"{', '.join(genres_in(run.predictions))}: it is another run's."
        )
    return LoadedRun(run, network, calibrate(run))


def display_name(source: Source) -> str:
    """What to call a file that was given no name."""
    return Path(source).name if isinstance(source, (str, Path)) else "clip"
