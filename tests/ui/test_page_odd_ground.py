"""Pages on a store whose disk is full or read-only."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import draw_right, fake_run
from opened import open_page, words
from test_odd_ground import filled

from genrecore.config.run import RunConfig
from genrecore.store.runs import create_run


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_pages_open_and_say_why_no_run_starts(
    trouble: str, small_disk: Path, tiny: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENRECORE_RUNS", str(small_disk))
    run = fake_run(small_disk, draw_right(0.7, 60, 1))
    create_run(tiny(), small_disk)
    if trouble == "full":
        filled(small_disk)
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    open_page("overview")
    open_page("errors", run=run.run_id)
    text = words(open_page("runs"))
    if trouble == "full":
        assert "The disk of the runs is full" in text
