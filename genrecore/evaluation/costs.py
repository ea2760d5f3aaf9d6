"""What accuracy costs: parameters, multiply–adds, training time and latency of runs.

Reading imports no torch. Multiply–adds are counted, and latency is measured, when somebody asks for
it (`measure`); what was found is kept in the run's folder as `cost.json`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from math import nan
from typing import Any

import pandas as pd

from genrecore.errors import GenrecoreError, describe
from genrecore.store.files import read_json, write_json
from genrecore.store.progress import Report, silent
from genrecore.store.run import Run

FILE = "cost.json"

COSTS = {
    "n_parameters": "Parameters",
    "n_multiply_adds": "Multiply–adds of a clip of 30 s",
    "train_s": "Training time (s)",
    "latency_ms": "Latency of a clip of 30 s (ms)",
}
"""Columns of `of`, and what to call them."""


def of(run: Run) -> dict[str, Any]:
    """`n_parameters, n_multiply_adds, train_s, latency_ms` of a run, nan where it was not measured;
    `device`: what it was trained on; `measured_on`: where the latency is from; `why`: why there
    are no multiply–adds, where that is known."""
    status, kept = run.status, read_json(run.folder / FILE)
    return {
        "n_parameters": _number(status.get("n_parameters")),
        "n_multiply_adds": _number(kept.get("n_multiply_adds")),
        "train_s": run.worked_s,
        "latency_ms": _number((kept.get("latency") or {}).get("median_ms")),
        "device": str(run.environment.get("device_name") or ""),
        "measured_on": _where(kept.get("latency") or {}),
        "why": str(kept.get("why") or ""),
    }


def table(sides: Sequence[tuple[str, str, Sequence[Run]]]) -> pd.DataFrame:
    """A row each: `run_id, title`, the columns of `of` as means over its runs, and `devices`, how
    many different ones they were trained on.

    Args:
        sides: Key, title and runs of each.
    """
    rows = []
    for key, title, members in sides:
        found = [of(run) for run in members]
        row: dict[str, Any] = {"run_id": key, "title": title}
        for name in COSTS:
            known = [one[name] for one in found if one[name] == one[name]]
            row[name] = sum(known) / len(known) if known else nan
        for name in ("device", "measured_on", "why"):
            row[name] = ", ".join(dict.fromkeys(one[name] for one in found if one[name]))
        rows.append(row)
    return pd.DataFrame(rows, columns=["run_id", "title", *COSTS, "device", "measured_on", "why"])


def missing(sides: Sequence[tuple[str, str, Sequence[Run]]]) -> list[Run]:
    """The first run of each that has no `cost.json`: what `measure` would look at."""
    first = [members[0] for _, _, members in sides]
    return [run for run in first if not (run.folder / FILE).exists()]


def measure(run: Run, report: Report = silent) -> dict[str, Any]:
    """Counts the multiply–adds of a run's model on its input and measures its latency on this
    machine; keeps and returns both. Imports torch. A model that cannot be measured says `why`."""
    from genrecore.training import card as cards
    from genrecore.training import latency

    found: dict[str, Any] = {}
    try:
        card = cards.card(run.config.model.name, run.config)
        found["n_multiply_adds"] = card.n_multiply_adds_clip
        if card.classical:
            found["why"] = "a classical model has no multiply–adds that could be counted"
        else:
            measured = latency.measure(run.config.model.name, run.config, report)
            found["latency"] = dataclasses.asdict(measured)
    except GenrecoreError as error:
        found["why"] = str(error)
    try:
        write_json(run.folder / FILE, found)
    except OSError as error:
        raise GenrecoreError(
            f"The cost of the run {run.run_id} cannot be kept: {describe(error)}"
        ) from None
    return found


def _number(value: Any) -> float:
    return nan if value is None else float(value)


def _where(latency: dict[str, Any]) -> str:
    return f"{latency['machine']} ({latency['device']})" if latency else ""
