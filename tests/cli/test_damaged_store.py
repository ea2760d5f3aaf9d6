"""Every command over a store in which files are damaged in every way: no traceback, all others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import command, genrecore, refused
from damaged_stores import fill, filled
from damages import DAMAGES, Damage, to_text, with_value

from genrecore.evaluation.listing import unreadable
from genrecore.jobs import actions
from genrecore.store import settings
from genrecore.store.run import Run

pytestmark = pytest.mark.xdist_group("damaged commands")  # one worker fills the store


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Run], list[Run]]]:
    """Four good runs and a bad one for each damage."""
    with filled(tmp_path_factory.mktemp("damaged") / "runs") as runs:
        yield runs


@pytest.fixture(autouse=True)
def _in_the_store(damaged: tuple[list[Run], list[Run]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENRECORE_RUNS", str(damaged[0][0].folder.parent))


COMMANDS = [
    "runs list", "runs list --json", "runs list --find demo", "runs show latest",
    "runs show A --json", "runs show A --log", "runs alerts", "runs repair", "runs restore",
    "runs rename A x", "runs star A", "queue list", "queue list --json", "queue pause",
    "queue resume", "queue slots", "compare A B", "compare A C --json", "compare A C --systems",
    "errors A", "errors A --against C", "plans list", "papers list", "papers report hong",
    "views list", "cache list", "runs delete D",
    "runs restore D", "export --bundle OUT A",
]  # fmt: skip


SLOW = "sweep --set seed=1,2 --dry-run"  # it measures


@pytest.mark.parametrize("words", [*COMMANDS, pytest.param(SLOW, marks=pytest.mark.long)])
def test_every_command_works_for_the_other_runs(
    words: str, damaged: tuple[list[Run], list[Run]], tmp_path: Path
) -> None:
    ids = dict(zip("ABCD", (run.run_id for run in damaged[0]), strict=True))
    ids["OUT"] = str(tmp_path / "out")
    result = genrecore(*(ids.get(word, word) for word in words.split()))
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_a_report_says_how_many_runs_could_not_be_read(
    damaged: tuple[list[Run], list[Run]], tmp_path: Path
) -> None:
    [a, b, *_], _ = damaged
    command("compare", a.run_id, b.run_id, "--report", str(tmp_path / "report.html"))
    n = len(unreadable())
    text = (tmp_path / "report.html").read_text()
    assert f"{n} runs of the store could not be read and are left out." in text


def test_lists_name_each_unreadable_run_once(damaged: tuple[list[Run], list[Run]]) -> None:
    good, bad = damaged
    listed = genrecore("runs", "list", "--json")
    assert {run.run_id for run in good} <= {row["run"] for row in json.loads(listed.stdout)}
    lines = listed.stderr.splitlines()
    for run in bad[: len(DAMAGES)]:
        assert sum(f"The run {run.run_id} cannot be read" in line for line in lines) == 1
    rows = json.loads(command("runs", "repair", "--json"))
    assert [row["run"] for row in rows] == [error.name for error in unreadable()]


@pytest.mark.parametrize(
    "number", [0, 63, *(pytest.param(n, marks=pytest.mark.long) for n in (21, 42, 84, 105))]
)
def test_a_command_that_names_a_bad_run_says_why(
    number: int, damaged: tuple[list[Run], list[Run]]
) -> None:
    good, bad = damaged
    run_id = bad[number].run_id
    sentence = f"The run {run_id} cannot be read: {DAMAGES[number].file}"
    for words in (
        ["runs", "show", run_id], ["runs", "show", run_id, "--json"], ["errors", run_id],
        ["runs", "stop", run_id], ["runs", "resume", run_id], ["runs", "clone", run_id],
        ["compare", good[0].run_id, run_id], ["queue", "move", run_id], ["probe", run_id],
        ["train", "--run", str(bad[number].folder)],
    ):  # fmt: skip
        refused(genrecore(*words), 1, sentence)


SETTINGS = [
    '"x"',
    "{",
    "[" * 5000,
    '{"webhook": ["http://[x"], "cpu_slots": "x", "views": 7, "dataset": {"name": 7}}',
    '{"webhook": "http://[x", "views": [7, {"name": 1}, {"name": "v", "runs": [1, 2]}]}',
    json.dumps({"dataset": {"name": "folder", "options": {"folder": "x" * 5000}}}),
]


@pytest.mark.parametrize("text", SETTINGS, ids=range(len(SETTINGS)))
def test_damaged_settings_harm_nothing_and_are_kept(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENRECORE_RUNS", str(tmp_path))
    (tmp_path / settings.FILE).write_text(text)
    for words in ("runs webhook", "views list", "queue slots", "runs list", "queue list"):
        command(*words.split())
    command("queue", "slots", "2")
    assert json.loads((tmp_path / settings.FILE).read_text())["cpu_slots"] == 2
    kept = tmp_path / ".damaged" / settings.FILE
    assert kept.exists() == (text in SETTINGS[:3])
    assert not kept.exists() or kept.read_text() == text


TASKS = [
    Damage("status.json", to_text('"x"'), ""),
    Damage("status.json", to_text("{"), ""),
    Damage("status.json", with_value("state", 7), ""),
    Damage("status.json", with_value("done", "x"), ""),
    Damage("status.json", with_value("arguments", 5), ""),
]


def test_a_damaged_task_harms_no_other(own_cache: Path) -> None:
    for n, damage in enumerate([*TASKS, None]):
        folder = own_cache / "tasks" / f"2026-{n}"
        folder.mkdir(parents=True)
        (folder / "status.json").write_text('{"state": "done", "title": "t", "arguments": ["x"]}')
        if damage:
            damage.damage(folder / damage.file)
    (own_cache / "tasks" / "stray").write_text("no folder")
    assert [task.task_id for task in actions.tasks()] == [f"2026-{len(TASKS)}"]


def test_no_text_of_a_run_commands_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENRECORE_RUNS", str(tmp_path / "runs"))
    [run, *_], _ = fill(tmp_path / "runs", [])
    text = "\x1b[2J\x9b31m\u202e"
    (run.folder / "log.txt").write_text(text)
    (run.folder / "environment.json").write_text(json.dumps({"host": text}))
    for name in ("reason", "phase", "traceback"):
        with_value(name, text)(run.folder / "status.json")
    with_value("notes", [text])(run.folder / "status.json")
    with_value("state", "failed")(run.folder / "status.json")
    shown = [genrecore("runs", "show", run.run_id, *more) for more in ([], ["--json"], ["--log"])]
    for result in (*shown, genrecore("runs", "alerts"), genrecore("runs", "list")):
        assert result.returncode == 0
        assert not set(text) - set("[2J31m") & set(result.stdout + result.stderr)
    assert json.loads(shown[1].stdout)["reason"] == text
