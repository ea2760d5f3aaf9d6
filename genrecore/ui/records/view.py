"""The page Records: what is published of a dataset by split, and whether ours can be told apart."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from genrecore.data.datasets import DATASETS
from genrecore.evaluation import records
from genrecore.evaluation.published import datasets_with_records
from genrecore.evaluation.records import (
    BELOW,
    NOT_COMPARABLE,
    SUSPICIOUS,
    OwnResult,
    RecordTable,
    SystemScore,
)
from genrecore.evaluation.verdicts import OPEN
from genrecore.reporting.columns import OWN_RESULTS, RECORDS
from genrecore.reporting.plots.records import records as records_chart
from genrecore.store.run import Run
from genrecore.ui.parts import readers
from genrecore.ui.parts.cache import cached_by_files, in_runs
from genrecore.ui.parts.choices import choose_one
from genrecore.ui.parts.frame import chart, command, empty, link_to, plain, section
from genrecore.ui.parts.tables import show_table, shown_marks
from genrecore.words import plural

_MOST_SENTENCES = 5
_ICONS = {
    OPEN: ":material/question_mark:",
    BELOW: ":material/trending_down:",
    NOT_COMPARABLE: ":material/block:",
}


def choose_dataset() -> str:
    """One of the datasets of which results are published."""
    titles = {name: DATASETS[name].title for name in datasets_with_records()}
    return choose_one("Dataset", titles, "dataset", radio=True)


@cached_by_files(in_runs("predictions.parquet", "clips.parquet"), max_entries=200, shared=True)
def _measure(runs: Sequence[Run]) -> SystemScore:
    return records.measure(runs)


def show(runs: Sequence[Run], dataset: str) -> None:
    """Every split of the dataset, random ones last, and the same as a command."""
    for table in records.record_tables(runs, dataset, _measure):
        _show_split(table)
    st.caption(records.METHOD)
    command(["genrecore", "records", "--dataset", dataset])


def _show_split(table: RecordTable) -> None:
    section(table.title, table.says)
    if table.own:
        for own in table.own[:_MOST_SENTENCES]:
            _show_verdict(own)
    else:
        _offer_training(table)
    styles = readers.styles()
    own_styles = {own.key: styles[min(run.run_id for run in own.runs)] for own in table.own}
    chart(records_chart(table, own_styles), f"records_{table.split}")
    if table.own:
        st.caption(
            "Yours are bold, and hollow where a warning belongs to them or they are not "
            "comparable. The dotted line is the best published result."
        )
        rows = table.own_rows
        show_table(
            rows, shown_marks(list(OWN_RESULTS), rows), OWN_RESULTS, key=f"own_{table.split}"
        )
    if table.n_more:
        st.caption(f"{plural(table.n_more, 'further system')} of yours on this split: see Compare.")
    columns = [name for name in RECORDS if name != "split" or table.is_random]
    show_table(table.published_rows, columns, RECORDS, tallest=2000, key=f"of_{table.split}")


def _show_verdict(own: OwnResult) -> None:
    """The sentence on a system of ours: what is suspicious stands out."""
    if own.verdict == SUSPICIOUS:
        st.error(plain(own.sentence), icon=":material/warning:")
    else:
        st.info(plain(own.sentence), icon=_ICONS[own.verdict])


def _offer_training(table: RecordTable) -> None:
    """Says that nothing of ours stands here, and how to get something."""
    name = DATASETS[table.dataset].title
    if table.is_random:
        st.caption("None of your runs was tested on a random split of this dataset.")
        return
    empty(
        "None of your runs was tested on this split.",
        f"Train a model on {plain(name)} with the split “{table.title}”: once it has been tested, "
        "it stands among these, with its interval.",
    )
    query = {"dataset": table.dataset, "split": table.split}
    link_to("train", "Train on this split", ":material/model_training:", query)
