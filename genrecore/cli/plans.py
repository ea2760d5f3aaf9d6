"""`genrecore sweep`, `genrecore plans`: many runs as one command, and what becomes of them."""

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
from genrecore.cli.output import JSON, err, out, print_json, print_table, reporting
from genrecore.cli.options import CONFIG, PRESET
from genrecore.config import run as configuration
from genrecore.config.dotted import in_words, name_of, read_assignments, shown
from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError, UsageError
from genrecore.evaluation.metrics import noun, watched
from genrecore.experiments import plan as plans
from genrecore.experiments import results as plan_results
from genrecore.experiments.draft import Draft, Grid, draft, spread
from genrecore.experiments.plan import Plan
from genrecore.store import run as runs
from genrecore.store.progress import Report
from genrecore.words import percent, seconds

if TYPE_CHECKING:
    from genrecore.experiments.estimates import PlanEstimate
    from genrecore.experiments.search import Strategy

commands = typer.Typer(rich_markup_mode=None)


plans_app = typer.Typer(
    help="Plans of many runs: list, show, stop, go on.", no_args_is_help=True, rich_markup_mode=None
)
commands.add_typer(plans_app, name="plans")

PLAN = Annotated[str, Argument(help="A plan's id, a part of it, or 'latest'.")]
DRY_RUN = Annotated[
    bool, Option("--dry-run", help="Show the runs and the time they take; queue none.")
]
YES = Annotated[bool, Option("--yes", "-y", help="Do not ask before queueing.")]
BACKGROUND = Annotated[bool, Option("--background", help="Queue the runs and return at once.")]


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
    out.print(f"{plan.title}: {plan_results.summary(plan)}")
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
        out.print(f"\nAfter {plan.source}")
    tested = plan_results.tested(plan)
    if len(tested):
        out.print("Accuracy on the test clips, the mean over seeds and folds:")
        print_table(
            [
                {str(key): percent(v) if isinstance(v, float) else v for key, v in row.items()}
                for row in tested.to_dict("records")
            ]
        )
    for sentence in plan.left_out:
        err.print(f"Left out: {sentence}")
    best = plan_results.best(plan)
    if best and best.run:
        value = metric.facts.written(plan_results.score(best.run, metric.name))
        out.print(f"Best by validation: {in_words(best.changes)} ({value})")
    done = [one.run.run_id for one in plan.done if one.run]
    if len(done) > 1 and not plan.search:
        out.print(f"Compare them: genrecore compare {shlex.join(done[:8])}")


@plans_app.command("list")
def list_plans(as_json: JSON = False) -> None:
    """Every plan, the newest first."""
    found = plans.all_plans()
    for problem in [plan.problem for plan in found if plan.problem]:
        err.print(problem)
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
            "left": seconds(plan.left_s) if plan.left_s is not None else "",
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
    background: Annotated[bool, Option("--background", help="Return at once.")] = False,
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
        out.print(f"{name}: {sweep.title}", style="bold")
        for grid in sweep.grids:
            varied = "; ".join(f"{name_of(k)} {json.dumps(v)}" for k, v in grid.items())
            out.print(f"  varies {varied}")
        out.print(f"  {study.citation}, {sweep.source}. {sweep.published}")
        for note in sweep.notes:
            out.print(f"  – {note}")


@plans_app.command("drive", hidden=True)
def drive_search(folder: Annotated[Path, Argument()]) -> None:
    """Carry a search on in this process; what a task runs."""
    from genrecore.experiments import search as searching

    with reporting() as report:
        searching.drive(Plan(folder), report)


