"""Runs in the files of other tools: TensorBoard's event files, an MLflow tracking server.

Both are written from the run folder, at any time, as often as wanted: a run that still trains is
told as far as it is, and the next export goes on from there.
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
from genrecore.errors import GenrecoreError, UsageError, describe
from genrecore.evaluation import comparison
from genrecore.store.files import read_json
from genrecore.store.progress import Phase, Report, silent
from genrecore.store.run import Run

EXPERIMENT = "genrecore"
ARTIFACTS = (
    "config.json", "status.json", "environment.json", "audit.json", "history.jsonl", "log.txt",
    "clips.parquet", "predictions.parquet", "segments.parquet",
)  # fmt: skip
"""Files of a run that go along to MLflow, besides its weights."""

_ANSWER_S = 5.0  # for a server to say anything at all
_BATCH = 900  # MLflow takes a thousand values at once, a hundred parameters and tags
_FEW = 90
_LONGEST = 5000  # characters of a parameter or a tag
_STATES = {"done": "FINISHED", "failed": "FAILED", "lost": "FAILED", "stopped": "KILLED"}


@dataclass(frozen=True)
class Scalar:
    """A number of a run: its tag (`loss/train`), the epoch, and when it was measured, in seconds
    since 1970."""

    tag: str
    value: float
    epoch: int
    at: float


def scalars(run: Run) -> Iterator[Scalar]:
    """Every number of every epoch of a run, then the scores of its test at the epoch it kept.

    Tags are `<measure>/<split>` (`accuracy/valid`), so that tools draw training and validation
    together; what belongs to no split (`lr`, `samples_per_s`, `memory_mb`) is named alone. Epochs
    are dated by the seconds each took, from the start of training on.
    """
    at = _began(run)
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
    kept = int(run.status.get("best_epoch") or run.status.get("epoch") or 0)
    finished = float(run.status.get("finished_at") or at)
    for name, value in tested(run).items():
        yield Scalar(f"{name}/test", value, kept, finished)


def tested(run: Run) -> dict[str, float]:
    """The scores of a run's test that were measured; empty before it."""
    if not (run.folder / "predictions.parquet").exists():
        return {}
    found = {name: float(value) for name, value in comparison.scores(run).items()}
    return {name: value for name, value in found.items() if not math.isnan(value)}


def settings(run: Run) -> dict[str, str | float | bool]:
    """Every setting of a run by its dotted name, as numbers, truth values or text."""
    found: dict[str, str | float | bool] = {}
    for name, value in configuration.flat(run.config).items():
        plain = isinstance(value, (str, int, float, bool))
        found[name.replace(".options.", ".")] = (
            value if plain else json.dumps(value, ensure_ascii=False)
        )
    return found


