"""Studies in figures: printed accuracies beside ours, the gap, curves of several systems."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from genrecore.experiments.papers import Ours, ProtocolGap
from genrecore.reporting.plots.chart import (
    GREY,
    Chart,
    label,
    laid_out,
    legend_below_title,
    name_rows,
    whiskers,
)
from genrecore.reporting.plots.palette import BLUE, RUST, RunStyle
from genrecore.words import percent

LOOKS = {
    "printed": ("Printed", RunStyle(GREY, "line-ns", "")),
    "published": ("As published", RunStyle(RUST, "diamond", "/")),
    "honest": ("Honest", RunStyle(BLUE, "circle", "")),
}


def gaps(found: Sequence[ProtocolGap], title: str) -> Chart:
    """Every system as the study prints it, as published and honest, with 95 % intervals.

    Args:
        found: What `papers.gaps` gave; an honest or published side may be missing.
        title: Written above.
    """
    figure = go.Figure()
    names = [label(one.title) for one in found]
    for one, name in zip(found, names, strict=True):
        if one.published.n_runs and one.honest.n_runs:
            figure.add_scatter(
                x=[one.published.value, one.honest.value],
                y=[name, name],
                mode="lines",
                line={"color": GREY, "width": 5},
                opacity=0.35,
                showlegend=False,
                hoverinfo="skip",
            )
    for side, (words, style) in LOOKS.items():
        shown = [one for one in found if _value(one, side) == _value(one, side)]
        if not shown:
            continue
        values = [_value(one, side) for one in shown]
        lows, highs = zip(*(_ends(one, side) for one in shown), strict=True)
        figure.add_scatter(
            x=values,
            y=[label(one.title) for one in shown],
            error_x=whiskers(values, lows, highs, style.colour, width=5)
            if side != "printed"
            else None,
            mode="markers",
            name=words,
            marker={
                "size": 20 if side == "printed" else 11,
                "color": style.colour,
                "symbol": style.marker,
                "line": {"width": 3, "color": style.colour} if side == "printed" else {"width": 0},
            },
            customdata=[_hover(one, side) for one in shown],
            hovertemplate=f"%{{y}}<br>{words}: %{{customdata}}<extra></extra>",
        )
    laid_out(figure, label(title), 130 + 40 * len(found), legend=legend_below_title())
    figure.update_layout(margin_t=86)
    table = gap_table(found)
    drawn = ["Printed", "As published", "from", "to", "Honest", "from ", "to "]
    numbers = table[drawn].to_numpy(dtype=float)
    known = np.isfinite(numbers).any()
    low, high = (np.nanmin(numbers), np.nanmax(numbers)) if known else (0.0, 1.0)
    figure.update_xaxes(
        title="Share of clips recognised",
        tickformat=".0%",
        range=[max(-0.02, float(low) - 0.04), min(1.02, float(high) + 0.04)],
    )
    name_rows(figure, names, range=[len(names) - 0.4, -0.6], tickfont_size=12)
    listed = "; ".join(
        f"{row['System']} printed {percent(row['Printed'])}, as published "
        f"{percent(row['As published'])}, honest {percent(row['Honest'])}"
        for _, row in table.iterrows()
    )
    shares = ("Printed", "As published", "from", "to", "Honest", "from ", "to ", "Gap")
    return Chart(figure, f"{title}. {listed}.", table, shares)


def gap_table(found: Sequence[ProtocolGap]) -> pd.DataFrame:
    """The numbers of `gaps`: shares, and what ours as published is measured on."""
    return pd.DataFrame(
        {
            "System": [one.title for one in found],
            "Printed": [one.printed for one in found],
            "As published": [one.published.value for one in found],
            "from": [one.published.low for one in found],
            "to": [one.published.high for one in found],
            "Measured": [one.published.shows for one in found],
            "Honest": [one.honest.value for one in found],
            "from ": [one.honest.low for one in found],
            "to ": [one.honest.high for one in found],
            "Gap": [one.difference.value for one in found],
            "Seeds": [f"{one.published.n_runs} and {one.honest.n_runs}" for one in found],
        }
    )


def _side(one: ProtocolGap, side: str) -> Ours:
    return one.published if side == "published" else one.honest


def _value(one: ProtocolGap, side: str) -> float:
    return one.printed if side == "printed" else _side(one, side).value


def _ends(one: ProtocolGap, side: str) -> tuple[float, float]:
    if side == "printed":
        return one.printed, one.printed
    return _side(one, side).low, _side(one, side).high


def _hover(one: ProtocolGap, side: str) -> str:
    if side == "printed":
        return percent(one.printed)
    ours = _side(one, side)
    runs = f"{ours.n_runs} run{'s' if ours.n_runs != 1 else ''}"
    return (
        f"{percent(ours.value)}, {ours.shows}<br>95 % interval {percent(ours.low)} to "
        f"{percent(ours.high)}, {runs}"
    )


def spectrum(wave: np.ndarray, sample_rate_hz: int, title: str) -> Chart:
    """The magnitudes of a wave's frequencies, the largest of each of some hundred bands.

    Args:
        wave: (n_samples,) float.
        sample_rate_hz: Of the wave.
        title: Written above.
    """
    magnitude = np.abs(np.fft.rfft(wave)) / max(1, len(wave))
    hz = np.fft.rfftfreq(len(wave), 1 / sample_rate_hz)
    n = max(1, min(400, len(hz)))
    edges = np.linspace(0, len(hz), n + 1).astype(int)[:-1]
    shown = np.maximum.reduceat(magnitude, edges)
    figure = go.Figure(
        go.Scatter(
            x=hz[edges].round(1).tolist(),
            y=shown.tolist(),
            mode="lines",
            line={"color": "#7a6cc0", "width": 1.2},
            hovertemplate="%{x:.0f} Hz: %{y:.2~g}<extra></extra>",
        )
    )
    laid_out(figure, label(title), 230)
    figure.update_xaxes(title="Frequency (Hz)", showgrid=False)
    figure.update_yaxes(title="Magnitude", tickformat="~g", rangemode="tozero")
    loudest = float(hz[edges][int(shown.argmax())]) if len(shown) else 0.0
    return Chart(
        figure,
        f"{title}: magnitudes up to {hz[-1]:.0f} hertz; the largest is near {loudest:.0f} hertz.",
        pd.DataFrame({"Frequency (Hz)": hz[edges].round(1), "Magnitude": shown}),
    )
