"""MP3 files that are clean: frames of one kind that follow one another, and nothing else.

Of these libsndfile makes the samples that FFmpeg makes, and its threads do not wait for one
another. Of others it makes other samples, often without a word; so those are FFmpeg's. Wrong bits
in the sound of a frame cannot be told here, nor by FFmpeg: what each makes of them may differ.
"""

from __future__ import annotations

from typing import IO, NamedTuple

import numpy as np

from genrecore.audio.formats import Damaged, mp3_frame_bytes, read_at


class Lengths(NamedTuple):
    """Samples a channel that a clean MP3 announces, and that are decoded of it, by FFmpeg's rules;
    and whether its first frame counts the others."""

    announced: int
    decoded: int
    is_counted: bool


_WINDOW = 2**20  # bytes in memory at once, of a file of any length
_COUNTING = (b"Xing", b"Info")
_DECODER_DELAY = 529  # samples
_MONO = (0b1100,)  # channel mode and its extension
_STEREO = (0b0000, 0b0100, 0b0110, 0b1000)  # without intensity stereo, where decoders differ
_BLOCKS = (*range(8), 0b1010, 0b1100, 0b1110)
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
    n_bytes = [0] * 256  # of a frame, by its third byte, which tells its bit rate and padding
    for third in range(256):
        if not (third ^ head[2]) & 0b1100:  # the same sample rate
            n_bytes[third] = mp3_frame_bytes(bytes((*head[:2], third, head[3])))
    modes, n_head = _MONO if head[3] >> 6 == 3 else _STEREO, 4 + _side_bytes(head)
    is_mpeg_1 = bool(head[1] & 8)
    kind = int.from_bytes(read_at(raw, at + 3, 1)) & 0xCF  # all but the mode's extension
    n_frames = n_bits = n_used = 0  # bits of sound up to here, and up to where frames used them
    while at < end:
        data, starts, place = read_at(raw, at, min(_WINDOW, end - at)), [], 0
        while place + 3 < len(data) and 0 < n_bytes[data[place + 2]] <= len(data) - place:
            starts.append(place)
            place += n_bytes[data[place + 2]]
        if not starts or any(tag in data for tag in (*_COUNTING, b"VBRI")):  # as in joined files
            raise Damaged
        frames = np.frombuffer(data, np.uint8)[np.add.outer(starts, range(n_head))]
        own = 8 * (np.diff([*starts, place]) - n_head)
        filled = n_bits + np.cumsum(own)
        is_sound, n_back, parts = _side_information(frames, is_mpeg_1)
        begins = filled - own - 8 * n_back
        ends = begins + parts.sum(axis=1)
        last_begins = begins + parts[:, : is_mpeg_1 * parts.shape[1] // 2].sum(axis=1)
        # In a piece of a longer file the first sound may begin before it; then all make silence.
        is_lost = (last_begins < -7) & (parts.max(axis=1) <= own)
        is_sound &= is_lost | (begins >= np.maximum(np.append(n_used, ends[:-1]), 0))
        is_sound &= (frames[:, :2] == (0xFF, head[1])).all(axis=1) & _among(
            frames[:, 3] >> 4, modes
        )
        is_sound &= (frames[:, 3] & 0xCF == kind) & (ends <= filled)
        if not is_sound.all():
            raise Damaged
        n_frames, n_bits, n_used, at = n_frames + len(starts), filled[-1], ends[-1], at + place
    if n_frames < 2:  # of a single one it prints a warning
        raise Damaged
    return n_frames


def _side_information(
    frames: np.ndarray, is_mpeg_1: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the first bytes of frames (n, bytes) say: whether decoders agree on it, how many bytes
    before the frame's own its sound begins, and the bits of each granule and channel (n, parts)."""
    back, of_granule, blocks_at = (9, 59, 33) if is_mpeg_1 else (8, 63, 38)  # bits
    n_bits = 8 * (frames.shape[1] - 4)
    is_sound, parts = np.ones(len(frames), bool), []
    for at in range(n_bits % of_granule, n_bits, of_granule):
        parts.append(_number(frames, at, 12))
        is_sound &= _number(frames, at + 12, 9) <= 288  # pairs of a granule's 576 values
        is_sound &= _among(_number(frames, at + blocks_at, 4), _BLOCKS)
    return is_sound, _number(frames, 0, back), np.stack(parts, axis=1)


def _among(values: np.ndarray, allowed: tuple[int, ...]) -> np.ndarray:
    """Whether values of four bits are among those that are allowed."""
    return np.isin(np.arange(16), allowed)[values]


def _number(frames: np.ndarray, at: int, n: int) -> np.ndarray:
    """The number in `n` bits of the side information, from bit `at` on."""
    end = (at + n + 7) // 8
    values = frames[:, 4 + at // 8 : 4 + end] @ (256 ** np.arange(end - at // 8)[::-1])
    return values >> (8 * end - at - n) & (1 << n) - 1
