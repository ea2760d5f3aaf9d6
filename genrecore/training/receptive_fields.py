"""Receptive fields as sound: how many milliseconds a unit sees, and from which hertz to which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from genrecore.audio.axes import Axes, Rows
from genrecore.models.anatomy import Reach
from genrecore.words import thousands

AROUND_HZ = 1000.0
"""Bands lie denser at low frequencies, so a field is described where it is centred here."""

AXES: dict[str, tuple[int, ...]] = {
    "image": (1, 2),
    "wave": (1,),
    "sequence": (0,),
    "vector": (),
}
"""Of each kind, the dimensions of a shape that are time or frequency."""


@dataclass(frozen=True)
class Field:
    """What the farthest-seeing unit of a network's convolutions sees of one input.

    Attributes:
        part: `image`, `wave` or `sequence`.
        n_columns: Frames, samples or steps, and of how many.
        of_columns: Their number.
        seconds: The same in s; None for images of the dataset's own.
        n_rows: Rows of an image, and of how many; 0 elsewhere.
        of_rows: Their number.
        rows: What they are, in words.
        low_hz: Where the lowest of these rows begins, of a unit that looks at `AROUND_HZ`; None
            where rows are no frequencies.
        high_hz: Where the highest ends.
        everything: Whether it also knows an average over all, or what came before.
    """

    part: str
    n_columns: int
    of_columns: int
    seconds: float | None
    n_rows: int
    of_rows: int
    rows: str
    low_hz: float | None
    high_hz: float | None
    everything: bool

    @property
    def is_whole(self) -> bool:
        """Whether it sees its whole input."""
        return self.n_columns == self.of_columns and self.n_rows == self.of_rows

    @property
    def time_in_words(self) -> str:
        """`2.1 s`, `23 ms`, or a number of columns where time is not known."""
        if self.seconds is None:
            return f"{self.n_columns} columns"
        return f"{self.seconds:.1f} s" if self.seconds >= 1 else f"{1000 * self.seconds:.3g} ms"

    @property
    def sentence(self) -> str:
        """All of it, for people."""
        names = {"image": "frames", "wave": "samples", "sequence": "steps"}
        columns = f"{thousands(self.n_columns)} of {thousands(self.of_columns)} {names[self.part]}"
        time = f"{self.time_in_words} ({columns})" if self.seconds is not None else columns
        text = f"A unit of its convolutions sees at most {time}"
        if self.of_rows:
            text += f" and {thousands(self.n_rows)} of {thousands(self.of_rows)} {self.rows}"
        if self.low_hz is not None and self.high_hz is not None:
            which = f"around {thousands(AROUND_HZ)} Hz those " if self.n_rows < self.of_rows else ""
            text += f", {which}from {thousands(self.low_hz)} to {thousands(self.high_hz)} Hz"
        if self.is_whole:
            text += ": all there is"
        elif self.everything:
            text += "; a gate or a pooling tells it about all the rest as well"
        return f"{text}."


def in_sound(reaches: Sequence[Reach], feature: nn.Module, kind: str) -> tuple[Field, ...]:
    """Receptive fields in the units of a feature's input; none for a network without convolutions.

    Args:
        reaches: What `anatomy.examine` found.
        feature: The front end, with `output_shape` and `axes`.
        kind: The feature's.
    """
    front: Any = feature
    shapes = front.output_shape if "+" in kind else (front.output_shape,)
    fields = []
    for part, (name, shape, axes) in enumerate(
        zip(kind.split("+"), shapes, front.axes(), strict=True)
    ):
        own = [reach for reach in reaches if reach.axis[0] == part]
        if name in AXES and own:
            fields.append(_field(name, own, shape, axes))
    return tuple(fields)


def _field(part: str, own: Sequence[Reach], shape: tuple[int, ...], axes: Axes) -> Field:
    *along_rows, time = own
    n_columns, of_columns = _size(time, shape), shape[time.axis[1]]
    n_rows, of_rows, low_hz, high_hz, counted = 0, 0, None, None, "rows"
    if along_rows and axes.rows is not None:
        n_rows, of_rows = _size(along_rows[0], shape), shape[along_rows[0].axis[1]]
        low_hz, high_hz = _hertz(axes.rows, n_rows)
        if not axes.rows.n_computed:
            counted = axes.rows.counted or counted
    return Field(
        part=part,
        n_columns=n_columns,
        of_columns=of_columns,
        seconds=_seconds(axes, n_columns, of_columns),
        n_rows=n_rows,
        of_rows=of_rows,
        rows=counted,
        low_hz=low_hz,
        high_hz=high_hz,
        everything=all(reach.everything for reach in own),
    )


def _size(reach: Reach, shape: tuple[int, ...]) -> int:
    whole = shape[reach.axis[1]]
    return whole if reach.size is None else min(reach.size, whole)


def _seconds(axes: Axes, n_columns: int, of_columns: int) -> float | None:
    """How long the sound under so many columns is; None where they are not made of sound."""
    if axes.duration_s is None:
        return None
    if axes.windows_s is None:
        return axes.duration_s * n_columns / of_columns
    first, last = _around(of_columns // 2, n_columns, of_columns)
    return float(min(axes.windows_s[last, 1] - axes.windows_s[first, 0], axes.duration_s))


def _hertz(rows: Rows, n_rows: int) -> tuple[float | None, float | None]:
    """Where so many rows around `AROUND_HZ` begin and end; None where they are no frequencies."""
    if rows.centre_hz is None or rows.low_hz is None or rows.high_hz is None:
        return None, None
    nearest = int(np.abs(rows.centre_hz - AROUND_HZ).argmin())
    first, last = _around(nearest, n_rows, len(rows.centre_hz))
    return float(rows.low_hz[first]), float(rows.high_hz[last])


def _around(middle: int, n: int, of: int) -> tuple[int, int]:
    """The first and the last of n indices around `middle`, cut at the edges of 0 … of - 1."""
    if n >= of:
        return 0, of - 1
    first = middle - (n - 1) // 2
    return max(0, first), min(of - 1, first + n - 1)
