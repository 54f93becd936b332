"""KServe's route of time series, as those who have tools for it send requests and read replies."""

from __future__ import annotations

import itertools
import json
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from standards_asked import (
    KSERVE,
    SERIES,
    answer,
    content,
    kserve,
    one,
    ours,
    refusal,
    with_and_without,
)
from support import (
    MODEL,
)


def test_an_input_of_kserve_is_forecast_as_our_own_route_does(sure_client: httpx.Client) -> None:
    given = kserve(one(start_timestamp="2026-01-01T00:00:00Z"), options={"horizon": 24, "quantiles": [0.9, 0.1, 0.5]})
    (forecast,) = content(sure_client, given)
    (own,) = ours(sure_client, SERIES[:, 0].tolist(), prediction_length=24, quantile_levels=[0.1, 0.5, 0.9])
    assert forecast == {
        "type": "univariate_time_series",
        "name": "a",
        "mean_forecast": own["predictions"],
        "frequency": "H",
        "start_timestamp": "2026-01-26T00:00:00Z",
        "quantiles": own["quantiles"],
    }
    assert answer(sure_client, KSERVE, given)["usage"] == {
        "prompt_tokens": 600,
        "completion_tokens": 24,
        "total_tokens": 624,
    }


def test_series_that_were_measured_together_come_back_together(sure_client: httpx.Client) -> None:
    given = kserve(
        one(type="multivariate_time_series", name="both", series=SERIES[:, :2].tolist()),
        one(name="last", series=SERIES[:, 2].tolist()),
        options={"horizon": 3, "quantiles": [0.1, 0.9]},
    )
    both, last = content(sure_client, given)
    own = ours(sure_client, *SERIES.T.tolist(), prediction_length=3, quantile_levels=[0.1, 0.9])
    assert both["type"] == "multivariate_time_series"
    assert both["mean_forecast"] == np.transpose([each["predictions"] for each in own[:2]]).tolist()
    for level in ("0.1", "0.9"):
        assert both["quantiles"][level] == np.transpose([each["quantiles"][level] for each in own[:2]]).tolist()
    assert last["mean_forecast"] == own[2]["predictions"]
    assert (both["name"], last["name"]) == ("both", "last")
    usage = answer(sure_client, KSERVE, given)["usage"]
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
    sure_client: httpx.Client, words: tuple[str, ...], start: str, expected: str
) -> None:
    given = kserve(*(one(frequency=word, start_timestamp=start, series=[1, 2, 4, 3, 5]) for word in words))
    for word, forecast in zip(words, content(sure_client, given), strict=True):
        assert (forecast["frequency"], forecast["start_timestamp"]) == (word, expected)


def test_without_a_start_the_time_of_a_forecast_is_empty_and_without_quantiles_there_are_none(
    sure_client: httpx.Client,
) -> None:
    (forecast,) = content(sure_client, kserve())
    assert forecast["start_timestamp"] == ""
    assert forecast["quantiles"] is None


def test_what_kserve_lets_a_request_hold_beside_has_no_effect_and_metadata_comes_back(
    sure_client: httpx.Client,
) -> None:
    more = {"request_id": 2**70, "other_data": [None]}
    given = kserve(
        one(unit="kWh"), options={"horizon": 4, "other_options": "value"}, metadata=more, other_properties="value"
    )
    assert content(sure_client, given) == content(sure_client, kserve())
    body = orjson.dumps(given | {"metadata": None}).replace(
        b'"metadata":null', b'"metadata":' + json.dumps(more).encode()
    )
    assert json.loads(sure_client.post(KSERVE, content=body).content)["metadata"] == more


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
    sure_client: httpx.Client, request_: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    assert refusal(sure_client.post(KSERVE, json=request_)) == expected


def test_every_field_of_kserve_goes_with_every_other(sure_client: httpx.Client) -> None:
    optional = {"start_timestamp": "2026-01-01T00:00:00Z", "quantiles": [0.5], "metadata": {"a": 1}}
    kinds = {
        "univariate_time_series": [1, 2, None, 4],
        "multivariate_time_series": [[1, 2], [2, None], [3, 4], [4, 4]],
    }
    for fields, (kind, series) in itertools.product(with_and_without(optional), kinds.items()):
        options = {"horizon": 2, **({"quantiles": fields.pop("quantiles")} if "quantiles" in fields else {})}
        outside = {"metadata": fields.pop("metadata")} if "metadata" in fields else {}
        given = kserve(one(type=kind, series=series, **fields), options=options, **outside)
        (forecast,) = content(sure_client, given)
        assert answer(sure_client, KSERVE, given).get("metadata") == outside.get("metadata")
        assert bool(forecast["start_timestamp"]) is ("start_timestamp" in fields)
        assert (forecast["quantiles"] is not None) is ("quantiles" in options)
        assert (forecast["filled"], forecast["padded"]) == (1, 508)
        shape = (2,) if kind.startswith("uni") else (2, 2)
        assert np.shape(forecast["mean_forecast"]) == shape
        for values in (forecast["quantiles"] or {}).values():
            assert np.shape(values) == shape


def test_the_models_are_listed_by_their_names(sure_client: httpx.Client) -> None:
    assert sure_client.get("/v1/timeseries/models").json() == [MODEL]
