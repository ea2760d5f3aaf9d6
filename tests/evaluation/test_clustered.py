"""Intervals over artists and seeds: against matrices, Wilson's, and simulated test sets."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import pytest
from fake_runs import draw_right
from scipy import linalg, special, stats

from genrecore.evaluation import clustered
from genrecore.evaluation.significance import wilson


def by_matrices(values: np.ndarray, artists: np.ndarray) -> tuple[float, float, np.ndarray]:
    """The variance CR2 of a mean, its degrees of freedom where clips are not alike, and the matrix
    of the quadratic form, by the matrices of the papers: a regression on a constant with
    independent errors as the working model."""
    n = len(values)
    hat = np.full((n, n), 1 / n)
    residuals, maker = values - values.mean(), np.eye(n) - hat
    variance, columns = 0.0, []
    for artist in np.unique(artists):
        own = artists == artist
        root = linalg.inv(linalg.sqrtm(np.eye(own.sum()) - hat[np.ix_(own, own)]).real)
        weights = root @ np.full(own.sum(), 1 / n)
        variance += float(weights @ residuals[own]) ** 2
        columns.append(maker[:, own] @ weights)
    matrix = np.stack(columns, axis=1)
    eigenvalues = linalg.eigvalsh(matrix.T @ matrix)
    freedom = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    return variance, freedom, matrix @ matrix.T


def by_anova(values: np.ndarray, artists: np.ndarray) -> float:
    """The intra-class correlation, from the F test of the analysis of variance."""
    parts = [values[artists == artist] for artist in np.unique(artists)]
    ratio = stats.f_oneway(*parts).statistic
    sizes = np.array([len(part) for part in parts])
    size = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / (len(sizes) - 1)
    return float(np.clip((ratio - 1) / (ratio - 1 + size), 0, 1))


@pytest.mark.parametrize("sizes", [[12, 12, 12, 12], [4, 8, 12, 40, 16, 16], [1] * 60])
def test_the_closed_formula_is_that_of_the_matrices(sizes: list[int]) -> None:
    artists = np.repeat(np.arange(len(sizes)), sizes)
    a, b = draw_right(0.6, len(artists), 1), draw_right(0.5, len(artists), 2)
    variance, of_artists, _ = by_matrices(a.astype(float) - b, artists)
    measured = clustered.difference(a, b, artists)
    assert measured.value == pytest.approx(a.mean() - b.mean())
    assert measured.error == pytest.approx(np.sqrt(variance))
    assert measured.of_artists == pytest.approx(of_artists)
    t = measured.value / np.sqrt(variance)
    assert measured.p == pytest.approx(2 * stats.t.sf(abs(t), measured.freedom))
    if len(set(sizes)) == 1:
        assert measured.freedom == pytest.approx(of_artists)


@pytest.mark.parametrize("alike", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("sizes", [[12, 12, 12], [4, 8, 12, 40, 16, 16], [1, 2, 3, 60, 5, 4, 3, 2]])
def test_the_quantile_of_student_is_that_of_drawn_clips(sizes: list[int], alike: float) -> None:
    """Clips of a random-effects model are drawn; the mean over its standard error by the matrices
    of the papers exceeds the quantile in 5 %."""
    artists, n_draws = np.repeat(np.arange(len(sizes)), sizes), 40_000
    generator, each = np.random.default_rng(7), np.array(sizes, dtype=float)
    drawn = np.sqrt(alike) * generator.normal(size=(n_draws, len(sizes)))[:, artists]
    drawn += np.sqrt(1 - alike) * generator.normal(size=drawn.shape)
    _, _, form = by_matrices(drawn[0], artists)
    t = drawn.mean(axis=1) / np.sqrt(((drawn @ form) * drawn).sum(axis=1))
    variances = each * (1 - alike) + each**2 * alike
    freedom = clustered.student_freedom(each / each.sum(), variances)
    share = float((abs(t) > stats.t.ppf(0.975, freedom)).mean())
    assert share == pytest.approx(0.05, abs=1.5 * error_of(0.05, n_draws))


def test_the_quantile_follows_how_alike_the_clips_look() -> None:
    artists = np.repeat(np.arange(6), [4, 8, 12, 40, 16, 16])
    sizes = np.bincount(artists).astype(float)
    freedoms = []
    for share_of_artist in (0.0, 0.5, 0.9):
        lucky = np.random.default_rng(2).random(6)[artists] < 0.6
        own = draw_right(0.6, len(artists), 3)
        right = np.where(draw_right(share_of_artist, len(artists), 4), lucky, own)
        alike = by_anova(right.astype(float), artists)
        expected = clustered.student_freedom(
            sizes / sizes.sum(), sizes * (1 - alike) + sizes**2 * alike
        )
        freedoms.append(clustered.accuracy(right, artists).freedom)
        assert freedoms[-1] == pytest.approx(expected)
    assert len(set(freedoms)) == 3


def test_artists_of_one_clip_give_the_paired_t_test() -> None:
    a, b = draw_right(0.7, 250, 5), draw_right(0.6, 250, 6)
    measured = clustered.difference(a, b, np.arange(250))
    expected = stats.ttest_rel(a.astype(float), b.astype(float))
    assert (measured.p, measured.freedom) == pytest.approx((expected.pvalue, 249))
    assert (measured.low, measured.high) == pytest.approx(tuple(expected.confidence_interval()))


def test_without_artists_the_interval_of_an_accuracy_is_wilsons() -> None:
    right = draw_right(0.7, 300, 1)
    measured = clustered.accuracy(right, np.arange(300))
    assert (measured.low, measured.high) == wilson(int(right.sum()), 300)


def test_clips_of_one_artist_count_as_one_where_they_always_agree() -> None:
    artists = np.repeat(np.arange(40), 10)
    right = draw_right(0.6, 40, 3)
    alone = clustered.accuracy(right, np.arange(40))
    together = clustered.accuracy(right[artists], artists)
    # 40 artists of ten clips say what 40 clips say, but that n - 1 takes the place of n.
    assert together.error == pytest.approx(alone.error)
    assert together.low == pytest.approx(alone.low, abs=0.01)


def test_no_interval_has_the_width_zero() -> None:
    artists = np.repeat(np.arange(4), 8)
    everything = clustered.accuracy(np.ones(32, bool), artists)
    assert (everything.value, everything.high) == (1.0, 1.0)
    assert everything.low < 0.5  # four artists say little
    more = clustered.accuracy(np.ones(320, bool), np.repeat(np.arange(40), 8))
    assert everything.low < more.low < 0.95
    never_differ = clustered.difference(np.ones(32, bool), np.ones(32, bool), artists)
    assert never_differ.low < -0.1
    assert never_differ.high > 0.1
    once = np.arange(32) > 0
    differ_once = clustered.difference(np.ones(32, bool), once, artists)
    assert differ_once.high - differ_once.low >= never_differ.high - never_differ.low
    assert never_differ.p == 1.0
    always_differ = clustered.difference(np.ones(320), np.zeros(320), np.repeat(np.arange(40), 8))
    assert 0.8 < always_differ.low < 1.0
    assert always_differ.p < 1e-6
    # The same share of every artist is a coincidence where there are few.
    same_shares = clustered.accuracy(np.tile([True, False], 16), artists)
    assert same_shares.high - same_shares.low > 0.2


def test_one_artist_or_no_clip_is_too_little_to_tell() -> None:
    single = clustered.accuracy(draw_right(0.5, 9, 4), np.zeros(9))
    assert not single.holds
    assert single.high - single.low > 0.9
    assert not clustered.difference(np.ones(9), np.zeros(9), np.zeros(9)).holds
    assert np.isnan(clustered.accuracy(np.zeros(0, bool), np.zeros(0)).value)
    with pytest.raises(ValueError, match="for 3 clips"):
        clustered.accuracy(np.zeros((1, 4), bool), np.arange(3))


def test_the_luck_of_seeds_is_part_of_the_interval() -> None:
    """Against the variance that analysis of crossed factors gives: clips plus seeds."""
    generator = np.random.default_rng(8)
    n_seeds, n = 4, 500
    luck = generator.normal(0, 0.06, n_seeds)
    right = generator.random(n)[None] < 0.6 + luck[:, None]
    measured = clustered.accuracy(right, np.arange(n))
    of_seeds = right.mean(axis=1).var(ddof=1) / n_seeds
    of_clips = right.mean(axis=0).var(ddof=1) / n
    centred = right - right.mean(axis=0) - right.mean(axis=1, keepdims=True) + right.mean()
    interaction = (centred**2).sum() / ((n - 1) * (n_seeds - 1)) / (n * n_seeds)
    expected = of_seeds + of_clips - interaction
    assert measured.error == pytest.approx(np.sqrt(expected), rel=1e-3)  # n and n - 1
    assert clustered.accuracy(right[:1], np.arange(n)).error < measured.error


def test_seeds_that_do_not_differ_add_nothing() -> None:
    right = draw_right(0.7, 120, 1)
    artists = np.arange(120) // 3
    one, three = (clustered.accuracy(np.tile(right, (k, 1)), artists) for k in (1, 3))
    assert (three.low, three.high, three.error) == pytest.approx((one.low, one.high, one.error))


@dataclass(frozen=True)
class TestSets:
    """Sets of clips on which two equal systems are tested.

    Attributes:
        sizes: Clips of each artist, (sets, artists); clips lie artist by artist, set by set.
        right: Of each system, whether each run is right on each clip, (runs, clips) bool.
    """

    __test__ = False

    sizes: np.ndarray
    right: tuple[np.ndarray, np.ndarray]

    def numbered(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Who is right in one set, and the artist of each of its clips."""
        ends = self.sizes.sum(axis=1).cumsum()
        clips = slice(ends[number] - self.sizes[number].sum(), ends[number])
        artists = np.repeat(np.arange(self.sizes.shape[1]), self.sizes[number])
        return self.right[0][:, clips], self.right[1][:, clips], artists


