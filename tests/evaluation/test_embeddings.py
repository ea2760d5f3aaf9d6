"""Distances between embeddings, and the map of a run's clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_runs import fake_run

from genrecore.errors import GenrecoreError
from genrecore.evaluation import embeddings
from genrecore.evaluation.embeddings import Embedding


def test_distances_by_hand() -> None:
    clips = pd.DataFrame(
        {"clip_id": list("abc"), "genre": "x", "split": ["train", "train", "test"]}
    )
    embedded = Embedding(clips, np.array([[3.0, 1.0], [1.0, 1.0], [2.0, 3.0]], np.float32))
    # About the middle (2, 1) of the training clips: right, left, and up.
    nearest = embedded.nearest(np.array([5.0, 1.0]), split=None)
    assert nearest["clip_id"].tolist() == ["a", "c", "b"]
    assert nearest["distance"].tolist() == pytest.approx([0.0, 1.0, 2.0])


def test_a_search_through_many_clips_is_exact() -> None:
    random = np.random.default_rng(4)
    values = random.standard_normal((9001, 7)).astype(np.float32)
    split = pd.array(random.choice(["train", "test", None], 9001), dtype="string")
    clips = pd.DataFrame({"clip_id": [f"c{k}" for k in range(9001)], "genre": "x", "split": split})
    embedded = Embedding(clips, values)
    everything, vector = np.ones(9001, bool), random.standard_normal(7).astype(np.float32)
    distance = embedded.distances(vector[None], everything)[0]
    order = np.argsort(distance)
    nearest = embedded.nearest(vector, 20, split=None, but=(f"c{order[0]}",))
    assert nearest["clip_id"].tolist() == [f"c{k}" for k in order[1:21]]
    # Float32 against float64.
    assert nearest["distance"].tolist() == pytest.approx(distance[order[1:21]], abs=1e-6)
    assert set(embedded.nearest(vector, 20)["split"]) == {"train"}
    assert len(Embedding(clips.head(3), values[:3]).nearest(vector, 20, split=None)) == 3
    assert embedded.nearest(vector, 5, split="valid").empty


def test_a_map_has_room_for_test_clips_first(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fake_run(store, np.ones(5, bool), n_train=3)
    run.weights.write_bytes(b"of a network")
    assert run.clips is not None
    clips = run.clips[["clip_id", "genre", "split"]].assign(artist=None)
    clips.loc[5:7, "split"] = "valid"
    values = np.random.default_rng(2).standard_normal((14, 6)).astype(np.float32)
    with pytest.raises(GenrecoreError, match="genrecore embed"):
        embeddings.project(run)
    embeddings.keep(run, Embedding(clips, values), "")
    monkeypatch.setattr(embeddings, "MAX_ON_MAP", 9)
    clip_map = embeddings.project(run)
    counts = clip_map.points["split"].value_counts().to_dict()
    assert counts == {"test": 5, "valid": 3, "train": 1}
    assert clip_map.n_left_out == 5
    again = embeddings.read_map(run)
    assert again is not None
    pd.testing.assert_frame_equal(again.points, clip_map.points)
    assert again.explained == clip_map.explained
    few = embeddings._planes(np.array([[0.0], [1.0], [3.0]]))
    assert few[0].shape == few[1].shape == (3, 2)
    assert few[2] == pytest.approx((1.0, 0.0))
    assert np.isfinite(few[1]).all()
