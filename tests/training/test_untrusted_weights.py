"""Weights and checkpoints from elsewhere: bounded before they take memory, and nothing that they
name is opened."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from untrained_runs import untrained_run

from genrecore.config.run import Part, RunConfig, read_config_file, with_values
from genrecore.errors import GenrecoreError, UsageError
from genrecore.evaluation.preference import best_run
from genrecore.inference import loaded
from genrecore.models import imagenet
from genrecore.store.run import Run
from genrecore.training.checkpoint import Checkpoints, read_checkpoint
from genrecore.training.resolve import resolve
from genrecore.training.weights import load_classifier

Tiny = Callable[..., RunConfig]


def with_metadata(path: Path, **changes: str) -> None:
    """The same tensors with other text beside them."""
    with safe_open(path, framework="pt") as stream:
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        metadata = stream.metadata()
    save_file(tensors, path, metadata | changes)


def test_a_header_that_claims_gigabytes_is_refused(store: Path) -> None:
    path = untrained_run(store).weights
    path.write_bytes((2**31).to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(GenrecoreError, match="its header claims"):
        load_classifier(path)


def test_a_network_that_its_tensors_do_not_fill_is_never_built(store: Path) -> None:
    run = untrained_run(store)
    config = with_values(run.config, {"model": "cnn", "model.width": 128})
    with_metadata(run.weights, config=config.model_dump_json())
    built = []
    real = torch.nn.Conv2d.__init__

    def watched(self: torch.nn.Conv2d, *arguments: object, **options: object) -> None:
        real(self, *arguments, **options)  # type: ignore[arg-type]
        built.append(self.weight.device.type)

    torch.nn.Conv2d.__init__ = watched  # type: ignore[method-assign,assignment]
    try:
        with pytest.raises(GenrecoreError, match="do not belong to the model cnn"):
            load_classifier(run.weights)
    finally:
        torch.nn.Conv2d.__init__ = real  # type: ignore[method-assign]
    assert set(built) == {"meta"}


@pytest.mark.parametrize("name", ["folder", "manifest", "gtzan", "fma_small"])
def test_no_path_that_weights_or_a_run_name_is_looked_at_when_they_are_loaded(
    name: str, store: Path, tmp_path: Path
) -> None:
    """The whole disk could be searched for clips that way, or a pipe waited for."""
    run = untrained_run(store)
    there = tmp_path / "theirs"
    (there / "rock").mkdir(parents=True)
    (there / "rock" / "a.wav").write_bytes(b"RIFF")
    (there / "manifest.csv").write_text("path,genre\nrock/a.wav,rock\n")
    part = Part(name=name, options={"folder": str(there)})
    config = run.config.model_copy(update={"dataset": part})
    with_metadata(run.weights, config=config.model_dump_json())
    (run.folder / "config.json").write_text(config.model_dump_json())
    seen = []

    def look(event: str, arguments: tuple[object, ...]) -> None:
        if event in ("open", "os.scandir", "os.listdir") and str(there) in str(arguments[0]):
            seen.append((event, arguments[0]))

    sys.addaudithook(lambda event, arguments: look(event, arguments) if there else None)
    load_classifier(run.weights)
    assert loaded.load(Run(run.folder)).genres == loaded.load(Run(run.folder)).genres
    with pytest.raises(GenrecoreError, match="No run on recordings"):  # it was not tested
        best_run()
    assert not seen
    list(os.scandir(there))
    assert seen  # it would have been seen


def packed(path: Path) -> None:
    """The same entries, packed, and one of zeros."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
        archive.writestr("archive/data/99", bytes(50_000_000))


def test_a_packed_checkpoint_is_refused(tmp_path: Path) -> None:
    Checkpoints(tmp_path).write({"tensor": torch.zeros(7), "n_threads": 1})
    assert read_checkpoint(tmp_path) is not None
    packed(tmp_path / "resume.pt")
    with pytest.raises(GenrecoreError, match="is packed"):
        read_checkpoint(tmp_path)


def test_packed_weights_are_refused_and_old_ones_are_read(tmp_path: Path) -> None:
    for new in (True, False):
        file = tmp_path / f"{new}.pth"
        torch.save({"a": torch.ones(3)}, file, _use_new_zipfile_serialization=new)
        assert imagenet.read(file)["a"].tolist() == [1, 1, 1]
    packed(tmp_path / "True.pth")
    with pytest.raises(GenrecoreError, match="is packed"):
        imagenet.read(tmp_path / "True.pth")


@pytest.mark.parametrize("path", ["/proc/kmsg", "/dev/zero", "fifo", "folder"])
def test_what_is_no_regular_file_is_no_weights_and_no_configuration(
    path: str, store: Path, tmp_path: Path, tiny: Tiny
) -> None:
    if path == "fifo":
        path = str(tmp_path / "fifo")
        os.mkfifo(path)
    path = str(tmp_path) if path == "folder" else path
    for name in ("weights.safetensors", "model.skops", "resume.pt", "w.pth"):
        (tmp_path / name).symlink_to(path)
    for name in ("weights.safetensors", "model.skops"):
        with pytest.raises(GenrecoreError, match="no regular file"):
            load_classifier(tmp_path / name)
    with pytest.raises(GenrecoreError, match="no regular file"):
        read_checkpoint(tmp_path)
    with pytest.raises(GenrecoreError, match="no file of weights"):
        imagenet.read(tmp_path / "w.pth")
    config = with_values(tiny(), {"model": "resnet18", "model.weights_file": path})
    with pytest.raises(UsageError, match="no file of weights"):
        resolve(config)
    with pytest.raises(UsageError, match=r"is no file of|Cannot read"):
        read_config_file(path)


def test_a_configuration_nested_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text("[" * 100_000)
    with pytest.raises(UsageError, match="nested too deep"):
        read_config_file(tmp_path / "c.json")
    (tmp_path / "c.json").write_text(json.dumps({"seed": "a" * 2**23}))
    with pytest.raises(UsageError, match="is no file of"):
        read_config_file(tmp_path / "c.json")
