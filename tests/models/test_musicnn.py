"""musicnn: its published weights, against an independent implementation, and every way not to get
them."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

from genrecore.errors import GenrecoreError, UsageError
from genrecore.models.encoders import files
from genrecore.models.encoders.musicnn import Musicnn
from genrecore.models.encoders.tensorflow_checkpoint import read_checkpoint
from genrecore.store.files import cache_dir


def wave(path: Path) -> torch.Tensor:
    """A clip at 16 kHz, (1, n_samples)."""
    samples, rate_hz = soundfile.read(path, dtype="float32")
    return torch.from_numpy(soxr.resample(samples, rate_hz, 16_000, "HQ"))[None]


@pytest.mark.slow
def test_embeddings_and_tags_equal_an_independent_implementations(
    real_data: Path, musicnn: None
) -> None:
    reference = json.loads((real_data / "musicnn_reference.json").read_text())
    network, card = files.load("musicnn"), files.card_of("musicnn")
    hop = card.hop_samples()
    for name, expected in reference.items():
        clip = wave(real_data / f"gtzan/genres_original/{name.split('.')[0]}/{name}.wav")
        with torch.inference_mode():
            embeddings = network.embeddings(clip, ("penultimate",), hop)[0]
            tags = network.tag_logits(clip, hop)[0].sigmoid()
        assert len(embeddings) == expected["patches"] == card.n_steps(clip.shape[1], hop)
        for ours, theirs in (
            (embeddings.mean(0), expected["pen"]),
            (embeddings[0], expected["pen0"]),
            (tags.mean(0), expected["tags"]),
        ):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)  # printed with 5 digits


def test_the_networks_of_both_datasets_differ_and_name_their_tags(musicnn: None) -> None:
    msd, mtt = files.installed().values()
    assert (msd.name, mtt.name) == ("musicnn", "musicnn_mtt")
    assert len(msd.tags) == len(mtt.tags) == 50
    assert {"rock", "Hip-Hop", "jazz"} <= set(msd.genre_tags)
    assert not {"female vocalists", "guitar", "happy", "00s"} & set(msd.genre_tags)
    assert {"classical", "country", "techno"} <= set(mtt.genre_tags)
    assert msd.sha256 != mtt.sha256
    assert sum(p.numel() for p in files.load("musicnn").parameters()) == msd.n_parameters


def checkpoint(**variables: np.ndarray) -> tuple[bytes, bytes]:
    """Index and data of a TensorFlow checkpoint, written here by its description."""

    def varint(value: int) -> bytes:
        more = value >> 7
        return bytes([value & 127 | 128]) + varint(more) if more else bytes([value])

    def block(rows: list[tuple[bytes, bytes]]) -> bytes:
        content, before = b"", b""
        for key, value in rows:
            shared = next(
                (k for k, (a, b) in enumerate(zip(before, key, strict=False)) if a != b),
                min(len(before), len(key)),
            )
            content += varint(shared) + varint(len(key) - shared) + varint(len(value))
            content += key[shared:] + value
            before = key
        return content + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")

    data, rows = b"", [(b"", b"")]
    for name, array in sorted(variables.items()):
        dims = [b"\x08" + varint(n) for n in array.shape]
        sizes = b"".join(b"\x12" + varint(len(dim)) + dim for dim in dims)
        kind = b"\x08\x01" if array.dtype == np.float32 else b"\x08\x03"
        place = b"\x20" + varint(len(data)) + b"\x28" + varint(array.nbytes) + b"\x35abcd"
        rows.append((name.encode(), kind + b"\x12" + varint(len(sizes)) + sizes + place))
        data += array.tobytes()
    first = block(rows)
    second = block([(b"z", varint(0) + varint(len(first)))])
    index = first + bytes(5) + second + bytes(5)
    handles = varint(0) + varint(0) + varint(len(first) + 5) + varint(len(second))
    return index + handles.ljust(40, b"\0") + 0xDB4775248B80FB57.to_bytes(8, "little"), data


def test_a_checkpoint_written_by_its_description_is_read() -> None:
    random = np.random.default_rng(3)
    arrays = {
        "a/kernel": random.standard_normal((7, 300, 2)).astype(np.float32),
        "a/bias": random.standard_normal(200).astype(np.float32),
        "scalar": np.float32(5).reshape(()),
        "step": np.array([3], np.int32),
    }
    read = read_checkpoint(*checkpoint(**arrays))
    assert set(read) == {"a/kernel", "a/bias", "scalar"}  # counters are left out
    for name, array in read.items():
        np.testing.assert_array_equal(array, arrays[name])


@pytest.mark.parametrize("damage", ["cut data", "cut index", "magic", "packed", "words", "nothing"])
def test_a_damaged_checkpoint_is_one_sentence(damage: str) -> None:
    index, data = checkpoint(bias=np.ones(99, np.float32))
    packed = bytearray(index)
    packed[index.index(b"abcd") + 12] = 1  # the kind of the first block, behind its restarts
    index, data = {
        "cut data": (index, data[:-1]),
        "cut index": (index[20:], data),
        "magic": (index[:-8] + bytes(8), data),
        "packed": (bytes(packed), data),
        "words": (b"no table at all, but long enough to have a footer of its own", data),
        "nothing": (b"", b""),
    }[damage]
    with pytest.raises(GenrecoreError, match="no TensorFlow checkpoint that can be read"):
        read_checkpoint(index, data)


# Getting it


def test_another_file_than_the_published_one_is_refused_and_nothing_is_kept(
    own_cache: Path, tmp_path: Path
) -> None:
    wheel = tmp_path / "musicnn-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("musicnn/MSD_musicnn/.index", b"")
    with pytest.raises(GenrecoreError, match=r"not the published file .* checksum is another"):
        files.add(wheel)
    wheel.write_bytes(wheel.read_bytes()[:40])  # half of it
    with pytest.raises(GenrecoreError, match="not the published file"):
        files.add(wheel)
    other = tmp_path / "notes.txt"
    other.write_text("none")
    with pytest.raises(UsageError, match=r"notes.txt is no encoder .* expected .*, musicnn-0.1.0"):
        files.add(other)
    with pytest.raises(UsageError, match="There is nothing at"):
        files.add(tmp_path / "absent.whl")
    assert not files.installed()
    assert not (own_cache / "encoders").exists()


@pytest.mark.slow
def test_without_a_network_one_sentence_says_how_to_bring_the_file(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    empty = tmp_path / "index"
    empty.mkdir()
    for name, value in {
        "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(empty), "PIP_CONFIG_FILE": "/dev/null",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with pytest.raises(GenrecoreError) as caught:
        files.fetch("musicnn")
    sentence = str(caught.value)
    assert sentence.startswith("musicnn==0.1.0 cannot be fetched: ")
    assert "pip download --no-deps musicnn==0.1.0" in sentence
    assert "genrecore encoders add FILE.whl" in sentence
    assert "\n" not in sentence
    assert not files.installed()


@pytest.mark.slow
def test_without_pip_the_sentence_says_so(own_cache: Path) -> None:
    """In a process that finds no pip."""
    code = (
        "import sys; sys.modules['pip'] = None\n"
        "import importlib.util as util; real = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'pip' else real(name, *rest)\n"
        "from genrecore.models.encoders import files\n"
        "files.fetch('musicnn')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "There is no pip here to fetch musicnn==0.1.0 with." in done.stderr


def test_weights_that_are_not_here_changed_or_not_numbers_are_refused(
    own_cache: Path, fetched_encoders: Path, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(
        UsageError, match="are not here yet; fetch it with: genrecore encoders fetch"
    ):
        files.load("musicnn")
    with pytest.raises(UsageError, match="no encoder called 'music'; there are: musicnn and"):
        files.load("music")
    request.getfixturevalue("musicnn")
    with pytest.raises(UsageError, match="Another encoder is called musicnn here"):
        files.load("musicnn", "0" * 64)
    weights = cache_dir() / "encoders/musicnn/weights.safetensors"
    content = bytearray(weights.read_bytes())
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(GenrecoreError, match="have changed"):
        files.load("musicnn")
    network = Musicnn()
    with torch.no_grad():
        network.dense.bias[7] = torch.nan
    with pytest.raises(GenrecoreError, match=r"hold NaN or infinity: dense.bias"):
        files.refuse_nan("musicnn", network)


@pytest.mark.slow
def test_an_encoder_that_was_added_again_is_replaced(own_cache: Path, musicnn: None) -> None:
    card = files.card_of("musicnn")
    (own_cache / "encoders/musicnn/weights.safetensors").write_bytes(b"")
    assert files.fetch("musicnn")[0] == card
    assert files.load("musicnn", card.sha256)
    assert sorted(path.name for path in (own_cache / "encoders").iterdir()) == [
        "musicnn", "musicnn_mtt",
    ]  # fmt: skip
