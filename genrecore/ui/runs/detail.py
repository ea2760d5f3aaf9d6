"""One run in detail: its head, live while it works, and the views below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from genrecore import words
from genrecore.store.run import Run
from genrecore.ui.parts import readers
from genrecore.ui.parts.choices import choose_one
from genrecore.ui.parts.frame import link_to, plain
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
    drawn = _stage(run)
    chart_tick_s = max(_CHART_TICK_S, int(run.status.get("epoch") or 0) / _EPOCHS_PER_S)

    def part(function: Callable[[Run], None], tick_s: float) -> None:
        def draw() -> None:
            fresh = readers.find(run.run_id)
            if fresh is not None:
                function(fresh)

        live(draw, while_true=run.is_active, tick_s=tick_s)

    live(
        lambda: _head(run.run_id, drawn),
        while_true=run.is_active,
        tick_s=_COUNTDOWN_TICK_S if run.state == "stopping" else TICK_S,
    )
    failure_card(run)
    view = _choose_view(run)
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


def _choose_view(run: Run) -> str:
    ended_at_once = run.state in ("failed", "lost") and readers.history(run).empty
    return choose_one(
        "What to see",
        list(_VIEWS),
        "view",
        words=_VIEWS.__getitem__,
        radio=True,
        default="log" if ended_at_once else "",
        hide_label=True,
    )


def _stage(run: Run) -> Sequence[object]:
    """What decides which parts a run's page has: its state, and whether it has begun."""
    return run.state, bool(run.environment)


def _head(run_id: str, drawn: Sequence[object]) -> None:
    """Title, state, what can be done, progress and numbers; at another stage the whole page is
    drawn anew, since its other parts change as well."""
    run = readers.find(run_id)
    if run is None or _stage(run) != drawn:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        run_title(run)
        _origin(run)
    run_actions(run)
    stopping(run)
    if run.state != "stopping":
        run_progress(run)
    if run.state not in ("running", "preparing", "failed", "lost", "stopping"):
        st.caption(plain(meaning(run)))
    warnings(run)
    if run.state != "queued":
        _numbers(run)


def _origin(run: Run) -> None:
    """Links to the plan it belongs to and to the run it was made from."""
    if run.plan:
        link_to("plans", "Its plan", ":material/account_tree:", {"plan": run.plan})
    parent = str(run.origin.get("parent", ""))
    if parent:
        hows = {"continued": "Continues", "cloned": "Clone of"}
        how = hows.get(str(run.origin.get("how", "")), "Made from")
        link_to("runs", f"{how} {parent[-4:]}", ":material/link:", {"run": parent})


def _numbers(run: Run) -> None:
    """Epoch, best score, speed and time as tiles."""
    status = run.status
    best, epoch, speed = (
        status.get(name) for name in ("best_valid_accuracy", "best_epoch", "samples_per_s")
    )
    best_help = "Accuracy on the validation clips; the epoch that reaches it is the one tested."
    tiles = [
        ("Epochs", epochs_of(run), None, None),
        ("Best validation", words.percent(best), f"in epoch {epoch}" if epoch else None, best_help),
        (
            "Speed",
            f"{words.thousands(speed)} /s" if speed else words.DASH,
            None,
            "Training segments per second.",
        ),
        ("Time", words.seconds(run.worked_s), time_left(run) or None, None),
    ]
    with st.container(key="tiles_run"):
        columns = st.columns(len(tiles), gap="small")
    for column, (name, value, delta, help_) in zip(columns, tiles, strict=True):
        column.metric(
            name,
            value,
            delta=delta,
            delta_color="off",
            delta_arrow="off",
            border=True,
            height="stretch",
            help=help_,
        )
