"""A trained run in memory: an audio file in, probabilities of the genres out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from genrecore.audio import decode
from genrecore.data.arrays import ARRAY_FORMATS, read_array, size_in_words
from genrecore.data.corpus import dequantise, quantise
from genrecore.data.corpus_arrays import steps_first
from genrecore.data.corpus_images import read_image, resize
from genrecore.data.segments import Segmenter
from genrecore.errors import AudioError, GenrecoreError, UsageError
from genrecore.evaluation.calibration import Calibration, calibrate
from genrecore.evaluation.metrics import genres_in
from genrecore.evaluation.pooling import pool_segments
from genrecore.evaluation.preference import best_run
from genrecore.evaluation.thresholds import Thresholds, select
from genrecore.features import cache as feature_cache
from genrecore.inference.sections import sections
from genrecore.inference.sources import File, Source, as_file, display_name, fault_of
from genrecore.store.progress import Phase, Report, silent
from genrecore.store.run import Run
from genrecore.store.runs import find_run
from genrecore.training import embedding, hardware
from genrecore.training.classifier import Classifier
from genrecore.training.weights import load_classifier
from genrecore.words import listed, percent, thousands


@dataclass(frozen=True)
class FileKind:
    """Files that a run classifies: one and several in words, and their extensions."""

    one: str
    several: str
    formats: tuple[str, ...]


FILES: Mapping[str, FileKind] = {
    "wave": FileKind("an audio file", "recordings", decode.FORMATS),
    "image": FileKind("an image", "images", (".png", ".jpg", ".jpeg")),
    "vector": FileKind("an array with one axis", "vectors", ARRAY_FORMATS),
    "sequence": FileKind("an array with two axes", "sequences", ARRAY_FORMATS),
}
"""By what a run was trained on."""

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
        segments: `start_s, end_s` in the file (of a sequence in steps) and `p_<genre>…`,
            uncalibrated, one row a segment.
        start_s: Where the classified excerpt starts in the file.
        duration_s: Length of the whole file; 0 for what is no recording.
        wave: The classified excerpt, (samples,) float32 in [-1, 1]; empty for what is no recording.
        sample_rate_hz: Its rate.
        seconds: Time that the network took.
        run_id: The run.
        temperature: With which the probabilities are calibrated.
        image: The classified image, (3, height, width) uint8; None for what is none.
        medium: What was classified, a key of `FILES`.
        warning: A sentence where the file is damaged and only what can be decoded was classified;
            otherwise empty.
        thresholds: From which confidence on it is an answer; None where no precision is wanted.
        sections: `start_s, end_s, genre, proba` where all of a recording was classified, which then
            has no `wave`; else None.
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
    medium: str = "wave"
    warning: str = ""
    thresholds: Thresholds | None = None
    sections: pd.DataFrame | None = None

    @property
    def genre(self) -> str:
        """The most probable genre."""
        return self.genres[int(self.proba.argmax())]

    @property
    def answer(self) -> str | None:
        """The genre, or None for "not sure" where that would not keep the wanted precision."""
        if self.thresholds is None:
            return self.genre
        return self.thresholds.answer(self.genre, float(self.proba.max()))

    @property
    def judged_s(self) -> float:
        """How much of the recording was classified, in s."""
        is_part = self.sections is None
        return len(self.wave) / self.sample_rate_hz if is_part else self.duration_s

    def as_dict(self) -> dict[str, Any]:
        """For JSON: name, genre, probabilities, duration and excerpt."""
        values: dict[str, Any] = {
            "name": self.name,
            "genre": self.genre,
            "proba": by_genre(self.genres, self.proba),
            "uncalibrated": by_genre(self.genres, self.uncalibrated),
            "temperature": self.temperature,
        }
        if self.medium == "wave":
            values["duration_s"] = self.duration_s
            values["start_s"] = self.start_s
            values |= {"judged_s": self.judged_s, "warning": self.warning}
        if self.thresholds is not None:
            values |= self.thresholds.judged(self.genres, self.proba)
        if self.sections is not None:
            values["sections"] = self.sections.to_dict("records")
            values["timeline"] = self.segments.to_dict("records")
        return values


def by_genre(genres: list[str], proba: np.ndarray) -> dict[str, float]:
    """Probabilities (genres,) under the genres' names."""
    return dict(zip(genres, proba.tolist(), strict=True))


@dataclass(frozen=True)
class Excerpt:
    """The part of a file that is classified: `samples` as in the corpus, (n,) int16 of a wave or
    (n, numbers) float32 of an array; or an `image` (3, height, width) uint8; `warning` as of
    `Decoded`."""

    name: str
    samples: np.ndarray
    start_s: float
    duration_s: float
    image: np.ndarray | None = None
    warning: str = ""


