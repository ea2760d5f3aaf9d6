"""The lists of the page Errors: clips by what one run or several make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from genrecore.data import splits
from genrecore.evaluation import folds as pooling
from genrecore.evaluation import label_reviews as judgements
from genrecore.evaluation import mistakes
from genrecore.evaluation.metrics import NO_VERDICT
from genrecore.reporting import plots
from genrecore.reporting.plots.chart import percent
from genrecore.store.run import Run
from genrecore.ui.parts import readers
from genrecore.ui.parts.choices import choose, choose_many, choose_one, chosen
from genrecore.ui.parts.frame import chart, empty, link_to, pair, plain, section, share_column

_WHO = {
    mistakes.ONLY_A: "Only the first is right",
    mistakes.ONLY_B: "Only the second is right",
    mistakes.BOTH: "Both right",
    mistakes.NEITHER: "Both wrong",
}
COLUMNS: dict[str, Any] = {
    "clip_id": "Clip",
    "genre": "Labelled",
    "predicted": "Taken for",
    "certainty": share_column("Certainty"),
    "artist": "Artist",
}
"""What a list of clips shows, with the titles of its columns."""


@dataclass(frozen=True)
class Listed:
    """Clips to browse.

    Attributes:
        rows: One a clip.
        columns: What the list shows of it.
        words: What the list is, in a sentence.
        command: The same as a command.
        shares: Columns that are shares.
        judged: Whether labels are judged here.
        probe: How the clips were changed, where they can be heard changed as well.
    """

    rows: pd.DataFrame
    columns: dict[str, Any]
    words: str
    command: str
    shares: tuple[str, ...] = ("certainty",)
    judged: bool = False
    probe: str = ""


def cell(run: Run) -> Listed:
    """The clips of a cell of the confusion matrix, clicked or chosen."""
    matrix = readers.confusion(run)
    genres, columns = [str(name) for name in matrix.index], [str(name) for name in matrix.columns]
    labelled, predicted = _picked_cell(matrix)
    left, right = pair("cell", left=3, right=2)

    def picked(data: list[Any]) -> None:
        choose("labelled", str(data[0]))
        choose("predicted", str(data[1]))
        choose("clip", "")

    with left:
        drawn = plots.confusion(matrix, "Confusions", (labelled, predicted), targets=True)
        chart(drawn, f"cells_{run.run_id}", on_click=picked)
    with right:
        section("A cell", "Click one in the matrix, or choose it here.")
        labelled = choose_one("Labelled", genres, "labelled", default=labelled)
        predicted = choose_one("Taken for", columns, "predicted", default=predicted)
        counts = matrix.to_numpy(dtype=int)
        row, column = genres.index(labelled), columns.index(predicted)
        n, of = int(counts[row, column]), int(counts[row].sum())
        back = int(counts[column, row]) if predicted in genres else 0
        share = f" ({percent(n / of)})" if of else ""
        what = "are recognised" if labelled == predicted else f"are taken for {predicted}"
        if predicted == NO_VERDICT:
            what = "have no verdict, for their probabilities are no numbers"
        words = f"{n} of {of} {labelled} clips {what}{share}."
        if back and labelled != predicted:
            st.caption(plain(f"The other way round it happens to {back}."))
    line = f"genrecore errors {run.run_id} --cell {labelled},{predicted}"
    return Listed(mistakes.cell(verdicts(run), labelled, predicted), COLUMNS, words, line)


def _picked_cell(matrix: pd.DataFrame) -> tuple[str, str]:
    """What the address says, or the most frequent mistake."""
    genres, columns = [str(name) for name in matrix.index], [str(name) for name in matrix.columns]
    labelled, predicted = chosen("labelled"), chosen("predicted")
    wrong = matrix.to_numpy().copy()
    wrong[range(len(genres)), range(len(genres))] = 0
    row, column = divmod(int(wrong.argmax()), len(columns))
    return (
        labelled if labelled in genres else genres[row],
        predicted if predicted in columns else columns[column],
    )


def one_run(run: Run) -> Listed:
    """A run's mistakes in an order of `mistakes.ORDERS`."""
    order = choose_one("Order", list(mistakes.ORDERS), "order", mistakes.ORDERS.__getitem__)
    rows = mistakes.ordered(verdicts(run), order)
    n = len(rows)
    words = {
        "worst": f"{n} clips are taken for another genre; first those whose own genre got least.",
        "certain": f"{n} clips are taken for another genre; first those it was surest of.",
        "uncertain": f"All {n} clips; first those between whose genres it could not decide.",
    }[order]
    columns = COLUMNS | {"label_proba": share_column("For the label")}
    line = f"genrecore errors {run.run_id} --order {order}"
    return Listed(rows, columns, words, line, ("certainty", "label_proba"))


