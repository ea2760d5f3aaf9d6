"""Figures of comparisons draw the numbers of their tables, say them in words, and stay legible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_runs import GENRES, draw_right, fake_run

from genrecore.evaluation import comparison, differences, ranks, systems
from genrecore.evaluation.comparison import Comparison
from genrecore.evaluation.curves import curve_band
from genrecore.reporting import plots
from genrecore.words import percent

SHARES = (0.85, 0.7, 0.4)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    store = tmp_path_factory.mktemp("drawn")
    runs = [
        fake_run(store, draw_right(share, 90, k), seed=k, n_epochs=4)
        for k, share in enumerate(SHARES)
    ]
    return comparison.compare(runs)


@pytest.fixture(scope="module")
def styles(compared: Comparison) -> dict[str, plots.RunStyle]:
    return plots.run_styles(list(compared.titles))


def test_the_matrix_of_pairs_is_antisymmetric_and_marked_by_verdict(compared: Comparison) -> None:
    titles = list(compared.titles.values())
    chart = plots.pair_matrix(compared.pairs, titles)
    values = np.array(chart.figure.data[0].z, dtype=float)
    assert np.isnan(np.diag(values)).all()
    np.testing.assert_allclose(values, -values.T)
    first = compared.pairs.iloc[0]
    assert values[0, 1] == first["difference"]
    text = np.array(chart.figure.data[1].text).reshape(3, 3)
    worst = compared.pairs[compared.pairs["title_b"] == titles[2]].iloc[0]
    assert worst["verdict"] == "better"
    assert text[0, 2].startswith("▲")
    assert text[2, 0].startswith("▼")
    assert text[2, 0].endswith(f"−{100 * worst['difference']:.1f}")


def test_agreement_shows_the_contingency_table(compared: Comparison) -> None:
    row = compared.pairs.iloc[0].to_dict()
    chart = plots.agreement(row)
    counts = [row[name] for name in ("both", "only_a", "only_b", "neither")]
    assert chart.table["Clips"].tolist() == counts
    assert np.array(chart.figure.data[0].z).ravel() == pytest.approx(np.array(counts) / 90)
    assert f"only A right {row['only_a']}" in chart.alt


def test_a_difference_is_drawn_on_a_scale_that_is_the_same_to_both_sides(
    compared: Comparison,
) -> None:
    a, b, _ = compared.confusions.values()
    gap = differences.difference(a, b)
    chart = plots.difference(gap, "A run", "B run")
    shades = chart.figure.data[0]
    assert shades.zmin == -shades.zmax == -np.abs(gap.to_numpy()).max()
    np.testing.assert_allclose(np.array(shades.z, dtype=float), gap.to_numpy())
    same = plots.difference(gap * 0, "A run", "B run")
    assert "no cell differs" in same.alt


@pytest.mark.slow
def test_many_confusions_share_one_scale_and_lose_no_clip(compared: Comparison) -> None:
    matrices = {f"{title} {k}": m for k in range(7) for title, m in zip(
        compared.titles.values(), compared.confusions.values(), strict=True)}  # fmt: skip
    counts = plots.confusions(matrices, percents=False)
    assert len(counts.figure.data) == 21
    assert {trace.coloraxis for trace in counts.figure.data} == {"coloraxis"}
    most = max(int(matrix.to_numpy().max()) for matrix in matrices.values())
    assert counts.figure.layout.coloraxis.cmax == most
    assert sum(np.array(trace.z).sum() for trace in counts.figure.data) == 21 * 90
    shares = plots.confusions(matrices, percents=True)
    assert shares.figure.layout.coloraxis.cmax == 1
    first = np.array(shares.figure.data[0].z, dtype=float)
    np.testing.assert_allclose(first.sum(axis=1), 1)


def test_a_confusion_can_say_shares(compared: Comparison) -> None:
    matrix = next(iter(compared.confusions.values()))
    text = plots.confusion(matrix, "a run", percents=True).figure.data[1].text
    recall = matrix.loc["blues", "blues"] / matrix.loc["blues"].sum()
    assert text[0] == f"{100 * recall:.0f}"


def test_shares_in_hover_texts_are_written_as_everywhere(
    compared: Comparison, styles: dict[str, plots.RunStyle]
) -> None:
    matrix = next(iter(compared.confusions.values()))
    charts = (
        plots.per_genre(compared.per_genre, styles),
        plots.recall_map(compared.per_genre),
        plots.dependence(compared.dependence),
        plots.calibration(compared.calibration, styles),
        plots.agreement(compared.pairs.iloc[0].to_dict()),
        plots.confusion(matrix, "a run", targets=True),
        plots.confusions({"a run": matrix}),
        plots.probabilities(["dub", "ska"], [0.2506, 0.7494]),
    )
    for chart in charts:
        for trace in chart.figure.data:
            assert "%}" not in (trace.hovertemplate or ""), trace.hovertemplate
    (bars,) = charts[-1].figure.data
    assert list(bars.hovertext) == ["74.9 %", "25.1 %"]
    cells = charts[1].figure.data[0]
    assert cells.hovertext[0][0] == percent(cells.z[0][0])


def test_dependence_and_recalls_draw_every_genre(compared: Comparison) -> None:
    chart = plots.dependence(compared.dependence)
    ends = {x for trace in chart.figure.data if trace.mode == "markers" for x in trace.x}
    table = compared.dependence
    assert ends == set(table["lowest"]) | set(table["highest"])
    assert all(genre in chart.alt for genre in GENRES)
    shades = plots.recall_map(compared.per_genre).figure.data[0]
    wide = compared.per_genre.pivot(index="title", columns="genre", values="recall")
    np.testing.assert_allclose(
        np.array(shades.z, dtype=float), wide.loc[list(compared.titles.values())].to_numpy()
    )


def test_the_front_joins_those_that_nobody_beats(
    compared: Comparison, styles: dict[str, plots.RunStyle]
) -> None:
    table = compared.table.assign(price=[100.0, 10.0, np.nan])
    chart = plots.cost(table, "price", "Price (pence)", styles)
    line = chart.figure.data[0]
    order = table.iloc[[1, 0]]
    assert list(line.x) == order["price"].tolist()
    assert list(line.y) == order["accuracy"].tolist()
    assert chart.table["On the front"].tolist() == [True, True, False]
    assert len(chart.figure.data) == 3  # the line and two points; the third has no price


def test_calibration_is_drawn_bin_by_bin(
    compared: Comparison, styles: dict[str, plots.RunStyle]
) -> None:
    chart = plots.calibration(compared.calibration, styles)
    first = compared.calibration[compared.calibration["run_id"] == next(iter(compared.titles))]
    assert list(chart.figure.data[1].x) == first["certainty"].tolist()
    assert list(chart.figure.data[1].y) == first["accuracy"].tolist()
    assert "80.0 % sure" in chart.alt  # of every prediction of `fake_run`


def test_ranks_stand_at_their_places_and_bars_join_groups() -> None:
    scores = np.array([[0.9, 0.8, 0.3], [0.8, 0.9, 0.2], [0.9, 0.7, 0.1]] * 4)
    result = ranks.friedman(scores)
    chart = plots.critical_difference(["a", "b", "c"], result, 12)
    dots = next(trace for trace in chart.figure.data if trace.mode == "markers")
    assert list(dots.x) == sorted(result.mean)
    assert result.groups == [[0, 1]]
    assert "cannot be told apart: a and b" in chart.alt
    bars = [trace for trace in chart.figure.data if trace.line.width == 6]
    assert len(bars) == 1


@pytest.mark.parametrize("over", ["epoch", "step", "seconds"])
def test_curves_run_over_epochs_steps_or_minutes(
    over: str, compared: Comparison, styles: dict[str, plots.RunStyle]
) -> None:
    chart = plots.overlaid_curves(compared.curves, "loss", styles, over, best_epochs={})
    unit = {"epoch": 1, "step": 25, "seconds": 1}[over]
    valid = [trace for trace in chart.figure.data if trace.mode == "lines+markers"]
    assert [list(trace.x) for trace in valid] == [[unit * e for e in range(1, 5)]] * 3
    assert len(chart.figure.data) == 6
    alone = plots.overlaid_curves(compared.curves, "loss", styles, over, training=False)
    assert len(alone.figure.data) == 3
    assert chart.table.shape == (4, 4)


def test_the_best_epoch_gets_a_ring_and_the_learning_rate_none(
    compared: Comparison, styles: dict[str, plots.RunStyle]
) -> None:
    best = dict.fromkeys(styles, 3.0)
    for measure, n_rings in (("accuracy", 3), ("lr", 0)):
        chart = plots.overlaid_curves(compared.curves, measure, styles, best_epochs=best)
        rings = [trace for trace in chart.figure.data if trace.mode == "markers"]
        assert [list(ring.x) for ring in rings] == [[3]] * n_rings


def test_seeds_are_a_band_around_their_mean(store: Path) -> None:
    runs = [
        fake_run(store, draw_right(0.6, 30, k), seed=k % 2, n_epochs=4, model=model)
        for k, model in enumerate(("cnn", "cnn", "mlp"))
    ]
    pooled = systems.compare(systems.group_runs(runs))
    curves = curve_band(pooled.curves)
    curves.loc[:, "loss_high"] += 0.5
    styles = plots.run_styles(list(pooled.titles))
    chart = plots.overlaid_curves(curves, "loss", styles)
    band = next(trace for trace in chart.figure.data if trace.fill == "toself")
    solid = curves[(curves["run_id"] == next(iter(pooled.titles))) & (curves["split"] == "valid")]
    assert list(band.y) == [*solid["loss_high"], *solid["loss_low"][::-1]]
    board = plots.leaderboard(pooled.table, styles)
    broad = [trace for trace in board.figure.data if trace.mode == "lines"]
    row = pooled.table[pooled.table["n_runs"] == 2].iloc[0]
    assert [list(trace.x) for trace in broad] == [[row["seed_low"], row["seed_high"]]]


def test_the_plot_keeps_its_height_however_many_names_stand_below(
    compared: Comparison,
) -> None:
    many = pd.concat(
        [compared.curves.assign(run_id=f"run {k}", title=f"run {k}") for k in range(20)]
    ).drop_duplicates(["run_id", "split", "epoch"])
    styles = plots.run_styles([f"run {k}" for k in range(20)])
    few = plots.overlaid_curves(compared.curves, "loss", styles | plots.run_styles(
        list(compared.titles)))  # fmt: skip
    layout = plots.overlaid_curves(many, "loss", styles).figure.layout
    # 340 is the height of plot, title and axis of a figure with few names.
    assert layout.height - layout.margin.b >= 340 - 66
    assert few.figure.layout.height < layout.height
