"""Loss, accuracy and learning rate of one run over its epochs, smoothed, scaled and zoomed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import streamlit as st

from genrecore.evaluation import comparison
from genrecore.reporting import plots
from genrecore.reporting.plots import Chart
from genrecore.store import run as runs
from genrecore.store.run import Run
from genrecore.ui.parts import readers
from genrecore.ui.parts.choices import choose, choose_flag, choose_number, chosen, hold
from genrecore.ui.parts.frame import in_ink, in_percent, ink, pair, share_column

_LEAST_ZOOM = 3  # epochs from which on a part of them can be shown
Seen = TypeVar("Seen")
_LEAST_APART_S = 6.0  # between two drawings of a run at work
_EPOCHS_A_SECOND = 200  # curves of many epochs are drawn less often


@dataclass(frozen=True)
class Drawn:
    """The charts of a history as it stood at a time; `n` epochs, none of them without `n`."""

    n: int
    classical: bool
    charts: tuple[Chart, ...] = ()


def run_curves(run: Run) -> None:
    """The curves of a run as far as it is; a drag over a chart shows those epochs larger."""
    state = _as_of(run)
    smoothing, logarithmic, epochs = 0.0, False, None
    known = _drawn(str(run.folder), *state, ink(), 0.0, False, None)
    if not known.n:
        st.caption("The first point appears when the first epoch is done.")
        return
    if not known.classical:
        most = max(known.n, run.n_epochs) if run.state in runs.LIVE else known.n
        smoothing, logarithmic, epochs = _controls(known.n, most)
    drawn = _drawn(str(run.folder), *state, ink(), smoothing, logarithmic, epochs)
    zoom = not drawn.classical and drawn.n >= _LEAST_ZOOM
    for column, place, measure in zip(pair("curves"), (0, 1), ("accuracy", "loss"), strict=True):
        with column:
            live_chart(drawn.charts[place], f"{measure}_{run.run_id}", zoom)
    if drawn.classical:
        st.caption(
            "It was fitted at one go, so there is one point each: hollow of the segments it was "
            "fitted to, filled of the whole clips of validation."
        )
        return
    st.caption(
        "Validation is drawn with markers, training dotted; a ring marks the best epoch. Training "
        "is measured on segments while they are learned from, as augmented; validation on whole "
        "clips."
    )
    live_chart(drawn.charts[2], f"lr_{run.run_id}")


def _as_of(run: Run) -> tuple[int, int]:
    """(time of change of the history, best epoch) to draw."""
    now = (readers.changed(run, "history.jsonl"), int(run.status.get("best_epoch") or 0))
    return paced(run, "history", now) if now[0] else now


_shown: dict[tuple[str, str], tuple[float, Any]] = {}


def paced(run: Run, name: str, now: Seen) -> Seen:
    """What is to be drawn of a run: what is true now, but while it works for some seconds the same.
    Streamlit replaces a chart as a whole, which costs and flickers.

    Args:
        run: The run.
        name: Of what is drawn.
        now: What decides how it looks, as it is now.
    """
    if run.state not in runs.LIVE:
        return now
    place, clock = (str(run.folder), name), time.monotonic()
    drawn_at, shown = _shown.get(place, (0.0, None))
    apart_s = max(_LEAST_APART_S, int(run.status.get("epoch") or 0) / _EPOCHS_A_SECOND)
    if shown is not None and clock - drawn_at < apart_s:
        return cast(Seen, shown)
    if shown != now:
        if len(_shown) > 256:
            _shown.clear()
        _shown[place] = (clock, now)
    return now


def _controls(n: int, most: int) -> tuple[float, bool, tuple[int, int] | None]:
    with st.container(horizontal=True, vertical_alignment="center", gap="large", key="run_scale"):
        with st.container(width=230):
            smoothing = choose_number(
                "Smoothing",
                "smooth",
                0.0,
                0.95,
                0.05,
                help="An exponential moving average: so much of each point is what came before. "
                "What was measured stays to be seen, faintly.",
            )
        logarithmic = choose_flag("Logarithmic loss", "log_loss")
        epochs = _zoom(n, most)
    return smoothing, logarithmic, epochs


def _zoom(n: int, most: int) -> tuple[int, int] | None:
    """The epochs that are shown larger, from the URL; an open range moves along.

    Args:
        n: Epochs done.
        most: Epochs that there will be: a slider whose end moved would be another one each time.
    """
    if n < _LEAST_ZOOM:
        return None
    first, _, last = chosen("epochs").partition("-")
    low = min(int(first), most - 1) if first.isdecimal() and int(first) else 1
    high = min(int(last), most) if last.isdecimal() else most
    low, high = (low, high) if low < high else (1, most)
    key = f"choice_epochs_{most}"
    hold(key, (low, high))

    def write() -> None:
        picked: Any = st.session_state.get(key) or (1, most)
        _show(int(picked[0]), int(picked[1]), most)

    with st.container(width=300):
        st.slider(
            "Epochs shown",
            1,
            most,
            key=key,
            on_change=write,
            help="Or drag over a chart. What is shown stays as new epochs come.",
        )
    shown = (low, min(high, n))
    return None if shown == (1, n) or low >= n else shown


def _show(low: int, high: int, most: int) -> None:
    """Writes what is shown into the URL; without an end it reaches to the newest epoch."""
    if low <= 1 and high >= most:
        choose("epochs", "")
    else:
        choose("epochs", f"{low}-" if high >= most else f"{low}-{high}")


def live_chart(drawn: Chart, key: str, zoom: bool = False) -> None:
    """A chart that is drawn at every tick: it must come from a cache, and its numbers are sent only
    while they are open.

    Args:
        drawn: In its ink already.
        key: Of the widget.
        zoom: Whether a drag over it chooses the epochs shown.
    """
    config = {"displaylogo": False, "modeBarButtons": [["toImage"]], "responsive": True}

    def pick() -> None:
        boxes = st.session_state[key]["selection"].get("box") or []
        if boxes:
            low, high = sorted(boxes[0]["x"])
            n = int(drawn.table.iloc[:, 0].max())
            low, high = max(1, round(low)), min(n, round(high))
            if low < high:
                _show(low, high, n)

    with st.container(gap=None):
        if zoom:
            st.plotly_chart(
                drawn.figure,
                key=key,
                alt=drawn.alt,
                config=config,
                on_select=pick,
                selection_mode="box",
            )
        else:
            st.plotly_chart(drawn.figure, key=key, alt=drawn.alt, config=config)
        numbers = st.popover(
            "Numbers",
            type="tertiary",
            icon=":material/table:",
            key=f"{key}_numbers",
            on_change="rerun",
        )
        if numbers.open:
            with numbers:
                st.dataframe(
                    in_percent(drawn.table, drawn.shares),
                    hide_index=True,
                    placeholder="–",
                    column_config={name: share_column() for name in drawn.shares},
                    key=f"{key}_table",
                )


@lru_cache(maxsize=16)
def _drawn(
    folder: str,
    changed: int,
    best: int,
    colour: str,
    smoothing: float,
    logarithmic: bool,
    epochs: tuple[int, int] | None,
) -> Drawn:
    """The charts of a history as it stood at a time; drawn once for all ticks and visitors."""
    run = Run(Path(folder))
    history = run.history
    if history.empty:
        return Drawn(0, False)
    classical = "lr" not in history
    styles = readers.styles()
    curves = comparison.curves(run)
    charts = [
        plots.learning_curves(
            curves,
            measure,
            styles,
            {run.run_id: best},
            smoothing,
            logarithmic and measure == "loss",
            epochs,
        )
        for measure in ("accuracy", "loss")
    ]
    for drawn in charts:
        drawn.figure.layout.dragmode = "select"
        drawn.figure.layout.selectdirection = "h"
    if not classical:
        style = styles[run.run_id]
        named = {"lr": "Learning rate"}
        charts.append(
            plots.over_epochs(history, named, "Learning rate", "Step size", style, epochs)
        )
    for drawn in charts:
        in_ink(drawn, colour)
    return Drawn(int(history["epoch"].max()), classical, tuple(charts))


def over_epochs(run: Run, columns: str, title: str, unit: str) -> Chart:
    """What was measured in each epoch, from a cache.

    Args:
        run: The run.
        columns: `column=name;column=name` of its history.
        title: Written above.
        unit: Of the vertical axis.
    """
    return _over_epochs(str(run.folder), _as_of(run)[0], ink(), columns, title, unit)


@lru_cache(maxsize=16)
def _over_epochs(
    folder: str, changed: int, colour: str, columns: str, title: str, unit: str
) -> Chart:
    run = Run(Path(folder))
    parts = [part.partition("=") for part in columns.split(";")]
    named = {name: words or title for name, _, words in parts}
    style = readers.styles()[run.run_id]
    drawn = plots.over_epochs(run.history, named, title, unit, style)
    in_ink(drawn, colour)
    return drawn
