"""What a network is made of, found out by running it once on shapes: sizes, costs, layers.

Everything here runs on torch's meta device, which holds shapes and no numbers, so that VGG16 takes
milliseconds.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from genrecore.models.receptive import Reach, ReceptiveFields

Shape = tuple[int, ...]

MOST_ROWS = 25
"""Of the outline: what a person takes in at a glance."""


@dataclass(frozen=True)
class Layer:
    """A row of a network's outline.

    Attributes:
        name: Where in the network it stands.
        what: What it is, in words.
        shape: What comes out, without the batch; empty where it takes no part in a verdict.
        n_parameters: Trainable or not.
    """

    name: str
    what: str
    shape: Shape
    n_parameters: int


@dataclass(frozen=True)
class Anatomy:
    """What a network is made of.

    Attributes:
        n_parameters: Numbers that are learned, those that are frozen included.
        n_trainable: Without the frozen ones.
        n_multiply_adds: Of the verdict on one example, in convolutions and matrix products (dense
            and recurrent layers, attention); biases, normalisation, activations and pooling, one
            or two per cent more, are not counted.
        n_bytes: Of its parameters and buffers in a file, as they are (float32).
        layers: `MOST_ROWS` at most where the network can be told in so many.
        reaches: What its farthest-seeing convolutions see of each axis of the input.
        is_recurrent: Whether a layer goes from step to step.
    """

    n_parameters: int
    n_trainable: int
    n_multiply_adds: int
    n_bytes: int
    layers: tuple[Layer, ...]
    reaches: tuple[Reach, ...]
    is_recurrent: bool


def examine(network: nn.Module, shape: Any, axes: Sequence[Sequence[int]]) -> Anatomy:
    """What a network on the meta device is made of.

    Args:
        network: Maps (batch, *shape) to logits; of a pair of shapes, a pair of such inputs.
        shape: Of one example, or a pair of shapes.
        axes: For each input the dimensions of its shape along which receptive fields are told.
    """
    network.eval()
    is_pair = isinstance(shape[0], tuple)
    inputs = tuple(torch.empty(1, *one, device="meta") for one in (shape if is_pair else (shape,)))
    outputs: dict[nn.Module, Shape] = {}

    def note(module: nn.Module, given: Any, made: Any) -> None:
        first = made
        while isinstance(first, (tuple, list)) and first:
            first = first[0]
        if isinstance(first, Tensor):
            outputs.setdefault(module, tuple(first.shape[1:]))

    handles = [module.register_forward_hook(note) for module in network.modules()]
    try:
        with (
            torch.no_grad(),
            torch.device("meta"),
            _Products() as products,
            ReceptiveFields(inputs, axes) as fields,
            _at_one_go(network) as recurrent,
        ):
            network(inputs if is_pair else inputs[0])
    finally:
        for handle in handles:
            handle.remove()
    parameters = list(network.parameters())
    return Anatomy(
        n_parameters=sum(one.numel() for one in parameters),
        n_trainable=sum(one.numel() for one in parameters if one.requires_grad),
        n_multiply_adds=products.n_flops // 2 + sum(recurrent),
        n_bytes=sum(one.numel() * one.element_size() for one in network.state_dict().values()),
        layers=tuple(_outline(network, outputs)),
        reaches=tuple(fields.of_convolutions()),
        is_recurrent=any(isinstance(one, nn.RNNBase) for one in network.modules()),
    )


class _Products(TorchDispatchMode):
    """Counts floating-point operations by torch's own formulas, two for a multiply–add.

    torch's FlopCounterMode does the same, but hooks into the modules of all threads at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.n_flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.n_flops += int(formula(*args, **kwargs, out_val=out))
        return out


@contextlib.contextmanager
def _at_one_go(network: nn.Module) -> Iterator[list[int]]:
    """Inside the block recurrent layers give the right shapes without going from step to step,
    which takes seconds for long inputs; yields the multiply–adds that they would have needed."""
    counted: list[int] = []
    changed = [
        one for one in network.modules() if isinstance(one, nn.RNNBase) and not one.proj_size
    ]
    for layer in changed:
        layer.forward = functools.partial(_recurrence, layer, counted)
    try:
        yield counted
    finally:
        for layer in changed:
            del layer.forward


def _recurrence(layer: nn.RNNBase, counted: list[int], x: Tensor, state: Any = None) -> Any:
    """What a recurrent layer gives for x (batch, steps, features), or with the first two axes the
    other way round; every element of it depends on all of x."""
    n_batch, n_steps = (x.shape[0], x.shape[1]) if layer.batch_first else (x.shape[1], x.shape[0])
    n, n_ways, n_in = layer.hidden_size, 2 if layer.bidirectional else 1, layer.input_size
    for _ in range(layer.num_layers):
        counted.append(n_batch * n_steps * n_ways * _GATES[layer.mode] * n * (n_in + n))
        n_in = n * n_ways
    out = torch.empty(*x.shape[:-1], n * n_ways) + x.sum()
    last = torch.empty(layer.num_layers * n_ways, n_batch, n) + x.sum()
    return out, ((last, last.clone()) if layer.mode == "LSTM" else last)


