"""`genrecore runs` and `genrecore queue`: the runs of the store, and their order in the queue."""

from __future__ import annotations

import json
import math
import shlex
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from typer import Argument, Option

from genrecore.cli.options import JsonOption, OnOption, RunArgument, SetOption, add_group, switch
from genrecore.cli.output import (
    answer,
    err,
    out,
    print_caveats,
    print_json,
    print_rows,
    print_table,
)
from genrecore.config.command import train_command
from genrecore.config.dotted import read_assignments
from genrecore.config.run import differences, signature, system_signature
from genrecore.errors import GenrecoreError, UsageError
from genrecore.evaluation.listing import RunRow, look, unreadable
from genrecore.jobs import actions, alerts, journal, sharing, slots
from genrecore.jobs.places import HERE, read_place
from genrecore.store import own_files
from genrecore.store.progress import Report, phase_text
from genrecore.store.run import WAITING, Run, store_dir
from genrecore.store.runs import all_runs, each_readable, fault, find_folder, find_run
from genrecore.store.status import FINAL, STOP_WITHIN_S
from genrecore.words import decimals, moment, percent, seconds, size

commands = typer.Typer(rich_markup_mode=None)
runs_group = add_group(commands, "runs", "List, show and stop runs.")
queue_group = add_group(commands, "queue", "The queue of runs: order, pause, cancel.")


def run_facts(run: Run) -> dict[str, Any]:
    """A run for scripts."""
    from genrecore.evaluation.pooling import accuracy_by_pooling
    from genrecore.evaluation.scores import run_scores

    facts: dict[str, Any] = {
        "run": run.run_id,
        "folder": str(run.folder),
        **asdict(run.about) | {"name": run.name},
        "state": run.state,
        "reason": run.reason,
        "badge": run.badge,
        "separation": run.separation.as_dict() if run.separation else None,
        "on": run.queue.get("on") or HERE,
        "job": run.job or None,
        "status": {k: v for k, v in run.status.items() if k not in ("states", "traceback")},
        "config": run.config.model_dump(),
        "signature": signature(run.config),
        "system": system_signature(run.config),
        "environment": run.environment,
    }
    if run.predictions is not None:
        facts["scores"] = run_scores(run)
        facts["accuracy_by_pooling"] = accuracy_by_pooling(run)
    return facts


def print_result(run: Run) -> None:
    """The scores on the test clips, in sentences."""
    from genrecore.evaluation.pooling import POOLINGS, accuracy_by_pooling
    from genrecore.evaluation.scores import run_scores

    scores = run_scores(run)
    epoch = f", epoch {run.tested_epoch}" if run.tested_epoch else ""
    out.print(
        f"Tested on {scores['n_clips']} clips: accuracy {percent(scores['accuracy'])} "
        f"(95 %: {percent(scores['accuracy_low'])} to {percent(scores['accuracy_high'])}), "
        f"macro-F1 {decimals(scores['macro_f1'], 3)}{epoch}."
    )
    pooled = accuracy_by_pooling(run)
    if pooled:
        listed = ", ".join(f"{POOLINGS[name]} {percent(a)}" for name, a in pooled.items())
        out.print(f"Accuracy by how a clip's segments are pooled: {listed}.")


