"""Rows of any number through a model of a few batch sizes."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op
from support import in_threads
from vinocast.engine.batches import BatchedModel, cut
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.tuned import find_profile
from vinocast.errors import SetupError

WEIGHTS = np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32)


@pytest.mark.parametrize("device", ["CPU", "AUTO"])
def test_any_number_of_rows_gets_its_own_results(device: str) -> None:
    rows = op.parameter([-1, 3], np.float32)
    graph = ov.Model([op.matmul(rows, op.constant(WEIGHTS), False, False)], [rows])
    model = BatchedModel(Compiler(find_profile("native"), cpu_budget(), device), graph, (4, 1, 16))
    inputs = np.random.default_rng(1).standard_normal((60, 3)).astype(np.float32)
    for count in (0, 1, 2, 3, 4, 5, 17, 31, 60):
        outputs = model(inputs[:count])
        assert outputs.shape == (count, 2)
        np.testing.assert_allclose(outputs, inputs[:count] @ WEIGHTS, atol=1e-5)
    assert model.in_force


def test_threads_get_their_own_results() -> None:
    rows = op.parameter([-1, 3], np.float32)
    graph = ov.Model([op.matmul(rows, op.constant(WEIGHTS), False, False)], [rows])
    model = BatchedModel(Compiler(find_profile("native"), cpu_budget()), graph, (4, 1, 16))
    inputs = np.random.default_rng(1).standard_normal((8, 35, 3)).astype(np.float32)
    answers = in_threads(lambda index: [model(inputs[index]) for _ in range(60)])
    for own, outputs in zip(inputs, answers, strict=True):
        for output in outputs:
            np.testing.assert_allclose(output, own @ WEIGHTS, atol=1e-5)


def test_a_device_that_is_not_there_is_a_clear_error() -> None:
    with pytest.raises(SetupError, match=r"no device GPU, only .*CPU.*install"):
        Compiler(find_profile("native"), cpu_budget(), "GPU")


def test_rows_are_padded_where_that_costs_less_than_another_inference() -> None:
    sizes = [1, 4, 16]
    assert [size for _, _, size in cut(16, sizes)] == [16]
    assert [size for _, _, size in cut(12, sizes)] == [16]
    assert [size for _, _, size in cut(9, sizes)] == [4, 4, 1]
    assert [size for _, _, size in cut(3, sizes)] == [4]
    assert [size for _, _, size in cut(2, sizes)] == [1, 1]
    assert [size for _, _, size in cut(35, sizes)] == [16, 16, 4]
    for count in range(70):
        assert [row for start, stop, _ in cut(count, sizes) for row in range(start, stop)] == list(range(count))
