"""Audio files in, mono waves out: the one decoder that training and serving share.

Whatever a file claims, memory is bounded by what it really holds: it is read in blocks, averaged
to mono and resampled as a stream. Every way in which a file cannot be used is one sentence.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
import soundfile
import soxr

from genrecore import words
from genrecore.audio.aac import AacFile, Damaged, adts_length_s
from genrecore.audio.containers import READABLE, Prefixed, claimed_length, missing_count, sniff
from genrecore.errors import AudioError

FORMATS = (".wav", ".mp3", ".ogg", ".flac", ".au", ".aiff", ".aif", ".opus", ".m4a", ".aac")
"""Extensions of what can be read. The content decides, not the name."""

SILENCE = 10 ** (-80 / 20)
"""The peak below which a clip is silent: −80 dBFS, three steps of 16 bits; dither lies below it."""

TOLERANCE_S = 0.1
"""How much audio may be missing against the header: encoders count a frame or two differently."""

LOUDEST = 16.0
"""Floating-point files may peak above 1 (hot masters, clipped here); beyond this the scale is not
that of audio (integers stored as floats reach 32 768)."""

RATES_HZ = (1_000, 768_000)
BLOCK_VALUES = 2**18  # 1 MiB of float32 a block, whatever the number of channels


@dataclass(frozen=True)
class Decoded:
    """A decoded excerpt: `wave` (n_samples,) float32 mono in [-1, 1] at the asked sample rate.

    `duration_s` is that of the whole file, `start_s` where in it the excerpt begins; `warning` is
    one sentence where the file is damaged, otherwise empty.
    """

    wave: np.ndarray
    duration_s: float
    source_rate_hz: int
    n_channels: int
    start_s: float
    warning: str = ""


@dataclass(frozen=True)
class Info:
    """Facts from a file's header, without decoding."""

    duration_s: float
    sample_rate_hz: int
    n_channels: int
    format: str


def decode(
    source: str | Path | bytes | BinaryIO,
    sample_rate_hz: int,
    *,
    name: str | None = None,
    middle_s: float | None = None,
    start_s: float | None = None,
    least_s: float = 1.0,
    most_s: float | None = None,
    accept_damaged: bool = False,
) -> Decoded:
    """A mono float32 wave in [-1, 1] at `sample_rate_hz`, channels averaged, with its facts.

    Args:
        source: A path, the content of a file, or an open binary file.
        sample_rate_hz: The rate of the wave; resampled by soxr in its quality HQ.
        name: What messages call the file; by default its file name.
        middle_s: Length of the excerpt taken from the middle; a shorter file comes whole.
        start_s: Where the excerpt begins instead; without `middle_s` it reaches to the end.
        least_s: The shortest file accepted, in seconds.
        most_s: The longest file accepted, in seconds; None for any.
        accept_damaged: Of a damaged or truncated file, take what can be decoded, and say so in
            `Decoded.warning`; otherwise it is refused.

    Raises:
        AudioError: The file cannot be used; one sentence says what was found and expected.
    """
    faults: list[str] = []
    fault = faults.append if accept_damaged else _refuse
    with _opened(source, name) as (file, label, announced):
        rate_hz, n_frames = file.samplerate, file.frames
        _check_length(file, label, announced, least_s, most_s, fault)
        # Where seeking is exact and cheap the rest is skipped; elsewhere it is decoded and dropped.
        seeks = file.format in _SEEKS
        if file.format == "FLAC":  # the others that seek were measured against the file's size
            _check_end(file, label)
        while True:
            first, n_wanted = _excerpt(label, n_frames, rate_hz, middle_s, start_s)
            end = first + n_wanted
            position = file.seek(first) if seeks else 0
            resampler, levels = _Resampler(rate_hz, sample_rate_hz), _Levels(label)
            wave = bytearray()  # grows in place: no second copy at the end
            for block in _blocks(file, label, position, end if seeks else n_frames, fault):
                selected = block[max(0, first - position) : max(0, end - position)]
                position += len(block)
                if len(selected):
                    wave += resampler.resample(levels.checked_mono(selected)).data
            wave += resampler.rest().data
            if position >= (end if seeks else n_frames) - TOLERANCE_S * rate_hz:
                break
            if not faults:
                fault(_truncated(label, position / rate_hz, n_frames / rate_hz))
            n_frames = position  # once more, by the length that can be decoded
            if not n_frames:
                raise AudioError(faults[0])
            file.seek(0)
        levels.check()
        seconds = n_frames / rate_hz
        if seconds < least_s:
            raise AudioError(_too_short(label, seconds, least_s))
        is_whole = middle_s and n_wanted == round(middle_s * rate_hz)
        length_s = middle_s if middle_s and is_whole else n_wanted / rate_hz
        return Decoded(
            wave=_fit_length(np.frombuffer(wave, np.float32), round(length_s * sample_rate_hz)),
            duration_s=seconds,
            source_rate_hz=rate_hz,
            n_channels=file.channels,
            start_s=first / rate_hz,
            warning=" ".join(faults[:1]),
        )


