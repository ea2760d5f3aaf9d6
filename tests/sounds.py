"""A tone, and noises and sentences on which no run was trained and no threshold was set."""

from __future__ import annotations

import io
import os
import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from scipy import signal

RATE_HZ = 22_050

_SENTENCES = (
    "The train to the north leaves from platform four in ten minutes",
    "Nobody knew where the old map had come from, or who had drawn it",
    "Please leave your coats in the hall and your shoes by the door",
    "Four hundred people waited in the rain for the doors to open",
    "If the weather holds we shall walk to the lighthouse tomorrow",
)
_VOICES = ("en-gb", "en-us+f2", "de", "fr+m3", "es", "it+f4", "en-gb-scotland", "pt", "nl+m7", "sv")


def falling_tone(seconds: float, rate_hz: int = 22_051) -> bytes:
    """A falling tone as a wav file."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    stream = io.BytesIO()
    soundfile.write(stream, 0.5 * np.sin(2e3 * t * (3 - t / seconds)), rate_hz, format="WAV")
    return stream.getvalue()


def noises(n: int, seconds: float = 6.0, seed: int = 11) -> list[np.ndarray]:
    """n noises in turns of ten kinds, each (n_samples,) float32 at `RATE_HZ`."""
    generator = np.random.default_rng(seed)
    size = round(seconds * RATE_HZ)
    return [_noise(k % 10, size, generator) for k in range(n)]


def _noise(kind: int, n: int, generator: np.random.Generator) -> np.ndarray:
    white = generator.standard_normal(n)
    t = np.arange(n) / RATE_HZ
    if kind < 4:  # white, pink, brown, blue
        wave = _coloured(white, (0, -1, -2, 1)[kind])
    elif kind == 4:  # a band of it
        low_hz = generator.uniform(150, 1800)
        wave = _filtered(white, [low_hz, low_hz * generator.uniform(2.5, 5)], "band")
    elif kind == 5:  # wind
        slow = 1 + 0.7 * np.sin(2 * np.pi * generator.uniform(0.1, 0.4) * t)
        wave = _coloured(white, -1) * slow
    elif kind == 6:  # rain
        wave = np.zeros(n)
        drops = generator.integers(0, n, int(generator.uniform(800, 3500) * n / RATE_HZ))
        wave[drops] = generator.standard_normal(len(drops))
        wave = signal.lfilter([1], [1, -0.7], wave) + 0.05 * white
    elif kind == 7:  # a mains hum in hiss
        hum = sum(np.sin(2 * np.pi * 50 * k * t) / k for k in range(1, 8))
        wave = 0.3 * hum + 0.5 * white
    elif kind == 8:  # behind a wall
        wave = _filtered(white, generator.uniform(1200, 4500), "low")
    else:  # a bad contact
        gate = generator.random(n // 900 + 1) > 0.25
        wave = white * np.repeat(gate, 900)[:n]
    level = generator.uniform(0.05, 0.9)
    return (level * wave / np.abs(wave).max()).astype(np.float32)


def _coloured(white: np.ndarray, exponent: float) -> np.ndarray:
    frequency = np.fft.rfftfreq(len(white))
    frequency[0] = frequency[1]
    return np.fft.irfft(np.fft.rfft(white) * frequency ** (exponent / 2), len(white))


def _filtered(wave: np.ndarray, edges_hz: object, kind: str) -> np.ndarray:
    return signal.sosfilt(signal.butter(5, edges_hz, kind, fs=RATE_HZ, output="sos"), wave)


def sentences(n: int) -> list[np.ndarray]:
    """n sentences spoken by espeak-ng in ten voices, each (n_samples,) float32 at `RATE_HZ`."""
    program = shutil.which("espeak-ng")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("espeak-ng is missing, and CI must not skip the sentences")
        pytest.skip("no espeak-ng: 'apt-get install espeak-ng' gives the sentences")
    spoken = []
    for k in range(n):
        voice = ["-v", _VOICES[k % 10], "-p", str(30 + 7 * k % 40), "-s", str(135 + 11 * k % 60)]
        text = _SENTENCES[k // 10 % 5]
        spoken_wav = subprocess.run(
            [program, *voice, "--stdout", text], capture_output=True, check=True
        )
        wave, rate_hz = soundfile.read(io.BytesIO(spoken_wav.stdout), dtype="float32")
        assert rate_hz == RATE_HZ
        spoken.append(wave)
    return spoken
