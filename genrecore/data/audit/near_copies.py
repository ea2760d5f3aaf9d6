"""Near-duplicates: pairs of clips with the same recording, found by acoustic fingerprints.

Frames of equal value vote for pairs of clips and offsets; the best offsets are verified by the
correlation of the bits.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from genrecore.audio.fingerprint import HOP_S, SHORTEST, WINDOW_S
from genrecore.store.progress import Phase, Report, silent

SIMILARITY = 0.35
"""Similarity from which a stretch of two clips counts as one recording (1 same, 0 unrelated).

Measured on 100 clips of GTZAN, ten a genre. All 4 950 pairs at every offset that leaves 3 s of
overlap or more: at most 0.131 (999 of 1 000 below 0.118; with 5 s at most 0.109, with 20 s 0.053).
Copies of all of them, lowest and median: mp3 at 64 kbit/s 0.90 and 0.95, at 32 kbit/s 0.75 and
0.85, +6 dB cut off at full scale 0.74 and 0.97, −6 dB in 16 bits 1.00, cut by 2.003 s 0.93,
resampled to 16 kHz and back 1.00, with white noise 20 dB below 0.70 and 0.92, 6 s of it 0.98, cut,
−6 dB, 16 kHz and mp3 together 0.93 and 0.97, played 0.5 % faster 0.49 and 0.65: all found, and no
other pair.
"""

LEAST_S = 5.0
"""Seconds that two clips must share; half of clips under 10 s, but at least 2 s."""

_MOST_INDEXED = 40_000_000  # frames, 15 000 clips of 30 s (3 GB while searching)
_REPEATS = 3  # how often the index keeps a value that recurs within one clip (loops)
_NEIGHBOURS = 16  # with how many other entries of the same value an entry is paired
_BIN = 4  # frames by which the offsets of votes may differ
_VOTES = 3
_BEST_OFFSETS = 3  # how many offsets of a pair are verified

COLUMNS = ("clip_a", "clip_b", "offset_s", "overlap_s", "similarity")


def near_copies(
    fingerprints: Mapping[str, np.ndarray], report: Report = silent, only_first: bool = False
) -> pd.DataFrame:
    """Pairs of clips that share a recording: one row a pair, longest shared stretch first.

    Columns: `clip_a, clip_b` (in the order of `fingerprints`), `offset_s` (the shared sound comes
    so much later in clip_a than in clip_b), `overlap_s` (how much they share: where windows of 2 s
    reach `SIMILARITY` and half of the best window) and `similarity` (there; 1 is the same).

    Frames of equal value vote for a pair and an offset; pairs with three votes are verified at
    their three best offsets. Each entry of the index is paired with its 16 neighbours at most, so
    time grows with the number of clips and common values cannot blow it up; of a family of many
    copies, not every pair may be listed, but the pairs listed connect it.

    With `only_first` only copies of the first clip are searched for, which is much quicker.
    """
    names = list(fingerprints)
    prints = [np.asarray(fingerprints[name], np.uint32) for name in names]
    report(Phase.FINDING_COPIES, 0, 0)
    rows = []
    candidates = _candidates(prints, only_first)
    accepted: tuple[int, int] | None = None
    for n_done, (a, b, first_offset) in enumerate(candidates):
        if n_done % 64 == 0:
            report(Phase.FINDING_COPIES, n_done, len(candidates))
        if (a, b) == accepted:  # a better offset of this pair has been accepted
            continue
        match = _verify(prints[a], prints[b], range(first_offset - 1, first_offset + _BIN + 1))
        if match is not None:
            accepted = (a, b)
            offset, n_frames, similarity = match
            overlap_s = n_frames * HOP_S + WINDOW_S
            rows.append((names[a], names[b], offset * HOP_S, overlap_s, similarity))
    table = pd.DataFrame(rows, columns=list(COLUMNS)).round(3)
    return table.sort_values(["overlap_s", "similarity"], ascending=False, ignore_index=True)


def _candidates(prints: list[np.ndarray], only_first: bool) -> list[tuple[int, int, int]]:
    """(a, b, offset) worth verifying, a < b, frame_a - frame_b in [offset, offset + 4); the offsets
    of a pair stand together, most votes first."""
    value, clip, frame = _index(prints, only_first)
    keys = []
    for step in range(1, _NEIGHBOURS + 1):
        same = np.flatnonzero((value[step:] == value[:-step]) & (clip[step:] != clip[:-step]))
        same = same[clip[same] == 0] if only_first else same
        if not len(same):
            continue
        a, b = clip[same], clip[same + step]  # sorted within a value, so a < b
        # 24 bits for the offset: 1 200 s are 103 000 frames, divided by the width of a bin.
        offset = (frame[same] - frame[same + step]) // _BIN + (1 << 23)
        keys.append(((a * len(prints) + b) << 24) | offset)
    if not keys:
        return []
    ballots = np.concatenate(keys)
    ballots.sort()
    starts = np.flatnonzero(np.diff(ballots, prepend=-1))
    votes = np.diff(starts, append=len(ballots))
    key = ballots[starts]
    # Votes on both sides of a boundary between two bins belong together.
    joined = votes.copy()
    neighbours = np.flatnonzero(np.diff(key) == 1)
    joined[neighbours] += votes[neighbours + 1]
    joined[neighbours + 1] += votes[neighbours]
    enough = joined >= _VOTES
    key, votes, joined = key[enough], votes[enough], joined[enough]
    pair = key >> 24
    order = np.lexsort((-votes, -joined, pair))
    pair, key = pair[order], key[order]
    rank = _rank(pair)
    pair, key = pair[rank < _BEST_OFFSETS], key[rank < _BEST_OFFSETS]
    offset = ((key & ((1 << 24) - 1)) - (1 << 23)) * _BIN
    a, b = np.divmod(pair, len(prints))
    return list(zip(a.tolist(), b.tolist(), offset.tolist(), strict=True))


def _index(prints: list[np.ndarray], only_first: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, clip and frame (int64) of the indexed frames, sorted by value, clip and frame.

    With `only_first` frames whose value the first clip holds. Where there are too many others, a
    sample of them; which ones depends on their value alone, so that copies keep the same.
    """
    values, clips, frames = [], [], []
    one_of = 1 if only_first else 1 + sum(map(len, prints)) // _MOST_INDEXED
    first = np.unique(prints[0]) if only_first else None
    if first is not None and not len(first):
        prints = []  # a wave below 0.4 s has no fingerprint
    for number, print_ in enumerate(prints):
        # Fibonacci hashing: the sample must not favour any bit.
        mixed = (print_ * np.uint32(2_654_435_769)) >> np.uint32(16)
        chosen = (mixed % np.uint32(one_of) == 0) & (print_ != 0)
        chosen[1:] &= print_[1:] != print_[:-1]  # slow music repeats a value frame after frame
        if first is not None:
            chosen &= first[np.searchsorted(first, print_).clip(max=len(first) - 1)] == print_
        at = np.flatnonzero(chosen)
        values.append(print_[at])
        frames.append(at)
        clips.append(np.full(len(at), number))
    if not values:
        nothing = np.zeros(0, np.int64)
        return nothing, nothing, nothing
    value = np.concatenate(values).astype(np.int64)
    clip, frame = np.concatenate(clips), np.concatenate(frames)
    order = np.argsort(value, kind="stable")  # clips and frames are in order already
    value, clip, frame = value[order], clip[order], frame[order]
    # A loop would fill the neighbourhood of each of its values with itself.
    selected = _rank(value * len(prints) + clip) < _REPEATS
    return value[selected], clip[selected], frame[selected]


