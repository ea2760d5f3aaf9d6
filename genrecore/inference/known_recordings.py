"""Which clips of a run's dataset hold the recording at hand, by acoustic fingerprints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from genrecore.audio.fingerprint import fingerprint
from genrecore.data import prepare
from genrecore.data.audit import sound
from genrecore.data.audit.near_copies import near_copies
from genrecore.errors import GenrecoreError
from genrecore.evaluation import embeddings, related_clips
from genrecore.store.progress import Report, silent
from genrecore.store.run import Run


@dataclass(frozen=True)
class KnownClips:
    """The clips of a run, `clip_id, genre, split`, and their fingerprints by clip_id."""

    clips: pd.DataFrame
    fingerprints: Mapping[str, np.ndarray]


def known_clips(run: Run) -> KnownClips | None:
    """The clips of a run with the fingerprints of the audit before its training; None where these
    are not stored (`measure` takes them again)."""
    key = embeddings.corpus_key(run)
    fingerprints = sound.kept_fingerprints(key) if key else None
    if run.clips is None or fingerprints is None:
        return None
    return _known_clips(run.clips, fingerprints)


def kept_at(run: Run) -> int:
    """When what `known_clips` reads was written, in ns since 1970; 0 where nothing is stored."""
    key = embeddings.corpus_key(run)
    return sound.kept_at(key) if key else 0


def measure(run: Run, report: Report = silent) -> KnownClips:
    """The clips of a run with fingerprints that are taken from its dataset where need be.

    Raises:
        GenrecoreError: The dataset is not there any more, or the run has no clips yet.
        Stopped: A stop was asked for.
    """
    corpus = prepare.decode(run.config, report).corpus
    if run.clips is None:
        raise GenrecoreError(f"The run {run.run_id} has no clips yet (it is {run.state}).")
    if corpus.medium != "audio":
        return _known_clips(run.clips, {})
    fingerprints = sound.measure(corpus, report).fingerprints
    embeddings.note_corpus(run, corpus.key)
    return _known_clips(run.clips, fingerprints)


def _known_clips(clips: pd.DataFrame, fingerprints: Mapping[str, np.ndarray]) -> KnownClips:
    own = {name: fingerprints[name] for name in clips["clip_id"] if name in fingerprints}
    return KnownClips(clips[["clip_id", "genre", "split"]].reset_index(drop=True), own)


def copies_of(wave: np.ndarray, sample_rate_hz: int, known: KnownClips) -> pd.DataFrame:
    """The clips that hold the recording of a mono wave (n_samples,), longest shared stretch first:
    `clip_id, genre, split, overlap_s, similarity`."""
    recording = {"": fingerprint(wave, sample_rate_hz)}  # no clip has an empty id
    copies = near_copies({**recording, **known.fingerprints}, only_first=True)
    copies = copies.rename(columns={"clip_b": "clip_id"}).merge(known.clips, on="clip_id")
    return copies[["clip_id", "genre", "split", "overlap_s", "similarity"]]


def learned_from(run: Run, copies: pd.DataFrame) -> pd.DataFrame:
    """Training clips among these copies, and among their copies by the audit: `clip_id, genre`."""
    if run.clips is None:
        return copies[["clip_id", "genre"]].iloc[:0]
    names = set(copies["clip_id"])
    for clip_id in copies["clip_id"]:
        names.update(related_clips.copies(run, clip_id)["clip_id"])
    learned = run.clips[run.clips["clip_id"].isin(names) & (run.clips["split"] == "train")]
    return learned[["clip_id", "genre"]].reset_index(drop=True)
