"""Published weights of torchvision's networks: from a file, from the net, hostile or broken."""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from test_torchvision_nets import MOSTLY_SMALL, images, model

from genrecore.config.run import RunConfig, with_values
from genrecore.errors import GenrecoreError, UsageError
from genrecore.training.classifier import Classifier
from genrecore.training.parts import ResolvedConfig
from genrecore.training.resolve import resolve
from genrecore.training.weights import load_classifier, save_classifier

# Published weights. torchvision's own are out of reach, so files of their form with random numbers
# stand for them: nothing but the numbers differs.

pytestmark = pytest.mark.xdist_group("published weights")  # one worker writes the file


def torchvisions() -> Any:
    """torchvision's own networks; their import takes more than a second."""
    from torchvision import models

    return models


@pytest.fixture(scope="module")
def original() -> torch.nn.Module:
    torch.manual_seed(9)
    return torchvisions().efficientnet_b0().eval()


@pytest.fixture(scope="module")
def file(original: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "own.pth"
    torch.save(original.state_dict(), path)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def from_file(path: Path, n_channels: int = 3, **options: object) -> Any:
    return model("efficientnet_b0", (n_channels, 33, 37), weights_file=str(path), **options)


def same_but_for_the_head(network: Any, original: torch.nn.Module) -> bool:
    expected = original.state_dict()
    keys = [key for key in expected if not key.startswith("classifier.1.")]
    return all(torch.equal(network.state_dict()[key], expected[key]) for key in keys)


@pytest.mark.parametrize("n_channels", [1, 3])
def test_weights_of_a_file_give_what_torchvisions_network_gives(
    n_channels: int, file: Path, original: torch.nn.Module
) -> None:
    network = from_file(file, n_channels, weights_sha256=sha256(file).upper()).eval()
    network.classifier[1] = original.classifier[1]
    x = images(2, n_channels, 33, 37)
    with torch.no_grad():
        logits, expected = network(x), original(x.expand(2, 3, 33, 37))
    # A sum over channels before or after the convolution: float32 in another order.
    torch.testing.assert_close(logits, expected, atol=1e-3 * float(expected.abs().max()), rtol=1e-3)


@pytest.mark.slow
def test_safetensors_and_torchs_old_format_are_read_as_well(
    tmp_path: Path, original: torch.nn.Module
) -> None:
    state = original.state_dict()
    safetensors.torch.save_file(state, tmp_path / "new.safetensors")
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for name in ("new.safetensors", "old.pt"):
        assert same_but_for_the_head(from_file(tmp_path / name), original)


@pytest.mark.slow
def test_the_checksum_in_a_name_like_torchvisions_is_compared(
    tmp_path: Path, file: Path, original: torch.nn.Module
) -> None:
    right = tmp_path / f"net-{sha256(file)[:8]}.pth"
    right.symlink_to(file)
    assert same_but_for_the_head(from_file(right), original)
    wrong = tmp_path / "net-0badc0de.pth"
    wrong.symlink_to(file)
    with pytest.raises(GenrecoreError, match="not with 0badc0de as the file's name says"):
        from_file(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("with_heads", [True, False])
def test_googlenets_auxiliary_heads_start_anew_whatever_the_file_holds(
    with_heads: bool, tmp_path: Path
) -> None:
    torch.manual_seed(9)
    published = torchvisions().googlenet(aux_logits=with_heads, init_weights=True).state_dict()
    torch.save(published, tmp_path / "own.pth")
    options = {"weights_file": str(tmp_path / "own.pth")}
    weights = model("googlenet", (3, 33, 37), **options).network.state_dict()
    fresh = model("googlenet", (3, 33, 37)).network.state_dict()  # the same seed
    heads = ("aux1.", "aux2.", "fc.")
    assert any(key.startswith("aux2.") for key in weights)
    for key, tensor in weights.items():
        expected = fresh[key] if key.startswith(heads) else published[key]
        torch.testing.assert_close(tensor, expected, atol=0, rtol=0, msg=key)
    frozen = model("googlenet", (3, 33, 37), trained="head", **options)
    assert not [key for key in frozen.state_dict() if "aux" in key]


def test_a_file_that_is_not_there_is_refused_before_anything_is_queued(tmp_path: Path) -> None:
    nowhere = tmp_path / "none.pth"
    values = {"model": "resnet18", "model.weights_file": str(nowhere)}
    with pytest.raises(UsageError, match=f"no file of weights at {nowhere}"):
        resolve(with_values(RunConfig(), values))


class Program:
    """What a hostile pickle holds: something that runs while it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("packed", ["pickle", "torch"])
def test_a_hostile_file_is_refused_and_nothing_in_it_runs(packed: str, tmp_path: Path) -> None:
    marker = tmp_path / "it ran"
    path = tmp_path / "hostile.pth"
    if packed == "pickle":
        path.write_bytes(pickle.dumps(Program(marker), protocol=2))
    else:
        torch.save({"features.0.0.weight": Program(marker)}, path)
    with pytest.raises(GenrecoreError, match="holds other things than tensors"):
        from_file(path)
    assert not marker.exists()
    with open(path, "rb") as stream:  # the file would have done it
        if packed == "pickle":
            pickle.load(stream)
        else:
            torch.load(stream, weights_only=False)
    assert marker.exists()


def other_sizes(original: torch.nn.Module) -> dict[str, Any]:
    return {**original.state_dict(), "features.0.0.weight": torch.zeros(16, 3, 3, 3)}


BROKEN = {
    "cut off": (lambda path, o, f: path.write_bytes(f.read_bytes()[:70_001]), "cut off"),
    "text": (lambda path, o, f: path.write_text("half a download"), "cut off or of another format"),
    "empty": (lambda path, o, f: path.touch(), "cut off or of another format"),
    "missing": (lambda path, o, f: None, "There is no file of weights at"),
    "a folder": (lambda path, o, f: path.mkdir(), "There is no file of weights at"),
    "a list": (lambda path, o, f: torch.save([torch.zeros(3)], path), "holds no state dict"),
    "text for tensors": (
        lambda path, o, f: torch.save(dict.fromkeys(o.state_dict(), "a"), path),
        "are not those of EfficientNet-B0",
    ),
    "one tensor less": (
        lambda path, o, f: torch.save(dict(list(o.state_dict().items())[1:]), path),
        "1 are missing, and 0 are too many, for instance features.0.0.weight is missing",
    ),
    "another network": (
        lambda path, o, f: torch.save(torchvisions().squeezenet1_1().state_dict(), path),
        "are not those of EfficientNet-B0: of its tensors .* are missing",
    ),
    "other sizes": (
        lambda path, o, f: torch.save(other_sizes(o), path),
        "are not those of EfficientNet-B0: the same names, but other sizes",
    ),
}


@pytest.mark.parametrize("case", list(BROKEN))
def test_a_file_that_is_no_use_is_refused_in_one_sentence(
    case: str, tmp_path: Path, original: torch.nn.Module, file: Path
) -> None:
    make, message = BROKEN[case]
    path = tmp_path / "given.pth"
    make(path, original, file)
    with pytest.raises(GenrecoreError, match=message) as caught:
        from_file(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_half_a_safetensors_file_and_a_wrong_checksum_are_refused(
    tmp_path: Path, file: Path
) -> None:
    half = tmp_path / "half.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(99)}, half)
    half.write_bytes(half.read_bytes()[:-40])
    with pytest.raises(GenrecoreError, match="cut off or of another format"):
        from_file(half)
    with pytest.raises(GenrecoreError, match=f"checksum is {sha256(file)}, not {'1' * 64}"):
        from_file(file, weights_sha256="1" * 64)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch hub's folder of weights, empty."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))  # what hub.set_dir sets
    return tmp_path / "hub" / "checkpoints"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing of what it serves."""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on a web server of this machine, where EfficientNet-B0's weights are looked for."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        weights = torchvisions().EfficientNet_B0_Weights.IMAGENET1K_V1.value
        monkeypatch.setattr(weights, "url", f"http://127.0.0.1:{server.server_port}")
        yield folder
        server.shutdown()
        thread.join()


def publish(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Makes a file of the site EfficientNet-B0's published weights; returns its address."""
    weights = torchvisions().EfficientNet_B0_Weights.IMAGENET1K_V1.value
    monkeypatch.setattr(weights, "url", f"{weights.url}/{name}")
    return str(weights.url)


@pytest.mark.slow
def test_imagenet_weights_are_downloaded_once_and_checked_each_time(
    file: Path, original: torch.nn.Module, hub: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"efficientnet-{sha256(file)[:8]}.pth"
    (site / name).write_bytes(file.read_bytes())
    url = publish(name, monkeypatch)
    assert same_but_for_the_head(model("efficientnet_b0", (3, 33, 37), pretrained=True), original)
    (site / name).unlink()
    network = model("efficientnet_b0", (3, 33, 37), pretrained=True, trained="head")
    assert same_but_for_the_head(network, original)
    (hub / name).write_bytes(file.read_bytes()[:-9])
    with pytest.raises(GenrecoreError, match="delete it, or replace it by the one at") as caught:
        model("efficientnet_b0", (3, 33, 37), pretrained=True)
    assert str(hub / name) in str(caught.value)
    assert url in str(caught.value)


def test_a_download_that_is_not_what_was_published_is_not_kept(
    file: Path, hub: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / "efficientnet-0badc0de.pth").write_bytes(file.read_bytes())
    publish("efficientnet-0badc0de.pth", monkeypatch)
    with pytest.raises(GenrecoreError, match="its name says 0badc0de"):
        model("efficientnet_b0", (3, 33, 37), pretrained=True)
    assert not list(hub.iterdir())


@pytest.mark.parametrize("name", MOSTLY_SMALL)
def test_imagenet_weights_out_of_reach_say_where_to_put_them(
    name: str, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens on this port
    with pytest.raises(GenrecoreError, match="could not be downloaded from https://") as caught:
        model(name, (1, 64, 64), pretrained=True)
    assert str(hub) in str(caught.value)
    assert "\n" not in str(caught.value)
    with torch.device("meta"):  # shapes need no weights
        model(name, (1, 64, 64), pretrained=True)


@pytest.mark.slow
def test_a_trained_network_is_loaded_without_the_file_it_started_from(
    tmp_path: Path, original: torch.nn.Module
) -> None:
    start = tmp_path / "start.safetensors"
    safetensors.torch.save_file(original.state_dict(), start)
    values = {
        "feature.n_mels": 33,
        "feature.channels": 3,
        "segments.segment_s": 1.0,
        "model": "efficientnet_b0",
        "model.weights_file": str(start),
        "model.trained": "head",
    }
    config = resolve(with_values(RunConfig(), values)).config
    trained = Classifier(ResolvedConfig(config), ["a", "b", "c"])
    assert same_but_for_the_head(trained.network, original)
    assert trained.n_parameters() == 3 * (1280 + 1)
    path = tmp_path / "weights.safetensors"
    save_classifier(trained, path)
    start.unlink()
    loaded = load_classifier(path)
    x = images(2, 1, 22_050)
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), trained.eval()(x), atol=0, rtol=0)
    with pytest.raises(GenrecoreError, match="There is no file of weights at"):
        Classifier(ResolvedConfig(config), ["a", "b", "c"])