def to_tensorboard(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Event files for TensorBoard, a folder a run; those of an earlier export are replaced.

    A run's folder holds its `scalars`, its `settings` as hyperparameters beside the test's scores,
    and as text the configuration, the audit's verdict and the environment.

    Args:
        runs: Of any state.
        folder: What `tensorboard --logdir` is given; it is made where it is not there.

    Raises:
        GenrecoreError: tensorboard is not installed, or the folder cannot be written.
    """
    _needed("tensorboard", "tensorboard", "Event files are written")
    made = []
    for run in runs:
        place = folder.expanduser().absolute() / run.run_id
        try:
            place.mkdir(parents=True, exist_ok=True)
            for old in place.glob("events.out.tfevents.*"):
                old.unlink()
            _write_events(run, place)
        except OSError as error:
            raise GenrecoreError(
                f"{folder} cannot take the event files: {describe(error)}"
            ) from None
        made.append(place)
    return made


def _write_events(run: Run, place: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(place)) as writer:
        for one in scalars(run):
            writer.add_scalar(one.tag, one.value, one.epoch, walltime=one.at)
        for title, text in _texts(run).items():
            writer.add_text(title, text, 0, walltime=run.created)
        scored = {f"hparam/{name}": value for name, value in tested(run).items()}
        writer.add_hparams(settings(run), scored, run_name=".")


def _texts(run: Run) -> dict[str, str]:
    """What there is to read about a run, as Markdown by title."""
    texts = {"configuration": _as_code(run.config.model_dump(mode="json"))}
    audit = read_json(run.folder / "audit.json")
    if audit:
        texts["audit"] = str(audit.get("reason") or "The audit found nothing that leaks.")
    if run.environment:
        texts["environment"] = _as_code(run.environment)
    return texts


def _as_code(value: Any) -> str:
    lines = json.dumps(value, indent=1, ensure_ascii=False).splitlines()
    return "\n".join(f"    {line}" for line in lines)  # indented, Markdown shows it as it is


@dataclass(frozen=True)
class Logged:
    """A run on an MLflow server: its id there, the address of its page, and whether it was there
    before and got only what is new."""

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
    run's files as artifacts, and tags by which it is found again.

    A run that is on the server already (by the tag `genrecore.run_id`) is continued: later epochs
    are added, files replaced.

    Args:
        runs: Of any state.
        uri: The server's address, `http://127.0.0.1:5000`.
        experiment: Its name on the server; it is made where it is not there.
        weights: Whether the weights go along.
        report: Told how many runs are done.

    Raises:
        UsageError: The address is none of a server.
        GenrecoreError: MLflow is not installed, the server does not answer or refuses.
    """
    shown = without_password(uri)
    _needed("mlflow", "mlflow", "Runs are logged to an MLflow server")
    _ask(uri, shown)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    # It answers; so what fails is told soon, and not after minutes of trying again.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    client = MlflowClient(tracking_uri=uri)
    logged = []
    try:
        known = client.get_experiment_by_name(experiment)
        place = known.experiment_id if known else client.create_experiment(experiment)
        for number, run in enumerate(runs):
            report(Phase.LOGGING, number, len(runs))
            mlflow_id, again = _log(client, place, run, weights)
            address = f"{shown.rstrip('/')}/#/experiments/{place}/runs/{mlflow_id}"
            logged.append(Logged(run.run_id, mlflow_id, address, again))
    except (MlflowException, OSError) as error:
        words = " ".join(str(error).replace(uri, shown).split())[:300]
        raise GenrecoreError(f"The MLflow server at {shown} refused: {words}") from None
    return logged


def _log(client: Any, experiment: str, run: Run, weights: bool) -> tuple[str, bool]:
    """The id of the run on the server, and whether it was there."""
    from mlflow.entities import Metric, Param, RunTag

    there = client.search_runs([experiment], f"tags.`genrecore.run_id` = '{run.run_id}'")
    if there:
        mlflow_id = there[0].info.run_id
    else:
        began_ms = round(1000 * (_began(run) or run.created))
        made = client.create_run(experiment, began_ms, _tags(run), run.run_id)
        mlflow_id = made.info.run_id
        given = [Param(name, str(value)[:_LONGEST]) for name, value in settings(run).items()]
        for some in _batches(given, _FEW):
            client.log_batch(mlflow_id, params=some)
    values = list(scalars(run))
    done = _epochs_there(client, mlflow_id, values) if there else {}
    fresh = [
        Metric(one.tag, one.value, round(1000 * one.at), one.epoch)
        for one in values
        if one.epoch > done.get(one.tag, -1)
    ]
    for some in _batches(fresh, _BATCH):
        client.log_batch(mlflow_id, metrics=some)
    if there:
        tags = [RunTag(name, value) for name, value in _tags(run).items()]
        client.log_batch(mlflow_id, tags=tags)
    for file in [*(run.folder / name for name in ARTIFACTS), *([run.weights] if weights else [])]:
        with contextlib.suppress(FileNotFoundError):
            if file.exists():
                client.log_artifact(mlflow_id, str(file))
    if run.state in _STATES:
        end_s = float(run.status.get("finished_at") or run.status.get("heartbeat") or run.created)
        client.set_terminated(mlflow_id, _STATES[run.state], round(1000 * end_s))
    return mlflow_id, bool(there)


def _epochs_there(client: Any, mlflow_id: str, values: list[Scalar]) -> dict[str, int]:
    """The last epoch that the server knows of each metric."""
    found = {}
    for tag in dict.fromkeys(one.tag for one in values):
        steps = [metric.step for metric in client.get_metric_history(mlflow_id, tag)]
        found[tag] = max(steps, default=-1)
    return found


def _tags(run: Run) -> dict[str, str]:
    """By what a run is found on the server, and what a reader must know of it."""
    tags = {
        "genrecore.run_id": run.run_id,
        "genrecore.system": configuration.system_signature(run.config),
        "genrecore.state": run.state,
        "genrecore.title": run.title,
        "genrecore.plan": run.plan,
        "dataset": run.config.dataset.name,
        "model": run.config.model.name,
        "leak": run.badge,
        "mlflow.note.content": run.badge or run.reason,
    }
    tags |= {f"version.{name}": v for name, v in run.environment.get("versions", {}).items()}
    return {name: str(value)[:_LONGEST] for name, value in tags.items() if value}


def without_password(uri: str) -> str:
    """The address of a server as it may be shown.

    Raises:
        UsageError: It is no http or https address.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"MLflow's address is one of a tracking server, such as http://127.0.0.1:5000; "
            f"found {uri!r}."
        )
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _ask(uri: str, shown: str) -> None:
    """Whether a server is there at all: MLflow's own client tries for minutes before it says so.

    Raises:
        GenrecoreError: Nothing answers.
    """
    bare = urlsplit(uri)
    address = urlunsplit(bare._replace(netloc=bare.netloc.rpartition("@")[2])).rstrip("/")
    try:
        urllib.request.urlopen(f"{address}/health", timeout=_ANSWER_S).close()
    except urllib.error.HTTPError:
        pass  # it answers; whether it lets us in, its client finds out
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", error)
        raise GenrecoreError(
            f"The MLflow server at {shown} cannot be reached ({why}); is it running there? "
            "'mlflow server' starts one."
        ) from None


def _needed(module: str, extra: str, what: str) -> None:
    """Says how to install what an extra brings.

    Raises:
        GenrecoreError: It is not installed.
    """
    try:
        importlib.import_module(module)
    except ImportError:
        raise GenrecoreError(
            f"{what} by the package {module}, which is not installed: "
            f"pip install 'genrecore[{extra}]' (in a checkout: pip install -e '.[{extra}]')."
        ) from None


def _began(run: Run) -> float:
    """When the run began to train, in seconds since 1970; when it was queued where it did not."""
    moments = [one["at"] for one in run.status.get("states", []) if one["state"] == "running"]
    return float(moments[0] if moments else run.status.get("started_at") or run.created)


def _tag(column: str) -> str:
    """`loss/train` of `train_loss`."""
    split, _, measure = column.partition("_")
    return f"{measure}/{split}" if split in ("train", "valid") and measure else column


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]