@commands.command()
@with_flags(RunConfig, as_text=True)
def sweep(
    values: dict[str, Any],
    config: CONFIG = None,
    set_: Annotated[
        list[str] | None, Option("--set", help="Values of any field, e.g. --set model.width=8,16.")
    ] = None,
    preset: PRESET = "",
    table: Annotated[
        str, Option(help="The table of a study to start from; see 'plans tables'.")
    ] = "",
    title: Annotated[str, Option(help="What the plan is called.")] = "",
    search: Annotated[
        Literal["", "random", "tpe"],
        Option(
            help="Try some combinations, at random or by what earlier ones scored; fields then "
            "take ranges, too: --lr 1e-5..1e-2:log. Validation decides."
        ),
    ] = "",
    trials: Annotated[int, Option(min=1, help="Runs of a search.")] = 20,
    prune: Annotated[
        bool, Option("--prune", help="End runs of a search that others outdo.")
    ] = False,
    pruner: Annotated[
        Literal["median", "hyperband"], Option(help="How --prune judges.")
    ] = "median",
    search_seed: Annotated[int, Option(help="Of a search's draws.")] = 0,
    again: Annotated[
        bool, Option("--again", help="Train also what is done with the same settings.")
    ] = False,
    dry_run: DRY_RUN = False,
    yes: YES = False,
    background: BACKGROUND = False,
    as_json: JSON = False,
) -> None:
    """Train every combination of several values: models, seeds, splits, any field.

    Every flag takes values with commas between (--model cnn,crnn --seed 0,1,2 --lr 1e-3,1e-4), and
    whole numbers as a range (--seed 0..4); | stands between values that hold commas themselves
    (--augment "noise,shift|mixup"). The number of runs and the time they take is said before
    anything is queued. What is done with the same settings is not trained again.
    """
    texts = _texts(values, set_)
    if search:
        from genrecore.experiments.search import Strategy

        if table:
            raise UsageError("--table names all its runs; a search chooses them. Take one of both.")
        how = Strategy(search, trials, pruner if prune else "none", search_seed)
        _search(_base(config, preset), texts, how, title, (dry_run, yes, background, as_json))
        return
    base, grids, named, source = _with_table(_base(config, preset), table)
    base, grids = spread(base, grids, texts)
    made = draft(base, grids)
    there = [None] * len(made.configs) if again else runs.find_same(made.configs)
    todo = [c for c, run in zip(made.configs, there, strict=True) if run is None]
    with reporting(quiet=as_json) as report:
        estimate = estimated(todo, report)
    if not as_json:
        _print_draft(made, [run.run_id if run else "" for run in there])
        print_summary(len(made.configs), len(todo), estimate)
    if dry_run:
        if as_json:
            print_json(_draft_facts(made, there, estimate))
        return
    if not agreed(yes, as_json, f"Queue {len(todo)} runs?"):
        return
    plan = plans.start(made, title=title or named, source=source, again=again)
    follow_plan(plan, background, as_json)


def _texts(values: Mapping[str, Any], set_: Sequence[str] | None) -> dict[str, Any]:
    """What flags and --set say, by dotted field."""
    return dict(values) | read_assignments(list(set_ or []), "model.width=8,16")


def _base(config: Path | None, preset: str) -> RunConfig:
    start = configuration.read_config_file(config) if config else RunConfig()
    if not preset:
        return start
    from genrecore.features import PRESETS  # torch: not on the way to --help

    return configuration.with_values(start, PRESETS[preset].thing)


def _with_table(base: RunConfig, name: str) -> tuple[RunConfig, list[Grid], str, str]:
    """The base with a table's values, its grids, its title and its source."""
    if not name:
        return base, [{}], "", ""
    from genrecore.experiments.papers.recipes import find_sweep, sweep_source, sweep_values

    _, table = find_sweep(name)
    base = configuration.with_values(base, sweep_values(name))
    return base, list(table.grids), table.title, sweep_source(name)


