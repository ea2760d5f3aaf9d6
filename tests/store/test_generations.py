"""Generations: a process that is no longer a run's newest writes nothing more."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from genrecore.config.run import RunConfig
from genrecore.store import generations
from genrecore.store.files import write_json
from genrecore.store.generations import JOB, Replaced
from genrecore.store.run import Run
from genrecore.store.runs import create_run
from genrecore.store.status import Status
from genrecore.training import lifecycle

Tiny = Callable[..., RunConfig]


def start_elsewhere(folder: Path) -> None:
    """Another process makes itself the newest of a run."""
    code = "import sys; from pathlib import Path; from genrecore.store import generations\n"
    code += "generations.start(Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_the_newest_start_is_the_only_one_that_may_write(store: Path, tiny: Tiny) -> None:
    folder = create_run(tiny(), store).folder
    generations.check(folder)  # nobody works on it: a command may write
    assert generations.start(folder) == 1
    generations.check(folder)
    start_elsewhere(folder)
    with pytest.raises(Replaced):
        generations.check(folder)
    with pytest.raises(Replaced):
        Status(folder).move("running")
    assert Run(folder).status["state"] == "queued"
    generations.leave(folder)
    assert generations.read(folder)["generation"] == 2


def test_of_two_that_start_at_once_one_is_left(store: Path, tiny: Tiny) -> None:
    folder = create_run(tiny(), store).folder
    before = generations.read(folder)
    generations.start(folder)
    # The other one read the file before this one wrote, and has the same number.
    values = before | {"generation": 1, "token": "another", "starts": 1}
    write_json(folder / generations.FILE, values)
    with pytest.raises(Replaced):
        generations.check(folder)
    generations.leave(folder)


def test_a_job_that_starts_after_a_newer_one_was_announced_ends(
    store: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = create_run(tiny(), store).folder
    first = generations.announce(folder)
    monkeypatch.setenv(JOB, str(first))
    assert generations.start(folder) > first
    again = generations.start(folder)  # the cluster queued the same job again
    assert again > first + 1
    second = generations.announce(folder)
    assert second > again
    with pytest.raises(Replaced):
        generations.check(folder)
    with pytest.raises(Replaced):
        generations.start(folder)
    monkeypatch.setenv(JOB, str(second))
    generations.start(folder)
    generations.check(folder)
    generations.leave(folder)


@pytest.mark.parametrize("phase", ["training", "testing"])
def test_a_training_that_was_replaced_leaves_every_file_as_it_is(
    store: Path, tiny: Tiny, phase: str
) -> None:
    run = create_run(tiny(), store)
    kept: dict[str, bytes] = {}

    def show(now: str, done: int, total: int) -> None:
        if now == phase and not kept:
            start_elsewhere(run.folder)
            kept.update(contents(run.folder))

    assert lifecycle.execute(run, show) == "replaced"
    assert kept
    after = contents(run.folder)
    assert after == kept
    assert Run(run.folder).state == "lost"
