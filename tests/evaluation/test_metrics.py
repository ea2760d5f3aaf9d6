"""Metrics against scikit-learn; intervals and tests against statsmodels and published figures."""

from __future__ import annotations

from math import isnan

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from genrecore.errors import GenrecoreError
from genrecore.evaluation.metrics import (
    METRICS,
    NO_PREDICTION,
    confusion,
    genres_in,
    per_genre,
    reliability,
    scores,
)
from genrecore.evaluation.significance import mcnemar_mid_p, paired_difference, wilson

GENRES = ["blues", "disco", "hiphop", "jazz", "metal", "pop", "rock"]


def draw_predictions(n: int = 201, k: int = 7, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labelled = rng.integers(0, k, n)
    proba = rng.dirichlet(np.ones(k), n)
    proba[np.arange(n), labelled] += 0.2
    return labelled, proba / proba.sum(axis=1, keepdims=True)


def table(labelled: np.ndarray, proba: np.ndarray, split: str = "test") -> pd.DataFrame:
    columns = {f"p_{genre}": proba[:, i] for i, genre in enumerate(GENRES)}
    genre = pd.array([GENRES[i] for i in labelled], dtype="string")
    ids = [f"clip{i}" for i in range(len(labelled))]
    return pd.DataFrame({"clip_id": ids, "split": split, "genre": genre, **columns})


def sklearns(labelled: np.ndarray, proba: np.ndarray) -> dict[str, float]:
    predicted, labels = proba.argmax(axis=1), np.arange(proba.shape[1])
    m = sklearn.metrics
    return {
        "accuracy": m.accuracy_score(labelled, predicted),
        "macro_f1": m.f1_score(labelled, predicted, average="macro"),
        "balanced_accuracy": m.recall_score(
            labelled, predicted, average="macro", labels=np.unique(labelled)
        ),
        "log_loss": m.log_loss(labelled, proba, labels=labels),
        "top_2": m.top_k_accuracy_score(labelled, proba, k=2, labels=labels),
        "calibration_error": sklearns_calibration_error(labelled, proba),
    }


def sklearns_calibration_error(labelled: np.ndarray, proba: np.ndarray) -> float:
    certainty, right = proba.max(axis=1), proba.argmax(axis=1) == labelled
    true, mean_certainty = calibration_curve(right, certainty, n_bins=10)
    n_clips = np.histogram(-certainty, bins=np.linspace(-1, 0, 11))[0][::-1]  # (low, high]
    return float(np.average(np.abs(true - mean_certainty), weights=n_clips[n_clips > 0]))


@pytest.mark.parametrize("name", list(METRICS))
def test_every_metric_equals_scikit_learns(name: str) -> None:
    for seed, n in ((7, 201), (8, 5), (9, 1)):  # 5 clips leave genres out
        labelled, proba = draw_predictions(n, seed=seed)
        ours = METRICS[name].thing(labelled, proba)
        expected = sklearns(labelled, proba)[name]
        assert ours == pytest.approx(expected, rel=1e-9, nan_ok=True)  # float64


@pytest.mark.parametrize("name", list(METRICS))
def test_nothing_measured_is_nan(name: str) -> None:
    assert isnan(METRICS[name].thing(np.zeros(0, int), np.zeros((0, 7))))


@pytest.mark.parametrize("name", list(METRICS))
def test_a_clip_without_numbers_makes_no_metric_better(name: str) -> None:
    labelled = np.array([0, 1, 2, 0, 1, 2])
    proba = 0.02 + 0.94 * np.eye(3)[labelled]  # all right
    metric = METRICS[name]
    before = metric.thing(labelled, proba)
    after = metric.thing(np.append(labelled, 0), np.vstack([proba, [np.nan] * 3]))
    if metric.facts.higher_is_better:
        assert after < before
    else:
        assert isnan(after) or after > before


def test_a_certain_mistake_has_a_finite_log_loss() -> None:
    measured = METRICS["log_loss"].thing(np.array([1]), np.array([[1.0, 0.0, 0.0]]))
    assert measured == pytest.approx(36.04, abs=0.01)  # -log of float64's spacing at 1


def test_of_equal_probabilities_the_first_genre_is_predicted() -> None:
    proba = np.full((3, 7), 1 / 7)
    assert METRICS["accuracy"].thing(np.array([0, 1, 2]), proba) == pytest.approx(1 / 3)
    assert METRICS["top_2"].thing(np.array([0, 1, 2]), proba) == pytest.approx(2 / 3)


def test_scores_are_of_one_split_and_carry_the_interval() -> None:
    labelled, proba = draw_predictions(101)
    valid = table(*draw_predictions(31, seed=3), split="valid")
    both = pd.concat([valid, table(labelled, proba)], ignore_index=True)
    measured = scores(both)
    expected = sklearns(labelled, proba)
    assert list(measured)[:4] == ["n_clips", "accuracy", "accuracy_low", "accuracy_high"]
    assert measured["n_clips"] == 101
    for name in METRICS:
        assert measured[name] == pytest.approx(expected[name], rel=1e-9)
    ends = wilson(round(expected["accuracy"] * 101), 101)
    assert (measured["accuracy_low"], measured["accuracy_high"]) == ends
    empty = scores(valid)
    assert empty.pop("n_clips") == 0
    assert all(isnan(value) for value in empty.values())


def test_confusion_and_per_genre_equal_scikit_learns() -> None:
    labelled, proba = draw_predictions()
    predictions = table(labelled, proba)
    assert genres_in(predictions) == GENRES
    counts = confusion(predictions, GENRES)
    assert (counts.index.name, counts.columns.name) == ("labelled", "predicted")
    predicted = proba.argmax(axis=1)
    expected = sklearn.metrics.confusion_matrix(labelled, predicted, labels=range(7))
    np.testing.assert_array_equal(counts.to_numpy(), expected)
    measured = per_genre(predictions, GENRES)
    precision, recall, f1, n = sklearn.metrics.precision_recall_fscore_support(labelled, predicted)
    np.testing.assert_allclose(measured["precision"], precision)
    np.testing.assert_allclose(measured["recall"], recall)
    np.testing.assert_allclose(measured["f1"], f1)
    np.testing.assert_array_equal(measured["n_clips"], n)
    assert (measured["recall_low"] < measured["recall"]).all()
    assert (measured["recall"] < measured["recall_high"]).all()


def test_a_genre_without_clips_has_nan_recall_not_0() -> None:
    proba = np.eye(7)[[0, 0, 1]]  # blues, blues, disco are predicted
    measured = per_genre(table(np.array([0, 2, 1]), proba), GENRES).set_index("genre")
    assert measured.loc["blues", ["recall", "precision"]].tolist() == [1, 0.5]
    assert (measured.loc["hiphop", "recall"], measured.loc["hiphop", "f1"]) == (0, 0)
    assert isnan(measured.loc["hiphop", "precision"])
    silent = measured.loc["rock", ["recall", "recall_low", "recall_high", "precision", "f1"]]
    assert silent.isna().all()


def test_a_calibration_curve_by_hand() -> None:
    # Ten predictions at 0.8, eight of them right, and four at 0.65, one of them right.
    certainty = np.array([0.8] * 10 + [0.65] * 4)
    proba = np.stack([certainty, 1 - certainty], axis=1)
    labelled = np.array([0] * 8 + [1] * 2 + [0] + [1] * 3)
    predictions = pd.DataFrame({"genre": np.array(["a", "b"])[labelled]})
    predictions[["p_a", "p_b"]] = proba
    measured = reliability(predictions, ["a", "b"])
    assert measured[["low", "high", "n_clips"]].to_numpy().tolist() == [
        [0.6, 0.7, 4],
        [0.7, 0.8, 10],
    ]
    assert measured["certainty"].tolist() == pytest.approx([0.65, 0.8])
    assert measured["accuracy"].tolist() == [0.25, 0.8]
    assert (measured["accuracy_low"].iloc[0], measured["accuracy_high"].iloc[0]) == wilson(1, 4)
    expected = (4 * 0.4 + 10 * 0.0) / 14
    assert METRICS["calibration_error"].thing(labelled, proba) == pytest.approx(expected)


def test_a_clip_without_numbers_has_no_prediction_and_is_not_dropped() -> None:
    labelled, proba = draw_predictions(50)
    labelled[3] = 0  # where a plain argmax would take the missing number for a prediction
    proba[3] = np.nan
    rest = np.arange(50) != 3
    predictions = table(labelled, proba)
    measured = scores(predictions)
    n_right = (proba.argmax(axis=1) == labelled)[rest].sum()
    assert (measured["n_clips"], measured["accuracy"]) == (50, n_right / 50)
    assert isnan(measured["log_loss"])
    assert isnan(measured["calibration_error"])
    counts = confusion(predictions, GENRES)
    assert counts.columns[-1] == NO_PREDICTION
    assert (counts[NO_PREDICTION].sum(), counts.to_numpy().sum()) == (1, 50)
    recalls = per_genre(predictions, GENRES).set_index("genre")["recall"]
    assert recalls["blues"] == (counts.loc["blues", "blues"] / counts.loc["blues"].sum())
    assert reliability(predictions, GENRES)["n_clips"].sum() == 49


def test_an_unknown_label_is_refused_with_the_choices() -> None:
    predictions = table(*draw_predictions(9))
    predictions.loc[4, "genre"] = "polka"
    with pytest.raises(GenrecoreError, match="labelled 'polka', but the genres are: blues, disco"):
        scores(predictions)


@pytest.mark.parametrize(("k", "n"), [(0, 7), (3, 7), (7, 7), (81, 263), (999, 1000)])
def test_wilson_equals_statsmodels(k: int, n: int) -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    for confidence in (0.95, 0.9):
        expected = proportion.proportion_confint(k, n, alpha=1 - confidence, method="wilson")
        assert wilson(k, n, confidence) == pytest.approx(expected, abs=1e-12)  # float64


def test_wilson_at_its_corners_by_hand() -> None:
    z_squared = 3.841459  # of the standard normal's 97.5 % point, to seven digits
    assert wilson(7, 7) == (pytest.approx(7 / (7 + z_squared), rel=1e-6), 1)
    assert wilson(0, 7) == (0, pytest.approx(z_squared / (7 + z_squared), rel=1e-6))
    assert all(isnan(end) for end in wilson(0, 0))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 400), st.integers(0, 400))