_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def _outline(network: nn.Module, outputs: dict[nn.Module, Shape]) -> list[Layer]:
    """The network's parts, opened from the outside in as long as they are few."""
    rows = _children("", network) or [("", network)]
    closed: set[type] = set()
    while True:
        kinds = {type(part) for _, part in rows if _opens(part)} - closed
        if not kinds:
            break
        kind = min(kinds, key=lambda one: (not issubclass(one, nn.Sequential), one.__name__))
        opened = [
            row
            for name, part in rows
            for row in (_children(name, part) if type(part) is kind else [(name, part)])
        ]
        if len(opened) <= MOST_ROWS:
            rows = opened
        else:
            closed.add(kind)
    finished = {module: place for place, module in enumerate(outputs)}
    last = {id(part): _last_of(part, finished) for _, part in rows}
    first = {name.partition(".")[0] for name, _ in rows}
    n_common = len(first.pop()) + 1 if len(first) == 1 < len(rows) else 0
    rows.sort(key=lambda row: last[id(row[1])][0])
    layers = [
        Layer(
            name[n_common:],
            in_words(part),
            outputs.get(last[id(part)][1], ()),
            _size(part),
        )
        for name, part in rows
    ]
    n_other = _size(network) - sum(row.n_parameters for row in layers)
    if n_other > 0:
        layers.append(Layer("", "Numbers of its own", (), n_other))
    return layers


def _size(part: nn.Module) -> int:
    return sum(one.numel() for one in part.parameters())


def _last_of(part: nn.Module, finished: dict[nn.Module, int]) -> tuple[int, nn.Module]:
    """When a part is done, and the module in it that is done last; idle parts come at the end."""
    if part in finished:
        return finished[part], part
    done = [(finished[one], one) for one in part.modules() if one in finished]
    return max(done, key=lambda pair: pair[0], default=(len(finished), part))


def _children(name: str, part: nn.Module) -> list[tuple[str, nn.Module]]:
    """What has parameters or pools; activations, dropout and what only reorders is left out."""
    prefix = f"{name}." if name else ""
    return [
        (prefix + key, child)
        for key, child in part.named_children()
        if _size(child) or any(isinstance(one, _POOLS) for one in child.modules())
    ]


def _opens(part: nn.Module) -> bool:
    own = next(part.parameters(recurse=False), None)
    return own is None and bool(_children("", part))


def in_words(module: nn.Module) -> str:
    """What a layer is, as a person says it: "Convolution 3 × 3, 64 filters, step 2"."""
    if isinstance(module, nn.modules.conv._ConvNd):
        words = f"Convolution {_times(module.kernel_size)}, {module.out_channels} filters"
        words += _step(module.stride, 1)
        if module.groups > 1:
            alone = module.groups == module.in_channels
            words += ", each channel alone" if alone else f", {module.groups} groups"
        return words
    if isinstance(module, nn.Linear):
        return f"Dense, {module.in_features} to {module.out_features}"
    if isinstance(module, nn.RNNBase):
        words = f"{module.mode.split('_')[0]}, {module.hidden_size} units"
        words += f", {module.num_layers} layers" if module.num_layers > 1 else ""
        return words + (", both directions" if module.bidirectional else "")
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return "Batch normalisation"
    for kind, name in ((_MAX, "Max pooling"), (_AVERAGE, "Average pooling")):
        if isinstance(module, kind):
            flat = 2 if type(module).__name__.endswith("2d") else 1
            step = _step(module.stride, module.kernel_size)
            return f"{name} {_times(module.kernel_size, flat)}{step}"
    if isinstance(module, _ADAPTIVE):
        kept = "Max" if "Max" in type(module).__name__ else "Average"
        flat = 2 if type(module).__name__.endswith("2d") else 1
        return f"{kept} pooling to {_times(module.output_size, flat)}"
    if type(module).__name__ in _BLOCKS:
        return _BLOCKS[type(module).__name__]
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", type(module).__name__)
    words = " ".join(part if part.isupper() else part.lower() for part in parts)
    return words[:1].upper() + words[1:]


_MAX = (nn.MaxPool1d, nn.MaxPool2d)
_AVERAGE = (nn.AvgPool1d, nn.AvgPool2d)
_ADAPTIVE = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d)
_POOLS = (*_MAX, *_AVERAGE, *_ADAPTIVE)
_BLOCKS = {  # torchvision's
    "BasicBlock": "Residual block",
    "Inception": "Inception block",
    "InceptionAux": "Auxiliary head",
    "MBConv": "Inverted residual block",
}


def _times(size: Any, n_dimensions: int = 1) -> str:
    return " × ".join(map(str, size if isinstance(size, tuple) else (size,) * n_dimensions))


def _step(stride: Any, usual: Any) -> str:
    given = [one if isinstance(one, tuple) else (one,) for one in (stride, usual)]
    n = max(map(len, given))
    steps, expected = (one * n if len(one) == 1 else one for one in given)
    if steps == expected:
        return ""
    return f", step {_times(steps) if len(set(steps)) > 1 else steps[0]}"
