"""Published results keep their intervals, and ours are set against those of their split alone."""

from __future__ import annotations

from math import isnan, sqrt
from pathlib import Path

import numpy as np
import pytest
from fake_runs import fake_run
from statsmodels.stats.proportion import proportion_confint

from genrecore.data.datasets import DATASETS
from genrecore.data.splits import SPLITS
from genrecore.errors import UsageError
from genrecore.evaluation.published import RANDOM, published_results
from genrecore.evaluation.records import (
    BELOW,
    NOT_COMPARABLE,
    SUSPICIOUS,
    OwnResult,
    RecordTable,
    record_tables,
)
from genrecore.evaluation.verdicts import OPEN
from genrecore.store.runs import all_runs

GTZAN = ["blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae",
         "rock"]  # fmt: skip
N_TEST = 290
FILTERED = {"dataset": "gtzan", "split": "fault_filtered", "genres": GTZAN}


def tables(store: Path, dataset: str = "gtzan") -> dict[str, RecordTable]:
    return {table.split: table for table in record_tables(all_runs(store), dataset)}


def own(store: Path, n_right: int, **values: object) -> OwnResult:
    """A run that recognises so many of the split's test clips, of as many artists."""
    fake_run(store, np.arange(N_TEST) < n_right, np.arange(N_TEST), **(FILTERED | values))
    (result,) = tables(store)["fault_filtered"].own
    return result


def test_every_published_result_has_a_source_and_a_dataset_and_split_that_are_known() -> None:
    for result in published_results():
        assert result.dataset in DATASETS
        assert result.group == RANDOM or result.split in SPLITS
        assert result.source
        assert result.kind in ("printed", "reproduced", "independent")
        assert 0.4 < result.accuracy < 1
        assert isnan(result.spread) or 0 <= result.spread < 0.1
        assert isnan(result.interval.low) == (not result.n_test)


def test_a_published_accuracy_has_wilsons_interval_and_a_spread_makes_it_wider() -> None:
    by_name = {result.title: result for result in reversed(published_results())}
    ast, panns = by_name["AST"], by_name["PANNs CNN14"]
    assert (ast.accuracy, ast.n_test) == (0.851, N_TEST)
    ends = proportion_confint(0.851 * N_TEST, N_TEST, method="wilson")
    assert (ast.interval.low, ast.interval.high) == pytest.approx(ends)
    assert (panns.accuracy, panns.spread) == pytest.approx((0.787, 0.03))
    assert panns.interval.error == pytest.approx(sqrt(0.787 * 0.213 / N_TEST + 0.03**2))
    low, high = proportion_confint(0.787 * N_TEST, N_TEST, method="wilson")
    assert panns.interval.low < low < high < panns.interval.high


def test_the_difference_is_that_of_two_proportions_without_pairing(store: Path) -> None:
    result = own(store, 232)
    record = tables(store)["fault_filtered"].record
    assert record.title == "MATPAC++"
    assert (record.accuracy, record.spread) == pytest.approx((0.876, 0.0))
    # Variances by hand: ours over as many artists as clips, the published one's binomial.
    error = sqrt(0.8 * 0.2 / (N_TEST - 1) + 0.876 * 0.124 / N_TEST)
    gap = result.gaps[0]
    assert gap.value == pytest.approx(-0.076)
    assert gap.error == pytest.approx(error)
    # Student's t with some 800 degrees of freedom is wider than 1.96 by 0.2 %.
    assert gap.low == pytest.approx(-0.076 - 1.96 * error, abs=2e-4)
    assert gap.high == pytest.approx(-0.076 + 1.96 * error, abs=2e-4)
    assert result.verdict == BELOW
    assert "is 7.6 points below the record, MATPAC++ with 87.6 %" in result.sentence
    # PANNs CNN14, 78.7 ± 3.0, and all others that printed about as much cannot be told apart.
    n_below = sum(gap.high < 0 for gap in result.gaps[1:])
    assert f"is below {n_below} and cannot be told apart from" in result.sentence


def test_a_difference_whose_interval_holds_zero_cannot_be_told_apart(store: Path) -> None:
    result = own(store, 250)
    assert result.gaps[0].low < 0 < result.gaps[0].high
    assert result.verdict == OPEN
    assert "cannot be told apart from the record, MATPAC++ with 87.6 %" in result.sentence


