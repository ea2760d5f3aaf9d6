"""Resampling, verdicts and ranks against other libraries, printed tables and simulations."""

from __future__ import annotations

import numpy as np
import pytest
from fake_runs import draw_right
from scipy import stats
from statsmodels.stats.multitest import multipletests

from genrecore.evaluation import bootstrap, ranks, verdicts
from genrecore.evaluation.bootstrap import Resamples
from genrecore.evaluation.significance import mcnemar_mid_p
from genrecore.evaluation.verdicts import BETTER, EQUIVALENT, OPEN, judge


def test_an_interval_is_scipys_bootstrap_where_clips_are_alone() -> None:
    right = draw_right(0.7, 300, 1)
    measured = bootstrap.accuracy(right, np.arange(300))
    expected = stats.bootstrap(
        (right.astype(float),), np.mean, method="percentile", n_resamples=20_000, rng=2
    )
    # Ends of two sets of 10 000 draws differ by about a tenth of a standard error.
    assert measured.low == pytest.approx(expected.confidence_interval.low, abs=0.004)
    assert measured.high == pytest.approx(expected.confidence_interval.high, abs=0.004)
    assert measured.error == pytest.approx(expected.standard_error, rel=0.03)
    assert measured.value == right.mean()


def test_clips_of_one_artist_widen_the_interval() -> None:
    artists = np.repeat(np.arange(40), 10)
    right = draw_right(0.6, 40, 3)[artists]  # an artist's clips are all right or all wrong
    alone, together = (bootstrap.accuracy(right, groups) for groups in (np.arange(400), artists))
    # Ten clips that always agree count as one: the square root of ten.
    assert together.error / alone.error == pytest.approx(np.sqrt(10), rel=0.05)


def test_one_artist_or_no_clip_is_no_interval() -> None:
    single = bootstrap.accuracy(draw_right(0.5, 9, 4), np.zeros(9))
    assert single.low == single.high == single.value
    assert np.isnan(bootstrap.accuracy(np.zeros(0, bool), np.zeros(0)).value)
    with pytest.raises(ValueError, match="for 3 clips"):
        Resamples([np.zeros((1, 4), bool)], np.arange(3))


def test_a_difference_of_pairs_is_scipys() -> None:
    a, b = draw_right(0.7, 250, 5), draw_right(0.6, 250, 6)
    measured = Resamples([a[None], b[None]], np.arange(250)).difference(0, 1)
    expected = stats.bootstrap(
        (a.astype(float) - b.astype(float),), np.mean, method="percentile", rng=7
    )
    assert (measured.low, measured.high) == pytest.approx(
        tuple(expected.confidence_interval), abs=0.006
    )


def test_the_luck_of_seeds_is_part_of_the_interval() -> None:
    """Against the variance that analysis of crossed factors gives: clips plus seeds."""
    generator = np.random.default_rng(8)
    n_seeds, n = 4, 500
    luck = generator.normal(0, 0.06, n_seeds)
    easy = generator.random(n)
    right = easy[None] < 0.6 + luck[:, None]
    measured = Resamples([right], np.arange(n)).accuracy(0)
    of_seeds = right.mean(axis=1).var(ddof=1) / n_seeds
    of_clips = right.mean(axis=0).var(ddof=1) / n
    # The pigeonhole bootstrap adds the variance of the interaction; it is small beside these.
    assert measured.error == pytest.approx(np.sqrt(of_seeds + of_clips), rel=0.1)
    single = Resamples([right[:1]], np.arange(n)).accuracy(0)
    assert single.error < measured.error


def test_holm_is_statsmodels() -> None:
    p = [0.01, 0.04, 0.03, 0.005, 0.9, 0.03]
    assert verdicts.holm(p) == pytest.approx(list(multipletests(p, method="holm")[1]))
    with_gap = verdicts.holm([0.02, float("nan"), 0.02])
    assert with_gap[0] == with_gap[2] == 0.04
    assert np.isnan(with_gap[1])
    assert verdicts.holm([]) == []


def test_a_verdict_takes_test_and_interval() -> None:
    def word(low: float, high: float, p: float, **more: float) -> str:
        return judge("A", "B", 290, (low + high) / 2, (low, high), 0.02, p, **more).word

    assert word(-0.009, 0.072, 0.14) == OPEN
    assert word(0.01, 0.07, 0.01) == BETTER
    assert word(0.01, 0.07, 0.06) == OPEN  # the interval alone is not enough
    assert word(-0.001, 0.07, 0.01) == OPEN  # nor is the test
    assert word(-0.009, 0.008, 0.9) == EQUIVALENT
    assert word(0.002, 0.008, 0.001) == EQUIVALENT  # surely there, and surely no matter
    assert word(-0.03, 0.03, 0.9, band=0.03) == EQUIVALENT


