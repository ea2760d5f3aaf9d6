"""Summaries of runs: what they say is what the files say, and they open no file that did not
change."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runs import fake_run

from genrecore.evaluation.listing import look, run_rows
from genrecore.evaluation.scores import rank_runs
from genrecore.jobs import actions
from genrecore.store import faults, runs
from genrecore.store.run import Run
from genrecore.store.runs import all_runs, find_run, find_same, unreadable_runs
from genrecore.store.summaries import FILE

_opened: list[str] = []
_watching = [False]


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching[0] and event == "open":
        _opened.append(str(arguments[0]))


sys.addaudithook(_note)


@pytest.fixture
def opened(store: Path) -> Iterator[Callable[[Callable[[], object]], list[str]]]:
    """A function that calls another and returns the files in run folders that it opened."""

    def files_of(action: Callable[[], object]) -> list[str]:
        _opened.clear()
        _watching[0] = True
        try:
            action()
        finally:
            _watching[0] = False
        return [path for path in _opened if path.startswith(f"{store}/2")]

    yield files_of
    _watching[0] = False


@pytest.fixture
def three_runs(store: Path) -> list[Run]:
    made = [
        fake_run(store, np.arange(90) < 60 + 10 * k, np.arange(90), seed=3 + k) for k in range(3)
    ]
    rank_runs(all_runs())  # their scores are kept from now on
    return made


def _new_process() -> None:
    """Forgets what is in memory."""
    runs._summaries.cache_clear()
    faults._faults.clear()


def _everything() -> dict[str, Any]:
    """What lists, searches and charts say of the store."""
    found = all_runs()
    table = rank_runs(found)
    return {
        "rows": [asdict(row) for row in run_rows()],
        "scores": table.to_json(),
        "configs": [run.config for run in found],
        "facts": [run.facts for run in found],
        "texts": [(run.name, run.title, run.badge, run.state, run.about) for run in found],
        "places": [(run.queue, run.origin, run.status) for run in found],
        "same": [run and run.run_id for run in find_same([run.config for run in found])],
        "unreadable": [str(error) for error in unreadable_runs()],
    }


def _assert_true(store: Path) -> dict[str, Any]:
    """What is said from memory, from the file and from the runs' own files is the same."""
    from_memory = _everything()
    _new_process()
    from_file = _everything()
    (store / FILE).unlink(missing_ok=True)
    _new_process()
    from_runs = _everything()
    assert str(from_memory) == str(from_file) == str(from_runs)  # text, since nan is not nan
    return from_runs


def _edit_in_place(path: Path, old: str, new: str) -> None:
    """Changes a file as an editor does that does not rename, and leaves its folder's time."""
    text = path.read_text()
    assert old in text
    with open(path, "r+") as file:
        file.write(text.replace(old, new))
        file.truncate()


