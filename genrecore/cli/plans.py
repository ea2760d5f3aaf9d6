"""`genrecore sweep`, `genrecore plans`: many runs as one command, and their results."""

from __future__ import annotations

import json
import math
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer import Argument, Option

from genrecore.cli.flags import with_flags
from genrecore.cli.options import (
    BackgroundOption,
    ConfigOption,
    DryRunOption,
    FolderOption,
    JsonOption,
    PlacesOption,
    PresetOption,
    YesOption,
    add_group,
    folder_values,
    settings,
    switch,
)
from genrecore.cli.output import (
    answer,
    err,
    out,
    print_caveats,
    print_json,
    print_rows,
    print_table,
    records,
    reporting,
)
from genrecore.config.dotted import in_words, name_of, read_assignments, text_of
from genrecore.config.run import RunConfig, with_values
from genrecore.errors import GenrecoreError, UsageError
from genrecore.evaluation.metrics import noun, watched
from genrecore.experiments import plan as plans
from genrecore.experiments import results
from genrecore.experiments.draft import Grid, draft, spread
from genrecore.experiments.plan import Plan
from genrecore.jobs.places import ELSEWHERE, read_places
from genrecore.store.progress import Report
from genrecore.store.runs import all_runs, find_same
from genrecore.words import percent, plural, seconds, visible_line

if TYPE_CHECKING:
    from genrecore.experiments.estimates import PlanEstimate
    from genrecore.experiments.search import Strategy

commands = typer.Typer(rich_markup_mode=None)
group = add_group(commands, "plans", "Plans of many runs: list, show, stop, resume, repair.")

PlanArgument = Annotated[str, Argument(help="A plan's id, a part of it, or 'latest'.")]


def _print_started(plan: Plan, as_json: bool, event: str) -> None:
    facts = {"plan": plan.plan_id, "folder": plan.folder, "n_runs": plan.n_runs}
    sentence = f"{event}: {plan.plan_id}. Watch it: genrecore plans show {plan.plan_id}"
    answer(as_json, facts, sentence)


def follow_plan(plan: Plan, background: bool, as_json: bool) -> None:
    """Waits for a plan whose runs are queued, unless it goes on in the background."""
    if background:
        _print_started(plan, as_json, f"Queued {plural(plan.n_runs, 'run')}")
        return
    if not as_json:
        out.print(f"Plan {plan.plan_id}. After Ctrl-C its runs go on.")
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


def _drive(plan: Plan, as_json: bool) -> None:
    """Carries out a search in this process."""
    from genrecore.experiments import search as searching

    if not as_json:
        out.print(f"Search {plan.plan_id}. After Ctrl-C: genrecore plans resume {plan.plan_id}")
    with reporting(quiet=as_json) as report:
        searching.drive(plan, report)
    _show(Plan(plan.folder), as_json)