def test_mid_p_is_the_exact_p_less_half_of_what_is_as_extreme(only_a: int, only_b: int) -> None:
    from scipy.stats import binom

    n = only_a + only_b
    mass = binom.pmf(np.arange(n + 1), n, 0.5)
    extreme = np.abs(np.arange(n + 1) - n / 2) - abs(only_a - n / 2)
    expected = mass[extreme > 0].sum() + mass[extreme == 0].sum() / 2
    if n:
        assert mcnemar_mid_p(only_a, only_b) == pytest.approx(expected, rel=1e-8, abs=1e-300)
    assert mcnemar_mid_p(only_a, only_b) == mcnemar_mid_p(only_b, only_a)


def test_mid_p_by_hand_and_against_the_exact_test() -> None:
    assert mcnemar_mid_p(0, 0) == 1
    close = {"rel": 1e-12}  # float64
    assert mcnemar_mid_p(1, 0) == pytest.approx(0.5, **close)
    assert mcnemar_mid_p(7, 1) == pytest.approx(2 * (1 / 256) + 8 / 256, **close)
    contingency = pytest.importorskip("statsmodels.stats.contingency_tables")
    exact = contingency.mcnemar([[5, 19], [8, 5]], exact=True).pvalue
    from scipy.stats import binom

    assert mcnemar_mid_p(19, 8) == pytest.approx(exact - binom.pmf(8, 27, 0.5))


