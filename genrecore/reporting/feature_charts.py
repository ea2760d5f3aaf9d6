"""What a feature makes of a wave, as charts with times and frequencies, and its size in words.

Here a feature's numbers get their names back: which second a column is, which frequency a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from genrecore.audio.mel_scale import MelBank
from genrecore.audio.spectra import mel_filters, n_frames
from genrecore.config.registry import Options
from genrecore.features.chroma import ChromaOptions
from genrecore.features.log_mel import LogMelOptions, MelOptions
from genrecore.features.mfcc import MfccOptions
from genrecore.features.picture import PictureOptions
from genrecore.features.stft import StftOptions
from genrecore.reporting.plots import Chart, waveform
from genrecore.reporting.plots.descriptors import cepstrum, over_time
from genrecore.reporting.plots.pictures import Rows, frequency_rows, picture

_PITCHES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")


@dataclass(frozen=True)
class Look:
    """How a picture of one feature is read.

    Attributes:
        title: Written above it.
        unit: Of its values.
        rows: What they are.
        counted: What a row is called where they are counted.
        n_computed: Rows before the picture was resized.
        pool: What stands for a group of rows or columns.
        note: A sentence that the picture needs.
    """

    title: str
    unit: str
    rows: Rows
    counted: str
    n_computed: int
    pool: Callable[..., np.ndarray] = np.max
    note: str = ""


def look(options: Options, sample_rate_hz: int, n_rows: int) -> Look:
    """How a picture with n_rows rows, made with these options, is read."""
    if isinstance(options, MfccOptions):
        places = _places(options.n_mfcc, n_rows)
        step = max(1, options.n_mfcc // 8)
        ticks = {str(k): _row_of(k, options.n_mfcc, n_rows) for k in range(0, options.n_mfcc, step)}
        rows = Rows("Coefficient", [f"coefficient {place:.3g}" for place in places], ticks)
        note = "The colours leave 2 % out at either end, coefficient 0, the loudness, among them."
        return Look(
            "Cepstral coefficients", "dB", rows, "coefficients", options.n_mfcc, np.mean, note
        )
    if isinstance(options, LogMelOptions):
        centres_hz = mel_bank(options, sample_rate_hz).edges_hz[1:-1]
        rows = frequency_rows(_stretched(centres_hz, n_rows))
        return Look("Log-mel spectrogram", "dB", rows, "bands", options.n_mels)
    if isinstance(options, StftOptions):
        n = options.n_fft // 2 + 1
        rows = frequency_rows(_stretched(np.arange(n) * sample_rate_hz / options.n_fft, n_rows))
        if options.scale == "decibels":
            return Look("Spectrogram", "dB", rows, "frequencies", n)
        note = (
            f"Dark, because the loudest points are thousands of times the others, and the "
            f"{options.scale} is taken as it is; decibels are nearer to hearing."
        )
        return Look("Spectrogram", options.scale, rows, "frequencies", n, note=note)
    if isinstance(options, ChromaOptions):
        n = len(_PITCHES)
        names = [_PITCHES[min(max(round(place), 0), n - 1)] for place in _places(n, n_rows)]
        ticks = {name: _row_of(k, n, n_rows) for k, name in enumerate(_PITCHES)}
        rows = Rows("Pitch class", names, ticks)
        note = "1 is the pitch class that sounds strongest in a frame."
        return Look("Chroma", "share", rows, "pitch classes", n, note=note)
    names = [f"row {row + 1}" for row in range(n_rows)]
    return Look("Picture", "", Rows("Row", names, {}), "rows", n_rows)


def charts(
    kind: str,
    options: Options,
    sample_rate_hz: int,
    n_samples: int,
    parts: tuple[np.ndarray, ...],
    limits: tuple[float, float] | None = None,
) -> list[tuple[Chart, str]]:
    """A chart for each part of what a feature makes of one wave, with a sentence or none.

    Args:
        kind: The feature's: `image`, `wave`, `vector`, `sequence` or `wave+image`.
        options: The feature's.
        sample_rate_hz: Of the wave.
        n_samples: Of the wave.
        parts: One array, or the two of a pair, each without the batch and of all channels the
            first: an image (bins, frames), a wave (n_samples,), descriptors (57,), or their
            sequence (steps, 57).
        limits: What a picture's first and last colour stand for.
    """
    drawn: list[tuple[Chart, str]] = []
    for one, values in zip(kind.split("+"), parts, strict=True):
        if one == "wave":
            drawn.append((waveform(values, sample_rate_hz), ""))
        elif one == "vector":
            drawn.append((cepstrum(values), ""))
        elif one == "sequence":
            drawn.append((over_time(values, n_samples / sample_rate_hz), ""))
        else:
            way = look(options, sample_rate_hz, len(values))
            drawn.append(_picture(way, options, sample_rate_hz, n_samples, values, limits))
    return drawn


def _picture(
    way: Look,
    options: Options,
    sample_rate_hz: int,
    n_samples: int,
    values: np.ndarray,
    limits: tuple[float, float] | None,
) -> tuple[Chart, str]:
    if limits is None and isinstance(options, MfccOptions) and len(values) > 1:
        low, high = np.percentile(values, [2.0, 98.0])
        limits = (float(low), float(high))
    times = times_s(options, sample_rate_hz, n_samples, values.shape[1])
    chart = picture(
        values, times, way.rows, way.title, way.unit, limits=limits, pool=way.pool, said=way.note
    )
    return chart, way.note


def times_s(options: Options, sample_rate_hz: int, n_samples: int, n_columns: int) -> np.ndarray:
    """The middle of each column (n_columns,) in s; padding goes on behind the wave's end."""
    if not isinstance(options, PictureOptions):
        return (np.arange(n_columns) + 0.5) * n_samples / sample_rate_hz / n_columns
    n = _n_frames(options, n_samples)
    columns = _places(n, n_columns) if options.fit == "resize" else np.arange(n_columns)
    return columns * options.hop_length / sample_rate_hz  # type: ignore[attr-defined]


