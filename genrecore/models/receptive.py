"""How much of its input a convolution's unit sees, by rule, while a network runs on shapes.

Every tensor that comes from the input is told, for each of its dimensions, which axis of the input
it runs along, how many places of that axis one element sees, and how many lie between neighbours.
A convolution or pooling of kernel k, dilation d and stride s makes of (size, step) the pair
(size + (k - 1) · d · step, step · s); branches that meet keep the larger. Batch normalisation and
activations change nothing. Zeros beyond the edges count as places.

Source: Araujo, Norris & Sim (2019), Computing Receptive Fields of Convolutional Neural Networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

Axis = tuple[int, int]
"""Which input (0, of a pair also 1) and which of its dimensions, counted without the batch."""


@dataclass(frozen=True)
class Reach:
    """What one unit sees along an axis of the input.

    Attributes:
        axis: Of the input.
        size: Places through convolutions and local pooling; None where the axis has been mixed.
        step: Places between the middles of neighbouring units.
        everything: Whether it also knows the whole axis: through a pooling over all of it, a
            recurrent layer or a dense one.
    """

    axis: Axis
    size: int | None
    step: int | None
    everything: bool


@dataclass(frozen=True)
class _Span:
    axis: Axis
    size: int = 1
    step: int = 1


_Spans = tuple[_Span, ...]
"""Of one dimension: none, one, or of branches from two inputs, two."""


@dataclass(frozen=True)
class _Seen:
    """Of one tensor: the spans of each dimension, and the axes that all elements know."""

    spans: tuple[_Spans, ...]
    everything: frozenset[Axis] = frozenset()

    def mixed(self, n_dimensions: int) -> _Seen:
        """All that this tensor knows, in every element of another one."""
        return _Seen(((),) * n_dimensions, self.everything | _axes(*self.spans))

    def without(self, dimensions: Iterable[int], keep: bool) -> _Seen:
        """After a sum, a maximum or an average over dimensions."""
        gone = {dimension % len(self.spans) for dimension in dimensions}
        spans = [() if k in gone else one for k, one in enumerate(self.spans)]
        left = [one for k, one in enumerate(spans) if keep or k not in gone]
        return _Seen(tuple(left), self.everything | _axes(*(self.spans[k] for k in gone)))


def _axes(*dimensions: _Spans) -> frozenset[Axis]:
    return frozenset(span.axis for spans in dimensions for span in spans)


def _through(spans: _Spans, kernel: int, stride: int, dilation: int = 1) -> _Spans:
    return tuple(
        _Span(one.axis, one.size + (kernel - 1) * dilation * one.step, one.step * stride)
        for one in spans
    )


class ReceptiveFields(TorchDispatchMode):
    """Watches a network run on the given inputs; `of_convolutions` then says what was seen."""

    def __init__(self, inputs: Sequence[Tensor], axes: Sequence[Sequence[int]]) -> None:
        """
        Args:
            inputs: (1, …) each, on the meta device.
            axes: Of each input the dimensions (without the batch) along which units are told apart.
        """
        super().__init__()
        self._seen: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._convolutions: list[_Seen] = []
        self._axes = [(part, k) for part, found in enumerate(axes) for k in found]
        for part, (given, found) in enumerate(zip(inputs, axes, strict=True)):
            spans = [(_Span((part, k - 1)),) if k - 1 in found else () for k in range(given.ndim)]
            self._seen[given] = _Seen(tuple(spans))

    def of_convolutions(self) -> list[Reach]:
        """What the unit sees that sees farthest along an axis, for every axis; of several alike,
        the last. Empty for a network without convolutions."""
        if not self._convolutions:
            return []
        found = []
        for axis in self._axes:
            best = Reach(axis, None, None, True)
            for seen in self._convolutions:
                for span in (span for spans in seen.spans for span in spans):
                    if span.axis == axis and span.size >= (best.size or 0):
                        best = Reach(axis, span.size, span.step, axis in seen.everything)
            found.append(best)
        return found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        tensors = [one for one in _flat((args, kwargs)) if one in self._seen]
        if tensors:
            inputs = [(one, self._seen[one]) for one in tensors]
            name = func._overloadpacket.__name__
            for made in _flat(out):
                seen = _after(name, args, inputs, made)
                self._seen[made] = seen
                if name == "convolution":
                    self._convolutions.append(seen)
        return out


def _flat(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return (
        [one for item in value for one in _flat(item)] if isinstance(value, (list, tuple)) else []
    )


def _after(name: str, args: Any, inputs: list[tuple[Tensor, _Seen]], made: Tensor) -> _Seen:
    """What a tensor knows that an operation made of others."""
    rule = _RULES.get(name)
    if rule is not None:
        return rule(args, inputs, made)
    if all(_fits(given, made) for given, _ in inputs):
        return _together([_aligned(given, seen, made) for given, seen in inputs])
    return _together([seen.mixed(made.ndim) for _, seen in inputs])


def _fits(given: Tensor, made: Tensor) -> bool:
    """Whether broadcasting would bring one shape to the other."""
    tail = made.shape[made.ndim - given.ndim :] if given.ndim <= made.ndim else ()
    return len(tail) == given.ndim and all(
        a in (1, b) for a, b in zip(given.shape, tail, strict=True)
    )


def _aligned(given: Tensor, seen: _Seen, made: Tensor) -> _Seen:
    n_before = made.ndim - given.ndim
    spans: list[_Spans] = [()] * n_before
    for one, size, wanted in zip(seen.spans, given.shape, made.shape[n_before:], strict=True):
        spans.append(one if size == wanted else ())
    lost = _axes(*seen.spans) - _axes(*spans)
    return _Seen(tuple(spans), seen.everything | lost)


def _together(parts: list[_Seen]) -> _Seen:
    spans = []
    for beside in zip(*(part.spans for part in parts), strict=True):
        largest: dict[Axis, _Span] = {}
        for span in (span for one in beside for span in one):
            if span.axis not in largest or span.size > largest[span.axis].size:
                largest[span.axis] = span
        spans.append(tuple(largest.values()))
    return _Seen(tuple(spans), frozenset().union(*(part.everything for part in parts)))


_Inputs = list[tuple[Tensor, _Seen]]


def _convolution(args: Any, inputs: _Inputs, made: Tensor) -> _Seen:
    x, weight, _, stride, _, dilation, transposed, _, groups = args
    seen = inputs[0][1]
    if transposed:
        return seen.mixed(made.ndim)
    each_alone = groups == x.shape[1] == weight.shape[0]
    known = frozenset() if each_alone else _axes(seen.spans[1])
    spans = [seen.spans[0], seen.spans[1] if each_alone else ()]
    for k, one in enumerate(seen.spans[2:]):
        spans.append(_through(one, weight.shape[2 + k], _entry(stride, k), _entry(dilation, k)))
    return _Seen(tuple(spans), seen.everything | known)


def _pooling(args: Any, inputs: _Inputs, made: Tensor) -> _Seen:
    x, seen = inputs[0]
    kernel, stride = args[1], (args[2] if len(args) > 2 and args[2] else args[1])
    n = 1 if isinstance(kernel, int) else len(kernel)
    spans = list(seen.spans)
    for k in range(n):
        spans[x.ndim - n + k] = _through(
            spans[x.ndim - n + k], _entry(kernel, k), _entry(stride, k)
        )
    return _Seen(tuple(spans), seen.everything)


def _adaptive(args: Any, inputs: _Inputs, made: Tensor) -> _Seen:
    x, seen = inputs[0]
    whole = [k for k in range(2, x.ndim) if made.shape[k] == 1 != x.shape[k]]
    seen = seen.without(whole, keep=True)
    spans = list(seen.spans)
    for k in range(2, x.ndim):
        n, wanted = x.shape[k], made.shape[k]
        if wanted < n:  # windows that do not divide evenly overlap by one
            width = n // wanted if n % wanted == 0 else math.ceil(n / wanted) + 1
            spans[k] = _through(spans[k], width, n // wanted)
    return _Seen(tuple(spans), seen.everything)


def _windows(args: Any, inputs: _Inputs, made: Tensor) -> _Seen:
    """Of overlapping windows, each counts as seen by what is made of it."""
    (x, seen), (_, dimension, size, step) = inputs[0], args
    spans = [*seen.spans, ()]
    spans[dimension % x.ndim] = _through(spans[dimension % x.ndim], size, step)
    return _Seen(tuple(spans), seen.everything)


def _reduction(args: Any, inputs: _Inputs, made: Tensor) -> _Seen:
    x, seen = inputs[0]
    over = args[1] if len(args) > 1 and args[1] is not None else range(x.ndim)
    over = [over] if isinstance(over, int) else list(over) or list(range(x.ndim))
    return seen.without(over, keep=made.ndim == x.ndim)


def _product(args: Any, inputs: _Inputs, made: Tensor) -> _Seen:
    first = args[1] if len(args) > 2 else args[0]  # addmm(bias, a, b), mm(a, b)
    if len(inputs) == 1 and inputs[0][0] is first:
        return inputs[0][1].without([-1], keep=True)
    return _together([seen.mixed(made.ndim) for _, seen in inputs])


def _permutation(args: Any, inputs: _Inputs, made: Tensor) -> _Seen:
    x, seen = inputs[0]
    order = list(range(x.ndim))
    if len(args) == 1:  # t
        order.reverse()
    elif isinstance(args[1], int):  # transpose
        a, b = args[1] % x.ndim, args[2] % x.ndim
        order[a], order[b] = order[b], order[a]
    else:
        order = [k % x.ndim for k in args[1]]
    return _Seen(tuple(seen.spans[k] for k in order), seen.everything)


def _view(args: Any, inputs: _Inputs, made: Tensor) -> _Seen:
    """Dimensions that stay keep their span; those that are joined or cut are known as a whole."""
    x, seen = inputs[0]
    spans: list[_Spans] = [()] * made.ndim
    old = [k for k, n in enumerate(x.shape) if n != 1]
    new = [k for k, n in enumerate(made.shape) if n != 1]
    i = j = 0
    while i < len(old) and j < len(new):
        i_end, j_end = i + 1, j + 1
        a, b = x.shape[old[i]], made.shape[new[j]]
        while a != b:
            if a < b:
                a, i_end = a * x.shape[old[i_end]], i_end + 1
            else:
                b, j_end = b * made.shape[new[j_end]], j_end + 1
        if i_end - i == j_end - j == 1:
            spans[new[j]] = seen.spans[old[i]]
        i, j = i_end, j_end
    lost = _axes(*seen.spans) - _axes(*spans)
    return _Seen(tuple(spans), seen.everything | lost)


def _same_dimensions(args: Any, inputs: _Inputs, made: Tensor) -> _Seen:
    """Parts of a tensor, tensors side by side, and edges filled up: places stay places."""
    return _together([seen for _, seen in inputs])


def _entry(value: Any, k: int) -> int:
    return int(value if isinstance(value, int) else value[k % len(value)])


_RULES: dict[str, Callable[[Any, _Inputs, Tensor], _Seen]] = {
    "convolution": _convolution,
    "unfold": _windows,
    **dict.fromkeys(
        ("max_pool2d_with_indices", "max_pool2d", "avg_pool2d", "max_pool1d", "avg_pool1d"),
        _pooling,
    ),
    **dict.fromkeys(
        ("_adaptive_avg_pool2d", "adaptive_max_pool2d", "adaptive_avg_pool1d"), _adaptive
    ),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "max", "min", "logsumexp"), _reduction),
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm"), _product),
    **dict.fromkeys(("permute", "transpose", "t"), _permutation),
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "unsqueeze", "squeeze", "flatten"), _view),
    **dict.fromkeys(("slice", "cat", "constant_pad_nd", "split", "split_with_sizes"),
                    _same_dimensions),
}  # fmt: skip
