"""A metric is one registered function: tables, forms and flags then know it, for old runs too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_runs import draw_right, fake_run

from genrecore.cli import flags
from genrecore.config.training import Training
from genrecore.errors import UsageError
from genrecore.evaluation import comparison, metrics
from genrecore.evaluation.metrics import METRICS
from genrecore.evaluation.scores import rank_runs, run_scores
from genrecore.reporting import html as report


def register_confidence() -> None:
    @METRICS.register("confidence", title="Mean confidence", format="share", may_choose_epoch=True)
    def confidence(genre_index: np.ndarray, proba: np.ndarray) -> float:
        """The mean probability of the predicted genre."""
        return float(proba.max(axis=1).mean()) if len(proba) else float("nan")


@pytest.fixture
def confidence() -> Iterator[None]:
    register_confidence()
    yield
    del METRICS._entries["confidence"]


def test_a_new_metric_shows_for_runs_whose_scores_are_cached(
    store: Path, request: pytest.FixtureRequest
) -> None:
    runs = [fake_run(store, draw_right(0.7, 60, k), seed=k) for k in range(2)]
    before = [run_scores(run) for run in runs]
    assert "confidence" not in before[0]
    request.getfixturevalue("confidence")
    for run, scores in zip(runs, before, strict=True):
        # Of each clip one genre has 0.8, as `fake_run` writes it.
        assert run_scores(run) == scores | {"confidence": pytest.approx(0.8)}
    assert rank_runs(runs)["confidence"].tolist() == pytest.approx([0.8] * 2)
    compared = comparison.compare(runs)
    assert compared.table["confidence"].tolist() == pytest.approx([0.8] * 2)
    table = next(table for table in report.tables(compared) if table.name == "scores")
    position = [column.title for column in table.heads].index("Mean confidence")
    assert [row[position] for row in table.cells] == ["80.0 %"] * 2


def test_a_metric_that_may_choose_the_epoch_is_offered_and_taken(confidence: None) -> None:
    assert list(metrics.watchable())[:2] == ["loss", "accuracy"]
    assert metrics.choices(Training.model_fields["watch"]) == tuple(metrics.watchable())
    assert metrics.choices(Training.model_fields["optimiser"]) == ()
    flag = flags._parameter("watch", "training.watch", Training.model_fields["watch"], False, None)
    assert "confidence" in str(flag.annotation)
    assert metrics.watched("confidence").title == "Mean confidence"
    with pytest.raises(UsageError, match=r"loss, accuracy, macro_f1.*found 'top_3'"):
        metrics.watched("top_3")


def test_a_metric_is_written_in_its_own_way() -> None:
    assert METRICS["accuracy"].facts.written(0.8125) == "81.3 %"
    assert METRICS["log_loss"].facts.written(1.2345) == "1.235"
    assert metrics.noun(METRICS["top_2"]) == "top-2 accuracy"
    assert metrics.help_on(METRICS["macro_f1"]).startswith("F1, the harmonic mean")
    assert metrics.watched("loss").facts.higher_is_better is False
