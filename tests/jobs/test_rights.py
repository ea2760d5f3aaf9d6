"""Who may do what: lists of e-mail addresses, folders of this machine, the journal of actions."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import command
from test_audio import noise, wav_bytes

from genrecore.config.run import RunConfig, with_values
from genrecore.data import datasets, uploads
from genrecore.data.datasets.loaded import known_table, stamp_of
from genrecore.errors import GenrecoreError, UsageError
from genrecore.jobs import access, journal, queue
from genrecore.jobs import actions as jobs
from genrecore.jobs.access import Visitor
from genrecore.store import settings
from genrecore.store.run import Run
from genrecore.store.runs import all_runs, create_run
from genrecore.training.resolve import resolve

Tiny = Callable[..., RunConfig]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Visitor], None]:
    """`serve(visitor)`: from now on this thread serves that visitor."""
    return lambda visitor: monkeypatch.setattr(access, "_source", lambda: visitor)


def test_the_settings_say_who_may_look_and_who_may_work(store: Path) -> None:
    def may(email: str) -> tuple[bool, bool]:
        visitor = access.person(email, store)
        assert visitor.is_from_outside
        return visitor.may_look, visitor.may_work

    assert may("ann@example.org") == (False, False)
    settings.change(store, "x", read=["ann@example.org"], work=["Bob@Example.org"])
    assert may("ANN@example.org") == (True, False)
    assert may("bob@example.org") == (True, True)
    assert may("") == may("eve@example.org") == (False, False)
    settings.change(store, "x", read="*", work=[])
    assert may("eve@example.org") == (True, False)
    for broken in ("ann@example.org", {"ann@example.org": 1}, 3, [["*"]], None):
        settings.change(store, "x", read=broken, work=broken)
        assert may("ann@example.org") == (False, False)


def test_who_may_only_look_changes_nothing_from_any_page(
    tiny: Tiny, nobody_starts: Path, serve: Callable[[Visitor], None]
) -> None:
    run = create_run(tiny(), nobody_starts)
    before = (run.status, run.queue, run.about, sorted(os.listdir(nobody_starts)))
    tasks = jobs.tasks()
    serve(Visitor("ann@example.org", may_work=False))
    for action in (
        lambda: jobs.submit(tiny()),
        lambda: jobs.stop(run),
        lambda: jobs.delete(run),
        lambda: jobs.annotate(run, name="x"),
        lambda: jobs.clone(run, {}),
        lambda: jobs.pause(),
        lambda: jobs.unpause(),
        lambda: jobs.move(run, "first"),
        lambda: jobs.prioritise(run, 5),
        lambda: jobs.restore("x"),
        lambda: jobs.empty_bin(),
        lambda: jobs.start_task(["doctor"], "x"),
    ):
        with pytest.raises(GenrecoreError, match=r"ann@example.org may look, but not change"):
            action()
    now = Run(run.folder)
    assert (now.status, now.queue, now.about, sorted(os.listdir(nobody_starts))) == before
    assert jobs.tasks() == tasks


def test_the_journal_says_who_did_what_by_command_python_and_page(
    tiny: Tiny, nobody_starts: Path, serve: Callable[[Visitor], None]
) -> None:
    user = access.visitor().name
    run = create_run(tiny(), nobody_starts)
    command("runs", "note", run.run_id, "words")
    serve(Visitor("ann@example.org"))
    copy = jobs.clone(run, {"seed": 7})
    jobs.delete(copy)
    queue.pause(nobody_starts)
    with pytest.raises(GenrecoreError):
        jobs.restore("no such run", nobody_starts)
    expected = [
        ("ann@example.org", "pause the queue", ""),
        ("ann@example.org", "delete", copy.run_id),
        ("ann@example.org", "clone", copy.run_id),
        (user, "describe", run.run_id),
    ]
    entries = journal.entries(nobody_starts)
    assert [(e["who"], e["action"], e["run"]) for e in entries] == expected
    assert json.loads(command("runs", "journal", "--json", "--last", "2")) == entries[:2]
    assert "delete" in command("runs", "journal")
    assert os.stat(nobody_starts / journal.FILE).st_mode & 0o777 == 0o600


def test_the_journal_stays_small_and_survives_foreign_lines(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_MOST_BYTES", 1000)
    for n in range(100):
        journal.record(store, "ann", "stop", f"run {n}")
    size = sum((store / name).stat().st_size for name in (journal.FILE, journal.OLDER))
    assert size < 2500
    with open(store / journal.FILE, "ab") as stream:
        stream.write(b'\xff\n{"at": 1}\n[]\n' + b"[" * 5000 + b"\n")
    assert [entry["run"] for entry in journal.entries(store, 3)] == ["run 99", "run 98", "run 97"]
    (store / journal.FILE).unlink()
    (store / journal.FILE).mkdir()
    journal.record(store, "ann", "stop")  # nothing happens
    journal.record(store / "absent", "ann", "stop")


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Two folders of genre folders, `open` and `closed`; `open/linked` leads to the closed one."""
    for name in ("open", "closed"):
        for genre in ("a", "b"):
            for n in range(3):
                path = tmp_path / name / "set" / genre / f"{n}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(wav_bytes(noise(1.0, 22_050)))
    (tmp_path / "open" / "linked").symlink_to(tmp_path / "closed" / "set")
    mixed = tmp_path / "open" / "mixed"
    mixed.mkdir()
    (mixed / "a").symlink_to(tmp_path / "open" / "set" / "a")
    (mixed / "b").symlink_to(tmp_path / "closed" / "set" / "b")
    return tmp_path


