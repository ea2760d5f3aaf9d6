"""The perceptron, the LSTM and the paralleling recurrent CNN: what studies print, order in time."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from genrecore.config.run import RunConfig, with_values
from genrecore.errors import GenrecoreError
from genrecore.features import PRESETS
from genrecore.models import MODELS
from genrecore.models.recurrent import GruLayer, LstmLayer
from genrecore.training.classifier import Classifier
from genrecore.training.parts import ResolvedConfig


def model(name: str, shape: tuple[int, ...], n_genres: int = 7, **options: Any) -> Any:
    torch.manual_seed(7)
    return MODELS[name].thing(shape, n_genres, MODELS.choose(name, options).options)


def random(*shape: int, seed: int = 7) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def n_parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def trained(network: nn.Module, x: Tensor, genre: Tensor, n_steps: int, lr: float) -> nn.Module:
    optimiser = torch.optim.Adam(network.parameters(), lr)
    for _ in range(n_steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(x), genre).backward()
        optimiser.step()
    return network.eval()


def accuracy(network: nn.Module, x: Tensor, genre: Tensor) -> float:
    with torch.no_grad():
        return float((network(x).argmax(dim=1) == genre).float().mean())


# The perceptron


def layers_of(network: nn.Module) -> list[tuple[int, int]]:
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    return [(layer.in_features, layer.out_features) for layer in linear]


def test_the_perceptron_is_qins_by_default() -> None:
    network = model("mlp", (57,), 10)
    assert layers_of(network) == [(57, 64), (64, 128), (128, 10)]
    assert sum(isinstance(layer, nn.LeakyReLU) for layer in network) == 2


@pytest.mark.parametrize("hidden", ["32", "100", "128, 64"])
def test_beltons_perceptrons_are_options(hidden: str) -> None:
    network = model("mlp", (57,), 10, hidden=hidden, activation="relu")
    sizes = [57, *map(int, hidden.split(", ")), 10]
    assert layers_of(network) == list(itertools.pairwise(sizes))
    assert not any(isinstance(layer, nn.LeakyReLU) for layer in network)
    assert f"hidden {hidden}" in " ".join(MODELS["mlp"].facts.notes)


@pytest.mark.parametrize("name", ["mlp", "lstm"])
def test_qins_recipe_puts_the_log_sigmoid_after_the_network(name: str) -> None:
    facts = MODELS[name].facts
    values = {**PRESETS[facts.preset].thing, "model": name, **facts.recipe}
    config = with_values(RunConfig(), values)
    classifier = Classifier(ResolvedConfig(config), ["a", "b", "c"], (57,)).eval()
    features = random(4, *classifier.feature.output_shape)
    with torch.no_grad():
        before = classifier.network(classifier.standardised(features))
        assert (before > 0).any()
        torch.testing.assert_close(classifier.logits(features), nn.functional.logsigmoid(before))


# The LSTM


def test_the_lstm_is_the_one_that_qin_prints() -> None:
    printed = nn.LSTM(57, 128, 3), nn.Linear(128, 10, bias=True)
    assert n_parameters(model("lstm", (9, 57), 10)) == sum(map(n_parameters, printed))
    half = nn.LSTM(57, 64, 3), nn.Linear(64, 10)
    assert n_parameters(model("lstm", (9, 57), 10, hidden=64)) == sum(map(n_parameters, half))


def test_the_lstms_logits_are_of_its_last_layer_at_the_last_step() -> None:
    network = model("lstm", (9, 11), hidden=16).eval()
    x = random(3, 9, 11)
    with torch.no_grad():
        every_step, _ = network.recurrent(x)
        torch.testing.assert_close(network(x), network.output(every_step[:, -1]))


def test_the_last_step_of_the_backward_direction_is_the_first_frame() -> None:
    network = model("lstm", (9, 11), hidden=16, n_layers=2, bidirectional=True).eval()
    x = random(3, 9, 11)
    with torch.no_grad():
        every_step, _ = network.recurrent(x)
        ends = torch.cat([every_step[:, -1, :16], every_step[:, 0, 16:]], dim=1)
        torch.testing.assert_close(network(x), network.output(ends))


def test_the_lstm_reads_an_image_frame_by_frame() -> None:
    of_images, of_sequences = (
        model("lstm", shape, hidden=16).eval() for shape in ((2, 5, 9), (9, 10))
    )
    of_sequences.load_state_dict(of_images.state_dict())
    images = random(3, 2, 5, 9)
    frames = torch.stack([images[..., k].flatten(1) for k in range(9)], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(of_images(images), of_sequences(frames))


@pytest.mark.parametrize("shape", [(1, 57), (1, 13, 1)])
def test_a_single_step_is_refused_in_one_sentence(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        GenrecoreError, match=r"needs at least 2 steps .* the feature makes 1; take"
    ):
        model("lstm", shape)


def test_dropout_of_a_single_layer_works_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = model("lstm", (9, 11), hidden=16, n_layers=1, dropout=0.5)
    x = random(3, 9, 11)
    with torch.no_grad():
        assert not torch.equal(network(x), network(x))
        network.eval()
        assert torch.equal(network(x), network(x))


def courses(n: int, seed: int, n_steps: int = 9) -> tuple[Tensor, Tensor]:
    """Sequences (n, steps, 4) that rise, fall or do either half-way, and which they are.

    All go through the same values, so that only their order tells."""
    generator = torch.Generator().manual_seed(seed)
    genre, up = torch.arange(n) % 3, torch.linspace(-1, 1, n_steps)
    ways = torch.stack([up, up.flip(0), up.roll(n_steps // 2)])
    noise = 0.1 * torch.randn(n, n_steps, 4, generator=generator)
    return ways[genre][:, :, None] + noise, genre


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_lstm_learns_order_in_time(bidirectional: bool) -> None:
    network = model("lstm", (9, 4), 3, hidden=16, n_layers=2, bidirectional=bidirectional)
    network = trained(network, *courses(48, seed=1), n_steps=60, lr=1e-2)
    x, genre = courses(48, seed=2)
    assert accuracy(network, x, genre) > 0.9
    assert accuracy(network, x.flip(1)[genre < 2], genre[genre < 2]) < 0.1


@pytest.mark.parametrize(
    ("kind", "bidirectional", "n_layers"),
    [
        *(("GRU", False, 3), ("LSTM", True, 1)),
        *(pytest.param(*case, marks=pytest.mark.long)
          for case in itertools.product(["GRU", "LSTM"], [False, True], [1, 3])
          if case not in (("GRU", False, 3), ("LSTM", True, 1))),
    ],
)  # fmt: skip
def test_on_shapes_alone_a_recurrent_layer_makes_and_costs_what_torchs_own_does(
    kind: str, bidirectional: bool, n_layers: int
) -> None:
    results = []
    with torch.device("meta"):
        for layer_class in (getattr(nn, kind), {"GRU": GruLayer, "LSTM": LstmLayer}[kind]):
            layer = layer_class(11, 16, n_layers, batch_first=True, bidirectional=bidirectional)
            with FlopCounterMode(display=False) as counter:
                output, last = layer(torch.empty(3, 9, 11))
            (output.sum() + (last[0].sum() if kind == "LSTM" else last.sum())).backward()
            assert all(parameter.grad is not None for parameter in layer.parameters())
            shapes = [tuple(x.shape) for x in (last if kind == "LSTM" else [last])]
            results.append((tuple(output.shape), shapes, counter.get_total_flops()))
    assert results[0] == results[1]
    assert results[0][2] > 0


# The paralleling recurrent CNN


def test_the_branches_give_256_and_128_numbers_for_the_studys_images() -> None:
    with torch.device("meta"):
        network = model("prcnn", (1, 513, 128), 10)
        image = torch.empty(2, 1, 513, 128)
        # The study's own poolings do it; the last one of ours finds nothing left to pool.
        assert network.convolutions[:-2](image).shape == (2, 64, 4, 1)
        assert network.convolutions(image).shape == (2, 256)
        assert network.recurrent(torch.empty(2, 64, 128))[1].shape == (2, 2, 64)
        assert network.output.in_features == 384
    sizes = [layer.kernel_size for layer in network.convolutions if isinstance(layer, nn.MaxPool2d)]
    assert sizes == [(2, 2), (2, 2), (2, 2), (4, 4), (4, 4)]


@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 33, 47), (1, 64, 515), (1, 1025, 65)])
def test_images_of_any_size_leave_four_rows(shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network = model("prcnn", shape)
        image = torch.empty(2, *shape)
        before = network.convolutions[:-2](image)
        assert before.shape[2] >= 4
        assert network.convolutions(image).shape == (2, 256)
        assert network(image).shape == (2, 7)


def test_only_the_recurrent_branch_depends_on_order_in_time() -> None:
    network = model("prcnn", (1, 64, 128)).eval()
    image = random(2, 1, 64, 128)
    swapped = image.roll(64, dims=3)  # the halves, each of whole windows of every pooling
    with torch.no_grad():
        torch.testing.assert_close(network.convolutions(image), network.convolutions(swapped))
        assert (network(image) - network(swapped)).abs().max() > 1e-3


def test_both_branches_contribute_to_the_logits() -> None:
    network = model("prcnn", (1, 32, 32)).eval()
    image, second = random(2, 1, 32, 32), random(2, 1, 32, 32, seed=8)
    with torch.no_grad():
        before = network(image)
        for branch in (network.convolutions, network.embedding):
            hook = branch.register_forward_hook(lambda _, __, output: torch.zeros_like(output))
            assert (network(image) - before).abs().max() > 1e-3
            hook.remove()
        assert (network(second) - before).abs().max() > 1e-3


@pytest.mark.parametrize("batch_norm", [True, pytest.param(False, marks=pytest.mark.long)])
def test_the_paralleling_network_learns_order_in_time(batch_norm: bool) -> None:
    def images(n: int, seed: int) -> tuple[Tensor, Tensor]:
        sequences, genre = courses(n, seed, n_steps=32)
        band = ((sequences[:, :, 0] + 1) * 15).long().clamp(0, 31)
        image = 0.3 * random(n, 1, 32, 32, seed=seed)
        return image + 3.0 * nn.functional.one_hot(band, 32).mT[:, None], genre

    network = model("prcnn", (1, 32, 32), 3, width=8, hidden=16, batch_norm=batch_norm)
    network = trained(network, *images(48, seed=1), n_steps=40, lr=5e-3)
    x, genre = images(48, seed=2)
    assert accuracy(network, x, genre) > 0.9


@pytest.mark.parametrize("batch_norm", [True, False])
def test_one_image_alone_can_be_trained_on(batch_norm: bool) -> None:
    network = model("prcnn", (1, 32, 32), batch_norm=batch_norm)
    nn.functional.cross_entropy(network(random(1, 1, 32, 32)), torch.tensor([3])).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


# The arithmetic that training uses where the processor has it


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("lstm", (9, 11), {"hidden": 16}),
        ("lstm", (1, 13, 20), {"hidden": 16, "bidirectional": True}),
        ("prcnn", (1, 40, 51), {"width": 8, "hidden": 16}),
        ("mlp", (57,), {}),
    ],
)
def test_bfloat16_and_channels_last_give_nearly_the_same(
    name: str, shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    network = model(name, shape, **options)
    batch, genre = random(4, *shape), torch.tensor([0, 3, 6, 2])
    nn.functional.cross_entropy(network(batch), genre).backward()
    exact = {label: p.grad.clone() for label, p in network.named_parameters()}
    network.zero_grad()
    network = network.to(memory_format=torch.channels_last)
    inputs = batch.to(memory_format=torch.channels_last) if batch.ndim == 4 else batch
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(inputs)
    nn.functional.cross_entropy(logits.float(), genre).backward()
    for label, parameter in network.named_parameters():
        along = nn.functional.cosine_similarity(parameter.grad.flatten(), exact[label].flatten(), 0)
        # bfloat16 has 8 bits, so that max pooling takes a neighbour now and then; a gradient that
        # was wrong would point anywhere.
        assert along > 0.7, label
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert network.eval()(batch).isfinite().all()
