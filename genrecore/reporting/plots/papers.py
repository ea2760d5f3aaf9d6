"""Printed accuracies of studies beside ours, and spectra of waves."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import Any

import numpy as np
import pandas as pd

from genrecore.experiments.papers import Ours, ProtocolGap
from genrecore.reporting.plots.chart import (
    GREY,
    Chart,
    draw,
    label,
    legend_below_title,
    names_axis,
    quiet_line,
    whiskers,
)
from genrecore.reporting.plots.palette import BLUE, RUST, RunStyle
from genrecore.words import percent, plural

LOOKS = {
    "printed": ("Printed", RunStyle(GREY, "line-ns", "")),
    "published": ("As published", RunStyle(RUST, "diamond", "/")),
    "honest": ("Honest", RunStyle(BLUE, "circle", "")),
}


def gaps(systems: Sequence[ProtocolGap], title: str) -> Chart:
    """Every system as the study prints it, as published and honest, with 95 % intervals.

    Args:
        systems: From `papers.gaps`; an honest or published side may be missing.
        title: Heading of the chart.
    """
    names = [label(gap.title) for gap in systems]
    traces: list[dict[str, Any]] = []
    for gap, name in zip(systems, names, strict=True):
        if gap.published.n_runs and gap.honest.n_runs:
            ends = [gap.published.value, gap.honest.value]
            traces.append(quiet_line(ends, [name, name], 5, opacity=0.35))
    for side, (noun, style) in LOOKS.items():
        measured = [gap for gap in systems if not isnan(_value(gap, side))]
        if not measured:
            continue
        is_printed = side == "printed"
        values = [_value(gap, side) for gap in measured]
        lows, highs = zip(*(_ends(gap, side) for gap in measured), strict=True)
        intervals = whiskers(values, lows, highs, style.colour, width=5)
        traces.append(
            {
                "type": "scatter",
                "x": values,
                "y": [label(gap.title) for gap in measured],
                "error_x": None if is_printed else intervals,
                "mode": "markers",
                "name": noun,
                "marker": {
                    "size": 20 if is_printed else 11,
                    "color": style.colour,
                    "symbol": style.marker,
                    "line": {"width": 3, "color": style.colour} if is_printed else {"width": 0},
                },
                "customdata": [_hover(gap, side) for gap in measured],
                "hovertemplate": f"%{{y}}<br>{noun}: %{{customdata}}<extra></extra>",
            }
        )
    table = _gap_table(systems)
    columns = ["Printed", "As published", "from", "to", "Honest", "from ", "to "]
    numbers = table[columns].to_numpy(dtype=float)
    is_empty = np.isnan(numbers).all()
    low, high = (0.0, 1.0) if is_empty else (np.nanmin(numbers), np.nanmax(numbers))
    ends = [max(-0.02, float(low) - 0.04), min(1.02, float(high) + 0.04)]
    along = {"title": "Share of clips recognised", "tickformat": ".0%", "range": ends}
    rows = names_axis(names, range=[len(names) - 0.4, -0.6], tickfont={"size": 12})
    height, legend = 160 + 40 * len(systems), legend_below_title()
    figure = draw(traces, label(title), height, along, rows, 116, legend=legend)
    listed = "; ".join(
        f"{row['System']} printed {percent(row['Printed'])}, as published "
        f"{percent(row['As published'])}, honest {percent(row['Honest'])}"
        for _, row in table.iterrows()
    )
    shares = ("Printed", "As published", "from", "to", "Honest", "from ", "to ", "Gap")
    return Chart(figure, f"{title}. {listed}.", table, shares)


def _gap_table(systems: Sequence[ProtocolGap]) -> pd.DataFrame:
    """The numbers of `gaps`; `Measured` says on what ours, as published, was measured."""
    rows = [
        {
            "System": gap.title,
            "Printed": gap.printed,
            "As published": gap.published.value,
            "from": gap.published.low,
            "to": gap.published.high,
            "Measured": gap.published.shows,
            "Honest": gap.honest.value,
            "from ": gap.honest.low,
            "to ": gap.honest.high,
            "Gap": gap.difference.value,
            "Seeds": f"{gap.published.n_runs} and {gap.honest.n_runs}",
        }
        for gap in systems
    ]
    columns = ["System", "Printed", "As published", "from", "to", "Measured", "Honest", "from ",
               "to ", "Gap", "Seeds"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _side(gap: ProtocolGap, side: str) -> Ours:
    return gap.published if side == "published" else gap.honest


def _value(gap: ProtocolGap, side: str) -> float:
    return gap.printed if side == "printed" else _side(gap, side).value


def _ends(gap: ProtocolGap, side: str) -> tuple[float, float]:
    if side == "printed":
        return gap.printed, gap.printed
    return _side(gap, side).low, _side(gap, side).high


def _hover(gap: ProtocolGap, side: str) -> str:
    if side == "printed":
        return percent(gap.printed)
    ours = _side(gap, side)
    return (
        f"{percent(ours.value)}, {ours.shows}<br>95 % interval {percent(ours.low)} to "
        f"{percent(ours.high)}, {plural(ours.n_runs, 'run')}"
    )


def spectrum(wave: np.ndarray, sample_rate_hz: int, title: str) -> Chart:
    """Magnitudes over frequency, the largest in each of up to 400 bands.

    Args:
        wave: (n_samples,) float.
        sample_rate_hz: Sample rate of the wave.
        title: Heading of the chart.
    """
    magnitude = np.abs(np.fft.rfft(wave)) / max(1, len(wave))
    hz = np.fft.rfftfreq(len(wave), 1 / sample_rate_hz)
    n = max(1, min(400, len(hz)))
    edges = np.linspace(0, len(hz), n + 1).astype(int)[:-1]
    largest = np.maximum.reduceat(magnitude, edges)
    line = {
        "x": hz[edges].round(1).tolist(),
        "y": largest.tolist(),
        "mode": "lines",
        "line": {"color": "#7a6cc0", "width": 1.2},
        "hovertemplate": "%{x:.0f} Hz: %{y:.2~g}<extra></extra>",
    }
    along = {"title": "Frequency (Hz)", "showgrid": False}
    upward = {"title": "Magnitude", "tickformat": "~g", "rangemode": "tozero"}
    figure = draw([line], label(title), 230, along, upward)
    loudest_hz = float(hz[edges][int(largest.argmax())]) if len(largest) else 0.0
    alt = f"{title}: magnitudes up to {hz[-1]:.0f} hertz; the largest is near "
    table = pd.DataFrame({"Frequency (Hz)": hz[edges].round(1), "Magnitude": largest})
    return Chart(figure, f"{alt}{loudest_hz:.0f} hertz.", table)
