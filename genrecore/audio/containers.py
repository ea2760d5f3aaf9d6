"""What the bytes of an audio file say before decoding: its kind, and how long it claims to be.

libsndfile quietly shortens a truncated file to what is there, and guesses the length of an MP3
that does not count its frames. So the claims are read here, for `audio` to compare.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from typing import IO

from genrecore.audio.aac import is_adts
from genrecore.errors import AudioError
from genrecore.words import percent

READABLE = "wav, mp3, ogg, flac, au, aiff, opus, m4a or aac"


def sniff(raw: IO[bytes], size: int, label: str) -> tuple[str, int]:
    """The kind of an audio file by its content, and the byte at which an MP3's or a raw AAC file's
    frames begin.

    Raises:
        AudioError: Empty, a video or another container, or not audio at all.
    """
    if size == 0:
        raise AudioError(f"{label} is empty (0 bytes).")
    start = 0
    head = _at(raw, 0, 512)
    for _ in range(8):  # ID3 tags may follow one another; a file of nothing but tags ends here
        if head[:3] != b"ID3" or len(head) < 10:
            break
        length = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]  # 7 bits a byte
        start += 10 + length + (10 if head[5] & 0x10 else 0)
        head = _at(raw, start, 512)
    for matches, kind in _AUDIO:
        if matches(head):
            return kind, start
    if start:  # after a tag, MP3s may be padded
        return "MP3", _first_mp3_frame(raw, start)
    for matches, format_name in _FOREIGN:
        if matches(head):
            raise AudioError(
                f"{label} is {format_name}; convert it to wav first (expected {READABLE})."
            )
    like = "text" if not any(byte < 9 for byte in head) else "nothing known"
    if head.startswith((b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"BM")):
        like = "an image"
    raise AudioError(
        f"{label} is not an audio file: its content looks like {like}; expected {READABLE}."
    )


def claimed_length(kind: str, raw: IO[bytes], size: int, label: str) -> tuple[float, int]:
    """What the header claims: how many times the bytes of audio that are there, and at least how
    many frames (1 and 0 where it claims nothing that libsndfile does not check).

    Raises:
        AudioError: An Ogg file without its last page (Ogg has no count; the end is marked).
    """
    claim = None
    if kind == "OGG":
        _check_ogg_end(raw, size, label)
    elif kind == "AIFF":
        for name, at, length in _chunks(raw, ">"):
            if name == b"COMM" and length >= 18:
                return 1.0, struct.unpack(">I", _at(raw, at + 2, 4).rjust(4, b"\0"))[0]
    elif kind == "WAV":
        claim = _wav_data(raw)
    elif kind == "AU":
        order = ">" if _at(raw, 0, 4) == b".snd" else "<"
        at, length = struct.unpack(order + "II", _at(raw, 4, 8))
        claim = None if length == 0xFFFFFFFF else (at, length)  # all ones: "not known"
    if claim is None or claim[0] >= size:
        return 1.0, 0
    at, length = claim
    return max(1.0, length / (size - at)), 0


def missing_count(raw: IO[bytes], size: int, start: int, label: str) -> bytes | None:
    """A first frame that tells the number of frames, for an MP3 that has none; else None.

    Without a count (Xing, Info or VBRI) libsndfile takes the first frame's bit rate for all and,
    where the rate varies, silently stops early. Counting the frames by their headers is exact.
    Layout of the frame: "Xing", a flag for "frames", the count; as LAME writes it.

    Raises:
        AudioError: The frames stop in the middle of the file.
    """
    head = _at(raw, start, 1500)
    length = _mp3_frame_bytes(head)
    if not length:
        return None  # free format or another layer: nothing to count by
    info = head[: min(length, 200)]
    if b"VBRI" in info:
        return None
    for tag in (b"Xing", b"Info"):
        at = info.find(tag)
        if at > 0 and info[at + 7] & 1:
            return None
    n, at = 0, start
    while header := _at(raw, at, 4):
        length = _mp3_frame_bytes(header)
        if not length or at + length > size:
            break
        n, at = n + 1, at + length
    rest = _at(raw, at, 2048)
    tags = (b"TAG", b"APETAGEX", b"LYRICS", b"ID3")
    if len(rest) == 2048 and not rest.startswith(tags) and any(rest):
        raise AudioError(
            f"{label} is damaged: its MP3 frames stop after {percent(at / size)} of the file."
        )
    mpeg_1, mono = bool(head[1] & 0x08), head[3] >> 6 == 3
    frame = bytearray([0xFF, head[1] | 1, 0x90 | head[2] & 0x0C, head[3]])  # 128 or 80 kbit/s
    frame += bytes(_mp3_frame_bytes(frame) - 4)
    side = (17 if mono else 32) if mpeg_1 else (9 if mono else 17)
    frame[4 + side : 16 + side] = b"Xing" + struct.pack(">II", 1, n)
    return bytes(frame)


class Prefixed(io.RawIOBase):
    """A readable, seekable file: some bytes, then another file from one of its bytes on."""

    def __init__(self, prefix: bytes, raw: IO[bytes], start: int) -> None:
        self._prefix, self._raw, self._start = prefix, raw, start
        self._size = len(prefix) + raw.seek(0, os.SEEK_END) - start
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self._prefix[self._position : self._position + len(view)]
        if len(data) < len(view):
            behind = self._position + len(data) - len(self._prefix)
            data += _at(self._raw, self._start + behind, len(view) - len(data))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


def _at(raw: IO[bytes], position: int, n: int) -> bytes:
    raw.seek(position)
    return raw.read(n)


def _chunks(raw: IO[bytes], order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, position and length of the chunks of a RIFF (order "<") or IFF (">") file."""
    at = 12
    for _ in range(1000):  # real files have about ten; a forged one must not keep us
        head = _at(raw, at, 8)
        if len(head) < 8:
            return
        (length,) = struct.unpack(order + "I", head[4:])
        yield head[:4], at + 8, length
        at += 8 + length + length % 2


