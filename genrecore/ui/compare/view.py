"""The page Compare: what a comparison says, view by view, sentences first."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from genrecore.evaluation import systems, verdicts
from genrecore.evaluation.comparison import Comparison
from genrecore.evaluation.metrics import METRICS, help_on
from genrecore.reporting import plots
from genrecore.reporting.plots.chart import percent
from genrecore.reporting.plots.contrasts import number
from genrecore.ui.compare import readers as compare_readers
from genrecore.ui.compare.choice import RUNS, SYSTEMS, Chosen, choose_band, choose_two
from genrecore.ui.parts import readers
from genrecore.ui.parts.choices import choose_flag, choose_one
from genrecore.ui.parts.frame import chart, in_percent, link_to, pair, plain, section, share_column
from genrecore.ui.parts.results import pair_numbers
from genrecore.words import points

VIEWS = {
    "verdicts": "Verdicts",
    "scores": "Scores",
    "curves": "Curves",
    "genres": "Genres",
    "confusions": "Confusions",
    "cost": "Cost",
    "ranks": "Ranks",
    "settings": "Settings",
}
_FEW_PAIRS = 3
_FEW_LINES = 6
_FEW_NOTES = 3
_ICONS = {
    verdicts.BETTER: ":material/trending_up:",
    verdicts.EQUIVALENT: ":material/drag_handle:",
    verdicts.OPEN: ":material/question_mark:",
    verdicts.NOT_COMPARED: ":material/block:",
}


def choose_view() -> str:
    """Which part of the comparison is shown."""
    return choose_one("View", list(VIEWS), "view", VIEWS.__getitem__, radio=True, hide_label=True)


def warnings(compared: Comparison) -> None:
    """What a reader must know first."""
    notes = compared.notes
    if len(notes) > _FEW_NOTES:
        st.warning("\n".join(f"- {plain(note)}" for note in notes), icon=":material/warning:")
        return
    for note in notes:
        st.warning(plain(note), icon=":material/warning:")


def show_verdicts(compared: Comparison, what: Chosen) -> None:
    """What may be said of each pair, in sentences; then all pairs at a glance, and two of them."""
    band = points(what.band)
    how = (
        systems.METHOD
        if what.unit == SYSTEMS
        else "Two runs are compared on the same clips: McNemar's test (mid-p), and a bootstrap of "
        "the difference that draws all clips of an artist together."
    )
    section(
        "Is the difference real?",
        f"{how} p-values are adjusted for the number of pairs (Holm); differences below {band} "
        "count as none.",
    )
    pairs = compared.pairs
    if len(pairs) <= _FEW_PAIRS:
        for sentence in pairs["sentence"]:
            st.info(plain(sentence), icon=":material/balance:")
    else:
        _many_pairs(compared)
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
        if len(compared.titles) > 2:
            st.markdown(plain(row["sentence"]))
        else:
            st.markdown(
                plain(
                    f"They agree on {number(row['both'] + row['neither'])} of {row['n_clips']} "
                    f"clips, and differ on {number(row['only_a'] + row['only_b'])}."
                )
            )
        if what.unit == RUNS:
            st.caption("Hear the clips on which they differ:")
            for who, words in (("only A right", "Only A is right"), ("only B right",
                               "Only B is right")):  # fmt: skip
                query = {"run": two[0], "view": "against", "against": two[1], "who": who}
                link_to("errors", words, ":material/hearing:", query)


def _many_pairs(compared: Comparison) -> None:
    pairs = compared.pairs
    counts = pairs["verdict"].value_counts()
    n_better, n_same, n_open, n_not = (int(counts.get(word, 0)) for word in _ICONS)
    best = compared.table.sort_values("accuracy", ascending=False, kind="stable").iloc[0]
    st.info(
        plain(
            f"Of {len(pairs)} pairs one is better in {n_better}, {n_same} are equivalent, and "
            f"{n_open} cannot be told apart"
            + (f"; {n_not} were tested on different clips and are not compared" if n_not else "")
            + f". The most accurate is {best['title']} with "
            f"{percent(best['accuracy'])}; it against each of the others:"
        ),
        icon=":material/balance:",
    )
    key = best["run_id"]
    mine = (pairs["run_a"] == key) | (pairs["run_b"] == key)
    st.markdown(_bullets(pairs[mine]))
    with st.expander(f"The other {int((~mine).sum())} pairs", icon=":material/list:"):
        st.markdown(_bullets(pairs[~mine]))


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
    for one, other in (("run_a", "run_b"), ("title_a", "title_b"), ("only_a", "only_b")):
        row[one], row[other] = row[other], row[one]
    row["difference"], row["low"], row["high"] = -row["difference"], -row["high"], -row["low"]
    return row


def show_scores(compared: Comparison, what: Chosen) -> None:
    """Accuracies with intervals, all scores as a table, and how sure verdicts are."""
    styles = what.styles
    of_seeds = " The broad band reaches from the least to the most accurate seed."
    section(
        "Scores",
        "On the test clips, at the epoch that validation chose."
        + (of_seeds if (compared.table["n_runs"] > 1).any() else ""),
    )
    chart(plots.leaderboard(compared.table, styles), "compared")
    _scores_table(compared, what)
    section(
        "Are they as sure as they are right?",
        "Verdicts by the probability of the predicted genre: below the diagonal a run is too sure "
        "of itself, above it not sure enough. The larger a dot, "
        "the more clips; the calibration error is the mean distance from the diagonal.",
    )
    left, _ = pair("calibration", 3, 1)
    with left:
        chart(plots.calibration(compared.calibration, styles), "calibration")


def _scores_table(compared: Comparison, what: Chosen) -> None:
    table = compared.table
    cost = compare_readers.cost_table(what.members, compared.titles)
    number = st.column_config.NumberColumn
    metrics = {name: entry for name, entry in METRICS.items() if name != "accuracy"}
    shares = [name for name, metric in metrics.items() if metric.facts.format == "share"]
    shown = in_percent(table, ["accuracy", *shares]).assign(
        interval=_ends(table, "accuracy_low", "accuracy_high"),
        artists=_ends(table, "artists_low", "artists_high"),
        took=[readers.duration(s) if pd.notna(s) else "–" for s in table["train_s"]],
        n_multiply_adds=cost["n_multiply_adds"].to_numpy(),
        latency_ms=cost["latency_ms"].to_numpy(),
    )
    several = bool((table["n_runs"] > 1).any())
    st.dataframe(
        shown,
        hide_index=True,
        height=38 + 35 * len(table),
        placeholder="–",
        column_order=[
            "title", "accuracy", *(["n_runs"] if several else ["interval"]), "artists",
            *metrics, "n_clips", "split",
            "best_epoch", "n_epochs", "n_parameters", "n_multiply_adds", "took", "latency_ms",
            *(["badge"] if table["badge"].any() else []),
        ],
        column_config={
            "title": st.column_config.TextColumn("Run" if what.unit == RUNS else "System",
                                                 width="medium", pinned=True),
            "accuracy": share_column("Accuracy"),
            "n_runs": number("Tests", help="Seeds, or sets of folds, that it is the mean of."),
            "interval": st.column_config.TextColumn("95 %", help="Wilson's interval."),
            "artists": st.column_config.TextColumn(
                "95 %, artists and seeds" if several else "95 %, by artist",
                help="Bootstrap: all clips of an artist are drawn together"
                + (", and seeds as well." if several else "."),
            ),
            **{
                name: number(
                    metric.title, help=help_on(metric),
                    format="%.1f %%" if metric.facts.format == "share" else "%.3f",
                )
                for name, metric in metrics.items()
            },
            "n_clips": "Test clips",
            "split": "Split",
            "best_epoch": number("Best epoch", help="Validation chose it, and it was tested."),
            "n_epochs": "Epochs",
            "n_parameters": number("Parameters", format="compact"),
            "n_multiply_adds": number("Multiply–adds", format="compact",
                                      help="Of a clip of 30 s, in products of the network."),
            "took": "Took",
            "latency_ms": number("Latency (ms)", format="%.1f", help="Of a clip of 30 s."),
            "badge": "Warning",
        },
    )  # fmt: skip


def _ends(table: pd.DataFrame, low: str, high: str) -> list[str]:
    return [f"{percent(a)} to {percent(b)}" for a, b in zip(table[low], table[high], strict=True)]


_OVER = {"epoch": "Epochs", "step": "Steps", "seconds": "Time"}


def show_curves(compared: Comparison, what: Chosen) -> None:
    """Loss, accuracy and learning rate over epochs, steps or time."""
    section(
        "Learning curves",
        "Validation is drawn with markers; a ring marks the epoch that was kept and tested."
        + (" Of several seeds the mean, in a band from the least to the greatest."
           if what.unit == SYSTEMS else ""),
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="center", gap="large", key="scales"):
        over = choose_one(
            "Over", list(_OVER), "over", _OVER.__getitem__, radio=True, hide_label=True
        )
        many = len(compared.titles) > _FEW_LINES
        training = choose_flag("Training as well", "training") if many else not choose_flag(
            "Validation only", "training"
        )  # fmt: skip
    curves = compared.curves
    if curves.empty:
        st.caption("None of these was trained in epochs, so there are no curves.")
        return
    if what.unit == SYSTEMS:
        curves = systems.curve_band(curves.assign(title=curves["key"].map(compared.titles)))
    else:
        curves = curves.assign(title=curves["run_id"].map(compared.titles))
    if over == "step" and curves["step"].isna().all():
        st.caption("How many steps an epoch had is not known of these runs.")
    best = dict(zip(compared.table["run_id"], compared.table["best_epoch"], strict=True))
    kept = {key: float(epoch) for key, epoch in best.items() if pd.notna(epoch)}
    styles = what.styles
    for measure in ("accuracy", "loss", "lr"):
        legend = measure == "accuracy" or len(compared.titles) <= _FEW_LINES
        drawn = plots.overlaid_curves(curves, measure, styles, over, training, kept, legend)
        if len(drawn.table):
            chart(drawn, f"curves_{measure}")
    bare = [compared.titles[key] for key in compared.titles if key not in set(curves["run_id"])]
    if bare:
        st.caption(plain(f"Fitted at one go, or without a history: {', '.join(bare)}."))


SHOWN = {"verdicts": show_verdicts, "scores": show_scores, "curves": show_curves}
