"""Which of the tested runs are proposed where nobody has chosen any."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from genrecore.errors import GenrecoreError
from genrecore.evaluation.listing import RunRow, read_row
from genrecore.store.run import Run
from genrecore.store.runs import all_runs, each_readable

ENOUGH_CLIPS = 20
"""An accuracy on fewer test clips says too little for a run to be proposed before others."""


def by_accuracy(runs: Iterable[Run]) -> list[Run]:
    """Those that were tested, the most accurate first."""
    return _ordered(runs, lambda row: ())


def by_preference(runs: Iterable[Run]) -> list[Run]:
    """Those that were tested, in the order in which runs are proposed: runs without a badge come
    first, then those with enough test clips, then the more accurate."""
    return _ordered(runs, lambda row: (row.badge != "", row.n_clips < ENOUGH_CLIPS))


def _ordered(runs: Iterable[Run], first_by: Callable[[RunRow], tuple[bool, ...]]) -> list[Run]:
    tested = each_readable((run for run in runs if run.is_tested), read_row)

    def key(pair: tuple[Run, RunRow]) -> tuple[Any, ...]:
        row = pair[1]
        return *first_by(row), math.isnan(row.accuracy), -row.accuracy

    return [run for run, _ in sorted(tested, key=key)]


def best_run(runs: Iterable[Run] | None = None) -> Run:
    """The run to ask about a recording: one with weights that was trained on real music before one
    trained on generated music, and else by `by_preference`.

    Args:
        runs: Those to choose from; by default all of the store.

    Raises:
        GenrecoreError: None of them was trained on recordings and tested.
    """
    usable = [run for run in (all_runs() if runs is None else runs) if run.has_weights]
    answers: dict[str, bool | None] = {}  # by dataset
    second = None
    for run in by_preference(usable):
        key = f"{run.facts.dataset} {run.facts.dataset_options}"
        if key not in answers:
            answers[key] = _is_of_real_music(run)
        if answers[key]:
            return run
        if answers[key] is False:
            second = second or run
    if second is None:
        raise GenrecoreError("No run on recordings has been trained and tested yet.")
    return second


def _is_of_real_music(run: Run) -> bool | None:
    """Whether its recordings were not generated; None where its dataset has none."""
    from genrecore.data.datasets import DATASETS  # 0.4 s; the first page of all needs none

    try:
        dataset = run.config.dataset.choose_from(DATASETS)
    except GenrecoreError:  # written by another version
        return None
    medium = dataset.facts.medium
    if callable(medium):
        medium = medium(dataset.options)
    return not dataset.facts.made_up if medium == "audio" else None
