"""What a clip sounds like, to the eye: waveform, mel spectrogram, the verdict over time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from genrecore.plots.chart import Chart, label, laid_out, percent
from genrecore.plots.palette import PATTERNS, genre_colours

_WAVE_COLOUR = "#7a6cc0"
# Magma without its first colour, #000004: Streamlit reads that as a placeholder of its theme.
_INTENSITY = [
    [0.0, "#06051a"],
    [0.2, "#3b0f70"],
    [0.4, "#8c2981"],
    [0.6, "#de4968"],
    [0.8, "#fe9f6d"],
    [1.0, "#fcfdbf"],
]
_TICKS_HZ = {
    "100": 100,
    "500": 500,
    "1k": 1000,
    "2k": 2000,
    "4k": 4000,
    "8k": 8000,
    "16k": 16000,
}
_COLUMNS = 640  # about as many as a screen shows; more only makes the page heavy


def waveform(wave: np.ndarray, sample_rate_hz: int) -> Chart:
    """The envelope of a wave: lowest and highest sample of each stretch of time.

    Args:
        wave: (n_samples,) float in [-1, 1].
        sample_rate_hz: Of the wave.
    """
    n_columns = max(1, min(_COLUMNS, len(wave)))
    edges = np.linspace(0, len(wave), n_columns + 1).astype(int)[:-1]
    low = np.minimum.reduceat(wave, edges) if len(wave) else np.zeros(1)
    high = np.maximum.reduceat(wave, edges) if len(wave) else np.zeros(1)
    times_s = np.round(edges / sample_rate_hz, 3)
    figure = go.Figure()
    for values, fill in ((low, None), (high, "tonexty")):
        figure.add_scatter(
            x=times_s.tolist(),
            y=np.round(values.astype(float), 4).tolist(),
            mode="lines",
            line={"width": 0.8, "color": _WAVE_COLOUR},
            fill=fill,
            fillcolor=_see_through(_WAVE_COLOUR, 0.55),
            showlegend=False,
            hovertemplate="%{x:.2f} s: %{y:.2f}<extra></extra>",
        )
    laid_out(figure, "Waveform", 190)
    figure.update_layout(margin_r=74)  # as wide as the spectrogram beside its colour bar
    duration_s = len(wave) / sample_rate_hz
    figure.update_xaxes(title="Time (s)", range=[0, duration_s], showgrid=False)
    figure.update_yaxes(title="Amplitude", range=[-1.05, 1.05], tickvals=[-1, 0, 1])
    peak = float(np.abs(wave).max()) if len(wave) else 0.0
    table = pd.DataFrame({"Time (s)": times_s, "Lowest": low, "Highest": high})
    alt = f"Waveform of {duration_s:.1f} seconds; the loudest sample is {peak:.2f} of full scale."
    return Chart(figure, alt, table)


def mel_spectrogram(db: np.ndarray, times_s: np.ndarray, centre_hz: np.ndarray) -> Chart:
    """A mel spectrogram in dB, low frequencies at the bottom.

    Args:
        db: (bins, frames) in dB.
        times_s: (frames,) the middle of each frame.
        centre_hz: (bins,) the centre of each mel band.
    """
    step = max(1, -(-db.shape[1] // _COLUMNS))
    kept = db.shape[1] // step * step
    # The loudest of each group of frames: averaging dB would wash attacks out.
    shown = db[:, :kept].reshape(db.shape[0], -1, step).max(axis=2)
    times_s = times_s[:kept:step]
    rows = _tick_rows(centre_hz)
    # Names, not numbers: a category axis keeps the bands equally high, as on the mel scale.
    names = [f"{hz:.1f}" for hz in centre_hz]
    figure = go.Figure(
        go.Heatmap(
            z=np.round(shown).astype(np.int16),
            x=np.round(times_s, 3).tolist(),
            y=names,
            colorscale=_INTENSITY,
            colorbar={
                "title": {"text": "dB", "font": {"size": 11}},
                "thickness": 10,
                "outlinewidth": 0,
                "tickfont": {"size": 11},
            },
            hovertemplate="%{x:.2f} s, %{y} Hz: %{z} dB<extra></extra>",
        )
    )
    laid_out(figure, "Mel spectrogram", 300)
    figure.update_xaxes(title="Time (s)", showgrid=False)
    figure.update_yaxes(
        title="Frequency (Hz)",
        type="category",
        showgrid=False,
        tickvals=list(rows.values()),
        ticktext=list(rows),
    )
    loudest = int(np.argmax(db.max(axis=1))) if db.size else 0
    # One number a band a second: the table says what the picture says and can still be read.
    table = _by_second(db, times_s, centre_hz, step)
    alt = (
        f"Mel spectrogram with {db.shape[0]} bands; the loudest band is around "
        f"{centre_hz[loudest]:.0f} hertz."
    )
    return Chart(figure, alt, table)


def verdict_over_time(segments: pd.DataFrame) -> Chart:
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
    figure = go.Figure()
    for position, (column, genre) in enumerate(zip(columns, genres, strict=True)):
        values = segments[column].astype(float).round(4).to_list()
        figure.add_scatter(
            x=x,
            y=[*values, values[-1]] if values else [],
            name=label(genre),
            stackgroup="verdict",
            mode="lines",
            line={"width": 0.6, "color": colours[genre], "shape": "hv"},
            fillcolor=_see_through(colours[genre], 0.85),
            fillpattern={
                "shape": PATTERNS[position % len(PATTERNS)],
                "solidity": 0.14,
                "fgcolor": "rgba(0,0,0,0.55)",
                "bgcolor": _see_through(colours[genre], 0.85),
            },
            hovertemplate=f"{label(genre)}: %{{y:.1%}}<extra></extra>",
        )
    laid_out(
        figure,
        "Verdict over time",
        380,
        hovermode="x unified",
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": -0.32,
            "yanchor": "top",
            "traceorder": "normal",
        },
    )
    figure.update_xaxes(title="Time (s)", showgrid=False, range=[0, x[-1] if x else 1])
    figure.update_yaxes(title="Probability", tickformat=".0%", range=[0, 1])
    shown = segments[["start_s", "end_s", *columns]].rename(
        columns={"start_s": "From (s)", "end_s": "To (s)"} | dict(zip(columns, genres, strict=True))
    )
    words = "no segment"
    if len(segments):
        mean = segments[columns].mean()
        top = str(mean.idxmax()).removeprefix("p_")
        leads = (segments[columns].idxmax(axis=1) == f"p_{top}").mean()
        words = f"{top} leads in {percent(leads)} of {len(segments)} segments"
    return Chart(
        figure, f"Stacked areas of the probability of each genre over time: {words}.", shown
    )


def _by_second(
    db: np.ndarray, times_s: np.ndarray, centre_hz: np.ndarray, step: int
) -> pd.DataFrame:
    kept = len(times_s) * step
    grouped = db[:, :kept].reshape(db.shape[0], -1, step).max(axis=2)
    seconds = np.floor(times_s).astype(int)
    table = pd.DataFrame(grouped.T).groupby(seconds).max().T.round(1)
    table.columns = pd.Index([f"{second} s" for second in table.columns])
    table.insert(0, "Band (Hz)", np.round(centre_hz).astype(int))
    return table


def _tick_rows(centre_hz: np.ndarray) -> dict[str, int]:
    """The row nearest to each round frequency, by its label; too close ones are left out."""
    reach = float(centre_hz[-1]) * 1.05 if len(centre_hz) else 0.0
    rows: dict[str, int] = {}
    last = -len(centre_hz)
    for words, hz in _TICKS_HZ.items():
        row = int(np.argmin(np.abs(centre_hz - hz))) if hz <= reach else -1
        if row - last > len(centre_hz) / 14:
            rows[words] = last = row
    return rows


def _see_through(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"
