"""Answers that may be "not sure": curves, areas and thresholds by hand, and promises that hold."""

from __future__ import annotations

from math import isnan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import trained
from fake_runs import fake_run
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from test_calibration import softmax

from genrecore.config.run import RunConfig, with_values
from genrecore.errors import GenrecoreError, UsageError
from genrecore.evaluation import clustered, comparison, selective
from genrecore.evaluation import thresholds as thresholds_of
from genrecore.evaluation.selective import area, area_parts, risk_coverage
from genrecore.evaluation.thresholds import TOO_FEW, TOO_WRONG, Thresholds, select, select_from
from genrecore.store.run import Run

RIGHT = np.array([True, True, False, True])
SURE = np.array([0.9, 0.8, 0.7, 0.6])


def alone(n: int) -> np.ndarray:
    return np.arange(n)


def error_over_shares(right: np.ndarray, sure: np.ndarray) -> float:
    """The area as it is defined, for confidences that all differ."""
    wrong = ~right[np.argsort(-sure)]
    return float((np.cumsum(wrong) / np.arange(1, len(wrong) + 1)).mean())


# The curve


def test_the_curve_has_the_accuracy_of_the_surest_clips() -> None:
    curve = risk_coverage(RIGHT, SURE, alone(4))
    assert curve["coverage"].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert curve["accuracy"].tolist() == pytest.approx([1.0, 1.0, 2 / 3, 3 / 4])
    assert curve["confidence"].tolist() == SURE.tolist()
    whole = clustered.accuracy(RIGHT, alone(4))
    assert curve.iloc[-1][["low", "high"]].tolist() == [whole.low, whole.high]


def test_equally_sure_clips_are_answered_together() -> None:
    curve = risk_coverage(RIGHT, np.array([0.9, 0.7, 0.7, 0.7]), alone(4))
    assert curve["coverage"].tolist() == [0.25, 1.0]
    assert curve["accuracy"].tolist() == [1.0, 0.75]


def test_intervals_of_the_curve_count_artists_not_clips() -> None:
    right, sure = np.repeat([True, False] * 10, 6), np.linspace(0.9, 0.5, 120)
    artists = np.repeat(alone(20), 6)
    by_clip, by_artist = (risk_coverage(right, sure, g) for g in (alone(120), artists))
    widths = [float((curve["high"] - curve["low"]).iloc[-1]) for curve in (by_clip, by_artist)]
    assert widths[1] > 2 * widths[0]  # six clips that are all alike: √6 times


def test_several_seeds_are_answered_share_by_share() -> None:
    right = np.array([[True, True, False, False], [False, True, True, np.nan]], dtype=float)
    sure = np.array([[0.9, 0.8, 0.7, 0.6], [0.2, 0.4, 0.3, 0.0]])
    curve = risk_coverage(right, sure, alone(4))
    # At a third of its clips the second is right on its surest, the first on one of its surest.
    assert curve["coverage"].iloc[0] == pytest.approx(2 / 7)
    assert curve["accuracy"].iloc[0] == 1.0
    assert curve["accuracy"].iloc[-1] == pytest.approx(4 / 7)
    assert curve["confidence"].isna().all()


@pytest.mark.parametrize(("right", "accuracy"), [(True, 1.0), (False, 0.0)])
def test_a_run_that_is_always_right_or_wrong_has_a_flat_curve(right: bool, accuracy: float) -> None:
    curve = risk_coverage(np.full(7, right), np.linspace(0.3, 0.9, 7), alone(7))
    assert (curve["accuracy"] == accuracy).all()
    parts, normalised = area_parts(np.full(7, right), np.linspace(0.3, 0.9, 7))
    assert parts.mean() == pytest.approx(1 - accuracy)
    assert np.isnan(normalised).all()  # there is nothing to tell apart


def test_nothing_was_measured_without_clips() -> None:
    none = np.zeros(0)
    assert risk_coverage(none, none, none).empty
    assert isnan(area(none, none).value)


# The area


