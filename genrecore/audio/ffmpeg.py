"""Files read by FFmpeg's decoders, which PyAV carries along: nearly every kind there is.

FFmpeg gets the open file and the name of its format, so that no file makes it guess, follow an
address or open another file.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import IO, Any

import numpy as np
import soxr

from genrecore.audio.formats import RATES_HZ, TOLERANCE_S, Damaged, Format, links, read_at
from genrecore.errors import AudioError

BLOCK_VALUES = 2**17  # 512 KiB of float32 a block, whatever the number of channels


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
        self.announced = 0
        self._links = links(kind, raw, start, size)
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
                raise AudioError(protected(label))
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
            selected = between(block, self.n_decoded - len(block), first, end)
            if len(selected):
                yield selected

    def close(self) -> None:
        """Frees what FFmpeg holds; the file itself stays open."""
        self._container.close()

    def _open(self, link: int = 0) -> tuple[View, Any]:
        import av

        view = View(self._raw, *self._links[link])
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
        n_lost, frame, skipped = 0, None, _Skipped(self._raw)
        low_hz, high_hz = RATES_HZ
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
                    for packet in self._container.demux(_sound(self._container)):
                        for decoded in packet.decode():
                            if frame and not low_hz <= decoded.sample_rate <= high_hz:
                                n_lost += 1
                                continue
                            frame = decoded
                            if n_lost:
                                self.lost_s += n_lost * frame.samples / frame.sample_rate
                                n_lost = 0
                            if not (self._kind.counts or self.announced):  # no length is told
                                skipped.count(packet, self._links[link][0], frame)
                            yield frame
                    break
                except EOFError:
                    break
                except av.FFmpegError:
                    n_lost += frame is not None  # what comes before the first frame is no loss
                    n_failures = 0 if self._view.tell() != position else n_failures + 1
                    position = self._view.tell()
        if not (self._kind.counts or self.announced):
            self.lost_s = max(self.lost_s, skipped.seconds)
        self.is_cut = n_lost > 0 or self._view.has_failed
        if self._kind.name == "Ogg":
            self.is_cut |= _ends_in_a_page(self._raw, self._size)

    def _announced_s(self, sound: Any) -> float:
        """How long its header says that it is; 0 where it does not."""
        if self._kind.name == "MP3":
            counted_s = _counted_s(read_at(self._raw, self._start, 4096), self.samplerate)
            seconds = float((sound.duration or 0) * sound.time_base)  # less the coder's delay
            most_s = _MOST_PADDING / self.samplerate
            return seconds if -0.1 < counted_s - seconds <= most_s else counted_s
        if not self._kind.counts or len(self._links) > 1:
            return 0.0
        if sound.duration:
            return float(sound.duration * sound.time_base)
        return (self._container.duration or 0) / 1e6


class _Skipped:
    """How much a decoder passed over between packets that follow one another in a file."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw, self._end = raw, -1
        self._n_skipped = self._n_bytes = 0
        self._decoded_s = 0.0

    def count(self, packet: Any, start: int, frame: Any) -> None:
        """Takes in a packet of a stream that begins at byte `start`, and a frame of it."""
        self._decoded_s += frame.samples / frame.sample_rate
        if packet.pos is None or packet.pos + start + packet.size == self._end:
            return
        at = packet.pos + start
        if 0 <= self._end < at and not read_at(self._raw, self._end, 8).startswith(_TAGS):
            self._n_skipped += at - self._end
        self._end = at + packet.size
        self._n_bytes += packet.size

    @property
    def seconds(self) -> float:
        """As long as what was decoded of as many bytes."""
        return self._n_skipped * self._decoded_s / max(1, self._n_bytes)


class _Part:
    """Frames of one rate, layout and sample format on their way to blocks (n, channels) float32;
    a file has several where the parts of a chain meet."""

    def __init__(self, frame: Any, rate_hz: int) -> None:
        import av

        self._fifo: Any = av.AudioFifo()
        self._rate_hz, self._n_channels = frame.sample_rate, frame.layout.nb_channels
        self._most = BLOCK_VALUES // self._n_channels
        self._type, self._full_scale = _SAMPLES[frame.format.name.removesuffix("p")]
        self._n_at_once = max(1, BLOCK_VALUES * frame.sample_rate // rate_hz)  # of one block
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

    def block(self) -> Iterator[np.ndarray]:
        """The frames that wait."""
        frame = self._fifo.read()
        if frame is None:
            return
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
        if not self._resampler:
            yield block
            return
        mono = block.mean(axis=1)
        for at in range(0, n, self._n_at_once):
            yield self._resampler.resample_chunk(mono[at : at + self._n_at_once])[:, None]

    def rest(self) -> Iterator[np.ndarray]:
        """What is left at the end."""
        yield from self.block()
        if self._resampler:
            yield self._resampler.resample_chunk(np.empty(0, np.float32), True)[:, None]


def between(block: np.ndarray, position: int, first: int, end: int | None) -> np.ndarray:
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
_MOST_PADDING = 2 * 4095  # samples before and behind, of which LAME's tag tells 12 bits each
_TAGS = (b"ID3", b"TAG", b"APETAGEX")  # of titles and pictures, between files that were joined
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


def _ends_in_a_page(raw: IO[bytes], size: int) -> bool:
    """Whether an Ogg file stops before the end of its last page (RFC 3533)."""
    tail_at = max(0, size - 2 * 65_307)  # the largest page, twice
    tail = read_at(raw, tail_at, size - tail_at)
    page = tail.rfind(b"OggS\x00")
    if page < 0 or len(tail) < page + 27:
        return True
    n_segments = tail[page + 26]
    lengths = tail[page + 27 : page + 27 + n_segments]
    return len(lengths) < n_segments or page + 27 + n_segments + sum(lengths) > len(tail)


class View:
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
            data = read_at(self._raw, at, max(0, min(n, self._end - at)))
        except OSError:
            self.has_failed = True
        self._position += len(data)
        return data


def protected(label: str) -> str:
    """The sentence on a file that is protected against copying."""
    return f"{label} is protected against copying (DRM)."
