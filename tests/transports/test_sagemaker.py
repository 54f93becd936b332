"""SageMaker's routes with the payload of Chronos, as those who have tools for them send requests and read replies."""

from __future__ import annotations

import itertools
from typing import Any

import httpx
import pytest
from standards_asked import (
    SAGEMAKER,
    SERIES,
    chronos,
    content,
    kserve,
    one,
    ours,
    predictions,
    refusal,
    with_and_without,
)

TARGET = {"target": [1, 2, 3, 4, 5]}


def test_a_series_of_chronos_is_forecast_as_our_own_route_does(sure_client: httpx.Client) -> None:
    given = chronos(
        {"target": SERIES[:, 0].tolist(), "item_id": "product_A", "start": "2024-01-01T01:00:00"},
        {"target": SERIES[:9, 1].tolist(), "item_id": "product_B", "start": "2024-02-02"},
        prediction_length=5,
        freq="1h",
        quantile_levels=[0.9, 0.05],
        batch_size=2,
        predict_batches_jointly=False,
    )
    first, second = predictions(sure_client, given)
    own = ours(
        sure_client, SERIES[:, 0].tolist(), SERIES[:9, 1].tolist(), prediction_length=5, quantile_levels=[0.05, 0.9]
    )
    for forecast, expected in zip((first, second), own, strict=True):
        assert forecast["mean"] == expected["predictions"]
        assert {level: forecast[level] for level in ("0.05", "0.9")} == expected["quantiles"]
        assert set(forecast) == {"mean", "0.05", "0.9", "item_id", "start"}
    assert (first["item_id"], first["start"]) == ("product_A", "2024-01-26T01:00:00")
    assert (second["item_id"], second["start"]) == ("product_B", "2024-02-02T09:00:00")


def test_a_request_of_chronos_without_parameters_gets_one_step_and_three_quantiles(sure_client: httpx.Client) -> None:
    for given in ({"inputs": [{"target": [1, 2, 3, 4, 5]}]}, chronos({"target": [1, 2, 3, 4, 5]})):
        (forecast,) = predictions(sure_client, given)
        assert set(forecast) == {"mean", "0.1", "0.5", "0.9"}
        assert all(len(values) == 1 for values in forecast.values())
        assert forecast["0.1"] <= forecast["0.5"] <= forecast["0.9"]


@pytest.mark.parametrize("gap", ["null", "NaN"])
def test_gaps_are_interpolated_as_json_and_as_python_write_them(sure_client: httpx.Client, gap: str) -> None:
    body = b'{"inputs": [{"target": [1.5, %s, %s, 4.5, 3, 7, 5], "item_id": "NaN, \\"NaN"}], "parameters": {}}'
    reply = sure_client.post(SAGEMAKER, content=body.replace(b"%s", gap.encode())).json()
    (expected,) = predictions(sure_client, chronos({"target": [1.5, 2.5, 3.5, 4.5, 3, 7, 5]}))
    assert reply["predictions"] == [expected | {"item_id": 'NaN, "NaN'}]
    (forecast,) = content(sure_client, kserve(one(series=[1.5, None, None, 4.5, 3, 7, 5])))
    (whole,) = content(sure_client, kserve(one(series=[1.5, 2.5, 3.5, 4.5, 3, 7, 5])))
    assert forecast == whole | {"filled": 2}
    assert whole["padded"] == 505


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
    sure_client: httpx.Client, request_: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    assert refusal(sure_client.post(SAGEMAKER, json=request_)) == expected


def test_empty_covariates_are_none(sure_client: httpx.Client) -> None:
    given = chronos(TARGET | {"past_covariates": {}, "future_covariates": None})
    assert predictions(sure_client, given) == predictions(sure_client, chronos(TARGET))


def test_every_field_of_chronos_goes_with_every_other(sure_client: httpx.Client) -> None:
    parameters = {"prediction_length": 3, "quantile_levels": [0.25], "batch_size": 7, "predict_batches_jointly": False}
    inputs = {"item_id": 5, "start": "2026-01-01T00:00:00"}
    for outside, inside in itertools.product(with_and_without(parameters), with_and_without(inputs)):
        step = {"freq": "15min"} if "start" in inside else {}
        (forecast,) = predictions(sure_client, chronos(TARGET | inside, **outside, **step))
        levels = {"0.25"} if "quantile_levels" in outside else {"0.1", "0.5", "0.9"}
        assert set(forecast) == {"mean", *levels, *inside}
        assert len(forecast["mean"]) == outside.get("prediction_length", 1)
        assert forecast.get("item_id") == inside.get("item_id")
        assert forecast.get("start") == ("2026-01-01T01:15:00" if "start" in inside else None)


def test_a_large_batch_is_bounded_and_leaves_nothing_behind(sure_client: httpx.Client) -> None:
    given = chronos(
        *({"target": SERIES[: 20 + n % 7, 0].tolist(), "item_id": n} for n in range(1000)), quantile_levels=[]
    )
    forecasts = predictions(sure_client, given)
    assert [forecast["item_id"] for forecast in forecasts] == list(range(1000))
    assert forecasts[0]["mean"] == forecasts[7]["mean"] != forecasts[1]["mean"]
