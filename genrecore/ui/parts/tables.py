"""Tables of results: one catalogue says how each column is called and written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import streamlit as st

from genrecore import words
from genrecore.ui.parts.choices import choose

Kind = Literal["text", "share", "score", "p", "count", "duration", "moment", "link", "flag"]


@dataclass(frozen=True)
class Column:
    """How a column is shown.

    Attributes:
        title: Its head.
        kind: What it holds: a share is 0 … 1 and shown in per cent, a duration is in seconds.
        help: What the head explains.
        width: In pixels, or a size's name.
        format: In place of the kind's own format of numbers or times.
        pinned: Whether it stays in sight when a wide table scrolls.
    """

    title: str
    kind: Kind = "text"
    help: str | None = None
    width: Any = None
    format: str | None = None
    pinned: bool = False


COLUMNS: Mapping[str, Column] = {
    "title": Column("Run"),
    "run": Column("Run", "link"),
    "state": Column("State", width=104),
    "badge": Column("Warning", width=230),
    "model": Column("Model"),
    "dataset": Column("Dataset"),
    "split": Column("Split"),
    "fold": Column("Fold"),
    "accuracy": Column("Accuracy", "share"),
    "interval": Column("95 % interval"),
    "macro_f1": Column("Macro F1", "score"),
    "n_clips": Column("Test clips", "count"),
    "n_parameters": Column("Parameters", "count", format="compact"),
    "epochs": Column("Epoch", width=96),
    "best": Column("Best", "share", "Best accuracy on the validation clips so far."),
    "best_epoch": Column("Best epoch", "count"),
    "left_s": Column("Time left", "duration", width=96),
    "created": Column("Queued", "moment"),
    "took": Column("Training time"),
    "note": Column("Note"),
    "reason": Column("Reason"),
    "n_multiply_adds": Column(
        "Multiply–adds", "count", "Of a clip of 30 s, in the network alone.", format="compact"
    ),
    "latency_ms": Column("Latency (ms)", "score", "Of a clip of 30 s.", format="%.1f"),
    "train_s": Column("Training (s)", "count"),
    # Clips.
    "clip_id": Column("Clip"),
    "genre": Column("Genre"),
    "artist": Column("Artist"),
    "album": Column("Album"),
    "duration_s": Column("Length", "score", format="%.1f s"),
    "predicted": Column("Predicted"),
    "certainty": Column("Certainty", "share"),
    "label_proba": Column("For the label", "share"),
    "distance": Column("Distance", "score"),
    # Two systems on the same clips.
    "title_a": Column("A"),
    "title_b": Column("B"),
    "both": Column("Both right", "count"),
    "neither": Column("Both wrong", "count"),
    "only_a": Column("Only A right", "count"),
    "only_b": Column("Only B right", "count"),
    "difference": Column("A − B", "share"),
    "low": Column("from", "share"),
    "high": Column("to", "share"),
    "p": Column("p", "p"),
    "p_exact": Column("p, exact test", "p"),
    "p_holm": Column("p, corrected for all pairs", "p"),
    "verdict": Column("Verdict"),
    "resolved": Column("Resolves", "share"),
}
_NUMBERS: Mapping[str, str] = {"share": "%.1f %%", "score": "%.3f", "p": "%.4f", "count": "%,d"}
_TALLEST = 460  # pixels; longer tables scroll
_ROW, _HEAD = 35, 38


def show_table(
    rows: pd.DataFrame,
    columns: Sequence[str] = (),
    special: Mapping[str, Column | str] | None = None,
    tallest: int = _TALLEST,
    catalogue: Mapping[str, Column] = COLUMNS,
    **settings: Any,
) -> None:
    """Shows a table with the catalogue's titles and formats.

    Args:
        rows: A column that the catalogue lacks is shown as it is, under its own name.
        columns: Those to show, in this order; by default all. The others stay in the data.
        special: Columns, or only titles, that count before the catalogue's.
        tallest: In pixels; a longer table scrolls.
        catalogue: How the other columns are shown.
        **settings: What else `st.dataframe` takes.
    """
    special = special or {}
    known = {}
    for name in map(str, rows.columns):
        column = special.get(name, catalogue.get(name, name))
        known[name] = Column(column) if isinstance(column, str) else column
    shares = [name for name, column in known.items() if column.kind == "share"]
    st.dataframe(
        rows.assign(**{name: 100 * rows[name].astype(float) for name in shares}),
        hide_index=True,
        placeholder="–",
        height=min(_HEAD + _ROW * max(1, len(rows)), tallest),
        column_order=list(columns) or None,
        column_config={name: _config(column) for name, column in known.items()},
        **settings,
    )


def table_to_open(
    rows: pd.DataFrame,
    ids: Sequence[str],
    picked: str,
    name: str,
    columns: Sequence[str] = (),
    special: Mapping[str, Column | str] | None = None,
) -> None:
    """A table in which a click on a row opens what it stands for, by the URL.

    Args:
        rows: As for `show_table`.
        ids: What each row stands for.
        picked: The one that is open.
        name: In the URL.
        columns: As for `show_table`.
        special: As for `show_table`.
    """
    key = f"rows_{name}_{len(ids)}_{picked}"  # another table needs another widget

    def pick() -> None:
        selected = st.session_state[key]["selection"]["rows"]
        if selected:
            choose(name, ids[selected[0]])

    opened = [ids.index(picked)] if picked in ids else []
    show_table(
        rows,
        columns,
        special,
        key=key,
        on_select=pick,
        selection_mode="single-row",
        selection_default={"selection": {"rows": opened}},
    )


def leaderboard_table(table: pd.DataFrame) -> None:
    """The leaderboard with everything worth knowing about a run."""
    rows = table.assign(
        interval=interval(table["accuracy_low"], table["accuracy_high"]),
        took=[words.seconds(seconds) for seconds in table["train_s"]],
    )
    columns = ["title", "accuracy", "interval", "macro_f1", "n_clips", "split", "best_epoch",
               "took", "n_parameters"]  # fmt: skip
    show_table(rows, [*columns, *(["badge"] if table["badge"].any() else [])])


def pair_numbers(pairs: pd.DataFrame) -> None:
    """The numbers behind the verdicts on pairs, one click away."""
    unsaid = ["run_a", "run_b", "sentence", "better", "error", "seeds"]
    with st.popover("Numbers", type="tertiary", icon=":material/table:", key="pairs_numbers"):
        show_table(pairs.drop(columns=unsaid), special={"n_clips": Column("Shared clips", "count")})


def interval(low: Iterable[float], high: Iterable[float]) -> list[str]:
    """Intervals of shares as text: `70.1 % to 81.3 %`."""
    return [f"{words.percent(a)} to {words.percent(b)}" for a, b in zip(low, high, strict=True)]


def _config(column: Column) -> Any:
    about: dict[str, Any] = {"label": column.title, "help": column.help, "width": column.width}
    about["pinned"] = column.pinned or None
    kinds = st.column_config
    if column.kind in _NUMBERS:
        return kinds.NumberColumn(**about, format=column.format or _NUMBERS[column.kind])
    if column.kind == "duration":
        return kinds.NumberColumn(**about, format="duration")
    if column.kind == "moment":
        return kinds.DatetimeColumn(**about, format=column.format or "D MMM, HH:mm")
    if column.kind == "link":
        return kinds.LinkColumn(**about, display_text="Open")
    if column.kind == "flag":
        return kinds.CheckboxColumn(**about)
    return kinds.TextColumn(**about)
