"""The mel scale in figures: bands below a frequency, and which of them a tone meets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from genrecore.reporting.plots.chart import GREY, Chart, label, laid_out, legend_below_title

# Colour and dash say the same twice.
_LOOKS = (("#606ccc", "solid"), ("#ec7350", "dash"), (GREY, "dot"))
_TONE = "#00a86c"
_ANSWERING = ("#606ccc", "#ec7350")
_EACH_SIDE = 9  # bands drawn left and right of a tone


def bands_below(
    hz: np.ndarray, below: Mapping[str, np.ndarray], tone_hz: float, n_mels: int
) -> Chart:
    """How many of the bands lie below each frequency, a line a scale, and where a tone falls.

    Args:
        hz: (n,) rising.
        below: A scale's name → numbers of bands (n,), three at most.
        tone_hz: Marked by a line.
        n_mels: How many bands there are.
    """
    figure = go.Figure()
    for (name, values), (colour, dash) in zip(below.items(), _LOOKS, strict=False):
        figure.add_scatter(
            x=np.round(hz, 1).tolist(),
            y=np.round(values, 2).tolist(),
            name=label(name),
            mode="lines",
            line={"color": colour, "dash": dash, "width": 2.2 if dash != "dot" else 1.4},
            hovertemplate=f"{label(name)}: %{{y:.1f}} bands below %{{x:.0f}} Hz<extra></extra>",
        )
    _tone(figure, tone_hz, 1.03 * n_mels)
    for name, values in list(below.items())[:2]:
        at = float(np.interp(tone_hz, hz, values))
        figure.add_scatter(
            x=[tone_hz],
            y=[round(at, 2)],
            mode="markers",
            marker={"color": _TONE, "size": 8},
            showlegend=False,
            hovertemplate=f"The tone, {label(name)}: %{{y:.1f}}<extra></extra>",
        )
    laid_out(figure, "Bands below a frequency", 340, legend=legend_below_title())
    figure.update_layout(margin_t=76)
    figure.update_xaxes(title="Frequency (Hz)", range=[0, float(hz[-1])], tickformat="~s")
    figure.update_yaxes(title=f"Bands, of {n_mels}", range=[0, 1.03 * n_mels])
    table = pd.DataFrame(
        {"Frequency (Hz)": hz.round(1)} | {name: v.round(2) for name, v in below.items()}
    )
    said = ", ".join(
        f"{np.interp(tone_hz, hz, values):.1f} on the scale {name}"
        for name, values in list(below.items())[:2]
    )
    alt = f"Lines that rise fast at low and slowly at high frequencies. Below {tone_hz:.0f} hertz "
    return Chart(figure, f"{alt}lie of {n_mels} bands {said}.", table)


def filter_bank(edges_hz: np.ndarray, answering: Sequence[int], tone_hz: float) -> Chart:
    """The mel bands around a tone as triangles, those that answer it filled.

    Args:
        edges_hz: (n_mels + 2,); band k reaches from edge k to edge k + 2.
        answering: Bands, counted from 0.
        tone_hz: Marked by a line.
    """
    n_mels = len(edges_hz) - 2
    nearest = int(np.abs(edges_hz[1:-1] - tone_hz).argmin())
    shown = range(max(0, nearest - _EACH_SIDE), min(n_mels, nearest + _EACH_SIDE + 1))
    figure = go.Figure()
    quiet = [band for band in shown if band not in answering]
    figure.add_scatter(
        x=[hz for k in quiet for hz in (*edges_hz[k : k + 3].round(2).tolist(), None)],
        y=[0, 1, 0, None] * len(quiet),
        mode="lines",
        line={"color": GREY, "width": 1},
        name="other bands",
        hoverinfo="skip",
    )
    shares = {}
    for place, band in enumerate(answering):
        low, middle, high = edges_hz[band : band + 3]
        rising, falling = (tone_hz - low) / (middle - low), (high - tone_hz) / (high - middle)
        shares[band] = float(min(rising, falling))
        colour = _ANSWERING[place % len(_ANSWERING)]
        figure.add_scatter(
            x=[low, middle, high],
            y=[0, 1, 0],
            mode="lines",
            fill="tozeroy",
            line={"color": colour, "width": 2},
            name=f"band {band + 1}",
            hovertemplate=f"Band {band + 1}: {low:.0f} to {high:.0f} Hz<extra></extra>",
        )
    _tone(figure, tone_hz, 1.05)
    laid_out(figure, "Bands around the tone", 340, legend=legend_below_title())
    figure.update_layout(margin_t=76)
    figure.update_xaxes(
        title="Frequency (Hz)", range=[edges_hz[shown[0]], edges_hz[shown[-1] + 2]], showgrid=False
    )
    figure.update_yaxes(title="Share of the tone", range=[0, 1.05], tickformat=".0%")
    table = pd.DataFrame(
        {
            "Band": [band + 1 for band in shown],
            "From (Hz)": [round(float(edges_hz[band]), 1) for band in shown],
            "Middle (Hz)": [round(float(edges_hz[band + 1]), 1) for band in shown],
            "To (Hz)": [round(float(edges_hz[band + 2]), 1) for band in shown],
            "Share of the tone": [shares.get(band, 0.0) for band in shown],
        }
    )
    listed = ", ".join(f"band {band + 1} with {share:.0%}" for band, share in shares.items())
    alt = f"Overlapping triangles, a mel band each, around {tone_hz:.0f} hertz; the tone meets "
    return Chart(figure, f"{alt}{listed or 'none'}.", table, ("Share of the tone",))


def _tone(figure: go.Figure, tone_hz: float, top: float) -> None:
    """Where the tone lies, as a line from the bottom to the top."""
    figure.add_scatter(
        x=[tone_hz, tone_hz],
        y=[0, top],
        mode="lines",
        line={"color": _TONE, "width": 2},
        name="the tone",
        hovertemplate=f"The tone: {tone_hz:.0f} Hz<extra></extra>",
    )
