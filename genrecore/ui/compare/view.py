"""The page Compare: the verdicts on pairs, the scores, and the list of all views."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from genrecore import words
from genrecore.evaluation import systems, verdicts
from genrecore.evaluation.clustered import METHOD
from genrecore.evaluation.comparison import Comparison
from genrecore.evaluation.metrics import METRICS
from genrecore.jobs import actions as jobs
from genrecore.reporting import html, plots
from genrecore.reporting.columns import Column
from genrecore.reporting.plots.matrices import number
from genrecore.ui.compare import choice, details, sizes
from genrecore.ui.compare.choice import RUNS, SYSTEMS, Selection, choose_band, choose_two
from genrecore.ui.parts import readers
from genrecore.ui.parts.choices import choose_one
from genrecore.ui.parts.frame import (
    chart,
    link_to,
    pair,
    plain,
    section,
    sentences,
    work_button,
)
from genrecore.ui.parts.tables import pair_numbers, show_table, shown_marks

_FEW_PAIRS = 3
_FEW_NOTES = 3
_ICONS = {
    verdicts.BETTER: ":material/trending_up:",
    verdicts.EQUIVALENT: ":material/drag_handle:",
    verdicts.OPEN: ":material/question_mark:",
    verdicts.NOT_COMPARED: ":material/block:",
}


def show(compared: Comparison, selection: Selection) -> None:
    """The view of the URL."""
    titles = {name: title for name, (title, _) in VIEWS.items()}
    view = choose_one("View", titles, "view", radio=True, hide_label=True)
    VIEWS[view][1](compared, selection)


def show_headline(compared: Comparison) -> None:
    """The outcome in a sentence."""
    st.header(plain(compared.headline), anchor=False)


def show_warnings(compared: Comparison) -> None:
    """Warnings about the runs: leaks, different clips, predictions that are not numbers."""
    notes = [plain(note) for note in compared.notes]
    if len(notes) > _FEW_NOTES:
        notes = ["\n".join(f"- {note}" for note in notes)]
    for note in notes:
        st.warning(note, icon=":material/warning:")


def show_verdicts(compared: Comparison, selection: Selection) -> None:
    """The verdict on each pair in sentences; then all pairs at a glance, and two of them."""
    section(
        "Is the difference real?",
        f"{METHOD} p-values are adjusted for the number of pairs (Holm); differences below "
        f"{words.points(selection.band)} count as none.",
    )
    pairs = compared.pairs
    if len(pairs) <= _FEW_PAIRS:
        for sentence in pairs["sentence"]:
            st.info(plain(sentence), icon=":material/balance:")
    else:
        _many_pairs(compared)
    if selection.unit == SYSTEMS:
        _more_seeds(selection)
    pair_numbers(pairs)
    choose_band()
    if len(compared.titles) > 2 and pairs["difference"].notna().any():
        chart(plots.pair_matrix(pairs, list(compared.titles.values())), "pair_matrix")
        st.caption(
            "▲ the row is better, ▼ the column is, = equivalent, ? cannot be told apart; the "
            "number is row minus column in points."
        )
    section("Who is right where", "Clips that both, one or neither of two recognise.")
    two = choose_two(compared)
    if two is None:
        return
    row = _pair(compared, *two)
    if row["verdict"] == verdicts.NOT_COMPARED:
        st.caption(plain(row["sentence"]))
        return
    left, right = pair("agreement")
    with left:
        chart(plots.agreement(row), "agreement")
    with right:
        st.markdown(f"**A** {plain(row['title_a'])}  \n**B** {plain(row['title_b'])}")
        same, different = row["both"] + row["neither"], row["only_a"] + row["only_b"]
        sentence = (
            row["sentence"]
            if len(compared.titles) > 2
            else f"They agree on {number(same)} of {row['n_clips']} clips, and differ on "
            f"{number(different)}."
        )
        st.markdown(plain(sentence))
        if selection.unit == RUNS:
            st.caption("Hear the clips on which they differ:")
            for who in "AB":
                query = {"run": two[0], "view": "against", "against": two[1]}
                query["who"] = f"only {who} right"
                link_to("errors", f"Only {who} is right", ":material/hearing:", query)


def _more_seeds(selection: Selection) -> None:
    """For systems with one seed: what seeds do elsewhere, and a button that trains another."""
    members = systems.group_runs(selection.runs)
    single = {system.signature: system for system in members if system.n_seeds == 1}
    if not single:
        return
    listing = readers.look()
    accuracies = {row.run_id: row.accuracy for row in listing.rows}
    known = systems.group_runs(readers.tested(listing.runs))
    spread, n_systems = systems.seed_spread(known, accuracies)
    hint = "What another seed would give is not known."
    if n_systems:
        moved = f"{words.plural(n_systems, 'system')} by about ± {words.points(spread)}"
        hint += f" Seeds alone moved the accuracy of {moved}."
    st.caption(hint)
    names = words.listed([selection.titles[key] for key in single])
    if work_button(
        "Train another seed of each" if len(single) > 1 else f"Train another seed of {names}",
        key="another_seed",
        icon=":material/casino:",
    ):
        with sentences():
            queued = [run for system in single.values() for run in jobs.another_seed(system.runs)]
            st.success(f"{words.plural(len(queued), 'run')} queued.", icon=":material/check:")
            link_to("runs", "Watch", ":material/monitoring:", {"run": queued[0].run_id})


def _many_pairs(compared: Comparison) -> None:
    pairs = compared.pairs
    counts = pairs["verdict"].value_counts()
    n_better, n_same, n_open, n_not = (int(counts.get(word, 0)) for word in _ICONS)
    best = compared.table.sort_values("accuracy", ascending=False, kind="stable").iloc[0]
    not_compared = f"; {n_not} were tested on different clips and are not compared" if n_not else ""
    st.info(
        plain(
            f"Of {len(pairs)} pairs one is better in {n_better}, {n_same} are equivalent, and "
            f"{n_open} cannot be told apart{not_compared}. The most accurate is {best['title']} "
            f"with {words.percent(best['accuracy'])}; it against each of the others:"
        ),
        icon=":material/balance:",
    )
    with_best = (pairs[["run_a", "run_b"]] == best["run_id"]).any(axis=1)
    st.markdown(_bullets(pairs[with_best]))
    with st.expander(f"The other {int((~with_best).sum())} pairs", icon=":material/list:"):
        st.markdown(_bullets(pairs[~with_best]))


def _bullets(pairs: pd.DataFrame) -> str:
    return "\n".join(
        f"- {_ICONS[word]} {plain(sentence)}"
        for word, sentence in zip(pairs["verdict"], pairs["sentence"], strict=True)
    )


def _pair(compared: Comparison, a: str, b: str) -> dict[str, Any]:
    """The pair of these keys as a against b, whichever way round it was computed."""
    rows: list[dict[str, Any]] = compared.pairs.to_dict("records")  # type: ignore[assignment]
    row = next(row for row in rows if {row["run_a"], row["run_b"]} == {a, b})
    if row["run_a"] == a:
        return row
    for first, second in (("run_a", "run_b"), ("title_a", "title_b"), ("only_a", "only_b")):
        row[first], row[second] = row[second], row[first]
    row["difference"], row["low"], row["high"] = -row["difference"], -row["high"], -row["low"]
    return row


def show_scores(compared: Comparison, selection: Selection) -> None:
    """Accuracies with intervals, all scores as a table, and calibration."""
    section(
        "Scores",
        "On the test clips, at the epoch that validation chose."
        + (
            " The broad band reaches from the least to the most accurate seed."
            if (compared.table["n_runs"] > 1).any()
            else ""
        ),
    )
    chart(plots.leaderboard(compared.table, selection.styles), "compared")
    _scores_table(compared, selection)
    section(
        "Calibration",
        "Share of right predictions by the probability of the predicted genre: below the diagonal "
        "a run is overconfident, above it underconfident. Larger dots stand for more clips; the "
        "calibration error is the mean distance from the diagonal.",
    )
    left, _ = pair("calibration", 3, 1)
    with left:
        chart(plots.calibration(compared.calibration, selection.styles), "calibration")


def _scores_table(compared: Comparison, selection: Selection) -> None:
    table = compared.table
    cost = choice.cost_table(selection.members, compared.titles)
    several = bool((table["n_runs"] > 1).any())
    metrics = [name for name in METRICS if name != "accuracy"]
    columns = [
        *(
            "title",
            "marks",
            "accuracy",
            *(("n_runs",) if several else ()),
            "accuracy_low",
            *metrics,
        ),
        *("n_clips", "split_title", "best_epoch", "n_epochs", "n_parameters", "n_multiply_adds"),
        *("train_s", "latency_ms"),
    ]
    show_table(
        table.assign(
            n_multiply_adds=cost["n_multiply_adds"].to_numpy(),
            latency_ms=cost["latency_ms"].to_numpy(),
        ),
        shown_marks(columns, table),
        {"title": Column(selection.unit[:-1].capitalize(), width="medium", pinned=True)},
        tallest=2000,
    )


def show_downloads(compared: Comparison, command: str) -> None:
    """The report as one HTML file, and its tables in an archive; made when they are clicked."""
    name = f"genrecore-{time.strftime('%Y-%m-%d')}"
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.download_button(
            "Report",
            lambda: html.html(compared, command=command),
            f"{name}-report.html",
            "text/html",
            key="report",
            icon=":material/description:",
            help="All views as one HTML file: it opens offline, can be sent, and prints.",
            on_click="ignore",
        )
        st.download_button(
            "Tables",
            lambda: _zip_of_tables(compared),
            f"{name}-tables.zip",
            "application/zip",
            key="tables",
            icon=":material/table:",
            help="Every table as CSV, Markdown and LaTeX.",
            on_click="ignore",
        )


def _zip_of_tables(compared: Comparison) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in html.table_files(compared):
            archive.writestr(name, text)
    return stream.getvalue()


VIEWS: dict[str, tuple[str, Callable[[Comparison, Selection], None]]] = {
    "verdicts": ("Verdicts", show_verdicts),
    "scores": ("Scores", show_scores),
    "unsure": ("Not sure", details.show_unsure),
    "curves": ("Curves", details.show_curves),
    "sizes": ("Training clips", sizes.show_sizes),
    "genres": ("Genres", details.show_genres),
    "confusions": ("Confusions", details.show_confusions),
    "cost": ("Cost", details.show_cost),
    "ranks": ("Ranks", details.show_ranks),
    "settings": ("Settings", details.show_settings),
}
"""The views by their names in the URL."""
