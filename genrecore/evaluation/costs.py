"""Costs of runs: parameters, multiply–adds, training time and latency.

Multiply–adds and latency are measured on request (`training.timing.measure_cost`) and kept in the
run's folder as `cost.json`, which is read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import Annotated, Any

import pandas as pd
from pydantic import Field, ValidationError

from genrecore.store.files import read_json
from genrecore.store.records import Duration, Record
from genrecore.store.run import Run

FILE = "cost.json"

COSTS = {
    "n_parameters": "Parameters",
    "n_multiply_adds": "Multiply–adds of a clip of 30 s",
    "train_s": "Training time (s)",
    "latency_ms": "Latency of a clip of 30 s (ms)",
}
"""Columns of `cost_table` that are costs, with the titles of their axes."""


def read_cost(run: Run) -> dict[str, Any]:
    """`n_parameters, n_multiply_adds, train_s, latency_ms` of a run, nan where not measured;
    `device`: what it was trained on; `measured_on`: the machine of the latency; `why`: the reason
    why multiply–adds are missing, if known."""
    measured = _measured(run)
    latency = measured.latency
    return {
        "n_parameters": _number(run.status.get("n_parameters")),
        "n_multiply_adds": _number(measured.n_multiply_adds),
        "train_s": run.worked_s,
        "latency_ms": _number(latency.median_ms if latency else None),
        "device": str(run.environment.get("device_name") or ""),
        "measured_on": f"{latency.machine} ({latency.device})" if latency else "",
        "why": measured.why or "",
    }


class _Latency(Record):
    median_ms: Duration
    machine: str
    device: str


class _Cost(Record):
    """`cost.json`; what does not fit was not measured."""

    n_multiply_adds: Annotated[float, Field(ge=0)] | None = None
    latency: _Latency | None = None
    why: str | None = None


def _measured(run: Run) -> _Cost:
    try:
        return _Cost.model_validate(read_json(run.folder / FILE))
    except ValidationError:
        return _Cost()


def cost_table(sides: Sequence[tuple[str, str, Sequence[Run]]]) -> pd.DataFrame:
    """One row a run or system: `run_id, title`, means of `COSTS` over its runs, and the different
    `device, measured_on, why` of these.

    Args:
        sides: Key, title and runs of each.
    """
    rows = []
    for key, title, runs in sides:
        costs = pd.DataFrame([read_cost(run) for run in runs])
        row: dict[str, Any] = {"run_id": key, "title": title}
        row |= {name: float(costs[name].mean()) for name in COSTS}
        row |= {
            name: ", ".join(dict.fromkeys(text for text in costs[name] if text))
            for name in ("device", "measured_on", "why")
        }
        rows.append(row)
    return pd.DataFrame(rows, columns=["run_id", "title", *COSTS, "device", "measured_on", "why"])


def not_measured(sides: Sequence[tuple[str, str, Sequence[Run]]]) -> list[Run]:
    """The first run of each side that has no `cost.json` yet."""
    first = [runs[0] for _, _, runs in sides]
    return [run for run in first if not (run.folder / FILE).exists()]


def _number(value: Any) -> float:
    return nan if value is None else float(value)
