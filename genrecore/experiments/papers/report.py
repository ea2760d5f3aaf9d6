"""What a study prints and what our runs say, as Markdown and as facts for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import Any

from genrecore.experiments.papers.findings import Cell, Ours, cells, devices_of, gaps, rows_table
from genrecore.experiments.papers.printed import MEASURES
from genrecore.experiments.papers.reading import PROTOCOLS, Study
from genrecore.experiments.papers.running import Found


def in_words(ours: Ours, measure: str) -> str:
    """Ours for people: `36.1 % (33.0 to 39.3)`; empty where nothing was measured."""
    if not ours.n_runs or isnan(ours.value):
        return ""
    if measure in ("minutes", "best_epoch", "parameters"):
        digits = {"minutes": 1, "best_epoch": 0, "parameters": 0}[measure]
        value, low, high = (f"{x:,.{digits}f}".replace(",", " ") for x in
                            (ours.value, ours.low, ours.high))  # fmt: skip
        return value if low == high else f"{value} ({low} to {high})"
    if isnan(ours.low) or measure == "train_accuracy":
        return f"{100 * ours.value:.1f} %"
    return f"{100 * ours.value:.1f} % ({100 * ours.low:.1f} to {100 * ours.high:.1f})"


def facts(study: Study, there: Found, rehearsal: bool = False) -> dict[str, Any]:
    """For JSON: the printed numbers with ours, the systems, the gaps."""
    found = cells(study, there, rehearsal)
    return {
        "study": study.name,
        "rehearsal": rehearsal,
        "cells": [
            {
                "place": cell.printed.place,
                "section": cell.printed.section,
                "system": cell.printed.system,
                "measure": cell.printed.measure,
                "printed": cell.printed.value,
                "protocol": cell.protocol,
                "ours": cell.ours.value,
                "low": cell.ours.low,
                "high": cell.ours.high,
                "n_runs": cell.ours.n_runs,
                "shows": cell.ours.shows,
                "verdict": cell.verdict,
            }
            for cell in found
        ],
        "systems": rows_table(study, there).to_dict("records"),
        "gaps": [
            {
                "system": one.system,
                "printed": one.printed,
                "published": one.published.value,
                "honest": one.honest.value,
                "gap": one.difference.value,
                "low": one.difference.low,
                "high": one.difference.high,
            }
            for one in gaps(study, there, found)
        ],
    }


def markdown(study: Study, there: Found, rehearsal: bool = False) -> str:
    """Tables of the printed numbers that were run, of the gap, and of all systems."""
    found = cells(study, there, rehearsal)
    parts = [f"## {study.authors}", study.citation + "."]
    if rehearsal:
        parts.append("**Rehearsal**: fewer and shorter clips, fewer epochs; nothing to compare.")
    run = [cell for cell in found if cell.ours.n_runs and cell.printed.shown]
    if not there.done:
        parts.append("No row of it has been run here.")
        return "\n\n".join(parts) + "\n"
    devices = devices_of(study, there)
    parts.append(f"Trained on: {devices}." if devices else "")
    if run:
        parts.append(_numbers(study, run))
    both = gaps(study, there, found)
    if both:
        parts.append(
            "As published, measured as the study measured, against honest, measured on test clips:"
        )
        parts.append(
            _table(
                ("System", "Printed", "As published", "Honest", "Gap in points"),
                [
                    (
                        one.title,
                        "" if isnan(one.printed) else f"{100 * one.printed:.1f} %",
                        f"{in_words(one.published, 'accuracy')}, {one.published.shows}",
                        in_words(one.honest, "accuracy"),
                        f"{100 * one.difference.value:+.1f} ({100 * one.difference.low:+.1f} to "
                        f"{100 * one.difference.high:+.1f})",
                    )
                    for one in both
                ],
            )
        )
    parts.append("All systems that were run:")
    table = rows_table(study, there)
    parts.append(
        _table(
            ("System", "Protocol", "Runs", "Test accuracy", "Validation", "Best epoch",
             "Minutes a run", "Marks"),
            [
                (
                    row["title"],
                    PROTOCOLS[row["protocol"]],
                    str(row["runs"]),
                    f"{100 * row['accuracy']:.1f} % ({100 * row['low']:.1f} to "
                    f"{100 * row['high']:.1f})",
                    "" if isnan(row["valid_accuracy"]) else f"{100 * row['valid_accuracy']:.1f} %",
                    f"{row['best_epoch']:.0f}",
                    f"{row['minutes']:.1f}",
                    "; ".join(part for part in (row["badge"], row["chosen"]) if part),
                )
                for row in table[table["runs"] > 0].to_dict("records")
            ],
        )
    )  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _numbers(study: Study, found: Sequence[Cell]) -> str:
    """A row a number and protocol; one that is printed in several places stands once."""
    places: dict[tuple[str, ...], list[Cell]] = {}
    for cell in found:
        printed = cell.printed
        key = (printed.system, printed.measure, printed.genre, printed.shown, cell.protocol)
        places.setdefault(key, []).append(cell)
    rows = []
    for cells_ in places.values():
        cell, measure = cells_[0], cells_[0].printed.measure
        ours = in_words(cell.ours, measure)
        if ours and cell.ours.shows != MEASURES[measure]:
            ours += f", {cell.ours.shows}"
        rows.append(
            (
                ", ".join(dict.fromkeys(one.printed.place for one in cells_)),
                study.title_of(cell.printed.system),
                MEASURES[measure],
                cell.printed.shown,
                PROTOCOLS[cell.protocol],
                ours,
                str(cell.ours.n_runs),
                cell.verdict or "–",
            )
        )
    head = ("Place", "System", "Measure", "Printed", "Protocol", "Ours", "Runs", "Verdict")
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
