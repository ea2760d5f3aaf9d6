"""A clip over time: waveform, mel spectrogram, predictions of its segments."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from genrecore.audio.axes import frequency_rows
from genrecore.audio.levels import envelope
from genrecore.reporting.plots.chart import (
    Chart,
    draw,
    label,
    legend_below_title,
    see_through,
    set_time_axis,
)
from genrecore.reporting.plots.images import image_chart
from genrecore.reporting.plots.palette import PATTERNS, genre_colours
from genrecore.words import percent, seconds

_WAVE_COLOUR = "#7a6cc0"
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross")
_BEAT_COLOUR = "#d85430"
_COLUMNS = 640  # about as many as a screen shows; more only makes the page heavy


def waveform(
    wave: np.ndarray,
    sample_rate_hz: int,
    beats_s: Sequence[float] = (),
    title: str = "Waveform",
    reach: float = 1.05,
) -> Chart:
    """The envelope of a wave: lowest and highest sample of each stretch of time.

    Args:
        wave: (n_samples,) float, 1 being full scale.
        sample_rate_hz: Of the wave.
        beats_s: Times of beats, drawn as lines.
        title: Written above.
        reach: Least amplitude at which the vertical axis ends, either way.
    """
    low, high, starts = envelope(wave, _COLUMNS)
    times_s = np.round(starts / sample_rate_hz, 3)
    outlines = [
        {
            "type": "scatter",
            "x": times_s.tolist(),
            "y": np.round(values.astype(float), 4).tolist(),
            "mode": "lines",
            "line": {"width": 0.8, "color": _WAVE_COLOUR},
            "fill": fill,
            "fillcolor": see_through(_WAVE_COLOUR, 0.55),
            "showlegend": False,
            "hovertemplate": "%{x:.2f} s: %{y:.2f}<extra></extra>",
        }
        for values, fill in ((low, None), (high, "tonexty"))
    ]
    duration_s = len(wave) / sample_rate_hz
    peak = float(np.abs(wave).max()) if len(wave) else 0.0
    reach = max(reach, 1.05 * peak)
    along = {"title": "Time (s)", "showgrid": False}
    upward = {"title": "Amplitude", "range": [-reach, reach], "tickvals": [-1, 0, 1]}
    figure = draw(outlines, label(title), 190, along, upward)
    set_time_axis(figure, (0.0, duration_s))
    for beat_s in beats_s:
        figure.add_vline(x=round(float(beat_s), 3), line={"width": 1.2, "color": _BEAT_COLOUR})
    table = pd.DataFrame({"Time (s)": times_s, "Lowest": low, "Highest": high})
    alt = f"{title}, {duration_s:.1f} seconds; the loudest sample is {peak:.2f} of full scale."
    if len(beats_s):
        alt += f" {len(beats_s)} beats are marked."
    return Chart(figure, alt, table)


def mel_spectrogram(
    db: np.ndarray,
    times_s: np.ndarray,
    centre_hz: np.ndarray,
    span_s: tuple[float, float] | None = None,
) -> Chart:
    """A mel spectrogram in dB, low frequencies at the bottom.

    Args:
        db: (bins, frames) in dB.
        times_s: (frames,) the middle of each frame.
        centre_hz: (bins,) the centre of each mel band.
        span_s: Where the sound begins and ends.
    """
    loudest = int(np.argmax(db.max(axis=1))) if db.size else 0
    ending = f"The loudest band is around {centre_hz[loudest]:.0f} hertz."
    rows = frequency_rows(centre_hz)
    return image_chart(db, times_s, rows, "Mel spectrogram", "dB", span_s=span_s, ending=ending)


def tags_over_time(over_time: pd.DataFrame, tags: list[str], duration_s: float) -> Chart:
    """The probabilities of some tags as lines over time; they need not add up to anything.

    Args:
        over_time: `start_s, end_s` and a column a tag, a row a patch of sound.
        tags: Those that are drawn, the most probable first.
        duration_s: Of the whole recording.
    """
    colours = genre_colours(tags)
    middle_s = ((over_time["start_s"] + over_time["end_s"]) / 2).round(2)
    lines = [
        {
            "type": "scatter",
            "x": middle_s.to_list(),
            "y": over_time[tag].round(4).to_list(),
            "name": label(tag),
            "mode": "lines+markers",
            "marker": {"color": colours[tag], "symbol": symbol, "size": 7},
            "line": {"color": colours[tag], "width": 2},
            "hovertemplate": f"{label(tag)}: %{{y:.1%}}<extra></extra>",
        }
        for tag, symbol in zip(tags, itertools.cycle(_SYMBOLS), strict=False)
    ]
    figure = draw(
        lines,
        "Genre tags over time",
        320,
        {"title": "Time (s)", "showgrid": False},
        {"title": "Probability", "tickformat": ".0%", "rangemode": "tozero"},
        hovermode="x unified",
        legend=legend_below_title(y=-0.32, yanchor="top", traceorder="normal"),
    )
    set_time_axis(figure, (0.0, duration_s))
    numbers = over_time[["start_s", "end_s", *tags]]
    leads = over_time[tags].mean().idxmax()
    return Chart(
        figure,
        f"Lines of {len(tags)} tags over {seconds(duration_s)}; {leads} is highest on average.",
        numbers.rename(columns={"start_s": "From (s)", "end_s": "To (s)"}).round(3),
    )


def probabilities_over_time(segments: pd.DataFrame) -> Chart:
    """The probabilities of each segment as stacked areas over time.

    Args:
        segments: `start_s, end_s, p_<genre>…`, a row a segment.
    """
    columns = [name for name in segments.columns if str(name).startswith("p_")]
    genres = [str(name).removeprefix("p_") for name in columns]
    colours = genre_colours(genres)
    # A step for each segment: its values hold from start_s to end_s.
    starts, ends = segments["start_s"].to_list(), segments["end_s"].to_list()
    x = [*starts, ends[-1]] if starts else []
    areas = []
    for position, (column, genre) in enumerate(zip(columns, genres, strict=True)):
        values = segments[column].astype(float).round(4).to_list()
        fill = see_through(colours[genre], 0.85)
        area = {
            "type": "scatter",
            "x": x,
            "y": [*values, values[-1]] if values else [],
            "name": label(genre),
            "stackgroup": "probabilities",
            "mode": "lines",
            "line": {"width": 0.6, "color": colours[genre], "shape": "hv"},
            "fillcolor": fill,
            "fillpattern": {
                "shape": PATTERNS[position % len(PATTERNS)],
                "solidity": 0.14,
                "fgcolor": "rgba(0,0,0,0.55)",
                "bgcolor": fill,
            },
            "hovertemplate": f"{label(genre)}: %{{y:.1%}}<extra></extra>",
        }
        areas.append(area)
    figure = draw(
        areas,
        "Prediction over time",
        380,
        {"title": "Time (s)", "showgrid": False, "range": [0, x[-1] if x else 1]},
        {"title": "Probability", "tickformat": ".0%", "range": [0, 1]},
        hovermode="x unified",
        legend=legend_below_title(y=-0.32, yanchor="top", traceorder="normal"),
    )
    numbers = segments[["start_s", "end_s", *columns]].rename(
        columns={"start_s": "From (s)", "end_s": "To (s)"} | dict(zip(columns, genres, strict=True))
    )
    leader = "no segment"
    if len(segments):
        mean = segments[columns].mean()
        top = str(mean.idxmax()).removeprefix("p_")
        leads = (segments[columns].idxmax(axis=1) == f"p_{top}").mean()
        leader = f"{top} leads in {percent(leads)} of {len(segments)} segments"
    alt = f"Stacked areas of the probability of each genre over time: {leader}."
    return Chart(figure, alt, numbers)
