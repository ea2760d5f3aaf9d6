"""Liu's four networks against the study's Figure 1."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from genrecore.errors import GenrecoreError
from genrecore.models import MODELS

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
PARAMETERS = {"liu_cnn": 326_752, "liu_crnn": 1_008_544}


def build(name: str, shape: tuple[int, ...] = SHAPE) -> nn.Module:
    torch.manual_seed(7)
    return MODELS[name].thing(shape, 8, MODELS.choose(name, {}).options)


def of_kind(network: nn.Module, *kinds: type[nn.Module]) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, kinds)]


@pytest.mark.parametrize("name", KERNELS)
def test_layers_are_those_of_the_figure(name: str) -> None:
    with torch.device("meta"):
        network = build(name)
        shapes: list[tuple[int, ...]] = []
        for pooling in of_kind(network, nn.MaxPool2d, nn.AvgPool2d):
            pooling.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
        assert network(torch.empty(2, *SHAPE)).shape == (2, 8)
    convolutions = of_kind(network, nn.Conv2d)
    assert [(c.out_channels, c.kernel_size[0]) for c in convolutions] == KERNELS[name]
    assert [layer.out_features for layer in of_kind(network, nn.Linear)] == DENSE[name]
    assert [layer.p for layer in of_kind(network, nn.Dropout)] == DROPOUT[name]
    assert shapes == POOLINGS[name]
    for gru in of_kind(network, nn.GRU):
        assert (gru.num_layers, gru.hidden_size, gru.dropout) == (2, 296, 0.5)
    assert len(of_kind(network, nn.GRU)) == (name in ("liu_crnn", "liu_dcrnn"))
    if name in PARAMETERS:
        assert sum(p.numel() for p in network.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", KERNELS)
def test_the_loss_is_finite_and_its_gradient_reaches_every_parameter(name: str) -> None:
    least = MODELS[name].facts.least
    network = build(name, least)
    images = torch.randn(16, *least, generator=torch.Generator().manual_seed(7))
    loss = cross_entropy(network(images), torch.arange(16) % 8)
    loss.backward()
    assert torch.isfinite(loss)
    for parameter, tensor in network.named_parameters():
        assert tensor.grad is not None, parameter
        assert torch.isfinite(tensor.grad).all(), parameter
    with pytest.raises(GenrecoreError, match=f"at least {least[1]} bins"):
        build(name, (1, least[1] - 1, least[2]))