def simulated(
    n_sets: int,
    n_artists: int,
    unequal: bool,
    n_seeds: int,
    cluster: float,
    luck: float,
    gap: float = 0.0,
    n_clips: int = 200,
) -> TestSets:
    """An artist, and a clip, is easy or hard for both systems (`cluster`), and easier for one of
    them (half of it); seeds differ by `luck`. All are standard deviations of a normal level whose
    sign decides; the first system's is higher by `gap`. Unequal artists have Pareto sizes."""
    generator = np.random.default_rng([n_artists, n_seeds, int(10 * cluster), int(100 * luck)])
    shares = np.ones((n_sets, n_artists))
    if unequal:
        shares = generator.pareto(1.0, shares.shape) + 0.05
    shares /= shares.sum(axis=1, keepdims=True)
    sizes = np.maximum(1, np.round(shares * max(n_clips, 2 * n_artists))).astype(int)

    def of_artists() -> np.ndarray:
        return cluster * np.repeat(generator.normal(size=sizes.size), sizes.ravel())

    def of_clips(*shape: int) -> np.ndarray:
        return generator.normal(size=(*shape, sizes.sum()))

    both = 0.4 + of_artists() + of_clips()
    sides = []
    for better in (gap, 0.0):
        own = both + better + of_artists() / 2 + 0.5 * of_clips()
        lucky = luck * generator.normal(size=(n_seeds, n_sets))
        own = own + np.repeat(lucky, sizes.sum(axis=1), axis=1)
        sides.append(own + 0.5 * of_clips(n_seeds) > 0)
    return TestSets(sizes, (sides[0], sides[1]))


