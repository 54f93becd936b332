"""KServe's and SageMaker's routes, as those who have tools for them send requests and read replies."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from support import (
    CHANNELS,
    MODEL,
    PATIENCE,
    ROOT,
    Gate,
    HttpService,
    change_manifest,
    copy_model,
    fix_hashes,
    wait_until,
)
from vinocast.forecast.manifest import QUANTILES_FILE, open_forecaster
from vinocast.forecast.quantiles import QuantileTable

KSERVE, SAGEMAKER = "/v1/timeseries/forecast", "/invocations"
DOCUMENT = ROOT / "docs" / "other-protocols.md"
TOKEN = "only-those-who-know-it"
RANDOM = np.random.default_rng(12)
SERIES = (10 + RANDOM.standard_normal((600, 3)).cumsum(axis=0)).astype(np.float32)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpService]:
    """A service whose model knows how sure it is."""
    models = tmp_path_factory.mktemp("models")
    folder = copy_model(models)
    residuals = np.sort(RANDOM.standard_normal((len(CHANNELS) + 1, 96, 5)), axis=-1).astype(np.float32)
    table = QuantileTable(np.array([0, 0.1, 0.5, 0.9, 1]), residuals[:-1], residuals[-1])
    (folder / QUANTILES_FILE).write_bytes(table.packed())
    change_manifest(folder, files=open_forecaster(folder).manifest.files | {QUANTILES_FILE: ""})
    fix_hashes(folder)
    with HttpService("--models", models) as running:
        yield running


@pytest.fixture(scope="module")
def client(service: HttpService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=PATIENCE) as connected:
        yield connected


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


def test_an_input_of_kserve_is_forecast_as_our_own_route_does(client: httpx.Client) -> None:
    given = kserve(one(start_timestamp="2026-01-01T00:00:00Z"), options={"horizon": 24, "quantiles": [0.9, 0.1, 0.5]})
    (forecast,) = content(client, given)
    (own,) = ours(client, SERIES[:, 0].tolist(), prediction_length=24, quantile_levels=[0.1, 0.5, 0.9])
    assert forecast == {
        "type": "univariate_time_series",
        "name": "a",
        "mean_forecast": own["predictions"],
        "frequency": "H",
        "start_timestamp": "2026-01-26T00:00:00Z",
        "quantiles": own["quantiles"],
    }
    assert answer(client, KSERVE, given)["usage"] == {
        "prompt_tokens": 600,
        "completion_tokens": 24,
        "total_tokens": 624,
    }


def test_series_that_were_measured_together_come_back_together(client: httpx.Client) -> None:
    given = kserve(
        one(type="multivariate_time_series", name="both", series=SERIES[:, :2].tolist()),
        one(name="last", series=SERIES[:, 2].tolist()),
        options={"horizon": 3, "quantiles": [0.1, 0.9]},
    )
    both, last = content(client, given)
    own = ours(client, *SERIES.T.tolist(), prediction_length=3, quantile_levels=[0.1, 0.9])
    assert both["type"] == "multivariate_time_series"
    assert both["mean_forecast"] == np.transpose([each["predictions"] for each in own[:2]]).tolist()
    for level in ("0.1", "0.9"):
        assert both["quantiles"][level] == np.transpose([each["quantiles"][level] for each in own[:2]]).tolist()
    assert last["mean_forecast"] == own[2]["predictions"]
    assert (both["name"], last["name"]) == ("both", "last")
    usage = answer(client, KSERVE, given)["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (1800, 9)


@pytest.mark.parametrize(
    ("words", "start", "expected"),
    [
        (("second", "S"), "2025-06-05T13:59:57Z", "2025-06-05T14:00:02Z"),
        (("minute", "T"), "2025-06-05T23:57:00Z", "2025-06-06T00:02:00Z"),
        (("hour", "H"), "2025-06-05T13:10:00Z", "2025-06-05T18:10:00Z"),
        (("day", "D"), "2025-06-28T13:10:00Z", "2025-07-03T13:10:00Z"),
        (("week", "W"), "2025-06-05", "2025-07-10"),
        (("month", "M"), "2024-09-30T00:00:00Z", "2025-02-28T00:00:00Z"),
        (("month", "M"), "2025-02-28T00:00:00+01:00", "2025-07-28T00:00:00+01:00"),
        (("quarter", "Q"), "2025-06-05T13:10:00Z", "2026-09-05T13:10:00Z"),
        (("year", "Y"), "2024-02-29T00:00:00Z", "2029-02-28T00:00:00Z"),
    ],
)
def test_a_forecast_begins_where_kserve_says_that_it_does(
    client: httpx.Client, words: tuple[str, ...], start: str, expected: str
) -> None:
    given = kserve(*(one(frequency=word, start_timestamp=start, series=[1, 2, 4, 3, 5]) for word in words))
    for word, forecast in zip(words, content(client, given), strict=True):
        assert (forecast["frequency"], forecast["start_timestamp"]) == (word, expected)


def test_without_a_start_the_time_of_a_forecast_is_empty_and_without_quantiles_there_are_none(
    client: httpx.Client,
) -> None:
    (forecast,) = content(client, kserve())
    assert forecast["start_timestamp"] == ""
    assert forecast["quantiles"] is None


def test_what_kserve_lets_a_request_hold_beside_has_no_effect_and_metadata_comes_back(client: httpx.Client) -> None:
    more = {"request_id": 2**70, "other_data": [None]}
    given = kserve(
        one(unit="kWh"), options={"horizon": 4, "other_options": "value"}, metadata=more, other_properties="value"
    )
    assert content(client, given) == content(client, kserve())
    body = orjson.dumps(given | {"metadata": None}).replace(
        b'"metadata":null', b'"metadata":' + json.dumps(more).encode()
    )
    assert json.loads(client.post(KSERVE, content=body).content)["metadata"] == more


def test_a_series_of_chronos_is_forecast_as_our_own_route_does(client: httpx.Client) -> None:
    given = chronos(
        {"target": SERIES[:, 0].tolist(), "item_id": "product_A", "start": "2024-01-01T01:00:00"},
        {"target": SERIES[:9, 1].tolist(), "item_id": "product_B", "start": "2024-02-02"},
        prediction_length=5,
        freq="1h",
        quantile_levels=[0.9, 0.05],
        batch_size=2,
        predict_batches_jointly=False,
    )
    first, second = predictions(client, given)
    own = ours(client, SERIES[:, 0].tolist(), SERIES[:9, 1].tolist(), prediction_length=5, quantile_levels=[0.05, 0.9])
    for forecast, expected in zip((first, second), own, strict=True):
        assert forecast["mean"] == expected["predictions"]
        assert {level: forecast[level] for level in ("0.05", "0.9")} == expected["quantiles"]
        assert set(forecast) == {"mean", "0.05", "0.9", "item_id", "start"}
    assert (first["item_id"], first["start"]) == ("product_A", "2024-01-26T01:00:00")
    assert (second["item_id"], second["start"]) == ("product_B", "2024-02-02T09:00:00")


def test_a_request_of_chronos_without_parameters_gets_one_step_and_three_quantiles(client: httpx.Client) -> None:
    for given in ({"inputs": [{"target": [1, 2, 3, 4, 5]}]}, chronos({"target": [1, 2, 3, 4, 5]})):
        (forecast,) = predictions(client, given)
        assert set(forecast) == {"mean", "0.1", "0.5", "0.9"}
        assert all(len(values) == 1 for values in forecast.values())
        assert forecast["0.1"] <= forecast["0.5"] <= forecast["0.9"]


@pytest.mark.parametrize("gap", ["null", "NaN"])
def test_gaps_are_interpolated_as_json_and_as_python_write_them(client: httpx.Client, gap: str) -> None:
    body = b'{"inputs": [{"target": [1.5, %s, %s, 4.5, 3, 7, 5], "item_id": "NaN, \\"NaN"}], "parameters": {}}'
    reply = client.post(SAGEMAKER, content=body.replace(b"%s", gap.encode())).json()
    (expected,) = predictions(client, chronos({"target": [1.5, 2.5, 3.5, 4.5, 3, 7, 5]}))
    assert reply["predictions"] == [expected | {"item_id": 'NaN, "NaN'}]
    (forecast,) = content(client, kserve(one(series=[1.5, None, None, 4.5, 3, 7, 5])))
    (whole,) = content(client, kserve(one(series=[1.5, 2.5, 3.5, 4.5, 3, 7, 5])))
    assert forecast == whole | {"filled": 2}
    assert whole["padded"] == 505


def test_more_steps_than_the_horizon_are_made_of_forecasts_but_not_how_sure_they_are(client: httpx.Client) -> None:
    (own,) = ours(client, SERIES[:, 0].tolist(), prediction_length=150, rollout=True)
    (forecast,) = content(client, kserve(options={"horizon": 150}))
    assert forecast["mean_forecast"] == own["predictions"]
    (forecast,) = predictions(client, chronos(prediction_length=150, quantile_levels=[]))
    assert forecast == {"mean": own["predictions"]}
    longer = client.post(KSERVE, json=kserve(options={"horizon": 97, "quantiles": [0.5]}))
    assert refusal(longer) == (422, "invalid_request", "options.quantiles")
    assert "options.horizon of at most 96" in longer.text
    longer = client.post(SAGEMAKER, json=chronos(prediction_length=97))
    assert refusal(longer) == (422, "invalid_request", "parameters.quantile_levels")


BAD_KSERVE: list[tuple[dict[str, Any], tuple[int, str, str]]] = [
    (kserve(model=...), (422, "invalid_request", "model")),
    (kserve(model="none"), (404, "unknown_model", "model")),
    (kserve(inputs=...), (422, "invalid_request", "inputs")),
    (kserve(inputs=[]), (422, "invalid_request", "inputs")),
    (kserve(inputs={}), (422, "invalid_request", "inputs")),
    (kserve(inputs=[one(), 1]), (422, "invalid_request", "inputs[1]")),
    (kserve(inputs=[one(series=[1])] * 5000), (413, "payload_too_large", "inputs")),
    (kserve(options=...), (422, "invalid_request", "options")),
    (kserve(options={}), (422, "invalid_request", "options.horizon")),
    (kserve(options={"horizon": 0}), (422, "invalid_request", "options.horizon")),
    (kserve(options={"horizon": 1.5}), (422, "invalid_request", "options.horizon")),
    (kserve(options={"horizon": True}), (422, "invalid_request", "options.horizon")),
    (kserve(options={"horizon": 10**6}), (422, "invalid_request", "options.horizon")),
    (kserve(options={"horizon": 4, "quantiles": 0.5}), (422, "invalid_request", "options.quantiles")),
    (kserve(options={"horizon": 4, "quantiles": [0.5, 1.1]}), (422, "invalid_request", "options.quantiles[1]")),
    (kserve(options={"horizon": 4, "quantiles": ["0.5"]}), (422, "invalid_request", "options.quantiles[0]")),
    (kserve(options={"horizon": 4, "quantile_levels": [0.5]}), (422, "invalid_request", "options.quantile_levels")),
    (kserve(options={"horizon": 4, "rollout": False}), (422, "invalid_request", "options.rollout")),
    (kserve(missing="refuse"), (422, "invalid_request", "missing")),
    (kserve(one(type=...)), (422, "invalid_request", "inputs[0].type")),
    (kserve(one(type="univariate")), (422, "invalid_request", "inputs[0].type")),
    (kserve(one(name=...)), (422, "invalid_request", "inputs[0].name")),
    (kserve(one(name="x" * 257)), (422, "invalid_request", "inputs[0].name")),
    (kserve(one(series=...)), (422, "invalid_request", "inputs[0].series")),
    (kserve(one(series=[])), (422, "invalid_shape", "inputs[0].series")),
    (kserve(one(), one(series=[1, "2"])), (422, "invalid_value", "inputs[1].series[1]")),
    (kserve(one(series=[1, True])), (422, "invalid_value", "inputs[0].series[1]")),
    (kserve(one(series=[1, 1e39])), (422, "invalid_value", "inputs[0].series[1]")),
    (kserve(one(series=[1, [2]])), (422, "invalid_shape", "inputs[0].series[1]")),
    (kserve(one(series=[None] * 4)), (422, "invalid_value", "inputs[0].series")),
    (kserve(one(series=[1] + [None] * 4)), (422, "invalid_value", "inputs[0].series")),
    (kserve(one(type="multivariate_time_series")), (422, "invalid_shape", "inputs[0].series[0]")),
    (kserve(one(type="multivariate_time_series", series=[[]])), (422, "invalid_shape", "inputs[0].series[0]")),
    (
        kserve(one(type="multivariate_time_series", series=[[1, 2], [3]])),
        (422, "invalid_shape", "inputs[0].series[1]"),
    ),
    (
        kserve(one(), one(type="multivariate_time_series", series=[[1, 2], [3, "x"]])),
        (422, "invalid_value", "inputs[1].series[1][1]"),
    ),
    (
        kserve(one(), one(type="multivariate_time_series", series=[[1, None], [2, None], [3, None]])),
        (422, "invalid_value", "inputs[1].series[*][1]"),
    ),
    (
        kserve(one(), one(type="multivariate_time_series", series=[[0] * 5000])),
        (413, "payload_too_large", "inputs[1].series"),
    ),
    (kserve(one(frequency=...)), (422, "invalid_request", "inputs[0].frequency")),
    (kserve(one(frequency="h")), (422, "invalid_request", "inputs[0].frequency")),
    (kserve(one(start_timestamp="yesterday")), (422, "invalid_request", "inputs[0].start_timestamp")),
    (kserve(one(start_timestamp="")), (422, "invalid_request", "inputs[0].start_timestamp")),
    (kserve(one(start_timestamp=5)), (422, "invalid_request", "inputs[0].start_timestamp")),
    (
        kserve(one(start_timestamp="2261-12-31T23:00:00Z", frequency="Y")),
        (422, "invalid_request", "inputs[0].start_timestamp"),
    ),
    (kserve(one(past_covariates={"a": [1]})), (422, "invalid_request", "inputs[0].past_covariates")),
]


@pytest.mark.parametrize(("request_", "expected"), BAD_KSERVE)
def test_a_fault_is_told_in_the_names_of_kserve(
    client: httpx.Client, request_: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    assert refusal(client.post(KSERVE, json=request_)) == expected


TARGET = {"target": [1, 2, 3, 4, 5]}
BAD_CHRONOS: list[tuple[dict[str, Any], tuple[int, str, str]]] = [
    ({}, (422, "invalid_request", "inputs")),
    ({"inputs": []}, (422, "invalid_request", "inputs")),
    ({"inputs": [TARGET] * 5000}, (413, "payload_too_large", "inputs")),
    ({"inputs": [[1, 2, 3]]}, (422, "invalid_request", "inputs[0]")),
    ({"inputs": [TARGET], "parameters": []}, (422, "invalid_request", "parameters")),
    ({"inputs": [TARGET], "options": {}}, (422, "invalid_request", "options")),
    (chronos({}), (422, "invalid_request", "inputs[0].target")),
    (chronos({"target": []}), (422, "invalid_shape", "inputs[0].target")),
    (chronos({"target": "1"}), (422, "invalid_request", "inputs[0].target")),
    (chronos(TARGET, {"target": [1, 2, "3"]}), (422, "invalid_value", "inputs[1].target[2]")),
    (chronos({"target": [[1, 2, 3]]}), (422, "invalid_shape", "inputs[0].target[0]")),
    (chronos({"target": [1, None, None]}), (422, "invalid_value", "inputs[0].target")),
    (chronos(TARGET | {"item_id": 1.5}), (422, "invalid_request", "inputs[0].item_id")),
    (chronos(TARGET | {"item_id": 2**64}), (422, "invalid_request", "inputs[0].item_id")),
    (chronos(TARGET | {"item_id": "x" * 257}), (422, "invalid_request", "inputs[0].item_id")),
    (chronos(TARGET | {"items_id": "x"}), (422, "invalid_request", "inputs[0].items_id")),
    (chronos(TARGET | {"past_covariates": {"a": [1] * 5}}), (422, "invalid_request", "inputs[0].past_covariates")),
    (chronos(TARGET | {"future_covariates": {"a": [1]}}), (422, "invalid_request", "inputs[0].future_covariates")),
    (chronos(TARGET | {"start": "2024-01-01"}), (422, "invalid_request", "parameters.freq")),
    (chronos(TARGET | {"start": "2024-01-01"}, TARGET, freq="h"), (422, "invalid_request", "inputs[1].start")),
    (chronos(TARGET | {"start": "soon"}, freq="h"), (422, "invalid_request", "inputs[0].start")),
    (chronos(TARGET | {"start": "2024-01-01"}, freq="m"), (422, "invalid_request", "parameters.freq")),
    (chronos(TARGET | {"start": "2024-01-01"}, freq=60), (422, "invalid_request", "parameters.freq")),
    (chronos(prediction_length=0), (422, "invalid_request", "parameters.prediction_length")),
    (chronos(prediction_length="3"), (422, "invalid_request", "parameters.prediction_length")),
    (chronos(prediction_length=10**6), (422, "invalid_request", "parameters.prediction_length")),
    (chronos(quantile_levels=[0.1, -0.1]), (422, "invalid_request", "parameters.quantile_levels[1]")),
    (chronos(quantile_levels=None), (422, "invalid_request", "parameters.quantile_levels")),
    (chronos(batch_size=0), (422, "invalid_request", "parameters.batch_size")),
    (chronos(predict_batches_jointly=True), (422, "invalid_request", "parameters.predict_batches_jointly")),
    (chronos(covariate_model="GBM"), (422, "invalid_request", "parameters.covariate_model")),
    (chronos(num_samples=20), (422, "invalid_request", "parameters.num_samples")),
]


@pytest.mark.parametrize(("request_", "expected"), BAD_CHRONOS)
def test_a_fault_is_told_in_the_names_of_chronos(
    client: httpx.Client, request_: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    assert refusal(client.post(SAGEMAKER, json=request_)) == expected


def test_empty_covariates_are_none(client: httpx.Client) -> None:
    given = chronos(TARGET | {"past_covariates": {}, "future_covariates": None})
    assert predictions(client, given) == predictions(client, chronos(TARGET))


def with_and_without(fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for some in itertools.product((True, False), repeat=len(fields)):
        yield {name: value for (name, value), there in zip(fields.items(), some, strict=True) if there}


def test_every_field_of_kserve_goes_with_every_other(client: httpx.Client) -> None:
    optional = {"start_timestamp": "2026-01-01T00:00:00Z", "quantiles": [0.5], "metadata": {"a": 1}}
    kinds = {
        "univariate_time_series": [1, 2, None, 4],
        "multivariate_time_series": [[1, 2], [2, None], [3, 4], [4, 4]],
    }
    for fields, (kind, series) in itertools.product(with_and_without(optional), kinds.items()):
        options = {"horizon": 2, **({"quantiles": fields.pop("quantiles")} if "quantiles" in fields else {})}
        outside = {"metadata": fields.pop("metadata")} if "metadata" in fields else {}
        given = kserve(one(type=kind, series=series, **fields), options=options, **outside)
        (forecast,) = content(client, given)
        assert answer(client, KSERVE, given).get("metadata") == outside.get("metadata")
        assert bool(forecast["start_timestamp"]) is ("start_timestamp" in fields)
        assert (forecast["quantiles"] is not None) is ("quantiles" in options)
        assert (forecast["filled"], forecast["padded"]) == (1, 508)
        shape = (2,) if kind.startswith("uni") else (2, 2)
        assert np.shape(forecast["mean_forecast"]) == shape
        for values in (forecast["quantiles"] or {}).values():
            assert np.shape(values) == shape


def test_every_field_of_chronos_goes_with_every_other(client: httpx.Client) -> None:
    parameters = {"prediction_length": 3, "quantile_levels": [0.25], "batch_size": 7, "predict_batches_jointly": False}
    inputs = {"item_id": 5, "start": "2026-01-01T00:00:00"}
    for outside, inside in itertools.product(with_and_without(parameters), with_and_without(inputs)):
        step = {"freq": "15min"} if "start" in inside else {}
        (forecast,) = predictions(client, chronos(TARGET | inside, **outside, **step))
        levels = {"0.25"} if "quantile_levels" in outside else {"0.1", "0.5", "0.9"}
        assert set(forecast) == {"mean", *levels, *inside}
        assert len(forecast["mean"]) == outside.get("prediction_length", 1)
        assert forecast.get("item_id") == inside.get("item_id")
        assert forecast.get("start") == ("2026-01-01T01:15:00" if "start" in inside else None)


@pytest.mark.parametrize("path", [KSERVE, SAGEMAKER])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
        ({"Content-Type": "text/csv"}, 415),
        ({"Content-Type": "application/jsonlines"}, 415),
        # What forms of web pages can send, which tell nobody where they come from in old browsers.
        ({"Content-Type": "text/plain;charset=application/json"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
    ],
)
def test_a_body_may_leave_out_what_it_is_but_must_not_be_another(
    client: httpx.Client, path: str, headers: dict[str, str], status: int
) -> None:
    body = orjson.dumps(kserve() if path == KSERVE else chronos())
    response = client.post(path, content=body, headers=headers)
    assert response.status_code == status, response.text
    if status != 200:
        assert refusal(response)[1] == "unsupported_media_type"


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "a number too large": b'{"inputs": 1e999}',
    "no UTF-8": b'{"inputs": "\xff"}',
    "no object": b"[]",
    "a gap that is not in a series": b"NaN",
    "open strings": b'{"NaN": "' + b'\\"' * 50_000,
    "deep": b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep in metadata": b'{"metadata": ' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"}",
    "brackets": b'{"inputs": [' + b"[]," * 1_000_000 + b"[]]}",
    "many names": b'{"inputs": [{%s}]}' % b",".join(b'"target%d": 1' % n for n in range(50_000)),
    "a long name": b'{"inputs": [{"%s": 1}]}' % (b"x" * 1_000_000),
    "a wide row": b'{"model": "m", "options": {"horizon": 1}, "inputs": [{"type": "multivariate_time_series",'
    b'"name": "a", "frequency": "D", "series": [[%s]]}]}' % b",".join([b"1"] * 1_000_000),
    "many levels": b'{"inputs": [{"target": [1]}], "parameters": {"quantile_levels": [%s]}}'
    % b",".join([b"1"] * 100_000),
    "a query": b"{}",
}


@pytest.mark.parametrize("path", [KSERVE, SAGEMAKER])
@pytest.mark.parametrize("name", HOSTILE)
def test_what_strangers_send_is_refused_in_the_form_of_the_route(
    client: httpx.Client, service: HttpService, path: str, name: str
) -> None:
    params = {"model": MODEL} if name == "a query" else {}
    response = client.post(path, content=HOSTILE[name], params=params)
    status, code, _ = refusal(response)
    assert status in {400, 413, 422}, (status, code)
    assert len(response.content) < 3000
    assert client.get("/ping").status_code == 200
    assert "internal error" not in service.log


def test_who_may_ask_is_decided_in_front_of_these_routes_too(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    requests = {KSERVE: kserve(), SAGEMAKER: chronos(quantile_levels=[])}
    with HttpService("--token-file", token) as guarded, httpx.Client(base_url=guarded.url) as client:
        known = {"Authorization": f"Bearer {TOKEN}"}
        assert client.get("/ping").status_code == client.head("/ping").status_code == 200
        assert client.get("/v1/timeseries/models").status_code == 401
        assert client.get("/v1/timeseries/models", headers=known).json() == [MODEL]
        for path, body in requests.items():
            for headers, status in (
                ({}, 401),
                (known, 200),
                (known | {"Host": "evil.example"}, 421),
                (known | {"Origin": "http://evil.example"}, 403),
            ):
                assert client.post(path, json=body, headers=headers).status_code == status
            assert client.get(path, headers=known).status_code == 405


def test_ping_says_when_forecasts_are_answered(make_gate: Callable[[str], Gate], tmp_path: Path) -> None:
    gate = make_gate(MODEL)
    with (
        HttpService("--models", tmp_path / "models", ready=False) as starting,
        httpx.Client(base_url=starting.url) as client,
    ):
        gate.reach()
        assert client.get("/ping").status_code == client.head("/ping").status_code == 503
        early = client.post(SAGEMAKER, json=chronos(quantile_levels=[]))
        assert refusal(early) == (503, "not_ready", "")
        assert early.headers["Retry-After"]
        assert refusal(client.post(KSERVE, json=kserve())) == (503, "not_ready", "")
        gate.open()
        wait_until(lambda: client.get("/ping").status_code == 200, "ready")
        assert client.get("/ping").content == b""


def test_the_models_are_listed_by_their_names(client: httpx.Client) -> None:
    assert client.get("/v1/timeseries/models").json() == [MODEL]


def test_a_large_batch_is_bounded_and_leaves_nothing_behind(client: httpx.Client) -> None:
    given = chronos(
        *({"target": SERIES[: 20 + n % 7, 0].tolist(), "item_id": n} for n in range(1000)), quantile_levels=[]
    )
    forecasts = predictions(client, given)
    assert [forecast["item_id"] for forecast in forecasts] == list(range(1000))
    assert forecasts[0]["mean"] == forecasts[7]["mean"] != forecasts[1]["mean"]


def test_the_examples_of_the_document_are_answered_as_it_says(client: httpx.Client) -> None:
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)]
    assert len(blocks) == 4
    for path, request, said in ((KSERVE, *blocks[:2]), (SAGEMAKER, *blocks[2:])):
        assert form_of(answer(client, path, request)) == form_of(said)


def form_of(value: Any) -> Any:
    """What a reply is made of: names, lengths and kinds, and texts that are no numbers of its own."""
    match value:
        case dict():
            return {name: "…" if name == "id" else form_of(each) for name, each in value.items()}
        case list():
            return [form_of(each) for each in value]
        case int() | float():
            return "a number"
        case _:
            return value
