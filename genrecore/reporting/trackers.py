"""Export of runs to other tools: TensorBoard's event files, an MLflow tracking server.

Both are written from the run folder, at any time and as often as wanted: of a run that still trains
the epochs so far are exported, and the next export adds the others.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from genrecore.config import run as configuration
from genrecore.errors import GenrecoreError, UsageError
from genrecore.evaluation.scores import run_scores
from genrecore.store.files import is_regular_file, output_folder
from genrecore.store.progress import Phase, Report, silent
from genrecore.store.run import Run

EXPERIMENT = "genrecore"
ARTIFACTS = (
    "config.json", "status.json", "environment.json", "audit.json", "history.jsonl", "log.txt",
    "clips.parquet", "predictions.parquet", "segments.parquet",
)  # fmt: skip
"""Files of a run that are logged to MLflow, besides its weights."""

_TIMEOUT_S = 5.0  # for a server to answer at all
_MAX_METRICS, _MAX_PARAMS = 900, 90  # in a batch; MLflow takes 1,000 metrics and 100 parameters
_MAX_CHARACTERS = 5000  # of a parameter or a tag
_STATES = {"done": "FINISHED", "failed": "FAILED", "lost": "FAILED", "stopped": "KILLED"}


@dataclass(frozen=True)
class Scalar:
    """A number of a run: tag (`loss/train`), epoch, and time of measurement, in seconds since
    1970."""

    tag: str
    value: float
    epoch: int
    at: float


def scalars(run: Run) -> Iterator[Scalar]:
    """Every number of every epoch of a run, then its test scores at the kept epoch.

    Tags are `<measure>/<split>` (`accuracy/valid`), so that tools draw training and validation
    together; numbers without a split (`lr`, `samples_per_s`, `memory_mb`) have their own name as
    tag. Epochs are dated by the seconds each took, from the start of training on.
    """
    at = _training_start(run)
    for row in run.history.to_dict(orient="records"):
        measured = {
            str(name): float(value)
            for name, value in row.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
        }
        epoch = int(measured.pop("epoch"))
        at += measured.get("seconds", 0.0)
        for name, value in measured.items():
            yield Scalar(_tag(name), value, epoch, at)
    best_epoch = int(run.status.get("best_epoch") or run.status.get("epoch") or 0)
    finished = float(run.status.get("finished_at") or at)
    for name, value in test_scores(run).items():
        yield Scalar(f"{name}/test", value, best_epoch, finished)


def test_scores(run: Run) -> dict[str, float]:
    """The test scores of a run without nan; empty before the test."""
    if not (run.folder / "predictions.parquet").exists():
        return {}
    return {k: float(v) for k, v in run_scores(run).items() if not math.isnan(v)}


def settings(run: Run) -> dict[str, str | float | bool]:
    """Every setting of a run by its dotted name, as numbers, truth values or text."""
    return {
        name.replace(".options.", "."): value
        if isinstance(value, (str, int, float, bool))
        else json.dumps(value, ensure_ascii=False)
        for name, value in configuration.flat(run.config).items()
    }


def to_tensorboard(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Writes event files for TensorBoard, one folder a run; an earlier export is replaced.

    A run's folder holds its `scalars`, its `settings` as hyperparameters with the test scores, and
    as text the configuration, the result of the audit and the environment.

    Args:
        runs: Runs in any state.
        folder: The folder for `tensorboard --logdir`; created if missing.

    Raises:
        GenrecoreError: tensorboard is not installed, or the folder cannot be written.
    """
    _require("tensorboard", "Event files are written")
    written = []
    for run in runs:
        with output_folder(folder / run.run_id, "event files") as target:
            for old in target.glob("events.out.tfevents.*"):
                old.unlink()
            _write_events(run, target)
        written.append(target)
    return written


