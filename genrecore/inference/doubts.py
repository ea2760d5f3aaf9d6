"""Reasons to distrust a prediction: checks of the recording itself, and for each run whether the
recording is out-of-distribution or among the clips that the run learned from."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from genrecore.audio import content as sound_kinds
from genrecore.errors import GenrecoreError
from genrecore.evaluation import embeddings
from genrecore.inference import known_recordings, novelty
from genrecore.inference.ensemble import EnsemblePrediction
from genrecore.inference.known_recordings import KnownClips
from genrecore.inference.loaded import LoadedRun, Prediction
from genrecore.inference.novelty import NoveltyDetector
from genrecore.store.progress import Report, silent
from genrecore.store.run import Run
from genrecore.training import embedding
from genrecore.words import decimals, plural

KINDS = SILENT, NOISE, SPEECH, UNLIKE, LEARNED, HELD_OUT = (
    "silent", "noise", "speech", "unlike", "learned", "held out",
)  # fmt: skip


@dataclass(frozen=True)
class Doubt:
    """A reason not to believe a verdict.

    Attributes:
        kind: `SILENT`, `NOISE`, `SPEECH` (of the recording itself), `UNLIKE`, `LEARNED`; or
            `HELD_OUT`, which is none but worth knowing.
        sentence: For people.
    """

    kind: str
    sentence: str


def sound_doubts(wave: np.ndarray, sample_rate_hz: int) -> list[Doubt]:
    """What a mono wave (n_samples,) float32 in [-1, 1] itself gives to doubt; no run is asked."""
    found = sound_kinds.kind_of(wave, sample_rate_hz)
    if found.name == "silent":
        words = f"This is nearly silent: its mean level is {found.level_db:.0f} dBFS"
        return [Doubt(SILENT, f"{words.replace('-', '−')}. What a run says of it means nothing.")]
    if found.name == "mostly silent":
        words = f"{100 * found.silent:.0f} % of this recording is silence"
        return [Doubt(SILENT, f"{words}; the verdict is about the little that sounds.")]
    if found.name == "noise":
        return [
            Doubt(
                NOISE,
                "This is like noise: no pitch stands out of its spectrum. A run knows genres alone "
                "and names one for noise as well.",
            )
        ]
    if found.name == "speech":
        return [
            Doubt(
                SPEECH,
                "This is like speech: it rises and falls as fast as syllables do, with a voice "
                "whose pitch glides. A run knows genres alone and names one for speech as well.",
            )
        ]
    return []


def novelty_doubts(vector: np.ndarray, familiar: NoveltyDetector) -> list[Doubt]:
    """Whether a recording lies where none of the run's music does.

    Args:
        vector: Its embedding, (n,).
        familiar: What lies near to the run.
    """
    if not familiar.is_unlike(vector):
        return []
    times = float(familiar.distances(vector[None])[0]) / familiar.limit
    return [
        Doubt(
            UNLIKE,
            "This is unlike everything the run learned from: its distance is "
            f"{decimals(times)} times the largest distance usual for the training music, going by "
            f"{plural(familiar.n_clips, 'validation clip')}.",
        )
    ]


def copy_doubts(copies: pd.DataFrame, learned: pd.DataFrame) -> list[Doubt]:
    """Whether the run knows this very recording.

    Args:
        copies: The clips of its dataset that hold it, as `known_recordings.copies_of`.
        learned: Those of them, or of their copies, in training: `known_recordings.learned_from`.
    """
    if len(learned):
        clip_id, genre = learned.iloc[0][["clip_id", "genre"]]
        more = f" and {len(learned) - 1} more of its clips" if len(learned) > 1 else ""
        return [
            Doubt(
                LEARNED,
                f"The run learned from this very recording: it is {clip_id}{more}, labelled "
                f"{genre}. That it is recognised proves nothing.",
            )
        ]
    if copies.empty:
        return []
    first = copies.iloc[0]
    part = {"valid": "validation", "test": "test"}.get(str(first["split"]))
    where = f"a {part} clip of the run" if part else "a clip of its dataset that no part holds"
    return [
        Doubt(
            HELD_OUT,
            f"This recording is {where}: {first['clip_id']}, labelled {first['genre']}. The run "
            "did not learn from it.",
        )
    ]


@dataclass(frozen=True)
class RunDoubt:
    """A doubt and whose it is.

    Attributes:
        doubt: Kind and sentence.
        runs: Ids of the runs it is about; empty where it is about the recording itself.
    """

    doubt: Doubt
    runs: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For JSON: kind, sentence and runs."""
        return {
            "kind": self.doubt.kind,
            "sentence": self.doubt.sentence,
            "runs": list(self.runs),
        }


