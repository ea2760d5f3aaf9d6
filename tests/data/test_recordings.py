"""Uploads outlive their session, by content; their names are never paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from genrecore.data import recordings
from genrecore.store import cache


def test_equal_contents_are_kept_once_and_a_set_is_found_again(own_cache: Path) -> None:
    files = [("a.wav", b"one"), ("b.wav", b"two"), ("again.wav", b"one")]
    set_id = recordings.keep(files)
    assert recordings.keep(files) == set_id
    assert recordings.n_kept() == 2
    found = recordings.kept(set_id)
    assert [one.name for one in found] == ["a.wav", "b.wav", "again.wav"]
    assert [one.path.read_bytes() for one in found] == [b"one", b"two", b"one"]
    assert found[0].digest == found[2].digest
    assert recordings.keep(files[:1]) != set_id


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "C:\\songs\\passwd", "x\0\n/passwd", ".."]
)
def test_a_name_is_no_path(own_cache: Path, name: str) -> None:
    (one,) = recordings.kept(recordings.keep([(name, b"sound")]))
    assert "/" not in one.name
    assert "\\" not in one.name
    assert one.name.isprintable()
    assert one.path.parent == own_cache / "uploads"
    assert {path.parent for path in own_cache.rglob("*") if path.is_file()} == {
        own_cache / "uploads"
    }


@pytest.mark.parametrize("set_id", ["", "../x", "0" * 15, "g" * 16, "0" * 16])
def test_an_unknown_set_in_an_address_is_empty(own_cache: Path, set_id: str) -> None:
    assert recordings.kept(set_id) == []


def test_clearing_leaves_nothing_and_the_cache_lists_what_is_kept(own_cache: Path) -> None:
    set_id = recordings.keep([("a.wav", b"x" * 5000)])
    assert any(entry.name.endswith(".clip") for entry in cache.entries("uploads"))
    assert recordings.clear() == 1
    assert recordings.kept(set_id) == []
    assert cache.entries("uploads") == []


def test_a_file_that_is_gone_leaves_the_others(own_cache: Path) -> None:
    set_id = recordings.keep([("a.wav", b"one"), ("b.wav", b"two")])
    recordings.kept(set_id)[0].path.unlink()
    assert [one.name for one in recordings.kept(set_id)] == ["b.wav"]
