"""One run in detail: its head, live while it works, and the views below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from genrecore import words
from genrecore.store.run import Run
from genrecore.ui.parts import readers
from genrecore.ui.parts.choices import choose_one
from genrecore.ui.parts.frame import link_to, plain, tiles
from genrecore.ui.parts.live import (
    TICK_S,
    epochs_of,
    live,
    meaning,
    run_progress,
    run_title,
    time_left,
)
from genrecore.ui.runs.actions import failure_card, run_actions, stopping
from genrecore.ui.runs.alerts import warnings
from genrecore.ui.runs.charts import run_curves, run_genres
from genrecore.ui.runs.log import run_log
from genrecore.ui.runs.machine import run_speed, run_use
from genrecore.ui.runs.results import run_facts, run_result

_VIEWS = {
    "learning": "Learning",
    "genres": "Genres by epoch",
    "machine": "Machine",
    "log": "Log",
    "setup": "Settings",
}
# Streamlit replaces a chart as a whole, which costs time and flickers: charts wait longer.
_CHART_TICK_S = 6.0
_EPOCHS_PER_S = 200  # the charts of many epochs wait longer still
_COUNTDOWN_TICK_S = 1.0


def run_detail(run: Run) -> None:
    """Everything about one run; what changes is drawn anew while it works."""
    first_stage = _stage(run)
    chart_tick_s = max(_CHART_TICK_S, int(run.status.get("epoch") or 0) / _EPOCHS_PER_S)

    def part(function: Callable[[Run], None], tick_s: float) -> None:
        def draw() -> None:
            fresh = readers.find(run.run_id)
            if fresh is not None:
                function(fresh)

        live(draw, while_true=run.is_active, tick_s=tick_s)

    def head() -> None:
        fresh = readers.find(run.run_id)
        if fresh is None or _stage(fresh) != first_stage:
            st.rerun()  # the other parts of the page change as well
        _show_head(fresh)

    live(
        head,
        while_true=run.is_active,
        tick_s=_COUNTDOWN_TICK_S if run.state == "stopping" else TICK_S,
    )
    failure_card(run)
    ended_at_once = run.state in ("failed", "lost") and readers.history(run).empty
    default = "log" if ended_at_once else ""
    view = choose_one("What to see", _VIEWS, "view", radio=True, default=default, hide_label=True)
    if view == "learning":
        part(run_curves, chart_tick_s)
        run_result(run)
    elif view == "genres":
        part(run_genres, chart_tick_s)
    elif view == "machine":
        part(run_use, TICK_S)
        part(run_speed, chart_tick_s)
    elif view == "log":
        part(run_log, TICK_S)
    else:
        run_facts(run)


def _stage(run: Run) -> Sequence[object]:
    """The facts that decide which parts a run's page has: its state, and whether it has begun."""
    return run.state, bool(run.environment)


def _show_head(run: Run) -> None:
    """Title, state, actions, progress and numbers."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        run_title(run)
        _show_origin(run)
    run_actions(run)
    stopping(run)
    if run.state != "stopping":
        run_progress(run)
    if run.state not in ("running", "preparing", "failed", "lost", "stopping"):
        st.caption(plain(meaning(run)))
    warnings(run)
    if run.state != "queued":
        _show_numbers(run)


def _show_origin(run: Run) -> None:
    """Links to the plan it belongs to and to the run it was made from."""
    if run.plan:
        link_to("plans", "Its plan", ":material/account_tree:", {"plan": run.plan})
    parent = str(run.origin.get("parent", ""))
    if parent:
        hows = {"continued": "Continues", "cloned": "Clone of"}
        how = hows.get(str(run.origin.get("how", "")), "Made from")
        link_to("runs", f"{how} {parent[-4:]}", ":material/link:", {"run": parent})


def _show_numbers(run: Run) -> None:
    """Epoch, best score, speed and time."""
    status = run.status
    epoch, speed = status.get("best_epoch"), status.get("samples_per_s")
    tiles(
        [
            ("Epochs", epochs_of(run), "", ""),
            (
                "Best validation",
                words.percent(status.get("best_valid_accuracy")),
                f"in epoch {epoch}" if epoch else "",
                "Accuracy on the validation clips; the epoch that reaches it is the one tested.",
            ),
            (
                "Speed",
                f"{words.thousands(speed)} /s" if speed else words.DASH,
                "",
                "Training segments per second.",
            ),
            ("Time", words.seconds(run.worked_s), time_left(run), ""),
        ],
        "run",
    )
