"""Parameters, multiply–adds, receptive fields and outlines of networks, against sums by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from genrecore.models.anatomy import MOST_ROWS, Anatomy, Reach, examine


def examined(make: Callable[[], nn.Module], shape: tuple, *axes: tuple[int, ...]) -> Anatomy:
    with torch.device("meta"):
        network = make()
    return examine(network, shape, axes or ((),))


class Recurrent(nn.Module):
    """The last step of a recurrent layer."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0][:, -1]


@pytest.mark.parametrize(
    ("make", "shape", "expected"),
    [
        (lambda: nn.Linear(7, 11), (7,), 7 * 11),
        (lambda: nn.Linear(7, 11), (5, 7), 5 * 7 * 11),
        (lambda: nn.Conv2d(2, 5, 3), (2, 9, 11), 2 * 5 * 3 * 3 * (7 * 9)),
        (lambda: nn.Conv2d(2, 5, (3, 1), stride=(2, 3), padding=1), (2, 9, 11),
         2 * 5 * 3 * (5 * 5)),
        (lambda: nn.Conv1d(4, 6, 5, groups=2), (4, 23), 4 * 6 * 5 * 19 // 2),
        (lambda: Recurrent(nn.GRU(7, 11, batch_first=True)), (9, 7), 9 * 3 * 11 * (7 + 11)),
        (lambda: Recurrent(nn.LSTM(7, 11, batch_first=True)), (9, 7), 9 * 4 * 11 * (7 + 11)),
        # In the second layer both directions come in.
        (lambda: Recurrent(nn.LSTM(7, 11, 2, batch_first=True, bidirectional=True)), (9, 7),
         9 * 2 * 4 * 11 * ((7 + 11) + (22 + 11))),
    ],
    ids=["linear", "linear_of_steps", "conv2d", "conv2d_strided", "conv1d_groups", "gru", "lstm",
         "lstm_deep"],
)  # fmt: skip
def test_multiply_adds_are_those_counted_by_hand(
    make: Callable[[], nn.Module], shape: tuple[int, ...], expected: int
) -> None:
    assert examined(make, shape).n_multiply_adds == expected


def test_multiply_adds_agree_with_torchs_own_counter() -> None:
    def make() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 4, 5, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1),
            nn.AdaptiveAvgPool2d((2, 1)), nn.Flatten(), nn.Linear(12, 7),
        )  # fmt: skip

    with FlopCounterMode(display=False) as counter:
        make()(torch.zeros(1, 1, 33, 41))
    assert 2 * examined(make, (1, 33, 41)).n_multiply_adds == counter.get_total_flops()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_cost_what_their_steps_cost_one_by_one(kind: type[nn.RNNBase]) -> None:
    def make() -> nn.Module:
        return Recurrent(kind(7, 11, 3, batch_first=True, bidirectional=True))

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = make()
        # On this device the layer falls apart into matrix products.
        output_shape = network(torch.empty(1, 9, 7)).shape[1:]
    anatomy = examined(make, (9, 7))
    assert 2 * anatomy.n_multiply_adds == counter.get_total_flops() > 0
    assert anatomy.layers[0].shape == (9, *output_shape)


def test_recurrent_layers_run_unchanged_afterwards() -> None:
    network = Recurrent(nn.GRU(7, 11, batch_first=True))
    x = torch.randn(2, 9, 7, generator=torch.Generator().manual_seed(3))
    before = network(x)
    anatomy = examine(network.to("meta"), (9, 7), ((0,),))
    assert anatomy.is_recurrent
    assert "forward" not in vars(network.layer)
    assert before.shape == (2, 11)


def test_parameters_trainable_ones_and_bytes_are_counted() -> None:
    def make() -> nn.Module:
        network = nn.Sequential(nn.Linear(7, 11), nn.BatchNorm1d(11), nn.Linear(11, 3))
        network[0].requires_grad_(False)
        return network

    anatomy = examined(make, (7,))
    assert anatomy.n_parameters == (7 * 11 + 11) + 2 * 11 + (11 * 3 + 3)
    assert anatomy.n_trainable == anatomy.n_parameters - (7 * 11 + 11)
    # Besides, batch normalisation keeps a mean and a variance, and counts batches in 64 bits.
    assert anatomy.n_bytes == 4 * (anatomy.n_parameters + 2 * 11) + 8


class Residual(nn.Module):
    """Two convolutions beside a shortcut, as in a ResNet."""

    def __init__(self) -> None:
        super().__init__()
        self.long = nn.Sequential(
            nn.Conv2d(1, 1, 3, 2, 1), nn.ReLU(inplace=True), nn.Conv2d(1, 1, 3, padding=1)
        )
        self.short = nn.Conv2d(1, 1, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.long(x) + self.short(x))


