"""Excerpts of recordings as pages play and draw them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from genrecore.audio import decode as audio
from genrecore.audio.spectra import log_mel_image
from genrecore.reporting import plots
from genrecore.ui.parts.cache import cached_by_files, no_files
from genrecore.ui.parts.frame import chart


@dataclass(frozen=True)
class AudioSource:
    """A path, or the bytes of an upload; `key` names all of it, `genre` is empty for an upload."""

    key: str
    name: str
    genre: str
    content: str | bytes


@dataclass(frozen=True)
class SoundExcerpt:
    """A part of a recording.

    Attributes:
        name: Of the recording.
        genre: Its label; empty for an upload.
        wave: (n_samples,) float32 in [-1, 1].
        sample_rate_hz: Of the wave.
        start_s: Where in the recording it begins.
        total_s: How long the whole recording is.
        key: Names the wave; made from it.
    """

    name: str
    genre: str
    wave: np.ndarray
    sample_rate_hz: int
    start_s: float = 0.0
    total_s: float = 0.0
    key: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(self.wave.tobytes()).hexdigest()
        object.__setattr__(self, "key", f"{digest}|{self.sample_rate_hz}")

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.wave) / self.sample_rate_hz

    def with_wave(self, wave: np.ndarray) -> SoundExcerpt:
        """The same with a changed wave."""
        return replace(self, wave=wave)


def source_of(clip: pd.Series) -> AudioSource:
    """The recording of a row of a clip table."""
    path, clip_id, genre = str(clip["path"]), str(clip["clip_id"]), str(clip["genre"])
    return AudioSource(f"{path}|{clip_id}|{genre}", clip_id, genre, path)


def _files(source: AudioSource, *_: object) -> list[Path]:
    return [Path(source.content)] if isinstance(source.content, str) else []


@cached_by_files(_files, spinner="Decoding …", max_entries=40, shared=True)
def cut(
    source: AudioSource, start_s: float | None, length_s: float, sample_rate_hz: int
) -> SoundExcerpt:
    """An excerpt of a recording; without `start_s` its middle.

    Raises:
        AudioError: It cannot be used, and why.
    """
    name = source.name
    if start_s is not None and (start_s > 0.0 or length_s < duration_s(source)):
        name += f", seconds {start_s:.1f} to {start_s + length_s:.1f},"
    # A dataset's clips are of any length; an upload has the decoder's usual limits.
    is_path = isinstance(source.content, str)
    limits: dict[str, Any] = {"least_s": 0.0, "most_s": None} if is_path else {}
    decoded = audio.decode(
        source.content, sample_rate_hz, name=name, start_s=start_s, middle_s=length_s, **limits
    )
    return SoundExcerpt(
        source.name, source.genre, decoded.wave, sample_rate_hz, decoded.start_s, decoded.duration_s
    )


@cached_by_files(_files)
def duration_s(source: AudioSource) -> float:
    """How long a recording is by its header.

    Raises:
        AudioError: It cannot be read.
    """
    return audio.inspect(source.content, source.name).duration_s


def play(wave: np.ndarray, sample_rate_hz: int, now: bool = False) -> None:
    """A player; what is louder than full scale is made quieter instead of being cut off."""
    peak = float(np.abs(wave).max(initial=0.0))
    st.audio(
        audio.to_wav_bytes(wave / max(1.0, peak), sample_rate_hz), format="audio/wav", autoplay=now
    )


def draw_wave_and_mel(excerpt: SoundExcerpt, name: str) -> None:
    """Waveform and mel spectrogram; `name` names the charts on the page."""
    chart(plots.waveform(excerpt.wave, excerpt.sample_rate_hz), f"{name}_wave")
    chart(plots.mel_spectrogram(*_mel_image(excerpt)), f"{name}_mel")


@cached_by_files(no_files, spinner="Computing the spectrogram …", max_entries=24, shared=True)
def _mel_image(excerpt: SoundExcerpt) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return log_mel_image(excerpt.wave, excerpt.sample_rate_hz)
