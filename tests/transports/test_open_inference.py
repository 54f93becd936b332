"""The Open Inference Protocol over HTTP: what is told of the service and its models, and inference in JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from support import MODEL, MODELS, PATIENCE, Gate, HttpService, copy_model, wait_until
from tensors_asked import (
    EXAMPLES,
    GRIDS,
    SERIES,
    WINDOWS,
    infer_path,
    outputs_of,
    own_forecasts,
    own_labels,
    own_predictions,
    refusal,
    tensor,
)
from vinocast import __version__

GENERAL = "vinocast-general"


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with HttpService() as service, httpx.Client(base_url=service.url, timeout=PATIENCE) as connected:
        yield connected


def infer(client: httpx.Client, *inputs: Any, model: str = MODEL, **fields: Any) -> httpx.Response:
    return client.post(infer_path(model), json={"inputs": list(inputs), **fields})


def test_the_service_and_its_models_are_described_by_their_tensors(client: httpx.Client) -> None:
    extensions = ["binary_tensor_data", "model_repository"]
    assert client.get("/v2").json() == {"name": "vinocast", "version": __version__, "extensions": extensions}
    windows = {"name": "past_values", "datatype": "FP32", "shape": [-1, 512, 7]}
    forecasts = {"name": "predictions", "datatype": "FP32", "shape": [-1, 96, 7]}
    quantiles = {"name": "quantiles", "datatype": "FP32", "shape": [-1, -1, 96, 7]}
    described = client.get(f"/v2/models/{MODEL}").json()
    assert described == {
        "name": MODEL,
        "versions": ["1"],
        "platform": "openvino",
        "inputs": [windows],
        "outputs": [forecasts, quantiles],
    }
    assert client.get(f"/v2/models/{MODEL}/versions/1").json() == described
    glyphs = client.get("/v2/models/glyphs").json()
    assert [(each["name"], each["datatype"], each["shape"]) for each in glyphs["inputs"] + glyphs["outputs"]] == [
        ("grids", "INT64", [-1, 16, 16]),
        ("rasters", "BYTES", [-1]),
        ("ids", "INT64", [-1, -1]),
        ("labels", "BYTES", [-1, -1]),
        ("probabilities", "FP32", [-1, -1]),
    ]
    assert client.head(f"/v2/models/{MODEL}").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/none", 404),
        ("GET", f"/v2/models/{MODEL}/versions/2", 404),
        ("GET", f"/v2/models/{MODEL}/versions/2/ready", 404),
        ("GET", "/v2/models/none/ready", 404),
        ("POST", "/v2/models/none/infer", 404),
        ("POST", f"/v2/models/{MODEL}/versions/2/infer", 404),
        ("GET", "/v2/", 404),
        ("GET", "/v2/nothing", 404),
        ("GET", f"/v2/models/{MODEL}/config", 404),
        ("POST", "/v2", 405),
        ("GET", infer_path(), 405),
        ("GET", "/v2/repository/index", 405),
    ],
)
def test_what_is_not_there_is_refused_in_the_form_of_the_protocol(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    body = orjson.dumps({"inputs": [tensor(WINDOWS[:1])]}) if method == "POST" else None
    assert refusal(client.request(method, path, content=body))[0] == status


def test_a_window_is_forecast_as_our_own_route_does(client: httpx.Client) -> None:
    own = own_predictions(client, WINDOWS)
    for count in (1, 3):  # one window, and several
        response = infer(client, tensor(WINDOWS[:count]), id="mine")
        assert np.array_equal(outputs_of(response)["predictions"], own[:count])
        reply = response.json()
        assert (reply["model_name"], reply["model_version"], reply["id"]) == (MODEL, "1", "mine")
        assert reply["parameters"]["inference_time_ms"] > 0
    flat = tensor(WINDOWS, data=WINDOWS.ravel().tolist())
    assert np.array_equal(outputs_of(infer(client, flat))["predictions"], own)
    versioned = client.post(f"/v2/models/{MODEL}/versions/1/infer", json={"inputs": [flat]})
    assert np.array_equal(outputs_of(versioned)["predictions"], own)


def test_quantiles_come_where_they_are_asked_for(client: httpx.Client) -> None:
    own = own_forecasts(client, WINDOWS, quantile_levels=[0.1, 0.5, 0.9])
    expected = np.array([list(reply["quantiles"].values()) for reply in own], np.float32)
    for count in (1, 3):
        response = infer(client, tensor(WINDOWS[:count]), outputs=[{"name": "quantiles"}])
        assert list(outputs_of(response)) == ["quantiles"]
        assert np.array_equal(outputs_of(response)["quantiles"], expected[:count])
        assert response.json()["parameters"]["quantile_levels"] == "0.1,0.5,0.9"
        for levels in ("0.9,0.1", [0.9, 0.1, 0.1]):
            both = outputs_of(infer(client, tensor(WINDOWS[:count]), parameters={"quantile_levels": levels}))
            assert list(both) == ["predictions", "quantiles"]
            assert np.array_equal(both["quantiles"], expected[:count, [0, 2]])


def test_series_are_forecast_as_inputs_of_our_own_route(client: httpx.Client) -> None:
    wanted = {"quantile_levels": [0.5], "prediction_length": 10, "model": GENERAL}
    own = client.post("/forecast", json={"inputs": [{"target": each.tolist()} for each in SERIES], **wanted}).json()
    parameters = {"quantile_levels": "0.5", "prediction_length": 10}
    for given in (tensor(SERIES), tensor(SERIES, data=SERIES.ravel().tolist())):
        made = outputs_of(infer(client, given, model=GENERAL, parameters=parameters))
        for name, expected in (
            ("predictions", [each["predictions"] for each in own["outputs"]]),
            ("quantiles", [[each["quantiles"]["0.5"]] for each in own["outputs"]]),
        ):
            assert np.array_equal(made[name], np.array(expected, np.float32))


@pytest.mark.parametrize("count", [1, 3])
def test_gaps_short_windows_and_long_forecasts_are_as_they_are_asked_for(client: httpx.Client, count: int) -> None:
    gappy: Any = WINDOWS[:count, 12:].tolist()
    gappy[-1][7][3] = None
    fields = {"missing": "interpolate", "short": "pad", "rollout": True, "prediction_length": 200}
    reply = infer(client, tensor(WINDOWS[:count, 12:], data=gappy), parameters=fields)
    own = [client.post("/forecast", json={"past_values": window, **fields}).json() for window in gappy]
    expected = np.array([each["predictions"] for each in own], np.float32)
    assert np.array_equal(outputs_of(reply)["predictions"], expected)
    said = reply.json()["parameters"]
    assert (said["filled"], said["padded"], said["rollout"]) == (1, 12 * count, True)


def test_glyphs_are_recognized_as_our_own_route_does(client: httpx.Client) -> None:
    places = orjson.loads((MODELS / "glyphs" / "label_map.json").read_bytes())
    flat = GRIDS.ravel().tolist()
    for given, own in (
        (tensor(GRIDS, "INT64", "grids"), own_labels(client, grids=GRIDS.tolist(), topk=3)),
        (tensor(GRIDS, "INT64", "grids", data=flat), own_labels(client, grids=GRIDS.tolist(), topk=3)),
        (tensor(EXAMPLES, "BYTES", "rasters"), own_labels(client, rasters=EXAMPLES, topk=3)),
    ):
        made = outputs_of(infer(client, given, model="glyphs", parameters={"topk": 3}))
        assert made["labels"].tolist() == [[each["label"] for each in ranked] for ranked in own]
        probabilities = np.array([[each["prob"] for each in ranked] for ranked in own], np.float32)
        assert np.array_equal(made["probabilities"], probabilities)
        assert made["ids"].tolist() == [[places[each["label"]] for each in ranked] for ranked in own]
    blank = infer(client, tensor(np.zeros((1, 16, 16), int), "INT64", "grids"), model="glyphs").json()
    assert blank["parameters"]["warnings"].startswith("grids[0]: blank")


def test_what_clients_repeat_or_say_besides_is_taken_as_they_send_it(client: httpx.Client) -> None:
    given = {"inputs": [tensor(WINDOWS[:1])], "model_name": "another", "parameters": {"priority": 3, "timeout": 0}}
    own = own_predictions(client, WINDOWS[:1])
    for headers in ({}, {"Content-Type": "application/octet-stream"}, {"Content-Type": "application/json"}):
        response = client.post(
            infer_path(), content=orjson.dumps(given), headers=headers | {"Request-Id": "of the header"}
        )
        assert np.array_equal(outputs_of(response)["predictions"], own)
        assert response.json()["id"] == response.headers["Request-Id"] == "of the header"
    named = client.post(infer_path(), json=given | {"id": "of the body"}, headers={"Request-Id": "of the header"})
    assert (named.json()["id"], named.headers["Request-Id"]) == ("of the body", "of the header")
    assert "id" not in client.post(infer_path(), json=given).json()
    text = client.post(infer_path(), content=b"{}", headers={"Content-Type": "text/csv", "Request-Id": "7"})
    assert (text.status_code, text.headers["Request-Id"]) == (415, "7")


def test_what_comes_too_late_is_not_computed(client: httpx.Client) -> None:
    late = {"parameters": {"timeout": 1}}
    for given, model in (
        (tensor(WINDOWS[:1]), MODEL),
        (tensor(WINDOWS), MODEL),
        (tensor(SERIES), GENERAL),
        (tensor(GRIDS, "INT64", "grids"), "glyphs"),
    ):
        assert refusal(infer(client, given, model=model, **late)) == (504, "parameters.timeout")


def test_health_is_told_before_anything_answers_and_the_index_says_the_states(
    make_gate: Callable[[str], Gate], tmp_path: Path
) -> None:
    gate = make_gate(MODEL)
    broken = copy_model(tmp_path / "models", "broken")
    (broken / "model.bin").write_bytes(b"")
    damaged = copy_model(tmp_path / "models", "damaged")
    (damaged / "manifest.json").write_bytes(b"{")
    options = ("--models", tmp_path / "models", "--default-model", MODEL)
    with HttpService(*options, ready=False) as starting, httpx.Client(base_url=starting.url) as client:

        def index(body: str = "") -> dict[str, tuple[str, str, bool]]:
            listed = client.post("/v2/repository/index", content=body).json()
            return {each["name"]: (each["version"], each["state"], bool(each["reason"])) for each in listed}

        gate.reach()
        assert client.get("/v2/health/live").json() == {"live": True}
        assert refusal(client.get("/v2/health/ready"))[0] == 503
        assert refusal(client.get(f"/v2/models/{MODEL}/ready"))[0] == 503
        early = infer(client, tensor(WINDOWS[:1]))
        assert refusal(early)[0] == 503
        assert early.headers["Retry-After"]
        assert index()[MODEL] == ("1", "LOADING", False)
        gate.open()
        wait_until(lambda: client.get("/v2/health/ready").status_code == 200, "ready")
        wait_until(lambda: index()["broken"][1] == "UNAVAILABLE", "refused")
        assert client.get("/v2/health/ready").json() == {"ready": True}
        assert client.get(f"/v2/models/{MODEL}/ready").json() == {"name": MODEL, "ready": True}
        assert index() == {
            MODEL: ("1", "READY", False),
            "broken": ("1", "UNAVAILABLE", True),
            "damaged": ("", "UNAVAILABLE", True),
        }
        assert index('{"ready": true}') == {MODEL: ("1", "READY", False)}
        assert refusal(client.post("/v2/repository/index", content='{"redy": true}')) == (422, "redy")
        for name in ("broken", "damaged"):
            assert refusal(client.get(f"/v2/models/{name}/ready"))[0] == 404
            assert refusal(infer(client, tensor(WINDOWS[:1]), model=name))[0] == 404
