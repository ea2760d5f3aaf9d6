"""Liu's four networks: sizes, routes, steps of time, and what their options change."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genrecore.errors import UsageError
from genrecore.models import MODELS
from genrecore.models.dcnn import Routes

NAMES = ("cnn", "dcnn", "crnn", "dcrnn")
RECURRENT = ("crnn", "dcrnn")
SMALL = {"width": 8, "hidden": 16, "dropout": 0.0}


def model(
    name: str, shape: tuple[int, ...] = (1, 32, 32), n_genres: int = 7, **options: Any
) -> Any:
    torch.manual_seed(7)
    return MODELS[name].thing(shape, n_genres, MODELS.choose(name, options).options)


def small(
    name: str, shape: tuple[int, ...] = (1, 32, 32), n_genres: int = 7, **options: Any
) -> Any:
    fields = MODELS[name].options.model_fields
    chosen = {key: value for key, value in SMALL.items() if key in fields}
    return model(name, shape, n_genres, **(chosen | options))


def random(*shape: int, seed: int = 7) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def n_parameters(name: str, shape: tuple[int, ...] = (1, 128, 128), **options: Any) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in model(name, shape, 8, **options).parameters())


def steps_of(network: Any, image: Tensor) -> int:
    """How many steps the recurrent layer goes through."""
    sequences: list[Tensor] = []
    hook = network.recurrent.register_forward_hook(
        lambda _, inputs, __: sequences.append(inputs[0])
    )
    with torch.no_grad():
        network(image)
    hook.remove()
    return sequences[0].shape[1]


# Sizes


def test_the_base_cnns_weights_keep_their_names_and_shapes() -> None:
    """Old runs' weights are loaded by these."""
    network = model("cnn", (1, 128, 128), 8)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    expected: dict[str, tuple[int, ...]] = {
        "0.weight": (24, 1, 7, 7),
        "4.weight": (48, 24, 5, 5),
        "8.weight": (96, 48, 3, 3),
        "12.weight": (192, 96, 3, 3),
        "18.weight": (64, 768),
        "18.bias": (64,),
        "21.weight": (8, 64),
        "21.bias": (8,),
    }
    for index, width in ((1, 24), (5, 48), (9, 96), (13, 192)):
        for part in ("weight", "bias", "running_mean", "running_var"):
            expected[f"{index}.{part}"] = (width,)
        expected[f"{index}.num_batches_tracked"] = ()
    assert shapes == expected


def test_networks_that_are_compared_are_of_one_size() -> None:
    # The study prints none for the duplicated networks; within 10 % nobody wins by size.
    assert n_parameters("dcnn") == pytest.approx(n_parameters("cnn"), rel=0.1)
    assert n_parameters("dcrnn") == pytest.approx(n_parameters("crnn"), rel=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_any_resolution_fits_and_needs_no_other_parameters(name: str) -> None:
    shapes = [(1, 32, 32), (1, 33, 47), (1, 128, 1293), (1, 1025, 65), (1, 39, 131)]
    with torch.device("meta"):
        for shape in shapes:
            assert model(name, shape)(torch.empty(2, *shape)).shape == (2, 7)
    assert len({n_parameters(name, shape) for shape in shapes}) == 1


@pytest.mark.parametrize("name", NAMES)
def test_one_image_alone_can_be_trained_on(name: str) -> None:
    """Batch normalisation of a single value would have no spread to divide by."""
    for shape in ((1, 32, 32), (1, 41, 39)):
        network = small(name, shape)
        nn.functional.cross_entropy(network(random(1, *shape)), torch.tensor([3])).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


# What options change


def n_convolutions(part: nn.Module) -> int:
    """Those whose filters cover more than one pixel, without those that pool."""
    convolutions = [layer for layer in part.modules() if isinstance(layer, nn.Conv2d)]
    return sum(layer.kernel_size[0] in (3, 5, 7) for layer in convolutions)


@pytest.mark.parametrize("name", ["cnn", "crnn"])
@pytest.mark.parametrize("depth", [2, 3, 4, 5, 8])
def test_depth_is_the_number_of_convolutions(name: str, depth: int) -> None:
    network = small(name, (1, 33, 35), depth=depth)
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == depth
    widths = [layer.out_channels for layer in convolutions]
    kernels = [layer.kernel_size[0] for layer in convolutions]
    assert widths == sorted(widths)
    assert kernels == sorted(kernels, reverse=True)
    assert network(random(2, 1, 33, 35)).shape == (2, 7)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 6])
