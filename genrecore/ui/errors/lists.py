"""The lists of the page Errors: clips by the predictions of one run or several."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import streamlit as st

from genrecore import words
from genrecore.data import splits
from genrecore.evaluation import label_reviews, mistakes
from genrecore.evaluation.folds import fold_sets
from genrecore.evaluation.metrics import NO_PREDICTION
from genrecore.evaluation.same_clips import SameClips, same_clips
from genrecore.reporting import plots
from genrecore.reporting.columns import Column
from genrecore.store.files import Unreadable
from genrecore.store.run import Run
from genrecore.ui.parts import readers
from genrecore.ui.parts.cache import cached_by_files, in_runs
from genrecore.ui.parts.choices import choose, choose_many, choose_one, chosen
from genrecore.ui.parts.frame import chart, empty, link_to, pair, plain, section

CLICKED = "_clicked_clip"
"""Where the session stores a clip that is to be played, because it or its cell was clicked."""

_WHO = {
    mistakes.ONLY_A: "Only the first is right",
    mistakes.ONLY_B: "Only the second is right",
    mistakes.BOTH: "Both right",
    mistakes.NEITHER: "Both wrong",
}
_SUGGESTION: dict[str, Column | str] = {
    "suggested": "Suggested",
    "suggested_proba": Column("Probability", "share"),
}
_COLUMNS = ("clip_id", "genre", "predicted", "certainty")


@dataclass(frozen=True)
class ClipList:
    """Clips to browse, with a sentence about them and the command that lists them.

    Attributes:
        columns: What the list shows, before the artist; `special` as for `show_table`.
        with_judgement: Whether labels are judged here.
        probe: How the clips were changed, where they can also be heard changed.
    """

    rows: pd.DataFrame
    description: str
    command: str
    columns: tuple[str, ...] = _COLUMNS
    special: Mapping[str, Column | str] = field(default_factory=dict)
    with_judgement: bool = False
    probe: str = ""


def cell(run: Run, tested: Sequence[Run]) -> ClipList:
    """The clips of a cell of the confusion matrix, clicked or chosen."""
    matrix = readers.confusion(run)
    genres, columns = [str(name) for name in matrix.index], [str(name) for name in matrix.columns]
    counts = matrix.to_numpy(dtype=int)
    wrong = counts.copy()
    wrong[range(len(genres)), range(len(genres))] = 0
    row, column = divmod(int(wrong.argmax()), len(columns))  # the most frequent mistake
    labelled = chosen("labelled") if chosen("labelled") in genres else genres[row]
    predicted = chosen("predicted") if chosen("predicted") in columns else columns[column]
    left, right = pair("cell", left=3, right=2)

    def pick(data: list[Any]) -> None:
        choose("labelled", str(data[0]))
        choose("predicted", str(data[1]))
        choose("clip", "")
        first = mistakes.cell(predictions(run), *map(str, data[:2]))["clip_id"].head(1)
        st.session_state[CLICKED] = next(iter(first), None)

    with left:
        figure = plots.confusion(matrix, "Confusions", (labelled, predicted), targets=True)
        chart(figure, f"cells_{run.run_id}", on_click=pick)
    with right:
        section("Clips of one cell", "Click a cell of the matrix, or choose it here.")
        labelled = choose_one("Labelled", genres, "labelled", default=labelled)
        predicted = choose_one("Predicted", columns, "predicted", default=predicted)
        row, column = genres.index(labelled), columns.index(predicted)
        n, total = int(counts[row, column]), int(counts[row].sum())
        n_back = int(counts[column, row]) if predicted in genres else 0
        if n_back and labelled != predicted:
            clips = words.plural(n_back, f"{predicted} clip")
            st.caption(plain(f"The other way round: {clips} taken for {labelled}."))
    result = f"are taken for {predicted}"
    if labelled == predicted:
        result = "are recognised"
    elif predicted == NO_PREDICTION:
        result = "have no prediction, because their probabilities are not numbers"
    share = f" ({words.percent(n / total)})" if total else ""
    return ClipList(
        mistakes.cell(predictions(run), labelled, predicted),
        f"{n} of {total} {labelled} clips {result}{share}.",
        shlex.join(["genrecore", "errors", run.run_id, "--cell", f"{labelled},{predicted}"]),
    )


def one_run(run: Run, tested: Sequence[Run]) -> ClipList:
    """A run's mistakes in an order of `mistakes.ORDERS`."""
    order = choose_one("Order", mistakes.ORDERS, "order")
    rows = mistakes.sort_clips(predictions(run), order)
    clips = words.plural(len(rows), "clip")
    descriptions = {
        "worst": f"{clips} taken for another genre; first those whose own genre got least.",
        "certain": f"{clips} taken for another genre; first those of which the run was surest.",
        "uncertain": f"All {clips}; first those where the two most probable genres are closest.",
    }
    return ClipList(
        rows,
        descriptions[order],
        f"genrecore errors {run.run_id} --order {order}",
        (*_COLUMNS, "label_proba"),
    )


