"""What to do first, what runs now, and the ways on from the leaderboard."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from genrecore.evaluation.listing import Listing
from genrecore.store.run import Run
from genrecore.ui.overview.song import drop_song
from genrecore.ui.parts import readers
from genrecore.ui.parts.choices import choose_page
from genrecore.ui.parts.frame import link_to, section
from genrecore.ui.parts.live import IDLE_S, live, run_card
from genrecore.ui.runs.alerts import toasts
from genrecore.words import thousands

_MOST_CARDS = 6
_PAGE_RUNS = 30  # of the leaderboard
_STEPS = (
    (
        ":material/library_music:",
        "Your own music",
        "Bring a folder of genre folders, GTZAN or FMA, and see what the data allow.",
        ("datasets", "Open Datasets"),
    ),
    (
        ":material/model_training:",
        "Another model",
        "Choose among the models and features, and train with your own settings.",
        ("train", "Open Train"),
    ),
    (
        ":material/menu_book:",
        "A published study",
        "Five papers as recipes: what they print, and what you get.",
        ("papers", "Open Papers"),
    ),
)


def first_steps() -> None:
    """What to do in an empty store: drop a song, or train a first run."""
    drop_song([], [])
    section("Or begin with")
    columns = st.columns(len(_STEPS), gap="medium")
    for column, (icon, title, text, (page, label)) in zip(columns, _STEPS, strict=True):
        with column.container(border=True, height="stretch", gap="small"):
            st.markdown(f"{icon} **{title}**")
            st.markdown(text)
            link_to(page, label)
    st.caption("One command trains two models on the demo music, compares them, shows them here.")
    st.code("genrecore demo", language="bash")


def live_runs(listing: Listing) -> None:
    """`running_now`, looked at again and again."""
    first, active = [listing], {run.run_id for run in listing.active}
    live(
        lambda: running_now(first.pop() if first else readers.look(), active), bool(active), IDLE_S
    )


def running_now(listing: Listing, active_before: set[str]) -> None:
    """A card for each run that works or waits.

    When one begins or ends the whole page is drawn anew, since its other parts change as well.

    Args:
        listing: All runs of the store.
        active_before: Those that worked or waited when the page was drawn.
    """
    toasts(listing.rows)
    active = listing.active
    if {run.run_id for run in active} != active_before:
        st.rerun()
    if active:
        section("Running now")
    for run in active[:_MOST_CARDS]:
        run_card(run)
    if len(active) > _MOST_CARDS:
        st.caption(f"… and {thousands(len(active) - _MOST_CARDS)} more, under Runs.")


def on_page(runs: Sequence[Run]) -> Sequence[Run]:
    """Those of the ranked runs that the URL names, with what leads to the others; all of a few."""
    n = len(runs)
    page = choose_page(-(-n // _PAGE_RUNS), "page")
    first, last = (page - 1) * _PAGE_RUNS, min(n, page * _PAGE_RUNS)
    if n > _PAGE_RUNS:
        shown = f"{thousands(first + 1)} to {thousands(last)} of {thousands(n)}"
        st.caption(f"Chart and table show the runs {shown}, the most accurate first.")
    return runs[first:last]


def leaderboard_links(runs: Sequence[Run]) -> None:
    """Ways on from the leaderboard, with the best run first."""
    best = [run.run_id for run in runs[:2]]
    with st.container(horizontal=True, gap="medium"):
        if len(best) >= 2:
            two = {"runs": ",".join(best[:2])}
            link_to("compare", "Compare the two best", ":material/balance:", two)
        link_to("runs", "Open the best run", ":material/monitoring:", {"run": best[0]})
        link_to("classify", "Classify with it", ":material/graphic_eq:", {"run": best[0]})