def test_what_is_kept_says_what_the_files_say_after_every_change(
    store: Path, three_runs: list[Run]
) -> None:
    first, second, third = three_runs
    assert len(_assert_true(store)["rows"]) == 3
    actions.annotate(first, name="wide", tags=["a"], starred=True)
    assert "wide" in str(_assert_true(store)["texts"])
    fourth = fake_run(store, np.arange(90) < 50, np.arange(90), seed=9)
    assert len(_assert_true(store)["rows"]) == 4
    _edit_in_place(second.folder / "config.json", '"seed": 4', '"seed": 7')
    assert 7 in [row["seed"] for row in _assert_true(store)["rows"]]
    shutil.copyfile(third.folder / "predictions.parquet", first.folder / "predictions.parquet")
    accuracies = {row["run_id"]: row["accuracy"] for row in _assert_true(store)["rows"]}
    assert accuracies[first.run_id] == accuracies[third.run_id]
    (third.folder / "audit.json").write_text('{"n_clips": 90, "refused": true, "reason": "x"}')
    assert "Leak" in str(_assert_true(store)["texts"])
    actions.delete(fourth)
    assert len(_assert_true(store)["rows"]) == 3
    (first.folder / "status.json").write_text("{")
    after = _assert_true(store)
    assert len(after["rows"]) == 2
    assert "status.json" in str(after["unreadable"])


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content.replace(b'"seed":4', b'"seed":5'),
        lambda content: content.replace(b"{", b"[", 40),
        lambda content: b"\xff" * 999,
        lambda content: b"genrecore summaries 0" + content[21:],
        lambda content: content.replace(b", scores ", b", scores 1", 1),
        lambda content: b"",
    ],
)
def test_a_damaged_file_is_made_anew(
    store: Path,
    three_runs: list[Run],
    damage: Callable[[bytes], bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # However long the test takes, no folder's time is kept, as right after a change.
    monkeypatch.setattr("genrecore.store.summaries._SETTLED_NS", 10**18)
    (store / FILE).unlink()
    _new_process()
    expected = str(_everything())
    content = (store / FILE).read_bytes()
    (store / FILE).write_bytes(damage(content))
    _new_process()
    assert str(_everything()) == expected
    assert (store / FILE).read_bytes() == content


def test_a_store_that_takes_no_file_is_read_all_the_same(
    store: Path, three_runs: list[Run]
) -> None:
    expected = str(_everything())
    (store / FILE).unlink()
    (store / FILE).mkdir()
    _new_process()
    assert str(_everything()) == expected
    (store / FILE).rmdir()
    os.mkfifo(store / FILE)
    _new_process()
    assert str(_everything()) == expected


def test_no_file_of_a_finished_run_is_opened_again(
    store: Path, three_runs: list[Run], opened: Callable[[Callable[[], object]], list[str]]
) -> None:
    config = three_runs[1].config

    def look() -> None:
        run_rows()
        rank_runs(all_runs())
        assert find_same([config])[0] is not None

    look()
    assert opened(look) == []
    _new_process()
    assert opened(look) == []  # a new process has the file
    actions.annotate(three_runs[0], starred=True)
    assert {Path(path).parent for path in opened(look)} == {three_runs[0].folder}
    assert opened(look) == []
    added = fake_run(store, np.arange(90) < 50, np.arange(90), seed=9)
    assert {Path(path).parent for path in opened(look)} == {added.folder}
    look()  # its scores were just written
    assert opened(look) == []


def test_the_time_of_a_folder_and_a_few_runs_in_turn_are_enough(
    store: Path, three_runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genrecore.store.summaries._AT_A_LOOK", 1)
    monkeypatch.setattr("genrecore.store.summaries._SETTLED_NS", 0)
    looked_at = []
    stamps_of = runs.stamps

    def count(folder: Path) -> runs.Stamps:
        looked_at.append(folder)
        return stamps_of(folder)

    monkeypatch.setattr(runs, "stamps", count)
    run_rows()
    assert len(looked_at) == 3
    run_rows()
    assert len(looked_at) == 4
    actions.annotate(three_runs[0], starred=True)
    assert sum(row.starred for row in run_rows()) == 1
    _edit_in_place(three_runs[2].folder / "config.json", '"seed": 5', '"seed": 8')
    assert 8 in [row.seed for _ in three_runs for row in run_rows()]

    run_rows()  # keeps the times of the folders
    _new_process()
    looked_at.clear()
    look(quick=True)
    assert len(looked_at) == 1
    _edit_in_place(three_runs[2].folder / "config.json", '"seed": 8', '"seed": 6')
    assert 6 in [row.seed for _ in three_runs for row in look(quick=True).rows]
    _edit_in_place(three_runs[1].folder / "config.json", '"seed": 4', '"seed": 7')
    _new_process()
    look(quick=True)
    assert sorted(row.seed for row in run_rows()) == [3, 6, 7]  # a look that is not quick


def test_a_quick_look_of_a_new_process_sees_every_file_that_was_replaced(
    store: Path, three_runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genrecore.store.summaries._AT_A_LOOK", 0)
    monkeypatch.setattr("genrecore.store.summaries._SETTLED_NS", 0)
    first, second, third = three_runs

    def replace_and_set_back() -> None:
        """As rsync and tar write files."""
        facts = second.folder.stat()
        for name, old, new in (("config.json", '"seed": 4', '"seed": 7'), ("status.json", "{", "")):
            text = (second.folder / name).read_text()
            other = second.folder / f".{name}"
            other.write_text(text.replace(old, new, 1))
            other.replace(second.folder / name)
            os.utime(second.folder, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    for change in (
        lambda: actions.annotate(first, name="wide", starred=True),
        lambda: fake_run(store, np.arange(90) < 50, np.arange(90), seed=9),
        replace_and_set_back,
        lambda: (first.folder / "predictions.parquet").unlink(),
        lambda: actions.delete(third),
    ):
        run_rows()
        change()
        _new_process()
        quick = look(quick=True)
        _new_process()
        assert str(quick.rows) == str(run_rows())  # text, since nan is not nan
        assert list(map(str, quick.unreadable)) == list(map(str, unreadable_runs()))


def test_nothing_stays_of_runs_that_are_gone(store: Path, three_runs: list[Run]) -> None:
    run_rows()
    gone = three_runs[0]
    assert gone.run_id.encode() in (store / FILE).read_bytes()
    actions.delete(gone)
    run_rows()
    assert gone.run_id.encode() not in (store / FILE).read_bytes()


def _look_and_star(store: str, run_id: str) -> int:
    os.environ["GENRECORE_RUNS"] = store
    for starred in (True, False) * 10 + (True,):
        actions.annotate(find_run(run_id), starred=starred)
        assert {row.run_id: row for row in run_rows()}[run_id].starred is starred
    return len(run_rows())


@pytest.mark.slow
def test_processes_that_write_at_once_do_not_disturb_each_other(
    store: Path, three_runs: list[Run]
) -> None:
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        names = [run.run_id for run in three_runs[:2]]
        assert list(pool.map(_look_and_star, [str(store)] * 2, names)) == [3, 3]
    assert len(_assert_true(store)["rows"]) == 3
    assert sum(row.starred for row in run_rows()) == 2
    assert [path.name for path in store.iterdir() if path.name.startswith(f".{FILE}")] == []
