"""A study's printed numbers beside the results of our runs, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import Any

from genrecore.experiments.papers.findings import Cell, Ours, cells, devices, gaps, rows_table
from genrecore.experiments.papers.printed import MEASURES
from genrecore.experiments.papers.recipes import RunsOfStudy
from genrecore.experiments.papers.study import PROTOCOLS, Study
from genrecore.words import decimals, percent, signed_points

_DIGITS = {"minutes": 1, "best_epoch": 0, "parameters": 0}


def in_words(ours: Ours, measure: str) -> str:
    """Ours for people: `36.1 % (33.0 to 39.3)`; empty where nothing was measured."""
    if not ours.n_runs or isnan(ours.value):
        return ""
    if measure in _DIGITS:
        ends = (ours.value, ours.low, ours.high)
        value, low, high = (decimals(number, _DIGITS[measure]) for number in ends)
        return value if low == high else f"{value} ({low} to {high})"
    if isnan(ours.low) or measure == "train_accuracy":
        return percent(ours.value)
    return _with_interval(ours.value, ours.low, ours.high)


def _with_interval(value: float, low: float, high: float) -> str:
    return f"{percent(value)} ({decimals(100 * low)} to {decimals(100 * high)})"


def facts(study: Study, runs: RunsOfStudy, rehearsal: bool = False) -> dict[str, Any]:
    """For JSON: the printed numbers with ours, the systems, the gaps."""
    all_cells = cells(study, runs, rehearsal)
    return {
        "study": study.name,
        "rehearsal": rehearsal,
        "cells": [
            {
                **cell.printed.model_dump(include={"place", "section", "system", "measure"}),
                "printed": cell.printed.value,
                "protocol": cell.protocol,
                "ours": cell.ours.value,
                "low": cell.ours.low,
                "high": cell.ours.high,
                "n_runs": cell.ours.n_runs,
                "shows": cell.ours.shows,
                "verdict": cell.verdict,
            }
            for cell in all_cells
        ],
        "systems": rows_table(study, runs).to_dict("records"),
        "gaps": [
            {
                "system": gap.system,
                "printed": gap.printed,
                "published": gap.published.value,
                "honest": gap.honest.value,
                "gap": gap.difference.value,
                "low": gap.difference.low,
                "high": gap.difference.high,
            }
            for gap in gaps(study, runs, all_cells)
        ],
    }


def markdown(study: Study, runs: RunsOfStudy, rehearsal: bool = False) -> str:
    """Tables of the printed numbers that were run, of the gap, and of all systems."""
    parts = [f"## {study.authors}", f"{study.citation}."]
    if rehearsal:
        parts.append("**Rehearsal**: fewer and shorter clips, fewer epochs; not for comparison.")
    if not runs.done:
        parts.append("No row of it has been run here.")
        return "\n\n".join(parts) + "\n"
    all_cells = cells(study, runs, rehearsal)
    if devices(runs):
        parts.append(f"Trained on: {devices(runs)}.")
    measured = [cell for cell in all_cells if cell.ours.n_runs and cell.printed.shown]
    if measured:
        parts.append(_table(_number_rows(study, measured)))
    gap_rows = [
        {
            "System": gap.title,
            "Printed": "" if isnan(gap.printed) else percent(gap.printed),
            "As published": f"{in_words(gap.published, 'accuracy')}, {gap.published.shows}",
            "Honest": in_words(gap.honest, "accuracy"),
            "Gap in points": f"{signed_points(gap.difference.value)} "
            f"({signed_points(gap.difference.low)} to {signed_points(gap.difference.high)})",
        }
        for gap in gaps(study, runs, all_cells)
    ]
    if gap_rows:
        parts += [
            "As published, measured as the study measured, against honest, measured on test clips:",
            _table(gap_rows),
        ]
    table = rows_table(study, runs)
    system_rows = [
        {
            "System": row["title"],
            "Protocol": PROTOCOLS[row["protocol"]],
            "Runs": str(row["runs"]),
            "Test accuracy": _with_interval(row["accuracy"], row["low"], row["high"]),
            "Validation": "" if isnan(row["valid_accuracy"]) else percent(row["valid_accuracy"]),
            "Best epoch": decimals(row["best_epoch"], 0),
            "Minutes a run": decimals(row["minutes"]),
            "Marks": "; ".join(filter(None, (row["badge"], row["chosen"]))),
        }
        for row in table[table["runs"] > 0].to_dict("records")
    ]
    parts += ["All systems that were run:", _table(system_rows)]
    return "\n\n".join(parts) + "\n"


def _number_rows(study: Study, measured: Sequence[Cell]) -> list[dict[str, str]]:
    """One row for each number and protocol, with every place that prints it."""
    same: dict[tuple[str, ...], list[Cell]] = {}
    for cell in measured:
        printed = cell.printed
        key = (printed.system, printed.quantity, printed.shown, cell.protocol)
        same.setdefault(key, []).append(cell)
    rows = []
    for (system, quantity, printed_text, protocol), same_cells in same.items():
        ours, word = same_cells[0].ours, same_cells[0].verdict
        measure = same_cells[0].printed.measure
        shows = f", {ours.shows}" if ours.shows != MEASURES[measure] else ""
        text = in_words(ours, measure)
        rows.append(
            {
                "Place": ", ".join(dict.fromkeys(cell.printed.place for cell in same_cells)),
                "System": study.title_of(system),
                "Measure": quantity,
                "Printed": printed_text,
                "Protocol": PROTOCOLS[protocol],
                "Ours": text + shows if text else "",
                "Runs": str(ours.n_runs),
                "Verdict": word or "–",
            }
        )
    return rows


def _table(rows: Sequence[dict[str, str]]) -> str:
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    head, *body = (f"| {' | '.join(cells)} |" for cells in lines)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])
