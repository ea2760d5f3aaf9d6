"""Runs in the files of other tools, read back by these tools' own readers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import command, genrecore, refused
from conftest import trained, wait_for
from fake_runs import draw_right, fake_run

from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError, UsageError
from genrecore.evaluation.scores import run_scores
from genrecore.reporting import trackers
from genrecore.store import runs
from genrecore.store.run import Run


def with_epochs(run: Run, *rows: dict[str, Any]) -> Run:
    lines = "".join(json.dumps({"epoch": k + 1, **row}) + "\n" for k, row in enumerate(rows))
    (run.folder / "history.jsonl").write_text(lines)
    return Run(run.folder)


def test_every_number_of_every_epoch_has_a_tag_and_a_date(store: Path) -> None:
    run = with_epochs(
        fake_run(store, draw_right(0.6, 30, 1)),
        {"train_loss": 1.5, "train_accuracy": None, "valid_macro_f1": None, "lr": 1e-3,
         "seconds": 2.0, "best": True},
        {"train_loss": 1.25, "train_accuracy": 0.75, "valid_macro_f1": 0.5, "lr": 1e-4,
         "seconds": 3.0, "best": False},
    )  # fmt: skip
    entries = [(entry.tag, entry.epoch, entry.value) for entry in trackers.scalars(run)]
    trained_ = [row for row in entries if not row[0].endswith("/test")]
    assert trained_ == [
        ("loss/train", 1, 1.5), ("lr", 1, 1e-3), ("seconds", 1, 2.0),
        ("loss/train", 2, 1.25), ("accuracy/train", 2, 0.75), ("macro_f1/valid", 2, 0.5),
        ("lr", 2, 1e-4), ("seconds", 2, 3.0),
    ]  # fmt: skip
    assert ("accuracy/test", 0, run_scores(run)["accuracy"]) in entries
    at = {entry.epoch: entry.at for entry in trackers.scalars(run) if entry.tag == "lr"}
    assert at[2] - at[1] == pytest.approx(3.0)


def test_tensorboard_reads_what_a_run_measured(store: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    generator = np.random.default_rng(3)
    columns = ["train_loss", "valid_loss", "train_accuracy", "valid_accuracy", "lr"]
    columns += ["samples_per_s", "seconds"]
    rows = [dict(zip(columns, generator.random(7).tolist(), strict=True)) for _ in range(5)]
    run = with_epochs(fake_run(store, draw_right(0.6, 30, 1)), *rows)
    (run.folder / "environment.json").write_text('{"device": "cpu"}')
    folder = tmp_path / "events"
    for _ in range(2):  # an export again replaces the first
        assert "tensorboard --logdir" in command("export", "latest", "--tensorboard", str(folder))
    events = EventAccumulator(str(folder / run.run_id))
    events.Reload()
    for column in columns:
        split, _, measure = column.partition("_")
        values = events.Scalars(f"{measure}/{split}" if split in ("train", "valid") else column)
        assert [entry.step for entry in values] == [1, 2, 3, 4, 5]
        # Event files hold float32.
        assert [entry.value for entry in values] == pytest.approx(
            [r[column] for r in rows], rel=1e-6
        )
    (accuracy,) = events.Scalars("accuracy/test")
    assert accuracy.value == pytest.approx(run_scores(run)["accuracy"], rel=1e-6)
    assert {"configuration/text_summary", "environment/text_summary"} <= set(
        events.Tags()["tensors"]
    )
    (text,) = events.Tensors("configuration/text_summary")
    written = json.loads(text.tensor_proto.string_val[0])
    assert written == run.config.model_dump(mode="json")
    settings = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"training.lr" in settings
    assert b"audio.clip_s" in settings


def test_a_run_without_epochs_is_exported_as_far_as_it_is(store: Path, tmp_path: Path) -> None:
    run = runs.create_run(RunConfig(), store)
    assert list(trackers.scalars(run)) == []
    (folder,) = trackers.to_tensorboard([run], tmp_path / "events")
    assert list(folder.glob("events.out.tfevents.*"))


def test_what_cannot_be_exported_says_why(store: Path, tmp_path: Path) -> None:
    fake_run(store, draw_right(0.6, 30, 1))
    refused(genrecore("export", "latest"), 2, "--tensorboard DIR, --mlflow URI")
    refused(genrecore("export", "nobody", "--mlflow", "http://127.0.0.1:1"), 2, "no run 'nobody'")
    refused(genrecore("export", "latest", "--mlflow", "file:///tmp"), 2, "http://127.0.0.1:5000")
    file = tmp_path / "file"
    file.write_text("")
    refused(genrecore("export", "latest", "--tensorboard", str(file)), 1, "cannot take the event")
    with pytest.raises(UsageError, match="tracking server"):
        trackers.to_mlflow([], "127.0.0.1:5000")
    assert trackers.without_password("https://me:secret@host:8/x") == "https://host:8/x"


@pytest.mark.parametrize("module", ["tensorboard", "mlflow"])
def test_a_missing_extra_is_named(
    store: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_run(store, draw_right(0.6, 30, 1))
    # None in the list of modules is how Python itself remembers that there is no such module.
    monkeypatch.setitem(sys.modules, module, None)
    where = {"tensorboard": "events", "mlflow": "http://127.0.0.1:1"}[module]
    result = genrecore("export", "latest", f"--{module}", where)
    refused(result, 1, f"pip install 'genrecore[{module}]'")
    assert result.stderr.count("\n") == 1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def mlflow_server(tmp_path: Path) -> Iterator[str]:
    """The address of a real tracking server on this machine, or a skip with one line."""
    for module in ("mlflow", "flask", "flask_cors", "aiohttp"):
        pytest.importorskip(module, reason="pip install -e '.[mlflow,mlflow-server]' runs this")
    port = free_port()
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    arguments = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    arguments += ["--workers", "1", "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db"]
    arguments += ["--artifacts-destination", str(tmp_path / "artifacts")]
    server = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=tmp_path,
        env=os.environ | quiet,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert server.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(f"{address}/health", timeout=2).close()
        except OSError:
            return False
        return True

    try:
        wait_for(answers, 90)
        yield address
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


@pytest.mark.long
def test_an_mlflow_server_holds_what_a_run_measured(
    store: Path, tmp_path: Path, tiny: Callable[..., RunConfig], mlflow_server: str
) -> None:
    from mlflow import MlflowClient

    run = trained(tiny(), store)
    half = fake_run(store, draw_right(0.6, 30, 1))
    with_epochs(half, {"train_loss": 1.5, "lr": 1e-3})
    output = command("export", run.run_id, half.run_id, "--mlflow", mlflow_server)
    assert output.count("Logged") == 2
    client = MlflowClient(tracking_uri=mlflow_server)
    experiment = client.get_experiment_by_name("genrecore")
    assert experiment is not None
    entries = {
        entry.info.run_name: entry for entry in client.search_runs([experiment.experiment_id])
    }
    assert set(entries) == {run.run_id, half.run_id}
    logged = entries[run.run_id]
    assert logged.info.status == "FINISHED"
    assert logged.data.params["training.lr"] == str(run.config.training.lr)
    assert logged.data.params["model.width"] == "3"
    assert logged.data.tags["dataset"] == "demo"
    for column, tag in {"train_loss": "loss/train", "valid_accuracy": "accuracy/valid"}.items():
        values = client.get_metric_history(logged.info.run_id, tag)
        assert {entry.step: entry.value for entry in values} == pytest.approx(
            dict(zip(run.history["epoch"], run.history[column], strict=True))
        )
    assert logged.data.metrics["accuracy/test"] == run_scores(run)["accuracy"]
    files = {entry.path for entry in client.list_artifacts(logged.info.run_id)}
    assert {"config.json", "predictions.parquet", "weights.safetensors", "log.txt"} <= files
    client.download_artifacts(logged.info.run_id, "config.json", str(tmp_path))
    assert (tmp_path / "config.json").read_text() == (run.folder / "config.json").read_text()

    # A run that went on meanwhile is continued, not logged twice.
    with_epochs(half, {"train_loss": 1.5, "lr": 1e-3}, {"train_loss": 1.25, "lr": 1e-3})
    output = command("export", half.run_id, "--mlflow", mlflow_server, "--json")
    (again,) = json.loads(output)["mlflow"]
    assert again["again"] is True
    assert again["mlflow_id"] == entries[half.run_id].info.run_id
    losses = client.get_metric_history(again["mlflow_id"], "loss/train")
    assert [(entry.step, entry.value) for entry in losses] == [(1, 1.5), (2, 1.25)]
    assert len(client.search_runs([experiment.experiment_id])) == 2

    # What the server refuses is one sentence.
    client.delete_experiment(experiment.experiment_id)
    result = genrecore("export", run.run_id, "--mlflow", mlflow_server)
    refused(result, 1, "refused", "deleted")


def test_a_server_that_is_not_there_is_said_at_once(store: Path) -> None:
    pytest.importorskip("mlflow", reason="pip install -e '.[mlflow]' lets this test run")
    run = fake_run(store, np.ones(6, dtype=bool))
    with pytest.raises(GenrecoreError, match="cannot be reached"):
        trackers.to_mlflow([run], f"http://127.0.0.1:{free_port()}")
