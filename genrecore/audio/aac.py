"""AAC and ALAC audio (m4a, mp4 without an image, raw aac) with the interface of a sound file.

libsndfile reads neither; FFmpeg's decoders, which PyAV carries along, do. A decoder is handed the
open file, never a name: FFmpeg would take some names for addresses.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from genrecore.errors import AudioError
from genrecore.words import percent

_ADTS_RATES_HZ = (
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
)  # fmt: skip


class Damaged(Exception):
    """The decoder cannot go on."""


class AacFile:
    """What `audio.decode` asks of a sound file: rate, channels, frames, and blocks in order.

    Attributes:
        samplerate: In Hz, of what is decoded.
        channels: How many.
        frames: Samples a channel, as the container says (`m4a`) or as counted (`aac`).
        format: `M4A` or `AAC`.
        subtype: The codec's name.
    """

    def __init__(self, kind: str, raw: IO[bytes], label: str, n_seconds: float) -> None:
        """Opens it and decodes the first samples: only they tell the rate for certain.

        Args:
            kind: `M4A` or `AAC`.
            raw: The open file.
            label: What messages call it.
            n_seconds: Its length where it was counted; 0 asks the container.

        Raises:
            Damaged: It cannot be read.
            AudioError: A video, or no sound in it.
        """
        self.format, self._raw = kind, raw
        self.samplerate = 0
        with self._failing():
            seconds = n_seconds or self._length_s(label)
            self._container = self._open()
            self._stream = self._container.streams.audio[0]
            self._blocks = self._decoded()
            self._rest = next(self._blocks, np.empty((0, 1), np.float32))
        self.channels = self._rest.shape[1]
        self.subtype = str(self._stream.codec_context.name)
        self.frames = round(seconds * self.samplerate) if len(self._rest) else 0

    def __enter__(self) -> AacFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def read(self, out: np.ndarray, always_2d: bool = True) -> np.ndarray:
        """The next samples, (n, channels) float32, in `out`; none at the end.

        Raises:
            Damaged: They cannot be decoded.
        """
        n = 0
        with self._failing():
            while n < len(out):
                if not len(self._rest):
                    following = next(self._blocks, None)
                    if following is None:
                        break
                    self._rest = following
                ready = self._rest[: len(out) - n]
                out[n : n + len(ready)] = ready
                self._rest = self._rest[len(ready) :]
                n += len(ready)
        return out[:n]

    def seek(self, frames: int) -> int:
        """Only to the beginning, where it is: the decoder's exact places are not known."""
        if frames:
            raise Damaged
        return 0

    def _open(self) -> Any:
        import av  # 0.3 s, and most files do not need it

        self._raw.seek(0)
        demuxer = "mov" if self.format == "M4A" else "aac"
        return av.open(self._raw, "r", format=demuxer, metadata_errors="replace")

    def _length_s(self, label: str) -> float:
        """How long the sound is by the container's tables; of one written in pieces, counted."""
        with self._open() as container:
            # A cover is an image of one frame; a video is none.
            if any(not stream.disposition & _COVER for stream in container.streams.video):
                raise AudioError(
                    f"{label} is an MP4 video; take its sound out first, for instance as wav."
                )
            if not container.streams.audio:
                raise AudioError(f"{label} is an MP4 file without sound.")
            stream = container.streams.audio[0]
            if stream.codec_context is None:
                raise Damaged
            ticks = stream.duration or sum(
                packet.duration or 0 for packet in container.demux(stream)
            )
            return float(ticks * stream.time_base)

    def _decoded(self) -> Iterator[np.ndarray]:
        """Blocks (n, channels) float32 in order."""
        layout: tuple[int, int] | None = None
        for frame in self._container.decode(self._stream):
            values = frame.to_ndarray()
            n_channels = len(frame.layout.channels)
            block = values.T if frame.format.is_planar else values.reshape(-1, n_channels)
            if block.dtype.kind == "i":
                block = block / np.float32(2.0 ** (8 * block.dtype.itemsize - 1))
            if layout is None:
                layout = (frame.sample_rate, n_channels)
                self.samplerate = frame.sample_rate
            elif layout != (frame.sample_rate, n_channels):
                raise Damaged
            yield block.astype(np.float32, copy=False)

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        import av

        try:
            yield
        except (av.FFmpegError, ValueError, MemoryError) as error:
            raise Damaged from error


_COVER = 0x400  # AV_DISPOSITION_ATTACHED_PIC


def is_adts(head: bytes) -> bool:
    """Whether these bytes begin a raw AAC frame (ADTS: layer 0, a rate that exists)."""
    return (
        len(head) >= 7
        and head[0] == 0xFF
        and head[1] & 0xF6 == 0xF0
        and head[2] >> 2 & 15 < len(_ADTS_RATES_HZ)
        and _adts_bytes(head) >= 7
    )


def adts_length_s(raw: IO[bytes], size: int, start: int, label: str) -> float:
    """Seconds in a raw AAC file, counted by its frames' headers (ISO 13818-7): it has no table.

    Raises:
        AudioError: The frames stop in the middle of the file, or the last one is cut.
    """
    seconds, at = 0.0, start
    while True:
        raw.seek(at)
        head = raw.read(7)
        if not is_adts(head):
            break
        length = _adts_bytes(head)
        if at + length > size:
            raise AudioError(
                f"{label} is truncated: its last AAC frame is cut off after {seconds:.1f} s."
            )
        seconds += 1024 * ((head[6] & 3) + 1) / _ADTS_RATES_HZ[head[2] >> 2 & 15]
        at += length
    raw.seek(at)
    rest = raw.read(2048)
    if rest and not rest.startswith((b"TAG", b"APETAGEX", b"ID3")) and any(rest):
        raise AudioError(
            f"{label} is damaged or truncated: its AAC frames stop after {percent(at / size)} of "
            "the file."
        )
    return seconds


def _adts_bytes(head: bytes) -> int:
    return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
