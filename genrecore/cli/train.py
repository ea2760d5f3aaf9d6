"""`genrecore train` and `genrecore runs`."""

from __future__ import annotations

import json
import os
import shlex
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from genrecore.cli.app import app
from genrecore.cli.flags import with_flags
from genrecore.cli.output import JSON, duration, err, out, print_json, print_table, reporting, share
from genrecore.config import run as configuration
from genrecore.config.command import train_command
from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError, UsageError
from genrecore.evaluation import metrics
from genrecore.jobs import actions as jobs
from genrecore.jobs import alerts
from genrecore.jobs import spawn as spawning
from genrecore.store import run as runs
from genrecore.store.locks import LOCK, take_lock
from genrecore.store.progress import Phase, Report, phase_text
from genrecore.store.run import Run
from genrecore.store.status import FINAL, LOG, STOP_WITHIN_S, ask_to_stop, stop_asked
from genrecore.training import distributed

runs_app = typer.Typer(
    help="List, show and stop runs.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(runs_app, name="runs")


CONFIG = Annotated[
    Path | None, typer.Option("--config", help="A configuration in JSON to start from.")
]
SET = Annotated[
    list[str] | None,
    typer.Option("--set", help="An option of a part, e.g. --set feature.n_mels=64."),
]
PRESET = Annotated[
    str,
    typer.Option("--preset", help="The input of a study to start from; see 'genrecore list'."),
]


@app.command()
@with_flags(RunConfig)
def train(
    values: dict[str, Any],
    config: CONFIG = None,
    set_: SET = None,
    preset: PRESET = "",
    background: Annotated[
        bool, typer.Option("--background", help="Queue the run and return at once.")
    ] = False,
    run: Annotated[
        Path | None,
        typer.Option("--run", help="Carry out (or go on with) the run in this folder."),
    ] = None,
    as_json: JSON = False,
) -> None:
    """Train one model and test it: decode, split, train, choose the epoch, predict.

    Without flags: the base CNN on the built-in demo music. Settings come from the defaults, then
    from --config, then from --preset, then from flags. What a run writes is described in
    checkpoints/README.md.
    """
    if run is not None:
        if values or set_ or config or preset:
            raise UsageError("--run carries out what its folder says; it takes no other settings.")
        found = runs.find_run(str(run))
        if distributed.rank() > 0:
            _follow_leader(found.config)
        else:
            _carry_out(found, as_json)
        return
    from genrecore.training.resolve import resolve

    resolved = resolve(settings(config, values, set_, preset)).config
    if background:
        queued = jobs.submit(resolved)
        if as_json:
            print_json({"run": queued.run_id, "folder": str(queued.folder), "state": "queued"})
        else:
            out.print(f"Queued {queued.run_id}. Watch it: genrecore runs show {queued.run_id}")
        return
    if distributed.rank() > 0:
        _follow_leader(resolved)
        return
    made, lock = runs.create_held_run(resolved)
    try:
        _carry_out(made, as_json, lock)
    finally:
        os.close(lock)


def settings(
    config: Path | None, values: dict[str, Any], set_: list[str] | None, preset: str = ""
) -> RunConfig:
    """The configuration of a command: defaults, then --config, --preset, then flags and --set.

    Raises:
        UsageError: An unknown field or preset, a value out of range, or a --set without an equals
            sign.
    """
    start = configuration.read_config_file(config) if config else RunConfig()
    if preset:
        from genrecore.features import PRESETS

        values = PRESETS[preset].thing | values
    for item in set_ or []:
        key, equals, value = item.partition("=")
        if not equals:
            raise UsageError(f"--set takes field=value, e.g. feature.n_mels=64; found {item!r}.")
        values[key] = value
    return configuration.with_values(start, values)


def _carry_out(run: Run, as_json: bool, lock: int | None = None) -> None:
    """Executes a run in this process, holding its lock and a slot."""
    from genrecore.training import lifecycle

    # Whoever started this process gave it the locks, or holds them for it.
    born_held = "GENRECORE_DEVICE" in os.environ
    held: list[int] = []
    own_lock = None
    several = run.config.processes > 1 and not distributed.by_torchrun()
    try:
        if not born_held:
            if lock is None:
                lock = own_lock = take_lock(run.folder / LOCK)
                if lock is None:
                    raise GenrecoreError(f"Another process works on the run {run.run_id}.")
            if run.status.get("state") == "done":
                raise GenrecoreError(f"The run {run.run_id} is done already.")
            devices, held = _take_slots(run)
            os.environ["GENRECORE_DEVICE"] = devices[0]
        with reporting(quiet=as_json or born_held) as report:
            if not as_json:
                out.print(f"Run {run.run_id}")
            if several and lock is not None:
                state = _watched(run, devices, [lock, *held], report)
            else:
                with distributed.joined() as team:
                    state = lifecycle.execute(run, report, team)
    finally:
        if not born_held:
            os.environ.pop("GENRECORE_DEVICE", None)
        for descriptor in (*held, *([own_lock] if own_lock is not None else [])):
            os.close(descriptor)
        jobs.ensure_runner(run.folder.parent)
        alerts.look(Run(run.folder))  # no runner watched it
    finished = Run(run.folder)
    if as_json:
        print_json(_facts(finished))
    elif state == "done":
        _print_result(finished)
    if state == "failed":
        raise GenrecoreError(f"The run {run.run_id} failed: {finished.reason}")


def _watched(run: Run, devices: list[str], locks: list[int], report: Report) -> str:
    """Starts a run's processes and waits for them; Ctrl-C asks them to stop."""
    with open(run.folder / LOG, "ab") as log:
        child = spawning.spawn_run(run, log, devices, locks)
    while child.poll() is None:
        try:
            status = Run(run.folder).status
            done, total = int(status.get("done", 0)), int(status.get("total", 0))
            report(str(status.get("phase") or Phase.STARTING), done, total)
            time.sleep(0.2)
        except KeyboardInterrupt:
            ask_to_stop(run.folder)
    status = Run(run.folder).status
    state = str(status.get("state", "queued"))
    if state in FINAL:
        return state
    raise GenrecoreError(
        f"The processes of the run {run.run_id} ended with exit code {child.returncode} and left "
        f"no message; its log may say more: genrecore runs show {run.run_id} --log"
    )


def _follow_leader(config: RunConfig) -> None:
    """Trains along with the process that writes the run: this one keeps nothing."""
    from genrecore.training import lifecycle

    with tempfile.TemporaryDirectory(prefix="genrecore-") as folder:
        unseen, lock = runs.create_held_run(config, Path(folder))
        try:
            with distributed.joined() as team:
                state = lifecycle.execute(unseen, team=team)
            reason = Run(unseen.folder).reason
        finally:
            os.close(lock)
    if state == "failed":
        raise GenrecoreError(reason)


def _take_slots(run: Run) -> tuple[list[str], list[int]]:
    """Free devices for a run and their locks; waits for them while other runs train."""
    from genrecore.jobs import slots

    told = False
    while True:
        taken = slots.take(run)
        if taken is not None:
            return taken
        if stop_asked(run.folder):
            raise GenrecoreError(f"The run {run.run_id} was cancelled while it waited.")
        if not told:
            err.print("Waiting for a free device: another run trains. Ctrl-C gives up.")
            told = True
        time.sleep(0.3)


def _facts(run: Run) -> dict[str, Any]:
    from genrecore.evaluation import comparison

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
        facts["scores"] = comparison.scores(run)
        facts["accuracy_by_pooling"] = comparison.pooled_accuracies(run)
    return facts


def _print_result(run: Run) -> None:
    from genrecore.evaluation import comparison

    scores = comparison.scores(run)
    out.print(
        f"Tested on {scores['n_clips']} clips: accuracy {share(scores['accuracy'])} "
        f"(95 %: {share(scores['accuracy_low'])} to {share(scores['accuracy_high'])}), "
        f"macro-F1 {share(scores['macro_f1'])}, epoch {run.status.get('best_epoch')}."
    )
    ways = comparison.pooled_accuracies(run)
    if ways:
        listed = ", ".join(f"{metrics.POOLINGS[name]} {share(a)}" for name, a in ways.items())
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
        row["validation accuracy"] = share(accuracy) if accuracy is not None else ""
        row["left"] = duration(row["left"]) if row["left"] is not None else ""
    print_table(rows, f"No runs in {runs.store_dir()} yet; 'genrecore demo' makes two.")


@runs_app.command("show")
def show_run(
    run: Annotated[str, typer.Argument(help="A run's id, a part of it, or 'latest'.")],
    log: Annotated[bool, typer.Option("--log", help="Print the end of its log as well.")] = False,
    as_json: JSON = False,
) -> None:
    """One run: state, progress, result, what differs from the defaults."""
    found = runs.find_run(run)
    if as_json:
        print_json(_facts(found))
        return
    status = found.status
    out.print(f"{found.run_id}: {found.state}. {found.reason}".strip())
    out.print(f"Folder: {found.folder}", markup=False)
    if status.get("phase") and found.state not in FINAL:
        left = duration(status.get("time_left_s"))
        out.print(
            f"{phase_text(status['phase'])}, epoch {status.get('epoch', 0)} of "
            f"{found.n_epochs}, time left {left}"
        )
    if found.leak:
        out.print(f"{found.leak}: its accuracy is flattered.", style="bold red")
    if found.config.rehearsal:
        out.print(f"{found.badge.rpartition('; ')[2]}.", style="bold")
    if found.predictions is not None:
        _print_result(found)
    out.print("Differs from the defaults in: ", end="")
    out.print(json.dumps(configuration.differences(found.config)), markup=False)
    out.print(f"Same again: {shlex.join(train_command(found.config))}", markup=False)
    if log:
        out.print(found.log(), markup=False)


@runs_app.command("stop")
def stop_run(
    run: Annotated[str, typer.Argument(help="A run's id, a part of it, or 'latest'.")],
    keep_best: Annotated[
        bool,
        typer.Option("--keep-best", help="Test its best epoch so far; it ends as 'done'."),
    ] = False,
    within: Annotated[
        float,
        typer.Option("--within", min=0.0, help="Seconds after which it is ended by force."),
    ] = STOP_WITHIN_S,
    as_json: JSON = False,
) -> None:
    """Ask a run to stop: it finishes its step, keeps a checkpoint and ends as 'stopped'."""
    found = runs.find_run(run)
    sentence = jobs.stop(found, keep_best=keep_best, within_s=within)
    if as_json:
        print_json({"run": found.run_id, "state": Run(found.folder).state, "message": sentence})
    else:
        out.print(sentence)


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
        best = f", best validation accuracy {share(accuracy)}" if accuracy is not None else ""
        report(f"{title}: {phase.lower()}{best}", done, total)
        time.sleep(0.3)
