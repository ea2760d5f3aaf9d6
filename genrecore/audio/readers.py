"""Readers of sound files: which library reads which content, and what a file's header announces.

FFmpeg reads everything (`audio.ffmpeg`). libsndfile reads samples that are not compressed and
excerpts of FLAC, because it is several times as fast there, and clean MP3 (`audio.mp3`), because
its threads do not wait for one another; it alone reads GSM 6.10, G.721 and NMS ADPCM at every rate.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
import soundfile

from genrecore.audio import mp3
from genrecore.audio.ffmpeg import BLOCK_VALUES, FFmpegFile, View, between, protected
from genrecore.audio.formats import (
    RATES_HZ,
    READABLE,
    STREAMED,
    Damaged,
    Format,
    links,
    read_at,
    sniff,
)
from genrecore.errors import AudioError

Source = str | Path | bytes | BinaryIO


class SoundFile:
    """A file that is read by libsndfile.

    Attributes:
        format: Its kind and codec.
        samplerate: In Hz.
        channels: How many.
        n_frames: Samples a channel that it holds; of MP3, as announced.
        announced: Samples a channel that its header announces; 0 where it announces none.
        seeks: Whether `blocks` may begin anywhere, to the sample.
        is_cut: Always false: what is cut off is missing from `n_frames`.
        lost_s: Always 0.
        n_decoded: Samples a channel that `blocks` has read.

    Of several files that were joined to one, it reads none.
    """

    is_cut, lost_s, has_video, n_decoded = False, 0.0, False, 0

    def __init__(self, kind: Format, raw: IO[bytes], handle: Any, start: int, size: int) -> None:
        """
        Raises:
            Damaged: libsndfile cannot read it.
        """
        self._handle, self._kind, self._raw, self._size = handle, kind, raw, size
        self._start = start
        # Before libsndfile opens the file: both move the same position in it.
        if kind.name == "WAV" and _goes_on(kind, raw, size):
            raise Damaged
        try:
            lengths = mp3.lengths(raw, start, size) if kind.name == "MP3" else None
        except OSError as error:  # FFmpeg's reader takes what comes before
            raise Damaged from error
        times_bytes, least_frames = _claim(kind.name, raw, size)
        self._file: _Stream | None = self._open()
        file = self._file
        self.seeks = file.subtype.startswith(("PCM", "FLOAT", "DOUBLE", "ULAW", "ALAW"))
        self._is_exact = self.seeks or lengths is not None
        if file.frames <= 0 or not (self._is_exact or file.subtype.startswith(_TELEPHONE)):
            raise Damaged
        self.format = f"{kind.name} {file.subtype}"
        self.samplerate, self.channels = file.samplerate, file.channels
        self.n_frames = self._n_frames = file.frames
        self.announced = round(max(file.frames * times_bytes, least_frames))
        if lengths:
            self.n_frames, self._n_frames, is_counted = lengths
            self.announced = self._n_frames
            # Where nothing is counted, libsndfile estimates the length.
            if file.frames < self._n_frames or (is_counted and file.frames > self._n_frames):
                raise Damaged
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
            self._refuse_joined()
            buffer = np.empty((max(1, BLOCK_VALUES // self.channels), self.channels), np.float32)
            last = self._n_frames if end is None or not self.seeks else min(end, self._n_frames)
            try:
                position = file.seek(min(first, self._n_frames)) if self.seeks else 0
                while position < last:
                    block = file.read(out=buffer[: last - position], always_2d=True)
                    if not len(block):
                        break
                    selected = between(block, position, first, end)
                    position = self.n_decoded = position + len(block)
                    if len(selected):
                        yield selected
            except soundfile.SoundFileError as error:
                raise Damaged from error
        if position < last and self._is_exact:
            raise Damaged

    def close(self) -> None:
        """Frees what the library holds; the file itself stays open."""
        if self._file is not None:
            self._file.close()

    def _refuse_joined(self) -> None:
        if self._kind.name == "FLAC":  # all of it is looked through
            place = self._raw.tell()  # which is also libsndfile's
            n_parts = len(links(self._kind, self._raw, 0, self._size))
            self._raw.seek(place)
            if n_parts > 1:
                raise Damaged

    def _open(self) -> _Stream:
        try:
            if isinstance(self._handle, int):
                os.lseek(self._handle, self._start, os.SEEK_SET)  # where a file begins for it
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
                (n_frames,) = struct.unpack(">I", read_at(raw, at + 2, 4).rjust(4, b"\0"))
                return 1.0, n_frames if n_frames < _UNKNOWN else 0
    elif kind == "WAV":
        claim = _wav_data(raw)
    elif kind == "AU":
        order = ">" if read_at(raw, 0, 4) == b".snd" else "<"
        claim = struct.unpack(order + "II", read_at(raw, 4, 8))
    if claim is None or claim[0] >= size:
        return 1.0, 0
    at, length = claim
    is_long = length > 0xFFFF_FFFF  # a count of 64 bits
    if length >= _UNKNOWN and not is_long and length > size:
        return 1.0, 0
    return max(1.0, length / (size - at)), 0


def _wav_data(raw: IO[bytes]) -> tuple[int, int] | None:
    """Position and claimed length of a wav's samples."""
    magic = read_at(raw, 0, 4)
    long_length = 0
    for name, at, length in _chunks(raw, ">" if magic == b"RIFX" else "<"):
        if name == b"ds64" and length >= 24:
            (long_length,) = struct.unpack("<Q", read_at(raw, at + 8, 8).rjust(8, b"\0"))
        if name == b"data":
            is_long = magic in (b"RF64", b"BW64") and length == 0xFFFFFFFF
            return at, long_length if is_long else length
    return None


def _goes_on(kind: Format, raw: IO[bytes], size: int) -> bool:
    """Whether another wav lies behind the samples of the first."""
    at, length = _wav_data(raw) or (0, 0)
    end = at + length + length % 2
    is_short = length > 0 and end < size  # a forged length leads beyond all places
    return bool(is_short and kind.joint and kind.joint.match(read_at(raw, end, 16)))


def _chunks(raw: IO[bytes], order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, position and length of the chunks of a RIFF (order "<") or IFF (">") file."""
    at = 12
    for _ in range(1000):  # real files have about ten; a forged one must not keep us
        head = read_at(raw, at, 8)
        if len(head) < 8:
            return
        (length,) = struct.unpack(order + "I", head[4:])
        yield head[:4], at + 8, length
        at += 8 + length + length % 2


_ENCRYPTED = tuple(
    map(bytes.fromhex, ("fbb3112223bdd211b4b700a0c955fc6e", "14e68a292226174cb935dae07ee9289c"))
)
"""The objects of an ASF file that say how it is encrypted."""


@contextlib.contextmanager
def opened(
    source: Source, name: str | None = None, by_sndfile: tuple[str, ...] = STREAMED
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
            begins = read_at(raw, start, 2**16)
            if any(mark in begins for mark in _ENCRYPTED):
                raise AudioError(protected(label))
            handle = raw.fileno() if isinstance(source, (str, Path)) else View(raw, start, size)
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
    if kind.name in by_sndfile and (start == 0 or kind.name == "MP3"):
        with contextlib.suppress(Damaged):
            return SoundFile(kind, raw, handle, start, size)
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
