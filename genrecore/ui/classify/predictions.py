"""Runs in memory and their predictions; both stay there for other visitors."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import streamlit as st

from genrecore.audio import decode
from genrecore.errors import GenrecoreError
from genrecore.inference import ensemble, known_recordings
from genrecore.inference.doubts import Doubt, DoubtFinder
from genrecore.inference.ensemble import Ensemble, EnsemblePrediction
from genrecore.inference.loaded import LoadedRun, Prediction
from genrecore.store.files import changed
from genrecore.store.run import Run
from genrecore.ui.classify.inputs import InputClip
from genrecore.ui.parts import readers
from genrecore.ui.parts.cache import cached_by_files, embedding_files, no_files
from genrecore.ui.parts.choices import choose_one
from genrecore.ui.parts.player import SoundExcerpt

MOST_PLAYED_S = 600.0
"""A longer recording plays only in the part that was classified: 26 MB are ten minutes."""
_MOST_WAIT_S = 5.0  # that the predictions for a whole song may take
_STRETCHES = 800  # of the outline of a whole recording: about as many as a screen shows
_EDGES_S = 1.0  # what is left out on both sides is not worth another look


@dataclass(frozen=True)
class OpenedRuns:
    """Runs and the same loaded; `key` names this loading of them."""

    runs: tuple[Run, ...]
    ensemble: Ensemble
    key: str

    @property
    def stored_at(self) -> tuple[tuple[int, int], ...]:
        """When each run's embedding and fingerprints were written; 0 where there is none."""
        return tuple((embedded_at(run), known_recordings.kept_at(run)) for run in self.runs)

    @property
    def finder(self) -> DoubtFinder:
        """Finds doubts about predictions of these runs."""
        return _doubt_finder(self, self.stored_at)

    def in_titles(self, text: str) -> str:
        """The text with titles in place of the runs' ids."""
        for run in self.runs:
            text = text.replace(run.run_id, run.title)
        return text


@dataclass(frozen=True)
class ClassifiedClip:
    """A clip and the predictions of runs, as every part of the page needs them."""

    clip: InputClip
    opened: OpenedRuns
    result: EnsemblePrediction

    @property
    def key(self) -> str:
        """Names the clip, the part of it that each run classified, and the runs."""
        parts = [(each.start_s, len(each.wave)) for each in self.result.predictions]
        return repr((self.opened.key, self.opened.stored_at, self.clip.key, parts))

    @property
    def longest(self) -> Prediction:
        """The prediction for the longest part of the clip: the part that plays."""
        return max(self.result.predictions, key=lambda prediction: len(prediction.wave))

    @property
    def doubts(self) -> list[Doubt]:
        """Reasons not to believe the predictions."""
        return _doubts(self)

    def choose_run(self, name: str) -> tuple[int, Run, LoadedRun, Prediction]:
        """A run chosen under this name in the URL: (position, run, loaded, prediction)."""
        titles = readers.titles(self.opened.runs)
        k = 0
        if len(titles) > 1:
            k = list(titles).index(choose_one("Run", titles, name))
        loaded, prediction = self.opened.ensemble.loaded[k], self.result.predictions[k]
        return k, self.opened.runs[k], loaded, prediction


def open_runs(runs: Sequence[Run]) -> OpenedRuns:
    """The runs in memory, loaded where they are not.

    Raises:
        GenrecoreError: A run is gone, cannot be read, or does not go together with the others.
    """
    for run in runs:
        if not run.weights.exists():
            raise GenrecoreError(f"The run {run.run_id} was deleted meanwhile; pick another one.")
    return _load(list(runs))


@cached_by_files(
    lambda runs: [run.weights for run in runs],
    spinner="Loading the networks …",
    max_entries=4,
    shared=True,
)
def _load(runs: list[Run]) -> OpenedRuns:
    return OpenedRuns(tuple(runs), ensemble.load(runs), secrets.token_hex(8))


def embedded_at(run: Run) -> int:
    """When the run's embedding was written, in ns since 1970; 0 where there is none."""
    return next((changed(path)[0] for path in embedding_files(run)), 0)


@cached_by_files(no_files, max_entries=2, shared=True)
def _doubt_finder(opened: OpenedRuns, stored_at: tuple[tuple[int, int], ...]) -> DoubtFinder:
    return DoubtFinder(opened.ensemble.loaded)


@cached_by_files(no_files, spinner="Checking the prediction …")
def _doubts(classified: ClassifiedClip) -> list[Doubt]:
    return classified.opened.finder.doubts_about(classified.result)


