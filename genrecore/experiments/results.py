"""What a plan's runs have reached: the best by the validation clips, a table of all of them, and,
of plans that name their runs, the table of test accuracies."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pandas as pd

from genrecore.config.dotted import name_of, shown
from genrecore.evaluation.metrics import watched
from genrecore.evaluation.scores import run_scores
from genrecore.experiments.draft import REPEATS
from genrecore.experiments.plan import PRUNED, Member, Plan
from genrecore.store.run import Run
from genrecore.words import plural


def score(run: Run, watch: str = "accuracy") -> float:
    """A run's best validation value so far, by the metric that is watched; nan before its first
    epoch. The test clips are not looked at."""
    if watch == "accuracy" and run.status.get("best_valid_accuracy") is not None:
        return float(run.status["best_valid_accuracy"])
    column = f"valid_{watch}"
    if column not in run.history:
        return math.nan
    values = run.history[column].dropna()
    if values.empty:
        return math.nan
    return float(values.max() if watched(watch).facts.higher_is_better else values.min())


def by_score(plan: Plan) -> list[Member]:
    """The finished runs, the best by validation first, those without validation last."""
    watch = plan.base.training.watch
    sign = -1 if watched(watch).facts.higher_is_better else 1

    def key(member: Member) -> float:
        value = score(member.run, watch) if member.run else math.nan
        return math.inf if math.isnan(value) else sign * value

    return sorted((member for member in plan.done if member.run), key=key)


def best(plan: Plan) -> Member | None:
    """The finished run with the best validation score, or None before there is one."""
    first = next(iter(by_score(plan)), None)
    if first is None or first.run is None or math.isnan(score(first.run, plan.base.training.watch)):
        return None
    return first


def summary(plan: Plan) -> str:
    """How far a plan is, as a sentence."""
    n_pruned = sum(member.run is not None and member.run.reason == PRUNED for member in plan.ended)
    counts = {
        "at work or waiting": len(plan.active),
        PRUNED: n_pruned,
        "ended without a result": len(plan.ended) - n_pruned,
    }
    text = f"{len(plan.done)} of {plural(plan.n_runs, 'run')} done"
    return text + "".join(f", {n} {what}" for what, n in counts.items() if n) + "."


def table(plan: Plan) -> list[dict[str, Any]]:
    """A row a run: what it changes, its state and reason, epochs, and best validation score."""
    watch = plan.base.training.watch
    rows: list[dict[str, Any]] = []
    listed: set[str] = set()
    for member in plan.members:
        run = member.run
        note = ""
        if run and run.run_id in listed:
            note = "drawn again"
        elif run and run.plan != plan.plan_id:
            note = "there already"
        rows.append(
            {
                **{dotted: member.changes.get(dotted) for dotted in plan.varied},
                "run": run.run_id if run else "",
                "state": member.state,
                "reason": run.reason if run else "",
                "epochs": f"{int(run.status.get('epoch') or 0)} of {run.n_epochs}" if run else "",
                "score": score(run, watch) if run else math.nan,
                "note": note,
            }
        )
        listed.add(run.run_id if run else "")
    return rows


def tested(plan: Plan) -> pd.DataFrame:
    """The accuracy on the test clips as papers print it: a row a value of one setting, a column a
    value of the other; the mean over seeds and folds, nan where nothing is done yet.

    Empty unless one or two settings vary, and for a search, whose choice the test clips must not
    be part of.
    """
    axes = [
        dotted for dotted in plan.varied if dotted not in REPEATS and len(_values(plan, dotted)) > 1
    ]
    if plan.search or len(axes) not in (1, 2) or not plan.done:
        return pd.DataFrame()
    axes.sort(key=lambda dotted: dotted != "model")
    rows, columns = axes[0], axes[1] if len(axes) > 1 else ""
    accuracies: dict[tuple[str, str], list[float]] = {}
    for member in plan.done:
        if member.run is not None:
            accuracy = float(run_scores(member.run)["accuracy"])
            accuracies.setdefault((_shown(member, rows), _shown(member, columns)), []).append(
                accuracy
            )
    head = name_of(columns).capitalize() if columns else "Test accuracy"
    names = _values(plan, rows)
    return pd.DataFrame(
        {
            name_of(rows).capitalize(): names,
            **{
                f"{head} {column}".strip(): [
                    statistics.mean(accuracies.get((row, column), [math.nan])) for row in names
                ]
                for column in _values(plan, columns)
            },
        }
    )


def _values(plan: Plan, dotted: str) -> list[str]:
    """The values of a field in a plan, as text, in their order."""
    return list(dict.fromkeys(_shown(member, dotted) for member in plan.members))


def _shown(member: Member, dotted: str) -> str:
    return shown(member.changes.get(dotted)) if dotted else ""
