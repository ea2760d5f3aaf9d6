"""Files of every format, against FFmpeg's command, which reads them by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genrecore.audio.decode import decode, inspect, stream
from genrecore.audio.formats import FORMATS

FFMPEG = shutil.which("ffmpeg")
needs_ffmpeg = pytest.mark.skipif(
    FFMPEG is None and "CI" not in os.environ, reason="ffmpeg is not installed"
)

# What FFmpeg's command is told to write: ending → arguments, sample rates, most channels.
PCM = (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000)
WRITTEN: dict[str, tuple[list[str], tuple[int, ...], int]] = {
    "u8.wav": (["-c:a", "pcm_u8"], PCM, 8),
    "s16.wav": (["-c:a", "pcm_s16le"], PCM, 8),
    "s24.wav": (["-c:a", "pcm_s24le"], PCM, 8),
    "f32.wav": (["-c:a", "pcm_f32le"], PCM, 8),
    "f64.wav": (["-c:a", "pcm_f64le"], PCM, 8),
    "alaw.wav": (["-c:a", "pcm_alaw"], PCM, 2),
    "ima.wav": (["-c:a", "adpcm_ima_wav"], PCM, 2),
    "ms.wav": (["-c:a", "adpcm_ms"], PCM, 2),
    "mp3.wav": (["-c:a", "libmp3lame"], (16_000, 22_050, 44_100, 48_000), 2),
    "rf64.wav": (["-rf64", "always"], PCM, 8),
    "s16.aiff": ([], PCM, 8),
    "s24.aif": (["-c:a", "pcm_s24be"], PCM, 8),
    "s16.au": ([], PCM, 8),
    "mulaw.au": (["-c:a", "pcm_mulaw"], PCM, 2),
    "a.w64": ([], PCM, 8),
    "a.caf": (["-c:a", "pcm_s16be"], PCM, 8),
    "alac.caf": (["-c:a", "alac"], PCM, 2),
    "a.voc": (["-c:a", "pcm_s16le"], PCM, 2),
    "a.flac": ([], PCM, 8),
    "s24.flac": (["-sample_fmt", "s32"], PCM, 8),
    "a.wv": ([], PCM, 8),
    "a.tta": ([], PCM, 8),
    "alac.m4a": (["-c:a", "alac"], PCM, 2),
    "aac.m4a": (["-c:a", "aac"], (16_000, 22_050, 44_100, 48_000), 6),
    "aac.mp4": (["-c:a", "aac"], (22_050, 44_100, 48_000), 2),
    "aac.mov": (["-c:a", "aac"], (22_050, 44_100), 2),
    "a.aac": (["-c:a", "aac"], (16_000, 22_050, 44_100, 48_000), 6),
    "a.mp3": ([], (8_000, 16_000, 22_050, 32_000, 44_100, 48_000), 2),
    "vbr.mp3": (["-q:a", "4"], (22_050, 44_100), 2),
    "plain.mp3": (["-write_xing", "0"], (22_050, 44_100), 2),
    "a.mp2": ([], (16_000, 32_000, 44_100, 48_000), 2),
    "vorbis.ogg": (["-c:a", "libvorbis"], (8_000, 22_050, 44_100, 48_000), 6),
    "flac.oga": (["-c:a", "flac"], PCM, 8),
    "a.opus": ([], (8_000, 16_000, 48_000), 2),
    "a.spx": (["-c:a", "libspeex"], (8_000, 16_000, 32_000), 2),
    "opus.webm": (["-c:a", "libopus"], (48_000,), 2),
    "vorbis.mka": (["-c:a", "libvorbis"], (22_050, 44_100), 2),
    "flac.mkv": (["-c:a", "flac"], (22_050, 44_100), 8),
    "a.wma": ([], (22_050, 44_100), 2),
    "a.ac3": ([], (32_000, 44_100, 48_000), 6),
    "a.eac3": ([], (32_000, 44_100, 48_000), 6),
    "a.dts": (["-strict", "-2"], (44_100, 48_000), 6),
}
PIPED = ("wav", "flac", "au", "webm", "mp3", "adts", "mp4")
LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 8: "7.1"}


def music(seconds: float, rate_hz: int, channels: int, seed: int) -> np.ndarray:
    """Tones and a little noise (n, channels), other ones in each channel."""
    generator = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * rate_hz))[:, None] / rate_hz
    tones = np.sin(2 * np.pi * generator.uniform(200, 1500, channels) * time_s)
    return (0.2 * tones + 0.02 * generator.standard_normal(tones.shape)).astype(np.float32)


def ffmpeg(*arguments: str, content: bytes = b"") -> bytes:
    command = [str(FFMPEG), "-v", "error", "-y", *arguments]
    return subprocess.run(command, input=content, capture_output=True, check=True).stdout


def written(wave: np.ndarray, rate_hz: int, *arguments: str) -> bytes:
    """What FFmpeg's command makes of a wave."""
    channels = wave.shape[1]
    raw = ["-f", "f32le", "-ar", str(rate_hz), "-ac", str(channels)]
    layout = ["-channel_layout", LAYOUTS[channels]]
    return ffmpeg(*raw, *layout, "-i", "-", *arguments, content=wave.tobytes())


