"""The least that a model's arithmetic can take on this CPU: its multiply-adds over the rate of a matrix product."""

from __future__ import annotations

import math

import numpy as np
import openvino as ov
from openvino import opset13 as ops

# Rows, inner size, columns: large enough that the rate no longer grows, small enough for the second-level cache.
MATMUL_SHAPE = (1024, 512, 512)


def multiply_adds(model: ov.Model) -> int:
    """Return the multiply-adds of a model of static shapes, counted from its matrix products and attentions.

    What is done element by element (softmax, GELU, additions) is left out, as it is of the order of a hundredth.
    """
    return sum(_OPERATIONS[op.get_type_name()](op) for op in model.get_ops() if op.get_type_name() in _OPERATIONS)


def matmul_model() -> ov.Model:
    """Return a product of a matrix [rows, inner] by a constant one, as a linear layer has it."""
    rows, inner, columns = MATMUL_SHAPE
    weights = np.random.default_rng(0).standard_normal((inner, columns)).astype(np.float32)
    left = ops.parameter([rows, inner], np.float32)
    return ov.Model([ops.matmul(left, ops.constant(weights), False, False)], [left])


def _matmul(op: ov.Node) -> int:
    left: list[int] = list(op.input(0).get_shape())
    output: list[int] = list(op.output(0).get_shape())
    return math.prod(output) * left[-2 if op.get_attributes()["transpose_a"] else -1]


def _attention(op: ov.Node) -> int:
    """Count queries by keys and weights by values: [..., queries, size], [..., keys, size], [..., keys, value size]."""
    query: list[int]
    key: list[int]
    value: list[int]
    query, key, value = (list(op.input(index).get_shape()) for index in range(3))
    return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


_OPERATIONS = {"MatMul": _matmul, "ScaledDotProductAttention": _attention}
