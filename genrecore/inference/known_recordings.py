"""Which clips of a run's dataset hold the recording at hand, by acoustic fingerprints. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from genrecore.audio import fingerprint
from genrecore.data import prepare as preparation
from genrecore.data.audit import sound
from genrecore.data.audit.near_copies import near_copies
from genrecore.errors import GenrecoreError
from genrecore.evaluation import embeddings, related_clips
from genrecore.store.progress import Report, silent
from genrecore.store.run import Run

_MOST = 4  # clips that are looked at closely
_BIN = 8  # frames by which the offsets of votes may differ
_VOTES = 3


@dataclass(frozen=True)
class KnownClips:
    """The clips of a run's dataset, as they can be recognised.

    Attributes:
        clips: `clip_id, genre, split` of the run's clips.
        prints: Their fingerprints by clip_id.
    """

    clips: pd.DataFrame
    prints: Mapping[str, np.ndarray]


def known_clips(run: Run) -> KnownClips | None:
    """The clips of a run with what the audit before its training measured of them; None where that
    is not kept (`measure` has it back)."""
    key, table = embeddings.corpus_key(run), run.clips
    prints = sound.kept_fingerprints(key) if key else None
    if table is None or prints is None:
        return None
    return _known_clips(table, prints)


def kept_at(run: Run) -> int:
    """When what `known_clips` reads was written, in ns since 1970; 0 where nothing is kept."""
    key = embeddings.corpus_key(run)
    return sound.kept_at(key) if key else 0


def measure(run: Run, report: Report = silent) -> KnownClips:
    """The same, measured anew from the dataset where need be.

    Raises:
        GenrecoreError: The dataset is not there any more, or the run has no clips yet.
        Stopped: A stop was asked for.
    """
    prepared = preparation.decode(run.config, report)
    table = run.clips
    if table is None:
        raise GenrecoreError(f"The run {run.run_id} has no clips yet (it is {run.state}).")
    if prepared.corpus.medium != "audio":
        return _known_clips(table, {})
    prints = sound.measure(prepared.corpus, report).fingerprints
    embeddings.note_corpus(run, prepared.corpus.key)
    return _known_clips(table, prints)


def _known_clips(table: pd.DataFrame, prints: Mapping[str, np.ndarray]) -> KnownClips:
    mine = {name: prints[name] for name in table["clip_id"] if name in prints}
    return KnownClips(table[["clip_id", "genre", "split"]].reset_index(drop=True), mine)


def copies_of(wave: np.ndarray, sample_rate_hz: int, known: KnownClips) -> pd.DataFrame:
    """The clips that hold the recording of a mono wave (n_samples,), longest shared stretch first.

    Columns: `clip_id, genre, split, overlap_s, similarity`, as `near_copies`, which has
    the last word; before, equal frames vote for clips, so that many clips take little time.
    """
    mine = fingerprint.fingerprint(wave, sample_rate_hz)
    likely = {name: known.prints[name] for name in _likely(mine, known.prints)}
    names = {f"clip {name}": name for name in likely}  # none of them may be called like the wave
    pairs = [near_copies({"": mine, key: likely[name]}) for key, name in names.items()]
    found = pd.concat(pairs, ignore_index=True) if pairs else near_copies({})
    rows = found.assign(clip_id=found["clip_b"].map(names))
    rows = rows.merge(known.clips, on="clip_id")
    rows = rows.sort_values(["overlap_s", "similarity"], ascending=False, ignore_index=True)
    return rows[["clip_id", "genre", "split", "overlap_s", "similarity"]]


def learned_from(run: Run, copies: pd.DataFrame) -> pd.DataFrame:
    """Of clips that hold a recording, and of their own copies by the run's audit, those the run
    learned from: `clip_id, genre`."""
    table = run.clips
    if table is None or copies.empty:
        return pd.DataFrame({"clip_id": [], "genre": []})
    names = list(copies["clip_id"])
    for clip_id in copies["clip_id"]:
        names += related_clips.copies(run, clip_id)["clip_id"].tolist()
    rows = table[table["clip_id"].isin(names) & (table["split"] == "train")]
    return rows[["clip_id", "genre"]].reset_index(drop=True)


def _likely(mine: np.ndarray, prints: Mapping[str, np.ndarray]) -> list[str]:
    """The clips with most frames of equal value at one offset, at least three."""
    values = np.unique(mine[mine != 0])
    if not len(values):
        return []
    at = {int(value): np.flatnonzero(mine == value)[:3] for value in values}
    votes: list[tuple[int, str]] = []
    for name, print_ in prints.items():
        place = np.searchsorted(values, print_).clip(max=len(values) - 1)
        hits = np.flatnonzero(values[place] == print_)
        if len(hits) < _VOTES:
            continue
        offsets = np.concatenate([frame - at[int(print_[frame])] for frame in hits])
        bins = np.bincount((offsets - offsets.min()) // _BIN)
        most = int((bins[1:] + bins[:-1]).max()) if len(bins) > 1 else int(bins[0])
        if most >= _VOTES:
            votes.append((most, name))
    return [name for _, name in sorted(votes, reverse=True)[:_MOST]]