@contextlib.contextmanager
def stream(
    source: str | Path | bytes | BinaryIO,
    sample_rate_hz: int,
    *,
    name: str | None = None,
    accept_damaged: bool = False,
) -> Iterator[Stream]:
    """A whole file of any length, block by block: what `decode` gives without an excerpt.

    Args:
        source: A path, the content of a file, or an open binary file; open as long as the stream.
        sample_rate_hz: The rate of the blocks.
        name: What messages call the file; by default its file name.
        accept_damaged: As for `decode`.

    Raises:
        AudioError: The file cannot be used; as well while its blocks are read.
    """
    with _opened(source, name) as (file, label, announced):
        yield Stream(file, label, announced, sample_rate_hz, accept_damaged)


class Stream:
    """A file that is being decoded.

    Attributes:
        announced_s: The length that the file announces, in seconds; for progress only.
        source_rate_hz: Sample rate of the file.
        n_channels: Its channels.
        duration_s: How much has been decoded, in seconds; after the last block, of the file.
        warning: After the last block, one sentence where the file is damaged, otherwise empty.
    """

    def __init__(
        self,
        file: SoundFile,
        label: str,
        announced: float,
        sample_rate_hz: int,
        accept_damaged: bool,
    ) -> None:
        self._file, self._label, self._announced = file, label, announced
        self._sample_rate_hz, self._accept_damaged = sample_rate_hz, accept_damaged
        self.source_rate_hz, self.n_channels = file.samplerate, file.channels
        self.announced_s = announced / file.samplerate
        self.duration_s, self.warning = 0.0, ""

    def blocks(self) -> Iterator[np.ndarray]:
        """Blocks (n,) float32 mono in [-1, 1], in order; to be read once.

        Raises:
            AudioError: The file cannot be used: damaged, unless that is accepted; silent; or its
                samples are not audio.
        """
        faults: list[str] = []
        fault = faults.append if self._accept_damaged else _refuse
        file, label, rate_hz = self._file, self._label, self.source_rate_hz
        _check_length(file, label, self._announced, 0.0, None, fault)
        resampler, levels = _Resampler(rate_hz, self._sample_rate_hz), _Levels(label)
        position = 0
        for block in _blocks(file, label, 0, file.frames, fault):
            position += len(block)
            self.duration_s = position / rate_hz
            resampled = resampler.resample(levels.checked_mono(block))
            if len(resampled):
                yield np.clip(resampled, -1.0, 1.0)
        rest = resampler.rest()
        if len(rest):
            yield np.clip(rest, -1.0, 1.0)
        if position < file.frames - TOLERANCE_S * rate_hz and not faults:
            fault(_truncated(label, position / rate_hz, file.frames / rate_hz))
        if not position:
            raise AudioError(faults[0])
        levels.check()
        self.warning = " ".join(faults[:1])


