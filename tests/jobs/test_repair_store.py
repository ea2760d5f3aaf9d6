"""A store's own files: a damaged one stops nothing, is named, and is moved aside by a command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import command, genrecore, refused
from damages import NESTED, to_device, to_fifo, to_folder, to_text
from opened import open_page, words

from genrecore.evaluation import label_reviews
from genrecore.jobs import actions
from genrecore.store import settings
from genrecore.store.views import SavedView, save, saved

HEAD = "dataset,clip_id,genre,judgement,note,at\n"
FILES: list[tuple[str, Callable[[Path], None], str]] = [
    ("settings.json", to_text("{"), "it is not JSON"),
    ("settings.json", to_text(NESTED), "lists inside one another"),
    ("settings.json", to_fifo, "it is no regular file"),
    ("settings.json", to_text('{"views": 7}'), "at views: expected a list, found 7"),
    ("settings.json", to_text('{"webhook": "a\\u0000"}'), "a text holds a zero"),
    ("annotations.csv", to_fifo, "it is no regular file"),
    ("annotations.csv", to_device, "it is no regular file"),
    ("annotations.csv", to_folder, "it is no regular file"),
    ("annotations.csv", to_text("a,b\n1,2\n"), "it lacks the columns dataset"),
    ("annotations.csv", to_text(HEAD + "1,2\n" + "1," * 9 + "\n"), "it is no table"),
    ("annotations.csv", to_text("c," * 10**5), "it has more than 100 columns"),
    ("annotations.csv", to_text(b"\xff\x00,\n"), "it is no table"),
    (".plans", to_text("x"), "it is no folder"),
    (".queue.lock", to_folder, "it is no regular file"),
]


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        pytest.param(*case, id=str(n), marks=() if n % 3 == 0 else pytest.mark.long)
        for n, case in enumerate(FILES)
    ],
)
def test_a_damaged_file_is_named_and_moved_aside(
    name: str, damage: Callable[[Path], None], reason: str, store: Path
) -> None:
    store.mkdir(exist_ok=True)
    damage(store / name)
    [row] = json.loads(command("runs", "repair", "--json"))
    assert (row["run"], row["file"]) == ("", name)
    [error] = actions.damaged_files()
    assert str(error).startswith(f"The store's file cannot be read: {name}")
    assert reason in str(error)
    for words_ in ("runs list", "queue list", "queue slots", "views list", "plans list"):
        command(*words_.split())
    assert f"The store's {name} is begun anew" in command("runs", "repair", name)
    assert (store / ".damaged" / name).is_symlink() or (store / ".damaged" / name).exists()
    assert actions.damaged_files() == []
    refused(genrecore("runs", "repair", name), 2, f"No file {name} of the store is damaged")
    command("annotate", "demo", "c1", "wrong", "--genre", "blues")
    assert label_reviews.read()["clip_id"].tolist() == ["c1"]


def test_good_settings_stay(store: Path) -> None:
    save(store, SavedView("v", ("a", "b")))
    path = store / settings.FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"webhook": [1], "work": "*"}))
    assert "It keeps views, work." in actions.repair_file("settings.json")
    assert [view.name for view in saved(store)] == ["v"]
    assert settings.read(store).keys() == {"views", "work"}


def test_doctor_names_it(store: Path) -> None:
    store.mkdir(exist_ok=True)
    (store / "settings.json").write_text("{")
    refused(genrecore("doctor"), 1, "settings.json: it is not JSON", "genrecore runs repair")


def test_a_page_names_it_and_has_a_button(nobody_starts: Path) -> None:
    (nobody_starts / "annotations.csv").write_text("x")
    (nobody_starts / "settings.json").write_text('{"cpu_slots": "x"}')
    app = open_page("runs")
    assert [e.label for e in app.expander][:1] == ["2 files of the store cannot be read"]
    assert "settings.json, at cpu_slots: expected a whole number" in words(app)
    app.button(key="repair_annotations.csv").click().run()
    app.button(key="repair_settings.json").click().run()
    assert not app.exception
    assert actions.damaged_files() == []