def _wav_data(raw: IO[bytes]) -> tuple[int, int] | None:
    """Position and claimed length of a wav's samples."""
    magic = _at(raw, 0, 4)
    long_length = 0
    for name, at, length in _chunks(raw, ">" if magic == b"RIFX" else "<"):
        if name == b"ds64" and length >= 24:
            (long_length,) = struct.unpack("<Q", _at(raw, at + 8, 8).rjust(8, b"\0"))
        if name == b"data":
            return at, long_length if magic == b"RF64" and length == 0xFFFFFFFF else length
    return None


def _check_ogg_end(raw: IO[bytes], size: int, label: str) -> None:
    """Refuses an Ogg file whose last page is cut or not marked as the last (RFC 3533)."""
    tail_at = max(0, size - 2 * 65_307)  # the largest page, twice
    tail = _at(raw, tail_at, size - tail_at)
    page = tail.rfind(b"OggS\x00")
    if page >= 0 and len(tail) >= page + 27:
        n_segments = tail[page + 26]
        lengths = tail[page + 27 : page + 27 + n_segments]
        whole = page + 27 + n_segments + sum(lengths) <= len(tail)
        if whole and len(lengths) == n_segments and tail[page + 5] & 0x04:
            return
    raise AudioError(f"{label} is truncated: the Ogg stream stops before its last page.")


_BIT_RATES = {  # kbit/s of MPEG layer III by index, ISO 11172-3 and 13818-3
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_RATES_HZ = {
    3: (44_100, 48_000, 32_000),
    2: (22_050, 24_000, 16_000),
    0: (11_025, 12_000, 8_000),
}


def _is_mpeg(head: bytes) -> bool:
    """Whether these bytes begin an MPEG audio frame of any layer."""
    return (
        len(head) >= 4
        and head[0] == 0xFF
        and head[1] & 0xE0 == 0xE0
        and head[1] >> 3 & 3 != 1
        and head[1] >> 1 & 3 != 0
        and head[2] >> 4 != 15
        and head[2] >> 2 & 3 != 3
    )


def _mp3_frame_bytes(head: bytes | bytearray) -> int:
    """Length of the layer III frame that begins here; 0 when none does or it does not tell."""
    if not _is_mpeg(bytes(head)) or head[1] >> 1 & 3 != 1:
        return 0
    version = head[1] >> 3 & 3
    bit_rate = _BIT_RATES[version == 3][head[2] >> 4] * 1000
    rate_hz = _MPEG_RATES_HZ[version][head[2] >> 2 & 3]
    if not bit_rate:
        return 0
    return (144 if version == 3 else 72) * bit_rate // rate_hz + (head[2] >> 1 & 1)


def _first_mp3_frame(raw: IO[bytes], start: int) -> int:
    """Where two frames follow one another within 64 KiB of `start`; else `start`."""
    window = _at(raw, start, 65_536)
    at = window.find(b"\xff")
    while at >= 0:
        length = _mp3_frame_bytes(window[at : at + 4])
        if length and _mp3_frame_bytes(window[at + length : at + length + 4]):
            return start + at
        at = window.find(b"\xff", at + 1)
    return start


_AUDIO = (
    (lambda h: h[:4] in (b"RIFF", b"RIFX", b"RF64") and h[8:12] == b"WAVE", "WAV"),
    (lambda h: h[:4] == b"FORM" and h[8:12] in (b"AIFF", b"AIFC"), "AIFF"),
    (lambda h: h[:4] in (b".snd", b"dns.") and len(h) >= 12, "AU"),
    (lambda h: h[:4] == b"fLaC", "FLAC"),
    (lambda h: h[:4] == b"OggS" and b"theora" not in h, "OGG"),
    (lambda h: h[4:8] == b"ftyp", "M4A"),
    (is_adts, "AAC"),
    (_is_mpeg, "MP3"),
)
_QUICKTIME = (b"moov", b"mdat", b"wide", b"free", b"skip")
_FOREIGN = (
    (lambda h: h[4:8] in _QUICKTIME, "a QuickTime video"),
    (lambda h: h[:4] == b"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
    (lambda h: h[:4] == b"RIFF" and h[8:11] == b"AVI", "an AVI video"),
    (lambda h: h[:4] == b"OggS", "an Ogg video"),
    (lambda h: h[:3] == b"FLV", "a Flash video"),
    (lambda h: h[:4] in (b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3"), "an MPEG video"),
    (lambda h: h[:1] == b"\x47" and h[188:189] == b"\x47", "an MPEG transport stream (video)"),
    (lambda h: h[:4] == b"ADIF", "AAC audio in a form that nobody writes any more (ADIF)"),
    (lambda h: h[:8] == b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media file"),
    (lambda h: h[:4] == b"MThd", "a MIDI file (notes, not sound)"),
)
