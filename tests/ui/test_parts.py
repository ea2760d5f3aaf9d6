"""What all pages are made of: readers that notice changed files, the menu."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT

from genrecore.store.run import Run
from genrecore.ui.parts import frame
from genrecore.ui.parts.cache import cached_by_files, in_runs


def test_a_cached_reader_reads_again_only_when_its_files_change(tmp_path: Path) -> None:
    reads: list[str] = []

    @cached_by_files(in_runs("history.jsonl"))
    def n_epochs(runs: list[Run], times: int = 1) -> int:
        reads.append(",".join(run.run_id for run in runs))
        return times * sum(len(run.history) for run in runs)

    run = Run(tmp_path / "one")
    run.folder.mkdir()
    assert n_epochs([run]) == n_epochs([Run(run.folder)]) == 0
    assert len(reads) == 1
    assert len(run.history) == 0  # this snapshot stays as it is; the reader takes a fresh one
    (run.folder / "history.jsonl").write_text('{"epoch": 1}\n')
    assert n_epochs([run]) == 1
    assert n_epochs([run], times=3) == 3
    assert n_epochs([run], times=3) == 3
    assert len(reads) == 3


def test_two_cached_readers_never_answer_for_one_another(tmp_path: Path) -> None:
    def reader(word: str):  # type: ignore[no-untyped-def]
        def read_text(path: Path) -> str:
            return word + path.read_text()

        read_text.__qualname__ = word
        return cached_by_files(lambda path: [path])(read_text)

    path = tmp_path / "text"
    path.write_text("!")
    assert (reader("a")(path), reader("b")(path)) == ("a!", "b!")


def test_a_page_tells_its_place_in_the_menu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (ROOT / "pages").glob("*.py"):
        assert frame._IN_MENU.search(path.read_text()), f"{path.name} has no line '# menu: …'"
    monkeypatch.setattr(frame.st, "Page", lambda path, **settings: SimpleNamespace(**settings))
    titles = {group: [page.title for page in pages] for group, pages in frame.menu().items()}
    assert titles == {
        "Work": ["Overview", "Datasets", "Train", "Runs", "Compare", "Errors", "Classify"],
        "Studies": ["Plans", "Papers"],
        "Learn": ["Sound", "Models", "Leaks"],
    }
    (tmp_path / "overview.py").write_text("# menu: Results, 20, :material/home:\n")
    (tmp_path / "new_page.py").write_text("# menu: Results, 10, :material/star:\n")
    (tmp_path / "stray.py").write_text('"""Nothing is said of its place."""\n')
    monkeypatch.setattr(frame, "_PAGES", tmp_path)
    titles = {group: [page.title for page in pages] for group, pages in frame.menu().items()}
    assert titles == {"Results": ["New page", "Overview"], "More": ["Stray"]}
