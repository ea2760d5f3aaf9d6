"""torchvision's networks: channels, sizes, what stays frozen, and published weights.

What holds for every model is tested beside the registry.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from genrecore.errors import GenrecoreError, UsageError
from genrecore.models import MODELS

N_GENRES = 7
SMALL = ("resnet18", "googlenet", "efficientnet_b0")
LARGE = ("alexnet", "vgg16")
NAMES = (*SMALL, *LARGE)
# Hundreds of megabytes each: with real arithmetic they are tried among the long tests.
MOSTLY_SMALL = (*SMALL, *(pytest.param(name, marks=pytest.mark.long) for name in LARGE))
LAST = {
    "resnet18": "fc",
    "googlenet": "network.fc",
    "efficientnet_b0": "classifier.1",
    "alexnet": "classifier.6",
    "vgg16": "classifier.6",
}
PUBLISHED = {
    "resnet18": "ResNet18_Weights",
    "googlenet": "GoogLeNet_Weights",
    "efficientnet_b0": "EfficientNet_B0_Weights",
    "alexnet": "AlexNet_Weights",
    "vgg16": "VGG16_Weights",
}


def built(name: str, shape: tuple[int, ...], n_genres: int, options: Any) -> Any:
    torch.manual_seed(7)
    return MODELS[name].thing(shape, n_genres, options)


def model(name: str, shape: tuple[int, ...], n_genres: int = N_GENRES, **options: object) -> Any:
    return built(name, shape, n_genres, MODELS.choose(name, options).options)


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7))


def least(name: str) -> int:
    return MODELS[name].facts.least[1]


def odd(name: str) -> tuple[int, int]:
    """A size near the smallest, not square: 33 and more is where batches of one can be normalised,
    too."""
    return max(least(name), 33), max(least(name), 33) + 4


def training_loss(network: Any, x: torch.Tensor) -> torch.Tensor:
    genres = torch.arange(len(x)) % N_GENRES
    pairs = (
        network.training_logits(x) if hasattr(network, "training_logits") else [(1.0, network(x))]
    )
    losses = [weight * torch.nn.functional.cross_entropy(z, genres) for weight, z in pairs]
    return torch.stack(losses).sum()


def n_parameters(name: str, shape: tuple[int, ...], n_genres: int, **options: object) -> int:
    with torch.device("meta"):
        network = model(name, shape, n_genres, **options)
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", MOSTLY_SMALL)
def test_with_three_channels_every_parameter_gets_a_gradient(name: str) -> None:
    network = model(name, (3, *odd(name)))
    loss = training_loss(network, images(3, 3, *odd(name)))
    loss.backward()
    assert loss.isfinite()
    for label, parameter in network.named_parameters():
        assert parameter.grad is not None, label
        assert 0 < parameter.grad.norm() < torch.inf, label


@pytest.mark.parametrize("name", NAMES)
def test_smaller_images_are_refused_in_one_sentence(name: str) -> None:
    n = least(name)
    message = f"The model {name} needs images of at least {n} bins × {n} frames"
    for shape in ((1, n - 1, 200), (3, 200, n - 1)):
        with pytest.raises(GenrecoreError, match=message) as caught:
            model(name, shape)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_neither_two_nor_four_channels_are_taken(name: str) -> None:
    for n in (2, 4):
        message = f"{name} takes 1 or 3 channels, but the feature makes {n}"
        with pytest.raises(GenrecoreError, match=message):
            model(name, (n, 128, 128))


# On shapes alone, but layer after layer in Python: small networks speak for the deep ones.
@pytest.mark.parametrize(
    "name",
    [n if n in ("resnet18", "alexnet") else pytest.param(n, marks=pytest.mark.long) for n in NAMES],
)
def test_images_of_the_studies_and_of_odd_sizes_fit(name: str) -> None:
    sizes = {3: [(256, 1320), (288, 432), (224, 224)], 1: [(128, 128), (1025, 130), (72, 216)]}
    with torch.device("meta"):
        for n_channels, image_sizes in sizes.items():
            network = model(name, (n_channels, *image_sizes[0]))
            for size in image_sizes:
                x = torch.empty(2, n_channels, *size)
                for in_training in (True, False):
                    assert network.train(in_training)(x).shape == (2, N_GENRES)
                if name == "googlenet":
                    pairs = network.train().training_logits(x)
                    assert [weight for weight, _ in pairs] == [1.0, 0.3, 0.3]
                    assert {z.shape for _, z in pairs} == {(2, N_GENRES)}


@pytest.mark.parametrize("name", MOSTLY_SMALL)
def test_one_channel_is_three_channels_with_the_same_image_in_each(name: str) -> None:
    one_channel = model(name, (1, *odd(name))).eval()
    three_channels = model(name, (3, *odd(name))).eval()  # the same seed
    x = images(2, 1, *odd(name))
    with torch.no_grad():
        logits, expected = one_channel(x), three_channels(x.expand(2, 3, *odd(name)))
    # A sum over channels before or after the convolution: float32 in another order, relative to
    # the logits' own size.
    torch.testing.assert_close(logits, expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-3)
    assert logits.std() > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_sizes_are_torchvisions_own(name: str) -> None:
    from torchvision import models

    options = {"auxiliary": False} if name == "googlenet" else {}
    own = getattr(models, PUBLISHED[name]).IMAGENET1K_V1.meta["num_params"]
    assert n_parameters(name, (3, 128, 128), 1000, **options) == own
    with torch.device("meta"):
        layer = model(name, (3, 128, 128), 10, **options).get_submodule(LAST[name])
        assert layer.out_features == 10
        first = next(
            m for m in model(name, (3, 64, 64)).modules() if isinstance(m, torch.nn.Conv2d)
        )
    fewer_outputs = 990 * (layer.in_features + 1)
    fewer_channels = 2 * first.weight[:, 0].numel()
    size = n_parameters(name, (1, 128, 128), 10, **options)
    assert size == own - fewer_outputs - fewer_channels


def test_the_note_on_hongs_table_gives_the_networks_sizes() -> None:
    size = {name: n_parameters(name, (3, 224, 224), 1000) for name in ("resnet18", "alexnet")}
    with_heads = n_parameters("googlenet", (3, 224, 224), 1000)
    without = n_parameters("googlenet", (3, 224, 224), 1000, auxiliary=False)
    assert without < size["resnet18"] < with_heads < size["alexnet"]
    note = next(note for note in MODELS["googlenet"].facts.notes if "Hong's Table 1" in note)
    for n in (*size.values(), with_heads, without):
        assert f"{n / 1e6:.1f}" in note


def test_googlenet_gives_plain_logits_and_its_auxiliary_heads_to_training_alone() -> None:
    network = model("googlenet", (1, 33, 37))
    x = images(3, 1, 33, 37)
    assert isinstance(network(x), torch.Tensor)
    (_, main), (_, second), (_, first) = network.training_logits(x)
    for logits, inside, outside in ((first, "aux1", "fc"), (second, "aux2", "aux1")):
        network.zero_grad()
        logits.sum().backward(retain_graph=True)
        layers = {k: getattr(network.network, k) for k in (inside, outside)}
        assert all(p.grad is not None for p in layers[inside].parameters())
        assert all(p.grad is None for p in layers[outside].parameters())
    assert main.shape == (3, N_GENRES)
    (only,) = network.eval().training_logits(x)
    assert only[0] == 1.0
    torch.testing.assert_close(only[1], network(x), atol=0, rtol=0)


def test_googlenet_without_its_auxiliary_heads_has_none_in_its_weights() -> None:
    network = model("googlenet", (1, 33, 37), auxiliary=False)
    assert len(network.training_logits(images(2, 1, 33, 37))) == 1
    assert not [name for name in network.state_dict() if "aux" in name]


def frozen(name: str, shape: tuple[int, ...]) -> Any:
    """A network of which only the last layer is trained, as it is built when weights follow."""
    values = {"trained": "head", "pretrained": True}
    options = MODELS.choose(name, values).options.without_weights()
    return built(name, shape, N_GENRES, options)


@pytest.mark.parametrize("name", MOSTLY_SMALL)
def test_training_the_head_changes_nothing_else(name: str) -> None:
    network = frozen(name, (1, *odd(name))).train()
    head = {f"{LAST[name]}.weight", f"{LAST[name]}.bias"}
    assert {n for n, p in network.named_parameters() if p.requires_grad} == head
    before = {key: value.clone() for key, value in network.state_dict().items()}
    trained = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=0.1, weight_decay=0.1)
    for seed in (1, 2):
        training_loss(network, images(4, 1, *odd(name)) + seed).backward()
        optimiser.step()
    assert {n for n, p in network.named_parameters() if p.grad is not None} == head
    after = network.state_dict()
    assert {key for key in before if not torch.equal(before[key], after[key])} == head


@pytest.mark.parametrize("name", SMALL)
def test_frozen_normalisation_stays_as_in_evaluation_whatever_the_rest_does(name: str) -> None:
    network = frozen(name, (1, 40, 41))
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    for _ in ("as built", "put in training mode"):
        assert not any(m.training for m in norms)
        network.train()
    assert network.get_submodule(LAST[name]).training
    free = model(name, (1, 40, 41)).train()
    assert all(m.training for m in free.modules())


@pytest.mark.parametrize("name", NAMES)
def test_a_head_above_random_weights_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="the last layer alone learns nothing") as caught:
        model(name, (1, 128, 128), trained="head")
    assert "\n" not in str(caught.value)


def test_a_checksum_is_hexadecimal_and_belongs_to_a_file() -> None:
    for options, message in (
        ({"weights_file": "a.pth", "weights_sha256": "12g4"}, "expected 64 hexadecimal digits"),
        ({"weights_sha256": "0" * 64}, "there is no weights_file"),
    ):
        with pytest.raises(UsageError, match=message):
            model("resnet18", (1, 64, 64), **options)


def test_random_weights_of_torch_are_uniform_with_the_spread_of_its_layers() -> None:
    torch.manual_seed(0)
    options = MODELS.choose("resnet18", {"initial": "torch"}).options
    network = built("resnet18", (3, 64, 64), N_GENRES, options)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            n_inputs = module.weight[0].numel()
            bound = n_inputs**-0.5  # uniform within it: a spread of 1 / sqrt(3 m)
            assert module.weight.abs().max() <= bound
            assert module.weight.abs().max() > 0.99 * bound  # of 9 408 weights or more


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "googlenet"])
def test_local_response_normalisation_is_the_papers_in_two_places(name: str) -> None:
    torch.manual_seed(0)
    plain = MODELS.choose(name).thing((3, 65, 65), 7, MODELS.choose(name).options).eval()
    chosen = MODELS.choose(name, {"local_response": True})
    torch.manual_seed(0)
    normalised = chosen.thing((3, 65, 65), 7, chosen.options).eval()
    layers = [m for m in normalised.modules() if isinstance(m, torch.nn.LocalResponseNorm)]
    assert len(layers) == 2
    assert not any(isinstance(m, torch.nn.LocalResponseNorm) for m in plain.modules())
    # The same weights under the same names, so published ones fit.
    assert plain.state_dict().keys() == normalised.state_dict().keys()
    for key, tensor in plain.state_dict().items():
        assert torch.equal(tensor, normalised.state_dict()[key]), key
    maps: list[int] = []
    for layer in layers:
        layer.register_forward_hook(lambda layer, inputs, output: maps.append(output.shape[1]))
    with torch.no_grad():
        normalised(torch.rand(2, 3, 65, 65))
        assert maps == [64, 192]
        # By hand, as AlexNet's paper writes it, of the third of seven filters.
        a = 10 * torch.rand(1, 7, 1, 1)
        expected = a[0, 2] / (2 + 1e-4 * a[0, 0:5].square().sum(0)) ** 0.75
        torch.testing.assert_close(layers[0](a)[0, 2], expected)