def _write_events(run: Run, target: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(target)) as writer:
        for scalar in scalars(run):
            writer.add_scalar(scalar.tag, scalar.value, scalar.epoch, walltime=scalar.at)
        for title, text in _texts(run).items():
            writer.add_text(title, text, 0, walltime=run.created)
        scores = {f"hparam/{name}": value for name, value in test_scores(run).items()}
        writer.add_hparams(settings(run), scores, run_name=".")


def _texts(run: Run) -> dict[str, str]:
    """Texts about a run, as Markdown by title."""
    texts = {"configuration": _as_code(run.config.model_dump(mode="json"))}
    if run.separation:
        texts["audit"] = f"{run.separation.answer.capitalize()}. {run.separation.sentence}"
    if run.warnings:
        texts["warnings"] = "\n".join(f"- {caveat}" for caveat in run.caveats)
    if run.environment:
        texts["environment"] = _as_code(run.environment)
    return texts


def _as_code(value: Any) -> str:
    lines = json.dumps(value, indent=1, ensure_ascii=False).splitlines()
    return "\n".join(f"    {line}" for line in lines)  # a code block of Markdown


@dataclass(frozen=True)
class Logged:
    """A run on an MLflow server: its id there, the address of its page, and whether it was there
    before, so that only new epochs were added."""

    run_id: str
    mlflow_id: str
    address: str
    again: bool


def to_mlflow(
    runs: Sequence[Run],
    uri: str,
    experiment: str = EXPERIMENT,
    weights: bool = True,
    report: Report = silent,
) -> list[Logged]:
    """Logs runs to an MLflow tracking server: settings as parameters, `scalars` as metrics, the
    run's files as artifacts, and tags to find them by.

    A run that is on the server already (by the tag `genrecore.run_id`) is continued: later epochs
    are added, files replaced.

    Args:
        runs: Runs in any state.
        uri: Address of the server, `http://127.0.0.1:5000`.
        experiment: Name of the experiment on the server; created if missing.
        weights: Whether to log the weights, too.
        report: Progress callback.

    Raises:
        UsageError: The address is not one of a server.
        GenrecoreError: MLflow is not installed, or the server does not answer or refuses.
    """
    address = without_password(uri)
    _require("mlflow", "Runs are logged to an MLflow server")
    _check_reachable(address)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    # It answers; so failures are reported soon, and not after minutes of retries.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    client = MlflowClient(tracking_uri=uri)
    logged = []
    try:
        existing = client.get_experiment_by_name(experiment)
        experiment_id = existing.experiment_id if existing else client.create_experiment(experiment)
        for number, run in enumerate(runs):
            report(Phase.LOGGING, number, len(runs))
            mlflow_id, again = _log(client, experiment_id, run, weights)
            page = f"#/experiments/{experiment_id}/runs/{mlflow_id}"
            logged.append(Logged(run.run_id, mlflow_id, f"{address.rstrip('/')}/{page}", again))
    except (MlflowException, OSError) as error:
        reason = " ".join(str(error).replace(uri, address).split())[:300]
        raise GenrecoreError(f"The MLflow server at {address} refused: {reason}") from None
    return logged