def size_in_words(kind: str, options: Options, sample_rate_hz: int, shape: tuple[Any, ...]) -> str:
    """An output shape as a person says it: "128 bands × 431 frames, 1 channel".

    Args:
        kind: The feature's.
        options: The feature's.
        sample_rate_hz: Of the wave.
        shape: Without the batch; of a pair, both shapes.
    """
    kinds = kind.split("+")
    if len(kinds) > 1:
        said = [
            size_in_words(one, options, sample_rate_hz, part)
            for one, part in zip(kinds, shape, strict=True)
        ]
        return "; ".join(said)
    if kind == "wave":
        return f"{spaced(shape[1])} samples, {_channels(shape[0])}"
    if kind == "vector":
        return f"{spaced(shape[0])} numbers"
    if kind == "sequence":
        return f"{spaced(shape[0])} steps × {spaced(shape[1])} numbers"
    n_channels, n_rows, n_columns = shape
    if not isinstance(options, PictureOptions):
        return f"{spaced(n_rows)} × {spaced(n_columns)} points, {_channels(n_channels)}"
    way = look(options, sample_rate_hz, n_rows)
    rows = f"{spaced(n_rows)} {way.counted}"
    if n_rows != way.n_computed:
        rows = f"{spaced(n_rows)} rows made of {spaced(way.n_computed)} {way.counted}"
    return f"{rows} × {spaced(n_columns)} frames, {_channels(n_channels)}"


def _channels(n: int) -> str:
    return f"{n} channel{'s' if n > 1 else ''}"


def spaced(number: float) -> str:
    """A number rounded, with thin spaces between thousands."""
    return f"{number:,.0f}".replace(",", "\u202f")


def mel_bank(options: MelOptions, sample_rate_hz: int) -> MelBank:
    """The bands of these options."""
    top_hz = options.fmax_hz or sample_rate_hz / 2
    return MelBank(options.n_mels, options.fmin_hz, top_hz, options.mel_scale)


def sound_of(
    image: Tensor, options: LogMelOptions, sample_rate_hz: int, n_samples: int
) -> np.ndarray:
    """What a log-mel picture (channels, bins, frames) sounds like, (n_samples,) float32; shorter
    where the picture cuts the wave off.

    Of all channels the first. A resized picture is resized back.

    Raises:
        GenrecoreError: As `resynthesis.from_log_mel`.
    """
    from genrecore.audio import resynthesis  # imports torchaudio
    from genrecore.training import cores

    db, n = image[0].float(), _n_frames(options, n_samples)
    wanted = (options.n_mels, n if options.fit == "resize" else db.shape[1])
    if db.shape != wanted:
        db = functional.interpolate(
            db[None, None], wanted, mode="bilinear", align_corners=False, antialias=True
        )[0, 0]
    db = db[:, :n]
    if db.shape[1] < n:
        n_samples = (db.shape[1] - 1) * options.hop_length
    filters = mel_filters(
        sample_rate_hz,
        options.n_fft,
        options.n_mels,
        options.fmin_hz,
        options.fmax_hz,
        options.mel_scale,
    )
    with cores.using(1), torch.inference_mode():
        wave = resynthesis.from_log_mel(db, filters, options.n_fft, options.hop_length, n_samples)
    return wave.numpy()


def _n_frames(options: PictureOptions, n_samples: int) -> int:
    return n_frames(n_samples, options.n_fft, options.hop_length)  # type: ignore[attr-defined]


def _places(n: int, wanted: int) -> np.ndarray:
    """Where the middles of `wanted` resized rows (or columns) lie among n original ones."""
    return (np.arange(wanted) + 0.5) * n / wanted - 0.5


def _row_of(place: float, n: int, wanted: int) -> float:
    """The inverse of `_places`."""
    return (place + 0.5) * wanted / n - 0.5


def _stretched(values: np.ndarray, wanted: int) -> np.ndarray:
    """Values (n,) at the places of `wanted` resized rows, going on in a line beyond both ends."""
    if len(values) < 2 or len(values) == wanted:
        return np.resize(values, wanted)
    places = _places(len(values), wanted)
    inner = np.clip(np.floor(places).astype(int), 0, len(values) - 2)
    return values[inner] + (places - inner) * (values[inner + 1] - values[inner])
