"""Damaged plans and searches: each is named with its file and reason, and the others go on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import command
from conftest import TINY
from damages import NESTED, cut, gone, to_device, to_fifo, to_folder, to_text, with_value
from opened import open_page, words

from genrecore.config.run import RunConfig, with_values
from genrecore.experiments import papers
from genrecore.experiments import plan as plans
from genrecore.experiments import search as searching
from genrecore.experiments.draft import draft
from genrecore.experiments.plan import Plan
from genrecore.experiments.search import Driver, Strategy
from genrecore.store.files import Unreadable, write_json

pytestmark = pytest.mark.xdist_group("plans")
BASE = with_values(RunConfig(), TINY)
PLANS = [
    ("plan.json", to_text("{"), ""),
    ("plan.json", to_text("[1]"), ""),
    ("plan.json", to_text(NESTED), ""),
    ("plan.json", cut, ""),
    ("plan.json", with_value("title", 7), "title"),
    ("plan.json", with_value("made_at", "x"), "made_at"),
    ("plan.json", with_value("base", []), "base"),
    ("plan.json", with_value("left_out", [1]), "left_out.0"),
    ("plan.json", with_value("search", {"n_trials": 2}), "search.ranges"),
    ("plan.json", with_value("search.n_trials", "x"), "search.n_trials"),
    ("plan.json", with_value("search.n_trials", 10**30), "search.n_trials"),
    ("plan.json", with_value("search.sampler", "dice"), "search.sampler"),
    ("plan.json", with_value("search.ranges", {"training.lr": {"low": "x", "high": 1}}), None),
    ("trials.json", to_text("7"), ""),
    ("trials.json", to_fifo, ""),
    ("trials.json", to_device, ""),
    ("trials.json", to_folder, ""),
    ("trials.json", with_value("trials", {}), "trials"),
    ("trials.json", with_value("trials.0", "x"), "trials.0"),
    ("trials.json", with_value("trials.0.run", "../x"), "trials.0.run"),
    ("trials.json", with_value("trials.0.params", 5), "trials.0.params"),
]


@pytest.fixture
def search(nobody_starts: Path) -> Plan:
    """A search, and beside it a plan."""
    plans.start(draft(BASE, [{"seed": [0, 1]}]))
    search = searching.create(BASE, {"training.lr": [1e-2, 1e-3]}, Strategy("random", n_trials=2))
    trial = {"number": 0, "params": {"training.lr": 0.01}, "run": "", "state": "fail", "reason": ""}
    write_json(search.folder / "trials.json", {"trials": [trial]})
    return search


def test_a_damaged_plan_is_named_with_its_file_and_place(search: Plan) -> None:
    kept = {path.name: path.read_bytes() for path in search.folder.iterdir()}
    assert not Plan(search.folder).problem
    for name, damage, place in PLANS:
        path = search.folder / name
        damage(path)
        problem = Plan(search.folder).problem
        assert problem.startswith(f"The plan {search.plan_id} cannot be read: {name}"), problem
        assert not place or f"at {place}" in problem
        assert [not plan.problem for plan in plans.all_plans()].count(True) == 1
        path.rmdir() if path.is_dir() else path.unlink()
        path.write_bytes(kept[name])
    assert not Plan(search.folder).problem


def test_pages_of_plans_and_papers_go_on_beside_a_damaged_plan(search: Plan) -> None:
    with_value("trials.0.run", 7)(search.folder / "trials.json")
    text = words(open_page("plans"))
    assert "trials.json, at trials.0.run: expected text, found 7." in text
    with_value("paper", [1])(search.folder / "plan.json")
    to_text("{")(plans.all_plans()[1].folder / "plan.json")
    assert papers.find_runs(papers.studies()[0]).done == {}


@pytest.mark.parametrize("damage", [to_text("x" * 5000), cut, to_folder, to_fifo, to_device])
def test_a_damaged_study_is_a_sentence(damage: Callable[[Path], None], search: Plan) -> None:
    damage(search.folder / "study.log")
    with pytest.raises(Unreadable, match=r"The plan .* cannot be read: study\.log: "):
        Driver(search)


def test_a_study_that_is_gone_is_begun_anew(search: Plan) -> None:
    gone(search.folder / "study.log")
    assert Driver(search).n_over == 0


MENDED = [
    ("plan.json", with_value("title", 7), "plan.json keeps its good values."),
    ("plan.json", to_text("{"), "cannot be mended; it is moved to .damaged/"),
    ("plan.json", to_fifo, "cannot be mended; it is moved to .damaged/"),
    ("plan.json", gone, "cannot be mended; it is moved to .damaged/"),
    ("plan.json", with_value("search.n_trials", "x"), "cannot be mended"),
    ("trials.json", to_text("7"), "trials.json is taken away."),
    ("trials.json", to_folder, "trials.json is taken away."),
    ("stop", to_folder, "stop is taken away."),
    ("lock", to_folder, "lock is taken away."),
    ("study.log", cut, "study.log is taken away."),
    ("study.log", to_fifo, "study.log is taken away."),
]


@pytest.mark.parametrize(
    ("name", "damage", "sentence"),
    [
        pytest.param(*case, id=str(n), marks=() if n % 3 == 0 else pytest.mark.long)
        for n, case in enumerate(MENDED)
    ],
)
def test_a_plan_is_mended_or_moved_aside(
    name: str, damage: Callable[[Path], None], sentence: str, search: Plan
) -> None:
    damage(search.folder / name)
    if name != "study.log":  # which only a search at work reads
        [row] = json.loads(command("plans", "repair", "--json"))
        assert row["plan"] == search.plan_id
    assert sentence in command("plans", "repair", search.plan_id)
    assert all(not plan.problem for plan in plans.all_plans())
    assert "All plans can be read." in command("plans", "repair")
    if "moved" in sentence:
        assert [plan.plan_id for plan in plans.all_plans()] != [search.plan_id]
        assert (search.store / ".damaged" / search.plan_id).is_dir()
    elif not name.startswith("plan"):
        assert Driver(Plan(search.folder)).n_over == 0


def test_good_runs_of_a_plan_stay(search: Plan) -> None:
    plan = next(plan for plan in plans.all_plans() if not plan.search)
    with_value("runs.0.config.seed", "x")(plan.folder / "plan.json")
    app = open_page("plans")
    app.button(key=f"repair_{plan.plan_id}").click().run()
    assert not app.exception
    assert [member.config.seed for member in Plan(plan.folder).members] == [1]
    assert "can be read; nothing" in command("plans", "repair", plan.plan_id)


def test_a_setting_that_does_not_exist_is_named(search: Plan) -> None:
    other = next(plan for plan in plans.all_plans() if not plan.search)
    with_value("search.ranges", {"model_dump": [1, 2]})(search.folder / "plan.json")
    with_value("grids", [{"training.nosuch": [1]}])(other.folder / "plan.json")
    assert "at search.ranges.model_dump.[key]: expected the name of" in Plan(search.folder).problem
    assert "at grids.0.training.nosuch.[key]: expected the name of" in Plan(other.folder).problem
    assert "expected the name of a setting" in words(open_page("plans"))


@pytest.mark.slow
def test_a_plan_of_a_million_runs_is_not_read(search: Plan) -> None:
    run = {"changes": {}, "config": {}, "reuses": ""}
    with_value("runs", [run] * 100_000)(search.folder / "plan.json")
    assert "at runs: expected at most 2,000 entries" in Plan(search.folder).problem


@pytest.mark.long  # it compares times, which a busy machine blurs
def test_a_search_of_many_runs_that_are_gone_is_listed_in_a_few_times_what_its_file_takes(
    search: Plan,
) -> None:
    trial = {"params": {"training.lr": 0.01}, "state": "complete", "reason": ""}
    trials = [trial | {"number": n, "run": f"20260101-{n:06}-demo-cnn-aaaa"} for n in range(20_000)]
    write_json(search.folder / "trials.json", {"trials": trials})
    began = time.process_time()
    json.loads((search.folder / "trials.json").read_text())
    parsed = time.process_time()
    listed = json.loads(command("plans", "list", "--json"))
    took = time.process_time()
    assert search.plan_id in {plan["plan"] for plan in listed}
    # It is 5 times, and was 30 when each run was looked for in the store by itself.
    assert took - parsed < 15 * (parsed - began)
