"""`genrecore runs`, `genrecore queue`: runs that are there, and those that wait."""

from __future__ import annotations

import json
import shlex
import time
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from typer import Argument, Option

from genrecore.cli.output import JSON, answer, out, print_json, print_rows, print_table
from genrecore.config import run as configuration
from genrecore.config.command import train_command
from genrecore.config.dotted import read_assignments
from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError, UsageError
from genrecore.evaluation.pooling import POOLINGS, accuracy_by_pooling
from genrecore.evaluation.scores import run_scores
from genrecore.jobs import actions as jobs
from genrecore.jobs import alerts, slots
from genrecore.store import run as runs
from genrecore.store.progress import Report, phase_text
from genrecore.store.run import Run
from genrecore.store.status import FINAL, STOP_WITHIN_S
from genrecore.words import moment, percent, seconds

commands = typer.Typer(rich_markup_mode=None)
runs_app = typer.Typer(
    help="List, show and stop runs.", no_args_is_help=True, rich_markup_mode=None
)
commands.add_typer(runs_app, name="runs")


queue_app = typer.Typer(
    help="The runs that wait: order, pause, cancel.", no_args_is_help=True, rich_markup_mode=None
)
commands.add_typer(queue_app, name="queue")

RUN = Annotated[str, Argument(help="A run's id, a part of it, or 'latest'.")]


def run_facts(run: Run) -> dict[str, Any]:

    facts: dict[str, Any] = {
        "run": run.run_id,
        "folder": str(run.folder),
        "state": run.state,
        "reason": run.reason,
        "badge": run.badge,
        "status": {k: v for k, v in run.status.items() if k not in ("states", "traceback")},
        "config": run.config.model_dump(),
        "signature": configuration.signature(run.config),
        "system": configuration.system_signature(run.config),
        "environment": run.environment,
    }
    if run.predictions is not None:
        facts["scores"] = run_scores(run)
        facts["accuracy_by_pooling"] = accuracy_by_pooling(run)
    return facts


def print_result(run: Run) -> None:

    scores = run_scores(run)
    out.print(
        f"Tested on {scores['n_clips']} clips: accuracy {percent(scores['accuracy'])} "
        f"(95 %: {percent(scores['accuracy_low'])} to {percent(scores['accuracy_high'])}), "
        f"macro-F1 {percent(scores['macro_f1'])}, epoch {run.status.get('best_epoch')}."
    )
    ways = accuracy_by_pooling(run)
    if ways:
        listed = ", ".join(f"{POOLINGS[name]} {percent(a)}" for name, a in ways.items())
        out.print(f"A clip's verdict from its segments: {listed}.")


@runs_app.command("list")
def list_runs(as_json: JSON = False) -> None:
    """Every run in the store, the newest first, with its state and validation accuracy."""
    rows: list[dict[str, Any]] = []
    for run in runs.all_runs():
        status = run.status
        rows.append(
            {
                "run": run.run_id,
                "state": run.state,
                "model": run.config.model.name,
                "dataset": run.config.dataset.name,
                "split": run.config.split.name,
                "epoch": f"{status.get('epoch', 0)} of {run.n_epochs}",
                "validation accuracy": status.get("best_valid_accuracy"),
                "left": status.get("time_left_s") if run.alive else None,
                "warning": run.badge,
            }
        )
    if as_json:
        print_json(rows)
        return
    for row in rows:
        accuracy = row["validation accuracy"]
        row["validation accuracy"] = percent(accuracy) if accuracy is not None else ""
        row["left"] = seconds(row["left"]) if row["left"] is not None else ""
    print_table(rows, f"No runs in {runs.store_dir()} yet; 'genrecore demo' makes two.")


