"""A trained run at work: any audio file in, probabilities of the genres out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from genrecore import audio, runs, spectral
from genrecore import classifier as classifiers
from genrecore.corpus import dequantise, quantise, segment_starts
from genrecore.errors import GenrecoreError
from genrecore.feature_cache import gather_waves
from genrecore.metrics import clip_proba, genres_in
from genrecore.runs import Run

_BATCH = 64


@dataclass(frozen=True)
class Verdict:
    """What a run says of one clip.

    Attributes:
        name: The file's name, for display only.
        genres: Sorted names.
        proba: Mean of the segments' probabilities, (genres,) float64, sums to 1.
        segments: `start_s, end_s` in the file and `p_<genre>…`, one row a segment.
        start_s: Where the judged excerpt starts in the file.
        duration_s: Length of the whole file.
        wave: The judged excerpt, (samples,) float32 in [-1, 1].
        sample_rate_hz: Its rate.
        seconds: Time from file to verdict.
    """

    name: str
    genres: list[str]
    proba: np.ndarray
    segments: pd.DataFrame
    start_s: float
    duration_s: float
    wave: np.ndarray
    sample_rate_hz: int
    seconds: float

    @property
    def genre(self) -> str:
        """The most probable genre."""
        return self.genres[int(self.proba.argmax())]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: name, genre, probabilities, duration and excerpt."""
        return {
            "name": self.name,
            "genre": self.genre,
            "proba": {g: float(p) for g, p in zip(self.genres, self.proba, strict=True)},
            "duration_s": self.duration_s,
            "start_s": self.start_s,
            "judged_s": len(self.wave) / self.sample_rate_hz,
        }


class LoadedRun:
    """A run's classifier in memory, in float32: the arithmetic of its stored predictions."""

    def __init__(self, run: Run) -> None:
        """Loads the weights of the chosen epoch.

        Raises:
            GenrecoreError: The run has no weights yet, they cannot be read, or are another run's.
        """
        self.run = run
        self.classifier = classifiers.load(run.weights)
        self.config = self.classifier.config
        self.genres = self.classifier.genres
        tested = run.predictions
        if tested is not None and genres_in(tested) != self.genres:
            raise GenrecoreError(
                f"The file {run.weights.name} of the run {run.run_id} tells apart "
                f"{', '.join(self.genres)}, but the run was tested on "
                f"{', '.join(genres_in(tested))}: it is another run's."
            )
        needs = classifiers.medium_of(self.config.dataset)
        if needs != "wave":
            raise GenrecoreError(
                f"The run {run.run_id} was trained on a dataset's own "
                f"{'pictures' if needs == 'image' else 'tables'}, not on audio, so it cannot judge "
                "a recording."
            )

    def classify(
        self,
        source: str | Path | bytes,
        name: str | None = None,
        start_s: float | None = None,
        length_s: float | None = None,
    ) -> Verdict:
        """The verdict on one file, decoded exactly as the training clips were.

        Args:
            source: A path or a file's bytes.
            name: What to call it; by default the path's last part.
            start_s: Where to start; by default the middle of the file is judged.
            length_s: How much to judge; by default as much as was taken from training clips.

        Raises:
            AudioError: The file cannot be used; the sentence says why.
        """
        began = time.perf_counter()
        rate = self.config.audio.sample_rate_hz
        decoded = audio.decode(
            source,
            rate,
            name=name,
            middle_s=length_s or self.config.audio.clip_s,
            start_s=start_s,
        )
        # The corpus holds 16 bits, so that is what the network was taught on.
        samples = quantise(decoded.wave)
        starts, proba = self._segments(samples)
        segment_s = self.config.segments.segment_s
        at_s = decoded.start_s + starts / rate
        columns: dict[str, np.ndarray] = {
            "start_s": at_s,
            "end_s": np.minimum(at_s + segment_s, decoded.start_s + len(samples) / rate),
        }
        columns |= {f"p_{genre}": proba[:, k] for k, genre in enumerate(self.genres)}
        if name is None:
            name = Path(source).name if isinstance(source, (str, Path)) else "clip"
        return Verdict(
            name=name,
            genres=self.genres,
            proba=self._pooled(proba),
            segments=pd.DataFrame(columns),
            start_s=decoded.start_s,
            duration_s=decoded.duration_s,
            wave=dequantise(samples),
            sample_rate_hz=rate,
            seconds=time.perf_counter() - began,
        )

    def _pooled(self, proba: np.ndarray) -> np.ndarray:
        """(genres,) float64 from (segments, genres), as the run's own predictions were pooled."""
        table = pd.DataFrame(proba.astype(np.float64), columns=[f"p_{g}" for g in self.genres])
        table = table.assign(clip_id="", split="", genre="")
        return clip_proba(table, self.config.segments.pooling).to_numpy()[0]

    @torch.inference_mode()
    def _segments(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(starts (segments,), probabilities (segments, genres)) of an int16 wave."""
        n_segment = round(self.config.segments.segment_s * self.config.audio.sample_rate_hz)
        starts = segment_starts(len(samples), n_segment, self.config.segments.overlap)
        flat, at = torch.from_numpy(samples), torch.from_numpy(starts)
        lengths = (len(samples) - at).clamp(max=n_segment)
        parts = [
            self.classifier(gather_waves(flat, some, n, n_segment)).softmax(1)
            for some, n in zip(at.split(_BATCH), lengths.split(_BATCH), strict=True)
        ]
        return starts, torch.cat(parts).numpy()


def load(run: str | Path | Run) -> LoadedRun:
    """The classifier of a run, given by id, by folder or as a `Run`.

    Raises:
        UsageError: There is no such run.
        GenrecoreError: It has no weights yet, or they cannot be read.
    """
    found = run if isinstance(run, Run) else runs.find(str(run))
    if not found.weights.exists():
        raise GenrecoreError(
            f"The run {found.run_id} has no weights yet (it is {found.state}); "
            "a finished run can classify."
        )
    return LoadedRun(found)


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
