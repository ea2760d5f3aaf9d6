"""Phases: codes on disk, text for people, and what earlier versions wrote."""

from __future__ import annotations

from pathlib import Path

from genrecore.store.files import write_json
from genrecore.store.progress import Pace, Phase, phase_code, phase_text
from genrecore.store.status import STATUS, read_status


def test_each_phase_has_a_text_of_its_own() -> None:
    assert len({phase.text for phase in Phase}) == len(Phase)
    assert phase_text(Phase.TRAINING) == "Training"
    assert phase_text(Phase.FETCHING.on("fma_small.zip")) == "Fetching fma_small.zip (MiB)"
    assert phase_text(Phase.PROBING.on("Noise: 20 dB")) == "Probing: Noise: 20 dB"
    assert phase_text("cnn · demo: training") == "cnn · demo: training"  # no code: text already


def test_what_earlier_versions_wrote_is_read_as_a_code(tmp_path: Path) -> None:
    for written, phase in {
        "Training": Phase.TRAINING,
        "Testing": Phase.TESTING,
        "Looking where clips lie": Phase.EMBEDDING,
        "training": Phase.TRAINING,
    }.items():
        write_json(tmp_path / STATUS, {"state": "running", "phase": written})
        assert read_status(tmp_path)["phase"] == phase
    assert phase_code("Probing: noise") == "Probing: noise"


def test_the_time_left_goes_by_the_last_minute_of_the_present_phase() -> None:
    pace = Pace()
    assert pace.left_s("training", 0, 0, 0.0) is None  # nobody knows how much there is
    # 900 of 1,000 files were known before; then one takes a second.
    lefts = [pace.left_s("classifying", 900 + n, 1_000, 100.0 + n) for n in range(51)]
    assert lefts[:3] == [None, None, None]
    assert lefts[3:] == [100.0 - n for n in range(3, 51)]
    # Files ten times as long: after a minute what was before does not count.
    slow = [pace.left_s("classifying", 950 + n, 1_000, 150.0 + 10 * n) for n in range(1, 10)]
    assert slow[-1] == 10.0 * 41
    assert pace.left_s("drawing_figures", 3, 10, 900.0) is None
