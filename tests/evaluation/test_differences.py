"""What tells runs apart: genres that depend on the model, differing mistakes and settings, cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import TINY
from fake_runs import GENRES, draw_right, fake_run
from statsmodels.stats.contingency_tables import cochrans_q

from genrecore.config.run import RunConfig, with_values
from genrecore.errors import GenrecoreError
from genrecore.evaluation import comparison, costs, differences
from genrecore.store.files import write_json
from genrecore.store.run import Run


def test_genres_depend_on_the_model_as_cochrans_q_says(store: Path) -> None:
    cost = [
        fake_run(store, draw_right(share, 210, k), seed=k)
        for k, share in enumerate((0.8, 0.7, 0.4))
    ]
    table = comparison.compare(cost).dependence.set_index("genre")
    for column, genre in enumerate(GENRES):
        in_genre = np.arange(210) % 3 == column
        right = np.stack(
            [draw_right(share, 210, k)[in_genre] for k, share in enumerate((0.8, 0.7, 0.4))]
        )
        expected = cochrans_q(right.T.astype(int))
        row = table.loc[genre]
        assert row["p"] == pytest.approx(expected.pvalue)
        assert row["effect"] == pytest.approx(expected.statistic / (70 * 2))
        assert (row["n_clips"], row["spread"]) == (70, pytest.approx(np.ptp(right.mean(axis=1))))
    assert (table["spread"].diff().dropna() <= 0).all()  # most first


def test_a_genre_that_one_model_alone_knows_depends_on_it(store: Path) -> None:
    right = draw_right(0.7, 240, 1)
    changed = right.copy()
    changed[np.arange(240) % 3 == 2] = False  # never rock
    compared = comparison.compare([fake_run(store, right), fake_run(store, changed, seed=1)])
    first, *rest = compared.dependence.to_dict("records")
    assert (first["genre"], first["dependence"], first["best"]) == (
        "rock", differences.STRONG, compared.runs[0].title,
    )  # fmt: skip
    assert [row["dependence"] for row in rest] == [differences.WEAK] * 2
    assert [row["effect"] for row in rest] == [0, 0]


def test_a_difference_of_confusions_by_hand() -> None:
    genres = ["a", "b"]
    matrix = pd.DataFrame([[8, 2], [5, 5]], index=genres, columns=genres)
    two = pd.DataFrame([[4, 0, 1], [1, 3, 0]], index=genres, columns=[*genres, "no prediction"])
    counts = differences.difference(matrix, two, recall=False)
    assert counts.to_numpy().tolist() == [[4, 2, -1], [4, 2, 0]]
    shares = differences.difference(matrix, two)
    expected = [[0.8 - 0.8, 0.2 - 0.0, 0.0 - 0.2], [0.5 - 0.25, 0.5 - 0.75, 0.0]]
    assert shares.to_numpy() == pytest.approx(np.array(expected))
    empty = pd.DataFrame([[0, 0], [1, 1]], index=genres, columns=genres)
    assert differences.difference(matrix, empty).loc["a"].isna().all()  # nothing was measured
    with pytest.raises(GenrecoreError, match="different genres"):
        differences.difference(matrix, matrix.rename(index={"a": "c"}))


def test_only_settings_that_differ_are_listed() -> None:
    plain = RunConfig()
    changed = with_values(plain, {"training.lr": 0.02, "feature.n_mels": 64})
    table = differences.settings({"A": plain, "B": changed}).set_index("setting")
    assert table.to_dict("index") == {
        "feature.options.n_mels": {"A": "", "B": "64"},
        "training.lr": {"A": "0.001", "B": "0.02"},
    }
    assert differences.settings({"A": plain, "B": plain}).empty


def test_a_pareto_front_by_hand() -> None:
    accuracy = [0.9, 0.8, 0.8, 0.95, 0.7, 0.99]
    cost = [10.0, 5.0, 6.0, 100.0, 5.0, float("nan")]
    assert differences.pareto(accuracy, cost).tolist() == [True, True, False, True, False, False]
    assert differences.pareto([0.5, 0.5], [1.0, 1.0]).tolist() == [True, True]  # alike


def test_what_was_not_measured_has_no_cost(store: Path) -> None:
    run = fake_run(store, draw_right(0.6, 30, 1), n_epochs=5)
    cost = costs.read_cost(run)
    assert (cost["n_parameters"], cost["train_s"]) == (40_000, 60)
    assert np.isnan([cost["n_multiply_adds"], cost["latency_ms"]]).all()
    sides = [("key", "title", [run])]
    assert costs.not_measured(sides) == [run]
    (row,) = costs.cost_table(sides).to_dict("records")
    assert (row["title"], row["n_parameters"]) == ("title", 40_000)
    write_json(
        run.folder / costs.FILE, {"n_multiply_adds": 7, "latency": {"median_ms": 3.5,
                                  "machine": "here", "device": "CPU"}},
    )  # fmt: skip
    cost = costs.read_cost(Run(run.folder))
    assert (cost["n_multiply_adds"], cost["latency_ms"]) == (7, 3.5)
    assert cost["measured_on"] == "here (CPU)"
    assert costs.not_measured(sides) == []


@pytest.mark.long
def test_measuring_counts_and_times_the_model_of_the_run(store: Path) -> None:
    from genrecore.training import card as cards
    from genrecore.training import timing

    values = {name: value for name, value in TINY.items() if not name.startswith("dataset.")}
    run = fake_run(store, draw_right(0.6, 30, 1), **values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "LATENCY_BUDGET_S", 0.0)  # one measurement is enough here
        timing.measure_cost(run)
    cost = costs.read_cost(Run(run.folder))
    assert cost["n_multiply_adds"] == cards.model_card("cnn", run.config).n_multiply_adds_clip
    assert cost["latency_ms"] > 0
    classical = fake_run(store, draw_right(0.6, 30, 1), model="svm", feature="descriptors")
    assert "classical" in timing.measure_cost(classical)["why"]
    assert np.isnan(costs.read_cost(Run(classical.folder))["n_multiply_adds"])
