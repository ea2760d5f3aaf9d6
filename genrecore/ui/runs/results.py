"""How a run did on its test clips, and how it was made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from genrecore import words
from genrecore.config.command import train_command
from genrecore.config.run import differences
from genrecore.evaluation.pooling import POOLINGS
from genrecore.reporting import plots
from genrecore.reporting.columns import COLUMNS, Column
from genrecore.store.run import Run
from genrecore.training.parts import setting_title
from genrecore.ui.parts import readers
from genrecore.ui.parts.frame import (
    Step,
    chart,
    command,
    confusion_chart,
    link_to,
    next_steps,
    pair,
    plain,
    section,
    sentences,
    tiles,
)
from genrecore.ui.parts.live import again
from genrecore.ui.parts.tables import show_table
from genrecore.ui.runs.unsure import show_unsure


def run_score(run: Run, runs: Sequence[Run]) -> None:
    """The accuracy of a tested run with its interval, and what one does with such a run, one of
    these."""
    with sentences():
        row = readers.leaderboard([run]).iloc[0]
        tiles(
            [
                (
                    "Test accuracy",
                    words.percent(row["accuracy"]),
                    COLUMNS["accuracy_low"].written(dict(row), "accuracy_low"),
                    "Below it the 95 % interval: how far it may be off because the test clips are "
                    "a sample. They took no part in training and validation.",
                ),
                (
                    "Macro-F1",
                    words.decimals(row["macro_f1"], 3),
                    "",
                    "The mean over the genres of the harmonic mean of precision and recall.",
                ),
                ("Test clips", words.thousands(row["n_clips"]), "", ""),
            ],
            "test",
        )
        next_after(run, runs)


def run_result(run: Run) -> None:
    """How a tested run did in detail: pooling, confusions, genres."""
    if not readers.tested([run]):
        return
    with sentences():
        section("Test")
        pooled = readers.pooled_accuracies(run)
        if pooled:
            ways = ", ".join(f"{POOLINGS[name]} {words.percent(a)}" for name, a in pooled.items())
            st.caption(f"Accuracy by how the segments of a clip are pooled: {ways}.")
        left, right = pair("test")
        with left:
            confusion_chart(readers.confusion(run), "Confusions", run.run_id, "run_confusion")
        with right:
            chart(plots.per_genre(readers.per_genre(run), readers.styles()), "run_genres")
        with st.container(horizontal=True, gap="medium"):
            probes = {"run": run.run_id, "view": "probes"}
            link_to("errors", "Is it the music or a trick?", ":material/science:", probes)
            again(run)
        show_unsure(run)


def next_after(run: Run, runs: Sequence[Run]) -> None:
    """What one does with a tested run, one of these."""
    query = {"run": run.run_id}
    steps = [Step("errors", "Hear its mistakes", ":material/hearing_disabled:", query)]
    alike = [other for other in runs if other.facts.dataset == run.facts.dataset]
    others = [run_id for run_id in readers.proposed(alike) if run_id != run.run_id]
    if others:
        two = {"runs": f"{run.run_id},{others[0]}"}
        steps.append(Step("compare", "Compare it", ":material/balance:", two))
    else:
        settings = {"from": run.run_id}
        steps.append(Step("train", "Train another to compare", ":material/balance:", settings))
    steps.append(Step("classify", "Classify with it", ":material/graphic_eq:", query))
    next_steps(steps)


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
            show_table(pd.DataFrame(skipped), special={"clip_id": "Clip"})
    left, right = pair("facts")
    with left:
        st.markdown("**Settings**")
        st.caption("Those that differ from the defaults are marked.")
        settings = _flat(run.config.model_dump())
        differing = differences(run.config)
        titles = [setting_title(run.config, name) for name in settings]
        table = pd.DataFrame({"Setting": titles, "Value": settings.values()})
        table["changed"] = [name in differing for name in settings]
        changed = Column("Changed", "flag", width="small")
        show_table(table, special={"changed": changed}, tallest=320)
    with right:
        st.markdown("**Environment**")
        st.caption("The software and hardware it ran on.")
        flat = _flat(run.environment) or {"": "The run has not started yet."}
        show_table(pd.DataFrame({"Name": flat.keys(), "Value": flat.values()}), tallest=320)
    command(train_command(run.config))
    trained = f", trained by {plain(run.trained_by)}" if run.environment else ""
    st.caption(f"Run {plain(run.run_id)}, queued {words.moment(run.created)}{trained}.")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested values as text by dotted name."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, str) else json.dumps(value)
    return flat
