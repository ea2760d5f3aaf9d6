"""Files that real programs write, and contents that none should: what becomes of them."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_audio import RATE_HZ, noise, tone
from test_audio_aac import encode

from genrecore.audio.decode import decode, inspect, outline, stream
from genrecore.audio.ffmpeg import BLOCK_VALUES
from genrecore.audio.readers import opened
from genrecore.errors import AudioError

SECONDS = {
    "WAV_NMS_ADPCM_32.wav": 13.8,
    "mp3_two_joined_by_cat.mp3": 9.1,
    "ogg_chained_vorbis.ogg": 9.0,
}


def odd_files(real_data: Path) -> list[Path]:
    return sorted((real_data / "odd_audio").iterdir())


@pytest.mark.slow
def test_every_odd_file_is_read_to_its_end(real_data: Path, capfd: Any) -> None:
    for path in odd_files(real_data):
        for source in (path, path.read_bytes()):
            decoded = decode(source, RATE_HZ, name=path.name)
            expected_s = SECONDS.get(path.name, 5.0)
            # Coders put up to 0.1 s before and behind where the file does not say how much.
            assert decoded.duration_s == pytest.approx(expected_s, abs=0.1), path.name
            assert decoded.warning == ""
            level = 20 * np.log10(np.sqrt((decoded.wave**2).mean()))
            assert level == pytest.approx(-19.6, abs=0.8), path.name  # GSM is the quietest
            middle = decode(source, RATE_HZ, middle_s=2.0, name=path.name)
            assert middle.start_s == pytest.approx((decoded.duration_s - 2) / 2, abs=0.11)
            with stream(source, RATE_HZ) as opened:
                np.testing.assert_array_equal(np.concatenate([*opened.blocks()]), decoded.wave)
            assert outline(source, 50).shape == (50, 2)
            assert inspect(source).duration_s > 0
    assert capfd.readouterr() == ("", "")  # no decoder says anything by itself


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_the_links_of_a_chain_may_have_other_rates_and_channels(subtype: str) -> None:
    chain = b""
    for seconds, rate_hz, channels in ((2.0, 48_000, 2), (3.0, 24_000, 1), (1.5, 16_000, 2)):
        file = io.BytesIO()
        soundfile.write(file, tone(seconds, rate_hz, channels), rate_hz, subtype, format="OGG")
        chain += file.getvalue()
    decoded = decode(chain, 48_000)
    assert (decoded.n_channels, decoded.warning) == (2, "")
    assert decoded.duration_s == pytest.approx(6.5, abs=0.02)  # the coders' blocks
    for start_s in (0.5, 3.0, 5.5):  # in each link the same tone
        part = decoded.wave[round(start_s * 48_000) :][:24_000]
        assert np.abs(np.fft.rfft(part)).argmax() * 2 == 440
        assert np.sqrt((part**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    assert decode(chain, 48_000, middle_s=2.0).start_s == pytest.approx(2.25, abs=0.06)
    with pytest.raises(AudioError, match="is truncated"):
        decode(chain[:-99], 48_000)


def tune(seconds: float, rate_hz: int, channels: int, hz: int) -> np.ndarray:
    times_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return 0.5 * np.repeat(np.sin(2 * np.pi * hz * times_s)[:, None], channels, 1)


@pytest.mark.parametrize("rates_hz", [(44_100, 44_100), (22_050, 44_100), (44_100, 22_050)])
@pytest.mark.parametrize("kind", ["FLAC", "WAV", "wv", "tta"])
def test_joined_files_are_read_to_their_end(kind: str, rates_hz: tuple[int, int]) -> None:
    content = b""
    for rate_hz, seconds, channels, hz in zip(
        rates_hz, (2.0, 3.0), (1, 2), (440, 880), strict=True
    ):
        wave = tune(seconds, rate_hz, channels, hz)
        if kind in ("FLAC", "WAV"):
            file = io.BytesIO()
            soundfile.write(file, wave, rate_hz, "PCM_16", format=kind)
            content += file.getvalue()
        else:
            codec, form = {"wv": ("wavpack", "s16p"), "tta": ("tta", "s16")}[kind]
            content += encode(wave, rate_hz, kind, codec, form=form)
    decoded = decode(content, RATE_HZ)
    assert (decoded.duration_s, decoded.source_rate_hz) == (
        pytest.approx(5.0, abs=1e-3),
        rates_hz[0],
    )
    assert (decoded.n_channels, decoded.warning) == (1, "")
    for start_s, hz in ((0.5, 440), (2.5, 880), (4.0, 880)):
        part = decoded.wave[round(start_s * RATE_HZ) :][: RATE_HZ // 2]
        assert np.abs(np.fft.rfft(part)).argmax() * 2 == hz
        assert np.sqrt((part**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)
    middle = decode(content, RATE_HZ, middle_s=1.0)
    assert middle.start_s == pytest.approx(2.0, abs=1e-3)
    with stream(content, RATE_HZ) as opened:
        np.testing.assert_array_equal(np.concatenate([*opened.blocks()]), decoded.wave)
    assert len(outline(content, 50)) == 50


@pytest.mark.parametrize("kind", ["ac3", "eac3", "mp2", "mp3"])
def test_junk_in_a_stream_without_a_length_counts_by_its_bytes(kind: str) -> None:
    """A decoder passes over it as one packet, however long it is."""
    codec, form = {"mp2": ("mp2", "s16"), "mp3": ("libmp3lame", "fltp")}.get(kind, (kind, "fltp"))
    options = {"write_xing": "0"} if kind == "mp3" else {}
    content = encode(tone(5.0, 48_000, 2), 48_000, kind, codec, form=form, **options)
    half, fifth = len(content) // 2, len(content) // 5
    for junk in (np.random.default_rng(0).bytes(fifth), bytes(fifth)):
        for damaged in (content[:half] + junk + content[half + fifth :],
                        content[:half] + junk + content[half:]):  # fmt: skip
            with pytest.raises(AudioError, match=r"is damaged: (0\.9|1\.\d) s between its"):
                decode(damaged, RATE_HZ)
            assert decode(damaged, RATE_HZ, accept_damaged=True).warning
    if kind.startswith("mp"):  # a picture between two files that were joined is none
        tag = b"ID3\x04\0\0" + bytes([0, 1, 72, 0]) + bytes(200 * 128)
        assert decode(content + tag + content, RATE_HZ).duration_s == pytest.approx(10.0, abs=0.2)


def test_a_forged_rate_further_on_takes_no_memory() -> None:
    """A second of 44 100 Hz, and then samples that would last for hours."""
    parts = []
    for rate_hz in (44_100, 8, 384_000, 1_000):
        file = io.BytesIO()
        soundfile.write(file, noise(1.0, 44_100)[:, 0], rate_hz, "PCM_16", format="FLAC")
        parts.append(file.getvalue())
    with pytest.raises(AudioError, match="is truncated: it stops in the middle of a packet"):
        decode(parts[0] + parts[1], RATE_HZ)
    decoded = decode(parts[0] + parts[1], RATE_HZ, accept_damaged=True)
    assert decoded.duration_s == 1.0
    with opened(parts[2] + parts[3], "a.flac", ()) as (file, _):
        n_values = [block.size for block in file.blocks()]
    assert sum(n_values) == pytest.approx(384_000 * (44_100 / 384_000 + 44.1), rel=1e-3)
    assert max(n_values) < 10 * BLOCK_VALUES  # soxr keeps a few; 44 100 samples would be 17 million


def test_a_length_of_64_bits_leads_nowhere() -> None:
    file = io.BytesIO()
    soundfile.write(file, noise(2.0), 44_100, "PCM_16", format="RF64")
    content = bytearray(file.getvalue())
    at = content.index(b"ds64") + 8
    content[at : at + 24] = struct.pack("<QQQ", 2**63 - 1, 2**64 - 5, 2**62)
    with pytest.raises(AudioError, match=r"truncated or its header|cannot be read"):
        decode(bytes(content), RATE_HZ)


# ---- what is no sound, called by its name; and what could lead elsewhere


@pytest.mark.parametrize("ending", ["mp3", "wav", "m3u8", "sdp", "ogg"])
@pytest.mark.parametrize(
    "content",
    [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{path}\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile '{path}'\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n",
        b"file '{path}'\n",
        b"<?xml version='1.0'?><MPD><BaseURL>file://{path}</BaseURL></MPD>",
    ],
    ids=["hls", "concat", "sdp", "list", "dash"],
)
def test_a_file_leads_to_no_other(tmp_path: Path, content: bytes, ending: str) -> None:
    secret = tmp_path / "secret.wav"
    soundfile.write(secret, tone(), RATE_HZ)
    path = tmp_path / f"a.{ending}"
    path.write_bytes(content.replace(b"{path}", os.fsencode(secret)))
    with pytest.raises(AudioError, match=r"is not an audio file: .* like (text|a pl)"):
        decode(path, RATE_HZ)


def test_an_mp4_whose_sound_lies_in_another_file_is_refused(tmp_path: Path) -> None:
    content = bytearray(encode(tone(2.0, 44_100, 2), 44_100))
    at = content.index(b"dref")
    assert content[at + 16 : at + 20] == b"url "
    content[at + 20 : at + 24] = bytes(4)  # not in this file, then
    path = tmp_path / "a.m4a"
    path.write_bytes(content)
    try:
        wave = decode(path, RATE_HZ).wave
    except AudioError:
        return
    expected = decode(encode(tone(2.0, 44_100, 2), 44_100), RATE_HZ).wave
    np.testing.assert_array_equal(wave, expected)  # its own samples, nobody else's


def test_protected_sound_is_called_protected() -> None:
    content = encode(tone(2.0, 44_100, 2), 44_100).replace(b"mp4a", b"drms")
    with pytest.raises(AudioError, match=r"^a\.m4p is protected against copying"):
        decode(content, RATE_HZ, name="a.m4p")


# ---- forged, cut and mixed contents


_BY_SOUNDFILE = (
    ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "GSM610"), ("AIFF", "PCM_24"), ("AU", "ULAW"),
    ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None), ("W64", "PCM_16"),
    ("CAF", "ALAC_16"), ("VOC", "PCM_16"), ("RF64", "PCM_16"),
)  # fmt: skip
_BY_FFMPEG = (
    ("ipod", "aac"), ("ipod", "alac"), ("adts", "aac"), ("matroska", "flac"), ("webm", "libopus"),
    ("ac3", "ac3"), ("eac3", "eac3"),
)  # fmt: skip


@cache
def contents() -> list[bytes]:
    """A short file of each kind that can be written here, and every odd file."""
    made = []
    wave = noise(1.3)
    for kind, subtype in _BY_SOUNDFILE:
        file = io.BytesIO()
        mono = wave[:, :1] if subtype == "GSM610" else wave
        rate_hz = 48_000 if subtype == "OPUS" else 44_100
        soundfile.write(file, mono, rate_hz, subtype, format=kind)
        made.append(file.getvalue())
    for kind, codec in _BY_FFMPEG:
        made.append(encode(wave, 48_000, kind, codec))
    folder = os.environ.get("GENRECORE_TEST_DATA")
    if folder and Path(folder, "odd_audio").is_dir():
        made += [path.read_bytes() for path in sorted(Path(folder, "odd_audio").iterdir())]
    return made


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A content with bytes changed, numbers forged, parts cut out, repeated or of another file."""
    content = bytearray(draw(st.sampled_from(range(len(contents()))).map(contents().__getitem__)))
    for _ in range(draw(st.integers(1, 4))):
        # Half of the time among the first bytes, where the headers are.
        most = min(len(content), draw(st.sampled_from([64, 600, len(content)])))
        at = draw(st.integers(0, max(0, most - 1)))
        what = draw(st.sampled_from(["flip", "number", "cut", "drop", "repeat", "splice", "junk"]))
        if what == "flip":
            content[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif what == "number":
            number = draw(st.sampled_from([0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 16, 2**32 - 1]))
            content[at : at + 4] = struct.pack(draw(st.sampled_from(["<I", ">I"])), number)
        elif what == "cut":
            del content[max(1, at) :]
        elif what == "drop":
            del content[at : at + draw(st.integers(1, 5000))]
        elif what == "repeat":
            content[at:at] = content[at : at + draw(st.integers(1, 5000))]
        elif what == "splice":
            other = contents()[draw(st.integers(0, len(contents()) - 1))]
            content[at:] = other[draw(st.integers(0, len(other) - 1)) :]
        else:
            content[at:at] = np.random.default_rng(at).bytes(draw(st.integers(1, 5000)))
    return bytes(content)


def read_in_every_way(content: bytes) -> None:
    """Whatever it is: a result or an error for people, soon, and without much memory."""
    process, began = psutil.Process(), time.perf_counter()
    before = process.memory_info().rss
    ways: list[Callable[[], Any]] = [
        lambda: decode(content, RATE_HZ),
        lambda: decode(content, RATE_HZ, middle_s=1.0, accept_damaged=True, least_s=0.0),
        lambda: inspect(content),
        lambda: outline(content, 100, accept_damaged=True),
    ]
    for way in ways:
        with contextlib.suppress(AudioError):
            way()
    with (
        contextlib.suppress(AudioError),
        stream(content, RATE_HZ, accept_damaged=True) as opened,
    ):
        for block in opened.blocks():
            assert np.isfinite(block).all()
    assert process.memory_info().rss - before < 150e6  # bytes: decoders' tables and a few blocks
    assert time.perf_counter() - began < 20  # seconds, of a loaded machine


QUIET: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.mark.slow
@given(damaged())
@settings(max_examples=60, derandomize=True, **QUIET)
def test_no_content_ends_in_anything_but_an_error_for_people(content: bytes) -> None:
    read_in_every_way(content)


@pytest.mark.long
@given(damaged())
@settings(max_examples=5000, **QUIET)
def test_no_content_ends_in_anything_but_an_error_for_people_widely(content: bytes) -> None:
    read_in_every_way(content)


def test_a_stream_ends_before_its_resampler_makes_infinity_of_large_numbers() -> None:
    """Numbers near the largest of float32: filtered, their sums exceed it."""
    wave, file = np.random.default_rng(0).choice([-3e38, 3e38], 3 * 44_100), io.BytesIO()
    soundfile.write(file, wave.astype(np.float32), 44_100, "FLOAT", format="WAV")
    blocks = []
    with (
        pytest.raises(AudioError, match=r"holds samples up to 3e.38; expected -1 to 1"),
        stream(file.getvalue(), RATE_HZ, accept_damaged=True) as opened,
    ):
        blocks += opened.blocks()
    assert not blocks


# ---- files that change while they are read


class _Changing(io.BytesIO):
    """A file that is cut to a third, or grows by as much, after the first reads."""

    def __init__(self, content: bytes, grows: bool) -> None:
        super().__init__(content)
        self._reads, self._grows = 0, grows

    def read(self, n: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads == 6:
            place, content = self.tell(), self.getvalue()
            if self._grows:
                self.seek(0, os.SEEK_END)
                self.write(content[len(content) // 2 :])
            else:
                self.truncate(len(content) // 3)
            self.seek(place)
        return super().read(n)


@pytest.mark.slow
@pytest.mark.parametrize("grows", [True, False])
def test_a_file_that_grows_or_shrinks_is_read_or_refused_in_a_sentence(grows: bool) -> None:
    for content in contents():
        for accept_damaged in (True, False):
            with contextlib.suppress(AudioError):
                decode(_Changing(content, grows), RATE_HZ, accept_damaged=accept_damaged)
            with (
                contextlib.suppress(AudioError),
                stream(_Changing(content, grows), RATE_HZ, accept_damaged=accept_damaged) as file,
            ):
                list(file.blocks())


def test_a_wav_that_shrinks_while_it_is_streamed_is_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(20.0), 44_100)
    with stream(path, RATE_HZ) as opened:
        blocks = opened.blocks()
        next(blocks)
        os.truncate(path, path.stat().st_size // 3)
        with pytest.raises(AudioError, match=r"^a\.wav is damaged: it cannot be decoded"):
            list(blocks)


class _Broken(io.BytesIO):
    def read(self, n: int | None = -1, /) -> bytes:
        if self.tell() > 60_000:
            raise OSError(5, "Input/output error")
        return super().read(n)


def test_a_disk_that_fails_while_it_is_read_is_said_in_a_sentence(capfd: Any) -> None:
    for content in contents():
        for way in (decode, lambda source, rate_hz: list(_blocks(source, rate_hz))):
            with contextlib.suppress(AudioError):
                way(_Broken(content), RATE_HZ)
    assert capfd.readouterr().err == ""


def _blocks(source: Any, rate_hz: int) -> Any:
    with stream(source, rate_hz) as opened:
        yield from opened.blocks()
