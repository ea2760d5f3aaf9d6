"""What to do first, what runs now, and the ways on from the leaderboard."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from genrecore.store.run import Run
from genrecore.ui.parts import readers
from genrecore.ui.parts.frame import go_to, link_to, section
from genrecore.ui.parts.live import run_card
from genrecore.ui.runs.alerts import toasts
from genrecore.words import thousands

_MOST_CARDS = 6
_STEPS = (
    (
        ":material/model_training:",
        "Train",
        "Start with the demo music: it is made on this machine, needs no download, and a small "
        "network learns it in minutes.",
    ),
    (
        ":material/balance:",
        "Compare",
        "Train a second model and see whether the difference between the two is real.",
    ),
    (
        ":material/graphic_eq:",
        "Classify",
        "Upload a clip of your own, hear it, and see which genre a run hears in it.",
    ),
)


def first_steps() -> None:
    """What to do in an empty store."""
    section("What to do first", "Nothing has been trained yet. Start with three steps:")
    columns = st.columns(len(_STEPS), gap="medium")
    for n, (column, (icon, title, text)) in enumerate(zip(columns, _STEPS, strict=True), 1):
        with column.container(border=True, height="stretch", gap="small"):
            st.markdown(f"{icon} **{n} · {title}**")
            st.markdown(text)
    if st.button(
        "Train on the demo music", type="primary", icon=":material/play_arrow:", key="first"
    ):
        go_to("train", {"dataset": "demo"})
    section("Or let one command do it")
    st.caption("It trains two models on the demo music, compares them, and shows them here.")
    st.code("genrecore demo", language="bash")


def running_now(active_before: Sequence[Run]) -> None:
    """A card for each run that works or waits.

    When one begins or ends the whole page is drawn anew, since its other parts change as well.

    Args:
        active_before: The runs that worked or waited when the page was drawn.
    """
    toasts(readers.run_rows())
    active = readers.active_runs()
    if {run.run_id for run in active} != {run.run_id for run in active_before}:
        st.rerun()
    if active:
        section("Running now")
    for run in active[:_MOST_CARDS]:
        run_card(run)
    if len(active) > _MOST_CARDS:
        st.caption(f"… and {thousands(len(active) - _MOST_CARDS)} more, under Runs.")


def leaderboard_links(table: pd.DataFrame) -> None:
    """Ways on from the leaderboard."""
    best = table["run_id"].to_list()
    with st.container(horizontal=True, gap="medium"):
        if len(best) >= 2:
            two = {"runs": ",".join(best[:2])}
            link_to("compare", "Compare the two best", ":material/balance:", two)
        link_to("runs", "Open the best run", ":material/monitoring:", {"run": best[0]})
        link_to("classify", "Classify with it", ":material/graphic_eq:", {"run": best[0]})