def test_a_result_above_every_published_one_is_suspicious_before_anything_else(
    store: Path,
) -> None:
    result = own(store, 276)
    assert result.accuracy.low > 0.876
    assert result.verdict == SUSPICIOUS
    assert result.sentence.startswith("Suspicious: ")
    assert "look for a leak before believing it" in result.sentence


def test_above_the_record_with_an_interval_that_holds_it_is_not_suspicious(store: Path) -> None:
    result = own(store, 256)
    assert result.accuracy.value > 0.876 > result.accuracy.low
    assert result.verdict == OPEN


def test_a_run_with_a_leak_keeps_its_mark(store: Path) -> None:
    result = own(store, 276, n_shared=12)
    assert result.title.endswith("(leak)")
    assert list(result.warnings) == ["leak"]
    assert "Its badge names one (Leak: 12 clips shared with training)." in result.sentence


def test_results_of_another_split_or_dataset_are_never_set_against_one_another(
    store: Path,
) -> None:
    right = np.arange(1000) % 5 > 0
    filtered = fake_run(store, right[:N_TEST], **FILTERED)
    drawn = fake_run(store, right, dataset="gtzan", split="stratified", genres=GTZAN)
    shares = fake_run(store, right, dataset="gtzan", split="belton", genres=GTZAN, model="resnet18")
    fake_run(store, right, dataset="gtzan", split="by_artist", genres=GTZAN)
    fake_run(store, right[:N_TEST], dataset="folder", split="fault_filtered", genres=GTZAN)
    found = {
        split: {run.run_id for result in table.own for run in result.runs}
        for split, table in tables(store).items()
    }
    assert found == {
        "fault_filtered": {filtered.run_id},
        RANDOM: {drawn.run_id, shares.run_id},
    }
    by_split = tables(store)
    assert {result.group for result in by_split[RANDOM].published} == {RANDOM}
    assert {result.split for result in by_split["fault_filtered"].published} == {"fault_filtered"}
    assert list(by_split) == ["fault_filtered", RANDOM]
    for result in by_split[RANDOM].own:
        assert len(result.gaps) == len(by_split[RANDOM].published)


def test_a_study_that_took_the_official_split_is_set_against_its_records(store: Path) -> None:
    genres = [f"genre {k}" for k in range(8)]
    right = np.arange(800) % 2 > 0
    fake_run(store, right, dataset="fma_small", split="benito", genres=genres)
    (result,) = tables(store, "fma_small")["official"].own
    assert result.gaps[0].value == pytest.approx(0.5 - 0.47)


@pytest.mark.parametrize(
    ("split", "n_clips", "reason"),
    [
        ("fault_filtered", 29, "was tested on 29 of 290 clips"),
        ("stratified", 100, "was given 100 of 1,000 clips"),
    ],
)
def test_runs_on_part_of_the_clips_are_shown_and_not_compared(
    split: str, n_clips: int, reason: str, store: Path
) -> None:
    fake_run(store, np.ones(n_clips, bool), dataset="gtzan", split=split, genres=GTZAN)
    (table,) = [table for table in tables(store).values() if table.own]
    (result,) = table.own
    assert result.verdict == NOT_COMPARABLE
    assert f"{reason}: on part of the clips, not comparable" in result.sentence
    assert result.gaps == ()


def test_runs_on_other_genres_are_not_compared(store: Path) -> None:
    result = own(store, 250, genres__merge="loud = rock, metal")
    assert result.verdict == NOT_COMPARABLE


def test_seeds_of_a_system_are_one_result(store: Path) -> None:
    for seed in range(2):
        fake_run(store, np.arange(N_TEST) < 230 + seed, np.arange(N_TEST), seed=seed, **FILTERED)
    (result,) = tables(store)["fault_filtered"].own
    assert result.n_seeds == len(result.runs) == 2
    assert result.accuracy.value == pytest.approx(230.5 / N_TEST)


def test_a_dataset_without_records_is_refused_by_the_names_of_those_that_have_some() -> None:
    with pytest.raises(UsageError, match="'demo'; there are some of gtzan, fma_small and"):
        record_tables([], "demo")