class LoadedRun:
    """A run's classifier in memory, in float32: the arithmetic of its stored predictions.

    Attributes:
        medium: What it classifies, a key of `FILES`.
        segmenter: How it cuts that into segments; of a sequence, samples are steps.
        batch_size: Segments that go through the network at a time.
        bundled: Of a bundle the thresholds that it has; None of a run in a store.
    """

    bundled: tuple[Thresholds, ...] | None = None

    def __init__(self, run: Run, network: Classifier, calibration: Calibration) -> None:
        """
        Args:
            run: The run.
            network: Its classifier, in evaluation mode on the CPU.
            calibration: Its temperature.

        Raises:
            GenrecoreError: It classifies rows of a table.
        """
        # So most networks take a processor 0.4 to 0.9 of the time
        # (docs/explanations/performance.md).
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.run, self.classifier, self.calibration = run, network, calibration
        self.config, self.genres = network.config, network.genres
        # By what it was built for: the dataset may be gone by now.
        needs = network.resolved.feature.facts.needs
        self.medium = "wave"
        if network.given_shape:
            self.medium = next(need for need in needs if need != "wave")
        if self.medium == "table":
            raise GenrecoreError(
                f"The run {run.run_id} was trained on a dataset's own tables, not on audio, so it "
                "cannot classify a recording."
            )
        if self.medium in ("vector", "sequence"):
            self.segmenter = feature_cache.step_segmenter(network.config, network.feature)
        else:
            self.segmenter = Segmenter.from_config(network.config)
        self.batch_size = max(1, min(_BATCH, _SAMPLES_AT_ONCE // self.segmenter.n_samples))
        self._device = torch.device("cpu")

    def to(self, device: str) -> None:
        """Has the network work on this device, in float32 as before; scikit-learn's stay."""
        if not self.classifier.resolved.model.facts.classical:
            self._device = torch.device(device)
            self.classifier.to(self._device)

    def classify(
        self,
        source: Source,
        name: str | None = None,
        start_s: float | None = None,
        length_s: float | None = None,
        sample_rate_hz: float | None = None,
        precision: float | None = None,
    ) -> Prediction:
        """The prediction for one recording, decoded exactly as the training clips were.

        Args:
            source: A path, a file's bytes, an open file, or an array or tensor of samples, as
                `sources.as_file` says; an image or an array where the run was trained on such.
            name: What to call it; by default the path's last part.
            start_s: Where to start; by default the middle of the file is classified.
            length_s: How much to classify; by default as much as of a training clip.
            sample_rate_hz: The rate of an array of samples.
            precision: Share of its answers that shall be right, 0.5 to 0.999; below that the
                prediction's `answer` is None.

        Raises:
            AudioError: It cannot be used; the sentence says why.
            UsageError: It is nothing that can be classified, an array's rate is missing, or the
                precision cannot be promised.
        """
        thresholds = None if precision is None else self.thresholds(precision)
        name = display_name(source) if name is None else name
        with fault_of(name), as_file(source, self.medium, sample_rate_hz) as file:
            prediction = self.predict([self.read_excerpt(file, name, start_s, length_s)])[0]
        return replace(prediction, thresholds=thresholds)

    def thresholds(self, precision: float) -> Thresholds:
        """From which confidence on so large a share of its answers is right.

        Raises:
            UsageError: No such precision can be promised.
            GenrecoreError: The run has no predictions, or its bundle no such thresholds.
        """
        if self.bundled is None:
            return select([self.run], precision).thresholds
        for thresholds in self.bundled:
            if thresholds.precision == precision:
                return thresholds
        kept = [percent(thresholds.precision) for thresholds in self.bundled]
        raise UsageError(
            f"This bundle has thresholds for a precision of {listed(kept) or 'nothing'}; found "
            f"{percent(precision)}. It is written for another with genrecore export --precision."
        )

    def read_excerpt(
        self,
        source: File,
        name: str,
        start_s: float | None = None,
        length_s: float | None = None,
    ) -> Excerpt:
        """What `predict` takes of a file; arguments and errors as for `classify`."""
        if self.medium == "image":
            return Excerpt(name, np.zeros(0, np.int16), 0.0, 0.0, self._read_image(source, name))
        if self.medium != "wave":
            return Excerpt(name, self._read_rows(source, name), 0.0, 0.0)
        decoded = decode.decode(
            source,
            self.config.audio.sample_rate_hz,
            name=name,
            middle_s=length_s or self.config.audio.clip_s,
            start_s=start_s,
            accept_damaged=True,
        )
        # The corpus holds 16 bits, so that is what the network was trained on.
        samples = quantise(decoded.wave)
        return Excerpt(name, samples, decoded.start_s, decoded.duration_s, warning=decoded.warning)

    def predict(self, excerpts: list[Excerpt]) -> list[Prediction]:
        """The prediction for each excerpt, their segments together in batches."""
        began = time.perf_counter()
        if self.medium == "image":
            starts, segments = self._predict_images(excerpts)
        else:
            starts, segments = self._predict_samples(excerpts)
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
                segments=self._timeline(excerpt.start_s, len(excerpt.samples), starts[k], parts[k]),
                start_s=excerpt.start_s,
                duration_s=excerpt.duration_s,
                wave=self._wave(excerpt),
                sample_rate_hz=self.config.audio.sample_rate_hz,
                seconds=seconds,
                run_id=self.run.run_id,
                temperature=self.calibration.temperature,
                image=excerpt.image,
                medium=self.medium,
                warning=excerpt.warning,
            )
            for k, excerpt in enumerate(excerpts)
        ]

    def classify_whole(
        self,
        source: Source,
        name: str | None = None,
        sample_rate_hz: float | None = None,
        report: Report = silent,
    ) -> Prediction:
        """The prediction for all of a recording, however long, with its sections.

        It is decoded and goes through the network in windows, as segments are cut in training; of
        the sound only a few windows are in memory.

        Args:
            source: As for `classify`.
            name: As for `classify`.
            sample_rate_hz: As for `classify`.
            report: Called with the seconds that are done; may raise `Stopped`.

        Raises:
            AudioError: It cannot be used; the sentence says why.
            UsageError: The run does not classify recordings, or as for `classify`.
        """
        name = display_name(source) if name is None else name
        with fault_of(name), as_file(source, self.medium, sample_rate_hz) as file:
            return self.predict_whole(file, name, report)

    def predict_whole(self, file: File, name: str, report: Report = silent) -> Prediction:
        """As `classify_whole`, of what the decoder takes."""
        if self.medium != "wave":
            raise UsageError(
                f"The run {self.run.run_id} classifies {FILES[self.medium].several}, which have no "
                "length in time; only recordings are classified whole."
            )
        began, rate = time.perf_counter(), self.config.audio.sample_rate_hz
        with decode.stream(file, rate, name=name, accept_damaged=True) as stream:
            n_samples, starts, proba = self._predict_stream(stream, name, report)
        if n_samples < rate:
            raise AudioError(f"{name} lasts {n_samples / rate:.2f} s; at least 1 s are needed.")
        of_clip = np.zeros(len(starts), np.int64)
        pooled = pool_segments(proba, of_clip, 1, self.config.segments.pooling)
        segments = self._timeline(0.0, n_samples, starts, proba)
        return Prediction(
            name=name,
            genres=self.genres,
            proba=self.calibration.apply(pooled)[0],
            uncalibrated=pooled[0],
            segments=segments,
            start_s=0.0,
            duration_s=stream.duration_s,
            wave=np.zeros(0, np.float32),
            sample_rate_hz=rate,
            seconds=time.perf_counter() - began,
            run_id=self.run.run_id,
            temperature=self.calibration.temperature,
            warning=stream.warning,
            sections=sections(segments, n_samples / rate),
        )

    def _predict_stream(
        self, stream: decode.Stream, name: str, report: Report
    ) -> tuple[int, np.ndarray, np.ndarray]:
        """The number of samples, and of all segments starts (segments,) and probabilities."""
        length, step = self.segmenter.n_samples, self.segmenter.step
        n_at_once = self.batch_size * torch.get_num_threads()
        n_wanted = (n_at_once - 1) * step + length
        waiting: list[np.ndarray] = []
        n_waiting = first = 0
        starts, proba = [], []

        def predict(samples: np.ndarray) -> None:
            of_part, values = self._predict_samples([Excerpt(name, samples, 0.0, 0.0)])
            starts.append(of_part[0] + first)
            proba.append(values)

        for block in stream.blocks():
            waiting.append(quantise(block))
            n_waiting += len(block)
            # A segment is left for the end: the last one may overlap the one before it.
            if n_waiting >= n_wanted + step:
                samples = np.concatenate(waiting)
                while len(samples) >= n_wanted + step:
                    predict(samples[:n_wanted])
                    samples = samples[n_at_once * step :]
                    first += n_at_once * step
                waiting, n_waiting = [samples], len(samples)
            report(Phase.CLASSIFYING, int(stream.duration_s), int(stream.announced_s))
        predict(np.concatenate(waiting))
        return first + n_waiting, np.concatenate(starts), np.concatenate(proba)

    def embed(self, wave: np.ndarray) -> np.ndarray:
        """The embedding (n,) float32 of an excerpt, comparable with those of the run's clips.

        Args:
            wave: As in `Prediction.wave`: (samples,) in [-1, 1] at the run's sample rate.
        """
        batches = self.segmenter.batches(torch.from_numpy(quantise(wave)), _BATCH)
        with torch.inference_mode():
            vectors = [
                embedding.embed_features(
                    self.classifier, self.classifier.feature(waves.to(self._device))
                )
                for waves in batches
            ]
        return torch.cat(vectors).double().mean(dim=0).float().cpu().numpy()

    @property
    def clips_a_batch(self) -> int:
        """How many clips as long as in training fill a batch; 0 where one is more than that."""
        if self.medium == "image":
            return _BATCH
        n_samples = round(self.config.audio.clip_s * self.config.audio.sample_rate_hz)
        if self.medium != "wave":
            n_samples = self.segmenter.n_samples
        return self.batch_size // len(self.segmenter.starts(n_samples))

    @property
    def excerpt_key(self) -> tuple[Any, ...]:
        """What decides the excerpt that it takes of a file."""
        if self.medium == "wave":
            return self.config.audio.sample_rate_hz, self.config.audio.clip_s
        options = sorted(self.config.dataset.options.items())
        return self.medium, self.classifier.given_shape, repr(options)

    def _predict_samples(self, excerpts: list[Excerpt]) -> tuple[list[np.ndarray], np.ndarray]:
        """Where each excerpt's segments start (segments,), in samples or steps, and the
        probabilities of all segments (all segments, genres) float64."""
        n_samples = [len(excerpt.samples) for excerpt in excerpts]
        starts = [self.segmenter.starts(n) for n in n_samples]
        offsets = np.cumsum([0, *n_samples])
        firsts = [some + offset for some, offset in zip(starts, offsets, strict=False)]
        last = np.repeat(offsets[1:], [len(some) for some in starts])
        samples = np.concatenate([excerpt.samples for excerpt in excerpts])
        arrays = (samples, np.concatenate(firsts), last)
        flat, first, ends = (torch.from_numpy(array).to(self._device) for array in arrays)
        lengths = (ends - first).clamp(max=self.segmenter.n_samples)
        cut = self.segmenter.cut
        if self.medium != "wave":
            cut = partial(feature_cache.cut_rows, self.classifier.feature)

        @torch.inference_mode()
        def proba(batch: range) -> torch.Tensor:
            rows = slice(batch.start, batch.stop)
            return self.classifier(cut(flat, first[rows], lengths[rows])).softmax(1)

        batches = hardware.map_on_cores(proba, hardware.split_batch(len(first), self.batch_size))
        return starts, torch.cat(batches).double().cpu().numpy()

    @torch.inference_mode()
    def _predict_images(self, excerpts: list[Excerpt]) -> tuple[list[np.ndarray], np.ndarray]:
        images = np.stack([excerpt.image for excerpt in excerpts if excerpt.image is not None])
        batches = torch.from_numpy(images).split(_BATCH)
        proba = torch.cat([self.classifier(some.to(self._device)).softmax(1) for some in batches])
        return [np.zeros(1, np.int64)] * len(excerpts), proba.double().cpu().numpy()

    def _timeline(
        self, from_s: float, n_samples: int, starts: np.ndarray, proba: np.ndarray
    ) -> pd.DataFrame:
        is_wave = self.medium == "wave"
        rate = self.config.audio.sample_rate_hz if is_wave else 1
        segment_s = self.config.segments.segment_s if is_wave else self.segmenter.n_samples
        start_s, end_s = from_s + starts / rate, from_s + n_samples / rate
        columns: dict[str, np.ndarray] = {
            "start_s": start_s,
            "end_s": np.minimum(start_s + segment_s, end_s),
        }
        columns |= {f"p_{genre}": proba[:, k] for k, genre in enumerate(self.genres)}
        return pd.DataFrame(columns)

    def _wave(self, excerpt: Excerpt) -> np.ndarray:
        is_wave = self.medium == "wave"
        return dequantise(excerpt.samples) if is_wave else np.zeros(0, np.float32)

    def _read_rows(self, source: File, name: str) -> np.ndarray:
        """The rows (rows, numbers) of an array: a vector's one, a sequence's steps."""
        options, width = self.config.dataset.options, self.classifier.given_shape[-1]
        try:
            values = read_array(source, name, options.get("array", ""))
        except GenrecoreError as error:
            raise AudioError(str(error)) from None
        if self.medium == "vector":
            if values.shape == (width,):
                return values[None]
            expected = f"vectors of {thousands(width)} numbers"
        else:
            time_axis = options.get("time_axis", "automatic")
            fits = {"first": values.shape[-1] == width, "second": values.shape[0] == width}
            axes = [axis for axis in fits if fits[axis] and time_axis in (axis, "automatic")]
            if values.ndim == 2 and len(axes) == 1:
                return steps_first(values, axes[0])
            expected = f"sequences of {thousands(width)} numbers a step, time axis {time_axis}"
        raise AudioError(
            f"{name} has the size {size_in_words(values.shape)}; the run {self.run.run_id} was "
            f"trained on {expected}."
        )

    def _read_image(self, source: File, name: str) -> np.ndarray:
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
