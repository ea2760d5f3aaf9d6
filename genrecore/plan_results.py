"""What a plan's runs have come to: by the validation clips alone."""

from __future__ import annotations

import math
from typing import Any

from genrecore.plans import PRUNED, Member, Plan
from genrecore.runs import Run


def watched(watch: str) -> str:
    """What the validation metric that decides is called in a sentence."""
    words = {"macro_f1": "macro-F1", "top_2": "top-2 accuracy"}
    return words.get(watch, watch.replace("_", " "))


def score(run: Run, watch: str = "accuracy") -> float:
    """The best validation value of a run so far, by the metric that is watched; nan before its
    first epoch. The test clips are not looked at."""
    if watch == "accuracy" and run.status.get("best_valid_accuracy") is not None:
        return float(run.status["best_valid_accuracy"])
    column = f"valid_{watch}"
    if column not in run.history:
        return math.nan
    values = run.history[column].dropna()
    if values.empty:
        return math.nan
    return float(values.min() if watch == "loss" else values.max())


def best(plan: Plan) -> Member | None:
    """The finished run with the best validation score, or None before there is one."""
    watch = plan.base.training.watch
    scored = [
        (value, one)
        for one in plan.done
        if one.run and not math.isnan(value := score(one.run, watch))
    ]
    if not scored:
        return None
    pick = min if watch == "loss" else max
    return pick(scored, key=lambda pair: pair[0])[1]


def in_short(plan: Plan) -> str:
    """How far a plan is, as a sentence."""
    words = f"{len(plan.done)} of {plan.n_runs} run{'s' if plan.n_runs != 1 else ''} done"
    for n, what in (
        (len(plan.active), "at work or waiting"),
        (sum(one.run is not None and one.run.reason == PRUNED for one in plan.ended), PRUNED),
        (
            sum(one.run is None or one.run.reason != PRUNED for one in plan.ended),
            "ended without a result",
        ),
    ):
        words += f", {n} {what}" if n else ""
    return f"{words}."


def table(plan: Plan) -> list[dict[str, Any]]:
    """A row a run: what it changes, its state and reason, epochs, and best validation score."""
    watch = plan.base.training.watch
    rows: list[dict[str, Any]] = []
    for one in plan.members:
        run = one.run
        run_id = run.run_id if run else ""
        drawn_again = bool(run_id) and any(row["run"] == run_id for row in rows)
        elsewhere = run is not None and run.plan != plan.plan_id
        rows.append(
            {
                **{key: one.changes.get(key) for key in plan.varied},
                "run": run_id,
                "state": one.state,
                "reason": run.reason if run else "",
                "epochs": f"{int(run.status.get('epoch') or 0)} of {run.n_epochs}" if run else "",
                "score": score(run, watch) if run else math.nan,
                "note": "drawn again" if drawn_again else "there already" if elsewhere else "",
            }
        )
    return rows