def _log(client: Any, experiment: str, run: Run, weights: bool) -> tuple[str, bool]:
    """Logs a run and returns its id on the server and whether it was there before."""
    from mlflow.entities import Metric, Param, RunTag

    existing = client.search_runs([experiment], f"tags.`genrecore.run_id` = '{run.run_id}'")
    if existing:
        mlflow_id = existing[0].info.run_id
        tags = [RunTag(name, value) for name, value in _tags(run).items()]
        client.log_batch(mlflow_id, tags=tags)
    else:
        start_ms = round(1000 * (_training_start(run) or run.created))
        mlflow_id = client.create_run(experiment, start_ms, _tags(run), run.run_id).info.run_id
        params = [Param(name, str(v)[:_MAX_CHARACTERS]) for name, v in settings(run).items()]
        for batch in _batches(params, _MAX_PARAMS):
            client.log_batch(mlflow_id, params=batch)
    values = list(scalars(run))
    logged = _logged_epochs(client, mlflow_id, values) if existing else {}
    metrics = [
        Metric(scalar.tag, scalar.value, round(1000 * scalar.at), scalar.epoch)
        for scalar in values
        if scalar.epoch > logged.get(scalar.tag, -1)
    ]
    for batch in _batches(metrics, _MAX_METRICS):
        client.log_batch(mlflow_id, metrics=batch)
    for file in [*(run.folder / name for name in ARTIFACTS), *([run.weights] if weights else [])]:
        with contextlib.suppress(FileNotFoundError):
            if is_regular_file(str(file)):
                client.log_artifact(mlflow_id, str(file))
    if run.state in _STATES:
        end_s = float(run.status.get("finished_at") or run.status.get("heartbeat") or run.created)
        client.set_terminated(mlflow_id, _STATES[run.state], round(1000 * end_s))
    return mlflow_id, bool(existing)


def _logged_epochs(client: Any, mlflow_id: str, values: list[Scalar]) -> dict[str, int]:
    """The last epoch of each metric on the server."""
    epochs = {}
    for tag in dict.fromkeys(scalar.tag for scalar in values):
        steps = [metric.step for metric in client.get_metric_history(mlflow_id, tag)]
        epochs[tag] = max(steps, default=-1)
    return epochs


def _tags(run: Run) -> dict[str, str]:
    """Tags to find a run by on the server, and warnings about it."""
    tags = {
        "genrecore.run_id": run.run_id,
        "genrecore.system": configuration.system_signature(run.config),
        "genrecore.state": run.state,
        "genrecore.title": run.title,
        "genrecore.plan": run.plan,
        "dataset": run.config.dataset.name,
        "model": run.config.model.name,
        "leak": run.leak,
        "separation": run.separation.answer if run.separation else "",
        "mlflow.note.content": " ".join(run.caveats) or run.reason,
    }
    tags |= {f"version.{name}": v for name, v in run.environment.get("versions", {}).items()}
    return {name: str(value)[:_MAX_CHARACTERS] for name, value in tags.items() if value}


def without_password(uri: str) -> str:
    """The address of a server without user and password.

    Raises:
        UsageError: It is not an http or https address.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"MLflow needs the address of a tracking server, such as http://127.0.0.1:5000; "
            f"found {uri!r}."
        )
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _check_reachable(address: str) -> None:
    """Checks that a server answers: MLflow's own client retries for minutes before it fails.

    Raises:
        GenrecoreError: Nothing answers.
    """
    try:
        urllib.request.urlopen(f"{address.rstrip('/')}/health", timeout=_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        pass  # it answers; MLflow's client checks the permission
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", error)
        raise GenrecoreError(
            f"The MLflow server at {address} cannot be reached ({why}); is it running there? "
            "'mlflow server' starts one."
        ) from None


def _require(module: str, purpose: str) -> None:
    """Checks that an optional package is installed; the extra that installs it has its name.

    Raises:
        GenrecoreError: It is not installed.
    """
    try:
        importlib.import_module(module)
    except ImportError:
        raise GenrecoreError(
            f"{purpose} by the package {module}, which is not installed: "
            f"pip install 'genrecore[{module}]' (in a checkout: pip install -e '.[{module}]')."
        ) from None


def _training_start(run: Run) -> float:
    """When training began, in seconds since 1970; before that, when the run was queued."""
    states = run.status.get("states", [])
    running = [entry["at"] for entry in states if entry["state"] == "running"]
    return float(running[0] if running else run.status.get("started_at") or run.created)


def _tag(column: str) -> str:
    """The tag of a column of the history: `loss/train` for `train_loss`."""
    split, _, measure = column.partition("_")
    return f"{measure}/{split}" if split in ("train", "valid") and measure else column


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]