def inspect(source: str | Path | bytes | BinaryIO, name: str | None = None) -> Info:
    """Duration (s), sample rate (Hz), channels and format by the header, without decoding.

    Raises:
        AudioError: Not a readable audio file, or visibly truncated.
    """
    with _opened(source, name) as (file, label, announced):
        _check_length(file, label, announced, 0.0, None, _refuse)
        seconds = file.frames / file.samplerate
        return Info(seconds, file.samplerate, file.channels, f"{file.format} {file.subtype}")


def outline(
    source: str | Path | bytes | BinaryIO, n_most: int, name: str | None = None
) -> np.ndarray:
    """The lowest and the highest sample, mono in [-1, 1], of each of at most `n_most` equal
    stretches of a file: (n, 2) float32. However long the file is, no more than a block of it is in
    memory.

    Raises:
        AudioError: The file cannot be used.
    """
    with _opened(source, name) as (file, label, announced):
        _check_length(file, label, announced, 0.0, None, _refuse)
        n_frames, position = file.frames, 0
        starts = np.linspace(0, n_frames, min(n_most, n_frames), False).astype(np.int64)
        ends = np.zeros((len(starts), 2), np.float32)
        for block in _blocks(file, label, 0, n_frames, _refuse):
            mono = _mono(block)
            first = int(np.searchsorted(starts, position, "right")) - 1
            position += len(mono)
            last = int(np.searchsorted(starts, position))
            inside = np.maximum(starts[first:last] - (position - len(mono)), 0)
            low, high = ends[first:last].T
            np.minimum(low, np.minimum.reduceat(mono, inside), out=low)
            np.maximum(high, np.maximum.reduceat(mono, inside), out=high)
    return np.clip(np.nan_to_num(ends), -1.0, 1.0)


def to_wav_bytes(wave: np.ndarray, sample_rate_hz: int) -> bytes:
    """A 16-bit wav file, for players, of a wave (n_samples,) or (n_samples, channels)."""
    file = io.BytesIO()
    soundfile.write(file, np.clip(wave, -1.0, 1.0), sample_rate_hz, "PCM_16", format="WAV")
    return file.getvalue()


