"""Verdicts, adjusted tests and ranks against other libraries and printed tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from genrecore.evaluation import ranks, verdicts
from genrecore.evaluation.clustered import Interval
from genrecore.evaluation.verdicts import BETTER, EQUIVALENT, OPEN, judge


def test_holm_is_statsmodels() -> None:
    p = [0.01, 0.04, 0.03, 0.005, 0.9, 0.03]
    assert verdicts.holm(p) == pytest.approx(list(multipletests(p, method="holm")[1]))
    with_gap = verdicts.holm([0.02, float("nan"), 0.02])
    assert with_gap[0] == with_gap[2] == 0.04
    assert np.isnan(with_gap[1])
    assert verdicts.holm([]) == []


def gap(low: float, high: float, p: float, freedom: float = 200.0) -> Interval:
    """A difference with this interval and p-value."""
    error = (high - low) / (2 * stats.t.ppf(0.975, freedom))
    return Interval((low + high) / 2, low, high, error, freedom, p)


def test_a_verdict_takes_interval_and_adjusted_test() -> None:
    assert judge("A", "B", 290, gap(-0.009, 0.072, 0.14)).word == OPEN
    assert judge("A", "B", 290, gap(0.01, 0.07, 0.01)).word == BETTER
    assert judge("A", "B", 290, gap(0.01, 0.07, 0.01), p=0.06, n_pairs=6).word == OPEN
    assert judge("A", "B", 290, gap(-0.009, 0.008, 0.9)).word == EQUIVALENT
    assert judge("A", "B", 290, gap(0.002, 0.008, 0.001)).word == EQUIVALENT  # and no matter
    assert judge("A", "B", 290, gap(-0.03, 0.03, 0.9), band=0.03).word == EQUIVALENT


def test_a_verdict_is_a_sentence() -> None:
    verdict = judge("A", "B", 290, gap(-0.009, 0.071, 0.14))
    assert verdict.sentence == (
        "On 290 clips A is 3.1 points above B (95 %: −0.9 to +7.1; p = 0.14): cannot be told "
        "apart; this test set resolves differences of about 5.7 points."
    )
    worse = judge("A", "B", 800, gap(-0.08, -0.02, 0.001), p=0.002, n_pairs=3)
    assert (worse.word, worse.better) == (BETTER, "b")
    assert worse.sentence == (
        "On 800 clips A is 5.0 points below B (95 %: −8.0 to −2.0; p = 0.002, adjusted for 3 "
        "pairs): B is better, as far as these two trainings go."
    )
    adjusted = judge("A", "B", 49, gap(0.01, 0.19, 0.036), p=0.22, n_pairs=6)
    assert adjusted.word == OPEN
    assert "p = 0.036 alone; with 6 pairs compared it is 0.22): cannot" in adjusted.sentence
    nan = float("nan")
    nothing = Interval(nan, nan, nan, nan, nan)
    assert "share no test clips" in judge("A", "B", 0, nothing).sentence


def test_what_is_not_covered_is_not_claimed() -> None:
    few = judge("A", "B", 49, replace(gap(0.1, 0.3, 0.01), of_artists=1.5))
    assert (few.word, few.better) == (OPEN, "")
    assert "): too few artists to tell;" in few.sentence
    systems = judge("A", "B", 200, gap(0.1, 0.3, 0.001), seeds="over 3 and 1 seeds", single=["B"])
    assert systems.word == OPEN
    assert "cannot be told apart, for B has one seed: another may say otherwise" in systems.sentence
    same = judge("A", "B", 200, gap(-0.005, 0.005, 0.9), single=["A", "B"])
    assert same.word == OPEN
    assert "for A and B have one seed" in same.sentence
    several = judge("A", "B", 200, gap(0.1, 0.3, 0.001), seeds="over 3 seeds each")
    assert several.sentence.endswith("A is better.")


def test_what_a_test_set_resolves_is_found_four_times_in_five() -> None:
    """A true difference of the size named is called significant in about 80 % of test sets."""
    generator = np.random.default_rng(9)
    n = 400
    # Discordant clips: a alone 0.16, b alone 0.09; the difference is 0.07.
    kinds = generator.choice(3, size=(2000, n), p=[0.16, 0.09, 0.75])
    only_a, only_b = (kinds == 0).sum(axis=1), (kinds == 1).sum(axis=1)
    error = np.sqrt((0.16 + 0.09 - 0.07**2) / n)
    z = (only_a - only_b) / n / error
    resolved = verdicts.resolvable(Interval(0.0, 0.0, 0.0, error, n - 1))
    assert resolved == pytest.approx(0.07, abs=0.001)  # the shares are round
    measured = (z > 1.96).mean()
    assert measured == pytest.approx(0.8, abs=3 * np.sqrt(0.8 * 0.2 / 2000))  # three of its errors


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
