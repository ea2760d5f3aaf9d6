"""Liu's four networks against the study's Figure 1."""

from __future__ import annotations

from typing import Any, TypeVar

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from genrecore.config.run import Training
from genrecore.errors import GenrecoreError
from genrecore.experiments import papers
from genrecore.models import MODELS
from genrecore.training.optimisation import optimiser

Layer = TypeVar("Layer", bound=nn.Module)
SHAPE = (3, 128, 128)
KERNELS = {
    "liu_cnn": [(4, 11), (8, 7), (16, 3)],
    "liu_dcnn": [(4, 11), (4, 7), (8, 5), (8, 5)],
    "liu_crnn": [(4, 11), (8, 7), (16, 3), (32, 3)],
    "liu_dcrnn": [(4, 11), (4, 7), (8, 5), (8, 5)],
}
DENSE = {
    "liu_cnn": [128, 128, 64, 32, 16, 8],
    "liu_dcnn": [128, 8],
    "liu_crnn": [128, 128, 64, 32, 16, 8],
    "liu_dcrnn": [64, 32, 8],
}
DROPOUT = {
    "liu_cnn": [0.5, 0.5, 0.5, 0.5],
    "liu_dcnn": [0.2, 0.3],
    "liu_crnn": [0.5, 0.5, 0.5, 0.5, 0.5],
    "liu_dcrnn": [0.2, 0.5, 0.2],
}
POOLINGS = {
    "liu_cnn": [(4, 59, 59), (8, 26, 26), (16, 12, 12)],
    "liu_dcnn": [(4, 64, 64), (4, 64, 64), (8, 64, 64), (8, 64, 64)],
    "liu_crnn": [(4, 59, 59), (8, 26, 26), (16, 12, 12), (32, 5, 5)],
    "liu_dcrnn": [(4, 64, 64), (4, 64, 64), (8, 64, 64), (8, 64, 64)],
}
STEPS = {"liu_crnn": (5, 160), "liu_dcrnn": (64, 1536)}  # of the GRUs, and numbers of a step


def build(name: str, shape: tuple[int, ...] = SHAPE, n_genres: int = 8, **options: Any) -> Any:
    torch.manual_seed(7)
    return MODELS[name].thing(shape, n_genres, MODELS.choose(name, options).options)


def n_parameters(name: str, **options: Any) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build(name, **options).parameters())


def of_kind(network: nn.Module, kind: type[Layer]) -> list[Layer]:
    return [module for module in network.modules() if isinstance(module, kind)]


@pytest.mark.parametrize("name", KERNELS)
def test_layers_are_those_of_the_figure(name: str) -> None:
    with torch.device("meta"):
        network = build(name)
        shapes: list[tuple[int, ...]] = []
        for layer in network.modules():
            if isinstance(layer, (nn.MaxPool2d, nn.AvgPool2d)):
                layer.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
        assert network(torch.empty(2, *SHAPE)).shape == (2, 8)
    convolutions = of_kind(network, nn.Conv2d)
    assert [(c.out_channels, c.kernel_size[0]) for c in convolutions] == KERNELS[name]
    assert {c.stride for c in convolutions} == {(1, 1)}
    assert convolutions[0].in_channels == 3
    assert [layer.out_features for layer in of_kind(network, nn.Linear)] == DENSE[name]
    assert [layer.p for layer in of_kind(network, nn.Dropout)] == DROPOUT[name]
    assert shapes == POOLINGS[name]
    kinds = [type(layer) for layer in network.modules() if "Pool" in type(layer).__name__]
    in_routes = [nn.MaxPool2d, nn.AvgPool2d, nn.MaxPool2d, nn.AvgPool2d]
    assert kinds == (
        in_routes if name in ("liu_dcnn", "liu_dcrnn") else [nn.MaxPool2d] * len(kinds)
    )
    grus = of_kind(network, nn.GRU)
    assert len(grus) == len(of_kind(network, nn.BatchNorm2d)) == (name in STEPS)
    for gru in grus:
        assert (gru.num_layers, gru.hidden_size, gru.dropout) == (2, 296, 0.5)
        assert gru.input_size == STEPS[name][1]


