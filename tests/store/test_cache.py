"""The cache: what is listed, what is cleared, and what must stay."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import command, genrecore, refused
from conftest import ROOT, trained
from streamlit.testing.v1 import AppTest

from genrecore.config.run import RunConfig, with_values
from genrecore.data import cached_results
from genrecore.errors import GenrecoreError, UsageError
from genrecore.store import cache
from genrecore.store.files import cache_dir
from genrecore.store.locks import take_lock
from genrecore.words import size


@pytest.fixture(autouse=True)
def _own_cache(_own_folders: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENRECORE_CACHE", str(tmp_path / "cache"))


def test_every_folder_that_the_package_makes_there_is_listed() -> None:
    source = "".join(path.read_text() for path in (ROOT / "genrecore").rglob("*.py"))
    folders = set(re.findall(r'cache_dir\(\) / "(\w+)"', source)) - {"tasks"}  # with their own list
    assert folders == cache.KINDS.keys()


@pytest.mark.slow
def test_a_run_fills_the_cache_and_a_cleared_cache_is_filled_again(
    store: Path, tiny: Callable[..., RunConfig]
) -> None:
    first = trained(tiny(), store)
    entries = {item.kind: item for item in cache.entries()}
    assert {"features", "corpora", "datasets"} <= entries.keys()
    # 30 clips of 3 segments, 33 bands of 44 frames, 4 bytes each, and a few kB about them.
    assert 30 * 3 * 33 * 44 * 4 <= entries["features"].n_bytes < 30 * 3 * 33 * 44 * 4 + 50_000
    assert "log_mel (1 × 33 × 44)" in entries["features"].about

    listed = json.loads(genrecore("cache", "list", "--json").stdout)
    assert {item["kind"] for item in listed["entries"]} == entries.keys()
    freed = json.loads(genrecore("cache", "clear", "features", "--json").stdout)["freed_bytes"]
    assert freed == entries["features"].n_bytes
    assert "features" not in {item.kind for item in cache.entries()}
    assert cache.clear() > 0
    assert cache.entries() == []
    assert "The cache is empty." in genrecore("cache", "list").stdout

    again = trained(tiny(), store)
    assert again.predictions.equals(first.predictions)


def test_what_an_audit_found_is_listed_and_cleared() -> None:
    music = {"dataset.n_genres": 2, "dataset.n_clips": 5, "dataset.n_artists": 5}
    options = [f"--set={key.removeprefix('dataset.')}={value}" for key, value in music.items()]
    command("datasets", "audit", "demo", *options, "--table-only")
    about = with_values(RunConfig(), music)
    assert cached_results.newest("audit", about) is not None
    (listed,) = json.loads(command("cache", "list", "answers", "--json"))["entries"]
    assert set(listed) == {"kind", "name", "about", "n_bytes", "made"}
    assert listed["name"].startswith("audit-")
    assert listed["n_bytes"] > 0
    freed = json.loads(command("cache", "clear", "answers", "--json"))["freed_bytes"]
    assert freed == listed["n_bytes"]
    assert cached_results.newest("audit", about) is None
    assert cache.entries("answers") == []
    assert cache.entries("datasets") != []


def test_what_is_being_made_stays_and_what_is_unknown_is_refused(tmp_path: Path) -> None:
    features = cache_dir() / "features"
    for name in ("done", "busy.partial"):
        (features / name).mkdir(parents=True)
        (features / name / "rows.f32").write_bytes(b"x" * 10_000)
    assert {item.name: item.about for item in cache.entries("features")} == {
        "done": "", "busy.partial": "unfinished"
    }  # fmt: skip
    lock = take_lock(features / "busy.lock")
    assert lock is not None
    cache.clear("features")
    assert [item.name for item in cache.entries("features")] == ["busy.partial"]
    os.close(lock)
    cache.clear("features")
    assert cache.entries() == []
    with pytest.raises(UsageError, match="holds no 'wine'; it holds: features"):
        cache.clear("wine")
    with pytest.raises(GenrecoreError, match="nothing called gone"):
        cache.clear("features", "gone")
    refused(genrecore("cache", "clear", "wine"), 2, "wine", "corpora")


@pytest.mark.slow
def test_the_page_shows_the_room_and_clears_one_kind(
    store: Path, tiny: Callable[..., RunConfig]
) -> None:
    trained(tiny(), store)
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    app.switch_page("pages/datasets.py").run()
    room = next(box.label for box in app.expander if box.label.startswith("Kept on the disk"))
    assert room.endswith(size(sum(item.n_bytes for item in cache.entries())))
    app.selectbox(key="clear_kind").select("features")
    app.button(key="clear_cache").click().run()
    assert not app.exception
    assert cache.entries("features") == []
    assert cache.entries("corpora") != []
    assert not [label for label in app.selectbox(key="clear_kind").options if "Features" in label]
