"""Phases: codes on disk, text for people, and what earlier versions wrote."""

from __future__ import annotations

from pathlib import Path

from genrecore.store.files import write_json
from genrecore.store.progress import Phase, phase_code, phase_text
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