def estimated(configs: Sequence[RunConfig], report: Report) -> PlanEstimate:
    """How long the runs take: by earlier ones, else by steps that are measured now."""
    from genrecore.data import datasets
    from genrecore.experiments import estimates
    from genrecore.training import timing

    known = estimates.Estimator(runs.all_runs())
    for config in known.uncounted(configs):
        try:
            table = datasets.load(config.dataset.name, config.dataset.options, report)
        except GenrecoreError:  # its runs will say so
            continue
        known.add_clips(config, table)
    for config in known.unmeasured(configs):
        try:
            timing.measure(config, report)
        except GenrecoreError:  # counted as not known
            continue
    return known.total(configs)


def _print_draft(made: Draft, there: Sequence[str]) -> None:
    rows = [
        {
            "run": str(number),
            **{name_of(key): shown(value) for key, value in change.items()},
            "there already": run_id,
        }
        for number, (change, run_id) in enumerate(zip(made.changes, there, strict=True), start=1)
    ]
    columns = list(dict.fromkeys(key for row in rows for key in row if key != "there already"))
    columns += ["there already"] if any(there) else []
    print_table([{key: row.get(key, "") for key in columns} for row in rows])
    for sentence in made.left_out:
        err.print(f"Left out: {sentence}")


def print_summary(n: int, n_todo: int, estimate: PlanEstimate) -> None:
    words = f"{n} run{'s' if n != 1 else ''}"
    if n_todo < n:
        words += f", of which {n - n_todo} {'is' if n - n_todo == 1 else 'are'} there already"
    out.print(f"{words}. {estimate.sentence}")


def _draft_facts(made: Draft, there: Sequence[Any], estimate: PlanEstimate) -> dict[str, Any]:
    return {
        "runs": [
            {"changes": change, "there": run.run_id if run else None}
            for change, run in zip(made.changes, there, strict=True)
        ],
        "left_out": made.left_out,
        "estimate": estimate_facts(estimate),
    }


def estimate_facts(estimate: PlanEstimate) -> dict[str, Any]:
    known = estimate.n_unknown < estimate.n_runs or not estimate.n_runs
    return {
        "seconds": estimate.seconds if known else math.nan,
        "n_runs": estimate.n_runs,
        "n_at_once": estimate.n_at_once,
        "n_by_runs": estimate.n_by_runs,
        "n_by_steps": estimate.n_by_steps,
        "sentence": estimate.sentence,
    }


def agreed(yes: bool, as_json: bool, question: str) -> bool:
    """Asks on a terminal; where nobody can answer, the command is the answer."""
    if yes or as_json or not sys.stdin.isatty():
        return True
    if typer.confirm(question, default=True):
        return True
    out.print("Nothing is queued.")
    return False


def _search(
    base: RunConfig,
    texts: Mapping[str, Any],
    way: Strategy,
    title: str,
    flags: tuple[bool, bool, bool, bool],
) -> None:
    """A search from the command line; `flags` are dry_run, yes, background, as_json."""
    from genrecore.experiments import search as searching
    from genrecore.experiments.values import read_ranges, typed_range
    from genrecore.training.resolve import resolve

    dry_run, yes, background, as_json = flags
    base, ranges = read_ranges(base, texts)
    base = searching.check(base, ranges, way)
    with reporting(quiet=as_json) as report:
        one = searching.typical(base, ranges)
        estimate = estimated([resolve(one).config] * way.n_trials, report)
    if not as_json:
        rows = [
            {"setting": name_of(key), "searched": typed_range(given)}
            for key, given in ranges.items()
        ]
        print_table(rows)
        sentence = estimate.sentence
        early = " Pruned runs end earlier." if way.pruner != "none" else ""
        out.print(f"{way.n_trials} trials. {sentence}{early}")
    if dry_run:
        if as_json:
            words = {key: typed_range(given) for key, given in ranges.items()}
            print_json({"ranges": words, "estimate": estimate_facts(estimate)})
        return
    if not agreed(yes, as_json, f"Start {way.n_trials} trials?"):
        return
    plan = searching.create(base, ranges, way, title=title)
    if background:
        searching.start(plan)
        said_begun(plan, as_json, "The search is at work")
        return
    drive(plan, as_json)
