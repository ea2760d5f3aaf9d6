"""Charts of what a feature makes of a wave, with times and frequencies from the feature's axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from genrecore.audio.axes import Axes, Rows
from genrecore.audio.descriptor_names import DESCRIPTORS
from genrecore.reporting.plots import Chart, waveform
from genrecore.reporting.plots.chart import laid_out
from genrecore.reporting.plots.descriptors import cepstrum, over_time
from genrecore.reporting.plots.pictures import picture


def charts(
    kinds: Sequence[str],
    axes: Sequence[Axes],
    parts: Sequence[np.ndarray],
    limits: tuple[float, float] | None = None,
) -> list[tuple[Chart, str]]:
    """A chart for each part of what a feature makes of one wave, with a sentence or none.

    Args:
        kinds: The kind of each part: `image`, `wave`, `vector` or `sequence`.
        axes: As the feature describes them.
        parts: Arrays without the batch and of all channels the first: an image (bins, frames), a
            wave (n_samples,), a vector (numbers,), or a sequence (steps, numbers).
        limits: What an image's first and last colour stand for.
    """
    return [
        (_chart(kind, its, values, limits), its.note)
        for kind, its, values in zip(kinds, axes, parts, strict=True)
    ]


def _chart(kind: str, axes: Axes, values: np.ndarray, limits: tuple[float, float] | None) -> Chart:
    if kind == "wave" or axes.rows is None:
        return waveform(values, round(len(values) / (axes.duration_s or 1.0)), title=axes.title)
    if kind == "vector":
        is_descriptors = tuple(axes.rows.names) == DESCRIPTORS
        return cepstrum(values) if is_descriptors else _bars(values, axes.rows, axes)
    if kind == "sequence":
        return over_time(values, axes.column_times_s(len(values)), axes.rows, axes.title)
    if limits is None and axes.shown_percent != (0.0, 100.0) and len(values) > 1:
        low, high = np.percentile(values, axes.shown_percent)
        limits = (float(low), float(high))
    return picture(
        values,
        axes.column_times_s(values.shape[1]),
        axes.rows,
        axes.title,
        axes.unit,
        limits=limits,
        pool=np.max if axes.is_level else np.mean,
        said=axes.note,
    )


def _bars(values: np.ndarray, rows: Rows, axes: Axes) -> Chart:
    """The numbers of a vector, a bar each."""
    figure = go.Figure(go.Bar(x=list(rows.names), y=values.round(4).tolist(), showlegend=False))
    laid_out(figure, axes.title, 300)
    figure.update_xaxes(title=rows.title, showgrid=False)
    figure.update_yaxes(title=axes.unit or "Value")
    table = pd.DataFrame({rows.title: list(rows.names), "Value": values.round(4)})
    alt = f"Bars of {len(values)} numbers, from {values.min():.3g} to {values.max():.3g}."
    return Chart(figure, alt, table)
