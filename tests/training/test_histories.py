"""What is kept of the epochs: appended, cut back, left out where some of it is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genrecore.store.run import Run
from genrecore.training import histories


def add(folder: Path, epoch: int, n_steps: int, losses: list[float]) -> None:
    row = {"epoch": epoch, "train_loss": 1.0, "train_accuracy": 0.5}
    predicted = np.full(3, epoch, np.uint8)
    histories.add_epoch(folder, row, predicted, np.array(losses, np.float32), n_steps)


def test_the_epochs_after_a_checkpoint_are_cut(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        add(tmp_path, epoch, 2, [epoch + 0.25, epoch + 0.5])
    with open(tmp_path / "steps.f32", "ab") as stream:
        stream.write(b"\0\0")  # half a loss, where the power failed
    histories.cut(tmp_path, 2, 3, 2)
    assert Run(tmp_path).step_losses.tolist() == [1.25, 1.5, 2.25, 2.5]
    assert Run(tmp_path).history["epoch"].tolist() == [1, 2]
    assert (tmp_path / "epochs.u8").read_bytes() == b"\1\1\1\2\2\2"
    add(tmp_path, 3, 2, [7.0, 8.0])
    assert Run(tmp_path).step_losses.tolist()[4:] == [7.0, 8.0]


def test_losses_are_kept_of_all_steps_or_of_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "steps.f32"
    add(tmp_path, 2, 2, [1.0, 2.0])  # an earlier version trained the first epoch
    assert not path.exists()
    add(tmp_path, 1, 3, [1.0, 2.0])  # and a part of this one
    assert not path.exists()
    add(tmp_path, 1, 2, [1.0, 2.0])
    histories.cut(tmp_path, 1, 3, None)  # other processes had other steps
    assert not path.exists()
    add(tmp_path, 1, 2, [1.0, 2.0])
    histories.cut(tmp_path, 2, 3, 2)  # some are missing
    assert not path.exists()
    monkeypatch.setattr(histories, "MOST_BYTES", 12)  # no reader takes more
    add(tmp_path, 1, 2, [1.0, 2.0])
    add(tmp_path, 2, 2, [3.0, 4.0])
    assert Run(tmp_path).step_losses.tolist() == [1.0, 2.0]
