"""Tensors as bytes over HTTP, and whatever is wrong with a tensor in either form."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from support import MODEL, PATIENCE, HttpService
from tensors_asked import (
    EXAMPLES,
    GRIDS,
    PNGS,
    SERIES,
    WINDOWS,
    binary,
    in_bytes,
    infer_path,
    outputs_of,
    own_labels,
    own_predictions,
    refusal,
    tensor,
)

ONE = WINDOWS[:1]
HEADER = "Inference-Header-Content-Length"


@pytest.fixture(scope="module")
def service() -> Iterator[HttpService]:
    with HttpService("--max-request-bytes", "2000000") as running:
        yield running


@pytest.fixture(scope="module")
def client(service: HttpService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=PATIENCE) as connected:
        yield connected


def windows(array: Any = WINDOWS, **fields: Any) -> dict[str, Any]:
    return binary(np.ascontiguousarray(array, "<f4").tobytes(), list(np.shape(array)), **fields)


def test_a_tensor_of_bytes_is_answered_like_one_of_json(client: httpx.Client) -> None:
    own = own_predictions(client, WINDOWS)
    for count, padding in itertools.product((1, 3), range(4)):  # wherever the bytes begin
        response = client.post(infer_path(), **windows(WINDOWS[:count], id="x" * padding))
        assert np.array_equal(outputs_of(response)["predictions"], own[:count])
    series = outputs_of(client.post(infer_path(), **windows(SERIES)))["predictions"]
    assert np.allclose(series.reshape(3, 7, 96).transpose(0, 2, 1), own, atol=1e-3)
    grids = binary(GRIDS.astype("<i8").tobytes(), [3, 16, 16], "INT64", "grids")
    for given, expected in (
        (grids, own_labels(client, grids=GRIDS.tolist())),
        (binary(in_bytes(*PNGS), [len(PNGS)], "BYTES", "rasters"), own_labels(client, rasters=EXAMPLES)),
    ):
        made = outputs_of(client.post(infer_path("glyphs"), **given))
        assert made["labels"].tolist() == [[each["label"] for each in ranked] for ranked in expected]


def test_each_output_is_sent_as_it_is_wanted(client: httpx.Client) -> None:
    names = ("ids", "labels", "probabilities")
    given = tensor(GRIDS, "INT64", "grids")
    plain = outputs_of(client.post(infer_path("glyphs"), json={"inputs": [given]}))
    for choice in itertools.product((None, True, False), (True, False, ...), (True, False, ...)):
        default, *own = choice
        outputs = [
            {"name": name, **({} if wanted is ... else {"parameters": {"binary_data": wanted}})}
            for name, wanted in zip(names, own, strict=False)
        ]
        parameters = {} if default is None else {"binary_data_output": default}
        fields = {"inputs": [given], "outputs": outputs, "parameters": parameters}
        response = client.post(infer_path("glyphs"), json=fields)
        made = outputs_of(response)
        assert list(made) == list(names[:2])
        assert all(np.array_equal(made[name], plain[name]) for name in made)
        expected = any(bool(default) if wanted is ... else wanted for wanted in own)
        assert (HEADER in response.headers) is expected
    assert outputs_of(client.post(infer_path(), **windows(ONE, parameters={"binary_data_output": True})))


def changed(row: int, channel: int, value: float, window: int = 0) -> Any:
    array = WINDOWS.copy()
    array[window, row, channel] = value
    return array[: window + 1]


BAD_BYTES: dict[str, tuple[dict[str, Any], tuple[int, str]]] = {
    "NaN": (windows(changed(511, 6, np.nan)), (422, "past_values[0][511][6]")),
    "infinite": (windows(changed(3, 0, -np.inf, 2)), (422, "past_values[2][3][0]")),
    "infinite where gaps may be": (
        windows(changed(3, 0, np.inf), parameters={"missing": "interpolate"}),
        (422, "past_values[0][3][0]"),
    ),
    "NaN in a series": (windows(np.array([[1.0] * 511 + [np.nan]])), (422, "past_values[0][511]")),
    "size below what is there": (windows(ONE, size=14332), (422, "inputs[0].parameters.binary_data_size")),
    "size above what is there": (windows(ONE, size=14340), (422, "inputs[0].parameters.binary_data_size")),
    "size of more than there can be": (windows(ONE, size=2**62), (422, "inputs[0].parameters.binary_data_size")),
    "size beyond 64 bits": (windows(ONE, size=2**63), (422, "inputs[0].parameters.binary_data_size")),
    "size below nothing": (windows(ONE, size=-1), (422, "inputs[0].parameters.binary_data_size")),
    "size that is no integer": (windows(ONE, size="14336"), (422, "inputs[0].parameters.binary_data_size")),
    "bytes of another length than the shape": (binary(b"\0" * 8, [1, 512, 7]), (422, "past_values")),
    "a shape that overflows": (binary(b"\0" * 8, [2**32, 2**32, 2]), (422, "past_values")),
    "a shape of 63 bits each": (binary(b"\0" * 8, [2**63 - 1] * 3), (422, "past_values")),
    "a header that is too long": (windows(ONE, header="99999999"), (422, "Inference-Header-Content-Length")),
    "a header of many digits": (windows(ONE, header="9" * 400), (422, "Inference-Header-Content-Length")),
    "a header below nothing": (windows(ONE, header="-1"), (422, "Inference-Header-Content-Length")),
    "a header that is no number": (windows(ONE, header="0x10"), (422, "Inference-Header-Content-Length")),
    "a header that is too short": (windows(ONE, header="10"), (400, "expected a JSON object")),
    "a header of nothing": (windows(ONE, header="0"), (400, "expected a JSON object")),
    "a header with the bytes": (windows(ONE, header="14400"), (400, "expected a JSON object in UTF-8")),
    "glyphs of other sides": (binary(b"\0" * 2048, [1, 8, 32], "INT64", "grids"), (422, "grids")),
    "an id below nothing": (
        binary(np.full((1, 16, 16), -1, "<i8").tobytes(), [1, 16, 16], "INT64", "grids"),
        (422, "grids[0][0][0]"),
    ),
    "an id of 64 bits": (
        binary(np.full((1, 16, 16), 2**62, "<i8").tobytes(), [1, 16, 16], "INT64", "grids"),
        (422, "grids[0][0][0]"),
    ),
    "elements that end too soon": (binary(in_bytes(b"abc")[:-1], [1], "BYTES", "rasters"), (422, "rasters[0]")),
    "a length that lies": (binary(b"\xff\xff\xff\xff" + b"x" * 8, [1], "BYTES", "rasters"), (422, "rasters[0]")),
    "half a length": (binary(in_bytes(b"abc") + b"\1\0", [2], "BYTES", "rasters"), (422, "rasters[1]")),
    "fewer elements": (binary(in_bytes(b"abc"), [2], "BYTES", "rasters"), (422, "rasters")),
    "more elements": (binary(in_bytes(b"abc", b"abc"), [1], "BYTES", "rasters"), (422, "rasters")),
    "as many elements as there can be": (
        binary(in_bytes(b"abc"), [2**63 - 1], "BYTES", "rasters"),
        (422, "rasters"),
    ),
    "what is no picture": (binary(in_bytes(b"abc"), [1], "BYTES", "rasters"), (422, "rasters[0]")),
    "nothing at all": (binary(in_bytes(b""), [1], "BYTES", "rasters"), (422, "rasters[0]")),
    "a picture that is too long": (binary(in_bytes(b"\0" * 150_001), [1], "BYTES", "rasters"), (413, "rasters[0]")),
    "a body over the limit": (windows(np.zeros((140, 512, 7))), (413, "expected a body of at most 2000000 bytes")),
}


@pytest.mark.parametrize("name", BAD_BYTES)
def test_bytes_that_lie_are_refused_with_their_path(client: httpx.Client, service: HttpService, name: str) -> None:
    given, expected = BAD_BYTES[name]
    model = "glyphs" if b'"grids"' in given["content"] or b'"rasters"' in given["content"] else MODEL
    assert refusal(client.post(infer_path(model), **given)) == expected
    assert outputs_of(client.post(infer_path(), **windows(ONE)))
    assert "internal error" not in service.log


def one(**fields: Any) -> dict[str, Any]:
    return {"inputs": [tensor(ONE, **fields)]}


def with_value(value: Any) -> list[Any]:
    nested: list[Any] = ONE.tolist()
    nested[0][2][1] = value
    return nested


FLAT = ONE.ravel().tolist()
BAD_JSON: list[tuple[Any, tuple[int, str]]] = [
    ({}, (422, "inputs")),
    ({"inputs": []}, (422, "inputs")),
    ({"inputs": {}}, (422, "inputs")),
    ({"inputs": [tensor(ONE), tensor(ONE)]}, (422, "inputs")),
    ({"inputs": [1]}, (422, "inputs[0]")),
    (one(name="past_value"), (422, "inputs[0].name")),
    (one(name=...), (422, "inputs[0].name")),
    (one(name=None), (422, "inputs[0].name")),
    (one(datatype="FP64"), (422, "inputs[0].datatype")),
    (one(datatype=...), (422, "inputs[0].datatype")),
    (one(shape=...), (422, "inputs[0].shape")),
    (one(shape=[]), (422, "inputs[0].shape")),
    (one(shape=[3584]), (422, "inputs[0].shape")),
    (one(shape=[1, 1, 512, 7]), (422, "inputs[0].shape")),
    (one(shape=[1] * 1000), (422, "inputs[0].shape")),
    (one(shape=[0, 512, 7]), (422, "inputs[0].shape")),
    (one(shape=[-1, 512, 7]), (422, "inputs[0].shape")),
    (one(shape=[1, 512.5, 7]), (422, "inputs[0].shape[1]")),
    (one(shape=[True, 512, 7]), (422, "inputs[0].shape[0]")),
    (one(shape="1"), (422, "inputs[0].shape")),
    (one(data=...), (422, "inputs[0].data")),
    (one(data="[]"), (422, "inputs[0].data")),
    (one(data=FLAT[:-1]), (422, "past_values")),
    (one(data=[*FLAT, 1.0]), (422, "past_values")),
    (one(data=[]), (422, "past_values")),
    (one(data=[[]]), (422, "past_values[0]")),
    (one(data=[[[1.0]]]), (422, "past_values[0]")),
    (one(data=[[1.0] * 512]), (422, "past_values[0][0]")),
    (one(data=[ONE[0].ravel().tolist()]), (422, "past_values[0]")),
    (one(data=with_value("1")), (422, "past_values[0][2][1]")),
    (one(data=with_value(None)), (422, "past_values[0][2][1]")),
    (one(data=with_value(True)), (422, "past_values[0][2][1]")),
    (one(data=with_value([1])), (422, "past_values[0][2][1]")),
    (one(data=with_value(1e39)), (422, "past_values[0][2][1]")),
    (one(data=[*FLAT[:9], None, *FLAT[10:]]), (422, "past_values[0][1][2]")),
    (one(data=[[ONE[0].tolist()]]), (422, "past_values[0]")),
    ({"inputs": [tensor(ONE[:, :500])]}, (422, "past_values")),
    ({"inputs": [tensor(ONE[:, :, :6])]}, (422, "past_values")),
    ({"inputs": [tensor(WINDOWS[:, :, :6])]}, (422, "past_values")),
    ({"inputs": [tensor(SERIES[:, :500])]}, (422, "past_values[0]")),
    ({"inputs": [tensor([[1.0, None]], shape=[1, 2])]}, (422, "past_values[0][1]")),
    (one(parameters={"binary_data_size": 14336}), (422, "inputs[0].parameters.binary_data_size")),
    (one(data=..., parameters={"binary_data_size": 4}), (422, "inputs[0].parameters.binary_data_size")),
    (one(parameters={"shared_memory_region": "mine"}), (422, "inputs[0].parameters.shared_memory_region")),
    (one(parameters=[]), (422, "inputs[0].parameters")),
    (one(dtype="FP32"), (422, "inputs[0].dtype")),
    (one() | {"outputs": [{"name": "prediction"}]}, (422, "outputs[0].name")),
    (one() | {"outputs": [{"name": "predictions"}] * 2}, (422, "outputs[1].name")),
    (one() | {"outputs": [{"name": "predictions"}] * 1000}, (422, "outputs")),
    (one() | {"outputs": [{}]}, (422, "outputs[0].name")),
    (one() | {"outputs": [None]}, (422, "outputs[0]")),
    (one() | {"outputs": "predictions"}, (422, "outputs")),
    (
        one() | {"outputs": [{"name": "predictions", "parameters": {"classification": 3}}]},
        (422, "outputs[0].parameters.classification"),
    ),
    (
        one() | {"outputs": [{"name": "predictions", "parameters": {"binary_data": 1}}]},
        (422, "outputs[0].parameters.binary_data"),
    ),
    (one() | {"parameters": {"quantile_level": 0.5}}, (422, "parameters.quantile_level")),
    (one() | {"parameters": {"sequence_id": 5}}, (422, "parameters.sequence_id")),
    (one() | {"parameters": {"topk": 5}}, (422, "parameters.topk")),
    (one() | {"parameters": {"timeout": -1}}, (422, "parameters.timeout")),
    (one() | {"parameters": {"timeout": 1.5}}, (422, "parameters.timeout")),
    (one() | {"parameters": {"quantile_levels": ""}}, (422, "parameters.quantile_levels")),
    (one() | {"parameters": {"quantile_levels": "0.1,nan"}}, (422, "parameters.quantile_levels")),
    (one() | {"parameters": {"quantile_levels": "0.1;0.5"}}, (422, "parameters.quantile_levels")),
    (one() | {"parameters": {"quantile_levels": [True]}}, (422, "parameters.quantile_levels")),
    (one() | {"parameters": {"quantile_levels": [[0.5]]}}, (422, "parameters.quantile_levels")),
    (one() | {"parameters": {"quantile_levels": [0.5] * 100}}, (422, "parameters.quantile_levels")),
    (
        one() | {"parameters": {"quantile_levels": "0.5"}, "outputs": [{"name": "predictions"}]},
        (422, "parameters.quantile_levels"),
    ),
    (one() | {"parameters": {"prediction_length": 97}}, (422, "parameters.prediction_length")),
    (one() | {"parameters": {"missing": "skip"}}, (422, "parameters.missing")),
    (one() | {"parameters": []}, (422, "parameters")),
    (one() | {"id": 7}, (422, "id")),
    (one() | {"id": "x" * 70_000}, (422, "id")),
    (one() | {"input": []}, (422, "input")),
    ({"inputs": [tensor(GRIDS, "INT64", "grids")]}, (404, "model")),
    ({"inputs": [tensor(SERIES[:1].repeat(4097, 0)[:, :2])]}, (413, "past_values")),
    ([], (422, "expected a JSON object")),
]


@pytest.mark.parametrize("place", range(len(BAD_JSON)))
def test_a_fault_of_a_tensor_is_told_with_its_path(client: httpx.Client, service: HttpService, place: int) -> None:
    given, expected = BAD_JSON[place]
    assert refusal(client.post(infer_path(), content=orjson.dumps(given))) == expected
    assert "internal error" not in service.log


def grids(**fields: Any) -> dict[str, Any]:
    return {"inputs": [tensor(GRIDS[:1], **({"datatype": "INT64", "name": "grids"} | fields))]}


BAD_GLYPHS: list[tuple[Any, tuple[int, str]]] = [
    (grids(data=[1024] * 256), (422, "grids[0][0][0]")),
    (grids(data=[0] * 255 + [1.5]), (422, "grids[0][15][15]")),
    (grids(data=[0] * 255 + [True]), (422, "grids[0][15][15]")),
    (grids(data=[0] * 255), (422, "grids")),
    (grids(data=[[[0] * 16] * 15]), (422, "grids[0]")),
    (grids(data=[[[0] * 15] * 16]), (422, "grids[0][0]")),
    (grids(datatype="INT32"), (422, "inputs[0].datatype")),
    (grids(shape=[256]), (422, "inputs[0].shape")),
    (grids() | {"parameters": {"topk": 0}}, (422, "parameters.topk")),
    (grids() | {"parameters": {"quantile_levels": "0.5"}}, (422, "parameters.quantile_levels")),
    (grids() | {"outputs": [{"name": "predictions"}]}, (422, "outputs[0].name")),
    ({"inputs": [tensor(["abc"], "BYTES", "rasters")]}, (422, "rasters[0]")),
    ({"inputs": [tensor([EXAMPLES[0], 7], "BYTES", "rasters", data=[EXAMPLES[0], 7])]}, (422, "rasters[1]")),
    ({"inputs": [tensor(EXAMPLES[:2], "BYTES", "rasters", shape=[3])]}, (422, "rasters")),
    ({"inputs": [tensor(ONE)]}, (404, "model")),
]


@pytest.mark.parametrize("place", range(len(BAD_GLYPHS)))
def test_a_fault_of_glyphs_is_told_with_its_path(client: httpx.Client, service: HttpService, place: int) -> None:
    given, expected = BAD_GLYPHS[place]
    assert refusal(client.post(infer_path("glyphs"), json=given)) == expected
    assert "internal error" not in service.log
