"""`genrecore plans`: what becomes of plans and searches."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from genrecore.cli.app import app
from genrecore.cli.output import JSON, duration, err, out, print_json, print_table, reporting, share
from genrecore.config.dotted import in_words, name_of, shown
from genrecore.errors import GenrecoreError
from genrecore.evaluation.metrics import noun, watched
from genrecore.experiments import plan as plans
from genrecore.experiments import results as plan_results
from genrecore.experiments.plan import Plan

plans_app = typer.Typer(
    help="Plans of many runs: list, show, stop, go on.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(plans_app, name="plans")

PLAN = Annotated[str, typer.Argument(help="A plan's id, a part of it, or 'latest'.")]
DRY_RUN = Annotated[
    bool, typer.Option("--dry-run", help="Show the runs and the time they take; queue none.")
]
YES = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before queueing.")]
BACKGROUND = Annotated[
    bool, typer.Option("--background", help="Queue the runs and return at once.")
]


def said_begun(plan: Plan, as_json: bool, words: str) -> None:
    if as_json:
        print_json({"plan": plan.plan_id, "folder": str(plan.folder), "n_runs": plan.n_runs})
    else:
        out.print(f"{words}: {plan.plan_id}. Watch it: genrecore plans show {plan.plan_id}")


def follow_plan(plan: Plan, background: bool, as_json: bool) -> None:
    """Waits for a plan whose runs are queued, unless it is to go on by itself."""
    if background:
        said_begun(plan, as_json, f"Queued {plan.n_runs} runs")
        return
    if not as_json:
        out.print(f"Plan {plan.plan_id}. Ctrl-C leaves it to itself; its runs go on.")
    with reporting(quiet=as_json) as report:
        while plan.active:
            report(plan.title, len(plan.done), plan.n_runs)
            time.sleep(0.5)
            plan = Plan(plan.folder)
    _show(plan, as_json)
    if len(plan.done) < plan.n_runs:
        n = plan.n_runs - len(plan.done)
        raise GenrecoreError(
            f"{n} of {plan.n_runs} runs have no result; queue them again with: genrecore plans "
            f"resume {plan.plan_id}"
        )


def drive(plan: Plan, as_json: bool) -> None:
    from genrecore.experiments import search as searching

    if not as_json:
        out.print(f"Search {plan.plan_id}. After Ctrl-C: genrecore plans resume {plan.plan_id}")
    with reporting(quiet=as_json) as report:
        searching.drive(plan, report)
    _show(Plan(plan.folder), as_json)


def facts_of(plan: Plan) -> dict[str, Any]:
    """A plan for scripts."""
    return {
        **_in_short(plan),
        "runs": plan_results.table(plan),
        "tested": plan_results.tested(plan),
    }


def _in_short(plan: Plan) -> dict[str, Any]:
    best = plan_results.best(plan)
    return {
        "plan": plan.plan_id,
        "folder": str(plan.folder),
        "title": plan.title,
        "source": plan.source,
        "state": plan.state,
        "n_runs": plan.n_runs,
        "n_done": len(plan.done),
        "n_active": len(plan.active),
        "n_ended": len(plan.ended),
        "time_left_s": plan.left_s,
        "watch": plan.base.training.watch,
        "best_run": best.run.run_id if best and best.run else None,
        "search": plan.search,
        "left_out": plan.left_out,
    }


def _show(plan: Plan, as_json: bool) -> None:
    if as_json:
        print_json(facts_of(plan))
        return
    out.print(f"{plan.title}: {plan_results.summary(plan)}", markup=False)
    metric = watched(plan.base.training.watch)
    rows = [
        {
            **{name_of(key): shown(row[key]) for key in plan.varied},
            f"validation {noun(metric)}": metric.facts.written(row["score"]),
            "epochs": row["epochs"],
            "state": row["state"],
            "reason": row["reason"],
            "run": row["run"],
        }
        for row in plan_results.table(plan)
    ]
    print_table(rows, "No run of it has been queued yet.")
    if plan.source:
        out.print(f"\nAfter {plan.source}", markup=False)
    tested = plan_results.tested(plan)
    if len(tested):
        out.print("Accuracy on the test clips, the mean over seeds and folds:")
        print_table(
            [
                {str(key): share(v) if isinstance(v, float) else v for key, v in row.items()}
                for row in tested.to_dict("records")
            ]
        )
    for sentence in plan.left_out:
        err.print(f"Left out: {sentence}", markup=False)
    best = plan_results.best(plan)
    if best and best.run:
        value = metric.facts.written(plan_results.score(best.run, metric.name))
        out.print(f"Best by validation: {in_words(best.changes)} ({value})", markup=False)
    done = [one.run.run_id for one in plan.done if one.run]
    if len(done) > 1 and not plan.search:
        out.print(f"Compare them: genrecore compare {shlex.join(done[:8])}", markup=False)


@plans_app.command("list")
def list_plans(as_json: JSON = False) -> None:
    """Every plan, the newest first."""
    found = plans.all_plans()
    for problem in [plan.problem for plan in found if plan.problem]:
        err.print(problem, markup=False)
    found = [plan for plan in found if not plan.problem]
    if as_json:
        print_json(
            [
                {k: v for k, v in facts_of(plan).items() if k not in ("runs", "tested")}
                for plan in found
            ]
        )
        return
    rows = [
        {
            "plan": plan.plan_id,
            "title": plan.title,
            "state": plan.state,
            "runs": f"{len(plan.done)} of {plan.n_runs} done",
            "left": duration(plan.left_s) if plan.left_s is not None else "",
        }
        for plan in found
    ]
    print_table(rows, "No plans yet; 'genrecore sweep --help' says how to make one.")


@plans_app.command("show")
def show_plan(plan: PLAN, as_json: JSON = False) -> None:
    """One plan: how far it is, and its runs with their validation scores."""
    _show(plans.find_plan(plan), as_json)


@plans_app.command("stop")
def stop_plan(plan: PLAN, as_json: JSON = False) -> None:
    """Take its waiting runs out of the queue and stop those at work; what is done stays."""
    found = plans.find_plan(plan)
    sentence = plans.stop(found)
    if as_json:
        print_json({"plan": found.plan_id, "message": sentence})
    else:
        out.print(sentence)


@plans_app.command("resume")
def resume_plan(
    plan: PLAN,
    background: Annotated[bool, typer.Option("--background", help="Return at once.")] = False,
    as_json: JSON = False,
) -> None:
    """Queue what is missing, stopped, failed or lost; let a search go on."""
    found = plans.find_plan(plan)
    if not found.search:
        plans.queue_missing(found)
        follow_plan(Plan(found.folder), background, as_json)
        return
    from genrecore.experiments import search as searching

    if background:
        searching.start(found)
        said_begun(found, as_json, "The search goes on")
    else:
        searching.withdraw_stop(found)
        drive(found, as_json)


@plans_app.command("tables")
def list_tables(as_json: JSON = False) -> None:
    """The tables of the studies that are there as plans: for 'genrecore sweep --table NAME'."""
    from genrecore.experiments.papers.recipes import sweep_values, sweeps

    if as_json:
        print_json(
            [
                {
                    **sweep.model_dump(),
                    "source": f"{study.citation}, {sweep.source}",
                    "values": sweep_values(name),
                }
                for name, (study, sweep) in sweeps().items()
            ]
        )
        return
    for name, (study, sweep) in sweeps().items():
        out.print(f"{name}: {sweep.title}", style="bold", markup=False)
        for grid in sweep.grids:
            varied = "; ".join(f"{name_of(k)} {json.dumps(v)}" for k, v in grid.items())
            out.print(f"  varies {varied}", markup=False)
        out.print(f"  {study.citation}, {sweep.source}. {sweep.published}", markup=False)
        for note in sweep.notes:
            out.print(f"  – {note}", markup=False)


@plans_app.command("drive", hidden=True)
def drive_search(folder: Annotated[Path, typer.Argument()]) -> None:
    """Carry a search on in this process; what a task runs."""
    from genrecore.experiments import search as searching

    with reporting() as report:
        searching.drive(Plan(folder), report)
