"""What the graph is written in: maps that fold into each other in float64, and a few shapings of tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from openvino import opset13 as op

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from openvino import Node


@dataclass(frozen=True)
class Linear:
    """The map ``x @ weight + bias``. Leading axes of both stand for channels that have maps of their own."""

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]

    def __call__(self, x: Node) -> Node:
        """Apply in the graph."""
        return op.add(op.matmul(x, floats(self.weight), False, False), floats(self.bias))

    def scaled(self, factor: float) -> Linear:
        """Return the map of ``self`` with its result times a factor."""
        return Linear(self.weight * factor, self.bias * factor)

    def then(self, other: Linear) -> Linear:
        """Return the map of ``self`` followed by ``other``."""
        return Linear(self.weight @ other.weight, self.bias @ other.weight + other.bias)


@dataclass(frozen=True)
class Affine:
    """The map ``x * gain + shift``, feature by feature: what is left of a norm once it has standardised."""

    gain: NDArray[np.float64]
    shift: NDArray[np.float64]

    def __call__(self, x: Node) -> Node:
        """Apply in the graph."""
        return op.add(op.multiply(x, floats(self.gain)), floats(self.shift))

    def then(self, linear: Linear) -> Linear:
        """Fold into the linear map that follows."""
        return Linear(self.gain[:, None] * linear.weight, self.shift @ linear.weight + linear.bias)

    def after(self, linear: Linear) -> Linear:
        """Fold into the linear map that precedes."""
        return Linear(linear.weight * self.gain, linear.bias * self.gain + self.shift)


def beside(*maps: Linear) -> Linear:
    """One product in place of several of the same input."""
    return Linear(np.concatenate([m.weight for m in maps], -1), np.concatenate([m.bias for m in maps], -1))


# What the names of products begin with that are never quantized.
EXACT = "exact."

# gelu(x) is x * Phi(x), which is (y + y * erf(y)) / sqrt(2) with y = x / sqrt(2). Written like this it becomes a kernel
# of its own; as a Gelu the CPU plugin fuses it into the product before it, and under AVX2 that product then takes 2.5
# times as long, a whole forecast 1.18 times.
GELU_SCALE = 2**-0.5


def gelu(y: Node) -> Node:
    """The GELU of y times the root of 2, times that root: see GELU_SCALE, which the linear maps around it hold."""
    return op.multiply(y, op.add(op.erf(y), floats(1.0)))


def standardise(series: Node, minimum_variance: float) -> tuple[Node, Callable[[Node], Node]]:
    """Return series [n, context] by their own mean and deviation, and the map of a forecast back to their units.

    A forecast is [n, horizon], or has one axis more.
    """
    # Measured from the first step, so that a level far above the deviation (a price) costs no digits in the mean.
    start = first(series)
    rise = op.subtract(series, start)
    drift = mean(rise)
    centred = op.subtract(rise, drift)
    scale = op.sqrt(op.add(mean(op.multiply(centred, centred)), floats(minimum_variance)))

    def back(forecast: Node) -> Node:
        more = forecast.get_output_partial_shape(0).rank.get_length() - 2
        by, to, at = (reshape(x, 0, *[1] * (1 + more)) if more else x for x in (scale, drift, start))
        return op.add(op.add(op.multiply(forecast, by), to), at)

    return op.divide(centred, scale), back


def heads(x: Node, count: int, number: int) -> list[Node]:
    """Split [n, t, count * d_model] into ``count`` tensors of a number of heads, [n, heads, t, d_model / heads]."""
    size = x.get_output_partial_shape(0)[2].get_length() // (count * number)
    parts = op.split(x, op.constant(np.int64(2)), count).outputs() if count > 1 else [x]
    return [transpose(reshape(part, 0, 0, number, size), 0, 2, 1, 3) for part in parts]


def attend(q: Node, k: Node, v: Node) -> Node:
    """Softmax(q k^T) v, the heads side by side: [n, t, d_model]."""
    context = op.matmul(op.softmax(op.matmul(q, k, False, True), -1), v, False, False)
    number, _, size = list(q.get_output_partial_shape(0))[1:]
    return reshape(transpose(context, 0, 2, 1, 3), 0, 0, number.get_length() * size.get_length())


def exact(a: Node, b: Node, name: str) -> Node:
    """A product that an int8 form computes in full precision; ``name`` is its own in the graph."""
    product = op.matmul(a, b, False, False)
    product.set_friendly_name(f"{EXACT}{name}")
    return product


def floats(values: NDArray[np.float64] | float) -> Node:
    """A constant, rounded to float32 here and nowhere earlier."""
    return op.constant(np.asarray(values, dtype=np.float32, order="C"))


def ints(*values: int) -> Node:
    """A constant of axes, sizes or places."""
    return op.constant(np.array(values, dtype=np.int64))


def reshape(x: Node, *shape: int) -> Node:
    """Of the new shape, 0 keeps an axis and -1 takes what is left."""
    return op.reshape(x, ints(*shape), special_zero=True)


def transpose(x: Node, *axes: int) -> Node:
    """Put the axes in this order."""
    return op.transpose(x, ints(*axes))


def first(x: Node) -> Node:
    """The first time step or token: [n, t, …] to [n, 1, …]."""
    return op.slice(x, ints(0), ints(1), ints(1), ints(1))


def mean(x: Node) -> Node:
    """The mean over time steps or tokens: [n, t, …] to [n, 1, …]."""
    return op.reduce_mean(x, ints(1), True)


def swap(tokens: Node, outer: int, inner: int) -> Node:
    """Turn [b * outer, inner, d] into [b * inner, outer, d]."""
    d = tokens.get_output_partial_shape(0)[2].get_length()
    return reshape(transpose(reshape(tokens, -1, outer, inner, d), 0, 2, 1, 3), -1, outer, d)
