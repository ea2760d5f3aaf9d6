"""Audio files in, mono waves out: the one decoder that training and serving share.

Whatever a file claims, memory is bounded by what it really holds: it is read in blocks, averaged
to mono and resampled as a stream. Every way in which a file cannot be used is one sentence.

A file is as long as what can be decoded of it: `readers.FFmpegFile` says what coders put before
and behind it. An excerpt from the middle lies in the middle of the announced length where decoding
confirms that, to `TOLERANCE_S`; otherwise the file is read again, by the length that was decoded.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from genrecore import words
from genrecore.audio.ffmpeg import FFmpegFile
from genrecore.audio.formats import FORMATS as FORMATS
from genrecore.audio.formats import RATES_HZ as RATES_HZ
from genrecore.audio.formats import SEEKING, STREAMED, TOLERANCE_S, Damaged
from genrecore.audio.readers import SoundFile, Source, opened
from genrecore.errors import AudioError, DamagedAudioError

SILENCE = 10 ** (-80 / 20)
"""The peak below which a clip is silent: −80 dBFS, three steps of 16 bits; dither lies below it."""

MISSING = 0.02
"""A file is truncated if more than this share of what its header announces is missing (and more
than `TOLERANCE_S`), and damaged if more than this share of it cannot be decoded."""

LOUDEST = 16.0
"""Floating-point files may peak above 1 (hot masters, clipped here); beyond this the scale is not
that of audio (integers stored as floats reach 32 768)."""


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
    source: Source,
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
        DamagedAudioError: It is damaged or truncated, and that is not accepted.
    """

    excerpt = _Excerpt(sample_rate_hz, middle_s, start_s, least_s, most_s, accept_damaged)
    try:
        with opened(source, name, (*SEEKING, *STREAMED)) as (file, label):
            return excerpt.read(file, label)
    except Damaged:  # FFmpeg goes on behind what libsndfile cannot decode
        with opened(source, name, ()) as (file, label), _ending(label):
            return excerpt.read(file, label)


def inspect(source: Source, name: str | None = None) -> Info:
    """Duration (s), sample rate (Hz), channels and format by the header, without decoding.

    Raises:
        AudioError: Not a readable audio file, or visibly truncated.
    """
    with opened(source, name, SEEKING) as (file, label):
        if file.seeks:
            _refuse(_fault(file, label, file.n_frames))
        format_name = f"{file.format}, the sound of a video" if file.has_video else file.format
        seconds = file.n_frames / file.samplerate
        return Info(seconds, file.samplerate, file.channels, format_name)


def outline(
    source: Source, n_most: int, name: str | None = None, accept_damaged: bool = False
) -> np.ndarray:
    """The lowest and the highest sample, mono in [-1, 1], of each of at most `n_most` equal
    stretches of a file: (n, 2) float32. However long the file is, no more than a block of it is in
    memory.

    Raises:
        AudioError: The file cannot be used; damaged as well, unless that is accepted.
    """
    with opened(source, name, STREAMED) as (file, label), _ending(label):
        ends = _outline(file, file.n_frames, n_most)
        n = file.n_decoded
        if n != file.n_frames:  # the header was wrong, or tells nothing
            ends = _outline(file, n, n_most)
        fault = _fault(file, label, n)
        if not accept_damaged:
            _refuse(fault)
    return np.clip(np.nan_to_num(ends), -1.0, 1.0)


