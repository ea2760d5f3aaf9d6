"""Axes: the meaning of the rows and columns of features, in Hz and in s.

Every feature describes its own axes where it is defined; charts, explanations and receptive fields
read the description and do not ask which feature it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from genrecore.words import plural, thousands

_TICKS_HZ = (100, 200, 500, 1000, 2000, 4000, 8000, 16000)


@dataclass(frozen=True, eq=False)
class Rows:
    """The meaning of the rows of an image, from the lowest, or of the numbers of a vector."""

    title: str  # of the axis, with its unit
    names: Sequence[str]  # one a row
    ticks: Mapping[str, float]  # label → row, counted from 0, fractions allowed
    counted: str = "rows"  # the plural noun where rows are counted, e.g. `mel bands`
    n_computed: int = 0  # rows before the image was resized; 0 where it was not
    # Where each row begins, its middle and its end (n_rows,), rising; None without frequencies.
    low_hz: np.ndarray | None = None
    centre_hz: np.ndarray | None = None
    high_hz: np.ndarray | None = None

    def resized(self, sources: np.ndarray) -> Rows:
        """Rows of the image after resizing; `sources` are the first and the last old row under each
        new one, (n_rows, 2)."""
        n, n_rows = len(self.names), len(sources)
        if n == n_rows:
            return self
        positions = resized_positions(n, n_rows)
        if self.low_hz is not None and self.centre_hz is not None and self.high_hz is not None:
            rows = frequency_rows(_stretched(self.centre_hz, positions))
            low_hz, high_hz = self.low_hz[sources[:, 0]], self.high_hz[sources[:, 1]]
            return replace(rows, counted=self.counted, n_computed=n, low_hz=low_hz, high_hz=high_hz)
        names = [self.names[k] for k in np.clip(np.round(positions).astype(int), 0, n - 1)]
        ticks = {name: (row + 0.5) * n_rows / n - 0.5 for name, row in self.ticks.items()}
        return replace(self, names=names, ticks=ticks, n_computed=n)


@dataclass(frozen=True, eq=False)
class Axes:
    """The meaning of a feature's numbers; of a pair, of one part.

    Attributes:
        title: Above a chart.
        unit: Of the values; empty for plain numbers.
        rows: Rows of an image, or the numbers of a vector or of a sequence's step; None of a wave.
        columns: The plural noun of the columns: `frames`, `samples`, `steps`.
        duration_s: Length of the sound that it is made of; None where it is not made of sound.
        times_s: The middle of each column of an image (n_columns,); None where columns share the
            duration equally.
        windows_s: Where the sound under each column begins and ends, (n_columns, 2).
        is_level: Whether larger values are more sound; then the largest stands for a group.
        silence: What stands for silence: the lowest value, or each row's mean where no value does.
        shown_percent: The percentiles between which colours change.
        note: A sentence that a chart needs; may be empty.
        colours: Of an image that is drawn in colours, its colour map (256, 3) from 0 to 1; the unit
            is that of the values before.
    """

    title: str
    unit: str = ""
    rows: Rows | None = None
    columns: str = ""
    duration_s: float | None = None
    times_s: np.ndarray | None = None
    windows_s: np.ndarray | None = None
    is_level: bool = True
    silence: Literal["lowest", "row_mean"] = "lowest"
    shown_percent: tuple[float, float] = (0.0, 100.0)
    note: str = ""
    colours: np.ndarray | None = None

    def column_times_s(self, n_columns: int) -> np.ndarray:
        """The middle of each column (n_columns,) in s from the beginning of the sound."""
        if self.times_s is not None:
            return self.times_s
        return (np.arange(n_columns) + 0.5) * (self.duration_s or 0.0) / n_columns


def frequency_rows(centre_hz: np.ndarray) -> Rows:
    """Rows with these middles in Hz (n_rows,), rising, labelled at round frequencies."""
    n = len(centre_hz)
    even = n > 2 and np.allclose(np.diff(centre_hz), centre_hz[1] - centre_hz[0], rtol=1e-3)
    step = 2000 if n and centre_hz[-1] < 12_500 else 5000
    candidates_hz = range(0, 10**5, step) if even else _TICKS_HZ
    ticks: dict[str, float] = {}
    last = -float(n)
    for hz in candidates_hz:
        if n and centre_hz[0] - 1 <= hz <= centre_hz[-1] * 1.05:
            row = float(np.interp(hz, centre_hz, np.arange(n)))
            if row - last > n / 14:
                ticks[f"{hz / 1000:g}k" if hz >= 1000 else f"{hz:g}"] = last = row
    names = [f"{hz:.1f} Hz" for hz in centre_hz]
    return Rows("Frequency (Hz)", names, ticks, centre_hz=centre_hz)


def band_rows(counted: str, low_hz: np.ndarray, centre_hz: np.ndarray, high_hz: np.ndarray) -> Rows:
    """Rows that are bands of frequencies, each array (n_rows,); `counted` is their plural noun."""
    return replace(frequency_rows(centre_hz), counted=counted, low_hz=low_hz, high_hz=high_hz)


def size_in_words(axes: Axes, shape: tuple[Any, ...]) -> str:
    """An output shape in words: `128 mel bands × 431 frames, 1 channel`."""
    rows = axes.rows
    if rows is None:
        return f"{thousands(shape[1])} {axes.columns}, {plural(shape[0], 'channel')}"
    if len(shape) == 1:
        return f"{thousands(shape[0])} numbers"
    if len(shape) == 2:
        return f"{thousands(shape[0])} {axes.columns} × {thousands(shape[1])} numbers"
    n_channels, n_rows, n_columns = shape
    counted = f"{thousands(n_rows)} {rows.counted}".strip()
    if rows.n_computed:
        counted = f"{thousands(n_rows)} rows made of {thousands(rows.n_computed)} {rows.counted}"
    return f"{counted} × {thousands(n_columns)} {axes.columns}, {plural(n_channels, 'channel')}"


def resized_positions(n: int, n_resized: int) -> np.ndarray:
    """Where the middles of `n_resized` resized rows (or columns) lie among n original ones."""
    return (np.arange(n_resized) + 0.5) * n / n_resized - 0.5


def _stretched(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Values (n,) at fractional places, going on in a line beyond both ends."""
    if len(values) < 2:
        return np.resize(values, len(positions))
    inner = np.clip(np.floor(positions).astype(int), 0, len(values) - 2)
    return values[inner] + (positions - inner) * (values[inner + 1] - values[inner])
