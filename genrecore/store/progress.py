"""What a job is doing and how far it is: phases as codes, and the callback that reports them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Self

Report = Callable[[str, int, int], None]
"""`report(phase, done, total)`, called often, cheap; raises `Stopped` when one was asked for."""


class Stopped(Exception):
    """A stop was asked for; raised out of `report`, so that a loop ends at a safe point."""


class Ended(Stopped):
    """The process must end before the loop comes to a safe point: only what was saved earlier
    stays."""


def silent(phase: str, done: int, total: int) -> None:
    """A `Report` that does nothing."""


class Pace:
    """How fast a job goes, by the last minute of its present phase."""

    def __init__(self) -> None:
        self._phase = ""
        self._marks: deque[tuple[float, int]] = deque()

    def left_s(self, phase: str, done: int, total: int, now_s: float) -> float | None:
        """Seconds until all is done, by what was done lately; None where that is not known.

        Args:
            phase: What the job is doing.
            done: How much of it is done.
            total: How much there is in all; 0 where nobody knows.
            now_s: By a clock that only goes forward.
        """
        if phase != self._phase:
            self._phase = phase
            self._marks.clear()
        if not self._marks or now_s - self._marks[-1][0] >= _PACE_EVERY_S:
            self._marks.append((now_s, done))
        while len(self._marks) > 2 and now_s - self._marks[0][0] > _PACE_WITHIN_S:
            self._marks.popleft()
        then_s, before = self._marks[0]
        if total <= 0 or done <= before or now_s - then_s < _PACE_LEAST_S:
            return None
        return (total - done) * (now_s - then_s) / (done - before)


_PACE_EVERY_S, _PACE_WITHIN_S, _PACE_LEAST_S = 1.0, 60.0, 3.0


class Phase(StrEnum):
    """What a job is doing: the code that is stored and compared, and the text that people read.

    A phase may name what it works on: `Phase.FETCHING.on("fma_small.zip")`.
    """

    text: str

    def __new__(cls, code: str, text: str = "") -> Self:
        """A member with its code as value."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.text = text
        return member

    STARTING = "starting", "Starting"
    WAITING = "waiting", "Waiting for another process that prepares the same"
    # Getting hold of a dataset.
    FETCHING = "fetching", "Fetching {} (MiB)"
    CHECKING = "checking", "Checking {} (MiB)"
    READING_ARCHIVE = "reading_archive", "Reading the archive (MiB)"
    UNPACKING = "unpacking", "Unpacking"
    MAKING_DEMO = "making_demo", "Making demo music"
    WRITING_AUDIO = "writing_audio", "Writing wav files"
    DRAWING_IMAGES = "drawing_images", "Drawing images"
    DESCRIPTORS = "descriptors", "Computing descriptors"
    # Reading it.
    FINDING_CLIPS = "finding_clips", "Looking for clips"
    FINDING_AUDIO = "finding_audio", "Looking for audio"
    READING_LIST = "reading_list", "Reading the list"
    READING_METADATA = "reading_metadata", "Reading metadata"
    READING_HEADERS = "reading_headers", "Reading headers"
    READING_FILES = "reading_files", "Reading files"
    READING_IMAGES = "reading_images", "Reading images"
    READING_TABLES = "reading_tables", "Reading tables"
    DECODING = "decoding", "Decoding audio"
    MEASURING_CLIPS = "measuring_clips", "Measuring clips"
    FINDING_COPIES = "finding_copies", "Searching for near-duplicates"
    # A run.
    FEATURES = "features", "Computing features"
    STANDARDISATION = "standardisation", "Fitting the standardisation"
    READING_SEGMENTS = "reading_segments", "Reading the training segments"
    CLASSIFYING_SEGMENTS = "classifying_segments", "Classifying the training segments"
    TRAINING = "training", "Training"
    VALIDATING = "validating", "Validating"
    TESTING = "testing", "Testing"
    EMBEDDING = "embedding", "Computing embeddings"
    # What is done with runs.
    CLASSIFYING = "classifying", "Classifying"
    OCCLUDING = "occluding", "Covering one part of the clip after another"
    ATTRIBUTING = "attributing", "Running the network"
    PROBING = "probing", "Probing"
    MAPPING = "mapping", "Drawing the map"
    DRAWING_FIGURES = "drawing_figures", "Drawing figures"
    SEARCHING = "searching", "Searching"
    BUILDING_MODEL = "building_model", "Building the model"
    MEASURING_TIME = "measuring_time", "Measuring"
    EXPORTING = "exporting", "Exporting the network"
    COMPARING_EXPORT = "comparing_export", "Comparing with the original"
    LOGGING = "logging", "Logging to MLflow"

    def on(self, detail: str) -> str:
        """The code of this phase together with what it works on."""
        return f"{self}:{detail}"


def phase_text(code: str) -> str:
    """A reported phase as people read it; what is no code is text already."""
    name, _, detail = code.partition(":")
    try:
        text = Phase(name).text
    except ValueError:
        return code
    if "{}" in text:
        return text.format(detail)
    return f"{text}: {detail}" if detail else text


_BY_TEXT = {phase.text: phase for phase in Phase}
_BY_TEXT["Looking where clips lie"] = Phase.EMBEDDING  # as earlier versions wrote it


def phase_code(written: str) -> str:
    """The phase in a status file: earlier versions wrote the text that people read."""
    return _BY_TEXT.get(written, written)
