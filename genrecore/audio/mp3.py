"""MP3 files that are clean: frames of one kind that follow one another, and nothing else.

Of these libsndfile makes the samples that FFmpeg makes, and its threads do not wait for one
another. Of others it makes other samples, often without a word; so those are FFmpeg's. Wrong bits
in the sound of a frame cannot be told here, nor by FFmpeg: what each makes of them may differ.
"""

from __future__ import annotations

from functools import lru_cache
from typing import IO, NamedTuple

import numpy as np

from genrecore.audio.formats import Damaged, mp3_frame_bytes, read_at


class Lengths(NamedTuple):
    """Samples a channel that a clean MP3 announces, and that are decoded of it, by FFmpeg's rules;
    and whether its first frame counts the others."""

    announced: int
    decoded: int
    is_counted: bool


def _among(*allowed: int) -> np.ndarray:
    """Which values of four bits are among those that are allowed."""
    return np.isin(np.arange(16), allowed)


_WINDOW = 2**19  # bytes in memory at once, of a file of any length
_COUNTING = (b"Xing", b"Info")
_DECODER_DELAY = 529  # samples
_FRAUNHOFER_AT = 36  # bytes of a frame before Fraunhofer's tag, whatever the side information
_MONO = _among(0b1100)  # channel mode and its extension
_STEREO = _among(0b0000, 0b0100, 0b0110, 0b1000)  # without intensity stereo: decoders differ
_BLOCKS = _among(*range(8), 0b1010, 0b1100, 0b1110)
"""A granule's blocks: whether they are other than long, then which (never 0), whether mixed (where
decoders differ)."""


def lengths(raw: IO[bytes], start: int, size: int) -> Lengths:
    """The lengths of an MP3 whose first frame begins at byte `start`.

    Raises:
        Damaged: It is not clean.
    """
    head = read_at(raw, start, 2048)
    length = mp3_frame_bytes(head)
    if not length or not head[1] & 1:  # a checksum, on which decoders differ
        raise Damaged
    end = size - 128 if read_at(raw, max(0, size - 128), 3) == b"TAG" else size
    n_frame = 1152 if head[1] & 8 else 576
    tag_at = 4 + _side_bytes(head)
    tag = head[tag_at:length]
    if tag[:4] not in _COUNTING:
        n = _count(raw, start, end, head) * n_frame
        return Lengths(n, n, False)
    n = _count(raw, start + length, end, head) * n_frame
    flags, n_told, n_bytes = (int.from_bytes(tag[at : at + 4], "big") for at in (4, 8, 12))
    if any(head[4:tag_at]) or not flags & 1 or n_told * n_frame != n:
        raise Damaged
    if flags & 2 and abs(n_bytes - (end - start)) > (end - start) // 100:  # it prints a warning
        raise Damaged
    coder_at = 12 + 4 * bool(flags & 2) + 100 * bool(flags & 4) + 4 * bool(flags & 8)
    coder = tag[coder_at : coder_at + 24]
    if coder[:4] not in (b"LAME", b"Lavf", b"Lavc"):
        return Lengths(n, n, True)
    delay, padding = divmod(int.from_bytes(coder[21:], "big"), 4096)
    cut = delay + _DECODER_DELAY + max(0, padding - _DECODER_DELAY)
    return Lengths(n - delay - padding, n - cut, True)


def _side_bytes(head: bytes) -> int:
    """Bytes of side information, between a frame's header and its sound (ISO 11172-3, 13818-3)."""
    is_mono = head[3] >> 6 == 3
    return (17 if is_mono else 32) if head[1] & 8 else (9 if is_mono else 17)