def test_a_visitor_from_outside_opens_listed_folders_and_learns_nothing_of_others(
    music: Path, store: Path, own_cache: Path, serve: Callable[[Visitor], None]
) -> None:
    settings.change(store, "x", folders=[str(music / "open")])
    listing = music / "open" / "list.csv"
    secret = music / "closed" / "set" / "a" / "0.wav"
    listing.write_text(f"path,genre\n{secret},a\n{music / 'absent.wav'},b\n")
    known_table(stamp_of("folder", {"folder": str(music / "closed" / "set")}))  # by the owner
    serve(Visitor("ann@example.org", is_from_outside=True))
    assert len(datasets.load("folder", {"folder": str(music / "open" / "set")})) == 6
    sentences = set()
    for name, folder in (
        ("folder", music / "closed" / "set"),
        ("folder", music / "closed" / "absent"),
        ("folder", music / "open" / ".." / "closed" / "set"),
        ("folder", music / "open" / "linked"),
        ("folder", music / "open" / "mixed"),
        ("folder", "/etc"),
        ("folder", "/root/absent"),
        ("folder", "~nobody-of-this-name/x"),
        ("folder", "checkpoints"),
        ("folder", "\0"),
        ("gtzan", music / "closed"),
        ("fma_small", "/proc/1"),
        ("manifest", listing),
        ("manifest", "/etc/passwd"),
    ):
        options = {"folder": str(folder)}
        for refused in (
            lambda name=name, options=options: datasets.load(name, options),
            lambda name=name, options=options: known_table(stamp_of(name, options)),
            lambda name=name, options=options: jobs.submit(
                with_values(RunConfig(), {"dataset": name, "dataset.folder": options["folder"]})
            ),
        ):
            with pytest.raises(UsageError) as error:
                refused()
            sentences.add(str(error.value))
    for file in (secret, music / "absent", "/etc/shadow"):
        values = {"model": "resnet18", "model.weights_file": str(file)}
        with pytest.raises(UsageError) as error:
            resolve(with_values(RunConfig(), values))
        sentences.add(str(error.value))
    (sentence,) = sentences
    assert '"folders"' in sentence
    assert all_runs(store) == []


def test_what_was_uploaded_may_be_opened(
    store: Path, own_cache: Path, serve: Callable[[Visitor], None]
) -> None:
    folder = own_cache / "uploads" / "0123456789abcdef"
    for genre in ("a", "b"):
        (folder / genre).mkdir(parents=True)
        (folder / genre / "0.wav").write_bytes(wav_bytes(noise(1.0, 22_050)))
    serve(Visitor("ann@example.org", is_from_outside=True))
    assert uploads.unpacked_folder(folder.with_suffix(".incoming") / "x.zip") == folder
    assert len(datasets.load("folder", {"folder": str(folder)})) == 2
