"""When a verdict should not be believed: what was given is no music, is unlike the music a run
learned from, or is that very music."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from genrecore.audio import content as sound_kinds
from genrecore.inference.novelty import Familiarity

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


def of_sound(wave: np.ndarray, sample_rate_hz: int) -> list[Doubt]:
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


def of_place(vector: np.ndarray, familiar: Familiarity) -> list[Doubt]:
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
            "This is unlike everything the run learned from: it lies "
            f"{times:.1f} times as far away as is usual at most, going by "
            f"{familiar.n_clips} validation clips.",
        )
    ]


def of_copies(copies: pd.DataFrame, learned: pd.DataFrame) -> list[Doubt]:
    """Whether the run knows this very recording.

    Args:
        copies: The clips of its dataset that hold it, as `recognition.copies_of`.
        learned: Those of them, or of their copies, in training: `recognition.learned_from`.
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


def flagged(doubts: Sequence[Doubt]) -> bool:
    """Whether any of them is a warning."""
    return any(one.kind != HELD_OUT for one in doubts)
