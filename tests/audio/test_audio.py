"""Decoding: what is accepted, what is refused and how, and that memory stays bounded."""

from __future__ import annotations

import io
import itertools
import os
import struct
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from genrecore.audio.decode import decode, digest, inspect, outline, stream, to_wav_bytes
from genrecore.errors import AudioError

RATE_HZ = 22_050


def tone(seconds: float = 2.0, rate_hz: int = RATE_HZ, channels: int = 1, hz: float = 440.0):
    wave = 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def write(path: Path, wave: np.ndarray, rate_hz: int = RATE_HZ, **how: object) -> Path:
    soundfile.write(path, wave, rate_hz, **how)
    return path


def noise(seconds: float, rate_hz: int = 44_100, seed: int = 7) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal((round(seconds * rate_hz), 2))


@pytest.mark.parametrize("extension", ["wav", "flac", "au", "aiff", "ogg", "mp3", "opus"])
def test_every_format_gives_the_same_tone(tmp_path: Path, extension: str) -> None:
    how = {"format": "OGG", "subtype": "OPUS"} if extension == "opus" else {}
    rate_hz = 48_000 if extension == "opus" else 44_100
    path = write(tmp_path / f"a.{extension}", tone(3.0, rate_hz, 2), rate_hz, **how)
    for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes())):
        decoded = decode(source, RATE_HZ)
        assert decoded.wave.dtype == np.float32
        assert decoded.wave.shape == (3 * RATE_HZ,)
        assert (decoded.duration_s, decoded.n_channels, decoded.start_s) == (3.0, 2, 0.0)
        middle = slice(RATE_HZ, 2 * RATE_HZ)
        difference = decoded.wave[middle] - tone(3.0)[middle, 0]
        # Lossy coders change a pure tone by about 1 %; the lossless ones by the resampler's ripple.
        lossy = extension in ("ogg", "mp3", "opus")
        assert np.sqrt((difference**2).mean()) < (0.02 if lossy else 1e-4)


def test_an_excerpt_is_the_same_whether_the_format_seeks_or_not(tmp_path: Path) -> None:
    wave = (32_768 * noise(6.0)).astype(np.int16)  # rounded once, not by each writer
    waves = []
    for extension in ("wav", "flac", "au", "aiff"):
        path = write(tmp_path / f"a.{extension}", wave, 44_100)
        decoded = decode(path, RATE_HZ, middle_s=2.0)
        assert (decoded.start_s, len(decoded.wave), decoded.duration_s) == (2.0, 2 * RATE_HZ, 6.0)
        waves.append(decoded.wave)
        explicit = decode(path, RATE_HZ, start_s=2.0, middle_s=2.0)
        np.testing.assert_array_equal(explicit.wave, decoded.wave)
    for excerpt in waves[1:]:
        np.testing.assert_array_equal(excerpt, waves[0])
    for extension in ("mp3", "ogg"):  # decoded from the start, the rest dropped
        path = write(tmp_path / f"a.{extension}", wave, 44_100)
        whole = decode(path, 44_100).wave
        part = decode(path, 44_100, middle_s=2.0).wave
        np.testing.assert_array_equal(part, whole[2 * 44_100 : 4 * 44_100])


def test_a_short_file_comes_whole_and_an_excerpt_ends_with_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(2.0))
    assert len(decode(path, RATE_HZ, middle_s=30.0).wave) == 2 * RATE_HZ
    assert len(decode(path, RATE_HZ, start_s=1.5, middle_s=30.0).wave) == RATE_HZ // 2
    with pytest.raises(AudioError, match=r"lasts 2\.0 s; an excerpt cannot begin at 9 s"):
        decode(path, RATE_HZ, start_s=9)


