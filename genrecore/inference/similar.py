"""Search by example: the clips whose embeddings are nearest to a recording's, copies marked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from genrecore.audio.decode import FORMATS
from genrecore.audio.fingerprint import fingerprint
from genrecore.data.audit.near_copies import near_copies
from genrecore.data.clips import clip_table
from genrecore.data.corpus import quantise
from genrecore.data.parallel import in_order
from genrecore.errors import AudioError, GenrecoreError
from genrecore.evaluation.embeddings import Embedding
from genrecore.evaluation.related_clips import EXACT, NEAR
from genrecore.inference.clip_embeddings import Embedder, middle_wave
from genrecore.inference.library import list_files
from genrecore.inference.sources import Source, as_file, display_name, fault_of
from genrecore.store.progress import Report, silent


def folder_clips(folder: str | Path, report: Report = silent) -> tuple[pd.DataFrame, list[str]]:
    """A clip table of all music below a folder that is no dataset, and sentences about what else
    lies there; a `clip_id` is the path below the folder, and no genre is known.

    Raises:
        GenrecoreError: There is no music.
    """
    top = os.path.abspath(folder)
    files, notes = list_files([top], FORMATS, report)
    if not files:
        raise GenrecoreError(f"There are no clips in {top} ({', '.join(FORMATS)}).")
    rows = ({"clip_id": os.path.relpath(path, top), "path": path} for path in files)
    return clip_table(rows), notes


def similar(
    source: Source,
    clips: Embedding,
    embedder: Embedder,
    n: int = 10,
    name: str | None = None,
    but: Sequence[str] = (),
) -> pd.DataFrame:
    """The nearest clips to a recording, nearest first: the columns of `clips.clips`, `distance` (as
    of `Embedding.nearest`) and `how`, which says of a copy how it is known and is else empty.

    The search is exact: the recording is compared with every clip. Only the clips that it finds are
    looked at for copies, since a copy sounds like its original.

    Args:
        source: What `genrecore.classify` takes, audio only.
        clips: Of the same embedder, by `embed_clips`.
        embedder: Makes the vector of the recording.
        n: How many clips.
        name: What messages call the recording.
        but: Clips to leave out, by `clip_id`.

    Raises:
        AudioError: The recording cannot be used.
    """
    label = name or display_name(source)
    with fault_of(label), as_file(source, "wave") as file:
        wave = embedder.wave(file, label)
        vector = embedder.embed(wave)
    if not np.isfinite(vector).all():
        raise AudioError(f"The embedding of {label} is not a number in places.")
    nearest = clips.nearest(vector, n, split=None, but=tuple(but))
    return nearest.assign(how=copies(wave, embedder.sample_rate_hz, embedder.clip_s, nearest))


def copies(wave: np.ndarray, sample_rate_hz: int, clip_s: float, clips: pd.DataFrame) -> list[str]:
    """How each of a few clips is known to hold the recording of a wave; empty where it does not.

    Args:
        wave: (n_samples,) in [-1, 1].
        sample_rate_hz: Its rate.
        clip_s: How much of each clip is looked at, from its middle.
        clips: `clip_id, path`.
    """

    def heard(path: str) -> tuple[bool, np.ndarray]:
        try:
            other = middle_wave(Path(path), sample_rate_hz, clip_s)
        except GenrecoreError:  # gone meanwhile
            return False, np.zeros(0, np.uint32)
        return np.array_equal(quantise(other), quantise(wave)), fingerprint(other, sample_rate_hz)

    results = dict(zip(clips["clip_id"], in_order(heard, clips["path"].tolist()), strict=True))
    prints = {name: print_ for name, (_, print_) in results.items()}
    near = near_copies({"": fingerprint(wave, sample_rate_hz), **prints}, only_first=True)
    same = set(near["clip_b"])
    return [
        EXACT if is_same else NEAR if clip_id in same else ""
        for clip_id, (is_same, _) in results.items()
    ]
