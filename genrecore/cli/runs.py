"""`genrecore queue`, and what `genrecore runs` does with runs that are there."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from genrecore.cli.app import app
from genrecore.cli.output import JSON, out, print_json, print_table
from genrecore.cli.training import runs_app
from genrecore.config import run as configuration
from genrecore.config.run import RunConfig
from genrecore.errors import UsageError
from genrecore.jobs import actions as jobs
from genrecore.jobs import slots
from genrecore.store import run as runs
from genrecore.store.run import Run

queue_app = typer.Typer(
    help="The runs that wait: order, pause, cancel.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(queue_app, name="queue")

RUN = Annotated[str, typer.Argument(help="A run's id, a part of it, or 'latest'.")]


def _say(run: Run | None, sentence: str, as_json: bool) -> None:
    if as_json:
        known = {"run": run.run_id, "state": Run(run.folder).state} if run else {}
        print_json(known | {"message": sentence})
    else:
        out.print(sentence, markup=False)


@runs_app.command("resume")
def resume_run(run: RUN, as_json: JSON = False) -> None:
    """Queue a stopped, failed or lost run again: it goes on from its last checkpoint."""
    found = runs.find_run(run)
    _say(found, jobs.resume(found), as_json)


@runs_app.command("continue")
def continue_run(
    run: RUN,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Epochs in all.")],
    as_json: JSON = False,
) -> None:
    """Train a finished run on, as a new run that starts where it ended."""
    found = runs.find_run(run)
    made = jobs.continue_(found, epochs)
    _say(made, f"Queued {made.run_id}, which trains {found.run_id} on to epoch {epochs}.", as_json)


@runs_app.command("clone")
def clone_run(
    run: RUN,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting to change, e.g. --set training.lr=1e-4."),
    ] = None,
    as_json: JSON = False,
) -> None:
    """Queue a new run with the settings of another one, and say what differs."""
    found = runs.find_run(run)
    changes = {}
    for item in set_ or []:
        key, equals, value = item.partition("=")
        if not equals:
            raise UsageError(f"--set takes field=value, e.g. training.lr=1e-4; found {item!r}.")
        changes[key] = value
    made = jobs.clone(found, changes)
    before = configuration.differences(found.config, made.config)
    after = configuration.differences(made.config, found.config)
    if as_json:
        print_json({"run": made.run_id, "state": Run(made.folder).state, "changed": after})
        return
    out.print(f"Queued {made.run_id}, like {found.run_id}" + (" but:" if after else "."))
    for key in after:
        out.print(f"  {key}: {json.dumps(before[key])} → {json.dumps(after[key])}", markup=False)


@runs_app.command("delete")
def delete_run(run: RUN, as_json: JSON = False) -> None:
    """Move a run to the bin; 'genrecore runs restore' brings it back."""
    found = runs.find_run(run)
    sentence = jobs.delete(found)
    if as_json:
        print_json({"run": found.run_id, "message": sentence})
    else:
        out.print(sentence)


@runs_app.command("restore")
def restore_run(
    run: Annotated[
        str, typer.Argument(help="The id, or a part of it; without it: the bin's list.")
    ] = "",
    as_json: JSON = False,
) -> None:
    """Bring a run back from the bin, or list what is in it."""
    if run:
        made = jobs.restore(run)
        _say(made, f"The run {made.run_id} is back.", as_json)
        return
    rows: list[dict[str, Any]] = [
        {"run": one.run_id, "state": one.status.get("state", "")} for one in jobs.deleted()
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, "The bin is empty.")


@runs_app.command("empty-bin")
def empty_bin(as_json: JSON = False) -> None:
    """Remove for good what is in the bin."""
    _say(None, jobs.empty_bin(), as_json)


@queue_app.command("list")
def list_queue(as_json: JSON = False) -> None:
    """The runs that wait, the next one first."""
    paused = jobs.paused()
    rows: list[dict[str, Any]] = [
        {
            "place": place,
            "run": run.run_id,
            "model": _config(run, "model"),
            "dataset": _config(run, "dataset"),
            "priority": run.queue.get("priority", 0),
        }
        for place, run in enumerate(jobs.queued(runs.store_dir()), 1)
    ]
    if as_json:
        print_json({"paused": bool(paused), "runs": rows})
        return
    if paused:
        out.print("The queue is paused; 'genrecore queue resume' lets runs start.")
    print_table(rows, "No run waits.")


@queue_app.command("slots")
def slots_of_cpu(
    n: Annotated[
        int, typer.Argument(help="Runs that the CPU takes at a time; by default nothing changes.")
    ] = 0,
    as_json: JSON = False,
) -> None:
    """How many runs work at the same time: one on each GPU, and on the CPU one or as many as set
    here. Kept in the store's settings.json; runs that work go on."""
    store = runs.store_dir()
    if n:
        slots.share_cpu(n, store)
    found = slots.names(store)
    if as_json:
        print_json({"slots": found})
        return
    gpus = [one for one in found if slots.device_of(one) != "cpu"]
    on_cpu = len(found) - len(gpus)
    said = f"{on_cpu} on the CPU" + (f", one on each of {', '.join(gpus)}" if gpus else "")
    out.print(f"Runs that work at the same time: {said}.", markup=False)


def _config(run: Run, part: str) -> str:
    config: RunConfig = run.config
    return str(getattr(config, part).name)


@queue_app.command("move")
def move_run(
    run: RUN,
    to: Annotated[str, typer.Argument(help="first, up, down or last.")] = "first",
    priority: Annotated[
        int | None, typer.Option("--priority", help="Instead: of two, the higher starts first.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Move a run in the queue."""
    found = runs.find_run(run)
    if priority is not None:
        _say(found, jobs.prioritise(found, priority), as_json)
    else:
        _say(found, jobs.move(found, to), as_json)


@queue_app.command("pause")
def pause_queue(
    now: Annotated[
        bool,
        typer.Option("--now", help="Runs at work keep a checkpoint and wait too."),
    ] = False,
    as_json: JSON = False,
) -> None:
    """Start no further run; runs at work go on to their end."""
    _say(None, jobs.pause(now=now), as_json)


@queue_app.command("resume")
def resume_queue(as_json: JSON = False) -> None:
    """Let runs start again."""
    _say(None, jobs.unpause(), as_json)


@queue_app.command("cancel")
def cancel(run: RUN, as_json: JSON = False) -> None:
    """Take a run out of the queue."""
    found = runs.find_run(run)
    if found.state != "queued":
        raise UsageError(
            f"The run {found.run_id} does not wait, it is {found.state}; "
            "'genrecore runs stop' stops a run at work."
        )
    _say(found, jobs.stop(found), as_json)