def test_depth_of_routes_is_the_number_of_convolutions_of_the_longest(depth: int) -> None:
    network = small("dcnn", depth=depth)
    routes = network[0]
    counts = {name: n_convolutions(route) for name, route in routes.routes.items()}
    assert counts == routes.n_convolutions
    assert max(counts.values()) == counts["max"] == depth
    assert network(random(2, 1, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize("name", NAMES)
def test_twice_the_width_is_twice_the_filters_of_every_convolution(name: str) -> None:
    filters = [
        [m.out_channels for m in small(name, width=width).modules() if isinstance(m, nn.Conv2d)]
        for width in (8, 16)
    ]
    assert [2 * n for n in filters[0]] == filters[1]


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.parametrize("frames", [2, 4, 8, 16])
@pytest.mark.parametrize("n_frames", [32, 67])
def test_the_recurrent_layer_goes_through_as_many_steps_as_asked_for(
    name: str, frames: int, n_frames: int
) -> None:
    network = small(name, (1, 32, n_frames), frames_per_step=frames)
    # The first convolution rounds 67 frames up to 34 pairs; the poolings round down.
    expected = {32: 32 // frames, 67: 34 // (frames // 2)}[n_frames]
    assert steps_of(network, random(2, 1, 32, n_frames)) == expected


def test_few_convolutions_pool_as_many_frames_to_a_step() -> None:
    network = small("crnn", (1, 32, 67), frames_per_step=16, depth=2)
    assert steps_of(network, random(2, 1, 32, 67)) == 4


@pytest.mark.parametrize("name", RECURRENT)
def test_layers_and_directions_of_the_recurrent_layer(name: str) -> None:
    network = small(name, hidden=16, n_layers=2, bidirectional=True)
    assert network.recurrent.num_layers == 2
    assert network.output.in_features == 32
    nn.functional.cross_entropy(network(random(2, 1, 32, 32)), torch.tensor([1, 4])).backward()
    for label, parameter in network.named_parameters():
        assert parameter.grad.abs().sum() > 0, label


def test_a_number_of_frames_that_cannot_be_pooled_is_refused_in_one_sentence() -> None:
    with pytest.raises(UsageError, match="frames_per_step") as caught:
        model("crnn", frames_per_step=3)
    assert "\n" not in str(caught.value)


# Routes


def routes_of(name: str) -> Routes:
    return next(module for module in small(name).modules() if isinstance(module, Routes)).eval()


@pytest.mark.parametrize("name", ["dcnn", "dcrnn"])
def test_every_route_pools_in_its_own_way(name: str) -> None:
    routes = routes_of(name).routes
    kinds = {
        label: {type(layer) for layer in route.modules() if "Pool" in type(layer).__name__}
        for label, route in routes.items()
    }
    assert kinds["max"] == {nn.MaxPool2d, nn.AdaptiveMaxPool2d}
    assert kinds["average"] == {nn.AvgPool2d, nn.AdaptiveAvgPool2d}
    assert kinds["convolution"] == {nn.AdaptiveAvgPool2d}
    assert (
        sum(layer.stride[0] == 2 for layer in routes["convolution"] if hasattr(layer, "stride"))
        == 3
    )
    assert [n_convolutions(routes[k]) for k in ("max", "convolution", "average", "dense")] == [
        3,
        2,
        1,
        0,
    ]


@pytest.mark.parametrize("name", ["dcnn", "dcrnn"])
def test_routes_are_concatenated_and_differ_from_each_other(name: str) -> None:
    routes = routes_of(name)
    image = random(3, 1, 32, 32)
    with torch.no_grad():
        together = routes(image)
        first = routes.first(image)
        alone = [route(first) for route in routes.routes.values()]
    torch.testing.assert_close(torch.cat(alone, dim=1), together, atol=0, rtol=0)
    assert together.shape[1:3] == (routes.n_filters, 4)
    for a, b in itertools.combinations(alone, 2):
        n = min(a.shape[1], b.shape[1])
        assert not torch.allclose(a[:, :n], b[:, :n], atol=1e-3)


def test_the_dense_route_knows_all_bands_at_each_step() -> None:
    routes = routes_of("dcrnn")
    image = random(1, 1, 32, 32)
    changed = image.clone()
    changed[:, :, 30:] += 1.0  # the highest bands
    with torch.no_grad():
        before, after = (routes.routes["dense"](routes.first(x)) for x in (image, changed))
    # Its lowest band of four is not the lowest of the image: it has seen the highest, too.
    assert (before - after)[:, :, 0].abs().max() > 1e-3


# Order in time


def moving(n: int, seed: int, size: int = 32) -> tuple[Tensor, Tensor]:
    """Images (n, 1, size, size) of a tone that goes up, down, or to and fro, and which it is.

    It goes around: where it starts is drawn, so that bands alone tell nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    genre, frame = torch.arange(n) % 3, torch.arange(size)
    x = 0.3 * torch.randn(n, 1, size, size, generator=generator)
    start = torch.randint(size, (n,), generator=generator)
    for k in range(n):
        way = (frame, -frame, frame * (1 - 2 * (frame // 8 % 2)))[int(genre[k])]
        x[k, 0, (start[k] + way) % size, frame] += 3.0
    return x, genre


def trained(network: nn.Module, x: Tensor, genre: Tensor, n_steps: int, lr: float) -> nn.Module:
    optimiser = torch.optim.Adam(network.parameters(), lr)
    for _ in range(n_steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(x), genre).backward()
        optimiser.step()
    return network.eval()


@pytest.mark.parametrize(
    "name", [n if n == "crnn" else pytest.param(n, marks=pytest.mark.long) for n in RECURRENT]
)
def test_recurrent_networks_learn_whether_a_tone_rises_or_falls(name: str) -> None:
    network = trained(small(name, n_genres=3), *moving(72, seed=1), n_steps=40, lr=3e-3)
    x, genre = moving(48, seed=2)
    with torch.no_grad():
        accuracy = (network(x).argmax(dim=1) == genre).float().mean()
        accuracy_backwards = (network(x.flip(3)).argmax(dim=1) == genre)[genre < 2].float().mean()
    assert accuracy > 0.9
    assert accuracy_backwards < 0.1  # backwards in time, what rose falls


@pytest.mark.parametrize("name", RECURRENT)
def test_shuffled_frames_give_other_logits(name: str) -> None:
    network = small(name, (1, 32, 64)).eval()
    image = random(2, 1, 32, 64)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        assert (network(image) - network(image[..., order])).abs().max() > 1e-3


def test_the_duplicated_cnn_learns_which_band_is_lit() -> None:
    genre = torch.arange(24) % 3
    x = 0.3 * random(48, 1, 32, 32)
    for i in range(48):
        x[i, 0, 10 * int(genre[i % 24]) + 2 : 10 * int(genre[i % 24]) + 8] += 1.0
    network = trained(small("dcnn", n_genres=3), x[:24], genre, n_steps=25, lr=3e-3)
    with torch.no_grad():
        assert (network(x[24:]).argmax(dim=1) == genre).float().mean() > 0.9


# The arithmetic that training uses where the processor has it


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_and_channels_last_give_nearly_the_same(name: str) -> None:
    network = small(name, (2, 40, 51))
    batch, genre = random(4, 2, 40, 51), torch.tensor([0, 3, 6, 2])
    nn.functional.cross_entropy(network(batch), genre).backward()
    exact = {label: p.grad.clone() for label, p in network.named_parameters()}
    network.zero_grad()
    network = network.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(batch.to(memory_format=torch.channels_last))
    nn.functional.cross_entropy(logits.float(), genre).backward()
    for label, parameter in network.named_parameters():
        along = nn.functional.cosine_similarity(parameter.grad.flatten(), exact[label].flatten(), 0)
        # bfloat16 has 8 bits, so that max pooling takes a neighbour now and then; a gradient that
        # was wrong would point anywhere.
        assert along > 0.7, label
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert network.eval()(batch).isfinite().all()
