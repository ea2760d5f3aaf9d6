"""Where a network puts clips: what stands before its last linear layer, of clips and of files."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import trained
from test_baselines import on_table, tables  # noqa: F401  (a fixture)
from test_models import LARGE, NAMES, model, of, random

from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError
from genrecore.evaluation import embeddings
from genrecore.inference import loaded as inference
from genrecore.models import MODELS
from genrecore.store import cache, runs
from genrecore.store.progress import Phase
from genrecore.store.run import Run
from genrecore.store.status import STOP, ask_to_stop
from genrecore.training import embedding, lifecycle

Tiny = Callable[..., RunConfig]


TORCHVISION = {"resnet18", "googlenet", "efficientnet_b0"}  # alike inside, and slow to build


@pytest.mark.parametrize(
    "name",
    [
        *of([name for name in NAMES if name not in LARGE | TORCHVISION]),
        *(pytest.param(name, marks=pytest.mark.long) for name in sorted(TORCHVISION)),
    ],
)
def test_the_last_linear_layer_makes_the_logits_of_what_stands_before_it(name: str) -> None:
    shape = MODELS[name].facts.least
    network = model(name, shape).eval()
    batch = random(3, shape)
    with torch.inference_mode():
        embedded = embedding.last_layer_input(network, batch)
        logits = network(batch)
        assert embedded is not None
        assert embedded.shape[0] == 3
        heads = [
            layer
            for layer in network.modules()
            if isinstance(layer, torch.nn.Linear) and layer.in_features == embedded.shape[1]
        ]
        # float32, and a layer that is called once more alone.
        assert any(
            layer.out_features == logits.shape[1]
            and torch.allclose(layer(embedded), logits, atol=1e-5)
            for layer in heads
        )
    assert not any(layer._forward_pre_hooks for layer in network.modules())


def test_what_is_averaged_where_there_is_no_linear_layer_or_one_over_steps() -> None:
    over_steps = torch.nn.Sequential(torch.nn.Linear(5, 3))
    steps = torch.randn(2, 7, 5)
    vectors = embedding.last_layer_input(over_steps, steps)
    assert vectors is not None
    assert torch.allclose(vectors, steps.mean(1))
    images = torch.randn(2, 5, 4, 3)
    vectors = embedding.last_layer_input(torch.nn.Sequential(torch.nn.Conv2d(5, 3, 1)), images)
    assert vectors is not None
    assert torch.allclose(vectors, images.mean((2, 3)), atol=1e-6)  # another order of summing
    assert embedding.last_layer_input(torch.nn.ReLU(), steps) is None


def test_every_clip_is_embedded_once_and_kept(
    store: Path, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(tiny(training__epochs=1), store)
    at_the_end = embeddings.read(run)
    assert at_the_end is not None
    shutil.rmtree(embeddings.folder(run))
    assert embeddings.read(run) is None
    phases: list[str] = []
    embedded = embedding.embed(run, lambda phase, done, total: phases.append(phase))
    # The same clips in the same batches, by the same arithmetic.
    pd.testing.assert_frame_equal(embedded.clips, at_the_end.clips)
    assert np.array_equal(embedded.values, at_the_end.values)
    assert run.clips is not None
    assert sorted(embedded.clips["clip_id"]) == sorted(run.clips["clip_id"])
    split = embedded.clips.set_index("clip_id")["split"]
    assert (split == run.clips.set_index("clip_id")["split"][split.index]).all()
    assert embedded.values.dtype == np.float32
    assert Phase.EMBEDDING in phases
    folder = embeddings.folder(run)
    assert folder.name in {item.name for item in cache.entries("embeddings")}

    # What is kept is read without the dataset; new weights are another embedding.
    elsewhere = tmp_path / "cache"
    shutil.copytree(folder, elsewhere / "embeddings" / folder.name)
    monkeypatch.setenv("GENRECORE_CACHE", str(elsewhere))
    again = embedding.embed(run)
    assert [folder.name for folder in elsewhere.iterdir()] == ["embeddings"]
    assert np.array_equal(again.values, embedded.values)
    assert again.clips["clip_id"].tolist() == embedded.clips["clip_id"].tolist()
    weights = run.weights.read_bytes()
    run.weights.unlink()
    with pytest.raises(GenrecoreError, match="no weights yet"):
        embeddings.folder(run)
    run.weights.write_bytes(weights)
    assert embeddings.read(run) is None


def test_a_recording_lands_where_the_same_clip_of_the_corpus_lies(store: Path, tiny: Tiny) -> None:
    run = trained(tiny(training__epochs=1, segments__overlap=0.5), store)
    embedded = embedding.embed(run)
    loaded = inference.load(run)
    assert run.clips is not None
    for _, clip in run.clips.iloc[[0, 17]].iterrows():
        vector = loaded.embed(loaded.classify(clip["path"]).wave)
        row = embedded.values[embedded.clips["clip_id"].eq(clip["clip_id"]).to_numpy(dtype=bool)][0]
        # Float32; batches of other sizes are summed in another order.
        assert np.allclose(vector, row, atol=1e-5)
        nearest = embedded.nearest(vector, 3, split=None)
        assert nearest["clip_id"].iloc[0] == clip["clip_id"]
        assert nearest["distance"].is_monotonic_increasing
        assert nearest["distance"].iloc[0] == pytest.approx(0.0, abs=1e-6)
        trained_on = embedded.nearest(vector, 4, but=(str(clip["clip_id"]),))
        assert set(trained_on["split"]) == {"train"}
        assert clip["clip_id"] not in set(trained_on["clip_id"])
    with pytest.raises(GenrecoreError, match="another run's"):
        embedded.nearest(np.zeros(3, np.float32))


@pytest.mark.xdist_group("baselines")
def test_of_a_classical_model_it_is_the_standardised_features(
    store: Path,
    tiny: Tiny,
    tables: Path,  # noqa: F811
) -> None:
    run = trained(on_table(tiny, tables, "logistic_regression"), store)
    assert run.state == "done", run.reason
    embedded = embedding.embed(run)
    train = embedded.clips["split"].eq("train").to_numpy(dtype=bool)
    assert embedded.values.shape == (len(embedded.clips), 57)
    # Each clip is one row, so training clips have zero mean and unit spread but for float32.
    assert np.allclose(embedded.values[train].mean(axis=0), 0.0, atol=1e-4)
    assert np.allclose(embedded.values[train].std(axis=0), 1.0, atol=1e-3)


def test_a_stop_after_the_test_leaves_a_finished_run(store: Path, tiny: Tiny) -> None:
    run, lock = runs.create_held_run(tiny(training__epochs=1), store)

    def stop(phase: str, done: int, total: int) -> None:
        if (run.folder / "predictions.parquet").exists():
            ask_to_stop(run.folder)
            time.sleep(0.03)  # requests are looked for every 0.02 s

    try:
        assert lifecycle.execute(run, stop) == "done"
    finally:
        os.close(lock)
    finished = Run(run.folder)
    assert finished.predictions is not None
    assert not (run.folder / STOP).exists()
    assert embeddings.read(finished) is None
    assert "the embeddings of its clips are not computed yet" in finished.log()


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_spoils_no_run(
    store: Path, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENRECORE_CACHE", str(tmp_path))
    (tmp_path / "embeddings").write_text("in the way")
    run = trained(tiny(training__epochs=1), store)
    assert run.state == "done", run.reason
    assert "The embeddings of its clips cannot be computed: " in run.log()


def test_a_run_without_weights_says_so(store: Path) -> None:
    with pytest.raises(GenrecoreError, match="no weights yet"):
        embedding.embed(runs.create_run(RunConfig(), store))
