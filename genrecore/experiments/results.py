"""Results of a plan: its best run by validation, all its runs, a table of test accuracies."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from genrecore.config.dotted import name_of, text_of
from genrecore.evaluation.metrics import watched
from genrecore.evaluation.scores import run_scores
from genrecore.experiments.draft import REPEATS
from genrecore.experiments.plan import PRUNED, Member, Plan
from genrecore.store.run import Run
from genrecore.words import plural


def score(run: Run, watch: str = "accuracy") -> float:
    """A run's best validation value of the watched metric so far; nan before its first epoch."""
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
    """A plan's progress as a sentence."""
    n_pruned = sum(member.run is not None and member.run.reason == PRUNED for member in plan.ended)
    counts = {
        "at work or waiting": len(plan.active),
        PRUNED: n_pruned,
        "ended without a result": len(plan.ended) - n_pruned,
    }
    text = f"{len(plan.done)} of {plural(plan.n_runs, 'run')} done"
    return text + "".join(f", {n} {state}" for state, n in counts.items() if n) + "."


def table(plan: Plan) -> list[dict[str, Any]]:
    """One row a run: the settings that vary, state, reason, epochs, best validation score, marks
    (`Run.warnings`)."""
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
                "marks": ", ".join(run.warnings) if run else "",
            }
        )
        listed.add(run.run_id if run else "")
    return rows


def tested(plan: Plan) -> pd.DataFrame:
    """Test accuracies as papers print them, means over seeds and folds: a row for each value of one
    setting, a column for each value of the other; nan where no run is done.

    Empty for a search, which must not use test clips, and unless one or two settings vary.
    """
    axes = [
        dotted for dotted in plan.varied if dotted not in REPEATS and len(_values(plan, dotted)) > 1
    ]
    if plan.search or len(axes) not in (1, 2) or not plan.done:
        return pd.DataFrame()
    axes.sort(key=lambda dotted: dotted != "model")
    rows, columns = axes[0], axes[1] if len(axes) > 1 else ""
    done = [member for member in plan.done if member.run]
    cells = pd.DataFrame(
        {
            "row": [_shown(member, rows) for member in done],
            "column": [_shown(member, columns) for member in done],
            "accuracy": [float(run_scores(m.run)["accuracy"]) for m in done if m.run],
        }
    )
    table = cells.pivot_table("accuracy", "row", "column", aggfunc="mean")
    table = table.reindex(index=_values(plan, rows), columns=_values(plan, columns))
    head = name_of(columns).capitalize() if columns else "Test accuracy"
    table.columns = pd.Index([f"{head} {column}".strip() for column in table.columns])
    return table.rename_axis(name_of(rows).capitalize()).reset_index()


def _values(plan: Plan, dotted: str) -> list[str]:
    """The values of a field in a plan, as text, in their order."""
    return list(dict.fromkeys(_shown(member, dotted) for member in plan.members))


def _shown(member: Member, dotted: str) -> str:
    return text_of(member.changes.get(dotted), dotted) if dotted else ""
