"""Where a run puts clips: what stands before the last linear layer, of clips and of files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import trained
from test_baselines import on_table, tables  # noqa: F401  (a fixture)
from test_models import LARGE, NAMES, model, of, random

from genrecore import caches, embedding, embedding_store, inference, runs
from genrecore.config import RunConfig
from genrecore.embedding_store import Embedding
from genrecore.errors import GenrecoreError
from genrecore.models import MODELS

Tiny = Callable[..., RunConfig]


@pytest.mark.parametrize("name", of([name for name in NAMES if name not in LARGE]))
def test_the_last_linear_layer_makes_the_logits_of_what_stands_before_it(name: str) -> None:
    shape = MODELS[name].facts["least"]
    network = model(name, shape).eval()
    batch = random(3, shape)
    with torch.inference_mode():
        made = embedding.before_last(network, batch)
        logits = network(batch)
        assert made is not None
        assert made.shape[0] == 3
        heads = [
            layer
            for layer in network.modules()
            if isinstance(layer, torch.nn.Linear) and layer.in_features == made.shape[1]
        ]
        # float32, and a layer that is called once more alone.
        assert any(
            layer.out_features == logits.shape[1] and torch.allclose(layer(made), logits, atol=1e-5)
            for layer in heads
        )
    assert not any(layer._forward_pre_hooks for layer in network.modules())


def test_what_is_averaged_where_there_is_no_linear_layer_or_one_over_steps() -> None:
    over_steps = torch.nn.Sequential(torch.nn.Linear(5, 3))
    steps = torch.randn(2, 7, 5)
    found = embedding.before_last(over_steps, steps)
    assert found is not None
    assert torch.allclose(found, steps.mean(1))
    pictures = torch.randn(2, 5, 4, 3)
    found = embedding.before_last(torch.nn.Sequential(torch.nn.Conv2d(5, 3, 1)), pictures)
    assert found is not None
    assert torch.allclose(found, pictures.mean((2, 3)), atol=1e-6)  # another order of summing
    assert embedding.before_last(torch.nn.ReLU(), steps) is None


def test_every_clip_is_embedded_once_and_kept(store: Path, tiny: Tiny, own_cache: Path) -> None:
    run = trained(tiny(training__epochs=1), store)
    assert embedding_store.read(run) is None
    phases: list[str] = []
    made = embedding.embed(run, lambda phase, done, total: phases.append(phase))
    assert run.clips is not None
    assert sorted(made.clips["clip_id"]) == sorted(run.clips["clip_id"])
    split = made.clips.set_index("clip_id")["split"]
    assert (split == run.clips.set_index("clip_id")["split"][split.index]).all()
    assert made.values.dtype == np.float32
    assert "Looking where clips lie" in phases
    assert [item.kind for item in caches.entries("embeddings")] == ["embeddings"]

    # What is kept is read without the dataset; new weights are another embedding.
    shutil.rmtree(own_cache / "datasets")
    shutil.rmtree(own_cache / "corpora")
    again = embedding.embed(run)
    assert np.array_equal(again.values, made.values)
    assert again.clips["clip_id"].tolist() == made.clips["clip_id"].tolist()
    weights = run.weights.read_bytes()
    run.weights.unlink()
    with pytest.raises(GenrecoreError, match="no weights yet"):
        embedding_store.folder(run)
    run.weights.write_bytes(weights)
    assert embedding_store.read(run) is None


def test_a_recording_lands_where_the_same_clip_of_the_corpus_lies(store: Path, tiny: Tiny) -> None:
    run = trained(tiny(training__epochs=1, segments__overlap=0.5), store)
    made = embedding.embed(run)
    loaded = inference.load(run)
    assert run.clips is not None
    for _, clip in run.clips.iloc[[0, 17]].iterrows():
        vector = embedding.of_wave(loaded, loaded.classify(clip["path"]).wave)
        row = made.values[made.clips["clip_id"].eq(clip["clip_id"]).to_numpy(dtype=bool)][0]
        # Float32; batches of other sizes are summed in another order.
        assert np.allclose(vector, row, atol=1e-5)
        nearest = made.nearest(vector, 3, split=None)
        assert nearest["clip_id"].iloc[0] == clip["clip_id"]
        assert nearest["distance"].is_monotonic_increasing
        assert nearest["distance"].iloc[0] == pytest.approx(0.0, abs=1e-6)
        trained_on = made.nearest(vector, 4, but=(str(clip["clip_id"]),))
        assert set(trained_on["split"]) == {"train"}
        assert clip["clip_id"] not in set(trained_on["clip_id"])
    with pytest.raises(GenrecoreError, match="another run's"):
        made.nearest(np.zeros(3, np.float32))


def test_distances_by_hand() -> None:
    clips = pd.DataFrame(
        {"clip_id": list("abc"), "genre": "x", "split": ["train", "train", "test"]}
    )
    made = Embedding(clips, np.array([[3.0, 1.0], [1.0, 1.0], [2.0, 3.0]], np.float32))
    # About the middle (2, 1) of the training clips: right, left, and up.
    found = made.nearest(np.array([5.0, 1.0]), split=None)
    assert found["clip_id"].tolist() == ["a", "c", "b"]
    assert found["distance"].tolist() == pytest.approx([0.0, 1.0, 2.0])


def test_of_a_classical_model_it_is_the_standardised_features(
    store: Path,
    tiny: Tiny,
    tables: Path,  # noqa: F811
) -> None:
    run = trained(on_table(tiny, tables, "logistic_regression"), store)
    assert run.state == "done", run.reason
    made = embedding.embed(run)
    train = made.clips["split"].eq("train").to_numpy(dtype=bool)
    assert made.values.shape == (len(made.clips), 57)
    # Each clip is one row, so training clips have zero mean and unit spread but for float32.
    assert np.allclose(made.values[train].mean(axis=0), 0.0, atol=1e-4)
    assert np.allclose(made.values[train].std(axis=0), 1.0, atol=1e-3)


def test_a_run_without_weights_says_so(store: Path) -> None:
    with pytest.raises(GenrecoreError, match="no weights yet"):
        embedding.embed(runs.create(RunConfig(), store))
