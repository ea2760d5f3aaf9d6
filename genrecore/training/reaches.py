"""Receptive fields as sound: how many milliseconds a unit sees, and from which hertz to which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from genrecore.config.run import RunConfig
from genrecore.features.log_mel import LogMelOptions
from genrecore.features.mfcc import MfccOptions
from genrecore.features.stft import StftOptions
from genrecore.models.receptive import Reach
from genrecore.reporting.feature_charts import mel_bank, spaced

AROUND_HZ = 1000.0
"""Bands lie denser at low frequencies, so a field is told where it is centred here."""

_ROWS: dict[type, str] = {
    LogMelOptions: "mel bands",
    StftOptions: "frequencies",
    MfccOptions: "coefficients",
}

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
        seconds: The same in s; None for pictures of a dataset's own.
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
        columns = f"{spaced(self.n_columns)} of {spaced(self.of_columns)} {names[self.part]}"
        time = f"{self.time_in_words} ({columns})" if self.seconds is not None else columns
        said = f"A unit of its convolutions sees at most {time}"
        if self.of_rows:
            said += f" and {spaced(self.n_rows)} of {spaced(self.of_rows)} {self.rows}"
        if self.low_hz is not None and self.high_hz is not None:
            which = f"around {spaced(AROUND_HZ)} Hz those " if self.n_rows < self.of_rows else ""
            said += f", {which}from {spaced(self.low_hz)} to {spaced(self.high_hz)} Hz"
        if self.is_whole:
            said += ": all there is"
        elif self.everything:
            said += "; a gate or a pooling tells it about all the rest as well"
        return f"{said}."


def in_sound(
    reaches: Sequence[Reach], feature: nn.Module, config: RunConfig, kind: str, is_sound: bool
) -> tuple[Field, ...]:
    """Receptive fields in the units of a feature's input; none for a network without convolutions.

    Args:
        reaches: What `anatomy.examine` found.
        feature: The front end, with `output_shape`.
        config: Names the sample rate.
        kind: The feature's.
        is_sound: Whether the feature is made of waves.
    """
    shapes: Any = feature.output_shape
    fields = []
    for part, name in enumerate(kind.split("+")):
        own = [reach for reach in reaches if reach.axis[0] == part]
        shape = shapes[part] if "+" in kind else shapes
        if name in AXES and own:
            fields.append(_field(name, own, shape, feature, config, is_sound))
    return tuple(fields)


def _field(
    part: str,
    own: Sequence[Reach],
    shape: tuple[int, ...],
    feature: nn.Module,
    config: RunConfig,
    is_sound: bool,
) -> Field:
    *rows, time = own
    n_columns, of_columns = _size(time, shape), shape[time.axis[1]]
    n_rows, of_rows = (_size(rows[0], shape), shape[rows[0].axis[1]]) if rows else (0, 0)
    segment_s = config.segments.segment_s
    seconds, low_hz, high_hz = None, None, None
    own_part: Any = getattr(feature, "stft", feature)  # of a pair, the one that makes the picture
    named = "rows"
    if part == "image" and is_sound and hasattr(own_part, "picture"):
        seconds = _seconds(own_part, n_columns, config)
        low_hz, high_hz = _hertz(own_part, n_rows, of_rows, config)
        if own_part.picture.rows is None:  # as they were computed
            named = _ROWS.get(type(own_part.options), named)
    elif is_sound:
        seconds = segment_s * n_columns / of_columns
    return Field(
        part=part,
        n_columns=n_columns,
        of_columns=of_columns,
        seconds=seconds,
        n_rows=n_rows,
        of_rows=of_rows,
        rows=named,
        low_hz=low_hz,
        high_hz=high_hz,
        everything=all(reach.everything for reach in own),
    )


def _size(reach: Reach, shape: tuple[int, ...]) -> int:
    whole = shape[reach.axis[1]]
    return whole if reach.size is None else min(reach.size, whole)


def _seconds(feature: nn.Module, n_columns: int, config: RunConfig) -> float:
    """From the first sample under the first window to the last one under the last."""
    options: Any = feature.options
    picture: Any = feature.picture
    wanted = picture.output_shape[2]
    first, last = _about(wanted / 2, n_columns, wanted)
    frames = _sources(picture.columns, first, last)
    n_samples = (frames[1] - frames[0]) * options.hop_length + options.n_fft
    return float(min(n_samples / config.audio.sample_rate_hz, config.segments.segment_s))


def _hertz(
    feature: nn.Module, n_rows: int, of_rows: int, config: RunConfig
) -> tuple[float | None, float | None]:
    options: Any = feature.options
    picture: Any = feature.picture
    rate = config.audio.sample_rate_hz
    if isinstance(options, LogMelOptions):
        edges_hz = mel_bank(options, rate).edges_hz
        lows, middles, highs = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    elif isinstance(options, StftOptions):
        middles = np.arange(options.n_fft // 2 + 1) * rate / options.n_fft
        half = 0.5 * rate / options.n_fft
        lows, highs = np.maximum(middles - half, 0.0), np.minimum(middles + half, rate / 2)
    else:  # cepstral coefficients and pitch classes are no frequencies
        return None, None
    nearest = int(np.abs(middles - AROUND_HZ).argmin())
    first, last = _about((nearest + 0.5) * of_rows / len(middles), n_rows, of_rows)
    rows = _sources(None if picture.rows is None else picture.rows.T, first, last)
    return float(lows[rows[0]]), float(highs[rows[1]])


def _about(place: float, n: int, of: int) -> tuple[int, int]:
    """The first and the last of n places around one, less those beyond the edges."""
    middle = min(int(place), of - 1)
    first = middle - (n - 1) // 2
    if n >= of:
        return 0, of - 1
    return max(0, first), min(of - 1, first + n - 1)


def _sources(weights: Tensor | None, first: int, last: int) -> tuple[int, int]:
    """The first and the last row or column before resizing that these are made of."""
    if weights is None:
        return first, last
    used = (weights[:, first : last + 1] != 0).any(dim=1).nonzero()[:, 0]
    return int(used[0]), int(used[-1])
