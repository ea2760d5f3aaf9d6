"""Alerts follow from what the run folder says; a webhook gets each of them once, and no secrets."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from commands import command, genrecore, refused
from conftest import wait_for

from genrecore.config.run import RunConfig
from genrecore.errors import UsageError
from genrecore.jobs import access, alerts
from genrecore.store import settings
from genrecore.store.files import read_json, write_json
from genrecore.store.run import Run
from genrecore.store.runs import create_held_run, create_run
from genrecore.store.status import STATUS, Status

Tiny = Callable[..., RunConfig]


class Receiver(HTTPServer):
    """Keeps what is posted to it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Keep)
        self.got: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}/hook/s3cret"


class _Keep(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.paths.append(self.path)
        if self.path.startswith("/away"):
            self.send_response(302)
            self.send_header("Location", "/hook")
            self.end_headers()
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(json.loads(body))
        self.send_response(404 if self.path.startswith("/absent") else 200)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def live(tiny: Tiny, store: Path) -> Iterator[Callable[..., Run]]:
    """`live(losses, best_epoch, epochs)`: a run at work with such a history."""
    locks: list[int] = []

    def make(losses: list[float], best_epoch: int = 0, epochs: int = 100) -> Run:
        run, lock = create_held_run(tiny(training__epochs=epochs), store)
        locks.append(lock)
        rows = [
            {"epoch": k, "train_loss": loss, "train_accuracy": 0.5}
            for k, loss in enumerate(losses, 1)
        ]
        (run.folder / "history.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        Status(run.folder).move(
            "running",
            epoch=len(losses),
            n_epochs=epochs,
            best_epoch=best_epoch or len(losses),
            best_valid_accuracy=0.613,
        )
        return Run(run.folder)

    yield make
    for lock in locks:
        os.close(lock)


def kinds(run: Run) -> list[str]:
    return [alert.kind for alert in alerts.find_alerts(run)]


def test_a_run_that_learns_gives_no_alert(live: Callable[..., Run]) -> None:
    assert alerts.find_alerts(live([2.1, 1.4, 1.5, 0.9, 1.1, 0.8])) == []
    assert alerts.find_alerts(live([])) == []


def test_a_loss_that_climbs_back_for_three_epochs_diverges_once(live: Callable[..., Run]) -> None:
    climbing = [2.1, 1.0, 0.5, 1.2, 1.9, 2.4]
    (alert,) = alerts.find_alerts(live(climbing))
    assert alert.kind == "divergence"
    assert "2.4 in epoch 6, after 0.5 in epoch 3" in alert.sentence
    (later,) = alerts.find_alerts(live([*climbing, 3.3]))
    assert later.key == alert.key
    assert kinds(live(climbing[:-1])) == []  # two epochs may be chance
    assert kinds(live([2.1, 0.9, 0.01, 0.03, 0.04, 0.05])) == []  # near zero a double is nothing


def test_standing_still_counts_from_the_best_epoch_and_by_the_length_of_the_run(
    live: Callable[..., Run],
) -> None:
    falling = [2.0 - 0.01 * k for k in range(37)]
    (alert,) = alerts.find_alerts(live(falling, best_epoch=12, epochs=100))
    assert alert.kind == "no progress"
    assert "for 25 epochs" in alert.sentence
    assert "61.3 % in epoch 12" in alert.sentence
    assert kinds(live(falling, best_epoch=13, epochs=100)) == []
    assert kinds(live(falling, best_epoch=27, epochs=40)) == ["no progress"]  # ten at least
    assert kinds(live(falling, best_epoch=28, epochs=40)) == []


def test_a_loss_that_is_no_number_says_since_when(live: Callable[..., Run]) -> None:
    (alert,) = alerts.find_alerts(live([2.0, float("nan"), float("nan")]))
    assert alert.kind == "not a number"
    assert "since epoch 2" in alert.sentence


def test_ends_are_told_with_their_reason(tiny: Tiny, store: Path) -> None:
    run = create_run(tiny(), store)
    assert kinds(Run(run.folder)) == []  # queued
    status = Status(run.folder)
    status.move("running")
    assert kinds(Run(run.folder)) == ["lost"]  # nobody holds its lock
    status.move("failed", "The loss became nan in epoch 1.", finished_at=1e9)
    assert kinds(Run(run.folder)) == ["not a number"]
    status.move("failed", "The disk is full.", finished_at=1e9)
    assert [(a.kind, a.sentence) for a in alerts.find_alerts(Run(run.folder))] == [
        ("failed", "The disk is full.")
    ]
    status.move("done", "", finished_at=2e9, epoch=3, best_epoch=2, best_valid_accuracy=0.75)
    (done,) = alerts.find_alerts(Run(run.folder))
    assert done.is_good
    assert done.sentence.startswith("Done after 3 epochs")
    assert "75.0 % in epoch 2" in done.sentence
    (run.folder / "model.skops").touch()  # scikit-learn knows no epochs
    (done,) = alerts.find_alerts(Run(run.folder))
    assert done.sentence == "Done, best validation accuracy 75.0 %."
    status.move("stopped", "Stopped on request.")
    assert kinds(Run(run.folder)) == []  # who stopped it knows


def test_each_alert_is_posted_once_over_looks_of_several_processes(
    tiny: Tiny, store: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    alerts.set_webhook(receiver.url, store)
    run = create_run(tiny(), store)
    status = Status(run.folder)
    now = time.time()
    status.move("failed", "No such file (/home/me/my data/x.wav).", finished_at=now, epoch=3)
    for _ in range(3):
        alerts.post_new(Run(run.folder))
        monkeypatch.setattr(alerts, "_last_looks", {})  # as another process that knows nothing
    wait_for(lambda: receiver.got)  # posts are threads of their own, which may overtake
    status.move("done", "", finished_at=now + 5, epoch=4, best_valid_accuracy=0.5)
    alerts.post_new(Run(run.folder))
    wait_for(lambda: len(receiver.got) == 2)
    assert [post["kind"] for post in receiver.got] == ["failed", "done"]
    first = receiver.got[0]
    assert first["run"] == run.run_id
    assert first["epoch"] == 3
    assert first["text"] == first["content"] == f"{run.title}: {first['words']}"
    assert "/home" not in json.dumps(first)
    assert receiver.url not in json.dumps(receiver.got)


def test_what_happened_long_ago_or_without_a_webhook_is_not_posted(
    tiny: Tiny, store: Path, receiver: Receiver
) -> None:
    run = create_run(tiny(), store)
    Status(run.folder).move("done", "", finished_at=time.time() - 7200)
    alerts.post_new(Run(run.folder))
    assert not (run.folder / alerts.SENT).exists()
    alerts.set_webhook(receiver.url, store)
    alerts.post_new(Run(run.folder))
    assert read_json(run.folder / alerts.SENT)["sent"]
    fresh = create_run(tiny(), store)
    Status(fresh.folder).move("done", "", finished_at=time.time())
    alerts.post_new(Run(fresh.folder))
    wait_for(lambda: receiver.got)
    assert [post["run"] for post in receiver.got] == [fresh.run_id]


def test_a_receiver_that_fails_is_a_sentence_without_its_address(
    tiny: Tiny, store: Path, receiver: Receiver
) -> None:
    run = Run(create_run(tiny(), store).folder)
    alert = alerts.Alert("k", "done", "Done.", 0.0)
    absent = receiver.url.replace("/hook", "/absent")
    assert alerts.notify(absent, run, alert) == "The receiver answered 404."
    closed = "http://127.0.0.1:1/s3cret"
    for url in (closed, "file:///etc/passwd", "http://[", ""):
        problem = alerts.notify(url, run, alert)
        assert problem
        assert "s3cret" not in problem


def test_an_alert_goes_to_no_other_address_than_the_one_that_was_set(
    tiny: Tiny, store: Path, receiver: Receiver
) -> None:
    run = Run(create_run(tiny(), store).folder)
    away = receiver.url.replace("/hook", "/away")
    assert alerts.notify(away, run, alerts.Alert("k", "done", "Done.", 0.0))
    assert receiver.paths == ["/away/s3cret"]


def test_looking_at_a_run_never_raises(tiny: Tiny, store: Path) -> None:
    alerts.set_webhook("http://127.0.0.1:1/", store)
    run = create_run(tiny(), store)
    (run.folder / STATUS).unlink()
    alerts.post_new(Run(run.folder))
    (store / settings.FILE).write_text("no json")
    alerts.post_new(Run(run.folder))


def test_the_webhook_is_kept_beside_other_settings_for_its_owner_alone(store: Path) -> None:
    write_json(store / settings.FILE, {"token": "abc"})
    alerts.set_webhook("https://example.org/x", store)
    assert alerts.webhook(store) == "https://example.org/x"
    path = store / settings.FILE
    assert path.stat().st_mode & 0o077 == 0
    alerts.set_webhook("", store)
    assert json.loads(path.read_text()) == {"token": "abc"}
    with pytest.raises(UsageError, match="http"):
        alerts.set_webhook("ftp://example.org", store)
    for url in ("http://example.org", "http://10.0.0.7:25", "http://127.0.0.1.example.org", "x"):
        with pytest.raises(UsageError, match="begins with https://"):
            alerts.set_webhook(url, store)


def test_a_visitor_from_outside_cannot_try_out_which_ports_are_open(
    receiver: Receiver, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = access.Visitor("a@example.org", is_from_outside=True)
    monkeypatch.setattr(access, "_source", lambda: guest)
    monkeypatch.setattr(alerts, "TIMEOUT_S", 0.2)
    answers = set()
    absent = f"https://127.0.0.1:{receiver.server_port}/absent"
    for url in (receiver.url, "http://127.0.0.1:1/", absent, "https://[::1]:1/", "https://["):
        with pytest.raises(UsageError, match="not from outside"):
            alerts.set_webhook(url, store)
        began = time.monotonic()
        answers.add(alerts.try_out(url))
        assert time.monotonic() - began > 1.1
    assert answers == {"The message did not arrive."}
    assert receiver.got == []


def test_commands_set_try_and_forget_the_webhook_and_list_alerts(
    tiny: Tiny, store: Path, receiver: Receiver
) -> None:
    assert "nowhere" in command("runs", "webhook")
    output = command("runs", "webhook", receiver.url, "--test")
    assert "127.0.0.1" in output
    assert "s3cret" not in output
    assert [post["kind"] for post in receiver.got] == ["test"]
    run = create_run(tiny(), store)
    Status(run.folder).move("failed", "The disk is full.", finished_at=1e9)
    listed = json.loads(command("runs", "alerts", "--json"))
    assert [(row["run"], row["kind"]) for row in listed] == [(run.run_id, "failed")]
    assert "The disk is full." in command("runs", "alerts", run.run_id)
    assert "nowhere" in command("runs", "webhook", "--off")
    assert alerts.webhook(store) == ""
    refused(genrecore("runs", "webhook", "no address"), 2, "http")