def two_runs(run: Run, tested: Sequence[Run]) -> ClipList | None:
    """The clips that two runs share, by who is right; None where there is nothing to list."""
    others = {second.run_id: second for second in tested if second.run_id != run.run_id}
    if not others:
        _need_more("Comparing two runs takes a second run that has been tested.")
        return None
    left, right = pair("against")
    partner = _partner(run, list(others.values()))
    titles = readers.titles(list(others.values()))
    with left:
        second = others[choose_one("Against", titles, "against", default=partner, pinned=True)]
    joined = mistakes.contingency(*_tables(run, second))
    if joined.empty:
        empty("These runs share no test clips.", "Choose a run that was tested on the same clips.")
        return None
    counts = joined["who"].value_counts()
    with right:
        titles = {name: f"{title} ({counts.get(name, 0)})" for name, title in _WHO.items()}
        who = choose_one("Who is right", titles, "who")
    rows = joined[joined["who"] == who].reset_index(drop=True)
    return ClipList(
        rows,
        f"{_WHO[who]}: {len(rows)} of the {len(joined)} clips on which both were tested.",
        f"genrecore errors {run.run_id} --against {second.run_id}",
        (*_COLUMNS, "predicted_b", "certainty_b"),
        {
            "predicted": "First run",
            "predicted_b": "Second run",
            "certainty_b": Column("Its certainty", "share"),
        },
    )


def runs_differ(run: Run, tested: Sequence[Run]) -> ClipList | None:
    """The clips on which several runs differ most; None where there is nothing to list."""
    others = _choose_others(run, tested, at_least=1)
    if others is None:
        return None
    rows = mistakes.disagreement(_tables(run, *others))
    return ClipList(
        rows,
        f"{words.plural(len(rows), 'clip')} shared by {len(others) + 1} runs; first those on which "
        "their probabilities differ most.",
        f"genrecore errors {run.run_id}{_flags(others)}",
        (*_COLUMNS, "n_verdicts", "spread"),
        {"n_verdicts": "Different predictions", "spread": Column("Disagreement", "share")},
    )


def judgements(dataset: str) -> pd.DataFrame:
    """The judgements of listeners (`label_reviews.read`); none, and why, where they are damaged."""
    try:
        return label_reviews.read(dataset=dataset)
    except Unreadable as error:
        st.warning(plain(f"{error} Runs offers to repair it."), icon=":material/warning:")
        return pd.DataFrame(columns=list(label_reviews.COLUMNS))


def labels(run: Run, tested: Sequence[Run]) -> ClipList:
    """Labels that may be wrong, with the judgements of listeners."""
    others = _choose_others(run, tested, 0, _other_folds(run, tested)) or []
    rows = mistakes.suspects(_tables(run, *others))
    reviews = label_reviews.of_clips(judgements(run.config.dataset.name), rows)
    rows = rows.assign(judgement=rows["clip_id"].map(reviews))
    n_runs = words.plural(len(others) + 1, "run")
    return ClipList(
        rows,
        f"{int(rows['suspect'].sum())} of {len(rows)} labels are doubtful according to {n_runs}, "
        "each asked about clips that it did not learn from; first those with the widest margin. "
        "Runs can be wrong as well: listen.",
        f"genrecore errors {run.run_id} --labels{_flags(others)}",
        ("clip_id", "genre", *_SUGGESTION, "label_proba", "n_against", "n_runs", "judgement"),
        _SUGGESTION
        | {"n_against": "Runs against it", "n_runs": "Runs asked", "judgement": "Your judgement"},
        with_judgement=True,
    )


def _flags(others: Sequence[Run]) -> str:
    return "".join(f" --against {run.run_id}" for run in others)


def _other_folds(run: Run, tested: Sequence[Run]) -> list[str]:
    """Ids of the runs of the other folds: together they predict every clip of the dataset."""
    split = run.config.split
    if splits.n_folds(split.choose_from(splits.SPLITS)) == 1:
        return []
    same = [member for member in tested if member.facts.dataset == run.facts.dataset]
    for pool in fold_sets(same):
        ids = [member.run_id for member in pool.runs.values()]
        if run.run_id in ids:
            return [run_id for run_id in ids if run_id != run.run_id]
    return []


def _choose_others(
    run: Run, tested: Sequence[Run], at_least: int, default: Sequence[str] = ()
) -> list[Run] | None:
    """Other runs on the same dataset, by default the newest three; None where they are too few."""
    others = {
        member.run_id: member
        for member in tested
        if member.run_id != run.run_id and member.facts.dataset == run.facts.dataset
    }
    if len(others) < at_least:
        _need_more("This takes a second tested run on the same dataset.")
        return None
    titles = readers.titles(list(others.values()))
    default = list(default) or list(others)[:3]
    picked = choose_many("With these runs", titles, "with", default=default, pinned=True)
    if len(picked) < at_least:
        st.info("Pick at least one other run.", icon=":material/group_add:")
        return None
    return [others[run_id] for run_id in picked]


def _partner(run: Run, others: Sequence[Run]) -> str:
    """The newest run on the same dataset that shares test clips; empty where there is none."""
    for other in others:
        if other.facts.dataset == run.facts.dataset:
            same = clips_in_common((run, other))
            own, its = (set(same.named(predictions(r), r)["clip_id"]) for r in (run, other))
            if own & its:
                return other.run_id
    return ""


def _tables(*runs: Run) -> list[pd.DataFrame]:
    """`mistakes.clip_predictions` of runs, with one name for each clip; says what that rests on."""
    same = clips_in_common(runs)
    for note in same.notes:
        st.caption(plain(note))
    return [same.named(predictions(run), run) for run in runs]


@cached_by_files(in_runs("clips.parquet", "predictions.parquet"), shared=True)
def clips_in_common(runs: tuple[Run, ...]) -> SameClips:
    """`same_clips` of runs."""
    return same_clips(runs)


def _need_more(sentence: str) -> None:
    empty("One run is not enough here.", sentence)
    link_to("train", "Train another model", ":material/model_training:")


@cached_by_files(in_runs("predictions.parquet"), shared=True)
def predictions(run: Run) -> pd.DataFrame:
    """`mistakes.clip_predictions` of a run."""
    return mistakes.clip_predictions(run)
