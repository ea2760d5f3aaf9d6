"""What a network is made of, found by running it once on shapes: sizes, costs, receptive fields.

Everything runs on torch's meta device, which holds shapes and no numbers, so that VGG16 takes
milliseconds. Forward hooks see what each layer is given and gives; torch's own record of where a
tensor comes from (its gradient's graph) leads from a layer's input to the layers before it.

A convolution or pooling of kernel k, dilation d and stride s turns a receptive field (size, step)
into (size + (k - 1) · d · step, step · s); where branches meet, the larger counts. Zeros beyond the
edges count as part of the field.

Source: Araujo, Norris & Sim (2019), Computing Receptive Fields of Convolutional Neural Networks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

Shape = tuple[int, ...]
Axis = tuple[int, int]
"""Which input (0, of a pair also 1) and which of its dimensions, counted without the batch."""

MOST_ROWS = 25
"""Of the outline: what a person takes in at a glance."""


@dataclass(frozen=True)
class Layer:
    """A row of a network's outline.

    Attributes:
        name: Where in the network it stands.
        what: What it is, in words.
        shape: What comes out, without the batch; empty where only training uses it.
        n_parameters: Trainable or not.
    """

    name: str
    what: str
    shape: Shape
    n_parameters: int


@dataclass(frozen=True)
class Reach:
    """What one unit sees along an axis of the input.

    Attributes:
        axis: Of the input.
        size: Positions through convolutions and local pooling; None where the axis has been mixed.
        step: Positions between the middles of neighbouring units.
        everything: Whether it also knows the whole axis: through a pooling over all of it, a
            recurrent layer or a dense one.
    """

    axis: Axis
    size: int | None
    step: int | None
    everything: bool


@dataclass(frozen=True)
class Anatomy:
    """What a network is made of.

    Attributes:
        n_parameters: Numbers that are learned, those that are frozen included.
        n_trainable: Without the frozen ones.
        n_multiply_adds: For one example, in convolutions, dense and recurrent layers; biases,
            normalisation, activations and pooling, one or two per cent more, are not counted.
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
        axes: For each input the dimensions of its shape along which receptive fields are told: of
            an image bins and frames, of other inputs time alone.
    """
    shapes = shape if isinstance(shape[0], tuple) else (shape,)
    fields = _Fields(axes)
    outputs: dict[nn.Module, Shape] = {}
    n_multiply_adds = 0

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal n_multiply_adds
        while isinstance(output, (tuple, list)) and output:
            output = output[0]
        if isinstance(output, Tensor):
            outputs.setdefault(module, tuple(output.shape[1:]))
            n_multiply_adds += _multiply_adds(module, output)
            if inputs and isinstance(inputs[0], Tensor):
                fields.pass_through(module, inputs[0], output)

    network.eval()
    handles = [module.register_forward_hook(note) for module in network.modules()]
    try:
        with torch.enable_grad(), torch.device("meta"):
            examples = tuple(
                fields.enter(part, torch.empty(1, *size)) for part, size in enumerate(shapes)
            )
            network(examples if len(shapes) > 1 else examples[0])
    finally:
        for handle in handles:
            handle.remove()
    parameters = list(network.parameters())
    return Anatomy(
        n_parameters=sum(p.numel() for p in parameters),
        n_trainable=sum(p.numel() for p in parameters if p.requires_grad),
        n_multiply_adds=n_multiply_adds,
        n_bytes=sum(t.numel() * t.element_size() for t in network.state_dict().values()),
        layers=tuple(_outline(network, outputs)),
        reaches=tuple(fields.of_convolutions()),
        is_recurrent=any(isinstance(part, nn.RNNBase) for part in network.modules()),
    )


def _multiply_adds(module: nn.Module, output: Tensor) -> int:
    """Of one layer that makes this output (batch of 1, …)."""
    if isinstance(module, _CONVOLUTIONS):
        return output.numel() * module.weight[0].numel()
    if isinstance(module, nn.Linear):
        return output.numel() * module.in_features
    if isinstance(module, nn.RNNBase):
        weights = [p for name, p in module.named_parameters() if name.startswith("weight")]
        return output.shape[1 if module.batch_first else 0] * sum(p.numel() for p in weights)
    return 0


@dataclass(frozen=True)
class _Field:
    """Of one tensor: (size, step) along each axis of the input that it still runs along, and the
    axes that each of its elements knows as a whole."""

    local: dict[Axis, tuple[int, int]] = field(default_factory=dict)
    everything: frozenset[Axis] = frozenset()

    def keeping(self, local: dict[Axis, tuple[int, int]]) -> _Field:
        """With these local fields; the other axes are known as a whole."""
        return _Field(local, self.everything | (self.local.keys() - local.keys()))


class _Fields:
    """The receptive fields of a network's layers, filled in while it runs."""

    def __init__(self, axes: Sequence[Sequence[int]]) -> None:
        self._axes = [tuple((part, k) for k in dims) for part, dims in enumerate(axes)]
        self._known: dict[Any, _Field] = {}  # by the node of a tensor in the gradient's graph
        self._convolutions: list[_Field] = []

    def enter(self, part: int, example: Tensor) -> Tensor:
        """An input of the network, prepared so that what is made of it can be traced back."""
        example = example.requires_grad_().view_as(example)
        self._known[example.grad_fn] = _Field(dict.fromkeys(self._axes[part], (1, 1)))
        return example

    def pass_through(self, module: nn.Module, x: Tensor, output: Tensor) -> None:
        """Notes what a layer's output sees, if the layer changes what its input sees."""
        if hasattr(module, "kernel_size") and hasattr(module, "stride"):
            seen = self._window(module, self._field(x.grad_fn))
        elif isinstance(module, _ADAPTIVE):
            seen = self._adaptive(self._field(x.grad_fn), x.shape, output.shape)
        elif isinstance(module, nn.Linear) and x.ndim == 3:  # (batch, steps, numbers)
            seen = self._field(x.grad_fn)
            seen = seen.keeping(
                {a: local for a, local in seen.local.items() if self._from_end(a) == 1}
            )
        elif isinstance(module, (nn.Linear, nn.RNNBase)):
            seen = self._field(x.grad_fn).keeping({})
        else:
            return
        self._known[output.grad_fn] = seen
        if isinstance(module, _CONVOLUTIONS):
            self._convolutions.append(seen)

    def of_convolutions(self) -> list[Reach]:
        """What the unit sees that sees farthest along an axis, for every axis; of several alike,
        the last. Empty for a network without convolutions."""
        reaches = []
        for axis in (axis for own in self._axes for axis in own if self._convolutions):
            best = Reach(axis, None, None, True)
            for seen in self._convolutions:
                size, step = seen.local.get(axis, (0, 0))
                if size and size >= (best.size or 0):
                    best = Reach(axis, size, step, axis in seen.everything)
            reaches.append(best)
        return reaches

    def _from_end(self, axis: Axis) -> int:
        """1 for the last axis of its input (time), 2 for the one before (frequency)."""
        own = self._axes[axis[0]]
        return len(own) - own.index(axis)

    def _window(self, module: Any, seen: _Field) -> _Field:
        """After a convolution or pooling; along axes that became channels it knows everything."""
        n = 2 if type(module).__name__.endswith("2d") else 1
        sizes = (module.kernel_size, module.stride, getattr(module, "dilation", 1))
        kernel, stride, dilation = (s if isinstance(s, tuple) else (s,) * n for s in sizes)
        local = {}
        for axis, (size, step) in seen.local.items():
            if (k := self._from_end(axis)) <= n:
                wider = size + (kernel[-k] - 1) * dilation[-k] * step
                local[axis] = wider, step * stride[-k]
        return seen.keeping(local)

    def _adaptive(self, seen: _Field, before: Shape, after: Shape) -> _Field:
        local = {}
        for axis, (size, step) in seen.local.items():
            k = self._from_end(axis)
            if (width := before[-k] // after[-k]) == 1 or after[-k] > 1:
                local[axis] = size + (width - 1) * step, step * width
        return seen.keeping(local)

    def _field(self, node: Any) -> _Field:
        """What a tensor sees, from the layers that it comes from."""
        if node is None:
            return _Field()
        if node not in self._known:
            merged = _Field()
            for before in (self._field(parent) for parent, _ in node.next_functions):
                for axis, local in before.local.items():
                    merged.local[axis] = max(local, merged.local.get(axis, local))
                merged = _Field(merged.local, merged.everything | before.everything)
            if _MIXES.match(node.name()):
                merged = merged.keeping({})
            self._known[node] = merged
        return self._known[node]


_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
# Sums and products outside of layers: each element of what they give knows all that came in.
_MIXES = re.compile("(Mean|Sum|Amax|Amin|Max|Min|Logsumexp|Mm|Bmm|Addmm|Baddbmm)Backward")


def _outline(network: nn.Module, outputs: dict[nn.Module, Shape]) -> list[Layer]:
    """The network's parts, opened from the outside in as long as they are few."""
    rows = _children("", network) or [("", network)]
    closed: set[type] = set()
    while True:
        kinds = {type(part) for _, part in rows if _opens(part)} - closed
        if not kinds:
            break
        kind = min(kinds, key=lambda kind: (not issubclass(kind, nn.Sequential), kind.__name__))
        opened = [
            row
            for name, part in rows
            for row in (_children(name, part) if type(part) is kind else [(name, part)])
        ]
        if len(opened) <= MOST_ROWS:
            rows = opened
        else:
            closed.add(kind)
    finished = {module: index for index, module in enumerate(outputs)}
    last = {id(part): _last_of(part, finished) for _, part in rows}
    first = {name.partition(".")[0] for name, _ in rows}
    n_common = len(first.pop()) + 1 if len(first) == 1 < len(rows) else 0
    rows.sort(key=lambda row: last[id(row[1])][0])
    layers = [
        Layer(
            name[n_common:],
            describe_layer(part),
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
    return sum(parameter.numel() for parameter in part.parameters())


def _last_of(part: nn.Module, finished: dict[nn.Module, int]) -> tuple[int, nn.Module]:
    """When a part is done, and the module in it that is done last; idle parts come at the end."""
    if part in finished:
        return finished[part], part
    done = [(finished[module], module) for module in part.modules() if module in finished]
    return max(done, key=lambda pair: pair[0], default=(len(finished), part))


def _children(name: str, part: nn.Module) -> list[tuple[str, nn.Module]]:
    """What has parameters or pools; activations, dropout and what only reorders is left out."""
    prefix = f"{name}." if name else ""
    return [
        (prefix + key, child)
        for key, child in part.named_children()
        if _size(child) or any(isinstance(module, _POOLS) for module in child.modules())
    ]


def _opens(part: nn.Module) -> bool:
    own = next(part.parameters(recurse=False), None)
    return own is None and bool(_children("", part))


def describe_layer(module: nn.Module) -> str:
    """A layer in words: "Convolution 3 × 3, 64 filters, step 2"."""
    if isinstance(module, _CONVOLUTIONS):
        words = f"Convolution {_times(module.kernel_size)}, {module.out_channels} filters"
        words += _step(module.stride, 1)
        if module.groups > 1:
            alone = module.groups == module.in_channels
            words += ", each channel alone" if alone else f", {module.groups} groups"
        return words
    if isinstance(module, nn.Linear):
        if hasattr(module, "kernel_size"):  # a convolution as windows times a matrix
            step = _step(module.stride, 1)
            return f"Convolution {module.kernel_size}, {module.out_features} filters{step}"
        return f"Dense, {module.in_features} to {module.out_features}"
    if isinstance(module, nn.RNNBase):
        words = f"{module.mode.split('_')[0]}, {module.hidden_size} units"
        words += f", {module.num_layers} layers" if module.num_layers > 1 else ""
        return words + (", both directions" if module.bidirectional else "")
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
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
    pair = [s if isinstance(s, tuple) else (s,) for s in (stride, usual)]
    n = max(map(len, pair))
    steps, expected = (s * n if len(s) == 1 else s for s in pair)
    if steps == expected:
        return ""
    return f", step {_times(steps) if len(set(steps)) > 1 else steps[0]}"