def test_channels_are_averaged_and_8_bit_and_192_khz_are_read(tmp_path: Path) -> None:
    six = np.zeros((192_000 * 2, 6), np.float32)
    six[:, 0] = 6 * 0.1 * tone(2.0, 192_000)[:, 0]
    decoded = decode(write(tmp_path / "a.wav", six, 192_000, subtype="PCM_24"), RATE_HZ)
    assert (decoded.n_channels, decoded.source_rate_hz) == (6, 192_000)
    # 1e-3: the resampler's edges, where the tone begins and ends at once, are left out.
    np.testing.assert_allclose(decoded.wave[500:-500], 0.1 * tone()[500:-500, 0], atol=1e-3)
    rough = decode(write(tmp_path / "b.wav", tone(), subtype="PCM_U8"), RATE_HZ)
    np.testing.assert_allclose(rough.wave, tone()[:, 0], atol=1 / 127)  # one step of 8 bits


def test_an_mp3_called_wav_just_works(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp3", tone(2.0)).rename(tmp_path / "a.wav")
    assert len(decode(path, RATE_HZ).wave) == 2 * RATE_HZ


def without_info_frame(mp3: bytes) -> bytes:
    at = mp3.find(b"\xff\xfb", 4)  # where the second frame begins
    assert b"Xing" in mp3[:at] or b"Info" in mp3[:at]
    return mp3[at:]


def test_an_mp3_that_counts_no_frames_is_decoded_to_its_end(tmp_path: Path) -> None:
    quiet = write(tmp_path / "a.mp3", 1e-3 * noise(4.0), 44_100, bitrate_mode="VARIABLE")
    loud = write(tmp_path / "b.mp3", noise(5.0), 44_100, bitrate_mode="VARIABLE")
    both = b"".join(without_info_frame(path.read_bytes()) for path in (quiet, loud))
    # Without a count libsndfile goes by the first frame's bit rate: this is what we correct.
    with soundfile.SoundFile(io.BytesIO(both)) as file:
        assert abs(file.frames / 44_100 - 9.0) > 1.0
    decoded = decode(both, RATE_HZ)
    assert decoded.duration_s == pytest.approx(9.0, abs=0.2)  # up to four frames of padding
    assert np.abs(decoded.wave[5 * RATE_HZ : 8 * RATE_HZ]).mean() > 0.01
    tagged = b"ID3\x04\x00\x00\x00\x00\x00\x14" + bytes(20) + both
    np.testing.assert_array_equal(decode(tagged, RATE_HZ).wave, decoded.wave)


@pytest.mark.parametrize("extension", ["wav", "flac", "au", "aiff", "ogg", "mp3"])
@pytest.mark.parametrize("middle_s", [None, 1.0])
def test_half_a_file_is_called_truncated(
    tmp_path: Path, extension: str, middle_s: float | None
) -> None:
    path = write(tmp_path / f"half.{extension}", noise(6.0), 44_100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match=rf"^half\.{extension} is .*truncated") as caught:
        decode(path, RATE_HZ, middle_s=middle_s)
    assert "\n" not in str(caught.value)


def forged_wav(tmp_path: Path) -> bytes:
    content = bytearray(write(tmp_path / "x.wav", tone()).read_bytes())
    at = content.index(b"data")
    content[at + 4 : at + 8] = struct.pack("<I", 0x7FF0_0000)  # from 7fff0000: "not known"
    return bytes(content)


def forged_flac(tmp_path: Path) -> bytes:
    content = bytearray(write(tmp_path / "x.flac", tone()).read_bytes())
    content[21] |= 0x0F  # the top 4 of 36 bits of the number of samples in STREAMINFO
    content[22:26] = b"\xff\xff\xff\xf0"
    return bytes(content)


def forged_aiff(tmp_path: Path) -> bytes:
    content = bytearray(write(tmp_path / "x.aiff", tone()).read_bytes())
    at = content.index(b"COMM")
    content[at + 10 : at + 14] = b"\x7f\xf0\xff\xf0"
    return bytes(content)


def forged_mp3(tmp_path: Path) -> bytes:
    content = bytearray(write(tmp_path / "x.mp3", tone(4.0, 44_100), 44_100).read_bytes())
    at = max(content.find(b"Xing"), content.find(b"Info"))
    content[at + 8 : at + 12] = b"\x7f\xff\xff\xf0"
    return bytes(content)


@pytest.mark.parametrize("forge", [forged_wav, forged_flac, forged_aiff, forged_mp3])
@pytest.mark.parametrize("middle_s", [None, 1.0])
def test_a_forged_frame_count_costs_a_sentence_and_no_memory(
    tmp_path: Path, forge, middle_s: float | None
) -> None:
    content = forge(tmp_path)
    tracemalloc.start()
    with pytest.raises(AudioError, match=r"header is wrong|truncated"):
        decode(content, RATE_HZ, middle_s=middle_s)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # bytes; the blocks and a few seconds of wave


@pytest.mark.slow
def test_memory_stays_bounded_for_six_channels_at_192_khz(tmp_path: Path) -> None:
    path = tmp_path / "big.wav"
    seconds = 24
    with soundfile.SoundFile(path, "w", 192_000, 6, "PCM_16") as file:
        for _ in range(seconds):
            file.write(tone(1.0, 192_000, 6))
    tracemalloc.start()
    decoded = decode(path, RATE_HZ)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The wave (2 MB) and blocks of 1 MiB, where the decoded file has 110 MB.
    assert peak < decoded.wave.nbytes + 8 * 2**20
    assert len(decoded.wave) == seconds * RATE_HZ


def wav_bytes(wave: np.ndarray, subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, RATE_HZ, subtype, format="WAV")
    return file.getvalue()


def spoilt(value: float) -> bytes:
    wave = tone()
    wave[12_345] = value
    return wav_bytes(wave, "FLOAT")


BAD = {
    "zero bytes": (b"", r"is empty \(0 bytes\)"),
    "text": (
        b"These are words, not music.\n" * 99,
        "not an audio file: its content looks like text",
    ),
    "noise": (np.random.default_rng(7).bytes(9999), "not an audio file"),
    "header alone": (b"RIFF\x24\x00\x00\x00WAVE", "cannot be read"),
    "no samples": (wav_bytes(np.zeros((0, 1))), "cannot be read: it is empty, damaged or"),
    "tag alone": (b"ID3\x04\x00\x00\x00\x00\x00\x05hello", "cannot be read"),
    "silence": (wav_bytes(np.zeros((RATE_HZ * 2, 2))), "is silent: nothing in it is louder"),
    "opposite channels": (wav_bytes(tone() * [1, -1]), "channels cancel each other out"),
    "short": (wav_bytes(tone(0.4)), r"lasts 0\.40 s; at least 1 s are needed"),
    "not a number": (spoilt(np.nan), "not numbers"),
    "infinity": (spoilt(np.inf), "not numbers"),
    "integers as floats": (spoilt(30_000.0), r"samples up to 30000; expected -1 to 1"),
    "mp4": (b"\x00\x00\x00\x18ftypisom" + bytes(999), "begins like MP4 audio but cannot be"),
    "m4a": (b"\x00\x00\x00\x18ftypM4A " + bytes(999), "damaged .*expected wav, mp3, ogg"),
    "mov": (b"\x00\x00\x00\x18moov" + bytes(999), "a file of the kind MP4 without sound"),
    "mkv": (b"\x1a\x45\xdf\xa3" + bytes(999), "begins like Matroska audio but cannot be read"),
    "midi": (b"MThd" + bytes(999), "is a MIDI file"),
    "zip": (b"PK\x03\x04" + bytes(range(256)) * 9, "looks like an archive"),
    "playlist": (b"#EXTM3U\n#EXTINF:9,a\nhttp://127.0.0.1/a.mp3\n", "like a playlist"),
    "avi": (b"RIFF\x00\x00\x00\x00AVI LIST" + bytes(999), "an AVI video"),
    "aac": (b"\xff\xf1\x50\x80" + bytes(999), "is not an audio file"),
    "old aac": (b"ADIF" + bytes(999), "is AAC audio in a form .*ADIF.*convert it to wav"),
    "aac after a tag": (b"ID3\x04\x00\x00\x00\x00\x00\x00\xff\xf1\x50\x80" + bytes(99), "."),
}


@pytest.mark.parametrize("name", list(BAD))
@pytest.mark.parametrize("extension", ["wav", "au", "mp3", "raw"])
def test_a_bad_file_gets_one_sentence_that_names_it(
    tmp_path: Path, name: str, extension: str
) -> None:
    content, sentence = BAD[name]
    path = tmp_path / f"song.{extension}"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=sentence) as caught:
        decode(path, RATE_HZ)
    assert str(caught.value).startswith(f"song.{extension} ")
    assert "\n" not in str(caught.value)
    with pytest.raises(AudioError, match=sentence):
        decode(io.BytesIO(content), RATE_HZ, name="upload.wav")


