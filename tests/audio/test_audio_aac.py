"""AAC and ALAC: files that FFmpeg's encoders really wrote, decoded without an FFmpeg installed."""

from __future__ import annotations

import io
import struct
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from test_audio import RATE_HZ, noise, tone

from genrecore.audio.decode import decode, inspect
from genrecore.errors import AudioError


def encode(
    wave: np.ndarray,
    rate_hz: int,
    kind: str = "ipod",
    codec: str = "aac",
    tag: str = "",
    cover: bool = False,
    form: str = "",
    **options: str,
) -> bytes:
    """A file of a wave (n, channels): `ipod` (m4a), `mp4`, `adts` (raw aac), …; `form` is the
    coder's sample format, by default its first."""
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[wave.shape[1]]
    file = io.BytesIO()
    with av.open(file, "w", format=kind, options=options) as container:
        if cover:
            video = container.add_stream("mpeg4", rate=25)
            video.width = video.height = 32
        stream = container.add_stream(codec, rate=rate_hz, layout=layout)
        if tag:
            container.metadata["title"] = tag
        stream.codec_context.format = form or stream.codec_context.format
        stream.codec_context.open()
        n = stream.codec_context.frame_size or 4096
        form = stream.codec_context.format.name
        if cover:
            for packet in video.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))):
                container.mux(packet)
        for at in range(0, len(wave), n):
            part = np.ascontiguousarray(wave[at : at + n].T.astype(np.float32))
            if form.startswith("s"):  # lossless coders take integers
                bits = int(form.strip("sp"))
                part = (part * (2.0 ** (bits - 1) - 1)).astype(f"int{bits}")
            if not form.endswith("p"):
                part = np.ascontiguousarray(part.T.reshape(1, -1))
            frame = av.AudioFrame.from_ndarray(part, format=form, layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate_hz, at, Fraction(1, rate_hz)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return file.getvalue()


def sine(seconds: float = 3.0, rate_hz: int = 44_100, channels: int = 2) -> np.ndarray:
    return tone(seconds, rate_hz, channels)


FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}


@pytest.mark.parametrize(("kind", "codec"), [("ipod", "aac"), ("mp4", "aac"), ("ipod", "alac")])
def test_m4a_gives_the_tone_in_place(tmp_path: Path, kind: str, codec: str) -> None:
    content = encode(sine(), 44_100, kind, codec)
    path = tmp_path / "a.m4a"
    path.write_bytes(content)
    for source in (path, content, io.BytesIO(content)):
        decoded = decode(source, RATE_HZ)
        assert decoded.wave.dtype == np.float32
        assert (decoded.source_rate_hz, decoded.n_channels, decoded.start_s) == (44_100, 2, 0.0)
        # What the coder puts before the first sample is cut off, so the tone is where it was.
        difference = decoded.wave[RATE_HZ : 2 * RATE_HZ] - tone(3.0)[RATE_HZ : 2 * RATE_HZ, 0]
        # A pure tone changes by about 1 % in AAC, not at all in ALAC but for the resampler.
        assert np.sqrt((difference**2).mean()) < (0.02 if codec == "aac" else 1e-4)
        assert decoded.duration_s == 3.0
    info = inspect(content)
    assert (info.sample_rate_hz, info.n_channels) == (44_100, 2)
    assert info.format == f"MP4 {codec}"