def _count(raw: IO[bytes], at: int, end: int, head: bytes) -> int:
    """The number of frames that fill a file between two bytes, all of the kind of `head`.

    Raises:
        Damaged: Something else lies there, or side information says what cannot be.
    """
    n_bytes = _frame_bytes(head[:4])
    modes, n_head = _MONO if head[3] >> 6 == 3 else _STEREO, 4 + _side_bytes(head)
    is_mpeg_1 = bool(head[1] & 8)
    kind = int.from_bytes(read_at(raw, at + 3, 1)) & 0xCF  # all but the mode's extension
    n_frames = n_bits = n_used = 0  # bits of sound up to here, and up to where frames used them
    while at < end:
        data, starts, place = read_at(raw, at, min(_WINDOW, end - at)), [], 0
        n_data = len(data)
        while place + 3 < n_data and 0 < (length := n_bytes[data[place + 2]]) <= n_data - place:
            starts.append(place)
            place += length
        if not starts:
            raise Damaged
        places = np.add.outer(np.arange(_FRAUNHOFER_AT + 4), np.array(starts))
        columns = np.frombuffer(data, np.uint8).take(places, mode="clip").astype(np.int64)
        own = 8 * (np.diff([*starts, place]) - n_head)
        filled = n_bits + np.cumsum(own)
        is_sound, n_back, parts = _side_information(columns[:n_head], is_mpeg_1)
        begins = filled - own - 8 * n_back
        ends = begins + parts.sum(axis=0)
        last_begins = begins + parts[: is_mpeg_1 * len(parts) // 2].sum(axis=0)
        # In a piece of a longer file the first sound may begin before it; then all make silence.
        is_lost = (last_begins < -7) & (parts.max(axis=0) <= own)
        is_sound &= is_lost | (begins >= np.maximum(np.append(n_used, ends[:-1]), 0))
        is_sound &= (columns[0] == 0xFF) & (columns[1] == head[1]) & modes[columns[3] >> 4]
        is_sound &= (columns[3] & 0xCF == kind) & (ends <= filled)
        for tag, tag_at in (*((tag, n_head) for tag in _COUNTING), (b"VBRI", _FRAUNHOFER_AT)):
            is_sound &= _number(columns, 8 * (tag_at - 4), 32) != int.from_bytes(tag)  # joined
        if not is_sound.all():
            raise Damaged
        n_frames, n_bits, n_used, at = n_frames + len(starts), filled[-1], ends[-1], at + place
    if n_frames < 2:  # of a single one it prints a warning
        raise Damaged
    return n_frames


@lru_cache
def _frame_bytes(head: bytes) -> tuple[int, ...]:
    """Bytes of a frame of the sample rate of `head`, by its third byte, which tells its bit rate
    and padding; 0 for other rates."""
    thirds = (third if not (third ^ head[2]) & 0b1100 else 0 for third in range(256))
    return tuple(mp3_frame_bytes(bytes((*head[:2], third, head[3]))) for third in thirds)


def _side_information(
    columns: np.ndarray, is_mpeg_1: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the first bytes of frames (bytes, n) say: whether decoders agree on it, how many bytes
    before the frame's own its sound begins, and the bits of each granule and channel (parts, n)."""
    back, of_granule, blocks_at = (9, 59, 33) if is_mpeg_1 else (8, 63, 38)  # bits
    n_bits = 8 * (len(columns) - 4)
    is_sound, parts = np.ones(columns.shape[1], bool), []
    for at in range(n_bits % of_granule, n_bits, of_granule):
        parts.append(_number(columns, at, 12))
        is_sound &= _number(columns, at + 12, 9) <= 288  # pairs of a granule's 576 values
        is_sound &= _BLOCKS[_number(columns, at + blocks_at, 4)]
    return is_sound, _number(columns, 0, back), np.stack(parts)


def _number(columns: np.ndarray, at: int, n: int) -> np.ndarray:
    """The number in `n` bits of the side information, from bit `at` on."""
    end = (at + n + 7) // 8
    values = columns[4 + at // 8]
    for column in columns[5 + at // 8 : 4 + end]:
        values = values << 8 | column
    return values >> (8 * end - at - n) & (1 << n) - 1