def test_an_mp3_with_garbage_in_the_middle_is_called_damaged(tmp_path: Path) -> None:
    content = bytearray(write(tmp_path / "a.mp3", noise(10.0), 44_100).read_bytes())
    third = len(content) // 3
    content[third : 2 * third] = np.random.default_rng(7).bytes(third)
    for content_now in (bytes(content), without_info_frame(bytes(content))):
        with pytest.raises(AudioError, match=r"truncated|damaged"):
            decode(content_now, RATE_HZ)


@pytest.mark.parametrize("extension", ["wav", "flac", "au", "aiff", "mp3"])
@pytest.mark.parametrize("middle_s", [None, 1.0])
def test_of_half_a_file_what_is_there_can_be_taken_with_a_warning(
    tmp_path: Path, extension: str, middle_s: float | None
) -> None:
    path = write(tmp_path / f"half.{extension}", noise(6.0), 44_100)
    whole = decode(path, 44_100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    half = decode(path, 44_100, middle_s=middle_s, accept_damaged=True)
    assert whole.warning == ""
    assert half.warning.startswith(f"half.{extension} is ")
    assert 2.5 < half.duration_s < 3.2
    assert len(half.wave) == round((middle_s or half.duration_s) * 44_100)
    start = round(half.start_s * 44_100)
    # Half an MP3 is decoded by another library; 1e-5 is a third of a step of 16 bits.
    rounding = 1e-5 if extension == "mp3" else 0
    expected = whole.wave[start : start + len(half.wave)]
    np.testing.assert_allclose(half.wave, expected, rtol=0, atol=rounding)


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["wav", "flac", "mp3", "ogg"])
@pytest.mark.parametrize("rate_hz", [RATE_HZ, 44_100])
def test_the_blocks_of_a_stream_are_the_whole_wave(
    tmp_path: Path, extension: str, rate_hz: int
) -> None:
    path = write(tmp_path / f"a.{extension}", noise(14.0), 44_100)
    expected = decode(path, rate_hz)
    with stream(path, rate_hz) as opened:
        assert (opened.source_rate_hz, opened.n_channels, opened.announced_s) == (44_100, 2, 14.0)
        blocks = list(opened.blocks())
        assert (opened.duration_s, opened.warning) == (14.0, "")
    assert len(blocks) > 1
    assert {block.dtype for block in blocks} == {np.dtype(np.float32)}
    # The resampler's count may be off by a rounding.
    np.testing.assert_array_equal(np.concatenate(blocks)[: len(expected.wave) - 1],
                                  expected.wave[:-1])  # fmt: skip


