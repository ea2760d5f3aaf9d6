"""Names, notes, tags and stars of runs: written by Python and commands, read whatever is there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import command, genrecore, refused
from conftest import ROOT

from genrecore.config.run import RunConfig
from genrecore.errors import UsageError
from genrecore.jobs import actions
from genrecore.store.about import ABOUT, About, checked_about, read_about
from genrecore.store.files import Unreadable
from genrecore.store.run import Run
from genrecore.store.runs import create_run, find_folder, find_run

Tiny = Callable[..., RunConfig]
ODD = "<b>*loud*</b> $x^2$ ![a](b) “Zoë” 🎷"


def test_what_is_written_about_a_run_is_kept_and_what_is_not_named_stays(
    store: Path, tiny: Tiny
) -> None:
    run = create_run(tiny(), store)
    assert run.name == run.title == run.made_name == f"cnn · demo · {run.run_id[-4:]}"
    assert run.about == About()
    actions.annotate(run, name=f"  {ODD} ", tags=["b", "a", "b"])
    actions.annotate(run, note="Two\nlines", starred=True)
    again = Run(run.folder)
    assert again.about == About(ODD, "Two\nlines", ("a", "b"), True)
    assert (again.name, again.title) == (ODD, ODD)
    sentence = actions.annotate(run, name="", tags=[])
    assert "the name made for it, a note and a star" in sentence
    assert Run(run.folder).name == run.made_name


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"name": "x" * 81}, "The name has 81 characters; expected at most 80"),
        ({"name": "two\nlines"}, "The name has 2 lines; expected one"),
        ({"note": "x" * 10_001}, "The note has 10,001 characters; expected at most 10,000"),
        ({"tags": ["two words"]}, "The tag 'two words' has a blank or a comma"),
        ({"tags": ["x" * 31]}, "is longer than 30 characters"),
        ({"tags": [str(n) for n in range(21)]}, "There are 21 tags; expected at most 20"),
    ],
)
def test_what_is_too_long_is_refused_with_what_was_expected(
    values: dict[str, object], problem: str
) -> None:
    with pytest.raises(UsageError) as error:
        checked_about(**values)  # type: ignore[arg-type]
    assert problem in str(error.value)


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("", About()),
        ("{", About()),
        ("[1]", About()),
        ("[" * 5000 + "]" * 5000, About()),
        ('{"name": 7, "note": ["x"], "tags": "x", "starred": "yes"}', About()),
        ('{"name": "a\\nb\\u0000\\ud800", "tags": [1, "t", "two words", "t"]}',
         About("a b", tags=("t",))),
        (json.dumps({"name": "n" * 99, "starred": True, "new": 1}), About("n" * 80, starred=True)),
    ],
)  # fmt: skip
def test_a_damaged_file_says_nothing_and_breaks_nothing(
    tmp_path: Path, text: str, about: About
) -> None:
    (tmp_path / ABOUT).write_text(text)
    assert read_about(tmp_path) == about
    str(about).encode()  # no half of a pair, which no page can send


def test_a_run_is_found_by_its_name_and_an_ambiguous_name_asks_for_an_id(
    store: Path, tiny: Tiny
) -> None:
    first, second = create_run(tiny(), store), create_run(tiny(), store)
    actions.annotate(first, name="cnn")  # a part of both ids, but the name of one
    assert find_run("cnn").run_id == first.run_id
    assert find_run(second.made_name).run_id == second.run_id
    assert find_run(second.run_id[-4:]).run_id == second.run_id
    actions.annotate(second, name=first.run_id)
    assert find_run(first.run_id).run_id == first.run_id  # an id comes before a name
    (second.folder / "config.json").write_text("{")
    assert find_folder(second.run_id[-4:]).run_id == second.run_id
    with pytest.raises(Unreadable, match=f"The run {second.run_id} cannot be read: config.json"):
        find_run(second.run_id[-4:])
    actions.annotate(second, name="cnn")
    with pytest.raises(UsageError, match=r"2 runs have the name 'cnn': .* give an id"):
        find_run("cnn")
    with pytest.raises(UsageError, match="There is no run 'nobody'"):
        find_run("nobody")


def test_what_is_written_survives_the_bin_and_is_not_passed_on(store: Path) -> None:
    old_run = next((ROOT / "tests" / "store" / "old_runs").glob("*9df4"))
    shutil.copytree(old_run, store / old_run.name)
    actions.pause(store)
    run = Run(store / old_run.name)
    actions.annotate(run, name="baseline", note="n", tags=["t"], starred=True)
    for new in (actions.clone(run, {"seed": 9}), actions.continue_(run, 50)):
        assert new.about == About()
        assert new.title == new.made_name
    about = Run(run.folder).about
    actions.delete(run)
    assert actions.restore("baseline", store).about == about


def test_commands_write_about_runs_and_training_takes_it_along(store: Path, tiny: Tiny) -> None:
    run = create_run(tiny(), store)
    command("runs", "rename", run.run_id, ODD)
    command("runs", "tag", ODD, "wide", "late")
    command("runs", "tag", ODD, "late", "--remove")
    command("runs", "note", ODD, "It overfits.")
    facts = json.loads(command("runs", "star", ODD, "--json"))
    expected = {"name": ODD, "note": "It overfits.", "tags": ["wide"], "starred": True}
    assert {key: facts[key] for key in expected} == expected
    shown = json.loads(command("runs", "show", ODD, "--json"))
    assert {key: shown[key] for key in expected} == expected
    text = command("runs", "show", ODD)
    assert f"Name: {ODD} (starred)" in text
    assert "It overfits." in text
    command("runs", "star", ODD, "--off")
    assert not Run(run.folder).starred
    refused(genrecore("runs", "tag", ODD, "a,b"), 2, "a blank or a comma")
    refused(genrecore("train", "--run", ODD, "--name", "x"), 2, "takes no others")


def test_a_run_that_is_queued_with_a_name_has_it(nobody_starts: Path) -> None:
    named = ["--name", "first try", "--note", "n", "--tag", "a", "--tag", "b"]
    queued = json.loads(command("train", *named, "--background", "--json"))
    assert find_run("first try").run_id == queued["run"]
    assert find_run("first try").about == About("first try", "n", ("a", "b"))
    refused(genrecore("train", "--name", "x" * 81, "--background"), 2, "81 characters")
    assert len(list(nobody_starts.glob("2*"))) == 1  # nothing was queued under half a name
