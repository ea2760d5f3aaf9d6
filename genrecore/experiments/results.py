"""What a plan's runs have come to: which did best, by the validation clips; and, of plans that name
their runs, the table of test accuracies."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pandas as pd

from genrecore.evaluation import comparison
from genrecore.evaluation.metrics import watched
from genrecore.experiments.draft import REPEATS
from genrecore.experiments.plan import PRUNED, Member, Plan
from genrecore.experiments.values import name_of, shown
from genrecore.store.run import Run


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
    return float(values.max() if watched(watch).facts.higher_is_better else values.min())


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
    pick = max if watched(watch).facts.higher_is_better else min
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


def tested(plan: Plan) -> pd.DataFrame:
    """The accuracy on the test clips as studies print it: a row a value of one setting, a column a
    value of the other; the mean over seeds and folds, nan where nothing is done yet.

    Empty where one or two settings are not what varies, and for a search, whose choice the test
    clips must not be part of.
    """
    axes = [key for key in plan.varied if key not in REPEATS and len(_values(plan, key)) > 1]
    if plan.search or len(axes) not in (1, 2) or not plan.done:
        return pd.DataFrame()
    axes.sort(key=lambda key: key != "model")
    rows, across = axes[0], axes[1] if len(axes) > 1 else None
    columns = _values(plan, across) if across else [""]
    found: dict[tuple[str, str], list[float]] = {}
    for one in plan.done:
        place = shown(one.changes.get(rows)), shown(one.changes.get(across)) if across else ""
        if one.run is not None:
            found.setdefault(place, []).append(float(comparison.scores(one.run)["accuracy"]))
    head = name_of(across).capitalize() if across else "Test accuracy"
    return pd.DataFrame(
        {
            name_of(rows).capitalize(): _values(plan, rows),
            **{
                f"{head} {column}".strip(): [
                    statistics.mean(found.get((row, column), [math.nan]))
                    for row in _values(plan, rows)
                ]
                for column in columns
            },
        }
    )


def _values(plan: Plan, key: str) -> list[str]:
    """A field's values in a plan, in words, in their order."""
    return list(dict.fromkeys(shown(one.changes.get(key)) for one in plan.members))
