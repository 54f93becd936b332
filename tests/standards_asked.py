"""Requests as the tools of KServe and of SageMaker send them, and what their replies hold."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
from support import (
    MODEL,
)

KSERVE, SAGEMAKER = "/v1/timeseries/forecast", "/invocations"


RANDOM = np.random.default_rng(12)


SERIES = (10 + RANDOM.standard_normal((600, 3)).cumsum(axis=0)).astype(np.float32)


def one(**fields: Any) -> dict[str, Any]:
    """An input of KServe's; a field that is ... is left out."""
    given = {"type": "univariate_time_series", "name": "a", "series": SERIES[:, 0].tolist(), "frequency": "H"}
    return {name: value for name, value in (given | fields).items() if value is not ...}


def kserve(*inputs: Any, **fields: Any) -> dict[str, Any]:
    """A request of KServe's; ``fields`` beside the inputs."""
    given = {"model": MODEL, "inputs": list(inputs) or [one()], "options": {"horizon": 4}}
    return {name: value for name, value in (given | fields).items() if value is not ...}


def chronos(*inputs: Any, **parameters: Any) -> dict[str, Any]:
    """A request with the payload of Chronos."""
    return {"inputs": list(inputs) or [{"target": SERIES[:, 0].tolist()}], "parameters": parameters}


def answer(client: httpx.Client, path: str, request: Any) -> Any:
    response = client.post(path, json=request)
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/json"
    return response.json()


def content(client: httpx.Client, request: Any) -> list[dict[str, Any]]:
    """The forecasts of a reply of KServe's, whose form is checked in passing."""
    reply = answer(client, KSERVE, request)
    assert set(reply) - {"metadata"} == {"id", "created_at", "status", "error", "model", "outputs", "usage"}
    assert (reply["status"], reply["error"], reply["model"]) == ("completed", None, request["model"])
    assert isinstance(reply["created_at"], int)
    forecasts = []
    for output in reply["outputs"]:
        assert set(output) == {"type", "id", "status", "content", "error"}
        assert (output["type"], output["status"], output["error"]) == ("time_series_forecast", "completed", None)
        forecasts += output["content"]
    assert len({reply["id"], *(output["id"] for output in reply["outputs"])}) == len(reply["outputs"]) + 1
    assert len(forecasts) == len(request["inputs"])
    return forecasts


def predictions(client: httpx.Client, request: Any) -> list[dict[str, Any]]:
    """The forecasts of a reply of SageMaker's."""
    reply = answer(client, SAGEMAKER, request)
    assert set(reply) == {"predictions"}
    assert len(reply["predictions"]) == len(request["inputs"])
    return list(reply["predictions"])


def ours(client: httpx.Client, *series: Any, **fields: Any) -> list[dict[str, Any]]:
    """What the service's own route answers to the same."""
    request = {"inputs": [{"target": values} for values in series], "missing": "interpolate", "short": "pad", **fields}
    return list(answer(client, "/forecast", request)["outputs"])


def refusal(response: httpx.Response) -> tuple[int, str, str]:
    """Status, code and path of a refusal, whose form is that of the route."""
    body = response.json()
    if "error" in body:
        error = body["error"]
        assert set(body) == {"error"}
        assert set(error) == {"code", "message", "param", "type"}
        assert error["code"] == str(response.status_code)
        path = error["param"] or ""
        assert error["message"].startswith(path)
        return response.status_code, error["type"], path
    assert set(body) == {"code", "type", "message"}
    assert body["code"] == response.status_code
    path, colon, _ = body["message"].partition(": ")
    return response.status_code, body["type"], path if colon else ""


def with_and_without(fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for some in itertools.product((True, False), repeat=len(fields)):
        yield {name: value for (name, value), there in zip(fields.items(), some, strict=True) if there}