class Branches(nn.Module):
    """Three branches side by side, as in an Inception module."""

    def __init__(self) -> None:
        super().__init__()
        self.small = nn.Conv2d(1, 1, 1)
        self.large = nn.Conv2d(1, 1, (5, 3), padding=(2, 1))
        self.pooled = nn.MaxPool2d(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.small(x), self.large(x), self.pooled(x)], dim=1)


STACKS: dict[str, Callable[[], nn.Module]] = {
    "two_pool_one": lambda: nn.Sequential(
        nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3), nn.MaxPool2d(2), nn.Conv2d(1, 1, 3)
    ),
    "dilated": lambda: nn.Sequential(
        nn.Conv2d(1, 1, (3, 5), dilation=(2, 1)),
        nn.BatchNorm2d(1),
        nn.ReLU(),
        nn.Conv2d(1, 1, (1, 4), (1, 3)),
        nn.Conv2d(1, 1, 2),
    ),
    "residual": lambda: nn.Sequential(Residual(), nn.AvgPool2d(3, 2), nn.Conv2d(1, 1, 3)),
    "branches": lambda: nn.Sequential(
        nn.Conv2d(1, 1, 3, 2), Branches(), nn.Conv2d(3, 3, 3, groups=3), nn.Conv2d(3, 1, 1)
    ),
}


