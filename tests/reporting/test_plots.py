"""Tables become charts: colours, texts and numbers say the same as the table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from genrecore.audio.axes import frequency_rows
from genrecore.reporting import plots
from genrecore.reporting.plots import relevance
from genrecore.reporting.plots.chart import BESIDE_TIME
from genrecore.reporting.plots.palette import GENRE_COLOURS
from genrecore.words import percent

GTZAN = ["blues", "classical", "country", "disco", "hiphop"]
GTZAN += ["jazz", "metal", "pop", "reggae", "rock"]
FMA = ["Electronic", "Experimental", "Folk", "Hip-Hop"]
FMA += ["Instrumental", "International", "Pop", "Rock"]
DEMO = ["ambient", "bossa", "chiptune", "dub", "gamelan", "march", "techno", "waltz"]


@pytest.mark.parametrize("genres", [GTZAN, FMA, DEMO])
def test_no_two_genres_of_a_known_dataset_share_a_colour(genres: list[str]) -> None:
    assert len(set(plots.genre_colours(genres).values())) == len(genres)


def test_a_known_genre_keeps_its_colour_whatever_stands_beside_it_and_however_it_is_spelt() -> None:
    alone = plots.genre_colours(["rock"])["rock"]
    assert plots.genre_colours(GTZAN)["rock"] == alone
    assert plots.genre_colours([*FMA, "zydeco"])["Rock"] == alone
    assert plots.genre_colours(["Hip-Hop"])["Hip-Hop"] == plots.genre_colours(GTZAN)["hiphop"]


def test_unknown_genres_get_the_same_colours_in_any_order_and_none_twice() -> None:
    names = ["zouk", "fado", "rock", "gagaku", "mbalax", "qawwali", "tango"]
    colours = plots.genre_colours(names)
    assert colours == plots.genre_colours(reversed(names))
    assert len(set(colours.values())) == 7
    assert set(colours.values()) <= set(GENRE_COLOURS)


def test_a_run_keeps_its_style_as_new_runs_come_and_two_of_twenty_never_look_alike() -> None:
    ids = [f"20260101-{second:06d}-demo-cnn-ab12" for second in range(21)]
    early, late = plots.run_styles(ids[:5]), plots.run_styles(ids)
    assert all(early[run_id] == late[run_id] for run_id in ids[:5])
    assert len({(style.colour, style.marker) for style in late.values()}) == 21


def board() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "run_id": ["a", "b"],
            "title": ["cnn · demo · 1111", "<b>resnet</b> · demo · 2222"],
            "n_clips": [37, 37],
            "accuracy": [0.51, 0.8125],
            "accuracy_low": [0.36, 0.66],
            "accuracy_high": [0.66, 0.91],
        }
    )


def test_the_leaderboard_draws_best_first_with_its_interval_and_says_so_in_words() -> None:
    chart = plots.leaderboard(board(), plots.run_styles(["a", "b"]))
    best = chart.figure.data[0]
    assert best.x[0] == 0.8125
    assert best.x[0] + best.error_x.array[0] == pytest.approx(0.91)
    assert best.x[0] - best.error_x.arrayminus[0] == pytest.approx(0.66)
    assert chart.alt.index("resnet") < chart.alt.index("cnn")
    assert chart.table["Accuracy"].to_list() == [0.8125, 0.51]


def test_names_are_never_read_as_markup_by_a_chart() -> None:
    chart = plots.leaderboard(board(), plots.run_styles(["a", "b"]))
    assert chart.figure.data[0].y[0] == "&lt;b&gt;resnet&lt;/b&gt; · demo · 2222"
    matrix = pd.DataFrame([[3, 0], [1, 2]], index=["<i>", "x"], columns=["<i>", "x"])
    assert plots.confusion(matrix, "t").figure.data[0].x[0] == "&lt;i&gt;"


def test_runs_of_one_title_keep_rows_of_their_own() -> None:
    table = board().assign(title="cnn · demo")
    chart = plots.leaderboard(table, plots.run_styles(["a", "b"]))
    assert len({trace.y[0] for trace in chart.figure.data}) == 2


def test_a_confusion_cell_is_the_share_of_its_labelled_genre_and_names_the_worst_mistake() -> None:
    names = ["dub", "march", "waltz"]
    matrix = pd.DataFrame([[5, 2, 0], [0, 7, 0], [0, 0, 0]], index=names, columns=names)
    chart = plots.confusion(matrix, "demo")
    shares = np.array(chart.figure.data[0].z, dtype=float)
    np.testing.assert_allclose(shares[0], [5 / 7, 2 / 7, 0], atol=1e-4)  # rounded to four places
    assert np.isnan(shares[2]).all()  # no clip is labelled waltz: nothing was measured
    assert "12 of 14" in chart.alt
    assert "dub taken for march, 2 clips" in chart.alt


def test_the_kept_epoch_is_ringed_and_curves_start_where_the_table_does() -> None:
    curves = pd.DataFrame(
        {
            "run_id": "a",
            "title": "cnn",
            "epoch": [1, 2, 3, 1, 2, 3],
            "split": ["train"] * 3 + ["valid"] * 3,
            "loss": [2.0, 1.5, 1.0, 2.1, 1.7, 1.9],
            "accuracy": [0.2, 0.4, 0.6, 0.1, 0.5, 0.4],
        }
    )
    chart = plots.learning_curves(curves, "accuracy", plots.run_styles(["a"]), {"a": 2})
    assert chart.figure.layout.yaxis.maxallowed == 1.05  # not 200 % around a single 100 %
    ring = chart.figure.data[-1]
    assert (ring.x[0], ring.y[0], ring.marker.symbol) == (2, 0.5, "circle-open")
    assert chart.table["Validation"].to_list() == [0.1, 0.5, 0.4]
    dashes = {trace.name: trace.line.dash for trace in chart.figure.data if trace.name}
    assert dashes == {"Training": "dot", "Validation": "solid"}


def test_curves_of_no_epoch_are_an_empty_chart_and_not_an_error() -> None:
    none = pd.DataFrame(columns=["run_id", "title", "epoch", "split", "loss", "accuracy"])
    assert "no epoch yet" in plots.learning_curves(none, "loss", {}).alt


def scored(run_id: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "run_id": run_id,
            "title": f"run {run_id}",
            "genre": ["march", "dub"],
            "n_clips": [7, 9],
            "recall": [0.5, 1.0],
            "recall_low": [0.2, 0.7],
            "recall_high": [0.8, 1.0],
            "f1": [0.6, 0.9],
        }
    )


def test_genre_bars_wear_genre_colours_for_one_run_and_run_patterns_for_several() -> None:
    styles = plots.run_styles(["a", "b"])
    single = plots.per_genre(scored("a"), styles).figure.data
    assert list(single[0].marker.color) == list(plots.genre_colours(["dub", "march"]).values())
    two = plots.per_genre(pd.concat([scored("a"), scored("b")]), styles).figure.data
    assert [trace.marker.color for trace in two] == [styles["a"].colour, styles["b"].colour]
    assert two[0].marker.pattern.shape != two[1].marker.pattern.shape


def test_a_prediction_is_sorted_and_its_colours_follow_the_genres() -> None:
    chart = plots.probabilities(["dub", "march", "waltz"], [0.2, 0.7, 0.1])
    bars = chart.figure.data[0]
    assert list(bars.y) == ["march", "dub", "waltz"]
    assert bars.marker.color[0] == plots.genre_colours(DEMO)["march"]
    assert "march 70.0 %" in chart.alt


def test_probabilities_over_time_hold_each_segment_until_its_end() -> None:
    segments = pd.DataFrame(
        {"start_s": [0.0, 3.0], "end_s": [3.0, 5.5], "p_dub": [0.25, 0.6], "p_march": [0.75, 0.4]}
    )
    chart = plots.probabilities_over_time(segments)
    assert list(chart.figure.data[0].x) == [0.0, 3.0, 5.5]
    assert list(chart.figure.data[0].y) == [0.25, 0.6, 0.6]
    tops = np.sum([trace.y for trace in chart.figure.data], axis=0)
    np.testing.assert_allclose(tops, 1.0)
    patterns = {trace.fillpattern.shape for trace in chart.figure.data}
    assert len(patterns) == 2


def test_a_waveform_keeps_every_peak_however_long_the_wave() -> None:
    wave = np.zeros(22_051, dtype=np.float32)
    wave[12_345], wave[20_002] = 0.9, -0.7
    low, high = plots.waveform(wave, 22_051).figure.data
    assert max(high.y) == pytest.approx(0.9)
    assert min(low.y) == pytest.approx(-0.7)
    assert len(high.x) < 1000


def test_charts_over_time_have_one_time_axis_and_so_has_the_player_above() -> None:
    wave = np.zeros(66_153, dtype=np.float32)
    db, times_s, hz = np.zeros((7, 31)), 60.05 + 0.1 * np.arange(31), np.geomspace(50, 9000, 7)
    span_s = (60.0, 63.0)
    relevance_charts = (
        relevance.over_image(db, db, times_s, frequency_rows(hz), "dB", "ska", "occlusion", span_s),
        relevance.over_time(db[0], times_s, "ska", "occlusion", span_s),
    )
    charts = (plots.mel_spectrogram(db, times_s, hz, span_s), *relevance_charts)
    assert {chart.figure.layout.xaxis.range for chart in charts} == {span_s}
    for chart in (*charts, plots.waveform(wave, 22_051)):
        margin = chart.figure.layout.margin
        assert (margin.l, margin.r) == BESIDE_TIME
        assert chart.figure.layout.yaxis.automargin is False  # it would move the left edge


def test_a_mel_spectrogram_keeps_a_short_attack_and_its_place() -> None:
    db = np.full((33, 1501), -80.0, dtype=np.float32)
    db[20, 700] = -3.0
    times_s = np.arange(1501) * 0.01
    centre_hz = np.geomspace(50, 9000, 33)
    chart = plots.mel_spectrogram(db, times_s, centre_hz)
    heat_map = chart.figure.data[0]
    row, column = np.unravel_index(int(np.argmax(heat_map.z)), np.shape(heat_map.z))
    assert row == 20
    assert heat_map.x[column] == pytest.approx(7.0, abs=0.02)  # s; three frames share a column
    assert f"{centre_hz[20]:.0f} hertz" in chart.alt
    assert len(chart.table) == 33


@pytest.mark.parametrize(
    ("share", "text"), [(0.8125, "81.3 %"), (0.0, "0.0 %"), (1.0, "100.0 %"), (np.nan, "–")]
)
def test_a_share_is_written_with_one_decimal_and_nothing_measured_as_a_dash(
    share: float, text: str
) -> None:
    assert percent(share) == text


def epochs_of_one_run(n: int) -> pd.DataFrame:
    rows = [
        {
            "run_id": "a",
            "title": "cnn",
            "epoch": k,
            "split": split,
            "accuracy": k / n,
            "loss": n / k,
        }
        for split in ("train", "valid")
        for k in range(1, n + 1)
    ]
    return pd.DataFrame(rows)


def test_smoothed_curves_keep_what_was_measured_beside_them() -> None:
    curves, styles = epochs_of_one_run(5), plots.run_styles(["a"])
    chart = plots.learning_curves(curves, "loss", styles, smoothing=0.5)
    faint = [trace for trace in chart.figure.data if trace.opacity == 0.3]
    bold = [trace for trace in chart.figure.data if trace.name == "Validation"]
    assert list(faint[0].y) == [5.0, 2.5, pytest.approx(5 / 3), 1.25, 1.0]
    # Weights 1, 1/2: (2.5 + 5/2) / 1.5.
    assert bold[0].y[:2] == (5.0, pytest.approx(10 / 3))
    assert chart.table["Validation"].to_list()[1] == 2.5  # numbers are as measured


def test_a_part_of_the_epochs_is_shown_at_its_own_height_on_either_scale() -> None:
    curves, styles = epochs_of_one_run(40), plots.run_styles(["a"])
    plain = plots.learning_curves(curves, "loss", styles, epochs=(20, 40)).figure.layout
    assert tuple(plain.xaxis.range) == (19.5, 40.5)
    assert plain.yaxis.range[0] < 1.0 < 2.0 < plain.yaxis.range[1] < 2.2
    log = plots.learning_curves(curves, "loss", styles, logarithmic=True, epochs=(4, 40))
    assert log.figure.layout.yaxis.type == "log"
    low, high = log.figure.layout.yaxis.range  # exponents of ten
    assert low < 0.0 < 1.0 < high < 1.2


def test_the_loss_by_step_is_drawn_step_by_step_or_by_means_and_says_so() -> None:
    styles = plots.run_styles(["a", "b"])
    few = plots.losses_by_step({"a": np.array([3.0, 1.0, 2.0])}, styles, first_step=11)
    (line,) = few.figure.data
    assert (list(line.x), list(line.y)) == ([11, 12, 13], [3.0, 1.0, 2.0])
    assert few.figure.layout.xaxis.title.text == "Step"
    losses = {"a": np.arange(5000.0), "b": np.array([4.0, 2.0, 3.0, 1.0])}
    many = plots.losses_by_step(losses, styles)
    first, second = many.figure.data
    assert len(first.x) == 1667  # ceil(5,000 / 3); the last point is of two steps
    assert (first.x[0], first.y[0], first.x[-1], first.y[-1]) == (3, 1.0, 5000, 4998.5)
    assert (list(second.x), list(second.y)) == ([3, 4], [3.0, 1.0])
    assert many.figure.layout.xaxis.title.text == "Step, means of 3 steps"
    assert "means of 3 steps. a: from 1 to 5e+03; b: from 3 to 1." in many.alt
    assert list(many.table.columns) == ["Step", "a", "b"]
    assert "No step yet" in plots.losses_by_step({"a": np.zeros(0)}, styles).alt


@pytest.mark.parametrize(("n", "step"), [(12, 1), (13, 2), (60, 5), (300, 50), (5000, 500)])
def test_epochs_are_named_in_round_steps(n: int, step: int) -> None:
    chart = plots.learning_curves(epochs_of_one_run(n), "accuracy", plots.run_styles(["a"]))
    assert chart.figure.layout.xaxis.dtick == step


def test_what_a_history_lacks_is_left_out_of_its_chart() -> None:
    history = pd.DataFrame({"epoch": [1, 2, 3], "memory_mb": [700.0, np.nan, 900.0]})
    columns = {"memory_mb": "Process", "device_memory_mb": "GPU"}
    style = plots.run_styles(["a"])["a"]
    chart = plots.over_epochs(history, columns, "Memory", "MB", style)
    assert [list(trace.x) for trace in chart.figure.data] == [[1, 3]]
    assert list(chart.table.columns) == ["Epoch", "Process"]
    assert "from 700 in epoch 1 to 900 in epoch 3" in chart.alt
    assert "no epoch yet" in plots.over_epochs(history[:0], columns, "Memory", "MB", style).alt