def read_by_ffmpeg(path: Path, channels: int) -> np.ndarray:
    """The mean of the channels (n,) as FFmpeg's command decodes them."""
    raw = ffmpeg("-i", str(path), "-map", "0:a:0", "-f", "f32le", "-")
    return np.frombuffer(raw, np.float32).reshape(-1, channels).mean(axis=1)


def decibels(wave: np.ndarray) -> float:
    return float(10 * np.log10((wave.astype(np.float64) ** 2).mean()))


def check(path: Path, channels: int) -> None:
    """Length within a frame of the coder, level within 0.05 dB, the same samples in a stream."""
    info = inspect(path)
    rate_hz = info.sample_rate_hz
    expected = read_by_ffmpeg(path, channels)
    decoded = decode(path, rate_hz, least_s=0.0)
    assert decoded.n_channels == channels
    assert (decoded.source_rate_hz, decoded.warning) == (rate_hz, "")
    frame = 2048 if ("aac" in info.format or "wma" in info.format) else 1152
    n = len(decoded.wave)
    assert abs(n - len(expected)) <= max(frame, rate_hz / 1000), (n, len(expected), info)
    n = min(n, len(expected))
    assert decibels(decoded.wave[:n]) == pytest.approx(decibels(expected[:n]), abs=0.05), info
    with stream(path, rate_hz) as opened:
        np.testing.assert_array_equal(np.concatenate(list(opened.blocks())), decoded.wave)


@st.composite
def recordings(draw: st.DrawFn) -> tuple[str, int, int, float, int]:
    name = draw(st.sampled_from(sorted(WRITTEN)))
    _, rates, most = WRITTEN[name]
    channels = draw(
        st.sampled_from([n for n in LAYOUTS if n <= most and (most == 8 or n in (1, 2, 6))])
    )
    seconds = draw(st.floats(1.05, 3.0))
    return name, draw(st.sampled_from(rates)), channels, seconds, draw(st.integers(0, 99))


def written_and_checked(recording: tuple[str, int, int, float, int]) -> None:
    name, rate_hz, channels, seconds, seed = recording
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        written(music(seconds, rate_hz, channels, seed), rate_hz, *WRITTEN[name][0], str(path))
        check(path, channels)


QUIET: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.mark.slow
@needs_ffmpeg
@given(recordings())
@settings(max_examples=12, derandomize=True, **QUIET)
def test_length_and_level_are_those_of_ffmpegs_command(recording: Any) -> None:
    written_and_checked(recording)


@pytest.mark.long
@needs_ffmpeg
@given(recordings())
@settings(max_examples=600, **QUIET)
def test_length_and_level_are_those_of_ffmpegs_command_widely(recording: Any) -> None:
    written_and_checked(recording)


@needs_ffmpeg
@pytest.mark.parametrize("name", PIPED)
def test_what_was_written_to_a_pipe_is_read_to_its_end(tmp_path: Path, name: str) -> None:
    how = ["-movflags", "frag_keyframe+empty_moov"] if name == "mp4" else []
    content = written(music(3.1, 44_100, 2, 1), 44_100, *how, "-f", name, "-")
    path = tmp_path / "piped"
    path.write_bytes(content)
    check(path, 2)
    middle = decode(path, 22_050, middle_s=1.0)
    assert len(middle.wave) == 22_050
    assert middle.start_s == pytest.approx((middle.duration_s - 1) / 2, abs=0.06)


def test_every_ending_is_written_by_a_test_or_named_here() -> None:
    endings = {f".{name.rsplit('.', 1)[1]}" for name in WRITTEN}
    # Of the same content as another, or nothing here writes them.
    others = {".aifc", ".snd", ".rf64", ".m4b", ".3gp", ".ape", ".mpc", ".amr"}
    assert set(FORMATS) == endings | others
