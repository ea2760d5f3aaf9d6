"""What Python may hand over to be classified, and files that fall over their readers."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from commands import genrecore
from PIL import Image
from test_audio import noise
from test_ensemble import image_run
from test_odd_files import SECONDS, odd_files
from test_service import Server, ServiceLimits, served
from untrained_runs import untrained_run

from genrecore.errors import AudioError, UsageError
from genrecore.inference.ensemble import Ensemble
from genrecore.inference.ensemble import load as load_ensemble
from genrecore.inference.loaded import LoadedRun
from genrecore.inference.loaded import load as load_run

RATE_HZ = 44_100
STEREO = noise(3.3, RATE_HZ).astype(np.float32)  # (samples, 2)


def float_wav(wave: np.ndarray) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, wave, RATE_HZ, "FLOAT", format="WAV")
    return stream.getvalue()


WAV = float_wav(STEREO)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    return load_run(untrained_run(tmp_path_factory.mktemp("store"), temperature=2.0))


class Pipe(io.RawIOBase):
    """Bytes that come once and in small parts, as from a pipe."""

    def __init__(self, content: bytes) -> None:
        self.stream = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self.stream.readinto(memoryview(buffer)[:1_000])


IN_16_BITS = np.clip(np.rint(32_768 * STEREO), -32_768, 32_767).astype(np.int16)
SOURCES: dict[str, Callable[[], tuple[Any, float | None]]] = {
    "bytes": lambda: (WAV, None),
    "bytearray": lambda: (bytearray(WAV), None),
    "memoryview": lambda: (memoryview(WAV), None),
    "open file": lambda: (io.BytesIO(WAV), None),
    "pipe": lambda: (Pipe(WAV), None),
    "array, channels last": lambda: (STEREO, RATE_HZ),
    "array, channels first": lambda: (STEREO.T, RATE_HZ),
    "array, mono": lambda: (STEREO.mean(axis=1), RATE_HZ),
    "array of float64, the other byte order": lambda: (STEREO.astype(">f8"), RATE_HZ),
    "array of int16": lambda: (IN_16_BITS, np.int64(RATE_HZ)),
    "array of int32": lambda: (IN_16_BITS.astype(np.int32) * 2**16, float(RATE_HZ)),
    "tensor with a gradient": lambda: (torch.tensor(STEREO.T, requires_grad=True), RATE_HZ),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_whatever_holds_the_sound_gets_the_prediction_of_the_file(
    kind: str, loaded: LoadedRun, tmp_path: Path
) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(WAV)
    expected = loaded.classify(path)
    source, rate_hz = SOURCES[kind]()
    prediction = loaded.classify(source, sample_rate_hz=rate_hz)
    # Of 16 bits a sample may differ by half a step, after which the corpus has 16 bits as well.
    tolerance = 1.01 / 32_768 if "int" in kind else 1.01 / 32_768 * ("mono" in kind)
    np.testing.assert_allclose(prediction.wave, expected.wave, atol=tolerance)
    np.testing.assert_allclose(prediction.proba, expected.proba, atol=1e-3 if tolerance else 0)
    assert prediction.duration_s == pytest.approx(3.3)


def test_names_come_from_paths_and_open_files(loaded: LoadedRun, tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(WAV)
    with open(path, "rb") as file:
        assert loaded.classify(file).name == "song.wav"
        file.seek(100)  # it is read from its beginning all the same
        assert loaded.classify(file, name="mine").name == "mine"
    assert loaded.classify(str(path)).name == "song.wav"
    assert loaded.classify(os.fsencode(path).decode()).name == "song.wav"
    assert loaded.classify(WAV).name == "clip"


REFUSED: dict[str, tuple[Any, float | None, str]] = {
    "no rate": (STEREO, None, "give sample_rate_hz as well"),
    "a rate with a file": (WAV, 44_100, "a file tells its own rate"),
    "an odd rate": (STEREO, 44_100.5, "sample_rate_hz is 44100.5; expected a whole number from"),
    "a low rate": (STEREO, 44, r"sample_rate_hz is 44; .* 1,000 to 768,000"),
    "not a rate": (STEREO, float("nan"), "sample_rate_hz is nan"),
    "nothing": (None, None, "Expected a path, .* found a NoneType"),
    "a list": ([0.1, 0.2], 44_100, "sample_rate_hz goes with an array"),
    "text": (io.StringIO("words"), None, "found a file that is open as text"),
    "three axes": (np.zeros((2, 3, 4)), 44_100, r"has the shape \(2, 3, 4\); expected samples"),
    "a number": (np.float32(3), 44_100, r"has the shape \(\)"),
    "nothing in it": (np.zeros(0), 44_100, r"has the shape \(0,\)"),
    "a spectrogram": (np.ones((128, 1_292)), 44_100, "128 channels, at most 64"),
    "complex": (np.ones(99_999, complex), 44_100, "holds complex128; expected samples"),
    "int64": (np.ones(99_999, np.int64), 44_100, "holds int64; expected samples"),
    "objects": (np.array([None] * 9), 44_100, "holds object; expected samples"),
    "not numbers": (np.full(99_999, np.nan), 44_100, "NaN or infinity"),
    "too large": (np.full(99_999, 1e300), 44_100, "NaN or infinity"),
    "loud": (np.full(99_999, 9_000.0), 44_100, "samples up to 9000; expected -1 to 1"),
    "silence": (np.zeros(99_999), 44_100, "is silent"),
    "short": (STEREO[:9_000], 44_100, "at least 1 s"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_recording_is_refused_in_a_sentence(kind: str, loaded: LoadedRun) -> None:
    source, rate_hz, sentence = REFUSED[kind]
    with pytest.raises((AudioError, UsageError), match=sentence):
        loaded.classify(source, sample_rate_hz=rate_hz)


def test_a_closed_file_is_refused(loaded: LoadedRun) -> None:
    closed = io.BytesIO(WAV)
    closed.close()
    with pytest.raises(UsageError, match="is closed"):
        loaded.classify(closed)


def test_a_run_on_images_takes_arrays_of_pixels(store: Path, tmp_path: Path) -> None:
    run = load_run(image_run(store))
    pixels = np.random.default_rng(7).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    expected = run.classify(tmp_path / "p.png").proba
    for image in (pixels, pixels.transpose(2, 0, 1), torch.tensor(pixels)):
        np.testing.assert_array_equal(run.classify(image).proba, expected)
    with pytest.raises(AudioError, match="holds float64; expected an image"):
        run.classify(pixels / 255)
    with pytest.raises(UsageError, match="sample_rate_hz goes with an array of samples"):
        run.classify(pixels, sample_rate_hz=44_100)


def test_several_runs_read_a_pipe_once(store: Path, loaded: LoadedRun) -> None:
    other = untrained_run(store, seed=9, audio__sample_rate_hz=16_000)
    ensemble = load_ensemble([loaded.run, other])
    expected = ensemble.classify(WAV)
    for source, rate_hz in ((Pipe(WAV), None), (STEREO, RATE_HZ)):
        answer = ensemble.classify(source, sample_rate_hz=rate_hz)
        assert expected.average is not None
        np.testing.assert_array_equal(answer.average, expected.average)


class Spiteful(io.BytesIO):
    """A file that fails while it is read, as no file of ours does."""

    def read(self, size: int | None = -1) -> bytes:
        raise ZeroDivisionError("no such luck")


def test_no_file_ends_the_work_on_others(loaded: LoadedRun) -> None:
    with pytest.raises(AudioError, match=r"^clip cannot be used: ZeroDivisionError: no such luck"):
        loaded.classify(Spiteful(WAV))
    sources = [WAV, Spiteful(WAV), None, STEREO, np.zeros((2, 2, 2)), WAV]
    answers = list(
        load_ensemble([loaded.run]).classify_many(sources, list("abcdef"), sample_rate_hz=RATE_HZ)
    )
    assert [answer.name for answer in answers] == list("abcdef")
    problems = [answer.problem for answer in answers]
    assert [bool(problem) for problem in problems] == [False, True, True, False, True, False]
    assert "b cannot be used: ZeroDivisionError: no such luck." in problems[1]


def test_a_file_that_a_network_fails_on_costs_no_other(loaded: LoadedRun) -> None:
    def fail(_: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if len(inputs[0]) != 3:  # not the three segments of the first clip alone
            raise RuntimeError("out of memory")

    hook = loaded.classifier.register_forward_pre_hook(fail)
    try:
        sources = [WAV, float_wav(noise(2.2, RATE_HZ))]
        answers = Ensemble([loaded]).classify_many(sources, ["a", "b"])
        problems = [answer.problem for answer in answers]
    finally:
        hook.remove()
    assert problems == ["", "b cannot be used: RuntimeError: out of memory."]


@pytest.fixture
def odd_music(tmp_path: Path) -> Path:
    """Two good clips, and between them files whose readers give up in ways of their own."""
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "a.wav").write_bytes(WAV)
    (folder / "z.wav").write_bytes(WAV)
    mono = noise(3.0, 8_000)[:, 0]
    for name, subtype in (
        ("gsm.wav", "GSM610"),
        ("g721.wav", "G721_32"),
        ("nms.wav", "NMS_ADPCM_32"),
    ):
        soundfile.write(folder / name, mono, 8_000, subtype, format="WAV")
    soundfile.write(folder / "gsm.aiff", mono, 8_000, "GSM610", format="AIFF")
    (folder / "words.mp3").write_text("These are words.")
    (folder / "gone.wav").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe.wav")
    return folder


def test_a_folder_with_odd_files_is_classified_and_each_is_named(
    loaded: LoadedRun, odd_music: Path, real_data: Path
) -> None:
    for path in sorted((real_data / "odd_audio").iterdir()):
        shutil.copy(path, odd_music / f"{path.name}.wav")  # whatever it is, it is tried
    result = genrecore("classify", str(odd_music), "--run", str(loaded.run.folder), "--json")
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)
    names = {clip["name"] for clip in data["clips"]}
    assert {"a.wav", "z.wav"} <= names
    failed = {failure["name"] for failure in data["failures"]}
    assert {"words.mp3", "gone.wav", "pipe.wav"} <= failed
    assert names | failed == {path.name for path in odd_music.iterdir()}
    assert not names & failed


@pytest.mark.slow
def test_the_service_answers_every_odd_file_with_a_sentence_or_a_prediction(
    loaded: LoadedRun, odd_music: Path, real_data: Path
) -> None:
    with served(load_ensemble([loaded.run]), ServiceLimits()) as server:
        assert isinstance(server, Server)
        for path in sorted(odd_music.iterdir()):
            if path.is_file():
                answer = server.post(path.read_bytes(), params={"name": path.name})
                assert answer.status_code in (200, 422), (path.name, answer.text)
        for path in odd_files(real_data):
            for whole in ("false", "true"):
                params = {"name": path.name, "whole": whole}
                answer = server.post(path.read_bytes(), params=params)
                assert answer.status_code == 200, (path.name, answer.text)
                clip = answer.json()
                # Coders put up to 0.1 s before and behind where the file does not say how much.
                assert clip["duration_s"] == pytest.approx(SECONDS.get(path.name, 5.0), abs=0.1)
                assert clip["warning"] == ""
