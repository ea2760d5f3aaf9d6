"""More views of the page Compare: genres, confusions, cost, ranks, settings."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from genrecore.evaluation import costs
from genrecore.evaluation import differences as contrasts
from genrecore.evaluation.comparison import Comparison
from genrecore.jobs import actions as jobs
from genrecore.reporting import plots
from genrecore.ui.compare import readers as compare_readers
from genrecore.ui.compare.choice import SYSTEMS, Chosen, choose_two
from genrecore.ui.datasets.tasks import is_working, latest, watch
from genrecore.ui.parts import cells
from genrecore.ui.parts.choices import choose_one
from genrecore.ui.parts.frame import chart, command, empty, link_to, pair, plain, section, sentences
from genrecore.ui.parts.results import side_by_side
from genrecore.words import p_value

_MOST_BARS = 6  # runs whose bars stay legible beside one another
_MOST_LARGE = 4  # matrices drawn large


def show_genres(compared: Comparison, what: Chosen) -> None:
    """Recall of each genre by run, and the genres that depend most on the model."""
    section("Genres", "How many of each genre's test clips are recognised, with 95 % intervals.")
    if len(compared.titles) <= _MOST_BARS:
        styles = what.styles
        chart(plots.per_genre(compared.per_genre, styles), "genres")
    else:
        chart(plots.recall_map(compared.per_genre), "genres")
        st.caption("Intervals stand in the numbers of up to six runs; choose fewer to see them.")
    section(
        "Which genres depend on the model?",
        "Genres by the distance between the worst and the best recall, the clips that all share "
        "(their number in brackets); Cochran's Q tells whether it is more than chance, adjusted "
        "for the number of genres. After Hong, section 4.4, who sorted genres into those strongly "
        "and weakly correlated with the model, by eye.",
    )
    table = compared.dependence
    if table.empty:
        st.caption("They share no clips, so that genres cannot be compared.")
        return
    st.markdown(plain(_dependence_in_words(table)))
    left, _ = pair("dependence", 3, 1)
    with left:
        chart(plots.dependence(table), "dependence")


def _dependence_in_words(table: pd.DataFrame) -> str:
    strong = table.loc[table["dependence"] == contrasts.STRONG, "genre"].to_list()
    least = table.iloc[-1]
    if not strong:
        return (
            "For no genre is the difference between these models more than chance may make of so "
            "few clips."
        )
    return (
        f"Accuracy on {_listed(strong)} depends on the model; least on {least['genre']}, where "
        f"recalls are within {100 * least['spread']:.1f} points."
    )


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def show_confusions(compared: Comparison, what: Chosen) -> None:
    """All confusion matrices on one scale, and one minus another."""
    section(
        "Confusions",
        "Rows are the labels, columns the verdicts; one colour scale for all."
        + (" Counts are sums over seeds." if what.unit == SYSTEMS else ""),
    )
    shown = choose_one(
        "Cells", ["counts", "recall"], "cells",
        {"counts": "Clips", "recall": "Share of the genre"}.__getitem__,
        radio=True, hide_label=True,
    )  # fmt: skip
    percents = shown == "recall"
    named = {compared.titles[key]: matrix for key, matrix in compared.confusions.items()}
    if len(named) <= _MOST_LARGE and what.unit != SYSTEMS:
        for first in range(0, len(named), 2):
            columns = pair(f"confusion_{first}")
            for column, run_id in zip(columns, list(compared.confusions)[first:][:2], strict=False):
                with column:
                    matrix, title = compared.confusions[run_id], compared.titles[run_id]
                    cells.confusion(matrix, title, run_id, f"confusion_{run_id}", percents)
    elif len(named) <= _MOST_LARGE:
        drawn = [plots.confusion(m, title, percents=percents) for title, m in named.items()]
        side_by_side(drawn, "confusion")
    else:
        chart(plots.confusions(named, percents), "confusions")
    if what.unit != SYSTEMS:
        _to_clips(compared)
    section("Where two of them differ", "The confusions of A minus those of B.")
    two = choose_two(compared)
    if two is None:
        return
    with sentences():
        a, b = (compared.confusions[key] for key in two)
        names = [compared.titles[key] for key in two]
        left, _ = pair("difference", 3, 1)
        with left:
            gap = contrasts.difference(a, b, percents)
            chart(plots.difference(gap, names[0], names[1], percents), "difference")
        st.caption(
            plain(f"A is {names[0]}, B is {names[1]}.")
            + " Blue: A has more of it, orange: B has more. On the diagonal more is better."
        )


def _to_clips(compared: Comparison) -> None:
    """Ways from a run's matrix to its clips: by keyboard, and where cells are too small."""
    st.caption("Click a cell of a large matrix to hear its clips, or open a run's mistakes:")
    with st.container(horizontal=True, gap="small"):
        for run_id, title in compared.titles.items():
            link_to("errors", plain(title), ":material/hearing:", {"run": run_id})


