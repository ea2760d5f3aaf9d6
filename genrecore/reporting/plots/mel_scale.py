"""The mel scale in a figure: the bands below a frequency."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from genrecore.reporting.plots.chart import GREY, Chart, draw, label, legend_below_title

# Colour and dash say the same twice.
_LOOKS = (("#606ccc", "solid"), ("#ec7350", "dash"), (GREY, "dot"))
_TONE = "#00a86c"


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
    top = 1.03 * n_mels
    traces: list[dict[str, Any]] = [
        {
            "x": np.round(hz, 1).tolist(),
            "y": np.round(values, 2).tolist(),
            "name": label(name),
            "mode": "lines",
            "line": {"color": colour, "dash": dash, "width": 2.2 if dash != "dot" else 1.4},
            "hovertemplate": f"{label(name)}: %{{y:.1f}} bands below %{{x:.0f}} Hz<extra></extra>",
        }
        for (name, values), (colour, dash) in zip(below.items(), _LOOKS, strict=False)
    ]
    tone = {
        "x": [tone_hz, tone_hz],
        "y": [0, top],
        "mode": "lines",
        "line": {"color": _TONE, "width": 2},
        "name": "the tone",
        "hovertemplate": f"The tone: {tone_hz:.0f} Hz<extra></extra>",
    }
    at_tone = {name: float(np.interp(tone_hz, hz, below[name])) for name in list(below)[:2]}
    crossings = [
        {
            "x": [tone_hz],
            "y": [round(n, 2)],
            "mode": "markers",
            "marker": {"color": _TONE, "size": 8},
            "showlegend": False,
            "hovertemplate": f"The tone, {label(name)}: %{{y:.1f}}<extra></extra>",
        }
        for name, n in at_tone.items()
    ]
    along = {"title": "Frequency (Hz)", "range": [0, float(hz[-1])], "tickformat": "~s"}
    upward = {"title": f"Bands, of {n_mels}", "range": [0, top]}
    traces = [*traces, tone, *crossings]
    legend = legend_below_title()
    figure = draw(traces, "Bands below a frequency", 340, along, upward, 76, legend=legend)
    table = pd.DataFrame(
        {"Frequency (Hz)": hz.round(1)} | {name: v.round(2) for name, v in below.items()}
    )
    counts = ", ".join(f"{n:.1f} on the scale {name}" for name, n in at_tone.items())
    alt = f"Lines that rise fast at low and slowly at high frequencies. Below {tone_hz:.0f} hertz "
    return Chart(figure, f"{alt}lie of {n_mels} bands {counts}.", table)