def test_numbers_of_parameters_are_those_of_the_text_where_it_prints_them() -> None:
    # "~300,000" and "~1,000,000", both of one digit
    assert n_parameters("liu_cnn") == 326_752
    assert n_parameters("liu_cnn", fourth=True, padding=True) == 298_624
    assert n_parameters("liu_cnn", padding=True) == 556_128  # three convolutions need no padding
    assert n_parameters("liu_crnn") == 1_008_608
    assert n_parameters("liu_dcnn") == 12_587_932
    assert n_parameters("liu_dcrnn") == 2_181_324


@pytest.mark.parametrize("name", STEPS)
def test_the_grus_read_the_maps_in_the_order_of_time(name: str) -> None:
    network = build(name).eval()
    sequences: list[torch.Tensor] = []
    network.recurrent.register_forward_hook(lambda _, inputs, __: sequences.append(inputs[0]))
    image = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(7))
    changed = image.clone()
    changed[..., -8:] += 1.0  # the last columns
    with torch.no_grad():
        network(image)
        network(changed)
    before, after = sequences
    assert before.shape[1:] == STEPS[name]
    assert torch.equal(before[:, 0], after[:, 0])
    assert not torch.equal(before[:, -1], after[:, -1])


OTHERS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in KERNELS),
    ("liu_cnn", {"padding": True}),
    ("liu_crnn", {"padding": True, "batch_norm": False}),
    ("liu_dcrnn", {"batch_norm": False}),
]


@pytest.mark.parametrize(("name", "options"), OTHERS)
def test_the_loss_is_finite_and_its_gradient_reaches_every_parameter(
    name: str, options: dict[str, Any]
) -> None:
    least = {"liu_cnn": 16, "liu_crnn": 32}[name] if "padding" in options else (
        MODELS[name].facts.least[1]
    )  # fmt: skip
    network = build(name, (3, least, least), 7, **options)
    images = torch.randn(21, 3, least, least, generator=torch.Generator().manual_seed(7))
    loss = cross_entropy(network(images), torch.arange(21) % 7)
    loss.backward()
    assert torch.isfinite(loss)
    for parameter, tensor in network.named_parameters():
        assert tensor.grad is not None, parameter
        assert torch.isfinite(tensor.grad).all(), parameter
        assert tensor.grad.abs().sum() > 0, parameter
    with pytest.raises(GenrecoreError, match=f"at least {least} bins"):
        build(name, (1, least - 1, least), **options)


def test_a_wider_and_a_higher_image_fit_too() -> None:
    for name in KERNELS:
        with torch.device("meta"):
            assert build(name, (1, 97, 131))(torch.empty(2, 1, 97, 131)).shape == (2, 8)


@pytest.mark.slow
def test_adadelta_with_its_own_factor_learns_like_the_others() -> None:
    images = torch.randn(24, 3, 40, 40, generator=torch.Generator().manual_seed(7))
    genres = torch.arange(24) % 3
    images += 3.0 * torch.randn(3, 1, 40, 40, generator=torch.Generator().manual_seed(8))[genres]

    def fallen(name: str, lr: float) -> float:
        network = build("liu_cnn", (3, 40, 40), 3, map_dropout=0.0, dropout=0.0)
        recipe = Training(optimiser=name, lr=lr, momentum=0.0)
        updates = optimiser(recipe, list(network.parameters()))
        losses = []
        for _ in range(60):
            updates.zero_grad()
            loss = cross_entropy(network(images), genres)
            loss.backward()
            updates.step()
            losses.append(loss.item())
        return losses[-1] / losses[0]

    rates = {row.values["training.optimiser"]: row.values.get("training.lr", 1e-3)
             for row in papers.study("liu").rows if "training.optimiser" in row.values}  # fmt: skip
    assert rates.keys() == {"adadelta", "rmsprop", "sgd"}
    assert fallen("adadelta", rates["adadelta"]) < 0.2
    assert fallen("adadelta", 1e-3) > 0.8  # at Adam's rate it stands still
    assert fallen("adam", 1e-3) < 0.2
    assert fallen("rmsprop", rates["rmsprop"]) < 0.2
