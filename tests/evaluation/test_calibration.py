"""Calibration: helps on clips it has not seen, changes no prediction, says where it cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrecore.evaluation import calibration, metrics
from genrecore.evaluation.calibration import (
    Calibration,
    calibrate,
    calibrate_predictions,
    fit_temperature,
    tempered,
)
from genrecore.store.files import read_json
from genrecore.store.run import Run


def draw_predictions(
    n: int, k: int, temperature: float, seed: int, spread: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from honest probabilities, and those probabilities made wrong: as of a network
    whose right temperature is known."""
    generator = np.random.default_rng(seed)
    honest = softmax(spread * generator.standard_normal((n, k)))
    labels = (generator.random((n, 1)) > honest.cumsum(axis=1)).sum(axis=1).clip(max=k - 1)
    return labels, tempered(honest, 1.0 / temperature)


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def predictions(labels: np.ndarray, proba: np.ndarray, split: str = "valid") -> pd.DataFrame:
    genres = [f"g{k}" for k in range(proba.shape[1])]
    return pd.DataFrame(
        {
            "clip_id": [f"c{n}" for n in range(len(labels))],
            "split": split,
            "genre": [genres[k] for k in labels],
        }
        | {f"p_{genre}": proba[:, k] for k, genre in enumerate(genres)}
    )


@settings(max_examples=40, deadline=None)
@given(
    temperature=st.one_of(st.floats(0.3, 0.6), st.floats(1.8, 5.0)),
    k=st.integers(3, 10),
    seed=st.integers(0, 10**6),
)
def test_it_lowers_log_loss_and_calibration_error_on_held_out_clips(
    temperature: float, k: int, seed: int
) -> None:
    labels, proba = draw_predictions(1400, k, temperature, seed)
    valid, held_out = slice(0, 400), slice(400, None)
    calibration = calibrate_predictions(predictions(labels[valid], proba[valid]))
    assert calibration.note == ""
    # The estimate of 400 clips: within a third of the truth, some six standard errors.
    assert calibration.temperature == pytest.approx(temperature, rel=0.33)
    after = calibration.apply(proba[held_out])
    assert metrics.log_loss(labels[held_out], after) < metrics.log_loss(
        labels[held_out], proba[held_out]
    )
    assert calibration.log_loss_after < calibration.log_loss_before
    assert np.array_equal(after.argmax(axis=1), proba[held_out].argmax(axis=1))
    np.testing.assert_allclose(after.sum(axis=1), 1.0, atol=1e-12)  # float64


def test_what_an_overconfident_network_claims_comes_down_to_what_is_right() -> None:
    labels, proba = draw_predictions(3000, 10, 3.0, 7)
    calibration = calibrate_predictions(predictions(labels[:1000], proba[:1000]))
    before = metrics.calibration_error(labels[1000:], proba[1000:])
    after = metrics.calibration_error(labels[1000:], calibration.apply(proba[1000:]))
    assert before > 0.15
    # A tenth of 2 000 clips a bin: an error of 1 to 2 % is what chance alone makes.
    assert after < 0.04
    assert "makes it less sure" in calibration.sentence
    assert calibration.error_before > calibration.error_after


@pytest.mark.parametrize(
    ("temperature", "loss", "error", "parts"),
    [
        (1.77, (1.203, 1.105), (0.078, 0.096), ["less sure", "falls from 1.203 to 1.105",
                                               "calibration error rises from 7.8 % to 9.6 %"]),
        (0.81, (1.203, 1.105), (0.096, 0.078), ["more sure", "falls from 1.203",
                                               "calibration error falls from 9.6 % to 7.8 %"]),
        (1.001, (1.2031, 1.2029), (0.0781, 0.0779), ["hardly changes how sure", "stays at 1.203",
                                                    "calibration error stays at 7.8 %"]),
    ],
)  # fmt: skip
def test_the_sentence_tells_what_was_chosen_by_and_where_every_number_went(
    temperature: float, loss: tuple[float, float], error: tuple[float, float], parts: list[str]
) -> None:
    sentence = Calibration(temperature, 60, *loss, *error).sentence
    assert "chosen by log loss on 60 validation clips" in sentence
    assert all(part in sentence for part in parts), sentence


def test_honest_probabilities_stay_about_as_they_are() -> None:
    for seed in range(5):
        labels, proba = draw_predictions(400, 5, 1.0, seed)
        # Four standard errors of 400 clips.
        assert calibrate_predictions(predictions(labels, proba)).temperature == pytest.approx(
            1.0, abs=0.3
        )


