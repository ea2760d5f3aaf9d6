"""Every registered model: shapes, gradients, determinism; and what is particular to one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genrecore.errors import GenrecoreError
from genrecore.models import MODELS

N_GENRES = 7
IMAGE_MODELS = [name for name in MODELS if "image" in MODELS[name].facts["accepts"]]


def model(name: str, shape: tuple[int, ...], n_genres: int = N_GENRES, **options):
    torch.manual_seed(7)
    return MODELS[name].thing(shape, n_genres, MODELS[name].read_options(options, "model"))


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("name", list(MODELS))
def test_models_say_what_they_accept(name: str) -> None:
    entry = MODELS[name]
    assert isinstance(entry.facts["accepts"], frozenset)
    assert entry.title
    assert entry.source
    for field in entry.options.model_fields.values():
        assert field.title
        assert field.description


@pytest.mark.parametrize("name", IMAGE_MODELS)
@pytest.mark.parametrize("shape", [(1, 32, 33), (3, 45, 67)])
def test_every_parameter_gets_a_gradient(name: str, shape: tuple[int, ...]) -> None:
    network = model(name, shape)
    logits = network(images(3, *shape))
    assert logits.shape == (3, N_GENRES)
    assert logits.isfinite().all()
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 3, 6])).backward()
    for label, parameter in network.named_parameters():
        assert parameter.grad is not None, label
        assert parameter.grad.isfinite().all(), label
        assert parameter.grad.abs().sum() > 0, label


@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_evaluation_is_deterministic_and_a_batch_equals_its_items(name: str) -> None:
    network = model(name, (1, 40, 51)).eval()
    batch = images(3, 1, 40, 51)
    with torch.no_grad():
        first, again = network(batch), network(batch)
        items = torch.cat([network(item[None]) for item in batch])
    torch.testing.assert_close(first, again, atol=0, rtol=0)
    torch.testing.assert_close(first, items, atol=1e-4, rtol=1e-4)  # float32 in another order


@pytest.mark.parametrize("name", IMAGE_MODELS)
@pytest.mark.parametrize("shape", [(1, 32, 32), (1, 128, 128), (3, 129, 1293), (1, 97, 216)])
def test_shapes_hold_on_the_meta_device(name: str, shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network = model(name, shape)
        assert network(torch.empty(2, *shape)).shape == (2, N_GENRES)


@pytest.mark.parametrize("name", IMAGE_MODELS)
@pytest.mark.parametrize("shape", [(1, 31, 128), (1, 128, 31)])
def test_an_image_too_small_is_refused_in_one_sentence(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(GenrecoreError, match=f"{name} needs images of at least 32 bins × 32"):
        model(name, shape)


@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_the_same_seed_gives_the_same_weights(name: str) -> None:
    once, twice = model(name, (1, 32, 32)), model(name, (1, 32, 32))
    for a, b in zip(once.parameters(), twice.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=0, rtol=0)


def n_parameters(name: str, shape: tuple[int, ...], n_genres: int) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in model(name, shape, n_genres).parameters())


def test_the_base_cnn_has_the_papers_300_000_parameters() -> None:
    # "~300,000", for FMA-small's 8 genres at 128 × 128: printed with one digit
    assert 250_000 < n_parameters("cnn", (1, 128, 128), 8) < 350_000


def test_resnet18_has_11_2_million_parameters() -> None:
    # torchvision's 11 689 512, less 1000 - 8 outputs and two of three input channels
    expected = 11_689_512 - 992 * 513 - 2 * 64 * 49
    assert n_parameters("resnet18", (1, 128, 128), 8) == expected


@pytest.mark.parametrize("batch_norm", [True, False])
def test_the_cnn_learns_which_band_is_lit_within_a_few_steps(batch_norm: bool) -> None:
    network = model("cnn", (1, 32, 32), 4, width=8, dropout=0.0, batch_norm=batch_norm)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3 if batch_norm else 3e-3)
    genre = torch.arange(32) % 4
    x = 0.3 * images(32, 1, 32, 32)
    for i, g in enumerate(genre):
        x[i, 0, 8 * g + 2 : 8 * g + 6] += 1.0
    for _ in range(60):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(x), genre).backward()
        optimiser.step()
    assert (network.eval()(x).argmax(dim=1) == genre).float().mean() > 0.9


def test_resnet18_refuses_two_channels() -> None:
    with pytest.raises(GenrecoreError, match="takes 1 or 3 channels, but the feature makes 2"):
        model("resnet18", (2, 64, 64))


def test_imagenet_weights_come_from_disk_and_are_summed_for_one_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))  # what torch.hub.set_dir sets
    torch.manual_seed(9)
    original = torchvision.models.resnet18()
    file = tmp_path / "checkpoints" / "resnet18-f37072fd.pth"
    file.parent.mkdir()
    torch.save(original.state_dict(), file)
    for n_channels in (1, 3):
        network = model("resnet18", (n_channels, 64, 65), pretrained=True).eval()
        network.fc = original.fc
        x = images(2, n_channels, 64, 65)
        expected = original.eval()(x.expand(2, 3, 64, 65))
        # A sum over channels before or after the convolution: float32 in another order.
        torch.testing.assert_close(network(x), expected, atol=1e-3, rtol=1e-3)
    file.write_bytes(b"half a download")
    with pytest.raises(GenrecoreError, match="cannot be read; delete the file") as caught:
        model("resnet18", (1, 64, 64), pretrained=True)
    assert str(file) in str(caught.value)


def test_imagenet_weights_out_of_reach_say_where_to_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens on this port
    with pytest.raises(GenrecoreError, match="could not be downloaded from https://") as caught:
        model("resnet18", (1, 64, 64), pretrained=True)
    assert str(tmp_path / "checkpoints") in str(caught.value)
    assert "\n" not in str(caught.value)
    with torch.device("meta"):  # shapes need no weights
        model("resnet18", (1, 64, 64), pretrained=True)
