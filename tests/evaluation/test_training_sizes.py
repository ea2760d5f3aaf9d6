"""Accuracy by training clips a genre: points, steps and sentences, drawn and reported."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2, nan
from pathlib import Path

import numpy as np
import pytest
from fake_runs import draw_right, fake_run

from genrecore.evaluation import clustered, systems, training_sizes
from genrecore.reporting import html as report
from genrecore.reporting import plots
from genrecore.store.run import Run
from genrecore.words import decimals, percent

ARTISTS = np.arange(120) // 2
N_ALL = 7


def runs_of(
    store: Path, shares: dict[int, float], seeds: Sequence[int] = (0, 1), **values: object
) -> list[Run]:
    """Runs of one system at these numbers of training clips, of 7 a genre in all, and the share of
    120 test clips that each gets right."""
    return [
        fake_run(
            store,
            draw_right(share, 120, 100 * size + seed),
            ARTISTS,
            seed=seed,
            n_train=size or N_ALL,
            clips_per_genre=size,
            **values,
        )
        for size, share in shares.items()
        for seed in seeds
    ]


def right(run: Run) -> np.ndarray:
    table = run.predictions
    assert table is not None
    columns = [name for name in table if name.startswith("p_")]
    predicted = table[columns].to_numpy().argmax(1)
    return predicted == table["genre"].map({n[2:]: k for k, n in enumerate(columns)}).to_numpy()


@pytest.mark.slow
def test_a_curve_is_the_mean_of_its_draws_with_the_interval_of_systems(store: Path) -> None:
    steep = runs_of(store, {0: 0.9, 2: 0.6, 1: 0.3})
    single = runs_of(store, {0: 0.5}, model="mlp")
    (curve,) = training_sizes.find_curves([*single, *steep])
    assert list(curve.systems) == [1, 2, 0]
    table = training_sizes.measure([curve]).table
    assert table["size"].tolist() == ["1", "2", "all"]
    assert table["n_clips"].tolist() == [1, 2, N_ALL]
    assert table["n_runs"].tolist() == [2, 2, 2]
    assert set(table["title"]) == {"cnn · demo"}
    of_size = {size: np.stack([right(r) for r in steep if r.config.clips_per_genre == size])
               for size in (1, 2, 0)}  # fmt: skip
    for (_, row), (size, before) in zip(table.iterrows(), ((1, None), (2, 1), (0, 2)), strict=True):
        interval = clustered.accuracy(of_size[size], ARTISTS)
        assert row["accuracy"] == pytest.approx(of_size[size].mean())
        assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
        step = clustered.NOTHING
        if before is not None:
            step = clustered.difference(of_size[size], of_size[before], ARTISTS)
            assert step.value == pytest.approx(of_size[size].mean() - of_size[before].mean())
        expected = pytest.approx((step.value, step.low, step.high), nan_ok=True)
        assert (row["gain"], row["gain_low"], row["gain_high"]) == expected
    (compared,) = [
        row for _, row in systems.compare(list(curve.systems.values())).table.iterrows()
        if row["run_id"] == curve.systems[2].signature
    ]  # fmt: skip
    assert compared["accuracy_low"] == pytest.approx(table["low"].iloc[1])


def test_the_reading_is_the_gain_of_a_doubling_and_of_the_last_step(store: Path) -> None:
    runs = runs_of(store, {1: 0.3, 2: 0.6, 0: 0.9}, range(4))
    measured = training_sizes.measure(training_sizes.find_curves(runs))
    accuracies = measured.table["accuracy"]
    doubling = 100 * (accuracies.iloc[-1] - accuracies.iloc[0]) / log2(N_ALL)
    step = 100 * (accuracies.iloc[-1] - accuracies.iloc[1])
    (sentence,) = measured.sentences
    assert f"1 to 7 clips a genre: twice as many gave {decimals(doubling, sign=True)} points" in (
        sentence
    )
    assert f"the last step, from 2, gave {decimals(step, sign=True)} points" in sentence
    assert sentence.endswith("): not flat yet.")


@pytest.mark.parametrize(
    ("shares", "seeds", "ending"),
    [
        ({1: 0.3, 2: 0.7, 0: 0.71}, range(4), "it cannot be told from flat."),
        ({1: 0.5, 0: 0.1}, range(4), "more clips made it worse."),
        ({1: 0.1, 0: 0.9}, (3,), "have one seed: another may say otherwise."),
    ],
)
def test_a_curve_is_called_steep_only_where_the_last_step_excludes_zero(
    store: Path, shares: dict[int, float], seeds: Sequence[int], ending: str
) -> None:
    measured = training_sizes.measure(training_sizes.find_curves(runs_of(store, shares, seeds)))
    (sentence,) = measured.sentences
    assert sentence.endswith(ending)
    last = measured.table.iloc[-1]
    assert (last["gain_low"] <= 0 <= last["gain_high"]) == ("told from flat." in ending)


def test_sizes_beyond_what_there_is_are_no_step(store: Path) -> None:
    runs = runs_of(store, {1: 0.2, 0: 0.9})
    more = [  # asked for 50, and there were 7
        fake_run(store, right(run), ARTISTS, seed=run.config.seed, n_train=N_ALL,
                 clips_per_genre=50)
        for run in runs if run.config.clips_per_genre == 0
    ]  # fmt: skip
    measured = training_sizes.measure(training_sizes.find_curves([*runs, *more]))
    assert measured.table["n_clips"].tolist() == [1, N_ALL, N_ALL]
    assert measured.sentences[0].endswith("not flat yet.")
    only_more = training_sizes.find_curves([*runs[2:], *more])
    assert training_sizes.measure(only_more).sentences == ()


def test_the_number_of_all_clips_is_the_median_over_genres_and_runs(store: Path) -> None:
    right_always = np.ones(9, bool)
    runs = [fake_run(store, right_always, seed=n, n_train=n) for n in (5, 8, 12)]
    assert training_sizes.n_training_clips(runs) == 8
    assert training_sizes.n_training_clips([fake_run(store, right_always, seed=9)]) == 0
    assert training_sizes.usual_sizes(8) == "1,2,5,all"
    assert training_sizes.usual_sizes(0) == "all"


def test_curves_over_one_another_are_named_by_what_tells_them_apart(store: Path) -> None:
    runs = runs_of(store, {1: 0.4, 0: 0.8}) + runs_of(store, {2: 0.3, 0: 0.5}, model__width=8)
    curves = training_sizes.find_curves(runs)
    table = training_sizes.measure(curves).table
    assert table["title"].nunique() == 2
    assert all("width" in title and "clips_per_genre" not in title for title in table["title"])
    (whole,) = (s for s in systems.group_runs(runs[2:4]))
    assert systems.titles([whole, *systems.group_runs(runs[:2])])[whole.signature].endswith(
        "clips_per_genre all"
    )
    members = {run.run_id: [run] for run in runs}
    keys = training_sizes.members_by_curve(members)
    assert keys == {curve.signature: curve.runs[0].run_id for curve in curves}


def test_the_chart_has_a_tick_at_each_size_bands_and_all_numbers(store: Path) -> None:
    runs = runs_of(store, {1: 0.3, 2: 0.6, 0: 0.9})
    table = training_sizes.measure(training_sizes.find_curves(runs)).table
    styles = plots.run_styles(table["curve"].unique().tolist())
    chart = plots.size_curves(table, styles)
    band, line = chart.figure.data
    assert list(line.x) == [1, 2, N_ALL]
    assert list(line.y) == table["accuracy"].tolist()
    assert list(band.y) == [*table["high"], *table["low"][::-1]]
    assert line.line.color == styles[table["curve"].iloc[0]].colour
    axis = chart.figure.layout.xaxis
    assert axis.type == "log"
    assert dict(zip(axis.tickvals, axis.ticktext, strict=True)) == {1: "1", 2: "2", 7: "all: 7"}
    assert percent(table["accuracy"].iloc[-1]) in chart.alt
    assert chart.table["Accuracy"].tolist() == table["accuracy"].tolist()
    assert chart.table["Step"].iloc[0] is nan or np.isnan(chart.table["Step"].iloc[0])


@pytest.mark.slow
def test_a_report_of_systems_that_form_a_curve_draws_it(store: Path) -> None:
    runs = runs_of(store, {1: 0.3, 0: 0.9}) + runs_of(store, {0: 0.5}, model="mlp")
    groups = systems.group_runs(runs)
    text = report.html(systems.compare(groups))
    assert 'id="figure-sizes"' in text
    assert "not flat yet." in text
    assert 'href="#sizes"' in text
    without = report.html(systems.compare([s for s in groups if not s.config.clips_per_genre]))
    assert "figure-sizes" not in without
    assert 'href="#sizes"' not in without