def test_the_fit_is_where_a_fine_grid_has_its_least_loss() -> None:
    labels, proba = draw_predictions(200, 4, 2.5, 3)
    grid = np.geomspace(*calibration.RANGE, 2000)
    losses = [metrics.log_loss(labels, tempered(proba, t)) for t in grid]
    assert fit_temperature(labels, proba) == pytest.approx(
        grid[int(np.argmin(losses))], rel=3e-3
    )  # the step


def test_votes_of_three_neighbours_become_better_than_equal_probabilities() -> None:
    generator = np.random.default_rng(3)
    labels = generator.integers(10, size=200)
    is_near = generator.random((200, 3)) < 0.4  # four neighbours in ten have the clip's genre
    neighbours = np.where(is_near, labels[:, None], generator.integers(10, size=(200, 3)))
    votes = (neighbours[:, :, None] == np.arange(10)).mean(axis=1)
    fitted = calibrate_predictions(predictions(labels, votes))
    assert fitted.log_loss_before > 5 > np.log(10) > 2.2 > fitted.log_loss_after
    np.testing.assert_array_equal(fitted.apply(votes).argmax(axis=1), votes.argmax(axis=1))


def test_what_knows_nothing_is_not_sure_of_anything() -> None:
    generator = np.random.default_rng(4)
    labels = generator.integers(5, size=100)
    proba = softmax(6 * generator.standard_normal((100, 5)))
    fitted = calibrate_predictions(predictions(labels, proba))
    assert "cannot say how surely" in fitted.sentence
    assert fitted.apply(proba).max() < 0.3  # of five genres
    np.testing.assert_array_equal(fitted.apply(proba).argmax(axis=1), proba.argmax(axis=1))


def test_a_temperature_divides_logits() -> None:
    logits = np.random.default_rng(1).standard_normal((7, 4)) * 5
    np.testing.assert_allclose(tempered(softmax(logits), 2.5), softmax(logits / 2.5), rtol=1e-10)
    certain = tempered(np.array([[1.0, 0.0, 0.0]]), 4.0)  # no logarithm of nothing
    assert np.isfinite(certain).all()
    assert certain.argmax() == 0


@pytest.mark.parametrize(
    ("n", "note"), [(0, "no validation clips"), (1, "only 1 validation clip,"), (29, "only 29")]
)
def test_too_few_clips_leave_the_probabilities_alone(n: int, note: str) -> None:
    labels, proba = draw_predictions(200, 4, 3.0, 5)
    split = np.where(np.arange(200) < n, "valid", "test")
    calibration = calibrate_predictions(predictions(labels, proba).assign(split=split))
    assert (calibration.temperature, calibration.n_clips) == (1.0, n)
    assert note in calibration.sentence
    np.testing.assert_array_equal(calibration.apply(proba), proba)


def test_a_validation_split_without_a_mistake_says_nothing() -> None:
    _, proba = draw_predictions(200, 4, 3.0, 5)
    calibration = calibrate_predictions(predictions(proba.argmax(axis=1), proba))
    assert calibration.temperature == 1.0
    assert "All of its 200 validation clips are recognised" in calibration.note


def test_clips_without_numbers_and_unknown_genres_do_no_harm() -> None:
    labels, proba = draw_predictions(300, 4, 3.0, 5)
    table = predictions(labels, proba)
    spoilt = table.copy()
    spoilt.loc[7, "p_g1"] = np.nan
    assert calibrate_predictions(spoilt).n_clips == 299
    assert calibrate_predictions(spoilt).temperature == pytest.approx(
        calibrate_predictions(table).temperature,
        rel=0.05,  # one clip of 300
    )
    unknown_label = table.assign(genre="polka")
    assert "polka" in calibrate_predictions(unknown_label).note


def test_it_is_kept_beside_the_run_and_follows_the_predictions(tmp_path: Path) -> None:
    labels, proba = draw_predictions(300, 4, 3.0, 5)
    run = Run(tmp_path)
    assert "no stored predictions" in calibrate(run).note
    predictions(labels, proba).to_parquet(tmp_path / "predictions.parquet")
    calibration = calibrate(Run(tmp_path))
    cached = read_json(tmp_path / "calibration.json")
    assert cached["calibration"]["temperature"] == calibration.temperature
    assert calibrate(Run(tmp_path)) == calibration
    predictions(labels[:20], proba[:20]).to_parquet(tmp_path / "predictions.parquet")
    assert calibrate(Run(tmp_path)).temperature == 1.0
    again = calibrate(Run(tmp_path))  # from the file, with what was not measured
    assert isinstance(again, Calibration)
    assert np.isnan(again.log_loss_before)