def test_a_stream_of_a_damaged_file_ends_with_a_warning_or_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "half.mp3", noise(6.0), 44_100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with stream(path, RATE_HZ, accept_damaged=True) as opened:
        n = sum(len(block) for block in opened.blocks())
        assert opened.warning.startswith("half.mp3 is truncated")
        assert n / RATE_HZ == pytest.approx(opened.duration_s, abs=1e-3)
    with stream(path, RATE_HZ) as opened, pytest.raises(AudioError, match=r"^half\.mp3 is trunc"):
        list(opened.blocks())


@pytest.mark.parametrize("extension", ["wav", "flac", "mp3"])
def test_a_file_longer_than_allowed_is_refused(tmp_path: Path, extension: str) -> None:
    path = write(tmp_path / f"a.{extension}", noise(5.0), 44_100)
    with pytest.raises(AudioError, match=r"lasts [345]\.\d s or more; at most 3\.0 s are"):
        decode(path, RATE_HZ, most_s=3.0, middle_s=1.0)


def test_what_is_no_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="There is no file"):
        decode(tmp_path / "missing.wav", RATE_HZ)
    with pytest.raises(AudioError, match="is a folder"):
        decode(tmp_path, RATE_HZ)
    os.mkfifo(tmp_path / "pipe.wav")  # opening it would wait for a writer
    with pytest.raises(AudioError, match="not a regular file"):
        decode(tmp_path / "pipe.wav", RATE_HZ)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_said_so(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone())
    path.chmod(0)
    with pytest.raises(AudioError, match="permission denied"):
        decode(path, RATE_HZ)


