"""Who may only look: every page opens, and no button of any page changes anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cluster_runs import keep_profile
from conftest import trained
from fake_runs import fake_run
from opened import open_page, words

from genrecore import ui  # noqa: F401  (it names who is served; the tests here replace that)
from genrecore.config.run import RunConfig
from genrecore.jobs import access
from genrecore.jobs.access import Visitor
from genrecore.store import settings, summaries
from genrecore.store.runs import create_run
from genrecore.store.status import Status


@pytest.fixture
def several_states(
    tiny: Callable[..., RunConfig], nobody_starts: Path, own_cache: Path
) -> dict[str, str]:
    """Runs that are done, failed, queued and in the bin, and what else pages could change."""
    done = trained(tiny(), nobody_starts)
    fake_run(nobody_starts, np.array([True, False, True] * 4))
    failed, queued = (
        create_run(tiny(seed=1), nobody_starts),
        create_run(tiny(seed=2), nobody_starts),
    )
    Status(failed.folder).move("failed", "The disk is full.")
    queued, _, damaged = [create_run(tiny(seed=seed), nobody_starts) for seed in (2, 3, 5)]
    (damaged.folder / "status.json").write_text("{")
    deleted = create_run(tiny(seed=4), nobody_starts)
    (nobody_starts / ".bin").mkdir()
    deleted.folder.rename(nobody_starts / ".bin" / deleted.run_id)
    settings.change(nobody_starts, "x", webhook="https://127.0.0.1:1/")
    keep_profile(nobody_starts)
    return {
        "store": str(nobody_starts),
        "done": done.run_id,
        "failed": failed.run_id,
        "queued": queued.run_id,
    }


def contents(*folders: Path) -> dict[str, bytes]:
    """What lies there, but for locks and what is computed anew at any time."""
    return {
        str(path): path.read_bytes()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.name != summaries.FILE
        and not any(word in path.name for word in ("lock", "cache"))
    }


PAGES = {
    "runs": [{"run": "done"}, {"run": "failed"}, {"run": "queued"}],
    "train": [{}],
    "plans": [{}],
    "compare": [{}],
    "datasets": [{}, {"view": "audit"}],
    "errors": [{"run": "done"}],
    "overview": [{}],
    "leaks": [{}],
    "papers": [{}],
    "records": [{}],
    "classify": [{}],
    "sound": [{}],
    "models": [{}],
    "settings": [{}, {"profile": "new"}],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    ["train", *(pytest.param(page, marks=pytest.mark.long) for page in PAGES if page != "train")],
)
def test_no_button_works_for_who_may_only_look(
    page: str,
    several_states: dict[str, str],
    nobody_starts: Path,
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = Visitor("ann@example.org", may_work=False, is_from_outside=True)
    monkeypatch.setattr(access, "_source", lambda: reader)
    pressed = 0
    for query in PAGES[page]:
        query = {name: several_states.get(value, value) for name, value in query.items()}
        app = open_page(page, **query)
        before = contents(nobody_starts, own_cache / "tasks", own_cache / "uploads")
        for key in [button.key for button in app.button]:
            app = open_page(page, **query)
            buttons = [button for button in app.button if button.key == key]
            if buttons:
                pressed += buttons[0].disabled
                buttons[0].proto.disabled = False  # as a forged click
                buttons[0].click().run()
                assert not app.exception, (key, app.exception[0].message)
                now = contents(nobody_starts, own_cache / "tasks", own_cache / "uploads")
                assert [
                    path for path in {**now, **before} if now.get(path) != before.get(path)
                ] == []
    assert pressed or page not in ("runs", "train", "datasets", "plans", "leaks", "models")


@pytest.mark.slow
def test_a_disabled_button_says_why(
    several_states: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Visitor("ann@example.org", may_work=False)
    monkeypatch.setattr(access, "_source", lambda: reader)
    app = open_page("runs", run=several_states["failed"])
    resume = app.button(key=f"resume_{several_states['failed']}")
    assert resume.disabled
    assert "ann@example.org may look, but not change anything" in resume.help
    monkeypatch.setattr(access, "_source", lambda: Visitor("bob@example.org"))
    app = open_page("runs", run=several_states["failed"])
    resume = app.button(key=f"resume_{several_states['failed']}")
    assert not resume.disabled
    resume.click().run()
    assert access.journal.entries(Path(several_states["store"]))[0]["who"] == "bob@example.org"


def test_a_folder_that_is_not_listed_is_the_same_sentence_whatever_it_is(
    store: Path, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "_source", lambda: Visitor("ann", is_from_outside=True))
    (tmp_path / "secret").mkdir()
    errors = set()
    for folder in (tmp_path / "secret", tmp_path / "absent", "/etc/passwd", "~root/x"):
        for page in ("datasets", "train"):
            query = {"dataset": "folder", "folder.folder": str(folder)}
            app = open_page(page, **query)
            errors |= {error.value for error in app.error}
            assert "secret" not in words(app)
    (error,) = errors
    assert "can be opened over a network" in error
