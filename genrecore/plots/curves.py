"""Loss and accuracy over the epochs, of one run or of several over one another."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from genrecore.plots.chart import Chart, label, laid_out, legend_below_title
from genrecore.plots.palette import RunStyle

_MEASURES = {
    "loss": ("Loss", "Cross-entropy (nats)", ".3f"),
    "accuracy": ("Accuracy", "Share recognised", ".1%"),
}
_SPLITS = {"train": "training", "valid": "validation"}


def learning_curves(
    curves: pd.DataFrame,
    measure: str,
    styles: Mapping[str, RunStyle],
    best_epochs: Mapping[str, int] | None = None,
) -> Chart:
    """Loss or accuracy against the epoch; validation is drawn solid with markers, training dotted.

    Args:
        curves: `run_id, title, epoch, split (train|valid), loss, accuracy`.
        measure: "loss" or "accuracy".
        styles: Of each run in `curves`.
        best_epochs: The epoch each run keeps; it gets a ring.
    """
    name, unit, number = _MEASURES[measure]
    titles = curves.drop_duplicates("run_id").set_index("run_id")["title"]
    several = len(titles) > 1
    figure = go.Figure()
    for run_id, title in titles.items():
        style = styles[str(run_id)]
        of_run = curves[curves["run_id"] == run_id]
        for split, word in _SPLITS.items():
            part = of_run[of_run["split"] == split].dropna(subset=[measure])
            if part.empty:
                continue
            solid = split == "valid"
            figure.add_scatter(
                x=part["epoch"].tolist(),
                y=part[measure].tolist(),
                name=label(f"{title}, {word}" if several else word.capitalize()),
                legendgroup=str(run_id),
                mode="lines+markers" if solid or len(part) == 1 else "lines",
                line={
                    "color": style.colour,
                    "width": 2.4 if solid else 1.6,
                    "dash": "solid" if solid else "dot",
                },
                marker={
                    "symbol": style.marker if solid else f"{style.marker}-open",
                    "size": 7,
                    "maxdisplayed": 24,
                    "color": style.colour,
                },
                opacity=1.0 if solid else 0.8,
                showlegend=not several or solid,
                hovertemplate=f"{label(title)}<br>epoch %{{x}}, {word}: %{{y:{number}}}"
                "<extra></extra>",
            )
        _ring(figure, of_run, measure, style, (best_epochs or {}).get(str(run_id)))
    epochs = curves["epoch"].max() if len(curves) else 1
    laid_out(figure, name, 330, legend=legend_below_title(), hovermode="closest")
    figure.update_layout(margin_t=76 + 20 * max(0, len(titles) - 2 if several else 0))
    figure.update_xaxes(
        title="Epoch", range=[0.5, max(float(epochs), 2) + 0.5], dtick=_tick(epochs), showgrid=False
    )
    figure.update_yaxes(title=unit, tickformat=".0%" if measure == "accuracy" else "~g")
    figure.update_yaxes(rangemode="tozero" if measure == "loss" else "normal")
    table = _wide(curves, measure, several)
    shares = tuple(str(name) for name in table.columns[1:]) if measure == "accuracy" else ()
    return Chart(figure, _in_words(curves, measure, titles), table, shares)


def _ring(
    figure: go.Figure, of_run: pd.DataFrame, measure: str, style: RunStyle, epoch: int | None
) -> None:
    here = of_run[(of_run["epoch"] == epoch) & (of_run["split"] == "valid")]
    if epoch is None or here.empty:
        return
    figure.add_scatter(
        x=[epoch],
        y=[float(here[measure].iloc[0])],
        mode="markers",
        marker={
            "symbol": "circle-open",
            "size": 16,
            "color": style.colour,
            "line": {"width": 2, "color": style.colour},
        },
        showlegend=False,
        hoverinfo="skip",
    )


def _tick(epochs: float) -> int:
    step, factor = 1, 2.0
    while epochs / step > 12:
        step = int(step * factor)
        factor = 2.5 if factor == 2.0 else 2.0
    return step


def _wide(curves: pd.DataFrame, measure: str, several: bool) -> pd.DataFrame:
    named = curves.assign(
        column=[
            f"{title}, {_SPLITS[split]}" if several else _SPLITS[split].capitalize()
            for title, split in zip(curves["title"], curves["split"], strict=True)
        ]
    )
    wide = named.pivot_table(index="epoch", columns="column", values=measure, sort=False)
    return wide.rename_axis(index="Epoch", columns=None).reset_index()


def _in_words(curves: pd.DataFrame, measure: str, titles: pd.Series) -> str:
    parts = []
    for run_id, title in titles.items():
        valid = curves[(curves["run_id"] == run_id) & (curves["split"] == "valid")]
        valid = valid.dropna(subset=[measure])
        if valid.empty:
            continue
        first, last = valid.iloc[0], valid.iloc[-1]
        parts.append(
            f"{title}: validation {measure} from {first[measure]:.3g} in epoch {first['epoch']:.0f}"
            f" to {last[measure]:.3g} in epoch {last['epoch']:.0f}"
        )
    drawn = "; ".join(parts) or "no epoch yet"
    return f"Line chart of {measure} over the epochs. {drawn}."