@contextlib.contextmanager
def stream(
    source: Source,
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
    with opened(source, name, STREAMED) as (file, label):
        yield Stream(file, label, sample_rate_hz, accept_damaged)


class Stream:
    """A file that is being decoded.

    Attributes:
        source_rate_hz: Sample rate of the file.
        n_channels: Its channels.
        duration_s: How much has been decoded, in seconds; after the last block, of the file.
        warning: After the last block, one sentence where the file is damaged, otherwise empty.
    """

    def __init__(
        self, file: AnyFile, label: str, sample_rate_hz: int, accept_damaged: bool
    ) -> None:
        self._file, self._label = file, label
        self._sample_rate_hz, self._accept_damaged = sample_rate_hz, accept_damaged
        self.source_rate_hz, self.n_channels = file.samplerate, file.channels
        self.duration_s, self.warning = 0.0, ""

    @property
    def announced_s(self) -> float:
        """The length that the file announces, in seconds, or about: for progress only."""
        return self._file.n_frames / self.source_rate_hz

    def blocks(self) -> Iterator[np.ndarray]:
        """Blocks (n,) float32 mono in [-1, 1], in order; each call begins anew.

        Raises:
            AudioError: The file cannot be used: damaged, unless that is accepted; silent; or its
                samples are not audio.
        """
        resampler = _Resampler(self.source_rate_hz, self._sample_rate_hz)
        levels = _Levels(self._label)
        n_kept = round(2 * TOLERANCE_S * self._sample_rate_hz)  # only the end tells what is padding
        waiting, n = bytearray(), 0
        with _ending(self._label):
            for block in self._file.blocks():
                self.duration_s = self._file.n_decoded / self.source_rate_hz
                waiting += resampler.resample(levels.checked_mono(block)).data
                n_ready = len(waiting) // 4 - n_kept
                if n_ready > 0:
                    yield _fit_length(waiting[: 4 * n_ready], n_ready)
                    del waiting[: 4 * n_ready]
                    n += n_ready
        waiting += resampler.rest().data
        self.duration_s = self._file.n_decoded / self.source_rate_hz
        n_left = round(self.duration_s * self._sample_rate_hz) - n
        if n_left > 0:
            yield _fit_length(waiting, n_left)
        fault = _fault(self._file, self._label, self._file.n_decoded)
        if not self._accept_damaged:
            _refuse(fault)
        levels.check()
        self.warning = fault or _video_note(self._file, self._label)


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


AnyFile = SoundFile | FFmpegFile


@dataclass(frozen=True)
class _Excerpt:
    """What is wanted of a file: the arguments of `decode`."""

    sample_rate_hz: int
    middle_s: float | None
    start_s: float | None
    least_s: float
    most_s: float | None
    accept_damaged: bool

    def read(self, file: AnyFile, label: str) -> Decoded:
        """
        Raises:
            AudioError: As `decode` does.
            Damaged: This reader cannot go on.
        """
        rate_hz = file.samplerate
        n_wanted = None if self.middle_s is None else round(self.middle_s * rate_hz)
        in_middle = n_wanted is not None and self.start_s is None
        n_frames = file.n_frames if in_middle or file.seeks else 0
        if file.seeks:
            self._check_most(label, n_frames / rate_hz)
        for _ in range(2):
            first = self._first(n_frames, n_wanted, rate_hz)
            end = None if n_wanted is None else first + n_wanted
            wave, levels = self._decoded(file, label, first, end)
            if file.seeks:
                break
            n_frames = file.n_decoded
            if abs(self._first(n_frames, n_wanted, rate_hz) - first) <= TOLERANCE_S * rate_hz:
                break
        fault = _fault(file, label, n_frames)
        if not self.accept_damaged:
            _refuse(fault)
        seconds = n_frames / rate_hz
        if seconds < self.least_s:
            raise AudioError(
                f"{label} lasts {seconds:.2f} s; at least {self.least_s:g} s are needed."
            )
        if first >= n_frames:
            raise AudioError(
                f"{label} lasts {seconds:.1f} s; an excerpt cannot begin at {first / rate_hz:g} s."
            )
        levels.check()
        n_taken = min(n_frames, n_frames if end is None else end) - first
        taken_s = n_taken / rate_hz
        if self.middle_s is not None and n_taken == n_wanted:
            taken_s = self.middle_s
        return Decoded(
            wave=_fit_length(wave, round(taken_s * self.sample_rate_hz)),
            duration_s=seconds,
            source_rate_hz=rate_hz,
            n_channels=file.channels,
            start_s=first / rate_hz,
            warning=fault or _video_note(file, label),
        )

    def _first(self, n_frames: int, n_wanted: int | None, rate_hz: int) -> int:
        """The frame at which the excerpt begins."""
        if self.start_s is not None:
            return round(self.start_s * rate_hz)
        return 0 if n_wanted is None else max(0, (n_frames - n_wanted) // 2)

    def _decoded(
        self, file: AnyFile, label: str, first: int, end: int | None
    ) -> tuple[bytearray, _Levels]:
        """The frames from `first` to `end` as float32, and their levels."""
        rate_hz = file.samplerate
        resampler, levels = _Resampler(rate_hz, self.sample_rate_hz), _Levels(label)
        wave = bytearray()  # grows in place: no second copy at the end
        for block in file.blocks(first, end):
            self._check_most(label, file.n_decoded / rate_hz)
            wave += resampler.resample(levels.checked_mono(block)).data
        wave += resampler.rest().data
        self._check_most(label, file.n_decoded / rate_hz)
        return wave, levels

    def _check_most(self, label: str, seconds: float) -> None:
        if self.most_s is not None and seconds > self.most_s:
            raise AudioError(
                f"{label} lasts {_spoken(seconds)} or more; at most {_spoken(self.most_s)} are "
                "accepted."
            )


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
            AudioError: They are not numbers, or their scale is not that of audio.
        """
        mono = _mono(block)
        peak = peak_mono = max(float(mono.max()), -float(mono.min()))
        if block.shape[1] > 1:
            peak = max(float(block.max()), -float(block.min()))
        if not np.isfinite(peak):  # of an array with NaN, numpy's maximum is NaN
            raise AudioError(f"{self._label} holds samples that are not numbers (NaN or infinity).")
        if peak > LOUDEST:  # at once: a resampler makes infinity of numbers near the largest
            raise AudioError(f"{self._label} holds samples up to {peak:g}; expected -1 to 1.")
        self._peak = max(self._peak, peak)
        self._peak_mono = max(self._peak_mono, peak_mono)
        return mono

    def check(self) -> None:
        """
        Raises:
            AudioError: They are silent.
        """
        if self._peak < SILENCE:
            raise AudioError(f"{self._label} is silent: nothing in it is louder than −80 dBFS.")
        if self._peak_mono < SILENCE:
            raise AudioError(
                f"{self._label} is silent as mono: its channels cancel each other out."
            )


def _outline(file: AnyFile, n_frames: int, n_most: int) -> np.ndarray:
    """The outline (n, 2) of the first `n_frames`."""
    position = 0
    starts = np.linspace(0, n_frames, min(n_most, n_frames), False).astype(np.int64)
    ends = np.zeros((len(starts), 2), np.float32)
    for block in file.blocks():
        mono = _mono(block)[: max(0, n_frames - position)]
        first = int(np.searchsorted(starts, position, "right")) - 1
        last = int(np.searchsorted(starts, position + len(mono)))
        if len(mono):
            inside = np.maximum(starts[first:last] - position, 0)
            low, high = ends[first:last].T
            np.minimum(low, np.minimum.reduceat(mono, inside), out=low)
            np.maximum(high, np.maximum.reduceat(mono, inside), out=high)
        position += len(block)
    return ends


def _mono(block: np.ndarray) -> np.ndarray:
    """The mean (n,) of the channels of a block (n, channels)."""
    mono = block[:, 0].copy()
    with np.errstate(over="ignore", invalid="ignore"):  # what is no number is refused later
        for channel in range(1, block.shape[1]):  # five times faster than mean(axis=1)
            mono += block[:, channel]
    mono /= block.shape[1]
    return mono


def _fit_length(wave: bytearray, n: int) -> np.ndarray:
    """Exactly n samples, cut to [-1, 1]: a resampler's count may be off by a rounding."""
    samples = np.frombuffer(wave, np.float32)
    if len(samples) < n:
        samples = np.concatenate([samples, np.zeros(n - len(samples), np.float32)])
    return np.clip(samples[:n], -1.0, 1.0, out=samples[:n])


def _fault(file: AnyFile, label: str, n_frames: int) -> str:
    """What is wrong with a file of which `n_frames` were decoded, as a sentence; empty if nothing
    is."""
    rate_hz = file.samplerate
    held = _spoken(n_frames / rate_hz)
    if file.announced - n_frames > max(MISSING * file.announced, TOLERANCE_S * rate_hz):
        announced = _spoken(file.announced / rate_hz)
        return (
            f"{label} is truncated or its header is wrong: it announces {announced} of audio but "
            f"holds {held}."
        )
    if file.lost_s > max(MISSING * n_frames / rate_hz, TOLERANCE_S / 2):  # a packet is none
        return f"{label} is damaged: {_spoken(file.lost_s)} between its {held} cannot be decoded."
    return (
        f"{label} is truncated: it stops in the middle of a packet, after {held}."
        if file.is_cut
        else ""
    )


def _refuse(fault: str) -> None:
    if fault:
        raise DamagedAudioError(fault)


def _video_note(file: AnyFile, label: str) -> str:
    return f"{label} is a video; its sound was taken." if file.has_video else ""


@contextlib.contextmanager
def _ending(label: str) -> Iterator[None]:
    """A reader that cannot go on, though no other can, as an error for people."""
    try:
        yield
    except Damaged as error:
        raise AudioError(f"{label} is damaged: it cannot be decoded to its end.") from error


def _spoken(seconds: float) -> str:
    """Tenths of a second up to two minutes: what is missing of a file is often less than one."""
    return f"{words.decimals(seconds)} s" if seconds < 120 else words.seconds(seconds)
