"""Small classifiers above embeddings: the strength that validation clips choose, class means, and
the marks of runs whose encoder may know the test clips."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import trained
from fake_runs import fake_run
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from test_baselines import on_table, proba_of, tables, vectors_of

from genrecore.config.run import RunConfig
from genrecore.features import PRESETS
from genrecore.models import MODELS
from genrecore.models.encoders.registered import EncoderCard
from genrecore.store.files import read_json, write_json
from genrecore.store.run import Run
from genrecore.training.weights import load_classifier

__all__ = ["tables"]
Tiny = Callable[..., RunConfig]


def standardised(run: Run, split: str) -> tuple[np.ndarray, np.ndarray]:
    train, _ = vectors_of(run, "train")
    vectors, genres = vectors_of(run, split)
    return (vectors - train.mean(0)) / train.std(0), genres


def test_validation_clips_choose_the_strength_of_a_linear_probe(
    store: Path, tiny: Tiny, tables: Path
) -> None:
    run = trained(on_table(tiny, tables, "linear_probe", standardise="z_score"), store)
    train, labels = standardised(run, "train")
    valid, genres = standardised(run, "valid")
    losses = {}
    for strength in MODELS["linear_probe"].facts.tuned[1]:
        fitted = LogisticRegression(C=strength, max_iter=1000).fit(train, labels)
        losses[strength] = log_loss(genres, fitted.predict_proba(valid))
    best = min(losses, key=lambda strength: losses[strength])
    estimator = load_classifier(run.weights).network.estimator
    assert best == estimator.C
    assert sorted(losses)[0] < best < sorted(losses)[-1]  # or the range would be too narrow
    (note,) = run.status["notes"]
    assert note.startswith(
        f"C = {best:g} has the lowest loss of the {len(genres)} validation clips"
    )


def test_a_strength_that_is_given_is_kept(store: Path, tiny: Tiny, tables: Path) -> None:
    run = trained(on_table(tiny, tables, "linear_probe", model__C=3.5), store)
    assert load_classifier(run.weights).network.estimator.C == 3.5
    assert not run.status.get("notes")


def test_a_clip_has_the_genre_of_the_nearest_prototype(
    store: Path, tiny: Tiny, tables: Path
) -> None:
    run = trained(on_table(tiny, tables, "prototypes", standardise="z_score"), store)
    train, labels = standardised(run, "train")
    means = np.stack([train[labels == k].mean(0) for k in range(labels.max() + 1)])
    test, _ = standardised(run, "test")
    nearest = ((test[:, None] - means) ** 2).sum(2).argmin(1)
    np.testing.assert_array_equal(proba_of(run, "test").argmax(1), nearest)


@pytest.mark.parametrize(
    ("dataset", "heard", "mark"),
    [
        ("demo", "no", None),
        ("gtzan", "unknown", "encoder's music unknown"),
        ("fma_small", "yes", "leak"),
    ],
)
def test_what_an_encoder_was_trained_on_marks_its_runs(
    store: Path, dataset: str, heard: str, mark: str | None
) -> None:
    card = EncoderCard(
        name="mine", title="Mine", kind="musicnn", sample_rate_hz=16_000, patch_s=1, hop_s=1,
        layers={"top": 3}, heard=("fma_small",),
    )  # fmt: skip
    assert card.has_heard(dataset) == heard
    run = fake_run(store, np.ones(9, bool))
    audit = read_json(run.folder / "audit.json")
    audit |= {"encoder": "mine", "encoder_heard": heard}
    write_json(run.folder / "audit.json", audit)
    marks = Run(run.folder).warnings
    assert ("encoder's music unknown" in marks) == (heard == "unknown")
    assert ("mine was trained on this dataset" in marks.get("leak", "")) == (heard == "yes")
    assert mark is None or mark in marks


@pytest.mark.slow
@pytest.mark.usefixtures("musicnn")
def test_a_probe_on_an_encoder_learns_and_classifies(store: Path, tiny: Tiny) -> None:
    """On the demo music, which the encoder cannot have heard: no mark."""
    values = {key.replace(".", "__"): value for key, value in PRESETS["musicnn"].thing.items()}
    values |= {"dataset__clip_s": 4.0, "audio__clip_s": 4.0, "segments__segment_s": 4.0}
    run = trained(tiny(**{**values, "model": "linear_probe"}), store)
    assert run.state == "done", run.reason
    assert "encoder's music unknown" not in run.warnings
    assert run.audit["encoder_heard"] == "no"
    assert run.weights.stat().st_size < 100_000  # bytes: the encoder is not in it
