"""What a file is by its content: kinds of sound files, their names, and what is none of them.

The content decides, not the name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

from genrecore.errors import AudioError

RATES_HZ = (1_000, 768_000)
"""The lowest and the highest sample rate of sound; others are forged, and resampling from them may
take all memory."""

TOLERANCE_S = 0.1
"""By how much a header may be wrong: encoders count a frame or two differently."""


class Damaged(Exception):
    """The reader cannot go on; another may."""


@dataclass(frozen=True)
class Format:
    """A kind of file, known by its first bytes.

    Attributes:
        name: As messages and `Info` call it.
        demuxer: FFmpeg's name of it.
        begins: Whether these bytes begin one.
        counts: Whether FFmpeg has the length from the header: elsewhere it only estimates it.
        joint: How each of several files begins that were joined to one, where decoders end with
            the first.
    """

    name: str
    demuxer: str
    begins: Callable[[bytes], bool]
    counts: bool = True
    joint: re.Pattern[bytes] | None = None


def _magic(*beginnings: bytes, at: int = 0) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(beginnings, at)


def _is_wav(head: bytes) -> bool:
    return head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE"


def _is_adts(head: bytes) -> bool:
    """Whether a frame of raw AAC begins here (ISO 13818-7): layer 0, a rate that exists."""
    is_frame = len(head) > 6 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0
    return is_frame and head[2] >> 2 & 15 < 13 and _adts_bytes(head) > 6


def _adts_bytes(head: bytes) -> int:
    return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5


def _is_mpeg(head: bytes) -> bool:
    """Whether an MPEG audio frame of any layer begins here."""
    is_frame = len(head) > 3 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0
    is_layer = is_frame and head[1] >> 3 & 3 != 1 and head[1] >> 1 & 3 != 0
    return is_layer and head[2] >> 4 != 15 and head[2] >> 2 & 3 != 3


_TTA = re.compile(rb"TTA1[\x01\x02]\x00[^\x00]\x00")
# WavPack's first block: version 4, sample 0, and of the blocks of several channels the first.
_WITH_BIT_11 = b"".join(re.escape(bytes([flags])) for flags in range(256) if flags & 8)
_WAVPACK = re.compile(rb"wvpk.{5}\x04.{6}\x00{4}.{5}[" + _WITH_BIT_11 + rb"]", re.DOTALL)
_QUICKTIME = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_RAW_AAC = Format("AAC", "aac", _is_adts, counts=False)
_MP3 = Format("MP3", "mp3", _is_mpeg, counts=False)
_KINDS = (
    Format("WAV", "wav", _is_wav, joint=re.compile(rb"RIFF....WAVEfmt ", re.DOTALL)),
    Format("AIFF", "aiff", lambda h: h[:4] == b"FORM" and h[8:12] in (b"AIFF", b"AIFC")),
    Format("AU", "au", lambda h: h[:4] in (b".snd", b"dns.") and len(h) >= 12),
    Format("FLAC", "flac", _magic(b"fLaC"), joint=re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")),
    Format("Ogg", "ogg", _magic(b"OggS")),
    Format("MP4", "mov", _magic(*_QUICKTIME, at=4)),
    Format("Matroska", "matroska", _magic(b"\x1a\x45\xdf\xa3")),
    Format("Windows Media", "asf", _magic(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11")),
    Format("W64", "w64", _magic(b"riff\x2e\x91\xcf\x11")),
    Format("CAF", "caf", _magic(b"caff")),
    Format("VOC", "voc", _magic(b"Creative Voice File\x1a"), counts=False),
    Format("WavPack", "wv", _magic(b"wvpk"), joint=_WAVPACK),
    Format("Monkey's Audio", "ape", _magic(b"MAC ")),
    Format("Musepack", "mpc8", _magic(b"MPCK")),
    Format("Musepack", "mpc", _magic(b"MP+")),
    Format("True Audio", "tta", _magic(b"TTA1"), joint=_TTA),
    Format("AMR", "amr", _magic(b"#!AMR"), counts=False),
    Format("E-AC-3", "eac3", lambda h: h[:2] == b"\x0b\x77" and h[5:6] > b"\x57", False),
    Format("AC-3", "ac3", _magic(b"\x0b\x77"), counts=False),
    Format("DTS", "dts", _magic(b"\x7f\xfe\x80\x01", b"\xfe\x7f\x01\x80", b"\x1f\xff\xe8\x00",
                              b"\xff\x1f\x00\xe8"), counts=False),
    Format("DTS", "dtshd", _magic(b"DTSHDHDR"), counts=False),
    _RAW_AAC,
    _MP3,
)  # fmt: skip

FORMATS = (
    ".wav", ".mp3", ".ogg", ".flac", ".au", ".aiff", ".aif", ".opus", ".m4a", ".aac",
    ".aifc", ".snd", ".rf64", ".w64", ".caf", ".voc", ".oga", ".spx", ".mp2", ".wma", ".wv", ".ape",
    ".mpc", ".tta", ".ac3", ".eac3", ".dts", ".amr", ".3gp", ".m4b", ".mp4", ".mov", ".mka",
    ".mkv", ".webm",
)  # fmt: skip
"""Extensions of what can be read. The content decides, not the name."""

READABLE = (
    "wav, mp3, ogg, flac, au, aiff, opus, m4a, aac, wma or another of the usual formats of sound "
    "and video"
)

UNCOMPRESSED = ("WAV", "AIFF", "AU")
SEEKING = (*UNCOMPRESSED, "FLAC")
STREAMED = (*UNCOMPRESSED, "MP3")
"""What libsndfile reads faster: in excerpts, and as a whole."""

_FOREIGN = (
    (lambda h: h[:4] == b"RIFF" and h[8:11] == b"AVI", "an AVI video"),
    (_magic(b"FLV"), "a Flash video"),
    (_magic(b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3"), "an MPEG video"),
    (lambda h: h[:1] == h[188:189] == b"\x47", "an MPEG transport stream (video)"),
    (_magic(b"ADIF"), "AAC audio in a form that nobody writes any more (ADIF)"),
    (_magic(b".RMF", b".ra\xfd"), "RealAudio"),
    (_magic(b"DSD ", b"FRM8"), "DSD audio"),
    (_magic(b"tBaK", b"ajkg", b"OFR "), "TAK, Shorten or OptimFROG audio"),
    (lambda h: h[:4] == b"MThd" or h[8:12] == b"RMID", "a MIDI file (notes, not sound)"),
    (lambda h: h[:4] == b"IMPM" or h[:9] == b"Extended " or h[44:48] == b"SCRM",
     "a tracker module (notes, not sound)"),
)  # fmt: skip
_NO_SOUND = (
    (_magic(b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*"), "an image"),
    (_magic(b"PK\x03\x04", b"Rar!\x1a", b"7z\xbc\xaf", b"\x1f\x8b", b"BZh", b"\xfd7zXZ"),
     "an archive"),
    (_magic(b"#EXTM3U", b"[playlist]", b"ffconcat"), "a playlist, which only names sounds"),
    (_magic(b"%PDF"), "a PDF document"),
    (lambda h: not any(byte < 9 for byte in h), "text"),
)  # fmt: skip


def sniff(raw: IO[bytes], size: int, label: str) -> tuple[Format, int]:
    """The kind of a file by its content, and the byte at which it begins behind tags or junk.

    Raises:
        AudioError: Empty, of a kind that is not read, or not audio at all.
    """
    if size == 0:
        raise AudioError(f"{label} is empty (0 bytes).")
    start = 0
    head = read_at(raw, 0, 512)
    for _ in range(8):  # ID3 tags may follow one another; a file of nothing but tags ends here
        if head[:3] != b"ID3" or len(head) < 10:
            break
        length = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]  # 7 bits a byte
        start += 10 + length + (10 if head[5] & 0x10 else 0)
        head = read_at(raw, start, 512)
    for kind in _KINDS:
        if kind.begins(head):
            return kind, start
    for matches, foreign in _FOREIGN:
        if matches(head):
            raise AudioError(
                f"{label} is {foreign}; convert it to wav first (expected {READABLE})."
            )
    like = next((what for matches, what in _NO_SOUND if head and matches(head)), "")
    if start or not like:  # MP3 players skip what is no frame, so some begin with anything
        first = _first_frame(raw, start)
        if first is not None:
            return first
        if start:
            return _MP3, start
    raise AudioError(
        f"{label} is not an audio file: its content looks like {like or 'nothing known'}; "
        f"expected {READABLE}."
    )


_MOST_LINKS = 10_000  # each is opened by itself, which takes time
_WINDOW, _LONGEST_JOINT = 2**20, 32


def links(kind: Format, raw: IO[bytes], start: int, size: int) -> list[tuple[int, int]]:
    """Where the parts of a file begin and end that decoders take one by one, of which each may have
    a rate and channels of its own: links of an Ogg chain, and files that were joined to one."""
    begins = [start]
    for at in _pages(raw, start) if kind.name == "Ogg" else _joints(kind, raw, start, size):
        if len(begins) < _MOST_LINKS:
            begins.append(at)
    return list(zip(begins, [*begins[1:], size], strict=True))


def _pages(raw: IO[bytes], start: int) -> Iterator[int]:
    """Where links begin in an Ogg chain (RFC 3533): at pages marked as a stream's first behind
    pages that are not."""
    at, was_first = start, True
    while len(head := read_at(raw, at, 282)) > 27 and head[:5] == b"OggS\0":
        is_first, n_segments = bool(head[5] & 2), head[26]
        if is_first and not was_first:
            yield at
        was_first = is_first
        at += 27 + n_segments + sum(head[27 : 27 + n_segments])


def _joints(kind: Format, raw: IO[bytes], start: int, size: int) -> Iterator[int]:
    """Where files begin that were joined to the first."""
    for at in range(start + 1, size if kind.joint else 0, _WINDOW):
        window = read_at(raw, at, _WINDOW + _LONGEST_JOINT)
        for match in kind.joint.finditer(window) if kind.joint else ():
            if match.start() < _WINDOW:
                yield at + match.start()


def _first_frame(raw: IO[bytes], start: int) -> tuple[Format, int] | None:
    """Where three frames of MP3 or raw AAC follow one another within 1 MiB of `start`."""
    window = read_at(raw, start, 2**20)
    at = window.find(b"\xff")
    while at >= 0:
        for kind, n_bytes in ((_MP3, mp3_frame_bytes), (_RAW_AAC, _adts_frame_bytes)):
            position = at
            for _ in range(3):
                length = n_bytes(window[position : position + 7])
                if not length:
                    break
                position += length
            else:
                return kind, start + at
        at = window.find(b"\xff", at + 1)
    return None


_BIT_RATES = {  # kbit/s of MPEG layer III by index, ISO 11172-3 and 13818-3
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_RATES_HZ = {
    3: (44_100, 48_000, 32_000),
    2: (22_050, 24_000, 16_000),
    0: (11_025, 12_000, 8_000),
}


def mp3_frame_bytes(head: bytes) -> int:
    """Length of the layer III frame that begins here; 0 when none does or it does not tell."""
    if not _is_mpeg(head) or head[1] >> 1 & 3 != 1:
        return 0
    version = head[1] >> 3 & 3
    bit_rate = _BIT_RATES[version == 3][head[2] >> 4] * 1000
    rate_hz = _MPEG_RATES_HZ[version][head[2] >> 2 & 3]
    if not bit_rate:
        return 0
    return (144 if version == 3 else 72) * bit_rate // rate_hz + (head[2] >> 1 & 1)


def _adts_frame_bytes(head: bytes) -> int:
    return _adts_bytes(head) if _is_adts(head) else 0


def read_at(raw: IO[bytes], position: int, n: int) -> bytes:
    """At most n bytes from a position on."""
    raw.seek(position)
    return raw.read(n)
