"""A trained run at work: any audio file in, probabilities of the genres out.

`panel` asks several runs at once, and many files.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import torch

from genrecore.audio import decode as audio
from genrecore.audio import spectra as spectral
from genrecore.data import corpus_images as provided
from genrecore.data.corpus import dequantise, quantise
from genrecore.data.segments import Segmenter
from genrecore.errors import AudioError, GenrecoreError
from genrecore.evaluation import calibration
from genrecore.evaluation.calibration import Calibration
from genrecore.evaluation.metrics import genres_in
from genrecore.evaluation.pooling import pool_segments
from genrecore.store import run as runs
from genrecore.store.run import Run
from genrecore.training import cores, embedding
from genrecore.training.classifier import Classifier
from genrecore.training.weights import load_classifier

_BATCH = 64
_SAMPLES_AT_ONCE = 2**21  # of a batch: 64 segments of 1.5 s, four of 24 s; spectra are larger


@dataclass(frozen=True)
class Prediction:
    """What a run says of one clip.

    Attributes:
        name: The file's name, for display only.
        genres: Sorted names.
        proba: Calibrated probabilities, (genres,) float64, sum to 1.
        uncalibrated: As the run's stored predictions are made: pooled of the segments'.
        segments: `start_s, end_s` in the file and `p_<genre>…`, uncalibrated, one row a segment.
        start_s: Where the judged excerpt starts in the file.
        duration_s: Length of the whole file; 0 for a picture.
        wave: The judged excerpt, (samples,) float32 in [-1, 1]; empty for a picture.
        sample_rate_hz: Its rate.
        seconds: Time from file to verdict.
        run_id: Of the run that says so.
        temperature: By which the probabilities were calibrated (`calibration`).
        image: The judged image, (3, height, width) uint8; None for a recording.
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
        made: dict[str, Any] = {
            "name": self.name,
            "genre": self.genre,
            "proba": by_genre(self.genres, self.proba),
            "uncalibrated": by_genre(self.genres, self.uncalibrated),
            "temperature": self.temperature,
        }
        if self.image is None:
            made["duration_s"] = self.duration_s
            made["start_s"] = self.start_s
            made["judged_s"] = len(self.wave) / self.sample_rate_hz
        return made


def by_genre(genres: list[str], proba: np.ndarray) -> dict[str, float]:
    """Probabilities (genres,) under the genres' names."""
    return {genre: float(p) for genre, p in zip(genres, proba, strict=True)}


@dataclass(frozen=True)
class Excerpt:
    """What of a file is judged: `samples` (n,) int16 as the corpus holds them, or a `picture`
    (3, height, width) uint8."""

    name: str
    samples: np.ndarray
    start_s: float
    duration_s: float
    image: np.ndarray | None = None


