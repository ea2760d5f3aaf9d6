"""Test predictions and scores of single runs, and the leaderboard.

Scores are computed from stored predictions when they are read; `scores.json` in a run folder is a
cache keyed by the predictions file and the names of the metrics, so that a new metric applies to
old runs.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from genrecore.data import splits
from genrecore.data.clips import same_names
from genrecore.errors import GenrecoreError
from genrecore.evaluation import metrics
from genrecore.evaluation.metrics import METRICS
from genrecore.store.run import Run
from genrecore.store.runs import each_readable
from genrecore.store.scores import keep_scores, read_scores


def read_test_predictions(run: Run) -> pd.DataFrame:
    """The test predictions of a run, as `with_artists` says.

    Raises:
        GenrecoreError: It has none.
    """
    table = run.predictions
    if table is None:
        raise _untested(run)
    return with_artists(table[table["split"] == "test"].reset_index(drop=True), run)


def with_artists(predictions: pd.DataFrame, run: Run) -> pd.DataFrame:
    """Predictions of a run's clips with the `artist` of each, missing where it is unknown; without
    that column where no artist is known."""
    clips = run.clips
    if clips is None or "artist" not in clips or clips["artist"].isna().all():
        return predictions
    artists = same_names(clips.set_index("clip_id")["artist"])
    return predictions.assign(artist=artists.reindex(predictions["clip_id"]).to_numpy(dtype=object))


def _untested(run: Run) -> GenrecoreError:
    return GenrecoreError(f"The run {run.run_id} has no test predictions (it is {run.state}).")


def run_scores(run: Run) -> dict[str, Any]:
    """Every metric on a run's test predictions, with the interval of the accuracy.

    Raises:
        GenrecoreError: The run has no test predictions.
    """
    if not run.is_tested:
        raise _untested(run)
    names = sorted(METRICS)
    kept = read_scores(run, names)
    if kept is not None:
        return kept
    computed = metrics.scores(read_test_predictions(run))
    keep_scores(run, names, computed)
    return computed


def rank_runs(runs: list[Run]) -> pd.DataFrame:
    """The leaderboard: one row a readable tested run, the most accurate first, with
    `score_columns`."""
    tested = [run for run in runs if run.is_tested]
    rows = [row for _, row in each_readable(tested, score_row)]
    table = pd.DataFrame(rows, columns=score_columns())
    return table.sort_values("accuracy", ascending=False, kind="stable", ignore_index=True)


def score_columns() -> list[str]:
    """The columns of a leaderboard, with all metrics that are registered now."""
    metric_names = [name for name in METRICS if name != "accuracy"]
    return [
        *("run_id", "title", "model", "dataset", "split", "split_title", "n_clips"),
        *("accuracy", "accuracy_low", "accuracy_high", *metric_names),
        *("best_epoch", "n_epochs", "train_s", "n_parameters", "created", "marks", "badge"),
    ]


def score_row(run: Run) -> dict[str, Any]:
    """The scores and facts of a tested run, by the names of `score_columns`."""
    if run.summary is None:
        return _score_row(run)
    return run.summary.derived(("score row", *METRICS), lambda: _score_row(run))


def _score_row(run: Run) -> dict[str, Any]:
    course, facts = run.course, run.facts
    return run_scores(run) | {
        "run_id": run.run_id,
        "title": run.title,
        "model": facts.model,
        "dataset": facts.dataset,
        "split": f"{facts.split}, fold {facts.fold}",
        "split_title": splits.title(facts.split_part, facts.fold),
        "best_epoch": course["best_epoch"],
        "n_epochs": course["epoch"],
        "train_s": course["worked_s"],
        "n_parameters": course["n_parameters"],
        "created": run.created,
        "marks": ", ".join(run.warnings),
        "badge": run.badge,
    }
