"""One model for any number of rows: compiled for a few batch sizes, the rows cut to fit them."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import openvino as ov
    from numpy.typing import NDArray

    from vinocast.engine.compile import Compiler

# Padding up to the next size is taken before two smaller inferences where it adds no more than this share of rows.
PADDING = 0.5


class BatchedModel:
    """A model of one input [rows, …] and one float32 output [rows, m]. For any thread: one computes, others wait.

    Attributes:
        in_force: the properties read back from the compiled model.
        warnings: how they differ from what was asked for.
        seconds: spent in infer() so far.
    """

    def __init__(self, compiler: Compiler, model: ov.Model, sizes: Sequence[int]) -> None:
        row = [axis.get_length() for axis in list(model.input(0).get_partial_shape())[1:]]
        # Under a profile of bf16 as well: an answer that is the best of many labels is not to depend on it.
        exact = dataclasses.replace(compiler.profile, precision="f32")
        self._shapes = {size: compiler.compile(model, (size, *row), exact) for size in sorted(sizes)}
        self._lock = threading.Lock()
        self.seconds = 0.0
        smallest = self._shapes[min(sizes)]
        self.in_force, self.warnings, self._columns = smallest.in_force, smallest.warnings, smallest.outputs.shape[1]

    def __call__(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Return the outputs [rows, m]."""
        outputs = np.empty((len(rows), self._columns), np.float32)
        with self._lock:
            for start, stop, size in cut(len(rows), list(self._shapes)):
                shape = self._shapes[size]
                # What stands in the rows beyond is of an earlier call, and its result is left unread.
                shape.inputs[: stop - start] = rows[start:stop]
                self.seconds += shape.infer()
                outputs[start:stop] = shape.outputs[: stop - start]
        return outputs


def cut(count: int, sizes: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Cut rows into pieces of ascending ``sizes``; yield start, stop and size, which is more where rows are padded."""
    start = 0
    while start < count:
        left = count - start
        size = next((size for size in sizes if left <= size <= left * (1 + PADDING)), None)
        if size is None:
            size = max((size for size in sizes if size <= left), default=sizes[0])
        yield start, min(count, start + size), size
        start += size