def _facts(plan: Plan) -> dict[str, Any]:
    """A plan for scripts, without its runs."""
    best = results.best(plan)
    return {
        "plan": plan.plan_id,
        "folder": str(plan.folder),
        "title": plan.title,
        "source": plan.source,
        "state": plan.state,
        "on": plan.on,
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
    table, tested = results.table(plan), results.tested(plan)
    if as_json:
        print_json({**_facts(plan), "runs": table, "tested": tested})
        return
    out.print(f"{plan.title}: {results.summary(plan)}")
    metric = watched(plan.base.training.watch)
    rows = [
        {
            **{name_of(key): text_of(row[key], key) for key in plan.varied},
            f"validation {noun(metric)}": metric.facts.written(row["score"]),
            **{key: row[key] for key in ("epochs", "state", "marks", "reason", "run")},
        }
        for row in table
    ]
    print_table(rows, "No run of it has been queued yet.")
    if plan.source:
        out.print(f"\nAfter {plan.source}")
    if len(tested):
        out.print("Accuracy on the test clips, the mean over seeds and folds:")
        print_table(
            [
                {key: percent(v) if isinstance(v, float) else v for key, v in row.items()}
                for row in records(tested)
            ]
        )
    for sentence in plan.left_out:
        err.print(f"Left out: {sentence}")
    best = results.best(plan)
    if best and best.run:
        value = metric.facts.written(results.score(best.run, metric.name))
        out.print(f"Best by validation: {in_words(best.changes)} ({value})")
        print_caveats(best.run)
    done = [member.run.run_id for member in plan.done if member.run]
    if len(done) > 1 and not plan.search:
        out.print(f"Compare them: genrecore compare {shlex.join(done[:8])}")


@group.command("list")
def list_plans(as_json: JsonOption = False) -> None:
    """Every plan, the newest first."""
    listed = plans.all_plans()
    for plan in listed:
        if plan.problem:
            err.print(f"{plan.problem} 'genrecore plans repair {plan.plan_id}' mends it.")
    listed = [plan for plan in listed if not plan.problem]
    if as_json:
        print_json([_facts(plan) for plan in listed])
        return
    rows = [
        {
            "plan": plan.plan_id,
            "title": plan.title,
            "state": plan.state,
            "runs": f"{len(plan.done)} of {plan.n_runs} done",
            "left": seconds(plan.left_s) if plan.left_s is not None else "",
        }
        for plan in listed
    ]
    print_table(rows, "No plans yet; 'genrecore sweep --help' says how to make one.")


@group.command("show")
def show_plan(plan: PlanArgument, as_json: JsonOption = False) -> None:
    """One plan: its progress, and its runs with their validation scores."""
    _show(plans.find_plan(plan), as_json)


@group.command("repair")
def repair_plan(
    plan: Annotated[
        str, Argument(help="A plan's id or a part of it; by default unreadable plans are listed.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Mend a plan that cannot be read, or list such plans. What is damaged is kept; its runs
    stay as they are."""
    from genrecore.experiments import repair

    if plan:
        damaged = plans.find_plan(plan)
        sentence = repair.repair(damaged)
        answer(as_json, {"plan": damaged.plan_id, "message": sentence}, sentence)
        return
    rows = [
        {"plan": visible_line(listed.plan_id), "problem": listed.problem}
        for listed in plans.all_plans()
        if listed.problem
    ]
    print_rows(as_json, rows, "All plans can be read.")


@group.command("stop")
def stop_plan(plan: PlanArgument, as_json: JsonOption = False) -> None:
    """Take its queued runs out of the queue and stop those at work; finished runs stay."""
    stopped = plans.find_plan(plan)
    sentence = plans.stop(stopped)
    answer(as_json, {"plan": stopped.plan_id, "message": sentence}, sentence)


@group.command("resume")
def resume_plan(
    plan: PlanArgument,
    background: Annotated[bool, Option("--background", help="Return at once.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Queue the missing, stopped, failed and lost runs again, or let a search go on."""
    resumed = plans.find_plan(plan)
    if not resumed.search:
        plans.queue_missing(resumed)
        follow_plan(Plan(resumed.folder), background, as_json)
        return
    from genrecore.experiments import search as searching

    if background:
        searching.start(resumed)
        _print_started(resumed, as_json, "The search goes on")
    else:
        searching.withdraw_stop(resumed)
        _drive(resumed, as_json)


@group.command("tables")
def list_tables(as_json: JsonOption = False) -> None:
    """The tables of the studies that can be run as plans: 'genrecore sweep --table NAME'."""
    from genrecore.experiments.papers.recipes import sweep_values, sweeps

    if as_json:
        print_json(
            [
                {
                    **sweep.model_dump(),
                    "grids": study.grids(sweep),
                    "source": f"{study.citation}, {sweep.source}",
                    "values": sweep_values(name),
                }
                for name, (study, sweep) in sweeps().items()
            ]
        )
        return
    for name, (study, sweep) in sweeps().items():
        out.print(f"{name}: {sweep.title}", style="bold")
        for grid in study.grids(sweep):
            varied = "; ".join(f"{name_of(k)} {json.dumps(v)}" for k, v in grid.items())
            out.print(f"  varies {varied}")
        out.print(f"  {study.citation}, {sweep.source}. {sweep.published}")
        for note in sweep.notes:
            out.print(f"  – {note}")


@group.command("drive", hidden=True)
def drive_search(folder: Annotated[Path, Argument()]) -> None:
    """Carry out a search in this process, as a task does."""
    from genrecore.experiments import search as searching

    with reporting() as report:
        searching.drive(Plan(folder), report)


@commands.command()
@with_flags(RunConfig, as_text=True)
def sweep(
    values: dict[str, Any],
    config: ConfigOption = None,
    set_: Annotated[
        list[str] | None, Option("--set", help="Values of any field, e.g. --set model.width=8,16.")
    ] = None,
    preset: PresetOption = "",
    folder: FolderOption = None,
    table: Annotated[str, Option(help="A study's table to start from; see 'plans tables'.")] = "",
    title: Annotated[str, Option(help="What the plan is called.")] = "",
    search: Annotated[
        Literal["", "random", "tpe"],
        Option(
            help="Try some combinations, at random or by the scores of earlier ones; fields then "
            "also take ranges: --lr 1e-5..1e-2:log. Validation decides."
        ),
    ] = "",
    trials: Annotated[int, Option(min=1, help="Runs of a search.")] = 20,
    prune: Annotated[
        bool, switch("prune", "End runs of a search early that do worse than others.")
    ] = False,
    pruner: Annotated[Literal["median", "hyperband"], Option(help="Rule of --prune.")] = "median",
    search_seed: Annotated[int, Option(help="Seed of a search.")] = 0,
    again: Annotated[
        bool, switch("again", "Train configurations again that are done already.")
    ] = False,
    on: PlacesOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    background: BackgroundOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train every combination of several values: models, seeds, splits, any field.

    Every flag takes values with commas between (--model cnn,crnn --seed 0,1,2 --lr 1e-3,1e-4), and
    whole numbers as a range (--seed 0..4); | stands between values that hold commas themselves
    (--augment "noise,shift|mixup"). The number of runs and the time they take are shown before
    anything is queued. A configuration that is done already is not trained again.
    """
    # In brackets: a list of one folder, whose name may hold commas.
    folders = {dotted: f"[{value}]" for dotted, value in folder_values(folder).items()}
    texts = values | folders | read_assignments(set_, "model.width=8,16")
    base = settings(config, {}, None, preset)
    places = read_places(on or ())
    if search:
        from genrecore.experiments.search import Strategy

        if table:
            raise UsageError(
                "--table names all its runs, --search chooses them; give one of the two."
            )
        strategy = Strategy(search, trials, pruner if prune else "none", search_seed)
        _search(base, texts, strategy, title, places, (dry_run, yes, background, as_json))
        return
    grids: list[Grid] = [{}]
    source = ""
    if table:
        from genrecore.experiments.papers.recipes import find_sweep, sweep_source, sweep_values

        study, printed = find_sweep(table)
        base = with_values(base, sweep_values(table))
        if texts.get("dataset", base.dataset.name) != base.dataset.name and "split" not in texts:
            base = base.model_copy(update={"split": RunConfig().split})  # the study's is its own
        grids, title, source = [*study.grids(printed)], title or printed.title, sweep_source(table)
    drafted = draft(*spread(base, grids, texts))
    same = [None] * len(drafted.configs) if again else find_same(drafted.configs)
    drafted = drafted.trainable(same)
    same = [None] * len(drafted.configs) if again else find_same(drafted.configs)
    ids = [run.run_id if run else None for run in same]
    new = [config for config, run_id in zip(drafted.configs, ids, strict=True) if not run_id]
    with reporting(quiet=as_json) as report:
        estimate = estimated(new, report)
    changes = list(zip(drafted.changes, ids, strict=True))
    if not as_json:
        print_table(
            [
                {"run": number}
                | ({"there already": run_id} if any(ids) else {})
                | {name_of(key): text_of(value, key) for key, value in change.items()}
                for number, (change, run_id) in enumerate(changes, start=1)
            ]
        )
        for sentence in (*drafted.left_out, *drafted.refused):
            err.print(f"Left out: {sentence}")
        print_summary(len(ids), len(new), estimate, places)
    elif dry_run:
        print_json(
            {
                "runs": [{"changes": change, "there": run_id} for change, run_id in changes],
                "left_out": [*drafted.left_out, *drafted.refused],
                "estimate": estimate_facts(estimate),
            }
        )
    if not dry_run and agreed(yes, as_json, f"Queue {plural(len(new), 'run')}?"):
        plan = plans.start(drafted, title=title, source=source, again=again, on=places)
        follow_plan(plan, background, as_json)


def estimated(configs: Sequence[RunConfig], report: Report) -> PlanEstimate:
    """How long the runs take, estimated from earlier runs, else from steps measured now."""
    from genrecore.data import datasets
    from genrecore.experiments import estimates
    from genrecore.training import timing

    estimator = estimates.Estimator(all_runs())
    for config in estimator.uncounted(configs):
        try:
            table = datasets.load(config.dataset.name, config.dataset.options, report)
        except GenrecoreError:  # the runs themselves will fail with it
            continue
        estimator.add_clips(config, table)
    for config in estimator.unmeasured(configs):
        try:
            timing.measure_steps(config, report)
        except GenrecoreError:  # its time stays unknown
            continue
    return estimator.total(configs)


def print_summary(n: int, n_new: int, estimate: PlanEstimate, places: Sequence[str]) -> None:
    """How many runs there will be, how many exist already, and how long the others take; `places`
    is where they are carried out."""
    sentence = plural(n, "run")
    if n_new < n:
        sentence += f", of which {n - n_new} {'is' if n - n_new == 1 else 'are'} there already"
    out.print(f"{sentence}. {estimate.sentence}{_elsewhere(places)}")


def _elsewhere(places: Sequence[str]) -> str:
    return f" {ELSEWHERE}" if any(places) else ""


def estimate_facts(estimate: PlanEstimate) -> dict[str, Any]:
    """An estimate for scripts."""
    is_known = estimate.n_unknown < estimate.n_runs or not estimate.n_runs
    return {
        "seconds": estimate.seconds if is_known else math.nan,
        "n_runs": estimate.n_runs,
        "n_at_once": estimate.n_at_once,
        "n_by_runs": estimate.n_by_runs,
        "n_by_steps": estimate.n_by_steps,
        "sentence": estimate.sentence,
    }


def agreed(yes: bool, as_json: bool, question: str) -> bool:
    """Asks on a terminal; where nobody can answer, calling the command counts as yes."""
    if yes or as_json or not sys.stdin.isatty():
        return True
    if typer.confirm(question, default=True):
        return True
    out.print("Nothing is queued.")
    return False


def _search(
    base: RunConfig,
    texts: Mapping[str, Any],
    strategy: Strategy,
    title: str,
    places: Sequence[str],
    flags: tuple[bool, bool, bool, bool],
) -> None:
    """A search from the command line; `flags` are dry_run, yes, background, as_json."""
    from genrecore.experiments import search as searching
    from genrecore.experiments.values import read_ranges, typed_range
    from genrecore.training.resolve import resolve

    dry_run, yes, background, as_json = flags
    base, ranges = read_ranges(base, texts)
    base = searching.check(base, ranges, strategy)
    with reporting(quiet=as_json) as report:
        typical = resolve(searching.typical(base, ranges)).config
        estimate = estimated([typical] * strategy.n_trials, report)
    typed = {key: typed_range(values) for key, values in ranges.items()}
    if not as_json:
        print_table([{"setting": name_of(key), "searched": text} for key, text in typed.items()])
        early = " Pruned runs end earlier." if strategy.pruner != "none" else ""
        out.print(f"{strategy.n_trials} trials. {estimate.sentence}{early}{_elsewhere(places)}")
    elif dry_run:
        print_json({"ranges": typed, "estimate": estimate_facts(estimate)})
    if dry_run or not agreed(yes, as_json, f"Start {strategy.n_trials} trials?"):
        return
    plan = searching.create(base, ranges, strategy, title=title, on=places)
    if background:
        searching.start(plan)
        _print_started(plan, as_json, "The search is at work")
    else:
        _drive(plan, as_json)