def field_by_gradients(network: nn.Module, size: int) -> tuple[int, int]:
    """What the middle unit sees, from the gradient of its linearised, positive network."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                pool = nn.AvgPool2d(child.kernel_size, child.stride, child.padding)
                setattr(module, name, pool)
    for parameter in network.parameters():
        nn.init.ones_(parameter)
    x = torch.ones(1, 1, size, size, requires_grad=True)
    y = network.double().eval()(x.double())
    y[0, :, y.shape[2] // 2, y.shape[3] // 2].sum().backward()
    assert x.grad is not None
    rows, columns = (x.grad[0, 0].sum(dim=k).nonzero() for k in (1, 0))
    assert min(rows.min(), columns.min()) > 0  # no edge cuts it off
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


@pytest.mark.parametrize("name", list(STACKS))
def test_receptive_fields_by_rule_are_those_of_the_gradients(name: str) -> None:
    reaches = examined(STACKS[name], (1, 60, 60), (1, 2)).reaches
    assert (reaches[0].size, reaches[1].size) == field_by_gradients(STACKS[name](), 60)


def test_receptive_field_of_two_convolutions_a_pooling_and_a_third() -> None:
    # 1 + 2 + 2 = 5; the pooling adds 1 and doubles the step; the third adds 2 steps of 2: 10
    assert examined(STACKS["two_pool_one"], (1, 40, 41), (1, 2)).reaches == (
        Reach((0, 1), 10, 2, False),
        Reach((0, 2), 10, 2, False),
    )


def test_receptive_fields_of_known_networks() -> None:
    from torchvision import models

    # conv 7/2: 7; pool 3/2: 11, step 4; four convolutions: + 4·2·4; then in each stage the first
    # of step 2 adds 2 old steps and three add 2 new ones: 43 + 8 + 48 + 16 + 96 + 32 + 192
    sizes = {"alexnet": 163, "vgg16": 196, "resnet18": 435}
    for name, size in sizes.items():
        reaches = examined(getattr(models, name), (3, 224, 224), (1, 2)).reaches
        assert [reach.size for reach in reaches] == [size, size]


class Recurring(nn.Module):
    """Convolutions, a recurrent layer over the frames, and one more convolution over its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.images = nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d((4, 2)))
        self.steps = nn.GRU(4 * 7, 5, batch_first=True)
        self.after = nn.Conv1d(5, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.images(x).permute(0, 3, 1, 2).flatten(2)
        return self.after(self.steps(y)[0].transpose(1, 2)).mean(2)


def test_a_recurrent_layer_is_noted_and_convolutions_keep_their_receptive_fields() -> None:
    anatomy = examined(Recurring, (1, 32, 40), (1, 2))
    assert anatomy.is_recurrent
    assert [reach.size for reach in anatomy.reaches] == [3, 3]


class Gated(nn.Module):
    """A convolution after a gate that averages over everything, as in squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.gate, self.last = (nn.Conv2d(1, 1, k) for k in (3, 1, 3))

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.last(y * torch.sigmoid(self.gate(y.mean((2, 3), keepdim=True))))


def test_a_gate_over_everything_is_noted_beside_the_local_field() -> None:
    assert examined(Gated, (1, 20, 30), (1, 2)).reaches == (
        Reach((0, 1), 5, 1, True),
        Reach((0, 2), 5, 1, True),
    )


class OverTime(nn.Module):
    """Bins as channels, convolutions over the frames alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(32, 4, 3), nn.MaxPool1d(2), nn.Conv1d(4, 4, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.squeeze(1)).amax(2)


def test_a_field_covers_all_bins_that_are_channels() -> None:
    bins, frames = examined(OverTime, (1, 32, 40), (1, 2)).reaches
    assert (bins.size, bins.everything) == (None, True)
    assert (frames.size, frames.everything) == (8, False)


def test_windows_times_a_matrix_see_what_the_same_convolution_sees() -> None:
    class Cut(nn.Module):
        """Whatever has a kernel size and a stride is taken for a window."""

        kernel_size, stride = 6, 3

        def forward(self, x: Tensor) -> Tensor:
            return x.unfold(2, 6, 3).transpose(1, 2).flatten(2)

    class Windows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cut = Cut()
            self.weights, self.after = nn.Linear(2 * 6, 5), nn.Conv1d(5, 3, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.after(self.weights(self.cut(x)).transpose(1, 2)).mean(2)

    def convolutions() -> nn.Module:
        return nn.Sequential(nn.Conv1d(2, 5, 6, 3), nn.Conv1d(5, 3, 4))

    assert (
        examined(Windows, (2, 50), (1,)).reaches == examined(convolutions, (2, 50), (1,)).reaches
        == (Reach((0, 1), 6 + 3 * 3, 3, False),)
    )  # fmt: skip


def test_each_input_of_a_pair_has_its_own_receptive_field() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wave, self.image = nn.Conv1d(1, 2, 8, 4), nn.Conv1d(6, 2, 2)
            self.after = nn.Conv1d(4, 3, 3)

        def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
            image = self.image(pair[1].flatten(1, 2))
            maps = torch.cat([self.wave(pair[0]), image], dim=1)
            return self.after(maps).mean(2)

    anatomy = examined(Pair, ((1, 48), (1, 6, 12)), (1,), (1, 2))
    assert {reach.axis: reach.size for reach in anatomy.reaches} == {
        (0, 1): 8 + 2 * 4,
        (1, 1): None,
        (1, 2): 2 + 2,
    }
    assert anatomy.n_parameters == (8 * 2 + 2) + (6 * 2 * 2 + 2) + (4 * 3 * 3 + 3)


def test_a_network_without_convolutions_has_no_receptive_field() -> None:
    assert examined(lambda: nn.Linear(7, 3), (7,)).reaches == ()


def test_the_outline_opens_what_fits_and_sums_up() -> None:
    class Block(nn.Module):
        def __init__(self, n: int) -> None:
            super().__init__()
            self.a, self.b, self.own = nn.Linear(n, n), nn.Linear(n, n), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.own(self.a(x)))

    class Network(nn.Module):
        def __init__(self, n_blocks: int) -> None:
            super().__init__()
            self.idle = nn.Linear(7, 7)
            self.blocks = nn.Sequential(*(Block(7) for _ in range(n_blocks)))
            self.last = nn.Linear(7, 3)
            self.scale = nn.Parameter(torch.ones(5))

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.blocks(x)) * self.scale[0]

    for n_blocks, n_rows in ((3, 3 * 2 + 3), (15, 15 + 3)):
        anatomy = examined(lambda n=n_blocks: Network(n), (7,))
        assert len(anatomy.layers) == n_rows <= MOST_ROWS
        assert sum(row.n_parameters for row in anatomy.layers) == anatomy.n_parameters
        *rows, last, idle, own = anatomy.layers
        assert rows[0].name.startswith("blocks.0")
        assert (last.what, last.shape) == ("Dense, 7 to 3", (3,))
        assert (idle.name, idle.shape) == ("idle", ())  # takes no part in a prediction
        assert (own.what, own.n_parameters) == ("Numbers of its own", 5)


def test_a_wrapper_around_the_whole_network_is_not_named_in_every_row() -> None:
    def make() -> nn.Module:
        wrapped = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3))
        return nn.Sequential(wrapped)

    assert [row.name for row in examined(make, (7,)).layers] == ["0", "2"]


def test_the_outline_says_shapes_and_layers_in_words() -> None:
    def make() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(8, 8, (3, 1), groups=8), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(8, 5),
        )  # fmt: skip

    assert [(row.what, row.shape) for row in examined(make, (3, 33, 41)).layers] == [
        ("Convolution 3 × 3, 8 filters, step 2", (8, 17, 21)),
        ("Batch normalisation", (8, 17, 21)),
        ("Max pooling 3 × 3, step 2", (8, 8, 10)),
        ("Convolution 3 × 1, 8 filters, each channel alone", (8, 6, 10)),
        ("Average pooling to 1 × 1", (8, 1, 1)),
        ("Dense, 8 to 5", (5,)),
    ]
    (row,) = examined(
        lambda: Recurrent(nn.LSTM(7, 11, 2, batch_first=True, bidirectional=True)), (9, 7)
    ).layers
    assert (row.what, row.shape) == ("LSTM, 11 units, 2 layers, both directions", (9, 22))