def _rank(group: np.ndarray) -> np.ndarray:
    """The place of each entry in its run of equal numbers, counted from 0."""
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    return np.arange(len(group)) - np.repeat(starts, np.diff(starts, append=len(group)))


def _verify(a: np.ndarray, b: np.ndarray, offsets: range) -> tuple[int, int, float] | None:
    """(offset, n_frames, similarity) of what two fingerprints share, None where it is too little.

    Likeness is the correlation of the bits about their means in each clip, so that bits which
    never change (a band without sound) count for nothing. It is taken over windows of 2 s.
    """
    best, offset = 0.0, 0
    for candidate in offsets:
        x, y = _aligned(a, b, candidate)
        if len(x) >= SHORTEST:
            agreement = 1.0 - float(np.bitwise_count(x ^ y).mean()) / 32
            if agreement > best:
                best, offset = agreement, candidate
    x, y = _aligned(a, b, offset)
    if not best or not _might_share(x, y):
        return None
    both = ((x != 0) & (y != 0)).astype(np.float32)
    u, v = _centred(x, a) * both[:, None], _centred(y, b) * both[:, None]
    parts = np.stack([(u * v).sum(axis=1), (u * u).sum(axis=1), (v * v).sum(axis=1), both])
    sums = np.concatenate([np.zeros((4, 1)), np.cumsum(parts, axis=1, dtype=np.float64)], axis=1)
    window = sums[:, SHORTEST:] - sums[:, :-SHORTEST]
    # Half of a window must say something, and its bits must vary (at most 8 a frame of 32 bits):
    # else a few frames decide.
    says = (window[3] >= SHORTEST / 2) & (window[1:3].min(axis=0) >= SHORTEST)
    likeness = np.where(says, _correlation(window), 0.0)
    # Half the best: a window over the edge of what is shared is alike up to where its middle lies
    # on that edge. A window stands for its middle frame, the outermost ones for the ends as well.
    alike = likeness >= max(SIMILARITY, likeness.max() / 2)
    shared = np.pad(alike, (SHORTEST // 2, SHORTEST - 1 - SHORTEST // 2), mode="edge")
    n_shared = int(shared.sum())
    least = min(LEAST_S / HOP_S, min(len(a), len(b)) / 2)
    if n_shared < max(SHORTEST, least):
        return None
    return offset, n_shared, float(_correlation(parts[:, shared].sum(axis=1)))


def _might_share(x: np.ndarray, y: np.ndarray) -> bool:
    """A quick and generous test whether any window agrees in enough bits."""
    agreeing = 32 - np.bitwise_count(x ^ y).astype(np.int64)
    sums = np.concatenate([[0], np.cumsum(agreeing)])
    most = (sums[SHORTEST:] - sums[:-SHORTEST]).max() / (32 * SHORTEST)
    return bool(most >= 0.45 + SIMILARITY / 2)  # balanced bits: 0.5 + half the correlation


def _aligned(a: np.ndarray, b: np.ndarray, offset: int) -> tuple[np.ndarray, np.ndarray]:
    """The frames of a and b that overlap when a is moved `offset` frames back."""
    a, b = a[max(offset, 0) :], b[max(-offset, 0) :]
    n = min(len(a), len(b))
    return a[:n], b[:n]


def _centred(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Bits (n_frames, 32) of a part minus their mean over the whole clip's non-zero frames."""
    return _bits(part) - _bits(whole[whole != 0]).mean(axis=0)


def _bits(print_: np.ndarray) -> np.ndarray:
    octets = np.ascontiguousarray(print_.astype("<u4")).view(np.uint8).reshape(-1, 4)
    return np.unpackbits(octets, axis=1, bitorder="little").astype(np.float32)


def _correlation(sums: np.ndarray) -> np.ndarray:
    """The correlation from sums of products and squares; 0 where a side has no variance."""
    scale = np.sqrt(np.maximum(sums[1], 0) * np.maximum(sums[2], 0))
    return np.where(scale > 0, sums[0] / np.where(scale > 0, scale, 1.0), 0.0)