def two_runs(run: Run, found: Sequence[Run]) -> Listed | None:
    """The clips that two runs share, by who is right; None where there is nothing to list."""
    others = [other for other in found if other.run_id != run.run_id]
    if not others:
        _takes_more("Setting two runs beside one another takes a second run that has been tested.")
        return None
    titles = readers.titles(found)
    left, right = pair("against")
    with left:
        ids = [other.run_id for other in others]
        picked = choose_one("Against", ids, "against", titles.__getitem__)
    other = next(one for one in others if one.run_id == picked)
    joined = mistakes.contingency(verdicts(run), verdicts(other))
    if joined.empty:
        empty("These runs share no test clips.", "Choose a run that was tested on the same clips.")
        return None
    counts = joined["who"].value_counts()
    with right:
        who = choose_one(
            "Who is right",
            list(_WHO),
            "who",
            lambda name: f"{_WHO[name]} ({int(counts.get(name, 0))})",
        )
    columns = COLUMNS | {
        "predicted": "Taken for by the first",
        "certainty": share_column("Its certainty"),
        "predicted_b": "By the second",
        "certainty_b": share_column("Certainty of that"),
    }
    rows = joined[joined["who"] == who].reset_index(drop=True)
    line = f"genrecore errors {run.run_id} --against {other.run_id}"
    words = f"{_WHO[who]}: {len(rows)} of the {len(joined)} clips that both were tested on."
    return Listed(rows, columns, words, line, ("certainty", "certainty_b"))


def runs_differ(run: Run, found: Sequence[Run]) -> Listed | None:
    """The clips on which several runs differ most; None where there is nothing to list."""
    several = _several(run, found, least=1)
    if several is None:
        return None
    rows = mistakes.disagreement([verdicts(run), *map(verdicts, several)])
    columns = COLUMNS | {
        "n_verdicts": "Different verdicts",
        "spread": share_column("Disagreement"),
    }
    line = f"genrecore errors {run.run_id}{_named(several)}"
    words = (
        f"{len(rows)} shared clips of {len(several) + 1} runs; first those on which their "
        "probabilities differ most."
    )
    return Listed(rows, columns, words, line, ("certainty", "spread"))


def labels(run: Run, found: Sequence[Run]) -> Listed:
    """Labels that may be wrong, with what listeners have said of them."""
    several = _several(run, found, least=0, first=_folds(run, found)) or []
    rows = mistakes.suspects([verdicts(run), *map(verdicts, several)])
    said = judgements.read(dataset=run.config.dataset.name).set_index("clip_id")["judgement"]
    rows = rows.assign(judgement=rows["clip_id"].map(said))
    columns = {
        "clip_id": "Clip",
        "genre": "Labelled",
        "suggested": "Perhaps",
        "suggested_proba": share_column("Probability"),
        "label_proba": share_column("For the label"),
        "n_against": "Runs against it",
        "n_runs": "Runs that judged it",
        "judgement": "Your judgement",
        "artist": "Artist",
    }
    line = f"genrecore errors {run.run_id} --labels{_named(several)}"
    words = (
        f"{int(rows['suspect'].sum())} of {len(rows)} labels are doubtful to {len(several) + 1} "
        f"run{'s' if several else ''}, each asked about clips that it did not learn from; first "
        "those with the widest margin. Runs can be wrong as well: listen."
    )
    shares = ("suggested_proba", "label_proba")
    return Listed(rows, columns, words, line, shares, judged=True)


def _named(several: Sequence[Run]) -> str:
    return "".join(f" --against {other.run_id}" for other in several)


def _folds(run: Run, found: Sequence[Run]) -> list[str]:
    """The runs of the other folds: together they have judged every clip of the dataset."""
    if splits.n_folds(run.config.split.name, run.config.split.options) == 1:
        return []
    alike = [other for other in found if other.config.dataset.name == run.config.dataset.name]
    for one in pooling.pools(alike):
        ids = [member.run_id for member in one.runs.values()]
        if run.run_id in ids:
            return [name for name in ids if name != run.run_id]
    return []


def _several(
    run: Run, found: Sequence[Run], least: int, first: Sequence[str] = ()
) -> list[Run] | None:
    """The runs that a visitor sets beside this one; None where there are too few.

    Args:
        run: The run.
        found: Runs to choose from; those on the same dataset are offered.
        least: How many it takes.
        first: Ids of those taken without a choice; the newest three where there are none.
    """
    others = {
        other.run_id: other
        for other in found
        if other.run_id != run.run_id and other.config.dataset.name == run.config.dataset.name
    }
    if len(others) < least:
        _takes_more("This takes a second tested run on the same dataset.")
        return None
    titles, ids = readers.titles(found), list(others)
    picked = choose_many(
        "With these runs", ids, "with", titles.__getitem__, default=list(first) or ids[:3]
    )
    if len(picked) < least:
        st.info("Pick at least one other run.", icon=":material/group_add:")
        return None
    return [others[name] for name in picked]


def _takes_more(words: str) -> None:
    empty("One run is not enough here.", words)
    link_to("train", "Train another model", ":material/model_training:")


def verdicts(run: Run) -> pd.DataFrame:
    """`mistakes.verdicts` of a run, shared between visitors: never changed."""
    return _verdicts(str(run.folder), readers.changed(run, "predictions.parquet"))


@st.cache_resource(max_entries=64, show_spinner=False)
def _verdicts(folder: str, changed: int) -> pd.DataFrame:
    return mistakes.verdicts(Run(Path(folder)))