def digest(path: str | Path) -> str:
    """32 hexadecimal digits that name a file's content (BLAKE2b, 16 bytes)."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not os.fstat(file.fileno()).st_size:  # as files of the kernel say, which may not end
            return hashlib.blake2b(digest_size=16).hexdigest()
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


_SEEKS = {"WAV", "WAVEX", "RF64", "AIFF", "AU", "FLAC"}
_KNOWN = _SEEKS | {"OGG", "MP3", "M4A", "AAC"}


class _Stream(soundfile.SoundFile):
    """A sound file that is not told to seek to where it already is after every block.

    soundfile does that for whatever calls itself seekable, and MP3 decoders lose their place by it.
    """

    def seekable(self) -> bool:
        return False


SoundFile = _Stream | AacFile


@contextlib.contextmanager
def _opened(
    source: str | Path | bytes | BinaryIO, name: str | None
) -> Iterator[tuple[SoundFile, str, float]]:
    """The sound file, its name in messages, and how many frames its header claims."""
    label = name or (Path(source).name if isinstance(source, (str, Path)) else "The clip")
    with contextlib.ExitStack() as stack:
        if isinstance(source, (str, Path)):
            raw: IO[bytes] = stack.enter_context(_open_path(Path(source), label))
        else:
            raw = io.BytesIO(source) if isinstance(source, bytes) else source
        size = raw.seek(0, os.SEEK_END)
        kind, start = sniff(raw, size, label)
        # Before libsndfile opens the file: both move the same position in it.
        times_bytes, least_frames = claimed_length(kind, raw, size, label)
        handle: Any = raw
        if kind == "MP3" and (header := missing_count(raw, size, start, label)):
            handle = Prefixed(header, raw, start)
        elif isinstance(source, (str, Path)):
            # A descriptor, not a path: libsndfile would let the extension overrule the content,
            # and reading through Python would hold the interpreter's lock.
            handle = raw.fileno()
            os.lseek(handle, 0, os.SEEK_SET)
        else:
            raw.seek(0)
        file: SoundFile
        try:
            if kind in ("M4A", "AAC"):
                counted_s = adts_length_s(raw, size, start, label) if kind == "AAC" else 0.0
                file = stack.enter_context(AacFile(kind, raw, label, counted_s))
            else:
                file = stack.enter_context(_Stream(handle, closefd=False))
        except (Damaged, soundfile.SoundFileError, TypeError, ValueError, OverflowError) as error:
            raise AudioError(
                f"{label} begins like {kind} audio but cannot be read: it is damaged or uses an "
                f"encoding that is not supported; expected {READABLE}."
            ) from error
        if file.format not in _KNOWN:
            raise AudioError(f"{label} is {file.format} audio; expected {READABLE}.")
        low, high = RATES_HZ
        if not low <= file.samplerate <= high:
            raise AudioError(
                f"{label} claims a sample rate of {file.samplerate} Hz; "
                f"expected {low} to {high} Hz."
            )
        if file.frames <= 0:
            raise AudioError(f"{label} contains no audio: its length is 0 samples.")
        yield file, label, max(file.frames * times_bytes, least_frames)


def _open_path(path: Path, label: str) -> IO[bytes]:
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise AudioError(f"{label} is {kind}; expected an audio file ({READABLE}).")
        if not facts.st_size:  # so do files of the kernel, and reading them may never end
            raise AudioError(f"{label} is empty (0 bytes).")
        # Without waiting, should it have become a pipe since.
        return open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except FileNotFoundError:
        raise AudioError(f"There is no file {path}.") from None
    except PermissionError:
        raise AudioError(f"{label} may not be read: permission denied.") from None
    except (OSError, ValueError) as error:
        raise AudioError(f"{label} cannot be opened: {error}.") from None


class _Resampler:
    """Mono blocks at one rate in, at another out."""

    def __init__(self, source_rate_hz: int, sample_rate_hz: int) -> None:
        self._stream = None
        if source_rate_hz != sample_rate_hz:
            self._stream = soxr.ResampleStream(
                source_rate_hz, sample_rate_hz, 1, dtype="float32", quality="HQ"
            )

    def resample(self, mono: np.ndarray) -> np.ndarray:
        return self._stream.resample_chunk(mono) if self._stream else mono

    def rest(self) -> np.ndarray:
        nothing = np.empty(0, np.float32)
        return self._stream.resample_chunk(nothing, last=True) if self._stream else nothing


class _Levels:
    """Whether samples are those of audio: finite, in range, and not silent."""

    def __init__(self, label: str) -> None:
        self._label, self._peak, self._peak_mono = label, 0.0, 0.0

    def checked_mono(self, block: np.ndarray) -> np.ndarray:
        """The mean (n,) of the channels of a block (n, channels).

        Raises:
            AudioError: They are not numbers.
        """
        mono = _mono(block)
        self._peak = max(self._peak, float(block.max()), float(-block.min()))
        self._peak_mono = max(self._peak_mono, float(np.abs(mono).max()))
        # max() passes NaN by: the sum does not.
        if not np.isfinite(mono.sum(dtype=np.float64)):
            raise AudioError(f"{self._label} holds samples that are not numbers (NaN or infinity).")
        return mono

    def check(self) -> None:
        """
        Raises:
            AudioError: They are silent, or their scale is not that of audio.
        """
        if self._peak > LOUDEST:
            raise AudioError(f"{self._label} holds samples up to {self._peak:g}; expected -1 to 1.")
        if self._peak < SILENCE:
            raise AudioError(f"{self._label} is silent: nothing in it is louder than −80 dBFS.")
        if self._peak_mono < SILENCE:
            raise AudioError(
                f"{self._label} is silent as mono: its channels cancel each other out."
            )


def _refuse(sentence: str) -> None:
    raise AudioError(sentence)


def _blocks(
    file: SoundFile, label: str, position: int, end: int, fault: Callable[[str], None]
) -> Iterator[np.ndarray]:
    """Blocks (n, channels) float32 from `position` to `end`, fewer where the content ends early.

    A block is only valid until the next one.
    """
    buffer = np.empty((max(1, BLOCK_VALUES // file.channels), file.channels), np.float32)
    while position < end:
        try:
            block = file.read(out=buffer[: end - position], always_2d=True)
        except (Damaged, soundfile.SoundFileError):
            # The block was lost with the error, so "about".
            fault(
                f"{label} is damaged or truncated: it cannot be decoded beyond about "
                f"{position / file.samplerate:.1f} s of {file.frames / file.samplerate:.1f} s."
            )
            return
        if not len(block):
            return
        position += len(block)
        yield block


def _mono(block: np.ndarray) -> np.ndarray:
    """The mean (n,) of the channels of a block (n, channels)."""
    mono = block[:, 0].copy()
    for channel in range(1, block.shape[1]):  # five times faster than mean(axis=1)
        mono += block[:, channel]
    mono /= block.shape[1]
    return mono


def _excerpt(
    label: str, n_frames: int, rate_hz: int, middle_s: float | None, start_s: float | None
) -> tuple[int, int]:
    """First frame and number of frames of the excerpt."""
    length = n_frames if middle_s is None else min(n_frames, round(middle_s * rate_hz))
    if start_s is None:
        return (n_frames - length) // 2, length
    first = round(start_s * rate_hz)
    if not 0 <= first < n_frames:
        raise AudioError(
            f"{label} lasts {n_frames / rate_hz:.1f} s; an excerpt cannot begin at {start_s:g} s."
        )
    return first, min(length, n_frames - first)


def _check_length(
    file: SoundFile,
    label: str,
    announced: float,
    least_s: float,
    most_s: float | None,
    fault: Callable[[str], None],
) -> None:
    rate_hz = file.samplerate
    seconds = file.frames / rate_hz
    if announced > file.frames + TOLERANCE_S * rate_hz:
        fault(_truncated(label, seconds, announced / rate_hz))
    if seconds < least_s:
        raise AudioError(_too_short(label, seconds, least_s))
    if most_s is not None and seconds > most_s:
        limit = int(most_s * rate_hz)
        n_read = 0
        if file.format not in _SEEKS - {"FLAC"}:  # a compressed file's count is only a claim
            n_read = sum(len(block) for block in _blocks(file, label, 0, limit, fault))
            if n_read < limit - TOLERANCE_S * rate_hz:
                raise AudioError(_truncated(label, n_read / rate_hz, seconds))
        raise AudioError(
            f"{label} lasts {_spoken(seconds)}; at most {_spoken(most_s)} are accepted."
        )


def _check_end(file: SoundFile, label: str) -> None:
    """Refuses a file whose last frame, by its own count, cannot be read."""
    with contextlib.suppress(soundfile.SoundFileError):
        file.seek(file.frames - 1)
        if len(file.read(out=np.empty((1, file.channels), np.float32), always_2d=True)):
            return
    seconds = file.frames / file.samplerate
    raise AudioError(
        f"{label} is truncated or its header is wrong: it announces {_spoken(seconds)} of audio, "
        "but its end cannot be read."
    )


def _too_short(label: str, seconds: float, least_s: float) -> str:
    return f"{label} lasts {seconds:.2f} s; at least {least_s:g} s are needed."


def _fit_length(wave: np.ndarray, n: int) -> np.ndarray:
    """Exactly n samples, cut to [-1, 1]: a resampler's count may be off by a rounding."""
    if len(wave) < n:
        wave = np.concatenate([wave, np.zeros(n - len(wave), np.float32)])
    return np.clip(wave[:n], -1.0, 1.0, out=wave[:n])


def _truncated(label: str, found_s: float, announced_s: float) -> str:
    return (
        f"{label} is truncated or its header is wrong: it announces {_spoken(announced_s)} of "
        f"audio but holds {_spoken(found_s)}."
    )


def _spoken(seconds: float) -> str:
    """Tenths of a second up to two minutes: what is missing of a file is often less than one."""
    return f"{words.decimals(seconds)} s" if seconds < 120 else words.seconds(seconds)
