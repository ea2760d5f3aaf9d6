"""Damaged caches are made anew: a run never ends because of one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from damages import NESTED, cut, gone, to_fifo, to_folder, to_text

from genrecore.data import corpus as corpora
from genrecore.data import uploads

RATE_HZ = 22_051


def longer(path: Path) -> None:
    """Samples that no line of the index promises."""
    os.truncate(path, path.stat().st_size + 2)


AUDIO: list[tuple[str, Callable[[Path], None]]] = [
    ("index.jsonl", cut),
    ("index.jsonl", gone),
    ("index.jsonl", to_text("{\n")),
    ("index.jsonl", to_text('{"clip_id": 7, "n_samples": "x"}\n')),
    ("index.jsonl", to_text(NESTED + "\n")),
    ("index.jsonl", to_fifo),
    ("index.jsonl", to_folder),
    ("samples.i16", cut),
    ("samples.i16", longer),
    ("samples.i16", gone),
]


@pytest.fixture
def clips(own_cache: Path, tmp_path: Path) -> pd.DataFrame:
    """Two clips of noise."""
    paths = [tmp_path / f"{number}.wav" for number in range(2)]
    for number, path in enumerate(paths):
        wave = np.random.default_rng(number).normal(0, 0.1, 2 * RATE_HZ)
        soundfile.write(path, wave, RATE_HZ)
    return pd.DataFrame({"clip_id": ["a", "b"], "path": [str(path) for path in paths]})


@pytest.mark.parametrize(("name", "damage"), AUDIO, ids=range(len(AUDIO)))
def test_decoded_audio(name: str, damage: Callable[[Path], None], clips: pd.DataFrame) -> None:
    built = corpora.build(clips, RATE_HZ, 1.0)
    before = built.wave("b")
    damage(built.folder / name)
    assert corpora.kept(clips, RATE_HZ, 1.0) is None
    assert np.array_equal(corpora.build(clips, RATE_HZ, 1.0).wave("b"), before)
    assert corpora.kept(clips, RATE_HZ, 1.0) is not None


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("about.json", to_text("{")), ("about.json", to_text('{"clip_ids": 7}')),
        ("about.json", to_fifo), ("values", cut), ("values", gone), ("values", to_fifo),
    ],
)  # fmt: skip
def test_values(name: str, damage: Callable[[Path], None], own_cache: Path) -> None:
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)

    def fill(folder: Path) -> dict[str, object]:
        (folder / "values").write_bytes(rows.tobytes())
        return {"clip_ids": ["a", "b"], "counts": [1, 1], "shape": [3], "skipped": []}

    def values() -> np.ndarray:
        return corpora.cached_values(["x"], "table", fill, lambda *_: None).values

    assert np.array_equal(values(), rows)
    [folder] = [path for path in (own_cache / "corpora").iterdir() if path.is_dir()]
    damage(folder / name)
    assert np.array_equal(values(), rows)


@pytest.mark.parametrize("text", ["[1]", '{"a": [1]}', "[" * 100_000, "\xff"])
def test_remembered_digests(text: str, clips: pd.DataFrame, own_cache: Path) -> None:
    before = corpora.build(clips, RATE_HZ, 1.0).key
    (own_cache / "digests.json").write_text(text)
    assert corpora.build(clips, RATE_HZ, 1.0).key == before


@pytest.mark.parametrize("damage", [to_text("[" * 100_000), to_text('{"a": 1}'), to_fifo, gone])
def test_lists_of_uploads(damage: Callable[[Path], None], own_cache: Path) -> None:
    set_id = uploads.keep_clips([("x.wav", b"x")])
    assert len(uploads.kept_clips(set_id)) == 1
    damage(own_cache / "uploads" / f"{set_id}.clips")
    assert uploads.kept_clips(set_id) == []
