"""Which run is proposed where nobody has chosen one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_runs import fake_run

from genrecore.errors import GenrecoreError
from genrecore.evaluation.preference import best_run, by_accuracy, by_preference
from genrecore.evaluation.scores import rank_runs
from genrecore.store.files import write_json
from genrecore.store.run import Run


def run_of(store: Path, n_right: int, n: int, leaks: bool = False, **values: object) -> Run:
    """A run with weights that was right on so many of its test clips."""
    run = fake_run(store, np.arange(n) < n_right, **values)
    (run.folder / "weights.safetensors").touch()
    if leaks:
        write_json(run.folder / "audit.json", {"refused": True, "n_crossing_test_clips": 3})
    return Run(run.folder)


def test_honest_runs_with_enough_clips_are_proposed_before_more_accurate_ones(store: Path) -> None:
    good = run_of(store, 51, 70)
    fair = run_of(store, 43, 70)
    few = run_of(store, 5, 5)
    rehearsal = run_of(store, 69, 70, rehearsal=5)
    leaky = run_of(store, 70, 70, leaks=True)
    runs = [leaky, few, fair, rehearsal, good]
    assert by_preference(runs) == [good, fair, few, leaky, rehearsal]
    assert by_accuracy(runs) == [leaky, few, rehearsal, good, fair]
    board = rank_runs(runs)["run_id"].to_list()
    assert board == [run.run_id for run in by_accuracy(runs)]
    assert best_run().run_id == good.run_id


def test_a_run_on_real_music_is_asked_about_a_song_before_one_on_made_up_music(
    store: Path, tmp_path: Path
) -> None:
    with pytest.raises(GenrecoreError, match="No run on recordings"):
        best_run()
    made_up = run_of(store, 70, 70)
    assert best_run().run_id == made_up.run_id
    real = run_of(store, 35, 70, dataset="folder", dataset__folder=str(tmp_path))
    assert best_run().run_id == real.run_id
    (real.folder / "weights.safetensors").unlink()
    assert best_run().run_id == made_up.run_id
