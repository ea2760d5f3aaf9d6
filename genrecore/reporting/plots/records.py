"""Published accuracies of a dataset and split as dots with intervals, and ours among them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from genrecore.evaluation.comparison import distinct
from genrecore.evaluation.published import PublishedResult
from genrecore.evaluation.records import NOT_COMPARABLE, OwnResult, RecordTable
from genrecore.reporting.plots.chart import (
    GREY,
    Chart,
    draw,
    label,
    legend_below_title,
    quiet_line,
    whiskers,
)
from genrecore.reporting.plots.palette import INK, RunStyle
from genrecore.words import percent, plural

_KINDS = {
    "printed": ("Printed", "circle"),
    "reproduced": ("Reproduced", "circle-open"),
    "independent": ("Independent", "diamond"),
}
_WIDEST = 24  # characters of a name in one line


def records(table: RecordTable, styles: Mapping[str, RunStyle]) -> Chart:
    """Every result of a split with its 95 % interval, the best on top: published ones in the colour
    of text, or in grey under random splits; ours in bold, in their own colours, hollow where a
    warning belongs to them or they cannot be compared.

    Args:
        table: From `records.record_tables`.
        styles: Style of each of our systems, by its key.
    """
    results: list[PublishedResult | OwnResult] = [*table.own, *table.published]
    names = [_broken(name) for name in distinct([result.title for result in results])]
    names = [f"<b>{name}</b>" for name in names[: len(table.own)]] + names[len(table.own) :]
    order = sorted(range(len(results)), key=lambda k: -_value(results[k]))
    name_of = {id(result): name for result, name in zip(results, names, strict=True)}
    best = table.record.accuracy
    rows = [names[k] for k in order]
    traces: list[dict[str, Any]] = [_at(best, rows)]
    kinds = [kind for kind in _KINDS if any(kind == result.kind for result in table.published)]
    for kind in kinds:
        members = [result for result in table.published if result.kind == kind]
        traces.append(_published(members, [name_of[id(m)] for m in members], table.is_random))
    traces += [_own(own, name_of[id(own)], styles[own.key]) for own in table.own]
    numbers = _numbers(table).iloc[order].reset_index(drop=True)
    ends = numbers[["Accuracy", "from", "to"]].to_numpy(dtype=float)
    along = {
        "title": "Share of test clips recognised",
        "tickformat": ".0%",
        "range": [
            max(0.0, float(np.nanmin(ends)) - 0.03),
            min(1.02, float(np.nanmax(ends)) + 0.03),
        ],
    }
    upward = {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": rows,
        "range": [len(rows) - 0.4, -0.6],
        "tickfont": {"size": 11},
    }
    n_lines = sum(1 + name.count("<br>") for name in rows)
    top = 50 + 20 * len(kinds)  # the legend's entries stand one below another in narrow windows
    height = 54 + top + 12 * len(rows) + 14 * n_lines
    figure = draw(
        traces, "Accuracies with 95 % intervals", height, along, upward, top,
        legend=legend_below_title(tracegroupgap=0),
    )  # fmt: skip
    texts = "; ".join(
        f"{row['Result']}{' (yours)' if row['Whose'] == 'yours' else ''} {percent(row['Accuracy'])}"
        for row in numbers.to_dict("records")
    )
    alt = f"Accuracies on {table.dataset}, {table.title}, best first: {texts}."
    return Chart(figure, alt, numbers, ("Accuracy", "from", "to", "Spread"), ("Test clips",))


def _broken(name: str) -> str:
    """The name in lines short enough for narrow windows."""
    return "<br>".join(label(line) for line in textwrap.wrap(name, _WIDEST))


def _at(best: float, rows: list[str]) -> dict[str, Any]:
    """A line at the best published accuracy."""
    line = {"color": GREY, "width": 1, "dash": "dot"}
    return quiet_line([best, best], [rows[0], rows[-1]], 1, line=line)


def _value(result: PublishedResult | OwnResult) -> float:
    return result.accuracy if isinstance(result, PublishedResult) else result.accuracy.value


def _published(members: list[PublishedResult], names: list[str], is_random: bool) -> dict[str, Any]:
    """The published results of one kind, as a trace."""
    noun, symbol = _KINDS[members[0].kind]
    colour = GREY if is_random else INK["light"]
    values = [member.accuracy for member in members]
    # Of an accuracy on an unknown number of clips the dot alone.
    lows = [np.nan_to_num(member.interval.low, nan=member.accuracy) for member in members]
    highs = [np.nan_to_num(member.interval.high, nan=member.accuracy) for member in members]
    marker = {"size": 10, "color": colour, "symbol": symbol, "line": {"width": 2, "color": colour}}
    trace: dict[str, Any] = {
        "type": "scatter",
        "x": values,
        "y": names,
        "error_x": whiskers(values, lows, highs, colour, thickness=1.5, width=4),
        "mode": "markers",
        "name": noun,
        "marker": marker,
        "customdata": [_hover(member) for member in members],
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    if not is_random:
        dark = {"color": INK["dark"]}
        in_dark = {"marker": dark | {"line": dark}, "error_x": dark}
        trace["meta"] = {"dark": in_dark}
    return trace


def _hover(member: PublishedResult) -> str:
    spread = f" ± {percent(member.spread)}" if member.spread == member.spread else ""
    clips = plural(member.n_test, "clip") if member.n_test else "an unknown number of clips"
    return (
        f"{label(member.title)}: {percent(member.accuracy)}{spread} of {clips}<br>"
        f"pretrained on: {label(member.pretraining)}<br>{label(member.source)}"
    )


def _own(own: OwnResult, name: str, style: RunStyle) -> dict[str, Any]:
    """A system of ours, as a trace."""
    accuracy = own.accuracy
    is_hollow = own.warnings or own.verdict == NOT_COMPARABLE
    symbol = f"{style.marker}-open" if is_hollow else style.marker
    outline = {"width": 2.5, "color": style.colour}
    warning = "; ".join(own.warnings.values())
    return {
        "type": "scatter",
        "x": [accuracy.value],
        "y": [name],
        "error_x": whiskers([accuracy.value], [accuracy.low], [accuracy.high], style.colour),
        "mode": "markers",
        "marker": {
            "size": 13, "color": style.colour, "symbol": symbol, "line": outline
        },
        "showlegend": False,
        "hovertemplate": f"{label(own.title)}, yours: {percent(accuracy.value)} of "
        f"{plural(own.n_clips, 'clip')}<br>95 % interval {percent(accuracy.low)} to "
        f"{percent(accuracy.high)}<br>{own.verdict}"
        f"{f'<br>{label(warning)}' if warning else ''}<extra></extra>",
    }  # fmt: skip


def _numbers(table: RecordTable) -> pd.DataFrame:
    """The numbers of the chart: ours, then the published ones."""
    rows: list[tuple[Any, ...]] = [
        (own.title, "yours", own.accuracy.value, own.accuracy.low, own.accuracy.high, own.n_clips,
         None)
        for own in table.own
    ]  # fmt: skip
    rows += [
        (result.title, result.kind, result.accuracy, result.interval.low, result.interval.high,
         result.n_test or None, result.spread)
        for result in table.published
    ]  # fmt: skip
    columns = ["Result", "Whose", "Accuracy", "from", "to", "Test clips", "Spread"]
    return pd.DataFrame(rows, columns=columns).astype({"Spread": float})
