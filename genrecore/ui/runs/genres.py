"""Which genres a run takes for which, in any epoch, while it trains."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import streamlit as st

from genrecore.reporting import plots
from genrecore.reporting.plots import Chart
from genrecore.store import run as runs
from genrecore.store.run import Run
from genrecore.ui.parts import readers
from genrecore.ui.parts.choices import choose, chosen, hold
from genrecore.ui.parts.frame import in_ink, ink, pair, sentences
from genrecore.ui.runs.curves import live_chart, paced
from genrecore.words import percent


def run_genres(run: Run) -> None:
    """Confusions and recall of each genre on the validation clips, by the epoch on the slider."""
    n = readers.n_validated(run)
    if not n:
        st.caption(
            "This run has no validation clips."
            if run.state == "done"
            else "The first epoch is not done yet."
        )
        return
    number = _which(run, n)
    with sentences():
        found = readers.epoch(run, number)
        right = round(found.accuracy * found.n_clips)
        words = f"Epoch {number}: {right} of {found.n_clips} validation clips are recognised"
        st.caption(f"{words} ({percent(found.accuracy)}).")
        key = (str(run.folder), readers.changed(run, "clips.parquet"), number, readers.begun(run))
        left, right_side = pair("epoch")
        with left:
            live_chart(_drawn(*key, ink(), "confusion"), f"epoch_confusion_{run.run_id}")
        with right_side:
            live_chart(_drawn(*key, ink(), "genres"), f"epoch_genres_{run.run_id}")


def _which(run: Run, n: int) -> int:
    """The epoch to show: one of the slider, or the newest as long as nobody moved it."""
    if n == 1:
        return 1
    # As long as it works the slider reaches to the epochs to come: one whose end moved would be
    # another widget each time.
    most = max(n, run.n_epochs) if run.state in runs.LIVE else n
    text = chosen("epoch")
    wanted = min(max(1, int(text)), most) if text.isdecimal() else most
    number = min(wanted, paced(run, "epoch", n))
    key = f"choice_epoch_{most}"
    hold(key, wanted)

    def write() -> None:
        picked = int(st.session_state.get(key) or most)
        choose("epoch", "" if picked >= n else str(picked))

    best = int(run.status.get("best_epoch") or 0)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        with st.container(width=420):
            st.slider(
                "Epoch",
                1,
                most,
                key=key,
                on_change=write,
                help="At the right end it follows the newest epoch.",
            )
        if 1 <= best <= n and st.button(
            f"Best ({best})", key="epoch_best", type="tertiary", disabled=number == best
        ):
            choose("epoch", str(best))
            st.rerun(scope="fragment")
        if text and st.button("Follow the newest", key="epoch_newest", type="tertiary"):
            choose("epoch", "")
            st.rerun(scope="fragment")
    return number


@lru_cache(maxsize=32)
def _drawn(folder: str, changed: int, number: int, begun: float, colour: str, which: str) -> Chart:
    run = Run(Path(folder))
    found = readers.epoch(run, number)
    if which == "confusion":
        drawn = plots.confusion(found.confusion, f"Validation confusions, epoch {number}")
    else:
        drawn = plots.per_genre(found.per_genre, readers.styles())
    in_ink(drawn, colour)
    return drawn
