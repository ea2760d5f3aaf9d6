"""One run in detail: its head, live while it works, and the views below it."""

from __future__ import annotations

import streamlit as st

from genrecore.store.run import Run
from genrecore.ui.parts import readers
from genrecore.ui.parts.choices import choose_one
from genrecore.ui.parts.frame import link_to, plain
from genrecore.ui.parts.live import (
    TICK_S,
    badge,
    is_live,
    leak_badge,
    live,
    meaning,
    run_progress,
)
from genrecore.ui.parts.results import run_facts, run_result
from genrecore.ui.runs.actions import failure_card, run_actions, stopping
from genrecore.ui.runs.alerts import warnings
from genrecore.ui.runs.curves import run_curves
from genrecore.ui.runs.genres import run_genres
from genrecore.ui.runs.log import run_log
from genrecore.ui.runs.machine import run_machine

_VIEWS = {
    "learning": "Learning",
    "genres": "Genres by epoch",
    "machine": "Machine",
    "log": "Log",
    "setup": "Settings",
}
_LIVE_VIEWS = {
    "learning": run_curves,
    "genres": run_genres,
    "machine": run_machine,
    "log": run_log,
}
_COUNTDOWN_S = 1.0


def run_detail(run: Run) -> None:
    """Everything about one run; what changes is drawn anew while it works."""
    drawn = stage(run)
    at_work = is_live(run)
    live(
        lambda: _head(run.run_id, drawn),
        while_true=at_work,
        tick_s=_COUNTDOWN_S if run.state == "stopping" else TICK_S,
    )
    failure_card(run)
    default = "log" if run.state in ("failed", "lost") and not len(readers.history(run)) else ""
    view = choose_one(
        "What to see", list(_VIEWS), "view", words=_VIEWS.__getitem__, radio=True,
        default=default, hide_label=True,
    )  # fmt: skip
    if view in _LIVE_VIEWS:
        live(lambda: _view(run.run_id, view), while_true=at_work)
    if view == "learning":
        run_result(run)
    if view == "setup":
        run_facts(run)


def stage(run: Run) -> tuple[str, bool]:
    """What decides the parts of a run's page: its state, and whether it has begun."""
    return run.state, bool(run.environment)


def _head(run_id: str, drawn: tuple[str, bool]) -> None:
    """Title, state, what can be done, progress and numbers; at another stage the whole page is
    drawn anew, since its other parts change as well."""
    run = readers.find(run_id)
    if run is None or stage(run) != drawn:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{plain(run.title)}**", width="content")
        badge(run.state)
        leak_badge(run)
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
        how = {"continued": "Continues", "cloned": "Clone of"}.get(
            str(run.origin.get("how", "")), "Made from"
        )
        link_to("runs", f"{how} {parent[-4:]}", ":material/link:", {"run": parent})


def _numbers(run: Run) -> None:
    """Epoch, best score, speed and time as tiles."""
    status = run.status
    best, at, speed = (
        status.get("best_valid_accuracy"),
        status.get("best_epoch"),
        status.get("samples_per_s"),
    )
    left = readers.time_left(run)
    with st.container(key="tiles_run"):
        columns = st.columns(4, gap="small")
    columns[0].metric("Epochs", readers.epochs_in_words(run), border=True, height="stretch")
    columns[1].metric(
        "Best validation",
        "–" if best is None else f"{100 * float(best):.1f} %",
        border=True,
        height="stretch",
        help="Accuracy on the validation clips; the epoch that reaches it is the one tested.",
        delta=f"in epoch {at}" if at else None,
        delta_color="off",
        delta_arrow="off",
    )
    columns[2].metric(
        "Speed",
        "–" if not speed else f"{float(speed):,.0f} /s",
        border=True,
        height="stretch",
        help="Segments trained on in a second.",
    )
    columns[3].metric(
        "Time",
        readers.took(run),
        border=True,
        height="stretch",
        delta=f"about {left} left" if left else None,
        delta_color="off",
        delta_arrow="off",
    )


def _view(run_id: str, view: str) -> None:
    run = readers.find(run_id)
    if run is not None:
        _LIVE_VIEWS[view](run)