def rights(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    counts = [both, only_a, only_b, neither]
    return np.repeat([1, 1, 0, 0], counts), np.repeat([1, 0, 1, 0], counts)


def test_the_paired_interval_equals_that_of_another_implementation() -> None:
    # R's contingencytables (Fagerland, Lydersen & Laake 2017), Newcombe's interval for the table
    # of complete responses before and after therapy (Cavo et al. 2012); printed to four digits
    measured = paired_difference(*rights(59, 6, 16, 80))
    assert measured == pytest.approx((-0.0621, -0.1186, -0.0046), abs=5e-5)


def test_the_paired_interval_without_disagreement_by_hand() -> None:
    # Both margins are 0 of 50: no correlation is known, and the Wilson ends add in squares.
    _, high = wilson(0, 50)
    assert paired_difference(*rights(0, 0, 0, 50)) == pytest.approx((0, -high, high), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(*[st.integers(0, 60)] * 4)
def test_the_paired_interval_holds_the_difference_and_mirrors(both, a, b, neither) -> None:
    right_a, right_b = rights(both, a, b, neither)
    difference, low, high = paired_difference(right_a, right_b)
    if len(right_a) == 0:
        assert isnan(difference)
        return
    assert difference == pytest.approx(right_a.mean() - right_b.mean())
    assert -1 <= low <= difference <= high <= 1
    mirrored = paired_difference(right_b, right_a)
    assert mirrored == pytest.approx((-difference, -high, -low), abs=1e-12)  # float64


def test_systems_compared_on_different_clips_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        paired_difference([1, 0], [1, 0, 1])
