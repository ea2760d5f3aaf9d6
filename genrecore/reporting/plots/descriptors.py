"""Descriptors in figures: the shape of the spectrum in numbers, and how all of them change."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from genrecore.audio.axes import Rows
from genrecore.audio.descriptor_names import DESCRIPTORS, N_MFCC
from genrecore.reporting.plots.chart import Chart, laid_out
from genrecore.reporting.plots.pictures import picture

_COLOUR = "#7a6cc0"


def cepstrum(values: np.ndarray) -> Chart:
    """The means of the cepstral coefficients among the descriptors, with their spread.

    Args:
        values: (57,), in the order of `DESCRIPTORS`.
    """
    of = dict(zip(DESCRIPTORS, values.tolist(), strict=True))
    numbers = list(range(1, N_MFCC + 1))
    means = np.array([of[f"mfcc{k}_mean"] for k in numbers])
    spreads = np.sqrt(np.maximum([of[f"mfcc{k}_var"] for k in numbers], 0.0))
    figure = go.Figure(
        go.Bar(
            x=numbers[1:],
            y=means[1:].round(2).tolist(),
            error_y={"type": "data", "array": spreads[1:].round(2).tolist(), "thickness": 1.2},
            marker={"color": _COLOUR, "cornerradius": 2},
            hovertemplate="Coefficient %{x}: %{y:.1f} dB<extra></extra>",
            showlegend=False,
        )
    )
    laid_out(figure, "Shape of the spectrum: coefficients 2 to 20", 300)
    figure.update_xaxes(title="Cepstral coefficient", showgrid=False, dtick=2, tick0=2)
    figure.update_yaxes(title="Mean ± standard deviation (dB)")
    table = pd.DataFrame(
        {"Coefficient": numbers, "Mean (dB)": means.round(2), "Deviation (dB)": spreads.round(2)}
    )
    alt = f"Bars of the cepstral coefficients 2 to {N_MFCC}. The first, the loudness, is "
    return Chart(figure, f"{alt}{means[0]:.0f} decibels and not drawn.", table)


def over_time(values: np.ndarray, times_s: np.ndarray, rows: Rows, title: str) -> Chart:
    """The numbers of a sequence over time, each between its own lowest and highest value.

    Args:
        values: (steps, numbers).
        times_s: The middle of each step.
        rows: What the numbers are.
        title: What they are together.
    """
    low, high = values.min(axis=0), values.max(axis=0)
    relative = (values - low) / np.where(high > low, high - low, 1.0)
    n_steps, n_numbers = values.shape
    drawn = picture(
        relative.T,
        times_s,
        rows,
        f"{title} over time",
        "of range",
        limits=(0.0, 1.0),
        height=420,
    )
    table = pd.DataFrame(values.T.round(4), columns=[f"part {k + 1}" for k in range(n_steps)])
    table.insert(0, rows.title, list(rows.names))
    alt = f"Heat map of {n_numbers} numbers in {n_steps} parts, each between its lowest and "
    alt += "highest value."
    return Chart(drawn.figure, alt, table)