class LoadedRun:
    """A run's classifier in memory, in float32: the arithmetic of its stored predictions."""

    def __init__(self, run: Run, network: Classifier, calibrated: Calibration) -> None:
        """
        Args:
            run: Where it comes from.
            network: Its classifier, in evaluation mode on the CPU.
            calibrated: Its temperature.

        Raises:
            GenrecoreError: It judges rows of a table.
        """
        # So most networks take a processor 0.4 to 0.9 of the time (docs/performance.md).
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.run, self.classifier, self.calibration = run, network, calibrated
        self.config, self.genres = network.config, network.genres
        self.segmenter = Segmenter.from_config(network.config)
        # By what it was built for: a folder of pictures may be gone by now.
        shape = network.given_shape
        self.medium = "image" if len(shape) == 3 else "table" if shape else "wave"
        if self.medium == "table":
            raise GenrecoreError(
                f"The run {run.run_id} was trained on a dataset's own tables, not on audio, so it "
                "cannot judge a recording."
            )

    def classify(
        self,
        source: str | Path | bytes | BinaryIO,
        name: str | None = None,
        start_s: float | None = None,
        length_s: float | None = None,
    ) -> Prediction:
        """The verdict on one file, decoded exactly as the training clips were.

        Args:
            source: A path, a file's bytes, or an open file; audio, or a picture where the run was
                trained on those.
            name: What to call it; by default the path's last part.
            start_s: Where to start; by default the middle of the file is judged.
            length_s: How much to judge; by default as much as was taken from training clips.

        Raises:
            AudioError: The file cannot be used; the sentence says why.
        """
        began = time.perf_counter()
        (prediction,) = self.predict([self.read_excerpt(source, name, start_s, length_s)])
        return replace(prediction, seconds=time.perf_counter() - began)

    def read_excerpt(
        self,
        source: str | Path | bytes | BinaryIO,
        name: str | None = None,
        start_s: float | None = None,
        length_s: float | None = None,
    ) -> Excerpt:
        """What `predict` takes of a file; arguments and errors as of `classify`."""
        if name is None:
            name = Path(source).name if isinstance(source, (str, Path)) else "clip"
        if self.medium == "image":
            picture = self._picture(source, name)
            return Excerpt(name, np.zeros(0, np.int16), 0.0, 0.0, picture)
        decoded = audio.decode(
            source,
            self.config.audio.sample_rate_hz,
            name=name,
            middle_s=length_s or self.config.audio.clip_s,
            start_s=start_s,
        )
        # The corpus holds 16 bits, so that is what the network was taught on.
        return Excerpt(name, quantise(decoded.wave), decoded.start_s, decoded.duration_s)

    def predict(self, excerpts: list[Excerpt]) -> list[Prediction]:
        """The verdict on each excerpt, their segments together in batches."""
        began = time.perf_counter()
        if self.medium == "image":
            starts, proba = self._judge_pictures(excerpts)
        else:
            starts, proba = self._judge_waves(excerpts)
        of_clip = np.repeat(np.arange(len(excerpts)), [len(some) for some in starts])
        wide = proba.astype(np.float64)
        clips = pool_segments(wide, of_clip, len(excerpts), self.config.segments.pooling)
        calibrated = self.calibration.apply(clips)
        parts = np.split(wide, np.cumsum([len(some) for some in starts])[:-1])
        seconds = (time.perf_counter() - began) / max(1, len(excerpts))
        return [
            Prediction(
                name=one.name,
                genres=self.genres,
                proba=calibrated[k],
                uncalibrated=clips[k],
                segments=self._timeline(one, starts[k], parts[k]),
                start_s=one.start_s,
                duration_s=one.duration_s,
                wave=dequantise(one.samples),
                sample_rate_hz=self.config.audio.sample_rate_hz,
                seconds=seconds,
                run_id=self.run.run_id,
                temperature=self.calibration.temperature,
                image=one.image,
            )
            for k, one in enumerate(excerpts)
        ]

    def embed(self, wave: np.ndarray) -> np.ndarray:
        """The embedding (n,) float32 of a recording, comparable with those of the run's clips.

        Args:
            wave: The judged excerpt as `Verdict.wave` holds it: (samples,) in [-1, 1] at the run's
                sample rate.
        """
        batches = self.segmenter.batches(torch.from_numpy(quantise(wave)), _BATCH)
        with torch.inference_mode():
            features = (self.classifier.feature(waves) for waves in batches)
            made = [embedding.embed_features(self.classifier, one) for one in features]
        return torch.cat(made).double().mean(dim=0).float().numpy()

    @property
    def n_segments_a_clip(self) -> int:
        """How many pieces the network is shown of what is judged of a long file."""
        if self.medium == "image":
            return 1
        n_samples = round(self.config.audio.clip_s * self.config.audio.sample_rate_hz)
        return len(self.segmenter.starts(n_samples))

    @property
    def batch_size(self) -> int:
        """Segments that go through the network at a time."""
        if self.medium == "image":
            return _BATCH
        return max(1, min(_BATCH, _SAMPLES_AT_ONCE // self.segmenter.n_samples))

    def _judge_waves(self, excerpts: list[Excerpt]) -> tuple[list[np.ndarray], np.ndarray]:
        """Starts (segments,) of each excerpt's segments in samples, and the probabilities
        (segments of all, genres)."""
        starts, places, lengths, begin = [], [], [], 0
        for one in excerpts:
            some = self.segmenter.starts(len(one.samples))
            starts.append(some)
            places.append(some + begin)
            lengths.append(np.minimum(len(one.samples) - some, self.segmenter.n_samples))
            begin += len(one.samples)
        flat = torch.from_numpy(np.concatenate([one.samples for one in excerpts]))
        at, n = (torch.from_numpy(np.concatenate(one)) for one in (places, lengths))

        @torch.inference_mode()
        def judged(some: range) -> torch.Tensor:
            of = slice(some.start, some.stop)
            return self.classifier(self.segmenter.cut(flat, at[of], n[of])).softmax(1)

        parts = cores.side_by_side(judged, cores.pieces(len(at), self.batch_size))
        return starts, torch.cat(parts).numpy()

    @torch.inference_mode()
    def _judge_pictures(self, excerpts: list[Excerpt]) -> tuple[list[np.ndarray], np.ndarray]:
        given = [one.image for one in excerpts if one.image is not None]
        pictures = torch.from_numpy(np.stack(given))
        parts = [self.classifier(some).softmax(1) for some in pictures.split(_BATCH)]
        return [np.zeros(1, np.int64)] * len(excerpts), torch.cat(parts).numpy()

    def _timeline(self, excerpt: Excerpt, starts: np.ndarray, proba: np.ndarray) -> pd.DataFrame:
        rate = self.config.audio.sample_rate_hz
        at_s = excerpt.start_s + starts / rate
        end_s = excerpt.start_s + len(excerpt.samples) / rate
        columns: dict[str, np.ndarray] = {
            "start_s": at_s,
            "end_s": np.minimum(at_s + self.config.segments.segment_s, end_s),
        }
        columns |= {f"p_{genre}": proba[:, k] for k, genre in enumerate(self.genres)}
        return pd.DataFrame(columns)

    def _picture(self, source: str | Path | bytes | BinaryIO, name: str) -> np.ndarray:
        _, height, width = self.classifier.given_shape
        wanted = f"{width} × {height} pixels"
        found = provided.read_image(source, name)
        if isinstance(found, np.ndarray) and found.shape[1:] == (height, width):
            return found
        if isinstance(found, np.ndarray):
            raise AudioError(
                f"{name} has {found.shape[2]} × {found.shape[1]} pixels; the run "
                f"{self.run.run_id} was trained on pictures of {wanted}."
            )
        try:
            audio.inspect(source, name)
        except AudioError:
            raise AudioError(found) from None
        raise AudioError(
            f"{name} is audio, but the run {self.run.run_id} was trained on pictures that came "
            f"with its dataset, and how they were drawn is not known; give it such a picture of "
            f"{wanted}, or take a run that was trained on audio."
        )


def load(run: str | Path | Run) -> LoadedRun:
    """The classifier of a run at the chosen epoch, given by id, by folder or as a `Run`.

    Raises:
        UsageError: There is no such run.
        GenrecoreError: It has no weights yet, they cannot be read or are another run's, or it
            judges rows of a table.
    """
    found = run if isinstance(run, Run) else runs.find_run(str(run))
    if not found.weights.exists():
        raise GenrecoreError(
            f"The run {found.run_id} has no weights yet (it is {found.state}); "
            "a finished run can classify."
        )
    network = load_classifier(found.weights)
    tested = found.predictions
    if tested is not None and genres_in(tested) != network.genres:
        raise GenrecoreError(
            f"The file {found.weights.name} of the run {found.run_id} tells apart "
            f"{', '.join(network.genres)}, but the run was tested on "
            f"{', '.join(genres_in(tested))}: it is another run's."
        )
    return LoadedRun(found, network, calibration.calibrate(found))


def mel_picture(wave: np.ndarray, sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A log-mel spectrogram to look at: (dB (bins, frames), times_s (frames,), centre_hz (bins,)).

    128 bands; at most about 1 500 frames, so that long clips stay light.
    """
    n_fft, n_mels = 2048, 128
    hop = max(512, len(wave) // 1500)
    with torch.inference_mode():
        power = spectral.power_spectrogram(torch.from_numpy(wave)[None], n_fft, hop)
        filters = spectral.mel_filters(sample_rate_hz, n_fft, n_mels, 0.0, sample_rate_hz / 2)
        decibels = spectral.power_to_db(filters @ power, 80.0)[0]
        frequencies = torch.linspace(0.0, sample_rate_hz / 2, n_fft // 2 + 1)
        centres = (filters * frequencies).sum(1) / filters.sum(1)
    times = np.arange(decibels.shape[1]) * hop / sample_rate_hz
    return decibels.numpy(), times, centres.numpy()
