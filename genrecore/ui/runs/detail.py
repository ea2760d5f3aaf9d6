"""One run in detail: its head, live while it works, and the views below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set

import streamlit as st

from genrecore import words
from genrecore.evaluation.listing import Listing
from genrecore.store.run import WAITING, Run
from genrecore.ui.parts import readers
from genrecore.ui.parts.choices import choose_one, chosen
from genrecore.ui.parts.frame import link_to, plain, tiles
from genrecore.ui.parts.live import (
    TICK_S,
    epochs_of,
    live,
    run_progress,
    run_title,
    show_meaning,
    time_left,
)
from genrecore.ui.runs.about import about_run, show_about
from genrecore.ui.runs.actions import failure_card, run_actions, stopping
from genrecore.ui.runs.alerts import warnings
from genrecore.ui.runs.charts import run_curves, run_genres
from genrecore.ui.runs.log import job_script, run_log
from genrecore.ui.runs.machine import run_speed, run_use
from genrecore.ui.runs.results import run_facts, run_result, run_score

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


def run_detail(run: Run, listing: Listing) -> None:
    """One run of those listed: first what one comes for (a finished run's result, a live one's
    progress, why it failed), then the chosen view. What changes is drawn anew while it works."""
    first_stage = _stage(run)
    tags = {tag for row in listing.rows for tag in row.tags}

    def head() -> None:
        fresh = readers.find(run.run_id)
        if fresh is None or _stage(fresh) != first_stage:
            st.rerun()  # the other parts of the page change as well
        _show_head(fresh, tags)

    live(
        head,
        while_true=run.is_active,
        tick_s=_COUNTDOWN_TICK_S if run.state == "stopping" else TICK_S,
    )
    failure_card(run)
    is_tested = bool(readers.tested([run]))
    if is_tested:
        run_score(run, listing.runs)
    ended_at_once = run.state in ("failed", "lost") and readers.history(run).empty
    default = "log" if ended_at_once else ""
    view = choose_one("What to see", _VIEWS, "view", radio=True, default=default, hide_label=True)
    chart_tick_s = max(_CHART_TICK_S, int(run.status.get("epoch") or 0) / _EPOCHS_PER_S)
    if view == "learning":
        _live_part(run, run_curves, chart_tick_s)
        _live_part(run, _show_numbers, TICK_S)
        run_result(run)
    elif view == "genres":
        _live_part(run, run_genres, chart_tick_s)
    elif view == "machine":
        _live_part(run, run_use, TICK_S)
        _live_part(run, run_speed, chart_tick_s)
    elif view == "log":
        with st.expander("The log", expanded=not ended_at_once or chosen("view") == "log"):
            _live_part(run, run_log, TICK_S)
        job_script(run)
    else:
        run_facts(run)
    if is_tested:
        _show_actions(run)


def _live_part(run: Run, function: Callable[[Run], None], tick_s: float) -> None:
    """A part of the page that is drawn anew while the run works or waits."""

    def draw() -> None:
        fresh = readers.find(run.run_id)
        if fresh is not None:
            function(fresh)

    live(draw, while_true=run.is_active, tick_s=tick_s)


def _stage(run: Run) -> Sequence[object]:
    """The facts that decide which parts a run's page has: its state, and whether it has begun."""
    return run.state, bool(run.environment)


def _show_head(run: Run, tags: Set[str]) -> None:
    """Title, state and what is written about it, with the tags that there are; progress and actions
    of a run without result."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        run_title(run)
        about_run(run, tags)
        _show_origin(run)
    show_about(run)
    if run.place:
        st.caption(f":material/dns: {plain(run.place)}")
    stopping(run)
    if run.state != "stopping":
        run_progress(run)
    warnings(run)
    if not readers.tested([run]):  # of a tested run they stand below its curves
        _show_actions(run)


def _show_actions(run: Run) -> None:
    if run.state not in ("running", "preparing", "failed", "lost", "stopping"):
        show_meaning(run)
    run_actions(run)


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
    """Epoch, best score, speed and time; nothing of a run that waits for its first start."""
    if run.state in WAITING and not run.environment:
        return
    status = run.status
    epoch, speed = run.tested_epoch, status.get("samples_per_s")
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
