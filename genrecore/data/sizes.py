"""How large the clips of a dataset are, by the headers of their files: nothing is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from genrecore.data import corpus_arrays, corpus_images
from genrecore.data.corpus import Corpus, clip_shape
from genrecore.data.datasets import reading


@dataclass(frozen=True)
class Sizes:
    """What a corpus of a clip table would hold; clips whose header cannot be read are absent.

    Attributes:
        medium: As of `Corpus`.
        counts: By clip_id: samples of audio, rows of a table, steps of a sequence, otherwise 1.
        shape: Of one image, row or usual sequence, as `Corpus.clip_shape`; empty for audio.
        known: Whether all of it is known; else a clip of audio may be shorter.
    """

    medium: str
    counts: pd.Series
    shape: tuple[int, ...] = ()
    known: bool = True


def sizes(clips: pd.DataFrame, options: Any, sample_rate_hz: int, clip_s: float) -> Sizes:
    """The sizes of these clips.

    Args:
        clips: A clip table of one medium.
        options: Of its dataset.
        sample_rate_hz: Of audio.
        clip_s: What is taken of each recording at most.

    Raises:
        GenrecoreError: As `prepare.build_corpus`, where the headers show it.
    """
    medium = str(clips["medium"].iloc[0])
    if medium == "audio":
        seconds = clips["duration_s"].fillna(clip_s).clip(upper=clip_s)
        n_samples = np.rint(seconds * sample_rate_hz).astype(np.int64)
        counts = pd.Series(n_samples.to_numpy(), clips["clip_id"])
        return Sizes(medium, counts, known=bool(clips["duration_s"].notna().all()))
    if medium == "image":
        by_clip, shape = corpus_images.image_sizes(clips, reading.image_size(options))
    elif medium == "table":
        by_clip, shape = corpus_images.table_sizes(clips)
    else:
        by_clip, shape = corpus_arrays.array_sizes(clips, *reading.array_choice(options))
    counts = pd.Series(by_clip, dtype=np.int64)
    return Sizes(medium, counts, clip_shape(medium, counts, shape))


def sizes_of(corpus: Corpus) -> Sizes:
    """The sizes of the clips of a corpus."""
    counts = corpus.index.set_index("clip_id")["n_samples"]
    return Sizes(corpus.medium, counts, () if corpus.medium == "audio" else corpus.clip_shape)