class DoubtFinder:
    """Loaded runs with what is kept of the clips they learned from.

    Attributes:
        lacking: Runs of whose clips nothing, or not everything, is kept: whether a recording is
            unlike their music, or among it, cannot be told. `prepare` mends it.
    """

    def __init__(self, loaded: Sequence[LoadedRun]) -> None:
        """Reads what is kept; nothing is computed."""
        # Networks of its own: hooks would otherwise see what other threads ask the same network.
        self._loaded = [copy.deepcopy(one) for one in loaded]
        self._lock = threading.Lock()
        self._familiar = [_familiarity(one) for one in loaded]
        self._known = [_known_clips(one) for one in loaded]
        both = zip(self._loaded, self._familiar, self._known, strict=True)
        self.lacking: tuple[Run, ...] = tuple(
            one.run
            for one, familiar, known in both
            if one.medium == "wave" and (familiar is None or known is None)
        )

    def doubts_about(self, answer: EnsemblePrediction) -> list[RunDoubt]:
        """The doubts about an answer of the same runs, each said once; none about pictures.

        Args:
            answer: With the waves of its verdicts.
        """
        if not answer.predictions or answer.predictions[0].picture is not None:
            return []
        longest = max(answer.predictions, key=lambda one: len(one.wave))
        said: dict[Doubt, list[str]] = {
            one: [] for one in sound_doubts(longest.wave, longest.sample_rate_hz)
        }
        for k, prediction in enumerate(answer.predictions):
            for one in self._run_doubts(k, prediction):
                said.setdefault(one, []).append(prediction.run_id)
        return [RunDoubt(one, tuple(runs)) for one, runs in said.items()]

    def vector(self, k: int, wave: np.ndarray) -> np.ndarray:
        """Where run k puts an excerpt (samples,), as `LoadedRun.embed`; for any thread."""
        with self._lock:
            return self._loaded[k].embed(wave)

    def _run_doubts(self, k: int, prediction: Prediction) -> list[Doubt]:
        familiar, known, found = self._familiar[k], self._known[k], []
        if familiar is not None:
            found += novelty_doubts(self.vector(k, prediction.wave), familiar)
        if known is not None:
            copies = known_recordings.copies_of(prediction.wave, prediction.sample_rate_hz, known)
            learned = known_recordings.learned_from(self._loaded[k].run, copies)
            found += copy_doubts(copies, learned)
        return found


def prepare(run: Run, report: Report = silent) -> None:
    """Computes what doubts about a run's verdicts rest on, where it is not kept.

    Args:
        run: A finished run.
        report: Called as `report(phase, done, total)`; it may raise `Stopped`.

    Raises:
        GenrecoreError: The run has no weights yet, or its dataset is gone.
    """
    embedding.embed(run, report)
    if known_recordings.known_clips(run) is None:
        known_recordings.measure(run, report)


def _familiarity(one: LoadedRun) -> NoveltyDetector | None:
    kept = embeddings.read(one.run) if one.medium == "wave" else None
    return None if kept is None else novelty.fit(kept)


def _known_clips(one: LoadedRun) -> KnownClips | None:
    if one.medium != "wave":
        return None
    with contextlib.suppress(GenrecoreError):
        return known_recordings.known_clips(one.run)
    return None
