"""What probes do to a clip: nothing that makes it another genre, each a trick's undoing.

Every probe takes a wave (n_samples,) float32 in [-1, 1], its sample rate and a seed, and gives a
wave of as many samples. Music that became shorter begins again rather than ending in silence, which
would be a trick of its own. Nothing is cut off at full scale.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from genrecore.config.registry import Registry


@dataclass(frozen=True)
class ProbeFacts:
    """`reveals` says what a run that loses by the probe has listened to."""

    reveals: str


PROBES = Registry("probe", ProbeFacts)
"""Probes by name: `f(wave, sample_rate_hz, seed) -> wave`."""

_FILTER = "Butterworth's filter, scipy.signal.butter"
_MP3_KBIT = 64


def change(name: str, wave: np.ndarray, sample_rate_hz: int, seed: int) -> np.ndarray:
    """A wave as a probe changes it, float32 and as long as before.

    Raises:
        UsageError: There is no such probe.
    """
    changed: Callable[[np.ndarray, int, int], np.ndarray] = PROBES[name].thing
    made = changed(wave, sample_rate_hz, seed)
    return np.resize(made, len(wave)).astype(np.float32, copy=False)  # cut, or begun again


@PROBES.register("quieter", title="10 dB quieter", reveals="the level of the recording")
def _quieter(wave: np.ndarray, sample_rate_hz: int, seed: int) -> np.ndarray:
    return wave * np.float32(10 ** (-10 / 20))


@PROBES.register("louder", title="6 dB louder", reveals="the level of the recording")
def _louder(wave: np.ndarray, sample_rate_hz: int, seed: int) -> np.ndarray:
    return wave * np.float32(10 ** (6 / 20))


@PROBES.register(
    "bass",
    title="Bass raised by 9 dB",
    source="Bristow-Johnson's peaking filter at 100 Hz",
    reveals="how much bass a recording was given",
)
def _bass(wave: np.ndarray, sample_rate_hz: int, seed: int) -> np.ndarray:
    return _equalised(wave, sample_rate_hz, 100.0, 9.0)


@PROBES.register(
    "treble",
    title="Treble lowered by 9 dB",
    source="Bristow-Johnson's peaking filter at 5 kHz",
    reveals="how bright a recording is",
)
def _treble(wave: np.ndarray, sample_rate_hz: int, seed: int) -> np.ndarray:
    return _equalised(wave, sample_rate_hz, 5000.0, -9.0)


def _equalised(
    wave: np.ndarray, sample_rate_hz: int, middle_hz: float, gain_db: float
) -> np.ndarray:
    import torch

    from genrecore.audio import effects

    given = torch.from_numpy(np.ascontiguousarray(wave))[None]
    middle, gain = torch.tensor([middle_hz]), torch.tensor([gain_db])
    return effects.peaking(given, sample_rate_hz, middle, gain, quality=0.7)[0].numpy()


@PROBES.register(
    "low_pass",
    title="Nothing above 4 kHz",
    source=_FILTER,
    reveals="what lies above 4 kHz, where encoders and old recordings leave their mark",
)
def _low_pass(wave: np.ndarray, sample_rate_hz: int, seed: int) -> np.ndarray:
    return _filtered(wave, sample_rate_hz, 4000.0, "lowpass")


@PROBES.register(
    "high_pass",
    title="Nothing below 200 Hz",
    source=_FILTER,
    reveals="what lies below 200 Hz: bass, but hum and rumble too",
)
def _high_pass(wave: np.ndarray, sample_rate_hz: int, seed: int) -> np.ndarray:
    return _filtered(wave, sample_rate_hz, 200.0, "highpass")


def _filtered(wave: np.ndarray, sample_rate_hz: int, cutoff_hz: float, kind: str) -> np.ndarray:
    from scipy import signal  # half a second that reading results does without

    sections = signal.butter(8, cutoff_hz, kind, fs=sample_rate_hz, output="sos")
    return signal.sosfilt(sections, wave)


@PROBES.register(
    "mp3",
    title="MP3 at 64 kbit/s",
    source="LAME, by way of libsndfile; mono, at the run's sample rate",
    reveals="traces of how a file was encoded",
)
def mp3(wave: np.ndarray, sample_rate_hz: int, seed: int) -> np.ndarray:
    """The wave written as MP3 and read again."""
    import soundfile

    peak = max(1.0, float(np.abs(wave).max(initial=0.0)))  # an encoder cuts off at full scale
    file = io.BytesIO()
    soundfile.write(
        file,
        wave / peak,
        sample_rate_hz,
        "MPEG_LAYER_III",
        format="MP3",
        bitrate_mode="CONSTANT",
        compression_level=_compression(sample_rate_hz),
    )
    file.seek(0)
    made, _ = soundfile.read(file, dtype="float32")
    return made * np.float32(peak)


def _compression(sample_rate_hz: int) -> float:
    """What libsndfile takes for 64 kbit/s: a place between the rates that its MP3 can have."""
    low, high = (32, 320) if sample_rate_hz >= 32_000 else (0, 160)
    return (high - _MP3_KBIT) / (high - low)


@PROBES.register("slower", title="Tempo 6 % slower", reveals="the exact tempo")
def _slower(wave: np.ndarray, sample_rate_hz: int, seed: int) -> np.ndarray:
    return _stretched(wave, 0.94)


@PROBES.register("faster", title="Tempo 6 % faster", reveals="the exact tempo")
def _faster(wave: np.ndarray, sample_rate_hz: int, seed: int) -> np.ndarray:
    return _stretched(wave, 1.06)


def _stretched(wave: np.ndarray, rate: float) -> np.ndarray:
    import torch

    from genrecore.audio import effects

    given = torch.from_numpy(np.ascontiguousarray(wave))[None]
    return effects.time_stretch(given, [rate])[0].numpy()


@PROBES.register("lower", title="1 semitone lower", reveals="exact pitches")
def _lower(wave: np.ndarray, sample_rate_hz: int, seed: int) -> np.ndarray:
    return _shifted(wave, -1.0)


@PROBES.register("higher", title="1 semitone higher", reveals="exact pitches")
def _higher(wave: np.ndarray, sample_rate_hz: int, seed: int) -> np.ndarray:
    return _shifted(wave, 1.0)


def _shifted(wave: np.ndarray, semitones: float) -> np.ndarray:
    import torch

    from genrecore.audio import effects

    given = torch.from_numpy(np.ascontiguousarray(wave))[None]
    return effects.pitch_shift(given, [semitones])[0].numpy()


@PROBES.register(
    "noise",
    title="White noise 20 dB below",
    reveals="silence: how quiet the quietest sounds are",
)
def _noise(wave: np.ndarray, sample_rate_hz: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed).standard_normal(len(wave), dtype=np.float32)
    level = float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) if len(wave) else 0.0
    return wave + np.float32(level * 10 ** (-20 / 20)) * random
