"""MP3: what libsndfile reads has the samples that FFmpeg decodes, and FFmpeg reads all the rest."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from test_audio import RATE_HZ
from test_audio_aac import encode

from genrecore.audio import mp3
from genrecore.audio.decode import decode
from genrecore.audio.ffmpeg import FFmpegFile
from genrecore.audio.formats import Damaged, mp3_frame_bytes
from genrecore.audio.readers import SoundFile, Source, opened

ROUNDING = 1e-5
"""Two decoders in float32; 6e-6 was the most in files of 200 s. A step of 16 bits is 3e-5."""

ID3V2 = b"ID3\x04\0\0\0\0\x02\x03" + bytes(259)
ID3V1 = b"TAG" + b"a title".ljust(125, b"\0")


def music(seconds: float, rate_hz: int, channels: int) -> np.ndarray:
    """Gliding tones, bursts of noise and clicks (n, channels): blocks of all lengths."""
    time_s = np.arange(round(seconds * rate_hz))[:, None] / rate_hz
    noise = np.random.default_rng(1).standard_normal((len(time_s), channels))
    wave = 0.3 * np.sin(2 * np.pi * (300 + 40 * np.arange(channels)) * time_s * (1 + 0.3 * time_s))
    wave += 0.05 * noise * (np.sin(4 * np.pi * time_s) > 0.8)
    wave[:: rate_hz // 3] += 0.3
    return wave.astype(np.float32)


def written(seconds: float, rate_hz: int, channels: int, mode: str, level: float) -> bytes:
    file = io.BytesIO()
    wave, how = music(seconds, rate_hz, channels), {"bitrate_mode": mode}
    soundfile.write(file, wave, rate_hz, format="MP3", compression_level=level, **how)
    return file.getvalue()


def by_ffmpeg(seconds: float, rate_hz: int, channels: int, **options: str) -> bytes:
    wave = music(seconds, rate_hz, channels)
    return encode(wave, rate_hz, "mp3", "libmp3lame", form="fltp", **options)


def frames_of(content: bytes) -> list[bytes]:
    at, frames = content.index(b"\xff"), []
    while length := mp3_frame_bytes(content[at : at + 4]):
        frames.append(content[at : at + length])
        at += length
    return frames


def read(source: Source, *by_sndfile: str) -> tuple[np.ndarray, Any]:
    with opened(source, "a.mp3", by_sndfile) as (file, _):
        return np.concatenate([block.copy() for block in file.blocks()]), file


def check_same(source: Source) -> None:
    """libsndfile reads it, and as FFmpeg does."""
    wave, file = read(source, "MP3")
    expected, other = read(source)
    assert isinstance(file, SoundFile)
    assert isinstance(other, FFmpegFile)
    np.testing.assert_allclose(wave, expected, atol=ROUNDING, rtol=0)  # the length as well
    assert np.abs(expected).max() > 0.2
    facts = [(f.samplerate, f.channels, f.n_frames, f.n_decoded) for f in (file, other)]
    assert facts[0] == facts[1]


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    "rate_hz", [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000]
)
def test_libsndfile_and_ffmpeg_decode_the_same_samples(
    rate_hz: int, channels: int, capfd: Any
) -> None:
    contents = [
        written(1.31, rate_hz, channels, mode, level)
        for mode in ("CONSTANT", "AVERAGE", "VARIABLE")
        for level in (0.0, 0.5, 0.9)
    ]
    contents.append(by_ffmpeg(1.31, rate_hz, channels))
    contents.append(by_ffmpeg(1.31, rate_hz, channels, joint_stereo="0", write_id3v1="1"))
    contents.append(by_ffmpeg(1.31, rate_hz, channels, write_xing="0"))
    for content in contents:
        check_same(content)
        assert decode(content, rate_hz).warning == ""  # however short, whatever the coder's delay
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("tags", [(ID3V2, b""), (bytes(99), ID3V1), (ID3V2 + ID3V2, b"")])
def test_tags_before_and_behind_change_nothing(tmp_path: Path, tags: tuple[bytes, bytes]) -> None:
    content = written(2.0, 44_100, 2, "VARIABLE", 0.3)
    path = tmp_path / "a.mp3"
    path.write_bytes(tags[0] + content + tags[1])
    for source in (path, path.read_bytes()):
        check_same(source)
        np.testing.assert_array_equal(read(source, "MP3")[0], read(content, "MP3")[0])


def test_excerpts_are_cut_where_ffmpeg_cuts_them() -> None:
    content = written(4.0, 44_100, 2, "VARIABLE", 0.5)
    for first, end in ((0, 100), (44_100, 88_200), (100_000, None), (176_399, 176_400)):
        parts = []
        for by_sndfile in (("MP3",), ()):
            with opened(content, "a.mp3", by_sndfile) as (file, _):
                parts.append(np.concatenate([block.copy() for block in file.blocks(first, end)]))
                assert file.n_decoded == 4 * 44_100
        np.testing.assert_allclose(parts[0], parts[1], atol=ROUNDING, rtol=0)
        assert len(parts[0]) == (end or 4 * 44_100) - first


@pytest.mark.parametrize("is_counted", [True, False])
def test_pieces_of_longer_files_are_read_where_both_make_the_same_silence(
    is_counted: bool, capfd: Any
) -> None:
    """The sound of their first frames begins before them: the clips of FMA are such pieces."""
    n_clean = 0
    for rate_hz, channels in ((44_100, 2), (48_000, 1), (22_050, 2)):
        tag, *frames = frames_of(written(1.5, rate_hz, channels, "CONSTANT", 0.5))
        for n_cut in range(1, 12):
            kept = frames[n_cut:]
            head = bytearray(tag)
            at = head.index(b"Info") + 8
            n_bytes = len(head) + sum(map(len, kept))
            head[at : at + 8] = len(kept).to_bytes(4, "big") + n_bytes.to_bytes(4, "big")
            content = bytes(head) * is_counted + b"".join(kept)
            wave, file = read(content, "MP3")
            np.testing.assert_allclose(wave, read(content)[0], atol=ROUNDING, rtol=0)
            n_clean += isinstance(file, SoundFile)
    assert 0 < n_clean < 33
    assert capfd.readouterr() == ("", "")


def changed(content: bytes, at: int, bits: int, frame: int = 9) -> bytes:
    """With bits of a byte of one frame inverted."""
    frames = [bytearray(frame) for frame in frames_of(content)]
    frames[frame][at] ^= bits
    return b"".join(frames)


UNCLEAN: dict[str, Callable[[bytes], bytes]] = {
    "joined": lambda c: c + c,
    "joined to one without a header": lambda c: c + b"".join(frames_of(c)[1:]),
    "cut": lambda c: c[: len(c) // 2],
    "a byte short": lambda c: c[:-1],
    "a frame short": lambda c: b"".join(frames_of(c)[:-1]),
    "a frame missing": lambda c: b"".join(f for i, f in enumerate(frames_of(c)) if i != 20),
    "junk within": lambda c: (
        c[: len(c) // 2] + np.random.default_rng(0).bytes(3000) + c[len(c) // 2 :]
    ),
    "junk behind": lambda c: c + bytes(100),
    "another bit rate without its bytes": lambda c: changed(c, 2, 0x20),
    "another sample rate": lambda c: changed(c, 2, 0x04),
    "a free bit rate": lambda c: changed(c, 2, frames_of(c)[9][2] & 0xF0),
    "a checksum": lambda c: changed(c, 1, 0x01),
    "another version": lambda c: changed(c, 1, 0x08),
    "mono": lambda c: changed(c, 3, 0xC0 ^ frames_of(c)[9][3] & 0xC0),
    "plain stereo": lambda c: changed(c, 3, 0x40, frame=2),  # so FFmpeg begins behind it
    "another emphasis": lambda c: changed(c, 3, 0x01, frame=2),
    "intensity stereo": lambda c: changed(c, 3, 0x10),
    "sound that begins too early": lambda c: changed(c, 4, 0xFF ^ frames_of(c)[9][4]),
    "more bits than there are": lambda c: changed(c, 6, 0x0F ^ frames_of(c)[9][6] & 0x0F),
    "a header within": lambda c: changed(c, 0, 0) + frames_of(c)[0],
    "a forged count": lambda c: changed(c, frames_of(c)[0].index(b"Xing") + 11, 1, frame=0),
    "a forged size": lambda c: changed(c, frames_of(c)[0].index(b"Xing") + 13, 0x80, frame=0),
    "a header of sound": lambda c: changed(c, 10, 1, frame=0),
}


@pytest.mark.parametrize("name", UNCLEAN)
def test_whatever_is_not_clean_is_left_to_ffmpeg(name: str, capfd: Any) -> None:
    content = written(2.0, 44_100, 2, "VARIABLE", 0.5)
    check_same(content)
    with opened(UNCLEAN[name](content), "a.mp3", ("MP3",)) as (file, _):
        assert isinstance(file, FFmpegFile)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("channels", "tag", "at"),
    [(2, b"Xing", 36), (2, b"VBRI", 36), (1, b"Info", 21), (1, b"VBRI", 36)],
)
def test_a_frame_that_counts_others_behind_the_first_tells_a_joined_file(
    channels: int, tag: bytes, at: int
) -> None:
    first, *others = frames_of(written(2.0, 44_100, channels, "VARIABLE", 0.5))
    silence = first[:4] + bytes(len(first) - 4)
    content = b"".join(others) + silence
    assert mp3.lengths(io.BytesIO(content), 0, len(content)).decoded == 1152 * (1 + len(others))
    content = b"".join(others) + silence[:at] + tag + silence[at + 4 :]
    with pytest.raises(Damaged):
        mp3.lengths(io.BytesIO(content), 0, len(content))


def test_a_length_that_cannot_be_counted_is_left_to_ffmpeg() -> None:
    """Without a header libsndfile estimates by the first bit rate: here too few samples."""
    content = b"".join(frames_of(written(4.0, 44_100, 2, "VARIABLE", 0.5))[1:])
    with soundfile.SoundFile(io.BytesIO(content)) as file:
        estimated = file.frames
    n = mp3.lengths(io.BytesIO(content), 0, len(content)).decoded
    _, chosen = read(content, "MP3")
    assert isinstance(chosen, SoundFile if estimated >= n else FFmpegFile)
    assert chosen.n_decoded == n == 1152 * len(frames_of(content))


@pytest.mark.slow
def test_the_frames_of_a_long_file_need_constant_memory() -> None:
    frames = frames_of(by_ffmpeg(2.0, 44_100, 2, write_xing="0"))[2:-2]
    content = 1000 * b"".join(frames)  # 50 minutes
    file = io.BytesIO(content)
    tracemalloc.start()
    found = mp3.lengths(file, 0, len(content))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == (n := 1000 * 1152 * len(frames), n, False)
    assert len(content) > 30e6 > 4e6 > peak  # bytes: half a MiB at once, and what its frames say
    with pytest.raises(Damaged):
        mp3.lengths(file, 0, len(content) - 1)
    with pytest.raises(Damaged):
        mp3.lengths(file, 0, len(frames[0]))  # a single one


def test_a_real_clip_is_read_by_libsndfile(real_data: Path) -> None:
    path = real_data / "fma_small/000/000002.mp3"
    check_same(path)
    middle = decode(path, RATE_HZ, middle_s=3.0)
    assert middle.start_s == pytest.approx((middle.duration_s - 3) / 2, abs=0.01)
