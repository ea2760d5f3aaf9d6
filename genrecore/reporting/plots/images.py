"""Images over time: the input of a network as a heat map with named rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from genrecore.audio.axes import Rows
from genrecore.reporting.plots.chart import Chart, colour_bar, draw, label, set_time_axis

# Magma without its first colour, #000004: Streamlit reads that as a placeholder of its theme.
_INTENSITY = [
    [0.0, "#06051a"],
    [0.2, "#3b0f70"],
    [0.4, "#8c2981"],
    [0.6, "#de4968"],
    [0.8, "#fe9f6d"],
    [1.0, "#fcfdbf"],
]
_COLUMNS = 640  # about as many as a screen shows; more only makes the page heavy
_ROWS = 256


def image_chart(
    values: np.ndarray,
    times_s: np.ndarray,
    rows: Rows,
    title: str,
    unit: str,
    *,
    limits: tuple[float, float] | None = None,
    span_s: tuple[float, float] | None = None,
    pool: Callable[..., np.ndarray] = np.max,
    height: int = 300,
    ending: str = "",
    colours: np.ndarray | None = None,
) -> Chart:
    """An image as a heat map, its first row at the bottom.

    What has more rows or columns than a screen shows is drawn by groups of them.

    Args:
        values: (bins, frames).
        times_s: (frames,), the middle of each.
        rows: What the rows are.
        title: Written above.
        unit: Of the values, beside the colours.
        limits: What the first and the last colour stand for; by default the extremes.
        span_s: Where the sound begins and ends; the chart then has the edges of a player's
            waveform.
        pool: How a group becomes one value: its maximum, because averages would hide attacks, or
            `numpy.mean` where values are no levels.
        height: In pixels.
        ending: Last sentence of the alternative text.
        colours: A colour map (n, 3) from 0 to 1, lowest first, instead of the usual one.
    """
    cells, times_s, names, row_step = _shrunk(values, times_s, rows.names, pool)
    low, high = limits or (float(cells.min()), float(cells.max()))
    heat_map = {
        "type": "heatmap",
        "z": _rounded(cells),
        "x": np.round(times_s, 3).tolist(),
        "y": names,
        "zmin": low,
        "zmax": high if high > low else low + 1.0,
        "colorscale": _INTENSITY if colours is None else _scale(colours),
        "colorbar": colour_bar(unit),
        "hovertemplate": "%{x:.2f} s, %{y}: %{z:.4~g} " + unit + "<extra></extra>",
    }
    # Names, not numbers: a category axis keeps the rows equally high, as the network has them.
    upward = {
        "title": rows.title,
        "type": "category",
        "showgrid": False,
        "tickvals": [(row - (row_step - 1) / 2) / row_step for row in rows.ticks.values()],
        "ticktext": list(rows.ticks),
    }
    along = {"title": "Time (s)", "showgrid": False}
    figure = draw([heat_map], label(title), height, along, upward)
    if span_s is not None:
        set_time_axis(figure, span_s)
    table = _by_second(cells, times_s, rows.title, names, pool)
    n_bins, n_frames = values.shape
    alt = f"{title}: {n_bins} rows, {n_frames} columns, from {values.min():.3g} to "
    alt += f"{values.max():.3g} {unit}."
    return Chart(figure, f"{alt} {ending}".strip(), table)


def _scale(colours: np.ndarray) -> list[list[Any]]:
    """A colour map (n, 3) from 0 to 1 as plotly writes it."""
    shares = np.linspace(0.0, 1.0, len(colours)).tolist()
    levels = np.rint(colours * 255).astype(int).tolist()
    return [[s, f"rgb({r},{g},{b})"] for s, (r, g, b) in zip(shares, levels, strict=True)]


def _shrunk(
    values: np.ndarray, times_s: np.ndarray, names: Sequence[str], pool: Callable[..., np.ndarray]
) -> tuple[np.ndarray, np.ndarray, list[str], int]:
    n_bins, n_frames = values.shape
    across, up = max(1, -(-n_frames // _COLUMNS)), max(1, -(-n_bins // _ROWS))
    columns = np.arange(0, n_frames, across)
    begins = np.arange(0, n_bins, up)
    if across > 1:
        groups = [pool(values[:, at : at + across], axis=1) for at in columns]
        values = np.stack(groups, axis=1)
        times_s = np.array([times_s[at : at + across].mean() for at in columns])
    if up > 1:
        values = np.stack([pool(values[at : at + up], axis=0) for at in begins])
    middles = [names[min(at + up // 2, n_bins - 1)] for at in begins]
    # Two rows of one name would be drawn as one.
    earlier: set[str] = set()
    for row, name in enumerate(middles):
        middles[row] = f"{name} (row {row})" if name in earlier else name
        earlier.add(name)
    return values, times_s, middles, up


def _rounded(values: np.ndarray) -> np.ndarray:
    """Values with so many digits as colours can show: a page is lighter for it."""
    spread = float(np.ptp(values)) if values.size else 0.0
    digits = 0 if spread > 20 else max(0, 3 - int(np.floor(np.log10(spread or 1.0))))
    kind = np.int16 if digits == 0 and np.abs(values).max(initial=0.0) < 2**15 else np.float32
    return np.round(values, digits).astype(kind)


def _by_second(
    values: np.ndarray,
    times_s: np.ndarray,
    title: str,
    names: list[str],
    pool: Callable[..., np.ndarray],
) -> pd.DataFrame:
    """One number a row a second: few enough to be read."""
    seconds = np.floor(times_s + 1e-9).astype(int)
    columns = {
        f"{second} s": np.round(pool(values[:, seconds == second], axis=1).astype(float), 3)
        for second in np.unique(seconds)
    }
    table = pd.DataFrame(columns)
    table.insert(0, title, names)
    return table
