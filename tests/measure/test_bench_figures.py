"""Figures from samples that are known, and the floor's count of multiply-adds against one by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import openvino as ov
import orjson
import pytest
from openvino import opset13 as ops
from support import MODELS
from vinocast.measure.bench import figures
from vinocast.measure.bench.figures import Cell, Samples
from vinocast.measure.bench.floor import MATMUL_SHAPE, matmul_model, multiply_adds
from vinocast.measure.bench.load import Slice

ONE_CLIENT = Cell("stdio", "json", 7, clients=1)


def part(*latencies_ms: float, **fields: Any) -> Slice:
    reply = orjson.dumps({"success": True, "inference_time_ms": 1.0, "queue_time_ms": 0.1, **fields})
    return Slice([ms / 1e3 for ms in latencies_ms], [reply] * len(latencies_ms), seconds=1.0)


def test_quantiles_are_those_of_all_slices() -> None:
    samples = Samples()
    samples.add(part(*range(1, 501)))
    samples.add(part(*range(501, 1002)))
    row = figures.figures(ONE_CLIENT, samples)
    assert row.latency_ms == pytest.approx({"p50": 501, "p95": 951, "p99": 991, "p99.9": 1000})
    assert (row.samples, row.requests_per_second) == (1001, 500.5)
    assert (row.inference_ms, row.queue_ms, row.overhead_ms) == pytest.approx((1.0, 0.1, 500.0))


def test_overhead_is_of_each_request_and_only_where_nobody_else_is_waited_for() -> None:
    samples = Samples()
    for inference in (1.0, 5.0, 9.0):
        samples.add(part(inference + 0.25, inference_time_ms=inference))
    assert figures.figures(ONE_CLIENT, samples).overhead_ms == pytest.approx(0.25)
    assert figures.figures(Cell("stdio", "json", 7, clients=4), samples).overhead_ms is None
    assert figures.figures(Cell("stdio", "json", 7, rate=10), samples).overhead_ms is None


def test_failed_requests_are_counted_and_their_quick_answers_left_out() -> None:
    samples = Samples()
    samples.add(part(0.01, 0.01, success=False))
    samples.add(part(5.0))
    row = figures.figures(ONE_CLIENT, samples)
    assert (row.samples, row.failed, row.latency_ms["p50"]) == (1, 2, 5.0)
    refused = Samples()
    refused.add(part(0.01, success=False), refused=True)
    assert (refused.latency_ms, refused.failed) == ([0.01], 0)


def test_missed_arrivals_count_with_the_time_they_had_waited() -> None:
    samples = Samples()
    samples.add(part(1.0))
    samples.missed_ms += [3000.0]
    row = figures.figures(Cell("http", "json", 7, rate=10), samples)
    assert (row.samples, row.missed) == (1, 1)
    assert row.latency_ms["p50"] == pytest.approx(1500.5)


def test_no_samples_give_no_figures() -> None:
    row = figures.figures(ONE_CLIENT, Samples())
    assert all(math.isnan(value) for value in row.latency_ms.values())
    assert (row.samples, row.requests_per_second) == (0, 0.0)


def test_the_parts_of_a_split_add_up_to_the_round_trip() -> None:
    rows = []
    for form, targets, latency, inference, queue in (
        ("empty", 0, 0.05, 0.0, 0.0),
        ("stream", 7, 1.17, 1.0, 0.01),
        ("json", 7, 1.40, 1.1, 0.02),
    ):
        samples = Samples()
        samples.add(part(latency, inference_time_ms=inference, queue_time_ms=queue))
        rows.append(figures.figures(Cell("stdio", form, targets, clients=1), samples))  # type: ignore[arg-type]
    stream, json = figures.split(rows)
    assert (stream.wire_ms, stream.read_parse_ms, stream.encode_write_ms) == pytest.approx((0.05, 0.0, 0.11))
    assert (json.queue_ms, json.infer_ms, json.read_parse_ms) == pytest.approx((0.02, 1.1, 0.12))
    total = json.wire_ms + json.read_parse_ms + json.queue_ms + json.infer_ms + json.encode_write_ms
    assert total == pytest.approx(1.40)


def test_the_floor_is_two_operations_a_multiply_add_at_the_rate_of_a_product() -> None:
    assert figures.gflops(10**9, [10.0, 10.0, 30.0]) == pytest.approx(200)
    raw = figures.raw("ours", [2.0, 2.0, 4.0], 10**8, 200)
    assert (raw.floor_ms, raw.share, raw.samples) == (1.0, 0.5, 3)


@pytest.mark.parametrize("series", [7, 1])
def test_the_multiply_adds_of_the_bundled_model_are_those_counted_by_hand(series: int) -> None:
    """Granite's shapes: 42 patches of 12 steps, a CLS token, width 128, 16 heads of 8, ffn 512, 3 layers, 96 steps."""
    patch, tokens, width, heads, head, ffn, horizon = 12, 43, 128, 16, 8, 512, 96
    attention = 2 * heads * tokens * tokens * head
    rest_of_layer = tokens * (width * width + 2 * width * ffn)
    # The embedding, and behind it the first layer's query, key and value, take a patch for the CLS token too.
    first = tokens * patch * (width + 3 * width) + attention + rest_of_layer
    second = tokens * width * 3 * width + attention + rest_of_layer
    # The head reads the CLS token: one query, whose keys and values stay factored through the width.
    last = 2 * width * heads * width + 2 * heads * tokens * width + 2 * width * ffn
    model = ov.Core().read_model(MODELS / "patchtst-etth1" / "model.xml")
    model.reshape([series, 512])
    assert multiply_adds(model) == series * (first + second + last + width * horizon)


def test_transposed_products_and_attention_are_counted_by_their_inner_size() -> None:
    left, right = ops.parameter([5, 3, 4], np.float32), ops.parameter([7, 3], np.float32)
    product = ov.Model([ops.matmul(left, right, True, True)], [left, right])
    assert multiply_adds(product) == 5 * 4 * 7 * 3
    query, key, value = (ops.parameter([2, 6, *sizes], np.float32) for sizes in ((9, 8), (11, 8), (11, 5)))
    attention = ov.Model([ops.scaled_dot_product_attention(query, key, value)], [query, key, value])
    assert multiply_adds(attention) == 2 * 6 * 9 * 11 * (8 + 5)
    assert multiply_adds(matmul_model()) == math.prod(MATMUL_SHAPE)
