"""Classical models and the perceptron on GTZAN itself: its descriptors of all 1 000 clips."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import trained

from genrecore.config.run import RunConfig, with_values
from genrecore.evaluation.folds import pool_folds
from genrecore.evaluation.scores import run_scores
from genrecore.training.resolve import resolve

pytestmark = pytest.mark.xdist_group("baselines")  # scikit-learn is imported by one worker


# On GTZAN itself: its table of descriptors, all 1 000 clips. Add a model as one row of each table.

# Qin's recipe (8e-5, log-sigmoid) reaches 43.5 % of the validation clips in the default 20 epochs
# and 74.8 % in 300. Of sixteen recipes on these folds this one had the best validation accuracy
# among those with the layers of a study (Belton's third, with dropout): 77.8 % of ten folds'
# validation clips, the best epochs chosen by them. In float32 it reaches 74.7, 73.2 and 72.8 % of
# the test clips with seeds 0, 1 and 2, and 53.8, 53.8 and 47.9 % without artists and copies on both
# sides: seed 2 falls short of both ranges, which are about one standard error wide.
PERCEPTRON = {
    "model.hidden": "128, 64", "model.activation": "relu", "model.dropout": 0.3,
    "training.epochs": 100, "training.precision": "float32",
}  # fmt: skip
STRATIFIED = [
    # Of ten stratified folds, with nine parts trained on, scikit-learn alone gives 74.3 and 74.8 %;
    # here a tenth validates, so eight are. 1.5 points are about one standard error of 1 000 clips.
    ("svm", {}, 0.743, 0.015),
    ("gradient_boosting", {}, 0.748, 0.015),
    ("mlp", PERCEPTRON, 0.745, 0.015),  # 73 % at least
]
FILTERED = [
    # Without artists and copies on both sides, 443 clips trained on: far from 75 %.
    ("svm", {}, 0.49, 0.58),
    ("gradient_boosting", {}, 0.49, 0.58),
    ("mlp", PERCEPTRON, 0.49, 0.58),
]


def on_gtzan(real_data: Path, name: str, **values: object) -> RunConfig:
    defaults = {
        "dataset": "gtzan", "dataset.folder": str(real_data / "gtzan"), "dataset.form": "table_30s",
        "feature": "descriptors", "model": name, "allow_leaks": True, "device": "cpu",
    }  # fmt: skip
    return resolve(with_values(RunConfig(), defaults | values)).config


@pytest.mark.long
@pytest.mark.parametrize(("name", "values", "expected", "within"), STRATIFIED)
def test_accuracy_over_ten_folds_of_gtzan_is_as_published(
    store: Path, real_data: Path, name: str, values: dict[str, object], expected: float,
    within: float,
) -> None:  # fmt: skip
    folds = {"split": "stratified", "split.n_folds": 10}
    runs = [
        trained(on_gtzan(real_data, name, **folds, **values, fold=fold), store)
        for fold in range(10)
    ]
    pooled = pool_folds(runs).scores
    assert pooled["n_clips"] == 1000
    assert pooled["accuracy"] == pytest.approx(expected, abs=within)


@pytest.mark.long
@pytest.mark.parametrize(("name", "values", "low", "high"), FILTERED)
def test_accuracy_falls_where_no_artist_and_no_copy_crosses(
    store: Path, real_data: Path, name: str, values: dict[str, object], low: float, high: float
) -> None:
    run = trained(on_gtzan(real_data, name, split="fault_filtered", **values), store)
    assert run.clips is not None
    assert int((run.clips["split"] == "train").sum()) == 443
    scores = run_scores(run)
    assert scores["n_clips"] == 290
    assert low <= scores["accuracy"] <= high
