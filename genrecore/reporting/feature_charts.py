"""Charts of a feature of a wave, with times and frequencies from the feature's axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from genrecore.audio.axes import Axes, Rows
from genrecore.audio.descriptor_names import DESCRIPTORS, N_MFCC
from genrecore.reporting.plots import Chart, waveform
from genrecore.reporting.plots.chart import draw
from genrecore.reporting.plots.images import image_chart

_COLOUR = "#7a6cc0"


def charts(
    kinds: Sequence[str],
    axes: Sequence[Axes],
    parts: Sequence[np.ndarray],
    limits: tuple[float, float] | None = None,
    start_s: float = 0.0,
) -> list[tuple[Chart, str]]:
    """A chart for each part of a feature's output for one wave, with a sentence or none.

    Args:
        kinds: The kind of each part: `image`, `wave`, `vector` or `sequence`.
        axes: As the feature describes them.
        parts: Arrays without the batch and of all channels the first: an image (bins, frames), a
            wave (n_samples,), a vector (numbers,), or a sequence (steps, numbers).
        limits: Values of an image's first and last colour.
        start_s: Where the wave begins in its recording.
    """
    return [
        (_chart(kind, part_axes, values, limits, start_s), part_axes.note)
        for kind, part_axes, values in zip(kinds, axes, parts, strict=True)
    ]


def _chart(
    kind: str,
    axes: Axes,
    values: np.ndarray,
    limits: tuple[float, float] | None,
    start_s: float,
) -> Chart:
    if kind == "wave" or axes.rows is None:
        return waveform(values, round(len(values) / (axes.duration_s or 1.0)), title=axes.title)
    if kind == "vector":
        is_descriptors = tuple(axes.rows.names) == DESCRIPTORS
        return _cepstrum(values) if is_descriptors else _bars(values, axes.rows, axes)
    if kind == "sequence":
        return _over_time(values, axes.column_times_s(len(values)), axes.rows, axes.title)
    span_s = None if axes.duration_s is None else (start_s, start_s + axes.duration_s)
    if limits is None and axes.shown_percent != (0.0, 100.0) and len(values) > 1:
        low, high = np.percentile(values, axes.shown_percent)
        limits = (float(low), float(high))
    return image_chart(
        values,
        axes.column_times_s(values.shape[1]) + start_s,
        axes.rows,
        axes.title,
        axes.unit,
        limits=limits,
        span_s=span_s,
        pool=np.max if axes.is_level else np.mean,
        ending=axes.note,
        colours=axes.colours,
    )


def _bars(values: np.ndarray, rows: Rows, axes: Axes) -> Chart:
    """The numbers of a vector, a bar each."""
    names, heights = list(rows.names), values.round(4).tolist()
    bars = {"type": "bar", "x": names, "y": heights, "showlegend": False}
    along, upward = {"title": rows.title, "showgrid": False}, {"title": axes.unit or "Value"}
    figure = draw([bars], axes.title, 300, along, upward)
    table = pd.DataFrame({rows.title: list(rows.names), "Value": values.round(4)})
    alt = f"Bars of {len(values)} numbers, from {values.min():.3g} to {values.max():.3g}."
    return Chart(figure, alt, table)


def _cepstrum(values: np.ndarray) -> Chart:
    """The means of the cepstral coefficients among the descriptors (57,), with their spread."""
    by_name = dict(zip(DESCRIPTORS, values.tolist(), strict=True))
    numbers = list(range(1, N_MFCC + 1))
    means = np.array([by_name[f"mfcc{k}_mean"] for k in numbers])
    spreads = np.sqrt(np.maximum([by_name[f"mfcc{k}_var"] for k in numbers], 0.0))
    bars = {
        "type": "bar",
        "x": numbers[1:],
        "y": means[1:].round(2).tolist(),
        "error_y": {"type": "data", "array": spreads[1:].round(2).tolist(), "thickness": 1.2},
        "marker": {"color": _COLOUR, "cornerradius": 2},
        "hovertemplate": "Coefficient %{x}: %{y:.1f} dB<extra></extra>",
        "showlegend": False,
    }
    along = {"title": "Cepstral coefficient", "showgrid": False, "dtick": 2, "tick0": 2}
    upward = {"title": "Mean ± standard deviation (dB)"}
    figure = draw([bars], "Shape of the spectrum: coefficients 2 to 20", 300, along, upward)
    table = pd.DataFrame(
        {"Coefficient": numbers, "Mean (dB)": means.round(2), "Deviation (dB)": spreads.round(2)}
    )
    alt = f"Bars of the cepstral coefficients 2 to {N_MFCC}. The first, the loudness, is "
    return Chart(figure, f"{alt}{means[0]:.0f} decibels and not drawn.", table)


def _over_time(values: np.ndarray, times_s: np.ndarray, rows: Rows, title: str) -> Chart:
    """The numbers of a sequence (steps, numbers), each between its own lowest and highest value."""
    low, high = values.min(axis=0), values.max(axis=0)
    relative = (values - low) / np.where(high > low, high - low, 1.0)
    n_steps, n_numbers = values.shape
    title, limits = f"{title} over time", (0.0, 1.0)
    heat_map = image_chart(relative.T, times_s, rows, title, "of range", limits=limits, height=420)
    table = pd.DataFrame(values.T.round(4), columns=[f"part {k + 1}" for k in range(n_steps)])
    table.insert(0, rows.title, list(rows.names))
    alt = f"Heat map of {n_numbers} numbers in {n_steps} parts, each between its lowest and "
    alt += "highest value."
    return Chart(heat_map.figure, alt, table)
