"""All pages over a store in which files are damaged in every way: the others are shown, and why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from damaged_stores import ALL, TABLE_DAMAGES, fill, filled
from damages import DAMAGES, cut, with_line, with_value
from opened import again, open_page, words

from genrecore.store.files import write_json
from genrecore.store.run import Run
from genrecore.store.runs import fault, unreadable_runs

pytestmark = pytest.mark.xdist_group("damaged pages")  # one worker fills the store
PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))
COUNTED = {"classify", "compare", "errors", "leaks", "overview", "papers", "plans", "records",
           "train"}  # fmt: skip


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Run], list[Run]]]:
    """Four good runs and a bad one for each damage."""
    with filled(tmp_path_factory.mktemp("damaged") / "runs") as runs:
        yield runs


@pytest.fixture(autouse=True)
def _in_the_store(damaged: tuple[list[Run], list[Run]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENRECORE_RUNS", str(damaged[0][0].folder.parent))


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_every_page_works_and_says_how_many_are_left_out(name: str) -> None:
    text = words(open_page(name))
    if name in COUNTED:
        assert "runs cannot be read and are left out." in text
        n = int(text.split(" runs cannot be read")[0].split()[-1])
        assert len(DAMAGES) <= n <= len(ALL)


@pytest.mark.slow
def test_the_page_of_each_good_run_works(damaged: tuple[list[Run], list[Run]]) -> None:
    for run in damaged[0]:
        assert run.made_name in words(open_page("runs", run=run.run_id))


@pytest.mark.parametrize(
    "number",
    [
        *(0, len(DAMAGES)),  # a damaged file, and a damaged table
        *(pytest.param(n, marks=pytest.mark.long) for n in (40, len(ALL) - 3, len(ALL) - 1)),
    ],
)
def test_a_bad_run_says_why(number: int, damaged: tuple[list[Run], list[Run]]) -> None:
    good, bad = damaged
    run_id = bad[number].run_id
    for view in ("learning", "genres"):
        open_page("runs", run=run_id, view=view)
    assert f"The run {run_id} cannot be read" in words(open_page("runs", run=run_id)) or (
        ALL[number] in TABLE_DAMAGES  # what no view of it reads does no harm
    )
    open_page("errors", run=run_id)
    open_page("compare", runs=f"{good[0].run_id},{run_id}")
    assert not open_page("errors", run=good[0].run_id).error


def test_a_run_damaged_between_listing_and_reading_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENRECORE_RUNS", str(tmp_path / "runs"))
    good, bad = fill(tmp_path / "runs", TABLE_DAMAGES[4:5])
    for run in good:
        write_json(run.folder / "scores.json", {})
    app = open_page("errors", run=good[0].run_id)  # compares with all other runs
    assert not app.error
    TABLE_DAMAGES[0].damage(good[1].folder / "predictions.parquet")
    app = again(app)
    assert not app.error
    assert good[1].run_id in {error.name for error in unreadable_runs()} | {bad[0].run_id}


def test_buttons_mend_and_delete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENRECORE_RUNS", str(tmp_path / "runs"))
    good, _ = fill(tmp_path / "runs", [])
    first, second, third, _ = good
    with_value("priority", "x")(first.folder / "queue.json")
    with_line(2, "{broken")(second.folder / "history.jsonl")
    app = open_page("runs")
    assert [expander.label for expander in app.expander][:1] == ["2 runs cannot be read"]
    assert "queue.json, at priority: expected a whole number, found 'x'." in words(app)
    app.button(key=f"repair_{first.run_id}").click().run()
    assert not app.exception
    assert fault(first.folder) is None
    again(app).button(key=f"drop_{second.run_id}").click().run()
    assert not app.exception
    assert not second.folder.exists()
    cut(third.folder / "clips.parquet")
    assert "1 run cannot be read and is left out." in words(open_page("overview"))