def test_inspect_tells_the_header(tmp_path: Path) -> None:
    info = inspect(write(tmp_path / "a.flac", tone(1.5, 32_000, 2), 32_000))
    assert (info.duration_s, info.sample_rate_hz, info.n_channels) == (1.5, 32_000, 2)
    assert info.format == "FLAC PCM_16"
    with pytest.raises(AudioError, match="truncated"):
        inspect(wav_bytes(tone())[:-9999])


def test_wav_bytes_decode_to_what_they_were_made_of() -> None:
    wave = np.clip(3 * tone()[:, 0], -1, 1)
    np.testing.assert_allclose(
        decode(to_wav_bytes(3 * wave, RATE_HZ), RATE_HZ).wave,
        np.clip(3 * wave, -1, 1),
        atol=2 / 32_768,
    )  # a step of 16 bits


def test_the_digest_follows_the_content_not_the_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 99_999)
    (tmp_path / "b").write_bytes(b"x" * 99_999)
    (tmp_path / "c").write_bytes(b"x" * 99_998 + b"y")
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")
    assert len(digest(tmp_path / "a")) == 32


def test_threads_decode_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp3", noise(3.0), 44_100)
    alone = decode(path, RATE_HZ).wave
    with ThreadPoolExecutor(4) as pool:
        for decoded in pool.map(lambda _: decode(path, RATE_HZ).wave, range(8)):
            np.testing.assert_array_equal(decoded, alone)


def test_a_real_mp3_decodes_to_what_soundfile_reads(real_data: Path) -> None:
    path = real_data / "fma_small/000/000002.mp3"
    whole, rate_hz = soundfile.read(path, dtype="float32")
    decoded = decode(path, rate_hz)
    # A tenth of a step of 16 bits: two decoders round differently.
    np.testing.assert_allclose(decoded.wave, np.clip(whole.mean(axis=1), -1, 1), atol=3e-6)


@pytest.mark.parametrize("extension", ["wav", "flac", "mp3", "ogg"])
def test_an_outline_holds_the_lowest_and_the_highest_sample_of_each_stretch(
    tmp_path: Path, extension: str
) -> None:
    path = write(tmp_path / f"a.{extension}", noise(7.3), 44_100)
    wave = soundfile.read(path, dtype="float32")[0].mean(axis=1)
    ends = outline(path, 101)
    assert ends.shape == (101, 2)
    edges = np.linspace(0, len(wave), 102).astype(int)
    stretches = [wave[first:last] for first, last in itertools.pairwise(edges)]
    expected = [(min(part.min(), 0), max(part.max(), 0)) for part in stretches]
    np.testing.assert_allclose(ends, expected, atol=1e-6)  # the mean of two channels, in float32
    assert outline(write(tmp_path / "b.wav", tone(1.0)[:7]), 101).shape == (7, 2)


def test_an_outline_of_a_long_file_needs_no_more_memory_than_a_block(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", np.zeros(30 * 60 * 8000, np.int16), 8000, subtype="PCM_U8")
    tracemalloc.start()
    ends = outline(path, 800)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert ends.shape == (800, 2)
    assert most < 4 * 2**20  # a block and its mean; the wave alone would be 55 MiB


@pytest.mark.parametrize("kind", ["kernel", "pipe", "device", "folder"])
def test_what_is_no_regular_file_is_refused_without_waiting(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        targets = {"kernel": "/proc/kmsg", "device": "/dev/zero", "folder": str(tmp_path)}
        path.symlink_to(targets[kind])
    with pytest.raises(AudioError, match=r"is empty|not a regular file|is a folder"):
        inspect(path)
