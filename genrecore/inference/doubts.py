"""Reasons to distrust a prediction: checks of the recording itself, and for each run whether the
recording is out-of-distribution or among the clips that the run learned from."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from genrecore.audio.content import kind_of
from genrecore.errors import GenrecoreError
from genrecore.evaluation import embeddings
from genrecore.inference import known_recordings, novelty
from genrecore.inference.ensemble import EnsemblePrediction
from genrecore.inference.loaded import LoadedRun, Prediction
from genrecore.inference.novelty import NoveltyDetector
from genrecore.store.progress import Report, silent
from genrecore.store.run import Run
from genrecore.training import embedding
from genrecore.words import decimals, plural, thousands

SILENT, NOISE, SPEECH, UNLIKE, LEARNED, HELD_OUT = (
    "silent", "noise", "speech", "unlike", "learned", "held out",
)  # fmt: skip
TITLES = {
    SILENT: "nearly silent",
    NOISE: "noise",
    SPEECH: "speech",
    UNLIKE: "unlike the training clips",
    LEARNED: "is a training clip",
    HELD_OUT: "is a clip of the dataset",
}
"""What people read of each kind in a table."""


@dataclass(frozen=True)
class Doubt:
    """A reason to distrust a prediction.

    Attributes:
        kind: `SILENT`, `NOISE`, `SPEECH` (about the recording itself), `UNLIKE`, `LEARNED`; or
            `HELD_OUT`, which is no doubt but worth knowing.
        sentence: For people.
        runs: Ids of the runs it is about; empty where it is about the recording itself.
    """

    kind: str
    sentence: str
    runs: tuple[str, ...] = ()


def sound_doubts(wave: np.ndarray, sample_rate_hz: int) -> list[Doubt]:
    """Doubts about a mono wave (n_samples,) float32 in [-1, 1] that concern every run."""
    content = kind_of(wave, sample_rate_hz)
    doubts = {
        "silent": Doubt(
            SILENT,
            f"This is nearly silent: its mean level is {thousands(content.level_db)} dBFS. What a "
            "run predicts for it means nothing.",
        ),
        "mostly silent": Doubt(
            SILENT,
            f"{thousands(100 * content.silent)} % of this recording is silence; the prediction is "
            "about the little that sounds.",
        ),
        "noise": Doubt(
            NOISE,
            "This is like noise: no pitch stands out of its spectrum. A run knows nothing but "
            "genres and names one for noise as well.",
        ),
        "speech": Doubt(
            SPEECH,
            "This is like speech: it rises and falls as fast as syllables do, with a voice whose "
            "pitch glides. A run knows nothing but genres and names one for speech as well.",
        ),
    }
    return [doubts[content.name]] if content.name else []


def novelty_doubts(vector: np.ndarray, detector: NoveltyDetector) -> list[Doubt]:
    """Whether a recording with the embedding (n,) is out-of-distribution for a run."""
    if not detector.is_unlike(vector):
        return []
    times = float(detector.distances(vector[None])[0]) / detector.limit
    return [
        Doubt(
            UNLIKE,
            "This is unlike everything the run learned from: its distance is "
            f"{decimals(times)} times the largest distance usual for the training music, going by "
            f"{plural(detector.n_clips, 'validation clip')}.",
        )
    ]


def copy_doubts(copies: pd.DataFrame, learned: pd.DataFrame) -> list[Doubt]:
    """Whether the run knows this very recording.

    Args:
        copies: Clips of its dataset that hold the recording, from `known_recordings.copies_of`.
        learned: Training clips that hold it, from `known_recordings.learned_from`.
    """
    if len(learned):
        first = learned.iloc[0]
        more = f" and {plural(len(learned) - 1, 'more clip')}" if len(learned) > 1 else ""
        return [
            Doubt(
                LEARNED,
                f"The run learned from this very recording: it is {first['clip_id']}{more}, "
                f"labelled {first['genre']}. A right answer proves nothing.",
            )
        ]
    if copies.empty:
        return []
    first = copies.iloc[0]
    split = {"valid": "validation", "test": "test"}.get(str(first["split"]))
    clip = f"a {split} clip of the run" if split else "a clip of its dataset outside every split"
    return [
        Doubt(
            HELD_OUT,
            f"This recording is {clip}: {first['clip_id']}, labelled {first['genre']}. The run "
            "did not learn from it.",
        )
    ]


class DoubtFinder:
    """Loaded runs with what is stored about the clips they learned from.

    Attributes:
        lacking: Runs for which embeddings or fingerprints of clips are not stored, so that some
            doubts cannot be found. `prepare` computes them.
    """

    def __init__(self, loaded: Sequence[LoadedRun]) -> None:
        """Reads what is stored; nothing is computed."""
        # Copies: the hooks of an embedding would see what other threads do in the same network.
        self._loaded = [copy.deepcopy(run) for run in loaded]
        self._lock = threading.Lock()
        self._detectors = [_novelty_detector(run) for run in loaded]
        self._known_clips = [_known_clips(run) for run in loaded]
        stored = zip(loaded, self._detectors, self._known_clips, strict=True)
        self.lacking: tuple[Run, ...] = tuple(
            run.run
            for run, detector, clips in stored
            if run.medium == "wave" and (detector is None or clips is None)
        )

    def doubts_about(self, prediction: EnsemblePrediction) -> list[Doubt]:
        """The doubts about a prediction of the same runs, each once; about recordings only."""
        predictions = prediction.predictions
        if not predictions or predictions[0].medium != "wave":
            return []
        longest = max(predictions, key=lambda prediction: len(prediction.wave))
        runs: dict[Doubt, list[str]] = {
            doubt: [] for doubt in sound_doubts(longest.wave, longest.sample_rate_hz)
        }
        for k, prediction_of_run in enumerate(predictions):
            for doubt in self._run_doubts(k, prediction_of_run):
                runs.setdefault(doubt, []).append(prediction_of_run.run_id)
        return [replace(doubt, runs=tuple(ids)) for doubt, ids in runs.items()]

    def vector(self, k: int, wave: np.ndarray) -> np.ndarray:
        """Run k's embedding of an excerpt (samples,), as `LoadedRun.embed`; for any thread."""
        with self._lock:
            return self._loaded[k].embed(wave)

    def _run_doubts(self, k: int, prediction: Prediction) -> list[Doubt]:
        detector, clips = self._detectors[k], self._known_clips[k]
        doubts = []
        if detector is not None:
            doubts += novelty_doubts(self.vector(k, prediction.wave), detector)
        if clips is not None:
            copies = known_recordings.copies_of(prediction.wave, prediction.sample_rate_hz, clips)
            learned = known_recordings.learned_from(self._loaded[k].run, copies)
            doubts += copy_doubts(copies, learned)
        return doubts


def prepare(run: Run, report: Report = silent) -> None:
    """Computes the embeddings and fingerprints that doubts need, where they are not stored.

    Raises:
        GenrecoreError: The run has no weights yet, or its dataset is gone.
        Stopped: A stop was asked for.
    """
    embedding.embed(run, report)
    if known_recordings.known_clips(run) is None:
        known_recordings.measure(run, report)


def _novelty_detector(loaded: LoadedRun) -> NoveltyDetector | None:
    stored = embeddings.read(loaded.run) if loaded.medium == "wave" else None
    return None if stored is None else novelty.fit(stored)


def _known_clips(loaded: LoadedRun) -> known_recordings.KnownClips | None:
    if loaded.medium != "wave":
        return None
    with contextlib.suppress(GenrecoreError):
        return known_recordings.known_clips(loaded.run)
    return None
