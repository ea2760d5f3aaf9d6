"""The figures of a comparison, and their colours outside the dashboard."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from plotly.utils import PlotlyJSONEncoder

from genrecore.errors import GenrecoreError
from genrecore.evaluation import costs, differences, systems, training_sizes
from genrecore.evaluation.comparison import Comparison
from genrecore.evaluation.curves import curve_band
from genrecore.reporting import plots
from genrecore.reporting.html.tables import members
from genrecore.reporting.plots import Chart, RunStyle
from genrecore.reporting.plots.palette import INK, SHADES, scale
from genrecore.store.runs import all_runs

MAX_LARGE = 6
"""With more runs than this, bars and large matrices give way to maps and small matrices."""

_MAX_PAIRS = 3  # whose agreement and difference are drawn
_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif'
_LINE = {"light": "#dcdfe8", "dark": "#343949"}
_GROUND = {"light": "#ffffff", "dark": "#1d202c"}


@dataclass(frozen=True)
class ReportFigure:
    """A chart with the name of its files, its section of the report (`scores`, `pairs`, `curves`,
    `sizes`, `genres`, `confusions`, `calibration` or `cost`), and sentences that read it."""

    name: str
    section: str
    chart: Chart
    sentences: tuple[str, ...] = ()

    @property
    def spec(self) -> dict[str, Any]:
        """The figure as plain JSON values, without a template of its own."""
        spec: dict[str, Any] = json.loads(
            json.dumps(self.chart.figure.to_plotly_json(), cls=PlotlyJSONEncoder)
        )
        spec["layout"].pop("template", None)
        return spec


def figures(
    compared: Comparison, styles: Mapping[str, RunStyle] | None = None
) -> list[ReportFigure]:
    """All figures of a comparison, in the order of the report.

    Args:
        compared: The comparison.
        styles: Style of each key; by default as on the pages.
    """
    styles = styles or run_styles(compared)
    titles = compared.titles
    drawings = [ReportFigure("scores", "scores", plots.leaderboard(compared.table, styles))]
    drawings += _pair_figures(compared)
    drawings += _curve_figures(compared, styles)
    genres = plots.per_genre(compared.per_genre, styles)
    if len(titles) > MAX_LARGE:
        genres = plots.recall_map(compared.per_genre)
    drawings.append(ReportFigure("genres", "genres", genres))
    if len(compared.dependence):
        drawings.append(ReportFigure("dependence", "genres", plots.dependence(compared.dependence)))
    if len(titles) > MAX_LARGE:
        small = plots.confusions({titles[k]: matrix for k, matrix in compared.confusions.items()})
        drawings.append(ReportFigure("confusions", "confusions", small))
    else:
        drawings += [
            ReportFigure(f"confusion-{key}", "confusions", plots.confusion(matrix, titles[key]))
            for key, matrix in compared.confusions.items()
        ]
    calibration = plots.calibration(compared.calibration, styles)
    drawings.append(ReportFigure("calibration", "calibration", calibration))
    curves = plots.risk_coverage(compared.risk_coverage, styles)
    drawings.append(ReportFigure("risk-coverage", "calibration", curves))
    drawings += _size_figures(compared, styles)
    return drawings + _cost_figures(compared, styles)


def run_styles(compared: Comparison) -> dict[str, RunStyle]:
    """The style of each key on the pages: that of its first run among all runs of the store."""
    run_ids = {run.run_id for run in [*all_runs(), *compared.runs]}
    styles = plots.run_styles(list(run_ids))
    return {key: styles[runs[0].run_id] for key, runs in members(compared).items()}


def _pair_figures(compared: Comparison) -> list[ReportFigure]:
    titles = list(compared.titles.values())
    drawings = []
    if len(titles) > 2:
        drawings.append(ReportFigure("pairs", "pairs", plots.pair_matrix(compared.pairs, titles)))
    groups = systems.group_runs(compared.runs)
    if len(groups) > 1:
        blocks = systems.over_blocks(groups)
        if blocks.ranks is not None:
            names, n_blocks = [str(name) for name in blocks.scores.columns], len(blocks.scores)
            ranks = plots.critical_difference(names, blocks.ranks, n_blocks)
            drawings.append(ReportFigure("ranks", "pairs", ranks))
    for pair in compared.pairs.to_dict(orient="records"):
        if len(compared.pairs) <= _MAX_PAIRS and pd.notna(pair["difference"]):
            name = f"{pair['run_a']}-{pair['run_b']}"
            counts = {str(key): value for key, value in pair.items()}
            drawings.append(ReportFigure(f"agreement-{name}", "pairs", plots.agreement(counts)))
    return drawings + _difference_figures(compared)


def _difference_figures(compared: Comparison) -> list[ReportFigure]:
    if len(compared.pairs) > _MAX_PAIRS:
        return []
    drawings = []
    for a, b in itertools.combinations(compared.titles, 2):
        try:
            matrix = differences.difference(compared.confusions[a], compared.confusions[b])
        except GenrecoreError:  # they know different genres; a note says so
            continue
        title_a, title_b = compared.titles[a], compared.titles[b]
        chart = plots.difference(matrix, title_a, title_b)
        subtitle = plots.chart.label(f"A: {title_a}, B: {title_b}")
        chart.figure.update_layout(title_subtitle={"text": subtitle}, margin_t=66)
        drawings.append(ReportFigure(f"difference-{a}-{b}", "confusions", chart))
    return drawings


def _curve_figures(compared: Comparison, styles: Mapping[str, RunStyle]) -> list[ReportFigure]:
    curves = compared.curves
    if curves.empty:
        return []
    curves = curves.assign(title=curves["key"].map(compared.titles))
    if not set(compared.titles) <= {run.run_id for run in compared.runs}:
        curves = curve_band(curves)
    epochs = compared.table.set_index("run_id")["best_epoch"].dropna()
    best_epochs = {str(key): float(epoch) for key, epoch in epochs.items()}
    drawings = []
    for measure in ("accuracy", "loss", "lr"):
        if curves[measure].notna().any():
            few = len(compared.titles) <= MAX_LARGE
            chart = plots.overlaid_curves(
                curves, measure, styles, training=few, best_epochs=best_epochs
            )
            drawings.append(ReportFigure(f"curves-{measure}", "curves", chart))
    return drawings


def _size_figures(compared: Comparison, styles: Mapping[str, RunStyle]) -> list[ReportFigure]:
    """Accuracy by training clips a genre, where systems that are compared differ in them alone."""
    measured = training_sizes.measure(training_sizes.find_curves(compared.runs))
    if measured.table.empty:
        return []
    keys = training_sizes.members_by_curve(members(compared))
    chart = plots.size_curves(measured.table, {curve: styles[key] for curve, key in keys.items()})
    return [ReportFigure("sizes", "sizes", chart, measured.sentences)]


def _cost_figures(compared: Comparison, styles: Mapping[str, RunStyle]) -> list[ReportFigure]:
    """Accuracy against each cost in which at least two of them are known to differ."""
    sides = [(key, compared.titles[key], runs) for key, runs in members(compared).items()]
    table = costs.cost_table(sides)
    scored = compared.table[["run_id", "accuracy", "accuracy_low", "accuracy_high"]]
    table = table.merge(scored, on="run_id")
    drawings = []
    for column, name in costs.COSTS.items():
        if table[column].nunique() > 1:
            chart = plots.cost(table, column, name, styles)
            drawings.append(ReportFigure(f"cost-{column.replace('_', '-')}", "cost", chart))
    return drawings


def template(theme: str) -> dict[str, Any]:
    """Colours that a figure takes from the page around it: text, lines, shades.

    Args:
        theme: `light` or `dark`.
    """
    steps = scale(SHADES[theme])
    axis = {"gridcolor": _LINE[theme], "zerolinecolor": _LINE[theme], "ticks": ""}
    hover = {"bgcolor": _GROUND[theme], "bordercolor": _LINE[theme]}
    return {
        "layout": {
            "font": {"family": _FONT, "color": INK[theme], "size": 12},
            "colorscale": {"sequential": steps},
            "xaxis": axis,
            "yaxis": axis,
            "hoverlabel": hover | {"font": {"family": _FONT, "color": INK[theme]}},
        },
        "data": {"heatmap": [{"colorscale": steps}]},
    }