@runs_group.command("list")
def list_runs(
    find: Annotated[
        str,
        Option(help="Only runs in which all these words occur: name, state, seed, tags, note …"),
    ] = "",
    tag: Annotated[
        list[str] | None, Option(help="Only runs with this tag; with all, if there are several.")
    ] = None,
    starred: Annotated[bool, switch("starred", "Only runs with a star.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Every run in the store, the newest first, with its state and its accuracies."""
    listing = look()
    for error in listing.unreadable:
        err.print(f"{error} 'genrecore runs repair {error.name}' mends what can be mended.")
    runs = [
        run
        for run in listing.rows
        if run.matches(find) and set(tag or ()) <= set(run.tags) and (run.starred or not starred)
    ]
    rows: list[dict[str, Any]] = [
        {
            "run": run.run_id,
            "name": run.name,
            "state": run.state,
            "model": run.model,
            "dataset": run.dataset,
            "split": run.split,
            "seed": run.seed,
            "fold": run.fold,
            "epoch": f"{run.epoch} of {run.n_epochs}",
            "validation accuracy": run.best,
            "test accuracy": run.accuracy,
            "test accuracy from": run.accuracy_low,
            "test accuracy to": run.accuracy_high,
            "left": run.left_s,
            "on": run.on or HERE,
            "job": run.job or None,
            "node": run.node or None,
            "why": run.why,
            "can never start": run.never,
            "tags": run.tags,
            "starred": run.starred,
            "note": run.note,
            "warning": run.badge,
        }
        for run in runs
    ]
    if as_json:
        print_json(rows)
        return
    empty = f"No runs in {store_dir()} yet; 'genrecore demo' makes two."
    if find or tag or starred:
        empty = "No run fits; without options all are listed."
    print_table([_row_in_words(run) for run in runs], empty)


def _row_in_words(run: RunRow) -> dict[str, Any]:
    """Model and dataset are in the id, which comes first."""
    row = {
        "run": run.run_id,
        "name": run.name,
        "state": run.state,
        "split": run.split,
        "seed": run.seed,
        "epoch": f"{run.epoch} of {run.n_epochs}",
        "valid": _share(run.best),
        "test": _share(run.accuracy),
        "left": "" if math.isnan(run.left_s) else seconds(run.left_s),
        **({"place": run.place, "why": run.why} if run.on else {}),
        "tags": ", ".join(run.tags),
        "warning": run.marks,
    }
    return row | {"name": f"★ {run.name}" if run.starred else run.name}


def _share(value: float) -> str:
    return "" if math.isnan(value) else percent(value)


@runs_group.command("show")
def show_run(
    run: RunArgument,
    log: Annotated[bool, switch("log", "Also print the end of its log.")] = False,
    as_json: JsonOption = False,
) -> None:
    """One run: state, progress, result, and the settings that differ from the defaults."""
    chosen = find_run(run)
    if as_json:
        print_json(run_facts(chosen))
        return
    status = chosen.status
    out.print(f"{chosen.run_id}: {chosen.state}. {chosen.reason}".strip())
    out.print(f"Name: {chosen.name}{' (starred)' if chosen.starred else ''}")
    for noun, text in (("Tags", ", ".join(chosen.tags)), ("Note", chosen.note)):
        if text:
            out.print(f"{noun}: {text}")
    if chosen.place:
        out.print(f"Place: {chosen.place}. {chosen.expected_start}".strip())
    out.print(f"Folder: {chosen.folder}")
    if status.get("phase") and chosen.state not in FINAL:
        out.print(
            f"{phase_text(status['phase'])}, epoch {status.get('epoch', 0)} of {chosen.n_epochs}, "
            f"time left {seconds(status.get('time_left_s'))}"
        )
    if chosen.environment:
        out.print(f"Trained by {chosen.trained_by} on {chosen.environment.get('device_name')}.")
    print_caveats(chosen)
    if chosen.separation:
        out.print(f"Split: {chosen.separation.answer}. {chosen.separation.sentence}")
    if chosen.predictions is not None:
        print_result(chosen)
    out.print(f"Differs from the defaults in: {json.dumps(differences(chosen.config))}")
    out.print(f"Same again: {shlex.join(train_command(chosen.config))}")
    if log:
        out.print(chosen.log())


@runs_group.command("stop")
def stop_run(
    run: RunArgument,
    keep_best: Annotated[
        bool, switch("keep-best", "Test its best epoch and end as 'done'.")
    ] = False,
    within: Annotated[
        float, Option(min=0.0, help="Seconds until it is ended by force.")
    ] = STOP_WITHIN_S,
    as_json: JsonOption = False,
) -> None:
    """Ask a run to stop: it finishes its step, writes a checkpoint and ends as 'stopped'."""
    stopped = find_run(run)
    sentence = actions.stop(stopped, keep_best=keep_best, within_s=within)
    _answer(stopped, sentence, as_json)


def follow(run: Run, report: Report, title: str) -> Run:
    """Waits for a run in the background and reports its progress; returns the finished run.

    Raises:
        GenrecoreError: It failed, was stopped or is lost.
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


@runs_group.command("resume")
def resume_run(run: RunArgument, on: OnOption = None, as_json: JsonOption = False) -> None:
    """Queue a stopped, failed or lost run again: it goes on from its last checkpoint, by default
    where it was."""
    resumed = find_run(run)
    _answer(resumed, actions.resume(resumed, read_place(on)), as_json)


@runs_group.command("continue")
def continue_run(
    run: RunArgument,
    epochs: Annotated[int, Option(min=1, help="Total number of epochs.")],
    on: OnOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a finished run for more epochs, as a new run that starts where it ended."""
    old = find_run(run)
    new = actions.continue_(old, epochs, read_place(on))
    _answer(new, f"Queued {new.run_id}, which trains {old.run_id} on to epoch {epochs}.", as_json)


@runs_group.command("clone")
def clone_run(
    run: RunArgument, set_: SetOption = None, on: OnOption = None, as_json: JsonOption = False
) -> None:
    """Queue a new run with the settings of another one; print the settings that differ."""
    old = find_run(run)
    new = actions.clone(old, read_assignments(set_, "training.lr=1e-4"), read_place(on))
    before, after = differences(old.config, new.config), differences(new.config, old.config)
    sentences = [f"Queued {new.run_id}, like {old.run_id}" + (" but:" if after else ".")]
    sentences += [f"  {key}: {json.dumps(before[key])} → {json.dumps(after[key])}" for key in after]
    facts = {"run": new.run_id, "state": Run(new.folder).state, "changed": after}
    answer(as_json, facts, "\n".join(sentences))


@runs_group.command("rename")
def rename_run(
    run: RunArgument,
    name: Annotated[
        str, Argument(help="Of up to 80 characters; '' gives back the name made for it.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Give a run a name: lists, charts and reports show it, and commands find the run by it."""
    _annotate(find_run(run), as_json, name=name)


@runs_group.command("note")
def note_run(
    run: RunArgument,
    text: Annotated[str, Argument(help="Plain text; '' removes the note.")],
    as_json: JsonOption = False,
) -> None:
    """Write a note on a run, in the place of the old one."""
    _annotate(find_run(run), as_json, note=text)


@runs_group.command("tag")
def tag_run(
    run: RunArgument,
    tags: Annotated[list[str], Argument(help="Words without blanks and commas.")],
    remove: Annotated[bool, switch("remove", "Take these tags from it instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Give a run tags; 'genrecore runs list --tag TAG' finds the runs that have one."""
    tagged = find_run(run)
    old = set(tagged.tags)
    _annotate(tagged, as_json, tags=old - set(tags) if remove else old | set(tags))


@runs_group.command("star")
def star_run(
    run: RunArgument,
    off: Annotated[bool, switch("off", "Take its star away.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Mark a run with a star; 'genrecore runs list --starred' lists these runs."""
    _annotate(find_run(run), as_json, starred=not off)


def _annotate(run: Run, as_json: bool, **values: Any) -> None:
    sentence = actions.annotate(run, **values)
    about = Run(run.folder)
    facts = {"run": run.run_id, **asdict(about.about) | {"name": about.name}, "message": sentence}
    answer(as_json, facts, sentence)


@runs_group.command("repair")
def repair_run(
    run: Annotated[
        str,
        Argument(
            help="The id or a part of it, or the name of a file of the store; by default what is "
            "damaged is listed."
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Mend a run that cannot be read, or a file of the store such as settings.json, or list such.
    Damaged files are kept. Plans: 'genrecore plans repair'."""
    if run in own_files.NAMES:
        answer(as_json, {"file": run, "message": (done := actions.repair_file(run))}, done)
        return
    if run:
        damaged = find_folder(run)
        sentence = actions.repair(damaged)
        answer(as_json, {"run": damaged.run_id, "message": sentence}, sentence)
        return
    rows = [
        {
            "run": "" if error.noun == "store" else error.name,
            "file": error.file,
            "place": error.place,
            "reason": error.reason,
        }
        for error in (*unreadable(), *actions.damaged_files())
    ]
    print_rows(as_json, rows, "All runs can be read.")


@runs_group.command("share")
def share_run(
    run: RunArgument,
    file: Annotated[Path, Argument(help="The file to write, such as jazz.genrecore.")],
    as_json: JsonOption = False,
) -> None:
    """Write a finished run as one file for others; 'genrecore runs import' takes it. The weights of
    a pretrained encoder are not in it."""
    written = sharing.share(find_run(run), file)
    n_bytes = written.stat().st_size
    answer(as_json, {"file": written, "bytes": n_bytes}, f"Written to {file}, {size(n_bytes)}.")


@runs_group.command("import")
def import_run(
    file: Annotated[Path, Argument(help="A file that 'genrecore runs share' wrote.")],
    as_json: JsonOption = False,
) -> None:
    """Put a run that somebody shared into the store."""
    run = sharing.import_run(file)
    missing = sharing.missing_encoder(run)
    sentence = f"The run {run.run_id} is here. {missing}".strip()
    answer(as_json, {"run": run.run_id, "missing": missing}, sentence)


@runs_group.command("delete")
def delete_run(run: RunArgument, as_json: JsonOption = False) -> None:
    """Move a run to the bin; 'genrecore runs restore' brings it back."""
    deleted = find_folder(run)
    sentence = actions.delete(deleted)
    answer(as_json, {"run": deleted.run_id, "message": sentence}, sentence)


@runs_group.command("restore")
def restore_run(
    run: Annotated[
        str, Argument(help="The id or a part of it; by default the bin is listed.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Bring a run back from the bin, or list the runs in it."""
    if run:
        restored = actions.restore(run)
        _answer(restored, f"The run {restored.run_id} is back.", as_json)
        return
    rows = [
        {"run": deleted.run_id, "state": _written_state(deleted)} for deleted in actions.deleted()
    ]
    print_rows(as_json, rows, "The bin is empty.")


def _written_state(run: Run) -> str:
    """The state in a run's file, or `unreadable`."""
    return str(run.status["state"]) if fault(run.folder) is None else "unreadable"


@runs_group.command("empty-bin")
def empty_bin(as_json: JsonOption = False) -> None:
    """Delete the runs in the bin for good."""
    _answer(None, actions.empty_bin(), as_json)


@queue_group.command("list")
def list_queue(as_json: JsonOption = False) -> None:
    """The runs in the queue, the next one first."""
    paused = actions.paused()
    rows = [
        {
            "place": position,
            "run": run.run_id,
            "model": run.config.model.name,
            "dataset": run.config.dataset.name,
            "on": run.queue.get("on") or HERE,
            "priority": run.queue.get("priority", 0),
        }
        for position, run in enumerate(actions.queued(store_dir()), 1)
    ]
    if as_json:
        print_json({"paused": bool(paused), "runs": rows})
        return
    if paused:
        out.print("The queue is paused; 'genrecore queue resume' lets runs start.")
    print_table(rows, "No run waits.")


@queue_group.command("slots")
def slots_of_cpu(
    n: Annotated[
        int, Argument(help="How many runs share the CPU; without it nothing changes.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """How many runs train at the same time: one on each GPU, and one on the CPU or as many as you
    set here. Kept in the store's settings.json; runs that train go on."""
    store = store_dir()
    if n:
        slots.share_cpu(n, store)
    names = slots.names(store)
    gpus = [name for name in names if slots.device_of(name) != "cpu"]
    sentence = f"Runs that train at the same time: {len(names) - len(gpus)} on the CPU"
    sentence += f", one on each of {', '.join(gpus)}." if gpus else "."
    answer(as_json, {"slots": names}, sentence)


@queue_group.command("move")
def move_run(
    run: RunArgument,
    to: Annotated[str, Argument(help="first, up, down or last.")] = "first",
    priority: Annotated[
        int | None, Option(help="Set a priority instead; higher ones start first.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Move a run in the queue."""
    waiting = find_run(run)
    if priority is None:
        sentence = actions.move(waiting, to)
    else:
        sentence = actions.prioritise(waiting, priority)
    _answer(waiting, sentence, as_json)


@queue_group.command("pause")
def pause_queue(
    now: Annotated[bool, switch("now", "Runs at work write a checkpoint and wait too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Start no further run; runs at work go on to their end. Jobs that a cluster has already may
    start all the same."""
    _answer(None, actions.pause(now=now), as_json)


@queue_group.command("resume")
def resume_queue(as_json: JsonOption = False) -> None:
    """Let runs start again."""
    _answer(None, actions.unpause(), as_json)


@queue_group.command("cancel")
def cancel(run: RunArgument, as_json: JsonOption = False) -> None:
    """Take a run out of the queue."""
    waiting = find_run(run)
    if waiting.state not in WAITING:
        raise UsageError(
            f"The run {waiting.run_id} is not queued, it is {waiting.state}; "
            "'genrecore runs stop' stops a run at work."
        )
    _answer(waiting, actions.stop(waiting), as_json)


@runs_group.command("alerts")
def list_alerts(
    run: Annotated[
        str, Argument(help="A run's id, a part of it, or 'latest'; by default all.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Alerts: runs that are done, failed or lost, losses that diverge, runs without progress."""
    rows = [
        {
            "run": listed.run_id,
            "kind": alert.kind,
            "at": alert.at if as_json else moment(alert.at),
            "words": alert.sentence,
        }
        for listed, events in each_readable(
            [find_run(run)] if run else all_runs(), alerts.find_alerts
        )
        for alert in events
    ]
    print_rows(as_json, rows, "There are no alerts.")


@runs_group.command("journal")
def list_journal(
    last: Annotated[int, Option(help="So many of the newest actions.", min=1)] = 50,
    as_json: JsonOption = False,
) -> None:
    """Who did what with the runs of this store, by page, command or Python; the newest first."""
    rows = [
        entry if as_json else entry | {"at": moment(float(str(entry["at"])))}
        for entry in journal.entries(store_dir(), last)
    ]
    print_rows(as_json, rows, "Nothing has been done yet.")


@runs_group.command("webhook")
def webhook(
    url: Annotated[str, Argument(help="The address to post to; without it nothing changes.")] = "",
    off: Annotated[bool, switch("off", "No longer post alerts.")] = False,
    test: Annotated[bool, switch("test", "Post a test message now.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Where alerts are posted, besides the dashboard: as `{"text": …, "kind": …, "run": …}`, which
    Slack, Mattermost, Discord and most others read. Kept in the store's settings.json."""
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