@runs_app.command("show")
def show_run(
    run: Annotated[str, Argument(help="A run's id, a part of it, or 'latest'.")],
    log: Annotated[bool, Option("--log", help="Print the end of its log as well.")] = False,
    as_json: JSON = False,
) -> None:
    """One run: state, progress, result, what differs from the defaults."""
    found = runs.find_run(run)
    if as_json:
        print_json(run_facts(found))
        return
    status = found.status
    out.print(f"{found.run_id}: {found.state}. {found.reason}".strip())
    out.print(f"Folder: {found.folder}")
    if status.get("phase") and found.state not in FINAL:
        left = seconds(status.get("time_left_s"))
        out.print(
            f"{phase_text(status['phase'])}, epoch {status.get('epoch', 0)} of "
            f"{found.n_epochs}, time left {left}"
        )
    if found.leak:
        out.print(f"{found.leak}: its accuracy is flattered.", style="bold red")
    if found.config.rehearsal:
        out.print(f"{found.badge.rpartition('; ')[2]}.", style="bold")
    if found.predictions is not None:
        print_result(found)
    out.print("Differs from the defaults in: ", end="")
    out.print(json.dumps(configuration.differences(found.config)))
    out.print(f"Same again: {shlex.join(train_command(found.config))}")
    if log:
        out.print(found.log())


@runs_app.command("stop")
def stop_run(
    run: Annotated[str, Argument(help="A run's id, a part of it, or 'latest'.")],
    keep_best: Annotated[
        bool, Option("--keep-best", help="Test its best epoch so far; it ends as 'done'.")
    ] = False,
    within: Annotated[
        float, Option(min=0.0, help="Seconds after which it is ended by force.")
    ] = STOP_WITHIN_S,
    as_json: JSON = False,
) -> None:
    """Ask a run to stop: it finishes its step, keeps a checkpoint and ends as 'stopped'."""
    found = runs.find_run(run)
    sentence = jobs.stop(found, keep_best=keep_best, within_s=within)
    _answer(found, sentence, as_json)


def follow(run: Run, report: Report, title: str) -> Run:
    """Waits for a run in the background, reporting its progress; returns it finished.

    Raises:
        GenrecoreError: It did not end well.
    """
    while True:
        now = Run(run.folder)
        if now.state in ("done", "failed", "stopped", "lost"):
            if now.state != "done":
                raise GenrecoreError(f"The run {run.run_id} is {now.state}: {now.reason}")
            return now
        phase = phase_text(now.status.get("phase") or "Waiting for a free device")
        done, total = int(now.status.get("done", 0)), int(now.status.get("total", 0))
        accuracy = now.status.get("best_valid_accuracy")
        best = f", best validation accuracy {percent(accuracy)}" if accuracy is not None else ""
        report(f"{title}: {phase.lower()}{best}", done, total)
        time.sleep(0.3)


def _answer(run: Run | None, sentence: str, as_json: bool) -> None:
    facts = {"run": run.run_id, "state": Run(run.folder).state} if run else {}
    answer(as_json, facts | {"message": sentence}, sentence)


@runs_app.command("resume")
def resume_run(run: RUN, as_json: JSON = False) -> None:
    """Queue a stopped, failed or lost run again: it goes on from its last checkpoint."""
    found = runs.find_run(run)
    _answer(found, jobs.resume(found), as_json)


@runs_app.command("continue")
def continue_run(
    run: RUN, epochs: Annotated[int, Option(min=1, help="Epochs in all.")], as_json: JSON = False
) -> None:
    """Train a finished run on, as a new run that starts where it ended."""
    found = runs.find_run(run)
    made = jobs.continue_(found, epochs)
    _answer(
        made, f"Queued {made.run_id}, which trains {found.run_id} on to epoch {epochs}.", as_json
    )


