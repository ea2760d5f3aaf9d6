"""Readers of sound files: which library reads which content, and what a file's header announces.

FFmpeg, which PyAV carries along, reads everything. libsndfile reads samples that are not compressed
and excerpts of FLAC, because it is several times as fast there, and alone reads GSM 6.10, G.721 and
NMS ADPCM at every rate. The content decides what a file is, not its name. FFmpeg gets the open file
and the name of its format, so that no file makes it guess, follow an address or open another file.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import stat
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
import soundfile
import soxr

from genrecore.errors import AudioError

Source = str | Path | bytes | BinaryIO
BLOCK_VALUES = 2**16  # 256 KiB of float32 a block, whatever the number of channels
RATES_HZ = (1_000, 768_000)

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
    """

    name: str
    demuxer: str
    begins: Callable[[bytes], bool]
    counts: bool = True


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


_QUICKTIME = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_RAW_AAC = Format("AAC", "aac", _is_adts, counts=False)
_MP3 = Format("MP3", "mp3", _is_mpeg, counts=False)
_KINDS = (
    Format("WAV", "wav", _is_wav),
    Format("AIFF", "aiff", lambda h: h[:4] == b"FORM" and h[8:12] in (b"AIFF", b"AIFC")),
    Format("AU", "au", lambda h: h[:4] in (b".snd", b"dns.") and len(h) >= 12),
    Format("FLAC", "flac", _magic(b"fLaC")),
    Format("Ogg", "ogg", _magic(b"OggS")),
    Format("MP4", "mov", _magic(*_QUICKTIME, at=4)),
    Format("Matroska", "matroska", _magic(b"\x1a\x45\xdf\xa3")),
    Format("Windows Media", "asf", _magic(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11")),
    Format("W64", "w64", _magic(b"riff\x2e\x91\xcf\x11")),
    Format("CAF", "caf", _magic(b"caff")),
    Format("VOC", "voc", _magic(b"Creative Voice File\x1a"), counts=False),
    Format("WavPack", "wv", _magic(b"wvpk")),
    Format("Monkey's Audio", "ape", _magic(b"MAC ")),
    Format("Musepack", "mpc8", _magic(b"MPCK")),
    Format("Musepack", "mpc", _magic(b"MP+")),
    Format("True Audio", "tta", _magic(b"TTA1")),
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
"""What libsndfile reads faster: as a whole, and in excerpts."""

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
    head = _at(raw, 0, 512)
    for _ in range(8):  # ID3 tags may follow one another; a file of nothing but tags ends here
        if head[:3] != b"ID3" or len(head) < 10:
            break
        length = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]  # 7 bits a byte
        start += 10 + length + (10 if head[5] & 0x10 else 0)
        head = _at(raw, start, 512)
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


def _first_frame(raw: IO[bytes], start: int) -> tuple[Format, int] | None:
    """Where three frames of MP3 or raw AAC follow one another within 1 MiB of `start`."""
    window = _at(raw, start, 2**20)
    at = window.find(b"\xff")
    while at >= 0:
        for kind, n_bytes in ((_MP3, _mp3_frame_bytes), (_RAW_AAC, _adts_frame_bytes)):
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


def _mp3_frame_bytes(head: bytes) -> int:
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


class SoundFile:
    """A file that is read by libsndfile.

    Attributes:
        format: Its kind and codec.
        samplerate: In Hz.
        channels: How many.
        n_frames: Samples a channel that it holds.
        announced: Samples a channel that its header announces; 0 where it announces none.
        seeks: Whether `blocks` may begin anywhere, to the sample.
        is_cut: Always false: what is cut off is missing from `n_frames`.
        lost_s: Always 0.
        n_decoded: Samples a channel that `blocks` has read.
    """

    is_cut, lost_s, has_video, n_decoded = False, 0.0, False, 0

    def __init__(self, kind: Format, raw: IO[bytes], handle: Any, size: int) -> None:
        """
        Raises:
            Damaged: libsndfile cannot read it.
        """
        self._handle = handle
        # Before libsndfile opens the file: both move the same position in it.
        times_bytes, least_frames = _claim(kind.name, raw, size)
        self._file: _Stream | None = self._open()
        file = self._file
        self.seeks = file.subtype.startswith(("PCM", "FLOAT", "DOUBLE", "ULAW", "ALAW"))
        if file.frames <= 0 or not (self.seeks or file.subtype.startswith(_TELEPHONE)):
            raise Damaged
        self.format = f"{kind.name} {file.subtype}"
        self.samplerate, self.channels = file.samplerate, file.channels
        self.n_frames = file.frames
        self.announced = round(max(file.frames * times_bytes, least_frames))
        if kind.name == "FLAC" and not self._has_end():  # the others were measured by their size
            raise Damaged

    def blocks(self, first: int = 0, end: int | None = None) -> Iterator[np.ndarray]:
        """Blocks (n, channels) float32 from frame `first` to `end`, or to the file's.

        A block is only valid until the next one. Where nothing can be skipped, all is decoded.

        Raises:
            Damaged: It cannot be decoded, or is shorter than it was.
        """
        file, self._file = self._file or self._open(), None
        with file:
            buffer = np.empty((max(1, BLOCK_VALUES // self.channels), self.channels), np.float32)
            last = self.n_frames if end is None or not self.seeks else min(end, self.n_frames)
            try:
                position = file.seek(min(first, self.n_frames)) if self.seeks else 0
                while position < last:
                    block = file.read(out=buffer[: last - position], always_2d=True)
                    if not len(block):
                        break
                    selected = _between(block, position, first, end)
                    position = self.n_decoded = position + len(block)
                    if len(selected):
                        yield selected
            except soundfile.SoundFileError as error:
                raise Damaged from error
        if position < last and self.seeks:
            raise Damaged

    def close(self) -> None:
        """Frees what the library holds; the file itself stays open."""
        if self._file is not None:
            self._file.close()

    def _open(self) -> _Stream:
        try:
            if isinstance(self._handle, int):
                os.lseek(self._handle, 0, os.SEEK_SET)
            else:
                self._handle.seek(0)
            return _Stream(self._handle, closefd=False)
        except (soundfile.SoundFileError, TypeError, ValueError, OverflowError) as error:
            raise Damaged from error

    def _has_end(self) -> bool:
        """Whether the last frame, by the file's own count, can be read."""
        with contextlib.suppress(soundfile.SoundFileError), self._open() as file:
            file.seek(file.frames - 1)
            return bool(len(file.read(out=np.empty((1, file.channels), np.float32))))
        return False


class _Stream(soundfile.SoundFile):
    """A sound file that is not told to seek to where it already is after every block.

    soundfile does that for whatever calls itself seekable, and GSM decoders end by it.
    """

    def seekable(self) -> bool:
        return False


_TELEPHONE = ("GSM", "G72", "NMS")
"""Codings that FFmpeg takes for 8 kHz at every rate."""

_UNKNOWN = 0x7FFF_0000
"""Bytes of sound from which on a header means that it does not know: writers to a pipe put numbers
from here to 4 GiB, or 0."""


def _claim(kind: str, raw: IO[bytes], size: int) -> tuple[float, int]:
    """What the header claims: how many times the bytes of sound that are there, and at least how
    many frames (1 and 0 where it claims nothing that libsndfile does not check)."""
    claim = None
    if kind == "AIFF":
        for name, at, length in _chunks(raw, ">"):
            if name == b"COMM" and length >= 18:
                (n_frames,) = struct.unpack(">I", _at(raw, at + 2, 4).rjust(4, b"\0"))
                return 1.0, n_frames if n_frames < _UNKNOWN else 0
    elif kind == "WAV":
        claim = _wav_data(raw)
    elif kind == "AU":
        order = ">" if _at(raw, 0, 4) == b".snd" else "<"
        claim = struct.unpack(order + "II", _at(raw, 4, 8))
    if claim is None or claim[0] >= size:
        return 1.0, 0
    at, length = claim
    is_long = length > 0xFFFF_FFFF  # a count of 64 bits
    if length >= _UNKNOWN and not is_long and length > size:
        return 1.0, 0
    return max(1.0, length / (size - at)), 0


def _wav_data(raw: IO[bytes]) -> tuple[int, int] | None:
    """Position and claimed length of a wav's samples."""
    magic = _at(raw, 0, 4)
    long_length = 0
    for name, at, length in _chunks(raw, ">" if magic == b"RIFX" else "<"):
        if name == b"ds64" and length >= 24:
            (long_length,) = struct.unpack("<Q", _at(raw, at + 8, 8).rjust(8, b"\0"))
        if name == b"data":
            is_long = magic in (b"RF64", b"BW64") and length == 0xFFFFFFFF
            return at, long_length if is_long else length
    return None


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


class FFmpegFile:
    """A file that FFmpeg's decoders read, from its beginning to its end.

    What cannot be decoded is left out. What a coder puts before the first sample and behind the
    last does not count where the file says how much that is (the gapless tag of an MP3, the edit
    list and the length of an MP4, the pre-skip of Opus); where it does not say, it stays, as with
    FFmpeg's command: up to 0.1 s, alike in training and serving.

    Attributes:
        format: Its kind and codec.
        samplerate: Of the first samples, in Hz; what follows at another rate is resampled to it.
        channels: Of the first samples.
        announced: Samples a channel that its header announces; 0 where it announces none.
        seeks: Always false: the exact places of samples are not known.
        has_video: Whether it holds moving pictures.
        lost_s: After `blocks`, how many seconds between the first and the last decoded sample could
            not be decoded.
        is_cut: After `blocks`, whether the file stops within a packet.
        n_decoded: Samples a channel that `blocks` has decoded.
    """

    seeks = False

    def __init__(self, kind: Format, raw: IO[bytes], start: int, size: int, label: str) -> None:
        """Decodes the first samples: only they tell rate and channels for certain.

        Raises:
            Damaged: FFmpeg cannot read it.
            AudioError: There is no sound in it.
        """
        self._kind, self._raw, self._start, self._size = kind, raw, start, size
        self._first: Any = None
        self._links = _links(raw, start, size) if kind.name == "Ogg" else [(start, size)]
        with _failing():
            self._view, self._container = self._open()
            sound = _sound(self._container)
            self.has_video = any(
                not video.disposition & _COVER for video in self._container.streams.video
            )
            if sound is None:
                what = "a video" if self.has_video else f"a file of the kind {kind.name}"
                raise AudioError(f"{label} is {what} without sound.")
            if sound.codec_context is None or (
                kind.name in ("WAV", "AIFF", "AU") and sound.codec_context.name in _WRONG
            ):
                raise Damaged
            if sound.codec_context.codec_tag in ("drms", "enca", "aavd"):
                raise AudioError(_protected(label))
            self._begin()
            frame: Any = self._first
            self.samplerate, self.channels = frame.sample_rate, frame.layout.nb_channels
            self.format = f"{kind.name} {sound.codec_context.name}"
            self.announced = max(0, round(self._announced_s(sound) * self.samplerate))

    @cached_property
    def n_frames(self) -> int:
        """Samples a channel as announced or, where nothing is, as its packets say: about."""
        if self.announced:
            return self.announced
        seconds = 0.0
        for link in range(len(self._links)):
            with contextlib.suppress(Damaged), _failing(), self._open(link)[1] as container:
                sound = _sound(container)
                ticks = sum(packet.duration or 0 for packet in container.demux(sound))
                seconds += float(ticks * sound.time_base)
        return max(0, round(seconds * self.samplerate))

    def blocks(self, first: int = 0, end: int | None = None) -> Iterator[np.ndarray]:
        """Blocks (n, channels) float32 from frame `first` to `end`, or to the file's.

        All of the file is decoded, for nothing else tells how long it is and whether it is whole.

        Raises:
            Damaged: FFmpeg cannot read the file any more.
        """
        with _failing():
            if self._first is None:  # it was read before
                self.close()
                self._view, self._container = self._open()
                self._begin()
            frames = itertools.chain([self._first], self._frames)
            self._first, self.n_decoded, part = None, 0, None
            for frame in frames:
                is_before = self.n_decoded + frame.samples <= first
                is_wanted = not is_before and (end is None or self.n_decoded < end)
                if not is_wanted and part is not None and part.is_empty and part.fits(frame):
                    self.n_decoded += frame.samples  # what is not wanted is counted
                    continue
                if part is None or not part.takes(frame):
                    yield from self._wanted(part.rest() if part else (), first, end)
                    part = _Part(frame, self.samplerate)
                    part.takes(frame)
                if part.is_full:
                    yield from self._wanted(part.block(), first, end)
            yield from self._wanted(part.rest() if part else (), first, end)
            padding = self.n_decoded - self.announced  # to a whole frame of the coder
            if self.announced and 0 < padding <= TOLERANCE_S * self.samplerate:
                self.n_decoded = self.announced

    def _wanted(
        self, blocks: Iterable[np.ndarray], first: int, end: int | None
    ) -> Iterator[np.ndarray]:
        for block in blocks:
            self.n_decoded += len(block)
            selected = _between(block, self.n_decoded - len(block), first, end)
            if len(selected):
                yield selected

    def close(self) -> None:
        """Frees what FFmpeg holds; the file itself stays open."""
        self._container.close()

    def _open(self, link: int = 0) -> tuple[_View, Any]:
        import av

        view = _View(self._raw, *self._links[link])
        container = av.open(
            view,
            "r",
            format=self._kind.demuxer,
            container_options={"protocol_whitelist": "none"},
            metadata_errors="replace",
            io_open=_open_nothing,
        )
        sound = _sound(container)
        for stream in container.streams:
            if stream is not sound:
                stream.discard = av.stream.Discard.all
        context = None if sound is None else sound.codec_context
        if context is not None and (n_channels := context.channels):
            # av 18.1 frees a layout that names its channels one by one (a CAF's may) twice, with
            # every frame; so no frame gets one. Where a channel stands does not matter here.
            context.layout = f"{n_channels} channels"
        return view, container

    def _begin(self) -> None:
        """Decodes the first frame.

        Raises:
            Damaged: There is none.
        """
        self._frames = self._decoded()
        self._first = next(self._frames, None)
        if self._first is None:
            raise Damaged

    def _decoded(self) -> Iterator[Any]:
        """Frames, one after another; goes on behind what cannot be decoded."""
        import av

        self.lost_s, self.is_cut = 0.0, False
        n_lost, frame = 0, None
        for link in range(len(self._links)):
            if link:
                self.close()
                try:
                    self._view, self._container = self._open(link)
                except av.FFmpegError:
                    n_lost += 1
                    continue
            n_failures, position = 0, -1
            while n_failures < _MOST_FAILURES:
                try:
                    for frame in self._container.decode(_sound(self._container)):
                        if n_lost:
                            self.lost_s += n_lost * frame.samples / frame.sample_rate
                            n_lost = 0
                        yield frame
                    break
                except EOFError:
                    break
                except av.FFmpegError:
                    n_lost += frame is not None  # what comes before the first frame is no loss
                    n_failures = 0 if self._view.tell() != position else n_failures + 1
                    position = self._view.tell()
        self.is_cut = n_lost > 0 or self._view.has_failed
        if self._kind.name == "Ogg":
            self.is_cut |= _ends_in_a_page(self._raw, self._size)

    def _announced_s(self, sound: Any) -> float:
        """How long its header says that it is; 0 where it does not."""
        if self._kind.name == "MP3":
            counted_s = _counted_s(_at(self._raw, self._start, 4096), self.samplerate)
            seconds = float((sound.duration or 0) * sound.time_base)  # less the coder's delay
            return seconds if abs(seconds - counted_s) < 0.1 else counted_s
        if not self._kind.counts or len(self._links) > 1:
            return 0.0
        if sound.duration:
            return float(sound.duration * sound.time_base)
        return (self._container.duration or 0) / 1e6


class _Part:
    """Frames of one rate, layout and sample format on their way to blocks (n, channels) float32;
    a file has several where the parts of a chain meet."""

    def __init__(self, frame: Any, rate_hz: int) -> None:
        import av

        self._fifo: Any = av.AudioFifo()
        self._rate_hz, self._n_channels = frame.sample_rate, frame.layout.nb_channels
        self._most = BLOCK_VALUES // self._n_channels
        self._type, self._full_scale = _SAMPLES[frame.format.name.removesuffix("p")]
        self._resampler = None
        if frame.sample_rate != rate_hz:
            self._resampler = soxr.ResampleStream(
                frame.sample_rate, rate_hz, 1, dtype="float32", quality="HQ"
            )

    @property
    def is_empty(self) -> bool:
        """Whether no frame waits."""
        return self._resampler is None and not self._fifo.samples

    @property
    def is_full(self) -> bool:
        """Whether enough frames wait for a block."""
        return bool(self._fifo.samples >= self._most)

    def fits(self, frame: Any) -> bool:
        """Whether the frame continues this part."""
        return bool(
            frame.layout.nb_channels == self._n_channels and frame.sample_rate == self._rate_hz
        )

    def takes(self, frame: Any) -> bool:
        """Whether the frame continues this part; then it waits."""
        if not self.fits(frame):
            return False
        frame.pts = None  # gaps are not filled
        try:
            self._fifo.write(frame)
        except ValueError:  # another sample format
            return False
        return True

    def block(self) -> list[np.ndarray]:
        """The frames that wait."""
        frame = self._fifo.read()
        if frame is None:
            return []
        n, planes = frame.samples, frame.planes
        block = np.empty((n, self._n_channels), np.float32, "F")
        if frame.format.is_planar:
            for channel, plane in zip(block.T, planes, strict=False):
                channel[:] = np.frombuffer(plane, self._type, n)
        else:
            block[:] = np.frombuffer(planes[0], self._type, block.size).reshape(block.shape)
        if self._type == np.uint8:
            block -= 128
        if self._full_scale != 1:
            block *= np.float32(1 / self._full_scale)
        if self._resampler:
            return [self._resampler.resample_chunk(block.mean(axis=1))[:, None]]
        return [block]

    def rest(self) -> list[np.ndarray]:
        """What is left at the end."""
        blocks = self.block()
        if self._resampler:
            blocks.append(self._resampler.resample_chunk(np.empty(0, np.float32), True)[:, None])
        return blocks


def _between(block: np.ndarray, position: int, first: int, end: int | None) -> np.ndarray:
    """What of a block that begins at `position` lies between two frames."""
    return block[max(0, first - position) : None if end is None else max(0, end - position)]


_SAMPLES = {
    "u8": (np.uint8, 2**7),
    "s16": (np.int16, 2**15),
    "s32": (np.int32, 2**31),
    "s64": (np.int64, 2**63),
    "flt": (np.float32, 1),
    "dbl": (np.float64, 1),
}
"""FFmpeg's names of sample formats: as numpy has them, and full scale."""

_COVER = 0x400  # AV_DISPOSITION_ATTACHED_PIC
_MOST_LINKS = 10_000  # each is opened by itself, which takes time
_MOST_FAILURES = 1000  # one after another while nothing is read: of a buffer of 32 KiB
_WRONG = ("gsm", "gsm_ms", "amrnb", "adpcm_g726", "adpcm_g726le")
"""Decoders that take every rate for 8 kHz."""


def _sound(container: Any) -> Any:
    """The stream of sound that FFmpeg would play; None where there is none."""
    return container.streams.best("audio") or next(iter(container.streams.audio), None)


def _open_nothing(url: str, flags: int, options: dict[str, str]) -> IO[bytes]:
    raise PermissionError


@contextlib.contextmanager
def _failing() -> Iterator[None]:
    import av  # 0.3 s, and not every command reads sound

    try:
        yield
    except (av.FFmpegError, ValueError, MemoryError, OSError) as error:
        raise Damaged from error


def _counted_s(head: bytes, rate_hz: int) -> float:
    """Seconds by the number of frames in an MP3's first one, as LAME (Xing) and Fraunhofer's coder
    (VBRI) write it; 0 where it is not there."""
    for tag, at_count in ((b"Xing", 8), (b"Info", 8), (b"VBRI", 14)):
        at = head.find(tag)
        if at > 0 and (tag == b"VBRI" or (head[at + 7 : at + 8] and head[at + 7] & 1)):
            n_frames = int.from_bytes(head[at + at_count : at + at_count + 4], "big")
            return n_frames * (1152 if rate_hz >= 32_000 else 576) / rate_hz
    return 0.0


def _links(raw: IO[bytes], start: int, size: int) -> list[tuple[int, int]]:
    """Where the links of an Ogg chain begin and end, of which each may have a rate and channels of
    its own (RFC 3533): at pages marked as a stream's first behind pages that are not."""
    begins, at, was_first = [start], start, True
    while len(head := _at(raw, at, 282)) > 27 and head[:5] == b"OggS\0":
        is_first, n_segments = bool(head[5] & 2), head[26]
        if is_first and not was_first and len(begins) < _MOST_LINKS:
            begins.append(at)
        was_first = is_first
        at += 27 + n_segments + sum(head[27 : 27 + n_segments])
    return list(zip(begins, [*begins[1:], size], strict=True))


def _ends_in_a_page(raw: IO[bytes], size: int) -> bool:
    """Whether an Ogg file stops before the end of its last page (RFC 3533)."""
    tail_at = max(0, size - 2 * 65_307)  # the largest page, twice
    tail = _at(raw, tail_at, size - tail_at)
    page = tail.rfind(b"OggS\x00")
    if page < 0 or len(tail) < page + 27:
        return True
    n_segments = tail[page + 26]
    lengths = tail[page + 27 : page + 27 + n_segments]
    return len(lengths) < n_segments or page + 27 + n_segments + sum(lengths) > len(tail)


class _View:
    """A file from one of its bytes on, with a place of its own, for libraries that may ask for
    impossible places."""

    def __init__(self, raw: IO[bytes], start: int, end: int) -> None:
        self._raw, self._start, self._end, self._position = raw, start, end, 0
        self.has_failed = False  # what is raised here, libraries print

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            offset += self._end - self._start
        self._position = max(0, offset + (self._position if whence == os.SEEK_CUR else 0))
        return self._position

    def read(self, n: int = -1) -> bytes:
        data = b""
        try:
            at = self._start + self._position
            data = _at(self._raw, at, max(0, min(n, self._end - at)))
        except OSError:
            self.has_failed = True
        self._position += len(data)
        return data


_ENCRYPTED = tuple(
    map(bytes.fromhex, ("fbb3112223bdd211b4b700a0c955fc6e", "14e68a292226174cb935dae07ee9289c"))
)
"""The objects of an ASF file that say how it is encrypted."""


def _protected(label: str) -> str:
    return f"{label} is protected against copying (DRM)."


@contextlib.contextmanager
def opened(
    source: Source, name: str | None = None, by_sndfile: tuple[str, ...] = UNCOMPRESSED
) -> Iterator[tuple[SoundFile | FFmpegFile, str]]:
    """A file's reader, and what messages call the file.

    Args:
        source: A path, the content of a file, or an open binary file.
        name: What messages call it; by default its file name.
        by_sndfile: Kinds that libsndfile may read; it cannot go on behind damage.

    Raises:
        AudioError: There is no reader for it.
    """
    label = name or (Path(source).name if isinstance(source, (str, Path)) else "The clip")
    with contextlib.ExitStack() as stack:
        if isinstance(source, (str, Path)):
            raw: IO[bytes] = stack.enter_context(_open_path(Path(source), label))
        else:
            raw = io.BytesIO(source) if isinstance(source, bytes) else source
        try:
            size = raw.seek(0, os.SEEK_END)
            kind, start = sniff(raw, size, label)
            begins = _at(raw, start, 2**16)
            if any(mark in begins for mark in _ENCRYPTED):
                raise AudioError(_protected(label))
            handle = raw.fileno() if isinstance(source, (str, Path)) else _View(raw, 0, size)
            file = _reader(kind, raw, handle, size, start, label, by_sndfile)
        except Damaged as error:
            raise AudioError(
                f"{label} begins like {kind.name} audio but cannot be read: it is empty, damaged "
                f"or in an encoding that is not read; expected {READABLE}."
            ) from error
        except OSError as error:
            raise AudioError(f"{label} cannot be read: {error}.") from error
        stack.callback(file.close)
        low, high = RATES_HZ
        if not low <= file.samplerate <= high:
            raise AudioError(
                f"{label} claims a sample rate of {file.samplerate} Hz; "
                f"expected {low} to {high} Hz."
            )
        yield file, label


def _reader(
    kind: Format,
    raw: IO[bytes],
    handle: Any,
    size: int,
    start: int,
    label: str,
    by_sndfile: tuple[str, ...],
) -> SoundFile | FFmpegFile:
    if start == 0 and kind.name in by_sndfile:
        with contextlib.suppress(Damaged):
            return SoundFile(kind, raw, handle, size)
    return FFmpegFile(kind, raw, start, size, label)


def _open_path(path: Path, label: str) -> IO[bytes]:
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise AudioError(f"{label} is {kind}; expected an audio file ({READABLE}).")
        if not facts.st_size:  # so do files of the kernel, and reading them may never end
            raise AudioError(f"{label} is empty (0 bytes).")
        # Without waiting, should it have become a pipe since; without a buffer, for libsndfile
        # moves the descriptor's position.
        return open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0)
    except FileNotFoundError:
        raise AudioError(f"There is no file {path}.") from None
    except PermissionError:
        raise AudioError(f"{label} may not be read: permission denied.") from None
    except (OSError, ValueError) as error:
        raise AudioError(f"{label} cannot be opened: {error}.") from None


def _at(raw: IO[bytes], position: int, n: int) -> bytes:
    raw.seek(position)
    return raw.read(n)