def classify(
    opened: OpenedRuns, clip: InputClip, start_s: float | None, length_s: float | None
) -> ClassifiedClip:
    """The runs' predictions for a part of a clip; by default each run takes its own middle."""
    result = _classify(opened, clip, start_s, length_s)
    return ClassifiedClip(clip, opened, replace(result, name=clip.name))


@cached_by_files(no_files, spinner="Classifying …", max_entries=24, shared=True)
def _classify(
    opened: OpenedRuns, clip: InputClip, start_s: float | None, length_s: float | None
) -> EnsemblePrediction:
    return opened.ensemble.classify(clip.path, clip.name, start_s, length_s)


@dataclass(frozen=True)
class Song:
    """A recording to play and what the runs predict for it over time.

    Attributes:
        sound: All of it, or the classified part where all of it is too long to play.
        segments: As of `Prediction`, one table a run: of the whole recording, or of the classified
            part where the rest would take too long.
        result: The runs' predictions for all of it; None where it was not classified.
    """

    sound: SoundExcerpt
    segments: tuple[pd.DataFrame, ...]
    result: EnsemblePrediction | None = None


def song(classified: ClassifiedClip) -> Song:
    """The recording around the classified part, as far as seconds suffice."""
    clip, longest = classified.clip, classified.longest
    rate, total_s = longest.sample_rate_hz, longest.duration_s
    part = SoundExcerpt(clip.name, clip.genre, longest.wave, rate, longest.start_s, total_s)
    of_part = Song(part, tuple(each.segments for each in classified.result.predictions))
    if total_s <= part.seconds + _EDGES_S or total_s > MOST_PLAYED_S:
        return of_part
    share = total_s / part.seconds
    expected_s = share * sum(each.seconds for each in classified.result.predictions)
    whole = _whole(classified.opened, clip, rate, total_s if expected_s < _MOST_WAIT_S else 0.0)
    return whole if whole.result else replace(of_part, sound=whole.sound)


@cached_by_files(no_files, spinner="Listening to the whole song …", max_entries=4, shared=True)
def _whole(opened: OpenedRuns, clip: InputClip, rate_hz: int, classified_s: float) -> Song:
    """All of a recording, with the runs' predictions unless `classified_s` is 0."""
    if not classified_s:
        decoded = decode.decode(clip.path, rate_hz, name=clip.name, accept_damaged=True)
        return Song(SoundExcerpt(clip.name, clip.genre, decoded.wave, rate_hz), ())
    result = opened.ensemble.classify(clip.path, clip.name, 0.0, classified_s)
    longest = max(result.predictions, key=lambda prediction: len(prediction.wave))
    sound = SoundExcerpt(clip.name, clip.genre, longest.wave, longest.sample_rate_hz)
    return Song(sound, tuple(each.segments for each in result.predictions), result)


@cached_by_files(no_files, spinner="Reading the whole song …", shared=True)
def outline(clip: InputClip) -> np.ndarray | None:
    """The outline of a whole recording, as of `decode.outline`; None where not all of it can be
    read."""
    try:
        return decode.outline(clip.path, _STRETCHES, clip.name, accept_damaged=True)
    except GenrecoreError:
        return None


SilentResult = tuple[EnsemblePrediction, list[str]]
"""Predictions without their sound, and the kinds of doubts about them."""


def classify_all(opened: OpenedRuns, clips: Sequence[InputClip]) -> list[SilentResult]:
    """The predictions for every clip, computed once, with a progress bar.

    They are stored without sound: that of a thousand clips would take gigabytes of memory.
    """
    stored = _silent_results(opened, opened.stored_at)
    waiting = [clip for clip in clips if clip.key not in stored]
    if waiting:
        bar = st.progress(0.0, f"Classifying {len(waiting)} clips …")
        paths, names = [clip.path for clip in waiting], [clip.name for clip in waiting]
        results = opened.ensemble.classify_many(paths, names)
        for n, (clip, result) in enumerate(zip(waiting, results, strict=True), start=1):
            kinds = dict.fromkeys(doubt.kind for doubt in opened.finder.doubts_about(result))
            silent = [replace(each, wave=each.wave[:0], image=None) for each in result.predictions]
            stored[clip.key] = replace(result, predictions=tuple(silent)), list(kinds)
            bar.progress(n / len(waiting), f"{n} of {len(waiting)} clips classified")
        bar.empty()
    # Equal files share an entry of the store, whatever their names.
    return [(replace(stored[clip.key][0], name=clip.name), stored[clip.key][1]) for clip in clips]


@cached_by_files(no_files, max_entries=4, shared=True)
def _silent_results(
    opened: OpenedRuns, stored_at: tuple[tuple[int, int], ...]
) -> dict[str, SilentResult]:
    return {}
