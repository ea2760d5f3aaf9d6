"""The figures of a comparison, and how they look outside the dashboard."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from plotly.utils import PlotlyJSONEncoder

from genrecore.errors import GenrecoreError
from genrecore.evaluation import costs, differences, systems
from genrecore.evaluation.comparison import Comparison
from genrecore.reporting import plots
from genrecore.reporting.html.tables import members
from genrecore.reporting.plots import Chart, RunStyle
from genrecore.store import run as runs

FEW = 6
"""Up to so many runs each gets its bars and its own large matrix."""

_FEW_PAIRS = 3  # whose agreement and difference are drawn
_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif'
# The same steps as in the dashboard's theme, from nothing to all.
_STEPS = {
    "light": ["#f6f7fd", "#e3e6f8", "#cdd2f1", "#b3bbe9", "#979fdd", "#7b83d0", "#6168c1",
              "#4a4fb5", "#383b97", "#282a73"],
    "dark": ["#171a26", "#20243a", "#2b3054", "#373d70", "#454c8e", "#555dac", "#686fc8",
             "#7f86e0", "#a3a9f2", "#cfd3ff"],
}  # fmt: skip
_INK = {"light": "#454a5c", "dark": "#d3d7e5"}
_LINE = {"light": "#dcdfe8", "dark": "#343949"}
_GROUND = {"light": "#ffffff", "dark": "#1d202c"}


@dataclass(frozen=True)
class Figure:
    """A chart and its name, which is that of its files; `section` says to what it belongs:
    `scores`, `pairs`, `curves`, `genres`, `confusions`, `calibration` or `cost`."""

    name: str
    section: str
    chart: Chart

    @property
    def spec(self) -> dict[str, Any]:
        """The figure as plain JSON values, without a look of its own."""
        found: dict[str, Any] = json.loads(
            json.dumps(self.chart.figure.to_plotly_json(), cls=PlotlyJSONEncoder)
        )
        found["layout"].pop("template", None)
        return found


def figures(compared: Comparison, styles: Mapping[str, RunStyle] | None = None) -> list[Figure]:
    """Everything of a comparison that is drawn, in the order in which one looks at it.

    Args:
        compared: What to draw.
        styles: Of each key; by default those that the dashboard gives.
    """
    styles = styles or run_styles(compared)
    titles = compared.titles
    found = [Figure("scores", "scores", plots.leaderboard(compared.table, styles))]
    found += _of_pairs(compared)
    found += _of_curves(compared, styles)
    genres = plots.per_genre(compared.per_genre, styles)
    if len(titles) > FEW:
        genres = plots.recall_map(compared.per_genre)
    found.append(Figure("genres", "genres", genres))
    if len(compared.dependence):
        found.append(Figure("dependence", "genres", plots.dependence(compared.dependence)))
    if len(titles) > FEW:
        every = plots.confusions({titles[k]: matrix for k, matrix in compared.confusions.items()})
        found.append(Figure("confusions", "confusions", every))
    else:
        found += [
            Figure(f"confusion-{key}", "confusions", plots.confusion(matrix, titles[key]))
            for key, matrix in compared.confusions.items()
        ]
    drawn = plots.calibration(compared.calibration, styles)
    found.append(Figure("calibration", "calibration", drawn))
    return found + _of_costs(compared, styles)


def run_styles(compared: Comparison) -> dict[str, RunStyle]:
    """How each key is drawn on the pages: as its first run is among all runs of the store."""
    of_keys = members(compared)
    known = [run.run_id for run in runs.all_runs()]
    every = plots.run_styles(list({*known, *(run.run_id for run in compared.runs)}))
    return {key: every[of_key[0].run_id] for key, of_key in of_keys.items()}


def _of_pairs(compared: Comparison) -> list[Figure]:
    titles = list(compared.titles.values())
    found = []
    if len(titles) > 2:
        found.append(Figure("pairs", "pairs", plots.pair_matrix(compared.pairs, titles)))
    systems_ = systems.group_runs(compared.runs)
    if len(systems_) > 1:
        blocks = systems.over_blocks(systems_)
        if blocks.ranks is not None:
            names, n_blocks = [str(name) for name in blocks.scores.columns], len(blocks.scores)
            ranks = plots.critical_difference(names, blocks.ranks, n_blocks)
            found.append(Figure("ranks", "pairs", ranks))
    for pair in compared.pairs.to_dict(orient="records"):
        if len(compared.pairs) <= _FEW_PAIRS and pd.notna(pair["difference"]):
            name = f"{pair['run_a']}-{pair['run_b']}"
            shown = {str(key): value for key, value in pair.items()}
            found.append(Figure(f"agreement-{name}", "pairs", plots.agreement(shown)))
    return found + _of_differences(compared)


def _of_differences(compared: Comparison) -> list[Figure]:
    if len(compared.pairs) > _FEW_PAIRS:
        return []
    found = []
    for a, b in itertools.combinations(compared.titles, 2):
        try:
            matrix = differences.difference(compared.confusions[a], compared.confusions[b])
        except GenrecoreError:  # they know different genres, which a note says
            continue
        drawn = plots.difference(matrix, compared.titles[a], compared.titles[b])
        drawn = _named(drawn, f"A: {compared.titles[a]}, B: {compared.titles[b]}")
        found.append(Figure(f"difference-{a}-{b}", "confusions", drawn))
    return found


def _named(chart: Chart, words: str) -> Chart:
    """The chart with a line that says of what it is below its title."""
    chart.figure.update_layout(title_subtitle={"text": plots.chart.label(words)}, margin_t=66)
    return chart


def _of_curves(compared: Comparison, styles: Mapping[str, RunStyle]) -> list[Figure]:
    curves = compared.curves
    if curves.empty:
        return []
    curves = curves.assign(title=curves["key"].map(compared.titles))
    if not set(compared.titles) <= {run.run_id for run in compared.runs}:
        curves = systems.curve_band(curves)
    kept = compared.table.set_index("run_id")["best_epoch"].dropna()
    best = {str(key): float(epoch) for key, epoch in kept.items()}
    found = []
    for measure in ("accuracy", "loss", "lr"):
        if curves[measure].notna().any():
            drawn = plots.overlaid_curves(
                curves, measure, styles, training=len(compared.titles) <= FEW, best_epochs=best
            )
            found.append(Figure(f"curves-{measure}", "curves", drawn))
    return found


def _of_costs(compared: Comparison, styles: Mapping[str, RunStyle]) -> list[Figure]:
    """Accuracy against each cost that at least two of them are known to differ in."""
    sides = [(key, compared.titles[key], found) for key, found in members(compared).items()]
    table = costs.cost_table(sides)
    scored = compared.table[["run_id", "accuracy", "accuracy_low", "accuracy_high"]]
    table = table.merge(scored, on="run_id")
    found = []
    for column, name in costs.COSTS.items():
        if table[column].nunique() > 1:
            drawn = plots.cost(table, column, name, styles)
            found.append(Figure(f"cost-{column.replace('_', '-')}", "cost", drawn))
    return found


def template(theme: str) -> dict[str, Any]:
    """What a figure takes from the page around it: ink, lines, shades.

    Args:
        theme: `light` or `dark`.
    """
    steps = [[k / (len(_STEPS[theme]) - 1), shade] for k, shade in enumerate(_STEPS[theme])]
    axis = {"gridcolor": _LINE[theme], "zerolinecolor": _LINE[theme], "ticks": ""}
    hover = {"bgcolor": _GROUND[theme], "bordercolor": _LINE[theme]}
    return {
        "layout": {
            "font": {"family": _FONT, "color": _INK[theme], "size": 12},
            "colorscale": {"sequential": steps},
            "xaxis": axis,
            "yaxis": axis,
            "hoverlabel": hover | {"font": {"family": _FONT, "color": _INK[theme]}},
        },
        "data": {"heatmap": [{"colorscale": steps}]},
    }


def as_frame(chart: Chart) -> pd.DataFrame:
    """A chart's numbers with columns that are all texts."""
    return chart.table.rename(columns=str)
