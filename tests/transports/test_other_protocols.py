"""What KServe's and SageMaker's routes have in common: forms of bodies, strangers, readiness, the document."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from standards_asked import (
    KSERVE,
    SAGEMAKER,
    SERIES,
    answer,
    chronos,
    content,
    kserve,
    ours,
    predictions,
    refusal,
)
from support import (
    MODEL,
    ROOT,
    Gate,
    HttpService,
    wait_until,
)
from vinocast.data.bundled import BUNDLED_GENERAL

DOCUMENT = ROOT / "docs" / "other-protocols.md"


TOKEN = "only-those-who-know-it"


def test_more_steps_than_the_horizon_are_made_of_forecasts_but_not_how_sure_they_are(sure_client: httpx.Client) -> None:
    (own,) = ours(sure_client, SERIES[:, 0].tolist(), prediction_length=150, rollout=True)
    (forecast,) = content(sure_client, kserve(options={"horizon": 150}))
    assert forecast["mean_forecast"] == own["predictions"]
    (forecast,) = predictions(sure_client, chronos(prediction_length=150, quantile_levels=[]))
    assert forecast == {"mean": own["predictions"]}
    longer = sure_client.post(KSERVE, json=kserve(options={"horizon": 97, "quantiles": [0.5]}))
    assert refusal(longer) == (422, "invalid_request", "options.quantiles")
    assert "options.horizon of at most 96" in longer.text
    longer = sure_client.post(SAGEMAKER, json=chronos(prediction_length=97))
    assert refusal(longer) == (422, "invalid_request", "parameters.quantile_levels")


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
    sure_client: httpx.Client, path: str, headers: dict[str, str], status: int
) -> None:
    body = orjson.dumps(kserve() if path == KSERVE else chronos())
    response = sure_client.post(path, content=body, headers=headers)
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
    sure_client: httpx.Client, sure_service: HttpService, path: str, name: str
) -> None:
    params = {"model": MODEL} if name == "a query" else {}
    response = sure_client.post(path, content=HOSTILE[name], params=params)
    status, code, _ = refusal(response)
    assert status in {400, 413, 422}, (status, code)
    assert len(response.content) < 3000
    assert sure_client.get("/ping").status_code == 200
    assert "internal error" not in sure_service.log


def test_who_may_ask_is_decided_in_front_of_these_routes_too(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    requests = {KSERVE: kserve(), SAGEMAKER: chronos(quantile_levels=[])}
    with HttpService("--token-file", token) as guarded, httpx.Client(base_url=guarded.url) as client:
        known = {"Authorization": f"Bearer {TOKEN}"}
        assert client.get("/ping").status_code == client.head("/ping").status_code == 200
        assert client.get("/v1/timeseries/models").status_code == 401
        assert client.get("/v1/timeseries/models", headers=known).json() == [MODEL, BUNDLED_GENERAL]
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


def test_the_examples_of_the_document_are_answered_as_it_says(sure_client: httpx.Client) -> None:
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)]
    assert len(blocks) == 4
    for path, request, said in ((KSERVE, *blocks[:2]), (SAGEMAKER, *blocks[2:])):
        assert form_of(answer(sure_client, path, request)) == form_of(said)


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