def estimates(sets: TestSets) -> tuple[np.ndarray, ...]:
    """What `clustered` says of each set, all at once: whether the difference holds, its p-value,
    and both ends of the interval of the first system's accuracy; then the difference over its
    uncorrected standard error, that of the artists' sums alone; (sets,) each."""
    sizes = sets.sizes
    n = sizes.sum(axis=1)
    share = sizes / n[:, None]
    firsts = np.concatenate([[0], sizes.ravel().cumsum()[:-1]])
    paired = share**2 / (1 - share)
    squares = (share**2).sum(axis=1)
    of_artists = 1 / (squares + paired.sum(axis=1) ** 2 - (paired**2).sum(axis=1))
    # Of each side: accuracy, residuals of artists, the variance of seeds and their part of clips.
    sides = []
    for right in sets.right:
        k = len(right)
        sums = np.add.reduceat(right.astype(float), firsts, axis=1).reshape(k, *sizes.shape)
        means = sums.sum(axis=2) / n
        value = means.mean(axis=0)
        residuals = (sums.sum(axis=0) - k * value[:, None] * sizes) / (k * n[:, None])
        of_seeds = of_their_clips = np.zeros(len(n))
        if k > 1:
            of_seeds = means.var(axis=0, ddof=1) / k
            within = sums - means[:, :, None] * sizes
            within = ((within - within.mean(axis=0)) ** 2).sum(axis=0) * k / (k - 1)
            of_their_clips = (within / (1 - share)).sum(axis=1) / (k * n) ** 2
        sides.append((value, residuals, of_seeds, of_their_clips, k))
    parts_a, parts_b = (right.mean(axis=0) for right in sets.right)  # of clips
    starts = np.concatenate([[0], n.cumsum()[:-1]])

    def variance(
        parts: np.ndarray, residuals: np.ndarray, sides: list[Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        total = of_clips = (residuals**2 / (1 - share)).sum(axis=1)
        of_clips_alone = of_artists
        if np.ptp(sizes):
            means = np.add.reduceat(parts, starts) / n
            squares = np.add.reduceat(parts**2, starts) / n**2 - means**2 / n
            alike = clustered.likeness(sizes, residuals, squares)[:, None]
            variances = sizes * (1 - alike) + sizes**2 * alike
            of_clips_alone = clustered.student_freedom(share, variances)
        below = of_clips**2 / of_clips_alone
        for _, _, of_seeds, of_their_clips, k in sides:
            added = np.maximum(0.0, of_seeds - of_their_clips)
            total = total + added
            below = below + np.where(added > 0, of_seeds**2 / max(1, k - 1), 0.0)
        with np.errstate(invalid="ignore"):
            freedom = np.maximum(1.0, np.minimum(of_clips_alone, total**2 / below))
        return total, np.where(total < 1e-18, of_clips_alone, freedom)

    (a, of_a, *_), (b, of_b, *_) = sides
    total, freedom = variance(parts_a - parts_b, of_a - of_b, sides)
    quantile = special.stdtrit(np.maximum(freedom, 1.0), 0.975)
    reach = np.maximum(quantile * np.sqrt(total), quantile**2 / (n + quantile**2))
    p = 2 * special.stdtr(freedom, -np.abs(a - b) * quantile / reach)
    uncorrected = np.abs(a - b) / np.maximum(np.sqrt(((of_a - of_b) ** 2).sum(axis=1)), 1e-9)
    total, freedom = variance(parts_a, of_a, sides[:1])
    z = special.stdtrit(np.maximum(freedom, 1.0), 0.975)
    spread, m = a * (1 - a), 1 / squares
    is_spread = (total > 1e-18) & (spread > 0)
    m[is_spread] = np.minimum(spread / np.maximum(total, 1e-18), 2 * n)[is_spread]
    centre, width = a + z**2 / (2 * m), 1 + z**2 / m
    half = z * np.sqrt(spread / m + z**2 / (4 * m**2))
    return (
        of_artists >= clustered.LEAST_FREEDOM,
        p,
        (centre - half) / width,
        (centre + half) / width,
        uncorrected,
    )


@pytest.mark.parametrize("n_seeds", [1, 3])
@pytest.mark.parametrize("unequal", [False, True])
@pytest.mark.parametrize("n_artists", [3, 20])
def test_the_simulation_has_the_estimates_of_the_package(
    n_artists: int, unequal: bool, n_seeds: int
) -> None:
    sets = simulated(25, n_artists, unequal, n_seeds, 0.8, 0.1)
    for number, (holds, p, low, high, _) in enumerate(zip(*estimates(sets), strict=True)):
        a, b, artists = sets.numbered(number)
        gap, accuracy = clustered.difference(a, b, artists), clustered.accuracy(a, artists)
        assert gap.holds == holds
        assert (gap.p, accuracy.low, accuracy.high) == pytest.approx((p, low, high))


@dataclass(frozen=True)
class Rates:
    """Shares of simulated test sets: two equal systems `different`, the interval of an accuracy
    `covering` the true one, two that differ by ten points `found` different; and `findable` by the
    uncorrected test with just that critical value at which it errs in 5 % of equal systems, which
    nobody knows outside a simulation."""

    different: float
    covering: float
    found: float
    findable: float


def rates(
    n_sets: int, n_artists: int, unequal: bool, n_seeds: int, cluster: float, luck: float = 0.0
) -> Rates:
    spread = float(np.sqrt(1.25 * cluster**2 + 1 + 0.5 + luck**2))
    truth = float(stats.norm.cdf(0.4 / spread))
    gap = spread * float(stats.norm.ppf(truth + 0.1)) - 0.4
    cell = (n_sets, n_artists, unequal, n_seeds, cluster, luck)
    holds, p, low, high, uncorrected = estimates(simulated(*cell))
    with_gap = estimates(simulated(*cell, gap))
    return Rates(
        different=float((holds & (p < 0.05)).mean()),
        covering=float(((low <= truth) & (truth <= high)).mean()),
        found=float((with_gap[0] & (with_gap[1] < 0.05)).mean()),
        findable=float((with_gap[4] > np.quantile(uncorrected, 0.95)).mean()),
    )


def error_of(share: float, n_sets: int) -> float:
    """Two standard errors of a simulated share."""
    return 2 * float(np.sqrt(share * (1 - share) / n_sets))


@pytest.mark.parametrize(
    ("n_artists", "unequal", "n_seeds", "luck"),
    [(5, False, 1, 0.0), (10, True, 1, 0.0), (80, False, 1, 0.0), (10, False, 3, 0.2)],
)
def test_equal_systems_are_rarely_called_different(
    n_artists: int, unequal: bool, n_seeds: int, luck: float
) -> None:
    n_sets = 300
    measured = rates(n_sets, n_artists, unequal, n_seeds, 0.8, luck)
    assert measured.different <= 0.05 + error_of(0.05, n_sets)
    assert measured.covering >= 0.95 - error_of(0.95, n_sets)


@pytest.mark.long
@pytest.mark.parametrize("unequal", [False, True], ids=["equal", "unequal"])
@pytest.mark.parametrize("n_artists", [5, 10, 20, 80])
def test_verdicts_and_intervals_hold_from_five_artists_on(n_artists: int, unequal: bool) -> None:
    """Prints the table of docs/explanations/statistics.md; in four minutes."""
    for n_seeds in (1, 2, 3, 5):
        cells = [
            rates(2000, n_artists, unequal, n_seeds, cluster, luck)
            for cluster in (0.3, 0.8, 1.5)
            for luck in ((0.0,) if n_seeds == 1 else (0.0, 0.05, 0.1))
        ]
        shares = 100 * np.array([astuple(cell) for cell in cells])
        spans = [f"{column.min():.1f} to {column.max():.1f}" for column in shares.T]
        print(f"| {n_artists} | {'un' * unequal}equal | {n_seeds} | {' | '.join(spans)} |")  # noqa: T201
        different, covering = shares.T[:2]
        assert different.max() <= 6.4
        assert covering.min() >= 93
        if n_artists >= 10:
            assert covering.max() <= 97 + 100 * error_of(0.97, 2000)