@runs_app.command("clone")
def clone_run(
    run: RUN,
    set_: Annotated[
        list[str] | None, Option("--set", help="A setting to change, e.g. --set training.lr=1e-4.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Queue a new run with the settings of another one, and say what differs."""
    found = runs.find_run(run)
    made = jobs.clone(found, read_assignments(set_, "training.lr=1e-4"))
    before = configuration.differences(found.config, made.config)
    after = configuration.differences(made.config, found.config)
    if as_json:
        print_json({"run": made.run_id, "state": Run(made.folder).state, "changed": after})
        return
    out.print(f"Queued {made.run_id}, like {found.run_id}" + (" but:" if after else "."))
    for key in after:
        out.print(f"  {key}: {json.dumps(before[key])} → {json.dumps(after[key])}")


@runs_app.command("delete")
def delete_run(run: RUN, as_json: JSON = False) -> None:
    """Move a run to the bin; 'genrecore runs restore' brings it back."""
    found = runs.find_run(run)
    sentence = jobs.delete(found)
    answer(as_json, {"run": found.run_id, "message": sentence}, sentence)


@runs_app.command("restore")
def restore_run(
    run: Annotated[str, Argument(help="The id, or a part of it; without it: the bin's list.")] = "",
    as_json: JSON = False,
) -> None:
    """Bring a run back from the bin, or list what is in it."""
    if run:
        made = jobs.restore(run)
        _answer(made, f"The run {made.run_id} is back.", as_json)
        return
    rows: list[dict[str, Any]] = [
        {"run": one.run_id, "state": one.status.get("state", "")} for one in jobs.deleted()
    ]
    print_rows(as_json, rows, "The bin is empty.")


@runs_app.command("empty-bin")
def empty_bin(as_json: JSON = False) -> None:
    """Remove for good what is in the bin."""
    _answer(None, jobs.empty_bin(), as_json)


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
        int, Argument(help="Runs that the CPU takes at a time; by default nothing changes.")
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
    out.print(f"Runs that work at the same time: {said}.")


def _config(run: Run, part: str) -> str:
    config: RunConfig = run.config
    return str(getattr(config, part).name)


@queue_app.command("move")
def move_run(
    run: RUN,
    to: Annotated[str, Argument(help="first, up, down or last.")] = "first",
    priority: Annotated[
        int | None, Option(help="Instead: of two, the higher starts first.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Move a run in the queue."""
    found = runs.find_run(run)
    if priority is not None:
        _answer(found, jobs.prioritise(found, priority), as_json)
    else:
        _answer(found, jobs.move(found, to), as_json)


@queue_app.command("pause")
def pause_queue(
    now: Annotated[
        bool, Option("--now", help="Runs at work keep a checkpoint and wait too.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """Start no further run; runs at work go on to their end."""
    _answer(None, jobs.pause(now=now), as_json)


@queue_app.command("resume")
def resume_queue(as_json: JSON = False) -> None:
    """Let runs start again."""
    _answer(None, jobs.unpause(), as_json)


@queue_app.command("cancel")
def cancel(run: RUN, as_json: JSON = False) -> None:
    """Take a run out of the queue."""
    found = runs.find_run(run)
    if found.state != "queued":
        raise UsageError(
            f"The run {found.run_id} does not wait, it is {found.state}; "
            "'genrecore runs stop' stops a run at work."
        )
    _answer(found, jobs.stop(found), as_json)


@runs_app.command("alerts")
def list_alerts(
    run: Annotated[
        str, Argument(help="A run's id, a part of it, or 'latest'; by default all.")
    ] = "",
    as_json: JSON = False,
) -> None:
    """What there is to tell: runs that are done, failed or lost, losses that run away, runs that
    stand still."""
    listed = [runs.find_run(run)] if run else runs.all_runs()
    rows = [
        {"run": one.run_id, "kind": alert.kind, "at": alert.at, "words": alert.words}
        for one in listed
        for alert in alerts.find_alerts(one)
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        row["at"] = moment(float(str(row["at"])))
    print_table(rows, "Nothing to tell.")


@runs_app.command("webhook")
def webhook(
    url: Annotated[
        str, Argument(help="Where alerts are posted as JSON; by default nothing changes.")
    ] = "",
    off: Annotated[bool, Option("--off", help="Post alerts nowhere any more.")] = False,
    test: Annotated[bool, Option("--test", help="Post a test message now.")] = False,
    as_json: JSON = False,
) -> None:
    """Where alerts are posted, besides the dashboard: `{"text": …, "kind": …, "run": …}` as Slack,
    Mattermost, Discord and most others read it. Kept in the store's settings.json."""
    if off or url:
        alerts.set_webhook("" if off else url)
    address = alerts.webhook()
    host = urlsplit(address).hostname or ""
    if test:
        problem = alerts.try_out(address) if address else "No webhook is set."
        if problem:
            raise GenrecoreError(f"The test message did not arrive: {problem}")
    arrived = " The test message arrived." if test else ""
    sentence = f"Alerts are posted {f'to {host}' if host else 'nowhere'}.{arrived}"
    answer(as_json, {"host": host, "tested": test}, sentence)
