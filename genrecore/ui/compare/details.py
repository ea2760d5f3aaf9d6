"""Further views of a comparison: curves, genres, confusions, cost, ranks, settings."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import streamlit as st

from genrecore import words
from genrecore.config.run import RunConfig, flat
from genrecore.evaluation import costs, differences
from genrecore.evaluation.comparison import Comparison
from genrecore.evaluation.curves import curve_band
from genrecore.reporting import plots
from genrecore.reporting.columns import AREAS, Column
from genrecore.training.parts import setting_title
from genrecore.ui.compare.choice import SYSTEMS, Selection, choose_two, cost_table, ranked_blocks
from genrecore.ui.parts.choices import choose_flag, choose_one
from genrecore.ui.parts.frame import (
    chart,
    confusion_chart,
    empty,
    in_pairs,
    link_to,
    pair,
    plain,
    section,
    sentences,
)
from genrecore.ui.parts.tables import show_table
from genrecore.ui.parts.tasks import task_button, watch

MOST_LINES = 6  # lines, or bars beside one another, that stay legible
_MOST_LARGE = 4  # matrices drawn large
_TALLEST = 2000  # px: all rows are in sight
_OVER = {"epoch": "Epochs", "step": "Steps", "seconds": "Time"}


def show_curves(compared: Comparison, selection: Selection) -> None:
    """Loss, accuracy and learning rate over epochs, steps or time."""
    pooled = selection.unit == SYSTEMS
    section(
        "Learning curves",
        "Validation is drawn with markers; a ring marks the epoch that was kept and tested."
        + (" Lines are means over seeds, bands reach from the least to the greatest."
           if pooled else ""),
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="center", gap="medium", key="scales"):
        over = choose_one("Over", _OVER, "over", radio=True, hide_label=True)
        if len(compared.titles) > MOST_LINES:
            training = choose_flag("Training as well", "training")
        else:
            training = not choose_flag("Validation only", "training")
    table = compared.curves
    if table.empty:
        st.caption("None of these was trained in epochs, so there are no curves.")
        return
    if pooled:
        table = curve_band(table.assign(title=table["key"].map(compared.titles)))
    else:
        table = table.assign(title=table["run_id"].map(compared.titles))
    if over == "step" and table["step"].isna().all():
        st.caption("These runs did not record their steps per epoch.")
    epochs = zip(compared.table["run_id"], compared.table["best_epoch"], strict=True)
    best_epochs = {key: float(epoch) for key, epoch in epochs if pd.notna(epoch)}
    for measure in ("accuracy", "loss", "lr"):
        legend = measure == "accuracy" or len(compared.titles) <= MOST_LINES
        figure = plots.overlaid_curves(
            table, measure, selection.styles, over, training, best_epochs, legend
        )
        if len(figure.table):
            chart(figure, f"curves_{measure}")
    without = [title for key, title in compared.titles.items() if key not in set(table["run_id"])]
    if without:
        st.caption(plain(f"Fitted without epochs, or without a history: {words.listed(without)}."))


def show_unsure(compared: Comparison, selection: Selection) -> None:
    """How right they are where they may be not sure: the curves, the areas, and every pair."""
    section(
        "Who knows what it does not know?",
        "Each may leave out the clips that it is least sure of. A run that knows what it does not "
        "know gets better the less it answers.",
    )
    for sentence in compared.pairs["area_sentence"][:MOST_LINES]:
        st.info(plain(sentence), icon=":material/help:")
    if len(compared.risk_coverage):
        chart(plots.risk_coverage(compared.risk_coverage, selection.styles), "risk_coverage")
    special: dict[str, Column | str] = {"title": selection.unit[:-1].capitalize()}
    show_table(compared.areas, list(AREAS), special)
    st.caption(
        "Clips of one artist count as alike. p-values are adjusted for the number of pairs (Holm)."
    )


def show_genres(compared: Comparison, selection: Selection) -> None:
    """Recall of each genre by run, and the genres that depend most on the model."""
    section("Genres", "Share of each genre's test clips recognised, with 95 % intervals.")
    if len(compared.titles) <= MOST_LINES:
        chart(plots.per_genre(compared.per_genre, selection.styles), "genres")
    else:
        chart(plots.recall_map(compared.per_genre), "genres")
        st.caption(f"Choose {MOST_LINES} or fewer to see the intervals.")
    section(
        "Which genres depend on the model?",
        "Genres by the distance between the worst and the best recall on the clips that all share "
        "(their number in brackets). Cochran's Q tests whether it is more than chance, adjusted "
        "for the number of genres. After Hong, section 4.4, who sorted genres by eye.",
    )
    table = compared.dependence
    if table.empty:
        st.caption("They share no clips, so that genres cannot be compared.")
        return
    strong = table.loc[table["dependence"] == differences.STRONG, "genre"].to_list()
    least = table.iloc[-1]
    if strong:
        sentence = (
            f"Accuracy on {words.listed(strong)} depends on the model; least on {least['genre']}, "
            f"where recalls are within {words.points(least['spread'])}."
        )
    else:
        sentence = "For no genre is the difference between these models more than chance."
    st.markdown(plain(sentence))
    left, _ = pair("dependence", 3, 1)
    with left:
        chart(plots.dependence(table), "dependence")


def show_confusions(compared: Comparison, selection: Selection) -> None:
    """All confusion matrices on one scale, and one minus another."""
    pooled = selection.unit == SYSTEMS
    sums = " Counts are sums over seeds." if pooled else ""
    section("Confusions", f"Rows are labels, columns predictions; one colour scale for all.{sums}")
    titles = {"counts": "Clips", "recall": "Share of the genre"}
    unit = choose_one("Cells", titles, "cells", radio=True, hide_label=True)
    shares = unit == "recall"
    matrices = compared.confusions
    named = {compared.titles[key]: matrix for key, matrix in matrices.items()}
    if len(named) > _MOST_LARGE:
        chart(plots.confusions(named, shares), "confusions")
    else:
        for key in in_pairs(list(matrices), "confusion"):
            matrix, title = matrices[key], compared.titles[key]
            if pooled:
                chart(plots.confusion(matrix, title, percents=shares), f"confusion_{key}")
            else:
                confusion_chart(matrix, title, key, f"confusion_{key}", shares)
    if not pooled:
        st.caption("Click a cell of a large matrix to hear its clips, or open a run's mistakes:")
        with st.container(horizontal=True, gap="small"):
            for run_id, title in compared.titles.items():
                link_to("errors", plain(title), ":material/hearing:", {"run": run_id})
    section("Where two of them differ", "The confusions of A minus those of B.")
    two = choose_two(compared)
    if two is None:
        return
    with sentences():
        gap = differences.difference(matrices[two[0]], matrices[two[1]], shares)
        a, b = (compared.titles[key] for key in two)
        left, _ = pair("difference", 3, 1)
        with left:
            chart(plots.difference(gap, a, b, shares), "difference")
        st.caption(
            plain(f"A is {a}, B is {b}.")
            + " Blue: A has more of it, orange: B has more. On the diagonal more is better."
        )


def show_cost(compared: Comparison, selection: Selection) -> None:
    """Accuracy against its cost."""
    section(
        "Accuracy and cost",
        "Those on the dotted front are the best trade-offs: no other is better in one and not "
        "worse in the other.",
    )
    table = cost_table(selection.members, compared.titles)
    short = {name: title.partition(" of a clip")[0] for name, title in costs.COSTS.items()}
    name = choose_one("Cost", short, "cost", radio=True, hide_label=True)
    scores = compared.table[["run_id", "accuracy", "accuracy_low", "accuracy_high"]]
    joined = table.merge(scores, on="run_id")
    if joined[name].notna().any():
        chart(plots.cost(joined, name, costs.COSTS[name], selection.styles), f"cost_{name}")
        without = joined.loc[joined[name].isna(), "title"].to_list()
        if without:
            st.caption(plain(f"Not measured, and so not in the figure: {words.listed(without)}."))
    else:
        empty(
            f"{short[name]}: not measured yet.",
            "Multiply–adds are counted and latency is measured when you ask for it, below.",
        )
    devices = [device for device in dict.fromkeys(table["device"]) if device]
    if name == "train_s" and len(devices) > 1:
        st.caption(plain(f"Trained on different machines: {words.listed(devices)}."))
    _measure(selection)
    special = {
        "device": "Trained on",
        "measured_on": "Latency measured on",
        "why": "What is missing",
    }
    show_table(table.drop(columns="run_id"), special=special, tallest=_TALLEST)


def _measure(selection: Selection) -> None:
    """The button that counts multiply–adds and measures latencies."""
    several = [(key, selection.titles[key], runs) for key, runs in selection.members.items()]
    missing = costs.not_measured(several)
    firsts = [runs[0].run_id for runs in selection.members.values()]
    arguments = ["compare", *firsts, "--measure"]
    if missing:
        task_button(
            f"Measure the missing {len(missing)}",
            arguments,
            "Measuring costs of runs",
            "measure_costs",
            ":material/timer:",
            "secondary",
            help="Counts multiply–adds and measures the latency on this machine, some seconds "
            "each.",
        )
    watch(arguments)


def show_ranks(compared: Comparison, selection: Selection) -> None:
    """Mean ranks over several datasets or folds on which all were tested."""
    section(
        "Ranks over datasets or folds",
        "Friedman's test and Nemenyi's critical difference (Demšar 2006): systems joined by a bar "
        "cannot be told apart.",
    )
    blocks = ranked_blocks(selection.members)
    for block in blocks.left_out:
        st.caption(plain(f"Left out, because not all were tested there: {block}"))
    if blocks.ranks is None:
        n_blocks, n_systems = blocks.scores.shape
        empty(
            "There is nothing to rank yet.",
            "Ranks take two or more systems, tested on the same two or more datasets or folds; "
            f"here are {words.plural(n_systems, 'system')} and "
            f"{words.plural(n_blocks, 'such dataset or fold', 'such datasets or folds')}. Choose "
            "more, or train the missing folds.",
        )
        return
    titles = [str(name) for name in blocks.scores.columns]
    p = blocks.ranks.p
    st.markdown(
        f"Friedman's test of equal accuracy: {words.p_value(p)}"
        + (". They differ." if p < 0.05 else ": no difference is shown.")
    )
    chart(plots.critical_difference(titles, blocks.ranks, len(blocks.scores)), "ranks")
    st.caption(
        "Folds of one dataset share training clips, so that ranks over them look surer than they "
        "are; several datasets say more."
    )
    special: dict[str, Column | str] = {title: Column(title, "share") for title in titles}
    show_table(blocks.scores.reset_index(), special=special | {"block": "Dataset or fold"})


def show_settings(compared: Comparison, selection: Selection) -> None:
    """The settings in which they differ, and nothing else."""
    section("Settings", "Only those in which they differ; everything else is the same.")
    configs = {compared.titles[key]: runs[0].config for key, runs in selection.members.items()}
    table = differences.settings(configs)
    if selection.unit == SYSTEMS:
        table = table[~table["setting"].isin(["seed", "split_seed", "fold"])]
    if table.empty:
        st.caption("They do not differ in any setting.")
        return
    table["setting"] = [_setting_title(configs.values(), name) for name in table["setting"]]
    if len(configs) > MOST_LINES:  # many columns are hard to read: a row each instead
        table = table.set_index("setting").T.rename_axis("run").reset_index()
    show_table(table, special={"setting": "Setting", "run": "Run"}, tallest=_TALLEST)


def _setting_title(configs: Iterable[RunConfig], name: str) -> str:
    """What the form calls a setting, by the first configuration that has it."""
    return next(setting_title(config, name) for config in configs if name in flat(config))
