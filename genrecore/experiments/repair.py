"""Mending a plan that cannot be read: a copy first, then what its other files and its runs say.

| damaged | what becomes of it |
|---|---|
| `plan.json` | its good values and runs; without a base, the plan is moved aside as a whole |
| `trials.json` | taken away: the search writes it anew |
| `study.log` | taken away: the search draws its trials again and finds the runs that are done |
| anything else | taken away |

Copies lie in `damaged/` in the plan's folder; plans that were moved aside, in the store's folder
`.damaged`. Runs are left alone.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from genrecore.config.run import read_config
from genrecore.errors import GenrecoreError, describe
from genrecore.experiments.plan import LISTED, Plan, PlanFile, PlannedRun
from genrecore.jobs.access import work
from genrecore.jobs.repair import good_values, keep_copy, visible_folder
from genrecore.store.files import Unreadable, read_json, write_json
from genrecore.store.locks import LOCK, is_locked
from genrecore.store.own_files import move_aside
from genrecore.store.status import STOP
from genrecore.words import plural

MENDED = (*LISTED, LOCK, STOP)


@work("repair a plan")
def repair(plan: Plan) -> str:
    """Mends a plan, or moves it aside where that is impossible; returns what was done.

    Raises:
        GenrecoreError: The plan is at work, or its folder cannot be written.
    """
    if first_fault(plan) is None:
        return f"The plan {plan.plan_id} can be read; nothing is to be mended."
    if is_locked(plan.folder / LOCK):
        raise GenrecoreError(f"The plan {plan.plan_id} is at work; stop it first.")
    sentences: list[str] = []
    try:
        plan = Plan(visible_folder(plan.folder))
        while (fault := first_fault(plan)) is not None:
            name = fault.path.name if isinstance(fault, Unreadable) else "plan.json"
            if name not in MENDED or any(line.startswith(f"{name} ") for line in sentences):
                aside = move_aside(plan.folder, plan.store)
                where = f"{aside.parent.name}/{aside.name}"
                return (
                    f"The plan {plan.plan_id} cannot be mended; it is moved to {where} in the "
                    f"store, and its runs stay. {fault}"
                )
            sentences.append(_mend(plan, name))
            plan = Plan(plan.folder)
    except OSError as error:
        reason = describe(error)
        raise GenrecoreError(f"The plan {plan.plan_id} cannot be mended: {reason}") from None
    copies = "The damaged files are kept in its folder damaged." if sentences else ""
    return " ".join([f"The plan {plan.plan_id} can be read again.", *sentences, copies]).strip()


def first_fault(plan: Plan) -> GenrecoreError | None:
    """Why a plan cannot be read, also where only its study says so; None where it can."""
    from genrecore.experiments import search as searching

    try:
        fresh = Plan(plan.folder)
        _ = fresh.base, fresh.trials, fresh.members
        if fresh.search:
            searching.look_at_study(fresh)
    except GenrecoreError as error:
        return error
    return None


def _mend(plan: Plan, name: str) -> str:
    path = plan.folder / name
    values = _good_plan(read_json(path)) if name == "plan.json" else {}
    keep_copy(path)
    path.unlink(missing_ok=True)
    if not values:
        return f"{name} is taken away."
    write_json(path, values)
    n_runs = f" and {plural(len(values['runs']), 'run')}" if values["runs"] else ""
    return f"{name} keeps its good values{n_runs}."


def _good_plan(written: dict[str, Any]) -> dict[str, Any]:
    """The values of `plan.json` that fit, with the runs that do; empty where it has no base."""
    runs = written.get("runs")
    good = [run for run in runs if _is_run(run)] if isinstance(runs, list) else []
    values = good_values(written | {"runs": good}, PlanFile)
    return values if "base" in values and (good or "search" in values) else {}


def _is_run(run: Any) -> bool:
    try:
        read_config(PlannedRun.model_validate(run).config, "the plan")
    except (ValidationError, GenrecoreError):
        return False
    return True