def test_a_verdict_is_a_sentence() -> None:
    verdict = judge("A", "B", 290, 0.031, (-0.009, 0.072), 0.0206, 0.14)
    assert verdict.sentence == (
        "On 290 clips A is 3.1 points above B (95 %: −0.9 to +7.2; p = 0.14): cannot be told "
        "apart; this test set resolves differences of about 5.8 points."
    )
    worse = judge("A", "B", 800, -0.05, (-0.08, -0.02), 0.015, 0.002, n_pairs=3)
    assert (worse.word, worse.better) == (BETTER, "b")
    assert worse.sentence == (
        "On 800 clips A is 5.0 points below B (95 %: −8.0 to −2.0; p = 0.002, adjusted for 3 "
        "pairs): B is better."
    )
    # Where the test or the interval alone would say otherwise, the sentence says why it does not.
    open_ = "cannot be told apart"
    adjusted = judge("A", "B", 49, 0.1, (-0.02, 0.22), 0.06, 0.22, n_pairs=6, p_alone=0.036)
    assert "p = 0.036 alone; with 6 pairs compared it is 0.22): cannot" in adjusted.sentence
    by_interval = judge("A", "B", 49, 0.17, (-0.108, 0.446), 0.14, 0.036, p_alone=0.036)
    assert (
        f"p = 0.036): {open_}, because the interval, which takes clips of" in by_interval.sentence
    )
    by_test = judge("A", "B", 9, 0.3, (0.01, 0.6), 0.15, 0.12, n_pairs=2, p_alone=0.06)
    assert f"{open_}, because the test, which is exact for few clips," in by_test.sentence
    for other in (adjusted, by_interval, by_test):
        assert other.word == OPEN
    nan = float("nan")
    assert "share no test clips" in judge("A", "B", 0, nan, (nan, nan), nan, nan).sentence


def test_what_a_test_set_resolves_is_found_four_times_in_five() -> None:
    """A true difference of the size named is called significant in about 80 % of test sets."""
    generator = np.random.default_rng(9)
    n = 400
    # Discordant clips: a alone 0.16, b alone 0.09; the difference is 0.07.
    kinds = generator.choice(3, size=(2000, n), p=[0.16, 0.09, 0.75])
    only_a, only_b = (kinds == 0).sum(axis=1), (kinds == 1).sum(axis=1)
    error = np.sqrt((0.16 + 0.09 - 0.07**2) / n)
    z = (only_a - only_b) / n / error
    assert verdicts.resolvable(error) == pytest.approx(0.07, abs=0.001)  # the shares are round
    measured = (z > 1.96).mean()
    assert measured == pytest.approx(0.8, abs=3 * np.sqrt(0.8 * 0.2 / 2000))  # three of its errors


def simulated(generator: np.random.Generator, n_artists: int, n_each: int) -> np.ndarray:
    """Two equal systems, (2, clips) bool: an artist is easier or harder for either of them."""
    base = generator.normal(0.4, 0.8, (n_artists, 1))
    own = generator.normal(0, 0.5, (2, n_artists, 1))
    level = 1 / (1 + np.exp(-(base + own)))
    return (generator.random((2, n_artists, n_each)) < level).reshape(2, -1)


def test_two_equal_systems_are_rarely_called_different() -> None:
    generator = np.random.default_rng(10)
    n_sets, wrong = 1000, 0
    artists = np.repeat(np.arange(80), 4)
    for _ in range(n_sets):
        a, b = simulated(generator, 80, 4)
        gap = Resamples([a[None], b[None]], artists, n_resamples=500).difference(0, 1)
        p = mcnemar_mid_p(int((a & ~b).sum()), int((b & ~a).sum()))
        verdict = judge("A", "B", 320, gap.value, (gap.low, gap.high), gap.error, p)
        wrong += verdict.word == BETTER
    assert wrong / n_sets <= 0.064  # 5 % and two standard errors of 1 000 sets


def test_intervals_cover_as_often_as_they_say() -> None:
    """Of an accuracy and of a difference, with sixty artists."""
    generator = np.random.default_rng(11)
    artists = np.repeat(np.arange(60), 4)
    truth = simulated(np.random.default_rng(12), 100_000, 4).mean()
    n_sets, inside, around = 1000, 0, 0
    for _ in range(n_sets):
        a, b = simulated(generator, 60, 4)
        resamples = Resamples([a[None], b[None]], artists, n_resamples=500)
        measured, gap = resamples.accuracy(0), resamples.difference(0, 1)
        inside += measured.low <= truth <= measured.high
        around += gap.low <= 0 <= gap.high
    assert 0.93 <= inside / n_sets <= 0.97
    assert 0.93 <= around / n_sets <= 0.97


# Demšar (2006), Table 6: AUC of C4.5 and three variants on 14 data sets.
DEMSAR = np.array([
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
])  # fmt: skip


def test_ranks_are_those_of_the_printed_example() -> None:
    measured = ranks.friedman(DEMSAR)
    # Printed: 3.143, 2.000, 2.893, 1.964; critical difference 1.25 (Nemenyi, 5 %).
    assert measured.mean == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=0.0005)
    assert measured.critical == pytest.approx(1.25, abs=0.005)
    assert [sorted(group) for group in measured.groups] == [[0, 1, 2, 3]]
    chi2 = stats.friedmanchisquare(*DEMSAR.T).statistic
    n, k = DEMSAR.shape
    f = (n - 1) * chi2 / (n * (k - 1) - chi2)
    assert measured.p == pytest.approx(stats.f.sf(f, k - 1, (k - 1) * (n - 1)))


def test_ranks_at_their_edges() -> None:
    always = np.tile([0.9, 0.8, 0.7], (20, 1))
    measured = ranks.friedman(always)
    assert (list(measured.mean), measured.p, measured.groups) == ([1, 2, 3], 0.0, [])
    assert ranks.friedman(np.ones((4, 3))).p == 1.0
    with pytest.raises(ValueError, match="two blocks"):
        ranks.friedman(np.ones((1, 3)))
    with pytest.raises(ValueError, match="every system"):
        ranks.friedman(np.array([[1, 2], [np.nan, 3]]))
