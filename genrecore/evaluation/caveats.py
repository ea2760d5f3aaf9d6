"""What a reader of a comparison must know first: clips, datasets, splits that differ; leaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from genrecore.evaluation import metrics
from genrecore.evaluation.pairwise import Side


def of(sides: Sequence[Side], shared: frozenset[str], on_shared: bool) -> list[str]:
    """Sentences, the gravest first.

    Args:
        sides: What is compared.
        shared: Clips that all of them were tested on.
        on_shared: Whether the comparison is of those alone.
    """
    notes = []
    datasets = sorted({side.dataset for side in sides})
    if len(datasets) > 1:
        notes.append(f"These runs come from different datasets: {', '.join(datasets)}.")
    n_all = len(frozenset().union(*(side.clips for side in sides)))
    if n_all > len(shared):
        notes.append(_on_what(len(shared), n_all, on_shared))
    own = {side.title: len(side.clips - shared) for side in sides}
    if any(own.values()):
        listed = ", ".join(f"{title} {n}" for title, n in own.items() if n)
        notes.append(f"Clips that not all the others were tested on: {listed}.")
    notes += [_leaks(side) for side in sides if any(run.badge for run in side.runs)]
    splits = sorted({side.runs[0].config.split.name for side in sides})
    if len(splits) > 1:
        notes.append(f"These runs were split differently: {', '.join(splits)}.")
    elif len({_trained_on(side) for side in sides}) > 1:
        notes.append(
            "These runs learned from different clips: options, seed or fold of their splits differ."
        )
    for side in sides:
        n = sum(_n_without_verdict(table) for table in side.tests)
        if n:
            notes.append(
                f"{side.title} gave {n} clip{'s' if n > 1 else ''} probabilities that are no "
                "numbers; they count as not recognised."
            )
    return notes + _notes_on_genres(sides)


def _leaks(side: Side) -> str:
    badges = [run.badge for run in side.runs if run.badge]
    if len(side.runs) == 1:
        return f"{side.title}: {badges[0]}; its accuracy is flattered."
    return (
        f"{side.title}: {len(badges)} of its {len(side.runs)} runs are marked (the first: "
        f"{badges[0]}); its accuracy is flattered."
    )


def _on_what(n_shared: int, n_all: int, on_shared: bool) -> str:
    if not n_shared:
        return f"No clip was tested by all of them (there are {n_all} test clips altogether)."
    if on_shared:
        return (
            f"Of {n_all} test clips {n_shared} were tested by all; everything here is of these "
            f"{n_shared} alone, as asked."
        )
    return (
        f"Not all were tested on the same clips: {n_shared} of {n_all} are shared by all. Scores "
        "are each one's own; pairs tested on different clips are not compared unless you ask for "
        "the shared clips alone."
    )


def _trained_on(side: Side) -> tuple[Any, ...]:
    """What decides on which clips the runs of a side learned."""
    parts = {
        (str(sorted(run.config.split.options.items())), run.config.split_seed, run.config.fold)
        for run in side.runs
    }
    return tuple(sorted(parts))


def _n_without_verdict(table: pd.DataFrame) -> int:
    columns = [f"p_{genre}" for genre in metrics.genres_in(table)]
    return int((metrics.verdicts(table[columns].to_numpy(dtype=float)) < 0).sum())


def _notes_on_genres(sides: Sequence[Side]) -> list[str]:
    notes = []
    known = {side.key: frozenset(metrics.genres_in(side.tests[0])) for side in sides if side.tests}
    if len(set(known.values())) > 1:
        every = frozenset.intersection(*known.values())
        more = sorted(frozenset().union(*known.values()) - every)
        notes.append(f"Not all of these runs know these genres: {', '.join(more)}.")
    counts: dict[str, int] = {}
    for side in sides:
        for table in side.tests:
            for genre, n in table["genre"].value_counts().items():
                counts[str(genre)] = max(counts.get(str(genre), 0), int(n))
    absent = sorted(frozenset().union(*known.values()) - set(counts)) if known else []
    alone = sorted(genre for genre, n in counts.items() if n == 1)
    if absent:
        notes.append(
            f"No test clip is labelled {' or '.join(absent)}: nothing is known of its recall."
        )
    if alone:
        notes.append(
            f"One test clip is all there is of {', '.join(alone)}: its recall says little."
        )
    return notes
