"""Finished runs: what they scored, how they differ, and everything about one of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from genrecore.config import run as configuration
from genrecore.config.command import train_command
from genrecore.evaluation.metrics import POOLINGS
from genrecore.reporting import plots
from genrecore.reporting.plots import Chart
from genrecore.store.run import Run
from genrecore.ui.parts import cells, readers
from genrecore.ui.parts.frame import (
    chart,
    command,
    go_to,
    in_percent,
    link_to,
    pair,
    plain,
    section,
    sentences,
    share_column,
)
from genrecore.ui.parts.live import again
from genrecore.words import percent


def first_steps() -> None:
    """What to do in an empty store."""
    section("What to do first", "Nothing has been trained yet. Three steps from here to a verdict:")
    steps = [
        (
            ":material/model_training:",
            "Train",
            "Start with the demo music: it is made on this machine, needs no download, and a small "
            "network learns it in minutes.",
        ),
        (
            ":material/balance:",
            "Compare",
            "Train a second model and be told whether the difference between the two is real.",
        ),
        (
            ":material/graphic_eq:",
            "Classify",
            "Upload a clip of your own, hear it, and see which genre a run hears in it.",
        ),
    ]
    for place, (column, (icon, title, words)) in enumerate(
        zip(st.columns(3, gap="medium"), steps, strict=True)
    ):
        with column.container(border=True, height="stretch", gap="small"):
            st.markdown(f"{icon} **{place + 1} · {title}**")
            st.markdown(words)
    if st.button(
        "Train on the demo music", type="primary", icon=":material/play_arrow:", key="first"
    ):
        go_to("train", {"dataset": "demo"})
    section("Or let one command do it")
    st.caption("It trains two models on the demo music, compares them, and shows them here.")
    st.code("genrecore demo", language="bash")


def leaderboard_table(table: pd.DataFrame) -> None:
    """The leaderboard with everything worth knowing about a run."""
    number = st.column_config.NumberColumn
    st.dataframe(
        in_percent(table, ["accuracy"]).assign(
            interval=[
                f"{percent(low)} to {percent(high)}"
                for low, high in zip(table["accuracy_low"], table["accuracy_high"], strict=True)
            ],
            took=[readers.duration(s) if pd.notna(s) else "–" for s in table["train_s"]],
        ),
        hide_index=True,
        placeholder="–",
        column_order=[
            "title",
            "accuracy",
            "interval",
            "macro_f1",
            "n_clips",
            "split",
            "best_epoch",
            "took",
            "n_parameters",
            *(["badge"] if table["badge"].any() else []),
        ],
        column_config={
            "title": "Run",
            "badge": "Warning",
            "accuracy": share_column("Accuracy"),
            "interval": "95 % interval",
            "macro_f1": number("Macro F1", format="%.3f"),
            "n_clips": "Test clips",
            "split": "Split",
            "best_epoch": "Epoch",
            "took": "Took",
            "n_parameters": number("Parameters", format="compact"),
        },
    )


def leaderboard_links(table: pd.DataFrame) -> None:
    """Ways on from the leaderboard."""
    best = table["run_id"].to_list()
    with st.container(horizontal=True, gap="medium"):
        if len(best) >= 2:
            link_to(
                "compare",
                "Compare the two best",
                ":material/balance:",
                {"runs": ",".join(best[:2])},
            )
        link_to("runs", "Open the best run", ":material/monitoring:", {"run": best[0]})
        link_to("classify", "Classify with it", ":material/graphic_eq:", {"run": best[0]})


def pair_numbers(pairs: pd.DataFrame) -> None:
    """The numbers behind the verdicts on pairs, one click away."""
    with st.popover("Numbers", type="tertiary", icon=":material/table:", key="pairs_numbers"):
        st.dataframe(
            in_percent(pairs, ["difference", "low", "high", "resolved"]).drop(
                columns=["run_a", "run_b", "sentence", "better", "error", "seeds"]
            ),
            hide_index=True,
            placeholder="–",
            column_config={
                "title_a": "A",
                "title_b": "B",
                "n_clips": "Shared clips",
                "both": "Both right",
                "neither": "Both wrong",
                "only_a": "Only A right",
                "only_b": "Only B right",
                "difference": share_column("A − B"),
                "low": share_column("from"),
                "high": share_column("to"),
                "p": st.column_config.NumberColumn("p", format="%.4f"),
                "p_exact": st.column_config.NumberColumn("p, exact test", format="%.4f"),
                "p_holm": st.column_config.NumberColumn("p for all pairs", format="%.4f"),
                "verdict": "Verdict",
                "resolved": share_column("Resolves"),
            },
        )


def side_by_side(charts: Sequence[Chart], key: str) -> None:
    """Charts in a grid of two columns."""
    for first in range(0, len(charts), 2):
        columns = pair(f"{key}_{first}")
        for place, drawn in enumerate(charts[first : first + 2]):
            with columns[place]:
                chart(drawn, f"{key}_{first + place}")


def run_result(run: Run) -> None:
    """How a tested run did: accuracy with its interval, genres, confusions."""
    if not readers.tested([run]):
        return
    with sentences():
        row = readers.leaderboard([run]).iloc[0]
        section("Test", f"{row['n_clips']} clips that were kept back from training and validation.")
        columns = st.columns(3, gap="small")
        columns[0].metric(
            "Test accuracy",
            percent(row["accuracy"]),
            delta=f"{percent(row['accuracy_low'])} to {percent(row['accuracy_high'])}",
            delta_color="off",
            delta_arrow="off",
            border=True,
            help="Below it the 95 % interval: how far chance in the choice of test clips reaches.",
        )
        columns[1].metric(
            "Macro F1",
            f"{row['macro_f1']:.3f}",
            border=True,
            height="stretch",
            help="The mean over the genres of the harmonic mean of precision and recall.",
        )
        columns[2].metric("Test clips", str(row["n_clips"]), border=True, height="stretch")
        ways = readers.pooled_accuracies(run)
        if ways:
            listed = ", ".join(f"{POOLINGS[name]} {percent(a)}" for name, a in ways.items())
            st.caption(f"Accuracy by how a clip's verdict is made of its segments: {listed}.")
        left, right = pair("test")
        with left:
            cells.confusion(readers.confusion(run), "Confusions", run.run_id, "run_confusion")
        with right:
            chart(plots.per_genre(readers.per_genre(run), readers.styles()), "run_genres")
        with st.container(horizontal=True, gap="medium"):
            link_to(
                "errors", "Hear its mistakes", ":material/hearing_disabled:", {"run": run.run_id}
            )
            link_to(
                "errors",
                "Is it the music or a trick?",
                ":material/science:",
                {"run": run.run_id, "view": "probes"},
            )
            link_to("classify", "Classify with it", ":material/graphic_eq:", {"run": run.run_id})
            again(run)


def run_facts(run: Run) -> None:
    """Notes, settings, environment and the command of a run."""
    section("How it was made")
    if not readers.tested([run]):
        again(run)
    for note in run.status.get("notes") or []:
        st.warning(plain(note), icon=":material/info:")
    skipped = run.status.get("skipped") or []
    if skipped:
        with st.expander(f"Clips left out ({len(skipped)})", icon=":material/block:"):
            st.dataframe(
                pd.DataFrame(skipped),
                hide_index=True,
                column_config={"clip_id": "Clip", "reason": "Why"},
            )
    left, right = pair("facts")
    with left:
        st.markdown("**Settings**")
        st.caption("Those that differ from the defaults are marked.")
        st.dataframe(
            _settings(run),
            hide_index=True,
            height=320,
            column_config={"changed": st.column_config.CheckboxColumn("Changed", width="small")},
        )
    with right:
        st.markdown("**Environment**")
        st.caption("What it ran on.")
        st.dataframe(_environment(run), hide_index=True, height=320)
    command(train_command(run.config))
    st.caption(f"Run {plain(run.run_id)}, queued {readers.when(run.created)}.")


def _settings(run: Run) -> pd.DataFrame:
    changed = configuration.differences(run.config)
    rows = [
        {"Setting": name, "Value": str(value), "changed": name in changed}
        for name, value in _flat(run.config.model_dump()).items()
    ]
    return pd.DataFrame(rows)


def _environment(run: Run) -> pd.DataFrame:
    flat = _flat(run.environment) or {"": "The run has not started yet."}
    return pd.DataFrame([{"What": name, "Value": str(value)} for name, value in flat.items()])


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, str) else json.dumps(value)
    return flat
