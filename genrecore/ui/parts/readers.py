"""What several pages read of the runs in the store, kept until the files change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache

import pandas as pd

from genrecore.errors import GenrecoreError
from genrecore.evaluation import listing, metrics
from genrecore.evaluation.comparison import distinct
from genrecore.evaluation.listing import Listing, run_ids, unreadable
from genrecore.evaluation.pooling import accuracy_by_pooling
from genrecore.evaluation.preference import best_run, by_accuracy, by_preference
from genrecore.evaluation.same_clips import collection_titles, place
from genrecore.evaluation.scores import rank_runs, read_test_predictions
from genrecore.reporting import plots
from genrecore.reporting.plots import RunStyle
from genrecore.store.run import Run, store_dir
from genrecore.store.runs import fault
from genrecore.ui.parts.cache import cached_by_files, in_runs


def look() -> Listing:
    """The runs of the store, as quickly as `Summaries.look` has them."""
    return listing.look(quick=True)


def all_runs() -> list[Run]:
    """Every readable run of the store, the newest first."""
    return look().runs


def find(run_id: str) -> Run | None:
    """The run of exactly this id, or None."""
    folder = store_dir() / run_id
    if not run_id or run_id.startswith(".") or folder.name != run_id:  # an address is no path
        return None
    run = Run(folder)
    return run if fault(run.folder) is None else None


def why_not(run_id: str) -> str:
    """Why `find` finds no run, as a sentence."""
    error = next((error for error in unreadable() if error.name == run_id), None)
    return str(error) if error else f"There is no run {run_id}."


def tested(runs: Sequence[Run]) -> list[Run]:
    """The runs whose test predictions are written."""
    return [run for run in runs if run.is_tested]


def usable(runs: Sequence[Run]) -> list[Run]:
    """The runs with weights to classify with."""
    return [run for run in runs if run.has_weights]


def titles(runs: Sequence[Run]) -> dict[str, str]:
    """The title of each run by its id; no two are the same, since a person picks by them."""
    names = distinct([run.title for run in runs])
    return {run.run_id: name for run, name in zip(runs, names, strict=True)}


def styles() -> dict[str, RunStyle]:
    """The style of every run in the store."""
    return _styles(tuple(run_ids()))


@lru_cache(maxsize=4)
def _styles(run_ids: tuple[str, ...]) -> dict[str, RunStyle]:
    return plots.run_styles(run_ids)


@cached_by_files(in_runs("history.jsonl"))
def history(run: Run) -> pd.DataFrame:
    """The run's epochs so far."""
    return run.history


def leaderboard(runs: Sequence[Run]) -> pd.DataFrame:
    """The scores of the runs that have been tested."""
    return rank_runs(tested(runs))


@cached_by_files(in_runs("segments.parquet"), max_entries=500)
def pooled_accuracies(run: Run) -> dict[str, float]:
    """Test accuracy by each way of pooling the segments of a clip."""
    return accuracy_by_pooling(run)


@cached_by_files(in_runs("predictions.parquet"))
def per_genre(run: Run) -> pd.DataFrame:
    """Recall and F1 of each genre on a tested run's test clips."""
    table = read_test_predictions(run)
    scores = metrics.per_genre(table, metrics.genres_in(table))
    return scores.assign(run_id=run.run_id, title=run.title)


@cached_by_files(in_runs("predictions.parquet"))
def confusion(run: Run) -> pd.DataFrame:
    """Labelled × predicted counts of a tested run's test clips."""
    table = read_test_predictions(run)
    return metrics.confusion(table, metrics.genres_in(table))


def proposed(runs: Sequence[Run]) -> list[str]:
    """The ids of tested runs in the order in which pages propose them."""
    return [run.run_id for run in by_preference(runs)]


def to_ask(usable: Sequence[Run]) -> Run:
    """The run that classifies a recording where nobody chose one: the best that was tested."""
    with suppress(GenrecoreError):
        return best_run(usable)
    return usable[0]


@cached_by_files(in_runs("clips.parquet"), shared=True)
def _collection_titles(runs: tuple[Run, ...]) -> dict[tuple[str, str], str]:
    """`collection_titles` of a run of each place."""
    return collection_titles(runs)


def by_dataset(
    runs: Sequence[Run], order: Callable[[Sequence[Run]], list[Run]] = by_accuracy
) -> dict[str, list[Run]]:
    """The tested runs of each dataset in this order, first the dataset with most of them:
    accuracies on different music do not compare. Folders that hold other music are several."""
    groups: dict[str, list[Run]] = {}
    ranked = [(place(run), run) for run in order(runs)]
    titles = _collection_titles(tuple(dict(reversed(ranked)).values()))
    for here, run in ranked:
        groups.setdefault(titles[here], []).append(run)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))