def test_the_area_is_the_mean_error_over_all_shares() -> None:
    parts, normalised = area_parts(RIGHT, SURE)
    # Errors of the first one, two, three, four: 0, 0, 1/3, 1/4.
    assert parts.mean() == pytest.approx((0 + 0 + 1 / 3 + 1 / 4) / 4)
    # At best the mistake comes last (0, 0, 0, 1/4: a mean of 1/16), without knowledge it is 1/4.
    assert normalised.mean() == pytest.approx((7 / 48 - 1 / 16) / (1 / 4 - 1 / 16))
    assert area(parts, alone(4)).value == pytest.approx(7 / 48)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 60), levels=st.integers(1, 60), seed=st.integers(0, 10**6))
def test_areas_are_those_of_the_definition_and_of_no_order(n: int, levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    right, sure = rng.random(n) < 0.7, rng.integers(0, levels, n) / levels
    parts, normalised = area_parts(right, sure)
    if len(np.unique(sure)) == n:
        assert parts.mean() == pytest.approx(error_over_shares(right, sure), abs=1e-9)
    best = error_over_shares(right, right.astype(float) + np.linspace(0, 0.1, n))
    error = 1 - right.mean()
    if 0 < error < 1:
        expected = (parts.mean() - best) / (error - best)
        assert normalised.mean() == pytest.approx(expected, abs=1e-9)
    order = rng.permutation(n)
    np.testing.assert_allclose(area_parts(right[order], sure[order])[0], parts[order], atol=1e-9)
    squeezed = area_parts(right, np.sqrt(sure))[0]  # only the order of confidences counts
    np.testing.assert_allclose(squeezed, parts, atol=1e-9)


def test_ties_count_as_the_mean_of_all_their_orders() -> None:
    rng = np.random.default_rng(5)
    right, sure = rng.random(9) < 0.6, np.array([0.9, 0.9, 0.9, 0.5, 0.5, 0.5, 0.5, 0.2, 0.1])
    orders = [error_over_shares(right, sure + 1e-3 * rng.random(9)) for _ in range(6000)]
    # Standard error of that mean: below 0.001.
    assert area_parts(right, sure)[0].mean() == pytest.approx(float(np.mean(orders)), abs=0.004)


def test_the_interval_of_an_area_is_as_wide_as_areas_vary() -> None:
    rng = np.random.default_rng(8)
    areas, errors, covered = [], [], 0
    for _ in range(400):
        sure = rng.random(150)
        interval = area(area_parts(rng.random(150) < 0.4 + 0.6 * sure, sure)[0], alone(150))
        areas.append(interval.value)
        errors.append(interval.error)
        # Of clips as sure as u of all 1 − 0.6 u + … are wrong: the mean of 0.3 (1 − s) over s.
        covered += interval.low <= 0.15 <= interval.high
    assert np.mean(areas) == pytest.approx(0.15, abs=0.004)  # standard error 0.001
    assert np.mean(errors) == pytest.approx(np.std(areas), rel=0.15)
    assert covered / 400 == pytest.approx(0.95, abs=0.035)  # three standard errors


# Thresholds


def table(
    right: np.ndarray,
    sure: np.ndarray,
    artists: np.ndarray | None = None,
    split: str = "valid",
    genres: tuple[str, ...] = ("a", "b"),
    predicted: np.ndarray | None = None,
) -> pd.DataFrame:
    """Predictions with these confidences; by default all predicted as the first genre."""
    n, k = len(right), len(genres)
    best = np.zeros(n, int) if predicted is None else predicted
    proba = np.repeat((1 - sure)[:, None] / (k - 1), k, axis=1)
    proba[np.arange(n), best] = sure
    label = np.where(right, best, (best + 1) % k)
    columns = {f"p_{genre}": proba[:, j] for j, genre in enumerate(genres)}
    ids = [f"{split} {number}" for number in range(n)]
    rows = {"clip_id": ids, "split": split, "genre": np.array(genres)[label], **columns}
    return pd.DataFrame(rows | ({} if artists is None else {"artist": artists.astype(str)}))


def row(predictions: pd.DataFrame, precision: float, genre: str = "a") -> pd.Series:
    return select_from(predictions, precision).genres.set_index("genre").loc[genre]


def test_right_answers_on_22_clips_promise_90_percent_and_on_21_they_do_not() -> None:
    sure = np.linspace(0.99, 0.7, 22)  # 0.9 ** 22 < 0.1 < 0.9 ** 21
    every = row(table(np.ones(22, bool), sure), 0.9)
    assert every["threshold"] == pytest.approx(0.7, abs=1e-6)
    assert every["promised"] == pytest.approx(0.1 ** (1 / 22))
    few = row(table(np.ones(21, bool), sure[:21]), 0.9)
    assert isnan(few["threshold"])
    assert few["why"] == TOO_FEW


def test_the_threshold_is_the_last_confidence_whose_bound_holds() -> None:
    right = np.append(np.ones(30, bool), np.zeros(20, bool))
    sure = np.linspace(0.99, 0.6, 50)
    fitted = row(table(right, sure), 0.8)
    # Two sequences of tests, from 14 clips and from 27 on, share the 10 %: Clopper & Pearson's.
    bounds = {n: stats.beta.ppf(0.05, 30, n - 30 + 1) for n in range(30, 51)}
    last = max(n for n, bound in bounds.items() if bound >= 0.8)
    assert fitted["threshold"] == pytest.approx(sure[last - 1], abs=1e-6)
    assert fitted["promised"] == pytest.approx(bounds[last])


def test_a_genre_that_is_mostly_wrong_is_never_answered() -> None:
    answers = select_from(table(np.arange(80) % 2 == 0, np.linspace(0.99, 0.6, 80)), 0.9)
    assert answers.genres["why"].tolist()[0] == TOO_WRONG
    assert answers.thresholds.answer("a", 1.0) is None
    assert any("never answered" in sentence for sentence in answers.sentences)


def test_many_clips_of_few_artists_promise_nothing() -> None:
    artists = np.repeat(alone(8), 20)
    fitted = row(table(np.ones(160, bool), np.linspace(0.99, 0.6, 160), artists), 0.9)
    assert isnan(fitted["threshold"])
    assert fitted["artists"] == pytest.approx(8)
    assert fitted["why"] == TOO_FEW


def test_genres_with_too_few_clips_are_judged_together() -> None:
    genres, n = ("a", "b", "c"), 48
    predicted = np.arange(n) % 3
    valid = table(np.ones(n, bool), np.linspace(0.99, 0.6, n), None, "valid", genres, predicted)
    answers = select_from(valid, 0.9)
    assert answers.genres["together"].all()
    assert answers.genres["threshold"].nunique() == 1
    assert any("together" in sentence for sentence in answers.sentences)


def test_the_check_on_test_clips_counts_what_is_answered() -> None:
    valid = table(np.ones(40, bool), np.linspace(0.9, 0.7, 40))
    right = np.append(np.ones(9, bool), np.zeros(3, bool))
    test = table(right, np.append(np.full(10, 0.8), [0.6, 0.5]), split="test")
    answers = select_from(pd.concat([valid, test], ignore_index=True), 0.8)
    fitted = answers.genres.iloc[0]
    assert (fitted["n_test"], fitted["coverage"]) == (12, pytest.approx(10 / 12))
    assert fitted["reached"] == pytest.approx(0.9)
    expected = clustered.accuracy(right[:10], alone(10))
    assert (fitted["reached_low"], fitted["reached_high"]) == (expected.low, expected.high)
    assert answers.coverage.value == pytest.approx(10 / 12)
    assert answers.reached.value == pytest.approx(0.9)


def test_a_promise_that_the_test_clips_break_is_called_so() -> None:
    valid = table(np.ones(60, bool), np.full(60, 0.8))
    test = table(np.arange(60) % 2 == 0, np.full(60, 0.9), split="test")
    answers = select_from(pd.concat([valid, test], ignore_index=True), 0.9)
    assert any("not kept" in sentence for sentence in answers.sentences)


def test_without_validation_clips_nothing_is_answered(tmp_path: Path) -> None:
    run = fake_run(tmp_path, np.ones(30, bool))
    answers = select([run], 0.9)
    assert not any(answers.thresholds.of_genre.values())
    assert answers.coverage.value == 0.0
    assert "Never answered" in " ".join(answers.sentences)


def test_clips_without_a_prediction_are_never_answered() -> None:
    valid = table(np.ones(40, bool), np.linspace(0.9, 0.7, 40))
    valid.loc[:4, ["p_a", "p_b"]] = np.nan
    fitted = row(valid, 0.8)
    assert fitted["n_valid"] == 35
    assert selective.outcomes(valid)["confidence"].iloc[0] == 0.0


@pytest.mark.parametrize("precision", [0.4, 1.0, float("nan"), -1.0])
def test_only_precisions_that_can_be_shown_are_taken(precision: float) -> None:
    with pytest.raises(UsageError, match=r"between 0\.5 and 0\.999"):
        select_from(table(np.ones(40, bool), np.full(40, 0.8)), precision)


def test_thresholds_come_back_from_json_and_other_values_are_refused() -> None:
    thresholds = Thresholds(0.9, {"a": 0.75, "b": None})
    assert Thresholds.from_json(thresholds.as_json()) == thresholds
    assert thresholds.answer("a", 0.75) == "a"
    assert thresholds.answer("a", 0.7499) is None
    assert thresholds.answer("b", 1.0) is None
    assert thresholds.answer("c", 1.0) is None
    for values in (None, {}, {"precision": 0.9, "thresholds": 3}):
        with pytest.raises(ValueError, match="found"):
            Thresholds.from_json(values)


def with_split(run: Run, n_valid: int) -> Run:
    """The run, its first test clips taken for validation clips."""
    path = run.folder / "predictions.parquet"
    predictions = pd.read_parquet(path)
    predictions.loc[: n_valid - 1, "split"] = "valid"
    predictions.to_parquet(path, index=False)
    return Run(run.folder)


def test_the_average_of_runs_is_judged_by_its_own_validation_predictions(tmp_path: Path) -> None:
    runs = [with_split(fake_run(tmp_path, np.arange(120) % 7 != k), 90) for k in range(2)]
    together = select(runs, 0.8)
    assert together.table["n_valid"].iloc[-1] == 90
    with pytest.raises(GenrecoreError, match="differ in genres, validation or test clips"):
        select([runs[0], fake_run(tmp_path, np.ones(30, bool))], 0.8)


# Promises hold


def promises_kept(
    n_artists: int, per_artist: int, alike: float, precision: float, n: int, seed: int
) -> tuple[float, float, float]:
    """Of n validation sets: the share that breaks the promise of a genre, the share that has a
    threshold, and the share of held-out clips that is answered.

    A clip's chance to be right grows with its confidence, and artists move it.
    """
    rng = np.random.default_rng(seed)

    def drawn(n_artists: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        artists = np.repeat(alone(n_artists), per_artist)
        level = rng.normal(0, alike, n_artists)[artists]
        sure = rng.beta(4, 1.5, len(artists))
        chance = 1 / (1 + np.exp(-(5 * sure - 2 + level)))
        return rng.random(len(artists)) < chance, sure, artists

    held_right, held_sure, _ = drawn(40_000 // per_artist)
    broken, there, answered = 0, 0, []
    for _ in range(n):
        right, sure, artists = drawn(n_artists)
        threshold = row(table(right, 0.5 + sure / 2, artists), precision)["threshold"]
        if isnan(threshold):
            answered.append(0.0)
            continue
        is_answered = 0.5 + held_sure / 2 >= threshold
        there += 1
        broken += held_right[is_answered].mean() < precision
        answered.append(float(is_answered.mean()))
    return broken / n, there / n, float(np.mean(answered))


@pytest.mark.slow
@pytest.mark.parametrize(("n_artists", "per_artist", "alike"), [(150, 1, 0.0), (60, 3, 1.0)])
def test_promised_precision_holds_on_held_out_clips(
    n_artists: int, per_artist: int, alike: float
) -> None:
    broken, there, answered = promises_kept(n_artists, per_artist, alike, 0.8, 60, 3)
    assert broken <= 0.1 + 3 * (0.1 * 0.9 / 60) ** 0.5  # nominal, and three standard errors
    assert there > 0.2
    assert answered > 0.05


@pytest.mark.long
def test_promises_over_artists_sizes_and_precisions() -> None:
    rows = []
    for n_artists, per_artist in (
        (30, 1),
        (100, 1),
        (400, 1),
        (30, 4),
        (60, 4),
        (150, 4),
        (40, 10),
    ):
        for alike in (0.0, 1.0, 2.0) if per_artist > 1 else (0.0,):
            for precision in (0.8, 0.9):
                kept = promises_kept(n_artists, per_artist, alike, precision, 400, 17)
                rows.append((n_artists, per_artist, alike, precision, *kept))
    columns = ["artists", "clips each", "alike", "precision", "broken", "there", "answered"]
    cells = pd.DataFrame(rows, columns=columns)
    most = 0.1 + 3 * (0.1 * 0.9 / 400) ** 0.5
    assert (cells["broken"] <= most).all(), cells.round(3).to_string()


@pytest.mark.long
def test_promises_hold_on_held_out_artists_of_the_demo_music(tmp_path: Path) -> None:
    from genrecore.training.resolve import resolve

    values = {"model": "logistic_regression", "feature": "descriptors", "dataset.n_clips": 48}
    values |= {"dataset.n_artists": 24, "dataset.clip_s": 6.0, "split.n_folds": 3}
    config = resolve(with_values(RunConfig(), values)).config
    predictions = thresholds_of._predictions([trained(config, tmp_path)])
    rng, n_right, n_answered, n_broken = np.random.default_rng(6), 0.0, 0.0, 0
    by_genre = predictions.groupby("genre")["artist"].unique()
    for _ in range(40):
        half = [name for names in by_genre for name in rng.permutation(names)[: len(names) // 2]]
        split = np.where(predictions["artist"].isin(half), "valid", "test")
        answers = select_from(predictions.assign(split=split), 0.7)
        if answers.coverage.value:
            n = answers.coverage.value * float((split == "test").sum())
            n_answered, n_right = n_answered + n, n_right + n * answers.reached.value
            n_broken += answers.reached.value < 0.7
    assert n_answered > 100
    assert n_right / n_answered >= 0.7
    assert n_broken <= 8  # 10 % of 40, chance on some dozens of clips, and alike divisions


# Two runs


def paired(tmp_path: Path, how: float, n: int = 240) -> comparison.Comparison:
    """Two runs with the same mistakes: A knows them, B is as sure of `how` many of them."""
    rng = np.random.default_rng(4)
    right, artists = rng.random(n) < 0.75, alone(n) // 2
    runs = [fake_run(tmp_path, right, artists, seed=k) for k in range(2)]
    for run, blind in zip(runs, (0.0, how), strict=True):
        path = run.folder / "predictions.parquet"
        predictions = pd.read_parquet(path)
        unsure = ~right & (rng.random(n) >= blind)
        columns = [c for c in predictions.columns if c.startswith("p_")]
        proba = predictions[columns].to_numpy()
        proba = np.where(unsure[:, None], softmax(0.3 * np.log(proba)), proba)
        predictions[columns] = softmax(np.log(proba) * rng.uniform(0.9, 1.1, (n, 1)))
        predictions.to_parquet(path, index=False)
    return comparison.compare([Run(run.folder) for run in runs])


def test_of_two_equally_accurate_runs_the_one_that_knows_its_mistakes_is_named(
    tmp_path: Path,
) -> None:
    compared = paired(tmp_path, 0.9)
    pair = compared.pairs.iloc[0]
    assert pair["difference"] == 0.0
    assert pair["area_high"] < 0  # A errs less
    gap = compared.areas["area"].iloc[0] - compared.areas["area"].iloc[1]
    assert pair["area_difference"] == pytest.approx(gap)
    assert pair["normalised_high"] < 0
    assert f"{pair['title_a']} knows better what it does not know" in pair["area_sentence"]
    assert len(compared.risk_coverage["run_id"].unique()) == 2


def test_two_that_know_their_mistakes_alike_cannot_be_told_apart(tmp_path: Path) -> None:
    pair = paired(tmp_path, 0.02).pairs.iloc[0]
    assert pair["area_low"] < 0 < pair["area_high"]
    assert "cannot be told" in pair["area_sentence"]


def test_a_more_accurate_run_need_not_know_better_what_it_does_not_know(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    runs = [
        fake_run(tmp_path, rng.random(400) < share, seed=k) for k, share in enumerate((0.9, 0.5))
    ]
    pair = comparison.compare(runs).pairs.iloc[0]
    assert "is better where both may be not sure" in pair["area_sentence"]
    assert "Which knows better what it does not know cannot be told" in pair["area_sentence"]
