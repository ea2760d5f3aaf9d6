"""Doubts about what runs say of a file: of its sound, and for each run of what lies near to it."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genrecore.errors import GenrecoreError
from genrecore.evaluation import embeddings
from genrecore.inference import doubt
from genrecore.inference import known_recordings as recognition
from genrecore.inference import novelty as familiarity
from genrecore.inference.doubt import Doubt
from genrecore.inference.ensemble import Answer
from genrecore.inference.known_recordings import KnownClips
from genrecore.inference.loaded import LoadedRun, Verdict
from genrecore.inference.novelty import Familiarity
from genrecore.store.progress import Report, silent
from genrecore.store.run import Run
from genrecore.training import embedding


@dataclass(frozen=True)
class Told:
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


class Doubter:
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

    def of(self, answer: Answer) -> list[Told]:
        """The doubts about an answer of the same runs, each said once; none about pictures.

        Args:
            answer: With the waves of its verdicts.
        """
        if not answer.verdicts or answer.verdicts[0].picture is not None:
            return []
        longest = max(answer.verdicts, key=lambda one: len(one.wave))
        said: dict[Doubt, list[str]] = {
            one: [] for one in doubt.of_sound(longest.wave, longest.sample_rate_hz)
        }
        for k, verdict in enumerate(answer.verdicts):
            for one in self._of_run(k, verdict):
                said.setdefault(one, []).append(verdict.run_id)
        return [Told(one, tuple(runs)) for one, runs in said.items()]

    def vector(self, k: int, wave: np.ndarray) -> np.ndarray:
        """Where run k puts an excerpt (samples,), as `LoadedRun.embed`; for any thread."""
        with self._lock:
            return self._loaded[k].embed(wave)

    def _of_run(self, k: int, verdict: Verdict) -> list[Doubt]:
        familiar, known, found = self._familiar[k], self._known[k], []
        if familiar is not None:
            found += doubt.of_place(self.vector(k, verdict.wave), familiar)
        if known is not None:
            copies = recognition.copies_of(verdict.wave, verdict.sample_rate_hz, known)
            learned = recognition.learned_from(self._loaded[k].run, copies)
            found += doubt.of_copies(copies, learned)
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
    if recognition.known_clips(run) is None:
        recognition.measure(run, report)


def _familiarity(one: LoadedRun) -> Familiarity | None:
    kept = embeddings.read(one.run) if one.medium == "wave" else None
    return None if kept is None else familiarity.fit(kept)


def _known_clips(one: LoadedRun) -> KnownClips | None:
    if one.medium != "wave":
        return None
    with contextlib.suppress(GenrecoreError):
        return recognition.known_clips(one.run)
    return None