def show_cost(compared: Comparison, what: Chosen) -> None:
    """Accuracy against what it costs, and what nobody beats."""
    section(
        "Accuracy and cost",
        "On the dotted front lie those that nobody beats in one without being worse in the other.",
    )
    table = compare_readers.cost_table(what.members, compared.titles)
    words = {name: title.partition(" of a clip")[0] for name, title in costs.COSTS.items()}
    name = choose_one(
        "Cost", list(costs.COSTS), "cost", words.__getitem__, radio=True, hide_label=True
    )
    scored = compared.table[["run_id", "accuracy", "accuracy_low", "accuracy_high"]]
    joined = table.merge(scored, on="run_id")
    styles = what.styles
    if joined[name].notna().any():
        chart(plots.cost(joined, name, costs.COSTS[name], styles), f"cost_{name}")
        bare = joined.loc[joined[name].isna(), "title"].to_list()
        if bare:
            st.caption(plain(f"Not measured, and so not in the figure: {', '.join(bare)}."))
    else:
        empty(
            f"{words[name]}: not measured yet.",
            "Multiply–adds are counted and latency is measured when you ask for it, below.",
        )
    devices = [one for one in dict.fromkeys(table["device"]) if one]
    if name == "train_s" and len(devices) > 1:
        st.caption(plain(f"Trained on different machines: {', '.join(devices)}."))
    _measuring(what)
    number = st.column_config.NumberColumn
    st.dataframe(
        table.drop(columns="run_id"),
        hide_index=True,
        height=38 + 35 * len(table),
        placeholder="–",
        column_config={
            "title": "Run",
            "n_parameters": number("Parameters", format="compact"),
            "n_multiply_adds": number("Multiply–adds of 30 s", format="compact"),
            "train_s": number("Training (s)", format="%.0f"),
            "latency_ms": number("Latency of 30 s (ms)", format="%.1f"),
            "device": "Trained on",
            "measured_on": "Latency measured on",
            "why": "What is missing",
        },
    )


def _measuring(what: Chosen) -> None:
    """A button that counts multiply–adds and measures latencies that nobody has looked at."""
    missing = costs.missing([(key, what.titles[key], found) for key, found in what.members.items()])
    words = ["compare", *(found[0].run_id for found in what.members.values()), "--measure"]
    if missing and st.button(
        f"Measure the {len(missing)} that were not",
        icon=":material/timer:",
        key="measure_costs",
        disabled=is_working(latest(words)),
        help="Counts multiply–adds and measures the latency on this machine, some seconds each.",
    ):
        with sentences():
            jobs.start_task(words, "Measuring what runs cost")
            st.rerun()
    watch(words)


def show_ranks(compared: Comparison, what: Chosen) -> None:
    """Mean ranks over several datasets or folds, where all were tested on the same."""
    section(
        "Ranks over datasets or folds",
        "Friedman's test and Nemenyi's critical difference (Demšar 2006): systems joined by a bar "
        "cannot be told apart.",
    )
    found = compare_readers.blocks(what.members)
    for words in found.left_out:
        st.caption(plain(f"Left out, for not all were tested there: {words}"))
    if found.ranks is None:
        n_blocks, n_systems = found.scores.shape
        empty(
            "There is nothing to rank yet.",
            f"Ranks take at least two systems that were tested on the same two or more datasets or "
            f"folds; here {n_systems} system{'s' if n_systems != 1 else ''} and {n_blocks} such "
            f"dataset{'s' if n_blocks != 1 else ''} or fold{'s' if n_blocks != 1 else ''} are "
            "chosen. Choose more, or train the missing folds.",
        )
        return
    titles = [str(name) for name in found.scores.columns]
    p = found.ranks.p
    st.markdown(
        f"Friedman's test that all are equally good: {p_value(p)}"
        + (". They differ." if p < 0.05 else ": no difference is shown.")
    )
    chart(plots.critical_difference(titles, found.ranks, len(found.scores)), "ranks")
    st.caption(
        "Folds of one dataset share training clips, so that ranks over them look surer than they "
        "are; several datasets say more."
    )
    st.dataframe(
        (100 * found.scores).reset_index(),
        hide_index=True,
        column_config={
            "block": "Dataset or fold",
            **{name: st.column_config.NumberColumn(format="%.1f %%") for name in titles},
        },
    )


def show_settings(compared: Comparison, what: Chosen) -> None:
    """The settings in which they differ, and nothing else."""
    section("Settings", "Only those in which they differ; everything else is the same.")
    configs = {compared.titles[key]: found[0].config for key, found in what.members.items()}
    table = contrasts.settings(configs)
    if what.unit == SYSTEMS:
        table = table[~table["setting"].isin(["seed", "split_seed", "fold"])]
    if table.empty:
        st.caption("They do not differ in any setting.")
        return
    if len(configs) > _MOST_BARS:  # many columns are hard to read: a row each instead
        table = table.set_index("setting").T.rename_axis("run").reset_index()
        tall = 38 + 35 * len(table)
        st.dataframe(table, hide_index=True, height=tall, column_config={"run": "Run"})
        return
    st.dataframe(table, hide_index=True, column_config={"setting": "Setting"})


def same_as_command(what: Chosen) -> None:
    """How to get the same on the command line."""
    command(what.command)


SHOWN = {
    "genres": show_genres,
    "confusions": show_confusions,
    "cost": show_cost,
    "ranks": show_ranks,
    "settings": show_settings,
}
