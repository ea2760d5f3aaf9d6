"""Uploads outlive their session, by content; their names are never paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from genrecore.data import uploads
from genrecore.store import cache


def test_equal_contents_are_kept_once_and_a_set_is_found_again(own_cache: Path) -> None:
    files = [("a.wav", b"one"), ("b.wav", b"two"), ("again.wav", b"one")]
    set_id = uploads.keep_clips(files)
    assert uploads.keep_clips(files) == set_id
    assert uploads.n_kept_clips() == 2
    clips = uploads.kept_clips(set_id)
    assert [clip.name for clip in clips] == ["a.wav", "b.wav", "again.wav"]
    assert [clip.path.read_bytes() for clip in clips] == [b"one", b"two", b"one"]
    assert clips[0].digest == clips[2].digest
    assert uploads.keep_clips(files[:1]) != set_id


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "C:\\songs\\passwd", "x\0\n/passwd", ".."]
)
def test_a_name_is_no_path(own_cache: Path, name: str) -> None:
    (clip,) = uploads.kept_clips(uploads.keep_clips([(name, b"sound")]))
    assert "/" not in clip.name
    assert "\\" not in clip.name
    assert clip.name.isprintable()
    assert clip.path.parent == own_cache / "uploads"
    assert {path.parent for path in own_cache.rglob("*") if path.is_file()} == {
        own_cache / "uploads"
    }


@pytest.mark.parametrize("set_id", ["", "../x", "0" * 15, "g" * 16, "0" * 16])
def test_an_unknown_set_in_an_address_is_empty(own_cache: Path, set_id: str) -> None:
    assert uploads.kept_clips(set_id) == []


def test_clearing_leaves_nothing_and_the_cache_lists_what_is_kept(own_cache: Path) -> None:
    set_id = uploads.keep_clips([("a.wav", b"x" * 5000)])
    assert any(entry.name.endswith(".clip") for entry in cache.entries("uploads"))
    assert uploads.clear_clips() == 1
    assert uploads.kept_clips(set_id) == []
    assert cache.entries("uploads") == []


def test_a_file_that_is_gone_leaves_the_others(own_cache: Path) -> None:
    set_id = uploads.keep_clips([("a.wav", b"one"), ("b.wav", b"two")])
    uploads.kept_clips(set_id)[0].path.unlink()
    assert [clip.name for clip in uploads.kept_clips(set_id)] == ["b.wav"]