def test_a_file_written_in_pieces_is_counted_and_decoded() -> None:
    decoded = decode(encode(sine(), 44_100, "mp4", **FRAGMENTED), RATE_HZ)
    # It says neither how long it is nor what the coder put before: up to two frames more.
    assert 3.0 <= decoded.duration_s <= 3.0 + 2 * 1024 / 44_100
    spectrum = np.abs(np.fft.rfft(decoded.wave[RATE_HZ // 2 : 5 * RATE_HZ // 2]))
    assert spectrum.argmax() / 2 == 440.0


@pytest.mark.parametrize("before", [b"", b"ID3\x04\x00\x00\x00\x00\x00\x14" + bytes(20)])
def test_raw_aac_is_counted_and_decoded(before: bytes) -> None:
    content = before + encode(sine(3.0, 48_000, 1), 48_000, "adts")
    decoded = decode(content, RATE_HZ, name="a.aac")
    # Nothing says what the coder put before: up to two frames more.
    assert 3.0 <= decoded.duration_s <= 3.0 + 2 * 1024 / 48_000
    spectrum = np.abs(np.fft.rfft(decoded.wave[: 2 * RATE_HZ]))
    assert spectrum.argmax() / 2 == 440.0
    assert inspect(content).format == "AAC aac"


def test_six_channels_are_averaged() -> None:
    wave = np.zeros((3 * 44_100, 6), np.float32)
    wave[:, 2] = 1.2 * tone(3.0, 44_100)[:, 0]  # the centre, which the coder leaves alone
    decoded = decode(encode(wave, 44_100, "ipod", "alac"), RATE_HZ)
    assert decoded.n_channels == 6
    np.testing.assert_allclose(decoded.wave[999:-999], 0.2 * tone(3.0)[999:-999, 0], atol=1e-3)


def test_an_excerpt_is_a_part_of_the_whole() -> None:
    content = encode(noise(4.0), 44_100)
    whole, part = decode(content, 44_100).wave, decode(content, 44_100, middle_s=2.0)
    np.testing.assert_array_equal(part.wave, whole[44_100 : 3 * 44_100])
    assert part.start_s == 1.0


def test_half_a_file_and_a_spoilt_one_get_one_sentence() -> None:
    files = {
        "m4a, its table lost": encode(noise(3.0), 44_100),
        "m4a": _with_table_first(encode(noise(3.0), 44_100)),
        "aac": encode(noise(3.0), 44_100, "adts"),
        "pieces": encode(noise(3.0), 44_100, "mp4", **FRAGMENTED),
    }
    for name, content in files.items():
        for middle_s in (None, 1.0):
            with pytest.raises(AudioError, match=r"^x is .*(truncated|damaged)|cannot be read"):
                decode(content[: len(content) // 2], RATE_HZ, name="x", middle_s=middle_s)
        spoilt = bytearray(content)
        third = len(spoilt) // 3
        spoilt[third : 2 * third] = np.random.default_rng(7).bytes(third)
        with pytest.raises(AudioError, match=r"truncated|damaged|cannot be read") as caught:
            decode(bytes(spoilt), RATE_HZ, name="x")
        assert "\n" not in str(caught.value), name


def _with_table_first(content: bytes) -> bytes:
    """The same file with `moov` before `mdat`, as what is meant to be streamed has it."""
    boxes, at = {}, 0
    order = []
    while at < len(content):
        length, name = struct.unpack(">I4s", content[at : at + 8])
        boxes[name], at = content[at : at + length], at + length
        order.append(name)
    moov = bytearray(boxes[b"moov"])
    position = moov.index(b"stco") + 8
    (n,) = struct.unpack(">I", moov[position : position + 4])
    for k in range(n):  # the samples' places move by the table's length
        spot = slice(position + 4 + 4 * k, position + 8 + 4 * k)
        (old,) = struct.unpack(">I", moov[spot])
        moov[spot] = struct.pack(">I", old + len(moov))
    boxes[b"moov"] = bytes(moov)
    order.remove(b"moov")
    order.insert(1, b"moov")
    return b"".join(boxes[name] for name in order)


def test_the_table_first_decodes_the_same() -> None:
    content = encode(noise(3.0), 44_100)
    np.testing.assert_array_equal(
        decode(_with_table_first(content), RATE_HZ).wave, decode(content, RATE_HZ).wave
    )


def test_a_forged_length_costs_a_sentence_and_no_memory() -> None:
    content = bytearray(encode(noise(3.0), 44_100))
    at = content.index(b"stts") + 8  # number of runs; then how many samples, and how long each
    (n,) = struct.unpack(">I", content[at : at + 4])
    for k in range(n):
        content[at + 8 + 8 * k : at + 12 + 8 * k] = b"\x0f\xff\xff\xff"
    for name in (b"mdhd", b"mvhd", b"tkhd", b"elst"):
        box = content.find(name)
        where = {b"mdhd": 20, b"mvhd": 20, b"tkhd": 24, b"elst": 12}[name]
        content[box + where : box + where + 4] = b"\x7f\xff\xff\xff"
    tracemalloc.start()
    with pytest.raises(AudioError, match=r"header is wrong|truncated|damaged"):
        decode(bytes(content), RATE_HZ)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # bytes, as for the other formats


def test_a_file_longer_than_allowed_is_refused() -> None:
    for kind in ("ipod", "adts"):
        with pytest.raises(AudioError, match=r"lasts [35]\.\d s or more; at most 3\.0 s"):
            decode(encode(noise(5.0), 44_100, kind), RATE_HZ, most_s=3.0, middle_s=1.0)


def test_of_a_video_the_sound_is_taken_and_that_is_said() -> None:
    content = encode(sine(), 44_100, "mp4", cover=True)
    decoded = decode(content, RATE_HZ, name="clip.mp4")
    assert decoded.warning == "clip.mp4 is a video; its sound was taken."
    np.testing.assert_array_equal(decoded.wave, decode(encode(sine(), 44_100), RATE_HZ).wave)
    assert inspect(content).format == "MP4 aac, the sound of a video"


def test_tags_in_no_known_script_do_no_harm() -> None:
    content = encode(sine(), 44_100, tag="QQQQQQQQ")
    assert b"QQQQQQQQ" in content
    spoilt = content.replace(b"QQQQQQQQ", b"\xff\xfe\x80\xff\xfe\x80\xff\xfe")
    np.testing.assert_array_equal(decode(spoilt, RATE_HZ).wave, decode(content, RATE_HZ).wave)


def test_threads_decode_the_same() -> None:
    content = encode(noise(3.0), 44_100)
    alone = decode(content, RATE_HZ).wave
    with ThreadPoolExecutor(4) as pool:
        for decoded in pool.map(lambda _: decode(content, RATE_HZ).wave, range(8)):
            np.testing.assert_array_equal(decoded, alone)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["ipod", "adts"])
def test_twenty_minutes_are_decoded(kind: str) -> None:
    content = encode(np.tile(sine(10.0), (119, 1)), 44_100, kind)
    decoded = decode(content, RATE_HZ, middle_s=30.0)
    assert decoded.duration_s == pytest.approx(1190.0, abs=0.1)
    assert len(decoded.wave) == 30 * RATE_HZ
