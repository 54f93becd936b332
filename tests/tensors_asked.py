"""Requests of the Open Inference Protocol as bytes and as JSON, and what our own routes answer to the same."""

from __future__ import annotations

import base64
import re
from typing import Any

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray
from support import MODEL, ROOT, HttpService, Window, random_windows

WINDOWS = np.stack(random_windows(3, seed=5))
SERIES = np.ascontiguousarray(WINDOWS.transpose(0, 2, 1)).reshape(-1, WINDOWS.shape[1])
GRIDS = np.random.default_rng(3).integers(0, 1024, (3, 16, 16))
EXAMPLES: list[str] = orjson.loads((ROOT / "examples" / "glyphs.json").read_bytes())["rasters"]
PNGS = [base64.b64decode(text) for text in EXAMPLES]
DTYPES = {"FP32": "<f4", "FP64": "<f8", "INT64": "<i8"}


def infer_path(model: str = MODEL) -> str:
    return f"/v2/models/{model}/infer"


def tensor(values: Any, datatype: str = "FP32", name: str = "past_values", **fields: Any) -> dict[str, Any]:
    """A tensor in JSON, nested; a field that is ... is left out."""
    array = np.asarray(values)
    given = {"name": name, "shape": list(array.shape), "datatype": datatype, "data": array.tolist()} | fields
    return {field: value for field, value in given.items() if value is not ...}


def in_bytes(*elements: bytes) -> bytes:
    """Elements without a fixed size, each behind its length."""
    return b"".join(len(each).to_bytes(4, "little") + each for each in elements)


def binary(
    data: bytes,
    shape: list[int],
    datatype: str = "FP32",
    name: str = "past_values",
    *,
    size: Any = None,
    header: str | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """What httpx is to send for a tensor as bytes; ``size`` and ``header`` in place of what they should be."""
    parameters = {"binary_data_size": len(data) if size is None else size}
    one = {"name": name, "shape": shape, "datatype": datatype, "parameters": parameters}
    text = orjson.dumps({"inputs": [one], **fields})
    length = str(len(text)) if header is None else header
    return {"content": text + data, "headers": {"Inference-Header-Content-Length": length}}


def outputs_of(response: httpx.Response) -> dict[str, NDArray[Any]]:
    """The tensors of a reply by their names, whichever way each is sent; bytes are objects."""
    assert response.status_code == 200, response.text
    header = response.headers.get("Inference-Header-Content-Length")
    media_type = "application/json" if header is None else "application/octet-stream"
    assert response.headers["Content-Type"] == media_type
    text, rest = response.content, b""
    if header is not None:
        text, rest = response.content[: int(header)], response.content[int(header) :]
    arrays: dict[str, NDArray[Any]] = {}
    for output in orjson.loads(text)["outputs"]:
        shape, datatype = output["shape"], output["datatype"]
        if "data" in output:
            assert "parameters" not in output
            values = np.array(output["data"], DTYPES.get(datatype, object))
        else:
            size = output["parameters"]["binary_data_size"]
            data, rest = rest[:size], rest[size:]
            values = elements(data) if datatype == "BYTES" else np.frombuffer(data, DTYPES[datatype])
        arrays[output["name"]] = values.reshape(shape)
    assert rest == b""
    return arrays


def elements(data: bytes) -> NDArray[Any]:
    """What stands behind its length in bytes, as texts."""
    texts = []
    while data:
        length = int.from_bytes(data[:4], "little")
        texts.append(data[4 : 4 + length].decode())
        data = data[4 + length :]
    return np.array(texts, object)


def grpc_port(service: HttpService) -> int:
    """The port on which a service says that it speaks gRPC."""
    said = re.search(r"speaks gRPC on 127\.0\.0\.1:(\d+)", service.log)
    assert said, service.log
    return int(said[1])


def refusal(response: httpx.Response) -> tuple[int, str]:
    """Status and path of a refusal, whose form is that of the protocol."""
    body = response.json()
    assert set(body) == {"error"}
    assert isinstance(body["error"], str)
    return response.status_code, body["error"].partition(":")[0]


def own_forecasts(client: httpx.Client, windows: NDArray[np.float32], **fields: Any) -> list[dict[str, Any]]:
    """What our own route answers to each window."""
    replies = [client.post("/forecast", json={"past_values": window.tolist(), **fields}).json() for window in windows]
    assert all(reply["success"] for reply in replies), replies[0]
    return replies


def own_predictions(client: httpx.Client, windows: NDArray[np.float32], **fields: Any) -> Window:
    return np.array([reply["predictions"] for reply in own_forecasts(client, windows, **fields)], np.float32)


def own_labels(client: httpx.Client, **fields: Any) -> list[list[dict[str, Any]]]:
    """What our own route answers to glyphs: the candidates of each."""
    reply = client.post("/glyphs", json=fields).json()
    assert reply["success"], reply
    return [result["topk"] for result in reply["results"]]
