"""Loss, accuracy and learning rate of one run over its epochs, smoothed, scaled and zoomed."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import streamlit as st

from genrecore import comparison, plots, runs
from genrecore.plots import Chart
from genrecore.runs import Run
from genrecore.ui import readers
from genrecore.ui.choices import choose, chosen, hold
from genrecore.ui.frame import in_ink, in_percent, ink, pair, share_column
from genrecore.ui.run_controls import choose_flag, choose_share

_LEAST_ZOOM = 3  # epochs from which on a part of them can be shown


def run_curves(run: Run) -> None:
    """The curves of a run as far as it is; a drag over a chart shows those epochs larger."""
    history = readers.history(run)
    if history.empty:
        st.caption("The first point appears when the first epoch is done.")
        return
    classical = "lr" not in history
    n = int(history["epoch"].max())
    smoothing, logarithmic, epochs = 0.0, False, None
    if not classical:
        most = max(n, run.n_epochs) if run.state in runs.LIVE else n
        smoothing, logarithmic, epochs = _controls(n, most)
    best = int(run.status.get("best_epoch") or 0)
    key = (str(run.folder), readers.changed(run, "history.jsonl"), best, smoothing, epochs, ink())
    left, right = pair("curves")
    for column, measure in ((left, "accuracy"), (right, "loss")):
        with column:
            drawn = _curves(*key, measure, logarithmic and measure == "loss")
            live_chart(drawn, f"{measure}_{run.run_id}", zoom=not classical and n >= _LEAST_ZOOM)
    if classical:
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
    rate = _over_epochs(*key[:2], epochs, ink(), "lr", "Learning rate", "Step size")
    live_chart(rate, f"lr_{run.run_id}")


def _controls(n: int, most: int) -> tuple[float, bool, tuple[int, int] | None]:
    with st.container(horizontal=True, vertical_alignment="center", gap="large", key="run_scale"):
        with st.container(width=230):
            smoothing = choose_share(
                "Smoothing",
                "smooth",
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


@lru_cache(maxsize=32)
def _curves(
    folder: str,
    changed: int,
    best: int,
    smoothing: float,
    epochs: tuple[int, int] | None,
    colour: str,
    measure: str,
    logarithmic: bool,
) -> Chart:
    """The chart of a history as it stood at a time; drawn once for all ticks and visitors."""
    run = Run(Path(folder))
    styles = readers.styles()
    drawn = plots.learning_curves(
        comparison.curves(run),
        measure,
        styles,
        {run.run_id: best},
        smoothing,
        logarithmic,
        epochs,
    )
    drawn.figure.update_layout(dragmode="select", selectdirection="h")
    in_ink(drawn, colour)
    return drawn


@lru_cache(maxsize=32)
def _over_epochs(
    folder: str,
    changed: int,
    epochs: tuple[int, int] | None,
    colour: str,
    columns: str,
    title: str,
    unit: str,
) -> Chart:
    run = Run(Path(folder))
    parts = [part.partition("=") for part in columns.split(";")]
    named = {name: words or title for name, _, words in parts}
    style = readers.styles()[run.run_id]
    drawn = plots.over_epochs(run.history, named, title, unit, style, epochs)
    in_ink(drawn, colour)
    return drawn


def over_epochs(run: Run, columns: str, title: str, unit: str) -> Chart:
    """What was measured in each epoch, from a cache.

    Args:
        run: The run.
        columns: `column=name;column=name` of its history.
        title: Written above.
        unit: Of the vertical axis.
    """
    changed = readers.changed(run, "history.jsonl")
    return _over_epochs(str(run.folder), changed, None, ink(), columns, title, unit)
