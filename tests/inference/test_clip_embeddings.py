"""Clips go through an encoder once, whether labels are doubted, clips searched or a run trained."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import test_huggingface
from conftest import trained
from dataset_samples import OPTIONS
from torch.nn.modules.module import register_module_forward_pre_hook

from genrecore.config.run import RunConfig, with_values
from genrecore.data import datasets
from genrecore.inference.clip_embeddings import by_encoder, embed_clips
from genrecore.inference.label_doubts import doubt_labels
from genrecore.models.encoders import files
from genrecore.training.resolve import resolve


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """The class of every network that is called, from now on."""
    names: list[str] = []

    def note(module: Any, _: Any) -> None:
        names.append(type(module).__name__)

    hook = register_module_forward_pre_hook(note)
    yield names
    hook.remove()


@pytest.mark.slow
@pytest.mark.parametrize("first", ["labels", "search"])
def test_one_pass_gives_what_labels_and_searches_need(
    first: str, own_cache: Path, fetched_encoders: Path, heard: list[str]
) -> None:
    shutil.copytree(fetched_encoders / "musicnn", own_cache / "encoders/musicnn")
    clips = datasets.load("demo", OPTIONS)
    for _ in range(2):
        if first == "labels":
            doubt_labels(clips)
        found, _ = embed_clips(clips, by_encoder())
        doubt_labels(clips)
        assert heard.count("FilterBank") == len(clips)
    embedder = by_encoder()
    expected = embedder.embed(embedder.wave(Path(clips["path"].iloc[7])))
    assert expected.shape == (200,)
    np.testing.assert_array_equal(found.values[7], expected)


@pytest.mark.slow
def test_what_training_computed_of_whole_clips_is_not_computed_again(
    own_cache: Path, store: Path, tmp_path: Path, heard: list[str]
) -> None:
    test_huggingface.write(tmp_path / "model", "audio-spectrogram-transformer")
    files.add(tmp_path / "model", "mine")
    values = {"audio.sample_rate_hz": 16_000, "segments.segment_s": 0.0, "device": "cpu"}
    values |= {f"dataset.{key}": value for key, value in OPTIONS.items()}
    values |= {"feature": "encoder", "feature.encoder": "mine", "model": "linear_probe"}
    run = trained(resolve(with_values(RunConfig(), values)).config, store)
    assert run.state == "done"
    clips = datasets.load("demo", OPTIONS)
    assert heard.count("ASTModel") > 0
    heard.clear()
    found, skipped = embed_clips(clips, by_encoder("mine"))
    assert not skipped
    pd.testing.assert_frame_equal(found.clips, clips)
    assert doubt_labels(clips, "mine").encoder == "mine"
    assert "ASTModel" not in heard
    embedder = by_encoder("mine")
    expected = embedder.embed(embedder.wave(Path(clips["path"].iloc[7])))
    assert "ASTModel" in heard
    # float32, summed in another order where clips go through together
    np.testing.assert_allclose(found.values[7], expected, rtol=1e-4, atol=1e-5)
